package entraid

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// idsPerFilter is how many ids one "id in (…)" takes on directory objects.
// Source: Microsoft Graph, "Use the $filter query parameter": 15 by default.
const idsPerFilter = 15

// A directory reads users.
type directory struct {
	graph *graph.Client
	more  string // of a user, beside userFields: "" or ",field"
}

// A user is Graph's user, the fields we use, under its names.
type user struct {
	ID                              string
	UserPrincipalName               string
	UserType                        string
	AccountEnabled                  *bool
	OnPremisesSyncEnabled           json.RawMessage // null: never synced; absent: not told
	LastPasswordChangeDateTime      graph.Time
	SignInSessionsValidFromDateTime graph.Time
	PasswordProfile                 *passwordProfile // asked for where it is used
}

const userFields = "id,userPrincipalName,userType,accountEnabled,onPremisesSyncEnabled,lastPasswordChangeDateTime,signInSessionsValidFromDateTime"

func (u user) guest() bool { return strings.EqualFold(u.UserType, "Guest") }

// synced reports whether Active Directory masters the account; nil: not told.
func (u user) synced() *bool {
	switch string(bytes.TrimSpace(u.OnPremisesSyncEnabled)) {
	case "true":
		v := true
		return &v
	case "false", "null":
		v := false
		return &v
	}
	return nil
}

// A sighting is what one reading says of one user.
type sighting struct {
	user  user
	found bool
	at    time.Time // Graph's clock at the reading, whole seconds; zero when it did not say
	err   error
}

// facts are what the sighting says about the account.
func (s sighting) facts() *identity.Facts {
	if s.err != nil {
		return nil
	}
	found := s.found
	f := &identity.Facts{AsOf: s.at, Found: &found}
	if !found {
		return f
	}
	f.Enabled, f.UserType, f.Synced = s.user.AccountEnabled, s.user.UserType, s.user.synced()
	f.LastPasswordChange, f.SessionsValidFrom = s.user.LastPasswordChangeDateTime.At, s.user.SignInSessionsValidFromDateTime.At
	return f
}

// see reads the users that reqs name, one to one: a single one by its id, more by
// lists. A user the directory does not have is not an error.
func (d directory) see(ctx context.Context, reqs []action.Request) []sighting {
	out := make([]sighting, len(reqs))
	if len(reqs) == 1 {
		out[0] = d.one(ctx, reqs[0])
		return out
	}
	for from := 0; from < len(reqs); from += idsPerFilter {
		to := min(from+idsPerFilter, len(reqs))
		d.list(ctx, reqs[from:to], out[from:to])
	}
	return out
}

func (d directory) one(ctx context.Context, r action.Request) sighting {
	id, err := objectID(r)
	if err != nil {
		return sighting{err: err}
	}
	var u user
	res, err := d.graph.Do(ctx, graph.Request{
		Path: graph.Path("users", id), Query: url.Values{"$select": {userFields + d.more}}, Out: &u, Priority: graph.High,
	})
	switch {
	case errors.Is(err, fault.NotFound):
		return sighting{at: res.Date}
	case err != nil:
		return sighting{err: fmt.Errorf("read the user: %w", err)}
	case !strings.EqualFold(u.ID, id):
		return sighting{err: fault.Errorf(fault.Unavailable, "read the user: Graph answered with another object than the one asked for")}
	}
	return sighting{user: u, found: true, at: res.Date}
}

func (d directory) list(ctx context.Context, reqs []action.Request, out []sighting) {
	ids, err := objectIDs(reqs)
	fail := func(err error) {
		for n := range out {
			out[n] = sighting{err: err}
		}
	}
	if err != nil {
		fail(err)
		return
	}
	users, at, err := collect(ctx, d.graph, graph.Request{
		Path: "/users", Priority: graph.High,
		Query: url.Values{"$select": {userFields + d.more}, "$filter": {inFilter(ids)}, "$top": {"100"}},
	}, func(u user) string { return u.ID })
	if err != nil {
		fail(fmt.Errorf("read the users: %w", err))
		return
	}
	for n, id := range ids {
		u, ok := users[strings.ToLower(id)]
		out[n] = sighting{user: u, found: ok, at: at}
	}
}

