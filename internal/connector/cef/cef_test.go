package cef_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/cef"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

const tenant identity.Tenant = "11111111-1111-4111-8111-111111111111"

var came = time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)

func decode(lines ...string) connector.Page {
	d := cef.NewDecoder(tenant, func() time.Time { return came })
	for _, l := range lines {
		d.Add([]byte(l), "line")
	}
	return d.Page()
}

const (
	body = `Microsoft|Azure ATP|2.240.1.2|AccountEnumerationSecurityAlert|Reconnaissance using account enumeration|5|` +
		`start=2026-11-03T01:19:02.6045416Z app=Kerberos shost=CLIENT1 suser=CORP\rvale msg=Two names: a=b and shost=x were tried.\r\nNothing else. ` +
		`externalId=2003 cs1Label=url cs1=https\://security.microsoft.com/alerts/aaeb6a35da-ff7f-4ab5-a1b5-a07529a89e6d cs2Label=trigger cs2=new cs3Label=shostfqdn cs3=client1.corp.example`
	header = `<36>1 2026-11-03T01:19:27.540731+00:00 DC1 CEF 6076 AccountEnumerationSecurityAlert - `
)

// The forms in which one line travels are one record.
func TestForms(t *testing.T) {
	t.Parallel()
	want := record.Record{
		Tenant: tenant, Source: record.AlertNotice, ExternalID: "aaeb6a35da-ff7f-4ab5-a1b5-a07529a89e6d", Type: "2003", Title: "Reconnaissance using account enumeration", State: "new",
		Subject: identity.Ref{Provider: identity.ActiveDirectory, Kind: identity.KindPerson, Domain: "CORP", SAM: "rvale"},
		At:      time.Date(2026, 11, 3, 1, 19, 2, 604541600, time.UTC), UpdatedAt: time.Date(2026, 11, 3, 1, 19, 27, 540731000, time.UTC),
		Device: "client1.corp.example", App: "Azure ATP", Protocol: "Kerberos", Reason: "Two names: a=b and shost=x were tried.\nNothing else.",
	}
	for name, l := range map[string]string{
		"RFC 5424 with the mark":  header + "\xef\xbb\xbf0|" + body,
		"RFC 5424 mangled mark":   header + "ï»¿0|" + body,
		"RFC 5424 CEF:0":          header + "CEF:0|" + body,
		"without the version":     header + "|" + body,
		"through a syslog viewer": "11-03-2026 03:19:35 Auth.Warning 192.0.2.220 " + strings.TrimPrefix(header, "<36>") + "|" + body,
		"with line end":           header + "0|" + body + "\r\n",
	} {
		p := decode(l)
		if len(p.Records) != 1 || len(p.Rejects) > 0 {
			t.Errorf("%s: %+v", name, p)
			continue
		}
		r := p.Records[0]
		if !json.Valid(r.Raw) {
			t.Errorf("%s: raw is %s", name, r.Raw)
		}
		r.Raw = nil
		if d := cmp.Diff(want, r); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	// RFC 3164 has no year: the alert's own time counts.
	p := decode("<36>Nov  3 01:19:27 DC1 CEF:0|" + body)
	if len(p.Records) != 1 || !p.Records[0].At.Equal(want.At) || p.Records[0].ExternalID != want.ExternalID || !p.Records[0].UpdatedAt.Equal(want.At) {
		t.Errorf("RFC 3164: %+v", p)
	}
}

// A later line about the same alert replaces the one before it, in any order.
func TestUpdateIsTheSameAlert(t *testing.T) {
	t.Parallel()
	update := strings.NewReplacer("cs2=new", "cs2=update", "01:19:27.", "02:19:27.").Replace(header + "0|" + body)
	p := decode(header+"0|"+body, update)
	a, b := p.Records[0], p.Records[1]
	if a.Key() != b.Key() || !b.Newer(a) || a.Newer(b) || b.State != "update" {
		t.Errorf("%+v and %+v", a, b)
	}
}

func TestDefects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		line string
		want record.Record
	}{
		"no alert id": {
			`0|Microsoft|Azure ATP|2.1|X|[PREVIEW] A title|10|start=2026-11-03T1:19:02Z suser=Robin Vale externalId=2006 cs1Label=url cs1=https\:////`,
			record.Record{Source: record.AlertNotice, Type: "2006", Title: "A title", Subject: identity.Ref{Provider: identity.ActiveDirectory, Kind: identity.KindPerson, DisplayName: "Robin Vale"},
				At: time.Date(2026, 11, 3, 1, 19, 2, 0, time.UTC), UpdatedAt: time.Date(2026, 11, 3, 1, 19, 2, 0, time.UTC)},
		},
		"older portal": {
			`0|Microsoft|Azure ATP|2.1|X|T|5|start=2026-11-03T01:19:02Z suser=robin@corp.example cs1Label=url cs1=https\://corp.atp.azure.com:13000/securityAlert/63600E03-f423-49bf-a92d-4010e1d52b9f`,
			record.Record{Source: record.AlertNotice, ExternalID: "aa63600e03-f423-49bf-a92d-4010e1d52b9f", Title: "T", Subject: identity.Ref{Provider: identity.ActiveDirectory, Kind: identity.KindPerson, UPN: "robin@corp.example"},
				At: time.Date(2026, 11, 3, 1, 19, 2, 0, time.UTC), UpdatedAt: time.Date(2026, 11, 3, 1, 19, 2, 0, time.UTC)},
		},
		"health": {
			`<35>1 2026-11-03T01:19:27Z CENTER ATA 4688 Gateway CEF:0|Microsoft|ATA|1.9.0.0|GatewayDisconnectedMonitoringAlert|GatewayDisconnectedMonitoringAlert|5|externalId=1011 cs1Label=url cs1=https\://192.0.2.1/monitoring msg=No word for 5 minutes.`,
			record.Record{Source: record.HealthNotice, ExternalID: "ATA/CENTER/1011", Type: "1011", Title: "GatewayDisconnectedMonitoringAlert", Reason: "No word for 5 minutes.",
				At: time.Date(2026, 11, 3, 1, 19, 27, 0, time.UTC), UpdatedAt: time.Date(2026, 11, 3, 1, 19, 27, 0, time.UTC)},
		},
		"SID history is no health issue": {
			`0|Microsoft|Azure ATP|2.1|X|T|10|start=2026-11-03T01:19:02Z externalId=1106`,
			record.Record{Source: record.AlertNotice, Type: "1106", Title: "T", At: time.Date(2026, 11, 3, 1, 19, 2, 0, time.UTC), UpdatedAt: time.Date(2026, 11, 3, 1, 19, 2, 0, time.UTC)},
		},
		"no time at all": {
			`0|Microsoft|Azure ATP|2.1|X| **T**|5|start=soon`,
			record.Record{Source: record.AlertNotice, Title: "T", At: came, UpdatedAt: came},
		},
	} {
		p := decode(c.line)
		if len(p.Records) != 1 {
			t.Errorf("%s: %+v", name, p)
			continue
		}
		r := p.Records[0]
		if r.Problem() != "" {
			t.Errorf("%s: %s", name, r.Problem())
		}
		r.Raw, r.Notes, r.Tenant, r.App, r.State = nil, nil, "", "", ""
		if c.want.ExternalID == "" {
			r.ExternalID = ""
		}
		if d := cmp.Diff(c.want, r); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestBrokenLines(t *testing.T) {
	t.Parallel()
	for line, reason := range map[string]string{
		"":                                    "not a line of CEF",
		"<34>Oct 11 22:14:15 mymachine su: x": "not a line of CEF",
		"0|Microsoft|Azure ATP|2.1|X":         "ends inside its header",
		`CEF:0|a\|b|c`:                        "ends inside its header",
	} {
		if p := decode(line); len(p.Rejects) != 1 || !strings.Contains(p.Rejects[0].Reason, reason) || p.Rejects[0].Place != "line" {
			t.Errorf("%q: %+v, want a reject that says %q", line, p, reason)
		}
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]signal.Level{"3": "low", "5": "medium", "10": "high", "7": "high", "High": "high", "": "hidden", "x": "hidden"} {
		if got := cef.Level(in); got != want {
			t.Errorf("severity %q is %s, want %s", in, got, want)
		}
	}
}

// Every published line is read: with its kind, its time and its product.
func TestSharedLines(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	folder := filepath.Join(shared, "data", "mdi-cef")
	b, err := os.ReadFile(filepath.Join(folder, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Files []struct {
			File       string `json:"file"`
			ExternalID string `json:"externalId"`
			Name       string `json:"name"`
			Severity   string `json:"severity"`
			Product    string `json:"product"`
		} `json:"files"`
	}
	if err := json.Unmarshal(b, &index); err != nil || len(index.Files) == 0 {
		t.Fatalf("index: %v", err)
	}
	for _, f := range index.Files {
		text, err := os.ReadFile(filepath.Join(folder, f.File))
		if err != nil {
			t.Fatal(err)
		}
		l, reason := cef.Parse(string(text))
		if reason != "" {
			t.Errorf("%s: %s", f.File, reason)
			continue
		}
		if l.Class != f.Name || l.Severity != f.Severity || l.Extension["externalId"] != f.ExternalID || l.Product != f.Product || l.Sent.IsZero() {
			t.Errorf("%s: read %q %q %q %q %v; the index says %+v", f.File, l.Class, l.Severity, l.Extension["externalId"], l.Product, l.Sent, f)
		}
		p := decode(string(text))
		if len(p.Records) != 1 || len(p.Rejects) > 0 || p.Records[0].Problem() != "" {
			t.Errorf("%s: %+v", f.File, p)
			continue
		}
		if r := p.Records[0]; !strings.HasPrefix(f.ExternalID, "1") && (r.At.Equal(came) || strings.HasPrefix(r.ExternalID, "cef/") || len(r.Notes) > 0) {
			t.Errorf("%s: %+v", f.File, r)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(header + "\xef\xbb\xbf0|" + body)
	f.Add("<36>Nov  3 01:19:27 DC1 CEF:0|" + body)
	f.Add(`0|Microsoft|ATA|1|a\|b|c|5|msg=x\=y cs1Label=url cs1=/alerts/aa`)
	f.Fuzz(func(t *testing.T, line string) {
		p := decode(line)
		if len(p.Records)+len(p.Rejects) != 1 {
			t.Fatalf("%q is %d records and %d rejects", line, len(p.Records), len(p.Rejects))
		}
		for _, r := range p.Records {
			if r.Problem() != "" || !json.Valid(r.Raw) {
				t.Errorf("%q: %s, %s", line, r.Problem(), r.Raw)
			}
			if again := decode(line).Records[0]; again.ExternalID != r.ExternalID {
				t.Errorf("%q has two ids: %s and %s", line, r.ExternalID, again.ExternalID)
			}
		}
	})
}
