package secrettest_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/secret/secrettest"
)

// recorder stands in for a test, to see whether Absent would fail it.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

type leaky struct{ cause error }

func (leaky) Error() string   { return "nothing to see" }
func (l leaky) Unwrap() error { return l.cause }

func TestAbsentFindsLeaks(t *testing.T) {
	t.Parallel()
	const s = "p@ss word/42"
	for name, tc := range map[string]struct {
		thing any
		leaks bool
	}{
		"plain":           {s, true},
		"bytes":           {[]byte(s), true},
		"wrapped error":   {fmt.Errorf("x: %w", errors.New(s)), true},
		"hidden below":    {leaky{errors.New(s)}, true},
		"joined below":    {errors.Join(errors.New("a"), leaky{errors.New("b " + s)}), true},
		"private field":   {struct{ a []string }{[]string{s}}, true},
		"JSON only":       {struct{ A string }{s}, true},
		"base64":          {base64.StdEncoding.EncodeToString([]byte(s)), true},
		"in a URL":        {"https://x/?q=p%40ss+word%2F42", true},
		"nothing":         {errors.New("p@ss"), false},
		"nil":             {nil, false},
		"a clean pointer": {&struct{ A string }{"x"}, false},
	} {
		r := &recorder{TB: t}
		secrettest.Absent(r, s, tc.thing)
		if r.failed != tc.leaks {
			t.Errorf("%s: found is %v, want %v", name, r.failed, tc.leaks)
		}
	}
}
