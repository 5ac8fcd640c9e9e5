package defender

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A reading says how a collection is read.
type reading struct {
	path, top string
	whole     bool // each reading is of everything, whatever the cursor
}

// changed reads a collection by lastUpdateDateTime, giving each object to add,
// which returns that time. Pages are sorted here; the cursor moves with the last
// one only.
func changed(ctx context.Context, g *graph.Client, clock func() time.Time, cur connector.Cursor, r reading,
	add func(page *connector.Page, raw json.RawMessage, place string) time.Time,
) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		w, err := connector.ParseWindow(cur)
		if err != nil {
			yield(connector.Page{}, err)
			return
		}
		now := clock()
		from, next := w.From(now)
		q := url.Values{"$top": {r.top}}
		if !from.IsZero() && !r.whole {
			q.Set("$filter", "lastUpdateDateTime ge "+from.UTC().Format("2006-01-02T15:04:05Z"))
		}
		number := 0
		for p, err := range graph.Pages[json.RawMessage](ctx, g, graph.Request{Path: r.path, Query: q, Priority: graph.Low}, graph.Paging{Wait: time.Minute}) {
			if err != nil {
				yield(connector.Page{}, fmt.Errorf("read %s: %w", r.path, err))
				return
			}
			number++
			page := connector.Page{Next: cur}
			for n, o := range p.Objects {
				if at := add(&page, o.Raw, fmt.Sprintf("%s page %d item %d", r.path, number, n+1)); !at.IsZero() {
					next = next.Saw(at, now)
				}
			}
			slices.SortStableFunc(page.Signals, func(a, b signal.Signal) int {
				return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), strings.Compare(a.ExternalID, b.ExternalID))
			})
			slices.SortStableFunc(page.Records, func(a, b record.Record) int { return a.UpdatedAt.Compare(b.UpdatedAt) })
			if p.NextLink == "" {
				page.Next = next.Cursor()
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}
