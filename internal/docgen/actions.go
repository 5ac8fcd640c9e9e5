package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// limits says what each published limit is. A bucket without words here shows by
// its name.
var limits = map[action.Bucket]string{
	action.BucketIdentityProtection: "identity protection: 1 request a second for the whole tenant, all applications together",
	action.BucketDirectoryWrite:     "directory writes: 3,000 in 150 s for an application in a tenant",
	action.BucketDirectoryRead:      "directory reads, in resource units",
	action.BucketReports:            "reports: 5 requests in 10 s for an application in a tenant",
	action.BucketMailbox:            "mailboxes: 10,000 requests in 10 min for an application and mailbox",
	activedirectory.Bucket:          "Active Directory: nobody publishes a limit; 16 writes at once to a controller",
	action.BucketSecurity:           "security: 150 requests in a minute for an application in a tenant",
}

// effects says what each class of effect is.
var effects = map[action.Effect]string{
	action.EffectVerdict:    "a verdict; the person feels nothing by itself",
	action.EffectRestrict:   "takes access away",
	action.EffectCredential: "takes a credential away",
	action.EffectRelease:    "gives access back; needs an approval unless the playbook says otherwise",
}

// fills says what the planner takes from the signals.
var fills = map[action.Fill]string{
	action.FillKeyIDs:     "the credentials they name",
	action.FillRequestIDs: "the sign-ins they name",
	action.FillAlertIDs:   "Defender's alerts among them",
	action.FillSince:      "when the earliest of them happened",
}

var directories = map[identity.Provider]string{
	identity.EntraID:         "Entra ID",
	identity.ActiveDirectory: "Active Directory",
}

func (f facts) actions() []byte {
	var b bytes.Buffer
	specs := f.catalogue.Specs()
	fmt.Fprintf(&b, `# Actions

<!-- Generated from the actions' own descriptions by go generate; do not edit. -->

What Cordon can change: %d actions. An action brings an account to a *state*
rather than performing a gesture. Each is looked at before (the value it replaces
is recorded), sent once, and **verified** only when the directory itself shows the
state afterwards; until then it is *accepted*, and without proof within its
deadline *unconfirmed*, then *failed*.

Playbooks name an action with its version, such as
`+"`uses: %s@%d`"+`. What each needs to be granted is gathered in
[permissions.md](permissions.md). To write one: "Where to add" in
[ARCHITECTURE.md](../ARCHITECTURE.md).

| Action | What it does | Undo | Limit it counts against |
|---|---|---|---|
`, len(specs), specs[0].Name, specs[0].Version)
	for _, s := range specs {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s |\n", s.Name, anchor(s.Name), s.Title, undo(s), s.Bucket)
	}
	for _, s := range specs {
		f.action(&b, s)
	}
	fmt.Fprint(&b, `
## Routes

A playbook may ask by intent. The planner then picks the action of the directory
that is the authority for the identity: a synchronised account is Active
Directory's. Where no action is listed, or the directory is not connected, the
step is held and says so, and the other steps go on.

| Route | What it does |`)
	shown := []identity.Provider{identity.EntraID, identity.ActiveDirectory}
	for _, p := range shown {
		fmt.Fprintf(&b, " %s |", directories[p])
	}
	fmt.Fprint(&b, "\n|---|---|", strings.Repeat("---|", len(shown)), "\n")
	for _, r := range f.catalogue.Routes() {
		fmt.Fprintf(&b, "| `%s` | %s |", r.Name, r.Title)
		for _, p := range shown {
			fmt.Fprintf(&b, " %s |", cmp.Or(quoted(r.To[p]), "held"))
		}
		fmt.Fprintln(&b)
	}
	return b.Bytes()
}

func (f facts) action(b *bytes.Buffer, s action.Spec) {
	where := cmp.Or(directories[s.Provider], string(s.Provider))
	if s.Via != "" {
		where += ", through " + cmp.Or(directories[s.Via], string(s.Via))
	}
	fmt.Fprintf(b, "\n## %s\n\n**%s** in %s. %s\n\n", s.Name, s.Title, where, s.Summary)
	row := func(name, text string) { fmt.Fprintf(b, "| %s | %s |\n", name, text) }
	fmt.Fprint(b, "| | |\n|---|---|\n")
	row("Version", fmt.Sprint(s.Version))
	row("Effect", cmp.Or(effects[s.Effect], string(s.Effect)))
	row("Remedy for", cmp.Or(causes(s), "nothing by itself"))
	row("Limits", s.Limits)
	if s.Undo != "" {
		row("Undo", fmt.Sprintf("%s, from the value that was recorded", quoted(s.Undo)))
	} else {
		row("Undo", "none: "+s.Irreversible)
	}
	row("Permissions", code(s.Permissions))
	if s.Password {
		row("Password kept elsewhere", "while the identity is tagged `PAM` it is held, and says that the password is changed there")
	}
	if s.DirectoryRole != "" {
		row("For administrators", fmt.Sprintf("the app itself must hold the directory role %s; without it the step fails and says so", s.DirectoryRole))
	}
	row("Proof", s.Proof)
	row("Proof within", fmt.Sprintf("%s of the acceptance; an effect may take %s to show", duration(s.Within), duration(s.Propagation)))
	row("Requests", requests(s))
	if s.NeverRepeat {
		row("Unknown outcome", "read until the deadline, then a person decides; never sent twice")
	} else {
		row("Unknown outcome", "read first; sent again only when the state is not there")
	}
	for _, p := range s.Params {
		row("Input `"+p.Name+"`", input(p))
	}
	if by := f.usedBy(s.Name); len(by) > 0 {
		row("Used by", code(by))
	}
}

func undo(s action.Spec) string {
	if s.Undo == "" {
		return "no"
	}
	return quoted(s.Undo)
}

func quoted(n action.Name) string {
	if n == "" {
		return ""
	}
	return "`" + string(n) + "`"
}

func causes(s action.Spec) string {
	var out []string
	for _, c := range s.Remedies {
		out = append(out, string(c))
	}
	return strings.Join(out, ", ")
}

func requests(s action.Spec) string {
	text := "one for each account"
	if s.Batch > 1 {
		text = fmt.Sprintf("one for up to %d accounts", s.Batch)
	}
	text += ", counted against " + cmp.Or(limits[s.Bucket], string(s.Bucket)) + fmt.Sprintf("; a reading covers up to %d", max(s.ReadBatch, 1))
	if read := cmp.Or(s.ReadBucket, action.BucketDirectoryRead); read != s.Bucket {
		return text + ", counted against " + cmp.Or(limits[read], string(read))
	}
	return text + ", counted likewise"
}

func input(p action.Param) string {
	text := p.Text + " (" + p.Type
	if p.Required {
		text += ", required"
	}
	if p.Default != nil {
		text += fmt.Sprintf(", default `%v`", p.Default)
	}
	if p.Fill != "" {
		text += ", else from the open signals: " + fills[p.Fill]
	}
	return text + ")"
}

// usedBy returns the shipped playbooks with a step of that action, directly or by
// a route.
func (f facts) usedBy(n action.Name) []string {
	var out []string
	for _, p := range f.books {
		for _, s := range p.Steps {
			r, _ := f.catalogue.Route(s.Uses)
			if s.Uses == n || slices.Contains(ends(r), n) {
				out = append(out, p.Ref.ID)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func ends(r action.Route) []action.Name {
	var out []action.Name
	for _, to := range r.To {
		out = append(out, to)
	}
	return out
}

// anchor is how GitHub names a heading.
func anchor(n action.Name) string { return strings.ReplaceAll(strings.ToLower(string(n)), ".", "") }
