package entraid_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/actiontest"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/graph/graphtest"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

const clientID = "c0e5d0a1-1ab0-4c0d-8000-00000000c0de"

// lab is a simulated tenant in process and the real client of it.
type lab struct {
	t      testing.TB
	world  *world.World
	tenant *graphsim.Tenant
	client *graph.Client
	next   int
}

func newLab(t testing.TB, app graphsim.App) *lab { return newLabOf(t, app, 500) }

func newLabOf(t testing.TB, app graphsim.App, users int) *lab {
	t.Helper()
	w, err := world.New(world.Options{Seed: 1, Users: users})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, world: w}
	l.tenant, err = graphsim.New(w, graphsim.Options{Limits: graphsim.Limits{Off: true}, Apps: []graphsim.App{app}, TokenLifetime: 48 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	l.client, err = graph.New(graph.Options{BaseURL: "https://graph.microsoft.com", Tokens: l.signIn(), Transport: l.tenant.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// everything is a responder that may do all that any action asks for.
func everything() graphsim.App {
	app := graphsim.Responder(clientID, "lab")
	for _, t := range entraid.Types(nil) {
		app.Roles = append(app.Roles, t.Spec().Permissions...)
	}
	return app
}

func (l *lab) signIn() graphtest.Token {
	form := url.Values{"client_id": {clientID}, "client_secret": {"lab"}, "grant_type": {"client_credentials"}, "scope": {"https://graph.microsoft.com/.default"}}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://graph.microsoft.com/"+l.world.TenantID()+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		l.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := l.tenant.Transport().RoundTrip(r)
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	var v struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil || v.AccessToken == "" {
		l.t.Fatalf("no token: %s, %v", res.Status, err)
	}
	return graphtest.Token(v.AccessToken)
}

func (l *lab) pick(p world.Pick) identity.Ref {
	l.t.Helper()
	a, err := l.world.Pick(p)
	if err != nil {
		l.t.Fatal(err)
	}
	return identity.Ref{Provider: identity.EntraID, ObjectID: a.UserID, UPN: a.UserPrincipalName, DisplayName: a.DisplayName}
}

// fresh returns another ordinary cloud-only member each time.
func (l *lab) fresh() identity.Ref {
	no := false
	l.next++
	return l.pick(world.Pick{Kind: world.KindMember, Synced: &no, Privileged: &no, Index: l.next})
}

func (l *lab) user(r identity.Ref) world.UserState {
	l.t.Helper()
	s, ok := l.world.State(r.ObjectID)
	if !ok {
		l.t.Fatalf("no user %s", r.ObjectID)
	}
	return s
}

func (l *lab) faults(specs ...string) {
	l.t.Helper()
	f, err := graphsim.ParseFaults(specs)
	if err != nil {
		l.t.Fatal(err)
	}
	l.tenant.SetFaults(f)
}

func (l *lab) changes() int {
	n := 0
	for _, e := range l.tenant.Ledger() {
		n += len(e.Effects)
	}
	return n
}

func (l *lab) do(t action.Type, r action.Request) {
	l.t.Helper()
	look := t.Look(context.Background(), []action.Request{r})[0]
	r.Before = look.State
	if o := t.Do(context.Background(), []action.Request{r}); o[0].Verdict != action.Accepted {
		l.t.Fatalf("prepare: %+v", o[0])
	}
	<-time.After(time.Minute)
}

func byName(c *graph.Client) map[action.Name]action.Type {
	out := map[action.Name]action.Type{}
	for _, t := range entraid.Types(c) {
		out[t.Spec().Name] = t
	}
	return out
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name := range byName(nil) {
		if name == entraid.DefenderForceReset || strings.HasPrefix(string(name), "defender.okta.") {
			continue // nothing at Graph proves it: see TestForcedResetStaysUnproven, TestWhatIsDoneInOktaStaysUnproven
		}
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			actiontest.Run(t, func(t *testing.T, part string, run func(*testing.T, actiontest.Bench)) {
				t.Run(part, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						run(t, newLab(t, everything()).bench(name))
					})
				})
			})
		})
	}
}

