package run_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
)

// shape makes the plan of "contain" from steps that do disable and revoke.
func (h *house) shape(change func(*playbook.Plan)) {
	base := runtest.Steps(runtest.Disable, runtest.Revoke)
	h.planner.Plans["contain"] = func(in playbook.Input) (playbook.Plan, error) {
		p, err := base(in)
		p.Steps[0].ID, p.Steps[1].ID = "disable", "revoke"
		p.Steps[0].Undo = runtest.Enable
		change(&p)
		return p, err
	}
}

// enabled stores whether the person's account is enabled.
func (h *house) enabled(v bool) {
	h.t.Helper()
	err := h.db.Ingest().Update(h.t.Context(), func(tx ingest.Tx) error {
		i, err := tx.Identity(tenant, h.id)
		if err != nil {
			return err
		}
		i.Accounts[0].Facts.Enabled = &v
		_, err = tx.PutIdentity(i)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) stateOf(id run.ID, step string) run.StepState {
	h.t.Helper()
	for _, s := range h.run(id).Steps {
		if s.ID == step {
			return s.State
		}
	}
	return ""
}

var wait = playbook.Step{ID: "wait", Kind: playbook.KindWait, Until: "!identity.enabled", Within: time.Hour, After: playbook.AfterAccepted, OnTimeout: playbook.TimeoutContinue}

func TestWaitGoesOnWhenItCameTrue(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.enabled(true)
	h.shape(func(p *playbook.Plan) {
		p.Steps = []playbook.Step{wait, {ID: "end", Kind: playbook.KindEnd, If: "steps.wait.passed", Later: true, End: playbook.EndExpected, Note: "somebody else did it"}, p.Steps[0]}
	})
	r, _ := h.begin(match("contain"))
	h.want(r.ID, run.Acting)
	if len(h.actions()) != 0 {
		t.Fatal("something was done while the run waits")
	}
	h.enabled(false)
	h.clock.Add(11 * time.Second)
	h.reconcile()
	got := h.want(r.ID, run.Done)
	if !strings.Contains(got.Reason, "somebody else did it") || len(h.actions()) != 0 || got.Steps[2].State != run.StepSkipped {
		t.Errorf("ended %q with %d actions, the last step %s", got.Reason, len(h.actions()), got.Steps[2].State)
	}
}

// What a source tells is asked at once: the clock is only the second way.
func TestWaitIsAskedWhenSomethingIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.enabled(true)
	h.shape(func(p *playbook.Plan) { p.Steps = []playbook.Step{wait} })
	r, _ := h.begin(match("contain"))
	h.enabled(false)
	h.clock.Add(time.Second)
	h.update(func(tx run.Tx) error { _, err := h.driver.Again(tx, tenant, h.file); return err })
	if s := h.stateOf(r.ID, "wait"); s != run.StepPassed {
		t.Errorf("the wait is %s", s)
	}
}

func TestWaitRunsOut(t *testing.T) {
	t.Parallel()
	for on, want := range map[playbook.OnTimeout]struct {
		run     run.State
		actions int
	}{
		playbook.TimeoutContinue: {run.Acting, 1},
		playbook.TimeoutFail:     {run.Failed, 0},
		playbook.TimeoutPerson:   {run.HeldState, 0},
	} {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.enabled(true)
			h.shape(func(p *playbook.Plan) {
				w := wait
				w.OnTimeout = on
				p.Steps = []playbook.Step{w, p.Steps[0]}
			})
			r, _ := h.begin(match("contain"))
			for range 60 {
				h.clock.Add(time.Minute - time.Second)
				h.reconcile()
			}
			h.want(r.ID, run.Acting) // not yet
			if len(h.actions()) != 0 {
				t.Fatal("it went on before its time")
			}
			h.clock.Add(time.Minute)
			h.reconcile()
			h.want(r.ID, want.run)
			if n := len(h.actions()); n != want.actions {
				t.Errorf("%d actions, want %d", n, want.actions)
			}
		})
	}
}

