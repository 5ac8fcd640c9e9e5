package graphsim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The limits of what a filter may look like. They keep a hostile filter from
// costing more than a page: Graph answers 400 beyond limits of its own, which
// are not published.
const (
	maxFilterLen   = 16 << 10
	maxFilterDepth = 64
	maxFilterNodes = 2000
	// Each nested lambda multiplies the work by the length of its collection.
	maxLambdaDepth = 2
)

// A filter is a parsed $filter expression. Its shape is a tree of nodes:
// and, or, not, comparisons, in, the string functions and any/all.
type filter struct {
	root node
	// ops lists each property path with each operator that the text uses on
	// it, so that an endpoint can refuse what its page does not document.
	ops []use
}

// use is one property under one operator. A function's name is its operator.
type use struct {
	path string // joined with "/"; a lambda's variable is replaced by its collection
	op   string
}

// node is one part of a filter.
type node interface {
	// eval says whether the object meets the node. vars holds the lambda
	// variables in scope.
	eval(obj valuer, vars map[string]any) bool
}

type (
	andNode struct{ l, r node }
	orNode  struct{ l, r node }
	notNode struct{ n node }
	// cmpNode compares a property with a literal.
	cmpNode struct {
		path path
		op   string
		lit  literal
	}
	inNode struct {
		path path
		lits []literal
	}
	// callNode is startswith, endswith or contains.
	callNode struct {
		fn   string
		path path
		arg  string
	}
	// boolNode is a bare Boolean property, as in "accountEnabled and …".
	boolNode struct{ path path }
	// lambdaNode is any or all over a collection.
	lambdaNode struct {
		path path
		all  bool
		name string
		body node // nil for "any()"
	}
)

// path names a property: its first segment may be a lambda variable.
type path []string

func (p path) String() string { return strings.Join(p, "/") }

// literal is a constant of the expression.
type literal struct {
	kind litKind
	text string // string, word and enum: the text; number and time: as written
	num  float64
	at   time.Time
	head string // of a time: its whole second in UTC, to compare as text
	b    bool
}

type litKind int

const (
	litNull litKind = iota
	litBool
	litString // quoted
	litNumber
	litTime
	litWord // a bare GUID
)

// parseFilter parses the text of $filter. The error is worded as Graph words
// its own: it is meant for the message of a 400.
func parseFilter(s string) (*filter, error) {
	if len(s) > maxFilterLen {
		return nil, filterErr("the filter is longer than %d characters", maxFilterLen)
	}
	if !utf8.ValidString(s) {
		return nil, filterErr("the text is not valid UTF-8")
	}
	p := &filterParser{lex: lexer{s: s}, vars: map[string]string{}}
	p.next()
	n, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokEnd {
		return nil, filterErr("syntax error at position %d in '%s'", p.tok.pos, s)
	}
	return &filter{root: n, ops: p.ops}, nil
}

// match says whether the object meets the filter. A nil filter matches all.
func (f *filter) match(obj valuer) bool {
	return f == nil || f.root.eval(obj, nil)
}

// badQuery is a mistake in a query option. Its text is the message of a 400,
// worded as Graph words it.
type badQuery string

func (e badQuery) Error() string { return string(e) }

func filterErr(format string, args ...any) error {
	return badQuery("Invalid filter clause: " + fmt.Sprintf(format, args...) + ".")
}

type filterParser struct {
	lex   lexer
	tok   token
	vars  map[string]string // lambda variable → collection path
	ops   []use
	nodes int
}

func (p *filterParser) next() { p.tok = p.lex.next() }

func (p *filterParser) isWord(w string) bool {
	return p.tok.kind == tokWord && strings.EqualFold(p.tok.text, w)
}

func (p *filterParser) or(depth int) (node, error) {
	l, err := p.and(depth)
	if err != nil {
		return nil, err
	}
	for p.isWord("or") {
		p.next()
		r, err := p.and(depth)
		if err != nil {
			return nil, err
		}
		l = orNode{l, r}
	}
	return l, nil
}

func (p *filterParser) and(depth int) (node, error) {
	l, err := p.unary(depth)
	if err != nil {
		return nil, err
	}
	for p.isWord("and") {
		p.next()
		r, err := p.unary(depth)
		if err != nil {
			return nil, err
		}
		l = andNode{l, r}
	}
	return l, nil
}

