package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/dispatch/dispatchtest"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// house is a store with a directory beside it, and processes that dispatch.
type house struct {
	t        testing.TB
	store    *dispatchtest.Store
	dir      *directory
	settings dispatch.Settings
	opts     dispatch.Options
	speed    float64

	wg    sync.WaitGroup
	mu    sync.Mutex
	procs []*process // all that were ever started
}

func newHouse(t testing.TB) *house {
	h := &house{t: t, store: dispatchtest.New(), dir: newDirectory(time.Now), speed: 1}
	h.settings.Limits = dispatch.Limits{AccountsPerHour: 1e6, AccountsPerMinute: 1e6, PlaybookAccountsPerHour: 1e6, GlobalAccountsPerHour: 1e6}
	admin := []identity.Role{{TemplateID: identity.GlobalAdministrator, Name: "Global Administrator", Active: true}}
	h.store.PutDirectory(tenant, connector.DirectoryFacts{
		AsOf: time.Now(), UsableGlobalAdmins: []string{"ga-1", "ga-2"}, Holders: map[string][]identity.Role{"ga-1": admin, "ga-2": admin},
	})
	return h
}

// update is a transaction that must not fail.
func (h *house) update(f func(dispatch.Tx) error) {
	h.t.Helper()
	if err := h.store.Update(context.Background(), f); err != nil {
		h.t.Error(err)
	}
}

func person(n int) identity.Identity {
	yes, no := true, false
	now := time.Now()
	return identity.Identity{
		Tenant: tenant, ID: identity.ID(fmt.Sprintf("idn_%04d", n)), Kind: identity.KindPerson, Name: fmt.Sprintf("Person %d", n),
		Accounts: []identity.Account{{
			Ref:   identity.Ref{Provider: identity.EntraID, ObjectID: fmt.Sprintf("user-%04d", n)},
			Facts: identity.Facts{AsOf: now, Found: &yes, Enabled: &yes, Synced: &no, RolesAsOf: now},
		}},
	}
}

// ask stores a person, a run and an approved action, and returns the action.
func (h *house) ask(i identity.Identity, name action.Name, change ...func(*action.Action)) action.Action {
	h.t.Helper()
	now := time.Now()
	id := action.ID(fmt.Sprintf("act_%s_%s", name, i.ID))
	a := action.Action{
		ID: id, Tenant: tenant, Run: "run_" + string(id), Case: "cas_" + string(i.ID), Identity: i.ID, Step: "step", PlanHash: "h1", Playbook: "pb",
		Name: name, Account: i.Accounts[0].Ref, Lane: action.LaneHigh, Effect: string(id), State: action.Approved, RequestedAt: now, ApprovedAt: now,
	}
	for _, f := range change {
		f(&a)
	}
	h.store.PutRun(run.Run{
		Tenant: tenant, ID: run.ID(a.Run), Identity: i.ID, State: run.Acting,
		Plan: &playbook.Plan{Hash: "h1", Mode: playbook.Enforce},
	})
	h.update(func(tx dispatch.Tx) error {
		if _, err := tx.Identity(tenant, i.ID); err != nil {
			if _, err := tx.PutIdentity(i); err != nil {
				return err
			}
		}
		var err error
		a, err = tx.PutAction(a)
		return err
	})
	return a
}

func (h *house) stop(on bool) {
	h.t.Helper()
	h.update(func(tx dispatch.Tx) error {
		return tx.PutStop(tenant, dispatch.Stop{On: on, By: "owner", Reason: "drill", At: time.Now()})
	})
}

func (h *house) action(a action.Action) action.Action {
	h.t.Helper()
	h.update(func(tx dispatch.Tx) error {
		var err error
		a, err = tx.Action(a.Tenant, a.ID)
		return err
	})
	return a
}

// settle waits until the action is in one of the states, or for a long while.
func (h *house) settle(a action.Action, states ...action.State) action.Action {
	h.t.Helper()
	began := time.Now()
	for {
		a = h.action(a)
		for _, s := range states {
			if a.State == s {
				return a
			}
		}
		waited := time.Since(began)
		if waited > 2*time.Hour {
			h.t.Fatalf("action %s stays %s (%s); want %v", a.ID, a.State, a.Reason, states)
		}
		<-time.After(max(10*time.Millisecond, waited/20))
	}
}

// A process is one run of the program, which can be made to die or to freeze.
type process struct {
	d      *dispatch.Dispatcher
	cancel context.CancelFunc

	mu       sync.Mutex
	steps    int
	crashAt  int // at this step it dies; 0: never
	freezeAt int // before this step it stands still for frozen; 0: never
	frozen   time.Duration
	again    bool // every transaction is tried twice
	thaw     time.Time
	dead     bool
	died     chan struct{}
}

