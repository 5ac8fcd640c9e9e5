// Package console is Cordon for people: pages rendered on the server that work
// without JavaScript, with a small script that keeps them fresh. It shows what
// the desk tells and does what the desk allows, and decides nothing itself.
package console

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// maxForm bounds a form in bytes.
const maxForm = 64 << 10

// Options is what a Console is made of. Desk, Operators, Now and Rand are needed.
type Options struct {
	Desk      *desk.Service
	Operators *desk.Operators
	Now       func() time.Time
	Rand      io.Reader // cryptographically strong
	// PublicURL is how browsers reach the console, for links that are passed on; ""
	// means as the browser that asks does.
	PublicURL string
	// Secure says that browsers reach the console over TLS only, so that its
	// cookie never travels in clear. A request that came over TLS itself gets such
	// a cookie anyway.
	Secure bool
	Log    *slog.Logger // nil means none
}

// A Console answers everything under "/". It is safe for concurrent use.
type Console struct {
	desk      *desk.Service
	operators *desk.Operators
	sessions  *sessions
	now       func() time.Time
	publicURL string
	secure    bool
	log       *slog.Logger
	pages     pages
	static    static
	mux       *http.ServeMux
	watching  atomic.Int32 // open event streams
}

// New returns a console.
func New(o Options) (*Console, error) {
	if o.Desk == nil || o.Operators == nil || o.Now == nil || o.Rand == nil {
		return nil, fault.Errorf(fault.Invalid, "console: options Desk, Operators, Now and Rand are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Console{
		desk: o.Desk, operators: o.Operators, sessions: newSessions(o.Now, o.Rand), now: o.Now, log: o.Log,
		secure: o.Secure, publicURL: strings.TrimRight(o.PublicURL, "/"),
		mux: http.NewServeMux(),
	}
	var err error
	if c.static, err = loadStatic(); err != nil {
		return nil, err
	}
	if c.pages, err = loadPages(c.static); err != nil {
		return nil, err
	}
	c.routes()
	return c, nil
}

// Link returns the path and query of a link that signs the operator in, once,
// within a quarter of an hour.
func (c *Console) Link(op access.OperatorID) (string, error) {
	if _, ok := c.operators.ByID(op); !ok {
		return "", fault.Errorf(fault.NotFound, "no operator %q", op)
	}
	secret, err := c.sessions.offer(op)
	if err != nil {
		return "", err
	}
	return "/signin?t=" + url.QueryEscape(secret), nil
}

// Session returns the operator who is signed in with the request's cookie. It is
// what the API accepts besides tokens.
func (c *Console) Session(r *http.Request) (access.Operator, bool) {
	op, _, ok := c.signedIn(r, true)
	return op, ok
}

// signedIn returns operator and session behind a request. An operator who was
// taken out of the configuration is not signed in any more.
func (c *Console) signedIn(r *http.Request, touch bool) (access.Operator, session, bool) {
	s, ok := c.sessions.of(r, touch)
	if !ok {
		return access.Operator{}, s, false
	}
	op, ok := c.operators.ByID(s.operator)
	return op, s, ok
}

// csp allows our own files and forms and nothing else; nothing inline.
const csp = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP answers one request.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if c.tls(r) {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			c.log.ErrorContext(r.Context(), "page panicked", "method", r.Method, "path", r.URL.Path, "panic", v)
			http.Error(w, "Cordon made a mistake; its log says more", http.StatusInternalServerError)
		}
	}()
	// Cookies travel by themselves; what another site makes a browser send does not.
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		c.fail(w, r, fault.Errorf(fault.Denied, "the request came from another site"))
		return
	}
	c.mux.ServeHTTP(w, r)
}

// base is the console's address, for links that are passed on.
func (c *Console) base(r *http.Request) string {
	switch {
	case c.publicURL != "":
		return c.publicURL
	case c.tls(r):
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (c *Console) tls(r *http.Request) bool { return c.secure || r.TLS != nil }

// address is what failed sign-ins are counted by.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
