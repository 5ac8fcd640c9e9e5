package world

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// seedTenant makes the directory. Everything is drawn from w.rng in one fixed
// order, so the same options give the same tenant.
func (w *World) seedTenant(users int) {
	for _, c := range []Collection{RoleAssignments, RoleAssignmentInstances, RoleEligibilityInstances, RoleDefinitions, OAuth2PermissionGrants,
		RiskDetections, RiskyUsers, RiskyServicePrincipals, ServicePrincipalRiskDetections, SignIns, DirectoryAudits, Alerts,
		Incidents, HealthIssues, Sensors, ConditionalAccessPolicies, NamedLocations} {
		w.tables[c] = newTable()
	}
	w.tables[DirectoryRoles] = newTable("roleTemplateId")
	w.tables[ServicePrincipals] = newTable("appId")
	w.tables[Applications] = newTable("appId")
	w.people = people{byID: make(map[string]int, users), byUPN: make(map[string]int, users), w: w}
	w.tables[Users] = &w.people
	w.tables[RegistrationDetails] = registrations{w}
	w.groups = &groups{byID: map[string]*group{}}
	w.tables[Groups] = w.groups
	w.devices = &devices{byID: make(map[string]int, users/2), byDeviceID: make(map[string]int, users/2)}
	w.tables[Devices] = w.devices
	w.bySID, w.byNT = make(map[string]int, users), make(map[string]int, users)
	w.risk = riskEngine{map[string]*riskyUser{}, map[string]*detection{}, map[string]*signIn{}}
	w.sps = workloads{map[string]*riskyWorkload{}}
	w.security = security{w: w, incidents: map[string]string{}, alertsIn: map[string][]string{}, detection: map[string]string{}}
	w.rel = relations{map[string][]*record{}, map[string][]*record{}, map[string]*methods{}, map[string][]*record{}}

	s := &seeder{w: w, rng: w.rng, taken: make(map[string]int, users)}
	s.domainSID = fmt.Sprintf("S-1-5-21-%d-%d-%d", s.rng.Uint32(), s.rng.Uint32(), s.rng.Uint32())
	s.people(users)
	s.onPremisesOnly(max(12, users/100))
	s.groups()
	s.devices()
	s.roleDefinitions()
	s.roles(users)
	s.workloads()
	s.policies()
	s.sensors()
	s.identities()
	s.organization()
	s.activity()
}

type seeder struct {
	w               *World
	rng             *rand.Rand
	taken           map[string]int
	domainSID       string
	rid             int
	breakGlassGroup string
	members         []int // positions of ordinary members
}

// ago is an instant of the past in Unix seconds, between from and to days
// before the start.
func (s *seeder) ago(from, to int) int64 {
	span := (to - from) * 86400
	return s.w.start.Unix() - int64(from*86400) - int64(s.rng.IntN(max(span, 1)))
}

func (s *seeder) add(u *person) *person {
	u.pos, u.manager = len(s.w.people.list), -1
	u.id = s.w.newID()
	s.w.people.list = append(s.w.people.list, u)
	s.w.people.byID[u.id] = u.pos
	s.w.people.byUPN[strings.ToLower(u.upn)] = u.pos
	s.w.people.feed.log = append(s.w.people.feed.log, entry{id: u.id})
	return u
}

// people adds the emergency accounts, the synchronisation account, members and
// guests, in that order.
func (s *seeder) people(users int) {
	for i := 1; i <= 2; i++ {
		s.add(&person{upn: fmt.Sprintf("emergency-access-%d@%s", i, CloudDomain), display: fmt.Sprintf("Emergency Access %d", i),
			kind: KindBreakGlass, enabled: true, created: s.ago(900, 1000), passwordAt: s.ago(300, 400), fido: true})
	}
	s.add(&person{upn: "Sync_DC01_" + s.w.newHex(12) + "@" + CloudDomain, display: "On-Premises Directory Synchronization Service Account",
		kind: KindSyncAccount, enabled: true, created: s.ago(900, 1000), passwordAt: s.ago(300, 400)})
	guests := users / 20
	for i := range users - 3 {
		if i >= users-3-guests {
			s.guest(i)
			continue
		}
		s.member()
	}
	heads := map[string]int{}
	for _, pos := range s.members {
		u := s.w.people.list[pos]
		head, ok := heads[u.dept]
		if !ok {
			heads[u.dept] = pos
			u.job = titlesOf(u.dept)[0]
			continue
		}
		// One lead for about a dozen people, below the head of the department.
		u.manager = head
		if lead := heads[u.dept+"/lead"]; lead > 0 && s.w.people.list[lead].reports < 12 {
			u.manager = lead
		} else {
			heads[u.dept+"/lead"] = pos
		}
		s.w.people.list[u.manager].reports++
	}
	for _, u := range s.w.people.list {
		u.validFrom = max(u.created, u.passwordAt)
	}
}

