// Package playbook is response as code: it parses and checks playbooks (YAML
// with CEL conditions), matches them to what happened, and makes plans. A plan
// is a readable list of changes whose hash people approve. It is pure: no I/O,
// no clock.
package playbook

import (
	"cmp"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Ref names one version of a playbook for ever: the hash is of its text.
type Ref struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Hash    string `json:"hash"`
}

// Mode says how far a playbook may go.
type Mode string

// The modes.
const (
	Observe Mode = "observe" // plans are made and counted, nothing leaves
	Enforce Mode = "enforce"
)

// An Input is everything a match or a plan rests on.
type Input struct {
	Tenant     identity.Tenant
	Identity   identity.Identity
	Protection identity.Protection
	Assessment risk.Assessment
	Signals    []signal.Signal // of the identity, any order
	// Trigger is the signal that arrived; nil when a person or a changed
	// assessment asks.
	Trigger *signal.Signal
	// UsableGlobalAdmins counts the tenant's usable Global Administrators;
	// negative when it is not known.
	UsableGlobalAdmins int
	// Connected says which directories Cordon can act in.
	Connected []identity.Provider
	// Synchronisation is how accounts are tied to Active Directory; nil: not known.
	Synchronisation *identity.Synchronisation
	// Outages are the ways into Active Directory that are known not to work now.
	Outages []Outage
	// On is what happened: "signal.received", "risk.changed", "case.opened", "manual".
	On  []string
	Now time.Time
	// Steps says how the steps of a run stand, by their id in the playbook; nil
	// while there is no run.
	Steps map[string]Standing
	// Each are the elements of for_each that a step is done for, by name.
	Each map[string]string
}

// An Outage says that a way by which accounts are changed does not work now.
type Outage struct {
	Provider identity.Provider // whose accounts cannot be changed
	Via      identity.Provider // by which connection: the Provider's own, or EntraID for Defender's sensors
	Domain   string            // DNS name of the domain; "": any
	Why      string
}

// A Standing is how one step of a run stands, as expressions see it: steps.reset.verified.
// Of a step that for_each made several of, verified and skipped are true when they
// are of all, failed and held when they are of any.
type Standing struct {
	State    string `cel:"state"`
	Verified bool   `cel:"verified"`
	Failed   bool   `cel:"failed"`  // it failed, was refused or taken back
	Held     bool   `cel:"held"`    // it could not be done
	Skipped  bool   `cel:"skipped"` // it was not called for
	Passed   bool   `cel:"passed"`  // wait: what it waited for came true; ask: somebody answered
	Answer   string `cel:"answer"`  // ask: yes or no; empty while nobody answered
	Proven   bool   `cel:"proven"`  // ask: the answer is yes, nothing speaks against it, and a strong sign-in bears it out
}

// A Plan is what a run will do. Its Hash covers the playbook's hash, the
// catalogue's version, the tenant, the identity, the ordered steps with targets,
// parameters and preconditions; it leaves out texts that change without changing
// what is done: score, times, cost, the present state.
type Plan struct {
	Playbook  Ref             `json:"playbook"`
	Title     string          `json:"title"`
	Mode      Mode            `json:"mode"`
	Pilot     string          `json:"pilot,omitempty"` // why it only observes although the playbook is enforced
	Catalogue string          `json:"catalogue"`
	Tenant    identity.Tenant `json:"tenant"`
	Identity  identity.ID     `json:"identity"`
	Steps     []Step          `json:"steps"`

	// Guards are asked again before each change leaves.
	Guards        []Guard `json:"guards,omitempty"`
	Rate          *Rate   `json:"rate,omitempty"`
	ContainedWhen string  `json:"containedWhen,omitempty"` // CEL; "": when every step that contains is verified
	UndoOnFailure bool    `json:"undoOnFailure,omitempty"` // a run that fails takes back what it did
	PageOnFailure bool    `json:"pageOnFailure,omitempty"` // people are told at once of a run that fails
	HoldOnFailure bool    `json:"holdOnFailure,omitempty"` // a run that fails ends held, for a person to decide

	Refused string `json:"refused,omitempty"` // why nothing may be done at all
	Held    string `json:"held,omitempty"`    // why nothing is done for now: a fact is unknown, a guard could not be evaluated

	Hash string `json:"hash"`

	Name    string                `json:"name"` // the identity's, for people
	Score   int                   `json:"score"`
	Level   signal.Level          `json:"level"`
	Reasons []risk.Reason         `json:"reasons,omitempty"`
	Cost    map[action.Bucket]int `json:"cost,omitempty"` // requests that will be sent, by bucket
	MadeAt  time.Time             `json:"madeAt"`
}

// A Guard is one refusal of a playbook, as a plan keeps it.
type Guard struct {
	When string `json:"when"` // CEL, boolean
	Why  string `json:"why"`
}

