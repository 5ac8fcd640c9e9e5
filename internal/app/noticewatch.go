package app

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

const (
	noticeStream   connector.Name = "cordon.alertNotices"
	noticeEvery                   = 5 * time.Minute
	noticePatience                = 20 * time.Minute // Graph shows an alert minutes after a sensor sent it
	noticeReach                   = 48 * time.Hour
)

// noticeWatch looks whether the alerts that sensors told of by syslog were told by
// Graph or a stream too. A line of syslog opens no case, so an alert that comes by
// syslog alone would be seen by nobody: that is an alarm, as the silence of a feed is.
type noticeWatch struct {
	tenant  identity.Tenant
	records func(context.Context, record.Query) (record.Page, error)
	signal  func(context.Context, signal.Key) (signal.Signal, error)
	now     func() time.Time
}

var _ connector.Source = noticeWatch{}

// Name is connector.Source's.
func (noticeWatch) Name() connector.Name { return noticeStream }

// Pages is connector.Source's. Each reading looks at all notices within reach.
func (w noticeWatch) Pages(ctx context.Context, _ connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		alone, err := w.look(ctx)
		if err != nil {
			yield(connector.Page{}, fmt.Errorf("compare the lines of syslog with the alerts: %w", err))
			return
		}
		r := connector.FeedReport{Stream: noticeStream + "/alerts", Says: "each alert that came by syslog came by Graph or a stream too"}
		if len(alone) > 0 {
			r.Silent = true
			r.Says = fmt.Sprintf("%d alerts came by syslog alone, such as %s; see whether alerts are read, by Graph or an event hub, and with which permissions",
				len(alone), strings.Join(alone[:min(3, len(alone))], ", "))
		}
		yield(connector.Page{Feeds: []connector.FeedReport{r}, Next: connector.Cursor(w.now().UTC().Format(time.RFC3339))}, nil)
	}
}

// look returns the alerts that nothing but syslog told of.
func (w noticeWatch) look(ctx context.Context) (alone []string, err error) {
	now := w.now()
	q := record.Query{Tenant: w.tenant, Sources: []record.Source{record.AlertNotice}, Since: now.Add(-noticeReach), Until: now.Add(-noticePatience), Limit: record.MaxLimit}
	for {
		p, err := w.records(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, n := range p.Records {
			if strings.HasPrefix(n.ExternalID, "cef/") || n.UpdatedAt.After(q.Until) {
				continue // without the alert's id nothing can be compared; or it came just now
			}
			known, err := w.known(ctx, n.ExternalID)
			if err != nil {
				return nil, err
			}
			if !known {
				alone = append(alone, fmt.Sprintf("%s (%s)", n.ExternalID, n.Title))
			}
		}
		if q.After = p.Next; q.After == "" {
			return alone, nil
		}
	}
}

func (w noticeWatch) known(ctx context.Context, alert string) (bool, error) {
	_, err := w.signal(ctx, signal.Key{Tenant: w.tenant, Source: signal.DefenderAlert, ExternalID: alert})
	if err == nil || !errors.Is(err, fault.NotFound) {
		return err == nil, err
	}
	p, err := w.records(ctx, record.Query{Tenant: w.tenant, ExternalID: alert, Sources: []record.Source{record.Alert, record.AlertInfo}, Limit: 1})
	return len(p.Records) > 0, err
}
