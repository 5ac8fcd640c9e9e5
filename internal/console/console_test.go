package console

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/run"
)

func TestEveryPage(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	files, err := fs.ReadDir(templateFiles, "template")
	check(t, err)
	// handover is the answer to a form, tested with the forms.
	answers := []string{"layout", "parts", "handover"}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".html")
		if slices.Contains(answers, name) {
			continue
		}
		path, ok := g.paths[name]
		if !ok {
			t.Errorf("page %s is not in the gallery", name)
			continue
		}
		for _, role := range []access.OperatorID{"owner", "auditor", "analyst"} {
			t.Run(name+"/"+string(role), func(t *testing.T) {
				t.Parallel()
				w := g.as(t, role).get(path)
				want := http.StatusOK
				switch {
				case name == "error":
					want = http.StatusNotFound
				case name == "plan" && role == "auditor", name == "audit" && role == "analyst":
					want = http.StatusForbidden
				}
				if w.Code != want {
					t.Fatalf("%s: %d, want %d: %s", path, w.Code, want, w.Body)
				}
				inspect(t, w.Body.String())
			})
		}
	}
}

// inspect checks what every page owes: nothing inline, forms that are ours,
// fields with names, landmarks, and no foreign markup.
func inspect(t *testing.T, doc string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(doc))
	check(t, err)
	ids, labels, count := map[string]bool{}, map[string]bool{}, map[string]int{}
	var fields []*html.Node
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		count[n.Data]++
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcdoc" {
				t.Errorf("<%s> has the attribute %s, which our policy forbids", n.Data, a.Key)
			}
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("two elements have the id %q", id)
			}
			ids[id] = true
		}
		switch n.Data {
		case "label":
			labels[attr(n, "for")] = true
		case "input", "select", "textarea":
			fields = append(fields, n)
		case "script":
			if !strings.HasPrefix(attr(n, "src"), "/static/live.") || n.FirstChild != nil {
				t.Errorf("a script that is not ours: %v", n.Attr)
			}
		case "a", "form":
			leads(t, n)
		case "th":
			if attr(n, "scope") == "" {
				t.Error("a table's head without a scope")
			}
		case "section":
			if attr(n, "aria-labelledby") == "" && attr(n, "aria-label") == "" && len(n.Attr) > 1 {
				t.Errorf("a section without a name: %v", n.Attr)
			}
		}
	}
	for _, f := range fields {
		named := attr(f, "type") == "hidden" || attr(f, "aria-label") != "" || labels[attr(f, "id")] && attr(f, "id") != ""
		for p := f.Parent; p != nil && !named; p = p.Parent {
			named = p.Data == "label"
		}
		if !named {
			t.Errorf("a field without a label: %v", f.Attr)
		}
	}
	for tag, want := range map[string]int{"h1": 1, "main": 1, "script": 1, "img": 0, "title": 1, "header": 1} {
		if count[tag] != want {
			t.Errorf("%d <%s>, want %d", count[tag], tag, want)
		}
	}
	for _, r := range doc {
		if turns(r) || r == 0 || r == 0x1b {
			t.Fatalf("the page holds the character %U", r)
		}
	}
	if len(doc) > 200_000 {
		t.Errorf("the page has %d bytes: something endless was not cut", len(doc))
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// leads checks where a link or a form leads, and that a command carries the
// session's token.
func leads(t *testing.T, n *html.Node) {
	t.Helper()
	to := attr(n, "href")
	if n.Data == "form" {
		to = attr(n, "action")
	}
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || to == "" || !strings.ContainsAny(to[:1], "/?#") {
		t.Errorf("<%s> leads to %q", n.Data, to)
	}
	if n.Data != "form" || attr(n, "method") != "post" || to == "/signin" {
		return
	}
	for f := range n.Descendants() {
		if f.Data == "input" && attr(f, "name") == "csrf" && attr(f, "value") != "" {
			return
		}
	}
	t.Errorf("the form for %s has no token", to)
}

func TestHostileNamesAreTextOnEveryList(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	b := g.as(t, "owner")
	for _, page := range []string{"queue", "identities", "runs", "approvals", "actions", "audit", "feeds"} {
		doc := b.get(g.paths[page]).Body.String()
		if !strings.Contains(doc, "&lt;script&gt;alert(1)") {
			t.Errorf("%s does not show the hostile name", page)
		}
		if strings.Contains(doc, "<script>alert") {
			t.Errorf("%s holds it as markup", page)
		}
	}
	doc := b.get("/identities/id_000004").Body.String()
	inspect(t, doc)
	evidence := "/signals/" + string(desktest.Tenant) + "/entra.riskDetection/" + url.PathEscape("d-"+strings.Repeat("x", 60)+"</script>")
	if !strings.Contains(doc, `href="`+evidence) {
		t.Errorf("the evidence is not linked by %s", evidence)
	}
	w := b.get(evidence)
	if w.Code != http.StatusOK {
		t.Fatalf("the evidence: %d", w.Code)
	}
	inspect(t, w.Body.String())
}

func TestNobodySeesAnythingWithoutSigningIn(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	nobody := g.as(t, "")
	for name, path := range g.paths {
		if name == "signin" || name == "error" {
			continue
		}
		w := nobody.get(path)
		if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/signin") {
			t.Errorf("%s: %d to %s; want to be led to sign in", path, w.Code, w.Header().Get("Location"))
		}
	}
	if w := nobody.get("/events"); w.Code != http.StatusUnauthorized {
		t.Errorf("events: %d", w.Code)
	}
	for _, path := range []string{"/hold", "/signout", "/approvals/" + string(g.asked.ID) + "/approve", "/handover/" + string(g.hand)} {
		if w := nobody.send("POST", path, url.Values{"on": {"yes"}, "read": {"yes"}, "plan": {g.asked.PlanHash}, "key": {g.handKey}}); w.Code != http.StatusSeeOther {
			t.Errorf("POST %s: %d", path, w.Code)
		}
	}
	if q, _ := g.Store.Approval(t.Context(), "", g.asked.ID); q.State != approval.Pending {
		t.Error("somebody who is nobody approved")
	}
}

