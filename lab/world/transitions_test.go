package world

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// picture is what the risk reports say about one person: the row, and each of
// their risky sign-ins and detections in order.
type picture struct {
	User       string
	SignIns    []string // state / real-time / aggregated / detail
	Detections []string // type: state / level / detail
	Sessions   bool     // revoked since the picture before
	Password   bool     // changed since the picture before
}

func see(t *testing.T, w *World, ref string, before UserState) picture {
	t.Helper()
	s, ok := w.State(ref)
	if !ok {
		t.Fatalf("no state of %s", ref)
	}
	p := picture{
		User:     fmt.Sprintf("%s / %s / %s", s.RiskState, s.RiskLevel, s.RiskDetail),
		Sessions: s.SessionsValidFrom.After(before.SessionsValidFrom),
		Password: s.LastPasswordChange.After(before.LastPasswordChange),
	}
	w.Walk(SignIns, 0, func(_ int, it Item) bool {
		o := it.Object()
		if o["userId"] == s.ID && len(o["riskEventTypes_v2"].([]any)) > 0 {
			p.SignIns = append(p.SignIns, fmt.Sprintf("%v / %v / %v / %v", o["riskState"], o["riskLevelDuringSignIn"], o["riskLevelAggregated"], o["riskDetail"]))
		}
		return true
	})
	w.Walk(RiskDetections, 0, func(_ int, it Item) bool {
		o := it.Object()
		if o["userId"] == s.ID {
			p.Detections = append(p.Detections, fmt.Sprintf("%v: %v / %v / %v", o["riskEventType"], o["riskState"], o["riskLevel"], o["riskDetail"]))
		}
		return true
	})
	return p
}

// Events the table starts from.
var (
	unfamiliar = Event{Type: EventDetection, RiskEventType: "unfamiliarFeatures", RiskLevel: "medium", IPAddress: "198.51.100.7", Name: "s"}
	leaked     = Event{Type: EventDetection, RiskEventType: "leakedCredentials", Name: "u"}
	stolen     = Event{Type: EventDetection, RiskEventType: "anomalousToken", Name: "k"}
	lowTravel  = Event{Type: EventDetection, RiskEventType: "unlikelyTravel", RiskLevel: "low", Name: "l"}
)

const (
	openSignIn     = "atRisk / medium / medium / none"
	openUnfamiliar = "unfamiliarFeatures: atRisk / medium / none"
	openLeaked     = "leakedCredentials: atRisk / high / none"
)

var ordinary = Pick{Kind: KindMember, Synced: no(), Privileged: no(), MFA: yes(), Passwordless: no()}

