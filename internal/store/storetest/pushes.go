package storetest

import (
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/push"
)

// Pushes holds a push.Store to its port. open returns an empty store.
func Pushes(t *testing.T, open func(*testing.T) push.Store) {
	t.Parallel()
	s := open(t)
	one := push.Past{Tenant: tenant, Sender: "siem", Key: "k1", Digest: []byte{1, 2}, At: at(0), Answer: push.Answer{Read: 1, New: 1, Records: []push.Told{{Result: "new"}}}}
	put := func(p push.Past, since time.Time) {
		t.Helper()
		if err := s.PutPushed(t.Context(), p, since); err != nil {
			t.Fatal(err)
		}
	}
	is := func(want push.Past, known bool) {
		t.Helper()
		got, ok, err := s.Pushed(t.Context(), want.Tenant, want.Sender, want.Key)
		if err != nil || ok != known {
			t.Fatalf("%s of %s: %v, %v; want %v", want.Key, want.Sender, ok, err, known)
		}
		if known {
			same(t, "a pushed request", want, got)
		}
	}
	is(one, false)
	put(one, at(-time.Hour))
	is(one, true)
	second := one
	second.Digest = []byte{3}
	put(second, at(-time.Hour)) // the first of a key stays
	is(one, true)
	for _, other := range []push.Past{{Tenant: elsewhere, Sender: "siem", Key: "k1"}, {Tenant: tenant, Sender: "other", Key: "k1"}, {Tenant: tenant, Sender: "siem", Key: "k2"}} {
		is(other, false)
	}
	later := one
	later.Key, later.At = "k3", at(2*time.Hour)
	put(later, at(time.Hour))
	is(one, false)
	is(later, true)
	if err := s.PutPushed(t.Context(), push.Past{Sender: "x", Key: "y"}, at(0)); err == nil {
		t.Error("a request without a tenant was kept")
	}
}
