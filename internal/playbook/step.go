package playbook

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/question"
)

// maxEach bounds what for_each may make of one step.
const maxEach = 20

// minTTL is the shortest time after which a change is taken back by itself:
// proving and taking back need some.
const minTTL = time.Minute

var uses = regexp.MustCompile(`^([a-z0-9_]+(?:\.[a-z0-9_]+)+)@([0-9]{1,6})$`)

// stepKeys are the keys of a step by what it is.
var (
	actKeys      = []string{"id", "title", "uses", "with", "account", "if", "for_each", "as", "max", "after", "approval", "verify", "timeout", "ttl", "max_ttl", "on_error", "contains", "irreversible"}
	parallelKeys = []string{"id", "parallel", "if"}
	waitKeys     = []string{"id", "title", "wait", "if"}
	askKeys      = []string{"id", "title", "ask", "if"}
	endKeys      = []string{"id", "end", "note", "if"}
)

// has reports whether a mapping has the key.
func has(n *yaml.Node, key string) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// flow reads one entry of steps: a step, a wait, a question, an end, or several in
// parallel.
func (r *reader) flow(n *yaml.Node) []StepRule {
	switch {
	case has(n, "parallel"):
		return r.parallel(n)
	case has(n, "wait"):
		return []StepRule{r.wait(n)}
	case has(n, "ask"):
		return []StepRule{r.ask(n)}
	case has(n, "end"):
		return []StepRule{r.end(n)}
	}
	return []StepRule{r.step(n, nil)}
}

// begin reads what every kind of step has.
func (r *reader) begin(n *yaml.Node, keys []string) (StepRule, string) {
	s := StepRule{line: n.Line, column: n.Column, node: n, lang: r.lang, After: AfterAccepted, OnError: ErrorFail}
	s.fields = r.fields(n, "step", keys...)
	if n.Kind != yaml.MappingNode {
		return s, ""
	}
	s.ID = r.slug(n, s.fields["id"], "id")
	return s, "step " + cmp.Or(s.ID, "?")
}

// condition reads if.
func (r *reader) condition(s *StepRule, where string) {
	r.stepsKnown = true
	defer func() { r.stepsKnown = false }()
	n := s.fields["if"]
	if s.cond = r.expression(s.node, n, where+": if", false, cel.BoolType); s.cond == nil {
		return
	}
	s.If = s.cond.text
	if v, ok := s.cond.constant(r.lang); ok && !v {
		r.add(n, "%s: if is false whatever the facts are: the step is never reached", where)
	}
}

// parallel reads steps that do not wait for each other. Its condition is that of
// each of them.
func (r *reader) parallel(n *yaml.Node) []StepRule {
	head, where := r.begin(n, parallelKeys)
	r.condition(&head, where)
	items := r.items(head.fields["parallel"], where+": parallel")
	if len(items) < 2 {
		r.add(cmp.Or(head.fields["parallel"], n), "%s: parallel needs two steps at the least", where)
	}
	var out []StepRule
	for _, c := range items {
		if has(c, "parallel") || has(c, "wait") || has(c, "ask") || has(c, "end") {
			r.add(c, "%s: within parallel stand only steps that use an action", where)
			continue
		}
		s := r.step(c, head.cond)
		s.Group = head.ID
		out = append(out, s)
	}
	return out
}

// wait reads a step that changes nothing and lets what follows wait.
func (r *reader) wait(n *yaml.Node) StepRule {
	s, where := r.begin(n, waitKeys)
	s.Kind = KindWait
	if where == "" {
		return s
	}
	s.Title = r.text(n, s.fields["title"], where+": title", false)
	r.condition(&s, where)
	w := s.fields["wait"]
	f := r.fields(w, where+": wait", "until", "within", "on_timeout")
	r.stepsKnown = true
	s.until = r.expression(w, f["until"], where+": wait.until", true, cel.BoolType)
	r.stepsKnown = false
	if s.until != nil {
		s.Until = s.until.text
		if v, ok := s.until.constant(r.lang); ok {
			r.add(f["until"], "%s: wait.until is %t whatever the facts are; a wait must depend on them", where, v)
		}
	}
	s.Wait = r.duration(w, f["within"], where+": wait.within", true)
	s.OnTimeout = OnTimeout(r.word(w, f["on_timeout"], where+": wait.on_timeout", false, string(TimeoutContinue), string(TimeoutFail), string(TimeoutPerson)))
	return s
}

