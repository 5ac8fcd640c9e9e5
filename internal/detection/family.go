package detection

import (
	"slices"

	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Family is the category of a kind of signal: what is investigated and cured alike.
type Family string

// The families.
const (
	Password           Family = "password"
	Token              Family = "token"
	Middle             Family = "attacker in the middle"
	Place              Family = "unusual place"
	Address            Family = "suspicious address"
	Threat             Family = "threat intelligence"
	Mailbox            Family = "mailbox"
	Data               Family = "data access"
	Compound           Family = "compound risk"
	Confirmed          Family = "confirmed by an administrator"
	Limited            Family = "hidden by the licence"
	WorkloadCredential Family = "workload credential"
	Application        Family = "application and consent"
	AgentActivity      Family = "agent"
	CloudAdmin         Family = "cloud administration"
	Method             Family = "authentication method"
	Registration       Family = "device registration"
	Sync               Family = "synchronisation account"
	Provider           Family = "other identity provider"
	Honeytoken         Family = "honeytoken"
	Guessing           Family = "password guessing"
	Roasting           Family = "roasting"
	Hash               Family = "stolen hash or ticket"
	Relay              Family = "relayed authentication"
	Ticket             Family = "forged ticket"
	Replication        Family = "replication and domain secrets"
	Certificates       Family = "certificates and federation"
	ADChange           Family = "Active Directory change"
	Exploit            Family = "attack on a host"
	Exfiltration       Family = "exfiltration"
	Recon              Family = "reconnaissance"
	Tampering          Family = "tampering with protection"
	Reenabled          Family = "enabled again after containment"
	Unheard            Family = "unheard"
)

// A Guide is what all entries of a family share; an entry may say otherwise.
type Guide struct {
	Family    Family
	Title     string
	Cause     signal.Cause
	Remedies  []Remedy
	Questions []string
	Recommend string
	Prior     float64
	HalfLife  float64
	Floor     signal.Level
}

// Families returns all families in the order in which they are shown.
func Families() []Guide { return slices.Concat(cloudFamilies(), domainFamilies()) }

// family returns the guide of f.
func family(f Family) Guide {
	for _, g := range guides() {
		if g.Family == f {
			return g
		}
	}
	return Guide{Family: f}
}

func cloudFamilies() []Guide {
	return []Guide{
		{
			Family: Password, Title: "Somebody else knows the password", Cause: signal.CausePassword, HalfLife: 14,
			Remedies: []Remedy{ResetPassword, RevokeSessions, DisableAccount, ConfirmCompromised},
			Questions: []string{
				"Has the password been changed since the detection?",
				"Did a sign-in succeed from an address, device or client the person has never used?",
				"Is the same password, or the same address, at work on other accounts?",
				"Were methods, devices, inbox rules or consents added since?",
			},
			Recommend: "Set a new password, then revoke sessions, since those opened with the old one outlive it. Disable the account while whoever holds it can pass multifactor authentication or reset the password.",
		},
		{
			Family: Token, Title: "A session or token was stolen", Cause: signal.CauseSession, HalfLife: 14,
			Remedies: []Remedy{DisableAccount, RevokeSessions, ConfirmCompromised},
			Questions: []string{
				"Is one session id seen from two addresses, networks or browsers?",
				"Which applications and mail did the session reach since?",
				"Does malware on the person's device explain how the token got out?",
				"Did the session register a method or a device, which would outlive it?",
			},
			Recommend: "Stop the account, revoke its sessions and tell Entra ID Protection. A new password alone does not end a stolen session, and multifactor authentication that is already in the token proves nothing.",
		},
		{
			Family: Middle, Title: "A proxy stood between the person and the sign-in", Cause: signal.CauseBoth, HalfLife: 14,
			Remedies: []Remedy{DisableAccount, RevokeSessions, ResetPassword, RemoveMethods, ConfirmCompromised},
			Questions: []string{
				"Which link did the person follow, and who else received it?",
				"Which session left the proxy, and what has it done since?",
				"Which methods or devices were registered within the hour after?",
				"Did others sign in through the same address?",
			},
			Recommend: "Password and session are both gone: stop the account, revoke sessions, set a new password, remove methods added since, and look for everybody else who met the same address.",
		},
		{
			Family: Place, Title: "A sign-in from an unusual place", Cause: signal.CauseUnknown, HalfLife: 3,
			Remedies: []Remedy{RevokeSessions, ConfirmCompromised, DisableAccount, RequireAuthentication},
			Questions: []string{
				"Is the person travelling, or is the address one of ours or of a VPN in use?",
				"Are device, client and applications those the person always uses?",
				"Did the sign-in pass multifactor authentication with a method older than the trip?",
				"What did the session do?",
			},
			Recommend: "Ask the person by another channel. If it was not them, treat it as compromised: revoke, reset, and block if they can pass multifactor authentication. If it was, say so to the source and name the address range.",
		},
		{
			Family: Address, Title: "A sign-in from a suspicious address or client", Cause: signal.CauseUnknown, HalfLife: 7,
			Remedies: []Remedy{RevokeSessions, ConfirmCompromised, DisableAccount, BlockAddress, RequireAuthentication},
			Questions: []string{
				"Who else signed in, or tried to, from the address or with the client?",
				"Does the person use an anonymising service or an unusual client at work?",
				"Did multifactor authentication pass, and with which method?",
				"Which applications did the session reach?",
			},
			Recommend: "Unless the person knows the sign-in, confirm it as compromised, revoke sessions and set a new password; block the address and demand strong authentication from it.",
		},
		{
			Family: Threat, Title: "A known attack pattern", Cause: signal.CauseUnknown, HalfLife: 14,
			Remedies: []Remedy{RevokeSessions, DisableAccount, ConfirmCompromised, ResetPassword},
			Questions: []string{
				"Which pattern does the signal's own information name?",
				"Which other accounts meet the same rule, address or client in the same window?",
				"Did the sign-in get a token, and what was it used for?",
				"Was anything added to the account since?",
			},
			Recommend: "Take it as compromise until shown otherwise: revoke sessions, set a new password, and block the account while the other party can pass multifactor authentication.",
		},
		{
			Family: Mailbox, Title: "The mailbox works for somebody else", Cause: signal.CauseMailbox, HalfLife: 14,
			Remedies: []Remedy{RemoveMailRules, RevokeSessions, ResetPassword, DisableAccount},
			Questions: []string{
				"Which rule, forwarding or delegate was set, when, and by which session?",
				"What was sent, read or deleted since, and to whom did it go?",
				"Did the account send the same message to colleagues?",
				"Which sign-in came before it?",
			},
			Recommend: "Remove the rule and the forwarding, then take the account back: revoke sessions and set a new password. Tell those who received mail from it.",
		},
		{
			Family: Data, Title: "Unusual access to data", Cause: signal.CauseUnknown, HalfLife: 14,
			Remedies: []Remedy{RevokeSessions, DisableAccount, ConfirmCompromised},
			Questions: []string{
				"Which files or objects were read, and how sensitive are they?",
				"Does the person's work explain the amount?",
				"From which address, device and application was it done?",
				"Did the data leave, and where to?",
			},
			Recommend: "Stop the access first, since data does not come back: revoke sessions, disable if it goes on, then measure what was read.",
		},
		{
			Family: Compound, Title: "Several weak signals together", Cause: signal.CauseUnknown, Prior: 0.80, Floor: signal.LevelHigh,
			Remedies: []Remedy{RevokeSessions, DisableAccount, ConfirmCompromised, ResetPassword},
			Questions: []string{
				"Which signals of which products add up, and on which of the linked accounts?",
				"Which account does the risk come from?",
				"Is that account still under attack?",
			},
			Recommend: "Contain the account that drives the risk; often it is a linked one on premises. Closing the risk in the cloud alone brings it back.",
		},
		{
			Family: Confirmed, Title: "An administrator has confirmed it", Cause: signal.CauseUnknown, Prior: 0.90, Floor: signal.LevelHigh,
			Remedies: []Remedy{DisableAccount, RevokeSessions, ResetPassword},
			Questions: []string{
				"Who confirmed it, why, and on what evidence?",
				"What has already been done: password, sessions, methods, devices?",
				"Are the person's other accounts in the same hands?",
			},
			Recommend: "Confirming neither resets, disables nor revokes anything: see that the containment is done and proven.",
		},
		{
			Family: Limited, Title: "The detail is hidden by the licence", Cause: signal.CauseUnknown, HalfLife: 14,
			Remedies: []Remedy{RequireAuthentication, RevokeSessions, DisableAccount},
			Questions: []string{
				"What does the sign-in itself show: address, device, client, result?",
				"Do other products say something of the person in the same days?",
				"Does the person know the activity?",
			},
			Recommend: "The source knows more than it shows. Treat it as risk of unknown size: demand multifactor authentication and look at the sign-ins; Entra ID P2 would name the reason.",
		},
		{
			Family: WorkloadCredential, Title: "A credential of an application or service", Cause: signal.CauseWorkload, HalfLife: 14,
			Remedies: []Remedy{DisableApplication, RotateSecret},
			Questions: []string{
				"Which key, secret or certificate was used, and who added it?",
				"From which address, and against which resource, was it used?",
				"What may the application do, and what did it do?",
				"Which of the systems that run it would stop?",
			},
			Recommend: "List all credentials of the service principal and of its application, add a new one, remove the old ones, and change the secrets it could read. Disable it when it is misused now.",
		},
		{
			Family: Application, Title: "A malicious application or consent", Cause: signal.CauseConsent, HalfLife: 14,
			Remedies: []Remedy{RevokeConsent, DisableApplication, RevokeSessions},
			Questions: []string{
				"Who consented, to what, and by which link?",
				"Which permissions does the application hold, and since when?",
				"Whose data has it read?",
				"Who publishes it, and who else has it?",
			},
			Recommend: "Take the grants away and disable the service principal for everybody; a new password does not end what was consented. Then revoke the sessions of those who consented.",
		},
		{
			Family: AgentActivity, Title: "Activity of an AI agent", Cause: signal.CauseWorkload, HalfLife: 14,
			Remedies: []Remedy{DisableAgent, RotateSecret},
			Questions: []string{
				"What is the agent for, and who are its sponsors?",
				"Which resource did it ask for, with which credential, for whom?",
				"Was its blueprint or a credential changed before?",
				"Did a prompt or a document it read tell it to?",
			},
			Recommend: "Disable the agent until its sponsors explain the activity, and change the credentials of its blueprint.",
		},
		{
			Family: CloudAdmin, Title: "Changes with administrative rights in the cloud", Cause: signal.CauseDirectory, HalfLife: 14,
			Remedies: []Remedy{RevertChange, RemoveRole, DisableAccount, RevokeSessions},
			Questions: []string{
				"Which change was made, by whom, and is there a request for it?",
				"From which session did the administrator act, and is it a usual one?",
				"What else did the same session or address change?",
				"Who gained what by it?",
			},
			Recommend: "Contain the administrator's account, put the change back, and look through everything the account changed in the same days.",
		},
		{
			Family: Method, Title: "A way to sign in was added or weakened", Cause: signal.CauseMethod, HalfLife: 14,
			Remedies: []Remedy{RemoveMethods, RevokeSessions, DisableAccount},
			Questions: []string{
				"Does the person know the method, number or address?",
				"Is it registered for other accounts too?",
				"Which sign-in came before it, and did it pass multifactor authentication?",
				"Has the method been used since?",
			},
			Recommend: "Remove the method before anything else, or it lets the other party back in; then revoke sessions and have the person register again with a temporary access pass.",
		},
		{
			Family: Registration, Title: "A device was added", Cause: signal.CauseDevice, HalfLife: 14,
			Remedies: []Remedy{DisableDevice, RevokeSessions, DisableAccount},
			Questions: []string{
				"Does the person own the device?",
				"From which address and session was it registered?",
				"Has it got a primary refresh token or counts as compliant?",
				"Were others registered from the same address?",
			},
			Recommend: "Disable the device object, since its token survives a new password, then revoke the person's sessions.",
		},
		{
			Family: Sync, Title: "The account that synchronises directories", Cause: signal.CauseWorkload, HalfLife: 14,
			Remedies: []Remedy{RotateSync, IsolateDevice},
			Questions: []string{
				"Did the request come from the synchronisation server?",
				"What did the account read or change that synchronisation never does?",
				"Who has been administrator on that server lately?",
				"Were passwords of cloud accounts set?",
			},
			Recommend: "Do not disable it: synchronisation would stop for everybody. Treat its server as part of the domain's core, isolate it if it is in other hands, and change the account's credentials.",
		},
		{
			Family: Provider, Title: "Okta, OneLogin and other identity providers", Cause: signal.CauseBoth, HalfLife: 14,
			Remedies: []Remedy{SuspendElsewhere, ClearSessionsThere, RevokeTokenThere},
			Questions: []string{
				"What does that provider's own log say of the session?",
				"Is the account linked to one in Entra or Active Directory?",
				"Which applications can be reached through it?",
				"Did an administrator of that provider act?",
			},
			Recommend: "Contain it where it lives: suspend the account and clear its sessions there, then look at the linked accounts.",
		},
		{
			Family: Tampering, Title: "Protection was switched off", Cause: signal.CauseDirectory, HalfLife: 14,
			Remedies: []Remedy{RevertChange, DisableAccount, RevokeSessions},
			Questions: []string{
				"Who did it, and is there a change for it?",
				"What could not be seen since?",
				"What did the same account do in the hour before and after?",
			},
			Recommend: "Put the protection back at once, contain who took it away, and fill the gap from other logs.",
		},
		{
			Family: Reenabled, Title: "Enabled again after it was contained", Cause: signal.CauseUnknown, HalfLife: 14,
			Remedies: []Remedy{DisableAccount, RevokeSessions, ResetPassword},
			Questions: []string{
				"Did our own undo or an administrator's decision enable it?",
				"Who enabled it, and is that account sound?",
				"Was the cause cured before?",
			},
			Recommend: "If nobody answers for it, disable the account again and contain whoever enabled it. If it was our own undo, say so and close.",
		},
		{
			Family: Unheard, Title: "A kind of signal that the catalogue does not have", Cause: signal.CauseUnknown, HalfLife: 14,
			Remedies: []Remedy{RevokeSessions, DisableAccount, ConfirmCompromised},
			Questions: []string{
				"What does the source say about it?",
				"Whose activity is it, and does that person know it?",
				"Which other signals are there of the same days?",
			},
			Recommend: "Read the source's own description and judge by its level; nothing is known here of its cause.",
		},
	}
}
