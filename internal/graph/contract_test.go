package graph_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/graph/graphtest"
)

const objectID = "6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0"

var parameter = regexp.MustCompile(`\{[^}]+\}`)

// TestEveryOperationOfTheContract builds each call that Microsoft describes
// through the client, alone and in a batch, and holds what would be sent
// against the description.
func TestEveryOperationOfTheContract(t *testing.T) {
	t.Parallel()
	contract := graphtest.Load(t)
	sent, n := 0, 0
	c := strictClient(t, contract, &sent)
	for _, op := range contract.Operations() {
		r := sample(op)
		if _, err := c.Do(t.Context(), r); err != nil {
			t.Errorf("%s %s: %v", op.Method, op.Path, err)
		}
		if _, err := c.Batch(t.Context(), []graph.Part{{Request: r}}); err != nil {
			t.Errorf("%s %s in a batch: %v", op.Method, op.Path, err)
		}
		n++
	}
	if n < 150 || sent != 2*n {
		t.Errorf("%d operations, %d requests", n, sent)
	}
}

// strictClient answers everything with success and checks it on the way.
func strictClient(t *testing.T, contract *graphtest.Contract, sent *int) *graph.Client {
	t.Helper()
	answer := func(r *http.Request) (*http.Response, error) {
		*sent++
		if strings.HasSuffix(r.URL.Path, "/$batch") {
			return graphtest.Answer(200, `{"responses":[{"id":"1","status":204}]}`), nil
		}
		return graphtest.Answer(204, ""), nil
	}
	c, err := graph.New(graph.Options{BaseURL: "https://graph.cordon.example", Tokens: graphtest.Token(token),
		Transport: contract.Strict(t, graphtest.Transport(answer))})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sample makes a request of an operation, with every query option and body
// field that is declared.
func sample(op graphtest.Operation) graph.Request {
	var segments []string
	for _, s := range strings.Split(op.Path[1:], "/") {
		segments = append(segments, parameter.ReplaceAllString(s, objectID))
	}
	r := graph.Request{Method: op.Method, Path: graph.Path(segments...), Beta: op.Beta, Query: url.Values{}}
	for _, p := range op.Spec.Parameters {
		if p.Value.In == "query" {
			r.Query.Set(p.Value.Name, fmt.Sprint(value(p.Value.Schema, 1)))
			if items := p.Value.Schema.Value.Items; items != nil {
				r.Query.Set(p.Value.Name, fmt.Sprint(value(items, 1)))
			}
		}
	}
	if b := op.Spec.RequestBody; b != nil {
		r.Body = value(b.Value.Content.Get("application/json").Schema, 3)
	}
	return r
}

// value makes a value of a schema, to a depth.
func value(s *openapi3.SchemaRef, depth int) any {
	v := s.Value
	if len(v.Enum) > 0 {
		return v.Enum[0]
	}
	out := map[string]any{}
	for _, part := range v.AllOf {
		x := value(part, depth)
		m, ok := x.(map[string]any)
		if !ok {
			return x
		}
		for k, y := range m {
			out[k] = y
		}
	}
	switch {
	case v.Type.Is("array"):
		if depth == 0 {
			return []any{}
		}
		return []any{value(v.Items, depth-1)}
	case v.Type.Is("boolean"):
		return true
	case v.Type.Is("integer"), v.Type.Is("number"):
		return 1
	case v.Type.Is("string"):
		switch v.Format {
		case "uuid":
			return objectID
		case "date-time":
			return "2026-11-24T10:00:00Z"
		case "date":
			return "2026-11-24"
		case "duration":
			return "PT1H"
		case "time":
			return "10:00:00"
		case "byte", "base64url":
			return "AAAA"
		}
		return "x"
	}
	if depth > 0 {
		for name, p := range v.Properties {
			out[name] = value(p, depth-1)
		}
	}
	return out
}

// TestTheContractCatchesMistakes shows that the check above can fail.
func TestTheContractCatchesMistakes(t *testing.T) {
	t.Parallel()
	contract := graphtest.Load(t)
	request := func(method, path, body string, change func(*http.Request)) *http.Request {
		r := httptest.NewRequest(method, "https://graph.cordon.example"+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer x")
		r.Header.Set("client-request-id", "id")
		if method == "GET" {
			r.Header.Set("Prefer", "include-unknown-enum-members")
		}
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		if change != nil {
			change(r)
		}
		return r
	}
	type in struct {
		method, path, body string
		change             func(*http.Request)
	}
	ids := `{"userIds":["` + objectID + `"]}`
	confirm := "/v1.0/identityProtection/riskyUsers/confirmCompromised"
	for name, x := range map[string]in{
		"confirm":  {"POST", confirm, ids, nil},
		"dismiss":  {"POST", "/v1.0/identityProtection/riskyUsers/dismiss", ids, nil},
		"disable":  {"PATCH", "/v1.0/users/" + objectID, `{"accountEnabled":false}`, nil},
		"password": {"PATCH", "/v1.0/users/" + objectID, `{"passwordProfile":{"password":"x","forceChangePasswordNextSignIn":true}}`, nil},
		"revoke":   {"POST", "/v1.0/users/" + objectID + "/revokeSignInSessions", "", nil},
		"list":     {"GET", "/v1.0/identityProtection/riskDetections?$top=500&$filter=lastUpdatedDateTime%20ge%202026-11-24T10:00:00Z", "", nil},
		"next":     {"GET", "/v1.0/users/delta?$skiptoken=abc", "", nil},
		"batch":    {"POST", "/v1.0/$batch", `{"requests":[{"id":"1","method":"POST","url":"/identityProtection/riskyUsers/dismiss","headers":{"Content-Type":"application/json","client-request-id":"x"},"body":` + ids + `}]}`, nil},
	} {
		if err := contract.Check(request(x.method, x.path, x.body, x.change)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, x := range map[string]in{
		"no token":           {"POST", confirm, ids, func(r *http.Request) { r.Header.Del("Authorization") }},
		"http":               {"POST", confirm, ids, func(r *http.Request) { r.URL.Scheme = "http" }},
		"no id":              {"POST", confirm, ids, func(r *http.Request) { r.Header.Del("client-request-id") }},
		"no Prefer":          {"GET", "/v1.0/users", "", func(r *http.Request) { r.Header.Del("Prefer") }},
		"version":            {"GET", "/v2.0/users", "", nil},
		"path":               {"GET", "/v1.0/usres", "", nil},
		"method":             {"DELETE", "/v1.0/users/" + objectID, "", nil},
		"query":              {"GET", "/v1.0/users?top=5", "", nil},
		"misspelt field":     {"POST", confirm, `{"userIDs":["` + objectID + `"]}`, nil},
		"nested misspelt":    {"PATCH", "/v1.0/users/" + objectID, `{"passwordProfile":{"pasword":"x"}}`, nil},
		"wrong type":         {"PATCH", "/v1.0/users/" + objectID, `{"accountEnabled":"false"}`, nil},
		"no body":            {"POST", confirm, "", nil},
		"body unasked":       {"POST", "/v1.0/users/" + objectID + "/revokeSignInSessions", "{}", nil},
		"enum":               {"PATCH", "/v1.0/security/alerts_v2/a1", `{"determination":"compromisedUser"}`, nil},
		"no content type":    {"POST", "/v1.0/$batch", `{"requests":[{"id":"1","method":"POST","url":"/identityProtection/riskyUsers/dismiss","headers":{"client-request-id":"x"},"body":` + ids + `}]}`, nil},
		"part outside":       {"POST", "/v1.0/$batch", `{"requests":[{"id":"1","method":"GET","url":"/nowhere","headers":{"client-request-id":"x","Prefer":"include-unknown-enum-members"}}]}`, nil},
		"part twice":         {"POST", "/v1.0/$batch", `{"requests":[{"id":"a","method":"POST","url":"/users/1/revokeSignInSessions","headers":{"client-request-id":"x"}},{"id":"A","method":"POST","url":"/users/1/revokeSignInSessions","headers":{"client-request-id":"x"}}]}`, nil},
		"depends on a later": {"POST", "/v1.0/$batch", `{"requests":[{"id":"a","dependsOn":["b"],"method":"POST","url":"/users/1/revokeSignInSessions","headers":{"client-request-id":"x"}}]}`, nil},
	} {
		if err := contract.Check(request(x.method, x.path, x.body, x.change)); err == nil {
			t.Errorf("%s: not caught", name)
		}
	}
}

// TestPublishedExamples reads every answer that Microsoft publishes, the wrong
// ones too: nothing fails as a whole, nothing is lost.
func TestPublishedExamples(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shared(t), "data", "graph-examples")
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Files []struct {
			File, Path, Method, Direction, Version string
			Status                                 int
		}
	}
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	type object struct {
		ID                                        string
		AccountEnabled                            bool
		DetectedDateTime, RiskLastUpdatedDateTime graph.Time
		CreatedDateTime, LastUpdateDateTime       graph.Time
	}
	pages, objects := 0, 0
	for _, f := range index.Files {
		if f.Direction != "response" || f.Path == "" {
			continue
		}
		body, err := os.ReadFile(filepath.Join(dir, f.File))
		if err != nil {
			t.Fatal(err)
		}
		c, err := graph.New(graph.Options{BaseURL: "https://graph.microsoft.com", Tokens: graphtest.Token(token), Transport: always(f.Status, string(body))})
		if err != nil {
			t.Fatal(err)
		}
		if f.Status == 429 {
			continue // TestErrorBodies
		}
		var whole struct{ Value json.RawMessage }
		if json.Unmarshal(body, &whole) != nil || !strings.HasPrefix(string(whole.Value), "[") {
			var out map[string]any
			if _, err := c.Do(t.Context(), graph.Request{Method: f.Method, Path: f.Path, Out: &out}); err != nil || len(out) == 0 {
				t.Errorf("%s: %v", f.File, err)
			}
			continue
		}
		n := 0
		for p, err := range graph.Pages[object](t.Context(), c, graph.Request{Path: f.Path}, graph.Paging{MaxPages: 1}) {
			if err != nil && n == 0 {
				t.Errorf("%s: %v", f.File, err)
			}
			for _, o := range p.Objects {
				objects++
				if !json.Valid(o.Raw) || o.Err != nil && o.Value.ID == "" && strings.Contains(string(o.Raw), `"id"`) {
					t.Errorf("%s: an object is lost: %v", f.File, o.Err)
				}
			}
			n++
		}
		pages++
	}
	if pages < 15 || objects < 20 {
		t.Errorf("%d pages with %d objects were read", pages, objects)
	}
}
