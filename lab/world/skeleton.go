package world

import "time"

// World is one tenant. Make it with New.
type World struct{}

// New seeds a tenant. The error names the option that cannot be.
func New(o Options) (*World, error) { return &World{}, nil }

// Now is the world's clock.
func (w *World) Now() time.Time { return time.Time{} }

// TenantID is the tenant's GUID.
func (w *World) TenantID() string { return "" }

// NextDue returns when the earliest pending effect or scheduled event is due.
// Every method applies what is due before it looks or changes.
func (w *World) NextDue() (time.Time, bool) { return time.Time{}, false }

// Get finds one member. Users are found by id or user principal name (case
// does not matter), applications and service principals by id, devices by
// object id, directoryRoles and roleDefinitions by id or template id.
func (w *World) Get(c Collection, key string) (Item, bool) { return nil, false }

// GetBy finds one member by an alternate key: devices by "deviceId",
// servicePrincipals and applications by "appId", directoryRoles by
// "roleTemplateId".
func (w *World) GetBy(c Collection, property, value string) (Item, bool) { return nil, false }

// Count returns the number of members.
func (w *World) Count(c Collection) int { return 0 }

// Walk calls fn for each member at position from or after, in order of
// creation, until fn returns false. Positions are stable: a member keeps its
// position for life and positions are never reused, so a page token may hold
// the position to go on from. fn runs under a read lock: it must not call the
// World. Items may be kept.
func (w *World) Walk(c Collection, from int, fn func(pos int, it Item) bool) {}

// WalkBack is Walk from newest to oldest, starting at position from; a
// negative from means the newest.
func (w *World) WalkBack(c Collection, from int, fn func(pos int, it Item) bool) {}

// Known reports whether c is a collection.
func (w *World) Known(c Collection) bool { return false }

// DefaultProperties returns the properties that Graph sends for a member when
// the request has no $select; nil means all. Only users are cut.
func DefaultProperties(c Collection) []string { return nil }

// Related returns the items behind a relation of one member; it refuses with
// 404 when the member does not exist and 400 when the relation is not one of
// the collection's.
func (w *World) Related(c Collection, id, relation string) ([]Item, error) { return nil, nil }

// Change is one entry of the change feed behind delta queries.
type Change struct {
	Seq     uint64
	ID      string
	Item    Item // nil when Removed
	Removed bool
}

// Changes calls fn for each user or group that was created, changed or
// deleted after sequence number after, oldest change first and each object
// once, at its latest change. After 0 it yields every object there is. fn
// runs under a read lock.
func (w *World) Changes(c Collection, after uint64, fn func(Change) bool) error { return nil }

// AddApp registers an application, its service principal, its directory roles
// and its consented permissions, and returns the actor it is as a caller.
// Registering the same AppID again replaces roles and permissions.
func (w *World) AddApp(a App) (Actor, error) { return Actor{}, nil }

// MayChange is Entra's rule on sensitive changes: people without a privileged
// role may be changed by any app that has the permission; for the others the
// caller's own service principal (or, for a person, that person) must hold an
// active directory role that is allowed to change them. The error is Graph's
// 403.
func (w *World) MayChange(a Actor, userID string, s Sensitive) error { return nil }

// Update applies a PATCH to one member of users, groups, devices,
// servicePrincipals, applications, security/alerts_v2, security/incidents or
// security/identities/healthIssues. It checks names and types of the
// properties and, for users, MayChange; nothing is applied unless all of it
// can be. A password sets lastPasswordChangeDateTime, revokes sessions and
// remediates user risk (T6).
func (w *World) Update(a Actor, c Collection, id string, patch Object) ([]Effect, error) {
	return nil, nil
}

// RevokeSignInSessions moves signInSessionsValidFromDateTime to the instant at
// which it takes effect (Delays.Revocation later), in whole seconds. Guests
// are accepted without effect: their tokens come from their home tenant.
func (w *World) RevokeSignInSessions(a Actor, userID string) ([]Effect, error) { return nil, nil }

// Verdict is a kind of feedback on risk.
type Verdict string

// The verdicts.
const (
	ConfirmCompromised Verdict = "confirmCompromised"
	ConfirmSafe        Verdict = "confirmSafe"
	Dismiss            Verdict = "dismiss"
)

// UserFeedback is POST /identityProtection/riskyUsers/{verdict}: T15, T16,
// T11. At most 60 ids. The users' risk shows isProcessing at once and changes
// after Delays.Feedback. Confirming a person who was never at risk lists them
// at once. A deleted person in the list makes the whole call fail.
func (w *World) UserFeedback(a Actor, v Verdict, userIDs []string) ([]Effect, error) {
	return nil, nil
}

