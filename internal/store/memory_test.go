package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/internal/store"
)

// A walker does things to a few people of one tenant. What it does depends on
// nothing but what it reads and on its own arguments.
type walker struct {
	tenant identity.Tenant
	prefix string
	seq    int
	made   func(tx ingest.Tx, id string) // is told of ids that are new
}

var walkStart = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

func (w *walker) now() time.Time { return walkStart.Add(time.Duration(w.seq) * time.Second) }

func (w *walker) ref(n int) identity.Ref {
	return identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: fmt.Sprintf("00000000-0000-4000-9000-%012d", n), UPN: fmt.Sprintf("p%d@corp.example", n)}
}

func (w *walker) id(n int) identity.ID { return identity.ID(fmt.Sprintf("idn_%s_%d", w.prefix, n)) }

// A deed is one thing done, with everything it needs drawn beforehand: it may be
// done in two places.
type deed struct {
	name    string
	seq     int
	n, m, k int
}

func (w *walker) do(tx ingest.Tx, d deed) (any, error) {
	w.seq = d.seq
	known, err := tx.Identity(w.tenant, w.id(d.n))
	if d.name == "person" {
		return w.person(tx, d)
	}
	if errors.Is(err, fault.NotFound) {
		return "nobody", nil
	}
	if err != nil {
		return nil, err
	}
	switch d.name {
	case "signal":
		return tx.PutSignal(signal.Signal{
			Tenant: w.tenant, Source: signal.RiskDetection, ExternalID: fmt.Sprint("d", d.m), Type: "leakedCredentials", Level: signal.LevelHigh, State: signal.StateAtRisk,
			Subject: w.ref(d.n), ActivityAt: walkStart.Add(time.Duration(d.k) * time.Minute), UpdatedAt: walkStart.Add(time.Duration(d.k) * time.Hour), Raw: json.RawMessage(`{"a":[1,{"raw":2}]}`),
		}, known.ID)
	case "risk":
		return tx.PutAccountRisk(signal.AccountRisk{Tenant: w.tenant, Subject: w.ref(d.m), Level: signal.LevelHigh, State: signal.StateAtRisk, UpdatedAt: walkStart.Add(time.Duration(d.k) * time.Hour)}, known.ID)
	case "assess":
		return nil, tx.PutAssessment(risk.Assessment{Tenant: w.tenant, Identity: known.ID, Level: signal.LevelHigh, Score: d.k, At: w.now()})
	case "case", "verdict", "run", "move", "act", "withdraw":
		return w.work(tx, known, d)
	}
	return w.look(tx, d.n)
}

// person makes a person, or gives or takes an on-premises account.
func (w *walker) person(tx ingest.Tx, d deed) (any, error) {
	owners, err := tx.IdentitiesByKeys(w.tenant, w.ref(d.n).Keys())
	if err != nil {
		return nil, err
	}
	i := identity.Identity{Tenant: w.tenant, ID: w.id(d.n), Kind: identity.KindPerson, Accounts: []identity.Account{{Ref: w.ref(d.n)}}, CreatedAt: walkStart}
	if len(owners) > 0 {
		i = owners[0]
	} else {
		w.made(tx, string(i.ID))
	}
	i.Name, i.UpdatedAt = fmt.Sprint("Person ", d.k), w.now()
	sid := identity.Key{Kind: identity.KeySID, Value: fmt.Sprint("S-1-5-21-1-2-3-", 1000+d.m)}
	taken, err := tx.IdentitiesByKeys(w.tenant, []identity.Key{sid})
	if err != nil {
		return nil, err
	}
	switch {
	case len(i.Accounts) > 1:
		i.Accounts = i.Accounts[:1]
	case len(taken) == 0 && d.k%2 == 0:
		i.Accounts = append(i.Accounts, identity.Account{Ref: identity.Ref{Provider: identity.ActiveDirectory, Kind: identity.KindPerson, SID: sid.Value}})
	}
	return tx.PutIdentity(i)
}