func TestCommandsNeedTheSessionsToken(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	owner, other := g.as(t, "owner"), g.as(t, "responder")
	form := url.Values{"on": {"yes"}}
	w := owner.send("POST", "/hold", form)
	if w.Code != http.StatusForbidden {
		t.Errorf("without a token: %d", w.Code)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(other.cookie)
	_, s, _ := g.console.signedIn(r, true)
	form.Set("csrf", s.csrf)
	if w := owner.send("POST", "/hold", form); w.Code != http.StatusForbidden {
		t.Errorf("with another session's token: %d", w.Code)
	}
	cross := httptest.NewRequest("POST", "/hold", strings.NewReader(form.Encode()))
	cross.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	cross.Header.Set("Sec-Fetch-Site", "cross-site")
	cross.AddCookie(other.cookie)
	cw := httptest.NewRecorder()
	g.console.ServeHTTP(cw, cross)
	if cw.Code != http.StatusForbidden {
		t.Errorf("from another site, with the right token: %d", cw.Code)
	}
	if stop, _ := g.Store.Stop(t.Context(), ""); stop.On {
		t.Error("one of them stopped writes")
	}
	if w := owner.post("/hold", "on", "yes", "reason", strings.Repeat("x", 100_000)); w.Code != http.StatusRequestEntityTooLarge && w.Code != http.StatusBadRequest {
		t.Errorf("an endless form: %d", w.Code)
	}
	if w := owner.post("/hold", "on", "yes", "reason", "drill"); w.Code != http.StatusSeeOther {
		t.Errorf("the right form: %d %s", w.Code, w.Body)
	}
	if w := owner.get("/"); !strings.Contains(w.Body.String(), "All writes are stopped") || !strings.Contains(w.Body.String(), "drill") {
		t.Error("no page says that writes are stopped")
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	owner, analyst := g.as(t, "owner"), g.as(t, "analyst")
	approve := "/approvals/" + string(g.asked.ID) + "/approve"
	acting, err := g.Desk.ActionView(t.Context(), g.Operator("owner"), g.act)
	if err != nil {
		t.Fatal(err)
	}
	stands := acting.ExpiresAt.Format(time.RFC3339Nano)
	for b, want := range map[*browser]bool{owner: true, analyst: false} {
		if has := strings.Contains(b.get("/actions/"+string(g.act)).Body.String(), `value="`+stands+`"`); has != want {
			t.Errorf("a form to let it stand longer: %v, want %v", has, want)
		}
	}
	for name, c := range map[string]struct {
		b     *browser
		path  string
		form  []string
		want  int
		where string
	}{
		"approve unread":           {owner, approve, []string{"plan", g.asked.PlanHash}, 400, ""},
		"approve a stale plan":     {owner, approve, []string{"plan", "old", "read", "yes"}, 409, ""},
		"approve as an analyst":    {analyst, approve, []string{"plan", g.asked.PlanHash, "read", "yes"}, 403, ""},
		"reject without a reason":  {owner, "/approvals/" + string(g.asked.ID) + "/reject", []string{"plan", g.asked.PlanHash}, 400, ""},
		"undo without a reason":    {owner, "/actions/" + string(g.act) + "/undo", nil, 400, ""},
		"extend without a reason":  {owner, "/actions/" + string(g.act) + "/extend", []string{"from", stands, "hours", "1"}, 400, ""},
		"extend by words":          {owner, "/actions/" + string(g.act) + "/extend", []string{"from", stands, "hours", "many", "reason", "r"}, 400, ""},
		"extend from nowhen":       {owner, "/actions/" + string(g.act) + "/extend", []string{"hours", "1", "reason", "r"}, 400, ""},
		"extend for a year":        {owner, "/actions/" + string(g.act) + "/extend", []string{"from", stands, "hours", "8760", "reason", "r"}, 403, ""},
		"extend for ever":          {owner, "/actions/" + string(g.act) + "/extend", []string{"from", stands, "hours", "8761", "reason", "r"}, 400, ""},
		"extend as an analyst":     {analyst, "/actions/" + string(g.act) + "/extend", []string{"from", stands, "hours", "1", "reason", "r"}, 403, ""},
		"verdict without a word":   {owner, "/cases/" + g.cas + "/verdict", nil, 400, ""},
		"an empty note":            {analyst, "/cases/" + g.cas + "/notes", nil, 400, ""},
		"a note by an auditor":     {g.as(t, "auditor"), "/cases/" + g.cas + "/notes", []string{"text", "x"}, 403, ""},
		"no such question":         {analyst, "/cases/" + g.cas + "/notes", []string{"question", "x", "answer", "yes"}, 404, ""},
		"an exception by analyst":  {analyst, "/exceptions", []string{"kind", "VPN egress", "name", "w", "ranges", "203.0.113.0/24", "owner", "o", "until", "2026-06-30", "reason", "r"}, 403, ""},
		"an exception for ever":    {owner, "/exceptions", []string{"kind", "VPN egress", "name", "w", "ranges", "203.0.113.0/24", "owner", "o", "reason", "r"}, 400, ""},
		"end no exception":         {owner, "/exceptions/none/end", []string{"reason", "r"}, 404, ""},
		"link without a reason":    {analyst, "/identities/" + string(g.quiet) + "/link", []string{"from", string(g.person)}, 400, ""},
		"unlink the only account":  {analyst, "/identities/" + string(g.quiet) + "/unlink", []string{"account", desktest.ObjectID(7), "reason", "r"}, 409, ""},
		"tag without a reason":     {analyst, "/identities/" + string(g.quiet) + "/tag", []string{"tag", "VIP"}, 400, ""},
		"no such tag":              {analyst, "/identities/" + string(g.quiet) + "/tag", []string{"tag", "nice", "reason", "r"}, 400, ""},
		"untag by an analyst":      {analyst, "/identities/" + string(g.quiet) + "/untag", []string{"tag", "VIP", "reason", "r"}, 403, ""},
		"untag what is not":        {owner, "/identities/" + string(g.quiet) + "/untag", []string{"tag", "VIP", "reason", "r"}, 404, ""},
		"evidence for an analyst":  {analyst, "/cases/" + g.cas + "/evidence", nil, 403, ""},
		"start nothing":            {analyst, "/identities/" + string(g.quiet) + "/start", nil, 404, ""},
		"hold neither on nor off":  {owner, "/hold", nil, 400, ""},
		"resume as an analyst":     {analyst, "/hold", []string{"on", "no"}, 403, ""},
		"reveal another's":         {analyst, "/handover/" + string(g.hand), []string{"key", g.handKey}, 403, ""},
		"reveal with another key":  {owner, "/handover/" + string(g.hand), []string{"key", "x"}, 400, ""},
		"hand-over with no reason": {analyst, "/identities/" + string(g.quiet) + "/hand-over", nil, 400, ""},
		"campaign unread":          {owner, "/campaigns/" + string(g.campaign) + "/approve", []string{"hash", g.root}, 400, ""},
		"campaign of another root": {owner, "/campaigns/" + string(g.campaign) + "/approve", []string{"hash", "old", "read", "yes"}, 409, ""},
		"campaign by an analyst":   {analyst, "/campaigns/" + string(g.campaign) + "/approve", []string{"hash", g.root, "read", "yes"}, 403, ""},
		"campaign with no reason":  {analyst, "/campaigns", []string{"playbook", "token-theft", "canary", "5", "wave", "5"}, 400, ""},
		"campaign of words":        {analyst, "/campaigns", []string{"playbook", "token-theft", "canary", "x", "wave", "5", "reason", "r"}, 400, ""},
		"stop without a reason":    {owner, "/campaigns/" + string(g.going) + "/stop", nil, 400, ""},
		"no such campaign form":    {owner, "/campaigns/" + string(g.going) + "/nothing", nil, 404, ""},
		"no such form":             {owner, "/nothing", nil, 404, ""},
	} {
		if w := c.b.post(c.path, c.form...); w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		} else {
			inspect(t, w.Body.String())
		}
	}
	for _, c := range []struct{ path, reason, hash string }{
		{string(g.campaign) + "/approve", "", g.root}, {string(g.going) + "/pause", "look", ""}, {string(g.going) + "/resume", "", ""}, {string(g.going) + "/stop", "enough", ""},
	} {
		if w := owner.post("/campaigns/"+c.path, "read", "yes", "hash", c.hash, "reason", c.reason); w.Code != http.StatusSeeOther {
			t.Errorf("campaign %s: %d %s", c.path, w.Code, w.Body)
		}
	}
	if v, err := g.Desk.CampaignView(t.Context(), g.Operator("owner"), g.going); err != nil || v.Campaign.State != campaign.Stopped {
		t.Errorf("the stopped campaign: %+v, %v", v.Campaign, err)
	}
	for _, c := range []struct {
		name  string
		b     *browser
		path  string
		form  []string
		where string
	}{
		{"approve", owner, approve, []string{"plan", g.asked.PlanHash, "read", "yes"}, "/runs/" + string(g.waiting) + "?said=approved"},
		{"start", analyst, "/identities/" + string(g.quiet) + "/start", []string{"playbook", "token-theft", "reason", "a caller"}, "/runs/"},
		{"extend", owner, "/actions/" + string(g.act) + "/extend", []string{"from", stands, "hours", "12", "reason", "still looking"}, "/actions/" + string(g.act) + "?said=extended"},
		{"extend again", owner, "/actions/" + string(g.act) + "/extend", []string{"from", stands, "hours", "12", "reason", "still looking"}, "/actions/" + string(g.act) + "?said=extended"},
		{"undo", owner, "/actions/" + string(g.act) + "/undo", []string{"reason", "wrong"}, "/runs/"},
		{"note", analyst, "/cases/" + g.cas + "/notes", []string{"text", "rang back"}, "/cases/" + g.cas + "?said=noted"},
		{"answer", analyst, "/cases/" + g.cas + "/notes", []string{"question", "triage.others", "answer", "no"}, "/cases/" + g.cas + "?said=noted"},
		{"exception", owner, "/exceptions", []string{"kind", "VPN egress", "name", "west", "ranges", "203.0.113.0/24, 198.51.100.7", "owner", "network", "until", "2026-06-30", "reason", "ours"}, "/exceptions?said=excepted"},
		{"link", analyst, "/identities/" + string(g.lone) + "/link", []string{"from", string(g.spare), "reason", "one person"}, "/identities/" + string(g.lone) + "/links?said=linked"},
		{"unlink", analyst, "/identities/" + string(g.lone) + "/unlink", []string{"account", desktest.ObjectID(10), "reason", "two people"}, "/identities/" + string(g.spare) + "/links?said=unlinked"},
		{"tag", analyst, "/identities/" + string(g.quiet) + "/tag", []string{"tag", "vip", "reason", "the board"}, "/identities/" + string(g.quiet) + "?said=tagged"},
		{"untag", owner, "/identities/" + string(g.quiet) + "/untag", []string{"tag", "VIP", "reason", "left the board"}, "/identities/" + string(g.quiet) + "?said=untagged"},
		{"verdict", analyst, "/cases/" + g.cas + "/verdict", []string{"word", string(casefile.Benign)}, "/identities/" + string(g.person) + "?said=verdict"},
		{"resume", owner, "/hold", []string{"on", "no"}, "/hold?said=resumed"},
	} {
		w := c.b.post(c.path, c.form...)
		if where := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.HasPrefix(where, c.where) {
			t.Errorf("%s: %d to %q, want %q: %s", c.name, w.Code, where, c.where, w.Body)
			continue
		}
		page, _, _ := strings.Cut(w.Header().Get("Location"), "#") // a browser keeps the fragment
		shown := c.b.get(page)
		if shown.Code != http.StatusOK || !strings.Contains(shown.Body.String(), `class="said"`) {
			t.Errorf("%s: where it leads says nothing of it: %d", c.name, shown.Code)
		}
	}
}

// The evidence comes as a file, whole, and says what its manifest's hash is.
func TestEvidenceIsDownloaded(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	w := g.as(t, "auditor").post("/cases/" + g.cas + "/evidence")
	var e desk.Evidence
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != http.StatusOK || len(e.Files) < 10 || e.SHA256 == "" {
		t.Fatalf("%d, %d files, %v", w.Code, len(e.Files), err)
	}
	if d := w.Header().Get("Content-Disposition"); !strings.HasPrefix(d, "attachment") || !strings.Contains(d, g.cas) {
		t.Errorf("disposition %q", d)
	}
}

// What a verdict does is on the page before it is given, and so are the questions.
func TestACaseSaysWhatAVerdictDoes(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	text := g.as(t, "analyst").get("/cases/" + g.cas).Body.String()
	for _, want := range []string{"Consequences of safe", "password is unchanged since the detection", "cannot be undone", "adminDismissedAllRiskForUser", "What the open signals mean", "leakedCredentials", "Is it one identity"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if text := g.as(t, "auditor").get(g.paths["further"]).Body.String(); !strings.Contains(text, "Ask Defender") || strings.Count(text, "| order by Timestamp desc") < 2 {
		t.Error("there is no whole query for Defender")
	}
	if strings.Contains(g.as(t, "auditor").get("/cases/"+g.cas).Body.String(), `name="word"`) {
		t.Error("an auditor is offered the verdict")
	}
}

func TestAHandOverIsShownOnce(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	w := g.as(t, "analyst").post("/identities/"+string(g.quiet)+"/hand-over", "reason", "back at work", "recipient", "owner")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "http://example.com/handover/run_") {
		t.Fatalf("ask: %d, want the link in the page", w.Code)
	}
	inspect(t, w.Body.String())
	owner := g.as(t, "owner")
	w = owner.post("/handover/"+string(g.hand), "key", g.handKey)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), desktest.Password) {
		t.Fatalf("reveal: %d", w.Code)
	}
	inspect(t, w.Body.String())
	if w = owner.post("/handover/"+string(g.hand), "key", g.handKey); w.Code != http.StatusConflict || strings.Contains(w.Body.String(), desktest.Password) {
		t.Errorf("again: %d", w.Code)
	}
	if w = owner.get("/handover/" + string(g.hand)); strings.Contains(w.Body.String(), desktest.Password) {
		t.Error("looking at the page shows the password")
	}
}