func titlesOf(dept string) []string {
	for _, d := range departments {
		if d.name == dept {
			return d.titles
		}
	}
	return []string{"Employee"}
}

// name draws a person's name and a free local part.
func (s *seeder) name() (given, sur, local string) {
	given = givenNames[s.rng.IntN(len(givenNames))]
	sur = surnames[s.rng.IntN(len(surnames))]
	local = strings.ToLower(asciiOf.Replace(given + "." + sur))
	s.taken[local]++
	if n := s.taken[local]; n > 1 {
		local += itoa(n)
	}
	return given, sur, local
}

func (s *seeder) member() {
	given, sur, local := s.name()
	roll := s.rng.IntN(100)
	dept := departments[0]
	for _, d := range departments {
		if roll < d.share {
			dept = d
			break
		}
		roll -= d.share
	}
	u := &person{
		upn: local + "@" + CloudDomain, given: given, sur: sur, display: given + " " + sur, kind: KindMember,
		dept: dept.name, job: dept.titles[1+s.rng.IntN(len(dept.titles)-1)], office: offices[s.rng.IntN(len(offices))],
		employee: 10000 + len(s.members), enabled: s.rng.IntN(100) < 98, created: s.ago(60, 2000), passwordAt: s.ago(2, 180),
	}
	u.passwordAt = max(u.passwordAt, u.created)
	u.dormant = !u.enabled
	switch m := s.rng.IntN(100); {
	case m < 55:
		u.authenticator = true
	case m < 75:
		u.authenticator, u.phone = true, true
	case m < 85:
		u.phone = true
	case m < 90:
		u.authenticator, u.fido, u.passwordless = true, true, true
	}
	u.sspr = u.registered() && s.rng.IntN(100) < 80
	s.members = append(s.members, len(s.w.people.list))
	s.add(u)
	if s.rng.IntN(100) < 70 {
		s.synced(u, local)
	}
}

// synced gives a member their account in Active Directory.
func (s *seeder) synced(u *person, local string) {
	sam := local
	if len(sam) > 20 { // sAMAccountName of a user has at most 20 characters
		tail := itoa(u.pos)
		sam = sam[:20-len(tail)] + tail
	}
	u.onPrem = s.account(sam, u.display, "OU="+u.dept+",OU=Staff,DC=corp,DC=example", u.enabled, u.passwordAt, u.id).adNames
	u.onPrem.syncedAt = s.ago(0, 20)
}

