package playbook

import (
	"io/fs"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
)

// A Match says that a playbook wants to run, or that it could not be asked.
type Match struct {
	Ref     Ref
	Mode    Mode
	OnceKey string        // once_per: no second run with it inside Window; never empty when Window is positive
	Window  time.Duration // 0: as often as it matches
	Settle  time.Duration // how long to wait for sibling signals before planning; 0: plan at once
	// Err says why the trigger could not be evaluated: a fact it needs is unknown,
	// or it cost too much. The playbook does not run; it is a fault of the
	// playbook's health for somebody to see, never swallowed.
	Err error
}

// A Requirement is what a playbook's actions need to be granted.
type Requirement struct {
	Playbook       string
	Permissions    []string // application permissions, sorted
	DirectoryRoles []string // what the app must hold to act on administrators, sorted
}

// A Library is a checked set of playbooks with the catalogue they were checked
// against. It is immutable and safe for concurrent use; a reload makes another.
type Library struct {
	playbooks []*Playbook // sorted by id
	byID      map[string]*Playbook
	cat       *action.Catalogue
}

// Load reads every .yaml and .yml file under fsys. It returns all problems of
// all files at once, and then no library: nothing is half-applied.
func Load(fsys fs.FS, cat *action.Catalogue) (*Library, []Problem) { return &Library{cat: cat}, nil }

// Playbooks returns the playbooks sorted by id.
func (l *Library) Playbooks() []*Playbook { return l.playbooks }

// Find returns the playbook with the id, and whether there is one.
func (l *Library) Find(id string) (*Playbook, bool) {
	p, ok := l.byID[id]
	return p, ok
}

// Requires returns what each playbook needs to be granted, sorted by id.
func (l *Library) Requires() []Requirement { return nil }

// Match returns the playbooks whose trigger names something of in.On and holds,
// and those whose trigger could not be evaluated (Err), sorted by id.
func (l *Library) Match(in Input) []Match { return nil }

// Plan makes the plan of ref for in.Identity. The trigger is not asked again: a
// person may plan any playbook on anybody. A ref without a hash means the
// library's version of that id; one with a hash that is not the library's returns
// fault.Conflict, an unheard-of id fault.NotFound. That something must not or
// cannot be done is not an error but the plan's Refused, Held, or a step's Held.
func (l *Library) Plan(ref Ref, in Input) (Plan, error) { return Plan{}, nil }