// stand stands still while the process is frozen: all of it, not one goroutine.
func (p *process) stand() {
	p.mu.Lock()
	wait := time.Until(p.thaw)
	p.mu.Unlock()
	if wait > 0 {
		<-time.After(wait)
	}
}

var (
	errDead  = errors.New("the process is dead")
	errAgain = errors.New("another writer got in first")
)

// step is a point at which a process can die or freeze. It reports whether it
// lives.
func (p *process) step() error {
	p.mu.Lock()
	p.steps++
	if p.steps == p.freezeAt {
		p.thaw = time.Now().Add(p.frozen)
	}
	if p.steps == p.crashAt {
		p.dead = true
		p.cancel()
		close(p.died)
	}
	dead := p.dead
	p.mu.Unlock()
	p.stand()
	if dead {
		return errDead
	}
	return nil
}

// start runs a process until stop or its death.
func (h *house) start(change ...func(*process)) *process {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{cancel: cancel, died: make(chan struct{})}
	h.mu.Lock()
	h.procs = append(h.procs, p)
	number := len(h.procs)
	h.mu.Unlock()
	for _, f := range change {
		f(p)
	}
	var types []action.Type
	for _, t := range h.dir.types() {
		types = append(types, mortal(p, t))
	}
	cat, err := action.NewCatalogue(types, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	o := h.opts
	rnd := &lockedRand{r: rand.NewChaCha8([32]byte{byte(number)})}
	o.Owner, o.Rand = fmt.Sprintf("proc-%d", number), rnd
	o.Settings = func() dispatch.Settings { return h.settings }
	o.Budget = dispatch.NewBudget(dispatch.BudgetOptions{Speed: h.speed, Rand: rnd})
	p.d, err = dispatch.New(tenant, mortalStore{h.store, p}, cat, o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.wg.Go(func() {
		if err := p.d.Run(ctx); err != nil {
			h.t.Errorf("Run: %v", err)
		}
	})
	return p
}

// end tells every process to stop and waits for all.
func (h *house) end() {
	h.mu.Lock()
	for _, p := range h.procs {
		p.cancel()
	}
	h.mu.Unlock()
	h.wg.Wait()
}

type lockedRand struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (l *lockedRand) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(b)
}

// mortalStore dies with its process: before a commit or after it.
type mortalStore struct {
	dispatch.Store
	p *process
}

func (s mortalStore) Update(ctx context.Context, change func(dispatch.Tx) error) error {
	if err := s.p.step(); err != nil {
		return err
	}
	if s.p.again { // as a store does when another writer got in first
		err := s.Store.Update(ctx, func(tx dispatch.Tx) error {
			if err := change(tx); err != nil {
				return err
			}
			return errAgain
		})
		if !errors.Is(err, errAgain) {
			return err
		}
	}
	if err := s.Store.Update(ctx, change); err != nil {
		return err
	}
	return s.p.step()
}

func (s mortalStore) Ready(ctx context.Context, t identity.Tenant, names []action.Name, now time.Time, limit int) ([]action.Action, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	return s.Store.Ready(ctx, t, names, now, limit)
}

func (s mortalStore) Acquire(ctx context.Context, t identity.Tenant, owner string, now time.Time, ttl time.Duration) (dispatch.Lease, error) {
	if err := s.alive(); err != nil {
		return dispatch.Lease{}, err
	}
	return s.Store.Acquire(ctx, t, owner, now, ttl)
}

func (s mortalStore) Release(ctx context.Context, l dispatch.Lease) error {
	if err := s.alive(); err != nil {
		return err
	}
	return s.Store.Release(ctx, l)
}

func (s mortalStore) alive() error {
	s.p.stand()
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.dead {
		return errDead
	}
	return nil
}

// mortalType sends nothing once its process is dead.
type mortalType struct {
	action.Type
	p *process
}

func (m mortalType) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	dead := func() []action.Outcome {
		out := make([]action.Outcome, len(reqs))
		for n := range out {
			out[n] = action.Outcome{Verdict: action.Unknown, Reason: "dead"}
		}
		return out
	}
	m.p.mu.Lock()
	m.p.steps++
	if m.p.steps == m.p.crashAt { // after the intent, before the request
		m.p.dead = true
		m.p.cancel()
		close(m.p.died)
	}
	gone := m.p.dead
	m.p.mu.Unlock()
	if gone {
		return dead()
	}
	return m.Type.Do(ctx, reqs)
}

type mortalUndoable struct {
	mortalType
	action.Undoer
}

type mortalGenerator struct {
	mortalType
	action.Generator
}

func mortal(p *process, t action.Type) action.Type {
	m := mortalType{t, p}
	if u, ok := t.(action.Undoer); ok {
		return mortalUndoable{m, u}
	}
	if g, ok := t.(action.Generator); ok {
		return mortalGenerator{m, g}
	}
	return m
}
