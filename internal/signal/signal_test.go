package signal_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/signal"
)

var epoch = time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)

func TestFromSeverity(t *testing.T) {
	t.Parallel()
	for severity, want := range map[string]signal.Level{
		"informational": signal.LevelLow, "low": signal.LevelLow, "Medium": signal.LevelMedium, "HIGH": signal.LevelHigh,
		"unknown": signal.LevelHidden, "unknownFutureValue": signal.LevelHidden, "": signal.LevelHidden,
	} {
		if got := signal.FromSeverity(severity); got != want {
			t.Errorf("%q: %s, want %s", severity, got, want)
		}
	}
}

// Unknown is not safe: what nobody has heard of is open, and ranks as medium.
func TestUnknownIsNotSafe(t *testing.T) {
	t.Parallel()
	for l, want := range map[signal.Level]int{
		"": 0, signal.LevelNone: 0, signal.LevelLow: 1, signal.LevelMedium: 2, signal.LevelHigh: 3, signal.LevelHidden: 2, "unknownFutureValue": 2,
	} {
		if got := l.Rank(); got != want {
			t.Errorf("level %q ranks %d, want %d", l, got, want)
		}
	}
	for s, want := range map[signal.State]bool{
		signal.StateNone: false, signal.StateRemediated: false, signal.StateDismissed: false, signal.StateConfirmedSafe: false, "resolved": false,
		signal.StateAtRisk: true, signal.StateConfirmedCompromised: true, "new": true, "inProgress": true, "unknownFutureValue": true, "": true,
	} {
		if got := s.Open(); got != want {
			t.Errorf("state %q is open: %v", s, got)
		}
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	s := signal.Signal{UpdatedAt: epoch.Add(2 * time.Hour)}
	if !s.At().Equal(s.UpdatedAt) {
		t.Error("only the update is known")
	}
	if s.DetectedAt = epoch.Add(time.Hour); !s.At().Equal(s.DetectedAt) {
		t.Error("the detection comes before the update")
	}
	if s.ActivityAt = epoch; !s.At().Equal(epoch) {
		t.Error("the activity comes first")
	}
	if p := (signal.Signal{Source: signal.DefenderAlert}).Source.Product(); p != "defender" {
		t.Errorf("product %q", p)
	}
}

func drawVersion(t *rapid.T) signal.Signal {
	zone := rapid.SampledFrom([]*time.Location{time.UTC, time.FixedZone("", 3600)}).Draw(t, "zone")
	s := signal.Signal{
		Tenant: "tenant", Source: signal.RiskDetection, ExternalID: "d1", Type: "generic",
		Level:     rapid.SampledFrom([]signal.Level{signal.LevelLow, signal.LevelMedium, signal.LevelHidden, signal.LevelHigh}).Draw(t, "level"),
		State:     rapid.SampledFrom([]signal.State{signal.StateAtRisk, signal.StateDismissed, signal.StateRemediated}).Draw(t, "state"),
		Detail:    rapid.SampledFrom([]string{"", "none", "hidden"}).Draw(t, "detail"),
		UpdatedAt: epoch.Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "update")) * time.Second).In(zone),
	}
	if rapid.Bool().Draw(t, "raw") {
		s.Raw = json.RawMessage(rapid.SampledFrom([]string{`{"a":1}`, `{"a":2}`, `{broken`}).Draw(t, "text"))
	}
	return s
}

// Newer is a strict order in which two versions that differ always have one that
// is newer: it does not matter which comes first.
func TestNewerIsAStrictTotalOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		a, b, c := drawVersion(rt), drawVersion(rt), drawVersion(rt)
		if a.Newer(a) {
			rt.Fatal("newer than itself")
		}
		if a.Newer(b) && b.Newer(a) {
			rt.Fatal("each newer than the other")
		}
		if a.Newer(b) && b.Newer(c) && !a.Newer(c) {
			rt.Fatal("not transitive")
		}
		same := cmp.Equal(a, b) // instants are compared as instants
		if same == (a.Newer(b) || b.Newer(a)) {
			rt.Fatalf("same %v, and newer %v %v", same, a.Newer(b), b.Newer(a))
		}
		if a.UpdatedAt.Equal(b.UpdatedAt) && !a.State.Open() && b.State.Open() && !a.Newer(b) {
			rt.Fatal("within one tick the version that closes wins")
		}
	})
}

