// Package apiclient is the API's client for the command line: typed methods, a
// token, and every problem as an error with its fault kind.
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// maxAnswer bounds an answer in bytes: 500 rows of the largest kind are below it.
const maxAnswer = 64 << 20

// Options says which service to talk to.
type Options struct {
	Server string // its address, such as https://cordon.example:8443
	Token  string // the operator's
	// Transport carries the requests; nil means http.DefaultTransport.
	Transport http.RoundTripper
	// Timeout bounds one request; 0 means 30 seconds.
	Timeout time.Duration
}

// A Client talks to one service. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// New returns a client, or fault.Invalid for an address that is none.
func New(o Options) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(o.Server, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.Errorf(fault.Invalid, "server %q is not an address such as https://cordon.example:8443", o.Server)
	}
	if o.Token == "" {
		return nil, fault.Errorf(fault.Invalid, "no token for %s: set CORDON_TOKEN or --token-file", u.Host)
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	return &Client{base: u, token: o.Token, http: &http.Client{
		Transport: o.Transport, Timeout: o.Timeout,
		// The token goes to the server that was named and to no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// call sends one request and decodes the answer into a T.
func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (T, error) {
	var out T
	what := method + " " + path
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return out, fmt.Errorf("%s: encode the request: %w", what, err)
		}
		r = bytes.NewReader(b)
	}
	u := *c.base
	u.Path, u.RawPath = "", ""
	target := u.String() + c.base.Path + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, r)
	if err != nil {
		return out, fmt.Errorf("%s: %w", what, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return out, unreachable(c.base.Host, method, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return out, unreachable(c.base.Host, method, err)
	case len(b) > maxAnswer:
		return out, fault.Errorf(fault.Unavailable, "%s answered %s with more than %d bytes", c.base.Host, what, maxAnswer)
	case res.StatusCode != http.StatusOK:
		return out, c.problem(what, res, b)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fault.Errorf(fault.Unavailable, "%s does not answer as Cordon does (%s): is this the right address?", c.base.Host, what)
	}
	return out, nil
}

// unreachable says what a failed request leaves: a read did nothing, a command
// may have been carried out.
func unreachable(host, method string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if method == http.MethodGet {
		return fault.Errorf(fault.Unavailable, "cannot reach %s: %w", host, err)
	}
	var op interface{ Timeout() bool }
	if errors.As(err, &op) && op.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Errorf(fault.Unknown, "%s did not answer; it may have done what was asked, look before you ask again: %w", host, err)
	}
	return fault.Errorf(fault.Unavailable, "cannot reach %s: %w", host, err)
}

// kinds maps what a problem's type says to the kind of the error.
var kinds = map[string]fault.Kind{
	"invalid": fault.Invalid, "not-found": fault.NotFound, "conflict": fault.Conflict, "denied": fault.Denied,
	"held": fault.Held, "unavailable": fault.Unavailable, "unknown": fault.Unknown, "unauthenticated": fault.Denied,
}

func (c *Client) problem(what string, res *http.Response, b []byte) error {
	var p struct {
		Type   string `json:"type"`
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")) // what is no media type is no problem of ours either
	if media != "application/problem+json" || json.Unmarshal(b, &p) != nil {
		return fault.Errorf(fault.Unavailable, "%s answered %s with status %d and not as Cordon does: is this the right address?", c.base.Host, what, res.StatusCode)
	}
	text := p.Detail
	for _, e := range p.Errors {
		text += fmt.Sprintf("; %s: %s", e.Location, e.Message)
	}
	name := p.Type[strings.LastIndexByte(p.Type, ':')+1:]
	kind, ok := kinds[name]
	switch {
	case name == "unauthenticated":
		text = c.base.Host + ": " + text + "; it comes from CORDON_TOKEN or --token-file"
	case !ok: // a mistake of the server's: its log has the cause
		return fault.Errorf(fault.Unavailable, "%s: %s (status %d)", c.base.Host, text, res.StatusCode)
	}
	if kind == fault.Unavailable {
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
			return fault.Later(time.Duration(s)*time.Second, "%s", text)
		}
	}
	return fault.Errorf(kind, "%s", text)
}
