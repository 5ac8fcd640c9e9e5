package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A memory is what one transaction knows of the tables: the rows it has read or
// put, and those that are not written yet. A page of signals puts the same few
// rows of the same few tables again and again; kept back, each is written once,
// with its neighbours, in a handful of statements. What is asked of a row that is
// here needs no statement at all. Everything else sees the tables as they must be,
// because what waits is written first: see Tx.settle.
type memory struct {
	rows    map[rowKey]*kept
	waiting []*kept     // rows to be written, in the order of their first put
	loose   []row       // new rows of tables that nobody reads back from here
	leaves  []sequenced // audit entries to be numbered
	later   []statement // what else is to be written
	lists   map[listKey][]*kept
	effects map[listKey][]*kept      // actions that were put, by their effect, which never changes
	owners  map[ownedKey]identity.ID // of strong identifiers; empty: nobody's
	fresh   map[string]bool          // ids of identities, cases and runs made by this transaction: no other row can name them
	dirs    map[identity.Tenant]connector.DirectoryFacts
	fences  map[identity.Tenant]int64
	stops   map[identity.Tenant][]dispatch.Stop
	read    chan<- *kept // rows to be decoded meanwhile; nil: nobody does
	absent  []func()     // what is known when the queries on their way have been answered
}

// A rowKey names a row: the id is what is unique in the tenant.
type rowKey struct {
	table  string
	tenant identity.Tenant
	id     string
}

// A listKey names a list of rows that is here whole, such as the signals of an
// identity.
type listKey struct {
	what   string
	tenant identity.Tenant
	of     string
}

type ownedKey struct {
	tenant identity.Tenant
	key    identity.Key
}

// A kept is a row as the transaction has it.
type kept struct {
	key     rowKey
	doc     string // empty: there is no such row
	row     row    // of what was put; zero for what was only read
	waits   bool   // it is not written yet
	base    int64  // the version in the table; 0: not there
	version int64  // of rows that have versions
	owner   identity.ID
	digest  []byte
	at      int64  // when its source last changed it, an assessment was made, or a run began, in microseconds
	rawAt   int    // of signals: see encodeSignal
	once    string // of runs: playbook and once key
	value   any    // the document decoded, for those that are shared
}

func newMemory() memory {
	return memory{
		rows: map[rowKey]*kept{}, lists: map[listKey][]*kept{}, effects: map[listKey][]*kept{}, owners: map[ownedKey]identity.ID{}, fresh: map[string]bool{},
		dirs: map[identity.Tenant]connector.DirectoryFacts{}, fences: map[identity.Tenant]int64{}, stops: map[identity.Tenant][]dispatch.Stop{},
	}
}

// A row is what a value becomes on its way in: its key, then the columns that
// index it, then its document, in the order of its table's statements.
type row struct {
	table   string
	what    string // for people: "run"
	keys    int    // how many of the columns are its key
	taken   taken
	columns []string
	values  []any
}

// taken says what becomes of a new row whose place is taken.
type taken int

const (
	conflict taken = iota // fault.Conflict
	replace               // it takes the place
	leave                 // the old one stays
)

func (r *row) col(name string, v any) {
	r.columns, r.values = append(r.columns, name), append(r.values, v)
}

// doc returns the document, which is the last column.
func (r *row) doc() string { return r.values[len(r.values)-1].(string) }

// keyed begins a row whose key is tenant and id.
func keyed(table, what string, t identity.Tenant, id string) row {
	r := row{table: table, what: what, keys: 2}
	r.col("tenant", string(t))
	r.col("id", id)
	return r
}

// atOnce is how many rows one statement writes at most.
const atOnce = 64

// inserts returns the statements that write new rows of one table. The numbers of
// rows are powers of two, so that there are few texts to be prepared.
func (tx *Tx) inserts(rows []row) []statement {
	var out []statement
	for len(rows) > 0 {
		n := atOnce
		for n > len(rows) {
			n /= 2
		}
		first, part := rows[0], rows[:n]
		q := tx.db.text(fmt.Sprintf("insert %s %d", first.table, n), func() string { return insertText(first, n) })
		s := statement{q: q, want: -1}
		for _, r := range part {
			s.args = append(s.args, r.values...)
		}
		if first.taken == conflict {
			s.want = int64(n)
			s.lost = func() error {
				return fault.Errorf(fault.Conflict, "%s: another %s has its place already", ids(part), first.what)
			}
		}
		out, rows = append(out, s), rows[n:]
	}
	return out
}

// ids names rows for people.
func ids(rows []row) string {
	var names []string
	for _, r := range rows[:min(len(rows), 3)] {
		names = append(names, fmt.Sprint(r.values[r.keys-1]))
	}
	if len(rows) > len(names) {
		names = append(names, "or one of its neighbours")
	}
	return rows[0].what + " " + strings.Join(names, ", ")
}

