package entraid_test

import (
	"fmt"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/connector/connectortest"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// levels alternate, so that each change is one.
var levels = []string{"low", "medium", "high"}

func tenant(l *connectortest.Lab) entraid.Tenant {
	return entraid.Tenant{ID: l.ID(), Graph: l.Client, Now: l.Wire.Now}
}

func TestDetectionsConform(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 60, "/riskDetections")
		people, changes := 0, 0
		return &connectortest.Rig{
			Source: entraid.Detections{Tenant: tenant(l)}, Tenant: l.ID(), Wire: l.Wire,
			Happen: func(n int) []string {
				return l.Make(world.RiskDetections, n, func(int) {
					people++
					l.Apply(world.Event{Type: world.EventDetection, User: l.Person(people).UserID, RiskEventType: "unlikelyTravel"})
				})
			},
			Change: func(id string) {
				changes++
				l.Apply(world.Event{Type: world.EventRecalculate, Of: id, RiskLevel: levels[changes%3]})
			},
		}
	})
}

func TestWorkloadDetectionsConform(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 60, "/servicePrincipalRiskDetections")
		apps := 0
		return &connectortest.Rig{
			Source: entraid.WorkloadDetections{Tenant: tenant(l)}, Tenant: l.ID(), Wire: l.Wire,
			Happen: func(n int) []string {
				return l.Make(world.ServicePrincipalRiskDetections, n, func(int) {
					apps++
					l.Apply(world.Event{Type: world.EventServicePrincipalDetection, ServicePrincipal: l.ServicePrincipal(apps).ServicePrincipalID, RiskEventType: "suspiciousSignins", RiskLevel: "high", KeyIDs: []string{"9d9fea30-d8e3-481b-b57c-0ef569a989e5"}})
				})
			},
			Change: func(id string) {
				d, ok := l.World.Get(world.ServicePrincipalRiskDetections, id)
				if !ok {
					t.Fatalf("no detection %s", id)
				}
				sp, _ := d.Object()["servicePrincipalId"].(string)
				if _, err := l.World.ServicePrincipalFeedback(world.Actor{}, world.Dismiss, []string{sp}); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestRiskyUsersConform(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 400, "/riskyUsers")
		people, changes := 0, 0
		return &connectortest.Rig{
			Source: entraid.RiskyUsers{Tenant: tenant(l)}, Tenant: l.ID(), Wire: l.Wire,
			Happen: func(n int) []string {
				var ids []string
				for range n {
					people++
					id := l.Person(people).UserID
					l.Apply(world.Event{Type: world.EventDetection, User: id, RiskEventType: "unlikelyTravel"})
					ids = append(ids, id)
				}
				return ids
			},
			Change: func(id string) {
				changes++
				l.Apply(world.Event{Type: world.EventDetection, User: id, RiskEventType: "leakedCredentials"})
			},
		}
	})
}

func TestDirectoryConforms(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 60, "/roleAssignments")
		var roles []string
		l.World.Walk(world.DirectoryRoles, 0, func(_ int, it world.Item) bool { roles = append(roles, it.ID()); return true })
		people := 0
		// join gives the person the next role that they have not got.
		join := func(id string) {
			for _, r := range roles {
				if _, err := l.World.AddMember(world.Actor{}, world.DirectoryRoles, r, id); err == nil {
					return
				}
			}
		}
		return &connectortest.Rig{
			Source: entraid.Directory{Tenant: tenant(l)}, Tenant: l.ID(), Wire: l.Wire, Snapshot: true, Whole: true,
			Happen: func(n int) []string {
				var ids []string
				for range n {
					people++
					id := l.Person(people).UserID
					join(id)
					ids = append(ids, id)
				}
				return ids
			},
			Change: join,
		}
	})
}

func TestRegistrationConforms(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 60, "/userRegistrationDetails")
		people := 0
		yes := true
		return &connectortest.Rig{
			Source: entraid.Registration{Tenant: tenant(l)}, Tenant: l.ID(), Wire: l.Wire, Snapshot: true,
			Happen: func(n int) []string {
				var ids []string
				for range n {
					a, err := l.World.Pick(world.Pick{Kind: world.KindMember, MFA: &yes, Index: people})
					if err != nil {
						people = 0
						a = l.Person(0)
					}
					people++
					ids = append(ids, a.UserID)
				}
				return ids
			},
			Change: func(id string) {
				methods, err := l.World.Related(world.Users, id, world.AuthenticationMethods)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range methods {
					_, _ = l.World.DeleteMethod(world.Actor{}, id, m.ID()) // the password stays
				}
			},
		}
	})
}

func TestSignInsConform(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 60, "/signIns")
		n := 0
		return &connectortest.Rig{
			Source: entraid.SignIns{Tenant: tenant(l)}, Tenant: l.ID(), Wire: l.Wire, Events: true, NoLater: true,
			Happen: func(count int) []string {
				return l.Make(world.SignIns, count, func(int) {
					n++
					l.Apply(world.Event{Type: world.EventSignIn, User: l.Person(n).UserID})
				})
			},
		}
	})
}

func TestAuditsConform(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 60, "/directoryAudits")
		n := 0
		return &connectortest.Rig{
			Source: entraid.Audits{Tenant: tenant(l)}, Tenant: l.ID(), Wire: l.Wire, Events: true,
			Happen: func(count int) []string {
				return l.Make(world.DirectoryAudits, count, func(int) {
					n++
					l.Apply(world.Event{Type: world.EventAudit, User: l.Person(n).UserID, ActivityDisplayName: "Update user"})
				})
			},
		}
	})
}

func TestRiskyWorkloadsConform(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 60, "/riskyServicePrincipals")
		n, changes := 0, 0
		detect := func(sp, level string) {
			l.Apply(world.Event{Type: world.EventServicePrincipalDetection, ServicePrincipal: sp, RiskEventType: "suspiciousSignins", RiskLevel: level, KeyIDs: []string{"9d9fea30-d8e3-481b-b57c-0ef569a989e5"}})
		}
		return &connectortest.Rig{
			Source: entraid.RiskyWorkloads{Tenant: tenant(l)}, Tenant: l.ID(), Wire: l.Wire,
			Happen: func(count int) []string {
				var ids []string
				for range count {
					n++
					sp := l.ServicePrincipal(n).ServicePrincipalID
					detect(sp, "low")
					ids = append(ids, sp)
				}
				return ids
			},
			Change: func(id string) {
				changes++
				verdict := []world.Verdict{world.ConfirmCompromised, world.Dismiss}[changes%2]
				if _, err := l.World.ServicePrincipalFeedback(world.Actor{}, verdict, []string{id}); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestRiskyAgentsConform(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t testing.TB) *connectortest.Rig {
		l := connectortest.NewLab(t, 20, "/riskyAgents")
		n := 0
		detect := func(id string) {
			n++
			l.Apply(world.Event{Type: world.EventAgentDetection, Title: "An agent", Of: id, RiskLevel: levels[n%3]})
		}
		return &connectortest.Rig{
			Source: entraid.RiskyAgents{Tenant: tenant(l)}, Tenant: l.ID(), Wire: l.Wire, Snapshot: true,
			Happen: func(count int) []string {
				var ids []string
				for range count {
					ids = append(ids, fmt.Sprintf("a9e70000-0000-4000-8000-%012d", n))
					detect(ids[len(ids)-1])
				}
				return ids
			},
			Change: detect,
		}
	})
}
