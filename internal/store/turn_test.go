package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed-f47efad2/cordon/internal/desk"
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

// ranked is a dialect that tells with which rank it was asked.
type ranked struct {
	dialect
	asked []rank
}

func (d *ranked) update(_ context.Context, r rank, _ func(context.Context, conn, ringer) error) error {
	d.asked = append(d.asked, r)
	return nil
}

// The stop must hold within a second: it does not stand behind what waits to leave.
func TestBrakesGoFirst(t *testing.T) {
	t.Parallel()
	d := &ranked{}
	if err := (&DB{d: d, opts: Options{Nudge: func(Topic) {}}}).Desk().Brake(t.Context(), func(desk.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if len(d.asked) != 1 || d.asked[0] >= rankDispatch {
		t.Errorf("asked with the ranks %v, want one before %v", d.asked, rankDispatch)
	}
}
