package app

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/store"
)

// Replay says what the playbooks would have done about what is stored of one
// tenant, from a time on and until another. It writes nothing.
func Replay(ctx context.Context, db *store.DB, t config.Tenant, books *playbook.Library, from, until time.Time) (run.Replayed, error) {
	dir, err := db.Desk().Directory(ctx, t.Key())
	if err != nil {
		return run.Replayed{}, fmt.Errorf("replay: %w", err)
	}
	r := run.Replay{Tenant: t.Key(), From: from, Until: until, Policy: t.Policy(), Directory: dir, Connected: connected(t)}
	return r.Play(books, db.Histories(ctx, t.Key(), from))
}
