package ingest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// prove lets every action be verified now.
func (h *intake) prove() {
	h.t.Helper()
	err := h.db.Runs().Update(h.t.Context(), func(tx run.Tx) error {
		as, err := tx.(*runtest.Tx).Actions(tenant)
		if err != nil {
			return err
		}
		for _, a := range as {
			if a.State.Final() {
				continue
			}
			if a, err = a.Move("verified", "it was so already", h.clock.Now()); err != nil {
				return err
			}
			if _, err = tx.PutAction(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = h.driver.Reconcile(h.t.Context())
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func signedIn(id, person string, at time.Time, res record.Result) connector.Page {
	return connector.Page{Records: []record.Record{{
		Tenant: tenant, Source: record.SignIn, ExternalID: id, Type: "interactiveUser", Subject: runtest.Person(person), At: at, Result: res, IP: "198.51.100.7",
	}}, Next: "next"}
}

// Whoever signs in although they are contained opens the case again, as high; what
// was before, what failed and who is not contained do not.
func TestSignInAfterContainment(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.contain()
	h.take(signals(leak("d1", "1", epoch)))
	h.clock.Add(time.Minute)
	h.prove()
	contained := h.cases()[0]
	if contained.Status != casefile.Contained {
		t.Fatalf("case %s", contained.Status)
	}
	h.clock.Add(time.Minute)
	h.take(signedIn("s0", "1", contained.ContainedAt.Add(-time.Second), record.Success))
	h.take(signedIn("s1", "1", h.clock.Now(), record.Failure))
	h.take(signedIn("s2", "2", h.clock.Now(), record.Success))
	if c := h.cases()[0]; c.Status != casefile.Contained || c.Reopened != 0 {
		t.Fatalf("case %s, reopened %d", c.Status, c.Reopened)
	}
	page := signedIn("s3", "1", h.clock.Now(), record.Success)
	res := h.take(page)
	c := h.cases()[0]
	if c.Reopened != 1 || c.Level != signal.LevelHigh || !strings.Contains(c.Waits, "risk returned") && c.Status == casefile.Open || len(res.Cases) != 1 {
		t.Errorf("case %s (%s) at %s, reopened %d", c.Status, c.Waits, c.Level, c.Reopened)
	}
	var own []signal.Signal
	h.view(func(tx *runtest.Tx) error {
		all, err := tx.SignalsOf(tenant, c.Identity)
		for _, s := range all {
			if s.Source == signal.Own {
				own = append(own, s)
			}
		}
		return err
	})
	if len(own) != 1 || own[0].Type != detection.AfterContainment || own[0].IP != "198.51.100.7" {
		t.Errorf("signals of our own: %+v", own)
	}
	if again := h.take(page); again.New != 0 || h.cases()[0].Reopened != 1 {
		t.Errorf("told twice: %+v, reopened %d", again, h.cases()[0].Reopened)
	}
}

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
