package run

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

// wentWrong reports whether the run failed or was refused on its way.
func (r *Run) wentWrong() bool { return r.Ends == Failed || r.Ends == Refused }

// stumbled returns the step at which a run that failed went wrong, and why: the
// first that its playbook does not go on after, else the first that went wrong.
func (r *Run) stumbled() (step playbook.Step, why string) {
	for n, s := range r.Steps {
		p := r.Plan.Steps[n]
		wrong := s.State == StepFailed || s.State == StepRefused
		switch {
		case wrong && p.OnError != playbook.ErrorContinue:
			return p, s.Reason
		case s.Consent == approval.Expired && p.Approval != nil && p.Approval.OnExpiry == approval.ExpiryFail:
			return p, s.ConsentText
		case wrong && step.ID == "":
			step, why = p, s.Reason
		}
	}
	return step, cmp.Or(why, r.Reason)
}

// failedToo names the steps that failed beside one that is held: a second way that was
// tried is part of why a person is needed.
func (r *Run) failedToo() (text string) {
	for n, s := range r.Steps {
		if s.State == StepFailed {
			text += fmt.Sprintf("; %s: %s", named(r.Plan.Steps[n]), s.Reason)
		}
	}
	return text
}

func (r *Run) outcome() (State, string) {
	if r.Ends != "" {
		return r.Ends, r.Reason
	}
	contains, proven, verified := 0, 0, 0
	ends, unanswered := playbook.Step{}, ""
	for n, s := range r.Steps {
		p := r.Plan.Steps[n]
		text := fmt.Sprintf("%s: %s", named(p), s.Reason)
		switch {
		case p.Kind == playbook.KindEnd && s.State == StepPassed:
			ends = p
		case s.State == StepHeld:
			return HeldState, text + r.failedToo()
		case s.State == StepSkipped && s.Consent == approval.Expired:
			unanswered = cmp.Or(unanswered, "; not done: "+text)
			if p.Contains {
				contains++
			}
		case s.State == StepVerified:
			verified++
		}
		if p.Contains && p.Kind == playbook.KindAct && s.State != StepSkipped {
			contains++
			if s.State == StepVerified {
				proven++
			}
		}
	}
	switch {
	case ends.End == playbook.EndPerson:
		return HeldState, "a person is needed: " + r.endNote(ends)
	case contains > 0 && proven == contains && ends.End != playbook.EndExpected:
		if r.Narrowed != "" && r.Narrowed != narrowHolds && r.Narrowed != narrowAsked {
			return HeldState, r.Narrowed
		}
		return Contained, fmt.Sprintf("%d of %d containing steps verified", proven, contains) + unanswered
	case unanswered != "" && !r.wrong():
		return Expired, strings.TrimPrefix(unanswered, "; not done: ")
	case ends.End == playbook.EndExpected && !r.wrong():
		return Done, "expected activity: " + r.endNote(ends)
	case contains == 0 && verified == 0 && !slices.ContainsFunc(r.Steps, func(s StepRun) bool { return s.State != StepSkipped && s.State != StepPassed }):
		return Done, "there was nothing to do"
	}
	for n, s := range r.Steps {
		if s.State != StepVerified && s.State != StepSkipped && s.State != StepPassed {
			return Failed, fmt.Sprintf("%s: %s%s", named(r.Plan.Steps[n]), s.Reason, unanswered)
		}
	}
	return Done, counted(verified, "step") + " verified"
}
