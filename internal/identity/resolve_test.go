package identity_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/identity"
)

const tenant = identity.Tenant("tenant")

var (
	epoch = time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)
	oidA  = "0aaaaaaa-0000-4000-8000-000000000001"
	oidB  = "0bbbbbbb-0000-4000-8000-000000000002"
	sidA  = "S-1-5-21-1-2-3-1104"
	guidA = "0ccccccc-0000-4000-8000-000000000003"
)

// A directory keeps identities as a store would: each key has one owner.
type directory struct {
	t   failer
	ids int
	all []identity.Identity
}

type failer interface {
	Helper()
	Fatalf(string, ...any)
}

func (d *directory) resolve(r identity.Ref) (identity.Resolution, bool) {
	d.t.Helper()
	var owners []identity.Identity
	for _, i := range d.all {
		if slices.ContainsFunc(i.Keys(), func(k identity.Key) bool { return slices.Contains(r.Keys(), k) }) {
			owners = append(owners, i)
		}
	}
	res, ok := identity.Resolve(tenant, r, owners, "test", epoch)
	if !ok {
		return res, false
	}
	if res.New {
		d.ids++
		res.Identity.ID = identity.ID(fmt.Sprint("idn_", d.ids))
		d.all = append(d.all, res.Identity)
	}
	for n := range d.all {
		if d.all[n].ID == res.Identity.ID {
			d.all[n] = res.Identity
		}
	}
	owner := map[identity.Key]identity.ID{}
	for _, i := range d.all {
		for _, k := range i.Keys() {
			if o, taken := owner[k]; taken && o != i.ID {
				d.t.Fatalf("%v belongs to %s and to %s", k, o, i.ID)
			}
			owner[k] = i.ID
		}
	}
	return res, true
}

func TestResolve(t *testing.T) {
	t.Parallel()
	entra := func(oid string) identity.Ref { return identity.Ref{Provider: identity.EntraID, ObjectID: oid} }
	ad := func(sid string) identity.Ref { return identity.Ref{Provider: identity.ActiveDirectory, SID: sid} }
	both := entra(oidA)
	both.SID = sidA
	braces := entra("{" + "0AAAAAAA-0000-4000-8000-000000000001" + "}")
	bySID := ad(sidA)
	bySID.ObjectID = oidA
	for name, tc := range map[string]struct {
		refs     []identity.Ref
		want     []string // the accounts of each identity
		conflict bool     // of the last one
	}{
		"one account":                   {[]identity.Ref{entra(oidA)}, []string{"entraID"}, false},
		"spelling does not matter":      {[]identity.Ref{entra(oidA), braces}, []string{"entraID"}, false},
		"a SID joins":                   {[]identity.Ref{both, ad("s-1-5-21-1-2-3-1104")}, []string{"entraID activeDirectory"}, false},
		"the cloud learns its origin":   {[]identity.Ref{entra(oidA), both}, []string{"entraID activeDirectory"}, false},
		"on premises with an object id": {[]identity.Ref{bySID, entra(oidA)}, []string{"entraID activeDirectory"}, false},
		"strangers stay strangers":      {[]identity.Ref{entra(oidA), entra(oidB)}, []string{"entraID", "entraID"}, false},
		"two owners never merge":        {[]identity.Ref{entra(oidA), ad(sidA), both}, []string{"entraID", "activeDirectory"}, true},
		"an object made anew keeps its SID": {
			[]identity.Ref{both, {Provider: identity.EntraID, ObjectID: oidB, SID: sidA}, entra(oidB)}, []string{"entraID entraID activeDirectory"}, false,
		},
		"a conflict teaches nothing": {
			[]identity.Ref{entra(oidA), ad(sidA), {Provider: identity.EntraID, ObjectID: oidA, SID: sidA, GUID: guidA}, {GUID: guidA}},
			[]string{"entraID", "activeDirectory", "activeDirectory"}, false,
		},
		"a name is no key": {[]identity.Ref{{UPN: "a@corp.example"}}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &directory{t: t}
			var last identity.Resolution
			for _, r := range tc.refs {
				last, _ = d.resolve(r)
				again, _ := d.resolve(r)
				if again.Changed || again.New || again.NewConflict {
					t.Errorf("resolving %+v twice changed something: %+v", r, again)
				}
			}
			var got []string
			for _, i := range d.all {
				text := ""
				for _, a := range i.Accounts {
					text += " " + string(a.Provider)
				}
				got = append(got, text[1:])
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("accounts (-want +got):\n%s", diff)
			}
			if (last.Conflict != nil) != tc.conflict {
				t.Errorf("conflict %+v", last.Conflict)
			}
		})
	}
}

