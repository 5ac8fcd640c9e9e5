package detection

import (
	"slices"

	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Remedy names something that can be done. Those that are not by hand are actions
// or intents of the action catalogue under the same name.
type Remedy string

// The remedies. A test holds those that are not by hand against the action catalogue.
const (
	DisableAccount     Remedy = "identity.disable"
	ResetPassword      Remedy = "identity.reset_password"
	RevokeSessions     Remedy = "entra.user.revoke_sessions"
	ConfirmCompromised Remedy = "entra.user.confirm_compromised"

	RemoveMailRules       Remedy = "entra.user.disable_inbox_rules"
	RemoveMethods         Remedy = "entra.user.remove_methods"
	RemoveRole            Remedy = "entra.user.remove_roles"
	RevertChange          Remedy = "directory.revert_change"
	RevokeConsent         Remedy = "entra.workload.revoke_consent"
	DisableApplication    Remedy = "entra.workload.disable"
	RotateSecret          Remedy = "entra.workload.remove_credential"
	DisableAgent          Remedy = "agent.disable"
	DisableDevice         Remedy = "entra.user.disable_devices"
	IsolateDevice         Remedy = "device.isolate"
	RotateKrbtgt          Remedy = "domain.rotate_krbtgt"
	RecoverController     Remedy = "domain.recover_controller"
	RevokeCertificate     Remedy = "certificate.revoke"
	RotateSigningKey      Remedy = "federation.rotate_signing_key"
	RotateSync            Remedy = "sync.rotate_credentials"
	SuspendElsewhere      Remedy = "provider.suspend_account"
	ClearSessionsThere    Remedy = "provider.clear_sessions"
	RevokeTokenThere      Remedy = "provider.revoke_api_token"
	BlockAddress          Remedy = "network.block_address"
	RequireAuthentication Remedy = "policy.require_strong_authentication"
)

// A Treatment describes a remedy.
type Treatment struct {
	Name   Remedy         `json:"name"`
	Title  string         `json:"title"`            // imperative, for people
	Cures  []signal.Cause `json:"cures,omitempty"`  // causes it takes away; none: it slows or tells, and cures nothing
	ByHand bool           `json:"byHand,omitempty"` // a person does it; no action has this name
}

// Treatments returns every remedy the catalogue may name.
func Treatments() []Treatment {
	const (
		password, session, both      = signal.CausePassword, signal.CauseSession, signal.CauseBoth
		workload, directory, unknown = signal.CauseWorkload, signal.CauseDirectory, signal.CauseUnknown
	)
	cures := func(c ...signal.Cause) []signal.Cause { return c }
	return []Treatment{
		{DisableAccount, "Disable the account in the directory that masters it", cures(password, session, both, unknown), false},
		{ResetPassword, "Reset the password in the directory that masters it", cures(password), false},
		{RevokeSessions, "Revoke sign-in sessions", cures(session), false},
		{ConfirmCompromised, "Tell Entra ID Protection that the user is compromised", nil, false},

		{RemoveMailRules, "Disable inbox rules that send mail elsewhere or hide it; a person looks at forwarding", cures(signal.CauseMailbox), false},
		{RemoveMethods, "Remove authentication methods and keys that were added, and have the person register again", cures(signal.CauseMethod), false},
		{RemoveRole, "Take away the directory role that was given", cures(directory), false},
		{RevertChange, "Put the changed object back to what it was", cures(directory), true},
		{RevokeConsent, "Revoke the consent that was given to the application", cures(signal.CauseConsent), false},
		{DisableApplication, "Disable the service principal", cures(workload, signal.CauseConsent, unknown), false},
		{RotateSecret, "Give the application a new credential, then remove the suspect one", cures(workload), false},
		{DisableAgent, "Disable the agent and tell its sponsors", cures(workload), true},
		{DisableDevice, "Disable the person's registered devices", cures(signal.CauseDevice), false},
		{IsolateDevice, "Isolate the device the activity came from", cures(signal.CauseDevice, unknown), true},
		{RotateKrbtgt, "Change the password of krbtgt twice, at least ten hours apart", cures(signal.CauseController), true},
		{RecoverController, "Treat the domain controller as lost: take it off the network and build it anew", cures(signal.CauseController), true},
		{RevokeCertificate, "Revoke the certificate, and remove what let it be issued or accepted", cures(signal.CauseCertificate), true},
		{RotateSigningKey, "Replace the token-signing certificate of the federation twice", cures(signal.CauseCertificate), true},
		{RotateSync, "Change the credentials of the synchronisation account and rebuild its server if in doubt", cures(workload), true},
		{SuspendElsewhere, "Suspend the account at its own identity provider", cures(password, session, both, unknown), true},
		{ClearSessionsThere, "Clear the account's sessions at its own identity provider", cures(session), true},
		{RevokeTokenThere, "Revoke the API token at its identity provider", cures(workload), true},
		{BlockAddress, "Block the source address", nil, true},
		{RequireAuthentication, "Demand strong authentication by Conditional Access", nil, true},
	}
}

// Treatment returns the description of r, and whether there is one.
func (r Remedy) Treatment() (Treatment, bool) {
	all := Treatments()
	if n := slices.IndexFunc(all, func(t Treatment) bool { return t.Name == r }); n >= 0 {
		return all[n], true
	}
	return Treatment{}, false
}

// Fits reports whether the remedy takes the cause away. For a cause that is both,
// a remedy of either half fits; for one that is unknown, any that cures something.
func (t Treatment) Fits(c signal.Cause) bool {
	switch {
	case slices.Contains(t.Cures, c):
		return true
	case c == signal.CauseBoth:
		return slices.Contains(t.Cures, signal.CausePassword) || slices.Contains(t.Cures, signal.CauseSession)
	case c == signal.CauseUnknown:
		return len(t.Cures) > 0
	}
	return false
}
