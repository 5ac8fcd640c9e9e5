package store_test

import (
	"crypto/rand"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/store"
)

// raw opens the database of a dsn beside the store.
func raw(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	driver, name := "pgx", dsn
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, name = "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// riverJobs counts River's jobs, after removing them all unless they are kept.
func riverJobs(t *testing.T, dsn string, keep bool) (n int) {
	t.Helper()
	db := raw(t, dsn)
	if !keep {
		if _, err := db.Exec(`DELETE FROM river_job`); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.QueryRow(`SELECT count(*) FROM river_job`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// sequenced writes an entry and makes it a leaf.
func sequenced(t *testing.T, db *store.DB) {
	t.Helper()
	err := db.Runs().Update(t.Context(), func(tx run.Tx) error {
		return tx.Audit(audit.Entry{Tenant: tenant, At: time.Now(), Kind: audit.CaseOpened, Text: "x"})
	})
	if err != nil {
		t.Fatal(err)
	}
	private, _, err := audit.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	n, err := audit.NewSequencer(db.Audit(), key, slog.New(slog.DiscardHandler), audit.Options{}).Sequence(t.Context())
	if n != 1 || err != nil {
		t.Fatalf("sequenced %d, %v", n, err)
	}
}

// migrationText is all of a dialect's migrations as they are in the repository.
func migrationText(t *testing.T, dialect string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("migrations", dialect, "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("migrations of %s: %v, %v", dialect, files, err)
	}
	var b strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}
