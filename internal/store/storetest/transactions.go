package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// putMore stores the rarer kinds of values.
func putMore(tx ingest.Tx, v any) error {
	switch v := v.(type) {
	case risk.Assessment:
		return tx.PutAssessment(v)
	case connector.DirectoryFacts:
		return tx.PutDirectory(tenant, v)
	case map[string]dispatch.Stop: // by tenant; ingest has no PutStop, the concrete transaction has
		s, ok := tx.(dispatch.Tx)
		if !ok {
			return errors.New("this transaction keeps no stop")
		}
		for t, stop := range v {
			if err := s.PutStop(tenantOf(t), stop); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("storetest: cannot store a %T", v)
}

func transactions(t *testing.T, open func(*testing.T) Ports) {
	t.Run("NothingOfAFailedChangeStays", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		boom := errors.New("boom")
		err := p.Ingest.Update(t.Context(), func(tx ingest.Tx) error {
			for _, v := range []any{person(1), openCase(1), aRun(1), anAction(1, "a"), aRequest(1), owned{aSignal(1, 1), person(1).ID},
				audit.Entry{Tenant: tenant, At: start, Kind: audit.CaseOpened, Text: "x"}} {
				if err := putOne(tx, v); err != nil {
					return err
				}
			}
			if err := tx.PutCursor(tenant, "c", "1", start); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatalf("got %v, want the change's own error", err)
		}
		nothing(t, p)
	})

	t.Run("AViewWaitsForNoWriter", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		err := p.Runs.Update(t.Context(), func(tx run.Tx) error { // the writer's turn is taken
			if err := tx.Audit(audit.Entry{Tenant: tenant, At: start, Kind: audit.CaseOpened, Text: "not committed"}); err != nil {
				return err
			}
			return p.Desk.View(t.Context(), func(view desk.Tx) error {
				got, err := view.Identity(tenant, person(1).ID)
				if err == nil && got.Name != person(1).Name {
					t.Errorf("a view sees %q", got.Name)
				}
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(desk.Tx) error{
			"an entry": func(tx desk.Tx) error {
				return tx.Audit(audit.Entry{Tenant: tenant, At: start, Kind: audit.CaseOpened, Text: "by a view"})
			},
			"a row": func(tx desk.Tx) error { _, err := tx.PutRun(aRun(1)); return err },
			"a row that is sent at once": func(tx desk.Tx) error {
				_, err := tx.PutNote(casefile.Note{Tenant: tenant, Case: openCase(1).ID, At: start, By: "a", Text: "by a view"})
				return err
			},
		} {
			if err := p.Desk.View(t.Context(), change); !errors.Is(err, fault.Conflict) {
				t.Errorf("%s in a view: %v, want a conflict", name, err)
			}
		}
		_, err = p.Desk.Run(t.Context(), tenant, aRun(1).ID)
		wantKind(t, "a run that a view put", err, fault.NotFound)
	})

	t.Run("NothingOfAPanickedChangeStays", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = p.Runs.Update(t.Context(), func(tx run.Tx) error {
				if err := putOne(tx.(ingest.Tx), person(1)); err != nil {
					return err
				}
				panic("boom")
			})
		}()
		nothing(t, p)
		put(t, p, person(1)) // the store still works
	})

	t.Run("AChangeSeesItsOwnWrites", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		update(t, p, func(tx ingest.Tx) error {
			for _, v := range []any{person(1), openCase(1), aRun(1), anAction(1, "a")} {
				if err := putOne(tx, v); err != nil {
					return err
				}
			}
			got, err := tx.ActionsOfRun(tenant, aRun(1).ID)
			if err != nil || len(got) != 1 {
				return fmt.Errorf("actions: %v, %w", got, err)
			}
			if _, ok, err := tx.OpenCase(tenant, person(1).ID); !ok || err != nil {
				return fmt.Errorf("open case: %v, %w", ok, err)
			}
			return nil
		})
	})

	t.Run("RowsRefer", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		for name, v := range map[string]any{
			"an action without its run":  anAction(1, "a"),
			"a run without its case":     aRun(1),
			"a case without its person":  openCase(2),
			"a signal without its owner": owned{aSignal(2, 2), person(2).ID},
		} {
			if err := p.Ingest.Update(t.Context(), func(tx ingest.Tx) error { return putOne(tx, v) }); err == nil {
				t.Errorf("%s was stored", name)
			}
		}
	})

	t.Run("WithoutATenantNothing", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		i, c, r, a, q := person(1), openCase(1), aRun(1), anAction(1, "a"), aRequest(1)
		i.Tenant, c.Tenant, r.Tenant, a.Tenant, q.Tenant = "", "", "", "", ""
		for _, v := range []any{i, c, r, a, q} {
			wantKind(t, fmt.Sprintf("%T", v), p.Ingest.Update(t.Context(), func(tx ingest.Tx) error { return putOne(tx, v) }), fault.Invalid)
		}
	})

	t.Run("IDsAreFreshAndSort", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		update(t, p, func(tx ingest.Tx) error {
			last := ""
			for range 200 {
				id := tx.NewID("run")
				if id <= last || id[:4] != "run_" {
					t.Errorf("%s does not sort after %s", id, last)
				}
				last = id
			}
			return nil
		})
	})
}

