package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/ingest"
)

// races checks that changes behave as if one followed the other.
func races(t *testing.T, open func(*testing.T) Ports) {
	together := func(n int, do func(i int)) {
		var wg sync.WaitGroup
		gate := make(chan struct{})
		for i := range n {
			wg.Go(func() { <-gate; do(i) })
		}
		close(gate)
		wg.Wait()
	}

	t.Run("NoUpdateIsLost", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 1)
		const writers, turns = 6, 8
		together(writers, func(int) {
			for range turns {
				err := p.Ingest.Update(t.Context(), func(tx ingest.Tx) error {
					c, err := tx.Case(tenant, openCase(1).ID)
					if err != nil {
						return err
					}
					c.Signals++
					_, err = tx.PutCase(c)
					return err
				})
				if err != nil {
					t.Errorf("update: %v", err)
				}
			}
		})
		update(t, p, func(tx ingest.Tx) error {
			c, err := tx.Case(tenant, openCase(1).ID)
			if want := 1 + writers*turns; c.Signals != want || c.Version != int64(want) {
				t.Errorf("got %d at version %d, want %d", c.Signals, c.Version, want)
			}
			return err
		})
	})

	t.Run("TheBlastRadiusHolds", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		const people, limit = 12, 5
		scene(t, p, people)
		for i := 1; i <= people; i++ {
			a := anAction(i, "a")
			a.State = action.Approved
			put(t, p, a)
		}
		names := []action.Name{"entra.user.disable"}
		together(people, func(i int) {
			err := p.Dispatch.Update(t.Context(), func(tx dispatch.Tx) error {
				r, err := tx.Disruptions(tenant, dispatch.Reach{Names: names, Since: start})
				if err != nil || r.Tenant >= limit {
					return err
				}
				a, err := tx.Action(tenant, anAction(i+1, "a").ID)
				if err != nil {
					return err
				}
				a.State, a.Attempt, a.IntentAt = action.Running, 1, at(time.Second)
				_, err = tx.PutAction(a)
				return err
			})
			if err != nil {
				t.Errorf("update: %v", err)
			}
		})
		got, err := p.Dispatch.Intents(t.Context(), tenant, start)
		if err != nil || len(got) != limit {
			t.Errorf("%d intents, want %d (%v)", len(got), limit, err)
		}
	})

	t.Run("TheStopIsReadInTheIntent", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		const people = 8
		scene(t, p, people)
		var mu sync.Mutex
		stopped := false
		together(people+1, func(i int) {
			err := p.Dispatch.Update(t.Context(), func(tx dispatch.Tx) error {
				if i == people {
					return tx.PutStop(tenant, dispatch.Stop{On: true, By: "o", At: start})
				}
				s, err := tx.Stop(tenant)
				if err != nil || s.On {
					return err
				}
				a := under(i+1, "a", action.Running, start, time.Time{})
				_, err = tx.PutAction(a)
				return err
			})
			if err != nil {
				t.Errorf("update: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			stopped = stopped || i == people
		})
		before, err := p.Dispatch.Intents(t.Context(), tenant, start)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Dispatch.Update(t.Context(), func(tx dispatch.Tx) error {
			s, err := tx.Stop(tenant)
			if !s.On {
				t.Errorf("the stop is off after %d intents", len(before))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})

	t.Run("OneCaseIsOpened", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		together(6, func(i int) {
			err := p.Ingest.Update(t.Context(), func(tx ingest.Tx) error {
				_, ok, err := tx.OpenCase(tenant, person(1).ID)
				if err != nil || ok {
					return err
				}
				c := openCase(1)
				c.ID = ""
				_, err = tx.PutCase(c)
				return err
			})
			if err != nil {
				t.Errorf("update %d: %v", i, err)
			}
		})
		counts, err := p.Desk.Count(t.Context(), tenant)
		if err != nil || counts.Cases["open"] != 1 {
			t.Errorf("got %v, %v", counts, err)
		}
	})

	t.Run("OneOwnerHoldsTheLease", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		var mu sync.Mutex
		won := 0
		together(6, func(i int) {
			_, err := p.Dispatch.Acquire(t.Context(), tenant, fmt.Sprint("owner", i), start, time.Minute)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, fault.Conflict):
				t.Errorf("owner %d: %v", i, err)
			}
		})
		if won != 1 {
			t.Errorf("%d owners", won)
		}
	})

	t.Run("ThePulseRises", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		var mu sync.Mutex
		var last int64
		together(6, func(i int) {
			for n := range 8 {
				put(t, p, audit.Entry{Tenant: tenant, At: at(time.Duration(n) * time.Second), Kind: audit.CaseOpened, Text: fmt.Sprint(i, n)})
				mu.Lock()
				now, err := p.Desk.Pulse(t.Context())
				if err != nil || now <= last {
					// Somebody else's pulse may have counted this entry, but a pulse that was
					// read before this commit must be lower than one read after it.
					if now < last || err != nil {
						t.Errorf("pulse fell from %d to %d: %v", last, now, err)
					}
				}
				last = max(last, now)
				mu.Unlock()
			}
		})
	})
}
