// Package activedirectory reads what a domain says of single accounts: whether
// they are enabled, which sensitive groups they are in however deep, what services
// they run, and how they are joined to Entra. It changes nothing.
//
// Sources: MS-ADTS 2.2.16 (userAccountControl), 3.1.1.4.5.19 (tokenGroups);
// "Entity tags in Microsoft Defender for Identity" for the sensitive groups;
// "Microsoft Entra Connect: design concepts" for the source anchor.
package activedirectory

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// describeEvery is how long what the domain's head says is believed.
const describeEvery = 10 * time.Minute

// maxServices is how many service principal names are kept.
const maxServices = 20

// Accounts reads accounts of one domain. Make it once and share its pointer.
type Accounts struct {
	Directory *directory.Client
	// ProtectedGroups are the SIDs of groups whose members the protected list names.
	ProtectedGroups []string
	Now             func() time.Time

	mu        sync.Mutex
	self      string // objectGUID of our own account
	described directory.Domain
	at        time.Time
}

var _ connector.Lookup = (*Accounts)(nil)

var attributes = []string{"sAMAccountName", "userPrincipalName", "displayName", "userAccountControl", "msDS-User-Account-Control-Computed", "pwdLastSet",
	"accountExpires", "adminCount", "isCriticalSystemObject", "servicePrincipalName", "lastLogon", "ms-DS-ConsistencyGuid"}

// Facts is connector.Lookup's: it reads the accounts that Refs name by SID or
// objectGUID and leaves the others out. Accounts that could be read come back also
// when others could not; the error says of those. What could not be read of an
// account stays unknown: Facts.OnPremises is set only when its groups were read.
func (a *Accounts) Facts(ctx context.Context, refs []identity.Ref) ([]connector.AccountFacts, error) {
	var named []identity.Ref
	var subjects []directory.Subject
	for _, r := range refs {
		if r.SID != "" || r.GUID != "" {
			named = append(named, r)
			subjects = append(subjects, directory.Subject{SID: r.SID, GUID: r.GUID})
		}
	}
	if len(named) == 0 {
		return nil, nil
	}
	views, err := a.views(ctx, subjects)
	if err != nil {
		return nil, fmt.Errorf("read accounts of %s: %w", a.Directory.Domain(), err)
	}
	domain, err := a.domain(ctx)
	if err != nil {
		return nil, fmt.Errorf("read accounts of %s: %w", a.Directory.Domain(), err)
	}
	var out []connector.AccountFacts
	var errs []error
	for n, r := range named {
		f, err := a.account(ctx, r, n, views, domain)
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s in %s: %w", r.Name(), a.Directory.Domain(), err))
		}
		if f != nil {
			out = append(out, *f)
		}
	}
	return out, errors.Join(errs...)
}

// everywhereFor is how long all controllers together are waited for: one that is gone
// must not keep what the others say.
const everywhereFor = 2 * time.Second

// views reads the subjects on every writable controller that answers soon, and when
// none does on the preferred one.
func (a *Accounts) views(ctx context.Context, subjects []directory.Subject) ([]directory.View, error) {
	soon, cancel := context.WithTimeout(ctx, everywhereFor)
	defer cancel()
	views, err := a.Directory.SeeEverywhere(soon, subjects, attributes...)
	if err == nil && slices.ContainsFunc(views, func(v directory.View) bool { return v.Err == nil }) || ctx.Err() != nil {
		return views, err
	}
	v, err := a.Directory.See(ctx, subjects, attributes...)
	if err != nil {
		return nil, err
	}
	return []directory.View{v}, nil
}

