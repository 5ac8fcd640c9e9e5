package playbook

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/playbooks"
)

// given returns the Input of a fixture's description.
func given(t testing.TB, text string) Input {
	t.Helper()
	in, problems := readGiven("given", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return in
}

// libraryOf returns a library of one playbook called test with the body.
func libraryOf(t testing.TB, body string) *Library {
	t.Helper()
	lib, problems := Load(fsOf(map[string]string{"test.yaml": head + body}), catalogue(t, nil))
	if problems != nil {
		t.Fatal(problems)
	}
	return lib
}

func shipped(t testing.TB, change func([]action.Spec)) *Library {
	t.Helper()
	lib, problems := Load(playbooks.FS, catalogue(t, change))
	if problems != nil {
		t.Fatal(problems)
	}
	return lib
}

const disable = "steps: [{ id: stop, uses: entra.user.disable@1 }]\n"

func TestPlanSaysEverything(t *testing.T) {
	t.Parallel()
	in := given(t, "identity: {name: A person, roles: [User Administrator]}\nsignals: [{type: leakedCredentials}]")
	p, err := shipped(t, nil).Plan(Ref{ID: "leaked-credentials"}, in)
	if err != nil {
		t.Fatal(err)
	}
	want := Step{
		ID: "reset", Title: "entra.user.reset_password", Uses: "identity.reset_password", Action: "entra.user.reset_password",
		Account: in.Identity.Accounts[0].Ref, Params: map[string]any{"force_change": true}, After: AfterAccepted,
		Approval: &approval.Rule{Mode: approval.Before, From: []string{"identity-response"}, Quorum: 1, Expires: 30 * time.Minute, OnExpiry: approval.ExpiryEscalate},
		Verify:   "read back from Microsoft Entra ID within 5m0s; accepted alone does not count", Within: 5 * time.Minute,
		OnError: ErrorFail, Contains: true, Route: identity.EntraID, Permissions: []string{"User.ReadWrite.All"},
		Effect: action.EffectCredential, Irreversible: "the old password cannot be read and so not restored",
		Change: "A person: is brought to the state of entra.user.reset_password",
	}
	if diff := gocmp.Diff(want, p.Steps[1]); diff != "" { // the verdict before it is not called for
		t.Errorf("step (-want +got):\n%s", diff)
	}
	cost := map[action.Bucket]int{action.BucketDirectoryWrite: 2, action.BucketDirectoryRead: 4}
	if diff := gocmp.Diff(cost, p.Cost); diff != "" {
		t.Errorf("cost (-want +got):\n%s", diff)
	}
	if p.Name != "A person" || p.Level != signal.LevelHigh || p.Score != in.Assessment.Score || len(p.Hash) != 64 || !p.MadeAt.Equal(in.Now) {
		t.Errorf("plan head is wrong: %+v", p)
	}
}

func TestPlanErrors(t *testing.T) {
	t.Parallel()
	lib := shipped(t, nil)
	in := given(t, "identity: {}")
	elsewhere := in
	elsewhere.Tenant = "00000000-0000-4000-8000-000000000002"
	known, _ := lib.Find("dcsync")
	for name, c := range map[string]struct {
		ref  Ref
		in   Input
		want fault.Kind
	}{
		"unheard of":   {Ref{ID: "no"}, in, fault.NotFound},
		"another text": {Ref{ID: "dcsync", Hash: "0"}, in, fault.Conflict},
		"two tenants":  {Ref{ID: "dcsync"}, elsewhere, fault.Invalid},
		"by its ref":   {known.Ref, in, ""},
	} {
		if _, err := lib.Plan(c.ref, c.in); fault.KindOf(err) != c.want {
			t.Errorf("%s: got %v, want kind %q", name, err, c.want)
		}
	}
}

func TestGuards(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, "trigger: { on: [manual] }\n"+disable+`
guards:
  refuse:
    - when: '"Global Administrator" in identity.roles && tenant.usable_global_admins <= 2'
      why: would leave fewer than two usable Global Administrators
    - when: signals[0].type == "benign"
      why: the first signal is benign
`)
	for name, c := range map[string]struct{ given, refused, held string }{
		"passes":        {"identity: {}\nsignals: [{type: x}]", "", ""},
		"refuses":       {"identity: {roles: [Global Administrator]}\nusable_global_admins: 2\nsignals: [{type: x}]", "would leave fewer than two usable Global Administrators", ""},
		"unknown count": {"identity: {roles: [Global Administrator]}\nsignals: [{type: x}]", "", "the guard \"would leave fewer than two usable Global Administrators\" could not be decided: tenant.usable_global_admins is not known: the holders of Global Administrator have not been read"},
		"unknown roles": {"identity: {roles: unknown}\nusable_global_admins: 1\nsignals: [{type: x}]", "", "could not be decided: identity.roles is not known: its directory roles have not been read"},
		"error":         {"identity: {}", "", "the guard \"the first signal is benign\" could not be decided: "},
		"refusal wins":  {"identity: {roles: [Global Administrator]}\nsignals: [{type: benign}]", "the first signal is benign", ""},
	} {
		p, err := lib.Plan(Ref{ID: "test"}, given(t, c.given))
		if err != nil {
			t.Fatal(err)
		}
		if p.Refused != c.refused || !strings.Contains(p.Held, c.held) || (c.held == "") != (p.Held == "") {
			t.Errorf("%s: refused %q, held %q; want %q, %q", name, p.Refused, p.Held, c.refused, c.held)
		}
		if stopped := p.Refused != "" || p.Held != ""; stopped == (len(p.Steps) > 0) {
			t.Errorf("%s: stopped is %t with %d steps", name, stopped, len(p.Steps))
		}
	}
}

