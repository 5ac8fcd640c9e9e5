package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// prunes holds a store to its retention: what is older than asked goes, bounded, and
// nothing else does.
func prunes(t *testing.T, open func(*testing.T) Ports) {
	p := open(t)
	scene(t, p, 2)
	old, now := start, at(100*24*time.Hour)
	put(t, p, under(1, "a", action.Verified, old, time.Time{}), under(2, "a", action.Verified, now, time.Time{}))
	for n := range 7 {
		when := old
		if n >= 5 {
			when = now
		}
		update(t, p, func(tx ingest.Tx) error {
			if _, err := tx.PutRecords([]record.Record{aSignIn(n)}, when); err != nil {
				return err
			}
			return tx.PutReject(tenant, "a.stream", connector.Reject{Reason: fmt.Sprint(n), Raw: []byte("7")}, when)
		})
	}
	sensor := record.Record{Tenant: tenant, Source: record.Sensor, ExternalID: "s", State: "healthy", At: old}
	for _, when := range []time.Time{old, now} { // still told of
		update(t, p, func(tx ingest.Tx) error { _, err := tx.PutRecords([]record.Record{sensor}, when); return err })
	}
	for n, when := range []time.Time{old, at(time.Minute), now} { // two versions behind the current one
		s := aSignal(1, 1)
		s.UpdatedAt, s.Detail = when, fmt.Sprint(n)
		r := signal.AccountRisk{Tenant: tenant, Subject: s.Subject, Level: signal.LevelHigh, UpdatedAt: when}
		update(t, p, func(tx ingest.Tx) error {
			if _, err := tx.PutSignal(s, person(1).ID); err != nil {
				return err
			}
			_, err := tx.PutAccountRisk(r, person(1).ID)
			return err
		})
	}
	prune := func(records, rejects, versions, intents time.Time, want [4]int) {
		t.Helper()
		got, err := p.Prune(t.Context(), [4]time.Time{records, rejects, versions, intents}, 3)
		if err != nil || got != want {
			t.Errorf("pruned %v, %v, want %v", got, err, want)
		}
	}
	never, cut := time.Time{}, at(24*time.Hour)
	prune(never, never, never, never, [4]int{})
	prune(start, start, start, start, [4]int{}) // nothing is from before it
	prune(cut, cut, cut, cut, [4]int{3, 3, 4, 1})
	prune(cut, cut, cut, cut, [4]int{2, 2, 0, 0})
	prune(cut, cut, cut, cut, [4]int{})

	same(t, "records that stayed", []record.Record{aSignIn(6), aSignIn(5), sensor}, findRecords(t, p, record.Query{Tenant: tenant}))
	same(t, "records of somebody whose record went", []record.Record{},
		findRecords(t, p, record.Query{Tenant: tenant, Accounts: []identity.Ref{aSignIn(1).Subject}}))
	same(t, "a record that went comes again", []ingest.Put{ingest.PutNew}, putRecords(t, p, aSignIn(1)))
	update(t, p, func(tx ingest.Tx) error {
		list, err := tx.SignalsOf(tenant, person(1).ID)
		if len(list) != 1 || list[0].Detail != "2" {
			t.Errorf("the current signal: %+v", list)
		}
		return err
	})
	err := p.Dispatch.Update(t.Context(), func(tx dispatch.Tx) error {
		got, err := tx.Disruptions(tenant, dispatch.Reach{Names: []action.Name{"entra.user.disable"}, Since: old})
		if got.Tenant != 1 {
			t.Errorf("%d intents are counted, want the one that stayed", got.Tenant)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
