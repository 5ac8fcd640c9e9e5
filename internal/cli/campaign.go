package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func newCampaigns(e Env) *cobra.Command {
	return group("campaigns", "Campaigns: one playbook for many identities at once",
		newList(e, "campaigns", listing[campaign.Campaign]{
			short: "List campaigns, the newest first",
			long:  "Campaigns: id, state, playbook, how many identities, and why.",
			filter: func(c *cobra.Command, f *filters) {
				c.Flags().BoolVar(&f.open, "open", false, "only those that are not over")
			},
			fetch: func(ctx context.Context, s *session, f *filters, p desk.Page) (desk.List[campaign.Campaign], error) {
				return s.Campaigns(ctx, desk.CampaignFilter{Tenant: identity.Tenant(f.tenant), Open: f.open}, p)
			},
			line: func(w sheet, c campaign.Campaign) {
				w.row([]int{30, 8, 24, 14}, string(c.ID), string(c.State), c.Wish.Playbook.ID, fmt.Sprint(c.Size, " identities"))
				w.para("    ", c.Wish.Why)
			},
		}),
		newShow(e, "campaign", "One campaign with how far it has come", func(s *session, ctx context.Context, id string) (desk.CampaignView, error) {
			return s.Campaign(ctx, campaign.ID(id))
		}, printCampaign),
		newCampaignItems(e), newCampaignPropose(e),
		newCampaignAnswer(e, true), newCampaignAnswer(e, false),
		newDeed(e, deed[desk.CampaignView]{
			use: "pause CAMPAIGN", short: "Let nothing further of it leave", args: []string{"CAMPAIGN"}, reason: true, text: printCampaign,
			long: "What has left is followed to its end. resume goes on.",
			do: func(ctx context.Context, s *session, args []string, reason string) (desk.CampaignView, error) {
				return s.PauseCampaign(ctx, campaign.ID(args[0]), reason)
			},
		}),
		newDeed(e, deed[desk.CampaignView]{
			use: "resume CAMPAIGN", short: "Go on where it was paused", args: []string{"CAMPAIGN"}, text: printCampaign,
			long: "A campaign that paused by itself says what failed: look first.",
			do: func(ctx context.Context, s *session, args []string, _ string) (desk.CampaignView, error) {
				return s.ResumeCampaign(ctx, campaign.ID(args[0]))
			},
		}),
		newDeed(e, deed[desk.CampaignView]{
			use: "stop CAMPAIGN", short: "Withdraw what has not left", args: []string{"CAMPAIGN"}, reason: true, text: printCampaign,
			long: "What has left is followed to its end, and nothing is undone unless somebody asks.",
			do: func(ctx context.Context, s *session, args []string, reason string) (desk.CampaignView, error) {
				return s.StopCampaign(ctx, campaign.ID(args[0]), reason)
			},
		}))
}

func newCampaignItems(e Env) *cobra.Command {
	c := &cobra.Command{Use: "items CAMPAIGN", Short: "Its identities, in the order in which they go", Args: exactly("CAMPAIGN"),
		Long: "Items: place, state of the run, name and run.\nWith --json one object a line."}
	t, asJSON := targetFlags(c), jsonFlag(c)
	f := &filters{}
	c.Flags().IntVar(&f.limit, "limit", 100, "at most so many; 0: all")
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := t.open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		return printList(cmd.Context(), e, s, listing[desk.CampaignItem]{
			fetch: func(ctx context.Context, s *session, _ *filters, p desk.Page) (desk.List[desk.CampaignItem], error) {
				return s.CampaignItems(ctx, campaign.ID(args[0]), p)
			},
			line: func(w sheet, i desk.CampaignItem) {
				state := string(i.State)
				if state == "" {
					state = "to come"
				}
				w.row([]int{6, 10, 30, 31}, fmt.Sprint(i.Place), state, i.Name, string(i.Run))
			},
		}, f, "identities", *asJSON)
	}
	return c
}

