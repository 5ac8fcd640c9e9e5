package defender_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/connectortest"
	"github.com/seed-f47efad2/cordon/internal/connector/defender"
	"github.com/seed-f47efad2/cordon/internal/record"
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

func TestIncidentsConform(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 60, "/incidents")
		people := 0
		return &connectortest.Rig{
			Source: defender.Incidents{Tenant: l.ID(), Graph: l.Client, Now: l.Wire.Now}, Tenant: l.ID(), Wire: l.Wire,
			Happen: func(n int) []string {
				return l.Make(world.Incidents, n, func(int) {
					people++
					l.Apply(world.Event{Type: world.EventAlert, User: l.Person(people).UserID, Title: "Suspected DCSync attack", Severity: "high"})
				})
			},
			Change: func(id string) {
				i, ok := l.World.Get(world.Incidents, id)
				if !ok {
					t.Fatalf("no incident %s", id)
				}
				next := map[any]string{"active": "inProgress", "inProgress": "resolved", "resolved": "active"}[i.Object()["status"]]
				if _, err := l.World.Update(world.Actor{}, world.Incidents, id, world.Object{"status": next}); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// A sensor that goes down is reported silent, and its issue is open until it is back.
func TestSensorsAndTheirHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := connectortest.NewLab(t, 60, "/security/identities")
		read := func(s connector.Source) (states map[string]string, silent map[connector.Name]bool, pages int) {
			t.Helper()
			states, silent = map[string]string{}, map[connector.Name]bool{}
			for p, err := range s.Pages(t.Context(), "") {
				if err != nil || len(p.Rejects) > 0 {
					t.Fatalf("%v, %+v", err, p.Rejects)
				}
				pages++
				for _, r := range p.Records {
					if r.Problem() != "" || len(r.Raw) == 0 {
						t.Errorf("%s: %+v", r.Problem(), r)
					}
					states[r.Title] = r.State
				}
				for _, f := range p.Feeds {
					silent[f.Stream] = f.Silent
				}
			}
			return states, silent, pages
		}
		sensors := defender.Sensors{Tenant: l.ID(), Graph: l.Client, Now: l.Wire.Now}
		issues := defender.HealthIssues{Tenant: l.ID(), Graph: l.Client, Now: l.Wire.Now}
		l.Wire.PageSize(2)
		for _, status := range []string{"up", "down", "up"} {
			l.Apply(world.Event{Type: world.EventSensor, Sensor: "DC02", Status: status})
			time.Sleep(time.Minute)
			states, silent, pages := read(sensors)
			if pages < 2 || len(silent) != len(states) || len(states) < 3 {
				t.Fatalf("%d pages, %d reports of %d sensors", pages, len(silent), len(states))
			}
			for name, s := range silent {
				if want := status == "down" && name == "defender.sensors/dc02.corp.example"; s != want {
					t.Errorf("%s: %s is silent: %v", status, name, s)
				}
			}
			if got := states["DC02"] == "healthy"; got != (status == "up") {
				t.Errorf("%s: DC02 is %s", status, states["DC02"])
			}
		}
		states, _, _ := read(issues)
		if states["Sensor stopped communicating"] != "closed" {
			t.Errorf("issues: %v", states)
		}
	})
}

func FuzzDecodeIncident(f *testing.F) {
	f.Add([]byte(`{"id":"7","displayName":"An incident","status":"Active","createdDateTime":"2026-11-03T02:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, reason := defender.DecodeIncident("t", b); reason == "" && (r.Problem() != "" || r.Source != record.Incident) {
			t.Errorf("read, and cannot be kept: %s: %q", r.Problem(), b)
		}
	})
}

func FuzzDecodeSensor(f *testing.F) {
	f.Add([]byte(`{"id":"7","displayName":"DC1","serviceStatus":"running","createdDateTime":"2026-11-03T02:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		at := time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)
		if r, report, reason := defender.DecodeSensor("t", b, at); reason == "" && (r.Problem() != "" || report.Stream == "defender.sensors/") {
			t.Errorf("read, and cannot be kept: %s: %q", r.Problem(), b)
		}
		if r, reason := defender.DecodeHealthIssue("t", b); reason == "" && r.Problem() != "" {
			t.Errorf("read, and cannot be kept: %s: %q", r.Problem(), b)
		}
	})
}
