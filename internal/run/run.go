// Package run moves one use of a playbook on one identity from match to proof.
// A Run is data moved by a pure state machine: it survives restarts and upgrades
// and can be fuzzed. The rows (run, actions, approvals) are the truth; Drive
// feeds them to Apply, as often as anybody likes.
package run

import (
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

// ID names one run.
type ID string

// State is where a run stands.
type State string

// The states of a run.
const (
	Settling  State = "settling"  // waits for sibling signals before planning
	Waiting   State = "waiting"   // an approval is awaited and nothing else can go on
	Acting    State = "acting"    // actions are under way or being read back
	Contained State = "contained" // final: every containing step is verified
	Done      State = "done"      // final: all steps are verified, none of them contains
	HeldState State = "held"      // final for automation: what could be done is done, the rest waits for the reason to go
	Refused   State = "refused"   // final: a guard or the protected set said no
	Observed  State = "observed"  // final: observe mode; this is what would have been done
	Failed    State = "failed"    // final: a step failed or was never proven
	Rejected  State = "rejected"  // final: a person said no
	Expired   State = "expired"   // final: nobody answered
	Cancelled State = "cancelled" // final: withdrawn, by a verdict for instance
)

// Final reports whether nothing follows by itself.
func (s State) Final() bool { return s != Settling && s != Waiting && s != Acting }

// StepState is where one step stands.
type StepState string

// The states of a step.
const (
	StepPending   StepState = "pending"  // its turn has not come
	StepWaiting   StepState = "waiting"  // its approval is awaited
	StepActing    StepState = "acting"   // its action exists and is not accepted yet
	StepAccepted  StepState = "accepted" // accepted, being read back
	StepVerified  StepState = "verified"
	StepSkipped   StepState = "skipped"
	StepHeld      StepState = "held"
	StepFailed    StepState = "failed"
	StepRefused   StepState = "refused"
	StepCancelled StepState = "cancelled"
)

// A StepRun is one step of a run.
type StepRun struct {
	ID     string    `json:"id"`
	State  StepState `json:"state"`
	Action action.ID `json:"action,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// A Run is one use of a playbook version on one identity.
type Run struct {
	Tenant   identity.Tenant `json:"tenant"`
	ID       ID              `json:"id"`
	Case     casefile.ID     `json:"case"`
	Identity identity.ID     `json:"identity"`
	Playbook playbook.Ref    `json:"playbook"`
	OnceKey  string          `json:"onceKey,omitempty"` // once_per: a second run with it inside the window is not started
	AskedBy  access.Actor    `json:"askedBy"`
	Trigger  string          `json:"trigger,omitempty"` // the signal's ExternalID

	State    State          `json:"state"`
	Reason   string         `json:"reason,omitempty"`
	Plan     *playbook.Plan `json:"plan,omitempty"` // nil while settling
	Steps    []StepRun      `json:"steps,omitempty"`
	Approval approval.ID    `json:"approval,omitempty"`

	StartedAt time.Time `json:"startedAt"`
	PlannedAt time.Time `json:"plannedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	DueAt     time.Time `json:"dueAt,omitzero"` // when the clock alone moves it next; zero: only events do
	Version   int64     `json:"version"`
}
