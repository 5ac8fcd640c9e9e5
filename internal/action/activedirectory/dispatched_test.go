package activedirectory_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/dispatch/dispatchtest"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/store"
	"github.com/seed-f47efad2/cordon/lab/addc"
)

const tenant identity.Tenant = "11111111-1111-1111-1111-111111111111"

// A desk hands approved actions to a dispatcher on the real domain and watches what
// becomes of them.
type desk struct {
	t     testing.TB
	store dispatch.Store
	put   func(run.Run)
	d     *dispatch.Dispatcher
}

// unlimited are no blast radius: what is tried here is the directory.
var unlimited = dispatch.Settings{Limits: dispatch.Limits{AccountsPerHour: 1e6, AccountsPerMinute: 1e6, PlaybookAccountsPerHour: 1e6, GlobalAccountsPerHour: 1e6}}

// dispatcher runs one over the types until the test ends.
func dispatcher(t testing.TB, store dispatch.Store, put func(run.Run), types []action.Type, o dispatch.Options) *desk {
	t.Helper()
	c, err := action.NewCatalogue(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Settings = func() dispatch.Settings { return unlimited }
	d, err := dispatch.New(tenant, store, c, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &desk{t: t, store: store, put: put, d: d}
}

// onDisk runs a dispatcher as serve does: with SQLite on disk.
func onDisk(t testing.TB, path string, types []action.Type, m dispatch.Meter, concurrency int) *desk {
	t.Helper()
	db, err := store.Open(context.Background(), "sqlite:"+path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return dispatcher(t, db.Dispatch(), func(r run.Run) {
		if err := db.Runs().Update(context.Background(), func(tx run.Tx) error { _, err := tx.PutRun(r); return err }); err != nil {
			t.Fatal(err)
		}
	}, types, dispatch.Options{Meter: m, Concurrency: concurrency, RequestTimeout: patience, LeaseTTL: 2 * patience})
}

// halt stops everything that has not left yet, or lets it go.
func (k *desk) halt(on bool) {
	k.t.Helper()
	if err := k.store.Update(context.Background(), func(tx dispatch.Tx) error {
		return tx.PutStop(tenant, dispatch.Stop{On: on, By: "owner", Reason: "not yet", At: time.Now()})
	}); err != nil {
		k.t.Fatal(err)
	}
}

func person(a addc.Account) identity.Identity {
	yes, now := true, time.Now()
	return identity.Identity{
		Tenant: tenant, ID: identity.ID("idn_" + a.SAM), Kind: identity.KindPerson, Name: a.SAM, CreatedAt: now, UpdatedAt: now,
		Accounts: []identity.Account{{Ref: ref(a), Facts: identity.Facts{AsOf: now, Found: &yes, Enabled: &yes, RolesAsOf: now, OnPremises: &identity.OnPremises{Class: identity.ClassUser}}}},
	}
}

// ask stores a person, a run and its approved actions.
func (k *desk) ask(a addc.Account, names ...action.Name) []action.ID {
	k.t.Helper()
	i, now := person(a), time.Now()
	r := run.Run{Tenant: tenant, ID: run.ID("run_" + a.SAM), Identity: i.ID, Playbook: playbook.Ref{ID: "pb"}, State: run.Acting, StartedAt: now,
		Plan: &playbook.Plan{Hash: "h1", Mode: playbook.Enforce}}
	var ids []action.ID
	if err := k.store.Update(context.Background(), func(tx dispatch.Tx) error {
		_, err := tx.PutIdentity(i)
		return err
	}); err != nil {
		k.t.Fatal(err)
	}
	k.put(r)
	if err := k.store.Update(context.Background(), func(tx dispatch.Tx) error {
		for _, n := range names {
			id := action.ID(fmt.Sprintf("act_%s_%s", a.SAM, n))
			ids = append(ids, id)
			act := action.Action{ID: id, Tenant: tenant, Run: string(r.ID), Identity: i.ID, Step: string(n), PlanHash: "h1", Playbook: "pb", Name: n, Account: ref(a),
				Lane: action.LaneHigh, Effect: string(id), State: action.Approved, RequestedAt: now, ApprovedAt: now}
			if n == activedirectory.ResetPassword {
				act.Params = map[string]any{activedirectory.ParamTwice: true}
			}
			if _, err := tx.PutAction(act); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		k.t.Fatal(err)
	}
	return ids
}

func (k *desk) action(id action.ID) (a action.Action) {
	k.t.Helper()
	if err := k.store.Update(context.Background(), func(tx dispatch.Tx) (err error) {
		a, err = tx.Action(tenant, id)
		return err
	}); err != nil {
		k.t.Fatal(err)
	}
	return a
}

// settle waits until an action is in one of the states and good says yes; nil is
// always yes.
func (k *desk) settle(id action.ID, good func(action.Action) bool, states ...action.State) action.Action {
	k.t.Helper()
	var a action.Action
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); pause() {
		if a = k.action(id); slices.Contains(states, a.State) && (good == nil || good(a)) {
			return a
		}
	}
	k.t.Fatalf("%s stays %s: %s; %s", id, a.State, a.Reason, a.Proof)
	return a
}

// hasty are the types with a deadline of their proofs that a test can wait for.
type hasty struct{ action.Type }

func (h hasty) Spec() action.Spec {
	s := h.Type.Spec()
	s.Propagation, s.Within = 500*time.Millisecond, 3*time.Second
	return s
}

type hastyUndoer struct{ hasty }

func (h hastyUndoer) Undo(b json.RawMessage) (map[string]any, bool) {
	return h.Type.(action.Undoer).Undo(b)
}

// With replication stopped a change is accepted and then unconfirmed, the controller
// that does not show it is named, and it ends verified when replication goes on. It
// runs before the tests that are parallel.
func TestUnconfirmedUntilReplicationResumes(t *testing.T) {
	b := alone(t, 30*time.Second)
	store := dispatchtest.New()
	k := dispatcher(t, store, store.PutRun, hurry(b.types), dispatch.Options{})
	a := b.take(t)
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
	defer rejoin()
	id := k.ask(a, activedirectory.Disable)[0]
	k.d.Nudge()
	got := k.settle(id, nil, action.AcceptedState)
	if got.RequestID != b.Controllers[0].Host || got.Outcome != action.Accepted {
		t.Errorf("accepted by %q, %q", got.RequestID, got.Outcome)
	}
	k.settle(id, func(a action.Action) bool {
		return strings.Contains(a.Reason, "pending until replication reaches dc2.corp.example")
	}, action.AcceptedState)
	got = k.settle(id, nil, action.Unconfirmed)
	if !strings.Contains(got.Reason+got.Proof, "pending until replication reaches dc2.corp.example") {
		t.Errorf("unconfirmed without naming the controller: %s; %s", got.Reason, got.Proof)
	}
	rejoin()
	got = k.settle(id, nil, action.Verified)
	if got.Attempt != 1 || !strings.Contains(got.Proof, "disabled (userAccountControl 514) on dc1.corp.example and dc2.corp.example") {
		t.Errorf("after %d attempts: %s", got.Attempt, got.Proof)
	}
}

func hurry(types map[action.Name]action.Type) []action.Type {
	var out []action.Type
	for _, n := range []action.Name{activedirectory.Disable, activedirectory.Enable} {
		out = append(out, hastyUndoer{hasty{types[n]}})
	}
	return out
}

// cutting is a type whose first request's connection is cut when the controller has
// carried it out and before it has answered.
type cutting struct {
	action.Type
	wire *addc.Wire
	cuts atomic.Int32
}

func (c *cutting) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	if c.cuts.Add(1) == 1 {
		c.wire.Break(addc.AnswerLost)
	}
	return c.Type.Do(ctx, reqs)
}

type cuttingUndoer struct{ *cutting }

func (c cuttingUndoer) Undo(b json.RawMessage) (map[string]any, bool) {
	return c.Type.(action.Undoer).Undo(b)
}

type cuttingGenerator struct{ *cutting }

func (c cuttingGenerator) Generate(rand io.Reader, r action.Request) (secret, sealed []byte, err error) {
	return c.Type.(action.Generator).Generate(rand, r)
}

// The connection is cut after the request: the outcome is read. What took effect is
// not sent again, and what must not be repeated is not, though half of it is there.
func TestConnectionCutAfterTheRequest(t *testing.T) {
	t.Parallel()
	b := open(t)
	store := dispatchtest.New()
	disable, reset := &cutting{Type: b.types[activedirectory.Disable], wire: b.wire}, &cutting{Type: b.types[activedirectory.ResetPassword], wire: b.wire}
	k := dispatcher(t, store, store.PutRun, []action.Type{cuttingUndoer{disable}, b.types[activedirectory.Enable], cuttingGenerator{reset}}, dispatch.Options{})
	disabled, halfway := b.take(t), b.take(t)
	first := b.Controllers[0]

	id := k.ask(disabled, activedirectory.Disable)[0]
	k.d.Nudge()
	got := k.settle(id, nil, action.Verified)
	if got.Attempt != 1 || disable.cuts.Load() != 1 || got.Outcome == action.Accepted {
		t.Errorf("sent %d times in %d attempts, outcome %q: %s", disable.cuts.Load(), got.Attempt, got.Outcome, got.Proof)
	}
	if uac := b.shows(t, first, disabled.DN, "userAccountControl"); uac != "514" {
		t.Errorf("userAccountControl is %s", uac)
	}
	usn := b.shows(t, first, disabled.DN, "uSNChanged")

	id = k.ask(halfway, activedirectory.ResetPassword)[0]
	k.d.Nudge()
	k.settle(id, func(a action.Action) bool { return a.Outcome == action.Unknown }, action.Running)
	for range 10 { // longer than what is repeated takes to be
		pause()
	}
	got = k.action(id)
	if got.Attempt != 1 || reset.cuts.Load() != 1 || got.State.Final() {
		t.Errorf("%s after %d requests in %d attempts: %s", got.State, reset.cuts.Load(), got.Attempt, got.Reason)
	}
	if set := b.shows(t, first, halfway.DN, "pwdLastSet"); set != "0" {
		t.Errorf("pwdLastSet is %s: the second reset was sent by nobody", set)
	}
	if now := b.shows(t, first, disabled.DN, "uSNChanged"); now != usn {
		t.Error("the disabled account was changed again")
	}
}

// A counter counts what dispatch says that it did.
type counter struct {
	mu       sync.Mutex
	want     int
	took     int
	verified int
	accepted time.Time // of the last one
	proven   time.Time
	done     chan struct{}
}

func (c *counter) begin(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.want, c.took, c.verified, c.accepted, c.done = n, 0, 0, time.Time{}, make(chan struct{})
}

func (*counter) Decided(action.Name, dispatch.Verdict, dispatch.Rule) {}
func (*counter) Left(action.Name, time.Duration)                      {}
func (*counter) Owner(identity.Tenant, bool)                          {}

func (c *counter) Sent(_ action.Name, v action.Verdict, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v == action.Accepted {
		if c.took++; c.took == c.want {
			c.accepted = time.Now()
		}
	}
}

func (c *counter) Settled(_ action.Name, s action.State, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s == action.Verified {
		if c.verified++; c.verified == c.want {
			c.proven = time.Now()
			if c.accepted.IsZero() { // an outcome that was not known was read instead
				c.accepted = c.proven
			}
			close(c.done)
		}
	}
}
