package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// MaxBatch is how many requests one $batch takes (Microsoft, "Combine multiple
// requests in one HTTP call using JSON batching").
const MaxBatch = 20

// A Part is one request of a batch. Timeout and MaxBody of its Request are not
// used: they belong to the whole.
type Part struct {
	ID        string // unique in the batch without regard to case; "" numbers the parts from 1
	DependsOn []string
	Request
}

// A PartResult is what became of a part: a Response, and beside it an error as
// Do would return it. A part without an answer has Status 0.
type PartResult struct {
	ID       string
	Response Response
	Err      error
}

// A BatchResult holds one result per part, in the order of the parts.
type BatchResult struct {
	Response Response // of the batch as a whole; its Body is dropped
	Parts    []PartResult
	Strange  []string // ids that were answered without being asked, bounded; a sign of a broken far side
}

// Batch sends up to MaxBatch requests in one. Graph runs them in any order but
// for DependsOn, throttles each on its own, and answers 424 for a part whose
// predecessor failed. A batch saves round trips, never quota.
//
// The error is about the batch as a whole: then nothing is known of the parts,
// Parts is empty, and the kind is Unknown if any of them writes and may have
// been carried out. Otherwise each part has its own.
func (c *Client) Batch(ctx context.Context, parts []Part) (BatchResult, error) {
	parts = c.numbered(parts)
	if err := checkParts(parts); err != nil {
		return BatchResult{}, &Error{Method: http.MethodPost, Path: "/$batch", Kind: fault.Invalid, Err: err}
	}
	r := Request{Method: http.MethodPost, Path: "/$batch", Beta: parts[0].Beta, ReadOnly: true}
	var body struct {
		Requests []wirePart `json:"requests"`
	}
	urls := make([]*url.URL, len(parts))
	for i, p := range parts {
		u, err := c.url(p.Request)
		if err != nil {
			return BatchResult{}, fmt.Errorf("part %s: %w", clean(p.ID, 60), err)
		}
		urls[i] = u
		body.Requests = append(body.Requests, wire(p, u))
		r.ReadOnly = r.ReadOnly && !p.write()
		r.Secrets = append(r.Secrets, p.Secrets...)
	}
	r.Body = body
	u, err := c.url(r)
	if err != nil {
		return BatchResult{}, err
	}
	a, err := c.exchange(ctx, r, u)
	if err != nil {
		return BatchResult{Response: a.Response}, err
	}
	answers, bad := a.parts()
	// The outer status is 200, or 424 when parts were throttled (two pages of
	// Microsoft's differ); what counts is whether there are parts to read.
	if bad != nil || len(answers) == 0 {
		if err := c.judge(r, u, a); err != nil {
			return BatchResult{Response: a.Response}, err
		}
		if bad == nil {
			bad = errors.New(`its "responses" are empty`)
		}
		kind := fault.Unavailable
		if r.write() {
			kind = fault.Unknown
		}
		return BatchResult{Response: a.Response}, &Error{
			Status: a.Status, RequestID: a.RequestID, ClientRequestID: a.ClientRequestID,
			Method: r.method(), Path: showPath(u), Kind: kind, Err: hide(unreadable(bad), r.hidden(a.token)),
		}
	}
	c.accepted()
	out := BatchResult{Response: a.Response, Parts: make([]PartResult, len(parts))}
	out.Response.Body = nil
	at := map[string]int{}
	for i, p := range parts {
		at[strings.ToLower(p.ID)] = i
	}
	for _, w := range answers {
		i, ok := at[strings.ToLower(string(w.ID))]
		switch {
		case !ok:
			if len(out.Strange) < MaxBatch {
				out.Strange = append(out.Strange, clean(string(w.ID), 60))
			}
		case out.Parts[i].ID == "": // the first answer counts
			out.Parts[i] = c.part(parts[i], urls[i], w, a)
		}
	}
	for i, p := range parts {
		if out.Parts[i].ID == "" {
			out.Parts[i] = unanswered(p, urls[i], a)
		}
	}
	return out, nil
}

// A wirePart is a request inside a batch, under Graph's names.
type wirePart struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers,omitempty"`
	Body      any               `json:"body,omitempty"`
	DependsOn []string          `json:"dependsOn,omitempty"`
}

func wire(p Part, u *url.URL) wirePart {
	w := wirePart{ID: p.ID, Method: p.method(), URL: p.Path, Body: p.Body, DependsOn: p.DependsOn, Headers: map[string]string{}}
	if u.RawQuery != "" {
		w.URL += "?" + u.RawQuery
	}
	for name, v := range p.header(p.ClientRequestID) {
		w.Headers[name] = v[0]
	}
	return w
}

// A wireAnswer is one part of a batch answer.
type wireAnswer struct {
	ID      text                       `json:"id"`
	Status  text                       `json:"status"` // a number; seen as text in old pages
	Headers map[string]json.RawMessage `json:"headers"`
	Body    json.RawMessage            `json:"body"`
}

// parts reads the envelope.
func (a answer) parts() ([]wireAnswer, error) {
	if a.readErr != nil {
		return nil, a.readErr
	}
	var w struct {
		Responses *[]wireAnswer `json:"responses"`
	}
	if err := json.Unmarshal(a.Body, &w); err != nil {
		return nil, err
	}
	if w.Responses == nil {
		return nil, errors.New(`it has no "responses"`)
	}
	return *w.Responses, nil
}

