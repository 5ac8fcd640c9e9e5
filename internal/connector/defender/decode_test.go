package defender_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector/defender"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const dcsync = `{"id":"aa1","incidentId":"28","status":"new","severity":"high","serviceSource":"microsoftDefenderForIdentity","detectorId":"2006",
"title":"Suspected DCSync attack (replication of directory services)","mitreTechniques":["T1003.006"],
"createdDateTime":"2026-11-03T02:00:00Z","lastUpdateDateTime":"2026-11-03T02:05:00.5Z","lastActivityDateTime":"2026-11-03T01:59:00Z",
"evidence":[
 {"@odata.type":"#microsoft.graph.security.deviceEvidence","deviceDnsName":"ws1","roles":["source"]},
 {"@odata.type":"#microsoft.graph.security.userEvidence","roles":["destination"],"userAccount":{"accountName":"dc1$","domainName":"corp.example","userSid":"S-1-5-21-1-2-3-1000"}},
 {"@odata.type":"#microsoft.graph.security.userEvidence","roles":["Source"],"userAccount":{"accountName":"svc","domainName":"corp.example","userSid":"S-1-5-21-1-2-3-1107","azureAdUserId":null,"activeDirectoryObjectGuid":"AAAAAAAA-0000-0000-0000-000000000001"}},
 {"@odata.type":"#microsoft.graph.security.brandNewEvidence","x":1}, 7]}`

func TestDecodeFindsWhoDidIt(t *testing.T) {
	t.Parallel()
	s, reason := defender.Decode("t", json.RawMessage(dcsync))
	if reason != "" {
		t.Fatal(reason)
	}
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

func TestDecodeWithoutAnAccount(t *testing.T) {
	t.Parallel()
	_, reason := defender.Decode("t", json.RawMessage(`{"id":"x","title":"y","evidence":[{"ipAddress":"10.0.0.1"}]}`))
	if !strings.Contains(reason, "names no account") {
		t.Errorf("reason = %q", reason)
	}
}

// The published alert pages are read; an alert without an account says so.
func TestDecodePublishedExamples(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	b, err := os.ReadFile(filepath.Join(shared, "data/graph-examples/contrib-alerts_v2-list-res.json"))
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ Value []json.RawMessage }
	if err := json.Unmarshal(b, &body); err != nil {
		t.Fatal(err)
	}
	for n, raw := range body.Value {
		if s, reason := defender.Decode("t", raw); s.ExternalID == "" || s.UpdatedAt.IsZero() || reason != "" && !strings.Contains(reason, "names no account") {
			t.Errorf("alert %d: id %q updated %v: %s", n, s.ExternalID, s.UpdatedAt, reason)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(dcsync))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, reason := defender.Decode("t", b)
		if reason == "" && (s.ExternalID == "" || len(s.Subject.Keys()) == 0 && s.Subject.Name() == "") {
			t.Errorf("read without an id or a subject: %q", b)
		}
	})
}
