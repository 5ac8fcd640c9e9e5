package console

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// hostile is a name that tries everything: markup, a turned direction, invisible
// characters, and no end.
var hostile = `</bdi><script>alert(1)</script><img src=x onerror=alert(2)>` + "\u202Egnp.exe\u202C\u200B\x00\x1b[31m" + strings.Repeat("שָׁלוֹם", 1500)

// A gallery is a console with something to see on every page, and where.
type gallery struct {
	*desktest.Scene
	console *Console
	// Paths by page; every page has one, and "error" is one that does not exist.
	paths map[string]string

	waiting, done, hand run.ID
	handKey             string
	asked               approval.Request
	person, quiet       identity.ID
	lone, spare         identity.ID // of one name, nothing under way
	act                 action.ID
	cas                 string
	campaign, going     campaign.ID
	root                string // of campaign
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newGallery(t testing.TB) *gallery {
	t.Helper()
	ctx := context.Background()
	g := &gallery{Scene: desktest.Empty()}
	s := g.Scene
	owner := s.Operator("owner")

	// Waits for an approval, its first step verified.
	first := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
	c := s.AddAtRisk(first, s.Leaked("d-leak-1", 50*time.Minute), s.Travel("d-travel/1", 2*time.Hour))
	g.cas = string(c)
	g.waiting = s.Begin("leaked-credentials", first.ID, c)
	s.Prove(g.waiting, "")
	asked, err := s.Desk.Approvals(ctx, owner, desk.ApprovalFilter{Run: g.waiting}, desk.Page{})
	check(t, err)
	g.asked, g.person = asked.Items[0], first.ID

	// Contained, can be undone.
	second := desktest.Person(8, "Robin Lake", "robin.lake@corp.example", s.Now())
	g.done = s.Begin("token-theft", second.ID, s.AddAtRisk(second, s.Travel("d-travel-2", 20*time.Minute)))
	s.Prove(g.done, "")
	view, err := s.Desk.RunView(ctx, owner, g.done)
	check(t, err)
	g.act = view.Steps[0].Doing.ID

	// Accepted, not proven yet.
	third := desktest.Person(3, "Kim Meadow", "kim.meadow@corp.example", s.Now())
	acc := s.Begin("token-theft", third.ID, s.AddAtRisk(third, s.Leaked("d-leak-3", 3*time.Minute)))
	s.Prove(acc, action.AcceptedState)

	// A privileged person: asked by default.
	fourth := desktest.Person(2, "Jules Harbor", "jules.harbor@corp.example", s.Now())
	s.Begin("token-theft", fourth.ID, s.AddAtRisk(fourth, s.Leaked("d-leak-4", 9*time.Minute)))

	// Protected.
	fifth := desktest.Person(5, "Emergency access 1", "emergency-1@corp.example", s.Now())
	s.Begin("token-theft", fifth.ID, s.AddAtRisk(fifth, s.Travel("d-travel-5", 4*time.Hour)))

	// Facts unknown, name hostile.
	sixth := desktest.Person(4, hostile, hostile+"@corp.example", s.Now())
	sixth.Accounts[0].Facts = identity.Facts{}
	bad := s.Travel("d-"+strings.Repeat("x", 60)+"</script>", 30*time.Minute)
	bad.Title, bad.Type, bad.Location = hostile, "never.heard.of", hostile
	bad.Raw, err = json.Marshal(map[string]string{"displayName": hostile})
	check(t, err)
	s.Begin("leaked-credentials", sixth.ID, s.AddAtRisk(sixth, bad))

	// Not at risk.
	quiet := desktest.Person(7, "Sasha Field", "sasha.field@corp.example", s.Now())
	s.Store.Seed(quiet)
	g.quiet = quiet.ID
	lone := desktest.Person(6, "Sasha Field", "sasha.field@old.example", s.Now())
	spare := desktest.Person(10, "Sasha Field", "sasha.field@new.example", s.Now())
	s.Store.Seed(lone, spare)
	g.lone, g.spare = lone.ID, spare.ID

	// A hand-over that can be revealed.
	h, err := s.Desk.AskHandOver(ctx, s.Operator("second"), second.ID, "owner", "back at work, identity checked by telephone")
	check(t, err)
	_, err = s.Desk.Approve(ctx, s.Operator("responder"), h.Run.Approvals[0].ID, h.Run.Plan.Hash, "")
	check(t, err)
	s.Prove(h.Run.Run.ID, "")
	g.hand, g.handKey = h.Run.Run.ID, h.Key
	s.Pass(95 * time.Second)

	// A campaign that waits for its approval, and one that goes.
	for n, id := range []*campaign.ID{&g.campaign, &g.going} {
		v, err := s.Desk.ProposeCampaign(ctx, s.Operator("second"), desk.CampaignWish{
			Tenant: desktest.Tenant, Playbook: "token-theft", Reason: "a breach of " + hostile[:1500], Canary: 1 + n,
		})
		check(t, err)
		*id = v.Campaign.ID
		if n == 0 {
			g.root = v.Campaign.Hash
		}
		if n == 1 {
			_, err := s.Desk.DecideCampaign(ctx, s.Operator("responder"), *id, true, v.Campaign.Hash, "")
			check(t, err)
		}
	}

	s.Store.SeedFeeds(
		connector.FeedState{Tenant: desktest.Tenant, Stream: "entraid.riskDetections", Interval: 15 * time.Second, Success: s.Now().Add(-4 * time.Second)},
		connector.FeedState{Tenant: desktest.Tenant, Stream: "defender.sensors/<script>alert(1)</script>", Source: "defender.sensors", Success: s.Now(), Says: "notHealthyHigh, stopped", Silent: true, SilentAt: s.Now().Add(-time.Hour)})
	g.console, err = New(Options{Desk: s.Desk, Operators: s.Operators, Now: s.Now, Rand: rand.Reader})
	check(t, err)
	id := string(first.ID)
	g.paths = map[string]string{
		"queue": "/", "identities": "/identities", "identity": "/identities/" + id,
		"plan": "/identities/" + string(quiet.ID) + "/plan?playbook=leaked-credentials",
		"runs": "/runs", "run": "/runs/" + string(g.waiting),
		"approvals": "/approvals", "approval": "/approvals/" + string(g.asked.ID),
		"actions": "/actions", "action": "/actions/" + string(g.act),
		"signal": "/signals/" + string(desktest.Tenant) + "/" + string(signal.RiskDetection) + "/" + url.PathEscape("d-travel/1"),
		"case":   "/cases/" + g.cas, "further": "/cases/" + g.cas + "/further", "links": "/identities/" + id + "/links?day=2026-03-01",
		"campaigns": "/campaigns", "campaign": "/campaigns/" + string(g.campaign), "going": "/campaigns/" + string(g.going),
		"exceptions": "/exceptions", "sweep": "/sweep?days=30",
		"feeds": "/feeds", "hold": "/hold", "audit": "/audit", "reveal": "/handover/" + string(g.hand), "error": "/nothing", "signin": "/signin",
	}
	return g
}

// A browser keeps a cookie and sends forms as one would.
type browser struct {
	t      testing.TB
	g      *gallery
	cookie *http.Cookie
}

// as is a browser in which the operator is signed in.
func (g *gallery) as(t testing.TB, op access.OperatorID) *browser {
	t.Helper()
	b := &browser{t: t, g: g}
	if op == "" {
		return b
	}
	w := b.send("POST", "/signin", url.Values{"token": {desktest.Token(op)}})
	if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) != 1 {
		t.Fatalf("sign in as %s: %d %s", op, w.Code, w.Body)
	}
	b.cookie = w.Result().Cookies()[0]
	return b
}

func (b *browser) send(method, path string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.g.console.ServeHTTP(w, r)
	return w
}

func (b *browser) get(path string) *httptest.ResponseRecorder { return b.send("GET", path, nil) }

// post sends a form with the session's token.
func (b *browser) post(path string, pairs ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(b.cookie)
	_, s, ok := b.g.console.signedIn(r, true)
	if !ok {
		b.t.Fatal("nobody is signed in")
	}
	form := url.Values{"csrf": {s.csrf}}
	for n := 0; n+1 < len(pairs); n += 2 {
		form.Set(pairs[n], pairs[n+1])
	}
	return b.send("POST", path, form)
}
