package world

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// schemas names the schema of each collection's members in the published
// metadata.
var schemas = map[Collection]string{
	Users: "user", Groups: "group", Devices: "device", ServicePrincipals: "servicePrincipal", Applications: "application",
	OAuth2PermissionGrants: "oAuth2PermissionGrant", Organization: "organization", DirectoryRoles: "directoryRole",
	RoleDefinitions: "unifiedRoleDefinition", RoleAssignments: "unifiedRoleAssignment",
	RoleAssignmentInstances: "unifiedRoleAssignmentScheduleInstance", RoleEligibilityInstances: "unifiedRoleEligibilityScheduleInstance",
	RiskDetections: "riskDetection", RiskyUsers: "riskyUser", RiskyServicePrincipals: "riskyServicePrincipal",
	ServicePrincipalRiskDetections: "servicePrincipalRiskDetection", SignIns: "signIn", DirectoryAudits: "directoryAudit",
	Alerts: "security.alert", Incidents: "security.incident", IdentityAccounts: "security.user", HealthIssues: "security.healthIssue",
	Sensors: "security.sensor", RegistrationDetails: "userRegistrationDetails", ConditionalAccessPolicies: "conditionalAccessPolicy",
	NamedLocations: "namedLocation",
}

// Everything the world shows must validate against Microsoft's metadata, in a
// tenant where all kinds of things have happened, and name no property that
// the metadata does not know.
func TestContract(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(shared, "contract", "graph-v1.0-subset.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w, c := small(t)
	live(t, w, c)
	check := func(name string, it Item) {
		t.Helper()
		b, err := json.Marshal(it.Object())
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if kind, ok := v["@odata.type"].(string); ok {
			name = strings.TrimPrefix(kind, "#microsoft.graph.")
		}
		ref := doc.Components.Schemas["microsoft.graph."+name]
		if ref == nil {
			t.Fatalf("no schema of %s", name)
		}
		// A value that Microsoft's pages have and this version of its metadata has not.
		if v["riskDetail"] == "aiElevatedAccountRisk" {
			v["riskDetail"] = "unknownFutureValue"
			if a, ok := v["activity"].(map[string]any); ok {
				a["detail"] = "unknownFutureValue"
			}
		}
		if err := ref.Value.VisitJSON(v, openapi3.MultiErrors()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		known := map[string]bool{"@odata.type": true, "signInEventTypes": name == "signIn"} // beta has it
		properties(ref.Value, known)
		for p := range v {
			if !known[p] {
				t.Errorf("%s has no property %s", name, p)
			}
		}
	}
	w.Walk(Alerts, 0, func(_ int, it Item) bool {
		list, _ := it.Value("evidence")
		for _, e := range list.([]any) { // the schema of an alert knows only their base type
			check("security.alertEvidence", &record{it.ID(), e.(Object)})
		}
		return true
	})
	for col, name := range schemas {
		n := 0
		w.Walk(col, 0, func(_ int, it Item) bool { check(name, it); n++; return !t.Failed() })
		if n == 0 {
			t.Errorf("nothing of %s was checked", col)
		}
	}
	for _, x := range []struct {
		c              Collection
		relation, name string
	}{
		{Users, AuthenticationMethods, "authenticationMethod"}, {RiskyUsers, History, "riskyUserHistoryItem"},
		{RiskyServicePrincipals, History, "riskyServicePrincipalHistoryItem"}, {ServicePrincipals, AppRoleAssignments, "appRoleAssignment"},
	} {
		var ids []string
		w.Walk(x.c, 0, func(_ int, it Item) bool { ids = append(ids, it.ID()); return true })
		n := 0
		for _, id := range ids {
			list, err := w.Related(x.c, id, x.relation)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range list {
				check(x.name, it)
				n++
			}
		}
		if n == 0 {
			t.Errorf("nothing of %s/%s was checked", x.c, x.relation)
		}
	}
}

func properties(s *openapi3.Schema, into map[string]bool) {
	for p := range s.Properties {
		into[p] = true
	}
	for _, part := range s.AllOf {
		properties(part.Value, into)
	}
}

// live makes something of every kind happen.
func live(t *testing.T, w *World, c *clock) {
	t.Helper()
	lat, lon := 64.15, -21.94
	var ids []string
	for i := range 12 {
		ids = append(ids, pick(t, w, Pick{Kind: KindMember, Synced: no(), Privileged: no(), MFA: yes(), Passwordless: no(), Index: i}).UserID)
	}
	synced := pick(t, w, Pick{Kind: KindMember, Synced: yes()})
	sp := pick(t, w, Pick{Kind: KindServicePrincipal})
	types := []string{"unfamiliarFeatures", "leakedCredentials", "anomalousToken", "unlikelyTravel", "generic", "nationStateIP", "suspiciousAPITraffic",
		"attackerinTheMiddle", "somethingNew", "passwordSpray", "newCountry", "mcasImpossibleTravel"}
	for i, id := range ids {
		apply(t, w, Event{Type: EventDetection, User: id, RiskEventType: types[i], RaiseAlert: i%2 == 0, IPAddress: "198.51.100.7", UserAgent: "x",
			Location: &Location{City: "Reykjavik", CountryOrRegion: "IS", Latitude: &lat, Longitude: &lon}, AdditionalInfo: map[string]string{"riskReasons": "a,b", "alertUrl": ""}})
	}
	for i, tr := range []string{"T1", "T2"} {
		apply(t, w, Event{Type: EventRemediation, User: ids[i], Transition: tr})
	}
	for i, tr := range []string{"T11", "T15", "T16"} {
		apply(t, w, Event{Type: EventFeedback, User: ids[2+i], Transition: tr, By: ids[11]})
	}
	apply(t, w, Event{Type: EventSystem, User: ids[5], Transition: "T20"})
	apply(t, w, Event{Type: EventSystem, User: ids[6], Transition: "T21", Control: "disableUser"})
	apply(t, w, Event{Type: EventAlert, Title: "Honeytoken Activity", User: synced.SID, Device: "PC1", Destination: "DC01", IPAddress: "10.0.0.1", Name: "al"})
	apply(t, w, Event{Type: EventSensor, Sensor: "DC02", Status: "down"})
	apply(t, w, Event{Type: EventSignIn, User: ids[6]})
	for _, kind := range []string{"leakedCredentials", "maliciousApplication"} {
		apply(t, w, Event{Type: EventServicePrincipalDetection, ServicePrincipal: sp.ServicePrincipalID, RiskEventType: kind, KeyIDs: []string{"any"}, IPAddress: "198.51.100.9"})
	}
	apply(t, w, Event{Type: EventAudit, ActivityDisplayName: "Consent to application", ServicePrincipal: sp.AppID, By: ids[0], Permission: "Mail.ReadWrite"})
	caller := app(t, w, "Privileged Authentication Administrator")
	if _, err := w.Update(caller, Users, synced.UserID, Object{"accountEnabled": false, "passwordProfile": Object{"password": "Correct-Horse-7"}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.AddTemporaryAccessPass(caller, ids[0], time.Hour, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Comment(caller, Alerts, w.names["al"], "seen"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Update(caller, Alerts, w.names["al"], Object{"status": "resolved", "classification": "truePositive", "determination": "compromisedAccount", "assignedTo": nil}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ServicePrincipalFeedback(caller, ConfirmCompromised, []string{sp.ServicePrincipalID}); err != nil {
		t.Fatal(err)
	}
	c.add(time.Hour)
}
