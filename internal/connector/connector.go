// Package connector is the contract of everything that brings signals and facts
// in. A connector converts at the edge, keeps the raw record, and neither
// retries nor stores.
package connector

import (
	"context"
	"iter"
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Name names a connector's stream within a tenant, such as
// "entraid.riskDetections". It is the key of its cursor.
type Name string

// A Cursor is a connector's own bookmark, opaque to everybody else. The empty
// cursor means from the beginning of what the source still has.
type Cursor string

// A Page is what one request brought, with the cursor that stands after it. A
// page may be empty and still move the cursor.
type Page struct {
	Signals  []signal.Signal
	Accounts []signal.AccountRisk
	Facts    []AccountFacts
	// Records are what is kept without an opinion; see package record.
	Records []record.Record
	// Directory is set when the page completes a reading of the tenant's roles.
	Directory *DirectoryFacts
	Feeds     []FeedReport // how what stands behind the source fares; all of it, or none
	Rejects   []Reject     // records that could not be read, kept whole with the reason
	Next      Cursor
}

// AccountFacts are facts about one account.
type AccountFacts struct {
	Ref   identity.Ref
	Facts identity.Facts
	// ImmutableID is Entra's onPremisesImmutableId, which joins a synchronised
	// account to the one it comes from; "" when there is none.
	ImmutableID string `json:",omitempty"`
}

// DirectoryFacts are facts about a tenant as a whole.
type DirectoryFacts struct {
	AsOf time.Time `json:"asOf"`
	// UsableGlobalAdmins are the object ids of enabled users with an active
	// Global Administrator assignment.
	UsableGlobalAdmins []string `json:"usableGlobalAdmins"`
	// Holders maps the object id of every account that holds a directory role,
	// active or eligible, to its roles. Who is not in it holds none as of AsOf.
	Holders map[string][]identity.Role `json:"holders"`
	// GroupMembers maps the protected groups' ids to their members' object ids.
	GroupMembers map[string][]string `json:"groupMembers,omitempty"`
	// Named says whose the protected user principal names are, in lower case: the
	// account's object id, or "" for nobody's.
	Named map[string]string `json:"named,omitempty"`
	// Connected says which directories Cordon can act in.
	Connected []identity.Provider `json:"connected,omitempty"`
	// Synchronisation is how accounts are tied to Active Directory; nil when that is
	// not connected.
	Synchronisation *identity.Synchronisation `json:"synchronisation,omitempty"`
}

// A Reject is a record that could not be read.
type Reject struct {
	Source signal.Source `json:"source"`
	Place  string        `json:"place"` // file and line, or page and index
	Reason string        `json:"reason"`
	Raw    []byte        `json:"raw"`
}

// A Source reads one stream of one tenant. Implementations pass
// connectortest.Run.
type Source interface {
	Name() Name

	// Pages yields what changed since c, oldest first as far as the source can
	// sort, and ends when it has caught up. Each page's Next is safe to store with
	// the page: a crash re-reads and never skips. After an error it yields nothing
	// more. The same signal may come twice; two signals never share a Key.
	Pages(ctx context.Context, c Cursor) iter.Seq2[Page, error]
}

// A Lookup reads the facts of single accounts, for identities with an open case
// only. Accounts the directory does not have come back with Found false.
type Lookup interface {
	Facts(ctx context.Context, refs []identity.Ref) ([]AccountFacts, error)
}

// A Reach is a Lookup that says which directories it reads; one that does not reads
// Entra alone.
type Reach interface{ Reaches() []identity.Provider }

// A Recorder is a Lookup that also tells what is too dear to read of everybody and is
// kept as records, such as how somebody can sign in. It is asked for identities with
// an open case only, when their risk changed.
type Recorder interface {
	Records(ctx context.Context, ref identity.Ref) ([]record.Record, error)
}

// A Historian is a Lookup that also tells how the risk of one account came to be
// what it is: every change the source remembers, with who made it, in no order. It
// is asked for identities with an open case only, when their risk changed. An
// account that was never risky has no history.
type Historian interface {
	History(ctx context.Context, ref identity.Ref) ([]signal.AccountRisk, error)
}