// The requests of what stands behind a wait are asked when the wait is over: they
// would run out before.
func TestApprovalBehindAWait(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.enabled(true)
	h.shape(func(p *playbook.Plan) {
		p.Steps[0].Approval = &approval.Rule{Mode: approval.Before, From: []string{"g"}, Quorum: 1, Expires: time.Minute, OnExpiry: approval.ExpiryEscalate}
		p.Steps = []playbook.Step{wait, p.Steps[0]}
	})
	h.begin(match("contain"))
	if n := len(h.requests()); n != 0 {
		t.Fatalf("%d requests while it waits", n)
	}
	h.enabled(false)
	h.clock.Add(30 * time.Second)
	h.reconcile()
	if n := len(h.requests()); n != 1 {
		t.Fatalf("%d requests after the wait", n)
	}
	h.answer(h.requests()[0], true)
	h.only(runtest.Disable)
}

func TestTogetherAndAfterEachOther(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) {
		p.Steps[0].Group, p.Steps[1].Group = "cut", "cut"
		last := p.Steps[1]
		last.ID, last.Group, last.Params, last.After = "last", "", map[string]any{"n": 1}, playbook.AfterVerified
		p.Steps = append(p.Steps, last)
	})
	h.begin(match("contain"))
	if n := len(h.actions()); n != 2 {
		t.Fatalf("%d actions at once, want 2", n)
	}
	h.act(h.only(runtest.Disable).ID, done...)
	if n := len(h.actions()); n != 2 {
		t.Fatalf("the last step began before the group was through: %d actions", n)
	}
	h.act(h.only(runtest.Revoke).ID, done...)
	if n := len(h.actions()); n != 3 {
		t.Fatalf("%d actions after the group, want 3", n)
	}
}

// A containment with a ttl is taken back by itself, through an undo of its own,
// and the original becomes reverted.
func TestWhatHasRunItsTimeIsTakenBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) {
		p.Steps[0].TTL = 4 * time.Hour
		p.Steps = p.Steps[:1]
	})
	r, _ := h.begin(match("contain"))
	disable := h.only(runtest.Disable)
	h.act(disable.ID, done...)
	h.want(r.ID, run.Contained)
	h.clock.Add(4*time.Hour - time.Second)
	h.reconcile()
	if n := len(h.actions()); n != 1 {
		t.Fatalf("taken back before its time: %d actions", n)
	}
	h.clock.Add(time.Second)
	h.reconcile()
	h.reconcile()
	undo := h.only(runtest.Enable)
	if undo.UndoOf != disable.ID || undo.Lane != action.LaneUndo {
		t.Errorf("the undo is %+v", undo)
	}
	h.act(undo.ID, done...)
	for _, a := range h.actions() {
		if a.ID == disable.ID && a.State != action.Reverted {
			t.Errorf("the original is %s", a.State)
		}
	}
	if c := h.caseFile(); c.Status == casefile.Contained {
		t.Error("the case is still shown contained")
	}
	h.clock.Add(24 * time.Hour)
	h.reconcile()
	if n := len(h.actions()); n != 2 {
		t.Errorf("%d actions in the end, want 2", n)
	}
}

// Somebody took it back before: there is nothing left to do when its time comes.
func TestTTLAfterAnUndoByHand(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) { p.Steps[0].TTL = time.Hour; p.Steps = p.Steps[:1] })
	h.begin(match("contain"))
	id := h.only(runtest.Disable).ID
	h.act(id, done...)
	if _, err := h.undo(id); err != nil {
		t.Fatal(err)
	}
	h.clock.Add(2 * time.Hour)
	h.reconcile() // the undo is under way
	h.act(h.only(runtest.Enable).ID, done...)
	h.clock.Add(2 * time.Hour)
	h.reconcile()
	if n := len(h.actions()); n != 2 {
		t.Errorf("%d actions, want 2", n)
	}
}

