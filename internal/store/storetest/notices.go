package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/notify"
)

// Notices holds a notify.Store to its contract. open returns an empty store and
// what writes rows into it: casefile.Case.
func Notices(t *testing.T, open func(t *testing.T) (notify.Store, func(...any))) {
	t.Run("places", func(t *testing.T) {
		t.Parallel()
		s, _ := open(t)
		if _, err := s.Place(t.Context(), "soc", "t1"); !errors.Is(err, fault.NotFound) {
			t.Errorf("no place yet: %v", err)
		}
		want := notify.Place{Receiver: "soc", Tenant: "t1", Next: 7, Failures: 2, NotNow: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Trouble: "it answers 500"}
		p, err := s.Put(t.Context(), want, nil)
		if err != nil || p.Version != 1 {
			t.Fatalf("%+v, %v", p, err)
		}
		if _, err := s.Put(t.Context(), want, nil); !errors.Is(err, fault.Conflict) {
			t.Errorf("a second first place: %v", err)
		}
		got, err := s.Place(t.Context(), "soc", "t1")
		if diff := cmp.Diff(p, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		for _, other := range []notify.Place{{Receiver: "soc", Tenant: "t2"}, {Receiver: "desk", Tenant: "t1"}} {
			if _, err := s.Place(t.Context(), other.Receiver, other.Tenant); !errors.Is(err, fault.NotFound) {
				t.Errorf("%+v: %v", other, err)
			}
		}
		p.Next = 8
		p, err = s.Put(t.Context(), p, nil)
		if err != nil || p.Version != 2 {
			t.Fatalf("%+v, %v", p, err)
		}
	})
	t.Run("two processes, one goes on", func(t *testing.T) {
		t.Parallel()
		s, _ := open(t)
		p, err := s.Put(t.Context(), notify.Place{Receiver: "soc", Tenant: "t1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		told := notify.Told{Receiver: "soc", Case: "cas_1"}
		stale := p
		p.Next = 1
		if _, err := s.Put(t.Context(), p, nil); err != nil {
			t.Fatal(err)
		}
		stale.Next = 2
		if got, err := s.Put(t.Context(), stale, &told); !errors.Is(err, fault.Conflict) || got.Version != stale.Version {
			t.Errorf("%+v, %v", got, err)
		}
		if was, err := s.WasTold(t.Context(), told); was || err != nil {
			t.Errorf("told %v, %v: the loser wrote half", was, err)
		}
	})
	t.Run("told once an episode", func(t *testing.T) {
		t.Parallel()
		s, _ := open(t)
		p, err := s.Put(t.Context(), notify.Place{Receiver: "soc", Tenant: "t1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		told := notify.Told{Receiver: "soc", Case: "cas_1", Episode: 0}
		for range 2 { // noting it twice is once
			if p, err = s.Put(t.Context(), p, &told); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			told notify.Told
			want bool
		}{{told, true}, {notify.Told{Receiver: "soc", Case: "cas_1", Episode: 1}, false}, {notify.Told{Receiver: "desk", Case: "cas_1"}, false}, {notify.Told{Receiver: "soc", Case: "cas_2"}, false}} {
			if was, err := s.WasTold(t.Context(), c.told); was != c.want || err != nil {
				t.Errorf("%+v: %v, %v", c.told, was, err)
			}
		}
	})
	t.Run("cases and size", func(t *testing.T) {
		t.Parallel()
		s, put := open(t)
		if n, err := s.Size(t.Context()); n != 0 || err != nil {
			t.Errorf("size %d, %v", n, err)
		}
		if _, err := s.Case(t.Context(), "t1", "cas_1"); !errors.Is(err, fault.NotFound) {
			t.Errorf("no case yet: %v", err)
		}
		c := casefile.Case{Tenant: "t1", ID: "cas_1", Identity: "idn_1", Name: "Somebody", Status: casefile.Open, OpenedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
		put(c)
		got, err := s.Case(t.Context(), "t1", "cas_1")
		if err != nil || got.Name != c.Name || got.Status != c.Status {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := s.Case(t.Context(), "t2", "cas_1"); !errors.Is(err, fault.NotFound) {
			t.Errorf("another tenant's: %v", err)
		}
	})
}
