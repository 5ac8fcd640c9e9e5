package app

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/notify"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/playbooks"
)

// Playbooks loads the playbooks a configuration names, or the shipped ones. All
// mistakes of all files come back together.
func Playbooks(c config.Config, specs *action.Catalogue) (*playbook.Library, error) {
	for _, p := range c.Playbooks {
		if info, err := os.Stat(p); err != nil || !info.IsDir() {
			return nil, fault.Errorf(fault.Invalid, "configuration: playbooks: %s is not a folder", p)
		}
	}
	files, _, err := ReadPlaybooks(c.Playbooks)
	if err != nil {
		return nil, err
	}
	library, problems := playbook.New(files, specs)
	if len(problems) > 0 {
		lines := make([]string, len(problems))
		for n, p := range problems {
			lines[n] = p.Error()
		}
		return nil, fault.Errorf(fault.Invalid, "playbooks:\n%s", strings.Join(lines, "\n"))
	}
	return library, nil
}

// ReadPlaybooks reads the playbooks (.yaml, .yml) and fixtures (.txtar) among
// files and below folders, which may be written "FOLDER/..." too; none means the ones
// that Cordon ships. Names are the paths as they would be opened.
func ReadPlaybooks(paths []string) (books, fixtures []playbook.File, err error) {
	take := func(name string, read func() ([]byte, error)) error {
		var to *[]playbook.File
		switch filepath.Ext(name) {
		case ".yaml", ".yml":
			to = &books
		case ".txtar":
			to = &fixtures
		default:
			return nil
		}
		text, err := read()
		if err != nil {
			return err
		}
		*to = append(*to, playbook.File{Name: name, Text: text})
		return nil
	}
	if len(paths) == 0 {
		err = fs.WalkDir(playbooks.FS, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return take(name, func() ([]byte, error) { return playbooks.FS.ReadFile(name) })
		})
		return books, fixtures, err
	}
	var errs []error
	for _, p := range paths {
		err := filepath.WalkDir(strings.TrimSuffix(p, "/..."), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return take(name, func() ([]byte, error) { return os.ReadFile(name) })
		})
		if err != nil {
			errs = append(errs, fault.Errorf(fault.Invalid, "playbooks: %w", err))
		}
	}
	return books, fixtures, errors.Join(errs...)
}

// Warnings says what may be as it is and is hardly meant so: playbooks that want
// people told of a run that failed, in a tenant where nobody is.
func Warnings(c config.Config, l *playbook.Library) []string {
	var out []string
	for _, t := range c.Tenants {
		if !t.Acts() || slices.ContainsFunc(c.Notify, func(r notify.Receiver) bool { return r.Hears(t.Key(), audit.RunPaged) }) {
			continue
		}
		for _, p := range l.Playbooks() {
			if p.Done.Page && p.Mode == playbook.Enforce {
				out = append(out, fmt.Sprintf("tenant %s: playbook %s says on_failure: page, and no receiver of notify hears %s there: nobody is told of a run that fails",
					cmp.Or(t.Name, t.TenantID), p.Ref.ID, audit.RunPaged))
			}
		}
	}
	return out
}
