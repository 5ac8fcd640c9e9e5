package graphsim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

func TestDetectionToContainment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, unlimited())
		who := d.member(3)
		start := time.Now().UTC()
		time.Sleep(time.Second)
		d.apply(world.Event{Type: world.EventDetection, User: who.UserID, RiskEventType: "leakedCredentials"})

		found := d.all("/identityProtection/riskDetections?$filter=detectedDateTime ge " + start.Format(time.RFC3339))
		if len(found) != 1 || found[0]["userId"] != who.UserID || found[0]["riskEventType"] != "leakedCredentials" {
			t.Fatalf("detections: %v", found)
		}
		risky := d.get("/identityProtection/riskyUsers/" + who.UserID)
		if risky["riskState"] != "atRisk" || risky["riskLevel"] != "high" {
			t.Fatalf("risky user: %v", risky)
		}

		status, _, h := d.do("POST", "/identityProtection/riskyUsers/confirmCompromised", map[string]any{"userIds": []string{who.UserID}},
			"client-request-id", "5d7b1c1e-0000-4000-8000-000000000001")
		if status != 204 || h.Get("client-request-id") != "5d7b1c1e-0000-4000-8000-000000000001" || h.Get("request-id") == "" {
			t.Fatalf("confirm: %d %v", status, h)
		}
		if r := d.get("/identityProtection/riskyUsers/" + who.UserID); r["isProcessing"] != true || r["riskState"] != "atRisk" {
			t.Errorf("right after confirming: %v", r)
		}
		time.Sleep(5 * time.Second)
		if r := d.get("/identityProtection/riskyUsers/" + who.UserID); r["isProcessing"] != false || r["riskState"] != "confirmedCompromised" {
			t.Errorf("after the feedback: %v", r)
		}
		if h := d.all("/identityProtection/riskyUsers/" + who.UserID + "/history"); len(h) < 2 {
			t.Errorf("history: %v", h)
		}

		if status, body, _ := d.do("PATCH", "/users/"+who.UserID, map[string]any{"accountEnabled": false}); status != 204 {
			t.Fatalf("disable: %d %v", status, body)
		}
		if u := d.get("/users/" + who.UserID + "?$select=accountEnabled"); u["accountEnabled"] != false || u["id"] != nil {
			t.Errorf("after disabling: %v", u)
		}
		before := d.get("/users/" + who.UserPrincipalName + "?$select=signInSessionsValidFromDateTime")["signInSessionsValidFromDateTime"]
		if status, body, _ := d.do("POST", "/users/"+who.UserID+"/revokeSignInSessions", nil); status != 200 || body["value"] != true {
			t.Fatalf("revoke: %d %v", status, body)
		}
		time.Sleep(5 * time.Second)
		if after := d.get("/users/" + who.UserID + "?$select=signInSessionsValidFromDateTime")["signInSessionsValidFromDateTime"]; after == before {
			t.Errorf("sessions still valid from %v", after)
		}

		secret := "S3cret-value-that-nobody-sees"
		status, body, _ := d.do("PATCH", "/users/"+who.UserID, map[string]any{"passwordProfile": map[string]any{"password": secret, "forceChangePasswordNextSignIn": true}})
		if status != 204 {
			t.Fatalf("reset: %d %v", status, body)
		}
		state, _ := d.w.State(who.UserID)
		if state.PasswordResets != 1 || state.DistinctPasswords != 1 || state.AccountEnabled {
			t.Errorf("state: %+v", state)
		}

		e := d.last("/users/" + who.UserID)
		raw, err := json.Marshal(d.lab.Ledger())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), secret) {
			t.Error("the ledger holds a password")
		}
		if !slices.ContainsFunc(e.Effects, func(x world.Effect) bool { return x.Field == "passwordProfile" }) || e.App != clientID || e.Status != 204 {
			t.Errorf("ledger entry: %+v", e)
		}
	})
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	reader := responder()
	reader.Roles = graphsim.ReaderRoles()
	d := newDesk(t, graphsim.Options{Apps: []graphsim.App{reader}, Limits: graphsim.Limits{Off: true}})
	who := d.member(0)
	d.get("/users?$top=5")
	d.refused("PATCH", "/users/"+who.UserID, map[string]any{"accountEnabled": false}, 403, "Authorization_RequestDenied", "Insufficient privileges")
	d.refused("POST", "/users/"+who.UserID+"/revokeSignInSessions", nil, 403, "Authorization_RequestDenied", "Insufficient privileges")
	d.refused("POST", "/identityProtection/riskyUsers/dismiss", map[string]any{"userIds": []string{who.UserID}}, 403, "Forbidden", "required scopes are missing")
	d.refused("PATCH", "/security/alerts_v2/x", map[string]any{"status": "resolved"}, 403, "Forbidden", "SecurityAlert.ReadWrite.All")
	d.refused("POST", "/users/"+who.UserID+"/authentication/methods/28c10230-6103-485e-b985-444c60001490/resetPassword", nil, 403, "", "")
	for _, e := range d.lab.Ledger() {
		if len(e.Effects) > 0 {
			t.Errorf("a refused request had effects: %+v", e)
		}
	}

	// Each narrow permission opens one property; disabling needs one to read as well.
	narrow := func(roles ...string) *desk {
		a := responder()
		a.Roles = roles
		return deskOver(t, d.w, graphsim.Options{Apps: []graphsim.App{a}, Limits: graphsim.Limits{Off: true}})
	}
	off := map[string]any{"accountEnabled": false}
	pass := map[string]any{"passwordProfile": map[string]any{"password": "Another-1-secret"}}
	n := narrow("User.EnableDisableAccount.All")
	n.refused("PATCH", "/users/"+who.UserID, off, 403, "Authorization_RequestDenied", "")
	n = narrow("User.EnableDisableAccount.All", "User.Read.All")
	if status, body, _ := n.do("PATCH", "/users/"+who.UserID, off); status != 204 {
		t.Errorf("disable: %d %v", status, body)
	}
	n.refused("PATCH", "/users/"+who.UserID, pass, 403, "Authorization_RequestDenied", "")
	n.refused("PATCH", "/users/"+who.UserID, map[string]any{"accountEnabled": true, "displayName": "x"}, 403, "Authorization_RequestDenied", "")
	n = narrow("Directory.ReadWrite.All")
	n.refused("PATCH", "/users/"+who.UserID, pass, 403, "Authorization_RequestDenied", "")

	basic := narrow("User.ReadBasic.All")
	basic.get("/users?$top=5&$select=id,displayName")
	basic.refused("GET", "/users?$select=id,accountEnabled", nil, 403, "Authorization_RequestDenied", "")
}

