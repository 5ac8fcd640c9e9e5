// Package playbook is response as code: it parses and checks playbooks (YAML
// with CEL conditions), matches them to what happened, and makes plans. A plan
// is a readable list of changes whose hash people approve. It is pure: no I/O,
// no clock.
package playbook

import (
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/identity"
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
	// On is what happened: "signal.received", "risk.changed", "case.opened", "manual".
	On  []string
	Now time.Time
}

// A Plan is what a run will do. Its Hash covers the playbook's hash, the
// catalogue's version, the tenant, the identity, the ordered steps with targets,
// parameters and preconditions; it leaves out texts that change without changing
// what is done: score, times, cost, the present state.
type Plan struct {
	Playbook  Ref             `json:"playbook"`
	Title     string          `json:"title"`
	Mode      Mode            `json:"mode"`
	Catalogue string          `json:"catalogue"`
	Tenant    identity.Tenant `json:"tenant"`
	Identity  identity.ID     `json:"identity"`
	Steps     []Step          `json:"steps"`

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

// A Step is one change of a plan, bound to one account.
type Step struct {
	ID      string         `json:"id"`
	Title   string         `json:"title"`
	Uses    action.Name    `json:"uses"`   // as the playbook says it, a route perhaps
	Action  action.Name    `json:"action"` // the concrete one; empty when held for want of an arm
	Account identity.Ref   `json:"account"`
	Params  map[string]any `json:"params,omitempty"`

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