// account adds an object to Active Directory.
func (s *seeder) account(sam, display, path string, enabled bool, passwordAt int64, userID string) *adAccount {
	s.rid++
	a := &adAccount{
		adNames: &adNames{
			sid: s.domainSID + "-" + itoa(1103+s.rid), guid: s.w.newID(), sam: sam, domain: ADDomain,
			dn: "CN=" + strings.ReplaceAll(display, ",", `\,`) + "," + path,
		},
		pos: len(s.w.ad), display: display, enabled: enabled, passwordAt: passwordAt, userID: userID,
	}
	s.w.ad = append(s.w.ad, a)
	s.w.bySID[a.sid] = a.pos
	s.w.byNT[strings.ToLower(NTDomain+`\`+sam)] = a.pos
	return a
}

func (s *seeder) guest(i int) {
	given, sur, local := s.name()
	host := []string{"partner.example", "supplier.example", "agency.example"}[i%3]
	s.add(&person{
		upn: local + "_" + host + "#EXT#@" + CloudDomain, given: given, sur: sur, display: given + " " + sur, kind: KindGuest,
		enabled: true, created: s.ago(30, 900), passwordAt: s.ago(30, 900),
	})
}

// onPremisesOnly adds accounts that are not synchronised: krbtgt and the
// service accounts of servers.
func (s *seeder) onPremisesOnly(n int) {
	k := s.account("krbtgt", "krbtgt", "CN=Users,DC=corp,DC=example", false, s.ago(200, 700), "")
	delete(s.w.bySID, k.sid)
	k.sid = s.domainSID + "-502" // a well-known relative identifier
	s.w.bySID[k.sid] = k.pos
	jobs := []string{"backup", "sql", "web", "print", "scan", "monitor", "deploy", "erp", "mes", "file", "report", "legacy"}
	for i := range n {
		name := "svc-" + jobs[i%len(jobs)]
		if i >= len(jobs) {
			name += itoa(i / len(jobs))
		}
		s.account(name, name, "OU=Service Accounts,DC=corp,DC=example", true, s.ago(100, 1500), "")
	}
}

func (s *seeder) group(g *group) *group {
	g.pos = len(s.w.groups.list)
	g.id = s.w.newID()
	g.created = s.ago(400, 1200)
	s.w.groups.list = append(s.w.groups.list, g)
	s.w.groups.byID[g.id] = g
	s.w.groups.feed.log = append(s.w.groups.feed.log, entry{id: g.id})
	if g.assignable {
		s.w.groups.assignable = append(s.w.groups.assignable, g.pos)
	}
	for _, id := range g.members {
		u := s.w.people.list[s.w.people.byID[id]]
		u.groups = append(u.groups, g.pos)
	}
	return g
}

func (s *seeder) groups() {
	list := s.w.people.list
	s.breakGlassGroup = s.group(&group{name: "Emergency access", description: "Excluded from Conditional Access. Do not change.",
		members: []string{list[0].id, list[1].id}}).id
	all := s.group(&group{name: "All staff", description: "Everybody employed", dynamic: `(user.employeeType -eq "Employee")`})
	var everybody []string
	byDept := map[string][]string{}
	for _, pos := range s.members {
		u := list[pos]
		everybody = append(everybody, u.id)
		u.groups = append(u.groups, all.pos)
		byDept[u.dept] = append(byDept[u.dept], u.id)
	}
	all.members = everybody
	var parents []int
	for _, d := range departments {
		g := &group{name: d.name, description: "Department " + d.name, members: byDept[d.name]}
		if d.name == "Production" || d.name == "Finance" {
			g.onPrem = s.account(strings.ToLower(d.name)+"-staff", d.name, "OU=Groups,DC=corp,DC=example", true, 0, "").adNames
			s.dropGroupAccount(g.onPrem)
		}
		parents = append(parents, s.group(g).pos)
	}
	s.group(&group{name: "Headquarters applications", description: "Access to headquarters applications", nested: parents[len(parents)-3:]})
	s.group(&group{name: "VPN users", description: "May use the VPN", members: sample(everybody, 7)})
}

// dropGroupAccount takes the SID of a group out of the list of accounts again:
// groups have names in Active Directory but are no user objects.
func (s *seeder) dropGroupAccount(n *adNames) {
	delete(s.w.bySID, n.sid)
	delete(s.w.byNT, strings.ToLower(NTDomain+`\`+n.sam))
	s.w.ad = s.w.ad[:len(s.w.ad)-1]
	n.syncedAt = s.ago(0, 20)
}

// sample takes every nth of a list.
func sample(list []string, n int) []string {
	var out []string
	for i := 0; i < len(list); i += n {
		out = append(out, list[i])
	}
	return out
}

func (s *seeder) devices() {
	systems := []struct{ os, version, trust string }{
		{"Windows", "10.0.26100.4652", "ServerAd"}, {"Windows", "10.0.26100.4652", "AzureAd"},
		{"MacOS", "15.6", "AzureAd"}, {"iPhone", "18.6", "Workplace"}, {"AndroidForWork", "15", "Workplace"},
	}
	for _, pos := range s.members {
		u := s.w.people.list[pos]
		if s.rng.IntN(100) >= 60 {
			continue
		}
		k := s.rng.IntN(len(systems))
		if u.onPrem == nil && k == 0 {
			k = 1
		}
		d := &device{id: s.w.newID(), deviceID: s.w.newID(), name: fmt.Sprintf("PC-%05d", u.employee), os: systems[k].os,
			version: systems[k].version, trust: systems[k].trust, owner: u.id, enabled: true, compliant: s.rng.IntN(10) > 0,
			registered: s.ago(20, 700), seen: s.ago(0, 15)}
		s.w.devices.add(d)
		u.devices = append(u.devices, d.pos)
	}
}

func (s *seeder) roleDefinitions() {
	t := s.w.tables[RoleDefinitions].(*table)
	for _, r := range builtInRoles {
		t.add(r.template, Object{"id": r.template, "templateId": r.template, "displayName": r.name, "description": r.name + " (built in)",
			"isBuiltIn": true, "isEnabled": true, "resourceScopes": []any{"/"}, "rolePermissions": []any{}, "version": "1"})
	}
}

// roles hands out directory roles: to the emergency accounts first, then to
// members (mostly cloud-only, of IT where there are enough) in order of weight.
func (s *seeder) roles(users int) {
	w := s.w
	give := func(u *person, role string, eligible bool) {
		r, _ := roleByName(role)
		w.grantRole(u.id, r.template, eligible, false)
	}
	for _, u := range w.people.list[:2] {
		give(u, "Global Administrator", false)
	}
	give(w.people.list[2], "Directory Synchronization Accounts", false)
	var cloud, hybrid []*person
	for _, pos := range s.members {
		u := w.people.list[pos]
		if !u.enabled || !u.registered() || u.reports > 0 {
			continue
		}
		switch {
		case u.onPrem != nil && u.dept == "IT":
			hybrid = append(hybrid, u)
		case u.onPrem == nil && u.dept == "IT":
			cloud = append([]*person{u}, cloud...)
		case u.onPrem == nil:
			cloud = append(cloud, u)
		}
	}
	plan := []struct {
		role             string
		active, eligible int
		synced           bool
	}{
		{"Global Administrator", 2, 2, false}, {"Security Administrator", 2, 2, false}, {"Helpdesk Administrator", 3, 1, true},
		{"Privileged Role Administrator", 1, 1, false}, {"Privileged Authentication Administrator", 1, 1, false},
		{"User Administrator", 3, 2, false}, {"Authentication Administrator", 2, 0, false}, {"Security Operator", 4, 0, true},
		{"Global Reader", 3, 0, false}, {"Application Administrator", 2, 1, false}, {"Exchange Administrator", 2, 0, false},
		{"Conditional Access Administrator", 1, 1, false}, {"Hybrid Identity Administrator", 1, 0, false},
		{"Groups Administrator", 1, 0, false}, {"Reports Reader", 2, 0, true}, {"Directory Readers", 3, 0, true},
	}
	// A small tenant has fewer administrators, and never runs out of people without a role.
	budget := max(1, min(len(cloud)*2/3, users/20))
	for _, p := range plan {
		for i := range p.active + p.eligible {
			pool := &cloud
			if p.synced && len(hybrid) > 1 {
				pool = &hybrid
			}
			if budget == 0 || len(*pool) == 0 {
				return
			}
			give((*pool)[0], p.role, i >= p.active)
			*pool = (*pool)[1:]
			budget--
		}
	}
	// Members of a role-assignable group are privileged although this one holds no role.
	if len(cloud) > 4 {
		s.group(&group{name: "Incident responders", description: "May be given directory roles", assignable: true,
			members: []string{cloud[0].id, cloud[1].id}})
		g := s.group(&group{name: "Tier 1 service desk", description: "Holds Helpdesk Administrator", assignable: true,
			members: []string{cloud[2].id}, owners: []string{cloud[3].id}})
		r, _ := roleByName("Helpdesk Administrator")
		w.grantRole(g.id, r.template, false, true)
	}
}

func (s *seeder) workloads() {
	w := s.w
	graph := s.firstParty("Microsoft Graph", graphAppID)
	s.firstParty("Office 365 Exchange Online", "00000002-0000-0ff1-ce00-000000000000")
	s.firstParty("Microsoft Defender for Identity", "60ca1954-583c-4d1f-86de-39d835f3e452")
	for i, name := range []string{"Payroll Sync", "ERP Connector", "Ticket Bridge", "Backup for Mail", "Data Lake Loader", "Intranet Search",
		"Build Pipeline", "Badge Reader Gateway", "Survey Tool", "Sensor Dashboard"} {
		sp := w.addApplication(name, w.newID(), 1+i%2)
		w.setAppRoles(sp.ID(), [][]string{{"User.Read.All"}, {"Mail.ReadWrite", "User.Read.All"}, {"Directory.Read.All"}}[i%3])
		if i%2 == 0 {
			id := w.newHex(43)
			w.tables[OAuth2PermissionGrants].(*table).add(id, Object{"id": id, "clientId": sp.ID(), "consentType": "AllPrincipals",
				"principalId": nil, "resourceId": graph, "scope": "User.Read openid profile"})
		} else if len(s.members) > 0 {
			id := w.newHex(43)
			w.tables[OAuth2PermissionGrants].(*table).add(id, Object{"id": id, "clientId": sp.ID(), "consentType": "Principal",
				"principalId": w.people.list[s.members[i%len(s.members)]].id, "resourceId": graph, "scope": "Mail.Read offline_access"})
		}
	}
}

func (s *seeder) firstParty(name, appID string) string {
	id := s.w.newID()
	s.w.tables[ServicePrincipals].(*table).add(id, Object{
		"id": id, "deletedDateTime": nil, "appId": appID, "displayName": name, "appDisplayName": name, "accountEnabled": true,
		"appOwnerOrganizationId": "f8cdef31-a31e-4b4a-93e4-5f571e91255a", "appRoleAssignmentRequired": false,
		"servicePrincipalType": "Application", "signInAudience": "AzureADMultipleOrgs", "disabledByMicrosoftStatus": nil,
		"keyCredentials": []any{}, "passwordCredentials": []any{}, "servicePrincipalNames": []any{appID}, "replyUrls": []any{},
		"tags": []any{}, "alternativeNames": []any{}, "appRoles": []any{}, "isDisabled": nil, "description": nil, "homepage": nil,
	})
	return id
}

func (s *seeder) sensors() {
	for _, x := range []struct{ name, kind string }{
		{"DC01", "domainControllerIntegrated"}, {"DC02", "domainControllerIntegrated"}, {"SYNC01", "adConnectIntegrated"},
	} {
		id := s.w.newID()
		s.w.tables[Sensors].(*table).add(id, Object{
			"@odata.type": "#microsoft.graph.security.sensor", "id": id, "displayName": x.name, "sensorType": x.kind,
			"version": "2.250.18900.12345", "deploymentStatus": "upToDate", "createdDateTime": stamp(s.w.start.AddDate(-1, 0, 0)),
			"domainName": ADDomain, "healthStatus": "healthy", "serviceStatus": "running", "openHealthIssuesCount": 0,
			"settings": Object{"@odata.type": "#microsoft.graph.security.sensorSettings", "description": x.name,
				"domainControllerDnsNames": []any{strings.ToLower(x.name) + "." + ADDomain}, "isDelayedDeploymentEnabled": false},
		})
	}
}

// identities correlates accounts of the two directories, as Defender does.
func (s *seeder) identities() {
	w := s.w
	ids := &identities{w: w, byID: make(map[string]int, len(w.people.list)+len(w.ad))}
	add := func(x identity) string {
		x.id = w.newID()
		ids.byID[x.id] = len(ids.list)
		ids.list = append(ids.list, x)
		return x.id
	}
	for _, a := range w.ad {
		a.identity = add(identity{ad: a.pos, user: a.userID})
	}
	for _, u := range w.people.list {
		if u.onPrem == nil {
			add(identity{ad: -1, user: u.id})
		}
	}
	w.tables[IdentityAccounts] = ids
}

func (s *seeder) organization() {
	s.w.tables[Organization] = &organization{s.w, Object{
		"id": s.w.tenant, "deletedDateTime": nil, "displayName": "Cordon Lab", "tenantType": "AAD", "onPremisesSyncEnabled": true,
		"createdDateTime": second(s.w.start.AddDate(-5, 0, 0).Unix()), "countryLetterCode": "DE", "country": "DE", "city": "Hamburg",
		"preferredLanguage": "en", "businessPhones": []any{}, "technicalNotificationMails": []any{}, "assignedPlans": []any{},
		"verifiedDomains": []any{Object{"name": CloudDomain, "isDefault": true, "isInitial": true, "type": "Managed", "capabilities": "Email"}},
	}}
}

// activity gives the logs an ordinary past: sign-ins of the last day, oldest
// first.
func (s *seeder) activity() {
	w := s.w
	n := min(len(s.members), 200)
	step := 24 * time.Hour / time.Duration(n+1)
	c := &change{w: w}
	for i := range n {
		u := w.people.list[s.members[i*len(s.members)/n]]
		if !u.enabled {
			continue
		}
		c.at = w.start.Add(-24*time.Hour + time.Duration(i)*step)
		c.signIn(u, attempt{at: c.at, app: []string{"", "Microsoft Teams", "Azure Portal"}[i%3]})
	}
}

// nameGUID derives a stable GUID from a name.
func nameGUID(name string) string {
	h := sha256.Sum256([]byte(name))
	h[6], h[8] = h[6]&0x0f|0x50, h[8]&0x3f|0x80
	x := hex.EncodeToString(h[:16])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}
