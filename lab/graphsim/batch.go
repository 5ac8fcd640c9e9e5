package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxBatch is how many requests a batch may hold.
const maxBatch = 20

type batchRequest struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

// batch answers POST /$batch. The envelope needs a valid token; each request
// in it is checked, throttled and entered in the ledger alone.
func (t *Tenant) batch(r *request, version string, s struck) *outcome {
	if r.method != http.MethodPost {
		return t.failure(r, &graphError{405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target."})
	}
	sess, gerr := t.bearer(r)
	if gerr != nil {
		return t.failure(r, gerr)
	}
	t.ledger.change(r.entry, func(e *Entry) { e.App = sess.app.ClientID })
	v := t.throttle.take(sess.app.ClientID, limitsOf(classBatch, t.users, quantity{}), quantity{}, r.now)
	if v.refused {
		o := t.failure(r, &graphError{429, "TooManyRequests", "Too many requests. Please retry again later."})
		t.throttle.headers(o.header, v, classBatch, quantity{}, sess.app.ClientID, r.now)
		return o
	}
	var in struct {
		Requests []batchRequest `json:"requests"`
	}
	if err := json.Unmarshal(r.body, &in); err != nil {
		return t.failure(r, &graphError{400, "BadRequest", "Unable to parse the batch payload as JSON."})
	}
	if err := checkBatch(in.Requests); err != nil {
		return t.failure(r, err)
	}
	order, err := sequence(in.Requests)
	if err != nil {
		return t.failure(r, err)
	}
	responses := make([]any, 0, len(order))
	failed := map[string]bool{}
	throttled := false
	for _, i := range order {
		b := in.Requests[i]
		id := strings.ToLower(b.ID)
		p := t.part(r, version, b)
		if slices.ContainsFunc(b.DependsOn, func(d string) bool { return failed[strings.ToLower(d)] }) {
			p.entry = t.openPart(r, p, version)
			o := t.sent(p, t.failure(p, &graphError{424, "FailedDependency", "One of the requests this one depends on failed."}))
			failed[id] = true
			responses = append(responses, partResponse(b.ID, o))
			continue
		}
		o := t.answerPart(r, p, version)
		failed[id] = o.status >= 400
		throttled = throttled || o.status == http.StatusTooManyRequests
		responses = append(responses, partResponse(b.ID, o))
	}
	status := http.StatusOK
	if _, ok := s.find("batch-424"); ok && throttled {
		status = http.StatusFailedDependency
	}
	return jsonOutcome(status, map[string]any{"responses": responses})
}

func checkBatch(rs []batchRequest) error {
	bad := func(format string, args ...any) error {
		return &graphError{400, "BadRequest", fmt.Sprintf(format, args...)}
	}
	if len(rs) == 0 {
		return bad("Invalid batch payload format.")
	}
	if len(rs) > maxBatch {
		return bad("Number of batch request steps exceeds the maximum value of %d.", maxBatch)
	}
	seen := map[string]bool{}
	for _, b := range rs {
		id := strings.ToLower(b.ID)
		switch {
		case id == "":
			return bad("The request has no id.")
		case seen[id]:
			return bad("Request Id '%s' is not unique.", b.ID)
		case b.Method == "" || b.URL == "":
			return bad("Request '%s' needs a method and a url.", b.ID)
		case strings.Contains(b.URL, "://"):
			return bad("Request '%s': the url must be relative.", b.ID)
		}
		seen[id] = true
	}
	return nil
}

// sequence orders the requests so that each follows those it depends on.
func sequence(rs []batchRequest) ([]int, error) {
	index := map[string]int{}
	for i, b := range rs {
		index[strings.ToLower(b.ID)] = i
	}
	var out []int
	state := make([]int, len(rs)) // 1 under way, 2 placed
	var place func(i int) error
	place = func(i int) error {
		switch state[i] {
		case 1:
			return &graphError{400, "BadRequest", "The dependsOn of request '" + rs[i].ID + "' leads back to itself."}
		case 2:
			return nil
		}
		state[i] = 1
		for _, d := range rs[i].DependsOn {
			j, ok := index[strings.ToLower(d)]
			if !ok {
				return &graphError{400, "BadRequest", "Request '" + rs[i].ID + "' depends on '" + d + "', which is not in the batch."}
			}
			if err := place(j); err != nil {
				return err
			}
		}
		state[i] = 2
		out = append(out, i)
		return nil
	}
	for i := range rs {
		if err := place(i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// part makes the request that a batch item stands for.
func (t *Tenant) part(r *request, version string, b batchRequest) *request {
	u := b.URL
	if !strings.HasPrefix(u, "/") {
		u = "/" + u
	}
	p, q, _ := strings.Cut(u, "?")
	if rest, ok := cutVersion(p, version); ok {
		p = rest
	}
	h := http.Header{}
	for k, v := range b.Headers {
		h.Set(k, v)
	}
	h.Set("Authorization", r.header.Get("Authorization"))
	if h.Get("client-request-id") == "" {
		h.Set("client-request-id", r.header.Get("client-request-id"))
	}
	if h.Get("Prefer") == "" && r.header.Get("Prefer") != "" {
		h.Set("Prefer", r.header.Get("Prefer"))
	}
	part := &request{
		ctx: r.ctx, method: strings.ToUpper(b.Method), host: r.host, base: r.base, path: (&url.URL{Path: unescaped(p)}).EscapedPath(),
		rawQuery: strings.ReplaceAll(q, " ", "%20"), header: h, id: t.newGUID(), clientID: r.clientID, now: t.now(),
	}
	if c := h.Get("client-request-id"); isGUID(c) {
		part.clientID = c
	}
	part.body = batchBody(b, h)
	return part
}

func unescaped(p string) string {
	if s, err := url.PathUnescape(p); err == nil {
		return s
	}
	return p
}

// batchBody is a JSON body as it stands, or the bytes of a base64 string when
// the content type is not JSON.
func batchBody(b batchRequest, h http.Header) []byte {
	if len(b.Body) == 0 || string(b.Body) == "null" {
		return nil
	}
	var s string
	if json.Unmarshal(b.Body, &s) == nil && !strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/json") {
		if raw, err := base64.StdEncoding.DecodeString(s); err == nil {
			return raw
		}
	}
	return b.Body
}

func (t *Tenant) openPart(r, p *request, version string) *Entry {
	return t.ledger.open(Entry{
		Received: p.now.UTC(), Kind: "part", Batch: r.entry.Seq, Method: p.method, Path: p.path, Query: p.rawQuery,
		Beta: version == "beta", ClientRequestID: p.header.Get("client-request-id"), RequestID: p.id,
	})
}

// answerPart answers one request of a batch. Faults that cut connections or
// hold answers up belong to the envelope and spare its parts.
func (t *Tenant) answerPart(r, p *request, version string) *outcome {
	p.entry = t.openPart(r, p, version)
	s := t.dice.roll(p.method, p.path)
	s.latency = 0
	s.faults = slices.DeleteFunc(s.faults, func(f Fault) bool {
		return slices.Contains([]string{"reset-before", "reset-after", "malformed", "oversized"}, f.Kind)
	})
	t.note(p, s)
	if strings.EqualFold(p.path, "/$batch") {
		return t.sent(p, t.failure(p, &graphError{400, "BadRequest", "A batch cannot hold a batch."}))
	}
	return t.sent(p, t.after(p, s, t.one(p, version, s)))
}

func partResponse(id string, o *outcome) map[string]any {
	headers := map[string]string{}
	for k := range o.header {
		headers[k] = o.header.Get(k)
	}
	out := map[string]any{"id": id, "status": o.status, "headers": headers}
	switch {
	case len(o.body) == 0:
	case json.Valid(o.body):
		out["body"] = json.RawMessage(o.body)
	default:
		out["body"] = base64.StdEncoding.EncodeToString(o.body)
	}
	return out
}
