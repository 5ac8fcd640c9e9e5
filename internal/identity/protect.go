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
	// OnPremises says that Active Directory is connected: what it has not said of an
	// account there protects.
	OnPremises bool
}

// A Protection is the answer: why an identity must not be changed by
// automation. Empty Reasons mean it is not protected.
type Protection struct {
	Reasons []string `json:"reasons,omitempty"`
	Unknown bool     `json:"unknown,omitempty"` // protected only because a fact is missing or stale
}

// Protected reports whether any reason holds.
func (p Protection) Protected() bool { return len(p.Reasons) > 0 }

// DirectorySynchronization is the role template id of Directory Synchronization
// Accounts, which only synchronisation services hold.
const DirectorySynchronization = "d29b2b05-8046-44ba-8758-1e26182fcf32"

// Protect says whether automation may never change i (law 1). usableGlobalAdmins
// is how many enabled accounts hold an active Global Administrator assignment,
// with usableAsOf the age of that count; the last one is protected. A missing or
// stale role fact protects, because unknown is not safe.
func (p Policy) Protect(i Identity, usableGlobalAdmins int, usableAsOf, now time.Time) Protection {
	var out Protection
	add := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !slices.Contains(out.Reasons, text) {
			out.Reasons = append(out.Reasons, text)
		}
	}
	maxAge := p.RolesMaxAge
	if maxAge == 0 {
		maxAge = 24 * time.Hour
	}
	for _, t := range i.Tagged() {
		if t.Name == TagProtected {
			add("%s", t.Text())
		}
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
		if isSync(a) {
			add("a directory-synchronisation account")
		}
		if rid := ridOf(a.SID); rid == "502" || isKrbtgt(a.SAM) {
			add("krbtgt: signs every Kerberos ticket of the domain")
		} else if text := builtIn[rid]; text != "" {
			add("%s", text)
		}
		for _, text := range a.Facts.OnPremises.reasons() {
			add("%s", text)
		}
	}
	if i.Kind == KindComputer || slices.ContainsFunc(i.Accounts, func(a Account) bool { return strings.HasSuffix(a.SAM, "$") }) {
		add("a computer account: it may be a domain controller")
	}
	if len(out.Reasons) > 0 {
		return out
	}
	if i.Kind == KindUnknown || i.Kind == "" {
		out.Unknown = true
		add("no source has said what kind of account it is")
	}
	for _, a := range i.Accounts {
		for _, text := range append(p.unread(a), p.unreadOnPremises(a, now, maxAge)...) {
			out.Unknown = true
			add("%s", text)
		}
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
	if slices.ContainsFunc(roles, func(r Role) bool { return strings.EqualFold(r.TemplateID, GlobalAdministrator) && r.Active }) {
		switch {
		case usableAsOf.IsZero() || now.Sub(usableAsOf) > maxAge:
			out.Unknown = true
			add("a Global Administrator, and how many others are usable is not known")
		case usableGlobalAdmins <= 1:
			out.Unknown = false // whatever else is unknown, this is a reason of its own
			add("the last usable Global Administrator")
		}
	}
	return out
}

// unread says which lines of the protected list cannot be compared with a yet,
// because what they name has not been read of it.
func (p Policy) unread(a Account) (texts []string) {
	if a.Provider != EntraID || a.Facts.Found != nil && !*a.Facts.Found {
		return nil
	}
	workload := a.Kind == KindWorkload
	synced := a.Facts.Synced == nil || *a.Facts.Synced
	for _, e := range p.List {
		want := strings.Trim(e.Match, " {}")
		is := func(v string) bool { return strings.EqualFold(want, strings.Trim(v, " {}")) }
		switch {
		case want == "", e.Group && IsSID(want): // a group of Active Directory
		case e.Group && !slices.ContainsFunc(a.Facts.GroupsRead, is):
			texts = append(texts, "the members of the protected group "+want+" have not been read yet")
		case e.Group, workload:
		case strings.Contains(want, "@") && a.UPN == "" && !slices.ContainsFunc(a.Facts.GroupsRead, is):
			texts = append(texts, "the protected list goes by user principal name, and the account's has not been read yet")
		case strings.HasPrefix(strings.ToUpper(want), "S-1-") && a.SID == "" && synced:
			texts = append(texts, "the protected list goes by SID, and the account's has not been read yet")
		}
	}
	if workload && a.AppID == "" && len(p.OwnAppIDs) > 0 {
		texts = append(texts, "whether it is one of Cordon's own accounts is not known: its application id has not been read yet")
	}
	return texts
}

func (e Protected) matches(a Account) bool {
	want := strings.Trim(e.Match, " {}")
	if want == "" {
		return false
	}
	same := func(v string) bool { return strings.EqualFold(want, strings.Trim(v, " {}")) }
	if e.Group {
		return slices.ContainsFunc(a.Facts.Groups, same)
	}
	if strings.Contains(want, "@") && slices.ContainsFunc(a.Facts.Groups, same) {
		return true // the directory says that the name is this account's, whatever name we know it by
	}
	return slices.ContainsFunc([]string{a.ObjectID, a.UPN, a.SID, a.AppID, a.GUID}, same)
}

// isSync reports whether a is an account of Entra Connect or cloud sync: it holds
// their role, or has the name they give: Sync_<server>_<hex> in the cloud,
// MSOL_<hex> or AAD_<hex> on premises. A person with a similar name is not one.
// Source: Microsoft Entra Connect, accounts and permissions.
func isSync(a Account) bool {
	for _, r := range a.Facts.Roles {
		if strings.EqualFold(r.TemplateID, DirectorySynchronization) && r.Active {
			return true
		}
	}
	for _, name := range []string{a.UPN, a.SAM} {
		name, _, _ = strings.Cut(strings.ToLower(name), "@")
		if name == "adtoaadsyncserviceaccount" {
			return true
		}
		kind, rest, _ := strings.Cut(name, "_")
		switch kind {
		case "sync":
			if n := strings.LastIndexByte(rest, '_'); n > 0 && isHex(rest[n+1:]) {
				return true
			}
		case "msol", "aad":
			if isHex(rest) {
				return true
			}
		}
	}
	return false
}

// isHex reports whether s is a run of at least eight hexadecimal digits.
func isHex(s string) bool {
	return len(s) >= 8 && strings.Trim(s, "0123456789abcdef") == ""
}

// isKrbtgt reports whether a SAM account name is krbtgt or that of a read-only
// domain controller, krbtgt_<number>.
func isKrbtgt(sam string) bool {
	name, number, rodc := strings.Cut(strings.ToLower(sam), "_")
	return name == "krbtgt" && (!rodc || number != "" && strings.Trim(number, "0123456789") == "")
}

func ridOf(sid string) string {
	if n := strings.LastIndexByte(sid, '-'); n >= 0 && strings.HasPrefix(strings.ToUpper(sid), "S-1-5-21-") {
		return sid[n+1:]
	}
	return ""
}

// Privileged reports whether i holds any directory role, active or eligible, or has a
// tag that counts as one; known is false when it has none and no role fact has been
// read for a cloud account.
func (i Identity) Privileged() (privileged, known bool) {
	if slices.ContainsFunc(i.Tagged(), func(t Tagging) bool { return t.Name.Privileges() }) {
		return true, true
	}
	roles, asOf := i.Roles()
	_, cloud := i.Account(EntraID)
	return len(roles) > 0, !cloud || !asOf.IsZero()
}
