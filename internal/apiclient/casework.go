package apiclient

import (
	"context"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
)

// WriteNote writes into a case: an answer to a question, or with an empty question
// free words.
func (c *Client) WriteNote(ctx context.Context, id casefile.ID, question string, answer casefile.Answer, text string) (desk.CaseView, error) {
	return post[desk.CaseView](ctx, c, at("cases", string(id), "notes"), map[string]any{"question": question, "answer": string(answer), "text": text})
}

// Export exports a case whole.
func (c *Client) Export(ctx context.Context, id casefile.ID) (desk.Evidence, error) {
	return post[desk.Evidence](ctx, c, at("cases", string(id), "evidence"), nil)
}

// Elsewhere finds other identities with a trait of the case.
func (c *Client) Elsewhere(ctx context.Context, id casefile.ID) (desk.Elsewhere, error) {
	return get[desk.Elsewhere](ctx, c, at("cases", string(id), "elsewhere"), nil)
}

// Similar finds closed cases that share something with this one.
func (c *Client) Similar(ctx context.Context, id casefile.ID) (desk.Precedents, error) {
	return get[desk.Precedents](ctx, c, at("cases", string(id), "similar"), nil)
}

// Sweep finds what was left behind since the first signal of the case.
func (c *Client) Sweep(ctx context.Context, id casefile.ID) (desk.Swept, error) {
	return get[desk.Swept](ctx, c, at("cases", string(id), "sweep"), nil)
}

// Hunt returns queries for advanced hunting about the case.
func (c *Client) Hunt(ctx context.Context, id casefile.ID) (desk.Hunting, error) {
	return get[desk.Hunting](ctx, c, at("cases", string(id), "hunting"), nil)
}

// SweepTenant finds what was left behind in a tenant since the time; zero is a week
// ago.
func (c *Client) SweepTenant(ctx context.Context, t identity.Tenant, since time.Time) (desk.Swept, error) {
	return get[desk.Swept](ctx, c, "/sweep", filter(desk.Page{}, "tenant", t, "since", since))
}

// Links returns the accounts of an identity at the time (zero: now), and who may be
// the same.
func (c *Client) Links(ctx context.Context, id identity.ID, when time.Time) (desk.Links, error) {
	return get[desk.Links](ctx, c, at("identities", string(id), "links"), filter(desk.Page{}, "at", when))
}

// Link makes another identity part of this one; it needs a reason.
func (c *Client) Link(ctx context.Context, into, from identity.ID, reason string) (desk.IdentityView, error) {
	return post[desk.IdentityView](ctx, c, at("identities", string(into), "link"), map[string]any{"from": string(from), "reason": reason})
}

// Unlink takes an account out of an identity; it needs a reason.
func (c *Client) Unlink(ctx context.Context, id identity.ID, account, reason string) (desk.IdentityView, error) {
	return post[desk.IdentityView](ctx, c, at("identities", string(id), "unlink"), map[string]any{"account": account, "reason": reason})
}

// Tag tags an identity by hand; it needs a reason.
func (c *Client) Tag(ctx context.Context, id identity.ID, tag identity.TagName, reason string) (desk.IdentityView, error) {
	return post[desk.IdentityView](ctx, c, at("identities", string(id), "tag"), map[string]any{"tag": string(tag), "reason": reason})
}

// Untag takes a tag away that was given by hand; it needs a reason.
func (c *Client) Untag(ctx context.Context, id identity.ID, tag identity.TagName, reason string) (desk.IdentityView, error) {
	return post[desk.IdentityView](ctx, c, at("identities", string(id), "untag"), map[string]any{"tag": string(tag), "reason": reason})
}

// Exceptions lists exceptions with what each lowered.
func (c *Client) Exceptions(ctx context.Context, t identity.Tenant) ([]desk.ExceptionView, error) {
	return get[[]desk.ExceptionView](ctx, c, "/exceptions", filter(desk.Page{}, "tenant", t))
}

// MakeException puts an exception in force.
func (c *Client) MakeException(ctx context.Context, e risk.Exception) (desk.ExceptionView, error) {
	in := map[string]any{
		"tenant": string(e.Tenant), "kind": string(e.Kind), "name": e.Name, "identity": string(e.Identity), "owner": e.Owner, "reason": e.Reason,
		"until": e.Until.UTC().Format(time.RFC3339),
	}
	if len(e.Ranges) > 0 {
		in["ranges"] = e.Ranges
	}
	if len(e.Alerts) > 0 {
		in["alerts"] = e.Alerts
	}
	if len(e.Countries) > 0 {
		in["countries"] = e.Countries
	}
	return post[desk.ExceptionView](ctx, c, "/exceptions", in)
}

// EndException ends an exception at once; it needs a reason.
func (c *Client) EndException(ctx context.Context, id, reason string) (desk.ExceptionView, error) {
	return post[desk.ExceptionView](ctx, c, at("exceptions", id, "end"), map[string]any{"reason": reason})
}

// ExplainWith judges an identity by other weights.
func (c *Client) ExplainWith(ctx context.Context, id identity.ID, w risk.Weights) (desk.Replayed, error) {
	return post[desk.Replayed](ctx, c, at("identities", string(id), "explain"), map[string]any{"weights": w})
}

// Replay judges a page of a tenant's identities by other weights.
func (c *Client) Replay(ctx context.Context, t identity.Tenant, w risk.Weights, after string) (desk.Replay, error) {
	return post[desk.Replay](ctx, c, "/replay", map[string]any{"tenant": string(t), "weights": w, "after": after})
}
