package activedirectory

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// change says whether the password must be changed at the next logon: pwdLastSet
// is 0 then, and -1 writes the present time. The directory takes no other value, so
// an older time does not come back.
type change struct {
	*domain
	want bool
}

var (
	_ action.Type   = (*change)(nil)
	_ action.Undoer = (*change)(nil)
)

func (c *change) Spec() action.Spec {
	s := action.Spec{
		Version: 1, Provider: identity.ActiveDirectory,
		Permissions: []string{"Read and write pwdLastSet of user objects in the organisational units in scope", "Read userAccountControl and servicePrincipalName there"},
		Proof:       "`pwdLastSet` is 0, or not, as wanted on every writable domain controller.",
		Batch:       batch, Bucket: Bucket, ReadBatch: readBatch, Propagation: propagation, Within: within,
	}
	if c.want {
		s.Name, s.Undo, s.Effect = RequireChange, WaiveChange, action.EffectCredential
		s.Password = true
		s.Title, s.Summary = "Require a new password at the next logon", "The account signs in to the domain only after its password was changed."
		s.Limits = "Whoever knows the password can be the one who changes it: this cures no stolen password. Tickets and connections go on. People who cannot change a password where they sign in (VPN, remote desktop) are locked out, and cloud sign-in by password hash works only where self-service reset and password hash synchronisation are set up for it."
		return s
	}
	s.Name, s.Undo, s.Effect = WaiveChange, RequireChange, action.EffectRelease
	s.Title, s.Summary = "Let the password stand", "The account signs in to the domain without changing its password."
	s.Limits = "The password counts as set now, not as set when it was: its age begins anew."
	return s
}

func (c *change) Look(ctx context.Context, reqs []action.Request) []action.Look {
	return c.look(ctx, reqs, c.refuse, func(a account) (string, bool) {
		return changeText(a), a.mustChange() == c.want
	})
}

// refuse names the accounts on which the flag silently does nothing, or harm.
func (c *change) refuse(a account) string {
	_, service := a.Text("servicePrincipalName")
	switch {
	case !c.want:
	case a.control&dontExpirePassword != 0:
		return "its password never expires (DONT_EXPIRE_PASSWORD): the flag would have no effect"
	case a.control&smartcardRequired != 0:
		return "it signs in with a smart card (SMARTCARD_REQUIRED): the flag would have no effect"
	case service:
		return "it runs services, which cannot change a password: they would stop"
	}
	return ""
}

func (c *change) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	return each(reqs, func(r action.Request) action.Outcome {
		return c.swap(ctx, r, "pwdLastSet", func(b before) (string, string) {
			if c.want {
				return strconv.FormatInt(b.PwdLastSet, 10), "0"
			}
			return strconv.FormatInt(b.PwdLastSet, 10), "-1"
		}, func(a account) bool { return a.mustChange() == c.want })
	})
}

func (c *change) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	return c.readBack(ctx, reqs, func(_ action.Request, a account) (bool, string) { return a.mustChange() == c.want, changeText(a) })
}

// Undo takes the demand back, or makes it again, unless it was so already.
func (c *change) Undo(r json.RawMessage) (map[string]any, bool) {
	b, ok := recorded(r)
	return nil, ok && (b.PwdLastSet == 0) != c.want
}

func changeText(a account) string {
	if a.mustChange() {
		return "the password must be changed at the next logon"
	}
	return "the password was set at " + fileTime(a.pwdSet).Format("2006-01-02 15:04:05") + " UTC"
}
