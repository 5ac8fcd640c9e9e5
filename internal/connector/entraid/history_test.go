package entraid_test

import (
	"testing"

	"github.com/seed-f47efad2/cordon/internal/connector/connectortest"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/identity"
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
