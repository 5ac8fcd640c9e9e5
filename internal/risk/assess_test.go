package risk_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

var epoch = time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)

func told(id, kind string, l signal.Level, at time.Time) signal.Signal {
	return signal.Signal{
		Tenant: "tenant", Source: signal.RiskDetection, ExternalID: id, Type: kind, Level: l, State: signal.StateAtRisk,
		ActivityAt: at, DetectedAt: at, UpdatedAt: at,
	}
}

func alert(id, title string, l signal.Level, at time.Time) signal.Signal {
	s := told(id, title, l, at)
	s.Source, s.Title, s.State = signal.DefenderAlert, title, "new"
	return s
}

func held(l signal.Level, at time.Time) signal.AccountRisk {
	return signal.AccountRisk{Subject: identity.Ref{UPN: "a@corp.example"}, Level: l, State: signal.StateAtRisk, UpdatedAt: at}
}

func TestAssess(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	closed := told("d1", "leakedCredentials", signal.LevelHigh, epoch)
	closed.State = signal.StateDismissed
	strange := told("d1", "unheardOf", "unheardOf", epoch)
	strange.State = "unheardOf"
	confirmed := told("d1", "unfamiliarFeatures", signal.LevelLow, epoch)
	confirmed.State = signal.StateConfirmedCompromised
	workload := told("d1", "leakedCredentials", signal.LevelHigh, epoch)
	workload.Subject.Kind = identity.KindWorkload
	deleted, processed := held(signal.LevelHigh, epoch), held(signal.LevelHigh, epoch)
	deleted.Deleted, processed.State = true, signal.StateRemediated
	verdict := func(w string, at time.Time) risk.Verdict { return risk.Verdict{Word: w, At: at} }

	for name, tc := range map[string]struct {
		in     risk.Input
		after  time.Duration // since epoch
		score  int
		level  signal.Level
		causes []signal.Cause
	}{
		"nothing":                    {risk.Input{}, 0, 0, signal.LevelNone, nil},
		"a leak":                     {risk.Input{Signals: []signal.Signal{told("d1", "leakedCredentials", signal.LevelHigh, epoch)}}, 0, 80, signal.LevelHigh, []signal.Cause{signal.CausePassword}},
		"a leak stays high":          {risk.Input{Signals: []signal.Signal{told("d1", "leakedCredentials", signal.LevelHigh, epoch)}}, 400 * day, 80, signal.LevelHigh, []signal.Cause{signal.CausePassword}},
		"closed by its source":       {risk.Input{Signals: []signal.Signal{closed}}, 0, 0, signal.LevelNone, nil},
		"unheard-of everything":      {risk.Input{Signals: []signal.Signal{strange}}, 0, 40, signal.LevelMedium, []signal.Cause{signal.CauseUnknown}},
		"hidden level":               {risk.Input{Signals: []signal.Signal{told("d1", "generic", signal.LevelHidden, epoch)}}, 0, 40, signal.LevelMedium, []signal.Cause{signal.CauseUnknown}},
		"travel decays in three":     {risk.Input{Signals: []signal.Signal{told("d1", "unlikelyTravel", signal.LevelMedium, epoch)}}, 3 * day, 20, signal.LevelLow, []signal.Cause{signal.CauseUnknown}},
		"a low one is not nothing":   {risk.Input{Signals: []signal.Signal{told("d1", "unfamiliarFeatures", signal.LevelLow, epoch)}}, 0, 20, signal.LevelLow, []signal.Cause{signal.CauseUnknown}},
		"an old one is not nothing":  {risk.Input{Signals: []signal.Signal{told("d1", "unlikelyTravel", signal.LevelMedium, epoch)}}, 30 * day, 20, signal.LevelLow, []signal.Cause{signal.CauseUnknown}},
		"none is nothing":            {risk.Input{Signals: []signal.Signal{told("d1", "unfamiliarFeatures", signal.LevelNone, epoch)}}, 0, 2, signal.LevelNone, []signal.Cause{signal.CauseUnknown}},
		"the clock of the future":    {risk.Input{Signals: []signal.Signal{told("d1", "unlikelyTravel", signal.LevelMedium, epoch.Add(day))}}, 0, 40, signal.LevelMedium, []signal.Cause{signal.CauseUnknown}},
		"spelling is no matter":      {risk.Input{Signals: []signal.Signal{told("d1", "ATTACKERINTHEMIDDLE", signal.LevelLow, epoch)}}, 0, 85, signal.LevelHigh, []signal.Cause{signal.CauseBoth}},
		"a workload's key":           {risk.Input{Signals: []signal.Signal{workload}}, 0, 80, signal.LevelHigh, []signal.Cause{signal.CauseWorkload}},
		"DCSync by its title":        {risk.Input{Signals: []signal.Signal{alert("a1", "Suspected DCSync attack (replication of directory services)", signal.LevelHigh, epoch)}}, 0, 95, signal.LevelHigh, []signal.Cause{signal.CauseDirectory}},
		"confirmed at its source":    {risk.Input{Signals: []signal.Signal{confirmed}}, 0, 70, signal.LevelHigh, []signal.Cause{signal.CauseUnknown}},
		"the account alone":          {risk.Input{Accounts: []signal.AccountRisk{held(signal.LevelMedium, epoch)}}, 0, 40, signal.LevelMedium, nil},
		"the account hides":          {risk.Input{Accounts: []signal.AccountRisk{held(signal.LevelHidden, epoch)}}, 0, 40, signal.LevelMedium, nil},
		"gone accounts":              {risk.Input{Accounts: []signal.AccountRisk{deleted, processed}}, 0, 0, signal.LevelNone, nil},
		"safe closes":                {risk.Input{Signals: []signal.Signal{told("d1", "leakedCredentials", signal.LevelHigh, epoch)}, Accounts: []signal.AccountRisk{held(signal.LevelHigh, epoch)}, Verdict: verdict("safe", epoch)}, 0, 0, signal.LevelNone, nil},
		"benign closes":              {risk.Input{Signals: []signal.Signal{told("d1", "leakedCredentials", signal.LevelHigh, epoch)}, Verdict: verdict("benign", epoch)}, 0, 0, signal.LevelNone, nil},
		"what came after safe":       {risk.Input{Signals: []signal.Signal{told("d1", "leakedCredentials", signal.LevelHigh, epoch.Add(time.Second))}, Verdict: verdict("safe", epoch)}, 0, 80, signal.LevelHigh, []signal.Cause{signal.CausePassword}},
		"compromised is high":        {risk.Input{Signals: []signal.Signal{told("d1", "newCountry", signal.LevelLow, epoch)}, Verdict: verdict("compromised", epoch)}, 0, 70, signal.LevelHigh, []signal.Cause{signal.CauseUnknown}},
		"compromised and remediated": {risk.Input{Signals: []signal.Signal{closed}, Verdict: verdict("compromised", epoch)}, 0, 0, signal.LevelNone, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := risk.Assess(tc.in, epoch.Add(tc.after))
			if got.Score != tc.score || got.Level != tc.level || !slices.Equal(got.Causes, tc.causes) {
				t.Errorf("%d %s %v, want %d %s %v; reasons %+v", got.Score, got.Level, got.Causes, tc.score, tc.level, tc.causes, got.Reasons)
			}
		})
	}
}

