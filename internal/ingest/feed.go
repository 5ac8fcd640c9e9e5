package ingest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const (
	// settling is how long a process runs before it calls something silent that was
	// last heard before it began: what was missed while nobody listened is read first.
	settling = 2 * time.Minute
	// leastSilence is the least time that is called silence: a stream that is read every
	// second waits longer than that for its turn behind containment.
	leastSilence = time.Minute
	// forgotten is how long a feed that its source does not list any more stays an
	// alarm.
	forgotten = 7 * 24 * time.Hour
)

type feedKey struct {
	tenant identity.Tenant
	stream connector.Name
}

// heard is what this process has seen of a feed and not written yet.
type heard struct {
	success  time.Time
	failure  string
	failedAt time.Time
	reports  []connector.FeedReport // of what stands behind it; nil: it did not say
}

// note changes what is to be written of a feed.
func (p *Pipeline) note(t identity.Tenant, n connector.Name, change func(*heard)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard == nil {
		p.heard = map[feedKey]*heard{}
	}
	k := feedKey{t, n}
	if p.heard[k] == nil {
		p.heard[k] = &heard{}
	}
	change(p.heard[k])
}

// Heard notes that a feed was heard now: a page was taken, or a sign of life came.
// The next Watch writes it down.
func (p *Pipeline) Heard(t identity.Tenant, n connector.Name) {
	now := p.Now()
	p.note(t, n, func(h *heard) { h.success, h.failure = now, "" })
}

// Failed notes that a feed could not be read or taken.
func (p *Pipeline) Failed(t identity.Tenant, n connector.Name, err error) {
	now := p.Now()
	p.note(t, n, func(h *heard) { h.failure, h.failedAt = err.Error(), now })
}

func (p *Pipeline) polled(t identity.Tenant, n connector.Name, err error) {
	if err != nil {
		p.Failed(t, n, err)
		return
	}
	p.Heard(t, n)
}

// Watch writes down what was heard, raises the alarm for feeds that were not heard
// for Silence intervals, once per silence, and calls it off when they are back (law
// 10). It returns the states of all feeds of the tenants that feeds name. The state
// is in the rows: a restart neither forgets an alarm nor begins the clock anew. A
// feed that is expected for the first time begins its clock. What could not be
// written is written by the next call.
//
// A feed that another reports of is silent when that says so, or when the other
// succeeds and does not list it any more.
func (p *Pipeline) Watch(ctx context.Context, feeds []connector.Feed) ([]connector.FeedState, error) {
	now := p.Now()
	p.mu.Lock()
	if p.watchedFrom.IsZero() {
		p.watchedFrom = now
	}
	noted := p.heard
	p.heard = nil
	settled := now.Sub(p.watchedFrom) >= settling
	p.mu.Unlock()

	w := watch{p: p, now: now, settled: settled, expected: map[feedKey]time.Duration{}, noted: noted}
	for _, f := range feeds {
		w.expected[feedKey{f.Tenant, f.Stream}] = f.Interval
	}
	var out []connector.FeedState
	err := p.Store.Update(ctx, func(tx Tx) error {
		out = nil
		for _, t := range w.tenants() {
			states, err := w.tenant(tx, t)
			if err != nil {
				return err
			}
			out = append(out, states...)
		}
		return nil
	})
	if err != nil {
		p.unwritten(noted)
		return nil, fmt.Errorf("record how the feeds fare: %w", err)
	}
	return out, nil
}

// unwritten puts what could not be written back; what was heard since counts more.
func (p *Pipeline) unwritten(noted map[feedKey]*heard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard == nil {
		p.heard = map[feedKey]*heard{}
	}
	for k, h := range noted {
		if newer := p.heard[k]; newer != nil {
			if newer.success.IsZero() {
				newer.success = h.success
			}
			if newer.reports == nil {
				newer.reports = h.reports
			}
			continue
		}
		p.heard[k] = h
	}
}

// A watch is one look at the feeds.
type watch struct {
	p        *Pipeline
	now      time.Time
	settled  bool
	expected map[feedKey]time.Duration
	noted    map[feedKey]*heard
}

