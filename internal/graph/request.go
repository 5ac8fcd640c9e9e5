package graph

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// Path joins segments to an escaped path: Path("users", id, "manager"). An id
// that contains a slash, a question mark or the like stays one segment.
func Path(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// Address is the address of an object below v1.0, as references to it name it.
func (c *Client) Address(path string) string {
	u := *c.base
	return strings.TrimSuffix(u.String(), "/") + "/v1.0" + path
}

// url checks r and returns its address.
func (c *Client) url(r Request) (*url.URL, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	u := *c.base
	root := "/v1.0"
	if r.Beta {
		root = "/beta"
	}
	raw := root + r.Path
	p, err := url.PathUnescape(raw)
	if err != nil {
		return nil, r.invalid("path is not escaped properly")
	}
	u.Path, u.RawPath, u.RawQuery = p, raw, encodeQuery(r.Query)
	return &u, nil
}

// check finds what must not be sent.
func (r Request) check() error {
	switch r.method() {
	case http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete:
	default:
		return r.invalid("method %q is not one that Graph knows", clean(r.Method, 40))
	}
	if !strings.HasPrefix(r.Path, "/") || len(r.Path) > 4096 {
		return r.invalid("the path must begin with a slash and be under 4096 bytes")
	}
	if strings.ContainsFunc(r.Path, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '?' || c == '#' || c == '\\' }) {
		return r.invalid("the path must be escaped: build it with graph.Path")
	}
	segments := strings.Split(r.Path[1:], "/")
	for _, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return r.invalid("the path is not escaped properly")
		}
		if plain == "" || plain == "." || plain == ".." {
			return r.invalid("the path has an empty, . or .. segment: is an id missing?")
		}
	}
	if r.method() == http.MethodDelete && deletesMember(segments) {
		// Microsoft, "Remove member": without /$ref and with enough rights the
		// member itself, a user, is deleted.
		return r.invalid("DELETE of a member without /$ref would delete the object, not the membership")
	}
	if r.method() == http.MethodGet && r.Body != nil {
		return r.invalid("a GET has no body")
	}
	switch r.Priority {
	case "", Low, Normal, High:
	default:
		return r.invalid("priority %q is not low, normal or high", clean(string(r.Priority), 40))
	}
	if len(r.ClientRequestID) > 128 || strings.ContainsFunc(r.ClientRequestID, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return r.invalid("the client-request-id must be a short printable id")
	}
	return nil
}

func deletesMember(segments []string) bool {
	n := len(segments)
	return n >= 2 && slices.ContainsFunc(
		[]string{"members", "owners", "memberOf", "transitiveMembers", "registeredOwners", "registeredUsers"},
		func(s string) bool { return strings.EqualFold(s, segments[n-2]) })
}

func (r Request) invalid(format string, args ...any) error {
	err := fault.Errorf(fault.Invalid, format, args...)
	return &Error{Method: clean(r.method(), 10), Path: clean(r.Path, 300), ClientRequestID: clean(r.ClientRequestID, 128), Kind: fault.Invalid, Err: err}
}

// encodeQuery writes the query in the order of its keys, spaces as %20 (OData
// reads + literally in some services) and $ as it is.
func encodeQuery(q url.Values) string {
	s := strings.ReplaceAll(q.Encode(), "+", "%20")
	parts := strings.Split(s, "&")
	for i, p := range parts {
		if strings.HasPrefix(p, "%24") {
			parts[i] = "$" + p[3:]
		}
	}
	return strings.Join(parts, "&")
}

// header returns the headers of r but for Authorization. A part of a batch
// carries the same ones.
func (r Request) header(id string) http.Header {
	h := http.Header{}
	h.Set("Accept", "application/json")
	h.Set("client-request-id", id)
	if r.Body != nil {
		h.Set("Content-Type", "application/json")
	}
	if !r.write() {
		// Without it every enum member younger than the first release of its
		// enum comes back as unknownFutureValue (Microsoft, "Handling future
		// members in evolvable enumerations").
		h.Set("Prefer", "include-unknown-enum-members")
	}
	if r.Priority != "" {
		h.Set("x-ms-throttle-priority", string(r.Priority))
	}
	if r.Eventual {
		h.Set("ConsistencyLevel", "eventual")
	}
	return h
}

// An answer is a Response with what only judging it needs.
type answer struct {
	Response
	header  http.Header
	readErr error // why Body is not whole
	token   string
}

