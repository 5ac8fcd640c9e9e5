package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

// rateSoonest and rateLatest bound how soon a run that waits for its rate looks
// for room again.
const (
	rateSoonest = time.Second
	rateLatest  = time.Minute
)

// brake lets a run wait, or refuses its plan, when the playbook's rate is used up.
// Undo and whatever does nothing are not counted.
func (d *Driver) brake(tx Tx, r Run, p *playbook.Plan, observe bool) ([]Event, error) {
	if p.Rate == nil || p.Refused != "" || p.Held != "" || observe || p.Mode == playbook.Observe {
		return nil, nil
	}
	now := d.Now()
	n, err := tx.RunsAtRate(r.Tenant, r.Playbook.ID, p.Rate.Key, now.Add(-p.Rate.Per))
	if err != nil || n < p.Rate.Limit {
		return nil, err
	}
	text := fmt.Sprintf("the rate of %s is used up: %d in %s for %s", r.Playbook.ID, p.Rate.Limit, p.Rate.Per, p.Rate.Key)
	if p.Rate.Over == playbook.OverRefuse {
		p.Refused, p.Steps, p.Cost = text, nil, nil
		return nil, nil
	}
	return []Event{Postponed{Reason: text, Until: now.Add(min(max(p.Rate.Per/20, rateSoonest), rateLatest))}}, nil
}

// decide answers a condition of a run with what is known now.
func (d *Driver) decide(tx Tx, r Run, e Decide) ([]Event, error) {
	in, err := d.again(tx, r)
	if err != nil {
		return nil, err
	}
	in.Steps = r.standings()
	text := r.Plan.ContainedWhen
	if n, ok := r.step(e.Step); ok {
		s := r.Plan.Steps[n]
		in.Each, text = s.Each, s.If
		if e.Until {
			text = s.Until
		}
	}
	holds, err := d.asker.Holds(text, in)
	if err != nil {
		return []Event{Decided{Decide: e, Unknown: err.Error()}}, nil
	}
	return []Event{Decided{Decide: e, Holds: holds}}, nil
}

// Still reports whether what a plan rests on holds for one of its actions, with
// what is known now: refused is the guard that refuses, moot why the action is not
// called for any more, err, of the kind fault.Held, what cannot be decided. The gate
// asks it before a change leaves.
func (d *Driver) Still(tx Reader, r Run, step string) (refused, moot string, err error) {
	if r.Plan == nil || !r.Plan.Asks(step) {
		return "", "", nil
	}
	in, err := d.again(tx, r)
	if err != nil {
		return "", "", err
	}
	return d.asker.Still(*r.Plan, step, in)
}

// prolong lets an action that another run asked for stand as long as this one
// needs it: for ever when this one sets no end.
func (d *Driver) prolong(tx Tx, r Run, a action.Action, ttl time.Duration) (action.Action, error) {
	if a.TTL == 0 && a.ExpiresAt.IsZero() || a.Run == string(r.ID) {
		return a, nil
	}
	was := a
	until := d.Now().Add(ttl)
	switch {
	case ttl == 0:
		a.TTL, a.ExpiresAt = 0, time.Time{}
	case a.State == action.Verified && until.After(a.ExpiresAt):
		a.ExpiresAt = until
	case a.State != action.Verified && ttl > a.TTL:
		a.TTL = ttl
	}
	if a.TTL == was.TTL && a.ExpiresAt.Equal(was.ExpiresAt) {
		return a, nil
	}
	return tx.PutAction(a)
}

// release begins the undo of what has stood as long as its step said. The undo
// passes the same gate and is proven like any other.
func (d *Driver) release(ctx context.Context) error {
	due, err := d.Store.DueExpiries(ctx, d.Now(), dueAtOnce)
	if err != nil {
		return fmt.Errorf("find what has run its time: %w", err)
	}
	var errs []error
	for _, a := range due {
		if ctx.Err() != nil {
			break
		}
		begun := false
		err := d.Store.Update(ctx, func(tx Tx) (err error) {
			begun, err = d.expire(tx, a)
			return err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("take back action %s, which has run its time: %w", a.ID, err))
		}
		if begun && d.Nudge != nil {
			d.Nudge(a.Tenant)
		}
	}
	return errors.Join(errs...)
}

