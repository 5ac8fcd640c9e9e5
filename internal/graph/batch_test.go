package graph_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/graph/graphtest"
)

func TestBatchOnTheWire(t *testing.T) {
	t.Parallel()
	var path, body, prefer string
	c := client(t, func(r *http.Request) (*http.Response, error) {
		b, _ := io.ReadAll(r.Body)
		path, body, prefer = r.Method+" "+r.URL.Path, string(b), r.Header.Get("Prefer")
		return graphtest.Answer(200, `{"responses":[{"id":"3","status":204,"headers":{"location":null}},{"id":"DISABLE","status":204},{"id":"2","status":200,"body":{"id":"u2"}}]}`), nil
	})
	var out user
	res, err := c.Batch(t.Context(), []graph.Part{
		{ID: "disable", Request: graph.Request{Method: "PATCH", Path: "/users/u1", Body: map[string]bool{"accountEnabled": false}, Priority: graph.High, ClientRequestID: "mine"}},
		{Request: graph.Request{Path: "/users/u2", Query: url.Values{"$select": {"id"}}, Out: &out}},
		{DependsOn: []string{"Disable"}, Request: graph.Request{Method: "POST", Path: "/users/u1/revokeSignInSessions"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if path != "POST /v1.0/$batch" || prefer != "" {
		t.Errorf("sent as %s with Prefer %q", path, prefer)
	}
	want := `{"requests":[` +
		`{"id":"disable","method":"PATCH","url":"/users/u1","headers":{"Accept":"application/json","Client-Request-Id":"mine","Content-Type":"application/json","X-Ms-Throttle-Priority":"high"},"body":{"accountEnabled":false}},` +
		`{"id":"2","method":"GET","url":"/users/u2?$select=id","headers":{"Accept":"application/json","Client-Request-Id":"id-1","Prefer":"include-unknown-enum-members"}},` +
		`{"id":"3","method":"POST","url":"/users/u1/revokeSignInSessions","headers":{"Accept":"application/json","Client-Request-Id":"id-2"},"dependsOn":["Disable"]}]}`
	if d := cmp.Diff(want, body); d != "" {
		t.Error(d)
	}
	for i, p := range res.Parts {
		if p.Err != nil || p.ID != []string{"disable", "2", "3"}[i] || p.Response.ClientRequestID != []string{"mine", "id-1", "id-2"}[i] {
			t.Errorf("part %d: %+v", i, p)
		}
	}
	if out.ID != "u2" {
		t.Errorf("part 2 was decoded as %+v", out)
	}
}

func parts(n int) []graph.Part {
	out := make([]graph.Part, n)
	for i := range out {
		out[i].Request = graph.Request{Method: "POST", Path: fmt.Sprintf("/users/u%d/revokeSignInSessions", i+1)}
	}
	return out
}

func TestBatchAnswers(t *testing.T) {
	t.Parallel()
	const answer = `{"responses":[
		{"id":"2","status":429,"headers":{"retry-after":"7","X-MS-Throttle-Scope":"Tenant_Application/Write/a/t"},"body":{"error":{"code":"TooManyRequests","message":"m"}}},
		{"id":"1","status":204,"headers":{"x-ms-resource-unit":"1","REQUEST-ID":"r1"},"body":null},
		{"id":"3","status":429,"headers":{"Retry-After":20}},
		{"id":"4","status":424,"body":{"error":{"code":"FailedDependency"}}},
		{"id":"5","status":403,"body":{"error":{"code":"","message":"no"}}},
		{"id":"6","status":"503","headers":null},
		{"id":"7","status":504},
		{"id":"8","status":302,"headers":{"location":"https://elsewhere.example/"}},
		{"id":"9","status":0},
		{"id":"9","status":204},
		{"id":"11","status":4290},
		{"id":"ghost\u0000","status":204},
		{"id":12,"status":204}
	]}`
	for _, outer := range []int{200, 424, 429} { // Microsoft's pages differ on the outer status
		c := client(t, always(outer, answer, "Date", now.Format(http.TimeFormat)))
		res, err := c.Batch(t.Context(), parts(12))
		if err != nil {
			t.Fatal(outer, err)
		}
		type row struct {
			Kind   fault.Kind
			Status int
			After  time.Duration
			Has    bool
		}
		var got []row
		for _, p := range res.Parts {
			r := row{Kind: fault.KindOf(p.Err), Status: p.Response.Status}
			var e *graph.Error
			if errors.As(p.Err, &e) {
				r.After, r.Has = e.RetryAfter, e.HasRetryAfter
			}
			got = append(got, r)
		}
		want := []row{
			{"", 204, 0, false},
			{fault.Unavailable, 429, 7 * time.Second, true},
			{fault.Unavailable, 429, 20 * time.Second, true},
			{fault.Unavailable, 424, 0, false},
			{fault.Denied, 403, 0, false},
			{fault.Unavailable, 503, 0, false},
			{fault.Unknown, 504, 0, false},
			{fault.Unavailable, 302, 0, false},
			{fault.Unknown, 0, 0, false},    // a status that is none; the second answer does not count
			{fault.Unknown, 0, 0, false},    // no answer
			{fault.Unknown, 4290, 0, false}, // nonsense
			{"", 204, 0, false},             // an id that came as a number
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]string{"ghost"}, res.Strange); d != "" {
			t.Error(d)
		}
		if r := res.Parts[0].Response; r.RequestID != "r1" || r.Throttle.ResourceUnits != 1 || !r.Date.Equal(now) {
			t.Errorf("part 1: %+v", r)
		}
	}
}

func TestBatchAsAWhole(t *testing.T) {
	t.Parallel()
	reads := []graph.Part{{Request: graph.Request{Path: "/users/u1"}}, {Request: graph.Request{Path: "/users/u2"}}}
	for name, tc := range map[string]struct {
		transport   graphtest.Transport
		read, write fault.Kind
	}{
		"throttled":    {always(429, `{"error":{"code":"TooManyRequests"}}`, "Retry-After", "3"), fault.Unavailable, fault.Unavailable},
		"refused":      {always(400, `{"error":{"code":"BadRequest"}}`), fault.Invalid, fault.Invalid},
		"gateway":      {always(504, ``), fault.Unavailable, fault.Unknown},
		"no envelope":  {always(200, `{}`), fault.Unavailable, fault.Unknown},
		"no JSON":      {always(200, `<html>`), fault.Unavailable, fault.Unknown},
		"empty":        {always(200, `{"responses":[]}`), fault.Unavailable, fault.Unknown},
		"null":         {always(200, `{"responses":null}`), fault.Unavailable, fault.Unknown},
		"wrong":        {always(200, `{"responses":{"id":"1"}}`), fault.Unavailable, fault.Unknown},
		"no answer":    {func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, fault.Unavailable, fault.Unknown},
		"unauthorized": {always(401, `{"error":{"code":"InvalidAuthenticationToken"}}`), fault.Denied, fault.Denied},
	} {
		c := client(t, tc.transport)
		for kind, p := range map[fault.Kind][]graph.Part{tc.read: reads, tc.write: append(parts(1), reads...)} {
			if tc.read == tc.write && len(p) == 2 {
				continue // one key, one entry
			}
			res, err := c.Batch(t.Context(), p)
			if !errors.Is(err, kind) || len(res.Parts) != 0 {
				t.Errorf("%s, %d parts: %v and %d results, want %s", name, len(p), err, len(res.Parts), kind)
			}
		}
		if tc.read == tc.write {
			if _, err := c.Batch(t.Context(), reads); !errors.Is(err, tc.read) {
				t.Errorf("%s, reads: %v", name, err)
			}
		}
	}
}

func TestBatchesThatAreRefused(t *testing.T) {
	t.Parallel()
	with := func(n int, change func([]graph.Part)) []graph.Part {
		p := parts(n)
		if change != nil {
			change(p)
		}
		return p
	}
	for name, p := range map[string][]graph.Part{
		"none":               nil,
		"21":                 with(21, nil),
		"an id twice":        with(2, func(p []graph.Part) { p[0].ID, p[1].ID = "a", "A" }),
		"an id given to two": with(2, func(p []graph.Part) { p[0].ID = "2" }),
		"a hostile id":       with(1, func(p []graph.Part) { p[0].ID = "a\n" }),
		"mixed versions":     with(2, func(p []graph.Part) { p[1].Beta = true }),
		"depends on itself":  with(1, func(p []graph.Part) { p[0].DependsOn = []string{"1"} }),
		"depends on a later": with(2, func(p []graph.Part) { p[0].DependsOn = []string{"2"} }),
		"depends on nobody":  with(1, func(p []graph.Part) { p[0].DependsOn = []string{"x"} }),
	} {
		c := client(t, func(*http.Request) (*http.Response, error) { t.Error("sent"); return graphtest.Answer(200, "{}"), nil })
		if _, err := c.Batch(t.Context(), p); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

// flaky refuses each part a number of times, as Graph would: a dependent of a
// refused part fails with 424.
func flaky(t *testing.T, refusals map[string]int, after map[string]string) (graphtest.Transport, *[]string) {
	var log []string
	return func(r *http.Request) (*http.Response, error) {
		var b struct {
			Requests []struct {
				ID        string
				DependsOn []string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
			t.Error(err)
		}
		failed := map[string]bool{}
		var ids, out []string
		for _, p := range b.Requests {
			ids = append(ids, strings.Join(append([]string{p.ID}, p.DependsOn...), "<"))
			status := 204
			for _, d := range p.DependsOn {
				if failed[d] {
					status = 424
				}
			}
			if status == 204 && refusals[p.ID] > 0 {
				refusals[p.ID]--
				status = 429
			}
			failed[p.ID] = status != 204
			header := "{}"
			if a := after[p.ID]; status == 429 && a != "" {
				header = fmt.Sprintf(`{"Retry-After":%q}`, a)
			}
			out = append(out, fmt.Sprintf(`{"id":%q,"status":%d,"headers":%s}`, p.ID, status, header))
		}
		log = append(log, strings.Join(ids, " "))
		return graphtest.Answer(200, `{"responses":[`+strings.Join(out, ",")+`]}`), nil
	}, &log
}

func TestBatchResend(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		refusals map[string]int
		after    map[string]string
		resend   graph.Resend
		log      []string
		took     time.Duration
		left     string // ids that still have an error
	}{
		"not asked to": {map[string]int{"1": 1}, map[string]string{"1": "5"}, graph.Resend{}, []string{"1 2<1 3"}, 0, "12"},
		"the largest wait, only what was refused": {map[string]int{"1": 1, "3": 2}, map[string]string{"1": "5", "3": "30"},
			graph.Resend{Times: 5, Wait: time.Hour}, []string{"1 2<1 3", "1 2<1 3", "3"}, time.Minute, ""},
		"a dependency that succeeded is dropped": {map[string]int{"2": 1}, map[string]string{"2": "2"},
			graph.Resend{Times: 1, Wait: time.Hour}, []string{"1 2<1 3", "2"}, 2 * time.Second, ""},
		"without Retry-After": {map[string]int{"3": 1}, nil, graph.Resend{Times: 5, Wait: time.Hour}, []string{"1 2<1 3"}, 0, "3"},
		"longer than allowed": {map[string]int{"3": 1}, map[string]string{"3": "61"}, graph.Resend{Times: 5, Wait: time.Minute}, []string{"1 2<1 3"}, 0, "3"},
		"used up":             {map[string]int{"3": 9}, map[string]string{"3": "1"}, graph.Resend{Times: 2, Wait: time.Hour}, []string{"1 2<1 3", "3", "3"}, 2 * time.Second, "3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				transport, log := flaky(t, tc.refusals, tc.after)
				p := parts(3)
				p[1].DependsOn = []string{"1"}
				start := time.Now()
				res, err := client(t, transport).BatchResend(t.Context(), p, tc.resend)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(tc.log, *log); d != "" {
					t.Error(d)
				}
				if took := time.Since(start); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				left := ""
				for _, p := range res.Parts {
					if p.Err != nil {
						left += p.ID
					}
				}
				if left != tc.left {
					t.Errorf("left with an error: %q, want %q", left, tc.left)
				}
				if p[1].DependsOn == nil {
					t.Error("the caller's parts were changed")
				}
			})
		})
	}
}

func TestBatchResendNeverRepeatsWhatMayHaveHappened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := client(t, func(*http.Request) (*http.Response, error) {
			if n++; n == 1 {
				return graphtest.Answer(200, `{"responses":[{"id":"1","status":504,"headers":{"Retry-After":"1"}},{"id":"2","status":429,"headers":{"Retry-After":"1"}}]}`), nil
			}
			return nil, io.ErrUnexpectedEOF // the resend of part 2 is lost
		})
		res, err := c.BatchResend(t.Context(), parts(2), graph.Resend{Times: 9, Wait: time.Hour})
		if err != nil || n != 2 {
			t.Fatalf("%d batches, %v", n, err)
		}
		for _, p := range res.Parts {
			if !errors.Is(p.Err, fault.Unknown) || p.Response.ClientRequestID == "" {
				t.Errorf("part %s: %v, want unknown", p.ID, p.Err)
			}
		}
	})
}

// TestPublishedBatches reads the answers in Microsoft's documentation.
func TestPublishedBatches(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	for file, want := range map[string]string{
		"json-batching-v10-res1.json": "1:302 2:200 3:401 4:204 5:200",
		"contrib-batch-res.json":      "1:200 2:403 3:403 4:405 5:200",
	} {
		b, err := os.ReadFile(filepath.Join(dir, "data", "graph-examples", file))
		if err != nil {
			t.Fatal(err)
		}
		c := client(t, always(200, string(b)))
		var reads []graph.Part
		for range 5 {
			reads = append(reads, graph.Part{Request: graph.Request{Path: "/users"}})
		}
		res, err := c.Batch(t.Context(), reads)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var got []string
		for _, p := range res.Parts {
			got = append(got, fmt.Sprintf("%s:%d", p.ID, p.Response.Status))
			if ok := p.Response.Status < 300; ok != (p.Err == nil) {
				t.Errorf("%s: part %s: %v", file, p.ID, p.Err)
			}
		}
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("%s: %s", file, d)
		}
	}
}

// shared returns the folder with Microsoft's contract and examples.
func shared(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CORDON_SHARED")
	if dir == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	return dir
}
