// Package directory speaks LDAP with the domain controllers of one Active
// Directory domain: it finds the controllers, picks one, reads accounts, and makes
// single writes whose outcome is told apart as "refused", "did nothing" and "may
// have taken effect". It never repeats a write and decides nothing about accounts;
// packages below action do.
//
// Connections are encrypted or not made at all: LDAPS, or StartTLS before anything
// else is said, with the controller's name checked against its certificate.
//
// Sources: RFC 4511, 4513, 4514, 4515; MS-ADTS (rootDSE, result codes, DN and
// filter forms); MS-DTYP (SID and GUID encodings).
package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// Options are what a caller may leave alone: every zero means the default.
type Options struct {
	Now     func() time.Time
	Dial    func(ctx context.Context, network, address string) (net.Conn, error) // a net.Dialer's
	Timeout time.Duration                                                        // of one request, connecting included; 8 s
	Refresh time.Duration                                                        // how long the list of controllers is believed; 5 min
	Pool    int                                                                  // connections to one controller; 8
	// LookupSRV asks DNS for the domain's controllers; a net.Resolver's.
	LookupSRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

const (
	// restAfter is how long a controller that did not answer is left alone while
	// others do.
	restAfter = 5 * time.Second
	// restDenied is how long nobody signs in after a refusal: each further try
	// counts against the account's lockout threshold.
	restDenied = 30 * time.Second
	// idleFor is how long an unused connection is believed to be alive. The
	// default query policy ends one after 900 s.
	idleFor = 2 * time.Minute
	// maxAnswer bounds what one request may bring, in bytes.
	maxAnswer = 32 << 20
)

// A Client is the way to one domain. It is safe for concurrent use and starts no
// goroutine that outlives a connection.
type Client struct {
	cfg   Config
	o     Options
	roots *x509.CertPool // nil: the system's

	mu       sync.Mutex // guards what follows; never held during I/O
	hosts    map[string]*host
	topology topology
	denied   refusal
	closed   bool
}

// A host is one controller as we know it. Its fields are guarded by Client.mu.
type host struct {
	name    string // lower case
	address string // host:port
	slots   chan struct{}
	idle    []*session
	rested  time.Time // not to be asked before, while others answer
}

type refusal struct {
	until time.Time
	err   error
}

// New returns a client for the domain. It reads the CA file and asks nobody. A
// mistake in the configuration is fault.Invalid.
func New(c Config, o Options) (*Client, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if len(c.Addresses) > 0 {
		o.Dial = at(c.Addresses, o.Dial)
	}
	if o.LookupSRV == nil {
		o.LookupSRV = net.DefaultResolver.LookupSRV
	}
	if o.Timeout <= 0 {
		o.Timeout = 8 * time.Second
	}
	if o.Refresh <= 0 {
		o.Refresh = 5 * time.Minute
	}
	if o.Pool <= 0 {
		o.Pool = 8
	}
	if c.BaseDN == "" {
		c.BaseDN = domainDN(c.Domain)
	}
	d := &Client{cfg: c, o: o, hosts: map[string]*host{}}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "ca_file: %w", err)
		}
		d.roots = x509.NewCertPool()
		if !d.roots.AppendCertsFromPEM(pem) {
			return nil, fault.Errorf(fault.Invalid, "ca_file: %s holds no PEM certificate", c.CAFile)
		}
	}
	for _, dc := range c.DCs {
		d.host(dc)
	}
	return d, nil
}

// at dials controllers where the configuration says they are.
func at(addresses map[string]string, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	known := map[string]string{}
	for name, ip := range addresses {
		known[strings.ToLower(name)] = ip
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, port, err := net.SplitHostPort(address); err == nil && known[strings.ToLower(host)] != "" {
			address = net.JoinHostPort(known[strings.ToLower(host)], port)
		}
		return dial(ctx, network, address)
	}
}

// Domain returns the DNS name of the domain.
func (c *Client) Domain() string { return c.cfg.Domain }

// BaseDN returns the distinguished name of the domain.
func (c *Client) BaseDN() string { return c.cfg.BaseDN }

// Close ends idle connections. Requests under way end theirs; later ones are
// fault.Unavailable.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	var idle []*session
	for _, h := range c.hosts {
		idle, h.idle = append(idle, h.idle...), nil
	}
	c.mu.Unlock()
	for _, s := range idle {
		s.close()
	}
	return nil
}

// host returns the entry of a controller, by "name" or "name:port", and makes it
// when it is new.
func (c *Client) host(dc string) *host {
	name, port, err := net.SplitHostPort(dc)
	if err != nil {
		name, port = dc, "636"
		if c.cfg.StartTLS {
			port = "389"
		}
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	if h == nil {
		h = &host{name: name, address: net.JoinHostPort(name, port), slots: make(chan struct{}, c.o.Pool)}
		c.hosts[name] = h
	}
	return h
}

func (c *Client) tls(name string) *tls.Config {
	return &tls.Config{ServerName: name, RootCAs: c.roots, MinVersion: tls.VersionTLS12}
}

// take returns a connection to h that nobody else uses: an idle one, or a new one
// when fresh is asked for or none is idle. give takes it back.
func (c *Client) take(ctx context.Context, h *host, fresh bool) (*session, error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, c.failed(h, "connect", fault.Unavailable, context.Cause(ctx))
	}
	s, err := c.idle(h, fresh)
	if s == nil && err == nil {
		s, err = c.connect(ctx, h)
	}
	if err != nil {
		<-h.slots
	}
	return s, err
}

// idle returns a connection that rests, or nil.
func (c *Client) idle(h *host, fresh bool) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fault.Errorf(fault.Unavailable, "the connection to %s was closed by us", c.cfg.Domain)
	}
	now := c.o.Now()
	for len(h.idle) > 0 {
		s := h.idle[len(h.idle)-1]
		h.idle = h.idle[:len(h.idle)-1]
		if !fresh && !s.ldap.IsClosing() && now.Sub(s.used) < idleFor {
			s.reused = true
			return s, nil
		}
		s.wire.Close() // does not wait, unlike the LDAP client's
	}
	return nil, nil
}

// give takes a connection back; a broken one is closed.
func (c *Client) give(h *host, s *session, broken bool) {
	c.mu.Lock()
	keep := !broken && !c.closed && !s.ldap.IsClosing()
	if keep {
		s.used = c.o.Now()
		h.idle = append(h.idle, s)
	}
	c.mu.Unlock()
	if !keep {
		s.close()
	}
	<-h.slots
}

// rest marks a controller that did not answer, or one that does again.
func (c *Client) rest(h *host, down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.rested = time.Time{}
	if down {
		h.rested = c.o.Now().Add(restAfter)
	}
}

// order puts the controllers that rest behind the others, else keeps the order.
func (c *Client) order(hosts []*host) []*host {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.Now()
	var up, down []*host
	for _, h := range hosts {
		if now.Before(h.rested) {
			down = append(down, h)
		} else {
			up = append(up, h)
		}
	}
	return append(up, down...)
}
