package desk

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// blast says what else stops when an account is disabled or gets another password:
// services and scheduled tasks that run as it, groups that it alone can act for,
// applications that it owns, the synchronisation.
// What has not been read is said too, because silence would read as "nothing".
func blast(st playbook.Step, i identity.Identity, rests reliance) string {
	if !disrupts(st) {
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
		parts = append(parts, rests.scheduled...)
	}
	if st.Route == identity.EntraID && st.Effect == action.EffectRestrict {
		parts = append(parts, rests.owned...)
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

// disrupts reports whether the step stops something that others may rest on.
func disrupts(st playbook.Step) bool {
	return st.Effect == action.EffectCredential || st.Effect == action.EffectRestrict && st.Undo != ""
}

// A reliance is what the records tell of what rests on an identity, in words.
type reliance struct {
	scheduled []string // sign-ins of scheduled tasks and services as its accounts
	owned     []string // applications that it owns
}

// How much is read to see what rests on an identity, and how far back.
const (
	relianceBack  = 30 * 24 * time.Hour
	relianceMost  = record.MaxLimit
	shownReliance = 3 // names in one sentence
)

// relies reads what rests on the identity, when a step of the plan would stop it:
// batch and service sign-ins that Windows reported, and applications it owns.
func (s *Service) relies(ctx context.Context, p playbook.Plan, i identity.Identity) (reliance, error) {
	refs := refsOf(i)
	if len(refs) == 0 || !slices.ContainsFunc(p.Steps, func(st playbook.Step) bool { return st.Skip == "" && disrupts(st) }) {
		return reliance{}, nil
	}
	var out reliance
	if _, ok := i.Account(identity.ActiveDirectory); ok {
		page, err := s.store.Records(ctx, record.Query{Tenant: i.Tenant, Accounts: refs, Sources: []record.Source{record.Logon}, Since: s.now().Add(-relianceBack), Limit: relianceMost})
		if err != nil {
			return out, fmt.Errorf("read what signs in as %s: %w", i.Name, err)
		}
		out.scheduled = scheduled(page.Records, refs, page.Next != "")
	}
	if _, ok := i.Account(identity.EntraID); ok {
		page, err := s.store.Records(ctx, record.Query{Tenant: i.Tenant, Accounts: refs, Sources: []record.Source{record.Application, record.ServicePrincipal}, Limit: relianceMost})
		if err != nil {
			return out, fmt.Errorf("read what %s owns: %w", i.Name, err)
		}
		out.owned = owned(page.Records, refs)
	}
	return out, nil
}

// scheduled says which tasks and services signed in as one of the accounts, and where;
// cut says that there are more sign-ins than were read.
func scheduled(list []record.Record, refs []identity.Ref, cut bool) []string {
	type kind struct{ app, where string }
	last := map[kind]time.Time{}
	for _, r := range list {
		if (r.App != "batch" && r.App != "service") || r.Result == record.Failure || !isOne(r.Subject, refs) {
			continue
		}
		k := kind{r.App, cmp.Or(r.Resource, r.Device, "an unnamed machine")}
		if r.At.After(last[k]) {
			last[k] = r.At
		}
	}
	if len(last) == 0 && len(list) == 0 {
		return []string{"whether scheduled tasks or services sign in as it is not known: no sign-in of it on premises was reported"}
	}
	var parts []string
	for app, word := range map[string]string{"batch": "scheduled tasks ran as it", "service": "services started as it"} {
		var places []string
		for k, at := range last {
			if k.app == app {
				places = append(places, fmt.Sprintf("on %s, last at %s", k.where, stamp(at)))
			}
		}
		if len(places) > 0 {
			slices.Sort(places)
			parts = append(parts, word+" "+few(places))
		}
	}
	slices.Sort(parts)
	if cut && len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("no scheduled task or service among its last %d sign-ins on premises", len(list)))
	}
	return parts
}

// owned says which applications one of the accounts owns, those first that nobody else
// owns.
func owned(list []record.Record, refs []identity.Ref) (parts []string) {
	alone, shared := map[string]bool{}, map[string]bool{}
	for _, r := range list {
		owners, ours := 0, false
		for _, p := range r.Others {
			if p.Role == "owner" {
				owners++
				ours = ours || isOne(p.Ref, refs)
			}
		}
		switch name := cmp.Or(r.Title, r.ExternalID); {
		case !ours:
		case owners == 1:
			alone[name] = true
		default:
			shared[name] = true
		}
	}
	for name := range alone { // an application and its service principal are called the same
		delete(shared, name)
	}
	if len(alone) > 0 {
		parts = append(parts, "nobody else owns "+few(slices.Sorted(maps.Keys(alone))))
	}
	if len(shared) > 0 {
		parts = append(parts, "it owns with others "+few(slices.Sorted(maps.Keys(shared))))
	}
	return parts
}

// few names the first of a list and counts the others.
func few(list []string) string {
	text := strings.Join(list[:min(len(list), shownReliance)], ", ")
	if n := len(list) - shownReliance; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func isOne(r identity.Ref, of []identity.Ref) bool {
	return slices.ContainsFunc(of, func(o identity.Ref) bool { return sharesKey(r, o) })
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
	if len(p.Services) > 0 {
		parts = append(parts, "services run as it and stop: "+few(p.Services))
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
	for _, j := range p.Joined {
		line("put into a group", fmt.Sprintf("%s, by %s at %s", cmp.Or(j.Name, j.Group), j.By, stamp(j.At)))
	}
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
