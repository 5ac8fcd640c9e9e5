package store_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/push"
	"github.com/seed-f47efad2/cordon/internal/store"
	"github.com/seed-f47efad2/cordon/internal/store/pgtest"
	"github.com/seed-f47efad2/cordon/internal/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// opened returns an open store on the dsn, closed when the test ends.
func opened(t testing.TB, dsn string, o store.Options) *store.DB {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	db, err := store.Open(t.Context(), dsn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// dialects are the databases every test of behaviour runs on.
var dialects = map[string]func(testing.TB) string{
	"SQLite":     func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "cordon.db") },
	"PostgreSQL": postgres,
}

// postgres returns a database with the tables in it.
func postgres(t testing.TB) string {
	return pgtest.Prepared(t, func(dsn string) error {
		db, err := store.Open(context.Background(), dsn, store.Options{})
		if err != nil {
			return err
		}
		return db.Close()
	})
}

func ports(db *store.DB) storetest.Ports {
	return storetest.Ports{Runs: db.Runs(), Campaigns: db.Campaigns(), Ingest: db.Ingest(), Dispatch: db.Dispatch(), Desk: db.Desk(), Audit: db.Audit(), Records: db.Records(), Questions: db.Questions(), Histories: db.Histories,
		Prune: func(ctx context.Context, b [4]time.Time, limit int) ([4]int, error) {
			p, err := db.Prune(ctx, store.Cutoffs{Records: b[0], Rejects: b[1], Versions: b[2], Intents: b[3]}, limit)
			return [4]int{p.Records, p.Rejects, p.Versions, p.Intents}, err
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) storetest.Ports { return ports(opened(t, dsn(t), store.Options{})) })
		})
	}
}

func TestPushes(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			storetest.Pushes(t, func(t *testing.T) push.Store { return opened(t, dsn(t), store.Options{}).Pushes() })
		})
	}
}
