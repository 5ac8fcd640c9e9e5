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

const paramKeyIDs = "key_ids"

// removeCredential removes suspect client secrets and certificates of a workload,
// from its service principal and its application, and no others.
type removeCredential struct{ directory }

var _ action.Type = (*removeCredential)(nil)

func (*removeCredential) Spec() action.Spec {
	return action.Spec{
		Name: RemoveCredential, Version: 1, Provider: identity.EntraID, Effect: action.EffectCredential,
		Title:        "Remove the suspect credential",
		Summary:      "The named client secrets and certificates open nothing any more; all others stay.",
		Permissions:  []string{"Application.ReadWrite.All"},
		Remedies:     []signal.Cause{signal.CauseWorkload},
		Irreversible: "a removed secret or certificate cannot be brought back; the workload goes on with its newer one",
		Limits:       "Waits until the workload has a newer credential that is valid, so that nothing breaks: give it a certificate where possible. Tokens issued with the old one live up to about an hour. Where the application is registered in another tenant, only what hangs on the service principal here can be removed.",
		Proof:        "None of the key ids is listed at the service principal or the application.",
		Params: action.Params{{
			Name: paramKeyIDs, Type: "string", Required: true, Fill: action.FillKeyIDs,
			Text: "Key ids of the credentials to remove, comma-separated.",
		}},
		Batch: 1, Bucket: action.BucketDirectoryWrite,
		Propagation: 30 * time.Second, Within: 5 * time.Minute,
	}
}

// A credential is Graph's passwordCredential or keyCredential, the fields we use.
type credential struct {
	KeyID         string     `json:"keyId"`
	DisplayName   string     `json:"displayName,omitempty"`
	StartDateTime graph.Time `json:"startDateTime"`
	EndDateTime   graph.Time `json:"endDateTime"`
}

// A keyring is an object that credentials hang on, as Graph returns it.
type keyring struct {
	ID                  string            `json:"id"`
	AppID               string            `json:"appId"`
	PasswordCredentials []credential      `json:"passwordCredentials"`
	KeyCredentials      []json.RawMessage `json:"keyCredentials"` // kept whole: the others are sent back when one is taken out

	path string // the collection it is in
}

// A heldCredential is one credential and where it hangs: what removeCredential
// replaces. There is no secret in it; Graph shows none.
type heldCredential struct {
	KeyID  string    `json:"keyId"`
	Name   string    `json:"name,omitempty"`
	Kind   string    `json:"kind"` // secret or certificate
	On     string    `json:"on"`   // servicePrincipals or applications
	Object string    `json:"object"`
	From   time.Time `json:"from,omitzero"`
	Until  time.Time `json:"until,omitzero"`
}

// A credentialState is the key-id snapshot: those to remove, and the others.
type credentialState struct {
	Suspect []heldCredential `json:"suspect"`
	Others  []heldCredential `json:"others"`
}

func (k keyring) credentials() ([]heldCredential, error) {
	var out []heldCredential
	add := func(c credential, kind string) {
		out = append(out, heldCredential{strings.ToLower(c.KeyID), line(c.DisplayName), kind, k.path, k.ID, c.StartDateTime.At, c.EndDateTime.At})
	}
	for _, c := range k.PasswordCredentials {
		add(c, "secret")
	}
	for _, b := range k.KeyCredentials {
		var c credential
		if err := json.Unmarshal(b, &c); err != nil {
			return nil, fault.Errorf(fault.Unavailable, "a certificate of the answer cannot be read: %w", err)
		}
		add(c, "certificate")
	}
	return out, nil
}