// A Rate is the rate of a playbook with its key decided.
type Rate struct {
	Key   string        `json:"key"`
	Limit int           `json:"limit"`
	Per   time.Duration `json:"per"`
	Over  Over          `json:"over"`
}

// Kind says what a step is.
type Kind string

// The kinds of steps.
const (
	KindAct  Kind = ""     // one change of one account
	KindWait Kind = "wait" // nothing is changed; what follows waits for a condition
	KindAsk  Kind = "ask"  // nothing is changed; somebody is asked, and what follows waits for the answer
	KindEnd  Kind = "end"  // nothing follows
)

// OnTimeout says what follows when a condition did not come true in time, or an answer
// did not come.
type OnTimeout string

// What may follow.
const (
	TimeoutContinue OnTimeout = "continue"     // the next step, which may ask steps.X.passed
	TimeoutFail     OnTimeout = "fail"         // the run fails
	TimeoutPerson   OnTimeout = "needs_person" // the case waits for a person
)

// End says how a run ends that a step ends.
type End string

// The ends.
const (
	EndExpected  End = "expected_activity" // nothing was wrong
	EndContained End = "contained"         // what was done is enough: contained if it is proven
	EndPerson    End = "needs_person"
)

// A Step is one change of a plan, bound to one account, or a wait, or an end.
type Step struct {
	ID      string         `json:"id"`
	Title   string         `json:"title"`
	Uses    action.Name    `json:"uses"`   // as the playbook says it, a route perhaps
	Action  action.Name    `json:"action"` // the concrete one; empty when held for want of an arm
	Account identity.Ref   `json:"account"`
	Params  map[string]any `json:"params,omitempty"`

	Kind  Kind              `json:"kind,omitempty"`
	Of    string            `json:"of,omitempty"`    // the step of the playbook, when for_each made several of it
	Each  map[string]string `json:"each,omitempty"`  // what it is done for, by the name that for_each gives
	Bound int               `json:"bound,omitempty"` // for_each: at most so many
	Group string            `json:"group,omitempty"` // steps of one group do not wait for each other
	// If is the step's condition. Later says that it can only be decided when its
	// turn comes; else it was decided for the plan and is asked again before the
	// change leaves.
	If    string `json:"if,omitempty"`
	Later bool   `json:"later,omitempty"`

	Until string `json:"until,omitempty"` // wait: CEL; Within says how long
	// Ask is who is asked whether it was them; Within says how long.
	Ask       question.Who `json:"ask,omitempty"`
	OnTimeout OnTimeout    `json:"onTimeout,omitempty"`
	End       End          `json:"end,omitempty"`
	Note      string       `json:"note,omitempty"`

	TTL     time.Duration `json:"ttl,omitempty"`     // so long after it is proven it is taken back by itself; 0: it stays
	MaxTTL  time.Duration `json:"maxTTL,omitempty"`  // how long it stands at most when people extend it; 0: twice the TTL
	Timeout time.Duration `json:"timeout,omitempty"` // it must have left so long after its turn came; 0: no limit

	Skip string `json:"skip,omitempty"` // why it will not be done: its condition is false
	Held string `json:"held,omitempty"` // why it cannot be done now, such as "Active Directory not connected"

	// After says what must be so before it starts: the earlier steps accepted
	// (the default) or verified.
	After    After          `json:"after"`
	Approval *approval.Rule `json:"approval,omitempty"` // nil: none is needed
	Verify   string         `json:"verify"`             // how it is proven, in words
	Within   time.Duration  `json:"within"`             // deadline of the proof
	OnError  OnError        `json:"onError"`
	Contains bool           `json:"contains"` // the identity counts as contained only when it is verified

	Route        identity.Provider `json:"route"`
	Permissions  []string          `json:"permissions,omitempty"`
	Effect       action.Effect     `json:"effect"`
	Undo         action.Name       `json:"undo,omitempty"`
	Irreversible string            `json:"irreversible,omitempty"`
	Limits       string            `json:"limits,omitempty"`
	Change       string            `json:"change"` // what will be different afterwards, in words
}

// Rule is the id of the step in the playbook.
func (s Step) Rule() string { return cmp.Or(s.Of, s.ID) }

// After says how far the earlier steps must be.
type After string

// The ways of waiting.
const (
	AfterAccepted After = "accepted"
	AfterVerified After = "verified"
)

// OnError says what a failed step means for the rest.
type OnError string

// The ways of going on.
const (
	ErrorFail     OnError = "fail"     // the run fails; later steps are not started
	ErrorContinue OnError = "continue" // later steps go on
)

// Longest is how long after its proof a step with a TTL may stand when people
// extend it; 0 for a step without one.
func (s Step) Longest() time.Duration { return cmp.Or(s.MaxTTL, 2*s.TTL) }
