package identity

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A Resolution says whose account a Ref is.
type Resolution struct {
	Identity Identity  // the identity after learning what the Ref says; its ID is empty when it is new
	New      bool      // no identity owned any of the keys
	Changed  bool      // the identity differs from the one that was passed in
	Conflict *Conflict // set when the keys belong to more than one identity

	NewConflict bool // the Conflict was not known yet
	Ref         Ref  // what may be learnt of the Ref: without the keys of others
}

// Resolve finds the identity of ref among owners: the identities that own any
// of ref.Keys(), in any order. Strong identifiers join; a Ref that names keys of
// two identities goes to the owner of the strongest one and reports a Conflict,
// and its weaker keys are not learnt. from names the source for the conflict.
// Resolve is pure, and resolving the same Ref twice changes nothing the second
// time. A Ref without keys resolves to nothing: ok is false.
func Resolve(t Tenant, ref Ref, owners []Identity, from string, now time.Time) (res Resolution, ok bool) {
	keys := ref.Keys()
	if len(keys) == 0 {
		return Resolution{}, false
	}
	owner := map[Key]*Identity{}
	for n := range owners {
		for _, k := range owners[n].Keys() {
			owner[k] = &owners[n]
		}
	}
	var chosen *Identity
	var others []ID
	for _, k := range keys {
		switch o := owner[k]; {
		case o == nil:
		case chosen == nil:
			chosen = o
		case chosen.ID != o.ID && !slices.Contains(others, o.ID):
			others = append(others, o.ID)
		}
	}
	learn := ref
	if len(others) > 0 {
		// Only what the chosen identity owns already may be learnt again.
		for _, k := range keys {
			if o := owner[k]; o == nil || o.ID != chosen.ID {
				learn = learn.without(k.Kind)
			}
		}
		res.Conflict = &Conflict{Keys: keys, Owners: append([]ID{chosen.ID}, others...), From: from, At: now}
	}
	res.Ref = learn
	if chosen == nil {
		res.Identity = Identity{Tenant: t, Kind: KindUnknown, CreatedAt: now, UpdatedAt: now}
		res.Identity.learn(learn)
		res.Identity.since(now)
		res.New, res.Changed = true, true
		return res, true
	}
	res.Identity = chosen.clone()
	res.Changed = res.Identity.learn(learn)
	res.Identity.since(now)
	if c := res.Conflict; c != nil && !res.Identity.hasConflict(*c) {
		res.Identity.Conflicts = append(res.Identity.Conflicts, *c)
		res.Changed, res.NewConflict = true, true
	}
	if res.Changed {
		res.Identity.UpdatedAt = now
	}
	return res, true
}

func (r Ref) without(k KeyKind) Ref {
	switch k {
	case KeyEntraObject:
		r.ObjectID = ""
	case KeySID:
		r.SID = ""
	case KeyGUID:
		r.GUID = ""
	}
	return r
}

// learn takes over what ref says that is not known yet, and reports whether
// anything changed. A Ref that names an Entra object and an on-premises SID
// teaches two accounts: the cloud one and the one it is synced from. Accounts are
// kept in one order and the name is derived from them, so that the order in which
// Refs arrive does not matter.
func (i *Identity) learn(ref Ref) bool {
	changed := false
	if ref.ObjectID != "" {
		cloud := ref
		cloud.Provider = EntraID
		changed = i.learnAccount(cloud) || changed
	}
	if (ref.SID != "" || ref.GUID != "") && (ref.Kind != KindWorkload || ref.ObjectID == "") {
		onPrem := ref
		onPrem.Provider, onPrem.AppID, onPrem.ObjectID = ActiveDirectory, "", ""
		changed = i.learnAccount(onPrem) || changed
	}
	if ref.Provider != EntraID && ref.Provider != ActiveDirectory && ref.Provider != "" {
		changed = i.learnAccount(ref) || changed
	}
	if i.Kind == KindUnknown && ref.Kind != "" && ref.Kind != KindUnknown {
		i.Kind, changed = ref.Kind, true
	}
	if !changed {
		return false
	}
	slices.SortStableFunc(i.Accounts, byAccount)
	i.Name = i.bestName()
	return true
}

// since notes from when on accounts are known that were not before.
func (i *Identity) since(now time.Time) {
	for n := range i.Accounts {
		if i.Accounts[n].Since.IsZero() {
			i.Accounts[n].Since = now
		}
	}
}

func byAccount(a, b Account) int {
	return cmp.Or(cmp.Compare(providerOrder(a.Provider), providerOrder(b.Provider)), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Key(), b.Key()))
}

func providerOrder(p Provider) int {
	switch p {
	case EntraID:
		return 0
	case ActiveDirectory:
		return 1
	}
	return 2
}

// bestName is the display name of the first account that has one, else the UPN
// of the first that has one, else whatever the first account is called.
func (i *Identity) bestName() string {
	for _, a := range i.Accounts {
		if a.DisplayName != "" {
			return a.DisplayName
		}
	}
	for _, a := range i.Accounts {
		if a.UPN != "" {
			return a.UPN
		}
	}
	if len(i.Accounts) == 0 {
		return Ref{}.Name()
	}
	return i.Accounts[0].Name()
}

