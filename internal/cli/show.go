package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

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

// timelineShown is how much of a timeline people see; --json has all of it.
const timelineShown = 20

func newShow[T any](e Env, noun, short string, fetch func(s *session, ctx context.Context, id string) (T, error), text func(sheet, T)) *cobra.Command {
	c := &cobra.Command{Use: "show " + strings.ToUpper(noun), Short: short, Args: exactly(strings.ToUpper(noun))}
	t, asJSON := targetFlags(c), jsonFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := t.open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		if f := cmd.Flags().Lookup("tenant"); f != nil {
			s.tenant = f.Value.String()
		}
		v, err := fetch(s, cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return out(e, *asJSON, v, func(w io.Writer) { text(sheet{w}, v) })
	}
	return c
}

func (s *session) showCase(ctx context.Context, id string) (desk.CaseView, error) {
	return s.Case(ctx, casefile.ID(id))
}

func (s *session) showRun(ctx context.Context, id string) (desk.RunView, error) {
	return s.Run(ctx, run.ID(id))
}

func (s *session) showApproval(ctx context.Context, id string) (desk.ApprovalView, error) {
	return s.Approval(ctx, approval.ID(id))
}

func (s *session) showAction(ctx context.Context, id string) (desk.ActionView, error) {
	return s.Action(ctx, action.ID(id))
}

func (s *session) showSignal(ctx context.Context, id string) (signal.Signal, error) {
	return s.Signal(ctx, signal.Key{Tenant: identity.Tenant(s.tenant), ExternalID: id})
}

func (s *session) showIdentity(ctx context.Context, name string) (desk.IdentityView, error) {
	id, err := s.identity(ctx, name)
	if err != nil {
		return desk.IdentityView{}, err
	}
	return s.Identity(ctx, id)
}

// identity finds the identity that somebody means: by its id, else by a name or
// UPN that only one has.
func (s *session) identity(ctx context.Context, name string) (identity.ID, error) {
	if _, err := s.Identity(ctx, identity.ID(name)); err == nil {
		return identity.ID(name), nil
	} else if !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Invalid) {
		return "", err
	}
	list, err := s.Identities(ctx, desk.IdentityFilter{Name: name}, desk.Page{Limit: 20})
	if err != nil {
		return "", err
	}
	exact := slices.DeleteFunc(slices.Clone(list.Items), func(i identity.Identity) bool {
		return !strings.EqualFold(i.Name, name) && !slices.ContainsFunc(i.Accounts, func(a identity.Account) bool { return strings.EqualFold(a.UPN, name) })
	})
	if len(exact) == 0 {
		exact = list.Items
	}
	switch len(exact) {
	case 0:
		return "", fault.Errorf(fault.NotFound, "no identity %q: it takes an id, a UPN or a name; cordon identities list shows them", name)
	case 1:
		return exact[0].ID, nil
	}
	lines := []string{fmt.Sprintf("%q may be one of these; say which by its id:", name)}
	for _, i := range exact {
		lines = append(lines, fmt.Sprintf("  %s  %s  %s", i.ID, i.Name, accountName(i)))
	}
	return "", fault.Errorf(fault.Invalid, "%s", strings.Join(lines, "\n"))
}

func whoText(w desk.Who) string {
	text := fmt.Sprintf("%s (%s", w.Name, w.Kind)
	if w.UPN != "" && w.UPN != w.Name {
		text += ", " + w.UPN
	}
	switch w.Privileged {
	case "yes":
		text += ", privileged"
	case "unknown":
		text += ", privileges not known"
	}
	return text + ")"
}

func (s sheet) waits(list []desk.Wait) {
	for _, v := range list {
		id := ""
		switch {
		case v.Approval != "":
			id = string(v.Approval)
		case v.Action != "":
			id = string(v.Action)
		case v.Run != "":
			id = string(v.Run)
		}
		s.field("waits", strings.TrimSpace(v.Text+" "+id))
	}
}

func (s sheet) runs(list []desk.RunSummary) {
	if len(list) == 0 {
		return
	}
	s.head("Runs")
	for _, r := range list {
		runLine(s, r)
	}
}

func (s sheet) timeline(list []desk.Event, truncated bool) {
	if len(list) == 0 {
		return
	}
	s.head("Timeline, newest first")
	for n, v := range list {
		if n == timelineShown {
			s.para("  ", fmt.Sprintf("… and %d more; --json shows them", len(list)-n))
			break
		}
		s.para(stamp(v.At)+"  ", v.Text)
	}
	if truncated {
		s.para("  ", "(there is more in the trail than this view holds)")
	}
}

func printCase(s sheet, v desk.CaseView) {
	c := v.Case
	s.field("case", string(c.ID))
	s.field("about", whoText(v.Who))
	s.field("identity", string(c.Identity))
	s.field("status", string(c.Status))
	s.field("level", fmt.Sprintf("%s, score %d", c.Level, c.Score))
	s.field("reason", c.Reason)
	s.field("signals", fmt.Sprintf("%d, from %s to %s", c.Signals, stamp(c.FirstSignal), stamp(c.LastSignal)))
	s.field("contained", stamp(c.ContainedAt))
	if c.Verdict != nil {
		s.field("verdict", strings.TrimSuffix(fmt.Sprintf("%s, by %s at %s: %s", c.Verdict.Word, c.Verdict.By, stamp(c.Verdict.At), c.Verdict.Reason), ": "))
	}
	if v.Proposal != nil {
		s.field("proposed", string(v.Proposal.Word)+": "+v.Proposal.Text)
	}
	s.waits(v.Waits)
	if v.Assessment != nil {
		s.assessment(*v.Assessment)
	}
	s.runs(v.Runs)
	s.timeline(v.Timeline, v.Truncated)
}

