package run

import (
	"context"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Store keeps runs and what hangs on them. Implementations pass storetest.
type Store interface {
	// Update calls change in one transaction and commits everything it wrote, or
	// nothing when it returns an error. change is called again when another writer
	// got in first, so it must depend on nothing but what it reads through Tx.
	Update(ctx context.Context, change func(Tx) error) error
	// DueRuns returns the ids of runs that are not final and whose DueAt is not
	// after now, or one of whose actions or approvals changed since the run did;
	// oldest first, at most limit.
	DueRuns(ctx context.Context, now time.Time, limit int) ([]Key, error)
	// DueExpiries returns verified actions whose ExpiresAt is set and not after now,
	// earliest first, at most limit.
	DueExpiries(ctx context.Context, now time.Time, limit int) ([]action.Action, error)
	// DueApprovals returns pending requests whose ExpiresAt is not after now.
	DueApprovals(ctx context.Context, now time.Time, limit int) ([]approval.Request, error)
}

// A Key names a run across tenants.
type Key struct {
	Tenant identity.Tenant
	ID     ID
}

// A Reader reads what a match, a plan or a condition rests on.
type Reader interface {
	Identity(t identity.Tenant, id identity.ID) (identity.Identity, error)
	SignalsOf(t identity.Tenant, id identity.ID) ([]signal.Signal, error)
	Assessment(t identity.Tenant, id identity.ID) (risk.Assessment, error)
	Directory(t identity.Tenant) (connector.DirectoryFacts, error) // the zero value when never read
}

// Tx is one transaction as runs see it. Gets return fault.NotFound. Puts with an
// empty ID or zero Version insert and give the ID; other puts compare the
// Version and return fault.Conflict when another writer got in first. Each
// returns the value as stored, Version raised. Rows may be kept back and written
// together: that the database refuses one is told at the latest by Update.
type Tx interface {
	// AheadOfRuns says that runs are about to be moved: an implementation may read
	// what they rest on together. It changes nothing.
	AheadOfRuns(t identity.Tenant, ids []ID) error
	Run(t identity.Tenant, id ID) (Run, error)
	PutRun(r Run) (Run, error)
	// RecentRun returns the newest run of the playbook with the key started not
	// before since, and false when there is none.
	RecentRun(t identity.Tenant, playbookID, onceKey string, since time.Time) (Run, bool, error)
	// RunsAtRate counts the runs of the playbook with the rate key whose plan was
	// made not before since.
	RunsAtRate(t identity.Tenant, playbookID, rateKey string, since time.Time) (int, error)
	RunsOfCase(t identity.Tenant, c casefile.ID) ([]Run, error)

	Action(t identity.Tenant, id action.ID) (action.Action, error)
	PutAction(a action.Action) (action.Action, error)
	ActionsOfRun(t identity.Tenant, id ID) ([]action.Action, error)
	// ActiveEffect returns an action with the effect key that is neither failed,
	// refused, expired, cancelled nor reverted, requested not before since: the
	// newest when there are several.
	ActiveEffect(t identity.Tenant, effect string, since time.Time) (action.Action, bool, error)

	Approval(t identity.Tenant, id approval.ID) (approval.Request, error)
	PutApproval(r approval.Request) (approval.Request, error)
	ApprovalsOfRun(t identity.Tenant, id ID) ([]approval.Request, error)

	Question(t identity.Tenant, id question.ID) (question.Question, error)
	PutQuestion(q question.Question) (question.Question, error)
	QuestionsOfRun(t identity.Tenant, id ID) ([]question.Question, error)

	Case(t identity.Tenant, id casefile.ID) (casefile.Case, error)
	PutCase(c casefile.Case) (casefile.Case, error)
	// OpenCase returns the identity's case without a verdict, and false when there is
	// none.
	OpenCase(t identity.Tenant, id identity.ID) (casefile.Case, bool, error)

	Identity(t identity.Tenant, id identity.ID) (identity.Identity, error)
	SignalsOf(t identity.Tenant, id identity.ID) ([]signal.Signal, error)
	AccountRisksOf(t identity.Tenant, id identity.ID) ([]signal.AccountRisk, error)
	Assessment(t identity.Tenant, id identity.ID) (risk.Assessment, error)
	Directory(t identity.Tenant) (connector.DirectoryFacts, error) // the zero value when never read

	Audit(e audit.Entry) error
	// NewID returns a fresh sortable id with the prefix, such as "run".
	NewID(prefix string) string
}
