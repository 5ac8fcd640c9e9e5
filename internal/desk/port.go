// Package desk is what operators see and do: the queue, the views of an
// identity, a case, a run, an approval and an action, and the commands approve,
// reject, undo, hold, verdict, start and hand over. Every method checks the
// operator's permissions itself, so that console, API and command line cannot
// differ in what they allow.
package desk

import (
	"context"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Store is what the desk reads and writes. Implementations pass storetest.
//
// Gets return fault.NotFound. In gets and filters an empty tenant means any:
// ids made by NewID are unique across tenants. Lists are paged by key: the same
// filter with Page.After set to the List.Next of the previous page goes on where
// it ended, without skipping rows that stayed and without repeating any; a
// cursor the store did not make is fault.Invalid.
type Store interface {
	CaseStore

	// Update calls change in one transaction, as run.Store's does.
	Update(ctx context.Context, change func(Tx) error) error
	// View calls read on one state of the store, beside whoever writes: a page that is
	// looked at delays no containment. A change in it is fault.Conflict and is not made.
	View(ctx context.Context, read func(Tx) error) error
	// Brake is Update for what keeps changes from leaving: it goes before every other
	// change that waits.
	Brake(ctx context.Context, change func(Tx) error) error

	// Cases are ordered for work: highest level, then highest score, then latest
	// signal, then id.
	Cases(ctx context.Context, f CaseFilter, p Page) (List[casefile.Case], error)
	// Identities are ordered by name without regard to case, then id.
	Identities(ctx context.Context, f IdentityFilter, p Page) (List[identity.Identity], error)
	// Signals are current versions, newest Signal.At first.
	Signals(ctx context.Context, f SignalFilter, p Page) (List[signal.Signal], error)
	// Runs are newest StartedAt first.
	Runs(ctx context.Context, f RunFilter, p Page) (List[run.Run], error)
	// Approvals are newest AskedAt first.
	Approvals(ctx context.Context, f ApprovalFilter, p Page) (List[approval.Request], error)
	// Actions are newest RequestedAt first.
	Actions(ctx context.Context, f ActionFilter, p Page) (List[action.Action], error)
	// AuditEntries are in the reverse of the order in which they were committed.
	AuditEntries(ctx context.Context, f AuditFilter, p Page) (List[audit.Entry], error)

	Case(ctx context.Context, t identity.Tenant, id casefile.ID) (casefile.Case, error)
	Identity(ctx context.Context, t identity.Tenant, id identity.ID) (identity.Identity, error)
	Signal(ctx context.Context, k signal.Key) (signal.Signal, error)
	Run(ctx context.Context, t identity.Tenant, id run.ID) (run.Run, error)
	Approval(ctx context.Context, t identity.Tenant, id approval.ID) (approval.Request, error)
	Action(ctx context.Context, t identity.Tenant, id action.ID) (action.Action, error)
	Question(ctx context.Context, t identity.Tenant, id question.ID) (question.Question, error)

	// Assessment returns the identity's latest assessment, and fault.NotFound when
	// it was never assessed.
	Assessment(ctx context.Context, t identity.Tenant, id identity.ID) (risk.Assessment, error)
	// Directory returns the zero value when it was never read.
	Directory(ctx context.Context, t identity.Tenant) (connector.DirectoryFacts, error)
	// FindAccount returns the identities one of whose accounts has the given
	// object id, SID or UPN, without regard to case.
	FindAccount(ctx context.Context, t identity.Tenant, name string) ([]identity.Identity, error)
	// Stop returns the stop in force for the tenant: its own or the global one.
	Stop(ctx context.Context, t identity.Tenant) (dispatch.Stop, error)

	// Campaigns are newest AskedAt first.
	Campaigns(ctx context.Context, f CampaignFilter, p Page) (List[campaign.Campaign], error)
	Campaign(ctx context.Context, t identity.Tenant, id campaign.ID) (campaign.Campaign, error)
	// CampaignItems are in the order in which they go.
	CampaignItems(ctx context.Context, t identity.Tenant, id campaign.ID, p Page) (List[CampaignItem], error)
	// CampaignProgress is campaign.Store's Progress.
	CampaignProgress(ctx context.Context, t identity.Tenant, id campaign.ID, released int) (campaign.Progress, error)

	// Kinds counts the signals of each source and type, for the tenant or for all:
	// the most frequent first, then by source and type. Title and Detector are empty.
	// It reads all signals.
	Kinds(ctx context.Context, t identity.Tenant) ([]detection.Kind, error)
	// Feeds returns how the feeds of the tenant, or of all, fare, sorted by tenant
	// and stream.
	Feeds(ctx context.Context, t identity.Tenant) ([]connector.FeedState, error)
	// Count counts what waits, for the tenant or for all.
	Count(ctx context.Context, t identity.Tenant) (Counts, error)
	// Pulse returns a number that rises with every committed audit entry. It is
	// cheap enough to be asked twice a second.
	Pulse(ctx context.Context) (int64, error)
	// Sealed returns actions that still hold ciphertext and whose intent was
	// written not after before, oldest first, at most limit.
	Sealed(ctx context.Context, before time.Time, limit int) ([]action.Action, error)
}

// Tx is one transaction as the desk sees it. See run.Tx for the rules of puts.
type Tx interface {
	run.Tx
	CaseTx

	PutAssessment(a risk.Assessment) error
	// FindAccount is Store.FindAccount inside the transaction.
	FindAccount(t identity.Tenant, name string) ([]identity.Identity, error)
	// Stop returns the stop in force for the tenant: its own or the global one.
	Stop(t identity.Tenant) (dispatch.Stop, error)
	PutStop(t identity.Tenant, s dispatch.Stop) error

	Campaign(t identity.Tenant, id campaign.ID) (campaign.Campaign, error)
	PutCampaign(c campaign.Campaign) (campaign.Campaign, error)
	PutItems(t identity.Tenant, id campaign.ID, items []campaign.Item) error
	Items(t identity.Tenant, id campaign.ID, from, limit int) ([]campaign.Item, error)
	RunsOfCampaign(t identity.Tenant, id campaign.ID, after run.ID, limit int) ([]run.ID, error)
}

// Page says which part of a list is wanted.
type Page struct {
	After string // a List.Next; empty for the beginning
	Limit int    // rows wanted; 0 means 50, more than 500 means 500
}

// Size returns the number of rows a page holds at most: 1 to 500.
func (p Page) Size() int {
	switch {
	case p.Limit <= 0:
		return 50
	case p.Limit > 500:
		return 500
	}
	return p.Limit
}

// A List is one page of a list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"` // for Page.After; empty when nothing follows
}