func TestAccountRiskNewer(t *testing.T) {
	t.Parallel()
	base := signal.AccountRisk{Level: signal.LevelLow, State: signal.StateAtRisk, Processing: true, UpdatedAt: epoch}
	later, settled, closed, higher := base, base, base, base
	later.UpdatedAt = epoch.Add(time.Second)
	settled.Processing, closed.State, higher.Level = false, signal.StateDismissed, signal.LevelHigh
	for name, newer := range map[string]signal.AccountRisk{"later": later, "settled": settled, "closed": closed, "higher": higher} {
		if !newer.Newer(base) || base.Newer(newer) || newer.Newer(newer) {
			t.Errorf("%s: not the newer one", name)
		}
	}
}

func TestFeedback(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]bool{"adminConfirmedUserCompromised": true, "AdminConfirmedServicePrincipalCompromised": true, "leakedCredentials": false} {
		if got := (signal.Signal{Type: kind}).Feedback(); got != want {
			t.Errorf("%s is feedback: %v", kind, got)
		}
	}
}

func TestParseInfo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want string // the pairs as JSON
		raw  string
	}{
		"empty":         {"", "null", ""},
		"null":          {" null ", "null", ""},
		"no pairs":      {"[]", "null", ""},
		"documented":    {`[{"Key":"userAgent","Value":"curl"},{"Key":"alertUrl","Value":null},{"Key":"mitreTechniques","Value":["T1078"]}]`, `[{"key":"userAgent","value":"curl"},{"key":"alertUrl","value":null},{"key":"mitreTechniques","value":["T1078"]}]`, ""},
		"no value":      {`[{"Key":"k"}]`, `[{"key":"k","value":null}]`, ""},
		"a key twice":   {`[{"Key":"k","Value":1},{"Key":"k","Value":2}]`, `[{"key":"k","value":1},{"key":"k","value":2}]`, ""},
		"malformed":     {`[{"Key":"k",`, "null", `[{"Key":"k",`},
		"an object":     {`{"Key":"k"}`, "null", `{"Key":"k"}`},
		"a pair of no":  {`[{"Value":1}]`, "null", `[{"Value":1}]`},
		"more follows":  {`[] []`, "null", `[] []`},
		"kept as it is": {"\t oops \n", "null", "\t oops \n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info, raw := signal.ParseInfo(tc.text)
			got, err := json.Marshal(info)
			if err != nil || string(got) != tc.want || raw != tc.raw {
				t.Errorf("%s, raw %q, %v", got, raw, err)
			}
		})
	}
}

func TestInfoString(t *testing.T) {
	t.Parallel()
	info, _ := signal.ParseInfo(`[{"Key":"a","Value":"x"},{"Key":"b","Value":["x"]},{"Key":"c","Value":null}]`)
	s := signal.Signal{Info: info}
	for key, want := range map[string]string{"a": "x", "b": "", "c": "", "d": ""} {
		if got, ok := s.InfoString(key); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v", key, got, ok)
		}
	}
}

// Nothing is lost and nothing fails: the text comes back as pairs or whole.
func FuzzParseInfo(f *testing.F) {
	for _, seed := range []string{"", "null", "[]", `[{"Key":"k","Value":"v"}]`, `[{"Key":"k","Value":[1,{"a":null}]}]`, `[{"key":"k"}]`, `{`, "[null]", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		info, raw := signal.ParseInfo(text)
		if raw != "" && (raw != text || info != nil) {
			t.Fatalf("%q came back as %q and %d pairs", text, raw, len(info))
		}
		if raw == "" && info == nil {
			if s := strings.TrimSpace(text); s != "" && s != "null" && strings.Trim(s, "[] \t\r\n") != "" {
				t.Fatalf("%q was lost", text)
			}
		}
		if _, err := json.Marshal(signal.Signal{Info: info, InfoRaw: raw}); err != nil {
			t.Fatalf("what was read cannot be stored: %v", err)
		}
	})
}
