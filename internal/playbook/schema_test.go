package playbook

import (
	"bytes"
	"io/fs"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/playbooks"
)

func TestSchema(t *testing.T) {
	t.Parallel()
	raw, err := Schema(catalogue(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("playbook.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("playbook.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(text []byte) error {
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	names, err := fs.Glob(playbooks.FS, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		text, err := fs.ReadFile(playbooks.FS, n)
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(text); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	trigger := "trigger: { on: [manual] }\n"
	if err := valid([]byte(head + trigger + disable)); err != nil {
		t.Errorf("a valid playbook: %v", err)
	}
	if err := valid([]byte(head + everyKind)); err != nil {
		t.Errorf("a playbook with every kind of step: %v", err)
	}
	for name, text := range map[string]string{
		"no such action":    head + trigger + "steps: [{ id: a, uses: entra.user.disabel@1 }]\n",
		"an input too many": head + trigger + "steps: [{ id: a, uses: entra.user.disable@1, with: { x: 1 } }]\n",
		"an input missing":  head + trigger + "steps: [{ id: a, uses: entra.user.hand_over_password@1 }]\n",
		"an input's type":   head + trigger + "steps: [{ id: a, uses: entra.user.hand_over_password@1, with: { to: a, hours: b } }]\n",
		"an unknown key":    head + trigger + disable + "colour: red\n",
		"a ttl's form":      head + trigger + "steps: [{ id: a, uses: entra.user.disable@1, ttl: soon }]\n",
		"a wait's bound":    head + trigger + "steps: [{ id: a, wait: { until: identity.enabled } }]\n",
		"an unheard-of end": head + trigger + "steps: [{ id: a, end: somehow }]\n",
		"one in parallel":   head + trigger + "steps: [{ id: a, parallel: [{ id: b, uses: entra.user.disable@1 }] }]\n",
		"for_each, no max":  head + trigger + "steps: [{ id: a, uses: entra.user.disable@1, for_each: identity.roles, as: r }]\n",
		"a rate's limit":    head + trigger + "guards: { rate: { key: tenant.id, limit: 0, per: 1h } }\n" + disable,
		"half an approval":  head + trigger + "steps: [{ id: a, uses: entra.user.disable@1, approval: { mode: before } }]\n",
		"a bad cause":       head + "cause: x\n" + trigger + disable,
	} {
		if err := valid([]byte(text)); err == nil {
			t.Errorf("%s: the schema lets it pass", name)
		}
	}
}