// ask reads a step that asks somebody whether it was them and lets what follows wait
// for the answer.
func (r *reader) ask(n *yaml.Node) StepRule {
	s, where := r.begin(n, askKeys)
	s.Kind = KindAsk
	if where == "" {
		return s
	}
	s.Title = r.text(n, s.fields["title"], where+": title", false)
	r.condition(&s, where)
	a := s.fields["ask"]
	f := r.fields(a, where+": ask", "who", "within", "on_expiry")
	s.Ask = question.Who(r.word(a, f["who"], where+": ask.who", true, string(question.Person), string(question.Manager)))
	s.Wait = r.duration(a, f["within"], where+": ask.within", true)
	s.OnTimeout = OnTimeout(r.word(a, f["on_expiry"], where+": ask.on_expiry", true, string(TimeoutContinue), string(TimeoutFail), string(TimeoutPerson)))
	return s
}

// end reads a step after which nothing follows.
func (r *reader) end(n *yaml.Node) StepRule {
	s, where := r.begin(n, endKeys)
	s.Kind = KindEnd
	if where == "" {
		return s
	}
	r.condition(&s, where)
	s.End = End(r.word(n, s.fields["end"], where+": end", true, string(EndExpected), string(EndContained), string(EndPerson)))
	s.Note = r.text(n, s.fields["note"], where+": note", false)
	return s
}

// step reads a step that uses an action. outer is the condition of the parallel
// that it stands in.
func (r *reader) step(n *yaml.Node, outer *program) StepRule {
	s, where := r.begin(n, actKeys)
	f := s.fields
	if where == "" {
		return s
	}
	s.Title = r.text(n, f["title"], where+": title", false)
	if v := r.text(n, f["uses"], where+": uses", true); v != "" {
		if m := uses.FindStringSubmatch(v); m != nil {
			s.Uses = action.Name(m[1])
			s.Version, _ = strconv.Atoi(m[2])
		} else {
			r.add(f["uses"], "%s: uses: %q is not of the form name@version, such as entra.user.disable@1", where, clip(v))
		}
	}
	outside := r.lang
	r.forEach(&s, where)
	defer func() { r.lang = outside }()
	r.condition(&s, where)
	if outer != nil {
		if s.cond == nil {
			s.cond, s.If = outer, outer.text
		} else if both, mistakes := r.lang.compile("("+outer.text+") && ("+s.cond.text+")", cel.BoolType); both != nil {
			both.steps = slices.Concat(outer.steps, s.cond.steps)
			s.cond, s.If = both, both.text
		} else {
			r.add(f["if"], "%s: with the condition of its parallel: %s", where, mistakes[0].text)
		}
	}
	if s.account = r.expression(n, f["account"], where+": account", false, cel.StringType); s.account != nil {
		s.Account = s.account.text
	}
	s.After = After(r.word(n, f["after"], where+": after", false, string(AfterAccepted), string(AfterVerified)))
	s.OnError = OnError(r.word(n, f["on_error"], where+": on_error", false, string(ErrorFail), string(ErrorContinue)))
	s.Contains = r.flag(f["contains"], where+": contains")
	if v := r.text(n, f["irreversible"], where+": irreversible", false); v != "" {
		if s.Accepted = v == "accepted"; !s.Accepted {
			r.add(f["irreversible"], "%s: irreversible: the only word is accepted", where)
		}
	}
	v := r.fields(f["verify"], where+": verify", "within")
	s.Within = r.duration(f["verify"], v["within"], where+": verify.within", f["verify"] != nil)
	s.Timeout = r.duration(n, f["timeout"], where+": timeout", false)
	if s.TTL = r.duration(n, f["ttl"], where+": ttl", false); s.TTL > 0 && s.TTL < minTTL {
		r.add(f["ttl"], "%s: ttl: at least %s", where, minTTL)
	}
	if s.MaxTTL = r.duration(n, f["max_ttl"], where+": max_ttl", false); f["max_ttl"] != nil && (s.TTL == 0 || s.MaxTTL < s.TTL) {
		r.add(f["max_ttl"], "%s: max_ttl bounds how far a person may extend ttl: it goes with a ttl and is no shorter", where)
	}
	r.approval(&s, f["approval"], where)
	return s
}

