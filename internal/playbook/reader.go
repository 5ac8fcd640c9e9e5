package playbook

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"
)

// maxText bounds a playbook's text in bytes.
const maxText = 256 << 10

// A reader walks the nodes of one YAML file and collects every problem.
type reader struct {
	file  string
	lines []string
	lang  *language
	// stepsKnown says that the expression being read is decided while a run goes on.
	stepsKnown bool
	problems   []Problem
}

func (r *reader) add(n *yaml.Node, format string, args ...any) {
	p := Problem{File: r.file, Text: fmt.Sprintf(format, args...)}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	r.problems = append(r.problems, p)
}

// document returns the root mapping of text, nil when there is none.
func (r *reader) document(text []byte) *yaml.Node {
	switch {
	case len(text) > maxText:
		r.add(nil, "the file has %d bytes; at most %d are read", len(text), maxText)
		return nil
	case !utf8.Valid(text):
		r.add(nil, "the file is not UTF-8 text")
		return nil
	}
	r.lines = strings.Split(string(text), "\n")
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		r.add(nil, "the file is empty")
		return nil
	} else if err != nil {
		r.broken(err)
		return nil
	}
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		r.add(&more, "a second document; write one playbook per file")
	} else if !errors.Is(err, io.EOF) {
		r.broken(err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		r.add(&doc, "a mapping with keys such as playbook, id and steps is needed")
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)

// broken adds what the YAML parser said, at the line it names.
func (r *reader) broken(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{File: r.file, Text: "not YAML: " + text}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Text = "not YAML: " + strings.TrimPrefix(text, "line "+m[1]+": ")
	}
	r.problems = append(r.problems, p)
}

// fields returns the values of the mapping n by key. Unknown keys, keys twice
// and aliases are problems; where names the mapping for people.
func (r *reader) fields(n *yaml.Node, where string, known ...string) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	if n == nil {
		return out
	}
	if n.Kind != yaml.MappingNode {
		r.add(n, "%s: a mapping is needed, with the keys %s", where, strings.Join(known, ", "))
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode:
			r.add(k, "%s: a key must be a word", where)
		case !slices.Contains(known, k.Value):
			r.add(k, "%s: no key %q%s; it knows %s", where, clip(k.Value), didYouMean(k.Value, known), strings.Join(known, ", "))
		case out[k.Value] != nil:
			r.add(k, "%s: %q is there twice", where, k.Value)
		case v.Kind == yaml.AliasNode:
			r.add(v, "%s: aliases are not part of the language; write the value out", where)
		default:
			out[k.Value] = v
		}
	}
	return out
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// text returns a scalar string; required and absent is a problem at the parent.
func (r *reader) text(parent, n *yaml.Node, key string, required bool) string {
	switch {
	case n == nil && required:
		r.add(parent, "%s is missing", key)
	case n == nil:
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null":
		r.add(n, "%s: a text is needed", key)
	case strings.TrimSpace(n.Value) == "":
		r.add(n, "%s is empty", key)
	default:
		return n.Value
	}
	return ""
}

// word is a text out of a closed set; absent gives the first of all.
func (r *reader) word(parent, n *yaml.Node, key string, required bool, all ...string) string {
	v := r.text(parent, n, key, required)
	if v == "" {
		return all[0]
	}
	if !slices.Contains(all, v) {
		r.add(n, "%s: no %q%s; it is one of %s", key, clip(v), didYouMean(v, all), strings.Join(all, ", "))
		return all[0]
	}
	return v
}

var slug = regexp.MustCompile(`^[a-z0-9]+([-_][a-z0-9]+)*$`)

func (r *reader) slug(parent, n *yaml.Node, key string) string {
	v := r.text(parent, n, key, true)
	if v != "" && (!slug.MatchString(v) || len(v) > 64) {
		r.add(n, "%s: %q is not a name; use lower-case letters, digits and single - or _, at most 64", key, clip(v))
		return ""
	}
	return v
}

// items returns the elements of a sequence.
func (r *reader) items(n *yaml.Node, key string) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.add(n, "%s: a list is needed", key)
		return nil
	}
	for _, c := range n.Content {
		if c.Kind == yaml.AliasNode {
			r.add(c, "%s: aliases are not part of the language; write the value out", key)
			return nil
		}
	}
	return n.Content
}

// list returns a list of distinct texts.
func (r *reader) list(parent, n *yaml.Node, key string, required bool) []string {
	var out []string
	if n == nil && required {
		r.add(parent, "%s is missing", key)
	}
	for _, c := range r.items(n, key) {
		v := r.text(c, c, key, true)
		if slices.Contains(out, v) {
			r.add(c, "%s: %q is there twice", key, clip(v))
			continue
		}
		if v != "" {
			out = append(out, v)
		}
	}
	if n != nil && n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.add(n, "%s is empty", key)
	}
	return out
}

func (r *reader) duration(parent, n *yaml.Node, key string, required bool) time.Duration {
	v := r.text(parent, n, key, required)
	if v == "" {
		return 0
	}
	d, err := parseDuration(v)
	if err != nil {
		r.add(n, "%s: %v", key, err)
	}
	return d
}

func (r *reader) integer(n *yaml.Node, key string, low, high int) int {
	if n == nil {
		return 0
	}
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || v < low || v > high {
		r.add(n, "%s: a number from %d to %d is needed", key, low, high)
		return 0
	}
	return v
}

func (r *reader) flag(n *yaml.Node, key string) bool {
	if n == nil {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Value != "true" && n.Value != "false" {
		r.add(n, "%s: true or false is needed", key)
	}
	return n.Value == "true"
}

// expression compiles a CEL text; problems are placed at their line and column
// in the file.
func (r *reader) expression(parent, n *yaml.Node, key string, required bool, want *cel.Type) *program {
	if n != nil && n.Kind == yaml.ScalarNode && n.Tag == "!!bool" {
		n.Tag = "!!str" // "when: true" is an expression too
	}
	v := r.text(parent, n, key, required)
	if v == "" {
		return nil
	}
	p, mistakes := r.lang.compile(v, want)
	if p != nil && p.uses["steps"] && !r.stepsKnown {
		r.add(n, "%s: steps are not known here: this is decided before any of them is done", key)
		return nil
	}
	for _, m := range mistakes {
		line, column := r.place(n, m.line, m.column)
		r.problems = append(r.problems, Problem{File: r.file, Line: line, Column: column, Text: key + ": " + m.text})
	}
	return p
}

// place maps a place in the scalar n (line from 1, column from 0) to the file.
func (r *reader) place(n *yaml.Node, line, column int) (int, int) {
	switch n.Style &^ yaml.TaggedStyle {
	case yaml.LiteralStyle, yaml.FoldedStyle:
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		return n.Line, n.Column + 1 + column
	default:
		if line > 1 || strings.Contains(n.Value, "\n") {
			return n.Line, n.Column
		}
		return n.Line, n.Column + column
	}
	indent := -1
	rest := column
	for i := n.Line; i < len(r.lines); i++ {
		body := strings.TrimLeft(r.lines[i], " ")
		if strings.TrimSpace(body) == "" {
			continue
		}
		if indent < 0 {
			indent = len(r.lines[i]) - len(body)
		}
		if n.Style&yaml.LiteralStyle != 0 {
			return n.Line + line, indent + 1 + column
		}
		length := utf8.RuneCountInString(strings.TrimRight(body, " \r"))
		if rest <= length || len(r.lines[i])-len(body) < indent {
			return i + 1, indent + 1 + rest
		}
		rest -= length + 1
	}
	return n.Line, n.Column
}
