package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// postgresDB runs every change SERIALIZABLE: what holds on SQLite's one writer
// holds here too. Any number of processes share it.
type postgresDB struct {
	// line is the order in which changes of this process take their turn, one at a
	// time: PostgreSQL locks what was read by the page, and changes side by side make
	// each other repeat far longer than they would have waited. Only changes of
	// different processes run side by side.
	line  line
	pool  *pgxpool.Pool
	texts texts
	river *river.Client[pgx.Tx]
	opts  Options

	counts counts
}

func openPostgres(ctx context.Context, dsn string, o Options) (_ *postgresDB, err error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// pgx masks the password in its parse errors.
		return nil, fault.Errorf(fault.Invalid, "postgres: %w", err)
	}
	// Predicate locks follow the plan: a sequential scan of a small table locks
	// all of it and makes neighbours conflict that have nothing to do with each
	// other. With this the planner takes an index wherever there is one.
	cfg.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "cordon"
	}
	if cfg.MaxConns < 10 {
		cfg.MaxConns = 10
	}
	d := &postgresDB{opts: o}
	if d.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, fault.Errorf(fault.Invalid, "postgres: %w", err)
	}
	defer func() {
		if err != nil {
			d.pool.Close()
		}
	}()
	if err := d.pool.Ping(ctx); err != nil {
		return nil, d.kind(fmt.Errorf("postgres: %w", err))
	}
	if err := d.migrate(ctx); err != nil {
		return nil, d.kind(fmt.Errorf("postgres: %w", err))
	}
	if d.river, err = river.NewClient(riverpgxv5.New(d.pool), insertOnly(o)); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return d, nil
}

func (d *postgresDB) name() string { return "postgres" }

func (d *postgresDB) size() string { return `SELECT pg_database_size(current_database())` }

func (d *postgresDB) counted() *counts { return &d.counts }

func (d *postgresDB) shared() bool { return true }

func (d *postgresDB) close() error {
	d.pool.Close()
	return nil
}

func (d *postgresDB) reads() conn { return postgresConn{d, d.pool, &counts{}} }

// attempts is how often a change is tried when PostgreSQL says that another
// process got in between; waits grow to a tenth of a second. A change that lasts
// longer than patience is given up: others wait for it.
const (
	attempts = 20
	patience = 30 * time.Second
)

func (d *postgresDB) update(ctx context.Context, r rank, change func(context.Context, conn, ringer) error) error {
	var err error
	for n := range attempts {
		if err = d.try(ctx, r, change); !again(err) {
			return err
		}
		d.counts.repeated.Add(1)
		wait := time.Duration(1+rand.IntN(1<<min(n+1, 7))) * time.Millisecond
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	return fault.Errorf(fault.Unavailable, "postgres: other transactions got in first %d times: %w", attempts, err)
}

// try runs change once, when its turn has come.
func (d *postgresDB) try(ctx context.Context, r rank, change func(context.Context, conn, ringer) error) error {
	if err := d.line.take(ctx, r); err != nil {
		return fmt.Errorf("wait for the turn: %w", err)
	}
	defer d.line.give()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	if err != nil {
		return d.kind(fmt.Errorf("begin: %w", err))
	}
	// After a commit this does nothing; otherwise it also covers a panic.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := change(ctx, postgresConn{d, tx, &d.counts}, ringIn(d.river, tx)); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return d.kind(fmt.Errorf("commit: %w", err))
	}
	d.counts.transactions.Add(1)
	d.counts.trips.Add(2)
	return nil
}

func (d *postgresDB) view(ctx context.Context, read func(context.Context, conn) error) error {
	tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return d.kind(fmt.Errorf("begin: %w", err))
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing to keep
	err = read(ctx, postgresConn{d, tx, &counts{}})
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) && e.Code == "25006" { // read_only_sql_transaction
		return errViewWrites
	}
	return err
}

// again reports whether PostgreSQL asks for the transaction to be repeated:
// serialization_failure or deadlock_detected.
func again(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01")
}

