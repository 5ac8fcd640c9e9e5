package activedirectory

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// The attributes that settings are about. Source: MS-ADA1 to MS-ADA3.
const (
	keyCredentials = "msDS-KeyCredentialLink"
	delegatesTo    = "msDS-AllowedToDelegateTo"
	actedOnBy      = "msDS-AllowedToActOnBehalfOfOtherIdentity"
	control        = "userAccountControl"
	accountExpires = "accountExpires"
	workstations   = "userWorkstations"
	logonHours     = "logonHours"
)

// The bits of userAccountControl that let an account act for others (MS-ADTS 2.2.16).
const (
	trustedForDelegation       = 0x80000
	trustedToAuthForDelegation = 0x1000000
	delegation                 = trustedForDelegation | trustedToAuthForDelegation
)

// The parameters of RestrictLogon.
const (
	ParamWorkstations = "workstations"
	ParamNoHours      = "no_hours"
)

// never is the accountExpires of an account that does not (MS-ADA1 2.1).
const never = "9223372036854775807"

func settingSpec(name action.Name, title, summary string, attributes ...string) action.Spec {
	return action.Spec{
		Name: name, Version: 1, Provider: identity.ActiveDirectory, Effect: action.EffectRestrict, Title: title, Summary: summary,
		Permissions: []string{"Read and write " + join(attributes) + " of user objects in the organisational units in scope"},
		Proof:       join(attributes) + " as wanted on every writable domain controller.",
		Batch:       batch, Bucket: Bucket, ReadBatch: readBatch, Propagation: propagation, Within: within,
	}
}

// back makes the action that undoes a setting: the values it was given, and for
// userAccountControl only the bits of mask.
func (d *domain) back(of *setting, name action.Name, title, summary, limits string, mask int64) *reversible {
	spec := of.spec
	spec.Name, spec.Undo, spec.Effect = name, of.spec.Name, action.EffectRelease
	spec.Title, spec.Summary, spec.Limits, spec.Remedies = title, summary, limits, nil
	spec.Params = action.Params{{Name: ParamState, Type: "string", Required: true, Text: "What the action that is undone replaced, as it recorded it."}}
	of.spec.Undo = name
	s := &setting{domain: d, spec: spec, of: of.of, whole: of.whole, say: of.say}
	s.want = func(r action.Request, has values) values {
		saved, ok := kept(r, s.of)
		if !ok {
			return has
		}
		out := copied(saved)
		for _, n := range s.of { // what was added to a list meanwhile stays
			if n == keyCredentials || n == delegatesTo {
				for _, v := range missing(has[n], out[n]) {
					out[n] = append(slices.Clone(out[n]), []byte(v))
				}
			}
		}
		if slices.Contains(s.of, control) {
			now, was := bits(has), bits(saved)
			out[control] = [][]byte{[]byte(strconv.FormatInt(now&^mask|was&mask, 10))}
		}
		return out
	}
	s.refuse = func(r action.Request) string {
		if _, ok := kept(r, s.of); !ok {
			return "it is not said what is to be brought back: undo the action that took it away"
		}
		return ""
	}
	return &reversible{s}
}

func bits(v values) int64 {
	if len(v[control]) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(v[control][0]), 10, 32) // read has checked it
	return n
}

// keys are what passwordless sign-in with a key pair rests on, "shadow credentials"
// when an attacker put them there.
func (d *domain) keys() (clear, back *reversible) {
	s := &setting{domain: d, of: []string{keyCredentials}}
	s.spec = settingSpec(ClearKeyCredentials, "Remove the key credentials in Active Directory", "No key pair opens the account any more.", keyCredentials)
	s.spec.Remedies = []signal.Cause{signal.CausePassword, signal.CauseBoth, signal.CauseUnknown}
	s.spec.Limits = "All keys go, also those of Windows Hello for Business: the person registers anew, or the undo brings them back. A ticket that was got with a key lives to its end, and what it showed of the password's hash stays known: reset the password too."
	s.want = func(action.Request, values) values { return values{} }
	s.say = func(v values) string { return keysText(v[keyCredentials]) }
	return &reversible{s}, d.back(s, RestoreKeyCredentials, "Put the key credentials back in Active Directory", "The key pairs that were removed open the account again.",
		"A key that an attacker had put there comes back with the others.", 0)
}

// rights to act for others: unconstrained, constrained, and resource-based.
func (d *domain) delegations() (clear, back *reversible) {
	s := &setting{domain: d, of: []string{delegatesTo, actedOnBy, control}, whole: []string{actedOnBy}}
	s.spec = settingSpec(ClearDelegation, "Remove Kerberos delegation in Active Directory", "The account acts for nobody, and nobody acts for others towards it.", delegatesTo, actedOnBy, control)
	s.spec.Limits = "The account's services stop where they relied on it. Tickets that were got by it live to their end. Windows asks for the privilege SeEnableDelegationPrivilege besides."
	s.want = func(_ action.Request, has values) values {
		out := values{}
		if v := bits(has); len(has[control]) > 0 {
			out[control] = [][]byte{[]byte(strconv.FormatInt(v&^delegation, 10))}
		}
		return out
	}
	s.say = func(v values) string {
		var parts []string
		if bits(v)&trustedForDelegation != 0 {
			parts = append(parts, "trusted to act for anybody towards any service")
		}
		if bits(v)&trustedToAuthForDelegation != 0 {
			parts = append(parts, "trusted to act for people who did not sign in to it")
		}
		if n := len(v[delegatesTo]); n > 0 {
			parts = append(parts, "acts for others towards "+short(string(bytes.Join(v[delegatesTo], []byte(", "))), 120))
		}
		if len(v[actedOnBy]) > 0 {
			parts = append(parts, "others may act for anybody towards it")
		}
		if len(parts) == 0 {
			return "no delegation"
		}
		return strings.Join(parts, ", ")
	}
	return &reversible{s}, d.back(s, RestoreDelegation, "Put Kerberos delegation back in Active Directory", "The account acts for others as it did.",
		"What an attacker had added comes back too.", delegation)
}

