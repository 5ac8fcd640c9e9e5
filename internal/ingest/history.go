package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
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

// told asks for the history of one account, and for what else is told of it.
func told(ctx context.Context, h connector.Historian, ref identity.Ref) (page connector.Page, err error) {
	page.Accounts, err = h.History(ctx, ref)
	r, ok := h.(connector.Recorder)
	if !ok {
		return page, err
	}
	var failed error
	if page.Records, failed = r.Records(ctx, ref); errors.Is(failed, fault.Denied) {
		failed = nil // the permission is missing: the doctor says so, and asking again changes nothing
	}
	return page, errors.Join(err, failed)
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
		page, err := told(ctx, h, ref)
		if len(page.Accounts)+len(page.Records) > 0 { // part of it is better than none
			res, taken := p.take(ctx, t, "", page, nil, nil, false)
			total, err = total.Plus(res), errors.Join(err, taken)
		}
		if err != nil {
			errs = append(errs, err)
			p.wantHistory(t, []identity.Ref{ref})
		}
	}
	return total, errors.Join(errs...)
}
