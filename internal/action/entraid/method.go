package entraid

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A method is Graph's authenticationMethod, the fields we use. Phone numbers and
// addresses are not read.
type method struct {
	Type            string     `json:"@odata.type"`
	ID              string     `json:"id"`
	CreatedDateTime graph.Time `json:"createdDateTime,omitzero"`
}

// methodPaths are the collections below authentication by the type of their
// members: those that can be deleted. Source: authenticationMethod resource type.
func methodPaths() map[string]string {
	return map[string]string{
		"fido2":                   "fido2Methods",
		"microsoftAuthenticator":  "microsoftAuthenticatorMethods",
		"phone":                   "phoneMethods",
		"email":                   "emailMethods",
		"softwareOath":            "softwareOathMethods",
		"temporaryAccessPass":     "temporaryAccessPassMethods",
		"windowsHelloForBusiness": "windowsHelloForBusinessMethods",
	}
}

// kind is the method's type without what all have in common.
func (m method) kind() string {
	return strings.TrimSuffix(strings.TrimPrefix(m.Type, "#microsoft.graph."), "AuthenticationMethod")
}

const (
	paramSince       = "since"
	paramAll         = "all"
	paramKeepUndated = "keep_undated"
)

// readMethods lists a user's authentication methods but the password.
func (d directory) readMethods(ctx context.Context, id string) ([]method, time.Time, error) {
	found, at, err := collect(ctx, d.graph, graph.Request{
		Path: graph.Path("users", id, "authentication", "methods"), Priority: graph.High,
	}, func(m method) string { return m.Type + " " + m.ID })
	if err != nil {
		return nil, at, fmt.Errorf("read the authentication methods: %w", err)
	}
	var out []method
	for _, m := range found {
		if m.kind() != "password" {
			out = append(out, m)
		}
	}
	return out, at, nil
}

func removeMethods(d directory) action.Type {
	return &chores[method]{
		directory: d,
		spec: action.Spec{
			Name: RemoveMethods, Version: 1, Provider: identity.EntraID, Effect: action.EffectCredential,
			Title:         "Remove authentication methods",
			Summary:       "The authentication methods that were added since the compromise, or all, are gone: the person registers them again.",
			Permissions:   []string{"UserAuthenticationMethod.ReadWrite.All", "User.Read.All"},
			DirectoryRole: privilegedRole,
			Remedies:      []signal.Cause{signal.CauseMethod},
			Cleans:        []signal.Cause{signal.CausePassword, signal.CauseSession, signal.CauseBoth},
			Irreversible:  "a removed method is registered anew by the person; hand over a Temporary Access Pass for it",
			Limits:        "The password stays, and sessions that are open stay open: revoke them afterwards. A method that does not say when it was added counts as added since, unless told otherwise. Kinds that Graph cannot delete are left, and named. Not for guests, who register at home.",
			Proof:         "None of the recorded methods is listed at the user.",
			Params: action.Params{
				{Name: paramSince, Type: "string", Fill: action.FillSince, Text: "Remove what was added at this time or later, RFC 3339."},
				{Name: paramAll, Type: "boolean", Default: false, Text: "Remove all of them."},
				{Name: paramKeepUndated, Type: "boolean", Default: false, Text: "Keep methods that do not say when they were added."},
			},
			Batch: 1, Bucket: action.BucketReports, ReadBucket: action.BucketReports,
			Propagation: 30 * time.Second, Within: 10 * time.Minute,
		},
		refuse: func(u user) string {
			if u.guest() {
				return "a guest's authentication methods belong to the home tenant"
			}
			return ""
		},
		read: func(ctx context.Context, id string, _ action.Request) ([]method, time.Time, error) {
			return d.readMethods(ctx, id)
		},
		todo: addedSince,
		write: func(id string, _ action.Request, m method) graph.Request {
			return graph.Request{Method: http.MethodDelete, Path: graph.Path("users", id, "authentication", methodPaths()[m.kind()], m.ID)}
		},
		key: func(m method) string { return m.Type + " " + m.ID },
		text: func(list []method) string {
			return listed(list, func(m method) string {
				if m.CreatedDateTime.At.IsZero() {
					return line(m.kind()) + ", no date"
				}
				return line(m.kind()) + " of " + clock(m.CreatedDateTime)
			})
		},
		already: "no method was added since",
	}
}

