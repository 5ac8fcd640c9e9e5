package ingest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Risk that comes after a verdict says so, and that it is the same cause.
func TestRiskReturnsAfterAVerdict(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.take(signals(leak("d1", "1", epoch)))
	h.clock.Add(time.Hour)
	h.verdict(casefile.Benign)
	h.clock.Add(time.Hour)
	h.take(signals(leak("d2", "1", h.clock.Now())))
	for _, c := range h.cases() {
		if c.Verdict == nil && (!strings.Contains(c.Return, "after the verdict benign") || !strings.Contains(c.Return, "the same cause as before")) {
			t.Errorf("it returned %q", c.Return)
		}
	}
	if n := h.open(); n != 1 {
		t.Errorf("%d cases are open", n)
	}
}

// Closing an alert in Defender closes no case here and lowers nothing by itself; what is
// called false there is taken back, says so, and waits for a verdict. Alerts that were
// closed before there was a case open none.
func TestDefenderClosesNothingHere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state signal.State
		class string
		level signal.Level
		words string
	}{
		"nobody said what it was": {signal.Resolved, "", signal.LevelHigh, "closed in Defender, where nobody said what it was, and counts until a verdict"},
		"a true positive":         {signal.Resolved, signal.TruePositive, signal.LevelHigh, "closed in Defender, as a true positive"},
		"an unheard-of word":      {signal.Resolved, "maybe", signal.LevelHigh, `closed in Defender, as "maybe"`},
		"false":                   {signal.Resolved, signal.FalsePositive, signal.LevelNone, "a verdict is awaited: Defender: alert DCSync resolved as falsePositive (notMalicious)"},
		"expected":                {signal.Resolved, signal.ExpectedActivity, signal.LevelNone, "a verdict is awaited"},
		"classified, not closed":  {"inProgress", signal.FalsePositive, signal.LevelHigh, "DCSync"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newIntake(t)
			a := leak("a1", "1", epoch)
			a.Source, a.Type, a.Title, a.State, a.Level = signal.DefenderAlert, "DCSync", "DCSync", "new", signal.LevelHigh
			before := a
			before.ExternalID, before.State = "a0", signal.Resolved
			h.take(signals(before))
			if n := len(h.cases()); n != 0 {
				t.Fatalf("%d cases were opened by an alert that is over", n)
			}
			h.take(signals(a))
			was := h.cases()[0]
			h.clock.Add(time.Hour)
			a.State, a.Classification, a.Detail, a.UpdatedAt = c.state, c.class, "notMalicious", h.clock.Now()
			h.take(signals(a))
			got := h.cases()[0]
			if want := c.level; got.Verdict != nil || got.Status != was.Status || want == signal.LevelNone && got.Level != want || want != signal.LevelNone && got.Level != was.Level {
				t.Errorf("%s at %s, before %s at %s, verdict %v", got.Status, got.Level, was.Status, was.Level, got.Verdict)
			}
			if !strings.Contains(got.Reason, c.words) {
				t.Errorf("reason %q", got.Reason)
			}
			if c.state == signal.Resolved {
				h.verdict(casefile.Compromised)
				h.clock.Add(time.Hour)
				h.take(signals(leak("d9", "2", h.clock.Now()))) // of somebody else
				if n := h.open(); n != 1 {
					t.Errorf("%d cases are open after the verdict, not the other person's alone", n)
				}
			}
		})
	}
}
