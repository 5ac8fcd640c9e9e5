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

// Each query names the accounts by what Defender knows them by, has the older name of a
// renamed table beside the new one, and what came from outside cannot leave its literal.
func TestHuntingPack(t *testing.T) {
	t.Parallel()
	who := identity.Identity{Kind: identity.KindPerson, Accounts: []identity.Account{
		{Ref: identity.Ref{ObjectID: "00000000-0000-4000-9000-000000000001", UPN: "a\") or (\"\" == \"\\\n| take 1"}}, {Ref: identity.Ref{SID: "S-1-5-21-1-2-3-1105"}},
	}}
	g := at("unfamiliarFeatures", epoch)
	g.IP = "203.0.113.7"
	odd := g
	odd.IP = "\" or true"
	byName := map[string]casefile.Query{}
	for _, q := range casefile.HuntingPack(who, []signal.Signal{g, odd, g}, epoch) {
		byName[q.Name] = q
		if _, rest, ok := strings.Cut(q.Text, q.Table+"\n"); !ok || rest == "" || q.Asks == "" {
			t.Errorf("%s does not read %s:\n%s", q.Name, q.Table, q.Text)
		}
		if (q.Before != "") != strings.HasPrefix(q.Table, "EntraId") {
			t.Errorf("%s: before it was %q", q.Name, q.Before)
		}
		if q.Before != "" && q.Text != strings.Replace(q.Before, "AADSignInEventsBeta", "EntraIdSignInEvents", 1) {
			t.Errorf("%s asks something else under the older name:\n%s", q.Name, q.Before)
		}
	}
	for name, want := range map[string]string{
		"sign-ins": `AccountObjectId in~ ("00000000-0000-4000-9000-000000000001")`, "others from the same addresses": `IPAddress in ("203.0.113.7")`,
		"reconnaissance":                `or AccountSid in~ ("S-1-5-21-1-2-3-1105")`,
		"changes in Active Directory":   `TargetAccountUpn in~ ("a\") or (\"\" == \"\\?| take 1")`,
		"paths to sensitive identities": `dynamic(["00000000-0000-4000-9000-000000000001", "S-1-5-21-1-2-3-1105"])`,
		"mailbox":                       "UpdateInboxRules", "alerts": "AlertInfo", "calls of Microsoft Graph": "RequestUri", "logons in Active Directory": "Protocol",
	} {
		if !strings.Contains(byName[name].Text, want) {
			t.Errorf("%s has no %s:\n%s", name, want, byName[name].Text)
		}
	}
	if !strings.Contains(byName["paths to sensitive identities"].Limits, "SAM-R in 2025") {
		t.Error("the paths do not say what they lack")
	}
	// Whatever ends a line, turns the text or is not seen does not stand in a literal.
	hostile := who
	hostile.Accounts = []identity.Account{{Ref: identity.Ref{ObjectID: who.Accounts[0].ObjectID, UPN: "a\u2028b\u2029c\u0085d\u202ee\u200bf\rg\x00h é"}}}
	for _, q := range casefile.HuntingPack(hostile, nil, epoch) {
		if q.Table == "IdentityDirectoryEvents" && !strings.Contains(q.Text, `TargetAccountUpn in~ ("a?b?c?d?e?f?g?h é")`) {
			t.Errorf("a hostile name: %q", q.Text)
		}
	}
	workload := identity.Identity{Kind: identity.KindWorkload, Accounts: who.Accounts[:1]}
	if list := casefile.HuntingPack(workload, nil, epoch); len(list) != 3 || !strings.HasPrefix(list[0].Before, "AADSpnSignInEventsBeta\n") {
		t.Errorf("a workload: %+v", list)
	}
	if list := casefile.HuntingPack(identity.Identity{}, []signal.Signal{g}, epoch); list != nil {
		t.Errorf("nobody: %+v", list)
	}
	if casefile.Reach(epoch, epoch.Add(30*24*time.Hour)) != "" || casefile.Reach(epoch, epoch.Add(31*24*time.Hour)) == "" {
		t.Error("what lies before the thirty days is not told")
	}
}
