package apiclient

import (
	"context"

	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/desk"
)

// Campaigns lists campaigns.
func (c *Client) Campaigns(ctx context.Context, f desk.CampaignFilter, p desk.Page) (desk.List[campaign.Campaign], error) {
	return get[desk.List[campaign.Campaign]](ctx, c, "/campaigns", filter(p, "tenant", f.Tenant, "open", f.Open))
}

// Campaign shows one with how far it has come.
func (c *Client) Campaign(ctx context.Context, id campaign.ID) (desk.CampaignView, error) {
	return get[desk.CampaignView](ctx, c, at("campaigns", string(id)), nil)
}

// CampaignItems lists its identities, in the order in which they go.
func (c *Client) CampaignItems(ctx context.Context, id campaign.ID, p desk.Page) (desk.List[desk.CampaignItem], error) {
	return get[desk.List[desk.CampaignItem]](ctx, c, at("campaigns", string(id), "items"), filter(p))
}

// ProposeCampaign plans for many identities and asks for the approval.
func (c *Client) ProposeCampaign(ctx context.Context, w desk.CampaignWish) (desk.CampaignView, error) {
	body := map[string]any{
		"tenant": w.Tenant, "playbook": w.Playbook, "canary": w.Canary, "wave": w.Wave, "failures": w.Failures, "reason": w.Reason,
	}
	if w.MinLevel != "" {
		body["minLevel"] = w.MinLevel
	}
	if len(w.Identities) > 0 {
		body["identities"] = w.Identities
	}
	return post[desk.CampaignView](ctx, c, "/campaigns", body)
}

// DecideCampaign approves or rejects all plans of the campaign with that hash.
func (c *Client) DecideCampaign(ctx context.Context, id campaign.ID, approve bool, hash, reason string) (desk.CampaignView, error) {
	word := "reject"
	if approve {
		word = "approve"
	}
	return post[desk.CampaignView](ctx, c, at("campaigns", string(id), word), map[string]any{"planHash": hash, "reason": reason})
}

// PauseCampaign lets nothing further of it leave.
func (c *Client) PauseCampaign(ctx context.Context, id campaign.ID, reason string) (desk.CampaignView, error) {
	return post[desk.CampaignView](ctx, c, at("campaigns", string(id), "pause"), map[string]any{"reason": reason})
}

// ResumeCampaign goes on where it was paused.
func (c *Client) ResumeCampaign(ctx context.Context, id campaign.ID) (desk.CampaignView, error) {
	return post[desk.CampaignView](ctx, c, at("campaigns", string(id), "resume"), nil)
}

// StopCampaign withdraws what has not left.
func (c *Client) StopCampaign(ctx context.Context, id campaign.ID, reason string) (desk.CampaignView, error) {
	return post[desk.CampaignView](ctx, c, at("campaigns", string(id), "stop"), map[string]any{"reason": reason})
}