// The worked example: two parts of one sign-in, and the next day another product
// at another stage.
func TestCorroboration(t *testing.T) {
	t.Parallel()
	in := risk.Input{Signals: []signal.Signal{
		told("d1", "unfamiliarFeatures", signal.LevelMedium, epoch), told("d2", "anonymizedIPAddress", signal.LevelMedium, epoch),
	}}
	if got := risk.Assess(in, epoch); got.Score != 64 { // 1 - 0.6·0.6
		t.Errorf("one sign-in: %d", got.Score)
	}
	in.Signals = append(in.Signals, alert("a1", "Suspected identity theft (pass-the-hash)", signal.LevelMedium, epoch.Add(24*time.Hour)))
	got := risk.Assess(in, epoch.Add(24*time.Hour))
	// q = 0.40·2^(−1/3), 0.40·2^(−1/7), 0.6; odds ·2 for a second stage and a second product
	if got.Score != 90 || got.Level != signal.LevelHigh {
		t.Errorf("corroborated: %d %s", got.Score, got.Level)
	}
	in.Signals[2].ActivityAt = epoch.Add(25 * time.Hour)
	if late := risk.Assess(in, epoch.Add(25*time.Hour)); late.Score >= got.Score {
		t.Errorf("over a day apart they corroborate: %d", late.Score)
	}
}

