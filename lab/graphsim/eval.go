package graphsim

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// valuer is what a filter looks at: a world.Item is one.
type valuer interface {
	Value(property string) (v any, ok bool)
}

// object is a JSON object as a valuer.
type object map[string]any

// Value returns a top-level property.
func (o object) Value(p string) (any, bool) {
	v, ok := o[p]
	return v, ok
}

func (n andNode) eval(o valuer, v map[string]any) bool { return n.l.eval(o, v) && n.r.eval(o, v) }
func (n orNode) eval(o valuer, v map[string]any) bool  { return n.l.eval(o, v) || n.r.eval(o, v) }
func (n notNode) eval(o valuer, v map[string]any) bool { return !n.n.eval(o, v) }

func (n cmpNode) eval(o valuer, v map[string]any) bool { return compare(n.path.get(o, v), n.op, n.lit) }

func (n inNode) eval(o valuer, v map[string]any) bool {
	val := n.path.get(o, v)
	return slices.ContainsFunc(n.lits, func(l literal) bool { return compare(val, "eq", l) })
}

func (n boolNode) eval(o valuer, v map[string]any) bool {
	b, ok := n.path.get(o, v).(bool)
	return ok && b
}

// eval compares without case, as directory strings do.
func (n callNode) eval(o valuer, v map[string]any) bool {
	s, ok := n.path.get(o, v).(string)
	if !ok {
		return false
	}
	s, arg := strings.ToLower(s), strings.ToLower(n.arg)
	switch n.fn {
	case "startswith":
		return strings.HasPrefix(s, arg)
	case "endswith":
		return strings.HasSuffix(s, arg)
	default:
		return strings.Contains(s, arg)
	}
}

func (n lambdaNode) eval(o valuer, v map[string]any) bool {
	items := elements(n.path.get(o, v))
	if n.body == nil {
		return len(items) > 0
	}
	vars := make(map[string]any, len(v)+1)
	for k, val := range v {
		vars[k] = val
	}
	for _, it := range items {
		vars[n.name] = it
		if n.body.eval(o, vars) != n.all {
			return !n.all
		}
	}
	return n.all
}

// elements returns the members of a JSON array in any of the Go shapes the
// world uses for it.
func elements(v any) []any {
	switch a := v.(type) {
	case []any:
		return a
	case []string:
		out := make([]any, len(a))
		for i, s := range a {
			out[i] = s
		}
		return out
	case []map[string]any:
		out := make([]any, len(a))
		for i, m := range a {
			out[i] = m
		}
		return out
	}
	return nil
}

// get follows the path; a missing step gives nil. The first segment may be a
// lambda variable. Names below the first match exactly,
// then without case.
func (p path) get(obj valuer, vars map[string]any) any {
	cur, ok := vars[p[0]]
	if !ok {
		cur, _ = obj.Value(p[0])
	}
	rest := p[1:]
	for _, seg := range rest {
		if seg == "$count" {
			cur = float64(len(elements(cur)))
			continue
		}
		m, ok := cur.(map[string]any)
		if !ok {
			return nil
		}
		cur = lookup(m, seg)
	}
	return cur
}

func lookup(m map[string]any, name string) any {
	if v, ok := m[name]; ok {
		return v
	}
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

// compare applies the operator. Values of different kinds are never equal;
// null compares only by eq and ne. Strings and enum members compare without
// case.
func compare(v any, op string, l literal) bool {
	if l.kind == litNull || v == nil {
		isNull := v == nil && l.kind == litNull
		switch op {
		case "eq":
			return isNull
		case "ne":
			return !isNull
		}
		return false
	}
	c, ok := order(v, l)
	if !ok {
		return op == "ne"
	}
	switch op {
	case "eq", "has":
		return c == 0
	case "ne":
		return c != 0
	case "gt":
		return c > 0
	case "ge":
		return c >= 0
	case "lt":
		return c < 0
	default: // le: the parser lets no other operator through
		return c <= 0
	}
}

// order compares a value with a literal; ok is false when they cannot be.
func order(v any, l literal) (c int, ok bool) {
	switch x := v.(type) {
	case string:
		if l.kind == litTime {
			// The world writes UTC: most moments differ in their whole second,
			// which the text alone tells, and a poll walks thousands of them.
			if len(x) >= 20 && x[10] == 'T' && x[len(x)-1] == 'Z' {
				if c := cmp.Compare(x[:19], l.head); c != 0 {
					return c, true
				}
			}
			at, ok := parseTime(x)
			return at.Compare(l.at), ok
		}
		if l.kind == litString || l.kind == litWord {
			// Dates in quotes are accepted where a date is stored.
			if at, isTime := parseTime(x); isTime {
				if want, ok := parseTime(l.text); ok {
					return at.Compare(want), true
				}
			}
			return cmp.Compare(strings.ToLower(x), strings.ToLower(l.text)), true
		}
	case bool:
		if l.kind == litBool {
			if x == l.b {
				return 0, true
			}
			return 1, true
		}
	case time.Time:
		if l.kind == litTime {
			return x.Compare(l.at), true
		}
	default:
		if f, isNum := number(v); isNum && l.kind == litNumber {
			return cmp.Compare(f, l.num), true
		}
	}
	return 0, false
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case float64:
		return n, true
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	}
	return 0, false
}

// less orders two property values for $orderby: null first, then by kind.
func less(a, b any) int {
	if a == nil || b == nil {
		switch {
		case a == nil && b == nil:
			return 0
		case a == nil:
			return -1
		}
		return 1
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			if tx, ok := parseTime(x); ok {
				if ty, ok := parseTime(y); ok {
					return tx.Compare(ty)
				}
			}
			return cmp.Compare(strings.ToLower(x), strings.ToLower(y))
		}
	}
	if x, ok := a.(bool); ok {
		if y, ok := b.(bool); ok && x != y {
			if x {
				return 1
			}
			return -1
		}
		return 0
	}
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return cmp.Compare(x, y)
		}
	}
	return 0
}
