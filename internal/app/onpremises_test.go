package app

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// The catalogue is the same whether a domain is connected or not, because a plan's
// hash names it.
func TestCatalogueDoesNotDependOnDomains(t *testing.T) { // Setenv forbids Parallel
	bare, err := catalogue(nil, domains{})
	if err != nil {
		t.Fatal(err)
	}
	on := unreachable(t)
	full, err := catalogue(nil, on)
	if err != nil {
		t.Fatal(err)
	}
	if bare.Version() != full.Version() {
		t.Errorf("versions %s and %s", bare.Version(), full.Version())
	}
	for _, c := range []*action.Catalogue{bare, full} {
		for _, s := range c.Specs() {
			typ, err := c.Type(s.Name)
			if err != nil {
				t.Fatal(err)
			}
			if _, undoes := typ.(action.Undoer); undoes != (s.Undo != "") {
				t.Errorf("%s: undo %q, computes it: %v", s.Name, s.Undo, undoes)
			}
		}
	}
	if got := connected(config.Tenant{}); len(got) != 1 {
		t.Errorf("without a domain connected: %v", got)
	}
	if got := connected(config.Tenant{Directories: []directory.Config{{}}}); len(got) != 2 {
		t.Errorf("with a domain connected: %v", got)
	}
}

// unreachable is a domain whose controllers do not answer.
func unreachable(t *testing.T) domains {
	t.Helper()
	t.Setenv("CORDON_TEST_AD_PASSWORD", "a password nobody has")
	d, err := openDomains([]directory.Config{{Domain: "corp.example", DCs: []string{"dc1.corp.example"}, Bind: directory.Bind{UPN: "svc@corp.example", Password: "env:CORDON_TEST_AD_PASSWORD"}}},
		directory.Options{Now: time.Now, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.close() })
	return d
}

func TestNothingIsDoneWithoutADomain(t *testing.T) {
	for name, on := range map[string]domains{"none configured": {now: time.Now}, "unreachable": unreachable(t)} {
		cat, err := catalogue(nil, on)
		if err != nil {
			t.Fatal(err)
		}
		typ, err := cat.Type("ad.account.disable")
		if err != nil {
			t.Fatal(err)
		}
		reqs := []action.Request{{Account: identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1105"}}}
		if l := typ.Look(t.Context(), reqs)[0]; !errors.Is(l.Err, fault.Unavailable) {
			t.Errorf("%s: look %+v", name, l)
		}
		if o := typ.Do(t.Context(), reqs)[0]; o.Verdict != action.Later {
			t.Errorf("%s: do %+v", name, o)
		}
		if r := typ.ReadBack(t.Context(), reqs)[0]; r.Err == nil || r.Seen {
			t.Errorf("%s: read back %+v", name, r)
		}
	}
}

type fakeCloud struct{ facts []connector.AccountFacts }

func (c fakeCloud) Facts(context.Context, []identity.Ref) ([]connector.AccountFacts, error) {
	return c.facts, nil
}
func (fakeCloud) History(context.Context, identity.Ref) ([]signal.AccountRisk, error) {
	return nil, nil
}
func (fakeCloud) Records(context.Context, identity.Ref) ([]record.Record, error)    { return nil, nil }
func (fakeCloud) BySID(context.Context, []string) ([]connector.AccountFacts, error) { return nil, nil }

// While no controller answers, what Entra says is known all the same, and what the
// domain has not said protects.
func TestUnreachableDomainProtects(t *testing.T) {
	yes := true
	cloud := connector.AccountFacts{
		Ref:   identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: "00000000-0000-4000-8000-0000000000aa", SID: "S-1-5-21-1-2-3-1105"},
		Facts: identity.Facts{AsOf: time.Now(), Synced: &yes, Enabled: &yes, RolesAsOf: time.Now()},
	}
	on := unreachable(t)
	got, err := on.lookup(fakeCloud{[]connector.AccountFacts{cloud}}, nil).Facts(t.Context(), []identity.Ref{{ObjectID: cloud.Ref.ObjectID}})
	if !errors.Is(err, fault.Unavailable) || len(got) != 1 || got[0].Ref.ObjectID != cloud.Ref.ObjectID {
		t.Fatalf("facts %+v, %v", got, err)
	}
	i := identity.Identity{Kind: identity.KindPerson, Accounts: []identity.Account{{Ref: cloud.Ref, Facts: cloud.Facts}, {Ref: identity.Ref{Provider: identity.ActiveDirectory, SID: cloud.Ref.SID}}}}
	p := config.Tenant{Directories: []directory.Config{{}}}.Policy().Protect(i, 5, time.Now(), time.Now())
	if !p.Unknown || !strings.Contains(strings.Join(p.Reasons, "; "), "Active Directory has not said yet") {
		t.Errorf("protection %+v", p)
	}
	if p := (config.Tenant{}).Policy().Protect(i, 5, time.Now(), time.Now()); p.Protected() {
		t.Errorf("without a domain: %+v", p)
	}
	if _, ok := (domains{}).lookup(fakeCloud{}, nil).(connector.Reach); ok {
		t.Error("without a domain the lookup says that it reaches one")
	}
}
