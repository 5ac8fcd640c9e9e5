package playbook

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// fixtureTenant and fixtureNow are where and when every fixture plays.
const fixtureTenant identity.Tenant = "00000000-0000-4000-8000-000000000001"

func fixtureNow() time.Time { return time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC) }

// Test is Try without a rehearsal: what follows the plan is not looked at.
func (l *Library) Test(file string, fixture []byte) []Problem {
	problems, _ := l.Try(file, fixture, nil)
	return problems
}

// Try runs the fixture against the library and returns what is not as it
// should be, with the place in the fixture; nil means that it passed. file is
// the fixture's path: leaked-credentials.txtar tests the playbook
// leaked-credentials.
//
// A fixture is a txtar archive. Each case is two files: NAME.given, YAML that
// describes an identity and its signals, and NAME.want, what must follow: a line
// "match: yes", "match: no" or "match: error: …", a line "plan: act", "plan:
// refused: …" or "plan: held: …", and one line for each step, "ID ACTION" with
// "approval: …", "skipped: …" or "held: …" after it. docs/playbooks.md shows one.
// Files ending in .yaml replace the library by themselves.
//
// What happens after the plan, the key then of a case, is played by rehearse; each
// turn gives a line "then TURN: STATE: why", and each step that is not over as the
// plan says a line "STEP: STATE". Try also says which branches of the playbook the
// cases took.
func (l *Library) Try(file string, fixture []byte, rehearse Rehearsal) ([]Problem, Coverage) {
	arc := parseArchive(string(fixture))
	id := strings.TrimSuffix(path.Base(file), path.Ext(file))
	t := tester{file: file, id: id, lib: l, lines: map[string]int{}, rehearse: rehearse, taken: map[string]bool{}}
	files := map[string]string{}
	var own []File
	for _, f := range arc {
		if _, twice := files[f.name]; twice {
			t.problems = append(t.problems, Problem{File: file, Line: f.line, Text: fmt.Sprintf("the file %s is there twice", f.name)})
			continue
		}
		files[f.name], t.lines[f.name] = f.data, f.line
		if path.Ext(f.name) == ".yaml" {
			own = append(own, File{f.name, []byte(f.data)})
		}
	}
	if len(own) > 0 {
		lib, problems := build(own, l.cat)
		for _, p := range problems {
			t.add(p.File, p.Line, "%s", p.Text)
		}
		if lib == nil {
			return t.problems, Coverage{Playbook: id}
		}
		t.lib = lib
	}
	p, ok := t.lib.Find(id)
	if !ok {
		return append(t.problems, Problem{File: file, Text: fmt.Sprintf("there is no playbook %q to test", id)}), Coverage{Playbook: id}
	}
	cases := 0
	for _, f := range arc {
		name, isGiven := strings.CutSuffix(f.name, ".given")
		want, hasWant := files[name+".want"]
		switch {
		case isGiven && !hasWant:
			t.add(f.name, 0, "the case %s has no %s.want", name, name)
		case isGiven:
			cases++
			t.play(name, []byte(f.data), want)
		case strings.HasSuffix(f.name, ".want"):
			if _, ok := files[strings.TrimSuffix(f.name, ".want")+".given"]; !ok {
				t.add(f.name, 0, "there is no .given for %s", f.name)
			}
		case path.Ext(f.name) != ".yaml":
			t.add(f.name, 0, "a file is NAME.given, NAME.want or a playbook's .yaml, not %s", f.name)
		}
	}
	if cases == 0 {
		t.problems = append(t.problems, Problem{File: file, Text: "the fixture has no case"})
	}
	return sortProblems(t.problems), t.coverage(p)
}

type tester struct {
	file, id string
	lib      *Library
	rehearse Rehearsal

	taken      map[string]bool // branches
	notStarted bool
	lines      map[string]int // the line before the first of each file
	problems   []Problem
}

func (t *tester) add(name string, line int, format string, args ...any) {
	t.problems = append(t.problems, Problem{File: t.file, Line: t.lines[name] + line, Text: fmt.Sprintf(format, args...)})
}

// An archived file is one file of a txtar archive.
type archived struct {
	name, data string
	line       int // of its marker, from 1
}

