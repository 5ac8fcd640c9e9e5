package run_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
)

// ruled makes plans of the actions whose steps ask for the rules; nil asks for none.
func ruled(rules []*approval.Rule, names ...action.Name) func(playbook.Input) (playbook.Plan, error) {
	return func(in playbook.Input) (playbook.Plan, error) {
		p, err := runtest.Steps(names...)(in)
		for n := range p.Steps {
			p.Steps[n].Approval = rules[n]
		}
		return p, err
	}
}

func rule(m approval.Mode, on approval.OnExpiry) *approval.Rule {
	return &approval.Rule{Mode: m, From: []string{"soc"}, Quorum: 1, Expires: time.Hour, OnExpiry: on}
}

func TestApprovalsAreAskedAtOnceAndOncePerRule(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	soc, lead := rule(approval.Before, approval.ExpirySkip), rule(approval.Before, approval.ExpirySkip)
	lead.From = []string{"lead"}
	h.planner.Plans["contain"] = ruled([]*approval.Rule{soc, lead, rule(approval.Before, approval.ExpirySkip)}, runtest.Disable, runtest.Revoke, runtest.Enable)
	r, _ := h.begin(match("contain"))
	qs := h.requests()
	if len(qs) != 2 {
		t.Fatalf("%d requests, want one for each rule", len(qs))
	}
	if !slices.Equal(qs[0].Steps, []string{string(runtest.Disable), string(runtest.Enable)}) || qs[0].PlanHash != r.Plan.Hash || qs[0].ExpiresAt != epoch.Add(time.Hour) {
		t.Errorf("the first request: %+v", qs[0])
	}
	h.want(r.ID, run.Waiting)
	h.wantCase(casefile.Waiting, "approval by soc or lead")
	if n := len(h.actions()); n != 0 {
		t.Fatalf("%d actions before anybody agreed", n)
	}
	h.answer(qs[1], true) // the later step's: the first still waits
	if n := len(h.actions()); n != 0 {
		t.Fatalf("%d actions out of order", n)
	}
	h.answer(qs[0], true)
	h.act(h.only(runtest.Disable).ID, done...)
	h.act(h.only(runtest.Revoke).ID, done...)
	h.act(h.only(runtest.Enable).ID, done...)
	h.want(r.ID, run.Contained)
}

func TestUnansweredApprovals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		on      approval.OnExpiry
		state   run.State
		goesOn  bool // the step after the unanswered one is done
		waiting string
	}{
		"skip":     {approval.ExpirySkip, run.Expired, true, "nobody answered"},
		"undo":     {approval.ExpiryUndo, run.Expired, true, "nobody answered"}, // nothing was done
		"escalate": {approval.ExpiryEscalate, run.Expired, false, "nobody answered"},
		"fail":     {approval.ExpiryFail, run.Failed, false, "nobody answered"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.planner.Plans["contain"] = ruled([]*approval.Rule{rule(approval.Before, tc.on), nil}, runtest.Disable, runtest.Revoke)
			r, _ := h.begin(match("contain"))
			h.clock.Add(time.Hour - time.Second)
			h.reconcile()
			h.want(r.ID, run.Waiting)
			h.clock.Add(time.Second)
			h.reconcile()
			if q := h.requests()[0]; q.State != approval.Expired {
				t.Errorf("the request is %s", q.State)
			}
			if tc.goesOn {
				h.act(h.only(runtest.Revoke).ID, done...)
			} else if n := len(h.actions()); n != 0 {
				t.Errorf("%d actions", n)
			}
			h.want(r.ID, tc.state)
			h.wantCase(casefile.Waiting, tc.waiting)
			if !slices.Contains(h.kinds(), audit.ApprovalExpired) {
				t.Error("the trail does not say that it ran out")
			}
		})
	}
}

func TestRejectedPlanStops(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = ruled([]*approval.Rule{nil, rule(approval.Before, approval.ExpirySkip), nil}, runtest.Disable, runtest.Revoke, runtest.Enable)
	r, _ := h.begin(match("contain"))
	a := h.only(runtest.Disable)
	h.act(a.ID, action.Running)
	h.answer(h.requests()[0], false)
	h.want(r.ID, run.Acting) // what has left is followed to its end
	h.act(a.ID, action.AcceptedState, action.Verified)
	got := h.want(r.ID, run.Rejected)
	if !strings.Contains(got.Reason, "rejected by voter") {
		t.Errorf("reason %q", got.Reason)
	}
	h.wantCase(casefile.Waiting, "rejected by voter")
	if n := len(h.actions()); n != 1 {
		t.Errorf("%d actions", n)
	}
}

