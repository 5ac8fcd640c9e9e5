package run

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/question"
)

// How often the clock alone asks the condition of a wait: soon at first, then a
// tenth of the time it has waited. What a source tells asks at once.
const (
	checkSoonest = 10 * time.Second
	checkLatest  = 5 * time.Minute
)

// What Narrowed may say apart from a reason.
const (
	narrowAsked = "asked"
	narrowHolds = "holds"
)

// start asks for what has its turn: the next step when all before it are far
// enough, and with it the others of its group.
func (r *Run) start(now time.Time) (effects []Effect) {
	proven, before, blocked, group := true, true, false, ""
	for n := range r.Steps {
		s, p := &r.Steps[n], r.Plan.Steps[n]
		if p.Group == "" || p.Group != group {
			if blocked {
				return effects
			}
			group, before = p.Group, proven
		}
		switch s.State {
		case StepAccepted:
			proven = false
		case StepActing, StepWaiting:
			blocked = true
		case StepPending:
			if p.After == playbook.AfterVerified && !before || p.Approval != nil && s.Consent == "" && !p.Later {
				blocked = true
				continue
			}
			effects = append(effects, r.turn(n, now)...)
			blocked = true
		}
	}
	return effects
}

// turn begins step n, whose turn has come, unless it must still wait for an answer.
func (r *Run) turn(n int, now time.Time) []Effect {
	s, p := &r.Steps[n], r.Plan.Steps[n]
	switch {
	case p.Later && !s.Called && s.Asked, p.Approval != nil && s.Consent == "" && s.Called:
		return nil
	case p.Later && !s.Called:
		s.Asked, s.CheckedAt = true, now
		return []Effect{Decide{Step: s.ID, At: now}}
	case p.Kind == playbook.KindEnd:
		r.endAt(n)
		return nil
	case p.Kind == playbook.KindWait:
		s.State, s.StartedAt, s.CheckedAt = StepActing, now, now
		return []Effect{Decide{s.ID, true, now}}
	case p.Kind == playbook.KindAsk:
		s.State, s.StartedAt = StepActing, now
		return []Effect{AskPerson{s.ID}}
	}
	s.State = StepActing
	if s.StartedAt.IsZero() {
		s.StartedAt = now
	}
	return []Effect{StartAction{s.ID}}
}

// endAt lets nothing follow step n.
func (r *Run) endAt(n int) {
	p := r.Plan.Steps[n]
	r.Steps[n].State, r.Steps[n].Reason = StepPassed, cmp.Or(p.Note, "it was come to")
	for m := n + 1; m < len(r.Steps); m++ {
		if s := &r.Steps[m]; s.State == StepPending || s.State == StepWaiting {
			s.State, s.Reason = StepSkipped, fmt.Sprintf("step %s ended the run", p.ID)
		}
	}
}

// endNote is why a run ended at one of its steps.
func (r *Run) endNote(p playbook.Step) string { return cmp.Or(p.Note, "step "+p.ID+" says so") }

// wrong reports whether a step came to something else than it was meant to.
func (r *Run) wrong() bool {
	return slices.ContainsFunc(r.Steps, func(s StepRun) bool {
		return s.State != StepVerified && s.State != StepSkipped && s.State != StepPassed
	})
}

// decide takes the answer to a condition.
func (r *Run) decide(e Decided) {
	if r.State.Final() {
		return
	}
	if e.Step == "" {
		if r.Narrowed != narrowAsked {
			return
		}
		switch r.Narrowed = narrowHolds; {
		case e.Unknown != "":
			r.Narrowed = "whether it is contained could not be decided: " + e.Unknown
		case !e.Holds:
			r.Narrowed = fmt.Sprintf("not contained as the playbook means it: %s is false", r.Plan.ContainedWhen)
		}
		return
	}
	n, ok := r.step(e.Step)
	if !ok {
		return
	}
	s, p := &r.Steps[n], r.Plan.Steps[n]
	switch {
	case !e.At.Equal(s.CheckedAt):
		// An answer of before.
	case !e.Until && s.State == StepPending && s.Asked && !s.Called:
		switch {
		case e.Unknown != "":
			s.State, s.Reason = StepHeld, "its condition could not be decided: "+e.Unknown
		case e.Holds:
			s.Called = true
		default:
			s.State, s.Reason = StepSkipped, fmt.Sprintf("not called for: %s is false", p.If)
		}
	case e.Until && p.Kind == playbook.KindWait && s.State == StepActing:
		late := !e.At.Before(s.StartedAt.Add(p.Within)) // what was so before the deadline says nothing of it
		text := fmt.Sprintf("%s did not come true within %s", p.Until, p.Within)
		switch {
		case e.Holds && e.Unknown == "":
			s.State, s.Reason = StepPassed, p.Until+" came true"
		case !late:
			s.Reason = e.Unknown
		default:
			s.State, s.Reason = gaveUp(p.OnTimeout), text
		}
	}
}

