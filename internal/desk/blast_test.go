package desk

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/record"
)

func TestBlast(t *testing.T) {
	t.Parallel()
	disable := playbook.Step{Route: identity.ActiveDirectory, Effect: action.EffectRestrict, Undo: "ad.account.enable"}
	reset := playbook.Step{Route: identity.EntraID, Effect: action.EffectCredential}
	revoke := playbook.Step{Route: identity.EntraID, Effect: action.EffectRestrict, Irreversible: "gone"}
	at := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	service := &identity.OnPremises{Class: identity.ClassUser, Services: []string{"a/1", "b/1", "c/1", "d/1"}, LastOf: []string{"Backup Operators"}, Replicates: true, LastLogon: at, LastLogonOn: "dc1"}
	for name, c := range map[string]struct {
		step playbook.Step
		is   *identity.OnPremises
		want string
	}{
		"a service": {disable, service, "services run as it and stop: a/1, b/1, c/1 and 1 more; it is the only member of Backup Operators that can sign in; " +
			"it may replicate secrets: a synchronisation may run as it; it signed in last at 2026-03-01 02:00:00 UTC on dc1"},
		"a person":        {disable, &identity.OnPremises{Class: identity.ClassUser, LastLogon: at}, ""},
		"not read":        {disable, nil, "what depends on it in Active Directory has not been read"},
		"another domain":  {disable, &identity.OnPremises{Class: identity.ClassForeign}, "its domain is not connected: what depends on it there is not known"},
		"cloud password":  {reset, service, ""},
		"sessions revoke": {revoke, service, ""},
	} {
		i := identity.Identity{Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.ActiveDirectory}, Facts: identity.Facts{OnPremises: c.is}}}}
		if got := blast(c.step, i, reliance{}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	i := identity.Identity{Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.EntraID}, Facts: identity.Facts{Roles: []identity.Role{{TemplateID: identity.DirectorySynchronization}}}}}}
	if got := breaks(reset, i, reliance{}); !strings.Contains(got, "directory synchronisation runs as it") || !strings.Contains(got, "credential stops working") {
		t.Errorf("the synchronisation's account: %q", got)
	}
}

// Tasks and services that signed in as the account, and applications that it owns, are
// told before it is stopped; where nothing is reported that is told too.
func TestBlastFromRecords(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	me := identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1105"}
	cloud := identity.Ref{Provider: identity.EntraID, ObjectID: "0000000a-0000-4000-8000-000000000001"}
	other := identity.Ref{Provider: identity.EntraID, ObjectID: "0000000b-0000-4000-8000-000000000001"}
	logon := func(app, where string, after time.Duration, result record.Result, who identity.Ref) record.Record {
		return record.Record{Source: record.Logon, App: app, Resource: where, At: at.Add(after), Result: result, Subject: who}
	}
	thing := func(name string, owners ...identity.Ref) record.Record {
		r := record.Record{Source: record.Application, Title: name}
		for _, o := range owners {
			r.Others = append(r.Others, record.Party{Role: "owner", Ref: o})
		}
		return r
	}
	refs := []identity.Ref{me, cloud}
	for name, c := range map[string]struct {
		got  []string
		want string
	}{
		"nothing reported": {scheduled(nil, refs, false), "whether scheduled tasks or services sign in as it is not known: no sign-in of it on premises was reported"},
		"people's only":    {scheduled([]record.Record{logon("interactive", "ws1", 0, record.Success, me)}, refs, false), ""},
		"more than read":   {scheduled([]record.Record{logon("interactive", "ws1", 0, record.Success, me)}, refs, true), "no scheduled task or service among its last 1 sign-ins on premises"},
		"tasks and services": {scheduled([]record.Record{logon("batch", "srv1", 0, record.Success, me), logon("batch", "srv1", time.Hour, record.Success, me), logon("service", "srv2", 0, record.Success, me),
			logon("batch", "srv3", 0, record.Failure, me), logon("batch", "srv4", 0, record.Success, other)}, refs, false),
			"scheduled tasks ran as it on srv1, last at 2026-03-01 03:00:00 UTC; services started as it on srv2, last at 2026-03-01 02:00:00 UTC"},
		"owns nothing": {owned([]record.Record{thing("A", other)}, refs), ""},
		"owns":         {owned([]record.Record{thing("A", cloud), thing("B", cloud, other), thing("A", cloud, other), thing("C", cloud), thing("D", cloud), thing("E", cloud)}, refs), "nobody else owns A, C, D and 1 more; it owns with others B"},
	} {
		if got := strings.Join(c.got, "; "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	rests := reliance{scheduled: []string{"tasks"}, owned: []string{"apps"}}
	i := identity.Identity{Accounts: []identity.Account{{Ref: me, Facts: identity.Facts{OnPremises: &identity.OnPremises{Class: identity.ClassUser}}}, {Ref: cloud}}}
	for name, c := range map[string]struct {
		step playbook.Step
		want string
	}{
		"disable on premises": {playbook.Step{Route: identity.ActiveDirectory, Effect: action.EffectRestrict, Undo: "x"}, "tasks"},
		"reset on premises":   {playbook.Step{Route: identity.ActiveDirectory, Effect: action.EffectCredential}, "tasks"},
		"disable in Entra":    {playbook.Step{Route: identity.EntraID, Effect: action.EffectRestrict, Undo: "x"}, "tasks; apps"},
		"reset in Entra":      {playbook.Step{Route: identity.EntraID, Effect: action.EffectCredential}, ""},
		"a verdict":           {playbook.Step{Route: identity.EntraID, Effect: action.EffectVerdict}, ""},
	} {
		if got := blast(c.step, i, rests); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
