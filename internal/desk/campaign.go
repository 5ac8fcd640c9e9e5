package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Limits of campaigns.
const (
	maxCampaign    = 50_000         // identities
	secondOpinion  = 50             // a campaign about more identities needs two people
	campaignExpiry = 24 * time.Hour // how long its approval is awaited
	plannedAtOnce  = 100            // plans made in one transaction
)

// A CampaignWish says what a campaign is to be about.
type CampaignWish struct {
	Tenant     identity.Tenant
	Playbook   string        // its id
	MinLevel   signal.Level  // open cases of this level or higher; "": of any
	Identities []identity.ID // only these; empty: everybody with an open case
	Canary     int           // see campaign.Wish
	Wave       int
	Failures   float64
	Reason     string
}

// A CampaignView is a campaign with how far it has come.
type CampaignView struct {
	Campaign  campaign.Campaign `json:"campaign"`
	Progress  campaign.Progress `json:"progress"`
	CanAnswer bool              `json:"canAnswer"`
	WhyNot    string            `json:"whyNot,omitempty"`
	At        time.Time         `json:"at"`
}

// ProposeCampaign plans the playbook for every identity that the wish selects
// and asks for the approval of the root over all plans. Nothing leaves before it
// is given. Identities whose plan is refused, held, empty or in need of other
// approvers are left out, with the reason. It needs access.Plan.
func (s *Service) ProposeCampaign(ctx context.Context, op access.Operator, w CampaignWish) (CampaignView, error) {
	fail := func(err error) (CampaignView, error) {
		return CampaignView{}, fmt.Errorf("propose a campaign: %w", err)
	}
	t, err := may(op, access.Plan, w.Tenant)
	if err != nil {
		return CampaignView{}, err
	}
	if w.Tenant = t; t == "" {
		return fail(fault.Errorf(fault.Invalid, "name the tenant: a campaign is about one"))
	}
	reason, err := checkReason(w.Reason, true)
	if err != nil {
		return fail(err)
	}
	p, err := s.playbook(w.Playbook)
	if err != nil {
		return fail(err)
	}
	cases, err := s.selected(ctx, w)
	if err != nil {
		return fail(err)
	}
	c := campaign.Campaign{
		Tenant: t, Catalogue: s.catalogue.Version(), AskedBy: access.ByOperator(op.ID), AskedAt: s.now().UTC(), State: campaign.Proposed,
		Wish: campaign.Wish{Playbook: p.Ref, Query: w.words(), Why: reason, Canary: w.Canary, Wave: w.Wave, Failures: w.Failures},
	}
	if c.Wish, err = c.Wish.Filled(); err != nil {
		return fail(err)
	}
	draft := &draft{campaign: &c, catalogue: s.catalogue, rule: approval.Rule{Mode: approval.Before, From: []string{p.Owner}, Quorum: 1, Expires: campaignExpiry}}
	for chunk := range slices.Chunk(cases, plannedAtOnce) {
		if err := s.store.Update(ctx, func(tx Tx) error { return s.plan(tx, draft, p.Ref, chunk) }); err != nil { // reads only
			return fail(err)
		}
		draft.keep()
	}
	if err := s.absent(ctx, &c, w, cases); err != nil {
		return fail(err)
	}
	if len(draft.items) == 0 {
		return fail(fault.Errorf(fault.Conflict, "%s: nobody is left for it%s", w.words(), leftText(c.Left)))
	}
	items := draft.finish()
	c.Hash = campaign.Root(t, c.Wish, c.Catalogue, items)
	c.Approval = approval.Request{
		Tenant: t, Name: plural(c.Size, "identity", "identities"), Playbook: p.Ref.ID, PlanHash: c.Hash, Rule: draft.rule,
		AskedBy: c.AskedBy, AskedAt: c.AskedAt, ExpiresAt: c.AskedAt.Add(draft.rule.Expires), State: approval.Pending,
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		var err error
		c.ID, c.Version = "", 0
		if c, err = tx.PutCampaign(c); err != nil {
			return err
		}
		if err := tx.PutItems(t, c.ID, items); err != nil {
			return err
		}
		return tx.Audit(campaign.Entry(c, c.AskedBy, audit.CampaignAsked, c.AskedAt,
			fmt.Sprintf("%s asked for a campaign of %s: %s", op.ID, p.Ref.ID, reason), map[string]any{"query": c.Wish.Query, "left": len(c.Left)}))
	})
	if err != nil {
		return fail(err)
	}
	return s.CampaignView(ctx, op, c.ID)
}

