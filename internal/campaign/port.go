package campaign

import (
	"context"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// Store keeps campaigns. Implementations pass storetest.
type Store interface {
	// Update calls change in one transaction, as run.Store's does.
	Update(ctx context.Context, change func(Tx) error) error
	// Open returns the campaigns that are not over (Campaign.Over), oldest first.
	Open(ctx context.Context) ([]Campaign, error)
	// Progress counts the runs of the items whose place is below released.
	Progress(ctx context.Context, t identity.Tenant, id ID, released int) (Progress, error)
}

// Tx is one transaction as campaigns see it. See run.Tx for the rules of puts.
type Tx interface {
	run.Tx

	Campaign(t identity.Tenant, id ID) (Campaign, error)
	PutCampaign(c Campaign) (Campaign, error)
	// PutItems stores the items of a campaign; one that is there already is
	// replaced.
	PutItems(t identity.Tenant, id ID, items []Item) error
	// Items returns the items from a place on, in order, at most limit.
	Items(t identity.Tenant, id ID, from, limit int) ([]Item, error)
	// RunsOfCampaign returns the ids of its runs that are not final, those after an
	// id, in order, at most limit.
	RunsOfCampaign(t identity.Tenant, id ID, after run.ID, limit int) ([]run.ID, error)
}
