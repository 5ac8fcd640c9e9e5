package console

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestScreenshots writes a picture of every page to CORDON_SHOTS, for people to
// look at; it proves nothing and runs only when asked.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("CORDON_SHOTS")
	if dir == "" {
		t.Skip("CORDON_SHOTS is not set")
	}
	g := newGallery(t)
	owner := g.as(t, "owner").cookie
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/signin" && r.URL.Path != "/events" {
			r.AddCookie(owner)
		}
		g.console.ServeHTTP(w, r)
	}))
	defer srv.Close()
	shoot := func(name, path, size string, more ...string) {
		args := append(browserFlags(t.TempDir()), "--hide-scrollbars", "--window-size="+size, "--screenshot="+filepath.Join(dir, name+".png"))
		args = append(args, more...)
		cmd := exec.CommandContext(t.Context(), "chromium", append(args, srv.URL+path)...)
		cmd.WaitDelay = time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	only := os.Getenv("CORDON_SHOT")
	for name, path := range g.paths {
		if only != "" && only != name {
			continue
		}
		shoot(name, path, "1280,1000")
	}
	if only == "" {
		shoot("queue-dark", "/", "1280,1000", "--blink-settings=preferredColorScheme=0")
		shoot("identity-dark", g.paths["identity"], "1280,1500", "--blink-settings=preferredColorScheme=0")
		shoot("queue-narrow", "/", "500,1200")
		g.as(t, "owner").post("/hold", "on", "yes", "reason", "Drill: nothing may be written for the next ten minutes")
		shoot("stopped", "/", "1280,600")
	}
}
