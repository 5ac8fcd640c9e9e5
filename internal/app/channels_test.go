package app_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/push"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/internal/store/pgtest"
)

const (
	channelTenant = identity.Tenant("11111111-1111-4111-8111-111111111111")
	senderSecret  = "0123456789abcdef0123456789abcdef"
)

var channelNow = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// channelApp is a Cordon on the dsn whose clock stands still.
func channelApp(t *testing.T, dsn string) *app.App {
	t.Helper()
	folder := t.TempDir()
	private, _, err := audit.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := house{t: t, folder: folder}
	h.write("audit.key", private)
	h.write("sender", senderSecret)
	h.write("books/stop.yaml", book)
	h.write("cordon.yaml", fmt.Sprintf(`store: %s
playbooks: [books]
audit: {key: file:audit.key}
tenants:
  - tenant_id: %s
    client_id: 22222222-2222-4222-8222-222222222222
    credential: {secret: env:NOBODY_READS_THIS}
    senders: [{name: siem, secret: "file:sender"}]
`, dsn, channelTenant))
	c, err := config.Load(filepath.Join(folder, "cordon.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Offline(t.Context(), app.Options{Config: c, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return channelNow }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return a
}

// An object is one that Graph knows, with the diagnostic category that sends it too.
type object struct {
	category string
	json     string
}

// objects makes n detections of 120 accounts, some of applications, and the risk that
// Microsoft holds for the accounts.
func objects(n int) []object {
	rng := mrand.New(mrand.NewPCG(7, 7))
	pick := func(words ...string) string { return words[rng.IntN(len(words))] }
	at := func(back time.Duration) string {
		return channelNow.Add(-back - time.Duration(rng.IntN(1e9))).Format("2006-01-02T15:04:05.9999999Z")
	}
	var out []object
	for k := range n {
		who := rng.IntN(120)
		back := time.Duration(rng.IntN(72*3600)) * time.Second
		if k%8 == 7 {
			if k%16 == 15 {
				who = k / 16 // one version each: whether an older one opened a case depends on when it came
			}
			id := fmt.Sprintf("00000000-0000-4000-a000-%012d", who)
			if k%16 == 15 {
				out = append(out, object{"RiskyServicePrincipals", fmt.Sprintf(`{"id":%q,"appId":"app-%d","displayName":"App %d","servicePrincipalType":"Application","riskLevel":%q,"riskState":%q,"riskDetail":"none","riskLastUpdatedDateTime":%q}`,
					id, who, who, pick("low", "medium", "high"), pick("atRisk", "none"), at(0))})
				continue
			}
			out = append(out, object{"ServicePrincipalRiskEvents", fmt.Sprintf(`{"id":"w%04d","servicePrincipalId":%q,"appId":"app-%d","servicePrincipalDisplayName":"App %d","riskEventType":%q,"riskLevel":%q,"riskState":%q,"keyIds":["k%d"],"activityDateTime":%q,"detectedDateTime":%q,"lastUpdatedDateTime":%q}`,
				k, id, who, who, pick("leakedCredentials", "suspiciousAPITraffic"), pick("low", "medium", "high"), pick("atRisk", "dismissed"), k, at(back), at(back), at(0))})
			continue
		}
		if k%8 == 6 {
			who = k / 8
		}
		id, name := fmt.Sprintf("00000000-0000-4000-9000-%012d", who), fmt.Sprintf("Person %d", who)
		if k%8 == 6 {
			out = append(out, object{"RiskyUsers", fmt.Sprintf(`{"id":%q,"userDisplayName":%q,"userPrincipalName":"p%d@corp.example","riskLevel":%q,"riskState":%q,"riskDetail":"none","isDeleted":false,"isProcessing":false,"riskLastUpdatedDateTime":%q}`,
				id, name, who, pick("none", "low", "medium", "high"), pick("atRisk", "remediated", "confirmedCompromised"), at(0))})
			continue
		}
		out = append(out, object{"UserRiskEvents", fmt.Sprintf(`{"id":"d%04d","requestId":"r%d","correlationId":"c%d","riskEventType":%q,"riskState":%q,"riskLevel":%q,"riskDetail":"none","source":"IdentityProtection","detectionTimingType":%q,"activity":"signin","ipAddress":"203.0.113.%d","location":{"city":"Lyon","countryOrRegion":"FR"},"activityDateTime":%q,"detectedDateTime":%q,"lastUpdatedDateTime":%q,"userId":%q,"userDisplayName":%q,"userPrincipalName":"p%d@corp.example","additionalInfo":"[{\"Key\":\"userAgent\",\"Value\":\"ua %d\"}]"}`,
			k, k, k, pick("unfamiliarFeatures", "anonymizedIPAddress", "leakedCredentials", "anomalousToken", "somethingNew"), pick("atRisk", "atRisk", "dismissed", "remediated"),
			pick("low", "medium", "high", "hidden"), pick("realtime", "offline"), rng.IntN(20), at(back), at(back), at(0), id, name, who, k)})
	}
	return out
}

// enveloped is a message of an event hub that holds the objects.
func enveloped(rng *mrand.Rand, list []object) string {
	var records []string
	for _, o := range list {
		properties := strings.Replace(o.json, `{"id"`, `{"mitreTechniqueId":"T1078","id"`, 1) // what Graph does not send
		r := fmt.Sprintf(`{"time":"11/3/2026 7:08:09 AM","resourceId":"/tenants/%s/providers/microsoft.aadiam","operationName":"x","category":%q,"durationMs":"0","properties":%s}`, channelTenant, o.category, properties)
		records = append(records, r)
	}
	if rng.IntN(4) == 0 {
		return strings.Join(records, "\n")
	}
	return `{"records":[` + strings.Join(records, ",") + `]}`
}

func joined(list []object, sep string) string {
	var parts []string
	for _, o := range list {
		parts = append(parts, o.json)
	}
	return strings.Join(parts, sep)
}

func backfill(t *testing.T, a *app.App, format, text string) {
	t.Helper()
	res, err := a.Backfill(t.Context(), channelTenant, format, format, strings.NewReader(text), func(r connector.Reject) error {
		return fmt.Errorf("rejected at %s: %s: %s", r.Place, r.Reason, r.Raw)
	})
	if err != nil || res.Rejected > 0 {
		t.Fatalf("%s: %+v, %v", format, res, err)
	}
}

// send pushes the records and returns the answer.
func send(t *testing.T, a *app.App, key, format string, records []string) push.Answer {
	t.Helper()
	body := fmt.Sprintf(`{"format":%q,"records":[%s]}`, format, strings.Join(records, ","))
	stamp := strconv.FormatInt(channelNow.Unix(), 10)
	r := httptest.NewRequest(http.MethodPost, "/api/signals", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Cordon-Sender", "siem")
	r.Header.Set("Idempotency-Key", key)
	r.Header.Set("Cordon-Timestamp", stamp)
	r.Header.Set("Cordon-Signature", "v1="+push.Sign(senderSecret, stamp, key, []byte(body)))
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, r)
	var answer push.Answer
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("push: %d %s", w.Code, w.Body)
	}
	return answer
}

// polled is how the connectors of Graph hand on the objects.
func polled(t *testing.T, a *app.App, list []object) {
	t.Helper()
	var p connector.Page
	for _, o := range list {
		raw, reason := json.RawMessage(o.json), ""
		switch o.category {
		case "UserRiskEvents", "ServicePrincipalRiskEvents":
			decode := entraid.Decode
			if o.category == "ServicePrincipalRiskEvents" {
				decode = entraid.DecodeWorkload
			}
			var s signal.Signal
			s, reason = decode(channelTenant, raw)
			p.Signals = append(p.Signals, s)
		default:
			decode := entraid.DecodeRiskyUser
			if o.category == "RiskyServicePrincipals" {
				decode = entraid.DecodeRiskyWorkload
			}
			var r signal.AccountRisk
			r, reason = decode(channelTenant, raw)
			p.Accounts = append(p.Accounts, r)
		}
		if reason != "" {
			t.Fatal(reason)
		}
	}
	if _, err := a.Pipeline().Take(t.Context(), channelTenant, "entraid.riskDetections", p); err != nil {
		t.Fatal(err)
	}
}

func canonical(t *testing.T, a *app.App) (hash, text string) {
	t.Helper()
	var b bytes.Buffer
	if err := a.Store().Canonical(t.Context(), channelTenant, &b); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b.Bytes())), b.String()
}

