// Package activedirectory changes accounts in Active Directory over LDAP: the
// enabled flag, passwords, lockouts, whether the password must be changed, direct
// memberships, key credentials, delegation, expiry and logon restrictions. Each
// action brings an account to a state and proves it by reading every writable
// domain controller: what one controller took is accepted, what all of them show is
// verified.
//
// What none of them reaches: LDAP and SMB connections that are open, Kerberos
// service tickets that were issued (they live to their end, ten hours by default),
// and ticket-granting tickets until the controller looks at the account again. For
// a hybrid account also its cloud sessions; see package entraid.
//
// Sources: MS-ADTS 3.1.1.3.1.5 and 2.2.16 (userAccountControl), MS-SAMR for what a
// password reset does, "Configure Microsoft Defender for Identity action accounts"
// for the rights to delegate.
package activedirectory

import (
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/directory"
)

// The names of the actions.
const (
	Disable       action.Name = "ad.account.disable"
	Enable        action.Name = "ad.account.enable"
	ResetPassword action.Name = "ad.account.reset_password"
	Unlock        action.Name = "ad.account.unlock"
	RequireChange action.Name = "ad.account.require_change"
	WaiveChange   action.Name = "ad.account.waive_change"

	RemoveFromGroup action.Name = "ad.account.remove_from_group"
	AddToGroup      action.Name = "ad.account.add_to_group"

	ClearKeyCredentials   action.Name = "ad.account.clear_key_credentials"
	RestoreKeyCredentials action.Name = "ad.account.restore_key_credentials"
	ClearDelegation       action.Name = "ad.account.clear_delegation"
	RestoreDelegation     action.Name = "ad.account.restore_delegation"
	Expire                action.Name = "ad.account.expire"
	RestoreExpiry         action.Name = "ad.account.restore_expiry"
	RestrictLogon         action.Name = "ad.account.restrict_logon"
	RestoreLogon          action.Name = "ad.account.restore_logon"

	// Tasks for people.
	RotateKrbtgt      action.Name = "ad.domain.rotate_krbtgt"
	RotateSSOKey      action.Name = "ad.domain.rotate_sso_key"
	RemoveReplication action.Name = "ad.domain.remove_replication_rights"
)

// Bucket is what writes count against. Nobody publishes a limit of it.
const Bucket action.Bucket = "activeDirectory"

const (
	batch     = 16 // writes under way at once; a controller takes them on several connections
	readBatch = 40 // accounts to one read

	// An accepted write shows on its own controller at once, and elsewhere after
	// replication: seconds within a site, up to hours between sites, for which a
	// step's own deadline is made longer.
	propagation = 2 * time.Second
	within      = 5 * time.Minute
)

// Types returns the actions, which all speak through client. A nil client gives
// types that describe themselves and can do nothing else. now is the time for
// facts; nil is time.Now.
func Types(client *directory.Client, now func() time.Time) []action.Type {
	if now == nil {
		now = time.Now
	}
	d := &domain{client: client, now: now}
	return append([]action.Type{
		&enabled{domain: d, want: false},
		&enabled{domain: d, want: true},
		&password{domain: d},
		&unlock{domain: d},
		&change{domain: d, want: true},
		&change{domain: d, want: false},
		&member{domain: d, want: false},
		&member{domain: d, want: true},
	}, slices.Concat(d.settings(), d.rotations(), []action.Type{&replication{d}})...)
}
