package risk_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// picture reads what the lab's three reports say about one user.
func picture(t *testing.T, w *world.World, user string) risk.Picture {
	t.Helper()
	s, ok := w.State(user)
	if !ok {
		t.Fatalf("no user %s", user)
	}
	p := risk.Picture{User: risk.UserRisk{State: signal.State(s.RiskState), Level: signal.Level(s.RiskLevel), Detail: s.RiskDetail}}
	text := func(o world.Object, key string) string { v, _ := o[key].(string); return v }
	w.Walk(world.SignIns, 0, func(_ int, it world.Item) bool {
		if o := it.Object(); o["userId"] == s.ID && len(o["riskEventTypes_v2"].([]any)) > 0 {
			p.SignIns = append(p.SignIns, risk.SignInRisk{
				ID: text(o, "id"), State: signal.State(text(o, "riskState")), RealTime: signal.Level(text(o, "riskLevelDuringSignIn")),
				Aggregate: signal.Level(text(o, "riskLevelAggregated")), Detail: text(o, "riskDetail"),
			})
		}
		return true
	})
	w.Walk(world.RiskDetections, 0, func(_ int, it world.Item) bool {
		if o := it.Object(); o["userId"] == s.ID {
			at, err := time.Parse(time.RFC3339Nano, text(o, "lastUpdatedDateTime"))
			if err != nil {
				t.Fatal(err)
			}
			p.Detections = append(p.Detections, risk.DetectionRisk{
				ID: text(o, "id"), SignIn: text(o, "requestId"), Type: text(o, "riskEventType"), State: signal.State(text(o, "riskState")),
				Level: signal.Level(text(o, "riskLevel")), Detail: text(o, "riskDetail"), At: at,
			})
		}
		return true
	})
	return p
}

// words is a picture without identifiers and times.
func words(p risk.Picture) (out []string) {
	out = append(out, fmt.Sprintf("user: %s / %s / %s", p.User.State, p.User.Level, p.User.Detail))
	for _, s := range p.SignIns {
		out = append(out, fmt.Sprintf("sign-in: %s / %s / %s / %s", s.State, s.RealTime, s.Aggregate, s.Detail))
	}
	for _, d := range p.Detections {
		out = append(out, fmt.Sprintf("%s: %s / %s / %s", d.Type, d.State, d.Level, d.Detail))
	}
	return out
}

const (
	atRisk    = "user: atRisk / high / none"
	signInNew = "sign-in: atRisk / medium / medium / none"
	odd       = "unfamiliarFeatures: atRisk / medium / none"
	leak      = "leakedCredentials: atRisk / high / none"
)

func both(user, signIn, unfamiliar, leaked string) []string {
	return []string{"user: " + user, "sign-in: " + signIn, "unfamiliarFeatures: " + unfamiliar, "leakedCredentials: " + leaked}
}

func all(state, detail, aggregate string) []string {
	return both(state+" / none / "+detail, state+" / medium / "+aggregate+" / "+detail, state+" / medium / "+detail, state+" / high / "+detail)
}

func alone(user, signIn, unfamiliar string) []string {
	return []string{"user: " + user, "sign-in: " + signIn, "unfamiliarFeatures: " + unfamiliar}
}

// A transition of the table: what is there before, what is done in the lab, and what
// user, sign-ins and detections are afterwards. The lab, which was written from the
// same descriptions by others, and our state machine must both arrive there.
type transition struct {
	id       risk.TransitionID
	name     string
	who      world.Pick
	settings world.Settings
	signIn   bool // only the sign-in's detection is there, not the leak
	low      bool // only a low one
	event    *world.Event
	user     world.Verdict
	onSignIn world.Verdict
	then     *world.Event // after event
	wait     time.Duration
	before   []string
	after    []string
}

