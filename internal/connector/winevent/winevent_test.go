package winevent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector/winevent"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
)

const tenant identity.Tenant = "11111111-1111-1111-1111-111111111111"

const (
	actor  = "S-1-5-21-1-2-3-1109"
	target = "S-1-5-21-1-2-3-1104"
)

// The forms in which one event travels.
func forms(id int, data map[string]string) map[string]string {
	var x strings.Builder
	fmt.Fprintf(&x, `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Security-Auditing' Guid='{54849625-5478-4994-a5ba-3e3b0328c30d}'/><EventID>%d</EventID><Version>0</Version><Keywords>0x8020000000000000</Keywords><TimeCreated SystemTime='2026-03-01T08:00:00.1234567Z'/><EventRecordID>4711</EventRecordID><Channel>Security</Channel><Computer>DC1.corp.example</Computer><Security/></System><EventData>`, id)
	list := []map[string]string{}
	for n, v := range data {
		fmt.Fprintf(&x, "<Data Name='%s'>%s</Data>", n, strings.NewReplacer("<", "&lt;", "&", "&amp;").Replace(v))
		list = append(list, map[string]string{"@Name": n, "#text": v})
	}
	x.WriteString("</EventData></Event>")
	enc := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	system := map[string]any{"EventID": map[string]any{"#text": id, "#attributes": map[string]any{"Qualifiers": 0}}, "Computer": "DC1.corp.example", "EventRecordID": 4711,
		"Keywords": "0x8020000000000000", "TimeCreated": map[string]any{"#attributes": map[string]any{"SystemTime": "2026-03-01T08:00:00.1234567Z"}}}
	flat := map[string]any{"EventID": id, "Hostname": "DC1.corp.example", "RecordNumber": 4711, "EventTime": "2026-03-01 08:00:00.1234567", "EventType": "AUDIT_SUCCESS"}
	for n, v := range data {
		flat[n] = v
	}
	listed := map[string]any{"System": map[string]any{"EventID": fmt.Sprint(id), "Computer": "DC1.corp.example", "EventRecordID": "4711", "Keywords": "0x8020000000000000",
		"TimeCreated": map[string]any{"@SystemTime": "2026-03-01T08:00:00.1234567Z"}}, "EventData": map[string]any{"Data": list}}
	return map[string]string{
		"XML": x.String(), "flat": enc(flat), "list": enc(map[string]any{"Event": listed}),
		"map":  enc(map[string]any{"Event": map[string]any{"System": system, "EventData": data}}),
		"beat": enc(map[string]any{"@timestamp": "2026-03-01T08:00:00.1234567Z", "winlog": map[string]any{"event_id": fmt.Sprint(id), "record_id": 4711, "computer_name": "DC1.corp.example", "keywords": []string{"Audit Success"}, "event_data": data}}),
	}
}

func ref(r identity.Ref) identity.Ref { r.Provider = identity.ActiveDirectory; return r }

