package directory_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"

	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/secret"
	"github.com/seed-f47efad2/cordon/lab/addc"
)

var lab = addc.NewLab(addc.Options{})

func TestMain(m *testing.M) {
	code := m.Run()
	lab.Close()
	os.Exit(code)
}

// config is how Cordon's own account reaches the lab's domain.
func config(t *testing.T, d *addc.Domain, as addc.Account) directory.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(as.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	return directory.Config{Domain: d.Name, DCs: []string{d.Controllers[0].Host}, CAFile: d.CAFile,
		Bind: directory.Bind{UPN: as.UPN, Password: secret.Ref("file:" + file)}}
}

func client(t *testing.T, c directory.Config, w *addc.Wire) *directory.Client {
	t.Helper()
	cl, err := directory.New(c, directory.Options{Dial: w.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

func open(t *testing.T) (*addc.Domain, *addc.Wire, *directory.Client) {
	t.Helper()
	d := lab.Domain(t)
	w := &addc.Wire{Domain: d}
	return d, w, client(t, config(t, d, d.Containment), w)
}

func take(t *testing.T, d *addc.Domain) addc.Account {
	t.Helper()
	a, err := d.Take()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestEveryWayToSignIn(t *testing.T) {
	t.Parallel()
	d := lab.Domain(t)
	for name, change := range map[string]func(*directory.Config){
		"LDAPS with UPN":      func(*directory.Config) {},
		"LDAPS with DN":       func(c *directory.Config) { c.Bind.UPN, c.Bind.DN = "", d.Containment.DN },
		"StartTLS":            func(c *directory.Config) { c.StartTLS = true },
		"Kerberos over LDAPS": func(c *directory.Config) { c.Bind.Kerberos, c.Bind.KDCs = true, []string{d.Controllers[0].Addr} },
		"Kerberos, StartTLS": func(c *directory.Config) {
			c.StartTLS, c.Bind.Kerberos, c.Bind.KDCs = true, true, []string{d.Controllers[0].Addr + ":88"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t, d, d.Containment)
			change(&c)
			self, err := client(t, c, &addc.Wire{Domain: d}).Self(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if self.SID != d.Containment.SID || self.GUID != d.Containment.GUID {
				t.Errorf("signed in as %s %s, want %s %s", self.SID, self.GUID, d.Containment.SID, d.Containment.GUID)
			}
		})
	}
}

func TestControllerMustProveItsName(t *testing.T) {
	t.Parallel()
	d := lab.Domain(t)
	for _, startTLS := range []bool{false, true} {
		c := config(t, d, d.Containment)
		c.DCs, c.StartTLS = []string{"dc9." + d.Name}, startTLS
		_, err := client(t, c, &addc.Wire{Domain: d, Alias: map[string]string{"dc9." + d.Name: d.Controllers[0].Host}}).Self(t.Context())
		if !errors.As(err, new(x509.HostnameError)) || !errors.Is(err, fault.Unavailable) {
			t.Errorf("StartTLS %v: another name than the certificate's: %v", startTLS, err)
		}
		c = config(t, d, d.Containment)
		c.CAFile, c.StartTLS = "", startTLS
		if _, err = client(t, c, &addc.Wire{Domain: d}).Self(t.Context()); !errors.As(err, new(x509.UnknownAuthorityError)) {
			t.Errorf("StartTLS %v: a CA that is not trusted: %v", startTLS, err)
		}
	}
}

func TestWrongPasswordIsTriedOnce(t *testing.T) {
	t.Parallel()
	d := lab.Domain(t)
	for _, kerberos := range []bool{false, true} {
		a := take(t, d)
		wrong := a
		wrong.Password = "not-" + a.Password
		c := config(t, d, wrong)
		if kerberos {
			c.Bind.Kerberos, c.Bind.KDCs = true, []string{d.Controllers[0].Addr}
		}
		cl := client(t, c, &addc.Wire{Domain: d})
		for range 8 { // the account would be locked after three
			_, err := cl.Self(t.Context())
			if !errors.Is(err, fault.Denied) {
				t.Fatalf("kerberos %v: %v is not denied", kerberos, err)
			}
			if strings.Contains(fmt.Sprintf("%+v %#v", err, err), wrong.Password) {
				t.Fatal("the error shows the password")
			}
		}
		e, err := d.Read(t.Context(), d.Controllers[0], a.DN, "badPwdCount")
		if err != nil || e["badPwdCount"] != "1" {
			t.Errorf("kerberos %v: badPwdCount is %q (%v); want one try", kerberos, e["badPwdCount"], err)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	d, _, cl := open(t)
	a := take(t, d)
	for _, name := range []string{a.SID, strings.ToLower(a.SID), a.GUID, "{" + strings.ToUpper(a.GUID) + "}", a.UPN, strings.ToUpper(a.UPN),
		d.NetBIOS + `\` + a.SAM, d.Name + `\` + strings.ToUpper(a.SAM)} {
		o, err := cl.Find(t.Context(), name, "userAccountControl")
		if err != nil || o.SID != a.SID || o.GUID != a.GUID || o.DN != a.DN {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
		if uac, _ := o.Text("useraccountcontrol"); uac != "512" {
			t.Errorf("%s: userAccountControl %q", name, uac)
		}
	}
	for _, dn := range []string{a.DN, strings.ToUpper(a.DN), strings.ReplaceAll(a.DN, ",", " , ")} {
		if o, err := cl.FindDN(t.Context(), dn, "whenCreated"); err != nil || o.SID != a.SID {
			t.Errorf("%s: %+v, %v", dn, o, err)
		} else if made, _ := o.Text("whenCreated"); time.Since(directory.GeneralizedTime(made)) > 24*time.Hour {
			t.Errorf("%s was made at %q", dn, made)
		}
	}
	for dn, want := range map[string]fault.Kind{"CN=Nobody,OU=Staff," + d.BaseDN: fault.NotFound, "CN=Ana,DC=other,DC=example": fault.Invalid, d.BaseDN: fault.Invalid, "": fault.Invalid} {
		if o, err := cl.FindDN(t.Context(), dn); !errors.Is(err, want) {
			t.Errorf("%q: %+v, %v; want %s", dn, o, err, want)
		}
	}
	// The name that every account has, whatever is written down.
	if err := d.Modify(t.Context(), d.Controllers[0], "dn: "+a.DN+"\nchangetype: modify\nreplace: userPrincipalName\nuserPrincipalName: other@"+a.SAM+".example\n"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{a.UPN, "other@" + a.SAM + ".example"} {
		if o, err := cl.Find(t.Context(), name); err != nil || o.SID != a.SID {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
	for name, want := range map[string]fault.Kind{
		"S-1-5-21-1-2-3-4444": fault.NotFound, "00000000-0000-4000-8000-000000000001": fault.NotFound, "nobody@" + d.Name: fault.NotFound,
		`OTHER\` + a.SAM: fault.Invalid, a.SAM: fault.Invalid, "": fault.Invalid, d.NetBIOS + `\`: fault.Invalid, "S-1-5-21-x": fault.Invalid,
		d.NetBIOS + `\DC1$`: fault.NotFound, // a computer is no person
	} {
		if o, err := cl.Find(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%q: %+v, %v; want %s", name, o, err, want)
		}
	}
}

// hostile are names that would find somebody else if they were not escaped.
func hostile(d *addc.Domain, a addc.Account) []string {
	return []string{
		"*", "*)(objectClass=*", "*)(|(sAMAccountName=*", a.SAM + ")(objectClass=*", "\x00", a.SAM + "\x00", `\2a`, "(", ")", `\`, `\\`,
		"\u202e" + a.SAM, a.SAM + "*", strings.Repeat("a", 10_000), strings.Repeat("*", 900), "\xff\xfe", ",OU=Staff," + d.BaseDN, "<GUID=" + a.GUID + ">", "#04024869",
	}
}

func TestHostileNamesFindNobody(t *testing.T) {
	t.Parallel()
	d, _, cl := open(t)
	a := take(t, d)
	for _, h := range hostile(d, a) {
		for _, name := range []string{h, d.NetBIOS + `\` + h, h + "@" + d.Name, a.SID + h, "{" + a.GUID + "}" + h} {
			o, err := cl.Find(t.Context(), name)
			if err == nil || !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Invalid) {
				t.Errorf("%.60q found %q, %v", name, o.DN, err)
			}
			if err != nil && (len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\x00\u202e")) {
				t.Errorf("%.60q: its error is unfit for a line: %.200q", name, err)
			}
		}
		for _, dn := range []string{h, "CN=" + h + ",OU=Staff," + d.BaseDN, "<SID=" + a.SID + ">", "<GUID=" + a.GUID + ">," + d.BaseDN, a.DN + h} {
			if o, err := cl.FindDN(t.Context(), dn); !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Invalid) {
				t.Errorf("%.60q is the name of %q, %v", dn, o.DN, err)
			}
		}
		v, err := cl.See(t.Context(), []directory.Subject{{SID: h}, {GUID: h}, {SID: a.SID, GUID: a.GUID}})
		if err != nil {
			t.Fatalf("%.60q: %v", h, err)
		}
		if !errors.Is(v.Sights[0].Err, fault.Invalid) || !errors.Is(v.Sights[1].Err, fault.Invalid) {
			t.Errorf("%.60q: %+v", h, v.Sights[:2])
		}
		if o := v.Sights[2].Object; o == nil || o.SID != a.SID {
			t.Errorf("%.60q beside a good subject: %+v", h, v.Sights[2])
		}
		if _, err := cl.Modify(t.Context(), directory.Modification{GUID: h, Changes: directory.Swap("userAccountControl", "512", "514")}); !errors.Is(err, fault.Invalid) {
			t.Errorf("modify %.60q: %v", h, err)
		}
		// A name as a bind account: no bind may come of it, least of all an anonymous one.
		c := config(t, d, d.Containment)
		c.Bind.UPN, c.Bind.DN = h+"@x", ""
		if cl2, err := directory.New(c, directory.Options{Dial: (&addc.Wire{Domain: d}).Dial}); err == nil {
			if o, err := cl2.Self(t.Context()); err == nil {
				t.Errorf("signed in as %.60q: %s", h, o.DN)
			}
			cl2.Close()
		}
	}
}

func TestSubjectsThatDisagreeAreNobody(t *testing.T) {
	t.Parallel()
	d, _, cl := open(t)
	a, b := take(t, d), take(t, d)
	v, err := cl.See(t.Context(), []directory.Subject{{SID: a.SID, GUID: b.GUID}, {SID: "S-1-5-21-1-2-3-4", GUID: a.GUID}, {GUID: b.GUID}, {SID: "S-1-5-21-1-2-3-4"}, {}})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []error{fault.Conflict, fault.Conflict, nil, nil, fault.Invalid} {
		if s := v.Sights[n]; !errors.Is(s.Err, want) && !(want == nil && s.Err == nil) || (n == 2) != (s.Object != nil) {
			t.Errorf("%d: %+v; want %v", n, s, want)
		}
	}
}

func TestModifyTellsOutcomesApart(t *testing.T) {
	t.Parallel()
	d, _, cl := open(t)
	a := take(t, d)
	swap := func(guid, from, to string) error {
		dc, err := cl.Modify(t.Context(), directory.Modification{GUID: guid, Changes: directory.Swap("userAccountControl", from, to)})
		if dc != d.Controllers[0].Host {
			t.Errorf("written to %q", dc)
		}
		return err
	}
	if err := swap(a.GUID, "512", "514"); err != nil {
		t.Fatal(err)
	}
	if err := swap(a.GUID, "512", "66048"); !errors.Is(err, fault.Conflict) {
		t.Errorf("an old value: %v, want a conflict", err)
	}
	e, err := d.Read(t.Context(), d.Controllers[0], a.DN, "userAccountControl")
	if err != nil || e["userAccountControl"] != "514" {
		t.Errorf("userAccountControl is %q (%v), want 514", e["userAccountControl"], err)
	}
	if err := swap("00000000-0000-4000-8000-000000000001", "512", "514"); !errors.Is(err, fault.NotFound) {
		t.Errorf("nobody: %v, want not found", err)
	}
	for name, outside := range map[string]addc.Account{"an administrator": d.Tier0, "a service account": d.Reader, "the built-in Administrator": d.Admin} {
		if err := swap(outside.GUID, "512", "514"); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "no right") {
			t.Errorf("%s: %v, want denied in words", name, err)
		}
	}
	weak := []byte("weak")
	_, err = cl.Modify(t.Context(), directory.Modification{GUID: a.GUID, Secrets: []string{"weak"},
		Changes: []directory.Change{{Op: directory.Replace, Attribute: "unicodePwd", Values: []string{directory.Password(weak)}}}})
	if e := (*directory.Error)(nil); !errors.As(err, &e) || !errors.Is(err, fault.Invalid) || e.Win != "0000052D" || !strings.Contains(err.Error(), "policy") {
		t.Errorf("a weak password: %v, want invalid, said in words", err)
	}
}

func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	d, w, cl := open(t)
	for _, c := range []struct {
		name  string
		how   addc.Break
		want  fault.Kind
		value string
	}{
		{"cut after the request", addc.AnswerLost, fault.Unknown, "514"},
		{"cut while it is written", addc.NothingOut, fault.Unknown, "512"},
	} {
		a := take(t, d)
		if _, err := cl.Self(t.Context()); err != nil { // so that a connection rests
			t.Fatal(err)
		}
		dials := w.Dials()
		w.Break(c.how)
		_, err := cl.Modify(t.Context(), directory.Modification{GUID: a.GUID, Changes: directory.Swap("userAccountControl", "512", "514")})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if w.Dials() != dials {
			t.Errorf("%s: it dialled again: a write was repeated", c.name)
		}
		e, err := d.Read(t.Context(), d.Controllers[0], a.DN, "userAccountControl")
		if err != nil || e["userAccountControl"] != c.value {
			t.Errorf("%s: userAccountControl is %q (%v), want %s", c.name, e["userAccountControl"], err, c.value)
		}
		if _, err := cl.Self(t.Context()); err != nil {
			t.Errorf("%s: the next request: %v", c.name, err)
		}
	}
	// A read on a connection that died while it rested is asked again; so is a write,
	// of which nothing has left.
	w.Break(addc.NothingOut)
	if _, err := cl.Self(t.Context()); err != nil {
		t.Errorf("a read on a dead connection: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := take(t, d)
	if _, err := cl.Modify(ctx, directory.Modification{GUID: a.GUID, Changes: directory.Swap("userAccountControl", "512", "514")}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a write with an ended context: %v, want unavailable: nothing left", err)
	}
}

func TestPagesAndRangesAreComplete(t *testing.T) {
	t.Parallel()
	d, _, cl := open(t)
	seen := map[string]bool{}
	for o, err := range cl.Search(t.Context(), directory.Query{Base: "OU=Staff," + d.BaseDN, Filter: "(&(objectClass=user)(!(objectClass=computer)))", Page: 7}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[o.GUID] {
			t.Errorf("%s came twice", o.DN)
		}
		seen[o.GUID] = true
	}
	if len(seen) != len(d.People) {
		t.Errorf("%d of %d accounts", len(seen), len(d.People))
	}
	const in = 7
	ldif := ""
	var first addc.Account
	for n := range in {
		a := take(t, d)
		if n == 0 {
			first = a
			ldif = fmt.Sprintf("dn: CN=range %s,OU=Groups,%s\nchangetype: add\nobjectClass: group\nsAMAccountName: range %[1]s\n", a.SAM, d.BaseDN)
		}
		ldif += "member: " + a.DN + "\n"
	}
	if err := d.Modify(t.Context(), d.Controllers[0], ldif); err != nil {
		t.Fatal(err)
	}
	for o, err := range cl.Search(t.Context(), directory.Query{Filter: "(&(objectClass=group)(cn=range " + first.SAM + "))", Attributes: []string{"member;range=0-2"}}) {
		if err != nil {
			t.Fatal(err)
		}
		members := map[string]bool{}
		for _, m := range o.Values("member") {
			members[string(m)] = true
		}
		if len(members) != in || len(o.Values("member")) != in || !members[first.DN] {
			t.Errorf("%d values, %d different, of %d members", len(o.Values("member")), len(members), in)
		}
	}
}

func TestFailOver(t *testing.T) {
	t.Parallel()
	d := lab.Domain(t)
	c := config(t, d, d.Containment)
	c.DCs = []string{"gone." + d.Name, d.Controllers[0].Host}
	cl := client(t, c, &addc.Wire{Domain: d})
	if _, err := cl.Self(t.Context()); err != nil {
		t.Fatal(err)
	}
	cs, err := cl.Controllers(t.Context())
	if err != nil || len(cs) != len(d.Controllers) || cs[0].Host != d.Controllers[0].Host || !cs[0].PDC || cs[0].ReadOnly {
		t.Errorf("controllers %+v, %v", cs, err)
	}
	c.DCs = []string{"gone." + d.Name}
	if _, err := client(t, c, &addc.Wire{Domain: d}).Self(t.Context()); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "gone."+d.Name) {
		t.Errorf("no controller left: %v, want unavailable, with its name", err)
	}
	// A controller that takes the connection and says nothing.
	slow := client2(t, c, directory.Options{Dial: silent, Timeout: 200 * time.Millisecond})
	if _, err := slow.Self(t.Context()); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("a silent controller: %v", err)
	}
}

func TestControllersFromDNS(t *testing.T) {
	t.Parallel()
	d := lab.Domain(t)
	dns := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(d.Controllers[0].Addr, "53"))
	}}
	c := config(t, d, d.Containment)
	c.DCs = nil
	// The directory's own DNS names the controllers, and the configuration says where
	// they are, as on a machine outside the domain.
	c.Addresses = map[string]string{}
	for _, dc := range d.Controllers {
		c.Addresses[strings.ToUpper(dc.Host)] = dc.Addr
	}
	cl, err := directory.New(c, directory.Options{LookupSRV: dns.LookupSRV})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	list, err := cl.Controllers(t.Context())
	if err != nil || len(list) != len(d.Controllers) || list[0].Host != d.Controllers[0].Host || !list[0].PDC {
		t.Errorf("controllers by DNS: %+v, %v", list, err)
	}
	c.Domain, c.BaseDN = "nowhere."+d.Name, d.BaseDN
	none, err := directory.New(c, directory.Options{LookupSRV: dns.LookupSRV})
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	if _, err := none.Controllers(t.Context()); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "SRV record") {
		t.Errorf("a domain without records: %v", err)
	}
}

func TestSignInWithKeytab(t *testing.T) {
	t.Parallel()
	d := lab.Domain(t)
	c := config(t, d, d.Containment)
	c.Bind.Kerberos, c.Bind.KDCs, c.Bind.Password = true, []string{d.Controllers[0].Addr}, ""
	c.Bind.Keytab = filepath.Join(t.TempDir(), "svc.keytab")
	if _, err := client(t, c, &addc.Wire{Domain: d}).Self(t.Context()); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.Bind.Keytab) {
		t.Errorf("a keytab that is missing: %v", err)
	}
	keys := keytab.New()
	user, _, _ := strings.Cut(d.Containment.UPN, "@")
	if err := keys.AddEntry(user, d.Realm, d.Containment.Password, time.Now(), 1, etypeID.AES256_CTS_HMAC_SHA1_96); err != nil {
		t.Fatal(err)
	}
	b, err := keys.Marshal()
	if err == nil {
		err = os.WriteFile(c.Bind.Keytab, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	self, err := client(t, c, &addc.Wire{Domain: d}).Self(t.Context())
	if err != nil || self.SID != d.Containment.SID {
		t.Errorf("with a keytab: signed in as %s, %v", self.SID, err)
	}
}
