package desktest

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// ForCampaigns is the same store as campaigns see it.
func (s *Store) ForCampaigns() campaign.Store { return campaigns{s} }

type campaigns struct{ *Store }

func (c campaigns) Update(ctx context.Context, change func(campaign.Tx) error) error {
	return c.update(ctx, func(t *tx) error { return change(t) })
}

func (c campaigns) Open(context.Context) ([]campaign.Campaign, error) {
	out := slices.DeleteFunc(read[campaign.Campaign](c.Store, "campaigns", ""), campaign.Campaign.Over)
	slices.SortFunc(out, func(a, b campaign.Campaign) int { return a.AskedAt.Compare(b.AskedAt) })
	return out, nil
}

func (c campaigns) Progress(ctx context.Context, t identity.Tenant, id campaign.ID, released int) (campaign.Progress, error) {
	return c.CampaignProgress(ctx, t, id, released)
}

// A kept item knows its campaign.
type kept struct {
	Campaign campaign.ID
	Item     campaign.Item
}

func (t *tx) Campaign(tenant identity.Tenant, id campaign.ID) (campaign.Campaign, error) {
	return get[campaign.Campaign](t, "campaigns", "campaign", tenant, string(id))
}

func (t *tx) PutCampaign(c campaign.Campaign) (campaign.Campaign, error) {
	if c.ID == "" {
		c.ID = campaign.ID(t.NewID("cmp"))
	}
	var err error
	c.Version, err = version(t, "campaigns", "campaign", c.Tenant, string(c.ID), c.Version, func(o campaign.Campaign) int64 { return o.Version })
	if err == nil {
		t.set("campaigns", string(c.ID), c.Tenant, "", c)
	}
	return c, err
}

func (t *tx) PutItems(tenant identity.Tenant, id campaign.ID, items []campaign.Item) error {
	for _, i := range items {
		t.set("campaign items", fmt.Sprintf("%s/%d", id, i.Place), tenant, "", kept{id, i})
	}
	return nil
}

func (t *tx) Items(tenant identity.Tenant, id campaign.ID, from, limit int) ([]campaign.Item, error) {
	var out []campaign.Item
	for _, k := range all(t, "campaign items", tenant, func(k kept) bool { return k.Campaign == id && k.Item.Place >= from }) {
		out = append(out, k.Item)
	}
	slices.SortFunc(out, func(a, b campaign.Item) int { return a.Place - b.Place })
	return out[:min(limit, len(out))], nil
}

func (t *tx) RunsOfCampaign(tenant identity.Tenant, id campaign.ID, after run.ID, limit int) ([]run.ID, error) {
	var out []run.ID
	for _, r := range all(t, "runs", tenant, func(r run.Run) bool {
		return r.Consent != nil && r.Consent.Campaign == string(id) && !r.State.Final() && r.ID > after
	}) {
		out = append(out, r.ID)
	}
	slices.Sort(out)
	return out[:min(limit, len(out))], nil
}

// Campaigns implements desk.Store.
func (s *Store) Campaigns(_ context.Context, f desk.CampaignFilter, p desk.Page) (desk.List[campaign.Campaign], error) {
	return page(read[campaign.Campaign](s, "campaigns", f.Tenant), p, func(c campaign.Campaign) bool { return !f.Open || !c.Over() },
		func(c campaign.Campaign) string { return newest(c.AskedAt) + "|" + string(c.ID) })
}

// Campaign implements desk.Store.
func (s *Store) Campaign(_ context.Context, t identity.Tenant, id campaign.ID) (campaign.Campaign, error) {
	return one[campaign.Campaign](s, "campaigns", "campaign", t, string(id))
}

// CampaignItems implements desk.Store.
func (s *Store) CampaignItems(_ context.Context, t identity.Tenant, id campaign.ID, p desk.Page) (desk.List[desk.CampaignItem], error) {
	var rows []desk.CampaignItem
	for _, k := range read[kept](s, "campaign items", t) {
		if k.Campaign != id {
			continue
		}
		i := desk.CampaignItem{Item: k.Item}
		if r, err := one[run.Run](s, "runs", "run", t, string(i.Run)); err == nil {
			i.State = r.State
		}
		rows = append(rows, i)
	}
	return page(rows, p, func(desk.CampaignItem) bool { return true }, func(i desk.CampaignItem) string { return fmt.Sprintf("%09d", i.Place) })
}

// CampaignProgress implements desk.Store.
func (s *Store) CampaignProgress(_ context.Context, t identity.Tenant, id campaign.ID, released int) (campaign.Progress, error) {
	p := campaign.Progress{States: map[run.State]int{}}
	for _, k := range read[kept](s, "campaign items", t) {
		if k.Campaign != id || k.Item.Place >= released {
			continue
		}
		if r, err := one[run.Run](s, "runs", "run", t, string(k.Item.Run)); err == nil {
			p.States[r.State]++
		}
	}
	unsent := map[int]bool{}
	for _, a := range read[action.Action](s, "actions", t) {
		if a.Campaign == string(id) && a.Place < released && (a.State == action.Approved || a.State == action.Held) {
			unsent[a.Place] = true
		}
	}
	p.Unsent = len(unsent)
	return p, nil
}