// CaseFilter narrows cases; zero fields do not.
type CaseFilter struct {
	Tenant   identity.Tenant
	Identity identity.ID
	Status   []casefile.Status // any of them; empty: all
	MinLevel signal.Level      // this level or higher, by Level.Rank
	Name     string            // contained in the name, without regard to case
}

// IdentityFilter narrows identities; zero fields do not.
type IdentityFilter struct {
	Tenant identity.Tenant
	Kind   identity.Kind
	Name   string // contained in the name or in an account's UPN, without regard to case
}

// SignalFilter narrows signals; zero fields do not.
type SignalFilter struct {
	Tenant   identity.Tenant
	Identity identity.ID
	Source   signal.Source
	Type     string
	MinLevel signal.Level
	Since    time.Time // Signal.At not before
}

// RunFilter narrows runs; zero fields do not.
type RunFilter struct {
	Tenant   identity.Tenant
	Case     casefile.ID
	Identity identity.ID
	Playbook string // Ref.ID
	State    []run.State
}

// ApprovalFilter narrows approvals; zero fields do not.
type ApprovalFilter struct {
	Tenant   identity.Tenant
	Run      run.ID
	Case     casefile.ID
	Identity identity.ID
	State    []approval.State
}

// ActionFilter narrows actions; zero fields do not.
type ActionFilter struct {
	Tenant   identity.Tenant
	Run      run.ID
	Case     casefile.ID
	Identity identity.ID
	Name     action.Name
	State    []action.State
	Person   bool // only those that wait for a person
}

// CampaignFilter narrows campaigns; zero fields do not.
type CampaignFilter struct {
	Tenant identity.Tenant
	Open   bool // only those that are not over
}

// A CampaignItem is one identity of a campaign with how its run stands.
type CampaignItem struct {
	campaign.Item
	State run.State `json:"state,omitempty"` // "": its run was not begun
}

// AuditFilter narrows audit entries; zero fields do not.
type AuditFilter struct {
	Tenant   identity.Tenant
	Identity identity.ID
	Case     casefile.ID
	Run      run.ID
	Action   action.ID
	Approval approval.ID
	Kind     []audit.Kind
	Since    time.Time // At not before
}

// Counts is what the head of the queue shows.
type Counts struct {
	Cases     map[casefile.Status]int `json:"cases"`     // by status, closed ones too
	Approvals int                     `json:"approvals"` // pending
	Persons   int                     `json:"persons"`   // actions that wait for a person
}
