package httpapi_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/httpapi"
)

// TestAnswersAreAsTheDocumentSays validates what the API answers against its own
// document (huma's 3.0 rendering of it, which a validator exists for).
func TestAnswersAreAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	s := start(t, httpapi.Options{})
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/openapi-3.0.json", nil))
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("the document: %v", err)
	}
	doc.Servers = nil
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range operations(t, s.handler) {
		for _, token := range []string{desktest.Token("owner"), "nobody"} {
			s := start(t, httpapi.Options{})
			if strings.Contains(op.id, "campaign") {
				s.propose(t)
			}
			row := s.rows()[op.id]
			r := httptest.NewRequest(op.method, row.path, strings.NewReader(row.body))
			r.Header.Set("Authorization", "Bearer "+token)
			if row.body != "" {
				r.Header.Set("Content-Type", "application/json")
			}
			route, params, err := router.FindRoute(r)
			if err != nil {
				t.Errorf("%s: %v", op.id, err)
				continue
			}
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			in := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
				Status:                 w.Code, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(w.Body.Bytes())),
				Options: &openapi3filter.Options{IncludeResponseStatus: true},
			}
			if err := openapi3filter.ValidateResponse(t.Context(), in); err != nil {
				t.Errorf("%s as %s: %d: %v", op.id, token, w.Code, err)
			}
		}
	}
}
