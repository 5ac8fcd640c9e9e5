package world

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// person is one user object. It is replaced, never changed, once it can be
// read; people.edit does that.
type person struct {
	pos        int
	id         string
	upn        string
	given, sur string
	display    string
	kind       string // a Kind… constant: member, guest, breakGlass, syncAccount
	dept       string
	job        string
	office     string
	mobile     string
	employee   int
	manager    int // position, -1 when none
	reports    int // direct reports at the seed
	enabled    bool
	force      bool // must change the password at next sign-in
	forceMFA   bool
	created    int64 // Unix seconds, like all instants of the directory
	passwordAt int64
	validFrom  int64
	onPrem     *adNames // nil for cloud-only
	groups     []int    // positions of groups, direct
	devices    []int

	authenticator, phone, fido, sspr, passwordless bool

	dormant     bool // disabled since before the seed
	deleted     bool
	resets      int
	revocations int
}

// people is the users collection.
type people struct {
	list  []*person
	byID  map[string]int
	byUPN map[string]int // lower case
	gone  int
	feed  feed
	w     *World
}

func (p *people) span() int  { return len(p.list) }
func (p *people) count() int { return len(p.list) - p.gone }
func (p *people) at(pos int) Item {
	if u := p.list[pos]; !u.deleted {
		return u
	}
	return nil
}

// user finds a person by id or user principal name, deleted ones too.
func (p *people) user(key string) (*person, bool) {
	if pos, ok := p.byID[key]; ok {
		return p.list[pos], true
	}
	key = strings.ToLower(key)
	if pos, ok := p.byID[key]; ok {
		return p.list[pos], true
	}
	if pos, ok := p.byUPN[key]; ok {
		return p.list[pos], true
	}
	return nil, false
}

func (p *people) find(key string) (Item, bool) {
	if u, ok := p.user(key); ok && !u.deleted {
		return u, true
	}
	return nil, false
}

func (p *people) findBy(property, value string) (Item, bool) {
	if property != "onPremisesSecurityIdentifier" {
		return nil, false
	}
	if pos, ok := p.w.bySID[value]; ok {
		if id := p.w.ad[pos].userID; id != "" {
			return p.find(id)
		}
	}
	return nil, false
}

// edit replaces a person by a changed copy and notes it for delta queries.
func (p *people) edit(id string, change func(*person)) {
	next := *p.list[p.byID[id]]
	change(&next)
	p.list[next.pos] = &next
	p.feed.note(id, next.deleted)
}

func (u *person) ID() string { return u.id }

func (u *person) guest() bool { return u.kind == KindGuest }

// member reports whether a Pick of KindMember may find this person.
func (u *person) member() bool { return u.kind == KindMember }

// userProperties is the order of rendering.
var userProperties = []string{
	"id", "accountEnabled", "ageGroup", "assignedLicenses", "businessPhones", "city", "companyName", "country",
	"createdDateTime", "creationType", "deletedDateTime", "department", "displayName", "employeeId", "employeeType",
	"externalUserState", "givenName", "identities", "imAddresses", "jobTitle", "lastPasswordChangeDateTime", "mail",
	"mailNickname", "mobilePhone", "officeLocation", "onPremisesDistinguishedName", "onPremisesDomainName",
	"onPremisesImmutableId", "onPremisesLastSyncDateTime", "onPremisesSamAccountName",
	"onPremisesSecurityIdentifier", "onPremisesSyncEnabled", "onPremisesUserPrincipalName", "otherMails",
	"passwordPolicies", "passwordProfile", "preferredLanguage", "proxyAddresses", "securityIdentifier",
	"signInSessionsValidFromDateTime", "surname", "usageLocation", "userPrincipalName", "userType",
}

// Object renders the user.
func (u *person) Object() Object {
	o := make(Object, len(userProperties))
	for _, p := range userProperties {
		o[p], _ = u.Value(p)
	}
	return o
}

// Value renders one property. The names are those of the user resource of
// Graph v1.0 that the tenant fills; null where it has no value.
func (u *person) Value(property string) (any, bool) {
	switch property {
	case "id":
		return u.id, true
	case "accountEnabled":
		return u.enabled, true
	case "userPrincipalName":
		return u.upn, true
	case "displayName":
		return u.display, true
	case "userType":
		if u.guest() {
			return "Guest", true
		}
		return "Member", true
	case "lastPasswordChangeDateTime":
		return second(u.passwordAt), true
	case "signInSessionsValidFromDateTime":
		return second(u.validFrom), true
	case "createdDateTime":
		return second(u.created), true
	case "passwordProfile":
		return Object{"password": nil, "forceChangePasswordNextSignIn": u.force, "forceChangePasswordNextSignInWithMfa": u.forceMFA}, true
	case "passwordPolicies":
		if u.kind == KindBreakGlass {
			return "DisablePasswordExpiration", true
		}
		return nil, true
	case "securityIdentifier":
		return cloudSID(u.id), true
	}
	if v, ok := u.onPremisesValue(property); ok {
		return v, true
	}
	return u.profileValue(property)
}

