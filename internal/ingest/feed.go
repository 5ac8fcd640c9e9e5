package ingest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A Feed is one stream that is expected to succeed once in an interval.
type Feed struct {
	Tenant   identity.Tenant
	Stream   connector.Name
	Interval time.Duration
}

// A FeedState is how a feed fares.
type FeedState struct {
	Tenant identity.Tenant `json:"tenant"`
	Stream connector.Name  `json:"stream"`
	// Success is when Poll last caught up; zero: not since this process began.
	Success time.Time `json:"success,omitzero"`
	Failure string    `json:"failure,omitempty"` // of the last Poll; empty when it succeeded
	Silent  bool      `json:"silent"`
}

type feedKey struct {
	tenant identity.Tenant
	stream connector.Name
}

type feed struct {
	FeedState
	since time.Time // when the clock of its silence began: its last success, or the first Watch
}

// feed returns the state of a stream; p.mu is held.
func (p *Pipeline) feed(t identity.Tenant, n connector.Name) *feed {
	k := feedKey{t, n}
	if p.feeds[k] == nil {
		if p.feeds == nil {
			p.feeds = map[feedKey]*feed{}
		}
		p.feeds[k] = &feed{FeedState: FeedState{Tenant: t, Stream: n}}
	}
	return p.feeds[k]
}

func (p *Pipeline) polled(t identity.Tenant, n connector.Name, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.feed(t, n)
	if err != nil {
		f.Failure = err.Error()
		return
	}
	f.Success, f.Failure = p.Now(), ""
	f.since = f.Success
}

// Watch raises the alarm for feeds that have not succeeded for Silence
// intervals, once per silence, and calls it off when they are back (law 10). The
// first call starts the clock of a feed that has not succeeded yet. An alarm that
// could not be written is raised again by the next call.
func (p *Pipeline) Watch(ctx context.Context, feeds []Feed) error {
	now := p.Now()
	var entries []audit.Entry
	var changed []feedKey
	p.mu.Lock()
	for _, w := range feeds {
		f := p.feed(w.Tenant, w.Stream)
		if f.since.IsZero() {
			f.since = now
		}
		quiet := now.Sub(f.since)
		silent := quiet > time.Duration(cmp.Or(p.Silence, silence))*w.Interval
		if silent == f.Silent {
			continue
		}
		e := audit.Entry{
			Tenant: w.Tenant, At: now, Actor: access.BySystem("ingest"), Kind: audit.FeedBack,
			Text: fmt.Sprintf("%s answers again", w.Stream), Data: map[string]any{"stream": w.Stream},
		}
		if silent {
			e.Kind = audit.FeedSilent
			e.Text = fmt.Sprintf("%s has not succeeded since %s: what it would tell is missing", w.Stream, f.since.UTC().Format(time.RFC3339))
			e.Data["failure"], e.Data["since"] = f.Failure, f.since
		}
		entries, changed = append(entries, e), append(changed, feedKey{w.Tenant, w.Stream})
	}
	p.mu.Unlock()
	if len(entries) == 0 {
		return nil
	}
	err := p.Store.Update(ctx, func(tx Tx) error {
		for _, e := range entries {
			if err := tx.Audit(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record that feeds fell silent or are back: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, k := range changed {
		p.feeds[k].Silent = entries[n].Kind == audit.FeedSilent
	}
	return nil
}

// Feeds returns the state of every feed polled or watched, sorted by tenant and
// stream.
func (p *Pipeline) Feeds() []FeedState {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]FeedState, 0, len(p.feeds))
	for _, f := range p.feeds {
		out = append(out, f.FeedState)
	}
	slices.SortFunc(out, func(a, b FeedState) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Stream, b.Stream))
	})
	return out
}
