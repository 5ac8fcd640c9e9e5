// Package secrettest is the shared assertion that nothing reveals a secret.
package secrettest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
)

// Absent fails the test when any way of writing down one of the things shows
// the secret: the fmt verbs, log/slog as text and JSON, encoding/json, and for
// errors every error below it. The secret is also looked for in base64 and
// URL-encoded form. A secret under 8 bytes is refused: it would be found by
// chance.
func Absent(t testing.TB, secret string, things ...any) {
	t.Helper()
	if len(secret) < 8 {
		t.Fatalf("secrettest: a secret of %d bytes proves nothing", len(secret))
	}
	needles := []string{
		secret,
		url.QueryEscape(secret),
		url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
	if q, err := json.Marshal(secret); err == nil {
		needles = append(needles, strings.Trim(string(q), `"`))
	}
	for _, thing := range things {
		for how, text := range written(thing) {
			for _, n := range needles {
				if strings.Contains(text, n) {
					// The text itself stays out of the test log for the same reason.
					t.Errorf("%T written as %s shows the secret", thing, how)
					break
				}
			}
		}
	}
}

func written(thing any) map[string]string {
	out := map[string]string{}
	if s, ok := thing.(string); ok {
		out["text"] = s
	}
	if b, ok := thing.([]byte); ok {
		out["bytes"] = string(b)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		out[verb] = fmt.Sprintf(verb, thing)
	}
	if b, err := json.Marshal(thing); err == nil {
		out["JSON"] = string(b)
	}
	var text, js bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Error("x", "thing", thing)
	slog.New(slog.NewJSONHandler(&js, nil)).Error("x", "thing", thing)
	out["slog text"], out["slog JSON"] = text.String(), js.String()
	if err, ok := thing.(error); ok {
		below(err, out, "error")
	}
	return out
}

func below(err error, out map[string]string, how string) {
	out[how] = err.Error() + fmt.Sprintf("%+v", err)
	switch u := err.(type) {
	case interface{ Unwrap() []error }:
		for i, e := range u.Unwrap() {
			if e != nil {
				below(e, out, fmt.Sprintf("%s.%d", how, i))
			}
		}
	default:
		if e := errors.Unwrap(err); e != nil {
			below(e, out, how+".0")
		}
	}
}
