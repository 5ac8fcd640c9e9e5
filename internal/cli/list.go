package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A listing is how one kind of thing is listed.
type listing[T any] struct {
	short  string
	long   string
	filter func(c *cobra.Command, f *filters)
	fetch  func(ctx context.Context, s *session, f *filters, p desk.Page) (desk.List[T], error)
	line   func(w sheet, v T)
}

// filters are what the flags of a list say.
type filters struct {
	tenant, identity, caseID, run, name, level, playbook, kind, source, typ, since string
	state                                                                          []string
	person, open                                                                   bool
	limit                                                                          int
}

func (f *filters) flag(c *cobra.Command, names ...string) {
	fl := c.Flags()
	for _, n := range names {
		switch n {
		case "identity":
			fl.StringVar(&f.identity, n, "", "of this identity (id)")
		case "case":
			fl.StringVar(&f.caseID, n, "", "of this case (id)")
		case "run":
			fl.StringVar(&f.run, n, "", "of this run (id)")
		case "name":
			fl.StringVar(&f.name, n, "", "whose name contains this")
		case "level":
			fl.StringVar(&f.level, n, "", "of this level or higher: low, medium, high")
		case "playbook":
			fl.StringVar(&f.playbook, n, "", "of this playbook (id)")
		}
	}
}

func newList[T any](e Env, noun string, l listing[T]) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: l.short, Args: exactly(),
		Long: l.long + "\nWith --json one object a line.",
	}
	t, asJSON := targetFlags(c), jsonFlag(c)
	f := &filters{}
	c.Flags().StringVar(&f.tenant, "tenant", "", "of this tenant (id)")
	c.Flags().IntVar(&f.limit, "limit", 100, "at most so many; 0: all")
	l.filter(c, f)
	c.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if f.limit < 0 {
			return fault.Errorf(fault.Invalid, "--limit %d is negative; 0 means all", f.limit)
		}
		s, err := t.open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		return printList(cmd.Context(), e, s, l, f, noun, *asJSON)
	}
	return c
}

// closing calls f and keeps its error unless there is one already.
func closing(f func() error, err *error) {
	if e := f(); *err == nil {
		*err = e
	}
}

func printList[T any](ctx context.Context, e Env, s *session, l listing[T], f *filters, noun string, asJSON bool) error {
	enc := json.NewEncoder(e.Stdout)
	enc.SetEscapeHTML(false)
	shown := 0
	for p := (desk.Page{}); ; {
		p.Limit = 500
		if f.limit > 0 {
			p.Limit = min(500, f.limit-shown)
		}
		list, err := l.fetch(ctx, s, f, p)
		if err != nil {
			return err
		}
		for _, v := range list.Items {
			if !asJSON {
				l.line(sheet{e.Stdout}, v)
			} else if err := enc.Encode(v); err != nil {
				return err
			}
		}
		shown += len(list.Items)
		p.After = list.Next
		switch {
		case p.After == "":
			if shown == 0 && !asJSON {
				fmt.Fprintf(e.Stderr, "no %s\n", noun)
			}
			return nil
		case f.limit > 0 && shown >= f.limit:
			fmt.Fprintf(e.Stderr, "there are more %s; --limit 0 shows all\n", noun)
			return nil
		}
	}
}

func words[T ~string](list []string) []T {
	var out []T
	for _, v := range list {
		out = append(out, T(v))
	}
	return out
}

func newCases(e Env) *cobra.Command {
	return group("cases", "Cases: one per identity at risk", append(caseCommands(e),
		newList(e, "cases", listing[casefile.Case]{
			short: "List cases, the most urgent first",
			long:  "Cases: id, level, score, status, name, and what is waited for.",
			filter: func(c *cobra.Command, f *filters) {
				f.flag(c, "identity", "name", "level")
				c.Flags().StringSliceVar(&f.state, "status", nil, "any of open, acting, waiting, contained, closed")
			},
			fetch: func(ctx context.Context, s *session, f *filters, p desk.Page) (desk.List[casefile.Case], error) {
				return s.Cases(ctx, desk.CaseFilter{Tenant: identity.Tenant(f.tenant), Identity: identity.ID(f.identity),
					Status: words[casefile.Status](f.state), MinLevel: signal.Level(f.level), Name: f.name}, p)
			},
			line: caseLine,
		}),
		newShow(e, "case", "One case with its evidence", (*session).showCase, printCase))...)
}

