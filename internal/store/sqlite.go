package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// sqliteDB has one writing connection, which River shares, and a pool of
// readers. One process owns the file.
type sqliteDB struct {
	line           line // the order at the writer
	writer, reader *sql.DB
	wstmts, rstmts stmts
	copier         *copier
	lock           *fileLock
	river          *river.Client[*sql.Tx]
	opts           Options
	counts         counts
}

func openSQLite(ctx context.Context, path string, o Options) (_ *sqliteDB, err error) {
	if path == "" {
		return nil, fault.Errorf(fault.Invalid, "sqlite: the path is missing; use sqlite:PATH")
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fault.Errorf(fault.Invalid, "sqlite %s: %w", path, err)
	}
	lock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	d := &sqliteDB{lock: lock, opts: o}
	defer func() {
		if err != nil {
			_ = d.close() // the first error is the one to tell
		}
	}()
	// The file is made here so that nobody else may read it.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "sqlite: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("sqlite %s: %w", path, err)
	}
	// A commit waits for the data to be durable and not for the file's times; where
	// the system knows no such call, it waits for both.
	_, _ = sqlite.Fdatasync(true)
	if d.writer, err = openFile(path, "immediate", "cache_size(-64000)", fmt.Sprintf("wal_autocheckpoint(%d)", copyNow)); err != nil {
		return nil, err
	}
	d.writer.SetMaxOpenConns(1)
	if err = d.writer.PingContext(ctx); err != nil {
		return nil, d.kind(fmt.Errorf("sqlite %s: %w", path, err))
	}
	if d.reader, err = openFile(path, "deferred", "cache_size(-16000)", "query_only(1)"); err != nil {
		return nil, err
	}
	readers := max(2, runtime.NumCPU())
	d.reader.SetMaxOpenConns(readers)
	d.reader.SetMaxIdleConns(readers)
	copies, err := openFile(path, "deferred")
	if err != nil {
		return nil, err
	}
	d.copier = newCopier(copies, o.Log)
	d.wstmts.db, d.rstmts.db = d.writer, d.reader
	if err = d.migrate(ctx); err != nil {
		return nil, d.kind(fmt.Errorf("sqlite %s: %w", path, err))
	}
	if d.river, err = river.NewClient(riversqlite.New(d.writer), insertOnly(o)); err != nil {
		return nil, fmt.Errorf("sqlite %s: %w", path, err)
	}
	return d, nil
}

// openFile returns connections to the file whose transactions begin as lock says.
func openFile(path, lock string, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_txlock": {lock}, "_pragma": append([]string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"temp_store(MEMORY)", "journal_size_limit(67108864)",
	}, pragmas...)}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("sqlite %s: %w", path, err)
	}
	return db, nil
}

func (d *sqliteDB) name() string { return "sqlite" }

func (d *sqliteDB) size() string {
	return `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`
}

func (d *sqliteDB) counted() *counts { return &d.counts }

func (d *sqliteDB) shared() bool { return false }

func (d *sqliteDB) close() error {
	errs := []error{d.copier.close()}
	d.wstmts.close()
	d.rstmts.close()
	if d.reader != nil {
		errs = append(errs, d.reader.Close())
	}
	if d.writer != nil {
		errs = append(errs, d.writer.Close())
	}
	return errors.Join(append(errs, d.lock.unlock())...)
}

func (d *sqliteDB) reads() conn { return sqliteReads{d} }

func (d *sqliteDB) update(ctx context.Context, r rank, change func(context.Context, conn, ringer) error) (err error) {
	if err := d.line.take(ctx, r); err != nil {
		return fmt.Errorf("wait for the writer: %w", err)
	}
	defer d.line.give()
	c, err := d.writer.Conn(ctx)
	if err != nil {
		return d.kind(fmt.Errorf("wait for the writer: %w", err))
	}
	defer func() {
		_ = c.Close() // gives the connection back
		d.wstmts.prepare(ctx)
	}()
	// From here on nothing waits for anybody: a caller who goes away in the middle
	// must not leave open whether the commit happened.
	ctx = context.WithoutCancel(ctx)
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return d.kind(fmt.Errorf("begin: %w", err))
	}
	done := false
	defer func() {
		if !done { // change panicked or failed
			_ = tx.Rollback()
		}
	}()
	if err := change(ctx, sqliteTx{d, tx}, ringIn(d.river, tx)); err != nil {
		return err
	}
	done = true
	if err := tx.Commit(); err != nil {
		_ = tx.Rollback()
		return d.kind(fmt.Errorf("commit: %w", err))
	}
	d.counts.transactions.Add(1)
	d.copier.wake()
	return nil
}

func (d *sqliteDB) view(ctx context.Context, read func(context.Context, conn) error) error {
	tx, err := d.reader.BeginTx(ctx, nil) // query_only: SQLite itself refuses a write
	if err != nil {
		return d.kind(fmt.Errorf("begin: %w", err))
	}
	defer func() { _ = tx.Rollback() }() // nothing to keep
	return read(ctx, sqliteView{d, tx})
}

func (d *sqliteDB) bells(ctx context.Context, c river.Config) (func(context.Context) error, error) {
	c.PollOnly = true
	return startBells(ctx, riversqlite.New(d.writer), c)
}

// kind gives err its kind by SQLite's own result code.
func (d *sqliteDB) kind(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		if errors.Is(err, sql.ErrConnDone) || errors.Is(err, os.ErrClosed) {
			return fault.Errorf(fault.Unavailable, "%w", err)
		}
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return fault.Errorf(fault.Conflict, "%w", err)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN:
		return fault.Errorf(fault.Unavailable, "%w", err)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fault.Errorf(fault.Invalid, "%w", err)
	}
	return err
}

