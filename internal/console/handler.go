package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func (c *Console) routes() {
	c.mux.HandleFunc("GET /static/{name}", c.static.serve)
	c.mux.HandleFunc("GET /events", c.events)
	c.mux.HandleFunc("GET /signin", c.signInForm)
	c.mux.HandleFunc("POST /signin", c.signIn)
	c.mux.HandleFunc("POST /signout", c.signOut)
	c.mux.HandleFunc("GET /{$}", c.queue)
	c.mux.HandleFunc("GET /identities", c.identities)
	c.mux.HandleFunc("GET /identities/{id}", c.identity)
	c.mux.HandleFunc("GET /identities/{id}/plan", c.plan)
	c.mux.HandleFunc("GET /runs", c.runs)
	c.mux.HandleFunc("GET /runs/{id}", c.run)
	c.mux.HandleFunc("GET /approvals", c.approvals)
	c.mux.HandleFunc("GET /approvals/{id}", c.approval)
	c.mux.HandleFunc("GET /actions", c.actions)
	c.mux.HandleFunc("GET /actions/{id}", c.action)
	c.mux.HandleFunc("GET /signals/{tenant}/{source}/{id}", c.signal)
	c.mux.HandleFunc("GET /feeds", c.feeds)
	c.mux.HandleFunc("GET /hold", c.hold)
	c.mux.HandleFunc("GET /audit", c.audit)
	c.mux.HandleFunc("GET /handover/{id}", c.reveal)
	c.commands()
	c.casework()
	c.campaignRoutes()
	c.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, r, fault.Errorf(fault.NotFound, "There is no page %s.", r.URL.Path))
	})
}

// page reads a list's place from the address.
func page(q url.Values) desk.Page { return desk.Page{After: q.Get("after"), Limit: 50} }

// more returns the address of the next page of a list with the same filters.
func more(r *http.Request, next string) string {
	if next == "" {
		return ""
	}
	q := r.URL.Query()
	q.Set("after", next)
	q.Del("said")
	return "?" + q.Encode()
}

// one returns v as the only value of a filter, or none.
func one[T ~string](v string) []T {
	if v == "" {
		return nil
	}
	return []T{T(v)}
}

func (c *Console) queue(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Queue", "queue")
	if !ok {
		return
	}
	q := r.URL.Query()
	p := queuePage{head: h, Status: q.Get("status"), MinLevel: q.Get("level"), Name: q.Get("name")}
	var err error
	p.Queue, err = c.desk.Queue(r.Context(), h.Op, desk.CaseFilter{Status: one[casefile.Status](p.Status), MinLevel: signal.Level(p.MinLevel), Name: p.Name}, page(q))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	p.Refresh = 15 * time.Second
	p.More = more(r, p.Queue.Next)
	c.show(w, r, "queue", p)
}

func (c *Console) identities(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Identities", "identities")
	if !ok {
		return
	}
	q := r.URL.Query()
	p := identitiesPage{head: h, Name: q.Get("name")}
	var err error
	if p.List, err = c.desk.Identities(r.Context(), h.Op, desk.IdentityFilter{Name: p.Name}, page(q)); err != nil {
		c.fail(w, r, err)
		return
	}
	p.More = more(r, p.List.Next)
	c.show(w, r, "identities", p)
}

func (c *Console) identity(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "", "queue")
	if !ok {
		return
	}
	p := identityPage{head: h}
	var err error
	if p.View, err = c.desk.IdentityView(r.Context(), h.Op, identity.ID(r.PathValue("id"))); err != nil {
		c.fail(w, r, err)
		return
	}
	if p.Playbooks, err = c.desk.Playbooks(r.Context(), h.Op); err != nil {
		c.fail(w, r, err)
		return
	}
	p.Title = clip(60, p.View.Who.Name)
	p.Refresh = 15 * time.Second
	c.show(w, r, "identity", p)
}

func (c *Console) plan(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Plan", "queue")
	if !ok {
		return
	}
	p := planPage{head: h}
	var err error
	if p.View, err = c.desk.PlanFor(r.Context(), h.Op, r.URL.Query().Get("playbook"), identity.ID(r.PathValue("id"))); err != nil {
		c.fail(w, r, err)
		return
	}
	c.show(w, r, "plan", p)
}

