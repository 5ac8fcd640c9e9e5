package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

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

// The embedded parts of inputs are exported because huma looks at no others.
type (
	body[T any] struct{ Body T }

	// Paging is what every list takes.
	Paging struct {
		After string `query:"after" maxLength:"1000" doc:"The next of the page before."`
		Limit int    `query:"limit" minimum:"0" maximum:"500" doc:"Rows wanted; 50 when left out."`
	}
	// Tenanted narrows to a tenant.
	Tenanted struct {
		Tenant string `query:"tenant" maxLength:"100" doc:"One tenant; all the operator may see when left out."`
	}
	// ByID names one thing in the path.
	ByID struct {
		ID string `path:"id" maxLength:"200"`
	}
	// Reasoned says why.
	Reasoned struct {
		Reason string `json:"reason,omitempty" maxLength:"2000" doc:"Why; it stays in the trail with the operator's name."`
	}
)

func (p Paging) page() desk.Page { return desk.Page{After: p.After, Limit: p.Limit} }

func answer[T any](v T, err error) (*body[T], error) { return &body[T]{v}, err }

func get(id, path, summary string) huma.Operation {
	return huma.Operation{OperationID: id, Method: http.MethodGet, Path: "/api" + path, Summary: summary}
}

func post(id, path, summary string) huma.Operation {
	return huma.Operation{OperationID: id, Method: http.MethodPost, Path: "/api" + path, Summary: summary}
}

func (s *server) routes() {
	s.lists()
	s.views()
	s.commands()
	s.campaigns()
	s.casework()
}

// Me is the operator behind the token.
type Me struct {
	ID          access.OperatorID   `json:"id"`
	Name        string              `json:"name"`
	Roles       []access.Role       `json:"roles"`
	Groups      []string            `json:"groups,omitempty"`
	Tenant      identity.Tenant     `json:"tenant,omitempty"`
	Permissions []access.Permission `json:"permissions"`
}

