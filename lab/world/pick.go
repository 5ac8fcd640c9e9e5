package world

// Pick selects an account by what it is, so that a story does not depend on a
// seed. Accounts that fit are counted in seed order; Index 0 is the first.
// Accounts already bound to an alias still count, so equal picks give equal
// accounts.
type Pick struct {
	Kind         string `json:"kind" yaml:"kind"`
	Synced       *bool  `json:"synced,omitempty" yaml:"synced,omitempty"`             // mastered in Active Directory
	Privileged   *bool  `json:"privileged,omitempty" yaml:"privileged,omitempty"`     // holds an active directory role
	Eligible     *bool  `json:"eligible,omitempty" yaml:"eligible,omitempty"`         // may activate a directory role
	Passwordless *bool  `json:"passwordless,omitempty" yaml:"passwordless,omitempty"` // signs in without a password
	MFA          *bool  `json:"mfa,omitempty" yaml:"mfa,omitempty"`                   // registered for multifactor authentication
	Role         string `json:"role,omitempty" yaml:"role,omitempty"`                 // holds this role, active, by display name
	Department   string `json:"department,omitempty" yaml:"department,omitempty"`
	Index        int    `json:"index,omitempty" yaml:"index,omitempty"`
}

// The kinds of a Pick. A member is any person of the organisation that is
// neither a guest, a break-glass nor the synchronisation account; managers
// and administrators are members too.
const (
	KindMember           = "member"
	KindManager          = "manager" // has direct reports
	KindAdmin            = "admin"   // a member with an active role
	KindGuest            = "guest"
	KindBreakGlass       = "breakGlass"
	KindSyncAccount      = "syncAccount"
	KindOnPremisesOnly   = "onPremisesOnly" // an account of Active Directory that is not synchronised
	KindServicePrincipal = "servicePrincipal"
)

// Account is what a reference or a Pick resolved to. Exactly one of UserID,
// ServicePrincipalID and (SID alone) is its key.
type Account struct {
	UserID             string // Entra object id; empty for on-premises-only accounts and service principals
	UserPrincipalName  string
	DisplayName        string
	ServicePrincipalID string
	AppID              string
	SID                string // on-premises security identifier; empty for cloud-only accounts
	SAMAccountName     string
	Domain             string // DNS name of the AD domain
	ObjectGUID         string // AD objectGUID
}

// Key is the account's id in its own directory: user id, service principal id, or SID.
func (a Account) Key() string {
	switch {
	case a.UserID != "":
		return a.UserID
	case a.ServicePrincipalID != "":
		return a.ServicePrincipalID
	}
	return a.SID
}
