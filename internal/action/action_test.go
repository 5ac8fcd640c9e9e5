package action_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

var states = []action.State{
	action.Requested, action.Approved, action.Held, action.Running, action.AcceptedState, action.Unconfirmed,
	action.Verified, action.Failed, action.RefusedState, action.Reverted, action.Expired, action.Cancelled,
}

// FuzzMove walks the state machine: what is final stays final, an illegal move
// changes nothing, times are set once and in order, and nothing is verified that
// was not approved.
func FuzzMove(f *testing.F) {
	f.Add([]byte{1, 3, 4, 6, 9})
	f.Add([]byte{1, 2, 1, 3, 1, 3, 5, 7})
	f.Add([]byte{11, 1, 3})
	f.Fuzz(func(t *testing.T, walk []byte) {
		now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		a := action.Action{ID: "act_1", State: action.Requested, RequestedAt: now}
		for _, b := range walk {
			now = now.Add(time.Second)
			to := states[int(b)%len(states)]
			next, err := a.Move(to, "because", now)
			if err != nil {
				if !errors.Is(err, fault.Conflict) {
					t.Fatalf("move from %s to %s: %v is no conflict", a.State, to, err)
				}
				if diff := cmp.Diff(a, next); diff != "" {
					t.Fatalf("an illegal move changed: %s", diff)
				}
				continue
			}
			if a.State.Final() && next.State != a.State && (a.State != action.Verified || to != action.Reverted) {
				t.Fatalf("%s was final and became %s", a.State, to)
			}
			if next.State.Final() != !next.EndedAt.IsZero() {
				t.Fatalf("%s ended at %v", next.State, next.EndedAt)
			}
			if a.State.Final() && !next.EndedAt.Equal(a.EndedAt) {
				t.Fatalf("the end of %s moved", a.State)
			}
			if next.State == action.Verified && next.ApprovedAt.IsZero() {
				t.Fatal("verified and never approved")
			}
			if next.State == action.Running && a.State != action.Running && !next.IntentAt.Equal(now) {
				t.Fatal("running without the time of its intent")
			}
			a = next
		}
	})
}

// stub is a type that only describes itself.
type stub struct{ spec action.Spec }

func (s stub) Spec() action.Spec                                         { return s.spec }
func (stub) Look(context.Context, []action.Request) []action.Look        { return nil }
func (stub) Do(context.Context, []action.Request) []action.Outcome       { return nil }
func (stub) ReadBack(context.Context, []action.Request) []action.Reading { return nil }

type undoer struct{ stub }

func (undoer) Undo(json.RawMessage) (map[string]any, bool) { return nil, true }

func spec(n action.Name) action.Spec {
	return action.Spec{Name: n, Version: 1, Batch: 1, Bucket: action.BucketDirectoryWrite, Within: time.Minute, Irreversible: "it is so"}
}

func TestCatalogueFindsEveryContradiction(t *testing.T) {
	t.Parallel()
	both, none, lost, bare, loose := spec("a.both"), spec("a.none"), spec("a.lost"), spec("a.bare"), spec("a.loose")
	both.Undo = "a.none"
	none.Irreversible = ""
	lost.Irreversible, lost.Undo = "", "a.nowhere"
	bare.Batch = 0
	loose.Irreversible, loose.Undo = "", "a.none"
	_, err := action.NewCatalogue(
		[]action.Type{undoer{stub{both}}, stub{none}, undoer{stub{lost}}, stub{bare}, stub{loose}, stub{spec("a.twice")}, stub{spec("a.twice")}},
		[]action.Route{
			{Name: "a.twice"}, {Name: "r"}, {Name: "r"},
			{Name: "q", To: map[identity.Provider]action.Name{identity.EntraID: "a.gone"}},
		})
	if !errors.Is(err, fault.Invalid) {
		t.Fatalf("error %v is not invalid", err)
	}
	for _, want := range []string{
		"a.both names an undo and says", "a.none neither", "a.lost: its undo a.nowhere", "a.bare lacks", "a.loose names an undo and cannot",
		"a.twice is listed twice", "route a.twice has the name", "route r is listed twice", "route q leads to a.gone",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in: %v", want, err)
		}
	}
}

func TestCatalogueVersionFollowsMeaning(t *testing.T) {
	t.Parallel()
	version := func(types []action.Type, routes []action.Route) string {
		t.Helper()
		c, err := action.NewCatalogue(types, routes)
		if err != nil {
			t.Fatal(err)
		}
		return c.Version()
	}
	a, b := stub{spec("a")}, stub{spec("b")}
	route := []action.Route{{Name: "r", To: map[identity.Provider]action.Name{identity.EntraID: "a"}}}
	base := version([]action.Type{a, b}, route)
	if got := version([]action.Type{b, a}, route); got != base {
		t.Error("the order of the list changes the version")
	}
	newer := spec("a")
	newer.Version = 2
	other := []action.Route{{Name: "r", To: map[identity.Provider]action.Name{identity.EntraID: "b"}}}
	for name, got := range map[string]string{
		"a raised version":  version([]action.Type{stub{newer}, b}, route),
		"one action fewer":  version([]action.Type{a}, route),
		"a route elsewhere": version([]action.Type{a, b}, other),
	} {
		if got == base {
			t.Errorf("%s leaves the version as it was", name)
		}
	}
}

func TestEffectKey(t *testing.T) {
	t.Parallel()
	ref := identity.Ref{Provider: identity.EntraID, ObjectID: "AAAA", DisplayName: "A"}
	key := action.EffectKey("t", "n", ref, map[string]any{"a": 1, "b": "x"})
	same := identity.Ref{Provider: identity.EntraID, ObjectID: "{aaaa}", DisplayName: "renamed"}
	if got := action.EffectKey("t", "n", same, map[string]any{"b": "x", "a": 1}); got != key {
		t.Error("the same account by another spelling has another key")
	}
	for name, got := range map[string]string{
		"tenant":     action.EffectKey("u", "n", ref, map[string]any{"a": 1, "b": "x"}),
		"action":     action.EffectKey("t", "m", ref, map[string]any{"a": 1, "b": "x"}),
		"account":    action.EffectKey("t", "n", identity.Ref{ObjectID: "bbbb"}, map[string]any{"a": 1, "b": "x"}),
		"parameters": action.EffectKey("t", "n", ref, map[string]any{"a": 2, "b": "x"}),
	} {
		if got == key {
			t.Errorf("another %s has the same key", name)
		}
	}
}

// A cloud account whose SID is learnt between two runs is still the same account:
// else an unknown password reset would be repeated by the next run.
func TestEffectKeySurvivesWhatIsLearntOfTheAccount(t *testing.T) {
	t.Parallel()
	ref := identity.Ref{Provider: identity.EntraID, ObjectID: "aaaa"}
	key := action.EffectKey("t", "n", ref, nil)
	learnt := ref
	learnt.SID, learnt.GUID, learnt.UPN = "S-1-5-21-1-2-3-1104", "bbbb", "user@corp.example"
	if action.EffectKey("t", "n", learnt, nil) != key {
		t.Error("learning the SID made it another effect")
	}
	if action.EffectKey("t", "n", ref, map[string]any{}) != key { // what nil becomes or was before it was stored
		t.Error("no parameters and none given are two effects")
	}
	onPrem := learnt
	onPrem.Provider = identity.ActiveDirectory
	if action.EffectKey("t", "n", onPrem, nil) == key {
		t.Error("the same effect in another directory is the same")
	}
}
