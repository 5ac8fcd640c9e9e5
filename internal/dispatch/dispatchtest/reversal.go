package dispatchtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// A Reversal is one reversible action, to be done by one process and undone by
// another.
type Reversal struct {
	Name    action.Name
	Account identity.Ref
	Params  map[string]any
	// State returns what the directory itself holds of the account, as far as the
	// action is about it: the witness that goes neither through the type nor the store.
	State func() any
}

// A Process is what one process has of its own: the store as it opened it, and the
// types over connections of its own.
type Process struct {
	Runs     run.Store
	Dispatch dispatch.Store
	Types    []action.Type
	Options  dispatch.Options
	Close    func()
}

// Reverts has one process do what is listed, and end as soon as no action is
// earlier than one of the states in ends (with a cut connection that is long before
// anything is proven). A process that is started after it, and knows what the store
// tells it, brings it all to its proof and takes it back; then the directory must
// hold what it held before. within is how long one process may take.
func Reverts(t *testing.T, list []Reversal, start func() Process, within time.Duration, ends ...action.State) {
	t.Helper()
	h := &reversals{t: t, list: list, within: within}
	for _, r := range list {
		h.before = append(h.before, r.State())
	}
	first := h.begin(start())
	first.do()
	first.await("done", func(a action.Action) bool { return among(a.State, ends) })
	first.end()

	second := h.begin(start())
	second.await("proven", func(a action.Action) bool { return a.State == action.Verified })
	second.undo()
	second.await("reverted", func(a action.Action) bool { return a.State == action.Reverted })
	second.end()
	for n, r := range list {
		if diff := cmp.Diff(h.before[n], r.State()); diff != "" {
			t.Errorf("%s, undone by a process that did not do it, and not as before (-before +now):\n%s", r.Name, diff)
		}
	}
}

func among(s action.State, list []action.State) bool {
	for _, x := range list {
		if s == x {
			return true
		}
	}
	return false
}

type reversals struct {
	t      *testing.T
	list   []Reversal
	before []any
	ids    []action.ID
	within time.Duration
}

// reversing is one process of them at work.
type reversing struct {
	*reversals
	Process
	driver *run.Driver
	end    func()
}

const reversalTenant identity.Tenant = "11111111-1111-1111-1111-111111111111"

