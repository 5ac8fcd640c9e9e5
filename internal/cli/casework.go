package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
)

// caseCommands is what stands below "cases" besides list and show.
func caseCommands(e Env) []*cobra.Command {
	ofCase := func(c *cobra.Command, use, long string) *cobra.Command {
		c.Use, c.Long = use+" CASE", long
		return c
	}
	return []*cobra.Command{
		newNote(e), newExport(e),
		ofCase(newShow(e, "case", "Where else the traits of a case were seen", func(s *session, ctx context.Context, id string) (desk.Elsewhere, error) {
			return s.Elsewhere(ctx, casefile.ID(id))
		}, printElsewhere), "elsewhere", "Other identities with the same address, network, user agent, application, session,\ntoken or threat-intelligence rule, among signals and sign-ins since thirty days\nbefore the case."),
		ofCase(newShow(e, "case", "Closed cases that share something with this one", func(s *session, ctx context.Context, id string) (desk.Precedents, error) {
			return s.Similar(ctx, casefile.ID(id))
		}, printSimilar), "similar", "Earlier verdicts on the same kinds of signals and the same traits."),
		newSweep(e),
		ofCase(newShow(e, "case", "Queries for Defender's advanced hunting", func(s *session, ctx context.Context, id string) (desk.Hunting, error) {
			return s.Hunt(ctx, casefile.ID(id))
		}, printHunting), "hunt", "Ready queries about the identity of a case, with the new and the older names of\nthe tables. They are run in Defender, by hand; with --json each is one string."),
	}
}

func newNote(e Env) *cobra.Command {
	var question, answer *string
	c := newDeed(e, deed[desk.CaseView]{
		use: "note CASE [TEXT]", short: "Write into a case: an answer, or free words",
		long: "With --question and --answer it answers a step of the investigation, whose ids\nstand in cases show --json; TEXT then says more. Notes are only added to.",
		do: func(ctx context.Context, s *session, args []string, _ string) (desk.CaseView, error) {
			return s.WriteNote(ctx, casefile.ID(args[0]), *question, casefile.Answer(*answer), strings.Join(args[1:], " "))
		},
		text: func(s sheet, v desk.CaseView) {
			s.para("", fmt.Sprintf("%s: %d of %d questions answered, %s", v.Case.ID, v.Investigation.Answered, v.Investigation.Total, plural(len(v.Investigation.Notes), "note")))
		},
	})
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fault.Errorf(fault.Invalid, "%s: CASE is missing; see %s --help", c.CommandPath(), c.CommandPath())
		}
		return nil
	}
	question = c.Flags().String("question", "", "id of a step of the investigation")
	answer = c.Flags().String("answer", "", "yes, no, unclear, done or not applicable")
	return c
}

func newExport(e Env) *cobra.Command {
	c := &cobra.Command{Use: "export CASE", Short: "Export a case whole, with the hash of each file", Args: exactly("CASE"),
		Long: "Signals as they came, assessments and what they rest on, investigation, runs,\napprovals, actions and trail as JSON, and a readable report. With --dir they are\nwritten as files beside SHA256SUMS, which sha256sum -c checks; the hash of that file\nis in Cordon's trail. Without --dir everything is printed as one JSON object."}
	t := targetFlags(c)
	asJSON := jsonFlag(c)
	dir := c.Flags().String("dir", "", "folder for the files; it must not hold an export yet")
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := t.open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		v, err := s.Export(cmd.Context(), casefile.ID(args[0]))
		if err != nil {
			return err
		}
		if *dir == "" {
			return out(e, true, v, nil)
		}
		if err := writeEvidence(*dir, v); err != nil {
			return err
		}
		v.Files = nil // they are in the folder
		return out(e, *asJSON, v, func(w io.Writer) {
			fmt.Fprintf(w, "%d files in %s; sha256 of SHA256SUMS: %s\n", strings.Count(v.Manifest, "\n"), *dir, v.SHA256)
		})
	}
	return c
}

// writeEvidence writes the files of an export, none over another.
func writeEvidence(dir string, v desk.Evidence) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Errorf(fault.Invalid, "--dir: %w", err)
	}
	files := append(v.Files[:len(v.Files):len(v.Files)], desk.EvidenceFile{Name: "SHA256SUMS", Text: v.Manifest})
	for _, f := range files {
		if f.Name != filepath.Base(f.Name) || strings.HasPrefix(f.Name, ".") {
			return fault.Errorf(fault.Invalid, "the export names a file %q, which is no name", f.Name)
		}
		if err := writeNew(filepath.Join(dir, f.Name), f.Text, 0o600); err != nil {
			return fault.Errorf(fault.Invalid, "--dir: %w", err)
		}
	}
	return nil
}

