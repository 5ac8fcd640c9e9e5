package playbook

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// everyKind is a playbook with everything a step can be.
const everyKind = `
trigger:
  on: [manual]
guards:
  rate: { key: tenant.id, limit: 5, per: 1h, over: hold }
  refuse: [{ when: identity.guest, why: a guest }]
steps:
  - id: self
    wait: { until: risk.level == "none", within: 1h, on_timeout: continue }
  - id: over
    if: steps.self.passed
    end: expected_activity
    note: the person cured it
  - id: cut
    if: identity.cloud
    parallel:
      - { id: stop, uses: entra.user.disable@1, ttl: 4h, max_ttl: 9h, contains: true, timeout: 10m, on_error: continue }
      - { id: sessions, uses: entra.user.revoke_sessions@1, irreversible: accepted }
  - id: fallback
    if: steps.stop.failed
    uses: entra.user.disable@1
    for_each: identity.accounts.filter(a, a.provider == "entraID").map(a, a.key)
    as: other
    max: 3
    account: other
  - id: tell
    uses: entra.user.hand_over_password@1
    with: { to: "${{ identity.name }}", hours: "${{ 3 + 4 }}" }
    approval: { mode: before, from: [duty], quorum: 2, expires: 1h, on_expiry: skip }
done:
  contained_when: steps.stop.verified
  on_failure: [undo, page, hold]
`

func TestPlanOfEveryKind(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, everyKind)
	in := given(t, "identity: {name: A person}\nsignals: [{type: leakedCredentials}]")
	p, err := lib.Plan(Ref{ID: "test"}, in)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range p.Steps {
		line := []string{s.ID, string(s.Kind) + string(s.Action), s.Group}
		if s.Later {
			line = append(line, "if "+s.If)
		}
		if s.Held != "" || s.Skip != "" {
			line = append(line, s.Held+s.Skip)
		}
		got = append(got, strings.Join(line, "|"))
	}
	want := []string{
		"self|wait|", "over|end||if steps.self.passed", "stop|entra.user.disable|cut", "sessions|entra.user.revoke_sessions|cut",
		"fallback-1|entra.user.disable|fallback|if steps.stop.failed", "tell|entra.user.hand_over_password|",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if s := p.Steps[2]; s.TTL != 4*time.Hour || s.Longest() != 9*time.Hour || s.Timeout != 10*time.Minute || s.If != "identity.cloud" {
		t.Errorf("stop: %+v", s)
	}
	if s := p.Steps[4]; s.Of != "fallback" || s.Bound != 3 || s.Each["other"] != in.Identity.Accounts[0].Key() || s.Account.ObjectID != in.Identity.Accounts[0].ObjectID {
		t.Errorf("fallback: %+v", s)
	}
	if s := p.Steps[5]; s.Params["to"] != "A person" || s.Params["hours"] != 7 {
		t.Errorf("inputs: %v", s.Params)
	}
	if r := p.Rate; r == nil || r.Key != string(in.Tenant) || r.Limit != 5 || !p.UndoOnFailure || !p.PageOnFailure || !p.HoldOnFailure || p.ContainedWhen != "steps.stop.verified" || len(p.Guards) != 1 {
		t.Errorf("plan: %+v", p)
	}
}

// More than the bound is held for a person, nothing at all is skipped, and what
// it is done for is part of the hash.
func TestForEachIsBounded(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, `
trigger: { on: [manual] }
steps:
  - { id: each, uses: entra.user.disable@1, for_each: identity.roles, as: role, max: 2 }
`)
	hashes := map[string]bool{}
	for roles, want := range map[string]string{
		"":          "there is nothing to do it for: identity.roles is empty",
		"[a]":       "",
		"[a, b]":    "",
		"[a, c]":    "",
		"[a, b, c]": "it would be done 3 times, and at most 2 are allowed: a person must decide",
		"unknown":   "what it is to be done for could not be decided: identity.roles is not known: its directory roles have not been read",
	} {
		p, err := lib.Plan(Ref{ID: "test"}, given(t, strings.Replace("identity: {roles: "+roles+"}", "roles: }", "}", 1)))
		if err != nil {
			t.Fatal(err)
		}
		if s := p.Steps[0]; s.Held+s.Skip != want {
			t.Errorf("%s: %q", roles, s.Held+s.Skip)
		}
		if hashes[p.Hash] && want == "" {
			t.Errorf("%s: the hash is another's", roles)
		}
		hashes[p.Hash] = true
	}
}