func TestUnknownConditionHoldsTheStep(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, "trigger: { on: [manual] }\nsteps:\n  - { id: a, uses: entra.user.disable@1, if: \"signals.exists(s, s.open && identity.mfa_registered)\" }\n  - { id: b, uses: entra.user.disable@1, if: signal.open }\n")
	p, err := lib.Plan(Ref{ID: "test"}, given(t, "on: [manual]\nidentity: {mfa_registered: unknown}\nsignals: [{type: x}]"))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{p.Steps[0].Held, p.Steps[1].Held}
	want := []string{
		"its condition could not be decided: identity.mfa_registered is not known: its registered methods have not been read",
		"its condition could not be decided: signal is not known: no signal asked for this; use signals",
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	if p.Cost != nil {
		t.Errorf("held steps cost %v", p.Cost)
	}
}

// Every fact that can be missing is missing in the eyes of an expression, also
// when the whole variable is passed on.
func TestEveryMissingFactIsUnknown(t *testing.T) {
	t.Parallel()
	lang, err := newLanguage()
	if err != nil {
		t.Fatal(err)
	}
	in := Input{UsableGlobalAdmins: -1, Identity: identity.Identity{
		Kind: identity.KindUnknown, Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.EntraID}}},
	}, Protection: identity.Protection{Unknown: true, Reasons: []string{"x"}}}
	f, err := factsOf(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, expr := range []string{
		`identity.kind == "person"`, "identity.privileged", "identity.roles == []", `identity.authority == "entraID"`, "identity.synced",
		"identity.mfa_registered", "identity.passwordless", "identity.guest", "identity.enabled", "identity.deleted", "identity.protected",
		`risk.level == "high"`, "risk.score == 0", "risk.causes == []", "risk.reasons == []", "signal.open", `signal.type == ""`,
		"tenant.usable_global_admins == 0", "[identity].exists(i, i.privileged)", "[1].exists(i, identity.privileged)", "has(identity.privileged)",
	} {
		p, mistakes := lang.compile(expr, cel.BoolType)
		if mistakes != nil {
			t.Errorf("%s: %v", expr, mistakes)
			continue
		}
		if v, err := p.bool(f); !errors.Is(err, fault.Held) || !strings.Contains(err.Error(), "not known") {
			t.Errorf("%s = %t, %v; want it not known", expr, v, err)
		}
	}
}

