package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

const tenant = identity.Tenant("tenant")

// A house is a driver over an in-memory store with one person at risk.
type house struct {
	t       *testing.T
	db      *runtest.DB
	clock   *runtest.Clock
	planner *runtest.Planner
	driver  *run.Driver
	mode    playbook.Mode
	id      identity.ID
	file    casefile.ID
	nudged  int
}

func newHouse(t *testing.T) *house {
	t.Helper()
	cat, err := runtest.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{
		t: t, db: &runtest.DB{}, clock: runtest.NewClock(epoch), mode: playbook.Enforce,
		planner: &runtest.Planner{Plans: map[string]func(playbook.Input) (playbook.Plan, error){"contain": runtest.Steps(runtest.Disable, runtest.Revoke)}},
	}
	h.driver = &run.Driver{
		Store: h.db.Runs(), Planner: h.planner, Catalogue: cat, Now: h.clock.Now,
		Policy: func(identity.Tenant) identity.Policy { return identity.Policy{} },
		Mode:   func(identity.Tenant) playbook.Mode { return h.mode },
		Nudge:  func(identity.Tenant) { h.nudged++ },
	}
	h.id, h.file = h.atRisk("1")
	return h
}

// atRisk stores a person with an open case.
func (h *house) atRisk(n string) (identity.ID, casefile.ID) {
	h.t.Helper()
	var i identity.Identity
	var c casefile.Case
	err := h.db.Ingest().Update(h.t.Context(), func(tx ingest.Tx) error {
		res, _ := identity.Resolve(tenant, runtest.Person(n), nil, "test", h.clock.Now())
		var err error
		if i, err = tx.PutIdentity(res.Identity); err != nil {
			return err
		}
		c, err = tx.PutCase(casefile.Begin(i, h.clock.Now()))
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return i.ID, c.ID
}

func (h *house) update(change func(run.Tx) error) {
	h.t.Helper()
	if err := h.db.Runs().Update(h.t.Context(), change); err != nil {
		h.t.Fatal(err)
	}
}

// begin starts a run; settled and once_per come from m.
func (h *house) begin(m playbook.Match) (r run.Run, begun bool) {
	h.t.Helper()
	h.update(func(tx run.Tx) error {
		in, err := h.driver.Input(tx, tenant, h.id, []string{playbook.OnManual}, nil)
		if err != nil {
			return err
		}
		r, begun, err = h.driver.Begin(tx, run.Start{Match: m, Case: h.file, Input: in, AskedBy: access.ByOperator("asker")})
		return err
	})
	return r, begun
}

func match(id string) playbook.Match { return playbook.Match{Ref: playbook.Ref{ID: id}} }

func (h *house) run(id run.ID) (r run.Run) {
	h.t.Helper()
	h.update(func(tx run.Tx) (err error) { r, err = tx.Run(tenant, id); return err })
	return r
}

func (h *house) caseFile() (c casefile.Case) {
	h.t.Helper()
	h.update(func(tx run.Tx) (err error) { c, err = tx.Case(tenant, h.file); return err })
	return c
}

func (h *house) actions() (as []action.Action) {
	h.t.Helper()
	h.db.View(func(tx *runtest.Tx) {
		var err error
		if as, err = tx.Actions(tenant); err != nil {
			h.t.Fatal(err)
		}
	})
	return as
}

func (h *house) requests() (qs []approval.Request) {
	h.t.Helper()
	h.db.View(func(tx *runtest.Tx) {
		var err error
		if qs, err = tx.Approvals(tenant); err != nil {
			h.t.Fatal(err)
		}
	})
	return qs
}

// act moves an action along and reconciles, as dispatch would.
func (h *house) act(id action.ID, states ...action.State) {
	h.t.Helper()
	for _, s := range states {
		h.update(func(tx run.Tx) error {
			a, err := tx.Action(tenant, id)
			if err != nil {
				return err
			}
			if a, err = a.Move(s, "because", h.clock.Now()); err != nil {
				return err
			}
			if s == action.Running {
				a.Before = json.RawMessage("true")
			}
			_, err = tx.PutAction(a)
			return err
		})
		h.reconcile()
	}
}

var done = []action.State{action.Running, action.AcceptedState, action.Verified}

// only returns the one action of the name that is not over yet.
func (h *house) only(n action.Name) action.Action {
	h.t.Helper()
	var found []action.Action
	for _, a := range h.actions() {
		if a.Name == n && !a.State.Final() {
			found = append(found, a)
		}
	}
	if len(found) != 1 {
		h.t.Fatalf("%d open actions %s, want one: %v", len(found), n, found)
	}
	return found[0]
}

func (h *house) reconcile() {
	h.t.Helper()
	if err := h.driver.Reconcile(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// answer gives an operator's answer to a request and moves its run, as the desk does.
func (h *house) answer(q approval.Request, approve bool) {
	h.t.Helper()
	voter := approval.Voter{Operator: access.Operator{ID: "voter", Roles: []access.Role{access.Responder}, Groups: q.Rule.From}}
	h.update(func(tx run.Tx) error {
		q, err := q.Decide(voter, approve, "because", q.PlanHash, h.clock.Now())
		if err != nil {
			return err
		}
		if q, err = tx.PutApproval(q); err != nil {
			return err
		}
		_, err = h.driver.Advance(tx, run.Key{Tenant: tenant, ID: run.ID(q.Run)})
		return err
	})
}

func (h *house) want(id run.ID, s run.State) run.Run {
	h.t.Helper()
	r := h.run(id)
	if r.State != s {
		h.t.Fatalf("run %s is %s (%s), want %s; steps %+v", id, r.State, r.Reason, s, r.Steps)
	}
	return r
}

func (h *house) wantCase(s casefile.Status, waits string) {
	h.t.Helper()
	if c := h.caseFile(); c.Status != s || !strings.Contains(c.Waits, waits) {
		h.t.Fatalf("the case is %s (waits %q), want %s (%q)", c.Status, c.Waits, s, waits)
	}
}

func (h *house) kinds() []audit.Kind {
	var out []audit.Kind
	for _, e := range h.db.Trail() {
		out = append(out, e.Kind)
	}
	return out
}

func TestFromMatchToContained(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r, begun := h.begin(match("contain"))
	if !begun || r.State != run.Acting {
		t.Fatalf("begun %v, %s", begun, r.State)
	}
	a := h.only(runtest.Disable)
	if a.State != action.Approved || a.PlanHash != r.Plan.Hash || a.Run != string(r.ID) || a.Case != string(h.file) || a.Step != string(runtest.Disable) {
		t.Errorf("the first action exists with the run and may go: %+v", a)
	}
	h.wantCase(casefile.Acting, "")
	h.act(a.ID, action.Running)
	if got := len(h.actions()); got != 1 {
		t.Fatalf("%d actions while the first is not accepted", got)
	}
	h.act(a.ID, action.AcceptedState)
	second := h.only(runtest.Revoke)
	h.act(second.ID, done...)
	h.want(r.ID, run.Acting) // accepted is not done
	h.wantCase(casefile.Acting, "")
	h.act(a.ID, action.Verified)
	h.want(r.ID, run.Contained)
	h.wantCase(casefile.Contained, "")
	if c := h.caseFile(); !c.ContainedAt.Equal(h.clock.Now()) {
		t.Errorf("contained at %v", c.ContainedAt)
	}
	if h.nudged == 0 {
		t.Error("nobody was told that actions are ready")
	}
	want := []audit.Kind{audit.RunStarted, audit.RunPlanned, audit.RunEnded, audit.CaseContained}
	if diff := cmp.Diff(want, h.kinds()); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
}

func TestDrivingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r, _ := h.begin(match("contain"))
	h.act(h.only(runtest.Disable).ID, action.Running)
	before, trail := h.run(r.ID), len(h.db.Trail())
	for range 3 {
		h.reconcile()
		if err := h.driver.Drive(t.Context(), run.Key{Tenant: tenant, ID: r.ID}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, h.run(r.ID)); diff != "" {
		t.Errorf("driving again changed the run:\n%s", diff)
	}
	if got := len(h.db.Trail()); got != trail {
		t.Errorf("driving again wrote %d entries", got-trail)
	}
	if keys, err := h.db.Runs().DueRuns(t.Context(), h.clock.Now(), 10); err != nil || len(keys) != 0 {
		t.Errorf("still due: %v, %v", keys, err)
	}
	if err := h.driver.Drive(t.Context(), run.Key{Tenant: tenant, ID: "run_none"}); !errors.Is(err, fault.NotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
}

func TestOncePer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	m := playbook.Match{Ref: playbook.Ref{ID: "contain"}, OnceKey: "k", Window: time.Hour}
	first, _ := h.begin(m)
	h.clock.Add(59 * time.Minute)
	if again, begun := h.begin(m); begun || again.ID != first.ID {
		t.Errorf("inside the window: begun %v, run %s", begun, again.ID)
	}
	other := m
	other.OnceKey = "other"
	if _, begun := h.begin(other); !begun {
		t.Error("another key is another thing")
	}
	h.clock.Add(2 * time.Minute)
	if _, begun := h.begin(m); !begun {
		t.Error("outside the window it starts")
	}
}

func TestSettling(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	seen := -1
	h.planner.Plans["contain"] = func(in playbook.Input) (playbook.Plan, error) {
		seen = len(in.Signals)
		return runtest.Steps(runtest.Disable)(in)
	}
	m := playbook.Match{Ref: playbook.Ref{ID: "contain"}, OnceKey: "k", Window: time.Hour, Settle: time.Minute}
	h.planner.Matches = []runtest.Rule{{On: playbook.OnManual, Match: m}}
	r, _ := h.begin(m)
	if r.State != run.Settling || seen != -1 {
		t.Fatalf("%s, planned %v", r.State, seen != -1)
	}
	h.wantCase(casefile.Acting, "waits for further signals")
	h.clock.Add(59 * time.Second)
	if err := h.db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
		_, err := tx.PutSignal(runtest.Detection(tenant, "d1", runtest.Person("1"), "leakedCredentials", signal.LevelHigh, h.clock.Now()), h.id)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	h.reconcile()
	h.want(r.ID, run.Settling)
	h.clock.Add(time.Second)
	h.reconcile()
	h.want(r.ID, run.Acting)
	if seen != 1 {
		t.Errorf("the plan saw %d signals, want the sibling", seen)
	}
}

// Siblings that come while a run settles may show that another playbook's remedy
// fits: then nothing is planned, and the same key may start a run again.
func TestSettlingEndsWhenTheTriggerDoesNotHold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = runtest.Steps(runtest.Disable)
	m := playbook.Match{Ref: playbook.Ref{ID: "contain"}, OnceKey: "k", Window: time.Hour, Settle: time.Minute}
	r, _ := h.begin(m)
	h.planner.Matches = nil
	h.clock.Add(time.Minute)
	h.reconcile()
	h.want(r.ID, run.Cancelled)
	if got := h.run(r.ID); got.Plan != nil || !strings.Contains(got.Reason, "does not hold any more") {
		t.Errorf("plan %v, reason %q", got.Plan, got.Reason)
	}
	if _, begun := h.begin(m); !begun {
		t.Error("the key is taken by a run that never came to a plan")
	}
}

// A plan that is held for want of a fact is planned anew when the fact is there,
// once; until then nothing piles up.
func TestHeldPlanIsAskedAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	held := "its roles have not been read yet"
	h.planner.Plans["contain"] = func(in playbook.Input) (playbook.Plan, error) {
		p, err := runtest.Steps(runtest.Disable)(in)
		p.Held = held
		return p, err
	}
	m := playbook.Match{Ref: playbook.Ref{ID: "contain"}, OnceKey: "k", Window: time.Hour}
	first, _ := h.begin(m)
	h.want(first.ID, run.HeldState)
	h.wantCase(casefile.Waiting, held)
	if _, begun := h.begin(m); begun {
		t.Error("a second run that would be held as well was started")
	}
	again := func() (started []run.Run) {
		h.update(func(tx run.Tx) (err error) { started, err = h.driver.Again(tx, tenant, h.file); return err })
		return started
	}
	if got := again(); len(got) != 0 {
		t.Fatalf("still held, and %d runs started", len(got))
	}
	held = ""
	got := again()
	if len(got) != 1 || got[0].State != run.Acting || got[0].OnceKey != "k" {
		t.Fatalf("started %+v", got)
	}
	if more := again(); len(more) != 0 {
		t.Errorf("asked once more, %d more runs started", len(more))
	}
	h.wantCase(casefile.Acting, "")
}

func TestPlanThatCannotBeMadeHolds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.planner.Plans["contain"] = func(playbook.Input) (playbook.Plan, error) {
		return playbook.Plan{}, fault.Errorf(fault.Invalid, "the condition cost too much")
	}
	r, begun := h.begin(match("contain"))
	if !begun || r.State != run.HeldState || !strings.Contains(r.Reason, "cost too much") {
		t.Errorf("begun %v, %s: %s", begun, r.State, r.Reason)
	}
	if r, _ = h.begin(match("nowhere")); r.State != run.HeldState {
		t.Errorf("an unheard-of playbook: %s", r.State)
	}
}

func TestRefusedObservedAndEmptyPlans(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		plan  playbook.Plan
		mode  playbook.Mode
		state run.State
		file  casefile.Status
	}{
		"refused":         {playbook.Plan{Refused: "on the protected list: break glass"}, playbook.Enforce, run.Refused, casefile.Waiting},
		"observe plan":    {playbook.Plan{Mode: playbook.Observe}, playbook.Enforce, run.Observed, casefile.Open},
		"observe tenant":  {playbook.Plan{}, playbook.Observe, run.Observed, casefile.Open},
		"nothing to do":   {playbook.Plan{}, playbook.Enforce, run.Done, casefile.Open},
		"everything held": {playbook.Plan{Held: "stale"}, playbook.Enforce, run.HeldState, casefile.Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.mode = tc.mode
			h.planner.Plans["contain"] = func(in playbook.Input) (playbook.Plan, error) {
				p := tc.plan
				if name == "nothing to do" {
					return p, nil
				}
				full, err := runtest.Steps(runtest.Disable)(in)
				p.Steps = full.Steps
				p.Steps[0].Approval = &approval.Rule{Mode: approval.Before}
				return p, err
			}
			r, _ := h.begin(match("contain"))
			h.want(r.ID, tc.state)
			h.wantCase(tc.file, "")
			if n, m := len(h.actions()), len(h.requests()); n+m != 0 {
				t.Errorf("%d actions and %d approvals exist", n, m)
			}
			for _, s := range r.Steps {
				if !s.State.Final() || s.Reason == "" {
					t.Errorf("step %+v does not say why it is not done", s)
				}
			}
		})
	}
}

