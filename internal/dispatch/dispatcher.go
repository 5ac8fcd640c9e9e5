package dispatch

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// Options are what a caller may leave alone: every zero means the default.
type Options struct {
	Settings func() Settings // asked for each decision; nil: no protected list, default limits
	Budget   *Budget         // shared with the tenant's connectors; nil: one of its own
	Log      *slog.Logger    // slog.DiscardHandler
	Meter    Meter           // counts; nil: nobody does

	Now          func() time.Time // time.Now
	Rand         io.Reader        // source of passwords and jitter, safe for concurrent use; crypto/rand
	NewRequestID func() string    // makes client-request-ids; random GUIDs
	Owner        string           // names this process in the lease; must differ from every other's; random

	// Changed is called after each commit that changed an action of the run: the
	// in-process bell of run.Driver. It must not block.
	Changed func(t identity.Tenant, id run.ID)

	// Still reports whether what the run's plan rests on holds for the step, with what
	// is known in this transaction: refused is the guard that refuses now, moot why
	// the step is not called for any more, and an error of the kind fault.Held what
	// cannot be decided. run.Driver.Still is one; nil asks nothing.
	Still func(tx run.Reader, r run.Run, step string) (refused, moot string, err error)

	LeaseTTL       time.Duration // how long a silent owner keeps the tenant; 10 s
	RequestTimeout time.Duration // of one request; shorter than LeaseTTL; 8 s
	SendWithin     time.Duration // how old the gate's word may be when the request leaves; 500 ms
	Concurrency    int           // directory requests in flight; 8
	Tick           time.Duration // how often due work is looked for without a nudge; 1 s
}

// A Meter counts what dispatch does. Its methods are called from many
// goroutines and must not block.
type Meter interface {
	// Decided is called for each decision of the gate; rule is "" for Allow.
	Decided(name action.Name, v Verdict, rule Rule)
	// Left is called when a request leaves, with the time since the action was
	// approved or last put off.
	Left(name action.Name, waited time.Duration)
	// Sent is called with what the directory answered for one target.
	Sent(name action.Name, v action.Verdict, took time.Duration)
	// Settled is called when an action is verified, unconfirmed or failed, with the
	// time since its intent.
	Settled(name action.Name, s action.State, took time.Duration)
	// Owner is called when the tenant's lease is won or lost.
	Owner(t identity.Tenant, owner bool)
}

// A Dispatcher drains the approved actions of one tenant. Of all processes that
// run one for the tenant, the owner of the lease works and the others stand by.
type Dispatcher struct {
	tenant identity.Tenant
	store  Store
	cat    *action.Catalogue
	// version is the catalogue's: the digest is computed once.
	version string
	budget  *Budget
	o       Options

	names      []action.Name // of all types, sorted
	disruptive []action.Name // those that the blast-radius limits count
	nudge      chan struct{}
	lease      atomic.Pointer[Lease] // nil: standing by
}

