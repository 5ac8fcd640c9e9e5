package desk_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	if op, err := s.Operators.ByToken(desktest.Token("owner"), "a"); err != nil || op.ID != "owner" {
		t.Errorf("got %s, %v", op.ID, err)
	}
	for _, bad := range []string{"", "x", desktest.Token("owner") + " ", strings.ToUpper(desktest.Token("owner"))} {
		if op, err := s.Operators.ByToken(bad, "b"); !errors.Is(err, fault.Denied) || op.ID != "" {
			t.Errorf("token %q: %s, %v; want fault.Denied", bad, op.ID, err)
		}
	}
}

func TestGuessingHasToWait(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	for range 10 {
		if _, err := s.Operators.ByToken("wrong", "10.0.0.1"); !errors.Is(err, fault.Denied) {
			t.Fatal(err)
		}
	}
	_, err := s.Operators.ByToken(desktest.Token("owner"), "10.0.0.1")
	if after, ok := fault.RetryAfter(err); !errors.Is(err, fault.Unavailable) || !ok || after > time.Minute {
		t.Fatalf("the eleventh: %v, after %s; want to wait, the right token or not", err, after)
	}
	if _, err := s.Operators.ByToken(desktest.Token("owner"), "10.0.0.2"); err != nil {
		t.Errorf("another address: %v", err)
	}
	s.Pass(time.Minute)
	if _, err := s.Operators.ByToken(desktest.Token("owner"), "10.0.0.1"); err != nil {
		t.Errorf("a minute later: %v", err)
	}
	for n := range 10_000 { // memory is bounded: addresses are cheap
		s.Operators.Failed(fmt.Sprintf("2001:db8::%x", n))
	}
	if err := s.Operators.Wait("2001:db8::1"); err != nil {
		t.Errorf("one failure: %v", err)
	}
}

func TestOperatorsAreChecked(t *testing.T) {
	t.Parallel()
	op := func(id access.OperatorID, roles ...access.Role) desk.Known {
		return desk.Known{Operator: access.Operator{ID: id, Roles: roles}, TokenHash: desk.HashToken(string(id))}
	}
	same := op("b", access.Owner)
	same.TokenHash = desk.HashToken("a")
	for name, list := range map[string][]desk.Known{
		"no id":        {op("", access.Owner)},
		"twice":        {op("a", access.Owner), op("a", access.Owner)},
		"no role":      {op("a")},
		"unknown role": {op("a", "boss")},
		"one token":    {op("a", access.Owner), same},
	} {
		o, err := desk.NewOperators([]desk.Known{op("kept", access.Owner)}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Replace(list); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v; want fault.Invalid", name, err)
		}
		if _, ok := o.ByID("kept"); !ok {
			t.Errorf("%s: the operators before are gone", name)
		}
	}
}
