package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/config"
	connectorad "github.com/seed-f47efad2/cordon/internal/connector/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A DomainAccount is what a domain says of one account, and what that means.
type DomainAccount struct {
	Domain     string              `json:"domain"`
	Account    identity.Account    `json:"account"`
	Protection identity.Protection `json:"protection"`
	// Synchronisation is how the tenant ties the domain's accounts to Entra.
	Synchronisation identity.Synchronisation `json:"synchronisation"`
}

// FindAccount looks an account up in the domains of the configuration: by SID,
// objectGUID, user principal name or DOMAIN\name. A name that fits none is
// fault.NotFound, one that fits several fault.Conflict: name one by its SID then.
// Nothing is changed and nothing stored.
func FindAccount(ctx context.Context, c config.Config, name string, now func() time.Time) (DomainAccount, error) {
	var found []DomainAccount
	var errs []error
	asked := 0
	for _, t := range c.Tenants {
		for _, d := range t.Directories {
			asked++
			one, err := findIn(ctx, t, d, name, now)
			switch {
			case err == nil:
				one.Synchronisation = synchronised(ctx, t, now)
				found = append(found, one)
			case errors.Is(err, fault.NotFound), errors.Is(err, fault.Invalid):
			default:
				return DomainAccount{}, err
			}
			errs = append(errs, err)
		}
	}
	switch {
	case asked == 0:
		return DomainAccount{}, fault.Errorf(fault.Invalid, "no Active Directory domain is connected: see directories in the configuration")
	case len(found) > 1:
		return DomainAccount{}, fault.Errorf(fault.Conflict, "%q is an account of %s and of %s: name one by its SID", name, found[0].Domain, found[1].Domain)
	case len(found) == 0:
		return DomainAccount{}, errors.Join(errs...)
	}
	return found[0], nil
}

func findIn(ctx context.Context, t config.Tenant, d directory.Config, name string, now func() time.Time) (out DomainAccount, err error) {
	client, err := directory.New(d, directory.Options{Now: now})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	o, err := client.Find(ctx, name)
	if err != nil {
		return out, err
	}
	reader := connectorad.Accounts{Directory: client, ProtectedGroups: t.ProtectedSIDs(), Now: now}
	facts, err := reader.Facts(ctx, []identity.Ref{{SID: o.SID}})
	if err != nil {
		return out, err
	}
	if len(facts) != 1 {
		return out, fault.Errorf(fault.Unavailable, "%s said nothing of %s", d.Domain, o.SID)
	}
	out = DomainAccount{Domain: d.Domain, Account: identity.Account{Ref: facts[0].Ref, Facts: facts[0].Facts}}
	i := identity.Identity{Tenant: t.Key(), Kind: out.Account.Kind, Name: facts[0].Ref.Name(), Accounts: []identity.Account{out.Account}}
	out.Protection = t.Policy().Protect(i, 0, now(), now())
	return out, nil
}

// synchronised asks Graph how the tenant is synchronised, for a moment: the domain has
// answered already.
func synchronised(ctx context.Context, t config.Tenant, now func() time.Time) identity.Synchronisation {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s := identity.Synchronisation{AsOf: now()}
	if client, err := graph.Open(t.Config, graph.Options{Now: now}); err != nil {
		s.Unread = err.Error()
	} else {
		s = entraid.Synchronisation(ctx, client, now())
	}
	s.ResetClearsRisk = t.ResetClearsRisk
	return s
}

// Lines are the account in words, one fact a line.
func (a DomainAccount) Lines() []string {
	f := a.Account.Facts
	var out []string
	add := func(name, format string, args ...any) {
		out = append(out, fmt.Sprintf("%-22s %s", name, fmt.Sprintf(format, args...)))
	}
	add("account", "%s\\%s (%s)", a.Domain, a.Account.SAM, a.Account.Name())
	add("SID", "%s", a.Account.SID)
	add("objectGUID", "%s", a.Account.GUID)
	if f.Enabled != nil {
		add("enabled", "%v", *f.Enabled)
	}
	if !f.LastPasswordChange.IsZero() {
		add("password set", "%s", f.LastPasswordChange.Format(time.RFC3339))
	}
	if p := f.OnPremises; p != nil {
		add("kind", "%s", p.Class)
		add("userAccountControl", "%v", p.Control)
		if !p.LastLogon.IsZero() {
			add("last sign-in", "%s on %s", p.LastLogon.Format(time.RFC3339), p.LastLogonOn)
		}
		if len(p.Services) > 0 {
			add("services", "%v", p.Services)
		}
		if len(p.LastOf) > 0 {
			add("only member of", "%v", p.LastOf)
		}
		if len(p.Unread) > 0 {
			add("controllers not read", "%v", p.Unread)
		}
	}
	for _, r := range f.Roles {
		add("sensitive", "%s", r.Name)
	}
	hashes, back := told(a.Synchronisation.PasswordHashes), told(a.Synchronisation.WriteBack)
	if a.Synchronisation.Unread != "" {
		hashes, back = "not known: "+a.Synchronisation.Unread, "not known"
	}
	add("hashes synchronised", "%s", hashes)
	add("passwords written back", "%s", back)
	add("reset clears risk", "%s", told(a.Synchronisation.ResetClearsRisk))
	for _, text := range a.Protection.Reasons {
		add("protected", "%s", text)
	}
	return out
}
