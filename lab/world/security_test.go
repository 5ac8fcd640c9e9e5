package world

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAlertEvidence(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	server := pick(t, w, Pick{Kind: KindOnPremisesOnly})
	hybrid := pick(t, w, Pick{Kind: KindMember, Synced: yes()})
	cloud := pick(t, w, ordinary)
	apply(t, w, Event{Type: EventAlert, Title: "Suspected DCSync attack (replication of directory services)", User: server.SID,
		Users: []string{hybrid.UserID, cloud.UserID}, Device: "SRV01", Destination: "DC01", IPAddress: "10.0.0.7", Name: "x"})
	it, ok := w.Get(Alerts, w.names["x"])
	if !ok {
		t.Fatal("no alert")
	}
	o := it.Object()
	for property, want := range map[string]any{"severity": "high", "detectorId": "2006", "category": "CredentialAccess", "status": "new",
		"serviceSource": "microsoftDefenderForIdentity", "createdDateTime": stamp(epoch)} {
		if o[property] != want {
			t.Errorf("%s is %v, not %v", property, o[property], want)
		}
	}
	type account struct{ SID, UserID, GUID, UPN any }
	var got []account
	var kinds []string
	for _, e := range o["evidence"].([]any) {
		e := e.(Object)
		kinds = append(kinds, e["@odata.type"].(string)[len("#microsoft.graph.security."):])
		if a, ok := e["userAccount"].(Object); ok {
			got = append(got, account{a["userSid"], a["azureAdUserId"], a["activeDirectoryObjectGuid"], a["userPrincipalName"]})
		}
	}
	want := []account{
		{server.SID, nil, server.ObjectGUID, nil},
		{hybrid.SID, hybrid.UserID, hybrid.ObjectGUID, hybrid.UserPrincipalName},
		{nil, cloud.UserID, nil, cloud.UserPrincipalName},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"userEvidence", "userEvidence", "userEvidence", "deviceEvidence", "deviceEvidence", "ipEvidence", "activeDirectoryDomainEvidence"}, kinds); diff != "" {
		t.Error(diff)
	}
}

