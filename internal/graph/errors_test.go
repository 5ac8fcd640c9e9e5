package graph_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/graph/graphtest"
	"github.com/seed-f47efad2/cordon/internal/secret/secrettest"
)

const token = "eyJ0eXAiOiJKV1QifQ.c2VjcmV0LXRva2VuLWZvci10ZXN0cw.c2ln"

var now = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// client returns a client whose requests answer handles in process.
func client(t testing.TB, answer graphtest.Transport) *graph.Client {
	t.Helper()
	n := 0
	c, err := graph.New(graph.Options{
		BaseURL: "https://graph.cordon.example", Tokens: graphtest.Token(token), Transport: answer,
		Now:   func() time.Time { return now },
		NewID: func() string { n++; return fmt.Sprintf("id-%d", n) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func always(status int, body string, header ...string) graphtest.Transport {
	return func(*http.Request) (*http.Response, error) { return graphtest.Answer(status, body, header...), nil }
}

// TestEveryStatus walks through all statuses, so that a new rule for one does
// not silently change another.
func TestEveryStatus(t *testing.T) {
	t.Parallel()
	type want struct{ read, write fault.Kind }
	both := func(k fault.Kind) want { return want{k, k} }
	doubt := want{fault.Unavailable, fault.Unknown}
	special := map[int]want{
		401: both(fault.Denied), 402: both(fault.Denied), 403: both(fault.Denied), 407: both(fault.Denied), 451: both(fault.Denied),
		404: both(fault.NotFound),
		408: both(fault.Unavailable), 424: both(fault.Unavailable), 425: both(fault.Unavailable), 429: both(fault.Unavailable),
		409: both(fault.Conflict), 410: both(fault.Conflict), 412: both(fault.Conflict), 423: both(fault.Conflict),
		501: both(fault.Invalid), 505: both(fault.Invalid),
		503: both(fault.Unavailable),
	}
	for status := 200; status < 600; status++ {
		w, ok := special[status]
		switch {
		case ok:
		case status < 300:
			w = both("")
		case status < 400:
			w = both(fault.Unavailable)
		case status < 500:
			w = both(fault.Invalid)
		default:
			w = doubt
		}
		c := client(t, always(status, `{"error":{"code":"X","message":"m"}}`, "Retry-After", "7"))
		for method, kind := range map[string]fault.Kind{"GET": w.read, "POST": w.write, "PATCH": w.write, "DELETE": w.write} {
			res, err := c.Do(t.Context(), graph.Request{Method: method, Path: "/users/u1"})
			if got := fault.KindOf(err); got != kind {
				t.Errorf("%s %d: kind %q, want %q", method, status, got, kind)
			}
			if res.Status != status || res.ClientRequestID == "" {
				t.Errorf("%s %d: response %v", method, status, res)
			}
			if after, ok := fault.RetryAfter(err); kind != "" && (!ok || after != 7*time.Second) {
				t.Errorf("%s %d: RetryAfter = %v, %v", method, status, after, ok)
			}
			if got := errors.Is(err, graph.ErrResync); got != (status == 410) {
				t.Errorf("%s %d: ErrResync is %v", method, status, got)
			}
		}
		if w.write == fault.Unknown {
			if _, err := c.Do(t.Context(), graph.Request{Method: "POST", Path: "/directoryObjects/getByIds", ReadOnly: true}); !errors.Is(err, fault.Unavailable) {
				t.Errorf("read-only POST %d: %v, want unavailable", status, err)
			}
		}
	}
}

func TestErrorBodies(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		status int
		body   string
		header []string
		want   graph.Error
	}{
		"as documented": {
			403, `{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges to complete the operation.","innerError":{"date":"2025-02-13T10:17:06","request-id":"r-inner"}}}`,
			[]string{"request-id", "r-header"},
			graph.Error{Code: "Authorization_RequestDenied", Message: "Insufficient privileges to complete the operation.", RequestID: "r-header", Kind: fault.Denied},
		},
		"an empty code, the id only inside, innererror in lower case": {
			403, `{"error":{"code":"","message":"no","innererror":{"code":"Inner","request-id":"r-inner","innererror":{"code":"Innermost"}}}}`, nil,
			graph.Error{Code: "Innermost", InnerCode: "Innermost", Message: "no", RequestID: "r-inner", Kind: fault.Denied},
		},
		"throttled with scope": {
			429, `{"error":{"code":"TooManyRequests","innerError":{"code":"429"},"message":"Please retry again later."}}`,
			[]string{"Retry-After", "10", "x-ms-throttle-scope", "Tenant_Application/Write/app/tenant"},
			graph.Error{Code: "TooManyRequests", InnerCode: "429", Message: "Please retry again later.", Kind: fault.Unavailable,
				RetryAfter: 10 * time.Second, HasRetryAfter: true, Scope: "Tenant_Application/Write/app/tenant"},
		},
		"throttled without a word": {429, ``, nil, graph.Error{Kind: fault.Unavailable}},
		"resync with a place to start": {
			410, `{"error":{"code":"resyncRequired","message":"x"}}`, []string{"Location", "https://graph.cordon.example/v1.0/users/delta?$deltatoken="},
			graph.Error{Code: "resyncRequired", Message: "x", Kind: fault.Conflict, Location: "https://graph.cordon.example/v1.0/users/delta?$deltatoken="},
		},
		"resync that leads elsewhere": {
			410, `{"error":{"code":"resyncRequired","message":"x"}}`, []string{"Location", "https://elsewhere.example/v1.0/users/delta"},
			graph.Error{Code: "resyncRequired", Message: "x", Kind: fault.Conflict},
		},
		"a proxy's page":       {503, `<html><body>Service Unavailable</body></html>`, nil, graph.Error{Kind: fault.Unavailable}},
		"numbers for texts":    {400, `{"error":{"code":400,"message":["a",1]}}`, nil, graph.Error{Code: "400", Message: `["a",1]`, Kind: fault.Invalid}},
		"a text for the error": {400, `{"error":"invalid_request"}`, nil, graph.Error{Kind: fault.Invalid}},
		"hostile texts": {
			400, `{"error":{"code":"a\u0000b\nc","message":"line one\r\nlevel=ERROR msg=forged \u202e\u001b[31m"}}`, nil,
			graph.Error{Code: "ab c", Message: "line one  level=ERROR msg=forged [31m", Kind: fault.Invalid},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, always(tc.status, tc.body, tc.header...))
			_, err := c.Do(t.Context(), graph.Request{Path: "/users/u1"})
			var got *graph.Error
			if !errors.As(err, &got) {
				t.Fatalf("%v is no *graph.Error", err)
			}
			tc.want.Status, tc.want.Method, tc.want.Path, tc.want.ClientRequestID = tc.status, "GET", "/v1.0/users/u1", "id-1"
			if d := cmp.Diff(tc.want, *got); d != "" {
				t.Error(d)
			}
			if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
				t.Errorf("%q is not one printable line", err)
			}
		})
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	t.Parallel()
	c := client(t, always(400, `{"error":{"code":"`+strings.Repeat("c", 5000)+`","message":"`+strings.Repeat("é", 100_000)+`"}}`))
	_, err := c.Do(t.Context(), graph.Request{Path: "/users"})
	if n := len(err.Error()); n > 1500 {
		t.Errorf("the text has %d bytes", n)
	}
}

func TestErrorsTellWhatToDo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		code   string
		want   string
	}{
		"permission": {403, "Authorization_RequestDenied", "grant the app the permission"},
		"licence":    {403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant", "lacks the Entra ID P1 or P2 licence"},
		"redirect":   {302, "", "check graph_url"},
		"resync":     {410, "resyncRequired", "read from the start"},
		"token":      {401, "InvalidAuthenticationToken", "check tenant, cloud and the app registration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, always(tc.status, `{"error":{"code":"`+tc.code+`"}}`))
			if _, err := c.Do(t.Context(), graph.Request{Path: "/users"}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v does not say %q", err, tc.want)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	date := now.Add(-3 * time.Hour) // our clock is three hours ahead of Graph's
	for in, want := range map[string]time.Duration{
		"10": 10 * time.Second, " 3 ": 3 * time.Second, "0": 0, "1.5": 1500 * time.Millisecond, "-5": 0,
		"99999999999999999999": 24 * time.Hour, "1e300": 24 * time.Hour, "Inf": 24 * time.Hour, "-Inf": 0,
		date.Add(2 * time.Minute).Format(http.TimeFormat): 2 * time.Minute,
		date.Add(-time.Hour).Format(http.TimeFormat):      0,
		date.AddDate(10, 0, 0).Format(http.TimeFormat):    24 * time.Hour,
		"":        -1, // absent
		"NaN":     -1,
		"shortly": -1,
	} {
		c := client(t, always(429, "", "Retry-After", in, "Date", date.Format(http.TimeFormat)))
		_, err := c.Do(t.Context(), graph.Request{Path: "/users"})
		var e *graph.Error
		if !errors.As(err, &e) || !errors.Is(err, fault.Unavailable) {
			t.Fatalf("%q: %v", in, err)
		}
		if e.HasRetryAfter != (want >= 0) || e.HasRetryAfter && e.RetryAfter != want {
			t.Errorf("Retry-After %q: %v, %v; want %v", in, e.RetryAfter, e.HasRetryAfter, want)
		}
	}
	// Without a Date the date counts from our own clock.
	c := client(t, always(429, "", "Retry-After", now.Add(time.Minute).Format(http.TimeFormat)))
	if _, err := c.Do(t.Context(), graph.Request{Path: "/users"}); err != nil {
		if after, _ := fault.RetryAfter(err); after != time.Minute {
			t.Errorf("after %v, want 1m", after)
		}
	}
}

// stubborn is a token source that brings a new token each time.
type stubborn struct{ n int }

func (s *stubborn) Token(context.Context) (string, error) { return fmt.Sprintf("token-%d", s.n), nil }
func (s *stubborn) Drop(string) bool                      { s.n++; return true }

func TestUnauthorizedOnceIsAnOldTokenTwiceIsARefusal(t *testing.T) {
	t.Parallel()
	good := "token-1"
	c, err := graph.New(graph.Options{
		BaseURL: "https://graph.cordon.example", Tokens: &stubborn{},
		Transport: graphtest.Transport(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Authorization") == "Bearer "+good {
				return graphtest.Answer(204, ""), nil
			}
			return graphtest.Answer(401, `{"error":{"code":"InvalidAuthenticationToken"}}`), nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	do := func() error {
		_, err := c.Do(t.Context(), graph.Request{Method: "POST", Path: "/users/u1/revokeSignInSessions"})
		return err
	}
	if err := do(); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("the first 401: %v, want unavailable", err)
	}
	if err := do(); err != nil {
		t.Fatalf("with the new token: %v", err)
	}
	good = "none"
	if err := do(); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("the next first 401: %v, want unavailable", err)
	}
	if err := do(); !errors.Is(err, fault.Denied) {
		t.Fatalf("the second token refused: %v, want denied", err)
	}
}

func TestNothingShowsTokenOrSecret(t *testing.T) {
	t.Parallel()
	const password = "Tq9!vW3#kLm7&zXc2Rt5"
	quote := func(status int) graphtest.Transport {
		return always(status, fmt.Sprintf(`{"error":{"code":%q,"message":"the password %s and Bearer %s","innerError":{"code":%q,"request-id":%q}}}`,
			password, password, token, token, password))
	}
	r := graph.Request{
		Method: "PATCH", Path: "/users/u1", Secrets: []string{password},
		Body: map[string]any{"passwordProfile": map[string]any{"password": password}},
	}
	var things []any
	for _, transport := range []graphtest.Transport{
		quote(400), quote(401), quote(429), quote(503),
		always(200, `{"temporaryAccessPass":"`+password+`"}`),
		func(*http.Request) (*http.Response, error) { return nil, errors.New("connection lost: " + token) },
	} {
		c := client(t, transport)
		res, err := c.Do(t.Context(), r)
		things = append(things, res, &res, c)
		if err != nil {
			things = append(things, err)
		}
		batch, err := c.Batch(t.Context(), []graph.Part{{Request: r}})
		things = append(things, batch)
		if err != nil {
			things = append(things, err)
		}
	}
	things = append(things, r.String(), graph.Part{Request: r}.String())
	secrettest.Absent(t, password, things...)
	secrettest.Absent(t, token, things...)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		secrettest.Absent(t, password, fmt.Sprintf(verb, r), fmt.Sprintf(verb, graph.Part{Request: r}))
	}
}
