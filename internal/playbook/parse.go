package playbook

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Limits of one playbook.
const (
	maxSteps  = 50
	maxGuards = 50
)

// DefaultWindow is the window of once_per when a playbook says none: one run
// for an identity within it.
const DefaultWindow = time.Hour

// Parse reads one playbook and checks it against the catalogue. It returns all
// mistakes at once, sorted by place, and then no playbook. Any bytes are safe to
// pass.
func Parse(file string, text []byte, cat *action.Catalogue) (*Playbook, []Problem) {
	lang, err := newLanguage()
	if err != nil {
		return nil, []Problem{{File: file, Text: err.Error()}}
	}
	return parse(file, text, cat, lang)
}

func parse(file string, text []byte, cat *action.Catalogue, lang *language) (*Playbook, []Problem) {
	r := &reader{file: file, lang: lang}
	root := r.document(text)
	if root == nil {
		return nil, sortProblems(r.problems)
	}
	sum := sha256.Sum256(text)
	p := &Playbook{File: file, Text: string(text)}
	p.Ref.Hash = hex.EncodeToString(sum[:])
	r.playbook(p, root)
	r.check(p, root, cat)
	if len(r.problems) > 0 {
		return nil, sortProblems(r.problems)
	}
	return p, nil
}

var (
	semver    = regexp.MustCompile(`^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}$`)
	group     = regexp.MustCompile(`^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|S-1-[0-9-]{3,180})$`)
	technique = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)
)

func (r *reader) playbook(p *Playbook, root *yaml.Node) {
	f := r.fields(root, "playbook", "playbook", "id", "version", "title", "owner", "attack", "mode", "pilot", "cause", "trigger", "guards", "steps", "done")
	if v := r.text(root, f["playbook"], "playbook", true); v != "" && v != Language {
		r.add(f["playbook"], "playbook: language %q is not known; this Cordon reads %s", clip(v), Language)
	}
	p.Ref.ID = r.slug(root, f["id"], "id")
	p.Ref.Version = r.text(root, f["version"], "version", true)
	if p.Ref.Version != "" && !semver.MatchString(p.Ref.Version) {
		r.add(f["version"], "version: %q is not of the form 1.0.0", clip(p.Ref.Version))
	}
	p.Title = r.text(root, f["title"], "title", true)
	if len(p.Title) > 120 {
		r.add(f["title"], "title: at most 120 characters")
	}
	p.Owner = r.slug(root, f["owner"], "owner")
	p.Attack = r.list(root, f["attack"], "attack", false)
	for _, t := range p.Attack {
		if !technique.MatchString(t) {
			r.add(f["attack"], "attack: %q is not an ATT&CK technique such as T1078.004", clip(t))
		}
	}
	p.Mode = Mode(r.word(root, f["mode"], "mode", true, string(Enforce), string(Observe)))
	p.Pilot = r.list(root, f["pilot"], "pilot", false)
	for _, g := range p.Pilot {
		if !group.MatchString(g) {
			r.add(f["pilot"], "pilot: %q is not the id of a group: an object id in lower case or a SID", clip(g))
		}
	}
	if p.Pilot != nil && p.Mode == Observe {
		r.add(f["pilot"], "pilot: the playbook only observes; it is enforced on nobody")
	}
	p.Causes = r.causes(f["cause"])
	r.trigger(p, root, f["trigger"])
	r.guards(p, f["guards"])
	steps := r.items(f["steps"], "steps")
	switch {
	case f["steps"] == nil:
		r.add(root, "steps is missing")
	case f["steps"].Kind == yaml.SequenceNode && len(steps) == 0:
		r.add(f["steps"], "steps is empty")
	case len(steps) > maxSteps:
		r.add(f["steps"], "%d steps; at most %d", len(steps), maxSteps)
		steps = nil
	}
	for _, n := range steps {
		p.Steps = append(p.Steps, r.flow(n)...)
	}
	total := 0
	for _, step := range p.Steps {
		total += max(1, step.Max)
	}
	if total > maxSteps && len(steps) > 0 {
		r.add(f["steps"], "%d steps, those of parallel and the most of for_each counted; at most %d", total, maxSteps)
	}
	r.done(p, f["done"])
}

// causes reads one cause or a list of them.
func (r *reader) causes(n *yaml.Node) []signal.Cause {
	if n == nil {
		return nil
	}
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = r.items(n, "cause")
	}
	var out []signal.Cause
	for _, c := range nodes {
		v := signal.Cause(r.text(c, c, "cause", true))
		switch {
		case v == "":
		case !slices.Contains(signal.Causes(), v):
			r.add(c, "cause: no %q%s; it is one of %s", clip(string(v)), didYouMean(string(v), texts(signal.Causes())), strings.Join(texts(signal.Causes()), ", "))
		default:
			out = append(out, v)
		}
	}
	return out
}

