package activedirectory_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
)

// The tests of this file take the network, or a controller, away from under everybody,
// so they have the domain alone and are not parallel: they run before those that are.

func TestAcceptedIsNotVerifiedUntilEveryControllerShowsIt(t *testing.T) {
	b := alone(t, 30*time.Second)
	a, old := b.take(t), b.take(t)
	if err := b.Part(t.Context()); err != nil {
		t.Fatal(err)
	}
	parted := true
	rejoin := func() {
		if err := b.Rejoin(context.Background()); parted && err != nil {
			t.Error(err)
		}
		parted = false
	}
	defer func() {
		if parted {
			rejoin()
		}
	}()
	r := b.begin(t, activedirectory.Disable, a, nil)
	if o := b.do(t, activedirectory.Disable, r); o.Verdict != action.Accepted || o.RequestID != b.Controllers[0].Host {
		t.Fatalf("outcome %+v, want accepted by the PDC emulator", o)
	}
	params := map[string]any{activedirectory.ParamTwice: true}
	reset := b.begin(t, activedirectory.ResetPassword, old, params)
	if o := b.do(t, activedirectory.ResetPassword, reset); o.Verdict != action.Accepted {
		t.Fatalf("outcome %+v", o)
	}
	for range 5 { // longer than replication takes when it works
		got := b.readBack(t, activedirectory.Disable, r)
		if got.Seen || !got.Pending || got.Err != nil || !strings.Contains(got.Text, "disabled (userAccountControl 514) on dc1.corp.example") ||
			!strings.Contains(got.Text, "pending until replication reaches dc2.corp.example") {
			t.Fatalf("with replication stopped: %+v", got)
		}
		pause()
	}
	b.expect(t, "the other controller meanwhile", b.Controllers[1], a, nil)
	rejoin()
	got := b.verified(t, activedirectory.Disable, r)
	if !strings.Contains(got.Text, "on dc1.corp.example and dc2.corp.example") {
		t.Errorf("proof %q", got.Text)
	}
	b.verified(t, activedirectory.ResetPassword, reset)
	// It went from the old password to the second new one in one step.
	b.expect(t, "two resets that came together", b.Controllers[1], old,
		map[string]string{"Kerberos": "Password incorrect", "LDAP": "data 52e", "SMB": "NT_STATUS_LOGON_FAILURE"})
}

// The controller goes away in mid-write: the outcome is not known, it is not sent
// again by itself, and it does not happen later either.
func TestControllerGoneInMidWrite(t *testing.T) {
	b := alone(t, 3*time.Second)
	a, c := b.take(t), b.take(t)
	r := b.begin(t, activedirectory.Disable, a, nil)
	first := b.Controllers[0]
	if err := b.Cut(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	healed := false
	heal := func() {
		if err := b.Heal(context.Background(), first); !healed && err != nil {
			t.Error(err)
		}
		healed = true
	}
	defer heal()
	if o := b.do(t, activedirectory.Disable, r); o.Verdict != action.Unknown || !strings.Contains(o.Reason, "may have taken effect") {
		t.Fatalf("outcome %+v, want unknown", o)
	}
	got := b.readBack(t, activedirectory.Disable, r)
	if got.Seen || got.Pending || got.Err != nil || !strings.Contains(got.Text, "enabled (userAccountControl 512) on dc2.corp.example") || !strings.Contains(got.Text, "not read on dc1.corp.example") {
		t.Errorf("reading %+v; want what dc2 shows and that dc1 was not read", got)
	}
	// The next action goes to the other controller, and is not verified without the first.
	other := b.begin(t, activedirectory.Disable, c, nil)
	if o := b.do(t, activedirectory.Disable, other); o.Verdict != action.Accepted || o.RequestID != b.Controllers[1].Host {
		t.Fatalf("with one controller gone: %+v, want the other to take it", o)
	}
	if got := b.readBack(t, activedirectory.Disable, other); got.Seen || !got.Pending || !strings.Contains(got.Text, "not read on dc1.corp.example") {
		t.Errorf("reading %+v; want it pending until the first is back", got)
	}
	heal()
	b.verified(t, activedirectory.Disable, other)
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); pause() {
		if uac := b.shows(t, first, a.DN, "userAccountControl"); uac != "512" {
			t.Fatalf("userAccountControl is %s: the write that was given up arrived later", uac)
		}
	}
	if o := b.do(t, activedirectory.Disable, r); o.Verdict != action.Accepted {
		t.Fatalf("when it is repeated after all: %+v", o)
	}
	b.verified(t, activedirectory.Disable, r)
}
