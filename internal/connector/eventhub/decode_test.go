package eventhub_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/connector/eventhub"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

const tenant identity.Tenant = "11111111-1111-4111-8111-111111111111"

const detection = `{"id":"6a5874ca","requestId":"req-1","correlationId":"cor-1","riskType":"generic","riskEventType":"passwordSpray","riskState":"atRisk",
 "riskLevel":"high","riskDetail":"none","source":"IdentityProtection","detectionTimingType":"offline","activity":"signin","ipAddress":"203.0.113.7",
 "location":{"city":"Lyon","state":"Rhone","countryOrRegion":"FR","geoCoordinates":{"latitude":45.7}},"activityDateTime":"2026-11-03T01:02:03.1234567Z",
 "detectedDateTime":"2026-11-03T02:02:03.1234567Z","lastUpdatedDateTime":"2026-11-03T09:02:03.5Z","userId":"aaaaaaaa-0000-4000-8000-000000000001",
 "userDisplayName":"Robin Vale","userPrincipalName":"robin.vale@corp.example","additionalInfo":"[{\"Key\":\"userAgent\",\"Value\":\"curl/8\"},{\"Key\":\"mitreTechniques\",\"Value\":\"T1110.003\"}]",
 "mitreTechniqueId":"T1110.003"}`

func enveloped(category, properties string) string {
	return fmt.Sprintf(`{"time":"8/22/2022 6:07:16 PM","resourceId":"/tenants/%s/providers/Microsoft.aadiam","operationName":"User Risk Detection","operationVersion":"1.0",
"category":%q,"durationMs":"0","callerIpAddress":"203.0.113.7","correlationId":"6a5874ca","identity":"robin vale","Level":4,"location":"fr","properties":%s}`, tenant, category, properties)
}

func decode(messages ...string) connector.Page {
	d := eventhub.NewDecoder(tenant, nil)
	for n, m := range messages {
		d.Add(json.RawMessage(m), fmt.Sprintf("message %d", n))
	}
	return d.Page()
}

// Whatever the envelope, a detection is the same signal as by Graph.
func TestDetectionIsTheSameByEveryEnvelope(t *testing.T) {
	t.Parallel()
	byGraph, reason := entraid.Decode(tenant, json.RawMessage(detection))
	if reason != "" {
		t.Fatal(reason)
	}
	one := enveloped("UserRiskEvents", detection)
	oddTimes := strings.NewReplacer("T09:02:03.5Z", "T9:02:03.5Z", `"2026-11-03T01:02:03.1234567Z"`, `"2026-11-03T1:02:03.1234567+00:00"`).Replace(one)
	opened := strings.Replace(one, `"[{\"Key\":\"userAgent\",\"Value\":\"curl/8\"},{\"Key\":\"mitreTechniques\",\"Value\":\"T1110.003\"}]"`,
		`[{"Key":"userAgent","Value":"curl/8"},{"Key":"mitreTechniques","Value":"T1110.003"}]`, 1)
	for name, message := range map[string]string{
		"records":         `{"records":[` + one + `]}`,
		"a bare record":   one,
		"an array":        "[" + one + "]",
		"lines":           one + "\n",
		"byte-order mark": "\xef\xbb\xbf" + one,
		"tenantId":        strings.Replace(one, `"operationName"`, `"tenantId":"`+strings.ToUpper(string(tenant))+`","operationName"`, 1),
		"odd times":       oddTimes,
		"opened info":     opened,
		"of a workspace":  strings.Replace(detection, `{"id"`, `{"Type":"AADUserRiskEvents","TenantId":"`+string(tenant)+`","id"`, 1),
		"capitals":        strings.Replace(one, "UserRiskEvents", "USERRISKEVENTS", 1),
	} {
		p := decode(message)
		if len(p.Signals) != 1 || len(p.Rejects) > 0 {
			t.Errorf("%s: %d signals, rejects %+v", name, len(p.Signals), p.Rejects)
			continue
		}
		if s := p.Signals[0]; !s.Same(byGraph) {
			t.Errorf("%s:\n%s", name, cmp.Diff(byGraph, s))
		} else if !json.Valid(s.Raw) || !strings.Contains(string(s.Raw), "mitreTechniqueId") {
			t.Errorf("%s does not keep its record: %s", name, s.Raw)
		}
	}
	if p := decode(one); !strings.Contains(string(p.Signals[0].Raw), `"callerIpAddress":"203.0.113.7"`) {
		t.Errorf("what was around the properties is lost: %s", p.Signals[0].Raw)
	}
}

