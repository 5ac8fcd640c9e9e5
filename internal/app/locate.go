package app

import (
	"context"
	"errors"
	"time"

	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const (
	locateWithin = 3 * time.Second  // one question
	locateAgain  = 30 * time.Second // after a domain did not answer
	locateMost   = 20_000           // names that are remembered
)

// A locator tells whose a distinguished name is, by asking the tenant's domains, each
// name once. It is for one goroutine and lives as long as one reading of records.
type locator struct {
	ctx     context.Context
	domains domains
	failed  func(error) // told once when no domain can be asked
	known   map[string]located
	rest    time.Time // until when nobody is asked
	told    bool
}

// located is who has a name, and since when at the earliest; without a GUID nobody.
type located struct {
	ref     identity.Ref
	created time.Time
}

// locate is samba.Decoder's Locate. Whoever was made after the time, of the same name,
// is somebody else. A name that passed from one to another by renaming is the present
// owner's: the directory does not say since when.
func (l *locator) locate(dn string, at time.Time) (identity.Ref, bool) {
	who, ok := l.known[dn]
	if !ok {
		if l.domains.now().Before(l.rest) {
			return identity.Ref{}, false
		}
		var err error
		if who, err = l.ask(dn); err != nil {
			l.rest = l.domains.now().Add(locateAgain)
			if !l.told && l.ctx.Err() == nil {
				l.told = true
				l.failed(err)
			}
			return identity.Ref{}, false
		}
		if len(l.known) >= locateMost {
			clear(l.known)
		}
		l.known[dn] = who
	}
	return who.ref, who.ref.GUID != "" && !who.created.IsZero() && !who.created.After(at.Add(clocks))
}

// ask asks each domain until one has the name. An error means that one could not be
// asked and none has it.
func (l *locator) ask(dn string) (located, error) {
	ctx, cancel := context.WithTimeout(l.ctx, locateWithin)
	defer cancel()
	var errs []error
	for _, c := range l.domains.clients {
		o, err := c.FindDN(ctx, dn, "whenCreated", "sAMAccountName", "userPrincipalName", "displayName")
		switch {
		case err == nil:
			ref := identity.Ref{Provider: identity.ActiveDirectory, SID: o.SID, GUID: o.GUID, Domain: c.Domain()}
			ref.SAM, _ = o.Text("sAMAccountName")
			ref.UPN, _ = o.Text("userPrincipalName")
			ref.DisplayName, _ = o.Text("displayName")
			made, _ := o.Text("whenCreated")
			return located{ref, directory.GeneralizedTime(made)}, nil
		case errors.Is(err, fault.NotFound), errors.Is(err, fault.Invalid):
		default:
			errs = append(errs, err)
		}
	}
	return located{}, errors.Join(errs...)
}

// locator returns one for the tenant's domains. Where nothing is running, as on the
// command line, they are connected to for it.
func (a *App) locator(ctx context.Context, t identity.Tenant) (*locator, error) {
	l := &locator{ctx: ctx, known: map[string]located{}, failed: func(err error) {
		a.log.Warn("whose the names in an audit stream are could not be asked: what was changed is kept by its name alone", "tenant", t, "err", err)
	}}
	for _, k := range a.tenants {
		if k.key == t {
			l.domains = k.domains
			return l, nil
		}
	}
	a.lending.Lock()
	defer a.lending.Unlock()
	if d, ok := a.lent[t]; ok {
		l.domains = d
		return l, nil
	}
	d, err := openDomains(a.settings.Load().tenants[t].Directories, directory.Options{Now: a.opts.Now, Dial: a.opts.Dial})
	if err != nil {
		return nil, err
	}
	if a.lent == nil {
		a.lent = map[identity.Tenant]domains{}
	}
	a.lent[t], l.domains = d, d
	return l, nil
}
