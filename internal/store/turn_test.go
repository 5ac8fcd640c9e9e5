package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// Ranks go first, and every fourth turn is the longest waiter's.
func TestLineServesByRankAndStarvesNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l line
		if err := l.take(t.Context(), rankOther); err != nil {
			t.Fatal(err)
		}
		var (
			mu     sync.Mutex
			served []rank
			wg     sync.WaitGroup
		)
		for _, r := range []rank{rankOther, rankIngest, rankDispatch, rankIngest, rankDispatch, rankDispatch, rankDispatch} {
			wg.Go(func() {
				if err := l.take(t.Context(), r); err != nil {
					t.Error(err)
				}
				mu.Lock()
				served = append(served, r)
				mu.Unlock()
				l.give()
			})
			synctest.Wait() // they queue in this order
		}
		l.give()
		wg.Wait()
		want := []rank{rankDispatch, rankDispatch, rankDispatch, rankOther, rankDispatch, rankIngest, rankIngest}
		if !slices.Equal(served, want) {
			t.Errorf("served %v, want %v", served, want)
		}
		if l.busy {
			t.Error("the lock was not given back")
		}
	})
}

func TestLineLetsWaitersLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l line
		if err := l.take(t.Context(), rankOther); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { left <- l.take(ctx, rankDispatch) }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Fatalf("err = %v", err)
		}
		l.give()
		if err := l.take(t.Context(), rankOther); err != nil {
			t.Fatal(err)
		}
	})
}
