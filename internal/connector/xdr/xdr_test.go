package xdr_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/xdr"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

const tenant identity.Tenant = "11111111-1111-4111-8111-111111111111"

func row(table, properties string) string {
	return fmt.Sprintf(`{"time":"2026-11-03T07:05:00.1Z","tenantId":%q,"operationName":"Publish","category":"AdvancedHunting-%s","Tenant":"DefaultTenant","properties":%s}`, tenant, table, properties)
}

func decode(objects ...string) connector.Page {
	d := xdr.NewDecoder(tenant, nil)
	for n, o := range objects {
		d.Add(json.RawMessage(o), fmt.Sprintf("file record %d", n+1))
	}
	return d.Page()
}

// The rows of one alert about a domain account that attacked a server's.
var alertRows = []string{
	row("AlertInfo", `{"Timestamp":"2026-11-03T07:00:00Z","AlertId":"aa1","Title":"Suspected DCSync attack (replication of directory services)","Category":"CredentialAccess",
		"Severity":"High","ServiceSource":"Microsoft Defender for Identity","DetectionSource":"Microsoft Defender for Identity","AttackTechniques":"[\"DCSync (T1003.006)\"]"}`),
	row("AlertEvidence", `{"Timestamp":"2026-11-03T07:00:00Z","AlertId":"aa1","EntityType":"User","EvidenceRole":"Impacted","EvidenceDirection":"Source","AccountName":"rvale","AccountDomain":"CORP",
		"AccountSid":"S-1-5-21-1-2-3-1105","AccountObjectId":"aaaaaaaa-0000-4000-8000-000000000001","AccountUpn":"robin.vale@corp.example","Severity":"High"}`),
	row("AlertEvidence", `{"Timestamp":"2026-11-03T07:00:00Z","AlertId":"aa1","EntityType":"User","EvidenceDirection":"Destination","AccountName":"DC1$","AccountDomain":"CORP","AccountSid":"S-1-5-21-1-2-3-1000"}`),
	row("AlertEvidence", `{"Timestamp":"2026-11-03T07:00:01Z","AlertId":"aa1","EntityType":"Ip","EvidenceDirection":"Source","RemoteIP":"198.51.100.9"}`),
}

func TestAlertIsPutTogether(t *testing.T) {
	t.Parallel()
	p := decode(alertRows...)
	if len(p.Signals) != 1 || len(p.Rejects) > 0 || len(p.Records) != 4 {
		t.Fatalf("%d signals, %d records, rejects %+v", len(p.Signals), len(p.Records), p.Rejects)
	}
	s := p.Signals[0]
	if !json.Valid(s.Raw) || !strings.Contains(string(s.Raw), "198.51.100.9") {
		t.Errorf("its rows are lost: %s", s.Raw)
	}
	s.Raw = nil
	want := signal.Signal{
		Tenant: tenant, Source: signal.DefenderAlert, ExternalID: "aa1", Partial: true, Level: signal.LevelHigh,
		Type: "Suspected DCSync attack (replication of directory services)", Title: "Suspected DCSync attack (replication of directory services)",
		Subject: identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: "aaaaaaaa-0000-4000-8000-000000000001",
			SID: "S-1-5-21-1-2-3-1105", SAM: "rvale", Domain: "CORP", UPN: "robin.vale@corp.example"},
		Others:     []identity.Ref{{Provider: identity.ActiveDirectory, Kind: identity.KindComputer, SID: "S-1-5-21-1-2-3-1000", SAM: "DC1$", Domain: "CORP"}},
		ActivityAt: time.Date(2026, 11, 3, 7, 0, 0, 0, time.UTC), DetectedAt: time.Date(2026, 11, 3, 7, 0, 0, 0, time.UTC), UpdatedAt: time.Date(2026, 11, 3, 7, 0, 1, 0, time.UTC),
		IP: "198.51.100.9", Techniques: []string{"T1003.006"},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
}

