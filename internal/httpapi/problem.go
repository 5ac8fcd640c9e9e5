package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// ProblemType begins the type of every problem; the fault kind follows, with
// hyphens for spaces.
const ProblemType = "urn:cordon:fault:"

var statuses = []struct {
	kind   fault.Kind
	status int
}{
	{fault.Invalid, http.StatusBadRequest},
	{fault.NotFound, http.StatusNotFound},
	{fault.Conflict, http.StatusConflict},
	{fault.Denied, http.StatusForbidden},
	{fault.Held, http.StatusLocked},
	{fault.Unavailable, http.StatusServiceUnavailable},
	{fault.Unknown, http.StatusBadGateway},
}

// A failure is a problem with what HTTP needs besides the body.
type failure struct {
	*huma.ErrorModel
	after time.Duration
}

// GetHeaders says when to come back, where the far side said so.
func (f failure) GetHeaders() http.Header {
	h := http.Header{}
	if f.after > 0 {
		h.Set("Retry-After", strconv.Itoa(int(f.after/time.Second)+1))
	}
	if f.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="cordon"`)
	}
	return h
}

// problem is the one place where an error becomes an answer. An error without a
// kind is our own mistake: it is told to nobody.
func problem(err error) failure {
	p := failure{ErrorModel: &huma.ErrorModel{
		Type: ProblemType + "internal", Title: "internal error", Status: http.StatusInternalServerError,
		Detail: "Cordon made a mistake; its log says more",
	}}
	var nobody errNobody
	if errors.As(err, &nobody) {
		p.Type, p.Title, p.Status, p.Detail = ProblemType+"unauthenticated", "nobody is signed in", http.StatusUnauthorized, nobody.text
		return p
	}
	var wait errWait
	if errors.As(err, &wait) {
		p.Type, p.Title, p.Status, p.Detail = ProblemType+"unavailable", "too many failed sign-ins", http.StatusTooManyRequests, err.Error()
		p.after, _ = fault.RetryAfter(err)
		return p
	}
	for _, s := range statuses {
		if !errors.Is(err, s.kind) {
			continue
		}
		p.Type = ProblemType + strings.ReplaceAll(string(s.kind), " ", "-")
		p.Title, p.Status, p.Detail = string(s.kind), s.status, err.Error()
		if after, ok := fault.RetryAfter(err); ok {
			p.after = after
		}
		break
	}
	return p
}

// told logs what only we can mend and returns what the caller gets.
func (s *server) told(ctx context.Context, operation string, err error) failure {
	p := problem(err)
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		// The caller is gone: nobody reads the answer.
	case p.Status == http.StatusInternalServerError:
		s.log.ErrorContext(ctx, "request went wrong", "operation", operation, "error", err)
	}
	return p
}

func (s *server) write(w http.ResponseWriter, r *http.Request, err error) {
	writeProblem(w, s.told(r.Context(), r.Method+" "+r.URL.Path, err))
}

func writeProblem(w http.ResponseWriter, p failure) {
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	b, err := json.Marshal(p.ErrorModel)
	if err == nil {
		_, _ = w.Write(b) // the caller may be gone; there is nobody else to tell
	}
}

// named gives huma's own refusals (a field too many, a word that is none) the
// type of ours.
func named(_ huma.Context, _ string, v any) (any, error) {
	if m, ok := v.(*huma.ErrorModel); ok && m.Type == "" {
		m.Type = ProblemType + "invalid"
	}
	return v, nil
}
