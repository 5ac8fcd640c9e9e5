package kill

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// A kind of person says what happens to them and how it must end.
type kind string

const (
	leaked     kind = "leaked credentials"
	sprayed    kind = "password spray"
	token      kind = "token theft"
	asked      kind = "asked and approved"
	left       kind = "asked and left waiting"
	unratified kind = "acted first and not ratified"
	synced     kind = "leaked, mastered in Active Directory"
	admin      kind = "leaked, privileged and approved"
	adminLeft  kind = "leaked, privileged and left waiting"
	protected  kind = "protected"
)

// batch is the scenario: fifty people.
func batch() []kind {
	var out []kind
	for _, n := range []struct {
		kind  kind
		count int
	}{{leaked, 12}, {sprayed, 6}, {token, 12}, {asked, 5}, {left, 2}, {unratified, 4}, {synced, 3}, {admin, 2}, {adminLeft, 1}, {protected, 3}} {
		out = append(out, slices.Repeat([]kind{n.kind}, n.count)...)
	}
	return out
}

func (k kind) event(id string) world.Event {
	typ := map[kind]string{sprayed: "passwordSpray", token: "anomalousToken", asked: "suspiciousBrowser", left: "suspiciousBrowser", unratified: "newCountry"}[k]
	if typ == "" {
		typ = "leakedCredentials"
	}
	return world.Event{Type: world.EventDetection, User: id, RiskEventType: typ, RiskLevel: "high"}
}

// A person is one account to which something happens.
type person struct {
	id, name string
	kind     kind
}

// A cast finds people that fit, each once; the protected ones come again and
// again.
type cast struct {
	cloud, synced, admins, protected []string
	names                            map[string]string
	kinds                            []kind // what comes next; refilled batch by batch
	rng                              *rand.Rand
	next                             int // protected
}

// pickCast looks at the tenant as it was seeded. The same seed gives the test a
// copy of it, which tells what the state page does not: who may activate a role.
func pickCast(t testing.TB, l *lab, seed uint64, users int, rng *rand.Rand) *cast {
	t.Helper()
	w, err := world.New(world.Options{Seed: seed, Users: users})
	if err != nil {
		t.Fatal(err)
	}
	state := l.users(t)
	c := &cast{rng: rng, names: map[string]string{}}
	pick := func(to *[]string, p world.Pick) {
		for {
			a, err := w.Pick(p)
			if err != nil {
				return
			}
			p.Index++
			u, ok := state[a.UserID]
			if !ok {
				t.Fatalf("the copy of the tenant has a person %s that the tenant has not", a.UserID)
			}
			if u.AccountEnabled && u.LastPasswordChange.Year() > 1990 && u.RiskState == "none" && u.OpenDetections == 0 {
				*to = append(*to, a.UserID)
				c.names[a.UserID] = a.UserPrincipalName
			}
		}
	}
	yes, no := true, false
	pick(&c.cloud, world.Pick{Kind: world.KindMember, Synced: &no, Privileged: &no, Eligible: &no, Passwordless: &no})
	pick(&c.synced, world.Pick{Kind: world.KindMember, Synced: &yes, Privileged: &no, Eligible: &no})
	pick(&c.admins, world.Pick{Kind: world.KindAdmin, Synced: &no, Passwordless: &no})
	for _, list := range [][]string{c.cloud, c.synced, c.admins} {
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	// Besides the emergency-access and synchronisation accounts: ordinary people and
	// an administrator that the operator lists.
	c.protected = append(c.protected, l.Protected...)
	c.protected = append(c.protected, take(t, &c.cloud, 3)...)
	c.protected = append(c.protected, take(t, &c.admins, 1)...)
	return c
}

func take(t testing.TB, list *[]string, n int) []string {
	t.Helper()
	if len(*list) < n {
		t.Fatalf("the tenant has too few people of a kind: %d more are needed", n-len(*list))
	}
	out := (*list)[:n:n]
	*list = (*list)[n:]
	return out
}

// wave returns the next n people.
func (c *cast) wave(t testing.TB, n int) []person {
	t.Helper()
	var out []person
	for range n {
		if len(c.kinds) == 0 {
			c.kinds = batch()
			c.rng.Shuffle(len(c.kinds), func(i, j int) { c.kinds[i], c.kinds[j] = c.kinds[j], c.kinds[i] })
		}
		p := person{kind: c.kinds[0]}
		c.kinds = c.kinds[1:]
		if (p.kind == admin || p.kind == adminLeft) && len(c.admins) == 0 {
			p.kind = leaked // the tenant has run out of administrators
		}
		switch p.kind {
		case synced:
			p.id = take(t, &c.synced, 1)[0]
		case admin, adminLeft:
			p.id = take(t, &c.admins, 1)[0]
		case protected:
			p.id = c.protected[c.next%len(c.protected)]
			c.next++
		default:
			p.id = take(t, &c.cloud, 1)[0]
		}
		p.name = c.names[p.id]
		out = append(out, p)
	}
	return out
}
