// Package desktest is an in-memory store for tests of the desk and of whoever
// shows it: the same contract as the real one, checked by the same suite. Rows
// are kept as JSON, so what is read is a copy and a field that does not survive
// encoding is noticed.
package desktest

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// row is one stored value.
type row struct {
	tenant identity.Tenant
	owner  string // of signals and account risks: the identity
	data   []byte
}

// tables holds all rows by table and key. A transaction works on a copy.
type tables map[string]map[string]row

func (t tables) clone() tables {
	out := tables{}
	for name, rows := range t {
		out[name] = make(map[string]row, len(rows))
		for k, r := range rows {
			out[name][k] = r
		}
	}
	return out
}

// A Store is an in-memory desk.Store. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	tables  tables
	entries []audit.Entry
	ids     int
	failing error
	braked  int
}

// New returns an empty store.
func New() *Store { return &Store{tables: tables{}} }

var _ desk.Store = (*Store)(nil)

// Fail makes every further commit return err; nil ends that.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = err
}

// Update runs change on a copy and keeps it when there is no error.
func (s *Store) Update(ctx context.Context, change func(desk.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return change(t) })
}

// View runs read on a copy, which is thrown away; a change is fault.Conflict.
func (s *Store) View(ctx context.Context, read func(desk.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tx{tables: s.tables.clone(), ids: s.ids}
	if err := read(t); err != nil {
		return err
	}
	if len(t.entries) > 0 || !reflect.DeepEqual(t.tables, s.tables) {
		return fault.Errorf(fault.Conflict, "a view changes nothing")
	}
	return nil
}

// Brake is Update, and counted.
func (s *Store) Brake(ctx context.Context, change func(desk.Tx) error) error {
	s.mu.Lock()
	s.braked++
	s.mu.Unlock()
	return s.Update(ctx, change)
}

// Braked returns how often Brake was called.
func (s *Store) Braked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.braked
}

func (s *Store) update(ctx context.Context, change func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tx{tables: s.tables.clone(), ids: s.ids}
	if err := change(t); err != nil {
		return err
	}
	if s.failing != nil {
		return s.failing
	}
	s.tables, s.ids = t.tables, t.ids
	s.entries = append(s.entries, t.entries...)
	return nil
}

// ForRuns is the same store as runs see it.
func (s *Store) ForRuns() run.Store { return runs{s} }

type runs struct{ *Store }

func (r runs) Update(ctx context.Context, change func(run.Tx) error) error {
	return r.update(ctx, func(t *tx) error { return change(t) })
}

func (r runs) DueRuns(_ context.Context, now time.Time, limit int) ([]run.Key, error) {
	var out []run.Key
	for _, v := range read[run.Run](r.Store, "runs", "") {
		if !v.State.Final() && !v.DueAt.IsZero() && !v.DueAt.After(now) {
			out = append(out, run.Key{Tenant: v.Tenant, ID: v.ID})
		}
	}
	return out[:min(limit, len(out))], nil
}

func (r runs) DueApprovals(_ context.Context, now time.Time, limit int) ([]approval.Request, error) {
	var out []approval.Request
	for _, q := range read[approval.Request](r.Store, "approvals", "") {
		if q.State == approval.Pending && !q.ExpiresAt.After(now) {
			out = append(out, q)
		}
	}
	return out[:min(limit, len(out))], nil
}

func (r runs) DueExpiries(_ context.Context, now time.Time, limit int) ([]action.Action, error) {
	var out []action.Action
	for _, a := range read[action.Action](r.Store, "actions", "") {
		if a.State == action.Verified && !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(now) {
			out = append(out, a)
		}
	}
	return out[:min(limit, len(out))], nil
}