// A condition that another step's outcome cannot change is decided at once.
func TestLaterOnlyWhereItMatters(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, `
trigger: { on: [manual] }
steps:
  - { id: a, uses: entra.user.disable@1, on_error: continue }
  - { id: b, uses: entra.user.enable@1, if: identity.synced && steps.a.failed }
`)
	for synced, want := range map[string]string{"true": "later", "false": "skip", "unknown": "later"} {
		p, err := lib.Plan(Ref{ID: "test"}, given(t, "identity: {synced: "+synced+"}"))
		if err != nil {
			t.Fatal(err)
		}
		got := "now"
		if p.Steps[1].Later {
			got = "later"
		} else if p.Steps[1].Skip != "" {
			got = "skip"
		}
		if got != want {
			t.Errorf("synced %s: decided %s, want %s (%+v)", synced, got, want, p.Steps[1])
		}
	}
}

func TestAsker(t *testing.T) {
	t.Parallel()
	var a Asker
	in := given(t, "identity: {synced: unknown}")
	in.Steps, in.Each = map[string]Standing{"a": {Failed: true}}, map[string]string{"role": "x"}
	for text, want := range map[string]string{
		"steps.a.failed":                     "true",
		"steps.a.verified || role == \"y\"":  "false",
		"role == \"x\" && identity.enabled":  "true",
		"identity.synced":                    "held",
		"steps.b.failed":                     "held",
		"nonsense(":                          "held",
		"level.equals(risk.level, \"none\")": "true",
	} {
		for range 2 { // the second time it is kept
			got := "false"
			switch holds, err := a.Holds(text, in); {
			case fault.KindOf(err) == fault.Held:
				got = "held"
			case err != nil:
				got = err.Error()
			case holds:
				got = "true"
			}
			if got != want {
				t.Errorf("%s: %s, want %s", text, got, want)
			}
		}
	}
}

// Groups that an input or the rate asks about are read too, or the step would be held
// for ever.
func TestGroupsOfInputsAndRate(t *testing.T) {
	t.Parallel()
	const a, b = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
	lib := libraryOf(t, `
trigger: { on: [manual] }
guards:
  rate: { key: 'identity.groups["`+a+`"] ? "staff" : "others"', limit: 5, per: 1h, over: hold }
steps:
  - id: tell
    uses: entra.user.hand_over_password@1
    with: { to: '${{ identity.groups["`+b+`"] ? "duty" : "desk" }}', hours: 7 }
    approval: { mode: before, from: [duty], quorum: 1, expires: 1h, on_expiry: skip }
`)
	if diff := cmp.Diff([]string{a, b}, lib.Groups()); diff != "" {
		t.Errorf("groups to read (-want +got):\n%s", diff)
	}
}

// A playbook in its pilot is enforced on the members of a group and observed on
// everybody else; who is not known to be a member is not one.
func TestPilot(t *testing.T) {
	t.Parallel()
	const pilot, other = "00000000-0000-4000-8000-00000000000a", "S-1-5-21-1-2-3-1200"
	lib := libraryOf(t, "pilot: ["+pilot+"]\ntrigger: { on: [manual] }\nsteps:\n  - { id: stop, uses: entra.user.disable@1, if: '!identity.groups[\""+other+"\"]' }\n")
	if diff := cmp.Diff([]string{pilot, other}, lib.Groups()); diff != "" {
		t.Errorf("groups to read (-want +got):\n%s", diff)
	}
	for name, c := range map[string]struct {
		groups, read []string
		mode         Mode
		step         string
	}{
		"a member":           {[]string{strings.ToUpper(pilot)}, []string{pilot, other}, Enforce, ""},
		"none":               {nil, []string{pilot, other}, Observe, ""},
		"not read":           {nil, nil, Observe, "held"},
		"in the other group": {[]string{other}, []string{pilot, other}, Observe, "skip"},
	} {
		in := given(t, "on: [manual]\nidentity: {}")
		in.Identity.Accounts[0].Facts.Groups, in.Identity.Accounts[0].Facts.GroupsRead = c.groups, c.read
		p, err := lib.Plan(Ref{ID: "test"}, in)
		if err != nil {
			t.Fatal(err)
		}
		step := ""
		switch {
		case p.Steps[0].Held != "":
			step = "held"
		case p.Steps[0].Skip != "":
			step = "skip"
		}
		if p.Mode != c.mode || step != c.step || (p.Pilot == "") != (c.mode == Enforce) {
			t.Errorf("%s: %s (%s), step %q: %s", name, p.Mode, p.Pilot, step, p.Steps[0].Held)
		}
	}
}
