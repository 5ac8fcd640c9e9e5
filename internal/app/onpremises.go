package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	actionad "github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// connected says which directories Cordon can act in for the tenant.
func connected(t config.Tenant) []identity.Provider {
	if len(t.Directories) > 0 {
		return []identity.Provider{identity.EntraID, identity.ActiveDirectory}
	}
	return []identity.Provider{identity.EntraID}
}

// domains are the Active Directory domains of one tenant.
type domains struct {
	clients []*directory.Client
	now     func() time.Time
}

// openDomains makes the clients of the configured domains. Nobody is asked yet.
func openDomains(list []directory.Config, o directory.Options) (domains, error) {
	d := domains{now: o.Now}
	for n, c := range list {
		client, err := directory.New(c, o)
		if err != nil {
			return domains{}, errors.Join(fmt.Errorf("directories[%d]: %w", n, err), d.close())
		}
		d.clients = append(d.clients, client)
	}
	return d, nil
}

func (d domains) close() error {
	var errs []error
	for _, c := range d.clients {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// of returns which of the domains an account belongs to by its SID, or -1. An
// account without a SID is looked for in the only domain there is.
func (d domains) of(ctx context.Context, r identity.Ref) (int, error) {
	if len(d.clients) == 0 {
		return -1, fault.Errorf(fault.Unavailable, "Active Directory is not connected any more")
	}
	var errs []error
	for n, c := range d.clients {
		sid, err := c.SID(ctx)
		switch {
		case err != nil:
			errs = append(errs, err)
		case strings.HasPrefix(strings.ToUpper(strings.TrimSpace(r.SID)), sid+"-"), r.SID == "" && len(d.clients) == 1:
			return n, nil
		}
	}
	return -1, errors.Join(errs...)
}

// types are the actions in Active Directory; each request goes to the domain that
// its account belongs to.
func (d domains) types() []action.Type {
	plain := actionad.Types(nil, d.now)
	at := make([][]action.Type, len(d.clients))
	for n, c := range d.clients {
		at[n] = actionad.Types(c, d.now)
	}
	out := make([]action.Type, len(plain))
	for n, p := range plain {
		r := routed{plain: p, domains: d}
		for _, types := range at {
			r.at = append(r.at, types[n])
		}
		undo, undoes := p.(action.Undoer)
		generate, generates := p.(action.Generator)
		switch {
		case undoes && generates:
			out[n] = struct {
				routed
				action.Undoer
				action.Generator
			}{r, undo, generate}
		case undoes:
			out[n] = struct {
				routed
				action.Undoer
			}{r, undo}
		case generates:
			out[n] = struct {
				routed
				action.Generator
			}{r, generate}
		default:
			out[n] = r
		}
	}
	return out
}

// routed is one kind of action in several domains.
type routed struct {
	plain   action.Type // without a client: what it says of itself
	domains domains
	at      []action.Type // by domain
}

func (r routed) Spec() action.Spec { return r.plain.Spec() }

const foreign = "the account belongs to a domain that is not connected: see directories in the configuration"

func (r routed) Look(ctx context.Context, reqs []action.Request) []action.Look {
	return spread(ctx, r, reqs, action.Type.Look, func(err error) action.Look {
		if err != nil {
			return action.Look{Err: err}
		}
		return action.Look{Refuse: foreign}
	})
}

func (r routed) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	return spread(ctx, r, reqs, action.Type.Do, func(err error) action.Outcome {
		if err != nil {
			return action.Outcome{Verdict: action.Later, Reason: err.Error()}
		}
		return action.Outcome{Verdict: action.Refused, Reason: foreign}
	})
}

func (r routed) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	return spread(ctx, r, reqs, action.Type.ReadBack, func(err error) action.Reading {
		if err == nil {
			err = fault.Errorf(fault.Unavailable, "%s", foreign)
		}
		return action.Reading{Err: err}
	})
}

// spread asks each domain for its part and puts the answers where the requests
// were. nobody answers for those that belong nowhere.
func spread[T any](ctx context.Context, r routed, reqs []action.Request, ask func(action.Type, context.Context, []action.Request) []T, nobody func(error) T) []T {
	out := make([]T, len(reqs))
	parts := make([][]int, len(r.at))
	for n, q := range reqs {
		at, err := r.domains.of(ctx, q.Account)
		if at < 0 {
			out[n] = nobody(err)
			continue
		}
		parts[at] = append(parts[at], n)
	}
	for at, places := range parts {
		if len(places) == 0 {
			continue
		}
		part := make([]action.Request, len(places))
		for n, place := range places {
			part[n] = reqs[place]
		}
		for n, v := range ask(r.at[at], ctx, part) {
			out[places[n]] = v
		}
	}
	return out
}

var _ action.Type = routed{}
