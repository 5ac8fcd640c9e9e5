package entraid

import (
	"context"
	"encoding/json"
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

// invocation asks Defender for Identity to change an account of Active Directory
// through the sensor on a domain controller, or the account in Okta of the same
// identity through its own connection there. Its answer is a correlation id and
// says nothing of the outcome: what became of it is read.
//
// Source: Microsoft Graph v1.0, "identityAccounts: invokeAction", and its table of
// actions by provider.
type invocation struct {
	directory
	name action.Name
	invoked
}

// invoked is what is asked of Defender, in its words.
type invoked struct {
	word, at string // the action and the provider
	// unseen says where a person looks, for what Graph shows nothing of.
	unseen string
}

const lookInOkta = "how the account stands in Okta"

var invocations = map[action.Name]invoked{
	DefenderDisable:     {word: "disable", at: "activeDirectory"},
	DefenderEnable:      {word: "enable", at: "activeDirectory"},
	DefenderForceReset:  {word: "forcePasswordReset", at: "activeDirectory", unseen: "pwdLastSet in Active Directory"},
	DefenderOktaDisable: {word: "disable", at: "okta", unseen: lookInOkta},
	DefenderOktaEnable:  {word: "enable", at: "okta", unseen: lookInOkta},
	DefenderOktaRevoke:  {word: "revokeAllSessions", at: "okta", unseen: "the account's sessions in Okta"},
}

var (
	_ action.Type   = (*invocation)(nil)
	_ action.Undoer = reversibleInvocation{}
)

// reversibleInvocation is one whose effect can be taken back.
type reversibleInvocation struct{ *invocation }

// Undo brings the flag back to what it was, unless it was so already.
func (v reversibleInvocation) Undo(b json.RawMessage) (map[string]any, bool) {
	was, ok := before[defenderState](b)
	return nil, ok && was.Enabled != nil && *was.Enabled != v.want()
}

func invoke(d directory, name action.Name) action.Type {
	v := &invocation{d, name, invocations[name]}
	if v.unseen != "" {
		return v
	}
	return reversibleInvocation{v}
}

// want is the flag's wanted value, for those that are about it.
func (v *invocation) want() bool { return v.name == DefenderEnable }

// where is the provider in words.
func (v *invocation) where() string {
	if v.at == "okta" {
		return "Okta"
	}
	return "Active Directory"
}

func (v *invocation) Spec() action.Spec {
	s := action.Spec{
		Name: v.name, Version: 1, Provider: identity.ActiveDirectory, Via: identity.EntraID,
		Permissions: []string{"SecurityIdentitiesActions.ReadWrite.All", "SecurityIdentitiesAccount.Read.All"},
		Batch:       1, Bucket: action.BucketSecurity, ReadBucket: action.BucketSecurity,
		Proof:       "`isEnabled` of the identity at Defender for Identity has the wanted value.",
		Propagation: 5 * time.Minute, Within: 15 * time.Minute,
	}
	const limits = "Needs a sensor on a domain controller and the action account of Defender for Identity, in the public cloud. Defender says that it took the request, not that it did it: without a sensor that is up nothing happens."
	switch v.name {
	case DefenderDisable:
		s.Effect, s.Undo = action.EffectRestrict, DefenderEnable
		s.Title, s.Summary = "Disable the account through Defender for Identity", "The account is disabled in Active Directory: nobody signs in with it anew."
		s.Remedies = []signal.Cause{signal.CausePassword, signal.CauseSession, signal.CauseBoth, signal.CauseUnknown}
		s.Limits = limits + " Kerberos tickets that were issued live up to ten hours."
	case DefenderEnable:
		s.Effect, s.Undo = action.EffectRelease, DefenderDisable
		s.Title, s.Summary = "Enable the account through Defender for Identity", "The account is enabled in Active Directory again."
		s.Limits = limits
	case DefenderForceReset:
		s.Effect = action.EffectRestrict
		s.Title, s.Summary = "Force a password reset through Defender for Identity", "The account must have a new password at the next logon."
		s.Irreversible, s.Password = "the person sets a new password; the old one is not brought back", true
		s.NeverRepeat = true
		s.Limits = limits + " No remedy for a password that somebody else knows: whoever logs on first sets the new one. Graph shows nothing of it, so that it stays unconfirmed until a person has looked in Active Directory."
		s.Proof = "None: Graph shows no trace of it. A person looks at `pwdLastSet` and decides."
	default:
		v.okta(&s)
	}
	return s
}

// okta completes the spec of an action on the account in Okta.
func (v *invocation) okta(s *action.Spec) {
	s.NeverRepeat = true
	s.Proof = "None: Graph shows no trace of it. A person looks at " + v.unseen + " and decides."
	s.Limits = "Needs Defender's connection to Okta, and an account of Active Directory that Defender shows together with the one in Okta. Graph shows nothing of what became of it, so that it stays unconfirmed until a person has looked in Okta."
	switch v.name {
	case DefenderOktaDisable:
		s.Effect, s.Title, s.Summary = action.EffectRestrict, "Disable the Okta account through Defender for Identity", "The account in Okta is suspended: nobody signs in with it anew."
		s.Remedies = []signal.Cause{signal.CausePassword, signal.CauseSession, signal.CauseBoth, signal.CauseUnknown}
		s.Irreversible = "how the account stood in Okta before is not known; " + string(DefenderOktaEnable) + " enables it when a person says so"
	case DefenderOktaEnable:
		s.Effect, s.Title, s.Summary = action.EffectRelease, "Enable the Okta account through Defender for Identity", "The account in Okta is active again."
		s.Irreversible = "how the account stood in Okta before is not known; " + string(DefenderOktaDisable) + " disables it when a person says so"
	default:
		s.Effect, s.Title, s.Summary = action.EffectRestrict, "Revoke the Okta sessions through Defender for Identity", "Every session in Okta ends: whoever is signed in signs in anew."
		s.Remedies = []signal.Cause{signal.CauseSession}
		s.Irreversible = "sessions that were revoked do not come back; people sign in again"
	}
}

// A defended is Graph's security.user, the fields we use. Graph's pages and its
// metadata spell the provider differently; both are read.
type defended struct {
	ID                           string
	OnPremisesSecurityIdentifier string
	IsEnabled                    *bool
	Accounts                     []struct {
		Identifier       string
		IdentityProvider string
		Provider         string
		Actions          []string
	}
}

// A defenderState is the account as Defender shows it, and its ids there.
type defenderState struct {
	SID      string `json:"sid"`
	Identity string `json:"identity"`
	Account  string `json:"account"`
	Enabled  *bool  `json:"enabled"`
}

// sidOf returns the account's SID. Nothing else finds it at Defender.
func sidOf(r action.Request) (string, error) {
	sid := strings.ToUpper(strings.TrimSpace(r.Account.SID))
	rest, ok := strings.CutPrefix(sid, "S-1-")
	if r.Account.Provider != identity.ActiveDirectory || !ok || rest == "" || strings.Trim(rest, "0123456789-") != "" || len(sid) > 184 {
		return "", fault.Errorf(fault.Invalid, "%s is not an Active Directory account with a SID", r.Account.Name())
	}
	return sid, nil
}

// find reads the account. found is false when Defender does not know it; may is
// false when it does not offer the action for it.
func (v *invocation) find(ctx context.Context, r action.Request) (st defenderState, found, may bool, at time.Time, err error) {
	sid, err := sidOf(r)
	if err != nil {
		return st, false, false, at, err
	}
	all, at, err := collect(ctx, v.graph, graph.Request{
		Path: "/security/identities/identityAccounts", Priority: graph.High, Query: url.Values{"$filter": {"onPremisesSecurityIdentifier eq '" + sid + "'"}},
	}, func(d defended) string { return d.ID })
	if err != nil {
		return st, false, false, at, fmt.Errorf("look the account up at Defender for Identity: %w", err)
	}
	for _, d := range all {
		if !strings.EqualFold(d.OnPremisesSecurityIdentifier, sid) {
			return st, false, false, at, fault.Errorf(fault.Unavailable, "look the account up at Defender for Identity: it answered with another one")
		}
		for _, a := range d.Accounts {
			if strings.EqualFold(a.IdentityProvider+a.Provider, v.at) && a.Identifier != "" {
				st = defenderState{SID: sid, Identity: d.ID, Account: a.Identifier}
				if v.at == "activeDirectory" { // of no other provider Defender says so
					st.Enabled = d.IsEnabled
				}
				may = len(a.Actions) == 0 || slices.ContainsFunc(a.Actions, func(n string) bool { return strings.EqualFold(n, v.word) })
				return st, true, may, at, nil
			}
		}
	}
	return st, false, false, at, nil
}

func (v *invocation) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := make([]action.Look, len(reqs))
	for n, r := range reqs {
		st, found, may, _, err := v.find(ctx, r)
		l := &out[n]
		switch {
		case err != nil:
			l.Err = err
			continue
		case !found:
			l.Refuse = "Defender for Identity knows no such account of " + v.where()
			continue
		case !may:
			l.Refuse = "Defender for Identity does not offer this for the account"
		case st.Enabled == nil && v.unseen == "":
			l.Refuse = "Defender for Identity does not say whether the account is enabled: nothing could be proven"
		}
		if l.State, l.Text = raw(st), (*enabled)(nil).word(st.Enabled); v.at == "okta" {
			l.Text = "there; Graph does not show how it stands in Okta"
		}
		l.Already = v.unseen == "" && st.Enabled != nil && *st.Enabled == v.want()
	}
	return out
}

