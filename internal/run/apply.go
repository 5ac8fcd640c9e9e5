package run

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

// adoptedEvery is how often a run looks at an action of another run that it
// waits for: nothing else tells it of a change.
const adoptedEvery = time.Second

// Apply returns the run after e and the effects that follow from it. It is pure:
// r is not changed, and telling a fact again, or an older one, changes nothing
// and asks for nothing. A final run stays in its state; only its open steps
// still follow their actions, and a verified step may become reverted.
//
// It returns fault.Conflict for a plan other than the one the run has, and
// fault.Invalid for a plan that is not the run's or names a step twice.
func (r Run) Apply(e Event, now time.Time) (Run, []Effect, error) {
	next := r
	next.Steps = slices.Clone(r.Steps)
	var effects []Effect
	switch e := e.(type) {
	case Woke:
	case Planned:
		known, err := r.checkPlan(e.Plan)
		if err != nil || known {
			return r, nil, err
		}
		effects = next.plan(e, now)
	case ActionSeen:
		effects = next.seeAction(e)
	case ApprovalSeen:
		next.seeApproval(e.Request)
	case QuestionSeen:
		effects = next.seeQuestion(e.Question, now)
	case Withdrawn:
		if !r.State.Final() {
			effects = next.withdraw(e, now)
		}
	case Postponed:
		if r.State == Settling && r.Plan == nil && e.Until.After(now) {
			next.Reason, next.DueAt = e.Reason, e.Until
		}
	case Stirred:
		effects = next.check(now, true)
	case Decided:
		next.decide(e)
	case TakenBack:
		next.TakingBack = false
	case Stuck:
		if !r.State.Final() && r.TakingBack {
			next.stuck(e.Reason)
		}
	default:
		return r, nil, fault.Errorf(fault.Invalid, "run %s: an event of type %T", r.ID, e)
	}
	return next, append(effects, next.advance(now)...), nil
}

// checkPlan reports whether the run has the plan p already, or why it cannot
// take it.
func (r Run) checkPlan(p playbook.Plan) (known bool, err error) {
	switch {
	case r.Plan != nil && r.Plan.Hash == p.Hash, r.Plan == nil && r.State.Final():
		return true, nil
	case r.Plan != nil:
		return false, fault.Errorf(fault.Conflict, "run %s has another plan already", r.ID)
	case p.Tenant != r.Tenant || p.Identity != r.Identity:
		return false, fault.Errorf(fault.Invalid, "run %s: the plan is for another identity", r.ID)
	}
	seen := map[string]bool{}
	for _, s := range p.Steps {
		if s.ID == "" || seen[s.ID] {
			return false, fault.Errorf(fault.Invalid, "run %s: the plan names the step %q twice or not at all", r.ID, s.ID)
		}
		seen[s.ID] = true
	}
	return false, nil
}

// plan takes the plan over.
func (r *Run) plan(e Planned, now time.Time) []Effect {
	p := e.Plan
	undo := map[string]action.ID{}
	for _, s := range r.Steps {
		undo[s.ID] = s.UndoOf
	}
	r.Plan, r.PlannedAt, r.DueAt, r.Steps = &p, now, time.Time{}, make([]StepRun, len(p.Steps))
	for n, s := range p.Steps {
		r.Steps[n] = StepRun{ID: s.ID, State: StepPending, UndoOf: undo[s.ID]}
		st := &r.Steps[n]
		switch {
		case p.Refused != "":
			st.State, st.Reason = StepRefused, p.Refused
		case p.Held != "":
			st.State, st.Reason = StepHeld, p.Held
		case s.Skip != "":
			st.State, st.Reason = StepSkipped, s.Skip
		case s.Held != "":
			st.State, st.Reason = StepHeld, s.Held
		case e.Observe || p.Mode == playbook.Observe:
			st.State, st.Reason = StepSkipped, "observe mode: would have been done"
		}
	}
	end := func(s State, reason string) []Effect {
		r.State, r.Reason, r.EndedAt = s, reason, now
		return []Effect{Ended{s, now}}
	}
	switch {
	case p.Refused != "":
		return end(Refused, p.Refused)
	case p.Held != "":
		return end(HeldState, p.Held)
	case e.Observe || p.Mode == playbook.Observe:
		return end(Observed, cmp.Or(p.Pilot, "observe mode")+": this is what would have been done")
	}
	r.State, r.Reason = Acting, ""
	if p.Rate != nil {
		r.RateKey = p.Rate.Key
	}
	return nil
}

