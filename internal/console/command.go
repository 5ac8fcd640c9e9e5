package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

func (c *Console) commands() {
	c.mux.HandleFunc("POST /approvals/{id}/approve", c.approve)
	c.mux.HandleFunc("POST /approvals/{id}/reject", c.reject)
	c.mux.HandleFunc("POST /actions/{id}/undo", c.undo)
	c.mux.HandleFunc("POST /runs/{id}/undo", c.undo)
	c.mux.HandleFunc("POST /actions/{id}/extend", c.extend)
	c.mux.HandleFunc("POST /cases/{id}/verdict", c.verdict)
	c.mux.HandleFunc("POST /identities/{id}/start", c.start)
	c.mux.HandleFunc("POST /hold", c.setHold)
	c.mux.HandleFunc("POST /identities/{id}/hand-over", c.askHandOver)
	c.mux.HandleFunc("POST /handover/{id}", c.doReveal)
}

func formError(err error) error {
	return fault.Errorf(fault.Invalid, "the form could not be read: %w", err)
}

// genuine returns who sent a form that a page of their own session made. ok is
// false when it is not, and the answer has been written.
func (c *Console) genuine(w http.ResponseWriter, r *http.Request) (op access.Operator, ok bool) {
	if err := r.ParseForm(); err != nil {
		c.fail(w, r, formError(err))
		return op, false
	}
	op, s, ok := c.signedIn(r, true)
	if !ok {
		http.Redirect(w, r, "/signin", http.StatusSeeOther)
		return op, false
	}
	if !s.genuine(r.PostForm.Get("csrf")) {
		c.fail(w, r, fault.Errorf(fault.Denied, "this form is not of your present session: load the page again and repeat it"))
		return op, false
	}
	return op, true
}

// command carries out a form and leads to where its effect shows.
func (c *Console) command(w http.ResponseWriter, r *http.Request, do func(context.Context, access.Operator) (string, error)) {
	op, ok := c.genuine(w, r)
	if !ok {
		return
	}
	where, err := do(r.Context(), op)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	http.Redirect(w, r, where, http.StatusSeeOther)
}

func (c *Console) approve(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		if r.PostForm.Get("read") != "yes" {
			return "", fault.Errorf(fault.Invalid, "tick the box that says you have read the plan")
		}
		v, err := c.desk.Approve(ctx, op, approval.ID(r.PathValue("id")), r.PostForm.Get("plan"), r.PostForm.Get("reason"))
		return at("runs", v.Request.Run, "approved"), err
	})
}

func (c *Console) reject(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		v, err := c.desk.Reject(ctx, op, approval.ID(r.PathValue("id")), r.PostForm.Get("plan"), r.PostForm.Get("reason"))
		return at("runs", v.Request.Run, "rejected"), err
	})
}

func (c *Console) undo(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		v, err := c.desk.Undo(ctx, op, r.PathValue("id"), r.PostForm.Get("reason"))
		return at("runs", string(v.Run.ID), "undoing"), err
	})
}

// extend counts from the end that the form showed: sent twice, it says the same.
func (c *Console) extend(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		from, err := time.Parse(time.RFC3339Nano, r.PostForm.Get("from"))
		if err != nil {
			return "", fault.Errorf(fault.Invalid, "the form does not say from when: load the page again")
		}
		hours, err := strconv.Atoi(r.PostForm.Get("hours"))
		if err != nil || hours < 1 || hours > maxExtendHours {
			return "", fault.Errorf(fault.Invalid, "hours must be a whole number from 1 to %d", maxExtendHours)
		}
		v, err := c.desk.Extend(ctx, op, action.ID(r.PathValue("id")), from.Add(time.Duration(hours)*time.Hour), r.PostForm.Get("reason"))
		return at("actions", string(v.ID), "extended"), err
	})
}

// maxExtendHours is a year; the playbook's own bound is less.
const maxExtendHours = 8760

func (c *Console) verdict(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		v, err := c.desk.Verdict(ctx, op, casefile.ID(r.PathValue("id")), casefile.Word(r.PostForm.Get("word")), r.PostForm.Get("reason"))
		return at("identities", string(v.Case.Identity), "verdict"), err
	})
}

func (c *Console) start(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		f := r.PostForm
		v, err := c.desk.Start(ctx, op, f.Get("playbook"), identity.ID(r.PathValue("id")), f.Get("plan"), f.Get("reason"))
		return at("runs", string(v.Run.ID), "started"), err
	})
}

func (c *Console) setHold(w http.ResponseWriter, r *http.Request) {
	c.command(w, r, func(ctx context.Context, op access.Operator) (string, error) {
		on := r.PostForm.Get("on")
		if on != "yes" && on != "no" {
			return "", fault.Errorf(fault.Invalid, "the form says neither stop nor go on")
		}
		_, err := c.desk.Hold(ctx, op, identity.Tenant(r.PostForm.Get("tenant")), on == "yes", r.PostForm.Get("reason"))
		if on == "yes" {
			return "/hold?said=stopped", err
		}
		return "/hold?said=resumed", err
	})
}

// askHandOver answers with the one-time link in the page itself: it is kept
// nowhere, so there is nothing to redirect to.
func (c *Console) askHandOver(w http.ResponseWriter, r *http.Request) {
	op, ok := c.genuine(w, r)
	if !ok {
		return
	}
	v, err := c.desk.AskHandOver(r.Context(), op, identity.ID(r.PathValue("id")), access.OperatorID(r.PostForm.Get("recipient")), r.PostForm.Get("reason"))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	h, ok := c.open(w, r, "Hand-over", "")
	if !ok {
		return
	}
	c.show(w, r, "handover", handOverPage{head: h, HandOver: v, Link: v.Link(c.base(r))})
}

// doReveal answers with the password in the page itself, once.
func (c *Console) doReveal(w http.ResponseWriter, r *http.Request) {
	op, ok := c.genuine(w, r)
	if !ok {
		return
	}
	h, ok := c.open(w, r, "Hand-over", "")
	if !ok {
		return
	}
	id := r.PathValue("id")
	v, err := c.desk.Reveal(r.Context(), op, run.ID(id), r.PostForm.Get("key"))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.show(w, r, "reveal", revealPage{head: h, Run: id, Revealed: &v})
}

// at is the address of one thing, with what was just done to it.
func at(kind, id, done string) string {
	return "/" + kind + "/" + url.PathEscape(id) + "?said=" + done
}