func TestOneTimeLinks(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	path, err := g.console.Link("analyst")
	check(t, err)
	secret := strings.TrimPrefix(path, "/signin?t=")
	nobody := g.as(t, "")
	for range 3 { // whoever looks at links does not burn them
		if w := nobody.get(path); w.Code != http.StatusOK || len(w.Result().Cookies()) != 0 {
			t.Fatalf("looking: %d %v", w.Code, w.Result().Cookies())
		}
	}
	w := nobody.send("POST", "/signin", url.Values{"t": {secret}})
	if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) != 1 {
		t.Fatalf("using: %d %s", w.Code, w.Body)
	}
	if c := w.Result().Cookies()[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || len(c.Value) != 43 {
		t.Errorf("cookie over HTTP: %v", c)
	}
	if w := nobody.send("POST", "/signin", url.Values{"t": {secret}}); w.Code != http.StatusForbidden || len(w.Result().Cookies()) != 0 {
		t.Errorf("a second time: %d", w.Code)
	}
	late, err := g.console.Link("analyst")
	check(t, err)
	g.Pass(linkLife)
	if w := nobody.send("POST", "/signin", url.Values{"t": {strings.TrimPrefix(late, "/signin?t=")}}); w.Code != http.StatusForbidden {
		t.Errorf("too late: %d", w.Code)
	}
	if _, err := g.console.Link("nobody"); err == nil {
		t.Error("a link for an operator who is none")
	}
	signed := slices.DeleteFunc(g.Store.Entries(), func(e audit.Entry) bool { return e.Kind != audit.SignedIn })
	if len(signed) != 1 || signed[0].Actor != access.ByOperator("analyst") || strings.Contains(signed[0].Text, secret) {
		t.Errorf("trail: %+v; want one sign-in by link", signed)
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	signedIn := func(b *browser) bool { return b.get("/").Code == http.StatusOK }
	t.Run("by signing out", func(t *testing.T) {
		t.Parallel()
		b := newGallery(t).as(t, "owner")
		if w := b.post("/signout"); w.Code != http.StatusSeeOther || w.Result().Cookies()[0].MaxAge >= 0 || signedIn(b) {
			t.Errorf("still signed in: %d", w.Code)
		}
	})
	t.Run("when idle", func(t *testing.T) {
		t.Parallel()
		g := newGallery(t)
		b := g.as(t, "owner")
		g.Pass(sessionIdle - time.Second)
		if !signedIn(b) {
			t.Error("ended too early")
		}
		g.Pass(sessionIdle)
		if signedIn(b) {
			t.Error("still signed in after two idle hours")
		}
	})
	t.Run("after twelve hours of use", func(t *testing.T) {
		t.Parallel()
		g := newGallery(t)
		b := g.as(t, "owner")
		for range 7 {
			g.Pass(100 * time.Minute)
			if !signedIn(b) {
				t.Fatal("ended too early")
			}
		}
		g.Pass(20 * time.Minute)
		if signedIn(b) {
			t.Error("still signed in")
		}
	})
	t.Run("with the operator", func(t *testing.T) {
		t.Parallel()
		g := newGallery(t)
		b := g.as(t, "owner")
		check(t, g.Operators.Replace([]desk.Known{{Operator: g.Operator("analyst")}}))
		if signedIn(b) {
			t.Error("an operator who was taken out is still signed in")
		}
	})
	t.Run("but not by other sign-ins", func(t *testing.T) {
		t.Parallel()
		g := newGallery(t)
		a, b := g.as(t, "owner"), g.as(t, "owner")
		if !signedIn(a) || !signedIn(b) || a.cookie.Value == b.cookie.Value {
			t.Error("two browsers of one operator")
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	now := desktest.Start()
	s := newSessions(func() time.Time { return now }, rand.Reader)
	for range maxSessions + 50 {
		now = now.Add(time.Millisecond)
		_, err := s.begin("owner")
		check(t, err)
	}
	if len(s.open) != maxSessions {
		t.Errorf("%d sessions, want %d", len(s.open), maxSessions)
	}
}

func TestGuessingHasToWait(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	b := g.as(t, "")
	var w *httptest.ResponseRecorder
	for range 5 {
		b.send("POST", "/signin", url.Values{"token": {"guess"}})
		w = b.send("POST", "/signin", url.Values{"t": {"guess"}})
	}
	if w.Code != http.StatusForbidden {
		t.Errorf("the tenth guess: %d", w.Code)
	}
	w = b.send("POST", "/signin", url.Values{"token": {desktest.Token("owner")}})
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || len(w.Result().Cookies()) != 0 {
		t.Errorf("the eleventh, right at last: %d", w.Code)
	}
}

func TestSignInLeadsBackAndNowhereElse(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"": "/", "/runs/run_1?x=1": "/runs/run_1?x=1", "//evil.example": "/", "https://evil.example/": "/", "/\\evil.example": "/",
		"javascript:alert(1)": "/", "runs": "/", "/a\r\nSet-Cookie: x": "/", "/%2f/ok": "/%2f/ok", "\\\\evil": "/",
	} {
		if got := local(next); got != want {
			t.Errorf("local(%q) = %q, want %q", next, got, want)
		}
	}
}

func FuzzLocal(f *testing.F) {
	for _, s := range []string{"/", "//x", "/\\x", "/a?b#c", "https://x", "/\t/x", "/.//x"} {
		f.Add(s)
	}
	base, _ := url.Parse("http://cordon.example/signin") // a constant
	f.Fuzz(func(t *testing.T, next string) {
		got := local(next)
		u, err := base.Parse(got)
		if err != nil || u.Host != base.Host || u.Scheme != "http" || strings.ContainsAny(got, "\r\n\\") || strings.HasPrefix(got, "//") {
			t.Errorf("local(%q) = %q leads to %v", next, got, u)
		}
	})
}

func FuzzShow(f *testing.F) {
	for _, s := range []string{"", "Avery", hostile, "\xff\xfe", "a\u202eb", strings.Repeat("é", 400)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := show(s)
		if n := len([]rune(got)); n > shown+1 {
			t.Errorf("%d characters", n)
		}
		for _, r := range got {
			if turns(r) || r < ' ' || r == 0x7f {
				t.Errorf("show(%q) holds %U", s, r)
			}
		}
	})
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	b := g.as(t, "owner")
	h := b.get("/").Header()
	for name, want := range map[string]string{
		"Content-Security-Policy": csp, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
		"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Strict-Transport-Security": "",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
		t.Error("the policy allows what it is there to forbid")
	}
	tls, err := New(Options{Desk: g.Desk, Operators: g.Operators, Now: g.Now, Rand: rand.Reader, Secure: true})
	check(t, err)
	g.console = tls
	w := b.send("POST", "/signin", url.Values{"token": {desktest.Token("owner")}})
	if c := w.Result().Cookies()[0]; !c.Secure || w.Header().Get("Strict-Transport-Security") == "" {
		t.Errorf("over TLS: cookie %v, headers %v", c, w.Header())
	}
}

func TestStaticFilesAreNamedByTheirContent(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	for name, path := range g.console.static.names {
		w := g.as(t, "").get(path)
		if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
		if strings.HasSuffix(name, ".js") && w.Body.Len() > 20<<10 {
			t.Errorf("%s has %d bytes; at most 20 KB", name, w.Body.Len())
		}
	}
	for _, path := range []string{"/static/style.css", "/static/..%2fconsole.go", "/static/"} {
		if w := g.as(t, "").get(path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestEventsCarryANumberAndNothingElse(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	srv := httptest.NewServer(g.console)
	defer srv.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/events", nil)
	check(t, err)
	r.AddCookie(g.as(t, "analyst").cookie)
	res, err := srv.Client().Do(r)
	check(t, err)
	defer res.Body.Close()
	read := func() string {
		b := make([]byte, 200)
		n, err := res.Body.Read(b)
		check(t, err)
		return string(b[:n])
	}
	pulse := func() int64 {
		n, err := g.Store.Pulse(t.Context())
		check(t, err)
		return n
	}
	if got, want := read(), fmt.Sprintf("event: change\ndata: %d\n\n", pulse()); got != want {
		t.Errorf("first %q, want %q", got, want)
	}
	_, err = g.Desk.Hold(t.Context(), g.Operator("owner"), "", true, "drill")
	check(t, err)
	if got, want := read(), fmt.Sprintf("event: change\ndata: %d\n\n", pulse()); got != want {
		t.Errorf("after a change %q, want %q", got, want)
	}
}

// Words that mean the same must look the same wherever they stand.
func TestEveryStateHasASignAndAWord(t *testing.T) {
	t.Parallel()
	for _, words := range [][]string{
		runsPage{}.States(), actionsPage{}.States(), queuePage{}.Statuses(), approvalsPage{}.States(),
		{string(run.StepPending), string(run.StepSkipped), string(run.StepHeld), "unheard-of"},
	} {
		for _, w := range words {
			if b := state(w); b.Sign == "" || b.Word == "" || b.Tone == "" {
				t.Errorf("%s: %+v", w, b)
			}
		}
	}
	if b := state("verified"); b.Tone != "good" {
		t.Error("verified is not good")
	}
	for _, w := range []string{"accepted", "running", "approved-action", "unconfirmed", "acting"} {
		if state(w).Tone == "good" {
			t.Errorf("%s looks like done; only verified is", w)
		}
	}
}
