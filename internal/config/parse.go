package config

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
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
		return Config{}, fault.Errorf(fault.Invalid, "configuration: %s: larger than %d bytes", name, maxSize)
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fault.Errorf(fault.Invalid, "configuration: %s: %w", name, err)
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return Config{}, fault.Errorf(fault.Invalid, "configuration: %s: more than one document", name)
	}
	root := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if len(doc.Content) == 1 {
		root = doc.Content[0]
	}
	env := slices.Clone(environ)
	slices.Sort(env)
	for _, e := range env {
		key, value, ok := strings.Cut(e, "=")
		path, ours := strings.CutPrefix(key, envPrefix)
		if !ok || !ours {
			continue
		}
		if err := override(root, strings.Split(strings.ToLower(path), "__"), value); err != nil {
			return Config{}, fault.Errorf(fault.Invalid, "configuration: %s: %w", key, err)
		}
	}
	// Re-encoding would lose the lines, so the strict decoder reads the file's own
	// text unless the environment changed something.
	source := text
	if slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, envPrefix) }) {
		b, err := yaml.Marshal(root)
		if err != nil {
			return Config{}, fault.Errorf(fault.Invalid, "configuration: %s: %w", name, err)
		}
		source = b
	}
	var c Config
	strict := yaml.NewDecoder(bytes.NewReader(source))
	strict.KnownFields(true)
	if err := strict.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fault.Errorf(fault.Invalid, "configuration: %s: %w", name, plain(err))
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	c.resolve(filepath.Dir(name))
	return c, nil
}

// plain puts the decoder's list of mistakes into one sentence each.
func plain(err error) error {
	var t *yaml.TypeError
	if !errors.As(err, &t) {
		return err
	}
	var errs []error
	for _, e := range t.Errors {
		// "field x not found in type config.Config" names our types to nobody.
		if before, _, ok := strings.Cut(e, " not found in type"); ok {
			e = strings.Replace(before, "field ", "unknown key ", 1)
		}
		errs = append(errs, errors.New(e))
	}
	return errors.Join(errs...)
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
