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
	"github.com/seed-f47efad2/cordon/internal/question"
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
	StepReverted  StepState = "reverted" // was verified, and its undo is verified too
	StepPassed    StepState = "passed"   // a wait whose condition came true, a question that was answered, or an end that was come to
)

// Final reports whether a step's own action can change nothing about it any
// more. Verified is final and can only become reverted.
func (s StepState) Final() bool {
	return s != StepPending && s != StepWaiting && s != StepActing && s != StepAccepted
}

// A StepRun is one step of a run.
type StepRun struct {
	ID     string    `json:"id"`
	State  StepState `json:"state"`
	Action action.ID `json:"action,omitempty"`
	Reason string    `json:"reason,omitempty"`

	// Seen is the version of the action's row that this state rests on, ActionState
	// what it said.
	Seen        int64        `json:"seen,omitempty"`
	ActionState action.State `json:"actionState,omitempty"`
	// Withdrawn is the version of the action's row at which it was asked to go.
	Withdrawn int64 `json:"withdrawn,omitempty"`
	// Adopted says that the action belongs to another run that asked for the same
	// effect: it acts once for both, and only its own run may withdraw it.
	Adopted bool `json:"adopted,omitempty"`
	// Gone are adopted actions that their own runs withdrew: they say nothing of
	// this step any more.
	Gone []action.ID `json:"gone,omitempty"`

	Approval     approval.ID    `json:"approval,omitempty"`     // the request this step waits for or waited for
	Consent      approval.State `json:"consent,omitempty"`      // its state; empty when no approval is needed
	ConsentText  string         `json:"consentText,omitempty"`  // its reason
	ApprovalSeen int64          `json:"approvalSeen,omitempty"` // the version of its row that Consent rests on

	Question     question.ID     `json:"question,omitempty"`     // the one that this step asks
	Answer       question.Answer `json:"answer,omitempty"`       // what was answered
	Proven       bool            `json:"proven,omitempty"`       // a yes that is borne out
	QuestionSeen int64           `json:"questionSeen,omitempty"` // the version of its row that these rest on

	// Called says that a condition that had to wait for its turn holds, Asked that
	// it was asked.
	Called bool `json:"called,omitempty"`
	Asked  bool `json:"asked,omitempty"`
	// StartedAt is when its turn came, CheckedAt when the condition of a wait was
	// asked last.
	StartedAt time.Time `json:"startedAt,omitzero"`
	CheckedAt time.Time `json:"checkedAt,omitzero"`
	// TimedOut says that its action was withdrawn because it did not leave in time.
	TimedOut bool `json:"timedOut,omitempty"`

	UndoOf    action.ID `json:"undoOf,omitempty"`    // undo runs: the action that is taken back
	UndoAsked bool      `json:"undoAsked,omitempty"` // the run itself asked to take it back: it was not ratified
}

// A Consent is what people gave to a campaign: to this plan of this identity as
// one of many. A plan with another hash is not what they saw.
type Consent struct {
	Campaign  string              `json:"campaign"`
	Place     int                 `json:"place"` // in the order of going, from 0
	PlanHash  string              `json:"planHash"`
	Rule      approval.Rule       `json:"rule"` // what the campaign asked for
	Decisions []approval.Decision `json:"decisions"`
}

// covers reports whether the consent answers what a step asks for: the same
// groups, at least as many people, before anything leaves.
func (c *Consent) covers(rule approval.Rule, planHash string) bool {
	return c != nil && c.PlanHash == planHash && rule.Mode == approval.Before && c.Rule.Mode == approval.Before &&
		max(1, rule.Quorum) <= len(c.Decisions) && rule.AsksAs(c.Rule)
}

// A Run is one use of a playbook version on one identity.
type Run struct {
	Tenant   identity.Tenant `json:"tenant"`
	ID       ID              `json:"id"`
	Case     casefile.ID     `json:"case"`
	Identity identity.ID     `json:"identity"`
	Playbook playbook.Ref    `json:"playbook"`
	OnceKey  string          `json:"onceKey,omitempty"` // once_per: a second run with it inside the window is not started
	Window   time.Duration   `json:"window,omitempty"`  // once_per: inside it an effect that is under way or proven is not repeated
	AskedBy  access.Actor    `json:"askedBy"`
	Trigger  string          `json:"trigger,omitempty"` // the signal's ExternalID
	On       []string        `json:"on,omitempty"`      // what had happened when it matched
	Why      string          `json:"why,omitempty"`     // what a person gave as the reason

	Consent *Consent `json:"consent,omitempty"` // given for many identities at once; nil: the run is on its own

	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	Ends   State  `json:"ends,omitempty"` // how it will end once what is under way is over: no further step starts
	// TakingBack says that an undo was asked for and has not been begun: the run
	// does not end before.
	TakingBack bool `json:"takingBack,omitempty"`

	// RateKey is what the run is counted under by its playbook's rate; empty when
	// there is none, or when nothing of it may leave.
	RateKey string `json:"rateKey,omitempty"`
	// Narrowed says what became of the plan's ContainedWhen: "" not asked, else
	// asked, holds, or why it does not.
	Narrowed string `json:"narrowed,omitempty"`

	Plan     *playbook.Plan `json:"plan,omitempty"` // nil while settling
	Steps    []StepRun      `json:"steps,omitempty"`
	Approval approval.ID    `json:"approval,omitempty"` // the first one asked; each step names its own

	StartedAt time.Time `json:"startedAt"`
	PlannedAt time.Time `json:"plannedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	DueAt     time.Time `json:"dueAt,omitzero"` // when the clock alone moves it next; zero: only events do
	Version   int64     `json:"version"`
}
