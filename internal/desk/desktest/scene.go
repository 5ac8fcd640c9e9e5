package desktest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing/fstest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Tenant is the scene's tenant.
const Tenant identity.Tenant = "00000000-0000-4000-8000-0000000000c0"

// Start is the scene's time at the beginning.
func Start() time.Time { return time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC) }

// A Scene is a desk over an in-memory store with identities at risk in every
// state that a page has to show. Cases are moved by the real run driver; what
// dispatch would do to actions is done by Prove.
type Scene struct {
	Store     *Store
	Desk      *desk.Service
	Driver    *run.Driver
	Operators *desk.Operators

	nudged atomic.Int64
	now    atomic.Int64 // nanoseconds after Start
}

// Now is the scene's clock; it moves only by Pass.
func (s *Scene) Now() time.Time { return Start().Add(time.Duration(s.now.Load())) }

// Pass lets time pass.
func (s *Scene) Pass(d time.Duration) { s.now.Add(int64(d)) }

// Nudged is how often dispatch was woken so far.
func (s *Scene) Nudged() int { return int(s.nudged.Load()) }

// Token returns the API token of an operator of the scene.
func Token(id access.OperatorID) string { return "token-of-" + string(id) + "-for-tests" }

// Operator returns an operator of the scene by id: one for each role ("auditor",
// "analyst", "responder", "author", "owner"), "second" who is a responder too,
// "subject" whose account is the first identity's, "elsewhere" of another tenant.
func (s *Scene) Operator(id access.OperatorID) access.Operator {
	op, ok := s.Operators.ByID(id)
	if !ok {
		panic("desktest: no operator " + id)
	}
	return op
}

func operators() []desk.Known {
	var out []desk.Known
	add := func(id access.OperatorID, role access.Role, account string, t identity.Tenant) {
		out = append(out, desk.Known{
			Operator:  access.Operator{ID: id, Name: "The " + string(id), Roles: []access.Role{role}, Groups: []string{"responders"}, Account: account, Tenant: t},
			TokenHash: desk.HashToken(Token(id)),
		})
	}
	for _, r := range access.Roles() {
		add(access.OperatorID(r), r, "", "")
	}
	add("second", access.Responder, ObjectID(9), "")
	add("subject", access.Responder, ObjectID(1), "")
	add("at-risk", access.Responder, "robin.lake@corp.example", "")
	add("elsewhere", access.Owner, "", "00000000-0000-4000-8000-0000000000ff")
	return out
}

// ObjectID is the Entra object id of the n-th identity.
func ObjectID(n int) string { return fmt.Sprintf("00000000-0000-4000-9000-%012d", n) }

// Playbooks of the scene.
const playbooks = `playbook: v1
id: leaked-credentials
version: 1.0.0
title: Contain an account whose password is known to others
owner: responders
mode: enforce
trigger:
  on: [manual]
steps:
  - id: revoke
    uses: entra.user.revoke_sessions@1
    irreversible: accepted
  - id: disable
    uses: entra.user.disable@1
    contains: true
    approval: {mode: before, from: [responders], quorum: 1, expires: 30m, on_expiry: escalate}
`

const mild = `playbook: v1
id: token-theft
version: 1.0.0
title: End stolen sessions
owner: responders
mode: enforce
trigger:
  on: [manual]
steps:
  - id: disable
    uses: entra.user.disable@1
    contains: true
    ttl: 24h
`

// Person returns a cloud-only person whose facts are fresh at now.
func Person(n int, name, upn string, now time.Time) identity.Identity {
	yes, no := true, false
	return identity.Identity{
		Tenant: Tenant, ID: identity.ID(fmt.Sprintf("id_%06d", n)), Kind: identity.KindPerson, Name: name,
		Accounts: []identity.Account{{
			Ref: identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: ObjectID(n), UPN: upn, DisplayName: name},
			Facts: identity.Facts{
				AsOf: now.Add(-4 * time.Minute), Found: &yes, Enabled: &yes, UserType: "Member", Synced: &no,
				LastPasswordChange: now.Add(-90 * 24 * time.Hour), RolesAsOf: now.Add(-20 * time.Minute),
				RegistrationAsOf: now.Add(-20 * time.Minute), MFARegistered: &yes,
			},
		}},
		CreatedAt: now.Add(-48 * time.Hour), UpdatedAt: now,
	}
}

// checked is the catalogue and the playbooks of every scene. Both are immutable,
// and compiling playbooks takes longer than most tests.
var checked = sync.OnceValues(func() (*action.Catalogue, *playbook.Library) {
	cat, err := action.NewCatalogue(types(), nil)
	check(err)
	library, problems := playbook.Load(fstest.MapFS{
		"leaked-credentials.yaml": {Data: []byte(playbooks)}, "token-theft.yaml": {Data: []byte(mild)},
	}, cat)
	if len(problems) > 0 {
		panic(fmt.Sprintf("desktest: playbooks: %v", problems))
	}
	return cat, library
})