func (p *filterParser) unary(depth int) (node, error) {
	if depth > maxFilterDepth {
		return nil, filterErr("the filter is nested deeper than %d levels", maxFilterDepth)
	}
	if p.nodes++; p.nodes > maxFilterNodes {
		return nil, filterErr("the filter has more than %d terms", maxFilterNodes)
	}
	switch {
	case p.isWord("not"):
		p.next()
		n, err := p.unary(depth + 1)
		if err != nil {
			return nil, err
		}
		p.ops = append(p.ops, use{op: "not"})
		return notNode{n}, nil
	case p.tok.kind == tokOpen:
		p.next()
		n, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		return n, p.expect(tokClose, ")")
	case p.tok.kind == tokWord:
		return p.term(depth)
	}
	return nil, p.unexpected()
}

func (p *filterParser) unexpected() error {
	switch p.tok.kind {
	case tokEnd:
		return filterErr("the filter ends where a term was expected")
	case tokBad:
		return filterErr("%s at position %d", p.tok.text, p.tok.pos)
	}
	return filterErr("unexpected '%s' at position %d", p.tok.text, p.tok.pos)
}

func (p *filterParser) expect(k tokKind, what string) error {
	if p.tok.kind != k {
		if p.tok.kind == tokEnd {
			return filterErr("'%s' is missing at the end", what)
		}
		return p.unexpected()
	}
	p.next()
	return nil
}

// term parses what begins with a name: a function, a lambda or a comparison.
func (p *filterParser) term(depth int) (node, error) {
	name := p.tok.text
	p.next()
	if p.tok.kind == tokOpen {
		switch fn := strings.ToLower(name); fn {
		case "startswith", "endswith", "contains":
			return p.call(fn)
		}
		return p.lambda(name, depth)
	}
	pt, err := p.path(name)
	if err != nil {
		return nil, err
	}
	if p.tok.kind == tokWord {
		switch op := strings.ToLower(p.tok.text); op {
		case "eq", "ne", "gt", "ge", "lt", "le", "has":
			p.next()
			lit, err := p.literal()
			if err != nil {
				return nil, err
			}
			p.use(pt, op)
			return cmpNode{pt, op, lit}, nil
		case "in":
			p.next()
			return p.in(pt)
		case "and", "or":
		default:
			return nil, filterErr("'%s' is not an operator (position %d)", p.tok.text, p.tok.pos)
		}
	}
	p.use(pt, "eq")
	return boolNode{pt}, nil
}

// path checks the segments of a name and resolves nothing yet.
func (p *filterParser) path(name string) (path, error) {
	pt := path(strings.Split(name, "/"))
	for _, s := range pt {
		if !isIdent(s) {
			return nil, filterErr("'%s' is not a property path", name)
		}
	}
	return pt, nil
}

// isIdent reports whether s can be the name of a property; "$count" is one.
func isIdent(s string) bool {
	if s == "$count" {
		return true
	}
	if s == "" {
		return false
	}
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_':
		case i > 0 && (r >= '0' && r <= '9' || r == '.'):
		default:
			return false
		}
	}
	return true
}

// use notes a property and an operator for the endpoint's check.
func (p *filterParser) use(pt path, op string) {
	full := pt.String()
	if coll, ok := p.vars[pt[0]]; ok {
		full = strings.Join(append([]string{coll}, pt[1:]...), "/")
	}
	p.ops = append(p.ops, use{full, op})
}

func (p *filterParser) call(fn string) (node, error) {
	p.next() // the bracket
	if p.tok.kind != tokWord {
		return nil, p.unexpected()
	}
	pt, err := p.path(p.tok.text)
	if err != nil {
		return nil, err
	}
	p.next()
	if err := p.expect(tokComma, ","); err != nil {
		return nil, err
	}
	lit, err := p.literal()
	if err != nil {
		return nil, err
	}
	if lit.kind != litString {
		return nil, filterErr("the second argument of %s must be a string", fn)
	}
	if err := p.expect(tokClose, ")"); err != nil {
		return nil, err
	}
	// "startswith(x,'y') eq true" is the older spelling of the same.
	n := node(callNode{fn, pt, lit.text})
	if p.isWord("eq") {
		p.next()
		lit, err := p.literal()
		if err != nil {
			return nil, err
		}
		if lit.kind != litBool {
			return nil, filterErr("%s must be compared with true or false", fn)
		}
		if !lit.b {
			n = notNode{n}
			p.ops = append(p.ops, use{op: "not"})
		}
	}
	p.use(pt, fn)
	return n, nil
}

