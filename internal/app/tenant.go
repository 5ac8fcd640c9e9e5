package app

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// A tenant is one Entra tenant at work.
type tenant struct {
	key        identity.Tenant
	label      string
	graph      *graph.Client
	domains    domains
	lookup     connector.Lookup
	contacts   contacts
	dispatcher *dispatch.Dispatcher
	streams    []stream
	// expects are the feeds that nobody polls: what is pushed, with how often it is
	// heard when all is well. Whoever receives them calls Pipeline.Heard.
	expects []connector.Feed
	channels
}

func (t *tenant) name() string { return t.label }

// concurrency is how many directory requests of one kind are in flight. The
// directory's limit counts requests in a time, not at a time, and one HTTP/2
// connection carries them all; a page of signals leaves in one go.
const concurrency = 64

func (a *App) openTenant(c config.Tenant) (*tenant, error) {
	client, err := graph.Open(c.Config, graph.Options{UserAgent: "cordon/" + a.opts.Version, Now: a.opts.Now})
	if err != nil {
		return nil, err
	}
	on, err := openDomains(c.Directories, directory.Options{Now: a.opts.Now, Dial: a.opts.Dial})
	if err != nil {
		return nil, err
	}
	catalogue, err := catalogue(client, on)
	if err != nil {
		return nil, err
	}
	key := c.Key()
	budget := dispatch.NewBudget(dispatch.BudgetOptions{Now: a.opts.Now, Reserve: c.Limits.Reserve, Speed: a.opts.Speed})
	d, err := dispatch.New(key, a.db.Dispatch(), catalogue, dispatch.Options{
		Settings: func() dispatch.Settings { return a.dispatchSettings(key) },
		Budget:   budget, Log: a.log, Meter: a.metrics, Now: a.opts.Now, Concurrency: concurrency, LeaseTTL: a.opts.Lease,
		Still: func(tx run.Reader, r run.Run, step string) (refused, moot string, err error) {
			return a.driver.Still(tx, r, step)
		},
	})
	if err != nil {
		return nil, err
	}
	in := entraid.Tenant{ID: key, Graph: client, Pace: budget.Poll, PaceReports: budget.PollReports, Now: a.opts.Now}
	protected := func() (groups, names []string) {
		now := a.settings.Load().tenants[key]
		return append(now.ProtectedGroups(), a.playbookGroups(false)...), now.ProtectedNames()
	}
	label := c.Name
	if label == "" {
		label = c.TenantID
	}
	k := &tenant{
		key: key, label: label, graph: client, domains: on, dispatcher: d,
		contacts: entraid.Users{Tenant: in}.Contacts,
		lookup:   on.lookup(entraid.Users{Tenant: in}, append(c.ProtectedSIDs(), a.playbookGroups(true)...)), streams: streams(c, in, protected),
	}
	if h, ok := k.lookup.(*hybrid); ok {
		h.joined = joinedFrom(key, a.db.Records(), a.opts.Now)
	}
	held := containmentWatch{tenant: key, actions: a.containmentActions(key), records: a.db.Records().Records, now: a.opts.Now}
	k.streams = append(k.streams, stream{held, max(c.Connectors.WithDefaults().OpenCases, time.Second), true})
	if len(c.Directories) > 0 {
		watch := syncWatch{tenant: key, actions: a.disables(key), facts: k.lookup, now: a.opts.Now}
		k.streams = append(k.streams, stream{watch, max(c.Connectors.WithDefaults().OpenCases, time.Second), false})
		for _, d := range on.clients {
			k.streams = append(k.streams, stream{domainWatch{domain: d}, max(c.Connectors.WithDefaults().OpenCases, time.Second), false})
		}
	}
	return k, nil
}

// playbookGroups are the groups that playbooks ask about: those of Active Directory,
// or those of Entra.
func (a *App) playbookGroups(onPremises bool) []string {
	var out []string
	for _, g := range a.settings.Load().library.Groups() {
		if identity.IsSID(g) == onPremises {
			out = append(out, g)
		}
	}
	return out
}

func (a *App) dispatchSettings(t identity.Tenant) dispatch.Settings {
	c := a.settings.Load().tenants[t]
	return dispatch.Settings{Policy: c.Policy(), Limits: c.Limits, Observe: !c.Acts()}
}

func (a *App) lookup(t identity.Tenant) connector.Lookup {
	for _, k := range a.tenants {
		if k.key == t {
			return k.lookup
		}
	}
	return nil
}

// listen binds the address, with TLS when a certificate is given. The
// certificate is read anew for each connection, so that a rotation needs no stop.
func listen(ctx context.Context, c config.Config) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "listen on %s: %w", c.Listen, err)
	}
	if c.TLS.CertFile == "" {
		return l, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		return &pair, err
	}
	if _, err := load(); err != nil {
		return nil, fault.Errorf(fault.Invalid, "tls: %w", errors.Join(err, l.Close()))
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() },
		NextProtos:     []string{"h2", "http/1.1"},
	}), nil
}
