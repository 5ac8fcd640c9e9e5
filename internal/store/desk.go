package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// deskStore is the store as package desk needs it.
type deskStore struct{ db *DB }

func (s deskStore) Update(ctx context.Context, change func(desk.Tx) error) error {
	return s.db.update(ctx, rankOther, func(tx *Tx) error { return change(tx) })
}

func (s deskStore) View(ctx context.Context, read func(desk.Tx) error) error {
	return s.db.view(ctx, func(tx *Tx) error { return read(tx) })
}

// Brake is Update that goes before what waits to leave: the stop holds within a second
// however long the line is.
func (s deskStore) Brake(ctx context.Context, change func(desk.Tx) error) error {
	return s.db.update(ctx, rankBrake, func(tx *Tx) error { return change(tx) })
}

// An orderBy is one column by which a list is ordered.
type orderBy struct {
	column string
	desc   bool
	text   bool // a string; otherwise an integer
}

// A listing is a query for one page of a list: its filters and its order, whose
// last column makes it total.
type listing struct {
	table string
	order []orderBy
	where []string
	args  []any
}

// is narrows to rows whose column has the value, unless it is empty.
func (l *listing) is(column, value string) {
	if value != "" {
		l.where, l.args = append(l.where, column+" = ?"), append(l.args, value)
	}
}

// in narrows to rows whose column has one of the values, unless there are none.
func in[S ~string](l *listing, column string, values []S) {
	if len(values) == 0 {
		return
	}
	l.where = append(l.where, column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")")
	for _, v := range values {
		l.args = append(l.args, string(v))
	}
}

// from narrows to rows whose column is at least min, unless min is 0.
func (l *listing) from(column string, least int64) {
	if least != 0 {
		l.where, l.args = append(l.where, column+" >= ?"), append(l.args, least)
	}
}

// contains narrows to rows whose lower-case column contains the text.
func (l *listing) contains(column, text string) {
	if text == "" {
		return
	}
	escaped := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(text))
	l.where, l.args = append(l.where, column+` LIKE ? ESCAPE '\'`), append(l.args, "%"+escaped+"%")
}

// query returns the statement for the page and its arguments: the columns of the
// order, then doc.
func (l *listing) query(column string, p desk.Page) (string, []any, error) {
	where, args := l.where, l.args
	if p.After != "" {
		keys, err := l.parse(p.After)
		if err != nil {
			return "", nil, err
		}
		var ors []string
		for n, o := range l.order {
			var ands []string
			for k, before := range l.order[:n] {
				ands, args = append(ands, before.column+" = ?"), append(args, keys[k])
			}
			op := " > ?"
			if o.desc {
				op = " < ?"
			}
			ands, args = append(ands, o.column+op), append(args, keys[n])
			ors = append(ors, "("+strings.Join(ands, " AND ")+")")
		}
		where = append(where, "("+strings.Join(ors, " OR ")+")")
	}
	var columns, order []string
	for _, o := range l.order {
		columns = append(columns, o.column)
		if o.desc {
			order = append(order, o.column+" DESC")
		} else {
			order = append(order, o.column)
		}
	}
	q := "SELECT " + strings.Join(columns, ", ") + ", " + column + " FROM " + l.table
	if len(where) > 0 {
		q += " WHERE " + strings.Join(where, " AND ")
	}
	q += " ORDER BY " + strings.Join(order, ", ") + " LIMIT ?"
	return q, append(args, int64(p.Size()+1)), nil
}

// parse reads a cursor: base64 of the JSON array of the last row's keys.
func (l *listing) parse(cursor string) ([]any, error) {
	bad := fault.Errorf(fault.Invalid, "page: %.40q is not a cursor of this list", cursor)
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, bad
	}
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil || len(raw) != len(l.order) {
		return nil, bad
	}
	keys := make([]any, len(raw))
	for n, o := range l.order {
		var s string
		var i int64
		switch {
		case o.text && json.Unmarshal(raw[n], &s) == nil:
			keys[n] = s
		case !o.text && json.Unmarshal(raw[n], &i) == nil:
			keys[n] = i
		default:
			return nil, bad
		}
	}
	return keys, nil
}

