package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A Tx is one transaction. It satisfies the Tx of every capability. It is used
// by one goroutine and not after its change has returned. Rows are kept back until
// something needs them in the tables, audit entries and bells until the end.
type Tx struct {
	memory
	ctx  context.Context // of the Update call; the ports' methods take none
	db   *DB
	c    conn // for what the memory does not answer; what waits is written first
	raw  conn // the connection itself
	ring ringer
	err  error // the first error of the database; nothing is committed after it

	entries []audit.Entry
	bells   []bell
	topics  []Topic
	touched map[Topic]bool
	stirred []runKey        // runs of which an action or approval changed
	moved   map[runKey]bool // runs that were put
}

// A runKey names a run.
type runKey struct {
	tenant identity.Tenant
	id     string
}

func newTx(ctx context.Context, db *DB, c conn, ring ringer) *Tx {
	tx := &Tx{memory: newMemory(), ctx: ctx, db: db, raw: c, ring: ring, touched: map[Topic]bool{}, moved: map[runKey]bool{}}
	tx.c = settled{tx}
	return tx
}

// NewID returns a fresh sortable id with the prefix, such as "run".
func (tx *Tx) NewID(prefix string) string {
	id := tx.db.NewID(prefix)
	switch prefix {
	case "idn", "case", "run": // what other rows name
		tx.fresh[id] = true
	}
	return id
}

// Audit writes e to the trail with what else the transaction writes. Its order
// in the trail is the order of commits.
func (tx *Tx) Audit(e audit.Entry) error {
	tx.entries = append(tx.entries, e)
	tx.touch(Topic{Kind: TopicAudit})
	return nil
}

func (tx *Tx) touch(t Topic) {
	if !tx.touched[t] {
		tx.touched[t] = true
		tx.topics = append(tx.topics, t)
	}
}

// finish writes what was collected. The trail comes last: on PostgreSQL it is
// numbered under a lock that is held until the commit is over.
func (tx *Tx) finish() error {
	if tx.err != nil {
		return fmt.Errorf("a statement of this transaction failed: %w", tx.err)
	}
	if err := tx.ringBells(); err != nil {
		return err
	}
	list := tx.writes()
	for _, k := range tx.stirred {
		if tx.moved[k] {
			continue
		}
		tx.moved[k] = true // once
		list = append(list, statement{want: -1, q: `UPDATE runs SET stirred = 1 WHERE tenant = ? AND id = ? AND stirred = 0 AND final = 0`,
			args: []any{string(k.tenant), k.id}})
		tx.touch(Topic{TopicDue, k.tenant, k.id})
	}
	trail, err := tx.trail()
	if err != nil {
		return err
	}
	return tx.send(append(list, trail...))
}

// trail returns the statements that write the audit entries.
func (tx *Tx) trail() ([]statement, error) {
	if len(tx.entries) == 0 {
		return nil, nil
	}
	list := make([]row, 0, len(tx.entries))
	for _, e := range tx.entries {
		payload, err := e.Canonical()
		if err != nil {
			return nil, err
		}
		salt := make([]byte, audit.SaltSize)
		if _, err := io.ReadFull(tx.db.opts.Entropy, salt); err != nil {
			return nil, fmt.Errorf("audit salt: %w", err)
		}
		r := row{table: "audit_entries", what: "audit entry", keys: 1}
		r.col("id", tx.NewID("aud"))
		r.col("tenant", string(e.Tenant))
		r.col("at", micros0(e.At))
		r.col("kind", string(e.Kind))
		r.col("identity", e.Identity)
		r.col("case_id", e.Case)
		r.col("run", e.Run)
		r.col("action", e.Action)
		r.col("approval", e.Approval)
		r.col("payload", payload)
		r.col("salt", salt)
		list = append(list, r)
	}
	tx.entries = nil
	return append(tx.raw.order(), tx.inserts(list)...), nil
}

// keep remembers the first error of the database: PostgreSQL commits nothing
// after one, and so SQLite must not either.
func (tx *Tx) keep(err error) error {
	if err != nil && tx.err == nil {
		tx.err = err
	}
	return err
}

