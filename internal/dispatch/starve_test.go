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
