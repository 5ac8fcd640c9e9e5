package graphsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// list answers GET of a collection.
func list(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		if err := c.mayRead(coll); err != nil {
			return reply{}, err
		}
		s := c.route.spec
		return c.page(listing{
			spec: s, src: c.listed(coll, c.walk(coll, s.newest)), newest: s.newest, context: string(coll),
			render: func(it world.Item) map[string]any { return c.render(coll, s, it) },
			key:    c.keys(coll),
		})
	}
}

// listed leaves out the sign-ins that a list does not show: v1.0 knows interactive
// ones only, and beta shows others when the filter asks for their kind.
func (c *call) listed(coll world.Collection, src source) source {
	if coll != world.SignIns || c.version == "beta" && strings.Contains(strings.ToLower(c.q.values.Get("$filter")), "signineventtypes") {
		return src
	}
	return func(from int, yield func(int, world.Item) bool) {
		src(from, func(pos int, it world.Item) bool {
			if v, _ := it.Value("isInteractive"); v != true {
				return true
			}
			return yield(pos, it)
		})
	}
}

// keys returns the look-up by indexed property of a collection.
func (c *call) keys(coll world.Collection) func(string, string) (world.Item, bool) {
	return func(property, value string) (world.Item, bool) {
		var it world.Item
		var ok bool
		switch {
		case property == "id", property == "userPrincipalName" && coll == world.Users:
			it, ok = c.t.world.Get(coll, value)
		case property == "appId" && (coll == world.ServicePrincipals || coll == world.Applications),
			property == "deviceId" && coll == world.Devices,
			property == "roleTemplateId" && coll == world.DirectoryRoles:
			it, ok = c.t.world.GetBy(coll, property, value)
		default:
			return nil, false
		}
		if !ok {
			return nil, true
		}
		return it, true
	}
}

// mayRead checks what a permission shows beyond admitting to the path.
func (c *call) mayRead(coll world.Collection) error {
	if coll != world.Users {
		return nil
	}
	roles := c.sess.roles
	full := slices.ContainsFunc(strings.Fields(readUsers), func(p string) bool { return slices.Contains(roles, p) })
	if !full {
		if _, beyond := beyondBasic(c.q.selects); beyond {
			return &graphError{403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."}
		}
	}
	if slices.Contains(c.q.selects, "signInActivity") && !slices.Contains(roles, "AuditLog.Read.All") {
		return &graphError{403, "Authentication_MSGraphPermissionMissing", "Calling principal does not have required MSGraph permissions AuditLog.Read.All"}
	}
	return nil
}

// render shows one member: what the query selects, or what the service sends
// by default, with expansions.
func (c *call) render(coll world.Collection, s *spec, it world.Item) map[string]any {
	var out map[string]any
	if def := world.DefaultProperties(coll); c.q.selects == nil && def != nil {
		out = make(map[string]any, len(def))
		for _, p := range def {
			out[p], _ = it.Value(p)
		}
	} else {
		out = c.project(s, it)
	}
	if coll == world.SignIns && c.version != "beta" {
		out = maps.Clone(out)
		delete(out, "signInEventTypes") // v1.0 does not have it
	}
	if len(c.q.expand) == 0 {
		return out
	}
	full := make(map[string]any, len(out)+len(c.q.expand))
	for k, v := range out {
		full[k] = v
	}
	for _, e := range c.q.expand {
		full[e] = c.expanded(coll, it, e)
	}
	return full
}

func (c *call) expanded(coll world.Collection, it world.Item, name string) any {
	switch name {
	case "principal":
		id, _ := it.Value("principalId")
		if kind, p, ok := c.t.world.DirectoryObject(fmt.Sprint(id)); ok {
			return typed(kind, p.Object())
		}
		return nil
	case "roleDefinition":
		id, _ := it.Value("roleDefinitionId")
		if d, ok := c.t.world.Get(world.RoleDefinitions, fmt.Sprint(id)); ok {
			return d.Object()
		}
		return nil
	}
	items, err := c.t.world.Related(coll, it.ID(), name)
	out := []any{}
	if err == nil {
		for _, x := range items {
			out = append(out, x.Object())
		}
	}
	return out
}

// typed adds @odata.type to a directory object, as mixed lists carry it.
func typed(kind world.Collection, o map[string]any) map[string]any {
	if _, ok := o["@odata.type"]; ok {
		return o
	}
	name := ""
	switch kind {
	case world.Users, world.Groups, world.Devices, world.ServicePrincipals, world.Applications, world.DirectoryRoles:
		name = strings.TrimSuffix(string(kind), "s")
	default:
		return o
	}
	out := make(map[string]any, len(o)+1)
	for k, v := range o {
		out[k] = v
	}
	out["@odata.type"] = "#microsoft.graph." + name
	return out
}

// countOnly answers GET …/$count: a number as plain text.
func countOnly(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		if c.route.spec.advanced && !strings.EqualFold(c.header.Get("ConsistencyLevel"), "eventual") {
			return reply{}, &graphError{400, "Request_BadRequest", "$count is not currently supported."}
		}
		n := c.countAll(c.walk(coll, false))
		return reply{status: 200, text: fmt.Sprint(n)}, nil
	}
}

