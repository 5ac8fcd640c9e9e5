package desk

import (
	"fmt"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

// shownServices is how many services a sentence names.
const shownServices = 3

// blast says what else stops when an account is disabled or gets another password:
// services that run as it, groups that it alone can act for, the synchronisation.
// What has not been read is said too, because silence would read as "nothing".
func blast(st playbook.Step, i identity.Identity) string {
	if st.Effect != action.EffectRestrict && st.Effect != action.EffectCredential || st.Effect == action.EffectRestrict && st.Undo == "" {
		return ""
	}
	var parts []string
	for _, a := range i.Accounts {
		if a.Provider != identity.ActiveDirectory {
			continue
		}
		if st.Route != identity.ActiveDirectory && st.Effect == action.EffectCredential {
			continue // a password of the cloud opens nothing on premises
		}
		parts = append(parts, dependents(a.Facts)...)
	}
	for _, a := range i.Accounts {
		if a.Provider == identity.EntraID && a.Provider == st.Route {
			for _, r := range a.Facts.Roles {
				if strings.EqualFold(r.TemplateID, identity.DirectorySynchronization) {
					parts = append(parts, "the directory synchronisation runs as it")
				}
			}
		}
	}
	return strings.Join(parts, "; ")
}

// dependents says what depends on an account of Active Directory.
func dependents(f identity.Facts) (parts []string) {
	p := f.OnPremises
	switch {
	case f.Found != nil && !*f.Found:
		return nil
	case p == nil:
		return []string{"what depends on it in Active Directory has not been read"}
	case p.Class == identity.ClassForeign:
		return []string{"its domain is not connected: what depends on it there is not known"}
	}
	if n := len(p.Services); n > 0 {
		text := strings.Join(p.Services[:min(n, shownServices)], ", ")
		if n > shownServices {
			text += fmt.Sprintf(" and %d more", n-shownServices)
		}
		parts = append(parts, "services run as it and stop: "+text)
	}
	for _, g := range p.LastOf {
		parts = append(parts, "it is the only member of "+g+" that can sign in")
	}
	if p.Replicates {
		parts = append(parts, "it may replicate secrets: a synchronisation may run as it")
	}
	if len(p.Services) > 0 && !p.LastLogon.IsZero() {
		parts = append(parts, "it signed in last at "+stamp(p.LastLogon)+" on "+p.LastLogonOn)
	}
	return parts
}

// onPremises lists what Active Directory alone says of an account.
func onPremises(f identity.Facts, add func(name, value string, known bool)) {
	p := f.OnPremises
	if p == nil {
		add("kind of account", "", false)
		return
	}
	add("kind of account", string(p.Class), true)
	if p.Class == identity.ClassForeign {
		return
	}
	add("userAccountControl", strings.Join(p.Control, ", "), len(p.Control) > 0)
	add("sensitive groups, however deep", roleNames(f.Roles), true)
	line := func(name, value string) {
		if value != "" {
			add(name, value, true)
		}
	}
	line("services that run as it", strings.Join(p.Services, ", "))
	line("only member that can sign in, of", strings.Join(p.LastOf, ", "))
	for _, flag := range []struct {
		name string
		on   bool
	}{{"may replicate secrets", p.Replicates}, {"in Protected Users", p.Guarded}, {"adminCount (a hint)", p.AdminCount}, {"locked out", p.Locked}, {"must change its password", p.MustChange}} {
		if flag.on {
			line(flag.name, "yes")
		}
	}
	if !p.Expires.IsZero() {
		line("expires", stamp(p.Expires))
	}
	if !p.LastLogon.IsZero() {
		line("last sign-in", stamp(p.LastLogon)+" on "+p.LastLogonOn)
	}
	if len(p.Unread) > 0 {
		line("controllers not read", strings.Join(p.Unread, ", "))
	}
	line("identifiers", p.Dispute)
}
