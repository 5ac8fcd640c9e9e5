package directory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A session is one connection that is signed in. One request uses it at a time.
type session struct {
	ldap     *ldap.Conn
	wire     *wire
	raw      net.Conn // below TLS: closing it ends everything at once
	used     time.Time
	reused   bool // it rested before this request
	broken   bool
	readOnly bool
	configNC string // distinguished name of the forest's configuration
}

// A wire sees whether anything of a request left, and bounds the answer.
type wire struct {
	net.Conn
	writes atomic.Int64
	bytes  atomic.Int64
}

func (w *wire) Write(b []byte) (int, error) {
	w.writes.Add(1)
	return w.Conn.Write(b)
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if w.bytes.Add(int64(n)) > maxAnswer {
		return 0, fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20)
	}
	return n, err
}

func (w *wire) begin() {
	w.writes.Store(0)
	w.bytes.Store(0)
}

func (s *session) close() {
	s.raw.Close()
	s.ldap.Close() // waits for the library's goroutines, which the line above ended
}

// abort cuts a connection and drops what has not left this machine: else a network
// that comes back would still deliver a write long after we gave it up.
func abort(conn net.Conn) {
	if l, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // a connection that is gone already has nothing to drop
	}
	conn.Close()
}

// connect dials, encrypts and signs in.
func (c *Client) connect(ctx context.Context, h *host) (*session, error) {
	if err := c.mayBind(h); err != nil {
		return nil, err
	}
	raw, err := c.o.Dial(ctx, "tcp", h.address)
	if err != nil {
		return nil, c.failed(h, "connect", fault.Unavailable, timedOut(ctx, err))
	}
	stop := context.AfterFunc(ctx, func() { abort(raw) })
	defer stop()
	if c.cfg.StartTLS {
		if err := startTLS(raw); err != nil {
			raw.Close()
			return nil, c.failed(h, "connect", fault.Unavailable, timedOut(ctx, fmt.Errorf("StartTLS: %w; nothing is said in clear", err)))
		}
	}
	enc := tls.Client(raw, c.tls(h.name))
	if err := enc.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, c.failed(h, "connect", fault.Unavailable, timedOut(ctx, fmt.Errorf("TLS: %w", err)))
	}
	w := &wire{Conn: enc}
	s := &session{ldap: ldap.NewConn(w, true), wire: w, raw: raw}
	s.ldap.Start()
	if err = c.bind(ctx, h, s); err == nil {
		err = c.greet(ctx, h, s)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// startTLS asks for encryption (RFC 4511, 4.14). It reads no further than the
// answer, so nothing that was slipped in before the handshake is taken for the
// controller's.
func startTLS(conn net.Conn) error {
	const oid = "1.3.6.1.4.1.1466.20037"
	request := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	request.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, ""))
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "")
	op.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, oid, ""))
	request.AppendChild(op)
	if _, err := conn.Write(request.Bytes()); err != nil {
		return err
	}
	answer, err := ber.ReadPacket(io.LimitReader(conn, 4096))
	if err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	return ldap.GetLDAPError(answer)
}

// bind signs in. After a refusal nobody tries again for a while.
func (c *Client) bind(ctx context.Context, h *host, s *session) error {
	var password string
	var err error
	if c.cfg.Bind.Keytab == "" {
		if password, err = c.cfg.Bind.Password.Read(); err != nil {
			return fmt.Errorf("sign in to %s: %w", c.cfg.Domain, err)
		}
	}
	err = c.do(ctx, h, s, "bind", false, func(l *ldap.Conn) error {
		if c.cfg.Bind.Kerberos {
			return c.kerberos(l, h, password)
		}
		user := c.cfg.Bind.UPN
		if user == "" {
			user = c.cfg.Bind.DN
		}
		return l.Bind(user, password)
	})
	if e := (*Error)(nil); errors.As(err, &e) {
		err = e.redact([]string{password})
	}
	if errors.Is(err, fault.Denied) {
		c.mu.Lock()
		c.denied = refusal{c.o.Now().Add(restDenied), err}
		c.mu.Unlock()
	}
	return err
}

