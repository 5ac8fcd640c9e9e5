package connectortest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

const labApp = "c0e5d0a1-1ab0-4c0d-8000-00000000c0de"

// A Lab is a simulated Graph tenant in process, without throttling, and a real
// client of it through a Wire.
type Lab struct {
	T      testing.TB
	World  *world.World
	Tenant *graphsim.Tenant
	Wire   *Wire
	Client *graph.Client

	fit map[string][]world.Account // kind → who is of it
}

// NewLab opens a tenant of that many people in which accepted changes show at
// once. The Wire disturbs requests whose path contains path.
func NewLab(t testing.TB, users int, path string) *Lab {
	t.Helper()
	w, err := world.New(world.Options{Seed: 1, Users: users, Delays: world.Delays{Feedback: -1, Remediation: -1, Revocation: -1}})
	if err != nil {
		t.Fatal(err)
	}
	app := graphsim.App{ClientID: labApp, Secrets: []graphsim.Secret{{Value: "lab"}}, Roles: append(graphsim.ReaderRoles(), "IdentityRiskyAgent.Read.All")}
	tenant, err := graphsim.New(w, graphsim.Options{Limits: graphsim.Limits{Off: true}, Apps: []graphsim.App{app}, TokenLifetime: 240 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{T: t, World: w, Tenant: tenant, Wire: NewWire(tenant.Transport(), path)}
	l.Client, err = graph.New(graph.Options{BaseURL: "https://graph.microsoft.com", Tokens: l.signIn(), Transport: l.Wire})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

type token string

func (t token) Token(context.Context) (string, error) { return string(t), nil }
func (token) Drop(string) bool                        { return false }

func (l *Lab) signIn() token {
	form := url.Values{"client_id": {labApp}, "client_secret": {"lab"}, "grant_type": {"client_credentials"}, "scope": {"https://graph.microsoft.com/.default"}}
	r, err := http.NewRequestWithContext(l.T.Context(), http.MethodPost, "https://graph.microsoft.com/"+l.World.TenantID()+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		l.T.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := l.Tenant.Transport().RoundTrip(r)
	if err != nil {
		l.T.Fatal(err)
	}
	defer res.Body.Close()
	var v struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil || v.AccessToken == "" {
		l.T.Fatalf("no token: %s, %v", res.Status, err)
	}
	return token(v.AccessToken)
}

// ID is the tenant's id.
func (l *Lab) ID() identity.Tenant { return identity.Tenant(l.World.TenantID()) }

// Apply makes an event happen now.
func (l *Lab) Apply(e world.Event) {
	l.T.Helper()
	if err := l.World.Apply(e); err != nil {
		l.T.Fatal(err)
	}
}

// Make runs do n times and returns the ids of what it added to the collection.
func (l *Lab) Make(c world.Collection, n int, do func(n int)) []string {
	l.T.Helper()
	known := map[string]bool{}
	l.World.Walk(c, 0, func(_ int, it world.Item) bool { known[it.ID()] = true; return true })
	for k := range n {
		do(k)
	}
	var ids []string
	l.World.Walk(c, 0, func(_ int, it world.Item) bool {
		if !known[it.ID()] {
			ids = append(ids, it.ID())
		}
		return true
	})
	if len(ids) != n {
		l.T.Fatalf("%d events made %d records of %s", n, len(ids), c)
	}
	return ids
}

// Person returns the n-th ordinary person, beginning anew after the last.
func (l *Lab) Person(n int) world.Account { return l.pick(world.KindMember, n) }

// ServicePrincipal returns the n-th application of the organisation's own.
func (l *Lab) ServicePrincipal(n int) world.Account { return l.pick(world.KindServicePrincipal, n) }

func (l *Lab) pick(kind string, n int) world.Account {
	l.T.Helper()
	if l.fit == nil {
		l.fit = map[string][]world.Account{}
	}
	if l.fit[kind] == nil {
		for {
			a, err := l.World.Pick(world.Pick{Kind: kind, Index: len(l.fit[kind])})
			if err != nil {
				break
			}
			l.fit[kind] = append(l.fit[kind], a)
		}
		if len(l.fit[kind]) == 0 {
			l.T.Fatalf("the tenant has no %s", kind)
		}
	}
	return l.fit[kind][n%len(l.fit[kind])]
}
