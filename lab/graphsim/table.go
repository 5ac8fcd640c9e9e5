package graphsim

import (
	"strings"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// Permission groups that return in many routes, from the permission map of
// Microsoft Graph, least privileged first.
const (
	readUsers    = "User.Read.All User.ReadWrite.All Directory.Read.All Directory.ReadWrite.All"
	listUsers    = "User.ReadBasic.All " + readUsers
	readRisk     = "IdentityRiskEvent.Read.All IdentityRiskEvent.ReadWrite.All"
	readRisky    = "IdentityRiskyUser.Read.All IdentityRiskyUser.ReadWrite.All"
	readRiskySP  = "IdentityRiskyServicePrincipal.Read.All IdentityRiskyServicePrincipal.ReadWrite.All"
	writeRisky   = "IdentityRiskyUser.ReadWrite.All"
	writeRiskySP = "IdentityRiskyServicePrincipal.ReadWrite.All"
	readAlerts   = "SecurityAlert.Read.All SecurityAlert.ReadWrite.All"
	writeAlerts  = "SecurityAlert.ReadWrite.All"
	readInc      = "SecurityIncident.Read.All SecurityIncident.ReadWrite.All"
	writeInc     = "SecurityIncident.ReadWrite.All"
	readGroups   = "GroupMember.Read.All Group.Read.All Group.ReadWrite.All GroupMember.ReadWrite.All Group.ReadBasic.All Directory.Read.All Directory.ReadWrite.All"
	readMembers  = "GroupMember.ReadBasic.All " + readGroups
	readMemberOf = readUsers + " GroupMember.Read.All GroupMember.ReadBasic.All Group.Read.All Group.ReadBasic.All"
	writeMembers = "GroupMember.ReadWrite.All Group.ReadWrite.All Directory.ReadWrite.All"
	readRoles    = "RoleManagement.Read.Directory RoleManagement.ReadWrite.Directory RoleManagement.Read.All Directory.Read.All Directory.ReadWrite.All"
	writeRoles   = "RoleManagement.ReadWrite.Directory"
	readActive   = "RoleAssignmentSchedule.Read.Directory RoleAssignmentSchedule.ReadWrite.Directory RoleManagement.Read.All RoleManagement.Read.Directory RoleManagement.ReadWrite.Directory"
	readEligible = "RoleEligibilitySchedule.Read.Directory RoleEligibilitySchedule.ReadWrite.Directory RoleManagement.Read.All RoleManagement.Read.Directory RoleManagement.ReadWrite.Directory"
	readApps     = "Application.Read.All Application.ReadWrite.OwnedBy Application.ReadWrite.All Directory.Read.All Directory.ReadWrite.All"
	writeApps    = "Application.ReadWrite.All Directory.ReadWrite.All"
	readDevices  = "Device.Read.All Device.ReadWrite.All Directory.Read.All Directory.ReadWrite.All"
	readGrants   = "Directory.Read.All DelegatedPermissionGrant.ReadWrite.All Directory.ReadWrite.All"
	readAudit    = "AuditLog.Read.All"
	readPolicy   = "Policy.Read.All"
	// Writing conditional access takes both permissions.
	writePolicy = "Policy.ReadWrite.ConditionalAccess;Policy.Read.All"
	readMethods = "UserAuthenticationMethod.Read.All UserAuthenticationMethod.ReadWrite.All"
	readHealth  = "SecurityIdentitiesHealth.Read.All SecurityIdentitiesHealth.ReadWrite.All"
	readSensors = "SecurityIdentitiesSensors.Read.All SecurityIdentitiesSensors.ReadWrite.All"
)

// table collects routes.
type table []*route

// add appends an operation. needs lists permissions separated by spaces, of
// which one is enough; groups separated by ";" must all be met.
func (t *table) add(op, needs string, c class, units float64, run func(*call) (reply, error)) *route {
	method, pattern, _ := strings.Cut(op, " ")
	rt := &route{method: method, class: c, units: units, run: run}
	for s := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		if strings.HasPrefix(s, "{") {
			s = "{}"
		}
		rt.pattern = append(rt.pattern, s)
	}
	for g := range strings.SplitSeq(needs, ";") {
		if f := strings.Fields(g); len(f) > 0 {
			rt.needs = append(rt.needs, f)
		}
	}
	*t = append(*t, rt)
	return rt
}

