package desk

import (
	"context"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// CaseStore is what the desk reads to work a case. The tenant is always given, but
// where an empty one is said to mean all.
type CaseStore interface {
	record.Reader

	// Notes are oldest first.
	Notes(ctx context.Context, t identity.Tenant, id casefile.ID) ([]casefile.Note, error)
	// Exceptions are those of the tenant, or of all, ended ones too.
	Exceptions(ctx context.Context, t identity.Tenant) ([]risk.Exception, error)
	// AccountRisks are what the sources said and say of the identity's accounts, every
	// version, latest first, at most limit.
	AccountRisks(ctx context.Context, t identity.Tenant, id identity.ID, limit int) ([]signal.AccountRisk, error)
	// AccountRisksNow are the current versions.
	AccountRisksNow(ctx context.Context, t identity.Tenant, id identity.ID) ([]signal.AccountRisk, error)
	// Assessments are the latest one and those that said something else, latest first,
	// at most limit.
	Assessments(ctx context.Context, t identity.Tenant, id identity.ID, limit int) ([]risk.Assessment, error)
	// LastVerdict is the newest verdict over the identity's closed cases.
	LastVerdict(ctx context.Context, t identity.Tenant, id identity.ID) (casefile.Verdict, bool, error)
}

// CaseTx is what the desk writes when it works a case.
type CaseTx interface {
	// PutNote adds a note and gives it its ID.
	PutNote(n casefile.Note) (casefile.Note, error)
	Exceptions(t identity.Tenant) ([]risk.Exception, error)
	// PutException stores one; an empty ID makes a new one.
	PutException(e risk.Exception) (risk.Exception, error)
	// LastVerdict is the newest verdict over the identity's closed cases.
	LastVerdict(t identity.Tenant, id identity.ID) (casefile.Verdict, bool, error)

	// IdentityAlone is Identity for who wants the emptied one of a link.
	IdentityAlone(t identity.Tenant, id identity.ID) (identity.Identity, error)
	// IdentitiesByKeys returns the identities that own any of the keys.
	IdentitiesByKeys(t identity.Tenant, keys []identity.Key) ([]identity.Identity, error)
	// PutIdentity stores i and its keys; an empty ID makes a new one. A key that
	// another identity owns is fault.Conflict.
	PutIdentity(i identity.Identity) (identity.Identity, error)
	// MoveSignals gives signals and accounts' risks of one identity to another.
	MoveSignals(t identity.Tenant, from, to identity.ID, signals []signal.Key, accounts []identity.Ref) error
}
