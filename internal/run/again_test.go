package run_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
)

// partly plans disable and revoke, with disable held for the reason in *held.
func partly(held *string) func(playbook.Input) (playbook.Plan, error) {
	return func(in playbook.Input) (playbook.Plan, error) {
		p, err := runtest.Steps(runtest.Disable, runtest.Revoke)(in)
		p.Steps[0].Held = *held
		return p, err
	}
}

// A step that was held for want of a fact goes on when the fact is there, and
// what the other steps did is not done twice.
func TestHeldStepGoesOnWhenItsFactArrives(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]playbook.Match{
		"once in an hour":     {Ref: playbook.Ref{ID: "contain"}, OnceKey: "k", Window: time.Hour},
		"started by a person": {Ref: playbook.Ref{ID: "contain"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			held := "which directory is the authority is not known"
			h.planner.Plans["contain"] = partly(&held)
			first, _ := h.begin(m)
			revoke := h.only(runtest.Revoke)
			h.act(revoke.ID, action.Running, action.AcceptedState, action.Verified)
			h.reconcile()
			h.want(first.ID, run.HeldState)
			h.wantCase(casefile.Waiting, held)
			again := func() (started []run.Run) {
				h.update(func(tx run.Tx) (err error) { started, err = h.driver.Again(tx, tenant, h.file); return err })
				return started
			}
			if got := again(); len(got) != 0 {
				t.Fatalf("still held, and %d runs started", len(got))
			}
			h.clock.Add(3 * time.Hour)
			held = ""
			got := again()
			if len(got) != 1 {
				t.Fatalf("%d runs started, want one", len(got))
			}
			if more := again(); len(more) != 0 {
				t.Errorf("asked once more, %d more runs started", len(more))
			}
			disable := h.only(runtest.Disable)
			h.act(disable.ID, action.Running, action.AcceptedState, action.Verified)
			h.reconcile()
			h.want(got[0].ID, run.Contained)
			h.wantCase(casefile.Contained, "")
			var names []action.Name
			for _, a := range h.actions() {
				names = append(names, a.Name)
			}
			if diff := cmp.Diff([]action.Name{runtest.Revoke, runtest.Disable}, names); diff != "" {
				t.Errorf("actions:\n%s", diff)
			}
		})
	}
}

// Dispatch learns facts from the look it takes before a change. They count as
// soon as the run is over, without another reading.
func TestWhatARunLearntTakesUpItsHeldSteps(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	held := "which directory is the authority is not known"
	h.planner.Plans["contain"] = partly(&held)
	first, _ := h.begin(playbook.Match{Ref: playbook.Ref{ID: "contain"}, OnceKey: "k", Window: time.Hour})
	h.act(h.only(runtest.Revoke).ID, action.Running, action.AcceptedState)
	held = ""
	h.act(h.only(runtest.Revoke).ID, action.Verified)
	h.reconcile()
	h.want(first.ID, run.HeldState)
	h.act(h.only(runtest.Disable).ID, action.Running, action.AcceptedState, action.Verified)
	h.reconcile()
	h.wantCase(casefile.Contained, "")
}

// What people approved as one of many is not planned anew by itself: nobody approved
// the other plan, and its campaign may be paused or stopped.
func TestAnotherPlanThanTheCampaignsIsNotBegunByItself(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.beginWith("contain", run.Consent{Campaign: "cmp_1", PlanHash: "another"})
	h.want(r.ID, run.HeldState)
	var started []run.Run
	h.update(func(tx run.Tx) (err error) { started, err = h.driver.Again(tx, tenant, h.file); return err })
	if len(started) != 0 || len(h.actions()) != 0 {
		t.Errorf("%d runs and %d actions that nobody approved", len(started), len(h.actions()))
	}
	h.wantCase(casefile.Waiting, "another one than was approved")
}

// consents is a campaign that is over or not, and what was put in its places.
type consents struct {
	over bool
	next []run.ID
}

func (c *consents) Barred(run.Tx, run.Run) (string, error) {
	if c.over {
		return "the campaign is over", nil
	}
	return "", nil
}

func (c *consents) Rejoined(_ run.Tx, next run.Run) error {
	c.next = append(c.next, next.ID)
	return nil
}

