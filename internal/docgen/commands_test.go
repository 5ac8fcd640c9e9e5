package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/cli"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

var (
	fenced = regexp.MustCompile("(?s)```sh\n(.*?)```")
	inline = regexp.MustCompile("`((?:\\./bin/)?cordon [^`\n]+)`")
	usage  = regexp.MustCompile(`(?m)^  (cordon[^\n]*)$`)
	word   = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// commands returns the command lines of a document, without what a shell adds.
func commands(text string) []string {
	var lines []string
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		lines = append(lines, strings.Split(m[1], "\n")...)
	}
	for _, m := range inline.FindAllStringSubmatch(text, -1) {
		lines = append(lines, m[1])
	}
	var out []string
	for _, l := range lines {
		l = strings.TrimPrefix(strings.TrimSpace(l), "./bin/")
		if !strings.HasPrefix(l, "cordon ") {
			continue
		}
		l, _, _ = strings.Cut(l, " > ")
		l, _, _ = strings.Cut(l, " | ")
		out = append(out, l)
	}
	return out
}

// Every command line that a document shows names a command and flags that exist.
func TestDocumentsShowCommandsThatExist(t *testing.T) {
	t.Parallel()
	seen := 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "bin"):
			return filepath.SkipDir
		case filepath.Ext(file) != ".md":
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, line := range commands(string(text)) {
			seen++
			if why := unknown(t, strings.Fields(line)[1:]); why != "" {
				t.Errorf("%s shows %q: %s", strings.TrimPrefix(file, root+"/"), line, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("only %d command lines were found: the test does not see them", seen)
	}
}

// unknown says why a command line does not exist, by asking for its help; "" when
// it does.
func unknown(t *testing.T, args []string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Main(t.Context(), cli.Env{Args: append(args[:len(args):len(args)], "--help"), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
	m := usage.FindStringSubmatch(out.String())
	if code != 0 || m == nil {
		return strings.TrimSpace(errs.String())
	}
	if strings.ContainsRune(out.String(), '\ufffd') {
		return "its help has a broken character:\n" + out.String()
	}
	asked := strings.Fields(m[1])[1:]
	n := 0
	for n < len(asked) && n < len(args) && asked[n] == args[n] {
		n++
	}
	// The help of a command that only has others below it answers for any word.
	if n == 0 || strings.Contains(out.String(), "Available Commands:") && n < len(args) && word.MatchString(args[n]) {
		return "there is only:\n" + out.String()
	}
	return ""
}

func TestUnknownCommandsAreSeen(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"check --config FILE":              false,
		"audit verify FILE --key K":        false,
		"hold on --reason why":             false,
		"audit":                            false,
		"check --conf FILE":                true,
		"audit forget --config FILE":       true,
		"frobnicate":                       true,
		"audit verify --key K --until now": true,
	} {
		if got := unknown(t, strings.Fields(line)) != ""; got != want {
			t.Errorf("unknown(%q) is %v, want %v", line, got, want)
		}
	}
}

// The playbook that docs/playbooks.md begins with is one.
func TestPlaybookOfTheManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs/playbooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(playbook: .*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("docs/playbooks.md shows no whole playbook")
	}
	f, err := gather()
	if err != nil {
		t.Fatal(err)
	}
	if _, problems := playbook.New([]playbook.File{{Name: "docs/playbooks.md", Text: m[1]}}, f.catalogue); len(problems) > 0 {
		t.Errorf("it is refused: %v", problems)
	}
}

// The configuration that the README shows is a whole one.
func TestConfigurationOfTheReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("README.md shows no configuration")
	}
	file := filepath.Join(t.TempDir(), "cordon.yaml")
	if err := os.WriteFile(file, m[1], 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Tenants) != 1 || c.Tenants[0].Acts() {
		t.Errorf("it is not one tenant that is only observed: %+v", c.Tenants)
	}
}