// parseArchive reads a txtar archive: files that begin with a line "-- NAME --",
// after a comment. Any text is an archive.
func parseArchive(text string) []archived {
	var out []archived
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		name, ok := strings.CutPrefix(line, "-- ")
		if ok {
			name, ok = strings.CutSuffix(name, " --")
		}
		switch name = strings.TrimSpace(name); {
		case ok && name != "":
			out = append(out, archived{name: name, line: n + 1})
		case len(out) > 0:
			out[len(out)-1].data += line + "\n"
		}
	}
	return out
}

// play runs one case and compares.
func (t *tester) play(name string, given []byte, want string) {
	in, turns, problems := readCase(name+".given", given)
	for _, p := range problems {
		t.add(name+".given", p.Line, "%s", p.Text)
	}
	if len(problems) > 0 {
		return
	}
	got, err := t.outcome(in, turns)
	if err != nil {
		t.add(name+".given", 1, "%v", err)
		return
	}
	var wanted []string
	for _, line := range strings.Split(want, "\n") {
		line = strings.Join(strings.Fields(line), " ")
		if t.rehearse == nil && strings.HasPrefix(line, "then ") {
			break
		}
		if line != "" {
			wanted = append(wanted, line)
		}
	}
	for n := range max(len(wanted), len(got)) {
		switch {
		case n >= len(got):
			t.add(name+".want", n+1, "case %s: wanted %q, and nothing more came", name, wanted[n])
		case n >= len(wanted):
			t.add(name+".want", n+1, "case %s: got %q, and nothing more was wanted", name, got[n])
		case wanted[n] != got[n]:
			t.add(name+".want", n+1, "case %s: wanted %q, got %q", name, wanted[n], got[n])
		}
	}
}

// outcome renders what the library makes of in, one fact a line.
func (t *tester) outcome(in Input, turns []Turn) ([]string, error) {
	out := []string{"match: no"}
	for _, m := range t.lib.Match(in) {
		if m.Ref.ID != t.id {
			continue
		}
		if out[0] = "match: yes"; m.Err != nil {
			out[0] = "match: error: " + m.Err.Error()
		}
	}
	p, err := t.lib.Plan(Ref{ID: t.id}, in)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Refused != "":
		out = append(out, "plan: refused: "+p.Refused)
	case p.Held != "":
		out = append(out, "plan: held: "+p.Held)
	default:
		out = append(out, "plan: act")
	}
	for _, s := range p.Steps {
		line := s.ID + " " + string(s.Action)
		switch {
		case s.Kind != KindAct:
			line = strings.TrimSpace(fmt.Sprintf("%s %s %s%s", s.ID, s.Kind, s.End, s.Ask))
		case s.Action == "":
			line = s.ID + " " + string(s.Uses)
		}
		switch {
		case s.Skip != "":
			line += " skipped: " + s.Skip
		case s.Held != "":
			line += " held: " + s.Held
		case s.Approval != nil && s.Later:
			line += fmt.Sprintf(" if: %s approval: %s %s %d", s.If, s.Approval.Mode, strings.Join(s.Approval.From, ","), s.Approval.Quorum)
		case s.Later:
			line += " if: " + s.If
		case s.Approval != nil:
			line += fmt.Sprintf(" approval: %s %s %d", s.Approval.Mode, strings.Join(s.Approval.From, ","), s.Approval.Quorum)
		}
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	var played Played
	if t.rehearse != nil && len(turns) > 0 {
		played = t.rehearse(p, in, turns)
		out = append(out, played.Lines...)
		for _, s := range played.Steps {
			out = append(out, s.ID+": "+s.State)
		}
	}
	if book, ok := t.lib.Find(t.id); ok {
		t.take(book, out[0] == "match: yes", p, played)
	}
	return out, nil
}

// readGiven reads the description of a case, without what happens then.
func readGiven(file string, text []byte) (Input, []Problem) {
	in, _, problems := readCase(file, text)
	return in, problems
}

