// Package graph speaks Microsoft Graph: tokens, paging, throttling headers,
// errors, batch. It knows nothing of risk.
//
// A Client sends each request once and says exactly what became of it; who may
// call, how often, and whether to try again is decided elsewhere (dispatch for
// writes, the connectors' schedule for reads). The bearer token goes to the one
// configured host over https and nowhere else: redirects are not followed and a
// nextLink to another host is an error.
package graph

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// Defaults of Options.
const (
	DefaultTimeout = 30 * time.Second
	DefaultMaxBody = 32 << 20 // bytes
)

// A TokenSource gives bearer tokens for one tenant and one Graph. It is safe
// for concurrent use.
type TokenSource interface {
	// Token returns an access token that is valid now, from memory when it can.
	// Its errors carry a fault kind and never a secret.
	Token(ctx context.Context) (string, error)

	// Drop forgets the token, which Graph refused with 401, if it is still the
	// current one. It reports whether a later Token may bring another.
	Drop(token string) bool
}

// Options say how a Client reaches Graph. BaseURL, Tokens and Transport are
// required; every other zero means the default.
type Options struct {
	BaseURL   string            // https URL of the Graph root without a version: https://graph.microsoft.com
	Tokens    TokenSource       //
	Transport http.RoundTripper // NewTransport, or the lab's in tests; must not follow redirects

	UserAgent string           // "cordon"
	Now       func() time.Time // time.Now
	NewID     func() string    // makes client-request-ids; a random GUID
	Timeout   time.Duration    // of one request with its answer; DefaultTimeout
	MaxBody   int64            // largest answer read, in bytes after decompression; DefaultMaxBody
}

// A Client talks to one Graph for one tenant. It is safe for concurrent use,
// starts no goroutine and needs no Close.
type Client struct {
	base *url.URL
	o    Options

	// What Graph said of our tokens last: a 401 on a token that worked an hour
	// ago calls for a new one, a 401 on that one too is a refusal.
	mu       sync.Mutex
	refused  [sha256.Size]byte // hash of the last token that got 401
	refusals int               // different tokens refused in a row
}

// New returns a client that is ready to use. It contacts nobody.
func New(o Options) (*Client, error) {
	base, err := rootURL(o.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("graph: base URL: %w", err)
	}
	if o.Tokens == nil || o.Transport == nil {
		return nil, fault.Errorf(fault.Invalid, "graph: a client needs a token source and a transport")
	}
	o.UserAgent = cmp.Or(o.UserAgent, "cordon")
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.MaxBody = cmp.Or(o.MaxBody, DefaultMaxBody)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = newGUID
	}
	return &Client{base: base, o: o}, nil
}

// String names the client by its host; tokens stay out of every format.
func (c *Client) String() string { return "graph client of " + c.base.Host }

// Format is String for every verb.
func (c *Client) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String for log/slog.
func (c *Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// ObjectURL returns the absolute v1.0 URL of a directory object, as a
// members/$ref body names it in "@odata.id".
func (c *Client) ObjectURL(id string) string {
	return c.base.String() + "/v1.0" + Path("directoryObjects", id)
}

// A Priority tells Graph whom to throttle first on directory objects. It does
// not raise a limit.
type Priority string

// The values of x-ms-throttle-priority; the empty Priority sends no header,
// which Graph reads as normal.
const (
	Low    Priority = "low"    // sweeps
	Normal Priority = "normal" //
	High   Priority = "high"   // containment
)

// A Request is one call. The zero value of each field but Path is a sensible
// default.
type Request struct {
	Method string     // GET
	Path   string     // below the version root, escaped: Path("users", id)
	Beta   bool       // the beta version root instead of v1.0
	Query  url.Values // $filter, $select, $top, …
	Body   any        // encoded as JSON; nil sends none
	Out    any        // pointer that a 2xx JSON answer is decoded into; nil decodes nothing

	// ReadOnly marks a POST that changes nothing (getByIds, runHuntingQuery):
	// when its outcome is in doubt it can simply be sent again.
	ReadOnly bool

	// ClientRequestID is sent as client-request-id and found again in Graph's
	// own logs. A caller that must be able to say afterwards which request it
	// was makes the id durable before sending. Empty: a new one.
	ClientRequestID string

	Priority Priority
	Eventual bool          // ConsistencyLevel: eventual, for advanced queries on directory objects
	Timeout  time.Duration // Options.Timeout
	MaxBody  int64         // Options.MaxBody

	// Secrets are values in Body that no error may repeat, should Graph quote
	// them: a new password.
	Secrets []string
}

// write reports whether the request may change the tenant.
func (r Request) write() bool { return r.method() != http.MethodGet && !r.ReadOnly }

func (r Request) method() string { return cmp.Or(r.Method, http.MethodGet) }

// String is what a log may show of a request: body and secrets stay out, and
// so does the query, since a filter names people.
func (r Request) String() string { return r.method() + " " + clean(r.Path, 300) }

// Format is String for every verb.
func (r Request) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue is String for log/slog.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }

