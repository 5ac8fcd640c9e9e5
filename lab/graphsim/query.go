package graphsim

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query is the system query options of a read, checked.
type query struct {
	values  url.Values
	selects []string // as written; nil means no $select
	filter  *filter
	text    string // of $filter
	top     int    // 0 when absent
	skip    int
	order   []orderKey
	count   bool
	expand  []string
	search  *search
}

type orderKey struct {
	path path
	desc bool
}

// search is a $search of one "property:words" clause.
type search struct{ property, words string }

// spec is what one collection documents: its type, paging, and which options
// it takes. Everything else is 400.
type spec struct {
	typ     string // for property names, see schema.go
	top     int    // default page size
	max     int    // largest $top
	strict  bool   // a larger $top is 400; else it is lowered to max
	filters filterTable
	orders  []string
	skip    bool
	count   bool
	selects bool
	expands []string
	// advanced marks directory objects, where some operators need
	// ConsistencyLevel: eventual with $count=true.
	advanced bool
	newest   bool // natural order is newest first

	beta *spec // what the beta version takes instead; nil: the same

	props map[string]bool // of typ; filled when the router is made
}

// Operators that only advanced queries take, on directory objects.
var advancedOps = []string{"ne", "not", "endswith", "contains"}

// parseQuery reads the options of a request against what the collection
// documents. The error's text is Graph's message for a 400.
func parseQuery(raw string, s *spec, eventual bool) (query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return query{}, badQuery("The query string cannot be read: " + err.Error() + ".")
	}
	q := query{values: values}
	for name, vs := range values {
		if strings.HasPrefix(name, "$") && len(vs) > 1 {
			return q, badQuery(fmt.Sprintf("Query option '%s' was specified more than once, but it must be specified at most once.", name))
		}
		if err := q.option(strings.ToLower(name), vs[0], s); err != nil {
			return q, err
		}
	}
	if q.filter != nil {
		if err := q.checkFilter(s, eventual); err != nil {
			return q, err
		}
	}
	if len(q.order) > 0 && q.filter != nil && s.advanced && !(eventual && q.count) {
		return q, unsupported("Sorting together with filtering")
	}
	if q.search != nil && !(eventual && s.advanced) {
		return q, unsupported("Request with $search query parameter")
	}
	return q, nil
}

func unsupported(what string) error {
	return &graphError{400, "Request_UnsupportedQuery", what + " only works through MSGraph with a special request header: 'ConsistencyLevel: eventual' and $count=true."}
}

func (q *query) option(name, v string, s *spec) error {
	switch name {
	case "$select":
		return q.parseSelect(v, s)
	case "$filter":
		if len(s.filters) == 0 {
			return notAllowed("$filter")
		}
		f, err := parseFilter(v)
		q.filter, q.text = f, v
		return err
	case "$top":
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || s.strict && n > s.max {
			return badQuery(fmt.Sprintf("Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", v, s.max))
		}
		if s.top == 0 {
			return notAllowed("$top")
		}
		q.top = min(n, s.max)
	case "$skip":
		n, err := strconv.Atoi(v)
		if !s.skip {
			return notAllowed("$skip")
		}
		if err != nil || n < 0 {
			return badQuery(fmt.Sprintf("Invalid value '%s' for $skip query option found. The $skip query option requires a non-negative integer value.", v))
		}
		q.skip = n
	case "$count":
		b, err := strconv.ParseBool(v)
		if err != nil {
			return badQuery(fmt.Sprintf("Invalid value '%s' for $count query option found. Valid values are 'true' and 'false'.", v))
		}
		if b && !s.count {
			return notAllowed("$count")
		}
		q.count = b
	case "$orderby":
		return q.parseOrder(v, s)
	case "$expand":
		return q.parseExpand(v, s)
	case "$search":
		return q.parseSearch(v, s)
	case "$skiptoken", "$deltatoken":
		// Read by the page, which knows what it must fit.
	default:
		if strings.HasPrefix(name, "$") {
			return badQuery(fmt.Sprintf("The query parameter '%s' is not supported.", name))
		}
	}
	return nil
}

func notAllowed(option string) error {
	return badQuery(fmt.Sprintf("The query specified in the URI is not valid. Query option '%s' is not allowed. To allow it, set the 'AllowedQueryOptions' property on EnableQueryAttribute or QueryValidationSettings.", option))
}

