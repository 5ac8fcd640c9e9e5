package dispatch

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// refresh is how old an account's facts may be before reading the same again is
// worth a write.
const refresh = time.Minute

// learn returns i with what was just read of the account, and whether that is
// worth storing. Roles, groups and registration are read elsewhere and stay.
func learn(i identity.Identity, ref identity.Ref, read *identity.Facts, at time.Time) (identity.Identity, bool) {
	if read == nil {
		return i, false
	}
	key := identity.Account{Ref: ref}.Key()
	for n, a := range i.Accounts {
		if a.Provider != ref.Provider || a.Key() != key {
			continue
		}
		was, next := a.Facts, *read
		if next.AsOf.IsZero() {
			next.AsOf = at
		}
		if next.AsOf.Before(was.AsOf) {
			return i, false
		}
		next.RolesAsOf, next.Roles, next.Groups, next.GroupsRead, next.OnPremises = was.RolesAsOf, was.Roles, was.Groups, was.GroupsRead, was.OnPremises
		next.RegistrationAsOf, next.MFARegistered, next.Passwordless = was.RegistrationAsOf, was.MFARegistered, was.Passwordless
		fresh := next.AsOf.Sub(was.AsOf) < refresh
		was.AsOf = next.AsOf
		if fresh && reflect.DeepEqual(was, next) {
			return i, false
		}
		i.Accounts = slices.Clone(i.Accounts)
		i.Accounts[n].Facts = next
		i.UpdatedAt = at
		return i, true
	}
	return i, false
}

// withRoles returns i with the roles and groups that the newest reading of the
// directory has for its accounts: protection is judged by what is true now, not
// by what was true when the case opened, and as the plan was.
func withRoles(i identity.Identity, dir connector.DirectoryFacts) identity.Identity {
	return run.WithDirectory(i, dir)
}

func globalAdmin(i identity.Identity) bool {
	roles, _ := i.Roles()
	return slices.ContainsFunc(roles, func(r identity.Role) bool {
		return strings.EqualFold(r.TemplateID, identity.GlobalAdministrator) && r.Active
	})
}