// What was observed does not keep the same from being done once the tenant acts.
func TestObservedDoesNotCountOnceActing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.mode = playbook.Observe
	m := playbook.Match{Ref: playbook.Ref{ID: "contain"}, Mode: playbook.Enforce, OnceKey: "k", Window: time.Hour}
	h.begin(m)
	if _, begun := h.begin(m); begun {
		t.Error("observed twice inside the window")
	}
	h.mode = playbook.Enforce
	if r, begun := h.begin(m); !begun || r.State != run.Acting {
		t.Errorf("begun %v, %s", begun, r.State)
	}
}

func TestLanes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		level      signal.Level
		privileged bool
		want       action.Lane
	}{
		"high": {signal.LevelHigh, false, action.LaneHigh}, "medium": {signal.LevelMedium, false, action.LaneMedium},
		"low": {signal.LevelLow, false, action.LaneLow}, "privileged goes first": {signal.LevelLow, true, action.LanePrivileged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			err := h.db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
				d := connector.DirectoryFacts{AsOf: epoch, UsableGlobalAdmins: []string{"a", "b"}, Holders: map[string][]identity.Role{}}
				if tc.privileged {
					d.Hold(runtest.Person("1").ObjectID, identity.Role{TemplateID: "t", Name: "Helpdesk Administrator"})
				}
				if err := tx.PutDirectory(tenant, d); err != nil {
					return err
				}
				a, _ := tx.Assessment(tenant, h.id)
				a.Tenant, a.Identity, a.Level = tenant, h.id, tc.level
				return tx.PutAssessment(a)
			})
			if err != nil {
				t.Fatal(err)
			}
			h.begin(match("contain"))
			if got := h.only(runtest.Disable).Lane; got != tc.want {
				t.Errorf("lane %d, want %d", got, tc.want)
			}
		})
	}
}

