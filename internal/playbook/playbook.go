package playbook

import (
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Language is the version of the language: the value of the "playbook" key.
const Language = "v1"

// What may start a playbook.
const (
	OnSignal = "signal.received" // a signal of the identity arrived or changed
	OnRisk   = "risk.changed"    // its assessment changed
	OnCase   = "case.opened"     // a case was opened or reopened
	OnManual = "manual"          // a person asked
)

// A Playbook is one checked playbook. It is immutable.
type Playbook struct {
	Ref    Ref
	File   string
	Text   string // as it was written; Ref.Hash is its SHA-256
	Title  string
	Owner  string   // the group that answers for it, and by default for its approvals
	Attack []string // ATT&CK techniques
	Mode   Mode
	Pilot  []string       // groups whose members it is enforced on, and observed on everybody else; empty: on everybody
	Causes []signal.Cause // what the attacker got hold of when the trigger holds; empty: not said

	Trigger Trigger
	Guards  Guards
	Steps   []StepRule // parallel ones one after the other, with their Group
	Done    Done
}

// A Trigger says when a playbook starts.
type Trigger struct {
	On      []string
	When    string // CEL, boolean
	OnceKey string // CEL, string; "" when Window is 0
	Window  time.Duration
	Settle  time.Duration

	when, key *program
}

// Guards are what stops a playbook. They can only tighten what the tenant allows.
type Guards struct {
	MaxTargets int // identities one plan may change
	Refuse     []Refusal
	Rate       *RateRule // nil: only the tenant's limits count
}

// A RateRule bounds how many runs may change something in a while.
type RateRule struct {
	Key   string // CEL, text: runs with the same key are counted together
	Limit int
	Per   time.Duration
	Over  Over

	key *program
}

// Over says what becomes of a run over its rate.
type Over string

// What may become of it.
const (
	OverHold   Over = "hold"   // it waits until there is room
	OverRefuse Over = "refuse" // it does nothing
)

// Done says what the end of a run means.
type Done struct {
	ContainedWhen string // CEL, boolean over steps; "": when every step that contains is verified
	Undo          bool   // a run that fails takes back what it did
	Page          bool   // people are told at once of a run that fails
	Hold          bool   // a run that fails ends held, for a person to decide

	contained *program
}

// The words of done.on_failure.
const (
	failureUndo = "undo"
	failurePage = "page"
	failureHold = "hold"
)

// A Refusal is one guard: when it holds, nothing is done, and why says so.
type Refusal struct {
	When string // CEL, boolean
	Why  string

	when *program
}

// A StepRule is one step as a playbook says it, before a plan binds it to an
// account.
type StepRule struct {
	ID       string
	Title    string // "" means the action's
	Uses     action.Name
	Version  int
	With     map[string]any
	If       string // CEL, boolean; "" means always
	After    After
	Approval *approval.Rule // nil: by default, see Library.Plan
	Within   time.Duration  // 0 means the action's
	OnError  OnError
	Contains bool
	Accepted bool // irreversible: accepted

	Kind      Kind
	Group     string // the parallel it stands in; "": by itself
	ForEach   string // CEL, list of texts: the step is done once for each; "": once
	As        string // what an element is called
	Max       int    // for_each: more than so many are held
	Account   string // CEL, text: the key of the account; "": the identity's first in the action's directory
	TTL       time.Duration
	MaxTTL    time.Duration // how long it stands at most when people extend it; 0: twice the TTL
	Timeout   time.Duration
	Until     string        // wait: CEL, boolean
	Ask       question.Who  // ask: who is asked
	Wait      time.Duration // wait, ask: at most
	OnTimeout OnTimeout
	End       End
	Note      string

	line, column int
	cond         *program
	lang         *language // with the name of for_each in it
	each, until  *program
	account      *program
	inputs       map[string]*program // ${{ }} in with
	sameAs       string
	specs        []action.Spec // what it may turn out to be

	node   *yaml.Node // while it is read
	fields map[string]*yaml.Node
}
