package world

import (
	"fmt"
	"strings"
)

// Names is how an account is known in a domain of Active Directory.
type Names struct {
	SID    string // S-1-5-21-…
	GUID   string // objectGUID, lower case with dashes
	SAM    string
	Domain string // DNS name
	DN     string
}

// Mirror gives the account behind ref, which must live in Active Directory, the
// names of an account of another domain, a real one perhaps: a synchronised person
// then comes from there. What the account is like there stays the caller's to tell,
// with EventOnPremisesChange and EventSyncCycle.
func (w *World) Mirror(ref string, n Names) (Account, error) {
	w.lock()
	defer w.mu.Unlock()
	a, err := w.resolve(ref)
	if err != nil {
		return Account{}, err
	}
	pos, ok := w.bySID[a.SID]
	if !ok || a.SID == "" {
		return Account{}, fmt.Errorf("%s has no account in Active Directory", ref)
	}
	if other, taken := w.bySID[n.SID]; taken && other != pos {
		return Account{}, fmt.Errorf("%s is the SID of somebody else", n.SID)
	}
	x := w.ad[pos]
	delete(w.bySID, x.sid)
	delete(w.byNT, strings.ToLower(NTDomain+`\`+x.sam))
	names := &adNames{sid: n.SID, guid: n.GUID, sam: n.SAM, domain: n.Domain, dn: n.DN, syncedAt: x.syncedAt}
	x.adNames = names
	w.bySID[n.SID] = pos
	w.byNT[strings.ToLower(NTDomain+`\`+n.SAM)] = pos
	if x.userID != "" {
		w.people.edit(x.userID, func(u *person) { u.onPrem = names })
	}
	for alias, bound := range w.aliases {
		if bound.Key() == a.Key() {
			bound.SID, bound.ObjectGUID, bound.SAMAccountName, bound.Domain = n.SID, n.GUID, n.SAM, n.Domain
			w.aliases[alias] = bound
		}
	}
	return w.adAccount(x), nil
}