// A commit that fails leaves nothing: no run, no action, no word in the trail.
func TestFailedCommitLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	boom := errors.New("disk full")
	h.db.Fail = func() error { return boom }
	err := h.db.Runs().Update(t.Context(), func(tx run.Tx) error {
		in, err := h.driver.Input(tx, tenant, h.id, nil, nil)
		if err != nil {
			return err
		}
		_, _, err = h.driver.Begin(tx, run.Start{Match: match("contain"), Case: h.file, Input: in})
		return err
	})
	if !errors.Is(err, boom) || len(h.actions())+len(h.db.Trail()) != 0 {
		t.Errorf("err %v, %d actions, %d entries", err, len(h.actions()), len(h.db.Trail()))
	}
}

// Runs that are driven together come as far as each by itself, and one that cannot be
// moved keeps no other.
func TestOneThatCannotBeDrivenKeepsNoOther(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 3 {
		h.begin(playbook.Match{Ref: playbook.Ref{ID: "contain"}, Settle: time.Minute})
	}
	h.clock.Add(time.Minute)
	keys, err := h.db.DueRuns(t.Context(), h.clock.Now(), 10)
	if err != nil || len(keys) != 3 {
		t.Fatalf("%d due, %v", len(keys), err)
	}
	none := run.Key{Tenant: tenant, ID: "run_none"}
	commits := 0
	h.db.Fail = func() error { commits++; return nil }
	var failed []run.Key
	note := func(k run.Key, err error) {
		if failed = append(failed, k); err == nil {
			t.Errorf("%s failed for nothing", k.ID)
		}
	}
	h.driver.DriveAll(t.Context(), []run.Key{keys[0], none, keys[1]}, note)
	if diff := cmp.Diff([]run.Key{none}, failed); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
	due, err := h.db.DueRuns(t.Context(), h.clock.Now(), 10)
	if diff := cmp.Diff(keys[2:], due); diff != "" || err != nil {
		t.Errorf("still due, %v (-want +got):\n%s", err, diff)
	}
	failed, commits = nil, 0
	h.driver.DriveAll(t.Context(), append(keys, keys[2]), note)
	if len(failed) > 0 || commits != 1 {
		t.Errorf("failed %v, in %d transactions", failed, commits)
	}
}

