package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
)

func newDeskCommands(e Env) []*cobra.Command {
	return []*cobra.Command{
		newSignals(e), newIdentities(e), newCases(e), newRuns(e), newApprovals(e), newActions(e), newCampaigns(e),
		newExplain(e), newExceptions(e), newApprove(e), newReject(e), newUndo(e), newExtend(e), newHold(e), newVerdict(e),
	}
}

// A deed is a command that changes something.
type deed[T any] struct {
	use, short, long string
	args             []string
	reason           bool // needed
	do               func(ctx context.Context, s *session, args []string, reason string) (T, error)
	text             func(s sheet, v T)
}

func newDeed[T any](e Env, d deed[T]) *cobra.Command {
	c := &cobra.Command{Use: d.use, Short: d.short, Long: d.long, Args: exactly(d.args...)}
	t, asJSON := targetFlags(c), jsonFlag(c)
	reason := c.Flags().String("reason", "", "why; it stays in the trail with your name")
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if d.reason && strings.TrimSpace(*reason) == "" {
			return fault.Errorf(fault.Invalid, "--reason is missing: it stays in the trail with your name")
		}
		s, err := t.open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		v, err := d.do(cmd.Context(), s, args, *reason)
		if err != nil {
			return err
		}
		err = out(e, *asJSON, v, func(w io.Writer) { d.text(sheet{w}, v) })
		later(e, s)
		return err
	}
	return c
}

// later says what is left to a service when none runs.
func later(e Env, s *session) {
	if s.offline {
		fmt.Fprintln(e.Stderr, "written to the store; what follows from it is done when a service runs")
	}
}

func newExplain(e Env) *cobra.Command {
	c := newShow(e, "identity", "Why an identity is at risk, point by point",
		func(s *session, ctx context.Context, id string) (explained, error) {
			v, err := s.showIdentity(ctx, id)
			switch {
			case err != nil:
				return explained{}, err
			case v.Assessment == nil:
				return explained{}, fault.Errorf(fault.NotFound, "%s was never assessed: no source has said anything about it", v.Who.Name)
			}
			return explained{v.Who, *v.Assessment}, nil
		},
		func(s sheet, x explained) {
			s.field("identity", string(x.Who.ID))
			s.field("name", whoText(x.Who))
			s.assessment(x.Assessment)
			for _, c := range x.Assessment.Causes {
				s.field("cause", string(c))
			}
		})
	c.Use = "explain IDENTITY"
	c.Long = "Shows the assessment: each reason with its points, source and time. The points sum\nto the score. IDENTITY is an id, a UPN or a name. With --weights FILE it is judged by\nother weights besides; without IDENTITY then everybody whose level would change is\nlisted. Nothing is stored."
	weights := c.Flags().String("weights", "", "JSON file of other weights to try")
	tenant := c.Flags().String("tenant", "", "with --weights, one tenant (id)")
	plain, args := c.RunE, c.Args
	c.Args = func(cmd *cobra.Command, given []string) error {
		if *weights != "" && len(given) == 0 {
			return nil
		}
		return args(cmd, given)
	}
	c.RunE = func(cmd *cobra.Command, given []string) (err error) {
		if *weights == "" {
			return plain(cmd, given)
		}
		s, err := targetOf(cmd).open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		return replay(cmd.Context(), e, s, *weights, strings.Join(given, " "), identity.Tenant(*tenant), cmd.Flag("json").Value.String() == "true")
	}
	return c
}

func newApprove(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "approve APPROVAL", Short: "Give consent to a plan", Args: exactly("APPROVAL"),
		Long: `Shows the steps and the plan's hash and asks for confirmation. Without a terminal
--yes answers for you; --plan-hash HASH makes sure that it answers for the plan
you have seen: a plan that changed since is not approved.`,
	}
	t, asJSON := targetFlags(c), jsonFlag(c)
	yes := c.Flags().Bool("yes", false, "do not ask")
	hash := c.Flags().String("plan-hash", "", "the plan you have seen")
	reason := c.Flags().String("reason", "", "why; it stays in the trail with your name")
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		ctx := cmd.Context()
		s, err := t.open(ctx, e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		v, err := s.Approval(ctx, approval.ID(args[0]))
		if err != nil {
			return err
		}
		if !*asJSON {
			printApproval(sheet{e.Stderr}, v)
		}
		switch {
		case !v.CanAnswer:
			return fault.Errorf(fault.Denied, "%s", v.WhyNot)
		case *hash != "" && *hash != v.Request.PlanHash:
			return fault.Errorf(fault.Conflict, "the plan's hash is %s, not the one of --plan-hash: it changed since you saw it; look at it again", v.Request.PlanHash)
		}
		if !*yes {
			if err := confirm(e, fmt.Sprintf("\nApprove %s for %s? [y/N] ", plural(len(v.Steps), "step"), clean(v.Who.Name))); err != nil {
				return err
			}
		}
		if v, err = s.Approve(ctx, v.Request.ID, v.Request.PlanHash, *reason); err != nil {
			return err
		}
		err = out(e, *asJSON, v, func(w io.Writer) { fmt.Fprintln(w, answered(v.Request)) })
		later(e, s)
		return err
	}
	return c
}

// answered says where a request stands after an answer.
func answered(q approval.Request) string {
	if q.State == approval.Pending {
		return fmt.Sprintf("%s: %d of %d answers; more are needed", q.ID, len(q.Decisions), q.Rule.Quorum)
	}
	return fmt.Sprintf("%s is %s; run %s goes on", q.ID, q.State, q.Run)
}