// ask asks for the approvals of the steps that can be come to: all but those
// behind a wait, whose requests would run out before their turn, and those whose
// condition is not decided yet.
func (r *Run) ask() []Effect {
	var effects []Effect
	byRule := map[string]int{}
	for n, s := range r.Plan.Steps {
		if (s.Kind == playbook.KindWait || s.Kind == playbook.KindAsk) && !r.Steps[n].State.Final() {
			break
		}
		if s.Approval == nil || r.Steps[n].State != StepPending || r.Steps[n].Consent != "" || s.Later && !r.Steps[n].Called {
			continue
		}
		r.Steps[n].Consent = approval.Pending
		if s.Approval.Mode != approval.Ratify {
			r.Steps[n].State = StepWaiting
		}
		text, _ := json.Marshal(s.Approval) // strings and numbers: cannot fail
		at, known := byRule[string(text)]
		if !known {
			at = len(effects)
			byRule[string(text)] = at
			effects = append(effects, AskApproval{Rule: *s.Approval})
		}
		ask := effects[at].(AskApproval)
		ask.Steps = append(ask.Steps, s.ID)
		effects[at] = ask
	}
	return effects
}

func (r *Run) step(id string) (int, bool) {
	n := slices.IndexFunc(r.Steps, func(s StepRun) bool { return s.ID == id })
	return n, n >= 0 && r.Plan != nil
}

// seeAction moves a step as its action stands.
func (r *Run) seeAction(e ActionSeen) []Effect {
	n, ok := r.step(e.Step)
	if !ok {
		return nil
	}
	s, a := &r.Steps[n], e.Action
	switch {
	case slices.Contains(s.Gone, a.ID):
		return nil
	case s.Action == "" && s.State == StepActing:
		s.Action, s.Adopted = a.ID, e.Adopted
	case s.Action == "" || s.Action != a.ID || a.Version <= s.Seen:
		return nil
	}
	s.Seen, s.ActionState = a.Version, a.State
	if s.State == StepVerified && a.State == action.Reverted {
		s.State, s.Reason = StepReverted, a.Reason
		return nil
	}
	if s.State.Final() {
		return nil
	}
	to, reason := stepOf(a)
	if s.Adopted && to != StepActing && (a.State == action.Cancelled || a.State == action.Expired || a.State == action.RefusedState) && !r.State.Final() {
		// Another run's action went away before it left: this run asks for its own.
		*s = StepRun{
			ID: s.ID, State: StepPending, Gone: append(slices.Clone(s.Gone), a.ID), Called: s.Called, Asked: s.Asked, StartedAt: s.StartedAt,
			Approval: s.Approval, Consent: s.Consent, ConsentText: s.ConsentText, ApprovalSeen: s.ApprovalSeen,
		}
		return nil
	}
	if s.TimedOut && a.State == action.Cancelled {
		to, reason = StepFailed, fmt.Sprintf("it did not leave within %s", r.Plan.Steps[n].Timeout)
	}
	if s.State == StepAccepted && to == StepActing {
		return nil
	}
	s.State, s.Reason = to, reason
	if s.State == StepVerified && s.UndoOf != "" {
		return []Effect{Revert{Original: s.UndoOf, By: a.ID}}
	}
	return nil
}