// expiry ends an account at a time, which is milder than disabling: the flag that
// scripts look for stays clear.
func (d *domain) expiry() (expire, back *reversible) {
	s := &setting{domain: d, of: []string{accountExpires}}
	s.spec = settingSpec(Expire, "Let the account expire in Active Directory", "The account's time is over: nobody signs in to the domain as it.", accountExpires)
	s.spec.Remedies = []signal.Cause{signal.CausePassword, signal.CauseBoth, signal.CauseUnknown}
	s.spec.Limits = "Open connections go on, and Kerberos tickets live to their end. Synchronisation to Entra ID does not carry it: the cloud account stays as it is."
	s.want = func(_ action.Request, has values) values {
		if v, ok := expiresAt(has); ok && v <= toFileTime(d.now()) {
			return has
		}
		return values{accountExpires: {[]byte(strconv.FormatInt(toFileTime(d.now())/minute*minute-minute, 10))}}
	}
	s.say = func(has values) string {
		v, ok := expiresAt(has)
		if !ok {
			return "the account does not expire"
		}
		return "the account expires at " + fileTime(v).Format("2006-01-02 15:04") + " UTC"
	}
	b := d.back(s, RestoreExpiry, "Give the account its time back in Active Directory", "The account expires when it did before, or never.",
		"An account whose own time is over by now stays expired.", 0)
	want := b.want
	b.want = func(r action.Request, has values) values {
		if saved, ok := kept(r, s.of); ok && len(saved) == 0 { // it was never set
			return values{accountExpires: {[]byte(never)}}
		}
		return want(r, has)
	}
	return &reversible{s}, b
}

const minute = 60 * 10_000_000 // as FILETIME counts

// expiresAt returns accountExpires, and false when it means never.
func expiresAt(v values) (int64, bool) {
	if len(v[accountExpires]) == 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v[accountExpires][0]), 10, 64)
	return n, err == nil && n > 0 && string(v[accountExpires][0]) != never
}

// logon says from where and when an account may sign in: for an account that runs
// services and cannot be disabled without stopping them.
func (d *domain) logon() (restrict, back *reversible) {
	s := &setting{domain: d, of: []string{workstations, logonHours}}
	s.spec = settingSpec(RestrictLogon, "Restrict where and when the account signs in", "The account signs in to the domain from the computers named, or at no hour.", workstations, logonHours)
	s.spec.Params = action.Params{
		{Name: ParamWorkstations, Type: "string", Default: "", Text: "The computers it may sign in from, by their NetBIOS names, separated by commas. Empty leaves them as they are."},
		{Name: ParamNoHours, Type: "boolean", Default: false, Text: "Let it sign in at no hour at all."},
	}
	s.spec.Limits = "Services and connections that run go on until they sign in again. The name of a computer is what the client says of itself where NTLM or a simple bind is used. A restriction by computer stops Kerberos only for clients that send a computer's name."
	s.want = func(r action.Request, has values) values {
		out := copied(has)
		if w, _ := r.Params[ParamWorkstations].(string); w != "" {
			out[workstations] = [][]byte{[]byte(strings.Join(computers(w), ","))}
		}
		if no, _ := r.Params[ParamNoHours].(bool); no {
			out[logonHours] = [][]byte{make([]byte, 21)} // a bit for each hour of the week
		}
		return out
	}
	s.refuse = func(r action.Request) string {
		w, _ := r.Params[ParamWorkstations].(string)
		no, _ := r.Params[ParamNoHours].(bool)
		if w == "" && !no {
			return "neither computers nor hours are given: there is nothing to restrict"
		}
		for _, c := range computers(w) {
			if !computerName(c) {
				return fmt.Sprintf("%.20q is not the NetBIOS name of a computer", c)
			}
		}
		return ""
	}
	s.say = func(v values) string {
		where, when := "anywhere", "at any hour"
		if len(v[workstations]) > 0 && len(v[workstations][0]) > 0 {
			where = short(string(v[workstations][0]), 120)
		}
		if len(v[logonHours]) > 0 {
			when = "at some hours"
			if len(strings.Trim(string(v[logonHours][0]), "\x00")) == 0 {
				when = "at no hour"
			}
		}
		return "signs in from " + where + ", " + when
	}
	return &reversible{s}, d.back(s, RestoreLogon, "Let the account sign in from where and when it did", "The account's logon restrictions are what they were.",
		"What was stopped by it is not started again.", 0)
}

// copied returns a copy that may be written to.
func copied(v values) values {
	out := values{}
	maps.Copy(out, v)
	return out
}

func computers(list string) []string {
	var out []string
	for c := range strings.SplitSeq(list, ",") {
		if c = strings.TrimSpace(c); c != "" {
			out = append(out, c)
		}
	}
	return out
}

// computerName holds names to what NetBIOS takes (MS-ADA3 2.345 sets no more than
// the comma apart).
func computerName(s string) bool {
	return len(s) <= 15 && strings.IndexFunc(s, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_')
	}) < 0
}

func (d *domain) settings() []action.Type {
	var out []action.Type
	for _, pair := range []func() (*reversible, *reversible){d.keys, d.delegations, d.expiry, d.logon} {
		one, back := pair()
		out = append(out, one, back)
	}
	return out
}
