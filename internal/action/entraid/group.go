package entraid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const paramGroup = "group"

// membership brings a user into a group or out of it. What that means depends on
// the group: a block by Conditional Access is put on by joining, access is taken
// by leaving. Each way has a name of its own, so that giving access back is seen
// as that.
type membership struct {
	directory
	name action.Name
}

var (
	_ action.Type   = (*membership)(nil)
	_ action.Undoer = (*membership)(nil)
)

// in reports whether the wanted state is to be in the group.
func (m *membership) in() bool { return m.name == BlockByGroup || m.name == ReturnToGroup }

func (m *membership) Spec() action.Spec {
	s := action.Spec{
		Name: m.name, Version: 1, Provider: identity.EntraID,
		Permissions: []string{"GroupMember.ReadWrite.All", "User.Read.All"},
		Params:      action.Params{{Name: paramGroup, Type: "string", Required: true, Text: "The group's object id."}},
		Limits:      "Not for dynamic groups, groups mastered in Active Directory, and groups that may hold directory roles. Conditional Access hears of it within minutes, at the latest with the next token.",
		Proof:       "The group is, or is not, listed among the user's direct memberships.",
		Batch:       1, Bucket: action.BucketDirectoryWrite,
		Propagation: time.Minute, Within: 10 * time.Minute,
	}
	switch m.name {
	case BlockByGroup:
		s.Effect, s.Undo = action.EffectRestrict, UnblockByGroup
		s.Title, s.Summary = "Block by a group", "The person is in the group that a Conditional Access policy blocks."
		s.Limits += " That such a policy exists is not checked."
	case UnblockByGroup:
		s.Effect, s.Undo = action.EffectRelease, BlockByGroup
		s.Title, s.Summary = "Lift the block by a group", "The person is not in the group that a Conditional Access policy blocks."
	case RemoveFromGroup:
		s.Effect, s.Undo = action.EffectRestrict, ReturnToGroup
		s.Title, s.Summary = "Remove from a group", "The person is not in the group, and has not what it gives."
	default:
		s.Effect, s.Undo = action.EffectRelease, RemoveFromGroup
		s.Title, s.Summary = "Return to a group", "The person is in the group again, and has what it gives."
	}
	return s
}

// A group is Graph's group, the fields we use, under its names.
type group struct {
	ID                    string
	DisplayName           string
	GroupTypes            []string
	OnPremisesSyncEnabled *bool
	IsAssignableToRole    *bool
}

// A memberState is whether the user was in the group.
type memberState struct {
	Group string `json:"group"`
	In    *bool  `json:"in"`
}

func groupID(r action.Request) (string, error) {
	id, _ := r.Params[paramGroup].(string)
	if id = strings.ToLower(strings.TrimSpace(id)); !isGUID(id) {
		return "", fault.Errorf(fault.Invalid, "%s: %q is not a group's object id", paramGroup, line(id))
	}
	return id, nil
}

// group reads the group and says why its members cannot be changed here; "" when
// they can.
func (m *membership) group(ctx context.Context, id string) (g group, refuse string, err error) {
	_, err = m.graph.Do(ctx, graph.Request{
		Path: graph.Path("groups", id), Priority: graph.High, Out: &g,
		Query: url.Values{"$select": {"id,displayName,groupTypes,onPremisesSyncEnabled,isAssignableToRole"}},
	})
	yes := func(b *bool) bool { return b != nil && *b }
	switch {
	case errors.Is(err, fault.NotFound):
		return g, "Entra ID has no such group", nil
	case err != nil:
		return g, "", fmt.Errorf("read the group: %w", err)
	case !strings.EqualFold(g.ID, id):
		return g, "", fault.Errorf(fault.Unavailable, "read the group: Graph answered with another object than the one asked for")
	case slices.ContainsFunc(g.GroupTypes, func(t string) bool { return strings.EqualFold(t, "DynamicMembership") }):
		return g, "the group is dynamic: its rule decides who is in it", nil
	case yes(g.OnPremisesSyncEnabled):
		return g, "the group is mastered in Active Directory", nil
	case yes(g.IsAssignableToRole):
		return g, "the group may hold directory roles: such a membership is not changed by automation", nil
	}
	return g, "", nil
}

