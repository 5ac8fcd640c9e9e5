package entraid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
)

// A chores is an action on the several things that hang on one user: methods,
// roles, devices, rules. What is still to be done of them is its before-state: it
// is recorded, done thing by thing, and proven by nothing being left of it.
type chores[T any] struct {
	directory
	spec action.Spec
	// refuse says why a user cannot be the target, "" when it can; nil: everybody can.
	refuse func(user) string
	// read lists the things of a user.
	read func(ctx context.Context, id string, r action.Request) ([]T, time.Time, error)
	// todo returns those that must change for the wanted state, of what is there, or
	// why that cannot be. An error with fault.Invalid is about the parameters.
	todo func(r action.Request, there []T) (left []T, refuse string, err error)
	// write is the request that changes one.
	write func(id string, r action.Request, thing T) graph.Request
	key   func(T) string // tells the things of one user apart
	text  func([]T) string
	done  func(*graph.Error) bool // a refusal because it is so already; nil: not found
	// already, in words, when nothing is to be done.
	already string
}

// A choreState is what is to be done, of whom, and by which action.
type choreState[T any] struct {
	By   action.Name `json:"by"`
	Of   string      `json:"of"`
	Todo []T         `json:"todo,omitempty"`
}

func (c *chores[T]) Spec() action.Spec { return c.spec }

func (c *chores[T]) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := c.look(ctx, reqs, func(u user) string {
		if c.refuse == nil {
			return ""
		}
		return c.refuse(u)
	}, func(sighting) (any, string, bool) { return nil, "", false })
	for n, r := range reqs {
		l := &out[n]
		if l.Err != nil || l.Refuse != "" {
			l.State = nil
			continue
		}
		st, _, why, err := c.state(ctx, r)
		switch {
		case err != nil:
			l.Err = err
			continue
		case why != "":
			l.Refuse = why
		}
		l.State, l.Already = raw(st), why == "" && len(st.Todo) == 0
		if l.Text = c.text(st.Todo); len(st.Todo) == 0 {
			l.Text = c.already
		}
	}
	return out
}

// state reads what is to be done now.
func (c *chores[T]) state(ctx context.Context, r action.Request) (st choreState[T], at time.Time, refuse string, err error) {
	id, err := objectID(r)
	if err != nil {
		return st, at, "", err
	}
	if _, _, err := c.todo(r, nil); errors.Is(err, fault.Invalid) {
		return st, at, "", err // nothing is asked for what cannot be meant
	}
	there, at, err := c.read(ctx, id, r)
	if err != nil {
		return st, at, "", err
	}
	left, refuse, err := c.todo(r, there)
	if err != nil {
		return st, at, "", err
	}
	slices.SortFunc(left, func(a, b T) int { return strings.Compare(c.key(a), c.key(b)) })
	return choreState[T]{c.spec.Name, id, left}, at, refuse, nil
}

// Do does what the look recorded and nothing else.
func (c *chores[T]) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		id, err := objectID(r)
		st, ok := before[choreState[T]](r.Before)
		if err == nil && (!ok || len(st.Todo) == 0 || st.Of != id) {
			err = fault.Errorf(fault.Invalid, "nothing was recorded that is to be done")
		}
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		var writes []graph.Request
		for _, thing := range st.Todo {
			w := c.write(id, r, thing)
			w.ClientRequestID = r.ClientRequestID
			writes = append(writes, w)
		}
		done := c.done
		if done == nil {
			done = notThere
		}
		out[n] = c.several(ctx, c.spec, writes, done)
	}
	return out
}

func (c *chores[T]) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, r := range reqs {
		was, ok := before[choreState[T]](r.Before)
		now, at, _, err := c.state(ctx, r)
		switch {
		case errors.Is(err, fault.NotFound):
			out[n].Text = "the user is gone" + when(at)
			continue
		case err != nil:
			out[n].Err = err
			continue
		}
		left := slices.DeleteFunc(now.Todo, func(t T) bool {
			return !slices.ContainsFunc(was.Todo, func(o T) bool { return c.key(o) == c.key(t) })
		})
		now.Todo = left
		out[n].Seen, out[n].State = ok && was.Of == now.Of && len(left) == 0, raw(now)
		if out[n].Text = fmt.Sprintf("%d of %d done", len(was.Todo)-len(left), len(was.Todo)) + when(at); len(left) > 0 {
			out[n].Text += "; left: " + c.text(left)
		}
	}
	return out
}

// A reversible is a chores that can be taken back.
type reversible[T any] struct {
	*chores[T]
	undo func([]T) map[string]any // nil: nothing to bring back
}

// Undo returns the parameters that bring back what was recorded.
func (c reversible[T]) Undo(b json.RawMessage) (map[string]any, bool) {
	was, ok := before[choreState[T]](b)
	if !ok || was.By != c.spec.Name || was.Of == "" || len(was.Todo) == 0 {
		return nil, false
	}
	params := c.undo(was.Todo)
	return params, params != nil
}

// several things for people: at most three by name.
func listed[T any](list []T, name func(T) string) string {
	var out []string
	for _, t := range list {
		out = append(out, name(t))
	}
	if len(out) > 3 {
		out = append(out[:3], fmt.Sprintf("%d more", len(out)-3))
	}
	return strings.Join(out, ", ")
}

// ids reads a parameter that is a comma-separated list of ids, which ok checks.
func ids(r action.Request, name string, ok func(string) bool) ([]string, error) {
	text, _ := r.Params[name].(string)
	if text == "" {
		return nil, nil
	}
	var out []string
	for id := range strings.SplitSeq(text, ",") {
		if id = strings.TrimSpace(id); !ok(id) {
			return nil, fault.Errorf(fault.Invalid, "%s: %q is not an id", name, line(id))
		}
		out = append(out, id)
	}
	return out, nil
}
