package scenario

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// Problem is one mistake in a story.
type Problem struct {
	File string
	Line int // 0 when unknown
	Text string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems are all mistakes of one file, in the order of their lines.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = x.String()
	}
	return strings.Join(lines, "\n")
}

// Parse reads one story and reports all its mistakes at once, as Problems:
// unknown keys, events that cannot be, names of nobody, expectations that
// contradict each other. file is used in messages only; the name in the file
// must be that of the file.
func Parse(file string, b []byte) (*Scenario, error) {
	c := &checker{file: file}
	var s Scenario
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	switch err := dec.Decode(&s); {
	case errors.Is(err, io.EOF):
		c.add(0, "the file is empty")
	case err != nil:
		if c.durations(b); len(c.problems) == 0 {
			c.decoding(err)
		}
	default:
		if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
			c.add(0, "more than one document")
		}
		var root yaml.Node
		if err := yaml.Unmarshal(b, &root); err != nil {
			c.add(0, "%v", err)
			break
		}
		c.root = &root
		c.check(&s)
	}
	if len(c.problems) > 0 {
		slices.SortStableFunc(c.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
		return nil, Problems(c.problems)
	}
	return &s, nil
}

type checker struct {
	file     string
	root     *yaml.Node
	problems []Problem
}

func (c *checker) add(line int, format string, args ...any) {
	c.problems = append(c.problems, Problem{c.file, line, fmt.Sprintf(format, args...)})
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)

// decoding splits what the decoder found into problems.
func (c *checker) decoding(err error) {
	texts := []string{err.Error()}
	var te *yaml.TypeError
	if errors.As(err, &te) {
		texts = te.Errors
	}
	for _, text := range texts {
		line := 0
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			_, _ = fmt.Sscan(m[1], &line) // the expression admits digits only
			text = m[2]
		}
		c.add(line, "%s", text)
	}
}

// durations finds unreadable durations, about which the decoder says no line.
func (c *checker) durations(b []byte) {
	var root yaml.Node
	if yaml.Unmarshal(b, &root) != nil {
		return
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for i, x := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 1 && x.Kind == yaml.ScalarNode &&
				slices.Contains([]string{"at", "ago", "tokenAge", "after", "after_verified"}, n.Content[i-1].Value) {
				if err := new(world.Duration).UnmarshalText([]byte(x.Value)); err != nil {
					c.add(x.Line, "%s: %v", n.Content[i-1].Value, err)
				}
			}
			walk(x)
		}
	}
	walk(&root)
}

// line finds where a path of keys and indexes is in the file.
func (c *checker) line(path ...any) int {
	n := c.root
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	line := n.Line
	for _, step := range path {
		next := child(n, step)
		if next == nil {
			break
		}
		n, line = next, next.Line
	}
	return line
}

