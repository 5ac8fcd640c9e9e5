package entraid

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// password sets a new random password that must be changed at the next sign-in
// (law 4). In containment nobody ever learns it. As a hand-over it is sealed for
// one recipient before it leaves.
type password struct {
	directory
	handOver bool
}

var (
	_ action.Type      = (*password)(nil)
	_ action.Generator = (*password)(nil)
)

// A passwordState is the trace a password leaves, under Graph's name.
type passwordState struct {
	LastPasswordChangeDateTime time.Time `json:"lastPasswordChangeDateTime,omitzero"`
	ReadAt                     time.Time `json:"readAt,omitzero"` // ours: Graph's clock at the reading
}

// ownChange is how long after Look read the account a reset whose answer nobody
// heard can have happened: it left within seconds, and the rest is for clocks. A
// later change is somebody else's, the attacker's perhaps.
const ownChange = 2 * time.Minute

func (p *password) Spec() action.Spec {
	s := action.Spec{
		Version: 1, Provider: identity.EntraID, Permissions: []string{"User-PasswordProfile.ReadWrite.All", "User.Read.All"},
		DirectoryRole: privilegedRole,
		Irreversible:  "the old password cannot be brought back", Password: true,
		Limits: "Not for guests, accounts mastered in Active Directory, or accounts without a password. A stolen token is cured by revoking sessions, not by this.",
		Proof:  "`lastPasswordChangeDateTime` is later than the one read before, and, where Graph did not say that it took the request, at most two minutes later than that reading; all times are Graph's.",
		Batch:  1, Bucket: action.BucketDirectoryWrite, ReadBatch: idsPerFilter,
		NeverRepeat: true, Propagation: 30 * time.Second, Within: 5 * time.Minute,
	}
	if p.handOver {
		s.Name, s.Effect = HandOverPassword, action.EffectRelease
		s.Title, s.Summary = "Set a password and hand it over", "The account has a new random password that one operator can reveal once; it must be changed at the next sign-in."
		s.Params = action.Params{
			{Name: action.ParamRecipient, Type: "string", Required: true, Text: "The operator who may reveal the password."},
			{Name: action.ParamRecipientKey, Type: "string", Required: true, Text: "The public key it is sealed for; the private one is in the one-time link only."},
		}
		return s
	}
	s.Name, s.Effect = ResetPassword, action.EffectCredential
	s.Title, s.Summary = "Reset the password", "The account has a new random password that nobody knows; the old one opens nothing."
	s.Remedies = []signal.Cause{signal.CausePassword}
	return s
}

func (p *password) Look(ctx context.Context, reqs []action.Request) []action.Look {
	return p.look(ctx, reqs, func(u user) string {
		switch {
		case u.guest():
			return "a guest's password belongs to the home tenant"
		case u.LastPasswordChangeDateTime.At.IsZero():
			return "the account has no password of its own: it signs in without one, or at another provider"
		}
		return refuseSynced(u, "a password set here would not reach it")
	}, func(s sighting) (any, string, bool) {
		at := s.user.LastPasswordChangeDateTime
		return passwordState{at.At, s.at}, "password last changed " + clock(at), false
	})
}

// Generate makes the password, and for a hand-over its ciphertext.
func (p *password) Generate(rand io.Reader, r action.Request) (secret, sealed []byte, err error) {
	if secret, err = newPassword(rand); err != nil || !p.handOver {
		return secret, nil, err
	}
	key, _ := r.Params[action.ParamRecipientKey].(string)
	if to, _ := r.Params[action.ParamRecipient].(string); to == "" {
		clear(secret)
		return nil, nil, fault.Errorf(fault.Invalid, "hand over the password: no recipient")
	}
	if sealed, err = action.Seal(key, r.Tenant, r.ID, secret); err != nil {
		clear(secret)
		return nil, nil, fmt.Errorf("hand over the password: %w", err)
	}
	return secret, sealed, nil
}

func (p *password) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		id, err := objectID(r)
		if err == nil && len(r.Secret) < passwordLength {
			err = fault.Errorf(fault.Invalid, "no password was made for this request")
		}
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		var body struct {
			PasswordProfile struct {
				Password                      string `json:"password"`
				ForceChangePasswordNextSignIn bool   `json:"forceChangePasswordNextSignIn"`
			} `json:"passwordProfile"`
		}
		body.PasswordProfile.Password, body.PasswordProfile.ForceChangePasswordNextSignIn = string(r.Secret), true
		out[n] = p.send(ctx, p.Spec(), graph.Request{
			Method: http.MethodPatch, Path: graph.Path("users", id), ClientRequestID: r.ClientRequestID,
			Body: body, Secrets: []string{string(r.Secret)},
		})
	}
	return out
}

// ReadBack takes a later change than the one Look saw for the proof; both times
// are Graph's. Where Graph did not say that it took the request, the change must
// be one that the request can have made.
func (p *password) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	return p.readBack(ctx, reqs, func(r action.Request, s sighting) (any, string, bool) {
		at := s.user.LastPasswordChangeDateTime
		was, ok := before[passwordState](r.Before)
		text, seen := "password last changed "+clock(at), ok && at.At.After(was.LastPasswordChangeDateTime)
		from := was.ReadAt
		if from.IsZero() {
			from = r.Since
		}
		if seen && !r.Accepted && at.At.After(from.Add(ownChange)) {
			text, seen = text+", too late to be this reset: somebody else changed it", false
		}
		return passwordState{at.At, s.at}, text, seen
	})
}

// passwordLength is in characters, about 6 bits each. Entra takes 8 to 256 with
// three of four classes. Source: Entra ID password policies.
const passwordLength = 32

// The characters leave out those that people mistake for each other: a password
// that is handed over is typed.
var passwordClasses = [...]string{
	"abcdefghijkmnopqrstuvwxyz",
	"ABCDEFGHJKLMNPQRSTUVWXYZ",
	"23456789",
	"!#%+-=?@_",
}

// newPassword returns passwordLength characters drawn evenly from all classes,
// drawn anew until each class is in it, so that nothing but chance decides.
func newPassword(rand io.Reader) ([]byte, error) {
	var all string
	for _, c := range passwordClasses {
		all += c
	}
	out := make([]byte, passwordLength)
	for range 100 { // one draw in a hundred fails; a hundred in a row is no chance
		var has [len(passwordClasses)]bool
		for n := range out {
			c, err := draw(rand, all)
			if err != nil {
				clear(out)
				return nil, fault.Errorf(fault.Unavailable, "make a password: read randomness: %w", err)
			}
			out[n] = c
			for k, class := range passwordClasses {
				has[k] = has[k] || contains(class, c)
			}
		}
		if has == [...]bool{true, true, true, true} {
			return out, nil
		}
	}
	clear(out)
	return nil, fault.Errorf(fault.Unavailable, "make a password: the source of randomness is not random")
}

// draw returns one of the characters, each as likely as the others.
func draw(rand io.Reader, from string) (byte, error) {
	var b [1]byte
	limit := 256 - 256%len(from) // above it the first characters would come more often
	for {
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return 0, err
		}
		if int(b[0]) < limit {
			return from[int(b[0])%len(from)], nil
		}
	}
}

func contains(class string, c byte) bool {
	for n := range len(class) {
		if class[n] == c {
			return true
		}
	}
	return false
}