// learnAccount teaches the account that ref is: by the key of its own directory,
// else, where one of the two does not say that key, by any key they share.
func (i *Identity) learnAccount(ref Ref) bool {
	own, shared := -1, -1
	for n, a := range i.Accounts {
		if a.Provider != ref.Provider {
			continue
		}
		switch ka, kb := ownKey(a.Ref), ownKey(ref); {
		case ka != "" && ka == kb:
			own = n
		case (ka == "" || kb == "") && shared < 0 && sharesKey(a.Ref, ref):
			shared = n
		}
	}
	switch {
	case own >= 0:
		return i.Accounts[own].fill(ref)
	case shared >= 0:
		return i.Accounts[shared].fill(ref)
	}
	i.Accounts = append(i.Accounts, Account{Ref: ref})
	return true
}

// ownKey is the key by which r's directory knows the account: without a SID an
// Active Directory account has none, because its GUID may come with one later.
func ownKey(r Ref) string {
	if r.Provider == ActiveDirectory {
		return strings.ToUpper(strings.TrimSpace(r.SID))
	}
	return canonicalGUID(r.ObjectID)
}

func sharesKey(a, b Ref) bool {
	for _, k := range a.Keys() {
		if slices.Contains(b.Keys(), k) {
			return true
		}
	}
	return false
}

// fill sets what is empty; it never overwrites, because a name in a signal may
// be older than the one we have. Names are refreshed from directory facts.
func (r *Ref) fill(from Ref) bool {
	changed := false
	set := func(to *string, v string) {
		if *to == "" && v != "" {
			*to, changed = v, true
		}
	}
	set(&r.ObjectID, from.ObjectID)
	set(&r.SID, from.SID)
	set(&r.GUID, from.GUID)
	set(&r.AppID, from.AppID)
	set(&r.UPN, from.UPN)
	set(&r.SAM, from.SAM)
	set(&r.Domain, from.Domain)
	set(&r.DisplayName, from.DisplayName)
	if (r.Kind == "" || r.Kind == KindUnknown) && from.Kind != "" && from.Kind != r.Kind {
		r.Kind, changed = from.Kind, true
	}
	return changed
}

// WithFacts returns i with the facts of the account that ref names, and whether
// that changed anything; the account is learnt when it is new. Names given with
// facts replace older ones, because the directory is their authority; those given
// with older facts do not. Give it Resolution.Ref, so that nothing of another
// identity is learnt.
func (i Identity) WithFacts(ref Ref, f Facts, now time.Time) (Identity, bool) {
	before := i
	i = i.clone()
	i.learn(ref)
	for n := range i.Accounts {
		a := &i.Accounts[n]
		if !sharesKey(a.Ref, ref) || (ref.Provider != "" && a.Provider != ref.Provider) {
			continue
		}
		newer := !f.AsOf.Before(a.Facts.AsOf)
		if a.Facts = a.Facts.Merge(f); !newer {
			continue
		}
		for _, s := range []struct {
			to *string
			v  string
		}{{&a.UPN, ref.UPN}, {&a.DisplayName, ref.DisplayName}, {&a.SAM, ref.SAM}, {&a.Domain, ref.Domain}} {
			if s.v != "" {
				*s.to = s.v
			}
		}
	}
	if len(i.Accounts) > 0 {
		i.Name = i.bestName()
	}
	if i.Kind == KindPerson || i.Kind == KindUnknown || i.Kind == KindGuest {
		if a, ok := i.Account(EntraID); ok && strings.EqualFold(a.Facts.UserType, "Guest") {
			i.Kind = KindGuest
		} else if ok && a.Facts.UserType != "" {
			i.Kind = KindPerson
		}
	}
	if reflect.DeepEqual(before, i) {
		return before, false
	}
	i.UpdatedAt = now
	return i, true
}

// Merge returns f with every group of fields that g knows and read no earlier.
func (f Facts) Merge(g Facts) Facts {
	if !g.AsOf.IsZero() && !g.AsOf.Before(f.AsOf) {
		f.AsOf, f.Found, f.Enabled, f.UserType, f.Synced = g.AsOf, g.Found, g.Enabled, g.UserType, g.Synced
		f.LastPasswordChange, f.SessionsValidFrom = g.LastPasswordChange, g.SessionsValidFrom
	}
	if !g.RolesAsOf.IsZero() && !g.RolesAsOf.Before(f.RolesAsOf) {
		f.RolesAsOf, f.Roles, f.Groups, f.GroupsRead, f.OnPremises = g.RolesAsOf, g.Roles, g.Groups, g.GroupsRead, g.OnPremises
	}
	if !g.RegistrationAsOf.IsZero() && !g.RegistrationAsOf.Before(f.RegistrationAsOf) {
		f.RegistrationAsOf, f.MFARegistered, f.Passwordless = g.RegistrationAsOf, g.MFARegistered, g.Passwordless
	}
	return f
}

func (i Identity) hasConflict(c Conflict) bool {
	return slices.ContainsFunc(i.Conflicts, func(o Conflict) bool {
		return slices.Equal(o.Keys, c.Keys) && slices.Equal(o.Owners, c.Owners)
	})
}

func (i Identity) clone() Identity {
	i.Accounts = slices.Clone(i.Accounts)
	i.Conflicts = slices.Clone(i.Conflicts)
	return i
}
