package playbook

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A Match says that a playbook wants to run, or that it could not be asked.
type Match struct {
	Ref     Ref
	Mode    Mode
	OnceKey string        // once_per: no second run with it inside Window; never empty when Window is positive
	Window  time.Duration // 0: as often as it matches, such as when a person asks
	Settle  time.Duration // how long to wait for sibling signals before planning; 0: plan at once
	// Err says why the trigger could not be evaluated: a fact it needs is unknown,
	// or it cost too much. Its kind is fault.Held. The playbook does not run; it is
	// a fault of the playbook's health for somebody to see, never swallowed.
	Err error
}

// A Requirement is what a playbook's actions need to be granted.
type Requirement struct {
	Playbook       string
	Permissions    []string // application permissions, undo included, sorted
	DirectoryRoles []string // what the app must hold to act on administrators, sorted
	// OnPremises are its actions in Active Directory, which take rights delegated
	// there, sorted.
	OnPremises []action.Name
}

// A Library is a checked set of playbooks with the catalogue they were checked
// against. It is immutable and safe for concurrent use; a reload makes another.
type Library struct {
	playbooks []*Playbook // sorted by id
	byID      map[string]*Playbook
	cat       *action.Catalogue
	catalogue string // its version
}

// Load reads every .yaml and .yml file under fsys. It returns all problems of
// all files at once, sorted by place, and then no library: nothing is
// half-applied. No file at all makes an empty library.
func Load(fsys fs.FS, cat *action.Catalogue) (*Library, []Problem) {
	var files []File
	var problems []Problem
	_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error { // every error becomes a problem
		if err == nil && (d.IsDir() || path.Ext(name) != ".yaml" && path.Ext(name) != ".yml") {
			return nil
		}
		var text []byte
		if err == nil {
			text, err = fs.ReadFile(fsys, name)
		}
		if err != nil {
			problems = append(problems, Problem{File: name, Text: err.Error()})
			return nil
		}
		files = append(files, File{name, text})
		return nil
	})
	l, more := New(files, cat)
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, sortProblems(problems)
	}
	return l, nil
}

// A File is the text of one playbook. Name stands in messages.
type File struct {
	Name string
	Text []byte
}

// New is Load for files that have been read.
func New(files []File, cat *action.Catalogue) (*Library, []Problem) {
	l, problems := build(files, cat)
	return l, sortProblems(problems)
}

