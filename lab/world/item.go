package world

// Object is one resource under Graph's own property names. Values are what
// encoding/json would produce (string, bool, float64 or int, nil, []any,
// map[string]any or Object); instants are strings, always UTC with a "Z".
// Instants of users, devices and other directory objects have whole seconds,
// those of risk, sign-in, audit and security objects seven fraction digits,
// as the service sends them.
type Object = map[string]any

// Item is an immutable snapshot of one member of a collection. It may be kept
// after the call that handed it out.
type Item interface {
	// ID is the resource's id.
	ID() string
	// Value returns one top-level property without rendering the rest. ok is
	// false when the resource has no such property.
	Value(property string) (v any, ok bool)
	// Object renders all properties. The map must not be changed; it may be
	// shared with other callers.
	Object() Object
}

// Collection names a set of resources by its Graph path.
type Collection string

// The collections that Get, Walk and Count know.
const (
	Users                          Collection = "users"
	Groups                         Collection = "groups"
	Devices                        Collection = "devices"
	ServicePrincipals              Collection = "servicePrincipals"
	Applications                   Collection = "applications"
	OAuth2PermissionGrants         Collection = "oauth2PermissionGrants"
	Organization                   Collection = "organization"
	DirectoryRoles                 Collection = "directoryRoles"
	RoleDefinitions                Collection = "roleManagement/directory/roleDefinitions"
	RoleAssignments                Collection = "roleManagement/directory/roleAssignments"
	RoleAssignmentInstances        Collection = "roleManagement/directory/roleAssignmentScheduleInstances"
	RoleEligibilityInstances       Collection = "roleManagement/directory/roleEligibilityScheduleInstances"
	RiskDetections                 Collection = "identityProtection/riskDetections"
	RiskyUsers                     Collection = "identityProtection/riskyUsers"
	RiskyServicePrincipals         Collection = "identityProtection/riskyServicePrincipals"
	ServicePrincipalRiskDetections Collection = "identityProtection/servicePrincipalRiskDetections"
	SignIns                        Collection = "auditLogs/signIns"
	DirectoryAudits                Collection = "auditLogs/directoryAudits"
	Alerts                         Collection = "security/alerts_v2"
	Incidents                      Collection = "security/incidents"
	IdentityAccounts               Collection = "security/identities/identityAccounts"
	HealthIssues                   Collection = "security/identities/healthIssues"
	Sensors                        Collection = "security/identities/sensors"
	RegistrationDetails            Collection = "reports/authenticationMethods/userRegistrationDetails"
	ConditionalAccessPolicies      Collection = "identity/conditionalAccess/policies"
	NamedLocations                 Collection = "identity/conditionalAccess/namedLocations"
)

// Relations that Related knows, as in the last segment of a Graph path.
const (
	MemberOf              = "memberOf"               // users: groups and directory roles, direct
	TransitiveMemberOf    = "transitiveMemberOf"     // users: the same through nested groups
	Members               = "members"                // groups, directoryRoles
	TransitiveMembers     = "transitiveMembers"      // groups
	Owners                = "owners"                 // groups
	Manager               = "manager"                // users: none or one item
	RegisteredDevices     = "registeredDevices"      // users
	OwnedDevices          = "ownedDevices"           // users
	AppRoleAssignments    = "appRoleAssignments"     // users, servicePrincipals: granted to it
	AppRoleAssignedTo     = "appRoleAssignedTo"      // servicePrincipals: granted on it
	PermissionGrants      = "oauth2PermissionGrants" // users, servicePrincipals
	AuthenticationMethods = "authentication/methods" // users; each with its @odata.type
	History               = "history"                // riskyUsers, riskyServicePrincipals
	SensorHealthIssues    = "healthIssues"           // sensors
	IncidentAlerts        = "alerts"                 // incidents
)

// record is an Item over a finished Object.
type record struct {
	id  string
	obj Object
}

func (r *record) ID() string     { return r.id }
func (r *record) Object() Object { return r.obj }
func (r *record) Value(p string) (any, bool) {
	v, ok := r.obj[p]
	return v, ok
}
