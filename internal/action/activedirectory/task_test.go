package activedirectory_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/directory"
)

// newKey is a password as LDIF takes it: what a person sets, whoever that is.
func newKey() string {
	return base64.StdEncoding.EncodeToString([]byte(directory.Password([]byte("Aa1!" + rand.Text()))))
}

// watch reads back until the text has the words.
func (b *bed) watch(t *testing.T, name action.Name, r action.Request, words string) action.Reading {
	t.Helper()
	var last action.Reading
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); pause() {
		if last = b.readBack(t, name, r); last.Err == nil && strings.Contains(last.Text, words) {
			return last
		}
	}
	t.Fatalf("%s never says %q: %+v", name, words, last)
	return last
}

// People change the key twice, Cordon says when and proves it, and changes nothing.
func TestRotationIsPeoplesWorkAndProven(t *testing.T) {
	t.Parallel()
	b := open(t)
	a, name := b.take(t), activedirectory.RotateSSOKey
	look := func() action.Look {
		return b.types[name].Look(t.Context(), []action.Request{{Account: ref(a)}})[0]
	}
	if l := look(); !strings.Contains(l.Refuse, "not set up") {
		t.Errorf("without the account: %+v", l)
	}
	dn := "CN=AZUREADSSOACC,CN=Computers," + b.BaseDN
	if err := b.Modify(t.Context(), b.Controllers[0], fmt.Sprintf("dn: %s\nchangetype: add\nobjectClass: computer\nsAMAccountName: AZUREADSSOACC$\nuserAccountControl: 4096\nunicodePwd:: %s\n", dn, newKey())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the domain may be used again
		if err := b.Modify(context.Background(), b.Controllers[0], "dn: "+dn+"\nchangetype: delete\n"); err != nil {
			t.Error(err)
		}
	})
	r := b.begin(t, name, a, nil)
	before := b.shows(t, b.Controllers[0], dn, "uSNChanged")
	if o := b.do(t, name, r); o.Verdict != action.Accepted || !strings.Contains(o.Reason, "a person does it") {
		t.Fatalf("outcome %+v", o)
	}
	if got := b.watch(t, name, r, "the first change is awaited of a person: run Update-AzureADSSOForest"); got.Seen || !got.Pending {
		t.Errorf("reading %+v", got)
	}
	if now := b.shows(t, b.Controllers[0], dn, "uSNChanged"); now != before {
		t.Error("the task changed the account by itself")
	}
	person := func() { b.change(t, dn, "replace: unicodePwd\nunicodePwd:: "+newKey()+"\n") }
	person()
	got := b.watch(t, name, r, "changed once, at ")
	if got.Seen || !got.Pending || !strings.Contains(got.Text, "not before "+time.Now().UTC().Add(10*time.Hour).Format("2006-01-02")) || !strings.Contains(got.Text, "10 hours after the first") {
		t.Errorf("reading %+v", got)
	}
	person()
	proof := b.verified(t, name, r)
	if !strings.Contains(proof.Text, "changed twice or more") || !strings.Contains(proof.Text, "dc1.corp.example and dc2.corp.example") {
		t.Errorf("proof %s", proof.Text)
	}
}

func TestKrbtgtIsWatchedAndNeverChanged(t *testing.T) {
	t.Parallel()
	b := open(t)
	a, name := b.take(t), activedirectory.RotateKrbtgt
	dn := "CN=krbtgt,CN=Users," + b.BaseDN
	before := b.shows(t, b.Controllers[0], dn, "uSNChanged")
	r := b.begin(t, name, a, nil)
	if o := b.do(t, name, r); o.Verdict != action.Accepted || o.RequestID != "people" {
		t.Fatalf("outcome %+v", o)
	}
	if got := b.readBack(t, name, r); got.Seen || !got.Pending || !strings.Contains(got.Text, "first change is awaited of a person: reset krbtgt's password on the PDC emulator") {
		t.Errorf("reading %+v", got)
	}
	if now := b.shows(t, b.Controllers[0], dn, "uSNChanged"); now != before {
		t.Error("krbtgt was changed")
	}
	if s := b.types[name].Spec(); !s.NeverRepeat || s.Effect != action.EffectVerdict || s.Irreversible == "" {
		t.Errorf("spec %+v", s)
	}
}

func TestReplicationRightsArePeoplesWorkAndProven(t *testing.T) {
	t.Parallel()
	b := open(t)
	a, name := b.take(t), activedirectory.RemoveReplication
	if l := b.types[name].Look(t.Context(), []action.Request{{Account: ref(a)}})[0]; l.Err != nil || l.Refuse != "" || !l.Already {
		t.Errorf("without the right: %+v", l)
	}
	was := b.shows(t, b.Controllers[0], b.BaseDN, "nTSecurityDescriptor")
	script := fmt.Sprintf("samba-tool dsacl set --objectdn='%s' --sddl='(OA;;CR;1131f6ad-9c07-11d1-f79f-00c04fc2dcd2;;%s)'", b.BaseDN, a.SID)
	if _, err := b.Script(t.Context(), b.Controllers[0], script); err != nil {
		t.Fatal(err)
	}
	r := b.begin(t, name, a, nil)
	if o := b.do(t, name, r); o.Verdict != action.Accepted {
		t.Fatalf("outcome %+v", o)
	}
	if got := b.watch(t, name, r, "a person removes it"); got.Seen || !got.Pending {
		t.Errorf("reading %+v", got)
	}
	b.change(t, b.BaseDN, "replace: nTSecurityDescriptor\nnTSecurityDescriptor:: "+base64.StdEncoding.EncodeToString([]byte(was))+"\n")
	b.verified(t, name, r)
}
