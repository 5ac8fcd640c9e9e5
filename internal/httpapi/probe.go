package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// probeTimeout bounds a readiness check.
const probeTimeout = 3 * time.Second

// Probes answers /healthz, /readyz and /metrics. /healthz says that the process
// answers; /readyz calls ready and says 503 with its error while Cordon cannot do
// its work (the text names a part, never a secret). A nil metrics is 404.
func Probes(ready func(context.Context) error, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
		defer cancel()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := ready(ctx); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "not ready: %s\n", err)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	return mux
}
