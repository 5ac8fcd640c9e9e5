package defender_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/defender"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

const dcsync = `{"id":"aa1","incidentId":"28","status":"new","severity":"high","serviceSource":"microsoftDefenderForIdentity","detectorId":"2006",
"title":"Suspected DCSync attack (replication of directory services)","mitreTechniques":["T1003.006"],
"createdDateTime":"2026-11-03T02:00:00Z","lastUpdateDateTime":"2026-11-03T02:05:00.5Z","lastActivityDateTime":"2026-11-03T01:59:00Z",
"evidence":[
 {"@odata.type":"#microsoft.graph.security.deviceEvidence","deviceDnsName":"ws1","roles":["source"]},
 {"@odata.type":"#microsoft.graph.security.userEvidence","roles":["destination"],"userAccount":{"accountName":"dc1$","domainName":"corp.example","userSid":"S-1-5-21-1-2-3-1000"}},
 {"@odata.type":"#microsoft.graph.security.userEvidence","roles":["Source"],"userAccount":{"accountName":"svc","domainName":"corp.example","userSid":"S-1-5-21-1-2-3-1107","azureAdUserId":null,"activeDirectoryObjectGuid":"AAAAAAAA-0000-0000-0000-000000000001"}},
 {"@odata.type":"#microsoft.graph.security.brandNewEvidence","x":1}, 7]}`

// only decodes an alert that is about one account.
func only(t *testing.T, raw string) signal.Signal {
	t.Helper()
	told, reason := defender.Decode("t", json.RawMessage(raw), false)
	if reason != "" || len(told.Signals) != 1 || len(told.Records) != 0 {
		t.Fatalf("%d signals, %d records, %q", len(told.Signals), len(told.Records), reason)
	}
	return told.Signals[0]
}

func TestDecodeFindsWhoDidIt(t *testing.T) {
	t.Parallel()
	s := only(t, dcsync)
	want := identity.Ref{
		Provider: identity.ActiveDirectory, Kind: identity.KindPerson, SID: "S-1-5-21-1-2-3-1107",
		GUID: "AAAAAAAA-0000-0000-0000-000000000001", SAM: "svc", Domain: "corp.example",
	}
	if d := cmp.Diff(want, s.Subject); d != "" {
		t.Errorf("subject: %s", d)
	}
	if len(s.Others) != 1 || s.Others[0].Kind != identity.KindComputer {
		t.Errorf("others = %+v, want the computer account", s.Others)
	}
	if len(s.Notes) != 1 {
		t.Errorf("notes = %q, want one for the evidence that is no object", s.Notes)
	}
	if s.Detector != "2006" {
		t.Errorf("detector = %q", s.Detector)
	}
}

// user is evidence of a person, with its roles.
func user(id string, roles ...string) string {
	list, _ := json.Marshal(roles)
	return `{"@odata.type":"#microsoft.graph.security.userEvidence","roles":` + string(list) + `,"userAccount":{"azureAdUserId":"` + id + `","displayName":"` + id + `"}}`
}

func alertOf(service string, evidence ...string) string {
	return `{"id":"aa1","title":"T","severity":"high","status":"new","incidentId":"7","serviceSource":"` + service + `","createdDateTime":"2026-11-03T02:00:00Z",
		"lastUpdateDateTime":"2026-11-03T02:05:00Z","evidence":[` + strings.Join(evidence, ",") + `]}`
}

