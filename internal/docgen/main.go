// Command docgen writes the documents that follow from the code: docs/actions.md,
// docs/permissions.md, docs/playbook.schema.json, and the marked parts of
// README.md and docs/connectors.md. A test fails when they are not current.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

//go:generate go run . ../..

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := write(root); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

// A page is a document below the repository's root.
type page struct {
	path string
	text []byte
}

func write(root string) error {
	all, err := pages(root)
	if err != nil {
		return err
	}
	for _, p := range all {
		if err := os.WriteFile(filepath.Join(root, p.path), p.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// facts are what the documents are made of.
type facts struct {
	catalogue *action.Catalogue
	streams   []app.Stream
	books     []*playbook.Playbook
	requires  []playbook.Requirement
}

func gather() (facts, error) {
	cat, err := app.Catalogue(nil)
	if err != nil {
		return facts{}, err
	}
	library, err := app.Playbooks(config.Config{}, cat)
	if err != nil {
		return facts{}, err
	}
	return facts{cat, app.Streams(), library.Playbooks(), library.Requires()}, nil
}

// pages returns every generated document as it should be. Those that are written
// by hand in part are read from root, and their marked parts replaced.
func pages(root string) ([]page, error) {
	f, err := gather()
	if err != nil {
		return nil, err
	}
	schema, err := playbook.Schema(f.catalogue)
	if err != nil {
		return nil, err
	}
	out := []page{
		{"docs/actions.md", f.actions()},
		{"docs/permissions.md", f.permissions()},
		{"docs/playbook.schema.json", schema},
	}
	for _, part := range []struct{ path, name, text string }{
		{"README.md", "reader permissions", bullets(f.reader())},
		{"docs/connectors.md", "streams", f.streamTable()},
	} {
		text, err := splice(filepath.Join(root, part.path), part.name, part.text)
		if err != nil {
			return nil, err
		}
		out = append(out, page{part.path, text})
	}
	return out, nil
}

// splice returns the file with what stands between the two marks of that name
// replaced.
func splice(path, name, text string) ([]byte, error) {
	have, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	begin, end := []byte("<!-- generated: "+name+" -->\n"), []byte("<!-- end -->\n")
	before, rest, ok := bytes.Cut(have, begin)
	if !ok {
		return nil, fmt.Errorf("%s has no mark %q", path, strings.TrimSpace(string(begin)))
	}
	_, after, ok := bytes.Cut(rest, end)
	if !ok {
		return nil, fmt.Errorf("%s: the part %q has no end", path, name)
	}
	return slices.Concat(before, begin, []byte("\n"+text+"\n"), end, after), nil
}

// reader is the least set with which Cordon sees everything and changes nothing.
func (f facts) reader() []string {
	var out []string
	for _, s := range f.streams {
		out = append(out, s.Permissions...)
	}
	return least(out)
}

// responder is the least set for the streams and every shipped playbook.
func (f facts) responder() []string {
	out := f.reader()
	for _, r := range f.requires {
		out = append(out, r.Permissions...)
	}
	return least(out)
}

// least sorts, drops what is named twice, and drops a right to read where the
// right to write the same is there.
func least(names []string) []string {
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		wide := strings.Replace(n, ".Read.", ".ReadWrite.", 1)
		return wide != n && slices.Contains(names, wide)
	})
}

func bullets(names []string) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "- `%s`\n", n)
	}
	return b.String()
}

func code(names []string) string {
	out := make([]string, len(names))
	for n, name := range names {
		out[n] = "`" + name + "`"
	}
	return strings.Join(out, ", ")
}

// duration says d in the largest unit that keeps it whole.
func duration(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%g s", d.Seconds())
}