// collect reads a whole collection by id. One object that cannot be read is an
// error: what it says of its account must not pass for "not there".
func collect[T any](ctx context.Context, c *graph.Client, r graph.Request, id func(T) string) (map[string]T, time.Time, error) {
	out := map[string]T{}
	var at time.Time
	for page, err := range graph.Pages[T](ctx, c, r, graph.Paging{MaxPages: 50}) {
		if err != nil {
			return nil, at, err
		}
		at = page.Response.Date
		for _, o := range page.Objects {
			if o.Err != nil {
				return nil, at, fault.Errorf(fault.Unavailable, "an object of the answer cannot be read: %w", o.Err)
			}
			out[strings.ToLower(id(o.Value))] = o.Value
		}
	}
	return out, at, nil
}

// inFilter quotes the ids, which objectID has checked to be GUIDs.
func inFilter(ids []string) string { return "id in ('" + strings.Join(ids, "','") + "')" }

// objectID returns the user's object id. It refuses what is not a GUID: a name
// would find somebody else once it was given away.
func objectID(r action.Request) (string, error) {
	id := identity.Account{Ref: r.Account}.Key()
	if r.Account.Provider != identity.EntraID || !isGUID(id) {
		return "", fault.Errorf(fault.Invalid, "%s is not an Entra account with an object id", r.Account.Name())
	}
	return id, nil
}