func (c *Console) runs(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Runs", "runs")
	if !ok {
		return
	}
	q := r.URL.Query()
	p := runsPage{head: h, State: q.Get("state")}
	var err error
	if p.List, err = c.desk.Runs(r.Context(), h.Op, desk.RunFilter{State: one[run.State](p.State)}, page(q)); err != nil {
		c.fail(w, r, err)
		return
	}
	p.More = more(r, p.List.Next)
	p.Refresh = 15 * time.Second
	c.show(w, r, "runs", p)
}

func (c *Console) run(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Run", "runs")
	if !ok {
		return
	}
	p := runPage{head: h}
	var err error
	if p.View, err = c.desk.RunView(r.Context(), h.Op, run.ID(r.PathValue("id"))); err != nil {
		c.fail(w, r, err)
		return
	}
	p.Title = clip(60, p.View.Run.Title)
	if !p.View.Run.State.Final() {
		p.Refresh = 3 * time.Second
	}
	c.show(w, r, "run", p)
}

func (c *Console) approvals(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Approvals", "approvals")
	if !ok {
		return
	}
	q := r.URL.Query()
	p := approvalsPage{head: h, State: cmp.Or(q.Get("state"), string(approval.Pending))}
	f := desk.ApprovalFilter{}
	if p.State != "all" {
		f.State = one[approval.State](p.State)
	}
	var err error
	if p.List, err = c.desk.Approvals(r.Context(), h.Op, f, page(q)); err != nil {
		c.fail(w, r, err)
		return
	}
	p.More = more(r, p.List.Next)
	p.Refresh = 15 * time.Second
	c.show(w, r, "approvals", p)
}

func (c *Console) approval(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Approval", "approvals")
	if !ok {
		return
	}
	p := approvalPage{head: h}
	var err error
	if p.View, err = c.desk.ApprovalView(r.Context(), h.Op, approval.ID(r.PathValue("id"))); err != nil {
		c.fail(w, r, err)
		return
	}
	c.show(w, r, "approval", p)
}

func (c *Console) actions(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Actions", "actions")
	if !ok {
		return
	}
	q := r.URL.Query()
	p := actionsPage{head: h, State: q.Get("state")}
	f := desk.ActionFilter{}
	if p.State == "person" {
		f.Person = true
	} else {
		f.State = one[action.State](p.State)
	}
	var err error
	if p.List, err = c.desk.Actions(r.Context(), h.Op, f, page(q)); err != nil {
		c.fail(w, r, err)
		return
	}
	p.More = more(r, p.List.Next)
	p.Refresh = 15 * time.Second
	c.show(w, r, "actions", p)
}

func (c *Console) action(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Action", "actions")
	if !ok {
		return
	}
	p := actionPage{head: h}
	var err error
	if p.View, err = c.desk.ActionView(r.Context(), h.Op, action.ID(r.PathValue("id"))); err != nil {
		c.fail(w, r, err)
		return
	}
	p.Title = p.View.Title
	c.show(w, r, "action", p)
}

func (c *Console) signal(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Signal", "queue")
	if !ok {
		return
	}
	p := signalPage{head: h}
	var err error
	k := signal.Key{Tenant: identity.Tenant(r.PathValue("tenant")), Source: signal.Source(r.PathValue("source")), ExternalID: r.PathValue("id")}
	if p.Signal, err = c.desk.Signal(r.Context(), h.Op, k); err != nil {
		c.fail(w, r, err)
		return
	}
	c.show(w, r, "signal", p)
}

func (c *Console) feeds(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Feeds", "feeds")
	if !ok {
		return
	}
	v, err := c.desk.Feeds(r.Context(), h.Op, h.Op.Tenant)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.show(w, r, "feeds", feedsPage{h, v.Feeds})
}

func (c *Console) hold(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Hold", "hold")
	if !ok {
		return
	}
	c.show(w, r, "hold", holdPage{head: h, Tenants: c.desk.Tenants(h.Op)})
}