func (w CampaignWish) words() string {
	switch {
	case len(w.Identities) > 0:
		return plural(len(w.Identities), "identity", "identities") + " by name"
	case w.MinLevel != "":
		return "open cases of level " + string(w.MinLevel) + " or higher"
	}
	return "all open cases"
}

func leftText(left []campaign.Left) string {
	if len(left) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s was left out: %s", left[0].Name, left[0].Why)
}

// selected returns the cases that the wish is about.
func (s *Service) selected(ctx context.Context, w CampaignWish) ([]casefile.Case, error) {
	var out []casefile.Case
	named := map[identity.ID]bool{}
	for _, id := range w.Identities {
		named[id] = true
	}
	f := CaseFilter{Tenant: w.Tenant, MinLevel: w.MinLevel, Status: []casefile.Status{casefile.Open, casefile.Acting, casefile.Waiting}}
	for p := (Page{Limit: 500}); ; {
		list, err := s.store.Cases(ctx, f, p)
		if err != nil {
			return nil, err
		}
		for _, c := range list.Items {
			if len(named) == 0 || named[c.Identity] {
				out = append(out, c)
			}
		}
		if len(out) > maxCampaign {
			return nil, fault.Errorf(fault.Invalid, "%s are more than %d: narrow them", w.words(), maxCampaign)
		}
		if p.After = list.Next; p.After == "" {
			return out, nil
		}
	}
}

// absent says of each identity that was named and has no case to select why it is
// left out.
func (s *Service) absent(ctx context.Context, c *campaign.Campaign, w CampaignWish, cases []casefile.Case) error {
	there := map[identity.ID]bool{}
	for _, f := range cases {
		there[f.Identity] = true
	}
	for _, id := range w.Identities {
		if there[id] {
			continue
		}
		there[id] = true
		left := campaign.Left{Identity: id, Name: string(id), Why: "there is no such identity"}
		switch i, err := s.store.Identity(ctx, w.Tenant, id); {
		case err == nil && w.MinLevel != "":
			left.Name, left.Why = i.Name, fmt.Sprintf("it has no case of level %s or higher that waits for containment", w.MinLevel)
		case err == nil:
			left.Name, left.Why = i.Name, "it has no case that waits for containment"
		case !errors.Is(err, fault.NotFound):
			return err
		}
		c.Left = append(c.Left, left)
	}
	return nil
}

// A draft gathers what a campaign will be made of.
type draft struct {
	campaign  *campaign.Campaign
	catalogue *action.Catalogue
	rule      approval.Rule
	items     []drafted
	fresh     []drafted // of the transaction under way, which may be tried again
	left      []campaign.Left
}

type drafted struct {
	campaign.Item
	level  signal.Level
	opened time.Time
	plan   playbook.Plan
}

func (d *draft) keep() {
	d.items, d.campaign.Left = append(d.items, d.fresh...), append(d.campaign.Left, d.left...)
	d.fresh, d.left = nil, nil
	for n := range d.items {
		for _, st := range d.items[n].plan.Steps {
			if st.Approval != nil {
				d.rule.Quorum = max(d.rule.Quorum, st.Approval.Quorum)
			}
		}
	}
}

// plan makes the plans of some cases.
func (s *Service) plan(tx Tx, d *draft, ref playbook.Ref, cases []casefile.Case) error {
	d.fresh, d.left = nil, nil
	for _, c := range cases {
		in, err := s.driver.Input(tx, c.Tenant, c.Identity, []string{playbook.OnManual}, nil)
		if err != nil {
			return err
		}
		p, err := s.playbooks().Plan(ref, in)
		if err != nil {
			return fmt.Errorf("plan for %s: %w", c.Name, err)
		}
		if why := d.unfit(p); why != "" {
			d.left = append(d.left, campaign.Left{Identity: c.Identity, Name: c.Name, Why: why})
			continue
		}
		d.fresh = append(d.fresh, drafted{
			Item:  campaign.Item{Identity: c.Identity, Case: c.ID, Name: c.Name, Lane: run.LaneOf(in.Identity, c.Level), PlanHash: p.Hash},
			level: c.Level, opened: c.OpenedAt, plan: p,
		})
	}
	return nil
}

// unfit says why a plan cannot be part of a campaign, or "".
func (d *draft) unfit(p playbook.Plan) string {
	switch {
	case p.Refused != "":
		return p.Refused
	case p.Held != "":
		return "held: " + p.Held
	case p.Mode == playbook.Observe:
		return "the playbook only observes"
	}
	for _, st := range p.Steps {
		if st.Skip == "" && st.Held == "" && st.Approval != nil && st.Approval.Mode == approval.Before && !st.Approval.AsksAs(d.rule) {
			return fmt.Sprintf("step %s asks others: %v", st.ID, st.Approval.From)
		}
	}
	if !slices.ContainsFunc(p.Steps, changes) {
		return "there is nothing to do"
	}
	return ""
}