// nothing fails when the store holds anything.
func nothing(t *testing.T, p Ports) {
	t.Helper()
	update(t, p, func(tx ingest.Tx) error {
		for what, get := range map[string]func() error{
			"identity": func() error { _, err := tx.Identity(tenant, person(1).ID); return err },
			"case":     func() error { _, err := tx.Case(tenant, openCase(1).ID); return err },
			"run":      func() error { _, err := tx.Run(tenant, aRun(1).ID); return err },
			"action":   func() error { _, err := tx.Action(tenant, anAction(1, "a").ID); return err },
			"approval": func() error { _, err := tx.Approval(tenant, aRequest(1).ID); return err },
			"assessment": func() error {
				_, err := tx.Assessment(tenant, person(1).ID)
				return err
			},
		} {
			wantKind(t, what, get(), fault.NotFound)
		}
		return nil
	})
	if c, err := p.Ingest.Cursor(t.Context(), tenant, "c"); c != "" || err != nil {
		t.Errorf("cursor: got %q, %v", c, err)
	}
	if n, _, err := p.Audit.Pending(t.Context()); n != 0 || err != nil {
		t.Errorf("audit: got %d entries, %v", n, err)
	}
}

// versioned checks the rules of puts for one kind of value: put stores v and
// get reads it back.
func versioned[T any](t *testing.T, p Ports, v T, put func(ingest.Tx, T) (T, error), get func(ingest.Tx, T) (T, error), version func(*T) *int64) {
	t.Helper()
	var stored T
	update(t, p, func(tx ingest.Tx) (err error) {
		_, err = get(tx, v)
		wantKind(t, "get before put", err, fault.NotFound)
		stored, err = put(tx, v)
		return err
	})
	if got := *version(&stored); got != 1 {
		t.Errorf("version after the first put: %d", got)
	}
	update(t, p, func(tx ingest.Tx) error {
		got, err := get(tx, v)
		same(t, "as stored", stored, got)
		return err
	})
	wantKind(t, "a second first put", p.Ingest.Update(t.Context(), func(tx ingest.Tx) error { _, err := put(tx, v); return err }), fault.Conflict)
	var next T
	update(t, p, func(tx ingest.Tx) (err error) { next, err = put(tx, stored); return err })
	if got := *version(&next); got != 2 {
		t.Errorf("version after the second put: %d", got)
	}
	// A stale put says so and does not spoil the transaction it is in.
	update(t, p, func(tx ingest.Tx) error {
		_, err := put(tx, stored)
		wantKind(t, "a stale put", err, fault.Conflict)
		return nil
	})
	update(t, p, func(tx ingest.Tx) error {
		got, err := get(tx, v)
		same(t, "after a stale put", next, got)
		return err
	})
}
