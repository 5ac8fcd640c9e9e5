package signal_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func TestEach(t *testing.T) {
	t.Parallel()
	a, b, c := identity.Ref{ObjectID: "A", DisplayName: "Ada"}, identity.Ref{SID: "S-1-5-21-1"}, identity.Ref{DisplayName: "Only a name"}
	again := identity.Ref{ObjectID: "a"}
	s := signal.Signal{Tenant: "t", Source: signal.DefenderAlert, ExternalID: "al", Title: "T"}
	got := s.Each([]identity.Ref{a, b, again}, []identity.Ref{c, b})
	var told []string
	keys := map[signal.Key]bool{}
	for _, s := range got {
		told = append(told, fmt.Sprintf("%s of %s with %d others", s.ExternalID, s.Subject.Name(), len(s.Others)))
		keys[s.Key()] = true
	}
	if d := cmp.Diff([]string{"al of S-1-5-21-1 with 2 others", "al#a of Ada with 2 others"}, told); d != "" || len(keys) != len(got) {
		t.Errorf("%d keys; %s", len(keys), d)
	}
	if d := cmp.Diff(got, s.Each([]identity.Ref{b, a}, []identity.Ref{c})); d != "" {
		t.Errorf("named in another order: %s", d)
	}
	if n := len(signal.Signal{ExternalID: "al"}.Each(nil, []identity.Ref{a})); n != 0 {
		t.Errorf("%d signals about nobody", n)
	}
}
