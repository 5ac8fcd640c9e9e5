package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// aSignIn returns the n-th sign-in, of person(n).
func aSignIn(n int) record.Record {
	return record.Record{
		Tenant: tenant, Source: record.SignIn, ExternalID: fmt.Sprintf("sign-%04d", n), Type: "interactiveUser",
		Subject: person(n).Accounts[0].Ref, At: at(time.Duration(n) * time.Minute), Result: record.Success,
		IP: "203.0.113.7", Session: fmt.Sprintf("session-%d", n%2), Raw: json.RawMessage(`{"id":"x"}`),
	}
}

func putRecords(t *testing.T, p Ports, list ...record.Record) (puts []ingest.Put) {
	t.Helper()
	update(t, p, func(tx ingest.Tx) (err error) { puts, err = tx.PutRecords(list, start); return err })
	return puts
}

func findRecords(t *testing.T, p Ports, q record.Query) []record.Record {
	t.Helper()
	page, err := p.Records.Records(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return page.Records
}

func records(t *testing.T, open func(*testing.T) Ports) {
	t.Run("NewestIsKeptInAnyOrder", func(t *testing.T) {
		t.Parallel()
		v1, v2, v3 := aSignIn(1), aSignIn(1), aSignIn(1)
		v2.Risk = &record.Risk{State: signal.StateAtRisk, Aggregated: signal.LevelHigh}
		v3.Risk = &record.Risk{State: signal.StateDismissed, Aggregated: signal.LevelNone}
		all := []record.Record{v1, v2, v3}
		p := open(t)
		for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}, {2, 0, 1, 2}, {0, 0, 2, 2, 1}} {
			for _, together := range []bool{true, false} {
				name := fmt.Sprintf("in the order %v, together: %v", order, together)
				var list []record.Record
				for _, n := range order {
					r := all[n]
					r.ExternalID = name
					list = append(list, r)
				}
				if together {
					putRecords(t, p, list...)
				} else {
					for _, r := range list {
						putRecords(t, p, r)
					}
				}
				want := v3
				want.ExternalID = name
				same(t, name, []record.Record{want}, findRecords(t, p, record.Query{Tenant: tenant, ExternalID: name}))
			}
		}
	})

	t.Run("SaysWhatItDid", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		v1, v2 := aSignIn(1), aSignIn(1)
		v2.Risk = &record.Risk{State: signal.StateAtRisk}
		same(t, "first", []ingest.Put{ingest.PutNew, ingest.PutDuplicate, ingest.PutNew}, putRecords(t, p, v1, v1, aSignIn(2)))
		same(t, "again", []ingest.Put{ingest.PutDuplicate, ingest.PutUpdated, ingest.PutDuplicate}, putRecords(t, p, v1, v2, aSignIn(2)))
		same(t, "an older one", []ingest.Put{ingest.PutOlder, ingest.PutDuplicate}, putRecords(t, p, v1, v2))
	})

	t.Run("BadOnesAreRefusedWhole", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		for _, bad := range []record.Record{{}, {Tenant: tenant, Source: record.SignIn, ExternalID: "x"}, {Tenant: tenant, At: start}} {
			err := p.Ingest.Update(t.Context(), func(tx ingest.Tx) error {
				_, err := tx.PutRecords([]record.Record{aSignIn(1), bad}, start)
				return err
			})
			wantKind(t, fmt.Sprintf("%+v", bad), err, fault.Invalid)
		}
		same(t, "stored", []record.Record{}, findRecords(t, p, record.Query{}))
	})

	t.Run("Found", func(t *testing.T) { t.Parallel(); recordsFound(t, open(t)) })

	t.Run("AnAccountThatMovedIsNotFoundTwice", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		v1, v2 := aSignIn(1), aSignIn(1)
		v2.Subject, v2.UpdatedAt = person(2).Accounts[0].Ref, at(time.Hour)
		putRecords(t, p, v1)
		putRecords(t, p, v2)
		same(t, "of the one it names no more", []record.Record{}, findRecords(t, p, record.Query{Tenant: tenant, Accounts: []identity.Ref{v1.Subject}}))
		same(t, "of the one it names", []record.Record{v2}, findRecords(t, p, record.Query{Tenant: tenant, Accounts: []identity.Ref{v2.Subject}}))
	})

	t.Run("AnyOrderAnyBatches", func(t *testing.T) { t.Parallel(); anyBatches(t, open) })
}