func TestRatified(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = ruled([]*approval.Rule{rule(approval.Ratify, approval.ExpiryUndo)}, runtest.Disable)
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Disable).ID, done...) // at once
	h.want(r.ID, run.Waiting)
	h.answer(h.requests()[0], true)
	h.want(r.ID, run.Contained)
	h.wantCase(casefile.Contained, "")
}

func TestNotRatifiedIsUndone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		deny  func(h *house)
		state run.State
	}{
		"nobody answered": {func(h *house) { h.clock.Add(time.Hour); h.reconcile() }, run.Expired},
		"rejected":        {func(h *house) { h.answer(h.requests()[0], false) }, run.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.planner.Plans["contain"] = ruled([]*approval.Rule{rule(approval.Ratify, approval.ExpiryUndo)}, runtest.Disable)
			r, _ := h.begin(match("contain"))
			a := h.only(runtest.Disable)
			h.act(a.ID, done...)
			tc.deny(h)
			h.want(r.ID, tc.state)
			undo := h.only(runtest.Enable)
			if undo.UndoOf != a.ID || undo.Lane != action.LaneUndo || undo.State != action.Approved {
				t.Errorf("the undo: %+v", undo)
			}
			h.act(undo.ID, done...)
			h.want(run.ID(undo.Run), run.Done)
			for _, x := range h.actions() {
				if x.ID == a.ID && (x.State != action.Reverted || x.UndoneBy != undo.ID) {
					t.Errorf("the original is %s, undone by %q", x.State, x.UndoneBy)
				}
			}
			h.reconcile()
			if n := len(h.actions()); n != 2 {
				t.Errorf("%d actions", n)
			}
		})
	}
}

// What nobody ratified stays when another run, which has its own consent, found it so
// and is contained by it: a person sees both.
func TestNotRatifiedAndNeededByAnother(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = ruled([]*approval.Rule{rule(approval.Ratify, approval.ExpiryUndo)}, runtest.Disable)
	h.planner.Plans["other"] = runtest.Steps(runtest.Disable)
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Disable).ID, done...)
	second, _ := h.begin(match("other"))
	h.act(h.only(runtest.Disable).ID, action.Verified) // it is so already
	h.want(second.ID, run.Contained)
	h.answer(h.requests()[0], false)
	if got := h.want(r.ID, run.HeldState); !strings.Contains(got.Reason, "another run") {
		t.Errorf("held for %q", got.Reason)
	}
	if n := len(h.actions()); n != 2 {
		t.Errorf("%d actions: the containment of the other was taken back", n)
	}
}

// What was denied while its request was on the wire is followed to its proof and
// then undone.
func TestDeniedInFlightIsUndoneAfterItsProof(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = ruled([]*approval.Rule{rule(approval.Ratify, approval.ExpiryUndo)}, runtest.Disable)
	r, _ := h.begin(match("contain"))
	a := h.only(runtest.Disable)
	h.act(a.ID, action.Running)
	h.answer(h.requests()[0], false)
	h.want(r.ID, run.Acting)
	h.act(a.ID, action.AcceptedState)
	h.act(a.ID, action.Verified)
	h.want(r.ID, run.Rejected)
	h.only(runtest.Enable)
}

func TestNotRatifiedAndIrreversible(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = ruled([]*approval.Rule{rule(approval.Ratify, approval.ExpiryUndo)}, runtest.Revoke)
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Revoke).ID, done...)
	h.answer(h.requests()[0], false)
	h.want(r.ID, run.HeldState)
	h.wantCase(casefile.Waiting, "do not come back")
}

// When what was to be ratified came to nothing, nobody is asked any more.
func TestNothingLeftToRatify(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = func(in playbook.Input) (playbook.Plan, error) {
		p, err := ruled([]*approval.Rule{rule(approval.Ratify, approval.ExpiryUndo), nil}, runtest.Disable, runtest.Revoke)(in)
		p.Steps[0].OnError, p.Steps[0].Contains = playbook.ErrorContinue, false
		return p, err
	}
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Disable).ID, action.Running, action.Failed)
	if q := h.requests()[0]; q.State != approval.Void {
		t.Errorf("the request is %s", q.State)
	}
	h.act(h.only(runtest.Revoke).ID, done...)
	h.want(r.ID, run.Contained)
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = ruled([]*approval.Rule{nil, rule(approval.Before, approval.ExpirySkip)}, runtest.Disable, runtest.Revoke)
	h.planner.Plans["settling"] = runtest.Steps(runtest.Disable)
	r, _ := h.begin(match("contain"))
	settling, _ := h.begin(playbook.Match{Ref: playbook.Ref{ID: "settling"}, Settle: time.Hour})
	withdraw := func() {
		h.update(func(tx run.Tx) error {
			return h.driver.Withdraw(tx, tenant, h.file, access.ByOperator("o"), "the verdict is safe")
		})
	}
	withdraw()
	h.want(r.ID, run.Cancelled)
	h.want(settling.ID, run.Cancelled)
	for _, a := range h.actions() {
		if a.State != action.Cancelled {
			t.Errorf("%s is %s", a.Name, a.State)
		}
	}
	if q := h.requests()[0]; q.State != approval.Void || !strings.Contains(q.Reason, "the verdict is safe") {
		t.Errorf("the request is %s: %s", q.State, q.Reason)
	}
	trail := len(h.db.Trail())
	withdraw()
	h.reconcile()
	if len(h.db.Trail()) != trail {
		t.Error("withdrawing twice says it twice")
	}
	h.wantCase(casefile.Open, "the verdict is safe")
}

