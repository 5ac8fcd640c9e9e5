// Package app is the one place that knows everything: it composes the store, the
// connectors, the engine, the API and the console into a process that starts,
// reloads and stops.
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/console"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/store"
)

// Options are what a caller may leave alone but for Config: every zero means
// the default.
type Options struct {
	Config  config.Config
	Version string
	Log     *slog.Logger     // slog.Default
	Now     func() time.Time // time.Now
	// Speed multiplies the published limits that the budget counts with; only a
	// simulated tenant has other limits than Graph's. 0 means 1.
	Speed float64
	// Lease is how long a process that went silent keeps a tenant before another
	// takes it over; all processes on a store use the same. 0 means 10 seconds.
	Lease time.Duration
	// Dial reaches domain controllers; nil is a net.Dialer's. Tests put themselves between.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Operators are known beside those of the configuration.
	Operators []desk.Known
	// Reload is asked for a new configuration when the process is told to reload;
	// nil: it cannot be reloaded.
	Reload func() (config.Config, error)
}

// An App is a process in the making: New binds and opens everything, Run works
// until its context ends.
type App struct {
	opts     Options
	log      *slog.Logger
	settings atomic.Pointer[settings]
	fares    atomic.Pointer[[]connector.FeedState] // how the feeds fared at the last look
	specs    *action.Catalogue                     // what actions are, without a client

	db        *store.DB
	driver    *run.Driver
	campaigns *campaign.Driver
	pipeline  *ingest.Pipeline
	desk      *desk.Service
	operators *desk.Operators
	console   *console.Console
	sequencer *audit.Sequencer
	tenants   []*tenant
	runs      *wakes
	metrics   *metrics
	listener  net.Listener
	handler   http.Handler

	lending sync.Mutex
	lent    map[identity.Tenant]domains // of tenants that are not at work here
}

// settings are what a reload replaces, all at once.
type settings struct {
	config  config.Config
	library *playbook.Library
	tenants map[identity.Tenant]config.Tenant
}