// In whatever order and in however many pages the rows come, the last version of the
// signal says the same, and it is the newest.
func TestOrderOfRowsDoesNotMatter(t *testing.T) {
	t.Parallel()
	want := decode(alertRows...).Signals[0]
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		rows := slices.Clone(alertRows)
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		var known []json.RawMessage // as the store has them
		d := xdr.NewDecoder(tenant, func(string, []json.RawMessage) []json.RawMessage { return known })
		var newest *signal.Signal
		for n, r := range rows {
			d.Add(json.RawMessage(r), "m")
			if n < len(rows)-1 && rng.IntN(2) == 0 {
				continue
			}
			p := d.Page()
			for _, s := range p.Signals {
				if newest == nil || s.Newer(*newest) {
					newest = &s
				}
			}
			for _, r := range p.Records {
				if r.Session == "aa1" {
					known = append(known, r.Raw)
				}
			}
		}
		if newest == nil {
			t.Fatal("no signal at all")
		}
		if d := cmp.Diff(want, *newest); d != "" {
			t.Fatalf("order %v:\n%s", rows, d)
		}
	}
}

// An alert of which two people are the source is a signal for each of them, under the
// ids that every channel gives them.
func TestAlertOfTwoPeople(t *testing.T) {
	t.Parallel()
	second := strings.NewReplacer("1105", "1106", "rvale", "klind", "000000000001", "000000000002", "robin.vale", "kim.lind").Replace(alertRows[1])
	var ids []string
	for _, s := range decode(append([]string{second}, alertRows...)...).Signals {
		ids = append(ids, s.ExternalID+" "+s.Subject.SAM)
	}
	if want := []string{"aa1 rvale", "aa1#aaaaaaaa-0000-4000-8000-000000000002 klind"}; !slices.Equal(ids, want) {
		t.Errorf("%q, want %q", ids, want)
	}
}

func TestAlertsOfOtherServicesAreRecords(t *testing.T) {
	t.Parallel()
	p := decode(row("AlertEvidence", `{"Timestamp":"2026-11-03T07:00:00Z","AlertId":"da1","Title":"Malware","ServiceSource":"Microsoft Defender for Endpoint","EntityType":"User","AccountObjectId":"x"}`),
		row("AlertInfo", `{"Timestamp":"2026-11-03T07:00:00Z","AlertId":"aa2","Title":"Alone","Severity":"High","ServiceSource":"Microsoft Defender for Identity"}`))
	if len(p.Signals) != 0 || len(p.Records) != 2 || len(p.Rejects) > 0 {
		t.Errorf("%+v", p)
	}
}

