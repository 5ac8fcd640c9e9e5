package desktest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// tx is one transaction on a copy of the tables.
type tx struct {
	tables  tables
	entries []audit.Entry
	ids     int
}

var _ desk.Tx = (*tx)(nil)

// AheadOfRuns does nothing: everything is at hand.
func (t *tx) AheadOfRuns(identity.Tenant, []run.ID) error { return nil }

func (t *tx) set(table, key string, tenant identity.Tenant, owner string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("desktest: a %T does not encode: %v", v, err))
	}
	if t.tables[table] == nil {
		t.tables[table] = map[string]row{}
	}
	t.tables[table][key] = row{tenant: tenant, owner: owner, data: b}
}

func get[T any](t *tx, table, kind string, tenant identity.Tenant, id string) (T, error) {
	r, ok := t.tables[table][id]
	if !ok || tenant != "" && r.tenant != tenant {
		var zero T
		return zero, fault.Errorf(fault.NotFound, "no %s %q", kind, id)
	}
	return decode[T](r), nil
}

func all[T any](t *tx, table string, tenant identity.Tenant, keep func(T) bool) []T {
	var out []T
	for _, r := range t.tables[table] {
		if tenant == "" || r.tenant == tenant {
			if v := decode[T](r); keep(v) {
				out = append(out, v)
			}
		}
	}
	return out
}

// version compares what is put with what is stored and returns the next one.
func version[T any](t *tx, table, kind string, tenant identity.Tenant, id string, have int64, of func(T) int64) (int64, error) {
	old, err := get[T](t, table, kind, tenant, id)
	switch {
	case errors.Is(err, fault.NotFound) && have == 0:
		return 1, nil
	case err != nil:
		return 0, err
	case of(old) != have:
		return 0, fault.Errorf(fault.Conflict, "%s %s was changed by somebody else: version %d, not %d", kind, id, of(old), have)
	}
	return have + 1, nil
}

func (t *tx) NewID(prefix string) string {
	t.ids++
	return fmt.Sprintf("%s_%06d", prefix, t.ids)
}

func (t *tx) Audit(e audit.Entry) error {
	if e.Kind == "" || e.Text == "" || e.At.IsZero() || e.Actor == "" {
		return fault.Errorf(fault.Invalid, "audit entry %q lacks kind, text, time or actor", e.Kind)
	}
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("audit entry %q does not encode: %w", e.Kind, err)
	}
	t.entries = append(t.entries, decode[audit.Entry](row{data: b}))
	return nil
}

func (t *tx) Run(tenant identity.Tenant, id run.ID) (run.Run, error) {
	return get[run.Run](t, "runs", "run", tenant, string(id))
}

func (t *tx) PutRun(r run.Run) (run.Run, error) {
	if r.ID == "" {
		r.ID = run.ID(t.NewID("run"))
	}
	var err error
	r.Version, err = version(t, "runs", "run", r.Tenant, string(r.ID), r.Version, func(o run.Run) int64 { return o.Version })
	if err == nil {
		t.set("runs", string(r.ID), r.Tenant, "", r)
	}
	return r, err
}

func (t *tx) RecentRun(tenant identity.Tenant, playbookID, onceKey string, since time.Time) (run.Run, bool, error) {
	found := all(t, "runs", tenant, func(r run.Run) bool {
		return r.Playbook.ID == playbookID && r.OnceKey == onceKey && !r.StartedAt.Before(since)
	})
	if len(found) == 0 {
		return run.Run{}, false, nil
	}
	return slices.MaxFunc(found, func(a, b run.Run) int { return a.StartedAt.Compare(b.StartedAt) }), true, nil
}

func (t *tx) RunsAtRate(tenant identity.Tenant, playbookID, rateKey string, since time.Time) (int, error) {
	return len(all(t, "runs", tenant, func(r run.Run) bool {
		return r.Playbook.ID == playbookID && r.RateKey == rateKey && !r.PlannedAt.Before(since)
	})), nil
}

