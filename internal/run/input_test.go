package run_test

import (
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
)

// A group was put on the protected list after the directory was read: until its
// members are read, everybody may be one of them.
func TestProtectedGroupNeverReadProtects(t *testing.T) {
	t.Parallel()
	res, _ := identity.Resolve(tenant, runtest.Person("1"), nil, "test", epoch)
	i := res.Identity
	p := identity.Policy{List: []identity.Protected{{Match: "G1", Group: true, Reason: "break glass"}}}
	for name, tc := range map[string]struct {
		groups             map[string][]string
		protected, unknown bool
	}{
		"never read":      {nil, true, true},
		"another read":    {map[string][]string{"g2": {}}, true, true},
		"read, and empty": {map[string][]string{"g1": {}}, false, false},
		"read, a member":  {map[string][]string{"g1": {runtest.Person("1").ObjectID}}, true, false},
		"read, another":   {map[string][]string{"g1": {runtest.Person("2").ObjectID}}, false, false},
	} {
		d := connector.DirectoryFacts{AsOf: epoch, GroupMembers: tc.groups}
		if got := run.Protect(p, i, d, epoch.Add(time.Minute)); got.Protected() != tc.protected || got.Unknown != tc.unknown {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
