package dispatch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
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
	about  []action.Action // what change asks for
	change func(*view) error
	err    error
	lead   chan struct{} // closed when this write is to lead the next transaction
	done   chan struct{} // closed when the change is durable or failed
}

func newCommitter(s Store) *committer { return &committer{store: s} }

// do commits change, alone or with others, and returns when it is durable or
// failed. change may be called more than once and must depend on nothing but what
// it reads through Tx; an error of one change does not touch the others. A change
// that began is finished, also when ctx ends. The actions that change asks for are
// read together.
func (c *committer) do(ctx context.Context, about []action.Action, change func(*view) error) error {
	w := &write{about: about, change: change, lead: make(chan struct{}), done: make(chan struct{})}
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
			v := &view{Tx: tx}
			if err := ahead(tx, batch); err != nil {
				return err
			}
			for n, w := range batch {
				if err := w.change(v); err != nil {
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

// ahead has the actions of all writes read together.
func ahead(tx Tx, batch []*write) error {
	var all []action.Action
	for _, w := range batch {
		all = append(all, w.about...)
	}
	if len(all) == 0 {
		return nil
	}
	return tx.AheadOfActions(all[0].Tenant, all)
}

func (w *write) end(err error) {
	w.err = err
	close(w.done)
}

// A view is one transaction that remembers what does not change inside it: the
// decisions it holds ask for the same few rows again and again. It is for one
// tenant.
type view struct {
	Tx
	stop  *Stop
	fence *int64
	dir   *connector.DirectoryFacts
	reach map[window]Radius
	camps map[campaign.ID]*campaign.Campaign
}

// A window is what a count of reached identities is about.
type window struct {
	span     time.Duration
	playbook string
}

func (v *view) Stop(t identity.Tenant) (Stop, error) {
	if v.stop == nil {
		s, err := v.Tx.Stop(t)
		if err != nil {
			return s, err
		}
		v.stop = &s
	}
	return *v.stop, nil
}

func (v *view) Fence(t identity.Tenant) (int64, error) {
	if v.fence == nil {
		f, err := v.Tx.Fence(t)
		if err != nil {
			return f, err
		}
		v.fence = &f
	}
	return *v.fence, nil
}

func (v *view) Directory(t identity.Tenant) (connector.DirectoryFacts, error) {
	if v.dir == nil {
		d, err := v.Tx.Directory(t)
		if err != nil {
			return d, err
		}
		v.dir = &d
	}
	return *v.dir, nil
}

// campaign returns nil when there is none.
func (v *view) campaign(t identity.Tenant, id campaign.ID) (*campaign.Campaign, error) {
	if c, ok := v.camps[id]; ok {
		return c, nil
	}
	c, err := v.Tx.Campaign(t, id)
	switch {
	case errors.Is(err, fault.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if v.camps == nil {
		v.camps = map[campaign.ID]*campaign.Campaign{}
	}
	v.camps[id] = &c
	return &c, nil
}

// reached returns how many identities but r.But were reached in the span before
// now. While full says that there is room for all of them, it may count r.But too,
// and some twice: one count then serves the whole transaction. When there is not,
// the count is exact.
func (v *view) reached(t identity.Tenant, r Reach, span time.Duration, full func(Radius) bool) (Radius, error) {
	w := window{span, r.Playbook}
	most, ok := v.reach[w]
	if !ok {
		all := r
		all.But = ""
		var err error
		if most, err = v.Disruptions(t, all); err != nil {
			return most, err
		}
		if v.reach == nil {
			v.reach = map[window]Radius{}
		}
		v.reach[w] = most
	}
	if !full(most) {
		return most, nil
	}
	return v.Disruptions(t, r)
}

// disrupted counts an intent that was just written in this transaction.
func (v *view) disrupted() {
	for w, r := range v.reach {
		v.reach[w] = Radius{r.Everywhere + 1, r.Tenant + 1, r.Playbook + 1}
	}
}
