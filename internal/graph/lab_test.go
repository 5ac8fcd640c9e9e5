package graph_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/secret"
	"github.com/seed-f47efad2/cordon/internal/secret/secrettest"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

const labSecret = "lab~secret.of-the-app-1"

// A lab is a simulated tenant behind a real socket with TLS.
type lab struct {
	*graphsim.Tenant
	cfg graph.Config
}

func newLab(t *testing.T, change func(*graphsim.Options)) *lab {
	t.Helper()
	w, err := world.New(world.Options{Seed: 1, Users: 60, Delays: world.Delays{Revocation: -1}})
	if err != nil {
		t.Fatal(err)
	}
	o := graphsim.Options{Limits: graphsim.Limits{Off: true}, Apps: []graphsim.App{{
		ClientID: clientID, Secrets: []graphsim.Secret{{Value: labSecret}}, Roles: graphsim.ResponderRoles(),
	}}}
	if change != nil {
		change(&o)
	}
	tenant, err := graphsim.New(w, o)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := graphsim.NewCA(time.Now(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tenant.Serve(ctx, l, ca) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	if err := ca.WriteFile(filepath.Join(dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "secret"), labSecret)
	base := "https://" + l.Addr().String()
	return &lab{tenant, graph.Config{TenantID: w.TenantID(), ClientID: clientID, LoginURL: base, GraphURL: base, CAFile: filepath.Join(dir, "ca.pem"),
		Credential: graph.Credential{Secret: secret.Ref("file:" + filepath.Join(dir, "secret"))}}}
}

func (l *lab) client(t *testing.T) *graph.Client {
	t.Helper()
	rt, err := graph.NewTransport(l.cfg.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rt.CloseIdleConnections)
	c, err := graph.Open(l.cfg, graph.Options{Transport: rt})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (l *lab) faults(t *testing.T, specs ...string) {
	t.Helper()
	f, err := graphsim.ParseFaults(specs)
	if err != nil {
		t.Fatal(err)
	}
	l.SetFaults(f)
}

// members returns ids of ordinary people.
func (l *lab) members(t *testing.T, n int) []string {
	t.Helper()
	var ids []string
	no := false
	for i := range n {
		a, err := l.World().Pick(world.Pick{Kind: world.KindMember, Privileged: &no, Synced: &no, Index: i})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.UserID)
	}
	return ids
}

func TestLabPaging(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.faults(t, "empty-pages:30%", "unknown-enum:10%")
	c := l.client(t)
	seen := map[string]bool{}
	for o, err := range graph.Objects[user](t.Context(), c, graph.Request{Path: "/users", Query: url.Values{"$top": {"7"}, "$select": {"id,accountEnabled"}}}, graph.Paging{}) {
		if err != nil {
			t.Fatal(err)
		}
		if o.Err != nil || seen[o.Value.ID] {
			t.Errorf("%s: %v", o.Raw, o.Err)
		}
		seen[o.Value.ID] = true
	}
	if want := l.World().Count(world.Users); len(seen) != want {
		t.Errorf("%d users were read of %d", len(seen), want)
	}
	for _, e := range l.Ledger() {
		if e.Kind == "graph" && e.ClientRequestID == "" {
			t.Errorf("request %d has no client-request-id", e.Seq)
		}
	}

	l.faults(t, "foreign-link")
	var last error
	for _, err := range graph.Pages[user](t.Context(), c, graph.Request{Path: "/users", Query: url.Values{"$top": {"7"}}}, graph.Paging{}) {
		last = err
	}
	if !errors.Is(last, fault.Unavailable) || !strings.Contains(last.Error(), "not followed") {
		t.Errorf("a link to another host: %v", last)
	}
}

func TestLabDelta(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	c := l.client(t)
	r := graph.Request{Path: "/users/delta", Query: url.Values{"$select": {"id,accountEnabled"}}}
	read := func(p graph.Paging) (ids []string, link string) {
		for page, err := range graph.Pages[user](t.Context(), c, r, p) {
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range page.Objects {
				ids = append(ids, o.Value.ID)
			}
			link = page.DeltaLink
		}
		return ids, link
	}
	all, link := read(graph.Paging{})
	if len(all) == 0 || link == "" {
		t.Fatalf("%d users and the deltaLink %q", len(all), link)
	}
	id := l.members(t, 1)[0]
	if _, err := c.Do(t.Context(), graph.Request{Method: "PATCH", Path: graph.Path("users", id), Body: map[string]bool{"accountEnabled": false}}); err != nil {
		t.Fatal(err)
	}
	changed, link := read(graph.Paging{Start: link})
	if d := cmp.Diff([]string{id}, changed); d != "" || link == "" {
		t.Errorf("changed: %s, deltaLink %q", d, link)
	}
	for _, err := range graph.Pages[user](t.Context(), c, r, graph.Paging{Start: l.cfg.GraphURL + "/v1.0/users/delta?$deltatoken=made-up"}) {
		if err == nil {
			t.Error("a made-up delta token was accepted")
		}
	}
}

func TestLabBatch(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	c := l.client(t)
	var parts []graph.Part
	ids := l.members(t, 10)
	for i, id := range ids {
		disable := graph.Request{Method: "PATCH", Path: graph.Path("users", id), Body: map[string]bool{"accountEnabled": false}, Priority: graph.High}
		revoke := graph.Request{Method: "POST", Path: graph.Path("users", id, "revokeSignInSessions"), Priority: graph.High}
		d := "disable-" + string(rune('a'+i))
		parts = append(parts, graph.Part{ID: d, Request: disable}, graph.Part{Request: revoke, DependsOn: []string{d}})
	}
	res, err := c.Batch(t.Context(), parts)
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]bool{}
	for _, p := range res.Parts {
		if p.Err != nil {
			t.Errorf("part %s: %v", p.ID, p.Err)
		}
		sent[p.Response.ClientRequestID] = true
	}
	n := 0
	for _, e := range l.Ledger() {
		if e.Kind == "part" {
			n++
			if !sent[e.ClientRequestID] || len(e.Effects) == 0 {
				t.Errorf("the lab saw part %+v", e)
			}
		}
	}
	if n != 20 {
		t.Errorf("the lab saw %d parts", n)
	}
	for _, id := range ids {
		if s, ok := l.World().State(id); !ok || s.AccountEnabled || s.SessionRevocations != 1 {
			t.Errorf("%s: %+v", id, s)
		}
	}
}

// TestLabWriteFaults holds the kind of each error against what the lab, which
// knows, says happened: Unavailable and Denied mean nothing did, one call is
// at most one request, and no effect hides behind an error other than Unknown.
func TestLabWriteFaults(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	c := l.client(t)
	ids := l.members(t, 3)
	if _, err := c.Do(t.Context(), graph.Request{Path: graph.Path("users", ids[0])}); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]fault.Kind{
		"reset-before": fault.Unknown, "reset-after": fault.Unknown, // from here they look the same
		"504": fault.Unknown, "504-after": fault.Unknown, "500": fault.Unknown,
		"503": fault.Unavailable, "429,retry-after=3s": fault.Unavailable, "429,retry-after=none": fault.Unavailable, "429,retry-after=3s,date=true": fault.Unavailable,
		"no-effect": "",
	} {
		for _, r := range []graph.Request{
			{Method: "POST", Path: graph.Path("users", ids[0], "revokeSignInSessions")},
			{Method: "PATCH", Path: graph.Path("users", ids[1]), Body: map[string]any{"passwordProfile": map[string]any{"password": "Tq9!vW3#kLm7&zXc2Rt5", "forceChangePasswordNextSignIn": true}}},
			{Method: "POST", Path: "/identityProtection/riskyUsers/confirmCompromised", Body: map[string]any{"userIds": []string{ids[2]}}},
		} {
			l.faults(t, spec)
			before := len(l.Ledger())
			_, err := c.Do(t.Context(), r)
			if got := fault.KindOf(err); got != want {
				t.Errorf("%s, %s: %v: %q, want %q", spec, r, err, got, want)
			}
			seen := l.LedgerSince(before)
			if len(seen) != 1 {
				t.Errorf("%s, %s: the lab saw %d requests", spec, r, len(seen))
				continue
			}
			if effect := len(seen[0].Effects) > 0; effect && want != fault.Unknown {
				t.Errorf("%s, %s: it took effect, and the kind is %q", spec, r, want)
			}
			if after, ok := fault.RetryAfter(err); strings.HasPrefix(spec, "429,retry-after=3s") && (!ok || after < time.Second || after > 4*time.Second) {
				t.Errorf("%s: after %v, %v", spec, after, ok)
			}
		}
	}

	l.faults(t, "expired-token,count=1")
	if _, err := c.Do(t.Context(), graph.Request{Path: graph.Path("users", ids[0])}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("an expired token: %v", err)
	}
	if _, err := c.Do(t.Context(), graph.Request{Path: graph.Path("users", ids[0])}); err != nil {
		t.Errorf("with the next token: %v", err)
	}
	tokens := 0
	for _, e := range l.Ledger() {
		if strings.HasSuffix(e.Path, "/oauth2/v2.0/token") {
			tokens++
		}
	}
	if tokens != 2 {
		t.Errorf("%d tokens were fetched, want 2", tokens)
	}
}

