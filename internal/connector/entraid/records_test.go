package entraid_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-f47efad2/cordon/internal/connector/connectortest"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/lab/world"
)

func TestDecodeSignIn(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		in   string
		want record.Record
	}{
		"risky and refused": {
			`{"id":"s1","createdDateTime":"2026-11-03T02:00:00Z","userId":"u","userPrincipalName":"a@b","userDisplayName":"Ada","userType":"guest","ipAddress":"203.0.113.7",
			"sessionId":"se","uniqueTokenIdentifier":"tok","status":{"errorCode":53003,"failureReason":"blocked"},"location":{"city":"X","countryOrRegion":"DE"},
			"riskState":"atRisk","riskLevelDuringSignIn":"low","riskLevelAggregated":"high","riskDetail":"none","riskEventTypes_v2":["anomalousToken"],"conditionalAccessStatus":"failure"}`,
			record.Record{
				Type: "interactiveUser", Subject: identity.Ref{Provider: identity.EntraID, Kind: identity.KindGuest, ObjectID: "u", UPN: "a@b", DisplayName: "Ada"},
				Result: record.Failure, Code: "53003", Reason: "blocked", IP: "203.0.113.7", Location: "X, DE", Session: "se", Token: "tok", Access: "failure",
				Risk: &record.Risk{During: "low", Aggregated: "high", State: signal.StateAtRisk, Detail: "none", Types: []string{"anomalousToken"}},
			},
		},
		"interrupted for MFA": {
			`{"id":"s1","createdDateTime":"2026-11-03T02:00:00Z","userId":"u","status":{"errorCode":50074,"failureReason":"Strong Authentication is required."}}`,
			record.Record{
				Type: "interactiveUser", Subject: identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: "u"},
				Result: record.Interrupted, Code: "50074", Reason: "Strong Authentication is required.",
			},
		},
		"an application": {
			`{"id":"s1","createdDateTime":"2026-11-03T02:00:00Z","userId":"","servicePrincipalId":"sp","servicePrincipalName":"App","appId":"ap","signInEventTypes":["managedIdentity"],"status":{"errorCode":0,"failureReason":"Other."}}`,
			record.Record{
				Type: "managedIdentity", Subject: identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: "sp", AppID: "ap", DisplayName: "App"},
				AppID: "ap", Result: record.Success,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, reason := entraid.DecodeSignIn("t", json.RawMessage(c.in))
			if reason != "" || string(got.Raw) != c.in {
				t.Fatalf("%q, raw %q", reason, got.Raw)
			}
			c.want.Tenant, c.want.Source, c.want.ExternalID, c.want.At = "t", record.SignIn, "s1", at
			if d := cmp.Diff(c.want, got, cmpopts.IgnoreFields(record.Record{}, "Raw")); d != "" {
				t.Error(d)
			}
		})
	}
	for _, bad := range []string{`[]`, `{"id":"x"}`, `{"createdDateTime":"2026-11-03T02:00:00Z"}`, `{"id":"x","createdDateTime":"tomorrow"}`} {
		if _, reason := entraid.DecodeSignIn("t", json.RawMessage(bad)); reason == "" {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestDecodeAudit(t *testing.T) {
	t.Parallel()
	in := `{"id":"a1","category":"RoleManagement","result":"success","resultReason":"x","activityDisplayName":"Add member to role","activityDateTime":"2026-11-03T02:00:00Z",
		"loggedByService":"Core Directory","initiatedBy":{"user":{"id":"u","userPrincipalName":"a@b","ipAddress":"203.0.113.7"},"app":null},
		"targetResources":[{"id":"v","type":"User","userPrincipalName":"c@d"},{"id":"r","type":"Role","displayName":"Global Administrator"},{"type":"Other"}]}`
	got, reason := entraid.DecodeAudit("t", json.RawMessage(in))
	if reason != "" {
		t.Fatal(reason)
	}
	want := record.Record{
		Tenant: "t", Source: record.DirectoryAudit, ExternalID: "a1", Type: "Add member to role", Title: "RoleManagement", Result: record.Success, IP: "203.0.113.7",
		At: time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC), App: "Core Directory",
		Subject: identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: "u", UPN: "a@b"},
		Others: []record.Party{
			{Role: "User", Ref: identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: "v", UPN: "c@d"}},
			{Role: "Role", Ref: identity.Ref{Provider: identity.EntraID, ObjectID: "r", DisplayName: "Global Administrator"}},
		},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(record.Record{}, "Raw")); d != "" {
		t.Error(d)
	}
	app := `{"id":"a2","activityDisplayName":"Update user","activityDateTime":"2026-11-03T02:00:00Z","result":"failure","resultReason":"denied","initiatedBy":{"app":{"appId":"ap","servicePrincipalId":"sp","displayName":"Sync"}}}`
	if got, reason = entraid.DecodeAudit("t", json.RawMessage(app)); reason != "" || got.Subject.ObjectID != "sp" || got.Subject.Kind != identity.KindWorkload || got.Result != record.Failure || got.Reason != "denied" {
		t.Errorf("%q %+v", reason, got)
	}
}

