package world

import "time"

// UserState is the truth about one person, for the lab's state page.
type UserState struct {
	ID                  string           `json:"id"`
	UserPrincipalName   string           `json:"userPrincipalName"`
	DisplayName         string           `json:"displayName"`
	UserType            string           `json:"userType"`
	AccountEnabled      bool             `json:"accountEnabled"`
	LastPasswordChange  time.Time        `json:"lastPasswordChangeDateTime"`
	SessionsValidFrom   time.Time        `json:"signInSessionsValidFromDateTime"`
	SessionRevocations  int              `json:"sessionRevocations"` // how often sessions were revoked since the seed
	ForceChangePassword bool             `json:"forceChangePasswordNextSignIn"`
	PasswordResets      int              `json:"passwordResets"`    // resets by somebody else since the seed
	DistinctPasswords   int              `json:"distinctPasswords"` // how many different values those resets set, by salted digest
	Privileged          bool             `json:"privileged"`
	BreakGlass          bool             `json:"breakGlass"`
	SyncAccount         bool             `json:"syncAccount"`
	RiskLevel           string           `json:"riskLevel"`
	RiskState           string           `json:"riskState"`
	RiskDetail          string           `json:"riskDetail"`
	RiskProcessing      bool             `json:"riskProcessing"`
	OpenDetections      int              `json:"openDetections"`
	OnPremises          *OnPremisesState `json:"onPremises,omitempty"`
	Alias               string           `json:"alias,omitempty"`
}

// OnPremisesState is the truth about an account of Active Directory.
type OnPremisesState struct {
	SID             string    `json:"sid"`
	ObjectGUID      string    `json:"objectGuid"`
	SAMAccountName  string    `json:"samAccountName"`
	Domain          string    `json:"domain"`
	DisplayName     string    `json:"displayName"`
	Enabled         bool      `json:"enabled"`
	PasswordLastSet time.Time `json:"passwordLastSet"` // zero: must change at next logon
	UserID          string    `json:"userId,omitempty"`
}
