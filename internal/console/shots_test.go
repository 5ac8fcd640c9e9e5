package console

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// TestScreenshots writes a picture of every page to the folder CORDON_SHOTS, for
// people to look at; it proves nothing and runs only when asked.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("CORDON_SHOTS")
	if dir == "" {
		t.Skip("CORDON_SHOTS is not set")
	}
	g := newGallery(t)
	b := startChromium(t)
	srv := httptest.NewServer(g.console)
	defer srv.Close()
	defer srv.CloseClientConnections()
	in := func(width, height int) *tab {
		link, err := g.console.Link("owner")
		check(t, err)
		p := b.tab(srv.URL, width, height)
		p.open(link)
		p.click("main button")
		p.wait(`location.pathname === "/"`)
		return p
	}
	p, narrow := in(1280, 900), in(420, 900)
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
	w := g.as(t, "analyst").post("/identities/"+string(g.quiet)+"/hand-over", "reason", "back at work")
	if w.Code != 200 {
		t.Fatal(w.Code)
	}
}
