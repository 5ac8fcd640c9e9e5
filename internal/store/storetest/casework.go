package storetest

import (
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// notes holds a store to what people write into cases, and to exceptions.
func notes(t *testing.T, s desk.Store, seed func(...any)) {
	c := openCase(1)
	seed(person(1), c)
	ctx := t.Context()
	write := func(change func(desk.Tx) error) {
		t.Helper()
		if err := s.Update(ctx, change); err != nil {
			t.Fatal(err)
		}
	}
	var later, first casefile.Note
	write(func(tx desk.Tx) (err error) {
		later, err = tx.PutNote(casefile.Note{Tenant: tenant, Case: c.ID, By: "o", At: at(time.Hour), Text: "later"})
		return err
	})
	write(func(tx desk.Tx) (err error) {
		first, err = tx.PutNote(casefile.Note{Tenant: tenant, Case: c.ID, By: "o", At: at(0), Question: "q", Asked: "?", Answer: casefile.Yes})
		return err
	})
	got, err := s.Notes(ctx, tenant, c.ID)
	if err != nil || first.ID == "" {
		t.Fatal(err)
	}
	same(t, "notes, oldest first", []casefile.Note{first, later}, got)
	if other, err := s.Notes(ctx, elsewhere, c.ID); err != nil || len(other) > 0 {
		t.Errorf("another tenant's: %v, %v", other, err)
	}

	e := risk.Exception{Tenant: tenant, Kind: risk.Egress, Name: "west", Ranges: []string{"192.0.2.0/24"}, Owner: "o", Reason: "r", By: "o", From: at(0), Until: at(time.Hour)}
	write(func(tx desk.Tx) (err error) { e, err = tx.PutException(e); return err })
	e.EndedAt, e.EndedBy = at(time.Minute), "o"
	write(func(tx desk.Tx) error {
		if _, err := tx.PutException(e); err != nil {
			return err
		}
		list, err := tx.Exceptions(tenant)
		same(t, "exceptions in the transaction", []risk.Exception{e}, list)
		return err
	})
	for _, in := range []identity.Tenant{tenant, ""} {
		list, err := s.Exceptions(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "exceptions", []risk.Exception{e}, list)
	}
	if list, err := s.Exceptions(ctx, elsewhere); err != nil || len(list) > 0 {
		t.Errorf("another tenant's: %v, %v", list, err)
	}
}

// casework holds a store to what is kept of an identity over time, and to moving it.
func casework(t *testing.T, open func(*testing.T) Ports) {
	t.Run("History", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		ref := person(1).Accounts[0].Ref
		r := signal.AccountRisk{Tenant: tenant, Subject: ref, Level: signal.LevelHigh, State: signal.StateAtRisk, UpdatedAt: at(0)}
		closed := r
		closed.State, closed.Level, closed.UpdatedAt = signal.StateDismissed, signal.LevelNone, at(time.Hour)
		a := risk.Assessment{Tenant: tenant, Identity: person(1).ID, Level: signal.LevelHigh, Score: 70, Rules: "r", At: at(0)}
		b := a
		b.Level, b.Score, b.At = signal.LevelNone, 0, at(time.Hour)
		again := b
		again.At = at(2 * time.Hour)
		update(t, p, func(tx ingest.Tx) error {
			for _, x := range []signal.AccountRisk{closed, r} {
				if _, err := tx.PutAccountRisk(x, person(1).ID); err != nil {
					return err
				}
			}
			for _, x := range []risk.Assessment{a, b, again} {
				if err := tx.PutAssessment(x); err != nil {
					return err
				}
			}
			return nil
		})
		ctx := t.Context()
		risks, err := p.Desk.AccountRisks(ctx, tenant, person(1).ID, 10)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "risks over time, latest first", []signal.AccountRisk{closed, r}, risks)
		now, err := p.Desk.AccountRisksNow(ctx, tenant, person(1).ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "risks now", []signal.AccountRisk{closed}, now)
		list, err := p.Desk.Assessments(ctx, tenant, person(1).ID, 10)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "assessments that say something else, latest first", []risk.Assessment{again, a}, list)
		if one, err := p.Desk.Assessments(ctx, tenant, person(1).ID, 1); err != nil || len(one) != 1 {
			t.Errorf("at most one: %d, %v", len(one), err)
		}
	})

	t.Run("MoveSignals", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		s := aSignal(1, 1)
		ref := person(1).Accounts[0].Ref
		put(t, p, person(1), person(2), owned{s, person(1).ID})
		update(t, p, func(tx ingest.Tx) error {
			_, err := tx.PutAccountRisk(signal.AccountRisk{Tenant: tenant, Subject: ref, Level: signal.LevelHigh, State: signal.StateAtRisk, UpdatedAt: at(0)}, person(1).ID)
			return err
		})
		err := p.Desk.Update(t.Context(), func(tx desk.Tx) error {
			if err := tx.MoveSignals(tenant, person(1).ID, person(2).ID, []signal.Key{s.Key()}, []identity.Ref{ref}); err != nil {
				return err
			}
			left, err := tx.SignalsOf(tenant, person(1).ID)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			moved, err := tx.SignalsOf(tenant, person(2).ID)
			same(t, "moved", []signal.Signal{s}, moved)
			if err != nil {
				return err
			}
			risks, err := tx.AccountRisksOf(tenant, person(2).ID)
			if len(risks) != 1 {
				t.Errorf("moved risks: %v", risks)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = p.Desk.Update(t.Context(), func(tx desk.Tx) error {
			return tx.MoveSignals(tenant, person(1).ID, person(2).ID, []signal.Key{s.Key()}, nil)
		})
		wantKind(t, "moved twice", err, fault.Conflict)
	})

	// The open case of an identity that was linked into another goes with it, and its
	// runs stay runs about the emptied one.
	t.Run("RunsOfACaseThatMoved", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1), openCase(1), aRun(1), person(2))
		update(t, p, func(tx ingest.Tx) error {
			merged, emptied, err := identity.Link(person(2), person(1), "o", "one person", at(time.Hour))
			if err != nil {
				return err
			}
			if _, err := tx.PutIdentity(emptied); err != nil {
				return err
			}
			if _, err := tx.PutIdentity(merged); err != nil {
				return err
			}
			c, err := tx.Case(tenant, openCase(1).ID)
			if err != nil {
				return err
			}
			c.Identity = merged.ID
			_, err = tx.PutCase(c)
			return err
		})
		update(t, p, func(tx ingest.Tx) error {
			if err := tx.AheadOf(tenant, []identity.ID{person(2).ID}); err != nil {
				return err
			}
			runs, err := tx.RunsOfCase(tenant, openCase(1).ID)
			if len(runs) != 1 {
				t.Errorf("read ahead, the case has %d runs, want 1", len(runs))
			}
			return err
		})
	})

	t.Run("KeysChangeHands", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		one, two := person(1), person(2)
		put(t, p, one, two)
		err := p.Desk.Update(t.Context(), func(tx desk.Tx) error {
			moved := two.Accounts
			two.Accounts = nil
			if _, err := tx.PutIdentity(two); err != nil {
				return err
			}
			one.Accounts = append(one.Accounts, moved...)
			_, err := tx.PutIdentity(one)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = p.Desk.Update(t.Context(), func(tx desk.Tx) error {
			got, err := tx.IdentitiesByKeys(tenant, person(2).Keys())
			if len(got) != 1 || got[0].ID != one.ID {
				t.Errorf("the keys of 2 belong to %v", got)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