func child(n *yaml.Node, step any) *yaml.Node {
	switch step := step.(type) {
	case int:
		if n.Kind == yaml.SequenceNode && step < len(n.Content) {
			return n.Content[step]
		}
	case string:
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (c *checker) check(s *Scenario) {
	if want := strings.TrimSuffix(c.file, ".yaml"); s.Name != want {
		c.add(c.line("name"), "name %q is not the file's, %q", s.Name, want)
	}
	if s.Title == "" || s.Story == "" {
		c.add(1, "a story needs a title and a story")
	}
	if n := s.Directory.Users; n != 0 && (n < 20 || n > 200_000) {
		c.add(c.line("directory", "users"), "users must be 20 to 200000, not %d", n)
	}
	if d := s.Config.Directories; d != "" && d != "none" {
		c.add(c.line("config", "directories"), "directories can be none only; real ones are not part of a story")
	}
	for _, alias := range sortedKeys(s.People) {
		if err := s.People[alias].Check(); err != nil {
			c.add(c.line("people", alias), "%s: %v", alias, err)
		}
	}
	for i, alias := range s.Protected {
		c.known(s, alias, "protected", i)
	}
	if len(s.Events) == 0 {
		c.add(c.line("events"), "nothing happens: there are no events")
	}
	c.events(s)
	c.decisions(s)
	c.expectations(s)
}

// known reports an alias that nobody has.
func (c *checker) known(s *Scenario, alias string, path ...any) bool {
	if _, ok := s.People[alias]; ok {
		return true
	}
	c.add(c.line(path...), "nobody is called %q", alias)
	return false
}

func (c *checker) events(s *Scenario) {
	made := map[string]bool{}
	var last world.Duration
	for i, e := range s.Events {
		at := []any{"events", i}
		if err := e.Check(); err != nil {
			c.add(c.line(at...), "%v", err)
		}
		if e.At < last {
			c.add(c.line(at...), "the events are not in the order of their times")
		}
		last = max(last, e.At)
		for _, ref := range append([]string{e.User, e.ServicePrincipal, e.By}, e.Users...) {
			if ref != "" {
				c.known(s, ref, at...)
			}
		}
		if e.Of != "" && !made[e.Of] {
			c.add(c.line(at...), "of %q: no earlier event has this name", e.Of)
		}
		if e.Name != "" {
			if made[e.Name] {
				c.add(c.line(at...), "name %q is used twice", e.Name)
			}
			made[e.Name] = true
		}
	}
}

// Actions are the product's actions that a story may name.
var actions = []string{
	"entra.user.confirm_compromised", "entra.user.dismiss_risk", "entra.user.revoke_sessions",
	"entra.user.disable", "entra.user.enable", "entra.user.reset_password",
	"entra.workload.confirm_compromised", "entra.workload.disable", "entra.workload.enable", "entra.workload.remove_credential",
	"entra.workload.revoke_consent", "entra.workload.restore_consent",
	"entra.user.disable_inbox_rules", "entra.user.enable_inbox_rules", "entra.user.remove_methods", "entra.user.remove_roles",
}

func (c *checker) decisions(s *Scenario) {
	for i, a := range s.Approvals {
		c.known(s, a.For, "approvals", i)
		if a.Decision != "approve" && a.Decision != "reject" {
			c.add(c.line("approvals", i), "decision %q is neither approve nor reject", a.Decision)
		}
		if a.By == "" {
			c.add(c.line("approvals", i), "by is missing")
		}
		if a.Decision == "reject" && a.Reason == "" {
			c.add(c.line("approvals", i), "a rejection needs a reason")
		}
		if a.After < 0 {
			c.add(c.line("approvals", i), "after is negative")
		}
	}
	for i, u := range s.Undo {
		c.known(s, u.For, "undo", i)
		if !slices.Contains(actions, u.Action) {
			c.add(c.line("undo", i), "no action %q; there are %s", u.Action, strings.Join(actions, ", "))
		}
		if u.Reason == "" {
			c.add(c.line("undo", i), "an undo needs a reason")
		}
		if u.AfterVerified < 0 {
			c.add(c.line("undo", i), "after_verified is negative")
		}
	}
}

func (c *checker) expectations(s *Scenario) {
	ends := []End{Contained, Held, Refused, Waiting, Untouched, Undone}
	seen := map[string]End{}
	for i, x := range s.Expect {
		at := []any{"expect", i}
		c.known(s, x.For, at...)
		if !slices.Contains(ends, x.End) {
			c.add(c.line(at...), "end %q is none of %v", x.End, ends)
		}
		if _, ok := seen[x.For]; ok {
			c.add(c.line(at...), "%s is expected to end twice", x.For)
		}
		seen[x.For] = x.End
		for _, a := range x.Actions {
			if !slices.Contains(actions, a) {
				c.add(c.line(at...), "no action %q; there are %s", a, strings.Join(actions, ", "))
			}
		}
		if x.End == Untouched && len(x.Actions) > 0 {
			c.add(c.line(at...), "%s is untouched and yet has actions", x.For)
		}
		if (x.End == Held || x.End == Refused) && x.Reason == "" {
			c.add(c.line(at...), "an end %s needs a reason", x.End)
		}
	}
	for i, alias := range s.Protected {
		if end := seen[alias]; end != Untouched {
			c.add(c.line("protected", i), "%s is protected and must be expected to end untouched", alias)
		}
	}
	for i, u := range s.Undo {
		if end := seen[u.For]; end != Undone {
			c.add(c.line("undo", i), "%s has an undo and must be expected to end undone", u.For)
		}
	}
	if len(s.Expect) == 0 {
		c.add(c.line("expect"), "nothing is expected")
	}
}
