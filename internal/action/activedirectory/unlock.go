package activedirectory

import (
	"context"
	"strconv"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// unlock ends a lockout. Only the lockout that was looked at: one that came later
// is another attack.
type unlock struct{ *domain }

var _ action.Type = (*unlock)(nil)

func (*unlock) Spec() action.Spec {
	return action.Spec{
		Name: Unlock, Version: 1, Provider: identity.ActiveDirectory, Effect: action.EffectRelease,
		Title: "Unlock the account in Active Directory", Summary: "Wrong passwords no longer lock the account out.",
		Permissions:  []string{"Read and write lockoutTime of user objects in the organisational units in scope"},
		Irreversible: "an account cannot be locked by writing; only wrong passwords lock it",
		Limits:       "Whoever keeps trying wrong passwords locks it again. A disabled or expired account stays so.",
		Proof:        "No writable domain controller computes a lockout.",
		Batch:        batch, Bucket: Bucket, ReadBatch: readBatch, Propagation: propagation, Within: within,
	}
}

func (u *unlock) Look(ctx context.Context, reqs []action.Request) []action.Look {
	return u.look(ctx, reqs, func(account) string { return "" }, func(a account) (string, bool) {
		return lockText(a), !a.locked()
	})
}

func (u *unlock) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	return each(reqs, func(r action.Request) action.Outcome {
		return u.swap(ctx, r, "lockoutTime", func(b before) (string, string) {
			return strconv.FormatInt(b.LockoutTime, 10), "0"
		}, func(a account) bool { return !a.locked() })
	})
}

func (u *unlock) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	return u.readBack(ctx, reqs, func(_ action.Request, a account) (bool, string) { return !a.locked(), lockText(a) })
}

func lockText(a account) string {
	if a.locked() {
		return "locked since " + fileTime(a.lockout).Format("2006-01-02 15:04:05") + " UTC"
	}
	return "not locked"
}
