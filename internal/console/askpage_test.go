package console

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// guest is somebody with a link and a browser, and no operator.
type guest struct {
	*desktest.Scene
	page *AskPage
	log  bytes.Buffer
	path string
	run  run.ID
}

func invite(t *testing.T, name string) *guest {
	t.Helper()
	g := &guest{Scene: desktest.Empty()}
	post := g.Post(question.Channel{ID: "phone", Reach: question.ReachPerson})
	who := desktest.Person(1, name, "robin@corp.example", g.Now())
	sig := g.Travel("sig", time.Minute)
	sig.Location, sig.Title, sig.Type = `<img src=x onerror=alert(1)>`, "", `<script>alert(1)</script>`
	g.run = g.BeginAsking(who.ID, g.AddAtRisk(who, sig))
	check(t, post.Asker.Pass(t.Context(), desktest.Tenant))
	if len(post.Sent) != 1 {
		t.Fatalf("%d questions were sent", len(post.Sent))
	}
	g.path = strings.TrimPrefix(post.Sent[0].Link, "https://ask.example")
	var err error
	g.page, err = NewAskPage(g.Desk, true, slog.New(slog.NewTextHandler(&g.log, nil)))
	check(t, err)
	return g
}

func (g *guest) do(method, path, form string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for n := 0; n+1 < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	w := httptest.NewRecorder()
	g.page.ServeHTTP(w, r)
	return w
}

func (g *guest) answered(t *testing.T) bool {
	t.Helper()
	v, err := g.Desk.RunView(t.Context(), g.Operator("owner"), g.run)
	check(t, err)
	return v.Steps[0].State != run.StepActing
}

// Programs that follow links, and forms that others send, decide nothing; a person who
// chooses does, once.
func TestOnlyAChoiceAnswers(t *testing.T) {
	t.Parallel()
	g := invite(t, "Robin <b>Lake</b> \u202e")
	for range 3 {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if w := g.do(method, g.path, ""); w.Code != http.StatusOK || len(w.Result().Cookies()) != 0 {
				t.Fatalf("%s: %d %s", method, w.Code, w.Body)
			}
		}
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"no choice":                 g.do(http.MethodPost, g.path, ""),
		"a word that is none":       g.do(http.MethodPost, g.path, "answer=maybe"),
		"the choice in the address": g.do(http.MethodPost, g.path+"?answer=yes", ""),
		"from another site":         g.do(http.MethodPost, g.path, "answer=yes", "Sec-Fetch-Site", "cross-site"),
		"another token":             g.do(http.MethodPost, g.path[:len(g.path)-1]+"-", "answer=yes"),
		"too large":                 g.do(http.MethodPost, g.path, "answer=yes&x="+strings.Repeat("x", 2000)),
		"another method":            g.do(http.MethodPut, g.path, "answer=yes"),
	} {
		if w.Code < 400 || g.answered(t) {
			t.Fatalf("%s: %d, answered %t", name, w.Code, g.answered(t))
		}
	}
	w := g.do(http.MethodPost, g.path, "answer=no", "Sec-Fetch-Site", "same-origin")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "no, it was not me") || !g.answered(t) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	again, other := g.do(http.MethodGet, g.path, ""), g.do(http.MethodGet, AskPath+"qst_none/"+strings.Repeat("a", 43), "")
	if again.Code != http.StatusNotFound || again.Body.String() != other.Body.String() {
		t.Errorf("whoever comes again learns more: %d %s", again.Code, again.Body)
	}
	if token := g.path[strings.LastIndex(g.path, "/")+1:]; strings.Contains(g.log.String(), token) {
		t.Error("the secret is in the log")
	}
}

// What comes from outside is text, nothing runs, nothing is fetched from elsewhere, and
// the address stays with us.
func TestThePageOfAQuestion(t *testing.T) {
	t.Parallel()
	g := invite(t, "Robin <b>Lake</b> \u202e")
	w := g.do(http.MethodGet, g.path, "")
	h := w.Header()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
		"X-Frame-Options": "DENY", "Cache-Control": "no-store", "X-Robots-Tag": "noindex", "Strict-Transport-Security": "max-age",
	} {
		if !strings.HasPrefix(h.Get(name), want) {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
	if strings.Contains(h.Get("Content-Security-Policy"), "unsafe") || strings.Contains(h.Get("Content-Security-Policy"), "script-src") {
		t.Errorf("policy %q", h.Get("Content-Security-Policy"))
	}
	doc, err := html.Parse(strings.NewReader(w.Body.String()))
	check(t, err)
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.ElementNode {
			switch n.Data {
			case "script", "img", "link", "iframe", "b", "object":
				t.Errorf("an element <%s>", n.Data)
			}
			for _, a := range n.Attr {
				if a.Key == "src" || a.Key == "href" || a.Key == "style" || strings.HasPrefix(a.Key, "on") || a.Key == "checked" {
					t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
				}
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(doc)
	if body := w.Body.String(); strings.Contains(body, "\u202e") || !strings.Contains(body, "&lt;img") || !strings.Contains(body, url.QueryEscape("203.0.113.7")) {
		t.Errorf("%s", body)
	}
	// Whoever tries many addresses waits.
	for range 12 {
		w = g.do(http.MethodGet, AskPath+"qst_none/guess", "")
	}
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("after many guesses: %d", w.Code)
	}
}
