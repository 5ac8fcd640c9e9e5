package desk_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// standing is a scene with an action that stands for 24 hours; rule is what its step
// was approved by.
func standing(t *testing.T, rule *approval.Rule) (*desktest.Scene, desk.ActionView) {
	t.Helper()
	s := desktest.Empty()
	i := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
	id := s.Begin("token-theft", i.ID, s.AddAtRisk(i, s.Travel("d1", time.Hour)))
	s.Prove(id, "")
	err := s.Driver.Store.Update(t.Context(), func(tx run.Tx) error {
		r, err := tx.Run(desktest.Tenant, id)
		if err != nil {
			return err
		}
		r.Plan.Steps[0].Approval = rule
		_, err = tx.PutRun(r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Desk.RunView(t.Context(), s.Operator("owner"), id)
	if err != nil || v.Steps[0].Doing == nil || !v.Steps[0].Doing.ExpiresAt.Equal(s.Now().Add(24*time.Hour)) {
		t.Fatalf("the step: %+v, %v; want it to stand for a day", v.Steps, err)
	}
	return s, *v.Steps[0].Doing
}

func TestExtendPutsOffTheEnd(t *testing.T) {
	t.Parallel()
	s, a := standing(t, nil)
	until := a.ExpiresAt.Add(24 * time.Hour) // as far as it goes: twice the ttl
	for n := range 2 {                       // asking again changes nothing
		v, err := s.Desk.Extend(t.Context(), s.Operator("responder"), a.ID, until, "still looking")
		if err != nil || !v.ExpiresAt.Equal(until) {
			t.Fatalf("time %d: stands until %s, %v; want %s", n, v.ExpiresAt, err, until)
		}
	}
	e := entries(s, audit.ActionExtended)
	if len(e) != 1 || e[0].Actor != access.ByOperator("responder") || e[0].Action != string(a.ID) || !strings.Contains(e[0].Text, "still looking") || e[0].Data["until"] != until.Format(time.RFC3339Nano) {
		t.Errorf("trail: %+v; want one extension with who, until when and why", e)
	}
	due := func() int {
		acts, err := s.Driver.Store.DueExpiries(t.Context(), s.Now(), 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(acts)
	}
	if s.Pass(47 * time.Hour); due() != 0 {
		t.Error("it is taken back before its new end")
	}
	if s.Pass(2 * time.Hour); due() != 1 {
		t.Error("it is not taken back at its new end")
	}
}

func TestWhatIsNotExtended(t *testing.T) {
	t.Parallel()
	given := &approval.Rule{Mode: approval.Before, From: []string{"responders"}, Quorum: 1}
	others := &approval.Rule{Mode: approval.Before, From: []string{"directors"}, Quorum: 1}
	two := &approval.Rule{Mode: approval.Before, From: []string{"responders"}, Quorum: 2}
	for name, tt := range map[string]struct {
		op     access.OperatorID
		rule   *approval.Rule
		by     time.Duration
		reason string
		undo   bool
		want   fault.Kind // "": it is extended
		text   string
	}{
		"who approves":              {op: "responder", rule: given, by: time.Hour, reason: "x"},
		"an analyst":                {op: "analyst", by: time.Hour, reason: "x", want: fault.Denied, text: "may not approve"},
		"the subject":               {op: "subject", by: time.Hour, reason: "x", want: fault.Denied, text: "is its subject"},
		"the subject, asked":        {op: "subject", rule: given, by: time.Hour, reason: "x", want: fault.Denied, text: "is the subject"},
		"none of who is asked":      {op: "responder", rule: others, by: time.Hour, reason: "x", want: fault.Denied, text: "none of the groups"},
		"one of two":                {op: "responder", rule: two, by: time.Hour, reason: "x", want: fault.Denied, text: "took 2 approvals"},
		"another tenant's":          {op: "elsewhere", by: time.Hour, reason: "x", want: fault.NotFound},
		"without a reason":          {op: "responder", by: time.Hour, reason: " ", want: fault.Invalid, text: "reason"},
		"shorter":                   {op: "responder", by: -time.Hour, reason: "x", want: fault.Invalid, text: "undo it"},
		"above the playbook's most": {op: "responder", by: 24*time.Hour + time.Second, reason: "x", want: fault.Denied, text: "at most"},
		"what is being given back":  {op: "responder", by: time.Hour, reason: "x", undo: true, want: fault.Conflict, text: "takes it back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, a := standing(t, tt.rule)
			if tt.undo {
				if _, err := s.Desk.Undo(t.Context(), s.Operator("owner"), string(a.ID), "enough"); err != nil {
					t.Fatal(err)
				}
			}
			_, err := s.Desk.Extend(t.Context(), s.Operator(tt.op), a.ID, a.ExpiresAt.Add(tt.by), tt.reason)
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("got %v; want %q with %q", err, tt.want, tt.text)
			}
			now, err := s.Store.Action(t.Context(), "", a.ID)
			if extended := !now.ExpiresAt.Equal(a.ExpiresAt); err != nil || extended != (tt.want == "") || extended != (len(entries(s, audit.ActionExtended)) == 1) {
				t.Errorf("it stands until %s (%v), before until %s, %d in the trail", now.ExpiresAt, err, a.ExpiresAt, len(entries(s, audit.ActionExtended)))
			}
			if tt.want == "" && now.State != action.Verified {
				t.Errorf("it is %s", now.State)
			}
		})
	}
}

// An undo that came to nothing takes nothing back: what stands can be extended again,
// as it could be undone again. One that has not begun with the action yet will.
func TestExtendBesideAnUndo(t *testing.T) {
	t.Parallel()
	s, a := standing(t, nil)
	undo, err := s.Desk.Undo(t.Context(), s.Operator("owner"), string(a.ID), "enough")
	if err != nil {
		t.Fatal(err)
	}
	extend := func() error {
		_, err := s.Desk.Extend(t.Context(), s.Operator("responder"), a.ID, a.ExpiresAt.Add(time.Hour), "still looking")
		return err
	}
	change := func(f func(tx run.Tx) error) {
		t.Helper()
		if err := s.Driver.Store.Update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	queued := func(yes bool) { // as behind another step of the undo's run
		change(func(tx run.Tx) error {
			was, err := tx.Action(desktest.Tenant, a.ID)
			if err != nil {
				return err
			}
			if was.UndoneBy = ""; !yes {
				was.UndoneBy = undo.Steps[0].Doing.ID
			}
			_, err = tx.PutAction(was)
			return err
		})
	}
	queued(true)
	if err := extend(); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), string(undo.Run.ID)) {
		t.Errorf("while its undo is to come: %v", err)
	}
	queued(false)
	if err := extend(); !errors.Is(err, fault.Conflict) {
		t.Errorf("while its undo is under way: %v", err)
	}
	change(func(tx run.Tx) error {
		u, err := tx.Action(desktest.Tenant, undo.Steps[0].Doing.ID)
		if err != nil {
			return err
		}
		for _, to := range []action.State{action.Running, action.Failed} {
			if u, err = u.Move(to, "the directory refused it", s.Now()); err != nil {
				return err
			}
		}
		if _, err = tx.PutAction(u); err != nil {
			return err
		}
		_, err = s.Driver.Advance(tx, run.Key{Tenant: desktest.Tenant, ID: undo.Run.ID})
		return err
	})
	if err := extend(); err != nil {
		t.Errorf("after its undo failed: %v", err)
	}
}