// seeQuestion records what became of the question of a step. A yes may be borne out
// later, while another step waits for that.
func (r *Run) seeQuestion(q question.Question, now time.Time) []Effect {
	n, ok := r.step(q.Step)
	if !ok || r.State.Final() || q.ID == "" || r.Plan.Steps[n].Kind != playbook.KindAsk {
		return nil
	}
	s, p := &r.Steps[n], r.Plan.Steps[n]
	if s.Question != "" && s.Question != q.ID || q.Version <= s.QuestionSeen {
		return nil
	}
	s.Question, s.QuestionSeen, s.Answer, s.Proven = q.ID, q.Version, q.Answer, q.Answer == question.Yes && q.Proof != ""
	if s.State == StepActing {
		switch {
		case q.State == question.Pending:
			s.Reason = q.Trouble
		case q.State == question.Answered:
			s.State, s.Reason = StepPassed, q.Reason
		case q.State == question.Void:
			s.State, s.Reason = StepCancelled, q.Reason
		default:
			s.State, s.Reason = gaveUp(p.OnTimeout), q.Reason
		}
	}
	return r.check(now, true)
}

// gaveUp is where a step stands that waited in vain.
func gaveUp(o playbook.OnTimeout) StepState {
	switch o {
	case playbook.TimeoutFail:
		return StepFailed
	case playbook.TimeoutPerson:
		return StepHeld
	}
	return StepSkipped
}

// check asks the conditions that steps wait for, when it is time or, with stirred,
// at once.
func (r *Run) check(now time.Time, stirred bool) []Effect {
	if r.State.Final() || r.Plan == nil || r.Ends != "" {
		return nil
	}
	var effects []Effect
	for n := range r.Steps {
		s, p := &r.Steps[n], r.Plan.Steps[n]
		if p.Kind != playbook.KindWait || s.State != StepActing || !s.CheckedAt.Before(now) {
			continue
		}
		if stirred || !now.Before(nextCheck(*s, p)) {
			s.CheckedAt = now
			effects = append(effects, Decide{s.ID, true, now})
		}
	}
	return effects
}

// nextCheck is when the clock asks again.
func nextCheck(s StepRun, p playbook.Step) time.Time {
	at := s.CheckedAt.Add(min(max(s.CheckedAt.Sub(s.StartedAt)/10, checkSoonest), checkLatest))
	if deadline := s.StartedAt.Add(p.Within); deadline.Before(at) && deadline.After(s.CheckedAt) {
		return deadline
	}
	return at
}

// overdue gives up steps whose action did not leave in time.
func (r *Run) overdue(now time.Time) []Effect {
	var effects []Effect
	if r.Ends != "" {
		return nil
	}
	for n := range r.Steps {
		s, p := &r.Steps[n], r.Plan.Steps[n]
		if p.Timeout <= 0 || s.State != StepActing || s.TimedOut || s.Action == "" || now.Before(s.StartedAt.Add(p.Timeout)) || !waits(*s) {
			continue
		}
		s.TimedOut = true
		if s.Adopted {
			s.State, s.Reason = StepFailed, fmt.Sprintf("it did not leave within %s", p.Timeout)
			continue
		}
		s.Withdrawn = s.Seen
		effects = append(effects, WithdrawAction{s.ID, s.Action, fmt.Sprintf("it did not leave within %s", p.Timeout)})
	}
	return effects
}

// waits reports whether the action of a step has not left yet.
func waits(s StepRun) bool {
	return s.ActionState == action.Requested || s.ActionState == action.Approved || s.ActionState == action.Held
}

// due is when the clock alone moves the run next.
func (r *Run) due(now time.Time, adopted bool) time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if adopted {
		if next := now.Add(adoptedEvery); r.DueAt.After(now) && r.DueAt.Before(next) {
			sooner(r.DueAt)
		} else {
			sooner(next)
		}
	}
	for n, s := range r.Steps {
		p := r.Plan.Steps[n]
		if s.State != StepActing || r.Ends != "" {
			continue
		}
		if p.Kind == playbook.KindWait {
			sooner(nextCheck(s, p))
		}
		if p.Kind == playbook.KindAsk {
			sooner(s.StartedAt.Add(p.Within))
		}
		if p.Timeout > 0 && !s.TimedOut && waits(s) {
			sooner(s.StartedAt.Add(p.Timeout))
		}
	}
	return at
}

// standings are how the steps stand, as expressions see them.
func (r *Run) standings() map[string]playbook.Standing {
	out := map[string]playbook.Standing{}
	for n, s := range r.Steps {
		of := r.Plan.Steps[n].Rule()
		one := playbook.Standing{
			State: string(s.State), Verified: s.State == StepVerified, Skipped: s.State == StepSkipped, Held: s.State == StepHeld,
			Passed: s.State == StepPassed, Answer: string(s.Answer), Proven: s.Proven,
			Failed: s.State == StepFailed || s.State == StepRefused || s.State == StepCancelled || s.State == StepReverted || s.Consent == approval.Rejected,
		}
		if had, ok := out[of]; ok {
			one.Verified, one.Skipped = one.Verified && had.Verified, one.Skipped && had.Skipped
			one.Failed, one.Held, one.Passed = one.Failed || had.Failed, one.Held || had.Held, one.Passed && had.Passed
			if one.State != had.State {
				one.State = "mixed"
			}
		}
		out[of] = one
	}
	return out
}
