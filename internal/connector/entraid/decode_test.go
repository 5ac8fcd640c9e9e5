package entraid_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func TestDecodeKeepsWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in     string
		reason string // contained in the reason; empty: it must be read
		check  func(t *testing.T, s signal.Signal)
	}{
		"unheard-of type and level": {
			in: `{"id":"a","riskEventType":"brandNew","riskLevel":"extreme","riskState":"brandNewState","userId":"u","lastUpdatedDateTime":"2026-11-03T02:00:00Z"}`,
			check: func(t *testing.T, s signal.Signal) {
				if s.Level != "extreme" || s.Level.Rank() != 2 || !s.State.Open() || s.Type != "brandNew" {
					t.Errorf("unknown words were dropped or made harmless: %+v", s)
				}
			},
		},
		"older synonym riskType": {
			in:    `{"id":"a","riskType":"leakedCredentials","riskLevel":"high","userId":"u"}`,
			check: func(t *testing.T, s signal.Signal) { equal(t, "leakedCredentials", s.Type) },
		},
		"malformed date": {
			in: `{"id":"a","riskEventType":"x","detectedDateTime":"2021-10-26T16:28:17.8202975Z)","activityDateTime":"2026-11-03T02:00:00.1234567Z","userId":"u"}`,
			check: func(t *testing.T, s signal.Signal) {
				if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "detectedDateTime") || !s.DetectedAt.IsZero() || s.UpdatedAt != s.ActivityAt {
					t.Errorf("notes %q, detected %v, updated %v", s.Notes, s.DetectedAt, s.UpdatedAt)
				}
			},
		},
		"additionalInfo with array and null": {
			in: `{"id":"a","userId":"u","additionalInfo":"[{\"Key\":\"riskReasons\",\"Value\":[\"UnfamiliarASN\"]},{\"Key\":\"alertUrl\",\"Value\":null},{\"Key\":\"mitreTechniques\",\"Value\":\"T1090.003,T1078\"}]"}`,
			check: func(t *testing.T, s signal.Signal) {
				equal(t, 3, len(s.Info))
				equal(t, []string{"T1090.003", "T1078"}, s.Techniques)
			},
		},
		"additionalInfo that is no JSON": {
			in: `{"id":"a","userId":"u","additionalInfo":"[{\"Key\":"}`,
			check: func(t *testing.T, s signal.Signal) {
				equal(t, `[{"Key":`, s.InfoRaw)
				equal(t, 1, len(s.Notes))
			},
		},
		"location null":       {in: `{"id":"a","userId":"u","location":null}`, check: func(t *testing.T, s signal.Signal) { equal(t, "", s.Location) }},
		"without an id":       {in: `{"userId":"u"}`, reason: "without an id"},
		"an array":            {in: `[]`, reason: "not a riskDetection"},
		"a number for a text": {in: `{"id":7}`, reason: "not a riskDetection"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, reason := entraid.Decode("t", json.RawMessage(c.in))
			if c.reason != "" {
				if !strings.Contains(reason, c.reason) {
					t.Errorf("reason = %q, want %q in it", reason, c.reason)
				}
				return
			}
			if reason != "" {
				t.Fatalf("refused: %s", reason)
			}
			if string(s.Raw) != c.in {
				t.Error("the raw record is not kept whole")
			}
			c.check(t, s)
		})
	}
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Every published riskDetection example is read.
func TestDecodePublishedExamples(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	files, err := filepath.Glob(filepath.Join(shared, "data/graph-examples/*iskdetection*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples under %s: %v", shared, err)
	}
	read := 0
	for _, f := range files {
		if strings.Contains(f, "serviceprincipal") || strings.Contains(f, "agent") || strings.Contains(f, "-req") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Value json.RawMessage }
		if err := json.Unmarshal(b, &body); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		items := []json.RawMessage{body.Value}
		if strings.HasPrefix(strings.TrimSpace(string(body.Value)), "[") {
			if err := json.Unmarshal(body.Value, &items); err != nil {
				t.Fatal(err)
			}
		} else if body.Value == nil {
			items = []json.RawMessage{b}
		}
		for _, raw := range items {
			if _, reason := entraid.Decode("t", raw); reason != "" {
				t.Errorf("%s: %s", filepath.Base(f), reason)
			}
			read++
		}
	}
	if read < 2 {
		t.Errorf("only %d examples were read", read)
	}
}

func TestDecodeWorkload(t *testing.T) {
	t.Parallel()
	in := `{"id":"w1","riskEventType":"suspiciousSignins","riskLevel":"high","riskState":"atRisk","servicePrincipalId":"sp1","servicePrincipalDisplayName":"An app",
		"appId":"app1","keyIds":["k1","k2"],"additionalInfo":"[{\"Key\":\"alertUrl\",\"Value\":null}]","lastUpdatedDateTime":"2026-11-03T02:00:00Z"}`
	s, reason := entraid.DecodeWorkload("t", json.RawMessage(in))
	if reason != "" {
		t.Fatal(reason)
	}
	equal(t, signal.WorkloadDetection, s.Source)
	equal(t, identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: "sp1", AppID: "app1", DisplayName: "An app"}, s.Subject)
	equal(t, []signal.KV{{Key: "alertUrl", Value: json.RawMessage("null")}, {Key: "keyIds", Value: json.RawMessage(`["k1","k2"]`)}}, s.Info)
	for _, bad := range []string{`[]`, `{"servicePrincipalId":"sp1"}`, `{"id":1}`} {
		if _, reason := entraid.DecodeWorkload("t", json.RawMessage(bad)); reason == "" {
			t.Errorf("%s was read", bad)
		}
	}
}

func FuzzDecodeWorkload(f *testing.F) {
	f.Add([]byte(`{"id":"w1","keyIds":["k"],"servicePrincipalId":"s","additionalInfo":"[]"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, reason := entraid.DecodeWorkload("t", b)
		if reason == "" && (s.ExternalID == "" || string(s.Raw) != string(b)) {
			t.Errorf("read without an id or without its raw record: %q", b)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"a","riskEventType":"leakedCredentials","riskLevel":"high","additionalInfo":"[]","location":{"city":"x"},"lastUpdatedDateTime":"2026-11-03T02:00:00.1234567Z"}`))
	f.Add([]byte(`{"id":"a","additionalInfo":"[{\"Key\":\"k\",\"Value\":null}]"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, reason := entraid.Decode("t", b)
		if reason == "" && (s.ExternalID == "" || string(s.Raw) != string(b)) {
			t.Errorf("read without an id or without its raw record: %q", b)
		}
	})
}
