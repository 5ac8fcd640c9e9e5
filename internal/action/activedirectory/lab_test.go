package activedirectory_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/actiontest"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/secret"
	"github.com/seed-f47efad2/cordon/lab/addc"
)

var lab = addc.NewLab(addc.Options{DCs: 2, People: 720})

func TestMain(m *testing.M) {
	// These tests wait for replication and other people's tools, not for processors.
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	code := m.Run()
	lab.Close()
	os.Exit(code)
}

// A bed is the real domain with a client of its own, signed in with the delegated
// account.
type bed struct {
	*addc.Domain
	wire   *addc.Wire
	client *directory.Client
	types  map[action.Name]action.Type
}

func open(t *testing.T) *bed {
	t.Helper()
	d := lab.Domain(t)
	return signIn(t, d, d.Containment, 30*time.Second)
}

// alone is open with nobody else in the domain; timeout is a request's.
func alone(t *testing.T, timeout time.Duration) *bed {
	t.Helper()
	d := lab.Alone(t)
	return signIn(t, d, d.Containment, timeout)
}

// as is the same domain, signed in with another account.
func (b *bed) as(t *testing.T, who addc.Account) *bed {
	t.Helper()
	return signIn(t, b.Domain, who, 30*time.Second)
}

func signIn(t *testing.T, d *addc.Domain, who addc.Account, timeout time.Duration) *bed {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(who.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bed{Domain: d, wire: &addc.Wire{Domain: d}, types: map[action.Name]action.Type{}}
	var err error
	b.client, err = directory.New(directory.Config{Domain: d.Name, DCs: []string{d.Controllers[0].Host, d.Controllers[1].Host}, CAFile: d.CAFile,
		Bind: directory.Bind{UPN: who.UPN, Password: secret.Ref("file:" + file)}}, directory.Options{Dial: b.wire.Dial, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.client.Close() })
	for _, typ := range activedirectory.Types(b.client, nil) {
		b.types[typ.Spec().Name] = typ
	}
	return b
}

func ref(a addc.Account) identity.Ref {
	return identity.Ref{Provider: identity.ActiveDirectory, Kind: identity.KindPerson, SID: a.SID, GUID: a.GUID, SAM: a.SAM, UPN: a.UPN}
}

func (b *bed) take(t testing.TB) addc.Account {
	t.Helper()
	a, err := b.Take()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// admin is what somebody else does in the domain, on the first controller.
func (b *bed) admin(t testing.TB, a addc.Account, attribute, value string) {
	t.Helper()
	if err := b.Modify(context.Background(), b.Controllers[0], fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: %s\n%[2]s: %s\n", a.DN, attribute, value)); err != nil {
		t.Fatal(err)
	}
}

// shows is what a controller shows to the domain's administrator.
func (b *bed) shows(t testing.TB, c *addc.DC, dn, attribute string) string {
	t.Helper()
	e, err := b.Read(context.Background(), c, dn, attribute)
	if err != nil {
		t.Fatal(err)
	}
	return e[attribute]
}

// dial opens an LDAPS connection to the first controller that nobody signed in on.
func (b *bed) dial(t testing.TB) *ldap.Conn {
	t.Helper()
	pem, err := os.ReadFile(b.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	raw, err := b.wire.Dial(context.Background(), "tcp", b.Controllers[0].Host+":636")
	if err != nil {
		t.Fatal(err)
	}
	l := ldap.NewConn(tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: b.Controllers[0].Host}), true)
	l.Start()
	return l
}

// lock locks an account the only way there is, on the first controller.
func (b *bed) lock(t testing.TB, a addc.Account) {
	t.Helper()
	l := b.dial(t)
	defer l.Close()
	for range 3 {
		if err := l.Bind(a.UPN, "wrong"); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
			t.Fatalf("a wrong password: %v", err)
		}
	}
	if err := l.Bind(a.UPN, a.Password); err == nil || !strings.Contains(err.Error(), "775") {
		t.Fatalf("%s is not locked after three wrong passwords: %v", a.SAM, err)
	}
}

