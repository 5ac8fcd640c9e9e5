// Package httpapitest is the real API over a desktest scene, for tests of
// clients.
package httpapitest

import (
	"net/http"

	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/httpapi"
)

// Handler returns the API of the scene. It panics on a mistake of its own.
func Handler(s *desktest.Scene) http.Handler {
	h, err := httpapi.New(httpapi.Options{Desk: s.Desk, Operators: s.Operators, Version: "test"})
	if err != nil {
		panic("httpapitest: " + err.Error())
	}
	return h
}
