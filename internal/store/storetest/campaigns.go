package storetest

import (
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// aCampaign is about the persons 1 to 3, whose runs scene stores.
func aCampaign(id campaign.ID) campaign.Campaign {
	return campaign.Campaign{
		Tenant: tenant, ID: id, Wish: campaign.Wish{Query: "all open cases", Canary: 1, Wave: 2}, Hash: "root", Size: 3,
		AskedBy: "operator:lead", AskedAt: start, Approval: aRequest(1), State: campaign.Proposed,
	}
}

// of makes r a run of the campaign.
func of(id campaign.ID, place int, r run.Run) run.Run {
	r.Consent = &run.Consent{Campaign: string(id), Place: place, PlanHash: "p1"}
	return r
}

func campaigns(t *testing.T, open func(*testing.T) Ports) {
	const id = campaign.ID("cmp_0001")
	items := func() []campaign.Item {
		var out []campaign.Item
		for n := range 3 {
			out = append(out, campaign.Item{Place: n, Identity: person(n + 1).ID, Case: openCase(n + 1).ID, Name: person(n + 1).Name, PlanHash: "p1"})
		}
		return out
	}
	// set stores the campaign with its items, and returns it as stored.
	set := func(t *testing.T, p Ports) campaign.Campaign {
		t.Helper()
		c := aCampaign(id)
		if err := p.Campaigns.Update(t.Context(), func(tx campaign.Tx) (err error) {
			if c, err = tx.PutCampaign(c); err != nil {
				return err
			}
			return tx.PutItems(tenant, id, items())
		}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	change := func(t *testing.T, p Ports, c campaign.Campaign, f func(*campaign.Campaign)) campaign.Campaign {
		t.Helper()
		f(&c)
		if err := p.Campaigns.Update(t.Context(), func(tx campaign.Tx) (err error) {
			c, err = tx.PutCampaign(c)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return c
	}

	t.Run("Keep", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 3)
		c := set(t, p)
		got, err := p.Desk.Campaign(t.Context(), "", id)
		same(t, "campaign", c, got)
		if err != nil {
			t.Error(err)
		}
		_, err = p.Desk.Campaign(t.Context(), elsewhere, id)
		wantKind(t, "of another tenant", err, fault.NotFound)
		old := c
		c = change(t, p, c, func(c *campaign.Campaign) { c.State = campaign.Canary })
		err = p.Campaigns.Update(t.Context(), func(tx campaign.Tx) error { _, err := tx.PutCampaign(old); return err })
		wantKind(t, "an old version", err, fault.Conflict)

		open, err := p.Campaigns.Open(t.Context())
		same(t, "open", []campaign.Campaign{c}, open)
		if err != nil {
			t.Error(err)
		}
		first, err := p.Desk.CampaignItems(t.Context(), tenant, id, desk.Page{Limit: 2})
		if err != nil || len(first.Items) != 2 || first.Items[0].Place != 0 || first.Next == "" {
			t.Errorf("first page of items: %+v, %v", first, err)
		}
		rest, err := p.Desk.CampaignItems(t.Context(), tenant, id, desk.Page{Limit: 2, After: first.Next})
		if err != nil || len(rest.Items) != 1 || rest.Items[0].Identity != person(3).ID || rest.Next != "" {
			t.Errorf("second page of items: %+v, %v", rest, err)
		}
		change(t, p, c, func(c *campaign.Campaign) { c.State = campaign.Done })
		if open, err = p.Campaigns.Open(t.Context()); len(open) != 0 || err != nil {
			t.Errorf("after its end: %v, %v", open, err)
		}
		all, err := p.Desk.Campaigns(t.Context(), desk.CampaignFilter{}, desk.Page{})
		if err != nil || len(all.Items) != 1 {
			t.Errorf("all: %+v, %v", all, err)
		}
		if all, err = p.Desk.Campaigns(t.Context(), desk.CampaignFilter{Open: true}, desk.Page{}); err != nil || len(all.Items) != 0 {
			t.Errorf("open ones: %+v, %v", all, err)
		}
	})

	t.Run("Progress", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		for n := range 3 {
			r := of(id, n, aRun(n+1))
			if n == 0 {
				r.State = run.Contained
			}
			put(t, p, person(n+1), openCase(n+1), r)
		}
		set(t, p)
		if err := p.Campaigns.Update(t.Context(), func(tx campaign.Tx) error {
			all, err := tx.Items(tenant, id, 0, 10)
			if err != nil || len(all) != 3 {
				t.Errorf("items: %v, %v", all, err)
			}
			for n := range all {
				all[n].Run = aRun(n + 1).ID
			}
			if some, err := tx.Items(tenant, id, 1, 1); len(some) != 1 || some[0].Place != 1 || err != nil {
				t.Errorf("items from 1: %v, %v", some, err)
			}
			return tx.PutItems(tenant, id, all)
		}); err != nil {
			t.Fatal(err)
		}
		waiting := anAction(2, "disable")
		waiting.State, waiting.Campaign, waiting.Place = action.Approved, string(id), 1
		put(t, p, waiting)
		for released, want := range map[int]campaign.Progress{
			0: {States: map[run.State]int{}},
			1: {States: map[run.State]int{run.Contained: 1}},
			3: {States: map[run.State]int{run.Contained: 1, run.Acting: 2}, Unsent: 1},
		} {
			got, err := p.Campaigns.Progress(t.Context(), tenant, id, released)
			same(t, "progress", want, got)
			if err != nil {
				t.Error(err)
			}
		}
		listed, err := p.Desk.CampaignItems(t.Context(), tenant, id, desk.Page{})
		if err != nil || len(listed.Items) != 3 || listed.Items[0].State != run.Contained || listed.Items[2].State != run.Acting {
			t.Errorf("items with states: %+v, %v", listed, err)
		}
		if err := p.Campaigns.Update(t.Context(), func(tx campaign.Tx) error {
			got, err := tx.RunsOfCampaign(tenant, id, "", 10)
			same(t, "open runs", []run.ID{aRun(2).ID, aRun(3).ID}, got)
			if got, err := tx.RunsOfCampaign(tenant, id, aRun(2).ID, 10); len(got) != 1 || err != nil {
				t.Errorf("open runs after the second: %v, %v", got, err)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})

	t.Run("Ready", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 3)
		c := set(t, p)
		for n := range 3 {
			a := anAction(n+1, "disable")
			a.State, a.Campaign, a.Place, a.RequestedAt = action.Approved, string(id), n, at(time.Duration(n)*time.Second)
			put(t, p, a)
		}
		second := anAction(1, "revoke")
		second.State, second.Campaign, second.Rank, second.RequestedAt = action.Approved, string(id), 1, at(-time.Minute)
		put(t, p, second)
		ready := func() []string {
			list, err := p.Dispatch.Ready(t.Context(), tenant, []action.Name{"entra.user.disable"}, at(time.Minute), 10)
			if err != nil {
				t.Error(err)
			}
			out := []string{}
			for _, a := range list {
				out = append(out, string(a.ID[4:]))
			}
			return out
		}
		same(t, "while it is proposed", []string{}, ready())
		c = change(t, p, c, func(c *campaign.Campaign) { c.State = campaign.Canary })
		same(t, "nothing released", []string{}, ready())
		c = change(t, p, c, func(c *campaign.Campaign) { c.Released = 2 })
		same(t, "breadth first", []string{"0001_disable", "0002_disable", "0001_revoke"}, ready())
		c = change(t, p, c, func(c *campaign.Campaign) { c.Paused, c.State = c.State, campaign.Paused })
		same(t, "paused", []string{}, ready())
		c = change(t, p, c, func(c *campaign.Campaign) { c.State, c.Released = campaign.Rolling, 3 })
		same(t, "all", []string{"0001_disable", "0002_disable", "0003_disable", "0001_revoke"}, ready())
		change(t, p, c, func(c *campaign.Campaign) { c.State = campaign.Stopped })
		same(t, "stopped", []string{}, ready())
	})

	t.Run("Reach", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 2)
		set(t, p)
		mine := under(1, "disable", action.Running, start, start)
		mine.Campaign = string(id)
		put(t, p, mine, under(2, "disable", action.Running, start, start))
		if err := p.Dispatch.Update(t.Context(), func(tx dispatch.Tx) error {
			got, err := tx.Disruptions(tenant, dispatch.Reach{Names: []action.Name{"entra.user.disable"}, Since: at(-time.Hour)})
			if got.Tenant != 1 || got.Everywhere != 1 {
				t.Errorf("a campaign counts against the hour of others: %+v", got)
			}
			if _, err := tx.Campaign(elsewhere, id); err == nil {
				t.Error("another tenant sees the campaign")
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}