func noProperty(name, typ string) error {
	return badQuery(fmt.Sprintf("Could not find a property named '%s' on type 'microsoft.graph.%s'.", name, typ))
}

func (q *query) parseSelect(v string, s *spec) error {
	if !s.selects {
		return notAllowed("$select")
	}
	q.selects = []string{}
	for name := range strings.SplitSeq(v, ",") {
		name = strings.TrimSpace(name)
		if name == "*" {
			q.selects = nil
			return nil
		}
		top, _, _ := strings.Cut(name, "/")
		real, ok := propertyNamed(s.props, top)
		if !ok {
			return badQuery("Parsing OData Select and Expand failed: " + noProperty(name, s.typ).Error())
		}
		if !slices.Contains(q.selects, real) {
			q.selects = append(q.selects, real)
		}
	}
	return nil
}

// propertyNamed finds a property without regard to case, as Graph does for
// the names in a query.
func propertyNamed(props map[string]bool, name string) (string, bool) {
	if props[name] {
		return name, true
	}
	for p := range props {
		if strings.EqualFold(p, name) {
			return p, true
		}
	}
	return "", false
}

func (q *query) parseOrder(v string, s *spec) error {
	if len(s.orders) == 0 {
		return notAllowed("$orderby")
	}
	for part := range strings.SplitSeq(v, ",") {
		f := strings.Fields(part)
		if len(f) == 0 || len(f) > 2 || len(f) == 2 && f[1] != "asc" && f[1] != "desc" {
			return badQuery(fmt.Sprintf("Syntax error in the $orderby clause '%s'.", v))
		}
		i := slices.IndexFunc(s.orders, func(o string) bool { return strings.EqualFold(o, f[0]) })
		if i < 0 {
			return badQuery(fmt.Sprintf("The property '%s' cannot be used in the $orderby query option.", f[0]))
		}
		q.order = append(q.order, orderKey{strings.Split(s.orders[i], "/"), len(f) == 2 && f[1] == "desc"})
	}
	return nil
}

func (q *query) parseExpand(v string, s *spec) error {
	if len(s.expands) == 0 {
		return notAllowed("$expand")
	}
	for name := range strings.SplitSeq(v, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(s.expands, name) {
			return badQuery("Parsing OData Select and Expand failed: " + noProperty(name, s.typ).Error())
		}
		q.expand = append(q.expand, name)
	}
	return nil
}

func (q *query) parseSearch(v string, s *spec) error {
	if !s.advanced {
		return notAllowed("$search")
	}
	inner, ok := strings.CutPrefix(strings.TrimSpace(v), `"`)
	inner, ok2 := strings.CutSuffix(inner, `"`)
	prop, words, ok3 := strings.Cut(inner, ":")
	real, known := propertyNamed(s.props, prop)
	if !ok || !ok2 || !ok3 || strings.Contains(inner, `"`) {
		return badQuery("Syntax error in the $search clause: expected \"property:words\".")
	}
	if !known {
		return noProperty(prop, s.typ)
	}
	q.search = &search{real, words}
	return nil
}

// match reports whether a property has the words: each must begin a word of
// it. Graph's tokens are a little finer; see its page on $search.
func (s *search) match(o valuer) bool {
	v, _ := o.Value(s.property)
	text, ok := v.(string)
	if !ok {
		return false
	}
	have := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return strings.ContainsRune(" .-_@,'", r) })
	for _, w := range strings.Fields(strings.ToLower(s.words)) {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, w) }) {
			return false
		}
	}
	return true
}

// checkFilter holds each property and operator against the documentation.
func (q *query) checkFilter(s *spec, eventual bool) error {
	for _, u := range q.filter.ops {
		if s.advanced && slices.Contains(advancedOps, u.op) && !(eventual && q.count) {
			return unsupported("Operator '" + u.op + "'")
		}
		if u.path == "" {
			continue // not: it has no property of its own
		}
		ops, ok := s.filters[u.path]
		if !ok {
			top, _, _ := strings.Cut(u.path, "/")
			if !s.props[top] {
				return badQuery("Invalid filter clause: " + noProperty(u.path, s.typ).Error())
			}
			return badQuery(fmt.Sprintf("Invalid filter clause: The property '%s' cannot be used in the $filter query option.", u.path))
		}
		if !slices.Contains(strings.Fields(ops), u.op) {
			return badQuery(fmt.Sprintf("Invalid filter clause: Operator '%s' is not supported for property '%s'.", u.op, u.path))
		}
	}
	return nil
}
