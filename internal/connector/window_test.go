package connector_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/connector"
)

// Whatever the order of records and clocks, a window never moves past now, never
// moves back, and the next reading starts before everything seen.
func TestWindowNeverSkips(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var w connector.Window
		now := start
		for range rapid.IntRange(1, 20).Draw(t, "polls") {
			now = now.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "pause")) * time.Second)
			from, next := w.From(now)
			if !w.Since.IsZero() && !from.Before(w.Since) {
				t.Fatalf("reads from %v, which is not before %v", from, w.Since)
			}
			for range rapid.IntRange(0, 5).Draw(t, "records") {
				next = next.Saw(now.Add(time.Duration(rapid.IntRange(-4000, 4000).Draw(t, "skew"))*time.Second), now)
			}
			if next.Since.After(now) || next.Since.Before(w.Since) {
				t.Fatalf("since moved from %v to %v at %v", w.Since, next.Since, now)
			}
			again, err := connector.ParseWindow(next.Cursor())
			if err != nil || !again.Since.Equal(next.Since) || !again.Deep.Equal(next.Deep) {
				t.Fatalf("cursor does not survive: %v, %v", again, err)
			}
			w = next
		}
	})
}