// stepOf says where a step stands whose action stands as a.
func stepOf(a action.Action) (StepState, string) {
	switch a.State {
	case action.Requested, action.Approved, action.Running:
		return StepActing, ""
	case action.Held:
		if a.Person {
			return StepHeld, a.Reason
		}
		return StepActing, a.Reason
	case action.AcceptedState:
		return StepAccepted, ""
	case action.Unconfirmed:
		if a.Person {
			return StepHeld, a.Reason
		}
		return StepAccepted, a.Reason
	case action.Verified:
		return StepVerified, a.Reason
	case action.Failed:
		return StepFailed, a.Reason
	case action.RefusedState:
		if a.Moot {
			return StepSkipped, a.Reason
		}
		return StepRefused, a.Reason
	case action.Reverted:
		return StepReverted, a.Reason
	case action.Expired, action.Cancelled:
		return StepCancelled, a.Reason
	}
	return StepHeld, fmt.Sprintf("its action is in the state %q, which this version of Cordon does not know", a.State)
}

// seeApproval records what became of a request in the steps it covers.
func (r *Run) seeApproval(q approval.Request) {
	if r.State.Final() || r.Plan == nil || q.PlanHash != r.Plan.Hash || q.ID == "" {
		return
	}
	for n := range r.Steps {
		s := &r.Steps[n]
		if s.Consent == "" || !slices.Contains(q.Steps, s.ID) || s.Approval != "" && s.Approval != q.ID || q.Version <= s.ApprovalSeen {
			continue
		}
		s.Approval, s.ApprovalSeen = q.ID, q.Version
		if r.Approval == "" {
			r.Approval = q.ID
		}
		if s.Consent != approval.Pending {
			continue
		}
		s.Consent, s.ConsentText = q.State, q.Reason
		if s.Consent == approval.Approved && s.State == StepWaiting {
			s.State = StepPending
		}
	}
}

// withdraw ends the run at once: the gate lets nothing of a final run leave.
func (r *Run) withdraw(e Withdrawn, now time.Time) []Effect {
	r.Ends, r.Reason = Cancelled, fmt.Sprintf("withdrawn by %s: %s", e.By, e.Reason)
	effects := r.stop()
	r.State, r.EndedAt, r.DueAt = Cancelled, now, time.Time{}
	return append(effects, Ended{Cancelled, now})
}

// advance lets everything follow that can: the consequences of answers and
// failures, the next steps, the end.
func (r *Run) advance(now time.Time) []Effect {
	if r.State.Final() {
		return nil
	}
	if r.State == Settling {
		if now.Before(r.DueAt) {
			return nil
		}
		return []Effect{MakePlan{}}
	}
	r.answer()
	effects := r.overdue(now)
	r.fail()
	effects = append(effects, r.moot()...)
	if r.Ends == "" {
		effects = append(effects, r.ask()...)
		effects = append(effects, r.check(now, false)...)
		effects = append(effects, r.start(now)...)
		effects = append(effects, r.moot()...)
	}
	if r.Ends != "" {
		effects = append(effects, r.stop()...)
	}
	if back := r.takeBack(); back != nil {
		r.TakingBack = true
		effects = append(effects, *back)
	}
	return append(effects, r.conclude(now)...)
}

// end decides how the run will end; the first decision stands.
func (r *Run) end(s State, reason string) {
	if r.Ends == "" {
		r.Ends, r.Reason = s, reason
	}
}

// answer draws the consequences of approvals that were not given.
func (r *Run) answer() {
	for n := range r.Steps {
		s, rule := &r.Steps[n], r.Plan.Steps[n].Approval
		if rule == nil {
			continue
		}
		switch s.Consent {
		case "", approval.Pending, approval.Approved:
		case approval.Rejected:
			r.end(Rejected, s.ConsentText)
		case approval.Void:
			if !s.State.Final() {
				r.end(Cancelled, s.ConsentText)
			}
		case approval.Expired:
			switch {
			case rule.OnExpiry == approval.ExpiryFail:
				r.end(Failed, s.ConsentText)
			case rule.OnExpiry == approval.ExpiryEscalate || rule.Mode == approval.Ratify:
				r.end(Expired, s.ConsentText)
			case s.State == StepWaiting: // skip, or nothing to undo
				s.State, s.Reason = StepSkipped, s.ConsentText
			}
		}
	}
}

