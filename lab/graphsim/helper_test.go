package graphsim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

const (
	clientID     = "0a6d7f2e-5b1c-4c56-9d3e-1f2a3b4c5d6e"
	clientSecret = "not-a-real-secret"
	host         = "https://graph.lab"
)

// A desk is one tenant with a caller of its own.
type desk struct {
	t     *testing.T
	w     *world.World
	lab   *graphsim.Tenant
	token string
}

// newDesk makes a tenant of 60 people and gets a token. Throttling is off
// unless the options choose limits.
func newDesk(t *testing.T, o graphsim.Options) *desk {
	t.Helper()
	w, err := world.New(world.Options{Seed: 1, Users: 60})
	if err != nil {
		t.Fatal(err)
	}
	return deskOver(t, w, o)
}

func deskOver(t *testing.T, w *world.World, o graphsim.Options) *desk {
	t.Helper()
	if len(o.Apps) == 0 {
		o.Apps = []graphsim.App{responder()}
	}
	lab, err := graphsim.New(w, o)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, w: w, lab: lab}
	d.token = d.login(o.Apps[0].ClientID, clientSecret)
	return d
}

func responder() graphsim.App {
	return graphsim.App{
		ClientID: clientID, Secrets: []graphsim.Secret{{Value: clientSecret}}, Roles: graphsim.ResponderRoles(),
		DirectoryRoles: []string{"Authentication Administrator"},
	}
}

func unlimited() graphsim.Options {
	return graphsim.Options{Limits: graphsim.Limits{Off: true}}
}

func (d *desk) login(id, secret string) string {
	d.t.Helper()
	status, body := d.form("/"+d.w.TenantID()+"/oauth2/v2.0/token", url.Values{
		"client_id": {id}, "client_secret": {secret}, "grant_type": {"client_credentials"}, "scope": {host + "/.default"},
	})
	tok, _ := body["access_token"].(string)
	if status != 200 || tok == "" {
		d.t.Fatalf("token: %d %v", status, body)
	}
	return tok
}

func (d *desk) form(path string, v url.Values) (int, map[string]any) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), "POST", host+path, strings.NewReader(v.Encode()))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := d.lab.Transport().RoundTrip(req)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, decode(d.t, res)
}

func decode(t *testing.T, res *http.Response) map[string]any {
	t.Helper()
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) == 0 {
		return nil
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return out
}

// send sends a request with the desk's token; path begins behind /v1.0. body
// may be nil. Headers are pairs.
func (d *desk) send(method, path string, body any, headers ...string) (*http.Response, error) {
	d.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			d.t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	if !strings.HasPrefix(path, "https://") {
		path = host + "/v1.0" + strings.ReplaceAll(path, " ", "%20")
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, path, r)
	if err != nil {
		d.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return d.lab.Transport().RoundTrip(req)
}

// do is send that must be answered; it returns status, JSON body and headers.
func (d *desk) do(method, path string, body any, headers ...string) (int, map[string]any, http.Header) {
	d.t.Helper()
	res, err := d.send(method, path, body, headers...)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, decode(d.t, res), res.Header
}

// get is a read that must succeed.
func (d *desk) get(path string, headers ...string) map[string]any {
	d.t.Helper()
	status, body, _ := d.do("GET", path, nil, headers...)
	if status != 200 {
		d.t.Fatalf("GET %s: %d %v", path, status, body)
	}
	return body
}

// refused checks status and code of a refusal, and that the message has the words.
func (d *desk) refused(method, path string, body any, status int, code, words string, headers ...string) {
	d.t.Helper()
	got, out, _ := d.do(method, path, body, headers...)
	e, _ := out["error"].(map[string]any)
	msg, _ := e["message"].(string)
	if got != status || code != "" && e["code"] != code || !strings.Contains(msg, words) {
		d.t.Errorf("%s %s: got %d %v, want %d %s …%s…", method, path, got, out, status, code, words)
	}
}

// all follows next links to the end.
func (d *desk) all(path string, headers ...string) []map[string]any {
	d.t.Helper()
	var out []map[string]any
	for pages := 0; path != ""; pages++ {
		if pages > 500 {
			d.t.Fatalf("%s has no end", path)
		}
		body := d.get(path, headers...)
		out = append(out, values(body)...)
		path, _ = body["@odata.nextLink"].(string)
	}
	return out
}

func values(body map[string]any) []map[string]any {
	list, _ := body["value"].([]any)
	out := make([]map[string]any, len(list))
	for i, v := range list {
		out[i], _ = v.(map[string]any)
	}
	return out
}

func column(list []map[string]any, name string) []string {
	out := make([]string, len(list))
	for i, o := range list {
		out[i] = fmt.Sprint(o[name])
	}
	return out
}

// member picks an ordinary cloud-only person.
func (d *desk) member(index int) world.Account {
	return d.pick(world.Pick{Kind: world.KindMember, Synced: new(false), Privileged: new(false), Index: index})
}

func (d *desk) pick(p world.Pick) world.Account {
	d.t.Helper()
	a, err := d.w.Pick(p)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d *desk) apply(e world.Event) {
	d.t.Helper()
	if err := d.w.Apply(e); err != nil {
		d.t.Fatal(err)
	}
}

// last returns the newest ledger entry of a path.
func (d *desk) last(path string) graphsim.Entry {
	d.t.Helper()
	for _, e := range slices.Backward(d.lab.Ledger()) {
		if strings.EqualFold(e.Path, path) {
			return e
		}
	}
	d.t.Fatalf("the ledger has no %s", path)
	return graphsim.Entry{}
}

// until asks until the condition holds or ten seconds have passed.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within ten seconds", what)
		case <-tick.C:
		}
	}
}
