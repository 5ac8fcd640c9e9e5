package directory_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/lab/addc"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	d, _, c := open(t)
	got, err := c.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if sid, err := c.SID(t.Context()); err != nil || got.SID != sid || !strings.HasPrefix(d.Reader.SID, sid+"-") {
		t.Errorf("SID %q and %q, %v", got.SID, sid, err)
	}
	// As lab/addc sets it, and Samba's defaults.
	want := directory.Policy{MinLength: 7, History: 24, MaxAge: 42 * 24 * time.Hour, Complex: true, LockoutAt: 3, LockoutFor: 30 * time.Minute, LockoutOver: 30 * time.Minute}
	if got.Policy != want {
		t.Errorf("password policy %+v, want %+v", got.Policy, want)
	}
	if got.HeadUnread || !slices.Contains(got.Replicators, "S-1-5-32-544") || slices.Contains(got.Replicators, d.Containment.SID) || slices.Contains(got.Replicators, "S-1-5-11") {
		t.Errorf("who may replicate secrets: %v (unread %v)", got.Replicators, got.HeadUnread)
	}
	// In a shared domain another package sets it up for a while.
	if got.SeamlessSSO && os.Getenv(addc.Attached) == "" || got.KrbtgtSetAt.IsZero() || len(got.Trusts) != 0 {
		t.Errorf("surroundings: %+v", got)
	}
	list, err := c.EffectiveOn(t.Context(), "", directory.OfPeople, 100)
	if err != nil || len(list) != 100 {
		t.Fatalf("a sample of 100 has %d: %v", len(list), err)
	}
	for _, e := range list {
		delegated, own := strings.Contains(e.DN, ",OU=Staff,"), e.SID == d.Containment.SID
		if e.Writes("USERACCOUNTCONTROL") != delegated || e.Writes("telephoneNumber") && !own || e.ListUnread || e.Control&directory.ControlDACL != 0 {
			t.Errorf("%s: %+v", e.DN, e)
		}
	}
	token, err := c.Token(t.Context())
	if err != nil || token[0] != d.Containment.SID || !slices.Contains(token, "S-1-5-11") || !slices.Contains(token, got.SID+"-513") {
		t.Errorf("the account's own token: %v %v", token, err)
	}
}

// The first entry that is about a right decides; what is for children alone does not.
func TestAllowed(t *testing.T) {
	t.Parallel()
	const me, group, right = "S-1-5-21-1-2-3-1105", "S-1-5-21-1-2-3-513", "00299570-246d-11d0-a768-00aa006e0529"
	token := []string{me, group}
	for name, c := range map[string]struct {
		list []directory.ACE
		want bool
	}{
		"nobody":            {nil, false},
		"somebody else":     {[]directory.ACE{{Allow: true, Mask: directory.RightGeneric, SID: "S-1-5-32-544"}}, false},
		"by name":           {[]directory.ACE{{Allow: true, Mask: directory.RightControl, Type: right, SID: me}}, true},
		"another one":       {[]directory.ACE{{Allow: true, Mask: directory.RightControl, Type: "ab721a53-1e2f-11d0-9819-00aa0040529b", SID: me}}, false},
		"all of them":       {[]directory.ACE{{Allow: true, Mask: directory.RightControl, SID: group}}, true},
		"everything":        {[]directory.ACE{{Allow: true, Mask: directory.RightGeneric, SID: group}}, true},
		"for what is below": {[]directory.ACE{{Allow: true, Mask: directory.RightControl, Flags: directory.ForChildren, SID: me}}, false},
		"denied first":      {[]directory.ACE{{Mask: directory.RightControl, Type: right, SID: group}, {Allow: true, Mask: directory.RightControl, SID: me}}, false},
		"another bit":       {[]directory.ACE{{Allow: true, Mask: directory.RightDelete, SID: me}}, false},
	} {
		if got := directory.Allowed(c.list, token, directory.RightControl, right); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// descriptor is a self-relative security descriptor with two entries: everybody
// may read, and S-1-5-21-1-2-3-1105 may replicate secrets.
var descriptor = []byte("\x01\x00\x04\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00" +
	"\x04\x00\x54\x00\x02\x00\x00\x00" +
	"\x00\x0b\x14\x00\x94\x00\x02\x00\x01\x01\x00\x00\x00\x00\x00\x05\x0b\x00\x00\x00" +
	"\x05\x00\x38\x00\x00\x01\x00\x00\x01\x00\x00\x00\xad\xf6\x31\x11\x07\x9c\xd1\x11\xf7\x9f\x00\xc0\x4f\xc2\xdc\xd2" +
	"\x01\x05\x00\x00\x00\x00\x00\x05\x15\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x51\x04\x00\x00")

func TestDACL(t *testing.T) {
	t.Parallel()
	got, err := directory.DACL(descriptor)
	want := []directory.ACE{
		{Allow: true, Mask: 0x20094, Flags: 0x0b, SID: "S-1-5-11"},
		{Allow: true, Mask: directory.RightControl, Type: "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2", SID: "S-1-5-21-1-2-3-1105"},
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for n := range descriptor {
		if _, err := directory.DACL(descriptor[:n]); !errors.Is(err, fault.Invalid) {
			t.Errorf("cut off after %d bytes: %v", n, err)
		}
	}
}

func FuzzDACL(f *testing.F) {
	f.Add(descriptor)
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := directory.DACL(b)
		if err != nil && !errors.Is(err, fault.Invalid) {
			t.Fatal(err)
		}
		if len(list) > len(b)/16 {
			t.Errorf("%d entries in %d bytes", len(list), len(b))
		}
	})
}
