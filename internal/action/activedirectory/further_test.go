package activedirectory_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/lab/addc"
)

// change is any change that somebody else makes, as LDIF below "changetype: modify".
func (b *bed) change(t testing.TB, dn, ldif string) {
	t.Helper()
	if err := b.Modify(context.Background(), b.Controllers[0], "dn: "+dn+"\nchangetype: modify\n"+ldif); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) group(name string) string { return "CN=" + name + ",OU=Groups," + b.BaseDN }

// keyCredential is a value of msDS-KeyCredentialLink as Windows Hello writes one: a
// key id and a time of creation.
func keyCredential(n byte, dn string) string {
	blob := binary.LittleEndian.AppendUint32(nil, 0x200)
	blob = append(append(blob, 32, 0, 1), strings.Repeat(string(rune('a'+n%20)), 32)...)
	blob = append(blob, 1, 0, 4, 1)
	blob = binary.LittleEndian.AppendUint64(append(blob, 8, 0, 9), 133_500_000_000_000_000)
	return fmt.Sprintf("B:%d:%X:%s", 2*len(blob), blob, dn)
}

func (b *bed) giveKeys(t testing.TB, a addc.Account) {
	t.Helper()
	b.change(t, a.DN, "add: msDS-KeyCredentialLink\nmsDS-KeyCredentialLink: "+keyCredential(1, a.DN)+"\nmsDS-KeyCredentialLink: "+keyCredential(2, a.DN)+"\n")
}

// all reads several attributes at once, to compare what an undo brought back.
func all(attributes ...string) func(testing.TB, *bed, string) any {
	return func(t testing.TB, b *bed, dn string) any {
		t.Helper()
		e, err := b.Read(context.Background(), b.Controllers[0], dn, attributes...)
		if err != nil {
			t.Fatal(err)
		}
		delete(e, "dn")
		return e
	}
}

