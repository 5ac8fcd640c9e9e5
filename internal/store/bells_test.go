package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/store"
)

const tenant identity.Tenant = "00000000-0000-4000-8000-000000000001"

// seed stores the n-th identity with a case and a run that is due at a time.
func seed(t testing.TB, db *store.DB, n int, due time.Time) (identity.Identity, casefile.Case, run.Run) {
	t.Helper()
	now := time.Now().UTC()
	i := identity.Identity{
		Tenant: tenant, ID: identity.ID(fmt.Sprintf("idn_%04d", n)), Name: fmt.Sprint("Person ", n), Kind: identity.KindPerson, CreatedAt: now, UpdatedAt: now,
		Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.EntraID, ObjectID: fmt.Sprintf("00000000-0000-4000-9000-%012d", n)}}},
	}
	c := casefile.Case{Tenant: tenant, ID: casefile.ID(fmt.Sprintf("case_%04d", n)), Identity: i.ID, Name: i.Name, Status: casefile.Open, OpenedAt: now, UpdatedAt: now}
	r := run.Run{Tenant: tenant, ID: run.ID(fmt.Sprintf("run_%04d", n)), Case: c.ID, Identity: i.ID, Playbook: playbook.Ref{ID: "p"},
		State: run.Acting, StartedAt: now, DueAt: due}
	err := db.Ingest().Update(t.Context(), func(tx ingest.Tx) (err error) {
		if i, err = tx.PutIdentity(i); err != nil {
			return err
		}
		if c, err = tx.PutCase(c); err != nil {
			return err
		}
		r, err = tx.PutRun(r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return i, c, r
}

func anAction(i identity.Identity, r run.Run, step string) action.Action {
	return action.Action{Tenant: tenant, ID: action.ID("act_" + string(r.ID) + step), Run: string(r.ID), Case: string(r.Case), Identity: i.ID, Step: step,
		Name: "entra.user.disable", Account: i.Accounts[0].Ref, Effect: string(r.ID) + step, State: action.Approved, RequestedAt: r.StartedAt}
}

// A tower collects what rings.
type tower struct {
	mu    sync.Mutex
	rings map[string]int
	times map[string]time.Time
	bell  chan struct{}
}

func newTower() *tower {
	return &tower{rings: map[string]int{}, times: map[string]time.Time{}, bell: make(chan struct{}, 1000)}
}

func (w *tower) ring(_ context.Context, kind, key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rings[kind+" "+key]++
	w.times[kind+" "+key] = time.Now()
	w.bell <- struct{}{}
	return nil
}

// await waits until every one of the bells has rung.
func (w *tower) await(t *testing.T, bells ...string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		w.mu.Lock()
		missing := ""
		for _, b := range bells {
			if w.rings[b] == 0 {
				missing = b
			}
		}
		w.mu.Unlock()
		if missing == "" {
			return
		}
		select {
		case <-w.bell:
		case <-deadline:
			t.Fatalf("%s did not ring; %v did", missing, w.rings)
		}
	}
}

func start(t *testing.T, db *store.DB, b store.Bells) {
	t.Helper()
	stop, err := db.StartBells(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := stop(ctx); err != nil {
			t.Errorf("stop bells: %v", err)
		}
	})
}

func TestBellsRing(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, w := opened(t, dsn(t), store.Options{}), newTower()
			begun := time.Now()
			start(t, db, store.Bells{Ring: w.ring, Periodic: []store.Periodic{{Name: "poll", Every: 200 * time.Millisecond}}})
			due := time.Now().Add(time.Second)
			i, c, r := seed(t, db, 1, due)
			err := db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
				for n := range 5 {
					if _, err := tx.PutAction(anAction(i, r, fmt.Sprint("s", n))); err != nil {
						return err
					}
				}
				_, err := tx.PutApproval(approval.Request{Tenant: tenant, ID: "apr_1", Run: string(r.ID), Case: string(c.ID), Identity: i.ID,
					State: approval.Pending, AskedAt: time.Now(), ExpiresAt: due})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			runBell, dispatchBell := "run "+string(tenant)+"/run_0001", "dispatch "+string(tenant)
			w.await(t, runBell, "approval "+string(tenant)+"/apr_1", dispatchBell, "periodic poll")
			w.mu.Lock()
			defer w.mu.Unlock()
			if at := w.times[runBell]; at.Before(due) {
				t.Errorf("the run's bell rang %v early", due.Sub(at))
			}
			if w.rings[dispatchBell] != 1 {
				t.Errorf("five actions rang %d bells", w.rings[dispatchBell])
			}
			if tn, id := store.SplitKey(string(tenant) + "/run_0001"); tn != tenant || id != "run_0001" {
				t.Errorf("split: %q %q", tn, id)
			}
			t.Logf("run bell %v late; periodic first after %v", w.times[runBell].Sub(due), w.times["periodic poll"].Sub(begun))
		})
	}
}