// confirm asks a person. Without a terminal there is nobody to ask.
func confirm(e Env, question string) error {
	f, ok := e.Stdin.(*os.File)
	if ok {
		info, err := f.Stat()
		ok = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if !ok {
		return fault.Errorf(fault.Invalid, "standard input is no terminal, so nobody can confirm: add --yes, and --plan-hash HASH to bind it to the plan you have seen")
	}
	fmt.Fprint(e.Stderr, question)
	line, err := bufio.NewReader(io.LimitReader(f, 1024)).ReadString('\n')
	if err != nil && line == "" {
		return no("not approved: no answer")
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return no("not approved")
}

func newReject(e Env) *cobra.Command {
	var hash *string
	c := newDeed(e, deed[desk.ApprovalView]{
		use: "reject APPROVAL --reason TEXT", short: "Refuse a plan", args: []string{"APPROVAL"}, reason: true,
		long: "Refuses the steps of a request; nothing of them is done. --plan-hash binds the\nanswer to the plan you have seen.",
		do: func(ctx context.Context, s *session, args []string, reason string) (desk.ApprovalView, error) {
			bind := *hash
			if bind == "" {
				v, err := s.Approval(ctx, approval.ID(args[0]))
				if err != nil {
					return v, err
				}
				bind = v.Request.PlanHash
			}
			return s.Reject(ctx, approval.ID(args[0]), bind, reason)
		},
		text: func(s sheet, v desk.ApprovalView) {
			s.para("", fmt.Sprintf("%s is %s", v.Request.ID, v.Request.State))
		},
	})
	hash = c.Flags().String("plan-hash", "", "the plan you have seen")
	return c
}

func newUndo(e Env) *cobra.Command {
	return newDeed(e, deed[desk.RunView]{
		use: "undo ACTION-OR-RUN --reason TEXT", short: "Take back an action, or what a run did", args: []string{"ACTION-OR-RUN"}, reason: true,
		long: "Brings the recorded before-state back, as a run of its own that passes the same\ngate and is proven like any other. Prints that run.",
		do: func(ctx context.Context, s *session, args []string, reason string) (desk.RunView, error) {
			return s.Undo(ctx, args[0], reason)
		},
		text: printRun,
	})
}

func newExtend(e Env) *cobra.Command {
	var by *time.Duration
	c := newDeed(e, deed[desk.ActionView]{
		use: "extend ACTION --by 12h --reason TEXT", short: "Let an action stand longer than its ttl", args: []string{"ACTION"}, reason: true,
		long: "Puts off when the action is taken back by itself. Whoever does it must be one who\ncould have approved its step, and the playbook's max_ttl is the end of it.",
		do: func(ctx context.Context, s *session, args []string, reason string) (desk.ActionView, error) {
			if *by <= 0 {
				return desk.ActionView{}, fault.Errorf(fault.Invalid, "--by %s: a duration such as 12h is needed", *by)
			}
			v, err := s.Action(ctx, action.ID(args[0]))
			if err != nil {
				return v, err
			}
			if v.ExpiresAt.IsZero() {
				return v, fault.Errorf(fault.Conflict, "extend action %s: it is %s and nothing takes it back by itself", v.ID, v.State)
			}
			return s.Extend(ctx, v.ID, v.ExpiresAt.Add(*by), reason)
		},
		text: func(s sheet, v desk.ActionView) {
			s.para("", fmt.Sprintf("%s stands until %s", v.ID, stamp(v.ExpiresAt)))
		},
	})
	by = c.Flags().Duration("by", 0, "how much longer")
	return c
}

func newHold(e Env) *cobra.Command {
	var tenant *string
	c := newDeed(e, deed[dispatch.Stop]{
		use: "hold on|off", short: "Stop all writes, or let them go on", args: []string{"on|off"},
		long: "Switches the global stop. On halts every write within a second, in all tenants or\nin one; reading goes on. Off needs the role owner.",
		do: func(ctx context.Context, s *session, args []string, reason string) (dispatch.Stop, error) {
			if args[0] != "on" && args[0] != "off" {
				return dispatch.Stop{}, fault.Errorf(fault.Invalid, "hold %q: it is on or off", args[0])
			}
			return s.Hold(ctx, identity.Tenant(*tenant), args[0] == "on", reason)
		},
		text: func(s sheet, v dispatch.Stop) {
			if !v.On {
				s.para("", "the stop is off")
				return
			}
			s.para("", strings.TrimSuffix(fmt.Sprintf("the stop is on, by %s since %s: %s", v.By, stamp(v.At), v.Reason), ": "))
		},
	})
	tenant = c.Flags().String("tenant", "", "in this tenant only (id)")
	return c
}

func newVerdict(e Env) *cobra.Command {
	return newDeed(e, deed[desk.CaseView]{
		use: "verdict CASE compromised|safe|benign", short: "Close a case", args: []string{"CASE", "compromised|safe|benign"},
		long: "compromised: it was real, and what is under way goes on. safe: it was not, and the\nsource is to learn it. benign: it was real and expected. safe and benign withdraw\nwhat has not left yet.",
		do: func(ctx context.Context, s *session, args []string, reason string) (desk.CaseView, error) {
			switch w := casefile.Word(args[1]); w {
			case casefile.Compromised, casefile.Safe, casefile.Benign:
				return s.Verdict(ctx, casefile.ID(args[0]), w, reason)
			}
			return desk.CaseView{}, fault.Errorf(fault.Invalid, "verdict %q: it is compromised, safe or benign", args[1])
		},
		text: func(s sheet, v desk.CaseView) {
			s.para("", fmt.Sprintf("%s about %s is %s: %s", v.Case.ID, v.Case.Name, v.Case.Status, v.Case.Verdict.Word))
		},
	})
}

// explained is an assessment and whose it is.
type explained struct {
	Who        desk.Who        `json:"who"`
	Assessment risk.Assessment `json:"assessment"`
}
