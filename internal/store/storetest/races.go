package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/desk"
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

	t.Run("ThePulseRisesWithEveryCommit", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		together(6, func(i int) {
			for n := range 8 {
				before, err := p.Desk.Pulse(t.Context())
				if err != nil {
					t.Error(err)
				}
				put(t, p, audit.Entry{Tenant: tenant, At: start, Kind: audit.CaseOpened, Text: fmt.Sprint(i, n)})
				if after, err := p.Desk.Pulse(t.Context()); after <= before || err != nil {
					t.Errorf("pulse %d before the commit, %d after it, %v", before, after, err)
				}
			}
		})
	})

	// Who has read the trail to its end and comes back finds what is new after it.
	t.Run("TheTrailGrowsAtItsEnd", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 6)
		sizes, total := []int{1, 120, 2}, 12*2*(1+120+2)
		done := make(chan struct{})
		var reader sync.WaitGroup
		reader.Go(func() {
			var seen []string
			for last := false; !last; {
				select {
				case <-done:
					last = true
				default:
				}
				var now []string
				for page := (desk.Page{Limit: 500}); ; {
					l, err := p.Desk.AuditEntries(t.Context(), desk.AuditFilter{}, page)
					if err != nil {
						t.Error(err)
						return
					}
					for _, e := range l.Items {
						now = append(now, e.Text)
					}
					if page.After = l.Next; l.Next == "" {
						break
					}
				}
				slices.Reverse(now)
				if len(now) < len(seen) || !slices.Equal(now[:len(seen)], seen) {
					t.Errorf("%d entries were read, and then one came before the last of them", len(seen))
					return
				}
				seen = now
			}
			if len(seen) != total {
				t.Errorf("%d entries, want %d", len(seen), total)
			}
		})
		together(6, func(i int) {
			for n := range 12 {
				update(t, p, func(tx ingest.Tx) error {
					// So many that writing them takes a while, and of different numbers.
					for k := range sizes[i%len(sizes)] {
						if err := tx.Audit(audit.Entry{Tenant: tenant, At: start, Kind: audit.CaseOpened, Text: fmt.Sprint(i, n, k)}); err != nil {
							return err
						}
					}
					c, err := tx.Case(tenant, openCase(i+1).ID) // something to be slow with
					if err != nil {
						return err
					}
					_, err = tx.PutCase(c)
					return err
				})
			}
		})
		close(done)
		reader.Wait()
	})
}