func transitions() []transition {
	rem := func(id string) *world.Event { return &world.Event{Type: world.EventRemediation, Transition: id} }
	sys := func(id string) *world.Event { return &world.Event{Type: world.EventSystem, Transition: id} }
	yes, no := true, false
	cloud := world.Pick{Kind: world.KindMember, Synced: &no, Privileged: &no, MFA: &yes, Passwordless: &no}
	synced := world.Pick{Kind: world.KindMember, Synced: &yes, Privileged: &no, MFA: &yes}
	bare := world.Pick{Kind: world.KindMember, Passwordless: &yes, Privileged: &no}
	again := &world.Event{Type: world.EventSignIn}
	two := []string{atRisk, signInNew, odd, leak}
	one := []string{"user: atRisk / medium / none", signInNew, odd}
	low := []string{"user: atRisk / low / none", "sign-in: atRisk / none / low / none", "unlikelyTravel: atRisk / low / none"}
	const year = 366 * 24 * time.Hour
	return []transition{
		{id: "T1", name: "nothing else is open", who: cloud, signIn: true, event: rem("T1"), before: one,
			after: alone("remediated / none / userPassedMFADrivenByRiskBasedPolicy", "remediated / medium / medium / userPassedMFADrivenByRiskBasedPolicy", "remediated / medium / userPassedMFADrivenByRiskBasedPolicy")},
		{id: "T1", name: "user risk stays", who: cloud, event: rem("T1"), before: two,
			after: []string{atRisk, "sign-in: remediated / medium / medium / userPassedMFADrivenByRiskBasedPolicy", "unfamiliarFeatures: remediated / medium / userPassedMFADrivenByRiskBasedPolicy", leak}},
		{id: "T2", who: cloud, event: rem("T2"), before: two, after: all("remediated", "userPerformedSecuredPasswordReset", "medium")},
		{id: "T3", who: cloud, event: rem("T3"), before: two, after: all("remediated", "userPerformedSecuredPasswordReset", "medium")},
		{id: "T4", who: bare, event: rem("T4"), then: again, before: two, after: all("remediated", "microsoftRevokedSessions", "medium")},
		{id: "T5", who: cloud, event: rem("T5"), then: again, before: two, after: all("remediated", "microsoftRevokedSessions", "medium")},
		{id: "T6", who: cloud, event: rem("T6"), before: two, after: all("remediated", "adminGeneratedTemporaryPassword", "medium")},
		{id: "T7", who: cloud, event: rem("T7"), before: two, after: all("remediated", "userPerformedSecuredPasswordChange", "medium")},
		{id: "T8", who: synced, settings: world.Settings{OnPremisesResetClearsRisk: true}, event: rem("T8"), before: two, after: all("remediated", "userChangedPasswordOnPremises", "medium")},
		{id: "T9", who: synced, event: rem("T9"), before: two, after: two},
		{id: "T10", who: cloud, event: rem("T10"), before: two, after: two},
		{id: "T11", who: cloud, user: world.Dismiss, before: two, after: all("dismissed", "adminDismissedAllRiskForUser", "medium")},
		{id: "T12", name: "nothing else is open", who: cloud, signIn: true, onSignIn: world.Dismiss, before: one,
			after: alone("dismissed / none / adminDismissedRiskForSignIn", "dismissed / medium / medium / adminDismissedRiskForSignIn", "dismissed / medium / adminDismissedRiskForSignIn")},
		{id: "T12", name: "recalculates", who: cloud, onSignIn: world.Dismiss, before: two,
			after: []string{atRisk, "sign-in: dismissed / medium / medium / adminDismissedRiskForSignIn", "unfamiliarFeatures: dismissed / medium / adminDismissedRiskForSignIn", leak}},
		{id: "T13", who: cloud, signIn: true, onSignIn: world.ConfirmSafe, before: one,
			after: alone("confirmedSafe / none / adminConfirmedSigninSafe", "confirmedSafe / medium / none / adminConfirmedSigninSafe", "confirmedSafe / medium / adminConfirmedSigninSafe")},
		{id: "T14", who: cloud, signIn: true, onSignIn: world.ConfirmCompromised, before: one,
			after: alone("atRisk / high / adminConfirmedSigninCompromised", "confirmedCompromised / medium / high / adminConfirmedSigninCompromised", "confirmedCompromised / medium / adminConfirmedSigninCompromised")},
		{id: "T15", who: cloud, user: world.ConfirmCompromised, before: two,
			after: []string{"user: confirmedCompromised / high / adminConfirmedUserCompromised", signInNew, odd, leak, "adminConfirmedUserCompromised: confirmedCompromised / high / adminConfirmedUserCompromised"}},
		{id: "T16", who: cloud, user: world.ConfirmSafe, before: two, after: all("confirmedSafe", "adminConfirmedAccountSafe", "none")},
		{id: "T17", who: cloud, event: &world.Event{Type: world.EventCloseAlert, Of: "leak"}, before: two,
			after: []string{"user: atRisk / medium / none", signInNew, odd, "leakedCredentials: dismissed / high / m365DAdminDismissedDetection"}},
		{id: "T18", who: cloud, signIn: true, event: sys("T18"), before: one,
			after: alone("dismissed / none / aiConfirmedSigninSafe", "dismissed / medium / medium / aiConfirmedSigninSafe", "dismissed / medium / aiConfirmedSigninSafe")},
		{id: "T19", who: cloud, signIn: true, event: sys("T19"), before: one,
			after: alone("dismissed / none / aiConfirmedSigninSafe", "dismissed / medium / medium / aiConfirmedSigninSafe", "dismissed / medium / aiConfirmedSigninSafe")},
		{id: "T20", who: cloud, low: true, event: sys("T20"), before: low,
			after: []string{"user: atRisk / high / aiElevatedAccountRisk", low[1], low[2], "aiCompoundAccountRisk: atRisk / high / aiElevatedAccountRisk"}},
		{id: "T21", who: cloud, event: sys("T21"), before: two, after: two},
		{id: "T22", who: cloud, low: true, wait: year, before: low, after: []string{"user: none / none / none", "sign-in: none / none / none / none", "unlikelyTravel: none / none / none"}},
		{id: "T23", who: cloud, signIn: true, wait: 5 * year, before: one, after: one},
		{id: "T24", who: cloud, before: two,
			after: append(all("dismissed", "adminDismissedAllRiskForUser", "medium"), "adminConfirmedUserCompromised: dismissed / high / adminDismissedAllRiskForUser")},
	}
}

