package identity

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Protected entry is one line of the operator's protected list.
type Protected struct {
	Match  string // object id, UPN, SID, app id, or group id with Group set
	Group  bool   // Match is a group; its members are protected
	Reason string // shown wherever the protection stops something
}

// Policy is what decides protection besides the list: Cordon's own accounts and
// how old a role fact may be before it counts as unknown.
type Policy struct {
	List        []Protected
	OwnAppIDs   []string      // application ids Cordon itself signs in with
	RolesMaxAge time.Duration // 0 means 24 hours
}

// A Protection is the answer: why an identity must not be changed by
// automation. Empty Reasons mean it is not protected.
type Protection struct {
	Reasons []string `json:"reasons,omitempty"`
	Unknown bool     `json:"unknown,omitempty"` // protected only because a fact is missing or stale
}

// Protected reports whether any reason holds.
func (p Protection) Protected() bool { return len(p.Reasons) > 0 }

// syncPrefixes begin the names that Entra Connect gives its own accounts.
// Source: Microsoft Entra Connect, accounts and permissions.
var syncPrefixes = []string{"sync_", "msol_", "aad_", "adtoaadsyncserviceaccount"}

// Protect says whether automation may never change i (law 1). usableGlobalAdmins
// is how many enabled accounts hold an active Global Administrator assignment,
// with usableAsOf the age of that count; the last one is protected. A missing or
// stale role fact protects, because unknown is not safe.
func (p Policy) Protect(i Identity, usableGlobalAdmins int, usableAsOf, now time.Time) Protection {
	var out Protection
	add := func(format string, args ...any) { out.Reasons = append(out.Reasons, fmt.Sprintf(format, args...)) }
	maxAge := p.RolesMaxAge
	if maxAge == 0 {
		maxAge = 24 * time.Hour
	}
	for _, a := range i.Accounts {
		for _, e := range p.List {
			if e.matches(a) {
				add("on the protected list: %s", e.Reason)
			}
		}
		if a.AppID != "" && slices.ContainsFunc(p.OwnAppIDs, func(id string) bool { return strings.EqualFold(id, a.AppID) }) {
			add("one of Cordon's own accounts")
		}
		if isSync(a.Ref) {
			add("a directory-synchronisation account")
		}
		if rid := ridOf(a.SID); rid == "502" || strings.EqualFold(a.SAM, "krbtgt") {
			add("krbtgt: signs every Kerberos ticket of the domain")
		} else if rid == "500" {
			add("the domain's built-in Administrator")
		}
	}
	if i.Kind == KindComputer {
		add("a computer account: it may be a domain controller")
	}
	if len(out.Reasons) > 0 {
		return out
	}
	roles, asOf := i.Roles()
	_, cloud := i.Account(EntraID)
	switch {
	case cloud && i.Kind != KindWorkload && asOf.IsZero():
		out.Unknown = true
		add("its directory roles have not been read yet")
	case cloud && i.Kind != KindWorkload && now.Sub(asOf) > maxAge:
		out.Unknown = true
		add("its directory roles were last read at %s, over %s ago", asOf.UTC().Format(time.RFC3339), maxAge)
	}
	for _, r := range roles {
		if r.TemplateID != GlobalAdministrator || !r.Active {
			continue
		}
		switch {
		case usableAsOf.IsZero() || now.Sub(usableAsOf) > maxAge:
			out.Unknown = true
			add("a Global Administrator, and how many others are usable is not known")
		case usableGlobalAdmins <= 1:
			add("the last usable Global Administrator")
		}
		break
	}
	return out
}

func (e Protected) matches(a Account) bool {
	if e.Group {
		return slices.ContainsFunc(a.Facts.Groups, func(g string) bool { return strings.EqualFold(g, e.Match) })
	}
	for _, v := range []string{a.ObjectID, a.UPN, a.SID, a.AppID, a.GUID} {
		if v != "" && strings.EqualFold(strings.TrimSpace(e.Match), v) {
			return true
		}
	}
	return false
}

func isSync(r Ref) bool {
	for _, name := range []string{strings.ToLower(r.UPN), strings.ToLower(r.SAM)} {
		for _, p := range syncPrefixes {
			if strings.HasPrefix(name, p) {
				return true
			}
		}
	}
	return false
}

func ridOf(sid string) string {
	if n := strings.LastIndexByte(sid, '-'); n >= 0 && strings.HasPrefix(strings.ToUpper(sid), "S-1-5-21-") {
		return sid[n+1:]
	}
	return ""
}

// Privileged reports whether i holds any directory role, active or eligible;
// known is false when no role fact has been read for a cloud account.
func (i Identity) Privileged() (privileged, known bool) {
	roles, asOf := i.Roles()
	_, cloud := i.Account(EntraID)
	return len(roles) > 0, !cloud || !asOf.IsZero()
}
