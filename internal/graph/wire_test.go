package graph_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/graph/graphtest"
)

// serve starts a Graph over TLS, with HTTP/2 where h2, and returns a client
// of it.
func serve(t testing.TB, h2 bool, h http.HandlerFunc) (*graph.Client, *httptest.Server) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = h2
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // made to fail
	s.StartTLS()
	t.Cleanup(s.Close)
	return clientOf(t, s, s.URL), s
}

func clientOf(t testing.TB, s *httptest.Server, base string) *graph.Client {
	t.Helper()
	rt, err := graph.NewTransport("")
	if err != nil {
		t.Fatal(err)
	}
	rt.TLSClientConfig.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	t.Cleanup(rt.CloseIdleConnections)
	c, err := graph.New(graph.Options{BaseURL: base, Tokens: graphtest.Token(token), Transport: rt, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestARequestOnTheWire(t *testing.T) {
	t.Parallel()
	type wire struct {
		Method, URI, Body string
		Header            http.Header
	}
	headers := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	cases := map[string]struct {
		in   graph.Request
		want wire
	}{
		"a read": {
			graph.Request{Path: graph.Path("users", "a b/c?d#é"), ClientRequestID: "one", Query: url.Values{"$select": {"id,accountEnabled"}, "$filter": {"startswith(x,'a+b c')"}}, Eventual: true},
			wire{"GET", "/v1.0/users/a%20b%2Fc%3Fd%23%C3%A9?$filter=startswith%28x%2C%27a%2Bb%20c%27%29&$select=id%2CaccountEnabled", "",
				headers("Accept", "application/json", "Authorization", "Bearer "+token, "Client-Request-Id", "one", "User-Agent", "cordon",
					"Prefer", "include-unknown-enum-members", "ConsistencyLevel", "eventual")},
		},
		"a write": {
			graph.Request{Method: "PATCH", Path: "/users/u1", Body: map[string]any{"accountEnabled": false, "note": "<&>"}, Priority: graph.High, ClientRequestID: "two"},
			wire{"PATCH", "/v1.0/users/u1", `{"accountEnabled":false,"note":"<&>"}`,
				headers("Accept", "application/json", "Authorization", "Bearer "+token, "Client-Request-Id", "two", "User-Agent", "cordon",
					"Content-Type", "application/json", "Content-Length", "37", "X-Ms-Throttle-Priority", "high")},
		},
		"a write without a body": {
			graph.Request{Method: "POST", Path: "/users/u1/revokeSignInSessions", ClientRequestID: "three"},
			wire{"POST", "/v1.0/users/u1/revokeSignInSessions", "",
				headers("Accept", "application/json", "Authorization", "Bearer "+token, "Client-Request-Id", "three", "User-Agent", "cordon", "Content-Length", "0")},
		},
		"beta": {
			graph.Request{Path: "/identityProtection/riskyAgents", Beta: true, ClientRequestID: "four"},
			wire{"GET", "/beta/identityProtection/riskyAgents", "",
				headers("Accept", "application/json", "Authorization", "Bearer "+token, "Client-Request-Id", "four", "User-Agent", "cordon", "Prefer", "include-unknown-enum-members")},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got wire
			c, _ := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				got = wire{r.Method, r.RequestURI, string(b), r.Header.Clone()}
				w.Header().Set("request-id", "r1")
				w.Header().Set("x-ms-resource-unit", "3")
				w.Header().Set("x-ms-throttle-limit-percentage", "0.87")
				w.Header().Set("x-ms-ags-diagnostic", "{}")
				w.Header().Set("Date", now.Format(http.TimeFormat))
				io.WriteString(w, "\xef\xbb\xbf{}")
			})
			res, err := c.Do(t.Context(), tc.in)
			if err != nil {
				t.Fatal(err)
			}
			got.Header.Del("Accept-Encoding") // the transport's own
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			want := graph.Response{Status: 200, RequestID: "r1", ClientRequestID: tc.in.ClientRequestID, Diagnostic: "{}", Date: now,
				Throttle: graph.Throttle{ResourceUnits: 3, Percentage: 0.87}, Body: json.RawMessage("{}")}
			if d := cmp.Diff(want, res); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRequestsThatMustNotBeSent(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]graph.Request{
		"no slash":                         {Path: "users"},
		"a query in the path":              {Path: "/users?$top=1"},
		"a fragment":                       {Path: "/users#x"},
		"a space":                          {Path: "/users/a b"},
		"a line feed":                      {Path: "/users/a\nHost: x"},
		"dots":                             {Path: "/users/../applications"},
		"escaped dots":                     {Path: "/users/%2e%2E/applications"},
		"an id is missing":                 {Path: graph.Path("users", "", "revokeSignInSessions")},
		"an id of dots":                    {Path: graph.Path("users", "..", "revokeSignInSessions")},
		"bad escape":                       {Path: "/users/%zz"},
		"method":                           {Method: "TRACE", Path: "/users"},
		"a member without $ref":            {Method: "DELETE", Path: graph.Path("groups", "g1", "members", "u1")},
		"a role member without $ref":       {Method: "DELETE", Path: graph.Path("directoryRoles", "r1", "Members", "u1")},
		"an owner without $ref":            {Method: "DELETE", Path: graph.Path("applications", "a1", "owners", "u1")},
		"GET with a body":                  {Path: "/users", Body: 1},
		"a body that is no JSON":           {Method: "POST", Path: "/users", Body: func() {}},
		"a priority of somebody's making":  {Path: "/users", Priority: "urgent"},
		"a client-request-id with a break": {Path: "/users", ClientRequestID: "a\r\nX: y"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, func(*http.Request) (*http.Response, error) {
				t.Error("it was sent")
				return graphtest.Answer(204, ""), nil
			})
			if _, err := c.Do(t.Context(), r); !errors.Is(err, fault.Invalid) {
				t.Errorf("%v, want invalid", err)
			}
			if _, err := c.Batch(t.Context(), []graph.Part{{Request: r}}); !errors.Is(err, fault.Invalid) {
				t.Errorf("in a batch: %v, want invalid", err)
			}
		})
	}
	// What looks like it, and is meant.
	c := client(t, always(204, ""))
	for _, path := range []string{graph.Path("groups", "g1", "members", "u1", "$ref"), graph.Path("users", "u1")} {
		if _, err := c.Do(t.Context(), graph.Request{Method: "DELETE", Path: path}); err != nil {
			t.Errorf("DELETE %s: %v", path, err)
		}
	}
}

func TestRedirectsAndOtherHostsGetNoToken(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	_, elsewhere := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.WriteString(w, `{"value":[]}`)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		c, _ := serve(t, status%2 == 0, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/v1.0/users", status)
		})
		for _, method := range []string{"GET", "POST"} {
			res, err := c.Do(t.Context(), graph.Request{Method: method, Path: "/users"})
			if !errors.Is(err, fault.Unavailable) || res.Status != status || res.Location != "" {
				t.Errorf("%s %d: %v, %v", method, status, res, err)
			}
		}
	}
	links := []string{
		elsewhere.URL + "/v1.0/users?$skiptoken=x",
		"http://HOST/v1.0/users", "https://HOST@evil.example/v1.0/users", "https://user:pw@HOST/v1.0/users",
		"https://HOST.evil.example/v1.0/users", "//evil.example/v1.0/users", "https://HOST/oauth2/v1.0/users", "https://HOST/v1.0",
		"/v1.0/users?$skiptoken=2", "::", "https://[::1", "javascript:alert(1)",
	}
	for _, link := range links {
		for _, key := range []string{"nextLink", "deltaLink"} {
			var host string
			c, s := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, `{"value":[{"id":"1"}],"@odata.%s":%q}`, key, strings.ReplaceAll(link, "HOST", host))
			})
			host = strings.TrimPrefix(s.URL, "https://")
			n := 0
			var last error
			for _, err := range graph.Pages[any](t.Context(), c, graph.Request{Path: "/users"}, graph.Paging{}) {
				n, last = n+1, err
			}
			if !errors.Is(last, fault.Unavailable) || n != 1 {
				t.Errorf("%s %s: %d pages, %v", key, link, n, last)
			}
			for _, err := range graph.Pages[any](t.Context(), c, graph.Request{Path: "/users"}, graph.Paging{Start: strings.ReplaceAll(link, "HOST", host)}) {
				last = err
			}
			if !errors.Is(last, fault.Unavailable) {
				t.Errorf("start %s: %v", link, last)
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("another host was asked %d times", n)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		chunk := bytes.Repeat([]byte(" "), 1<<16)
		for range 200 << 20 / len(chunk) { // 200 MB, unless the client hangs up
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	bomb := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		chunk := bytes.Repeat([]byte("a"), 1<<16)
		for range 200 << 20 / len(chunk) {
			if _, err := z.Write(chunk); err != nil {
				return
			}
		}
		z.Close()
	}
	for name, h := range map[string]http.HandlerFunc{"endless": endless, "gzip": bomb} {
		c, _ := serve(t, true, h)
		_, err := c.Do(t.Context(), graph.Request{Path: "/users"})
		if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "limit of 32 MiB") {
			t.Errorf("%s: %v does not name the limit", name, err)
		}
		_, err = c.Do(t.Context(), graph.Request{Method: "POST", Path: "/users", MaxBody: 1000})
		if !errors.Is(err, fault.Unknown) || !strings.Contains(err.Error(), "limit of 1000 bytes") {
			t.Errorf("%s: a write with an unreadable success: %v, want unknown", name, err)
		}
	}
	exact := client(t, always(200, `{"a":1}`))
	if _, err := exact.Do(t.Context(), graph.Request{Path: "/users", MaxBody: 7}); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
}

