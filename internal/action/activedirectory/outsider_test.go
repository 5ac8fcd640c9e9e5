package activedirectory_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/lab/addc"
)

// logons tries every way to sign in with a password on a controller, with the
// tools of somebody who has nothing to do with us.
func (b *bed) logons(t testing.TB, c *addc.DC, a addc.Account, password string) map[string]addc.Logon {
	t.Helper()
	out := map[string]addc.Logon{}
	for name, try := range map[string]func() (addc.Logon, error){
		"Kerberos": func() (addc.Logon, error) { return b.Kinit(context.Background(), c, a.SAM, password) },
		"LDAP":     func() (addc.Logon, error) { return b.Bind(context.Background(), c, a.UPN, password) },
		"SMB":      func() (addc.Logon, error) { return b.SMB(context.Background(), c, a.SAM, password) },
	} {
		l, err := try()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = l
	}
	return out
}

// expect checks the logons: words is what each tool must say, "" that it gets in.
func (b *bed) expect(t testing.TB, when string, c *addc.DC, a addc.Account, words map[string]string) {
	t.Helper()
	for name, l := range b.logons(t, c, a, a.Password) {
		if want := words[name]; l.OK != (want == "") || !strings.Contains(l.Text, want) {
			t.Errorf("%s, %s on %s: in %v, said %q; want %q", when, name, c.Host, l.OK, l.Text, want)
		}
	}
}

func TestDisableAndUndoAsAnOutsiderSeesThem(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := b.take(t)
	b.expect(t, "before", b.Controllers[0], a, nil)
	r := b.through(t, activedirectory.Disable, a, nil)
	shut := map[string]string{"Kerberos": "revoked", "LDAP": "data 533", "SMB": "NT_STATUS_ACCOUNT_DISABLED"}
	for _, c := range b.Controllers {
		b.expect(t, "disabled and verified", c, a, shut)
	}
	params, ok := b.types[activedirectory.Disable].(action.Undoer).Undo(r.Before)
	if !ok {
		t.Fatal("it cannot be undone")
	}
	b.through(t, activedirectory.Enable, a, params)
	for _, c := range b.Controllers {
		b.expect(t, "undone and verified", c, a, nil)
	}
}

func TestResetOnceAndTwice(t *testing.T) {
	t.Parallel()
	b := open(t)
	once, twice := b.take(t), b.take(t)
	b.through(t, activedirectory.ResetPassword, once, nil)
	// What Limits says: Kerberos alone ends at once.
	b.expect(t, "after one reset", b.Controllers[0], once, map[string]string{"Kerberos": "Password incorrect", "LDAP": "", "SMB": ""})
	if s := b.types[activedirectory.ResetPassword].Spec(); !strings.Contains(s.Limits, "single reset the old password still opens NTLM") {
		t.Errorf("the plan does not say so: %s", s.Limits)
	}
	b.through(t, activedirectory.ResetPassword, twice, map[string]any{activedirectory.ParamTwice: true})
	for _, c := range b.Controllers {
		b.expect(t, "after two resets", c, twice, map[string]string{"Kerberos": "Password incorrect", "LDAP": "data 52e", "SMB": "NT_STATUS_LOGON_FAILURE"})
	}
	if b.shows(t, b.Controllers[0], twice.DN, "pwdLastSet") == "0" {
		t.Error("the demand for a change stayed")
	}
}

// The first reset is taken and the answer to it is lost: nobody sends it again, and
// the reading does not take one for two.
func TestResetTwiceBrokenInTheMiddle(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := b.take(t)
	params := map[string]any{activedirectory.ParamTwice: true}
	r := b.begin(t, activedirectory.ResetPassword, a, params)
	was := b.shows(t, b.Controllers[0], a.DN, "pwdLastSet")
	b.wire.Break(addc.AnswerLost)
	o := b.do(t, activedirectory.ResetPassword, r)
	if o.Verdict != action.Unknown {
		t.Fatalf("outcome %+v, want unknown", o)
	}
	reading := b.readBack(t, activedirectory.ResetPassword, r)
	if reading.Seen || reading.Err != nil || !strings.Contains(reading.Text, "the first of two resets is there and the second is not on dc1") {
		t.Errorf("reading %+v", reading)
	}
	if now := b.shows(t, b.Controllers[0], a.DN, "pwdLastSet"); now != "0" || was == "0" {
		t.Errorf("pwdLastSet was %s and is %s", was, now)
	}
}

