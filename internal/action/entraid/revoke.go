package entraid

import (
	"context"
	"net/http"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// revoke signs a user out everywhere: refresh tokens and session cookies issued
// before now stop working. Doing it twice only moves the moment forward.
type revoke struct {
	directory
}

var _ action.Type = (*revoke)(nil)

// A sessionState is what revoke replaces. ReadAt is Graph's clock at the reading:
// both are in whole seconds of the same clock, so that they can be compared.
type sessionState struct {
	SignInSessionsValidFromDateTime time.Time `json:"signInSessionsValidFromDateTime,omitzero"`
	ReadAt                          time.Time `json:"readAt,omitzero"`
}

func (*revoke) Spec() action.Spec {
	return action.Spec{
		Name: RevokeSessions, Version: 1, Provider: identity.EntraID, Effect: action.EffectRestrict,
		Title:         "Revoke sign-in sessions",
		Summary:       "Every session that began before now ends; the person signs in again everywhere.",
		Permissions:   []string{"User.RevokeSessions.All", "User.Read.All"},
		DirectoryRole: privilegedRole,
		Remedies:      []signal.Cause{signal.CauseSession},
		Irreversible:  "sessions that were ended do not come back; the person signs in again",
		Limits:        "Takes hold after a few minutes. Access tokens already issued live up to about an hour where an application does not evaluate access continuously; application cookies are out of reach. It does not reach guests, who sign in at home.",
		Proof:         "`signInSessionsValidFromDateTime` is later than the one read before; both times are Graph's. Where it was of the very second in which it was read, the same value counts if Graph took the request.",
		Batch:         1, Bucket: action.BucketDirectoryWrite, ReadBatch: idsPerFilter,
		Propagation: 30 * time.Second, Within: 10 * time.Minute,
	}
}

func (a *revoke) Look(ctx context.Context, reqs []action.Request) []action.Look {
	return a.look(ctx, reqs, func(u user) string {
		if u.guest() {
			return "a guest's sessions belong to the home tenant: revoking them here does nothing"
		}
		return ""
	}, func(s sighting) (any, string, bool) {
		from := s.user.SignInSessionsValidFromDateTime
		return sessionState{from.At, s.at}, "sessions valid from " + clock(from), false
	})
}

func (a *revoke) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		id, err := objectID(r)
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		// Documented is 200 with a value; other 2xx codes occur, so none is read.
		out[n] = a.send(ctx, a.Spec(), graph.Request{
			Method: http.MethodPost, Path: graph.Path("users", id, "revokeSignInSessions"), ClientRequestID: r.ClientRequestID,
		})
	}
	return out
}

// ReadBack compares Graph's times with each other and never with our clock. When
// sessions had been ended in the very second in which Look read them, ending them
// again leaves no trace: that Graph took the request is then all the proof there
// can be, and without it there is none.
func (a *revoke) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	return a.readBack(ctx, reqs, func(r action.Request, s sighting) (any, string, bool) {
		from := s.user.SignInSessionsValidFromDateTime
		was, ok := before[sessionState](r.Before)
		then := was.SignInSessionsValidFromDateTime
		fresh := r.Accepted && !was.ReadAt.IsZero() && !then.IsZero() && !then.Before(was.ReadAt)
		seen := ok && (from.At.After(then) || fresh && from.At.Equal(then))
		return sessionState{from.At, s.at}, "sessions valid from " + clock(from), seen
	})
}
