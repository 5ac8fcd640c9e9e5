package winevent

import "github.com/seed-f47efad2/cordon/internal/record"

// A kind is what an event's number says.
type kind struct {
	source record.Source
	title  string
	fill   func(event, *record.Record)
}

// kinds are the events that are read. Source: Windows Server "Security auditing"
// reference; the list of what Defender for Identity collects.
var kinds = map[int]kind{
	4624: {record.Logon, "sign-in", logon},
	4625: {record.Logon, "sign-in failed", logon},
	4648: {record.Logon, "sign-in with other credentials", logon},
	4768: {record.Logon, "Kerberos ticket-granting ticket", kerberos},
	4769: {record.Logon, "Kerberos service ticket", kerberos},
	4770: {record.Logon, "Kerberos ticket renewed", kerberos},
	4771: {record.Logon, "Kerberos sign-in failed", kerberos},
	4776: {record.Logon, "NTLM credentials checked", ntlm},
	8004: {record.Logon, "NTLM used", ntlm},

	4720: {record.DirectoryChange, "account created", change},
	4722: {record.DirectoryChange, "account enabled", change},
	4723: {record.DirectoryChange, "password changed by its owner", change},
	4724: {record.DirectoryChange, "password reset", change},
	4725: {record.DirectoryChange, "account disabled", change},
	4726: {record.DirectoryChange, "account deleted", change},
	4738: {record.DirectoryChange, "account changed", change},
	4740: {record.DirectoryChange, "account locked", change},
	4741: {record.DirectoryChange, "computer created", change},
	4742: {record.DirectoryChange, "computer changed", change},
	4743: {record.DirectoryChange, "computer deleted", change},
	4767: {record.DirectoryChange, "account unlocked", change},
	4781: {record.DirectoryChange, "account renamed", change},

	4728: {record.DirectoryChange, "member added to a global security group", member},
	4729: {record.DirectoryChange, "member removed from a global security group", member},
	4732: {record.DirectoryChange, "member added to a local security group", member},
	4733: {record.DirectoryChange, "member removed from a local security group", member},
	4746: {record.DirectoryChange, "member added to a local distribution group", member},
	4747: {record.DirectoryChange, "member removed from a local distribution group", member},
	4751: {record.DirectoryChange, "member added to a global distribution group", member},
	4752: {record.DirectoryChange, "member removed from a global distribution group", member},
	4756: {record.DirectoryChange, "member added to a universal security group", member},
	4757: {record.DirectoryChange, "member removed from a universal security group", member},
	4761: {record.DirectoryChange, "member added to a universal distribution group", member},
	4762: {record.DirectoryChange, "member removed from a universal distribution group", member},

	4730: {record.DirectoryChange, "global security group deleted", change},
	4753: {record.DirectoryChange, "global distribution group deleted", change},
	4758: {record.DirectoryChange, "universal security group deleted", change},
	4763: {record.DirectoryChange, "universal distribution group deleted", change},

	5136: {record.DirectoryChange, "object changed", object},
	5137: {record.DirectoryChange, "object created", object},
	5138: {record.DirectoryChange, "object undeleted", object},
	5139: {record.DirectoryChange, "object moved", object},
	5141: {record.DirectoryChange, "object deleted", object},

	1202: {record.WindowsEvent, "AD FS: credentials were good", plain},
	1203: {record.WindowsEvent, "AD FS: credentials were not good", plain},
	4662: {record.WindowsEvent, "operation on a directory object", plain},
	4870: {record.WindowsEvent, "certificate revoked", plain},
	4882: {record.WindowsEvent, "certificate services: permissions changed", plain},
	4885: {record.WindowsEvent, "certificate services: audit filter changed", plain},
	4887: {record.WindowsEvent, "certificate issued", plain},
	4888: {record.WindowsEvent, "certificate refused", plain},
	4890: {record.WindowsEvent, "certificate services: certificate manager settings changed", plain},
	4896: {record.WindowsEvent, "certificate services: rows deleted", plain},
	7045: {record.WindowsEvent, "service installed", plain},
}

// The statuses that a sign-in fails with most. Source: MS-ERREF 2.3.1.
var statuses = map[string]string{
	"0xc0000064": "no such account", "0xc000006a": "wrong password", "0xc000006d": "wrong name or password", "0xc000006e": "the account's restrictions do not allow it",
	"0xc000006f": "not at this hour", "0xc0000070": "not from this computer", "0xc0000071": "the password has expired", "0xc0000072": "the account is disabled",
	"0xc0000193": "the account has expired", "0xc0000224": "the password must be changed first", "0xc0000234": "the account is locked",
}

// Kerberos' own. Source: RFC 4120 7.5.9.
var kerberosErrors = map[string]string{
	"0x6": "no such account", "0x12": "the account is disabled, expired or locked", "0x17": "the password has expired", "0x18": "wrong password",
	"0x20": "the ticket has expired", "0x25": "the clocks differ",
}