func drawRef(t *rapid.T) identity.Ref {
	pick := func(name string, values ...string) string { return rapid.SampledFrom(values).Draw(t, name) }
	return identity.Ref{
		Provider: identity.Provider(pick("provider", "", "entraID", "activeDirectory", "okta")),
		Kind:     identity.Kind(pick("kind", "", "unknown", "person", "workload")),
		ObjectID: pick("oid", "", oidA, oidB, "{"+oidA+"}"), SID: pick("sid", "", sidA, "S-1-5-21-1-2-3-1105", "s-1-5-21-1-2-3-1104"),
		GUID: pick("guid", "", guidA, oidB), UPN: pick("upn", "", "a@corp.example"), DisplayName: pick("name", "", "A", "B"),
	}
}

// Whatever is named together: no key ever has two owners, nothing is merged,
// nothing is forgotten, and hearing it again changes nothing.
func TestResolveNeverMerges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := &directory{t: rt}
		for range rapid.IntRange(1, 12).Draw(rt, "refs") {
			r := drawRef(rt)
			before := slices.Clone(d.all)
			res, ok := d.resolve(r)
			if ok != (len(r.Keys()) > 0) {
				rt.Fatalf("%+v: ok %v", r, ok)
			}
			if !ok {
				continue
			}
			if res.Identity.Name == "" || len(res.Identity.Accounts) == 0 {
				rt.Fatalf("an identity without a name or an account: %+v", res.Identity)
			}
			for n, old := range before {
				now := d.all[n]
				for _, k := range old.Keys() {
					if !slices.Contains(now.Keys(), k) {
						rt.Fatalf("%s lost %v", old.ID, k)
					}
				}
				if old.ID != res.Identity.ID && cmp.Diff(old, now) != "" {
					rt.Fatalf("%s was changed by another's Ref", old.ID)
				}
			}
			if res.Conflict == nil && res.Ref != r || res.Conflict != nil && len(res.Conflict.Owners) < 2 {
				rt.Fatalf("learnt %+v of %+v, conflict %+v", res.Ref, r, res.Conflict)
			}
			if again, _ := d.resolve(r); again.Changed || again.New || again.NewConflict || again.Identity.ID != res.Identity.ID {
				rt.Fatalf("hearing %+v again changed something:\n%s", r, cmp.Diff(res, again))
			}
		}
	})
}

// Refs that never disagree end in the same identity in any order.
func TestResolveOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		whole := identity.Ref{Kind: identity.KindPerson, ObjectID: oidA, SID: sidA, GUID: guidA, UPN: "a@corp.example", SAM: "a", Domain: "CORP", DisplayName: "A"}
		var refs []identity.Ref
		for range rapid.IntRange(1, 6).Draw(rt, "refs") {
			r := whole
			r.Provider = rapid.SampledFrom([]identity.Provider{"", identity.EntraID}).Draw(rt, "provider")
			for _, field := range []*string{&r.SID, &r.GUID, &r.UPN, &r.SAM, &r.Domain, &r.DisplayName} {
				if rapid.Bool().Draw(rt, "left out") {
					*field = ""
				}
			}
			if rapid.Bool().Draw(rt, "kindless") {
				r.Kind = ""
			}
			if r.GUID != "" {
				r.SID = sidA // otherwise a later Ref decides whether it is one account or two
			}
			refs = append(refs, r)
		}
		one, two := &directory{t: rt}, &directory{t: rt}
		for _, r := range refs {
			one.resolve(r)
		}
		for _, r := range rapid.Permutation(refs).Draw(rt, "order") {
			two.resolve(r)
		}
		if diff := cmp.Diff(one.all, two.all); diff != "" {
			rt.Fatalf("the order mattered:\n%s", diff)
		}
	})
}

