package ingest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/ingest"
)

func (h *intake) watch(feeds ...connector.Feed) {
	h.t.Helper()
	if _, err := h.pipe.Watch(h.t.Context(), feeds); err != nil {
		h.t.Fatal(err)
	}
}

// restart puts another process in the place of the first, on the same rows.
func (h *intake) restart() {
	old := h.pipe
	h.pipe = &ingest.Pipeline{Store: old.Store, Runs: old.Runs, Lookup: old.Lookup, Now: old.Now}
}

func TestSilenceOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	feed := connector.Feed{Tenant: tenant, Stream: "hub.signIns", Interval: time.Minute}
	h.pipe.Heard(tenant, feed.Stream)
	h.watch(feed)
	h.clock.Add(time.Hour)

	h.restart()
	h.watch(feed)
	if n := h.count(audit.FeedSilent); n != 0 {
		t.Errorf("%d alarms before the new process could listen", n)
	}
	h.clock.Add(2 * time.Minute)
	h.watch(feed)
	if n := h.count(audit.FeedSilent); n != 1 {
		t.Errorf("%d alarms for an hour of silence over a restart", n)
	}

	h.restart()
	h.clock.Add(10 * time.Minute)
	h.watch(feed)
	if f := h.feeds(); len(f) != 1 || !f[0].Silent || h.count(audit.FeedSilent) != 1 {
		t.Errorf("after a restart: %+v, %d alarms", f, h.count(audit.FeedSilent))
	}
	h.pipe.Heard(tenant, feed.Stream)
	h.watch(feed)
	if f := h.feeds(); f[0].Silent || !f[0].SilentAt.IsZero() || h.count(audit.FeedBack) != 1 {
		t.Errorf("heard again: %+v", f)
	}
}

func TestAFeedThatIsSwitchedOffIsNoAlarm(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	one, two := connector.Feed{Tenant: tenant, Stream: "one", Interval: time.Minute}, connector.Feed{Tenant: tenant, Stream: "two", Interval: time.Minute}
	h.watch(one, two)
	h.clock.Add(time.Hour)
	h.watch(one, two)
	h.watch() // a replica that owns nothing judges nothing
	if f := h.feeds(); len(f) != 2 || !f[0].Silent {
		t.Fatalf("%+v", f)
	}
	h.watch(two)
	if f := h.feeds(); len(f) != 1 || f[0].Stream != "two" {
		t.Errorf("%+v", f)
	}
}

// A sensor that says it is down, or that is not listed any more, is an alarm.
func TestReportedFeeds(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	sensors := connector.Feed{Tenant: tenant, Stream: "sensors", Interval: time.Minute}
	polls := 0
	poll := func(reports ...connector.FeedReport) {
		t.Helper()
		polls++
		if _, err := h.pipe.Poll(t.Context(), tenant, source{name: "sensors", pages: []connector.Page{{Feeds: reports, Next: connector.Cursor(fmt.Sprint(polls))}}}); err != nil {
			t.Fatal(err)
		}
		h.watch(sensors)
		h.clock.Add(time.Minute)
	}
	well := func(n int) connector.FeedReport {
		return connector.FeedReport{Stream: connector.Name(fmt.Sprintf("sensors/dc%d", n)), Says: "running"}
	}
	down := connector.FeedReport{Stream: "sensors/dc1", Silent: true, Says: "stopped"}
	poll(well(1), well(2))
	if n := h.count(audit.FeedSilent); n != 0 {
		t.Fatalf("%d alarms", n)
	}
	poll(down, well(2))
	poll(down, well(2))
	if n := h.count(audit.FeedSilent); n != 1 {
		t.Fatalf("%d alarms for one sensor that stopped", n)
	}
	if e := h.db.Trail(); !strings.Contains(e[len(e)-1].Text, "sensors/dc1: stopped") {
		t.Errorf("the trail says %q", e[len(e)-1].Text)
	}
	h.watch(sensors) // no new reading: nothing changes
	poll(well(1))
	if n := h.count(audit.FeedBack); n != 1 {
		t.Errorf("%d times back", n)
	}
	for range 4 {
		poll(well(1))
	}
	if f := h.feeds(); len(f) != 3 || f[2].Stream != "sensors/dc2" || !f[2].Silent {
		t.Errorf("a sensor that is not listed any more: %+v", f)
	}
	h.clock.Add(8 * 24 * time.Hour)
	poll(well(1))
	if f := h.feeds(); len(f) != 2 {
		t.Errorf("after a week: %+v", f)
	}
}

// Whatever is heard, missed, failed and restarted, there are as many alarms as there
// are silences, each once, and the state says how it stands.
func TestAlarmsMatchSilences(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := newIntake(t)
		feed := connector.Feed{Tenant: tenant, Stream: "s", Interval: time.Minute}
		h.watch(feed)
		last, silent, want := h.clock.Now(), false, 0
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			h.clock.Add(time.Duration(rapid.IntRange(1, 100).Draw(rt, "seconds")) * time.Second)
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				h.pipe.Heard(tenant, "s")
				last = h.clock.Now()
			case 1:
				h.pipe.Failed(tenant, "s", fmt.Errorf("cut"))
			}
			h.watch(feed)
			quiet := h.clock.Now().Sub(last) > 3*time.Minute
			if quiet && !silent {
				want++
			}
			silent = quiet
			if f := h.feeds()[0]; f.Silent != silent || !f.Since.Equal(last) {
				rt.Fatalf("%+v, want silent %v since %v", f, silent, last)
			}
		}
		if got := h.count(audit.FeedSilent); got != want {
			rt.Fatalf("%d alarms, want %d", got, want)
		}
	})
}