func TestIncidents(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	u := pick(t, w, ordinary)
	e := Event{Type: EventAlert, Title: "Honeytoken Activity", User: u.UserID, Incident: "k"}
	apply(t, w, e)
	apply(t, w, e)
	apply(t, w, Event{Type: EventAlert, Title: "Honeytoken Activity", User: u.UserID})
	if n := w.Count(Incidents); n != 2 {
		t.Fatalf("%d incidents", n)
	}
	id := firstID(w, Incidents)
	alerts, err := w.Related(Incidents, id, IncidentAlerts)
	if err != nil || len(alerts) != 2 {
		t.Fatalf("alerts %v %v", alerts, err)
	}
	c.add(time.Minute)
	if _, err := w.Update(Actor{DisplayName: "Desk"}, Incidents, id, Object{"status": "resolved", "classification": "truePositive", "determination": "compromisedAccount"}); err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts {
		if got := value(t, w, Alerts, a.ID(), "status"); got != "resolved" {
			t.Errorf("an alert of a resolved incident is %v", got)
		}
		if got := value(t, w, Alerts, a.ID(), "lastUpdateDateTime"); got != stamp(epoch.Add(time.Minute)) {
			t.Errorf("it was last updated at %v", got)
		}
	}
	comments, _, err := w.Comment(Actor{DisplayName: "Desk"}, Alerts, alerts[0].ID(), "done")
	if err != nil || len(comments) != 1 {
		t.Errorf("comments %v %v", comments, err)
	}
	for _, bad := range []Object{{"status": "closed"}, {"determination": "clean"}, {"severity": "low"}, {"assignedTo": 1}} {
		if _, err := w.Update(Actor{}, Alerts, alerts[0].ID(), bad); status(err) != 400 {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestInvokeAction(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	server := pick(t, w, Pick{Kind: KindOnPremisesOnly})
	hybrid := pick(t, w, Pick{Kind: KindMember, Synced: yes(), Privileged: no()})
	onPremises := func(sid string) (s OnPremisesState) {
		w.WalkOnPremises(func(x OnPremisesState) bool {
			if x.SID == sid {
				s = x
			}
			return true
		})
		return s
	}
	identity := func(sid string) string {
		it, ok := w.GetBy(IdentityAccounts, "onPremisesSecurityIdentifier", sid)
		if !ok {
			t.Fatalf("no identity of %s", sid)
		}
		return it.ID()
	}
	do := func(sid, account, action, provider string) error {
		t.Helper()
		id, _, err := w.InvokeAction(Actor{}, identity(sid), Invocation{account, action, provider})
		if err == nil && id == "" {
			t.Error("no correlation id")
		}
		return err
	}
	if err := do(server.SID, server.ObjectGUID, "disable", "activeDirectory"); err != nil {
		t.Fatal(err)
	}
	if !onPremises(server.SID).Enabled {
		t.Error("accepted is not done")
	}
	c.add(5 * time.Second)
	if onPremises(server.SID).Enabled {
		t.Error("the account is still enabled")
	}
	if err := do(hybrid.SID, hybrid.ObjectGUID, "forcePasswordReset", "activeDirectory"); err != nil {
		t.Fatal(err)
	}
	if err := do(hybrid.SID, hybrid.ObjectGUID, "disable", "ActiveDirectory"); err != nil {
		t.Fatal(err)
	}
	c.add(5 * time.Second)
	if s := onPremises(hybrid.SID); s.Enabled || !s.PasswordLastSet.IsZero() {
		t.Errorf("state %+v", s)
	}
	if value(t, w, Users, hybrid.UserID, "accountEnabled") != true {
		t.Error("the cloud knows before a synchronisation")
	}
	c.add(30 * time.Minute)
	if value(t, w, Users, hybrid.UserID, "accountEnabled") != false {
		t.Error("the synchronisation did not tell the cloud")
	}
	for _, x := range []struct{ account, action, provider string }{
		{hybrid.ObjectGUID, "disable", "okta"}, {server.ObjectGUID, "disable", "activeDirectory"},
		{hybrid.ObjectGUID, "revokeAllSessions", "activeDirectory"}, {hybrid.UserID, "forcePasswordReset", "entraID"}, {"", "disable", "entraID"},
	} {
		if err := do(hybrid.SID, x.account, x.action, x.provider); status(err) != 400 {
			t.Errorf("%+v: %v", x, err)
		}
	}
	if err := do(hybrid.SID, hybrid.UserID, "markUserAsCompromised", "entraID"); err != nil {
		t.Fatal(err)
	}
	if err := do(hybrid.SID, hybrid.UserID, "revokeAllSessions", "entraID"); err != nil {
		t.Fatal(err)
	}
	c.add(5 * time.Second)
	if s, _ := w.State(hybrid.UserID); s.RiskState != "confirmedCompromised" || s.SessionRevocations != 1 {
		t.Errorf("state %+v", s)
	}
	if _, _, err := w.InvokeAction(Actor{}, "x", Invocation{}); status(err) != 404 {
		t.Errorf("no identity: %v", err)
	}
}

// Without a domain controller's sensor an action is accepted and never happens.
func TestInvokeActionWithoutSensor(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	server := pick(t, w, Pick{Kind: KindOnPremisesOnly})
	for _, dc := range []string{"DC01", "DC02"} {
		apply(t, w, Event{Type: EventSensor, Sensor: dc, Status: "down"})
	}
	it, _ := w.GetBy(IdentityAccounts, "onPremisesSecurityIdentifier", server.SID)
	if _, _, err := w.InvokeAction(Actor{}, it.ID(), Invocation{server.ObjectGUID, "disable", "activeDirectory"}); err != nil {
		t.Fatal(err)
	}
	c.add(time.Hour)
	w.WalkOnPremises(func(s OnPremisesState) bool {
		if s.SID == server.SID && !s.Enabled {
			t.Error("it was disabled by nobody")
		}
		return true
	})
	issues, err := w.Related(Sensors, firstID(w, Sensors), SensorHealthIssues)
	if err != nil || len(issues) != 1 {
		t.Fatalf("health issues %v %v", issues, err)
	}
	apply(t, w, Event{Type: EventSensor, Sensor: "DC01", Status: "up"})
	if got := value(t, w, HealthIssues, issues[0].ID(), "status"); got != "closed" {
		t.Errorf("the issue of a sensor that is back is %v", got)
	}
	if got := value(t, w, Sensors, firstID(w, Sensors), "healthStatus"); got != "healthy" {
		t.Errorf("the sensor is %v", got)
	}
}

func TestWorkloadRisk(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	sp := pick(t, w, Pick{Kind: KindServicePrincipal, Index: 2})
	app := app(t, w)
	apply(t, w, Event{Type: EventServicePrincipalDetection, ServicePrincipal: sp.AppID, RiskEventType: "leakedCredentials", KeyIDs: []string{"any"}, Name: "d"})
	row := func() Object {
		it, ok := w.Get(RiskyServicePrincipals, sp.ServicePrincipalID)
		if !ok {
			t.Fatal("not listed")
		}
		return it.Object()
	}
	keys := value(t, w, ServicePrincipalRiskDetections, w.names["d"], "keyIds").([]any)
	if len(keys) != 1 || !isGUID(keys[0].(string)) {
		t.Errorf("key ids %v", keys)
	}
	it, _ := w.GetBy(Applications, "appId", sp.AppID)
	if _, err := w.RemovePassword(app, Applications, it.ID(), keys[0].(string)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.RemovePassword(app, Applications, it.ID(), keys[0].(string)); status(err) != 400 {
		t.Errorf("removing a secret twice: %v", err)
	}
	if _, err := w.ServicePrincipalFeedback(app, ConfirmCompromised, []string{sp.ServicePrincipalID}); err != nil {
		t.Fatal(err)
	}
	if o := row(); o["isProcessing"] != true || o["riskState"] != "atRisk" || o["isEnabled"] != true {
		t.Errorf("while processing: %v", o)
	}
	c.add(5 * time.Second)
	if o := row(); o["riskState"] != "confirmedCompromised" || o["riskLevel"] != "high" || o["riskDetail"] != "adminConfirmedServicePrincipalCompromised" {
		t.Errorf("confirmed: %v", o)
	}
	if _, err := w.Update(app, ServicePrincipals, sp.ServicePrincipalID, Object{"accountEnabled": false}); err != nil {
		t.Fatal(err)
	}
	if o := row(); o["isEnabled"] != false {
		t.Error("the report does not see that it was disabled")
	}
	if _, err := w.ServicePrincipalFeedback(app, Dismiss, []string{sp.ServicePrincipalID}); err != nil {
		t.Fatal(err)
	}
	c.add(5 * time.Second)
	if o := row(); o["riskState"] != "dismissed" || o["riskLevel"] != "none" {
		t.Errorf("dismissed: %v", o)
	}
	if got := value(t, w, ServicePrincipalRiskDetections, w.names["d"], "riskState"); got != "dismissed" {
		t.Errorf("its detection is %v", got)
	}
	if _, err := w.ServicePrincipalFeedback(app, ConfirmSafe, []string{sp.ServicePrincipalID}); status(err) != 400 {
		t.Errorf("confirmSafe does not exist for workloads: %v", err)
	}
	history, err := w.Related(RiskyServicePrincipals, sp.ServicePrincipalID, History)
	if err != nil || len(history) != 3 {
		t.Errorf("%d history items %v", len(history), err)
	}
}

func TestMembership(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	u := pick(t, w, ordinary)
	vpn := w.groups.list[len(w.groups.list)-1]
	for _, g := range w.groups.list {
		if g.name == "VPN users" {
			vpn = g
		}
	}
	if _, err := w.RemoveMember(Actor{}, Groups, vpn.id, u.UserID); err != nil && status(err) != 404 {
		t.Fatal(err)
	}
	in := func() bool {
		members, err := w.Related(Groups, vpn.id, Members)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			if m.ID() == u.UserID {
				return true
			}
		}
		return false
	}
	if _, err := w.AddMember(Actor{}, Groups, vpn.id, u.UserID); err != nil || !in() {
		t.Errorf("adding: %v", err)
	}
	if _, err := w.AddMember(Actor{}, Groups, vpn.id, u.UserID); status(err) != 400 {
		t.Errorf("adding twice: %v", err)
	}
	if _, err := w.RemoveMember(Actor{}, Groups, vpn.id, u.UserID); err != nil || in() {
		t.Errorf("removing: %v", err)
	}
	if _, err := w.RemoveMember(Actor{}, Groups, vpn.id, u.UserID); status(err) != 404 {
		t.Errorf("removing twice: %v", err)
	}
	if _, err := w.AddMember(Actor{}, Groups, w.groups.list[1].id, u.UserID); status(err) != 400 {
		t.Errorf("a dynamic group: %v", err)
	}
	admin := pick(t, w, Pick{Kind: KindAdmin, Role: "Security Administrator"})
	role, ok := w.GetBy(DirectoryRoles, "roleTemplateId", "194ae4cb-b126-40b2-bd5b-6091b380977d")
	if !ok {
		t.Fatal("the role is not activated")
	}
	if _, err := w.RemoveMember(Actor{}, DirectoryRoles, role.ID(), admin.UserID); err != nil {
		t.Fatal(err)
	}
	if s, _ := w.State(admin.UserID); s.Privileged {
		t.Error("still privileged")
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	u := pick(t, w, ordinary)
	list, err := w.Related(Users, u.UserID, AuthenticationMethods)
	if err != nil || len(list) < 2 || list[0].ID() != passwordMethodID {
		t.Fatalf("methods %v %v", list, err)
	}
	if _, err := w.DeleteMethod(Actor{}, u.UserID, passwordMethodID); status(err) != 400 {
		t.Errorf("the password was deleted: %v", err)
	}
	for _, m := range list[1:] {
		if _, err := w.DeleteMethod(Actor{}, u.UserID, m.ID()); err != nil {
			t.Error(err)
		}
	}
	if value(t, w, RegistrationDetails, u.UserID, "isMfaRegistered") != false {
		t.Error("registered without a factor")
	}
	pass, _, err := w.AddTemporaryAccessPass(Actor{}, u.UserID, time.Hour, true)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := pass.Value("temporaryAccessPass"); v == nil {
		t.Error("no pass")
	}
	if _, _, err := w.AddTemporaryAccessPass(Actor{}, u.UserID, time.Hour, true); status(err) != 400 {
		t.Errorf("two passes: %v", err)
	}
	list, _ = w.Related(Users, u.UserID, AuthenticationMethods)
	if v, _ := list[len(list)-1].Value("temporaryAccessPass"); v != nil || len(list) != 2 {
		t.Errorf("the list shows the pass: %v", list)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	it, _, err := w.Create(Actor{}, ConditionalAccessPolicies, Object{"displayName": "P", "state": "disabled", "conditions": Object{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Update(Actor{}, ConditionalAccessPolicies, it.ID(), Object{"state": "enabled"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Update(Actor{}, ConditionalAccessPolicies, it.ID(), Object{"state": "on"}); status(err) != 400 {
		t.Errorf("a wrong state: %v", err)
	}
	if _, err := w.Delete(Actor{}, ConditionalAccessPolicies, it.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Delete(Actor{}, ConditionalAccessPolicies, it.ID()); status(err) != 404 {
		t.Errorf("deleted twice: %v", err)
	}
	if _, _, err := w.Create(Actor{}, NamedLocations, Object{"displayName": "L"}); status(err) != 400 {
		t.Errorf("a location without a type: %v", err)
	}
	if _, _, err := w.Create(Actor{}, Users, Object{"displayName": "L"}); status(err) != 405 {
		t.Errorf("creating a user: %v", err)
	}
}
