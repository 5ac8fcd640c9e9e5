package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
)

// An action that took several requests leaves the others to wait for the room it
// used up, and a directory that was asked for less has no more for it.
func TestBudgetChargesForMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{})
		take := func() time.Duration {
			began := time.Now()
			if err := b.take(t.Context(), action.BucketReports, 0); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if d := take(); d != 0 {
			t.Fatalf("the first waits %v", d)
		}
		b.charge(action.BucketReports, 6) // seven of five in ten seconds
		if d := take(); d < 6*time.Second || d > 7*time.Second {
			t.Errorf("the next waits %v, want the time of three", d)
		}
		b.charge(action.BucketReports, -5)
		b.charge(action.BucketReports, 0)
		b.charge("unheard of", 3)
		if d := take(); d < 2*time.Second || d > 3*time.Second {
			t.Errorf("another waits %v", d)
		}
	})
}

// Winning the tenant again looks back at what was sent; it does not give back a pace
// that refusals took away.
func TestRebuildingKeepsThePaceThatRefusalsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{})
		b.throttled(action.BucketIdentityProtection, time.Second)
		<-time.After(time.Second)
		before := b.Forecast(action.BucketIdentityProtection, 100)
		b.rebuild([]charge{{action.BucketIdentityProtection, time.Now()}})
		if after := b.Forecast(action.BucketIdentityProtection, 100); after < before-time.Second {
			t.Errorf("100 requests took %v before and take %v after", before, after)
		}
	})
}

// A limit of one request a second counts a request when it comes, which is later than
// it was given where its intent had to be written first: the next keeps its distance.
func TestTheNextKeepsItsDistanceFromWhatLeftLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{})
		for range 3 {
			if err := b.take(t.Context(), action.BucketIdentityProtection, 0); err != nil {
				t.Fatal(err)
			}
			<-time.After(900 * time.Millisecond)
			b.leaves(action.BucketIdentityProtection)
			left := time.Now()
			if err := b.take(t.Context(), action.BucketIdentityProtection, 0); err != nil {
				t.Fatal(err)
			}
			if gap := time.Since(left); gap < time.Second {
				t.Errorf("the next comes %v after one that left late", gap)
			}
		}
		// One that has not left keeps the next from being given, and one that is given back
		// does not.
		for _, end := range []func(action.Bucket){b.leaves, b.give} {
			<-time.After(time.Minute)
			if err := b.hold(t.Context(), action.BucketIdentityProtection, 0); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			go func() {
				<-time.After(10 * time.Second)
				end(action.BucketIdentityProtection)
			}()
			if err := b.take(t.Context(), action.BucketIdentityProtection, 0); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d < 10*time.Second {
				t.Errorf("given %v after one that had not left", d)
			}
		}
		b.leaves(action.BucketDirectoryWrite) // a deep bucket gives nothing back and loses nothing
		if d := b.Forecast(action.BucketDirectoryWrite, 3000); d != 0 {
			t.Errorf("3000 writes take %v", d)
		}
	})
}
