package dispatch_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"pgregory.net/rapid"
)

// A storm is one random history: people, faults, stops, crashes.
type storm struct {
	Seed    uint64
	People  int
	Faults  int // per cent of requests that go wrong
	Lag     time.Duration
	Crashes []int           // steps that each successive process lives; then one that survives
	Freeze  int             // step before which the first process stands still; 0: none
	Again   bool            // every transaction of the first processes is tried twice
	Standby bool            // a second process runs from the start
	Stops   []time.Duration // global stop on, off, on, … at these times
}

func drawStorm(t *rapid.T) storm {
	s := storm{
		Seed:    rapid.Uint64().Draw(t, "seed"),
		People:  rapid.IntRange(1, 12).Draw(t, "people"),
		Faults:  rapid.IntRange(0, 60).Draw(t, "faults"),
		Lag:     time.Duration(rapid.IntRange(0, 8000).Draw(t, "lag")) * time.Millisecond,
		Crashes: rapid.SliceOfN(rapid.IntRange(1, 60), 0, 6).Draw(t, "crashes"),
		Freeze:  rapid.IntRange(0, 30).Draw(t, "freeze"),
		Again:   rapid.Bool().Draw(t, "again"),
		Standby: rapid.Bool().Draw(t, "standby"),
	}
	at := time.Duration(0)
	for n := range 2 * rapid.IntRange(0, 3).Draw(t, "stops") {
		at += time.Duration(rapid.IntRange(100, 20_000).Draw(t, fmt.Sprint("stop ", n))) * time.Millisecond
		s.Stops = append(s.Stops, at)
	}
	return s
}

// TestLaws runs random storms and checks, against the directory's own record,
// what must hold in each.
func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStorm(rt)
		var broken []string
		synctest.Test(t, func(t *testing.T) { broken = s.run(t) })
		for _, b := range broken {
			rt.Errorf("%s", b)
		}
	})
}

// run plays the storm and returns the laws that were broken.
func (s storm) run(t *testing.T) (broken []string) {
	h := newHouse(t)
	r := rand.New(rand.NewPCG(s.Seed, 1)) // before the processes run; then under h.dir.mu
	wait := time.Duration(r.IntN(5000)) * time.Millisecond
	calm := false
	h.dir.lag, h.dir.latency = s.Lag, 20*time.Millisecond
	h.dir.mishap = func(write) mishap {
		if calm || r.IntN(100) >= s.Faults {
			return fine
		}
		all := []mishap{resetBefore, resetBefore, resetAfter, resetAfter, throttle, busy, noEffect, refusal, slow, hang}
		return all[r.IntN(len(all))]
	}
	h.dir.unread = func() bool { return !calm && r.IntN(100) < s.Faults/2 }
	h.settings.Policy.List = []identity.Protected{{Match: "user-0000", Reason: "break-glass"}}

	var all []action.Action
	for n := range s.People {
		for _, name := range []action.Name{disable, reset, confirm} {
			if r.IntN(4) > 0 {
				all = append(all, h.ask(person(n), name, func(a *action.Action) {
					a.NextAt = time.Now().Add(time.Duration(r.IntN(20_000)) * time.Millisecond)
					a.Lane = action.Lane(r.IntN(4))
				}))
			}
		}
	}
	began := time.Now()
	done := make(chan struct{})
	h.wg.Go(func() { // the operator with the hand on the stop
		for n, at := range s.Stops {
			<-time.After(time.Until(began.Add(at)))
			h.stop(n%2 == 0)
		}
	})
	h.wg.Go(func() { // the init system: what dies is started again
		defer close(done)
		for n, steps := range s.Crashes {
			p := h.start(func(p *process) {
				p.crashAt, p.again = steps, s.Again
				if n == 0 {
					p.freezeAt, p.frozen = s.Freeze, 25*time.Second
				}
			})
			select {
			case <-p.died:
			case <-time.After(time.Minute):
			}
		}
	})
	if s.Standby {
		<-time.After(wait)
		h.start()
	}
	<-done
	h.start()
	<-time.After(3 * time.Minute)
	h.dir.mu.Lock()
	calm = true
	h.dir.mu.Unlock()
	<-time.After(50 * time.Minute) // three times the longest deadline, and a little
	h.end()
	return h.laws(all, s.Stops, began)
}