// addedSince returns the methods to remove.
func addedSince(r action.Request, there []method) (left []method, refuse string, err error) {
	all, _ := r.Params[paramAll].(bool)
	keep, _ := r.Params[paramKeepUndated].(bool)
	text, _ := r.Params[paramSince].(string)
	since, err := time.Parse(time.RFC3339, text)
	if err != nil && !all {
		return nil, "", fault.Errorf(fault.Invalid, "%s: %q is not a time (RFC 3339), and not all methods are to go", paramSince, line(text))
	}
	var stuck []method
	for _, m := range there {
		at := m.CreatedDateTime.At
		switch {
		case !all && at.IsZero() && keep, !all && !at.IsZero() && at.Before(since):
		case methodPaths()[m.kind()] == "":
			stuck = append(stuck, m)
		default:
			left = append(left, m)
		}
	}
	if len(left) == 0 && len(stuck) > 0 {
		refuse = "what was added is of a kind that Graph cannot delete: " + listed(stuck, func(m method) string { return line(m.kind()) })
	}
	return left, refuse, nil
}

// accessPass hands a Temporary Access Pass over. Entra makes it and tells it once,
// in the answer: it is sealed for the recipient before anything else is done.
type accessPass struct{ directory }

var _ action.Type = (*accessPass)(nil)

const (
	paramMinutes = "minutes"
	paramOnce    = "once"
)

func (*accessPass) Spec() action.Spec {
	return action.Spec{
		Name: HandOverAccessPass, Version: 1, Provider: identity.EntraID, Effect: action.EffectRelease,
		Title:         "Hand over a Temporary Access Pass",
		Summary:       "The person can sign in for a short time with a pass that one operator can reveal once, and registers authentication methods again.",
		Permissions:   []string{"UserAuthenticationMethod.ReadWrite.All", "User.Read.All"},
		DirectoryRole: privilegedRole,
		Irreversible:  "whoever used the pass has signed in; until then it can be removed",
		Limits:        "The policy for Temporary Access Pass must be on in the tenant. A pass that is there is replaced. It opens no disabled account. Not for guests.",
		Proof:         "A Temporary Access Pass is listed that was not there before.",
		Params: action.Params{
			{Name: action.ParamRecipient, Type: "string", Required: true, Text: "The operator who may reveal the pass."},
			{Name: action.ParamRecipientKey, Type: "string", Required: true, Text: "The public key it is sealed for; the private one is in the one-time link only."},
			{Name: paramMinutes, Type: "integer", Default: 60, Text: "How long it opens, 10 to 43200 minutes, as far as the tenant's policy allows."},
			{Name: paramOnce, Type: "boolean", Default: true, Text: "It opens once."},
		},
		Batch: 1, Bucket: action.BucketReports, ReadBucket: action.BucketReports,
		NeverRepeat: true, Propagation: 30 * time.Second, Within: 5 * time.Minute,
	}
}

// A passState is the passes that are replaced.
type passState struct {
	Of     string   `json:"of"`
	Passes []string `json:"passes"`
}

func (a *accessPass) passes(ctx context.Context, r action.Request) (st passState, at time.Time, err error) {
	id, err := objectID(r)
	if err != nil {
		return st, at, err
	}
	st = passState{Of: id, Passes: []string{}}
	all, at, err := a.readMethods(ctx, id)
	for _, m := range all {
		if m.kind() == "temporaryAccessPass" {
			st.Passes = append(st.Passes, m.ID)
		}
	}
	slices.Sort(st.Passes)
	return st, at, err
}

