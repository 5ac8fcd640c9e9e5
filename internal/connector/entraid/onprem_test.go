package entraid_test

import (
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector/connectortest"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/lab/world"
)

func TestUsersByTheirSIDs(t *testing.T) {
	t.Parallel()
	l := connectortest.NewLab(t, 300, "/users")
	users := entraid.Users{Tenant: entraid.Tenant{ID: l.ID(), Graph: l.Client, Now: time.Now}}
	yes := true
	want := map[string]string{}
	var sids []string
	for n := range 17 { // more than one request names
		a, err := l.World.Pick(world.Pick{Kind: world.KindMember, Synced: &yes, Index: n})
		if err != nil {
			t.Fatal(err)
		}
		want[a.UserID] = a.SID
		sids = append(sids, a.SID)
	}
	alone, err := l.World.Pick(world.Pick{Kind: world.KindOnPremisesOnly})
	if err != nil {
		t.Fatal(err)
	}
	got, err := users.BySID(t.Context(), append(sids, alone.SID, "", "S-1-5-21-1' or 'a' eq 'a"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range got {
		if want[f.Ref.ObjectID] != f.Ref.SID || f.ImmutableID == "" || f.Facts.Synced == nil || !*f.Facts.Synced {
			t.Errorf("found %+v", f)
		}
		delete(want, f.Ref.ObjectID)
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
}
