package run

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

// wanting reports whether r ended with something its plan could not do: the whole
// of it or some steps, for want of a fact or of a directory. One that went wrong and
// is held for that waits for a person, not for a fact.
func wanting(r Run) bool {
	return r.State == HeldState && r.Plan != nil && !r.wentWrong() &&
		(r.Plan.Held != "" || slices.ContainsFunc(r.Plan.Steps, func(s playbook.Step) bool { return s.Held != "" }) || undecided(r) != nil)
}

// undecided returns the steps whose condition could not be decided when their turn
// came.
func undecided(r Run) (out []playbook.Step) {
	for n, s := range r.Steps {
		if p := r.Plan.Steps[n]; p.Later && s.State == StepHeld && s.Asked && !s.Called {
			out = append(out, p)
		}
	}
	return out
}

// decidable reports whether a condition that was not decided when its turn came can
// be now.
func (d *Driver) decidable(r Run, in playbook.Input) bool {
	in.Steps = r.standings()
	return slices.ContainsFunc(undecided(r), func(s playbook.Step) bool {
		in.Each = s.Each
		_, err := d.asker.Holds(s.If, in)
		return err == nil
	})
}

// frees reports whether next does not hold back something that old did.
func frees(old, next playbook.Plan) bool {
	if next.Held != "" || old.Held != "" {
		return next.Held == ""
	}
	return slices.ContainsFunc(old.Steps, func(was playbook.Step) bool {
		return was.Held != "" && slices.ContainsFunc(next.Steps, func(is playbook.Step) bool { return is.ID == was.ID && is.Held == "" })
	})
}

// Again plans anew those runs of the case that were held, as a whole or in some
// steps, when the new plan holds less. What they did already is adopted, not done
// twice. A run of a campaign is taken up with the plan that people approved as one of
// many, while the campaign is not over; with another one it stays held, for nobody
// approved that, and says so. It returns the runs it started.
func (d *Driver) Again(tx Tx, t identity.Tenant, c casefile.ID) ([]Run, error) {
	fail := func(err error) ([]Run, error) { return nil, fmt.Errorf("plan case %s anew: %w", c, err) }
	file, err := tx.Case(t, c)
	if err != nil {
		return fail(err)
	}
	runs, err := tx.RunsOfCase(t, c)
	if err != nil || file.Status == casefile.Closed {
		return nil, err
	}
	if stirred, err := d.stir(tx, runs); err != nil {
		return fail(err)
	} else if stirred { // what waited may have come to its end, and more with it
		if runs, err = tx.RunsOfCase(t, c); err != nil {
			return fail(err)
		}
	}
	var started []Run
	for _, r := range newest(runs, func(r Run) string { return r.Playbook.ID + "\x00" + r.OnceKey }) {
		if !wanting(r) {
			continue
		}
		next, begun, err := d.takeUp(tx, r)
		if err != nil {
			return fail(err)
		}
		if begun {
			started = append(started, next)
		}
	}
	return started, nil
}

// takeUp begins a run in the place of r, which was held, and reports false when
// there is no reason to or no consent.
func (d *Driver) takeUp(tx Tx, r Run) (Run, bool, error) {
	in, err := d.again(tx, r)
	if err != nil {
		return Run{}, false, err
	}
	p, err := d.Planner.Plan(playbook.Ref{ID: r.Playbook.ID}, in)
	if err != nil || !frees(*r.Plan, p) && !d.decidable(r, in) {
		return Run{}, false, nil // the run already says what it waits for
	}
	why, err := d.barred(tx, r, p)
	if err == nil && why != "" {
		err = d.stays(tx, r, why)
	}
	if err != nil || why != "" {
		return Run{}, false, err
	}
	next, begun, err := d.Begin(tx, Start{
		// The window reaches back over all that was done for the same wish.
		Match: playbook.Match{Ref: p.Playbook, Mode: p.Mode, OnceKey: r.OnceKey, Window: r.Window + d.Now().Sub(r.StartedAt) + time.Second},
		Case:  r.Case, Input: in, AskedBy: r.AskedBy, Trigger: r.Trigger, Why: r.Why, Consent: r.Consent,
	})
	if err != nil || !begun {
		return Run{}, false, err
	}
	if r.Consent != nil {
		err = d.Campaigns.Rejoined(tx, next)
	}
	return next, true, err
}

// barred says why r, which belongs to a campaign, is not taken up with the plan p;
// empty when it is.
func (d *Driver) barred(tx Tx, r Run, p playbook.Plan) (why string, err error) {
	switch {
	case r.Consent == nil:
		return "", nil
	case r.Consent.PlanHash != p.Hash:
		return "its plan is another one than was approved", nil
	case d.Campaigns == nil:
		return "there are no campaigns here", nil
	}
	return d.Campaigns.Barred(tx, r)
}

// stays says, once, that r could go on and does not.
func (d *Driver) stays(tx Tx, r Run, why string) error {
	reason := fmt.Sprintf("what was missing is there, but as a part of campaign %s it is not taken up: %s; start the playbook for this identity alone", r.Consent.Campaign, why)
	if r.Reason == reason {
		return nil
	}
	r.Reason = reason
	r, err := tx.PutRun(r)
	if err != nil {
		return err
	}
	if err := d.note(tx, r, audit.RunHeld, reason, nil); err != nil {
		return err
	}
	return d.follow(tx, r, d.Now())
}

// newest returns the newest run of each group, oldest group first.
func newest(runs []Run, group func(Run) string) []Run {
	last := map[string]Run{}
	for _, r := range runs {
		if old, ok := last[group(r)]; !ok || order(old, r) < 0 {
			last[group(r)] = r
		}
	}
	var out []Run
	for _, r := range last {
		out = append(out, r)
	}
	slices.SortFunc(out, order)
	return out
}

func order(a, b Run) int { return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID)) }