// One account that is enabled is enough to know; with none, one that nobody has
// read leaves it open. The same for an account that exists.
func TestPresenceOfSeveralAccounts(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	account := func(enabled, found *bool) identity.Account {
		return identity.Account{Facts: identity.Facts{Enabled: enabled, Found: found}}
	}
	for name, c := range map[string]struct {
		accounts         []identity.Account
		enabled, deleted string
	}{
		"none":               {nil, "false", "false"},
		"enabled, unread":    {[]identity.Account{account(&yes, &yes), account(nil, nil)}, "true", "false"},
		"unread, enabled":    {[]identity.Account{account(nil, nil), account(&yes, &yes)}, "true", "false"},
		"disabled, unread":   {[]identity.Account{account(&no, &yes), account(nil, nil)}, "unknown", "false"},
		"deleted, unread":    {[]identity.Account{account(nil, &no), account(nil, nil)}, "unknown", "unknown"},
		"deleted":            {[]identity.Account{account(nil, &no)}, "false", "true"},
		"deleted and there":  {[]identity.Account{account(nil, &no), account(&no, &yes)}, "false", "false"},
		"both disabled":      {[]identity.Account{account(&no, &yes), account(&no, &yes)}, "false", "false"},
		"nobody looked here": {[]identity.Account{account(nil, nil)}, "unknown", "unknown"},
	} {
		f := &facts{missing: map[string]string{}}
		got := f.identity(Input{Identity: identity.Identity{Kind: identity.KindPerson, Accounts: c.accounts}})
		say := func(v bool, path string) string {
			if _, missing := f.missing[path]; missing {
				return "unknown"
			}
			return fmt.Sprint(v)
		}
		if e, d := say(got.Enabled, "identity.enabled"), say(got.Deleted, "identity.deleted"); e != c.enabled || d != c.deleted {
			t.Errorf("%s: enabled %s, deleted %s; want %s, %s", name, e, d, c.enabled, c.deleted)
		}
	}
}

func TestSignalsComeOldestFirst(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, "trigger: { on: [manual] }\nsteps: [{ id: a, uses: entra.user.disable@1, if: 'signals[0].id == \"old\"' }]\n")
	in := given(t, "on: [manual]\nidentity: {}\nsignals: [{type: x}, {type: x}]")
	in.Signals[0].ExternalID, in.Signals[1].ExternalID = "new", "old"
	in.Signals[1].ActivityAt = in.Signals[0].ActivityAt.Add(-time.Hour)
	p, err := lib.Plan(Ref{ID: "test"}, in)
	if err != nil || p.Steps[0].Skip != "" || p.Steps[0].Held != "" {
		t.Errorf("plan %+v, %v; want the step done", p.Steps, err)
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, "trigger:\n  on: [signal.received, manual]\n  when: signals.exists(s, s.open) && identity.privileged\n  once_per: { key: identity.name, window: 2h }\n  settle: 20s\n"+disable)
	ref := lib.Playbooks()[0].Ref
	type match struct {
		OnceKey, Err   string
		Window, Settle time.Duration
	}
	for name, c := range map[string]struct {
		given string
		want  []match
	}{
		"matches":          {"identity: {name: N, roles: [X]}\nsignals: [{type: x}]", []match{{"N", "", 2 * time.Hour, 20 * time.Second}}},
		"false":            {"identity: {name: N}\nsignals: [{type: x}]", nil},
		"false at once":    {"identity: {name: N, roles: unknown}\nsignals: [{type: x, state: resolved}]", nil},
		"unknown":          {"identity: {name: N, roles: unknown}\nsignals: [{type: x}]", []match{{"", "playbook test: trigger: identity.privileged is not known: its directory roles have not been read", 2 * time.Hour, 20 * time.Second}}},
		"no key":           {"identity: {roles: [X]}\nsignals: [{type: x}]", []match{{"", `playbook test: once_per: "identity.name" gave an empty key`, 2 * time.Hour, 20 * time.Second}}},
		"by hand":          {"on: [manual]\nidentity: {name: N, roles: [X]}\nsignals: [{type: x}]", []match{{"", "", 0, 20 * time.Second}}},
		"not asked for it": {"on: [case.opened]\nidentity: {name: N, roles: [X]}\nsignals: [{type: x}]", nil},
	} {
		var got []match
		for _, m := range lib.Match(given(t, c.given)) {
			text := ""
			if m.Err != nil {
				text = m.Err.Error()
			}
			if m.Ref != ref || m.Mode != Enforce || m.Err != nil && !errors.Is(m.Err, fault.Held) {
				t.Errorf("%s: match %+v", name, m)
			}
			got = append(got, match{m.OnceKey, text, m.Window, m.Settle})
		}
		if diff := gocmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Hostile strings and floods of signals end in a hold within bounds.
func TestEvaluationIsBounded(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, "trigger: { on: [signal.received], when: 'signals.exists(s, s.title.matches(\"(a+)+$\") && s.detail.contains(\"z\"))' }\n"+disable)
	in := given(t, "identity: {}\nsignals: [{type: x}]")
	s := in.Signals[0]
	s.Title, s.Detail = strings.Repeat("a", 1<<16), strings.Repeat("\xff", 1<<16)
	in.Signals = slices.Repeat([]signal.Signal{s}, 5000)
	m := lib.Match(in)
	if len(m) != 1 || !errors.Is(m[0].Err, fault.Held) || !strings.Contains(m[0].Err.Error(), "cost limit exceeded") {
		t.Fatalf("got %+v; want a match that says the cost limit was exceeded", m)
	}
	if len(m[0].Err.Error()) > 1000 {
		t.Errorf("the error repeats what the source sent: %d bytes", len(m[0].Err.Error()))
	}
}