func caseLine(w sheet, c casefile.Case) {
	w.row([]int{31, 6, 3, 9, 27}, string(c.ID), string(c.Level), fmt.Sprint(c.Score), string(c.Status), c.Name)
	if c.Waits != "" {
		w.para("    ", "waits: "+c.Waits)
	}
}

func newIdentities(e Env) *cobra.Command {
	return group("identities", "Identities: people and workloads with their accounts", append(identityCommands(e),
		newList(e, "identities", listing[identity.Identity]{
			short: "List identities by name",
			long:  "Identities: id, kind, name and the name of the account.",
			filter: func(c *cobra.Command, f *filters) {
				f.flag(c, "name")
				c.Flags().StringVar(&f.kind, "kind", "", "person, guest, workload, computer, agent or unknown")
			},
			fetch: func(ctx context.Context, s *session, f *filters, p desk.Page) (desk.List[identity.Identity], error) {
				return s.Identities(ctx, desk.IdentityFilter{Tenant: identity.Tenant(f.tenant), Kind: identity.Kind(f.kind), Name: f.name}, p)
			},
			line: func(w sheet, i identity.Identity) {
				w.row([]int{30, 8, 20, 19}, string(i.ID), string(i.Kind), i.Name, accountName(i))
			},
		}),
		newShow(e, "identity", "All that is known of one identity (id, UPN or name)", (*session).showIdentity, printIdentity))...)
}

