package connectortest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Wire carries the requests of a source to a service that answers with OData
// collections, and does on the way what services and networks do. Requests to
// other paths than Path's and their answers pass untouched.
type Wire struct {
	Next http.RoundTripper
	Path string // only what contains it is disturbed

	mu       sync.Mutex
	hidden   map[string]time.Time // record → until when the service does not show it
	pageSize int
	cut      int // answers that still come before the connection breaks; −1: all
	throttle int
	junk     string
	words    string
	empty    int // every so many-th page is emptied
	answered int
	skew     time.Duration
}

// NewWire returns a Wire that disturbs nothing yet.
func NewWire(next http.RoundTripper, path string) *Wire {
	return &Wire{Next: next, Path: path, cut: -1, hidden: map[string]time.Time{}}
}

// Now is the source's clock.
func (w *Wire) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.skew)
}

func (w *Wire) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// Skew sets the source's clock d before the service's.
func (w *Wire) Skew(d time.Duration) { w.set(func() { w.skew = d }) }

// PageSize lets the service answer with at most n records a page, whatever it
// is asked for.
func (w *Wire) PageSize(n int) { w.set(func() { w.pageSize = n }) }

// Hide keeps records out of all answers for a while, as an index does that is
// behind; their times stay what they are.
func (w *Wire) Hide(ids []string, d time.Duration) {
	w.set(func() {
		for _, id := range ids {
			w.hidden[id] = time.Now().Add(d)
		}
	})
}

// Cut breaks the connection after n more answers; a negative n heals it.
func (w *Wire) Cut(n int) { w.set(func() { w.cut = n }) }

// Throttle refuses the next n requests with 429 and no Retry-After.
func (w *Wire) Throttle(n int) { w.set(func() { w.throttle = n }) }

// Junk puts a record into each page that is none; "" stops that.
func (w *Wire) Junk(raw string) { w.set(func() { w.junk = raw }) }

// Words replaces enumerated values of every second record.
func (w *Wire) Words(s string) { w.set(func() { w.words = s }) }

// Empty lets the service send an empty page with a link to the real one before
// every n-th page.
func (w *Wire) Empty(n int) { w.set(func() { w.empty = n }) }

// RoundTrip is http.RoundTripper's.
func (w *Wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.Contains(r.URL.Path, w.Path) {
		return w.Next.RoundTrip(r)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	switch {
	case w.throttle > 0:
		w.throttle--
		return answer(r, http.StatusTooManyRequests, []byte(`{"error":{"code":"TooManyRequests","message":"Too many requests."}}`)), nil
	case w.cut == 0:
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	case w.cut > 0:
		w.cut--
	}
	w.answered++
	q := r.URL.Query()
	if w.empty > 0 && w.answered%w.empty == 0 && q.Get("again") == "" {
		next := *r.URL
		next.RawQuery += "&again=1"
		return answer(r, http.StatusOK, fmt.Appendf(nil, `{"value":[],"@odata.nextLink":%q}`, next.String())), nil
	}
	r = r.Clone(r.Context())
	q.Del("again")
	if n, err := strconv.Atoi(q.Get("$top")); err == nil && w.pageSize > 0 && n > w.pageSize {
		q.Set("$top", strconv.Itoa(w.pageSize))
	}
	r.URL.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	res, err := w.Next.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusOK {
		return res, err
	}
	return w.disturb(r, res)
}

// disturb changes the records of an answer.
func (w *Wire) disturb(r *http.Request, res *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	var page map[string]json.RawMessage
	var items []json.RawMessage
	if json.Unmarshal(body, &page) != nil || json.Unmarshal(page["value"], &items) != nil {
		return answer(r, res.StatusCode, body), nil
	}
	now := time.Now()
	items = slices.DeleteFunc(items, func(raw json.RawMessage) bool {
		for id, until := range w.hidden {
			if now.Before(until) && bytes.Contains(raw, []byte(id)) {
				return true
			}
		}
		return false
	})
	if w.words != "" {
		for n := range items {
			if n%2 == 0 {
				items[n] = reword(items[n], w.words)
			}
		}
	}
	if w.junk != "" {
		items = slices.Insert(items, len(items)/2, json.RawMessage(w.junk))
	}
	if page["value"], err = json.Marshal(items); err != nil {
		return nil, err
	}
	if body, err = json.Marshal(page); err != nil {
		return nil, err
	}
	return answer(r, res.StatusCode, body), nil
}

// reword replaces the values of members that are enumerated.
func reword(raw json.RawMessage, word string) json.RawMessage {
	var o map[string]any
	if json.Unmarshal(raw, &o) != nil {
		return raw
	}
	for _, name := range []string{"riskEventType", "riskLevel", "riskState", "riskDetail", "detectionTimingType", "severity", "status", "determination"} {
		if _, ok := o[name].(string); ok {
			o[name] = word
		}
	}
	b, err := json.Marshal(o)
	if err != nil {
		return raw
	}
	return b
}

func answer(r *http.Request, status int, body []byte) *http.Response {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status, Request: r,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}