// readCase reads the description of a case.
func readCase(file string, text []byte) (Input, []Turn, []Problem) {
	r := &reader{file: file}
	root := r.document(text)
	if root == nil {
		return Input{}, nil, r.problems
	}
	f := r.fields(root, "given", "then", "on", "identity", "protected", "signals", "account_risk", "usable_global_admins", "connected", "down")
	in := Input{Tenant: fixtureTenant, UsableGlobalAdmins: -1, Now: fixtureNow(), On: r.list(root, f["on"], "on", false)}
	if in.On == nil {
		in.On = []string{OnSignal, OnRisk}
	}
	in.Connected = []identity.Provider{identity.EntraID}
	if f["connected"] != nil {
		in.Connected = nil
		for _, p := range r.items(f["connected"], "connected") {
			in.Connected = append(in.Connected, identity.Provider(p.Value))
		}
	}
	for _, p := range r.items(f["down"], "down") {
		switch p.Value {
		case "activeDirectory":
			in.Outages = append(in.Outages, Outage{Provider: identity.ActiveDirectory, Via: identity.ActiveDirectory, Why: "no controller of the domain answers"})
		case "defender":
			in.Outages = append(in.Outages, Outage{Provider: identity.ActiveDirectory, Via: identity.EntraID, Why: "no sensor of Defender for Identity on a controller is up"})
		default:
			r.add(p, "down: %q is neither activeDirectory nor defender", p.Value)
		}
	}
	if f["usable_global_admins"] != nil {
		in.UsableGlobalAdmins = r.integer(f["usable_global_admins"], "usable_global_admins", 0, 1_000_000)
	}
	in.Identity = r.givenIdentity(root, f["identity"])
	switch v := r.text(root, f["protected"], "protected", false); v {
	case "":
	case "unknown":
		in.Protection = identity.Protection{Unknown: true, Reasons: []string{"its directory roles have not been read yet"}}
	default:
		in.Protection = identity.Protection{Reasons: []string{v}}
	}
	for i, n := range r.items(f["signals"], "signals") {
		in.Signals = append(in.Signals, r.givenSignal(n, i, in.Identity))
	}
	if len(in.Signals) > 0 && slices.Contains(in.On, OnSignal) {
		in.Trigger = &in.Signals[0]
	}
	about := risk.Input{Tenant: in.Tenant, Identity: in.Identity.ID, Signals: in.Signals}
	if level := r.word(root, f["account_risk"], "account_risk", false, append([]string{""}, levels()...)...); level != "" {
		about.Accounts = []signal.AccountRisk{{Tenant: in.Tenant, Subject: firstRef(in.Identity), Level: signal.Level(level), State: signal.StateAtRisk, UpdatedAt: in.Now}}
	}
	in.Assessment = risk.Assess(about, in.Now)
	return in, r.turns(f["then"]), r.problems
}