// SignInFeedback is POST /auditLogs/signIns/{verdict}: T14, T13, T12.
func (w *World) SignInFeedback(a Actor, v Verdict, requestIDs []string) ([]Effect, error) {
	return nil, nil
}

// ServicePrincipalFeedback is POST
// /identityProtection/riskyServicePrincipals/{verdict}; there is no
// confirmSafe for workloads.
func (w *World) ServicePrincipalFeedback(a Actor, v Verdict, ids []string) ([]Effect, error) {
	return nil, nil
}

// Invocation is the body of identityAccounts/{id}/invokeAction.
type Invocation struct {
	AccountID        string `json:"accountId"`
	Action           string `json:"action"`           // disable, enable, forcePasswordReset, revokeAllSessions, requireUserToSignInAgain, markUserAsCompromised
	IdentityProvider string `json:"identityProvider"` // activeDirectory, entraID, okta
}

// InvokeAction accepts an action of Defender for Identity and returns its
// correlation id. In Active Directory it takes effect after Delays.OnPremises
// if a domain controller's sensor is up, and not at all otherwise: accepting
// says nothing about the outcome.
func (w *World) InvokeAction(a Actor, identityID string, in Invocation) (string, []Effect, error) {
	return "", nil, nil
}

// Comment adds a comment to an alert or incident and returns all its comments.
func (w *World) Comment(a Actor, c Collection, id, text string) ([]any, []Effect, error) {
	return nil, nil, nil
}

// RemovePassword removes a client secret of a service principal or application.
func (w *World) RemovePassword(a Actor, c Collection, id, keyID string) ([]Effect, error) {
	return nil, nil
}

// AddMember and RemoveMember change groups and directoryRoles.
func (w *World) AddMember(a Actor, c Collection, id, memberID string) ([]Effect, error) {
	return nil, nil
}

// RemoveMember takes a member out; 404 when it is none.
func (w *World) RemoveMember(a Actor, c Collection, id, memberID string) ([]Effect, error) {
	return nil, nil
}

// Create adds a conditional access policy or named location and returns it.
func (w *World) Create(a Actor, c Collection, o Object) (Item, []Effect, error) {
	return nil, nil, nil
}

// Delete removes a conditional access policy, named location, permission
// grant, role assignment or user.
func (w *World) Delete(a Actor, c Collection, id string) ([]Effect, error) { return nil, nil }

// AddTemporaryAccessPass gives a person a pass; the returned method carries
// it, the list of methods never does.
func (w *World) AddTemporaryAccessPass(a Actor, userID string, lifetime time.Duration, once bool) (Item, []Effect, error) {
	return nil, nil, nil
}

// DeleteMethod removes an authentication method; the password cannot be removed.
func (w *World) DeleteMethod(a Actor, userID, methodID string) ([]Effect, error) { return nil, nil }

// Bind gives an account an alias for events and state. Binding another
// account to a taken alias is an error.
func (w *World) Bind(alias string, a Account) error { return nil }

// Resolve finds the account behind an alias, object id, user principal name,
// SID, DOMAIN\account, appId or service principal name.
func (w *World) Resolve(ref string) (Account, error) { return Account{}, nil }

// Pick finds an account by what it is; the error says how many there are.
func (w *World) Pick(p Pick) (Account, error) { return Account{}, nil }

// DecodeEvent reads one JSON event; unknown keys and trailing data are errors.
func DecodeEvent(b []byte) (Event, error) { return Event{}, nil }

// Apply makes the event happen now. An event that cannot be (an unknown
// person, a transition whose prerequisites are not met) is an error and
// changes nothing.
func (w *World) Apply(e Event) error { return nil }

// Schedule makes the event happen at an instant of the world's clock; names
// and types are checked now, prerequisites then. What went wrong then is
// listed by Failures.
func (w *World) Schedule(at time.Time, e Event) error { return nil }

// Failures lists scheduled events that could not happen.
func (w *World) Failures() []error { return nil }

// State returns the truth about one person.
func (w *World) State(ref string) (UserState, bool) { return UserState{}, false }

// WalkState calls fn for every person in seed order. fn runs under a read lock.
func (w *World) WalkState(fn func(UserState) bool) {}

// WalkOnPremises calls fn for every account of Active Directory.
func (w *World) WalkOnPremises(fn func(OnPremisesState) bool) {}

// DistinctPasswords counts the different values set by resets over all people:
// fewer than the resets means that a value was used twice.
func (w *World) DistinctPasswords() (values, resets int) { return 0, 0 }