// work does something about the person's open case.
func (w *walker) work(tx ingest.Tx, i identity.Identity, d deed) (any, error) {
	c, open, err := tx.OpenCase(w.tenant, i.ID)
	if err != nil {
		return nil, err
	}
	if !open {
		if d.name != "case" {
			return "no case", nil
		}
		id := fmt.Sprintf("case_%s_%d", w.prefix, d.seq)
		w.made(tx, id)
		return tx.PutCase(casefile.Case{Tenant: w.tenant, ID: casefile.ID(id), Identity: i.ID, Name: i.Name, Status: casefile.Open, OpenedAt: w.now(), UpdatedAt: w.now()})
	}
	runs, err := tx.RunsOfCase(w.tenant, c.ID)
	if err != nil {
		return nil, err
	}
	switch d.name {
	case "case":
		c.Score, c.UpdatedAt = d.k, w.now()
		return tx.PutCase(c)
	case "verdict":
		if c, err = c.Decide(casefile.Verdict{Word: casefile.Benign, By: "o", Reason: "expected", At: w.now()}); err != nil {
			return nil, err
		}
		return tx.PutCase(c)
	case "run":
		id := fmt.Sprintf("run_%s_%d", w.prefix, d.seq)
		w.made(tx, id)
		return tx.PutRun(run.Run{
			Tenant: w.tenant, ID: run.ID(id), Case: c.ID, Identity: i.ID, Playbook: playbook.Ref{ID: fmt.Sprint("p", d.m%2)},
			OnceKey: string(i.ID), State: run.Acting, StartedAt: w.now(), Plan: &playbook.Plan{Hash: "h"},
		})
	}
	if len(runs) == 0 {
		return "no run", nil
	}
	r := runs[d.m%len(runs)]
	if d.name == "move" {
		r.Reason = fmt.Sprint("reason ", d.seq)
		return tx.PutRun(r)
	}
	if d.name == "withdraw" {
		actions, err := tx.ActionsOfRun(w.tenant, r.ID)
		if err != nil || len(actions) == 0 || actions[len(actions)-1].State != action.Approved {
			return actions, err
		}
		a, err := actions[len(actions)-1].Move(action.Cancelled, "withdrawn", w.now())
		if err != nil {
			return nil, err
		}
		return tx.PutAction(a)
	}
	effect := fmt.Sprint(w.prefix, " effect ", d.k%3)
	if old, ok, err := tx.ActiveEffect(w.tenant, effect, time.Time{}); err != nil || ok {
		return old, err
	}
	return tx.PutAction(action.Action{
		Tenant: w.tenant, ID: action.ID(fmt.Sprintf("act_%s_%d", w.prefix, d.seq)), Run: string(r.ID), Case: string(c.ID), Identity: i.ID, Step: fmt.Sprint("s", d.seq),
		Name: "entra.user.disable", Account: w.ref(d.n), Effect: effect, State: action.Approved, RequestedAt: w.now(),
	})
}

// look reads everything there is about a person.
func (w *walker) look(tx ingest.Tx, n int) (any, error) {
	out := map[string]any{}
	var errs []error
	note := func(what string, v any, err error) {
		out[what] = v
		if err != nil && !errors.Is(err, fault.NotFound) {
			errs = append(errs, err)
		}
	}
	id := w.id(n)
	i, err := tx.Identity(w.tenant, id)
	note("identity", i, err)
	owners, err := tx.IdentitiesByKeys(w.tenant, append(i.Keys(), identity.Key{Kind: identity.KeySID, Value: "S-1-5-21-1-2-3-1001"}))
	note("owners", owners, err)
	signals, err := tx.SignalsOf(w.tenant, id)
	note("signals", signals, err)
	risks, err := tx.AccountRisksOf(w.tenant, id)
	note("risks", risks, err)
	a, err := tx.Assessment(w.tenant, id)
	note("assessment", a, err)
	c, open, err := tx.OpenCase(w.tenant, id)
	note("case", c, err)
	v, judged, err := tx.LastVerdict(w.tenant, id)
	note("verdict", v, err)
	out["open"], out["judged"] = open, judged
	runs, err := tx.RunsOfCase(w.tenant, c.ID)
	note("runs", runs, err)
	for _, p := range []string{"p0", "p1"} {
		r, _, err := tx.RecentRun(w.tenant, p, string(id), walkStart)
		note("recent "+p, r, err)
	}
	for _, r := range runs {
		actions, err := tx.ActionsOfRun(w.tenant, r.ID)
		note("actions of "+string(r.ID), actions, err)
	}
	return out, errors.Join(errs...)
}