// cursor is the inverse of parse.
func cursor(keys []any) string {
	b, err := json.Marshal(keys)
	if err != nil { // strings and integers always marshal
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// page runs the listing; item reads a row's column into a value.
func page[T any](ctx context.Context, db *DB, l *listing, p desk.Page, column string, dest func() []any, item func([]any) (T, error)) (desk.List[T], error) {
	out := desk.List[T]{Items: []T{}}
	q, args, err := l.query(column, p)
	if err != nil {
		return out, err
	}
	var last []any
	err = eachRow(ctx, db.reads(), func(r rows) error {
		keys := make([]any, len(l.order))
		for n, o := range l.order {
			if o.text {
				keys[n] = new(string)
			} else {
				keys[n] = new(int64)
			}
		}
		cells := dest()
		if err := r.Scan(append(keys, cells...)...); err != nil {
			return err
		}
		if len(out.Items) == p.Size() {
			out.Next = cursor(last)
			return nil
		}
		v, err := item(cells)
		if err != nil {
			return err
		}
		out.Items, last = append(out.Items, v), keys
		return nil
	}, q, args...)
	if err != nil {
		name, _, _ := strings.Cut(l.table, " ")
		return out, fmt.Errorf("list %s: %w", name, err)
	}
	return out, nil
}

// docs is page for tables of documents.
func docs[T any](ctx context.Context, db *DB, l *listing, p desk.Page) (desk.List[T], error) {
	return page(ctx, db, l, p, "doc", func() []any { return []any{new([]byte)} }, func(cells []any) (T, error) {
		return decode[T](*cells[0].(*[]byte))
	})
}

var byID = orderBy{column: "id", text: true}

func (s deskStore) Cases(ctx context.Context, f desk.CaseFilter, p desk.Page) (desk.List[casefile.Case], error) {
	l := &listing{table: "cases", order: []orderBy{{column: "rank", desc: true}, {column: "score", desc: true},
		{column: "last_signal", desc: true}, byID}}
	l.is("tenant", string(f.Tenant))
	l.is("identity", string(f.Identity))
	in(l, "status", f.Status)
	l.from("rank", int64(f.MinLevel.Rank()))
	l.contains("name_key", f.Name)
	return docs[casefile.Case](ctx, s.db, l, p)
}

func (s deskStore) Identities(ctx context.Context, f desk.IdentityFilter, p desk.Page) (desk.List[identity.Identity], error) {
	l := &listing{table: "identities", order: []orderBy{{column: "name_key", text: true}, byID}}
	l.is("tenant", string(f.Tenant))
	l.is("kind", string(f.Kind))
	l.contains("search", f.Name)
	return docs[identity.Identity](ctx, s.db, l, p)
}

func (s deskStore) Signals(ctx context.Context, f desk.SignalFilter, p desk.Page) (desk.List[signal.Signal], error) {
	l := &listing{table: "signals", order: []orderBy{{column: "at", desc: true}, {column: "tenant", text: true},
		{column: "source", text: true}, {column: "external_id", text: true}}}
	l.is("tenant", string(f.Tenant))
	l.is("identity", string(f.Identity))
	l.is("source", string(f.Source))
	l.is("type", f.Type)
	l.from("rank", int64(f.MinLevel.Rank()))
	l.from("at", micros0(f.Since))
	return docs[signal.Signal](ctx, s.db, l, p)
}

func (s deskStore) Runs(ctx context.Context, f desk.RunFilter, p desk.Page) (desk.List[run.Run], error) {
	l := &listing{table: "runs", order: []orderBy{{column: "started_at", desc: true}, byID}}
	l.is("tenant", string(f.Tenant))
	l.is("case_id", string(f.Case))
	l.is("identity", string(f.Identity))
	l.is("playbook", f.Playbook)
	in(l, "state", f.State)
	return docs[run.Run](ctx, s.db, l, p)
}

func (s deskStore) Approvals(ctx context.Context, f desk.ApprovalFilter, p desk.Page) (desk.List[approval.Request], error) {
	l := &listing{table: "approvals", order: []orderBy{{column: "asked_at", desc: true}, byID}}
	l.is("tenant", string(f.Tenant))
	l.is("run", string(f.Run))
	l.is("case_id", string(f.Case))
	l.is("identity", string(f.Identity))
	in(l, "state", f.State)
	return docs[approval.Request](ctx, s.db, l, p)
}

func (s deskStore) Actions(ctx context.Context, f desk.ActionFilter, p desk.Page) (desk.List[action.Action], error) {
	l := &listing{table: "actions", order: []orderBy{{column: "requested_at", desc: true}, byID}}
	l.is("tenant", string(f.Tenant))
	l.is("run", string(f.Run))
	l.is("case_id", string(f.Case))
	l.is("identity", string(f.Identity))
	l.is("name", string(f.Name))
	in(l, "state", f.State)
	if f.Person {
		l.where = append(l.where, "person = 1")
	}
	return docs[action.Action](ctx, s.db, l, p)
}

// AuditEntries shows an erased entry as what its leaf still says: when and of
// which kind.
func (s deskStore) AuditEntries(ctx context.Context, f desk.AuditFilter, p desk.Page) (desk.List[audit.Entry], error) {
	l := &listing{table: "audit_entries", order: []orderBy{{column: "seq", desc: true}}}
	l.is("tenant", string(f.Tenant))
	l.is("identity", string(f.Identity))
	l.is("case_id", string(f.Case))
	l.is("run", string(f.Run))
	l.is("action", string(f.Action))
	l.is("approval", string(f.Approval))
	in(l, "kind", f.Kind)
	l.from("at", micros0(f.Since))
	cells := func() []any { return []any{new([]byte), new(string), new(string), new(int64)} }
	return page(ctx, s.db, l, p, "payload, tenant, kind, at", cells, func(c []any) (audit.Entry, error) {
		if payload := *c[0].(*[]byte); payload != nil {
			return decode[audit.Entry](payload)
		}
		return audit.Entry{
			Tenant: identity.Tenant(*c[1].(*string)), Kind: audit.Kind(*c[2].(*string)),
			At: fromMicros(*c[3].(*int64)), Text: "erased",
		}, nil
	})
}

// one reads a row by id, in any tenant when t is empty.
func one[T any](ctx context.Context, db *DB, what, table string, t identity.Tenant, id string) (T, error) {
	q, args := `SELECT doc FROM `+table+` WHERE id = ?`, []any{id}
	if t != "" {
		q, args = `SELECT doc FROM `+table+` WHERE tenant = ? AND id = ?`, []any{string(t), id}
	}
	v, ok, err := docOf[T](ctx, db.reads(), q, args...)
	return found(v, ok, err, what, args)
}

func (s deskStore) Case(ctx context.Context, t identity.Tenant, id casefile.ID) (casefile.Case, error) {
	return one[casefile.Case](ctx, s.db, "case", "cases", t, string(id))
}

func (s deskStore) Identity(ctx context.Context, t identity.Tenant, id identity.ID) (identity.Identity, error) {
	i, err := one[identity.Identity](ctx, s.db, "identity", "identities", t, string(id))
	for n := 0; err == nil && i.LivesIn != "" && n < linksDeep; n++ {
		i, err = one[identity.Identity](ctx, s.db, "identity", "identities", i.Tenant, string(i.LivesIn))
	}
	return i, err
}

func (s deskStore) Run(ctx context.Context, t identity.Tenant, id run.ID) (run.Run, error) {
	return one[run.Run](ctx, s.db, "run", "runs", t, string(id))
}

func (s deskStore) Approval(ctx context.Context, t identity.Tenant, id approval.ID) (approval.Request, error) {
	return one[approval.Request](ctx, s.db, "approval", "approvals", t, string(id))
}

func (s deskStore) Action(ctx context.Context, t identity.Tenant, id action.ID) (action.Action, error) {
	return one[action.Action](ctx, s.db, "action", "actions", t, string(id))
}

func (s deskStore) Signal(ctx context.Context, k signal.Key) (signal.Signal, error) {
	l := &listing{}
	l.is("tenant", string(k.Tenant))
	l.is("source", string(k.Source))
	l.where, l.args = append(l.where, "external_id = ?"), append(l.args, k.ExternalID)
	v, ok, err := docOf[signal.Signal](ctx, s.db.reads(), `SELECT doc FROM signals WHERE `+
		strings.Join(l.where, " AND ")+` ORDER BY tenant, source LIMIT 1`, l.args...)
	return found(v, ok, err, "signal", l.args)
}

func (s deskStore) Assessment(ctx context.Context, t identity.Tenant, id identity.ID) (risk.Assessment, error) {
	q, args := selectAssessment, []any{string(t), string(id)}
	if t == "" {
		q, args = `SELECT doc FROM assessments WHERE identity = ?`, []any{string(id)}
	}
	v, ok, err := docOf[risk.Assessment](ctx, s.db.reads(), q, args...)
	return found(v, ok, err, "assessment of identity", args)
}

func (s deskStore) Directory(ctx context.Context, t identity.Tenant) (connector.DirectoryFacts, error) {
	d, _, err := docOf[connector.DirectoryFacts](ctx, s.db.reads(), selectDirectory, string(t))
	if err != nil {
		return d, fmt.Errorf("directory facts: %w", err)
	}
	return d, nil
}

func (s deskStore) FindAccount(ctx context.Context, t identity.Tenant, name string) ([]identity.Identity, error) {
	v, err := findAccount(ctx, s.db.reads(), t, name)
	if err != nil {
		return nil, fmt.Errorf("find account: %w", err)
	}
	return v, nil
}

func (s deskStore) Stop(ctx context.Context, t identity.Tenant) (dispatch.Stop, error) {
	return stop(ctx, s.db.reads(), t)
}

func (s deskStore) Kinds(ctx context.Context, t identity.Tenant) ([]detection.Kind, error) {
	out, where, args := []detection.Kind{}, "", []any(nil)
	if t != "" {
		where, args = " WHERE tenant = ?", []any{string(t)}
	}
	err := eachRow(ctx, s.db.reads(), func(r rows) error {
		var k detection.Kind
		err := r.Scan(&k.Source, &k.Type, &k.Count)
		out = append(out, k)
		return err
	}, `SELECT source, type, count(*) AS n FROM signals`+where+` GROUP BY source, type ORDER BY n DESC, source, type`, args...)
	if err != nil {
		return nil, fmt.Errorf("count kinds of signals: %w", err)
	}
	return out, nil
}

func (s deskStore) Count(ctx context.Context, t identity.Tenant) (desk.Counts, error) {
	out := desk.Counts{Cases: map[casefile.Status]int{}}
	and, args := "", []any(nil)
	if t != "" {
		and, args = " AND tenant = ?", []any{string(t)}
	}
	err := eachRow(ctx, s.db.reads(), func(r rows) error {
		var status casefile.Status
		var n int
		err := r.Scan(&status, &n)
		out.Cases[status] = n
		return err
	}, `SELECT status, count(*) FROM cases WHERE 1 = 1`+and+` GROUP BY status`, args...)
	if err != nil {
		return out, fmt.Errorf("count cases: %w", err)
	}
	if _, err := scanRow(ctx, s.db.reads(), []any{&out.Approvals},
		`SELECT count(*) FROM approvals WHERE state = 'pending'`+and, args...); err != nil {
		return out, fmt.Errorf("count approvals: %w", err)
	}
	if _, err := scanRow(ctx, s.db.reads(), []any{&out.Persons},
		`SELECT count(*) FROM actions WHERE person = 1`+and, args...); err != nil {
		return out, fmt.Errorf("count actions that wait for a person: %w", err)
	}
	return out, nil
}

func (s deskStore) Pulse(ctx context.Context) (int64, error) {
	var n int64
	if _, err := scanRow(ctx, s.db.reads(), []any{&n}, `SELECT coalesce(max(seq), 0) FROM audit_entries`); err != nil {
		return 0, fmt.Errorf("pulse: %w", err)
	}
	return n, nil
}

func (s deskStore) Sealed(ctx context.Context, before time.Time, limit int) ([]action.Action, error) {
	out, err := docsOf[action.Action](ctx, s.db.reads(), `SELECT doc FROM actions
		WHERE sealed = 1 AND intent_at <= ? ORDER BY intent_at, id LIMIT ?`, micros0(before), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("sealed actions: %w", err)
	}
	return out, nil
}
