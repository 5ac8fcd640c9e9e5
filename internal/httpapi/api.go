// Package httpapi is Cordon over HTTP for programs: JSON under /api/ with its
// OpenAPI 3.1 document at /api/openapi.json, problem+json for every error, and
// the probes /healthz, /readyz and /metrics. It knows nothing the desk does not
// tell it and decides nothing but who is asking.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/push"
)

// maxBody bounds a request's body in bytes: the largest honest one is a reason
// of 2,000 bytes.
const maxBody = 64 << 10

// Options is what the API is made of. Desk and Operators are needed.
type Options struct {
	Desk      *desk.Service
	Operators *desk.Operators
	// Session returns the operator of the console's session cookie; nil means only
	// bearer tokens sign in.
	Session func(*http.Request) (access.Operator, bool)
	// Push takes what others send; nil means nobody may.
	Push    func(context.Context, push.Request) (push.Answer, error)
	Version string       // of the build, for the document
	Log     *slog.Logger // nil means none
}

type server struct {
	desk      *desk.Service
	operators *desk.Operators
	session   func(*http.Request) (access.Operator, bool)
	log       *slog.Logger
	api       huma.API
}

// New returns the handler of everything under /api/.
func New(o Options) (http.Handler, error) {
	if o.Desk == nil || o.Operators == nil {
		return nil, fault.Errorf(fault.Invalid, "httpapi: options Desk and Operators are needed")
	}
	s := &server{desk: o.Desk, operators: o.Operators, session: o.Session, log: o.Log}
	if s.session == nil {
		s.session = func(*http.Request) (access.Operator, bool) { return access.Operator{}, false }
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	c := huma.DefaultConfig("Cordon", orDev(o.Version))
	c.Info.Description = "What operators see and do. Every error is application/problem+json; its type says what the caller may do about it."
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "/api/openapi", "", ""
	c.Formats = map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}
	c.CreateHooks = nil // no $schema fields in answers
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{named}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer", Description: "An operator's API token."},
		"sender":  {Type: "apiKey", In: "header", Name: "Cordon-Signature", Description: "A signature with a sender's secret."},
		"session": {Type: "apiKey", In: "cookie", Name: "cordon_session", Description: "The console's session; same-origin requests only."},
	}
	c.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	s.api = humago.New(mux, c)
	s.routes()
	s.pushes(o.Push)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, r, fault.Errorf(fault.NotFound, "no endpoint %s %s; see /api/openapi.json", r.Method, r.URL.Path))
	})
	return s.outer(mux), nil
}

// schemaName names a schema after the package and the type, because several
// packages have a Ref, a Request or a Verdict of their own: "PlaybookRef". The
// desk's are named by the type alone.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	pkg := path.Base(t.PkgPath())
	if t.Name() == "" || pkg == "desk" || pkg == "httpapi" || pkg == "huma" || pkg == "v2" || pkg == "." {
		return name
	}
	return strings.ToUpper(pkg[:1]) + pkg[1:] + name
}

func orDev(v string) string {
	if v == "" {
		return "dev"
	}
	return v
}

// outer bounds the body, sets what every answer carries and catches panics.
func (s *server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		r.Body = http.MaxBytesReader(w, r.Body, limitOf(r)+1)
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				s.log.ErrorContext(r.Context(), "handler panicked", "method", r.Method, "path", r.URL.Path, "panic", v)
				writeProblem(w, problem(nil))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// who is the operator behind a request. It lives in the request's context
// between the middleware and the handler below, because huma hands handlers
// nothing else; it goes no further.
type who struct{}

// signIn finds out who is asking, by token or by session cookie.
func (s *server) signIn(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	op, err := s.caller(r)
	if err != nil {
		s.write(w, r, err)
		return
	}
	next(huma.WithValue(ctx, who{}, op))
}

// errNobody is not a fault kind: it says the caller is unknown, which HTTP tells
// apart from what a known caller may not do.
type errNobody struct{ text string }

func (e errNobody) Error() string { return e.text }

// errWait says that an address failed to sign in too often.
type errWait struct{ err error }

func (e errWait) Error() string { return e.err.Error() }
func (e errWait) Unwrap() error { return e.err }

func (s *server) caller(r *http.Request) (access.Operator, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "bearer") {
			return access.Operator{}, errNobody{"sign in with \"Authorization: Bearer TOKEN\""}
		}
		op, err := s.operators.ByToken(strings.TrimSpace(token), Address(r))
		switch {
		case errors.Is(err, fault.Denied):
			return op, errNobody{err.Error()}
		case err != nil:
			return op, errWait{err}
		}
		return op, nil
	}
	op, ok := s.session(r)
	if !ok {
		return op, errNobody{"nobody is signed in; send \"Authorization: Bearer TOKEN\""}
	}
	// A cookie travels by itself; what another site made the browser send is refused.
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return op, fault.Errorf(fault.Denied, "the request came from another site: %w", err)
	}
	return op, nil
}

// Address is the network address of whoever sent r, without the port: what
// failed sign-ins are counted by.
func Address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// register adds one endpoint. The permission stands in the document; the desk
// checks it.
func register[I, O any](s *server, p access.Permission, op huma.Operation, serve func(context.Context, access.Operator, *I) (*O, error)) {
	op.MaxBodyBytes = maxBody
	op.Middlewares = huma.Middlewares{s.signIn}
	op.Errors = []int{400, 401, 403, 404, 409, 423, 429, 500, 503}
	op.Description = strings.TrimSpace(op.Description + " Needs the permission \"" + string(p) + "\".")
	op.Extensions = map[string]any{"x-permission": string(p)}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		caller, _ := ctx.Value(who{}).(access.Operator) // the zero operator may nothing
		out, err := serve(ctx, caller, in)
		if err != nil {
			return nil, s.told(ctx, op.OperationID, err)
		}
		return out, nil
	})
}