func objectIDs(reqs []action.Request) ([]string, error) {
	ids := make([]string, len(reqs))
	for n, r := range reqs {
		var err error
		if ids[n], err = objectID(r); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for n, c := range []byte(s) {
		dash := n == 8 || n == 13 || n == 18 || n == 23
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}

// look makes the Looks of reqs: refuse says why a user cannot be the target, state
// what would be replaced and whether the wanted state holds.
func (d directory) look(ctx context.Context, reqs []action.Request, refuse func(user) string, state func(sighting) (any, string, bool)) []action.Look {
	out := make([]action.Look, len(reqs))
	for n, s := range d.see(ctx, reqs) {
		l := &out[n]
		switch {
		case s.err != nil:
			l.Err = s.err
			continue
		case !s.found:
			l.Facts, l.Refuse = s.facts(), "Entra ID has no such user any more"
			continue
		}
		v, text, already := state(s)
		l.State, l.Text, l.Already, l.Facts, l.Refuse = raw(v), text, already, s.facts(), refuse(s.user)
	}
	return out
}

// readBack makes the Readings of reqs: proof says whether the wanted state is
// there, and what was seen.
func (d directory) readBack(ctx context.Context, reqs []action.Request, proof func(action.Request, sighting) (any, string, bool)) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, s := range d.see(ctx, reqs) {
		switch {
		case s.err != nil:
			out[n].Err = s.err
		case !s.found:
			out[n].Text = "the user is gone" + when(s.at)
		default:
			v, text, seen := proof(reqs[n], s)
			out[n] = action.Reading{Seen: seen, State: raw(v), Text: text + when(s.at)}
		}
	}
	return out
}

// refuseSynced says why a change that Active Directory masters cannot be made
// here. Not knowing is no reason to try.
func refuseSynced(u user, undone string) string {
	switch s := u.synced(); {
	case s == nil:
		return "Entra ID does not say whether the account is synchronised from Active Directory"
	case *s:
		return "mastered in Active Directory; " + undone
	}
	return ""
}

// send makes one write and says what became of it.
func (d directory) send(ctx context.Context, spec action.Spec, r graph.Request) action.Outcome {
	r.Priority = graph.High
	res, err := d.graph.Do(ctx, r)
	out := outcome(spec, res, err)
	out.RequestID, out.Pressure = res.RequestID, res.Throttle.Percentage
	return out
}

// outcome judges one answer. What did nothing and may work another time is Later,
// also when our own token is the trouble; only what another try cannot cure is
// Refused.
func outcome(spec action.Spec, res graph.Response, err error) action.Outcome {
	if err == nil {
		return action.Outcome{Verdict: action.Accepted}
	}
	var e *graph.Error
	if !errors.As(err, &e) {
		return action.Outcome{Verdict: action.Unknown, Reason: "the request ended in an error that says nothing of its effect"}
	}
	out := action.Outcome{Reason: said(e)}
	switch {
	case errors.Is(err, fault.Unknown):
		out.Verdict = action.Unknown
	case errors.Is(err, fault.Unavailable), errors.Is(err, fault.Conflict):
		out.Verdict, out.Throttled = action.Later, e.Status == http.StatusTooManyRequests
		if after, ok := fault.RetryAfter(err); ok {
			out.After = after
		}
	case e.Status == 0 || e.Status == http.StatusUnauthorized:
		out.Verdict, out.After = action.Later, 30*time.Second
		out.Reason = "Cordon could not sign in to Graph: " + out.Reason
	case e.Status == http.StatusForbidden:
		out.Verdict, out.Reason = action.Refused, denied(spec, e)
	case errors.Is(err, fault.NotFound):
		has := "Entra ID has no such "
		if strings.HasPrefix(string(spec.Name), "defender.alerts.") {
			has = "Defender has no such "
		}
		out.Verdict, out.Reason = action.Refused, has+noun(spec)+" any more ("+out.Reason+")"
	default:
		out.Verdict = action.Refused
	}
	return out
}

// noun is what the action's targets are.
func noun(spec action.Spec) string {
	switch {
	case strings.Contains(string(spec.Name), ".workload."):
		return "service principal"
	case strings.Contains(string(spec.Name), ".agent."):
		return "agent"
	case strings.Contains(string(spec.Name), ".alerts."):
		return "alert"
	case spec.Provider == identity.ActiveDirectory:
		return "account at Defender for Identity"
	}
	return "user"
}

// denied says which permission or role is missing: Graph gives one code for both.
func denied(spec action.Spec, e *graph.Error) string {
	if strings.Contains(strings.ToLower(e.Code+e.InnerCode), "nonpremium") {
		return "the tenant lacks the Entra ID licence for this: " + said(e)
	}
	text := "Graph refused it: the app lacks a permission of " + strings.Join(spec.Permissions, ", ")
	if spec.DirectoryRole != "" {
		text += ", or, when the target holds a directory role, its service principal lacks the role " + spec.DirectoryRole
	}
	return text + " (" + said(e) + ")"
}

// said is Graph's answer in one short line.
func said(e *graph.Error) string {
	var text string
	switch {
	case e.Status != 0:
		text = strings.TrimSpace(strconv.Itoa(e.Status) + " " + e.Code)
		if e.Message != "" {
			text += ": " + e.Message
		}
	case e.Err != nil:
		text = e.Err.Error()
	default:
		text = "no answer"
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 240 {
		text = strings.ToValidUTF8(text[:240], "") + "…"
	}
	return text
}

func when(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", read at " + at.UTC().Format("15:04:05") + " UTC"
}

func clock(t graph.Time) string {
	if t.At.IsZero() {
		return cmp.Or(t.Raw, "never")
	}
	return t.At.Format(time.RFC3339)
}

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // values are structs of strings, times and booleans
		panic(fmt.Sprintf("entraid: encode a state: %v", err))
	}
	return b
}

// before decodes what Look recorded; ok is false when there is nothing.
func before[T any](r json.RawMessage) (v T, ok bool) {
	return v, len(r) > 0 && json.Unmarshal(r, &v) == nil
}
