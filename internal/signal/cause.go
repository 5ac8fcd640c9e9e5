package signal

import "strings"

// Cause is what an attacker got hold of; the remedy must fit it (law 7). Package
// detection says which kind of signal speaks of which.
type Cause string

// The causes.
const (
	CausePassword    Cause = "password" // somebody else knows the password
	CauseSession     Cause = "session"  // a token, ticket or session was stolen
	CauseBoth        Cause = "password and session"
	CauseConsent     Cause = "consent"               // an application was given access
	CauseMailbox     Cause = "mailbox"               // the mailbox works for somebody else: rules, forwarding
	CauseWorkload    Cause = "workload credential"   // a secret, certificate or token of an application, agent or service
	CauseDirectory   Cause = "directory rights"      // rights in a directory were used or taken
	CauseController  Cause = "domain controller"     // a domain controller, or the domain's own secrets
	CauseCertificate Cause = "certificate"           // a certificate or signing key that proves somebody's identity
	CauseMethod      Cause = "authentication method" // a way to sign in was added or weakened
	CauseDevice      Cause = "device"                // a device is under somebody else's control, or was added by them
	CauseUnknown     Cause = "unknown"
)

// Causes returns all causes.
func Causes() []Cause {
	return []Cause{
		CausePassword, CauseSession, CauseBoth, CauseConsent, CauseMailbox, CauseWorkload, CauseDirectory,
		CauseController, CauseCertificate, CauseMethod, CauseDevice, CauseUnknown,
	}
}

// Feedback reports whether the signal is a source's record of a verdict (an
// administrator's, or our own confirmation coming back) rather than of something
// that happened to the identity.
func (s Signal) Feedback() bool {
	switch strings.ToLower(s.Type) {
	case "adminconfirmedusercompromised", "adminconfirmedserviceprincipalcompromised", "adminconfirmedagentcompromised":
		return true
	}
	return false
}
