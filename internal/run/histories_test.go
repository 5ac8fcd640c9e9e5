package run_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
)

// TestDriverHistories plays random histories of several runs of one person over
// stored rows: two playbooks that want the same, approvals, waits, what is to stand
// for a time, operators who withdraw and undo, and two drivers that take turns.
// Whatever happens: an effect is under way once, what was to stand for a time does
// not stand in the end unless a run needs it for good, and every run ends.
func TestDriverHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := newHouse(t)
		other := h.driver.With(h.planner) // a second replica over the same rows
		choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "choice") }
		h.shapes(choose)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			if choose(2) == 0 {
				h.driver, other = other, h.driver
			}
			h.happen(rt, choose)
			h.once(rt)
		}
		for range 60 {
			h.clock.Add(40 * time.Minute)
			h.goOn()
			h.reconcile()
			h.once(rt)
		}
		h.over(rt)
	})
}

// shapes draws what the two playbooks of a history do.
func (h *house) shapes(choose func(int) int) {
	for _, id := range []string{"contain", "more"} {
		ttl := []time.Duration{0, time.Hour, 5 * time.Hour}[choose(3)]
		ask, waits, undo := choose(3), choose(3) == 0, choose(2) == 0
		base := runtest.Steps(runtest.Disable, runtest.Revoke)
		h.planner.Plans[id] = func(in playbook.Input) (playbook.Plan, error) {
			p, err := base(in)
			p.Steps[0].ID, p.Steps[1].ID, p.Steps[0].Undo, p.Steps[0].TTL = "disable", "revoke", runtest.Enable, ttl
			rule := approval.Rule{Mode: approval.Before, Quorum: 1, Expires: time.Hour, OnExpiry: approval.ExpirySkip}
			switch ask {
			case 1:
				p.Steps[0].Approval = &rule
			case 2:
				rule.Mode, rule.OnExpiry = approval.Ratify, approval.ExpiryUndo
				p.Steps[0].Approval = &rule
			}
			if waits {
				p.Steps = append([]playbook.Step{wait}, p.Steps...)
			}
			p.UndoOnFailure = undo
			return p, err
		}
	}
}

// happen lets one thing happen.
func (h *house) happen(rt *rapid.T, choose func(int) int) {
	switch choose(8) {
	case 0:
		h.begin(match([]string{"contain", "more"}[choose(2)]))
	case 1:
		h.clock.Add(time.Duration(choose(90)) * time.Minute)
		h.reconcile()
	case 2, 3:
		h.goOn()
		h.reconcile()
	case 4:
		for _, q := range h.requests() {
			if q.State == approval.Pending && h.clock.Now().Before(q.ExpiresAt) {
				h.answer(q, choose(3) > 0)
				return
			}
		}
	case 5:
		for _, a := range h.actions() {
			if a.State == action.Running || a.State == action.Approved {
				h.act(a.ID, action.Failed)
				return
			}
		}
	case 6:
		h.update(func(tx run.Tx) error {
			if choose(3) == 0 {
				return h.driver.Withdraw(tx, tenant, h.file, access.ByOperator("o"), "it was harmless")
			}
			_, err := h.driver.Again(tx, tenant, h.file)
			return err
		})
	case 7:
		for _, a := range h.actions() {
			if a.State == action.Verified && a.UndoOf == "" && a.Name == runtest.Disable && a.UndoneBy == "" {
				if _, err := h.undo(a.ID); err != nil {
					rt.Fatalf("undo: %v", err)
				}
				return
			}
		}
	}
}

// goOn moves every action that can one state on, as a directory does that does what
// it is asked.
func (h *house) goOn() {
	next := map[action.State]action.State{action.Approved: action.Running, action.Running: action.AcceptedState, action.AcceptedState: action.Verified}
	for _, a := range h.actions() {
		to, ok := next[a.State]
		if !ok {
			continue
		}
		h.update(func(tx run.Tx) error {
			a, err := tx.Action(tenant, a.ID)
			if err != nil {
				return err
			}
			if a, err = a.Move(to, "", h.clock.Now()); err != nil {
				return err
			}
			a.Before = json.RawMessage("true")
			_, err = tx.PutAction(a)
			return err
		})
	}
}

// once: an effect is under way once, and no step acted twice.
func (h *house) once(rt *rapid.T) {
	open, steps := map[string]int{}, map[string]int{}
	for _, a := range h.actions() {
		if a.UndoOf == "" && !a.State.Final() {
			open[a.Effect]++
		}
		steps[a.Run+" "+a.Step]++
	}
	for effect, n := range open {
		if n > 1 {
			rt.Fatalf("%d actions of one effect are under way: %s", n, effect)
		}
	}
	for step, n := range steps {
		if n > 1 {
			rt.Fatalf("%s acted %d times", step, n)
		}
	}
}

// over: days later nothing is open, and nothing stands that was to stand for a time.
func (h *house) over(rt *rapid.T) {
	var runs []run.Run
	h.update(func(tx run.Tx) (err error) { runs, err = tx.RunsOfCase(tenant, h.file); return err })
	for _, r := range runs {
		if !r.State.Final() {
			rt.Fatalf("run %s of %s is %s (%s): %+v", r.ID, r.Playbook.ID, r.State, r.Reason, r.Steps)
		}
	}
	for _, a := range h.actions() {
		switch {
		case !a.State.Final():
			rt.Fatalf("action %s is %s", a.ID, a.State)
		case a.State == action.Verified && (a.TTL > 0 || !a.ExpiresAt.IsZero()):
			rt.Fatalf("action %s was to stand for %s and stands: %s", a.ID, a.TTL, fmt.Sprint(a))
		}
	}
}
