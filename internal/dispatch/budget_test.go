package dispatch

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"pgregory.net/rapid"
)

const (
	idp    = action.BucketIdentityProtection
	writes = action.BucketDirectoryWrite
)

func TestBudgetPaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{})
		began := time.Now()
		for range 11 {
			if err := b.take(t.Context(), idp, 0); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("eleven requests to identity protection in %v, want a little over 10s", d)
		}
		began = time.Now()
		for range 3000 {
			if err := b.take(t.Context(), writes, turn(action.LaneHigh)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("3,000 writes took %v: the bucket holds them", d)
		}
		for range 100 {
			if err := b.take(t.Context(), writes, turn(action.LaneHigh)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < 4900*time.Millisecond || d > 5100*time.Millisecond {
			t.Errorf("100 writes beyond took %v, want 5s", d)
		}
	})
}

func TestBudgetSpeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{Speed: 100})
		began := time.Now()
		for range 101 {
			if err := b.take(t.Context(), idp, 0); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < time.Second || d > 1100*time.Millisecond {
			t.Errorf("a hundred times faster: 101 requests in %v", d)
		}
	})
}

// Containment waits for nobody: read-backs and polling come after it, however
// long they have been waiting.
func TestBudgetOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{})
		if err := b.take(t.Context(), idp, 0); err != nil { // the bucket is empty now
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		ask := func(name string, f func() error) {
			wg.Go(func() {
				if err := f(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
			})
			synctest.Wait()
		}
		ask("poll", func() error { return b.Poll(t.Context()) })
		ask("read", func() error { return b.take(t.Context(), idp, turnRead) })
		ask("low", func() error { return b.take(t.Context(), idp, turn(action.LaneLow)) })
		ask("privileged", func() error { return b.take(t.Context(), idp, turn(action.LanePrivileged)) })
		ask("privileged too", func() error { return b.take(t.Context(), idp, turn(action.LanePrivileged)) })
		wg.Wait()
		want := []string{"privileged", "privileged too", "low", "read", "poll"}
		for n := range want {
			if order[n] != want[n] {
				t.Fatalf("order = %v, want %v", order, want)
			}
		}
	})
}

func TestBudgetPollTakesHalf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{})
		began := time.Now()
		for range 11 {
			if err := b.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < 20*time.Second {
			t.Errorf("eleven polls in %v: more than half of one a second", d)
		}
	})
}

func TestBudgetKeepsAReserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{Reserve: 0.2})
		began := time.Now()
		for range 2400 {
			if err := b.take(t.Context(), writes, turn(action.LaneLow)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("2,400 writes of low lanes took %v", d)
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := b.take(short, writes, turn(action.LaneLow)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a low lane took of the reserve: %v", err)
		}
		for range 600 {
			if err := b.take(t.Context(), writes, turn(action.LanePrivileged)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d > 20*time.Millisecond {
			t.Errorf("the reserve took %v", d)
		}
	})
}

func TestBudgetBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{})
		wait := func() time.Duration {
			began := time.Now()
			if err := b.take(t.Context(), writes, 0); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		b.throttled(writes, 7*time.Second)
		if d := wait(); d != 7*time.Second {
			t.Errorf("waited %v, want the 7s the directory asked for", d)
		}
		b.answered(writes, 0)
		var last time.Duration
		for range 4 {
			b.throttled(writes, 0)
			d := wait()
			if d < last*3/2 || d < 2*time.Second {
				t.Errorf("waits %v after %v: it must grow", d, last)
			}
			last = d
		}
	})
}

func TestBudgetEasesNearTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{})
		b.answered(writes, 0.9)
		began := time.Now()
		for range 21 {
			if err := b.take(t.Context(), writes, 0); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < time.Second {
			t.Errorf("21 writes in %v at 90 %% of the limit: no bursts then", d)
		}
	})
}

func TestBudgetCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{})
		if err := b.take(t.Context(), idp, 0); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := b.Poll(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Poll = %v", err)
		}
		if err := b.take(t.Context(), idp, turnRead); err != nil { // who gave up left the queue
			t.Error(err)
		}
	})
}

// A new owner knows what the last one spent.
func TestBudgetRebuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{})
		now := time.Now()
		var spent []Spent
		for n := range 120 { // two lists of 60, at one instant each
			spent = append(spent, Spent{"confirm", now.Add(-time.Duration(1+n/60) * 100 * time.Millisecond)})
		}
		for n := range 1000 {
			spent = append(spent, Spent{"disable", now.Add(-time.Duration(n) * time.Millisecond)})
		}
		b.rebuild(charges(spent, func(n action.Name) (action.Spec, bool) {
			if n == "confirm" {
				return action.Spec{Batch: 60, Bucket: idp}, true
			}
			return action.Spec{Batch: 1, Bucket: writes}, true
		}))
		if d := b.Forecast(idp, 1); d < 1500*time.Millisecond || d > 2200*time.Millisecond {
			t.Errorf("the next confirmation is due in %v, want about 2s", d)
		}
		if d := b.Forecast(writes, 1900); d != 0 {
			t.Errorf("1,900 more writes take %v; 2,000 are left", d)
		}
		if d := b.Forecast(writes, 3000); d < 45*time.Second || d > 51*time.Second {
			t.Errorf("3,000 more writes take %v, want about 50s", d)
		}
	})
}

// Whoever asks, in whatever order and however often throttled, no window sees
// more than the bucket's depth and what flows in.
func TestBudgetNeverOverspends(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		turns := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 60).Draw(rt, "turns")
		gaps := rapid.SliceOfN(rapid.IntRange(0, 3000), len(turns), len(turns)).Draw(rt, "gaps")
		var given []time.Time
		synctest.Test(t, func(t *testing.T) {
			b := NewBudget(BudgetOptions{})
			var mu sync.Mutex
			var wg sync.WaitGroup
			for n, tn := range turns {
				<-time.After(time.Duration(gaps[n]) * time.Millisecond)
				wg.Go(func() {
					if err := b.take(t.Context(), idp, turn(tn)); err != nil {
						t.Error(err)
					}
					mu.Lock()
					given = append(given, time.Now())
					mu.Unlock()
				})
			}
			wg.Wait()
		})
		for n := 1; n < len(given); n++ {
			if gap := given[n].Sub(given[n-1]); gap < time.Second {
				rt.Fatalf("request %d came %v after the one before", n, gap)
			}
		}
	})
}
