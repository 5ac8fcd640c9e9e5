//go:build shots

package console

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// TestScreenshots writes a picture of every page to the folder CORDON_SHOTS, for
// people to look at; it proves nothing, so it is built only with -tags shots. With
// CORDON_SHOTS_LINK, a sign-in link of a running Cordon, it shows that one.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("CORDON_SHOTS")
	if dir == "" {
		t.Fatal("CORDON_SHOTS, the folder for the pictures, is not set")
	}
	if link := os.Getenv("CORDON_SHOTS_LINK"); link != "" {
		shootRunning(t, dir, link)
		return
	}
	g := newGallery(t)
	b := startChromium(t)
	srv := httptest.NewServer(g.console)
	defer srv.Close()
	defer srv.CloseClientConnections()
	in := func(width, height int) *tab {
		link, err := g.console.Link("owner")
		check(t, err)
		return signedInTab(b, srv.URL, link, width, height)
	}
	p, narrow := in(1280, 900), in(400, 900)
	for name, path := range g.paths {
		p.dark(false)
		p.open(path)
		p.shoot(filepath.Join(dir, name+".png"), true)
		p.dark(true)
		p.shoot(filepath.Join(dir, name+"-dark.png"), true)
		narrow.open(path)
		narrow.shoot(filepath.Join(dir, name+"-narrow.png"), true)
	}
	g.as(t, "owner").post("/hold", "on", "yes", "reason", "Drill: nothing may be written for the next ten minutes")
	p.dark(false)
	p.open("/")
	p.shoot(filepath.Join(dir, "stopped.png"), false)
	p.open("/hold")
	p.shoot(filepath.Join(dir, "stopped-hold.png"), false)
}

func signedInTab(b *chromium, base, link string, width, height int) *tab {
	b.t.Helper()
	p := b.tab(base, width, height)
	p.open(link)
	p.click("main button")
	p.wait(`location.pathname === "/" && document.readyState === "complete"`)
	return p
}

func shootRunning(t *testing.T, dir, link string) {
	t.Helper()
	u, err := url.Parse(link)
	check(t, err)
	p := signedInTab(startChromium(t), u.Scheme+"://"+u.Host, u.RequestURI(), 1280, 1180)
	for _, page := range []struct{ name, path, follow string }{
		{"queue", "/", ""}, {"identity", "/", "[data-row] .go"}, {"runs", "/runs", ""}, {"run", "/runs?state=contained", "[data-row] .go"},
		{"approvals", "/approvals", ""}, {"approval", "/approvals?state=all", "[data-row] .go"}, {"actions", "/actions", ""},
		{"action", "/actions?state=verified", "[data-row] .go"}, {"audit", "/audit", ""}, {"identities", "/identities", ""},
	} {
		p.open(page.path)
		if page.follow != "" {
			if p.text(`document.querySelector("`+page.follow+`") !== null`) != "true" {
				continue
			}
			p.text(`window.before = "yes"`)
			p.click(page.follow)
			p.wait(`window.before === undefined && document.readyState === "complete"`)
		}
		p.shoot(filepath.Join(dir, page.name+".png"), page.name != "queue")
	}
}

// dark sets what the page is told of the system's colours.
func (p *tab) dark(on bool) {
	p.t.Helper()
	v := map[bool]string{true: "dark", false: "light"}[on]
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]any{{"name": "prefers-color-scheme", "value": v}}})
}

// shoot writes a picture of the page, whole or of the first screen.
func (p *tab) shoot(file string, whole bool) {
	p.t.Helper()
	var r struct{ Data string }
	b := p.do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole})
	if err := json.Unmarshal(b, &r); err != nil {
		p.t.Fatal(err)
	}
	png, err := base64.StdEncoding.DecodeString(r.Data)
	if err == nil {
		err = os.WriteFile(file, png, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
