package graphtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// A Contract is Microsoft's description of the part of Graph that we use, v1.0
// and beta, as OpenAPI generated from the service's own metadata.
type Contract struct {
	versions map[string]version // by "/v1.0" and "/beta"
}

type version struct {
	doc    *openapi3.T
	router routers.Router
}

// An Operation is one call that the contract knows.
type Operation struct {
	Method string
	Path   string // with its {parameters}, below the version root
	Beta   bool
	Spec   *openapi3.Operation
}

// Load reads the contract from the folder that CORDON_SHARED names. Without
// that variable the test is skipped; with it, a missing file is a failure.
func Load(t testing.TB) *Contract {
	t.Helper()
	if os.Getenv("CORDON_SHARED") == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// load parses the contract once per process, which takes a fifth of a second.
var load = sync.OnceValues(func() (*Contract, error) {
	c := &Contract{versions: map[string]version{}}
	for root, file := range map[string]string{"/v1.0": "graph-v1.0-subset.yaml", "/beta": "graph-beta-subset.yaml"} {
		doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(os.Getenv("CORDON_SHARED"), "contract", file))
		if err != nil {
			return nil, err
		}
		doc.Servers = openapi3.Servers{{URL: root}} // any host
		router, err := gorillamux.NewRouter(doc)
		if err != nil {
			return nil, err
		}
		c.versions[root] = version{doc, router}
	}
	return c, nil
})

// Operations returns all calls of the contract in a stable order.
func (c *Contract) Operations() []Operation {
	var out []Operation
	for _, root := range []string{"/v1.0", "/beta"} {
		for path, item := range c.versions[root].doc.Paths.Map() {
			for method, op := range item.Operations() {
				out = append(out, Operation{method, path, root == "/beta", op})
			}
		}
	}
	slices.SortFunc(out, func(a, b Operation) int { return strings.Compare(a.key(), b.key()) })
	return out
}

func (o Operation) key() string { return fmt.Sprint(o.Beta, o.Path, o.Method) }

// Strict returns a transport that fails the test for every request that the
// contract does not describe, and then hands it to next.
func (c *Contract) Strict(t testing.TB, next http.RoundTripper) http.RoundTripper {
	return Transport(func(r *http.Request) (*http.Response, error) {
		var body []byte
		if r.Body != nil {
			var err error
			if body, err = io.ReadAll(r.Body); err != nil {
				return nil, err
			}
			r.Body.Close()
		}
		fresh := func() *http.Request {
			again := r.Clone(r.Context())
			again.Body = io.NopCloser(bytes.NewReader(body))
			return again
		}
		if err := c.Check(fresh()); err != nil {
			t.Errorf("%s %s is not in Graph's contract: %v", r.Method, r.URL.Path, err)
		}
		return next.RoundTrip(fresh())
	})
}

// Check validates a request, and each request inside a $batch, in the strict
// direction: known path and method, known query options, declared and
// well-formed body fields, the headers that every request of ours carries.
func (c *Contract) Check(r *http.Request) error {
	if r.URL.Scheme != "https" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		return errors.New("not https with a bearer token")
	}
	root, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if _, ok := c.versions["/"+root]; !ok {
		return fmt.Errorf("no version root /%s", root)
	}
	if rest == "$batch" {
		return c.checkBatch(r, "/"+root)
	}
	return c.checkOne(r)
}

func (c *Contract) checkOne(r *http.Request) error {
	if r.Header.Get("client-request-id") == "" {
		return errors.New("no client-request-id")
	}
	if r.Method == http.MethodGet && !strings.Contains(r.Header.Get("Prefer"), "include-unknown-enum-members") {
		return errors.New("a read without Prefer: include-unknown-enum-members")
	}
	root, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	route, params, err := c.versions["/"+root].router.FindRoute(r)
	if err != nil {
		return err
	}
	if err := checkQuery(r, route); err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err := checkBody(route, body); err != nil {
		return err
	}
	return openapi3filter.ValidateRequest(context.Background(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			MultiError:         true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			// What a schema calls read-only is nothing to send.
			ExcludeReadOnlyValidations: false,
		},
	})
}