func TestLabReadFaults(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	c := l.client(t)
	for _, spec := range []string{"malformed", "oversized,size=200MB", "reset-before", "reset-after", "504", "500"} {
		l.faults(t, spec+"@/users")
		var out json.RawMessage
		_, err := c.Do(t.Context(), graph.Request{Path: "/users", Out: &out})
		if !errors.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v, want unavailable", spec, err)
		}
	}
}

func TestLabPermissions(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(o *graphsim.Options) { o.Apps[0].Roles = graphsim.ReaderRoles() })
	c := l.client(t)
	id := l.members(t, 1)[0]
	_, err := c.Do(t.Context(), graph.Request{Method: "POST", Path: graph.Path("users", id, "revokeSignInSessions")})
	if !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "grant the app the permission") {
		t.Errorf("%v, want denied with advice", err)
	}
	if _, err := c.Do(t.Context(), graph.Request{Path: graph.Path("users", "00000000-0000-4000-8000-000000000000")}); !errors.Is(err, fault.NotFound) {
		t.Errorf("%v, want not found", err)
	}
	if _, err := c.Do(t.Context(), graph.Request{Path: "/users", Query: url.Values{"$filter": {"no such"}}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("%v, want invalid", err)
	}
}

func TestLabThrottling(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(o *graphsim.Options) { o.Limits = graphsim.Limits{} })
	c := l.client(t)
	// One request a second for the whole tenant, and no Retry-After.
	var refused *graph.Error
	for range 20 {
		_, err := c.Do(t.Context(), graph.Request{Path: "/identityProtection/riskyUsers"})
		if errors.As(err, &refused) {
			break
		}
	}
	if refused == nil || refused.Status != 429 || refused.HasRetryAfter || !errors.Is(refused, fault.Unavailable) {
		t.Errorf("20 reads at once: %+v", refused)
	}
	res, err := c.Do(t.Context(), graph.Request{Path: "/users", Query: url.Values{"$top": {"50"}}})
	if err != nil || res.Throttle.ResourceUnits == 0 || res.RequestID == "" || res.Date.IsZero() {
		t.Errorf("%v, %+v, %v", res, res.Throttle, err)
	}
}

