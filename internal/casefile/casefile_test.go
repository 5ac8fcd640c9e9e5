package casefile_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

var epoch = time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)

func begun() casefile.Case {
	return casefile.Begin(identity.Identity{Tenant: "tenant", ID: "idn_1", Name: "A"}, epoch)
}

func at(kind string, t time.Time) signal.Signal {
	return signal.Signal{Type: kind, State: signal.StateAtRisk, ActivityAt: t, UpdatedAt: t}
}

func high(text string) risk.Assessment {
	return risk.Assessment{Level: signal.LevelHigh, Score: 80, Reasons: []risk.Reason{{Text: text, Points: 80}}}
}

func TestAbsorb(t *testing.T) {
	t.Parallel()
	signals := []signal.Signal{at("leakedCredentials", epoch.Add(-time.Hour)), at("newCountry", epoch.Add(-2*time.Hour))}
	c := begun().Absorb(high("a leak"), signals, epoch)
	if c.Level != signal.LevelHigh || c.Score != 80 || c.Reason != "a leak" || c.Signals != 2 ||
		!c.FirstSignal.Equal(epoch.Add(-2*time.Hour)) || !c.LastSignal.Equal(epoch.Add(-time.Hour)) || c.Status != casefile.Open {
		t.Errorf("%+v", c)
	}
	if again := c.Absorb(high("a leak"), signals, epoch.Add(time.Hour)); again != c {
		t.Errorf("absorbed twice:\n%s", cmp.Diff(c, again))
	}
	if gone := c.Absorb(risk.Assessment{Level: signal.LevelNone}, signals, epoch); gone.Reason == "a leak" || gone.Level != signal.LevelNone {
		t.Errorf("the reason outlived the risk: %q", gone.Reason)
	}
}

func TestReopening(t *testing.T) {
	t.Parallel()
	contained := begun().Absorb(high("a leak"), nil, epoch).Follow(casefile.Contained, "", epoch)
	later := epoch.Add(time.Minute)
	closed := at("leakedCredentials", later)
	closed.State = signal.StateRemediated
	low := high("x")
	low.Level = signal.LevelLow
	for name, tc := range map[string]struct {
		from casefile.Case
		a    risk.Assessment
		s    signal.Signal
		want bool
	}{
		"something new":         {contained, high("x"), at("leakedCredentials", later), true},
		"told late":             {contained, high("x"), at("leakedCredentials", epoch), false},
		"closed at its source":  {contained, high("x"), closed, false},
		"our own verdict":       {contained, high("x"), at("adminConfirmedUserCompromised", later), false},
		"too low":               {contained, low, at("newCountry", later), false},
		"not contained":         {begun(), high("x"), at("leakedCredentials", later), false},
		"waiting for something": {contained.Follow(casefile.Waiting, "a person", epoch), high("x"), at("leakedCredentials", later), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := tc.from.Absorb(tc.a, []signal.Signal{tc.s}, later)
			if (c.Reopened == 1) != tc.want || tc.want && (c.Status != casefile.Open || !c.ReopenedAt.Equal(later) || !strings.Contains(c.Waits, "risk returned")) {
				t.Errorf("%+v", c)
			}
			if again := c.Absorb(tc.a, []signal.Signal{tc.s}, later.Add(time.Hour)); again != c {
				t.Errorf("absorbed twice:\n%s", cmp.Diff(c, again))
			}
		})
	}
	again := contained.Absorb(high("x"), []signal.Signal{at("leakedCredentials", later)}, later).Follow(casefile.Contained, "", later.Add(time.Minute))
	if !again.ContainedAt.Equal(later.Add(time.Minute)) {
		t.Errorf("contained anew at %s", again.ContainedAt)
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	v := casefile.Verdict{Word: casefile.Safe, By: "o", At: epoch}
	c, err := begun().Follow(casefile.Waiting, "a person", epoch).Decide(v)
	if err != nil || c.Status != casefile.Closed || c.Waits != "" || *c.Verdict != v {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := c.Decide(v); !errors.Is(err, fault.Conflict) {
		t.Errorf("twice: %v", err)
	}
	if got, err := begun().Decide(casefile.Verdict{Word: "fine"}); !errors.Is(err, fault.Invalid) || got != begun() {
		t.Errorf("no verdict: %v", err)
	}
}

// Closed is closed, whatever comes; containment always says when.
func TestCaseWalks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c, now := begun(), epoch
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			now = now.Add(time.Minute)
			before := c
			switch rapid.IntRange(0, 5).Draw(rt, "event") {
			case 0, 1:
				c = c.Follow(rapid.SampledFrom([]casefile.Status{casefile.Open, casefile.Acting, casefile.Waiting, casefile.Contained}).Draw(rt, "status"), "x", now)
			case 2, 3, 4:
				a := risk.Assessment{Level: rapid.SampledFrom([]signal.Level{signal.LevelNone, signal.LevelMedium, signal.LevelHigh}).Draw(rt, "level")}
				c = c.Absorb(a, []signal.Signal{at("newCountry", now.Add(-time.Duration(rapid.IntRange(0, 3).Draw(rt, "ago"))*time.Minute))}, now)
			default:
				next, err := c.Decide(casefile.Verdict{Word: rapid.SampledFrom([]casefile.Word{casefile.Safe, "fine"}).Draw(rt, "word"), At: now})
				if err != nil && next != c {
					rt.Fatal("a refused verdict changed the case")
				}
				c = next
			}
			if before.Status == casefile.Closed && c != before {
				rt.Fatalf("a closed case changed:\n%s", cmp.Diff(before, c))
			}
			if (c.Status == casefile.Closed) != (c.Verdict != nil) {
				rt.Fatalf("%s, verdict %v", c.Status, c.Verdict)
			}
			if c.Status == casefile.Contained && c.ContainedAt.IsZero() || c.Reopened < before.Reopened || c.Reopened > before.Reopened && c.Status != casefile.Open {
				rt.Fatalf("%+v became %+v", before, c)
			}
		}
	})
}
