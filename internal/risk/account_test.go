package risk_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

var (
	cloudRef  = identity.Ref{Provider: identity.EntraID, ObjectID: "11111111-0000-4000-8000-000000000001", UPN: "a@corp.example"}
	premRef   = identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1001", SAM: "a", Domain: "corp.example"}
	hybridRef = identity.Ref{ObjectID: cloudRef.ObjectID, SID: premRef.SID, UPN: "a@corp.example", SAM: "a", Domain: "corp.example"}
)

func account(changed time.Time) []identity.Account {
	return []identity.Account{{Ref: cloudRef, Facts: identity.Facts{AsOf: epoch, LastPasswordChange: changed}}}
}

func on(s signal.Signal, ref identity.Ref) signal.Signal { s.Subject = ref; return s }

// Of two accounts the higher one is the identity's, and it is named; another product
// on the other account still corroborates.
func TestHighestAccountDrives(t *testing.T) {
	t.Parallel()
	leak, hash := on(told("d1", "leakedCredentials", signal.LevelHigh, epoch), cloudRef), on(alert("a1", "Suspected identity theft (pass-the-hash)", signal.LevelMedium, epoch), premRef)
	hash.Subject = premRef
	a := risk.Assess(risk.Input{Signals: []signal.Signal{leak, hash}}, epoch)
	if a.Driver() != "Microsoft Entra ID: a@corp.example" || len(a.Accounts) != 2 || a.Accounts[0].Score != a.Score || a.Accounts[1].Score >= a.Score {
		t.Errorf("driver %q of %+v, score %d", a.Driver(), a.Accounts, a.Score)
	}
	one := risk.Assess(risk.Input{Signals: []signal.Signal{leak}}, epoch)
	if a.Score <= one.Score || one.Driver() != "" {
		t.Errorf("alone %d (driver %q), corroborated by the other account %d", one.Score, one.Driver(), a.Score)
	}
	if last := a.Reasons[len(a.Reasons)-1]; !strings.Contains(last.Text, "the highest account counts") || last.Account != `Active Directory: corp.example\a` {
		t.Errorf("the other account's line: %+v", last)
	}
	// A source that names both accounts speaks of both.
	both := risk.Assess(risk.Input{Signals: []signal.Signal{leak, on(hash, hybridRef)}}, epoch)
	if both.Score <= a.Score || len(both.Accounts) != 2 {
		t.Errorf("named together %d, apart %d: %+v", both.Score, a.Score, both.Accounts)
	}
}

// What Microsoft holds for one account is that account's floor.
func TestAccountsFloor(t *testing.T) {
	t.Parallel()
	held := signal.AccountRisk{Subject: cloudRef, Level: signal.LevelHigh, State: signal.StateAtRisk, UpdatedAt: epoch}
	a := risk.Assess(risk.Input{Signals: []signal.Signal{on(alert("a1", "Suspected identity theft (pass-the-hash)", signal.LevelMedium, epoch), premRef)}, Accounts: []signal.AccountRisk{held}}, epoch)
	if a.Driver() != "Microsoft Entra ID: a@corp.example" || a.Score != 70 || a.Level != signal.LevelHigh {
		t.Errorf("%d %s, driver %q, reasons %+v", a.Score, a.Level, a.Driver(), a.Reasons)
	}
	sum := 0
	for _, r := range a.Reasons {
		sum += r.Points
	}
	if sum != a.Score {
		t.Errorf("points sum to %d", sum)
	}
}

// An account known by its GUID alone is the one that another signal names with its
// SID too.
func TestOneAccountUnderTwoKeys(t *testing.T) {
	t.Parallel()
	guid := identity.Ref{Provider: identity.ActiveDirectory, GUID: "22222222-0000-4000-8000-000000000002"}
	full := premRef
	full.GUID = guid.GUID
	x, y := on(alert("a1", "Suspected identity theft (pass-the-hash)", signal.LevelMedium, epoch), guid), on(alert("a2", "Suspected DCSync attack", signal.LevelHigh, epoch), full)
	a := risk.Assess(risk.Input{Signals: []signal.Signal{x, y}}, epoch)
	if len(a.Accounts) != 0 {
		t.Errorf("two accounts: %+v", a.Accounts)
	}
}