// What a sign-in is thought of changes after it happened; reading the risky ones again
// tells it, though the sign-in still carries the old time.
func TestRiskySignInsAreReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := connectortest.NewLab(t, 60, "/signIns")
		who := l.Person(1).UserID
		l.Apply(world.Event{Type: world.EventDetection, User: who, RiskEventType: "anomalousToken", Name: "d"})
		state := func() (states []signal.State) {
			t.Helper()
			for p, err := range (entraid.RiskySignIns{Tenant: tenant(l)}).Pages(t.Context(), "") {
				if err != nil || len(p.Rejects) > 0 {
					t.Fatal(err, p.Rejects)
				}
				for _, r := range p.Records {
					states = append(states, r.Risk.State)
				}
			}
			return states
		}
		if got := state(); len(got) != 1 || got[0] != signal.StateAtRisk {
			t.Fatalf("%v", got)
		}
		time.Sleep(40 * time.Hour)
		if _, err := l.World.UserFeedback(world.Actor{}, world.Dismiss, []string{who}); err != nil {
			t.Fatal(err)
		}
		if got := state(); len(got) != 1 || got[0] != signal.StateDismissed {
			t.Errorf("after the dismissal: %v", got)
		}
		time.Sleep(12 * time.Hour)
		if got := state(); len(got) != 0 {
			t.Errorf("older than two days: %v", got)
		}
	})
}

// Each kind of sign-in is a stream of its own, and each is told as what it is.
func TestSignInsOfEveryKind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := connectortest.NewLab(t, 60, "/signIns")
		names := map[string]bool{}
		for _, kind := range []entraid.SignInKind{entraid.Interactive, entraid.NonInteractive, entraid.ServicePrincipal, entraid.ManagedIdentity} {
			e := world.Event{Type: world.EventSignIn, SignInEventType: string(kind), User: l.Person(1).UserID}
			if kind == entraid.ServicePrincipal || kind == entraid.ManagedIdentity {
				e.User, e.ServicePrincipal = "", l.ServicePrincipal(1).ServicePrincipalID
			}
			want := l.Make(world.SignIns, 3, func(int) { l.Apply(e) })
			source := entraid.SignIns{Tenant: tenant(l), Kind: kind}
			names[string(source.Name())] = true
			var got []string
			for p, err := range source.Pages(t.Context(), "") {
				if err != nil || len(p.Rejects) > 0 {
					t.Fatal(err, p.Rejects)
				}
				for _, r := range p.Records {
					if r.Type != string(kind) || (r.Subject.Kind == identity.KindWorkload) != (e.ServicePrincipal != "") || len(r.Accounts()) == 0 {
						t.Errorf("%s: %+v", kind, r)
					}
					got = append(got, r.ExternalID)
				}
			}
			if d := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare)); d != "" && kind != entraid.Interactive { // the tenant begins with some of those
				t.Errorf("%s: %s", kind, d)
			}
		}
		if len(names) != 4 {
			t.Errorf("names %v", names)
		}
	})
}

// A long way behind, sign-ins are read a slice at a time, each with its own bookmark,
// but for what fits into one page.
func TestSignInsCatchUpBySlices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := connectortest.NewLab(t, 60, "/signIns")
		l.Wire.PageSize(7)
		source := entraid.SignIns{Tenant: tenant(l)}
		var made []string
		for range 20 {
			time.Sleep(8 * time.Hour)
			made = append(made, l.Make(world.SignIns, 1, func(n int) { l.Apply(world.Event{Type: world.EventSignIn, User: l.Person(n).UserID}) })...)
		}
		seen, bookmarks := map[string]bool{}, map[string]bool{}
		for p, err := range source.Pages(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range p.Records {
				seen[r.ExternalID] = true
			}
			bookmarks[string(p.Next)] = true
		}
		for _, id := range made {
			if !seen[id] {
				t.Errorf("%s was not read", id)
			}
		}
		if len(bookmarks) < 6 {
			t.Errorf("%d bookmarks over a week", len(bookmarks))
		}
		l.Wire.PageSize(1000)
		pages := 0
		for p, err := range source.Pages(t.Context(), "") {
			if err != nil || len(p.Records) < len(made) || p.Next == "" {
				t.Fatalf("%d records, cursor %q, %v", len(p.Records), p.Next, err)
			}
			pages++
		}
		if pages != 1 {
			t.Errorf("%d pages where one is enough", pages)
		}
	})
}

