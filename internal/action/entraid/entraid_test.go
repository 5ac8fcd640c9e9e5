package entraid_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/graph/graphtest"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

func TestCatalogue(t *testing.T) {
	t.Parallel()
	c, err := action.NewCatalogue(entraid.Types(nil), entraid.Routes())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Specs()); n != 47 {
		t.Errorf("%d actions, want 47", n)
	}
	for route, want := range map[action.Name]action.Name{
		"identity.disable": entraid.Disable, "identity.enable": entraid.Enable, "identity.reset_password": entraid.ResetPassword,
	} {
		r, ok := c.Route(route)
		if !ok || r.To[identity.EntraID] != want || len(r.To) != 1 {
			t.Errorf("route %s = %+v, %v", route, r, ok)
		}
	}
}

// Law 7, from the table: a new password does not cure a stolen token, and revoked
// sessions do not cure a leaked password.
func TestRemediesFitTheCause(t *testing.T) {
	t.Parallel()
	types := byName(nil)
	for _, c := range []struct {
		name action.Name
		not  signal.Cause
	}{{entraid.ResetPassword, signal.CauseSession}, {entraid.RevokeSessions, signal.CausePassword}} {
		for _, r := range types[c.name].Spec().Remedies {
			if r == c.not || r == signal.CauseBoth {
				t.Errorf("%s counts as a remedy for %q", c.name, r)
			}
		}
	}
}

// Every person with a directory role is out of reach of an app without one: the
// refusal names the role it lacks.
func TestPrivilegedTargetWithoutTheRole(t *testing.T) {
	t.Parallel()
	reached := 0
	for name, typ := range byName(nil) {
		spec := typ.Spec()
		if spec.DirectoryRole == "" {
			continue
		}
		reached++
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				app := everything()
				app.DirectoryRoles = nil
				l := newLab(t, app)
				b := l.bench(name)
				no := false
				r := action.Request{ID: "act_1", Account: l.pick(world.Pick{Kind: world.KindAdmin, Synced: &no}), Params: b.Params, ClientRequestID: "c1"}
				r.Before = b.Type.Look(t.Context(), []action.Request{r})[0].State
				if g, ok := b.Type.(action.Generator); ok {
					var err error
					if r.Secret, _, err = g.Generate(rand.Reader, r); err != nil {
						t.Fatal(err)
					}
				}
				if name == entraid.RemoveMethods {
					r.Params = map[string]any{"all": true}
					r.Before = b.Type.Look(t.Context(), []action.Request{r})[0].State
				}
				changes := l.changes()
				o := b.Type.Do(t.Context(), []action.Request{r})[0]
				if o.Verdict != action.Refused || !strings.Contains(o.Reason, spec.DirectoryRole) {
					t.Errorf("outcome %+v", o)
				}
				if l.changes() != changes {
					t.Error("something changed")
				}
			})
		})
	}
	if reached < 9 {
		t.Errorf("%d actions ask for a role, want 9 at the least", reached)
	}
}

// The permissions that a Spec asks for are enough, and all needed to act.
func TestPermissionsAreEnough(t *testing.T) {
	t.Parallel()
	for name, typ := range byName(nil) {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				app := graphsim.Responder(clientID, "lab")
				app.Roles, app.DirectoryRoles = typ.Spec().Permissions, nil
				l := newLab(t, app)
				b := l.bench(name)
				r := action.Request{ID: "act_1", Account: b.Fresh(), Params: b.Params, ClientRequestID: "c1"}
				look := b.Type.Look(t.Context(), []action.Request{r})[0]
				if look.Err != nil {
					t.Fatalf("look: %v", look.Err)
				}
				r.Before = look.State
				if g, ok := b.Type.(action.Generator); ok {
					r.Secret, _, _ = g.Generate(rand.Reader, r)
				}
				if o := b.Type.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Accepted {
					t.Errorf("do: %+v", o)
				}
				if got := b.Type.ReadBack(t.Context(), []action.Request{r})[0]; got.Err != nil {
					t.Errorf("read back: %v", got.Err)
				}
			})
		})
	}
}

func TestPasswordsAreStrongAndSentOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, graphsim.Responder(clientID, "lab"))
		typ := byName(l.client)[entraid.ResetPassword]
		g := typ.(action.Generator)
		for range 50 {
			r := action.Request{ID: "act_1", Account: l.fresh(), ClientRequestID: "c1"}
			secret, sealed, err := g.Generate(rand.Reader, r)
			if err != nil || sealed != nil {
				t.Fatalf("sealed %d bytes, %v: what is discarded is not kept", len(sealed), err)
			}
			var lower, upper, digit, other bool
			for _, c := range string(secret) {
				lower, upper, digit = lower || unicode.IsLower(c), upper || unicode.IsUpper(c), digit || unicode.IsDigit(c)
				other = other || !unicode.IsLetter(c) && !unicode.IsDigit(c)
			}
			if len(secret) < 24 || !lower || !upper || !digit || !other {
				t.Fatalf("a password of %d bytes, lower %v, upper %v, digit %v, other %v", len(secret), lower, upper, digit, other)
			}
			r.Secret = secret
			if o := typ.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Accepted {
				t.Fatalf("outcome %+v", o)
			}
			if s := l.user(r.Account); s.PasswordResets != 1 || !s.ForceChangePassword {
				t.Fatalf("%d resets, must change: %v", s.PasswordResets, s.ForceChangePassword)
			}
		}
		if values, resets := l.world.DistinctPasswords(); values != 50 || resets != 50 {
			t.Errorf("%d passwords in %d resets", values, resets)
		}
	})
}

func TestHandOverSealsForTheRecipient(t *testing.T) {
	t.Parallel()
	g := byName(nil)[entraid.HandOverPassword].(action.Generator)
	public, private, err := action.NewSealKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := action.Request{ID: "act_1", Tenant: "t1", Params: map[string]any{action.ParamRecipient: "op", action.ParamRecipientKey: public}}
	secret, sealed, err := g.Generate(rand.Reader, r)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := action.OpenSealed(private, "t1", "act_1", sealed); err != nil || string(got) != string(secret) {
		t.Errorf("the recipient opens something else: %v", err)
	}
	for name, params := range map[string]map[string]any{
		"no recipient": {action.ParamRecipientKey: public}, "no key": {action.ParamRecipient: "op"},
		"a broken key": {action.ParamRecipient: "op", action.ParamRecipientKey: "AAAA"},
	} {
		r.Params = params
		if s, _, err := g.Generate(rand.Reader, r); err == nil || s != nil {
			t.Errorf("%s: a secret was made", name)
		}
	}
}

// A reset in the same second as the reading: signing out again leaves no trace,
// and none is needed.
func TestRevokeInTheSecondOfAReset(t *testing.T) {
	t.Parallel()
	at := "2026-03-01T12:00:00Z"
	valid, date := at, "Sun, 01 Mar 2026 12:00:00 GMT"
	c := client(t, func(r *http.Request) *http.Response {
		if r.Method == http.MethodPost {
			return graphtest.Answer(200, `{"value":true}`)
		}
		return graphtest.Answer(200, `{"id":"`+userID+`","accountEnabled":true,"signInSessionsValidFromDateTime":"`+valid+`"}`, "Date", date)
	})
	typ := byName(c)[entraid.RevokeSessions]
	r := request()
	r.Before = typ.Look(t.Context(), []action.Request{r})[0].State
	if typ.ReadBack(t.Context(), []action.Request{r})[0].Seen {
		t.Error("nobody knows whether the request was taken, and what was there before counts as its proof")
	}
	r.Accepted = true
	if !typ.ReadBack(t.Context(), []action.Request{r})[0].Seen {
		t.Error("all sessions before this very second are ended, and it is not seen")
	}
	date = "Sun, 01 Mar 2026 12:00:05 GMT" // five seconds later the same value proves nothing
	r.Before = typ.Look(t.Context(), []action.Request{r})[0].State
	if typ.ReadBack(t.Context(), []action.Request{r})[0].Seen {
		t.Error("an old value counts as proof")
	}
	valid = "2026-03-01T12:00:06Z"
	if !typ.ReadBack(t.Context(), []action.Request{r})[0].Seen {
		t.Error("a later value is no proof")
	}
}