func (s *server) lists() {
	register(s, access.Read, get("queue", "/queue", "Identities at risk, in the order in which to work them"),
		func(ctx context.Context, op access.Operator, in *struct {
			Paging
			Tenanted
			Status   []casefile.Status `query:"status" enum:"open,acting,waiting,contained,closed"`
			MinLevel signal.Level      `query:"minLevel" enum:"low,medium,high"`
			Name     string            `query:"name" maxLength:"200" doc:"Part of the identity's name."`
		}) (*body[desk.Queue], error) {
			return answer(s.desk.Queue(ctx, op, desk.CaseFilter{Tenant: identity.Tenant(in.Tenant), Status: in.Status, MinLevel: in.MinLevel, Name: in.Name}, in.page()))
		})
	register(s, access.Read, get("list-cases", "/cases", "Cases"),
		func(ctx context.Context, op access.Operator, in *struct {
			Paging
			Tenanted
			Identity string            `query:"identity" maxLength:"200"`
			Status   []casefile.Status `query:"status" enum:"open,acting,waiting,contained,closed"`
			MinLevel signal.Level      `query:"minLevel" enum:"low,medium,high"`
			Name     string            `query:"name" maxLength:"200"`
		}) (*body[desk.List[casefile.Case]], error) {
			return answer(s.desk.Cases(ctx, op, desk.CaseFilter{
				Tenant: identity.Tenant(in.Tenant), Identity: identity.ID(in.Identity), Status: in.Status, MinLevel: in.MinLevel, Name: in.Name}, in.page()))
		})
	register(s, access.Read, get("list-identities", "/identities", "Identities"),
		func(ctx context.Context, op access.Operator, in *struct {
			Paging
			Tenanted
			Kind identity.Kind `query:"kind" enum:"unknown,person,guest,workload,computer,agent"`
			Name string        `query:"name" maxLength:"200" doc:"Part of the name or of a UPN."`
		}) (*body[desk.List[identity.Identity]], error) {
			return answer(s.desk.Identities(ctx, op, desk.IdentityFilter{Tenant: identity.Tenant(in.Tenant), Kind: in.Kind, Name: in.Name}, in.page()))
		})
	register(s, access.Read, get("list-signals", "/signals", "Signals"),
		func(ctx context.Context, op access.Operator, in *struct {
			Paging
			Tenanted
			Identity string        `query:"identity" maxLength:"200"`
			Source   signal.Source `query:"source" maxLength:"100"`
			Type     string        `query:"type" maxLength:"200"`
			MinLevel signal.Level  `query:"minLevel" enum:"low,medium,high"`
			Since    time.Time     `query:"since"`
		}) (*body[desk.List[signal.Signal]], error) {
			return answer(s.desk.Signals(ctx, op, desk.SignalFilter{
				Tenant: identity.Tenant(in.Tenant), Identity: identity.ID(in.Identity), Source: in.Source, Type: in.Type, MinLevel: in.MinLevel, Since: in.Since}, in.page()))
		})
	register(s, access.Read, get("coverage", "/coverage", "Kinds of signals that are understood, and those that arrived and are not"),
		func(ctx context.Context, op access.Operator, in *struct{ Tenanted }) (*body[desk.Coverage], error) {
			return answer(s.desk.Coverage(ctx, op, identity.Tenant(in.Tenant)))
		})
	register(s, access.Read, get("feeds", "/feeds", "How everything that Cordon is told by fares, and what is silent"),
		func(ctx context.Context, op access.Operator, in *struct{ Tenanted }) (*body[desk.Feeds], error) {
			return answer(s.desk.Feeds(ctx, op, identity.Tenant(in.Tenant)))
		})
	register(s, access.Read, get("list-runs", "/runs", "Runs"),
		func(ctx context.Context, op access.Operator, in *struct {
			Paging
			Tenanted
			Case     string      `query:"case" maxLength:"200"`
			Identity string      `query:"identity" maxLength:"200"`
			Playbook string      `query:"playbook" maxLength:"200"`
			State    []run.State `query:"state" enum:"settling,waiting,acting,contained,done,held,refused,observed,failed,rejected,expired,cancelled"`
		}) (*body[desk.List[desk.RunSummary]], error) {
			return answer(s.desk.Runs(ctx, op, desk.RunFilter{
				Tenant: identity.Tenant(in.Tenant), Case: casefile.ID(in.Case), Identity: identity.ID(in.Identity), Playbook: in.Playbook, State: in.State}, in.page()))
		})
	register(s, access.Read, get("list-approvals", "/approvals", "Requests for approval"),
		func(ctx context.Context, op access.Operator, in *struct {
			Paging
			Tenanted
			Run      string           `query:"run" maxLength:"200"`
			Case     string           `query:"case" maxLength:"200"`
			Identity string           `query:"identity" maxLength:"200"`
			State    []approval.State `query:"state" enum:"pending,approved,rejected,expired,void"`
		}) (*body[desk.List[approval.Request]], error) {
			return answer(s.desk.Approvals(ctx, op, desk.ApprovalFilter{
				Tenant: identity.Tenant(in.Tenant), Run: run.ID(in.Run), Case: casefile.ID(in.Case), Identity: identity.ID(in.Identity), State: in.State}, in.page()))
		})
	register(s, access.Read, get("list-actions", "/actions", "Actions"),
		func(ctx context.Context, op access.Operator, in *struct {
			Paging
			Tenanted
			Run      string         `query:"run" maxLength:"200"`
			Case     string         `query:"case" maxLength:"200"`
			Identity string         `query:"identity" maxLength:"200"`
			Name     string         `query:"name" maxLength:"200"`
			State    []action.State `query:"state" enum:"requested,approved,held,running,accepted,unconfirmed,verified,failed,refused,reverted,expired,cancelled"`
			Person   bool           `query:"person" doc:"Only those that wait for a person."`
		}) (*body[desk.List[desk.ActionView]], error) {
			return answer(s.desk.Actions(ctx, op, desk.ActionFilter{
				Tenant: identity.Tenant(in.Tenant), Run: run.ID(in.Run), Case: casefile.ID(in.Case), Identity: identity.ID(in.Identity),
				Name: action.Name(in.Name), State: in.State, Person: in.Person}, in.page()))
		})
	register(s, access.Audit, get("list-audit", "/audit", "The trail, newest first"),
		func(ctx context.Context, op access.Operator, in *struct {
			Paging
			Tenanted
			Identity string       `query:"identity" maxLength:"200"`
			Case     string       `query:"case" maxLength:"200"`
			Run      string       `query:"run" maxLength:"200"`
			Action   string       `query:"action" maxLength:"200"`
			Approval string       `query:"approval" maxLength:"200"`
			Kind     []audit.Kind `query:"kind"`
			Since    time.Time    `query:"since"`
		}) (*body[desk.List[audit.Entry]], error) {
			return answer(s.desk.AuditEntries(ctx, op, desk.AuditFilter{
				Tenant: identity.Tenant(in.Tenant), Identity: identity.ID(in.Identity), Case: casefile.ID(in.Case), Run: run.ID(in.Run),
				Action: action.ID(in.Action), Approval: approval.ID(in.Approval), Kind: in.Kind, Since: in.Since}, in.page()))
		})
	register(s, access.Read, get("list-playbooks", "/playbooks", "Playbooks that can be planned or started by hand"),
		func(ctx context.Context, op access.Operator, _ *struct{}) (*body[[]desk.PlaybookView], error) {
			return answer(s.desk.Playbooks(ctx, op))
		})
}

