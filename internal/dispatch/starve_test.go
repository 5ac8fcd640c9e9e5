package dispatch_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
)

// A campaign leaves far more feedback to be read back than its one request a
// second can read. Read-backs of the directory have a limit of their own and must
// not stand behind it in the line: a disable that works would count as failed.
func TestFeedbackDoesNotStarveTheDirectory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		now := time.Now()
		for n := range 1500 {
			h.ask(person(n+2), confirm, func(a *action.Action) {
				a.State, a.Attempt, a.Outcome, a.ClientRequestID = action.AcceptedState, 1, action.Accepted, "c"
				a.IntentAt, a.AcceptedAt, a.Deadline, a.NextAt = now, now, now.Add(15*time.Minute), now
			})
		}
		a := h.ask(person(1), disable)
		began := time.Now()
		h.start()
		a = h.settle(a, action.Verified, action.Unconfirmed, action.Failed)
		if took := time.Since(began); a.State != action.Verified || took > 5*time.Second {
			t.Errorf("%s after %v (%s)", a.State, took, a.Reason)
		}
		h.end()
	})
}

// Second resets wait until the first are proven. When that lasts, they must not fill
// the list of what is ready: whoever stands behind them waits for nobody.
func TestThoseWhoWaitForAnotherChangeStarveNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		now := time.Now()
		for n := range 300 {
			h.ask(person(n+2), reset, func(a *action.Action) {
				a.State, a.Attempt, a.Outcome, a.ClientRequestID = action.AcceptedState, 1, action.Accepted, "c"
				a.IntentAt, a.AcceptedAt, a.Deadline, a.NextAt = now, now, now.Add(15*time.Minute), now
			})
			h.ask(person(n+2), reset, func(a *action.Action) {
				a.ID, a.Step, a.Effect = action.ID(fmt.Sprint("act_again_", n)), "again", fmt.Sprint("again ", n)
				a.Run = "run_" + string(a.ID)
			})
		}
		<-time.After(time.Second)
		a := h.ask(person(1), disable)
		began := time.Now()
		h.start()
		a = h.settle(a, action.Verified, action.Unconfirmed, action.Failed)
		if took := time.Since(began); a.State != action.Verified || took > 5*time.Second {
			t.Errorf("%s after %v (%s)", a.State, took, a.Reason)
		}
		h.end()
	})
}

// One that is due costs one of few requests, and who is due soon is read with it; soon
// alone is no reason to ask. Who was not asked about is read again at the first pace,
// however long it has waited.
func TestWhatIsDueSoonIsReadAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		began := time.Now()
		accepted := func(n int, due time.Duration) action.Action {
			i := person(n)
			h.dir.versions[i.Accounts[0].Ref.ObjectID] = []version{{from: began, Confirmed: true}}
			return h.ask(i, confirm, func(a *action.Action) {
				a.State, a.Attempt, a.Outcome, a.ClientRequestID = action.AcceptedState, 1, action.Accepted, "c"
				a.IntentAt, a.AcceptedAt = began.Add(-time.Hour), began.Add(-time.Hour)
				a.Deadline, a.NextAt = began.Add(time.Hour), began.Add(due)
			})
		}
		first, soon, later := accepted(1, time.Second), accepted(2, 3*time.Second), accepted(3, 20*time.Second)
		h.dir.passed = func() bool { return h.dir.reads == 1 }
		h.start()
		for n, a := range []action.Action{first, soon, later} {
			a = h.settle(a, action.Verified)
			d := a.VerifiedAt.Sub(began)
			if early, late := 2400*time.Millisecond, 4*time.Second; n < 2 && (d < early || d > late) || n == 2 && d < 19*time.Second {
				t.Errorf("%d is verified after %v", n, d)
			}
		}
		if h.dir.reads != 3 {
			t.Errorf("%d readings", h.dir.reads)
		}
		h.end()
	})
}