// who finds somebody of the kind for whom the transition is possible.
func (tr transition) find(t *testing.T, w *world.World) world.Account {
	t.Helper()
	for n := range 200 {
		p := tr.who
		p.Index = n
		a, err := w.Pick(p)
		if err != nil {
			t.Fatal(err)
		}
		switch tr.id {
		case "T3":
			it, _ := w.Get(world.RegistrationDetails, a.UserID)
			if v, _ := it.Value("isSsprRegistered"); v != true {
				continue
			}
		case "T5":
			if d, _ := w.Related(world.Users, a.UserID, world.OwnedDevices); len(d) == 0 {
				continue
			}
		}
		return a
	}
	t.Fatal("nobody fits")
	return world.Account{}
}

func TestTransitionsAreMicrosofts(t *testing.T) {
	t.Parallel()
	covered := map[risk.TransitionID]bool{}
	for _, tr := range transitions() {
		covered[tr.id] = true
		t.Run(strings.TrimSpace(string(tr.id)+" "+tr.name), func(t *testing.T) {
			t.Parallel()
			now := epoch
			w, err := world.New(world.Options{Seed: 7, Users: 300, Start: epoch, Now: func() time.Time { return now }, Settings: tr.settings})
			if err != nil {
				t.Fatal(err)
			}
			pass := func(d time.Duration) { now = now.Add(d) }
			a := tr.find(t, w)
			pass(time.Second)
			play := func(e world.Event) {
				if e.User == "" && e.Type != world.EventCloseAlert {
					e.User = a.UserID
				}
				if err := w.Apply(e); err != nil {
					t.Fatal(err)
				}
				pass(5 * time.Second)
			}
			if tr.low {
				play(world.Event{Type: world.EventDetection, RiskEventType: "unlikelyTravel", RiskLevel: "low"})
			} else {
				play(world.Event{Type: world.EventDetection, RiskEventType: "unfamiliarFeatures", RiskLevel: "medium", IPAddress: "198.51.100.7"})
			}
			if !tr.low && !tr.signIn {
				play(world.Event{Type: world.EventDetection, RiskEventType: "leakedCredentials", RaiseAlert: true, Name: "leak"})
			}
			before := picture(t, w, a.UserID)
			if diff := cmp.Diff(tr.before, words(before)); diff != "" {
				t.Fatalf("before:\n%s", diff)
			}
			feedback := func(v world.Verdict) {
				if _, err := w.UserFeedback(world.Actor{}, v, []string{a.UserID}); err != nil {
					t.Fatal(err)
				}
				pass(5 * time.Second)
			}
			act := risk.Act{Transition: tr.id}
			switch {
			case tr.id == "T24":
				feedback(world.ConfirmCompromised)
				feedback(world.Dismiss)
			case tr.wait > 0:
				pass(tr.wait)
			case tr.onSignIn != "":
				act.Of = before.SignIns[0].ID
				if _, err := w.SignInFeedback(world.Actor{}, tr.onSignIn, []string{act.Of}); err != nil {
					t.Fatal(err)
				}
				pass(5 * time.Second)
			case tr.user != "":
				feedback(tr.user)
			default:
				if tr.id == "T17" {
					act.Of = before.Detections[1].ID
				}
				play(*tr.event)
				if tr.then != nil {
					play(*tr.then)
				}
			}
			act.At = now
			if diff := cmp.Diff(tr.after, words(picture(t, w, a.UserID))); diff != "" {
				t.Errorf("the lab, after:\n%s", diff)
			}
			kept := words(before)
			after, err := before.After(act)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tr.after, words(after)); diff != "" {
				t.Errorf("ours, after:\n%s", diff)
			}
			if diff := cmp.Diff(kept, words(before)); diff != "" {
				t.Errorf("the picture before was changed:\n%s", diff)
			}
			own(t, tr, after)
		})
	}
	for _, tr := range risk.Transitions() {
		if !covered[tr.ID] {
			t.Errorf("%s is not played", tr.ID)
		}
	}
}

