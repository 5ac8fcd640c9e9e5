package entraid

import (
	"cmp"
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
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// maxGrants is how many grants one action takes away: all of them must fit its
// record, so that each can be given back.
const maxGrants = 200

const paramGrants = "grants"

// A grant is Graph's appRoleAssignment or oAuth2PermissionGrant, the fields that
// make another one like it.
type grant struct {
	ID string `json:"id,omitempty"`

	AppRoleID    string `json:"appRoleId,omitempty"`
	PrincipalID  string `json:"principalId,omitempty"`
	ResourceID   string `json:"resourceId"`
	ResourceName string `json:"resourceDisplayName,omitempty"`

	ClientID    string `json:"clientId,omitempty"`
	ConsentType string `json:"consentType,omitempty"`
	Scope       string `json:"scope,omitempty"`
}

// key names what is granted to the application, whatever the grant's id: one made
// again has another.
func (g grant) key() string {
	k := []string{g.ResourceID, g.AppRoleID, g.ConsentType}
	if g.ConsentType != "" {
		k = append(k, g.PrincipalID)
	}
	return strings.ToLower(strings.Join(k, "|"))
}

// covers reports whether having g is having what other grants.
func (g grant) covers(other grant) bool {
	if g.key() != other.key() {
		return false
	}
	have := strings.Fields(g.Scope)
	return !slices.ContainsFunc(strings.Fields(other.Scope), func(s string) bool { return !slices.Contains(have, s) })
}

// A grantsState is what is there of what the action is about, and what is not.
type grantsState struct {
	Of      string  `json:"of"` // the service principal
	Present []grant `json:"present,omitempty"`
	Missing []grant `json:"missing,omitempty"`
}

// A grantKind is one of the two ways in which an application is granted something.
type grantKind struct {
	relation        string // of the service principal
	revoke, restore action.Name
	permission      string
	noun            string
	remove          func(id string, g grant) string // path
	create          func(id string) string          // path
	body            func(id string, g grant) any
}

func appRoles() grantKind {
	return grantKind{
		relation: "appRoleAssignments", revoke: RevokeAppRoles, restore: RestoreAppRoles,
		permission: "AppRoleAssignment.ReadWrite.All", noun: "application permissions",
		remove: func(id string, g grant) string {
			return graph.Path("servicePrincipals", id, "appRoleAssignments", g.ID)
		},
		create: func(id string) string { return graph.Path("servicePrincipals", id, "appRoleAssignments") },
		body: func(id string, g grant) any {
			return map[string]string{"principalId": id, "resourceId": g.ResourceID, "appRoleId": g.AppRoleID}
		},
	}
}

func consents() grantKind {
	return grantKind{
		relation: "oauth2PermissionGrants", revoke: RevokeConsent, restore: RestoreConsent,
		permission: "DelegatedPermissionGrant.ReadWrite.All", noun: "delegated permission grants",
		remove: func(_ string, g grant) string { return graph.Path("oauth2PermissionGrants", g.ID) },
		create: func(string) string { return "/oauth2PermissionGrants" },
		body: func(id string, g grant) any {
			body := map[string]any{"clientId": id, "consentType": g.ConsentType, "resourceId": g.ResourceID, "scope": g.Scope, "principalId": nil}
			if g.PrincipalID != "" {
				body["principalId"] = g.PrincipalID
			}
			return body
		},
	}
}

// grants takes away what an application was granted, or gives it back.
type grants struct {
	directory
	kind    grantKind
	restore bool
}

var (
	_ action.Type   = (*grants)(nil)
	_ action.Undoer = (*grants)(nil)
)

func (a *grants) Spec() action.Spec {
	s := action.Spec{
		Version: 1, Provider: identity.EntraID,
		Permissions: []string{a.kind.permission, "Application.Read.All"},
		Batch:       1, Bucket: action.BucketDirectoryWrite,
		Propagation: 30 * time.Second, Within: 5 * time.Minute,
	}
	if a.restore {
		s.Name, s.Undo, s.Effect = a.kind.restore, a.kind.revoke, action.EffectRelease
		s.Title, s.Summary = "Give back "+a.kind.noun, "The service principal holds the named "+a.kind.noun+" again."
		s.Params = action.Params{{Name: paramGrants, Type: "string", Required: true, Text: "What to give back: the JSON list that was recorded when it was taken."}}
		s.Limits = "The grants get new ids. What was granted meanwhile stays. " + a.kind.permission + " lets its holder grant anything to any application: give it only where undoing by Cordon is wanted."
		s.Proof = "Each of the named grants is listed at the service principal."
		return s
	}
	s.Name, s.Undo, s.Effect = a.kind.revoke, a.kind.restore, action.EffectRestrict
	s.Title, s.Summary = "Revoke "+a.kind.noun, "The service principal holds none of the "+a.kind.noun+" it had in this tenant."
	s.Remedies = []signal.Cause{signal.CauseConsent}
	s.Params = action.Params{{Name: paramGrants, Type: "string", Text: "Only these: a JSON list as it is recorded; without it all."}}
	s.Limits = fmt.Sprintf("Tokens already issued keep their permissions up to about an hour. Somebody who may consent can grant it again: disable the workload first. At most %d at once. Not for Microsoft's own applications.", maxGrants)
	s.Proof = "None of the recorded grants is listed at the service principal."
	return s
}

// wanted are the grants that the parameters name; nil when they name none.
func wanted(r action.Request) ([]grant, error) {
	text, _ := r.Params[paramGrants].(string)
	if text == "" {
		return nil, nil
	}
	var list []grant
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) > maxGrants {
		return nil, fault.Errorf(fault.Invalid, "%s: not a JSON list of at most %d grants", paramGrants, maxGrants)
	}
	for _, g := range list {
		if !isGUID(strings.ToLower(g.ResourceID)) || g.AppRoleID != "" && !isGUID(strings.ToLower(g.AppRoleID)) || g.AppRoleID == "" && g.ConsentType == "" {
			return nil, fault.Errorf(fault.Invalid, "%s: an entry does not say what is granted on which resource", paramGrants)
		}
	}
	return list, nil
}

