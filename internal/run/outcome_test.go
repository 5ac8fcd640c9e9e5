package run

import (
	"testing"

	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

// A second way that failed is part of why a held run needs a person.
func TestHeldNamesTheSecondWay(t *testing.T) {
	t.Parallel()
	r := Run{
		Plan: &playbook.Plan{Steps: []playbook.Step{
			{ID: "disable", Title: "Disable on the controller", Kind: playbook.KindAct, Contains: true},
			{ID: "second", Title: "Disable by the sensor", Kind: playbook.KindAct},
		}},
		Steps: []StepRun{{ID: "disable", State: StepHeld, Reason: "not connected"}, {ID: "second", State: StepFailed, Reason: "no sensor answers"}},
	}
	const want = "Disable on the controller: not connected; Disable by the sensor: no sensor answers"
	if state, why := r.outcome(); state != HeldState || why != want {
		t.Errorf("%s: %q, want held: %q", state, why, want)
	}
	r.Steps[1] = StepRun{ID: "second", State: StepVerified}
	if state, why := r.outcome(); state != HeldState || why != "Disable on the controller: not connected" {
		t.Errorf("%s: %q", state, why)
	}
}

// What failed is not hidden by an answer that nobody gave about something else.
func TestWhatFailedIsSaidBeforeWhatNobodyAnswered(t *testing.T) {
	t.Parallel()
	expired := StepRun{ID: "devices", State: StepSkipped, Consent: approval.Expired, Reason: "nobody answered"}
	for _, contains := range []bool{false, true} {
		r := Run{
			Plan: &playbook.Plan{Steps: []playbook.Step{
				{ID: "disable", Kind: playbook.KindAct, Contains: true, OnError: playbook.ErrorContinue}, {ID: "devices", Kind: playbook.KindAct, Contains: contains},
			}},
			Steps: []StepRun{{ID: "disable", State: StepFailed, Reason: "no controller answers"}, expired},
		}
		if state, why := r.outcome(); state != Failed || why != "disable: no controller answers; not done: devices: nobody answered" {
			t.Errorf("it contains %v: %s: %q", contains, state, why)
		}
		r.Steps[0] = StepRun{ID: "disable", State: StepVerified}
		want, text := Contained, "1 of 1 containing steps verified; not done: devices: nobody answered"
		if contains {
			want, text = Expired, "devices: nobody answered"
		}
		if state, why := r.outcome(); state != want || why != text {
			t.Errorf("it contains %v: %s: %q", contains, state, why)
		}
	}
}
