package playbook

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// routeVersion is the version of every route: what a route means does not
// change, and what it leads to is part of the catalogue's version.
const routeVersion = 1

// check compares p with the catalogue and its steps with each other.
func (r *reader) check(p *Playbook, root *yaml.Node, cat *action.Catalogue) {
	seen := map[string]int{}
	causes := r.triggered(p, root)
	for i := range p.Steps {
		s := &p.Steps[i]
		if first, taken := seen[s.ID]; taken && s.ID != "" {
			r.add(cmp.Or(s.fields["id"], s.node), "step %s: the id is taken by the step at line %d", s.ID, first)
		} else if s.ID != "" {
			seen[s.ID] = s.line
		}
		r.made(p, s)
		r.asked(p, i)
		s.specs = r.resolve(s, cat)
		if len(s.specs) > 0 {
			s.With = r.with(s)
			r.fit(p, s, causes)
		}
	}
	r.reached(p)
	r.sameAs(p)
	r.cured(p, root)
	r.takenBack(p, root)
	r.saidSo(p)
	for i := range p.Steps {
		p.Steps[i].node, p.Steps[i].fields = nil, nil
	}
}

// resolve returns the actions a step may turn out to be: one, or those of a
// route that the catalogue has.
func (r *reader) resolve(s *StepRule, cat *action.Catalogue) []action.Spec {
	if s.Uses == "" {
		return nil
	}
	at := s.fields["uses"]
	if route, ok := cat.Route(s.Uses); ok {
		if s.Version != routeVersion {
			r.add(at, "step %s: %s is at version %d, not %d", s.ID, s.Uses, routeVersion, s.Version)
		}
		var specs []action.Spec
		for _, name := range sortedNames(route) {
			if t, err := cat.Type(name); err == nil {
				specs = append(specs, t.Spec())
			}
		}
		if len(specs) == 0 {
			r.add(at, "step %s: nothing in the catalogue carries out %s", s.ID, s.Uses)
		}
		return specs
	}
	t, err := cat.Type(s.Uses)
	if err != nil {
		var all []string
		for _, spec := range cat.Specs() {
			all = append(all, string(spec.Name))
		}
		for _, route := range cat.Routes() {
			all = append(all, string(route.Name))
		}
		r.add(at, "step %s: no action %q%s; the catalogue has %s", s.ID, s.Uses, didYouMean(string(s.Uses), all), strings.Join(all, ", "))
		return nil
	}
	if v := t.Spec().Version; v != s.Version {
		r.add(at, "step %s: %s is at version %d, not %d; read what changed before you raise it", s.ID, s.Uses, v, s.Version)
	}
	return []action.Spec{t.Spec()}
}