func recordsFound(t *testing.T, p Ports) {
	foreign := aSignIn(1)
	foreign.Tenant, foreign.IP = elsewhere, "2001:db8::1"
	audit := record.Record{
		Tenant: tenant, Source: record.DirectoryAudit, ExternalID: "audit-1", Type: "Add member to role", At: at(90 * time.Second),
		Subject: person(3).Accounts[0].Ref, Others: []record.Party{{Role: "target", Ref: person(1).Accounts[0].Ref}},
	}
	weak := record.Record{Tenant: tenant, Source: record.Logon, ExternalID: "logon-1", At: at(2 * time.Second), Subject: identity.Ref{SAM: "Ada", Domain: "CORP"}}
	sensor := record.Record{Tenant: tenant, Source: record.Sensor, ExternalID: "sensor-1", State: "healthy", At: at(time.Second)}
	putRecords(t, p, aSignIn(2), aSignIn(1), audit, weak, sensor, foreign)
	one := person(1).Accounts[0].Ref
	for what, c := range map[string]struct {
		q    record.Query
		want []record.Record
	}{
		"all tenants, newest first": {record.Query{}, []record.Record{aSignIn(2), audit, aSignIn(1), foreign, weak, sensor}},
		"one tenant":                {record.Query{Tenant: elsewhere}, []record.Record{foreign}},
		"an account":                {record.Query{Tenant: tenant, Accounts: []identity.Ref{one}}, []record.Record{audit, aSignIn(1)}},
		"an account in a time":      {record.Query{Tenant: tenant, Accounts: []identity.Ref{one}, Since: at(61 * time.Second)}, []record.Record{audit}},
		"two accounts":              {record.Query{Tenant: tenant, Accounts: []identity.Ref{one, person(2).Accounts[0].Ref}}, []record.Record{aSignIn(2), audit, aSignIn(1)}},
		"a name is not an account":  {record.Query{Tenant: tenant, Accounts: []identity.Ref{{SAM: "ada", Domain: "corp"}}, Weak: false}, []record.Record{weak}},
		"strong beats weak":         {record.Query{Tenant: tenant, Accounts: []identity.Ref{{SID: "S-1-5-21-1-2-3-4", SAM: "ada", Domain: "corp"}}}, nil},
		"weak when asked for":       {record.Query{Tenant: tenant, Accounts: []identity.Ref{{SID: "S-1-5-21-1-2-3-4", SAM: "ada", Domain: "corp"}}, Weak: true}, []record.Record{weak}},
		"nobody":                    {record.Query{Tenant: tenant, Accounts: []identity.Ref{{DisplayName: "Ada"}}}, nil},
		"an address":                {record.Query{Tenant: tenant, IP: "203.0.113.7"}, []record.Record{aSignIn(2), aSignIn(1)}},
		"a session":                 {record.Query{Tenant: tenant, Session: "session-1"}, []record.Record{aSignIn(1)}},
		"a source":                  {record.Query{Sources: []record.Source{record.DirectoryAudit, record.Logon}}, []record.Record{audit, weak}},
		"a type":                    {record.Query{Types: []string{"Add member to role"}}, []record.Record{audit}},
		"a state":                   {record.Query{States: []string{"healthy"}}, []record.Record{sensor}},
		"one thing":                 {record.Query{ExternalID: "logon-1"}, []record.Record{weak}},
		"a time":                    {record.Query{Tenant: tenant, Since: at(time.Minute), Until: at(2 * time.Minute)}, []record.Record{audit, aSignIn(1)}},
	} {
		same(t, what, c.want, findRecords(t, p, c.q))
	}
	var paged []record.Record
	for q := (record.Query{Limit: 2}); ; {
		page, err := p.Records.Records(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		paged = append(paged, page.Records...)
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	same(t, "page by page", findRecords(t, p, record.Query{}), paged)
	for _, q := range []record.Query{{After: "nonsense"}, {Accounts: []identity.Ref{one}}} {
		_, err := p.Records.Records(t.Context(), q)
		wantKind(t, fmt.Sprintf("%+v", q), err, fault.Invalid)
	}
}

// anyBatches puts versions of some records in any order and any division into
// batches: what is kept is always the newest of each.
func anyBatches(t *testing.T, open func(*testing.T) Ports) {
	p := open(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++ // rounds share the store; each has ids of its own
		var versions []record.Record
		newest := map[string]record.Record{}
		for range rapid.IntRange(1, 12).Draw(rt, "versions") {
			r := aSignIn(rapid.IntRange(1, 3).Draw(rt, "which"))
			r.ExternalID = fmt.Sprintf("round-%d-%s", round, r.ExternalID)
			r.Session = fmt.Sprintf("round-%d", round)
			r.Risk = &record.Risk{
				State:      rapid.SampledFrom([]signal.State{"", signal.StateAtRisk, signal.StateRemediated}).Draw(rt, "state"),
				Aggregated: rapid.SampledFrom([]signal.Level{signal.LevelLow, signal.LevelHigh}).Draw(rt, "level"),
			}
			versions = append(versions, r)
			if old, ok := newest[r.ExternalID]; !ok || r.Newer(old) {
				newest[r.ExternalID] = r
			}
		}
		for rest := rapid.Permutation(versions).Draw(rt, "order"); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
			putRecords(t, p, rest[:n]...)
			rest = rest[n:]
		}
		got := findRecords(t, p, record.Query{Tenant: tenant, Session: fmt.Sprintf("round-%d", round)})
		if len(got) != len(newest) {
			rt.Fatalf("%d records, want %d", len(got), len(newest))
		}
		for _, r := range got {
			same(t, r.ExternalID, newest[r.ExternalID], r)
		}
	})
}