// mayBind returns the last refusal while it is fresh.
func (c *Client) mayBind(*host) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o.Now().Before(c.denied.until) {
		return fmt.Errorf("not tried again yet, lest the account is locked: %w", c.denied.err)
	}
	return nil
}

// partialSecrets is the capability of a read-only controller (MS-ADTS
// 3.1.1.3.4.3.7).
const partialSecrets = "1.2.840.113556.1.4.1920"

// greet asks the controller who it is and refuses one of another domain.
func (c *Client) greet(ctx context.Context, h *host, s *session) error {
	var root *ldap.Entry
	err := c.do(ctx, h, s, "read rootDSE", false, func(l *ldap.Conn) error {
		r, err := l.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=*)",
			[]string{"defaultNamingContext", "configurationNamingContext", "supportedCapabilities"}, nil))
		if err == nil && len(r.Entries) == 1 {
			root = r.Entries[0]
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case root == nil:
		return c.failed(h, "read rootDSE", fault.Unavailable, errors.New("the controller says nothing of itself"))
	case !sameDN(root.GetAttributeValue("defaultNamingContext"), c.cfg.BaseDN):
		return c.failed(h, "connect", fault.Unavailable, fmt.Errorf("it serves %s, not %s: check domain, base_dn and dcs",
			clean(root.GetAttributeValue("defaultNamingContext"), 200), c.cfg.BaseDN))
	}
	s.configNC = root.GetAttributeValue("configurationNamingContext")
	s.readOnly = slices.Contains(root.GetAttributeValues("supportedCapabilities"), partialSecrets)
	return nil
}

// do makes one request on s and says what became of it. When ctx ends, the
// connection is cut: LDAP has no other way that a controller must heed. A write of
// which nothing left is Unavailable; once anything left and no answer came it is
// Unknown.
func (c *Client) do(ctx context.Context, h *host, s *session, what string, write bool, f func(*ldap.Conn) error) error {
	s.wire.begin()
	stop := context.AfterFunc(ctx, func() { abort(s.raw) })
	err := f(s.ldap)
	if !stop() {
		s.broken = true
	}
	if err == nil {
		return nil
	}
	var e *ldap.Error
	switch {
	case errors.As(err, &e) && fromServer(e.ResultCode):
		return answered(h.name, what, write, e)
	case errors.As(err, &e) && e.ResultCode == ldap.ErrorFilterCompile:
		return &Error{DC: h.name, What: what, Kind: fault.Invalid, Err: err}
	case errors.As(err, new(*Error)):
		return err
	}
	s.broken = true
	k := fault.Unavailable
	if write && s.wire.writes.Load() > 0 {
		k = fault.Unknown
	}
	return c.failed(h, what, k, timedOut(ctx, err))
}

// fromServer reports whether a result code is a controller's: 81 to 97 and those
// from 200 on are the client library's own.
func fromServer(code uint16) bool { return code < 200 && (code < 81 || code > 97) }

// timedOut returns what ended ctx, or else err.
func timedOut(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// on runs f with a connection to h. A connection that had rested and turns out to
// be dead is replaced once, unless a write may have left on it.
func (c *Client) on(ctx context.Context, h *host, write bool, f func(context.Context, *session) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Timeout, errTimeout)
	defer cancel()
	for fresh := false; ; fresh = true {
		if ctx.Err() != nil {
			return c.failed(h, "connect", fault.Unavailable, context.Cause(ctx))
		}
		s, err := c.take(ctx, h, fresh)
		if err != nil {
			c.rest(h, errors.Is(err, fault.Unavailable))
			return err
		}
		if write && s.readOnly {
			c.give(h, s, false)
			return &Error{DC: h.name, What: "modify", Code: ldap.LDAPResultReferral, Kind: fault.Unavailable}
		}
		reused := s.reused
		err = f(ctx, s)
		broken := s.broken
		c.give(h, s, broken)
		if err != nil && broken && reused && !fresh && errors.Is(err, fault.Unavailable) && ctx.Err() == nil {
			continue
		}
		c.rest(h, err != nil && errors.Is(err, fault.Unavailable))
		return err
	}
}