// part judges one answer as if it had come alone.
func (c *Client) part(p Part, u *url.URL, w wireAnswer, whole answer) PartResult {
	h := http.Header{}
	for name, raw := range w.Headers {
		var v text
		if json.Unmarshal(raw, &v) == nil && string(raw) != "null" {
			h.Set(name, string(v)) // Set writes the canonical case, whichever came
		}
	}
	status, _ := strconv.Atoi(string(w.Status)) // 0 is no status, below
	a := answer{header: h, token: whole.token, Response: Response{
		Status:          status,
		RequestID:       clean(h.Get("request-id"), 128),
		ClientRequestID: p.ClientRequestID,
		Date:            whole.Date,
		Throttle:        throttle(h),
		Location:        c.ownLocation(h.Get("Location")),
	}}
	if d, err := http.ParseTime(h.Get("Date")); err == nil {
		a.Date = d
	}
	if body := bytes.TrimSpace(w.Body); len(body) > 0 && string(body) != "null" {
		a.Body = body
	}
	out := PartResult{ID: p.ID, Response: a.Response}
	switch {
	case status < 100 || status > 599:
		out.Err = unanswered(p, u, whole).Err
	case status < 200 || status > 299:
		out.Err = c.refusal(p.Request, u, a)
	default:
		if err := c.judge(p.Request, u, a); err != nil {
			out.Err = err
		}
	}
	return out
}

func unanswered(p Part, u *url.URL, whole answer) PartResult {
	kind := fault.Unavailable
	if p.write() {
		kind = fault.Unknown
	}
	return PartResult{ID: p.ID, Response: Response{ClientRequestID: p.ClientRequestID, Date: whole.Date}, Err: &Error{
		RequestID: whole.RequestID, ClientRequestID: p.ClientRequestID, Method: p.method(), Path: showPath(u),
		Kind: kind, Err: fmt.Errorf("the batch answer does not say what became of part %s", clean(p.ID, 60)),
	}}
}

// numbered is a copy of parts in which each has its ids.
func (c *Client) numbered(parts []Part) []Part {
	out := make([]Part, len(parts))
	for i, p := range parts {
		if p.ID == "" {
			p.ID = strconv.Itoa(i + 1)
		}
		if p.ClientRequestID == "" {
			p.ClientRequestID = c.o.NewID()
		}
		out[i] = p
	}
	return out
}

func checkParts(parts []Part) error {
	if len(parts) == 0 || len(parts) > MaxBatch {
		return fmt.Errorf("%d requests: a batch takes 1 to %d", len(parts), MaxBatch)
	}
	earlier := map[string]bool{}
	for _, p := range parts {
		id := strings.ToLower(p.ID)
		switch {
		case earlier[id]:
			return fmt.Errorf("the id %q is given twice", clean(p.ID, 60))
		case len(p.ID) > 60 || clean(p.ID, 60) != p.ID:
			return fmt.Errorf("the id %q is not short and printable", clean(p.ID, 60))
		case p.Beta != parts[0].Beta:
			return fmt.Errorf("part %s: v1.0 and beta cannot be mixed", p.ID)
		}
		for _, d := range p.DependsOn {
			// Only an earlier part: that leaves no cycle.
			if !earlier[strings.ToLower(d)] {
				return fmt.Errorf("part %s depends on %q, which is not an earlier part", p.ID, clean(d, 60))
			}
		}
		earlier[id] = true
	}
	return nil
}

// Resend says how BatchResend repeats what was refused.
type Resend struct {
	Times int           // how often at most; 0 never
	Wait  time.Duration // how long all waits together may be
}

// BatchResend is Batch, and sends again the parts that Graph refused with 429
// or 503 and a Retry-After, after the longest of their waits, together with
// the parts that failed only because they depend on one of them (424). Parts
// that may have taken effect are never sent again. What is still refused when
// the times or the wait are used up keeps its error.
func (c *Client) BatchResend(ctx context.Context, parts []Part, s Resend) (BatchResult, error) {
	parts = c.numbered(parts)
	out, err := c.Batch(ctx, parts)
	if err != nil {
		return out, err
	}
	for n := 0; n < s.Times; n++ {
		again, wait := refused(parts, out.Parts)
		wait = max(wait, time.Second)
		if len(again) == 0 || wait > s.Wait || !pause(ctx, wait) {
			break
		}
		s.Wait -= wait
		var send []Part
		for _, i := range again {
			send = append(send, parts[i])
		}
		res, err := c.Batch(ctx, independent(send))
		if err != nil {
			// What was known of the parts is not known any more: give each the
			// error of the whole, so that an Unknown one is read first.
			for _, i := range again {
				out.Parts[i].Err, out.Parts[i].Response = err, Response{ClientRequestID: parts[i].ClientRequestID}
			}
			break
		}
		for k, i := range again {
			out.Parts[i] = res.Parts[k]
		}
	}
	return out, nil
}

// refused returns the indexes of the parts to send again, and the longest wait
// asked for.
func refused(parts []Part, results []PartResult) (again []int, wait time.Duration) {
	in := map[string]bool{}
	for i, p := range parts { // predecessors come first, so one pass is enough
		var e *Error
		if !errors.As(results[i].Err, &e) {
			continue
		}
		throttled := e.HasRetryAfter && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable)
		follows := false
		for _, d := range p.DependsOn {
			follows = follows || e.Status == http.StatusFailedDependency && in[strings.ToLower(d)]
		}
		if throttled || follows {
			in[strings.ToLower(p.ID)] = true
			again = append(again, i)
			wait = max(wait, e.RetryAfter)
		}
	}
	return again, wait
}

// independent drops dependencies on parts that are not sent again: those have
// succeeded.
func independent(parts []Part) []Part {
	here := map[string]bool{}
	for _, p := range parts {
		here[strings.ToLower(p.ID)] = true
	}
	for i := range parts {
		var deps []string
		for _, d := range parts[i].DependsOn {
			if here[strings.ToLower(d)] {
				deps = append(deps, d)
			}
		}
		parts[i].DependsOn = deps
	}
	return parts
}
