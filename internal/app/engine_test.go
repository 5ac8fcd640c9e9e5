package app

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/run"
)

// Runs that were woken are given together once they have gathered, in the order in
// which they were woken first, and no more at once than was asked for.
func TestWokenRunsAreGivenTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWakes()
		key := func(id string) run.Key { return run.Key{Tenant: "t", ID: run.ID(id)} }
		began := time.Now()
		for _, id := range []string{"a", "b", "a", "c"} {
			w.add(key(id))
		}
		for n, want := range [][]run.Key{{key("a"), key("b")}, {key("c")}} {
			if diff := cmp.Diff(want, w.next(t.Context(), 2)); diff != "" {
				t.Errorf("%d (-want +got):\n%s", n, diff)
			}
			if since := time.Since(began); since != gather {
				t.Errorf("%d: after %v", n, since)
			}
		}
		go func() {
			<-time.After(time.Minute)
			w.add(key("a")) // what was given may be woken again
		}()
		if got := w.next(t.Context(), 2); len(got) != 1 || w.waits(key("a")) || time.Since(began) != time.Minute+2*gather {
			t.Errorf("%v after %v", got, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := w.next(ctx, 2); len(got) > 0 {
			t.Errorf("%v after the end", got)
		}
	})
}