// rings reads the service principal and, where it is registered in this tenant,
// its application. None without an error: there is no such service principal.
func (a *removeCredential) rings(ctx context.Context, r action.Request) (rings []keyring, at time.Time, requestID string, err error) {
	id, err := objectID(r)
	if err != nil {
		return nil, at, "", err
	}
	const fields = "id,appId,passwordCredentials,keyCredentials"
	sp := keyring{path: "servicePrincipals"}
	res, err := a.graph.Do(ctx, graph.Request{Path: graph.Path(sp.path, id), Query: url.Values{"$select": {fields}}, Out: &sp, Priority: graph.High})
	switch {
	case errors.Is(err, fault.NotFound):
		return nil, res.Date, res.RequestID, nil
	case err != nil:
		return nil, at, "", fmt.Errorf("read the service principal's credentials: %w", err)
	case !strings.EqualFold(sp.ID, id):
		return nil, at, "", fault.Errorf(fault.Unavailable, "read the service principal's credentials: Graph answered with another object than the one asked for")
	}
	rings = append(rings, sp)
	if !isGUID(strings.ToLower(sp.AppID)) {
		return rings, res.Date, res.RequestID, nil // a managed identity may have none
	}
	apps, _, err := collect(ctx, a.graph, graph.Request{
		Path: "/applications", Priority: graph.High, Query: url.Values{"$select": {"id,appId"}, "$filter": {"appId eq '" + strings.ToLower(sp.AppID) + "'"}},
	}, func(k keyring) string { return k.ID })
	if err != nil {
		return nil, at, "", fmt.Errorf("look for the application: %w", err)
	}
	for _, k := range apps {
		if !strings.EqualFold(k.AppID, sp.AppID) || !isGUID(strings.ToLower(k.ID)) {
			return nil, at, "", fault.Errorf(fault.Unavailable, "look for the application: Graph answered with another one than the one asked for")
		}
		// The keys of certificates come only with a single object. Source: application
		// resource, keyCredentials.
		app := keyring{path: "applications"}
		if _, err := a.graph.Do(ctx, graph.Request{Path: graph.Path(app.path, k.ID), Query: url.Values{"$select": {fields}}, Out: &app, Priority: graph.High}); err != nil {
			return nil, at, "", fmt.Errorf("read the application's credentials: %w", err)
		}
		rings = append(rings, app)
	}
	return rings, res.Date, res.RequestID, nil
}

// split sorts the credentials of rings into the suspect ones and the others.
func split(rings []keyring, suspects []string) (st credentialState, err error) {
	for _, k := range rings {
		list, err := k.credentials()
		if err != nil {
			return st, err
		}
		for _, c := range list {
			if slices.Contains(suspects, c.KeyID) {
				st.Suspect = append(st.Suspect, c)
			} else {
				st.Others = append(st.Others, c)
			}
		}
	}
	return st, nil
}

// suspects reads the parameter.
func suspects(r action.Request) ([]string, error) {
	text, _ := r.Params[paramKeyIDs].(string)
	var out []string
	for id := range strings.SplitSeq(text, ",") {
		id = strings.ToLower(strings.TrimSpace(id))
		if !isGUID(id) {
			return nil, fault.Errorf(fault.Invalid, "%s: %q is not a key id", paramKeyIDs, line(id))
		}
		out = append(out, id)
	}
	return out, nil
}

// newer returns a credential that can take the place of the suspect ones: valid
// at the time, and made after each of them.
func (st credentialState) newer(at time.Time) (heldCredential, bool) {
	var last time.Time
	for _, c := range st.Suspect {
		if c.From.After(last) {
			last = c.From
		}
	}
	i := slices.IndexFunc(st.Others, func(c heldCredential) bool {
		return c.From.After(last) && !c.From.After(at) && c.Until.After(at)
	})
	if i < 0 {
		return heldCredential{}, false
	}
	return st.Others[i], true
}

func (a *removeCredential) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := make([]action.Look, len(reqs))
	for n, r := range reqs {
		out[n] = a.lookAt(ctx, r)
	}
	return out
}

func (a *removeCredential) lookAt(ctx context.Context, r action.Request) action.Look {
	ids, err := suspects(r)
	if err != nil {
		return action.Look{Err: err}
	}
	rings, at, _, err := a.rings(ctx, r)
	if err != nil {
		return action.Look{Err: err}
	}
	if len(rings) == 0 {
		found := false
		return action.Look{Refuse: "Entra ID has no such service principal any more", Facts: &identity.Facts{AsOf: at, Found: &found}}
	}
	st, err := split(rings, ids)
	if err != nil {
		return action.Look{Err: err}
	}
	l := action.Look{State: raw(st), Already: len(st.Suspect) == 0}
	if l.Already {
		l.Text = "none of the suspect credentials is there"
		if len(rings) == 1 {
			l.Already, l.Refuse = false, "the suspect credential does not hang on the service principal, and its application is registered in another tenant: its owner must remove it"
		}
		return l
	}
	l.Text = fmt.Sprintf("%s suspect, %d others", named(st.Suspect), len(st.Others))
	if _, ok := st.newer(at); !ok {
		// Asked again by itself: the newer one may come at any time.
		l.Err = fault.Errorf(fault.Held, "the workload has no newer credential that is valid: give it one, and the suspect one (%s) is removed", named(st.Suspect))
	}
	return l
}