// Withdrawing lets what has left go on to its proof and starts nothing more.
func TestWithdrawWhatHasLeft(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r, _ := h.begin(match("contain"))
	a := h.only(runtest.Disable)
	h.act(a.ID, action.Running)
	h.update(func(tx run.Tx) error {
		a, err := tx.Action(tenant, a.ID)
		if err != nil {
			return err
		}
		if a, err = a.Move(action.AcceptedState, "", h.clock.Now()); err != nil {
			return err
		}
		if _, err = tx.PutAction(a); err != nil {
			return err
		}
		return h.driver.Withdraw(tx, tenant, h.file, access.ByOperator("o"), "safe")
	})
	h.want(r.ID, run.Cancelled)
	h.act(a.ID, action.Verified)
	if err := h.driver.Drive(t.Context(), run.Key{Tenant: tenant, ID: r.ID}); err != nil {
		t.Fatal(err)
	}
	got := h.want(r.ID, run.Cancelled)
	if got.Steps[0].State != run.StepVerified || got.Steps[1].State != run.StepCancelled {
		t.Errorf("steps %+v", got.Steps)
	}
	if n := len(h.actions()); n != 1 {
		t.Errorf("%d actions", n)
	}
}

// contained brings the house to a contained case.
func (h *house) contained() run.Run {
	h.t.Helper()
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Disable).ID, done...)
	h.act(h.only(runtest.Revoke).ID, done...)
	return h.want(r.ID, run.Contained)
}

func (h *house) undo(ids ...action.ID) (r run.Run, err error) {
	h.t.Helper()
	err = h.db.Runs().Update(h.t.Context(), func(tx run.Tx) error {
		var actions []action.Action
		for _, id := range ids {
			a, err := tx.Action(tenant, id)
			if err != nil {
				return err
			}
			actions = append(actions, a)
		}
		var err error
		r, err = h.driver.BeginUndo(tx, actions, access.ByOperator("o"), "it was the quarterly test")
		return err
	})
	return r, err
}

func TestUndoOfARun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.contained()
	r, err := h.undo(r.Steps[0].Action, r.Steps[1].Action)
	if err != nil {
		t.Fatal(err)
	}
	if r.Playbook.ID != run.UndoPlaybook || r.Plan.Hash == "" || len(r.Steps) != 2 {
		t.Fatalf("the undo run: %+v", r)
	}
	skipped := r.Steps[slices.IndexFunc(r.Steps, func(s run.StepRun) bool { return s.State == run.StepSkipped })]
	if !strings.Contains(skipped.Reason, "do not come back") {
		t.Errorf("what cannot be undone says %q", skipped.Reason)
	}
	undo := h.only(runtest.Enable)
	if undo.PlanHash != r.Plan.Hash {
		t.Error("the undo's action is not bound to its plan")
	}
	if _, err := h.undo(undo.UndoOf); !errors.Is(err, fault.Conflict) {
		t.Errorf("undone twice: %v", err)
	}
	h.wantCase(casefile.Acting, "")
	h.act(undo.ID, done...)
	h.want(r.ID, run.Done)
	h.wantCase(casefile.Open, "it was the quarterly test")
	if !slices.Contains(h.kinds(), audit.ActionUndone) || !slices.Contains(h.kinds(), audit.UndoAsked) {
		t.Errorf("trail: %v", h.kinds())
	}
	if _, err := h.undo(undo.ID); !errors.Is(err, fault.Conflict) {
		t.Errorf("an undo of an undo: %v", err)
	}
	// Contained anew after the undo, the case is contained.
	h.clock.Add(time.Minute)
	h.contained()
	h.wantCase(casefile.Contained, "")
}