func sortedNames(route action.Route) []action.Name {
	var names []action.Name
	for _, n := range route.To {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// with reads the inputs of a step against the parameters of its actions. Inputs
// that are not given stay out; the planner adds the defaults of the action it
// picks.
func (r *reader) with(s *StepRule) map[string]any {
	known := map[string]action.Param{}
	var names []string
	for _, spec := range s.specs {
		for _, p := range spec.Params {
			if _, ok := known[p.Name]; !ok {
				names = append(names, p.Name)
			}
			known[p.Name] = p
		}
	}
	where := fmt.Sprintf("step %s: with", s.ID)
	out := map[string]any{}
	n := s.fields["with"]
	if n != nil && len(names) == 0 {
		r.add(n, "%s: %s takes no inputs", where, s.Uses)
		return out
	}
	given := r.fields(n, where, names...)
	for _, name := range names {
		v, p := given[name], known[name]
		switch {
		case v == nil && p.Required && p.Default == nil && p.Fill == "":
			r.add(cmp.Or(n, s.fields["uses"]), "%s: the input %q is missing: %s", where, name, p.Text)
		case v != nil && v.Kind == yaml.ScalarNode && strings.Contains(v.Value, "${{"):
			r.input(s, v, p, where)
		case v != nil:
			if value, ok := r.value(v, p, where); ok {
				out[name] = value
			}
		}
	}
	return out
}

func (r *reader) value(n *yaml.Node, p action.Param, where string) (any, bool) {
	bad := func() (any, bool) {
		r.add(n, "%s: %s: needs the type %s", where, p.Name, p.Type)
		return nil, false
	}
	if n.Kind != yaml.ScalarNode {
		return bad()
	}
	switch p.Type {
	case "boolean":
		if n.Tag != "!!bool" || n.Value != "true" && n.Value != "false" {
			return bad()
		}
		return n.Value == "true", true
	case "integer":
		v, err := strconv.ParseInt(n.Value, 10, 64)
		if n.Tag != "!!int" || err != nil || v > math.MaxInt32 || v < math.MinInt32 {
			return bad()
		}
		return int(v), true
	default:
		if n.Tag != "!!str" || len(n.Value) > 1024 {
			return bad()
		}
		return n.Value, true
	}
}

// fit checks what the step says against what its actions are.
func (r *reader) fit(p *Playbook, s *StepRule, triggered []signal.Cause) {
	where := "step " + s.ID
	for _, spec := range s.specs {
		if s.Within > 0 && s.Within < spec.Propagation {
			r.add(s.fields["verify"], "%s: verify.within %s is shorter than the %s that %s may take to show the effect of %s", where, s.Within, spec.Propagation, directoryName(spec.Provider), spec.Name)
		}
		if s.Approval != nil && s.Approval.Mode == approval.Ratify && spec.Undo == "" {
			r.add(s.fields["approval"], "%s: mode ratify undoes what nobody ratifies, and %s cannot be undone: %s", where, spec.Name, spec.Irreversible)
		}
		if s.TTL > 0 && spec.Undo == "" {
			r.add(s.fields["ttl"], "%s: ttl takes back by itself what was done, and %s cannot be undone: %s", where, spec.Name, spec.Irreversible)
		}
		if len(p.Causes) == 0 && len(triggered) > 0 && spec.Effect == action.EffectCredential && !fits(spec, triggered) {
			r.add(s.fields["uses"], "%s: %s is no remedy for what the trigger's signals speak of, %s (it is one for %s)", where, spec.Name, joinCauses(triggered), joinCauses(spec.Remedies))
		}
		if len(p.Causes) == 0 || fits(spec, p.Causes) {
			continue
		}
		switch said := joinCauses(p.Causes); {
		case spec.Effect == action.EffectCredential:
			r.add(s.fields["uses"], "%s: %s is no remedy when the cause is %s (it is one for %s); it would only cost the person their credential", where, spec.Name, said, joinCauses(spec.Remedies))
		case s.Contains:
			r.add(s.fields["contains"], "%s: %s does not cure %s (it is a remedy for %s), so it cannot be what contains", where, spec.Name, said, joinCauses(spec.Remedies))
		}
	}
	r.acknowledged(s, where)
}

// acknowledged demands that a step which takes something away for good says so,
// and that no other step does.
func (r *reader) acknowledged(s *StepRule, where string) {
	i := slices.IndexFunc(s.specs, func(spec action.Spec) bool { return spec.Undo == "" })
	switch {
	case i < 0 && s.Accepted:
		r.add(s.fields["irreversible"], "%s: %s can be undone; take irreversible out", where, s.Uses)
	case i >= 0 && !s.Accepted && (s.specs[i].Effect == action.EffectCredential || s.specs[i].Effect == action.EffectRestrict):
		r.add(cmp.Or(s.fields["uses"], s.node), "%s: %s cannot be undone (%s); write irreversible: accepted on the step", where, s.specs[i].Name, s.specs[i].Irreversible)
	}
}

// fits reports whether spec is a remedy for any of the causes, or for none at
// all (it neither cures nor harms). Law 7. Where the signals say what was done with
// the account and not how it was come by, any remedy fits.
func fits(spec action.Spec, causes []signal.Cause) bool {
	if len(spec.Remedies) == 0 {
		return true
	}
	for _, c := range causes {
		switch c {
		case signal.CauseUnknown, signal.CauseMailbox, signal.CauseMethod, signal.CauseDevice:
			return true
		case signal.CauseBoth:
			if cures(spec, signal.CausePassword) || cures(spec, signal.CauseSession) {
				return true
			}
		default:
			if cures(spec, c) {
				return true
			}
		}
	}
	return false
}

// cures reports whether spec is a remedy for c. Rights in a directory are used
// through an account whose password somebody knows, so what cures a password is a
// remedy there too.
func cures(spec action.Spec, c signal.Cause) bool {
	return slices.Contains(spec.Remedies, c) ||
		slices.Contains(spec.Remedies, signal.CauseBoth) && (c == signal.CausePassword || c == signal.CauseSession) ||
		c == signal.CauseDirectory && slices.Contains(spec.Remedies, signal.CausePassword)
}

// cured checks that a playbook which names its cause has a remedy for it.
func (r *reader) cured(p *Playbook, root *yaml.Node) {
	if len(p.Causes) == 0 || slices.ContainsFunc(p.Steps, func(s StepRule) bool { return s.Kind == KindAct && len(s.specs) == 0 }) {
		return // a step that could not be read may be the remedy
	}
	var need []signal.Cause
	for _, c := range p.Causes {
		switch c {
		case signal.CauseUnknown:
		case signal.CauseBoth:
			need = append(need, signal.CausePassword, signal.CauseSession)
		default:
			need = append(need, c)
		}
	}
	slices.Sort(need)
	for _, c := range slices.Compact(need) {
		if !slices.ContainsFunc(p.Steps, func(s StepRule) bool {
			return slices.ContainsFunc(s.specs, func(spec action.Spec) bool { return cures(spec, c) })
		}) {
			r.add(root, "cause: no step is a remedy for %s", c)
		}
	}
}

func joinCauses(cs []signal.Cause) string { return strings.Join(texts(cs), " or ") }

// made checks that no step has the id that a plan gives to what it makes of s: one
// for each element, or the cloud's side of a route.
func (r *reader) made(p *Playbook, s *StepRule) {
	for i := range p.Steps {
		o := &p.Steps[i]
		rest, ok := strings.CutPrefix(o.ID, s.ID+"-")
		if !ok || o == s || s.ID == "" {
			continue
		}
		_, err := strconv.Atoi(rest)
		if s.ForEach != "" && err == nil || strings.HasPrefix(string(s.Uses), "identity.") && rest == "cloud" {
			r.add(cmp.Or(o.fields["id"], o.node), "step %s: the id is what a plan calls a part of step %s; choose another", o.ID, s.ID)
		}
	}
}

// asked checks which steps the conditions of step n ask about: those before it,
// and of its parallel none.
func (r *reader) asked(p *Playbook, n int) {
	s := &p.Steps[n]
	var before []string
	for _, o := range p.Steps[:n] {
		if s.Group == "" || o.Group != s.Group {
			before = append(before, o.ID)
		}
	}
	at := s.fields["if"]
	if at != nil {
		r.known(at, s.cond, "step "+s.ID+": if", before)
	} else if s.cond != nil {
		r.known(s.node, s.cond, "step "+s.ID+": the condition of its parallel", before)
	}
	if w := s.fields["wait"]; w != nil {
		r.known(w, s.until, "step "+s.ID+": wait.until", before)
	}
	if s.account != nil && len(s.fields) > 0 && s.Uses != "" && strings.HasPrefix(string(s.Uses), "identity.") {
		r.add(s.fields["account"], "step %s: account: %s is a route, which picks the account itself", s.ID, s.Uses)
	}
}

// reached finds steps that nothing can come to.
func (r *reader) reached(p *Playbook) {
	end := ""
	for i := range p.Steps {
		s := &p.Steps[i]
		if end != "" {
			r.add(cmp.Or(s.fields["id"], s.node), "step %s is never reached: step %s ends the run whatever happens", s.ID, end)
			continue
		}
		if s.Kind != KindEnd {
			continue
		}
		always := s.cond == nil && s.fields["if"] == nil
		if s.cond != nil {
			v, ok := s.cond.constant(r.lang)
			always = ok && v
		}
		if always {
			end = s.ID
		}
	}
}

// triggered compares what the trigger's signals speak of with what the playbook
// says (law 7). It returns all that they speak of.
func (r *reader) triggered(p *Playbook, root *yaml.Node) (all []signal.Cause) {
	if p.Trigger.when == nil {
		return nil
	}
	for _, t := range p.Trigger.when.types {
		causes := detection.CausesOfType(t)
		all = append(all, causes...)
		if len(p.Causes) == 0 || len(causes) == 0 || slices.ContainsFunc(causes, func(of signal.Cause) bool {
			return of == signal.CauseUnknown || slices.ContainsFunc(p.Causes, func(said signal.Cause) bool { return speaks(said, of) })
		}) {
			continue
		}
		r.add(root, "cause: the trigger's %s speaks of %s, and the playbook says %s", t, joinCauses(causes), joinCauses(p.Causes))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// speaks reports whether a playbook that says one cause answers a signal of another.
func speaks(said, of signal.Cause) bool {
	return said == of || said == signal.CauseUnknown ||
		said == signal.CauseBoth && (of == signal.CausePassword || of == signal.CauseSession)
}

// saidSo checks that no step behind a question ends a risk on the word of whoever
// answered: that takes people's approval, or a condition that demands that the answer
// was borne out.
func (r *reader) saidSo(p *Playbook) {
	asks := ""
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Kind == KindAsk {
			asks = s.ID
			continue
		}
		if asks == "" || s.Approval != nil && s.Approval.Mode == approval.Before || s.cond != nil && len(s.cond.proven) > 0 {
			continue
		}
		if n := slices.IndexFunc(s.specs, func(spec action.Spec) bool { return clears(spec.Name) }); n >= 0 {
			r.add(cmp.Or(s.fields["uses"], s.node), "step %s: %s ends a risk, and behind the question of step %s it may rest on a word alone: "+
				"give it an approval of mode before, or a condition that demands steps.%s.proven", s.ID, s.specs[n].Name, asks, asks)
		}
	}
}

// takenBack checks that what is to be undone on failure can be.
func (r *reader) takenBack(p *Playbook, root *yaml.Node) {
	if !p.Done.Undo {
		return
	}
	if !slices.ContainsFunc(p.Steps, func(s StepRule) bool {
		return slices.ContainsFunc(s.specs, func(spec action.Spec) bool { return spec.Undo != "" })
	}) {
		r.add(root, "done.on_failure: no step of it can be undone")
	}
}

// sameAs copies approvals that a step takes from another.
func (r *reader) sameAs(p *Playbook) {
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.sameAs == "" {
			continue
		}
		var ids []string
		for _, o := range p.Steps {
			if o.Approval != nil && o.sameAs == "" {
				ids = append(ids, o.ID)
			}
		}
		if !slices.Contains(ids, s.sameAs) {
			r.add(s.fields["approval"], "step %s: approval.same_as: no step %q with an approval of its own%s", s.ID, clip(s.sameAs), didYouMean(s.sameAs, ids))
			continue
		}
		for _, o := range p.Steps {
			if o.ID != s.sameAs || o.sameAs != "" {
				continue
			}
			rule := *o.Approval
			rule.From = slices.Clone(rule.From)
			s.Approval = &rule
			for _, spec := range s.specs {
				if rule.Mode == approval.Ratify && spec.Undo == "" {
					r.add(s.fields["approval"], "step %s: mode ratify undoes what nobody ratifies, and %s cannot be undone: %s", s.ID, spec.Name, spec.Irreversible)
				}
			}
			break
		}
	}
}
