package app_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/internal/store"
	"github.com/seed-f47efad2/cordon/internal/store/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

const disableAtOnce = `playbook: v1
id: at-once
version: 1.0.0
title: Disable at once
owner: identity-response
attack: [T1078]
mode: enforce
trigger:
  on: [signal.received]
  when: signal.open && level.at_least(signal.level, "high")
  once_per: { key: identity.id, window: 1h }
steps:
  - {id: disable, uses: identity.disable@1, contains: true}
`

// everybody knows the facts of any account: an enabled member of the cloud alone.
type everybody struct{ now time.Time }

func (e everybody) Facts(_ context.Context, refs []identity.Ref) ([]connector.AccountFacts, error) {
	var out []connector.AccountFacts
	yes, no := true, false
	for _, r := range refs {
		out = append(out, connector.AccountFacts{Ref: r, Facts: identity.Facts{AsOf: e.now, Found: &yes, Enabled: &yes, UserType: "Member", Synced: &no}})
	}
	return out, nil
}

func highSignals(t identity.Tenant, from, n int, now time.Time) []signal.Signal {
	var out []signal.Signal
	for i := from; i < from+n; i++ {
		out = append(out, signal.Signal{
			Tenant: t, Source: signal.RiskDetection, ExternalID: fmt.Sprint("detection-", i), Type: "anomalousToken", Level: signal.LevelHigh, State: signal.StateAtRisk,
			Subject:    identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: fmt.Sprintf("00000000-0000-4000-9000-%012d", i), UPN: fmt.Sprintf("p%d@corp.example", i)},
			ActivityAt: now, DetectedAt: now, UpdatedAt: now, Raw: []byte(`{}`),
		})
	}
	return out
}

// What a page of signals and a set of intents cost in statements and, on
// PostgreSQL, in round trips: the figure that containment waits for, counted and
// not timed. The bounds are what it is now and a little; a change that needs more
// says why.
func TestAPageTakesFewStatements(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		dsn              func(t *testing.T) string
		page, set, trips int64 // statements for 20 signals, for 20 intents; round trips of both
	}{
		"SQLite":     {func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "cordon.db") }, 75, 56, 0},
		"PostgreSQL": {func(t *testing.T) string { return pgtest.New(t) }, 75, 56, 40},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := statementsApp(t, tc.dsn(t))
			db, now := a.Store(), time.Now().UTC()
			tenant := identity.Tenant("11111111-1111-4111-8111-111111111111")
			a.Pipeline().Lookup = func(identity.Tenant) connector.Lookup { return everybody{now} }
			take := func(from int) store.Stats {
				t.Helper()
				before := db.Stats()
				// Twenty and no more: the first transaction of a page holds ten, the second the rest.
				for part := range 2 {
					res, err := a.Pipeline().Take(t.Context(), tenant, "stream", connector.Page{Signals: highSignals(tenant, from+10*part, 10, now), Next: "c"})
					if err != nil || len(res.Runs) != 10 {
						t.Fatalf("%d runs, %v", len(res.Runs), err)
					}
				}
				return since(db.Stats(), before)
			}
			err := db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
				return tx.PutDirectory(tenant, connector.DirectoryFacts{AsOf: now, UsableGlobalAdmins: []string{"a", "b", "c"}})
			})
			if err != nil {
				t.Fatal(err)
			}
			take(0) // bells and statements that are made once
			page := take(100)
			set := writeIntents(t, db, tenant, now)
			t.Logf("20 signals: %+v; 20 intents: %+v", page, set)
			if page.Statements > tc.page || set.Statements > tc.set {
				t.Errorf("20 signals took %d statements, at most %d; 20 intents %d, at most %d", page.Statements, tc.page, set.Statements, tc.set)
			}
			if trips := page.RoundTrips + set.RoundTrips; trips > tc.trips {
				t.Errorf("20 signals and their intents took %d round trips, at most %d", trips, tc.trips)
			}
			if page.Repeated+set.Repeated > 0 {
				t.Errorf("%+v %+v: with nobody else about, something was repeated", page, set)
			}
		})
	}
}

func since(a, b store.Stats) store.Stats {
	return store.Stats{Transactions: a.Transactions - b.Transactions, Repeated: a.Repeated - b.Repeated, Statements: a.Statements - b.Statements, RoundTrips: a.RoundTrips - b.RoundTrips}
}

// writeIntents does with the store what dispatch does for twenty intents in one
// transaction.
func writeIntents(t *testing.T, db *store.DB, tenant identity.Tenant, now time.Time) store.Stats {
	t.Helper()
	names := []action.Name{"entra.user.disable"}
	ready, err := db.Dispatch().Ready(t.Context(), tenant, names, now.Add(time.Minute), 20)
	if err != nil || len(ready) != 20 {
		t.Fatalf("%d actions are ready, want 20 (%v)", len(ready), err)
	}
	before := db.Stats()
	err = db.Dispatch().Update(t.Context(), func(tx dispatch.Tx) error {
		if err := tx.AheadOfActions(tenant, ready); err != nil {
			return err
		}
		for n, r := range ready {
			a, err := tx.Action(tenant, r.ID)
			if err != nil {
				return err
			}
			if n == 0 {
				if _, err := tx.Disruptions(tenant, dispatch.Reach{Names: names, Since: now.Add(-time.Hour)}); err != nil {
					return err
				}
			}
			if _, err := tx.Fence(tenant); err != nil {
				return err
			}
			if _, err := tx.Stop(tenant); err != nil {
				return err
			}
			if _, err := tx.Directory(tenant); err != nil {
				return err
			}
			if _, err := tx.Run(tenant, run.ID(a.Run)); err != nil {
				return err
			}
			if _, err := tx.Identity(tenant, a.Identity); err != nil {
				return err
			}
			if a, err = a.Move(action.Running, "", now); err != nil {
				return err
			}
			a.Attempt, a.IntentAt = 1, now
			if _, err := tx.PutAction(a); err != nil {
				return err
			}
			if err := tx.Audit(audit.Entry{Tenant: tenant, At: now, Kind: audit.ActionIntent, Action: string(a.ID), Text: "x"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return since(db.Stats(), before)
}

func statementsApp(t *testing.T, dsn string) *app.App {
	t.Helper()
	folder := t.TempDir()
	private, _, err := audit.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := house{t: t, folder: folder}
	h.write("audit.key", private)
	h.write("books/at-once.yaml", disableAtOnce)
	h.write("cordon.yaml", fmt.Sprintf(`store: %s
playbooks: [books]
audit: {key: file:audit.key}
tenants:
  - tenant_id: 11111111-1111-4111-8111-111111111111
    client_id: 22222222-2222-4222-8222-222222222222
    credential: {secret: env:NOBODY_READS_THIS}
    mode: act
`, dsn))
	c, err := config.Load(filepath.Join(folder, "cordon.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Offline(t.Context(), app.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return a
}