func (s *server) views() {
	register(s, access.Read, get("me", "/me", "Who is asking"),
		func(_ context.Context, op access.Operator, _ *struct{}) (*body[Me], error) {
			me := Me{ID: op.ID, Name: op.Name, Roles: op.Roles, Groups: op.Groups, Tenant: op.Tenant, Permissions: []access.Permission{}}
			for _, p := range access.Permissions() {
				if op.Can(p) {
					me.Permissions = append(me.Permissions, p)
				}
			}
			return answer(me, nil)
		})
	register(s, access.Read, get("show-case", "/cases/{id}", "One case with its evidence"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.CaseView], error) {
			return answer(s.desk.CaseView(ctx, op, casefile.ID(in.ID)))
		})
	register(s, access.Read, get("show-identity", "/identities/{id}", "One identity: accounts, protection, assessment, case, runs, timeline"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.IdentityView], error) {
			return answer(s.desk.IdentityView(ctx, op, identity.ID(in.ID)))
		})
	register(s, access.Read, get("show-signal", "/signals/{tenant}/{source}/{id}", "One signal with its raw record"),
		func(ctx context.Context, op access.Operator, in *struct {
			Tenant string `path:"tenant" maxLength:"100" doc:"- is any."`
			Source string `path:"source" maxLength:"100" doc:"- is any."`
			ID     string `path:"id" maxLength:"500"`
		}) (*body[signal.Signal], error) {
			k := signal.Key{Tenant: identity.Tenant(in.Tenant), Source: signal.Source(in.Source), ExternalID: in.ID}
			if k.Tenant == "-" {
				k.Tenant = ""
			}
			if k.Source == "-" {
				k.Source = ""
			}
			return answer(s.desk.Signal(ctx, op, k))
		})
	register(s, access.Read, get("show-run", "/runs/{id}", "One run: its plan, step by step"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.RunView], error) {
			return answer(s.desk.RunView(ctx, op, run.ID(in.ID)))
		})
	register(s, access.Read, get("show-approval", "/approvals/{id}", "One request with the plan it binds"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.ApprovalView], error) {
			return answer(s.desk.ApprovalView(ctx, op, approval.ID(in.ID)))
		})
	register(s, access.Read, get("show-action", "/actions/{id}", "One action"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.ActionView], error) {
			return answer(s.desk.ActionView(ctx, op, action.ID(in.ID)))
		})
	register(s, access.Read, get("show-hold", "/hold", "The stop in force"),
		func(ctx context.Context, op access.Operator, in *Tenanted) (*body[dispatch.Stop], error) {
			return answer(s.desk.Stopped(ctx, op, identity.Tenant(in.Tenant)))
		})
}

// An answered request binds to the plan the operator saw.
type answered struct {
	ByID
	Body struct {
		PlanHash string `json:"planHash" minLength:"1" maxLength:"200" doc:"The hash of the plan you saw; an answer to another plan is refused."`
		Reasoned
	}
}

