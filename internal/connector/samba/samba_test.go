package samba_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector/samba"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
)

const tenant identity.Tenant = "11111111-1111-1111-1111-111111111111"

func decode(t *testing.T, text string) record.Record {
	t.Helper()
	r, keep, reason := samba.Decoder{Tenant: tenant}.Decode([]byte(text))
	if !keep || reason != "" {
		t.Fatalf("kept %v, reason %q", keep, reason)
	}
	r.ExternalID, r.Raw = "", nil
	return r
}

const sid = "S-1-5-21-1-2-3-1104"

func ref(r identity.Ref) identity.Ref { r.Provider = identity.ActiveDirectory; return r }

func TestDecode(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 8, 0, 0, 1000, time.UTC)
	for name, c := range map[string]struct {
		text string
		want record.Record
	}{
		"a ticket": {`{"timestamp":"2026-03-01T09:00:00.000001+0100","type":"Authentication","Authentication":{"eventId":4624,"logonId":"d8589468603f1d6c","logonType":3,"status":"NT_STATUS_OK","localAddress":null,"remoteAddress":"ipv4:192.0.2.7:38937","serviceDescription":"Kerberos KDC","authDescription":"ENC-TS Pre-authentication","clientAccount":"ana@CORP.EXAMPLE","becameAccount":"ana","becameDomain":"CORP","becameSid":"` + sid + `","mappedAccount":"ana","mappedDomain":"CORP"}}`,
			record.Record{Source: record.Logon, Type: "4624", Title: "sign-in to Kerberos KDC", Subject: ref(identity.Ref{SID: sid, SAM: "ana", Domain: "CORP"}), Result: record.Success, IP: "192.0.2.7", App: "Kerberos KDC", Protocol: "Kerberos", Session: "d8589468603f1d6c"}},
		"a refused bind": {`  {"timestamp":"2026-03-01T08:00:00.000001+0000","type":"Authentication","Authentication":{"eventId":4625,"logonId":"0","status":"NT_STATUS_ACCOUNT_DISABLED","localAddress":"ipv4:192.0.2.1:636","remoteAddress":"ipv6:2001:db8::7:45096","serviceDescription":"LDAP","authDescription":"simple bind/TLS","clientDomain":"CORP","clientAccount":"CN=Ana,DC=x","workstation":"DC1","becameSid":null,"mappedAccount":"ana","mappedDomain":"CORP"}}`,
			record.Record{Source: record.Logon, Type: "4625", Title: "sign-in to LDAP", Subject: ref(identity.Ref{SAM: "ana", Domain: "CORP"}), Result: record.Failure, Code: "NT_STATUS_ACCOUNT_DISABLED", Reason: "the account is disabled", IP: "2001:db8::7", Device: "DC1", App: "LDAP", Resource: "192.0.2.1", Protocol: "simple bind/TLS"}},
		"nobody": {`{"timestamp":"2026-03-01T08:00:00.000001+0000","type":"Authentication","Authentication":{"eventId":4624,"status":"NT_STATUS_OK","remoteAddress":"unix:/x","serviceDescription":"LDAP","authDescription":"simple bind","becameAccount":"ANONYMOUS LOGON","becameDomain":"NT AUTHORITY","becameSid":"S-1-5-7"}}`,
			record.Record{Source: record.Logon, Type: "4624", Title: "sign-in to LDAP", Result: record.Success, App: "LDAP", Protocol: "simple bind"}},
		"a session by a ticket": {`JSON Authorization: {"timestamp":"2026-03-01T08:00:00.000001+0000","type":"Authorization","Authorization":{"localAddress":"ipv4:192.0.2.1:445","remoteAddress":"ipv4:192.0.2.7:1","serviceDescription":"SMB2","authType":"krb5","domain":"CORP","account":"ana","sid":"` + sid + `","sessionId":"0af2a034-7dc5-4d78-85dc-ead3e9177e67"}}`,
			record.Record{Source: record.Logon, Type: "authorization", Title: "session with SMB2", Subject: ref(identity.Ref{SID: sid, SAM: "ana", Domain: "CORP"}), Result: record.Success, IP: "192.0.2.7", App: "SMB2", Resource: "192.0.2.1", Protocol: "Kerberos", Session: "0af2a034-7dc5-4d78-85dc-ead3e9177e67"}},
		"a disable": {change(`"operation":"Modify","dn":"CN=Ana,OU=Staff,DC=corp,DC=example","attributes":{"userAccountControl":{"actions":[{"action":"delete","values":[{"value":"512"}]},{"action":"add","values":[{"value":"514"}]}]}}`),
			changed("4725", "account disabled: userAccountControl from 512 to 514", "CN=Ana,OU=Staff,DC=corp,DC=example")},
		"an enable": {change(`"operation":"Modify","dn":"CN=Ana,OU=Staff,DC=corp,DC=example","attributes":{"userAccountControl":{"actions":[{"action":"delete","values":[{"value":"514"}]},{"action":"add","values":[{"value":"512"}]}]}}`),
			changed("4722", "account enabled: userAccountControl from 514 to 512", "CN=Ana,OU=Staff,DC=corp,DC=example")},
		"an enable by a tool that replaces": {change(`"operation":"Modify","dn":"CN=Ana,OU=Staff,DC=corp,DC=example","attributes":{"userAccountControl":{"actions":[{"action":"replace","values":[{"value":"512"}]}]}}`),
			changed("4722", "account set to enabled: userAccountControl to 512", "CN=Ana,OU=Staff,DC=corp,DC=example")},
		"a disable by such a tool": {change(`"operation":"Modify","dn":"CN=Ana,OU=Staff,DC=corp,DC=example","attributes":{"userAccountControl":{"actions":[{"action":"replace","values":[{"value":"66050"}]}]}}`),
			changed("4725", "account set to disabled: userAccountControl to 66050", "CN=Ana,OU=Staff,DC=corp,DC=example")},
		"an unlock": {change(`"operation":"Modify","dn":"CN=Ana,OU=Staff,DC=corp,DC=example","attributes":{"lockoutTime":{"actions":[{"action":"replace","values":[{"value":"0"}]}]}}`),
			changed("4767", "account unlocked", "CN=Ana,OU=Staff,DC=corp,DC=example")},
		"another attribute": {change(`"operation":"Modify","dn":"CN=A\\, na,DC=x","attributes":{"mail":{"actions":[]},"cn":{"actions":[]}}`),
			func() record.Record {
				r := changed("5136", "changed cn, mail", `CN=A\, na,DC=x`)
				r.Others[0].Ref.DisplayName = `A\, na`
				return r
			}()},
		"a member": {change(`"operation":"Modify","dn":"CN=Finance,DC=x","attributes":{"member":{"actions":[{"action":"add","values":[{"value":"<GUID=ed2bf5d3-3510-46f6-a17d-0016f1f2ca61>;<SID=` + sid + `>;CN=Ana,DC=x"}]}]}}`),
			func() record.Record {
				r := changed("5136", "changed member", "CN=Finance,DC=x")
				r.Others[0].Ref.DisplayName = "Finance"
				r.Others = append(r.Others, record.Party{Role: "member added", Ref: ref(identity.Ref{SID: sid, GUID: "ed2bf5d3-3510-46f6-a17d-0016f1f2ca61", DisplayName: "Ana"})})
				return r
			}()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.want.Tenant, c.want.At = tenant, at
			if diff := cmp.Diff(c.want, decode(t, c.text)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func change(more string) string {
	return `{"timestamp":"2026-03-01T08:00:00.000001+0000","type":"dsdbChange","dsdbChange":{"statusCode":0,"status":"Success","remoteAddress":"ipv4:192.0.2.7:1","userSid":"S-1-5-21-1-2-3-500","transactionId":"t","sessionId":"s",` + more + `}}`
}

func changed(number, title, dn string) record.Record {
	return record.Record{Source: record.DirectoryChange, Type: number, Title: title, Subject: ref(identity.Ref{SID: "S-1-5-21-1-2-3-500"}), Result: record.Success,
		Others: []record.Party{{Role: "target", Ref: ref(identity.Ref{DisplayName: "Ana"})}}, IP: "192.0.2.7", Resource: dn, Session: "s", CorrelationID: "t"}
}

// What a controller writes for itself is left out; what somebody else writes is not.
func TestHousekeepingIsLeftOut(t *testing.T) {
	t.Parallel()
	for attributes, want := range map[string]bool{`"lastLogon":{},"logonCount":{}`: false, `"repsTo":{}`: false, `"lastLogon":{},"mail":{}`: true, ``: true} {
		_, keep, reason := samba.Decoder{Tenant: tenant}.Decode([]byte(change(`"operation":"Modify","dn":"CN=Ana,DC=x","attributes":{` + attributes + `}`)))
		if keep != want || reason != "" {
			t.Errorf("%s: kept %v, %q", attributes, keep, reason)
		}
	}
}

// Whose a distinguished name is, is asked where somebody knows.
func TestLocate(t *testing.T) {
	t.Parallel()
	asked := ""
	d := samba.Decoder{Tenant: tenant, Locate: func(dn string, at time.Time) (identity.Ref, bool) {
		asked = dn + " at " + at.Format(time.TimeOnly)
		return ref(identity.Ref{SID: sid}), true
	}}
	r, keep, reason := d.Decode([]byte(`{"timestamp":"2026-03-01T08:00:00.000001+0000","type":"passwordChange","passwordChange":{"eventId":4724,"statusCode":0,"status":"Success","userSid":"S-1-5-21-1-2-3-500","dn":"CN=Ana,DC=x","action":"Reset"}}`))
	if !keep || reason != "" || asked != "CN=Ana,DC=x at 08:00:00" || r.Type != "4724" || r.Others[0].Ref.SID != sid {
		t.Errorf("asked %q, got %+v %q", asked, r, reason)
	}
}

func TestRecordedStream(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("CORDON_SHARED")
	if dir == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	b, err := os.ReadFile(filepath.Join(dir, "data", "samba-audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	kinds, seen := map[string]int{}, map[string]bool{}
	for line := range bytes.Lines(b) {
		r, keep, reason := samba.Decoder{Tenant: tenant}.Decode(line)
		if reason != "" {
			t.Errorf("%s: %.200s", reason, line)
		}
		if !keep {
			kinds["left out"]++
			continue
		}
		if p := r.Problem(); p != "" || seen[r.ExternalID] || !json.Valid(r.Raw) {
			t.Errorf("%s, known %v: %.200s", p, seen[r.ExternalID], line)
		}
		seen[r.ExternalID] = true
		kinds[string(r.Source)+" "+r.Type+" "+string(r.Result)]++
		if r.Subject.SID != "" && !strings.HasPrefix(r.Subject.SID, "S-1-5-21-") {
			t.Errorf("the subject %s is nobody's", r.Subject.SID)
		}
	}
	if kinds["left out"] != 3 || kinds["ad.logon 4624 success"] == 0 || kinds["ad.logon 4625 failure"] == 0 || kinds["ad.directoryChange 4724 success"] == 0 ||
		kinds["ad.directoryChange 4722 success"] == 0 || kinds["ad.directoryChange 4729 success"] == 0 || len(seen) != 65 {
		t.Errorf("%d records: %v", len(seen), kinds)
	}
}

// FuzzDecode holds that no line panics, that what is kept can be stored, and that a
// line is refused in words or kept.
func FuzzDecode(f *testing.F) {
	f.Add(change(`"operation":"Modify","dn":"CN=Ana,DC=x","attributes":{"userAccountControl":{"actions":[{"action":"delete","values":[{"value":"512"}]},{"action":"add","values":[{"value":"514"}]}]},"member":{"actions":[{"action":"add","values":[{"value":"<GUID=x>;<SID=y>;CN=\u0000"}]}]}}`))
	f.Add(`JSON Authentication: {"timestamp":"2026-03-01T08:00:00.000001+0000","type":"Authentication","Authentication":{"eventId":4624,"remoteAddress":"ipv6:::1:2","clientAccount":"a@b"}}`)
	f.Add(`{"timestamp":"2026-03-01T08:00:00+0000","type":"groupChange","groupChange":{"user":"CN=\\","group":"="}}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, keep, reason := samba.Decoder{Tenant: tenant}.Decode([]byte(text))
		if keep == (reason != "") && keep {
			t.Fatalf("kept and refused: %q", reason)
		}
		if !keep {
			return
		}
		if p := r.Problem(); p != "" {
			t.Fatalf("kept, and %s", p)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		for _, p := range append(r.Others, record.Party{Ref: r.Subject}) {
			if strings.ContainsAny(p.Ref.DisplayName, "\n\r") {
				t.Fatalf("a name of two lines: %q", p.Ref.DisplayName)
			}
		}
	})
}