func TestErrorsDoNotRepeatWhatASourceSent(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, "trigger: { on: [signal.received], when: int(signal.title) > 1 }\n"+disable)
	in := given(t, "identity: {}\nsignals: [{type: x}]")
	in.Trigger.Title = strings.Repeat("x\n", 1<<16)
	m := lib.Match(in)
	if len(m) != 1 || m[0].Err == nil || len(m[0].Err.Error()) > 300 || strings.Contains(m[0].Err.Error(), "\n") {
		t.Errorf("got %.400v; want one short error of one line", m)
	}
}

// Law 7 holds also for a playbook that does not name its cause.
func TestANewPasswordDoesNotCureAStolenToken(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, "trigger: { on: [manual] }\nsteps: [{ id: reset, uses: identity.reset_password@1, irreversible: accepted }]\n")
	for signals, held := range map[string]bool{"anomalousToken": true, "leakedCredentials": false, "attackerinTheMiddle": false, "somethingNew": false, "suspiciousInboxForwarding": false, "maliciousApplication": true} {
		p, err := lib.Plan(Ref{ID: "test"}, given(t, "on: [manual]\nidentity: {}\nsignals: [{type: "+signals+"}]"))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Steps[0].Held != ""; got != held {
			t.Errorf("%s: held %q", signals, p.Steps[0].Held)
		}
	}
}