func (tx *Tx) exec(q string, args ...any) (int64, error) {
	n, err := tx.c.exec(tx.ctx, q, args...)
	return n, tx.keep(err)
}

// row scans the first row into dest and reports whether there was one.
func (tx *Tx) row(dest []any, q string, args ...any) (bool, error) {
	ok, err := scanRow(tx.ctx, tx.c, dest, q, args...)
	return ok, tx.keep(err)
}

// scanRow scans the first row of a query into dest and reports whether there was
// one.
func scanRow(ctx context.Context, c conn, dest []any, q string, args ...any) (bool, error) {
	r, err := c.query(ctx, q, args...)
	if err != nil {
		return false, err
	}
	defer r.Close()
	if !r.Next() {
		return false, r.Err()
	}
	if err := r.Scan(dest...); err != nil {
		return false, err
	}
	r.Close()
	return true, r.Err()
}

// eachRow calls scan for every row of a query.
func eachRow(ctx context.Context, c conn, scan func(rows) error, q string, args ...any) error {
	r, err := c.query(ctx, q, args...)
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Next() {
		if err := scan(r); err != nil {
			return err
		}
	}
	return r.Err()
}

// docOf reads the document that a query's only column holds; ok is false when
// there is no row.
func docOf[T any](ctx context.Context, c conn, q string, args ...any) (v T, ok bool, err error) {
	var doc []byte
	if ok, err = scanRow(ctx, c, []any{&doc}, q, args...); !ok || err != nil {
		return v, false, err
	}
	v, err = decode[T](doc)
	return v, err == nil, err
}

// docsOf reads the documents that a query's only column holds.
func docsOf[T any](ctx context.Context, c conn, q string, args ...any) ([]T, error) {
	var out []T
	err := eachRow(ctx, c, func(r rows) error {
		var doc []byte
		if err := r.Scan(&doc); err != nil {
			return err
		}
		v, err := decode[T](doc)
		out = append(out, v)
		return err
	}, q, args...)
	return out, err
}

// txDoc is docOf inside a transaction; no row is fault.NotFound naming what.
func txDoc[T any](tx *Tx, what, q string, args ...any) (T, error) {
	v, ok, err := docOf[T](tx.ctx, tx.c, q, args...)
	return found(v, ok, tx.keep(err), what, args)
}

// txDocs is docsOf inside a transaction.
func txDocs[T any](tx *Tx, what, q string, args ...any) ([]T, error) {
	v, err := docsOf[T](tx.ctx, tx.c, q, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, tx.keep(err))
	}
	return v, nil
}

// found turns a missing row into fault.NotFound; the last argument of the query
// is the id.
func found[T any](v T, ok bool, err error, what string, args []any) (T, error) {
	switch {
	case err != nil:
		return v, fmt.Errorf("%s %v: %w", what, args[len(args)-1], err)
	case !ok:
		return v, fault.Errorf(fault.NotFound, "no %s %v", what, args[len(args)-1])
	}
	return v, nil
}

func decode[T any](doc []byte) (v T, err error) {
	if err := json.Unmarshal(doc, &v); err != nil {
		return v, fmt.Errorf("a stored document cannot be read: %w", err)
	}
	return v, nil
}

// encode returns the document of v. Raw records of a source are JSON, and JSON
// is UTF-8: malformed bytes in them become U+FFFD here, on both databases.
func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "cannot be stored: %w", err)
	}
	if !utf8.Valid(b) {
		return strings.ToValidUTF8(string(b), "\uFFFD"), nil
	}
	return string(b), nil
}

func digest(doc string) []byte {
	sum := sha256.Sum256([]byte(doc))
	return sum[:]
}

// text returns a derived statement, made once.
func (db *DB) text(key string, derive func() string) string {
	if v, ok := db.derived.Load(key); ok {
		return v.(string)
	}
	v := derive()
	db.derived.Store(key, v)
	return v
}

var errNoTenant = errors.New("the tenant is missing")

// mustTenant refuses rows without a tenant: it is part of every key.
func mustTenant(what string, t identity.Tenant) error {
	if t == "" {
		return fault.Errorf(fault.Invalid, "%s: %w", what, errNoTenant)
	}
	return nil
}
