package activedirectory_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/secret"
	"github.com/seed-f47efad2/cordon/lab/addc"
)

var lab = addc.NewLab(addc.Options{})

func TestMain(m *testing.M) {
	code := m.Run()
	lab.Close()
	os.Exit(code)
}

func open(t *testing.T, groups ...string) (*addc.Domain, *activedirectory.Accounts) {
	t.Helper()
	d := lab.Domain(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(d.Containment.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := directory.New(directory.Config{Domain: d.Name, DCs: []string{d.Controllers[0].Host}, CAFile: d.CAFile,
		Bind: directory.Bind{UPN: d.Containment.UPN, Password: secret.Ref("file:" + file)}}, directory.Options{Dial: (&addc.Wire{Domain: d}).Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return d, &activedirectory.Accounts{Directory: c, ProtectedGroups: groups, Now: time.Now}
}

// one reads the facts of one account and what they mean for its protection.
func one(t *testing.T, a *activedirectory.Accounts, sid string) (identity.Account, identity.Protection) {
	t.Helper()
	got, err := a.Facts(t.Context(), []identity.Ref{{SID: sid}})
	if err != nil || len(got) != 1 {
		t.Fatalf("facts of %s: %+v, %v", sid, got, err)
	}
	account := identity.Account{Ref: got[0].Ref, Facts: got[0].Facts}
	kind := cmpKind(account.Kind)
	return account, identity.Policy{OnPremises: true}.Protect(identity.Identity{Kind: kind, Accounts: []identity.Account{account}}, 5, time.Now(), time.Now())
}

func cmpKind(k identity.Kind) identity.Kind {
	if k == "" {
		return identity.KindUnknown
	}
	return k
}

func (b bed) modify(t *testing.T, format string, args ...any) {
	t.Helper()
	if err := b.Modify(context.Background(), b.Controllers[0], fmt.Sprintf(format, args...)); err != nil {
		t.Fatal(err)
	}
}

type bed struct{ *addc.Domain }

func (b bed) take(t *testing.T) addc.Account {
	t.Helper()
	a, err := b.Take()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (b bed) sid(t *testing.T, dn string) string {
	t.Helper()
	e, err := b.Read(context.Background(), b.Controllers[0], dn, "objectSid")
	if err != nil {
		t.Fatal(err)
	}
	s, err := directory.SIDText([]byte(e["objectSid"]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func roles(a identity.Account) (names []string) {
	for _, r := range a.Facts.Roles {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return names
}

func TestFactsOfPeople(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	b := bed{d}
	finance := b.sid(t, "CN=Finance,OU=Groups,"+d.BaseDN)
	_, a := open(t, strings.ToLower(finance), "S-1-5-21-1-2-3-4")
	p := b.take(t)
	before := time.Now()
	got, protection := one(t, a, p.SID)
	f, o := got.Facts, got.Facts.OnPremises
	if got.GUID != p.GUID || got.SAM != p.SAM || got.UPN != p.UPN || got.Kind != identity.KindPerson || got.Domain != d.Name {
		t.Errorf("names: %+v", got.Ref)
	}
	if f.Enabled == nil || !*f.Enabled || !*f.Found || f.LastPasswordChange.IsZero() || f.AsOf.Before(before) || f.RolesAsOf.Before(before) {
		t.Errorf("facts: %+v", f)
	}
	if o.Class != identity.ClassUser || !slices.Equal(o.Control, []string{"NORMAL_ACCOUNT"}) || len(f.Roles) > 0 || o.Own || o.Replicates || o.Anchor != p.GUID || len(o.LastOf) > 0 {
		t.Errorf("on premises: %+v, roles %v", o, f.Roles)
	}
	if !slices.Equal(f.Groups, []string{strings.ToUpper(finance)}) || len(f.GroupsRead) != 2 {
		t.Errorf("protected groups: in %v of %v", f.Groups, f.GroupsRead)
	}
	if protection.Protected() {
		t.Errorf("an ordinary person is protected: %v", protection.Reasons)
	}
	listed := identity.Policy{OnPremises: true, List: []identity.Protected{{Match: finance, Group: true, Reason: "month's end"}}}
	who := identity.Identity{Kind: identity.KindPerson, Accounts: []identity.Account{got}}
	if r := listed.Protect(who, 5, time.Now(), time.Now()); r.Unknown || !slices.Contains(r.Reasons, "on the protected list: month's end") {
		t.Errorf("a member of a protected group: %+v", r)
	}
	listed.List[0].Match = "S-1-5-21-1-2-3-9"
	if r := listed.Protect(who, 5, time.Now(), time.Now()); !r.Unknown || !strings.Contains(strings.Join(r.Reasons, ";"), "have not been read") {
		t.Errorf("a protected group that nobody asked about: %+v", r)
	}
	if r := (identity.Policy{OnPremises: true}).Protect(who, 5, time.Now(), time.Now().Add(25*time.Hour)); !r.Unknown {
		t.Errorf("facts of yesterday: %+v", r)
	}

	b.modify(t, "dn: %s\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 4260354\n-\nadd: servicePrincipalName\nservicePrincipalName: MSSQLSvc/%s.corp.example\n-\nreplace: pwdLastSet\npwdLastSet: 0\n", p.DN, p.SAM)
	got, _ = one(t, a, p.SID)
	if o = got.Facts.OnPremises; *got.Facts.Enabled || !slices.Equal(o.Control, []string{"ACCOUNTDISABLE", "NORMAL_ACCOUNT", "DONT_EXPIRE_PASSWORD", "DONT_REQ_PREAUTH"}) || !o.MustChange ||
		!slices.Equal(o.Services, []string{"MSSQLSvc/" + p.SAM + ".corp.example"}) {
		t.Errorf("after the change: enabled %v, %+v", *got.Facts.Enabled, o)
	}
}

func TestNestedMembershipIsSensitive(t *testing.T) {
	t.Parallel()
	d, a := open(t)
	b := bed{d}
	p := b.take(t)
	b.modify(t, `dn: CN=Inner %[3]s,OU=Groups,%[1]s
changetype: add
objectClass: group
sAMAccountName: Inner %[3]s
member: %[2]s

dn: CN=Outer %[3]s,OU=Groups,%[1]s
changetype: add
objectClass: group
sAMAccountName: Outer %[3]s
member: CN=Inner %[3]s,OU=Groups,%[1]s

dn: CN=Account Operators,CN=Builtin,%[1]s
changetype: modify
add: member
member: CN=Outer %[3]s,OU=Groups,%[1]s

dn: CN=Protected Users,CN=Users,%[1]s
changetype: modify
add: member
member: %[2]s
`, d.BaseDN, p.DN, p.SAM)
	t.Cleanup(func() { // the domain may be used again
		b.modify(t, "dn: CN=Account Operators,CN=Builtin,%s\nchangetype: modify\ndelete: member\nmember: CN=Outer %s,OU=Groups,%[1]s\n", d.BaseDN, p.SAM)
	})
	got, _ := one(t, a, p.SID)
	if !slices.Equal(roles(got), []string{"Account Operators"}) || !got.Facts.OnPremises.Guarded || !slices.Equal(got.Facts.OnPremises.LastOf, []string{"Account Operators"}) {
		t.Errorf("roles %v, %+v", roles(got), got.Facts.OnPremises)
	}
	if privileged, known := (identity.Identity{Accounts: []identity.Account{got}}).Privileged(); !privileged || !known {
		t.Errorf("privileged %v, known %v", privileged, known)
	}

	t0, protection := one(t, a, d.Tier0.SID)
	if r := roles(t0); !slices.Contains(r, "Domain Admins") || !slices.Contains(r, "Administrators") || !slices.Contains(r, "Replicating Directory Changes All") {
		t.Errorf("a Domain Admin: %v", r)
	}
	if peers := t0.Facts.OnPremises.Peers["Domain Admins"]; !slices.Equal(peers, []string{d.Admin.SID}) {
		t.Errorf("the other Domain Admins are %v, want the Administrator", peers)
	}
	if protection.Protected() {
		t.Errorf("one of two Domain Admins is protected: %v", protection.Reasons)
	}
	last := t0
	last.Facts.OnPremises.LastOf = []string{"Domain Admins"}
	if r := (identity.Policy{OnPremises: true}).Protect(identity.Identity{Kind: identity.KindPerson, Accounts: []identity.Account{last}}, 5, time.Now(), time.Now()); r.Unknown || !r.Protected() {
		t.Errorf("the last Domain Admin: %+v", r)
	}
}

// Who cannot sign in, or is in the group only by way of somebody's mistake, does not
// stand in for the others; who is in it by way of another group does.
func TestPeersAreThoseWhoCanSignIn(t *testing.T) {
	t.Parallel()
	d, a := open(t)
	b := bed{d}
	x, expired, disabled, nested, primary := b.take(t), b.take(t), b.take(t), b.take(t), b.take(t)
	rid := b.sid(t, "CN=Enterprise Admins,CN=Users,"+d.BaseDN)
	rid = rid[strings.LastIndexByte(rid, '-')+1:]
	deep := fmt.Sprintf("CN=Deep %s,OU=Groups,%s", x.SAM, d.BaseDN)
	t.Cleanup(func() { // the domain may be used again
		b.modify(t, "dn: %s\nchangetype: modify\nreplace: primaryGroupID\nprimaryGroupID: 513\n\ndn: CN=Enterprise Admins,CN=Users,%s\nchangetype: modify\ndelete: member\nmember: %s\nmember: %s\nmember: %[1]s\n", primary.DN, d.BaseDN, x.DN, deep)
	})
	b.modify(t, `dn: %[1]s
changetype: add
objectClass: group
sAMAccountName: Deep %[2]s
member: %[3]s
member: %[4]s
member: %[5]s

dn: CN=Enterprise Admins,CN=Users,%[6]s
changetype: modify
add: member
member: %[7]s
member: %[1]s
member: %[8]s

dn: %[1]s
changetype: modify
add: member
member: CN=Enterprise Admins,CN=Users,%[6]s

dn: %[3]s
changetype: modify
replace: accountExpires
accountExpires: 133500000000000000

dn: %[4]s
changetype: modify
replace: userAccountControl
userAccountControl: 514

dn: %[8]s
changetype: modify
replace: primaryGroupID
primaryGroupID: %[9]s
`, deep, x.SAM, expired.DN, disabled.DN, nested.DN, d.BaseDN, x.DN, primary.DN, rid)
	want := []string{d.Admin.SID, nested.SID, primary.SID}
	slices.Sort(want)
	got, _ := one(t, a, x.SID)
	if peers := got.Facts.OnPremises.Peers["Enterprise Admins"]; !slices.Equal(peers, want) {
		t.Errorf("peers %v, want the Administrator, the nested and the one whose primary group it is: %v", peers, want)
	}
}

func TestWhatIsNeverTouched(t *testing.T) {
	t.Parallel()
	d, a := open(t)
	b := bed{d}
	web, pc := "CN=web,OU=Service,"+d.BaseDN, "CN=PC1,OU=Staff,"+d.BaseDN
	t.Cleanup(func() { b.modify(t, "dn: %s\nchangetype: delete\n\ndn: %s\nchangetype: delete\n", web, pc) })
	b.modify(t, `dn: %s
changetype: add
objectClass: msDS-GroupManagedServiceAccount
sAMAccountName: web$
dNSHostName: web.corp.example
msDS-ManagedPasswordInterval: 30
userAccountControl: 4096

dn: %s
changetype: add
objectClass: computer
sAMAccountName: PC1$
userAccountControl: 4096
`, web, pc)
	for sid, want := range map[string]string{
		d.Containment.SID:                        "one of Cordon's own accounts",
		d.Admin.SID:                              "the domain's built-in Administrator",
		b.sid(t, "CN=krbtgt,CN=Users,"+d.BaseDN): "krbtgt",
		b.sid(t, "CN=DC1,OU=Domain Controllers,"+d.BaseDN): "a domain controller",
		b.sid(t, pc):                               "a computer account",
		b.sid(t, web):                              "a group managed service account",
		b.sid(t, "CN=Guest,CN=Users,"+d.BaseDN):    "built-in Guest",
		b.sid(t, "CN=Finance,OU=Groups,"+d.BaseDN): "names no account",
	} {
		got, protection := one(t, a, sid)
		if !strings.Contains(strings.Join(protection.Reasons, "; "), want) || protection.Unknown {
			t.Errorf("%s (%s): want %q in %+v", got.SAM, got.Facts.OnPremises.Class, want, protection)
		}
	}
	got, err := a.Facts(t.Context(), []identity.Ref{{SID: d.Reader.SID + "9"}, {UPN: "nobody@corp.example"}})
	if err != nil || len(got) != 1 || got[0].Facts.Found == nil || *got[0].Facts.Found {
		t.Errorf("an account that is not there: %+v, %v", got, err)
	}
}

// A controller that takes connections and says nothing keeps nothing from being read.
func TestSilentControllerKeepsNothing(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(d.Containment.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	wire := &addc.Wire{Domain: d}
	c, err := directory.New(directory.Config{Domain: d.Name, DCs: []string{"gone." + d.Name, d.Controllers[0].Host}, CAFile: d.CAFile,
		Bind: directory.Bind{UPN: d.Containment.UPN, Password: secret.Ref("file:" + file)}},
		directory.Options{Timeout: 4 * time.Second, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "gone.") {
				return (&net.Dialer{}).DialContext(ctx, "tcp", silent.Addr().String())
			}
			return wire.Dial(ctx, network, address)
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a := &activedirectory.Accounts{Directory: c, Now: time.Now}
	p := bed{d}.take(t)
	got, err := a.Facts(t.Context(), []identity.Ref{{SID: p.SID}})
	if err != nil || len(got) != 1 || got[0].Facts.OnPremises == nil || got[0].Ref.GUID != p.GUID {
		t.Errorf("facts: %+v, %v", got, err)
	}
}

func TestKeysThatDisagree(t *testing.T) {
	t.Parallel()
	d, a := open(t)
	b := bed{d}
	x, y := b.take(t), b.take(t)
	got, err := a.Facts(t.Context(), []identity.Ref{{SID: x.SID, GUID: y.GUID}})
	if err != nil || len(got) != 1 || got[0].Facts.OnPremises == nil || got[0].Facts.OnPremises.Dispute == "" || got[0].Ref.GUID != "" {
		t.Fatalf("SID of one and GUID of another: %+v, %v", got, err)
	}
	r := identity.Policy{OnPremises: true}.Protect(identity.Identity{Kind: identity.KindPerson, Accounts: []identity.Account{{Ref: got[0].Ref, Facts: got[0].Facts}}}, 5, time.Now(), time.Now())
	if !r.Protected() || r.Unknown || !strings.Contains(r.Reasons[0], "identifiers disagree") {
		t.Errorf("protection: %+v", r)
	}

	// A synchronised account's immutable id is made of its own GUID …
	if dispute, err := a.Dispute(t.Context(), x.SID, x.GUID); err != nil || dispute != "" {
		t.Errorf("both keys of one account: %q, %v", dispute, err)
	}
	// … or of another's, which is how a takeover by matching looks …
	if dispute, err := a.Dispute(t.Context(), x.SID, y.GUID); err != nil || !strings.Contains(dispute, y.SAM) {
		t.Errorf("the immutable id of another account: %q, %v", dispute, err)
	}
	// … or of a GUID that was carried over from another forest.
	old := make([]byte, 16)
	_, _ = rand.Read(old) // never fails
	b.modify(t, "dn: %s\nchangetype: modify\nreplace: mS-DS-ConsistencyGuid\nmS-DS-ConsistencyGuid:: %s\n", x.DN, base64.StdEncoding.EncodeToString(old))
	anchored := activedirectory.Anchored(base64.StdEncoding.EncodeToString(old))
	moved, _ := one(t, a, x.SID)
	if moved.Facts.OnPremises.Anchor != anchored || anchored == "" {
		t.Errorf("anchor %q, want %q", moved.Facts.OnPremises.Anchor, anchored)
	}
	if dispute, err := a.Dispute(t.Context(), x.SID, anchored); err != nil || dispute != "" {
		t.Errorf("after a migration: %q, %v", dispute, err)
	}
	if dispute, err := a.Dispute(t.Context(), y.SID, anchored); err != nil || !strings.Contains(dispute, x.SAM) {
		t.Errorf("somebody else's anchor: %q, %v", dispute, err)
	}
	for _, text := range []string{"", "employee-17", "MDEyMw=="} {
		if g := activedirectory.Anchored(text); g != "" {
			t.Errorf("immutable id %q: %q", text, g)
		}
	}
}