func (a *accessPass) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := a.look(ctx, reqs, func(u user) string {
		if u.guest() {
			return "a guest signs in at the home tenant: a pass here opens nothing"
		}
		return ""
	}, func(sighting) (any, string, bool) { return nil, "", false })
	for n, r := range reqs {
		if out[n].Err != nil || out[n].Refuse != "" {
			continue
		}
		if to, _ := r.Params[action.ParamRecipient].(string); to == "" {
			out[n].Refuse = "hand over the pass: no recipient"
		}
		st, _, err := a.passes(ctx, r)
		out[n].Err, out[n].State, out[n].Text = err, raw(st), fmt.Sprintf("%d passes", len(st.Passes))
	}
	return out
}

func (a *accessPass) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		out[n] = a.make(ctx, r)
	}
	return out
}

func (a *accessPass) make(ctx context.Context, r action.Request) action.Outcome {
	id, err := objectID(r)
	key, _ := r.Params[action.ParamRecipientKey].(string)
	if err == nil {
		// A key that seals nothing must be noticed before there is a pass to seal.
		_, err = action.Seal(key, r.Tenant, r.ID, []byte("-"))
	}
	if err != nil {
		return action.Outcome{Verdict: action.Refused, Reason: err.Error()}
	}
	was, _ := before[passState](r.Before)
	for _, old := range was.Passes {
		o := a.several(ctx, a.Spec(), []graph.Request{{
			Method: http.MethodDelete, Path: graph.Path("users", id, "authentication", "temporaryAccessPassMethods", old), ClientRequestID: r.ClientRequestID,
		}}, notThere)
		if o.Verdict != action.Accepted {
			return o
		}
	}
	sent := 1 + len(was.Passes)
	minutes, ok := whole(r.Params[paramMinutes])
	if !ok {
		minutes = 60
	}
	once, ok := r.Params[paramOnce].(bool)
	var made struct {
		TemporaryAccessPass string `json:"temporaryAccessPass"`
	}
	res, err := a.graph.Do(ctx, graph.Request{
		Method: http.MethodPost, Path: graph.Path("users", id, "authentication", "temporaryAccessPassMethods"), ClientRequestID: r.ClientRequestID,
		Body: map[string]any{"lifetimeInMinutes": minutes, "isUsableOnce": once || !ok}, Out: &made, Priority: graph.High,
	})
	o := outcome(a.Spec(), res, err)
	o.RequestID, o.Pressure, o.Requests = res.RequestID, res.Throttle.Percentage, sent
	clear(res.Body)
	if o.Verdict != action.Accepted {
		return o
	}
	if made.TemporaryAccessPass == "" {
		return action.Outcome{Verdict: action.Unknown, RequestID: o.RequestID, Reason: "Graph took the request and told no pass"}
	}
	if o.Sealed, err = action.Seal(key, r.Tenant, r.ID, []byte(made.TemporaryAccessPass)); err != nil {
		return action.Outcome{Verdict: action.Unknown, RequestID: o.RequestID, Reason: "the pass could not be sealed: ask for another one"}
	}
	return o
}

// whole reads an integer parameter, fresh or after a round trip through JSON.
func whole(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case int64:
		return int(v), true
	case float64:
		return int(v), v == float64(int(v))
	}
	return 0, false
}

func (a *accessPass) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, r := range reqs {
		was, ok := before[passState](r.Before)
		now, at, err := a.passes(ctx, r)
		if err != nil {
			out[n].Err = err
			continue
		}
		fresh := slices.ContainsFunc(now.Passes, func(id string) bool { return !slices.Contains(was.Passes, id) })
		out[n] = action.Reading{Seen: ok && was.Of == now.Of && fresh, State: raw(now), Text: "no new pass" + when(at)}
		switch {
		case fresh && r.Accepted:
			out[n].Text = "a new pass is there" + when(at)
		case fresh:
			out[n].Text = "a new pass is there, and nobody heard it: hand over another one" + when(at)
		}
	}
	return out
}
