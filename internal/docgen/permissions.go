package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
)

// purposes says what each stream brings. A stream without words here fails the
// test.
var purposes = map[connector.Name]string{
	"entraid.directory":                       "who holds which directory role, active and eligible, custom and of a unit; who is in the protected groups, and whose the protected names are",
	"entraid.userChanges":                     "all users once, then what changed of them: names, source of authority, password times",
	"entraid.riskDetections":                  "Entra ID Protection's detections about people",
	"entraid.servicePrincipalRiskDetections":  "its detections about workloads; needs Workload Identities Premium",
	"entraid.riskyUsers":                      "Microsoft's own opinion of each user, and its history",
	"entraid.riskyServicePrincipals":          "the same of each application",
	"entraid.agentRiskDetections":             "detections about agents; Graph's beta",
	"entraid.riskyAgents":                     "Microsoft's own opinion of each agent; Graph's beta",
	"defender.alerts":                         "alerts of Microsoft Defender, those of Defender for Identity among them; what says of nobody that they are at risk is a record",
	"defender.incidents":                      "incidents, as records",
	"defender.sensors":                        "sensors of Defender for Identity, as records and as feeds that may fall silent",
	"defender.healthIssues":                   "their health issues, as records",
	"entraid.signIns/interactiveUser":         "interactive sign-ins of the last week and from then on, as records",
	"entraid.signIns/nonInteractiveUser":      "sign-ins with a token that was there already, as records; Graph's beta",
	"entraid.signIns/servicePrincipal":        "sign-ins of applications, as records; Graph's beta",
	"entraid.signIns/managedIdentity":         "sign-ins of managed identities, as records; Graph's beta",
	"entraid.riskySignIns":                    "what became of the sign-ins at risk of the last two days",
	"entraid.directoryAudits":                 "who changed what in the directory, as records",
	"entraid.registration":                    "who can pass multifactor authentication, and who has no password",
	"entraid.objects/servicePrincipal":        "service principals with their credentials and owners, as records",
	"entraid.objects/application":             "application registrations with their credentials and owners, as records",
	"entraid.objects/device":                  "devices with their owners, as records",
	"entraid.objects/group":                   "groups with their owners, as records",
	"entraid.objects/conditionalAccessPolicy": "conditional access policies, as records",
	"entraid.objects/namedLocation":           "named locations, as records",
	"entraid.users":                           "facts of single accounts and applications, and how somebody can sign in, for identities with an open case only",
}

func (f facts) streamTable() string {
	var b strings.Builder
	fmt.Fprint(&b, "| Stream | What it brings | Read every | Application permissions |\n|---|---|---|---|\n")
	for _, s := range f.streams {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Name, purposes[s.Name], interval(s.Every), code(s.Permissions))
	}
	return b.String()
}

// interval is how often a stream is read; a negative one is off unless it is given.
func interval(d time.Duration) string {
	if d < 0 {
		return "off"
	}
	return duration(d)
}

func (f facts) permissions() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Permissions

<!-- Generated from connectors, actions and playbooks by go generate; do not edit. -->

Application permissions of Microsoft Graph, least privilege, with admin consent.
`+"`cordon doctor --config cordon.yaml`"+` compares them with what was granted: what is
missing, what is broader than needed, and what nothing needs. It does the same with
the directory roles that the app's service principal holds.

Give the reader's set first and leave the tenant in `+"`mode: observe`"+`: Cordon then
plans and shows, and could not change anything if it wanted to.

## Reader: see everything, change nothing

%s
`+"`SecurityIdentitiesSensors.Read.All`"+` is optional: with it `+"`cordon doctor`"+` also tells
whether Defender for Identity's sensors are well.

## Responder: what the shipped playbooks do

%s
Where a .ReadWrite permission stands, it takes the place of the .Read one above.
Grant only what the playbooks in use need:

| Playbook | Permissions beside the reader's | Directory role, for administrators |
|---|---|---|
`, bullets(f.reader()), bullets(f.responder()))
	reader := f.reader()
	for _, r := range f.requires {
		more := slices.DeleteFunc(slices.Clone(r.Permissions), func(n string) bool { return slices.Contains(reader, n) })
		roles := strings.Join(r.DirectoryRoles, ", ")
		if roles == "" {
			roles = "none"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Playbook, code(more), roles)
	}
	fmt.Fprintf(&b, `
What undoing needs is counted in.

## Administrators

Microsoft lets an application change somebody who holds a directory role only when
the application's own service principal holds a role above it, whatever
permissions it has. For Cordon that is
**%s**, assigned to the service principal
(Entra admin centre, Roles and administrators). Without it the steps on
administrators fail, with that reason, and everybody else is served. It is a
powerful role: leave it out where administrators shall be contained by hand.

Source: Microsoft Graph, "Who can perform sensitive actions".

## By stream

%s
## By action

| Action | Application permissions | Directory role, for administrators |
|---|---|---|
`, strings.Join(f.roles(), ", "), f.streamTable())
	for _, s := range f.catalogue.Specs() {
		role := s.DirectoryRole
		if role == "" {
			role = "none"
		}
		fmt.Fprintf(&b, "| [`%s`](actions.md#%s) | %s | %s |\n", s.Name, anchor(s.Name), code(s.Permissions), role)
	}
	return b.Bytes()
}

// roles are the directory roles that some action asks for.
func (f facts) roles() []string {
	var out []string
	for _, s := range f.catalogue.Specs() {
		if s.DirectoryRole != "" {
			out = append(out, s.DirectoryRole)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