// member reads whether the user is a direct member. found is false when there is
// no such user.
func (m *membership) member(ctx context.Context, r action.Request, group string) (in, found bool, at time.Time, err error) {
	id, err := objectID(r)
	if err != nil {
		return false, false, at, err
	}
	groups, at, err := collect(ctx, m.graph, graph.Request{
		Path: graph.Path("users", id, "memberOf"), Priority: graph.High, Query: url.Values{"$select": {"id"}, "$top": {"999"}},
	}, func(o struct{ ID string }) string { return o.ID })
	switch {
	case errors.Is(err, fault.NotFound):
		return false, false, at, nil
	case err != nil:
		return false, false, at, fmt.Errorf("read the user's groups: %w", err)
	}
	_, in = groups[group]
	return in, true, at, nil
}

func (m *membership) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := m.look(ctx, reqs, func(user) string { return "" }, func(sighting) (any, string, bool) { return nil, "", false })
	groups := map[string]action.Look{}
	for n, r := range reqs {
		l := &out[n]
		if l.Err != nil || l.Refuse != "" {
			continue
		}
		id, err := groupID(r)
		if err != nil {
			l.Err = err
			continue
		}
		g, known := groups[id]
		if !known {
			found, refuse, err := m.group(ctx, id)
			g = action.Look{Refuse: refuse, Err: err, Text: line(found.DisplayName)}
			if err == nil {
				groups[id] = g
			}
		}
		if l.Err, l.Refuse = g.Err, g.Refuse; l.Err != nil {
			continue
		}
		in, found, _, err := m.member(ctx, r, id)
		switch {
		case err != nil:
			l.Err = err
		case !found:
			l.Refuse = "Entra ID has no such user any more"
		default:
			l.State, l.Already = raw(memberState{id, &in}), in == m.in()
			if l.Text = "in the group " + g.Text; !in {
				l.Text = "not " + l.Text
			}
		}
	}
	return out
}

func (m *membership) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		id, err := objectID(r)
		var group string
		if err == nil {
			group, err = groupID(r)
		}
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		// Never without /$ref: that would delete the user. Source: "Remove member".
		w := graph.Request{Method: http.MethodDelete, Path: graph.Path("groups", group, "members", id, "$ref"), ClientRequestID: r.ClientRequestID}
		done := notThere
		if m.in() {
			w.Method, w.Path = http.MethodPost, graph.Path("groups", group, "members", "$ref")
			w.Body = map[string]string{"@odata.id": m.graph.Address(graph.Path("directoryObjects", id))}
			done = func(e *graph.Error) bool {
				return e.Status == http.StatusBadRequest && strings.Contains(strings.ToLower(e.Message), "already exist")
			}
		}
		if r.Before == nil {
			done = func(*graph.Error) bool { return false } // nobody looked: not found may be the user
		}
		out[n] = m.several(ctx, m.Spec(), []graph.Request{w}, done)
	}
	return out
}

func (m *membership) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, r := range reqs {
		group, err := groupID(r)
		var in, found bool
		var at time.Time
		if err == nil {
			in, found, at, err = m.member(ctx, r, group)
		}
		switch {
		case err != nil:
			out[n].Err = err
		case !found:
			out[n].Text = "the user is gone" + when(at)
		default:
			out[n] = action.Reading{Seen: in == m.in(), State: raw(memberState{group, &in}), Text: map[bool]string{true: "in the group", false: "not in the group"}[in] + when(at)}
		}
	}
	return out
}

// Undo brings the membership back to what it was, unless it was so already.
func (m *membership) Undo(b json.RawMessage) (map[string]any, bool) {
	was, ok := before[memberState](b)
	if !ok || was.In == nil || *was.In == m.in() {
		return nil, false
	}
	return map[string]any{paramGroup: was.Group}, true
}