// A run that adopts what another asked for a time, and needs it for good, keeps it.
func TestAdoptedForGood(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) { p.Steps[0].TTL = time.Hour; p.Steps = p.Steps[:1] })
	h.planner.Plans["other"] = runtest.Steps(runtest.Disable)
	h.begin(match("contain"))
	second, _ := h.begin(match("other"))
	if !second.Steps[0].Adopted {
		t.Fatal("the second run acts by itself")
	}
	h.act(h.only(runtest.Disable).ID, done...)
	h.clock.Add(48 * time.Hour)
	h.reconcile()
	if n := len(h.actions()); n != 1 {
		t.Errorf("it was taken back although another run needs it: %d actions", n)
	}
}

func TestWhatDoesNotLeaveInTime(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) { p.Steps[0].Timeout = 30 * time.Second })
	r, _ := h.begin(match("contain"))
	h.clock.Add(31 * time.Second)
	h.reconcile()
	got := h.want(r.ID, run.Failed)
	if got.Steps[0].State != run.StepFailed || h.actions()[0].State != action.Cancelled || len(h.actions()) != 1 {
		t.Errorf("the step is %s, its action %s", got.Steps[0].State, h.actions()[0].State)
	}
}

// What left already is followed to its end: the deadline of its proof counts.
func TestWhatLeftInTime(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) { p.Steps[0].Timeout = 30 * time.Second; p.Steps = p.Steps[:1] })
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Disable).ID, action.Running)
	h.clock.Add(time.Minute)
	h.reconcile()
	h.act(h.only(runtest.Disable).ID, action.AcceptedState, action.Verified)
	h.want(r.ID, run.Contained)
}

func TestFailureTakesBackWhatWasDone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) { p.UndoOnFailure = true })
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Disable).ID, done...)
	h.act(h.only(runtest.Revoke).ID, action.Running, action.Failed)
	h.want(r.ID, run.Failed)
	undo := h.only(runtest.Enable)
	h.act(undo.ID, done...)
	if s := h.stateOf(r.ID, "disable"); s != run.StepReverted {
		t.Errorf("the step is %s", s)
	}
}

// What a failed run found so already is nothing that it could take back: it ends as the
// failure it is, for the failure's own reason, and people are paged.
func TestFailureWithNothingToTakeBackIsPaged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) { p.UndoOnFailure, p.PageOnFailure = true, true })
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Disable).ID, action.Verified) // already so
	h.act(h.only(runtest.Revoke).ID, action.Running, action.Failed)
	got := h.want(r.ID, run.Failed)
	if !strings.Contains(got.Reason, got.Steps[1].Reason) || !strings.Contains(got.Reason, "not taken back: ") || strings.Contains(got.Reason, "ratified") {
		t.Errorf("it says %q", got.Reason)
	}
	h.wantCase(casefile.Waiting, got.Steps[1].Reason)
	if !slices.Contains(h.kinds(), audit.RunPaged) {
		t.Error("nobody is paged")
	}
}

// What nobody ratified and nothing takes back stays for a person to see, also where the
// run fails by that.
func TestWhatWasNotRatifiedAndStaysNeedsAPerson(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) {
		p.Steps[0].Approval = &approval.Rule{Mode: approval.Ratify, OnExpiry: approval.ExpiryFail, Expires: time.Minute}
	})
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Disable).ID, action.Verified) // already so
	h.act(h.only(runtest.Revoke).ID, done...)
	h.clock.Add(2 * time.Minute)
	h.reconcile()
	if got := h.want(r.ID, run.HeldState); !strings.HasPrefix(got.Reason, "was not ratified and cannot be taken back: ") {
		t.Errorf("it says %q", got.Reason)
	}
}

