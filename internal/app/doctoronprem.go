package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/config"
	connectorad "github.com/seed-f47efad2/cordon/internal/connector/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// examineDomains asks each domain of the tenant: its controllers by name, the
// account that Cordon uses, what it may read and write. Its rights are compared with
// what the directory's scope says, else with what the actions need that playbooks use.
// Nothing is changed.
func examineDomains(ctx context.Context, t config.Tenant, used []action.Name, o directory.Options) []Check {
	var out []Check
	for _, c := range t.Directories {
		e := domainCheck{tenant: t, name: c.Domain, scope: c.Scope, used: used, now: o.Now}
		client, err := directory.New(c, o)
		if err != nil {
			e.add(Check{Name: "domain", Health: Broken, Text: err.Error(), Fix: "correct directories"})
			out = append(out, e.out...)
			continue
		}
		e.examine(ctx, client)
		if err := client.Close(); err != nil {
			e.add(Check{Name: "domain", Health: Unknown, Text: err.Error()})
		}
		out = append(out, e.out...)
	}
	return out
}

type domainCheck struct {
	tenant config.Tenant
	name   string
	scope  directory.Scope
	used   []action.Name
	now    func() time.Time
	out    []Check
}

func (e *domainCheck) add(c Check) {
	c.Name = e.name + " " + c.Name
	e.out = append(e.out, c)
}

// failed adds an error with what helps against it.
func (e *domainCheck) failed(name string, err error) {
	c := Check{Name: name, Health: Broken, Text: err.Error(), Away: errors.Is(err, fault.Unavailable)}
	switch {
	case errors.As(err, new(x509.HostnameError)):
		c.Fix = "name the controller in dcs as its certificate does, or give it a certificate with its name"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		c.Fix = "give the issuer of the controllers' certificates in ca_file"
	case errors.Is(err, fault.Denied):
		c.Fix = "see the text: the account in bind, its password, or its rights"
	case c.Away:
		c.Fix = "open the way to the controller (LDAPS 636, or 389 with starttls), and see dcs and addresses"
	}
	e.add(c)
}

func (e *domainCheck) examine(ctx context.Context, client *directory.Client) {
	list, err := client.Controllers(ctx)
	if err != nil {
		e.failed("controllers", err)
		return
	}
	var words []string
	for _, k := range list {
		w := k.Host
		if k.PDC {
			w += " (PDC emulator, written to first)"
		}
		if k.ReadOnly {
			w += " (read-only, never written to)"
		}
		words = append(words, w)
	}
	e.add(Check{Name: "controllers", Health: Healthy, Text: strings.Join(words, ", ")})
	views, err := client.SeeEverywhere(ctx, nil)
	if err != nil {
		e.failed("controllers", err)
		return
	}
	for _, v := range views {
		if v.Err != nil {
			e.failed("controller "+v.DC, v.Err)
			continue
		}
		e.add(Check{Name: "controller " + v.DC, Health: Healthy, Text: "reached; its certificate proves its name; Cordon's account may sign in"})
	}
	e.own(ctx, client)
	e.delegation(ctx, client)
	e.head(ctx, client)
}

// own looks at the account that Cordon signs in with: it should have no more than
// was delegated.
func (e *domainCheck) own(ctx context.Context, client *directory.Client) {
	self, err := client.Self(ctx)
	if err != nil {
		e.failed("account", err)
		return
	}
	reader := connectorad.Accounts{Directory: client, ProtectedGroups: e.tenant.ProtectedSIDs(), Now: e.now}
	facts, err := reader.Facts(ctx, []identity.Ref{{SID: self.SID}})
	if err != nil || len(facts) != 1 || facts[0].Facts.OnPremises == nil {
		e.add(Check{Name: "reading", Health: Missing, Text: "groups of accounts cannot be read: " + fmt.Sprint(err),
			Fix: "let the account read tokenGroups (membership of Pre-Windows 2000 Compatible Access or Windows Authorization Access Group); until then every account counts as protected"})
		return
	}
	e.add(Check{Name: "reading", Health: Healthy, Text: "accounts, their groups however deep, and their flags can be read"})
	f := facts[0].Facts
	var groups []string
	for _, r := range f.Roles {
		groups = append(groups, r.Name)
	}
	if len(groups) > 0 {
		e.add(Check{Name: "account", Health: Excess, Text: facts[0].Ref.Name() + " has more than it needs: " + strings.Join(groups, ", "), Fix: "take it out of these groups and delegate single rights"})
		return
	}
	e.guarded(ctx, client, facts[0])
	if !slices.Contains(f.OnPremises.Control, "NOT_DELEGATED") {
		e.add(Check{Name: "account delegation", Health: Unknown, Text: "its sign-in may be passed on by servers it signs in to", Fix: "set \"Account is sensitive and cannot be delegated\" on it"})
	}
}