func (c *Console) audit(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Trail", "audit")
	if !ok {
		return
	}
	p := auditPage{head: h}
	var err error
	if p.List, err = c.desk.AuditEntries(r.Context(), h.Op, desk.AuditFilter{}, page(r.URL.Query())); err != nil {
		c.fail(w, r, err)
		return
	}
	p.More = more(r, p.List.Next)
	c.show(w, r, "audit", p)
}

func (c *Console) reveal(w http.ResponseWriter, r *http.Request) {
	h, ok := c.open(w, r, "Hand-over", "")
	if !ok {
		return
	}
	c.show(w, r, "reveal", revealPage{head: h, Run: r.PathValue("id")})
}

// maxWatching bounds event streams: each is an open connection.
const maxWatching = 256

// beat is how often a stream looks whether something changed.
const beat = 500 * time.Millisecond

// events tells a page that something changed, as server-sent events that carry a
// number and nothing else: the page fetches its parts anew through the handlers
// that check who may see them.
func (c *Console) events(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := c.signedIn(r, false); !ok {
		http.Error(w, "nobody is signed in", http.StatusUnauthorized)
		return
	}
	if c.watching.Add(1) > maxWatching {
		c.watching.Add(-1)
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many pages are watching", http.StatusServiceUnavailable)
		return
	}
	defer c.watching.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	last := int64(-1)
	quiet := 0
	for {
		op, _, ok := c.signedIn(r, false)
		if !ok {
			return
		}
		now, err := c.desk.Pulse(r.Context(), op)
		if err != nil {
			return // the browser comes back by itself
		}
		text := ""
		if quiet++; now != last {
			text = "event: change\ndata: " + strconv.FormatInt(now, 10) + "\n\n"
		} else if quiet >= 30 {
			text = ": still here\n\n"
		}
		if text != "" {
			last, quiet = now, 0
			_ = rc.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a writer without deadlines has none to set
			if _, err := w.Write([]byte(text)); err != nil || rc.Flush() != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

func (c *Console) signInForm(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p := signInPage{head: head{Title: "Sign in", Now: c.now().UTC(), Said: said[q.Get("said")]}, Link: q.Get("t"), Next: q.Get("next")}
	c.show(w, r, "signin", p)
}

// signIn opens a session for a one-time link or a token.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		c.fail(w, r, formError(err))
		return
	}
	op, how, err := c.present(r)
	if err == nil {
		err = c.desk.SignedIn(r.Context(), op, how)
	}
	if err != nil {
		if fault.KindOf(err) != fault.Denied && fault.KindOf(err) != fault.Unavailable {
			c.fail(w, r, err)
			return
		}
		status := http.StatusForbidden
		if after, ok := fault.RetryAfter(err); ok {
			status = http.StatusTooManyRequests
			w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())+1))
		}
		c.showAs(w, r, status, "signin", signInPage{head: head{Title: "Sign in", Now: c.now().UTC()}, Next: r.PostForm.Get("next"), Bad: err.Error()})
		return
	}
	secret, err := c.sessions.begin(op.ID)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.sessions.end(r) // the one before, if any
	http.SetCookie(w, cookie(secret, c.tls(r), sessionLife))
	http.Redirect(w, r, local(r.PostForm.Get("next")), http.StatusSeeOther)
}

// present checks what a sign-in presents.
func (c *Console) present(r *http.Request) (op access.Operator, how string, err error) {
	from := address(r)
	secret := r.PostForm.Get("t")
	if secret == "" {
		op, err = c.operators.ByToken(strings.TrimSpace(r.PostForm.Get("token")), from)
		return op, "with a token", err
	}
	if err := c.operators.Wait(from); err != nil {
		return op, "", err
	}
	id, err := c.sessions.redeem(secret)
	if err != nil {
		c.operators.Failed(from)
		return op, "", err
	}
	op, ok := c.operators.ByID(id)
	if !ok {
		return op, "", fault.Errorf(fault.Denied, "operator %s is not known any more", id)
	}
	return op, "with a one-time link", nil
}

// local returns next when it is a path of this site, else the queue.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Host != "" || u.Scheme != "" || u.User != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n") {
		return "/"
	}
	return next
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(context.Context, access.Operator) (string, error) {
		c.sessions.end(r)
		http.SetCookie(w, cookie("", c.tls(r), 0))
		return "/signin?said=signedout", nil
	})
}
