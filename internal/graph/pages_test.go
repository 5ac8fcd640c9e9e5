package graph_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/graph/graphtest"
)

const root = "https://graph.cordon.example/v1.0"

// book answers by the $skiptoken of the request; "" is the first page.
func book(pages map[string]string) graphtest.Transport {
	return func(r *http.Request) (*http.Response, error) {
		body, ok := pages[r.URL.Query().Get("$skiptoken")]
		if !ok {
			return graphtest.Answer(404, ""), nil
		}
		return graphtest.Answer(200, strings.ReplaceAll(body, "ROOT", root)), nil
	}
}

type user struct {
	ID             string `json:"id"`
	AccountEnabled bool   `json:"accountEnabled"`
}

func TestPages(t *testing.T) {
	t.Parallel()
	c := client(t, book(map[string]string{
		"":  `{"value":[{"id":"1","accountEnabled":true,"extra":[1]}],"@odata.count":3,"@odata.nextLink":"ROOT/users/delta?$skiptoken=b"}`,
		"b": `{"value":[],"@odata.nextLink":"ROOT/users/delta?$skiptoken=c"}`,
		"c": `{"value":null,"@odata.nextLink":"ROOT/users/delta?$skiptoken=d"}`,
		"d": `{"value":[{"id":"2","accountEnabled":"Boolean"},7,{"id":"3","@removed":{"reason":"changed"}}],"@odata.deltaLink":"ROOT/users/delta?$deltatoken=z"}`,
	}))
	type row struct {
		ID, Raw string
		Bad     bool
	}
	type page struct {
		Rows        []row
		Next, Delta string
		Count       int64
	}
	var got []page
	for p, err := range graph.Pages[user](t.Context(), c, graph.Request{Path: "/users/delta"}, graph.Paging{}) {
		if err != nil {
			t.Fatal(err)
		}
		g := page{Next: p.NextLink, Delta: p.DeltaLink, Count: p.Count}
		for _, o := range p.Objects {
			g.Rows = append(g.Rows, row{o.Value.ID, string(o.Raw), o.Err != nil})
		}
		got = append(got, g)
	}
	want := []page{
		{Rows: []row{{"1", `{"id":"1","accountEnabled":true,"extra":[1]}`, false}}, Next: root + "/users/delta?$skiptoken=b", Count: 3},
		{Next: root + "/users/delta?$skiptoken=c", Count: -1},
		{Next: root + "/users/delta?$skiptoken=d", Count: -1},
		{Rows: []row{
			{"2", `{"id":"2","accountEnabled":"Boolean"}`, true}, {"", "7", true}, {"3", `{"id":"3","@removed":{"reason":"changed"}}`, false},
		}, Delta: root + "/users/delta?$deltatoken=z", Count: -1},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}

	var ids []string
	for o, err := range graph.Objects[user](t.Context(), c, graph.Request{}, graph.Paging{Start: root + "/users/delta?$skiptoken=d"}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, o.Value.ID)
	}
	if d := cmp.Diff([]string{"2", "", "3"}, ids); d != "" {
		t.Error(d)
	}
}

func TestPagesAreLazyAndStop(t *testing.T) {
	t.Parallel()
	asked := 0
	c := client(t, func(r *http.Request) (*http.Response, error) {
		asked++
		return graphtest.Answer(200, fmt.Sprintf(`{"value":[1,2],"@odata.nextLink":"%s/users?$skiptoken=%d"}`, root, asked)), nil
	})
	for range graph.Objects[int](t.Context(), c, graph.Request{Path: "/users"}, graph.Paging{}) {
		break
	}
	if asked != 1 {
		t.Errorf("%d pages were read for one object", asked)
	}
	var last error
	n := 0
	for _, err := range graph.Pages[int](t.Context(), c, graph.Request{Path: "/users"}, graph.Paging{MaxPages: 5}) {
		n, last = n+1, err
	}
	if n != 6 || !errors.Is(last, fault.Invalid) || !strings.Contains(last.Error(), "more than 5 pages") {
		t.Errorf("%d pages, then %v", n, last)
	}
}

func TestLoopsEnd(t *testing.T) {
	t.Parallel()
	for name, pages := range map[string]map[string]string{
		"to itself": {"": `{"value":[],"@odata.nextLink":"ROOT/users?$skiptoken=a"}`, "a": `{"value":[],"@odata.nextLink":"ROOT/users?$skiptoken=a"}`},
		"in a ring": {"": `{"value":[],"@odata.nextLink":"ROOT/users?$skiptoken=a"}`, "a": `{"value":[],"@odata.nextLink":"ROOT/users?$skiptoken=b"}`,
			"b": `{"value":[],"@odata.nextLink":"ROOT/users?$skiptoken=a"}`},
	} {
		var last error
		for _, err := range graph.Pages[any](t.Context(), client(t, book(pages)), graph.Request{Path: "/users"}, graph.Paging{}) {
			last = err
		}
		if !errors.Is(last, fault.Unavailable) || !strings.Contains(last.Error(), "back to an earlier page") {
			t.Errorf("%s: %v", name, last)
		}
	}
}

