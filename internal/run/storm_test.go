package run_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
)

// A storm does whatever playbooks, operators and dispatch may do, over rows.
type storm struct {
	*house
	rt   *rapid.T
	over map[run.ID]run.Run // final runs as they ended
}

func (s *storm) n(what string, n int) int { return rapid.IntRange(0, n-1).Draw(s.rt, what) }

func (s *storm) must(change func(run.Tx) error) {
	s.rt.Helper()
	if err := s.db.Runs().Update(s.t.Context(), change); err != nil {
		s.rt.Fatal(err)
	}
}

func (s *storm) step() {
	s.rt.Helper()
	switch s.n("event", 10) {
	case 0:
		m := match([]string{"contain", "other", "ratified"}[s.n("playbook", 3)])
		if s.n("settle", 4) == 0 {
			m.Settle = time.Minute
		}
		if s.n("once", 2) == 0 {
			m.OnceKey, m.Window = "k", time.Duration(1+s.n("window", 30))*time.Minute
		}
		s.begin(m)
	case 1, 2, 3, 4:
		var open []action.Action
		for _, a := range s.actions() {
			if !a.State.Final() {
				open = append(open, a)
			}
		}
		if len(open) > 0 {
			a := open[s.n("action", len(open))]
			moves := actionMoves(a.State)
			s.move(a, moves[s.n("move", len(moves))])
		}
	case 5:
		for _, q := range s.requests() {
			if q.State == approval.Pending && s.clock.Now().Before(q.ExpiresAt) {
				s.answer(q, s.n("approve", 3) > 0)
				break
			}
		}
	case 6:
		s.clock.Add(time.Duration(s.n("minutes", 40)) * time.Minute)
	case 7, 8:
		s.reconcile()
	case 9:
		if all := s.actions(); len(all) > 0 && s.n("undo", 2) == 0 {
			if _, err := s.undo(all[s.n("which", len(all))].ID); err != nil && !errors.Is(err, fault.Conflict) {
				s.rt.Fatal(err)
			}
		} else if s.n("withdraw", 4) == 0 {
			s.must(func(tx run.Tx) error {
				return s.driver.Withdraw(tx, tenant, s.file, access.ByOperator("o"), "safe")
			})
		}
	}
}

func (s *storm) move(a action.Action, to action.State) {
	s.rt.Helper()
	s.must(func(tx run.Tx) error {
		next, err := a.Move(to, "because", s.clock.Now())
		if err != nil {
			return err
		}
		next.Before = []byte("true")
		_, err = tx.PutAction(next)
		return err
	})
}

func (s *storm) check() {
	s.rt.Helper()
	states := map[action.ID]action.State{}
	perStep := map[string]int{}
	for _, a := range s.actions() {
		states[a.ID] = a.State
		if a.PlanHash == "" || a.Effect == "" {
			s.rt.Fatalf("an action without a plan or an effect: %+v", a)
		}
		if perStep[a.Run+a.Step]++; perStep[a.Run+a.Step] > 1 {
			s.rt.Fatalf("step %s of %s has two actions", a.Step, a.Run)
		}
	}
	var rs []run.Run
	s.db.View(func(tx *runtest.Tx) { rs, _ = tx.Runs(tenant) })
	for _, r := range rs {
		if old, ok := s.over[r.ID]; ok && (old.State != r.State || old.Reason != r.Reason) {
			s.rt.Fatalf("run %s was %s (%s) and is %s (%s)", r.ID, old.State, old.Reason, r.State, r.Reason)
		}
		if !r.State.Final() {
			continue
		}
		s.over[r.ID] = r
		for n, st := range r.Steps {
			if r.State == run.Contained && r.Plan.Steps[n].Contains && st.State != run.StepSkipped {
				if got := states[st.Action]; got != action.Verified && got != action.Reverted {
					s.rt.Fatalf("run %s is contained and its action is %s", r.ID, got)
				}
			}
		}
	}
}

// calm lets everything end well.
func (s *storm) calm() {
	s.rt.Helper()
	for range 30 {
		s.clock.Add(time.Hour)
		s.reconcile()
		for _, a := range s.actions() {
			for _, to := range map[action.State][]action.State{
				action.Requested: {action.Approved}, action.Approved: {action.Running}, action.Held: {action.Approved},
				action.Running: {action.AcceptedState}, action.AcceptedState: {action.Verified}, action.Unconfirmed: {action.Verified},
			}[a.State] {
				s.move(a, to)
			}
		}
		s.check()
	}
	var rs []run.Run
	s.db.View(func(tx *runtest.Tx) { rs, _ = tx.Runs(tenant) })
	for _, r := range rs {
		if !r.State.Final() {
			s.rt.Fatalf("everything is over and run %s is %s (%s): %+v", r.ID, r.State, r.Reason, r.Steps)
		}
	}
	for _, q := range s.requests() {
		if q.State == approval.Pending {
			s.rt.Fatalf("request %s is still pending", q.ID)
		}
	}
	if c := s.caseFile(); c.Status == casefile.Contained {
		proven := false
		for _, r := range rs {
			ok := r.State == run.Contained
			for n, st := range r.Steps {
				ok = ok && (!r.Plan.Steps[n].Contains || st.State == run.StepVerified || st.State == run.StepSkipped)
			}
			proven = proven || ok
		}
		if !proven {
			s.rt.Fatal("the case is contained and no run proves it")
		}
	}
	trail := len(s.db.Trail())
	s.reconcile()
	if n := len(s.db.Trail()); n != trail {
		s.rt.Fatalf("at rest, reconciling wrote %d entries", n-trail)
	}
}

// Over rows, in any order of what playbooks, operators and dispatch do: one action
// for each step, contained means proven, an end is an end, and all comes to rest.
func TestStorm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := &storm{house: newHouse(t), rt: rt, over: map[run.ID]run.Run{}}
		s.planner.Plans["other"] = ruled([]*approval.Rule{rule(approval.Before, approval.ExpirySkip), nil}, runtest.Disable, runtest.Revoke)
		s.planner.Plans["ratified"] = func(in playbook.Input) (playbook.Plan, error) {
			p, err := ruled([]*approval.Rule{rule(approval.Ratify, approval.ExpiryUndo), rule(approval.Ratify, approval.ExpiryUndo)}, runtest.Disable, runtest.Revoke)(in)
			p.Steps[1].After = playbook.AfterVerified
			p.Steps[1].OnError = playbook.ErrorContinue
			return p, err
		}
		for range rapid.IntRange(0, 40).Draw(rt, "steps") {
			s.step()
			s.check()
		}
		s.calm()
	})
}

func TestReconcileKeepsUpWithMany(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const many = 250 // more than one look
	h.planner.Plans["idle"] = runtest.Steps()
	h.update(func(tx run.Tx) error {
		in, err := h.driver.Input(tx, tenant, h.id, nil, nil)
		for range many {
			m := match("idle")
			m.Settle = time.Minute
			if err == nil {
				_, _, err = h.driver.Begin(tx, run.Start{Match: m, Input: in})
			}
		}
		return err
	})
	h.clock.Add(time.Minute)
	h.reconcile()
	if keys, err := h.db.Runs().DueRuns(t.Context(), h.clock.Now(), many); err != nil || len(keys) != 0 {
		t.Errorf("%d runs are still due, %v", len(keys), err)
	}
}