// A campaign pauses by what failed: there a run that failed must count as that, or the
// brake would never see one of a playbook that holds.
func TestAFailureOfACampaignCountsAsOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) { p.HoldOnFailure = true })
	h.driver.Campaigns = &consents{}
	r := h.beginWith("contain", run.Consent{Campaign: "cmp_1", PlanHash: "plan of contain for " + string(h.id)})
	h.act(h.only(runtest.Disable).ID, action.Running, action.Failed)
	h.wantCase(casefile.Waiting, h.want(r.ID, run.Failed).Reason)
}

// A run that failed and whose playbook holds and pages waits for a person, who hears
// who, where and why, and nothing takes it up again by itself.
func TestFailureHoldsAndPages(t *testing.T) {
	t.Parallel()
	for _, hold := range []bool{true, false} {
		h := newHouse(t)
		h.shape(func(p *playbook.Plan) {
			p.UndoOnFailure, p.PageOnFailure, p.HoldOnFailure = true, true, hold
			third := p.Steps[1]
			third.ID, third.Held = "third", "a fact is unknown"
			p.Steps = append(p.Steps, third)
		})
		r, _ := h.begin(match("contain"))
		h.act(h.only(runtest.Disable).ID, done...)
		h.act(h.only(runtest.Revoke).ID, action.Running, action.Failed)
		want := run.Failed
		if hold {
			want = run.HeldState
		}
		got := h.want(r.ID, want)
		why := got.Steps[1].Reason
		if why == "" || got.Ends != run.Failed || !strings.HasSuffix(got.Reason, ": "+why) || strings.HasPrefix(got.Reason, "a person is needed: ") != hold {
			t.Errorf("ends %s: %q", got.Ends, got.Reason)
		}
		h.act(h.only(runtest.Enable).ID, done...)
		h.wantCase(casefile.Waiting, got.Reason)
		var pages []audit.Entry
		for _, e := range h.db.Trail() {
			if e.Kind == audit.RunPaged {
				pages = append(pages, e)
			}
		}
		if len(pages) != 1 || pages[0].Identity != string(h.id) || pages[0].Case == "" || pages[0].Data["step"] != got.Steps[1].ID || pages[0].Data["reason"] != why || !strings.Contains(pages[0].Text, got.Plan.Name) {
			t.Errorf("pages: %+v", pages)
		}
		h.shape(func(p *playbook.Plan) { // the plan holds nothing any more
			third := p.Steps[1]
			third.ID = "third"
			p.Steps = append(p.Steps, third)
		})
		h.update(func(tx run.Tx) error {
			again, err := h.driver.Again(tx, tenant, r.Case)
			if len(again) != 0 {
				t.Errorf("taken up again: %+v", again)
			}
			return err
		})
	}
}

func TestContainedMeansWhatThePlaybookSays(t *testing.T) {
	t.Parallel()
	for when, want := range map[string]run.State{
		"steps.disable.verified && steps.revoke.verified": run.HeldState,
		"steps.disable.verified":                          run.Contained,
	} {
		h := newHouse(t)
		h.shape(func(p *playbook.Plan) {
			p.ContainedWhen = when
			p.Steps[1].Contains, p.Steps[1].Skip = false, "not called for"
		})
		r, _ := h.begin(match("contain"))
		h.act(h.only(runtest.Disable).ID, done...)
		h.want(r.ID, want)
	}
}

