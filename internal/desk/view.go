package desk

import (
	"encoding/json"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Who names an identity for a person to read.
type Who struct {
	Tenant     identity.Tenant `json:"tenant"`
	ID         identity.ID     `json:"id"`
	Name       string          `json:"name"`
	UPN        string          `json:"upn,omitempty"` // of the cloud account, else domain\name
	Kind       identity.Kind   `json:"kind"`
	Privileged string          `json:"privileged"` // "yes", "no" or "unknown"
}

// A Wait is one thing a case waits for.
type Wait struct {
	What     string      `json:"what"` // "approval", "person", "hold", "proof"
	Text     string      `json:"text"` // in words
	Approval approval.ID `json:"approval,omitempty"`
	Action   action.ID   `json:"action,omitempty"`
	Run      run.ID      `json:"run,omitempty"`
	Until    time.Time   `json:"until,omitzero"` // when it expires
}

// A QueueRow is one identity at risk: who, how much, why, and what waits.
type QueueRow struct {
	Case    casefile.Case  `json:"case"`
	Who     Who            `json:"who"`
	Reasons []risk.Reason  `json:"reasons"` // the strongest three
	Waits   []Wait         `json:"waits,omitempty"`
	Run     *RunSummary    `json:"run,omitempty"` // the newest
	Causes  []signal.Cause `json:"causes,omitempty"`
}

// A Queue is one page of the queue with what its head shows.
type Queue struct {
	Rows   []QueueRow    `json:"rows"`
	Next   string        `json:"next,omitempty"`
	Counts Counts        `json:"counts"`
	Stop   dispatch.Stop `json:"stop"`
	At     time.Time     `json:"at"`
}

// A RunSummary is one run in a line.
type RunSummary struct {
	Tenant    identity.Tenant `json:"tenant"`
	ID        run.ID          `json:"id"`
	Case      casefile.ID     `json:"case"`
	Identity  identity.ID     `json:"identity"`
	Name      string          `json:"name"`     // the identity's
	Playbook  string          `json:"playbook"` // Ref.ID
	Title     string          `json:"title"`
	State     run.State       `json:"state"`
	Reason    string          `json:"reason,omitempty"`
	Verified  int             `json:"verified"` // steps
	Steps     int             `json:"steps"`    // steps that are not skipped
	AskedBy   access.Actor    `json:"askedBy"`
	Why       string          `json:"why,omitempty"` // what a person gave as the reason
	StartedAt time.Time       `json:"startedAt"`
	EndedAt   time.Time       `json:"endedAt,omitzero"`
}

// A Fact is one thing a directory said of an account, with its age.
type Fact struct {
	Account  string            `json:"account"`
	Provider identity.Provider `json:"provider"`
	Name     string            `json:"name"`
	Value    string            `json:"value"`
	Known    bool              `json:"known"` // false: never read; no guard takes it as a no
	AsOf     time.Time         `json:"asOf,omitzero"`
}

// An Event is one line of a timeline.
type Event struct {
	At           time.Time      `json:"at"`
	Kind         string         `json:"kind"` // "signal", "risk" (Microsoft's opinion), "judged" (what was made of an alert or incident at Defender), "assessment", "record", or an audit kind such as "action.verified"
	Text         string         `json:"text"`
	Actor        access.Actor   `json:"actor,omitempty"`
	Level        signal.Level   `json:"level,omitempty"`  // of signals, opinions and sign-ins
	Source       signal.Source  `json:"source,omitempty"` // signals only
	Signal       string         `json:"signal,omitempty"` // ExternalID
	Type         string         `json:"type,omitempty"`   // the source's own word for it
	Record       string         `json:"record,omitempty"` // a record's ExternalID, of RecordSource
	RecordSource string         `json:"recordSource,omitempty"`
	Run          run.ID         `json:"run,omitempty"`
	Action       action.ID      `json:"action,omitempty"`
	Data         map[string]any `json:"data,omitempty"` // evidence; only for who may read the trail
}

// An IdentityView is all that is known of one identity.
type IdentityView struct {
	Who            Who                 `json:"who"`
	Identity       identity.Identity   `json:"identity"`
	Authority      identity.Provider   `json:"authority,omitempty"`
	AuthorityKnown bool                `json:"authorityKnown"`
	Roles          []identity.Role     `json:"roles,omitempty"`
	Facts          []Fact              `json:"facts"`
	Protection     identity.Protection `json:"protection"`
	Assessment     *risk.Assessment    `json:"assessment,omitempty"` // nil: never assessed
	Work
	Case      *casefile.Case  `json:"case,omitempty"`    // the open one
	Earlier   []casefile.Case `json:"earlier,omitempty"` // closed ones, newest of the store's order first
	Runs      []RunSummary    `json:"runs"`
	Waits     []Wait          `json:"waits,omitempty"`
	Timeline  []Event         `json:"timeline"` // newest first
	Truncated bool            `json:"truncated,omitempty"`
	At        time.Time       `json:"at"` // when the view was made; ages count from here
}

// A CaseView is one case with its evidence.
type CaseView struct {
	Case       casefile.Case    `json:"case"`
	Who        Who              `json:"who"`
	Assessment *risk.Assessment `json:"assessment,omitempty"`
	Work
	// Proposal is the verdict that Defender's classifications amount to; nil: none.
	Proposal *casefile.Proposal `json:"proposal,omitempty"`
	// Verdicts says what each verdict would do; none once it was given.
	Verdicts      []Consequence          `json:"verdicts,omitempty"`
	Investigation casefile.Investigation `json:"investigation"`
	// Detections is what the catalogue says of the open signals, each kind once, the
	// highest level first: what to ask and what to do.
	Detections []detection.Entry `json:"detections,omitempty"`
	Waits      []Wait            `json:"waits,omitempty"`
	Runs       []RunSummary      `json:"runs"`
	Timeline   []Event           `json:"timeline"`
	Truncated  bool              `json:"truncated,omitempty"`
	At         time.Time         `json:"at"`
}

// A StepView is one step of a plan and where it stands.
type StepView struct {
	playbook.Step
	State  run.StepState `json:"state"`
	Reason string        `json:"reason,omitempty"`
	Now    string        `json:"now"`             // the present state in words, before the change; "not known" when it is not
	Breaks string        `json:"breaks"`          // what stops working, in words
	Undone string        `json:"undone"`          // how it is undone, or why it cannot be
	Cost   string        `json:"cost"`            // requests and the limit they count against
	Doing  *ActionView   `json:"doing,omitempty"` // its action, once there is one
	Asks   approval.ID   `json:"asks,omitempty"`  // the request that covers it
}

// A RunView is one run: its plan with every step, and how far each is.
type RunView struct {
	Run       RunSummary         `json:"run"`
	Who       Who                `json:"who"`
	Ref       playbook.Ref       `json:"ref"`
	Trigger   string             `json:"trigger,omitempty"`
	Plan      *playbook.Plan     `json:"plan,omitempty"` // nil while it settles
	Steps     []StepView         `json:"steps"`
	Approvals []approval.Request `json:"approvals,omitempty"`
	Others    []ActionView       `json:"others,omitempty"` // actions of the run that no step of the plan names
	CanUndo   bool               `json:"canUndo"`
	Version   int64              `json:"version"` // rises with every change of the run, its actions and approvals
	At        time.Time          `json:"at"`
}

// An ApprovalView is a request with the plan it binds.
type ApprovalView struct {
	Request   approval.Request `json:"request"`
	Who       Who              `json:"who"`
	Plan      *playbook.Plan   `json:"plan,omitempty"`
	Steps     []StepView       `json:"steps"` // those the answer is about
	Others    []StepView       `json:"others,omitempty"`
	CanAnswer bool             `json:"canAnswer"`
	WhyNot    string           `json:"whyNot,omitempty"` // why this operator cannot answer
	At        time.Time        `json:"at"`
}

// An ActionView is one action without its ciphertext.
type ActionView struct {
	ID       action.ID       `json:"id"`
	Tenant   identity.Tenant `json:"tenant"`
	Run      string          `json:"run"`
	Case     string          `json:"case"`
	Identity identity.ID     `json:"identity"`
	Step     string          `json:"step"`
	Playbook string          `json:"playbook"`
	PlanHash string          `json:"planHash"`
	Name     action.Name     `json:"name"`
	Title    string          `json:"title"`
	Account  identity.Ref    `json:"account"`
	Params   map[string]any  `json:"params,omitempty"`
	Lane     action.Lane     `json:"lane"`

	State      action.State    `json:"state"`
	Reason     string          `json:"reason,omitempty"`
	Person     bool            `json:"person,omitempty"`
	Before     json.RawMessage `json:"before,omitempty"`
	BeforeText string          `json:"beforeText,omitempty"`
	Proof      string          `json:"proof,omitempty"`
	Sealed     bool            `json:"sealed,omitempty"` // it holds a hand-over's ciphertext

	Attempt         int            `json:"attempt"`
	ClientRequestID string         `json:"clientRequestId,omitempty"`
	RequestID       string         `json:"requestId,omitempty"`
	Outcome         action.Verdict `json:"outcome,omitempty"`

	RequestedAt time.Time `json:"requestedAt,omitzero"`
	ApprovedAt  time.Time `json:"approvedAt,omitzero"`
	IntentAt    time.Time `json:"intentAt,omitzero"`
	AcceptedAt  time.Time `json:"acceptedAt,omitzero"`
	VerifiedAt  time.Time `json:"verifiedAt,omitzero"`
	EndedAt     time.Time `json:"endedAt,omitzero"`
	NextAt      time.Time `json:"nextAt,omitzero"`
	Deadline    time.Time `json:"deadline,omitzero"`
	ExpiresAt   time.Time `json:"expiresAt,omitzero"` // when it is taken back by itself

	UndoOf   action.ID `json:"undoOf,omitempty"`
	UndoneBy action.ID `json:"undoneBy,omitempty"`
	CanUndo  bool      `json:"canUndo"`
	WhyNot   string    `json:"whyNot,omitempty"` // why it cannot be undone now
}

// A PlaybookView is one playbook that can be started by hand.
type PlaybookView struct {
	Ref   playbook.Ref  `json:"ref"`
	Title string        `json:"title"`
	Mode  playbook.Mode `json:"mode"`
}