// TestTransitions has a row for each transition of the table in the comment of
// transitions.go: the picture before, the act, the picture after.
func TestTransitions(t *testing.T) {
	t.Parallel()
	both := []Event{unfamiliar, leaked}
	before := picture{User: "atRisk / high / none", SignIns: []string{openSignIn}, Detections: []string{openUnfamiliar, openLeaked}}
	closed := func(state, detail, aggregated string) picture {
		return picture{
			User:    state + " / none / " + detail,
			SignIns: []string{state + " / medium / " + aggregated + " / " + detail},
			Detections: []string{
				"unfamiliarFeatures: " + state + " / medium / " + detail,
				"leakedCredentials: " + state + " / high / " + detail,
			},
		}
	}
	with := func(p picture, sessions, password bool) picture {
		p.Sessions, p.Password = sessions, password
		return p
	}
	signInOnly := picture{User: "atRisk / medium / none", SignIns: []string{openSignIn}, Detections: []string{openUnfamiliar}}
	signInClosed := func(user, state, aggregated, detail string) picture {
		return picture{User: user, SignIns: []string{state + " / medium / " + aggregated + " / " + detail},
			Detections: []string{"unfamiliarFeatures: " + state + " / medium / " + detail}}
	}
	sspr := func(w *World) Account {
		for i := 0; ; i++ {
			p := ordinary
			p.Index = i
			a := pick(t, w, p)
			if value(t, w, RegistrationDetails, a.UserID, "isSsprRegistered") == true {
				return a
			}
		}
	}
	ofKind := func(p Pick) func(*World) Account { return func(w *World) Account { return pick(t, w, p) } }
	passwordless := ofKind(Pick{Kind: KindMember, Passwordless: yes(), Privileged: no()})
	synced := ofKind(Pick{Kind: KindMember, Synced: yes(), Privileged: no(), MFA: yes()})
	clears := func(o *Options) { o.Settings.OnPremisesResetClearsRisk = true }

	event := func(e Event) func(*testing.T, *World, *clock, Account) {
		return func(t *testing.T, w *World, c *clock, a Account) {
			t.Helper()
			if e.User == "" && e.Type != EventCloseAlert {
				e.User = a.UserID
			}
			apply(t, w, e)
			c.add(5 * time.Second)
		}
	}
	call := func(v Verdict) func(*testing.T, *World, *clock, Account) {
		return func(t *testing.T, w *World, c *clock, a Account) {
			t.Helper()
			if _, err := w.UserFeedback(Actor{}, v, []string{a.UserID}); err != nil {
				t.Fatal(err)
			}
			c.add(5 * time.Second)
		}
	}
	signInCall := func(v Verdict) func(*testing.T, *World, *clock, Account) {
		return func(t *testing.T, w *World, c *clock, a Account) {
			t.Helper()
			r := w.risk.users[a.UserID]
			if _, err := w.SignInFeedback(Actor{}, v, []string{r.signIns[0].id}); err != nil {
				t.Fatal(err)
			}
			c.add(5 * time.Second)
		}
	}
	wait := func(years int) func(*testing.T, *World, *clock, Account) {
		return func(_ *testing.T, _ *World, c *clock, _ Account) { c.add(time.Duration(years) * 366 * 24 * time.Hour) }
	}

	for _, tt := range []struct {
		name    string
		who     func(*World) Account
		options func(*Options)
		given   []Event
		before  picture
		act     func(*testing.T, *World, *clock, Account)
		after   picture
	}{
		{name: "T1 only sign-in risk: nothing is left", given: []Event{unfamiliar}, before: signInOnly,
			act:   event(Event{Type: EventRemediation, Transition: "T1"}),
			after: signInClosed("remediated / none / userPassedMFADrivenByRiskBasedPolicy", "remediated", "medium", "userPassedMFADrivenByRiskBasedPolicy")},
		{name: "T1 beside user risk: that stays", given: both, before: before,
			act: event(Event{Type: EventRemediation, Transition: "T1"}),
			after: picture{User: "atRisk / high / none", SignIns: []string{"remediated / medium / medium / userPassedMFADrivenByRiskBasedPolicy"},
				Detections: []string{"unfamiliarFeatures: remediated / medium / userPassedMFADrivenByRiskBasedPolicy", openLeaked}}},
		{name: "T2 passwordChange", given: both, before: before,
			act:   event(Event{Type: EventRemediation, Transition: "T2"}),
			after: with(closed("remediated", "userPerformedSecuredPasswordReset", "medium"), false, true)},
		{name: "T2 riskRemediation also revokes", given: both, before: before,
			act:   event(Event{Type: EventRemediation, Transition: "T2", Control: "riskRemediation"}),
			after: with(closed("remediated", "userPerformedSecuredPasswordReset", "medium"), true, true)},
		{name: "T3", who: sspr, given: both, before: before,
			act:   event(Event{Type: EventRemediation, Transition: "T3"}),
			after: with(closed("remediated", "userPerformedSecuredPasswordReset", "medium"), true, true)},
		{name: "T4 before the second sign-in", who: passwordless, given: both, before: before,
			act:   event(Event{Type: EventRemediation, Transition: "T4"}),
			after: with(before, true, false)},
		{name: "T4 after the second sign-in", who: passwordless, given: both, before: before,
			act: func(t *testing.T, w *World, c *clock, a Account) {
				event(Event{Type: EventRemediation, Transition: "T4"})(t, w, c, a)
				event(Event{Type: EventSignIn})(t, w, c, a)
			},
			after: with(closed("remediated", "microsoftRevokedSessions", "medium"), true, false)},
		{name: "T5 disables the device too", who: func(w *World) Account {
			for i := 0; ; i++ {
				p := ordinary
				p.Index = i
				a := pick(t, w, p)
				if d, _ := w.Related(Users, a.UserID, OwnedDevices); len(d) > 0 {
					return a
				}
			}
		}, given: both, before: before,
			act: func(t *testing.T, w *World, c *clock, a Account) {
				event(Event{Type: EventRemediation, Transition: "T5"})(t, w, c, a)
				d, _ := w.Related(Users, a.UserID, OwnedDevices)
				if v, _ := d[0].Value("accountEnabled"); v != false {
					t.Error("the device is still enabled")
				}
				event(Event{Type: EventSignIn})(t, w, c, a)
			},
			after: with(closed("remediated", "microsoftRevokedSessions", "medium"), true, false)},
		{name: "T6 in the portal", given: both, before: before,
			act:   event(Event{Type: EventRemediation, Transition: "T6"}),
			after: with(closed("remediated", "adminGeneratedTemporaryPassword", "medium"), true, true)},
		{name: "T6 by PATCH", given: both, before: before,
			act: func(t *testing.T, w *World, c *clock, a Account) {
				if _, err := w.Update(Actor{}, Users, a.UserID, Object{"passwordProfile": Object{"password": "Correct-Horse-7"}}); err != nil {
					t.Fatal(err)
				}
				c.add(5 * time.Second)
			},
			after: with(closed("remediated", "adminGeneratedTemporaryPassword", "medium"), true, true)},
		{name: "T7", given: both, before: before,
			act:   event(Event{Type: EventRemediation, Transition: "T7"}),
			after: with(closed("remediated", "userPerformedSecuredPasswordChange", "medium"), true, true)},
		{name: "T8", who: synced, options: clears, given: both, before: before,
			act:   event(Event{Type: EventRemediation, Transition: "T8"}),
			after: with(closed("remediated", "userChangedPasswordOnPremises", "medium"), false, true)},
		{name: "T9", who: synced, given: both, before: before,
			act:   event(Event{Type: EventRemediation, Transition: "T9"}),
			after: with(before, false, true)},
		{name: "T10", given: both, before: before,
			act:   event(Event{Type: EventRemediation, Transition: "T10"}),
			after: with(before, false, true)},
		{name: "T11", given: both, before: before, act: call(Dismiss),
			after: closed("dismissed", "adminDismissedAllRiskForUser", "medium")},
		{name: "T12 nothing else is open", given: []Event{unfamiliar}, before: signInOnly, act: signInCall(Dismiss),
			after: signInClosed("dismissed / none / adminDismissedRiskForSignIn", "dismissed", "medium", "adminDismissedRiskForSignIn")},
		{name: "T12 recalculates", given: both, before: before, act: signInCall(Dismiss),
			after: picture{User: "atRisk / high / none", SignIns: []string{"dismissed / medium / medium / adminDismissedRiskForSignIn"},
				Detections: []string{"unfamiliarFeatures: dismissed / medium / adminDismissedRiskForSignIn", openLeaked}}},
		{name: "T13", given: []Event{unfamiliar}, before: signInOnly, act: signInCall(ConfirmSafe),
			after: signInClosed("confirmedSafe / none / adminConfirmedSigninSafe", "confirmedSafe", "none", "adminConfirmedSigninSafe")},
		{name: "T14", given: []Event{unfamiliar}, before: signInOnly, act: signInCall(ConfirmCompromised),
			after: signInClosed("atRisk / high / adminConfirmedSigninCompromised", "confirmedCompromised", "high", "adminConfirmedSigninCompromised")},
		{name: "T15", given: both, before: before, act: call(ConfirmCompromised),
			after: picture{User: "confirmedCompromised / high / adminConfirmedUserCompromised", SignIns: []string{openSignIn},
				Detections: []string{openUnfamiliar, openLeaked, "adminConfirmedUserCompromised: confirmedCompromised / high / adminConfirmedUserCompromised"}}},
		{name: "T15 of somebody never listed", before: picture{User: "none / none / none"}, act: call(ConfirmCompromised),
			after: picture{User: "confirmedCompromised / high / adminConfirmedUserCompromised",
				Detections: []string{"adminConfirmedUserCompromised: confirmedCompromised / high / adminConfirmedUserCompromised"}}},
		{name: "T16", given: both, before: before, act: call(ConfirmSafe),
			after: closed("confirmedSafe", "adminConfirmedAccountSafe", "none")},
		{name: "T17", given: []Event{{Type: EventDetection, RiskEventType: "leakedCredentials", RaiseAlert: true, Name: "u"}},
			before: picture{User: "atRisk / high / none", Detections: []string{openLeaked}},
			act:    event(Event{Type: EventCloseAlert, Of: "u"}),
			after: picture{User: "dismissed / none / m365DAdminDismissedDetection",
				Detections: []string{"leakedCredentials: dismissed / high / m365DAdminDismissedDetection"}}},
		{name: "T18", given: []Event{unfamiliar}, before: signInOnly,
			act:   event(Event{Type: EventSystem, Transition: "T18"}),
			after: signInClosed("dismissed / none / aiConfirmedSigninSafe", "dismissed", "medium", "aiConfirmedSigninSafe")},
		{name: "T19", given: []Event{unfamiliar}, before: signInOnly,
			act:   event(Event{Type: EventSystem, Transition: "T19"}),
			after: signInClosed("dismissed / none / aiConfirmedSigninSafe", "dismissed", "medium", "aiConfirmedSigninSafe")},
		{name: "T20", given: []Event{lowTravel},
			before: picture{User: "atRisk / low / none", SignIns: []string{"atRisk / none / low / none"}, Detections: []string{"unlikelyTravel: atRisk / low / none"}},
			act:    event(Event{Type: EventSystem, Transition: "T20"}),
			after: picture{User: "atRisk / high / aiElevatedAccountRisk", SignIns: []string{"atRisk / none / low / none"},
				Detections: []string{"unlikelyTravel: atRisk / low / none", "aiCompoundAccountRisk: atRisk / high / aiElevatedAccountRisk"}}},
		{name: "T21", given: both, before: before,
			act: func(t *testing.T, w *World, c *clock, a Account) {
				event(Event{Type: EventSystem, Transition: "T21"})(t, w, c, a)
				var by any
				w.WalkBack(DirectoryAudits, -1, func(_ int, it Item) bool { by, _ = it.Value("initiatedBy"); return false })
				if got := by.(Object)["app"].(Object)["displayName"]; got != "Microsoft" {
					t.Errorf("the audit says %v", got)
				}
			},
			after: with(before, true, false)},
		{name: "T22", given: []Event{lowTravel},
			before: picture{User: "atRisk / low / none", SignIns: []string{"atRisk / none / low / none"}, Detections: []string{"unlikelyTravel: atRisk / low / none"}},
			act:    wait(1),
			after:  picture{User: "none / none / none", SignIns: []string{"none / none / none / none"}, Detections: []string{"unlikelyTravel: none / none / none"}}},
		{name: "T23", given: []Event{unfamiliar}, before: signInOnly, act: wait(5), after: signInOnly},
		{name: "T24", given: both, before: before,
			act: func(t *testing.T, w *World, c *clock, a Account) {
				call(ConfirmCompromised)(t, w, c, a)
				if s, _ := w.State(a.UserID); s.RiskLevel != "high" || s.RiskProcessing {
					t.Errorf("after confirming: %+v", s)
				}
				call(Dismiss)(t, w, c, a)
			},
			after: func() picture {
				p := closed("dismissed", "adminDismissedAllRiskForUser", "medium")
				p.Detections = append(p.Detections, "adminConfirmedUserCompromised: dismissed / high / adminDismissedAllRiskForUser")
				return p
			}()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.options == nil {
				tt.options = func(*Options) {}
			}
			w, c := small(t, tt.options)
			if tt.who == nil {
				tt.who = ofKind(ordinary)
			}
			a := tt.who(w)
			c.add(time.Second)
			for _, e := range tt.given {
				e.User = a.UserID
				apply(t, w, e)
			}
			c.add(time.Second)
			start, _ := w.State(a.UserID)
			if diff := cmp.Diff(tt.before, see(t, w, a.UserID, start)); diff != "" {
				t.Fatalf("before:\n%s", diff)
			}
			c.add(time.Second)
			tt.act(t, w, c, a)
			if diff := cmp.Diff(tt.after, see(t, w, a.UserID, start)); diff != "" {
				t.Errorf("after:\n%s", diff)
			}
			if s, _ := w.State(a.UserID); !s.AccountEnabled {
				t.Error("a transition of risk disabled the account")
			}
		})
	}
}