// sqliteTx is a writing transaction.
type sqliteTx struct {
	d  *sqliteDB
	tx *sql.Tx
}

func (c sqliteTx) exec(ctx context.Context, q string, args ...any) (int64, error) {
	var (
		r   sql.Result
		err error
	)
	c.d.counts.statements.Add(1)
	if s := c.d.wstmts.get(q); s != nil {
		r, err = c.tx.StmtContext(ctx, s).ExecContext(ctx, clean(args)...)
	} else {
		r, err = c.tx.ExecContext(ctx, q, clean(args)...)
	}
	if err != nil {
		return 0, c.d.kind(err)
	}
	return r.RowsAffected()
}

func (c sqliteTx) query(ctx context.Context, q string, args ...any) (rows, error) {
	var (
		r   *sql.Rows
		err error
	)
	c.d.counts.statements.Add(1)
	if s := c.d.wstmts.get(q); s != nil {
		r, err = c.tx.StmtContext(ctx, s).QueryContext(ctx, clean(args)...)
	} else {
		r, err = c.tx.QueryContext(ctx, q, clean(args)...)
	}
	return c.d.rows(r, err)
}

func (c sqliteTx) batch(ctx context.Context, list []statement) error { return oneByOne(ctx, c, list) }

// sqliteView reads inside one transaction of a reader.
type sqliteView struct {
	d  *sqliteDB
	tx *sql.Tx
}

func (c sqliteView) exec(context.Context, string, ...any) (int64, error) { return 0, errViewWrites }

func (c sqliteView) query(ctx context.Context, q string, args ...any) (rows, error) {
	r, err := c.tx.QueryContext(ctx, q, clean(args)...)
	return c.d.rows(r, err)
}

func (c sqliteView) batch(ctx context.Context, list []statement) error { return oneByOne(ctx, c, list) }

func (c sqliteView) order() []statement { return nil }

// oneByOne runs a batch where statements cost no round trip.
func oneByOne(ctx context.Context, c conn, list []statement) error {
	for _, s := range list {
		if s.scan != nil {
			if err := eachRow(ctx, c, s.scan, s.q, s.args...); err != nil {
				return err
			}
			continue
		}
		n, err := c.exec(ctx, s.q, s.args...)
		if err != nil {
			return err
		}
		if err := s.check(n); err != nil {
			return err
		}
	}
	return nil
}

// order is empty: with one writer, commits come in the order of writes.
func (c sqliteTx) order() []statement { return nil }

// sqliteReads reads outside transactions.
type sqliteReads struct{ d *sqliteDB }

func (c sqliteReads) exec(context.Context, string, ...any) (int64, error) {
	return 0, errors.New("store: a write outside a transaction")
}

func (c sqliteReads) query(ctx context.Context, q string, args ...any) (rows, error) {
	s := c.d.rstmts.get(q)
	if s == nil {
		// Prepared before a connection is held: two readers that each hold one and
		// wait for another would wait for ever.
		c.d.rstmts.prepare(ctx)
		s = c.d.rstmts.get(q)
	}
	if s != nil {
		r, err := s.QueryContext(ctx, clean(args)...)
		return c.d.rows(r, err)
	}
	r, err := c.d.reader.QueryContext(ctx, q, clean(args)...)
	return c.d.rows(r, err)
}

func (c sqliteReads) batch(ctx context.Context, list []statement) error {
	return oneByOne(ctx, c, list)
}

func (c sqliteReads) order() []statement { return nil }

func (d *sqliteDB) rows(r *sql.Rows, err error) (rows, error) {
	if err != nil {
		return nil, d.kind(err)
	}
	return sqlRows{d, r}, nil
}

// sqlRows are rows whose late errors have their kind.
type sqlRows struct {
	d *sqliteDB
	*sql.Rows
}

func (r sqlRows) Err() error { return r.d.kind(r.Rows.Err()) }

func (r sqlRows) Close() { _ = r.Rows.Close() } // Err tells what went wrong

// stmts keeps prepared statements. They are prepared between transactions,
// because the only connection is taken during one.
type stmts struct {
	db     *sql.DB
	mu     sync.Mutex
	ready  map[string]*sql.Stmt
	wanted []string
}

// maxStmts bounds what is kept: lists with filters make many texts.
const maxStmts = 300

func (s *stmts) get(q string) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.ready[q]; p != nil {
		return p
	}
	if len(s.ready)+len(s.wanted) < maxStmts {
		s.wanted = append(s.wanted, q)
	}
	return nil
}

// prepare prepares what was wanted. A statement that cannot be prepared now runs
// unprepared: nothing is lost but time.
func (s *stmts) prepare(ctx context.Context) {
	s.mu.Lock()
	wanted := s.wanted
	s.wanted = nil
	s.mu.Unlock()
	for _, q := range wanted {
		p, err := s.db.PrepareContext(ctx, q)
		if err != nil {
			continue
		}
		s.mu.Lock()
		if s.ready == nil {
			s.ready = map[string]*sql.Stmt{}
		}
		if s.ready[q] != nil {
			_ = p.Close()
		} else {
			s.ready[q] = p
		}
		s.mu.Unlock()
	}
}

func (s *stmts) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.ready {
		_ = p.Close()
	}
	s.ready, s.wanted = nil, nil
}
