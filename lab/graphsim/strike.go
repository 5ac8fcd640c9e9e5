package graphsim

import (
	"maps"
	"net/http"
	"strings"
	"time"
)

// before applies the faults that strike before a request has an effect. nil
// lets it through.
func (t *Tenant) before(r *request, s struck) *outcome {
	if _, ok := s.find("reset-before"); ok {
		return &outcome{cut: true}
	}
	if _, ok := s.find("expired-token"); ok {
		return t.failure(r, expiredToken())
	}
	if f, ok := s.find("429", "500", "503", "504"); ok {
		return t.refusal(r, f)
	}
	if _, ok := s.find("dismiss-500"); ok && r.method == http.MethodPost && strings.HasSuffix(strings.ToLower(r.path), "/dismiss") {
		return t.failure(r, &graphError{500, "InternalServerError", "An unexpected error occurred while dismissing the risk."})
	}
	return nil
}

// refusal words an injected 429 or 5xx.
func (t *Tenant) refusal(r *request, f Fault) *outcome {
	var g *graphError
	def := time.Duration(0)
	switch f.Kind {
	case "429":
		g, def = &graphError{429, "TooManyRequests", "Too many requests. Please retry again later."}, 10*time.Second
	case "503":
		g = &graphError{503, "serviceNotAvailable", "The service is temporarily unavailable. Try again later."}
	case "504", "504-after":
		g = &graphError{504, "UnknownError", "The gateway did not receive a response in time."}
	default:
		g = &graphError{500, "InternalServerError", "An unexpected error occurred."}
	}
	o := t.failure(r, g)
	after := def
	if f.RetryAfter == "none" {
		after = 0
	} else if f.RetryAfter != "" {
		after, _ = time.ParseDuration(f.RetryAfter) // checked by ParseFault
	}
	if after > 0 {
		form := t.opts.Limits.RetryAfter
		if f.Date {
			form = "date"
		}
		setRetryAfter(o.header, form, time.Duration(float64(after)/t.opts.Speed), r.now)
	}
	return o
}

// after applies the faults that strike once the effect has taken place, to
// the answer alone.
func (t *Tenant) after(r *request, s struck, o *outcome) *outcome {
	if o.cut {
		return o
	}
	if _, ok := s.find("reset-after"); ok {
		return &outcome{cut: true}
	}
	if f, ok := s.find("504-after"); ok {
		return t.refusal(r, f)
	}
	if o.status >= 300 || len(o.body) == 0 {
		return o
	}
	if _, ok := s.find("malformed"); ok {
		o.body = o.body[:len(o.body)*2/3]
	}
	if f, ok := s.find("oversized"); ok {
		if o.pad = f.Size; o.pad == 0 {
			o.pad = 64 << 20
		}
	}
	return o
}

// enumFields are properties whose values come from a closed list.
var enumFields = []string{
	"riskLevel", "riskState", "riskDetail", "riskEventType", "severity", "status", "classification",
	"determination", "serviceSource", "detectionSource", "userType", "healthStatus",
}

// withUnknownEnum returns v with one enumerated value of each member turned
// into one that no document names. v itself is left alone.
func withUnknownEnum(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	m = maps.Clone(m)
	if list, ok := m["value"].([]any); ok {
		out := make([]any, len(list))
		for i := range list {
			out[i] = withUnknownEnum(list[i])
		}
		m["value"] = out
		return m
	}
	for _, f := range enumFields {
		if s, ok := m[f].(string); ok && s != "" {
			m[f] = "labUnheardOf"
			break
		}
	}
	return m
}
