package entraid

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A passwordProfile is what Graph shows of a user's: never the password.
type passwordProfile struct {
	Force        *bool `json:"forceChangePasswordNextSignIn,omitempty"`
	ForceWithMFA *bool `json:"forceChangePasswordNextSignInWithMfa,omitempty"`
}

const paramMFA = "mfa"

// forced asks for a new password at the next sign-in, or no longer does.
type forced struct {
	directory
	want bool
}

var (
	_ action.Type   = (*forced)(nil)
	_ action.Undoer = (*forced)(nil)
)

func (f *forced) Spec() action.Spec {
	s := action.Spec{
		Version: 1, Provider: identity.EntraID, Permissions: []string{"User-PasswordProfile.ReadWrite.All", "User.Read.All"},
		DirectoryRole: privilegedRole,
		Params:        action.Params{{Name: paramMFA, Type: "boolean", Default: true, Text: "The flag that demands multifactor authentication first."}},
		Batch:         1, Bucket: action.BucketDirectoryWrite, ReadBatch: idsPerFilter,
		Proof:       "The flag in `passwordProfile` has the wanted value. Where Graph shows none, nothing is proven.",
		Propagation: 30 * time.Second, Within: 5 * time.Minute,
	}
	if f.want {
		s.Name, s.Undo, s.Effect = RequirePasswordChange, LiftPasswordChange, action.EffectRestrict
		s.Password = true
		s.Title, s.Summary = "Require a password change", "At the next sign-in the person must set a new password, after multifactor authentication where that is asked for."
		s.Limits = "No remedy for a password that somebody else knows: whoever signs in first sets the new one. Reset it instead. Sessions stay open. Not for guests, accounts mastered in Active Directory, or accounts without a password."
		return s
	}
	s.Name, s.Undo, s.Effect = LiftPasswordChange, RequirePasswordChange, action.EffectRelease
	s.Title, s.Summary = "Lift the password change", "The person may sign in with the present password."
	s.Limits = "Only the one flag is lifted."
	return s
}

// flag is the one that the parameters name, and how it is written.
func (*forced) flag(r action.Request) (read func(*passwordProfile) *bool, name string) {
	if mfa, ok := r.Params[paramMFA].(bool); ok && !mfa {
		return func(p *passwordProfile) *bool { return p.Force }, "forceChangePasswordNextSignIn"
	}
	return func(p *passwordProfile) *bool { return p.ForceWithMFA }, "forceChangePasswordNextSignInWithMfa"
}

// A forcedState is the flag that is replaced.
type forcedState struct {
	Flag string `json:"flag"`
	On   *bool  `json:"on"`
}

func (f *forced) state(r action.Request, u user) forcedState {
	read, name := f.flag(r)
	st := forcedState{Flag: name}
	if u.PasswordProfile != nil {
		st.On = read(u.PasswordProfile)
	}
	return st
}

func (f *forced) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := make([]action.Look, len(reqs))
	for n, s := range f.see(ctx, reqs) {
		l := &out[n]
		if l.Facts = s.facts(); s.err != nil {
			l.Err = s.err
			continue
		}
		st := f.state(reqs[n], s.user)
		switch u := s.user; {
		case !s.found:
			l.Refuse = "Entra ID has no such user any more"
			continue
		case u.guest():
			l.Refuse = "a guest's password belongs to the home tenant"
		case u.LastPasswordChangeDateTime.At.IsZero():
			l.Refuse = "the account has no password of its own: it signs in without one, or at another provider"
		case refuseSynced(u, "") != "":
			l.Refuse = refuseSynced(u, "a change asked for here would not reach it")
		case st.On == nil:
			l.Refuse = "Graph does not show whether a new password is asked for: nothing could be proven"
		}
		l.State, l.Text, l.Already = raw(st), f.say(st), st.On != nil && *st.On == f.want
	}
	return out
}

func (*forced) say(st forcedState) string {
	switch {
	case st.On == nil:
		return "not shown whether a new password is asked for"
	case *st.On:
		return "a new password is asked for at the next sign-in"
	}
	return "no new password is asked for"
}

func (f *forced) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		id, err := objectID(r)
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		_, name := f.flag(r)
		out[n] = f.send(ctx, f.Spec(), graph.Request{
			Method: http.MethodPatch, Path: graph.Path("users", id), ClientRequestID: r.ClientRequestID,
			Body: map[string]any{"passwordProfile": map[string]bool{name: f.want}},
		})
	}
	return out
}

func (f *forced) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	return f.readBack(ctx, reqs, func(r action.Request, s sighting) (any, string, bool) {
		st := f.state(r, s.user)
		return st, f.say(st), st.On != nil && *st.On == f.want
	})
}

// Undo brings the flag back to what it was, unless it was so already.
func (f *forced) Undo(b json.RawMessage) (map[string]any, bool) {
	was, ok := before[forcedState](b)
	if !ok || was.On == nil || *was.On == f.want {
		return nil, false
	}
	return map[string]any{paramMFA: was.Flag != "forceChangePasswordNextSignIn"}, true
}
