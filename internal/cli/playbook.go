package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

func newPlaybook(e Env) *cobra.Command {
	return group("playbook", "Playbooks: check, test, plan and replay them", newPlaybookCheck(e), newPlaybookTest(e), newPlaybookPlan(e), newPlaybookReplay(e))
}

// A finding is what check and test print.
type finding struct {
	OK        bool                `json:"ok"`
	Playbooks int                 `json:"playbooks"`
	Fixtures  int                 `json:"fixtures,omitempty"`
	Untested  []string            `json:"untested,omitempty"` // playbooks without a fixture
	Coverage  []playbook.Coverage `json:"coverage,omitempty"`
	Problems  []playbook.Problem  `json:"problems"`
}

func (f finding) print(w io.Writer) {
	for _, p := range f.Problems {
		fmt.Fprintln(w, clean(p.Error()))
	}
}

func newPlaybookCheck(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "check [FILE | FOLDER]…", Short: "Find all mistakes of playbooks at once",
		Long: "Checks playbooks against the actions of this version: keys, words, CEL, parameters,\nand whether a remedy fits its cause. Without arguments it checks those of --config,\nor the ones that Cordon ships. Needs no network. Exits with 1 when there are\nmistakes.",
	}
	path, asJSON := c.Flags().String("config", "", "check the playbooks of this configuration"), jsonFlag(c)
	granted := c.Flags().StringSlice("granted", nil, "also say which permissions of steps are not among these, comma-separated")
	c.RunE = func(_ *cobra.Command, args []string) error {
		books, _, err := playbooksOf(e, *path, args)
		if err != nil {
			return err
		}
		f, library, err := checked(books)
		if err != nil {
			return err
		}
		if f.OK && len(*granted) > 0 {
			f.Problems = append(f.Problems, library.Missing(*granted)...)
			f.OK = len(f.Problems) == 0
		}
		return found(e, *asJSON, f, func(w io.Writer) { fmt.Fprintf(w, "ok: %s\n", plural(f.Playbooks, "playbook")) })
	}
	return c
}

func found(e Env, asJSON bool, f finding, good func(io.Writer)) error {
	err := out(e, asJSON, f, func(w io.Writer) {
		if f.print(w); f.OK {
			good(w)
		}
	})
	if err == nil && !f.OK {
		return no("%s in %s", plural(len(f.Problems), "mistake"), plural(f.Playbooks, "playbook"))
	}
	return err
}

// playbooksOf reads what is named, else what the configuration names, else what
// Cordon ships.
func playbooksOf(e Env, path string, args []string) (books, fixtures []playbook.File, err error) {
	if len(args) == 0 && path != "" {
		cfg, err := loadConfig(e, path)
		if err != nil {
			return nil, nil, err
		}
		args = cfg.Playbooks
	}
	books, fixtures, err = app.ReadPlaybooks(args)
	if err == nil && len(books) == 0 {
		err = fault.Errorf(fault.Invalid, "no playbook (.yaml or .yml) in %s", strings.Join(args, ", "))
	}
	return books, fixtures, err
}

func checked(books []playbook.File) (finding, *playbook.Library, error) {
	specs, err := app.Catalogue(nil)
	if err != nil {
		return finding{}, nil, err
	}
	library, problems := playbook.New(books, specs)
	f := finding{OK: len(problems) == 0, Playbooks: len(books), Problems: problems}
	if f.OK {
		f.Problems = []playbook.Problem{}
	}
	return f, library, nil
}

func newPlaybookTest(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "test [FOLDER]", Short: "Run the fixtures beside playbooks", Args: cobra.MaximumNArgs(1),
		Long: "Each fixture (PLAYBOOK.txtar) describes identities and signals and what the\nplaybook must make of them. Without an argument those of --config or the shipped\nones are run. Exits with 1 when something came out otherwise.",
	}
	path, asJSON := c.Flags().String("config", "", "test the playbooks of this configuration"), jsonFlag(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		books, fixtures, err := playbooksOf(e, *path, args)
		if err != nil {
			return err
		}
		f, library, err := checked(books)
		if err != nil {
			return err
		}
		if f.OK {
			if len(fixtures) == 0 {
				return no("no fixture (.txtar) beside the playbooks: nothing was tested")
			}
			f.Fixtures = len(fixtures)
			for _, x := range fixtures {
				problems, covered := library.Try(x.Name, x.Text, run.Rehearse)
				f.Problems = append(f.Problems, problems...)
				f.Coverage = append(f.Coverage, covered)
			}
			f.OK = len(f.Problems) == 0
			f.Untested = untested(library, fixtures)
		}
		if !*asJSON {
			for _, id := range f.Untested {
				fmt.Fprintf(e.Stderr, "%s has no fixture\n", id)
			}
		}
		return found(e, *asJSON, f, func(w io.Writer) {
			branches, taken := 0, 0
			for _, c := range f.Coverage {
				branches, taken = branches+c.Branches, taken+c.Taken
				for _, b := range c.Missing {
					fmt.Fprintf(w, "%s: no case in which: %s\n", c.Playbook, b)
				}
			}
			fmt.Fprintf(w, "ok: %s of %s, %d of %d branches taken\n", plural(f.Fixtures, "fixture"), plural(f.Playbooks, "playbook"), taken, branches)
		})
	}
	return c
}

func untested(l *playbook.Library, fixtures []playbook.File) []string {
	var ids []string
	for _, p := range l.Playbooks() {
		if !slices.ContainsFunc(fixtures, func(f playbook.File) bool {
			return strings.TrimSuffix(filepath.Base(f.Name), filepath.Ext(f.Name)) == p.Ref.ID
		}) {
			ids = append(ids, p.Ref.ID)
		}
	}
	return ids
}

func newPlaybookPlan(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "plan --identity IDENTITY --playbook ID", Short: "Show what a playbook would do to an identity now", Args: exactly(),
		Long: "Makes the plan that the playbook has for the identity now and shows it with its\nhash. Nothing is written and nothing is started. IDENTITY is an id, a UPN or a\nname.",
	}
	t, asJSON := targetFlags(c), jsonFlag(c)
	id := c.Flags().String("identity", "", "id, UPN or name")
	book := c.Flags().String("playbook", "", "id of the playbook")
	c.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		switch {
		case *id == "":
			return fault.Errorf(fault.Invalid, "--identity is missing: an id, a UPN or a name")
		case *book == "":
			return fault.Errorf(fault.Invalid, "--playbook is missing: the id of a playbook")
		}
		s, err := t.open(cmd.Context(), e)
		if err != nil {
			return err
		}
		defer closing(s.close, &err)
		v, err := s.planFor(cmd.Context(), *book, *id)
		if err != nil {
			return err
		}
		return out(e, *asJSON, v, func(w io.Writer) { printRun(sheet{w}, v) })
	}
	return c
}

func (s *session) planFor(ctx context.Context, book, name string) (desk.RunView, error) {
	id, err := s.identity(ctx, name)
	if err != nil {
		return desk.RunView{}, err
	}
	return s.Plan(ctx, book, id)
}
