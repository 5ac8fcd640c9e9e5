package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
)

func (c *Console) casework() {
	c.mux.HandleFunc("GET /cases/{id}", c.caseFile)
	c.mux.HandleFunc("GET /cases/{id}/further", c.further)
	c.mux.HandleFunc("GET /identities/{id}/links", c.links)
	c.mux.HandleFunc("GET /exceptions", c.exceptions)
	c.mux.HandleFunc("GET /sweep", c.sweep)
	c.mux.HandleFunc("POST /cases/{id}/notes", c.note)
	c.mux.HandleFunc("POST /cases/{id}/evidence", c.evidence)
	c.mux.HandleFunc("POST /identities/{id}/link", c.link)
	c.mux.HandleFunc("POST /identities/{id}/unlink", c.unlink)
	c.mux.HandleFunc("POST /identities/{id}/tag", c.tag)
	c.mux.HandleFunc("POST /identities/{id}/untag", c.untag)
	c.mux.HandleFunc("POST /exceptions", c.makeException)
	c.mux.HandleFunc("POST /exceptions/{id}/end", c.endException)
}

type (
	casePage struct {
		head
		View desk.CaseView
	}
	furtherPage struct {
		head
		Case      desk.CaseView
		Elsewhere desk.Elsewhere
		Similar   desk.Precedents
		Swept     desk.Swept
		Hunting   desk.Hunting
	}
	linksPage struct {
		head
		View  desk.IdentityView
		Links desk.Links
		Day   string
	}
	exceptionsPage struct {
		head
		List    []desk.ExceptionView
		Tenants []identity.Tenant
	}
	sweepPage struct {
		head
		Swept   desk.Swept
		Tenants []identity.Tenant
		Tenant  string
		Days    string
	}
)

// Phases groups the steps of the investigation.
func (p casePage) Phases() []struct {
	Phase casefile.Phase
	Steps []casefile.Step
	Open  int
} {
	var out []struct {
		Phase casefile.Phase
		Steps []casefile.Step
		Open  int
	}
	for _, ph := range casefile.Phases() {
		var steps []casefile.Step
		open := 0
		for _, s := range p.View.Investigation.Steps {
			if s.Phase != ph {
				continue
			}
			if steps = append(steps, s); s.Answered == nil {
				open++
			}
		}
		out = append(out, struct {
			Phase casefile.Phase
			Steps []casefile.Step
			Open  int
		}{ph, steps, open})
	}
	return out
}

// Answers are the answers that fit a step.
func (casePage) Answers(task bool) []casefile.Answer {
	if task {
		return []casefile.Answer{casefile.Done, casefile.No, casefile.NotApplicable}
	}
	return []casefile.Answer{casefile.Yes, casefile.No, casefile.Unclear, casefile.NotApplicable}
}

// TagNames are the tags that are given by hand.
func (identityPage) TagNames() []identity.TagName { return identity.TagNames() }

// Learns are the kinds of findings that have a learning period.
func (exceptionsPage) Learns() []detection.Entry {
	return slices.DeleteFunc(detection.All(), func(e detection.Entry) bool { return e.Learns == 0 })
}

// Kinds are the kinds of exceptions.
func (exceptionsPage) Kinds() []risk.ExceptionKind { return risk.ExceptionKinds() }

// caseFile shows one case: why, what was asked and answered, what a verdict does.
func (c *Console) caseFile(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Case", "queue")
	if !ok {
		return
	}
	p := casePage{head: h}
	var err error
	if p.View, err = c.desk.CaseView(r.Context(), h.Op, casefile.ID(r.PathValue("id"))); err != nil {
		c.fail(w, r, err)
		return
	}
	p.Title = "Case of " + clip(60, p.View.Who.Name)
	c.show(w, r, "case", p)
}