// New opens the store, binds the listener and composes the process. When it
// returns an error nothing is left open.
func New(ctx context.Context, o Options) (*App, error) {
	a, err := Offline(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// open adds to an offline process what reaches outside: tenants and listener.
func (a *App) open(ctx context.Context) error {
	for _, t := range a.opts.Config.Tenants {
		opened, err := a.openTenant(t)
		if err != nil {
			return fmt.Errorf("tenant %s: %w", t.TenantID, err)
		}
		a.tenants = append(a.tenants, opened)
		if err := a.openChannels(ctx, t, opened); err != nil {
			return fmt.Errorf("tenant %s: %w", t.TenantID, err)
		}
	}
	var err error
	a.listener, err = listen(ctx, a.opts.Config)
	return err
}

// Offline composes everything that works on the store alone: what operators see
// and do, and back-filling. Nothing is contacted and nothing listens; what is
// approved leaves when a service runs. The caller closes it.
func Offline(ctx context.Context, o Options) (_ *App, err error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	a := &App{opts: o, log: o.Log, runs: newWakes(), metrics: newMetrics()}
	if a.specs, err = Catalogue(nil); err != nil {
		return nil, err
	}
	s, err := a.load(o.Config)
	if err != nil {
		return nil, err
	}
	a.settings.Store(s)
	signer, err := signerOf(o.Config)
	if err != nil {
		return nil, err
	}
	known, err := operatorsOf(o.Config)
	if err != nil {
		return nil, err
	}
	if a.operators, err = desk.NewOperators(append(known, o.Operators...), o.Now); err != nil {
		return nil, err
	}

	a.db, err = store.Open(ctx, o.Config.Store, store.Options{Now: o.Now, Log: o.Log, Nudge: a.nudge})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	a.sequencer = audit.NewSequencer(a.db.Audit(), signer, o.Log, audit.Options{Now: o.Now, Publish: publisher(o.Config.Audit.CheckpointFile)})
	a.driver = &run.Driver{
		Store: a.db.Runs(), Planner: planner{a}, Catalogue: a.specs, Policy: a.policy, Mode: a.mode, Now: o.Now,
		Connected: a.connected, Outages: a.outages, Nudge: a.nudgeDispatch, Soon: a.runs.waits, Log: o.Log,
	}
	a.campaigns = &campaign.Driver{
		Store: a.db.Campaigns(), Runs: a.driver, Now: o.Now, Forecast: a.forecast, Nudge: a.nudgeDispatch, Log: o.Log,
	}
	a.driver.Campaigns = a.campaigns
	a.pipeline = &ingest.Pipeline{Store: a.db.Ingest(), Runs: a.driver, Lookup: a.lookup, Now: o.Now, Log: o.Log}
	a.desk, err = desk.New(desk.Options{
		Store: a.db.Desk(), Operators: a.operators, Driver: a.driver, Playbooks: func() desk.Playbooks { return a.settings.Load().library },
		Catalogue: a.specs, Policy: a.policy, Now: o.Now, Rand: rand.Reader, Log: o.Log, Tenants: a.known,
		Questions: a.questions,
	})
	if err != nil {
		return nil, err
	}
	a.handler, err = a.routes()
	return a, err
}

// connected says which directories Cordon can act in for a tenant.
func (a *App) connected(t identity.Tenant) []identity.Provider {
	return connected(a.settings.Load().tenants[t])
}

// known returns the configured tenants.
func (a *App) known() []identity.Tenant {
	var out []identity.Tenant
	for _, t := range a.settings.Load().config.Tenants {
		out = append(out, t.Key())
	}
	return out
}

// Close releases listener and store. A Run that has returned has closed already.
func (a *App) Close() error {
	var errs []error
	if a.listener != nil {
		// A server that was shut down has closed it already.
		if err := a.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for _, t := range a.tenants {
		errs = append(errs, t.domains.close(), t.channels.close())
	}
	a.lending.Lock()
	for _, d := range a.lent {
		errs = append(errs, d.close())
	}
	a.lent = nil
	a.lending.Unlock()
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	return errors.Join(errs...)
}

// Addr returns where the process listens.
func (a *App) Addr() string { return a.listener.Addr().String() }

// Desk returns the desk, for the command line inside the same process.
func (a *App) Desk() *desk.Service { return a.desk }

// Store returns the store, for the command line inside the same process.
func (a *App) Store() *store.DB { return a.db }

// Pipeline returns the ingest pipeline, for the command line inside the same
// process.
func (a *App) Pipeline() *ingest.Pipeline { return a.pipeline }

// Run works until ctx ends and then stops in the reverse order: no new work, the
// actions that have left are written down, the trail is sequenced, the store
// closed. It returns nil after a clean stop.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var work, engine sync.WaitGroup
	// Dispatch and the sequencer outlive the rest: what has left the house is
	// written down, and what was written is sequenced.
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	failed := func(part string, err error) {
		if err != nil && !errors.Is(err, context.Canceled) {
			a.log.Error("a part of cordon failed; the process stops", "part", part, "err", err)
			cancel(fmt.Errorf("%s: %w", part, err))
		}
	}

	stopBells, err := a.db.StartBells(ctx, store.Bells{Ring: a.ring})
	if err != nil {
		return fmt.Errorf("start the bells: %w", err)
	}
	for _, t := range a.tenants {
		engine.Go(func() { failed("dispatch of "+t.name(), t.dispatcher.Run(engineCtx)) })
		for _, s := range t.streams {
			if s.every > 0 {
				work.Go(func() { a.poll(ctx, t, s) })
			}
		}
		t.channels.run(ctx, a, t, work.Go, failed)
		work.Go(func() { a.openCases(ctx, t) })
	}
	work.Go(func() { a.driveRuns(ctx) })
	for _, t := range a.tenants {
		work.Go(func() { a.tell(ctx, t) })
		work.Go(func() { a.ask(ctx, t) })
	}
	work.Go(func() { a.reconcile(ctx) })
	work.Go(func() { a.driveCampaigns(ctx) })
	work.Go(func() { a.expireHandOvers(ctx) })
	work.Go(func() { a.followExceptions(ctx) })
	work.Go(func() { a.prune(ctx) })
	work.Go(func() { a.watchFeeds(ctx) })

	server := &http.Server{
		Handler: a.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	sequencing := make(chan struct{})
	sequencerCtx, stopSequencer := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSequencer()
	go func() {
		defer close(sequencing)
		failed("audit sequencer", a.sequencer.Run(sequencerCtx))
	}()
	work.Go(func() {
		if err := server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			failed("listener", err)
		}
	})
	a.log.Info("cordon is up", "address", a.Addr(), "store", a.db.Dialect(), "tenants", len(a.tenants), "version", a.opts.Version)

	<-ctx.Done()
	a.log.Info("cordon stops")
	down, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	errs := []error{server.Shutdown(down)}
	work.Wait()
	errs = append(errs, stopBells(down))
	stopEngine()
	engine.Wait()
	stopSequencer()
	<-sequencing
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		errs = append(errs, cause)
	}
	return errors.Join(errs...)
}

// Reload takes over the parts of a new configuration that need no restart:
// playbooks, operators, protected lists, modes and limits. A configuration that
// cannot be used changes nothing, and says so; what would need a restart is
// named and ignored until then.
func (a *App) Reload() error {
	if a.opts.Reload == nil {
		return fault.Errorf(fault.Invalid, "this process has no configuration file to reload")
	}
	next, err := a.reload()
	entry := audit.Entry{At: a.opts.Now(), Actor: "cordon:config", Kind: audit.ConfigLoaded, Text: "a new configuration was taken over"}
	if err != nil {
		entry.Kind, entry.Text = audit.ConfigRefused, "a new configuration was refused; the old one stays in force"
		entry.Data = map[string]any{"reason": err.Error()}
		a.log.Error("the new configuration is refused; the old one stays in force", "err", err)
	} else {
		a.settings.Store(next)
		a.log.Info("configuration reloaded", "playbooks", len(next.library.Playbooks()))
	}
	return errors.Join(err, a.record(entry))
}

func (a *App) reload() (*settings, error) {
	c, err := a.opts.Reload()
	if err != nil {
		return nil, err
	}
	if err := a.needsRestart(c); err != nil {
		return nil, err
	}
	s, err := a.load(c)
	if err != nil {
		return nil, err
	}
	known, err := operatorsOf(c)
	if err != nil {
		return nil, err
	}
	return s, a.operators.Replace(append(known, a.opts.Operators...))
}

// needsRestart refuses changes that cannot take hold in a running process,
// rather than to seem to take them.
func (a *App) needsRestart(c config.Config) error {
	old := a.opts.Config
	var errs []error
	differ := func(name string, same bool) {
		if !same {
			errs = append(errs, fault.Errorf(fault.Invalid, "configuration: %s changed: restart Cordon for that", name))
		}
	}
	differ("store", c.Store == old.Store)
	differ("listen", c.Listen == old.Listen)
	differ("tls", c.TLS == old.TLS)
	differ("audit", c.Audit == old.Audit)
	differ("the number of tenants", len(c.Tenants) == len(old.Tenants))
	for n := range min(len(c.Tenants), len(old.Tenants)) {
		differ(fmt.Sprintf("tenants[%d]: how to reach it", n), c.Tenants[n].Config == old.Tenants[n].Config)
		differ(fmt.Sprintf("tenants[%d].directories", n), reflect.DeepEqual(c.Tenants[n].Directories, old.Tenants[n].Directories))
		differ(fmt.Sprintf("tenants[%d].event_hubs", n), reflect.DeepEqual(c.Tenants[n].EventHubs, old.Tenants[n].EventHubs))
		differ(fmt.Sprintf("tenants[%d].syslog", n), reflect.DeepEqual(c.Tenants[n].Syslog, old.Tenants[n].Syslog))
		differ(fmt.Sprintf("tenants[%d].connectors", n), c.Tenants[n].Connectors == old.Tenants[n].Connectors)
	}
	return errors.Join(errs...)
}

// record writes an audit entry of the process itself, under every tenant.
func (a *App) record(e audit.Entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return a.db.Runs().Update(ctx, func(tx run.Tx) error {
		for _, t := range a.tenants {
			e.Tenant = t.key
			if err := tx.Audit(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// load checks playbooks against the catalogue and returns the settings.
func (a *App) load(c config.Config) (*settings, error) {
	library, err := Playbooks(c, a.specs)
	if err != nil {
		return nil, err
	}
	for _, w := range Warnings(c, library) {
		a.log.Warn(w)
	}
	s := &settings{config: c, library: library, tenants: map[identity.Tenant]config.Tenant{}}
	for _, t := range c.Tenants {
		s.tenants[t.Key()] = t
	}
	return s, nil
}

func signerOf(c config.Config) (audit.Signer, error) {
	key, err := c.Audit.Key.Read()
	if err != nil {
		return audit.Signer{}, fmt.Errorf("audit.key: %w", err)
	}
	signer, err := audit.NewSigner(key)
	if err != nil {
		return signer, fmt.Errorf("audit.key: %w", err)
	}
	return signer, nil
}

func operatorsOf(c config.Config) ([]desk.Known, error) {
	var known []desk.Known
	for _, o := range c.Operators {
		k := desk.Known{Operator: o.Operator()}
		if o.Token != "" {
			token, err := o.Token.Read()
			if err != nil {
				return nil, fmt.Errorf("operator %s: token: %w", o.ID, err)
			}
			if len(token) < 32 {
				return nil, fault.Errorf(fault.Invalid, "operator %s: the token has under 32 characters; make one with `openssl rand -hex 32`", o.ID)
			}
			k.TokenHash = desk.HashToken(token)
		}
		known = append(known, k)
	}
	return known, nil
}

// publisher keeps the newest checkpoint in a file outside the database, replaced
// whole, so that a reader never sees half of one.
func publisher(path string) func([]byte) error {
	if path == "" {
		return nil
	}
	return func(signed []byte) error {
		if err := os.WriteFile(path+".new", signed, 0o644); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	}
}