// An alert is a signal for each account that it says is at risk, and for no other.
func TestDecodeSeveralSubjects(t *testing.T) {
	t.Parallel()
	const app = `{"@odata.type":"#microsoft.graph.security.servicePrincipalEvidence","roles":["compromised"],"servicePrincipalObjectId":"sp","servicePrincipalName":"An app","appId":"ap"}`
	const host = `{"@odata.type":"#microsoft.graph.security.userEvidence","roles":["source"],"userAccount":{"accountName":"ws1$","userSid":"S-1-5-21-1-2-3-1000"}}`
	for name, c := range map[string]struct {
		in      string
		want    []string // ids and subjects of the signals
		others  int      // of each
		records int
	}{
		"all that are compromised": {alertOf("microsoftDefenderForIdentity", user("a", "compromised"), user("b", "attacked"), user("c", "Compromised"), user("a", "compromised")), []string{"aa1 a", "aa1#c c"}, 2, 0},
		"attackers too":            {alertOf("microsoftDefenderForIdentity", user("a", "attacker"), user("b", "compromised"), user("c", "source")), []string{"aa1 a", "aa1#b b"}, 2, 0},
		"sources when nobody acts": {alertOf("microsoft365Defender", user("a", "source"), user("b", "attacked"), host), []string{"aa1 a"}, 2, 0},
		"an application":           {alertOf("microsoftCloudAppSecurity", app, user("a", "contextual")), []string{"aa1 sp"}, 1, 0},
		"a computer alone":         {alertOf("microsoftDefenderForIdentity", host), []string{"aa1 S-1-5-21-1-2-3-1000"}, 0, 0},
		"no roles at all":          {alertOf("microsoftDefenderForIdentity", user("a"), user("b")), []string{"aa1 a"}, 1, 0},
		"no roles, other product":  {alertOf("microsoft365Defender", user("a"), user("b")), nil, 0, 1},
		"another product":          {alertOf("microsoftDefenderForEndpoint", user("a", "compromised")), nil, 0, 1},
		"told by the detections":   {alertOf("azureAdIdentityProtection", user("a", "compromised")), nil, 0, 1},
		"nobody":                   {alertOf("microsoftDefenderForIdentity", `{"ipAddress":"10.0.0.1"}`), nil, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told, reason := defender.Decode("t", json.RawMessage(c.in), false)
			if reason != "" {
				t.Fatal(reason)
			}
			var got []string
			for _, s := range told.Signals {
				got = append(got, s.ExternalID+" "+s.Subject.Keys()[0].Value)
				if len(s.Others) != c.others || s.IncidentID != "7" || string(s.Raw) != c.in {
					t.Errorf("%s: %d others, incident %q", s.ExternalID, len(s.Others), s.IncidentID)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" || len(told.Records) != c.records {
				t.Errorf("%d records; %s", len(told.Records), d)
			}
			for _, r := range told.Records {
				if p := r.Problem(); p != "" || r.State != "new" || r.CorrelationID != "7" || string(r.Raw) != c.in {
					t.Errorf("%s: %+v", p, r)
				}
			}
		})
	}
	told, _ := defender.Decode("t", json.RawMessage(alertOf("azureAdIdentityProtection", user("a", "compromised"))), true)
	if len(told.Signals) != 1 {
		t.Error("whose detections nobody reads: no signal")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(dcsync))
	f.Fuzz(func(t *testing.T, b []byte) {
		told, reason := defender.Decode("t", b, true)
		if reason == "" && len(told.Signals)+len(told.Records) == 0 {
			t.Errorf("read, and nothing is left of it: %q", b)
		}
		ids := map[string]bool{}
		for _, s := range told.Signals {
			if s.ExternalID == "" || len(s.Subject.Keys()) == 0 && s.Subject.Name() == "" || ids[s.ExternalID] {
				t.Errorf("read without an id of its own or a subject: %q", b)
			}
			ids[s.ExternalID] = true
		}
	})
}

// Only sensors on domain controllers change accounts; one that does not say where it
// is may.
func TestSensorsThatAct(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"id":"1","displayName":"DC1","domainName":"Corp.example","sensorType":"domainControllerIntegrated"}`: "corp.example",
		`{"id":"1","displayName":"DC1","domainName":"corp.example","sensorType":"domainControllerStandalone"}`: "corp.example",
		`{"id":"1","displayName":"FS1","domainName":"corp.example","sensorType":"adfsIntegrated"}`:             "",
		`{"id":"1","displayName":"CA1","domainName":"corp.example","sensorType":"adcsIntegrated"}`:             "",
		`{"id":"1","displayName":"CS1","domainName":"corp.example","sensorType":"adConnectIntegrated"}`:        "",
		`{"id":"1","displayName":"DC1","sensorType":"domainControllerIntegrated"}`:                             connector.AnyDomain,
		`{"id":"1","displayName":"DC1","domainName":"corp.example","sensorType":"unknownFutureValue"}`:         "corp.example",
	} {
		if _, r, reason := defender.DecodeSensor("t", []byte(text), time.Now()); reason != "" || r.Acts != want {
			t.Errorf("%s: acts in %q, want %q (%s)", text, r.Acts, want, reason)
		}
	}
}
