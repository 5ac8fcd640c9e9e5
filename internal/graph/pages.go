package graph

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// DefaultMaxPages bounds one reading of a collection.
const DefaultMaxPages = 10_000

// Paging says how to read a collection. Its zero value reads from the start
// and waits for nothing.
type Paging struct {
	// Start is a nextLink or deltaLink kept from an earlier reading; the
	// request's Path and Query are not used then.
	Start string

	// Wait is how long the whole reading may spend waiting for Retry-After
	// before it gives up with Graph's error. Answers without a Retry-After are
	// never waited for: who paces the caller knows better.
	Wait time.Duration

	MaxPages int // DefaultMaxPages
}

// An Object is one element of a collection. Raw is as received and always
// there. When the element does not fit T, Err says why and Value holds what
// could be read: one strange object must not hide the others.
type Object[T any] struct {
	Value T
	Raw   json.RawMessage
	Err   error
}

// A Page is one answer of a collection.
type Page[T any] struct {
	Objects   []Object[T]
	NextLink  string // "" on the last page; can be kept and given to Paging.Start
	DeltaLink string // only on the last page of a delta; keep it for the next reading
	Count     int64  // @odata.count, -1 when absent
	Response  Response
}

// Pages reads a collection page by page, each when it is asked for, and ends
// after the last page or the first error. Empty pages with a nextLink are
// yielded and followed. A nextLink to another host, one that was followed
// before, or more than Paging.MaxPages pages is an error. A deltaLink or
// nextLink that has expired is an error with ErrResync.
func Pages[T any](ctx context.Context, c *Client, r Request, p Paging) iter.Seq2[Page[T], error] {
	return func(yield func(Page[T], error) bool) {
		limit := p.MaxPages
		if limit <= 0 {
			limit = DefaultMaxPages
		}
		seen := map[[sha256.Size]byte]bool{}
		budget := p.Wait
		link := p.Start
		for n := 0; ; n++ {
			if n == limit {
				yield(Page[T]{}, r.problem(fault.Invalid, "more than %d pages: narrow the filter", limit))
				return
			}
			if link != "" {
				key := sha256.Sum256([]byte(link))
				if seen[key] {
					yield(Page[T]{}, r.problem(fault.Unavailable, "page %d leads back to an earlier page", n))
					return
				}
				seen[key] = true
			}
			page, err := nextPage[T](ctx, c, r, link, &budget)
			if !yield(page, err) || err != nil || page.NextLink == "" {
				return
			}
			link = page.NextLink
			r = r.following()
		}
	}
}

// Objects is Pages without the pages. It cannot show a deltaLink.
func Objects[T any](ctx context.Context, c *Client, r Request, p Paging) iter.Seq2[Object[T], error] {
	return func(yield func(Object[T], error) bool) {
		for page, err := range Pages[T](ctx, c, r, p) {
			if err != nil {
				yield(Object[T]{}, err)
				return
			}
			for _, o := range page.Objects {
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// following is r for the pages after the first: a nextLink is read with GET
// and says everything itself, and each request has an id of its own.
func (r Request) following() Request {
	r.Method, r.Body, r.ReadOnly, r.ClientRequestID = http.MethodGet, nil, false, ""
	return r
}

func (r Request) problem(kind fault.Kind, format string, args ...any) error {
	return &Error{Method: r.method(), Path: clean(r.Path, 300), Kind: kind, Err: fault.Errorf(kind, format, args...)}
}

// nextPage reads one page and waits out Retry-After as far as budget allows.
func nextPage[T any](ctx context.Context, c *Client, r Request, link string, budget *time.Duration) (Page[T], error) {
	r.Out = nil
	var u *url.URL
	var err error
	if link == "" {
		u, err = c.url(r)
	} else {
		r = r.following()
		u, err = c.link(r, link)
	}
	if err != nil {
		return Page[T]{}, err
	}
	for {
		res, err := c.call(ctx, r, u)
		if err == nil {
			return decodePage[T](c, r, u, res)
		}
		wait, ok := patience(err, *budget)
		if !ok || !pause(ctx, wait) {
			return Page[T]{Response: res}, err
		}
		*budget -= wait
		r.ClientRequestID = ""
	}
}

// patience returns how long to wait before asking again, if err says so and
// the budget covers it. It is never under a second, so that "Retry-After: 0"
// cannot make a tight loop.
func patience(err error, budget time.Duration) (time.Duration, bool) {
	var e *Error
	if !errors.As(err, &e) || e.Kind != fault.Unavailable || !e.HasRetryAfter {
		return 0, false
	}
	wait := max(e.RetryAfter, time.Second)
	return wait, wait <= budget
}

// pause waits for d and reports whether it did. It does not begin a wait that
// the context would cut short.
func pause(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// link checks a nextLink or deltaLink, which is opaque but for this: the token
// goes only to the Graph host, below a version root.
func (c *Client) link(r Request, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > 64<<10:
		return nil, r.problem(fault.Unavailable, "the link to the next page is not a URL")
	case u.User != nil || !sameHost(u, c.base):
		return nil, r.problem(fault.Unavailable, "the link to the next page leads to %q instead of %q: not followed", clean(u.Scheme+"://"+u.Host, 200), c.base.Host)
	case !strings.HasPrefix(u.Path, "/v1.0/") && !strings.HasPrefix(u.Path, "/beta/"):
		return nil, r.problem(fault.Unavailable, "the link to the next page leads outside /v1.0 and /beta: not followed")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// decodePage reads the envelope strictly, for without it nothing is known to
// be complete, and the elements loosely.
func decodePage[T any](c *Client, r Request, u *url.URL, res Response) (Page[T], error) {
	page := Page[T]{Response: res, Count: -1}
	var w struct {
		Value     json.RawMessage `json:"value"` // null is an empty page, absent is no page
		NextLink  string          `json:"@odata.nextLink"`
		DeltaLink string          `json:"@odata.deltaLink"`
		Count     *int64          `json:"@odata.count"`
	}
	bad := func(err error) (Page[T], error) {
		return page, &Error{
			Status: res.Status, RequestID: res.RequestID, ClientRequestID: res.ClientRequestID,
			Method: r.method(), Path: showPath(u), Kind: fault.Unavailable, Err: unreadable(err),
		}
	}
	if err := json.Unmarshal(res.Body, &w); err != nil {
		return bad(err)
	}
	if len(w.Value) == 0 {
		return bad(errors.New(`it has no "value"`))
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(w.Value, &raws); err != nil {
		return bad(errors.New(`its "value" is not a list`))
	}
	if w.Count != nil {
		page.Count = *w.Count
	}
	page.Objects = make([]Object[T], len(raws))
	for i, raw := range raws {
		o := &page.Objects[i]
		o.Raw = raw
		o.Err = json.Unmarshal(raw, &o.Value)
	}
	// Checked now rather than when followed, so that a caller never keeps a
	// link that cannot be used.
	for _, l := range []string{w.NextLink, w.DeltaLink} {
		if l == "" {
			continue
		}
		if _, err := c.link(r, l); err != nil {
			return page, err
		}
	}
	page.NextLink, page.DeltaLink = w.NextLink, w.DeltaLink
	return page, nil
}
