package playbooks_test

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/playbooks"
)

var update = flag.Bool("update", false, "write into the fixtures what comes out")

// fixtures are what each playbook that changes anything must show, by a line of what
// comes out.
var fixtures = map[string]*regexp.Regexp{
	"refusing":  regexp.MustCompile(`(?m)^plan: refused: `),
	"approving": regexp.MustCompile(`(?m)^then approve: `),
	"expiring":  regexp.MustCompile(`nobody answered by `),
	"undoing":   regexp.MustCompile(`(?m)^then undo: `),
}

func acts(p *playbook.Playbook) bool {
	return slices.ContainsFunc(p.Steps, func(s playbook.StepRule) bool { return s.Kind == playbook.KindAct })
}

// Every shipped playbook is played to its end, with the state machine that runs in
// earnest: its fixture takes every branch there is, refusing, approving, running
// out and undoing among them.
func TestEveryBranchIsPlayed(t *testing.T) {
	t.Parallel()
	lib := library(t)
	for _, p := range lib.Playbooks() {
		name := strings.TrimSuffix(p.File, ".yaml") + ".txtar"
		text, err := fs.ReadFile(playbooks.FS, name)
		if err != nil {
			t.Errorf("%s has no fixture: %v", p.Ref.ID, err)
			continue
		}
		if *update {
			next := lib.Record(name, text, run.Rehearse)
			if !bytes.Equal(text, next) {
				if err := os.WriteFile(name, next, 0o644); err != nil {
					t.Error(err)
				}
			}
			text = next
		}
		for what, line := range fixtures {
			// One that only says that a person is needed changes nothing.
			if n := len(line.FindAll(text, -1)); n == 0 && (what == "refusing" || acts(p)) {
				t.Errorf("%s: no %s fixture", p.Ref.ID, what)
			}
		}
		problems, covered := lib.Try("playbooks/"+name, text, run.Rehearse)
		for _, q := range problems {
			t.Error(q)
		}
		for _, b := range covered.Missing {
			t.Errorf("%s: no case in which: %s", p.Ref.ID, b)
		}
	}
}