// A reset whose answer nobody heard is not proven by a change that it cannot have
// made: the person, an administrator, a hand-over or the attacker changed the
// password later. One that Graph took is proven by any later change.
func TestSomebodyElsesPasswordIsNoProof(t *testing.T) {
	t.Parallel()
	changed := "2026-03-01T08:00:00Z"
	c := client(t, func(*http.Request) *http.Response {
		return graphtest.Answer(200, `{"id":"`+userID+`","accountEnabled":true,"onPremisesSyncEnabled":null,"lastPasswordChangeDateTime":"`+changed+`"}`, "Date", "Sun, 01 Mar 2026 12:00:00 GMT")
	})
	for _, name := range []action.Name{entraid.ResetPassword, entraid.HandOverPassword} {
		typ := byName(c)[name]
		changed = "2026-03-01T08:00:00Z"
		r := request()
		l := typ.Look(t.Context(), []action.Request{r})[0]
		if l.Err != nil || l.Refuse != "" {
			t.Fatalf("look: %+v", l)
		}
		r.Before = l.State
		for _, tc := range []struct {
			changed  string
			accepted bool
			seen     bool
		}{
			{"2026-03-01T08:00:00Z", true, false},
			{"2026-03-01T12:00:01Z", false, true},
			{"2026-03-01T12:04:00Z", false, false},
			{"2026-03-01T12:04:00Z", true, true},
		} {
			changed, r.Accepted = tc.changed, tc.accepted
			got := typ.ReadBack(t.Context(), []action.Request{r})[0]
			if got.Err != nil || got.Seen != tc.seen {
				t.Errorf("%s, accepted %v, changed %s: %+v", name, tc.accepted, tc.changed, got)
			}
		}
	}
}

// A new password closes the risk before the confirmation was seen: the detection
// that the confirmation left behind is its proof, and one from before is not.
func TestConfirmationOvertakenByARemedy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, graphsim.Responder(clientID, "lab"))
		types := byName(l.client)
		confirm, reset := types[entraid.ConfirmCompromised], types[entraid.ResetPassword]
		ref := l.calm()
		for round := range 2 {
			r := action.Request{ID: "act_1", Account: ref, ClientRequestID: "c1"}
			r.Before = confirm.Look(t.Context(), []action.Request{r})[0].State
			if round == 1 { // only the trace of the first round is there
				r.Last = confirm.ReadBack(t.Context(), []action.Request{r})[0].State
				if got := confirm.ReadBack(t.Context(), []action.Request{r})[0]; got.Seen || got.Err != nil || got.State != nil {
					t.Fatalf("an old confirmation counts as proof: %+v", got)
				}
				r.Last = nil
			}
			if o := confirm.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Accepted {
				t.Fatalf("confirm: %+v", o)
			}
			<-time.After(3 * time.Second)
			pw := action.Request{ID: "act_2", Account: ref, ClientRequestID: "c2"}
			pw.Secret, _, _ = reset.(action.Generator).Generate(rand.Reader, pw)
			if o := reset.Do(t.Context(), []action.Request{pw})[0]; o.Verdict != action.Accepted {
				t.Fatalf("reset: %+v", o)
			}
			<-time.After(10 * time.Second)
			first := confirm.ReadBack(t.Context(), []action.Request{r})[0]
			if first.Seen || first.Err != nil {
				t.Fatalf("the closed state counts as proof: %+v", first)
			}
			r.Last = first.State
			other := action.Request{ID: "act_3", Account: l.calm()}
			got := confirm.ReadBack(t.Context(), []action.Request{other, r})
			if !got[1].Seen || !strings.Contains(got[1].Text, "since then: risk state remediated") || got[0].Seen || !got[0].Pending {
				t.Fatalf("readings %+v", got)
			}
			<-time.After(time.Minute)
		}
	})
}

