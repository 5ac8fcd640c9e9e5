package playbook

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

const head = `playbook: v1
id: test
version: 1.0.0
title: A test
owner: identity-response
mode: enforce
`

// problemsOf parses text and returns its problems as people see them.
func problemsOf(t *testing.T, text string) []string {
	t.Helper()
	p, problems := Parse("t.yaml", []byte(text), catalogue(t, nil))
	if (p == nil) != (len(problems) > 0) {
		t.Errorf("playbook %v with problems %v: there must be one or the other", p, problems)
	}
	var out []string
	for _, q := range problems {
		out = append(out, q.Error())
	}
	return out
}

func TestParseReadsEverything(t *testing.T) {
	t.Parallel()
	text := `playbook: v1
id: everything
version: 1.2.3
title: Everything
owner: identity-response
attack: [T1078.004, T1528]
mode: observe
cause: [session, password]
trigger:
  on: [signal.received]
  when: >-
    signal.type == "x" &&
    level.at_least(risk.level, "medium")
  once_per: { key: identity.id + signal.ip, window: 1d12h }
  settle: 20s
guards:
  max_targets: 3
  refuse:
    - when: '"Global Administrator" in identity.roles && tenant.usable_global_admins <= 2'
      why: would leave fewer than two usable Global Administrators
steps:
  - id: stop
    title: Stop it
    uses: identity.disable@1
    if: identity.enabled
    contains: true
    approval: { mode: ratify, from: [identity-response, duty], quorum: 2, expires: 15m, on_expiry: undo }
    verify: { within: 3m }
    on_error: continue
  - id: reset
    uses: entra.user.reset_password@1
    with: { force_change: false }
    after: verified
    irreversible: accepted
    approval: { mode: before, from: [duty], quorum: 1, expires: 2h, on_expiry: skip }
  - id: sessions
    uses: entra.user.revoke_sessions@1
    irreversible: accepted
    approval: { same_as: reset }
`
	p, problems := Parse("e.yaml", []byte(text), catalogue(t, nil))
	if problems != nil {
		t.Fatal(problems)
	}
	duty := approval.Rule{Mode: approval.Before, From: []string{"duty"}, Quorum: 1, Expires: 2 * time.Hour, OnExpiry: approval.ExpirySkip}
	ratify := approval.Rule{Mode: approval.Ratify, From: []string{"identity-response", "duty"}, Quorum: 2, Expires: 15 * time.Minute, OnExpiry: approval.ExpiryUndo}
	type step struct {
		ID, Title, Uses, If string
		With                map[string]any
		After               After
		Approval            *approval.Rule
		Within              time.Duration
		OnError             OnError
		Contains, Accepted  bool
	}
	var steps []step
	for _, s := range p.Steps {
		steps = append(steps, step{s.ID, s.Title, fmt.Sprintf("%s@%d", s.Uses, s.Version), s.If, s.With, s.After, s.Approval, s.Within, s.OnError, s.Contains, s.Accepted})
	}
	want := []step{
		{"stop", "Stop it", "identity.disable@1", "identity.enabled", map[string]any{}, AfterAccepted, &ratify, 3 * time.Minute, ErrorContinue, true, false},
		{"reset", "", "entra.user.reset_password@1", "", map[string]any{"force_change": false}, AfterVerified, &duty, 0, ErrorFail, false, true},
		{"sessions", "", "entra.user.revoke_sessions@1", "", map[string]any{}, AfterAccepted, &duty, 0, ErrorFail, false, true},
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if p.Ref.ID != "everything" || p.Ref.Version != "1.2.3" || len(p.Ref.Hash) != 64 || p.Mode != Observe || p.Guards.MaxTargets != 3 || p.Text != text {
		t.Errorf("playbook head is wrong: %+v, %s, %+v", p.Ref, p.Mode, p.Guards)
	}
	if p.Trigger.Window != 36*time.Hour || p.Trigger.Settle != 20*time.Second || p.Trigger.OnceKey != "identity.id + signal.ip" {
		t.Errorf("trigger is wrong: %+v", p.Trigger)
	}
	if diff := cmp.Diff([]signal.Cause{signal.CauseSession, signal.CausePassword}, p.Causes); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
}

func TestParseFindsAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	text := `playbook: v2
id: Bad Name
version: 1.0
title: A test
owner: identity-response
attack: [X1]
mode: enforse
colour: red
trigger:
  on: [signal.recieved]
  when: signal.tpye == "x"
guards:
  refuse:
    - when: risk.score
      why: because
steps:
  - id: one
    uses: entra.user.disabel@1
  - id: one
    uses: entra.user.disable@2
    with: { fast: true }
  - id: three
    uses: entra.user.hand_over_password@1
    with: { hours: four, too: x }
    verify: { within: soon }
`
	want := []string{
		`t.yaml:1:11: playbook: language "v2" is not known; this Cordon reads v1`,
		`t.yaml:2:5: id: "Bad Name" is not a name; use lower-case letters, digits and single - or _, at most 64`,
		`t.yaml:3:10: version: "1.0" is not of the form 1.0.0`,
		`t.yaml:6:9: attack: "X1" is not an ATT&CK technique such as T1078.004`,
		`t.yaml:7:7: mode: no "enforse"; did you mean "enforce"?; it is one of enforce, observe`,
		`t.yaml:8:1: playbook: no key "colour"; it knows playbook, id, version, title, owner, attack, mode, pilot, cause, trigger, guards, steps, done`,
		`t.yaml:10:7: trigger.on: no "signal.recieved"; did you mean "signal.received"?; it is one of signal.received, risk.changed, case.opened, manual`,
		`t.yaml:11:15: trigger.when: no field "tpye"; did you mean "type"?`,
		`t.yaml:14:13: guards.refuse.when: the expression gives int, and bool is needed`,
		`t.yaml:18:11: step one: no action "entra.user.disabel"; did you mean "entra.user.disable"?; the catalogue has ` + names(t),
		`t.yaml:19:9: step one: the id is taken by the step at line 17`,
		`t.yaml:20:11: step one: entra.user.disable is at version 1, not 2; read what changed before you raise it`,
		`t.yaml:21:13: step one: with: no key "fast"; it knows synced`,
		`t.yaml:24:11: step three: with: the input "to" is missing: the operator who gets the link`,
		`t.yaml:24:20: step three: with: hours: needs the type integer`,
		`t.yaml:24:26: step three: with: no key "too"; did you mean "to"?; it knows to, hours`,
		`t.yaml:25:23: step three: verify.within: bad duration "soon"; write it like 90s, 30m, 12h or 7d`,
	}
	if diff := cmp.Diff(want, problemsOf(t, text)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	trigger := "trigger: { on: [signal.received], when: signal.open }\n"
	reset := "steps: [{ id: a, uses: entra.user.reset_password@1, irreversible: accepted }]\n"
	step := func(rest string) string { return head + trigger + "steps:\n  - id: a\n" + rest }
	when := func(cel string) string {
		return head + "trigger:\n  on: [signal.received]\n  when: " + cel + "\n" + reset
	}
	rule := "approval: { mode: %s, from: [duty], quorum: 1, expires: 5m, on_expiry: %s }\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"", "t.yaml: the file is empty"},
		"a list":          {"- a", "t.yaml:1:1: a mapping with keys such as playbook"},
		"not yaml":        {"a: [", "t.yaml:1: not YAML: did not find expected node content"},
		"not text":        {"a: \xff", "t.yaml: the file is not UTF-8 text"},
		"too long":        {strings.Repeat("#", maxText+1), "at most 262144 are read"},
		"two documents":   {head + trigger + reset + "---\na: b\n", "a second document; write one playbook per file"},
		"a key twice":     {head + "id: again\n" + trigger + reset, `t.yaml:7:1: playbook: "id" is there twice`},
		"an alias":        {head + "attack: &a [T1078]\ncause: *a\n" + trigger + reset, "t.yaml:8:8: playbook: aliases are not part of the language"},
		"no mode":         {strings.Replace(head, "mode: enforce\n", "", 1) + trigger + reset, "t.yaml:1:1: mode is missing"},
		"no steps":        {head + trigger, "t.yaml:1:1: steps is missing"},
		"empty steps":     {head + trigger + "steps: []\n", "t.yaml:8:8: steps is empty"},
		"parallel of one": {head + trigger + "steps: [{ id: a, parallel: [{ id: b, uses: entra.user.disable@1 }] }]\n", "step a: parallel needs two steps at the least"},
		"parallel in parallel": {head + trigger + "steps: [{ id: a, parallel: [{ id: b, parallel: [] }, { id: c, end: contained }, { id: d, uses: entra.user.disable@1 }] }]\n",
			"t.yaml:8:29: step a: within parallel stand only steps that use an action"},
		"for_each, no bound":     {step("    uses: entra.user.disable@1\n    for_each: identity.roles\n    as: role\n"), "t.yaml:11:15: step a: max is missing"},
		"for_each of others":     {step("    uses: entra.user.disable@1\n    for_each: signals\n    as: s\n    max: 3\n"), "list(string) is needed"},
		"for_each, a taken name": {step("    uses: entra.user.disable@1\n    for_each: identity.roles\n    as: signal\n    max: 3\n"), `as: "signal" cannot be a name in an expression, or is one already`},
		"max alone":              {step("    uses: entra.user.disable@1\n    max: 3\n"), "max belongs to for_each"},
		"too many":               {step("    uses: entra.user.disable@1\n    for_each: identity.roles\n    as: r\n    max: 30\n"), "a number from 1 to 20 is needed"},
		"wait without end":       {step("    wait: { until: identity.enabled }\n"), "step a: wait.within is missing"},
		"wait for nothing":       {step("    wait: { until: 1 < 2, within: 5m }\n"), "wait.until is true whatever the facts are"},
		"ask without end":        {step("    ask: { who: person, on_expiry: fail }\n"), "step a: ask.within is missing"},
		"ask, and no answer":     {step("    ask: { who: person, within: 5m }\n"), "step a: ask.on_expiry is missing"},
		"ask nobody":             {step("    ask: { who: dog, within: 5m, on_expiry: fail }\n"), "ask.who"},
		"answer that is none":    {step("    ask: { who: person, within: 5m, on_expiry: fail }\n  - { id: b, if: steps.a.answer == \"maybe\", end: contained }\n"), "steps.*.answer is never \"maybe\""},
		"a risk ended on a word": {step("    ask: { who: person, within: 5m, on_expiry: fail }\n  - { id: b, if: steps.a.answer == \"yes\" || steps.a.proven, uses: entra.user.dismiss_risk@1, irreversible: accepted }\n"), "step b: entra.user.dismiss_risk ends a risk, and behind the question of step a it may rest on a word alone"},
		"ttl for ever":           {step("    uses: entra.user.reset_password@1\n    irreversible: accepted\n    ttl: 24h\n"), "t.yaml:12:10: step a: ttl takes back by itself what was done, and entra.user.reset_password cannot be undone"},
		"ttl too short":          {step("    uses: entra.user.disable@1\n    ttl: 5s\n"), "ttl: at least 1m0s"},
		"max_ttl alone":          {step("    uses: entra.user.disable@1\n    max_ttl: 1h\n"), "max_ttl bounds how far"},
		"max_ttl too short":      {step("    uses: entra.user.disable@1\n    ttl: 2h\n    max_ttl: 1h\n"), "max_ttl bounds how far"},
		"after the end":          {head + trigger + "steps:\n  - { id: a, end: contained }\n  - { id: b, uses: entra.user.disable@1 }\n", "t.yaml:10:11: step b is never reached: step a ends the run whatever happens"},
		"after an end":           {head + trigger + "steps:\n  - { id: a, end: contained, if: 2 > 1 }\n  - { id: b, uses: entra.user.disable@1 }\n", "step b is never reached"},
		"an unheard-of end":      {step("    end: somehow\n"), `end: no "somehow"`},
		"a step to come":         {head + trigger + "steps:\n  - { id: a, uses: entra.user.disable@1, if: steps.b.failed }\n  - { id: b, uses: entra.user.enable@1 }\n", `step a: if: no step "b" before it`},
		"a misspelt step":        {head + trigger + "steps:\n  - { id: stop, uses: entra.user.disable@1 }\n  - { id: b, uses: entra.user.enable@1, if: steps.stpo.failed }\n", `t.yaml:10:50: step b: if: no step "stpo" before it; did you mean "stop"?`},
		"steps too early":        {when("steps.a.verified"), "steps are not known here"},
		"a step of its group":    {head + trigger + "steps: [{ id: g, parallel: [{ id: b, uses: entra.user.disable@1 }, { id: c, uses: entra.user.enable@1, if: steps.b.failed }] }]\n", `step c: if: no step "b" before it`},
		"rate":                   {head + trigger + "guards: { rate: { key: tenant.id, per: 1h } }\n" + reset, "guards.rate.limit is missing"},
		"rate and steps":         {head + trigger + "guards: { rate: { key: steps.a.state, limit: 1, per: 1h } }\n" + reset, "steps are not known here"},
		"undo of nothing":        {head + trigger + reset + "done: { on_failure: [undo] }\n", "done.on_failure: no step of it can be undone"},
		"a word for failure":     {head + trigger + disable + "done: { on_failure: [undoo] }\n", `done.on_failure: no "undoo"; did you mean "undo"? (any of undo, page, hold)`},
		"contained by none":      {head + trigger + disable + "done: { contained_when: steps.stop.verified }\n", "done.contained_when: no step contains"},
		"cause and trigger":      {head + "cause: session\n" + strings.Replace(trigger, "signal.open", `signal.type == "leakedCredentials"`, 1) + "steps:\n  - { id: a, uses: entra.user.revoke_sessions@1, irreversible: accepted }\n", "cause: the trigger's leakedCredentials speaks of password or workload credential, and the playbook says session"},
		"remedy and trigger":     {when(`signal.type in ["anomalousToken"]`), "entra.user.reset_password is no remedy for what the trigger's signals speak of, session"},
		"a pilot's group":        {head + "pilot: [staff]\n" + trigger + reset, `pilot: "staff" is not the id of a group`},
		"a group's name":         {when(`identity.groups["staff"]`), `"staff" is not the id of a group`},
		"a made id":              {head + trigger + "steps:\n  - { id: a, uses: identity.disable@1 }\n  - { id: a-cloud, uses: entra.user.enable@1 }\n", "t.yaml:10:11: step a-cloud: the id is what a plan calls a part of step a"},
		"an account's route":     {step("    uses: identity.disable@1\n    account: identity.accounts[0].key\n"), "account: identity.disable is a route, which picks the account itself"},
		"uses without a name":    {step("    uses: disable\n"), `uses: "disable" is not of the form name@version`},
		"irreversible":           {step("    uses: entra.user.reset_password@1\n"), "entra.user.reset_password cannot be undone (the old password cannot be read and so not restored); write irreversible: accepted on the step"},
		"irreversible route":     {step("    uses: identity.reset_password@1\n"), "write irreversible: accepted"},
		"needless accepted":      {step("    uses: entra.user.disable@1\n    irreversible: accepted\n"), "entra.user.disable can be undone; take irreversible out"},
		"irreversible: yes":      {step("    uses: entra.user.reset_password@1\n    irreversible: sure\n"), "irreversible: the only word is accepted"},
		"ratify a reset":         {step("    uses: entra.user.reset_password@1\n    irreversible: accepted\n    " + fmt.Sprintf(rule, "ratify", "undo")), "mode ratify undoes what nobody ratifies, and entra.user.reset_password cannot be undone"},
		"ratify by same_as": {step("    uses: entra.user.disable@1\n    " + fmt.Sprintf(rule, "ratify", "undo") +
			"  - { id: b, uses: entra.user.revoke_sessions@1, irreversible: accepted, approval: { same_as: a } }\n"), "t.yaml:12:84: step b: mode ratify undoes"},
		"before and undo":   {step("    uses: entra.user.disable@1\n    " + fmt.Sprintf(rule, "before", "undo")), "with mode before nothing is done yet"},
		"ratify and skip":   {step("    uses: entra.user.disable@1\n    " + fmt.Sprintf(rule, "ratify", "skip")), "with mode ratify it is undo or escalate"},
		"approval half":     {step("    uses: entra.user.disable@1\n    approval: { mode: before }\n"), "approval.quorum is missing"},
		"same_as nowhere":   {step("    uses: entra.user.disable@1\n    approval: { same_as: b }\n"), `approval.same_as: no step "b" with an approval of its own`},
		"same_as itself":    {step("    uses: entra.user.disable@1\n    approval: { same_as: a }\n"), `no step "a" with an approval of its own`},
		"same_as and more":  {step("    uses: entra.user.disable@1\n    approval: { same_as: a, quorum: 2 }\n"), "same_as stands alone"},
		"never reached":     {step("    uses: entra.user.disable@1\n    if: false\n"), "t.yaml:11:9: step a: if is false whatever the facts are"},
		"never reached, &&": {step("    uses: entra.user.disable@1\n    if: identity.enabled && 1 > 2\n"), "if is false whatever the facts are"},
		"proof too early":   {step("    uses: entra.user.disable@1\n    verify: { within: 10s }\n"), "verify.within 10s is shorter than the 30s that Microsoft Entra ID may take"},
		"proof given up":    {step("    uses: entra.user.disable@1\n    verify: none\n"), "verify: a mapping is needed"},
		"never starts":      {when("risk.score > 1 && false"), "trigger.when is false whatever happens"},
		"blind guard":       {head + trigger + "guards: { refuse: [{ when: 1 > 2, why: x }] }\n" + reset, "guards.refuse.when is false whatever the facts are"},
		"signal elsewhere":  {head + "trigger: { on: [signal.received, risk.changed], when: signal.open }\n" + reset, "signal is there only on signal.received, and this playbook is also asked on risk.changed"},
		"unknown variable":  {when("idnetity.enabled"), `t.yaml:9:9: trigger.when: no variable or function "idnetity"; did you mean "identity"?`},
		"unknown level":     {when(`level.at_least(risk.level, "hihg")`), `t.yaml:9:36: trigger.when: risk.level is never "hihg"; did you mean "high"?`},
		"unknown family":    {when(`signal.family == "tokens"`), `signal.family is never "tokens"; did you mean "token"?`},
		"unknown cause":     {when(`'"passwrod" in risk.causes'`), `risk.causes is never "passwrod"; did you mean "password"?`},
		"unknown kind":      {when(`identity.kind in ["user"]`), `identity.kind is never "user"`},
		"types":             {when(`risk.score > "high"`), "found no matching overload for '_>_' applied to '(int, string)'"},
		"syntax":            {when("risk.score >"), "Syntax error"},
		"a dear expression": {when("signals.exists(a, signals.exists(b, signals.exists(c, a.ip == b.ip && b.ip == c.ip)))"), "avoid a loop within a loop"},
		"a huge expression": {when("risk.score > 1" + strings.Repeat(" || risk.score > 1", 400)), "t.yaml:9"},
		"folded":            {head + "trigger:\n  on: [signal.received]\n  when: >-\n    signal.open &&\n    signal.opne\n" + reset, `t.yaml:11:11: trigger.when: no field "opne"; did you mean "open"?`},
		"literal":           {head + "trigger:\n  on: [signal.received]\n  when: |\n    signal.open &&\n    signal.opne\n" + reset, `t.yaml:11:11: trigger.when: no field "opne"`},
		"unfit contains": {head + "cause: password\n" + trigger + "steps:\n  - { id: a, uses: entra.user.revoke_sessions@1, irreversible: accepted, contains: true }\n" +
			"  - { id: b, uses: entra.user.reset_password@1, irreversible: accepted }\n", "entra.user.revoke_sessions does not cure password (it is a remedy for session), so it cannot be what contains"},
		"unfit reset": {head + "cause: session\n" + trigger + "steps:\n  - { id: a, uses: entra.user.revoke_sessions@1, irreversible: accepted, contains: true }\n" +
			"  - { id: b, uses: entra.user.reset_password@1, irreversible: accepted }\n", "entra.user.reset_password is no remedy when the cause is session"},
		"no remedy":           {head + "cause: password and session\n" + trigger + reset, "cause: no step is a remedy for session"},
		"wrong cause":         {head + "cause: sesion\n" + trigger + reset, `cause: no "sesion"; did you mean "session"?`},
		"expression in text":  {step("    uses: entra.user.hand_over_password@1\n    with: { to: \"to ${{ identity.id }}\" }\n"), "an expression is the whole value"},
		"expression of steps": {step("    uses: entra.user.hand_over_password@1\n    with: { to: \"${{ steps.a.state }}\" }\n"), "inputs are part of what people approve; they cannot depend on steps"},
		"expression's type":   {step("    uses: entra.user.hand_over_password@1\n    with: { to: a, hours: \"${{ identity.id }}\" }\n"), "the expression gives string, and int is needed"},
		"once for ever":       {head + "trigger: { on: [signal.received], when: signal.open, once_per: { key: identity.id, window: 9999999999d } }\n" + reset, "is too long; at most 366d"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(problemsOf(t, c.text), "\n")
			if !strings.Contains(got, c.want) {
				t.Errorf("problems:\n%s\nwanted among them: %s", got, c.want)
			}
		})
	}
}

