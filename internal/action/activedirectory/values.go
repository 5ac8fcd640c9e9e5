package activedirectory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// ParamState is what an undo brings back: the values that the action replaced, as
// it recorded them. It is made by the action and not written by people.
const ParamState = "state"

// values are attributes with their octets, by the name that MS-ADTS gives them. An
// attribute without values is not in it.
type values map[string][][]byte

func valuesOf(a account, names []string) values {
	out := values{}
	for _, n := range names {
		if v := a.Values(n); len(v) > 0 {
			out[n] = v
		}
	}
	return out
}

// A setting is an action that gives some attributes of an account other values, and
// takes exactly these back. What it replaces is named value by value, so that what
// somebody else adds meanwhile is neither removed nor overwritten.
type setting struct {
	*domain
	spec action.Spec
	of   []string // the attributes, userAccountControl among them when bits of it count

	// want returns the values that the attributes are to have, given what they have.
	want func(action.Request, values) values
	// refuse says why the request cannot be, whatever the account; may be nil.
	refuse func(action.Request) string
	// say puts values into words.
	say func(values) string
	// whole are the attributes whose values a controller cannot compare: they are
	// removed as a whole.
	whole []string
}

var _ action.Type = (*setting)(nil)

func (s *setting) Spec() action.Spec { return s.spec }

// effective is computed by the directory: the attributes of the object that whoever
// asks may write (MS-ADTS 3.1.1.4.5.21).
const effective = "allowedAttributesEffective"

func (s *setting) Look(ctx context.Context, reqs []action.Request) []action.Look {
	looks := s.ask(ctx, reqs, question{
		further: append([]string{effective}, s.of...),
		refuse: func(r action.Request, _ account) string {
			if s.refuse == nil {
				return ""
			}
			return s.refuse(r)
		},
		state: func(r action.Request, a account) (string, bool) {
			has := valuesOf(a, s.of)
			return s.say(has), len(s.changes(has, s.want(r, has))) == 0
		},
		err: s.unreadable,
	})
	for n := range looks {
		if b, ok := recorded(looks[n].State); ok {
			delete(b.Values, effective) // what may be written is no state of the account
			b.By, b.Already = s.spec.Name, looks[n].Already
			looks[n].State = encode(b)
		}
	}
	return looks
}

// unreadable is the error of an account that shows nothing to change, when that may
// be because Cordon may not read it. Whoever may write an attribute was given to
// read it too.
func (s *setting) unreadable(r action.Request, a account) error {
	has := valuesOf(a, s.of)
	if len(s.changes(has, s.want(r, has))) > 0 {
		return nil
	}
	for _, n := range s.of {
		if len(has[n]) == 0 && !slices.ContainsFunc(a.Values(effective), func(v []byte) bool { return strings.EqualFold(string(v), n) }) {
			return hidden(a.Object, n)
		}
	}
	return nil
}

// changes are what makes of one set of values another, nothing when they are equal.
func (s *setting) changes(has, want values) []directory.Change {
	var out []directory.Change
	for _, n := range s.of {
		gone, come := missing(has[n], want[n]), missing(want[n], has[n])
		if len(gone) > 0 {
			if slices.Contains(s.whole, n) {
				gone = nil
			}
			out = append(out, directory.Change{Op: directory.Delete, Attribute: n, Values: gone})
		}
		if len(come) > 0 {
			out = append(out, directory.Change{Op: directory.Add, Attribute: n, Values: come})
		}
	}
	return out
}

// missing returns the values of a that b has not.
func missing(a, b [][]byte) []string {
	var out []string
	for _, v := range a {
		if !slices.ContainsFunc(b, func(w []byte) bool { return bytes.Equal(v, w) }) {
			out = append(out, string(v))
		}
	}
	return out
}

func (s *setting) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	return each(reqs, func(r action.Request) action.Outcome {
		b, ok := recorded(r.Before)
		if !ok {
			return action.Outcome{Verdict: action.Refused, Reason: "no state was recorded before: there is nothing to compare with"}
		}
		if s.refuse != nil { // as Look does: what was asked for may not be what was looked at
			if why := s.refuse(r); why != "" {
				return action.Outcome{Verdict: action.Refused, Reason: why}
			}
		}
		changes := s.changes(b.Values, s.want(r, b.Values))
		if len(changes) == 0 {
			return action.Outcome{Verdict: action.Refused, Reason: "nothing was to be changed when the account was looked at"}
		}
		dc, err := s.client.Modify(ctx, directory.Modification{GUID: b.GUID, Changes: changes})
		if errors.Is(err, fault.Conflict) || errors.Is(err, fault.Invalid) {
			if out, known := s.already(ctx, r, b); known {
				return out
			}
		}
		return outcome(dc, err)
	})
}

// already reads the account after a refusal: what was wanted may be there, or
// somebody else may have come in between.
func (s *setting) already(ctx context.Context, r action.Request, b before) (action.Outcome, bool) {
	v, err := s.client.See(ctx, []directory.Subject{{GUID: b.GUID}}, slices.Concat(attributes, s.of)...)
	if err != nil || v.Sights[0].Object == nil {
		return action.Outcome{}, false
	}
	has := valuesOf(account{Object: *v.Sights[0].Object}, s.of)
	switch {
	case len(s.changes(has, s.want(r, has))) == 0:
		return action.Outcome{Verdict: action.Accepted, Reason: "it was so already", RequestID: v.DC}, true
	case len(s.changes(has, b.Values)) > 0:
		return action.Outcome{Verdict: action.Later, After: time.Second, Reason: "somebody else changed the account meanwhile; it is looked at again"}, true
	}
	return action.Outcome{}, false
}

func (s *setting) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := s.readBack(ctx, reqs, func(r action.Request, a account) (bool, string) {
		has := valuesOf(a, s.of)
		return len(s.changes(has, s.want(r, has))) == 0, s.say(has)
	}, s.of...)
	if s.spec.Effect == action.EffectRelease {
		return out
	}
	return allRemaining(reqs, out)
}

// A reversible setting hands what it replaced to the action that brings it back.
type reversible struct{ *setting }

var _ action.Undoer = (*reversible)(nil)

// Undo gives the values of the attributes that the action itself recorded, unless
// the wanted ones were there already.
func (s *reversible) Undo(r json.RawMessage) (map[string]any, bool) {
	b, ok := recorded(r)
	if !ok || b.By != s.spec.Name || b.Already {
		return nil, false
	}
	return map[string]any{ParamState: string(encode(b.Values))}, true
}

// kept decodes what an undo was given. Only the attributes of the setting count.
func kept(r action.Request, of []string) (values, bool) {
	text, _ := r.Params[ParamState].(string)
	var all values
	if text == "" || json.Unmarshal([]byte(text), &all) != nil {
		return nil, false
	}
	maps.DeleteFunc(all, func(n string, v [][]byte) bool { return !slices.Contains(of, n) || len(v) == 0 })
	return all, true
}
