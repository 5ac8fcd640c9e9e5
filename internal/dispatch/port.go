// Package dispatch is the last gate and the only way out. It takes approved
// actions in sets, asks the gate, writes intents before anything leaves, sends,
// writes outcomes, and reads back until the authoritative directory proves them.
// One owner per tenant holds a fenced lease; whatever its predecessor left
// unknown is read before anything is repeated.
package dispatch

import (
	"context"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Lease says who may dispatch for a tenant. Fence rises with each new owner.
type Lease struct {
	Tenant identity.Tenant
	Owner  string
	Fence  int64
	Until  time.Time
	Taken  bool // this call took it over from another owner or from nobody
}

// A Stop is the global stop of a tenant ("" is all tenants).
type Stop struct {
	On     bool              `json:"on"`
	By     access.OperatorID `json:"by,omitempty"`
	Reason string            `json:"reason,omitempty"`
	At     time.Time         `json:"at,omitzero"`
}

// Store keeps actions as dispatch sees them. Implementations pass storetest.
type Store interface {
	// Update calls change in one transaction, as run.Store's does.
	Update(ctx context.Context, change func(Tx) error) error
	// Ready returns actions with one of the names that are approved with NextAt zero
	// or not after now, or held with NextAt set and not after now (a hold without
	// NextAt waits for a person), ordered by Turn, then oldest RequestedAt, then id; at most
	// limit. One of a campaign counts only while the campaign goes (State.Goes) and
	// has released its place.
	Ready(ctx context.Context, t identity.Tenant, names []action.Name, now time.Time, limit int) ([]action.Action, error)
	// Unproven returns actions with one of the names (nil: any) that are running,
	// accepted or unconfirmed, with NextAt set and not after now, oldest NextAt first,
	// then id, at most limit.
	Unproven(ctx context.Context, t identity.Tenant, names []action.Name, now time.Time, limit int) ([]action.Action, error)
	// NextDue returns the earliest NextAt after a time, of actions that are approved,
	// held, running, accepted or unconfirmed, and false when there is none.
	NextDue(ctx context.Context, t identity.Tenant, after time.Time) (time.Time, bool, error)
	// Acquire takes or renews the tenant's lease for owner until now+ttl. It
	// returns fault.Conflict when another owner holds an unexpired one. Taking it
	// raises the fence and sets Taken; renewing it does neither.
	Acquire(ctx context.Context, t identity.Tenant, owner string, now time.Time, ttl time.Duration) (Lease, error)
	// Release gives the lease up when its owner still holds it with its fence; else
	// it does nothing.
	Release(ctx context.Context, l Lease) error
	// Intents returns name and time of every intent written not before since, oldest
	// first: what a new owner rebuilds its budget from. A store may forget the
	// earlier attempts of an action.
	Intents(ctx context.Context, t identity.Tenant, since time.Time) ([]Spent, error)
}

// A Spent is one intent as the budget sees it.
type Spent struct {
	Name action.Name
	At   time.Time
}

// A Reach asks how far recent changes reached.
type Reach struct {
	Names    []action.Name // the disruptive actions
	Since    time.Time     // intents not before it count
	Playbook string        // for Radius.Playbook
	But      identity.ID   // not counted: whoever was reached already may be reached again
}

// A Radius is how many different identities were reached: an action with one of
// the names has an IntentAt in the time asked for, whatever became of it. Undo
// actions (UndoOf set) and those of a campaign do not count: a campaign's reach is
// the list that people approved.
type Radius struct {
	Everywhere int // over all tenants
	Tenant     int
	Playbook   int // in the tenant, by actions of the playbook
}

// Tx is one transaction as dispatch sees it.
type Tx interface {
	// AheadOfActions says which actions the change is about to ask for, with their
	// runs and identities, so that they are read together. It changes nothing of what
	// the other methods return.
	AheadOfActions(t identity.Tenant, actions []action.Action) error
	Run(t identity.Tenant, id run.ID) (run.Run, error)
	Action(t identity.Tenant, id action.ID) (action.Action, error)
	PutAction(a action.Action) (action.Action, error)
	Identity(t identity.Tenant, id identity.ID) (identity.Identity, error)
	PutIdentity(i identity.Identity) (identity.Identity, error)
	// IdentitiesByKeys returns the identities that own any of the keys.
	IdentitiesByKeys(t identity.Tenant, keys []identity.Key) ([]identity.Identity, error)
	Directory(t identity.Tenant) (connector.DirectoryFacts, error)
	SignalsOf(t identity.Tenant, id identity.ID) ([]signal.Signal, error)
	Assessment(t identity.Tenant, id identity.ID) (risk.Assessment, error)
	// Stop returns the stop in force for the tenant: its own or the global one.
	Stop(t identity.Tenant) (Stop, error)
	PutStop(t identity.Tenant, s Stop) error
	// Fence returns the fence of the tenant's present lease.
	Fence(t identity.Tenant) (int64, error)
	// Disruptions counts the identities that recent intents reached, those written
	// earlier in this transaction included.
	Disruptions(t identity.Tenant, r Reach) (Radius, error)
	// Touched returns those of the accounts (identity.Account.Key, of the action's
	// Account) that an action with one of the names and an IntentAt not before since
	// is about, whatever became of it, sorted: on the account itself or on another of
	// its identity. What this transaction wrote counts.
	Touched(t identity.Tenant, accounts []string, names []action.Name, since time.Time) ([]string, error)
	// Campaign returns fault.NotFound when there is none.
	Campaign(t identity.Tenant, id campaign.ID) (campaign.Campaign, error)
	Audit(e audit.Entry) error
	NewID(prefix string) string
}
