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
	run.StepPending:   {run.StepActing, run.StepCancelled},
	run.StepWaiting:   {run.StepPending, run.StepActing, run.StepSkipped, run.StepCancelled},
	run.StepActing:    {run.StepAccepted, run.StepVerified, run.StepHeld, run.StepFailed, run.StepRefused, run.StepCancelled, run.StepReverted},
	run.StepAccepted:  {run.StepVerified, run.StepHeld, run.StepFailed, run.StepCancelled, run.StepReverted},
	run.StepVerified:  {run.StepReverted},
	run.StepSkipped:   {},
	run.StepHeld:      {},
	run.StepFailed:    {},
	run.StepRefused:   {},
	run.StepCancelled: {},
	run.StepReverted:  {},
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
		p.Steps = append(p.Steps, s)
	}
	return p
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
			if !next.Plan.Steps[n].Contains || s.State == run.StepSkipped && next.Plan.Steps[n].Skip != "" {
				continue
			}
			if contains++; s.State != run.StepVerified {
				w.t.Fatalf("contained, and the containing step %s is %s", s.ID, s.State)
			}
		}
		if contains == 0 {
			w.t.Fatalf("contained, and no step contains")
		}
	}
	for _, f := range effects {
		if s, ok := f.(run.StartAction); ok {
			w.checkStart(next, s.Step)
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
	for m, s := range r.Steps[:n] {
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
	case run.ActionSeen, run.ApprovalSeen:
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
