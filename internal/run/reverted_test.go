package run_test

import (
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
)

// Dispatch proves the undo and reverts the original in one transaction, and the
// process dies before anybody is told. The runs that proved the containment are
// over, so nobody drives them again: the undo's own run must tell them, those too
// that had adopted the action, or the case would be shown contained for ever.
func TestRevertedByDispatchIsNotShownContained(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["other"] = runtest.Steps(runtest.Disable)
	first, _ := h.begin(match("contain"))
	adopter, _ := h.begin(playbook.Match{Ref: playbook.Ref{ID: "other"}, OnceKey: "k", Window: time.Hour})
	if !adopter.Steps[0].Adopted {
		t.Fatal("the second run acts by itself")
	}
	disable := h.only(runtest.Disable).ID
	h.act(disable, done...)
	h.act(h.only(runtest.Revoke).ID, done...)
	h.clock.Add(2 * time.Second)
	h.reconcile()
	h.want(first.ID, run.Contained)
	h.want(adopter.ID, run.Contained)
	h.wantCase(casefile.Contained, "")

	undo, err := h.undo(disable)
	if err != nil {
		t.Fatal(err)
	}
	enable := h.only(runtest.Enable).ID
	h.act(enable, action.Running, action.AcceptedState)
	h.update(func(tx run.Tx) error {
		for _, to := range []struct {
			id    action.ID
			state action.State
		}{{enable, action.Verified}, {disable, action.Reverted}} {
			a, err := tx.Action(tenant, to.id)
			if err != nil {
				return err
			}
			if a, err = a.Move(to.state, "", h.clock.Now()); err != nil {
				return err
			}
			if _, err = tx.PutAction(a); err != nil {
				return err
			}
		}
		return nil
	})
	h.clock.Add(2 * time.Second)
	h.reconcile()
	h.want(undo.ID, run.Done)
	for _, id := range []run.ID{first.ID, adopter.ID} {
		if s := h.run(id).Steps[0]; s.State != run.StepReverted {
			t.Errorf("run %s still says of the undone step that it is %s", id, s.State)
		}
	}
	h.wantCase(casefile.Open, "")
}

// A run that had found the account so, by an action of its own, proved its containment
// by what the undo took back: it is told as well. One that contained after the undo
// stays.
func TestUndoTellsWhoFoundItSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["other"] = runtest.Steps(runtest.Disable)
	first := h.contained()
	h.clock.Add(2 * time.Hour)
	found, _ := h.begin(match("other"))
	own := h.only(runtest.Disable)
	if own.ID == first.Steps[0].Action {
		t.Fatal("the second run acts by the first one's action")
	}
	h.planner.Plans["adopts"] = runtest.Steps(runtest.Disable)
	adopter, _ := h.begin(match("adopts"))
	if s := adopter.Steps[0]; !s.Adopted || s.Action != own.ID {
		t.Fatalf("the run beside it acts by itself: %+v", s)
	}
	h.act(own.ID, action.Verified) // already so
	h.want(found.ID, run.Contained)
	h.clock.Add(time.Minute)
	if _, err := h.undo(first.Steps[0].Action); err != nil {
		t.Fatal(err)
	}
	h.clock.Add(time.Minute)
	enable := h.only(runtest.Enable).ID
	h.act(enable, action.Running, action.AcceptedState)
	// Another run contains the account again before the undo's run hears of its proof.
	h.planner.Plans["third"] = runtest.Steps(runtest.Disable)
	h.silently(enable, action.Verified)
	h.silently(first.Steps[0].Action, action.Reverted)
	later, _ := h.begin(match("third"))
	h.clock.Add(time.Minute)
	h.silently(h.only(runtest.Disable).ID, action.Running, action.AcceptedState, action.Verified)
	h.reconcile()
	for _, id := range []run.ID{first.ID, found.ID, adopter.ID} {
		if s := h.run(id).Steps[0]; s.State != run.StepReverted {
			t.Errorf("run %s still says of what was undone that it is %s", id, s.State)
		}
	}
	h.want(later.ID, run.Contained)
	h.wantCase(casefile.Contained, "")
}

// The account's risk came back after a verdict, in a new case: a run there found it
// disabled, and an undo of the old case's action leaves the new case contained by
// nothing.
func TestUndoTellsTheOpenCase(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["other"] = runtest.Steps(runtest.Disable)
	first := h.contained()
	h.clock.Add(2 * time.Hour)
	h.update(func(tx run.Tx) error {
		c, err := tx.Case(tenant, h.file)
		if err != nil {
			return err
		}
		if c, err = c.Decide(casefile.Verdict{Word: casefile.Compromised, By: "o", At: h.clock.Now()}); err != nil {
			return err
		}
		if _, err = tx.PutCase(c); err != nil {
			return err
		}
		i, err := tx.Identity(tenant, h.id)
		if err != nil {
			return err
		}
		c, err = tx.PutCase(casefile.Begin(i, h.clock.Now()))
		h.file = c.ID
		return err
	})
	found, _ := h.begin(match("other"))
	h.act(h.only(runtest.Disable).ID, action.Verified) // already so
	h.want(found.ID, run.Contained)
	h.wantCase(casefile.Contained, "")
	h.clock.Add(time.Minute)
	if _, err := h.undo(first.Steps[0].Action); err != nil {
		t.Fatal(err)
	}
	h.clock.Add(time.Minute)
	h.act(h.only(runtest.Enable).ID, done...)
	if s := h.run(found.ID).Steps[0]; s.State != run.StepReverted {
		t.Errorf("the run still says of what was undone that it is %s", s.State)
	}
	h.wantCase(casefile.Open, "")
}

// silently moves an action as dispatch does, and tells nobody.
func (h *house) silently(id action.ID, states ...action.State) {
	h.t.Helper()
	h.update(func(tx run.Tx) error {
		a, err := tx.Action(tenant, id)
		if err != nil {
			return err
		}
		for _, s := range states {
			if a, err = a.Move(s, "", h.clock.Now()); err != nil {
				return err
			}
		}
		_, err = tx.PutAction(a)
		return err
	})
}

// An account that was disabled and proven may have been enabled since, by an
// administrator or by the synchronisation: a later run of another playbook must
// look again and not count the old proof as its containment. What is done for good
// is not done twice.
func TestAnOldProofOfAStateIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["other"] = runtest.Steps(runtest.Revoke, runtest.Disable)
	first := h.contained()
	h.clock.Add(30 * time.Minute)
	r, _ := h.begin(playbook.Match{Ref: playbook.Ref{ID: "other"}, OnceKey: "k", Window: 2 * time.Hour})
	if r = h.run(r.ID); !r.Steps[0].Adopted || r.Steps[0].Action != first.Steps[1].Action {
		t.Errorf("the sessions are revoked twice: %+v", r.Steps[0])
	}
	h.want(r.ID, run.Acting)
	if again := h.only(runtest.Disable); again.ID == first.Steps[0].Action || string(r.ID) != again.Run {
		t.Errorf("the old proof counts: %+v", again)
	}
}
