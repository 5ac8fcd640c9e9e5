package run_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

var epoch = time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)

// actionMoves are the moves an action can make, as the world sees it. Running may
// go back to approved: the directory asked for another try.
func actionMoves(s action.State) []action.State {
	var out []action.State
	for _, to := range []action.State{
		action.Requested, action.Approved, action.Held, action.Running, action.AcceptedState, action.Unconfirmed,
		action.Verified, action.Failed, action.RefusedState, action.Reverted, action.Expired, action.Cancelled,
	} {
		if _, err := (action.Action{State: s}).Move(to, "", epoch); err == nil && to != s {
			out = append(out, to)
		}
	}
	return out
}

// move picks what an action does next: mostly what one hopes for.
func (w *world) move(s action.State) (action.State, bool) {
	hoped := map[action.State]action.State{
		action.Approved: action.Running, action.Held: action.Approved, action.Running: action.AcceptedState,
		action.AcceptedState: action.Verified, action.Unconfirmed: action.Verified,
	}
	if to, ok := hoped[s]; ok && (w.over || w.choose(8) > 0) {
		return to, true
	}
	moves := actionMoves(s)
	if len(moves) == 0 || s == action.Verified && w.choose(8) > 0 {
		return s, false
	}
	return moves[w.choose(len(moves))], true
}

// stepMoves is what a step may do; everything else is a mistake.
var stepMoves = map[run.StepState][]run.StepState{
	run.StepPending:   {run.StepWaiting, run.StepActing, run.StepCancelled, run.StepSkipped, run.StepHeld, run.StepPassed},
	run.StepWaiting:   {run.StepPending, run.StepActing, run.StepSkipped, run.StepCancelled},
	run.StepActing:    {run.StepAccepted, run.StepVerified, run.StepHeld, run.StepFailed, run.StepRefused, run.StepCancelled, run.StepReverted, run.StepSkipped, run.StepPassed},
	run.StepAccepted:  {run.StepVerified, run.StepHeld, run.StepFailed, run.StepCancelled, run.StepReverted},
	run.StepVerified:  {run.StepReverted},
	run.StepSkipped:   {},
	run.StepHeld:      {},
	run.StepFailed:    {},
	run.StepRefused:   {},
	run.StepCancelled: {},
	run.StepReverted:  {},
	run.StepPassed:    {},
}