// changes reports whether a step of a plan will change something.
func changes(st playbook.Step) bool { return st.Skip == "" && st.Held == "" && st.Action != "" }

// finish puts the items in the order in which they go and counts the requests.
func (d *draft) finish() []campaign.Item {
	slices.SortStableFunc(d.items, func(a, b drafted) int {
		return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(b.level.Rank(), a.level.Rank()), a.opened.Compare(b.opened), cmp.Compare(a.Identity, b.Identity))
	})
	items, counts := make([]campaign.Item, len(d.items)), map[action.Name]int{}
	for n, i := range d.items {
		items[n] = i.Item
		items[n].Place = n
		for _, st := range i.plan.Steps {
			if changes(st) {
				counts[st.Action]++
			}
		}
	}
	c := d.campaign
	c.Size, c.Cost = len(items), map[action.Bucket]int{}
	for name, n := range counts {
		if typ, err := d.catalogue.Type(name); err == nil {
			batch := max(1, typ.Spec().Batch)
			c.Cost[typ.Spec().Bucket] += (n + batch - 1) / batch
		}
	}
	if c.Size > secondOpinion {
		d.rule.Quorum = max(d.rule.Quorum, 2)
	}
	return items
}

// Campaigns lists campaigns, newest first. It needs access.Read.
func (s *Service) Campaigns(ctx context.Context, op access.Operator, f CampaignFilter, p Page) (List[campaign.Campaign], error) {
	t, err := may(op, access.Read, f.Tenant)
	if err != nil {
		return List[campaign.Campaign]{}, err
	}
	f.Tenant = t
	return s.store.Campaigns(ctx, f, p)
}

// CampaignView returns a campaign with how far it has come. It needs access.Read.
func (s *Service) CampaignView(ctx context.Context, op access.Operator, id campaign.ID) (CampaignView, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return CampaignView{}, err
	}
	v := CampaignView{At: s.now().UTC()}
	if v.Campaign, err = s.store.Campaign(ctx, t, id); err != nil {
		return v, err
	}
	c := v.Campaign
	if v.Progress, err = s.store.CampaignProgress(ctx, c.Tenant, c.ID, c.Released); err != nil {
		return v, err
	}
	err = s.store.View(ctx, func(tx Tx) error {
		voter, err := s.campaignVoter(tx, op, c)
		if err != nil {
			return err
		}
		_, err = c.Approval.Decide(voter, true, "", c.Hash, s.now())
		v.CanAnswer, v.WhyNot = err == nil, ""
		if err != nil {
			v.WhyNot = err.Error()
		}
		return nil
	})
	return v, err
}

// CampaignItems returns the identities of a campaign, in the order in which they
// go. It needs access.Read.
func (s *Service) CampaignItems(ctx context.Context, op access.Operator, id campaign.ID, p Page) (List[CampaignItem], error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return List[CampaignItem]{}, err
	}
	c, err := s.store.Campaign(ctx, t, id)
	if err != nil {
		return List[CampaignItem]{}, err
	}
	return s.store.CampaignItems(ctx, c.Tenant, c.ID, p)
}

// campaignVoter is voter for a campaign: its subjects are all its identities.
func (s *Service) campaignVoter(tx Tx, op access.Operator, c campaign.Campaign) (approval.Voter, error) {
	v, err := s.voter(tx, op, c.Tenant, "")
	if err != nil || v.Identity == "" || c.Approval.State != approval.Pending {
		return v, err // nobody can answer any more, and it is long to look through
	}
	own, err := tx.FindAccount(c.Tenant, op.Account)
	if err != nil {
		return v, err
	}
	for from := 0; ; from += 500 {
		items, err := tx.Items(c.Tenant, c.ID, from, 500)
		if err != nil || len(items) == 0 {
			return v, err
		}
		for _, i := range items {
			if slices.ContainsFunc(own, func(o identity.Identity) bool { return o.ID == i.Identity }) {
				v.AtRisk = "the campaign is about " + i.Name
				return v, nil
			}
		}
	}
}

