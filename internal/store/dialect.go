package store

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
)

// A dialect is what differs between the two databases. Statements are the same
// text on both, with ? for parameters.
type dialect interface {
	name() string
	close() error

	// reads returns the connection for reading outside transactions.
	reads() conn
	// update runs change in one transaction and commits it. It calls change again
	// when the database asks for it, and rolls back when change panics.
	update(ctx context.Context, r rank, change func(context.Context, conn, ringer) error) error
	// view runs read in one transaction that sees one state and can write nothing. It
	// waits for no writer, and no writer waits for it.
	view(ctx context.Context, read func(context.Context, conn) error) error
	// bells starts River with the one worker that rings.
	bells(ctx context.Context, c river.Config) (stop func(context.Context) error, err error)
	// size is the query of the database's size in bytes.
	size() string
	// counted returns what was done so far.
	counted() *counts
	// shared reports whether other processes may use the database.
	shared() bool
}

// A conn runs statements, inside a transaction or outside. Its errors have their
// kind already.
type conn interface {
	exec(ctx context.Context, q string, args ...any) (affected int64, err error)
	query(ctx context.Context, q string, args ...any) (rows, error)
	// batch runs statements in their order, in one round trip where that costs one.
	batch(ctx context.Context, list []statement) error
	// order returns the statements after which this transaction's commit follows
	// those that ran them before: what is inserted afterwards is numbered in the order
	// of commits.
	order() []statement
}

// A statement is one of a batch.
type statement struct {
	q    string
	args []any
	scan func(rows) error // called for each row of a query; nil: it changes rows
	want int64            // how many rows a change must touch; -1: any number
	lost func() error     // why it may have touched fewer
}

// check returns why a change that touched n rows did not do what it should.
func (s statement) check(n int64) error {
	if s.want < 0 || n == s.want {
		return nil
	}
	return s.lost()
}

type rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}

// A ringer inserts River jobs in the transaction it belongs to.
type ringer func(ctx context.Context, jobs []river.InsertManyParams) error

// ringIn returns the ringer of a transaction.
func ringIn[T any](c *river.Client[T], tx T) ringer {
	return func(ctx context.Context, jobs []river.InsertManyParams) error {
		_, err := c.InsertManyTx(ctx, tx, jobs)
		return err
	}
}

// startBells starts a River client that works.
func startBells[T any](ctx context.Context, d riverdriver.Driver[T], c river.Config) (func(context.Context) error, error) {
	client, err := river.NewClient(d, &c)
	if err != nil {
		return nil, err
	}
	// River stops when the context it was started with ends; here only stop ends it.
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	return client.StopAndCancel, nil
}

// rebind turns ? into $1, $2 and so on. No statement of ours has a ? in a literal.
func rebind(q string) string {
	var b strings.Builder
	n := 0
	for i := range len(q) {
		if q[i] != '?' {
			b.WriteByte(q[i])
			continue
		}
		n++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// texts keeps derived statement texts; the set of statements is finite.
type texts struct{ m sync.Map }

func (t *texts) rebound(q string) string {
	if v, ok := t.m.Load(q); ok {
		return v.(string)
	}
	v := rebind(q)
	t.m.Store(q, v)
	return v
}

// clean makes every string storable on both databases: PostgreSQL's text takes
// neither NUL nor malformed UTF-8, and foreign names may hold both. Documents
// are JSON, in which NUL is always escaped.
func clean(args []any) []any {
	for i, a := range args {
		if s, ok := a.(string); ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	return args
}

// micros is how a time rests in a column: microseconds since 1970 UTC, NULL for
// the zero time.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// micros0 is micros for columns that are never NULL: 0 for the zero time.
func micros0(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros is the inverse of micros; 0 is the zero time.
func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// orNull is NULL for the empty string: columns that refer to other rows.
func orNull[S ~string](s S) any {
	if s == "" {
		return nil
	}
	return string(s)
}

func clean1(s string) string { return clean([]any{s})[0].(string) }
