// Package ingest takes pages from connectors: it stores each page with its
// cursor, resolves identities, re-assesses them, updates their cases and asks
// the playbooks. All consequences of one page commit together or not at all.
package ingest

import (
	"context"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Put says what storing a signal did.
type Put string

// What storing did.
const (
	PutNew       Put = "new"
	PutUpdated   Put = "updated"   // a newer version; the earlier one is kept
	PutDuplicate Put = "duplicate" // the same version again
	PutOlder     Put = "older"     // an earlier version came late; it is kept as history
)

// Store keeps what ingest writes. Implementations pass storetest.
type Store interface {
	// Update is run.Store's Update with a wider view.
	Update(ctx context.Context, change func(Tx) error) error
	// Later is Update for what nobody waits for: every other change that waits goes
	// first.
	Later(ctx context.Context, change func(Tx) error) error
	// Cursor returns the cursor of a stream, empty when it has none.
	Cursor(ctx context.Context, t identity.Tenant, n connector.Name) (connector.Cursor, error)
	// StaleFacts returns accounts of identities with an open case whose facts were
	// never read or not since before, at most limit: accounts in the directories in
	// reach, in Entra when none is named.
	StaleFacts(ctx context.Context, t identity.Tenant, before time.Time, limit int, reach ...identity.Provider) ([]identity.Ref, error)
	// FactsOf returns what is known of the accounts that refs name, by Ref.Keys.
	FactsOf(ctx context.Context, t identity.Tenant, refs []identity.Ref) ([]connector.AccountFacts, error)
}

// Tx is one transaction as ingest sees it. See run.Tx for the rules of puts.
type Tx interface {
	run.Tx

	// Ahead says which subjects and signals the change is about to ask for, so that
	// they are read together. It changes nothing of what the other methods return.
	Ahead(t identity.Tenant, subjects []identity.Ref, signals []signal.Key) error
	// AheadOf says the same of identities with all that an assessment and a plan rest
	// on.
	AheadOf(t identity.Tenant, ids []identity.ID) error

	// PutSignal stores s as a signal of the identity. The current version is the
	// newest by Signal.Newer; all versions are kept. What says the same in another
	// envelope is PutDuplicate: nothing follows from it.
	PutSignal(s signal.Signal, owner identity.ID) (Put, error)
	// SignalOwner returns whose signal it is, and false when there is no such signal.
	SignalOwner(k signal.Key) (identity.ID, bool, error)
	PutAccountRisk(r signal.AccountRisk, owner identity.ID) (Put, error)
	// PutRecords stores records that have no Problem and returns what it did with
	// each, in their order. The newest version by Record.Newer is kept, the others
	// are not: records are many.
	PutRecords(list []record.Record, at time.Time) ([]Put, error)
	PutReject(t identity.Tenant, n connector.Name, r connector.Reject, at time.Time) error
	PutCursor(t identity.Tenant, n connector.Name, c connector.Cursor, at time.Time) error

	// IdentitiesByKeys returns the identities that own any of the keys.
	IdentitiesByKeys(t identity.Tenant, keys []identity.Key) ([]identity.Identity, error)
	// PutIdentity stores i and its keys; it returns fault.Conflict when a key is
	// owned by another identity.
	PutIdentity(i identity.Identity) (identity.Identity, error)
	PutDirectory(t identity.Tenant, d connector.DirectoryFacts) error

	// Feeds returns the states of the tenant's feeds, sorted by stream.
	Feeds(t identity.Tenant) ([]connector.FeedState, error)
	PutFeed(f connector.FeedState) error
	// DropFeed forgets a feed; one that is not there is no error.
	DropFeed(t identity.Tenant, n connector.Name) error

	// OpenCase returns the identity's case without a verdict, and false when there
	// is none.
	OpenCase(t identity.Tenant, id identity.ID) (casefile.Case, bool, error)
	// LastVerdict returns the newest verdict over the identity's closed cases.
	LastVerdict(t identity.Tenant, id identity.ID) (casefile.Verdict, bool, error)
	PutAssessment(a risk.Assessment) error
	// Exceptions are the tenant's, ended ones too.
	Exceptions(t identity.Tenant) ([]risk.Exception, error)
}