func TestLabSignIn(t *testing.T) {
	t.Parallel()
	text, cert := certificate(t, time.Now().AddDate(1, 0, 0))
	other, _ := certificate(t, time.Now().AddDate(1, 0, 0))
	dir := t.TempDir()
	write(t, filepath.Join(dir, "good.pem"), text)
	write(t, filepath.Join(dir, "other.pem"), other)
	write(t, filepath.Join(dir, "wrong"), "lab~secret.that-is-wrong")
	write(t, filepath.Join(dir, "old"), "lab~secret.that-is-old")
	l := newLab(t, func(o *graphsim.Options) {
		o.Apps[0].Certificates = []*x509.Certificate{cert}
		o.Apps[0].Secrets = append(o.Apps[0].Secrets, graphsim.Secret{Value: "lab~secret.that-is-old", Expires: time.Now().Add(-time.Hour)})
	})
	good := l.cfg.Credential
	ref := func(name string) graph.Credential {
		return graph.Credential{Secret: secret.Ref("file:" + filepath.Join(dir, name))}
	}
	for name, tc := range map[string]struct {
		change func(*graph.Config)
		kind   fault.Kind
		codes  []int
	}{
		"secret": {func(c *graph.Config) {}, "", nil},
		"certificate": {func(c *graph.Config) {
			c.Credential = graph.Credential{CertificateFile: filepath.Join(dir, "good.pem")}
		}, "", nil},
		"other certificate": {func(c *graph.Config) {
			c.Credential = graph.Credential{CertificateFile: filepath.Join(dir, "other.pem")}
		}, fault.Denied, []int{700027}},
		"wrong secret":   {func(c *graph.Config) { c.Credential = ref("wrong") }, fault.Denied, []int{7000215}},
		"old secret":     {func(c *graph.Config) { c.Credential = ref("old") }, fault.Denied, []int{7000222}},
		"another app":    {func(c *graph.Config) { c.ClientID = objectID }, fault.Invalid, []int{700016}},
		"another tenant": {func(c *graph.Config) { c.TenantID = objectID }, fault.Invalid, []int{90002}},
		"another Graph":  {func(c *graph.Config) { c.GraphURL = "https://graph.cordon.example" }, fault.Invalid, []int{500011}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := l.cfg
			cfg.Credential = good
			tc.change(&cfg)
			rt, err := graph.NewTransport(cfg.CAFile)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(rt.CloseIdleConnections)
			src, err := graph.NewTokens(cfg, rt, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = src.Token(t.Context())
			if tc.kind == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var s *graph.SignInError
			if !errors.As(err, &s) || s.Kind != tc.kind || !slices.Contains(tc.codes, s.Code) {
				t.Errorf("%v: %+v, want %s and one of %v", err, s, tc.kind, tc.codes)
			}
			secrettest.Absent(t, "lab~secret.that-is-", err)
		})
	}
}