// More than one question can name are read back by what their confirmations left
// behind: in one request, and not by what an earlier confirmation left.
func TestManyConfirmationsAreReadBackAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, graphsim.Responder(clientID, "lab"))
		confirm := byName(l.client)[entraid.ConfirmCompromised]
		var reqs []action.Request
		for n := range 70 {
			reqs = append(reqs, action.Request{ID: action.ID(fmt.Sprint("act_", n)), Account: l.calm(), ClientRequestID: "c"})
		}
		const earlier, never = 68, 69
		do := func(part []action.Request) {
			t.Helper()
			for _, o := range confirm.Do(t.Context(), part) {
				if o.Verdict != action.Accepted {
					t.Fatalf("confirm: %+v", o)
				}
			}
			<-time.After(time.Minute)
		}
		do(reqs[earlier : earlier+1])
		for n, look := range confirm.Look(t.Context(), reqs) {
			reqs[n].Before = look.State
		}
		if got := confirm.ReadBack(t.Context(), reqs); got[0].Seen || got[earlier].Seen || got[never].Seen || got[0].Err != nil || !got[0].Unread {
			t.Fatalf("nobody is confirmed: %+v", got)
		}
		do(reqs[:60])
		do(reqs[60:earlier])
		asked := len(l.tenant.Ledger())
		got := confirm.ReadBack(t.Context(), reqs)
		if n := len(l.tenant.Ledger()) - asked; n != 1 {
			t.Errorf("%d requests for one list", n)
		}
		for n, r := range got {
			if confirmed := n < earlier; r.Seen != confirmed || r.Unread == confirmed || r.Err != nil {
				t.Errorf("%d: %+v", n, r)
			}
			reqs[n].Last = r.State
		}
		// Who was not on the page is asked about by name.
		reqs[0].Last = got[never].State
		for n, r := range confirm.ReadBack(t.Context(), reqs) {
			if found := n == 0; r.Seen != found || r.Err != nil || r.Unread != (n > 0 && n < earlier) {
				t.Errorf("by name, %d: %+v", n, r)
			}
		}
	})
}

const userID = "0b4b9c6e-5c58-4b1e-9a4e-000000000001"

func request() action.Request {
	return action.Request{ID: "act_1", Account: identity.Ref{Provider: identity.EntraID, ObjectID: userID}, ClientRequestID: "c1", Secret: []byte(strings.Repeat("Aa1!", 8))}
}

func client(t testing.TB, answer func(*http.Request) *http.Response) *graph.Client {
	t.Helper()
	c, err := graph.New(graph.Options{BaseURL: "https://graph.microsoft.com", Tokens: graphtest.Token("token-of-the-test"),
		Transport: graphtest.Transport(func(r *http.Request) (*http.Response, error) {
			res := answer(r)
			if res == nil {
				return nil, io.ErrUnexpectedEOF
			}
			return res, nil
		})})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status  int
		body    string
		header  []string
		verdict action.Verdict
		reason  string
		after   time.Duration
		limited bool
	}{
		"204":                  {204, "", nil, action.Accepted, "", 0, false},
		"202":                  {202, "", nil, action.Accepted, "", 0, false},
		"400":                  {400, `{"error":{"code":"Request_BadRequest","message":"Invalid value"}}`, nil, action.Refused, "Invalid value", 0, false},
		"401":                  {401, "", nil, action.Later, "", 30 * time.Second, false},
		"403":                  {403, `{"error":{"code":"","message":"Insufficient privileges"}}`, nil, action.Refused, "User.EnableDisableAccount.All", 0, false},
		"403 without licence":  {403, `{"error":{"code":"Authentication_RequestFromNonPremiumTenantOrB2CTenant"}}`, nil, action.Refused, "licence", 0, false},
		"404":                  {404, "", nil, action.Refused, "no such user", 0, false},
		"409":                  {409, "", nil, action.Later, "", 0, false},
		"429":                  {429, "", []string{"Retry-After", "17"}, action.Later, "429", 17 * time.Second, true},
		"429 without a time":   {429, "", nil, action.Later, "429", 0, true},
		"500":                  {500, "", nil, action.Unknown, "500", 0, false},
		"503":                  {503, "", []string{"Retry-After", "3"}, action.Later, "503", 3 * time.Second, false},
		"504":                  {504, "", nil, action.Unknown, "504", 0, false},
		"a redirect elsewhere": {302, "", []string{"Location", "https://example.com"}, action.Later, "302", 0, false},
		"no answer":            {0, "", nil, action.Unknown, "", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := client(t, func(*http.Request) *http.Response {
				if c.status == 0 {
					return nil
				}
				return graphtest.Answer(c.status, c.body, append(c.header, "request-id", "rq-1")...)
			})
			o := byName(cl)[entraid.Disable].Do(t.Context(), []action.Request{request()})[0]
			if name == "401" { // the first may be an old token; it is later either way
				c.after = o.After
			}
			if o.Verdict != c.verdict || !strings.Contains(o.Reason, c.reason) || o.After != c.after || o.Throttled != c.limited {
				t.Errorf("got %+v", o)
			}
			if strings.ContainsAny(o.Reason, "\n\r") || len(o.Reason) > 600 {
				t.Errorf("reason %q is no line", o.Reason)
			}
			if c.status != 0 && o.RequestID != "rq-1" {
				t.Errorf("request id %q", o.RequestID)
			}
		})
	}
}