// A world is what surrounds one run: it performs effects honestly, moves actions
// and approvals as it likes, and tells the run about it in any order, late and
// more than once.
type world struct {
	t      failer
	choose func(n int) int
	now    time.Time
	r      run.Run

	actions   map[string]action.Action // by step; the own or adopted one
	adopted   map[string]bool
	gone      map[string]int // adopted actions of the step that went away
	started   map[string]int
	takenBack map[action.ID]int
	approvals map[approval.ID]approval.Request
	told      []run.Event // everything that was ever so: may be told again
	pending   []run.Event // must still be told
	ids       int
	over      bool // nothing goes wrong any more
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newWorld(t failer, choose func(int) int) *world {
	return &world{
		t: t, choose: choose, now: epoch,
		r: run.Run{
			Tenant: "tenant", ID: "run_1", Identity: "idn_1", Playbook: playbook.Ref{ID: "contain"},
			State: run.Settling, StartedAt: epoch, DueAt: epoch.Add(time.Minute),
		},
		actions: map[string]action.Action{}, adopted: map[string]bool{}, gone: map[string]int{}, started: map[string]int{},
		takenBack: map[action.ID]int{}, approvals: map[approval.ID]approval.Request{},
	}
}

func (w *world) plan() playbook.Plan {
	p := playbook.Plan{
		Playbook: playbook.Ref{ID: "contain", Version: "1", Hash: "h"}, Tenant: "tenant", Identity: "idn_1", Hash: "hash", Mode: playbook.Enforce,
	}
	switch w.choose(20) {
	case 0:
		p.Refused = "protected"
	case 1:
		p.Held = "roles unknown"
	case 2:
		p.Mode = playbook.Observe
	}
	rules := []*approval.Rule{nil, nil,
		{Mode: approval.Before, Quorum: 1, Expires: time.Hour, OnExpiry: approval.ExpirySkip},
		{Mode: approval.Before, Quorum: 2, Expires: time.Hour, OnExpiry: approval.ExpiryEscalate},
		{Mode: approval.Before, Quorum: 1, Expires: time.Hour, OnExpiry: approval.ExpiryFail},
		{Mode: approval.Ratify, Quorum: 1, Expires: time.Hour, OnExpiry: approval.ExpiryUndo},
		{Mode: approval.Ratify, Quorum: 1, Expires: time.Hour, OnExpiry: approval.ExpiryEscalate},
	}
	for n := range 1 + w.choose(5) {
		s := playbook.Step{ID: fmt.Sprintf("s%d", n), Action: "entra.user.disable", After: playbook.AfterAccepted, OnError: playbook.ErrorFail}
		if w.choose(3) == 0 {
			s.After = playbook.AfterVerified
		}
		if w.choose(2) == 0 {
			s.OnError = playbook.ErrorContinue
		}
		s.Contains = w.choose(2) == 0
		s.Approval = rules[w.choose(len(rules))]
		switch w.choose(8) {
		case 0:
			s.Skip = "its condition is false"
		case 1:
			s.Held = "Active Directory not connected"
		}
		w.further(&s, n)
		p.Steps = append(p.Steps, s)
	}
	p.UndoOnFailure = w.choose(3) == 0
	if w.choose(3) == 0 {
		p.ContainedWhen = "steps.s0.verified"
	}
	if w.choose(4) == 0 {
		p.Rate = &playbook.Rate{Key: "tenant", Limit: 1, Per: time.Hour}
	}
	return p
}

// further makes some steps waits, ends, members of a group, or timed.
func (w *world) further(s *playbook.Step, n int) {
	s.If, s.Later = "steps.s0.verified", n > 0 && w.choose(4) == 0
	if w.choose(2) == 0 {
		s.Undo = "entra.user.enable"
	}
	switch w.choose(10) {
	case 0:
		s.Kind, s.Until, s.Within, s.Contains, s.Approval, s.Action = playbook.KindWait, "identity.enabled", time.Duration(1+w.choose(600))*time.Second, false, nil, ""
		s.OnTimeout = []playbook.OnTimeout{playbook.TimeoutContinue, playbook.TimeoutFail, playbook.TimeoutPerson}[w.choose(3)]
	case 1:
		s.Kind, s.Contains, s.Approval, s.Action = playbook.KindEnd, false, nil, ""
		s.End = []playbook.End{playbook.EndExpected, playbook.EndContained, playbook.EndPerson}[w.choose(3)]
	case 2, 3, 4:
		s.Group = "together"
	case 5:
		s.Timeout = time.Duration(1+w.choose(120)) * time.Second
	case 6:
		s.TTL = time.Hour
	}
}

// apply tells the run e, checks every law, and performs what follows.
func (w *world) apply(e run.Event) {
	w.t.Helper()
	before := w.r
	before.Steps = slices.Clone(w.r.Steps)
	next, effects, err := w.r.Apply(e, w.now)
	if err != nil {
		w.t.Fatalf("%T: %v", e, err)
	}
	if !reflect.DeepEqual(before, w.r) {
		w.t.Fatalf("%T changed the run it was given:\n%s", e, cmp.Diff(before, w.r))
	}
	w.check(before, next, e, effects)
	again, more, err := next.Apply(e, w.now)
	if err != nil || !reflect.DeepEqual(again, next) || len(more) > 0 && !(len(more) == 1 && more[0] == run.Effect(run.MakePlan{})) {
		w.t.Fatalf("telling %T twice changed something (%v), effects %v:\n%s", e, err, more, cmp.Diff(next, again))
	}
	w.r = next
	for _, f := range effects {
		w.perform(f)
	}
}

func (w *world) check(old, next run.Run, e run.Event, effects []run.Effect) {
	w.t.Helper()
	if old.State.Final() && (old.State != next.State || old.Reason != next.Reason || !old.EndedAt.Equal(next.EndedAt)) {
		w.t.Fatalf("%T moved a final run from %s (%s) to %s (%s)", e, old.State, old.Reason, next.State, next.Reason)
	}
	if next.State.Final() && next.State != run.Observed && next.Reason == "" {
		w.t.Fatalf("the run ended %s without a reason", next.State)
	}
	for n, s := range next.Steps {
		if s.State.Final() && s.State != run.StepVerified && s.State != run.StepReverted && s.Reason == "" {
			w.t.Fatalf("step %s is %s without a reason", s.ID, s.State)
		}
		if next.State.Final() && next.State != run.Cancelled && !s.State.Final() {
			w.t.Fatalf("the run is %s and step %s is %s", next.State, s.ID, s.State)
		}
		if old.Plan == nil {
			continue
		}
		was := old.Steps[n]
		if was.State != s.State && !slices.Contains(stepMoves[was.State], s.State) && !(w.adopted[s.ID] && (s.State == run.StepPending || s.State == run.StepActing)) {
			w.t.Fatalf("%T moved step %s from %s to %s", e, s.ID, was.State, s.State)
		}
	}
	if next.State == run.Contained && !old.State.Final() {
		contains := 0
		for n, s := range next.Steps {
			if !next.Plan.Steps[n].Contains || s.State == run.StepSkipped && s.Consent != approval.Expired {
				continue
			}
			if contains++; s.State != run.StepVerified {
				w.t.Fatalf("contained, and the containing step %s is %s", s.ID, s.State)
			}
		}
		if contains == 0 {
			w.t.Fatalf("contained, and no step contains")
		}
		if next.Plan.ContainedWhen != "" && next.Narrowed != "holds" {
			w.t.Fatalf("contained, and what the playbook asks for says %q", next.Narrowed)
		}
	}
	w.checkEnd(old, next)
	if d, ok := e.(run.Decided); ok && d.Until {
		for n, s := range next.Steps {
			if was := old.Steps[n].State; s.ID == d.Step && was == run.StepActing && s.State != was && s.State != run.StepPassed && s.State != run.StepCancelled &&
				d.At.Before(s.StartedAt.Add(next.Plan.Steps[n].Within)) {
				w.t.Fatalf("step %s gave up waiting by an answer of %s", s.ID, d.At)
			}
		}
	}
	for _, f := range effects {
		if s, ok := f.(run.StartAction); ok {
			w.checkStart(next, s.Step)
		}
	}
}

// checkEnd: a run that failed asked to take back what its playbook says, and what
// is in a plan's rate is counted.
func (w *world) checkEnd(old, next run.Run) {
	w.t.Helper()
	if next.Plan == nil || !next.State.Final() || old.State.Final() {
		return
	}
	acts := next.State != run.Observed && next.Plan.Refused == "" && next.Plan.Held == ""
	if counted := next.RateKey != ""; counted != (acts && next.Plan.Rate != nil) {
		w.t.Fatalf("a run that ended %s is counted: %v", next.State, counted)
	}
	for n, s := range next.Steps {
		failed := next.Plan.UndoOnFailure && (next.State == run.Failed || next.State == run.Refused)
		if failed && s.State == run.StepVerified && next.Plan.Steps[n].Undo != "" && !s.Adopted && !s.UndoAsked {
			w.t.Fatalf("the run ended %s and step %s stands", next.State, s.ID)
		}
	}
}

func (w *world) checkStart(r run.Run, id string) {
	w.t.Helper()
	n := slices.IndexFunc(r.Steps, func(s run.StepRun) bool { return s.ID == id })
	if rule := r.Plan.Steps[n].Approval; rule != nil && rule.Mode == approval.Before && r.Steps[n].Consent != approval.Approved {
		w.t.Fatalf("step %s starts and its consent is %q", id, r.Steps[n].Consent)
	}
	if r.Ends != "" {
		w.t.Fatalf("step %s starts in a run that ends %s", id, r.Ends)
	}
	if p := r.Plan.Steps[n]; p.Kind != playbook.KindAct || p.Later && !r.Steps[n].Called {
		w.t.Fatalf("step %s (%q) starts, and that it is called for is %v", id, p.Kind, r.Steps[n].Called)
	}
	for m, s := range r.Steps[:n] {
		if w.together(r.Plan.Steps[m : n+1]) {
			continue
		}
		if r.Plan.Steps[m].Kind == playbook.KindEnd && s.State == run.StepPassed {
			w.t.Fatalf("step %s starts after step %s ended the run", id, s.ID)
		}
		if s.State.Final() {
			if bad := s.State == run.StepFailed || s.State == run.StepRefused; bad && r.Plan.Steps[m].OnError == playbook.ErrorFail {
				w.t.Fatalf("step %s starts after %s %s", id, s.ID, s.State)
			}
			continue
		}
		if s.State != run.StepAccepted || r.Plan.Steps[n].After == playbook.AfterVerified {
			w.t.Fatalf("step %s (after %s) starts and %s is %s", id, r.Plan.Steps[n].After, s.ID, s.State)
		}
	}
}

// together reports whether the steps are one run of one group: they do not wait
// for each other.
func (w *world) together(steps []playbook.Step) bool {
	return steps[0].Group != "" && !slices.ContainsFunc(steps, func(s playbook.Step) bool { return s.Group != steps[0].Group })
}

func (w *world) perform(e run.Effect) {
	w.t.Helper()
	switch e := e.(type) {
	case run.MakePlan:
		w.pending = append(w.pending, run.Planned{Plan: w.plan()})
	case run.AskApproval:
		w.ids++
		q := approval.Request{
			ID: approval.ID(fmt.Sprintf("apr_%d", w.ids)), Run: string(w.r.ID), PlanHash: w.r.Plan.Hash, Steps: e.Steps, Rule: e.Rule,
			State: approval.Pending, ExpiresAt: w.now.Add(e.Rule.Expires), Version: 1,
		}
		w.approvals[q.ID] = q
		w.pending = append(w.pending, run.ApprovalSeen{Request: q})
	case run.StartAction:
		if w.started[e.Step]++; w.started[e.Step] > 1+w.gone[e.Step] {
			w.t.Fatalf("the action of step %s was asked for %d times", e.Step, w.started[e.Step])
		}
		w.ids++
		a := action.Action{ID: action.ID(fmt.Sprintf("act_%d", w.ids)), Step: e.Step, State: action.Approved, Version: 1}
		w.adopted[e.Step] = w.choose(5) == 0
		w.actions[e.Step] = a
		w.pending = append(w.pending, run.ActionSeen{Step: e.Step, Action: a, Adopted: w.adopted[e.Step]})
	case run.Decide:
		d := run.Decided{Decide: e, Holds: w.choose(2) == 0}
		if !d.Holds && w.choose(4) == 0 {
			d.Unknown = "a fact is not known"
		}
		w.pending = append(w.pending, d)
	case run.WithdrawAction:
		if w.adopted[e.Step] {
			w.t.Fatalf("step %s withdraws the action of another run", e.Step)
		}
		if a := w.actions[e.Step]; a.State == action.Approved || a.State == action.Held {
			w.moveAction(e.Step, action.Cancelled)
		}
	case run.WithdrawApproval:
		w.setApproval(w.approvals[e.Approval].Withdraw(e.Reason, w.now))
	case run.TakeBack:
		for _, id := range e.Actions {
			if w.takenBack[id]++; w.takenBack[id] > 1 {
				w.t.Fatalf("action %s is taken back twice", id)
			}
		}
		if w.choose(4) == 0 {
			w.pending = append(w.pending, run.Stuck{Reason: "irreversible"})
		} else {
			w.pending = append(w.pending, run.TakenBack{})
		}
	case run.Revert, run.Ended:
	default:
		w.t.Fatalf("an effect of type %T", e)
	}
}

func (w *world) moveAction(step string, to action.State) {
	a, err := w.actions[step].Move(to, "because", w.now)
	if err != nil {
		w.t.Fatalf("the walk itself: %v", err)
	}
	a.Moot = to == action.RefusedState && w.choose(2) == 0
	a.Person = (to == action.Unconfirmed || to == action.Held) && w.choose(4) == 0
	a.Version++
	if w.adopted[step] && (to == action.Cancelled || to == action.Expired || to == action.RefusedState) {
		w.gone[step]++
	}
	w.actions[step] = a
	w.pending = append(w.pending, run.ActionSeen{Step: step, Action: a, Adopted: w.adopted[step]})
}

func (w *world) setApproval(q approval.Request) {
	q.Version++
	if q.Reason == "" {
		q.Reason = "because"
	}
	w.approvals[q.ID] = q
	w.pending = append(w.pending, run.ApprovalSeen{Request: q})
}

// tell delivers one thing that must still be told, or something old once more.
func (w *world) tell() {
	w.t.Helper()
	if len(w.told) > 0 && !w.over && w.choose(4) == 0 {
		w.apply(w.told[w.choose(len(w.told))])
		return
	}
	if len(w.pending) == 0 {
		w.apply(run.Woke{})
		return
	}
	n := w.choose(len(w.pending))
	e := w.pending[n]
	w.pending = slices.Delete(w.pending, n, n+1)
	switch p := e.(type) {
	case run.Planned:
		if w.r.Plan != nil {
			return // another plan is a conflict, tested elsewhere
		}
		w.told = append(w.told, p)
	case run.ActionSeen, run.ApprovalSeen, run.Decided:
		w.told = append(w.told, e)
	}
	w.apply(e)
}

func (w *world) step() {
	w.t.Helper()
	switch w.choose(6) {
	case 0, 1:
		w.tell()
	case 2, 3:
		if steps := w.sortedSteps(); len(steps) > 0 {
			s := steps[w.choose(len(steps))]
			if to, ok := w.move(w.actions[s].State); ok {
				w.moveAction(s, to)
			}
		}
	case 4:
		for _, q := range w.sortedApprovals() {
			if q.State == approval.Pending && w.choose(2) == 0 {
				q.State = []approval.State{approval.Approved, approval.Approved, approval.Rejected, approval.Expired}[w.choose(4)]
				w.setApproval(q)
				break
			}
		}
	case 5:
		w.now = w.now.Add(time.Duration(w.choose(90)) * time.Second)
		if w.choose(8) == 0 {
			w.apply(run.Stirred{})
		}
		if w.r.State == run.Settling && w.r.Plan == nil && w.choose(8) == 0 {
			w.apply(run.Postponed{Reason: "the rate is used up", Until: w.now.Add(time.Minute)})
		}
		if w.choose(40) == 0 {
			w.apply(run.Withdrawn{By: "operator:o", Reason: "safe"})
		}
	}
}

// finish lets everything come to its end and expects the run to.
func (w *world) finish() {
	w.t.Helper()
	w.now, w.over = w.now.Add(time.Hour), true
	for range 400 {
		for _, s := range w.sortedSteps() {
			if a := w.actions[s]; !a.State.Final() && !a.Person {
				if to, ok := w.move(a.State); ok {
					w.moveAction(s, to)
				}
			}
		}
		for _, q := range w.sortedApprovals() {
			if q.State == approval.Pending {
				q.State = approval.Expired
				w.setApproval(q)
			}
		}
		for len(w.pending) > 0 {
			w.tell()
		}
		w.now = w.now.Add(2 * time.Minute)
		w.apply(run.Woke{})
		if w.r.State.Final() && len(w.pending) == 0 {
			return
		}
	}
	w.t.Fatalf("everything is over and the run is %s (%s): %+v", w.r.State, w.r.Reason, w.r.Steps)
}

func (w *world) sortedSteps() []string {
	var out []string
	for s := range w.actions {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func (w *world) sortedApprovals() []approval.Request {
	var out []approval.Request
	for _, q := range w.approvals {
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b approval.Request) int { return cmpID(a.ID, b.ID) })
	return out
}

func cmpID(a, b approval.ID) int {
	if a < b {
		return -1
	}
	return 1
}

func walk(t failer, choose func(int) int, steps int) run.Run {
	w := newWorld(t, choose)
	for range steps {
		w.step()
	}
	w.finish()
	return w.r
}

// Whatever happens in whatever order: moves are legal, what is final stays so,
// nothing is asked for twice, contained means proven, and every run ends.
func TestRunWalks(t *testing.T) {
	t.Parallel()
	ends := map[run.State]int{}
	rapid.Check(t, func(rt *rapid.T) {
		r := walk(rt, func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "choice") }, rapid.IntRange(0, 80).Draw(rt, "steps"))
		ends[r.State]++
	})
	t.Logf("ends: %v", ends)
}

func FuzzRun(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 250, 17, 99, 3, 3, 3, 3, 0, 0, 1, 2})
	f.Add([]byte{5, 60, 5, 60, 0, 0, 19, 4, 0, 1, 0, 6, 2, 2, 1, 4, 0, 3, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2000 {
			t.Skip("longer walks find nothing more")
		}
		rest, spent := b, rand.New(rand.NewPCG(1, uint64(len(b))))
		walk(t, func(m int) int {
			if len(rest) == 0 {
				return spent.IntN(m)
			}
			next := int(rest[0]) % m
			rest = rest[1:]
			return next
		}, len(b)/4)
	})
}
