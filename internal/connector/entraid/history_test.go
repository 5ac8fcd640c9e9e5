package entraid_test

import (
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/connector/connectortest"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/lab/world"
)

func TestHistorySaysWhoChangedIt(t *testing.T) {
	t.Parallel()
	l := connectortest.NewLab(t, 60, "/history")
	users := entraid.Users{Tenant: tenant(l)}
	risky, calm, admin := l.Person(1), l.Person(2), l.Person(3)
	l.Apply(world.Event{Type: world.EventDetection, User: risky.UserID, RiskEventType: "leakedCredentials"})
	l.Apply(world.Event{Type: world.EventFeedback, Transition: "T11", User: risky.UserID, By: admin.UserID})
	read := func(a world.Account) []signal.AccountRisk {
		t.Helper()
		h, err := users.History(t.Context(), identity.Ref{Provider: identity.EntraID, ObjectID: a.UserID})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	by := map[signal.State]string{}
	for _, r := range read(risky) {
		if r.Subject.ObjectID != risky.UserID || r.Tenant != l.ID() || r.UpdatedAt.IsZero() {
			t.Errorf("%+v", r)
		}
		by[r.State] = r.By
	}
	if _, ok := by[signal.StateAtRisk]; !ok || by[signal.StateDismissed] != admin.UserID && by[signal.StateDismissed] != admin.UserPrincipalName {
		t.Errorf("who changed it: %v, want %s for the dismissal", by, admin.UserID)
	}
	if h := read(calm); len(h) != 0 {
		t.Errorf("somebody who never was at risk has a history: %+v", h)
	}
	if h, err := users.History(t.Context(), identity.Ref{SID: "S-1-5-21-1-2-3-1107"}); err != nil || h != nil {
		t.Errorf("an account that is not in the cloud: %v, %v", h, err)
	}
	l.Wire.Cut(0)
	if _, err := users.History(t.Context(), identity.Ref{ObjectID: risky.UserID}); err == nil {
		t.Error("a broken connection is no error")
	}
}

// People and applications are read side by side; what the directory does not have is
// said to be gone, as what it was.
func TestFactsOfPeopleAndApplications(t *testing.T) {
	t.Parallel()
	l := connectortest.NewLab(t, 60, "/nothing")
	users := entraid.Users{Tenant: tenant(l)}
	person, app := l.Person(1).UserID, l.ServicePrincipal(1)
	refs := []identity.Ref{
		{ObjectID: app.ServicePrincipalID, Kind: identity.KindWorkload}, {ObjectID: person}, {SID: "S-1-5-21-1-2-3-1107"},
		{ObjectID: "a0000000-0000-4000-8000-00000000dead", Kind: identity.KindAgent},
	}
	for _, some := range [][]identity.Ref{refs, refs[:1], refs[3:]} {
		facts, err := users.Facts(t.Context(), some)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range facts {
			found := f.Facts.Found != nil && *f.Facts.Found
			switch f.Ref.ObjectID {
			case app.ServicePrincipalID:
				if !found || f.Ref.Kind != identity.KindWorkload || f.Ref.AppID == "" || f.Ref.DisplayName == "" || f.Facts.Enabled == nil {
					t.Errorf("the application: %+v", f)
				}
			case person:
				if !found || f.Ref.UPN == "" {
					t.Errorf("the person: %+v", f)
				}
			default:
				if found || f.Ref.Kind != identity.KindAgent {
					t.Errorf("what is not there: %+v", f)
				}
			}
		}
		if want := min(len(some), 3); len(facts) != want {
			t.Errorf("%d facts, want %d", len(facts), want)
		}
	}
}

func TestMethodsOfOnePerson(t *testing.T) {
	t.Parallel()
	l := connectortest.NewLab(t, 60, "/nothing")
	users := entraid.Users{Tenant: tenant(l)}
	yes := true
	a, err := l.World.Pick(world.Pick{Kind: world.KindMember, MFA: &yes})
	if err != nil {
		t.Fatal(err)
	}
	ref := identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: a.UserID}
	list, err := users.Records(t.Context(), ref)
	if err != nil || len(list) < 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	types := map[string]bool{}
	for _, r := range list {
		types[r.Type] = true
		if r.Problem() != "" || r.Subject != ref || r.Source != record.Method || !strings.HasPrefix(r.ExternalID, a.UserID+"/") {
			t.Errorf("%s: %+v", r.Problem(), r)
		}
	}
	if !types["password"] {
		t.Errorf("types %v", types)
	}
	if list, err := users.Records(t.Context(), identity.Ref{ObjectID: l.ServicePrincipal(1).ServicePrincipalID, Kind: identity.KindWorkload}); err != nil || list != nil {
		t.Errorf("an application: %v, %v", list, err)
	}
}
