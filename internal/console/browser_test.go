package console

import (
	"net/http/httptest"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/run"
)

// badge is a script's expression: whether the page's head shows a state.
func badgeIs(word string) string {
	return `document.querySelector(".title .badge").textContent.includes("` + word + `")`
}

func TestInTheBrowser(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	b := startChromium(t)
	srv := httptest.NewServer(g.console)
	defer srv.Close()
	defer srv.CloseClientConnections() // the browser's event streams

	link, err := g.console.Link("owner")
	check(t, err)
	p := b.tab(srv.URL, 1280, 1000)

	// Looking at a link does not use it up; pressing its button does.
	p.open(link)
	p.open(link)
	p.click("main button")
	p.wait(`location.pathname === "/" && document.querySelectorAll("[data-row]").length > 4`)
	p.wait(`!document.querySelector(".keys").hidden`) // our script runs under our policy
	for expr, want := range map[string]string{
		`document.querySelectorAll("script").length`:             "1",
		`document.querySelectorAll("img").length`:                "0",
		`document.querySelector("main").innerText.length < 9000`: "true", // the endless name is cut
		`document.documentElement.scrollWidth <= innerWidth`:     "true",
	} {
		if got := p.text(expr); got != want {
			t.Errorf("%s is %s, want %s", expr, got, want)
		}
	}

	// Keys move and open.
	p.key("j")
	p.wait(`document.activeElement.textContent.includes("Avery Brook")`)
	p.key("j")
	p.key("k")
	p.wait(`document.activeElement.textContent.includes("Avery Brook")`)
	p.click("[data-row] .go")
	p.wait(`location.pathname.startsWith("/identities/") && document.readyState === "complete"`)

	// Approve, and watch the run without loading it again.
	p.open(g.paths["approval"])
	p.click("input[name=read]")
	p.click("button.main")
	p.wait(`location.pathname.startsWith("/runs/") && document.readyState === "complete"`)
	p.text(`window.sameDocument = "yes"`)
	g.Prove(g.waiting, "")
	p.wait(badgeIs("contained"))
	if got := p.text("window.sameDocument"); got != "yes" {
		t.Error("the page was loaded again instead of its parts")
	}

	// A hand-over: the key comes behind the # and leaves the address.
	p.open("/handover/" + string(g.hand) + "#" + g.handKey)
	p.wait(`document.querySelector("#key").value.length === 43 && location.hash === ""`)
	p.click("button.main")
	p.wait(`document.querySelector(".secret") !== null`)
	if got := p.text(`document.querySelector(".secret").value`); got == "" {
		t.Error("no password is shown")
	}
	if got := b.alerts(); got != "" {
		t.Errorf("a foreign script ran: %s", got)
	}
}

func TestInTheBrowserWithoutJavaScript(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	b := startChromium(t)
	srv := httptest.NewServer(g.console)
	defer srv.Close()
	link, err := g.console.Link("owner")
	check(t, err)
	p := b.tab(srv.URL, 1280, 1000)
	p.script(false)
	p.open(link)
	p.click("main button")
	p.wait(`location.pathname === "/" && document.querySelectorAll("[data-row]").length > 4`)
	p.click(`a[href^="/approvals"]`)
	p.wait(`location.pathname === "/approvals" && document.readyState === "complete"`)

	// A command, and its progress by loading again.
	p.open(g.paths["action"])
	p.fill("#reason", "wrong person")
	p.click("button.danger")
	p.wait(`location.pathname.startsWith("/runs/") && document.readyState === "complete"`)
	g.Prove(run.ID(p.text(`location.pathname.slice("/runs/".length)`)), "")
	p.wait(badgeIs("done"))

	p.open("/hold")
	p.fill("#reason", "drill")
	p.click("button.danger")
	p.wait(`document.querySelector(".stopped") !== null`)
	p.click(".who button")
	p.wait(`location.pathname === "/signin" && document.querySelector("nav") === null`)
	p.open("/")
	p.wait(`location.pathname === "/signin"`)
}
