package secret_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/secret"
	"github.com/seed-f47efad2/cordon/internal/secret/secrettest"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, good := range []secret.Ref{"env:CORDON_SECRET", "env:_x9", "file:/run/secrets/cordon", "file:relative path.txt", `file:C:\cordon\secret`} {
		if err := good.Check(); err != nil {
			t.Errorf("%s: %v", good, err)
		}
		if good.String() != string(good) {
			t.Errorf("%s is written as %s", string(good), good)
		}
	}
	for _, bad := range []string{
		"", "hunter2-hunter2", "env:", "env:9lives-of-a-cat", "env:HAS SPACE", "env:hunter2=hunter2", "file:", "file:a\nb-secret-text",
		"ENV:hunter2-hunter2", "vault:hunter2-hunter2", " env:CORDON_SECRET", "password: hunter2-hunter2",
	} {
		r := secret.Ref(bad)
		err := r.Check()
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, want invalid", bad, err)
		}
		if _, rerr := r.Read(); !errors.Is(rerr, fault.Invalid) {
			t.Errorf("%q: Read: %v, want invalid", bad, rerr)
		}
		if len(bad) >= 8 {
			secrettest.Absent(t, bad, err, r, struct{ S secret.Ref }{r}, &struct{ S secret.Ref }{r}, []secret.Ref{r})
		}
		if !strings.Contains(err.Error(), "env:") && !strings.Contains(err.Error(), "file:") {
			t.Errorf("%q: %v does not say what to write instead", bad, err)
		}
	}
}

// Not parallel: it sets environment variables.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) secret.Ref {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return secret.Ref("file:" + path)
	}
	t.Setenv("CORDON_TEST_SECRET", "from-the-environment")
	t.Setenv("CORDON_TEST_EMPTY", "")
	for ref, want := range map[secret.Ref]string{
		"env:CORDON_TEST_SECRET":              "from-the-environment",
		file("plain", "from-a-file"):          "from-a-file",
		file("unix", "line-end\n"):            "line-end",
		file("dos", "line-end\r\n"):           "line-end",
		file("spaces", "  kept as they are "): "  kept as they are ",
	} {
		if got, err := ref.Read(); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", ref, got, err, want)
		}
	}
	for ref, say := range map[secret.Ref]string{
		"env:CORDON_TEST_UNSET":                          "not set",
		"env:CORDON_TEST_EMPTY":                          "empty",
		file("empty", "\n"):                              "empty",
		file("large", strings.Repeat("secret", 20_000)):  "larger than",
		secret.Ref("file:" + filepath.Join(dir, "none")): "no such file",
		secret.Ref("file:" + dir):                        "directory",
	} {
		got, err := ref.Read()
		if got != "" || !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), say) || !strings.Contains(err.Error(), string(ref)) {
			t.Errorf("%s: %q, %v; want an error that names it and says %q", ref, got, err, say)
		}
	}
	// Rotation: nothing is remembered.
	ref := file("rotated", "first-value")
	if _, err := ref.Read(); err != nil {
		t.Fatal(err)
	}
	file("rotated", "second-value")
	if got, err := ref.Read(); err != nil || got != "second-value" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	type config struct {
		Secret secret.Ref `yaml:"secret" json:"secret"`
	}
	var c config
	if err := yaml.Unmarshal([]byte("secret: env:CORDON_SECRET"), &c); err != nil || c.Secret != "env:CORDON_SECRET" {
		t.Fatalf("%v, %v", c, err)
	}
	for _, c := range []config{c, {"an-inline-secret"}, {}} {
		y, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		j, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		secrettest.Absent(t, "an-inline-secret", y, j)
		if want := fmt.Sprintf(`{"secret":%q}`, c.Secret.String()); string(j) != want {
			t.Errorf("%s, want %s", j, want)
		}
	}
}

func FuzzRef(f *testing.F) {
	for _, s := range []string{"env:CORDON_SECRET", "file:/x", "hunter2-hunter2", "env:a b", "::", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := secret.Ref(s)
		err := r.Check()
		if err == nil {
			if r.String() != s {
				t.Errorf("%q is written as %q", s, r)
			}
			return
		}
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%v has no kind", err)
		}
		for _, out := range []string{r.String(), fmt.Sprintf("%#v", r), fmt.Sprintf("%d", r), fmt.Sprintf("%x", r)} {
			if s != "" && out != "(inline value, not shown)" && out != `"(inline value, not shown)"` {
				t.Errorf("a refused reference is written as %q", out)
			}
		}
	})
}
