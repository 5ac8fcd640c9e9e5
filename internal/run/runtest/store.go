// Package runtest keeps an in-memory store for tests of runs and ingest. It is
// honest: what goes in comes out as it would from rows (a copy, through JSON),
// puts compare versions, a change that fails leaves nothing behind.
package runtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A DB is an in-memory store. The zero value is empty and ready.
type DB struct {
	mu    sync.Mutex
	state state

	// Fail, when set, is asked before each commit; its error undoes the change.
	Fail func() error
}

// id names a row across tenants.
type id struct {
	tenant identity.Tenant
	id     string
}

type signalRow struct {
	owner    identity.ID
	current  signal.Signal
	versions [][]byte // earlier ones, as JSON
}

type riskRow struct {
	owner   identity.ID
	current signal.AccountRisk
}

// A Reject is a rejected record as it was stored.
type Reject struct {
	Stream connector.Name
	connector.Reject
}

// state is everything; a transaction works on a copy whose maps are its own.
type state struct {
	seq         int64 // counts puts: what changed after what
	ids         int64
	changed     map[id]int64 // when a run, an action or an approval last changed
	runs        map[id]run.Run
	actions     map[id]action.Action
	approvals   map[id]approval.Request
	questions   map[id]question.Question
	cases       map[id]casefile.Case
	identities  map[id]identity.Identity
	owners      map[ownedKey]identity.ID
	signals     map[signal.Key]signalRow
	risks       map[ownedKey]riskRow
	records     map[record.Key]record.Record
	feeds       map[id]connector.FeedState
	assessments map[id]risk.Assessment
	directories map[identity.Tenant]connector.DirectoryFacts
	cursors     map[id]connector.Cursor
	rejects     []Reject
	trail       []audit.Entry
}

type ownedKey struct {
	tenant identity.Tenant
	key    identity.Key
}

func (s state) clone() state {
	s.changed, s.runs, s.actions, s.approvals = clone(s.changed), clone(s.runs), clone(s.actions), clone(s.approvals)
	s.cases, s.identities, s.owners, s.signals = clone(s.cases), clone(s.identities), clone(s.owners), clone(s.signals)
	s.risks, s.assessments, s.directories, s.cursors = clone(s.risks), clone(s.assessments), clone(s.directories), clone(s.cursors)
	s.records, s.feeds, s.questions = clone(s.records), clone(s.feeds), clone(s.questions)
	s.rejects, s.trail = slices.Clip(s.rejects), slices.Clip(s.trail)
	return s
}

func clone[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// row returns v as a store gives it back: a copy, through JSON.
func row[T any](v T) (T, error) {
	var out T
	b, err := json.Marshal(v)
	if err != nil {
		return out, fmt.Errorf("write a row: %w", err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("read a row: %w", err)
	}
	return out, nil
}

// Runs returns the store as runs see it.
func (db *DB) Runs() run.Store { return runs{db} }

// Ingest returns the store as ingest sees it.
func (db *DB) Ingest() ingest.Store { return intake{db} }

type runs struct{ *DB }

func (r runs) Update(ctx context.Context, change func(run.Tx) error) error {
	return r.update(ctx, func(tx *Tx) error { return change(tx) })
}

type intake struct{ *DB }

// Later is Update: nobody else waits.
func (i intake) Later(ctx context.Context, change func(ingest.Tx) error) error {
	return i.Update(ctx, change)
}

func (i intake) Update(ctx context.Context, change func(ingest.Tx) error) error {
	return i.update(ctx, func(tx *Tx) error { return change(tx) })
}

func (db *DB) update(ctx context.Context, change func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	tx := &Tx{state: db.state.clone()}
	if err := change(tx); err != nil {
		return err
	}
	if db.Fail != nil {
		if err := db.Fail(); err != nil {
			return err
		}
	}
	db.state = tx.state
	return nil
}

// View calls look with a transaction whose writes are thrown away.
func (db *DB) View(look func(*Tx)) {
	db.mu.Lock()
	defer db.mu.Unlock()
	look(&Tx{state: db.state.clone()})
}

// DueRuns is run.Store's.
func (db *DB) DueRuns(ctx context.Context, now time.Time, limit int) ([]run.Key, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	var due []run.Run
	for k, r := range db.state.runs {
		if !r.State.Final() && (!r.DueAt.IsZero() && !r.DueAt.After(now) || db.state.behind(k)) {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(a, b run.Run) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID))
	})
	var keys []run.Key
	for _, r := range due[:min(limit, len(due))] {
		keys = append(keys, run.Key{Tenant: r.Tenant, ID: r.ID})
	}
	return keys, ctx.Err()
}

