package signal

// The causes beyond an account's own credentials.
const (
	CauseConsent     Cause = "consent"               // an application was given access
	CauseMailbox     Cause = "mailbox"               // the mailbox works for somebody else: rules, forwarding
	CauseController  Cause = "domain controller"     // a domain controller, or the domain's own secrets
	CauseCertificate Cause = "certificate"           // a certificate or signing key that proves somebody's identity
	CauseMethod      Cause = "authentication method" // a way to sign in was added or weakened
	CauseDevice      Cause = "device"                // a device is under somebody else's control, or was added by them
)

// Causes returns all causes.
func Causes() []Cause {
	return []Cause{
		CausePassword, CauseSession, CauseBoth, CauseConsent, CauseMailbox, CauseWorkload, CauseDirectory,
		CauseController, CauseCertificate, CauseMethod, CauseDevice, CauseUnknown,
	}
}
