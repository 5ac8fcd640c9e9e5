package run_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
)

func TestStepsHeldAndSkipped(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = func(in playbook.Input) (playbook.Plan, error) {
		p, err := runtest.Steps(runtest.Disable, runtest.Revoke, runtest.Enable)(in)
		p.Steps[0].Held = "Active Directory not connected"
		p.Steps[2].Skip = "its condition is false"
		return p, err
	}
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Revoke).ID, done...) // a held step does not block later ones
	got := h.want(r.ID, run.HeldState)
	if !strings.Contains(got.Reason, "Active Directory not connected") {
		t.Errorf("reason %q", got.Reason)
	}
	h.wantCase(casefile.Waiting, "Active Directory not connected")
	if n := len(h.actions()); n != 1 {
		t.Errorf("%d actions", n)
	}
}

func TestFailureStopsOrGoesOn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		on    playbook.OnError
		state run.State
		n     int
	}{"fail": {playbook.ErrorFail, run.Failed, 1}, "continue": {playbook.ErrorContinue, run.Failed, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.planner.Plans["contain"] = func(in playbook.Input) (playbook.Plan, error) {
				p, err := runtest.Steps(runtest.Disable, runtest.Revoke)(in)
				p.Steps[0].OnError = tc.on
				return p, err
			}
			r, _ := h.begin(match("contain"))
			h.act(h.only(runtest.Disable).ID, action.Running, action.Failed)
			if tc.n == 2 {
				h.act(h.only(runtest.Revoke).ID, done...)
			}
			h.want(r.ID, tc.state) // it contains, and was not proven
			if n := len(h.actions()); n != tc.n {
				t.Errorf("%d actions, want %d", n, tc.n)
			}
			h.wantCase(casefile.Waiting, "failed")
		})
	}
}

// An unknown reset that only a person can decide holds the run; it is no failure
// and no success.
func TestPersonMustDecide(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = runtest.Steps(runtest.Disable)
	r, _ := h.begin(match("contain"))
	a := h.only(runtest.Disable)
	h.act(a.ID, action.Running)
	h.update(func(tx run.Tx) error {
		a, err := tx.Action(tenant, a.ID)
		if err != nil {
			return err
		}
		if a, err = a.Move(action.Unconfirmed, "whether the password was reset is not known", h.clock.Now()); err != nil {
			return err
		}
		a.Person = true
		_, err = tx.PutAction(a)
		return err
	})
	h.reconcile()
	h.want(r.ID, run.HeldState)
	h.wantCase(casefile.Waiting, "not known")
}

// An action held at the gate shows on the case, and goes on by itself.
func TestGateHoldShowsOnCase(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = runtest.Steps(runtest.Disable)
	r, _ := h.begin(match("contain"))
	a := h.only(runtest.Disable)
	h.act(a.ID, action.Held)
	h.want(r.ID, run.Acting)
	h.wantCase(casefile.Waiting, "because")
	h.act(a.ID, slices.Concat([]action.State{action.Approved}, done)...)
	h.want(r.ID, run.Contained)
}