func feeds(t *testing.T, open func(*testing.T) Ports) {
	t.Run("KeptAndDropped", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		a := connector.FeedState{Tenant: tenant, Stream: "a.stream", Interval: time.Minute, Since: start, Success: start, Silent: true, SilentAt: at(time.Hour), Failure: "cut"}
		b := connector.FeedState{Tenant: tenant, Stream: "b.stream/one", Source: "b.stream", Since: start}
		other := connector.FeedState{Tenant: elsewhere, Stream: "a.stream", Since: start}
		put := func(list ...connector.FeedState) {
			t.Helper()
			update(t, p, func(tx ingest.Tx) error {
				for _, f := range list {
					if err := tx.PutFeed(f); err != nil {
						return err
					}
				}
				return nil
			})
		}
		put(b, other, a)
		a.Silent, a.SilentAt = false, time.Time{}
		put(a)
		for tn, want := range map[identity.Tenant][]connector.FeedState{tenant: {a, b}, elsewhere: {other}, "": {a, b, other}} {
			got, err := p.Desk.Feeds(t.Context(), tn)
			if err != nil {
				t.Fatal(err)
			}
			same(t, fmt.Sprintf("feeds of %q", tn), want, got)
		}
		update(t, p, func(tx ingest.Tx) error {
			got, err := tx.Feeds(tenant)
			same(t, "inside a transaction", []connector.FeedState{a, b}, got)
			for _, n := range []connector.Name{"b.stream/one", "never.was"} {
				if err == nil {
					err = tx.DropFeed(tenant, n)
				}
			}
			return err
		})
		got, err := p.Desk.Feeds(t.Context(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "after one was dropped", []connector.FeedState{a}, got)
	})
}
