package httpapi

import (
	"context"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
)

// casework is what it takes to work a case: to look further, to write down, and to
// say who is who.
func (s *server) casework() {
	s.lookFurther()
	register(s, access.Decide, post("note", "/cases/{id}/notes", "Write into a case: an answer to a question of its investigation, or free words"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body struct {
				Question string          `json:"question,omitempty" maxLength:"200" doc:"The id of a step of the investigation; left out for free words."`
				Answer   casefile.Answer `json:"answer,omitempty" enum:"yes,no,unclear,done,not applicable"`
				Text     string          `json:"text,omitempty" maxLength:"4000"`
			}
		}) (*body[desk.CaseView], error) {
			return answer(s.desk.WriteNote(ctx, op, casefile.ID(in.ID), in.Body.Question, in.Body.Answer, in.Body.Text))
		})
	register(s, access.Audit, post("export-case", "/cases/{id}/evidence", "Export a case whole, with the hash of each file; the export is in the trail"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.Evidence], error) {
			return answer(s.desk.Export(ctx, op, casefile.ID(in.ID)))
		})
	register(s, access.Decide, post("link", "/identities/{id}/link", "Make another identity part of this one; needs a reason"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body struct {
				From string `json:"from" minLength:"1" maxLength:"200" doc:"The identity whose accounts come here."`
				Reasoned
			}
		}) (*body[desk.IdentityView], error) {
			return answer(s.desk.Link(ctx, op, identity.ID(in.ID), identity.ID(in.Body.From), in.Body.Reason))
		})
	register(s, access.Decide, post("unlink", "/identities/{id}/unlink", "Take an account out of an identity; needs a reason"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body struct {
				Account string `json:"account" minLength:"1" maxLength:"200" doc:"Its object id, SID or objectGUID."`
				Reasoned
			}
		}) (*body[desk.IdentityView], error) {
			return answer(s.desk.Unlink(ctx, op, identity.ID(in.ID), in.Body.Account, in.Body.Reason))
		})
	register(s, access.Decide, post("tag", "/identities/{id}/tag", "Tag an identity by hand; needs a reason and takes effect at once"),
		func(ctx context.Context, op access.Operator, in *tagging) (*body[desk.IdentityView], error) {
			return answer(s.desk.Tag(ctx, op, identity.ID(in.ID), in.Body.Tag, in.Body.Reason))
		})
	register(s, access.Approve, post("untag", "/identities/{id}/untag", "Take away a tag that was given by hand; needs a reason"),
		func(ctx context.Context, op access.Operator, in *tagging) (*body[desk.IdentityView], error) {
			return answer(s.desk.Untag(ctx, op, identity.ID(in.ID), in.Body.Tag, in.Body.Reason))
		})
	register(s, access.Approve, post("make-exception", "/exceptions", "Make findings about unusual places count for less: addresses of ours, or somebody who travels"),
		func(ctx context.Context, op access.Operator, in *struct {
			Body struct {
				Tenant    string             `json:"tenant,omitempty" maxLength:"100"`
				Kind      risk.ExceptionKind `json:"kind" enum:"named location,VPN egress,known traveller,learning"`
				Name      string             `json:"name" minLength:"1" maxLength:"200"`
				Ranges    []string           `json:"ranges,omitempty" maxItems:"200" doc:"Addresses as CIDR."`
				Countries []string           `json:"countries,omitempty" maxItems:"50" doc:"Two letters each."`
				Alerts    []string           `json:"alerts,omitempty" maxItems:"50" doc:"The kinds of findings that are being learnt, by name; all that have a learning period when left out."`
				Identity  string             `json:"identity,omitempty" maxLength:"200" doc:"Who travels."`
				Owner     string             `json:"owner" minLength:"1" maxLength:"200" doc:"Who answers for it."`
				Until     time.Time          `json:"until" doc:"When it ends by itself; at most 400 days from now."`
				Reasoned
			}
		}) (*body[desk.ExceptionView], error) {
			b := in.Body
			return answer(s.desk.MakeException(ctx, op, risk.Exception{
				Tenant: identity.Tenant(b.Tenant), Kind: b.Kind, Name: b.Name, Ranges: b.Ranges, Countries: b.Countries, Alerts: b.Alerts,
				Identity: identity.ID(b.Identity), Owner: b.Owner, Reason: b.Reason, Until: b.Until,
			}))
		})
	register(s, access.Decide, post("end-exception", "/exceptions/{id}/end", "End an exception at once; needs a reason"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body Reasoned
		}) (*body[desk.ExceptionView], error) {
			return answer(s.desk.EndException(ctx, op, in.ID, in.Body.Reason))
		})
}

