package world

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var epoch = time.Date(2026, 8, 24, 9, 0, 0, 0, time.UTC)

// clock is the injected time of a test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// small makes a tenant of 300 people with the default delays.
func small(t testing.TB, change ...func(*Options)) (*World, *clock) {
	t.Helper()
	c := &clock{now: epoch}
	o := Options{Seed: 7, Users: 300, Start: epoch, Now: c.Now}
	for _, f := range change {
		f(&o)
	}
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w, c
}

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

func pick(t testing.TB, w *World, p Pick) Account {
	t.Helper()
	a, err := w.Pick(p)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func apply(t testing.TB, w *World, e Event) {
	t.Helper()
	if err := w.Apply(e); err != nil {
		t.Fatal(err)
	}
}

func value(t testing.TB, w *World, c Collection, id, property string) any {
	t.Helper()
	it, ok := w.Get(c, id)
	if !ok {
		t.Fatalf("%s/%s is not there", c, id)
	}
	v, ok := it.Value(property)
	if !ok {
		t.Fatalf("%s/%s has no %s", c, id, property)
	}
	return v
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{Users: 5}, {Users: 3_000_000}, {TenantID: "tenant"}} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v) was accepted", o)
		}
	}
	w, err := New(Options{TenantID: "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", Users: 20})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.TenantID(); got != "6f9619ff-8b86-4d01-b42d-00cf4fc964ff" {
		t.Errorf("tenant id is %s", got)
	}
}