// A Response is what came back, whatever the status. Request ids, date and
// throttle headers belong in the audit trail.
type Response struct {
	Status          int       // HTTP status; 0 when there was no answer
	RequestID       string    // Graph's own id
	ClientRequestID string    // as sent; set even without an answer
	Diagnostic      string    // x-ms-ags-diagnostic, bounded
	Date            time.Time // Graph's clock, UTC; zero when absent
	Throttle        Throttle
	Location        string          // of a 201, 202 or 410; "" unless on the Graph host
	Body            json.RawMessage `json:"-"` // as received, without a byte-order mark
}

// String is what a log may show of a response: the body can be a secret, such
// as a Temporary Access Pass.
func (r Response) String() string {
	return fmt.Sprintf("%d (request-id %s, client-request-id %s)", r.Status, r.RequestID, r.ClientRequestID)
}

// Format is String for every verb.
func (r Response) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue is String for log/slog.
func (r Response) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Throttle is what Graph says about our use of its limits. Directory objects
// send these headers, identity protection does not.
type Throttle struct {
	ResourceUnits float64 // what the request cost; 0 when not said
	Percentage    float64 // x-ms-throttle-limit-percentage: from 0.8 slow down, 1.0 is the limit; 0 when not said
	Scope         string  // of a 429: <Tenant|Application|Tenant_Application>/<Read|Write|ReadWrite>/<app>/<tenant or user>
	Information   string  // of a 429: the reason, such as WriteLimitExceeded
}

// Do sends the request once and reads the answer.
//
// A status outside 2xx, no answer, or an answer that cannot be read is an
// *Error with its fault kind. For a write the kind is fault.Unknown whenever
// Graph may have acted on it: the connection broke after it could have been
// sent, the context ended meanwhile, a gateway timed out, or the success
// answer was unreadable. A request that cannot be built is fault.Invalid and a
// missing token has the kind of its cause; neither is sent. The Response is
// filled as far as one arrived, also beside an error.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	u, err := c.url(r)
	if err != nil {
		return Response{}, err
	}
	return c.call(ctx, r, u)
}

// call sends r to u, which has been checked to be ours, and judges the answer.
func (c *Client) call(ctx context.Context, r Request, u *url.URL) (Response, error) {
	a, err := c.exchange(ctx, r, u)
	if err != nil {
		return a.Response, err
	}
	if err := c.judge(r, u, a); err != nil {
		return a.Response, err
	}
	return a.Response, nil
}

// newGUID returns a random (version 4) GUID.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// rootURL parses the address of a host that gets secrets: https, and nothing
// but scheme and host.
func rootURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, fault.Errorf(fault.Invalid, "missing")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fault.Errorf(fault.Invalid, "not a URL")
	case u.User != nil:
		return nil, fault.Errorf(fault.Invalid, "must not contain a user name or password")
	case u.Scheme != "https":
		return nil, fault.Errorf(fault.Invalid, "%q does not begin with https://: tokens and secrets are sent there", clean(s, 200))
	case u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, fault.Errorf(fault.Invalid, "%q is not of the form https://host", clean(s, 200))
	}
	return &url.URL{Scheme: "https", Host: strings.ToLower(u.Host)}, nil
}

// sameHost compares scheme, host and port; the port of https may be left out.
func sameHost(a, b *url.URL) bool {
	return a.Scheme == "https" && b.Scheme == "https" &&
		strings.EqualFold(a.Hostname(), b.Hostname()) &&
		cmp.Or(a.Port(), "443") == cmp.Or(b.Port(), "443")
}
