package graphsim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// maxBody bounds a request's body; Graph's own bound is 4 MB.
const maxBody = 4 << 20

// request is one HTTP request, read completely.
type request struct {
	ctx      context.Context
	method   string
	host     string // with port
	base     string // https://host
	path     string // escaped; for Graph without the version
	rawQuery string
	header   http.Header
	body     []byte
	id       string // request-id
	clientID string // client-request-id, made up when the caller sent none
	entry    *Entry
	now      time.Time
}

// outcome is an answer before it is written to a wire.
type outcome struct {
	status int
	header http.Header
	body   []byte
	pad    int64 // so many spaces before the body
	cut    bool  // no answer: the connection is cut
	code   string
}

func jsonOutcome(status int, v any) *outcome {
	b, err := json.Marshal(v)
	if err != nil {
		// Objects of the world are JSON values; anything else is a mistake of
		// the lab that a test must see.
		panic("graphsim: an answer cannot be encoded: " + err.Error())
	}
	o := &outcome{status: status, header: http.Header{}, body: b}
	o.header.Set("Content-Type", "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8")
	return o
}

// answer handles one request of any kind.
func (t *Tenant) answer(req *http.Request) *outcome {
	r := &request{
		ctx: req.Context(), method: req.Method, host: req.Host, header: req.Header,
		rawQuery: req.URL.RawQuery, now: t.now(), id: t.newGUID(),
	}
	if r.host == "" {
		r.host = req.URL.Host
	}
	r.base = "https://" + r.host
	r.clientID = req.Header.Get("client-request-id")
	if !isGUID(r.clientID) {
		r.clientID = r.id
	}
	full := req.URL.EscapedPath()
	var err error
	if req.Body != nil {
		if r.body, err = io.ReadAll(io.LimitReader(req.Body, maxBody+1)); err != nil {
			return &outcome{cut: true}
		}
	}
	if rest, ok := strings.CutPrefix(full, "/_lab/"); ok {
		r.path = rest
		return t.lab(r)
	}
	for _, version := range []string{"v1.0", "beta"} {
		if rest, ok := cutVersion(full, version); ok {
			r.path = rest
			return t.graph(r, version)
		}
	}
	return t.front(r, full)
}

// cutVersion takes "/v1.0" off a path, in any case of its letters.
func cutVersion(p, version string) (string, bool) {
	head, rest, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	return "/" + rest, strings.EqualFold(head, version)
}

// front answers the token endpoint and its metadata; other paths are not
// those of a tenant.
func (t *Tenant) front(r *request, full string) *outcome {
	if full == "/" {
		return jsonOutcome(200, map[string]any{
			"lab": "a simulated Microsoft Graph tenant", "tenant": t.world.TenantID(),
			"graph": r.base + "/v1.0", "login": r.base + "/", "ledger": r.base + "/_lab/ledger", "state": r.base + "/_lab/state",
		})
	}
	r.path = full
	r.entry = t.ledger.open(Entry{Received: r.now.UTC(), Kind: "login", Method: r.method, Path: full, Query: r.rawQuery, ClientRequestID: r.header.Get("client-request-id"), RequestID: r.id})
	if len(r.body) > maxBody {
		return t.sent(r, t.failure(r, &graphError{413, "RequestEntityTooLarge", "The request body is too large."}))
	}
	var s struck
	if strings.HasSuffix(full, "/oauth2/v2.0/token") {
		s = t.dice.roll(r.method, tokenScope)
	}
	t.note(r, s)
	t.wait(r.ctx, s.latency)
	o := t.before(r, s)
	if o == nil {
		o = t.login(r, strings.TrimPrefix(full, "/"))
	}
	if o == nil {
		o = t.failure(r, &graphError{404, "UnknownError", "There is nothing at this path."})
	}
	o.header.Set("x-ms-request-id", r.id)
	return t.sent(r, t.after(r, s, o))
}

// graph answers a request to Graph itself.
func (t *Tenant) graph(r *request, version string) *outcome {
	kind := "graph"
	batch := strings.EqualFold(r.path, "/$batch")
	if batch {
		kind = "batch"
	}
	r.entry = t.ledger.open(Entry{
		Received: r.now.UTC(), Kind: kind, Method: r.method, Path: r.path, Query: r.rawQuery, Beta: version == "beta",
		ClientRequestID: r.header.Get("client-request-id"), RequestID: r.id,
	})
	s := t.dice.roll(r.method, r.path)
	t.note(r, s)
	t.wait(r.ctx, s.latency)
	var o *outcome
	switch {
	case len(r.body) > maxBody:
		o = t.failure(r, &graphError{413, "RequestEntityTooLarge", "The request body is too large."})
	case batch:
		if o = t.before(r, s); o == nil {
			o = t.batch(r, version, s)
		}
	default:
		o = t.one(r, version, s)
	}
	return t.sent(r, t.after(r, s, o))
}