func TestAPeriodicIsRungByOneAtATime(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dsn(t)
			dbs := []*store.DB{opened(t, url, store.Options{})}
			if name == "PostgreSQL" { // a second process
				dbs = append(dbs, opened(t, url, store.Options{}))
			}
			var mu sync.Mutex
			inside, most, turns := 0, 0, 0
			turned := make(chan struct{}, 100)
			for _, db := range dbs {
				start(t, db, store.Bells{Periodic: []store.Periodic{{Name: "poll", Every: 100 * time.Millisecond}},
					Ring: func(ctx context.Context, _, _ string) error {
						mu.Lock()
						inside++
						most = max(most, inside)
						mu.Unlock()
						select { // longer than the period
						case <-ctx.Done():
						case <-time.After(350 * time.Millisecond):
						}
						mu.Lock()
						inside--
						turns++
						mu.Unlock()
						turned <- struct{}{}
						return nil
					}})
			}
			for range 3 {
				select {
				case <-turned:
				case <-time.After(30 * time.Second):
					t.Fatal("it does not turn")
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if most != 1 {
				t.Errorf("%d at a time", most)
			}
		})
	}
}

// River's rows are derived: without them every due thing is still found.
func TestWithoutRiverNothingIsLost(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dsn(t)
			db := opened(t, url, store.Options{})
			now := time.Now().UTC()
			i, c, r := seed(t, db, 1, now)
			err := db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
				if _, err := tx.PutAction(anAction(i, r, "a")); err != nil {
					return err
				}
				_, err := tx.PutApproval(approval.Request{Tenant: tenant, ID: "apr_1", Run: string(r.ID), Case: string(c.ID), Identity: i.ID,
					State: approval.Pending, AskedAt: now, ExpiresAt: now})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if n := riverJobs(t, url, true); n != 3 {
				t.Errorf("%d bells were waiting, want a run's, an approval's and a dispatch's", n)
			}
			if n := riverJobs(t, url, false); n != 0 {
				t.Fatalf("%d bells are left", n)
			}
			keys, err := db.Runs().DueRuns(t.Context(), now, 10)
			if err != nil || len(keys) != 1 {
				t.Errorf("due runs: %v, %v", keys, err)
			}
			asks, err := db.Runs().DueApprovals(t.Context(), now, 10)
			if err != nil || len(asks) != 1 {
				t.Errorf("due approvals: %v, %v", asks, err)
			}
			ready, err := db.Dispatch().Ready(t.Context(), tenant, []action.Name{"entra.user.disable"}, now, 10)
			if err != nil || len(ready) != 1 {
				t.Errorf("ready actions: %v, %v", ready, err)
			}
		})
	}
}

func TestNudgesFollowTheCommit(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := map[store.Topic]int{}
			db := opened(t, dsn(t), store.Options{Nudge: func(n store.Topic) { got[n]++ }})
			i, _, r := seed(t, db, 1, time.Time{})
			clear(got)
			boom := fmt.Errorf("boom")
			for _, fail := range []error{boom, nil} {
				err := db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
					for _, step := range []string{"a", "b"} {
						if _, err := tx.PutAction(anAction(i, r, step)); err != nil {
							return err
						}
					}
					return fail
				})
				if err != fail {
					t.Fatal(err)
				}
				if fail != nil && len(got) != 0 {
					t.Errorf("nudged without a commit: %v", got)
				}
			}
			for _, want := range []store.Topic{{Kind: store.TopicRun, Tenant: tenant, ID: string(r.ID)}, {Kind: store.TopicDispatch, Tenant: tenant}} {
				if got[want] != 1 {
					t.Errorf("%v: nudged %d times", want, got[want])
				}
			}
		})
	}
}
