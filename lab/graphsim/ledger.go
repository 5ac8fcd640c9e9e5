package graphsim

import (
	"slices"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// Entry is one request that the tenant received. Seq counts from 1 in order
// of arrival. The requests inside a batch have entries of their own, after
// the entry of the batch.
type Entry struct {
	Seq      int       `json:"seq"`
	Received time.Time `json:"received"` // UTC
	Answered time.Time `json:"answered,omitzero"`
	// Kind is "graph", "batch" (the envelope), "part" (of a batch) or "login"
	// (tokens and their metadata).
	Kind   string `json:"kind"`
	Batch  int    `json:"batch,omitempty"` // Seq of the envelope, for a part
	App    string `json:"app,omitempty"`   // client id; empty when no valid token came
	Method string `json:"method"`
	Path   string `json:"path"` // without version, query kept apart
	Query  string `json:"query,omitempty"`
	Beta   bool   `json:"beta,omitempty"`

	ClientRequestID string `json:"clientRequestId,omitempty"`
	RequestID       string `json:"requestId"`

	// Status is what was sent; 0 while under way, and for ever when the
	// connection was cut before an answer.
	Status int    `json:"status"`
	Code   string `json:"code,omitempty"` // of the error, as sent
	// Throttled names the limit that refused the request.
	Throttled string         `json:"throttled,omitempty"`
	Faults    []string       `json:"faults,omitempty"` // kinds injected
	Effects   []world.Effect `json:"effects,omitempty"`
}

// ledger keeps every entry for as long as the tenant lives: it is the
// witness against which another record is compared, so it forgets nothing.
type ledger struct {
	mu      sync.Mutex
	entries []*Entry
}

// open appends an entry at the moment of arrival.
func (l *ledger) open(e Entry) *Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = len(l.entries) + 1
	p := &e
	l.entries = append(l.entries, p)
	return p
}

// change edits an entry under the lock that readers take.
func (l *ledger) change(e *Entry, f func(*Entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(e)
}

// since returns copies of the entries with a Seq above n.
func (l *ledger) since(n int) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(max(n, 0), len(l.entries))
	out := make([]Entry, 0, len(l.entries)-n)
	for _, e := range l.entries[n:] {
		c := *e
		c.Faults = slices.Clone(e.Faults)
		c.Effects = slices.Clone(e.Effects)
		out = append(out, c)
	}
	return out
}
