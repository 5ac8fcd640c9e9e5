package action

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// ID names one action.
type ID string

// State is where an action stands.
type State string

// The states. Accepted is not done (law 2).
const (
	Requested     State = "requested"   // planned; waits for its approval or its turn
	Approved      State = "approved"    // may be dispatched
	Held          State = "held"        // the gate holds it, with the reason; it is asked again, or released by a person
	Running       State = "running"     // the intent is written; the request is about to leave, has left, or its outcome is unknown
	AcceptedState State = "accepted"    // the directory took it; not proven
	Unconfirmed   State = "unconfirmed" // the read-back's deadline passed without proof; it goes on being read
	Verified      State = "verified"    // the authoritative directory shows the wanted state
	Failed        State = "failed"      // final: the directory refused, or proof never came
	RefusedState  State = "refused"     // final: the gate refused, nothing left the house
	Reverted      State = "reverted"    // final: verified, and its undo is verified too
	Expired       State = "expired"     // final: its approval ran out
	Cancelled     State = "cancelled"   // final: rejected or withdrawn before anything left
)

// Final reports whether no dispatch, read-back or approval follows. Verified is
// final for its run, and can only become reverted.
func (s State) Final() bool {
	switch s {
	case Verified, Failed, RefusedState, Reverted, Expired, Cancelled:
		return true
	}
	return false
}

// moves is the state machine: a drawing in data. Everything not here is illegal.
var moves = map[State][]State{
	Requested:     {Approved, Expired, Cancelled},
	Approved:      {Held, Running, Verified, RefusedState, Failed, Cancelled, Expired},
	Held:          {Approved, RefusedState, Cancelled, Expired},
	Running:       {AcceptedState, Approved, Held, Verified, Unconfirmed, Failed},
	AcceptedState: {Verified, Unconfirmed, Failed},
	Unconfirmed:   {Verified, Failed},
	Verified:      {Reverted},
}

// Lane orders dispatch: a lower lane always goes first.
type Lane int

// The lanes.
const (
	LanePrivileged Lane = iota // people who hold a directory role
	LaneHigh
	LaneMedium
	LaneLow
	LaneUndo // giving access back waits for containment
)

// maxRank bounds a rank: no plan has as many steps.
const maxRank = 1000

// Turn orders the actions of a tenant; a lower one goes first, then the older one.
// Privileged people are contained whole before anybody else, everybody else
// breadth first: all first steps before any second, by lane inside a step, because
// whoever is last of thousands must not wait until everybody before is finished.
// Giving access back comes after all of that.
func (a Action) Turn() int {
	switch a.Lane {
	case LanePrivileged:
		return 0
	case LaneUndo:
		return (maxRank + 2) * int(LaneUndo)
	}
	return (min(max(a.Rank, 0), maxRank)+1)*int(LaneUndo) + int(a.Lane)
}

