package entraid

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
)

// A reading says how a collection is read by "changed since".
type reading struct {
	path   string
	field  string // the time that is filtered by
	filter string // what else must hold; may be empty
	beta   bool
	whole  bool // it cannot be filtered by time: each reading is of everything
	report bool // one of the reports: not in the budget of identity protection, and it names its waits
	// slice and reach are for collections too long to be read in one go: what is
	// further back than reach is left alone, and what is more than one slice behind
	// is read slice by slice, each with its own bookmark. Zero: everything at once.
	slice, reach time.Duration
	// overlap is the most that is read again; zero: as much as the window says.
	overlap time.Duration
}

// A span is the part of the collection that comes next: from the zero time for the
// beginning, to the zero time for the end.
type span struct{ from, to time.Time }

const graphTime = "2006-01-02T15:04:05Z"

func (r reading) request(s span) graph.Request {
	filter := r.filter
	and := func(op string, at time.Time) {
		if at.IsZero() {
			return
		}
		if filter != "" {
			filter += " and "
		}
		filter += fmt.Sprintf("%s %s %s", r.field, op, at.UTC().Format(graphTime))
	}
	and("ge", s.from)
	and("lt", s.to)
	q := url.Values{"$top": {top}}
	if r.report {
		q.Set("$top", "1000") // Graph: signIn-list, directoryAudit-list: the maximum
	}
	if filter != "" {
		q.Set("$filter", filter)
	}
	return graph.Request{Path: r.path, Query: q, Beta: r.beta, Priority: graph.Low}
}

func (r reading) paging() graph.Paging {
	if r.report {
		return patient
	}
	return graph.Paging{}
}

// next returns what is to be read for the window at now, and the window as it is
// after that.
func (r reading) next(w connector.Window, now time.Time) (span, connector.Window) {
	from, after := w.From(now)
	if r.whole {
		return span{}, after
	}
	if r.overlap > 0 && !w.Since.IsZero() && from.Before(w.Since.Add(-r.overlap)) {
		from = w.Since.Add(-r.overlap)
	}
	if r.slice == 0 {
		return span{from: from}, after
	}
	if w.Since.IsZero() {
		from = now.Add(-r.reach)
	} else if now.Sub(w.Since) <= 2*r.slice {
		return span{from: from}, after
	}
	// Only what is well behind is sliced, so that no clock that is ahead closes a
	// slice before its records are there.
	to := from.Add(r.slice).Truncate(time.Second)
	if now.Sub(to) <= r.slice {
		return span{from: from}, after
	}
	if to.After(after.Since) {
		after.Since = to
	}
	return span{from, to}, after
}

// changed reads a collection by "changed since", giving each object to add, which
// returns the time by which it is filtered. Graph promises no order, so the cursor
// moves with the last page of a span only. Before it goes slice by slice it looks
// whether all of it is one page: the newest is told first then, and where there is
// little nothing is sliced.
func changed[T any](ctx context.Context, t Tenant, cur connector.Cursor, r reading,
	add func(p *connector.Page, o graph.Object[T], place string) time.Time,
) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		w, err := connector.ParseWindow(cur)
		if err != nil {
			yield(connector.Page{}, err)
			return
		}
		number, looked := 0, false
		for more := true; more; {
			now := t.Now()
			s, after := r.next(w, now)
			look := !s.to.IsZero() && !looked
			if look {
				s.to, looked = time.Time{}, true
				_, after = w.From(now)
			}
			if err := r.pace(ctx, t); err != nil {
				yield(connector.Page{}, err)
				return
			}
			for p, err := range graph.Pages[T](ctx, t.Graph, r.request(s), r.paging()) {
				if err != nil {
					yield(connector.Page{}, fmt.Errorf("read %s: %w", r.path, err))
					return
				}
				number++
				page := connector.Page{Next: cur}
				for n, o := range p.Objects {
					if at := add(&page, o, fmt.Sprintf("%s page %d item %d", r.path, number, n+1)); !at.IsZero() && s.to.IsZero() {
						after = after.Saw(at, now)
					}
				}
				last := p.NextLink == ""
				if last {
					w, cur = after, after.Cursor()
					page.Next = cur
				}
				if !yield(page, nil) {
					return
				}
				if more = !last || !s.to.IsZero(); last || look {
					break
				}
				if err := r.pace(ctx, t); err != nil {
					yield(connector.Page{}, err)
					return
				}
			}
		}
	}
}

func (r reading) pace(ctx context.Context, t Tenant) error {
	if r.report {
		return t.paceReports(ctx)
	}
	return t.pace(ctx)
}

func (t Tenant) paceReports(ctx context.Context) error {
	if t.PaceReports == nil {
		return nil
	}
	return t.PaceReports(ctx)
}
