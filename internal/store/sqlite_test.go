package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/store"
)

func TestASecondProcessIsToldWhom(t *testing.T) {
	t.Parallel()
	dsn := dialects["SQLite"](t)
	db, err := store.Open(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), dsn, store.Options{})
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "--server") || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = store.Open(t.Context(), dsn, store.Options{}); err != nil {
		t.Fatalf("after the first closed: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	noDB := filepath.Join(dir, "text.db")
	if err := os.WriteFile(noDB, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	db := opened(t, "sqlite:"+newer, store.Options{})
	if _, err := raw(t, "sqlite:"+newer).Exec(`INSERT INTO migrations VALUES (99, 'future', 1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		dsn  string
		kind fault.Kind
		says string
	}{
		"no scheme":      {"cordon.db", fault.Invalid, "sqlite:PATH"},
		"another scheme": {"mysql://root:hunter2@h/d", fault.Invalid, "mysql"},
		"no path":        {"sqlite:", fault.Invalid, "path"},
		"no folder":      {"sqlite:" + filepath.Join(dir, "no", "x.db"), fault.Invalid, "no such file"},
		"no database":    {"sqlite:" + noDB, fault.Invalid, noDB},
		"newer":          {"sqlite:" + newer, fault.Invalid, "version 99"},
		"nobody there":   {"postgres://app:hunter2@127.0.0.1:1/d?connect_timeout=2", fault.Unavailable, "127.0.0.1"},
		"no url":         {"postgres://app:hunter2@h:x/d", fault.Invalid, "postgres"},
	} {
		_, err := store.Open(t.Context(), c.dsn, store.Options{})
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the password is in the error", name)
		}
	}
}

func TestThePathMayHoldAnything(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a b?c#d%20&e")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x?y.db")
	opened(t, "sqlite:"+path, store.Options{})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v; others must not read it", info, err)
	}
}

func TestACallerWhoGoesAway(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := opened(t, dsn(t), store.Options{})
			seed(t, db, 1, time.Time{})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := db.Runs().Update(ctx, func(tx run.Tx) error { return nil })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			seed(t, db, 2, time.Time{}) // nobody holds the writer
		})
	}
}

// A statement that fails spoils its transaction on both databases alike.
func TestAFailedStatementIsNotSwallowed(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := opened(t, dsn(t), store.Options{})
			i, _, r := seed(t, db, 1, time.Time{})
			err := db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
				a := anAction(i, r, "a")
				a.State = "no such state"
				_, put := tx.PutAction(a)
				if _, err := tx.ActionsOfRun(tenant, r.ID); put == nil && err == nil { // what waits is written before it is looked for
					t.Error("a state that does not exist was stored")
				}
				return tx.PutCursor(tenant, "c", "1", time.Now())
			})
			if err == nil {
				t.Error("the change committed")
			}
			if c, err := db.Ingest().Cursor(t.Context(), tenant, "c"); c != "" || err != nil {
				t.Errorf("cursor %q, %v", c, err)
			}
		})
	}
}

// TestKill kills a writing process again and again; what is committed is whole.
func TestKill(t *testing.T) {
	if dsn := os.Getenv("CORDON_STORE_KILLED"); dsn != "" {
		writeForEver(dsn)
	}
	t.Parallel()
	dsn := dialects["SQLite"](t)
	rounds, last := 12, 0
	for n := range rounds {
		// It ends by itself if this process dies before it kills it.
		c := exec.Command(os.Args[0], "-test.run=^TestKill$", "-test.timeout=60s")
		c.Env = append(os.Environ(), "CORDON_STORE_KILLED="+dsn)
		c.Stderr = t.Output()
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// After some commits, in the middle of whatever it does then.
		acked, lines := 0, bufio.NewScanner(out)
		for range 1 + rand.IntN(40) {
			if !lines.Scan() {
				break
			}
			if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
				t.Errorf("the child said %q", lines.Text())
			}
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it had acknowledged before it died counts
			_, _ = fmt.Sscan(lines.Text(), &acked)
		}
		_ = c.Wait() // killed
		if acked <= last {
			t.Fatalf("round %d: the child wrote nothing after %d", n, last)
		}
		last = whole(t, dsn, acked)
	}
	t.Logf("%d kills, %d transactions", rounds, last)
}

// writeForEver commits one signal after the other and tells how many.
func writeForEver(dsn string) {
	ctx := context.Background()
	db, err := store.Open(ctx, dsn, store.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	at, err := db.Ingest().Cursor(ctx, tenant, "kill")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	n := 0
	_, _ = fmt.Sscan(string(at), &n) // empty at first
	for {
		n++
		err := db.Ingest().Update(ctx, func(tx ingest.Tx) error {
			if err := takeSignal(tx, n); err != nil {
				return err
			}
			return tx.PutCursor(tenant, "kill", connector.Cursor(fmt.Sprint(n)), time.Now())
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// whole checks that every transaction up to the cursor is there with all its
// rows and none beyond it, and returns the cursor.
func whole(t *testing.T, dsn string, acked int) int {
	t.Helper()
	db, err := store.Open(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatalf("reopen: %v", err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	at, err := db.Ingest().Cursor(t.Context(), tenant, "kill")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if _, err := fmt.Sscan(string(at), &n); err != nil || n < acked {
		t.Fatalf("%d were acknowledged, the cursor says %q", acked, at)
	}
	sql := raw(t, dsn)
	for table, each := range map[string]int{"identities": 1, "identity_keys": 1, "signals": 1, "assessments": 1, "cases": 1, "runs": 1, "actions": 2, "audit_entries": 2} {
		var got int
		if err := sql.QueryRow("SELECT count(*) FROM " + table).Scan(&got); err != nil || got != each*n {
			t.Errorf("%s: %d rows after %d transactions, want %d (%v)", table, got, n, each*n, err)
		}
	}
	var ok string
	if err := sql.QueryRow("PRAGMA integrity_check").Scan(&ok); err != nil || ok != "ok" {
		t.Errorf("integrity: %s, %v", ok, err)
	}
	return n
}

// A page asks who owns its identifiers; what that costs must not grow with the directory.
func TestOwnersAreFoundByTheirIdentifiers(t *testing.T) {
	t.Parallel()
	dsn := dialects["SQLite"](t)
	opened(t, dsn, store.Options{})
	rows, err := raw(t, dsn).Query("EXPLAIN QUERY PLAN "+store.SelectOwners+" IN (?, ?)", "tenant", "sid", "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "; "); !strings.Contains(text, "(tenant=? AND kind=? AND value=?)") {
		t.Errorf("the identifiers are not looked up by their primary key: %s", text)
	}
}

// What a large commit left in the log is copied into the file without another commit.
func TestTheLogIsCopiedBesideTheWriter(t *testing.T) {
	t.Parallel()
	dsn := dialects["SQLite"](t)
	db := opened(t, dsn, store.Options{})
	err := db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
		return tx.PutCursor(tenant, "large", connector.Cursor(strings.Repeat("x", 20<<20)), time.Now())
	})
	if err != nil {
		t.Fatal(err)
	}
	look := raw(t, dsn)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		var busy, pages, copied int
		if err := look.QueryRowContext(ctx, `PRAGMA wal_checkpoint(NOOP)`).Scan(&busy, &pages, &copied); err != nil {
			t.Fatal(err)
		}
		if pages < 20<<20/4096 {
			t.Fatalf("the log holds %d pages: the commit is not in it", pages)
		}
		if copied == pages {
			return
		}
	}
}