func TestPagesThatAreNone(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no value": `{"id":"1"}`, "value is an object": `{"value":{}}`, "value is a text": `{"value":"x"}`, "a list": `[]`, "nothing": ``,
		"link is a number": `{"value":[],"@odata.nextLink":7}`,
	} {
		var last error
		for _, err := range graph.Pages[any](t.Context(), client(t, always(200, body)), graph.Request{Path: "/users"}, graph.Paging{}) {
			last = err
		}
		if !errors.Is(last, fault.Unavailable) {
			t.Errorf("%s: %v, want unavailable", name, last)
		}
	}
	gone := client(t, always(410, `{"error":{"code":"syncStateNotFound"}}`))
	for _, err := range graph.Pages[any](t.Context(), gone, graph.Request{}, graph.Paging{Start: root + "/users/delta?$deltatoken=old"}) {
		if !errors.Is(err, graph.ErrResync) {
			t.Errorf("%v, want ErrResync", err)
		}
	}
}

func TestFollowingPagesCarryHeadersButNotTheBody(t *testing.T) {
	t.Parallel()
	var got []string
	c := client(t, func(r *http.Request) (*http.Response, error) {
		body := ""
		if r.Body != nil {
			b, _ := io.ReadAll(r.Body)
			body = string(b)
		}
		got = append(got, strings.Join([]string{r.Method, r.URL.RawQuery, body, r.Header.Get("Prefer"), r.Header.Get("x-ms-throttle-priority"), r.Header.Get("client-request-id")}, "|"))
		if len(got) == 1 {
			return graphtest.Answer(200, `{"value":[],"@odata.nextLink":"`+root+`/directoryObjects?$skiptoken=a%2Bb"}`), nil
		}
		return graphtest.Answer(200, `{"value":[]}`), nil
	})
	r := graph.Request{Method: "POST", ReadOnly: true, Path: "/directoryObjects/getByIds", Body: map[string]any{"ids": []string{"1"}},
		Query: url.Values{"$select": {"id"}}, Priority: graph.Low, ClientRequestID: "mine"}
	for _, err := range graph.Pages[any](t.Context(), c, r, graph.Paging{}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		`POST|$select=id|{"ids":["1"]}|include-unknown-enum-members|low|mine`,
		`GET|$skiptoken=a%2Bb||include-unknown-enum-members|low|id-1`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// throttled refuses the first n requests.
func throttled(n int, retryAfter string) graphtest.Transport {
	return func(*http.Request) (*http.Response, error) {
		if n--; n >= 0 {
			return graphtest.Answer(429, "", "Retry-After", retryAfter), nil
		}
		return graphtest.Answer(200, `{"value":[1]}`), nil
	}
}

func TestPagesWaitWhenTold(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		refusals   int
		retryAfter string
		budget     time.Duration
		deadline   time.Duration
		took       time.Duration
		ok         bool
	}{
		"not told":               {1, "10", 0, 0, 0, false},
		"two minutes in no time": {2, "60", 2 * time.Minute, 0, 2 * time.Minute, true},
		"the budget is for all":  {3, "60", 2 * time.Minute, 0, 2 * time.Minute, false},
		"longer than the budget": {1, "61", time.Minute, 0, 0, false},
		"no Retry-After":         {1, "", time.Hour, 0, 0, false},
		"zero is a second":       {2, "0", time.Minute, 0, 2 * time.Second, true},
		"beyond the deadline":    {1, "60", time.Hour, 30 * time.Second, 0, false},
		"within the deadline":    {1, "60", time.Hour, 90 * time.Second, time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := client(t, throttled(tc.refusals, tc.retryAfter))
				ctx := t.Context()
				if tc.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.deadline)
					defer cancel()
				}
				start := time.Now()
				var last error
				for _, err := range graph.Pages[int](ctx, c, graph.Request{Path: "/users"}, graph.Paging{Wait: tc.budget}) {
					last = err
				}
				if took := time.Since(start); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				if (last == nil) != tc.ok || last != nil && !errors.Is(last, fault.Unavailable) {
					t.Errorf("ended with %v, want ok=%v", last, tc.ok)
				}
			})
		})
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := client(t, throttled(1, "3600"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		start := time.Now()
		for _, err := range graph.Pages[int](ctx, c, graph.Request{Path: "/users"}, graph.Paging{Wait: 2 * time.Hour}) {
			if !errors.Is(err, fault.Unavailable) {
				t.Errorf("%v, want unavailable", err)
			}
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("took %v, want 1m", took)
		}
	})
}

func TestTheRequestTimeoutCoversTheBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := client(t, func(r *http.Request) (*http.Response, error) {
			res := graphtest.Answer(200, "")
			res.Body = slowBody{r.Context()}
			return res, nil
		})
		start := time.Now()
		_, err := c.Do(t.Context(), graph.Request{Method: "POST", Path: "/users"})
		if !errors.Is(err, fault.Unknown) || time.Since(start) != graph.DefaultTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// slowBody never comes.
type slowBody struct{ ctx context.Context }

func (b slowBody) Read([]byte) (int, error) { <-b.ctx.Done(); return 0, context.Cause(b.ctx) }
func (slowBody) Close() error               { return nil }
