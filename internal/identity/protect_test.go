package identity_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/identity"
)

func person(r identity.Ref, roles ...identity.Role) identity.Identity {
	r.Provider, r.Kind = identity.EntraID, identity.KindPerson
	if r.ObjectID == "" {
		r.ObjectID = oidA
	}
	return identity.Identity{
		Tenant: tenant, ID: "idn_1", Kind: identity.KindPerson,
		Accounts: []identity.Account{{Ref: r, Facts: identity.Facts{RolesAsOf: epoch, Roles: roles}}},
	}
}

func onPrem(r identity.Ref) identity.Identity {
	r.Provider = identity.ActiveDirectory
	return identity.Identity{Tenant: tenant, ID: "idn_1", Kind: identity.KindPerson, Accounts: []identity.Account{{Ref: r}}}
}

func TestProtect(t *testing.T) {
	t.Parallel()
	ga := identity.Role{TemplateID: identity.GlobalAdministrator, Name: "Global Administrator", Active: true}
	eligible := ga
	eligible.Active = false
	syncRole := identity.Role{TemplateID: identity.DirectorySynchronization, Active: true}
	grouped := person(identity.Ref{})
	grouped.Accounts[0].Facts.Groups = []string{"GROUP"}
	outside := person(identity.Ref{})
	outside.Accounts[0].Facts.GroupsRead = []string{"GROUP"}
	cloudOnly, synced := person(identity.Ref{}), person(identity.Ref{})
	yes, no := true, false
	cloudOnly.Accounts[0].Facts.Synced, synced.Accounts[0].Facts.Synced = &no, &yes
	unread := person(identity.Ref{})
	unread.Accounts[0].Facts.RolesAsOf = time.Time{}
	kindless := person(identity.Ref{})
	kindless.Kind = identity.KindUnknown
	workload := person(identity.Ref{AppID: "APP"})
	workload.Kind, workload.Accounts[0].Kind = identity.KindWorkload, identity.KindWorkload
	workload.Accounts[0].Facts.RolesAsOf = time.Time{}
	foreignWorkload := workload
	foreignWorkload.Accounts = []identity.Account{workload.Accounts[0]}
	foreignWorkload.Accounts[0].AppID = "other"
	nameless := workload
	nameless.Accounts = []identity.Account{workload.Accounts[0]}
	nameless.Accounts[0].AppID = ""
	computer := onPrem(identity.Ref{SID: sidA})
	computer.Kind = identity.KindComputer

	list := func(match string, group bool) identity.Policy {
		return identity.Policy{List: []identity.Protected{{Match: match, Group: group, Reason: "break glass"}}, OwnAppIDs: []string{"app"}}
	}
	now := epoch.Add(time.Hour)
	for name, tc := range map[string]struct {
		policy  identity.Policy
		who     identity.Identity
		usable  int
		asOf    time.Time
		want    string // contained in a reason; empty: not protected
		unknown bool
	}{
		"anybody":                         {list("x", false), person(identity.Ref{}), 2, epoch, "", false},
		"by object id":                    {list("{"+strings.ToUpper(oidA)+"}", false), person(identity.Ref{}), 2, epoch, "break glass", false},
		"by UPN":                          {list("Glass@corp.example ", false), person(identity.Ref{UPN: "glass@CORP.example"}), 2, epoch, "break glass", false},
		"by SID":                          {list(sidA, false), onPrem(identity.Ref{SID: strings.ToLower(sidA)}), 2, epoch, "break glass", false},
		"by group":                        {list("group", true), grouped, 2, epoch, "break glass", false},
		"a group's id is no account":      {list("group", false), grouped, 2, epoch, "", false},
		"an empty line protects nobody":   {list(" ", false), person(identity.Ref{}), 2, epoch, "", false},
		"own app":                         {list("x", false), workload, 2, epoch, "Cordon's own", false},
		"another app":                     {list("x", false), foreignWorkload, 2, epoch, "", false},
		"sync by role":                    {list("x", false), person(identity.Ref{UPN: "svc@corp.example"}, syncRole), 2, epoch, "synchronisation", false},
		"sync by name":                    {list("x", false), person(identity.Ref{UPN: "Sync_DC01_0123456789ab@corp.example"}), 2, epoch, "synchronisation", false},
		"sync on premises":                {list("x", false), onPrem(identity.Ref{SID: sidA, SAM: "MSOL_0123456789ab"}), 2, epoch, "synchronisation", false},
		"cloud sync":                      {list("x", false), person(identity.Ref{UPN: "ADToAADSyncServiceAccount@corp.example"}), 2, epoch, "synchronisation", false},
		"a look-alike of sync":            {list("x", false), person(identity.Ref{UPN: "sync_team@corp.example"}), 2, epoch, "", false},
		"another look-alike":              {list("x", false), person(identity.Ref{UPN: "aad_admins@corp.example"}), 2, epoch, "", false},
		"krbtgt by RID":                   {list("x", false), onPrem(identity.Ref{SID: "S-1-5-21-1-2-3-502"}), 2, epoch, "krbtgt", false},
		"krbtgt by name":                  {list("x", false), onPrem(identity.Ref{SID: sidA, SAM: "KRBTGT"}), 2, epoch, "krbtgt", false},
		"krbtgt of a read-only DC":        {list("x", false), onPrem(identity.Ref{SID: sidA, SAM: "krbtgt_20123"}), 2, epoch, "krbtgt", false},
		"a look-alike of krbtgt":          {list("x", false), onPrem(identity.Ref{SID: sidA, SAM: "krbtgt_admin"}), 2, epoch, "", false},
		"built-in Administrator":          {list("x", false), onPrem(identity.Ref{SID: "S-1-5-21-1-2-3-500"}), 2, epoch, "built-in Administrator", false},
		"a RID that only ends so":         {list("x", false), onPrem(identity.Ref{SID: "S-1-5-21-1-2-3-1500"}), 2, epoch, "", false},
		"outside of the group":            {list("group", true), outside, 2, epoch, "", false},
		"a group that was never read":     {list("group", true), person(identity.Ref{}), 2, epoch, "group group have not been read", true},
		"another group was read":          {list("other", true), outside, 2, epoch, "group other have not been read", true},
		"on premises is in no group":      {list("group", true), onPrem(identity.Ref{SID: sidA}), 0, time.Time{}, "", false},
		"by UPN, its own unread":          {list("glass@corp.example", false), person(identity.Ref{}), 2, epoch, "user principal name", true},
		"by UPN, another":                 {list("glass@corp.example", false), person(identity.Ref{UPN: "a@corp.example"}), 2, epoch, "", false},
		"by SID, not told whether synced": {list(sidA, false), person(identity.Ref{}), 2, epoch, "by SID", true},
		"by SID, synced and unread":       {list(sidA, false), synced, 2, epoch, "by SID", true},
		"by SID, in the cloud alone":      {list(sidA, false), cloudOnly, 2, epoch, "", false},
		"a workload without its app id":   {list("x", false), nameless, 2, epoch, "Cordon's own", true},
		"computer":                        {list("x", false), computer, 2, epoch, "domain controller", false},
		"computer by name":                {list("x", false), onPrem(identity.Ref{SID: sidA, SAM: "DC01$"}), 2, epoch, "domain controller", false},
		"last usable Global Admin":        {list("x", false), person(identity.Ref{}, ga), 1, epoch, "last usable Global Administrator", false},
		"one of two Global Admins":        {list("x", false), person(identity.Ref{}, ga), 2, epoch, "", false},
		"eligible only":                   {list("x", false), person(identity.Ref{}, eligible), 0, epoch, "", false},
		"Global Admins never counted":     {list("x", false), person(identity.Ref{}, ga), 5, time.Time{}, "not known", true},
		"Global Admins counted long ago":  {list("x", false), person(identity.Ref{}, ga), 5, now.Add(-25 * time.Hour), "not known", true},
		"roles never read":                {list("x", false), unread, 2, epoch, "have not been read", true},
		"roles read long ago":             {identity.Policy{RolesMaxAge: time.Minute}, person(identity.Ref{}), 2, epoch, "over 1m0s ago", true},
		"kind never told":                 {list("x", false), kindless, 2, epoch, "what kind", true},
		"a reason beats what is unknown":  {list(oidA, false), unread, 2, epoch, "break glass", false},
		"on premises needs no cloud role": {list("x", false), onPrem(identity.Ref{SID: sidA}), 0, time.Time{}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tc.policy.Protect(tc.who, tc.usable, tc.asOf, now)
			if got.Protected() != (tc.want != "") || got.Unknown != tc.unknown || !strings.Contains(strings.Join(got.Reasons, "\n"), tc.want) {
				t.Errorf("%+v, want %q, unknown %v", got, tc.want, tc.unknown)
			}
		})
	}
}