// Both the old and the new name of a table, and the row of a hunting query, which does
// not say of which table it is.
func TestSignIns(t *testing.T) {
	t.Parallel()
	const columns = `{"Timestamp":"2026-11-03T07:00:00Z","RequestId":"req-1","CorrelationId":"c","SessionId":"s","AccountObjectId":"aaaaaaaa-0000-4000-8000-000000000001",
		"AccountUpn":"robin.vale@corp.example","Application":"Portal","ApplicationId":"app","LogonType":"[\"nonInteractiveUser\"]","ErrorCode":0,"ISP":"x","IPAddress":"203.0.113.7","City":"Lyon","Country":"FR",
		"RiskLevelDuringSignIn":50,"RiskLevelAggregated":100,"RiskState":4,"RiskEventTypes":"[\"unfamiliarFeatures\"]","ConditionalAccessStatus":1,"UserAgent":"ua","IsGuestUser":false}`
	for name, o := range map[string]string{
		"old": row("AADSignInEventsBeta", columns), "new": row("EntraIdSignInEvents", columns), "hunting": columns,
		"answer": `{"schema":[{"name":"Timestamp","type":"DateTime"}],"results":[` + columns + `]}`,
	} {
		p := decode(o)
		if len(p.Records) != 1 || len(p.Rejects) > 0 {
			t.Fatalf("%s: %+v", name, p)
		}
		r := p.Records[0]
		r.Raw = nil
		want := record.Record{
			Tenant: tenant, Source: record.SignIn, ExternalID: "req-1", Type: "nonInteractiveUser", At: time.Date(2026, 11, 3, 7, 0, 0, 0, time.UTC),
			Subject: identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: "aaaaaaaa-0000-4000-8000-000000000001", UPN: "robin.vale@corp.example"},
			Result:  record.Success, IP: "203.0.113.7", Location: "Lyon, FR", UserAgent: "ua", App: "Portal", AppID: "app", Session: "s", CorrelationID: "c", Access: "failure",
			Risk: &record.Risk{During: "medium", Aggregated: "high", State: signal.StateAtRisk, Types: []string{"unfamiliarFeatures"}},
		}
		if d := cmp.Diff(want, r); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	for n, state := range []signal.State{"none", "confirmedSafe", "remediated", "dismissed", "atRisk", "confirmedCompromised", "6"} {
		r := decode(row("EntraIdSignInEvents", fmt.Sprintf(`{"Timestamp":"2026-11-03T07:00:00Z","RequestId":"r","RiskState":%d}`, n))).Records[0]
		if r.Risk == nil || r.Risk.State != state {
			t.Errorf("risk state %d is %+v, want %s", n, r.Risk, state)
		}
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	who := `"AccountName":"rvale","AccountDomain":"corp.example","AccountSid":"S-1-5-21-1-2-3-1105"`
	p := decode(
		row("IdentityLogonEvents", `{"Timestamp":"2026-11-03T07:00:00Z","ActionType":"LogonFailed","LogonType":"Credentials validation","Protocol":"Ntlm","FailureReason":"WrongPassword","ISP":"x","ReportId":"r1","AdditionalFields":{"Count":"3"},`+who+`}`),
		row("IdentityQueryEvents", `{"Timestamp":"2026-11-03T07:00:00Z","ActionType":"LDAP query","QueryType":"AllUsers","QueryTarget":"CORP","Query":"(objectClass=user)","Protocol":"Ldap","ReportId":"r2","AdditionalFields":"{\"a\":1}",`+who+`}`),
		row("IdentityDirectoryEvents", `{"Timestamp":"2026-11-03T07:00:00Z","ActionType":"Account Password changed","TargetAccountUpn":"kim.lind@corp.example","TargetAccountDisplayName":"Kim Lind","ReportId":"r3",`+who+`}`),
		row("IdentityInfo", `{"Timestamp":"2026-11-03T07:00:00Z","AccountObjectId":"aaaaaaaa-0000-4000-8000-000000000001","AccountUpn":"robin.vale@corp.example","OnPremSid":"S-1-5-21-1-2-3-1105","CloudSid":"S-1-12-1-1-2-3-4"}`),
		row("CloudAppEvents", `{"Timestamp":"2026-11-03T07:00:00Z","ActionType":"New-InboxRule","Application":"Exchange","AccountObjectId":"aaaaaaaa-0000-4000-8000-000000000001","ReportId":"r4"}`),
		row("AADSpnSignInEventsBeta", `{"Timestamp":"2026-11-03T07:00:00Z","RequestId":"q","ServicePrincipalId":"bbbbbbbb-0000-4000-8000-000000000001","IsManagedIdentity":true,"ErrorCode":7000215}`),
		row("DeviceLogonEvents", `{"Timestamp":"2026-11-03T07:00:00Z","ActionType":"LogonSuccess","DeviceName":"pc1","ReportId":17}`),
		`{"Timestamp":"2024-12-26T09:39:50.7688641Z","FileName":"cmd.exe"}`,
	)
	if len(p.Rejects) > 0 {
		t.Fatalf("rejects: %+v", p.Rejects)
	}
	var got []string
	for _, r := range p.Records {
		if r.Problem() != "" {
			t.Errorf("%+v: %s", r, r.Problem())
		}
		got = append(got, strings.Join([]string{string(r.Source), r.Type, string(r.Result), r.Reason, strings.Join(r.Accounts(), " ")}, "|"))
	}
	want := []string{
		"ad.logon|LogonFailed|failure|WrongPassword|sid:S-1-5-21-1-2-3-1105",
		"ad.query|LDAP query|||sid:S-1-5-21-1-2-3-1105",
		"ad.directoryChange|Account Password changed|||sid:S-1-5-21-1-2-3-1105 upn:kim.lind@corp.example",
		"defender.identityInfo||||entra_object_id:aaaaaaaa-0000-4000-8000-000000000001 sid:S-1-5-21-1-2-3-1105",
		"defender.cloudAppEvent|New-InboxRule|||entra_object_id:aaaaaaaa-0000-4000-8000-000000000001",
		"entra.signIn|managedIdentity|failure||entra_object_id:bbbbbbbb-0000-4000-8000-000000000001",
		"defender.hunting|LogonSuccess|success||",
		"defender.hunting||||",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(p.Facts) != 1 || p.Facts[0].Ref.ObjectID == "" || p.Facts[0].Ref.SID == "" {
		t.Errorf("the join of IdentityInfo: %+v", p.Facts)
	}
}

// A cloud account's SID is its object id in other words.
func TestCloudSID(t *testing.T) {
	t.Parallel()
	p := decode(row("AlertEvidence", `{"Timestamp":"2026-11-03T07:00:00Z","AlertId":"a","EntityType":"User","AccountSid":"S-1-12-1-1943430372-1249052806-2496021943-3034400218"}`))
	if len(p.Signals) != 1 || p.Signals[0].Subject.ObjectID != "73d664e4-0886-4a73-b745-c694da45ddb4" || p.Signals[0].Subject.SID != "" {
		t.Errorf("%+v", p.Signals)
	}
	p = decode(row("AlertEvidence", `{"Timestamp":"2026-11-03T07:00:00Z","AlertId":"a","EntityType":"User","AccountSid":"S-1-5-18"}`))
	if len(p.Signals) != 0 {
		t.Errorf("a well-known SID is taken for somebody's: %+v", p.Signals[0].Subject)
	}
}

func TestBrokenRows(t *testing.T) {
	t.Parallel()
	for o, reason := range map[string]string{
		`7`:                               "not a row",
		`{"Count":4}`:                     "does not say when",
		row("AlertEvidence", `[]`):        "no object",
		row("AlertInfo", `{"Title":"x"}`): "without AlertId",
		strings.ReplaceAll(row("AlertInfo", `{}`), string(tenant), "other"): "belongs to the tenant",
	} {
		p := decode(o)
		if len(p.Rejects) != 1 || !strings.Contains(p.Rejects[0].Reason, reason) || p.Rejects[0].Place != "file record 1" {
			t.Errorf("%s: %+v, want a reject that says %q", o, p.Rejects, reason)
		}
	}
}

func TestSharedExample(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	b, err := os.ReadFile(filepath.Join(shared, "data", "graph-examples", "contrib-runhuntingquery-res2.json"))
	if err != nil {
		t.Fatal(err)
	}
	if p := decode(string(b)); len(p.Records) != 4 || len(p.Rejects) > 0 {
		t.Errorf("%d records, rejects %+v", len(p.Records), p.Rejects)
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range alertRows {
		f.Add([]byte(r))
	}
	f.Add([]byte(`{"Timestamp":"1/2/2026 3:04:05 PM","RequestId":"r","ErrorCode":"50158","RiskState":4}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := xdr.NewDecoder(tenant, nil)
		d.Add(b, "m")
		n := d.Len()
		p := d.Page()
		for _, s := range p.Signals {
			if s.ExternalID == "" || len(s.Subject.Keys()) == 0 || !json.Valid(s.Raw) {
				t.Errorf("a signal without id, account or rows: %+v", s)
			}
		}
		for _, r := range p.Records {
			if r.Problem() != "" || !json.Valid(r.Raw) {
				t.Errorf("a record that cannot be kept: %s: %+v", r.Problem(), r)
			}
		}
		if told := len(p.Records) + len(p.Rejects); told < n {
			t.Errorf("%d of %d rows are told", told, n)
		}
	})
}