// A fallback is done only when what it stands in for failed.
func TestFallback(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{true, false} {
		h := newHouse(t)
		h.shape(func(p *playbook.Plan) {
			p.Steps[0].OnError, p.Steps[1].If, p.Steps[1].Later = playbook.ErrorContinue, "steps.disable.failed", true
			p.Steps[1].After = playbook.AfterVerified
		})
		r, _ := h.begin(match("contain"))
		if fails {
			h.act(h.only(runtest.Disable).ID, action.Running, action.Failed)
			h.only(runtest.Revoke)
			continue
		}
		h.act(h.only(runtest.Disable).ID, done...)
		if got := h.want(r.ID, run.Contained); got.Steps[1].State != run.StepSkipped {
			t.Errorf("the fallback is %s", got.Steps[1].State)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	for _, over := range []playbook.Over{playbook.OverHold, playbook.OverRefuse} {
		h := newHouse(t)
		h.shape(func(p *playbook.Plan) {
			p.Rate = &playbook.Rate{Key: "all", Limit: 1, Per: time.Hour, Over: over}
		})
		h.planner.Matches = []runtest.Rule{{On: playbook.OnManual, Match: match("contain")}}
		h.begin(match("contain"))
		first := h.id
		h.id, h.file = h.atRisk("2")
		second, _ := h.begin(match("contain"))
		if over == playbook.OverRefuse {
			if got := h.want(second.ID, run.Refused); !strings.Contains(got.Reason, "rate") {
				t.Errorf("refused for %q", got.Reason)
			}
			continue
		}
		h.want(second.ID, run.Settling)
		h.wantCase(casefile.Waiting, "the rate of contain is used up")
		h.clock.Add(59 * time.Minute)
		h.reconcile()
		h.want(second.ID, run.Settling)
		h.clock.Add(3 * time.Minute)
		h.reconcile()
		h.want(second.ID, run.Acting)
		for _, a := range h.actions() {
			if a.Identity != first && a.Identity != h.id {
				t.Errorf("an action for %s", a.Identity)
			}
		}
	}
}

// The gate asks guards and conditions again, with what is known then.
func TestStill(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.enabled(true)
	h.shape(func(p *playbook.Plan) {
		p.Guards = []playbook.Guard{{When: `identity.kind == "guest"`, Why: "a guest"}}
		p.Steps[0].If = "identity.enabled"
	})
	r, _ := h.begin(match("contain"))
	check := func(wantRefused, wantMoot, wantErr string) {
		t.Helper()
		h.update(func(tx run.Tx) error {
			refused, moot, err := h.driver.Still(tx, r, "disable")
			text := ""
			if err != nil {
				text = err.Error()
			}
			if refused != wantRefused || !strings.Contains(moot, wantMoot) || (moot != "") != (wantMoot != "") || !strings.Contains(text, wantErr) || (err != nil) != (wantErr != "") {
				t.Errorf("refused %q, moot %q, %v", refused, moot, err)
			}
			return nil
		})
	}
	check("", "", "")
	h.enabled(false)
	check("", "identity.enabled is false", "")
	kind := func(k identity.Kind) {
		if err := h.db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
			i, err := tx.Identity(tenant, h.id)
			if err != nil {
				return err
			}
			i.Kind = k
			_, err = tx.PutIdentity(i)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	kind(identity.KindGuest)
	check("a guest", "", "")
	kind(identity.KindUnknown)
	check("", "", "kind of identity")
}

// What was held because its condition could not be decided is planned anew when it
// can be, and what was done is not done again.
func TestUndecidedIsPlannedAnew(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.enabled(true)
	unknown := func(forget bool) {
		if err := h.db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
			i, err := tx.Identity(tenant, h.id)
			if err != nil {
				return err
			}
			synced := false
			if i.Accounts[0].Facts.Synced = &synced; forget {
				i.Accounts[0].Facts.Synced = nil
			}
			_, err = tx.PutIdentity(i)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	h.shape(func(p *playbook.Plan) {
		p.Steps[1].If, p.Steps[1].Later, p.Steps[1].After = "steps.disable.verified && !identity.synced", true, playbook.AfterVerified
	})
	unknown(true)
	first, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Disable).ID, done...)
	h.want(first.ID, run.HeldState)
	unknown(false)
	var again []run.Run
	h.update(func(tx run.Tx) (err error) { again, err = h.driver.Again(tx, tenant, h.file); return err })
	if len(again) != 1 {
		t.Fatalf("%d runs were begun anew", len(again))
	}
	h.clock.Add(2 * time.Second)
	h.reconcile()
	n := 0
	for _, a := range h.actions() {
		if a.Name == runtest.Disable {
			n++
			if !a.State.Final() {
				h.act(a.ID, done...)
			}
		}
	}
	h.act(h.only(runtest.Revoke).ID, done...)
	h.want(again[0].ID, run.Contained)
}

// An undo that fails is asked for again: what was to stand for a time must not
// stand for ever because the directory was busy once.
func TestTTLIsTriedAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) { p.Steps[0].TTL = time.Hour; p.Steps = p.Steps[:1] })
	h.begin(match("contain"))
	id := h.only(runtest.Disable).ID
	h.act(id, done...)
	h.clock.Add(time.Hour)
	h.reconcile()
	h.act(h.only(runtest.Enable).ID, action.Running, action.Failed)
	h.clock.Add(30 * time.Minute)
	h.reconcile()
	if n := len(h.actions()); n != 2 {
		t.Fatalf("%d actions half an hour later, want 2", n)
	}
	h.clock.Add(31 * time.Minute)
	h.reconcile()
	h.act(h.only(runtest.Enable).ID, done...)
	h.update(func(tx run.Tx) error {
		a, err := tx.Action(tenant, id)
		if a.State != action.Reverted {
			t.Errorf("the containment is %s", a.State)
		}
		return err
	})
}

