package notify_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/notify"
	"github.com/seed-f47efad2/cordon/internal/store/storetest"
)

// memory is a notify.Store without a database.
type memory struct {
	mu     sync.Mutex
	log    []audit.LogEntry
	places map[[2]string]notify.Place
	told   map[notify.Told]bool
	cases  map[[2]string]casefile.Case
	broken error // of every reading of a case
}

func newMemory() *memory {
	return &memory{places: map[[2]string]notify.Place{}, told: map[notify.Told]bool{}, cases: map[[2]string]casefile.Case{}}
}

func (m *memory) write(entries ...audit.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		b, _ := e.Canonical()
		m.log = append(m.log, audit.LogEntry{Index: int64(len(m.log)), Payload: b})
	}
}

func (m *memory) Entries(_ context.Context, from int64, limit int) ([]audit.LogEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from = min(from, int64(len(m.log)))
	return append([]audit.LogEntry(nil), m.log[from:min(from+int64(limit), int64(len(m.log)))]...), nil
}

func (m *memory) Size(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.log)), nil
}

func (m *memory) Place(_ context.Context, receiver string, t identity.Tenant) (notify.Place, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.places[[2]string{receiver, string(t)}]
	if !ok {
		return p, fault.Errorf(fault.NotFound, "no place")
	}
	return p, nil
}

func (m *memory) Put(_ context.Context, p notify.Place, told *notify.Told) (notify.Place, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{p.Receiver, string(p.Tenant)}
	if m.places[key].Version != p.Version {
		return p, fault.Errorf(fault.Conflict, "somebody went on")
	}
	p.Version++
	m.places[key] = p
	if told != nil {
		m.told[*told] = true
	}
	return p, nil
}

func (m *memory) WasTold(_ context.Context, t notify.Told) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.told[t], nil
}

func (m *memory) Case(_ context.Context, t identity.Tenant, id casefile.ID) (casefile.Case, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return casefile.Case{}, m.broken
	}
	c, ok := m.cases[[2]string{string(t), string(id)}]
	if !ok {
		return c, fault.Errorf(fault.NotFound, "no case")
	}
	return c, nil
}

func (m *memory) put(c casefile.Case) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cases[[2]string{string(c.Tenant), string(c.ID)}] = c
}

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Notices(t, func(*testing.T) (notify.Store, func(...any)) {
		m := newMemory()
		return m, func(values ...any) {
			for _, v := range values {
				m.put(v.(casefile.Case))
			}
		}
	})
}

// payload is a body as its receiver reads it.
func payload(t testing.TB, body []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}
