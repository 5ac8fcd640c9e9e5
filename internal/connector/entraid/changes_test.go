package entraid_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/connectortest"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/graph/graphtest"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// readChanges reads from c, at most so many pages, and returns what was told by object
// id and the last cursor.
func readChanges(t *testing.T, s connector.Source, c connector.Cursor, pages int) (map[string]connector.AccountFacts, connector.Cursor, error) {
	t.Helper()
	told := map[string]connector.AccountFacts{}
	for p, err := range s.Pages(t.Context(), c) {
		if err != nil {
			return told, c, err
		}
		for _, f := range p.Facts {
			told[f.Ref.ObjectID] = f
		}
		if len(p.Rejects) > 0 {
			t.Errorf("rejected: %+v", p.Rejects)
		}
		c = p.Next
		if pages--; pages == 0 {
			break
		}
	}
	return told, c, nil
}

func TestUserChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := connectortest.NewLab(t, 60, "/users/delta")
		source := entraid.UserChanges{Tenant: tenant(l)}
		all := l.World.Count(world.Users)

		// Broken off and begun again, the first reading tells everybody.
		first, c, err := readChanges(t, source, "", 1)
		if err != nil {
			t.Fatal(err)
		}
		rest, c, err := readChanges(t, source, c, -1)
		if err != nil {
			t.Fatal(err)
		}
		for id, f := range first {
			rest[id] = f
		}
		if len(rest) != all {
			t.Fatalf("%d of %d users", len(rest), all)
		}
		for id, f := range rest {
			if f.Ref.UPN == "" || f.Facts.Found == nil || !*f.Facts.Found || f.Facts.Enabled == nil || f.Facts.Synced == nil || f.Facts.AsOf.IsZero() {
				t.Errorf("%s: %+v", id, f)
			}
		}

		// Then only what changed.
		who, gone := l.Person(1).UserID, l.Person(2).UserID
		time.Sleep(time.Minute)
		l.Apply(world.Event{Type: world.EventPasswordChange, User: who})
		l.Apply(world.Event{Type: world.EventDeleteUser, User: gone})
		changed, c, err := readChanges(t, source, c, -1)
		if err != nil {
			t.Fatal(err)
		}
		if f := changed[who]; !f.Facts.LastPasswordChange.After(rest[who].Facts.LastPasswordChange) {
			t.Errorf("the password's time is %v, was %v", f.Facts.LastPasswordChange, rest[who].Facts.LastPasswordChange)
		}
		if f := changed[gone]; f.Facts.Found == nil || *f.Facts.Found {
			t.Errorf("who was deleted: %+v", f)
		}
		if len(changed) != 2 {
			t.Errorf("%d changed, want 2", len(changed))
		}
		if again, _, err := readChanges(t, source, c, -1); err != nil || len(again) != 0 {
			t.Errorf("nothing changed: %v, %v", again, err)
		}

		// After its life the link is worth nothing: everybody is read again.
		time.Sleep(8 * 24 * time.Hour)
		if whole, _, err := readChanges(t, source, c, -1); err != nil || len(whole) != all-1 {
			t.Errorf("after eight days %d of %d, %v", len(whole), all-1, err)
		}
	})
}

func TestUserChangesRefuseForeignCursors(t *testing.T) {
	t.Parallel()
	l := connectortest.NewLab(t, 20, "/users/delta")
	for _, c := range []connector.Cursor{"{", "2026-11-03T02:00:00Z", `{"since":"2026-11-03T02:00:00Z"}`, `{"link":7}`} {
		if told, _, err := readChanges(t, entraid.UserChanges{Tenant: tenant(l)}, c, -1); !errors.Is(err, fault.Invalid) || len(told) > 0 {
			t.Errorf("cursor %q: %d told, %v", c, len(told), err)
		}
	}
	source := entraid.UserChanges{Tenant: tenant(l)}
	all, c, err := readChanges(t, source, "", -1)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := connector.Cursor(strings.Replace(string(c), "graph.microsoft.com", "elsewhere.example", 1))
	if _, _, err := readChanges(t, source, elsewhere, -1); err == nil {
		t.Error("a cursor that leads elsewhere was followed")
	}
	// A version that read other fields left its cursor: what is new is read of everybody.
	other := connector.Cursor(strings.Replace(string(c), "userPrincipalName,", "", 1))
	if again, _, err := readChanges(t, source, other, -1); err != nil || len(again) != len(all) || other == c {
		t.Errorf("after an upgrade %d of %d were read, %v", len(again), len(all), err)
	}
	l.Wire.Cut(1)
	if _, _, err := readChanges(t, entraid.UserChanges{Tenant: tenant(l)}, "", -1); err != nil && !errors.Is(err, fault.Unavailable) {
		t.Errorf("a broken connection is %v", err)
	}
}

// A delta may show of a user only what changed; the rest is not taken for empty.
func TestPartOfAUserIsReadWhole(t *testing.T) {
	t.Parallel()
	const whole = `{"id":"u1","displayName":"Ada","userPrincipalName":"ada@corp.example","userType":"Member","accountEnabled":false,"onPremisesSyncEnabled":true}`
	c, err := graph.New(graph.Options{BaseURL: "https://graph.microsoft.com", Tokens: graphtest.Token("t"),
		Transport: graphtest.Transport(func(r *http.Request) (*http.Response, error) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/delta"):
				return graphtest.Answer(200, `{"value":[{"id":"u1","displayName":"Ada L."}],"@odata.deltaLink":"https://graph.microsoft.com/v1.0/users/delta?$deltatoken=x"}`), nil
			case strings.HasSuffix(r.URL.Path, "/users/u1"):
				return graphtest.Answer(200, whole), nil
			}
			return graphtest.Answer(404, `{"error":{"code":"Request_ResourceNotFound","message":"no"}}`), nil
		})})
	if err != nil {
		t.Fatal(err)
	}
	told, next, err := readChanges(t, entraid.UserChanges{Tenant: entraid.Tenant{ID: "t", Graph: c, Now: time.Now}}, "", -1)
	f := told["u1"]
	if err != nil || f.Facts.Enabled == nil || *f.Facts.Enabled || f.Facts.Synced == nil || !*f.Facts.Synced || !strings.Contains(string(next), "deltatoken") {
		t.Errorf("%+v, cursor %s, %v", f, next, err)
	}
}