// opaque are the query options that only come out of a nextLink or deltaLink.
var opaque = []string{"$skiptoken", "$deltatoken", "$skip"}

func checkQuery(r *http.Request, route *routers.Route) error {
	known := map[string]bool{}
	for _, ps := range []openapi3.Parameters{route.PathItem.Parameters, route.Operation.Parameters} {
		for _, p := range ps {
			if p.Value.In == "query" {
				known[p.Value.Name] = true
			}
		}
	}
	for name := range r.URL.Query() {
		if !known[name] && !slices.Contains(opaque, name) {
			return fmt.Errorf("query option %s is not declared", name)
		}
	}
	return nil
}

// checkBody finds undeclared fields: the contract's objects are open, so a
// misspelt field would pass the validator and do nothing at Graph.
func checkBody(route *routers.Route, body []byte) error {
	declared := route.Operation.RequestBody
	if declared == nil {
		if len(body) > 0 {
			return errors.New("a body where none is declared")
		}
		return nil
	}
	if len(body) == 0 {
		return nil // whether one is required is the validator's business
	}
	content := declared.Value.Content.Get("application/json")
	if content == nil {
		return errors.New("no JSON body is declared")
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	return undeclared(content.Schema, v, "body")
}

func undeclared(s *openapi3.SchemaRef, v any, at string) error {
	switch v := v.(type) {
	case map[string]any:
		fields := map[string]*openapi3.SchemaRef{}
		if !fieldsOf(s, fields) {
			return nil // a type whose fields are not described
		}
		for name, x := range v {
			if strings.Contains(name, "@odata.") {
				continue
			}
			f, ok := fields[name]
			if !ok {
				return fmt.Errorf("%s.%s is not declared", at, name)
			}
			if err := undeclared(f, x, at+"."+name); err != nil {
				return err
			}
		}
	case []any:
		if s != nil && s.Value != nil && s.Value.Items != nil {
			for i, x := range v {
				if err := undeclared(s.Value.Items, x, fmt.Sprintf("%s[%d]", at, i)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// fieldsOf collects the declared fields of s and of what it extends. It
// reports false for a type that may have more: a base with derived types.
func fieldsOf(s *openapi3.SchemaRef, into map[string]*openapi3.SchemaRef) bool {
	if s == nil || s.Value == nil {
		return false
	}
	if _, ok := s.Value.Extensions["x-ms-derived-types"]; ok {
		return false
	}
	for name, p := range s.Value.Properties {
		into[name] = p
	}
	for _, base := range s.Value.AllOf {
		if !fieldsOf(base, into) {
			return false
		}
	}
	return len(into) > 0
}

func (c *Contract) checkBatch(r *http.Request, root string) error {
	if r.Method != http.MethodPost {
		return errors.New("$batch takes POST")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var b struct {
		Requests []struct {
			ID, Method, URL string
			Headers         map[string]string
			Body            json.RawMessage
			DependsOn       []string
		}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return err
	}
	if n := len(b.Requests); n == 0 || n > 20 {
		return fmt.Errorf("%d requests in a batch of 1 to 20", n)
	}
	ids := map[string]bool{}
	var errs []error
	for _, p := range b.Requests {
		part, err := http.NewRequest(p.Method, r.URL.Scheme+"://"+r.URL.Host+root+"/"+strings.TrimPrefix(p.URL, "/"), bytes.NewReader(p.Body))
		if err != nil {
			errs = append(errs, fmt.Errorf("part %s: %w", p.ID, err))
			continue
		}
		for name, v := range p.Headers {
			part.Header.Set(name, v)
		}
		switch {
		case ids[strings.ToLower(p.ID)] || p.ID == "":
			err = errors.New("id missing or given twice")
		case len(p.Body) > 0 && part.Header.Get("Content-Type") == "":
			err = errors.New("a body without Content-Type in its headers")
		default:
			for _, dep := range p.DependsOn {
				if !ids[strings.ToLower(dep)] {
					err = fmt.Errorf("depends on %q, which is not before it", dep)
				}
			}
		}
		ids[strings.ToLower(p.ID)] = true
		if err == nil {
			err = c.checkOne(part)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("part %s: %w", p.ID, err))
		}
	}
	return errors.Join(errs...)
}