func (s *server) commands() {
	register(s, access.Approve, post("approve", "/approvals/{id}/approve", "Give consent to the steps of a request"),
		func(ctx context.Context, op access.Operator, in *answered) (*body[desk.ApprovalView], error) {
			return answer(s.desk.Approve(ctx, op, approval.ID(in.ID), in.Body.PlanHash, in.Body.Reason))
		})
	register(s, access.Approve, post("reject", "/approvals/{id}/reject", "Refuse the steps of a request; needs a reason"),
		func(ctx context.Context, op access.Operator, in *answered) (*body[desk.ApprovalView], error) {
			return answer(s.desk.Reject(ctx, op, approval.ID(in.ID), in.Body.PlanHash, in.Body.Reason))
		})
	undo := func(ctx context.Context, op access.Operator, in *struct {
		ByID
		Body Reasoned
	}) (*body[desk.RunView], error) {
		return answer(s.desk.Undo(ctx, op, in.ID, in.Body.Reason))
	}
	register(s, access.Undo, post("undo-action", "/actions/{id}/undo", "Take one action back; needs a reason"), undo)
	register(s, access.Undo, post("undo-run", "/runs/{id}/undo", "Take back what a run did; needs a reason"), undo)
	register(s, access.Approve, post("extend-action", "/actions/{id}/extend", "Let an action stand longer than its ttl; needs a reason"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body struct {
				Until time.Time `json:"until" doc:"When it is taken back by itself instead."`
				Reasoned
			}
		}) (*body[desk.ActionView], error) {
			return answer(s.desk.Extend(ctx, op, action.ID(in.ID), in.Body.Until, in.Body.Reason))
		})
	register(s, access.Hold, post("hold", "/hold", "Switch the global stop on, or off (needs \"resume\")"),
		func(ctx context.Context, op access.Operator, in *struct {
			Body struct {
				On     bool   `json:"on" doc:"true: nothing is written any more."`
				Tenant string `json:"tenant,omitempty" maxLength:"100" doc:"One tenant; all when left out."`
				Reasoned
			}
		}) (*body[dispatch.Stop], error) {
			return answer(s.desk.Hold(ctx, op, identity.Tenant(in.Body.Tenant), in.Body.On, in.Body.Reason))
		})
	register(s, access.Decide, post("verdict", "/cases/{id}/verdict", "Close a case"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body struct {
				Word casefile.Word `json:"word" enum:"compromised,safe,benign"`
				Reasoned
			}
		}) (*body[desk.CaseView], error) {
			return answer(s.desk.Verdict(ctx, op, casefile.ID(in.ID), in.Body.Word, in.Body.Reason))
		})
	register(s, access.Plan, post("plan", "/identities/{id}/plan", "The plan a playbook has for an identity now; nothing is written"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body struct {
				Playbook string `json:"playbook" minLength:"1" maxLength:"200"`
			}
		}) (*body[desk.RunView], error) {
			return answer(s.desk.PlanFor(ctx, op, in.Body.Playbook, identity.ID(in.ID)))
		})
	register(s, access.Plan, post("start", "/identities/{id}/start", "Start a playbook on an identity by hand"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body struct {
				Playbook string `json:"playbook" minLength:"1" maxLength:"200"`
				PlanHash string `json:"planHash,omitempty" maxLength:"200" doc:"The plan you saw; when it changed, nothing is started."`
				Reasoned
			}
		}) (*body[desk.RunView], error) {
			return answer(s.desk.Start(ctx, op, in.Body.Playbook, identity.ID(in.ID), in.Body.PlanHash, in.Body.Reason))
		})
	register(s, access.Plan, post("hand-over", "/identities/{id}/hand-over", "Ask to give access again with a new password; needs a reason and another's approval"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body struct {
				Recipient access.OperatorID `json:"recipient,omitempty" maxLength:"200" doc:"Who may reveal it; whoever asks when left out."`
				Reasoned
			}
		}) (*body[desk.HandOver], error) {
			return answer(s.desk.AskHandOver(ctx, op, identity.ID(in.ID), in.Body.Recipient, in.Body.Reason))
		})
	register(s, access.Read, post("reveal", "/runs/{id}/reveal", "Reveal a handed-over password: once, to its recipient"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body struct {
				Key string `json:"key" minLength:"1" maxLength:"200" doc:"The part of the link after #."`
			}
		}) (*body[desk.Revealed], error) {
			return answer(s.desk.Reveal(ctx, op, run.ID(in.ID), in.Body.Key))
		})
}
