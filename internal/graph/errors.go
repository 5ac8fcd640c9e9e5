package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// ErrResync is in the chain of a 410: the delta or skip token is too old, and
// the collection has to be read from its start again.
var ErrResync = errors.New("graph: the saved position has expired; read from the start")

// errTimeout is the cause of a context that our own timeout ended.
var errTimeout = errors.New("no complete answer within the request timeout")

// maxRetryAfter bounds what Retry-After may ask for. Graph asks for seconds to
// minutes; a longer value is a mistake that must not stop a connector for ever.
const maxRetryAfter = 24 * time.Hour

// An Error is a request that did not succeed. errors.Is(err, fault.Denied) and
// the like ask for its kind, fault.RetryAfter for the wait. Its text contains
// neither token nor secret and is safe to show.
type Error struct {
	Status          int           // HTTP status, or the status of a part of a batch; 0 when there was no answer
	Code            string        // Graph's error code as sent, bounded; its case varies and it can be empty
	InnerCode       string        // the innermost code, more exact where there is one
	Message         string        // Graph's words, one line, bounded; for people, never to be matched
	RequestID       string        // Graph's id of the request
	ClientRequestID string        // ours
	RetryAfter      time.Duration // how long to wait, 0 to 24 h; meaningful when HasRetryAfter
	HasRetryAfter   bool          // identity protection, for one, never says
	Method          string
	Path            string // with its version root, without the query
	Scope           string // x-ms-throttle-scope of a 429
	Location        string // of a 410: where to start again; "" unless on the Graph host

	Kind fault.Kind // what the caller may do about it
	Err  error      // the cause on our side of the wire; nil when Graph answered in full
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "graph: %s %s: ", e.Method, e.Path)
	switch {
	case e.Err != nil && e.Status != 0:
		fmt.Fprintf(&b, "%d, but %s", e.Status, clean(e.Err.Error(), 600))
	case e.Err != nil:
		b.WriteString(clean(e.Err.Error(), 600))
	default:
		b.WriteString(strings.TrimSpace(strconv.Itoa(e.Status) + " " + e.Code))
		if e.Message != "" {
			b.WriteString(": " + e.Message)
		}
	}
	if e.Kind == fault.Unknown {
		b.WriteString("; it may have taken effect: read before repeating")
	}
	if h := e.hint(); h != "" {
		b.WriteString("; " + h)
	}
	if e.RequestID != "" {
		b.WriteString(" (request-id " + e.RequestID + ")")
	}
	return b.String()
}

// hint says what to do next, where the status alone tells.
func (e *Error) hint() string {
	switch {
	case e.Err != nil:
		return ""
	case e.Status == http.StatusUnauthorized && e.Kind == fault.Unavailable:
		return "the token was dropped and the next request brings a new one"
	case e.Status == http.StatusUnauthorized:
		return "Graph refuses the app's token: check tenant, cloud and the app registration"
	case e.Status == http.StatusForbidden && strings.Contains(strings.ToLower(e.Code+e.InnerCode), "nonpremium"):
		return "the tenant lacks the Entra ID P1 or P2 licence for this"
	case e.Status == http.StatusForbidden:
		return "grant the app the permission for this call, or, for a privileged account, the directory role it takes"
	case e.Status == http.StatusGone:
		return ErrResync.Error()
	case e.HasRetryAfter:
		return fmt.Sprintf("asked to wait %v", e.RetryAfter)
	case e.Status >= 300 && e.Status < 400:
		return "redirects are not followed: check graph_url"
	}
	return ""
}

// Unwrap shows the kind with the wait, the cause, and ErrResync for a 410.
func (e *Error) Unwrap() []error {
	out := []error{&fault.Error{Kind: e.Kind, Err: errors.New(e.Error()), After: e.RetryAfter}}
	if e.Err != nil {
		out = append(out, e.Err)
	}
	if e.Status == http.StatusGone {
		out = append(out, ErrResync)
	}
	return out
}

// kindOf says what a status outside 2xx means for the caller.
//
// A write that a gateway gave up on (502, 504) or that failed inside Graph
// (500 and the like) may have been carried out, so it is Unknown; 429 and 503
// are refusals before the work (Microsoft, "Error responses and resource
// types").
func kindOf(status int, write bool) fault.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusPaymentRequired,
		http.StatusProxyAuthRequired, http.StatusUnavailableForLegalReasons:
		return fault.Denied
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusLocked, http.StatusGone:
		return fault.Conflict
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusServiceUnavailable,
		http.StatusFailedDependency: // the part it depends on failed, so it was not tried
		return fault.Unavailable
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return fault.Invalid
	}
	switch {
	case status >= 400 && status < 500:
		return fault.Invalid
	case status >= 300 && status < 400: // something else than Graph answered, and nothing was done
		return fault.Unavailable
	case write:
		return fault.Unknown
	}
	return fault.Unavailable
}

