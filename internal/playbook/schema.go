package playbook

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Schema returns the JSON Schema (draft 2020-12) of a playbook whose actions are
// those of cat, for editors. It says what keys and words there are and what each
// action takes; Parse says the rest.
func Schema(cat *action.Catalogue) ([]byte, error) {
	type m = map[string]any
	text := m{"type": "string", "minLength": 1}
	slugs := m{"type": "string", "pattern": slug.String(), "maxLength": 64}
	duration := m{"type": "string", "pattern": "^([0-9]+[smhd])+$"}
	cel := m{"type": "string", "minLength": 1, "maxLength": maxExpression, "description": "CEL"}
	condition := m{"anyOf": []any{cel, m{"const": true}}}
	enum := func(words ...string) m { return m{"enum": words} }
	list := func(of any) m { return m{"type": "array", "minItems": 1, "uniqueItems": true, "items": of} }
	object := func(required []string, properties m) m {
		o := m{"type": "object", "additionalProperties": false, "properties": properties}
		if len(required) > 0 {
			o["required"] = required
		}
		return o
	}
	names, inputs := schemaActions(cat)
	step := object([]string{"id", "uses"}, m{
		"id": slugs, "title": text, "uses": m{"enum": names}, "with": m{"type": "object"}, "if": condition,
		"after":    enum(string(AfterAccepted), string(AfterVerified)),
		"on_error": enum(string(ErrorFail), string(ErrorContinue)), "contains": m{"type": "boolean"}, "irreversible": m{"const": "accepted"},
		"verify": object([]string{"within"}, m{"within": duration}),
		"approval": m{"oneOf": []any{
			object([]string{"same_as"}, m{"same_as": slugs}),
			object([]string{"mode", "from", "quorum", "expires", "on_expiry"}, m{
				"mode": enum(string(approval.Before), string(approval.Ratify)), "from": list(slugs),
				"quorum": m{"type": "integer", "minimum": 1, "maximum": 10}, "expires": duration,
				"on_expiry": enum(string(approval.ExpirySkip), string(approval.ExpiryEscalate), string(approval.ExpiryUndo), string(approval.ExpiryFail)),
			}),
		}},
	})
	step["allOf"] = inputs
	cause := m{"enum": texts(signal.Causes())}
	doc := object([]string{"playbook", "id", "version", "title", "owner", "mode", "trigger", "steps"}, m{
		"playbook": m{"const": Language}, "id": slugs, "version": m{"type": "string", "pattern": semver.String()},
		"title": m{"type": "string", "minLength": 1, "maxLength": 120}, "owner": slugs,
		"attack": list(m{"type": "string", "pattern": technique.String()}),
		"mode":   enum(string(Observe), string(Enforce)),
		"cause":  m{"anyOf": []any{cause, list(cause)}},
		"trigger": object([]string{"on"}, m{
			"on": list(enum(OnSignal, OnRisk, OnCase, OnManual)), "when": condition, "settle": duration,
			"once_per": object([]string{"key", "window"}, m{"key": cel, "window": duration}),
		}),
		"guards": object(nil, m{
			"max_targets": m{"type": "integer", "minimum": 1},
			"refuse":      m{"type": "array", "maxItems": maxGuards, "items": object([]string{"when", "why"}, m{"when": cel, "why": text})},
		}),
		"steps": m{"type": "array", "minItems": 1, "maxItems": maxSteps, "items": step},
	})
	doc["$schema"], doc["title"] = "https://json-schema.org/draft/2020-12/schema", "Cordon playbook "+Language
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "schema of playbooks: %w", err)
	}
	return append(out, '\n'), nil
}

// schemaActions returns the words of uses and, for each, what its with takes.
func schemaActions(cat *action.Catalogue) (names []string, inputs []any) {
	type m = map[string]any
	add := func(uses string, params action.Params) {
		properties, required := m{}, []string{}
		for _, p := range params {
			prop := m{"type": p.Type, "description": p.Text}
			if p.Default != nil {
				prop["default"] = p.Default
			}
			properties[p.Name] = prop
			if p.Required && p.Default == nil && p.Fill == "" {
				required = append(required, p.Name)
			}
		}
		with := m{"type": "object", "additionalProperties": false, "properties": properties}
		then := m{"properties": m{"with": with}}
		if len(required) > 0 {
			with["required"], then["required"] = required, []string{"with"}
		}
		names = append(names, uses)
		inputs = append(inputs, m{"if": m{"properties": m{"uses": m{"const": uses}}, "required": []string{"uses"}}, "then": then})
	}
	for _, s := range cat.Specs() {
		add(fmt.Sprintf("%s@%d", s.Name, s.Version), s.Params)
	}
	for _, r := range cat.Routes() {
		var params action.Params
		for _, n := range sortedNames(r) {
			t, err := cat.Type(n)
			if err != nil {
				continue // a directory for which there is no action yet
			}
			for _, p := range t.Spec().Params {
				if !slices.ContainsFunc(params, func(q action.Param) bool { return q.Name == p.Name }) {
					params = append(params, p)
				}
			}
		}
		add(fmt.Sprintf("%s@%d", r.Name, routeVersion), params)
	}
	return names, inputs
}