// own checks that what Microsoft's picture says leads to the right opinion of ours:
// never below Microsoft's level, and nothing left once everything is closed.
func own(t *testing.T, tr transition, p risk.Picture) {
	t.Helper()
	in := inputOf(p)
	a := risk.Assess(in, epoch.Add(time.Hour))
	switch {
	case a.Level.Rank() < p.User.Level.Rank():
		t.Errorf("our level %s is below Microsoft's %s", a.Level, p.User.Level)
	case !p.User.State.Open() && a.Score != 0:
		t.Errorf("everything is closed and the score is %d: %+v", a.Score, a.Reasons)
	}
	closedSame := slices.Contains([]risk.TransitionID{"T11", "T16", "T24"}, tr.id)
	facts := account(epoch.Add(-time.Hour))
	if got := len(risk.Residuals(in.Signals, facts, risk.Verdict{})) > 0; got != closedSame && !tr.signIn && !tr.low && tr.id != "T17" {
		t.Errorf("password unchanged since the detection: %v, want %v", got, closedSame)
	}
}

func inputOf(p risk.Picture) risk.Input {
	in := risk.Input{Tenant: "tenant", Identity: "idn_1"}
	for n, d := range p.Detections {
		s := told(fmt.Sprint("d", n), d.Type, d.Level, epoch)
		s.Subject, s.RequestID, s.State, s.Detail = cloudRef, d.SignIn, d.State, d.Detail
		in.Signals = append(in.Signals, s)
	}
	in.Accounts = []signal.AccountRisk{{Subject: cloudRef, Level: p.User.Level, State: p.User.State, Detail: p.User.Detail, UpdatedAt: epoch}}
	return in
}

