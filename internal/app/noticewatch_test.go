package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// An alert that came by syslog and by nothing else is an alarm, once Graph has had time
// to tell it.
func TestAlertsBySyslogAloneAreAnAlarm(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	notice := func(id string, sent time.Duration) record.Record {
		return record.Record{Source: record.AlertNotice, ExternalID: id, Title: "T", At: now.Add(-2 * time.Hour), UpdatedAt: now.Add(-sent)}
	}
	stored := []record.Record{
		notice("aa-signal", time.Hour), notice("aa-record", time.Hour), notice("aa-new", time.Minute), notice("cef/hash", time.Hour),
		{Source: record.Alert, ExternalID: "aa-record", At: now.Add(-time.Hour)},
	}
	w := noticeWatch{
		tenant: "t", now: func() time.Time { return now },
		signal: func(_ context.Context, k signal.Key) (signal.Signal, error) {
			if k.ExternalID == "aa-signal" {
				return signal.Signal{}, nil
			}
			return signal.Signal{}, fault.Errorf(fault.NotFound, "no signal %s", k.ExternalID)
		},
		records: func(_ context.Context, q record.Query) (record.Page, error) {
			var p record.Page
			for _, r := range stored {
				if slices.Contains(q.Sources, r.Source) && (q.ExternalID == "" || q.ExternalID == r.ExternalID) && (q.Until.IsZero() || r.At.Before(q.Until)) {
					p.Records = append(p.Records, r)
				}
			}
			return p, nil
		},
	}
	report := func() connector.FeedReport {
		t.Helper()
		for p, err := range w.Pages(t.Context(), "") {
			if err != nil || len(p.Feeds) != 1 {
				t.Fatalf("%+v, %v", p, err)
			}
			return p.Feeds[0]
		}
		t.Fatal("no page")
		return connector.FeedReport{}
	}
	if r := report(); r.Silent {
		t.Errorf("all were told: %+v", r)
	}
	stored = append(stored, notice("aa-alone", time.Hour))
	if r := report(); !r.Silent || !strings.Contains(r.Says, "1 alerts came by syslog alone, such as aa-alone (T)") {
		t.Errorf("%+v", r)
	}
	w.signal = func(context.Context, signal.Key) (signal.Signal, error) {
		return signal.Signal{}, errors.New("the store is away")
	}
	for p, err := range w.Pages(t.Context(), "") {
		if err == nil || p.Feeds != nil {
			t.Errorf("%+v, %v", p, err)
		}
	}
}