// What was to stand for a time stays when somebody else proved it meanwhile and needs
// it longer: taking it back would end a containment that is shown as one.
func TestTTLDoesNotEndWhatAnotherRunNeeds(t *testing.T) {
	t.Parallel()
	for name, ttl := range map[string]time.Duration{"for ever": 0, "longer": 5 * time.Hour, "shorter": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.shape(func(p *playbook.Plan) { p.Steps[0].TTL = time.Hour; p.Steps = p.Steps[:1] })
			h.begin(match("contain"))
			h.act(h.only(runtest.Disable).ID, done...)
			h.planner.Plans["other"] = func(in playbook.Input) (playbook.Plan, error) {
				p, err := runtest.Steps(runtest.Disable)(in)
				p.Steps[0].TTL = ttl
				return p, err
			}
			h.clock.Add(30 * time.Minute)
			second, _ := h.begin(match("other"))
			// The account is disabled already: nothing leaves, and nothing is replaced.
			h.update(func(tx run.Tx) error {
				a, err := tx.Action(tenant, second.Steps[0].Action)
				if err != nil {
					return err
				}
				a.Before = json.RawMessage("false")
				if a, err = a.Move(action.Verified, "already so", h.clock.Now()); err == nil {
					_, err = tx.PutAction(a)
				}
				return err
			})
			h.reconcile()
			h.want(second.ID, run.Contained)
			undone := func(after time.Duration) (n int) {
				h.clock.Add(after)
				h.reconcile()
				for _, a := range h.actions() {
					if a.Name == runtest.Enable {
						n++
					}
				}
				return n
			}
			early := map[string]int{"shorter": 1}[name]
			if n := undone(31 * time.Minute); n != early {
				t.Errorf("after the first's time it was taken back %d times, want %d", n, early)
			}
			late := map[string]int{"shorter": 1, "longer": 1}[name]
			if n := undone(5 * time.Hour); n != late {
				t.Errorf("after the second's time it was taken back %d times, want %d", n, late)
			}
		})
	}
}

// A person's run that waits for its rate goes on when there is room: it never rested
// on the playbook's trigger.
func TestRateOfWhatAPersonAsked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.shape(func(p *playbook.Plan) {
		p.Rate = &playbook.Rate{Key: "all", Limit: 1, Per: time.Hour, Over: playbook.OverHold}
	})
	h.begin(match("contain"))
	h.id, h.file = h.atRisk("2")
	second, _ := h.begin(match("contain"))
	h.want(second.ID, run.Settling)
	h.clock.Add(62 * time.Minute)
	h.reconcile()
	h.want(second.ID, run.Acting)
}