// givenIdentity builds an identity from what a fixture says. A word "unknown"
// leaves the fact out; what is not said is the ordinary: an enabled cloud-only
// person without roles whose facts are known.
func (r *reader) givenIdentity(parent, n *yaml.Node) identity.Identity {
	if n == nil {
		r.add(parent, "identity is missing")
	}
	f := r.fields(n, "identity", "name", "kind", "cloud", "on_premises", "synced", "enabled", "deleted", "guest", "roles", "mfa_registered", "passwordless", "joined_groups", "tags")
	kinds := []string{string(identity.KindPerson), string(identity.KindGuest), string(identity.KindWorkload), string(identity.KindComputer), string(identity.KindAgent), string(identity.KindUnknown)}
	i := identity.Identity{
		Tenant: fixtureTenant, ID: "idn_fixture", Name: r.text(n, f["name"], "identity.name", false),
		Kind: identity.Kind(r.word(n, f["kind"], "identity.kind", false, kinds...)),
	}
	now := fixtureNow()
	for _, tag := range r.list(n, f["tags"], "identity.tags", false) {
		next, err := i.WithTag(identity.TagName(tag), "operator", "the fixture says so", now.Add(-time.Hour))
		if err != nil {
			r.add(f["tags"], "identity.tags: %v", err)
			continue
		}
		i = next
	}
	if cloud := r.maybe(f["cloud"], "identity.cloud", true); cloud == nil || *cloud {
		a := identity.Account{Ref: identity.Ref{Provider: identity.EntraID, Kind: i.Kind, ObjectID: "00000000-0000-4000-8000-0000000000aa", UPN: "person@cordon.example"}}
		a.Facts = identity.Facts{
			AsOf: now, RolesAsOf: now, RegistrationAsOf: now, UserType: "Member",
			Synced:        r.maybe(f["synced"], "identity.synced", false),
			Enabled:       r.maybe(f["enabled"], "identity.enabled", true),
			MFARegistered: r.maybe(f["mfa_registered"], "identity.mfa_registered", true),
			Passwordless:  r.maybe(f["passwordless"], "identity.passwordless", false),
		}
		found := true
		if d := r.maybe(f["deleted"], "identity.deleted", false); d != nil && *d {
			found = false
		}
		a.Facts.Found = &found
		if g := r.maybe(f["guest"], "identity.guest", i.Kind == identity.KindGuest); g != nil && *g {
			a.Facts.UserType = "Guest"
		}
		if f["roles"] != nil && f["roles"].Kind == yaml.ScalarNode && f["roles"].Value == "unknown" {
			a.Facts.RolesAsOf = time.Time{}
		} else {
			for _, role := range r.list(n, f["roles"], "identity.roles", false) {
				a.Facts.Roles = append(a.Facts.Roles, identity.Role{TemplateID: role, Name: role, Active: true})
			}
		}
		i.Accounts = append(i.Accounts, a)
	}
	if ad := r.maybe(f["on_premises"], "identity.on_premises", false); ad != nil && *ad {
		found, enabled := true, true
		i.Accounts = append(i.Accounts, identity.Account{
			Ref:   identity.Ref{Provider: identity.ActiveDirectory, Kind: i.Kind, SID: "S-1-5-21-1-2-3-1105", SAM: "person", Domain: "CORP"},
			Facts: identity.Facts{Found: &found, Enabled: &enabled, RolesAsOf: now, OnPremises: &identity.OnPremises{Class: identity.ClassUser}},
		})
		if at := f["joined_groups"]; at != nil && at.Kind == yaml.ScalarNode && at.Value == "unknown" {
			i.Accounts[len(i.Accounts)-1].Facts.OnPremises = nil
		} else {
			for _, g := range r.list(n, at, "identity.joined_groups", false) {
				p := i.Accounts[len(i.Accounts)-1].Facts.OnPremises
				p.Joined = append(p.Joined, identity.Joined{Group: g, At: now})
			}
		}
	}
	return i
}

// maybe reads true, false or unknown; nil is unknown.
func (r *reader) maybe(n *yaml.Node, key string, ordinary bool) *bool {
	if n == nil {
		return &ordinary
	}
	switch n.Value {
	case "true", "false":
		v := n.Value == "true"
		return &v
	case "unknown":
	default:
		r.add(n, "%s: true, false or unknown is needed", key)
	}
	return nil
}

func (r *reader) givenSignal(n *yaml.Node, i int, of identity.Identity) signal.Signal {
	f := r.fields(n, "signals", "source", "type", "title", "level", "state", "detail", "classification", "ip", "key_ids")
	at := fixtureNow().Add(-time.Minute)
	s := signal.Signal{
		Tenant: fixtureTenant, ExternalID: fmt.Sprintf("signal-%d", i+1),
		Source: signal.Source(r.word(n, f["source"], "signals.source", false, string(signal.RiskDetection), string(signal.WorkloadDetection), string(signal.AgentDetection), string(signal.DefenderAlert), string(signal.Watch))),
		Type:   r.text(n, f["type"], "signals.type", true), Title: r.text(n, f["title"], "signals.title", false),
		Level:  signal.Level(r.word(n, f["level"], "signals.level", false, string(signal.LevelHigh), string(signal.LevelMedium), string(signal.LevelLow), string(signal.LevelNone), string(signal.LevelHidden))),
		State:  signal.State(r.text(n, f["state"], "signals.state", false)),
		Detail: r.text(n, f["detail"], "signals.detail", false), Classification: r.text(n, f["classification"], "signals.classification", false), IP: r.text(n, f["ip"], "signals.ip", false),
		Subject: firstRef(of), ActivityAt: at, DetectedAt: at, UpdatedAt: at,
	}
	if s.State == "" {
		s.State = signal.StateAtRisk
	}
	if ids := r.list(n, f["key_ids"], "signals.key_ids", false); len(ids) > 0 {
		list, _ := json.Marshal(ids) // strings: cannot fail
		s.Info = append(s.Info, signal.KV{Key: "keyIds", Value: list})
	}
	return s
}
