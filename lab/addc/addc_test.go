package addc_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/lab/addc"
)

// The lab is what others are judged by, so it is tried itself: the tools let the
// right password in and the wrong one not, and nothing stays when it ends. A domain
// that is attached to is tried too; who started it ends it and looks what stays
// (scripts/test.sh).
func TestDomainWorksAndLeavesNothing(t *testing.T) {
	t.Parallel()
	if os.Getenv(addc.Attached) != "" {
		works(t, addc.Start(t, addc.Options{}))
		return
	}
	var d *addc.Domain
	t.Run("works", func(t *testing.T) {
		d = addc.Start(t, addc.Options{People: 2})
		works(t, d)
		if _, err := d.Take(); err != nil {
			t.Errorf("the second account: %v", err)
		}
		if x, err := d.Take(); err == nil {
			t.Errorf("a third account of two: %+v", x)
		}
	})
	if d == nil || t.Failed() {
		return
	}
	for _, pid := range []int{d.Station, d.Controllers[0].PID} {
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	if _, err := net.InterfaceByName(d.Uplink); err == nil {
		t.Errorf("the link %s is still there", d.Uplink)
	}
	if _, err := os.Stat(d.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder %s is still there: %v", d.Dir, err)
	}
	if mounts, err := os.ReadFile("/proc/mounts"); err != nil || strings.Contains(string(mounts), d.Dir) {
		t.Errorf("something of %s is still mounted (%v)", d.Dir, err)
	}
}

func works(t *testing.T, d *addc.Domain) {
	t.Helper()
	c := d.Controllers[0]
	a, err := d.Take()
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func(context.Context, *addc.DC, string) (addc.Logon, error){
		"kinit":      func(ctx context.Context, c *addc.DC, p string) (addc.Logon, error) { return d.Kinit(ctx, c, a.SAM, p) },
		"ldapsearch": func(ctx context.Context, c *addc.DC, p string) (addc.Logon, error) { return d.Bind(ctx, c, a.UPN, p) },
		"smbclient":  func(ctx context.Context, c *addc.DC, p string) (addc.Logon, error) { return d.SMB(ctx, c, a.SAM, p) },
	} {
		if l, err := try(t.Context(), c, a.Password); err != nil || !l.OK {
			t.Errorf("%s with the right password: %+v, %v", name, l, err)
		}
		if l, err := try(t.Context(), c, "wrong"); err != nil || l.OK {
			t.Errorf("%s with a wrong password: %+v, %v", name, l, err)
		}
	}
	e, err := d.Read(t.Context(), c, a.DN, "sAMAccountName", "userAccountControl")
	if err != nil || e["sAMAccountName"] != a.SAM || e["userAccountControl"] != "512" {
		t.Errorf("read %v, %v", e, err)
	}
	if other, err := addc.Attach(d.Dir); err != nil || other.People[0] != d.People[0] {
		t.Errorf("attach: %v", err)
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(c.PID)); err != nil {
		t.Errorf("the controller's first process: %v", err)
	}
}
