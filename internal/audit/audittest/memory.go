// Package audittest holds an in-memory audit.Store for tests. It passes the same
// conformance suite as the database's.
package audittest

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A Memory keeps a log in memory. Its zero value is not ready: use New.
type Memory struct {
	mu sync.Mutex
	state
}

type state struct {
	records     []audit.Record
	sequenced   int
	entries     []audit.LogEntry
	hashes      map[int64]tlog.Hash
	checkpoints [][]byte
	size        int64
}

// New returns an empty log.
func New() *Memory { return &Memory{state: state{hashes: map[int64]tlog.Hash{}}} }

// Write adds an entry as a capability's transaction would.
func (m *Memory) Write(e audit.Entry) error {
	payload, err := e.Canonical()
	if err != nil {
		return err
	}
	salt := make([]byte, audit.SaltSize)
	if _, err := rand.Read(salt); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = append(m.records, audit.Record{ID: fmt.Sprintf("aud_%08d", len(m.records)), Payload: payload, Salt: salt})
	return nil
}

// Update runs change on a copy and keeps the copy when it succeeds.
func (m *Memory) Update(_ context.Context, change func(audit.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.state
	next.hashes = maps.Clone(m.hashes)
	next.entries = slices.Clone(m.entries)
	if err := change(tx{&next}); err != nil {
		return err
	}
	m.state = next
	return nil
}

// Entries is audit.Store's.
func (m *Memory) Entries(_ context.Context, from int64, limit int) ([]audit.LogEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from >= int64(len(m.entries)) {
		return nil, nil
	}
	return slices.Clone(m.entries[from:min(from+int64(limit), int64(len(m.entries)))]), nil
}

// Checkpoint is audit.Store's.
func (m *Memory) Checkpoint(context.Context) (int64, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.checkpoints) == 0 {
		return 0, nil, nil
	}
	return m.size, m.checkpoints[len(m.checkpoints)-1], nil
}

// Pending is audit.Store's.
func (m *Memory) Pending(context.Context) (int, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.records) - m.sequenced, time.Time{}, nil
}

// Erase is audit.Store's; it looks for the identity in the payload's text.
func (m *Memory) Erase(_ context.Context, _, identity string, _ time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for i := range m.entries {
		if strings.Contains(string(m.entries[i].Payload), `"identity":"`+identity+`"`) {
			m.entries[i].Payload, m.entries[i].Salt = nil, nil
			n++
		}
	}
	return n, nil
}

type tx struct{ s *state }

func (t tx) Size() (int64, error) { return int64(len(t.s.entries)), nil }

func (t tx) Unsequenced(limit int) ([]audit.Record, error) {
	rest := t.s.records[t.s.sequenced:]
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

func (t tx) Hashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for n, i := range indexes {
		h, ok := t.s.hashes[i]
		if !ok {
			return nil, fault.Errorf(fault.NotFound, "no hash %d", i)
		}
		out[n] = h
	}
	return out, nil
}

func (t tx) AppendLeaf(index int64, id string, leaf []byte, first int64, hashes []tlog.Hash) error {
	if index != int64(len(t.s.entries)) {
		return fault.Errorf(fault.Conflict, "leaf %d exists", index)
	}
	r := t.s.records[t.s.sequenced]
	if r.ID != id {
		return fault.Errorf(fault.Conflict, "record %s is not the next", id)
	}
	t.s.sequenced++
	for n, h := range hashes {
		t.s.hashes[first+int64(n)] = h
	}
	t.s.entries = append(t.s.entries, audit.LogEntry{Index: index, Leaf: leaf, Hash: hashes[0], Payload: r.Payload, Salt: r.Salt})
	return nil
}

func (t tx) PutCheckpoint(size int64, signed []byte, _ time.Time) error {
	t.s.size = size
	t.s.checkpoints = append(slices.Clone(t.s.checkpoints), signed)
	return nil
}
