package run

import (
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/question"
)

// An Event is a fact told to a run. Facts may be told late, twice, and in any
// order: what is older than what the run knows changes nothing.
type Event interface{ event() }

// Woke says that time passed.
type Woke struct{}

// Planned brings the plan that MakePlan asked for.
type Planned struct {
	Plan    playbook.Plan
	Observe bool // the tenant is in observe mode, whatever the plan says
}

// ActionSeen tells how the action of a step stands.
type ActionSeen struct {
	Step    string
	Action  action.Action
	Adopted bool // it belongs to another run
}

// ApprovalSeen tells how a request stands.
type ApprovalSeen struct{ Request approval.Request }

// QuestionSeen tells how a question stands.
type QuestionSeen struct{ Question question.Question }

// Withdrawn says that the run is not wanted any more.
type Withdrawn struct {
	By     access.Actor
	Reason string
}

// TakenBack says that the undo that TakeBack asked for was begun.
type TakenBack struct{}

// Stuck says that what was not ratified could not be taken back.
type Stuck struct{ Reason string }

// Postponed says that the playbook's rate leaves no room for the run before Until.
type Postponed struct {
	Reason string
	Until  time.Time
}

// Stirred says that something the run may wait for has changed.
type Stirred struct{}

// Decided answers Decide, which it repeats. Unknown says why it could not be
// decided.
type Decided struct {
	Decide
	Holds   bool
	Unknown string
}

func (Woke) event()         {}
func (Planned) event()      {}
func (ActionSeen) event()   {}
func (ApprovalSeen) event() {}
func (QuestionSeen) event() {}
func (Withdrawn) event()    {}
func (TakenBack) event()    {}
func (Stuck) event()        {}
func (Postponed) event()    {}
func (Stirred) event()      {}
func (Decided) event()      {}

// An Effect is what must follow in the transaction that stores the run. The run
// records that it asked, so that no effect but MakePlan and Decide is asked for twice.
type Effect interface{ effect() }

// MakePlan asks for a Planned event.
type MakePlan struct{}

// AskApproval asks for a request over the steps, and its ApprovalSeen.
type AskApproval struct {
	Rule  approval.Rule
	Steps []string
}

// AskPerson asks for the question of a step, and its QuestionSeen.
type AskPerson struct{ Step string }

// WithdrawQuestion makes a pending question void.
type WithdrawQuestion struct {
	Question question.ID
	Reason   string
}

// StartAction asks for the action of a step, approved, and its ActionSeen.
type StartAction struct{ Step string }

// Decide asks whether the condition of a step holds: the one it waits for, or the
// one that had to wait for its turn; with no step, the plan's ContainedWhen. Its
// Decided follows.
type Decide struct {
	Step  string
	Until bool      // the condition it waits for
	At    time.Time // when it was asked
}

// WithdrawAction cancels an action that has not left.
type WithdrawAction struct {
	Step   string
	Action action.ID
	Reason string
}

// WithdrawApproval makes a pending request void.
type WithdrawApproval struct {
	Approval approval.ID
	Reason   string
}

// TakeBack asks for an undo run over actions that were not ratified, and for
// TakenBack; when there can be none, for Stuck.
type TakeBack struct {
	Actions []action.ID
	Reason  string
}

// Revert makes the original of a verified undo reverted.
type Revert struct{ Original, By action.ID }

// Ended says that the run reached its final state: for the trail and the case.
type Ended struct {
	State State
	At    time.Time
}

func (MakePlan) effect()         {}
func (AskApproval) effect()      {}
func (AskPerson) effect()        {}
func (WithdrawQuestion) effect() {}
func (StartAction) effect()      {}
func (WithdrawAction) effect()   {}
func (WithdrawApproval) effect() {}
func (TakeBack) effect()         {}
func (Revert) effect()           {}
func (Ended) effect()            {}
func (Decide) effect()           {}