// refusal makes the error for an answer outside 2xx.
func (c *Client) refusal(r Request, u *url.URL, a answer) *Error {
	e := &Error{
		Status: a.Status, RequestID: a.RequestID, ClientRequestID: a.ClientRequestID,
		Method: r.method(), Path: showPath(u), Scope: a.Throttle.Scope,
		Kind: kindOf(a.Status, r.write()),
	}
	if a.Status == http.StatusGone {
		e.Location = a.Location
	}
	e.RetryAfter, e.HasRetryAfter = retryAfter(a.header.Get("Retry-After"), a.Date, c.o.Now())
	e.body(a.Body, r.hidden(a.token))
	return e
}

// graphError is Graph's error object; innerError is written in two ways and
// may nest.
type graphError struct {
	Code       text        `json:"code"`
	Message    text        `json:"message"`
	RequestID  text        `json:"request-id"`
	InnerError *graphError `json:"innerError"` // encoding/json also takes "innererror"
}

// text is a string that does not fail the whole object when it is not one.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
		return nil
	}
	*t = text(b)
	return nil
}

// body reads code and message from an error body; anything else than Graph's
// error object leaves them empty, since the status already says the kind.
func (e *Error) body(b []byte, secrets []string) {
	var w struct {
		Error json.RawMessage `json:"error"`
	}
	if len(b) == 0 || json.Unmarshal(b, &w) != nil {
		return
	}
	var g graphError
	if json.Unmarshal(w.Error, &g) != nil {
		return
	}
	e.Code = redact(clean(string(g.Code), 100), secrets)
	e.Message = redact(clean(string(g.Message), 500), secrets)
	for in := g.InnerError; in != nil; in = in.InnerError {
		if in.Code != "" {
			e.InnerCode = redact(clean(string(in.Code), 100), secrets)
		}
		if e.RequestID == "" {
			e.RequestID = redact(clean(string(in.RequestID), 128), secrets)
		}
	}
	if e.Code == "" {
		e.Code = e.InnerCode
	}
}

// retryAfter reads a Retry-After header: seconds or an HTTP date, which counts
// from the answer's own Date so that a skewed clock of ours does not matter.
func retryAfter(s string, date, now time.Time) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, false
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n == n {
		if n >= maxRetryAfter.Seconds() {
			return maxRetryAfter, true
		}
		return max(0, time.Duration(n*float64(time.Second))), true
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0, false
	}
	if date.IsZero() {
		date = now
	}
	return min(max(0, at.Sub(date)), maxRetryAfter), true
}

func throttle(h http.Header) Throttle {
	number := func(name string) float64 {
		n, err := strconv.ParseFloat(strings.TrimSpace(h.Get(name)), 64)
		if err != nil || !(n >= 0 && n < 1e9) {
			return 0
		}
		return n
	}
	return Throttle{
		ResourceUnits: number("x-ms-resource-unit"),
		Percentage:    number("x-ms-throttle-limit-percentage"),
		Scope:         clean(h.Get("x-ms-throttle-scope"), 300),
		Information:   clean(h.Get("x-ms-throttle-information"), 200),
	}
}

// A tooLarge error is an answer over the limit.
type tooLarge struct{ limit int64 }

func (e *tooLarge) Error() string {
	return fmt.Sprintf("the answer is larger than the limit of %s: ask for fewer rows ($top) or fields ($select)", size(e.limit))
}

func size(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

func unreadable(err error) error {
	if large := (*tooLarge)(nil); errors.As(err, &large) {
		return err
	}
	return fmt.Errorf("the answer cannot be read: %w", err)
}

// showPath is the address without host and query: a filter names people.
func showPath(u *url.URL) string { return clean(u.EscapedPath(), 300) }

// hidden are the texts that nothing made from r may show.
func (r Request) hidden(token string) []string {
	return append(r.Secrets[:len(r.Secrets):len(r.Secrets)], token)
}

// hide returns err unless its text shows a secret; then only the rest of the
// text is left of it. Errors keep no list of what they hide: %#v would print it.
func hide(err error, secrets []string) error {
	s := err.Error()
	if r := redact(s, secrets); r != s {
		return errors.New(r)
	}
	return err
}

// redact removes the secrets from text that Graph or a library wrote.
func redact(s string, secrets []string) string {
	for _, x := range secrets {
		if len(x) >= 4 {
			s = strings.ReplaceAll(s, x, "[redacted]")
		}
	}
	return s
}

// clean makes foreign text fit for one line of a log or a page: no control or
// invisible characters, valid UTF-8, at most n bytes.
func clean(s string, n int) string {
	if len(s) > 4*n {
		s = s[:4*n]
	}
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Cf, c), c == unicode.ReplacementChar:
			return -1
		}
		return c
	}, s)
	s = strings.TrimSpace(s)
	if len(s) <= n {
		return s
	}
	cut := n - len("…")
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:max(cut, 0)] + "…"
}