// read returns what the service principal holds. found is false when Graph has no
// such service principal.
func (a *grants) read(ctx context.Context, r action.Request) (list []grant, found bool, at time.Time, err error) {
	id, err := objectID(r)
	if err != nil {
		return nil, false, at, err
	}
	all, at, err := collect(ctx, a.graph, graph.Request{
		Path: graph.Path("servicePrincipals", id, a.kind.relation), Priority: graph.High, Query: url.Values{"$top": {"999"}},
	}, func(g grant) string { return g.ID })
	switch {
	case errors.Is(err, fault.NotFound):
		return nil, false, at, nil
	case err != nil:
		return nil, false, at, fmt.Errorf("read the %s: %w", a.kind.noun, err)
	}
	for _, g := range all {
		// Graph answers for the one service principal; anything else is not ours to touch.
		if owner := cmp.Or(g.ClientID, g.PrincipalID); !strings.EqualFold(owner, id) {
			return nil, false, at, fault.Errorf(fault.Unavailable, "read the %s: Graph answered with those of another service principal", a.kind.noun)
		}
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b grant) int { return cmp.Or(cmp.Compare(a.key(), b.key()), cmp.Compare(a.ID, b.ID)) })
	return list, true, at, nil
}

// state sorts what is held against what the action is about.
func (a *grants) state(id string, held, named []grant) (st grantsState) {
	st.Of = id
	if len(named) == 0 {
		st.Present = held
		return st
	}
	for _, g := range held {
		if slices.ContainsFunc(named, func(n grant) bool { return n.key() == g.key() }) {
			st.Present = append(st.Present, g)
		}
	}
	for _, n := range named {
		if !slices.ContainsFunc(held, func(g grant) bool { return g.covers(n) }) {
			st.Missing = append(st.Missing, n)
		}
	}
	return st
}

func (a *grants) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := make([]action.Look, len(reqs))
	for n, r := range reqs {
		out[n] = a.lookAt(ctx, r)
	}
	return out
}

