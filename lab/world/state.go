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
	Roles               []string         `json:"roles,omitempty"` // active directory roles, by name
	BreakGlass          bool             `json:"breakGlass"`
	SyncAccount         bool             `json:"syncAccount"`
	Deleted             bool             `json:"deleted"`
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

// State returns the truth about one person, by any reference.
func (w *World) State(ref string) (UserState, bool) {
	w.rlock()
	defer w.mu.RUnlock()
	a, err := w.resolve(ref)
	if err != nil || a.UserID == "" {
		return UserState{}, false
	}
	u, ok := w.people.user(a.UserID)
	if !ok {
		return UserState{}, false
	}
	return w.state(u), true
}

// WalkState calls fn for every person in seed order, deleted ones too, until
// it returns false. fn runs under a read lock.
func (w *World) WalkState(fn func(UserState) bool) {
	w.rlock()
	defer w.mu.RUnlock()
	for _, u := range w.people.list {
		if !fn(w.state(u)) {
			return
		}
	}
}

// WalkOnPremises calls fn for every account of Active Directory, until it
// returns false. fn runs under a read lock.
func (w *World) WalkOnPremises(fn func(OnPremisesState) bool) {
	w.rlock()
	defer w.mu.RUnlock()
	for _, a := range w.ad {
		if !fn(a.state()) {
			return
		}
	}
}

func (w *World) state(u *person) UserState {
	s := UserState{
		ID: u.id, UserPrincipalName: u.upn, DisplayName: u.display, UserType: "Member", AccountEnabled: u.enabled,
		LastPasswordChange: time.Unix(u.passwordAt, 0).UTC(), SessionsValidFrom: time.Unix(u.validFrom, 0).UTC(),
		SessionRevocations: u.revocations, ForceChangePassword: u.force || u.forceMFA, PasswordResets: u.resets,
		DistinctPasswords: len(w.passwords.byUser[u.id]), Privileged: len(w.activeRoles(u.id)) > 0 || w.inAssignableGroup(u),
		BreakGlass: u.kind == KindBreakGlass, SyncAccount: u.kind == KindSyncAccount, Deleted: u.deleted,
		Roles: w.activeRoles(u.id), RiskLevel: levelNone, RiskState: stateNone, RiskDetail: "none", Alias: w.aliasOf[u.id],
	}
	if u.guest() {
		s.UserType = "Guest"
	}
	if r := w.risk.users[u.id]; r != nil {
		s.RiskLevel, s.RiskState, s.RiskDetail, s.RiskProcessing = r.level, r.state, r.detail, r.processing > 0
		for _, d := range r.detections {
			if isOpen(d.state) {
				s.OpenDetections++
			}
		}
	}
	if a := w.adOf(u); a != nil {
		o := a.state()
		s.OnPremises = &o
	}
	return s
}

func (a *adAccount) state() OnPremisesState {
	s := OnPremisesState{SID: a.sid, ObjectGUID: a.guid, SAMAccountName: a.sam, Domain: a.domain, DisplayName: a.display,
		Enabled: a.enabled, UserID: a.userID}
	if a.passwordAt != 0 {
		s.PasswordLastSet = time.Unix(a.passwordAt, 0).UTC()
	}
	return s
}
