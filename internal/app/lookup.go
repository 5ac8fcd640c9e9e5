package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	connectorad "github.com/seed-f47efad2/cordon/internal/connector/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// cloud is the lookup of accounts in Entra.
type cloud interface {
	connector.Lookup
	connector.Historian
	connector.Recorder
	BySID(ctx context.Context, sids []string) ([]connector.AccountFacts, error)
}

// lookup reads accounts in Entra and in the tenant's domains.
func (d domains) lookup(in cloud, protected []string) connector.Lookup {
	if len(d.clients) == 0 {
		return in
	}
	h := &hybrid{cloud: in, domains: d}
	for _, c := range d.clients {
		h.accounts = append(h.accounts, &connectorad.Accounts{Directory: c, ProtectedGroups: protected, Now: d.now})
	}
	return h
}

// hybrid asks Entra first, because it is Entra that says which account of Active
// Directory a synchronised one comes from.
type hybrid struct {
	cloud
	domains  domains
	accounts []*connectorad.Accounts // by domain
	joined   joinedReader            // nil: nobody reports
}

var (
	_ connector.Lookup    = (*hybrid)(nil)
	_ connector.Historian = (*hybrid)(nil)
	_ connector.Reach     = (*hybrid)(nil)
)

// Reaches is connector.Reach's.
func (h *hybrid) Reaches() []identity.Provider {
	return []identity.Provider{identity.EntraID, identity.ActiveDirectory}
}

// History is connector.Historian's.
func (h *hybrid) History(ctx context.Context, ref identity.Ref) ([]signal.AccountRisk, error) {
	return h.cloud.History(ctx, ref)
}

// Facts is connector.Lookup's. What one directory says comes back also when
// another cannot be read.
func (h *hybrid) Facts(ctx context.Context, refs []identity.Ref) ([]connector.AccountFacts, error) {
	out, err := h.cloud.Facts(ctx, refs)
	errs := []error{err}
	if sids := alone(refs, out); len(sids) > 0 { // known on premises only so far
		more, err := h.cloud.BySID(ctx, sids)
		out, errs = append(out, more...), append(errs, err)
	}
	parts := make([][]identity.Ref, len(h.accounts))
	anchors := map[string]string{} // what Entra's immutable id stands for, by SID
	seen := map[string]bool{}
	add := func(r identity.Ref) {
		key := strings.ToUpper(r.SID + "/" + r.GUID)
		if r.SID != "" {
			key = strings.ToUpper(r.SID)
		}
		if r.SID == "" && r.GUID == "" || seen[key] || r.Kind == identity.KindWorkload && r.ObjectID != "" {
			return
		}
		seen[key] = true
		at, err := h.domains.of(ctx, r)
		switch {
		case at >= 0:
			parts[at] = append(parts[at], r)
		case err != nil:
			errs = append(errs, err)
		default:
			out = append(out, h.foreign(r))
		}
	}
	for _, f := range out {
		anchors[strings.ToUpper(f.Ref.SID)] = connectorad.Anchored(f.ImmutableID)
		add(f.Ref)
	}
	for _, r := range refs {
		add(r)
	}
	for at, part := range parts {
		facts, err := h.accounts[at].Facts(ctx, part)
		errs = append(errs, err)
		for n := range facts {
			errs = append(errs, h.join(ctx, at, &facts[n], anchors[strings.ToUpper(facts[n].Ref.SID)]))
		}
		errs = append(errs, h.withJoined(ctx, facts))
		out = append(out, facts...)
	}
	return out, errors.Join(errs...)
}

// alone returns the SIDs of refs that no cloud account is known or was found for.
func alone(refs []identity.Ref, found []connector.AccountFacts) (sids []string) {
	seen := map[string]bool{}
	for _, f := range found {
		seen[strings.ToUpper(f.Ref.SID)] = true
	}
	for _, r := range refs {
		sid := strings.ToUpper(strings.TrimSpace(r.SID))
		if r.ObjectID == "" && sid != "" && !seen[sid] {
			seen[sid] = true
			sids = append(sids, sid)
		}
	}
	return sids
}

// join compares what Entra and Active Directory say of each other. Two strong keys
// that disagree are how a takeover looks; it is recorded and nothing is merged.
func (h *hybrid) join(ctx context.Context, at int, f *connector.AccountFacts, anchored string) error {
	p := f.Facts.OnPremises
	if anchored == "" || p == nil || p.Dispute != "" || anchored == p.Anchor {
		return nil
	}
	dispute, err := h.accounts[at].Dispute(ctx, f.Ref.SID, anchored)
	if err != nil {
		// Whose account it is is not known: neither is the rest, until it is asked again.
		f.Facts.RolesAsOf, f.Facts.OnPremises = time.Time{}, nil
		f.Facts.Roles, f.Facts.Groups, f.Facts.GroupsRead = nil, nil, nil
		return err
	}
	p.Dispute = dispute
	return nil
}

// foreign says of an account that its domain is none of the tenant's.
func (h *hybrid) foreign(r identity.Ref) connector.AccountFacts {
	return connector.AccountFacts{
		Ref:   identity.Ref{Provider: identity.ActiveDirectory, SID: r.SID, GUID: r.GUID},
		Facts: identity.Facts{RolesAsOf: h.domains.now(), OnPremises: &identity.OnPremises{Class: identity.ClassForeign}},
	}
}