func (h *reversals) begin(p Process) *reversing {
	h.t.Helper()
	cat, err := action.NewCatalogue(p.Types, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	x := &reversing{reversals: h, Process: p, driver: &run.Driver{
		Store: p.Runs, Planner: oneStep{h.list}, Catalogue: cat, Now: time.Now,
		Policy: func(identity.Tenant) identity.Policy { return identity.Policy{} },
		Mode:   func(identity.Tenant) playbook.Mode { return playbook.Enforce },
	}}
	o := p.Options
	o.Settings = func() dispatch.Settings {
		return dispatch.Settings{Limits: dispatch.Limits{AccountsPerHour: 1e6, AccountsPerMinute: 1e6, PlaybookAccountsPerHour: 1e6, GlobalAccountsPerHour: 1e6}}
	}
	d, err := dispatch.New(reversalTenant, p.Dispatch, cat, o)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	ended := false
	x.end = func() {
		if ended {
			return
		}
		ended = true
		stop()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
		p.Close()
	}
	h.t.Cleanup(x.end) // when the test is cut short
	return x
}

// oneStep plans one action for each identity, which is numbered as the list is.
type oneStep struct{ list []Reversal }

func (o oneStep) Match(playbook.Input) []playbook.Match { return nil }

func (o oneStep) Plan(ref playbook.Ref, in playbook.Input) (playbook.Plan, error) {
	var n int
	if _, err := fmt.Sscanf(string(in.Identity.ID), "idn_%d", &n); err != nil {
		return playbook.Plan{}, err
	}
	r := o.list[n]
	return playbook.Plan{
		Playbook: ref, Hash: "plan " + string(in.Identity.ID), Mode: playbook.Enforce, Name: in.Identity.Name, MadeAt: in.Now,
		Steps: []playbook.Step{{ID: "do", Uses: r.Name, Action: r.Name, Account: r.Account, Params: r.Params, After: playbook.AfterVerified, OnError: playbook.ErrorFail}},
	}, nil
}

func (x *reversing) do() {
	x.t.Helper()
	now, yes, no := time.Now(), true, false
	for n, r := range x.list {
		i := identity.Identity{
			Tenant: reversalTenant, ID: identity.ID(fmt.Sprintf("idn_%04d", n)), Kind: r.Account.Kind, Name: string(r.Name), CreatedAt: now, UpdatedAt: now,
			Accounts: []identity.Account{{Ref: r.Account, Facts: identity.Facts{AsOf: now, RolesAsOf: now, RegistrationAsOf: now, Found: &yes, Enabled: &yes, Synced: &no}}},
		}
		if i.Kind == "" {
			i.Kind = identity.KindPerson
		}
		if r.Account.Provider == identity.ActiveDirectory {
			i.Accounts[0].Facts.OnPremises = &identity.OnPremises{Class: identity.ClassUser}
		}
		if err := x.Dispatch.Update(context.Background(), func(tx dispatch.Tx) error { _, err := tx.PutIdentity(i); return err }); err != nil {
			x.t.Fatal(err)
		}
		if err := x.Runs.Update(context.Background(), func(tx run.Tx) error {
			in, err := x.driver.Input(tx, reversalTenant, i.ID, []string{playbook.OnManual}, nil)
			if err != nil {
				return err
			}
			begun, _, err := x.driver.Begin(tx, run.Start{Match: playbook.Match{Ref: playbook.Ref{ID: "reversal"}}, Input: in, AskedBy: access.ByOperator("owner")})
			if err != nil {
				return err
			}
			made, err := tx.ActionsOfRun(reversalTenant, begun.ID)
			if err == nil && len(made) != 1 {
				err = fmt.Errorf("%s: the run is %s (%s) with %d actions", r.Name, begun.State, begun.Reason, len(made))
			}
			if err == nil {
				x.ids = append(x.ids[:n], made[0].ID)
			}
			return err
		}); err != nil {
			x.t.Fatal(err)
		}
	}
}

// await waits until good says yes to each action, and moves the runs meanwhile.
func (x *reversing) await(what string, good func(action.Action) bool) {
	x.t.Helper()
	var open []action.Action
	for until := time.Now().Add(x.within); time.Now().Before(until); <-time.After(x.within / 4000) {
		if err := x.driver.Reconcile(context.Background()); err != nil {
			x.t.Fatal(err)
		}
		open = open[:0]
		for _, a := range x.actions() {
			if !good(a) {
				open = append(open, a)
			}
		}
		if len(open) == 0 {
			return
		}
	}
	for _, a := range open {
		x.t.Errorf("%s is not %s: %s, %s, %s (undone by %q)", a.Name, what, a.State, a.Reason, a.Proof, a.UndoneBy)
	}
	x.t.FailNow()
}

func (x *reversing) actions() (list []action.Action) {
	x.t.Helper()
	if err := x.Runs.Update(context.Background(), func(tx run.Tx) error {
		list = list[:0]
		for _, id := range x.ids {
			a, err := tx.Action(reversalTenant, id)
			if err != nil {
				return err
			}
			list = append(list, a)
		}
		return nil
	}); err != nil {
		x.t.Fatal(err)
	}
	return list
}

func (x *reversing) undo() {
	x.t.Helper()
	for _, a := range x.actions() {
		err := x.Runs.Update(context.Background(), func(tx run.Tx) error {
			_, err := x.driver.BeginUndo(tx, []action.Action{a}, access.ByOperator("owner"), "it was wrong")
			return err
		})
		x.t.Log(a.Name, a.Attempt, "times sent, before:", a.BeforeText)
		if err != nil {
			x.t.Error(errors.Join(fmt.Errorf("%s from %s", a.Name, a.Before), err))
		}
	}
}