// An Action is one change to one account: the row that is the truth.
type Action struct {
	ID       ID              `json:"id"`
	Tenant   identity.Tenant `json:"tenant"`
	Run      string          `json:"run"`
	Case     string          `json:"case"`
	Identity identity.ID     `json:"identity"`
	Step     string          `json:"step"`
	PlanHash string          `json:"planHash"`
	Playbook string          `json:"playbook"`

	Name    Name           `json:"name"`
	Account identity.Ref   `json:"account"`
	Params  map[string]any `json:"params,omitempty"`
	Lane    Lane           `json:"lane"`
	Rank    int            `json:"rank,omitempty"` // the place of its step in the plan; see Turn
	// Campaign is the campaign it belongs to, and Place its identity's place there:
	// it leaves when the campaign has come so far. Empty: it waits for nobody.
	Campaign string `json:"campaign,omitempty"`
	Place    int    `json:"place,omitempty"`
	// Effect is a digest of tenant, account, name and parameters: two actions
	// with the same Effect that are not final act once (item 114).
	Effect string `json:"effect"`

	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"` // why held, refused, failed, unconfirmed or cancelled, in words
	Person bool   `json:"person,omitempty"` // a person must decide: automation will not touch it again
	Moot   bool   `json:"moot,omitempty"`   // refused: what called for it did not hold any more when its turn came

	Before     json.RawMessage `json:"before,omitempty"` // recorded before the intent (law 5)
	BeforeText string          `json:"beforeText,omitempty"`
	Proof      string          `json:"proof,omitempty"`  // what the read-back saw
	Sealed     []byte          `json:"sealed,omitempty"` // a hand-over's ciphertext; removed when revealed or expired

	Attempt         int     `json:"attempt"` // intents written so far
	Fence           int64   `json:"fence,omitempty"`
	ClientRequestID string  `json:"clientRequestId,omitempty"`
	RequestID       string  `json:"requestId,omitempty"`
	Outcome         Verdict `json:"outcome,omitempty"` // of the last attempt; empty while its answer has not come
	// Doubt says that what an earlier attempt did was never known: what is there now
	// may be its doing, so Before stays what was there before it.
	Doubt bool `json:"doubt,omitempty"`

	RequestedAt time.Time `json:"requestedAt,omitzero"`
	ApprovedAt  time.Time `json:"approvedAt,omitzero"`
	IntentAt    time.Time `json:"intentAt,omitzero"`
	AcceptedAt  time.Time `json:"acceptedAt,omitzero"`
	VerifiedAt  time.Time `json:"verifiedAt,omitzero"`
	EndedAt     time.Time `json:"endedAt,omitzero"`
	NextAt      time.Time `json:"nextAt,omitzero"`   // not to be looked at before
	Deadline    time.Time `json:"deadline,omitzero"` // of the proof

	// TTL is how long after it is proven it is taken back by itself, ExpiresAt when;
	// zero: it stays until somebody asks.
	TTL       time.Duration `json:"ttl,omitempty"`
	ExpiresAt time.Time     `json:"expiresAt,omitzero"`

	UndoOf   ID `json:"undoOf,omitempty"`
	UndoneBy ID `json:"undoneBy,omitempty"`

	Version int64 `json:"version"` // raised with each change by the store; compare-and-set
}

// Move returns a in state to with the reason, stamped with now. An illegal move
// is fault.Conflict and changes nothing; moving to the state it is in is legal
// and updates the reason only.
func (a Action) Move(to State, reason string, now time.Time) (Action, error) {
	if a.State == to {
		a.Reason = reason
		return a, nil
	}
	if !legal(a.State, to) {
		return a, fault.Errorf(fault.Conflict, "action %s: cannot move from %s to %s", a.ID, a.State, to)
	}
	a.State, a.Reason = to, reason
	switch to {
	case Approved:
		if a.ApprovedAt.IsZero() {
			a.ApprovedAt = now
		}
	case Running:
		a.IntentAt, a.Outcome = now, ""
	case AcceptedState:
		a.AcceptedAt = now
	case Verified:
		a.VerifiedAt = now
		if a.TTL > 0 {
			a.ExpiresAt = now.Add(a.TTL)
		}
	}
	if to.Final() && a.EndedAt.IsZero() {
		a.EndedAt = now
	}
	return a, nil
}

func legal(from, to State) bool {
	for _, s := range moves[from] {
		if s == to {
			return true
		}
	}
	return false
}

// Request returns the request to hand to the action's Type.
func (a Action) Request() Request {
	return Request{
		ID: a.ID, Tenant: a.Tenant, Account: a.Account, Params: a.Params,
		Before: a.Before, Since: a.IntentAt, ClientRequestID: a.ClientRequestID, Accepted: a.Outcome == Accepted,
	}
}

// String names the action for logs and reasons; it holds no parameter values.
func (a Action) String() string {
	return fmt.Sprintf("%s on %s (%s)", a.Name, a.Account.Name(), a.State)
}