// The same thousand things told by polling, event hub, file and push, in any order, 1 to
// 100 times each, leave the same signals, identities, assessments and cases, on both
// databases.
func TestChannelsEndInTheSame(t *testing.T) {
	t.Parallel()
	all := objects(1000)
	reference := channelApp(t, "sqlite:"+filepath.Join(t.TempDir(), "reference.db"))
	backfill(t, reference, "graph", joined(all, "\n"))
	want, text := canonical(t, reference)
	for _, kind := range []string{"signal", "risk", "identity", "assessment", "case"} {
		if strings.Count(text, `{"kind":"`+kind+`"`) < 50 {
			t.Fatalf("the export holds %d of %s", strings.Count(text, `{"kind":"`+kind+`"`), kind)
		}
	}
	for name, c := range map[string]struct {
		dsn  func() string
		seed uint64
	}{
		"SQLite":     {func() string { return "sqlite:" + filepath.Join(t.TempDir(), "cordon.db") }, 1},
		"PostgreSQL": {func() string { return pgtest.New(t) }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := mrand.New(mrand.NewPCG(c.seed, 1))
			var deliveries []object
			for n, o := range all {
				times := 1
				switch {
				case n%250 == 0:
					times = 100
				case rng.IntN(3) == 0:
					times = 2 + rng.IntN(4)
				}
				for range times {
					deliveries = append(deliveries, o)
				}
			}
			rng.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })
			a := channelApp(t, c.dsn())
			for n := 0; len(deliveries) > 0; n++ {
				size := min(len(deliveries), 1+rng.IntN(120))
				part := deliveries[:size]
				deliveries = deliveries[size:]
				switch rng.IntN(4) {
				case 0:
					backfill(t, a, "graph", `{"@odata.context":"x","value":[`+joined(part, ",")+`]}`)
				case 1:
					backfill(t, a, "eventhub", enveloped(rng, part))
				case 2:
					var records []string
					for _, o := range part {
						records = append(records, o.json)
					}
					if got := send(t, a, fmt.Sprintf("key %d", n), "graph", records); got.Rejected > 0 || got.Read != size {
						t.Fatalf("push: %+v", got)
					}
				case 3:
					polled(t, a, part)
				}
			}
			got, others := canonical(t, a)
			if got != want {
				t.Errorf("the export has the hash %s, want %s:\n%s", got, want, firstDifference(text, others))
			}
		})
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for n := range min(len(x), len(y)) {
		if x[n] != y[n] {
			return cmp.Diff(x[n], y[n])
		}
	}
	return fmt.Sprintf("%d lines and %d", len(x), len(y))
}

