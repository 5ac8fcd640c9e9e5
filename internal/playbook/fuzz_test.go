package playbook

import (
	"encoding/json"
	"io/fs"
	"slices"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/playbooks"
)

// FuzzParse: any bytes give a playbook or problems with a place, never both,
// never a panic; what was parsed can be planned.
func FuzzParse(f *testing.F) {
	names, err := fs.Glob(playbooks.FS, "*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range names {
		text, err := fs.ReadFile(playbooks.FS, n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &a [*a]\n<<: *a"))
	f.Add([]byte(head + "trigger: { on: [manual], when: |\n  1 >\n }\nsteps: [{}, [], ~, { id: ~, with: [] }]"))
	cat := catalogue(f, nil)
	lang, err := newLanguage()
	if err != nil {
		f.Fatal(err)
	}
	in := given(f, "on: [manual]\nidentity: {}\nsignals: [{type: x}]")
	f.Fuzz(func(t *testing.T, text []byte) {
		p, problems := parse("f.yaml", text, cat, lang)
		if (p == nil) != (len(problems) > 0) {
			t.Fatalf("playbook %v, problems %v", p, problems)
		}
		for _, q := range problems {
			if q.File != "f.yaml" || q.Text == "" || q.Line < 0 || q.Column < 0 {
				t.Fatalf("a problem without a place or a text: %+v", q)
			}
		}
		if p == nil {
			return
		}
		lib := &Library{playbooks: []*Playbook{p}, byID: map[string]*Playbook{p.Ref.ID: p}, cat: cat}
		lib.Match(in)
		if _, err := lib.Plan(p.Ref, in); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzPlan: any facts give a plan; the same facts give the same one; a protected
// identity gets no step.
func FuzzPlan(f *testing.F) {
	seed, err := json.Marshal(given(f, "identity: {name: N, roles: [X], on_premises: true}\nsignals: [{type: anomalousToken, title: \"\\xff\"}]"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"On":["signal.received","risk.changed","manual"],"UsableGlobalAdmins":-1,"Identity":{"accounts":[{},{"provider":"okta"}]},"Trigger":{}}`))
	lib := shipped(f, nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		var in Input
		if json.Unmarshal(text, &in) != nil {
			return
		}
		lib.Match(in)
		for _, p := range lib.Playbooks() {
			a, err := lib.Plan(p.Ref, in)
			if err != nil {
				continue // the facts of two tenants
			}
			slices.Reverse(in.Signals)
			in.Now = in.Now.AddDate(0, 0, 1)
			b, err := lib.Plan(p.Ref, in)
			if err != nil || a.Hash != b.Hash {
				t.Fatalf("%s: hash %s, then %s (%v)", p.Ref.ID, a.Hash, b.Hash, err)
			}
			if in.Protection.Protected() && len(a.Steps) > 0 {
				t.Fatalf("%s acts on a protected identity", p.Ref.ID)
			}
		}
	})
}

// FuzzFixture: any bytes are a fixture that passes or says what is wrong.
func FuzzFixture(f *testing.F) {
	for _, name := range []string{"token-theft", "dcsync"} {
		text, err := fs.ReadFile(playbooks.FS, name+".txtar")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	lib := shipped(f, nil)
	f.Fuzz(func(_ *testing.T, text []byte) { lib.Test("token-theft.txtar", text) })
}

func BenchmarkMatchAndPlan(b *testing.B) {
	lib := shipped(b, nil)
	in := given(b, "identity: {}\nsignals: [{type: leakedCredentials}]")
	for i := range 20 {
		s := in.Signals[0]
		s.ExternalID = string(rune('a' + i))
		in.Signals = append(in.Signals, s)
	}
	in.Assessment = risk.Assess(risk.Input{Tenant: in.Tenant, Identity: in.Identity.ID, Signals: in.Signals}, in.Now)
	b.ReportAllocs()
	for b.Loop() {
		for _, m := range lib.Match(in) {
			if _, err := lib.Plan(m.Ref, in); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	cat := catalogue(b, nil)
	for b.Loop() {
		if _, problems := Load(playbooks.FS, cat); problems != nil {
			b.Fatal(problems)
		}
	}
}
