package kill

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/seed-f47efad2/cordon/internal/secret/secrettest"
)

// passwords is the file in which the tenant notes what was set.
const passwords = "passwords"

// judgeSecrets looks for every password that the tenant was told, and for the secrets
// of the configuration, in whatever the servers left behind.
func (s *scene) judgeSecrets(t *testing.T) {
	t.Helper()
	noted, err := os.ReadFile(filepath.Join(s.dir, passwords))
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{s.lab.Secret, s.token}
	for d := json.NewDecoder(bytes.NewReader(noted)); d.More(); {
		var p string
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, p)
	}
	search, bytes, dumps := secrettest.NewSearch(secrets), 0, 0
	look := func(where string, text []byte) {
		bytes += len(text)
		if strings.HasSuffix(where, ".log") {
			dumps += strings.Count(string(text), "SIGQUIT")
		}
		for _, found := range search.In(text) {
			t.Errorf("%s holds %s", where, found)
		}
	}
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || slices.Contains([]string{passwords, "secret", "token"}, d.Name()) {
			return err
		}
		text, err := os.ReadFile(path)
		look(path, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(s.store, "postgres") {
		s.eachTable(t, look)
	}
	t.Logf("%d secrets looked for in %d bytes, %d dumps among them", len(secrets), bytes, dumps)
	if len(secrets) < 4 || dumps == 0 {
		t.Error("nothing was tested: no password was set, or nobody crashed")
	}
}

// eachTable shows look every row of the database as text, bytes in it as hex.
func (s *scene) eachTable(t *testing.T, look func(string, []byte)) {
	t.Helper()
	db, err := pgx.Connect(t.Context(), s.store)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	rows, err := db.Query(t.Context(), `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 10 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	for _, table := range tables {
		rows, err := db.Query(t.Context(), "SELECT r::text FROM "+table+" r")
		if err != nil {
			t.Fatal(err)
		}
		text, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		look("table "+table, []byte(strings.Join(text, "\n")))
	}
}
