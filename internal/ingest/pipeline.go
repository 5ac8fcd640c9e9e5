package ingest

import (
	"context"
	"log/slog"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// A Pipeline takes pages in. Make it once and share its pointer: it remembers
// when each stream last succeeded. All fields down to Now are needed, but Lookup.
type Pipeline struct {
	Store Store
	Runs  *run.Driver
	// Lookup returns what reads single accounts' facts in the tenant; it and what
	// it returns may be nil: facts then stay unknown, and plans that need them hold.
	Lookup func(identity.Tenant) connector.Lookup
	Now    func() time.Time

	// FactsMaxAge is how old facts of an account may be before they are read
	// again; 0 means 15 minutes.
	FactsMaxAge time.Duration
	// LookupTimeout bounds the reading of facts before a page is taken; 0 means 5
	// seconds.
	LookupTimeout time.Duration
	// Silence is how many intervals a stream may go without success before it is
	// called silent; 0 means 3.
	Silence int
	Log     *slog.Logger
}

// A Result counts what one or more pages brought.
type Result struct {
	Read      int `json:"read"` // signals, account risks and rejects
	New       int `json:"new"`
	Updated   int `json:"updated"`
	Duplicate int `json:"duplicate"`
	Older     int `json:"older"`
	Rejected  int `json:"rejected"`

	Facts int           `json:"facts"`           // accounts whose facts were told
	Cases []casefile.ID `json:"cases,omitempty"` // opened
	Runs  []run.ID      `json:"runs,omitempty"`  // started
}

// Take stores one page of the stream with its cursor and everything that
// follows from it, in one transaction: all or nothing. Taking the same page
// twice changes nothing the second time. An empty stream name stores no cursor.
func (p *Pipeline) Take(ctx context.Context, t identity.Tenant, stream connector.Name, page connector.Page) (Result, error) {
	return Result{}, nil
}

// Poll reads the source from its cursor until it has caught up. What was taken
// before an error stays taken and is counted; the next Poll goes on from there.
func (p *Pipeline) Poll(ctx context.Context, t identity.Tenant, s connector.Source) (Result, error) {
	return Result{}, nil
}

// Refresh reads the facts of accounts with an open case that were never read or
// are older than FactsMaxAge, at most limit of them, and plans anew what was held
// for want of them.
func (p *Pipeline) Refresh(ctx context.Context, t identity.Tenant, limit int) (Result, error) {
	return Result{}, nil
}

// A Feed is one stream that is expected to succeed once in an interval.
type Feed struct {
	Tenant   identity.Tenant
	Stream   connector.Name
	Interval time.Duration
}

// A FeedState is how a feed fares.
type FeedState struct {
	Tenant identity.Tenant `json:"tenant"`
	Stream connector.Name  `json:"stream"`
	// Success is when Poll last caught up; zero: not since this process began.
	Success time.Time `json:"success,omitzero"`
	Failure string    `json:"failure,omitempty"` // of the last Poll; empty when it succeeded
	Silent  bool      `json:"silent"`
}

// Watch raises the alarm for feeds that have not succeeded for Silence
// intervals, once per silence, and calls it off when they are back (law 10). The
// first call starts the clock of a feed that has not succeeded yet.
func (p *Pipeline) Watch(ctx context.Context, feeds []Feed) error { return nil }

// Feeds returns the state of every feed polled or watched, sorted.
func (p *Pipeline) Feeds() []FeedState { return nil }
