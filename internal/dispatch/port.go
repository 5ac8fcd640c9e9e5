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
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
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
	// Ready returns actions that are approved, or held with NextAt not after now,
	// ordered by lane, then level of age: oldest RequestedAt first, at most limit.
	Ready(ctx context.Context, t identity.Tenant, now time.Time, limit int) ([]action.Action, error)
	// Unproven returns actions that are running, accepted or unconfirmed, with
	// NextAt not after now, oldest NextAt first, at most limit.
	Unproven(ctx context.Context, t identity.Tenant, now time.Time, limit int) ([]action.Action, error)
	// NextDue returns the earliest NextAt of actions that are not final, and false
	// when there is none.
	NextDue(ctx context.Context, t identity.Tenant) (time.Time, bool, error)
	// Acquire takes or renews the tenant's lease for owner until now+ttl. It
	// returns fault.Conflict when another owner holds an unexpired one.
	Acquire(ctx context.Context, t identity.Tenant, owner string, now time.Time, ttl time.Duration) (Lease, error)
	// Release gives the lease up when owner holds it.
	Release(ctx context.Context, l Lease) error
	// Intents returns, by bucket name, when intents were written since a time: what
	// a new owner rebuilds its budget from.
	Intents(ctx context.Context, t identity.Tenant, since time.Time) ([]Spent, error)
}

// A Spent is one intent as the budget sees it.
type Spent struct {
	Name action.Name
	At   time.Time
}

// Tx is one transaction as dispatch sees it.
type Tx interface {
	Run(t identity.Tenant, id run.ID) (run.Run, error)
	Action(t identity.Tenant, id action.ID) (action.Action, error)
	PutAction(a action.Action) (action.Action, error)
	Identity(t identity.Tenant, id identity.ID) (identity.Identity, error)
	PutIdentity(i identity.Identity) (identity.Identity, error)
	Directory(t identity.Tenant) (connector.DirectoryFacts, error)
	// Stop returns the stop in force for the tenant: its own or the global one.
	Stop(t identity.Tenant) (Stop, error)
	PutStop(t identity.Tenant, s Stop) error
	// Fence returns the fence of the tenant's present lease.
	Fence(t identity.Tenant) (int64, error)
	// Disruptions counts the accounts for which an intent with one of the effects
	// was written since a time, by any run, and by the given playbook.
	Disruptions(t identity.Tenant, effects []action.Name, since time.Time, playbook string) (all, ofPlaybook int, err error)
	Audit(e audit.Entry) error
	NewID(prefix string) string
}
