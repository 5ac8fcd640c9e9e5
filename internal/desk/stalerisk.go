package desk

import (
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// settled is how long a password that was set on premises may take to close a risk:
// two minutes for the hash, and Entra ID Protection works it off offline.
const settled = 10 * time.Minute

// staleRisk says when a synchronised account's password was set in Active Directory
// after all that was detected, and Entra still counts the risk: the change does not
// close it unless the tenant lets it. What ends it then is the order of a
// remediation that Entra did not see (T24), which is a playbook of its own.
func staleRisk(i identity.Identity, in risk.Input, sync *identity.Synchronisation, now time.Time) []Fact {
	cloud, has := i.Account(identity.EntraID)
	source, hasSource := i.Account(identity.ActiveDirectory)
	set := source.Facts.LastPasswordChange
	if !has || !hasSource || cloud.Facts.Synced == nil || !*cloud.Facts.Synced || set.IsZero() {
		return nil
	}
	var newest time.Time
	for _, s := range in.Signals {
		if s.State.Open() && s.Source == signal.RiskDetection && s.At().After(newest) {
			newest = s.At()
		}
	}
	open := false
	for _, r := range in.Accounts {
		open = open || strings.EqualFold(r.Subject.ObjectID, cloud.ObjectID) && r.State.Open() && !r.Deleted
	}
	if !open || newest.IsZero() || !set.After(newest) {
		return nil
	}
	text := fmt.Sprintf("the password was set in Active Directory at %s, after the last detection (%s), and Entra still counts the risk: ", stamp(set), stamp(newest))
	if now.Sub(set) < settled {
		text += "the change may be on its way"
	} else {
		text += whyStale(sync) + ". When the account is safe, start the playbook remediated-elsewhere"
	}
	return []Fact{{Account: cloud.Name(), Provider: identity.EntraID, Name: "risk that stayed", Value: text, Known: true, AsOf: now}}
}

// whyStale says which of the tenant's settings keeps a change on premises from closing
// a risk, as far as they are known.
func whyStale(s *identity.Synchronisation) string {
	no := func(v *bool) bool { return v != nil && !*v }
	switch {
	case s != nil && no(s.PasswordHashes):
		return "password hashes are not synchronised"
	case s != nil && no(s.ResetClearsRisk):
		return "the tenant does not let a change on premises close user risk"
	}
	return "password hashes are not synchronised, or the tenant does not let a change on premises close user risk"
}
