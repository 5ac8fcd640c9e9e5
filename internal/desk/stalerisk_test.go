package desk

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// How the two sides are tied is shown with a synchronised account, and what is not known
// of it says why.
func TestSynchronisationIsShown(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	one := func(synced bool) identity.Identity {
		return identity.Identity{Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.EntraID, ObjectID: "A"}, Facts: identity.Facts{Synced: &synced}}}}
	}
	text := func(list []Fact) string {
		var out []string
		for _, f := range list {
			out = append(out, f.Name+" "+f.Value)
		}
		return strings.Join(out, "; ")
	}
	if got := synchronisation(one(false), &identity.Synchronisation{PasswordHashes: &yes}); got != nil {
		t.Errorf("a cloud account: %+v", got)
	}
	got := text(synchronisation(one(true), &identity.Synchronisation{PasswordHashes: &yes, WriteBack: &no}))
	if want := "password hashes are synchronised yes; passwords are written back no; a password change on premises closes user risk not known: Graph does not show it: say it in the configuration"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := text(synchronisation(one(true), &identity.Synchronisation{Unread: "Cordon may not ask"})); !strings.Contains(got, "written back not known: Cordon may not ask") {
		t.Errorf("what could not be read: %q", got)
	}
	if got := text(synchronisation(one(true), nil)); strings.Count(got, "not known") != 3 {
		t.Errorf("what was never read: %q", got)
	}
}

func TestStaleRisk(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	off := false
	told := &identity.Synchronisation{}
	scene := func(set time.Time, state signal.State, synced bool) []Fact {
		i := identity.Identity{Accounts: []identity.Account{
			{Ref: identity.Ref{Provider: identity.EntraID, ObjectID: "A"}, Facts: identity.Facts{Synced: &synced}},
			{Ref: identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1105"}, Facts: identity.Facts{LastPasswordChange: set}},
		}}
		return staleRisk(i, risk.Input{
			Signals:  []signal.Signal{{Source: signal.RiskDetection, State: signal.StateAtRisk, ActivityAt: now.Add(-2 * time.Hour), DetectedAt: now.Add(-2 * time.Hour)}},
			Accounts: []signal.AccountRisk{{Subject: identity.Ref{ObjectID: "a"}, State: state}},
		}, told, now)
	}
	after := func(s *identity.Synchronisation) []Fact {
		told = s
		defer func() { told = nil }()
		return scene(now.Add(-time.Hour), signal.StateAtRisk, true)
	}
	for name, c := range map[string]struct {
		facts []Fact
		want  string
	}{
		"no hashes":                    {after(&identity.Synchronisation{PasswordHashes: &off}), "Entra still counts the risk: password hashes are not synchronised. When"},
		"the setting is off":           {after(&identity.Synchronisation{ResetClearsRisk: &off}), "Entra still counts the risk: the tenant does not let a change on premises close user risk. When"},
		"changed after, still at risk": {scene(now.Add(-time.Hour), signal.StateAtRisk, true), "remediated-elsewhere"},
		"changed just now":             {scene(now.Add(-time.Minute), signal.StateAtRisk, true), "on its way"},
		"changed before":               {scene(now.Add(-3*time.Hour), signal.StateAtRisk, true), ""},
		"closed":                       {scene(now.Add(-time.Hour), signal.StateRemediated, true), ""},
		"cloud only":                   {scene(now.Add(-time.Hour), signal.StateAtRisk, false), ""},
		"never read":                   {scene(time.Time{}, signal.StateAtRisk, true), ""},
	} {
		switch {
		case c.want == "" && len(c.facts) > 0:
			t.Errorf("%s: %+v", name, c.facts)
		case c.want != "" && (len(c.facts) != 1 || !strings.Contains(c.facts[0].Value, c.want)):
			t.Errorf("%s: want %q in %+v", name, c.want, c.facts)
		}
	}
}
