package dispatch_test

import (
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// suspender suspends the machine once, between the gate's word and the sending.
type suspender struct{ asleep atomic.Bool }

func (s *suspender) Decided(action.Name, dispatch.Verdict, dispatch.Rule) { s.asleep.Store(true) }
func (*suspender) Left(action.Name, time.Duration)                        {}
func (*suspender) Sent(action.Name, action.Verdict, time.Duration)        {}
func (*suspender) Settled(action.Name, action.State, time.Duration)       {}
func (*suspender) Owner(identity.Tenant, bool)                            {}

// now is the time after the machine woke: the wall clock went on for ten minutes,
// the monotonic one stood still, as Linux has it.
func (s *suspender) now() time.Time {
	t := time.Now()
	if wall := (*uint64)(unsafe.Pointer(&t)); s.asleep.Load() {
		if *wall>>63 == 1 { // with a monotonic reading: seconds from bit 30 on
			*wall += 600 << 30
		} else {
			t = t.Add(600 * time.Second)
		}
	}
	return t
}

// A machine suspended between the gate's word and the sending has lost its lease
// and the word is old, whatever its monotonic clock says: the global stop may be on
// since, and another process at work. It asks again before anything leaves.
func TestSuspendedBetweenIntentAndSend(t *testing.T) {
	t.Parallel()
	h := newHouse(t) // in real time: synctest's clock has no monotonic reading
	m := &suspender{}
	h.opts.Now, h.opts.Meter = m.now, m
	a := h.ask(person(1), disable)
	h.start()
	a = h.settle(a, action.Verified, action.Failed)
	if a.State != action.Verified || a.Attempt != 2 || len(h.dir.sent) != 1 {
		t.Errorf("%s after %d intents and %d requests; want a second intent and one request", a.State, a.Attempt, len(h.dir.sent))
	}
	h.end()
}
