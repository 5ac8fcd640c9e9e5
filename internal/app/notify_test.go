package app_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/notify"
)

const signing = "a-signing-key-of-the-test-long-enough"

// A stop that an operator switches on reaches the webhook of the configuration,
// signed, also when the receiver comes up only after the process ended once.
func TestWhatHappensIsToldAcrossARestart(t *testing.T) {
	t.Parallel()
	got := make(chan map[string]any, 100)
	up := make(chan struct{})
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-up:
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		id, err := notify.Verify(signing, r.Header, body, time.Now())
		var v map[string]any
		if err != nil || json.Unmarshal(body, &v) != nil || v["id"] != id {
			t.Errorf("id %q, %v: %s", id, err, body)
		}
		got <- v
	}))
	t.Cleanup(far.Close)
	h := house{t: t, folder: open(t).folder}
	h.write("url", far.URL+"/hook")
	h.write("secret", signing)
	h.write("cordon.yaml", strings.Replace(base, "cordon.db", "told.db", 1)+"notify:\n  - {id: soar, kind: webhook, url: file:url, secret: file:secret, events: [stop.on, stop.off]}\n")
	c, err := config.Load(filepath.Join(h.folder, "cordon.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	// run lives until the function returns.
	run := func(while func(*app.App)) {
		a, err := app.New(t.Context(), app.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		while(a)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	placed := func(a *app.App) notify.Place {
		for range 600 {
			if p, err := a.Store().Notify().Place(t.Context(), "soar", "11111111-1111-4111-8111-111111111111"); err == nil {
				return p
			}
			<-time.After(100 * time.Millisecond)
		}
		t.Fatal("the receiver never got its place")
		return notify.Place{}
	}
	run(func(a *app.App) {
		placed(a)
		if _, err := a.Desk().Hold(t.Context(), h.owner(), "", true, "a drill"); err != nil {
			t.Fatal(err)
		}
	})
	close(up)
	run(func(a *app.App) {
		select {
		case v := <-got:
			if v["type"] != "stop.on" || !strings.Contains(v["text"].(string), "a drill") {
				t.Errorf("told of %v", v)
			}
		case <-time.After(time.Minute):
			t.Errorf("not told; place %+v", placed(a))
		}
	})
}