// retrySoonest and retryLatest bound how soon an undo that came to nothing is asked
// for again: after as long as it is overdue.
const (
	retrySoonest = time.Hour
	retryLatest  = 24 * time.Hour
)

// expire takes one action back. While it stands it stays due: an undo that fails,
// or that a person began and that failed, is asked for again later.
func (d *Driver) expire(tx Tx, was action.Action) (bool, error) {
	a, err := tx.Action(was.Tenant, was.ID)
	if err != nil {
		return false, err
	}
	now := d.Now()
	if a.State != action.Verified || a.ExpiresAt.IsZero() || a.ExpiresAt.After(now) {
		return false, nil // taken back or prolonged meanwhile
	}
	overdue := now.Sub(a.VerifiedAt.Add(a.TTL))
	a.ExpiresAt = now.Add(min(max(overdue, retrySoonest), retryLatest))
	if a, err = tx.PutAction(a); err != nil {
		return false, err
	}
	if d.Mode(a.Tenant) == playbook.Observe {
		return false, nil // nothing leaves; it is asked again
	}
	if until, needed, err := d.neededBeyond(tx, a, now); err != nil || needed {
		if err == nil {
			if a.ExpiresAt = until; until.IsZero() {
				a.TTL = 0
			}
			_, err = tx.PutAction(a)
		}
		return false, err
	}
	reason := fmt.Sprintf("it was to stand for %s", a.TTL)
	_, err = d.BeginUndo(tx, []action.Action{a}, access.BySystem("run"), reason)
	if !errors.Is(err, fault.Conflict) {
		return err == nil, err
	}
	if a.UndoneBy != "" {
		return false, nil // an undo is under way already
	}
	a.ExpiresAt = time.Time{} // it cannot be taken back, and never will be
	if a, err = tx.PutAction(a); err != nil {
		return false, err
	}
	return false, tx.Audit(audit.Entry{
		Tenant: a.Tenant, At: now, Actor: access.BySystem("run"), Kind: audit.UndoAsked, Identity: string(a.Identity),
		Case: a.Case, Run: a.Run, Action: string(a.ID), Text: reason + ", and there is nothing that could be taken back",
	})
}

// neededBeyond reports whether a later action had the same effect, found it there
// already, and is to last longer, and until when; the zero time is for ever. What that
// one relies on is taken back with a, which alone knows what there was before.
func (d *Driver) neededBeyond(tx Tx, a action.Action, now time.Time) (until time.Time, needed bool, err error) {
	last, ok, err := tx.ActiveEffect(a.Tenant, a.Effect, a.RequestedAt)
	if err != nil || !ok || last.ID == a.ID || last.UndoOf != "" || last.UndoneBy != "" {
		return time.Time{}, false, err
	}
	switch {
	case last.State != action.Verified:
		return now.Add(retrySoonest), !last.Person, nil // it will soon be known, unless a person must decide
	case last.TTL == 0:
		return time.Time{}, true, nil
	}
	return last.ExpiresAt, last.ExpiresAt.After(now), nil
}

// stir asks the conditions that runs of the case wait for, and reports whether there
// were any.
func (d *Driver) stir(tx Tx, runs []Run) (bool, error) {
	stirred := false
	for _, r := range runs {
		if !waitsFor(r) {
			continue
		}
		// The end of one run may have moved another.
		r, err := tx.Run(r.Tenant, r.ID)
		if err != nil {
			return stirred, err
		}
		stirred = true
		if _, err := d.move(tx, r, nil, []Event{Stirred{}}); err != nil {
			return stirred, err
		}
	}
	return stirred, nil
}

// waitsFor reports whether a condition of r is waited for.
func waitsFor(r Run) bool {
	if r.State.Final() || r.Plan == nil {
		return false
	}
	for n, s := range r.Steps {
		if r.Plan.Steps[n].Kind == playbook.KindWait && s.State == StepActing {
			return true
		}
	}
	return false
}
