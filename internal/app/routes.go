package app

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/console"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/httpapi"
)

// routes puts API, console and probes under one address.
func (a *App) routes() (http.Handler, error) {
	c := a.opts.Config
	pages, err := console.New(console.Options{
		Desk: a.desk, Operators: a.operators, Now: a.opts.Now, Rand: rand.Reader, Log: a.log,
		PublicURL: c.PublicURL, Secure: c.TLS.CertFile != "" || strings.HasPrefix(c.PublicURL, "https://"),
	})
	if err != nil {
		return nil, err
	}
	a.console = pages
	api, err := httpapi.New(httpapi.Options{Desk: a.desk, Operators: a.operators, Session: pages.Session, Push: a.pushes().Do, Version: a.opts.Version, Log: a.log})
	if err != nil {
		return nil, err
	}
	ask, err := console.NewAskPage(a.desk, c.TLS.CertFile != "" || strings.HasPrefix(c.Base(), "https://"), a.log)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(console.AskPath, ask)
	probes := httpapi.Probes(a.Ready, a.metrics.handler())
	mux.Handle("/api/", api)
	for _, p := range []string{"/healthz", "/readyz", "/metrics"} {
		mux.Handle(p, probes)
	}
	mux.Handle("/", pages)
	return mux, nil
}

// Handler returns everything that is served, for callers inside the process.
func (a *App) Handler() http.Handler { return a.handler }

// Ready returns why the process cannot do its work now, or nil.
func (a *App) Ready(ctx context.Context) error {
	if err := a.db.Ping(ctx); err != nil {
		return fault.Errorf(fault.Unavailable, "the store does not answer: %w", err)
	}
	return nil
}

// SignInLink returns a link that signs the operator in to the console, once.
func (a *App) SignInLink(id access.OperatorID) (string, error) {
	path, err := a.console.Link(id)
	if err != nil {
		return "", err
	}
	c := a.opts.Config
	switch {
	case c.PublicURL != "":
		return strings.TrimRight(c.PublicURL, "/") + path, nil
	case c.TLS.CertFile != "":
		return "https://" + a.Addr() + path, nil
	}
	return "http://" + a.Addr() + path, nil
}
