package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// wantHistory queues accounts whose risk history is to be read, each once.
func (p *Pipeline) wantHistory(t identity.Tenant, refs []identity.Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.history == nil {
		return // the first Refresh asks the store for all of them
	}
	for _, r := range refs {
		if len(p.history[t]) < openCases && !slices.ContainsFunc(p.history[t], func(q identity.Ref) bool { return sameAccount(q, r) }) {
			p.history[t] = append(p.history[t], r)
		}
	}
}

func sameAccount(a, b identity.Ref) bool {
	ka, kb := a.Keys(), b.Keys()
	return len(ka) > 0 && len(kb) > 0 && ka[0] == kb[0]
}

// readHistory reads the history of the next few accounts in the queue. The queue
// is no row: after a start it begins with every account of an open case. One that
// cannot be read goes to its end.
func (p *Pipeline) readHistory(ctx context.Context, t identity.Tenant, h connector.Historian) (Result, error) {
	p.mu.Lock()
	_, begun := p.history[t]
	p.mu.Unlock()
	if !begun {
		all, err := p.Store.StaleFacts(ctx, t, p.Now(), openCases)
		if err != nil {
			return Result{}, fmt.Errorf("find the accounts of open cases: %w", err)
		}
		p.mu.Lock()
		if p.history == nil {
			p.history = map[identity.Tenant][]identity.Ref{}
		}
		p.history[t] = all
		p.mu.Unlock()
	}
	p.mu.Lock()
	n := min(historyAtOnce, len(p.history[t]))
	now := slices.Clone(p.history[t][:n])
	p.history[t] = p.history[t][n:]
	p.mu.Unlock()
	var total Result
	var errs []error
	for _, ref := range now {
		items, err := h.History(ctx, ref)
		if err == nil && len(items) > 0 {
			var res Result
			res, err = p.take(ctx, t, "", connector.Page{Accounts: items}, nil, nil, false)
			total = total.Plus(res)
		}
		if err != nil {
			errs = append(errs, err)
			p.wantHistory(t, []identity.Ref{ref})
		}
	}
	return total, errors.Join(errs...)
}
