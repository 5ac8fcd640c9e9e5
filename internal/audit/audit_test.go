package audit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/audit/audittest"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

var start = time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)

func keys(t testing.TB) (audit.Signer, audit.Key) {
	t.Helper()
	private, public, err := audit.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	k, err := audit.NewKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

func entry(n int) audit.Entry {
	return audit.Entry{
		Tenant: "t1", At: start.Add(time.Duration(n) * time.Second), Actor: "cordon:dispatch", Kind: audit.ActionIntent,
		Identity: fmt.Sprintf("idn_%d", n%7), Action: fmt.Sprintf("act_%d", n),
		Text: "about to disable <b>\u202e\u2028 \"x\" & co", Data: map[string]any{"before": true, "n": n},
	}
}

// log returns a log of n entries sequenced in random portions, its newest
// checkpoint, and every checkpoint published on the way.
func newLog(t testing.TB, n int, portion func() int) (*audittest.Memory, audit.Key, []audit.Checkpoint) {
	t.Helper()
	signer, key := keys(t)
	m := audittest.New()
	var published []audit.Checkpoint
	seq := audit.NewSequencer(m, signer, slog.New(slog.DiscardHandler), audit.Options{Publish: func(signed []byte) error {
		c, err := key.Open(signed)
		published = append(published, c)
		return err
	}})
	for written := 0; written < n; {
		for range min(max(1, portion()), n-written) {
			if err := m.Write(entry(written)); err != nil {
				t.Fatal(err)
			}
			written++
		}
		if _, err := seq.Sequence(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return m, key, published
}

func list(t testing.TB, s audit.Store) []audit.LogEntry {
	t.Helper()
	var out []audit.LogEntry
	for e, err := range audit.All(context.Background(), s) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func verify(t testing.TB, entries []audit.LogEntry, kept, latest audit.Checkpoint) audit.Report {
	t.Helper()
	r, err := audit.Verify(func(yield func(audit.LogEntry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}, kept, latest)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSequencedLogVerifiesAgainstEveryCheckpoint(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(rt, "entries")
		m, _, published := newLog(t, n, func() int { return rapid.IntRange(1, 9).Draw(rt, "portion") })
		entries, latest := list(t, m), published[len(published)-1]
		for _, kept := range published {
			r := verify(t, entries, kept, latest)
			if r.Broken != nil || r.Entries != int64(n) {
				rt.Fatalf("kept at %d: %+v, broken %v", kept.Size, r, r.Broken)
			}
		}
	})
}

// Every single change to the log is found, and where it can be told, the entry
// is named.
func TestTamperingIsFound(t *testing.T) {
	t.Parallel()
	m, _, published := newLog(t, 23, func() int { return 5 })
	latest := published[len(published)-1]
	kept := published[2]
	tamper := map[string]struct {
		change func([]audit.LogEntry) []audit.LogEntry
		index  int64
	}{
		"payload changed": {func(e []audit.LogEntry) []audit.LogEntry {
			e[4].Payload = bytes.Replace(e[4].Payload, []byte("act_4"), []byte("act_5"), 1)
			return e
		}, 4},
		"salt changed": {func(e []audit.LogEntry) []audit.LogEntry {
			e[4].Salt = bytes.Repeat([]byte{1}, audit.SaltSize)
			return e
		}, 4},
		"only the salt gone": {func(e []audit.LogEntry) []audit.LogEntry { e[4].Salt = nil; return e }, 4},
		"leaf changed": {func(e []audit.LogEntry) []audit.LogEntry {
			e[9].Leaf = bytes.Replace(e[9].Leaf, []byte("t1"), []byte("t2"), 1)
			return e
		}, 9},
		"entry removed":       {func(e []audit.LogEntry) []audit.LogEntry { return append(e[:7], e[8:]...) }, 7},
		"end removed":         {func(e []audit.LogEntry) []audit.LogEntry { return e[:20] }, -1},
		"end removed to kept": {func(e []audit.LogEntry) []audit.LogEntry { return e[:5] }, -1},
		"consistent forgery": {func(e []audit.LogEntry) []audit.LogEntry {
			payload, _ := entry(99).Canonical()
			salt := bytes.Repeat([]byte{7}, audit.SaltSize)
			leaf, err := audit.NewLeaf(audit.Record{ID: "aud_00000003", Payload: payload, Salt: salt})
			if err != nil {
				t.Fatal(err)
			}
			e[3] = audit.LogEntry{Index: 3, Leaf: leaf.Marshal(), Hash: tlog.RecordHash(leaf.Marshal()), Payload: payload, Salt: salt}
			return e
		}, -1},
	}
	for name, c := range tamper {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := verify(t, c.change(list(t, m)), kept, latest)
			if r.Broken == nil || r.Broken.Index != c.index {
				t.Errorf("broken = %v, want one at %d", r.Broken, c.index)
			}
		})
	}
}

func TestErasureKeepsTheProof(t *testing.T) {
	t.Parallel()
	m, _, published := newLog(t, 30, func() int { return 8 })
	latest := published[len(published)-1]
	n, err := m.Erase(context.Background(), "t1", "idn_3", start.Add(time.Hour))
	if err != nil || n == 0 {
		t.Fatalf("erased %d, %v", n, err)
	}
	entries := list(t, m)
	if r := verify(t, entries, latest, latest); r.Broken != nil || r.Erased != int64(n) {
		t.Errorf("after erasure: %+v, broken %v", r, r.Broken)
	}
	var out bytes.Buffer
	_, signed, _ := m.Checkpoint(context.Background())
	if err := audit.Export(&out, audit.All(context.Background(), m), signed); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "idn_3\"") {
		t.Error("the export still names the erased identity")
	}
}

func TestExportSurvivesHostileText(t *testing.T) {
	t.Parallel()
	m, key, published := newLog(t, 17, func() int { return 4 })
	_, signed, _ := m.Checkpoint(context.Background())
	var out bytes.Buffer
	if err := audit.Export(&out, audit.All(context.Background(), m), signed); err != nil {
		t.Fatal(err)
	}
	checkpoint, entries, err := audit.Import(&out)
	if err != nil {
		t.Fatal(err)
	}
	latest, err := key.Open(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.Verify(entries, published[0], latest)
	if err != nil || r.Broken != nil || r.Entries != 17 {
		t.Errorf("report %+v, broken %v, err %v", r, r.Broken, err)
	}
}

func TestForeignKeyIsRefused(t *testing.T) {
	t.Parallel()
	m, _, _ := newLog(t, 3, func() int { return 3 })
	_, other := keys(t)
	_, signed, _ := m.Checkpoint(context.Background())
	if _, err := other.Open(signed); !errors.Is(err, fault.Invalid) {
		t.Errorf("err = %v, want invalid", err)
	}
	if _, err := audit.NewSigner("PRIVATE+KEY+cordon+secretsecret"); err == nil || strings.Contains(err.Error(), "secretsecret") {
		t.Errorf("err = %v; it must be refused without showing the key", err)
	}
}

func FuzzParseLeaf(f *testing.F) {
	payload, _ := entry(1).Canonical()
	leaf, _ := audit.NewLeaf(audit.Record{ID: "aud_1", Payload: payload, Salt: make([]byte, audit.SaltSize)})
	f.Add(leaf.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := audit.ParseLeaf(b)
		if err == nil && !bytes.Equal(l.Marshal(), b) {
			t.Errorf("%q parses to a leaf with other bytes", b)
		}
	})
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(`{"format":"cordon.audit/v1","checkpoint":""}` + "\n" + `{"index":0,"leaf":"x","hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, entries, err := audit.Import(bytes.NewReader(b))
		if err != nil {
			return
		}
		_, _ = audit.Verify(entries, audit.Checkpoint{}, audit.Checkpoint{}) // must not panic
	})
}