// A directory that quotes the password back does not get it into the trail.
func TestRefusalDoesNotQuoteThePassword(t *testing.T) {
	t.Parallel()
	r := request()
	c := client(t, func(q *http.Request) *http.Response {
		b, _ := io.ReadAll(q.Body)
		msg, _ := json.Marshal("bad value: " + string(b))
		return graphtest.Answer(400, `{"error":{"code":"x","message":`+string(msg)+`}}`)
	})
	o := byName(c)[entraid.ResetPassword].Do(context.Background(), []action.Request{r})[0]
	if o.Verdict != action.Refused || strings.Contains(o.Reason, string(r.Secret)) {
		t.Errorf("verdict %s; the reason shows the password: %v", o.Verdict, strings.Contains(o.Reason, string(r.Secret)))
	}
}

// FuzzReadings feeds answers that Graph never promised: nothing panics, nothing
// unreadable proves anything, and what is read fits a line.
func FuzzReadings(f *testing.F) {
	f.Add([]byte(`{"id":"` + userID + `","accountEnabled":false}`))
	f.Add([]byte(`{"value":[{"id":"` + userID + `","riskState":"confirmedCompromised","isProcessing":true}]}`))
	f.Add([]byte(`{"id":"` + userID + `","accountEnabled":"no","onPremisesSyncEnabled":[1]}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"of":"` + userID + `","todo":[{"id":"x"}],"present":[{}],"by":"entra.user.remove_roles"}`))
	f.Add([]byte(`[{"resourceId":"` + userID + `","appRoleId":"` + userID + `","roleDefinitionId":"` + userID + `","directoryScopeId":"/"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := client(t, func(r *http.Request) *http.Response {
			return graphtest.Answer(200, string(body), "Date", "Sun, 01 Mar 2026 12:00:00 GMT")
		})
		for name, typ := range byName(c) {
			r := request()
			r.Params = map[string]any{}
			for _, p := range typ.Spec().Params {
				r.Params[p.Name] = string(body) // what others wrote as well
			}
			if strings.Contains(string(name), "defender.") {
				r.Account = identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1105"}
			}
			l := typ.Look(t.Context(), []action.Request{r})[0]
			if l.Err == nil && l.Refuse == "" && !json.Valid(l.State) {
				t.Fatalf("%s: state %q", name, l.State)
			}
			r.Before = body
			got := typ.ReadBack(t.Context(), []action.Request{r})[0]
			if got.Seen && got.Err != nil {
				t.Fatalf("%s: seen with error %v", name, got.Err)
			}
			who := strings.ToLower(userID)
			if r.Account.SID != "" {
				who = strings.ToLower(r.Account.SID)
			}
			if got.Seen && !strings.Contains(strings.ToLower(string(body)), who) && !strings.Contains(string(body), `\\u`) {
				t.Fatalf("%s: proven by %q", name, body)
			}
			if u, ok := typ.(action.Undoer); ok {
				u.Undo(body)
			}
			if o := typ.Do(t.Context(), []action.Request{r})[0]; strings.ContainsAny(o.Reason, "\r\n") || o.Verdict == "" {
				t.Fatalf("%s: %+v", name, o)
			}
		}
	})
}