// further looks beyond the case: elsewhere, before, and for what was left behind.
func (c *Console) further(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Look further", "queue")
	if !ok {
		return
	}
	p, id, ctx := furtherPage{head: h}, casefile.ID(r.PathValue("id")), r.Context()
	var err error
	if p.Case, err = c.desk.CaseView(ctx, h.Op, id); err == nil {
		if p.Elsewhere, err = c.desk.Elsewhere(ctx, h.Op, id); err == nil {
			if p.Similar, err = c.desk.Similar(ctx, h.Op, id); err == nil {
				if p.Swept, err = c.desk.Sweep(ctx, h.Op, id); err == nil {
					p.Hunting, err = c.desk.Hunt(ctx, h.Op, id)
				}
			}
		}
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.show(w, r, "further", p)
}

// links shows the accounts of an identity on a day and who may be the same.
func (c *Console) links(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Accounts", "identities")
	if !ok {
		return
	}
	p := linksPage{head: h, Day: r.URL.Query().Get("day")}
	var at time.Time
	if p.Day != "" {
		d, err := time.Parse(time.DateOnly, p.Day)
		if err != nil {
			c.fail(w, r, fault.Errorf(fault.Invalid, "%.20q is no day; it looks like 2026-11-25", p.Day))
			return
		}
		at = d.Add(24*time.Hour - time.Second)
	}
	var err error
	if p.View, err = c.desk.IdentityView(r.Context(), h.Op, identity.ID(r.PathValue("id"))); err == nil {
		p.Links, err = c.desk.LinksOf(r.Context(), h.Op, p.View.Identity.ID, at)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	p.Title = "Accounts of " + clip(60, p.View.Who.Name)
	c.show(w, r, "links", p)
}

func (c *Console) exceptions(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Exceptions", "exceptions")
	if !ok {
		return
	}
	p := exceptionsPage{head: h, Tenants: c.desk.Tenants(h.Op)}
	var err error
	if p.List, err = c.desk.Exceptions(r.Context(), h.Op, ""); err != nil {
		c.fail(w, r, err)
		return
	}
	c.show(w, r, "exceptions", p)
}

// sweep looks for what was left behind in a tenant.
func (c *Console) sweep(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Left behind", "queue")
	if !ok {
		return
	}
	q := r.URL.Query()
	p := sweepPage{head: h, Tenants: c.desk.Tenants(h.Op), Tenant: q.Get("tenant"), Days: q.Get("days")}
	back := 7 * 24 * time.Hour
	if p.Days != "" {
		d, err := time.ParseDuration(p.Days + "h")
		if err != nil || d <= 0 || d > 400*time.Hour {
			c.fail(w, r, fault.Errorf(fault.Invalid, "%.20q is no number of days from 1 to 400", p.Days))
			return
		}
		back = d * 24
	}
	var err error
	if p.Swept, err = c.desk.SweepTenant(r.Context(), h.Op, identity.Tenant(p.Tenant), h.Now.Add(-back)); err != nil {
		c.fail(w, r, err)
		return
	}
	c.show(w, r, "sweep", p)
}

func (c *Console) note(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		f := r.PostForm
		v, err := c.desk.WriteNote(ctx, op, casefile.ID(r.PathValue("id")), f.Get("question"), casefile.Answer(f.Get("answer")), f.Get("text"))
		where := at("cases", string(v.Case.ID), "noted")
		if q := f.Get("question"); q != "" {
			where += "#" + url.PathEscape(q)
		}
		return where, err
	})
}

// evidence answers with the export as one file of JSON.
func (c *Console) evidence(w http.ResponseWriter, r *http.Request) {
	op, ok := c.genuine(w, r)
	if !ok {
		return
	}
	v, err := c.desk.Export(r.Context(), op, casefile.ID(r.PathValue("id")))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.download(w, r, "evidence-"+string(v.Case)+".json", v)
}

func (c *Console) link(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		v, err := c.desk.Link(ctx, op, identity.ID(r.PathValue("id")), identity.ID(strings.TrimSpace(r.PostForm.Get("from"))), r.PostForm.Get("reason"))
		return "/identities/" + url.PathEscape(string(v.Identity.ID)) + "/links?said=linked", err
	})
}

func (c *Console) unlink(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		v, err := c.desk.Unlink(ctx, op, identity.ID(r.PathValue("id")), r.PostForm.Get("account"), r.PostForm.Get("reason"))
		return "/identities/" + url.PathEscape(string(v.Identity.ID)) + "/links?said=unlinked", err
	})
}

func (c *Console) tag(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		v, err := c.desk.Tag(ctx, op, identity.ID(r.PathValue("id")), identity.TagName(r.PostForm.Get("tag")), r.PostForm.Get("reason"))
		return at("identities", string(v.Identity.ID), "tagged"), err
	})
}

func (c *Console) untag(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		v, err := c.desk.Untag(ctx, op, identity.ID(r.PathValue("id")), identity.TagName(r.PostForm.Get("tag")), r.PostForm.Get("reason"))
		return at("identities", string(v.Identity.ID), "untagged"), err
	})
}

func (c *Console) makeException(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		f := r.PostForm
		until, err := time.Parse(time.DateOnly, f.Get("until"))
		if err != nil {
			return "", fault.Errorf(fault.Invalid, "%.20q is no day; every exception needs its last day, such as 2026-12-31", f.Get("until"))
		}
		words := func(name string) []string {
			return strings.FieldsFunc(f.Get(name), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
		}
		_, err = c.desk.MakeException(ctx, op, risk.Exception{
			Tenant: identity.Tenant(f.Get("tenant")), Kind: risk.ExceptionKind(f.Get("kind")), Name: f.Get("name"), Ranges: words("ranges"), Countries: words("countries"), Alerts: f["alerts"],
			Identity: identity.ID(strings.TrimSpace(f.Get("identity"))), Owner: f.Get("owner"), Reason: f.Get("reason"), Until: until.Add(24*time.Hour - time.Second),
		})
		return "/exceptions?said=excepted", err
	})
}

func (c *Console) endException(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		_, err := c.desk.EndException(ctx, op, r.PathValue("id"), r.PostForm.Get("reason"))
		return "/exceptions?said=ended", err
	})
}
