package graphsim

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// pageToken is where a listing goes on. It is opaque and signed on the wire,
// and good only for the host and path it was made for.
type pageToken struct {
	Host  string    `json:"h"`
	Path  string    `json:"p"`
	Pos   int       `json:"o"`           // next position in the collection, or next index
	Seq   uint64    `json:"s,omitempty"` // delta: changes after this one come next
	Done  int       `json:"n,omitempty"` // items delivered so far
	Empty bool      `json:"e,omitempty"` // the page before was emptied on purpose
	Query string    `json:"q,omitempty"` // delta: the options of the first call
	Made  time.Time `json:"t,omitzero"`  // delta tokens expire
}

func (t *Tenant) seal(p pageToken) string {
	raw, err := json.Marshal(p)
	if err != nil {
		panic("graphsim: a page token cannot be encoded: " + err.Error()) // plain fields only
	}
	m := hmac.New(sha256.New, t.key)
	m.Write(raw)
	return b64.EncodeToString(append(m.Sum(nil)[:12], raw...))
}

func (t *Tenant) unseal(s string) (pageToken, bool) {
	raw, err := b64.DecodeString(s)
	if err != nil || len(raw) < 12 {
		return pageToken{}, false
	}
	m := hmac.New(sha256.New, t.key)
	m.Write(raw[12:])
	if !hmac.Equal(m.Sum(nil)[:12], raw[:12]) {
		return pageToken{}, false
	}
	var p pageToken
	return p, json.NewDecoder(bytes.NewReader(raw[12:])).Decode(&p) == nil
}

// cursor reads the request's $skiptoken. It refuses one that was made for
// another host or path, as each service knows only its own.
func (c *call) cursor() (pageToken, bool, error) {
	raw := c.q.values.Get("$skiptoken")
	if raw == "" {
		return pageToken{}, false, nil
	}
	p, ok := c.t.unseal(raw)
	if !ok || p.Host != c.host || p.Path != strings.ToLower(c.path) {
		return pageToken{}, false, &graphError{400, "Directory_ExpiredPageToken", "The specified page token value has expired or is invalid."}
	}
	return p, true, nil
}

// nextLink is the URL of the page that a token names. It repeats the query
// of the request, as Graph does.
func (c *call) nextLink(p pageToken) string {
	p.Host, p.Path = c.host, strings.ToLower(c.path)
	v := url.Values{}
	for name, vs := range c.q.values {
		if name != "$skip" {
			v[name] = vs
		}
	}
	v.Set("$skiptoken", c.t.seal(p))
	base := c.base
	if _, ok := c.struck.find("foreign-link"); ok {
		base = "https://graph.invalid"
	}
	return base + "/" + c.version + c.path + "?" + strings.ReplaceAll(v.Encode(), "%24", "$")
}

// source yields the members of a listing from a position on; pos is stable
// and grows in the order of the walk by one at least.
type source func(from int, yield func(pos int, it world.Item) bool)

func (c *call) walk(coll world.Collection, newest bool) source {
	return func(from int, yield func(int, world.Item) bool) {
		if newest {
			// A token of a backward walk holds one above the position to go
			// on from, so that zero means the newest; the world's word for
			// that is -1.
			from--
			c.t.world.WalkBack(coll, from, func(pos int, it world.Item) bool { return yield(pos, it) })
			return
		}
		c.t.world.Walk(coll, from, yield)
	}
}

func fromSlice(items []world.Item) source {
	return func(from int, yield func(int, world.Item) bool) {
		for i := from; i >= 0 && i < len(items); i++ {
			if !yield(i, items[i]) {
				return
			}
		}
	}
}

// listing is a collection being answered.
type listing struct {
	spec   *spec
	src    source
	newest bool
	// render finishes one item; nil uses project.
	render func(world.Item) map[string]any
	// key, if set, finds a member by a property it is indexed by.
	key func(property, value string) (world.Item, bool)
	// context is the metadata path in @odata.context.
	context string
}

// page answers one page of a listing.
func (c *call) page(l listing) (reply, error) {
	tok, more, err := c.cursor()
	if err != nil {
		return reply{}, err
	}
	size := c.q.top
	if size == 0 {
		size = l.spec.top
	}
	if size == 0 {
		size = 1 << 30 // not paged
	}
	src := l.src
	if it, ok := c.byKey(l); ok {
		src = fromSlice(it)
		l.newest = false
	}
	if len(c.q.order) > 0 {
		src = fromSlice(c.sorted(src))
		l.newest = false
	}
	body := map[string]any{"@odata.context": c.contextURL(l.context)}
	if _, hit := c.struck.find("empty-pages"); hit && !tok.Empty {
		tok.Empty = true
		body["value"] = []any{}
		body["@odata.nextLink"] = c.nextLink(tok)
		return reply{status: 200, body: body}, nil
	}
	skip := c.q.skip
	if more {
		skip = 0
	}
	items, next, again := c.collect(src, l.newest, tok.Pos, skip, size)
	value := make([]any, len(items))
	for i, it := range items {
		if l.render != nil {
			value[i] = l.render(it)
		} else {
			value[i] = c.project(l.spec, it)
		}
	}
	body["value"] = value
	if c.q.count {
		body["@odata.count"] = c.countAll(src)
	}
	if again {
		body["@odata.nextLink"] = c.nextLink(pageToken{Pos: next, Done: tok.Done + len(items)})
	}
	return reply{status: 200, body: body}, nil
}

