package activedirectory

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// enabled sets or clears ACCOUNTDISABLE in userAccountControl and nothing else in
// it: the whole value is swapped for one that differs in that bit, so a change that
// somebody else makes meanwhile is never undone. The right to write the attribute
// reaches further than that (DONT_REQ_PREAUTH, PASSWD_NOTREQD), hence the care.
type enabled struct {
	*domain
	want bool
}

var (
	_ action.Type   = (*enabled)(nil)
	_ action.Undoer = (*enabled)(nil)
)

func (e *enabled) Spec() action.Spec {
	s := action.Spec{
		Version: 1, Provider: identity.ActiveDirectory,
		Permissions: []string{"Read and write userAccountControl of user objects in the organisational units in scope"},
		Proof:       "`ACCOUNTDISABLE` in `userAccountControl` is as wanted on every writable domain controller.",
		Batch:       batch, Bucket: Bucket, ReadBatch: readBatch, Propagation: propagation, Within: within,
	}
	if e.want {
		s.Name, s.Undo, s.Effect = Enable, Disable, action.EffectRelease
		s.Title, s.Summary = "Enable the account in Active Directory", "The account may sign in to the domain again."
		s.Limits = "What was done to the password, to groups and in the cloud stays. Active Directory refuses it for an account whose password does not meet the policy."
		return s
	}
	s.Name, s.Undo, s.Effect = Disable, Enable, action.EffectRestrict
	s.Title, s.Summary = "Disable the account in Active Directory", "Nobody signs in to the domain as this account, on any domain controller."
	s.Remedies = []signal.Cause{signal.CausePassword, signal.CauseBoth, signal.CauseUnknown}
	s.Limits = "Open LDAP and SMB connections go on, and Kerberos service tickets live to their end (10 hours by default). A synchronised cloud account follows within about 30 minutes; its sessions have to be revoked there."
	return s
}

func (e *enabled) Look(ctx context.Context, reqs []action.Request) []action.Look {
	return e.look(ctx, reqs, func(account) string { return "" }, func(a account) (string, bool) {
		return word(a.enabled()), a.enabled() == e.want
	})
}

func (e *enabled) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	return each(reqs, func(r action.Request) action.Outcome {
		return e.swap(ctx, r, "userAccountControl", func(b before) (string, string) {
			to := b.UserAccountControl | accountDisable
			if e.want {
				to = b.UserAccountControl &^ accountDisable
			}
			return strconv.Itoa(int(b.UserAccountControl)), strconv.Itoa(int(to))
		}, func(a account) bool { return a.enabled() == e.want })
	})
}

func (e *enabled) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := e.readBack(ctx, reqs, func(_ action.Request, a account) (bool, string) {
		return a.enabled() == e.want, word(a.enabled()) + " (userAccountControl " + a.written + ")"
	})
	if e.want {
		return out
	}
	return allRemaining(reqs, out)
}

// Undo brings the bit back to what it was, unless it was so already.
func (e *enabled) Undo(r json.RawMessage) (map[string]any, bool) {
	b, ok := recorded(r)
	return nil, ok && (b.UserAccountControl&accountDisable == 0) != e.want
}

func word(enabled bool) string {
	if enabled {
		return "enabled"
	}
	return "disabled"
}
