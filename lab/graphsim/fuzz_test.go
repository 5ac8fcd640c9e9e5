package graphsim_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// Whatever is asked with a good token is answered: never a panic, never the
// lab's own 500, always JSON or nothing, and a refusal has no effects.
func FuzzRequest(f *testing.F) {
	w, err := world.New(world.Options{Seed: 1, Users: 20})
	if err != nil {
		f.Fatal(err)
	}
	lab, err := graphsim.New(w, graphsim.Options{Apps: []graphsim.App{responder()}, Limits: graphsim.Limits{Off: true}})
	if err != nil {
		f.Fatal(err)
	}
	send := func(method, path, query, token, body string) *http.Response {
		req := &http.Request{
			Method: method, URL: &url.URL{Scheme: "https", Host: "graph.lab", Path: path, RawQuery: query},
			Header: http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
		}
		res, err := lab.Transport().RoundTrip(req.WithContext(context.Background()))
		if err != nil {
			f.Fatal(err)
		}
		return res
	}
	form := url.Values{"client_id": {clientID}, "client_secret": {clientSecret}, "grant_type": {"client_credentials"}, "scope": {host + "/.default"}}
	var tok struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(send("POST", "/"+w.TenantID()+"/oauth2/v2.0/token", "", "", form.Encode()).Body).Decode(&tok); err != nil {
		f.Fatal(err)
	}
	who, err := w.Pick(world.Pick{Kind: world.KindMember})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("GET", "/v1.0/users", "$top=3&$select=id&$filter=startswith(displayName,'a')", "")
	f.Add("PATCH", "/v1.0/users/"+who.UserID, "", `{"passwordProfile":{"password":"x","forceChangePasswordNextSignIn":1}}`)
	f.Add("POST", "/v1.0/$batch", "", `{"requests":[{"id":"1","method":"GET","url":"/users?$top=1","headers":{"Prefer":"x"},"dependsOn":[]}]}`)
	f.Add("POST", "/v1.0/identityProtection/riskyUsers/confirmCompromised", "", `{"userIds":["`+who.UserID+`"]}`)
	f.Add("GET", "/v1.0/users/delta", "$deltatoken=abc", "")
	f.Add("POST", "/v1.0/security/identities/identityAccounts/x/invokeAction", "", `{"accountId":"a","action":"disable","identityProvider":"okta"}`)
	f.Add("POST", "/"+w.TenantID()+"/oauth2/v2.0/token", "", "client_assertion=a.b.c&client_id="+clientID)
	f.Add("POST", "/_lab/event", "", `{"type":"detection"}`)
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		before := len(lab.Ledger())
		res := send(method, path, query, tok.AccessToken, body)
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == 500 {
			t.Fatalf("%s %s?%s: %s", method, path, query, raw)
		}
		if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") && !json.Valid(raw) {
			t.Fatalf("%s %s: not JSON: %s", method, path, raw)
		}
		for _, e := range lab.LedgerSince(before) {
			if e.Status >= 400 && len(e.Effects) > 0 {
				t.Fatalf("a refused request had effects: %+v", e)
			}
		}
	})
}