// collect gathers up to size matching items from pos on, and says whether
// another match follows and where to go on.
func (c *call) collect(src source, newest bool, pos, skip, size int) (items []world.Item, next int, more bool) {
	src(pos, func(p int, it world.Item) bool {
		if !c.q.matches(it) {
			return true
		}
		if skip > 0 {
			skip--
			return true
		}
		if len(items) == size {
			more = true
			return false
		}
		items = append(items, it)
		next = p + 1
		if newest {
			next = p // one above the position before p
		}
		return true
	})
	return items, next, more
}

func (q *query) matches(it world.Item) bool {
	return q.filter.match(it) && (q.search == nil || q.search.match(it))
}

func (c *call) countAll(src source) int {
	n := 0
	src(0, func(_ int, it world.Item) bool {
		if c.q.matches(it) {
			n++
		}
		return true
	})
	return n
}

// sorted gathers every match in the order asked for. A page of a sorted
// listing is found again by index, so members that come or go between two
// pages may shift it, as they may in Graph.
func (c *call) sorted(src source) []world.Item {
	var all []world.Item
	src(0, func(_ int, it world.Item) bool {
		if c.q.matches(it) {
			all = append(all, it)
		}
		return true
	})
	slices.SortStableFunc(all, func(a, b world.Item) int {
		for _, k := range c.q.order {
			if d := less(k.path.get(a, nil), k.path.get(b, nil)); d != 0 {
				if k.desc {
					return -d
				}
				return d
			}
		}
		return 0
	})
	return all
}

// byKey answers a filter that pins an indexed property, "id eq '…'" or a
// disjunction or list of such, without walking the collection.
func (c *call) byKey(l listing) ([]world.Item, bool) {
	if l.key == nil || c.q.filter == nil {
		return nil, false
	}
	prop, values, ok := pinned(c.q.filter.root)
	if !ok {
		return nil, false
	}
	var out []world.Item
	seen := map[string]bool{}
	for _, v := range values {
		it, known := l.key(prop, v)
		if known && it == nil {
			continue
		}
		if !known {
			return nil, false
		}
		if !seen[it.ID()] {
			seen[it.ID()] = true
			out = append(out, it)
		}
	}
	return out, true
}

// pinned finds the property and values to which a filter narrows its result:
// every match has one of the values there.
func pinned(n node) (property string, values []string, ok bool) {
	switch n := n.(type) {
	case cmpNode:
		if n.op == "eq" && len(n.path) == 1 && (n.lit.kind == litString || n.lit.kind == litWord) {
			return n.path[0], []string{n.lit.text}, true
		}
	case inNode:
		if len(n.path) != 1 {
			return "", nil, false
		}
		for _, l := range n.lits {
			if l.kind != litString && l.kind != litWord {
				return "", nil, false
			}
			values = append(values, l.text)
		}
		return n.path[0], values, true
	case andNode:
		if p, v, ok := pinned(n.l); ok {
			return p, v, true
		}
		return pinned(n.r)
	case orNode:
		p1, v1, ok1 := pinned(n.l)
		p2, v2, ok2 := pinned(n.r)
		return p1, append(v1, v2...), ok1 && ok2 && p1 == p2
	}
	return "", nil, false
}

// project renders an item with the properties that the request selects.
func (c *call) project(s *spec, it world.Item) map[string]any {
	if c.q.selects == nil {
		return it.Object()
	}
	out := make(map[string]any, len(c.q.selects)+1)
	if t, ok := it.Value("@odata.type"); ok {
		out["@odata.type"] = t
	}
	for _, name := range c.q.selects {
		if v, ok := it.Value(name); ok {
			out[name] = v
		} else {
			out[name] = nil
		}
	}
	return out
}

// contextURL is the value of @odata.context.
func (c *call) contextURL(what string) string {
	sel := ""
	if len(c.q.selects) > 0 {
		sel = "(" + strings.Join(c.q.selects, ",") + ")"
	}
	what, entity := strings.CutSuffix(what, "/$entity")
	if entity {
		sel += "/$entity"
	}
	return c.base + "/" + c.version + "/$metadata#" + what + sel
}
