package entraid

import (
	"context"
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

const paramRequestIDs = "request_ids"

// A signIn is Graph's signIn, the fields we use, under its names.
type signIn struct {
	ID         string `json:"id"`
	UserID     string `json:"userId,omitempty"`
	RiskState  string `json:"riskState"`
	RiskDetail string `json:"riskDetail,omitempty"`
}

func (s signIn) risky() bool {
	switch strings.ToLower(s.RiskState) {
	case "", "none", "hidden":
		return false
	}
	return true
}

// verdict tells Entra ID Protection what we think of sign-ins of one user.
type verdict struct {
	directory
	spec  action.Spec
	call  string // below auditLogs/signIns
	state string // the wanted riskState
}

var _ action.Type = (*verdict)(nil)

func signInFeedback(d directory, name action.Name) action.Type {
	v := &verdict{directory: d, spec: action.Spec{
		Name: name, Version: 1, Provider: identity.EntraID, Effect: action.EffectVerdict,
		Permissions: []string{"IdentityRiskEvent.ReadWrite.All", "AuditLog.Read.All", "User.Read.All"},
		Params:      action.Params{{Name: paramRequestIDs, Type: "string", Required: true, Fill: action.FillRequestIDs, Text: "Ids of the sign-ins, comma-separated, at most 60."}},
		Batch:       1, Bucket: action.BucketReports, ReadBucket: action.BucketReports,
		Propagation: time.Minute, Within: 15 * time.Minute,
	}}
	s := &v.spec
	switch name {
	case ConfirmSignInsCompromised:
		v.call, v.state = "confirmCompromised", "confirmedCompromised"
		s.Title, s.Summary = "Confirm sign-ins compromised", "The sign-ins count as an attacker's, and the user is at high risk at once."
		s.Limits = "It blocks nobody by itself. Sign-ins that carry no risk cannot be judged."
		s.Irreversible = "a sign-in that was confirmed compromised stays so; the user's risk can be remediated or dismissed"
	case ConfirmSignInsSafe:
		v.call, v.state = "confirmSafe", "confirmedSafe"
		s.Title, s.Summary = "Confirm sign-ins safe", "The sign-ins count as the person's own, and what they added to the user's risk is taken back."
		s.Limits = "It teaches Entra ID Protection not to report the like again. Before the user's risk is dismissed, not after: then Entra refuses it."
		s.Irreversible = "Microsoft offers no way to reopen a risk that was closed"
	default:
		v.call, v.state = "dismiss", "dismissed"
		s.Title, s.Summary = "Dismiss the risk of sign-ins", "The sign-ins count as real and harmless; the user's risk is reckoned anew."
		s.Limits = "It changes no password and ends no session."
		s.Irreversible = "Microsoft offers no way to reopen a risk that was dismissed"
	}
	s.Proof = "`riskState` of each of the sign-ins is `" + v.state + "`."
	return v
}

func (v *verdict) Spec() action.Spec { return v.spec }

// A verdictState is the sign-ins that are judged, as they were.
type verdictState struct {
	Of      string   `json:"of"`
	SignIns []signIn `json:"signIns"`
}

// read reads the named sign-ins, those that are the user's.
func (v *verdict) read(ctx context.Context, r action.Request) (st verdictState, at time.Time, err error) {
	if st.Of, err = objectID(r); err != nil {
		return st, at, err
	}
	named, err := ids(r, paramRequestIDs, func(id string) bool { return isGUID(strings.ToLower(id)) })
	if err == nil && (len(named) == 0 || len(named) > idsPerFeedback) {
		err = fault.Errorf(fault.Invalid, "%s: %d sign-ins are named, not 1 to %d", paramRequestIDs, len(named), idsPerFeedback)
	}
	if err != nil {
		return st, at, err
	}
	for chunk := range slices.Chunk(named, idsPerFilter) {
		var terms []string
		for _, id := range chunk {
			terms = append(terms, "id eq '"+strings.ToLower(id)+"'")
		}
		var found map[string]signIn
		found, at, err = collect(ctx, v.graph, graph.Request{
			Path: "/auditLogs/signIns", Priority: graph.High, Query: url.Values{"$filter": {strings.Join(terms, " or ")}, "$top": {"50"}},
		}, func(s signIn) string { return s.ID })
		if err != nil {
			return st, at, fmt.Errorf("read the sign-ins: %w", err)
		}
		for _, s := range found {
			if strings.EqualFold(s.UserID, st.Of) {
				st.SignIns = append(st.SignIns, s)
			}
		}
	}
	slices.SortFunc(st.SignIns, func(a, b signIn) int { return strings.Compare(a.ID, b.ID) })
	return st, at, nil
}

func (v *verdict) reached(s signIn) bool { return strings.EqualFold(s.RiskState, v.state) }

func (v *verdict) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := v.look(ctx, reqs, func(u user) string {
		if u.guest() {
			return "a guest's risk belongs to the home tenant"
		}
		return ""
	}, func(sighting) (any, string, bool) { return nil, "", false })
	for n, r := range reqs {
		l := &out[n]
		if l.Err != nil || l.Refuse != "" {
			l.State = nil
			continue
		}
		st, _, err := v.read(ctx, r)
		if err != nil {
			l.Err = err
			continue
		}
		st.SignIns = slices.DeleteFunc(st.SignIns, func(s signIn) bool { return !s.risky() })
		l.State, l.Text = raw(st), v.say(st.SignIns)
		l.Already = len(st.SignIns) > 0 && !slices.ContainsFunc(st.SignIns, func(s signIn) bool { return !v.reached(s) })
		if len(st.SignIns) == 0 {
			l.Refuse = "none of the named sign-ins is a risky one of this user: Entra judges no others"
		}
	}
	return out
}

func (v *verdict) say(list []signIn) string {
	return fmt.Sprintf("%d sign-ins: ", len(list)) + listed(list, func(s signIn) string { return line(s.RiskState) })
}

// Do judges the sign-ins that the look recorded.
func (v *verdict) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		id, err := objectID(r)
		was, ok := before[verdictState](r.Before)
		if err == nil && (!ok || was.Of != id || len(was.SignIns) == 0) {
			err = fault.Errorf(fault.Invalid, "no risky sign-in of this user was found")
		}
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		var ids []string
		for _, s := range was.SignIns {
			ids = append(ids, s.ID)
		}
		out[n] = v.send(ctx, v.spec, graph.Request{
			Method: http.MethodPost, Path: graph.Path("auditLogs", "signIns", v.call), ClientRequestID: r.ClientRequestID,
			Body: map[string][]string{"requestIds": ids},
		})
	}
	return out
}

func (v *verdict) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, r := range reqs {
		was, ok := before[verdictState](r.Before)
		st, at, err := v.read(ctx, r)
		switch {
		case errors.Is(err, fault.NotFound):
			out[n].Text = "the sign-ins are gone" + when(at)
			continue
		case err != nil:
			out[n].Err = err
			continue
		}
		seen := ok && was.Of == st.Of && len(was.SignIns) > 0
		for _, w := range was.SignIns {
			seen = seen && slices.ContainsFunc(st.SignIns, func(s signIn) bool { return strings.EqualFold(s.ID, w.ID) && v.reached(s) })
		}
		out[n] = action.Reading{Seen: seen, State: raw(st), Text: v.say(st.SignIns) + when(at)}
	}
	return out
}