// Seed stores values of any kind the desk reads, as they are: identities, cases,
// runs, actions, approvals, assessments, stops (by tenant) and audit entries.
func (s *Store) Seed(values ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tx{tables: s.tables, ids: s.ids}
	for _, v := range values {
		switch v := v.(type) {
		case identity.Identity:
			t.set("identities", string(v.ID), v.Tenant, "", v)
		case casefile.Case:
			t.set("cases", string(v.ID), v.Tenant, "", v)
		case run.Run:
			t.set("runs", string(v.ID), v.Tenant, "", v)
		case action.Action:
			t.set("actions", string(v.ID), v.Tenant, "", v)
		case approval.Request:
			t.set("approvals", string(v.ID), v.Tenant, "", v)
		case risk.Assessment:
			t.set("assessments", string(v.Identity), v.Tenant, "", v)
		case audit.Entry:
			s.entries = append(s.entries, v)
		default:
			panic(fmt.Sprintf("desktest: cannot seed a %T", v))
		}
	}
}

// SeedSignals stores signals of an identity.
func (s *Store) SeedSignals(owner identity.ID, list ...signal.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tx{tables: s.tables}
	for _, g := range list {
		t.set("signals", string(g.Source)+"|"+g.ExternalID, g.Tenant, string(owner), g)
	}
}

// SeedDirectory stores what was read of a tenant's directory.
func (s *Store) SeedDirectory(t identity.Tenant, d connector.DirectoryFacts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	(&tx{tables: s.tables}).set("directory", string(t), t, "", d)
}

// SeedFeeds stores how feeds fare.
func (s *Store) SeedFeeds(list ...connector.FeedState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range list {
		(&tx{tables: s.tables}).set("feeds", string(f.Tenant)+"|"+string(f.Stream), f.Tenant, "", f)
	}
}

// Entries returns the trail so far, oldest first.
func (s *Store) Entries() []audit.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries)
}

// read returns the rows of a table that the tenant may see.
func read[T any](s *Store, table string, t identity.Tenant) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []T
	for _, r := range s.tables[table] {
		if t == "" || r.tenant == t {
			out = append(out, decode[T](r))
		}
	}
	return out
}

func decode[T any](r row) T {
	var v T
	if err := json.Unmarshal(r.data, &v); err != nil {
		panic(fmt.Sprintf("desktest: a stored %T does not decode: %v", v, err))
	}
	return v
}

func one[T any](s *Store, table, kind string, t identity.Tenant, id string) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return get[T](&tx{tables: s.tables}, table, kind, t, id)
}

