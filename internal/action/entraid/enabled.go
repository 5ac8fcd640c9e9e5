package entraid

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// ParamSynced lets accountEnabled of an account mastered in Active Directory be
// changed: the flag holds until the next synchronisation brings what the source says.
const ParamSynced = "synced"

// enabled brings accountEnabled to a value. It does not reach access tokens that
// were issued already: see revoke.
type enabled struct {
	directory
	want bool
}

var (
	_ action.Type   = (*enabled)(nil)
	_ action.Undoer = (*enabled)(nil)
)

// An enabledState is what enabled replaces, under Graph's name.
type enabledState struct {
	AccountEnabled *bool `json:"accountEnabled"`
}

// A userState is an enabledState, and whether Active Directory masters it.
type userState struct {
	AccountEnabled *bool `json:"accountEnabled"`
	Synced         bool  `json:"onPremisesSyncEnabled,omitempty"`
}

func (e *enabled) Spec() action.Spec {
	s := action.Spec{
		Version: 1, Provider: identity.EntraID,
		Permissions:   []string{"User.EnableDisableAccount.All", "User.Read.All"},
		DirectoryRole: privilegedRole,
		Params: action.Params{{Name: ParamSynced, Type: "boolean",
			Text: "Also for an account mastered in Active Directory. Alone it does not last: the next synchronisation undoes it unless the account is disabled there too."}},
		Batch: 1, Bucket: action.BucketDirectoryWrite, ReadBatch: idsPerFilter,
		Proof:       "`accountEnabled` has the wanted value.",
		Propagation: 10 * time.Second, Within: 2 * time.Minute,
	}
	if e.want {
		s.Name, s.Undo, s.Effect = Enable, Disable, action.EffectRelease
		s.Title, s.Summary = "Enable the account", "The account may sign in again."
		s.Limits = "Of an account mastered in Active Directory only with synced: the next synchronisation brings what Active Directory says. What was done to password and sessions stays."
		return s
	}
	s.Name, s.Undo, s.Effect = Disable, Enable, action.EffectRestrict
	s.Title, s.Summary = "Disable the account", "Nobody signs in as this account, and no new token is issued."
	s.Remedies = []signal.Cause{signal.CausePassword, signal.CauseSession, signal.CauseBoth, signal.CauseUnknown}
	s.Limits = "Of an account mastered in Active Directory only with synced, and only until the next synchronisation (30 minutes by default) unless it is disabled there too. Access tokens already issued live up to about an hour where an application does not evaluate access continuously; application cookies are out of reach."
	return s
}

func (e *enabled) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := e.look(ctx, reqs, func(u user) string {
		if u.AccountEnabled == nil {
			return "Entra ID does not say whether the account is enabled"
		}
		return refuseSynced(u, "the next synchronisation would undo it")
	}, func(s sighting) (any, string, bool) {
		on, synced := s.user.AccountEnabled, s.user.synced()
		return userState{on, synced != nil && *synced}, e.word(on), on != nil && *on == e.want
	})
	for n, r := range reqs {
		was, ok := before[userState](out[n].State)
		if asked, _ := r.Params[ParamSynced].(bool); ok && asked && was.Synced && was.AccountEnabled != nil {
			out[n].Refuse = ""
			out[n].Text += "; mastered in Active Directory: the next synchronisation brings what is set there"
		}
	}
	return out
}

func (e *enabled) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		id, err := objectID(r)
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		out[n] = e.send(ctx, e.Spec(), graph.Request{
			Method: http.MethodPatch, Path: graph.Path("users", id), ClientRequestID: r.ClientRequestID,
			Body: enabledState{&e.want},
		})
	}
	return out
}

func (e *enabled) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	return e.readBack(ctx, reqs, func(_ action.Request, s sighting) (any, string, bool) {
		on := s.user.AccountEnabled
		return enabledState{on}, "accountEnabled is " + e.flag(on), on != nil && *on == e.want
	})
}

// Undo brings the flag back to what it was, unless it was so already.
func (e *enabled) Undo(b json.RawMessage) (params map[string]any, ok bool) {
	was, known := before[userState](b)
	if was.Synced {
		params = map[string]any{ParamSynced: true}
	}
	return params, known && was.AccountEnabled != nil && *was.AccountEnabled != e.want
}

func (*enabled) word(on *bool) string {
	switch {
	case on == nil:
		return "not known"
	case *on:
		return "enabled"
	}
	return "disabled"
}

func (*enabled) flag(on *bool) string {
	switch {
	case on == nil:
		return "not told"
	case *on:
		return "true"
	}
	return "false"
}