// collection adds GET of a collection, of its $count, and of one member.
func (t *table) collection(coll world.Collection, needs string, c class, listUnits float64) {
	s := specOf(coll)
	path := "/" + string(coll)
	t.add("GET "+path, needs, c, listUnits, list(coll)).spec = s
	if s.count {
		t.add("GET "+path+"/$count", needs, c, listUnits, countOnly(coll)).spec = s
	}
	t.add("GET "+path+"/{id}", needs, c, 1, one(coll)).spec = single(s)
}

// related adds GET of a relation.
func (t *table) related(coll world.Collection, relation, needs string, c class, units float64) {
	t.add("GET /"+string(coll)+"/{id}/"+relation, needs, c, units, related(coll, relation)).spec = specOfRelation(coll, relation)
}

// allRoutes is every operation that the lab simulates.
func allRoutes() []*route {
	var t table
	t.risk()
	t.people()
	t.directory()
	t.security()
	return t
}

func (t *table) risk() {
	const c = classIdentityProtection
	t.collection(world.RiskDetections, readRisk, c, 1)
	t.collection(world.RiskyUsers, readRisky, c, 1)
	t.related(world.RiskyUsers, world.History, readRisky, c, 1)
	t.add("GET /identityProtection/riskyUsers/{id}/history/{item}", readRisky, c, 1, historyItem(world.RiskyUsers)).spec = single(specOfRelation(world.RiskyUsers, world.History))
	for _, v := range []world.Verdict{world.ConfirmCompromised, world.ConfirmSafe, world.Dismiss} {
		t.add("POST /identityProtection/riskyUsers/"+string(v), writeRisky, c, 1, userFeedback(v))
		t.add("POST /auditLogs/signIns/"+string(v), "IdentityRiskEvent.ReadWrite.All", classReports, 1, signInFeedback(v))
	}
	t.collection(world.RiskyServicePrincipals, readRiskySP, c, 1)
	t.related(world.RiskyServicePrincipals, world.History, readRiskySP, c, 1)
	for _, v := range []world.Verdict{world.ConfirmCompromised, world.Dismiss} {
		t.add("POST /identityProtection/riskyServicePrincipals/"+string(v), writeRiskySP, c, 1, servicePrincipalFeedback(v))
	}
	const readAgents = "IdentityRiskyAgent.Read.All IdentityRiskyAgent.ReadWrite.All"
	t.add("GET /identityProtection/riskyAgents", readAgents, c, 1, onlyBeta(listAgents)).spec = agentSpec()
	for _, v := range []world.Verdict{world.ConfirmCompromised, world.ConfirmSafe, world.Dismiss} {
		t.add("POST /identityProtection/riskyAgents/"+string(v), "IdentityRiskyAgent.ReadWrite.All", c, 1, onlyBeta(agentFeedback(v)))
	}
	t.collection(world.ServicePrincipalRiskDetections, readRisk, c, 1)
	t.collection(world.SignIns, readAudit, classReports, 1)
	t.collection(world.DirectoryAudits, "AuditLog.Read.All Directory.Read.All", classReports, 1)
	t.collection(world.RegistrationDetails, readAudit, classReports, 1)

	for _, coll := range []world.Collection{world.ConditionalAccessPolicies, world.NamedLocations} {
		t.collection(coll, readPolicy, c, 1)
		t.add("POST /"+string(coll), writePolicy, c, 1, create(coll))
		t.add("PATCH /"+string(coll)+"/{id}", writePolicy, c, 1, update(coll, 204))
		t.add("DELETE /"+string(coll)+"/{id}", writePolicy, c, 1, remove(coll))
	}
}