// forEach reads for_each, as and max; the name is known to what the step says
// from here on.
func (r *reader) forEach(s *StepRule, where string) {
	f := s.fields
	if f["for_each"] == nil {
		for _, key := range []string{"as", "max"} {
			if f[key] != nil {
				r.add(f[key], "%s: %s belongs to for_each", where, key)
			}
		}
		return
	}
	if s.each = r.expression(s.node, f["for_each"], where+": for_each", true, cel.ListType(cel.StringType)); s.each != nil {
		s.ForEach = s.each.text
	}
	if s.Max = r.integer(f["max"], where+": max", 1, maxEach); f["max"] == nil {
		r.add(f["for_each"], "%s: max is missing: how many for_each may make of it at the most, up to %d", where, maxEach)
	}
	s.As = r.slug(s.node, f["as"], where+": as")
	if s.As == "" {
		return
	}
	inner, err := r.lang.with(strings.ReplaceAll(s.As, "-", "_"))
	if err != nil || slices.Contains([]string{"identity", "risk", "signal", "signals", "tenant", "steps", "level"}, s.As) || strings.Contains(s.As, "-") {
		r.add(f["as"], "%s: as: %q cannot be a name in an expression, or is one already", where, s.As)
		return
	}
	r.lang, s.lang = inner, inner
}

// input reads an input that is an expression, such as ${{ signal.ip }}: it is the
// whole value and has its type.
func (r *reader) input(s *StepRule, n *yaml.Node, p action.Param, where string) {
	text := strings.TrimSpace(n.Value)
	inner, ok := strings.CutPrefix(text, "${{")
	inner, ok2 := strings.CutSuffix(inner, "}}")
	if !ok || !ok2 || strings.Contains(inner, "${{") {
		r.add(n, "%s: %s: an expression is the whole value: ${{ … }}", where, p.Name)
		return
	}
	want := map[string]*cel.Type{"boolean": cel.BoolType, "integer": cel.IntType}[p.Type]
	prg, mistakes := s.lang.compile(strings.TrimSpace(inner), cmp.Or(want, cel.StringType))
	for _, m := range mistakes {
		r.add(n, "%s: %s: %s", where, p.Name, m.text)
	}
	switch {
	case prg == nil:
	case prg.uses["steps"]:
		r.add(n, "%s: %s: inputs are part of what people approve; they cannot depend on steps", where, p.Name)
	default:
		if s.inputs == nil {
			s.inputs = map[string]*program{}
		}
		s.inputs[p.Name] = prg
	}
}

// rate reads how many runs may change something in a while.
func (r *reader) rate(n *yaml.Node) *RateRule {
	f := r.fields(n, "guards.rate", "key", "limit", "per", "over")
	out := RateRule{
		Limit: r.integer(f["limit"], "guards.rate.limit", 1, 1_000_000),
		Per:   r.duration(n, f["per"], "guards.rate.per", true),
		Over:  Over(r.word(n, f["over"], "guards.rate.over", false, string(OverHold), string(OverRefuse))),
	}
	if f["limit"] == nil {
		r.add(n, "guards.rate.limit is missing")
	}
	if out.key = r.expression(n, f["key"], "guards.rate.key", true, cel.StringType); out.key != nil {
		out.Key = out.key.text
	}
	return &out
}

// done reads what the end of a run means.
func (r *reader) done(p *Playbook, n *yaml.Node) {
	f := r.fields(n, "done", "contained_when", "on_failure")
	r.stepsKnown = true
	p.Done.contained = r.expression(n, f["contained_when"], "done.contained_when", false, cel.BoolType)
	r.stepsKnown = false
	if c := p.Done.contained; c != nil {
		p.Done.ContainedWhen = c.text
		r.known(f["contained_when"], c, "done.contained_when", ids(p.Steps))
		if !slices.ContainsFunc(p.Steps, func(s StepRule) bool { return s.Contains }) {
			r.add(f["contained_when"], "done.contained_when: no step contains; it can only ask for more than the proof of those that do")
		}
	}
	for _, word := range r.list(n, f["on_failure"], "done.on_failure", false) {
		switch word {
		case failureUndo:
			p.Done.Undo = true
		case failureHold:
			p.Done.Hold = true
		case failurePage:
			p.Done.Page = true
		default:
			all := []string{failureUndo, failurePage, failureHold}
			r.add(f["on_failure"], "done.on_failure: no %q%s (any of %s)", clip(word), didYouMean(word, all), strings.Join(all, ", "))
		}
	}
}

// ids are the names of the steps, a parallel's too.
func ids(steps []StepRule) (out []string) {
	for _, s := range steps {
		out = append(out, s.ID)
	}
	return out
}

// known checks that the steps an expression asks are among those.
func (r *reader) known(n *yaml.Node, p *program, where string, among []string) {
	if n == nil || p == nil {
		return
	}
	for _, at := range p.steps {
		if slices.Contains(among, at.word) {
			continue
		}
		line, column := r.place(n, at.line, at.column)
		text := where + ": no step " + strconv.Quote(clip(at.word)) + " before it" + didYouMean(at.word, among)
		r.problems = append(r.problems, Problem{File: r.file, Line: line, Column: column, Text: text})
	}
}