func TestDelays(t *testing.T) {
	t.Parallel()
	got := Delays{Feedback: time.Minute, Revocation: -1}.Faster(60)
	want := Delays{Feedback: time.Second, Remediation: time.Second / 60, Revocation: -1, OnPremises: 5 * time.Second / 60, SyncCycle: 30 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The same options must give the same tenant, and another seed another one.
func TestSeedIsDeterministic(t *testing.T) {
	t.Parallel()
	dump := func(seed uint64) map[Collection][]Object {
		c := &clock{now: epoch}
		w, err := New(Options{Seed: seed, Users: 120, Start: epoch, Now: c.Now})
		if err != nil {
			t.Fatal(err)
		}
		all := map[Collection][]Object{}
		for c := range w.tables {
			w.Walk(c, 0, func(_ int, it Item) bool {
				all[c] = append(all[c], it.Object())
				return true
			})
		}
		return all
	}
	first := dump(1)
	if diff := cmp.Diff(first, dump(1)); diff != "" {
		t.Errorf("the same seed gave two tenants:\n%s", diff)
	}
	if cmp.Equal(first[Users], dump(2)[Users]) {
		t.Error("two seeds gave the same people")
	}
}

func TestSeededDirectory(t *testing.T) {
	t.Parallel()
	w, _ := small(t, func(o *Options) { o.Users = 2400 })
	if n := w.Count(Users); n != 2400 {
		t.Fatalf("%d users", n)
	}
	count := map[string]int{}
	upns := map[string]bool{}
	w.WalkState(func(s UserState) bool {
		if upns[s.UserPrincipalName] {
			t.Errorf("%s exists twice", s.UserPrincipalName)
		}
		upns[s.UserPrincipalName] = true
		count[s.UserType]++
		for name, is := range map[string]bool{"synced": s.OnPremises != nil, "privileged": s.Privileged, "breakGlass": s.BreakGlass, "sync": s.SyncAccount} {
			if is {
				count[name]++
			}
		}
		if s.OnPremises != nil && (s.OnPremises.SID == "" || len(s.OnPremises.SAMAccountName) > 20 || s.OnPremises.UserID != s.ID) {
			t.Errorf("bad on-premises account: %+v", s.OnPremises)
		}
		return true
	})
	if count["breakGlass"] != 2 || count["sync"] != 1 || count["Guest"] != 120 {
		t.Errorf("counts are %v", count)
	}
	if count["synced"] < 1400 || count["synced"] > 1800 {
		t.Errorf("%d of 2400 are synchronised", count["synced"])
	}
	if count["privileged"] < 20 || count["privileged"] > 60 {
		t.Errorf("%d are privileged", count["privileged"])
	}
	for c := range w.tables {
		risk := slices.Contains([]Collection{RiskDetections, RiskyUsers, RiskyServicePrincipals, ServicePrincipalRiskDetections, DirectoryAudits, Alerts, Incidents, HealthIssues}, c)
		if n := w.Count(c); (n == 0) != risk {
			t.Errorf("%s starts with %d members", c, n)
		}
	}
	glass := pick(t, w, Pick{Kind: KindBreakGlass, Role: "Global Administrator", Index: 1})
	groups, err := w.Related(Users, glass.UserID, MemberOf)
	if err != nil {
		t.Fatal(err)
	}
	var names []any
	for _, g := range groups {
		v, _ := g.Value("displayName")
		names = append(names, v)
	}
	if diff := cmp.Diff([]any{"Emergency access", "Global Administrator"}, names); diff != "" {
		t.Error(diff)
	}
}

// Every item must answer for each of its properties what its rendering says.
func TestValueAgreesWithObject(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	for c := range w.tables {
		w.Walk(c, 0, func(_ int, it Item) bool {
			o := it.Object()
			if o["id"] != it.ID() {
				t.Errorf("%s: id %v is not %s", c, o["id"], it.ID())
			}
			for p, want := range o {
				if got, ok := it.Value(p); !ok || !cmp.Equal(got, want) {
					t.Errorf("%s: %s is %v, rendered %v", c, p, got, want)
				}
			}
			if _, ok := it.Value("noSuchProperty"); ok {
				t.Errorf("%s has a property it does not have", c)
			}
			return !t.Failed()
		})
		var first Item
		w.Walk(c, 0, func(_ int, it Item) bool { first = it; return false })
		if first == nil {
			continue
		}
		if it, ok := w.Get(c, first.ID()); !ok || it.ID() != first.ID() {
			t.Errorf("%s: the first member cannot be found by id", c)
		}
	}
}

func TestWalkPositionsServeAsPageTokens(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	var whole, paged, back []string
	w.Walk(Users, 0, func(_ int, it Item) bool { whole = append(whole, it.ID()); return true })
	for at := 0; ; {
		n, last := 0, -1
		w.Walk(Users, at, func(pos int, it Item) bool {
			paged, last = append(paged, it.ID()), pos
			n++
			return n < 37
		})
		if last < 0 {
			break
		}
		at = last + 1
		if at == 37*3 { // somebody of an earlier page leaves between two pages
			apply(t, w, Event{Type: EventDeleteUser, User: paged[5]})
		}
	}
	if diff := cmp.Diff(whole, paged); diff != "" {
		t.Error(diff)
	}
	w.WalkBack(Users, -1, func(_ int, it Item) bool { back = append(back, it.ID()); return true })
	slices.Reverse(back)
	if want := slices.DeleteFunc(slices.Clone(whole), func(id string) bool { return id == paged[5] }); !cmp.Equal(want, back) {
		t.Error("walking back gave other members")
	}
}

func TestLookUp(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	a := pick(t, w, Pick{Kind: KindMember, Synced: yes(), Index: 4})
	for _, ref := range []string{a.UserID, a.UserPrincipalName, a.SID, NTDomain + `\` + a.SAMAccountName, "corp\\" + a.SAMAccountName} {
		if got, err := w.Resolve(ref); err != nil || got != a {
			t.Errorf("Resolve(%q) = %+v, %v", ref, got, err)
		}
	}
	if it, ok := w.GetBy(Users, "onPremisesSecurityIdentifier", a.SID); !ok || it.ID() != a.UserID {
		t.Error("a user cannot be found by SID")
	}
	it, ok := w.GetBy(IdentityAccounts, "onPremisesSecurityIdentifier", a.SID)
	if !ok {
		t.Fatal("an identity cannot be found by SID")
	}
	accounts, _ := it.Value("accounts")
	if len(accounts.([]any)) != 2 {
		t.Errorf("the identity of a synchronised person has accounts %v", accounts)
	}
	if _, err := w.Resolve("nobody@" + CloudDomain); err == nil {
		t.Error("nobody was found")
	}
	if err := w.Bind("anna", a); err != nil {
		t.Fatal(err)
	}
	if err := w.Bind("anna", pick(t, w, Pick{Kind: KindGuest})); err == nil {
		t.Error("a taken alias was given away")
	}
	for _, bad := range []string{"", "a b", "a@b", a.UserID} {
		if err := w.Bind(bad, a); err == nil {
			t.Errorf("alias %q was accepted", bad)
		}
	}
	if got, _ := w.Resolve("anna"); got != a {
		t.Error("the alias finds somebody else")
	}
	for _, p := range []Pick{{Kind: "person"}, {Kind: KindMember, Index: -1}, {Kind: KindMember, Role: "Tsar"}, {Kind: KindMember, Index: 100000},
		{Kind: KindOnPremisesOnly, Synced: yes()}} {
		if _, err := w.Pick(p); err == nil {
			t.Errorf("Pick(%+v) found somebody", p)
		}
	}
}

func TestChangesFeed(t *testing.T) {
	t.Parallel()
	w, _ := small(t)
	read := func(after uint64) (ids []string, removed []string, last uint64) {
		last = after
		if err := w.Changes(Users, after, func(c Change) bool {
			if last = c.Seq; c.Removed {
				removed = append(removed, c.ID)
			} else {
				ids = append(ids, c.ID)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return ids, removed, last
	}
	all, _, last := read(0)
	if len(all) != 300 {
		t.Fatalf("the first feed has %d people", len(all))
	}
	if ids, gone, _ := read(last); ids != nil || gone != nil {
		t.Fatalf("changes without a change: %v %v", ids, gone)
	}
	for _, enabled := range []bool{false, true, false} {
		if _, err := w.Update(Actor{}, Users, all[50], Object{"accountEnabled": enabled}); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, w, Event{Type: EventDeleteUser, User: all[60]})
	ids, gone, _ := read(last)
	if diff := cmp.Diff([]string{all[50]}, ids); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{all[60]}, gone); diff != "" {
		t.Error(diff)
	}
	if ids, gone, _ := read(0); len(ids) != 299 || gone != nil {
		t.Errorf("a new feed has %d people and %d removals", len(ids), len(gone))
	}
	if err := w.Changes(Devices, 0, nil); err == nil {
		t.Error("devices have no feed")
	}
}

// A tenant has as many people as were asked for, large ones too; what that costs is
// BenchmarkNew's to say.
func TestSeedingALargeTenant(t *testing.T) {
	t.Parallel()
	const users = 100_000
	w, err := New(Options{Users: users})
	if err != nil {
		t.Fatal(err)
	}
	if n := w.Count(Users); n != users {
		t.Errorf("%d people instead of %d", n, users)
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{2400, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := New(Options{Users: n}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
