package httpapi

import (
	"context"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func (s *server) campaigns() {
	register(s, access.Read, get("list-campaigns", "/campaigns", "Campaigns: one playbook for many identities"),
		func(ctx context.Context, op access.Operator, in *struct {
			Paging
			Tenanted
			Open bool `query:"open" doc:"Only those that are not over."`
		}) (*body[desk.List[campaign.Campaign]], error) {
			return answer(s.desk.Campaigns(ctx, op, desk.CampaignFilter{Tenant: identity.Tenant(in.Tenant), Open: in.Open}, in.page()))
		})
	register(s, access.Read, get("show-campaign", "/campaigns/{id}", "One campaign with how far it has come"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.CampaignView], error) {
			return answer(s.desk.CampaignView(ctx, op, campaign.ID(in.ID)))
		})
	register(s, access.Read, get("list-campaign-items", "/campaigns/{id}/items", "The identities of a campaign, in the order in which they go"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Paging
		}) (*body[desk.List[desk.CampaignItem]], error) {
			return answer(s.desk.CampaignItems(ctx, op, campaign.ID(in.ID), in.page()))
		})
	register(s, access.Plan, post("propose-campaign", "/campaigns", "Plan a playbook for many identities and ask for approval; needs a reason"),
		func(ctx context.Context, op access.Operator, in *struct {
			Body struct {
				Tenant     string        `json:"tenant" minLength:"1" maxLength:"100"`
				Playbook   string        `json:"playbook" minLength:"1" maxLength:"200"`
				MinLevel   signal.Level  `json:"minLevel,omitempty" enum:"low,medium,high" doc:"Open cases of this level or higher."`
				Identities []identity.ID `json:"identities,omitempty" maxItems:"50000" doc:"Only these; everybody with an open case when left out."`
				Canary     int           `json:"canary,omitempty" minimum:"0" maximum:"1000" doc:"How many go first; 5 when left out."`
				Wave       int           `json:"wave,omitempty" minimum:"0" maximum:"50000" doc:"How many are released at a time; 500 when left out."`
				Failures   float64       `json:"failures,omitempty" minimum:"0" maximum:"1" doc:"The share of runs that may fail before it pauses by itself; 0.05 when left out."`
				Reasoned
			}
		}) (*body[desk.CampaignView], error) {
			b := in.Body
			return answer(s.desk.ProposeCampaign(ctx, op, desk.CampaignWish{
				Tenant: identity.Tenant(b.Tenant), Playbook: b.Playbook, MinLevel: b.MinLevel, Identities: b.Identities,
				Canary: b.Canary, Wave: b.Wave, Failures: b.Failures, Reason: b.Reason,
			}))
		})
	decide := func(approve bool) func(context.Context, access.Operator, *answered) (*body[desk.CampaignView], error) {
		return func(ctx context.Context, op access.Operator, in *answered) (*body[desk.CampaignView], error) {
			return answer(s.desk.DecideCampaign(ctx, op, campaign.ID(in.ID), approve, in.Body.PlanHash, in.Body.Reason))
		}
	}
	register(s, access.Approve, post("approve-campaign", "/campaigns/{id}/approve", "Give consent to all plans of a campaign"), decide(true))
	register(s, access.Approve, post("reject-campaign", "/campaigns/{id}/reject", "Refuse a campaign; needs a reason"), decide(false))
	type reasoned struct {
		ByID
		Body Reasoned
	}
	register(s, access.Hold, post("pause-campaign", "/campaigns/{id}/pause", "Let nothing further of it leave; needs a reason"),
		func(ctx context.Context, op access.Operator, in *reasoned) (*body[desk.CampaignView], error) {
			return answer(s.desk.PauseCampaign(ctx, op, campaign.ID(in.ID), in.Body.Reason))
		})
	register(s, access.Resume, post("resume-campaign", "/campaigns/{id}/resume", "Go on where it was paused"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.CampaignView], error) {
			return answer(s.desk.ResumeCampaign(ctx, op, campaign.ID(in.ID)))
		})
	register(s, access.Hold, post("stop-campaign", "/campaigns/{id}/stop", "Withdraw what has not left; needs a reason"),
		func(ctx context.Context, op access.Operator, in *reasoned) (*body[desk.CampaignView], error) {
			return answer(s.desk.StopCampaign(ctx, op, campaign.ID(in.ID), in.Body.Reason))
		})
}