func insertText(r row, n int) string {
	values := "(?" + strings.Repeat(", ?", len(r.columns)-1) + ")"
	q := `INSERT INTO ` + r.table + ` (` + strings.Join(r.columns, ", ") + `) VALUES ` + values + strings.Repeat(", "+values, n-1)
	if r.taken != replace {
		return q + ` ON CONFLICT DO NOTHING`
	}
	var set []string
	for _, c := range r.columns[r.keys:] {
		set = append(set, c+" = excluded."+c)
	}
	return q + ` ON CONFLICT (` + strings.Join(r.columns[:r.keys], ", ") + `) DO UPDATE SET ` + strings.Join(set, ", ")
}

// update replaces the row of the version; nobody else can have changed it since
// this transaction read it.
func (tx *Tx) update(r row, version int64) statement {
	q := tx.db.text("update "+r.table, func() string {
		return `UPDATE ` + r.table + ` SET ` + strings.Join(r.columns[r.keys:], " = ?, ") + ` = ? WHERE ` +
			strings.Join(r.columns[:r.keys], " = ? AND ") + ` = ? AND version = ?`
	})
	args := append(slices.Clone(r.values[r.keys:]), r.values[:r.keys]...)
	return statement{q: q, args: append(args, version), want: 1, lost: func() error {
		return fault.Errorf(fault.Conflict, "%s %v: it was changed meanwhile", r.what, r.values[r.keys-1])
	}}
}

// writes takes what waits out of the memory, as statements: changes first, because
// they may free the place of a new row.
func (tx *Tx) writes() []statement {
	if len(tx.waiting)+len(tx.loose)+len(tx.leaves)+len(tx.later) == 0 {
		return nil
	}
	var out []statement
	var tables []string
	fresh := map[string][]row{}
	add := func(r row) {
		if fresh[r.table] == nil {
			tables = append(tables, r.table)
		}
		fresh[r.table] = append(fresh[r.table], r)
	}
	for _, k := range tx.waiting {
		k.waits = false
		if k.base > 0 {
			out = append(out, tx.update(k.row, k.base))
		} else {
			add(k.row)
		}
		k.base = k.version
	}
	for _, r := range tx.loose {
		add(r)
	}
	for _, t := range tables {
		out = append(out, tx.inserts(fresh[t])...)
	}
	out = append(append(out, number(tx.leaves)...), tx.later...)
	tx.waiting, tx.loose, tx.leaves, tx.later = nil, nil, nil, nil
	return out
}

// settle writes what waits.
func (tx *Tx) settle() error {
	if tx.err != nil {
		return tx.err
	}
	return tx.send(tx.writes())
}

// send runs statements in their order, in one round trip where the database can,
// and checks how many rows each touched.
func (tx *Tx) send(list []statement) error {
	if len(list) == 0 {
		return nil
	}
	return tx.keep(tx.raw.batch(tx.ctx, list))
}

// forget drops what is known: a statement that the memory does not understand may
// have changed it. Nothing may wait.
func (tx *Tx) forget() { tx.memory = newMemory() }

// settled is the connection of a transaction for all statements that its memory
// does not answer: what waits is written first.
type settled struct{ tx *Tx }

func (s settled) query(ctx context.Context, q string, args ...any) (rows, error) {
	if err := s.tx.settle(); err != nil {
		return nil, err
	}
	return s.tx.raw.query(ctx, q, args...)
}

func (s settled) exec(ctx context.Context, q string, args ...any) (int64, error) {
	if err := s.tx.settle(); err != nil {
		return 0, err
	}
	s.tx.forget()
	return s.tx.raw.exec(ctx, q, args...)
}

func (s settled) batch(ctx context.Context, list []statement) error {
	if err := s.tx.settle(); err != nil {
		return err
	}
	s.tx.forget()
	return s.tx.raw.batch(ctx, list)
}

func (s settled) order() []statement { return s.tx.raw.order() }

// loadList returns a list, from here or by a query of ids and documents.
func (tx *Tx) loadList(what, table string, t identity.Tenant, of, q string) ([]*kept, error) {
	if l, ok := tx.list(what, t, of); ok {
		return l, nil
	}
	list := []*kept{}
	err := eachRow(tx.ctx, tx.c, func(r rows) error {
		var id string
		var doc string
		if err := r.Scan(&id, &doc); err != nil {
			return err
		}
		list = append(list, tx.learn(table, t, id, doc))
		return nil
	}, q, string(t), of)
	if tx.keep(err) != nil {
		return nil, err
	}
	tx.lists[listKey{what, t, of}] = list
	return list, nil
}

// run is exec for statements whose effect the caller tells the memory itself.
func (tx *Tx) run(q string, args ...any) (int64, error) {
	if err := tx.settle(); err != nil {
		return 0, err
	}
	n, err := tx.raw.exec(tx.ctx, q, args...)
	return n, tx.keep(err)
}

// known returns a row that is here.
func (tx *Tx) known(table string, t identity.Tenant, id string) (*kept, bool) {
	k, ok := tx.rows[rowKey{table, t, id}]
	if !ok && tx.fresh[id] {
		k, ok = tx.learn(table, t, id, ""), true
	}
	return k, ok
}