// New returns a dispatcher that is ready to Run. It returns fault.Invalid when a
// request could outlive the lease.
func New(t identity.Tenant, store Store, c *action.Catalogue, o Options) (*Dispatcher, error) {
	o.LeaseTTL = cmp.Or(o.LeaseTTL, 10*time.Second)
	o.RequestTimeout = cmp.Or(o.RequestTimeout, min(8*time.Second, o.LeaseTTL*4/5))
	o.SendWithin = cmp.Or(o.SendWithin, 500*time.Millisecond)
	o.Concurrency = cmp.Or(o.Concurrency, 8)
	o.Tick = cmp.Or(o.Tick, time.Second)
	if t == "" || store == nil || c == nil {
		return nil, fault.Errorf(fault.Invalid, "dispatch: a dispatcher needs a tenant, a store and a catalogue")
	}
	if o.RequestTimeout >= o.LeaseTTL {
		return nil, fault.Errorf(fault.Invalid, "dispatch: the request timeout %v is not shorter than the lease %v", o.RequestTimeout, o.LeaseTTL)
	}
	if o.SendWithin > time.Second {
		return nil, fault.Errorf(fault.Invalid, "dispatch: send within %v: the global stop must halt all writes within a second", o.SendWithin)
	}
	if o.Settings == nil {
		o.Settings = func() Settings { return Settings{} }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.NewRequestID == nil {
		o.NewRequestID = newGUID
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = unmetered{}
	}
	if o.Changed == nil {
		o.Changed = func(identity.Tenant, run.ID) {}
	}
	if o.Owner == "" {
		o.Owner = newGUID()
	}
	if o.Budget == nil {
		o.Budget = NewBudget(BudgetOptions{Now: o.Now, Rand: o.Rand, Reserve: o.Settings().Limits.Reserve})
	}
	o.Log = o.Log.With("tenant", string(t))
	d := &Dispatcher{tenant: t, store: store, cat: c, version: c.Version(), budget: o.Budget, o: o, nudge: make(chan struct{}, 1)}
	for _, s := range c.Specs() {
		d.names = append(d.names, s.Name)
		if s.Disruptive() {
			d.disruptive = append(d.disruptive, s.Name)
		}
	}
	return d, nil
}

// Nudge tells the dispatcher that actions may have become ready. It never
// blocks; a lost nudge costs at most a Tick.
func (d *Dispatcher) Nudge() {
	select {
	case d.nudge <- struct{}{}:
	default:
	}
}

// Budget returns the tenant's budget, for the connectors.
func (d *Dispatcher) Budget() *Budget { return d.budget }

// Lease returns the lease, and whether this process is the tenant's owner now.
func (d *Dispatcher) Lease() (Lease, bool) {
	l := d.lease.Load()
	if l == nil || !d.o.Now().Before(l.Until) {
		return Lease{}, false
	}
	return *l, true
}

// Run dispatches until ctx ends, then lets what has left finish, writes its
// outcomes, gives the lease up and returns nil. Requests that have left are not
// cut short: they end with their own timeout. It is called once.
func (d *Dispatcher) Run(ctx context.Context) error {
	var quiet string // the trouble that was logged last: it is not repeated every second
	for ctx.Err() == nil {
		l, err := d.store.Acquire(ctx, d.tenant, d.o.Owner, d.o.Now(), d.o.LeaseTTL)
		switch {
		case err == nil:
			quiet = ""
			d.own(ctx, l)
			continue
		case ctx.Err() != nil:
		case errors.Is(err, fault.Conflict): // another process owns the tenant
			quiet = ""
		case err.Error() != quiet:
			quiet = err.Error()
			d.o.Log.Warn("dispatch stands by: the lease cannot be asked for", "err", err)
		}
		sleep(ctx, min(d.o.Tick, d.o.LeaseTTL/4), nil)
	}
	return nil
}

// own works under the lease until it is lost or ctx ends.
func (d *Dispatcher) own(ctx context.Context, l Lease) {
	s := &session{
		Dispatcher: d,
		fence:      l.Fence,
		writes:     newCommitter(d.store),
		inflight:   map[action.ID]bool{},
		open:       map[string]map[action.ID]bool{},
		last:       map[action.ID]json.RawMessage{},
		slots:      map[action.Bucket]int{},
		reading:    map[action.Bucket]int{},
	}
	d.lease.Store(&l)
	d.o.Meter.Owner(d.tenant, true)
	d.o.Log.Info("dispatch owns the tenant", "fence", l.Fence, "taken", l.Taken)
	if err := s.run(ctx); err != nil {
		d.o.Log.Warn("dispatch lost the tenant", "fence", l.Fence, "err", err)
	}
	last := d.lease.Swap(nil)
	d.o.Meter.Owner(d.tenant, false)
	free, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := d.store.Release(free, *last); err != nil {
		d.o.Log.Warn("the lease could not be given up; it runs out by itself", "until", last.Until, "err", err)
	}
}

// renew takes the lease again before it runs out. It returns an error when the
// tenant has another owner.
func (s *session) renew(ctx context.Context) error {
	l := s.lease.Load()
	now := s.o.Now()
	if most, least := passed(now, l.Until); least > s.o.LeaseTTL*2/3 && most <= s.o.LeaseTTL {
		return nil
	}
	next, err := s.store.Acquire(ctx, s.tenant, s.o.Owner, now, s.o.LeaseTTL)
	switch {
	case errors.Is(err, fault.Conflict):
		return fmt.Errorf("renew the lease: %w", err)
	case err != nil: // nothing leaves once it has run out; a store that comes back in time changes nothing
		s.trouble("renew the lease", err)
		return nil
	case next.Fence != s.fence:
		return fault.Errorf(fault.Conflict, "the lease had run out: fence %d became %d", s.fence, next.Fence)
	}
	s.lease.Store(&next)
	return nil
}

func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

type unmetered struct{}

func (unmetered) Decided(action.Name, Verdict, Rule)               {}
func (unmetered) Left(action.Name, time.Duration)                  {}
func (unmetered) Sent(action.Name, action.Verdict, time.Duration)  {}
func (unmetered) Settled(action.Name, action.State, time.Duration) {}
func (unmetered) Owner(identity.Tenant, bool)                      {}