// ahead says beforehand what will be asked, which must change nothing.
func (w *walker) ahead(tx ingest.Tx, people int) error {
	var refs []identity.Ref
	var ids []identity.ID
	var signals []signal.Key
	for n := range people {
		refs, ids = append(refs, w.ref(n)), append(ids, w.id(n))
		signals = append(signals, signal.Key{Tenant: w.tenant, Source: signal.RiskDetection, ExternalID: fmt.Sprint("d", n)})
	}
	if err := tx.Ahead(w.tenant, refs, signals); err != nil {
		return err
	}
	if err := tx.AheadOf(w.tenant, ids); err != nil {
		return err
	}
	var actions []action.Action
	for n := range people {
		c, open, err := tx.OpenCase(w.tenant, w.id(n))
		if err != nil || !open {
			continue
		}
		runs, err := tx.RunsOfCase(w.tenant, c.ID)
		if err != nil {
			return err
		}
		ids := []run.ID{"run_none"}
		for _, r := range runs {
			ids = append(ids, r.ID)
		}
		if err := tx.AheadOfRuns(w.tenant, ids); err != nil {
			return err
		}
		actions = append(actions, action.Action{ID: action.ID(fmt.Sprint("act_", n)), Run: "run_none", Identity: c.Identity})
	}
	return tx.(dispatch.Tx).AheadOfActions(w.tenant, actions)
}

// A change of many deeds, with what waits and what is remembered and what was read
// ahead, does and sees the same as each deed in a transaction of its own.
func TestAMemoryChangesNothing(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole, single := opened(t, dsn(t), store.Options{}), opened(t, dsn(t), store.Options{})
			const people = 2
			names := []string{"person", "person", "signal", "signal", "risk", "assess", "case", "case", "verdict", "run", "run", "move", "act", "act", "act", "withdraw", "look", "look", "ahead"}
			checks := 0
			rapid.Check(t, func(rt *rapid.T) {
				checks++
				if name == "PostgreSQL" && checks > 15 {
					return // each takes a hundred transactions there
				}
				w := &walker{tenant: identity.Tenant(fmt.Sprintf("00000000-0000-4000-8000-%012d", checks)), prefix: fmt.Sprint(checks)}
				seq := 0
				for range rapid.IntRange(1, 4).Draw(rt, "changes") {
					var deeds []deed
					for range rapid.IntRange(5, 25).Draw(rt, "deeds") {
						seq++
						deeds = append(deeds, deed{rapid.SampledFrom(names).Draw(rt, "what"), seq,
							rapid.IntRange(0, people-1).Draw(rt, "who"), rapid.IntRange(0, 3).Draw(rt, "which"), rapid.IntRange(0, 5).Draw(rt, "how")})
					}
					var got []any
					w.made = func(tx ingest.Tx, id string) { store.MadeHere(tx, id) }
					err := whole.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
						got = nil
						for _, d := range deeds {
							var v any
							var err error
							if d.name == "ahead" {
								err = w.ahead(tx, people)
							} else {
								v, err = w.do(tx, d)
							}
							if err != nil {
								return fmt.Errorf("%+v: %w", d, err)
							}
							got = append(got, v)
						}
						return nil
					})
					if err != nil {
						rt.Fatal(err)
					}
					w.made = func(ingest.Tx, string) {}
					for n, d := range deeds {
						if d.name == "ahead" {
							continue
						}
						var want any
						err := single.Ingest().Update(t.Context(), func(tx ingest.Tx) (err error) { want, err = w.do(tx, d); return err })
						if err != nil {
							rt.Fatalf("%+v alone: %v", d, err)
						}
						if diff := cmp.Diff(want, got[n], cmpopts.EquateEmpty()); diff != "" {
							rt.Fatalf("%+v (-alone +together):\n%s", d, diff)
						}
					}
				}
			})
		})
	}
}
