package identity_test

import (
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

func TestTags(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)
	plain := identity.Identity{Tenant: "t", ID: "a", Kind: identity.KindPerson, Name: "A", Accounts: []identity.Account{
		{Ref: identity.Ref{Provider: identity.EntraID, ObjectID: "aa", AppID: "x"}, Facts: identity.Facts{RolesAsOf: now}},
	}}
	give := func(i identity.Identity, n identity.TagName) identity.Identity {
		t.Helper()
		out, err := i.WithTag(n, "ann", "why", now)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, n := range identity.TagNames() {
		i := give(plain, n)
		if got := (identity.Policy{}).Protect(i, 2, now, now); got.Protected() != (n == identity.TagProtected) || got.Unknown {
			t.Errorf("%s: protection %+v", n, got)
		}
		if privileged, known := i.Privileged(); privileged != n.Privileges() || !known {
			t.Errorf("%s: privileged %v, known %v", n, privileged, known)
		}
		if _, err := i.WithTag(n, "bob", "why", now); fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s twice: %v", n, err)
		}
		gone, err := i.WithoutTag(n, "bob", "over", now.Add(time.Hour))
		if err != nil || len(gone.Tagged()) != 0 || len(gone.Tags) != 1 || len(i.Tagged()) != 1 || gone.Tags[0].RemovedBy != "bob" {
			t.Errorf("%s taken away: %+v, %v", n, gone.Tags, err)
		}
		if p := (identity.Policy{}).Protect(gone, 2, now, now); p.Protected() {
			t.Errorf("%s taken away: protection %+v", n, p)
		}
	}
	if _, err := plain.WithTag("nice", "ann", "why", now); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no tag: %v", err)
	}
	if _, err := plain.WithoutTag("VIP", "ann", "why", now); fault.KindOf(err) != fault.NotFound {
		t.Errorf("not there: %v", err)
	}
	// What was a reason to be careful stays one when identities are linked and parted.
	other := identity.Identity{Tenant: "t", ID: "b", Kind: identity.KindPerson, Name: "B", Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1001"}}}}
	merged, emptied, err := identity.Link(give(plain, "VIP"), give(give(other, "protected"), "vip"), "ann", "one", now)
	if err != nil || len(merged.Tagged()) != 2 {
		t.Fatalf("linked: %+v, %v", merged.Tags, err)
	}
	left, moved, err := identity.Unlink(merged, "S-1-5-21-1-2-3-1001", emptied, "ann", "two", now)
	if err != nil || len(left.Tagged()) != 2 || len(moved.Tagged()) != 2 {
		t.Errorf("parted: %+v and %+v, %v", left.Tags, moved.Tags, err)
	}
	_, fresh, err := identity.Unlink(merged, "aa", identity.Identity{}, "ann", "two", now)
	if err != nil || len(fresh.Tagged()) != 2 {
		t.Errorf("into one of its own: %+v, %v", fresh.Tags, err)
	}
}