const (
	alertByGraph  = `{"@odata.type":"#microsoft.graph.security.alert","id":"aaeb6a35da-ff7f-4ab5-a1b5-a07529a89e6d","status":"inProgress","severity":"high","serviceSource":"microsoftDefenderForIdentity","detectionSource":"microsoftDefenderForIdentity","detectorId":"2006","title":"Suspected DCSync attack (replication of directory services)","createdDateTime":"2026-11-03T07:00:00Z","lastUpdateDateTime":"2026-11-03T07:00:00Z","firstActivityDateTime":"2026-11-03T06:59:00Z","evidence":[{"@odata.type":"#microsoft.graph.security.userEvidence","roles":["source"],"userAccount":{"accountName":"rvale","domainName":"CORP","userSid":"S-1-5-21-1-2-3-1105","azureAdUserId":"00000000-0000-4000-9000-000000000001","userPrincipalName":"robin.vale@corp.example"}},{"@odata.type":"#microsoft.graph.security.userEvidence","roles":["destination"],"userAccount":{"accountName":"DC1$","domainName":"CORP","userSid":"S-1-5-21-1-2-3-1000"}}]}`
	rowInfo       = `{"time":"2026-11-03T07:05:00Z","tenantId":"11111111-1111-4111-8111-111111111111","category":"AdvancedHunting-AlertInfo","properties":{"Timestamp":"2026-11-03T07:00:00Z","AlertId":"aaeb6a35da-ff7f-4ab5-a1b5-a07529a89e6d","Title":"Suspected DCSync attack (replication of directory services)","Severity":"High","ServiceSource":"Microsoft Defender for Identity"}}`
	rowSource     = `{"time":"2026-11-03T07:05:00Z","tenantId":"11111111-1111-4111-8111-111111111111","category":"AdvancedHunting-AlertEvidence","properties":{"Timestamp":"2026-11-03T07:02:00Z","AlertId":"aaeb6a35da-ff7f-4ab5-a1b5-a07529a89e6d","EntityType":"User","EvidenceDirection":"Source","AccountName":"rvale","AccountDomain":"CORP","AccountSid":"S-1-5-21-1-2-3-1105"}}`
	rowTarget     = `{"time":"2026-11-03T07:05:00Z","tenantId":"11111111-1111-4111-8111-111111111111","category":"AdvancedHunting-AlertEvidence","properties":{"Timestamp":"2026-11-03T07:02:00Z","AlertId":"aaeb6a35da-ff7f-4ab5-a1b5-a07529a89e6d","EntityType":"User","EvidenceDirection":"Destination","AccountName":"DC1$","AccountDomain":"CORP","AccountSid":"S-1-5-21-1-2-3-1000"}}`
	alertBySyslog = `<36>1 2026-11-03T07:01:27.540731+00:00 DC1 CEF 6076 DirectoryServicesReplicationSecuri - 0|Microsoft|Azure ATP|2.240|DirectoryServicesReplicationSecurityAlert|Suspected DCSync attack|10|start=2026-11-03T06:59:00Z suser=rvale externalId=2006 cs1Label=url cs1=https\://security.microsoft.com/alerts/aaeb6a35da-ff7f-4ab5-a1b5-a07529a89e6d cs2Label=trigger cs2=new`
)

