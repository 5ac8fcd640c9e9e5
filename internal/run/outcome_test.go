package run

import (
	"testing"

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