func (t *table) people() {
	const c = classDirectory
	t.collection(world.Users, listUsers, c, 2)
	t.add("GET /users/delta", readUsers, c, 1, delta(world.Users)).spec = specOf(world.Users)
	t.add("PATCH /users/{id}", listPatchUsers, c, 1, patchUser)
	t.add("DELETE /users/{id}", "User.DeleteRestore.All User.ReadWrite.All Directory.ReadWrite.All", c, 1, remove(world.Users))
	t.add("POST /users/{id}/revokeSignInSessions", "User.RevokeSessions.All User.ReadWrite.All Directory.ReadWrite.All", c, 1, revokeSessions)
	t.related(world.Users, world.MemberOf, readMemberOf, c, 2)
	t.related(world.Users, world.TransitiveMemberOf, readMemberOf, c, 2)
	t.related(world.Users, world.RegisteredDevices, readUsers, c, 1)
	t.related(world.Users, world.OwnedDevices, readUsers, c, 1)
	t.related(world.Users, world.AppRoleAssignments, "Directory.Read.All AppRoleAssignment.ReadWrite.All Directory.ReadWrite.All", c, 1)
	t.related(world.Users, world.PermissionGrants, readGrants, c, 1)
	t.add("GET /users/{id}/manager", readUsers, c, 1, manager).spec = single(specOf(world.Users))

	const x = classMailbox
	rules := "/users/{id}/mailFolders/inbox/messageRules"
	t.add("GET "+rules, "MailboxSettings.Read MailboxSettings.ReadWrite", x, 1, listRules)
	t.add("PATCH "+rules+"/{rule}", "MailboxSettings.ReadWrite", x, 1, updateRule)
	t.add("DELETE "+rules+"/{rule}", "MailboxSettings.ReadWrite", x, 1, deleteRule)

	const m = classReports // authenticationMethod is counted with the reports
	t.related(world.Users, world.AuthenticationMethods, readMethods, m, 1)
	t.add("GET /users/{id}/authentication/methods/{method}", readMethods, m, 1, oneMethod("")).spec = single(specOfRelation(world.Users, world.AuthenticationMethods))
	for _, k := range methodKinds() {
		base := "/users/{id}/authentication/" + k.path
		t.add("GET "+base, k.read+" "+readMethods, m, 1, methodsOf(k)).spec = specOfRelation(world.Users, world.AuthenticationMethods)
		t.add("GET "+base+"/{method}", k.read+" "+readMethods, m, 1, oneMethod(k.typ)).spec = single(specOfRelation(world.Users, world.AuthenticationMethods))
		if k.write != "" {
			t.add("DELETE "+base+"/{method}", k.write+" UserAuthenticationMethod.ReadWrite.All", m, 1, deleteMethod)
		}
	}
	t.add("POST /users/{id}/authentication/temporaryAccessPassMethods", "UserAuthMethod-TAP.ReadWrite.All UserAuthenticationMethod.ReadWrite.All", m, 1, addPass)
	// Delegated only: no application permission admits it.
	t.add("POST /users/{id}/authentication/methods/{method}/resetPassword", "", m, 1, nil)
}

// listPatchUsers admits to PATCH /users; which property needs which is
// checked by patchUser.
const listPatchUsers = "User.EnableDisableAccount.All User-PasswordProfile.ReadWrite.All User.ReadWrite.All Directory.ReadWrite.All"

