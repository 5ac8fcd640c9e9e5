package identity_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

var linkStart = time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)

func cloudOf(n int) identity.Identity {
	return identity.Identity{Tenant: "t", ID: identity.ID(fmt.Sprint("idn_c", n)), Kind: identity.KindPerson, Name: "A", CreatedAt: linkStart,
		Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.EntraID, ObjectID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), UPN: fmt.Sprintf("a%d@corp.example", n), DisplayName: "A"}}}}
}

func premOf(n int) identity.Identity {
	return identity.Identity{Tenant: "t", ID: identity.ID(fmt.Sprint("idn_p", n)), Kind: identity.KindPerson, Name: "A", CreatedAt: linkStart,
		Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.ActiveDirectory, SID: fmt.Sprintf("S-1-5-21-1-2-3-%d", 1000+n), SAM: fmt.Sprint("a", n), Domain: "corp.example", DisplayName: "A"}}}}
}

// Linked and unlinked, both identities have the accounts they had, no key is with
// two, and what was linked on which day is known afterwards.
func TestLinkIsTakenBack(t *testing.T) {
	t.Parallel()
	a, b := cloudOf(1), premOf(1)
	at := linkStart.Add(time.Hour)
	into, from, err := identity.Link(a, b, "o", "one person", at)
	if err != nil || len(into.Accounts) != 2 || len(from.Accounts) != 0 || from.LivesIn != a.ID {
		t.Fatalf("%+v, %+v, %v", into, from, err)
	}
	left, moved, err := identity.Unlink(into, "s-1-5-21-1-2-3-1001", from, "o", "two people", at.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Diff(a.Accounts, left.Accounts) != "" || cmp.Diff(b.Accounts, moved.Accounts) != "" || moved.ID != b.ID || moved.LivesIn != "" {
		t.Errorf("left %+v, moved %+v", left, moved)
	}
	for day, want := range map[time.Duration]int{30 * time.Minute: 1, 90 * time.Minute: 2, 3 * time.Hour: 1} {
		if got := len(left.AccountsAt(linkStart.Add(day))); got != want {
			t.Errorf("after %s: %d accounts, want %d", day, got, want)
		}
	}
	if len(a.AccountsAt(linkStart.Add(-time.Hour))) != 0 {
		t.Error("an account before there was an identity")
	}
}

func TestLinkRefuses(t *testing.T) {
	t.Parallel()
	a, b := cloudOf(1), premOf(1)
	other := b
	other.Tenant = "elsewhere"
	work := b
	work.Kind = identity.KindWorkload
	gone := b
	gone.LivesIn = "idn_x"
	for name, tc := range map[string]struct {
		into, from identity.Identity
		want       fault.Kind
	}{
		"two tenants":           {a, other, fault.Invalid},
		"itself":                {a, a, fault.Invalid},
		"a person and workload": {a, work, fault.Invalid},
		"linked already":        {a, gone, fault.Conflict},
		"into one that is gone": {gone, a, fault.Conflict},
	} {
		if _, _, err := identity.Link(tc.into, tc.from, "o", "r", linkStart); fault.KindOf(err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := identity.Unlink(a, "nothing", identity.Identity{}, "o", "r", linkStart); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no such account: %v", err)
	}
}

// Names only propose, whoever they belong to; a workload is never a person.
func TestPropose(t *testing.T) {
	t.Parallel()
	a := cloudOf(1)
	same, far, work := premOf(2), premOf(3), premOf(4)
	far.Accounts[0].DisplayName, far.Name = "B", "B"
	work.Kind = identity.KindWorkload
	got := identity.Propose(a, []identity.Identity{a, same, far, work})
	if len(got) != 1 || got[0].Other != same.ID || !slices.Equal(got[0].Because, []string{"display name A"}) {
		t.Errorf("%+v", got)
	}
}

// Any walk of links and unlinks: no account is lost or with two, and no identifier
// either.
func TestLinkWalks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		all := map[identity.ID]identity.Identity{}
		for n := range 3 {
			for _, i := range []identity.Identity{cloudOf(n), premOf(n)} {
				all[i.ID] = i
			}
		}
		ids := []identity.ID{"idn_c0", "idn_c1", "idn_c2", "idn_p0", "idn_p1", "idn_p2"}
		now := linkStart
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			now = now.Add(time.Minute)
			x, y := all[rapid.SampledFrom(ids).Draw(rt, "x")], all[rapid.SampledFrom(ids).Draw(rt, "y")]
			var err error
			if rapid.Bool().Draw(rt, "link") {
				x, y, err = identity.Link(x, y, "o", "r", now)
			} else if len(x.Accounts) > 0 && y.LivesIn == x.ID {
				x, y, err = identity.Unlink(x, x.Accounts[rapid.IntRange(0, len(x.Accounts)-1).Draw(rt, "account")].Key(), y, "o", "r", now)
			} else {
				continue
			}
			if err == nil {
				all[x.ID], all[y.ID] = x, y
			}
			accounts, keys := 0, map[identity.Key]identity.ID{}
			for _, id := range ids {
				i := all[id]
				accounts += len(i.Accounts)
				if len(i.Accounts) > 0 && i.LivesIn != "" {
					rt.Fatalf("%s lives in %s and has accounts", i.ID, i.LivesIn)
				}
				if got := len(i.AccountsAt(now)); got != len(i.Accounts) {
					rt.Fatalf("%s has %d accounts and had %d just now", i.ID, len(i.Accounts), got)
				}
				for _, k := range i.Keys() {
					if o, taken := keys[k]; taken {
						rt.Fatalf("%v is with %s and %s", k, o, i.ID)
					}
					keys[k] = i.ID
				}
			}
			if accounts != 6 || len(keys) != 6 {
				rt.Fatalf("%d accounts, %d identifiers", accounts, len(keys))
			}
		}
	})
}
