package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/store"
)

// Entries are numbered in the order of commits only if whoever numbers them
// waits for those who have done so and have not committed yet.
func TestNumberingWaitsForTheCommitBefore(t *testing.T) {
	t.Parallel()
	url := postgres(t)
	db, neighbour := opened(t, url, store.Options{}), opened(t, url, store.Options{}) // one as another process
	other, err := raw(t, url).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := other.ExecContext(t.Context(), fmt.Sprintf(`SELECT pg_advisory_lock(%d)`, 0x636f72646f6e)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- db.Runs().Update(t.Context(), func(tx run.Tx) error {
			return tx.Audit(audit.Entry{Tenant: tenant, At: time.Now(), Kind: audit.CaseOpened, Text: "x"})
		})
	}()
	deadline := time.After(20 * time.Second)
	for waiting := 0; waiting == 0; {
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		case <-deadline:
			t.Fatal("nobody waits")
		case <-time.After(5 * time.Millisecond):
		}
		if err := other.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	seed(t, neighbour, 1, time.Time{}) // who writes no entry does not wait
	if _, err := other.ExecContext(t.Context(), fmt.Sprintf(`SELECT pg_advisory_unlock(%d)`, 0x636f72646f6e)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
