package world

import "testing"

func TestMirror(t *testing.T) {
	t.Parallel()
	w, err := New(Options{Seed: 3, Users: 300})
	if err != nil {
		t.Fatal(err)
	}
	a := pick(t, w, Pick{Kind: KindMember, Synced: yes()})
	if err := w.Bind("she", a); err != nil {
		t.Fatal(err)
	}
	n := Names{SID: "S-1-5-21-9-9-9-1105", GUID: "00112233-4455-6677-8899-aabbccddeeff", SAM: "ana.abe", Domain: "corp.example", DN: "CN=Ana,DC=corp,DC=example"}
	got, err := w.Mirror("she", n)
	if err != nil || got.UserID != a.UserID || got.SID != n.SID || got.ObjectGUID != n.GUID {
		t.Fatalf("mirrored: %+v, %v", got, err)
	}
	for _, ref := range []string{n.SID, `CORP\ana.abe`, "she", a.UserID} {
		if found, err := w.Resolve(ref); err != nil || found.UserID != a.UserID || found.SID != n.SID {
			t.Errorf("%s: %+v, %v", ref, found, err)
		}
	}
	if _, err := w.Resolve(a.SID); err == nil {
		t.Error("the old SID still names somebody")
	}
	it, ok := w.GetBy(Users, "onPremisesSecurityIdentifier", n.SID)
	if !ok || it.ID() != a.UserID {
		t.Error("Graph does not find the new SID")
	} else if v, _ := it.(*person).Value("onPremisesImmutableId"); v != immutableID(n.GUID) {
		t.Errorf("immutable id %v", v)
	}
	other := pick(t, w, Pick{Kind: KindMember, Synced: yes(), Index: 1})
	if _, err := w.Mirror(other.UserID, n); err == nil {
		t.Error("two people have one SID")
	}
	cloud := pick(t, w, Pick{Kind: KindMember, Synced: no()})
	if _, err := w.Mirror(cloud.UserID, Names{SID: "S-1-5-21-9-9-9-1"}); err == nil {
		t.Error("a cloud-only person has an account on premises")
	}
	// The synchronisation follows the new names.
	off := false
	if err := w.Apply(Event{Type: EventOnPremisesChange, User: n.SID, AccountEnabled: &off}); err != nil {
		t.Fatal(err)
	}
	if err := w.Apply(Event{Type: EventSyncCycle}); err != nil {
		t.Fatal(err)
	}
	w.WalkState(func(u UserState) bool {
		if u.ID == a.UserID && u.AccountEnabled {
			t.Error("the synchronisation did not bring the disable")
		}
		return true
	})
}