// One attack that is told in both of Defender's formats counts once; two attacks
// count twice.
func TestOneAttackInTwoFormatsCountsOnce(t *testing.T) {
	t.Parallel()
	classic := alert("a1", "Suspected identity theft (pass-the-ticket)", signal.LevelMedium, epoch)
	classic.Detector = "2018"
	defender := alert("a2", "Suspected pass-the-ticket attack", signal.LevelMedium, epoch)
	defender.Detector = "xdr_PassTheTicketAttack"
	other := alert("a3", "Suspected identity theft (pass-the-hash)", signal.LevelMedium, epoch)
	score := func(signals ...signal.Signal) int { return risk.Assess(risk.Input{Signals: signals}, epoch).Score }
	if one, both := score(classic), score(classic, defender); one != both {
		t.Errorf("in one format %d, in both %d", one, both)
	}
	if one, two := score(classic), score(classic, other); two <= one {
		t.Errorf("one attack %d, two %d", one, two)
	}
}

func TestReasonsSay(t *testing.T) {
	t.Parallel()
	s := told("d1", "somethingNew", signal.LevelLow, epoch)
	s.Title, s.IP = "Something new", "192.0.2.7"
	a := risk.Assess(risk.Input{Signals: []signal.Signal{s}, Accounts: []signal.AccountRisk{held(signal.LevelHigh, epoch)}}, epoch)
	want := []risk.Reason{
		{Text: "Something new (a kind of signal Cordon does not know; scored by its level) from 192.0.2.7", Points: 15, Source: signal.RiskDetection, Type: "somethingNew", Signal: "d1", At: epoch},
		{Text: "Microsoft Entra ID Protection holds a@corp.example at high (atRisk)", Points: 55},
	}
	if diff := cmp.Diff(want, a.Reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

func drawSignal(t *rapid.T) signal.Signal {
	kinds := []string{"leakedCredentials", "anomalousToken", "unlikelyTravel", "unfamiliarFeatures", "suspiciousAPITraffic", "unheardOf", "Suspected DCSync attack", "suspiciousSendingPatterns"}
	levels := []signal.Level{signal.LevelNone, signal.LevelLow, signal.LevelMedium, signal.LevelHigh, signal.LevelHidden, "unheardOf"}
	s := told(fmt.Sprint("d", rapid.IntRange(0, 99).Draw(t, "id")), rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.SampledFrom(levels).Draw(t, "level"),
		epoch.Add(-time.Duration(rapid.IntRange(0, 400).Draw(t, "hours ago"))*time.Hour))
	if rapid.Bool().Draw(t, "defender") {
		s.Source = signal.DefenderAlert
	}
	s.IP = rapid.SampledFrom([]string{"", "192.0.2.1", "192.0.2.2"}).Draw(t, "ip")
	s.State = rapid.SampledFrom([]signal.State{signal.StateAtRisk, signal.StateConfirmedCompromised, "unheardOf", signal.StateDismissed}).Draw(t, "state")
	return s
}

func drawInput(t *rapid.T) risk.Input {
	in := risk.Input{Tenant: "tenant", Identity: "idn_1", Signals: rapid.SliceOfN(rapid.Custom(drawSignal), 0, 8).Draw(t, "signals")}
	for range rapid.IntRange(0, 2).Draw(t, "accounts") {
		a := held(rapid.SampledFrom([]signal.Level{signal.LevelNone, signal.LevelLow, signal.LevelMedium, signal.LevelHigh, "unheardOf"}).Draw(t, "held"), epoch)
		a.Subject.UPN = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "upn")
		a.State = rapid.SampledFrom([]signal.State{signal.StateAtRisk, signal.StateRemediated}).Draw(t, "state")
		in.Accounts = append(in.Accounts, a)
	}
	if rapid.Bool().Draw(t, "verdict") {
		in.Verdict = risk.Verdict{Word: rapid.SampledFrom([]string{"safe", "benign", "compromised"}).Draw(t, "word"), At: epoch.Add(-time.Duration(rapid.IntRange(0, 400).Draw(t, "verdict hours ago")) * time.Hour)}
	}
	return in
}

// The points add up; no order and no repetition matters; it is never below what
// Microsoft holds; the same input is always the same answer.
func TestAssessLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		in := drawInput(rt)
		a := risk.Assess(in, epoch)
		sum := 0
		for _, r := range a.Reasons {
			if sum += r.Points; r.Points < 0 || r.Text == "" {
				rt.Fatalf("a reason of %d points: %q", r.Points, r.Text)
			}
		}
		if sum != a.Score || a.Score < 0 || a.Score > 100 {
			rt.Fatalf("points sum to %d, the score is %d", sum, a.Score)
		}
		if least := map[signal.Level]int{signal.LevelNone: 0, signal.LevelLow: 20, signal.LevelMedium: 40, signal.LevelHigh: 70}[a.Level]; a.Score < least {
			rt.Fatalf("%s at %d", a.Level, a.Score)
		}
		for _, x := range in.Accounts {
			if x.State.Open() && in.Verdict.Word == "" && a.Level.Rank() < x.Level.Rank() {
				rt.Fatalf("%s, and Microsoft holds %s", a.Level, x.Level)
			}
		}
		other := in
		other.Signals = rapid.Permutation(append(slices.Clone(in.Signals), in.Signals...)).Draw(rt, "signals again")
		other.Accounts = rapid.Permutation(append(slices.Clone(in.Accounts), in.Accounts...)).Draw(rt, "accounts again")
		if diff := cmp.Diff(a, risk.Assess(other, epoch)); diff != "" {
			rt.Fatalf("order or repetition mattered:\n%s", diff)
		}
	})
}

