package world

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// app registers a caller with directory roles.
func app(t testing.TB, w *World, roles ...string) Actor {
	t.Helper()
	a, err := w.AddApp(App{AppID: "3f6b2c1a-0d4e-4a59-9d7f-0a1b2c3d4e5f", DisplayName: "Responder", DirectoryRoles: roles, AppRoles: []string{"User.Read.All"}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

func lastAudit(t testing.TB, w *World) Object {
	t.Helper()
	var o Object
	w.WalkBack(DirectoryAudits, -1, func(_ int, it Item) bool { o = it.Object(); return false })
	if o == nil {
		t.Fatal("the audit is empty")
	}
	return o
}

func TestDisableAndEnable(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	caller := app(t, w)
	a := pick(t, w, ordinary)
	c.add(time.Second)
	effects, err := w.Update(caller, Users, a.UserPrincipalName, Object{"accountEnabled": false})
	if err != nil {
		t.Fatal(err)
	}
	want := []Effect{{Object: "users/" + a.UserID, Field: "accountEnabled", Before: true, After: false}}
	if diff := cmp.Diff(want, effects); diff != "" {
		t.Error(diff)
	}
	if value(t, w, Users, a.UserID, "accountEnabled") != false {
		t.Error("the account is still enabled")
	}
	o := lastAudit(t, w)
	if o["activityDisplayName"] != "Disable account" || o["initiatedBy"].(Object)["app"].(Object)["appId"] != caller.AppID {
		t.Errorf("the audit says %v by %v", o["activityDisplayName"], o["initiatedBy"])
	}
	n := w.Count(DirectoryAudits)
	if effects, err = w.Update(caller, Users, a.UserID, Object{"accountEnabled": false}); err != nil || effects[0].Before != false {
		t.Errorf("disabling twice: %v %v", effects, err)
	}
	if w.Count(DirectoryAudits) != n {
		t.Error("a change that changes nothing was audited")
	}
	apply(t, w, Event{Type: EventSignIn, User: a.UserID})
	var code any
	w.WalkBack(SignIns, -1, func(_ int, it Item) bool { v, _ := it.Value("status"); code = v.(Object)["errorCode"]; return false })
	if code != 50057 {
		t.Errorf("a disabled account's sign-in ended with %v", code)
	}
	apply(t, w, Event{Type: EventDetection, User: a.UserID, RiskEventType: "leakedCredentials"})
	c.add(24 * time.Hour)
	if value(t, w, Users, a.UserID, "accountEnabled") != false {
		t.Error("a cloud-only account came back by itself")
	}
}

// Active Directory masters accountEnabled: what was disabled in the cloud only
// is enabled again by the next synchronisation.
func TestSyncEnablesAgain(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	a := pick(t, w, Pick{Kind: KindMember, Synced: yes(), Privileged: no()})
	c.add(10 * time.Minute)
	if _, err := w.Update(Actor{}, Users, a.UserID, Object{"accountEnabled": false}); err != nil {
		t.Fatal(err)
	}
	c.add(19*time.Minute + 59*time.Second)
	if value(t, w, Users, a.UserID, "accountEnabled") != false {
		t.Error("enabled before the cycle")
	}
	c.add(2 * time.Second)
	if value(t, w, Users, a.UserID, "accountEnabled") != true {
		t.Error("not enabled by the cycle")
	}
	o := lastAudit(t, w)
	if upn, _ := o["initiatedBy"].(Object)["user"].(Object)["userPrincipalName"].(string); !strings.HasPrefix(upn, "Sync_") {
		t.Errorf("the audit says %v", o["initiatedBy"])
	}
	if got := o["activityDateTime"]; got != stamp(epoch.Add(30*time.Minute)) {
		t.Errorf("the cycle ran at %v", got)
	}
	// The other way round: disabled in AD, the cloud follows.
	apply(t, w, Event{Type: EventOnPremisesChange, User: a.SID, AccountEnabled: no()})
	if value(t, w, Users, a.UserID, "accountEnabled") != true {
		t.Error("the cloud followed at once")
	}
	apply(t, w, Event{Type: EventSyncCycle})
	if value(t, w, Users, a.UserID, "accountEnabled") != false {
		t.Error("the cloud did not follow")
	}
	if got := value(t, w, Organization, w.TenantID(), "onPremisesLastSyncDateTime"); got != "2026-08-24T09:30:00Z" {
		t.Errorf("the last cycle was at %v", got)
	}
}

func TestPasswordReset(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	a, b := pick(t, w, ordinary), pick(t, w, Pick{Kind: KindMember, Synced: yes(), Privileged: no()})
	c.add(1500 * time.Millisecond)
	reset := func(id, password string) []Effect {
		t.Helper()
		effects, err := w.Update(Actor{}, Users, id, Object{"passwordProfile": Object{"password": password, "forceChangePasswordNextSignIn": true}})
		if err != nil {
			t.Fatal(err)
		}
		return effects
	}
	const secret = "S3cret-and-long"
	effects := reset(a.UserID, secret)
	if strings.Contains(fmt.Sprint(effects), secret) {
		t.Error("the password is in the effects")
	}
	s, _ := w.State(a.UserID)
	if s.PasswordResets != 1 || s.DistinctPasswords != 1 || !s.ForceChangePassword {
		t.Errorf("state: %+v", s)
	}
	if got := value(t, w, Users, a.UserID, "lastPasswordChangeDateTime"); got != "2026-08-24T09:00:01Z" {
		t.Errorf("lastPasswordChangeDateTime is %v", got)
	}
	profile := value(t, w, Users, a.UserID, "passwordProfile").(Object)
	if profile["password"] != nil || profile["forceChangePasswordNextSignIn"] != true {
		t.Errorf("the profile shows %v", profile)
	}
	reset(b.UserID, secret)
	if values, resets := w.DistinctPasswords(); values != 1 || resets != 2 {
		t.Errorf("%d values in %d resets: a value used twice does not show", values, resets)
	}
	if s, _ := w.State(b.UserID); s.OnPremises.PasswordLastSet.After(epoch) {
		t.Error("a PATCH was written back to Active Directory")
	}
	apply(t, w, Event{Type: EventSignIn, User: a.UserID})
	var code any
	w.WalkBack(SignIns, -1, func(_ int, it Item) bool { v, _ := it.Value("status"); code = v.(Object)["errorCode"]; return false })
	if code != 50055 {
		t.Errorf("a sign-in before the forced change ended with %v", code)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	a, guest := pick(t, w, ordinary), pick(t, w, Pick{Kind: KindGuest})
	before := value(t, w, Users, a.UserID, "signInSessionsValidFromDateTime")
	effects, err := w.RevokeSignInSessions(Actor{}, a.UserID)
	if err != nil {
		t.Fatal(err)
	}
	if len(effects) != 1 || !effects[0].Due.Equal(epoch.Add(2*time.Second)) {
		t.Errorf("effects %+v", effects)
	}
	if value(t, w, Users, a.UserID, "signInSessionsValidFromDateTime") != before {
		t.Error("sessions ended at once")
	}
	c.add(3 * time.Second)
	if got := value(t, w, Users, a.UserID, "signInSessionsValidFromDateTime"); got != "2026-08-24T09:00:02Z" {
		t.Errorf("sessions are valid from %v", got)
	}
	for age, want := range map[time.Duration]int{time.Hour: codeRevoked, 100 * time.Millisecond: 0} {
		apply(t, w, Event{Type: EventSignIn, User: a.UserID, TokenAge: Duration(age)})
		w.WalkBack(SignIns, -1, func(_ int, it Item) bool {
			v, _ := it.Value("status")
			if got := v.(Object)["errorCode"]; got != want {
				t.Errorf("a session %s old: %v", age, got)
			}
			return false
		})
	}
	was := value(t, w, Users, guest.UserID, "signInSessionsValidFromDateTime")
	if effects, err := w.RevokeSignInSessions(Actor{}, guest.UserID); err != nil || effects != nil {
		t.Errorf("a guest: %v %v", effects, err)
	}
	c.add(time.Minute)
	if value(t, w, Users, guest.UserID, "signInSessionsValidFromDateTime") != was {
		t.Error("a guest's sessions belong to the home tenant")
	}
}

func TestUpdateRefuses(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	a, synced := pick(t, w, ordinary), pick(t, w, Pick{Kind: KindMember, Synced: yes()})
	for _, tt := range []struct {
		name  string
		c     Collection
		id    string
		patch Object
		want  int
	}{
		{"nobody", Users, "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", Object{"accountEnabled": false}, 404},
		{"nothing", Users, a.UserID, Object{}, 400},
		{"wrong type", Users, a.UserID, Object{"accountEnabled": "no"}, 400},
		{"unknown property", Users, a.UserID, Object{"accountEnabled": false, "enabled": false}, 400},
		{"read-only property", Users, a.UserID, Object{"userType": "Guest"}, 400},
		{"weak password", Users, a.UserID, Object{"accountEnabled": false, "passwordProfile": Object{"password": "password"}}, 400},
		{"short password", Users, a.UserID, Object{"passwordProfile": Object{"password": "Aa1!"}}, 400},
		{"profile of another shape", Users, a.UserID, Object{"passwordProfile": "x"}, 400},
		{"force of another type", Users, a.UserID, Object{"passwordProfile": Object{"forceChangePasswordNextSignIn": 1.0}}, 400},
		{"unknown in profile", Users, a.UserID, Object{"passwordProfile": Object{"pin": "1"}}, 400},
		{"mastered in AD", Users, synced.UserID, Object{"jobTitle": "Boss"}, 400},
		{"device property", Devices, firstID(w, Devices), Object{"displayName": "x"}, 400},
		{"no such alert", Alerts, "ad1", Object{"status": "resolved"}, 404},
		{"not patchable", SignIns, firstID(w, SignIns), Object{"status": 1}, 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			audits := w.Count(DirectoryAudits)
			if _, err := w.Update(Actor{}, tt.c, tt.id, tt.patch); status(err) != tt.want {
				t.Errorf("got %v, want %d", err, tt.want)
			}
			if s, _ := w.State(a.UserID); !s.AccountEnabled || s.PasswordResets != 0 {
				t.Error("a refused request was half applied")
			}
			if w.Count(DirectoryAudits) != audits {
				t.Error("a refused request was audited")
			}
		})
	}
}

func firstID(w *World, c Collection) string {
	var id string
	w.Walk(c, 0, func(_ int, it Item) bool { id = it.ID(); return false })
	return id
}

// The matrix follows Microsoft's table of who may change whom.
func TestMayChange(t *testing.T) {
	t.Parallel()
	w, _ := small(t, func(o *Options) { o.Users = 2400 })
	targets := map[string]string{
		"nobody special": pick(t, w, ordinary).UserID,
		"group member":   w.groups.list[w.groups.assignable[0]].members[0],
		"group owner":    w.groups.list[w.groups.assignable[1]].owners[0],
		"eligible only":  pick(t, w, Pick{Kind: KindMember, Privileged: no(), Eligible: yes()}).UserID,
	}
	for _, role := range []string{"Global Administrator", "Helpdesk Administrator", "User Administrator", "Authentication Administrator",
		"Directory Readers", "Reports Reader", "Security Administrator", "Groups Administrator", "Exchange Administrator"} {
		targets[role] = pick(t, w, Pick{Kind: KindAdmin, Role: role}).UserID
	}
	free := []string{"nobody special", "eligible only"}
	for _, tt := range []struct {
		caller []string
		may    []string
	}{
		{nil, nil},
		{[]string{"Security Administrator"}, nil},
		{[]string{"Helpdesk Administrator"}, []string{"Helpdesk Administrator", "Directory Readers", "Reports Reader"}},
		{[]string{"Password Administrator"}, []string{"Directory Readers"}},
		{[]string{"Authentication Administrator"}, []string{"Authentication Administrator", "Directory Readers", "Reports Reader"}},
		{[]string{"User Administrator"}, []string{"Helpdesk Administrator", "User Administrator", "Directory Readers", "Reports Reader", "Groups Administrator"}},
		{[]string{"Privileged Authentication Administrator"}, []string{"Global Administrator", "Helpdesk Administrator", "User Administrator",
			"Authentication Administrator", "Directory Readers", "Reports Reader", "Security Administrator", "Groups Administrator",
			"Exchange Administrator", "group member", "group owner"}},
	} {
		caller := app(t, w, tt.caller...)
		for name, id := range targets {
			want := 403
			if slices.Contains(tt.may, name) || slices.Contains(free, name) {
				want = 0
			}
			for _, s := range []Sensitive{SetAccountEnabled, SetPassword, RevokeSessions, SetMethods} {
				if got := status(w.MayChange(caller, id, s)); got != want {
					t.Errorf("%v on %s (%s): %d, want %d", tt.caller, name, s, got, want)
				}
			}
		}
	}
	if err := w.MayChange(Actor{}, "x", SetPassword); status(err) != 404 {
		t.Errorf("nobody: %v", err)
	}
	helpdesk := pick(t, w, Pick{Kind: KindAdmin, Role: "Helpdesk Administrator"})
	person := Actor{UserID: helpdesk.UserID}
	if err := w.MayChange(person, targets["nobody special"], SetPassword); err != nil {
		t.Errorf("a helpdesk administrator: %v", err)
	}
	if err := w.MayChange(Actor{UserID: targets["eligible only"]}, targets["nobody special"], SetPassword); status(err) != 403 {
		t.Errorf("a person without an active role: %v", err)
	}
	caller := app(t, w)
	if _, err := w.Update(caller, Users, targets["Global Administrator"], Object{"accountEnabled": false}); status(err) != 403 {
		t.Errorf("PATCH of a Global Administrator: %v", err)
	}
	if _, err := w.RevokeSignInSessions(caller, targets["group member"]); status(err) != 403 {
		t.Errorf("revoking a member of a role-assignable group: %v", err)
	}
}

func TestAddAppReplacesRoles(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	first := app(t, w, "User Administrator", "7be44c8a-adaf-4e2a-84d6-ab2649e08a13")
	n := w.Count(ServicePrincipals)
	second := app(t, w, "Security Reader")
	if first != second || w.Count(ServicePrincipals) != n {
		t.Errorf("registered twice: %+v %+v", first, second)
	}
	if got := w.activeRoles(second.ServicePrincipalID); !slices.Equal(got, []string{"Security Reader"}) {
		t.Errorf("roles are %v", got)
	}
	granted, err := w.Related(ServicePrincipals, second.ServicePrincipalID, AppRoleAssignments)
	if err != nil || len(granted) != 1 {
		t.Errorf("permissions %v %v", granted, err)
	}
	for _, bad := range []App{{AppID: "x"}, {AppID: first.AppID, DirectoryRoles: []string{"Tsar"}}} {
		if _, err := w.AddApp(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestDeletedPerson(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	a, b := pick(t, w, ordinary), pick(t, w, Pick{Kind: KindMember, Synced: no(), Privileged: no(), Index: 9})
	apply(t, w, Event{Type: EventDetection, Users: []string{a.UserID, b.UserID}, RiskEventType: "leakedCredentials"})
	apply(t, w, Event{Type: EventDeleteUser, User: a.UserID})
	if _, ok := w.Get(Users, a.UserID); ok {
		t.Error("a deleted person is listed")
	}
	if value(t, w, RiskyUsers, a.UserID, "isDeleted") != true {
		t.Error("the risk report does not say isDeleted")
	}
	for _, v := range []Verdict{Dismiss, ConfirmCompromised, ConfirmSafe} {
		if _, err := w.UserFeedback(Actor{}, v, []string{b.UserID, a.UserID}); status(err) != 404 {
			t.Errorf("%s: %v", v, err)
		}
	}
	c.add(time.Minute)
	if s, _ := w.State(b.UserID); s.RiskState != "atRisk" {
		t.Errorf("a call that failed changed %s", s.RiskState)
	}
	if err := w.Apply(Event{Type: EventDetection, User: a.UserID, RiskEventType: "leakedCredentials"}); err == nil {
		t.Error("a deleted person got a detection")
	}
	if _, err := w.Update(Actor{}, Users, a.UserID, Object{"accountEnabled": false}); status(err) != 404 {
		t.Errorf("PATCH: %v", err)
	}
	if _, err := w.RevokeSignInSessions(Actor{}, a.UserID); status(err) != 404 {
		t.Errorf("revoke: %v", err)
	}
}

// Feedback that is on its way when the person is deleted does nothing.
func TestDeletedWhileProcessing(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	a := pick(t, w, ordinary)
	apply(t, w, Event{Type: EventDetection, User: a.UserID, RiskEventType: "leakedCredentials"})
	if _, err := w.UserFeedback(Actor{}, Dismiss, []string{a.UserID}); err != nil {
		t.Fatal(err)
	}
	apply(t, w, Event{Type: EventDeleteUser, User: a.UserID})
	c.add(time.Minute)
	o, _ := w.Get(RiskyUsers, a.UserID)
	if s, _ := o.Value("riskState"); s != "atRisk" {
		t.Errorf("state is %v", s)
	}
	if p, _ := o.Value("isProcessing"); p != false {
		t.Error("it is processed for ever")
	}
}

func TestFeedbackIsAsynchronous(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	caller := app(t, w)
	a := pick(t, w, ordinary)
	effects, err := w.UserFeedback(caller, ConfirmCompromised, []string{strings.ToUpper(a.UserID), a.UserID})
	if err != nil {
		t.Fatal(err)
	}
	want := []Effect{
		{Object: "riskyUsers/" + a.UserID, Field: "isProcessing", Before: false, After: true},
		{Object: "riskyUsers/" + a.UserID, Field: "riskState", Before: "none", After: "confirmedCompromised", Due: epoch.Add(2 * time.Second)},
	}
	if diff := cmp.Diff(want, effects); diff != "" {
		t.Error(diff)
	}
	if value(t, w, RiskyUsers, a.UserID, "isProcessing") != true || value(t, w, RiskyUsers, a.UserID, "riskState") != "none" {
		t.Error("the row is not being processed")
	}
	if at, ok := w.NextDue(); !ok || !at.Equal(epoch.Add(2*time.Second)) {
		t.Errorf("next due %v %v", at, ok)
	}
	c.add(10 * time.Second)
	if value(t, w, RiskyUsers, a.UserID, "riskLastUpdatedDateTime") != stamp(epoch.Add(2*time.Second)) {
		t.Error("the effect did not take the instant it was due")
	}
	history, err := w.Related(RiskyUsers, a.UserID, History)
	if err != nil || len(history) != 1 {
		t.Fatalf("history %v %v", history, err)
	}
	if by, _ := history[0].Value("initiatedBy"); by != caller.ServicePrincipalID {
		t.Errorf("initiated by %v", by)
	}
	if _, err := w.Related(RiskyUsers, pick(t, w, Pick{Kind: KindGuest}).UserID, History); status(err) != 404 {
		t.Errorf("history of somebody never at risk: %v", err)
	}
}

func TestFeedbackRefuses(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	a := pick(t, w, ordinary)
	var many []string
	w.Walk(Users, 3, func(_ int, it Item) bool { many = append(many, it.ID()); return len(many) < 61 })
	for _, tt := range []struct {
		name string
		ids  []string
		want int
	}{
		{"none", nil, 400}, {"61", many, 400}, {"no GUID", []string{"me"}, 400},
		{"unknown", []string{a.UserID, "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"}, 404},
	} {
		if _, err := w.UserFeedback(Actor{}, ConfirmCompromised, tt.ids); status(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
		if _, err := w.ServicePrincipalFeedback(Actor{}, Dismiss, tt.ids); status(err) != tt.want {
			t.Errorf("service principals, %s: %v", tt.name, err)
		}
	}
	if _, err := w.UserFeedback(Actor{}, ConfirmCompromised, many[:60]); err != nil {
		t.Errorf("60: %v", err)
	}
	if _, err := w.SignInFeedback(Actor{}, Dismiss, []string{firstID(w, SignIns)}); status(err) != 400 || !strings.Contains(err.Error(), "not risky") {
		t.Errorf("a sign-in without risk: %v", err)
	}
	b := pick(t, w, Pick{Kind: KindMember, Synced: no(), Privileged: no(), Index: 25})
	apply(t, w, Event{Type: EventDetection, User: b.UserID, RiskEventType: "unfamiliarFeatures", Name: "d"})
	if _, err := w.UserFeedback(Actor{}, Dismiss, []string{b.UserID}); err != nil {
		t.Fatal(err)
	}
	c.add(time.Minute)
	if _, err := w.SignInFeedback(Actor{}, ConfirmSafe, []string{w.risk.users[b.UserID].signIns[0].id}); status(err) != 400 {
		t.Errorf("confirmSafe after a dismissal: %v", err)
	}
	if effects, err := w.UserFeedback(Actor{}, Dismiss, []string{a.UserID}); err != nil || effects != nil && w.risk.users[a.UserID] == nil {
		t.Errorf("dismissing nothing: %v %v", effects, err)
	}
}

func TestLearningMode(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	a := pick(t, w, ordinary)
	e := Event{Type: EventDetection, User: a.UserID, RiskEventType: "unfamiliarFeatures"}
	apply(t, w, e)
	apply(t, w, Event{Type: EventFeedback, Transition: "T16", User: a.UserID})
	c.add(time.Minute)
	if err := w.Apply(e); err == nil || !strings.Contains(err.Error(), "learning mode") {
		t.Errorf("in learning mode: %v", err)
	}
	apply(t, w, Event{Type: EventDetection, User: a.UserID, RiskEventType: "leakedCredentials"})
	c.add(6 * 24 * time.Hour)
	apply(t, w, e)
}

func TestRecalculate(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	a := pick(t, w, ordinary)
	apply(t, w, Event{Type: EventDetection, User: a.UserID, RiskEventType: "unlikelyTravel", RiskLevel: "low", Name: "d"})
	for _, level := range []string{"high", "medium"} {
		apply(t, w, Event{Type: EventRecalculate, Of: "d", RiskLevel: level})
		if s, _ := w.State(a.UserID); s.RiskLevel != level {
			t.Errorf("the person is at %s, not %s", s.RiskLevel, level)
		}
	}
}
