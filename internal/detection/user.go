package detection

import "github.com/seed-f47efad2/cordon/internal/signal"

// users are the detections linked to the user and to no sign-in.
func users() []Entry {
	return listed(User, []Entry{
		{
			Name: "Additional risk detected (user)", Types: []string{"generic"}, Licence: free,
			Family: Limited, Tactic: initialAccess, Level: signal.LevelHidden, Varies: true,
			Questions: []string{
				"What else happened to the account in these days: sign-ins, changes, alerts of other products?",
				"Does the person know of anything unusual?",
				"Has the password been used elsewhere?",
			},
		},
		{
			Name: "Anomalous token (user)", Types: []string{"anomalousToken"}, Licence: p2,
			Family: Token, Tactic: credentialAccess, Techniques: []string{"T1539"}, Level: medium, Varies: true,
			Questions: []string{
				"Which of the person's sessions shows an odd lifetime or an odd place?",
				"Which application's token is it?",
				"Is there a device with malware behind it?",
			},
			Recommend: "Stop the account and revoke its sessions; then a new password together with fresh multifactor authentication, since an old claim proves nothing.",
		},
		{
			Name: "Anomalous user activity", Types: []string{"anomalousUserActivity"}, Licence: p2,
			Family: CloudAdmin, Tactic: persistence, Techniques: []string{"T1098"}, Level: medium, Varies: true,
			Questions: []string{
				"Is the risk on the administrator who acted, or on the object that was changed?",
				"Which directory changes break the pattern, and are they asked for?",
				"From which session did they come?",
			},
			Recommend: "Go through the directory changes and put back what nobody asked for; contain the administrator's account, not that of the one who was changed.",
		},
		{
			Name: "Attacker in the Middle", Types: []string{"attackerinTheMiddle"}, Licence: e5,
			Family: Middle, Tactic: credentialAccess, Techniques: []string{"T1557"}, Level: high,
			Prior: 0.85, HalfLife: never, Floor: high,
			Questions: []string{
				"Which address is the proxy's, and which sessions of ours came through it?",
				"Which message brought the person there, and who else got it?",
				"Which methods, devices, rules and consents were added after the time of the detection?",
				"What did the stolen session read?",
			},
		},
		{
			Name: "Leaked credentials", Types: []string{"leakedCredentials"}, Licence: free,
			Family: Password, Tactic: credentialAccess, Techniques: []string{"T1589.001", "T1078"}, Level: high,
			Prior: 0.80, HalfLife: never, Floor: high,
			Questions: []string{
				"Has the password been changed after the date of the detection?",
				"Are there risky sign-ins of the same account?",
				"Which application registrations, inbox rules and moves to other systems followed?",
				"Where else is the password in use, on premises too?",
			},
			Recommend: "The pair was real when it was compared: reset the password and revoke sessions. If somebody is in already, block the account first.",
		},
		{
			Name: "Microsoft Entra threat intelligence (user)", Types: []string{"investigationsThreatIntelligence"}, Licence: free,
			Family: Threat, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: high, Varies: true,
			Questions: []string{
				"Which attack pattern is named, and when did it happen?",
				"Which sign-ins of the person fall into that time?",
				"Which other users carry the same finding?",
			},
			Recommend: "There is no single sign-in to judge: go through the person's sign-ins around the time, and unless all are explained, revoke, reset and confirm as compromised.",
		},
		{
			Name: "Possible attempt to access Primary Refresh Token", Types: []string{"attemptedPrtAccess"}, Licence: p2Device,
			Family: Token, Tactic: credentialAccess, Techniques: []string{"T1528"}, Level: high,
			Prior: 0.80, HalfLife: never, Floor: high,
			Remedies: []Remedy{IsolateDevice, DisableAccount, RevokeSessions, DisableDevice, ConfirmCompromised},
			Questions: []string{
				"What does Defender for Endpoint show on the device: which process, whose session?",
				"Who else is signed in there?",
				"Was the token used from another place?",
			},
			Recommend: "It is rare and serious: isolate the device, revoke the person's sessions, disable the device object, and reset once the device is clean.",
		},
		{
			Name: "Suspicious API traffic", Types: []string{"suspiciousAPITraffic"}, Licence: p2,
			Family: Recon, Tactic: discovery, Techniques: []string{"T1087.004", "T1526"}, Level: medium, Varies: true, HalfLife: 7,
			Prior:    byLevel,
			Remedies: []Remedy{RevokeSessions, DisableAccount, ConfirmCompromised},
			Questions: []string{
				"Which application made the calls, with whose consent?",
				"What was asked of the directory, and how much came back, by the Graph activity log?",
				"Is a script or an export of the person's own behind it?",
			},
			Recommend: "Find the application and the session; revoke the session, and the consent if the person does not know the application.",
		},
		{
			Name: "Suspicious sending patterns", Types: []string{"suspiciousSendingPatterns"}, Licence: p2Mail,
			Family: Mailbox, Tactic: lateral, Techniques: []string{"T1534"}, Level: medium, Floor: medium,
			Remedies: []Remedy{RevokeSessions, ResetPassword, DisableAccount, RemoveMailRules},
			Questions: []string{
				"What was sent, to how many, inside and outside?",
				"Is it a newsletter or a mail merge of the person's own?",
				"Is sending restricted already?",
				"Which session sent it?",
			},
			Recommend: "Stop the mail, take the account back, and warn the receivers inside: they are the next targets.",
		},
		{
			Name: "User reported suspicious activity", Types: []string{"userReportedSuspiciousActivity"}, Licence: p2,
			Family: Password, Tactic: credentialAccess, Techniques: []string{"T1621"}, Level: high,
			Prior: 0.80, HalfLife: never, Floor: high,
			Questions: []string{
				"Which prompt did the person deny, and which sign-in asked for it?",
				"Were there more prompts, and was one of them approved?",
				"Did the person report a prompt of their own by mistake?",
			},
			Recommend: "A prompt comes after the password: somebody knows it. Reset it, revoke sessions, and thank the person.",
		},
		{
			Name: "Unified risk signals", Types: []string{"aiCompoundAccountRisk"}, Licence: p2MDI,
			Family: Compound, Tactic: initialAccess, Techniques: []string{"T1078"}, Level: high,
			Questions: []string{
				"Which alerts of Entra, Defender and Purview does its information name?",
				"Which of the linked accounts drives it?",
				"Is that account contained where it lives?",
			},
		},
	})
}