// Empty returns a scene with operators and playbooks and nobody at risk.
func Empty() *Scene {
	s := &Scene{Store: New()}
	cat, library := checked()
	policy := func(identity.Tenant) identity.Policy {
		return identity.Policy{List: []identity.Protected{{Match: ObjectID(5), Reason: "emergency access"}}}
	}
	s.Driver = &run.Driver{
		Store: s.Store.ForRuns(), Planner: library, Catalogue: cat, Policy: policy, Now: s.Now,
		Mode:  func(identity.Tenant) playbook.Mode { return playbook.Enforce },
		Nudge: func(identity.Tenant) { s.nudged.Add(1) },
	}
	var err error
	s.Operators, err = desk.NewOperators(operators(), s.Now)
	check(err)
	s.Desk, err = desk.New(desk.Options{
		Store: s.Store, Driver: s.Driver, Playbooks: func() desk.Playbooks { return library }, Catalogue: cat,
		Policy: policy, Operators: s.Operators, Tenants: func() []identity.Tenant { return []identity.Tenant{Tenant} }, Now: s.Now, Rand: rand.Reader, HandOverFrom: "responders",
	})
	check(err)
	s.Store.SeedDirectory(Tenant, connector.DirectoryFacts{
		AsOf: s.Now().Add(-10 * time.Minute), UsableGlobalAdmins: []string{ObjectID(5), ObjectID(6), ObjectID(7)},
		Holders:   map[string][]identity.Role{ObjectID(2): {{TemplateID: "fe930be7-5e62-47db-91af-98c3a49a38b1", Name: "User Administrator", Active: true}}},
		Connected: []identity.Provider{identity.EntraID},
	})
	return s
}

// AddAtRisk seeds an identity with signals, the assessment they give and an open
// case, as ingest would have.
func (s *Scene) AddAtRisk(i identity.Identity, sigs ...signal.Signal) casefile.ID {
	for n := range sigs {
		sigs[n].Tenant, sigs[n].Subject, sigs[n].UpdatedAt = Tenant, i.Accounts[0].Ref, sigs[n].DetectedAt
	}
	a := risk.Assess(risk.Input{Tenant: Tenant, Identity: i.ID, Signals: sigs}, s.Now())
	c := casefile.Begin(i, s.Now())
	c.ID, c.Version = casefile.ID("case_"+string(i.ID)), 1
	c = c.Absorb(a, sigs, s.Now())
	s.Store.Seed(i, a, c, audit.Entry{
		Tenant: Tenant, At: s.Now(), Actor: access.BySystem("ingest"), Kind: audit.CaseOpened, Identity: string(i.ID), Case: string(c.ID),
		Text: fmt.Sprintf("case opened about %s: %s", i.Name, c.Reason),
	})
	s.Store.SeedSignals(i.ID, sigs...)
	return c.ID
}

// Leaked is a signal: the person's password is known to others.
func (s *Scene) Leaked(id string, ago time.Duration) signal.Signal {
	return signal.Signal{
		Source: signal.RiskDetection, ExternalID: id, Type: "leakedCredentials", Title: "Leaked credentials", Level: signal.LevelHigh, State: signal.StateAtRisk,
		ActivityAt: s.Now().Add(-ago), DetectedAt: s.Now().Add(-ago), Timing: "offline", Raw: json.RawMessage(`{"riskEventType":"leakedCredentials"}`),
	}
}

// Travel is a signal: a sign-in from far away.
func (s *Scene) Travel(id string, ago time.Duration) signal.Signal {
	return signal.Signal{
		Source: signal.RiskDetection, ExternalID: id, Type: "unlikelyTravel", Title: "Atypical travel", Level: signal.LevelMedium, State: signal.StateAtRisk,
		ActivityAt: s.Now().Add(-ago), DetectedAt: s.Now().Add(-ago), IP: "203.0.113.7", Location: "Lagos, NG", Timing: "offline",
	}
}

// Begin starts a playbook on an identity as ingest would.
func (s *Scene) Begin(playbookID string, id identity.ID, c casefile.ID) run.ID {
	var started run.Run
	check(s.Driver.Store.Update(context.Background(), func(tx run.Tx) error {
		in, err := s.Driver.Input(tx, Tenant, id, []string{playbook.OnManual}, nil)
		if err != nil {
			return err
		}
		started, _, err = s.Driver.Begin(tx, run.Start{
			Match: playbook.Match{Ref: playbook.Ref{ID: playbookID}}, Case: c, Input: in, AskedBy: access.ByPlaybook(playbookID),
		})
		return err
	}))
	return started.ID
}

// Prove does what dispatch would: every approved action of the run is sent,
// accepted and, unless leave is set, proven.
func (s *Scene) Prove(id run.ID, leave action.State) {
	check(s.Driver.Store.Update(context.Background(), func(tx run.Tx) error {
		acts, err := tx.ActionsOfRun(Tenant, id)
		if err != nil {
			return err
		}
		for _, a := range acts {
			if a.State != action.Approved {
				continue
			}
			if err := s.prove(tx, a, leave); err != nil {
				return err
			}
		}
		_, err = s.Driver.Advance(tx, run.Key{Tenant: Tenant, ID: id})
		return err
	}))
}