func newSweep(e Env) *cobra.Command {
	c := &cobra.Command{Use: "sweep [CASE]", Short: "What was left behind: methods, devices, consents, roles, guests",
		Long: "With CASE: by or on its accounts since its first signal. Without: in the tenant\nsince --since (a week ago), whoever did it."}
	t, asJSON := targetFlags(c), jsonFlag(c)
	tenant := c.Flags().String("tenant", "", "the tenant to look through (id)")
	since := c.Flags().Duration("since", 7*24*time.Hour, "how far back, without CASE")
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fault.Errorf(fault.Invalid, "%s takes one CASE and nothing more, not %q", c.CommandPath(), args[1])
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := t.open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		var v desk.Swept
		if len(args) == 1 {
			v, err = s.Sweep(cmd.Context(), casefile.ID(args[0]))
		} else {
			v, err = s.SweepTenant(cmd.Context(), identity.Tenant(*tenant), time.Now().Add(-*since))
		}
		if err != nil {
			return err
		}
		return out(e, *asJSON, v, func(w io.Writer) { printSwept(sheet{w}, v) })
	}
	return c
}

func printSwept(s sheet, v desk.Swept) {
	s.field("since", stamp(v.Since))
	s.field("looked at", fmt.Sprintf("%d records", v.Looked))
	for _, l := range v.Left {
		s.para(stamp(l.At)+"  ", fmt.Sprintf("%s: %s, by %s", l.Kind, l.Text, l.By))
	}
	if len(v.Left) == 0 {
		s.para("", "nothing that lasts was found")
	}
	for _, b := range v.Blind {
		s.para("blind        ", b)
	}
}

func printHunting(s sheet, v desk.Hunting) {
	s.field("since", stamp(v.Since))
	for _, q := range v.Queries {
		s.head("%s", q.Name)
		s.para("  ", q.Asks)
		for l := range strings.SplitSeq(q.Text, "\n") {
			s.code("    ", l)
		}
		if older, _, ok := strings.Cut(q.Before, "\n"); ok {
			s.para("  ", "older name of the table: "+older)
		}
		if q.Limits != "" {
			s.para("  limits: ", q.Limits)
		}
	}
	if v.Limits != "" {
		s.para("limits: ", v.Limits)
	}
}

func printElsewhere(s sheet, v desk.Elsewhere) {
	for _, t := range v.Traits {
		s.field(t.Kind, t.Value)
	}
	s.field("looked at", fmt.Sprintf("%d signals, %d sign-ins since %s", v.Signals, v.Records, stamp(v.Since)))
	s.head("%s", plural(len(v.Matches), "other identity"))
	for _, m := range v.Matches {
		var traits []string
		for _, t := range m.Traits {
			traits = append(traits, t.Kind)
		}
		s.para("  ", fmt.Sprintf("%s: %s; %s, %s (%d failed), last %s %s%s", m.Name, strings.Join(traits, ", "), plural(m.Signals, "signal"), plural(m.SignIns, "sign-in"), m.Failed, stamp(m.Last), m.Case, m.Verdict))
	}
}

func printSimilar(s sheet, v desk.Precedents) {
	s.field("looked at", fmt.Sprintf("%d closed cases", v.Looked))
	for _, w := range []casefile.Word{casefile.Compromised, casefile.Safe, casefile.Benign} {
		if v.Verdicts[w] > 0 {
			s.field(string(w), fmt.Sprint(v.Verdicts[w]))
		}
	}
	for _, p := range v.Cases {
		s.para("  ", fmt.Sprintf("%s %s: %s at %s; shares %s", p.Case, p.Name, p.Verdict.Word, stamp(p.Verdict.At), strings.Join(p.Shares, ", ")))
	}
}

