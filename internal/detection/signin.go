package detection

import "github.com/seed-f47efad2/cordon/internal/signal"

// Short names for the tables.
const (
	low    = signal.LevelLow
	medium = signal.LevelMedium
	high   = signal.LevelHigh
)

// What Microsoft demands for an entry's detail.
const (
	free     = "Entra ID Free"
	p2       = "Entra ID P2"
	p2Apps   = "Entra ID P2 and Defender for Cloud Apps"
	p2Device = "Entra ID P2 and Defender for Endpoint"
	p2Mail   = "Entra ID P2 and Defender for Office 365"
	p2MDI    = "Entra ID P2 and Defender for Identity"
	e5       = "Microsoft 365 E5 and Enterprise Mobility + Security E5"
	wid      = "Workload Identities Premium"
	agent365 = "Agent 365 (announced)"
)

const (
	initialAccess    = "initial access"
	execution        = "execution"
	persistence      = "persistence"
	escalation       = "privilege escalation"
	evasion          = "defense evasion"
	credentialAccess = "credential access"
	discovery        = "discovery"
	lateral          = "lateral movement"
	collection       = "collection"
	command          = "command and control"
	exfiltration     = "exfiltration"
	impact           = "impact"
)

// signIns are the detections linked to a sign-in. They fire only when the right
// credentials were presented.
func signIns() []Entry {
	list := []Entry{
		{
			Name: "Activity from anonymous IP address", Types: []string{"riskyIPAddress"}, Licence: p2Apps,
			Family: Address, Tactic: initialAccess, Techniques: []string{"T1090"}, Level: medium, Varies: true,
			Questions: []string{
				"What did the session do in the cloud applications, by their own logs?",
				"Does the person use this anonymising service for their work?",
				"Did the session begin at the proxy, or move there in the middle?",
			},
			Recommend: "Look at the application's activity rather than the sign-in. Unless the person needs the service for work, confirm as compromised, revoke sessions and reset.",
		},
		{
			Name: "Additional risk detected (sign-in)", Types: []string{"generic"}, Licence: free,
			Family: Limited, Tactic: initialAccess, Level: signal.LevelHidden, Varies: true,
		},
		{
			Name: "Admin confirmed user compromised", Types: []string{"adminConfirmedUserCompromised"}, Licence: free,
			Family: Confirmed, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: high,
			Questions: []string{
				"Which administrator confirmed it, according to the risk history, and on what evidence?",
				"Or is it our own confirmation coming back?",
				"Which part of the containment is done, and which is proven?",
			},
		},
		{
			Name: "Anomalous token (sign-in)", Types: []string{"anomalousToken"}, Licence: p2,
			Family: Token, Tactic: credentialAccess, Techniques: []string{"T1539"}, Level: medium, Varies: true,
			Questions: []string{
				"Do place, application, address and user agent differ from the person's other sign-ins?",
				"Is the token's lifetime odd, or is it one that was issued elsewhere?",
				"Was the sign-in non-interactive, which hints at replay?",
				"Is the level low or medium? Then a false alarm is not rare.",
			},
			Recommend: "If it is not the person: confirm the sign-in as compromised, stop the account and revoke all tokens, and reset if multifactor authentication can be passed. A claim of multifactor authentication never closes it.",
		},
		{
			Name: "Anonymous IP address", Types: []string{"anonymizedIPAddress"}, Licence: free,
			Family: Address, Tactic: initialAccess, Techniques: []string{"T1090", "T1078"}, Level: medium,
			Questions: []string{
				"Is it Tor or a commercial VPN, and does the person use it?",
				"Did multifactor authentication pass?",
				"Is the device one that is managed?",
			},
			Recommend: "Demand multifactor authentication, and block anonymisers by location where nobody needs them. A VPN that is allowed is worth a word to the source.",
		},
		{
			Name: "Atypical travel", Types: []string{"unlikelyTravel"}, Licence: p2,
			Family: Place, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: medium, Varies: true,
			Questions: []string{
				"Which of the two places is the strange one?",
				"Does a VPN, a proxy or a phone network explain the distance?",
				"Is the person known to travel these days?",
				"Are device and client the same at both places?",
			},
			Recommend: "Not the person: confirm the sign-in as compromised and reset. A real trip or a VPN: confirm as safe, and put the VPN's range into the named locations of Entra and of Defender for Cloud Apps.",
		},
		{
			Name: "Impossible travel", Types: []string{"mcasImpossibleTravel", "impossibleTravel"}, Licence: p2Apps,
			Family: Place, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: medium, Varies: true,
			Questions: []string{
				"Which two activities in which applications make the pair?",
				"Is one of the addresses that of a cloud service acting for the person?",
				"Is the person known to travel these days?",
			},
			Recommend: "As for atypical travel, with the pair of activities from Defender for Cloud Apps as the evidence.",
		},
		{
			Name:  "Malicious IP address",
			Types: []string{"maliciousIPAddress", "maliciousIPAddressValidCredentialsBlockedIP", "suspiciousIPAddress", "malwareInfectedIPAddress"}, Licence: p2,
			Family: Address, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: medium, Varies: true,
			Questions: []string{
				"How many accounts failed from the address, and did others succeed?",
				"Is it an address the person works from?",
				"When was the sign-in? The finding may be about an older one.",
			},
			Recommend: "Not the person: confirm as compromised, reset, revoke all tokens, and block the address. A known address of work: confirm as safe.",
		},
		{
			Name: "Mass access to sensitive files", Types: []string{"mcasFinSuspiciousFileAccess"}, Licence: p2Apps,
			Family: Data, Tactic: collection, Techniques: []string{"T1213", "T1530"}, Level: medium, Varies: true,
			Questions: []string{
				"Which SharePoint and OneDrive files were opened, and what do their labels say?",
				"Is it the person's project, or a move of data they announced?",
				"Were files downloaded, synchronised or shared outside?",
			},
			Recommend: "Contain the person's sessions, then measure what was read and whether it left.",
		},
		{
			Name:  "Microsoft Entra threat intelligence (sign-in)",
			Types: []string{"investigationsThreatIntelligence", "investigationsThreatIntelligenceSigninLinked"}, Licence: free,
			Family: Threat, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: high, Varies: true,
			Questions: []string{
				"What do the risk reasons say: an address, a spray, a rule by number?",
				"For an address: how many failures on how many accounts, by which protocol, from whose network?",
				"For a spray: which others share client, application and range in the window?",
				"For a rule: which other sign-ins carry the same number?",
			},
			Recommend: "Not the person: confirm as compromised, reset, revoke all tokens. A claim of multifactor authentication never closes it.",
		},
		{
			Name: "New country", Types: []string{"newCountry"}, Licence: p2Apps,
			Family: Place, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: low, Varies: true,
			Questions: []string{
				"Has anybody of the organisation been active from there?",
				"Is the person known to travel these days?",
				"Are device and client the usual ones?",
			},
			Recommend: "Check against known travellers and ask the person; confirm as safe or as compromised.",
		},
		{
			Name: "Password spray", Types: []string{"passwordSpray"}, Licence: p2,
			Family: Password, Tactic: credentialAccess, Techniques: []string{"T1110.003"}, Level: high, Varies: true,
			Prior: 0.85, HalfLife: 7,
			Questions: []string{
				"The password was right, else nothing would be reported: did the sign-in go on, or did a policy stop it?",
				"Which other accounts did the same source try in the window?",
				"Is the address one of ours?",
				"Does smart lockout work for the account?",
			},
			Recommend: "Reset the password at once and revoke sessions; look for the other accounts of the same spray, and block its source.",
		},
		{
			Name: "Suspicious browser", Types: []string{"suspiciousBrowser"}, Licence: p2,
			Family: Address, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: medium, Varies: true,
			Questions: []string{
				"Do several accounts come from the one browser, perhaps of several tenants or countries?",
				"Is it a kiosk or a virtual desktop that many share?",
				"Did multifactor authentication pass?",
			},
			Recommend: "Confirm as compromised and reset; block when the other party can pass multifactor authentication; look at every account of the same browser.",
		},
		{
			Name: "Suspicious inbox forwarding", Types: []string{"suspiciousInboxForwarding"}, Licence: p2Apps,
			Family: Mailbox, Tactic: collection, Techniques: []string{"T1114.003"}, Level: medium, Varies: true,
			Questions: []string{
				"To which outside address does the rule send, and since when?",
				"Did the person set it, perhaps before a leave?",
				"Do other mailboxes forward to the same address?",
				"Which session set it?",
			},
			Recommend: "Remove the rule, block the outside address, take the account back and find out which mail has left.",
		},
		{
			Name: "Suspicious inbox manipulation rules", Types: []string{"mcasSuspiciousInboxManipulationRules"}, Licence: p2Apps,
			Family: Mailbox, Tactic: evasion, Techniques: []string{"T1564.008"}, Level: medium, Varies: true,
			Questions: []string{
				"Which mail does the rule delete or hide, and what is somebody meant not to see?",
				"Was spam or an invoice sent from the mailbox meanwhile?",
				"Which session set it?",
			},
			Recommend: "Remove the rule, read what it hid, take the account back, and warn whoever wrote to or heard from it.",
		},
		{
			Name: "Token issuer anomaly", Types: []string{"tokenIssuerAnomaly"}, Licence: p2,
			Family: Token, Tactic: credentialAccess, Techniques: []string{"T1606.002"}, Level: medium, Varies: true,
			Remedies: []Remedy{DisableAccount, RevokeSessions, RotateSigningKey, ConfirmCompromised},
			Questions: []string{
				"Which issuer signed the token, and are its claims usual?",
				"Who can read the federation's signing key, and was a federated domain added?",
				"Are other accounts signed in by tokens of the same kind?",
			},
			Recommend: "As for a stolen token, and look at the federation: a copied signing key makes tokens for everybody and needs replacing twice. A claim of multifactor authentication never closes it.",
		},
		{
			Name: "Unfamiliar sign-in properties", Types: []string{"unfamiliarFeatures"}, Licence: p2,
			Family: Place, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: medium, Varies: true,
			Questions: []string{
				"Which properties are new: address, network, place, device, browser?",
				"Has the person a new device, or been away for long?",
				"Was the sign-in non-interactive? Then think of a replayed token.",
				"Was it a legacy protocol, of which less is known?",
			},
			Recommend: "Let multifactor authentication decide where it can; otherwise ask the person and confirm as safe or compromised.",
		},
		{
			Name: "Verified threat actor IP", Types: []string{"nationStateIP"}, Licence: p2,
			Family: Threat, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: high,
			Cause: signal.CauseBoth, Prior: 0.85, HalfLife: never, Floor: high,
			Questions: []string{
				"Which other accounts met the address or its neighbours, also without success?",
				"What did the session reach, and did it add anything that lasts?",
				"What makes this person interesting: role, project, mail?",
			},
			Recommend: "Contain at once: stop the account, revoke sessions, reset, and have the sweep after compromise done. A claim of multifactor authentication never closes it.",
		},
	}
	return listed(SignIn, list)
}

// listed puts a list's mark on its entries.
func listed(g Group, list []Entry) []Entry {
	for n := range list {
		list[n].Group, list[n].Listed = g, true
	}
	return list
}
