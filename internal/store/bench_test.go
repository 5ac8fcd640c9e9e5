package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/internal/store"
)

// BenchmarkSmallUpdate is one case read and put: the smallest durable change.
// The scratch PostgreSQL runs without fsync; its figure is that of the work.
func BenchmarkSmallUpdate(b *testing.B) {
	for name, dsn := range dialects {
		b.Run(name, func(b *testing.B) {
			db := opened(b, dsn(b), store.Options{})
			_, c, _ := seed(b, db, 1, time.Time{})
			for b.Loop() {
				err := db.Ingest().Update(b.Context(), func(tx ingest.Tx) error {
					c, err := tx.Case(tenant, c.ID)
					if err != nil {
						return err
					}
					c.Signals++
					_, err = tx.PutCase(c)
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
		})
	}
}

// BenchmarkIngest is what one new signal about a new person commits: identity,
// signal, assessment, case, run with its plan, two actions, two audit entries,
// cursor, and the dispatch bell.
func BenchmarkIngest(b *testing.B) {
	for name, dsn := range dialects {
		for _, size := range []int{1, 20} {
			b.Run(fmt.Sprintf("%s/page=%d", name, size), func(b *testing.B) {
				db := opened(b, dsn(b), store.Options{})
				n := 0
				for b.Loop() {
					err := db.Ingest().Update(b.Context(), func(tx ingest.Tx) error {
						for range size {
							n++
							if err := takeSignal(tx, n); err != nil {
								return err
							}
						}
						return tx.PutCursor(tenant, "entraid.riskDetections", "c", time.Now())
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "signals/s")
			})
		}
	}
}

func takeSignal(tx ingest.Tx, n int) error {
	now := time.Now().UTC()
	ref := identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: fmt.Sprintf("00000000-0000-4000-9000-%012d", n), UPN: fmt.Sprintf("p%d@corp.example", n)}
	if _, err := tx.IdentitiesByKeys(tenant, ref.Keys()); err != nil {
		return err
	}
	i, err := tx.PutIdentity(identity.Identity{Tenant: tenant, Name: ref.UPN, Kind: identity.KindPerson, Accounts: []identity.Account{{Ref: ref}}, CreatedAt: now, UpdatedAt: now})
	if err != nil {
		return err
	}
	raw, err := json.Marshal(map[string]any{"id": n, "filler": fmt.Sprintf("%01500d", n)})
	if err != nil {
		return err
	}
	s := signal.Signal{Tenant: tenant, Source: signal.RiskDetection, ExternalID: fmt.Sprint("d", n), Type: "leakedCredentials", Level: signal.LevelHigh,
		State: signal.StateAtRisk, Subject: ref, ActivityAt: now, DetectedAt: now, UpdatedAt: now, Raw: raw}
	if _, err := tx.PutSignal(s, i.ID); err != nil {
		return err
	}
	all, err := tx.SignalsOf(tenant, i.ID)
	if err != nil || len(all) != 1 {
		return fmt.Errorf("%d signals: %w", len(all), err)
	}
	if err := tx.PutAssessment(risk.Assessment{Tenant: tenant, Identity: i.ID, Level: signal.LevelHigh, Score: 80, At: now}); err != nil {
		return err
	}
	c, err := tx.PutCase(casefile.Begin(i, now))
	if err != nil {
		return err
	}
	r, err := tx.PutRun(run.Run{Tenant: tenant, Case: c.ID, Identity: i.ID, Playbook: playbook.Ref{ID: "p"}, State: run.Acting, StartedAt: now,
		Plan: &playbook.Plan{Hash: "h", Steps: make([]playbook.Step, 3)}})
	if err != nil {
		return err
	}
	for _, step := range []string{"a", "b"} {
		a := anAction(i, r, step)
		a.ID = ""
		if _, err := tx.PutAction(a); err != nil {
			return err
		}
		if err := tx.Audit(audit.Entry{Tenant: tenant, At: now, Kind: audit.RunStarted, Run: string(r.ID), Text: "x"}); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkIntents is dispatch's group commit: ten intents with their audit
// entries in one transaction, gate reads included.
func BenchmarkIntents(b *testing.B) {
	for name, dsn := range dialects {
		b.Run(name, func(b *testing.B) {
			db := opened(b, dsn(b), store.Options{})
			const set = 10
			var as []action.Action
			for n := range set {
				i, _, r := seed(b, db, n, time.Time{})
				a := anAction(i, r, "a")
				err := db.Ingest().Update(b.Context(), func(tx ingest.Tx) (err error) { a, err = tx.PutAction(a); return err })
				if err != nil {
					b.Fatal(err)
				}
				as = append(as, a)
			}
			for b.Loop() {
				err := db.Dispatch().Update(b.Context(), func(tx dispatch.Tx) error {
					if _, err := tx.Stop(tenant); err != nil {
						return err
					}
					if _, err := tx.Disruptions(tenant, dispatch.Reach{Names: []action.Name{"entra.user.disable"}, Since: time.Now().Add(-time.Hour)}); err != nil {
						return err
					}
					for n, a := range as {
						if _, err := tx.Run(tenant, run.ID(a.Run)); err != nil {
							return err
						}
						if _, err := tx.Identity(tenant, a.Identity); err != nil {
							return err
						}
						a.State, a.Attempt, a.IntentAt = action.Running, a.Attempt+1, time.Now()
						a, err := tx.PutAction(a)
						if err != nil {
							return err
						}
						as[n] = a
						if err := tx.Audit(audit.Entry{Tenant: tenant, At: a.IntentAt, Kind: audit.ActionIntent, Action: string(a.ID), Text: "x"}); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(set*b.N)/b.Elapsed().Seconds(), "intents/s")
		})
	}
}

// BenchmarkBell is BenchmarkSmallUpdate for a run, without and with a bell that
// is new each time: what River costs the write path.
func BenchmarkBell(b *testing.B) {
	for name, dsn := range dialects {
		for _, rings := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/bell=%v", name, rings), func(b *testing.B) {
				db := opened(b, dsn(b), store.Options{})
				_, _, r := seed(b, db, 1, time.Time{})
				due := time.Now().Add(time.Hour)
				for b.Loop() {
					if rings {
						due = due.Add(time.Second)
						r.DueAt = due
					}
					err := db.Runs().Update(b.Context(), func(tx run.Tx) (err error) { r, err = tx.PutRun(r); return err })
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
			})
		}
	}
}

// BenchmarkRecords is what one page of new sign-ins commits, a hundred at a time as
// ingest does, and the same page again.
func BenchmarkRecords(b *testing.B) {
	for name, dsn := range dialects {
		for _, again := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/again=%v", name, again), func(b *testing.B) {
				db := opened(b, dsn(b), store.Options{})
				raw := json.RawMessage(fmt.Sprintf(`{"padding":%q}`, strings.Repeat("x", 3000))) // a sign-in is about 3 KB
				at := time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)
				n := 0
				page := func() {
					list := make([]record.Record, 100)
					for k := range list {
						if n++; again {
							n = k
						}
						list[k] = record.Record{
							Tenant: tenant, Source: record.SignIn, ExternalID: fmt.Sprint(n), Type: "interactiveUser", At: at.Add(time.Duration(n) * time.Millisecond),
							Subject: identity.Ref{ObjectID: fmt.Sprintf("a0000000-0000-4000-8000-%012d", n%5000)}, IP: fmt.Sprintf("203.0.113.%d", n%250),
							Session: fmt.Sprint(n % 9000), Raw: raw,
						}
					}
					if err := db.Ingest().Update(b.Context(), func(tx ingest.Tx) error { _, err := tx.PutRecords(list, at); return err }); err != nil {
						b.Fatal(err)
					}
				}
				page()
				for b.Loop() {
					page()
				}
				b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}
