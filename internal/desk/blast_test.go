package desk

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
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
		if got := blast(c.step, i); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	i := identity.Identity{Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.EntraID}, Facts: identity.Facts{Roles: []identity.Role{{TemplateID: identity.DirectorySynchronization}}}}}}
	if got := breaks(reset, i); !strings.Contains(got, "directory synchronisation runs as it") || !strings.Contains(got, "credential stops working") {
		t.Errorf("the synchronisation's account: %q", got)
	}
}
