package casefile

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Lasting is a kind of thing that an attacker leaves behind to come back.
type Lasting string

// The kinds.
const (
	NewMethod     Lasting = "authentication method"
	NewPass       Lasting = "temporary access pass"
	NewDevice     Lasting = "device"
	NewRule       Lasting = "inbox rule or forwarding"
	NewConsent    Lasting = "consent"
	NewCredential Lasting = "application credential"
	NewRole       Lasting = "role"
	NewGroup      Lasting = "group membership"
	NewGuest      Lasting = "guest"
	NewAccount    Lasting = "account"
	NewPolicy     Lasting = "policy"
	NewPassword   Lasting = "password"
)

// LastingKinds returns all kinds in the order in which they are looked for.
func LastingKinds() []Lasting {
	return []Lasting{NewMethod, NewPass, NewDevice, NewRule, NewConsent, NewCredential, NewRole, NewGroup, NewGuest, NewAccount, NewPolicy, NewPassword}
}

// activities says by the beginning of an activity's name, in lower case, what it
// leaves behind. The names are those of Microsoft Entra's audit log (audit activity
// reference) and of Exchange's unified log; the longest beginning that fits decides.
func activities() map[string]Lasting {
	return map[string]Lasting{
		"user registered security info":              NewMethod,
		"user registered all required security info": NewMethod,
		"user changed default security info":         NewMethod,
		"user updated security info":                 NewMethod,
		"admin registered security info":             NewMethod,
		"admin updated security info":                NewMethod,
		"register security info":                     NewMethod,
		"add passkey":                                NewMethod,
		"add windows hello for business credential":  NewMethod,
		"enable strong authentication":               NewMethod,
		"create temporary access pass":               NewPass,
		"admin registered temporary access pass":     NewPass,
		"add device":                                 NewDevice,
		"register device":                            NewDevice,
		"add registered owner to device":             NewDevice,
		"add registered users to device":             NewDevice,
		"new-inboxrule":                              NewRule,
		"set-inboxrule":                              NewRule,
		"updateinboxrules":                           NewRule,
		"set-mailbox":                                NewRule,
		"new-transportrule":                          NewRule,
		"consent to application":                     NewConsent,
		"add delegated permission grant":             NewConsent,
		"add oauth2permissiongrant":                  NewConsent,
		"add app role assignment":                    NewConsent,
		"add service principal credentials":          NewCredential,
		"update application – certificates":          NewCredential,
		"update application - certificates":          NewCredential,
		"update service principal – certificates":    NewCredential,
		"add federated identity credential":          NewCredential,
		"add owner to application":                   NewCredential,
		"add owner to service principal":             NewCredential,
		"add member to role":                         NewRole,
		"add eligible member to role":                NewRole,
		"add scoped member to role":                  NewRole,
		"add member to role completed (pim":          NewRole,
		"add eligible member to role in pim":         NewRole,
		"add member to group":                        NewGroup,
		"add owner to group":                         NewGroup,
		"invite external user":                       NewGuest,
		"add user":                                   NewAccount,
		"restore user":                               NewAccount,
		"add service principal":                      NewAccount,
		"add conditional access policy":              NewPolicy,
		"update conditional access policy":           NewPolicy,
		"delete conditional access policy":           NewPolicy,
		"add policy":                                 NewPolicy,
		"update policy":                              NewPolicy,
		"add named location":                         NewPolicy,
		"update named location":                      NewPolicy,
		"set domain authentication":                  NewPolicy,
		"set federation settings on domain":          NewPolicy,
		"add unverified domain":                      NewPolicy,
		"reset user password":                        NewPassword,
		"reset password (by admin)":                  NewPassword,
		"reset password (self-service)":              NewPassword,
		"change user password":                       NewPassword,
		"change password (self-service)":             NewPassword,
		"self-service password reset flow activity":  NewPassword,
		"a member was added to a security-enabled":   NewGroup,
		"a user account was created":                 NewAccount,
		"a computer account was created":             NewDevice,
		"an attempt was made to reset an account's":  NewPassword,
		"an attempt was made to change an account's": NewPassword,
		"4720": NewAccount,
		"4728": NewGroup,
		"4732": NewGroup,
		"4756": NewGroup,
		"4741": NewDevice,
		"4724": NewPassword,
		"4723": NewPassword,
	}
}

// LastingOf says what a record left behind, and whether it did. A failed attempt
// left nothing.
func LastingOf(r record.Record) (Lasting, bool) {
	if r.Source != record.DirectoryAudit && r.Source != record.DirectoryChange || r.Result == record.Failure {
		return "", false
	}
	best, kind := -1, Lasting("")
	for begin, k := range activities() {
		for _, name := range []string{r.Type, r.Title} {
			if len(begin) > best && strings.HasPrefix(strings.ToLower(strings.TrimSpace(name)), begin) {
				best, kind = len(begin), k
			}
		}
	}
	return kind, best >= 0
}

// A Left is one thing left behind.
type Left struct {
	Kind Lasting   `json:"kind"`
	At   time.Time `json:"at"`
	Text string    `json:"text"` // what was done, to whom
	By   string    `json:"by"`   // who did it, in the source's words
	IP   string    `json:"ip,omitempty"`
	// Record or Signal is the evidence: one of them is set.
	Record string `json:"record,omitempty"`
	Signal string `json:"signal,omitempty"`
	Source string `json:"source"`
	Weak   bool   `json:"weak,omitempty"` // it names the account by a weak name only: perhaps another's
}

// Sweep finds what was left behind since the time, among records and signals,
// latest first. A signal about an inbox rule is such a thing itself: mailboxes have
// no directory audit.
func Sweep(records []record.Record, signals []signal.Signal, since time.Time) []Left {
	var out []Left
	for _, r := range records {
		k, ok := LastingOf(r)
		if !ok || r.At.Before(since) {
			continue
		}
		text := cmp.Or(r.Type, r.Title)
		var to []string
		for _, p := range r.Others {
			to = append(to, p.Ref.Name())
		}
		if len(to) > 0 {
			text += ": " + strings.Join(to, ", ")
		}
		if r.Resource != "" {
			text += " (" + r.Resource + ")"
		}
		by := r.Subject.Name()
		if r.App != "" && len(r.Subject.Keys()) == 0 {
			by = r.App
		}
		out = append(out, Left{Kind: k, At: r.At, Text: text, By: by, IP: r.IP, Record: r.ExternalID, Source: string(r.Source), Weak: len(r.Subject.Keys()) == 0 && !slices.ContainsFunc(r.Others, func(p record.Party) bool { return len(p.Ref.Keys()) > 0 })})
	}
	for _, s := range signals {
		if !aboutRules(s.Type) || s.At().Before(since) {
			continue
		}
		out = append(out, Left{Kind: NewRule, At: s.At(), Text: s.Type, By: s.Subject.Name(), IP: s.IP, Signal: s.ExternalID, Source: string(s.Source)})
	}
	slices.SortStableFunc(out, func(a, b Left) int { return b.At.Compare(a.At) })
	return out
}

func aboutRules(kind string) bool {
	kind = strings.ToLower(kind)
	return strings.Contains(kind, "inbox") || strings.Contains(kind, "forwarding")
}
