// Package identity says who a signal is about. Signals name accounts; cases,
// assessments and plans are about identities: one person or one workload, with
// all its accounts. It is pure: no I/O, no clock.
package identity

import (
	"slices"
	"strings"
	"time"
)

// Tenant is a Microsoft Entra tenant id (a GUID in lower case). It is part of
// every key Cordon keeps.
type Tenant string

// Provider is the directory an account lives in; the values are Graph's
// identityProvider (microsoft.graph.security).
type Provider string

// The providers Cordon knows. Others are kept as they come.
const (
	EntraID         Provider = "entraID"
	ActiveDirectory Provider = "activeDirectory"
	Okta            Provider = "okta"
)

// Kind says what an identity is.
type Kind string

// The kinds. An identity whose kind no source has told yet is KindUnknown, and
// unknown is not safe: no automation acts on it.
const (
	KindUnknown  Kind = "unknown"
	KindPerson   Kind = "person"
	KindGuest    Kind = "guest"
	KindWorkload Kind = "workload"
	KindComputer Kind = "computer"
	KindAgent    Kind = "agent"
)

// ID names one identity within a tenant. It is made by Cordon and never
// changes, whatever accounts join or leave.
type ID string

// A Ref is what a source says about an account: any subset of its names. It is
// converted at the edge and never normalised away; strong identifiers are in
// Keys, everything else is for people.
type Ref struct {
	Provider    Provider `json:"provider,omitempty"`
	Kind        Kind     `json:"kind,omitempty"`
	ObjectID    string   `json:"objectId,omitempty"` // Entra object id (user or service principal)
	SID         string   `json:"sid,omitempty"`      // on-premises security identifier
	GUID        string   `json:"guid,omitempty"`     // Active Directory objectGUID
	AppID       string   `json:"appId,omitempty"`    // application (client) id of a workload
	UPN         string   `json:"upn,omitempty"`      // for people to read; not a key
	SAM         string   `json:"sam,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	DisplayName string   `json:"displayName,omitempty"`
}

// KeyKind is a kind of strong identifier.
type KeyKind string

// The strong identifiers, in order of authority: when two of one Ref belong to
// two identities, the signal goes to the owner of the first and the
// disagreement is an alarm, never a merge.
const (
	KeyEntraObject KeyKind = "entra_object_id"
	KeySID         KeyKind = "sid"
	KeyGUID        KeyKind = "ad_object_guid"
)

// A Key is one strong identifier in canonical form.
type Key struct {
	Kind  KeyKind `json:"kind"`
	Value string  `json:"value"`
}

// Keys returns the strong identifiers of r, strongest first, in canonical form
// (GUIDs in lower case without braces, SIDs in upper case). A Ref with none
// cannot be resolved: weak names only propose.
func (r Ref) Keys() []Key {
	var keys []Key
	if v := canonicalGUID(r.ObjectID); v != "" {
		keys = append(keys, Key{KeyEntraObject, v})
	}
	if v := strings.ToUpper(strings.TrimSpace(r.SID)); v != "" {
		keys = append(keys, Key{KeySID, v})
	}
	if v := canonicalGUID(r.GUID); v != "" {
		keys = append(keys, Key{KeyGUID, v})
	}
	return keys
}

func canonicalGUID(s string) string {
	return strings.ToLower(strings.Trim(strings.TrimSpace(s), "{}"))
}

// Name returns the best name of r for a person to read, never empty.
func (r Ref) Name() string {
	switch {
	case r.DisplayName != "":
		return r.DisplayName
	case r.UPN != "":
		return r.UPN
	case r.SAM != "" && r.Domain != "":
		return r.Domain + `\` + r.SAM
	case r.SAM != "":
		return r.SAM
	case r.ObjectID != "":
		return r.ObjectID
	case r.SID != "":
		return r.SID
	case r.GUID != "":
		return r.GUID
	}
	return "unnamed account"
}

// A Role is a directory role held by an account.
type Role struct {
	TemplateID string `json:"templateId"` // Entra role template id: the same in every tenant
	Name       string `json:"name"`
	Active     bool   `json:"active"` // false: eligible only (PIM)
	// Scope is where it counts: an administrative unit, an application, a catalogue.
	// Empty: in the whole tenant.
	Scope string `json:"scope,omitempty"`
}

// GlobalAdministrator is the role template id of Global Administrator.
const GlobalAdministrator = "62e90394-69f5-4237-9190-012177145e10"

// Facts is what a directory said of one account, and when. A nil pointer or a
// zero time means not known: guards treat that as unknown, never as false.
type Facts struct {
	AsOf  time.Time `json:"asOf,omitzero"`   // when the account's own fields were read
	Found *bool     `json:"found,omitempty"` // false: the directory says there is no such account (deleted)

	Enabled            *bool     `json:"enabled,omitempty"`
	UserType           string    `json:"userType,omitempty"` // Member or Guest, as Graph spells it
	Synced             *bool     `json:"synced,omitempty"`   // onPremisesSyncEnabled: mastered in Active Directory
	LastPasswordChange time.Time `json:"lastPasswordChange,omitzero"`
	SessionsValidFrom  time.Time `json:"sessionsValidFrom,omitzero"`

	RolesAsOf time.Time `json:"rolesAsOf,omitzero"` // when role membership was read; zero: unknown
	Roles     []Role    `json:"roles,omitempty"`    // in Active Directory: the sensitive groups it is in, however deep, by SID
	Groups    []string  `json:"groups,omitempty"`   // ids of the groups the protected list names, as far as read
	// GroupsRead are the ids of the groups whose members were read: of any other
	// nobody knows whether the account is in it.
	GroupsRead []string `json:"groupsRead,omitempty"`
	// OnPremises is read together with Roles, of accounts in Active Directory.
	OnPremises *OnPremises `json:"onPremises,omitempty"`

	RegistrationAsOf time.Time `json:"registrationAsOf,omitzero"`
	MFARegistered    *bool     `json:"mfaRegistered,omitempty"`
	Passwordless     *bool     `json:"passwordless,omitempty"`
}

// An Account is an identity's presence in one directory.
type Account struct {
	Ref
	Facts Facts `json:"facts,omitzero"`
	// Since is when Cordon first knew the account to be the identity's; zero: since
	// there is the identity.
	Since time.Time `json:"since,omitzero"`
}

// Key returns the key by which the account's own directory knows it: the Entra
// object id, or for Active Directory the SID and else the objectGUID. It is
// empty when the directory's own key is not known.
func (a Account) Key() string {
	switch a.Provider {
	case ActiveDirectory:
		if a.SID != "" {
			return strings.ToUpper(strings.TrimSpace(a.SID))
		}
		return canonicalGUID(a.GUID)
	default:
		return canonicalGUID(a.ObjectID)
	}
}

// A Conflict records that two strong identifiers that one source named together
// belong to two identities. It is an alarm for a person; nothing is merged.
type Conflict struct {
	Keys   []Key     `json:"keys"`
	Owners []ID      `json:"owners"`
	From   string    `json:"from"` // the signal or object that named them together
	At     time.Time `json:"at"`
}

// An Identity is one person or workload and all its accounts.
type Identity struct {
	Tenant    Tenant     `json:"tenant"`
	ID        ID         `json:"id"`
	Kind      Kind       `json:"kind"`
	Name      string     `json:"name"`
	Accounts  []Account  `json:"accounts"`
	Conflicts []Conflict `json:"conflicts,omitempty"`
	// Links are the accounts that somebody moved here or away by hand, oldest first.
	Links []LinkChange `json:"links,omitempty"`
	// Tags are those that people gave by hand, oldest first, taken away ones too.
	Tags []Tagging `json:"tags,omitempty"`
	// LivesIn is the identity that all its accounts were moved to; whoever asks for
	// this one gets that one.
	LivesIn   ID        `json:"livesIn,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// Account returns the identity's account in the directory p, and whether there
// is one. Of several the first that the directory has not said to be gone.
func (i Identity) Account(p Provider) (Account, bool) {
	var gone *Account
	for n, a := range i.Accounts {
		switch {
		case a.Provider != p:
		case a.Facts.Found == nil || *a.Facts.Found:
			return a, true
		case gone == nil:
			gone = &i.Accounts[n]
		}
	}
	if gone != nil {
		return *gone, true
	}
	return Account{}, false
}

// Keys returns every strong identifier of the identity, sorted.
func (i Identity) Keys() []Key {
	seen := map[Key]bool{}
	var keys []Key
	for _, a := range i.Accounts {
		for _, k := range a.Keys() {
			if !seen[k] {
				seen[k] = true
				keys = append(keys, k)
			}
		}
	}
	slices.SortFunc(keys, func(a, b Key) int {
		if c := strings.Compare(string(a.Kind), string(b.Kind)); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	return keys
}

// Authority is the directory whose copy of the accounts wins: Active Directory
// when the cloud account is synced from it or there is no cloud account, else
// Entra. known is false when no source has said yet whether the account is
// synced; then nothing may be changed.
func (i Identity) Authority() (p Provider, known bool) {
	entra, hasEntra := i.Account(EntraID)
	_, hasAD := i.Account(ActiveDirectory)
	switch {
	case hasEntra && entra.Facts.Synced != nil && *entra.Facts.Synced:
		return ActiveDirectory, true
	case hasEntra && entra.Kind == KindWorkload:
		return EntraID, true
	case hasEntra && entra.Facts.Synced == nil:
		return EntraID, false
	case hasEntra:
		return EntraID, true
	case hasAD:
		return ActiveDirectory, true
	}
	return "", false
}

// Roles returns the roles of all accounts and the oldest time at which any of
// them was read; asOf is zero when one cloud account's roles were never read.
func (i Identity) Roles() (roles []Role, asOf time.Time) {
	unread := false
	for _, a := range i.Accounts {
		roles = append(roles, a.Facts.Roles...)
		switch {
		case a.Provider != EntraID:
		case a.Facts.RolesAsOf.IsZero():
			unread = true
		case asOf.IsZero() || a.Facts.RolesAsOf.Before(asOf):
			asOf = a.Facts.RolesAsOf
		}
	}
	if unread {
		return roles, time.Time{}
	}
	return roles, asOf
}
