package world

import (
	"fmt"
	"slices"
	"strings"
)

// Pick selects an account by what it is, so that a story does not depend on a
// seed. Accounts that fit are counted in seed order; Index 0 is the first.
// People whose account was disabled when the tenant was seeded are left out.
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

// Bind gives an account an alias for events and state. Binding another account
// to a taken alias, or an alias that looks like another kind of reference, is
// an error.
func (w *World) Bind(alias string, a Account) error {
	w.lock()
	defer w.mu.Unlock()
	if alias == "" || strings.ContainsAny(alias, "@\\ ") || isGUID(alias) || strings.HasPrefix(alias, "S-1-") {
		return fmt.Errorf("alias %q: use a plain word", alias)
	}
	if old, ok := w.aliases[alias]; ok && old.Key() != a.Key() {
		return fmt.Errorf("alias %q is taken by %s", alias, old.DisplayName)
	}
	w.aliases[alias] = a
	w.aliasOf[a.Key()] = alias
	return nil
}

// Resolve finds the account behind an alias, object id, user principal name,
// SID, DOMAIN\account, appId or service principal name. Deleted people are
// found too.
func (w *World) Resolve(ref string) (Account, error) {
	w.rlock()
	defer w.mu.RUnlock()
	return w.resolve(ref)
}

func (w *World) resolve(ref string) (Account, error) {
	if a, ok := w.aliases[ref]; ok {
		return a, nil
	}
	if u, ok := w.people.user(ref); ok {
		return w.account(u), nil
	}
	if pos, ok := w.bySID[ref]; ok {
		return w.adAccount(w.ad[pos]), nil
	}
	if pos, ok := w.byNT[strings.ToLower(ref)]; ok {
		return w.adAccount(w.ad[pos]), nil
	}
	sps := w.tables[ServicePrincipals].(*table)
	it, ok := sps.find(ref)
	if !ok {
		it, ok = sps.findBy("appId", ref)
	}
	if !ok {
		for _, r := range sps.list {
			if r != nil && r.obj["displayName"] == ref {
				it, ok = r, true
			}
		}
	}
	if ok {
		return workloadAccount(it.Object()), nil
	}
	return Account{}, fmt.Errorf("nobody is called %q", ref)
}

func (w *World) account(u *person) Account {
	a := Account{UserID: u.id, UserPrincipalName: u.upn, DisplayName: u.display}
	if u.onPrem != nil {
		a.SID, a.SAMAccountName, a.Domain, a.ObjectGUID = u.onPrem.sid, u.onPrem.sam, u.onPrem.domain, u.onPrem.guid
	}
	return a
}

func (w *World) adAccount(x *adAccount) Account {
	if u, ok := w.people.user(x.userID); ok && x.userID != "" {
		return w.account(u)
	}
	return Account{DisplayName: x.display, SID: x.sid, SAMAccountName: x.sam, Domain: x.domain, ObjectGUID: x.guid}
}

func workloadAccount(o Object) Account {
	text := func(p string) string { s, _ := o[p].(string); return s }
	return Account{ServicePrincipalID: text("id"), AppID: text("appId"), DisplayName: text("displayName")}
}

// Check reports a Pick that can fit nobody in any tenant.
func (p Pick) Check() error {
	kinds := []string{KindMember, KindManager, KindAdmin, KindGuest, KindBreakGlass, KindSyncAccount, KindOnPremisesOnly, KindServicePrincipal}
	if !slices.Contains(kinds, p.Kind) {
		return fmt.Errorf("pick: kind %q is none of %s", p.Kind, strings.Join(kinds, ", "))
	}
	if p.Index < 0 {
		return fmt.Errorf("pick: index %d is negative", p.Index)
	}
	if p.Role != "" {
		if _, ok := roleByName(p.Role); !ok {
			return fmt.Errorf("pick: no directory role %q", p.Role)
		}
	}
	if p.Kind == KindOnPremisesOnly || p.Kind == KindServicePrincipal {
		if rest := (Pick{Kind: p.Kind, Index: p.Index}); p != rest {
			return fmt.Errorf("pick: kind %s takes only an index", p.Kind)
		}
	}
	return nil
}

// Pick finds an account by what it is; the error says how many there are.
func (w *World) Pick(p Pick) (Account, error) {
	if err := p.Check(); err != nil {
		return Account{}, err
	}
	w.rlock()
	defer w.mu.RUnlock()
	n := 0
	next := func() bool { n++; return n == p.Index+1 }
	switch p.Kind {
	case KindOnPremisesOnly:
		for _, a := range w.ad {
			if a.userID == "" && a.sam != "krbtgt" && next() {
				return w.adAccount(a), nil
			}
		}
	case KindServicePrincipal:
		for _, r := range w.tables[ServicePrincipals].(*table).list {
			if r != nil && r.obj["appOwnerOrganizationId"] == w.tenant && next() {
				return workloadAccount(r.obj), nil
			}
		}
	default:
		for _, u := range w.people.list {
			if !u.deleted && !u.dormant && w.fits(u, p) && next() {
				return w.account(u), nil
			}
		}
	}
	return Account{}, fmt.Errorf("pick: no %s with index %d: only %d fit", p.Kind, p.Index, n)
}

func (w *World) fits(u *person, p Pick) bool {
	is := func(want *bool, have bool) bool { return want == nil || *want == have }
	kind := u.kind == p.Kind
	switch p.Kind {
	case KindManager:
		kind = u.member() && u.reports > 0
	case KindAdmin:
		kind = u.member() && len(w.activeRoles(u.id)) > 0
	}
	return kind &&
		is(p.Synced, u.onPrem != nil) &&
		is(p.MFA, u.registered()) &&
		is(p.Passwordless, u.passwordless) &&
		(p.Department == "" || u.dept == p.Department) &&
		(p.Privileged == nil || *p.Privileged == (len(w.activeRoles(u.id)) > 0 || w.inAssignableGroup(u))) &&
		(p.Eligible == nil || *p.Eligible == (len(w.roleNames(u.id, true)) > 0)) &&
		(p.Role == "" || slices.Contains(w.activeRoles(u.id), canonicalRole(p.Role)))
}

func canonicalRole(name string) string {
	r, _ := roleByName(name)
	return r.name
}
