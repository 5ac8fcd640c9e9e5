package defender_test

import (
	"testing"

	"github.com/seed-f47efad2/cordon/internal/connector/connectortest"
	"github.com/seed-f47efad2/cordon/internal/connector/defender"
	"github.com/seed-f47efad2/cordon/lab/world"
)

func TestAlertsConform(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 60, "/alerts_v2")
		people := 0
		return &connectortest.Rig{
			Source: defender.Alerts{Tenant: l.ID(), Graph: l.Client, Now: l.Wire.Now}, Tenant: l.ID(), Wire: l.Wire,
			Happen: func(n int) []string {
				return l.Make(world.Alerts, n, func(int) {
					people++
					l.Apply(world.Event{Type: world.EventAlert, User: l.Person(people).UserID, Title: "Suspected DCSync attack", Severity: "high"})
				})
			},
			Change: func(id string) {
				a, ok := l.World.Get(world.Alerts, id)
				if !ok {
					t.Fatalf("no alert %s", id)
				}
				next := map[any]string{"new": "inProgress", "inProgress": "resolved", "resolved": "new"}[a.Object()["status"]]
				if _, err := l.World.Update(world.Actor{}, world.Alerts, id, world.Object{"status": next}); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}