func TestUnreadableAnswers(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"cut": `{"id":"1","accountEn`, "no JSON": `<html>`, "two objects": `{}{}`, "wrong type": `{"id":[1]}`, "empty": ``,
		"deep": strings.Repeat(`[`, 20_000), "not UTF-8": "\xff\xfe",
	} {
		c := client(t, always(200, body))
		var out struct{ ID string }
		if _, err := c.Do(t.Context(), graph.Request{Path: "/users/1", Out: &out}); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%s, read: %v, want unavailable", name, err)
		}
		res, err := c.Do(t.Context(), graph.Request{Method: "POST", Path: "/users/1", Out: &out})
		if want := map[bool]fault.Kind{true: "", false: fault.Unknown}[name == "empty"]; fault.KindOf(err) != want {
			t.Errorf("%s, write: %v, want %q", name, err, want)
		}
		if res.Status != 200 {
			t.Errorf("%s: the status is lost", name)
		}
	}
	// Microsoft: revokeSignInSessions may answer 200, 201, 202 or 204.
	for _, status := range []int{200, 201, 202, 204} {
		var out struct{ Value bool }
		c := client(t, always(status, ""))
		if _, err := c.Do(t.Context(), graph.Request{Method: "POST", Path: "/users/1/revokeSignInSessions", Out: &out}); err != nil {
			t.Errorf("%d without a body: %v", status, err)
		}
	}
}