func (s *Scene) prove(tx run.Tx, a action.Action, leave action.State) error {
	note := func(k audit.Kind, text string) error {
		return tx.Audit(audit.Entry{
			Tenant: Tenant, At: s.Now(), Actor: access.BySystem("dispatch"), Kind: k, Identity: string(a.Identity), Case: a.Case, Run: a.Run,
			Action: string(a.ID), Text: text, Data: map[string]any{"requestId": "9f1c2b7e-0000-4000-8000-00000000" + fmt.Sprintf("%04d", a.Version)},
		})
	}
	a.Before, a.BeforeText = json.RawMessage(`{"accountEnabled":true}`), "enabled"
	a.ClientRequestID, a.Attempt = "c0ffee00-0000-4000-8000-000000000001", 1
	if public, ok := a.Params[action.ParamRecipientKey].(string); ok {
		var err error
		if a.Sealed, err = action.Seal(public, a.Tenant, a.ID, []byte(Password)); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		to   action.State
		kind audit.Kind
		text string
	}{
		{action.Running, audit.ActionIntent, "about to send "},
		{action.AcceptedState, audit.ActionOutcome, "accepted: "},
		{action.Verified, audit.ActionVerified, "verified: "},
	} {
		s.Pass(700 * time.Millisecond)
		var err error
		if a, err = a.Move(step.to, "", s.Now()); err != nil {
			return err
		}
		if step.to == action.AcceptedState {
			a.RequestID, a.Outcome, a.Deadline = "9f1c2b7e-0000-4000-8000-000000000001", action.Accepted, s.Now().Add(5*time.Minute)
		}
		if step.to == action.Verified {
			a.Proof = "accountEnabled false at " + s.Now().Format("15:04:05")
		}
		if err := note(step.kind, step.text+string(a.Name)+" on "+a.Account.Name()); err != nil {
			return err
		}
		if step.to == leave {
			break
		}
	}
	_, err := tx.PutAction(a)
	return err
}

// Password is what hand-overs of a scene set.
const Password = "a-random-password-for-tests"

func check(err error) {
	if err != nil {
		panic(fmt.Sprintf("desktest: %v", err))
	}
}

// types is a small catalogue with an action of each kind that pages show.
func types() []action.Type {
	base := action.Spec{
		Version: 1, Provider: identity.EntraID, Batch: 1, Bucket: action.BucketDirectoryWrite, Within: 5 * time.Minute, Propagation: time.Minute,
	}
	revoke, disable, enable, hand := base, base, base, base
	revoke.Name, revoke.Title, revoke.Effect = "entra.user.revoke_sessions", "Revoke sign-in sessions", action.EffectRestrict
	revoke.Summary, revoke.Irreversible = "every refresh token issued so far stops working", "sessions cannot be given back; the person signs in again"
	revoke.Permissions, revoke.Limits = []string{"User.RevokeSessions.All"}, "access tokens already issued, for up to an hour"
	disable.Name, disable.Title, disable.Effect, disable.Undo = "entra.user.disable", "Disable the account", action.EffectRestrict, "entra.user.enable"
	disable.Summary, disable.Permissions = "the account cannot sign in", []string{"User.EnableDisableAccount.All", "User.Read.All"}
	enable.Name, enable.Title, enable.Effect, enable.Undo = "entra.user.enable", "Enable the account", action.EffectRelease, "entra.user.disable"
	enable.Summary, enable.Permissions = "the account can sign in", disable.Permissions
	hand.Name, hand.Title, hand.Effect = desk.HandOverAction, "Set a new password and hand it over", action.EffectRelease
	hand.Summary, hand.Irreversible, hand.NeverRepeat = "the password is a new random one", "the old password is not known", true
	hand.Permissions = []string{"User-PasswordProfile.ReadWrite.All"}
	hand.Params = action.Params{
		{Name: action.ParamRecipient, Type: "string", Required: true, Text: "who may reveal it"},
		{Name: action.ParamRecipientKey, Type: "string", Required: true, Text: "the key it is sealed for"},
	}
	return []action.Type{still{revoke}, reversible{still{disable}}, reversible{still{enable}}, still{hand}}
}

// still describes itself and is never asked to do anything: the scene has no
// dispatch.
type still struct{ spec action.Spec }

func (t still) Spec() action.Spec                                     { return t.spec }
func (t still) Look(context.Context, []action.Request) []action.Look  { panic("desktest: no dispatch") }
func (t still) Do(context.Context, []action.Request) []action.Outcome { panic("desktest: no dispatch") }
func (t still) ReadBack(context.Context, []action.Request) []action.Reading {
	panic("desktest: no dispatch")
}

type reversible struct{ still }

func (reversible) Undo(before json.RawMessage) (map[string]any, bool) {
	return nil, string(before) == `{"accountEnabled":true}`
}