func TestGivingAccessBackIsNeverAutomatic(t *testing.T) {
	t.Parallel()
	lib := libraryOf(t, "trigger: { on: [manual] }\nsteps: [{ id: a, uses: identity.enable@1 }]\n")
	p, err := lib.Plan(Ref{ID: "test"}, given(t, "on: [manual]\nidentity: {}"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Steps[0].Approval == nil {
		t.Error("enable needs no approval")
	}
}

// inputs draws an identity with signals for whom a plan can be made.
func inputs(t *rapid.T, tb testing.TB) Input {
	yes := func(label string) bool { return rapid.Bool().Draw(t, label) }
	in := given(tb, fmt.Sprintf("identity: {synced: %t, on_premises: %t, mfa_registered: %s%s}\nusable_global_admins: 5",
		yes("synced"), yes("ad"), rapid.SampledFrom([]string{"true", "false", "unknown"}).Draw(t, "mfa"),
		rapid.SampledFrom([]string{"", ", roles: [Global Administrator]", ", roles: [User Administrator]"}).Draw(t, "roles")))
	types := []string{"leakedCredentials", "anomalousToken", "attackerinTheMiddle", "passwordSpray", "somethingNew"}
	for i := range rapid.IntRange(1, 5).Draw(t, "signals") {
		at := in.Now.Add(-time.Duration(i) * time.Minute)
		in.Signals = append(in.Signals, signal.Signal{
			Tenant: in.Tenant, Source: signal.RiskDetection, ExternalID: fmt.Sprint(i), Type: rapid.SampledFrom(types).Draw(t, "type"),
			Level: signal.LevelHigh, State: signal.StateAtRisk, Subject: in.Identity.Accounts[0].Ref, ActivityAt: at, DetectedAt: at, UpdatedAt: at,
		})
	}
	in.Trigger = &in.Signals[0]
	in.Assessment = risk.Assess(risk.Input{Tenant: in.Tenant, Identity: in.Identity.ID, Signals: in.Signals}, in.Now)
	return in
}

func TestHashLeavesOutWhatDoesNotMatter(t *testing.T) {
	t.Parallel()
	lib := shipped(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		in := inputs(rt, t)
		other := in
		rng := rand.New(rand.NewSource(rapid.Int64().Draw(rt, "order")))
		shuffle := func(n int, swap func(i, j int)) { rng.Shuffle(n, swap) }
		other.Signals = slices.Clone(in.Signals)
		shuffle(len(other.Signals), func(i, j int) { other.Signals[i], other.Signals[j] = other.Signals[j], other.Signals[i] })
		other.Identity.Accounts = slices.Clone(in.Identity.Accounts)
		shuffle(len(other.Identity.Accounts), func(i, j int) {
			a := other.Identity.Accounts
			a[i], a[j] = a[j], a[i]
		})
		other.Assessment.Causes = slices.Clone(in.Assessment.Causes)
		shuffle(len(other.Assessment.Causes), func(i, j int) {
			c := other.Assessment.Causes
			c[i], c[j] = c[j], c[i]
		})
		other.Now = in.Now.Add(time.Duration(rapid.Int64Range(0, 1e12).Draw(rt, "later")))
		other.Assessment.Score = rapid.IntRange(0, 100).Draw(rt, "score")
		other.Assessment.Level = signal.LevelMedium
		other.Assessment.At = other.Now
		other.Assessment.Reasons = []risk.Reason{{Text: rapid.String().Draw(rt, "reason"), Points: 1}}
		other.Identity.Name = rapid.String().Draw(rt, "name")
		other.Identity.UpdatedAt = other.Now
		for i := range other.Identity.Accounts {
			a := &other.Identity.Accounts[i]
			a.UPN, a.DisplayName = rapid.String().Draw(rt, "upn"), rapid.String().Draw(rt, "display")
			a.Facts.LastPasswordChange = other.Now
		}
		for _, p := range lib.Playbooks() {
			if a, b := hashOf(t, lib, p.Ref, in), hashOf(t, lib, p.Ref, other); a != b {
				rt.Fatalf("%s: the hash changed", p.Ref.ID)
			}
		}
	})
}

func hashOf(t testing.TB, lib *Library, ref Ref, in Input) string {
	t.Helper()
	p, err := lib.Plan(ref, in)
	if err != nil {
		t.Fatal(err)
	}
	return p.Hash
}

func TestHashCoversWhatMatters(t *testing.T) {
	t.Parallel()
	lib := shipped(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		in := inputs(rt, t)
		ref := rapid.SampledFrom(lib.Playbooks()).Draw(rt, "playbook").Ref
		plan, err := lib.Plan(ref, in)
		if err != nil {
			rt.Fatal(err)
		}
		if len(plan.Steps) == 0 {
			return // refused as a whole
		}
		seen := map[string]string{plan.Hash: "the plan itself"}
		differs := func(what string, change func(*Plan)) {
			p := plan
			p.Steps = slices.Clone(plan.Steps)
			for i := range p.Steps {
				if r := p.Steps[i].Approval; r != nil {
					clone := *r
					p.Steps[i].Approval = &clone
				}
			}
			change(&p)
			h, err := p.digest()
			if err != nil {
				rt.Fatal(err)
			}
			if other, taken := seen[h]; taken {
				rt.Fatalf("%s hashes like %s", what, other)
			}
			seen[h] = what
		}
		i := rapid.IntRange(0, len(plan.Steps)-1).Draw(rt, "step")
		word := rapid.StringMatching(`[a-z]{12}`).Draw(rt, "word")
		differs("tenant", func(p *Plan) { p.Tenant = identity.Tenant(word) })
		differs("identity", func(p *Plan) { p.Identity = identity.ID(word) })
		differs("catalogue", func(p *Plan) { p.Catalogue = word })
		differs("playbook", func(p *Plan) { p.Playbook.Hash = word })
		differs("mode", func(p *Plan) { p.Mode = Observe })
		differs("refused", func(p *Plan) { p.Refused = word })
		differs("one step less", func(p *Plan) { p.Steps = slices.Delete(p.Steps, i, i+1) })
		differs("one step more", func(p *Plan) { p.Steps = append(p.Steps, p.Steps[i]) })
		differs("action", func(p *Plan) { p.Steps[i].Action = action.Name(word) })
		differs("target", func(p *Plan) { p.Steps[i].Account.ObjectID = word })
		differs("target's SID", func(p *Plan) { p.Steps[i].Account.SID = "S-1-" + word })
		differs("params", func(p *Plan) { p.Steps[i].Params = map[string]any{"force_change": word} })
		differs("after", func(p *Plan) {
			if p.Steps[i].After == AfterVerified {
				p.Steps[i].After = AfterAccepted
			} else {
				p.Steps[i].After = AfterVerified
			}
		})
		differs("on error", func(p *Plan) { p.Steps[i].OnError = OnError(word) })
		differs("within", func(p *Plan) { p.Steps[i].Within++ })
		differs("contains", func(p *Plan) { p.Steps[i].Contains = !p.Steps[i].Contains })
		differs("route", func(p *Plan) { p.Steps[i].Route = identity.Provider(word) })
		differs("approval", func(p *Plan) { p.Steps[i].Approval = &approval.Rule{Quorum: 9} })
		differs("done or not", func(p *Plan) {
			if p.Steps[i].Skip == "" {
				p.Steps[i].Skip = word
			} else {
				p.Steps[i].Skip = ""
			}
		})
	})
}