func exception() risk.Exception {
	return risk.Exception{ID: "exc_1", Kind: risk.Egress, Name: "west", Ranges: []string{"192.0.2.0/25"}, Owner: "network team", Reason: "our VPN", By: "o", From: epoch.Add(-time.Hour), Until: epoch.Add(time.Hour)}
}

// What Defender for Identity has yet to learn counts for less, by name, and what it does
// not learn is never lowered.
func TestLearning(t *testing.T) {
	t.Parallel()
	x := exception()
	x.Kind, x.Ranges, x.Alerts = risk.Learning, nil, []string{"user and group membership reconnaissance (SAMR)"}
	if err := x.Check(); err != nil {
		t.Fatal(err)
	}
	for title, want := range map[string]bool{"User and Group membership reconnaissance (SAMR)": true, "Security principal reconnaissance (LDAP)": false, "Suspected DCSync attack (replication of directory services)": false} {
		s := alert("a", title, signal.LevelMedium, epoch)
		plain := risk.Assess(risk.Input{Signals: []signal.Signal{s}}, epoch)
		a := risk.Assess(risk.Input{Signals: []signal.Signal{s}, Exceptions: []risk.Exception{x}}, epoch)
		if lowered := len(a.Reasons[0].Lowered) > 0; lowered != want || lowered != (a.Score < plain.Score) || a.Level == signal.LevelNone {
			t.Errorf("%s: score %d, without %d, %+v", title, a.Score, plain.Score, a.Reasons)
		}
	}
	for name, change := range map[string]func(*risk.Exception){
		"too long": func(x *risk.Exception) { x.Until = x.From.Add(62 * 24 * time.Hour) },
		"learns nothing": func(x *risk.Exception) {
			x.Alerts = []string{"Suspected DCSync attack (replication of directory services)"}
		},
		"another kind": func(x *risk.Exception) { x.Kind, x.Ranges = risk.Egress, []string{"192.0.2.0/24"} },
	} {
		x := x
		change(&x)
		if err := x.Check(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExceptionsLowerAndSaySo(t *testing.T) {
	t.Parallel()
	s := on(told("d1", "unlikelyTravel", signal.LevelMedium, epoch), cloudRef)
	s.IP, s.Location = "192.0.2.7", "Bern, BE, CH"
	assess := func(x risk.Exception, s signal.Signal, at time.Time) risk.Assessment {
		return risk.Assess(risk.Input{Identity: "idn_1", Signals: []signal.Signal{s}, Exceptions: []risk.Exception{x}}, at)
	}
	if a := assess(exception(), s, epoch); a.Score != 20 || a.Level != signal.LevelLow || !cmp.Equal(a.Reasons[0].Lowered, []string{"exc_1"}) || !strings.Contains(a.Reasons[0].Text, "network team: our VPN") {
		t.Errorf("covered: %d %s %+v", a.Score, a.Level, a.Reasons)
	}
	for name, tc := range map[string]struct {
		change func(*risk.Exception, *signal.Signal)
		after  time.Duration
		score  int
	}{
		"another address":       {func(_ *risk.Exception, s *signal.Signal) { s.IP = "192.0.2.200" }, 0, 40},
		"over":                  {func(*risk.Exception, *signal.Signal) {}, time.Hour, 40},
		"ended by somebody":     {func(x *risk.Exception, _ *signal.Signal) { x.EndedAt = epoch }, 0, 40},
		"another kind of thing": {func(_ *risk.Exception, s *signal.Signal) { s.Type = "anomalousToken" }, 0, 40},
		"somebody else travels": {func(x *risk.Exception, _ *signal.Signal) { x.Kind, x.Identity, x.Ranges = risk.Traveller, "idn_2", nil }, 0, 40},
		"travels":               {func(x *risk.Exception, _ *signal.Signal) { x.Kind, x.Identity, x.Ranges = risk.Traveller, "idn_1", nil }, 0, 20},
		"travels there": {func(x *risk.Exception, _ *signal.Signal) {
			x.Kind, x.Identity, x.Ranges, x.Countries = risk.Traveller, "idn_1", nil, []string{"ch"}
		}, 0, 20},
		"travels elsewhere": {func(x *risk.Exception, _ *signal.Signal) {
			x.Kind, x.Identity, x.Ranges, x.Countries = risk.Traveller, "idn_1", nil, []string{"FR"}
		}, 0, 40},
		"is being learnt": {func(x *risk.Exception, _ *signal.Signal) { x.Kind, x.Ranges = risk.Learning, nil }, 0, 20},
		"another is being learnt": {func(x *risk.Exception, _ *signal.Signal) {
			x.Kind, x.Ranges, x.Alerts = risk.Learning, nil, []string{"Suspicious sign-ins"}
		}, 0, 40},
		"needs no learning": {func(x *risk.Exception, s *signal.Signal) {
			x.Kind, x.Ranges, s.Type = risk.Learning, nil, "anomalousToken"
		}, 0, 40},
		"a place that needs no learning": {func(x *risk.Exception, s *signal.Signal) {
			x.Kind, x.Ranges, s.Type = risk.Learning, nil, "newCountry"
		}, 0, 40},
		"no address": {func(_ *risk.Exception, s *signal.Signal) { s.IP = "" }, 0, 40},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, s := exception(), s
			tc.change(&x, &s)
			if a := assess(x, s, epoch.Add(tc.after)); a.Score < tc.score-1 || a.Score > tc.score {
				t.Errorf("%d, want %d: %+v", a.Score, tc.score, a.Reasons)
			}
		})
	}
	held := signal.AccountRisk{Subject: cloudRef, Level: signal.LevelMedium, State: signal.StateAtRisk, UpdatedAt: epoch}
	if a := risk.Assess(risk.Input{Signals: []signal.Signal{s}, Exceptions: []risk.Exception{exception()}, Accounts: []signal.AccountRisk{held}}, epoch); a.Level != signal.LevelMedium {
		t.Errorf("below Microsoft's level: %s", a.Level)
	}
}

func TestExceptionCheck(t *testing.T) {
	t.Parallel()
	if err := exception().Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*risk.Exception){
		"no owner":       func(x *risk.Exception) { x.Owner = " " },
		"no reason":      func(x *risk.Exception) { x.Reason = "" },
		"no end":         func(x *risk.Exception) { x.Until = time.Time{} },
		"for ever":       func(x *risk.Exception) { x.Until = x.From.AddDate(10, 0, 0) },
		"no ranges":      func(x *risk.Exception) { x.Ranges = nil },
		"everywhere":     func(x *risk.Exception) { x.Ranges = []string{"0.0.0.0/0"} },
		"no address":     func(x *risk.Exception) { x.Ranges = []string{"192.0.2"} },
		"no kind":        func(x *risk.Exception) { x.Kind = "trusted" },
		"nobody travels": func(x *risk.Exception) { x.Kind, x.Ranges = risk.Traveller, nil },
		"long country":   func(x *risk.Exception) { x.Countries = []string{"Bern"} },
	} {
		x := exception()
		change(&x)
		if err := x.Check(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWeights(t *testing.T) {
	t.Parallel()
	w, err := risk.ParseWeights([]byte(`{"kinds":{"unlikelyTravel":{"prior":0.9,"halfLife":0},"unusual place":{"prior":0.1}},"thresholds":{"low":10,"medium":50,"high":95}}`))
	if err != nil {
		t.Fatal(err)
	}
	in := risk.Input{Signals: []signal.Signal{told("d1", "unlikelyTravel", signal.LevelMedium, epoch)}}
	a := risk.AssessWith(&w, in, epoch.Add(48*time.Hour))
	if a.Score != 90 || a.Level != signal.LevelMedium || a.Rules == risk.Rules || !strings.HasPrefix(a.Rules, risk.Rules) {
		t.Errorf("%d %s %s", a.Score, a.Level, a.Rules)
	}
	if b := risk.AssessWith(&risk.Weights{}, in, epoch); cmp.Diff(risk.Assess(in, epoch), b) != "" {
		t.Error("weights that change nothing changed something")
	}
	in.Accounts = []signal.AccountRisk{{Subject: cloudRef, Level: signal.LevelHigh, State: signal.StateAtRisk, UpdatedAt: epoch}}
	if a := risk.AssessWith(&w, in, epoch); a.Level != signal.LevelHigh {
		t.Errorf("below Microsoft's level: %s", a.Level)
	}
	for _, bad := range []string{``, `[]`, `{"kind":{}}`, `{"kinds":{"nothingKnown":{"prior":1}}}`, `{"kinds":{"unlikelyTravel":{"prior":2}}}`,
		`{"thresholds":{"low":50,"medium":40,"high":70}}`, `{"levels":{"hidden":0.1}}`, `{"corroboration":{"most":-1}}`, `{} {}`} {
		if _, err := risk.ParseWeights([]byte(bad)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzParseWeights(f *testing.F) {
	f.Add([]byte(`{"kinds":{"unlikelyTravel":{"prior":0.9,"floor":"high"}},"levels":{"low":0.3},"corroboration":{"stage":1,"most":9}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := risk.ParseWeights(b)
		if err != nil {
			return
		}
		in := risk.Input{Signals: []signal.Signal{told("d1", "unlikelyTravel", signal.LevelMedium, epoch), told("d2", "leakedCredentials", signal.LevelHigh, epoch)}}
		a := risk.AssessWith(&w, in, epoch)
		sum := 0
		for _, r := range a.Reasons {
			sum += r.Points
		}
		if sum != a.Score || a.Score < 0 || a.Score > 100 {
			t.Errorf("%s: points sum to %d, the score is %d", b, sum, a.Score)
		}
	})
}

func TestSignIns(t *testing.T) {
	t.Parallel()
	at := func(id, kind, request, timing string, l signal.Level, st signal.State) signal.Signal {
		s := told(id, kind, l, epoch)
		s.RequestID, s.Timing, s.State = request, timing, st
		return s
	}
	list := []signal.Signal{
		at("d1", "unfamiliarFeatures", "r1", "realtime", signal.LevelMedium, signal.StateAtRisk),
		at("d2", "anonymizedIPAddress", "r1", "offline", signal.LevelHigh, signal.StateAtRisk),
		at("d3", "unfamiliarFeatures", "r2", "realtime", signal.LevelMedium, signal.StateConfirmedSafe),
		at("d4", "unfamiliarFeatures", "r3", "realtime", signal.LevelLow, signal.StateConfirmedCompromised),
		at("d5", "leakedCredentials", "", "offline", signal.LevelHigh, signal.StateAtRisk),
	}
	got := map[string]string{}
	for _, s := range risk.SignIns(append(list, list...)) {
		got[s.RequestID] = strings.Join([]string{string(s.RealTime), string(s.Aggregate), string(s.State), string(s.Level)}, " ")
	}
	want := map[string]string{
		"r1": "medium high atRisk high",
		"r2": "medium none confirmedSafe none", // feedback changes only the aggregate
		"r3": "low high confirmedCompromised high",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sign-ins (real-time, aggregate, state, ours):\n%s", diff)
	}
}

func TestResiduals(t *testing.T) {
	t.Parallel()
	leak := on(told("d1", "leakedCredentials", signal.LevelHigh, epoch), cloudRef)
	dismissed, reset := leak, leak
	dismissed.State, reset.State = signal.StateDismissed, signal.StateRemediated
	travel := on(told("d2", "unlikelyTravel", signal.LevelMedium, epoch), cloudRef)
	travel.State = signal.StateDismissed
	for name, tc := range map[string]struct {
		s       signal.Signal
		changed time.Time
		v       risk.Verdict
		want    int
	}{
		"dismissed, unchanged":         {dismissed, epoch.Add(-time.Hour), risk.Verdict{}, 1},
		"dismissed, not known":         {dismissed, time.Time{}, risk.Verdict{}, 1},
		"dismissed, changed since":     {dismissed, epoch.Add(time.Hour), risk.Verdict{}, 0},
		"remediated":                   {reset, epoch.Add(-time.Hour), risk.Verdict{}, 0},
		"still open":                   {leak, epoch.Add(-time.Hour), risk.Verdict{}, 0},
		"open, and our verdict closed": {leak, epoch.Add(-time.Hour), risk.Verdict{Word: "benign", At: epoch.Add(time.Minute)}, 1},
		"not about a password":         {travel, epoch.Add(-time.Hour), risk.Verdict{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := risk.Residuals([]signal.Signal{tc.s}, account(tc.changed), tc.v); len(got) != tc.want {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What is hardly likely corroborates nothing, whatever was taken in before it.
func TestWhatIsHardlyLikelyDoesNotCorroborate(t *testing.T) {
	t.Parallel()
	of := func(src signal.Source, id string, ref identity.Ref) signal.Signal {
		return signal.Signal{Tenant: "tenant", Source: src, ExternalID: id, Type: "leakedCredentials", Level: signal.LevelNone, State: signal.StateAtRisk,
			Subject: ref, ActivityAt: epoch, DetectedAt: epoch, UpdatedAt: epoch}
	}
	strong := []signal.Signal{of(signal.RiskDetection, "a", cloudRef), of(signal.RiskDetection, "b", premRef)}
	weak := of(signal.DefenderAlert, "c", cloudRef) // a kind that is not known, of no level
	alone, with := risk.Assess(risk.Input{Tenant: "tenant", Signals: strong}, epoch), risk.Assess(risk.Input{Tenant: "tenant", Signals: append(strong, weak)}, epoch)
	if with.Score != alone.Score || with.Accounts[0].Score != with.Score {
		t.Errorf("the score is %d, without it %d; the accounts' %+v", with.Score, alone.Score, with.Accounts)
	}
}

// Several accounts, exceptions and any order: the points sum, the highest account is
// the identity's, and it stays the same number.
func TestAssessLawsOverAccounts(t *testing.T) {
	t.Parallel()
	refs := []identity.Ref{cloudRef, premRef, hybridRef, {GUID: "22222222-0000-4000-8000-000000000002"}}
	rapid.Check(t, func(rt *rapid.T) {
		in := drawInput(rt)
		for n := range in.Signals {
			in.Signals[n].Subject = rapid.SampledFrom(refs).Draw(rt, "ref")
		}
		for n := range in.Accounts {
			in.Accounts[n].Subject = rapid.SampledFrom(refs).Draw(rt, "account ref")
		}
		if rapid.Bool().Draw(rt, "except") {
			in.Exceptions = []risk.Exception{exception()}
		}
		a := risk.Assess(in, epoch)
		sum := 0
		for _, r := range a.Reasons {
			if sum += r.Points; r.Points < 0 {
				rt.Fatalf("a reason of %d points", r.Points)
			}
		}
		if sum != a.Score {
			rt.Fatalf("points sum to %d, the score is %d", sum, a.Score)
		}
		for n, acc := range a.Accounts {
			if acc.Score > a.Score || n == 0 && acc.Score != a.Score {
				rt.Fatalf("the score is %d, the accounts' %+v", a.Score, a.Accounts)
			}
		}
		other := in
		other.Signals = rapid.Permutation(append(in.Signals[:len(in.Signals):len(in.Signals)], in.Signals...)).Draw(rt, "again")
		if diff := cmp.Diff(a, risk.Assess(other, epoch)); diff != "" {
			rt.Fatalf("order or repetition mattered:\n%s", diff)
		}
	})
}
