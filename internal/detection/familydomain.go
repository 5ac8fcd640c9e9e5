package detection

import (
	"sync"

	"github.com/seed-f47efad2/cordon/internal/signal"
)

var guides = sync.OnceValue(Families)

// domainFamilies are those of Active Directory and its hosts.
func domainFamilies() []Guide {
	return []Guide{
		{
			Family: Honeytoken, Title: "A decoy account was touched", Cause: signal.CausePassword, HalfLife: 14,
			Remedies: []Remedy{IsolateDevice, DisableAccount, ResetPassword},
			Questions: []string{
				"From which host and account was the decoy used?",
				"Does an inventory or a scanner explain it?",
				"Where is the decoy's password to be found, and who could read it there?",
				"What else did that host ask the directory in the same hour?",
			},
			Recommend: "Nobody has business with a decoy: isolate the host that used it and contain the account that was signed in there. Then give the decoy a new password.",
		},
		{
			Family: Guessing, Title: "Passwords are being guessed", Cause: signal.CausePassword, HalfLife: 7,
			Remedies: []Remedy{ResetPassword, DisableAccount, BlockAddress, IsolateDevice},
			Questions: []string{
				"Did one of the attempts succeed?",
				"Where do they come from, and is that host ours?",
				"Does an old password in a service or a phone explain it?",
				"Which accounts were tried, and are some of them privileged?",
			},
			Recommend: "Stop the source; set a new password for each account whose password was found, and watch the others.",
		},
		{
			Family: Roasting, Title: "Tickets are collected to be cracked", Cause: signal.CausePassword, Prior: 0.5, HalfLife: 14,
			Remedies: []Remedy{ResetPassword, IsolateDevice, DisableAccount},
			Questions: []string{
				"Which accounts were asked for, and how old and long are their passwords?",
				"Are some of them privileged?",
				"Which account and host asked, and does a tool explain it?",
				"Did one of the accounts sign in somewhere new afterwards?",
			},
			Recommend: "Two sides: contain the account and host that asked, and give the accounts asked for long random passwords before theirs are cracked; demand pre-authentication and AES.",
		},
		{
			Family: Hash, Title: "A password hash or ticket is used by somebody else", Cause: signal.CausePassword, Prior: 0.6, HalfLife: 7,
			Remedies: []Remedy{ResetPassword, DisableAccount, IsolateDevice, RevokeSessions},
			Questions: []string{
				"On which host was the secret taken, and on which was it used?",
				"Who else was signed in on the first host?",
				"Does the person work on both?",
				"What was reached with it?",
			},
			Recommend: "Isolate both hosts and reset the password twice, so that the old hash is worth nothing on any domain controller. Then treat everybody signed in on the first host alike.",
		},
		{
			Family: Relay, Title: "An authentication was forced or relayed", Cause: signal.CauseSession, HalfLife: 7,
			Remedies: []Remedy{DisableAccount, IsolateDevice, BlockAddress},
			Questions: []string{
				"Whose authentication was it: a person's, a server's, a domain controller's?",
				"Where was it relayed to, and what was done there?",
				"Which host stands in the middle?",
				"Are signing and channel binding demanded at the target?",
			},
			Recommend: "Take the host in the middle off the network and undo what was done at the target; if a domain controller's authentication was relayed, treat it as an attack on the domain.",
		},
		{
			Family: Ticket, Title: "Kerberos tickets are forged", Cause: signal.CauseController, Prior: 0.95, Floor: signal.LevelHigh,
			Remedies: []Remedy{RotateKrbtgt, RecoverController, IsolateDevice, DisableAccount},
			Questions: []string{
				"Which account does the ticket claim, and does it exist?",
				"From which host was it used, and what for?",
				"When could the key of krbtgt have been taken?",
				"Does an odd setting, such as an old encryption type, explain it?",
			},
			Recommend: "Whoever forges tickets holds the key of the domain: no single password helps. Isolate the host, and have the password of krbtgt changed twice with the documented pause.",
		},
		{
			Family: Replication, Title: "The domain's own secrets", Cause: signal.CauseController, Prior: 0.95, Floor: signal.LevelHigh,
			Remedies: []Remedy{RecoverController, RotateKrbtgt, IsolateDevice, DisableAccount},
			Questions: []string{
				"Is the source a domain controller, or a product that has the right to replicate?",
				"Which secrets were asked for?",
				"Who gave the account the right, and when?",
				"Was it used before?",
			},
			Recommend: "Cut the source off, take the right away, and act as if every secret of the domain were known: privileged passwords first, then krbtgt twice.",
		},
		{
			Family: Certificates, Title: "Certificates and federation keys", Cause: signal.CauseCertificate, HalfLife: 14,
			Remedies: []Remedy{RevokeCertificate, RotateSigningKey, DisableAccount, RevertChange},
			Questions: []string{
				"Which certificate or key is it, who asked for it, by which template?",
				"As whom does it let one sign in?",
				"Has it been used, and from where?",
				"Was a setting of the authority or the federation server changed?",
			},
			Recommend: "A certificate outlives every new password: revoke it, close the template or endpoint that gave it, and replace signing keys that could have been copied.",
		},
		{
			Family: ADChange, Title: "A dangerous change in Active Directory", Cause: signal.CauseDirectory, HalfLife: 14,
			Remedies: []Remedy{RevertChange, RemoveRole, DisableAccount, ResetPassword},
			Questions: []string{
				"Who made the change, from which host, and is there a request for it?",
				"Which rights does it give, and to whom?",
				"Have they been used since?",
				"What else did the same account change?",
			},
			Recommend: "Put the object back to what it was, contain the account that changed it, and check who used the rights in between.",
		},
		{
			Family: Exploit, Title: "An attack on a host or protocol", Cause: signal.CauseDevice, HalfLife: 7,
			Remedies: []Remedy{IsolateDevice, DisableAccount, ResetPassword},
			Questions: []string{
				"Is the target patched against it?",
				"Did it succeed: new processes, services, tasks?",
				"Which account was used, and does an administrator's tool explain it?",
				"Which accounts were signed in on the target?",
			},
			Recommend: "Isolate source and target, patch, and give a new password to every account that was signed in on the target.",
		},
		{
			Family: Exfiltration, Title: "Data leaves by an odd way", Cause: signal.CauseDevice, HalfLife: 7,
			Remedies: []Remedy{IsolateDevice, BlockAddress, DisableAccount},
			Questions: []string{
				"What was copied, how much, and where to?",
				"Which process and account did it?",
				"Does a backup or a sensor explain it?",
			},
			Recommend: "Cut the connection, keep the evidence, contain the account that ran it, and find out what is gone.",
		},
		{
			// 0.25 rather than the 0.15 of a low signal: a medium alert must open a case.
			Family: Recon, Title: "Somebody looks around", Cause: signal.CauseUnknown, Prior: 0.25, HalfLife: 2,
			Remedies: []Remedy{IsolateDevice, DisableAccount, BlockAddress},
			Questions: []string{
				"Does an inventory, a scanner or an administrator's script explain it?",
				"Which account on which host asked, and for what?",
				"Is the query one that a known tool makes?",
				"What followed within the day?",
			},
			Recommend: "By itself it harms nothing: find the tool. If nobody owns it, isolate the host and contain the account that ran it, before the next step comes.",
		},
	}
}
