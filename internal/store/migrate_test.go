package store_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/store"
	"github.com/seed-f47efad2/cordon/internal/store/pgtest"
)

// TestBothSchemasAreOne compares tables, columns, keys, indexes, checks and
// triggers of the two dialects by name and, where it means the same on both, by
// content.
func TestBothSchemasAreOne(t *testing.T) {
	t.Parallel()
	lite, post := dialects["SQLite"](t), pgtest.New(t)
	opened(t, lite, store.Options{})
	opened(t, post, store.Options{})
	sqlite, postgres := raw(t, lite), raw(t, post)

	want := map[string]string{}
	for _, name := range column(t, sqlite, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'river%' AND name NOT LIKE 'sqlite%'`) {
		want["table "+name] = strings.Join(column(t, sqlite, fmt.Sprintf(
			`SELECT name || CASE WHEN "notnull" OR pk THEN ' not null' ELSE '' END || CASE upper(type) WHEN 'INTEGER' THEN ' number' WHEN 'BIGINT' THEN ' number' WHEN 'BLOB' THEN ' bytes' ELSE ' text' END
			FROM pragma_table_info('%s') ORDER BY name`, name)), "\n")
		want["key of "+name] = strings.Join(column(t, sqlite, fmt.Sprintf(`SELECT name FROM pragma_table_info('%s') WHERE pk ORDER BY pk`, name)), ", ")
		want["references of "+name] = strings.Join(column(t, sqlite, fmt.Sprintf(
			`SELECT "table" || ' by ' || group_concat("from", ',' ORDER BY seq) FROM pragma_foreign_key_list('%s') GROUP BY id, "table" ORDER BY 1`, name)), "\n")
	}
	got := map[string]string{}
	for _, name := range column(t, postgres, `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name NOT LIKE 'river%'`) {
		got["table "+name] = strings.Join(column(t, postgres, fmt.Sprintf(
			`SELECT column_name || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END || CASE data_type WHEN 'bigint' THEN ' number' WHEN 'bytea' THEN ' bytes' ELSE ' text' END
			FROM information_schema.columns WHERE table_name = '%s' AND table_schema = 'public' ORDER BY column_name COLLATE "C"`, name)), "\n")
		got["key of "+name] = strings.Join(column(t, postgres, fmt.Sprintf(
			`SELECT a.attname FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(n, o), pg_attribute a
			WHERE i.indrelid = '%s'::regclass AND i.indisprimary AND a.attrelid = i.indrelid AND a.attnum = k.n ORDER BY k.o`, name)), ", ")
		got["references of "+name] = strings.Join(column(t, postgres, fmt.Sprintf(
			`SELECT c.confrelid::regclass || ' by ' || string_agg(a.attname, ',' ORDER BY k.o) FROM pg_constraint c,
			unnest(c.conkey) WITH ORDINALITY k(n, o), pg_attribute a
			WHERE c.conrelid = '%s'::regclass AND c.contype = 'f' AND a.attrelid = c.conrelid AND a.attnum = k.n
			GROUP BY c.oid, c.confrelid ORDER BY 1`, name)), "\n")
	}
	want["indexes"] = strings.Join(column(t, sqlite, `SELECT name || CASE WHEN sql LIKE 'CREATE UNIQUE%' THEN ' unique' ELSE '' END || CASE WHEN sql LIKE '%WHERE%' THEN ' partial' ELSE '' END
		FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND name NOT LIKE 'river%' ORDER BY name`), "\n")
	got["indexes"] = strings.Join(column(t, postgres, `SELECT indexname || CASE WHEN indexdef LIKE 'CREATE UNIQUE%' THEN ' unique' ELSE '' END || CASE WHEN indexdef LIKE '%WHERE%' THEN ' partial' ELSE '' END
		FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE 'river%' AND indexname NOT LIKE '%_pkey' AND indexname NOT LIKE '%_key' ORDER BY indexname COLLATE "C"`), "\n")
	want["triggers"] = strings.Join(column(t, sqlite, `SELECT name || ' on ' || tbl_name FROM sqlite_schema WHERE type = 'trigger' ORDER BY 1`), "\n")
	got["triggers"] = strings.Join(column(t, postgres, `SELECT DISTINCT trigger_name || ' on ' || event_object_table FROM information_schema.triggers WHERE trigger_name NOT LIKE 'river%' ORDER BY 1`), "\n")
	want["checks"], got["checks"] = checks(t, "sqlite"), checks(t, "postgres")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("SQLite and PostgreSQL differ (-SQLite +PostgreSQL):\n%s", d)
	}
	if len(want) < 50 {
		t.Errorf("only %d things were compared", len(want))
	}
	var version, files int
	if err := postgres.QueryRow(`SELECT max(version), count(*) FROM migrations`).Scan(&version, &files); err != nil || version != files || version == 0 {
		t.Errorf("%d migrations up to %d: %v", files, version, err)
	}
}

// checks returns the CHECK texts of a dialect's migrations, as they are written.
func checks(t *testing.T, dialect string) string {
	t.Helper()
	text := migrationText(t, dialect)
	var out []string
	for {
		_, rest, ok := strings.Cut(text, "CHECK (")
		if !ok {
			slices.Sort(out)
			return strings.Join(out, "\n")
		}
		depth, end := 1, 0
		for end = 0; depth > 0; end++ {
			switch rest[end] {
			case '(':
				depth++
			case ')':
				depth--
			}
		}
		check := strings.Join(strings.Fields(rest[:end-1]), " ")
		// The one difference: SQLite's truth values are numbers.
		out = append(out, strings.Replace(check, "(final = 1) =", "final =", 1))
		text = rest[end:]
	}
}

func column(t *testing.T, db *sql.DB, q string) (out []string) {
	t.Helper()
	r, err := db.Query(q)
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	defer r.Close()
	for r.Next() {
		var s string
		if err := r.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOpeningAgainChangesNothing(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dsn(t)
			for range 2 {
				db, err := store.Open(t.Context(), url, store.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Ping(t.Context()); err != nil {
					t.Error(err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// The log only grows, whoever asks.
func TestTheTrailCannotBeRewritten(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dsn(t)
			db := opened(t, url, store.Options{})
			sequenced(t, db)
			raw := raw(t, url)
			for _, q := range []string{
				`DELETE FROM audit_leaves`, `UPDATE audit_leaves SET leaf = hash`, `DELETE FROM audit_hashes`, `UPDATE audit_hashes SET hash_index = hash_index + 100`,
				`DELETE FROM audit_checkpoints`, `UPDATE audit_checkpoints SET at = 1`, `DELETE FROM audit_entries`,
			} {
				if _, err := raw.Exec(q); err == nil {
					t.Errorf("%s went through", q)
				}
			}
		})
	}
}