func (e *domainCheck) head(ctx context.Context, client *directory.Client) {
	d, err := client.Describe(ctx)
	if err != nil {
		e.failed("head", err)
		return
	}
	p := d.Policy
	e.add(Check{Name: "password policy", Health: Healthy, Text: fmt.Sprintf("at least %d characters, complexity %v, the last %d remembered, lockout after %d wrong ones (0: never)", p.MinLength, p.Complex, p.History, p.LockoutAt)})
	if d.HeadUnread {
		e.add(Check{Name: "replication rights", Health: Unknown, Text: "who may replicate secrets is not shown", Fix: "let the account read permissions of the domain's head; until then only group members count as sensitive"})
	} else {
		e.add(Check{Name: "replication rights", Health: Healthy, Text: fmt.Sprintf("%d accounts and groups may replicate secrets; they count as sensitive", len(d.Replicators))})
	}
	days := func(at time.Time) int { return int(e.now().Sub(at).Hours() / 24) }
	const old = 180
	for _, key := range []struct {
		name string
		at   time.Time
	}{{"krbtgt", d.KrbtgtSetAt}, {"AZUREADSSOACC$", d.SSOAccountAt}} {
		at := key.at
		if at.IsZero() {
			continue
		}
		c := Check{Name: key.name, Health: Healthy, Text: fmt.Sprintf("its key is %d days old; Cordon never changes it", days(at))}
		if days(at) > old {
			c.Health, c.Fix = Unknown, "roll it by hand, twice, at least ten hours apart: who has it opens everything"
		}
		e.add(c)
	}
	for _, t := range d.Trusts {
		e.add(Check{Name: "trust " + t.Partner, Health: Healthy, Text: fmt.Sprintf("trusted: %v, trusts us: %v, within the forest: %v; its accounts are not changed unless its domain is connected too", t.Outbound, t.Inbound, t.Within)})
	}
}

// synchronisation says what decides whether a reset in Active Directory reaches the
// cloud and closes the risk there.
func synchronisation(ctx context.Context, t config.Tenant, client *graph.Client, now time.Time) Check {
	c := Check{Tenant: cmp.Or(t.Name, t.TenantID), Name: "directory synchronisation", Health: Unknown}
	s := entraid.Synchronisation(ctx, client, now)
	closes := "; whether a change on premises closes user risk is set in the portal and not shown by Graph: say it as on_premises_reset_clears_risk"
	if t.ResetClearsRisk != nil {
		closes = "; a change on premises closes user risk, as the configuration says: " + told(t.ResetClearsRisk)
	}
	switch {
	case s.Unread != "":
		c.Text, c.Fix = s.Unread+closes, "grant "+entraid.SyncPermission+" to have its settings shown; nothing else needs it"
		return c
	case s.PasswordHashes != nil && !*s.PasswordHashes:
		c.Fix = "without password hash synchronisation a reset on premises neither reaches the cloud nor closes a risk there"
	default:
		c.Health = Healthy
	}
	c.Text = fmt.Sprintf("password hashes are synchronised: %s, passwords are written back: %s%s", told(s.PasswordHashes), told(s.WriteBack), closes)
	return c
}

func told(v *bool) string {
	switch {
	case v == nil:
		return "not told"
	case *v:
		return "yes"
	}
	return "no"
}
