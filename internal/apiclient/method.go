package apiclient

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (T, error) {
	return call[T](ctx, c, http.MethodGet, "/api"+path, q, nil)
}

func post[T any](ctx context.Context, c *Client, path string, body map[string]any) (T, error) {
	for k, v := range body {
		if v == "" {
			delete(body, k) // left out and empty mean the same
		}
	}
	return call[T](ctx, c, http.MethodPost, "/api"+path, nil, body)
}

// at builds a path from parts, each escaped.
func at(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// filter builds a query; zero values are left out.
func filter(p desk.Page, pairs ...any) url.Values {
	q := url.Values{}
	add := func(name string, v any) {
		switch v := v.(type) {
		case time.Time:
			if !v.IsZero() {
				q.Set(name, v.UTC().Format(time.RFC3339Nano))
			}
		case bool:
			if v {
				q.Set(name, "true")
			}
		default:
			if s := fmt.Sprint(v); s != "" {
				q.Set(name, s)
			}
		}
	}
	add("after", p.After)
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	for n := 0; n+1 < len(pairs); n += 2 {
		add(pairs[n].(string), pairs[n+1])
	}
	return q
}

func joined[T ~string](list []T) string {
	var parts []string
	for _, v := range list {
		parts = append(parts, string(v))
	}
	return strings.Join(parts, ",")
}

// Queue returns a page of the queue.
func (c *Client) Queue(ctx context.Context, f desk.CaseFilter, p desk.Page) (desk.Queue, error) {
	return get[desk.Queue](ctx, c, "/queue", filter(p, "tenant", f.Tenant, "status", joined(f.Status), "minLevel", f.MinLevel, "name", f.Name))
}

// Cases lists cases.
func (c *Client) Cases(ctx context.Context, f desk.CaseFilter, p desk.Page) (desk.List[casefile.Case], error) {
	return get[desk.List[casefile.Case]](ctx, c, "/cases", filter(p, "tenant", f.Tenant, "identity", f.Identity, "status", joined(f.Status), "minLevel", f.MinLevel, "name", f.Name))
}

// Identities lists identities.
func (c *Client) Identities(ctx context.Context, f desk.IdentityFilter, p desk.Page) (desk.List[identity.Identity], error) {
	return get[desk.List[identity.Identity]](ctx, c, "/identities", filter(p, "tenant", f.Tenant, "kind", f.Kind, "name", f.Name))
}

// Signals lists signals.
func (c *Client) Signals(ctx context.Context, f desk.SignalFilter, p desk.Page) (desk.List[signal.Signal], error) {
	return get[desk.List[signal.Signal]](ctx, c, "/signals", filter(p, "tenant", f.Tenant, "identity", f.Identity, "source", f.Source, "type", f.Type, "minLevel", f.MinLevel, "since", f.Since))
}

// Coverage counts the kinds of signals that are understood, and names those that
// arrived and are not.
func (c *Client) Coverage(ctx context.Context, t identity.Tenant) (desk.Coverage, error) {
	return get[desk.Coverage](ctx, c, "/coverage", filter(desk.Page{}, "tenant", t))
}

// Feeds says how everything that Cordon is told by fares.
func (c *Client) Feeds(ctx context.Context, t identity.Tenant) (desk.Feeds, error) {
	return get[desk.Feeds](ctx, c, "/feeds", filter(desk.Page{}, "tenant", t))
}

// Runs lists runs.
func (c *Client) Runs(ctx context.Context, f desk.RunFilter, p desk.Page) (desk.List[desk.RunSummary], error) {
	return get[desk.List[desk.RunSummary]](ctx, c, "/runs", filter(p, "tenant", f.Tenant, "case", f.Case, "identity", f.Identity, "playbook", f.Playbook, "state", joined(f.State)))
}

// Approvals lists requests for approval.
func (c *Client) Approvals(ctx context.Context, f desk.ApprovalFilter, p desk.Page) (desk.List[approval.Request], error) {
	return get[desk.List[approval.Request]](ctx, c, "/approvals", filter(p, "tenant", f.Tenant, "run", f.Run, "case", f.Case, "identity", f.Identity, "state", joined(f.State)))
}

// Actions lists actions.
func (c *Client) Actions(ctx context.Context, f desk.ActionFilter, p desk.Page) (desk.List[desk.ActionView], error) {
	return get[desk.List[desk.ActionView]](ctx, c, "/actions", filter(p, "tenant", f.Tenant, "run", f.Run, "case", f.Case, "identity", f.Identity, "name", f.Name, "state", joined(f.State), "person", f.Person))
}

// AuditEntries lists the trail, newest first.
func (c *Client) AuditEntries(ctx context.Context, f desk.AuditFilter, p desk.Page) (desk.List[audit.Entry], error) {
	return get[desk.List[audit.Entry]](ctx, c, "/audit", filter(p, "tenant", f.Tenant, "identity", f.Identity, "case", f.Case, "run", f.Run, "action", f.Action, "approval", f.Approval, "kind", joined(f.Kind), "since", f.Since))
}

// Playbooks lists the playbooks that can be planned or started by hand.
func (c *Client) Playbooks(ctx context.Context) ([]desk.PlaybookView, error) {
	return get[[]desk.PlaybookView](ctx, c, "/playbooks", nil)
}

// Case returns one case with its evidence.
func (c *Client) Case(ctx context.Context, id casefile.ID) (desk.CaseView, error) {
	return get[desk.CaseView](ctx, c, at("cases", string(id)), nil)
}

// Identity returns one identity with all that is known of it.
func (c *Client) Identity(ctx context.Context, id identity.ID) (desk.IdentityView, error) {
	return get[desk.IdentityView](ctx, c, at("identities", string(id)), nil)
}

// Signal returns one signal with its raw record; an empty tenant or source is any.
func (c *Client) Signal(ctx context.Context, k signal.Key) (signal.Signal, error) {
	return get[signal.Signal](ctx, c, at("signals", cmp.Or(string(k.Tenant), "-"), cmp.Or(string(k.Source), "-"), k.ExternalID), nil)
}

// Run returns one run, step by step.
func (c *Client) Run(ctx context.Context, id run.ID) (desk.RunView, error) {
	return get[desk.RunView](ctx, c, at("runs", string(id)), nil)
}

// Approval returns one request with the plan it binds.
func (c *Client) Approval(ctx context.Context, id approval.ID) (desk.ApprovalView, error) {
	return get[desk.ApprovalView](ctx, c, at("approvals", string(id)), nil)
}

// Action returns one action.
func (c *Client) Action(ctx context.Context, id action.ID) (desk.ActionView, error) {
	return get[desk.ActionView](ctx, c, at("actions", string(id)), nil)
}

// Stop returns the stop in force.
func (c *Client) Stop(ctx context.Context, t identity.Tenant) (dispatch.Stop, error) {
	return get[dispatch.Stop](ctx, c, "/hold", filter(desk.Page{}, "tenant", t))
}

// Approve gives consent to the plan with the hash the operator saw.
func (c *Client) Approve(ctx context.Context, id approval.ID, planHash, reason string) (desk.ApprovalView, error) {
	return post[desk.ApprovalView](ctx, c, at("approvals", string(id), "approve"), map[string]any{"planHash": planHash, "reason": reason})
}

// Reject refuses the plan with the hash the operator saw; it needs a reason.
func (c *Client) Reject(ctx context.Context, id approval.ID, planHash, reason string) (desk.ApprovalView, error) {
	return post[desk.ApprovalView](ctx, c, at("approvals", string(id), "reject"), map[string]any{"planHash": planHash, "reason": reason})
}

// Undo takes back an action, or what a run did; it needs a reason. id is either's.
func (c *Client) Undo(ctx context.Context, id, reason string) (desk.RunView, error) {
	return post[desk.RunView](ctx, c, at("actions", id, "undo"), map[string]any{"reason": reason})
}

// Extend lets an action stand until the given time; it needs a reason.
func (c *Client) Extend(ctx context.Context, id action.ID, until time.Time, reason string) (desk.ActionView, error) {
	return post[desk.ActionView](ctx, c, at("actions", string(id), "extend"), map[string]any{"until": until, "reason": reason})
}

// Hold switches the global stop of a tenant, or of all, on or off.
func (c *Client) Hold(ctx context.Context, t identity.Tenant, on bool, reason string) (dispatch.Stop, error) {
	return post[dispatch.Stop](ctx, c, "/hold", map[string]any{"tenant": string(t), "on": on, "reason": reason})
}

// Verdict closes a case.
func (c *Client) Verdict(ctx context.Context, id casefile.ID, word casefile.Word, reason string) (desk.CaseView, error) {
	return post[desk.CaseView](ctx, c, at("cases", string(id), "verdict"), map[string]any{"word": string(word), "reason": reason})
}

// Plan returns the plan a playbook has for an identity now; nothing is written.
func (c *Client) Plan(ctx context.Context, playbookID string, id identity.ID) (desk.RunView, error) {
	return post[desk.RunView](ctx, c, at("identities", string(id), "plan"), map[string]any{"playbook": playbookID})
}

// Start starts a playbook on an identity by hand; planHash "" means whatever the
// plan is by now.
func (c *Client) Start(ctx context.Context, playbookID string, id identity.ID, planHash, reason string) (desk.RunView, error) {
	return post[desk.RunView](ctx, c, at("identities", string(id), "start"), map[string]any{"playbook": playbookID, "planHash": planHash, "reason": reason})
}

// AskHandOver asks to give the person access again with a new password that
// recipient ("" means whoever asks) can reveal once.
func (c *Client) AskHandOver(ctx context.Context, id identity.ID, recipient access.OperatorID, reason string) (desk.HandOver, error) {
	return post[desk.HandOver](ctx, c, at("identities", string(id), "hand-over"), map[string]any{"recipient": string(recipient), "reason": reason})
}

// Reveal returns a handed-over password, once.
func (c *Client) Reveal(ctx context.Context, id run.ID, key string) (desk.Revealed, error) {
	return post[desk.Revealed](ctx, c, at("runs", string(id), "reveal"), map[string]any{"key": key})
}
