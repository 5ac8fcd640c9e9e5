package graphsim

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// Options are what a caller may leave alone: every zero means the default.
type Options struct {
	// Speed multiplies every throttling rate and divides Retry-After and the
	// latency faults; 1 if zero.
	Speed  float64
	Limits Limits
	Faults []Fault
	Seed   uint64 // of the faults
	Apps   []App
	// Hosts are host names, beside the one a request came to, that count as
	// this tenant's Graph: graph.microsoft.com always does.
	Hosts []string
	// TokenLifetime is how long an access token lives; a random 60 to 90
	// minutes if zero, as Entra does.
	TokenLifetime time.Duration
	Now           func() time.Time // the world's clock if nil
	Rand          io.Reader        // crypto/rand if nil
	Log           *slog.Logger     // of the listener's troubles; silent if nil
	// Secret is told every password that somebody sets for a user, for whoever looks where
	// else it went; nil: nobody is.
	Secret func(string)
}

// Tenant serves one simulated tenant. Make it with New. Its methods may be
// called from many goroutines at once.
type Tenant struct {
	world    *world.World
	opts     Options
	now      func() time.Time
	throttle *throttle
	dice     *dice
	ledger   ledger
	routes   *router
	key      []byte // signs access tokens and page tokens
	users    int    // the tenant's size, which decides its quota

	rmu  sync.Mutex // guards Rand
	mu   sync.RWMutex
	apps map[string]*registered // by lower-case client id
}

// registered is an app and who it is in the world.
type registered struct {
	App
	actor world.Actor
}

// New returns a tenant over w. It registers the apps in w, and reports every
// mistake in its options.
func New(w *world.World, o Options) (*Tenant, error) {
	o.Speed = cmp.Or(o.Speed, 1)
	if o.Now == nil {
		o.Now = w.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	var errs []error
	if !(o.Speed > 0) || o.Speed > 1e6 {
		errs = append(errs, fmt.Errorf("speed %v is not above 0 and up to a million", o.Speed))
	}
	errs = append(errs, o.Limits.check())
	t := &Tenant{
		world:    w,
		opts:     o,
		now:      o.Now,
		throttle: newThrottle(o.Limits, o.Speed, w.TenantID()),
		dice:     newDice(o.Seed, o.Faults),
		routes:   newRouter(),
		key:      make([]byte, 32),
		users:    w.Count(world.Users),
		apps:     map[string]*registered{},
	}
	if _, err := io.ReadFull(o.Rand, t.key); err != nil {
		errs = append(errs, fmt.Errorf("read randomness: %w", err))
	}
	for _, a := range o.Apps {
		errs = append(errs, t.SetApp(a))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("lab tenant: %w", err)
	}
	return t, nil
}

// SetApp registers an app, or replaces the one with its client id: secrets,
// certificates and permissions hold from the next request on. Tokens already
// issued keep the permissions they were issued with, as with Entra.
func (t *Tenant) SetApp(a App) error {
	if err := a.check(); err != nil {
		return err
	}
	a.Name = cmp.Or(a.Name, "Cordon")
	actor, err := t.world.AddApp(world.App{
		AppID: a.ClientID, DisplayName: a.Name, DirectoryRoles: a.DirectoryRoles, AppRoles: a.Roles,
	})
	if err != nil {
		return fmt.Errorf("register app %s: %w", a.ClientID, err)
	}
	a.Roles = slices.Clone(a.Roles)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.apps[strings.ToLower(a.ClientID)] = &registered{App: a, actor: actor}
	return nil
}

// SetFaults replaces the faults from the next request on.
func (t *Tenant) SetFaults(f []Fault) { t.dice.set(f) }

// Ledger returns every request so far, in order of arrival.
func (t *Tenant) Ledger() []Entry { return t.ledger.since(0) }

// LedgerSince returns the requests after the given Seq.
func (t *Tenant) LedgerSince(seq int) []Entry { return t.ledger.since(seq) }

// World returns the world behind the tenant.
func (t *Tenant) World() *world.World { return t.world }

func (t *Tenant) app(id string) (*registered, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	a, ok := t.apps[strings.ToLower(id)]
	return a, ok
}

// newGUID makes a random version-4 GUID.
func (t *Tenant) newGUID() string {
	var b [16]byte
	t.rmu.Lock()
	_, err := io.ReadFull(t.opts.Rand, b[:])
	t.rmu.Unlock()
	if err != nil {
		// Ids need only differ: a source that ran dry must not stop the lab.
		rand.Read(b[:])
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Serve answers HTTPS on the listener with the CA's certificate until the
// context ends, then lets requests under way finish for up to two seconds.
// It returns nil after such an end, and closes the listener in any case.
func (t *Tenant) Serve(ctx context.Context, l net.Listener, ca *CA) error {
	srv := &http.Server{
		Handler:           t.Handler(),
		TLSConfig:         ca.ServerConfig(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(t.opts.Log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(l, "", "") }()
	select {
	case err := <-done:
		return fmt.Errorf("serve the lab tenant on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		srv.Close() // what did not finish in time is cut
	}
	<-done
	return nil
}