func build(files []File, cat *action.Catalogue) (*Library, []Problem) {
	lang, err := newLanguage()
	if err != nil {
		return nil, []Problem{{File: ".", Text: err.Error()}}
	}
	l := &Library{byID: map[string]*Playbook{}, cat: cat, catalogue: cat.Version()}
	var problems []Problem
	for _, f := range files {
		p, found := parse(f.Name, f.Text, cat, lang)
		problems = append(problems, found...)
		if p == nil {
			continue
		}
		if first, taken := l.byID[p.Ref.ID]; taken {
			problems = append(problems, Problem{File: f.Name, Text: fmt.Sprintf("the id %s is taken by %s", p.Ref.ID, first.File)})
			continue
		}
		l.byID[p.Ref.ID] = p
		l.playbooks = append(l.playbooks, p)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	slices.SortFunc(l.playbooks, func(a, b *Playbook) int { return cmp.Compare(a.Ref.ID, b.Ref.ID) })
	return l, nil
}

// Playbooks returns the playbooks sorted by id.
func (l *Library) Playbooks() []*Playbook { return slices.Clone(l.playbooks) }

// Find returns the playbook with the id, and whether there is one.
func (l *Library) Find(id string) (*Playbook, bool) {
	p, ok := l.byID[id]
	return p, ok
}

// Requires returns what each playbook needs to be granted, sorted by id.
func (l *Library) Requires() []Requirement {
	var out []Requirement
	for _, p := range l.playbooks {
		req := Requirement{Playbook: p.Ref.ID}
		add := func(s action.Spec) {
			if s.Provider == identity.ActiveDirectory && s.Via == "" {
				req.OnPremises = append(req.OnPremises, s.Name)
				return // rights delegated in a domain, not permissions of an application
			}
			req.Permissions = append(req.Permissions, s.Permissions...)
			if s.DirectoryRole != "" {
				req.DirectoryRoles = append(req.DirectoryRoles, s.DirectoryRole)
			}
		}
		for _, s := range p.Steps {
			for _, spec := range s.specs {
				add(spec)
				if undo, err := l.cat.Type(spec.Undo); spec.Undo != "" && err == nil {
					add(undo.Spec())
				}
			}
		}
		slices.Sort(req.Permissions)
		slices.Sort(req.DirectoryRoles)
		slices.Sort(req.OnPremises)
		req.OnPremises = slices.Compact(req.OnPremises)
		req.Permissions = slices.Compact(req.Permissions)
		req.DirectoryRoles = slices.Compact(req.DirectoryRoles)
		out = append(out, req)
	}
	return out
}

// Groups returns the ids of the groups whose members must be read, sorted: pilot
// groups and those that conditions ask about.
func (l *Library) Groups() []string {
	var out []string
	note := func(programs ...*program) {
		for _, p := range programs {
			if p != nil {
				out = append(out, p.groups...)
			}
		}
	}
	for _, p := range l.playbooks {
		out = append(out, p.Pilot...)
		note(p.Trigger.when, p.Trigger.key, p.Done.contained)
		for _, g := range p.Guards.Refuse {
			note(g.when)
		}
		if p.Guards.Rate != nil {
			note(p.Guards.Rate.key)
		}
		for _, s := range p.Steps {
			note(s.cond, s.each, s.until, s.account)
			for _, prg := range s.inputs {
				note(prg)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Missing says which permissions the steps need, undo included, that are not among
// those granted to the application, at the place of each step. What is a right in a
// domain is not looked at.
func (l *Library) Missing(granted []string) []Problem {
	var out []Problem
	for _, p := range l.playbooks {
		for _, s := range p.Steps {
			var need []string
			for _, spec := range s.specs {
				if undo, err := l.cat.Type(spec.Undo); spec.Undo != "" && err == nil {
					need = append(need, undo.Spec().Permissions...)
				}
				if need = append(need, spec.Permissions...); spec.Provider == identity.ActiveDirectory && spec.Via == "" {
					need = nil
				}
			}
			slices.Sort(need)
			for _, n := range slices.Compact(need) {
				if !slices.Contains(granted, n) {
					out = append(out, Problem{File: p.File, Line: s.line, Column: s.column, Text: fmt.Sprintf("step %s: %s needs the permission %s, which is not granted", s.ID, s.Uses, n)})
				}
			}
		}
	}
	return sortProblems(out)
}

// Match returns the playbooks whose trigger names something of in.On and holds,
// and those whose trigger could not be evaluated (Err), sorted by id.
func (l *Library) Match(in Input) []Match {
	var out []Match
	var f *facts
	for _, p := range l.playbooks {
		if !slices.ContainsFunc(p.Trigger.On, func(on string) bool { return slices.Contains(in.On, on) }) {
			continue
		}
		m := Match{Ref: p.Ref, Mode: p.Mode, Settle: p.Trigger.Settle, Window: p.Trigger.Window}
		if f == nil {
			var err error
			if f, err = factsOf(in); err != nil {
				m.Err = err
				out = append(out, m)
				continue
			}
		}
		if holds := m.ask(p, f, in); holds || m.Err != nil {
			out = append(out, m)
		}
	}
	return out
}

// ask evaluates the trigger of p and fills in what once_per says.
func (m *Match) ask(p *Playbook, f *facts, in Input) bool {
	if p.Trigger.when != nil {
		holds, err := p.Trigger.when.bool(f)
		if err != nil {
			m.Err = fmt.Errorf("playbook %s: trigger: %w", p.Ref.ID, err)
			return false
		}
		if !holds {
			return false
		}
	}
	if len(in.On) == 1 && in.On[0] == OnManual {
		m.Window = 0 // a person who asks twice wants it twice
	}
	if m.Window == 0 {
		return true
	}
	key, err := p.Trigger.key.string(f)
	if err == nil && key == "" {
		err = fault.Errorf(fault.Held, "%q gave an empty key", p.Trigger.OnceKey)
	}
	if err != nil {
		m.Err = fmt.Errorf("playbook %s: once_per: %w", p.Ref.ID, err)
		return false
	}
	m.OnceKey = key
	return true
}