func TestPrivilegedTargets(t *testing.T) {
	t.Parallel()
	d := newDesk(t, unlimited())
	admin := d.pick(world.Pick{Kind: world.KindAdmin, Role: "Global Administrator"})
	off := map[string]any{"accountEnabled": false}
	d.refused("PATCH", "/users/"+admin.UserID, off, 403, "Authorization_RequestDenied", "Insufficient privileges")
	if s, _ := d.w.State(admin.UserID); !s.AccountEnabled {
		t.Fatal("a refused request disabled an administrator")
	}
	app := responder()
	app.DirectoryRoles = []string{"Privileged Authentication Administrator"}
	if err := d.lab.SetApp(app); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := d.do("PATCH", "/users/"+admin.UserID, off); status != 204 {
		t.Errorf("with the role: %d %v", status, body)
	}
}

func TestRiskFeedbackLimits(t *testing.T) {
	t.Parallel()
	d := newDesk(t, unlimited())
	ids := func(n int) map[string]any {
		list := make([]string, n)
		for i := range list {
			list[i] = d.member(i % 5).UserID
		}
		return map[string]any{"userIds": list}
	}
	const path = "/identityProtection/riskyUsers/confirmCompromised"
	d.refused("POST", path, ids(61), 400, "", "60")
	if status, body, _ := d.do("POST", path, ids(5)); status != 204 {
		t.Errorf("five never-listed people: %d %v", status, body)
	}
	who := d.member(0)
	if r := d.get("/identityProtection/riskyUsers/" + who.UserID); r["id"] != who.UserID {
		t.Errorf("confirming does not list: %v", r)
	}
	d.refused("GET", "/identityProtection/riskyUsers/"+d.member(9).UserID, nil, 404, "ResourceNotFound", "")
	d.refused("POST", path, map[string]any{"userIds": []string{}}, 400, "", "")
	d.refused("POST", path, nil, 400, "BadRequest", "Empty Payload")

	pair := ids(2)
	d.apply(world.Event{Type: world.EventDeleteUser, User: who.UserID})
	d.refused("POST", "/identityProtection/riskyUsers/dismiss", pair, 404, "", "deleted")
	d.refused("GET", "/users/"+who.UserID, nil, 404, "Request_ResourceNotFound", who.UserID)
}