func TestWithFacts(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	ref := identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: oidA, SID: sidA, DisplayName: "Old Name"}
	res, _ := identity.Resolve(tenant, ref, nil, "test", epoch)
	i := res.Identity
	later := epoch.Add(time.Hour)

	ref.DisplayName = "New Name"
	i, changed := i.WithFacts(ref, identity.Facts{AsOf: later, Found: &yes, Enabled: &yes, UserType: "Guest"}, later)
	cloud, _ := i.Account(identity.EntraID)
	onPrem, _ := i.Account(identity.ActiveDirectory)
	if !changed || i.Name != "New Name" || i.Kind != identity.KindGuest || cloud.Facts.Enabled == nil || !onPrem.Facts.AsOf.IsZero() || !i.UpdatedAt.Equal(later) {
		t.Errorf("changed %v: %+v", changed, i)
	}
	if again, changed := i.WithFacts(ref, identity.Facts{AsOf: later, Found: &yes, Enabled: &yes, UserType: "Guest"}, later.Add(time.Hour)); changed {
		t.Errorf("the same facts again changed %s", cmp.Diff(i, again))
	}
	ref.DisplayName = "Older Name"
	if older, changed := i.WithFacts(ref, identity.Facts{AsOf: epoch, Enabled: &no}, later); changed {
		t.Errorf("older facts changed %s", cmp.Diff(i, older))
	}
	i, _ = i.WithFacts(identity.Ref{Provider: identity.EntraID, ObjectID: oidA}, identity.Facts{RolesAsOf: later, Roles: []identity.Role{{TemplateID: "t"}}}, later)
	if cloud, _ = i.Account(identity.EntraID); cloud.Facts.Enabled == nil || len(cloud.Facts.Roles) != 1 {
		t.Errorf("roles replaced the rest: %+v", cloud.Facts)
	}
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	cloud := func(synced *bool, kind identity.Kind) identity.Account {
		return identity.Account{Ref: identity.Ref{Provider: identity.EntraID, Kind: kind, ObjectID: oidA}, Facts: identity.Facts{Synced: synced}}
	}
	ad := identity.Account{Ref: identity.Ref{Provider: identity.ActiveDirectory, SID: sidA}}
	for name, tc := range map[string]struct {
		accounts []identity.Account
		want     identity.Provider
		known    bool
	}{
		"cloud only":        {[]identity.Account{cloud(&no, "")}, identity.EntraID, true},
		"synced":            {[]identity.Account{cloud(&yes, ""), ad}, identity.ActiveDirectory, true},
		"not told":          {[]identity.Account{cloud(nil, "")}, identity.EntraID, false},
		"workload":          {[]identity.Account{cloud(nil, identity.KindWorkload)}, identity.EntraID, true},
		"on premises only":  {[]identity.Account{ad}, identity.ActiveDirectory, true},
		"nothing":           {nil, "", false},
		"gone and made new": {[]identity.Account{{Ref: identity.Ref{Provider: identity.EntraID, ObjectID: oidB}, Facts: identity.Facts{Found: &no, Synced: &yes}}, cloud(&no, "")}, identity.EntraID, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, known := (identity.Identity{Accounts: tc.accounts}).Authority(); got != tc.want || known != tc.known {
				t.Errorf("%s, known %v", got, known)
			}
		})
	}
}