// pause waits a little of the real time that replication takes.
func pause() { <-time.After(300 * time.Millisecond) }

// begin looks and makes the request as dispatch does.
func (b *bed) begin(t testing.TB, name action.Name, a addc.Account, params map[string]any) action.Request {
	t.Helper()
	r := action.Request{ID: "act_1", Tenant: "t", Account: ref(a), Params: params, ClientRequestID: "c"}
	l := b.types[name].Look(context.Background(), []action.Request{r})[0]
	if l.Err != nil || l.Refuse != "" || l.Already {
		t.Fatalf("look for %s: error %v, refusal %q, already %v", name, l.Err, l.Refuse, l.Already)
	}
	r.Before, r.Since = l.State, time.Now()
	if g, ok := b.types[name].(action.Generator); ok {
		var err error
		if r.Secret, _, err = g.Generate(rand.Reader, r); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (b *bed) do(t testing.TB, name action.Name, r action.Request) action.Outcome {
	t.Helper()
	return b.types[name].Do(context.Background(), []action.Request{r})[0]
}

func (b *bed) readBack(t testing.TB, name action.Name, r action.Request) action.Reading {
	t.Helper()
	return b.types[name].ReadBack(context.Background(), []action.Request{r})[0]
}

// verified waits until every controller shows it.
func (b *bed) verified(t testing.TB, name action.Name, r action.Request) action.Reading {
	t.Helper()
	var last action.Reading
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); pause() {
		if last = b.readBack(t, name, r); last.Seen {
			return last
		}
	}
	t.Fatalf("%s is not verified: %+v", name, last)
	return last
}

// through does the whole of an action.
func (b *bed) through(t testing.TB, name action.Name, a addc.Account, params map[string]any) action.Request {
	t.Helper()
	r := b.begin(t, name, a, params)
	if o := b.do(t, name, r); o.Verdict != action.Accepted || o.RequestID == "" {
		t.Fatalf("%s: %+v", name, o)
	}
	b.verified(t, name, r)
	return r
}

// A case is what the conformance suite needs to know of one action.
type conformance struct {
	name      action.Name
	undo      action.Name
	fresh     func(testing.TB, *bed, addc.Account) // brings an account into the state to act on
	attribute string                               // that the action is about
	state     func(testing.TB, *bed, string) any   // of a DN; nil: the attribute itself
	refused   func(testing.TB, *bed) map[string]addc.Account
	params    map[string]any // of each request
	extern    bool           // it changes another object than the account: the account's changes say nothing
}

// conformances are all actions that the suite runs on.
func conformances() []conformance {
	nothing := func(testing.TB, *bed, addc.Account) {}
	mustChange := func(t testing.TB, b *bed, dn string) any {
		return b.shows(t, b.Controllers[0], dn, "pwdLastSet") == "0"
	}
	return append(furtherConformance(), []conformance{
		{name: activedirectory.Disable, undo: activedirectory.Enable, attribute: "userAccountControl", fresh: nothing},
		{name: activedirectory.Enable, undo: activedirectory.Disable, attribute: "userAccountControl",
			fresh: func(t testing.TB, b *bed, a addc.Account) { b.admin(t, a, "userAccountControl", "514") }},
		{name: activedirectory.ResetPassword, attribute: "pwdLastSet", fresh: nothing},
		{name: activedirectory.Unlock, attribute: "lockoutTime", fresh: func(t testing.TB, b *bed, a addc.Account) { b.lock(t, a) }},
		{name: activedirectory.RequireChange, undo: activedirectory.WaiveChange, attribute: "pwdLastSet", state: mustChange, fresh: nothing,
			refused: func(t testing.TB, b *bed) map[string]addc.Account {
				never, card, service := b.take(t), b.take(t), b.take(t)
				b.admin(t, never, "userAccountControl", "66048")
				b.admin(t, card, "userAccountControl", "262656")
				b.admin(t, service, "servicePrincipalName", "MSSQLSvc/"+service.SAM+".corp.example")
				return map[string]addc.Account{"DONT_EXPIRE_PASSWORD": never, "SMARTCARD_REQUIRED": card, "runs services": service}
			}},
		{name: activedirectory.WaiveChange, undo: activedirectory.RequireChange, attribute: "pwdLastSet", state: mustChange,
			fresh: func(t testing.TB, b *bed, a addc.Account) { b.admin(t, a, "pwdLastSet", "0") }},
	}...)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	cases := conformances()
	for _, typ := range activedirectory.Types(nil, nil) {
		s := typ.Spec()
		shown := slices.ContainsFunc(cases, func(c conformance) bool {
			// What only gives back what another took is shown there: an undo is not undone.
			return c.name == s.Name && c.undo == s.Undo || c.undo == s.Name && s.Effect == action.EffectRelease
		})
		if s.Undo != "" && !shown {
			t.Errorf("nothing shows that %s undoes %s", s.Undo, s.Name)
		}
	}
	for _, c := range cases {
		t.Run(string(c.name), func(t *testing.T) {
			t.Parallel()
			actiontest.Run(t, func(t *testing.T, part string, run func(*testing.T, actiontest.Bench)) {
				t.Run(part, func(t *testing.T) {
					t.Parallel()
					run(t, open(t).bench(t, c, part))
				})
			})
		})
	}
}

// bench makes the suite's bench of one action.
func (b *bed) bench(t *testing.T, c conformance, part string) actiontest.Bench {
	t.Helper()
	var mu sync.Mutex
	given := map[string]addc.Account{} // by SID
	first := b.Controllers[0]
	bench := actiontest.Bench{
		Type: b.types[c.name], Undo: b.types[c.undo], Params: c.params,
		Fresh: func() identity.Ref {
			a := b.take(t)
			c.fresh(t, b, a)
			mu.Lock()
			defer mu.Unlock()
			given[a.SID] = a
			return ref(a)
		},
		Missing: func() identity.Ref {
			return identity.Ref{Provider: identity.ActiveDirectory, SID: b.Reader.SID + "9", DisplayName: "nobody"}
		},
		State: func(r identity.Ref) any {
			mu.Lock()
			dn := given[r.SID].DN
			mu.Unlock()
			if c.state != nil {
				return c.state(t, b, dn)
			}
			return b.shows(t, first, dn, c.attribute)
		},
		Changes: func() int {
			mu.Lock()
			defer mu.Unlock()
			sum := 0
			for _, a := range given {
				var usn int
				if _, err := fmt.Sscan(b.shows(t, first, a.DN, "uSNChanged"), &usn); err != nil {
					t.Fatal(err)
				}
				sum += usn
			}
			return sum
		},
		Break: func(how actiontest.Broken) {
			if how == actiontest.BeforeEffect {
				b.wire.Break(addc.NothingOut)
			} else {
				b.wire.Break(addc.AnswerLost)
			}
		},
		Wait: func(time.Duration) { pause() },
	}
	if !strings.Contains(part, "refused in words") {
		return bench
	}
	bench.Refused = map[string]identity.Ref{"Cordon itself": ref(b.Containment), "cannot do without": ref(b.Admin)}
	for words, dn := range map[string]string{"cannot do without (krbtgt": "CN=krbtgt,CN=Users,", "computer": "CN=DC1,OU=Domain Controllers,", "another kind": "CN=Finance,OU=Groups,"} {
		sid, err := directory.SIDText([]byte(b.shows(t, first, dn+b.BaseDN, "objectSid")))
		if err != nil {
			t.Fatal(err)
		}
		bench.Refused[words] = identity.Ref{Provider: identity.ActiveDirectory, SID: sid}
	}
	if c.refused != nil {
		for words, a := range c.refused(t, b) {
			bench.Refused[words] = ref(a)
		}
	}
	return bench
}
