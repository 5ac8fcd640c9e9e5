package identity

import (
	"slices"
	"strings"
	"time"
)

// Class is what kind of object an Active Directory account is.
type Class string

// The classes. Managed service accounts have passwords that the domain itself sets.
const (
	ClassUser     Class = "user"
	ClassComputer Class = "computer"
	ClassDC       Class = "domain controller"
	ClassGMSA     Class = "group managed service account"
	ClassSMSA     Class = "managed service account"
	ClassDMSA     Class = "delegated managed service account"
	ClassTrust    Class = "trust account"
	ClassOther    Class = "no account"
	// ClassForeign is an account of a domain that is not connected: nothing is known
	// of it, and nothing can be done to it there.
	ClassForeign Class = "account of a domain that is not connected"
)

// OnPremises is what Active Directory alone says of an account, beside the Facts
// that all directories know. It was read at Facts.RolesAsOf.
type OnPremises struct {
	DC    string `json:"dc,omitempty"` // the controller that was asked
	DN    string `json:"dn,omitempty"`
	Class Class  `json:"class"`

	Control    []string  `json:"control,omitempty"`    // the flags of userAccountControl that are set, by name
	Own        bool      `json:"own,omitempty"`        // Cordon signs in with it
	Critical   bool      `json:"critical,omitempty"`   // isCriticalSystemObject
	AdminCount bool      `json:"adminCount,omitempty"` // a hint only: it stays set after leaving
	Guarded    bool      `json:"protectedUsers,omitempty"`
	Replicates bool      `json:"replicates,omitempty"` // may read every secret of the domain (DCSync)
	Locked     bool      `json:"locked,omitempty"`
	MustChange bool      `json:"mustChange,omitempty"`
	Expires    time.Time `json:"expires,omitzero"`

	// LastLogon is the latest over all controllers that could be read; Unread names
	// the others, which may know a later one.
	LastLogon   time.Time `json:"lastLogon,omitzero"`
	LastLogonOn string    `json:"lastLogonOn,omitempty"`
	Unread      []string  `json:"unread,omitempty"`

	Services []string `json:"services,omitempty"` // service principal names, the first ones
	// LastOf are the groups of which it is the only member that can sign in.
	LastOf []string `json:"lastOf,omitempty"`
	// Peers are, by the name of each group whose last member is protected, the SIDs of
	// the others in it that can sign in; of very many some.
	Peers map[string][]string `json:"peers,omitempty"`

	// Joined are the groups that somebody put it into, as controllers reported in the last
	// 30 days, and that nobody took it out of since: the latest first.
	Joined []Joined `json:"joined,omitempty"`

	// Anchor is ms-DS-ConsistencyGuid, else the objectGUID: what Entra Connect by
	// default makes the immutable id of.
	Anchor string `json:"anchor,omitempty"`
	// Dispute says that two strong keys of the identity name two accounts here: how a
	// takeover by matching looks. "" when they agree.
	Dispute string `json:"dispute,omitempty"`
}

// Joined is one membership that was reported as added.
type Joined struct {
	Group string    `json:"group"` // SID
	Name  string    `json:"name,omitempty"`
	By    string    `json:"by,omitempty"` // who did it, as the report names them
	At    time.Time `json:"at"`
}

// Disputes says which strong keys of i name two accounts in Active Directory.
func (i Identity) Disputes() (texts []string) {
	for _, a := range i.Accounts {
		if p := a.Facts.OnPremises; p != nil && p.Dispute != "" {
			texts = append(texts, p.Dispute)
		}
	}
	return texts
}

// builtIn are the accounts of every domain that are never a
// person's. RIDs: MS-DTYP 2.4.2.4.
var builtIn = map[string]string{
	"500": "the domain's built-in Administrator",
	"501": "the domain's built-in Guest",
	"503": "the domain's built-in DefaultAccount",
	"504": "the domain's built-in WDAGUtilityAccount",
}

// IsSID reports whether s has the form of a security identifier.
func IsSID(s string) bool {
	rest, ok := strings.CutPrefix(strings.ToUpper(strings.TrimSpace(s)), "S-1-")
	return ok && rest != "" && strings.Trim(rest, "0123456789-") == ""
}

// lastAdmins are the groups whose last member that can sign in is protected.
var lastAdmins = []string{"Domain Admins", "Enterprise Admins"}

// LastIsProtected reports whether the last member of a sensitive group that can sign
// in is protected.
func LastIsProtected(group string) bool { return slices.Contains(lastAdmins, group) }

// reasons says why automation never changes an account that its domain shows so.
func (o *OnPremises) reasons() (out []string) {
	if o == nil {
		return nil
	}
	switch o.Class {
	case ClassComputer:
		out = append(out, "a computer account: it may be a domain controller")
	case ClassDC:
		out = append(out, "a domain controller")
	case ClassGMSA, ClassSMSA, ClassDMSA:
		out = append(out, "a "+string(o.Class)+": its password and state are the domain's")
	case ClassTrust:
		out = append(out, "the account of a trust between domains")
	case ClassOther:
		out = append(out, "its SID names no account")
	}
	if o.Own {
		out = append(out, "one of Cordon's own accounts")
	}
	if o.Critical {
		out = append(out, "an account that the domain itself cannot do without")
	}
	if o.Dispute != "" {
		out = append(out, "its identifiers disagree: "+o.Dispute)
	}
	for _, g := range o.LastOf {
		if LastIsProtected(g) {
			out = append(out, "the last member of "+g+" that can sign in")
		}
	}
	return out
}

// unreadOnPremises says what is not known of an account of a connected domain.
func (p Policy) unreadOnPremises(a Account, now time.Time, maxAge time.Duration) (texts []string) {
	f := a.Facts
	switch {
	case !p.OnPremises || a.Provider != ActiveDirectory || f.Found != nil && !*f.Found:
		return nil
	case f.OnPremises != nil && f.OnPremises.Class == ClassForeign:
		return nil
	case f.OnPremises == nil || f.RolesAsOf.IsZero():
		return []string{"Active Directory has not said yet what kind of account it is"}
	case now.Sub(f.RolesAsOf) > maxAge:
		return []string{"what Active Directory says of it was last read at " + f.RolesAsOf.UTC().Format(time.RFC3339) + ", over " + maxAge.String() + " ago"}
	}
	for _, e := range p.List {
		want := strings.TrimSpace(e.Match)
		if e.Group && IsSID(want) && !slices.ContainsFunc(f.GroupsRead, func(g string) bool { return strings.EqualFold(g, want) }) {
			texts = append(texts, "the members of the protected group "+want+" have not been read yet")
		}
	}
	return texts
}