func TestDecode(t *testing.T) {
	t.Parallel()
	by := ref(identity.Ref{SID: actor, SAM: "ben", Domain: "CORP"})
	subject := map[string]string{"SubjectUserSid": actor, "SubjectUserName": "ben", "SubjectDomainName": "CORP", "SubjectLogonId": "0x3e7"}
	on := map[string]string{"TargetSid": target, "TargetUserName": "ana", "TargetDomainName": "CORP"}
	with := func(more ...map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range more {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	ana := record.Party{Role: "target", Ref: ref(identity.Ref{SID: target, SAM: "ana", Domain: "CORP"})}
	for name, c := range map[string]struct {
		id   int
		data map[string]string
		want record.Record
	}{
		"a sign-in": {4624, map[string]string{"TargetUserSid": target, "TargetUserName": "ana", "TargetDomainName": "CORP", "TargetLogonId": "0x8dcdc", "LogonType": "3", "AuthenticationPackageName": "NTLM", "LmPackageName": "NTLM V2", "WorkstationName": "PC-7", "IpAddress": "::ffff:192.0.2.7", "SubjectUserSid": "S-1-0-0", "SubjectUserName": "-"},
			record.Record{Source: record.Logon, Title: "sign-in", Subject: ana.Ref, Result: record.Success, IP: "192.0.2.7", Device: "PC-7", App: "network", Resource: "DC1.corp.example", Protocol: "NTLM V2", Session: "dc1.corp.example/0x8dcdc"}},
		"a failed one": {4625, map[string]string{"TargetUserSid": "S-1-0-0", "TargetUserName": "ana", "TargetDomainName": "CORP", "Status": "0xC000006E", "SubStatus": "0xC0000072", "LogonType": "10", "IpAddress": "-"},
			record.Record{Source: record.Logon, Title: "sign-in failed", Subject: ref(identity.Ref{SAM: "ana", Domain: "CORP"}), Result: record.Failure, Code: "0xC0000072", Reason: "the account is disabled", App: "remote desktop", Resource: "DC1.corp.example"}},
		"a ticket": {4769, map[string]string{"TargetUserName": "ana@CORP.EXAMPLE", "TargetDomainName": "CORP.EXAMPLE", "ServiceName": "FILES$", "IpAddress": "::1", "Status": "0x0", "LogonGuid": "{g}"},
			record.Record{Source: record.Logon, Title: "Kerberos service ticket", Subject: ref(identity.Ref{SAM: "ana", UPN: "ana@CORP.EXAMPLE", Domain: "CORP.EXAMPLE"}), Result: record.Success, IP: "::1", Resource: "FILES$", Protocol: "Kerberos", CorrelationID: "{g}"}},
		"no ticket": {4771, map[string]string{"TargetUserName": "ana", "TargetSid": target, "ServiceName": "krbtgt/CORP", "Status": "0x18"},
			record.Record{Source: record.Logon, Title: "Kerberos sign-in failed", Subject: ref(identity.Ref{SAM: "ana", SID: target}), Result: record.Failure, Code: "0x18", Reason: "wrong password", Resource: "krbtgt/CORP", Protocol: "Kerberos"}},
		"NTLM": {4776, map[string]string{"TargetUserName": "ana", "Workstation": "PC-7", "Status": "0xc000006a"},
			record.Record{Source: record.Logon, Title: "NTLM credentials checked", Subject: ref(identity.Ref{SAM: "ana"}), Result: record.Failure, Code: "0xc000006a", Reason: "wrong password", Device: "PC-7", Resource: "DC1.corp.example", Protocol: "NTLM"}},
		"a disable": {4725, with(subject, on), record.Record{Source: record.DirectoryChange, Title: "account disabled", Subject: by, Others: []record.Party{ana}, Result: record.Success, Resource: "DC1.corp.example", Session: "dc1.corp.example/0x3e7"}},
		"a change": {4738, with(subject, on, map[string]string{"OldUacValue": "0x10", "NewUacValue": "0x11", "PasswordLastSet": "-"}),
			record.Record{Source: record.DirectoryChange, Title: "account changed: OldUacValue 0x10, NewUacValue 0x11", Subject: by, Others: []record.Party{ana}, Result: record.Success, Resource: "DC1.corp.example", Session: "dc1.corp.example/0x3e7"}},
		"a member": {4728, with(subject, map[string]string{"MemberName": `CN=Ana\, A,OU=Staff,DC=x`, "MemberSid": target, "TargetUserName": "Finance", "TargetDomainName": "CORP", "TargetSid": "S-1-5-21-1-2-3-1200"}),
			record.Record{Source: record.DirectoryChange, Title: "member added to a global security group", Subject: by, Result: record.Success, Resource: `CORP\Finance`, Session: "dc1.corp.example/0x3e7",
				Others: []record.Party{{Role: "member", Ref: ref(identity.Ref{SID: target, DisplayName: `Ana\, A`})}, {Role: "group", Ref: ref(identity.Ref{SID: "S-1-5-21-1-2-3-1200", SAM: "Finance", Domain: "CORP"})}}}},
		"an attribute": {5136, with(subject, map[string]string{"ObjectDN": "CN=Ana,DC=x", "ObjectGUID": "{ED2BF5D3-3510-46F6-A17D-0016F1F2CA61}", "AttributeLDAPDisplayName": "msDS-KeyCredentialLink", "OperationType": "%%14674", "OpCorrelationID": "{c}"}),
			record.Record{Source: record.DirectoryChange, Title: "value added to msDS-KeyCredentialLink", Subject: by, Result: record.Success, Resource: "CN=Ana,DC=x", Session: "dc1.corp.example/0x3e7", CorrelationID: "{c}",
				Others: []record.Party{{Role: "target", Ref: ref(identity.Ref{GUID: "ed2bf5d3-3510-46f6-a17d-0016f1f2ca61", DisplayName: "Ana"})}}}},
		"a service": {7045, map[string]string{"ServiceName": "PSEXESVC", "ImagePath": "x"}, record.Record{Source: record.WindowsEvent, Title: "service installed PSEXESVC", Result: record.Success, Resource: "DC1.corp.example"}},
	} {
		for form, text := range forms(c.id, c.data) {
			t.Run(name+" as "+form, func(t *testing.T) {
				t.Parallel()
				got, reason := winevent.Decode(tenant, []byte(text))
				if reason != "" || got.Problem() != "" || !json.Valid(got.Raw) {
					t.Fatalf("refused: %q, %q: %s", reason, got.Problem(), text)
				}
				want := c.want
				want.Tenant, want.Type, want.At, want.Raw = tenant, fmt.Sprint(c.id), time.Date(2026, 3, 1, 8, 0, 0, 123456700, time.UTC), got.Raw
				if want.ExternalID = got.ExternalID; !strings.HasPrefix(got.ExternalID, "windows:dc1.corp.example/4711/") {
					t.Errorf("id %q", got.ExternalID)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			})
		}
	}
}

// What Defender for Identity collects, and what proves our own changes, is read.
func TestKnowsTheEvents(t *testing.T) {
	t.Parallel()
	for _, id := range []int{4662, 4726, 4728, 4729, 4730, 4732, 4733, 4741, 4743, 4753, 4756, 4757, 4758, 4763, 4776, 5136, 7045, 8004,
		1202, 1203, 4624, 4625, 4870, 4882, 4885, 4887, 4888, 4890, 4896, 4725, 4722, 4724, 4723, 4738, 4740, 4767, 4781} {
		if _, reason := winevent.Decode(tenant, []byte(forms(id, nil)["XML"])); reason != "" {
			t.Errorf("event %d: %s", id, reason)
		}
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{}": "no number", "<Event>": "no event in XML", "[": "no event in JSON", `{"EventID":4624}`: "when it happened",
		`{"EventID":4624,"EventTime":"2026-03-01 08:00:00"}`:                              "which record",
		`{"EventID":1,"EventTime":"2026-03-01 08:00:00","Hostname":"a","RecordNumber":1}`: "event 1 is none",
		`{"Event":7}`: "Event is none", `{"winlog":7}`: "winlog is none", `{"Event":{"System":7}}`: "System is none",
	} {
		if _, reason := winevent.Decode(tenant, []byte(text)); !strings.Contains(reason, want) {
			t.Errorf("%s: %q, want %q", text, reason, want)
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	one := forms(4624, nil)["XML"]
	stream := "\ufeff<?xml version='1.0'?><Events>" + one + "\r\n" + one + "</Events>" + one + "<Event><EventID>cut"
	for name, r := range map[string]io.Reader{"at once": strings.NewReader(stream), "byte by byte": iotest.OneByteReader(strings.NewReader(stream))} {
		var got []string
		if err := winevent.Split(r, func(raw []byte) bool { got = append(got, string(raw)); return true }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{one, one, one, "<Event><EventID>cut"}, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
	broken := errors.New("broken")
	if err := winevent.Split(iotest.ErrReader(broken), func([]byte) bool { return true }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	n := 0
	if err := winevent.Split(strings.NewReader("<Event>"+strings.Repeat("x", 3<<20)), func(raw []byte) bool { n += len(raw); return true }); err != nil || n != winevent.MaxEvent {
		t.Errorf("an endless event: %d bytes, %v", n, err)
	}
}

// FuzzDecode holds that no event panics and that what is kept can be stored.
func FuzzDecode(f *testing.F) {
	for _, text := range forms(4624, map[string]string{"TargetUserSid": target, "IpAddress": "::1"}) {
		f.Add(text)
	}
	f.Add(`{"Event":{"System":{"EventID":{"#text":{"#text":1}}},"EventData":{"Data":[1]}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, reason := winevent.Decode(tenant, []byte(text))
		if reason != "" {
			return
		}
		if p := r.Problem(); p != "" {
			t.Fatalf("kept, and %s", p)
		}
		if !json.Valid(r.Raw) {
			t.Fatalf("kept what is no JSON: %q", r.Raw)
		}
		for _, s := range []string{r.Title, r.Resource, r.Device, r.Session, r.Subject.SAM, r.ExternalID} {
			if strings.ContainsAny(s, "\n\r") {
				t.Fatalf("text of two lines: %q", s)
			}
		}
	})
}

// FuzzSplit holds that a stream of anything comes to its end, and that nothing is
// yielded that was not in it.
func FuzzSplit(f *testing.F) {
	f.Add("<Event><Event></Event><Events><EventID></Event>")
	f.Fuzz(func(t *testing.T, text string) {
		at := 0
		if err := winevent.Split(iotest.HalfReader(strings.NewReader(text)), func(raw []byte) bool {
			n := strings.Index(text[at:], string(raw))
			if n < 0 {
				t.Fatalf("%q was not there", raw)
			}
			at += n + len(raw)
			return true
		}); err != nil {
			t.Fatal(err)
		}
	})
}
