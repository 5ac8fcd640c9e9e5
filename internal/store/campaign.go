package store

import (
	"context"
	"fmt"

	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// campaignStore is the store as package campaign needs it.
type campaignStore struct{ db *DB }

// Campaigns returns the store as package campaign needs it.
func (db *DB) Campaigns() campaign.Store { return campaignStore{db} }

func (s campaignStore) Update(ctx context.Context, change func(campaign.Tx) error) error {
	return s.db.update(ctx, rankOther, func(tx *Tx) error { return change(tx) })
}

func (s campaignStore) Open(ctx context.Context) ([]campaign.Campaign, error) {
	out, err := docsOf[campaign.Campaign](ctx, s.db.reads(), `SELECT doc FROM campaigns WHERE final = 0 ORDER BY asked_at, id`)
	if err != nil {
		return nil, fmt.Errorf("open campaigns: %w", err)
	}
	return out, nil
}

func (s campaignStore) Progress(ctx context.Context, t identity.Tenant, id campaign.ID, released int) (campaign.Progress, error) {
	return progress(ctx, s.db.reads(), t, id, released)
}

func progress(ctx context.Context, c conn, t identity.Tenant, id campaign.ID, released int) (campaign.Progress, error) {
	p := campaign.Progress{States: map[run.State]int{}}
	err := eachRow(ctx, c, func(r rows) error {
		var state string
		var n int64
		err := r.Scan(&state, &n)
		p.States[run.State(state)] = int(n)
		return err
	}, `SELECT r.state, count(*) FROM campaign_items i JOIN runs r ON r.tenant = i.tenant AND r.id = i.run
		WHERE i.tenant = ? AND i.campaign = ? AND i.place < ? GROUP BY r.state`, string(t), string(id), int64(released))
	if err != nil {
		return p, fmt.Errorf("progress of campaign %s: %w", id, err)
	}
	var unsent int64
	if _, err := scanRow(ctx, c, []any{&unsent}, `SELECT count(DISTINCT place) FROM actions
		WHERE tenant = ? AND state IN ('approved', 'held') AND campaign = ? AND place < ?`, string(t), string(id), int64(released)); err != nil {
		return p, fmt.Errorf("progress of campaign %s: %w", id, err)
	}
	p.Unsent = int(unsent)
	return p, nil
}

const selectCampaign = `SELECT doc FROM campaigns WHERE tenant = ? AND id = ?`

// Campaign returns fault.NotFound when there is none.
func (tx *Tx) Campaign(t identity.Tenant, id campaign.ID) (campaign.Campaign, error) {
	return txDoc[campaign.Campaign](tx, "campaign", selectCampaign, string(t), string(id))
}

// PutCampaign stores c. What it released leaves from the commit on, and nothing
// of it while it does not go.
func (tx *Tx) PutCampaign(c campaign.Campaign) (campaign.Campaign, error) {
	if err := mustTenant("campaign", c.Tenant); err != nil {
		return c, err
	}
	was := c.Version
	if c.ID == "" {
		c.ID, was = campaign.ID(tx.NewID("cmp")), 0
	}
	c.Version = was + 1
	doc, err := encode(c)
	if err != nil {
		return c, fmt.Errorf("campaign %s: %w", c.ID, err)
	}
	var released int64
	if c.State.Goes() {
		released = int64(c.Released)
	}
	w := keyed("campaigns", "campaign", c.Tenant, string(c.ID))
	w.col("final", flag(c.Over()))
	w.col("released", released)
	w.col("asked_at", micros0(c.AskedAt))
	w.col("version", c.Version)
	w.col("doc", doc)
	if _, err := tx.putVersioned(w, c.Tenant, string(c.ID), was, doc, selectCampaign); err != nil {
		return c, err
	}
	tx.touch(Topic{Kind: TopicDispatch, Tenant: c.Tenant})
	return c, nil
}

// PutItems stores items; one that is there already is replaced.
func (tx *Tx) PutItems(t identity.Tenant, id campaign.ID, items []campaign.Item) error {
	for _, i := range items {
		doc, err := encode(i)
		if err != nil {
			return fmt.Errorf("campaign %s: %w", id, err)
		}
		r := row{table: "campaign_items", what: "item", keys: 3, taken: replace}
		r.col("tenant", string(t))
		r.col("campaign", string(id))
		r.col("place", int64(i.Place))
		r.col("run", orNull(i.Run))
		r.col("doc", doc)
		tx.loose = append(tx.loose, r)
	}
	return nil
}

// Items returns items in order.
func (tx *Tx) Items(t identity.Tenant, id campaign.ID, from, limit int) ([]campaign.Item, error) {
	return txDocs[campaign.Item](tx, "items of campaign", `SELECT doc FROM campaign_items WHERE tenant = ? AND campaign = ? AND place >= ?
		ORDER BY place LIMIT ?`, string(t), string(id), int64(from), int64(limit))
}

// RunsOfCampaign returns the ids of its runs that are not final.
func (tx *Tx) RunsOfCampaign(t identity.Tenant, id campaign.ID, after run.ID, limit int) ([]run.ID, error) {
	var out []run.ID
	err := eachRow(tx.ctx, tx.c, func(r rows) error {
		var id string
		err := r.Scan(&id)
		out = append(out, run.ID(id))
		return err
	}, `SELECT id FROM runs WHERE tenant = ? AND campaign = ? AND final = 0 AND id > ? ORDER BY id LIMIT ?`,
		string(t), string(id), string(after), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("runs of campaign %s: %w", id, tx.keep(err))
	}
	return out, nil
}

func (s deskStore) Campaigns(ctx context.Context, f desk.CampaignFilter, p desk.Page) (desk.List[campaign.Campaign], error) {
	l := &listing{table: "campaigns", order: []orderBy{{column: "asked_at", desc: true}, byID}}
	l.is("tenant", string(f.Tenant))
	if f.Open {
		l.where = append(l.where, "final = 0")
	}
	return docs[campaign.Campaign](ctx, s.db, l, p)
}

func (s deskStore) Campaign(ctx context.Context, t identity.Tenant, id campaign.ID) (campaign.Campaign, error) {
	return one[campaign.Campaign](ctx, s.db, "campaign", "campaigns", t, string(id))
}

func (s deskStore) CampaignProgress(ctx context.Context, t identity.Tenant, id campaign.ID, released int) (campaign.Progress, error) {
	return progress(ctx, s.db.reads(), t, id, released)
}

func (s deskStore) CampaignItems(ctx context.Context, t identity.Tenant, id campaign.ID, p desk.Page) (desk.List[desk.CampaignItem], error) {
	l := &listing{table: "campaign_items i LEFT JOIN runs r ON r.tenant = i.tenant AND r.id = i.run", order: []orderBy{{column: "i.place"}}}
	l.is("i.tenant", string(t))
	l.is("i.campaign", string(id))
	dest := func() []any { return []any{new([]byte), new(string)} }
	return page(ctx, s.db, l, p, "i.doc, coalesce(r.state, '')", dest, func(cells []any) (desk.CampaignItem, error) {
		i, err := decode[campaign.Item](*cells[0].(*[]byte))
		return desk.CampaignItem{Item: i, State: run.State(*cells[1].(*string))}, err
	})
}