func (t *tx) RunsOfCase(tenant identity.Tenant, c casefile.ID) ([]run.Run, error) {
	out := all(t, "runs", tenant, func(r run.Run) bool { return r.Case == c })
	slices.SortFunc(out, func(a, b run.Run) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

func (t *tx) Action(tenant identity.Tenant, id action.ID) (action.Action, error) {
	return get[action.Action](t, "actions", "action", tenant, string(id))
}

func (t *tx) PutAction(a action.Action) (action.Action, error) {
	if a.ID == "" {
		a.ID = action.ID(t.NewID("act"))
	}
	var err error
	a.Version, err = version(t, "actions", "action", a.Tenant, string(a.ID), a.Version, func(o action.Action) int64 { return o.Version })
	if err == nil {
		t.set("actions", string(a.ID), a.Tenant, "", a)
	}
	return a, err
}

func (t *tx) ActionsOfRun(tenant identity.Tenant, id run.ID) ([]action.Action, error) {
	out := all(t, "actions", tenant, func(a action.Action) bool { return a.Run == string(id) })
	slices.SortFunc(out, func(a, b action.Action) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

func (t *tx) ActiveEffect(tenant identity.Tenant, effect string, since time.Time) (action.Action, bool, error) {
	found := all(t, "actions", tenant, func(a action.Action) bool {
		switch a.State {
		case action.Failed, action.RefusedState, action.Expired, action.Cancelled, action.Reverted:
			return false
		}
		return a.Effect == effect && !a.RequestedAt.Before(since)
	})
	if len(found) == 0 {
		return action.Action{}, false, nil
	}
	return found[0], true, nil
}

func (t *tx) Approval(tenant identity.Tenant, id approval.ID) (approval.Request, error) {
	return get[approval.Request](t, "approvals", "approval", tenant, string(id))
}

func (t *tx) PutApproval(q approval.Request) (approval.Request, error) {
	if q.ID == "" {
		q.ID = approval.ID(t.NewID("apr"))
	}
	var err error
	q.Version, err = version(t, "approvals", "approval", q.Tenant, string(q.ID), q.Version, func(o approval.Request) int64 { return o.Version })
	if err == nil {
		t.set("approvals", string(q.ID), q.Tenant, "", q)
	}
	return q, err
}

func (t *tx) ApprovalsOfRun(tenant identity.Tenant, id run.ID) ([]approval.Request, error) {
	out := all(t, "approvals", tenant, func(q approval.Request) bool { return q.Run == string(id) })
	slices.SortFunc(out, func(a, b approval.Request) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

func (t *tx) Question(tenant identity.Tenant, id question.ID) (question.Question, error) {
	return get[question.Question](t, "questions", "question", tenant, string(id))
}

func (t *tx) PutQuestion(q question.Question) (question.Question, error) {
	if q.ID == "" {
		q.ID = question.ID(t.NewID("qst"))
	}
	var err error
	q.Version, err = version(t, "questions", "question", q.Tenant, string(q.ID), q.Version, func(o question.Question) int64 { return o.Version })
	if err == nil {
		t.set("questions", string(q.ID), q.Tenant, "", q)
	}
	return q, err
}

func (t *tx) QuestionsOfRun(tenant identity.Tenant, id run.ID) ([]question.Question, error) {
	out := all(t, "questions", tenant, func(q question.Question) bool { return q.Run == string(id) })
	slices.SortFunc(out, func(a, b question.Question) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

func (t *tx) QuestionsSent(tenant identity.Tenant, id identity.ID, since time.Time) (int, error) {
	return len(all(t, "questions", tenant, func(q question.Question) bool {
		return q.Via != "" && (id == "" || q.Identity == id) && !q.AskedAt.Before(since)
	})), nil
}

func (t *tx) Case(tenant identity.Tenant, id casefile.ID) (casefile.Case, error) {
	return get[casefile.Case](t, "cases", "case", tenant, string(id))
}

func (t *tx) PutCase(c casefile.Case) (casefile.Case, error) {
	if c.ID == "" {
		c.ID = casefile.ID(t.NewID("case"))
	}
	var err error
	c.Version, err = version(t, "cases", "case", c.Tenant, string(c.ID), c.Version, func(o casefile.Case) int64 { return o.Version })
	if err == nil {
		t.set("cases", string(c.ID), c.Tenant, "", c)
	}
	return c, err
}

func (t *tx) OpenCase(tenant identity.Tenant, id identity.ID) (casefile.Case, bool, error) {
	found := all(t, "cases", tenant, func(c casefile.Case) bool { return c.Identity == id && c.Verdict == nil })
	if len(found) == 0 {
		return casefile.Case{}, false, nil
	}
	return found[0], true, nil
}

func (t *tx) FindAccount(tenant identity.Tenant, name string) ([]identity.Identity, error) {
	return all(t, "identities", tenant, func(i identity.Identity) bool {
		return slices.ContainsFunc(i.Accounts, func(a identity.Account) bool {
			return name != "" && (strings.EqualFold(a.ObjectID, name) || strings.EqualFold(a.SID, name) || strings.EqualFold(a.UPN, name))
		})
	}), nil
}

func (t *tx) SignalsOf(tenant identity.Tenant, id identity.ID) ([]signal.Signal, error) {
	var out []signal.Signal
	for _, r := range t.tables["signals"] {
		if r.tenant == tenant && r.owner == string(id) {
			out = append(out, decode[signal.Signal](r))
		}
	}
	return out, nil
}

func (t *tx) Assessment(tenant identity.Tenant, id identity.ID) (risk.Assessment, error) {
	return get[risk.Assessment](t, "assessments", "assessment of", tenant, string(id))
}

func (t *tx) PutAssessment(a risk.Assessment) error {
	t.set("assessments", string(a.Identity), a.Tenant, "", a)
	return nil
}

func (t *tx) Directory(tenant identity.Tenant) (connector.DirectoryFacts, error) {
	d, err := get[connector.DirectoryFacts](t, "directory", "directory", tenant, string(tenant))
	if errors.Is(err, fault.NotFound) {
		return d, nil
	}
	return d, err
}

func (t *tx) Stop(tenant identity.Tenant) (dispatch.Stop, error) {
	for _, of := range []identity.Tenant{tenant, ""} {
		if r, ok := t.tables["stops"][string(of)]; ok {
			if s := decode[dispatch.Stop](r); s.On {
				return s, nil
			}
		}
	}
	return dispatch.Stop{}, nil
}

func (t *tx) PutStop(tenant identity.Tenant, s dispatch.Stop) error {
	t.set("stops", string(tenant), tenant, "", s)
	return nil
}

// Case implements desk.Store.
func (s *Store) Case(_ context.Context, t identity.Tenant, id casefile.ID) (casefile.Case, error) {
	return one[casefile.Case](s, "cases", "case", t, string(id))
}

// Signal implements desk.Store.
func (s *Store) Signal(_ context.Context, k signal.Key) (signal.Signal, error) {
	return one[signal.Signal](s, "signals", "signal", k.Tenant, string(k.Source)+"|"+k.ExternalID)
}

// Run implements desk.Store.
func (s *Store) Run(_ context.Context, t identity.Tenant, id run.ID) (run.Run, error) {
	return one[run.Run](s, "runs", "run", t, string(id))
}

// Approval implements desk.Store.
func (s *Store) Approval(_ context.Context, t identity.Tenant, id approval.ID) (approval.Request, error) {
	return one[approval.Request](s, "approvals", "approval", t, string(id))
}

// Question implements desk.Store.
func (s *Store) Question(_ context.Context, t identity.Tenant, id question.ID) (question.Question, error) {
	return one[question.Question](s, "questions", "question", t, string(id))
}

// Action implements desk.Store.
func (s *Store) Action(_ context.Context, t identity.Tenant, id action.ID) (action.Action, error) {
	return one[action.Action](s, "actions", "action", t, string(id))
}

// Assessment implements desk.Store.
func (s *Store) Assessment(_ context.Context, t identity.Tenant, id identity.ID) (risk.Assessment, error) {
	return one[risk.Assessment](s, "assessments", "assessment of", t, string(id))
}

// Directory implements desk.Store.
func (s *Store) Directory(_ context.Context, t identity.Tenant) (connector.DirectoryFacts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (&tx{tables: s.tables}).Directory(t)
}

// Feeds implements desk.Store.
func (s *Store) Feeds(_ context.Context, t identity.Tenant) ([]connector.FeedState, error) {
	list := read[connector.FeedState](s, "feeds", t)
	slices.SortFunc(list, func(a, b connector.FeedState) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Stream, b.Stream))
	})
	return list, nil
}

// FindAccount implements desk.Store.
func (s *Store) FindAccount(_ context.Context, t identity.Tenant, name string) ([]identity.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (&tx{tables: s.tables}).FindAccount(t, name)
}

// Stop implements desk.Store.
func (s *Store) Stop(_ context.Context, t identity.Tenant) (dispatch.Stop, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (&tx{tables: s.tables}).Stop(t)
}

// Count implements desk.Store.
func (s *Store) Count(_ context.Context, t identity.Tenant) (desk.Counts, error) {
	out := desk.Counts{Cases: map[casefile.Status]int{}}
	for _, c := range read[casefile.Case](s, "cases", t) {
		out.Cases[c.Status]++
	}
	for _, q := range read[approval.Request](s, "approvals", t) {
		if q.State == approval.Pending {
			out.Approvals++
		}
	}
	for _, a := range read[action.Action](s, "actions", t) {
		if a.Person {
			out.Persons++
		}
	}
	return out, nil
}

// Kinds implements desk.Store.
func (s *Store) Kinds(_ context.Context, t identity.Tenant) ([]detection.Kind, error) {
	count := map[detection.Kind]int{}
	for _, g := range read[signal.Signal](s, "signals", t) {
		count[detection.Kind{Source: g.Source, Type: g.Type}]++
	}
	out := []detection.Kind{}
	for k, n := range count {
		k.Count = n
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b detection.Kind) int {
		return cmp.Or(b.Count-a.Count, strings.Compare(string(a.Source), string(b.Source)), strings.Compare(a.Type, b.Type))
	})
	return out, nil
}

// Pulse implements desk.Store.
func (s *Store) Pulse(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.entries)), nil
}

// Sealed implements desk.Store.
func (s *Store) Sealed(_ context.Context, before time.Time, limit int) ([]action.Action, error) {
	var out []action.Action
	for _, a := range read[action.Action](s, "actions", "") {
		if len(a.Sealed) > 0 && !a.IntentAt.After(before) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b action.Action) int { return a.IntentAt.Compare(b.IntentAt) })
	return out[:min(limit, len(out))], nil
}
