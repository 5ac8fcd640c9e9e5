package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A telling is one thing that a source tells: when by its own clock, and how much
// later it is delivered.
type telling struct {
	page connector.Page // of one thing
	at   time.Time
	late time.Duration
}

// drawHistory draws what sources tell of three people within three days: versions of
// signals, account risks and facts, none of which lets a case end. All versions of a
// signal have one level, so that whether the playbook is asked about a high one does
// not depend on their order.
func drawHistory(t *rapid.T) []telling {
	open := []signal.State{signal.StateAtRisk, signal.StateConfirmedCompromised, "unheardOf"}
	levels := []signal.Level{signal.LevelMedium, signal.LevelHigh, signal.LevelHidden}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) telling {
		n := rapid.IntRange(1, 12).Draw(t, "what")
		who := runtest.Person(fmt.Sprint(1 + n%3))
		said := telling{
			at:   epoch.Add(time.Duration(rapid.IntRange(0, 72*60).Draw(t, "minute")) * time.Minute),
			late: time.Duration(rapid.IntRange(0, 48*60).Draw(t, "late")) * time.Minute,
		}
		state := rapid.SampledFrom(open).Draw(t, "state")
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			said.page.Accounts = []signal.AccountRisk{{Tenant: tenant, Subject: who, Level: levels[n%2], State: state, UpdatedAt: said.at}}
		case 1:
			on := said.at.Minute()%2 == 0 // one directory says one thing at one time
			f := enabled(said.at)
			f.Enabled = &on
			said.page.Facts = []connector.AccountFacts{{Ref: who, Facts: f}}
		default:
			if rapid.Bool().Draw(t, "sid") {
				who.SID = fmt.Sprintf("S-1-5-21-1-2-3-110%d", n%3)
			}
			s := runtest.Detection(tenant, fmt.Sprintf("d%d", n), who, "unlikelyTravel", levels[n/3%3], epoch.Add(-time.Duration(n)*time.Hour))
			s.UpdatedAt, s.State = said.at, state
			said.page.Signals = []signal.Signal{s}
		}
		return said
	}), 1, 40).Draw(t, "history")
}

// A delivery is a page and when it comes.
type delivery struct {
	page connector.Page
	at   time.Time
}

// deliveries has the history come in the order of when, so many things a page.
func deliveries(history []telling, when func(telling) time.Time, size func() int) (out []delivery) {
	rest := slices.SortedStableFunc(slices.Values(history), func(a, b telling) int { return when(a).Compare(when(b)) })
	for len(rest) > 0 {
		n := min(size(), len(rest))
		d := delivery{at: when(rest[n-1])}
		for _, s := range rest[:n] {
			d.page.Signals = append(d.page.Signals, s.page.Signals...)
			d.page.Accounts = append(d.page.Accounts, s.page.Accounts...)
			d.page.Facts = append(d.page.Facts, s.page.Facts...)
		}
		d.page.Next = connector.Cursor(fmt.Sprint("page ", len(out)))
		out, rest = append(out, d), rest[n:]
	}
	return out
}

var errCommit = errors.New("the commit failed")

// A frail store fails at some commits: before them, so that the database undoes what
// was done, or after them, so that it is done and nobody knows.
type frail struct {
	ingest.Store
	fails func() (before, after bool)
}

func (f frail) Update(ctx context.Context, change func(ingest.Tx) error) error {
	before, after := f.fails()
	err := f.Store.Update(ctx, func(tx ingest.Tx) error {
		if err := change(tx); err != nil || !before {
			return err
		}
		return errCommit
	})
	if err == nil && after {
		return errCommit
	}
	return err
}

// restarted is another process on the same database, whose clock shows now.
func (h *intake) restarted(now time.Time) *intake {
	next := newIntake(h.t)
	for n := range 3 {
		name := runtest.Person(fmt.Sprint(1 + n)).Name()
		next.planner.Matches = append(next.planner.Matches, runtest.Rule{
			On: playbook.OnSignal,
			When: func(in playbook.Input) bool {
				return in.Identity.Name == name && in.Trigger.Level == signal.LevelHigh
			},
			Match: playbook.Match{Ref: playbook.Ref{ID: "contain"}, OnceKey: name, Window: 1000 * time.Hour},
		})
	}
	next.db, next.driver.Store = h.db, h.db.Runs()
	next.pipe.Store = h.db.Ingest()
	next.clock.Add(now.Sub(epoch))
	return next
}