func (v *invocation) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		sid, err := sidOf(r)
		st, ok := before[defenderState](r.Before)
		if err == nil && (!ok || st.SID != sid || st.Identity == "") {
			err = fault.Errorf(fault.Invalid, "the account was not found at Defender for Identity")
		}
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		var said struct{ CorrelationID string }
		res, err := v.graph.Do(ctx, graph.Request{
			Method: http.MethodPost, Path: graph.Path("security", "identities", "identityAccounts", st.Identity, "invokeAction"), ClientRequestID: r.ClientRequestID,
			Body: map[string]string{"accountId": st.Account, "action": v.word, "identityProvider": v.at}, Out: &said, Priority: graph.High,
		})
		o := outcome(v.Spec(), res, err)
		o.RequestID, o.Pressure = res.RequestID, res.Throttle.Percentage
		if o.Verdict == action.Accepted && said.CorrelationID != "" {
			o.Reason = "Defender's correlation id " + line(said.CorrelationID)
		}
		out[n] = o
	}
	return out
}

func (v *invocation) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, r := range reqs {
		st, found, _, at, err := v.find(ctx, r)
		switch {
		case err != nil:
			out[n].Err = err
		case !found:
			out[n].Text = "Defender for Identity knows the account no more" + when(at)
		case v.unseen != "":
			out[n] = action.Reading{State: raw(st), Text: "Graph shows nothing of it: look at " + v.unseen + when(at)}
		default:
			out[n] = action.Reading{Seen: st.Enabled != nil && *st.Enabled == v.want(), State: raw(st), Text: "isEnabled is " + (*enabled)(nil).flag(st.Enabled) + when(at)}
		}
	}
	return out
}
