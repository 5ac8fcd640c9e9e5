package archtest

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/seed-f47efad2/cordon/"

// root is the repository's, seen from this package.
const root = "../.."

// table reads docs/packages.txt: package → what it may import.
func table(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "docs/packages.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string][]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, ok := strings.Cut(line, ":")
		if !ok {
			t.Errorf("docs/packages.txt: %q has no colon", line)
		}
		out[name] = strings.Fields(rest)
	}
	return out
}

// name is a package's name in the table: relative to internal/, else to the root.
func name(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "internal/")
}

type file struct {
	pkg     string
	path    string
	test    bool
	imports []string // names of our own packages
	std     []string // all others
	doc     bool
}

func files(t *testing.T) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		ast, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := file{pkg: name(module + filepath.ToSlash(filepath.Dir(rel))), path: rel, test: strings.HasSuffix(path, "_test.go"), doc: ast.Doc != nil}
		for _, i := range ast.Imports {
			p := strings.Trim(i.Path.Value, `"`)
			if strings.HasPrefix(p, module) {
				f.imports = append(f.imports, name(p))
			} else {
				f.std = append(f.std, p)
			}
		}
		out = append(out, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImports(t *testing.T) {
	t.Parallel()
	allowed := table(t)
	for _, f := range files(t) {
		may, listed := allowed[f.pkg]
		if !listed {
			t.Errorf("%s: package %s has no line in docs/packages.txt", f.path, f.pkg)
			continue
		}
		for _, i := range f.imports {
			switch {
			case slices.Contains(may, i), i == f.pkg:
			case f.test && (strings.HasPrefix(i, "lab/") || strings.HasSuffix(i, "test") || i == "graph" || i == "store" || i == "playbooks" || i == "action/entraid" || i == "action/activedirectory"):
				// Tests run against the simulated world and the real adapters.
			case f.test && slices.Contains(testOnly(allowed, f), i):
			default:
				t.Errorf("%s: %s imports %s, which docs/packages.txt does not allow", f.path, f.pkg, i)
			}
		}
	}
}

// testOnly is what a test file may reach besides: whatever its package's allowed
// imports may import, so that it can build their values, and whatever the suites
// that it uses may, so that it can speak to them.
func testOnly(allowed map[string][]string, f file) []string {
	var out []string
	for _, i := range allowed[f.pkg] {
		out = append(out, allowed[i]...)
	}
	for _, i := range f.imports {
		if strings.HasSuffix(i, "test") {
			out = append(out, allowed[i]...)
		}
	}
	return out
}

// The kernel is the standard library and nothing else, and never the clock, the
// network or the disk.
func TestKernelIsPure(t *testing.T) {
	t.Parallel()
	kernel := []string{"fault", "identity", "signal", "detection", "risk", "access"}
	for _, f := range files(t) {
		if f.test || !slices.Contains(kernel, f.pkg) {
			continue
		}
		for _, i := range f.std {
			if strings.Contains(strings.Split(i, "/")[0], ".") {
				t.Errorf("%s: the kernel imports %s, which is not the standard library", f.path, i)
			}
			if slices.Contains([]string{"os", "net", "net/http", "database/sql", "io/fs", "log", "log/slog", "math/rand", "crypto/rand"}, i) {
				t.Errorf("%s: the kernel imports %s: it does no I/O and draws no lots", f.path, i)
			}
		}
	}
}

func TestTableIsTrue(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	for _, f := range files(t) {
		exists[f.pkg] = true
	}
	for p, may := range table(t) {
		if !exists[p] {
			t.Errorf("docs/packages.txt names %s, which does not exist", p)
		}
		for _, i := range may {
			if !exists[i] {
				t.Errorf("docs/packages.txt: %s may import %s, which does not exist", p, i)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, f := range files(t) {
		documented[f.pkg] = documented[f.pkg] || f.doc && !f.test
	}
	for p, ok := range documented {
		if !ok && !slices.ContainsFunc(files(t), func(f file) bool { return f.pkg == p && f.test && f.doc }) {
			t.Errorf("package %s has no package comment", p)
		}
	}
}
