package entraid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// microsoftServices is the tenant that owns Microsoft's own applications.
// Source: Microsoft Entra, "Verify first-party Microsoft applications".
const microsoftServices = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"

// A principal is Graph's servicePrincipal, the fields we use, under its names.
type principal struct {
	ID                     string
	AppID                  string
	DisplayName            string
	AccountEnabled         *bool
	AppOwnerOrganizationID string
}

const principalFields = "id,appId,displayName,accountEnabled,appOwnerOrganizationId"

// ofMicrosoft says why a service principal of Microsoft's own is left alone; ""
// for every other. Half of the tenant would stop with it.
func (p principal) ofMicrosoft() string {
	if strings.EqualFold(p.AppOwnerOrganizationID, microsoftServices) {
		return "it is one of Microsoft's own applications: the tenant's services depend on it"
	}
	return ""
}

// principals reads service principals.
type principals struct{ directory }

func (d directory) principals() principals { return principals{d} }

// A seenPrincipal is what one reading says of one service principal.
type seenPrincipal struct {
	principal
	found bool
	at    time.Time
	err   error
}

func (s seenPrincipal) facts() *identity.Facts {
	if s.err != nil {
		return nil
	}
	found := s.found
	return &identity.Facts{AsOf: s.at, Found: &found, Enabled: s.AccountEnabled}
}

// see reads those that reqs name, one to one, as directory.see does for users.
func (p principals) see(ctx context.Context, reqs []action.Request) []seenPrincipal {
	out := make([]seenPrincipal, len(reqs))
	if len(reqs) == 1 {
		out[0] = p.one(ctx, reqs[0])
		return out
	}
	for from := 0; from < len(reqs); from += idsPerFilter {
		to := min(from+idsPerFilter, len(reqs))
		p.list(ctx, reqs[from:to], out[from:to])
	}
	return out
}

func (p principals) one(ctx context.Context, r action.Request) seenPrincipal {
	id, err := objectID(r)
	if err != nil {
		return seenPrincipal{err: err}
	}
	var s seenPrincipal
	res, err := p.graph.Do(ctx, graph.Request{
		Path: graph.Path("servicePrincipals", id), Query: url.Values{"$select": {principalFields}}, Out: &s.principal, Priority: graph.High,
	})
	switch {
	case errors.Is(err, fault.NotFound):
		return seenPrincipal{at: res.Date}
	case err != nil:
		return seenPrincipal{err: fmt.Errorf("read the service principal: %w", err)}
	case !strings.EqualFold(s.ID, id):
		return seenPrincipal{err: fault.Errorf(fault.Unavailable, "read the service principal: Graph answered with another object than the one asked for")}
	}
	s.found, s.at = true, res.Date
	return s
}

func (p principals) list(ctx context.Context, reqs []action.Request, out []seenPrincipal) {
	ids, err := objectIDs(reqs)
	var found map[string]principal
	var at time.Time
	if err == nil {
		found, at, err = collect(ctx, p.graph, graph.Request{
			Path: "/servicePrincipals", Priority: graph.High,
			Query: url.Values{"$select": {principalFields}, "$filter": {inFilter(ids)}, "$top": {"100"}},
		}, func(p principal) string { return p.ID })
	}
	for n := range out {
		if err != nil {
			out[n].err = fmt.Errorf("read the service principals: %w", err)
			continue
		}
		s, ok := found[strings.ToLower(ids[n])]
		out[n] = seenPrincipal{principal: s, found: ok, at: at}
	}
}

// look makes the Looks of reqs, as directory.look does for users.
func (p principals) look(ctx context.Context, reqs []action.Request, refuse func(principal) string, state func(principal) (any, string, bool)) []action.Look {
	out := make([]action.Look, len(reqs))
	for n, s := range p.see(ctx, reqs) {
		l := &out[n]
		switch {
		case s.err != nil:
			l.Err = s.err
		case !s.found:
			l.Facts, l.Refuse = s.facts(), "Entra ID has no such service principal any more"
		default:
			v, text, already := state(s.principal)
			l.State, l.Text, l.Already, l.Facts, l.Refuse = raw(v), text, already, s.facts(), refuse(s.principal)
		}
	}
	return out
}

// workloadEnabled brings a service principal's accountEnabled to a value.
type workloadEnabled struct {
	directory
	want bool
}

var (
	_ action.Type   = (*workloadEnabled)(nil)
	_ action.Undoer = (*workloadEnabled)(nil)
)

func (e *workloadEnabled) Spec() action.Spec {
	s := action.Spec{
		Version: 1, Provider: identity.EntraID,
		Permissions: []string{"Application.ReadWrite.All"},
		Batch:       1, Bucket: action.BucketDirectoryWrite, ReadBatch: idsPerFilter,
		Proof:       "`accountEnabled` of the service principal has the wanted value.",
		Propagation: 10 * time.Second, Within: 2 * time.Minute,
	}
	if e.want {
		s.Name, s.Undo, s.Effect = EnableWorkload, DisableWorkload, action.EffectRelease
		s.Title, s.Summary = "Enable the workload", "The service principal may sign in again."
		s.Limits = "What was done to its credentials and permissions stays. Where Microsoft itself disabled the application, it stays disabled."
		return s
	}
	s.Name, s.Undo, s.Effect = DisableWorkload, EnableWorkload, action.EffectRestrict
	s.Title, s.Summary = "Disable the workload", "Nothing signs in as this service principal in this tenant, nobody signs in to it, and no new token is issued."
	s.Remedies = []signal.Cause{signal.CauseWorkload, signal.CauseConsent, signal.CauseUnknown}
	s.Limits = "Whatever the workload does stops. Access tokens already issued live up to about an hour, with continuous access evaluation up to 24 hours unless the resource hears of it. Not for Microsoft's own applications. Its credentials stay: remove the suspect one before it is enabled again."
	return s
}

func (e *workloadEnabled) Look(ctx context.Context, reqs []action.Request) []action.Look {
	return e.principals().look(ctx, reqs, func(p principal) string {
		if p.AccountEnabled == nil {
			return "Entra ID does not say whether the service principal is enabled"
		}
		return p.ofMicrosoft()
	}, func(p principal) (any, string, bool) {
		return enabledState{p.AccountEnabled}, (*enabled)(nil).word(p.AccountEnabled), p.AccountEnabled != nil && *p.AccountEnabled == e.want
	})
}

func (e *workloadEnabled) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		id, err := objectID(r)
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		out[n] = e.send(ctx, e.Spec(), graph.Request{
			Method: http.MethodPatch, Path: graph.Path("servicePrincipals", id), ClientRequestID: r.ClientRequestID,
			Body: enabledState{&e.want},
		})
	}
	return out
}

func (e *workloadEnabled) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, s := range e.principals().see(ctx, reqs) {
		switch on := s.AccountEnabled; {
		case s.err != nil:
			out[n].Err = s.err
		case !s.found:
			out[n].Text = "the service principal is gone" + when(s.at)
		default:
			out[n] = action.Reading{Seen: on != nil && *on == e.want, State: raw(enabledState{on}), Text: "accountEnabled is " + (*enabled)(nil).flag(on) + when(s.at)}
		}
	}
	return out
}

// Undo brings the flag back to what it was, unless it was so already.
func (e *workloadEnabled) Undo(b json.RawMessage) (map[string]any, bool) {
	was, ok := before[enabledState](b)
	return nil, ok && was.AccountEnabled != nil && *was.AccountEnabled != e.want
}
