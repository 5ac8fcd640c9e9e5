package playbook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// maxKept bounds how many compiled conditions are kept.
const maxKept = 1024

// An Asker decides conditions that plans carry as text, whatever became of the
// playbooks since. The zero value is ready; it is safe for concurrent use.
type Asker struct {
	mu   sync.Mutex
	lang *language
	kept map[string]*program
}

// Holds reports whether the condition holds for in. An error has the kind
// fault.Held and says which fact is missing; a text that is no condition of this
// language, which no plan of a checked playbook has, is fault.Held too: nothing is
// done on a condition that cannot be read.
func (a *Asker) Holds(text string, in Input) (bool, error) {
	f, err := factsOf(in)
	if err != nil {
		return false, err
	}
	return a.holds(text, in, f)
}

func (a *Asker) holds(text string, in Input, f *facts) (bool, error) {
	p, err := a.program(text, slices.Sorted(maps.Keys(in.Each)))
	if err != nil {
		return false, err
	}
	return p.bool(f)
}

func (a *Asker) program(text string, names []string) (*program, error) {
	key := strings.Join(names, ",") + "\x00" + text
	a.mu.Lock()
	defer a.mu.Unlock()
	if p, ok := a.kept[key]; ok {
		return p, nil
	}
	if a.lang == nil {
		lang, err := newLanguage()
		if err != nil {
			return nil, err
		}
		a.lang = lang
	}
	lang := a.lang
	for _, n := range names {
		var err error
		if lang, err = lang.with(n); err != nil {
			return nil, err
		}
	}
	p, mistakes := lang.compile(text, cel.BoolType)
	if p == nil {
		return nil, fault.Errorf(fault.Held, "the condition %q cannot be read by this version: %s", text, mistakes[0].text)
	}
	if a.kept == nil || len(a.kept) >= maxKept {
		a.kept = map[string]*program{}
	}
	a.kept[key] = p
	return p, nil
}

// Still reports whether what the plan rests on holds for one of its steps with in:
// its guards, and its condition where that was decided for the plan. refused says
// which guard refuses now, moot that the condition does not hold any more, and err,
// of the kind fault.Held, what cannot be decided.
func (a *Asker) Still(p Plan, step string, in Input) (refused, moot string, err error) {
	n := slices.IndexFunc(p.Steps, func(s Step) bool { return s.ID == step })
	if n < 0 {
		return "", "", fault.Errorf(fault.Invalid, "the plan has no step %q", step)
	}
	s := p.Steps[n]
	if len(p.Guards) == 0 && s.If == "" {
		return "", "", nil
	}
	in.Each = nil
	f, err := factsOf(in)
	if err != nil {
		return "", "", err
	}
	var unknown error
	for _, g := range p.Guards {
		holds, err := a.holds(g.When, in, f)
		switch {
		case err != nil && unknown == nil:
			unknown = fmt.Errorf("the guard %q could not be decided: %w", g.Why, err)
		case holds:
			return g.Why, "", nil
		}
	}
	if unknown != nil {
		return "", "", unknown
	}
	if s.If == "" || s.Later {
		return "", "", nil
	}
	if in.Each = s.Each; len(s.Each) > 0 {
		if f, err = factsOf(in); err != nil {
			return "", "", err
		}
	}
	switch holds, err := a.holds(s.If, in, f); {
	case err != nil:
		return "", "", fmt.Errorf("its condition could not be decided: %w", err)
	case !holds:
		return "", fmt.Sprintf("not called for any more: %s is false", s.If), nil
	}
	return "", "", nil
}

// Asks reports whether there is anything for Still to decide about a step.
func (p Plan) Asks(step string) bool {
	if len(p.Guards) > 0 {
		return true
	}
	n := slices.IndexFunc(p.Steps, func(s Step) bool { return s.ID == step })
	return n >= 0 && p.Steps[n].If != "" && !p.Steps[n].Later
}