// When the fact is there that was missing, the plan is the approved one again, and the
// run goes on with the consent that was given; not when its campaign is over.
func TestAHeldRunOfACampaignGoesOnWhenItsFactArrives(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	campaigns := &consents{over: true}
	h.driver.Campaigns = campaigns
	held, another := true, false
	h.planner.Plans["contain"] = func(in playbook.Input) (playbook.Plan, error) {
		p, err := runtest.Steps(runtest.Disable)(in)
		if another {
			p.Hash = "another"
		}
		if held {
			p.Held, p.Steps, p.Hash = "roles were not read", nil, "held"
		}
		return p, err
	}
	consent := run.Consent{Campaign: "cmp_1", Place: 7, PlanHash: "plan of contain for " + string(h.id)}
	r := h.beginWith("contain", consent)
	h.want(r.ID, run.HeldState)
	h.wantCase(casefile.Waiting, "roles were not read")
	again := func() (started []run.Run) {
		h.t.Helper()
		h.update(func(tx run.Tx) (err error) { started, err = h.driver.Again(tx, tenant, h.file); return err })
		return started
	}
	if got := again(); len(got) != 0 {
		t.Fatalf("the fact is missing, and %d runs began", len(got))
	}
	held = false
	if got := again(); len(got) != 0 {
		t.Fatalf("the campaign is over, and %d runs began", len(got))
	}
	h.wantCase(casefile.Waiting, "the campaign is over")
	said := len(h.db.Trail())
	if again(); len(h.db.Trail()) != said {
		t.Error("it is said again each time that somebody looks")
	}
	campaigns.over, another = false, true
	if got := again(); len(got) != 0 {
		t.Fatalf("nobody approved the plan that it would have, and %d runs began", len(got))
	}
	h.wantCase(casefile.Waiting, "its plan is another one than")
	another = false
	got := again()
	if len(got) != 1 || len(campaigns.next) != 1 || campaigns.next[0] != got[0].ID {
		t.Fatalf("%d runs began, the campaign has %v", len(got), campaigns.next)
	}
	if a := h.only(runtest.Disable); a.Campaign != "cmp_1" || a.Place != 7 {
		t.Errorf("it left the order of its campaign: %+v", a)
	}
	if diff := cmp.Diff(&consent, got[0].Consent); diff != "" {
		t.Errorf("consent:\n%s", diff)
	}
}

// A run of its own does not wait until a campaign that wants the same has come to it.
func TestACampaignDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = runtest.Steps(runtest.Disable)
	h.planner.Plans["other"] = runtest.Steps(runtest.Disable)
	h.beginWith("contain", run.Consent{Campaign: "cmp_1", Place: 4000, PlanHash: "plan of contain for " + string(h.id)})
	if a := h.only(runtest.Disable); a.Campaign != "cmp_1" {
		t.Fatalf("%+v", a)
	}
	h.beginWith("other", run.Consent{Campaign: "cmp_2", PlanHash: "plan of other for " + string(h.id)})
	if a := h.only(runtest.Disable); a.Campaign != "cmp_1" {
		t.Errorf("another campaign takes it out of the order: %+v", a)
	}
	own, _ := h.begin(match("other"))
	a := h.only(runtest.Disable)
	if a.Campaign != "" || a.Place != 0 || !own.Steps[0].Adopted || own.Steps[0].Action != a.ID {
		t.Errorf("it waits for the campaign: %+v", a)
	}
	h.act(a.ID, done...)
	h.clock.Add(2 * time.Second)
	h.reconcile()
	h.want(own.ID, run.Contained)
}

// beginWith starts a run of a campaign.
func (h *house) beginWith(id string, c run.Consent) (r run.Run) {
	h.t.Helper()
	h.update(func(tx run.Tx) error {
		in, err := h.driver.Input(tx, tenant, h.id, []string{playbook.OnManual}, nil)
		if err != nil {
			return err
		}
		r, _, err = h.driver.Begin(tx, run.Start{Match: match(id), Case: h.file, Input: in, AskedBy: access.ByOperator("asker"), Consent: &c})
		return err
	})
	return r
}

// A hold that stays is not asked again for ever.
func TestHeldStepThatStaysHeldStartsNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	held := "Active Directory not connected"
	h.planner.Plans["contain"] = partly(&held)
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Revoke).ID, action.Running, action.AcceptedState, action.Verified)
	for range 5 {
		h.clock.Add(time.Minute)
		h.reconcile()
	}
	h.want(r.ID, run.HeldState)
	var runs []run.Run
	h.update(func(tx run.Tx) (err error) { runs, err = tx.RunsOfCase(tenant, h.file); return err })
	if len(runs) != 1 {
		t.Errorf("%d runs, want one", len(runs))
	}
}
