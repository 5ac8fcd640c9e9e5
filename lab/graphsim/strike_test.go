package graphsim_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/lab/graphsim"
)

func withFaults(t *testing.T, specs ...string) graphsim.Options {
	t.Helper()
	f, err := graphsim.ParseFaults(specs)
	if err != nil {
		t.Fatal(err)
	}
	return graphsim.Options{Faults: f, Limits: graphsim.Limits{Off: true}}
}

// What a client sees of each fault of a write, and whether the effect took
// place: the two must not be confused.
func TestFaultsOfAWrite(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]struct {
		status int // 0: connection cut
		effect bool
	}{
		"429":           {429, false},
		"500":           {500, false},
		"503":           {503, false},
		"504":           {504, false},
		"504-after":     {504, true},
		"reset-before":  {0, false},
		"reset-after":   {0, true},
		"no-effect":     {204, false},
		"expired-token": {401, false},
		"latency:1ms":   {204, true},
	} {
		d := newDesk(t, withFaults(t, spec+"@PATCH /users"))
		who := d.member(0)
		res, err := d.send("PATCH", "/users/"+who.UserID, map[string]any{"accountEnabled": false})
		switch {
		case want.status == 0:
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: got %v, %v, want a reset", spec, res, err)
			}
		case err != nil || res.StatusCode != want.status:
			t.Errorf("%s: got %v, %v, want %d", spec, res, err, want.status)
		}
		state, _ := d.w.State(who.UserID)
		if state.AccountEnabled == want.effect {
			t.Errorf("%s: account enabled %v", spec, state.AccountEnabled)
		}
		e := d.last("/users/" + who.UserID)
		kind, _, _ := strings.Cut(spec, ":")
		if len(e.Faults) != 1 || e.Faults[0] != kind || (len(e.Effects) > 0) != want.effect || e.Status != want.status {
			t.Errorf("%s: ledger %+v", spec, e)
		}
	}
}

func TestFaultsOfAList(t *testing.T) {
	t.Parallel()
	t.Run("empty pages", func(t *testing.T) {
		d := newDesk(t, withFaults(t, "empty-pages@/users"))
		first := d.get("/users?$select=id&$top=50")
		if len(values(first)) != 0 || first["@odata.nextLink"] == nil {
			t.Errorf("first page: %v", first)
		}
		if all := d.all("/users?$select=id&$top=50"); len(all) == 0 {
			t.Error("the pages never fill")
		}
	})
	t.Run("foreign link", func(t *testing.T) {
		d := newDesk(t, withFaults(t, "foreign-link"))
		if link, _ := d.get("/users?$top=5")["@odata.nextLink"].(string); !strings.HasPrefix(link, "https://graph.invalid/") {
			t.Errorf("next link %q", link)
		}
	})
	t.Run("unknown enum", func(t *testing.T) {
		d := newDesk(t, withFaults(t, "unknown-enum"))
		who := d.member(0).UserID
		if got := d.get("/users/" + who + "?$select=userType")["userType"]; got != "labUnheardOf" {
			t.Errorf("userType %v", got)
		}
		d.lab.SetFaults(nil)
		if got := d.get("/users/" + who + "?$select=userType")["userType"]; got != "Member" {
			t.Errorf("the world has changed: %v", got)
		}
	})
	t.Run("malformed", func(t *testing.T) {
		d := newDesk(t, withFaults(t, "malformed"))
		res, err := d.send("GET", "/users?$top=5", nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 || len(b) == 0 || json.Valid(b) {
			t.Errorf("%d %s", res.StatusCode, b)
		}
	})
	t.Run("oversized", func(t *testing.T) {
		d := newDesk(t, withFaults(t, "oversized,size=3MB"))
		res, err := d.send("GET", "/users?$top=5", nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		if len(b) < 3<<20 || int64(len(b)) != res.ContentLength || !json.Valid(b) {
			t.Errorf("%d bytes of %d", len(b), res.ContentLength)
		}
	})
	t.Run("dismiss", func(t *testing.T) {
		d := newDesk(t, withFaults(t, "dismiss-500"))
		ids := map[string]any{"userIds": []string{d.member(0).UserID}}
		d.refused("POST", "/identityProtection/riskyUsers/dismiss", ids, 500, "InternalServerError", "")
		if status, _, _ := d.do("POST", "/identityProtection/riskyUsers/confirmCompromised", ids); status != 204 {
			t.Errorf("confirm: %d", status)
		}
	})
}

func TestFaultsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := withFaults(t, "latency:200ms@/users", "429,retry-after=30s,count=1@/groups", "503,date=true,retry-after=1m,count=1@/devices")
		d := newDesk(t, o)
		start := time.Now()
		d.get("/users?$top=1")
		if got := time.Since(start); got != 200*time.Millisecond {
			t.Errorf("answered after %v", got)
		}
		_, _, h := d.do("GET", "/groups", nil)
		if got := h.Get("Retry-After"); got != "30" {
			t.Errorf("Retry-After %q", got)
		}
		_, _, h = d.do("GET", "/devices", nil)
		at, err := http.ParseTime(h.Get("Retry-After"))
		if wait := time.Until(at); err != nil || wait < time.Minute || wait > time.Minute+time.Second {
			t.Errorf("Retry-After %q: %v", h.Get("Retry-After"), err)
		}
		d.get("/groups")
	})
}

// Over a real socket a cut connection is an error of the client's transport,
// with and without the effect.
func TestResetOverTheWire(t *testing.T) {
	t.Parallel()
	lab, base, client := serve(t, graphsim.Options{Apps: []graphsim.App{responder()}, Limits: graphsim.Limits{Off: true}})
	d := &desk{t: t, w: lab.World(), lab: lab}
	form := "client_id=" + clientID + "&client_secret=" + clientSecret + "&grant_type=client_credentials&scope=" + base + "/.default"
	res, err := client.Post(base+"/"+lab.World().TenantID()+"/oauth2/v2.0/token", "application/x-www-form-urlencoded", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	token, _ := decode(t, res)["access_token"].(string)
	for i, spec := range []string{"reset-before", "reset-after"} {
		f, err := graphsim.ParseFaults([]string{spec})
		if err != nil {
			t.Fatal(err)
		}
		lab.SetFaults(f)
		who := d.member(i)
		req, err := http.NewRequestWithContext(t.Context(), "PATCH", base+"/v1.0/users/"+who.UserID, strings.NewReader(`{"accountEnabled":false}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		if res, err := client.Do(req); err == nil {
			t.Errorf("%s: answered %d", spec, res.StatusCode)
		}
		until(t, spec, func() bool { return !d.last("/users/" + who.UserID).Answered.IsZero() })
		if s, _ := lab.World().State(who.UserID); s.AccountEnabled != (spec == "reset-before") {
			t.Errorf("%s: account enabled %v", spec, s.AccountEnabled)
		}
	}
}