// What is undone while its run goes on was wrong: what has not left is withdrawn,
// nothing else is begun, and the run does not count as failed.
func TestUndoneWhileTheRunGoesOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = func(in playbook.Input) (playbook.Plan, error) {
		p, err := runtest.Steps(runtest.Disable, runtest.Revoke, runtest.Revoke)(in)
		p.Steps[2].ID, p.Steps[2].After = "later", playbook.AfterVerified
		return p, err
	}
	r, _ := h.begin(match("contain"))
	disable := h.only(runtest.Disable).ID
	h.act(disable, done...)
	undo, err := h.undo(disable)
	if err != nil {
		t.Fatal(err)
	}
	h.act(h.only(runtest.Enable).ID, done...)
	h.want(undo.ID, run.Done)
	if got := h.want(r.ID, run.Cancelled); got.Steps[1].State != run.StepCancelled || got.Steps[2].Action != "" {
		t.Errorf("the run went on after it was undone: %+v", got.Steps[2])
	}
}

func TestUndoThatFailsMayBeAskedAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.contained()
	if _, err := h.undo(r.Steps[0].Action); err != nil {
		t.Fatal(err)
	}
	h.act(h.only(runtest.Enable).ID, action.Running, action.Failed)
	h.wantCase(casefile.Waiting, "failed")
	if _, err := h.undo(r.Steps[0].Action); err != nil {
		t.Errorf("asked again: %v", err)
	}
	h.act(h.only(runtest.Enable).ID, done...)
	h.wantCase(casefile.Open, "quarterly")
}

func TestWhatCannotBeUndone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if _, err := h.undo(); !errors.Is(err, fault.Conflict) {
		t.Errorf("nothing: %v", err)
	}
	h.begin(match("contain"))
	a := h.only(runtest.Disable)
	if _, err := h.undo(a.ID); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "is approved") {
		t.Errorf("not verified: %v", err)
	}
	h.update(func(tx run.Tx) error {
		a, err := tx.Action(tenant, a.ID)
		if err != nil {
			return err
		}
		if a, err = a.Move(action.Verified, "it was so already", h.clock.Now()); err != nil {
			return err
		}
		_, err = tx.PutAction(a)
		return err
	})
	if _, err := h.undo(a.ID); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "replaced nothing") {
		t.Errorf("nothing was replaced: %v", err)
	}
	if n := len(h.actions()); n != 1 {
		t.Errorf("refused undos left %d actions", n-1)
	}
}

// Two runs that want the same effect act once, and both are contained by it.
func TestSameEffectActsOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = runtest.Steps(runtest.Revoke)
	h.planner.Plans["other"] = runtest.Steps(runtest.Revoke)
	first, _ := h.begin(match("contain"))
	second, _ := h.begin(match("other"))
	a := h.only(runtest.Revoke)
	h.act(a.ID, done...)
	h.want(first.ID, run.Contained)
	h.clock.Add(time.Second) // the adopter looks by itself
	h.reconcile()
	h.want(second.ID, run.Contained)

	third, _ := h.begin(playbook.Match{Ref: playbook.Ref{ID: "other"}, OnceKey: "k", Window: time.Hour})
	h.want(third.ID, run.Contained) // proven inside its window
	if n := len(h.actions()); n != 1 {
		t.Errorf("%d actions", n)
	}
	if r, _ := h.begin(match("other")); r.State != run.Acting {
		t.Errorf("without a window an old proof proves nothing: %s", r.State)
	}
}

func TestAdopterGoesOnAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = runtest.Steps(runtest.Disable)
	h.planner.Plans["other"] = runtest.Steps(runtest.Disable)
	h.begin(match("contain"))
	owner := h.only(runtest.Disable)
	second, _ := h.begin(match("other"))
	h.act(owner.ID, action.Cancelled)
	h.clock.Add(time.Second)
	h.reconcile()
	own := h.only(runtest.Disable)
	if own.ID == owner.ID || own.Run != string(second.ID) {
		t.Fatalf("%+v", own)
	}
	h.act(own.ID, done...)
	h.want(second.ID, run.Contained)
}

// What is being undone is not adopted: it will not be so any more.
func TestUndoneIsNotAdopted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.contained()
	if _, err := h.undo(r.Steps[0].Action); err != nil {
		t.Fatal(err)
	}
	h.planner.Plans["other"] = runtest.Steps(runtest.Disable)
	if r, _ := h.begin(playbook.Match{Ref: playbook.Ref{ID: "other"}, OnceKey: "k", Window: time.Hour}); r.Steps[0].Adopted {
		t.Error("adopted an action that is being undone")
	}
}
