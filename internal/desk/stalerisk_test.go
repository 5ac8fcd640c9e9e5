package desk

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func TestStaleRisk(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	scene := func(set time.Time, state signal.State, synced bool) []Fact {
		i := identity.Identity{Accounts: []identity.Account{
			{Ref: identity.Ref{Provider: identity.EntraID, ObjectID: "A"}, Facts: identity.Facts{Synced: &synced}},
			{Ref: identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1105"}, Facts: identity.Facts{LastPasswordChange: set}},
		}}
		return staleRisk(i, risk.Input{
			Signals:  []signal.Signal{{Source: signal.RiskDetection, State: signal.StateAtRisk, ActivityAt: now.Add(-2 * time.Hour), DetectedAt: now.Add(-2 * time.Hour)}},
			Accounts: []signal.AccountRisk{{Subject: identity.Ref{ObjectID: "a"}, State: state}},
		}, now)
	}
	for name, c := range map[string]struct {
		facts []Fact
		want  string
	}{
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
