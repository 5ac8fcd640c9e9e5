package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A conductor plays the people of a story: it answers approvals and asks for
// undos as the script says, through the same desk as everybody.
type conductor struct {
	x       *demo
	leave   bool // leave approvals to whoever watches
	asked   map[string]bool
	refused []string // answers that Cordon did not accept, in its words
}

func newConductor(x *demo) *conductor { return &conductor{x: x, asked: map[string]bool{}} }

func (c *conductor) operator(name string) access.Operator {
	id := operatorID(name)
	for _, o := range c.x.stage.config.Operators {
		if o.ID == id {
			return o.Operator()
		}
	}
	return c.x.owner
}

func (c *conductor) step(ctx context.Context) error {
	now := time.Now()
	if !c.leave {
		if err := c.answer(ctx, now); err != nil {
			return err
		}
	}
	return c.undo(ctx, now)
}

func (c *conductor) answer(ctx context.Context, now time.Time) error {
	for n, a := range c.x.lab.story.Approvals {
		i, ok, err := c.x.identityOf(ctx, a.For)
		if err != nil || !ok {
			if err != nil {
				return err
			}
			continue
		}
		waiting, err := c.x.app.Desk().Approvals(ctx, c.x.owner, desk.ApprovalFilter{Identity: i.ID, State: []approval.State{approval.Pending}}, desk.Page{})
		if err != nil {
			return err
		}
		for _, r := range waiting.Items {
			key := fmt.Sprintf("approval %d %s", n, r.ID)
			if c.asked[key] || now.Sub(r.AskedAt) < time.Duration(a.After) {
				continue
			}
			c.asked[key] = true
			op := c.operator(a.By)
			if a.Decision == "reject" {
				_, err = c.x.app.Desk().Reject(ctx, op, r.ID, r.PlanHash, a.Reason)
			} else {
				_, err = c.x.app.Desk().Approve(ctx, op, r.ID, r.PlanHash, a.Reason)
			}
			switch {
			case errors.Is(err, fault.Denied):
				c.refused = append(c.refused, err.Error())
			case errors.Is(err, fault.Conflict):
				c.asked[key] = false // the plan moved: look again
			case err != nil:
				return fmt.Errorf("scripted approval for %s: %w", a.For, err)
			}
		}
	}
	return nil
}

func (c *conductor) undo(ctx context.Context, now time.Time) error {
	for n, u := range c.x.lab.story.Undo {
		key := fmt.Sprintf("undo %d", n)
		if c.asked[key] {
			continue
		}
		i, ok, err := c.x.identityOf(ctx, u.For)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		done, err := c.x.app.Desk().Actions(ctx, c.x.owner, desk.ActionFilter{Identity: i.ID, Name: action.Name(u.Action), State: []action.State{action.Verified}}, desk.Page{})
		if err != nil {
			return err
		}
		for _, a := range done.Items {
			if c.asked[key] || now.Sub(a.VerifiedAt) < time.Duration(u.AfterVerified) {
				continue
			}
			c.asked[key] = true
			if _, err := c.x.app.Desk().Undo(ctx, c.operator(u.By), string(a.ID), u.Reason); err != nil {
				return fmt.Errorf("scripted undo for %s: %w", u.For, err)
			}
		}
	}
	return nil
}

// identityOf finds the identity that Cordon made of an account of the story.
func (x *demo) identityOf(ctx context.Context, alias string) (identity.Identity, bool, error) {
	a := x.lab.cast[alias]
	found, err := x.app.Store().Desk().FindAccount(ctx, x.tenantKey(), a.Key())
	if err != nil || len(found) == 0 {
		return identity.Identity{}, false, err
	}
	return found[0], true, nil
}
