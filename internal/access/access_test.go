package access_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// Every role against every permission, written out: a change here is a change of
// what people may do.
func TestGrants(t *testing.T) {
	t.Parallel()
	table := map[access.Role]string{ // Read Audit Decide Plan Approve Undo Hold Resume
		access.Auditor:   "yes yes  -   -   -   -   -   -",
		access.Analyst:   "yes  -  yes yes  -   -  yes  -",
		access.Responder: "yes  -  yes yes yes yes yes  -",
		access.Author:    "yes  -   -  yes  -   -  yes  -",
		access.Owner:     "yes yes yes yes yes yes yes yes",
		"unheard of":     " -   -   -   -   -   -   -   -",
	}
	if got := access.Permissions(); len(got) != 8 {
		t.Fatalf("permissions %v", got)
	}
	for _, r := range access.Roles() {
		if _, ok := table[r]; !ok || !r.Known() {
			t.Errorf("role %s: in the table %v, known %v", r, ok, r.Known())
		}
	}
	for role, line := range table {
		o := access.Operator{ID: "o", Roles: []access.Role{role}}
		for n, p := range access.Permissions() {
			want := strings.Fields(line)[n] == "yes"
			if got := o.Can(p); got != want {
				t.Errorf("%s may %s: %v", role, p, got)
			}
			err := o.Require(p)
			if (err == nil) != want || err != nil && !errors.Is(err, fault.Denied) {
				t.Errorf("%s requires %s: %v", role, p, err)
			}
			if err != nil && !strings.Contains(err.Error(), string(access.Owner)) {
				t.Errorf("the refusal does not say who may: %v", err)
			}
		}
	}
}

func TestNoRolesAndSeveral(t *testing.T) {
	t.Parallel()
	both := access.Operator{ID: "o", Roles: []access.Role{access.Auditor, access.Author}}
	for _, p := range access.Permissions() {
		if (access.Operator{ID: "o"}).Can(p) {
			t.Errorf("an operator without a role may %s", p)
		}
		want := slices.Contains([]access.Permission{access.Read, access.Audit, access.Plan, access.Hold}, p)
		if both.Can(p) != want {
			t.Errorf("roles add up: %s is %v", p, !want)
		}
	}
	if access.Role("unheard of").Known() || (access.Operator{Roles: []access.Role{access.Owner}}).Can("unheard of") {
		t.Error("an unheard-of role or permission counts")
	}
}

func TestActors(t *testing.T) {
	t.Parallel()
	for got, want := range map[access.Actor]access.Actor{
		access.ByOperator("o"): "operator:o", access.BySystem("ingest"): "cordon:ingest", access.ByPlaybook("p"): "playbook:p",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
