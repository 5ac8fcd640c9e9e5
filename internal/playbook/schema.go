package playbook

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/question"
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
		"id": slugs, "title": text, "uses": m{"enum": names}, "with": m{"type": "object"}, "if": condition, "account": cel,
		"for_each": cel, "as": m{"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}, "max": m{"type": "integer", "minimum": 1, "maximum": maxEach},
		"timeout": duration, "ttl": duration, "max_ttl": duration,
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
	step["dependentRequired"] = m{"for_each": []string{"as", "max"}, "as": []string{"for_each"}, "max": []string{"for_each"}, "max_ttl": []string{"ttl"}}
	wait := object([]string{"id", "wait"}, m{"id": slugs, "title": text, "if": condition, "wait": object([]string{"until", "within"}, m{
		"until": cel, "within": duration, "on_timeout": enum(string(TimeoutContinue), string(TimeoutFail), string(TimeoutPerson)),
	})})
	ask := object([]string{"id", "ask"}, m{"id": slugs, "title": text, "if": condition, "ask": object([]string{"who", "within", "on_expiry"}, m{
		"who": enum(string(question.Person), string(question.Manager)), "within": duration,
		"on_expiry": enum(string(TimeoutContinue), string(TimeoutFail), string(TimeoutPerson)),
	})})
	end := object([]string{"id", "end"}, m{"id": slugs, "if": condition, "note": text, "end": enum(string(EndExpected), string(EndContained), string(EndPerson))})
	parallel := object([]string{"id", "parallel"}, m{"id": slugs, "if": condition, "parallel": m{"type": "array", "minItems": 2, "maxItems": maxSteps, "items": m{"$ref": "#/$defs/step"}}})
	// The key that is there says what a step is, so that an editor says what is wrong
	// with it and not with all of them.
	of := func(key string, then, els any) m {
		return m{"if": m{"required": []string{key}}, "then": then, "else": els}
	}
	entry := of("wait", wait, of("ask", ask, of("end", end, of("parallel", parallel, m{"$ref": "#/$defs/step"}))))
	cause := m{"enum": texts(signal.Causes())}
	doc := object([]string{"playbook", "id", "version", "title", "owner", "mode", "trigger", "steps"}, m{
		"playbook": m{"const": Language}, "id": slugs, "version": m{"type": "string", "pattern": semver.String()},
		"title": m{"type": "string", "minLength": 1, "maxLength": 120}, "owner": slugs,
		"attack": list(m{"type": "string", "pattern": technique.String()}),
		"mode":   enum(string(Observe), string(Enforce)),
		"pilot":  list(m{"type": "string", "pattern": group.String()}),
		"cause":  m{"anyOf": []any{cause, list(cause)}},
		"trigger": object([]string{"on"}, m{
			"on": list(enum(OnSignal, OnRisk, OnCase, OnManual)), "when": condition, "settle": duration,
			"once_per": object([]string{"key", "window"}, m{"key": cel, "window": duration}),
		}),
		"guards": object(nil, m{
			"max_targets": m{"type": "integer", "minimum": 1},
			"rate": object([]string{"key", "limit", "per"}, m{
				"key": cel, "limit": m{"type": "integer", "minimum": 1}, "per": duration, "over": enum(string(OverHold), string(OverRefuse)),
			}),
			"refuse": m{"type": "array", "maxItems": maxGuards, "items": object([]string{"when", "why"}, m{"when": cel, "why": text})},
		}),
		"steps": m{"type": "array", "minItems": 1, "maxItems": maxSteps, "items": entry},
		"done":  object(nil, m{"contained_when": cel, "on_failure": list(enum(failureUndo, failurePage, failureHold))}),
	})
	doc["$defs"] = m{"step": step}
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
			if p.Type != "string" {
				prop = m{"description": p.Text, "anyOf": []any{m{"type": p.Type}, m{"type": "string", "pattern": `^\s*\$\{\{.*\}\}\s*$`}}}
			}
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
