// Package approval binds people's consent to the hash of a plan. A Request is a
// pure state machine: pending until it is approved, rejected, expired or void.
package approval

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// ID names one request.
type ID string

// Mode says when the consent is needed.
type Mode string

// The modes.
const (
	Before Mode = "before" // nothing leaves until it is given
	Ratify Mode = "ratify" // the step goes at once and is undone unless ratified in time
)

// OnExpiry says what follows when nobody answered in time.
type OnExpiry string

// What may follow.
const (
	ExpirySkip     OnExpiry = "skip"     // the steps are not done
	ExpiryEscalate OnExpiry = "escalate" // the case waits for a person
	ExpiryUndo     OnExpiry = "undo"     // ratify: what was done is undone
	ExpiryFail     OnExpiry = "fail"     // the run fails
)

// A Rule is what a playbook step asks for.
type Rule struct {
	Mode     Mode          `json:"mode"`
	From     []string      `json:"from"`   // operator groups; any of them
	Quorum   int           `json:"quorum"` // how many different operators
	Expires  time.Duration `json:"expires"`
	OnExpiry OnExpiry      `json:"onExpiry"`
}

// AsksAs reports whether r asks the same groups as o.
func (r Rule) AsksAs(o Rule) bool {
	return slices.Equal(slices.Sorted(slices.Values(r.From)), slices.Sorted(slices.Values(o.From)))
}

// State is where a request stands.
type State string

// The states.
const (
	Pending  State = "pending"
	Approved State = "approved"
	Rejected State = "rejected"
	Expired  State = "expired"
	Void     State = "void" // the plan changed or the run ended; the answer would bind to nothing
)

// A Decision is one operator's answer.
type Decision struct {
	By      access.OperatorID `json:"by"`
	Approve bool              `json:"approve"`
	Reason  string            `json:"reason,omitempty"`
	At      time.Time         `json:"at"`
}

// A Request asks for consent to some steps of one plan.
type Request struct {
	Tenant   identity.Tenant `json:"tenant"`
	ID       ID              `json:"id"`
	Run      string          `json:"run"`
	Case     string          `json:"case"`
	Identity identity.ID     `json:"identity"` // the subject
	Name     string          `json:"name"`     // the subject's name, for people
	Playbook string          `json:"playbook"`
	PlanHash string          `json:"planHash"`
	Steps    []string        `json:"steps"`
	Rule     Rule            `json:"rule"`

	AskedBy   access.Actor `json:"askedBy"`
	AskedAt   time.Time    `json:"askedAt"`
	ExpiresAt time.Time    `json:"expiresAt"`

	State     State      `json:"state"`
	Reason    string     `json:"reason,omitempty"`
	Decisions []Decision `json:"decisions,omitempty"`
	EndedAt   time.Time  `json:"endedAt,omitzero"`
	Version   int64      `json:"version"`
}

// A Voter is the operator who answers and what must be known of them.
type Voter struct {
	Operator access.Operator
	Identity identity.ID // the voter's own identity in this tenant; "" when it is not known to Cordon
	AtRisk   string      // why the voter's own identity counts as at risk; "" when it does not
}

// Decide returns the request with the answer in it. planHash is what the voter
// saw; it must be the request's. It returns fault.Conflict when the request has
// ended or the plan changed, and fault.Denied when the voter may not answer: not
// a member of the groups asked, the requester, the subject of the plan, or at
// risk. The same operator answering the same twice changes nothing.
func (r Request) Decide(v Voter, approve bool, reason, planHash string, now time.Time) (Request, error) {
	o := v.Operator
	if err := o.Require(access.Approve); err != nil {
		return r, fmt.Errorf("approval %s: %w", r.ID, err)
	}
	switch {
	case r.State != Pending:
		return r, fault.Errorf(fault.Conflict, "approval %s is already %s", r.ID, r.State)
	case !now.Before(r.ExpiresAt):
		return r, fault.Errorf(fault.Conflict, "approval %s expired at %s", r.ID, r.ExpiresAt.UTC().Format(time.RFC3339))
	case planHash != r.PlanHash:
		return r, fault.Errorf(fault.Conflict, "approval %s: the plan changed since you saw it; look at it again", r.ID)
	case o.Tenant != "" && o.Tenant != r.Tenant:
		return r, fault.Errorf(fault.NotFound, "no approval %s", r.ID)
	case len(r.Rule.From) > 0 && !slices.ContainsFunc(o.Groups, func(g string) bool { return slices.Contains(r.Rule.From, g) }):
		return r, fault.Errorf(fault.Denied, "approval %s: %s is in none of the groups asked: %s", r.ID, o.ID, strings.Join(r.Rule.From, ", "))
	case r.AskedBy == access.ByOperator(o.ID):
		return r, fault.Errorf(fault.Denied, "approval %s: %s asked for it and cannot answer", r.ID, o.ID)
	case v.Identity != "" && v.Identity == r.Identity:
		return r, fault.Errorf(fault.Denied, "approval %s: %s is the subject of the plan and cannot answer", r.ID, o.ID)
	case v.AtRisk != "":
		return r, fault.Errorf(fault.Denied, "approval %s: %s is at risk (%s) and cannot answer", r.ID, o.ID, v.AtRisk)
	}
	for _, d := range r.Decisions {
		if d.By == o.ID {
			if d.Approve == approve {
				return r, nil
			}
			return r, fault.Errorf(fault.Conflict, "approval %s: %s has answered already", r.ID, o.ID)
		}
	}
	r.Decisions = append(slices.Clone(r.Decisions), Decision{By: o.ID, Approve: approve, Reason: reason, At: now})
	if !approve {
		r.State, r.Reason, r.EndedAt = Rejected, fmt.Sprintf("rejected by %s: %s", o.ID, reason), now
		return r, nil
	}
	if len(r.Decisions) >= max(1, r.Rule.Quorum) {
		r.State, r.EndedAt = Approved, now
	}
	return r, nil
}

// Tick returns the request expired when its time has come.
func (r Request) Tick(now time.Time) Request {
	if r.State == Pending && !now.Before(r.ExpiresAt) {
		r.State, r.EndedAt = Expired, now
		r.Reason = fmt.Sprintf("nobody answered by %s", r.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return r
}

// Withdraw returns a pending request made void, with the reason.
func (r Request) Withdraw(reason string, now time.Time) Request {
	if r.State == Pending {
		r.State, r.Reason, r.EndedAt = Void, reason, now
	}
	return r
}
