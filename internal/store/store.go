// Package store keeps Cordon's rows: one adapter, two dialects. SQLite inside
// the process is the default; PostgreSQL serves several replicas. Each
// capability declares the port it needs, and one concrete Tx satisfies them
// all, so that a case, its run, its actions, their bells and their audit entries
// commit together or not at all.
//
// A row is a JSON document of the Go value plus columns that index it. The
// document is the value; the columns are derived from it in one place each.
package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// Options are what a caller may leave alone: every zero means the default.
type Options struct {
	Now     func() time.Time // the clock of ids, leases and bells; time.Now
	Entropy io.Reader        // for ids and audit salts; crypto/rand
	Log     *slog.Logger     // slog.Default

	// Nudge is called after a commit, once for each thing it touched, so that work
	// starts in this process at once. It must return quickly and must not call
	// the store.
	Nudge func(Topic)
}

// TopicKind says what kind of thing a commit touched.
type TopicKind string

// The kinds of topics.
const (
	TopicRun      TopicKind = "run"      // ID is a run: it, one of its actions or approvals changed
	TopicDue      TopicKind = "due"      // ID is a run that has something to do: an action or approval changed and the run did not move along
	TopicDispatch TopicKind = "dispatch" // a tenant's actions became ready or a stop changed; no ID
	TopicAudit    TopicKind = "audit"    // entries wait for the sequencer; no tenant, no ID
	TopicCase     TopicKind = "case"     // ID is a case
	TopicIdentity TopicKind = "identity" // ID is an identity
	TopicApproval TopicKind = "approval" // ID is an approval request
)

// A Topic is one thing a commit touched.
type Topic struct {
	Kind   TopicKind
	Tenant identity.Tenant
	ID     string
}

// A DB is an open store. Its methods may be called from any goroutine.
type DB struct {
	d    dialect
	opts Options

	derived sync.Map // statement texts made from columns
	rung    rung

	directory directories
	decoded   decodedActions

	idMu  sync.Mutex
	idGen *ulid.MonotonicEntropy
}

// Open opens the store that dsn names, creates or migrates its tables, and
// returns it ready. dsn is "sqlite:PATH" or a "postgres://" URL. Only one process
// at a time opens an SQLite file; a second one gets fault.Conflict. A dsn of
// another form is fault.Invalid, a server that cannot be reached
// fault.Unavailable. No error contains the dsn's password.
func Open(ctx context.Context, dsn string, o Options) (*DB, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Entropy == nil {
		o.Entropy = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Nudge == nil {
		o.Nudge = func(Topic) {}
	}
	var (
		d   dialect
		err error
	)
	switch {
	case strings.HasPrefix(dsn, "sqlite:"):
		d, err = openSQLite(ctx, strings.TrimPrefix(dsn, "sqlite:"), o)
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		d, err = openPostgres(ctx, dsn, o)
	default:
		scheme, _, _ := strings.Cut(dsn, ":")
		err = fault.Errorf(fault.Invalid, "store %q: use sqlite:PATH or postgres://USER@HOST/DATABASE", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &DB{d: d, opts: o, idGen: ulid.Monotonic(o.Entropy, 0)}, nil
}

// Close releases the store; closing twice is harmless. Bells must have been
// stopped.
func (db *DB) Close() error { return db.d.close() }

// Dialect returns "sqlite" or "postgres".
func (db *DB) Dialect() string { return db.d.name() }

// Ping returns nil when the store answers.
func (db *DB) Ping(ctx context.Context) error {
	var one int64
	_, err := scanRow(ctx, db.reads(), []any{&one}, `SELECT 1`)
	return err
}

// Stats are what a store has done since it was opened.
type Stats struct {
	Transactions int64 // that committed
	Repeated     int64 // attempts that the database asked to be made again
	Statements   int64 // in transactions
	RoundTrips   int64 // that transactions waited for, their begin and commit included; SQLite has none
}

// counts are Stats in the making.
type counts struct{ transactions, repeated, statements, trips atomic.Int64 }

// Stats returns what the store has done since it was opened.
func (db *DB) Stats() Stats {
	c := db.d.counted()
	return Stats{c.transactions.Load(), c.repeated.Load(), c.statements.Load(), c.trips.Load()}
}

// Size returns how many bytes the database takes.
func (db *DB) Size(ctx context.Context) (int64, error) {
	var n int64
	if _, err := scanRow(ctx, db.reads(), []any{&n}, db.d.size()); err != nil {
		return 0, fmt.Errorf("size of the store: %w", err)
	}
	return n, nil
}

// Runs returns the store as package run needs it.
func (db *DB) Runs() run.Store { return runStore{db} }

// Ingest returns the store as package ingest needs it.
func (db *DB) Ingest() ingest.Store { return ingestStore{db} }

// Dispatch returns the store as package dispatch needs it.
func (db *DB) Dispatch() dispatch.Store { return dispatchStore{db} }

// Desk returns the store as package desk needs it.
func (db *DB) Desk() desk.Store { return deskStore{db} }

// Audit returns the store as package audit needs it.
func (db *DB) Audit() audit.Store { return auditStore{db} }

// NewID returns a fresh id with the prefix. Ids of one process sort by the time
// they were made.
func (db *DB) NewID(prefix string) string {
	db.idMu.Lock()
	defer db.idMu.Unlock()
	id, err := ulid.New(ulid.Timestamp(db.opts.Now()), db.idGen)
	if err != nil {
		// The clock jumped beyond what a ULID holds or the millisecond is full:
		// unique still matters, sortable no longer does.
		id = ulid.MustNew(ulid.MaxTime(), rand.Reader)
	}
	return prefix + "_" + strings.ToLower(id.String())
}

// update runs change in one transaction and nudges after the commit.
func (db *DB) update(ctx context.Context, r rank, change func(*Tx) error) error {
	var topics []Topic
	var bells []bell
	err := db.d.update(ctx, r, func(ctx context.Context, c conn, ring ringer) error {
		tx := newTx(ctx, db, c, ring)
		if err := change(tx); err != nil {
			return err
		}
		if err := tx.finish(); err != nil {
			return err
		}
		topics, bells = tx.topics, tx.bells
		return nil
	})
	if err != nil {
		return err
	}
	db.rung.add(bells)
	for _, t := range topics {
		db.opts.Nudge(t)
	}
	return nil
}

// errViewWrites says that what only looks tried to change something.
var errViewWrites = fault.Errorf(fault.Conflict, "store: a view changes nothing; this belongs into Update")

// view runs read on one state of the database, beside whoever writes. What it would
// have changed is an error and changes nothing.
func (db *DB) view(ctx context.Context, read func(*Tx) error) error {
	return db.d.view(ctx, func(ctx context.Context, c conn) error {
		tx := newTx(ctx, db, c, nil)
		if err := read(tx); err != nil {
			return err
		}
		if tx.err != nil {
			return tx.err
		}
		if len(tx.entries) > 0 || len(tx.bells) > 0 || len(tx.stirred) > 0 || len(tx.writes()) > 0 {
			return errViewWrites
		}
		return nil
	})
}

func (db *DB) reads() conn { return db.d.reads() }
