package dispatch

import (
	"context"
	"sync"
	"time"
)

// commitTimeout bounds one transaction: an outcome that cannot be written in
// this time is read from the directory later instead.
const commitTimeout = 10 * time.Second

// A committer writes what many senders have to write in as few transactions as
// possible: while one commits, the next gathers. A durable commit costs a disk
// sync whether it holds one intent or twenty.
type committer struct {
	store Store

	mu      sync.Mutex
	waiting []*write
	busy    bool // somebody leads: what waits now is in the next transaction
}

// A write is one change that waits for its commit.
type write struct {
	change func(Tx) error
	err    error
	lead   chan struct{} // closed when this write is to lead the next transaction
	done   chan struct{} // closed when the change is durable or failed
}

func newCommitter(s Store) *committer { return &committer{store: s} }

// do commits change, alone or with others, and returns when it is durable or
// failed. change may be called more than once and must depend on nothing but what
// it reads through Tx; an error of one change does not touch the others. A change
// that began is finished, also when ctx ends.
func (c *committer) do(ctx context.Context, change func(Tx) error) error {
	w := &write{change: change, lead: make(chan struct{}), done: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, w)
	if !c.busy {
		c.busy = true
		close(w.lead)
	}
	c.mu.Unlock()
	select {
	case <-w.done:
		return w.err
	case <-w.lead:
	}
	// The leader commits everything that waits, itself included, and hands the lead
	// on: it has a request to send and no time to work for others.
	c.mu.Lock()
	batch := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	c.flush(context.WithoutCancel(ctx), batch)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy = len(c.waiting) > 0; c.busy {
		close(c.waiting[0].lead)
	}
	return w.err
}

func (c *committer) flush(ctx context.Context, batch []*write) {
	for len(batch) > 0 {
		culprit := -1
		commit, cancel := context.WithTimeout(ctx, commitTimeout)
		err := c.store.Update(commit, func(tx Tx) error {
			culprit = -1
			for n, w := range batch {
				if err := w.change(tx); err != nil {
					culprit = n
					return err
				}
			}
			return nil
		})
		cancel()
		if err != nil && culprit >= 0 && len(batch) > 1 {
			batch[culprit].end(err)
			batch = append(batch[:culprit:culprit], batch[culprit+1:]...)
			continue
		}
		for _, w := range batch {
			w.end(err)
		}
		return
	}
}

func (w *write) end(err error) {
	w.err = err
	close(w.done)
}