func TestCategories(t *testing.T) {
	t.Parallel()
	page := decode(
		enveloped("RiskyUsers", `{"id":"aaaaaaaa-0000-4000-8000-000000000001","userDisplayName":"Robin Vale","riskLastUpdatedDateTime":"2026-11-03T7:02:03Z",
			"riskState":"atRisk","riskDetail":"none","riskLevel":"high","isGuest":false,"isDeleted":"True","isProcessing":true}`),
		enveloped("RiskyUsers", `{"id":"aaaaaaaa-0000-4000-8000-000000000002","riskState":"none","riskLevel":"none"}`),
		enveloped("RiskyServicePrincipals", `{"id":"bbbbbbbb-0000-4000-8000-000000000001","appId":"app","displayName":"Payroll","riskLevel":"medium","riskState":"atRisk","riskLastUpdatedDateTime":"2026-11-03T07:02:03Z"}`),
		enveloped("ServicePrincipalRiskEvents", `{"id":"w1","riskEventType":"leakedCredentials","riskLevel":"high","riskState":"atRisk","servicePrincipalId":"bbbbbbbb-0000-4000-8000-000000000001","appId":"app","keyIds":["k"],"lastUpdatedDateTime":"2026-11-03T07:02:03Z"}`),
		enveloped("NonInteractiveUserSIgnInLogs", `{"id":"s1","createdDateTime":"2026-11-03T7:02:03Z","userId":"aaaaaaaa-0000-4000-8000-000000000001","status":{"errorCode":50158}}`),
		enveloped("ServicePrincipalSignInLogs", `{"id":"s2","createdDateTime":"2026-11-03T07:02:03Z","servicePrincipalId":"bbbbbbbb-0000-4000-8000-000000000001","appId":"app"}`),
		enveloped("SignInLogs", `{"id":"s3","userId":"aaaaaaaa-0000-4000-8000-000000000001"}`),
		enveloped("AuditLogs", `{"id":"a1","category":"UserManagement","result":"success","activityDisplayName":"Reset user password","activityDateTime":"2026-11-03T07:02:03+00:00",
			"initiatedBy":{"user":{"id":"aaaaaaaa-0000-4000-8000-000000000001"}},"targetResources":[{"id":"aaaaaaaa-0000-4000-8000-000000000002","type":"User"}]}`),
		enveloped("ProvisioningLogs", `{"id":"p1","correlationId":"c"}`),
	)
	if len(page.Rejects) > 0 {
		t.Fatalf("rejects: %+v", page.Rejects)
	}
	if r := page.Accounts; len(r) != 3 || !r[0].Deleted || !r[0].Processing || r[2].Subject.Kind != identity.KindWorkload {
		t.Errorf("account risks: %+v", r)
	}
	// Without a time of its own, that of the envelope counts.
	sent := time.Date(2022, 8, 22, 18, 7, 16, 0, time.UTC)
	if !page.Accounts[1].UpdatedAt.Equal(sent) {
		t.Errorf("updated at %v, want the envelope's %v", page.Accounts[1].UpdatedAt, sent)
	}
	if s := page.Signals; len(s) != 1 || s[0].Source != signal.WorkloadDetection || s[0].Subject.ObjectID == "" {
		t.Errorf("signals: %+v", s)
	}
	type told struct {
		Source   record.Source
		ID, Type string
		At       time.Time
		Result   record.Result
	}
	var got []told
	for _, r := range page.Records {
		if r.Problem() != "" || !json.Valid(r.Raw) {
			t.Errorf("record %s: %s, %s", r.ExternalID, r.Problem(), r.Raw)
		}
		got = append(got, told{r.Source, r.ExternalID, r.Type, r.At, r.Result})
	}
	at := time.Date(2026, 11, 3, 7, 2, 3, 0, time.UTC)
	want := []told{
		{record.SignIn, "s1", "nonInteractiveUser", at, record.Interrupted},
		{record.SignIn, "s2", "servicePrincipal", at, ""},
		{record.SignIn, "s3", "interactiveUser", sent, ""},
		{record.DirectoryAudit, "a1", "Reset user password", at, record.Success},
		{record.DirectoryLog, "ProvisioningLogs/p1", "ProvisioningLogs", sent, ""},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestBrokenRecordsAreRejectedOneByOne(t *testing.T) {
	t.Parallel()
	good := enveloped("UserRiskEvents", detection)
	for name, c := range map[string]struct{ bad, reason string }{
		"another tenant":  {strings.ReplaceAll(good, string(tenant), "22222222-2222-4222-8222-222222222222"), "belongs to the tenant"},
		"no category":     {`{"time":"2026-11-03T07:02:03Z","properties":{"id":"x"}}`, "without category"},
		"no properties":   {`{"category":"UserRiskEvents","time":"2026-11-03T07:02:03Z"}`, "without category and properties"},
		"properties null": {`{"category":"UserRiskEvents","properties":null}`, "without category and properties"},
		"a number":        {`7`, "no object"},
		"no id":           {enveloped("UserRiskEvents", `{"riskEventType":"x"}`), "without an id"},
		"wrong type":      {enveloped("UserRiskEvents", `{"id":{"a":1}}`), "not a riskDetection"},
		"no time":         {`{"category":"ProvisioningLogs","properties":{"id":"x"}}`, "does not say when"},
	} {
		p := decode(`{"records":[` + good + "," + c.bad + "," + strings.Replace(good, `"id":"6a5874ca"`, `"id":"other"`, 1) + `]}`)
		if len(p.Rejects) != 1 || !strings.Contains(p.Rejects[0].Reason, c.reason) || !strings.HasPrefix(p.Rejects[0].Place, "message 0 record ") || len(p.Rejects[0].Raw) == 0 {
			t.Errorf("%s: rejects %+v, want one that says %q", name, p.Rejects, c.reason)
		}
		if len(p.Signals) != 2 {
			t.Errorf("%s hides others: %d signals", name, len(p.Signals))
		}
	}
}

// Every published example that is one of the categories' objects is read.
func TestSharedExamples(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	for category, files := range map[string][]string{
		"UserRiskEvents":             {"riskdetection-get-beta-res1.json", "riskdetection-list-beta-res1.json"},
		"RiskyUsers":                 {"riskyusers-get-beta-res1.json"},
		"RiskyServicePrincipals":     {"identityprotectionroot-list-riskyserviceprincipals-beta-res1.json"},
		"ServicePrincipalRiskEvents": {"serviceprincipalriskdetection-get-beta-res1.json"},
		"SignInLogs":                 {"signin-list-v10-res1.json", "signin-list-beta-res3.json"},
		"AuditLogs":                  {"directoryaudit-get-v10-res1.json"},
		"AgentRiskEvents":            {"contrib-agentriskdetections-list-res.json"},
	} {
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(shared, "data", "graph-examples", f))
			if err != nil {
				t.Fatal(err)
			}
			var list struct {
				Value json.RawMessage `json:"value"`
			}
			if err := json.Unmarshal(b, &list); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			var objects []json.RawMessage
			if json.Unmarshal(list.Value, &objects) != nil {
				if objects = []json.RawMessage{b}; len(list.Value) > 0 {
					objects = []json.RawMessage{list.Value}
				}
			}
			for _, o := range objects {
				p := decode(`{"records":[` + enveloped(category, string(o)) + `]}`)
				if n := len(p.Signals) + len(p.Accounts) + len(p.Records); n != 1 || len(p.Rejects) > 0 {
					t.Errorf("%s as %s: read %d, rejects %+v", f, category, n, p.Rejects)
				}
			}
		}
	}
}