// named lists credentials for people.
func named(list []heldCredential) string {
	var out []string
	for _, c := range list {
		out = append(out, strings.TrimSpace(c.Kind+" "+cmp.Or(c.Name, c.KeyID)))
	}
	if len(out) > 3 {
		out = append(out[:3], fmt.Sprintf("%d more", len(out)-3))
	}
	return strings.Join(out, ", ")
}

// Do reads the credentials again: what others removed meanwhile is not asked for
// twice, and the certificates that stay are sent back as they are now.
func (a *removeCredential) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		out[n] = a.remove(ctx, r)
	}
	return out
}

func (a *removeCredential) remove(ctx context.Context, r action.Request) action.Outcome {
	ids, err := suspects(r)
	if err != nil {
		return action.Outcome{Verdict: action.Refused, Reason: err.Error()}
	}
	rings, at, requestID, err := a.rings(ctx, r)
	switch {
	case errors.Is(err, fault.Invalid):
		return action.Outcome{Verdict: action.Refused, Reason: err.Error()}
	case err != nil:
		return action.Outcome{Verdict: action.Later, Reason: err.Error()}
	case len(rings) == 0:
		return action.Outcome{Verdict: action.Refused, Reason: "Entra ID has no such service principal any more", RequestID: requestID}
	}
	st, err := split(rings, ids)
	if err != nil {
		return action.Outcome{Verdict: action.Later, Reason: err.Error()}
	}
	if _, ok := st.newer(at); !ok && len(st.Suspect) > 0 {
		return action.Outcome{Verdict: action.Later, Reason: "the newer credential is gone again", After: 30 * time.Second}
	}
	writes := removals(rings, ids, r.ClientRequestID)
	if len(writes) == 0 {
		return action.Outcome{Verdict: action.Accepted, RequestID: requestID}
	}
	return a.several(ctx, a.Spec(), writes, notThere)
}

// removals are the requests that take the credentials away: one for each secret,
// and one for all certificates of an object, whose removeKey asks for a proof that
// only the workload itself can give.
func removals(rings []keyring, ids []string, clientRequestID string) (writes []graph.Request) {
	for _, k := range rings {
		for _, c := range k.PasswordCredentials {
			if slices.Contains(ids, strings.ToLower(c.KeyID)) {
				writes = append(writes, graph.Request{
					Method: http.MethodPost, Path: graph.Path(k.path, k.ID, "removePassword"), ClientRequestID: clientRequestID,
					Body: map[string]string{"keyId": c.KeyID},
				})
			}
		}
		stay := []json.RawMessage{}
		for _, b := range k.KeyCredentials {
			var c credential
			if json.Unmarshal(b, &c) != nil || !slices.Contains(ids, strings.ToLower(c.KeyID)) {
				stay = append(stay, b)
			}
		}
		if len(stay) < len(k.KeyCredentials) {
			writes = append(writes, graph.Request{
				Method: http.MethodPatch, Path: graph.Path(k.path, k.ID), ClientRequestID: clientRequestID,
				Body: map[string]any{"keyCredentials": stay},
			})
		}
	}
	return writes
}

func (a *removeCredential) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, r := range reqs {
		ids, err := suspects(r)
		var rings []keyring
		var at time.Time
		var st credentialState
		if err == nil {
			rings, at, _, err = a.rings(ctx, r)
		}
		if err == nil {
			st, err = split(rings, ids)
		}
		switch {
		case err != nil:
			out[n].Err = err
		case len(rings) == 0:
			out[n].Text = "the service principal is gone" + when(at)
		case len(st.Suspect) > 0:
			out[n] = action.Reading{State: raw(st), Text: "still there: " + named(st.Suspect) + when(at)}
		default:
			out[n] = action.Reading{Seen: true, State: raw(st), Text: fmt.Sprintf("the suspect credential is gone, %d others are there", len(st.Others)) + when(at)}
		}
	}
	return out
}

// line makes foreign text one short line.
func line(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}