func (w watch) tenants() []identity.Tenant {
	var out []identity.Tenant
	for k := range w.expected {
		out = append(out, k.tenant)
	}
	for k := range w.noted { // heard here, watched by whoever owns the tenant
		out = append(out, k.tenant)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// tenant looks at the feeds of one tenant and returns them.
func (w watch) tenant(tx Tx, t identity.Tenant) ([]connector.FeedState, error) {
	list, err := tx.Feeds(t)
	if err != nil {
		return nil, err
	}
	old, states := map[connector.Name]connector.FeedState{}, map[connector.Name]connector.FeedState{}
	for _, s := range list {
		old[s.Stream], states[s.Stream] = s, s
	}
	reported := w.merge(t, states)
	var out []connector.FeedState
	for _, name := range slices.Sorted(maps.Keys(states)) {
		s := states[name]
		if w.isOver(s) {
			if err := tx.DropFeed(t, name); err != nil {
				return nil, err
			}
			continue
		}
		silent, why := w.silent(s, states, reported[name])
		if silent != s.Silent {
			if err := tx.Audit(w.entry(&s, silent, why)); err != nil {
				return nil, err
			}
		}
		if s != old[name] {
			if err := tx.PutFeed(s); err != nil {
				return nil, err
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// isOver reports whether nobody waits for the feed any more: it was switched off, or
// its source has not listed it for long.
func (w watch) isOver(s connector.FeedState) bool {
	if s.Source != "" {
		return w.now.Sub(s.Success) > forgotten
	}
	k := feedKey{s.Tenant, s.Stream}
	_, expected := w.expected[k]
	_, noted := w.noted[k]
	return s.Interval > 0 && !expected && !noted && w.watches(s.Tenant)
}

// watches reports whether this process expects anything of the tenant.
func (w watch) watches(t identity.Tenant) bool {
	for k := range w.expected {
		if k.tenant == t {
			return true
		}
	}
	return false
}

// merge brings what was heard and what is expected into the states, and returns
// which of them were reported silent or well since the last look.
func (w watch) merge(t identity.Tenant, states map[connector.Name]connector.FeedState) map[connector.Name]*connector.FeedReport {
	reported := map[connector.Name]*connector.FeedReport{}
	get := func(n connector.Name) connector.FeedState {
		s, ok := states[n]
		if !ok {
			s = connector.FeedState{Tenant: t, Stream: n, Since: w.now}
		}
		return s
	}
	for k, h := range w.noted {
		if k.tenant != t {
			continue
		}
		s := get(k.stream)
		if !h.success.IsZero() && !h.success.Before(s.Success) {
			s.Success, s.Since, s.Failure = h.success, h.success, ""
		}
		if !h.failedAt.Before(s.Success) && h.failure != "" {
			s.Failure, s.FailedAt = h.failure, h.failedAt
		}
		states[k.stream] = s
		for n, r := range h.reports {
			behind := get(r.Stream)
			behind.Source, behind.Says, behind.Acts = k.stream, r.Says, r.Acts
			behind.Success = cmp.Or(h.success, w.now)
			if !r.Silent {
				behind.Since = behind.Success
			}
			states[r.Stream], reported[r.Stream] = behind, &h.reports[n]
		}
	}
	for k, interval := range w.expected {
		if k.tenant == t {
			s := get(k.stream)
			s.Interval = interval
			states[k.stream] = s
		}
	}
	return reported
}

// silent says whether a feed is silent now, and why.
func (w watch) silent(s connector.FeedState, all map[connector.Name]connector.FeedState, report *connector.FeedReport) (bool, string) {
	patience := time.Duration(cmp.Or(w.p.Silence, silence))
	if s.Source != "" {
		source := all[s.Source]
		switch {
		case report != nil && report.Silent:
			return true, s.Says
		case report != nil:
			return false, s.Says
		case source.Interval > 0 && source.Success.Sub(s.Success) > patience*source.Interval:
			return true, fmt.Sprintf("%s does not list it any more", s.Source)
		}
		return s.Silent, s.Says
	}
	interval, expected := w.expected[feedKey{s.Tenant, s.Stream}]
	if !expected { // whoever owns the tenant judges it
		return s.Silent, ""
	}
	quiet := w.now.Sub(s.Since) > max(patience*interval, leastSilence)
	if quiet && !s.Silent && !w.settled && s.Since.Before(w.p.watchedFrom) {
		return false, ""
	}
	return quiet, s.Failure
}

// entry moves a feed into or out of its silence and says so in the trail.
func (w watch) entry(s *connector.FeedState, silent bool, why string) audit.Entry {
	e := audit.Entry{
		Tenant: s.Tenant, At: w.now, Actor: access.BySystem("ingest"), Kind: audit.FeedBack,
		Text: fmt.Sprintf("%s is heard again", s.Stream), Data: map[string]any{"stream": s.Stream},
	}
	s.Silent, s.SilentAt = silent, time.Time{}
	if silent {
		s.SilentAt = w.now
		e.Kind = audit.FeedSilent
		e.Text = fmt.Sprintf("%s has not been heard since %s: what it would tell is missing", s.Stream, s.Since.UTC().Format(time.RFC3339))
		if s.Source != "" {
			e.Text = fmt.Sprintf("nothing comes from %s: %s", s.Stream, why)
		}
		e.Data["failure"], e.Data["since"] = why, s.Since
	}
	return e
}