// byLevel is the prior of an entry that leaves it to the signal's level although
// its family does not.
const byLevel = -1

// workloads are the detections of service principals.
func workloads() []Entry {
	return listed(Workload, []Entry{
		{
			Name: "Microsoft Entra threat intelligence (workload)", Types: []string{"investigationsThreatIntelligence"}, Licence: wid,
			Family: WorkloadCredential, Tactic: initialAccess, Techniques: []string{"T1078.004"}, Level: high, Varies: true,
			Questions: []string{
				"Which pattern is named, and which of the application's sign-ins does it fit?",
				"Which credential was used, and who else holds it?",
				"What did the application read or change in that time?",
			},
		},
		{
			Name: "Suspicious sign-ins", Types: []string{"suspiciousSignins"}, Licence: wid,
			Family: WorkloadCredential, Tactic: initialAccess, Techniques: []string{"T1078.004"}, Level: medium, Varies: true,
			Questions: []string{
				"What is new: address, network, target, user agent, hosting, country, kind of credential?",
				"Was the application moved or deployed anew at that time?",
				"It names a time and no sign-in: which sign-ins fall into it?",
			},
			Recommend: "Ask the owners about a move first. If there was none, add a new credential, remove the old ones, and disable the service principal while it is misused.",
		},
		{
			Name: "Admin confirmed service principal compromised", Types: []string{"adminConfirmedServicePrincipalCompromised"}, Licence: wid,
			Family: Confirmed, Tactic: initialAccess, Techniques: []string{"T1078.004"}, Level: high,
			Cause: signal.CauseWorkload, Remedies: []Remedy{DisableApplication, RotateSecret},
			Questions: []string{
				"Which administrator confirmed it, according to the history, and on what evidence?",
				"Are all credentials of service principal and application replaced?",
				"Which secrets could it read, and are they changed?",
			},
		},
		{
			Name: "Leaked credentials (workload)", Types: []string{"leakedCredentials"}, Licence: wid,
			Family: WorkloadCredential, Tactic: credentialAccess, Techniques: []string{"T1552.001", "T1078.004"}, Level: high,
			Prior: 0.80, HalfLife: never, Floor: high,
			Questions: []string{
				"Which key does the signal name, and in which repository or dump did it lie?",
				"Has that key been used from outside since?",
				"Which others lie in the same place?",
			},
			Recommend: "Add a new credential, remove the leaked key and take it out of the repository's history; a key that was public is known for ever.",
		},
		{
			Name: "Malicious application", Types: []string{"maliciousApplication"}, Licence: wid,
			Family: Application, Tactic: persistence, Techniques: []string{"T1098.003"}, Level: high,
			Cause: signal.CauseConsent, Prior: 0.85, HalfLife: never, Floor: high,
			Questions: []string{
				"Who consented to it, and what did it read until Microsoft disabled it?",
				"Are there sisters by the same publisher or with the same reply addresses?",
				"Do refresh tokens of those who consented still live?",
			},
			Recommend: "Microsoft has disabled it and it cannot be deleted: take its grants away, and treat the data of all who consented as read.",
		},
		{
			Name: "Suspicious application", Types: []string{"suspiciousApplication"}, Licence: wid,
			Family: Application, Tactic: persistence, Techniques: []string{"T1098.003"}, Level: medium, Varies: true,
			Cause: signal.CauseConsent, HalfLife: never,
			Questions: []string{
				"Who consented to it, to which permissions, and does anybody use it?",
				"Who publishes it, and is the publisher verified?",
				"What did it read?",
			},
			Recommend: "It is not disabled yet: do it, unless an owner answers for it, and take its grants away.",
		},
		{
			Name: "Anomalous service principal activity", Types: []string{"anomalousServicePrincipalActivity"}, Licence: wid,
			Family: WorkloadCredential, Tactic: persistence, Techniques: []string{"T1098"}, Level: medium, Varies: true,
			Questions: []string{
				"Is the risk on the application that acted, or on the object that was changed?",
				"Which changes in the directory are unusual for it?",
				"Was a new version deployed, or a credential added?",
			},
			Recommend: "Put back what nobody asked for, and replace the credentials of the application that acted.",
		},
		{
			Name: "Suspicious API traffic (workload)", Types: []string{"suspiciousAPITraffic"}, Licence: wid,
			Family: WorkloadCredential, Tactic: discovery, Techniques: []string{"T1087.004", "T1526"}, Level: medium, Varies: true, HalfLife: 7,
			Questions: []string{
				"Which calls did it make to Graph, and how much came back?",
				"Does its work need them?",
				"Which credential and address did it use?",
			},
			Recommend: "Disable it if data is leaving, replace its credentials, and take permissions away that it does not need.",
		},
	})
}