// One more open signal never lowers the score, nor does a higher level.
func TestAssessIsMonotone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		in := drawInput(rt)
		before := risk.Assess(in, epoch)
		more := drawSignal(rt)
		more.State, more.ExternalID = signal.StateAtRisk, "one more"
		in.Signals = append(slices.Clone(in.Signals), more)
		after := risk.Assess(in, epoch)
		if after.Score < before.Score {
			rt.Fatalf("%d fell to %d with %+v", before.Score, after.Score, more)
		}
		raised := slices.Clone(in.Signals)
		raised[len(raised)-1].Level = signal.LevelHigh
		in.Signals = raised
		if high := risk.Assess(in, epoch); high.Score < after.Score {
			rt.Fatalf("%d fell to %d when its level rose", after.Score, high.Score)
		}
	})
}

// After safe or benign nothing that was known before counts.
func TestVerdictCloses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		in := drawInput(rt)
		in.Verdict = risk.Verdict{Word: rapid.SampledFrom([]string{"safe", "benign"}).Draw(rt, "verdict"), At: epoch}
		if a := risk.Assess(in, epoch); a.Score != 0 || len(a.Reasons) != 0 {
			rt.Fatalf("%d after %s: %+v", a.Score, in.Verdict.Word, a.Reasons)
		}
		if risk.Unheard(in) {
			rt.Fatalf("something is unheard after %s", in.Verdict.Word)
		}
	})
}

func TestUnheard(t *testing.T) {
	t.Parallel()
	v := func(w string) risk.Verdict { return risk.Verdict{Word: w, At: epoch} }
	old, fresh := told("d1", "leakedCredentials", signal.LevelHigh, epoch.Add(-time.Hour)), told("d2", "leakedCredentials", signal.LevelHigh, epoch.Add(time.Hour))
	stirred, echo := old, told("d3", "adminConfirmedUserCompromised", signal.LevelHigh, epoch.Add(time.Hour))
	stirred.UpdatedAt = epoch.Add(time.Hour)
	for name, tc := range map[string]struct {
		in   risk.Input
		want bool
	}{
		"nothing":                  {risk.Input{}, false},
		"no verdict":               {risk.Input{Signals: []signal.Signal{old}}, true},
		"no verdict, an account":   {risk.Input{Accounts: []signal.AccountRisk{held(signal.LevelLow, epoch)}}, true},
		"known before safe":        {risk.Input{Signals: []signal.Signal{old}, Verdict: v("safe")}, false},
		"changed after safe":       {risk.Input{Signals: []signal.Signal{stirred}, Verdict: v("safe")}, true},
		"changed after compromise": {risk.Input{Signals: []signal.Signal{stirred}, Verdict: v("compromised")}, false},
		"new after compromise":     {risk.Input{Signals: []signal.Signal{fresh}, Verdict: v("compromised")}, true},
		"the echo of a verdict":    {risk.Input{Signals: []signal.Signal{echo}, Verdict: v("compromised")}, false},
		"an account after safe":    {risk.Input{Accounts: []signal.AccountRisk{held(signal.LevelHigh, epoch.Add(time.Hour))}, Verdict: v("safe")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := risk.Unheard(tc.in); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func BenchmarkAssess(b *testing.B) {
	var in risk.Input
	for n := range 32 {
		in.Signals = append(in.Signals, told(fmt.Sprint(n), strings.Repeat("k", n%5+1), signal.LevelMedium, epoch.Add(-time.Duration(n)*time.Hour)))
	}
	for b.Loop() {
		risk.Assess(in, epoch)
	}
}