func TestPaging(t *testing.T) {
	t.Parallel()
	d := newDesk(t, unlimited())
	all := d.all("/users?$select=id&$top=999")
	if len(all) != d.w.Count(world.Users) {
		t.Fatalf("%d people in one page, the world has %d", len(all), d.w.Count(world.Users))
	}
	paged := d.all("/users?$select=id&$top=7")
	if diff := cmp.Diff(column(all, "id"), column(paged, "id")); diff != "" {
		t.Errorf("pages of seven differ (-whole +paged):\n%s", diff)
	}
	first := d.get("/users?$top=7")
	next, _ := first["@odata.nextLink"].(string)
	if !strings.HasPrefix(next, host+"/v1.0/users?") || !strings.Contains(next, "$skiptoken=") {
		t.Fatalf("next link %q", next)
	}
	u, err := url.Parse(next)
	if err != nil {
		t.Fatal(err)
	}
	token := u.Query().Get("$skiptoken")
	d.refused("GET", "/groups?$skiptoken="+token, nil, 400, "Directory_ExpiredPageToken", "")
	d.refused("GET", "/users?$skiptoken="+token[:len(token)-2]+"xx", nil, 400, "Directory_ExpiredPageToken", "")
	other := strings.Replace(next, host, "https://other.lab", 1)
	d.refused("GET", other, nil, 401, "InvalidAuthenticationToken", "audience")

	for i := range 45 {
		d.apply(world.Event{Type: world.EventDetection, User: d.member(i % 10).UserID, RiskEventType: "unfamiliarFeatures", RiskLevel: "low"})
	}
	if p := d.get("/identityProtection/riskDetections"); len(values(p)) != 20 {
		t.Errorf("the default page has %d", len(values(p)))
	}
	// A detection that arrives between two pages neither repeats nor hides another.
	page := d.get("/identityProtection/riskDetections?$top=30")
	d.apply(world.Event{Type: world.EventDetection, User: d.member(1).UserID, RiskEventType: "unfamiliarFeatures", RiskLevel: "low"})
	seen := column(values(page), "id")
	rest, _ := page["@odata.nextLink"].(string)
	seen = append(seen, column(d.all(rest), "id")...)
	slices.Sort(seen)
	if len(slices.Compact(seen)) != len(seen) || len(seen) < 45 {
		t.Errorf("%d detections, distinct %d", len(seen), len(slices.Compact(seen)))
	}
}

