package world

// Actor is who asks for a change. An app-only caller sets AppID and
// ServicePrincipalID (AddApp returns one filled in); a person sets UserID.
// The zero Actor is Microsoft's own service.
type Actor struct {
	AppID              string
	ServicePrincipalID string
	DisplayName        string
	UserID             string
	UserPrincipalName  string
	IPAddress          string
}

// App is an application to be registered in the tenant.
type App struct {
	AppID          string // client id, a GUID; required
	DisplayName    string
	DirectoryRoles []string // display names or template ids of Entra roles that its service principal holds, active
	AppRoles       []string // Graph application permissions consented to, "User.Read.All"; shown as appRoleAssignments
}

// Sensitive names a change that Entra allows on a privileged person only to a
// caller with a sufficient directory role.
type Sensitive string

// The sensitive changes. Microsoft lists accountEnabled, passwordProfile and
// a few contact and identity properties; revoking sessions obeys the same rule
// as resetting a password.
const (
	SetAccountEnabled Sensitive = "accountEnabled"
	SetPassword       Sensitive = "passwordProfile"
	RevokeSessions    Sensitive = "revokeSignInSessions"
	SetIdentity       Sensitive = "identity" // businessPhones, mobilePhone, otherMails, userPrincipalName, onPremisesImmutableId
	SetMethods        Sensitive = "authenticationMethods"
)