// one answers GET of a member.
func one(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		if err := c.mayRead(coll); err != nil {
			return reply{}, err
		}
		it, err := c.get(coll, c.params[0])
		if err != nil {
			return reply{}, err
		}
		return c.single(string(coll), c.render(coll, c.route.spec, it)), nil
	}
}

func (c *call) get(coll world.Collection, key string) (world.Item, error) {
	var it world.Item
	var ok bool
	if prop, val, byProp := strings.Cut(key, "="); byProp {
		it, ok = c.t.world.GetBy(coll, prop, val)
	} else {
		it, ok = c.t.world.Get(coll, key)
	}
	if !ok {
		code := "Request_ResourceNotFound"
		if c.route.class != classDirectory {
			code = "ResourceNotFound"
		}
		return nil, &graphError{404, code, "Resource '" + key + "' does not exist or one of its queried reference-property objects are not present."}
	}
	return it, nil
}

func (c *call) single(context string, o map[string]any) reply {
	return reply{status: 200, body: c.withContext(context+"/$entity", o)}
}

// withContext copies o and adds @odata.context.
func (c *call) withContext(context string, o map[string]any) map[string]any {
	out := make(map[string]any, len(o)+1)
	for k, v := range o {
		out[k] = v
	}
	out["@odata.context"] = c.contextURL(context)
	return out
}

// related answers GET of a relation.
func related(coll world.Collection, relation string) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		items, err := c.t.world.Related(coll, c.params[0], relation)
		if err != nil {
			return reply{}, err
		}
		return c.page(listing{
			spec: c.route.spec, src: fromSlice(items), context: relationContext(coll, c.params[0], relation),
			render: func(it world.Item) map[string]any {
				o := c.project(c.route.spec, it)
				if kind, ok := world.CollectionOf(it); ok {
					o = typed(kind, o)
				}
				return o
			},
		})
	}
}

func relationContext(coll world.Collection, id, relation string) string {
	switch relation {
	case world.AppRoleAssignments, world.AppRoleAssignedTo:
		return "appRoleAssignments"
	case world.PermissionGrants:
		return "oauth2PermissionGrants"
	case world.History, world.AuthenticationMethods, world.SensorHealthIssues:
		return string(coll) + "('" + id + "')/" + relation
	}
	return "directoryObjects"
}

func manager(c *call) (reply, error) {
	items, err := c.t.world.Related(world.Users, c.params[0], world.Manager)
	if err != nil {
		return reply{}, err
	}
	if len(items) == 0 {
		return reply{}, &graphError{404, "Request_ResourceNotFound", "Resource 'manager' does not exist or one of its queried reference-property objects are not present."}
	}
	return c.single("directoryObjects", typed(world.Users, c.render(world.Users, c.route.spec, items[0]))), nil
}

// historyItem answers one item of a risk history.
func historyItem(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		items, err := c.t.world.Related(coll, c.params[0], world.History)
		if err != nil {
			return reply{}, err
		}
		for _, it := range items {
			if it.ID() == c.params[1] {
				return c.single(relationContext(coll, c.params[0], world.History), c.project(c.route.spec, it)), nil
			}
		}
		return reply{}, &graphError{404, "ResourceNotFound", "History item '" + c.params[1] + "' was not found."}
	}
}

// deltaLife is how long a delta token of a directory object lives.
const deltaLife = 7 * 24 * time.Hour

