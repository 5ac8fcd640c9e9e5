package detection

// defenderEvasion are those of defense evasion.
func defenderEvasion() []Entry {
	return []Entry{
		{
			Name: "Attempt to disable Defender for Identity service principal observed", Detectors: []string{"xdr_SuspectedMDITampering"},
			Level: high, Family: Tampering, Tactic: evasion, Techniques: attack("T1562.001"),
		},
		{
			Name: "Skipped MFA on remembered device from uncommon ISP sign-in", Detectors: []string{"xdr_SuspiciousMfaSkip"},
			Level: medium, Family: Token, Tactic: evasion, Techniques: attack("T1550.004 T1078.004"),
		},
		{
			Name: "Suspicious access denial to view primary group ID of an object", Detectors: []string{"xdr_SuspiciousDenyAccessToPrimaryGroupId"},
			Level: medium, Family: ADChange, Tactic: evasion, Techniques: attack("T1564.002"),
		},
		{
			Name: "Suspicious account link (cross-tenant)", Detectors: []string{"xdr_SuspiciousAccountLink"},
			Level: medium, Family: CloudAdmin, Tactic: evasion, Techniques: attack("T1556"),
		},
		{
			Name: "Suspicious property lock deactivated on Microsoft Entra application", Detectors: []string{"xdr_SuspiciousPropertyLockEntra"},
			Level: medium, Family: CloudAdmin, Tactic: evasion, Techniques: attack("T1562.001 T1671"),
		},
	}
}

// defenderDiscovery are those of discovery.
func defenderDiscovery() []Entry {
	return []Entry{
		{
			Name: "Anomalous Samr activity", Detectors: []string{"xdr_SamrReconnaissanceSecurityAlert"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1069 T1087"),
			Attack: "SAM-R reconnaissance",
		},
		{
			Name: "Discovery tool was observed", Detectors: []string{"xdr_DiscoveryToolObserved", "xdr_ReconnaissanceToolObsereved"},
			Level: high, Family: Recon, Tactic: discovery, Techniques: attack("T1087"),
			Prior:  byLevel,
			Titles: []string{"Reconnaissance tool was observed"},
		},
		{
			Name: "Okta sync service principal enumerated", Detectors: []string{"xdr_OktaSyncServicePrincipalEnumeration"},
			Level: high, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002"),
			Prior: 0.4,
		},
		{
			Name: "Possible Active Directory Certificate Services enumeration", Detectors: []string{"xdr_PossibleActiveDirectoryCertificateServicesEnumeration"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1649 T1087"),
		},
		{
			Name: "Possible Active Directory enumeration via ADWS", Detectors: []string{"xdr_PossibleActiveDirectoryEnumerationAdws"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002 T1069.002 T1615"),
		},
		{
			Name: "Possible Kerberoasting LDAP reconnaissance", Detectors: []string{"xdr_PossibleKerberoastingLdapRecon"},
			Level: high, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002 T1558.003"),
			Prior: 0.4,
		},
		{
			Name: "Possible SPN enumeration via ADWS", Detectors: []string{"xdr_PossibleSpnEnumerationAdws"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002"),
		},
		{
			Name: "Possible SPN enumeration via LDAP", Detectors: []string{"xdr_PossibleSpnEnumerationLdap"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002"),
		},
		{
			Name: "Suspected account enumeration (Kerberos, NTLM, AD FS)", Detectors: []string{"xdr_SuspectedAccountEnumeration", "2003"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002"),
			Attack: "account enumeration",
			Titles: []string{"Account enumeration reconnaissance"},
		},
		{
			Name: "Suspicious addition of device on-premises", Detectors: []string{"xdr_SuspiciousAdditionOfOnPremDevice"},
			Level: high, Family: Registration, Tactic: discovery, Techniques: attack("T1098.005"),
			Remedies: []Remedy{DisableDevice, RevertChange, DisableAccount},
		},
		{
			Name: "Suspicious Entra device join or registration (threat-intelligence address)", Detectors: []string{"xdr_SuspiciousDeviceRegistration"},
			Level: high, Family: Registration, Tactic: discovery, Techniques: attack("T1098.005"),
		},
		{
			Name: "Suspicious LDAP query", Detectors: []string{"xdr_SuspiciousLdapQuery"},
			Level: high, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002"),
			Prior: byLevel,
		},
		{
			Name: "Suspicious LDAP query targeting sensitive attributes", Detectors: []string{"xdr_SuspiciousSensitiveAttributeLdapQuery", "2210", "xdr_LdapSensitiveAttributeRecon"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002 T1069.002"),
			Titles: []string{"Reconnaissance related to sensitive LDAP attribute", "Active Directory attributes reconnaissance (LDAP)"},
		},
		{
			Name: "Suspicious SMB enumeration from untrusted host", Detectors: []string{"xdr_SmbSessionEnumeration", "2012"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1049"),
			Titles: []string{"Suspicious Server Message Block (SMB) enumeration from untrusted host", "User and IP address reconnaissance (SMB)"},
		},
	}
}

// defenderExecution are those of execution.
func defenderExecution() []Entry {
	return []Entry{
		{
			Name: "Suspicious remote service installation", Detectors: []string{"xdr_SuspiciousRemoteServiceInstallation"},
			Level: medium, Family: Exploit, Tactic: execution, Techniques: attack("T1569.002"),
			Attack: "service creation",
		},
	}
}