// What a transition needs must be there, and a refusal must change nothing.
func TestTransitionsRefused(t *testing.T) {
	t.Parallel()
	guest := Pick{Kind: KindGuest}
	unregistered := Pick{Kind: KindMember, MFA: no(), Synced: no()}
	passwordless := Pick{Kind: KindMember, Passwordless: yes()}
	cloud := ordinary
	for _, tt := range []struct {
		name  string
		who   Pick
		given []Event
		event Event
	}{
		{"T1 without a registered factor", unregistered, []Event{unfamiliar}, Event{Type: EventRemediation, Transition: "T1"}},
		{"T1 without sign-in risk", cloud, []Event{leaked}, Event{Type: EventRemediation, Transition: "T1"}},
		{"T1 of a stolen token", cloud, []Event{stolen}, Event{Type: EventRemediation, Transition: "T1"}},
		{"T2 of a guest", guest, []Event{unfamiliar}, Event{Type: EventRemediation, Transition: "T2"}},
		{"T11 of a guest", guest, []Event{unfamiliar}, Event{Type: EventFeedback, Transition: "T11"}},
		{"user risk of a guest", guest, nil, leaked},
		{"T2 without a registered factor", unregistered, []Event{leaked}, Event{Type: EventRemediation, Transition: "T2"}},
		{"T2 of a passwordless person", passwordless, []Event{leaked}, Event{Type: EventRemediation, Transition: "T2"}},
		{"T2 without risk", cloud, nil, Event{Type: EventRemediation, Transition: "T2"}},
		{"T2 with an unknown control", cloud, []Event{leaked}, Event{Type: EventRemediation, Transition: "T2", Control: "block"}},
		{"T3 without registration", unregistered, []Event{leaked}, Event{Type: EventRemediation, Transition: "T3"}},
		{"T4 of a person with a password", cloud, []Event{leaked}, Event{Type: EventRemediation, Transition: "T4"}},
		{"T4 without risk", passwordless, nil, Event{Type: EventRemediation, Transition: "T4"}},
		{"T8 of a cloud account", cloud, []Event{leaked}, Event{Type: EventRemediation, Transition: "T8"}},
		{"T9 of a cloud account", cloud, []Event{leaked}, Event{Type: EventRemediation, Transition: "T9"}},
		{"T11 as a remediation", cloud, []Event{leaked}, Event{Type: EventRemediation, Transition: "T11"}},
		{"T18 of a stolen token", cloud, []Event{stolen}, Event{Type: EventSystem, Transition: "T18"}},
		{"T22 as an event", cloud, []Event{leaked}, Event{Type: EventSystem, Transition: "T22"}},
		{"T1 as an act of the service", cloud, []Event{unfamiliar}, Event{Type: EventSystem, Transition: "T1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, c := small(t)
			a := pick(t, w, tt.who)
			for _, e := range tt.given {
				e.User = a.UserID
				apply(t, w, e)
			}
			start, _ := w.State(a.UserID)
			before := see(t, w, a.UserID, start)
			audits := w.Count(DirectoryAudits)
			tt.event.User = a.UserID
			if err := w.Apply(tt.event); err == nil {
				t.Error("it was accepted")
			}
			c.add(time.Minute)
			if diff := cmp.Diff(before, see(t, w, a.UserID, start)); diff != "" {
				t.Errorf("a refused event changed something:\n%s", diff)
			}
			if n := w.Count(DirectoryAudits); n != audits {
				t.Errorf("a refused event wrote %d audit lines", n-audits)
			}
		})
	}
}
