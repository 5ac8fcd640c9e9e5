package ingest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
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