func (u *person) onPremisesValue(property string) (any, bool) {
	if !strings.HasPrefix(property, "onPremises") {
		return nil, false
	}
	var v any
	switch property {
	case "onPremisesSyncEnabled":
		if u.onPrem != nil {
			v = true
		}
	case "onPremisesSecurityIdentifier":
		if u.onPrem != nil {
			v = u.onPrem.sid
		}
	case "onPremisesSamAccountName":
		if u.onPrem != nil {
			v = u.onPrem.sam
		}
	case "onPremisesDomainName":
		if u.onPrem != nil {
			v = u.onPrem.domain
		}
	case "onPremisesDistinguishedName":
		if u.onPrem != nil {
			v = u.onPrem.dn
		}
	case "onPremisesImmutableId":
		if u.onPrem != nil {
			v = immutableID(u.onPrem.guid)
		}
	case "onPremisesUserPrincipalName":
		if u.onPrem != nil {
			v = u.upn
		}
	case "onPremisesLastSyncDateTime":
		if u.onPrem != nil {
			v = second(u.onPrem.syncedAt)
		}
	default:
		return nil, false
	}
	return v, true
}

func (u *person) profileValue(property string) (any, bool) {
	switch property {
	case "givenName":
		return orNil(u.given), true
	case "surname":
		return orNil(u.sur), true
	case "department":
		return orNil(u.dept), true
	case "jobTitle":
		return orNil(u.job), true
	case "officeLocation":
		return orNil(u.office), true
	case "city":
		return orNil(u.office), true
	case "mobilePhone":
		return orNil(u.mobile), true
	case "employeeId":
		if u.employee == 0 {
			return nil, true
		}
		return fmt.Sprintf("E%06d", u.employee), true
	case "employeeType":
		if u.kind == KindMember {
			return "Employee", true
		}
		return nil, true
	case "companyName":
		return nil, true
	case "country", "ageGroup", "deletedDateTime":
		return nil, true
	case "usageLocation":
		return "DE", true
	case "preferredLanguage":
		return "en-US", true
	case "mail":
		if u.guest() {
			return u.guestMail(), true
		}
		if u.kind == KindMember {
			return u.upn, true
		}
		return nil, true
	case "mailNickname":
		nick, _, _ := strings.Cut(u.upn, "@")
		return nick, true
	case "proxyAddresses":
		if u.kind == KindMember {
			return []any{"SMTP:" + u.upn}, true
		}
		return []any{}, true
	case "creationType":
		if u.guest() {
			return "Invitation", true
		}
		return nil, true
	case "externalUserState":
		if u.guest() {
			return "Accepted", true
		}
		return nil, true
	case "otherMails":
		if u.guest() {
			return []any{u.guestMail()}, true
		}
		return []any{}, true
	case "identities":
		return []any{Object{"signInType": "userPrincipalName", "issuer": CloudDomain, "issuerAssignedId": u.upn}}, true
	case "assignedLicenses", "businessPhones", "imAddresses":
		return []any{}, true
	}
	return nil, false
}

// guestMail undoes the form of a guest's user principal name,
// first.last_partner.example#EXT#@tenant.
func (u *person) guestMail() string {
	local, _, _ := strings.Cut(u.upn, "#EXT#")
	if i := strings.LastIndexByte(local, '_'); i >= 0 {
		return local[:i] + "@" + local[i+1:]
	}
	return local
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// guidBytes gives a GUID in the mixed-endian layout that Windows stores.
func guidBytes(guid string) [16]byte {
	var raw, b [16]byte
	n := 0
	for i := 0; i < len(guid) && n < 32; i++ {
		c := guid[i]
		var v byte
		switch {
		case c >= '0' && c <= '9':
			v = c - '0'
		case c >= 'a' && c <= 'f':
			v = c - 'a' + 10
		case c >= 'A' && c <= 'F':
			v = c - 'A' + 10
		default:
			continue
		}
		raw[n/2] = raw[n/2]<<4 | v
		n++
	}
	b = raw
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return b
}

// immutableID is the source anchor of a synchronised object: base64 of its
// AD objectGUID.
func immutableID(guid string) string {
	b := guidBytes(guid)
	return base64.StdEncoding.EncodeToString(b[:])
}

// cloudSID is the security identifier that Entra derives from an object id.
func cloudSID(id string) string {
	b := guidBytes(id)
	le := func(i int) uint32 {
		return uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16 | uint32(b[i+3])<<24
	}
	return fmt.Sprintf("S-1-12-1-%d-%d-%d-%d", le(0), le(4), le(8), le(12))
}