func (p *filterParser) lambda(name string, depth int) (node, error) {
	coll, kind, ok := cutLast(name, "/")
	kind = strings.ToLower(kind)
	if !ok || kind != "any" && kind != "all" {
		return nil, filterErr("'%s' is not a function that is supported", name)
	}
	pt, err := p.path(coll)
	if err != nil {
		return nil, err
	}
	p.next() // the bracket
	if p.tok.kind == tokClose && kind == "any" {
		p.next()
		p.use(pt, kind)
		return lambdaNode{path: pt}, nil
	}
	if p.tok.kind != tokWord || !isIdent(p.tok.text) {
		return nil, p.unexpected()
	}
	v := p.tok.text
	p.next()
	if err := p.expect(tokColon, ":"); err != nil {
		return nil, err
	}
	if len(p.vars) >= maxLambdaDepth {
		return nil, filterErr("any and all are nested deeper than %d levels", maxLambdaDepth)
	}
	if _, taken := p.vars[v]; taken {
		return nil, filterErr("the variable '%s' is used twice", v)
	}
	full := coll
	if outer, ok := p.vars[pt[0]]; ok {
		full = strings.Join(append([]string{outer}, pt[1:]...), "/")
	}
	p.vars[v] = full
	body, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	delete(p.vars, v)
	if err := p.expect(tokClose, ")"); err != nil {
		return nil, err
	}
	p.use(pt, kind)
	return lambdaNode{path: pt, all: kind == "all", name: v, body: body}, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (p *filterParser) in(pt path) (node, error) {
	if err := p.expect(tokOpen, "("); err != nil {
		return nil, err
	}
	var lits []literal
	for {
		if p.nodes++; p.nodes > maxFilterNodes {
			return nil, filterErr("the filter has more than %d terms", maxFilterNodes)
		}
		lit, err := p.literal()
		if err != nil {
			return nil, err
		}
		lits = append(lits, lit)
		if p.tok.kind != tokComma {
			break
		}
		p.next()
	}
	if err := p.expect(tokClose, ")"); err != nil {
		return nil, err
	}
	p.use(pt, "in")
	return inNode{pt, lits}, nil
}

// literal reads a constant: a quoted string, a number, true, false, null, a
// date, a GUID, or the typed enum form namespace.type'member'.
func (p *filterParser) literal() (literal, error) {
	t := p.tok
	switch t.kind {
	case tokString:
		p.next()
		return literal{kind: litString, text: t.text}, nil
	case tokWord:
		p.next()
		// The typed form: a qualified name with a string directly behind it.
		if p.tok.kind == tokString && p.tok.pos == t.pos+len(t.text) && strings.Contains(t.text, ".") {
			s := p.tok.text
			p.next()
			return literal{kind: litString, text: s}, nil
		}
		return wordLiteral(t)
	}
	return literal{}, p.unexpected()
}

func wordLiteral(t token) (literal, error) {
	switch strings.ToLower(t.text) {
	case "null":
		return literal{kind: litNull}, nil
	case "true", "false":
		return literal{kind: litBool, b: strings.EqualFold(t.text, "true")}, nil
	}
	if at, ok := parseTime(t.text); ok {
		return literal{kind: litTime, text: t.text, at: at, head: at.Format("2006-01-02T15:04:05")}, nil
	}
	if f, err := strconv.ParseFloat(t.text, 64); err == nil && !strings.ContainsAny(t.text, "xXpPnN_") {
		return literal{kind: litNumber, text: t.text, num: f}, nil
	}
	if isGUID(t.text) {
		return literal{kind: litWord, text: t.text}, nil
	}
	return literal{}, filterErr("'%s' at position %d is not a value; a string needs single quotes", t.text, t.pos)
}

// parseTime reads the ISO 8601 forms that Graph accepts in a filter: a
// moment with up to nine fraction digits, or a bare date.
func parseTime(s string) (time.Time, bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return time.Time{}, false
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), true
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, true
	}
	return time.Time{}, false
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}