func (h *intake) setClock(now time.Time) { h.clock.Add(now.Sub(h.clock.Now())) }

// deliverBadly delivers each page again and again until it is taken, and some once
// more, to processes whose clocks are wrong by up to a quarter of an hour, and whose
// commits fail: some of them go on, the others are started anew.
func deliverBadly(rt *rapid.T, h *intake, list []delivery) *intake {
	const stream = "test.stream"
	failures := rapid.IntRange(0, 4).Draw(rt, "failures")
	chance := func(what string) bool { return rapid.IntRange(0, 3).Draw(rt, what) == 0 }
	start := func(at time.Time) {
		skew := time.Duration(rapid.IntRange(-15, 15).Draw(rt, "skew")) * time.Minute
		h = h.restarted(at.Add(skew))
		h.pipe.Store = frail{h.db.Ingest(), func() (before, after bool) {
			if failures == 0 || !chance("fails") {
				return false, false
			}
			failures--
			before = rapid.Bool().Draw(rt, "before")
			return before, !before
		}}
	}
	start(epoch)
	for _, d := range list {
		h.setClock(d.at.Add(h.clock.Now().Sub(h.clock.Now().Truncate(time.Minute))))
		for taken := false; !taken || chance("again"); {
			was, err := h.db.Cursor(h.t.(*testing.T).Context(), tenant, stream)
			if err != nil {
				rt.Fatal(err)
			}
			_, err = h.pipe.Take(h.t.(*testing.T).Context(), tenant, stream, d.page)
			switch {
			case err == nil:
				taken = true
			case errors.Is(err, errCommit):
				now, err := h.db.Cursor(h.t.(*testing.T).Context(), tenant, stream)
				if err != nil {
					rt.Fatal(err)
				}
				taken = taken || now != was // the source is read from where the cursor is
				if rapid.Bool().Draw(rt, "restarted") {
					start(d.at)
				}
			default:
				rt.Fatalf("take: %v", err)
			}
		}
	}
	return h
}

// However late what the sources tell comes, in whatever order, how often, and whichever
// commits fail: nothing is lost and nothing is there twice. It ends
// as the orderly delivery does.
func TestNothingIsLostAndNothingIsDouble(t *testing.T) {
	t.Parallel()
	end := epoch.Add(5*24*time.Hour + time.Hour)
	last := connector.Page{Next: "end"}
	for n := range 3 { // so that everybody is assessed at the end
		last.Signals = append(last.Signals, runtest.Detection(tenant, fmt.Sprint("end ", n), runtest.Person(fmt.Sprint(1+n)), "unlikelyTravel", signal.LevelMedium, end))
	}
	rapid.Check(t, func(rt *rapid.T) {
		history := drawHistory(rt)
		orderly := newIntake(t).restarted(epoch)
		for _, d := range deliveries(history, func(s telling) time.Time { return s.at }, func() int { return 25 }) {
			orderly.setClock(d.at)
			take(rt, orderly, d.page)
		}
		size := func() int { return rapid.IntRange(1, 25).Draw(rt, "size") }
		badly := deliverBadly(rt, newIntake(t), deliveries(history, func(s telling) time.Time { return s.at.Add(s.late) }, size))
		badly = badly.restarted(end)
		for _, h := range []*intake{orderly, badly} {
			h.setClock(end)
			take(rt, h, last)
		}
		if diff := cmp.Diff(timeless(orderly), timeless(badly)); diff != "" {
			rt.Fatalf("it ends in something else (-orderly +badly):\n%s", diff)
		}
	})
}

// timeless is what the store holds, without the times at which it was told.
func timeless(h *intake) any {
	known := export(h)
	for k, x := range known {
		x.Identity.CreatedAt, x.Identity.UpdatedAt = time.Time{}, time.Time{}
		for n := range x.Identity.Accounts {
			x.Identity.Accounts[n].Since = time.Time{}
		}
		x.Case.OpenedAt, x.Case.UpdatedAt = time.Time{}, time.Time{}
		known[k] = x
	}
	var actions []string
	h.view(func(tx *runtest.Tx) error {
		list, err := tx.Actions(tenant)
		for _, a := range list {
			actions = append(actions, fmt.Sprint(a.Effect, " ", a.State))
		}
		return err
	})
	slices.Sort(actions)
	return map[string]any{
		"known": known, "actions": actions, "cases": len(h.cases()), "opened": h.count(audit.CaseOpened),
		"started": h.count(audit.RunStarted), "conflicts": h.count(audit.Conflict),
	}
}