func TestUnlockAsAnOutsiderSeesIt(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := b.take(t)
	b.lock(t, a)
	b.through(t, activedirectory.Unlock, a, nil)
	b.expect(t, "unlocked", b.Controllers[0], a, nil)
}

func TestChangeIsDemanded(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := b.take(t)
	b.through(t, activedirectory.RequireChange, a, nil)
	for _, c := range b.Controllers {
		b.expect(t, "a change is demanded", c, a, map[string]string{"Kerberos": "Password expired", "LDAP": "data 773", "SMB": "NT_STATUS_PASSWORD_MUST_CHANGE"})
	}
	b.through(t, activedirectory.WaiveChange, a, nil)
	b.expect(t, "waived", b.Controllers[0], a, nil)
}

// The directory refuses what the account was not delegated, and Cordon says so.
func TestAdministratorsAreOutOfReach(t *testing.T) {
	t.Parallel()
	b := open(t)
	for _, name := range []action.Name{activedirectory.Disable, activedirectory.ResetPassword, activedirectory.RequireChange} {
		r := b.begin(t, name, b.Tier0, nil)
		o := b.do(t, name, r)
		if o.Verdict != action.Refused || !strings.Contains(o.Reason, "no right") || !strings.Contains(o.Reason, "administrators") {
			t.Errorf("%s: %+v; want it refused in words", name, o)
		}
		if got := b.readBack(t, name, r); got.Seen || got.Err != nil {
			t.Errorf("%s: reading %+v", name, got)
		}
	}
	b.expect(t, "an administrator", b.Controllers[0], b.Tier0, nil)
}

// Somebody else changes another bit between look and do: neither change is lost.
func TestOtherBitsSurvive(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := b.take(t)
	r := b.begin(t, activedirectory.Disable, a, nil)
	b.admin(t, a, "userAccountControl", "66048") // DONT_EXPIRE_PASSWORD
	if o := b.do(t, activedirectory.Disable, r); o.Verdict != action.Later || !strings.Contains(o.Reason, "somebody else changed") {
		t.Errorf("outcome %+v, want later", o)
	}
	if got := b.shows(t, b.Controllers[0], a.DN, "userAccountControl"); got != "66048" {
		t.Errorf("userAccountControl is %s after a stale write", got)
	}
	b.through(t, activedirectory.Disable, a, nil)
	if got := b.shows(t, b.Controllers[0], a.DN, "userAccountControl"); got != "66050" {
		t.Errorf("userAccountControl is %s, want 66050: the bit and nothing else", got)
	}
	b.through(t, activedirectory.Enable, a, nil)
	if got := b.shows(t, b.Controllers[0], a.DN, "userAccountControl"); got != "66048" {
		t.Errorf("userAccountControl is %s after the undo, want 66048", got)
	}
}

func TestHostileAccountsAreNobody(t *testing.T) {
	t.Parallel()
	b := open(t)
	a := b.take(t)
	before := json.RawMessage(`{"objectGUID":"*","userAccountControl":512,"pwdLastSet":1,"lockoutTime":1}`)
	for _, h := range []string{"*", "*)(objectClass=*", "\x00", a.SID + "\x00", a.SID + ")(objectClass=*", "\u202e" + a.SID, strings.Repeat("S-1-5-", 2000), "CN=x,DC=y", a.DN} {
		for name, typ := range b.types {
			for _, who := range []identity.Ref{{SID: h}, {GUID: h}, {SID: h, GUID: a.GUID}, {SID: a.SID, GUID: h}, {SAM: h, UPN: h, DisplayName: h}} {
				who.Provider = identity.ActiveDirectory
				r := action.Request{ID: "x", Account: who, Before: before, Secret: make([]byte, 32)}
				if l := typ.Look(t.Context(), []action.Request{r})[0]; l.Err == nil && l.Refuse == "" {
					t.Errorf("%s looked at %.40q: %+v", name, h, l)
				}
				if o := typ.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Refused {
					t.Errorf("%s on %.40q: %+v", name, h, o)
				}
				if got := typ.ReadBack(t.Context(), []action.Request{r})[0]; got.Seen {
					t.Errorf("%s read back %.40q: %+v", name, h, got)
				}
			}
		}
	}
	// An account of another directory is none of ours, whatever ids it carries.
	entra := ref(a)
	entra.Provider = identity.EntraID
	if l := b.types[activedirectory.Disable].Look(t.Context(), []action.Request{{Account: entra}})[0]; l.Err == nil && l.Refuse == "" {
		t.Errorf("looked at an Entra account: %+v", l)
	}
	b.expect(t, "after all that", b.Controllers[0], a, nil)
}