// exchange sends r to u and reads the answer, whatever its status. Its error
// means that there is none.
func (c *Client) exchange(ctx context.Context, r Request, u *url.URL) (answer, error) {
	var body io.Reader
	if r.Body != nil {
		b, err := encode(r.Body)
		if err != nil {
			return answer{}, r.invalid("encode the body: %w", err)
		}
		body = bytes.NewReader(b)
	}
	id := r.ClientRequestID
	if id == "" {
		id = c.o.NewID()
	}
	a := answer{Response: Response{ClientRequestID: id}}
	fail := func(kind fault.Kind, err error) (answer, error) {
		return a, &Error{Method: r.method(), Path: showPath(u), ClientRequestID: id, Kind: kind, Err: hide(err, r.hidden(a.token))}
	}

	ctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(r.Timeout, c.o.Timeout), errTimeout)
	defer cancel()
	token, err := c.o.Tokens.Token(ctx)
	if err != nil {
		kind := fault.KindOf(err)
		if kind == "" || kind == fault.Unknown {
			kind = fault.Unavailable
		}
		return fail(kind, err)
	}
	a.token = token

	if ctx.Err() != nil {
		return fail(fault.Unavailable, fmt.Errorf("not sent: %w", context.Cause(ctx)))
	}
	ctx, sent := watch(ctx, c.o.Transport)
	req, err := http.NewRequestWithContext(ctx, r.method(), u.String(), body)
	if err != nil {
		return fail(fault.Invalid, err)
	}
	req.Header = r.header(id)
	req.Header.Set("User-Agent", c.o.UserAgent)
	req.Header.Set("Authorization", "Bearer "+token)

	res, err := c.o.Transport.RoundTrip(req)
	if err != nil {
		kind := fault.Unavailable
		if r.write() && sent.maybe(err) {
			kind = fault.Unknown
		}
		if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
			err = errors.Join(context.Cause(ctx), err)
		}
		return fail(kind, err)
	}
	defer res.Body.Close()
	c.receive(&a, res, cmp.Or(r.MaxBody, c.o.MaxBody))
	return a, nil
}

// receive reads headers and body of res into a.
func (c *Client) receive(a *answer, res *http.Response, limit int64) {
	h := res.Header
	a.header = h
	a.Status = res.StatusCode
	a.RequestID = clean(h.Get("request-id"), 128)
	a.Diagnostic = clean(h.Get("x-ms-ags-diagnostic"), 1024)
	a.Date, _ = http.ParseTime(h.Get("Date"))
	a.Throttle = throttle(h)
	a.Location = c.ownLocation(h.Get("Location"))
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if int64(len(body)) > limit {
		body, err = nil, &tooLarge{limit}
	}
	a.Body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	a.readErr = err
}

// ownLocation returns s when it is an address on the Graph host.
func (c *Client) ownLocation(s string) string {
	if s == "" || len(s) > 8192 {
		return ""
	}
	u, err := c.base.Parse(s)
	if err != nil || u.User != nil || !sameHost(u, c.base) {
		return ""
	}
	return u.String()
}

// judge turns what is not a readable success into an error.
func (c *Client) judge(r Request, u *url.URL, a answer) error {
	if a.Status < 200 || a.Status > 299 {
		e := c.refusal(r, u, a)
		if a.Status == http.StatusUnauthorized {
			e.Kind = c.unauthorized(a.token)
		} else {
			c.accepted()
		}
		return e
	}
	c.accepted()
	err := a.readErr
	if err == nil && r.Out != nil && a.Status != http.StatusNoContent {
		switch {
		case len(bytes.TrimSpace(a.Body)) > 0:
			err = json.Unmarshal(a.Body, r.Out)
		case !r.write():
			err = errors.New("the answer is empty")
		}
	}
	if err == nil {
		return nil
	}
	kind := fault.Unavailable
	if r.write() {
		kind = fault.Unknown
	}
	return &Error{
		Status: a.Status, RequestID: a.RequestID, ClientRequestID: a.ClientRequestID,
		Method: r.method(), Path: showPath(u), Kind: kind,
		Err: hide(unreadable(err), r.hidden(a.token)),
	}
}

// unauthorized decides what a 401 on the token means. The first one in a row
// may be a token that was revoked or outlived a skewed clock: it is dropped,
// and the next request brings a new one. A second token refused is a refusal.
func (c *Client) unauthorized(token string) fault.Kind {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sum := sha256.Sum256([]byte(token)); c.refused != sum {
		c.refused = sum
		c.refusals++
	}
	again := c.o.Tokens.Drop(token)
	if again && c.refusals == 1 {
		return fault.Unavailable
	}
	return fault.Denied
}

func (c *Client) accepted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused, c.refusals = [sha256.Size]byte{}, 0
}

// encode is json.Marshal without HTML escapes, so that what is sent reads as
// what was meant.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