// domain returns our own account and the domain's head, read again when old.
func (a *Accounts) domain(ctx context.Context) (directory.Domain, error) {
	a.mu.Lock()
	known, self, fresh := a.described, a.self, !a.at.IsZero() && a.Now().Sub(a.at) < describeEvery
	a.mu.Unlock()
	if fresh {
		return known, nil
	}
	if self == "" {
		own, err := a.Directory.Self(ctx)
		if err != nil {
			return known, fmt.Errorf("find Cordon's own account: %w", err)
		}
		self = own.GUID
	}
	d, err := a.Directory.Describe(ctx)
	if err != nil {
		return known, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.described, a.self, a.at = d, self, a.Now()
	return d, nil
}

// account makes the facts of one account of what the controllers show. It returns
// nil when no controller could be read.
func (a *Accounts) account(ctx context.Context, r identity.Ref, n int, views []directory.View, domain directory.Domain) (*connector.AccountFacts, error) {
	now := a.Now()
	ref := identity.Ref{Provider: identity.ActiveDirectory, SID: r.SID, GUID: r.GUID, Domain: a.Directory.Domain()}
	var o *directory.Object
	var errs []error
	var unread []string
	shown := false
	for _, v := range views {
		if v.Err != nil {
			errs, unread = append(errs, v.Err), append(unread, v.DC)
			continue
		}
		s := v.Sights[n]
		switch {
		case errors.Is(s.Err, fault.Conflict):
			return &connector.AccountFacts{Ref: identity.Ref{Provider: ref.Provider, SID: r.SID, Domain: ref.Domain}, Facts: identity.Facts{RolesAsOf: now,
				OnPremises: &identity.OnPremises{DC: v.DC, Class: identity.ClassUser, Dispute: s.Err.Error()}}}, nil
		case s.Err != nil:
			return nil, s.Err
		}
		shown = true
		if o == nil {
			o = s.Object
		}
	}
	switch {
	case !shown:
		return nil, errors.Join(errs...)
	case o == nil && len(unread) > 0:
		return nil, fault.Errorf(fault.Unavailable, "no controller that answers has it, and %s cannot be read: %w", strings.Join(unread, ", "), errors.Join(errs...))
	case o == nil:
		found := false
		return &connector.AccountFacts{Ref: ref, Facts: identity.Facts{AsOf: now, Found: &found}}, nil
	}
	f := a.plain(ref, *o, now)
	more, err := a.groups(ctx, *o, domain)
	if err != nil {
		return f, err // enabled or not is known all the same
	}
	p := more.OnPremises
	p.Unread = unread
	for _, v := range views {
		if v.Err != nil || v.Sights[n].Object == nil {
			continue
		}
		if at, _ := v.Sights[n].Object.Number("lastLogon"); directory.FileTime(at).After(p.LastLogon) {
			p.LastLogon, p.LastLogonOn = directory.FileTime(at), v.DC
		}
	}
	f.Facts = f.Facts.Merge(*more)
	f.Ref.Kind = kind(p.Class)
	return f, nil
}

func kind(c identity.Class) identity.Kind {
	switch c {
	case identity.ClassUser:
		return identity.KindPerson
	case identity.ClassComputer, identity.ClassDC, identity.ClassTrust:
		return identity.KindComputer
	case identity.ClassGMSA, identity.ClassSMSA, identity.ClassDMSA:
		return identity.KindWorkload
	}
	return ""
}

// plain are the facts that all directories know.
func (a *Accounts) plain(ref identity.Ref, o directory.Object, now time.Time) *connector.AccountFacts {
	ref.SID, ref.GUID = o.SID, o.GUID
	ref.SAM, _ = o.Text("sAMAccountName")
	ref.UPN, _ = o.Text("userPrincipalName")
	ref.DisplayName, _ = o.Text("displayName")
	found := true
	f := identity.Facts{AsOf: now, Found: &found}
	if control, ok := o.Number("userAccountControl"); ok {
		on := control&accountDisable == 0
		f.Enabled = &on
	}
	set, _ := o.Number("pwdLastSet")
	f.LastPasswordChange = directory.FileTime(set)
	return &connector.AccountFacts{Ref: ref, Facts: f}
}

// groups are the facts that rest on what the account is a member of.
func (a *Accounts) groups(ctx context.Context, o directory.Object, domain directory.Domain) (*identity.Facts, error) {
	token, err := a.token(ctx, o)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	own := a.self == o.GUID
	a.mu.Unlock()
	control, _ := o.Number("userAccountControl")
	computed, _ := o.Number("msDS-User-Account-Control-Computed")
	set, hasSet := o.Number("pwdLastSet")
	expires, _ := o.Number("accountExpires")
	admin, _ := o.Number("adminCount")
	critical, _ := o.Text("isCriticalSystemObject")
	p := &identity.OnPremises{
		DC: o.DC, DN: o.DN, Class: class(o, control), Control: flags(control), Own: own, Critical: strings.EqualFold(critical, "TRUE"),
		AdminCount: admin > 0, Locked: computed&lockedOut != 0, MustChange: hasSet && set == 0, Expires: directory.FileTime(expires), Anchor: anchor(o),
	}
	for _, v := range o.Values("servicePrincipalName") {
		if len(p.Services) < maxServices {
			p.Services = append(p.Services, string(v))
		}
	}
	slices.Sort(p.Services)
	f := &identity.Facts{RolesAsOf: a.Now(), OnPremises: p}
	for _, sid := range token {
		name := sensitive(sid)
		if slices.Contains(domain.Exchange, sid) {
			name = exchangeServers
		}
		if name != "" {
			f.Roles = append(f.Roles, identity.Role{TemplateID: sid, Name: name, Active: true})
			peers, here, err := a.peers(ctx, o, sid)
			switch {
			case err != nil:
				return nil, err
			case !here: // of another domain: who else is in it is not seen from here
			case len(peers) == 0:
				p.LastOf = append(p.LastOf, name)
			case identity.LastIsProtected(name):
				if p.Peers == nil {
					p.Peers = map[string][]string{}
				}
				p.Peers[name] = peers
			}
		}
		p.Guarded = p.Guarded || rid(sid) == protectedUsers
	}
	if slices.ContainsFunc(domain.Replicators, func(sid string) bool { return sid == o.SID || slices.Contains(token, sid) }) {
		p.Replicates = true
		f.Roles = append(f.Roles, identity.Role{TemplateID: "DS-Replication-Get-Changes-All", Name: replication, Active: true})
	}
	for _, g := range a.ProtectedGroups {
		g = strings.ToUpper(strings.TrimSpace(g))
		f.GroupsRead = append(f.GroupsRead, g)
		if slices.Contains(token, g) {
			f.Groups = append(f.Groups, g)
		}
	}
	return f, nil
}

// token reads the SIDs of every security group that the account is in, however
// deep, its primary group included. An account always has one: none means that it
// may not be read.
func (a *Accounts) token(ctx context.Context, o directory.Object) (sids []string, err error) {
	q := directory.Query{Base: "<GUID=" + o.GUID + ">", Filter: "(objectClass=*)", One: true, Attributes: []string{"tokenGroups"}}
	for g, err := range a.Directory.Search(ctx, q) {
		if err != nil {
			return nil, err
		}
		for _, b := range g.Values("tokenGroups") {
			sid, err := directory.SIDText(b)
			if err != nil {
				return nil, err
			}
			sids = append(sids, sid)
		}
	}
	if len(sids) == 0 && o.Is("user") {
		return nil, fault.Errorf(fault.Denied, "the groups it is in (tokenGroups) are not shown: the account that Cordon uses may not read them")
	}
	slices.Sort(sids)
	return sids, nil
}

// maxPeers is how many other members of a group are kept, maxNested how many groups
// are looked into for them.
const (
	maxPeers  = 50
	maxNested = 200
)

// peers returns the SIDs of who else in the group, however deep, can sign in, sorted:
// at most maxPeers. here is false for a group of another domain.
//
// It goes down from group to group. To ask for all at once (LDAP_MATCHING_RULE_IN_CHAIN)
// a Samba controller looks at every account of the domain: a second for each thousand.
func (a *Accounts) peers(ctx context.Context, o directory.Object, group string) (sids []string, here bool, err error) {
	var next []directory.Object
	for g, err := range a.Directory.Search(ctx, directory.Query{Filter: "(objectSid=" + group + ")", Limit: 1}) {
		if err != nil {
			return nil, false, err
		}
		next = append(next, g)
	}
	if len(next) == 0 {
		return nil, false, nil
	}
	seen := map[string]bool{o.GUID: true, next[0].GUID: true}
	for n := 0; n < len(next) && n < maxNested && len(sids) < maxPeers; n++ {
		member := "(memberOf=" + directory.Escape(next[n].DN) + ")"
		if r := rid(next[n].SID); r != "" {
			member = "(|" + member + "(primaryGroupID=" + r + "))"
		}
		q := directory.Query{Filter: "(&(|(objectClass=group)(objectClass=user))" + member + ")", Attributes: []string{"accountExpires", "userAccountControl"}}
		for m, err := range a.Directory.Search(ctx, q) {
			switch {
			case err != nil:
				return nil, true, err
			case seen[m.GUID]:
				continue
			}
			seen[m.GUID] = true
			if m.Is("group") {
				next = append(next, m)
			} else if m.SID != "" && a.usable(m) && len(sids) < maxPeers {
				sids = append(sids, m.SID)
			}
		}
	}
	slices.Sort(sids)
	return sids, true, nil
}

// usable reports whether an account is neither disabled nor expired.
func (a *Accounts) usable(o directory.Object) bool {
	control, shown := o.Number("userAccountControl")
	ends, _ := o.Number("accountExpires")
	at := directory.FileTime(ends)
	return shown && control&accountDisable == 0 && (at.IsZero() || at.After(a.Now()))
}

func class(o directory.Object, control int64) identity.Class {
	switch {
	case o.Is("msDS-GroupManagedServiceAccount"):
		return identity.ClassGMSA
	case o.Is("msDS-DelegatedManagedServiceAccount"):
		return identity.ClassDMSA
	case o.Is("msDS-ManagedServiceAccount"):
		return identity.ClassSMSA
	case control&(serverTrust|rodc) != 0:
		return identity.ClassDC
	case control&trustAccount != 0:
		return identity.ClassTrust
	case o.Is("computer"), control&workstation != 0:
		return identity.ClassComputer
	case o.Is("user"):
		return identity.ClassUser
	}
	return identity.ClassOther
}

// anchor is what Entra Connect makes the immutable id of, unless it was told
// otherwise.
func anchor(o directory.Object) string {
	if v := o.Values("ms-DS-ConsistencyGuid"); len(v) == 1 {
		if g, err := directory.GUIDText(v[0]); err == nil {
			return g
		}
	}
	return o.GUID
}

// Anchored returns the GUID that an onPremisesImmutableId of Entra stands for:
// base64 of its 16 bytes; "" when it is something else, because a tenant may use
// any attribute.
func Anchored(immutableID string) string {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(immutableID))
	if err != nil || len(b) != 16 {
		return ""
	}
	g, err := directory.GUIDText(b)
	if err != nil {
		return ""
	}
	return g
}

// Dispute says, in words, when a cloud account's two keys name two accounts of this
// domain: sid is its onPremisesSecurityIdentifier, anchored what its immutable id
// stands for. "" when they agree, or when the immutable id names nobody here.
func (a *Accounts) Dispute(ctx context.Context, sid, anchored string) (string, error) {
	b, err := directory.GUIDBytes(anchored)
	if err != nil {
		return "", err
	}
	bytes := directory.Bytes(b)
	for o, err := range a.Directory.Search(ctx, directory.Query{Filter: "(|(objectGUID=" + bytes + ")(ms-DS-ConsistencyGuid=" + bytes + "))", Attributes: []string{"sAMAccountName", "ms-DS-ConsistencyGuid"}, Limit: 3}) {
		if err != nil {
			return "", err
		}
		if anchor(o) == anchored && !strings.EqualFold(o.SID, strings.TrimSpace(sid)) {
			name, _ := o.Text("sAMAccountName")
			return fmt.Sprintf("Entra's immutable id stands for %s (%s), its onPremisesSecurityIdentifier is %s", name, o.SID, sid), nil
		}
	}
	return "", nil
}