// accountName is the first name of an account that says more than the
// identity's own.
func accountName(i identity.Identity) string {
	for _, a := range i.Accounts {
		if a.UPN != "" {
			return a.UPN
		}
		if a.SAM != "" {
			return a.Domain + `\` + a.SAM
		}
	}
	return ""
}

func newSignals(e Env) *cobra.Command {
	show := newShow(e, "signal", "One signal with the source's own record", (*session).showSignal, printSignal)
	show.Flags().String("tenant", "", "when two tenants have a signal of this id")
	return group("signals", "Signals: what the sources said",
		newList(e, "signals", listing[signal.Signal]{
			short: "List signals, the newest first",
			long:  "Signals: time, level, product, what, whose, and below it the id.",
			filter: func(c *cobra.Command, f *filters) {
				f.flag(c, "identity", "level")
				c.Flags().StringVar(&f.source, "source", "", "such as entra.riskDetection or defender.alert")
				c.Flags().StringVar(&f.typ, "type", "", "such as leakedCredentials")
				c.Flags().StringVar(&f.since, "since", "", "not older than this: 24h, or 2026-01-31T12:00:00Z")
			},
			fetch: func(ctx context.Context, s *session, f *filters, p desk.Page) (desk.List[signal.Signal], error) {
				since, err := sinceWhen(f.since, time.Now())
				if err != nil {
					return desk.List[signal.Signal]{}, err
				}
				return s.Signals(ctx, desk.SignalFilter{Tenant: identity.Tenant(f.tenant), Identity: identity.ID(f.identity),
					Source: signal.Source(f.source), Type: f.typ, MinLevel: signal.Level(f.level), Since: since}, p)
			},
			line: func(w sheet, s signal.Signal) {
				w.row([]int{17, 6, 8, 24, 21}, s.At().UTC().Format("2006-01-02 15:04Z"), string(s.Level), s.Source.Product(), what(s), s.Subject.Name())
				w.para("    ", s.ExternalID)
			},
		}), show)
}

func what(s signal.Signal) string {
	if s.Title != "" {
		return s.Title
	}
	return s.Type
}

// sinceWhen reads a time or how long ago it was.
func sinceWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d.Abs()), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fault.Errorf(fault.Invalid, "--since %q: a duration such as 24h, or a time such as 2026-01-31T12:00:00Z", s)
	}
	return t, nil
}

func newRuns(e Env) *cobra.Command {
	return group("runs", "Runs: playbooks at work",
		newList(e, "runs", listing[desk.RunSummary]{
			short: "List runs, the newest first",
			long:  "Runs: id, state, steps verified of all, playbook, name, and the reason.",
			filter: func(c *cobra.Command, f *filters) {
				f.flag(c, "identity", "case", "playbook")
				c.Flags().StringSliceVar(&f.state, "state", nil, "any of settling, waiting, acting, contained, done, held, refused, observed, failed, rejected, expired, cancelled")
			},
			fetch: func(ctx context.Context, s *session, f *filters, p desk.Page) (desk.List[desk.RunSummary], error) {
				return s.Runs(ctx, desk.RunFilter{Tenant: identity.Tenant(f.tenant), Case: casefile.ID(f.caseID), Identity: identity.ID(f.identity),
					Playbook: f.playbook, State: words[run.State](f.state)}, p)
			},
			line: runLine,
		}),
		newShow(e, "run", "One run, step by step", (*session).showRun, printRun))
}

func runLine(w sheet, r desk.RunSummary) {
	w.row([]int{30, 9, 5, 18, 14}, string(r.ID), string(r.State), fmt.Sprintf("%d/%d", r.Verified, r.Steps), r.Playbook, r.Name)
	if r.Reason != "" {
		w.para("    ", r.Reason)
	}
}

func newApprovals(e Env) *cobra.Command {
	return group("approvals", "Approvals: what people were asked",
		newList(e, "approvals", listing[approval.Request]{
			short: "List requests for approval, the newest first",
			long:  "Requests: id, state, playbook, name, and whom they ask until when.",
			filter: func(c *cobra.Command, f *filters) {
				f.flag(c, "identity", "case", "run")
				c.Flags().StringSliceVar(&f.state, "state", nil, "any of pending, approved, rejected, expired, void")
			},
			fetch: func(ctx context.Context, s *session, f *filters, p desk.Page) (desk.List[approval.Request], error) {
				return s.Approvals(ctx, desk.ApprovalFilter{Tenant: identity.Tenant(f.tenant), Run: run.ID(f.run), Case: casefile.ID(f.caseID),
					Identity: identity.ID(f.identity), State: words[approval.State](f.state)}, p)
			},
			line: func(w sheet, r approval.Request) {
				w.row([]int{30, 8, 18, 21}, string(r.ID), string(r.State), r.Playbook, r.Name)
				text := r.Reason
				if r.State == approval.Pending {
					text = asks(r)
				}
				if text != "" {
					w.para("    ", text)
				}
			},
		}),
		newShow(e, "approval", "One request with the plan it binds", (*session).showApproval, printApproval))
}

// asks says whom a request asks.
func asks(r approval.Request) string {
	who := "any responder"
	if len(r.Rule.From) > 0 {
		who = strings.Join(r.Rule.From, " or ")
	}
	return fmt.Sprintf("%s for %s: %d of %s, until %s", plural(len(r.Steps), "step"), r.Name, max(1, r.Rule.Quorum), who, stamp(r.ExpiresAt))
}

func newActions(e Env) *cobra.Command {
	return group("actions", "Actions: single changes in a directory",
		newList(e, "actions", listing[desk.ActionView]{
			short: "List actions, the newest first",
			long:  "Actions: id, state, what, on which account, and the reason.",
			filter: func(c *cobra.Command, f *filters) {
				f.flag(c, "identity", "case", "run")
				c.Flags().StringVar(&f.name, "name", "", "of this kind, such as entra.user.disable")
				c.Flags().StringSliceVar(&f.state, "state", nil, "any of requested, approved, held, running, accepted, unconfirmed, verified, failed, refused, reverted, expired, cancelled")
				c.Flags().BoolVar(&f.person, "person", false, "only those that wait for a person")
			},
			fetch: func(ctx context.Context, s *session, f *filters, p desk.Page) (desk.List[desk.ActionView], error) {
				return s.Actions(ctx, desk.ActionFilter{Tenant: identity.Tenant(f.tenant), Run: run.ID(f.run), Case: casefile.ID(f.caseID), Identity: identity.ID(f.identity),
					Name: action.Name(f.name), State: words[action.State](f.state), Person: f.person}, p)
			},
			line: func(w sheet, a desk.ActionView) {
				w.row([]int{30, 11, 20, 16}, string(a.ID), string(a.State), a.Title, a.Account.Name())
				if a.Reason != "" {
					w.para("    ", a.Reason)
				}
			},
		}),
		newShow(e, "action", "One action", (*session).showAction, printAction))
}
