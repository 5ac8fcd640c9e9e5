package activedirectory

import (
	"strings"
)

// The groups whose members Defender for Identity calls sensitive by default,
// nested members included: by RID within a domain, and by SID below BUILTIN. The
// seventeenth, that of Exchange's servers, has no fixed identifier; see
// directory.Domain. Key Admins and Enterprise Key Admins are added: they may write
// the key credentials of anybody. Source: Microsoft Defender for Identity, entity
// tags; MS-DTYP 2.4.2.4 for the identifiers.
var (
	sensitiveRIDs = map[string]string{
		"498": "Enterprise Read-only Domain Controllers",
		"512": "Domain Admins",
		"516": "Domain Controllers",
		"518": "Schema Admins",
		"519": "Enterprise Admins",
		"520": "Group Policy Creator Owners",
		"521": "Read-only Domain Controllers",
		"526": "Key Admins",
		"527": "Enterprise Key Admins",
	}
	sensitiveSIDs = map[string]string{
		"S-1-5-32-544": "Administrators",
		"S-1-5-32-547": "Power Users",
		"S-1-5-32-548": "Account Operators",
		"S-1-5-32-549": "Server Operators",
		"S-1-5-32-550": "Print Operators",
		"S-1-5-32-551": "Backup Operators",
		"S-1-5-32-552": "Replicator",
		"S-1-5-32-556": "Network Configuration Operators",
		"S-1-5-32-557": "Incoming Forest Trust Builders",
	}
)

const (
	exchangeServers = "Microsoft Exchange Servers"
	replication     = "Replicating Directory Changes All"
	protectedUsers  = "525" // RID
)

// sensitive returns the name of a sensitive group, "" for any other.
func sensitive(sid string) string {
	if name := sensitiveSIDs[sid]; name != "" {
		return name
	}
	return sensitiveRIDs[rid(sid)]
}

// rid is the last part of a domain's SID, "" for others.
func rid(sid string) string {
	if n := strings.LastIndexByte(sid, '-'); n > 0 && strings.HasPrefix(sid, "S-1-5-21-") {
		return sid[n+1:]
	}
	return ""
}

// The flags of userAccountControl, by their names. Source: MS-ADTS 2.2.16.
var controlFlags = []struct {
	bit  int64
	name string
}{
	{0x1, "SCRIPT"}, {0x2, "ACCOUNTDISABLE"}, {0x8, "HOMEDIR_REQUIRED"}, {0x20, "PASSWD_NOTREQD"}, {0x40, "PASSWD_CANT_CHANGE"},
	{0x80, "ENCRYPTED_TEXT_PASSWORD_ALLOWED"}, {0x200, "NORMAL_ACCOUNT"}, {0x800, "INTERDOMAIN_TRUST_ACCOUNT"},
	{0x1000, "WORKSTATION_TRUST_ACCOUNT"}, {0x2000, "SERVER_TRUST_ACCOUNT"}, {0x10000, "DONT_EXPIRE_PASSWORD"},
	{0x40000, "SMARTCARD_REQUIRED"}, {0x80000, "TRUSTED_FOR_DELEGATION"}, {0x100000, "NOT_DELEGATED"}, {0x200000, "USE_DES_KEY_ONLY"},
	{0x400000, "DONT_REQ_PREAUTH"}, {0x800000, "PASSWORD_EXPIRED"}, {0x1000000, "TRUSTED_TO_AUTH_FOR_DELEGATION"},
	{0x4000000, "PARTIAL_SECRETS_ACCOUNT"},
}

const (
	accountDisable = 0x2
	lockedOut      = 0x10 // computed only
	trustAccount   = 0x800
	workstation    = 0x1000
	serverTrust    = 0x2000
	rodc           = 0x4000000
)

func flags(control int64) (names []string) {
	for _, f := range controlFlags {
		if control&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return names
}
