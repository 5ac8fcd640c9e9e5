package detection

import "github.com/seed-f47efad2/cordon/internal/signal"

// defenderInitial are those of initial access.
func defenderInitial() []Entry {
	return []Entry{
		{
			Name: "Failed credential abuse attempt in Entra ID authentication", Detectors: []string{"xdr_SuspiciousEntraFailedAuthentication"},
			Level: low, Family: Password, Tactic: initialAccess, Techniques: attack("T1078.004"),
			Prior: 0.25,
		},
		{
			Name: "Okta anonymous user access", Detectors: []string{"xdr_OktaAnonymousUserAccess"},
			Level: high, Family: Provider, Tactic: initialAccess, Techniques: attack("T1078"),
			Cause: signal.CauseSession,
		},
		{
			Name: "Password spray against OneLogin", Detectors: []string{"xdr_OneLoginPasswordSpray"},
			Level: medium, Family: Provider, Tactic: initialAccess, Techniques: attack("T1110.003"),
			Cause: signal.CausePassword, Prior: 0.25,
		},
		{
			Name: "Potential credential abuse in Entra ID authentication", Detectors: []string{"xdr_SuspiciousEntraAuthentication"},
			Level: high, Family: Password, Tactic: initialAccess, Techniques: attack("T1078.004"),
		},
		{
			Name: "Suspicious account sign-in and configuration changes", Detectors: []string{"xdr_SuspiciousSignInAndUserTampering"},
			Level: low, Family: Address, Tactic: initialAccess, Techniques: attack("T1078.001"),
		},
		{
			Name: "Suspicious Entra cookie request from suspicious IP address", Detectors: []string{"xdr_SuspiciousEntraSignIn"},
			Level: medium, Family: Token, Tactic: initialAccess, Techniques: attack("T1078.001"),
			Titles: []string{"Suspicious Entra cookie request from suspicious IPAddress"},
		},
		{
			Name: "Suspicious Entra P2P certificate request from suspicious IP address", Detectors: []string{"xdr_SuspiciousEntraSignIn"},
			Level: medium, Family: Token, Tactic: initialAccess, Techniques: attack("T1078.001"),
			Titles: []string{"Suspicious Entra P2P certificate request from suspicious IPAddress"},
		},
		{
			Name: "Suspicious Graph API request made from Entra ID sync application", Detectors: []string{"xdr_SuspiciousConnectSyncProvisioningGraphAPIActivity"},
			Level: medium, Family: Sync, Tactic: initialAccess, Techniques: attack("T1087 T1069"),
		},
		{
			Name: "Suspicious Okta account enumeration", Detectors: []string{"xdr_SuspiciousOktaAccountEnumeration"},
			Level: high, Family: Recon, Tactic: initialAccess, Techniques: attack("T1078.004"),
			Remedies: []Remedy{SuspendElsewhere, BlockAddress}, Prior: byLevel,
		},
		{
			Name: "Suspicious OneLogin MFA fatigue", Detectors: []string{"xdr_OneLoginMfaFatigue"},
			Level: medium, Family: Provider, Tactic: initialAccess, Techniques: attack("T1110.003"),
			Cause: signal.CausePassword,
		},
		{
			Name: "Suspicious sign-in from an unusual user agent and IP address", Detectors: []string{"xdr_SuspiciousEntraSignIn"},
			Level: medium, Family: Password, Tactic: initialAccess, Techniques: attack("T1078.001"),
			Titles: []string{"Suspicious Sign-In from Unusual User Agent and IP Address"},
		},
		{
			Name: "Suspicious sign-in from an unusual user agent and IP address using device code flow", Detectors: []string{"xdr_SuspiciousEntraSignIn"},
			Level: medium, Family: Token, Tactic: initialAccess, Techniques: attack("T1078.001"),
			Remedies: []Remedy{DisableAccount, RevokeSessions, ResetPassword, ConfirmCompromised},
			Titles:   []string{"Suspicious sign-in from unusual user agent and IP address using device code flow"},
		},
		{
			Name: "Suspicious sign-in from an unusual user agent and IP address using PowerShell", Detectors: []string{"xdr_SuspiciousEntraSignIn"},
			Level: medium, Family: Password, Tactic: initialAccess, Techniques: attack("T1078.001"),
			Titles: []string{"Suspicious sign-in from unusual user agent and IP address using PowerShell"},
		},
		{
			Name: "Suspicious sign-in made to an admin account", Detectors: []string{"xdr_SuspiciousAdminAccountSignIn"},
			Level: low, Family: Address, Tactic: initialAccess, Techniques: attack("T1078.001"),
		},
		{
			Name: "Suspicious sign-in made using a malicious certificate", Detectors: []string{"xdr_SignInUsingMaliciousCertificate"},
			Level: high, Family: Certificates, Tactic: initialAccess, Techniques: attack("T1078.001"),
			Remedies: []Remedy{RevokeCertificate, RevertChange, DisableAccount, RevokeSessions},
		},
		{
			Name: "Suspicious sign-in observed from Entra ID sync application", Detectors: []string{"xdr_SuspiciousConnectSyncProvisioningSignIn"},
			Level: medium, Family: Sync, Tactic: initialAccess, Techniques: attack("T1078.001"),
		},
		{
			Name: "Suspicious sign-in observed from Entra ID sync application to an uncommon resource app", Detectors: []string{"xdr_SuspiciousConnectSyncProvisioningSignIn"},
			Level: medium, Family: Sync, Tactic: initialAccess, Techniques: attack("T1078.001"),
		},
		{
			Name: "Suspicious sign-in observed to Entra ID sync application using an uncommon user agent", Detectors: []string{"xdr_SuspiciousConnectSyncProvisioningSignIn"},
			Level: medium, Family: Sync, Tactic: initialAccess, Techniques: attack("T1078.001"),
		},
		{
			Name: "Suspicious sign-in to a web app following MFA phone number tampering activity", Detectors: []string{"xdr_MfaPhoneNumberTamperingToSuspiciousWebAppSignIn"},
			Level: high, Family: Method, Tactic: initialAccess, Techniques: attack("T1078.001"),
		},
		{
			Name: "Suspicious sign-in to Microsoft Sentinel app made using Entra ID sync account", Detectors: []string{"xdr_SuspiciousMicrosoftSentinelAccessByEntraIdSyncAccount"},
			Level: low, Family: Sync, Tactic: initialAccess, Techniques: attack("T1078.001"),
		},
		{
			Name: "Suspicious tool used by a Microsoft Entra Sync account", Detectors: []string{"xdr_SuspiciousToolSyncAccountSignIn"},
			Level: high, Family: Sync, Tactic: initialAccess, Techniques: attack("T1078.004"),
		},
		{
			Name: "Suspicious user agent sign-in on Microsoft Entra", Detectors: []string{"xdr_SuspiciousEntraSignIn"},
			Level: medium, Family: Address, Tactic: initialAccess, Techniques: attack("T1078.001"),
		},
		{
			Name: "Suspicious user configuration change activity from Entra ID sync application", Detectors: []string{"xdr_ConnectSyncProvisioningNonSyncActivity"},
			Level: medium, Family: Sync, Tactic: initialAccess, Techniques: attack("T1078.001"),
		},
		{
			Name: "Sync account risky sign-in to an uncommon app", Detectors: []string{"xdr_RiskyEntraIDSyncAccount"},
			Level: high, Family: Sync, Tactic: initialAccess, Techniques: attack("T1078.001"),
		},
	}
}