func TestReconcileReportsEveryFailureAndStops(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.begin(playbook.Match{Ref: playbook.Ref{ID: "contain"}, Settle: time.Minute})
	h.begin(playbook.Match{Ref: playbook.Ref{ID: "contain"}, Settle: time.Minute})
	h.clock.Add(time.Minute)
	boom := errors.New("disk full")
	h.db.Fail = func() error { return boom }
	err := h.driver.Reconcile(t.Context())
	if !errors.Is(err, boom) || strings.Count(err.Error(), "disk full") != 2 {
		t.Errorf("want both failures: %v", err)
	}
	h.db.Fail = nil
	h.reconcile()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.driver.Reconcile(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// An action that no step knows changes nothing for its run. The run is looked at
// once, not every second until something else moves it.
func TestWhatMeansNothingToARunDoesNotKeepItDue(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r, _ := h.begin(match("contain"))
	a := h.only(runtest.Disable)
	a.ID, a.Step, a.Effect, a.Version = "act_stray", "of another version of the plan", "another", 0
	h.update(func(tx run.Tx) error { _, err := tx.PutAction(a); return err })
	h.reconcile()
	keys, err := h.db.Runs().DueRuns(t.Context(), h.clock.Now(), 10)
	if err != nil || len(keys) != 0 {
		t.Errorf("still due: %v, %v", keys, err)
	}
	settled := h.run(r.ID).Version
	h.reconcile()
	if now := h.run(r.ID); now.Version != settled || now.State != run.Acting {
		t.Errorf("put again and again: version %d became %d, %s", settled, now.Version, now.State)
	}
}

// A driver that asks another planner is the same in everything else.
func TestWithKeepsEverythingButThePlanner(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.driver
	d.Campaigns, d.Soon = &consents{}, func(run.Key) bool { return false }
	was, is := reflect.ValueOf(d).Elem(), reflect.ValueOf(d.With(&runtest.Planner{})).Elem()
	for n := range was.NumField() {
		if f := was.Type().Field(n); f.IsExported() && f.Name != "Planner" && was.Field(n).IsNil() != is.Field(n).IsNil() {
			t.Errorf("%s is not the same", f.Name)
		}
	}
}