// Knowing less never makes anybody less protected.
func TestForgettingProtects(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		i := person(identity.Ref{SAM: rapid.SampledFrom([]string{"", "krbtgt", "a"}).Draw(rt, "sam")})
		if rapid.Bool().Draw(rt, "admin") {
			i.Accounts[0].Facts.Roles = []identity.Role{{TemplateID: identity.GlobalAdministrator, Active: true}}
		}
		usable, asOf := rapid.IntRange(0, 3).Draw(rt, "usable"), epoch
		before := identity.Policy{}.Protect(i, usable, asOf, epoch)
		switch rapid.IntRange(0, 2).Draw(rt, "forget") {
		case 0:
			i.Accounts[0].Facts.RolesAsOf = time.Time{}
		case 1:
			asOf = time.Time{}
		case 2:
			i.Kind = identity.KindUnknown
		}
		if after := (identity.Policy{}).Protect(i, usable, asOf, epoch); before.Protected() && !after.Protected() {
			rt.Fatalf("%+v became %+v", before, after)
		}
	})
}

func TestPrivileged(t *testing.T) {
	t.Parallel()
	unread := person(identity.Ref{})
	unread.Accounts[0].Facts.RolesAsOf = time.Time{}
	for name, tc := range map[string]struct {
		who        identity.Identity
		yes, known bool
	}{
		"no role":  {person(identity.Ref{}), false, true},
		"eligible": {person(identity.Ref{}, identity.Role{TemplateID: "t"}), true, true},
		"unread":   {unread, false, false},
		"on prem":  {onPrem(identity.Ref{SID: sidA}), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if yes, known := tc.who.Privileged(); yes != tc.yes || known != tc.known {
				t.Errorf("%v, known %v", yes, known)
			}
		})
	}
}