// names are the actions and routes of the test catalogue, as a message lists them.
func names(t *testing.T) string {
	var out []string
	cat := catalogue(t, nil)
	for _, s := range cat.Specs() {
		out = append(out, string(s.Name))
	}
	for _, r := range cat.Routes() {
		out = append(out, string(r.Name))
	}
	return strings.Join(out, ", ")
}

func TestLoadIsAllOrNothing(t *testing.T) {
	t.Parallel()
	good := head + "trigger: { on: [manual] }\nsteps: [{ id: a, uses: entra.user.disable@1 }]\n"
	files := fsOf(map[string]string{"a.yaml": good, "b/c.yml": good, "d.yaml": "id: [", "notes.txt": "id: ["})
	lib, problems := Load(files, catalogue(t, nil))
	var got []string
	for _, p := range problems {
		got = append(got, p.Error())
	}
	want := []string{"b/c.yml: the id test is taken by a.yaml", "d.yaml:1: not YAML: did not find expected node content"}
	if diff := cmp.Diff(want, got); diff != "" || lib != nil {
		t.Errorf("library %v, problems (-want +got):\n%s", lib, diff)
	}
	if lib, problems := Load(fsOf(nil), catalogue(t, nil)); lib == nil || len(problems) > 0 || len(lib.Playbooks()) != 0 {
		t.Errorf("an empty folder gave %v, %v", lib, problems)
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "366d": 366 * 24 * time.Hour} {
		if got, err := parseDuration(in); got != want || err != nil {
			t.Errorf("parseDuration(%q) = %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0s", "5", "s", "-5m", "1.5h", "5 m", "367d", "213504d", "999999999d", "9999999999s", "1w"} {
		if got, err := parseDuration(in); err == nil {
			t.Errorf("parseDuration(%q) = %s; want an error", in, got)
		}
	}
}

// A route whose actions differ is read against all of them.
func TestWithOfARouteKnowsEveryAction(t *testing.T) {
	t.Parallel()
	p, problems := Parse("t.yaml", []byte(head+"trigger: { on: [manual] }\nsteps: [{ id: a, uses: identity.reset_password@1, irreversible: accepted, with: { force_change: false } }]\n"), catalogue(t, nil))
	if problems != nil {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(map[string]any{"force_change": false}, p.Steps[0].With); diff != "" {
		t.Error(diff)
	}
	if s := p.Steps[0].specs; len(s) != 2 || s[0].Name != action.Name("ad.account.reset_password") || s[1].Name != action.Name("entra.user.reset_password") {
		t.Errorf("route leads to %+v", s)
	}
}
