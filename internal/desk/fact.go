package desk

import (
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// facts lists what the directories said of each account; what was never read is
// listed as not known, because a missing line would read as a no.
func facts(i identity.Identity) []Fact {
	var out []Fact
	for _, a := range i.Accounts {
		f := a.Facts
		add := func(name, value string, known bool, asOf time.Time) {
			if !known {
				value = "not known"
			}
			out = append(out, Fact{Account: a.Name(), Provider: a.Provider, Name: name, Value: value, Known: known, AsOf: asOf})
		}
		flag := func(name string, v *bool, asOf time.Time) { add(name, yesNo(v), v != nil, asOf) }
		if f.Found != nil && !*f.Found {
			add("exists", "no: the directory has no such account", true, f.AsOf)
			continue
		}
		flag("enabled", f.Enabled, f.AsOf)
		if a.Provider != identity.ActiveDirectory && a.Kind != identity.KindWorkload {
			flag("mastered in Active Directory", f.Synced, f.AsOf)
			add("password last changed", stamp(f.LastPasswordChange), !f.LastPasswordChange.IsZero(), f.AsOf)
			add("sessions valid from", stamp(f.SessionsValidFrom), !f.SessionsValidFrom.IsZero(), f.AsOf)
			flag("multi-factor registered", f.MFARegistered, f.RegistrationAsOf)
		}
		if a.Provider == identity.ActiveDirectory {
			add("password last changed", stamp(f.LastPasswordChange), !f.LastPasswordChange.IsZero(), f.AsOf)
			onPremises(f, func(name, value string, known bool) { add(name, value, known, f.RolesAsOf) })
			continue
		}
		add("directory roles", roleNames(f.Roles), !f.RolesAsOf.IsZero(), f.RolesAsOf)
	}
	return out
}

// synchronisation lists how the tenant ties a synchronised account to Active Directory,
// because that decides what a new password on either side does.
func synchronisation(i identity.Identity, s *identity.Synchronisation) (out []Fact) {
	a, ok := i.Account(identity.EntraID)
	if !ok || a.Facts.Synced == nil || !*a.Facts.Synced {
		return nil
	}
	if s == nil {
		s = &identity.Synchronisation{}
	}
	for _, f := range []struct {
		name string
		v    *bool
		why  string
	}{
		{"password hashes are synchronised", s.PasswordHashes, s.Unread}, {"passwords are written back", s.WriteBack, s.Unread},
		{"a password change on premises closes user risk", s.ResetClearsRisk, "Graph does not show it: say it in the configuration"},
	} {
		fact := Fact{Account: a.Name(), Provider: a.Provider, Name: f.name, Value: yesNo(f.v), Known: f.v != nil, AsOf: s.AsOf}
		if !fact.Known && f.why != "" {
			fact.Value += ": " + f.why
		}
		out = append(out, fact)
	}
	return out
}

func yesNo(v *bool) string {
	switch {
	case v == nil:
		return "not known"
	case *v:
		return "yes"
	}
	return "no"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func roleNames(roles []identity.Role) string {
	if len(roles) == 0 {
		return "none"
	}
	var names []string
	for _, r := range roles {
		n := r.Name
		if n == "" {
			n = r.TemplateID
		}
		if !r.Active {
			n += " (eligible)"
		}
		names = append(names, n)
	}
	return strings.Join(names, ", ")
}

// present says in words what an action's target is like now, as far as the
// facts tell; dispatch looks again before anything leaves.
func present(name action.Name, account identity.Ref, i identity.Identity) string {
	for _, a := range i.Accounts {
		if a.Provider != account.Provider || !sharesKey(a.Ref, account) {
			continue
		}
		f := a.Facts
		switch verb := string(name)[strings.LastIndexByte(string(name), '.')+1:]; verb {
		case "disable", "enable":
			if f.Enabled == nil {
				return "not known"
			}
			if *f.Enabled {
				return "enabled"
			}
			return "disabled"
		case "reset_password", "hand_over_password":
			if !f.LastPasswordChange.IsZero() {
				return "password of " + stamp(f.LastPasswordChange)
			}
		case "revoke_sessions":
			if !f.SessionsValidFrom.IsZero() {
				return "sessions since " + stamp(f.SessionsValidFrom) + " are valid"
			}
		}
	}
	return "read just before the change"
}

func sharesKey(a, b identity.Ref) bool {
	for _, x := range a.Keys() {
		for _, y := range b.Keys() {
			if x == y {
				return true
			}
		}
	}
	return false
}