// What is wrong inside a record's text is kept as it came, and the three clocks are told
// apart in UTC.
func TestMalformedInfoIsKept(t *testing.T) {
	t.Parallel()
	odd := strings.NewReplacer(`"[{\"Key\":\"userAgent\",\"Value\":\"curl/8\"},{\"Key\":\"mitreTechniques\",\"Value\":\"T1110.003\"}]"`, `"[{broken"`,
		"2026-11-03T02:02:03.1234567Z", "2026-11-03T03:02:03+01:00", "2026-11-03T01:02:03.1234567Z", "yesterday").Replace(detection)
	p := decode(enveloped("UserRiskEvents", odd))
	if len(p.Signals) != 1 {
		t.Fatalf("%+v", p)
	}
	s := p.Signals[0]
	if s.InfoRaw != "[{broken" || len(s.Notes) != 2 || !s.ActivityAt.IsZero() || s.DetectedAt.Format(time.RFC3339) != "2026-11-03T02:02:03Z" || s.UpdatedAt.IsZero() {
		t.Errorf("%+v", s)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"records":[` + enveloped("UserRiskEvents", detection) + `]}`))
	f.Add([]byte(enveloped("RiskyUsers", `{"id":"a","riskLastUpdatedDateTime":"2026-11-03T7:02:03Z"}`)))
	f.Add([]byte(enveloped("AdvancedHunting-AlertEvidence", `{"Timestamp":"2026-11-03T07:02:03Z","AlertId":"aa","EntityType":"User","AccountObjectId":"x"}`)))
	f.Add([]byte(`[{"category":"AuditLogs","time":1648651941706,"properties":{}},7]`))
	f.Fuzz(func(t *testing.T, message []byte) {
		d := eventhub.NewDecoder(tenant, nil)
		d.Add(message, "m")
		n := d.Len()
		p := d.Page()
		for _, s := range p.Signals {
			if s.Tenant != tenant || s.ExternalID == "" || !json.Valid(s.Raw) {
				t.Errorf("a signal without tenant, id or record: %+v", s)
			}
		}
		for _, r := range p.Records {
			if r.Problem() != "" || !json.Valid(r.Raw) {
				t.Errorf("a record that cannot be kept: %s: %+v", r.Problem(), r)
			}
		}
		for _, r := range p.Rejects {
			if r.Reason == "" || r.Place == "" {
				t.Errorf("a reject without place or reason: %+v", r)
			}
		}
		if told := len(p.Signals) + len(p.Accounts) + len(p.Records) + len(p.Rejects); told < n {
			t.Errorf("%d of %d records are told", told, n)
		}
		if d.Len() != 0 || len(d.Page().Records) != 0 {
			t.Error("the next page is not empty")
		}
	})
}
