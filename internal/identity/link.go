package identity

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A LinkChange is one time somebody moved an account to another identity by hand.
type LinkChange struct {
	Linked  bool      `json:"linked"` // it came here; false: it went away
	Account Ref       `json:"account"`
	Other   ID        `json:"other"` // where it came from or went to
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// Link returns into with all accounts of from, and from without any: it lives on in
// into. Both must be of one tenant and may not be linked elsewhere already.
func Link(into, from Identity, by, reason string, now time.Time) (merged, emptied Identity, err error) {
	switch {
	case into.Tenant != from.Tenant:
		return into, from, fault.Errorf(fault.Invalid, "link: the identities are of two tenants")
	case into.ID == from.ID:
		return into, from, fault.Errorf(fault.Invalid, "link: %s is one identity already", into.Name)
	case into.LivesIn != "":
		return into, from, fault.Errorf(fault.Conflict, "link: %s was linked into %s", into.ID, into.LivesIn)
	case from.LivesIn != "":
		return into, from, fault.Errorf(fault.Conflict, "link: %s was linked into %s already", from.ID, from.LivesIn)
	case len(from.Accounts) == 0:
		return into, from, fault.Errorf(fault.Conflict, "link: %s has no account", from.ID)
	case workload(into.Kind) != workload(from.Kind) && into.Kind != KindUnknown && from.Kind != KindUnknown:
		return into, from, fault.Errorf(fault.Invalid, "link: %s is a %s and %s a %s; a person and a workload are never one", into.Name, into.Kind, from.Name, from.Kind)
	}
	into, from = into.clone(), from.clone()
	into.Links, from.Links = slices.Clone(into.Links), slices.Clone(from.Links)
	for _, a := range from.Accounts {
		into.Accounts = append(into.Accounts, a)
		into.Links = append(into.Links, LinkChange{true, a.Ref, from.ID, by, reason, now})
		from.Links = append(from.Links, LinkChange{false, a.Ref, into.ID, by, reason, now})
	}
	from.Accounts, from.LivesIn, from.UpdatedAt = nil, into.ID, now
	into.inherit(from)
	if into.Kind == KindUnknown {
		into.Kind = from.Kind
	}
	into.settle(now)
	return into, from, nil
}

// Unlink returns i without the account that has the key (Account.Key) and the
// identity it goes to: target, which is the emptied one it came from, or a new one
// with an empty ID.
func Unlink(i Identity, key string, target Identity, by, reason string, now time.Time) (left, moved Identity, err error) {
	n := slices.IndexFunc(i.Accounts, func(a Account) bool { return a.Key() != "" && strings.EqualFold(a.Key(), key) })
	switch {
	case n < 0:
		return i, target, fault.Errorf(fault.NotFound, "unlink: %s has no account %q", i.Name, key)
	case len(i.Accounts) == 1:
		return i, target, fault.Errorf(fault.Conflict, "unlink: it is the only account of %s", i.Name)
	case target.ID != "" && target.LivesIn != i.ID:
		return i, target, fault.Errorf(fault.Conflict, "unlink: %s does not live in %s", target.ID, i.ID)
	}
	i, target = i.clone(), target.clone()
	i.Links, target.Links = slices.Clone(i.Links), slices.Clone(target.Links)
	a := i.Accounts[n]
	i.Accounts = slices.Delete(i.Accounts, n, n+1)
	if target.ID == "" {
		target = Identity{Tenant: i.Tenant, Kind: cmp.Or(a.Kind, i.Kind), CreatedAt: now}
	}
	// What stays must not name the account that went: it would be learnt again.
	for k := range i.Accounts {
		i.Accounts[k].Ref = i.Accounts[k].Ref.withoutKeysOf(a)
	}
	a.Ref = a.Ref.withoutKeysOf(i.Accounts...)
	target.Accounts, target.LivesIn = append(target.Accounts, a), ""
	target.inherit(i)
	i.Links = append(i.Links, LinkChange{false, a.Ref, target.ID, by, reason, now})
	target.Links = append(target.Links, LinkChange{true, a.Ref, i.ID, by, reason, now})
	i.settle(now)
	target.settle(now)
	return i, target, nil
}

func workload(k Kind) bool { return k == KindWorkload || k == KindAgent || k == KindComputer }

// settle puts the accounts in their order and derives the name.
func (i *Identity) settle(now time.Time) {
	slices.SortFunc(i.Accounts, byAccount)
	if len(i.Accounts) > 0 {
		i.Name = i.bestName()
	}
	i.UpdatedAt = now
}

// withoutKeysOf drops the strong identifiers by which the directories of the others
// know them.
func (r Ref) withoutKeysOf(others ...Account) Ref {
	for _, o := range others {
		if o.Provider == r.Provider {
			continue
		}
		switch o.Provider {
		case EntraID:
			if r.ObjectID != "" && canonicalGUID(r.ObjectID) == canonicalGUID(o.ObjectID) {
				r.ObjectID = ""
			}
		case ActiveDirectory:
			if strings.EqualFold(r.SID, o.SID) {
				r.SID = ""
			}
			if canonicalGUID(r.GUID) == canonicalGUID(o.GUID) {
				r.GUID = ""
			}
		}
	}
	return r
}

// An AccountSpan is an account and since when it was the identity's.
type AccountSpan struct {
	Account Ref       `json:"account"`
	Since   time.Time `json:"since"`
}

// AccountsAt returns the accounts that were the identity's at the time, as far as
// Cordon knew them.
func (i Identity) AccountsAt(t time.Time) []AccountSpan {
	type entry struct {
		ref   Ref
		since time.Time
	}
	have := map[string]entry{}
	name := func(r Ref) string { return string(r.Provider) + "|" + Account{Ref: r}.Key() }
	for _, a := range i.Accounts {
		since := a.Since
		if since.IsZero() {
			since = i.CreatedAt
		}
		have[name(a.Ref)] = entry{a.Ref, since}
	}
	// Backwards from now: what came later was not there, what went later was.
	for n := len(i.Links) - 1; n >= 0; n-- {
		switch c := i.Links[n]; {
		case !c.At.After(t):
		case c.Linked:
			delete(have, name(c.Account))
		default:
			have[name(c.Account)] = entry{c.Account, i.CreatedAt}
		}
	}
	// A link that was made before t says since when.
	for _, c := range i.Links {
		if e, ok := have[name(c.Account)]; ok && c.Linked && !c.At.After(t) {
			e.since = c.At
			have[name(c.Account)] = e
		}
	}
	out := []AccountSpan{}
	for _, e := range have {
		if !e.since.After(t) {
			out = append(out, AccountSpan{e.ref, e.since})
		}
	}
	slices.SortFunc(out, func(a, b AccountSpan) int { return strings.Compare(name(a.Account), name(b.Account)) })
	return out
}

// A Proposal says that two identities may be one: weak names agree, which proves
// nothing.
type Proposal struct {
	Other   ID       `json:"other"`
	Name    string   `json:"name"`
	Because []string `json:"because"`
}

// Propose compares i with others by weak names and returns those that may be the
// same person or workload, most agreement first. It merges nothing.
func Propose(i Identity, others []Identity) []Proposal {
	out := []Proposal{}
	for _, o := range others {
		if o.ID == i.ID || o.Tenant != i.Tenant || o.LivesIn != "" || len(o.Accounts) == 0 || workload(o.Kind) != workload(i.Kind) && o.Kind != KindUnknown && i.Kind != KindUnknown {
			continue
		}
		var because []string
		for _, a := range i.Accounts {
			for _, b := range o.Accounts {
				for _, w := range weak(a.Ref, b.Ref) {
					if !slices.Contains(because, w) {
						because = append(because, w)
					}
				}
			}
		}
		if len(because) > 0 {
			slices.Sort(because)
			out = append(out, Proposal{o.ID, o.Name, because})
		}
	}
	slices.SortFunc(out, func(a, b Proposal) int {
		return cmp.Or(cmp.Compare(len(b.Because), len(a.Because)), strings.Compare(string(a.Other), string(b.Other)))
	})
	return out
}

// weak returns what two accounts have in common that proves nothing.
func weak(a, b Ref) []string {
	var out []string
	same := func(x, y, what string) {
		if x = strings.TrimSpace(x); x != "" && strings.EqualFold(x, strings.TrimSpace(y)) {
			out = append(out, what+" "+x)
		}
	}
	same(a.UPN, b.UPN, "user principal name")
	if !strings.EqualFold(a.UPN, b.UPN) {
		pa, _, _ := strings.Cut(a.UPN, "@")
		pb, _, _ := strings.Cut(b.UPN, "@")
		same(pa, pb, "beginning of the user principal name")
	}
	same(a.SAM, b.SAM, "sAMAccountName")
	same(a.DisplayName, b.DisplayName, "display name")
	return out
}