// identityCommands is what stands below "identities" besides list and show.
func identityCommands(e Env) []*cobra.Command {
	links := &cobra.Command{Use: "links IDENTITY", Short: "Its accounts on a day, changes by hand, who may be the same", Args: exactly("IDENTITY"),
		Long: "Weak names only propose: nothing is merged by them. --at DATE shows which accounts\nwere linked then."}
	t, asJSON := targetFlags(links), jsonFlag(links)
	at := links.Flags().String("at", "", "a day (2026-11-25) or a time (RFC 3339); now when left out")
	links.RunE = func(cmd *cobra.Command, args []string) (err error) {
		when, err := whenOf(*at)
		if err != nil {
			return err
		}
		s, err := t.open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		id, err := s.identity(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		v, err := s.Links(cmd.Context(), id, when)
		if err != nil {
			return err
		}
		return out(e, *asJSON, v, func(w io.Writer) { printLinks(sheet{w}, v) })
	}
	return []*cobra.Command{
		links,
		newDeed(e, deed[desk.IdentityView]{
			use: "link INTO FROM --reason TEXT", short: "Make one identity part of another", args: []string{"INTO", "FROM"}, reason: true,
			long: "The accounts, signals and open case of FROM become INTO's at once. Taken back by\nidentities unlink.",
			do: func(ctx context.Context, s *session, args []string, reason string) (desk.IdentityView, error) {
				into, err := s.identity(ctx, args[0])
				if err != nil {
					return desk.IdentityView{}, err
				}
				from, err := s.identity(ctx, args[1])
				if err != nil {
					return desk.IdentityView{}, err
				}
				return s.Link(ctx, into, from, reason)
			},
			text: printIdentity,
		}),
		newDeed(e, deed[desk.IdentityView]{
			use: "tag IDENTITY TAG --reason TEXT", short: "Tag an identity by hand; it takes effect at once", args: []string{"IDENTITY", "TAG"}, reason: true,
			long: "TAG is protected (automation never changes it), sensitive, critical, VIP, PAM or\n\"Exchange server\" (they count as privileged), or honeytoken. Taken back by\nidentities untag.",
			do: func(ctx context.Context, s *session, args []string, reason string) (desk.IdentityView, error) {
				id, err := s.identity(ctx, args[0])
				if err != nil {
					return desk.IdentityView{}, err
				}
				return s.Tag(ctx, id, identity.TagName(args[1]), reason)
			},
			text: printIdentity,
		}),
		newDeed(e, deed[desk.IdentityView]{
			use: "untag IDENTITY TAG --reason TEXT", short: "Take away a tag that was given by hand", args: []string{"IDENTITY", "TAG"}, reason: true,
			do: func(ctx context.Context, s *session, args []string, reason string) (desk.IdentityView, error) {
				id, err := s.identity(ctx, args[0])
				if err != nil {
					return desk.IdentityView{}, err
				}
				return s.Untag(ctx, id, identity.TagName(args[1]), reason)
			},
			text: printIdentity,
		}),
		newDeed(e, deed[desk.IdentityView]{
			use: "unlink IDENTITY ACCOUNT --reason TEXT", short: "Take an account out of an identity", args: []string{"IDENTITY", "ACCOUNT"}, reason: true,
			long: "ACCOUNT is its object id, SID or objectGUID. It goes back to the identity it was\nlinked from, with its signals, or into one of its own; that one is printed.",
			do: func(ctx context.Context, s *session, args []string, reason string) (desk.IdentityView, error) {
				id, err := s.identity(ctx, args[0])
				if err != nil {
					return desk.IdentityView{}, err
				}
				return s.Unlink(ctx, id, args[1], reason)
			},
			text: printIdentity,
		}),
	}
}

// whenOf reads a day, which means its end, or a time; empty is none.
func whenOf(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.Parse(time.DateOnly, text); err == nil {
		return d.Add(24*time.Hour - time.Second), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fault.Errorf(fault.Invalid, "%q is neither a day such as 2026-11-25 nor a time of RFC 3339", text)
	}
	return t, nil
}

func printLinks(s sheet, v desk.Links) {
	s.field("at", stamp(v.At))
	for _, a := range v.Accounts {
		s.field("account", fmt.Sprintf("%s %s, since %s", a.Account.Provider, a.Account.Name(), stamp(a.Since)))
	}
	for _, c := range v.Changes {
		word := "left for"
		if c.Linked {
			word = "came from"
		}
		s.field("by hand", fmt.Sprintf("%s %s %s %s, by %s: %s", stamp(c.At), c.Account.Name(), word, c.Other, c.By, c.Reason))
	}
	for _, p := range v.Proposals {
		s.field("may be", fmt.Sprintf("%s %s: same %s", p.Other, p.Name, strings.Join(p.Because, ", ")))
	}
	for _, c := range v.Conflicts {
		s.field("conflict", fmt.Sprintf("%s: %s named identifiers of %d identities together", stamp(c.At), c.From, len(c.Owners)))
	}
}

// newExceptions is what makes findings about unusual places count for less.
func newExceptions(e Env) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Exceptions, with what each lowered", Args: exactly()}
	t, asJSON := targetFlags(list), jsonFlag(list)
	tenant := list.Flags().String("tenant", "", "one tenant (id)")
	list.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		s, err := t.open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		v, err := s.Exceptions(cmd.Context(), identity.Tenant(*tenant))
		if err != nil {
			return err
		}
		return out(e, *asJSON, v, func(w io.Writer) {
			for _, x := range v {
				printException(sheet{w}, x)
			}
		})
	}
	var x risk.Exception
	var kind, who, until string
	add := newDeed(e, deed[desk.ExceptionView]{
		use: "add NAME --kind KIND --owner WHO --until DAY", short: "Let findings about unusual places count for less", args: []string{"NAME"}, reason: true,
		long: "Named locations and VPN egress are --range; a known traveller is --identity, with\n--country where the journey leads. Learning is for a new sensor or tenant, at most 60\ndays: --alert names what is being learnt, else all that Microsoft says has a learning\nperiod. It lowers and says so; it hides nothing, and\nnever lowers Microsoft's own level.",
		do: func(ctx context.Context, s *session, args []string, reason string) (desk.ExceptionView, error) {
			in := x
			var err error
			if in.Until, err = whenOf(until); err != nil {
				return desk.ExceptionView{}, err
			}
			if in.Until.IsZero() {
				return desk.ExceptionView{}, fault.Errorf(fault.Invalid, "--until is missing: every exception ends")
			}
			if who != "" {
				if in.Identity, err = s.identity(ctx, who); err != nil {
					return desk.ExceptionView{}, err
				}
			}
			in.Name, in.Kind, in.Reason = args[0], risk.ExceptionKind(kind), reason
			return s.MakeException(ctx, in)
		},
		text: printException,
	})
	f := add.Flags()
	f.StringVar(&kind, "kind", "", `"named location", "VPN egress", "known traveller" or "learning"`)
	f.StringSliceVar(&x.Alerts, "alert", nil, "a kind of finding that is being learnt, by its name in coverage")
	f.StringSliceVar(&x.Ranges, "range", nil, "addresses, as 192.0.2.0/24")
	f.StringSliceVar(&x.Countries, "country", nil, "two letters")
	f.StringVar(&who, "identity", "", "who travels (id, UPN or name)")
	f.StringVar(&x.Owner, "owner", "", "who answers for it")
	f.StringVar(&until, "until", "", "its last day")
	f.StringVar((*string)(&x.Tenant), "tenant", "", "the tenant (id); needed when there are several")
	return group("exceptions", "Exceptions: places and travellers that are known", list, add,
		newDeed(e, deed[desk.ExceptionView]{
			use: "end EXCEPTION --reason TEXT", short: "End an exception at once", args: []string{"EXCEPTION"}, reason: true,
			do: func(ctx context.Context, s *session, args []string, reason string) (desk.ExceptionView, error) {
				return s.EndException(ctx, args[0], reason)
			},
			text: printException,
		}))
}

