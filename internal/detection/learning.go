package detection

// learns returns how many days Microsoft says a kind watches before it knows what is
// usual, by the name of the entry; 0 where nothing is said. Sources: "Defender for
// Identity, classic security alerts" (learning period of each), "What are risk
// detections?" and "Securing workload identities"; the longest where they say a span.
func learns(name string) int {
	switch name {
	case "Suspected Golden Ticket usage (encryption downgrade)", "Unfamiliar sign-in properties":
		return 5
	case "Suspected brute-force attack (Kerberos, NTLM)":
		return 7
	case "Network-mapping reconnaissance (DNS)":
		return 8
	case "Atypical travel":
		return 14
	case "Security principal reconnaissance (LDAP)":
		return 15
	case "User and Group membership reconnaissance (SAMR)", "Suspicious additions to sensitive groups":
		return 28
	case "Suspicious VPN connection":
		return 30
	case "Suspicious sign-ins":
		return 60
	}
	return 0
}