// An alert of Defender for Identity by Graph, by rows of its tables and by syslog, in
// any order, is one finding: one signal, of the one account that did it, and the lines
// of syslog beside it under the same id.
func TestAnAlertByEveryChannelIsOneFinding(t *testing.T) {
	t.Parallel()
	steps := []struct{ format, text string }{
		{"graph", alertByGraph}, {"eventhub", rowInfo}, {"xdr", rowSource}, {"eventhub", rowTarget}, {"cef", alertBySyslog}, {"graph", alertByGraph}, {"eventhub", `{"records":[` + rowTarget + `]}`},
	}
	rng := mrand.New(mrand.NewPCG(5, 5))
	for round := range 6 {
		rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
		a := channelApp(t, "sqlite:"+filepath.Join(t.TempDir(), "cordon.db"))
		for _, s := range steps {
			backfill(t, a, s.format, s.text)
		}
		_, text := canonical(t, a)
		if n := strings.Count(text, `{"kind":"signal"`); n != 1 {
			t.Fatalf("round %d: %d signals:\n%s", round, n, text)
		}
		for _, want := range []string{`"detector":"2006"`, `"state":"inProgress"`, `"identity":"entra_object_id:00000000-0000-4000-9000-000000000001"`} {
			if !strings.Contains(text, want) {
				t.Errorf("round %d: no %s in\n%s", round, want, text)
			}
		}
		// The server was never at risk for good: if a row of it came first, its case says so.
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, `{"kind":"assessment","identity":"sid:S-1-5-21-1-2-3-1000"`) && !strings.Contains(line, `"level":"none"`) {
				t.Errorf("round %d: what the alert was done to is still at risk: %s", round, line)
			}
		}
		notices, err := a.Store().Records().Records(t.Context(), record.Query{Tenant: channelTenant, ExternalID: "aaeb6a35da-ff7f-4ab5-a1b5-a07529a89e6d", Sources: []record.Source{record.AlertNotice}})
		if err != nil || len(notices.Records) != 1 {
			t.Errorf("round %d: %d lines of syslog under the alert's id, %v", round, len(notices.Records), err)
		}
	}
}

// A record that cannot be used stops nothing and is told with its place, in every
// format.
func TestRejectsOfEveryFormat(t *testing.T) {
	t.Parallel()
	a := channelApp(t, "sqlite:"+filepath.Join(t.TempDir(), "cordon.db"))
	for format, text := range map[string]string{
		"graph": `[{"x":1},7]`, "eventhub": `{"records":[{"x":1},7]}`, "xdr": `{"AlertId":"x"}` + "\nnot json\n", "cef": "hello\n\nworld\n",
	} {
		var places []string
		res, err := a.Backfill(t.Context(), channelTenant, format, "file", strings.NewReader(text), func(r connector.Reject) error {
			places = append(places, r.Place)
			return nil
		})
		if err != nil || res.Rejected != 2 || len(places) != 2 || !strings.HasPrefix(places[0], "file record 1") {
			t.Errorf("%s: %+v, places %q, %v", format, res, places, err)
		}
	}
	if _, err := a.Backfill(t.Context(), channelTenant, "yaml", "file", io.LimitReader(nil, 0), nil); err == nil || !strings.Contains(err.Error(), "eventhub") {
		t.Errorf("an unheard-of format: %v", err)
	}
	answer := send(t, a, "k", "cef", []string{`"hello"`, strconv.Quote(alertBySyslog), `{"x":1}`})
	if answer.New != 1 || answer.Rejected != 2 || answer.Records[0].Reason == "" {
		t.Errorf("push: %+v", answer)
	}
	weak := strings.Replace(objects(1)[0].json, `"userId":"00000000-0000-4000-9000`, `"nobody":"00000000-0000-4000-9000`, 1)
	answer = send(t, a, "k2", "graph", []string{weak})
	if answer.Rejected != 1 || !strings.Contains(answer.Records[0].Reason, "strong identifier") {
		t.Errorf("push of a signal about nobody: %+v", answer)
	}
}
