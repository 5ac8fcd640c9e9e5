package action

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A Route is an action that a playbook asks for by intent ("identity.disable"):
// the planner picks the concrete one by the directory that is the authority for
// the identity. A directory without an entry, or one that is not connected,
// holds the step.
type Route struct {
	Name  Name
	Title string
	To    map[identity.Provider]Name
}

// A Catalogue is the explicit list of what Cordon can do.
type Catalogue struct {
	types  map[Name]Type
	routes map[Name]Route
}

// NewCatalogue returns the catalogue of the types and routes. It returns every
// contradiction at once: a name taken twice, an undo or a route's end that does
// not exist, a reversible action without an Undoer, an irreversible one that does
// not say why.
func NewCatalogue(types []Type, routes []Route) (*Catalogue, error) {
	c := &Catalogue{types: map[Name]Type{}, routes: map[Name]Route{}}
	var bad []string
	for _, t := range types {
		s := t.Spec()
		if _, taken := c.types[s.Name]; taken {
			bad = append(bad, fmt.Sprintf("action %s is listed twice", s.Name))
		}
		c.types[s.Name] = t
		_, undoer := t.(Undoer)
		switch {
		case s.Undo == "" && s.Irreversible == "":
			bad = append(bad, fmt.Sprintf("action %s neither has an undo nor says why not", s.Name))
		case s.Undo != "" && s.Irreversible != "":
			bad = append(bad, fmt.Sprintf("action %s names an undo and says that there is none", s.Name))
		case s.Undo != "" && !undoer:
			bad = append(bad, fmt.Sprintf("action %s names an undo and cannot compute it", s.Name))
		}
		if s.Batch < 1 || s.Within <= 0 || s.Bucket == "" {
			bad = append(bad, fmt.Sprintf("action %s lacks a batch size, a bucket or a deadline", s.Name))
		}
	}
	for _, t := range types {
		if u := t.Spec().Undo; u != "" && c.types[u] == nil {
			bad = append(bad, fmt.Sprintf("action %s: its undo %s is not listed", t.Spec().Name, u))
		}
	}
	for _, r := range routes {
		if _, taken := c.types[r.Name]; taken {
			bad = append(bad, fmt.Sprintf("route %s has the name of an action", r.Name))
		}
		if _, taken := c.routes[r.Name]; taken {
			bad = append(bad, fmt.Sprintf("route %s is listed twice", r.Name))
		}
		for _, to := range r.To {
			if c.types[to] == nil {
				bad = append(bad, fmt.Sprintf("route %s leads to %s, which is not listed", r.Name, to))
			}
		}
		c.routes[r.Name] = r
	}
	slices.Sort(bad)
	if len(bad) > 0 {
		return nil, fault.Errorf(fault.Invalid, "action catalogue: %s", strings.Join(bad, "; "))
	}
	return c, nil
}

// Type returns the type of that name, or fault.NotFound.
func (c *Catalogue) Type(n Name) (Type, error) {
	if t, ok := c.types[n]; ok {
		return t, nil
	}
	return nil, fault.Errorf(fault.NotFound, "no action %q; the catalogue has %s", n, strings.Join(c.names(), ", "))
}

// Route returns the route of that name, and whether there is one.
func (c *Catalogue) Route(n Name) (Route, bool) {
	r, ok := c.routes[n]
	return r, ok
}

// Specs returns all specs sorted by name.
func (c *Catalogue) Specs() []Spec {
	var specs []Spec
	for _, t := range c.types {
		specs = append(specs, t.Spec())
	}
	slices.SortFunc(specs, func(a, b Spec) int { return cmp.Compare(a.Name, b.Name) })
	return specs
}

// Routes returns all routes sorted by name.
func (c *Catalogue) Routes() []Route {
	var routes []Route
	for _, r := range c.routes {
		routes = append(routes, r)
	}
	slices.SortFunc(routes, func(a, b Route) int { return cmp.Compare(a.Name, b.Name) })
	return routes
}

func (c *Catalogue) names() []string {
	var names []string
	for n := range c.types {
		names = append(names, string(n))
	}
	for n := range c.routes {
		names = append(names, string(n))
	}
	slices.Sort(names)
	return names
}

// Version digests what every action means; it is part of each plan's hash, so
// that an approval does not survive a change of meaning.
func (c *Catalogue) Version() string {
	h := sha256.New()
	for _, s := range c.Specs() {
		fmt.Fprintf(h, "%s@%d|%s|%s|%s\n", s.Name, s.Version, s.Provider, s.Effect, s.Undo)
	}
	for _, r := range c.Routes() {
		b, _ := json.Marshal(r.To) // a map of strings: sorted keys, cannot fail
		fmt.Fprintf(h, "%s|%s\n", r.Name, b)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// EffectKey digests the effect an action would have, so that two playbooks
// asking for the same one act once. The account counts as its own directory knows
// it: what is learnt of it later (the SID behind a cloud account) must not make
// the same effect another one. No parameters and none given are the same.
func EffectKey(t identity.Tenant, name Name, account identity.Ref, params map[string]any) string {
	var who any = identity.Account{Ref: account}.Key()
	if who == "" {
		who = account.Keys()
	}
	if len(params) == 0 {
		params = nil
	}
	b, _ := json.Marshal([]any{t, name, account.Provider, who, params}) // strings, numbers and booleans: cannot fail
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