// agents are the detections of AI agents.
func agents() []Entry {
	return listed(Agent, []Entry{
		{
			Name: "Confirmed compromised", Types: []string{"adminConfirmedAgentCompromised"}, Licence: agent365,
			Family: Confirmed, Tactic: initialAccess, Techniques: []string{"T1078.004"}, Level: high,
			Cause: signal.CauseWorkload, Remedies: []Remedy{DisableAgent, RotateSecret},
			Questions: []string{
				"Which administrator confirmed it, and on what evidence?",
				"Are the agent's sponsors told?",
				"Which other agents share its blueprint and credentials?",
			},
		},
		{
			Name: "Early life malicious activity", Types: []string{"earlyLifeMaliciousActivity"}, Licence: agent365,
			Family: AgentActivity, Tactic: initialAccess, Techniques: []string{"T1078.004"}, Level: high, Varies: true,
			Questions: []string{
				"Who made the agent, when, and with which permissions?",
				"Was it made for this purpose, or misused at once?",
				"What else did its maker create?",
			},
			Recommend: "A new agent that begins like this was likely made for it: disable it, and look at the account that made it.",
		},
		{
			Name: "Entra directory reconnaissance", Types: []string{"entraDirectoryReconnaissance"}, Licence: agent365,
			Family: AgentActivity, Tactic: discovery, Techniques: []string{"T1087.004"}, Level: medium, Varies: true, HalfLife: 7,
			Questions: []string{
				"What did it read of the directory, and does its task need that?",
				"Who prompted it, or which document did?",
				"Where did the answers go?",
			},
		},
		{
			Name: "Failed access attempt", Types: []string{"failedAccessAttempt"}, Licence: agent365,
			Family: AgentActivity, Tactic: credentialAccess, Techniques: []string{"T1550.001"}, Level: medium, Varies: true, HalfLife: 7,
			Questions: []string{
				"For which resource was its token shown, and by whom?",
				"Is it a mistake in its configuration?",
				"Was the token shown from an address that is not its own?",
			},
			Recommend: "If the configuration does not explain it, its token is in other hands: disable the agent and replace its credentials.",
		},
		{
			Name: "Microsoft Entra threat intelligence (agent)", Types: []string{"threatIntelligenceAccount"}, Licence: agent365,
			Family: AgentActivity, Tactic: initialAccess, Techniques: []string{"T1078.004"}, Level: high, Varies: true,
			Questions: []string{
				"Which pattern is named, and which of the agent's activities does it fit?",
				"Do other agents or people meet the same source?",
				"What may the agent reach?",
			},
		},
		{
			Name: "Sign-in spike", Types: []string{"signInSpike"}, Licence: agent365,
			Family: AgentActivity, Tactic: initialAccess, Techniques: []string{"T1078.004"}, Level: low, Varies: true, HalfLife: 3,
			Questions: []string{
				"Was its load raised, or does it try again and again?",
				"Which resources were asked for?",
				"From which addresses?",
			},
			Recommend: "Ask the sponsors about load and retries; without an answer, disable it.",
		},
		{
			Name: "Suspicious credential usage", Types: []string{"suspiciousCredentialUsage"}, Licence: agent365,
			Family: AgentActivity, Tactic: persistence, Techniques: []string{"T1098.001"}, Level: high, Varies: true,
			Questions: []string{
				"Who added the credential to the blueprint, and was it meant?",
				"From where was it used first?",
				"Which agents does the blueprint cover?",
			},
			Recommend: "Remove the new credential from the blueprint, contain whoever added it, and look at every agent of the blueprint.",
		},
		{
			Name: "Unfamiliar resource access", Types: []string{"unfamiliarResourceAccess"}, Licence: agent365,
			Family: AgentActivity, Tactic: discovery, Techniques: []string{"T1526"}, Level: low, Varies: true, HalfLife: 3,
			Questions: []string{
				"Which resource is new to it, and does its task explain it?",
				"Who gave it the permission?",
				"What did it read there?",
			},
		},
	})
}