// behind reports whether an action or an approval of the run changed since it did.
func (s state) behind(r id) bool {
	for k, a := range s.actions {
		if k.tenant == r.tenant && a.Run == r.id && s.changed[k] > s.changed[r] {
			return true
		}
	}
	for k, q := range s.approvals {
		if k.tenant == r.tenant && q.Run == r.id && s.changed[k] > s.changed[r] {
			return true
		}
	}
	for k, q := range s.questions {
		if k.tenant == r.tenant && q.Run == r.id && s.changed[k] > s.changed[r] {
			return true
		}
	}
	return false
}

// DueApprovals is run.Store's.
func (db *DB) DueApprovals(ctx context.Context, now time.Time, limit int) ([]approval.Request, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	var due []approval.Request
	for _, q := range db.state.approvals {
		if q.State == approval.Pending && !q.ExpiresAt.After(now) {
			due = append(due, q)
		}
	}
	slices.SortFunc(due, func(a, b approval.Request) int { return cmp.Compare(a.ID, b.ID) })
	return due[:min(limit, len(due))], ctx.Err()
}

// DueExpiries is run.Store's.
func (db *DB) DueExpiries(ctx context.Context, now time.Time, limit int) ([]action.Action, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	var due []action.Action
	for _, a := range db.state.actions {
		if a.State == action.Verified && !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(now) {
			due = append(due, a)
		}
	}
	slices.SortFunc(due, func(a, b action.Action) int {
		return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), cmp.Compare(a.ID, b.ID))
	})
	return due[:min(limit, len(due))], ctx.Err()
}

// Cursor is ingest.Store's.
func (db *DB) Cursor(ctx context.Context, t identity.Tenant, n connector.Name) (connector.Cursor, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.state.cursors[id{t, string(n)}], ctx.Err()
}

// StaleFacts is ingest.Store's.
func (db *DB) StaleFacts(ctx context.Context, t identity.Tenant, before time.Time, limit int, _ ...identity.Provider) ([]identity.Ref, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	open := map[identity.ID]bool{}
	for _, c := range db.state.cases {
		if c.Tenant == t && c.Verdict == nil {
			open[c.Identity] = true
		}
	}
	var refs []identity.Ref
	for _, i := range db.state.identities {
		for _, a := range i.Accounts {
			if i.Tenant == t && open[i.ID] && (a.Facts.AsOf.IsZero() || a.Facts.AsOf.Before(before)) {
				refs = append(refs, a.Ref)
			}
		}
	}
	slices.SortFunc(refs, func(a, b identity.Ref) int {
		return cmp.Or(cmp.Compare(a.ObjectID, b.ObjectID), cmp.Compare(a.SID, b.SID))
	})
	return refs[:min(limit, len(refs))], ctx.Err()
}

// FactsOf is ingest.Store's.
func (db *DB) FactsOf(ctx context.Context, t identity.Tenant, refs []identity.Ref) ([]connector.AccountFacts, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	var out []connector.AccountFacts
	for _, r := range refs {
		for _, k := range r.Keys() {
			i, ok := db.state.identities[id{t, string(db.state.owners[ownedKey{t, k}])}]
			if !ok {
				continue
			}
			for _, a := range i.Accounts {
				if slices.Contains(a.Keys(), k) {
					out = append(out, connector.AccountFacts{Ref: a.Ref, Facts: a.Facts})
				}
			}
			break
		}
	}
	return out, ctx.Err()
}

// Trail returns the audit entries in the order in which they were committed.
func (db *DB) Trail() []audit.Entry {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Clone(db.state.trail)
}

// Records returns what is kept without an opinion, in no order.
func (db *DB) Records() []record.Record {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Collect(maps.Values(db.state.records))
}

// Rejects returns the rejected records in the order in which they came.
func (db *DB) Rejects() []Reject {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Clone(db.state.rejects)
}

// Versions returns how many earlier versions of the signal are kept.
func (db *DB) Versions(k signal.Key) int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return len(db.state.signals[k].versions)
}

func same(a, b []byte) bool { return bytes.Equal(a, b) }

func missing(what string, id any) error { return fault.Errorf(fault.NotFound, "no %s %v", what, id) }
