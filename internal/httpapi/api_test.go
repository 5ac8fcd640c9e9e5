package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/httpapi"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
)

// scene is an API over one identity at risk whose run waits for an approval, one
// whose run is verified, and one whose hand-over waits to be revealed.
type scene struct {
	*desktest.Scene
	handler http.Handler

	identity, cas, run, approval, hash, action, done, quiet, hand, key, tagged string

	// A campaign that is proposed, one that goes and one that is paused.
	proposed, root, going, paused string
	pair, exception               string // an identity of two accounts; an exception in force
}

func start(t *testing.T, o httpapi.Options) scene {
	t.Helper()
	s := scene{Scene: desktest.Empty()}
	first := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
	s.cas = string(s.AddAtRisk(first, s.Leaked("d1", time.Hour)))
	s.identity = string(first.ID)
	s.run = string(s.Begin("leaked-credentials", first.ID, "case_id_000001"))
	asked, err := s.Desk.Approvals(t.Context(), s.Operator("owner"), desk.ApprovalFilter{}, desk.Page{})
	if err != nil {
		t.Fatal(err)
	}
	s.approval, s.hash = string(asked.Items[0].ID), asked.Items[0].PlanHash
	second := desktest.Person(2, "Robin Lake", "robin.lake@corp.example", s.Now())
	c := s.AddAtRisk(second, s.Travel("d2", time.Hour))
	done := s.Begin("token-theft", second.ID, c)
	s.done = string(done)
	view, err := s.Desk.RunView(t.Context(), s.Operator("owner"), done)
	if err != nil {
		t.Fatal(err)
	}
	if len(view.Approvals) > 0 { // a privileged person: asked by default
		if _, err := s.Desk.Approve(t.Context(), s.Operator("second"), view.Approvals[0].ID, view.Plan.Hash, ""); err != nil {
			t.Fatal(err)
		}
	}
	s.Prove(done, "")
	if view, err = s.Desk.RunView(t.Context(), s.Operator("owner"), done); err != nil {
		t.Fatal(err)
	}
	s.action = string(view.Steps[0].Doing.ID)
	quiet := desktest.Person(3, "Kim Meadow", "kim.meadow@corp.example", s.Now())
	s.Store.Seed(quiet)
	s.quiet = string(quiet.ID)
	pair := desktest.Person(6, "Noa Field", "noa.field@corp.example", s.Now())
	pair.Accounts = append(pair.Accounts, identity.Account{Ref: identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-9001", SAM: "noa.field"}})
	s.Store.Seed(pair)
	s.pair = string(pair.ID)
	vip, err := desktest.Person(7, "Rae Hill", "rae.hill@corp.example", s.Now()).WithTag(identity.TagSensitive, "second", "the board", s.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.Store.Seed(vip)
	s.tagged = string(vip.ID)
	made, err := s.Desk.MakeException(t.Context(), s.Operator("owner"), risk.Exception{
		Tenant: desktest.Tenant, Kind: risk.Egress, Name: "east", Ranges: []string{"198.51.100.0/24"}, Owner: "network", Reason: "ours", Until: s.Now().Add(24 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.exception = made.ID
	h, err := s.Desk.AskHandOver(t.Context(), s.Operator("second"), second.ID, "owner", "back at work")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Desk.Approve(t.Context(), s.Operator("responder"), h.Run.Approvals[0].ID, h.Run.Plan.Hash, ""); err != nil {
		t.Fatal(err)
	}
	s.Prove(h.Run.Run.ID, "")
	s.hand, s.key = string(h.Run.Run.ID), h.Key
	o.Desk, o.Operators = s.Desk, s.Operators
	if s.handler, err = httpapi.New(o); err != nil {
		t.Fatal(err)
	}
	return s
}

// propose seeds campaigns in three states.
func (s *scene) propose(t *testing.T) {
	t.Helper()
	for n, id := range []*string{&s.proposed, &s.going, &s.paused} {
		person := desktest.Person(30+n, fmt.Sprint("Person ", n), fmt.Sprintf("person.%d@corp.example", n), s.Now())
		s.AddAtRisk(person, s.Travel(fmt.Sprint("c", n), time.Hour))
		v, err := s.Desk.ProposeCampaign(t.Context(), s.Operator("second"), desk.CampaignWish{
			Tenant: desktest.Tenant, Playbook: "token-theft", Identities: []identity.ID{person.ID}, Reason: "a drill",
		})
		if err != nil {
			t.Fatal(err)
		}
		*id = string(v.Campaign.ID)
		if n == 0 {
			s.root = v.Campaign.Hash
			continue
		}
		if _, err := s.Desk.DecideCampaign(t.Context(), s.Operator("owner"), v.Campaign.ID, true, v.Campaign.Hash, ""); err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			if _, err := s.Desk.PauseCampaign(t.Context(), s.Operator("owner"), v.Campaign.ID, "a drill"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// call sends one request as the operator; "" sends no token.
func (s scene) call(op access.OperatorID, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if op != "" {
		r.Header.Set("Authorization", "Bearer "+desktest.Token(op))
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

const (
	everybody = "auditor analyst responder author owner"
	planners  = "analyst responder author owner"
	answerers = "responder owner"
)

// rows is every endpoint: how it is called rightly and which roles may.
func (s scene) rows() map[string]struct{ path, body, may string } {
	type row = struct{ path, body, may string }
	reason := `{"reason":"a drill"}`
	return map[string]row{
		"me":                  {"/api/me", "", everybody},
		"queue":               {"/api/queue?minLevel=low&limit=1&status=open,waiting", "", everybody},
		"list-cases":          {"/api/cases?status=open,waiting", "", everybody},
		"list-identities":     {"/api/identities?name=avery", "", everybody},
		"list-signals":        {"/api/signals?since=2026-01-01T00:00:00Z", "", everybody},
		"coverage":            {"/api/coverage", "", everybody},
		"feeds":               {"/api/feeds", "", everybody},
		"list-runs":           {"/api/runs?state=waiting", "", everybody},
		"list-approvals":      {"/api/approvals?state=pending", "", everybody},
		"list-actions":        {"/api/actions?person=false", "", everybody},
		"list-playbooks":      {"/api/playbooks", "", everybody},
		"list-audit":          {"/api/audit?kind=case.opened", "", "auditor owner"},
		"show-case":           {"/api/cases/" + s.cas, "", everybody},
		"show-identity":       {"/api/identities/" + s.identity, "", everybody},
		"show-signal":         {"/api/signals/" + string(desktest.Tenant) + "/entra.riskDetection/d1", "", everybody},
		"show-run":            {"/api/runs/" + s.run, "", everybody},
		"show-approval":       {"/api/approvals/" + s.approval, "", everybody},
		"show-action":         {"/api/actions/" + s.action, "", everybody},
		"show-hold":           {"/api/hold", "", everybody},
		"approve":             {"/api/approvals/" + s.approval + "/approve", `{"planHash":"` + s.hash + `"}`, answerers},
		"reject":              {"/api/approvals/" + s.approval + "/reject", `{"planHash":"` + s.hash + `","reason":"a drill"}`, answerers},
		"list-campaigns":      {"/api/campaigns?open=true", "", everybody},
		"show-campaign":       {"/api/campaigns/" + s.proposed, "", everybody},
		"list-campaign-items": {"/api/campaigns/" + s.proposed + "/items?limit=1", "", everybody},
		"propose-campaign":    {"/api/campaigns", `{"tenant":"` + string(desktest.Tenant) + `","playbook":"token-theft","minLevel":"low","reason":"a drill"}`, planners},
		"approve-campaign":    {"/api/campaigns/" + s.proposed + "/approve", `{"planHash":"` + s.root + `"}`, answerers},
		"reject-campaign":     {"/api/campaigns/" + s.proposed + "/reject", `{"planHash":"` + s.root + `","reason":"a drill"}`, answerers},
		"pause-campaign":      {"/api/campaigns/" + s.going + "/pause", reason, "analyst responder author owner"},
		"resume-campaign":     {"/api/campaigns/" + s.paused + "/resume", "", "owner"},
		"stop-campaign":       {"/api/campaigns/" + s.going + "/stop", reason, "analyst responder author owner"},
		"undo-action":         {"/api/actions/" + s.action + "/undo", reason, answerers},
		"extend-action":       {"/api/actions/" + s.action + "/extend", `{"until":"` + s.Now().Add(30*time.Hour).Format(time.RFC3339) + `","reason":"a drill"}`, answerers},
		"undo-run":            {"/api/runs/" + s.done + "/undo", reason, answerers},
		"hold":                {"/api/hold", `{"on":true}`, "analyst responder author owner"},
		"note":                {"/api/cases/" + s.cas + "/notes", `{"text":"rang back"}`, "analyst responder owner"},
		"export-case":         {"/api/cases/" + s.cas + "/evidence", "", "auditor owner"},
		"elsewhere":           {"/api/cases/" + s.cas + "/elsewhere", "", everybody},
		"similar":             {"/api/cases/" + s.cas + "/similar", "", everybody},
		"sweep-case":          {"/api/cases/" + s.cas + "/sweep", "", everybody},
		"hunting":             {"/api/cases/" + s.cas + "/hunting", "", everybody},
		"sweep-tenant":        {"/api/sweep?since=2026-01-01T00:00:00Z", "", everybody},
		"links":               {"/api/identities/" + s.identity + "/links?at=2026-03-01T00:00:00Z", "", everybody},
		"link":                {"/api/identities/" + s.identity + "/link", `{"from":"` + s.quiet + `","reason":"a drill"}`, "analyst responder owner"},
		"unlink":              {"/api/identities/" + s.pair + "/unlink", `{"account":"S-1-5-21-1-2-3-9001","reason":"a drill"}`, "analyst responder owner"},
		"tag":                 {"/api/identities/" + s.quiet + "/tag", `{"tag":"VIP","reason":"a drill"}`, "analyst responder owner"},
		"untag":               {"/api/identities/" + s.tagged + "/untag", `{"tag":"sensitive","reason":"a drill"}`, answerers},
		"list-exceptions":     {"/api/exceptions", "", everybody},
		"make-exception":      {"/api/exceptions", `{"kind":"VPN egress","name":"west","ranges":["192.0.2.0/24"],"owner":"network","until":"2026-04-01T00:00:00Z","reason":"ours"}`, answerers},
		"end-exception":       {"/api/exceptions/" + s.exception + "/end", reason, "analyst responder owner"},
		"explain-with":        {"/api/identities/" + s.identity + "/explain", `{"weights":{"kinds":{"leakedCredentials":{"prior":0.1}}}}`, everybody},
		"replay":              {"/api/replay", `{"weights":{"thresholds":{"low":10,"medium":30,"high":60}}}`, everybody},
		"verdict":             {"/api/cases/" + s.cas + "/verdict", `{"word":"safe"}`, "analyst responder owner"},
		"plan":                {"/api/identities/" + s.quiet + "/plan", `{"playbook":"token-theft"}`, planners},
		"start":               {"/api/identities/" + s.quiet + "/start", `{"playbook":"token-theft"}`, planners},
		"hand-over":           {"/api/identities/" + s.quiet + "/hand-over", reason, planners},
		"reveal":              {"/api/runs/" + s.hand + "/reveal", `{"key":"` + s.key + `"}`, "owner"}, // its recipient
	}
}

// An operation of the OpenAPI document.
type operation struct {
	id, method, path string
	permission       string
}

func operations(t *testing.T, h http.Handler) []operation {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/openapi.json", nil))
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			ID         string `json:"operationId"`
			Permission string `json:"x-permission"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("document: version %q, %v", doc.OpenAPI, err)
	}
	var out []operation
	for path, methods := range doc.Paths {
		for m, op := range methods {
			if op.ID == "push-signals" {
				continue // not for operators; see push_test.go
			}
			out = append(out, operation{op.ID, strings.ToUpper(m), path, op.Permission})
		}
	}
	slices.SortFunc(out, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return out
}

func TestEveryEndpointForEveryRole(t *testing.T) {
	t.Parallel()
	s := start(t, httpapi.Options{})
	rows := s.rows()
	for _, op := range operations(t, s.handler) {
		if _, ok := rows[op.id]; !ok {
			t.Errorf("%s %s (%s) has no row in the table", op.method, op.path, op.id)
			continue
		}
		delete(rows, op.id)
		if op.permission == "" {
			t.Errorf("%s does not say which permission it needs", op.id)
		}
		for _, role := range append([]access.Role{""}, access.Roles()...) {
			t.Run(fmt.Sprintf("%s/%s", op.id, role), func(t *testing.T) {
				t.Parallel()
				s := start(t, httpapi.Options{}) // each call meets the same world
				if strings.Contains(op.id, "campaign") {
					s.propose(t)
				}
				// What ids and keys a scene gives is its own.
				row := s.rows()[op.id]
				w := s.call(access.OperatorID(role), op.method, row.path, row.body)
				want := http.StatusForbidden
				switch {
				case role == "":
					want = http.StatusUnauthorized
				case slices.Contains(strings.Fields(row.may), string(role)):
					want = http.StatusOK
				}
				if w.Code != want {
					t.Fatalf("%s %s: %d, want %d: %s", op.method, row.path, w.Code, want, w.Body)
				}
				if want != http.StatusOK {
					problem(t, w)
				}
				if !json.Valid(w.Body.Bytes()) || w.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("answer %s, headers %v", w.Body, w.Header())
				}
			})
		}
	}
	for id := range rows {
		t.Errorf("the table has %s, the document does not", id)
	}
}

type told struct {
	Type, Title, Detail string
	Status              int
}

func problem(t *testing.T, w *httptest.ResponseRecorder) told {
	t.Helper()
	var p told
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("not a problem: %s %s", w.Header().Get("Content-Type"), w.Body)
	}
	if p.Status != w.Code || p.Title == "" || p.Detail == "" || !strings.HasPrefix(p.Type, httpapi.ProblemType) {
		t.Errorf("problem %+v with status %d", p, w.Code)
	}
	return p
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	s := start(t, httpapi.Options{})
	for name, c := range map[string]struct {
		method, path, body string
		want               int
		text               string
	}{
		"no such endpoint":      {"GET", "/api/nothing", "", 404, "openapi.json"},
		"no such case":          {"GET", "/api/cases/case_none", "", 404, "case_none"},
		"a foreign cursor":      {"GET", "/api/cases?after=%21%21", "", 400, "cursor"},
		"an unknown filter":     {"GET", "/api/cases?color=red", "", 422, ""},
		"a status that is none": {"GET", "/api/cases?status=lost", "", 422, ""},
		"too many rows":         {"GET", "/api/cases?limit=501", "", 422, ""},
		"an unknown field":      {"POST", "/api/hold", `{"on":true,"force":true}`, 422, ""},
		"another type":          {"POST", "/api/hold", `{"on":"yes"}`, 422, ""},
		"broken JSON":           {"POST", "/api/hold", `{"on":`, 400, ""},
		"two values":            {"POST", "/api/hold", `{"on":true}{"on":false}`, 400, ""},
		"no body":               {"POST", "/api/hold", "", 400, ""},
		"a body too large":      {"POST", "/api/hold", `{"on":true,"reason":"` + strings.Repeat("x", 1<<20) + `"}`, 413, ""},
		"a verdict without one": {"POST", "/api/cases/" + s.cas + "/verdict", `{}`, 422, ""},
		"a stale plan":          {"POST", "/api/approvals/" + s.approval + "/approve", `{"planHash":"old"}`, 409, "look at it again"},
		"a hand-over not ready": {"POST", "/api/runs/" + s.run + "/reveal", `{"key":"x"}`, 404, "hands nothing over"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := s.call("owner", c.method, c.path, c.body)
			if w.Code != c.want {
				t.Fatalf("%d, want %d: %s", w.Code, c.want, w.Body)
			}
			if p := problem(t, w); !strings.Contains(p.Detail, c.text) {
				t.Errorf("detail %q; want %q in it", p.Detail, c.text)
			}
		})
	}
}

func TestMistakesOfOursAreToldToNobody(t *testing.T) {
	t.Parallel()
	s := start(t, httpapi.Options{})
	s.Store.Fail(fmt.Errorf("dial 10.1.2.3: password=hunter2"))
	w := s.call("owner", "POST", "/api/hold", `{"on":true}`)
	if w.Code != 500 || bytes.Contains(w.Body.Bytes(), []byte("hunter2")) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	problem(t, w)
}

func TestGuessingTokensHasToWait(t *testing.T) {
	t.Parallel()
	s := start(t, httpapi.Options{})
	var w *httptest.ResponseRecorder
	for range 11 {
		r := httptest.NewRequest("GET", "/api/me", nil)
		r.Header.Set("Authorization", "Bearer guess")
		w = httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
	}
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("the eleventh guess: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	problem(t, w)
}

func TestSessionCookiesOnlyFromOurOwnPages(t *testing.T) {
	t.Parallel()
	var s scene
	s = start(t, httpapi.Options{Session: func(r *http.Request) (access.Operator, bool) {
		_, err := r.Cookie("cordon_session")
		return s.Operator("owner"), err == nil
	}})
	for site, want := range map[string]int{"same-origin": 200, "cross-site": 403, "same-site": 403} {
		r := httptest.NewRequest("POST", "/api/hold", strings.NewReader(`{"on":true}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Sec-Fetch-Site", site)
		r.AddCookie(&http.Cookie{Name: "cordon_session", Value: "x"})
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d: %s", site, w.Code, want, w.Body)
		}
	}
}