func (t *table) directory() {
	const c = classDirectory
	t.collection(world.Groups, readGroups, c, 1)
	t.add("GET /groups/delta", readGroups, c, 1, delta(world.Groups)).spec = specOf(world.Groups)
	t.related(world.Groups, world.Members, readMembers, c, 3)
	t.related(world.Groups, world.TransitiveMembers, readMembers, c, 5)
	t.related(world.Groups, world.Owners, readGroups, c, 2)
	t.add("POST /groups/{id}/members/$ref", writeMembers, c, 1, addMember(world.Groups))
	t.add("DELETE /groups/{id}/members/{member}/$ref", writeMembers, c, 1, removeMember(world.Groups))

	t.collection(world.DirectoryRoles, readRoles, c, 1)
	t.related(world.DirectoryRoles, world.Members, readRoles, c, 1)
	t.add("POST /directoryRoles/{id}/members/$ref", writeRoles, c, 1, addMember(world.DirectoryRoles))
	t.add("DELETE /directoryRoles/{id}/members/{member}/$ref", writeRoles, c, 1, removeMember(world.DirectoryRoles))
	t.collection(world.RoleDefinitions, readRoles, c, 1)
	t.collection(world.RoleAssignments, readRoles, c, 1)
	t.add("DELETE /roleManagement/directory/roleAssignments/{id}", writeRoles, c, 1, remove(world.RoleAssignments))
	t.collection(world.RoleAssignmentInstances, readActive, c, 1)
	t.collection(world.RoleEligibilityInstances, readEligible, c, 1)
	t.add("POST /roleManagement/directory/roleAssignmentScheduleRequests", writeRoles+" RoleAssignmentSchedule.ReadWrite.Directory RoleAssignmentSchedule.Remove.Directory", c, 1, requestRole(false))
	t.add("POST /roleManagement/directory/roleEligibilityScheduleRequests", writeRoles+" RoleEligibilitySchedule.ReadWrite.Directory RoleEligibilitySchedule.Remove.Directory", c, 1, requestRole(true))

	t.collection(world.ServicePrincipals, readApps, c, 1)
	t.add("PATCH /servicePrincipals/{id}", writeApps, c, 1, update(world.ServicePrincipals, 204))
	t.related(world.ServicePrincipals, world.AppRoleAssignments, readApps, c, 2)
	t.related(world.ServicePrincipals, world.AppRoleAssignedTo, readApps, c, 1)
	t.related(world.ServicePrincipals, world.PermissionGrants, readGrants, c, 1)
	// Both permissions are needed. Source: "Grant an appRoleAssignment to a service
	// principal".
	const assign = "AppRoleAssignment.ReadWrite.All;Application.Read.All Application.ReadWrite.All Directory.Read.All"
	t.add("POST /servicePrincipals/{id}/appRoleAssignments", assign, c, 1, assignAppRole)
	t.add("DELETE /servicePrincipals/{id}/appRoleAssignments/{assignment}", "AppRoleAssignment.ReadWrite.All", c, 1, removeAppRole)
	t.collection(world.Applications, readApps, c, 2)
	t.add("PATCH /applications/{id}", "Application.ReadWrite.All", c, 1, update(world.Applications, 204))
	for _, coll := range []world.Collection{world.ServicePrincipals, world.Applications} {
		t.add("POST /"+string(coll)+"/{id}/removePassword", writeApps, c, 1, removePassword(coll))
		t.add("POST /"+string(coll)+"/{id}/removeKey", writeApps, c, 1, removeKey)
	}

	t.collection(world.Devices, readDevices, c, 1)
	t.add("PATCH /devices/{id}", "Device.ReadWrite.All Directory.ReadWrite.All", c, 1, update(world.Devices, 204))
	t.collection(world.OAuth2PermissionGrants, readGrants, c, 2)
	t.add("POST /oauth2PermissionGrants", "DelegatedPermissionGrant.ReadWrite.All Directory.ReadWrite.All", c, 1, grantConsent)
	t.add("DELETE /oauth2PermissionGrants/{id}", "DelegatedPermissionGrant.ReadWrite.All Directory.ReadWrite.All", c, 1, remove(world.OAuth2PermissionGrants))
	t.collection(world.Organization, "Organization.Read.All "+readUsers, c, 1)
	t.add("POST /directoryObjects/getByIds", "Directory.Read.All Directory.ReadWrite.All "+readUsers, c, 5, getByIDs).spec = &spec{selects: true, typ: "user", props: properties("user")}
}

func (t *table) security() {
	const c = classSecurity
	t.collection(world.Alerts, readAlerts, c, 1)
	t.add("PATCH /security/alerts_v2/{id}", writeAlerts, c, 1, update(world.Alerts, 200))
	t.add("POST /security/alerts_v2/{id}/comments", writeAlerts, c, 1, comment(world.Alerts))
	t.collection(world.Incidents, readInc, c, 1)
	t.add("PATCH /security/incidents/{id}", writeInc, c, 1, update(world.Incidents, 200))
	t.add("POST /security/incidents/{id}/comments", writeInc, c, 1, comment(world.Incidents))

	const i = classSecurityIdentities
	t.collection(world.HealthIssues, readHealth, i, 1)
	t.add("PATCH /security/identities/healthIssues/{id}", "SecurityIdentitiesHealth.ReadWrite.All", i, 1, update(world.HealthIssues, 204))
	t.collection(world.Sensors, readSensors, i, 1)
	t.related(world.Sensors, world.SensorHealthIssues, readSensors, i, 1)
	t.collection(world.IdentityAccounts, "SecurityIdentitiesAccount.Read.All", i, 1)
	t.add("POST /security/identities/identityAccounts/{id}/invokeAction", "SecurityIdentitiesActions.ReadWrite.All", i, 1, invokeAction)
}
