package witness_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/witness"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

const app = "c0e5d0a1-1ab0-4c0d-8000-000000000001"

var at = time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)

func entry(kind audit.Kind, action string, after time.Duration, data map[string]any) audit.Entry {
	return audit.Entry{Kind: kind, Action: action, At: at.Add(after), Text: string(kind), Data: data}
}

func intent(action, request, name, account string, after time.Duration) audit.Entry {
	return entry(audit.ActionIntent, action, after, map[string]any{
		"clientRequestId": request, "action": name, "account": []any{map[string]any{"kind": "entra", "value": account}}})
}

func effect(seq int, request, field, account string, after time.Duration) graphsim.Entry {
	return graphsim.Entry{Seq: seq, App: app, Method: "PATCH", Path: "/users/" + account, ClientRequestID: request, Received: at.Add(after),
		Effects: []world.Effect{{Object: "users/" + account, Field: field}}}
}

const (
	disable = "entra.user.disable"
	revoke  = "entra.user.revoke_sessions"
	reset   = "entra.user.reset_password"
)

// Whoever lies, trail or Cordon, is found.
func TestCompare(t *testing.T) {
	t.Parallel()
	accepted := func(action, request string) audit.Entry {
		return entry(audit.ActionOutcome, action, 2, map[string]any{"verdict": "accepted", "clientRequestId": request})
	}
	verified := func(action string) audit.Entry { return entry(audit.ActionVerified, action, time.Second, nil) }
	sound := []audit.Entry{intent("a1", "r1", disable, "U1", 0), accepted("a1", "r1"), verified("a1")}
	tests := map[string]struct {
		trail  []audit.Entry
		ledger []graphsim.Entry
		found  map[string]int
	}{
		"sound":                     {trail: sound, ledger: []graphsim.Entry{effect(1, "r1", "accountEnabled", "u1", 1)}},
		"of another app":            {ledger: []graphsim.Entry{{Seq: 1, App: "other", Effects: []world.Effect{{Object: "users/u1", Field: "accountEnabled"}}}}},
		"done without an intent":    {ledger: []graphsim.Entry{effect(1, "r1", "accountEnabled", "u1", 1)}, found: map[string]int{"unrecorded": 1}},
		"intent for somebody else":  {trail: []audit.Entry{intent("a1", "r1", disable, "u2", 0)}, ledger: []graphsim.Entry{effect(1, "r1", "accountEnabled", "u1", 1)}, found: map[string]int{"unrecorded": 1}},
		"intent written afterwards": {trail: []audit.Entry{intent("a1", "r1", disable, "u1", 5)}, ledger: []graphsim.Entry{effect(1, "r1", "accountEnabled", "u1", 1)}, found: map[string]int{"unrecorded": 1}},
		"accepted, never arrived":   {trail: sound, found: map[string]int{"unwitnessed": 1, "unproven": 1}},
		"verified without effect":   {trail: sound, ledger: []graphsim.Entry{{Seq: 1, App: app, ClientRequestID: "r1"}}, found: map[string]int{"unproven": 1}},
		"nothing to do":             {trail: []audit.Entry{entry(audit.ActionAlready, "a1", 0, nil), verified("a1")}},
		"protected":                 {trail: []audit.Entry{intent("a1", "r1", disable, "guarded", 0)}, ledger: []graphsim.Entry{effect(1, "r1", "accountEnabled", "Guarded", 1)}, found: map[string]int{"protected": 1}},
		"two passwords for one action": {
			trail:  []audit.Entry{intent("a1", "r1", reset, "u1", 0), intent("a1", "r2", reset, "u1", 2)},
			ledger: []graphsim.Entry{effect(1, "r1", "passwordProfile", "u1", 1), effect(2, "r2", "passwordProfile", "u1", 3)},
			found:  map[string]int{"repeated": 1},
		},
		"sessions ended by the reset in the same second": {
			trail:  []audit.Entry{intent("a1", "r1", reset, "u1", 0), intent("a2", "r2", revoke, "u1", 2), verified("a2")},
			ledger: []graphsim.Entry{effect(1, "r1", "signInSessionsValidFromDateTime", "u1", 1)},
		},
		"what hangs on the account": {
			trail:  []audit.Entry{intent("a1", "r1", "entra.workload.remove_credential", "sp1", 0), verified("a1")},
			ledger: []graphsim.Entry{{Seq: 1, App: app, ClientRequestID: "r1", Received: at.Add(1), Effects: []world.Effect{{Object: "applications/a1", Field: "passwordCredentials/k1"}}}},
		},
		"what hangs on an account, without an intent": {
			ledger: []graphsim.Entry{{Seq: 1, App: app, ClientRequestID: "r1", Received: at.Add(1), Effects: []world.Effect{{Object: "applications/a1", Field: "passwordCredentials/k1"}}}},
			found:  map[string]int{"unrecorded": 1},
		},
		"sessions ended long before": {
			trail:  []audit.Entry{intent("a1", "r1", reset, "u1", -time.Hour), intent("a2", "r2", revoke, "u1", 2), verified("a2")},
			ledger: []graphsim.Entry{effect(1, "r1", "signInSessionsValidFromDateTime", "u1", -time.Minute)},
			found:  map[string]int{"unproven": 1},
		},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := witness.Compare(c.trail, c.ledger, app, []string{"guarded"})
			got := map[string]int{}
			for what, list := range map[string][]string{"unrecorded": r.Unrecorded, "unwitnessed": r.Unwitnessed, "protected": r.ProtectedTouched, "repeated": r.Repeated, "unproven": r.Unproven} {
				if len(list) > 0 {
					got[what] = len(list)
				}
			}
			if c.found == nil {
				c.found = map[string]int{}
			}
			if diff := cmp.Diff(c.found, got); diff != "" {
				t.Errorf("%s\n%+v", diff, r)
			}
			if r.Clean() != (len(c.found) == 0) {
				t.Errorf("Clean is %v", r.Clean())
			}
		})
	}
}