func newCampaignPropose(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "propose PLAYBOOK", Short: "Plan a playbook for many identities and ask for approval", Args: exactly("PLAYBOOK"),
		Long: `Plans PLAYBOOK for everybody with an open case, or for those named, and asks for
the approval of the root over all plans. Nothing leaves before that. Whoever
asks cannot approve; more than 50 identities need two people.`,
	}
	t, asJSON := targetFlags(c), jsonFlag(c)
	var w desk.CampaignWish
	var tenant, level string
	var ids []string
	fl := c.Flags()
	fl.StringVar(&tenant, "tenant", "", "of this tenant (id)")
	fl.StringVar(&level, "level", "", "of this level or higher: low, medium, high")
	fl.StringSliceVar(&ids, "identity", nil, "only these (ids)")
	fl.IntVar(&w.Canary, "canary", campaign.DefaultCanary, "how many go first")
	fl.IntVar(&w.Wave, "wave", campaign.DefaultWave, "how many are released at a time")
	fl.Float64Var(&w.Failures, "failures", campaign.DefaultFailures, "the share of runs that may fail before it pauses by itself")
	fl.StringVar(&w.Reason, "reason", "", "why; it stays in the trail with your name")
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		switch {
		case strings.TrimSpace(w.Reason) == "":
			return fault.Errorf(fault.Invalid, "--reason is missing: it stays in the trail with your name")
		case tenant == "":
			return fault.Errorf(fault.Invalid, "--tenant is missing: a campaign is about one")
		}
		s, err := t.open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		w.Playbook, w.Tenant, w.MinLevel, w.Identities = args[0], identity.Tenant(tenant), signal.Level(level), words[identity.ID](ids)
		v, err := s.ProposeCampaign(cmd.Context(), w)
		if err != nil {
			return err
		}
		return out(e, *asJSON, v, func(w io.Writer) { printCampaign(sheet{w}, v) })
	}
	return c
}

func newCampaignAnswer(e Env, approve bool) *cobra.Command {
	word, short := "reject", "Refuse it"
	if approve {
		word, short = "approve", "Give consent to all its plans"
	}
	d := deed[desk.CampaignView]{use: word + " CAMPAIGN", short: short, args: []string{"CAMPAIGN"}, reason: !approve, text: printCampaign,
		long: "--hash is the root that you have seen: a campaign with another one is not\nanswered."}
	var hash *string
	d.do = func(ctx context.Context, s *session, args []string, reason string) (desk.CampaignView, error) {
		if *hash == "" {
			return desk.CampaignView{}, fault.Errorf(fault.Invalid, "--hash is missing: campaigns show %s prints it beside what it is about", args[0])
		}
		return s.DecideCampaign(ctx, campaign.ID(args[0]), approve, *hash, reason)
	}
	c := newDeed(e, d)
	hash = c.Flags().String("hash", "", "the root over all plans that you have seen")
	return c
}

func printCampaign(s sheet, v desk.CampaignView) {
	c := v.Campaign
	s.field("campaign", string(c.ID))
	s.field("state", string(c.State))
	if c.Reason != "" {
		s.field("reason", c.Reason)
	}
	s.field("playbook", c.Wish.Playbook.ID+" "+c.Wish.Playbook.Version)
	s.field("about", fmt.Sprintf("%s: %s, %s left out", c.Wish.Query, plural(c.Size, "identity"), plural(len(c.Left), "other")))
	s.field("why", c.Wish.Why)
	s.field("asked by", fmt.Sprintf("%s, %s", c.AskedBy, stamp(c.AskedAt)))
	s.field("goes", fmt.Sprintf("%d first, then %d at a time; pauses when more than %.0f%% fail", c.Wish.Canary, c.Wish.Wave, c.Wish.Failures*100))
	s.field("hash", c.Hash)
	if q := c.Approval; q.State == approval.Pending {
		s.field("approval", fmt.Sprintf("%d of %d from %s, until %s", len(q.Decisions), max(1, q.Rule.Quorum), strings.Join(q.Rule.From, " or "), stamp(q.ExpiresAt)))
	}
	s.field("released", fmt.Sprintf("%d of %d", c.Released, c.Size))
	if !c.EndsAt.IsZero() && !c.State.Final() {
		s.field("over at", stamp(c.EndsAt)+", as far as the published limits say")
	}
	for _, state := range slices.Sorted(maps.Keys(v.Progress.States)) {
		s.field(string(state), fmt.Sprint(v.Progress.States[run.State(state)]))
	}
	for n, l := range c.Left {
		if n == 10 {
			s.para("  ", fmt.Sprintf("and %d more were left out", len(c.Left)-n))
			break
		}
		s.para("  ", fmt.Sprintf("left out: %s: %s", l.Name, l.Why))
	}
}