// Every request is one that Microsoft's own description of Graph allows.
func TestRequestsMatchTheContract(t *testing.T) {
	t.Parallel()
	contract := graphtest.Load(t)
	synctest.Test(t, func(t *testing.T) {
		for name := range byName(nil) {
			l := newLab(t, everything())
			c, err := graph.New(graph.Options{BaseURL: "https://graph.microsoft.com", Tokens: l.signIn(), Transport: contract.Strict(t, l.tenant.Transport())})
			if err != nil {
				t.Fatal(err)
			}
			l.client = c
			switch name {
			case entraid.RestoreAppRoles, entraid.RestoreConsent, entraid.DisableInboxRules, entraid.EnableInboxRules:
				continue // the description at hand lists no POST of grants and no mailboxes
			}
			b := l.bench(name)
			var reqs []action.Request
			for n := range 3 {
				reqs = append(reqs, action.Request{ID: action.ID(fmt.Sprint("act_", n)), Tenant: "t", Account: b.Fresh(), Params: b.Params, ClientRequestID: "00000000-0000-4000-8000-000000000001"})
			}
			for n, look := range b.Type.Look(t.Context(), reqs) {
				if look.Err != nil {
					t.Fatalf("%s: look: %v", name, look.Err)
				}
				reqs[n].Before = look.State
				if g, ok := b.Type.(action.Generator); ok {
					if reqs[n].Secret, _, err = g.Generate(rand.Reader, reqs[n]); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, r := range reqs[:min(len(reqs), b.Type.Spec().Batch)] {
				if o := b.Type.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Accepted {
					t.Errorf("%s: %+v", name, o)
				}
			}
			reqs[0].Last = json.RawMessage(`{"id":"x","riskState":"remediated"}`) // asks for detections
			for _, r := range [][]action.Request{reqs[:1], reqs, reqs[1:]} {
				for _, got := range b.Type.ReadBack(t.Context(), r) {
					if got.Err != nil {
						t.Errorf("%s: read back: %v", name, got.Err)
					}
				}
			}
		}
	})
}

// bench is the lab as the suite wants it for one action.
func (l *lab) bench(name action.Name) actiontest.Bench {
	yes := true
	types := byName(l.client)
	guest := l.pick(world.Pick{Kind: world.KindGuest})
	synced := l.pick(world.Pick{Kind: world.KindMember, Synced: &yes})
	b := actiontest.Bench{
		Type: types[name], Undo: types[types[name].Spec().Undo], Fresh: l.fresh,
		Missing: func() identity.Ref {
			return identity.Ref{Provider: identity.EntraID, ObjectID: "99999999-9999-4999-8999-999999999999", DisplayName: "gone"}
		},
		Changes: l.changes,
		Break: func(how actiontest.Broken) {
			kind := map[actiontest.Broken]string{actiontest.BeforeEffect: "reset-before", actiontest.AfterEffect: "reset-after"}[how]
			l.faults(kind+",count=1@PATCH /", kind+",count=1@POST /", kind+",count=1@DELETE /")
		},
		Wait: func(d time.Duration) { <-time.After(d) },
	}
	b.State = func(r identity.Ref) any {
		s := l.user(r)
		switch name {
		case entraid.Disable, entraid.Enable:
			return s.AccountEnabled
		case entraid.RevokeSessions:
			return s.SessionRevocations
		case entraid.ResetPassword, entraid.HandOverPassword:
			return s.DistinctPasswords
		}
		return s.RiskState != "none" && s.RiskState != "" && s.RiskState != "dismissed" && s.RiskState != "confirmedSafe"
	}
	switch name {
	case entraid.Disable:
		b.Refused = map[string]identity.Ref{"the next synchronisation would undo it": synced}
	case entraid.Enable:
		b.Refused = map[string]identity.Ref{"mastered in Active Directory": synced}
		b.Fresh = func() identity.Ref {
			r := l.fresh()
			l.do(types[entraid.Disable], action.Request{Account: r})
			return r
		}
	case entraid.RevokeSessions:
		b.Refused = map[string]identity.Ref{"home tenant": guest}
	case entraid.ResetPassword, entraid.HandOverPassword:
		b.Refused = map[string]identity.Ref{"home tenant": guest, "mastered in Active Directory": synced}
	case entraid.ConfirmCompromised:
		b.Refused = map[string]identity.Ref{"home tenant": guest}
		b.Fresh = func() identity.Ref { return l.calm() }
	case entraid.DismissRisk, entraid.ConfirmSafe:
		b.Refused = map[string]identity.Ref{"home tenant": guest}
		b.Fresh = func() identity.Ref {
			r := l.calm()
			if err := l.world.Apply(world.Event{Type: "detection", User: r.ObjectID, RiskEventType: "leakedCredentials"}); err != nil {
				l.t.Fatal(err)
			}
			return r
		}
	}
	if strings.Contains(string(name), ".workload.") {
		l.workloadBench(&b, name)
	} else if strings.Contains(string(name), ".alerts.") {
		l.alertBench(&b, name)
	} else if strings.HasPrefix(string(name), "defender.") {
		l.defenderBench(&b, name)
	} else if strings.Contains(string(name), ".agent.") {
		l.agentBench(&b, name)
	} else {
		l.personBench(&b, name, guest, synced)
	}
	if name == entraid.HandOverPassword {
		public, _, err := action.NewSealKey(rand.Reader)
		if err != nil {
			l.t.Fatal(err)
		}
		b.Params = map[string]any{action.ParamRecipient: "operator", action.ParamRecipientKey: public}
	}
	return b
}

// calm returns an ordinary member who is not at risk.
func (l *lab) calm() identity.Ref {
	for {
		r := l.fresh()
		if s := l.user(r).RiskState; s == "" || s == "none" {
			return r
		}
	}
}