// TestBrokenConnections covers law 3: what may have reached Graph is unknown,
// and only that.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	reset := func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		conn.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn).SetLinger(0)
		conn.(interface{ NetConn() net.Conn }).NetConn().Close()
	}
	cases := map[string]struct {
		h2   bool
		h    http.HandlerFunc
		want fault.Kind // of a write
	}{
		"reset after the request was read": {false, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			reset(w)
		}, fault.Unknown},
		"stream reset in HTTP/2": {true, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, fault.Unknown},
		"the success is cut": {false, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"value":`)
			w.(http.Flusher).Flush()
			reset(w)
		}, fault.Unknown},
		"the refusal is cut": {false, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(403)
			w.(http.Flusher).Flush()
			reset(w)
		}, fault.Denied},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := serve(t, tc.h2, tc.h)
			for _, method := range []string{"POST", "PATCH", "DELETE"} {
				_, err := c.Do(t.Context(), graph.Request{Method: method, Path: "/users/u1"})
				if got := fault.KindOf(err); got != tc.want {
					t.Errorf("%s: %v: %q, want %q", method, err, got, tc.want)
				}
			}
			want := tc.want
			if want == fault.Unknown {
				want = fault.Unavailable
			}
			if _, err := c.Do(t.Context(), graph.Request{Path: "/users/u1"}); !errors.Is(err, want) {
				t.Errorf("GET: %v, want %s", err, want)
			}
		})
	}
}

func TestNeverSentIsUnavailable(t *testing.T) {
	t.Parallel()
	_, closed := serve(t, false, func(http.ResponseWriter, *http.Request) {})
	gone := clientOf(t, closed, closed.URL)
	closed.Close()

	_, s := serve(t, false, func(w http.ResponseWriter, r *http.Request) { t.Error("a request came through") })
	plain, err := graph.NewTransport("")
	if err != nil {
		t.Fatal(err)
	}
	untrusted, err := graph.New(graph.Options{BaseURL: s.URL, Tokens: graphtest.Token(token), Transport: plain})
	if err != nil {
		t.Fatal(err)
	}

	// A listener that accepts and never speaks TLS.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	mute := clientOf(t, s, "https://"+l.Addr().String())

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	alive, _ := serve(t, false, func(w http.ResponseWriter, r *http.Request) { t.Error("a request came through") })

	for name, tc := range map[string]struct {
		c   *graph.Client
		ctx context.Context
		is  error
	}{
		"refused":              {gone, t.Context(), nil},
		"untrusted":            {untrusted, t.Context(), nil},
		"no handshake":         {mute, t.Context(), nil},
		"cancelled beforehand": {alive, cancelled, context.Canceled},
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			_, err := tc.c.Do(tc.ctx, graph.Request{Method: method, Path: "/users/u1", Timeout: 300 * time.Millisecond})
			if !errors.Is(err, fault.Unavailable) || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%s, %s: %v, want unavailable", name, method, err)
			}
			var e *graph.Error
			if !errors.As(err, &e) || e.Status != 0 || e.ClientRequestID == "" {
				t.Errorf("%s: %#v", name, e)
			}
		}
	}
}

func TestGivingUpOnAWriteIsUnknown(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		arrived := make(chan struct{}, 10)
		c, _ := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			arrived <- struct{}{}
			<-r.Context().Done()
			// An answer given now could still overtake the closing of the
			// client's connection, and would be believed.
			panic(http.ErrAbortHandler)
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := c.Do(ctx, graph.Request{Method: "PATCH", Path: "/users/u1", Body: map[string]bool{"accountEnabled": false}})
			done <- err
		}()
		<-arrived
		cancel()
		if err := <-done; !errors.Is(err, fault.Unknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v, want unknown and context.Canceled", err)
		}
		// A busy machine may need longer than the timeout to open a connection:
		// then nothing was sent, and the error says so. What counts is the try
		// that arrived.
		var err error
		for timeout := 50 * time.Millisecond; ; timeout *= 2 {
			_, err = c.Do(t.Context(), graph.Request{Method: "POST", Path: "/users/u1/revokeSignInSessions", Timeout: timeout})
			if len(arrived) > 0 || timeout > 10*time.Second {
				break
			}
		}
		if !errors.Is(err, fault.Unknown) || !strings.Contains(err.Error(), "request timeout") || !strings.Contains(err.Error(), "read before repeating") {
			t.Errorf("timeout: %v", err)
		}
		if _, err = c.Do(t.Context(), graph.Request{Path: "/users/u1", Timeout: 50 * time.Millisecond}); !errors.Is(err, fault.Unavailable) {
			t.Errorf("timeout of a read: %v, want unavailable", err)
		}
	}
}

// A transport that does not report what it does is believed only when it says
// that it could not dial.
func TestSilentTransports(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"reset":   {errors.New("connection reset by peer"), fault.Unknown},
		"read":    {&net.OpError{Op: "read", Err: io.ErrUnexpectedEOF}, fault.Unknown},
		"dial":    {fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: errors.New("no route")}), fault.Unavailable},
		"no name": {&net.DNSError{Name: "graph.cordon.example", IsNotFound: true}, fault.Unavailable},
	} {
		c := client(t, func(*http.Request) (*http.Response, error) { return nil, tc.err })
		if _, err := c.Do(t.Context(), graph.Request{Method: "POST", Path: "/users"}); !errors.Is(err, tc.want) || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
		if _, err := c.Do(t.Context(), graph.Request{Path: "/users"}); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%s, read: %v", name, err)
		}
	}
}

// TestTheLineIsAConnection drives the reports of a transport by hand: one that
// lost an idle connection before writing on it and then could not dial has
// sent nothing.
func TestTheLineIsAConnection(t *testing.T) {
	t.Parallel()
	for steps, want := range map[string]fault.Kind{
		"look": fault.Unavailable, "look got": fault.Unknown, "look got look": fault.Unavailable, "look got look got": fault.Unknown,
	} {
		c := client(t, func(r *http.Request) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(r.Context())
			for _, s := range strings.Fields(steps) {
				if s == "look" {
					trace.GetConn("graph.cordon.example:443")
				} else {
					trace.GotConn(httptrace.GotConnInfo{})
				}
			}
			return nil, errors.New("broken")
		})
		if _, err := c.Do(t.Context(), graph.Request{Method: "POST", Path: "/users"}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %s", steps, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := client(t, func(r *http.Request) (*http.Response, error) {
		t.Error("sent although nobody waits")
		return nil, errors.New("broken")
	})
	if _, err := c.Do(ctx, graph.Request{Method: "POST", Path: "/users"}); !errors.Is(err, fault.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled beforehand: %v", err)
	}
}

// TestOneWriteIsOneTransmission counts what arrives when the far side drops
// every connection: net/http must not repeat a write behind our back.
func TestOneWriteIsOneTransmission(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	c, _ := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			w.WriteHeader(204) // keeps the connection for the write that follows
			return
		}
		seen.Add(1)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	const writes = 20
	for range writes {
		if _, err := c.Do(t.Context(), graph.Request{Path: "/users/u1"}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do(t.Context(), graph.Request{Method: "POST", Path: "/users/u1/revokeSignInSessions"}); !errors.Is(err, fault.Unknown) {
			t.Fatalf("%v, want unknown", err)
		}
	}
	if n := seen.Load(); n != writes {
		t.Errorf("%d requests arrived, want %d", n, writes)
	}
}

func TestNewChecksItsOptions(t *testing.T) {
	t.Parallel()
	rt := always(204, "")
	for _, base := range []string{"", "http://graph.cordon.example", "graph.cordon.example", "https://", "https://u:p@graph.cordon.example",
		"https://graph.cordon.example/v1.0", "https://graph.cordon.example?x=1", "https://graph.cordon.example/#x", "https://a b", "mailto:x", "%"} {
		_, err := graph.New(graph.Options{BaseURL: base, Tokens: graphtest.Token(token), Transport: rt})
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, want invalid", base, err)
		}
		if err != nil && strings.Contains(err.Error(), "u:p") {
			t.Errorf("%v shows a password", err)
		}
	}
	if _, err := graph.New(graph.Options{BaseURL: "https://graph.cordon.example"}); !errors.Is(err, fault.Invalid) {
		t.Errorf("without tokens and transport: %v", err)
	}
	c := client(t, rt)
	if got, want := c.ObjectURL("a/b"), "https://graph.cordon.example/v1.0/directoryObjects/a%2Fb"; got != want {
		t.Errorf("ObjectURL = %q, want %q", got, want)
	}
}

func TestRequestIDsAreGUIDs(t *testing.T) {
	t.Parallel()
	c, err := graph.New(graph.Options{BaseURL: "https://graph.cordon.example", Tokens: graphtest.Token(token), Transport: always(204, "")})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 100 {
		res, err := c.Do(t.Context(), graph.Request{Path: "/users"})
		if err != nil {
			t.Fatal(err)
		}
		id := res.ClientRequestID
		if seen[id] || len(id) != 36 || id[14] != '4' || !strings.Contains("89ab", id[19:20]) {
			t.Fatalf("%q is no fresh random GUID", id)
		}
		seen[id] = true
	}
}