// page sorts rows by key and cuts one page out.
func page[T any](rows []T, p desk.Page, keep func(T) bool, key func(T) string) (desk.List[T], error) {
	after, err := base64.RawURLEncoding.DecodeString(p.After)
	if err != nil {
		return desk.List[T]{}, fault.Errorf(fault.Invalid, "cursor %q was not made here", p.After)
	}
	rows = slices.DeleteFunc(rows, func(v T) bool { return !keep(v) || p.After != "" && key(v) <= string(after) })
	slices.SortFunc(rows, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	out := desk.List[T]{Items: rows}
	if len(rows) > p.Size() {
		out.Items = rows[:p.Size()]
		out.Next = base64.RawURLEncoding.EncodeToString([]byte(key(out.Items[p.Size()-1])))
	}
	if out.Items == nil {
		out.Items = []T{}
	}
	return out, nil
}

// newest orders later times first.
func newest(t time.Time) string {
	if t.IsZero() {
		return fmt.Sprintf("%019d", int64(math.MaxInt64))
	}
	return fmt.Sprintf("%019d", math.MaxInt64-t.UnixNano())
}

func in[T comparable](v T, any []T) bool { return len(any) == 0 || slices.Contains(any, v) }

func is[T comparable](v, want T) bool {
	var zero T
	return want == zero || v == want
}

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// Cases implements desk.Store.
func (s *Store) Cases(_ context.Context, f desk.CaseFilter, p desk.Page) (desk.List[casefile.Case], error) {
	return page(read[casefile.Case](s, "cases", f.Tenant), p, func(c casefile.Case) bool {
		return is(c.Identity, f.Identity) && in(c.Status, f.Status) && c.Level.Rank() >= f.MinLevel.Rank() && contains(c.Name, f.Name)
	}, func(c casefile.Case) string {
		return fmt.Sprintf("%d|%03d|%s|%s", 9-c.Level.Rank(), 999-c.Score, newest(c.LastSignal), c.ID)
	})
}

// Identities implements desk.Store.
func (s *Store) Identities(_ context.Context, f desk.IdentityFilter, p desk.Page) (desk.List[identity.Identity], error) {
	return page(read[identity.Identity](s, "identities", f.Tenant), p, func(i identity.Identity) bool {
		named := contains(i.Name, f.Name) || slices.ContainsFunc(i.Accounts, func(a identity.Account) bool { return contains(a.UPN, f.Name) })
		return is(i.Kind, f.Kind) && named
	}, func(i identity.Identity) string { return strings.ToLower(i.Name) + "\x00" + string(i.ID) })
}

// Signals implements desk.Store.
func (s *Store) Signals(_ context.Context, f desk.SignalFilter, p desk.Page) (desk.List[signal.Signal], error) {
	s.mu.Lock()
	var rows []signal.Signal
	for _, r := range s.tables["signals"] {
		if (f.Tenant == "" || r.tenant == f.Tenant) && is(r.owner, string(f.Identity)) {
			rows = append(rows, decode[signal.Signal](r))
		}
	}
	s.mu.Unlock()
	return page(rows, p, func(g signal.Signal) bool {
		return is(g.Source, f.Source) && is(g.Type, f.Type) && g.Level.Rank() >= f.MinLevel.Rank() && !g.At().Before(f.Since)
	}, func(g signal.Signal) string {
		return newest(g.At()) + "|" + string(g.Tenant) + string(g.Source) + g.ExternalID
	})
}

// Runs implements desk.Store.
func (s *Store) Runs(_ context.Context, f desk.RunFilter, p desk.Page) (desk.List[run.Run], error) {
	return page(read[run.Run](s, "runs", f.Tenant), p, func(r run.Run) bool {
		return is(r.Case, f.Case) && is(r.Identity, f.Identity) && is(r.Playbook.ID, f.Playbook) && in(r.State, f.State)
	}, func(r run.Run) string { return newest(r.StartedAt) + "|" + string(r.ID) })
}

// Approvals implements desk.Store.
func (s *Store) Approvals(_ context.Context, f desk.ApprovalFilter, p desk.Page) (desk.List[approval.Request], error) {
	return page(read[approval.Request](s, "approvals", f.Tenant), p, func(q approval.Request) bool {
		return is(q.Run, string(f.Run)) && is(q.Case, string(f.Case)) && is(q.Identity, f.Identity) && in(q.State, f.State)
	}, func(q approval.Request) string { return newest(q.AskedAt) + "|" + string(q.ID) })
}

// Actions implements desk.Store.
func (s *Store) Actions(_ context.Context, f desk.ActionFilter, p desk.Page) (desk.List[action.Action], error) {
	return page(read[action.Action](s, "actions", f.Tenant), p, func(a action.Action) bool {
		return is(a.Run, string(f.Run)) && is(a.Case, string(f.Case)) && is(a.Identity, f.Identity) && is(a.Name, f.Name) &&
			in(a.State, f.State) && (!f.Person || a.Person)
	}, func(a action.Action) string { return newest(a.RequestedAt) + "|" + string(a.ID) })
}

// AuditEntries implements desk.Store.
func (s *Store) AuditEntries(_ context.Context, f desk.AuditFilter, p desk.Page) (desk.List[audit.Entry], error) {
	type numbered struct {
		n int
		e audit.Entry
	}
	var rows []numbered
	for n, e := range s.Entries() {
		rows = append(rows, numbered{n, e})
	}
	got, err := page(rows, p, func(x numbered) bool {
		e := x.e
		return is(e.Tenant, f.Tenant) && is(e.Identity, string(f.Identity)) && is(e.Case, string(f.Case)) && is(e.Run, string(f.Run)) &&
			is(e.Action, string(f.Action)) && is(e.Approval, string(f.Approval)) && in(e.Kind, f.Kind) && !e.At.Before(f.Since)
	}, func(x numbered) string { return fmt.Sprintf("%09d", 999999999-x.n) })
	out := desk.List[audit.Entry]{Items: []audit.Entry{}, Next: got.Next}
	for _, x := range got.Items {
		out.Items = append(out.Items, x.e)
	}
	return out, err
}