func TestQueryOptions(t *testing.T) {
	t.Parallel()
	d := newDesk(t, unlimited())
	who := d.member(2)
	filtered := func(path string, want ...string) {
		t.Helper()
		if got := column(d.all(path), "id"); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	filtered("/users?$filter=userPrincipalName eq '"+who.UserPrincipalName+"'", who.UserID)
	filtered("/users?$select=id&$filter=id in ('"+who.UserID+"','"+d.member(4).UserID+"','nobody')", who.UserID, d.member(4).UserID)
	filtered("/users?$filter=id eq '" + who.UserID + "' and accountEnabled eq false")
	if _, ok := d.get("/users/" + who.UserID)["accountEnabled"]; ok {
		t.Error("accountEnabled comes without $select")
	}
	adv := []string{"ConsistencyLevel", "eventual"}
	body := d.get("/users?$filter=accountEnabled ne true&$count=true", adv...)
	if n, ok := body["@odata.count"].(float64); !ok || int(n) != len(values(body)) {
		t.Errorf("count: %v of %d", body["@odata.count"], len(values(body)))
	}
	sorted := column(d.all("/users?$orderby=displayName desc&$select=displayName&$top=9"), "displayName")
	if !slices.IsSortedFunc(sorted, func(a, b string) int { return strings.Compare(strings.ToLower(b), strings.ToLower(a)) }) || len(sorted) != d.w.Count(world.Users) {
		t.Errorf("not sorted: %v", sorted)
	}
	res, err := d.send("GET", "/users/$count", nil, adv...)
	if err != nil || res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("$count: %v %v", res, err)
	}
	name, _, _ := strings.Cut(who.DisplayName, " ")
	if got := d.all(`/users?$search="displayName:`+name+`"&$count=true&$select=id,displayName`, adv...); !slices.Contains(column(got, "id"), who.UserID) {
		t.Errorf("search for %s: %v", name, got)
	}

	for path, words := range map[string]string{
		"/users?$filter=accountEnabled ne true":                                     "ConsistencyLevel",
		"/users?$filter=endswith(mail,'x')":                                         "ConsistencyLevel",
		"/users?$filter=accountEnabled eq true&$orderby=displayName":                "ConsistencyLevel",
		"/users?$filter=lastPasswordChangeDateTime ge 2026-01-01T00:00:00Z":         "cannot be used",
		"/users?$filter=colour eq 'red'":                                            "Could not find a property named 'colour'",
		"/users?$filter=accountEnabled gt true":                                     "Operator 'gt' is not supported",
		"/users?$filter=displayName eq":                                             "Invalid filter clause",
		"/users?$select=id,colour":                                                  "Could not find a property named 'colour' on type 'microsoft.graph.user'",
		"/users?$top=1000":                                                          "between 1 and 999",
		"/users?$top=0":                                                             "Invalid page size",
		"/users?$skip=5":                                                            "'$skip' is not allowed",
		"/users?$apply=groupby((department))":                                       "'$apply' is not supported",
		"/users?$top=1&$top=2":                                                      "more than once",
		"/identityProtection/riskDetections?$skip=5":                                "'$skip' is not allowed",
		"/identityProtection/riskDetections?$count=true":                            "'$count' is not allowed",
		"/identityProtection/riskyUsers?$orderby=riskLevel":                         "'$orderby' is not allowed",
		"/security/alerts_v2?$orderby=createdDateTime":                              "'$orderby' is not allowed",
		"/security/alerts_v2?$select=id":                                            "'$select' is not allowed",
		"/security/alerts_v2?$filter=title eq 'x'":                                  "cannot be used",
		"/auditLogs/signIns?$filter=signInEventTypes/any(t:t eq 'interactiveUser')": "Could not find",
	} {
		d.refused("GET", path, nil, 400, "", words)
	}
	d.refused("GET", "/identityProtection/riskyUsers/x/colour", nil, 400, "BadRequest", "segment 'colour'")
	d.refused("GET", "/planner/tasks", nil, 501, "notSupported", "does not simulate")
	d.refused("PUT", "/users/"+who.UserID, map[string]any{}, 405, "Request_BadRequest", "not allowed")
	if got := d.get("/USERS/" + who.UserID + "?$select=ID"); got["id"] != who.UserID {
		t.Errorf("paths and names ignore case: %v", got)
	}
	if got := d.get("/users('" + who.UserID + "')?$select=id"); got["id"] != who.UserID {
		t.Errorf("key in brackets: %v", got)
	}
}

func TestUnknownEnumMembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, unlimited())
		who := d.member(0)
		d.apply(world.Event{Type: world.EventDetection, User: who.UserID, RiskEventType: "leakedCredentials"})
		if status, body, _ := d.do("POST", "/identityProtection/riskyUsers/confirmSafe", map[string]any{"userIds": []string{who.UserID}}); status != 204 {
			t.Fatalf("%d %v", status, body)
		}
		time.Sleep(5 * time.Second)
		path := "/identityProtection/riskyUsers/" + who.UserID
		if got := d.get(path)["riskDetail"]; got != "unknownFutureValue" {
			t.Errorf("without the header: %v", got)
		}
		status, body, h := d.do("GET", path, nil, "Prefer", "include-unknown-enum-members")
		if status != 200 || body["riskDetail"] != "adminConfirmedAccountSafe" || h.Get("Preference-Applied") != "include-unknown-enum-members" {
			t.Errorf("with the header: %v %v", body, h)
		}
		if got := d.get(path)["riskDetail"]; got != "unknownFutureValue" {
			t.Errorf("masking changed the world, or was changed by it: %v", got)
		}
	})
}

func TestDelta(t *testing.T) {
	t.Parallel()
	d := newDesk(t, unlimited())
	round := func(link string) (items []map[string]any, next string) {
		for next == "" {
			body := d.get(link)
			items = append(items, values(body)...)
			link, _ = body["@odata.nextLink"].(string)
			next, _ = body["@odata.deltaLink"].(string)
		}
		return items, next
	}
	first, link := round("/users/delta?$select=displayName,accountEnabled&$top=25")
	if len(first) != d.w.Count(world.Users) {
		t.Errorf("the first round has %d of %d", len(first), d.w.Count(world.Users))
	}
	if again, _ := round(link); len(again) != 0 {
		t.Errorf("nothing changed, and yet %v", again)
	}
	who, gone := d.member(1), d.member(2)
	d.do("PATCH", "/users/"+who.UserID, map[string]any{"accountEnabled": false})
	d.apply(world.Event{Type: world.EventDeleteUser, User: gone.UserID})
	changed, link2 := round(link)
	if len(changed) != 2 || changed[0]["id"] != who.UserID || changed[0]["accountEnabled"] != false || changed[0]["mail"] != nil ||
		changed[1]["id"] != gone.UserID || changed[1]["@removed"] == nil {
		t.Errorf("changes: %v", changed)
	}
	if again, _ := round(link2); len(again) != 0 {
		t.Errorf("told twice: %v", again)
	}
	d.refused("GET", "/users/delta?$filter=accountEnabled eq true", nil, 400, "", "id only")
	d.refused("GET", "/users/delta?$deltatoken=abc", nil, 400, "Directory_InvalidDeltaToken", "")
	if latest, l := round("/users/delta?$deltatoken=latest"); len(latest) != 0 || l == "" {
		t.Errorf("latest: %v", latest)
	}
}

func TestDeltaTokenExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, unlimited())
		link, _ := d.get("/groups/delta?$top=999")["@odata.deltaLink"].(string)
		time.Sleep(8 * 24 * time.Hour)
		d.refused("GET", link, nil, 401, "InvalidAuthenticationToken", "expired")
		d.token = d.login(clientID, clientSecret)
		d.refused("GET", link, nil, 410, "syncStateNotFound", "")
	})
}