func (a *grants) lookAt(ctx context.Context, r action.Request) action.Look {
	named, err := wanted(r)
	if err != nil {
		return action.Look{Err: err}
	}
	if a.restore && len(named) == 0 {
		return action.Look{Err: fault.Errorf(fault.Invalid, "%s: nothing is named that could be given back", paramGrants)}
	}
	sp := a.principals().one(ctx, r)
	if sp.err != nil {
		return action.Look{Err: sp.err}
	}
	if !sp.found {
		return action.Look{Refuse: "Entra ID has no such service principal any more", Facts: sp.facts()}
	}
	held, _, _, err := a.read(ctx, r)
	if err != nil {
		return action.Look{Err: err}
	}
	st := a.state(sp.ID, held, named)
	l := action.Look{State: raw(st), Text: told(st.Present, a.kind.noun), Facts: sp.facts(), Refuse: sp.ofMicrosoft()}
	if a.restore {
		l.Already = len(st.Missing) == 0
		if slices.ContainsFunc(st.Missing, func(n grant) bool {
			return slices.ContainsFunc(held, func(g grant) bool { return n.key() == g.key() })
		}) {
			l.Refuse = cmp.Or(l.Refuse, "another consent of the same kind was given for the same resource since: compare them and restore by hand")
		}
		return l
	}
	l.Already = len(st.Present) == 0
	if len(st.Present) > maxGrants {
		l.Refuse = cmp.Or(l.Refuse, fmt.Sprintf("%d %s: more than %d cannot be recorded and given back in one action; disable the workload instead", len(st.Present), a.kind.noun, maxGrants))
	}
	return l
}

// told lists grants for people.
func told(list []grant, noun string) string {
	count := map[string]int{}
	for _, g := range list {
		count[cmp.Or(line(g.ResourceName), "resource "+line(g.ResourceID))]++
	}
	var on []string
	for name := range count {
		on = append(on, name)
	}
	slices.Sort(on)
	if len(on) > 3 {
		on = append(on[:3], "others")
	}
	text := fmt.Sprintf("%d %s", len(list), noun)
	if len(on) > 0 {
		text += " on " + strings.Join(on, ", ")
	}
	return text
}

// Do takes away what the look recorded, and nothing that was granted since; or
// gives back what was missing.
func (a *grants) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		id, err := objectID(r)
		was, ok := before[grantsState](r.Before)
		if err == nil && !ok {
			err = fault.Errorf(fault.Invalid, "nothing was recorded that could be changed")
		}
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		var writes []graph.Request
		if a.restore {
			for _, g := range was.Missing {
				writes = append(writes, graph.Request{Method: http.MethodPost, Path: a.kind.create(id), ClientRequestID: r.ClientRequestID, Body: a.kind.body(id, g)})
			}
		} else {
			for _, g := range was.Present {
				writes = append(writes, graph.Request{Method: http.MethodDelete, Path: a.kind.remove(id, g), ClientRequestID: r.ClientRequestID})
			}
		}
		if len(writes) == 0 {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: "nothing was recorded that could be changed"}
			continue
		}
		out[n] = a.several(ctx, a.Spec(), writes, a.done)
	}
	return out
}

// done reports a refusal because it is so already: gone, or there.
func (a *grants) done(e *graph.Error) bool {
	if !a.restore {
		return notThere(e)
	}
	return (e.Status == http.StatusBadRequest || e.Status == http.StatusConflict) && strings.Contains(strings.ToLower(e.Message), "already exists")
}

func (a *grants) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, r := range reqs {
		held, found, at, err := a.read(ctx, r)
		was, ok := before[grantsState](r.Before)
		switch {
		case err != nil:
			out[n].Err = err
			continue
		case !found:
			out[n].Text = "the service principal is gone" + when(at)
			continue
		}
		st := grantsState{Of: r.Account.ObjectID}
		ok = ok && was.Of != "" && strings.EqualFold(was.Of, r.Account.ObjectID)
		switch {
		case !ok:
		case a.restore:
			if len(was.Missing) > 0 {
				st = a.state(was.Of, held, was.Missing)
			}
			ok = len(st.Missing) == 0
		default:
			if len(was.Present) > 0 {
				st = a.state(was.Of, held, was.Present)
				st.Missing = nil
			}
			ok = len(st.Present) == 0
		}
		out[n].Seen, out[n].State = ok, raw(st)
		out[n].Text = fmt.Sprintf("%d of the recorded %s are there, %d in all", len(st.Present), a.kind.noun, len(held)) + when(at)
	}
	return out
}

// Undo gives back what was taken, or takes what was given.
func (a *grants) Undo(b json.RawMessage) (map[string]any, bool) {
	was, ok := before[grantsState](b)
	list := was.Present
	if a.restore {
		list = was.Missing
	}
	if !ok || len(list) == 0 {
		return nil, false
	}
	list = slices.Clone(list)
	for n := range list {
		list[n].ID, list[n].ClientID, list[n].ResourceName = "", "", ""
		if list[n].AppRoleID != "" {
			list[n].PrincipalID = ""
		}
	}
	return map[string]any{paramGrants: string(raw(list))}, true
}
