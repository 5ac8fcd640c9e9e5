package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/notify"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

func TestDirectoryRolesNeededAndHeld(t *testing.T) {
	t.Parallel()
	const admin = "Privileged Authentication Administrator"
	need := map[string][]string{admin: {"playbook b", "playbook a", "playbook a"}}
	for name, c := range map[string]struct {
		need map[string][]string
		held []identity.Role
		want string
	}{
		"held":           {need, []identity.Role{{Name: strings.ToLower(admin), Active: true}}, "ok"},
		"not held":       {need, nil, "missing"},
		"only eligible":  {need, []identity.Role{{Name: admin}}, "missing"},
		"in one unit":    {need, []identity.Role{{Name: admin, Active: true, Scope: "/administrativeUnits/1"}}, "missing"},
		"twice":          {need, []identity.Role{{Name: admin, Active: true}, {Name: admin, Active: true, Scope: "/administrativeUnits/1"}, {Name: admin}}, "ok"},
		"another":        {need, []identity.Role{{Name: "Global Administrator", Active: true}}, "missing excess"},
		"nothing needed": {nil, []identity.Role{{Name: admin, Active: true}, {Name: admin}}, "excess"},
		"nothing at all": {nil, nil, ""},
	} {
		var got []string
		for _, k := range compareRoles("t", c.need, c.held) {
			got = append(got, string(k.Health))
			if k.Text == "" || (k.Fix == "") != (k.Health == Healthy) {
				t.Errorf("%s: %+v", name, k)
			}
			if k.Health != Excess && !strings.Contains(k.Text, "playbook a, playbook b") {
				t.Errorf("%s: it does not say what needs it: %s", name, k.Text)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}

func TestAPageThatNobodyHears(t *testing.T) {
	t.Parallel()
	const text = "playbook: v1\nid: paging\nversion: 1.0.0\ntitle: T\nowner: o\nmode: %s\ntrigger:\n  on: [manual]\nsteps:\n  - id: disable\n    uses: identity.disable@1\n    contains: true\ndone:\n  on_failure: [page]\n"
	specs, err := Catalogue(nil)
	if err != nil {
		t.Fatal(err)
	}
	const tenant = "11111111-1111-4111-8111-111111111111"
	tell := func(r notify.Receiver) []notify.Receiver { return []notify.Receiver{r} }
	for name, c := range map[string]struct {
		mode, tenant string
		notify       []notify.Receiver
		want         int
	}{
		"nobody":         {"enforce", "act", nil, 1},
		"people":         {"enforce", "act", tell(notify.Receiver{Kind: notify.Mail}), 0},
		"other events":   {"enforce", "act", tell(notify.Receiver{Kind: notify.Mail, Events: []audit.Kind{audit.StopOn}}), 1},
		"another tenant": {"enforce", "act", tell(notify.Receiver{Kind: notify.Slack, Tenant: "22222222-2222-4222-8222-222222222222"}), 1},
		"tickets":        {"enforce", "act", tell(notify.Receiver{Kind: notify.Ticket}), 0},
		"observed":       {"enforce", "observe", nil, 0},
		"only observes":  {"observe", "act", nil, 0},
	} {
		l, problems := playbook.New([]playbook.File{{Name: "paging.yaml", Text: fmt.Appendf(nil, text, c.mode)}}, specs)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		cfg := config.Config{Notify: c.notify, Tenants: []config.Tenant{{Config: graph.Config{TenantID: tenant}, Mode: c.tenant}}}
		got := Warnings(cfg, l)
		if len(got) != c.want || c.want > 0 && !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "paging") && strings.Contains(s, tenant) }) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