// learn notes a row as the table has it; an empty document is its absence. What
// waits here is newer and stays.
func (tx *Tx) learn(table string, t identity.Tenant, id, doc string) *kept {
	key := rowKey{table, t, id}
	if k, ok := tx.rows[key]; ok {
		return k
	}
	k := &kept{key: key, doc: doc}
	tx.rows[key] = k
	return k
}

// put notes what is to be written in the place of k.
func (tx *Tx) put(k *kept, r row, doc string) {
	k.row, k.doc, k.value = r, doc, nil
	if !k.waits {
		k.waits = true
		tx.waiting = append(tx.waiting, k)
	}
}

// separate writes a row that waits before it is put again, where the table judges
// each change of it.
func (tx *Tx) separate(table string, t identity.Tenant, id string) error {
	if k, ok := tx.rows[rowKey{table, t, id}]; ok && k.waits {
		return tx.settle()
	}
	return nil
}

// list returns a list that is here whole; what was made by this transaction has
// only what this transaction gave it.
func (tx *Tx) list(what string, t identity.Tenant, of string) ([]*kept, bool) {
	l, ok := tx.lists[listKey{what, t, of}]
	return l, ok || tx.fresh[of]
}

// join adds k to a list if it is here whole.
func (tx *Tx) join(what string, t identity.Tenant, of string, k *kept) {
	if l, ok := tx.list(what, t, of); ok && !slices.Contains(l, k) {
		tx.lists[listKey{what, t, of}] = append(l, k)
	}
}

// part takes k out of a list.
func (tx *Tx) part(what string, t identity.Tenant, of string, k *kept) {
	if l, ok := tx.lists[listKey{what, t, of}]; ok {
		tx.lists[listKey{what, t, of}] = slices.DeleteFunc(slices.Clone(l), func(o *kept) bool { return o == k })
	}
}

// shared decodes the document of k once. Only values that nobody changes in place
// are shared.
func shared[T any](k *kept) (T, error) {
	if v, ok := k.value.(T); ok {
		return v, nil
	}
	v, err := decode[T]([]byte(k.doc))
	if err == nil {
		k.value = v
	}
	return v, err
}

// all decodes the documents of a list, as order has them.
func all[T any](list []*kept, order func(a, b T) int) ([]T, error) {
	var out []T
	for _, k := range list {
		v, err := shared[T](k)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	slices.SortFunc(out, order)
	return out, nil
}

// fetch returns a row with a document, from here or from its table.
func (tx *Tx) fetch(table string, t identity.Tenant, id, q string, args ...any) (*kept, error) {
	if k, ok := tx.known(table, t, id); ok {
		return k, nil
	}
	var doc string
	if _, err := scanRow(tx.ctx, tx.raw, []any{&doc}, q, args...); tx.keep(err) != nil {
		return nil, err
	}
	return tx.learn(table, t, id, doc), nil
}

// docByID reads a document whose key is tenant and id; fault.NotFound names what
// is missing.
func docByID[T any](tx *Tx, table, what, q string, t identity.Tenant, id string) (v T, err error) {
	k, err := tx.stored(table, what, q, t, id)
	if err != nil {
		return v, err
	}
	return decode[T]([]byte(k.doc))
}

// stored is fetch of a row that must be there.
func (tx *Tx) stored(table, what, q string, t identity.Tenant, id string) (*kept, error) {
	k, err := tx.fetch(table, t, id, q, string(t), id)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", what, id, err)
	case k.doc == "":
		return nil, fault.Errorf(fault.NotFound, "no %s %s", what, id)
	}
	return k, nil
}

// putVersioned puts a row with a version: a new one when was is 0, else in the
// place of that version. It returns fault.Conflict when another version is there
// now, fault.NotFound when there is none. That a new row's place is taken by
// another is told when the row is written, at the latest by the commit.
func (tx *Tx) putVersioned(r row, t identity.Tenant, id string, was int64, doc, query string) (*kept, error) {
	var k *kept
	if was == 0 {
		k = tx.learn(r.table, t, id, "")
	} else {
		var err error
		if k, err = tx.fetch(r.table, t, id, query, string(t), id); err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.what, id, err)
		}
	}
	if err := k.versioned(); err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.what, id, err)
	}
	switch {
	case k.version == was:
	case k.doc == "":
		return nil, fault.Errorf(fault.NotFound, "no %s %s", r.what, id)
	case was == 0:
		return nil, fault.Errorf(fault.Conflict, "%s %s: another %s has its place already", r.what, id, r.what)
	default:
		return nil, fault.Errorf(fault.Conflict, "%s %s: it was changed meanwhile (version %d, yours is %d)", r.what, id, k.version, was)
	}
	k.version = was + 1
	tx.put(k, r, doc)
	return k, nil
}

// versioned reads the version of a row that was only read so far.
func (k *kept) versioned() error {
	if k.version > 0 || k.doc == "" {
		return nil
	}
	v, err := decode[struct {
		Version int64 `json:"version"`
	}]([]byte(k.doc))
	k.version, k.base = v.Version, v.Version
	return err
}
