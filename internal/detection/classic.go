package detection

import "github.com/seed-f47efad2/cordon/internal/signal"

// classicAlerts are the alerts that Defender for Identity still sends in its first
// format, as listed in October 2025.
func classicAlerts() []Entry {
	return listed(Classic, []Entry{
		{
			Name: "Account Enumeration reconnaissance (LDAP)", Detectors: []string{"2437"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002"),
			Attack: "account enumeration",
		},
		{
			Name: "Network-mapping reconnaissance (DNS)", Detectors: []string{"2007"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1087 T1046 T1018"),
		},
		{
			Name: "User and Group membership reconnaissance (SAMR)", Detectors: []string{"2021"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002 T1069.002"),
			Attack: "SAM-R reconnaissance",
		},
		{
			Name: "Honeytoken was queried via LDAP", Detectors: []string{"2429", "2439"},
			Level: low, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002 T1069.002"),
			Prior:  0.4,
			Titles: []string{"Honeytoken was queried via SAM-R"},
		},
		{
			Name: "Suspected Golden Ticket usage (encryption downgrade)", Detectors: []string{"2009"},
			Level: medium, Family: Ticket, Tactic: persistence, Techniques: attack("T1558.001"),
			Attack: "golden ticket",
		},
		{
			Name: "Suspected Golden Ticket usage (nonexistent account)", Detectors: []string{"2027"},
			Level: high, Family: Ticket, Tactic: persistence, Techniques: attack("T1558.001 T1068 T1210"),
			Attack: "golden ticket",
		},
		{
			Name: "Suspected Golden Ticket usage (ticket anomaly using RBCD)", Detectors: []string{"2040"},
			Level: high, Family: Ticket, Tactic: persistence, Techniques: attack("T1558.001"),
			Attack: "golden ticket",
		},
		{
			Name: "Suspected skeleton key attack (encryption downgrade)", Detectors: []string{"2010"},
			Level: medium, Family: Replication, Tactic: persistence, Techniques: attack("T1210 T1556.001"),
			Prior: 0.6,
		},
		{
			Name: "Suspicious additions to sensitive groups", Detectors: []string{"2024"},
			Level: medium, Family: ADChange, Tactic: persistence, Techniques: attack("T1098 T1484"),
			Remedies: []Remedy{RemoveRole, DisableAccount, ResetPassword},
		},
		{
			Name: "Suspected Netlogon privilege elevation attempt (CVE-2020-1472)", Detectors: []string{"2411"},
			Level: high, Family: Replication, Tactic: escalation, Techniques: attack("T1210 T1068"),
			Prior: 0.8,
		},
		{
			Name: "Honeytoken user attributes modified", Detectors: []string{"2427"},
			Level: high, Family: Honeytoken, Tactic: persistence, Techniques: attack("T1098"),
			Cause: signal.CauseDirectory, Remedies: []Remedy{RevertChange, DisableAccount, IsolateDevice},
		},
		{
			Name: "Honeytoken group membership changed", Detectors: []string{"2428"},
			Level: high, Family: Honeytoken, Tactic: persistence, Techniques: attack("T1098"),
			Cause: signal.CauseDirectory, Remedies: []Remedy{RemoveRole, RevertChange, DisableAccount, IsolateDevice},
		},
		{
			Name: "Suspected SID-History injection", Detectors: []string{"1106"},
			Level: high, Family: ADChange, Tactic: escalation, Techniques: attack("T1134.005"),
		},
		{
			Name: "Suspicious modification of a dNSHostName attribute (CVE-2022-26923)", Detectors: []string{"2421"},
			Level: high, Family: ADChange, Tactic: escalation, Techniques: attack("T1068 T1134.001"),
		},
		{
			Name: "Suspicious modification of domain AdminSdHolder", Detectors: []string{"2430"},
			Level: high, Family: ADChange, Tactic: persistence, Techniques: attack("T1098"),
		},
		{
			Name: "Suspicious Kerberos delegation attempt by a newly created computer", Detectors: []string{"2422"},
			Level: high, Family: ADChange, Tactic: evasion, Techniques: attack("T1484"),
		},
		{
			Name: "Suspicious Domain Controller certificate request (ESC8)", Detectors: []string{"2432"},
			Level: high, Family: Certificates, Tactic: evasion, Techniques: attack("T1078"),
			Cause: signal.CauseController, Remedies: []Remedy{RecoverController, RevokeCertificate, IsolateDevice}, Prior: 0.9, HalfLife: never, Floor: high,
		},
		{
			Name: "Suspicious modifications to the AD CS security permissions/settings", Detectors: []string{"2435"},
			Level: medium, Family: Certificates, Tactic: evasion, Techniques: attack("T1484"),
			Cause: signal.CauseDirectory, Remedies: []Remedy{RevertChange, DisableAccount},
		},
		{
			Name: "Suspicious modification of the trust relationship of AD FS server", Detectors: []string{"2420"},
			Level: medium, Family: Certificates, Tactic: evasion, Techniques: attack("T1484.002"),
			Remedies: []Remedy{RotateSigningKey, RevertChange, DisableAccount}, Prior: 0.6,
		},
		{
			Name: "Suspicious modification of the RBCD attribute by a machine account", Detectors: []string{"2423"},
			Level: high, Family: ADChange, Tactic: evasion, Techniques: attack("T1484"),
			Attack: "RBCD change",
		},
		{
			Name: "Suspected Golden Ticket usage (forged authorization data)", Detectors: []string{"2013"},
			Level: high, Family: Ticket, Tactic: credentialAccess, Techniques: attack("T1558.001"),
			Attack: "golden ticket",
		},
		{
			Name: "Malicious request of Data Protection API master key", Detectors: []string{"2020"},
			Level: high, Family: Replication, Tactic: credentialAccess, Techniques: attack("T1555"),
		},
		{
			Name: "Security principal reconnaissance (LDAP)", Detectors: []string{"2038"},
			Level: medium, Family: Recon, Tactic: discovery, Techniques: attack("T1087.002"),
		},
		{
			Name: "Suspected Kerberos SPN exposure", Detectors: []string{"2410"},
			Level: high, Family: Roasting, Tactic: credentialAccess, Techniques: attack("T1558.003"),
			Attack: "kerberoasting",
			Titles: []string{"Suspected Kerberos SPN exposure (Kerberoasting)"},
		},
		{
			Name: "Suspicious modification of a sAMNameAccount attribute (CVE-2021-42278/42287)", Detectors: []string{"2419"},
			Level: high, Family: ADChange, Tactic: credentialAccess, Techniques: attack("T1134.001 T1068 T1558"),
			Attack: "sAMAccountName change",
		},
		{
			Name: "Suspected DCSync attack (replication of directory services)", Detectors: []string{"2006"},
			Level: high, Family: Replication, Tactic: credentialAccess, Techniques: attack("T1003.006"),
			Cause: signal.CauseDirectory, Remedies: []Remedy{DisableAccount, ResetPassword, RevertChange, IsolateDevice},
		},
		{
			Name: "Suspected AD FS DKM key read", Detectors: []string{"2413"},
			Level: high, Family: Certificates, Tactic: credentialAccess, Techniques: attack("T1552.004"),
			Remedies: []Remedy{RotateSigningKey, DisableAccount, IsolateDevice}, Prior: 0.9, HalfLife: never, Floor: high,
		},
		{
			Name: "Suspected DFSCoerce attack using Distributed File System Protocol", Detectors: []string{"2426"},
			Level: high, Family: Relay, Tactic: credentialAccess, Techniques: attack("T1187"),
		},
		{
			Name: "Suspicious Kerberos delegation attempt using BronzeBit (CVE-2020-17049)", Detectors: []string{"2048"},
			Level: medium, Family: Hash, Tactic: credentialAccess, Techniques: attack("T1558"),
			Cause: signal.CauseSession, Remedies: tickets(),
		},
		{
			Name: "Abnormal AD FS authentication using a suspicious certificate", Detectors: []string{"2424"},
			Level: high, Family: Certificates, Tactic: credentialAccess, Techniques: attack("T1606"),
			Remedies: []Remedy{RotateSigningKey, RevokeCertificate, DisableAccount, RevokeSessions},
		},
		{
			Name: "Suspected suspicious Kerberos ticket request", Detectors: []string{"2418"},
			Level: high, Family: Relay, Tactic: credentialAccess, Techniques: attack("T1557.001"),
		},
		{
			Name: "Suspected exploitation attempt on Windows Print Spooler service", Detectors: []string{"2415"},
			Level: high, Family: Exploit, Tactic: lateral, Techniques: attack("T1210"),
			Varies: true,
		},
		{
			Name: "Remote code execution attempt over DNS (CVE-2018-8626)", Detectors: []string{"2036"},
			Level: medium, Family: Exploit, Tactic: lateral, Techniques: attack("T1068 T1210"),
		},
		{
			Name: "Suspected identity theft (pass-the-hash)", Detectors: []string{"2017"},
			Level: high, Family: Hash, Tactic: lateral, Techniques: attack("T1550.002"),
		},
		{
			Name: "Suspected identity theft (pass-the-ticket)", Detectors: []string{"2018"},
			Level: high, Family: Hash, Tactic: lateral, Techniques: attack("T1550.003"),
			Varies: true, Cause: signal.CauseSession, Remedies: tickets(), Attack: "pass-the-ticket",
		},
		{
			Name: "Suspected NTLM authentication tampering (CVE-2019-1040)", Detectors: []string{"2039"},
			Level: medium, Family: Relay, Tactic: lateral, Techniques: attack("T1068 T1210"),
		},
		{
			Name: "Suspected NTLM relay attack (Exchange account)", Detectors: []string{"2037"},
			Level: medium, Family: Relay, Tactic: lateral, Techniques: attack("T1068 T1210 T1557.001"),
			Varies: true,
		},
		{
			Name: "Suspected SMB packet manipulation (CVE-2020-0796)", Detectors: []string{"2406"},
			Level: high, Family: Exploit, Tactic: lateral, Techniques: attack("T1210"),
		},
		{
			Name: "Exchange Server Remote Code Execution (CVE-2021-26855)", Detectors: []string{"2414"},
			Level: high, Family: Exploit, Tactic: lateral, Techniques: attack("T1210"),
		},
		{
			Name: "Suspected Brute Force attack (SMB)", Detectors: []string{"2033"},
			Level: medium, Family: Guessing, Tactic: lateral, Techniques: attack("T1110.001 T1110.003"),
		},
		{
			Name: "Suspected WannaCry ransomware attack", Detectors: []string{"2035"},
			Level: medium, Family: Exploit, Tactic: lateral, Techniques: attack("T1210"),
		},
		{
			Name: "Suspected use of Metasploit hacking framework", Detectors: []string{"2034"},
			Level: medium, Family: Exploit, Tactic: lateral, Techniques: attack("T1210"),
		},
		{
			Name: "Suspicious certificate usage over Kerberos protocol (PKINIT)", Detectors: []string{"2425", "2047"},
			Level: high, Family: Certificates, Tactic: lateral, Techniques: attack("T1550"),
			Remedies: []Remedy{RevokeCertificate, DisableAccount},
			Titles:   []string{"Suspected rogue Kerberos certificate usage"},
		},
		{
			Name: "Suspected DCShadow attack (domain controller promotion)", Detectors: []string{"2028"},
			Level: high, Family: Replication, Tactic: evasion, Techniques: attack("T1207"),
		},
		{
			Name: "Suspected DCShadow attack (replication request)", Detectors: []string{"2029"},
			Level: high, Family: Replication, Tactic: evasion, Techniques: attack("T1207"),
		},
		{
			Name: "Suspicious VPN connection", Detectors: []string{"2025"},
			Level: medium, Family: Password, Tactic: evasion, Techniques: attack("T1133"),
		},
		{
			Name: "Remote code execution attempt", Detectors: []string{"2019"},
			Level: medium, Family: Exploit, Tactic: execution, Techniques: attack("T1059.001 T1021.006"),
		},
		{
			Name: "Suspicious service creation (event 7045)", Detectors: []string{"2026"},
			Level: medium, Family: Exploit, Tactic: execution, Techniques: attack("T1569.002 T1543.003"),
			Attack: "service creation",
		},
		{
			Name: "Suspicious communication over DNS", Detectors: []string{"2031"},
			Level: medium, Family: Exfiltration, Tactic: exfiltration, Techniques: attack("T1048.003 T1041 T1029 T1020 T1071.004"),
		},
		{
			Name: "Data exfiltration over SMB", Detectors: []string{"2030"},
			Level: high, Family: Exfiltration, Tactic: exfiltration, Techniques: attack("T1048.003 T1570"),
		},
		{
			Name: "Suspicious deletion of the certificate database entries", Detectors: []string{"2433"},
			Level: medium, Family: Tampering, Tactic: evasion, Techniques: attack("T1070"),
		},
		{
			Name: "Suspicious disable of audit filters of AD CS", Detectors: []string{"2434"},
			Level: medium, Family: Tampering, Tactic: evasion, Techniques: attack("T1562.002"),
		},
		{
			Name: "Directory Services Restore Mode Password Change", Detectors: []string{"2438"},
			Level: medium, Family: ADChange, Tactic: persistence, Techniques: attack("T1098"),
			Cause: signal.CauseController, Remedies: []Remedy{RecoverController, RevertChange, DisableAccount},
		},
		{
			Name: "Group Policy Tampering", Detectors: []string{"2440"},
			Level: medium, Family: ADChange, Tactic: evasion, Techniques: attack("T1553"),
		},
	})
}