func TestBatch(t *testing.T) {
	t.Parallel()
	d := newDesk(t, unlimited())
	who := d.member(1)
	send := func(reqs ...map[string]any) (int, map[string]any) {
		status, body, _ := d.do("POST", "/$batch", map[string]any{"requests": reqs})
		return status, body
	}
	json := map[string]string{"Content-Type": "application/json"}
	status, body := send(
		map[string]any{"id": "2", "method": "POST", "url": "users/" + who.UserID + "/revokeSignInSessions", "dependsOn": []string{"1"}},
		map[string]any{"id": "1", "method": "PATCH", "url": "/users/" + who.UserID, "headers": json, "body": map[string]any{"accountEnabled": false}},
		map[string]any{"id": "3", "method": "GET", "url": "/users/nobody"},
		map[string]any{"id": "4", "method": "GET", "url": "/users?$select=id&$top=1", "dependsOn": []string{"3"}},
		map[string]any{"id": "5", "method": "GET", "url": "/users?$select=id&$top=1"},
	)
	if status != 200 {
		t.Fatalf("%d %v", status, body)
	}
	got := map[string]any{}
	list, _ := body["responses"].([]any)
	for _, r := range list {
		m := r.(map[string]any)
		got[m["id"].(string)] = m["status"]
	}
	if want := (map[string]any{"1": 204.0, "2": 200.0, "3": 404.0, "4": 424.0, "5": 200.0}); !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var kinds []string
	for _, e := range d.lab.Ledger() {
		if e.Kind == "part" || e.Kind == "batch" {
			kinds = append(kinds, e.Kind)
		}
	}
	if want := []string{"batch", "part", "part", "part", "part", "part"}; !cmp.Equal(kinds, want) {
		t.Errorf("ledger: %v", kinds)
	}

	many := make([]map[string]any, 21)
	for i := range many {
		many[i] = map[string]any{"id": fmt.Sprint(i), "method": "GET", "url": "/users"}
	}
	for name, reqs := range map[string][]map[string]any{
		"exceeds the maximum":   many,
		"not unique":            {{"id": "a", "method": "GET", "url": "/users"}, {"id": "A", "method": "GET", "url": "/users"}},
		"leads back":            {{"id": "a", "method": "GET", "url": "/users", "dependsOn": []string{"b"}}, {"id": "b", "method": "GET", "url": "/users", "dependsOn": []string{"a"}}},
		"not in the batch":      {{"id": "a", "method": "GET", "url": "/users", "dependsOn": []string{"z"}}},
		"must be relative":      {{"id": "a", "method": "GET", "url": "https://graph.lab/v1.0/users"}},
		"Invalid batch payload": {},
	} {
		d.refused("POST", "/$batch", map[string]any{"requests": reqs}, 400, "BadRequest", name)
	}
}

// Each part of a batch is throttled alone, under an outer 200.
func TestBatchThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, graphsim.Options{})
		reqs := make([]map[string]any, 7)
		for i := range reqs {
			reqs[i] = map[string]any{"id": fmt.Sprint(i), "method": "GET", "url": "/auditLogs/directoryAudits?$top=1"}
		}
		status, body, _ := d.do("POST", "/$batch", map[string]any{"requests": reqs})
		var codes []any
		var after any
		for _, r := range body["responses"].([]any) {
			m := r.(map[string]any)
			codes = append(codes, m["status"])
			if m["status"] == 429.0 {
				after = m["headers"].(map[string]any)["Retry-After"]
			}
		}
		if want := []any{200.0, 200.0, 200.0, 200.0, 200.0, 429.0, 429.0}; status != 200 || !cmp.Equal(codes, want) || after == nil {
			t.Errorf("%d %v, Retry-After %v", status, codes, after)
		}
		// One page of the documentation has the outer status 424 then.
		d.lab.SetFaults([]graphsim.Fault{{Kind: "batch-424", Rate: 1}})
		status, body, _ = d.do("POST", "/$batch", map[string]any{"requests": reqs})
		if list, _ := body["responses"].([]any); status != 424 || len(list) != 7 {
			t.Errorf("with batch-424: %d %v", status, body)
		}
	})
}