// fail draws the consequences of steps that went wrong.
func (r *Run) fail() {
	for n, s := range r.Steps {
		p := r.Plan.Steps[n]
		text := fmt.Sprintf("%s: %s", named(p), s.Reason)
		switch s.State {
		case StepFailed:
			if p.OnError != playbook.ErrorContinue {
				r.end(Failed, text)
			}
		case StepRefused:
			if p.OnError != playbook.ErrorContinue {
				r.end(Refused, text)
			}
		case StepReverted:
			// Somebody took it back while the run goes on: it was wrong, and so is
			// what would follow.
			r.end(Cancelled, text)
		case StepHeld:
			if (p.Kind == playbook.KindWait || p.Kind == playbook.KindAsk) && p.OnTimeout == playbook.TimeoutPerson {
				r.end(HeldState, text)
			}
		case StepCancelled:
			if s.ActionState == action.Expired {
				r.end(Expired, text)
			} else {
				r.end(Cancelled, text)
			}
		}
	}
}

func named(p playbook.Step) string {
	if p.Title != "" {
		return p.Title
	}
	return p.ID
}

// moot makes requests void whose every step went ahead and came to nothing:
// there is nothing left to ratify.
func (r *Run) moot() []Effect {
	needed := map[approval.ID]bool{}
	for _, s := range r.Steps {
		needed[s.Approval] = needed[s.Approval] || s.Consent == approval.Pending && (!s.State.Final() || s.State == StepVerified)
	}
	var effects []Effect
	for n := range r.Steps {
		s := &r.Steps[n]
		if s.Consent != approval.Pending || s.Approval == "" || needed[s.Approval] {
			continue
		}
		s.Consent, s.ConsentText = approval.Void, "nothing was done that could be ratified"
		if w := (WithdrawApproval{s.Approval, s.ConsentText}); !slices.Contains(effects, Effect(w)) {
			effects = append(effects, w)
		}
	}
	return effects
}

// stop cancels what has not begun and withdraws what has not left.
func (r *Run) stop() []Effect {
	var effects []Effect
	voided := map[approval.ID]bool{}
	for n := range r.Steps {
		s := &r.Steps[n]
		if s.Consent == approval.Pending {
			s.Consent, s.ConsentText = approval.Void, r.Reason
			if s.Approval != "" && !voided[s.Approval] {
				voided[s.Approval] = true
				effects = append(effects, WithdrawApproval{s.Approval, r.Reason})
			}
		}
		switch s.State {
		case StepPending, StepWaiting:
			s.State, s.Reason = StepCancelled, r.Reason
		case StepActing, StepAccepted:
			switch {
			case s.Adopted || r.Plan.Steps[n].Kind != playbook.KindAct:
				s.State, s.Reason = StepCancelled, r.Reason
				if s.Question != "" {
					effects = append(effects, WithdrawQuestion{s.Question, r.Reason})
				}
			case s.Withdrawn == s.Seen:
			case s.ActionState == action.Requested || s.ActionState == action.Approved || s.ActionState == action.Held:
				// It is cancelled when its row says so: it may have left meanwhile.
				s.Withdrawn = s.Seen
				effects = append(effects, WithdrawAction{s.ID, s.Action, r.Reason})
			}
		}
	}
	return effects
}

// takeBack asks for the undo of what was done and not ratified, and of what a run
// did that failed, where its playbook says so.
func (r *Run) takeBack() *TakeBack {
	var back *TakeBack
	for n := range r.Steps {
		s, p := &r.Steps[n], r.Plan.Steps[n]
		unwanted := denied(*s, p.Approval)
		failed := r.Plan.UndoOnFailure && p.Undo != "" && r.wentWrong()
		if s.State != StepVerified || s.UndoAsked || s.Adopted || !unwanted && !failed {
			continue
		}
		s.UndoAsked = true
		if back == nil {
			back = &TakeBack{Reason: "the run failed: " + r.Reason}
			if unwanted {
				back.Reason = "not ratified: " + s.ConsentText
			}
		}
		back.Actions = append(back.Actions, s.Action)
	}
	return back
}