func printIdentity(s sheet, v desk.IdentityView) {
	s.field("identity", string(v.Who.ID))
	s.field("name", whoText(v.Who))
	s.field("tenant", string(v.Who.Tenant))
	switch {
	case v.AuthorityKnown:
		s.field("mastered in", string(v.Authority))
	case v.Authority != "":
		s.field("mastered in", "not known yet")
	}
	for _, a := range v.Identity.Accounts {
		s.field("account", strings.TrimSpace(fmt.Sprintf("%s %s %s", a.Provider, a.Ref.Name(), a.Key())))
	}
	for _, r := range v.Roles {
		how := "active"
		if !r.Active {
			how = "eligible"
		}
		s.field("role", fmt.Sprintf("%s (%s)", r.Name, how))
	}
	switch {
	case v.Protection.Unknown:
		s.field("protected", "perhaps: "+strings.Join(v.Protection.Reasons, "; "))
	case v.Protection.Protected():
		s.field("protected", strings.Join(v.Protection.Reasons, "; "))
	default:
		s.field("protected", "no")
	}
	for _, t := range v.Tags {
		by := "found by Cordon"
		if t.By != "" {
			by = "by " + t.By + " at " + stamp(t.At)
		}
		s.field("tag", fmt.Sprintf("%s (%s): %s", t.Name, by, t.Reason))
	}
	for _, c := range v.Identity.Conflicts {
		s.field("conflict", fmt.Sprintf("%s names accounts of %d identities together; nothing was merged", c.From, len(c.Owners)))
	}
	if v.Case != nil {
		s.field("case", fmt.Sprintf("%s, %s", v.Case.ID, v.Case.Status))
	}
	s.waits(v.Waits)
	if len(v.Facts) > 0 {
		s.head("Facts")
		for _, f := range v.Facts {
			value := f.Value
			if !f.Known {
				value = "not known"
			} else if !f.AsOf.IsZero() {
				value += ", as of " + stamp(f.AsOf)
			}
			s.para("  ", fmt.Sprintf("%s, %s: %s", f.Account, f.Name, value))
		}
	}
	if v.Assessment != nil {
		s.assessment(*v.Assessment)
	}
	s.runs(v.Runs)
	s.timeline(v.Timeline, v.Truncated)
}

func printSignal(s sheet, v signal.Signal) {
	s.field("signal", v.ExternalID)
	s.field("source", string(v.Source))
	s.field("tenant", string(v.Tenant))
	s.field("type", v.Type)
	s.field("title", v.Title)
	s.field("level", string(v.Level))
	s.field("state", string(v.State))
	s.field("detail", v.Detail)
	s.field("about", v.Subject.Name())
	for _, k := range v.Subject.Keys() {
		s.field("", fmt.Sprintf("%s %s", k.Kind, k.Value))
	}
	for _, r := range v.Others {
		s.field("also names", r.Name())
	}
	s.field("happened", stamp(v.ActivityAt))
	s.field("detected", stamp(v.DetectedAt))
	s.field("updated", stamp(v.UpdatedAt))
	s.field("from", strings.TrimSpace(v.IP+" "+v.Location))
	s.field("techniques", strings.Join(v.Techniques, ", "))
	for _, kv := range v.Info {
		s.field("info", fmt.Sprintf("%s: %s", kv.Key, kv.Value))
	}
	s.field("info, raw", v.InfoRaw)
	for _, n := range v.Notes {
		s.field("note", n)
	}
	s.head("The source's own record is in --json.")
}

func printAction(s sheet, a desk.ActionView) {
	s.field("action", string(a.ID))
	s.field("what", fmt.Sprintf("%s (%s)", a.Title, a.Name))
	s.field("account", strings.TrimSpace(a.Account.Name()+" "+a.Account.ObjectID))
	s.field("state", string(a.State))
	s.field("reason", a.Reason)
	if a.Person {
		s.field("waits", "for a person")
	}
	s.field("before", a.BeforeText)
	s.field("proof", a.Proof)
	s.field("run", a.Run)
	s.field("case", a.Case)
	s.field("playbook", a.Playbook+", step "+a.Step)
	s.field("plan", a.PlanHash)
	s.field("requested", stamp(a.RequestedAt))
	s.field("approved", stamp(a.ApprovedAt))
	s.field("intent", stamp(a.IntentAt))
	s.field("accepted", stamp(a.AcceptedAt))
	s.field("verified", stamp(a.VerifiedAt))
	s.field("ended", stamp(a.EndedAt))
	s.field("next", stamp(a.NextAt))
	s.field("our request", a.ClientRequestID)
	s.field("its answer", a.RequestID)
	s.field("undo of", string(a.UndoOf))
	s.field("undone by", string(a.UndoneBy))
	if a.CanUndo {
		s.field("undo", fmt.Sprintf("cordon undo %s --reason …", a.ID))
	} else {
		s.field("no undo", a.WhyNot)
	}
}
