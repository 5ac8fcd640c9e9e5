package record_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Of two versions that differ exactly one is newer, a version is not newer than
// itself, and being newer goes on: the order in which versions arrive cannot matter.
func TestNewerIsAnOrder(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)
	version := rapid.Custom(func(t *rapid.T) record.Record {
		r := record.Record{Tenant: "t", Source: record.SignIn, ExternalID: "s", At: at, IP: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "ip")}
		if n := rapid.IntRange(0, 2).Draw(t, "updated"); n > 0 {
			r.UpdatedAt = at.Add(time.Duration(n) * time.Second)
		}
		if rapid.Bool().Draw(t, "zone") && !r.UpdatedAt.IsZero() {
			r.UpdatedAt = r.UpdatedAt.In(time.FixedZone("", 3600))
		}
		if rapid.Bool().Draw(t, "risk") {
			r.Risk = &record.Risk{
				State:      rapid.SampledFrom([]signal.State{"", "none", "atRisk", "dismissed", "brandNew"}).Draw(t, "state"),
				Aggregated: rapid.SampledFrom([]signal.Level{"", "low", "high", "extreme"}).Draw(t, "level"),
			}
		}
		if rapid.Bool().Draw(t, "raw") {
			r.Raw = json.RawMessage(`{"a":1}`)
		}
		return r
	})
	text := func(r record.Record) string {
		r.UpdatedAt = r.UpdatedAt.UTC()
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := version.Draw(t, "a"), version.Draw(t, "b"), version.Draw(t, "c")
		if same := text(a) == text(b); same && (a.Newer(b) || b.Newer(a)) || !same && a.Newer(b) == b.Newer(a) {
			t.Fatalf("same: %v, a newer: %v, b newer: %v", same, a.Newer(b), b.Newer(a))
		}
		if a.Newer(b) && b.Newer(c) && !a.Newer(c) {
			t.Fatal("a is newer than b and b than c, but not a than c")
		}
	})
}

// What settled a risk is newer than the risk, though the sign-in carries no time of it.
func TestNewerFollowsTheRisk(t *testing.T) {
	t.Parallel()
	plain := record.Record{ExternalID: "s"}
	atRisk, settled := plain, plain
	atRisk.Risk = &record.Risk{State: signal.StateAtRisk, Aggregated: signal.LevelHigh}
	settled.Risk = &record.Risk{State: signal.StateRemediated, Aggregated: signal.LevelNone}
	if !atRisk.Newer(plain) || !settled.Newer(atRisk) || !settled.Newer(plain) {
		t.Error("a risk that came, or went, is not newer")
	}
}

func TestAccountsAreLookedUpByWhatIsStrong(t *testing.T) {
	t.Parallel()
	r := record.Record{
		Subject: identity.Ref{ObjectID: "{ABC}", UPN: "ada@corp.example"},
		Others: []record.Party{
			{Ref: identity.Ref{SAM: "Bob", Domain: "CORP", UPN: "Bob@corp.example"}}, {Ref: identity.Ref{SID: "s-1-5-21-1", SAM: "eve"}},
			{Ref: identity.Ref{ObjectID: "abc"}}, {Ref: identity.Ref{DisplayName: "Somebody"}},
		},
	}
	want := []string{"entra_object_id:abc", `sam:corp\bob`, "sid:S-1-5-21-1", "upn:bob@corp.example"}
	if d := cmp.Diff(want, r.Accounts()); d != "" {
		t.Error(d)
	}
	q := record.Query{Accounts: []identity.Ref{{ObjectID: "abc", UPN: "Ada@corp.example"}}}
	if d := cmp.Diff([]string{"entra_object_id:abc"}, q.Names()); d != "" {
		t.Error(d)
	}
	q.Weak = true
	if d := cmp.Diff([]string{"entra_object_id:abc", "upn:ada@corp.example"}, q.Names()); d != "" {
		t.Error(d)
	}
}