func membership(group string) func(testing.TB, *bed, string) any {
	return func(t testing.TB, b *bed, dn string) any {
		t.Helper()
		in, err := b.Member(context.Background(), b.Controllers[0], b.group(group), dn)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
}

func furtherConformance() []conformance {
	nothing := func(testing.TB, *bed, addc.Account) {}
	return []conformance{
		{name: activedirectory.RemoveFromGroup, undo: activedirectory.AddToGroup, params: map[string]any{activedirectory.ParamGroup: "Finance"},
			fresh: nothing, state: membership("Finance"), extern: true},
		{name: activedirectory.AddToGroup, undo: activedirectory.RemoveFromGroup, params: map[string]any{activedirectory.ParamGroup: "Quarantine"},
			fresh: nothing, state: membership("Quarantine"), extern: true},
		{name: activedirectory.ClearKeyCredentials, undo: activedirectory.RestoreKeyCredentials,
			fresh: func(t testing.TB, b *bed, a addc.Account) { b.giveKeys(t, a) }, state: all("msDS-KeyCredentialLink")},
		{name: activedirectory.ClearDelegation, undo: activedirectory.RestoreDelegation,
			fresh: func(t testing.TB, b *bed, a addc.Account) {
				b.change(t, a.DN, "add: msDS-AllowedToDelegateTo\nmsDS-AllowedToDelegateTo: cifs/files.corp.example\nmsDS-AllowedToDelegateTo: http/web.corp.example\n"+
					"-\nreplace: userAccountControl\nuserAccountControl: 17301504\n")
			}, state: all("msDS-AllowedToDelegateTo", "userAccountControl")},
		{name: activedirectory.Expire, undo: activedirectory.RestoreExpiry, fresh: nothing, state: all("accountExpires")},
		{name: activedirectory.RestrictLogon, undo: activedirectory.RestoreLogon,
			params: map[string]any{activedirectory.ParamWorkstations: "PC-1, PC-2", activedirectory.ParamNoHours: true},
			fresh:  nothing, state: all("userWorkstations", "logonHours")},
	}
}

func (b *bed) finance(t testing.TB, when string, a addc.Account, in bool) {
	t.Helper()
	for _, c := range b.Controllers {
		l, err := b.Finance(context.Background(), c, a.SAM, a.Password)
		if err != nil {
			t.Fatal(err)
		}
		if l.OK != in || !in && !strings.Contains(l.Text, "NT_STATUS_ACCESS_DENIED") {
			t.Errorf("%s, the share on %s: in %v, said %q", when, c.Host, l.OK, l.Text)
		}
	}
}

func TestRemovedMemberLosesAccess(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := b.take(t)
	b.finance(t, "before", a, true)
	params := map[string]any{activedirectory.ParamGroup: "finance"} // names are compared without case
	r := b.through(t, activedirectory.RemoveFromGroup, a, params)
	b.finance(t, "removed and verified", a, false)
	b.expect(t, "removed from a group", b.Controllers[0], a, nil)
	back, ok := b.types[activedirectory.RemoveFromGroup].(action.Undoer).Undo(r.Before)
	if !ok {
		t.Fatal("it cannot be undone")
	}
	b.through(t, activedirectory.AddToGroup, a, back)
	b.finance(t, "undone and verified", a, true)
}

// A nested membership is no value that could be removed; whoever is also a direct
// member is told what stays.
func TestNestedMembershipIsSaid(t *testing.T) {
	t.Parallel()
	b := open(t)
	both, nested := b.take(t), b.take(t)
	for _, a := range []addc.Account{both, nested} {
		b.change(t, b.group("Ledger"), "add: member\nmember: "+a.DN+"\n")
	}
	b.change(t, b.group("Finance"), "delete: member\nmember: "+nested.DN+"\n")
	look := func(a addc.Account, group string) action.Look {
		return b.types[activedirectory.RemoveFromGroup].Look(context.Background(), []action.Request{{Account: ref(a), Params: map[string]any{activedirectory.ParamGroup: group}}})[0]
	}
	if l := look(nested, "Finance"); !strings.Contains(l.Refuse, "by way of Ledger: remove it there") {
		t.Errorf("a nested member: %+v", l)
	}
	if l := look(both, "Finance"); l.Refuse != "" || l.Err != nil || !strings.Contains(l.Text, "direct member of Finance; also by way of Ledger, which stays") {
		t.Errorf("a direct and nested member: %+v", l)
	}
	if l := look(both, "Domain Users"); !strings.Contains(l.Refuse, "primary group") {
		t.Errorf("the primary group: %+v", l)
	}
	if l := look(both, "Quarantine"); !l.Already || l.Refuse != "" || l.Err != nil {
		t.Errorf("no member: %+v", l)
	}
	// Whether it is a member of a group that may not be changed is not believed.
	if l := look(both, "Enterprise Admins"); l.Err == nil {
		t.Errorf("a group that was not delegated: %+v", l)
	}
	if l := look(both, "no such group"); !strings.Contains(l.Refuse, "no group") {
		t.Errorf("no such group: %+v", l)
	}
}

// What survives a containment is said with the proof, and is true.
func TestRemainingAccessIsReported(t *testing.T) {
	t.Parallel()
	b := open(t)
	a, c := b.take(t), b.Controllers[0]
	ticket, err := b.Ticket(t.Context(), c, a.SAM, a.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer ticket.Close()
	conn := b.dial(t)
	defer conn.Close()
	if err := conn.Bind(a.UPN, a.Password); err != nil {
		t.Fatal(err)
	}
	r := b.begin(t, activedirectory.Disable, a, nil)
	if o := b.do(t, activedirectory.Disable, r); o.Verdict != action.Accepted {
		t.Fatalf("outcome %+v", o)
	}
	proof := b.verified(t, activedirectory.Disable, r)
	b.expect(t, "disabled", c, a, map[string]string{"Kerberos": "revoked", "LDAP": "data 533", "SMB": "NT_STATUS_ACCOUNT_DISABLED"})
	if l, err := ticket.SMB(t.Context(), c); err != nil || !l.OK {
		t.Errorf("the service ticket: %+v, %v; the text says that it lives on", l, err)
	}
	found, err := conn.Search(ldap.NewSearchRequest(a.DN, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"cn"}, nil))
	if err != nil || len(found.Entries) != 1 {
		t.Errorf("the open connection: %v; the text says that it goes on", err)
	}
	for _, part := range []string{"remaining access", "connections that were open", "Kerberos tickets got before", r.Since.Add(10 * time.Hour).UTC().Format("2006-01-02 15:04")} {
		if !strings.Contains(proof.Text, part) {
			t.Errorf("the proof does not say %q: %s", part, proof.Text)
		}
	}
	limits := b.types[activedirectory.Disable].Spec().Limits
	if !strings.Contains(limits, "Open LDAP and SMB connections go on") || !strings.Contains(limits, "tickets live to their end") {
		t.Errorf("the plan does not say so: %s", limits)
	}
}

// A service that may act for others acts for one who never came to it; not after its
// delegation was cleared, and again after the undo.
func TestClearedDelegationAsAnOutsiderSeesIt(t *testing.T) {
	t.Parallel()
	b := open(t)
	service, target, victim := b.take(t), b.take(t), b.take(t)
	spn := "http/" + target.SAM + ".corp.example"
	b.change(t, target.DN, "replace: servicePrincipalName\nservicePrincipalName: "+spn+"\n")
	b.change(t, service.DN, "replace: servicePrincipalName\nservicePrincipalName: http/"+service.SAM+".corp.example\n-\nadd: msDS-AllowedToDelegateTo\nmsDS-AllowedToDelegateTo: "+spn+
		"\n-\nreplace: userAccountControl\nuserAccountControl: 16777728\n") // TRUSTED_TO_AUTH_FOR_DELEGATION
	acts := func(when string, want bool) {
		t.Helper()
		l, err := b.Delegate(context.Background(), b.Controllers[0], service.SAM, service.Password, victim.SAM, spn)
		if err != nil {
			t.Fatal(err)
		}
		if l.OK != want || !want && !strings.Contains(l.Text, "constrained delegation failed") {
			t.Errorf("%s, for somebody else: got in %v, said %q", when, l.OK, l.Text)
		}
	}
	acts("before", true)
	r := b.through(t, activedirectory.ClearDelegation, service, nil)
	acts("cleared and verified", false)
	b.expect(t, "its own sign-in", b.Controllers[0], service, nil)
	back, ok := b.types[activedirectory.ClearDelegation].(action.Undoer).Undo(r.Before)
	if !ok {
		t.Fatal("it cannot be undone")
	}
	b.through(t, activedirectory.RestoreDelegation, service, back)
	acts("undone and verified", true)
}

func TestExpiryAndRestrictionsAsAnOutsiderSeesThem(t *testing.T) {
	t.Parallel()
	b := open(t)
	expired, restricted, never := b.take(t), b.take(t), b.take(t)
	r := b.through(t, activedirectory.Expire, expired, nil)
	for _, c := range b.Controllers {
		b.expect(t, "expired", c, expired, map[string]string{"Kerberos": "revoked", "LDAP": "data 701", "SMB": "NT_STATUS_ACCOUNT_EXPIRED"})
	}
	back, ok := b.types[activedirectory.Expire].(action.Undoer).Undo(r.Before)
	if !ok {
		t.Fatal("it cannot be undone")
	}
	b.through(t, activedirectory.RestoreExpiry, expired, back)
	b.expect(t, "given its time back", b.Controllers[1], expired, nil)

	params := map[string]any{activedirectory.ParamWorkstations: "PC-1"}
	r = b.through(t, activedirectory.RestrictLogon, restricted, params)
	b.expect(t, "restricted to a computer", b.Controllers[0], restricted, map[string]string{"SMB": "NT_STATUS_INVALID_WORKSTATION", "LDAP": "data 531"})
	back, ok = b.types[activedirectory.RestrictLogon].(action.Undoer).Undo(r.Before)
	if !ok {
		t.Fatal("it cannot be undone")
	}
	b.through(t, activedirectory.RestoreLogon, restricted, back)
	b.expect(t, "restrictions lifted", b.Controllers[0], restricted, nil)

	r = b.through(t, activedirectory.RestrictLogon, never, map[string]any{activedirectory.ParamNoHours: true})
	b.expect(t, "at no hour", b.Controllers[1], never, map[string]string{"Kerberos": "revoked", "LDAP": "data 530", "SMB": "NT_STATUS_INVALID_LOGON_HOURS"})
	if back, ok = b.types[activedirectory.RestrictLogon].(action.Undoer).Undo(r.Before); !ok {
		t.Fatal("it cannot be undone")
	}
	b.through(t, activedirectory.RestoreLogon, never, back)
	b.expect(t, "at every hour again", b.Controllers[0], never, nil)
}

// Whatever stands in a parameter or a recorded state, nobody and nothing is found by
// it that is not called exactly so.
func TestHostileParametersDoNothing(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := b.take(t)
	dns := []string{a.DN, b.group("Finance"), b.group("Quarantine")}
	usn := func() (out []string) {
		for _, dn := range dns[:1] {
			out = append(out, b.shows(t, b.Controllers[0], dn, "uSNChanged"))
		}
		return append(out, fmt.Sprint(membership("Finance")(t, b, a.DN)), fmt.Sprint(membership("Quarantine")(t, b, a.DN)))
	}
	before := usn()
	for _, h := range []string{"*", "*)(objectClass=*", "Finance)(cn=*", "\x00", "Finance\x00", "\u202eecnaniF", strings.Repeat("a", 10_000), `CN=x\,y+z="q",DC=<>;#`, "F*nance", "\\2a", "\xff\xfe", "S-1-5-21-", "{00000000-0000-0000-0000-00000000000g}", ",", "../PC", "PC\n1"} {
		for name, params := range map[action.Name]map[string]any{
			activedirectory.RemoveFromGroup: {activedirectory.ParamGroup: h}, activedirectory.AddToGroup: {activedirectory.ParamGroup: h},
			activedirectory.RestrictLogon:         {activedirectory.ParamWorkstations: "PC-1," + h + "/"},
			activedirectory.RestoreKeyCredentials: {activedirectory.ParamState: h}, activedirectory.RestoreDelegation: {activedirectory.ParamState: h},
			activedirectory.RestoreExpiry: {activedirectory.ParamState: h}, activedirectory.RestoreLogon: {activedirectory.ParamState: h},
		} {
			r := action.Request{ID: "x", Account: ref(a), Params: params}
			if l := b.types[name].Look(t.Context(), []action.Request{r})[0]; l.Err == nil && l.Refuse == "" {
				t.Errorf("%s with %.40q: %+v", name, h, l)
			} else if len(l.Refuse) > 400 || strings.ContainsAny(l.Refuse, "\n\x00\u202e") {
				t.Errorf("%s with %.40q says %.400q", name, h, l.Refuse)
			}
			guid, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			r.Before = json.RawMessage(fmt.Sprintf(`{"objectGUID":%q,"userAccountControl":512,"group":{"objectGUID":%s,"name":%[2]s,"direct":true}}`, a.GUID, guid))
			if o := b.types[name].Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Refused {
				t.Errorf("%s done with %.40q: %+v", name, h, o)
			}
			if got := b.types[name].ReadBack(t.Context(), []action.Request{r})[0]; got.Seen && name == activedirectory.RemoveFromGroup {
				t.Errorf("%s read back with %.40q: %+v", name, h, got)
			}
		}
	}
	if diff := cmp.Diff(before, usn()); diff != "" {
		t.Errorf("something changed: %s", diff)
	}
}