// Identity protection: one request a second for the whole tenant, without a
// word about when to come back.
func TestThrottledWithoutRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, graphsim.Options{})
		d.get("/identityProtection/riskyUsers")
		status, body, h := d.do("GET", "/identityProtection/riskDetections", nil)
		if _, told := h["Retry-After"]; status != 429 || told {
			t.Fatalf("%d %v %v", status, body, h)
		}
		if e := d.last("/identityProtection/riskDetections"); e.Throttled != "identity protection" {
			t.Errorf("ledger: %+v", e)
		}
		time.Sleep(2 * time.Second) // the refused request counted too
		d.get("/identityProtection/riskDetections")
	})
}

func TestExpiredToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, graphsim.Options{TokenLifetime: 10 * time.Minute})
		time.Sleep(9 * time.Minute)
		d.get("/users?$top=1")
		time.Sleep(2 * time.Minute)
		d.refused("GET", "/users?$top=1", nil, 401, "InvalidAuthenticationToken", "expired")
	})
}

func TestLabPages(t *testing.T) {
	t.Parallel()
	d := newDesk(t, unlimited())
	page := func(method, path, body string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, host+"/_lab/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := d.lab.Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, decode(t, res)
	}
	who := d.member(0)
	status, body := page("POST", "event", `{"type":"detection","user":"`+who.UserPrincipalName+`","riskEventType":"anomalousToken","riskLevel":"high"}`)
	if status != 204 {
		t.Fatalf("event: %d %v", status, body)
	}
	if status, body := page("GET", "state?user="+who.UserPrincipalName, ""); status != 200 || body["riskState"] != "atRisk" || body["accountEnabled"] != true {
		t.Errorf("state: %d %v", status, body)
	}
	if _, body := page("GET", "state", ""); len(body["users"].([]any)) != d.w.Count(world.Users) {
		t.Errorf("the state leaves people out")
	}
	d.get("/users?$top=1")
	status, body = page("GET", "ledger", "")
	entries, _ := body["entries"].([]any)
	if status != 200 || len(entries) != 2 || body["next"] != 2.0 {
		t.Errorf("ledger: %d %v", status, body)
	}
	if _, body := page("GET", "ledger?since=2", ""); len(body["entries"].([]any)) != 0 {
		t.Errorf("since: %v", body)
	}
	for path, in := range map[string]string{"event": `{"type":"detection","who":"x"}`, "faults": `{"faults":["503:900%"]}`} {
		if status, body := page("POST", path, in); status != 400 {
			t.Errorf("%s: %d %v", path, status, body)
		}
	}
	if status, _ := page("POST", "faults", `{"faults":["503@/users"]}`); status != 204 {
		t.Errorf("faults: %d", status)
	}
	d.refused("GET", "/users", nil, 503, "serviceNotAvailable", "")
}

// Requests from many goroutines at once: every one is answered and entered
// once, with its own effect.
func TestConcurrentRequests(t *testing.T) {
	t.Parallel()
	d := newDesk(t, unlimited())
	start := len(d.lab.Ledger())
	var wg sync.WaitGroup
	for i := range 8 {
		who := d.member(i)
		wg.Go(func() {
			for n := range 25 {
				res, err := d.send("PATCH", "/users/"+who.UserID, map[string]any{"accountEnabled": n%2 == 1})
				if err != nil || res.StatusCode != 204 {
					t.Errorf("%v %v", res, err)
				}
				if res, err := d.send("GET", "/users?$top=5&$select=id,accountEnabled", nil); err != nil || res.StatusCode != 200 {
					t.Errorf("%v %v", res, err)
				}
			}
		})
	}
	wg.Wait()
	entries := d.lab.LedgerSince(start)
	changes := 0
	for i, e := range entries {
		if e.Seq != start+i+1 || e.Status == 0 {
			t.Fatalf("entry %d: %+v", i, e)
		}
		changes += len(e.Effects)
	}
	if len(entries) != 8*50 || changes != 8*25 {
		t.Errorf("%d entries with %d changes", len(entries), changes)
	}
}
