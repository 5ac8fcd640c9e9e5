package playbooks_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/playbooks"
)

const tenant = identity.Tenant("00000000-0000-4000-8000-000000000001")

var until = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// library is the shipped playbooks with the actions there are.
func library(t testing.TB) *playbook.Library {
	t.Helper()
	routes := entraid.Routes()
	for _, r := range routes {
		if to := activedirectory.Routes()[r.Name]; to != "" {
			r.To[identity.ActiveDirectory] = to
		}
	}
	cat, err := action.NewCatalogue(append(entraid.Types(nil), activedirectory.Types(nil, nil)...), routes)
	if err != nil {
		t.Fatal(err)
	}
	lib, problems := playbook.Load(playbooks.FS, cat)
	for _, p := range problems {
		t.Error(p)
	}
	if lib == nil {
		t.FailNow()
	}
	return lib
}

func person(n int) identity.Identity {
	yes, no := true, false
	return identity.Identity{
		Tenant: tenant, ID: identity.ID(fmt.Sprintf("idn_%05d", n)), Kind: identity.KindPerson, Name: fmt.Sprintf("Person %d", n),
		Accounts: []identity.Account{{
			Ref: identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n)},
			Facts: identity.Facts{
				AsOf: until, RolesAsOf: until, RegistrationAsOf: until, Found: &yes, Enabled: &yes, Synced: &no, MFARegistered: &yes, Passwordless: &no, UserType: "Member",
			},
		}},
	}
}

func detection(i identity.Identity, id, kind string, level signal.Level, at time.Time) signal.Signal {
	return signal.Signal{
		Tenant: tenant, Source: signal.RiskDetection, ExternalID: id, Type: kind, Level: level, State: signal.StateAtRisk,
		Subject: i.Accounts[0].Ref, ActivityAt: at, DetectedAt: at, UpdatedAt: at,
	}
}

func each(list []run.History) iter.Seq2[run.History, error] {
	return func(yield func(run.History, error) bool) {
		for _, h := range list {
			if !yield(h, nil) {
				return
			}
		}
	}
}

// What would have happened to whom, told by what people said of it later.
func TestReplay(t *testing.T) {
	t.Parallel()
	day := until.Add(-24 * time.Hour)
	verdict := func(n int, w casefile.Word) []casefile.Case {
		return []casefile.Case{{Tenant: tenant, Identity: person(n).ID, OpenedAt: day, FirstSignal: day, Verdict: &casefile.Verdict{Word: w, At: day.Add(5 * time.Hour)}}}
	}
	leaked := func(n int, at time.Time) signal.Signal {
		return detection(person(n), fmt.Sprintf("s-%d-%d", n, at.Unix()), "leakedCredentials", signal.LevelHigh, at)
	}
	closed := leaked(4, day)
	closed.State, closed.UpdatedAt = signal.StateRemediated, day.Add(time.Hour)
	list := []run.History{
		{Identity: person(1), Signals: []signal.Signal{leaked(1, day), leaked(1, day.Add(time.Hour))}, Cases: verdict(1, casefile.Compromised)}, // once in twelve hours
		{Identity: person(2), Signals: []signal.Signal{leaked(2, day)}, Cases: verdict(2, casefile.Safe)},
		{Identity: person(3), Signals: []signal.Signal{leaked(3, day), leaked(3, day.Add(13*time.Hour))}},
		{Identity: person(4), Signals: []signal.Signal{leaked(4, day), closed}},                 // it closed later: it was open when it came
		{Identity: person(5), Signals: []signal.Signal{leaked(5, until.Add(-90*24*time.Hour))}}, // before the time that is asked about
	}
	r := run.Replay{Tenant: tenant, From: until.Add(-30 * 24 * time.Hour), Until: until, Connected: []identity.Provider{identity.EntraID},
		Policy: identity.Policy{List: []identity.Protected{{Match: person(4).Accounts[0].ObjectID, Reason: "emergency access"}}}}
	got, err := r.Play(library(t), each(list))
	if err != nil {
		t.Fatal(err)
	}
	if got.Identities != 5 || got.Signals != 7 {
		t.Errorf("%d identities, %d signals", got.Identities, got.Signals)
	}
	var p run.ReplayedPlaybook
	for _, c := range got.Playbooks {
		if c.Playbook == "leaked-credentials" {
			p = c
		}
	}
	if p.Runs != 5 || p.Identities != 4 || p.Act != 4 || p.Refused != 1 || p.Compromised != 1 || p.Harmless != 1 || p.Unjudged != 2 || p.Precision == nil || *p.Precision != 0.5 {
		t.Errorf("leaked-credentials: %+v", p)
	}
	for _, x := range got.Runs {
		if x.Identity == person(4).ID && x.Outcome != run.ReplayedRefused {
			t.Errorf("a protected identity: %+v", x)
		}
	}
	again, err := r.Play(library(t), each(list))
	if err != nil || len(again.Runs) != len(got.Runs) || fmt.Sprint(again.Runs) != fmt.Sprint(got.Runs) {
		t.Errorf("the same history gave something else: %v", err)
	}
}

// month is the signals of thirty days of a tenant: most people have none that
// matter, some many, as risk detections are.
func month(people int) []run.History {
	rng := rand.New(rand.NewPCG(7, 7))
	kinds := []string{"unfamiliarFeatures", "impossibleTravel", "newCountry", "anonymizedIPAddress", "leakedCredentials", "anomalousToken", "passwordSpray", "mcasSuspiciousInboxManipulationRules"}
	levels := []signal.Level{signal.LevelLow, signal.LevelLow, signal.LevelMedium, signal.LevelHigh}
	var out []run.History
	for n := range people {
		h := run.History{Identity: person(n)}
		for k := range 2 + rng.IntN(15) {
			at := until.Add(-time.Duration(rng.Int64N(int64(30 * 24 * time.Hour))))
			s := detection(h.Identity, fmt.Sprintf("s-%d-%d", n, k), kinds[rng.IntN(len(kinds))], levels[rng.IntN(len(levels))], at)
			h.Signals = append(h.Signals, s)
			if rng.IntN(2) == 0 {
				s.State, s.UpdatedAt = signal.StateRemediated, at.Add(time.Hour)
				h.Signals = append(h.Signals, s)
			}
		}
		out = append(out, h)
	}
	return out
}

// BenchmarkReplayMonth is the bar of `cordon playbook replay`: thirty days of 2,400
// people in less than ten seconds.
func BenchmarkReplayMonth(b *testing.B) {
	lib, list := library(b), month(2400)
	r := run.Replay{Tenant: tenant, From: until.Add(-30 * 24 * time.Hour), Until: until, Connected: []identity.Provider{identity.EntraID}}
	for b.Loop() {
		got, err := r.Play(lib, each(list))
		if err != nil || len(got.Runs) == 0 {
			b.Fatal(len(got.Runs), err)
		}
		b.ReportMetric(float64(got.Signals), "signals")
		b.ReportMetric(float64(len(got.Runs)), "runs")
	}
}
