package graphsim_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// What the usual requests cost in process, in a tenant of 10,000 people with
// 10,000 detections.
func BenchmarkRequests(b *testing.B) {
	w, err := world.New(world.Options{Seed: 1, Users: 10000})
	if err != nil {
		b.Fatal(err)
	}
	lab, err := graphsim.New(w, graphsim.Options{Apps: []graphsim.App{responder()}, Limits: graphsim.Limits{Off: true}})
	if err != nil {
		b.Fatal(err)
	}
	var people []string
	w.Walk(world.Users, 0, func(_ int, it world.Item) bool { people = append(people, it.ID()); return true })
	for _, id := range people {
		// Accounts that cannot be at risk (guests among them) are left out.
		_ = w.Apply(world.Event{Type: world.EventDetection, User: id, RiskEventType: "leakedCredentials"})
	}
	tr := lab.Transport()
	var token string
	do := func(method, path, body string) {
		req, err := http.NewRequest(method, host+path, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Prefer", "include-unknown-enum-members")
		req.Header.Set("Content-Type", "application/json")
		res, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		raw, _ := io.ReadAll(res.Body)
		if res.StatusCode >= 300 {
			b.Fatalf("%s %s: %d %s", method, path, res.StatusCode, raw)
		}
		if i := strings.Index(string(raw), `"access_token":"`); i >= 0 {
			token, _, _ = strings.Cut(string(raw)[i+16:], `"`)
		}
	}
	form := url.Values{"client_id": {clientID}, "client_secret": {clientSecret}, "grant_type": {"client_credentials"}, "scope": {host + "/.default"}}
	do("POST", "/"+w.TenantID()+"/oauth2/v2.0/token", form.Encode())
	n := 0
	cloudOnly := people[:0:0]
	for _, id := range people {
		if s, ok := w.State(id); ok && !s.Privileged && s.OnPremises == nil {
			cloudOnly = append(cloudOnly, id)
		}
	}
	person := func() string { n++; return cloudOnly[n%len(cloudOnly)] }
	for name, f := range map[string]func(){
		"patch":       func() { do("PATCH", "/v1.0/users/"+person(), fmt.Sprintf(`{"accountEnabled":%v}`, n%2 == 0)) },
		"revoke":      func() { do("POST", "/v1.0/users/"+person()+"/revokeSignInSessions", "") },
		"user":        func() { do("GET", "/v1.0/users/"+person()+"?$select=id,accountEnabled,userPrincipalName", "") },
		"user-by-upn": func() { do("GET", "/v1.0/users?$filter=id%20eq%20'"+person()+"'&$select=id,accountEnabled", "") },
		"users-in-15": func() {
			do("GET", "/v1.0/users?$filter=id%20in%20('"+strings.Join(cloudOnly[:15], "','")+"')&$select=id,accountEnabled", "")
		},
		"detections-new": func() {
			do("GET", "/v1.0/identityProtection/riskDetections?$top=500&$filter=lastUpdatedDateTime%20ge%202099-01-01T00:00:00Z", "")
		},
		"detections-page": func() { do("GET", "/v1.0/identityProtection/riskDetections?$top=500", "") },
		"risky-user":      func() { do("GET", "/v1.0/identityProtection/riskyUsers/"+person(), "") },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f()
			}
		})
	}
}
