package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Desk holds a store to desk's port. open returns an empty store and how to seed
// it with identities, cases, runs, actions, approvals and audit entries.
func Desk(t *testing.T, open func(*testing.T) (desk.Store, func(values ...any))) {
	t.Run("Lists", func(t *testing.T) { t.Parallel(); s, seed := open(t); lists(t, s, seed) })
	t.Run("Notes", func(t *testing.T) { t.Parallel(); s, seed := open(t); notes(t, s, seed) })
	t.Run("Filters", func(t *testing.T) { t.Parallel(); s, seed := open(t); filters(t, s, seed) })

	t.Run("Gets", func(t *testing.T) {
		t.Parallel()
		s, seed := open(t)
		seed(person(1), openCase(1), aRun(1), anAction(1, "a"), aRequest(1))
		ctx := t.Context()
		for _, in := range []identity.Tenant{tenant, ""} {
			i, err := s.Identity(ctx, in, person(1).ID)
			same(t, "identity", person(1), i)
			_, err2 := s.Case(ctx, in, openCase(1).ID)
			_, err3 := s.Run(ctx, in, aRun(1).ID)
			_, err4 := s.Action(ctx, in, anAction(1, "a").ID)
			_, err5 := s.Approval(ctx, in, aRequest(1).ID)
			for _, err := range []error{err, err2, err3, err4, err5} {
				if err != nil {
					t.Errorf("in tenant %q: %v", in, err)
				}
			}
		}
		_, err := s.Case(ctx, elsewhere, openCase(1).ID)
		wantKind(t, "case of another tenant", err, fault.NotFound)
		_, err = s.Identity(ctx, "", "nobody")
		wantKind(t, "nobody", err, fault.NotFound)
		_, err = s.Assessment(ctx, tenant, person(1).ID)
		wantKind(t, "never assessed", err, fault.NotFound)
		_, err = s.Signal(ctx, signal.Key{Tenant: tenant, Source: signal.RiskDetection, ExternalID: "x"})
		wantKind(t, "no signal", err, fault.NotFound)
		d, err := s.Directory(ctx, tenant)
		if err != nil || !d.AsOf.IsZero() {
			t.Errorf("directory never read: %v, %v", d, err)
		}
	})

	t.Run("FindAccount", func(t *testing.T) {
		t.Parallel()
		s, seed := open(t)
		one, abroad := person(1), person(2)
		one.Accounts = append(one.Accounts, identity.Account{Ref: identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1104"}})
		abroad.Tenant = elsewhere
		abroad.Accounts[0].UPN = one.Accounts[0].UPN
		seed(one, abroad)
		for name, c := range map[string]struct {
			in   identity.Tenant
			want int
		}{
			"PERSON.0001@corp.example": {tenant, 1}, "person.0001@CORP.example": {"", 2}, "s-1-5-21-1-2-3-1104": {tenant, 1},
			objectID(1): {tenant, 1}, objectID(2): {tenant, 0}, "": {"", 0}, "person": {"", 0},
		} {
			got, err := s.FindAccount(t.Context(), c.in, name)
			if len(got) != c.want || err != nil {
				t.Errorf("%q in %q: got %d, %v, want %d", name, c.in, len(got), err, c.want)
			}
		}
	})

	t.Run("Counts", func(t *testing.T) {
		t.Parallel()
		s, seed := open(t)
		asks := anAction(1, "a")
		asks.Person = true
		waiting := openCase(2)
		waiting.Status = casefile.Waiting
		answered := aRequest(2)
		answered.State, answered.EndedAt = approval.Void, start
		seed(person(1), person(2), openCase(1), waiting, aRun(1), aRun(2), asks, anAction(1, "b"), aRequest(1), answered)
		for in, want := range map[identity.Tenant]desk.Counts{
			tenant:    {Cases: map[casefile.Status]int{"open": 1, "waiting": 1}, Approvals: 1, Persons: 1},
			"":        {Cases: map[casefile.Status]int{"open": 1, "waiting": 1}, Approvals: 1, Persons: 1},
			elsewhere: {},
		} {
			got, err := s.Count(t.Context(), in)
			same(t, fmt.Sprintf("of %q", in), want, got)
			if err != nil {
				t.Error(err)
			}
		}
	})

	t.Run("Sealed", func(t *testing.T) {
		t.Parallel()
		s, seed := open(t)
		first, second, late, open := under(1, "a", action.Running, start, start), under(1, "b", action.Running, at(-time.Second), start),
			under(1, "c", action.Running, at(time.Second), start), under(1, "d", action.Running, start, start)
		first.Sealed, second.Sealed, late.Sealed = []byte("x"), []byte("y"), []byte("z")
		seed(person(1), openCase(1), aRun(1), first, second, late, open)
		got, err := s.Sealed(t.Context(), start, 10)
		if err != nil || len(got) != 2 || got[0].ID != second.ID || got[1].ID != first.ID || string(got[1].Sealed) != "x" {
			t.Errorf("got %v, %v", got, err)
		}
		if got, err = s.Sealed(t.Context(), start, 1); err != nil || len(got) != 1 {
			t.Errorf("limit: got %v, %v", got, err)
		}
	})

	t.Run("PulseAndTrail", func(t *testing.T) {
		t.Parallel()
		s, seed := open(t)
		last := int64(-1)
		for n := range 5 {
			now, err := s.Pulse(t.Context())
			if err != nil || now <= last {
				t.Errorf("pulse %d after %d, %v", now, last, err)
			}
			last = now
			// Times run backwards: the order is that of commits.
			seed(audit.Entry{Tenant: tenant, At: at(-time.Duration(n) * time.Minute), Kind: audit.CaseOpened, Text: fmt.Sprint(n),
				Data: map[string]any{"k": "v"}})
		}
		got, err := s.AuditEntries(t.Context(), desk.AuditFilter{}, desk.Page{Limit: 3})
		if err != nil || len(got.Items) != 3 || got.Items[0].Text != "4" || got.Items[2].Text != "2" || got.Next == "" || got.Items[0].Data["k"] != "v" {
			t.Errorf("newest: %v, %v", got, err)
		}
	})
}

// walk reads a list page by page and returns its ids; it fails when a page is
// not full before the last, or an id comes twice.
func walk[T any](t *testing.T, what string, list func(desk.Page) (desk.List[T], error), id func(T) string) []string {
	t.Helper()
	var out []string
	seen := map[string]bool{}
	p := desk.Page{Limit: 3}
	for {
		l, err := list(p)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, v := range l.Items {
			if seen[id(v)] {
				t.Fatalf("%s: %s came twice", what, id(v))
			}
			seen[id(v)] = true
			out = append(out, id(v))
		}
		if l.Next == "" {
			return out
		}
		if len(l.Items) != p.Limit {
			t.Fatalf("%s: a page of %d before the end", what, len(l.Items))
		}
		p.After = l.Next
	}
}

func lists(t *testing.T, s desk.Store, seed func(...any)) {
	ctx := t.Context()
	const n = 11
	wantCases := []struct {
		level  signal.Level
		score  int
		signal time.Duration
	}{
		{signal.LevelHigh, 90, 0}, {signal.LevelHigh, 90, 0}, {signal.LevelHigh, 90, -time.Hour}, {signal.LevelHigh, 70, time.Hour},
		{signal.LevelMedium, 95, time.Hour}, {signal.LevelMedium, 50, time.Minute}, {signal.LevelMedium, 50, 0},
		{signal.LevelLow, 50, 0}, {signal.LevelLow, 10, 0}, {signal.LevelNone, 10, 0}, {signal.LevelNone, 0, 0},
	}
	var byWork, byTime, byName, actionsByTime, approvalsByTime []string
	for i := n; i >= 1; i-- { // stored from the last to the first
		who, c, r := person(i), openCase(i), aRun(i)
		who.Name = []string{"alpha", "Beta", "gamma"}[i%3] + fmt.Sprint(i%2)
		c.Level, c.Score, c.LastSignal = wantCases[i-1].level, wantCases[i-1].score, at(wantCases[i-1].signal)
		r.StartedAt = at(time.Duration(-i/2) * time.Minute) // pairs share a time
		a, q := anAction(i, "a"), aRequest(i)
		a.RequestedAt, q.AskedAt = r.StartedAt, r.StartedAt
		seed(who, c, r, a, q)
	}
	for i := 1; i <= n; i++ {
		byWork = append(byWork, string(openCase(i).ID))
		byTime = append(byTime, string(aRun(i).ID))
		actionsByTime = append(actionsByTime, string(anAction(i, "a").ID))
		approvalsByTime = append(approvalsByTime, string(aRequest(i).ID))
	}
	for _, first := range []string{"alpha0", "alpha1", "beta0", "beta1", "gamma0", "gamma1"} {
		for i := 1; i <= n; i++ {
			if []string{"alpha", "beta", "gamma"}[i%3]+fmt.Sprint(i%2) == first {
				byName = append(byName, string(person(i).ID))
			}
		}
	}
	same(t, "cases", byWork, walk(t, "cases", func(p desk.Page) (desk.List[casefile.Case], error) {
		return s.Cases(ctx, desk.CaseFilter{}, p)
	}, func(c casefile.Case) string { return string(c.ID) }))
	same(t, "runs", byTime, walk(t, "runs", func(p desk.Page) (desk.List[run.Run], error) {
		return s.Runs(ctx, desk.RunFilter{Tenant: tenant}, p)
	}, func(r run.Run) string { return string(r.ID) }))
	same(t, "actions", actionsByTime, walk(t, "actions", func(p desk.Page) (desk.List[action.Action], error) {
		return s.Actions(ctx, desk.ActionFilter{}, p)
	}, func(a action.Action) string { return string(a.ID) }))
	same(t, "approvals", approvalsByTime, walk(t, "approvals", func(p desk.Page) (desk.List[approval.Request], error) {
		return s.Approvals(ctx, desk.ApprovalFilter{}, p)
	}, func(r approval.Request) string { return string(r.ID) }))
	same(t, "identities", byName, walk(t, "identities", func(p desk.Page) (desk.List[identity.Identity], error) {
		return s.Identities(ctx, desk.IdentityFilter{}, p)
	}, func(i identity.Identity) string { return string(i.ID) }))

	for _, bad := range []string{"x", "!!", "no cursor"} {
		_, err := s.Cases(ctx, desk.CaseFilter{}, desk.Page{After: bad})
		wantKind(t, "cursor "+bad, err, fault.Invalid)
	}
	l, err := s.Cases(ctx, desk.CaseFilter{Tenant: elsewhere}, desk.Page{})
	if err != nil || l.Items == nil || len(l.Items) != 0 || l.Next != "" {
		t.Errorf("an empty list: %v, %v; it is [] in JSON", l, err)
	}
}

func filters(t *testing.T, s desk.Store, seed func(...any)) {
	ctx := t.Context()
	odd, even := person(1), person(2)
	odd.Name, even.Kind = `100%_\Ü`, identity.KindGuest
	high, low := openCase(1), openCase(2)
	high.Name, low.Level, low.Status = odd.Name, signal.LevelLow, casefile.Waiting
	acting, done := aRun(1), aRun(2)
	done.State, done.Playbook.ID = run.Done, "token-theft"
	asks, other := anAction(1, "a"), anAction(2, "a")
	asks.Person, other.Name, other.State = true, "entra.user.revoke_sessions", action.Approved
	pending, void := aRequest(1), aRequest(2)
	void.State, void.EndedAt = approval.Void, start
	seed(odd, even, high, low, acting, done, asks, other, pending, void,
		audit.Entry{Tenant: tenant, At: start, Kind: audit.CaseOpened, Case: string(high.ID), Identity: string(odd.ID), Text: "1"},
		audit.Entry{Tenant: tenant, At: at(time.Second), Kind: audit.RunStarted, Run: string(done.ID), Identity: string(even.ID), Text: "2"},
		audit.Entry{Tenant: elsewhere, At: at(time.Second), Kind: audit.ActionIntent, Action: string(asks.ID), Approval: string(void.ID), Text: "3"})

	for name, c := range map[string]struct {
		got  func() (int, error)
		want int
	}{
		"cases: tenant":      {count(ctx, s.Cases, desk.CaseFilter{Tenant: tenant}), 2},
		"cases: elsewhere":   {count(ctx, s.Cases, desk.CaseFilter{Tenant: elsewhere}), 0},
		"cases: identity":    {count(ctx, s.Cases, desk.CaseFilter{Identity: odd.ID}), 1},
		"cases: status":      {count(ctx, s.Cases, desk.CaseFilter{Status: []casefile.Status{casefile.Open, casefile.Closed}}), 1},
		"cases: level":       {count(ctx, s.Cases, desk.CaseFilter{MinLevel: signal.LevelMedium}), 1},
		"cases: any level":   {count(ctx, s.Cases, desk.CaseFilter{MinLevel: signal.LevelNone}), 2},
		"cases: name":        {count(ctx, s.Cases, desk.CaseFilter{Name: `0%_\ü`}), 1},
		"cases: no wildcard": {count(ctx, s.Cases, desk.CaseFilter{Name: "1%"}), 0},
		"identities: kind":   {count(ctx, s.Identities, desk.IdentityFilter{Kind: identity.KindGuest}), 1},
		"identities: UPN":    {count(ctx, s.Identities, desk.IdentityFilter{Name: "PERSON.0001@"}), 1},
		"identities: name":   {count(ctx, s.Identities, desk.IdentityFilter{Name: "ü"}), 1},
		"identities: nobody": {count(ctx, s.Identities, desk.IdentityFilter{Name: "x'y"}), 0},
		"runs: case":         {count(ctx, s.Runs, desk.RunFilter{Case: high.ID}), 1},
		"runs: identity":     {count(ctx, s.Runs, desk.RunFilter{Identity: even.ID}), 1},
		"runs: playbook":     {count(ctx, s.Runs, desk.RunFilter{Playbook: "token-theft"}), 1},
		"runs: state":        {count(ctx, s.Runs, desk.RunFilter{State: []run.State{run.Acting}}), 1},
		"actions: run":       {count(ctx, s.Actions, desk.ActionFilter{Run: done.ID}), 1},
		"actions: case":      {count(ctx, s.Actions, desk.ActionFilter{Case: high.ID, Identity: odd.ID}), 1},
		"actions: name":      {count(ctx, s.Actions, desk.ActionFilter{Name: other.Name}), 1},
		"actions: state":     {count(ctx, s.Actions, desk.ActionFilter{State: []action.State{action.Requested, action.Approved}}), 2},
		"actions: person":    {count(ctx, s.Actions, desk.ActionFilter{Person: true}), 1},
		"approvals: state":   {count(ctx, s.Approvals, desk.ApprovalFilter{State: []approval.State{approval.Pending}}), 1},
		"approvals: run":     {count(ctx, s.Approvals, desk.ApprovalFilter{Run: done.ID, Case: low.ID, Identity: even.ID}), 1},
		"trail: tenant":      {count(ctx, s.AuditEntries, desk.AuditFilter{Tenant: tenant}), 2},
		"trail: identity":    {count(ctx, s.AuditEntries, desk.AuditFilter{Identity: odd.ID}), 1},
		"trail: case":        {count(ctx, s.AuditEntries, desk.AuditFilter{Case: high.ID}), 1},
		"trail: run":         {count(ctx, s.AuditEntries, desk.AuditFilter{Run: done.ID}), 1},
		"trail: action":      {count(ctx, s.AuditEntries, desk.AuditFilter{Action: asks.ID}), 1},
		"trail: approval":    {count(ctx, s.AuditEntries, desk.AuditFilter{Approval: void.ID}), 1},
		"trail: kind":        {count(ctx, s.AuditEntries, desk.AuditFilter{Kind: []audit.Kind{audit.CaseOpened, audit.RunStarted}}), 2},
		"trail: since":       {count(ctx, s.AuditEntries, desk.AuditFilter{Since: at(time.Second)}), 2},
	} {
		if got, err := c.got(); got != c.want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", name, got, err, c.want)
		}
	}
}

func count[F, T any](ctx context.Context, list func(context.Context, F, desk.Page) (desk.List[T], error), f F) func() (int, error) {
	return func() (int, error) {
		l, err := list(ctx, f, desk.Page{})
		return len(l.Items), err
	}
}