// delta answers /users/delta and /groups/delta: the whole collection first,
// then what changed since the token.
func delta(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		tok, err := c.deltaToken()
		if err != nil {
			return reply{}, err
		}
		size := c.q.top
		if size == 0 {
			size = c.route.spec.top
		}
		value := []any{}
		last, more := tok.Seq, false
		err = c.t.world.Changes(coll, tok.Seq, func(ch world.Change) bool {
			if len(value) == size {
				more = true
				return false
			}
			last = ch.Seq
			switch {
			case ch.Removed && tok.Done > 0:
				value = append(value, map[string]any{"id": ch.ID, "@removed": map[string]any{"reason": "changed"}})
			case !ch.Removed && c.q.filter.match(ch.Item):
				o := c.render(coll, c.route.spec, ch.Item)
				if _, ok := o["id"]; !ok { // delta always sends the id
					o["id"] = ch.ID
				}
				value = append(value, o)
			}
			return true
		})
		if err != nil {
			return reply{}, err
		}
		body := map[string]any{"@odata.context": c.contextURL(string(coll)), "value": value}
		next := pageToken{Host: c.host, Path: strings.ToLower(c.path), Seq: last, Done: tok.Done, Query: tok.Query, Made: c.now.UTC()}
		link, param := "@odata.nextLink", "$skiptoken"
		if !more {
			link, param = "@odata.deltaLink", "$deltatoken"
			next.Done = 1 // a whole round is through: from now on removals count
		}
		body[link] = c.base + "/" + c.version + c.path + "?" + param + "=" + c.t.seal(next)
		return reply{status: 200, body: body}, nil
	}
}

// deltaToken reads the token of a delta request; a first request has none.
// The options of the first request are kept in the token.
func (c *call) deltaToken() (pageToken, error) {
	raw := c.q.values.Get("$deltatoken")
	if raw == "" {
		raw = c.q.values.Get("$skiptoken")
	}
	if raw == "" {
		if c.q.filter != nil {
			p, ids, ok := pinned(c.q.filter.root)
			if !ok || p != "id" || len(ids) > 50 {
				return pageToken{}, badQuery("The delta query supports $filter on id only, with at most 50 values.")
			}
		}
		return pageToken{Query: c.rawQuery}, nil
	}
	if raw == "latest" {
		tok := pageToken{Query: c.rawQuery, Done: 1}
		see := func(ch world.Change) bool { tok.Seq = ch.Seq; return true }
		// The first walk shows who is there, the second also who has left.
		err := errors.Join(c.t.world.Changes(c.coll(), 0, see), c.t.world.Changes(c.coll(), tok.Seq, see))
		return tok, err
	}
	tok, ok := c.t.unseal(raw)
	if !ok || tok.Path != strings.ToLower(c.path) {
		return tok, &graphError{400, "Directory_InvalidDeltaToken", "Badly formed token."}
	}
	if c.now.Sub(tok.Made) > deltaLife {
		return tok, &graphError{410, "syncStateNotFound", "The sync state generation is not found; a full synchronization is required."}
	}
	values, err := url.ParseQuery(tok.Query)
	if err != nil {
		return tok, &graphError{400, "Directory_InvalidDeltaToken", "Badly formed token."}
	}
	values.Del("$deltatoken")
	c.q, err = parseQuery(values.Encode(), c.route.spec, false)
	return tok, err
}

func (c *call) coll() world.Collection {
	return world.Collection(strings.ToLower(c.route.pattern[0]))
}

// body decodes a JSON body into v. An empty or unreadable body is 400.
func (c *call) decode(v any) error {
	if len(c.body) == 0 {
		return &graphError{400, "BadRequest", "Empty Payload. JSON content expected."}
	}
	if ct := c.header.Get("Content-Type"); !strings.HasPrefix(strings.ToLower(ct), "application/json") {
		return &graphError{415, "RequestBodyRead", "The Content-Type '" + ct + "' is not supported; send application/json."}
	}
	d := json.NewDecoder(strings.NewReader(string(c.body)))
	if err := d.Decode(v); err != nil {
		return &graphError{400, "BadRequest", "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format."}
	}
	if d.More() {
		return &graphError{400, "BadRequest", "Unable to read JSON request payload. There is text after its end."}
	}
	return nil
}