// A raised version of an action changes every plan's hash: an approval does not
// survive a change of meaning.
func TestHashCoversTheCatalogue(t *testing.T) {
	t.Parallel()
	in := given(t, "on: [manual]\nidentity: {}")
	raised := shipped(t, func(all []action.Spec) {
		for i := range all {
			if all[i].Name == "entra.workload.dismiss_risk" {
				all[i].Version = 2
			}
		}
	})
	if a, b := hashOf(t, shipped(t, nil), Ref{ID: "contain-now"}, in), hashOf(t, raised, Ref{ID: "contain-now"}, in); a == b {
		t.Error("the hash does not cover the catalogue's version")
	}
}

// Whatever the facts are, a protected identity gets no step, and no step goes to
// a directory that is not connected.
func TestPlanNeverOversteps(t *testing.T) {
	t.Parallel()
	lib := shipped(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		in := inputs(rt, t)
		in.Connected = rapid.SliceOfDistinct(rapid.SampledFrom([]identity.Provider{identity.EntraID, identity.ActiveDirectory}), rapid.ID).Draw(rt, "connected")
		protected := rapid.SampledFrom([]identity.Protection{{}, {Reasons: []string{"listed"}}, {Reasons: []string{"roles"}, Unknown: true}}).Draw(rt, "protected")
		in.Protection = protected
		in.Identity.Kind = rapid.SampledFrom([]identity.Kind{"", identity.KindUnknown, identity.KindPerson, identity.KindGuest, identity.KindWorkload, identity.KindAgent, identity.KindComputer}).Draw(rt, "kind")
		for _, p := range lib.Playbooks() {
			plan, err := lib.Plan(p.Ref, in)
			if err != nil {
				rt.Fatal(err)
			}
			if protected.Protected() && (len(plan.Steps) > 0 || plan.Refused == "" && plan.Held == "") {
				rt.Fatalf("%s acts on a protected identity", p.Ref.ID)
			}
			for _, s := range plan.Steps {
				if s.Skip != "" || s.Held != "" {
					continue
				}
				if s.Kind != KindAct || strings.Contains(string(s.Action), ".domain.") {
					continue // nothing is changed by it, or nothing of the identity
				}
				fit := in.Identity.Kind == identity.KindPerson || in.Identity.Kind == identity.KindGuest
				if forWorkloads(s.Action) {
					fit = in.Identity.Kind == identity.KindWorkload
				}
				if forAgents(s.Action) {
					fit = in.Identity.Kind == identity.KindAgent
				}
				via := s.Route
				if typ, err := lib.cat.Type(s.Action); err == nil {
					via = cmp.Or(typ.Spec().Via, via)
				}
				if !fit || !slices.Contains(in.Connected, via) || s.Account.Provider != s.Route || s.Action == "" || s.Within <= 0 {
					rt.Fatalf("%s: step %+v oversteps for a %s", p.Ref.ID, s, in.Identity.Kind)
				}
				if authority, known := in.Identity.Authority(); strings.HasPrefix(string(s.Uses), "identity.") && (!known || authority != s.Route) {
					rt.Fatalf("%s: step %s goes to %s, and %s is the authority", p.Ref.ID, s.ID, s.Route, authority)
				}
			}
		}
	})
}