// tagging names an identity and a tag.
type tagging struct {
	ByID
	Body struct {
		Tag identity.TagName `json:"tag" enum:"protected,sensitive,critical,VIP,PAM,Exchange server,honeytoken"`
		Reasoned
	}
}

// lookFurther is what changes nothing.
func (s *server) lookFurther() {
	register(s, access.Read, get("elsewhere", "/cases/{id}/elsewhere", "Other identities on which a trait of the case was seen"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.Elsewhere], error) {
			return answer(s.desk.Elsewhere(ctx, op, casefile.ID(in.ID)))
		})
	register(s, access.Read, get("similar", "/cases/{id}/similar", "Closed cases that share something with this one, and their verdicts"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.Precedents], error) {
			return answer(s.desk.Similar(ctx, op, casefile.ID(in.ID)))
		})
	register(s, access.Read, get("sweep-case", "/cases/{id}/sweep", "What was left behind since the first signal of the case"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.Swept], error) {
			return answer(s.desk.Sweep(ctx, op, casefile.ID(in.ID)))
		})
	register(s, access.Read, get("hunting", "/cases/{id}/hunting", "Queries for Defender's advanced hunting about the case, to be run there"),
		func(ctx context.Context, op access.Operator, in *ByID) (*body[desk.Hunting], error) {
			return answer(s.desk.Hunt(ctx, op, casefile.ID(in.ID)))
		})
	register(s, access.Read, get("sweep-tenant", "/sweep", "What was left behind in a tenant since a time, whoever did it"),
		func(ctx context.Context, op access.Operator, in *struct {
			Tenanted
			Since time.Time `query:"since" doc:"A week ago when left out."`
		}) (*body[desk.Swept], error) {
			return answer(s.desk.SweepTenant(ctx, op, identity.Tenant(in.Tenant), in.Since))
		})
	register(s, access.Read, get("links", "/identities/{id}/links", "The accounts of an identity on a day, what was changed by hand, and who may be the same"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			At time.Time `query:"at" doc:"Now when left out."`
		}) (*body[desk.Links], error) {
			return answer(s.desk.LinksOf(ctx, op, identity.ID(in.ID), in.At))
		})
	register(s, access.Read, get("list-exceptions", "/exceptions", "Exceptions, with what each lowered"),
		func(ctx context.Context, op access.Operator, in *Tenanted) (*body[[]desk.ExceptionView], error) {
			return answer(s.desk.Exceptions(ctx, op, identity.Tenant(in.Tenant)))
		})
	register(s, access.Read, post("explain-with", "/identities/{id}/explain", "The assessment of an identity by other weights, beside the standard ones; nothing is stored"),
		func(ctx context.Context, op access.Operator, in *struct {
			ByID
			Body struct {
				Weights risk.Weights `json:"weights"`
			}
		}) (*body[desk.Replayed], error) {
			return answer(s.desk.ExplainWith(ctx, op, identity.ID(in.ID), in.Body.Weights))
		})
	register(s, access.Read, post("replay", "/replay", "Whose level would change under other weights; nothing is stored"),
		func(ctx context.Context, op access.Operator, in *struct {
			Body struct {
				Tenant  string       `json:"tenant,omitempty" maxLength:"100"`
				Weights risk.Weights `json:"weights"`
				After   string       `json:"after,omitempty" maxLength:"1000"`
			}
		}) (*body[desk.Replay], error) {
			return answer(s.desk.Replay(ctx, op, identity.Tenant(in.Body.Tenant), in.Body.Weights, in.Body.After))
		})
}