// DecideCampaign approves or rejects a campaign. hash is the one the operator saw.
// It needs access.Approve, and everything approval.Request.Decide asks of a voter;
// who is one of its identities cannot answer.
func (s *Service) DecideCampaign(ctx context.Context, op access.Operator, id campaign.ID, approve bool, hash, reason string) (CampaignView, error) {
	reason, err := checkReason(reason, !approve)
	if err != nil {
		return CampaignView{}, fmt.Errorf("campaign %s: %w", id, err)
	}
	return s.change(ctx, op, access.Approve, id, func(tx Tx, c campaign.Campaign, now time.Time) (campaign.Campaign, string, error) {
		if c.State != campaign.Proposed {
			return c, "", fault.Errorf(fault.Conflict, "campaign %s is already %s", c.ID, c.State)
		}
		voter, err := s.campaignVoter(tx, op, c)
		if err != nil {
			return c, "", err
		}
		q, err := c.Approval.Decide(voter, approve, reason, hash, now)
		if err != nil || len(q.Decisions) == len(c.Approval.Decisions) {
			return c, "", err
		}
		c, err = c.Decided(q, now)
		if !approve {
			return c, fmt.Sprintf("%s rejected the campaign: %s", op.ID, reason), err
		}
		return c, fmt.Sprintf("%s approved the campaign (%d of %d)", op.ID, len(q.Decisions), max(1, q.Rule.Quorum)), err
	})
}

// PauseCampaign lets nothing further of it leave. It needs access.Hold.
func (s *Service) PauseCampaign(ctx context.Context, op access.Operator, id campaign.ID, reason string) (CampaignView, error) {
	reason, err := checkReason(reason, true)
	if err != nil {
		return CampaignView{}, fmt.Errorf("campaign %s: %w", id, err)
	}
	return s.change(ctx, op, access.Hold, id, func(_ Tx, c campaign.Campaign, _ time.Time) (campaign.Campaign, string, error) {
		c, err := c.Pause(fmt.Sprintf("%s: %s", op.ID, reason))
		return c, fmt.Sprintf("%s paused the campaign: %s", op.ID, reason), err
	})
}

// ResumeCampaign goes on where it was paused. It needs access.Resume.
func (s *Service) ResumeCampaign(ctx context.Context, op access.Operator, id campaign.ID) (CampaignView, error) {
	return s.change(ctx, op, access.Resume, id, func(_ Tx, c campaign.Campaign, _ time.Time) (campaign.Campaign, string, error) {
		c, err := c.Resume()
		return c, fmt.Sprintf("%s resumed the campaign", op.ID), err
	})
}

// StopCampaign ends it: what has not left is withdrawn. It needs access.Hold.
func (s *Service) StopCampaign(ctx context.Context, op access.Operator, id campaign.ID, reason string) (CampaignView, error) {
	reason, err := checkReason(reason, true)
	if err != nil {
		return CampaignView{}, fmt.Errorf("campaign %s: %w", id, err)
	}
	return s.change(ctx, op, access.Hold, id, func(_ Tx, c campaign.Campaign, now time.Time) (campaign.Campaign, string, error) {
		c, err := c.Stop(fmt.Sprintf("%s: %s", op.ID, reason), now)
		return c, fmt.Sprintf("%s stopped the campaign: %s", op.ID, reason), err
	})
}

// change changes a campaign and writes who did it. A change without words is none.
func (s *Service) change(ctx context.Context, op access.Operator, p access.Permission, id campaign.ID, change func(Tx, campaign.Campaign, time.Time) (campaign.Campaign, string, error)) (CampaignView, error) {
	t, err := may(op, p, op.Tenant)
	if err != nil {
		return CampaignView{}, err
	}
	c, err := s.store.Campaign(ctx, t, id)
	if err != nil {
		return CampaignView{}, err
	}
	update := s.store.Update
	if p == access.Hold {
		update = s.store.Brake
	}
	err = update(ctx, func(tx Tx) error {
		now := s.now().UTC()
		is, err := tx.Campaign(c.Tenant, c.ID)
		if err != nil {
			return err
		}
		next, text, err := change(tx, is, now)
		if err != nil || text == "" {
			return err
		}
		if next, err = tx.PutCampaign(next); err != nil {
			return err
		}
		kind := audit.CampaignMoved
		if next.State.Final() {
			kind = audit.CampaignEnded
		}
		return tx.Audit(campaign.Entry(next, access.ByOperator(op.ID), kind, now, text, map[string]any{"state": next.State}))
	})
	if errors.Is(err, fault.Conflict) || err == nil {
		s.nudge(c.Tenant)
	}
	if err != nil {
		return CampaignView{}, err
	}
	return s.CampaignView(ctx, op, id)
}
