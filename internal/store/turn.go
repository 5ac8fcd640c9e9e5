package store

import (
	"context"
	"slices"
	"sync"
)

// A rank says whose turn it is when several changes of this process wait.
type rank int

// The ranks, first come first. What is about to leave the house goes before what
// will have to, and that before everything else.
const (
	rankBrake rank = iota // what keeps changes from leaving
	rankDispatch
	rankIngest
	rankOther
	ranks
)

// fair is how often a turn goes to whoever waits longest, whatever the rank, so
// that nobody waits for ever.
const fair = 4

// A line is a lock with ranks. Its zero value is free.
type line struct {
	mu      sync.Mutex
	busy    bool
	turns   int
	waiting []*waiter // longest first
}

type waiter struct {
	rank rank
	turn chan struct{} // closed when the lock is the waiter's
}

// take waits for the lock. It returns ctx's error when that ends first.
func (l *line) take(ctx context.Context, r rank) error {
	l.mu.Lock()
	if !l.busy {
		l.busy = true
		l.mu.Unlock()
		return nil
	}
	w := &waiter{r, make(chan struct{})}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	n := slices.Index(l.waiting, w)
	if n >= 0 {
		l.waiting = slices.Delete(l.waiting, n, n+1)
	}
	l.mu.Unlock()
	if n < 0 {
		l.give() // the turn came in the same moment: it goes on
	}
	return ctx.Err()
}

// give passes the lock on.
func (l *line) give() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.busy = false
		return
	}
	next := 0
	if l.turns++; l.turns%fair != 0 {
		for n, w := range l.waiting {
			if w.rank < l.waiting[next].rank {
				next = n
			}
		}
	}
	w := l.waiting[next]
	l.waiting = slices.Delete(l.waiting, next, next+1)
	close(w.turn)
}