func (r *reader) trigger(p *Playbook, root, n *yaml.Node) {
	if n == nil {
		r.add(root, "trigger is missing")
		return
	}
	f := r.fields(n, "trigger", "on", "when", "once_per", "settle")
	all := []string{OnSignal, OnRisk, OnCase, OnManual}
	p.Trigger.On = r.list(n, f["on"], "trigger.on", true)
	for _, on := range p.Trigger.On {
		if !slices.Contains(all, on) {
			r.add(f["on"], "trigger.on: no %q%s; it is one of %s", clip(on), didYouMean(on, all), strings.Join(all, ", "))
		}
	}
	manual := len(p.Trigger.On) == 1 && p.Trigger.On[0] == OnManual
	p.Trigger.when = r.expression(n, f["when"], "trigger.when", !manual, cel.BoolType)
	if w := p.Trigger.when; w != nil {
		p.Trigger.When = w.text
		if w.uses["signal"] && slices.ContainsFunc(p.Trigger.On, func(on string) bool { return on != OnSignal }) {
			r.add(f["when"], "trigger.when: signal is there only on %s, and this playbook is also asked on %s; use signals or risk",
				OnSignal, strings.Join(slices.DeleteFunc(slices.Clone(p.Trigger.On), func(on string) bool { return on == OnSignal }), ", "))
		}
		if v, ok := w.constant(r.lang); ok && !v {
			r.add(f["when"], "trigger.when is false whatever happens: the playbook never starts")
		}
	}
	p.Trigger.Settle = r.duration(n, f["settle"], "trigger.settle", false)
	if manual && f["once_per"] == nil {
		return
	}
	p.Trigger.Window, p.Trigger.OnceKey = DefaultWindow, "identity.id"
	if f["once_per"] == nil {
		p.Trigger.key, _ = r.lang.compile("identity.id", cel.StringType) // a field of the environment: cannot fail
		return
	}
	o := r.fields(f["once_per"], "trigger.once_per", "key", "window")
	p.Trigger.key = r.expression(f["once_per"], o["key"], "trigger.once_per.key", true, cel.StringType)
	if p.Trigger.key != nil {
		p.Trigger.OnceKey = p.Trigger.key.text
	}
	p.Trigger.Window = r.duration(f["once_per"], o["window"], "trigger.once_per.window", true)
}

func (r *reader) guards(p *Playbook, n *yaml.Node) {
	p.Guards.MaxTargets = 1
	f := r.fields(n, "guards", "max_targets", "rate", "refuse")
	if f["rate"] != nil {
		p.Guards.Rate = r.rate(f["rate"])
	}
	if f["max_targets"] != nil {
		p.Guards.MaxTargets = r.integer(f["max_targets"], "guards.max_targets", 1, 1_000_000)
	}
	items := r.items(f["refuse"], "guards.refuse")
	if len(items) > maxGuards {
		r.add(f["refuse"], "guards.refuse: %d guards; at most %d", len(items), maxGuards)
		return
	}
	for _, c := range items {
		g := r.fields(c, "guards.refuse", "when", "why")
		when := r.expression(c, g["when"], "guards.refuse.when", true, cel.BoolType)
		why := r.text(c, g["why"], "guards.refuse.why", true)
		if when == nil {
			continue
		}
		if v, ok := when.constant(r.lang); ok {
			r.add(g["when"], "guards.refuse.when is %t whatever the facts are; a guard must depend on them", v)
		}
		p.Guards.Refuse = append(p.Guards.Refuse, Refusal{When: when.text, Why: why, when: when})
	}
}

func (r *reader) approval(s *StepRule, n *yaml.Node, where string) {
	if n == nil {
		return
	}
	f := r.fields(n, where+": approval", "mode", "from", "quorum", "expires", "on_expiry", "same_as")
	if f["same_as"] != nil {
		s.sameAs = r.text(n, f["same_as"], where+": approval.same_as", true)
		if len(f) > 1 {
			r.add(n, "%s: approval: same_as stands alone; the other step says the rest", where)
		}
		return
	}
	rule := approval.Rule{
		Mode:     approval.Mode(r.word(n, f["mode"], where+": approval.mode", true, string(approval.Before), string(approval.Ratify))),
		From:     r.list(n, f["from"], where+": approval.from", true),
		Quorum:   r.integer(f["quorum"], where+": approval.quorum", 1, 10),
		Expires:  r.duration(n, f["expires"], where+": approval.expires", true),
		OnExpiry: approval.OnExpiry(r.word(n, f["on_expiry"], where+": approval.on_expiry", true, string(approval.ExpiryEscalate), string(approval.ExpirySkip), string(approval.ExpiryUndo), string(approval.ExpiryFail))),
	}
	if f["quorum"] == nil {
		r.add(n, "%s: approval.quorum is missing", where)
	}
	for _, g := range rule.From {
		if !slug.MatchString(g) {
			r.add(f["from"], "%s: approval.from: %q is not the name of a group", where, clip(g))
		}
	}
	switch {
	case f["on_expiry"] == nil:
	case rule.Mode == approval.Before && rule.OnExpiry == approval.ExpiryUndo:
		r.add(f["on_expiry"], "%s: approval.on_expiry: with mode before nothing is done yet that could be undone", where)
	case rule.Mode == approval.Ratify && rule.OnExpiry != approval.ExpiryUndo && rule.OnExpiry != approval.ExpiryEscalate:
		r.add(f["on_expiry"], "%s: approval.on_expiry: with mode ratify it is undo or escalate", where)
	}
	s.Approval = &rule
}