// Whatever is done in whatever order: an act twice is an act once, closed stays
// closed until something new is confirmed, and the user is never below what is open.
func TestLifeCycleLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p := risk.Picture{User: risk.UserRisk{State: signal.StateAtRisk, Level: signal.LevelHigh, Detail: "none"},
			SignIns: []risk.SignInRisk{{ID: "s", State: signal.StateAtRisk, RealTime: signal.LevelMedium, Aggregate: signal.LevelMedium, Detail: "none"}},
			Detections: []risk.DetectionRisk{
				{ID: "d1", SignIn: "s", Type: "unfamiliarFeatures", State: signal.StateAtRisk, Level: signal.LevelMedium, Detail: "none", At: epoch},
				{ID: "d2", Type: "leakedCredentials", State: signal.StateAtRisk, Level: signal.LevelHigh, Detail: "none", At: epoch},
			}}
		for range rapid.IntRange(1, 8).Draw(rt, "acts") {
			tr := rapid.SampledFrom(risk.Transitions()).Draw(rt, "transition")
			act := risk.Act{Transition: tr.ID, Of: "s", At: epoch.Add(time.Duration(rapid.IntRange(0, 400).Draw(rt, "days")) * 24 * time.Hour)}
			if tr.ID == "T17" {
				act.Of = rapid.SampledFrom([]string{"d1", "d2"}).Draw(rt, "detection")
			}
			next, err := p.After(act)
			if err != nil {
				rt.Fatal(err)
			}
			if tr.ID != "T15" && tr.ID != "T20" && tr.ID != "T24" { // those add a detection each time
				again, err := next.After(act)
				if err != nil || cmp.Diff(words(next), words(again)) != "" {
					rt.Fatalf("%s twice: %v\n%s", tr.ID, err, cmp.Diff(words(next), words(again)))
				}
			}
			for _, d := range next.Detections {
				if d.State.Open() && next.User.Level.Rank() < d.Level.Rank() {
					rt.Fatalf("%s: the user is %s and %s is open at %s", tr.ID, next.User.Level, d.Type, d.Level)
				}
			}
			if next.SignIns[0].RealTime != p.SignIns[0].RealTime && tr.ID != "T22" {
				rt.Fatalf("%s changed the real-time level", tr.ID)
			}
			p = next
		}
	})
}

func TestNoSuchTransition(t *testing.T) {
	t.Parallel()
	for _, a := range []risk.Act{{Transition: "T25"}, {Transition: "T12", Of: "nobody's"}, {Transition: "T17", Of: "none"}} {
		if _, err := (risk.Picture{}).After(a); err == nil {
			t.Errorf("%+v was possible", a)
		}
	}
}

// Each riskDetail that Microsoft documents is explained, and an unheard-of one says
// that it is.
func TestDetailsAreExplained(t *testing.T) {
	t.Parallel()
	for _, d := range []string{"adminGeneratedTemporaryPassword", "userPerformedSecuredPasswordChange", "userPerformedSecuredPasswordReset",
		"userChangedPasswordOnPremises", "userPassedMFADrivenByRiskBasedPolicy", "aiConfirmedSigninSafe", "adminConfirmedSigninSafe",
		"adminConfirmedSigninCompromised", "adminDismissedRiskForSignIn", "adminDismissedAllRiskForUser", "adminConfirmedUserCompromised",
		"adminConfirmedAccountSafe", "m365DAdminDismissedDetection", "microsoftRevokedSessions", "aiElevatedAccountRisk",
		"adminConfirmedServicePrincipalCompromised", "adminDismissedAllRiskForServicePrincipal", "adminConfirmedAgentSafe",
		"adminConfirmedAgentCompromised", "adminDismissedRiskForAgent"} {
		if len(risk.Explained(d)) == 0 || strings.Contains(risk.DetailWords(d), "does not know") {
			t.Errorf("%s is not explained", d)
		}
	}
	if got := risk.DetailWords("somethingNew"); !strings.Contains(got, "does not know") {
		t.Errorf("an unheard-of detail: %q", got)
	}
	if risk.DetailWords("none") != "" || risk.DetailWords("hidden") == "" {
		t.Error("none says nothing, hidden says why")
	}
}
