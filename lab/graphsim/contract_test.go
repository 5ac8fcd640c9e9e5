package graphsim_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// contract loads Microsoft's description of Graph v1.0.
func contract(t *testing.T) routers.Router {
	t.Helper()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(shared, "contract", "graph-v1.0-subset.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = openapi3.Servers{{URL: host + "/v1.0"}}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return router
}

// checked sends a request that must succeed and, given a router, validates
// both directions against the contract.
func (d *desk) checked(router routers.Router, method, path string, body any) map[string]any {
	d.t.Helper()
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			d.t.Fatal(err)
		}
	}
	res, err := d.send(method, path, body, "Prefer", "include-unknown-enum-members", "ConsistencyLevel", "eventual")
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	if res.StatusCode >= 400 {
		d.t.Errorf("%s %s: %d %.300s", method, path, res.StatusCode, out)
	}
	if router != nil {
		d.validate(router, res, raw, out)
	}
	var m map[string]any
	if len(out) > 0 && json.Unmarshal(out, &m) != nil {
		return nil
	}
	return m
}

func (d *desk) validate(router routers.Router, res *http.Response, raw, out []byte) {
	d.t.Helper()
	method, path := res.Request.Method, res.Request.URL.RequestURI()
	req := res.Request.Clone(d.t.Context())
	req.Body = io.NopCloser(bytes.NewReader(raw))
	route, params, err := router.FindRoute(req)
	if err != nil {
		d.t.Errorf("%s %s is not in the contract: %v", method, path, err)
		return
	}
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if err := openapi3filter.ValidateRequest(d.t.Context(), in); err != nil {
		d.t.Errorf("%s %s: request: %v", method, path, err)
	}
	if res.StatusCode == http.StatusOK && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		// The contract names the media type without parameters.
		res.Header.Set("Content-Type", "application/json")
	}
	err = openapi3filter.ValidateResponse(d.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Body: io.NopCloser(bytes.NewReader(out)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		d.t.Errorf("%s %s: %d does not fit the contract: %.1500s", method, path, res.StatusCode, err)
	}
}

// Every collection, a member of it, every relation and every action answers.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	tour(t, nil)
}

// Everything that the tenant sends on that tour fits Microsoft's contract.
func TestContract(t *testing.T) {
	t.Parallel()
	tour(t, contract(t))
}

