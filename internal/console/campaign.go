package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func (c *Console) campaignRoutes() {
	c.mux.HandleFunc("GET /campaigns", c.campaigns)
	c.mux.HandleFunc("GET /campaigns/{id}", c.campaign)
	c.mux.HandleFunc("POST /campaigns", c.proposeCampaign)
	c.mux.HandleFunc("POST /campaigns/{id}/{what}", c.moveCampaign)
}

type (
	campaignsPage struct {
		head
		List      desk.List[campaign.Campaign]
		Playbooks []desk.PlaybookView
		Tenants   []identity.Tenant
		Wish      campaign.Wish // what the form begins with
		More      string
	}
	campaignPage struct {
		head
		View  desk.CampaignView
		Items desk.List[desk.CampaignItem]
		More  string
	}
)

// A count is how many runs stand so.
type count struct {
	State run.State
	N     int
}

// Counts are the states of its runs, the most frequent first.
func (p campaignPage) Counts() []count {
	var out []count
	for s, n := range p.View.Progress.States {
		out = append(out, count{s, n})
	}
	slices.SortFunc(out, func(a, b count) int { return cmp.Or(b.N-a.N, cmp.Compare(a.State, b.State)) })
	return out
}

// Percent is how much of it is over.
func (p campaignPage) Percent() int {
	return 100 * p.View.Progress.Ended() / max(1, p.View.Campaign.Size)
}

// FailPercent is the share of runs that may fail.
func (p campaignPage) FailPercent() int { return int(p.View.Campaign.Wish.Failures*100 + 0.5) }

func (c *Console) campaigns(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Campaigns", "campaigns")
	if !ok {
		return
	}
	p, ctx := campaignsPage{head: h, Tenants: c.desk.Tenants(h.Op)}, r.Context()
	var err error
	if p.List, err = c.desk.Campaigns(ctx, h.Op, desk.CampaignFilter{}, page(r.URL.Query())); err == nil {
		p.Playbooks, err = c.desk.Playbooks(ctx, h.Op)
	}
	if err == nil {
		p.Wish, err = campaign.Wish{}.Filled()
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	p.Refresh = 15 * time.Second
	p.More = more(r, p.List.Next)
	c.show(w, r, "campaigns", p)
}

func (c *Console) campaign(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Campaign", "campaigns")
	if !ok {
		return
	}
	p, id, ctx := campaignPage{head: h}, campaign.ID(r.PathValue("id")), r.Context()
	var err error
	if p.View, err = c.desk.CampaignView(ctx, h.Op, id); err == nil {
		p.Items, err = c.desk.CampaignItems(ctx, h.Op, id, page(r.URL.Query()))
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	if !p.View.Campaign.State.Final() {
		p.Refresh = 5 * time.Second
	}
	p.More = more(r, p.Items.Next)
	c.show(w, r, "campaign", p)
}

func (c *Console) proposeCampaign(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		f := r.PostForm
		wish := desk.CampaignWish{
			Tenant: identity.Tenant(f.Get("tenant")), Playbook: f.Get("playbook"), MinLevel: signal.Level(f.Get("level")), Reason: f.Get("reason"),
		}
		if all := c.desk.Tenants(op); wish.Tenant == "" && len(all) == 1 {
			wish.Tenant = all[0]
		}
		var err error
		for field, to := range map[string]*int{"canary": &wish.Canary, "wave": &wish.Wave} {
			if *to, err = strconv.Atoi(f.Get(field)); err != nil {
				return "", fault.Errorf(fault.Invalid, "%s: %q is no number", field, f.Get(field))
			}
		}
		v, err := c.desk.ProposeCampaign(ctx, op, wish)
		return at("campaigns", string(v.Campaign.ID), "proposed"), err
	})
}

func (c *Console) moveCampaign(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		id, f := campaign.ID(r.PathValue("id")), r.PostForm
		what := r.PathValue("what")
		var err error
		switch what {
		case "approve":
			if f.Get("read") != "yes" {
				return "", fault.Errorf(fault.Invalid, "tick the box that says you have read whom it is about")
			}
			_, err = c.desk.DecideCampaign(ctx, op, id, true, f.Get("hash"), f.Get("reason"))
		case "reject":
			_, err = c.desk.DecideCampaign(ctx, op, id, false, f.Get("hash"), f.Get("reason"))
		case "pause":
			_, err = c.desk.PauseCampaign(ctx, op, id, f.Get("reason"))
		case "resume":
			_, err = c.desk.ResumeCampaign(ctx, op, id)
		case "stop":
			_, err = c.desk.StopCampaign(ctx, op, id, f.Get("reason"))
		default:
			return "", fault.Errorf(fault.NotFound, "There is no page %s.", r.URL.Path)
		}
		return at("campaigns", string(id), "campaign-"+what), err
	})
}
