package detection

import "github.com/seed-f47efad2/cordon/internal/signal"

// defenderLateral are those of lateral movement.
func defenderLateral() []Entry {
	return []Entry{
		{
			Name: "Possible authentication silo bypass", Detectors: []string{"xdr_PossibleAuthenticationSiloBypass"},
			Level: high, Family: Hash, Tactic: lateral, Techniques: attack("T1550"),
			Cause: signal.CauseSession, Remedies: tickets(),
		},
		{
			Name: "Possible takeover of a Microsoft Entra seamless SSO account", Detectors: []string{"xdr_SuspectedAzureSsoAccountTakeover"},
			Level: high, Family: ADChange, Tactic: lateral, Techniques: attack("T1556"),
			Cause: signal.CauseController, Remedies: []Remedy{RotateKrbtgt, RevertChange, DisableAccount, IsolateDevice},
			Recommend: "Put the account back to what it was and change its password twice, as for krbtgt: with its key anybody can sign in to the cloud as anybody who is synchronised. Contain the account that changed it.",
		},
		{
			Name: "Suspected pass-the-ticket attack", Detectors: []string{"xdr_PassTheTicketAttack"},
			Level: medium, Family: Hash, Tactic: lateral, Techniques: attack("T1550"),
			Cause: signal.CauseSession, Remedies: tickets(), Attack: "pass-the-ticket",
		},
		{
			Name: "Suspicious activity after password sync", Detectors: []string{"xdr_SuspiciousActivityAfterPasswordSync"},
			Level: medium, Family: Password, Tactic: lateral, Techniques: attack("T1021.007"),
		},
		{
			Name: "Suspicious authentication attempt", Detectors: []string{"xdr_SuspiciousAuthAttempt"},
			Level: medium, Family: Hash, Tactic: lateral, Techniques: attack("T1550.002"),
		},
		{
			Name: "Suspicious Kerberos SPN request", Detectors: []string{"xdr_SuspiciousAuthAttempt"},
			Level: medium, Family: Roasting, Tactic: lateral, Techniques: attack("T1558.003"),
			Attack: "kerberoasting",
		},
		{
			Name: "Suspicious RBCD authentication", Detectors: []string{"xdr_SuspiciousRBCDAuthentication"},
			Level: medium, Family: Hash, Tactic: lateral, Techniques: attack("T1558"),
			Cause: signal.CauseDirectory, Remedies: []Remedy{RevertChange, DisableAccount, IsolateDevice},
			Titles: []string{"Suspicious resource-based constrained delegation (RBCD) authentication"},
		},
		{
			Name: "Suspicious SMB NTLM authentication attempt", Detectors: []string{"xdr_SuspiciousSmbNtlmAuthenticationAttempt"},
			Level: medium, Family: Hash, Tactic: lateral, Techniques: attack("T1021.002"),
		},
	}
}

// defenderPersistence are those of persistence.
func defenderPersistence() []Entry {
	return []Entry{
		{
			Name: "OAuth app created a user", Detectors: []string{"xdr_OAuthAppCreatedAUser"},
			Level: medium, Family: CloudAdmin, Tactic: persistence, Techniques: attack("T1136.003"),
			Cause: signal.CauseConsent, Remedies: []Remedy{DisableApplication, RevokeConsent, RevertChange},
		},
		{
			Name: "Okta privileged API token created", Detectors: []string{"xdr_OktaPrivilegedApiTokenCreated"},
			Level: high, Family: Provider, Tactic: persistence, Techniques: attack("T1078.004"),
			Cause: signal.CauseWorkload,
		},
		{
			Name: "Okta privileged API token updated", Detectors: []string{"xdr_OktaPrivilegedApiTokenUpdated"},
			Level: high, Family: Provider, Tactic: persistence, Techniques: attack("T1078.004"),
			Cause: signal.CauseWorkload,
		},
		{
			Name: "Shadow credentials added to account", Detectors: []string{"xdr_ShadowCredentialsAttack", "2431"},
			Level: high, Family: Method, Tactic: persistence, Techniques: attack("T1098"),
			Attack: "shadow credentials",
			Titles: []string{"Suspected account takeover using shadow credentials"},
		},
		{
			Name: "Shadow Credentials Added to Account and Used for Authentication", Detectors: []string{"xdr_ShadowCredentialsAttack"},
			Level: high, Family: Method, Tactic: persistence, Techniques: attack("T1098"),
			Prior: 0.9, HalfLife: never, Floor: high, Attack: "shadow credentials",
		},
		{
			Name: "Suspicious addition of ACL on-premises", Detectors: []string{"xdr_SuspiciousAdditionOfAcl"},
			Level: high, Family: ADChange, Tactic: persistence, Techniques: attack("T1098"),
		},
		{
			Name: "Suspicious addition of alternative phone number", Detectors: []string{"xdr_SuspiciousMFAAddition"},
			Level: medium, Family: Method, Tactic: persistence, Techniques: attack("T1556.006"),
		},
		{
			Name: "Suspicious addition of default third-party MFA method to user account", Detectors: []string{"xdr_Suspicious3rdPartyMfaAddition"},
			Level: medium, Family: Method, Tactic: persistence, Techniques: attack("T1556.006"),
		},
		{
			Name: "Suspicious addition of email", Detectors: []string{"xdr_SuspiciousMFAAddition"},
			Level: medium, Family: Method, Tactic: persistence, Techniques: attack("T1556.006"),
		},
		{
			Name: "Suspicious change to primary group ID", Detectors: []string{"xdr_SuspiciousChangeInUserPrimaryGroupId"},
			Level: high, Family: ADChange, Tactic: persistence, Techniques: attack("T1098"),
		},
		{
			Name: "Suspicious Entra device join or registration", Detectors: []string{"xdr_SuspiciousAdditionOfEntraDevice"},
			Level: medium, Family: Registration, Tactic: persistence, Techniques: attack("T1098.005"),
		},
		{
			Name: "Suspicious Entra role addition", Detectors: []string{"xdr_SuspiciousAdditionOfRoleToUser"},
			Level: medium, Family: CloudAdmin, Tactic: persistence, Techniques: attack("T1098.003"),
			Remedies: []Remedy{RemoveRole, DisableAccount, RevokeSessions},
		},
		{
			Name: "Suspicious guest user invitation", Detectors: []string{"xdr_SuspiciousGuestUserInvitation"},
			Level: medium, Family: CloudAdmin, Tactic: persistence, Techniques: attack("T1136.003"),
		},
		{
			Name: "Suspicious Intune device registration activity", Detectors: []string{"xdr_SuspiciousIntuneDeviceRegistration"},
			Level: medium, Family: Registration, Tactic: persistence, Techniques: attack("T1098.005"),
		},
		{
			Name: "Suspicious MFA tampering activity by admin account", Detectors: []string{"xdr_AdminAccountTakeover"},
			Level: low, Family: Method, Tactic: persistence, Techniques: attack("T1556.006"),
		},
		{
			Name: "Suspicious RBCD attribute change", Detectors: []string{"xdr_SuspiciousRbcdAttributeChange"},
			Level: medium, Family: ADChange, Tactic: persistence, Techniques: attack("T1098"),
			Attack: "RBCD change",
			Titles: []string{"Suspicious resource-based constrained delegation (RBCD) attribute change"},
		},
		{
			Name: "User was created and assigned to sensitive role", Detectors: []string{"xdr_SuspiciousUserCreationAndSensitiveRoleAssignment"},
			Level: medium, Family: CloudAdmin, Tactic: persistence, Techniques: attack("T1136.003 T1098.003"),
			Remedies: []Remedy{RemoveRole, RevertChange, DisableAccount, RevokeSessions},
		},
	}
}

