package dispatch_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// What a plan rests on is asked again when its change is about to leave: between
// the plan and the gate may lie an approval and a queue.
func TestThePlanStillHoldsAtTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		known := time.Now().Add(30 * time.Second)
		h.opts.Still = func(tx run.Reader, r run.Run, step string) (string, string, error) {
			i, err := tx.Identity(tenant, r.Identity)
			switch {
			case err != nil:
				return "", "", err
			case i.ID == "idn_0001":
				return "it is a service account now", "", nil
			case i.ID == "idn_0002":
				return "", "not called for any more: identity.enabled is false", nil
			case time.Now().Before(known):
				return "", "", fault.Errorf(fault.Held, "its roles have not been read")
			}
			return "", "", nil
		}
		refused, moot, waits := h.ask(person(1), disable), h.ask(person(2), disable), h.ask(person(3), disable)
		h.start()
		refused = h.settle(refused, action.RefusedState)
		moot = h.settle(moot, action.RefusedState)
		if refused.Moot || refused.Reason != "it is a service account now" || !moot.Moot {
			t.Errorf("refused %v (%s), moot %v (%s)", refused.Moot, refused.Reason, moot.Moot, moot.Reason)
		}
		waits = h.settle(waits, action.Verified)
		if at := waits.IntentAt; at.Before(known) {
			t.Errorf("it left at %s, before what it rests on was known at %s", at, known)
		}
		h.dir.mu.Lock()
		sent := len(h.dir.sent)
		h.dir.mu.Unlock()
		if sent != 1 {
			t.Errorf("%d requests were sent, want 1", sent)
		}
		h.end()
	})
}
