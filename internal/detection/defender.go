package detection

import (
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/signal"
)

// defenderAlerts are the alerts in Defender's format, as listed in May 2026.
func defenderAlerts() []Entry {
	return listed(Defender, slices.Concat(
		defenderCredential(), defenderEvasion(), defenderDiscovery(), defenderExecution(), defenderInitial(),
		defenderLateral(), defenderPersistence(), defenderEscalation(), defenderCommand(),
	))
}

// attack splits a list of ATT&CK techniques.
func attack(techniques string) []string { return strings.Fields(techniques) }

// tickets is what helps when a Kerberos ticket is used by somebody else: the
// ticket lives until it expires, the account need not.
func tickets() []Remedy { return []Remedy{DisableAccount, IsolateDevice, ResetPassword} }

// defenderCredential are those of credential access.
func defenderCredential() []Entry {
	return []Entry{
		{
			Name: "A compromised user account signed in", Detectors: []string{"xdr_CredentialStuffingToolObserved"},
			Level: high, Family: Password, Tactic: credentialAccess, Techniques: attack("T1078"),
			Prior: 0.85,
		},
		{
			Name: "Anomalous OAuth device code authentication activity", Detectors: []string{"xdr_AnomalousDeviceCodeAuth"},
			Level: high, Family: Token, Tactic: credentialAccess, Techniques: attack("T1528 T1078.004"),
		},
		{
			Name: "AS-REP roasting", Detectors: []string{"xdr_AsrepRoastingAttack", "2412"},
			Level: high, Family: Roasting, Tactic: credentialAccess, Techniques: attack("T1558.004"),
			Attack: "AS-REP roasting",
			Titles: []string{"Suspected AS-REP Roasting attack"},
		},
		{
			Name: "Honeytoken Activity", Detectors: []string{"xdr_HoneytokenSignInAttempt", "2014"},
			Level: high, Family: Honeytoken, Tactic: credentialAccess, Techniques: attack("T1098"),
			Titles: []string{"Honeytoken authentication activity"},
		},
		{
			Name: "Malicious sign in from a randomized user agent", Detectors: []string{"xdr_AnomalousRandomUASignIn"},
			Level: high, Family: Guessing, Tactic: credentialAccess, Techniques: attack("T1539 T1110.003 T1110.001"),
			Remedies: []Remedy{ResetPassword, RevokeSessions, DisableAccount, BlockAddress}, Prior: 0.85,
		},
		{
			Name: "Multiple failed Okta authentication attempts detected", Detectors: []string{"xdr_OktaMultipleFailedLogons"},
			Level: high, Family: Provider, Tactic: credentialAccess, Techniques: attack("T1110"),
			Cause: signal.CausePassword, Prior: 0.25,
		},
		{
			Name: "Multiple failed Okta sign in attempts followed by successful sign in with anomalous user behavior", Detectors: []string{"xdr_OktaMultipleFailedLogonsFollowedBySignIn"},
			Level: high, Family: Provider, Tactic: credentialAccess, Techniques: attack("T1110 T1078"),
			Cause: signal.CausePassword, Prior: 0.85,
		},
		{
			Name: "NEGOEX relay attack", Detectors: []string{"xdr_NegoexRelayAttack"},
			Level: high, Family: Relay, Tactic: credentialAccess, Techniques: attack("T1187 T1557.001"),
		},
		{
			Name: "Okta FastPass phishing attack detected", Detectors: []string{"xdr_OktaFastPassPhishingAttempt"},
			Level: high, Family: Token, Tactic: credentialAccess, Techniques: attack("T1539 T1550.004"),
			Cause: signal.CauseSession, Remedies: []Remedy{ClearSessionsThere, SuspendElsewhere},
		},
		{
			Name: "Okta privileged role assigned to application", Detectors: []string{"xdr_OktaPrivilegedRoleAssignedToApplication"},
			Level: high, Family: Provider, Tactic: credentialAccess, Techniques: attack("T1003.006"),
			Cause: signal.CauseDirectory, Remedies: []Remedy{RevertChange, SuspendElsewhere, ClearSessionsThere},
		},
		{
			Name: "Possible account secret leak", Detectors: []string{"xdr_CredentialStuffingToolObserved"},
			Level: high, Family: Password, Tactic: credentialAccess, Techniques: attack("T1078"),
		},
		{
			Name: "Possible adversary-in-the-middle (AiTM) attack detected (ConsentFix)", Detectors: []string{"xdr_PossibleAitMConsentFix"},
			Level: high, Family: Token, Tactic: credentialAccess, Techniques: attack("T1557"),
			Remedies: []Remedy{DisableAccount, RevokeSessions, RevokeConsent, ConfirmCompromised},
		},
		{
			Name: "Possible AS-REP roasting attack", Detectors: []string{"xdr_AsrepRoastingAttack"},
			Level: medium, Family: Roasting, Tactic: credentialAccess, Techniques: attack("T1558.004"),
			Attack: "AS-REP roasting",
		},
		{
			Name: "Possible Golden SAML attack", Detectors: []string{"xdr_PossibleGoldenSamlAttack"},
			Level: high, Family: Certificates, Tactic: credentialAccess, Techniques: attack("T1071 T1606.002"),
			Remedies: []Remedy{RotateSigningKey, RevokeSessions, DisableAccount}, Prior: 0.95, HalfLife: never, Floor: high,
		},
		{
			Name: "Possible golden ticket attack", Detectors: []string{"xdr_PossibleGoldenTicketAttacks", "2022", "2032"},
			Level: high, Family: Ticket, Tactic: credentialAccess, Techniques: attack("T1558.001"),
			Attack: "golden ticket",
			Titles: []string{"Suspected Golden Ticket usage (time anomaly)", "Suspected Golden Ticket usage (ticket anomaly)"},
		},
		{
			Name: "Possible golden ticket attack (CVE-2021-42287 exploitation)", Detectors: []string{"xdr_PossibleGoldenTicketAttack_SuspiciousPac"},
			Level: high, Family: Ticket, Tactic: credentialAccess, Techniques: attack("T1558.001"),
			Attack: "golden ticket",
		},
		{
			Name: "Possible golden ticket attack (suspicious ticket)", Detectors: []string{"xdr_PossibleGoldenTicketAttack_SuspiciousTicket"},
			Level: high, Family: Ticket, Tactic: credentialAccess, Techniques: attack("T1558.001"),
			Attack: "golden ticket",
		},
		{
			Name: "Possible Kerberoasting attack", Detectors: []string{"xdr_PossibleKerberoastingAttack"},
			Level: high, Family: Roasting, Tactic: credentialAccess, Techniques: attack("T1558.003"),
			Attack: "kerberoasting",
		},
		{
			Name: "Possible Kerberoasting attack following a suspicious LDAP query", Detectors: []string{"xdr_PossibleKerberoastingFollowingSuspiciousLdapQuery"},
			Level: high, Family: Roasting, Tactic: credentialAccess, Techniques: attack("T1558.003 T1087.002"),
			Attack: "kerberoasting",
		},
		{
			Name: "Possible Kerberoasting attack using a stealthy LDAP search", Detectors: []string{"xdr_PossibleStealthyLdapKerberoastingAttack"},
			Level: high, Family: Roasting, Tactic: credentialAccess, Techniques: attack("T1558.003 T1087.002"),
			Attack: "kerberoasting",
		},
		{
			Name: "Possible Kerberos key list attack", Detectors: []string{"xdr_PossibleKerberosKeyListAttack"},
			Level: high, Family: Ticket, Tactic: credentialAccess, Techniques: attack("T1558.001"),
		},
		{
			Name: "Possible NetSync attack", Detectors: []string{"xdr_PossibleNetsyncAttack"},
			Level: high, Family: Replication, Tactic: credentialAccess, Techniques: attack("T1003.006"),
			Cause: signal.CauseDirectory, Remedies: []Remedy{RevertChange, IsolateDevice, DisableAccount, ResetPassword},
		},
		{
			Name: "Possible OAuth code theft detected through consent abuse", Detectors: []string{"xdr_PossibleOauthCodeTheft"},
			Level: high, Family: Token, Tactic: credentialAccess, Techniques: attack("T1557"),
			Remedies: []Remedy{DisableAccount, RevokeSessions, RevokeConsent, ConfirmCompromised},
		},
		{
			Name: "Possible overpass-the-hash attack", Detectors: []string{"xdr_PossibleOverPassTheHash", "2002", "2008"},
			Level: high, Family: Hash, Tactic: credentialAccess, Techniques: attack("T1550.002"),
			Titles: []string{"Suspected overpass-the-hash attack (Kerberos)", "Suspected overpass-the-hash attack (encryption downgrade)"},
		},
		{
			Name: "Possible service principal account secret leak", Detectors: []string{"xdr_CredentialStuffingToolObserved"},
			Level: medium, Family: WorkloadCredential, Tactic: credentialAccess, Techniques: attack("T1078"),
		},
		{
			Name: "Possible use of a stolen session cookie", Detectors: []string{"xdr_BrowserSessionCookieTheft", "xdr_StolenSessionArtifactReplay"},
			Level: high, Family: Token, Tactic: credentialAccess, Techniques: attack("T1557 T1539 T1598"),
			Attack: "stolen session cookie",
		},
		{
			Name: "Possibly compromised service principal account signed in", Detectors: []string{"xdr_CredentialStuffingToolObserved"},
			Level: high, Family: WorkloadCredential, Tactic: credentialAccess, Techniques: attack("T1078"),
		},
		{
			Name: "Possibly compromised service principal account signed in (discovery tool)", Detectors: []string{"xdr_DiscoveryToolObserved", "xdr_ReconnaissanceToolObsereved"},
			Level: high, Family: WorkloadCredential, Tactic: credentialAccess, Techniques: attack("T1078"),
		},
		{
			Name: "Possibly compromised user account signed in", Detectors: []string{"xdr_DiscoveryToolObserved", "xdr_ReconnaissanceToolObsereved"},
			Level: high, Family: Password, Tactic: credentialAccess, Techniques: attack("T1078"),
		},
		{
			Name: "Stolen session cookie replay detected", Detectors: []string{"xdr_BrowserSessionCookieTheft", "xdr_StolenSessionArtifactReplay"},
			Level: high, Family: Token, Tactic: credentialAccess, Techniques: attack("T1557 T1539 T1598"),
			Attack: "stolen session cookie",
		},
		{
			Name: "Suspected brute-force attack (Kerberos, NTLM)", Detectors: []string{"xdr_OnPremBruteforce", "2023"},
			Level: medium, Family: Guessing, Tactic: credentialAccess, Techniques: attack("T1110.001"),
			Titles: []string{"Suspected Brute Force attack (Kerberos, NTLM)"},
		},
		{
			Name: "Suspected brute-force attack on LDAP authentication", Detectors: []string{"xdr_LdapBindBruteforce", "2004"},
			Level: medium, Family: Guessing, Tactic: credentialAccess, Techniques: attack("T1110.001"),
			Titles: []string{"Suspected Brute Force attack (LDAP)"},
		},
		{
			Name: "Suspected Conditional Access bypass via non-compliant device", Detectors: []string{"xdr_SuspectedCABwithNonCompliantDevice"},
			Level: medium, Family: Token, Tactic: credentialAccess, Techniques: attack("T1078.004"),
			Remedies: []Remedy{RevokeSessions, DisableAccount, DisableDevice, RequireAuthentication},
		},
		{
			Name: "Suspected password spray attack (Kerberos, NTLM)", Detectors: []string{"xdr_OnPremPasswordSpray"},
			Level: medium, Family: Guessing, Tactic: credentialAccess, Techniques: attack("T1110.003"),
		},
		{
			Name: "Suspected password spray attack on LDAP authentication", Detectors: []string{"xdr_LdapBindBruteforce"},
			Level: medium, Family: Guessing, Tactic: credentialAccess, Techniques: attack("T1110.003"),
		},
		{
			Name: "Suspicious creation of ESXi group", Detectors: []string{"xdr_SuspiciousUserAdditionToEsxGroup"},
			Level: high, Family: ADChange, Tactic: credentialAccess, Techniques: attack("T1098"),
		},
		{
			Name: "Suspicious DMSA related activity detected", Detectors: []string{"xdr_SuspiciousDmsaAction"},
			Level: high, Family: ADChange, Tactic: credentialAccess, Techniques: attack("T1555"),
		},
		{
			Name: "Suspicious email app consent grant", Detectors: []string{"xdr_MfaTamperingAndEmailSoftwareAbuse"},
			Level: medium, Family: Application, Tactic: credentialAccess, Techniques: attack("T1110.004 T1110.003"),
		},
		{
			Name: "Suspicious Entra account enablement after disruption", Detectors: []string{"xdr_SuspiciousAccountEnabled"},
			Level: high, Family: Reenabled, Tactic: credentialAccess, Techniques: attack("T1098"),
		},
		{
			Name: "Suspicious Golden gMSA related activity", Detectors: []string{"xdr_SuspiciousGoldenGmsaActivity"},
			Level: high, Family: ADChange, Tactic: credentialAccess, Techniques: attack("T1555"),
			Cause: signal.CauseController, Remedies: []Remedy{RecoverController, RevertChange, IsolateDevice, DisableAccount},
		},
		{
			Name: "Suspicious Kerberos authentication (AP-REQ)", Detectors: []string{"xdr_SuspiciousKerberosApReq"},
			Level: high, Family: Hash, Tactic: credentialAccess, Techniques: attack("T1558.002"),
		},
		{
			Name: "Suspicious Kerberos authentication (AS-REQ)", Detectors: []string{"xdr_SusKerberosAuth_AsReq"},
			Level: medium, Family: Hash, Tactic: credentialAccess, Techniques: attack("T1550 T1558"),
			Cause: signal.CauseSession, Remedies: tickets(),
		},
		{
			Name: "Suspicious Kerberos authentication (TGS-REQ)", Detectors: []string{"xdr_SusKerberosAuth_TgsReq"},
			Level: medium, Family: Hash, Tactic: credentialAccess, Techniques: attack("T1550 T1558"),
			Cause: signal.CauseSession, Remedies: tickets(),
		},
		{
			Name: "Suspicious Kerberos authentication (TGT request using TGS-REQ)", Detectors: []string{"xdr_SusKerberosAuth_S4U2selfTgsReq"},
			Level: medium, Family: Hash, Tactic: credentialAccess, Techniques: attack("T1550 T1558"),
			Cause: signal.CauseSession, Remedies: tickets(),
		},
		{
			Name: "Suspicious login attempt using possibly compromised account certificate", Detectors: []string{"xdr_SuspiciousLoginWithExchange"},
			Level: high, Family: Certificates, Tactic: credentialAccess, Techniques: attack("T1649"),
			Remedies: []Remedy{RevokeCertificate, DisableAccount, RevokeSessions},
		},
		{
			Name: "Suspicious network connection over Encrypting File System Remote Protocol", Detectors: []string{"xdr_SuspiciousConnectionOverEFSRPC", "2416"},
			Level: medium, Family: Relay, Tactic: credentialAccess, Techniques: attack("T1187"),
		},
		{
			Name: "Suspicious NTLM authentication", Detectors: []string{"xdr_SuspiciousNtlmAuthentication"},
			Level: medium, Family: Hash, Tactic: credentialAccess, Techniques: attack("T1550.002 T1087.002"),
		},
		{
			Name: "Suspicious on-prem account enablement after disruption", Detectors: []string{"xdr_SuspiciousAccountEnabled"},
			Level: high, Family: Reenabled, Tactic: credentialAccess, Techniques: attack("T1098"),
		},
		{
			Name: "Suspicious OS switch sign-in", Detectors: []string{"xdr_SuspiciousOsSwitchSignIn"},
			Level: medium, Family: Address, Tactic: credentialAccess, Techniques: attack("T1078"),
		},
		{
			Name: "Suspicious SAM Account Name Change", Detectors: []string{"xdr_SuspiciousChangeOfSamName"},
			Level: medium, Family: ADChange, Tactic: credentialAccess, Techniques: attack("T1110.001 T1558.003"),
			Attack: "sAMAccountName change",
		},
		{
			Name: "Suspicious sign in with CSRF speedbump trigger", Detectors: []string{"xdr_CsrfSpeedbumpToRiskyLogin"},
			Level: medium, Family: Middle, Tactic: credentialAccess, Techniques: attack("T1557 T1185"),
		},
		{
			Name: "User sign-in from shared client infrastructure exhibiting anomalous activity", Detectors: []string{"xdr_SuspiciousSharedClientInfraActivity"},
			Level: medium, Family: Address, Tactic: credentialAccess, Techniques: attack("T1078"),
		},
	}
}