// stuck says that what was to be taken back stays. A person is needed when it was not
// ratified; a run that failed has taken back what it could.
func (r *Run) stuck(reason string) {
	r.TakingBack = false
	unwanted := false
	for n, s := range r.Steps {
		unwanted = unwanted || s.State == StepVerified && denied(s, r.Plan.Steps[n].Approval)
	}
	if r.wentWrong() && !unwanted {
		r.Reason += "; not taken back: " + reason
		return
	}
	r.Ends, r.Reason = HeldState, "was not ratified and cannot be taken back: "+reason
}

// denied reports whether a step that went ahead must be taken back.
func denied(s StepRun, rule *approval.Rule) bool {
	if rule == nil || rule.Mode != approval.Ratify {
		return false
	}
	return s.Consent == approval.Rejected || s.Consent == approval.Expired && rule.OnExpiry != approval.ExpiryEscalate
}

// conclude sets the state the steps add up to.
func (r *Run) conclude(now time.Time) []Effect {
	busy, waiting, adopted := r.TakingBack, false, false
	held, asked := "", []string(nil)
	for n, s := range r.Steps {
		switch s.State {
		case StepActing, StepAccepted:
			busy, adopted = true, adopted || s.Adopted
			if s.ActionState == action.Held && held == "" {
				held = fmt.Sprintf("%s: %s", named(r.Plan.Steps[n]), s.Reason)
			}
			if p := r.Plan.Steps[n]; p.Kind == playbook.KindAsk {
				held = cmp.Or(held, fmt.Sprintf("the %s is asked, until %s", p.Ask, s.StartedAt.Add(p.Within).UTC().Format(time.RFC3339)))
			}
		case StepPending, StepWaiting:
			busy = busy || s.Consent == "" || s.Consent == approval.Approved
		}
		if s.Consent == approval.Pending {
			for _, g := range r.Plan.Steps[n].Approval.From {
				if !slices.Contains(asked, g) {
					asked = append(asked, g)
				}
			}
			waiting = true
		}
	}
	r.DueAt = r.due(now, adopted)
	if !busy && !waiting {
		return r.finish(now)
	}
	r.State = Acting
	if !r.acting() && waiting {
		r.State = Waiting
	}
	if r.Ends == "" {
		switch {
		case r.State == Waiting:
			r.Reason = "approval is awaited"
			if len(asked) > 0 {
				r.Reason = "approval by " + strings.Join(asked, " or ") + " is awaited"
			}
		default:
			r.Reason = held
		}
	}
	return nil
}

// acting reports whether an action is under way.
func (r *Run) acting() bool {
	return slices.ContainsFunc(r.Steps, func(s StepRun) bool { return s.State == StepActing || s.State == StepAccepted })
}

// finish ends the run: nothing is open any more.
func (r *Run) finish(now time.Time) []Effect {
	state, reason := r.outcome()
	if state == Contained && r.Plan.ContainedWhen != "" && r.Narrowed == "" {
		r.State, r.Narrowed = Acting, narrowAsked
		return []Effect{Decide{At: now}}
	}
	if r.Narrowed == narrowAsked && state == Contained {
		return nil // the answer is on its way
	}
	if state == Failed || state == Refused {
		r.end(state, reason)
		if back := r.takeBack(); back != nil {
			r.State, r.TakingBack = Acting, true
			return []Effect{*back}
		}
	}
	// A campaign pauses by what failed in it.
	if r.Plan.HoldOnFailure && r.wentWrong() && r.Consent == nil {
		state, reason = HeldState, "a person is needed: "+reason // Ends still says what happened
	}
	r.State, r.Reason, r.EndedAt, r.DueAt = state, reason, now, time.Time{}
	return []Effect{Ended{r.State, now}}
}
