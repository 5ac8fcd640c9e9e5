package archtest

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents returns every Markdown file of the repository, by its path from the
// root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || d.Name() == "bin"):
			return filepath.SkipDir
		case filepath.Ext(file) != ".md":
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		out[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("only %d documents were found", len(out))
	}
	return out
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	quoted  = regexp.MustCompile("`([^`\n]+)`")
	ours    = regexp.MustCompile(`^(internal|cmd|lab|docs|scripts|test|playbooks|\.ci)/[\w./*-]*$`)
	target  = regexp.MustCompile(`(?m)^([a-z-]+):.*##`)
	making  = regexp.MustCompile("(?m)`make ([a-z]+)|^make ([a-z]+)")
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// exists reports whether a path, or a pattern, names something in the repository.
func exists(name string) bool {
	found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil && len(found) > 0
}

// anchor is how GitHub names a heading.
func anchor(heading string) string {
	keep := func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_', r > 0x7f:
			return r
		case r == ' ':
			return '-'
		}
		return -1
	}
	return strings.Map(keep, strings.ToLower(heading))
}

func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		out = append(out, anchor(m[1]))
	}
	return out
}

// Links lead somewhere, and paths in code spans are there.
func TestDocumentsNameWhatExists(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	links, paths := 0, 0
	for name, text := range docs {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, section, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, "://") {
				continue
			}
			links++
			file := name
			if to != "" {
				file = path.Join(path.Dir(name), to)
			}
			switch {
			case !exists(file):
				t.Errorf("%s links to %s, which does not exist", name, m[1])
			case section != "" && !slices.Contains(anchors(docs[file]), section):
				t.Errorf("%s links to %s: %s has no such section", name, m[1], file)
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(text, -1) {
			if !ours.MatchString(m[1]) {
				continue
			}
			paths++
			if !exists(m[1]) {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
	}
	if links < 20 || paths < 20 {
		t.Errorf("only %d links and %d paths were found: the test does not see them", links, paths)
	}
}

func TestDocumentsNameTargetsOfMake(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range target.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	named := 0
	for name, text := range documents(t) {
		for _, m := range making.FindAllStringSubmatch(text, -1) {
			named++
			if w := m[1] + m[2]; !slices.Contains(targets, w) {
				t.Errorf("%s says make %s; the Makefile has %v", name, w, targets)
			}
		}
	}
	if named == 0 {
		t.Error("no document names a target: the test does not see them")
	}
}

var numbered = regexp.MustCompile(`^docs/adr/(\d{4})-[a-z0-9-]+\.md$`)

// Every decision is in the index under its number, and says what it must.
func TestDecisionsAreListed(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	index := docs["docs/adr/README.md"]
	taken := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		m := numbered.FindStringSubmatch(name)
		if m == nil {
			if path.Dir(name) == "docs/adr" && path.Base(name) != "README.md" {
				t.Errorf("%s is not named NNNN-title.md", name)
			}
			continue
		}
		if other := taken[m[1]]; other != "" {
			t.Errorf("%s and %s have one number", other, name)
		}
		taken[m[1]] = name
		title, _, _ := strings.Cut(docs[name], "\n")
		_, title, _ = strings.Cut(title, ". ")
		if !strings.Contains(index, fmt.Sprintf("| [%s](%s) | %s |", m[1], path.Base(name), title)) {
			t.Errorf("docs/adr/README.md does not list %s as %q", name, title)
		}
		for _, part := range []string{"\n## Context\n", "\n## Decision\n", "\n## What would make us change it\n"} {
			if !strings.Contains(docs[name], part) {
				t.Errorf("%s has no %q", name, strings.TrimSpace(part))
			}
		}
	}
}

// ARCHITECTURE.md says what each package of ours is for; suites and commands
// speak for themselves.
func TestPackagesAreDescribed(t *testing.T) {
	t.Parallel()
	text := documents(t)["ARCHITECTURE.md"]
	for p := range table(t) {
		parent, child, nested := strings.Cut(p, "/")
		full := "internal/" + p
		switch {
		case strings.HasSuffix(p, "test") && p != "archtest", parent == "cmd", p == "playbooks":
			continue
		case parent == "lab" || parent == "test":
			full = p
		case nested:
			if !strings.Contains(text, "`"+child+"`") && !strings.Contains(text, "`internal/"+p+"`") {
				t.Errorf("ARCHITECTURE.md does not name %s beside internal/%s", child, parent)
			}
			continue
		}
		if !strings.Contains(text, "`"+full+"`") {
			t.Errorf("ARCHITECTURE.md does not say what %s is for", full)
		}
	}
}

var metric = regexp.MustCompile(`"(cordon_[a-z_]+)"`)

// docs/operations.md lists the metrics that there are.
func TestMetricsAreListed(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile(filepath.Join(root, "internal/app/metrics.go"))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, m := range metric.FindAllStringSubmatch(string(code), -1) {
		have = append(have, m[1])
	}
	if len(have) < 5 {
		t.Fatalf("only %d metrics were found in the code", len(have))
	}
	var said []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(cordon_[a-z_]+)` ").FindAllStringSubmatch(documents(t)["docs/operations.md"], -1) {
		said = append(said, m[1])
	}
	slices.Sort(have)
	slices.Sort(said)
	if !slices.Equal(have, said) {
		t.Errorf("docs/operations.md lists\n%v\nand the code has\n%v", said, have)
	}
}