// What a new password on one side does on the other is said in the plan, as the
// tenant's settings have it; nothing of it changes what people approve.
func TestPlanSaysWhatTheOtherSideDoes(t *testing.T) {
	t.Parallel()
	lib, problems := Load(playbooks.FS, catalogue(t, nil))
	if problems != nil {
		t.Fatal(problems)
	}
	yes, no := true, false
	hashes := map[string]bool{}
	for name, c := range map[string]struct {
		is   *identity.Synchronisation
		want string
	}{
		"unknown":            {nil, "Whether password hashes are synchronised is not known"},
		"no hashes":          {&identity.Synchronisation{PasswordHashes: &no}, "the cloud does not learn the new password"},
		"risk stays":         {&identity.Synchronisation{PasswordHashes: &yes, ResetClearsRisk: &no}, "does not close user risk in the cloud"},
		"risk perhaps stays": {&identity.Synchronisation{PasswordHashes: &yes}, "on_premises_reset_clears_risk"},
		"as one would wish":  {&identity.Synchronisation{PasswordHashes: &yes, ResetClearsRisk: &yes}, ""},
	} {
		in, found := readGiven("x.txtar", []byte("on: [manual]\nidentity: {synced: true, on_premises: true}\nconnected: [entraID, activeDirectory]\nsignals: [{type: leakedCredentials}]\n"))
		if found != nil {
			t.Fatal(found)
		}
		in.Synchronisation = c.is
		p, err := lib.Plan(Ref{ID: "contain-hybrid"}, in)
		if err != nil {
			t.Fatal(err)
		}
		hashes[p.Hash] = true
		reset := p.Steps[slices.IndexFunc(p.Steps, func(s Step) bool { return s.ID == "reset" })]
		if !strings.Contains(reset.Limits, c.want) || c.want == "" && strings.Contains(reset.Limits, "synchronised") {
			t.Errorf("%s: %q, want %q", name, reset.Limits, c.want)
		}
	}
	if len(hashes) != 1 {
		t.Errorf("the settings change the hash: %v", hashes)
	}
	const side = "a password that Cordon sets in Entra is not written back"
	for name, is := range map[string]*identity.Synchronisation{"not known": nil, "off": {WriteBack: &no}, "on": {WriteBack: &yes}} {
		if got := is.CloudReset(); !strings.Contains(got, side) || strings.Contains(got, "write-back is off") != (name == "off") || strings.Contains(got, "is not known") != (name == "not known") {
			t.Errorf("write-back %s: %q", name, got)
		}
	}
}

// What only takes away what was left behind may follow another cause; as what contains,
// or when it takes more than that, it must fit as any remedy must.
func TestCleaningIsNoRemedy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ with, signal, held string }{
		"after a password": {"", "leakedCredentials", ""},
		"after a session":  {"", "anomalousToken", ""},
		"all of them":      {"    with: { all: true }\n", "leakedCredentials", "it does not fit the cause"},
		"containing":       {"    contains: true\n", "leakedCredentials", "it does not fit the cause"},
	} {
		lib := libraryOf(t, "cause: [password, session, authentication method]\ntrigger: { on: [manual] }\nsteps:\n  - { id: verdict, uses: entra.user.confirm_compromised@1 }\n"+
			"  - { id: stop, uses: entra.user.disable@1 }\n  - id: clean\n    uses: entra.user.remove_methods@1\n    irreversible: accepted\n"+c.with)
		p, err := lib.Plan(Ref{ID: "test"}, given(t, "on: [manual]\nidentity: {}\nsignals: [{type: "+c.signal+"}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Steps[2].Held; c.held == "" && got != "" || !strings.Contains(got, c.held) {
			t.Errorf("%s: held %q, want %q", name, got, c.held)
		}
	}
}