func tour(t *testing.T, router routers.Router) {
	synctest.Test(t, func(t *testing.T) {
		o := unlimited()
		app := responder()
		app.Roles = append(app.Roles, "Directory.Read.All", "Application.ReadWrite.All", "Device.ReadWrite.All", "Policy.ReadWrite.ConditionalAccess",
			"UserAuthenticationMethod.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "Application.Read.All", "MailboxSettings.ReadWrite", "RoleManagement.ReadWrite.Directory", "RoleAssignmentSchedule.Read.Directory", "RoleEligibilitySchedule.Read.Directory")
		o.Apps = append(o.Apps, app)
		d := newDesk(t, o)
		who := d.member(0)
		story(d, who)
		d.checked(router, "PATCH", "/users/"+d.member(7).UserID, map[string]any{"accountEnabled": false})
		time.Sleep(time.Minute)

		first := func(path string) string {
			t.Helper()
			body := d.checked(router, "GET", path, nil)
			list := values(body)
			if len(list) == 0 {
				t.Errorf("GET %s: nothing to check", path)
				return ""
			}
			id, _ := list[0]["id"].(string)
			return id
		}
		for _, path := range []string{
			"/identityProtection/riskDetections", "/identityProtection/riskyUsers", "/identityProtection/riskyServicePrincipals",
			"/identityProtection/servicePrincipalRiskDetections", "/auditLogs/signIns", "/auditLogs/directoryAudits",
			"/reports/authenticationMethods/userRegistrationDetails", "/security/alerts_v2", "/security/incidents",
			"/security/identities/sensors", "/security/identities/identityAccounts", "/users", "/groups", "/devices",
			"/servicePrincipals", "/applications", "/identity/conditionalAccess/policies", "/identity/conditionalAccess/namedLocations",
			"/roleManagement/directory/roleAssignments", "/oauth2PermissionGrants",
		} {
			if id := first(path); id != "" {
				d.checked(router, "GET", path+"/"+id, nil)
			}
		}
		role := first("/directoryRoles")
		for _, path := range []string{
			"/organization", "/roleManagement/directory/roleDefinitions", "/roleManagement/directory/roleAssignmentScheduleInstances?$expand=principal,roleDefinition",
			"/roleManagement/directory/roleEligibilityScheduleInstances", "/security/identities/healthIssues", "/directoryRoles/" + role + "/members",
			"/users/delta", "/groups/delta", "/security/incidents?$expand=alerts",
			"/users?$select=id,accountEnabled,userType,onPremisesSyncEnabled,signInActivity,lastPasswordChangeDateTime,signInSessionsValidFromDateTime,securityIdentifier&$top=999",
			"/identityProtection/riskyUsers/" + who.UserID + "/history",
		} {
			first(path)
		}
		for _, rel := range []string{"memberOf", "transitiveMemberOf", "registeredDevices", "ownedDevices", "appRoleAssignments", "oauth2PermissionGrants", "authentication/methods", "authentication/passwordMethods", "authentication/phoneMethods"} {
			d.checked(router, "GET", "/users/"+who.UserID+"/"+rel, nil)
		}
		sp := first("/servicePrincipals?$filter=appId eq '" + clientID + "'")
		first("/servicePrincipals/" + sp + "/appRoleAssignments")
		group := first("/groups")
		d.checked(router, "GET", "/groups/"+group+"/members", nil)
		d.checked(router, "GET", "/groups/"+group+"/transitiveMembers", nil)

		h := first("/identityProtection/riskyUsers/" + who.UserID + "/history")
		d.checked(router, "GET", "/identityProtection/riskyUsers/"+who.UserID+"/history/"+h, nil)
		risky := first("/identityProtection/riskyServicePrincipals?$filter=riskState eq 'atRisk'")
		first("/identityProtection/riskyServicePrincipals/" + risky + "/history")
		d.checked(router, "GET", "/identityProtection/riskyUsers?$expand=history", nil)
		d.checked(router, "GET", "/security/identities/sensors/"+first("/security/identities/sensors")+"/healthIssues", nil)

		actions(d, router, who, group)
		workloads(d, router, risky)
		people(d, router, who)
		grants(d, router)
		schedules(d, router, d.member(9))
		rules(d, d.member(8))
	})
}

// story makes something of everything happen.
func story(d *desk, who world.Account) {
	onPrem := d.pick(world.Pick{Kind: world.KindOnPremisesOnly})
	sp := d.pick(world.Pick{Kind: world.KindServicePrincipal})
	for _, e := range []world.Event{
		{Type: world.EventDetection, User: who.UserID, RiskEventType: "leakedCredentials"},
		{Type: world.EventDetection, User: who.UserID, RiskEventType: "anonymizedIPAddress", RiskLevel: "medium"},
		{Type: world.EventSignIn, User: who.UserID},
		{Type: world.EventServicePrincipalDetection, ServicePrincipal: sp.ServicePrincipalID, RiskEventType: "leakedCredentials", RiskLevel: "high"},
		{Type: world.EventAlert, User: onPrem.SID, Title: "Suspected DCSync attack (replication of directory services)", Severity: "high"},
		{Type: world.EventAlert, User: who.UserID, Title: "Suspected identity theft (pass-the-ticket)", Severity: "high"},
		{Type: world.EventSensor, Sensor: "", Status: "down"},
	} {
		if e.Type == world.EventSensor {
			e.Sensor, _ = d.get("/security/identities/sensors")["value"].([]any)[0].(map[string]any)["displayName"].(string)
		}
		d.apply(e)
	}
}

func actions(d *desk, router routers.Router, who world.Account, group string) {
	ids := map[string]any{"userIds": []string{who.UserID}}
	for _, verdict := range []string{"confirmCompromised", "dismiss", "confirmSafe"} {
		d.checked(router, "POST", "/identityProtection/riskyUsers/"+verdict, ids)
	}
	d.checked(router, "PATCH", "/users/"+who.UserID, map[string]any{"accountEnabled": false})
	d.checked(router, "PATCH", "/users/"+who.UserID, map[string]any{"passwordProfile": map[string]any{"password": "A-new-value-1!", "forceChangePasswordNextSignIn": true}})
	d.checked(router, "POST", "/users/"+who.UserID+"/revokeSignInSessions", nil)
	d.checked(router, "GET", "/security/alerts_v2?$filter=severity eq 'high'&$count=true", nil)
	alert := values(d.get("/security/alerts_v2"))[0]["id"].(string)
	d.checked(router, "PATCH", "/security/alerts_v2/"+alert, map[string]any{"status": "inProgress", "assignedTo": "soc@cordon.example"})
	d.checked(router, "POST", "/security/alerts_v2/"+alert+"/comments", map[string]any{"@odata.type": "microsoft.graph.security.alertComment", "comment": "contained"})
	incident := values(d.get("/security/incidents"))[0]["id"].(string)
	d.checked(router, "PATCH", "/security/incidents/"+incident, map[string]any{"status": "resolved", "classification": "truePositive"})
	d.checked(router, "POST", "/groups/"+group+"/members/$ref", map[string]any{"@odata.id": host + "/v1.0/directoryObjects/" + d.member(5).UserID})
	d.checked(router, "DELETE", "/groups/"+group+"/members/"+d.member(5).UserID+"/$ref", nil)
	d.checked(router, "POST", "/directoryObjects/getByIds", map[string]any{"ids": []string{who.UserID, group}})
	d.checked(router, "POST", "/users/"+who.UserID+"/authentication/temporaryAccessPassMethods", map[string]any{"lifetimeInMinutes": 60, "isUsableOnce": true})
	location := d.checked(router, "POST", "/identity/conditionalAccess/namedLocations", map[string]any{
		"@odata.type": "#microsoft.graph.ipNamedLocation", "displayName": "Blocked", "isTrusted": false,
		"ipRanges": []any{map[string]any{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "198.51.100.0/24"}},
	})
	if id, _ := location["id"].(string); id != "" {
		d.checked(router, "DELETE", "/identity/conditionalAccess/namedLocations/"+id, nil)
	}
	for _, it := range values(d.get("/security/identities/identityAccounts")) {
		accounts, _ := it["accounts"].([]any)
		for _, a := range accounts {
			acc := a.(map[string]any)
			if acc["identityProvider"] == "activeDirectory" || acc["provider"] == "activeDirectory" {
				d.checked(router, "POST", "/security/identities/identityAccounts/"+it["id"].(string)+"/invokeAction", map[string]any{
					"accountId": acc["identifier"], "action": "disable", "identityProvider": "activeDirectory",
				})
				return
			}
		}
	}
	d.t.Error("no identity with an Active Directory account")
}

// workloads changes applications, grants and roles.
func workloads(d *desk, router routers.Router, risky string) {
	for _, verdict := range []string{"confirmCompromised", "dismiss"} {
		d.checked(router, "POST", "/identityProtection/riskyServicePrincipals/"+verdict, map[string]any{"servicePrincipalIds": []string{risky}})
	}
	d.checked(router, "PATCH", "/servicePrincipals/"+risky, map[string]any{"accountEnabled": false})
	for _, app := range d.all("/applications") {
		secrets, _ := app["passwordCredentials"].([]any)
		if len(secrets) == 0 {
			continue
		}
		key := secrets[0].(map[string]any)["keyId"]
		path := "/applications/" + app["id"].(string)
		d.checked(router, "POST", path+"/removePassword", map[string]any{"keyId": key})
		if left, _ := d.get(path)["passwordCredentials"].([]any); len(left) != len(secrets)-1 {
			d.t.Errorf("%d secrets left of %d", len(left), len(secrets))
		}
		d.refused("POST", path+"/removeKey", map[string]any{"keyId": key, "proof": "a.b.c"}, 401, "", "proof of possession")
		break
	}
	grant := values(d.get("/oauth2PermissionGrants"))[0]["id"].(string)
	d.checked(router, "DELETE", "/oauth2PermissionGrants/"+grant, nil)
	d.refused("GET", "/oauth2PermissionGrants/"+grant, nil, 404, "Request_ResourceNotFound", "")
	device := values(d.get("/devices"))[0]
	d.checked(router, "PATCH", "/devices/"+device["id"].(string), map[string]any{"accountEnabled": false})
	if got := d.get("/devices(deviceId='" + device["deviceId"].(string) + "')"); got["accountEnabled"] != false {
		d.t.Errorf("the device: %v", got["accountEnabled"])
	}
}

// people changes a person's methods, sign-ins and group membership.
func people(d *desk, router routers.Router, who world.Account) {
	d.apply(world.Event{Type: world.EventDetection, User: who.UserID, RiskEventType: "anonymizedIPAddress", RiskLevel: "high"})
	for _, s := range d.all("/auditLogs/signIns?$filter=userId eq '" + who.UserID + "' and riskState eq 'atRisk'") {
		d.checked(router, "POST", "/auditLogs/signIns/confirmCompromised", map[string]any{"requestIds": []any{s["id"]}})
	}
	d.refused("POST", "/auditLogs/signIns/dismiss", map[string]any{"requestIds": []string{"11111111-2222-4333-8444-555555555555"}}, 400, "", "do not exist")
	path := "/users/" + who.UserID + "/authentication/"
	methods := values(d.get(path + "methods"))
	d.checked(router, "GET", path+"methods/"+methods[0]["id"].(string), nil)
	for _, pass := range values(d.get(path + "temporaryAccessPassMethods")) {
		if pass["temporaryAccessPass"] != nil {
			d.t.Errorf("the list shows a pass: %v", pass)
		}
		d.checked(router, "DELETE", path+"temporaryAccessPassMethods/"+pass["id"].(string), nil)
	}
	if left := values(d.get(path + "methods")); len(left) != len(methods)-1 {
		d.t.Errorf("%d methods left of %d", len(left), len(methods))
	}
	worker := d.member(6)
	status, body, _ := d.do("GET", "/users/"+worker.UserID+"/manager?$select=id,displayName", nil)
	if status != 200 || body["@odata.type"] != "#microsoft.graph.user" || body["id"] == nil {
		d.t.Errorf("manager: %d %v", status, body)
	}
	found := values(d.get("/users/" + worker.UserID + "/memberOf"))
	if len(found) == 0 || found[0]["@odata.type"] != "#microsoft.graph.group" {
		d.t.Errorf("memberOf: %v", found)
	}
}

// grants takes an application's permissions away and gives them back.
func grants(d *desk, router routers.Router) {
	client := d.pick(world.Pick{Kind: world.KindServicePrincipal, Index: 1}).ServicePrincipalID
	path := "/servicePrincipals/" + client + "/appRoleAssignments"
	was := values(d.get(path))
	if len(was) == 0 {
		d.t.Fatal("no permission to take away")
	}
	d.checked(router, "DELETE", path+"/"+was[0]["id"].(string), nil)
	d.refused("DELETE", path+"/"+was[0]["id"].(string), nil, 404, "Request_ResourceNotFound", "")
	// Microsoft's description at hand has no POST of grants: only the answers are ours.
	again := map[string]any{"principalId": client, "resourceId": was[0]["resourceId"], "appRoleId": was[0]["appRoleId"]}
	d.checked(nil, "POST", path, again)
	d.refused("POST", path, again, 400, "Request_BadRequest", "already exists")
	if now := values(d.get(path)); len(now) != len(was) {
		d.t.Errorf("%d permissions, not %d", len(now), len(was))
	}
	consent := values(d.get("/servicePrincipals/" + client + "/oauth2PermissionGrants"))[0]
	delete(consent, "@odata.context")
	d.refused("POST", "/oauth2PermissionGrants", consent, 409, "", "already exists")
	d.checked(router, "DELETE", "/oauth2PermissionGrants/"+consent["id"].(string), nil)
	made := d.checked(nil, "POST", "/oauth2PermissionGrants", consent)
	if made["id"] == consent["id"] || made["scope"] != consent["scope"] {
		d.t.Errorf("made again: %v", made)
	}
}

// schedules gives and takes roles as Privileged Identity Management does.
func schedules(d *desk, router routers.Router, who world.Account) {
	for list, instances := range map[string]string{
		"roleAssignmentScheduleRequests": "roleAssignmentScheduleInstances", "roleEligibilityScheduleRequests": "roleEligibilityScheduleInstances",
	} {
		path := "/roleManagement/directory/" + list
		body := map[string]any{"action": "adminAssign", "principalId": who.UserID, "roleDefinitionId": "4a5d8f65-41da-4de4-8968-e035b65339cf",
			"directoryScopeId": "/", "justification": "a test", "scheduleInfo": map[string]any{"expiration": map[string]any{"type": "noExpiration"}}}
		held := func() int {
			time.Sleep(10 * time.Second)
			return len(values(d.get("/roleManagement/directory/" + instances + "?$filter=principalId eq '" + who.UserID + "'")))
		}
		d.checked(router, "POST", path, body)
		if n := held(); n != 1 {
			d.t.Errorf("%s: %d assignments", list, n)
		}
		d.refused("POST", path, body, 400, "RoleAssignmentExists", "")
		body["action"] = "adminRemove"
		delete(body, "scheduleInfo")
		d.checked(router, "POST", path, body)
		if n := held(); n != 0 {
			d.t.Errorf("%s: %d assignments are left", list, n)
		}
		d.refused("POST", path, body, 400, "RoleAssignmentDoesNotExist", "")
	}
}

// rules reads, changes and deletes inbox rules, which Microsoft's description at
// hand leaves out.
func rules(d *desk, who world.Account) {
	path := "/users/" + who.UserID + "/mailFolders/inbox/messageRules"
	d.apply(world.Event{Type: world.EventInboxRule, User: who.UserID, Title: ".", Description: "forward"})
	rule := values(d.get(path))[0]
	one := path + "/" + strings.ReplaceAll(rule["id"].(string), "=", "%3D")
	if got := d.checked(nil, "PATCH", one, map[string]any{"isEnabled": false}); got["isEnabled"] != false || got["displayName"] != "." {
		d.t.Errorf("the rule: %v", got)
	}
	d.checked(nil, "DELETE", one, nil)
	d.refused("DELETE", one, nil, 404, "ErrorItemNotFound", "")
	guest := d.pick(world.Pick{Kind: world.KindGuest})
	d.refused("GET", "/users/"+guest.UserID+"/mailFolders/inbox/messageRules", nil, 404, "MailboxNotEnabledForRESTAPI", "")
}
