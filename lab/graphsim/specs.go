package graphsim

import (
	"maps"
	"slices"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// Operators by kind of property, as the pages on $filter group them.
const (
	opEq    = "eq ne in"
	opDate  = "eq ne ge gt le lt"
	opText  = "eq ne in startswith"
	opSort  = opText + " ge le"
	opMail  = opSort + " endswith"
	opAny   = "any"
	opCount = "eq ne ge gt le lt"
)

// filterTable holds the operators that each property takes in $filter,
// separated by spaces.
type filterTable map[string]string

// filters builds the table of filterable properties from pairs of operators
// and property names.
func filters(pairs ...any) filterTable {
	out := filterTable{}
	for i := 0; i+1 < len(pairs); i += 2 {
		for _, p := range pairs[i+1].([]string) {
			out[p] = pairs[i].(string)
		}
	}
	return out
}

func names(s ...string) []string { return s }

// specOf returns what a collection documents. Numbers and lists are those of
// its reference page; see the package comment for those that have none.
func specOf(c world.Collection) *spec {
	s := riskSpec(c)
	if s == nil {
		s = securitySpec(c)
	}
	if s == nil {
		s = directorySpec(c)
	}
	s.props = properties(s.typ)
	if c == world.SignIns {
		beta := *s
		beta.props, beta.filters = maps.Clone(s.props), maps.Clone(s.filters)
		beta.props["signInEventTypes"], beta.filters["signInEventTypes"] = true, opEq+" any"
		s.beta = &beta
	}
	return s
}

func riskSpec(c world.Collection) *spec {
	switch c {
	case world.RiskDetections:
		return &spec{typ: "riskDetection", top: 20, max: 500, selects: true, newest: true,
			orders: names("activityDateTime", "detectedDateTime", "lastUpdatedDateTime"),
			filters: filters(
				opDate, names("activityDateTime", "detectedDateTime", "lastUpdatedDateTime"),
				opText, names("userPrincipalName", "userDisplayName"),
				opEq, names("id", "activity", "correlationId", "detectionTimingType", "ipAddress", "requestId", "riskDetail",
					"riskEventType", "riskLevel", "riskState", "source", "tokenIssuerType", "userId"))}
	case world.RiskyUsers:
		return &spec{typ: "riskyUser", top: 20, max: 500, selects: true, count: true, expands: names("history"),
			filters: filters(
				opDate, names("riskLastUpdatedDateTime"),
				opText, names("userPrincipalName", "userDisplayName"),
				opEq, names("id", "isDeleted", "isProcessing", "riskDetail", "riskLevel", "riskState"))}
	case world.RiskyServicePrincipals:
		return &spec{typ: "riskyServicePrincipal", top: 20, max: 500, selects: true, count: true, expands: names("history"),
			filters: filters(
				opDate, names("riskLastUpdatedDateTime"),
				opText, names("displayName"),
				opEq, names("id", "appId", "isEnabled", "isProcessing", "riskDetail", "riskLevel", "riskState", "servicePrincipalType"))}
	case world.ServicePrincipalRiskDetections:
		return &spec{typ: "servicePrincipalRiskDetection", top: 20, max: 500, selects: true, newest: true,
			filters: filters(
				opDate, names("activityDateTime", "detectedDateTime", "lastUpdatedDateTime"),
				opEq, names("id", "activity", "appId", "correlationId", "detectionTimingType", "ipAddress", "requestId", "riskDetail",
					"riskEventType", "riskLevel", "riskState", "source", "servicePrincipalId", "servicePrincipalDisplayName"))}
	case world.SignIns:
		return &spec{typ: "signIn", top: 1000, max: 1000, selects: true, newest: true, orders: names("createdDateTime"),
			filters: filters(
				opDate, names("createdDateTime"),
				opText, names("appDisplayName", "ipAddress", "userDisplayName", "userPrincipalName", "clientAppUsed", "resourceDisplayName"),
				opEq, names("id", "appId", "conditionalAccessStatus", "correlationId", "isInteractive", "resourceId", "riskDetail",
					"riskLevelAggregated", "riskLevelDuringSignIn", "riskState", "userId", "status/errorCode", "riskEventTypes_v2",
					"location/city", "location/countryOrRegion", "location/state"),
				opAny, names("riskEventTypes", "appliedConditionalAccessPolicies")).with("riskEventTypes_v2", opEq+" any")}
	case world.DirectoryAudits:
		return &spec{typ: "directoryAudit", top: 1000, max: 1000, selects: true, newest: true, orders: names("activityDateTime"),
			filters: filters(
				opDate, names("activityDateTime"),
				opText, names("activityDisplayName", "initiatedBy/user/displayName", "initiatedBy/user/userPrincipalName", "targetResources/displayName", "targetResources/userPrincipalName"),
				opEq, names("id", "category", "correlationId", "loggedByService", "operationType", "result", "initiatedBy/app/appId", "initiatedBy/app/displayName",
					"initiatedBy/app/servicePrincipalId", "initiatedBy/user/id", "targetResources/id", "targetResources/type"),
				opAny, names("targetResources"))}
	case world.RegistrationDetails:
		return &spec{typ: "userRegistrationDetails", top: 1000, max: 1000, selects: true,
			orders: names("userPrincipalName", "userDisplayName", "lastUpdatedDateTime"),
			filters: filters(
				opDate, names("lastUpdatedDateTime"),
				opText, names("userPrincipalName", "userDisplayName"),
				opEq, names("id", "isAdmin", "isMfaCapable", "isMfaRegistered", "isPasswordlessCapable", "isSsprCapable", "isSsprEnabled",
					"isSsprRegistered", "isSystemPreferredAuthenticationMethodEnabled", "userPreferredMethodForSecondaryAuthentication", "userType", "methodsRegistered"),
				opAny, names("systemPreferredAuthenticationMethods")).with("methodsRegistered", opEq+" any")}
	case world.ConditionalAccessPolicies:
		return &spec{typ: "conditionalAccessPolicy", top: 100, max: 999, selects: true, skip: true, count: true,
			orders:  names("displayName", "createdDateTime", "modifiedDateTime"),
			filters: filters(opDate, names("createdDateTime", "modifiedDateTime"), opText, names("displayName"), opEq, names("id", "state"))}
	case world.NamedLocations:
		return &spec{typ: "namedLocation", top: 100, max: 999, selects: true, skip: true, count: true,
			orders:  names("displayName", "createdDateTime", "modifiedDateTime"),
			filters: filters(opDate, names("createdDateTime", "modifiedDateTime"), opText, names("displayName"), opEq, names("id"))}
	}
	return nil
}

// with sets the operators of one more property.
func (f filterTable) with(property, ops string) filterTable {
	f[property] = ops
	return f
}

// more sets the operators of further properties.
func (f filterTable) more(ops string, properties ...string) filterTable {
	for _, p := range properties {
		f[p] = ops
	}
	return f
}

func securitySpec(c world.Collection) *spec {
	switch c {
	case world.Alerts:
		// $count, $filter, $skip and $top only: no $orderby, no $select.
		return &spec{typ: "security.alert", top: 100, max: 1000, skip: true, count: true, newest: true,
			filters: filters(
				opDate, names("createdDateTime", "lastUpdateDateTime"),
				opEq, names("assignedTo", "classification", "determination", "severity", "serviceSource", "status"))}
	case world.Incidents:
		return &spec{typ: "security.incident", top: 50, max: 50, skip: true, count: true, newest: true, expands: names("alerts"),
			filters: filters(
				opDate, names("createdDateTime", "lastUpdateDateTime"),
				opEq, names("assignedTo", "classification", "determination", "severity", "status"))}
	case world.HealthIssues:
		return &spec{typ: "security.healthIssue", top: 100, max: 1000, selects: true, skip: true, count: true,
			filters: filters(
				opDate, names("createdDateTime", "lastModifiedDateTime"),
				opText+" endswith", names("displayName", "domainNames", "sensorDNSNames"),
				opEq, names("id", "healthIssueType", "severity", "status")).
				with("domainNames", opText+" endswith contains any").with("sensorDNSNames", opText+" endswith contains any")}
	case world.Sensors:
		return &spec{typ: "security.sensor", top: 100, max: 1000, skip: true, count: true,
			filters: filters(
				opDate, names("createdDateTime"), opCount, names("openHealthIssuesCount"),
				opText, names("displayName", "domainName", "version"),
				opEq, names("id", "deploymentStatus", "healthStatus", "sensorType", "serviceStatus"))}
	case world.IdentityAccounts:
		return &spec{typ: "security.user", top: 100, max: 1000, selects: true,
			filters: filters(
				opText, names("displayName", "domain", "emailAddress", "userPrincipalName"),
				opEq, names("id", "cloudSecurityIdentifier", "isEnabled", "onPremisesSecurityIdentifier"))}
	}
	return nil
}

func directorySpec(c world.Collection) *spec {
	s := &spec{top: 100, max: 999, strict: true, selects: true, count: true, advanced: true}
	id := filters(opEq, names("id"))
	switch c {
	case world.Users:
		s.typ, s.orders = "user", names("displayName", "userPrincipalName")
		s.filters = id.
			more(opSort, "displayName", "givenName", "surname", "jobTitle", "department", "employeeId", "city", "country", "state", "companyName",
				"officeLocation", "mailNickname", "usageLocation", "mobilePhone", "onPremisesSamAccountName", "onPremisesDomainName", "employeeType").
			more(opMail, "mail", "userPrincipalName", "onPremisesUserPrincipalName").
			more(opEq, "accountEnabled", "userType", "onPremisesSyncEnabled", "onPremisesSecurityIdentifier", "onPremisesImmutableId", "securityIdentifier", "creationType", "externalUserState").
			more(opDate, "createdDateTime", "employeeHireDate", "onPremisesLastSyncDateTime", "signInActivity/lastSignInDateTime").
			more(opAny, "assignedLicenses", "otherMails", "proxyAddresses", "businessPhones", "identities").
			more(opCount, "assignedLicenses/$count", "otherMails/$count").
			with("otherMails", opMail+" any").with("proxyAddresses", opMail+" any").with("assignedLicenses/skuId", opEq)
	case world.Groups:
		s.typ, s.orders, s.expands = "group", names("displayName"), names("owners")
		s.filters = id.more(opSort, "displayName", "mail", "mailNickname", "description", "onPremisesSamAccountName").
			more(opEq, "isAssignableToRole", "mailEnabled", "onPremisesSyncEnabled", "onPremisesSecurityIdentifier", "securityEnabled", "securityIdentifier", "visibility").
			more(opDate, "createdDateTime").with("groupTypes", opEq+" any")
	case world.Devices:
		s.typ, s.orders, s.expands = "device", names("displayName"), names("registeredOwners")
		s.filters = id.more(opSort, "displayName", "operatingSystem", "operatingSystemVersion").
			more(opEq, "accountEnabled", "deviceId", "isCompliant", "isManaged", "onPremisesSyncEnabled", "trustType", "profileType").
			more(opDate, "approximateLastSignInDateTime", "registrationDateTime")
	case world.ServicePrincipals:
		s.typ, s.orders, s.expands = "servicePrincipal", names("displayName"), names("owners")
		s.filters = id.more(opSort, "displayName").more(opEq, "accountEnabled", "appId", "appOwnerOrganizationId", "servicePrincipalType").
			with("servicePrincipalNames", opText+" any").with("tags", opText+" any")
	case world.Applications:
		s.typ, s.orders, s.expands = "application", names("displayName"), names("owners")
		s.filters = id.more(opSort, "displayName").more(opEq, "appId", "signInAudience", "publisherDomain").
			more(opDate, "createdDateTime").with("identifierUris", opText+" any").with("tags", opText+" any")
	case world.DirectoryRoles:
		s.typ, s.filters, s.top, s.count = "directoryRole", id.more("eq", "displayName", "roleTemplateId"), 0, false
	case world.RoleDefinitions:
		s.typ, s.count, s.advanced = "unifiedRoleDefinition", false, false
		s.filters = id.more("eq startswith", "displayName").more("eq", "templateId", "isBuiltIn", "isEnabled", "isPrivileged")
	case world.RoleAssignments, world.RoleAssignmentInstances, world.RoleEligibilityInstances:
		s.typ, s.count, s.advanced, s.expands = roleType(c), false, false, names("principal", "roleDefinition")
		s.filters = id.more("eq in", "principalId", "roleDefinitionId").more("eq", "directoryScopeId", "appScopeId", "assignmentType", "memberType").
			more(opDate, "startDateTime", "endDateTime")
	case world.OAuth2PermissionGrants:
		s.typ, s.count, s.advanced = "oAuth2PermissionGrant", false, false
		s.filters = filters("eq", names("id", "clientId", "consentType", "principalId", "resourceId")).more("eq contains startswith", "scope")
	default: // organization
		s.typ, s.top, s.count = "organization", 0, false
	}
	return s
}

func roleType(c world.Collection) string {
	switch c {
	case world.RoleAssignmentInstances:
		return "unifiedRoleAssignmentScheduleInstance"
	case world.RoleEligibilityInstances:
		return "unifiedRoleEligibilityScheduleInstance"
	}
	return "unifiedRoleAssignment"
}

// single is the spec of one member of a collection: $select and $expand only.
func single(s *spec) *spec {
	one := &spec{typ: s.typ, props: s.props, selects: s.selects, expands: s.expands}
	if s.beta != nil {
		one.beta = single(s.beta)
	}
	return one
}

// specOfRelation is what the list behind a relation documents.
func specOfRelation(c world.Collection, relation string) *spec {
	s := &spec{typ: "user", top: 100, max: 999, strict: true, selects: true, count: true, advanced: true}
	switch relation {
	case world.History:
		s = &spec{typ: "riskyUserHistoryItem", top: 20, max: 500, selects: true}
		if c == world.RiskyServicePrincipals {
			s.typ = "riskyServicePrincipalHistoryItem"
		}
	case world.SensorHealthIssues:
		return specOf(world.HealthIssues)
	case world.RegisteredDevices, world.OwnedDevices:
		s.typ = "device"
	case world.AppRoleAssignments, world.AppRoleAssignedTo:
		s.typ, s.advanced, s.count = "appRoleAssignment", false, false
		s.filters = filters("eq", names("resourceId", "principalId", "appRoleId"))
	case world.PermissionGrants:
		return specOf(world.OAuth2PermissionGrants)
	case world.AuthenticationMethods:
		s = &spec{typ: "authenticationMethod"}
	}
	s.props = properties(s.typ)
	if s.typ == "user" {
		// Members are of several types: a property of any of them may be selected.
		for _, t := range names("group", "directoryRole", "device", "servicePrincipal") {
			for p := range properties(t) {
				s.props[p] = true
			}
		}
		s.filters = filters(opSort, names("displayName"), opEq, names("id"))
	}
	return s
}

// basicUser lists the properties that User.ReadBasic.All shows.
func basicUser() []string {
	return names("id", "displayName", "givenName", "surname", "mail", "userPrincipalName", "photo", "securityIdentifier")
}

// beyondBasic returns the first selected property that needs more than
// User.ReadBasic.All.
func beyondBasic(selects []string) (string, bool) {
	i := slices.IndexFunc(selects, func(s string) bool { return !slices.Contains(basicUser(), s) })
	if i < 0 {
		return "", false
	}
	return selects[i], true
}
