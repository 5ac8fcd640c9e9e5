package campaign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// begunAtOnce is how many runs are begun in one transaction: others want to
// write meanwhile.
const begunAtOnce = 25

// withdrawnAtOnce is the same for the runs of a stopped campaign.
const withdrawnAtOnce = 50

// A Driver moves campaigns on. Like run.Driver it may be called as often as
// anybody likes, from any replica: who comes second finds nothing to do.
type Driver struct {
	Store Store
	Runs  *run.Driver
	Now   func() time.Time
	// Forecast says how long so many requests would take to leave; nil: not known.
	Forecast func(t identity.Tenant, cost map[action.Bucket]int) (time.Duration, bool)
	Nudge    func(identity.Tenant) // after a commit that made actions ready
	Log      *slog.Logger
}

// Reconcile moves every open campaign as far as it can go now.
func (d *Driver) Reconcile(ctx context.Context) error {
	open, err := d.Store.Open(ctx)
	if err != nil {
		return fmt.Errorf("look for open campaigns: %w", err)
	}
	var errs []error
	for _, c := range open {
		if err := d.drive(ctx, c); err != nil && !errors.Is(err, fault.Conflict) {
			errs = append(errs, fmt.Errorf("campaign %s: %w", c.ID, err))
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) drive(ctx context.Context, c Campaign) error {
	switch c.State {
	case Proposed:
		return d.expire(ctx, c)
	case Stopped:
		return d.withdraw(ctx, c)
	}
	for c.State.Goes() && c.Begun < c.Size {
		next, err := d.begin(ctx, c)
		if err != nil {
			return err
		}
		// The canary goes while the others are prepared.
		if next, err = d.advance(ctx, next); err != nil {
			return err
		}
		c = next
	}
	_, err := d.advance(ctx, c)
	return err
}

// expire ends a proposal that nobody answered.
func (d *Driver) expire(ctx context.Context, c Campaign) error {
	if q := c.Approval.Tick(d.Now()); q.State == approval.Pending {
		return nil
	}
	return d.Store.Update(ctx, func(tx Tx) error {
		now := d.Now()
		c, err := tx.Campaign(c.Tenant, c.ID)
		if err != nil || c.State != Proposed {
			return err
		}
		if c, err = c.Decided(c.Approval.Tick(now), now); err != nil || c.State == Proposed {
			return err
		}
		if _, err = tx.PutCampaign(c); err != nil {
			return err
		}
		return tx.Audit(Entry(c, access.BySystem("campaign"), audit.CampaignEnded, now, "nobody approved the campaign in time", nil))
	})
}

// begin begins the runs of the next items. One whose plan is another by now than
// the one approved is begun too, and held with that reason: it is shown.
func (d *Driver) begin(ctx context.Context, c Campaign) (Campaign, error) {
	was := c
	err := d.Store.Update(ctx, func(tx Tx) error {
		var err error
		if c, err = tx.Campaign(was.Tenant, was.ID); err != nil || !c.State.Goes() {
			return err
		}
		items, err := tx.Items(c.Tenant, c.ID, c.Begun, begunAtOnce)
		if err != nil {
			return err
		}
		for n, i := range items {
			if items[n].Run, err = d.one(tx, c, i); err != nil {
				return fmt.Errorf("begin the run of %s: %w", i.Name, err)
			}
		}
		if err := tx.PutItems(c.Tenant, c.ID, items); err != nil {
			return err
		}
		if c.Begun += len(items); len(items) == 0 {
			return fault.Errorf(fault.Conflict, "%d of its %d items are missing", c.Size-c.Begun, c.Size)
		}
		c, err = tx.PutCampaign(c)
		return err
	})
	return c, err
}

func (d *Driver) one(tx Tx, c Campaign, i Item) (run.ID, error) {
	in, err := d.Runs.Input(tx, c.Tenant, i.Identity, []string{playbook.OnManual}, nil)
	if err != nil {
		return "", err
	}
	r, _, err := d.Runs.Begin(tx, run.Start{
		Match: playbook.Match{Ref: playbook.Ref{ID: c.Wish.Playbook.ID}}, Case: i.Case, Input: in, AskedBy: c.AskedBy, Why: c.Wish.Why,
		Consent: &run.Consent{Campaign: string(c.ID), Place: i.Place, PlanHash: i.PlanHash, Rule: c.Approval.Rule, Decisions: c.Approval.Decisions},
	})
	return r.ID, err
}

// Barred is for run.Campaigns.
func (d *Driver) Barred(tx run.Tx, r run.Run) (why string, err error) {
	mine, ok := tx.(Tx)
	if !ok {
		return "there are no campaigns here", nil
	}
	id, place := ID(r.Consent.Campaign), r.Consent.Place
	c, err := mine.Campaign(r.Tenant, id)
	switch {
	case errors.Is(err, fault.NotFound):
		return "the campaign is not there any more", nil
	case err != nil:
		return "", err
	case c.State.Final():
		return fmt.Sprintf("the campaign is over (%s)", c.State), nil
	}
	items, err := mine.Items(r.Tenant, id, place, 1)
	if err != nil {
		return "", err
	}
	if len(items) == 0 || items[0].Place != place || items[0].Identity != r.Identity {
		return fmt.Sprintf("the campaign does not have it at place %d", place), nil
	}
	return "", nil
}

// Rejoined is for run.Campaigns: what became of the item is from now on what becomes
// of next. The campaign gets a new version: whoever counted its runs before counts
// again, also a canary that had proven nothing.
func (d *Driver) Rejoined(tx run.Tx, next run.Run) error {
	fail := func(err error) error {
		return fmt.Errorf("put run %s in its place of campaign %s: %w", next.ID, next.Consent.Campaign, err)
	}
	mine, ok := tx.(Tx)
	if !ok {
		return fail(errors.New("the transaction knows no campaigns"))
	}
	id, place := ID(next.Consent.Campaign), next.Consent.Place
	items, err := mine.Items(next.Tenant, id, place, 1)
	if err != nil {
		return fail(err)
	}
	if len(items) == 0 || items[0].Identity != next.Identity {
		return fail(fault.Errorf(fault.Conflict, "it does not have %s at place %d", next.Identity, place))
	}
	items[0].Run = next.ID
	if err := mine.PutItems(next.Tenant, id, items); err != nil {
		return fail(err)
	}
	c, err := mine.Campaign(next.Tenant, id)
	if err != nil {
		return fail(err)
	}
	if place < c.canary() {
		c.Unproven = false
	}
	if _, err = mine.PutCampaign(c); err != nil {
		return fail(err)
	}
	return nil
}

// advance lets the campaign go on as far as its runs have come.
func (d *Driver) advance(ctx context.Context, c Campaign) (Campaign, error) {
	if !c.State.Goes() {
		return c, nil
	}
	p, err := d.Store.Progress(ctx, c.Tenant, c.ID, c.Released)
	if err != nil {
		return c, err
	}
	now := d.Now()
	planned := d.foretell(c.Advance(p, now), p, now)
	next := planned
	if next.State == c.State && next.Released == c.Released && !moved(c.EndsAt, next.EndsAt) {
		return c, nil
	}
	err = d.Store.Update(ctx, func(tx Tx) error {
		is, err := tx.Campaign(c.Tenant, c.ID)
		if err != nil {
			return err
		}
		if is.Version != c.Version {
			return fault.Errorf(fault.Conflict, "it moved on meanwhile")
		}
		if next, err = tx.PutCampaign(planned); err != nil || next.State == c.State {
			return err
		}
		kind, text := audit.CampaignMoved, fmt.Sprintf("the campaign is %s", next.State)
		switch next.State {
		case Rolling:
			canary := c.canary()
			text = fmt.Sprintf("the canary of %d is over, and the playbook did what it is for with %d of them: the other %d follow", canary, p.Proven(), c.Size-canary)
		case Paused:
			text = "the campaign paused by itself: " + next.Reason
		case Done:
			kind, text = audit.CampaignEnded, fmt.Sprintf("the campaign is over: %d of %d contained", p.Contained(), c.Size)
		}
		return tx.Audit(Entry(next, access.BySystem("campaign"), kind, now, text, map[string]any{"state": next.State, "states": p.States}))
	})
	if err != nil {
		return c, err
	}
	if next.Released != c.Released && d.Nudge != nil {
		d.Nudge(c.Tenant)
	}
	return next, nil
}

// moved reports whether a finishing time changed by enough to be told.
func moved(a, b time.Time) bool {
	gap := b.Sub(a)
	return gap > 2*time.Second || gap < -2*time.Second
}

// foretell works out when the campaign will be over by what is still to be sent.
func (d *Driver) foretell(c Campaign, p Progress, now time.Time) Campaign {
	if d.Forecast == nil || c.State != Rolling {
		return c
	}
	open := c.Size - p.Ended()
	left := map[action.Bucket]int{}
	for b, n := range c.Cost {
		left[b] = (n*open + c.Size - 1) / max(c.Size, 1)
	}
	wait, ok := d.Forecast(c.Tenant, left)
	if !ok {
		return c
	}
	c.EndsAt = now.Add(wait)
	if c.Announced.IsZero() {
		c.Announced = c.EndsAt
	}
	return c
}

// withdraw withdraws what a stopped campaign had not sent, some runs at a time.
// What has left is followed to its end by its runs.
func (d *Driver) withdraw(ctx context.Context, c Campaign) error {
	for after := run.ID(""); ; {
		var ids []run.ID
		err := d.Store.Update(ctx, func(tx Tx) error {
			var err error
			if ids, err = tx.RunsOfCampaign(c.Tenant, c.ID, after, withdrawnAtOnce); err != nil {
				return err
			}
			for _, id := range ids {
				if err := d.Runs.WithdrawRun(tx, run.Key{Tenant: c.Tenant, ID: id}, access.BySystem("campaign"), "the campaign was stopped: "+cmp.Or(c.Reason, "no reason given")); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("withdraw the runs of campaign %s: %w", c.ID, err)
		}
		if len(ids) == 0 {
			break
		}
		after = ids[len(ids)-1]
	}
	return d.Store.Update(ctx, func(tx Tx) error {
		c, err := tx.Campaign(c.Tenant, c.ID)
		if err != nil {
			return err
		}
		c.Withdrawn = true
		_, err = tx.PutCampaign(c)
		return err
	})
}

// Entry is a line of the trail about the campaign.
func Entry(c Campaign, by access.Actor, k audit.Kind, at time.Time, text string, data map[string]any) audit.Entry {
	if data == nil {
		data = map[string]any{}
	}
	data["campaign"], data["hash"], data["size"] = string(c.ID), c.Hash, c.Size
	return audit.Entry{Tenant: c.Tenant, At: at, Actor: by, Kind: k, Text: text, Data: data}
}
