package graph_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/graph/graphtest"
)

// sane checks what must hold for every error of the client, whatever Graph
// sends: a kind, one short printable line, a bounded wait.
func sane(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var e *graph.Error
	if !errors.As(err, &e) || fault.KindOf(err) == "" {
		t.Fatalf("%v has no kind", err)
	}
	text := err.Error()
	if len(text) > 3000 || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r\x00\x1b\u202e\u200b") {
		t.Errorf("%q is not one short printable line", text)
	}
	if e.RetryAfter < 0 || e.RetryAfter > 24*time.Hour {
		t.Errorf("asks to wait %v", e.RetryAfter)
	}
	if strings.Contains(text, token) {
		t.Error("the token is shown")
	}
}

func FuzzErrorBody(f *testing.F) {
	f.Add(403, []byte(`{"error":{"code":"Authorization_RequestDenied","message":"m","innerError":{"date":"2025","request-id":"r","innererror":{"code":"x"}}}}`), "10")
	f.Add(429, []byte(``), "Tue, 24 Nov 2026 10:00:30 GMT")
	f.Add(410, []byte(`{"error":{"code":400,"message":[1]}}`), "-1")
	f.Add(200, []byte(`{"id":"1","accountEnabled":true}`), "")
	f.Add(500, []byte("\xff\x00\u202e"), "1e309")
	f.Fuzz(func(t *testing.T, status int, body []byte, retryAfter string) {
		if status < 100 || status > 599 {
			return
		}
		c := client(t, func(*http.Request) (*http.Response, error) {
			res := graphtest.Answer(status, string(body), "Retry-After", retryAfter, "x-ms-throttle-scope", retryAfter, "request-id", retryAfter,
				"x-ms-throttle-limit-percentage", retryAfter, "x-ms-resource-unit", retryAfter, "Location", retryAfter, "Date", retryAfter)
			return res, nil
		})
		var out user
		for _, r := range []graph.Request{{Path: "/users/u1", Out: &out}, {Method: "POST", Path: "/users/u1", Out: &out}} {
			res, err := c.Do(t.Context(), r)
			sane(t, err)
			if success := status >= 200 && status <= 299; err == nil && !success || res.Status != status {
				t.Errorf("%d became %v, %v", status, res, err)
			}
			if p := res.Throttle.Percentage; !(p >= 0 && p < 1e9) {
				t.Errorf("percentage %v", p)
			}
		}
	})
}

func FuzzPage(f *testing.F) {
	f.Add([]byte(`{"value":[{"id":"1","accountEnabled":true}],"@odata.nextLink":"https://graph.cordon.example/v1.0/users?$skiptoken=a","@odata.count":1}`))
	f.Add([]byte(`{"value":[7,null,"x",{"id":[]}],"@odata.deltaLink":"https://graph.cordon.example/beta/users/delta?$deltatoken=a"}`))
	f.Add([]byte(`{"value":null,"@odata.nextLink":"https://graph.cordon.example@evil.example/v1.0/"}`))
	f.Add([]byte(`{"VALUE":[],"@odata.nextlink":"//evil.example/v1.0/x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := client(t, func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" || r.URL.Host != "graph.cordon.example" && r.URL.Host != "graph.cordon.example:443" && !strings.EqualFold(r.URL.Hostname(), "graph.cordon.example") {
				t.Fatalf("the token went to %s", r.URL)
			}
			return graphtest.Answer(200, string(body)), nil
		})
		n := 0
		for p, err := range graph.Pages[user](t.Context(), c, graph.Request{Path: "/users"}, graph.Paging{MaxPages: 5}) {
			sane(t, err)
			for _, o := range p.Objects {
				if !json.Valid(o.Raw) {
					t.Errorf("%q is kept as raw", o.Raw)
				}
			}
			if n++; n > 6 {
				t.Fatal("the limit of pages does not hold")
			}
		}
	})
}

func FuzzBatchAnswer(f *testing.F) {
	f.Add(200, []byte(`{"responses":[{"id":"1","status":204},{"id":"2","status":429,"headers":{"retry-after":"5"},"body":{"error":{"code":"x"}}}]}`))
	f.Add(424, []byte(`{"responses":[{"id":1,"status":"200","headers":null,"body":"text"},{"id":"ghost"}]}`))
	f.Add(200, []byte(`{"responses":[{"id":"1","status":200,"headers":{"Location":"https://evil.example","Retry-After":{}}}]}`))
	f.Add(500, []byte(`{}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 100 || status > 599 {
			return
		}
		c := client(t, always(status, string(body)))
		var out user
		res, err := c.Batch(t.Context(), []graph.Part{
			{Request: graph.Request{Path: "/users/u1", Out: &out}},
			{Request: graph.Request{Method: "POST", Path: "/users/u1/revokeSignInSessions"}, DependsOn: []string{"1"}},
		})
		sane(t, err)
		if err != nil {
			if len(res.Parts) != 0 {
				t.Error("an error about the whole, and parts")
			}
			return
		}
		if len(res.Parts) != 2 || res.Parts[0].ID != "1" || res.Parts[1].ID != "2" {
			t.Fatalf("%+v", res.Parts)
		}
		for _, p := range res.Parts {
			sane(t, p.Err)
			if p.Err == nil && (p.Response.Status < 200 || p.Response.Status > 299) {
				t.Errorf("status %d is a success", p.Response.Status)
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"10", "Tue, 24 Nov 2026 10:00:30 GMT", "-1", "1e400", "NaN", "0x10", " 7 ", ""} {
		f.Add(s, "Tue, 24 Nov 2026 10:00:00 GMT")
	}
	f.Fuzz(func(t *testing.T, after, date string) {
		c := client(t, always(429, "", "Retry-After", after, "Date", date))
		_, err := c.Do(t.Context(), graph.Request{Path: "/users"})
		sane(t, err)
		if !errors.Is(err, fault.Unavailable) {
			t.Errorf("%v", err)
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{`"2021-10-26T16:28:17.8202975Z"`, `"0001-01-01T00:00:00Z"`, `null`, `""`, `7`, `"2021-10-26T16:28:17.8202975Z)"`, `"2021-10-26T16:28:17+14:00"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if !json.Valid(in) {
			return
		}
		var got graph.Time
		if err := json.Unmarshal(in, &got); err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if !got.At.IsZero() && (got.Malformed() || got.At.Location() != time.UTC) {
			t.Errorf("%s: %+v", in, got)
		}
		out, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var again graph.Time
		if err := json.Unmarshal(out, &again); err != nil || !again.At.Equal(got.At) || again.Malformed() != got.Malformed() {
			t.Errorf("%s: %+v became %+v (%v)", in, got, again, err)
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add("users", "u1", "$ref")
	f.Add("..", "%2e%2e", "a/b?c#d")
	f.Add("", "\x00", "é\u202e")
	f.Fuzz(func(t *testing.T, a, b, id string) {
		sent := ""
		c := client(t, func(r *http.Request) (*http.Response, error) {
			sent = r.URL.EscapedPath()
			if r.URL.Host != "graph.cordon.example" || r.URL.RawQuery != "" {
				t.Errorf("sent to %s", r.URL)
			}
			return graphtest.Answer(204, ""), nil
		})
		_, err := c.Do(t.Context(), graph.Request{Method: "POST", Path: graph.Path(a, b, id)})
		if err != nil {
			sane(t, err)
			return
		}
		if strings.Count(sent, "/") != 4 || !strings.HasPrefix(sent, "/v1.0/") {
			t.Errorf("three segments became %q", sent)
		}
	})
}
