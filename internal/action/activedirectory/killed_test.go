package activedirectory_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/dispatch/dispatchtest"
	"github.com/seed-f47efad2/cordon/lab/addc"
)

// A crash kills a controller while the first writes of all its types are on their way
// to it: it took them in and did not look at them any more.
type crash struct {
	t   testing.TB
	bed *bed
	dc  *addc.DC
	all sync.WaitGroup // the types whose first write is awaited

	once sync.Once
	mu   sync.Mutex
	told map[action.ID][]string // what happened to each action, in order
}

// a witness tells what is done through a type, and brings its first write into the
// crash.
type witness struct {
	action.Type
	crash  *crash
	first  sync.Once
	within time.Duration // of the proof, for a test that waits for its end
}

type witnessUndoer struct {
	*witness
	action.Undoer
}

type witnessGenerator struct {
	*witness
	action.Generator
}

func (w *witness) Spec() action.Spec {
	s := w.Type.Spec()
	s.Within = w.within
	return s
}

func (w *witness) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	w.first.Do(func() {
		w.crash.all.Done()
		w.crash.all.Wait()
		w.crash.once.Do(w.crash.begin)
	})
	out := w.Type.Do(ctx, reqs)
	for n, r := range reqs {
		w.crash.tell(r.ID, "sent: "+string(out[n].Verdict))
	}
	return out
}

func (w *witness) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := w.Type.ReadBack(ctx, reqs)
	for n, r := range reqs {
		if out[n].Err == nil {
			w.crash.tell(r.ID, "read")
		}
	}
	return out
}

func (c *crash) tell(id action.ID, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told[id] = append(c.told[id], what)
}

func (c *crash) history(id action.ID) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told[id])
}

// begin freezes the controller, lets the writes leave, and kills it.
func (c *crash) begin() {
	if err := c.bed.Freeze(context.Background(), c.dc); err != nil {
		c.t.Error(err)
	}
	go func() {
		pause()
		pause()
		if err := c.bed.Kill(context.Background(), c.dc); err != nil {
			c.t.Error(err)
		}
	}()
}

// rest leaves n connections to the controller at rest in the client: a frozen one
// takes in whatever is sent on them.
func (b *bed) rest(t testing.TB, n int) {
	t.Helper()
	ctx, c := context.Background(), b.Controllers[0]
	if _, err := b.client.Self(ctx); err != nil { // so that it is known whom to ask
		t.Fatal(err)
	}
	if err := b.Freeze(ctx, c); err != nil {
		t.Fatal(err)
	}
	before := b.wire.Dials()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if _, err := b.client.See(ctx, []directory.Subject{{SID: b.Reader.SID}}); err != nil {
				t.Error(err)
			}
		})
	}
	for b.wire.Dials() < before+n-1 { // one rested already
		pause()
	}
	if err := b.Thaw(ctx, c); err != nil {
		t.Fatal(err)
	}
	all.Wait()
}

// The controller is killed in mid-write. What may have happened is read before it is
// sent again, to the controller that is left; a reset is never sent again; and when the
// controller is back, both show one and the same.
func TestControllerKilledInMidWrite(t *testing.T) {
	b := alone(t, 8*time.Second)
	dead := b.Controllers[0]
	c := &crash{t: t, bed: b, dc: dead, told: map[action.ID][]string{}}
	c.all.Add(2)
	store := dispatchtest.New()
	disable, reset := b.types[activedirectory.Disable], b.types[activedirectory.ResetPassword]
	k := dispatcher(t, store, store.PutRun, []action.Type{
		witnessUndoer{&witness{Type: disable, crash: c, within: 5 * time.Minute}, disable.(action.Undoer)}, b.types[activedirectory.Enable],
		witnessGenerator{&witness{Type: reset, crash: c, within: 5 * time.Second}, reset.(action.Generator)},
	}, dispatch.Options{})

	const each = 3
	var disabled, renewed []addc.Account
	was := map[string]string{}
	for range each {
		a, p := b.take(t), b.take(t)
		disabled, renewed = append(disabled, a), append(renewed, p)
		was[p.SAM] = b.keyVersion(t, dead, p)
	}
	b.rest(t, 2*each)
	restarted := false
	restart := func() {
		restarted = true
		if err := b.Restart(context.Background(), dead); err != nil {
			t.Error(err)
		}
	}
	defer func() {
		if !restarted {
			restart()
		}
	}()
	var disables, resets []action.ID
	k.halt(true) // all of them leave at once
	for n := range each {
		disables = append(disables, k.ask(disabled[n], activedirectory.Disable)...)
		resets = append(resets, k.ask(renewed[n], activedirectory.ResetPassword)...)
	}
	k.halt(false)
	k.d.Nudge()
	for _, id := range resets { // nothing is known of them while the controller is gone
		got := k.settle(id, nil, action.Unconfirmed)
		if !strings.Contains(got.Reason, "not read on dc1.corp.example") || !strings.Contains(got.Reason, "not repeated by itself: a person decides") {
			t.Errorf("%s: %s", id, got.Reason)
		}
	}
	restart()
	for n, id := range disables {
		got := k.settle(id, nil, action.Verified)
		h := c.history(id)
		if h[0] != "sent: unknown" || !slices.Contains(h, "sent: accepted") {
			t.Errorf("%s: %q; want its first write lost with the controller", id, h)
		}
		for i, what := range h {
			if i > 0 && strings.HasPrefix(what, "sent") && h[i-1] == "sent: unknown" {
				t.Errorf("%s was sent again and not read before: %q", id, h)
			}
		}
		if !strings.Contains(got.Proof, "on dc1.corp.example and dc2.corp.example") {
			t.Errorf("%s: proof %s", id, got.Proof)
		}
		for _, dc := range b.Controllers {
			b.expect(t, "disabled through the crash", dc, disabled[n], map[string]string{"Kerberos": "revoked", "LDAP": "data 533", "SMB": "NT_STATUS_ACCOUNT_DISABLED"})
		}
	}
	for n, id := range resets {
		if sent := slices.DeleteFunc(c.history(id), func(s string) bool { return !strings.HasPrefix(s, "sent") }); !slices.Equal(sent, []string{"sent: unknown"}) {
			t.Errorf("%s: %q; want it sent once", id, sent)
		}
		if got := k.action(id); got.State != action.Unconfirmed || !got.Person || got.Attempt != 1 {
			t.Errorf("%s is %s after %d attempts (person %v): %s", id, got.State, got.Attempt, got.Person, got.Reason)
		}
		for _, dc := range b.Controllers {
			if now := b.keyVersion(t, dc, renewed[n]); now != was[renewed[n].SAM] {
				t.Errorf("%s: the key version was %s and is %s on %s", id, was[renewed[n].SAM], now, dc.Host)
			}
		}
	}
}

// keyVersion counts the changes of a password (msDS-KeyVersionNumber).
func (b *bed) keyVersion(t testing.TB, c *addc.DC, a addc.Account) string {
	t.Helper()
	return b.shows(t, c, a.DN, "msDS-KeyVersionNumber")
}
