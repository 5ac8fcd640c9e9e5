package ingest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Whatever comes in whatever order, with verdicts between: the stored assessment is
// computed again from what is stored, at its own time, to the same.
func TestAssessmentsAreComputedAgain(t *testing.T) {
	t.Parallel()
	kinds := []string{"leakedCredentials", "unlikelyTravel", "anomalousToken", "unfamiliarFeatures", "unheardOf"}
	states := []signal.State{signal.StateAtRisk, signal.StateDismissed, signal.StateRemediated, signal.StateConfirmedCompromised}
	rapid.Check(t, func(rt *rapid.T) {
		h := newIntake(t)
		for range rapid.IntRange(1, 8).Draw(rt, "pages") {
			h.clock.Add(time.Duration(rapid.IntRange(1, 5000).Draw(rt, "minutes")) * time.Minute)
			var page connector.Page
			for range rapid.IntRange(0, 3).Draw(rt, "signals") {
				who := rapid.IntRange(1, 2).Draw(rt, "who") // a detection is never about somebody else later
				s := runtest.Detection(tenant, fmt.Sprintf("d%d-%d", who, rapid.IntRange(0, 5).Draw(rt, "id")), runtest.Person(fmt.Sprint(who)),
					rapid.SampledFrom(kinds).Draw(rt, "kind"), rapid.SampledFrom([]signal.Level{signal.LevelLow, signal.LevelMedium, signal.LevelHigh}).Draw(rt, "level"),
					h.clock.Now().Add(-time.Duration(rapid.IntRange(0, 2000).Draw(rt, "late"))*time.Minute))
				s.State = rapid.SampledFrom(states).Draw(rt, "state")
				page.Signals = append(page.Signals, s)
			}
			if rapid.Bool().Draw(rt, "account") {
				page.Accounts = append(page.Accounts, signal.AccountRisk{Tenant: tenant, Subject: runtest.Person("1"), Level: signal.LevelHigh,
					State: rapid.SampledFrom(states).Draw(rt, "held"), UpdatedAt: h.clock.Now()})
			}
			page.Next = "next"
			h.take(page)
		}
		h.view(func(tx *runtest.Tx) error {
			people, err := tx.Identities(tenant)
			if err != nil {
				return err
			}
			for _, i := range people {
				if diff := again(rt, tx, i); diff != "" {
					rt.Fatalf("%s:\n%s", i.Name, diff)
				}
			}
			return nil
		})
	})
}

func again(rt *rapid.T, tx *runtest.Tx, i identity.Identity) string {
	stored, err := tx.Assessment(tenant, i.ID)
	if err != nil {
		return "" // never assessed
	}
	in := risk.Input{Tenant: tenant, Identity: i.ID}
	if in.Signals, err = tx.SignalsOf(tenant, i.ID); err != nil {
		rt.Fatal(err)
	}
	if in.Accounts, err = tx.AccountRisksOf(tenant, i.ID); err != nil {
		rt.Fatal(err)
	}
	var v casefile.Verdict
	var ok bool
	if v, ok, err = tx.LastVerdict(tenant, i.ID); err != nil {
		rt.Fatal(err)
	}
	if ok {
		in.Verdict = risk.Verdict{Word: string(v.Word), At: v.At}
	}
	return cmp.Diff(stored, risk.Assess(in, stored.At))
}
