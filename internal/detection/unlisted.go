package detection

import "github.com/seed-f47efad2/cordon/internal/signal"

// unlisted are kinds that live tenants or older pages show and no present list has.
func unlisted() []Entry {
	return []Entry{
		{
			// Cordon's own: a record says that a containment does not hold.
			Group: User, Name: "Signed in after it was contained", Types: []string{"signInAfterContainment"}, Source: signal.Watch, Licence: "none: Cordon's own",
			Level: high, Family: Compound, Tactic: persistence, Techniques: attack("T1078"), Cause: signal.CauseBoth,
			Prior: 0.85, HalfLife: never, Floor: high,
			Questions: []string{
				"Is the account disabled everywhere: in Active Directory, in Entra ID, at other providers?",
				"Is it an old session that was not revoked, or a new sign-in with a password or method that the attacker set?",
				"Did the person get access again in a way that Cordon does not know?",
			},
			Recommend: "Look at once where it got in, contain there, and read back what the containment left open.",
		},
		{
			Group: User, Name: "Enabled by somebody else after it was contained", Types: []string{"enabledAfterContainment"}, Source: signal.Watch, Licence: "none: Cordon's own",
			Level: high, Family: Reenabled, Tactic: persistence, Techniques: attack("T1098"),
			Prior: 0.85, HalfLife: never, Floor: high,
			Questions: []string{
				"Who enabled it, and did they know of the containment?",
				"Is it the synchronisation, which undoes what was not changed at the source?",
				"Is whoever enabled it at risk themselves?",
			},
			Recommend: "Ask whoever did it on another way; unless it was meant, contain again, at the source of authority.",
		},
		{
			Group: SignIn, Name: "Suspicious authenticator approval", Types: []string{"suspiciousAuthAppApproval"}, Licence: p2,
			Level: high, Varies: true, Family: Password, Tactic: credentialAccess, Techniques: attack("T1621"),
		},
		{
			Group: Agent, Name: "Unified agent risk", Types: []string{"unifiedAgentRisk"}, Licence: agent365,
			Level: medium, Varies: true, Family: AgentActivity, Tactic: initialAccess, Techniques: attack("T1078.004"),
		},
		{
			Group: Defender, Name: "Suspicious bulk user deletion via scripted activity", Detectors: []string{"xdr_SuspiciousBulkUserDeletion"},
			Level: high, Varies: true, Family: CloudAdmin, Tactic: impact, Techniques: attack("T1531"),
		},
		{
			Group: Defender, Name: "Reciprocal Temporary Access Pass creation between users", Detectors: []string{"xdr_ReciprocalTAPCreationViaGraphAPI"},
			Level: high, Varies: true, Family: Method, Tactic: persistence, Techniques: attack("T1556.006"),
		},
		{
			Group: Defender, Name: "Possible Okta session theft", Detectors: []string{"xdr_PossibleOktaSessionTheft"},
			Level: high, Varies: true, Family: Provider, Tactic: credentialAccess, Techniques: attack("T1539"), Cause: signal.CauseSession,
		},
		{
			Group: Defender, Name: "Suspicious account creation",
			Level: medium, Varies: true, Family: CloudAdmin, Tactic: persistence, Techniques: attack("T1136.003"),
		},
		{
			Group: Defender, Name: "Suspicious file modification",
			Level: medium, Varies: true, Family: Data, Tactic: impact, Techniques: attack("T1565.001"),
		},
		{
			Group: Defender, Name: "Suspicious inbox rule",
			Level: medium, Varies: true, Family: Mailbox, Tactic: evasion, Techniques: attack("T1564.008"),
		},
	}
}