func FuzzDecodeRecords(f *testing.F) {
	f.Add([]byte(`{"id":"s","createdDateTime":"2026-11-03T02:00:00Z","status":{"errorCode":1},"signInEventTypes":["x"]}`))
	f.Add([]byte(`{"id":"a","activityDateTime":"2026-11-03T02:00:00Z","targetResources":[{"id":"x"}],"initiatedBy":{"user":{}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, decode := range []func(identity.Tenant, json.RawMessage) (record.Record, string){entraid.DecodeSignIn, entraid.DecodeAudit} {
			if r, reason := decode("t", b); reason == "" && (r.Problem() != "" || string(r.Raw) != string(b)) {
				t.Errorf("read, and cannot be kept: %s: %q", r.Problem(), b)
			}
		}
		if r, reason := entraid.DecodeRiskyWorkload("t", b); reason == "" && len(r.Subject.Keys()) == 0 && len(r.Subject.ObjectID) == 0 {
			t.Errorf("a risk of nobody: %q", b)
		}
		if s, reason := entraid.DecodeAgent("t", b); reason == "" && s.ExternalID == "" {
			t.Errorf("a detection without an id: %q", b)
		}
	})
}

// Every object of the directory is read.
func TestObjectsAreReadWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := connectortest.NewLab(t, 60, "/")
		for kind, of := range map[record.Source]world.Collection{
			record.ServicePrincipal: world.ServicePrincipals, record.Application: world.Applications, record.Device: world.Devices,
			record.Group: world.Groups, record.Policy: world.ConditionalAccessPolicies, record.NamedLocation: world.NamedLocations,
		} {
			source, seen := entraid.Objects{Tenant: tenant(l), Kind: kind}, map[string]bool{}
			if len(source.Permissions()) == 0 || !strings.HasPrefix(string(source.Name()), "entraid.objects/") {
				t.Errorf("%s: %v %s", kind, source.Permissions(), source.Name())
			}
			for p, err := range source.Pages(t.Context(), "") {
				if err != nil || len(p.Rejects) > 0 || p.Next == "" {
					t.Fatalf("%s: %v, %+v", kind, err, p.Rejects)
				}
				for _, r := range p.Records {
					if r.Problem() != "" || r.State == "" || r.Source != kind {
						t.Errorf("%s: %+v", kind, r)
					}
					seen[r.ExternalID] = true
				}
			}
			if len(seen) == 0 || len(seen) != l.World.Count(of) {
				t.Errorf("%s: %d of %d", kind, len(seen), l.World.Count(of))
			}
		}
		if len(entraid.ObjectKinds()) != 6 {
			t.Error("a kind is not tried")
		}
	})
}

func TestDecodeObject(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)
	in := `{"id":"sp1","appId":"ap","displayName":"An app","accountEnabled":false,"servicePrincipalType":"Application","passwordCredentials":[{"keyId":"k"}],
		"owners":[{"@odata.type":"#microsoft.graph.user","id":"u1","userPrincipalName":"a@b"},{"@odata.type":"#microsoft.graph.servicePrincipal","id":"sp2","appId":"x"},{"@odata.type":"#microsoft.graph.user"}]}`
	got, reason := entraid.DecodeObject("t", record.ServicePrincipal, json.RawMessage(in), at)
	want := record.Record{
		Tenant: "t", Source: record.ServicePrincipal, ExternalID: "sp1", Type: "Application", Title: "An app", State: "disabled", AppID: "ap", At: at, UpdatedAt: at,
		Subject: identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: "sp1", AppID: "ap", DisplayName: "An app"},
		Others: []record.Party{
			{Role: "owner", Ref: identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: "u1", UPN: "a@b"}},
			{Role: "owner", Ref: identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: "sp2", AppID: "x"}},
		},
		Raw: json.RawMessage(in),
	}
	if d := cmp.Diff(want, got); reason != "" || d != "" {
		t.Errorf("%q %s", reason, d)
	}
	if _, reason := entraid.DecodeObject("t", record.Device, json.RawMessage(`{"displayName":"x"}`), at); reason == "" {
		t.Error("an object without an id was read")
	}
}
