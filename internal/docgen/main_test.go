package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func TestDocumentsAreCurrent(t *testing.T) {
	t.Parallel()
	all, err := pages(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		have, err := os.ReadFile(filepath.Join(root, p.path))
		if err != nil {
			t.Errorf("%v: run make generate", err)
			continue
		}
		if !bytes.Equal(have, p.text) {
			t.Errorf("%s is not current; run make generate (-file +code):\n%s", p.path, cmp.Diff(string(have), string(p.text)))
		}
	}
}

// A document with a hole in it would still be current.
func TestNothingIsLeftUnsaid(t *testing.T) {
	t.Parallel()
	f, err := gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.streams {
		if purposes[s.Name] == "" || len(s.Permissions) == 0 || s.Every == 0 {
			t.Errorf("stream %s: no purpose, permission or interval to write down", s.Name)
		}
	}
	if len(f.streams) != len(purposes) {
		t.Errorf("%d streams, %d purposes: one describes a stream that is not there", len(f.streams), len(purposes))
	}
	for _, s := range f.catalogue.Specs() {
		if s.Title == "" || s.Summary == "" || s.Proof == "" || s.Limits == "" || len(s.Permissions) == 0 {
			t.Errorf("action %s does not say what it does, what proves it, what it does not reach or what it needs", s.Name)
		}
		if limits[s.Bucket] == "" || effects[s.Effect] == "" || directories[s.Provider] == "" {
			t.Errorf("action %s: no words for %s, %s or %s", s.Name, s.Bucket, s.Effect, s.Provider)
		}
	}
}

func TestLeast(t *testing.T) {
	t.Parallel()
	got := least([]string{"B.Read.All", "A.ReadWrite.All", "B.Read.All", "A.Read.All", "C.ReadWrite.All"})
	if want := []string{"A.ReadWrite.All", "B.Read.All", "C.ReadWrite.All"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSplice(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page.md")
	for text, want := range map[string]string{
		"a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n":                              "a\n<!-- generated: x -->\n\nnew\n\n<!-- end -->\nb\n",
		"<!-- generated: y -->\n1\n<!-- end -->\n<!-- generated: x -->\n<!-- end -->\n": "<!-- generated: y -->\n1\n<!-- end -->\n<!-- generated: x -->\n\nnew\n\n<!-- end -->\n",
		"no mark":                       "",
		"<!-- generated: x -->\nno end": "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := splice(file, "x", "new\n")
		if (err != nil) != (want == "") || string(got) != want {
			t.Errorf("splice(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		6 * time.Hour: "6 h", 90 * time.Minute: "90 min", 2 * time.Minute: "2 min", 90 * time.Second: "90 s", 1500 * time.Millisecond: "1.5 s",
	} {
		if got := duration(d); got != want {
			t.Errorf("duration(%v) = %q, want %q", d, got, want)
		}
	}
}