func printException(s sheet, v desk.ExceptionView) {
	state := "over"
	if v.InForce {
		state = "in force"
	}
	s.para("", fmt.Sprintf("%s  %s %q, %s until %s; %s answers for it: %s", v.ID, v.Kind, v.Name, state, v.Until.UTC().Format(time.DateOnly), v.Owner, v.Reason))
	more := ""
	if v.Partial {
		more = " at least"
	}
	s.para("    ", fmt.Sprintf("lowered%s %s of %d identities; %s", more, plural(v.Lowered, "signal"), v.Identities, strings.Join(slices.Concat(v.Ranges, v.Countries, v.Alerts), " ")))
}

// weightsOf reads a file of other weights.
func weightsOf(name string) (risk.Weights, error) {
	f, err := os.Open(name)
	if err != nil {
		return risk.Weights{}, fault.Errorf(fault.Invalid, "--weights: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return risk.Weights{}, fault.Errorf(fault.Invalid, "--weights: %w", err)
	}
	w, err := risk.ParseWeights(b)
	if err != nil {
		return w, fmt.Errorf("--weights %s: %w", name, err)
	}
	return w, nil
}

// replay judges one identity by other weights, or lists whose level would change.
func replay(ctx context.Context, e Env, s *session, weights, name string, tenant identity.Tenant, asJSON bool) error {
	w, err := weightsOf(weights)
	if err != nil {
		return err
	}
	if name != "" {
		id, err := s.identity(ctx, name)
		if err != nil {
			return err
		}
		v, err := s.ExplainWith(ctx, id, w)
		if err != nil {
			return err
		}
		return out(e, asJSON, v, func(to io.Writer) {
			p := sheet{to}
			p.field("identity", string(v.Who.ID))
			p.field("name", whoText(v.Who))
			p.assessment(v.Now)
			p.head("With %s", weights)
			p.assessment(v.With)
		})
	}
	all := desk.Replay{Changed: []desk.Replayed{}}
	for after := ""; ; {
		r, err := s.Replay(ctx, tenant, w, after)
		if err != nil {
			return err
		}
		all.Rules, all.Looked, all.Changed = r.Rules, all.Looked+r.Looked, append(all.Changed, r.Changed...)
		if after = r.Next; after == "" {
			break
		}
	}
	return out(e, asJSON, all, func(to io.Writer) {
		p := sheet{to}
		p.para("", fmt.Sprintf("%d assessed, the level of %d would change (%s)", all.Looked, len(all.Changed), all.Rules))
		for _, c := range all.Changed {
			p.para("  ", fmt.Sprintf("%s %s: %s %d would be %s %d", c.Who.ID, c.Who.Name, c.Now.Level, c.Now.Score, c.With.Level, c.With.Score))
		}
	})
}