// defenderEscalation are those of privilege escalation.
func defenderEscalation() []Entry {
	return []Entry{
		{
			Name: "Okta privilege escalation following anomalous sign in by {ActorAliasName}", Detectors: []string{"xdr_OktaPrivilegeEscalationFollowingSignIn"},
			Level: high, Family: Provider, Tactic: escalation, Techniques: attack("T1110 T1548"),
			Cause: signal.CauseDirectory, Remedies: []Remedy{RevertChange, SuspendElsewhere, ClearSessionsThere},
		},
		{
			Name: "Okta session impersonation leading to privileged action for {AccountUpn}", Detectors: []string{"xdr_OktaUserSessionImpersonationPrivilegedAction"},
			Level: high, Family: Provider, Tactic: escalation, Techniques: attack("T1548 T1134"),
			Cause: signal.CauseSession,
		},
		{
			Name: "Risky sign in followed by privilege role grant", Detectors: []string{"xdr_RiskySignInFollowedByPrivilegedRoleGrant"},
			Level: medium, Family: CloudAdmin, Tactic: escalation, Techniques: attack("T1078.004 T1098.003"),
			Remedies: []Remedy{RemoveRole, RevokeSessions, DisableAccount},
		},
		{
			Name: "Suspected certificate enrollment abuse (ESC15)", Detectors: []string{"xdr_SuspectedCertificateEnrollmentESC15"},
			Level: high, Family: Certificates, Tactic: escalation, Techniques: attack("T1068"),
			Remedies: []Remedy{RevokeCertificate, RevertChange, DisableAccount},
		},
		{
			Name: "Suspicious addition and removal of elevated privileges", Detectors: []string{"xdr_SuspiciousAdditionAndRemovalOfPrivilegedRole"},
			Level: medium, Family: CloudAdmin, Tactic: escalation, Techniques: attack("T1078.004"),
			Remedies: []Remedy{RemoveRole, RevokeSessions, DisableAccount},
		},
		{
			Name: "Suspicious Entra domain addition observed", Detectors: []string{"xdr_SuspiciousEntraDomainAddition"},
			Level: medium, Family: CloudAdmin, Tactic: escalation, Techniques: attack("T1484.002"),
		},
		{
			Name: "Suspicious SPN was added to a user", Detectors: []string{"xdr_SuspiciousAdditionOfSpnToUser"},
			Level: high, Family: ADChange, Tactic: escalation, Techniques: attack("T1098"),
		},
	}
}

// defenderCommand are those of command and control.
func defenderCommand() []Entry {
	return []Entry{
		{
			Name: "Suspicious DNS query from a device in the organization", Detectors: []string{"xdr_SuspiciousActiveDirectoryDnsQuery"},
			Level: medium, Family: Recon, Tactic: command, Techniques: attack("T1071.004"),
			Prior: byLevel,
		},
		{
			Name: "Suspicious Entra Graph API query observed", Detectors: []string{"xdr_SuspiciousEntraGraphCall"},
			Level: medium, Family: Recon, Tactic: command, Techniques: attack("T1071.001"),
			Remedies: []Remedy{RevokeSessions, DisableAccount, ConfirmCompromised}, Prior: byLevel,
		},
	}
}
