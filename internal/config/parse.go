package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// maxSize bounds a configuration file.
const maxSize = 4 << 20

// envPrefix begins the variables that override a value: CORDON__STORE, or
// CORDON__TENANTS__0__CLIENT_ID for a value further in.
const envPrefix = "CORDON__"

// Parse reads the text of a configuration file and applies the overrides in
// environ ("NAME=value"). name is the file's path: it stands in messages, and
// relative paths are relative to its folder. Unknown keys, duplicate keys and
// wrong types are fault.Invalid, all of them at once, with their lines.
func Parse(name string, text []byte, environ []string) (Config, error) {
	if len(text) > maxSize {
		return Config{}, fault.Errorf(fault.Invalid, "%s: larger than %d bytes: is this a configuration?", name, maxSize)
	}
	root, err := document(name, text)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := strictly(text, &c); err != nil {
		return Config{}, located(name, err)
	}
	changed := false
	env := slices.Clone(environ)
	slices.Sort(env)
	for _, e := range env {
		key, value, ok := strings.Cut(e, "=")
		path, ours := strings.CutPrefix(key, envPrefix)
		if !ok || !ours {
			continue
		}
		if err := override(root, strings.Split(strings.ToLower(path), "__"), value); err != nil {
			return Config{}, fault.Errorf(fault.Invalid, "environment variable %s: %w", key, err)
		}
		changed = true
	}
	if changed {
		// The file itself was read without a mistake: what is wrong now comes from
		// the environment.
		b, err := yaml.Marshal(root)
		if err != nil {
			return Config{}, fault.Errorf(fault.Invalid, "%s: with the environment's %s…: %w", name, envPrefix, err)
		}
		c = Config{}
		if err := strictly(b, &c); err != nil {
			return Config{}, fault.Errorf(fault.Invalid, "environment variables %s…: %w", envPrefix, plain(err))
		}
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	c.resolve(filepath.Dir(name))
	return c, nil
}

// document returns the file's one mapping.
func document(name string, text []byte) (*yaml.Node, error) {
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, located(name, err)
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fault.Errorf(fault.Invalid, "%s:%d: a second document begins here; a configuration is one", name, max(1, second.Line))
	}
	if len(doc.Content) != 1 {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, nil
	}
	if root := doc.Content[0]; root.Kind == yaml.MappingNode {
		return root, nil
	}
	return nil, fault.Errorf(fault.Invalid, "%s:%d: not a mapping of keys such as \"store: sqlite:cordon.db\"", name, doc.Content[0].Line)
}

func strictly(text []byte, c *Config) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(c); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// located puts the decoder's mistakes into one sentence each, with their places.
func located(name string, err error) error {
	var errs []error
	for _, e := range sentences(err) {
		if line, rest, ok := strings.Cut(strings.TrimPrefix(e, "line "), ": "); ok && strings.HasPrefix(e, "line ") {
			errs = append(errs, fault.Errorf(fault.Invalid, "%s:%s: %s", name, line, rest))
			continue
		}
		errs = append(errs, fault.Errorf(fault.Invalid, "%s: %s", name, e))
	}
	return errors.Join(errs...)
}

// plain is located for a text without lines of its own.
func plain(err error) error {
	var parts []string
	for _, e := range sentences(err) {
		if _, rest, ok := strings.Cut(e, ": "); ok && strings.HasPrefix(e, "line ") {
			e = rest
		}
		parts = append(parts, e)
	}
	return errors.New(strings.Join(parts, "; "))
}

// sentences returns what the decoder says in words that name none of our types.
func sentences(err error) []string {
	var t *yaml.TypeError
	if !errors.As(err, &t) {
		return []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	var out []string
	for _, e := range t.Errors {
		if before, _, ok := strings.Cut(e, " not found in type"); ok {
			e = strings.Replace(before, "field ", "unknown key ", 1)
		}
		if before, typ, ok := strings.Cut(e, " into "); ok && strings.Contains(before, "cannot unmarshal ") {
			at, value, _ := strings.Cut(before, "cannot unmarshal ")
			_, value, _ = strings.Cut(value, " ") // without the tag
			e = at + strings.TrimSpace(value+" is not what belongs here: ") + " " + wanted(typ)
			if value == "" {
				e = at + "not what belongs here: " + wanted(typ)
			}
		}
		out = append(out, e)
	}
	return out
}

// wanted names what belongs to a Go type.
func wanted(typ string) string {
	switch {
	case typ == "time.Duration":
		return "a duration such as 15s"
	case typ == "int":
		return "a whole number"
	case typ == "float64":
		return "a number"
	case typ == "string", typ == "secret.Ref":
		return "a text"
	case strings.HasPrefix(typ, "[]"):
		return "a list"
	}
	return "a section of keys"
}

// lines finds where keys of the file are.
type lines struct{ root *yaml.Node }

func linesOf(text []byte) lines {
	root, err := document("", text)
	if err != nil {
		return lines{}
	}
	return lines{root}
}

var keyPart = regexp.MustCompile(`[^.\[\]]+`)

// place returns "name:line" of the key, or of the nearest section around it that
// the file has, else name alone.
func (l lines) place(name, key string) string {
	n, line := l.root, 0
	for _, part := range keyPart.FindAllString(key, -1) {
		var next *yaml.Node
		switch {
		case n == nil:
		case n.Kind == yaml.SequenceNode:
			if i, err := strconv.Atoi(part); err == nil && i < len(n.Content) {
				next, line = n.Content[i], n.Content[i].Line
			}
		case n.Kind == yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == part {
					next, line = n.Content[i+1], n.Content[i].Line
				}
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	if line == 0 {
		return name
	}
	return fmt.Sprintf("%s:%d", name, line)
}

func override(n *yaml.Node, path []string, value string) error {
	if len(path) == 0 {
		if n.Kind != 0 && n.Kind != yaml.ScalarNode {
			return fault.Errorf(fault.Invalid, "only single values can come from the environment, not lists or sections")
		}
		*n = yaml.Node{Kind: yaml.ScalarNode, Value: value}
		return nil
	}
	if n.Kind == yaml.SequenceNode {
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(n.Content) {
			return fault.Errorf(fault.Invalid, "the list has %d entries; %q is none of them", len(n.Content), path[0])
		}
		return override(n.Content[i], path[1:], value)
	}
	if n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	if n.Kind != yaml.MappingNode {
		return fault.Errorf(fault.Invalid, "%q is inside a single value", path[0])
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == path[0] {
			return override(n.Content[i+1], path[1:], value)
		}
	}
	child := &yaml.Node{}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}, child)
	return override(child, path[1:], value)
}
