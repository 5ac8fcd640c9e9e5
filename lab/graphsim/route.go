package graphsim

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// route is one operation of Graph.
type route struct {
	method  string
	pattern []string // segments; "{}" takes any
	// needs is the application permissions: one of each group. An empty list
	// means that no permission admits an application.
	needs [][]string
	class class
	units float64
	run   func(*call) (reply, error)
	spec  *spec // of a read, nil when the operation takes no query options
}

// reply is what an operation answers.
type reply struct {
	status int
	body   map[string]any // nil: no body
	text   string         // a plain-text body
}

// call is one request on its way through an operation.
type call struct {
	t *Tenant
	*request
	version string
	params  []string
	route   *route
	sess    session
	struck  struck
	q       query
	inert   bool // answer as if done, and do nothing
}

func (rt *route) write() bool { return rt.method != http.MethodGet }

func (rt *route) allows(roles []string) bool {
	if len(rt.needs) == 0 {
		return false
	}
	for _, group := range rt.needs {
		if !slices.ContainsFunc(group, func(p string) bool { return slices.Contains(roles, p) }) {
			return false
		}
	}
	return true
}

// denial is the 403 of a missing permission, in the words of the service
// behind the path.
func (rt *route) denial() error {
	switch rt.class {
	case classSecurity, classHunting, classSecurityIdentities:
		return &graphError{403, "Forbidden", "Missing application roles. API required roles: " + rt.wanted() + ", application roles: ."}
	case classIdentityProtection:
		return &graphError{403, "Forbidden", "You cannot perform the requested operation, required scopes are missing in the token."}
	case classReports:
		return &graphError{403, "Authentication_MSGraphPermissionMissing", "Calling principal does not have required MSGraph permissions " + rt.wanted()}
	}
	return &graphError{403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."}
}

func (rt *route) wanted() string {
	var out []string
	for _, g := range rt.needs {
		out = append(out, strings.Join(g, ","))
	}
	return strings.Join(out, " and ")
}

// cost is the resource units of Microsoft's table: the base, less one for
// $select, less one for $top under 20, one more for $expand, at least one.
func (rt *route) cost(rawQuery string) quantity {
	q := quantity{units: rt.units, write: rt.write()}
	if rawQuery != "" {
		v, err := url.ParseQuery(rawQuery)
		if err == nil {
			if v.Has("$select") {
				q.units--
			}
			if n, err := strconv.Atoi(v.Get("$top")); err == nil && n < 20 {
				q.units--
			}
			if v.Has("$expand") {
				q.units++
			}
			q.signInActivity = strings.Contains(strings.ToLower(v.Get("$select")), "signinactivity")
		}
	}
	q.units = max(q.units, 1)
	return q
}

// run parses the query and carries the operation out.
func (c *call) run() (reply, error) {
	if s := c.route.spec; s != nil && s.beta != nil && c.version == "beta" {
		rt := *c.route
		rt.spec, c.route = s.beta, &rt
	}
	if c.route.spec != nil {
		q, err := parseQuery(c.rawQuery, c.route.spec, strings.EqualFold(c.header.Get("ConsistencyLevel"), "eventual"))
		if err != nil {
			return reply{}, err
		}
		c.q = q
	}
	return c.route.run(c)
}

// finish turns a reply into an answer: hidden enum members are masked, and
// the fault of an unheard-of value is put in.
func (c *call) finish(rep reply) *outcome {
	if rep.text != "" {
		h := http.Header{"Content-Type": {"text/plain"}}
		return &outcome{status: rep.status, header: h, body: []byte(rep.text)}
	}
	if rep.body == nil {
		return &outcome{status: rep.status, header: http.Header{}}
	}
	var body any = rep.body
	prefer := strings.Contains(strings.ToLower(strings.Join(c.header.Values("Prefer"), ",")), "include-unknown-enum-members")
	if !prefer {
		body, _ = mask("", body)
	}
	if _, ok := c.struck.find("unknown-enum"); ok {
		body = withUnknownEnum(body)
	}
	o := jsonOutcome(rep.status, body)
	o.header.Set("OData-Version", "4.0")
	if prefer {
		o.header.Set("Preference-Applied", "include-unknown-enum-members")
	}
	return o
}

// apply carries out a change and writes its effects into the ledger before
// anything is answered.
func (c *call) apply(do func() ([]world.Effect, error)) error {
	if c.inert {
		return nil
	}
	effects, err := do()
	if len(effects) > 0 {
		c.t.ledger.change(c.entry, func(e *Entry) { e.Effects = append(e.Effects, effects...) })
	}
	return err
}

// actor is the calling application as the world knows it.
func (c *call) actor() world.Actor { return c.sess.app.actor }

// router finds the route of a path.
type router struct {
	byLen map[int][]*route
}

func newRouter() *router {
	r := &router{byLen: map[int][]*route{}}
	for _, rt := range allRoutes() {
		r.byLen[len(rt.pattern)] = append(r.byLen[len(rt.pattern)], rt)
	}
	for _, list := range r.byLen {
		// Fixed segments win over "{}": /users/delta is not a user.
		slices.SortStableFunc(list, func(a, b *route) int { return cmp.Compare(holes(a), holes(b)) })
	}
	return r
}

func holes(r *route) int {
	n := 0
	for _, s := range r.pattern {
		if s == "{}" {
			n++
		}
	}
	return n
}

// find matches a path. Fixed segments match without case; an action's name
// may be qualified, and a key may stand in brackets.
func (r *router) find(method, path string) (*route, []string, error) {
	segs, err := segments(path)
	if err != nil {
		return nil, nil, err
	}
	var other bool
	for _, rt := range r.byLen[len(segs)] {
		params, ok := rt.match(segs)
		if !ok {
			continue
		}
		if rt.method == method {
			return rt, params, nil
		}
		other = true
	}
	if other {
		return nil, nil, &graphError{405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target."}
	}
	if len(segs) > 0 && simulated(segs) {
		return nil, nil, &graphError{400, "BadRequest", "Resource not found for the segment '" + segs[len(segs)-1] + "'."}
	}
	return nil, nil, &graphError{501, "notSupported", "The lab does not simulate this path: " + path}
}

// simulated reports whether the lab claims to know everything below a path,
// so that an unknown segment is the caller's mistake.
func simulated(segs []string) bool {
	switch strings.ToLower(segs[0]) {
	case "identityprotection", "auditlogs", "directoryroles":
		return true
	}
	return false
}

func (rt *route) match(segs []string) ([]string, bool) {
	var params []string
	for i, p := range rt.pattern {
		switch {
		case p == "{}":
			if segs[i] == "" || strings.HasPrefix(segs[i], "$") {
				return nil, false
			}
			params = append(params, segs[i])
		case !strings.EqualFold(p, segs[i]):
			return nil, false
		}
	}
	return params, true
}

func segments(path string) ([]string, error) {
	var out []string
	for raw := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		s, err := url.PathUnescape(raw)
		if err != nil {
			return nil, &graphError{400, "BadRequest", "The path cannot be decoded."}
		}
		s = strings.TrimSuffix(s, "()")
		if name, key, ok := strings.Cut(s, "("); ok && strings.HasSuffix(key, ")") && isIdent(name) {
			key = strings.TrimSuffix(key, ")")
			if prop, val, ok := strings.Cut(key, "="); ok {
				key = prop + "=" + strings.Trim(val, "'")
			} else {
				key = strings.Trim(key, "'")
			}
			out = append(out, name, key)
			continue
		}
		for _, ns := range []string{"microsoft.graph.security.", "microsoft.graph."} {
			if len(s) > len(ns) && strings.EqualFold(s[:len(ns)], ns) {
				s = s[len(ns):]
			}
		}
		out = append(out, s)
	}
	return out, nil
}
