package run

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
)

// follow lets the case of r stand as its runs do.
func (d *Driver) follow(tx Tx, r Run, now time.Time) error {
	if r.Case == "" {
		return nil
	}
	c, err := tx.Case(r.Tenant, r.Case)
	if err != nil {
		return err
	}
	runs, err := tx.RunsOfCase(r.Tenant, r.Case)
	if err != nil {
		return err
	}
	status, waits := standing(c, runs)
	next := c.Follow(status, waits, now)
	if next == c {
		return nil
	}
	if _, err := tx.PutCase(next); err != nil {
		return fmt.Errorf("store case %s: %w", c.ID, err)
	}
	if next.Status == casefile.Contained && c.Status != casefile.Contained {
		return d.note(tx, r, audit.CaseContained, fmt.Sprintf("%s is contained: %s", next.Name, r.Reason), nil)
	}
	return nil
}

// standing says what the runs of a case add up to. What is under way counts
// first; then, of the newest run of each playbook since risk last returned, what
// needs a person, unless a later run contained the identity; then containment.
func standing(c casefile.Case, runs []Run) (casefile.Status, string) {
	var live, ended []Run
	for _, r := range runs {
		switch {
		case !r.State.Final():
			live = append(live, r)
		case c.ReopenedAt.IsZero() || r.EndedAt.After(c.ReopenedAt):
			ended = append(ended, r)
		}
	}
	slices.SortFunc(live, order)
	for _, r := range live {
		if r.State == Settling && r.Reason == "" {
			return casefile.Acting, fmt.Sprintf("%s waits for further signals until %s", r.Playbook.ID, r.DueAt.UTC().Format(time.RFC3339))
		}
		if r.State == Acting && r.Reason == "" {
			return casefile.Acting, ""
		}
	}
	if len(live) > 0 {
		return casefile.Waiting, live[0].Reason
	}
	ended = newest(ended, func(r Run) string {
		group := r.Playbook.ID
		for _, s := range r.Steps {
			if s.UndoOf != "" {
				group += " " + string(s.UndoOf) // undo runs of other actions are another matter
			}
		}
		return group
	})
	var contained *Run
	undone := ""
	for n := range ended {
		if r := &ended[n]; r.State == Contained {
			if reason, still := r.still(); still {
				contained = r
			} else {
				undone = reason
			}
		}
	}
	rejected, cancelled := "", ""
	for _, r := range slices.Backward(ended) {
		switch r.State {
		case HeldState, Failed, Refused, Expired:
			if contained == nil || !contained.StartedAt.After(r.EndedAt) {
				return casefile.Waiting, fmt.Sprintf("%s: %s", r.State, r.Reason)
			}
		case Rejected:
			rejected = cmp.Or(rejected, r.Reason)
		case Cancelled:
			cancelled = cmp.Or(cancelled, r.Reason)
		}
	}
	switch {
	case contained != nil:
		return casefile.Contained, ""
	case rejected != "":
		return casefile.Waiting, "a verdict; the plan was " + rejected
	}
	return casefile.Open, cmp.Or(undone, cancelled, c.Waits)
}

// still reports whether what a contained run proved was not taken back since.
func (r Run) still() (reason string, still bool) {
	for n, s := range r.Steps {
		if r.Plan.Steps[n].Contains && s.State == StepReverted {
			return cmp.Or(s.Reason, "the containment was undone"), false
		}
	}
	return "", true
}