func (d *postgresDB) bells(ctx context.Context, c river.Config) (func(context.Context) error, error) {
	return startBells(ctx, riverpgxv5.New(d.pool), c)
}

// kind gives err its kind by SQLSTATE.
func (d *postgresDB) kind(err error) error {
	if err == nil {
		return nil
	}
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch {
		case e.Code == "23505": // unique_violation
			return fault.Errorf(fault.Conflict, "%w", err)
		case e.Code[:2] == "28", e.Code[:2] == "3D": // authorization, no such database
			return fault.Errorf(fault.Invalid, "%w", err)
		// connection, resources, operator intervention, locks not available
		case e.Code[:2] == "08", e.Code[:2] == "53", e.Code[:2] == "57", e.Code == "55P03":
			return fault.Errorf(fault.Unavailable, "%w", err)
		}
		return err
	}
	var network net.Error
	var connect *pgconn.ConnectError
	if errors.As(err, &network) || errors.As(err, &connect) || pgconn.SafeToRetry(err) || errors.Is(err, net.ErrClosed) {
		return fault.Errorf(fault.Unavailable, "%w", err)
	}
	return err
}

// postgresConn runs statements in a transaction or on the pool.
type postgresConn struct {
	d *postgresDB
	q interface {
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
		SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	}
	counts *counts
}

// sent counts a round trip with n statements.
func (c postgresConn) sent(n int) {
	c.counts.statements.Add(int64(n))
	c.counts.trips.Add(1)
}

func (c postgresConn) exec(ctx context.Context, q string, args ...any) (int64, error) {
	c.sent(1)
	tag, err := c.q.Exec(ctx, c.d.texts.rebound(q), clean(args)...)
	if err != nil {
		return 0, c.d.kind(err)
	}
	return tag.RowsAffected(), nil
}

func (c postgresConn) query(ctx context.Context, q string, args ...any) (rows, error) {
	c.sent(1)
	r, err := c.q.Query(ctx, c.d.texts.rebound(q), clean(args)...)
	if err != nil {
		return nil, c.d.kind(err)
	}
	return pgRows{c.d, r}, nil
}

// auditLock is the advisory lock under which audit entries are numbered.
const auditLock = 0x636f72646f6e // "cordon"

// order holds an advisory lock until the commit is over: numbers that the
// transaction takes from a sequence afterwards rise in the order of commits.
func (c postgresConn) order() []statement {
	return []statement{{q: `SELECT pg_advisory_xact_lock(?)`, args: []any{int64(auditLock)}, want: -1}}
}

// batch sends all statements before it reads the first answer. After one that
// failed the server skips the others.
func (c postgresConn) batch(ctx context.Context, list []statement) (err error) {
	b := &pgx.Batch{}
	for _, s := range list {
		b.Queue(c.d.texts.rebound(s.q), clean(s.args)...)
	}
	c.sent(len(list))
	answers := c.q.SendBatch(ctx, b)
	defer func() {
		if e := answers.Close(); err == nil {
			err = c.d.kind(e)
		}
	}()
	for _, s := range list {
		if s.scan != nil {
			if err := c.answer(answers, s.scan); err != nil {
				return err
			}
			continue
		}
		tag, err := answers.Exec()
		if err != nil {
			return c.d.kind(err)
		}
		if err := s.check(tag.RowsAffected()); err != nil {
			return err
		}
	}
	return nil
}

// answer reads the rows of the next query of a batch.
func (c postgresConn) answer(answers pgx.BatchResults, scan func(rows) error) error {
	r, err := answers.Query()
	if err != nil {
		return c.d.kind(err)
	}
	defer r.Close()
	for r.Next() {
		if err := scan(pgRows{c.d, r}); err != nil {
			return err
		}
	}
	return c.d.kind(r.Err())
}

// pgRows are rows whose late errors have their kind.
type pgRows struct {
	d *postgresDB
	pgx.Rows
}

func (r pgRows) Err() error { return r.d.kind(r.Rows.Err()) }