// laws compares rows and trail with what the directory saw.
func (h *house) laws(all []action.Action, stops []time.Duration, began time.Time) (broken []string) {
	no := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	intents := map[string]time.Time{}
	verified := map[action.ID]int{}
	for _, e := range h.store.Trail() {
		if e.Kind == audit.ActionIntent {
			intents[fmt.Sprint(e.Action, e.Data["clientRequestId"])] = e.At
		}
		if e.Kind == audit.ActionVerified || e.Kind == audit.ActionAlready {
			verified[action.ID(e.Action)]++
		}
	}
	// Law 1, seen from outside: also requests that failed count.
	for _, w := range h.dir.sent {
		if w.account == "user-0000" {
			no("law 1: %s was sent for the protected account", w.name)
		}
		// Law 3: the intent was there before the request.
		if at, ok := intents[fmt.Sprint(w.action, w.request)]; !ok || at.After(w.sent) {
			no("law 3: %s of %s left without an intent before it", w.name, w.account)
		}
		// Law 6: nothing leaves a second after the stop.
		for n := 0; n+1 < len(stops); n += 2 {
			on, off := began.Add(stops[n]+time.Second), began.Add(stops[n+1])
			if w.sent.After(on) && w.sent.Before(off) {
				no("law 6: %s left %v after the stop", w.name, w.sent.Sub(on)+time.Second)
			}
		}
	}
	// Two requests never race on one account.
	last := map[string]write{}
	byTime := slices.SortedFunc(slices.Values(h.dir.sent), func(a, b write) int { return a.sent.Compare(b.sent) })
	for _, w := range byTime {
		if l, ok := last[w.account]; ok && w.sent.Before(l.at) {
			no("%s and %s raced on %s", l.name, w.name, w.account)
		}
		last[w.account] = w
	}
	resets := map[action.ID]int{}
	for _, w := range h.dir.writes {
		if w.name == reset {
			resets[w.action]++
		}
	}
	for _, asked := range all {
		a := h.action(asked)
		if resets[a.ID] > 1 {
			no("law 3: %d passwords for one action", resets[a.ID])
		}
		protected := a.Account.ObjectID == "user-0000"
		if protected != (a.State == action.RefusedState) {
			no("%s on %s: %s (%s)", a.Name, a.Account.ObjectID, a.State, a.Reason)
		}
		if a.State == action.Verified {
			// Law 2: proof means that the directory showed it by then.
			v := h.dir.state(a.Account.ObjectID, a.VerifiedAt)
			if a.Name == disable && !v.Disabled || a.Name == confirm && !v.Confirmed || a.Name == reset && v.Resets == 0 {
				no("law 2: %s on %s is verified, and the directory shows %+v", a.Name, a.Account.ObjectID, v)
			}
			if verified[a.ID] != 1 {
				no("%s: %d entries of its proof in the trail", a.ID, verified[a.ID])
			}
		}
		// Nothing is lost: everything comes to an end, and the end is the best there
		// was: only a lie or a refusal of the directory keeps it from being proven.
		m := h.dir.mishaps[a.ID]
		switch {
		case protected, a.State == action.Verified:
		case a.State == action.Failed && (m[refusal] || m[noEffect]):
		case a.State == action.Unconfirmed && a.Person && a.Name == reset && a.NextAt.IsZero():
		default:
			no("%s on %s ends as %s (%s) after %v", a.Name, a.Account.ObjectID, a.State, a.Reason, m)
		}
	}
	return broken
}
