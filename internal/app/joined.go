package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// How far back memberships are looked for, and how many are kept.
const (
	joinedBack = 30 * 24 * time.Hour
	joinedMost = 20
)

// The events of Windows that tell of a member put into a security group, global, local
// and universal, and taken out of one. Source: Windows' event reference.
var (
	memberAdded   = []string{"4728", "4732", "4756"}
	memberRemoved = []string{"4729", "4733", "4757"}
)

// A joinedReader says, by SID, which groups accounts were put into.
type joinedReader func(ctx context.Context, sid string) ([]identity.Joined, error)

// joinedFrom reads what controllers reported. The directory itself does not say since
// when somebody is in a group to whom it gives no replication metadata.
func joinedFrom(t identity.Tenant, records record.Reader, now func() time.Time) joinedReader {
	return func(ctx context.Context, sid string) ([]identity.Joined, error) {
		page, err := records.Records(ctx, record.Query{Tenant: t, Accounts: []identity.Ref{{Provider: identity.ActiveDirectory, SID: sid}},
			Sources: []record.Source{record.DirectoryChange}, Types: slices.Concat(memberAdded, memberRemoved), Since: now().Add(-joinedBack), Limit: record.MaxLimit})
		if err != nil {
			return nil, fmt.Errorf("read which groups %s was put into: %w", sid, err)
		}
		return joined(page.Records, sid), nil
	}
}

// joined takes the memberships that stand out of reports, newest first: the last one
// about a group counts.
func joined(list []record.Record, sid string) (out []identity.Joined) {
	seen := map[string]bool{}
	for _, r := range list {
		group, member := "", false
		j := identity.Joined{By: r.Subject.Name(), At: r.At}
		for _, p := range r.Others {
			switch p.Role {
			case "group":
				group, j.Name = p.Ref.SID, p.Ref.Name()
			case "member":
				member = slices.ContainsFunc(p.Ref.Keys(), func(k identity.Key) bool {
					return slices.Contains((identity.Ref{SID: sid}).Keys(), k)
				})
			}
		}
		if r.Result == record.Failure || !member || !identity.IsSID(group) || seen[group] {
			continue
		}
		if seen[group] = true; slices.Contains(memberAdded, r.Type) && len(out) < joinedMost {
			j.Group = group
			out = append(out, j)
		}
	}
	return out
}

// withJoined adds to facts of accounts in Active Directory which groups they were put
// into.
func (h *hybrid) withJoined(ctx context.Context, list []connector.AccountFacts) error {
	if h.joined == nil {
		return nil
	}
	for n := range list {
		p := list[n].Facts.OnPremises
		if p == nil || list[n].Ref.SID == "" || p.Class == identity.ClassForeign {
			continue
		}
		var err error
		if p.Joined, err = h.joined(ctx, list[n].Ref.SID); err != nil {
			return err
		}
	}
	return nil
}