// one answers a single Graph request, up to the faults that strike after it.
func (t *Tenant) one(r *request, version string, s struck) *outcome {
	if o := t.before(r, s); o != nil {
		return o
	}
	sess, gerr := t.bearer(r)
	if gerr != nil {
		return t.failure(r, gerr)
	}
	t.ledger.change(r.entry, func(e *Entry) { e.App = sess.app.ClientID })
	rt, params, err := t.routes.find(r.method, r.path)
	if err != nil {
		return t.failure(r, err)
	}
	c := &call{t: t, request: r, version: version, params: params, route: rt, sess: sess, struck: s}
	_, c.inert = s.find("no-effect")
	c.inert = c.inert && rt.write()
	if !rt.allows(sess.roles) {
		return t.failure(r, rt.denial())
	}
	h := http.Header{}
	if err := c.spend(h); err != nil {
		return withHeader(t.failure(r, err), h)
	}
	rep, err := c.run()
	if err != nil {
		return withHeader(t.failure(r, err), h)
	}
	return withHeader(c.finish(rep), h)
}

func withHeader(o *outcome, h http.Header) *outcome {
	for k, v := range h {
		o.header[k] = v
	}
	return o
}

// spend takes the request out of its buckets.
func (c *call) spend(h http.Header) error {
	q := c.route.cost(c.rawQuery)
	cls := c.route.class
	v := c.t.throttle.take(c.sess.app.ClientID, limitsOf(cls, c.t.users, q), q, c.now)
	c.t.throttle.headers(h, v, cls, q, c.sess.app.ClientID, c.now)
	if !v.refused {
		return nil
	}
	c.t.ledger.change(c.entry, func(e *Entry) { e.Throttled = v.limit.name })
	return &graphError{429, "TooManyRequests", "Too many requests. Please retry again later."}
}

// failure writes an error in Graph's envelope.
func (t *Tenant) failure(r *request, err error) *outcome {
	g, ok := asGraphError(err)
	if !ok {
		var w *world.Error
		var bad badQuery
		switch {
		case errors.As(err, &w):
			g = &graphError{w.Status, w.Code, w.Message}
		case errors.As(err, &bad):
			g = &graphError{400, "BadRequest", string(bad)}
		default:
			g = &graphError{500, "InternalServerError", "The lab could not answer: " + err.Error()}
		}
	}
	o := jsonOutcome(g.status, map[string]any{"error": map[string]any{
		"code": g.code, "message": g.message,
		"innerError": map[string]any{
			"date": t.now().UTC().Format("2006-01-02T15:04:05"), "request-id": r.id, "client-request-id": r.clientID,
		},
	}})
	o.header.Set("Content-Type", "application/json")
	o.code = g.code
	if g.status == http.StatusUnauthorized {
		o.header.Set("WWW-Authenticate", `Bearer realm="", authorization_uri="`+r.base+`/common/oauth2/authorize"`)
	}
	return o
}

// note writes the faults of a request into the ledger.
func (t *Tenant) note(r *request, s struck) {
	if len(s.faults) == 0 && s.latency == 0 {
		return
	}
	t.ledger.change(r.entry, func(e *Entry) {
		for _, f := range s.faults {
			e.Faults = append(e.Faults, f.Kind)
		}
		if s.latency > 0 {
			e.Faults = append(e.Faults, "latency")
		}
	})
}

// wait holds a request up. A client that gives up meanwhile does not stop
// what it asked for, just as with a real service.
func (t *Tenant) wait(ctx context.Context, d time.Duration) {
	d = time.Duration(float64(d) / t.opts.Speed)
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// sent closes the ledger entry.
func (t *Tenant) sent(r *request, o *outcome) *outcome {
	if !o.cut {
		o.header.Set("request-id", r.id)
		o.header.Set("client-request-id", r.clientID)
		o.header.Set("Date", t.now().UTC().Format(http.TimeFormat))
		o.header.Set("Cache-Control", "no-cache")
		o.header.Set("x-ms-ags-diagnostic", `{"ServerInfo":{"DataCenter":"Lab","Slice":"E","Ring":"1","ScaleUnit":"000","RoleInstance":"LAB000"}}`)
	}
	t.ledger.change(r.entry, func(e *Entry) {
		e.Answered = t.now().UTC()
		if !o.cut {
			e.Status, e.Code = o.status, o.code
		}
	})
	return o
}

// Handler returns the tenant as an HTTP handler for one host.
func (t *Tenant) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		o := t.answer(req)
		if o.cut {
			panic(http.ErrAbortHandler) // the documented way to drop a connection without an answer
		}
		for k, v := range o.header {
			w.Header()[k] = v
		}
		w.WriteHeader(o.status)
		if o.status == http.StatusNoContent {
			return
		}
		// A client that has gone away is no concern of the server's.
		_, _ = io.Copy(w, o.reader())
	})
}

// reader yields the body with its padding.
func (o *outcome) reader() io.Reader {
	if o.pad == 0 {
		return strings.NewReader(string(o.body))
	}
	return io.MultiReader(io.LimitReader(blanks{}, o.pad), strings.NewReader(string(o.body)))
}

// blanks is an endless source of spaces.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
