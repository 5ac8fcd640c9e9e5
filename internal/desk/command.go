package desk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// Undo takes back one action, or all actions of a run that took effect, as a run
// of its own. id is an action's or a run's; the reason is needed. It needs
// access.Undo; who is the subject or at risk is fault.Denied.
func (s *Service) Undo(ctx context.Context, op access.Operator, id, reason string) (RunView, error) {
	if err := op.Require(access.Undo); err != nil {
		return RunView{}, err
	}
	reason, err := checkReason(reason, true)
	if err != nil {
		return RunView{}, fmt.Errorf("undo of %s: %w", id, err)
	}
	tenant, ofRun, err := s.undoable(ctx, op, id)
	if err != nil {
		return RunView{}, err
	}
	var started run.Run
	err = s.store.Update(ctx, func(tx Tx) error {
		acts, err := undos(tx, tenant, id, ofRun)
		if err != nil {
			return err
		}
		if len(acts) > 0 {
			if err := s.impartial(tx, op, tenant, acts[0].Identity, "undo of "+id); err != nil {
				return err
			}
		}
		if started, err = s.driver.BeginUndo(tx, acts, access.ByOperator(op.ID), reason); err != nil {
			return fmt.Errorf("undo of %s: %w", id, err)
		}
		return nil
	})
	if err != nil {
		return RunView{}, err
	}
	s.nudge(tenant)
	return s.RunView(ctx, op, started.ID)
}

// undoable finds out whether id names a run or an action, and whose.
func (s *Service) undoable(ctx context.Context, op access.Operator, id string) (t identity.Tenant, ofRun bool, err error) {
	if r, err := s.store.Run(ctx, op.Tenant, run.ID(id)); err == nil {
		return r.Tenant, true, nil
	} else if !errors.Is(err, fault.NotFound) {
		return "", false, err
	}
	a, err := s.store.Action(ctx, op.Tenant, action.ID(id))
	if errors.Is(err, fault.NotFound) {
		return "", false, fault.Errorf(fault.NotFound, "no action or run %q", id)
	}
	return a.Tenant, false, err
}

// undos returns the actions to take back; the driver says which cannot be.
func undos(tx Tx, t identity.Tenant, id string, ofRun bool) ([]action.Action, error) {
	if !ofRun {
		a, err := tx.Action(t, action.ID(id))
		if err != nil {
			return nil, err
		}
		return []action.Action{a}, nil
	}
	return tx.ActionsOfRun(t, run.ID(id))
}

// Hold switches the global stop of a tenant on or off; the empty tenant is all
// of them. On needs access.Hold, off access.Resume. It returns the stop in force
// afterwards: a tenant's own stop may be off while the global one is on.
// Switching to what it is changes nothing; a tenant stopped under the global stop
// stays stopped when that ends.
func (s *Service) Hold(ctx context.Context, op access.Operator, t identity.Tenant, on bool, reason string) (dispatch.Stop, error) {
	need := access.Resume
	if on {
		need = access.Hold
	}
	if err := op.Require(need); err != nil {
		return dispatch.Stop{}, err
	}
	t, err := scope(op, t)
	if err != nil {
		return dispatch.Stop{}, err
	}
	if reason, err = checkReason(reason, false); err != nil {
		return dispatch.Stop{}, fmt.Errorf("hold: %w", err)
	}
	var force dispatch.Stop
	err = s.store.Brake(ctx, func(tx Tx) error {
		now := s.now().UTC()
		before, err := tx.Stop(t)
		if err != nil {
			return fmt.Errorf("hold: %w", err)
		}
		force = before
		if own, err := s.ownStop(tx, t, before); err != nil || own == on && before.On == on {
			return err
		}
		if err := tx.PutStop(t, dispatch.Stop{On: on, By: op.ID, Reason: reason, At: now}); err != nil {
			return fmt.Errorf("hold: %w", err)
		}
		where := "all tenants"
		if t != "" {
			where = "tenant " + string(t)
		}
		e := audit.Entry{Tenant: t, At: now, Actor: access.ByOperator(op.ID), Kind: audit.StopOff, Text: fmt.Sprintf("%s lets writes go on in %s", op.ID, where)}
		if on {
			e.Kind, e.Text = audit.StopOn, fmt.Sprintf("%s stopped all writes in %s", op.ID, where)
		}
		if reason != "" {
			e.Text += ": " + reason
		}
		if err := tx.Audit(e); err != nil {
			return fmt.Errorf("hold: %w", err)
		}
		force, err = tx.Stop(t)
		return err
	})
	if err != nil {
		return dispatch.Stop{}, err
	}
	s.nudge(t)
	return force, nil
}

// ownStop reports whether the stop in force for the tenant is its own. Of two that
// are on, the tenant's own is in force.
func (s *Service) ownStop(tx Tx, t identity.Tenant, force dispatch.Stop) (bool, error) {
	if t == "" || !force.On {
		return force.On, nil
	}
	global, err := tx.Stop("")
	if err != nil {
		return false, fmt.Errorf("hold: %w", err)
	}
	return force != global, nil
}

// Verdict closes a case. safe and benign withdraw what has not left yet, and
// what the signals so far said counts for nothing from then on, so neither is for
// the subject or somebody at risk to give (fault.Denied); after compromised, runs
// go on. It needs access.Decide.
func (s *Service) Verdict(ctx context.Context, op access.Operator, id casefile.ID, word casefile.Word, reason string) (CaseView, error) {
	if err := op.Require(access.Decide); err != nil {
		return CaseView{}, err
	}
	reason, err := checkReason(reason, false)
	if err != nil {
		return CaseView{}, fmt.Errorf("case %s: %w", id, err)
	}
	c, err := s.store.Case(ctx, op.Tenant, id)
	if err != nil {
		return CaseView{}, err
	}
	tenant := c.Tenant
	err = s.store.Update(ctx, func(tx Tx) error {
		now := s.now().UTC()
		c, err := tx.Case(tenant, id)
		if err != nil {
			return err
		}
		v := casefile.Verdict{Word: word, By: op.ID, Reason: reason, At: now}
		if c, err = c.Decide(v); err != nil {
			return err
		}
		if word != casefile.Compromised {
			if err := s.impartial(tx, op, tenant, c.Identity, fmt.Sprintf("case %s", id)); err != nil {
				return err
			}
			if err := s.driver.Withdraw(tx, tenant, id, access.ByOperator(op.ID), fmt.Sprintf("the verdict is %s", word)); err != nil {
				return fmt.Errorf("case %s: withdraw its runs: %w", id, err)
			}
			// Withdrawing may have moved the case along with its runs.
			if c, err = tx.Case(tenant, id); err != nil {
				return err
			}
			if c, err = c.Decide(v); err != nil {
				return err
			}
		}
		a, err := reassess(tx, c, v)
		if err != nil {
			return fmt.Errorf("case %s: assess %s again: %w", id, c.Name, err)
		}
		c.Level, c.Score = a.Level, a.Score
		if c, err = tx.PutCase(c); err != nil {
			return fmt.Errorf("case %s: %w", id, err)
		}
		text := fmt.Sprintf("%s gave the verdict %s on %s", op.ID, word, c.Name)
		if reason != "" {
			text += ": " + reason
		}
		return tx.Audit(audit.Entry{
			Tenant: tenant, At: now, Actor: access.ByOperator(op.ID), Kind: audit.VerdictGiven,
			Identity: string(c.Identity), Case: string(id), Text: text,
			Data: map[string]any{"word": string(word), "reason": reason, "score": a.Score, "level": string(a.Level)},
		})
	})
	if err != nil {
		return CaseView{}, err
	}
	s.nudge(tenant)
	return s.CaseView(ctx, op, id)
}

// reassess forms the opinion of the case's identity again, now that there is a
// verdict, and stores it.
func reassess(tx Tx, c casefile.Case, v casefile.Verdict) (risk.Assessment, error) {
	sigs, err := tx.SignalsOf(c.Tenant, c.Identity)
	if err != nil {
		return risk.Assessment{}, err
	}
	accounts, err := tx.AccountRisksOf(c.Tenant, c.Identity)
	if err != nil {
		return risk.Assessment{}, err
	}
	exceptions, err := tx.Exceptions(c.Tenant)
	if err != nil {
		return risk.Assessment{}, err
	}
	a := risk.Assess(risk.Input{
		Tenant: c.Tenant, Identity: c.Identity, Signals: sigs, Accounts: accounts, Exceptions: exceptions,
		Verdict: risk.Verdict{Word: string(v.Word), At: v.At},
	}, v.At)
	return a, tx.PutAssessment(a)
}

// Playbooks lists the playbooks that can be planned or started by hand. It needs
// access.Read.
func (s *Service) Playbooks(_ context.Context, op access.Operator) ([]PlaybookView, error) {
	if err := op.Require(access.Read); err != nil {
		return nil, err
	}
	out := []PlaybookView{}
	for _, p := range s.playbooks().Playbooks() {
		out = append(out, PlaybookView{Ref: p.Ref, Title: p.Title, Mode: p.Mode})
	}
	return out, nil
}

// PlanFor makes the plan a playbook has for an identity now. It writes nothing.
// It needs access.Plan.
func (s *Service) PlanFor(ctx context.Context, op access.Operator, playbookID string, id identity.ID) (RunView, error) {
	i, err := s.plannable(ctx, op, playbookID, id)
	if err != nil {
		return RunView{}, err
	}
	var plan playbook.Plan
	err = s.store.View(ctx, func(tx Tx) error {
		in, err := s.driver.Input(tx, i.Tenant, i.ID, []string{playbook.OnManual}, nil)
		if err != nil {
			return fmt.Errorf("plan %s for %s: %w", playbookID, i.Name, err)
		}
		plan, err = s.playbooks().Plan(playbook.Ref{ID: playbookID}, in)
		return err
	})
	if err != nil {
		return RunView{}, err
	}
	rests, err := s.relies(ctx, plan, i)
	if err != nil {
		return RunView{}, err
	}
	now := s.now().UTC()
	v := RunView{Who: who(i), Ref: plan.Playbook, Plan: &plan, Steps: s.planSteps(plan, i, rests), At: now}
	v.Run = RunSummary{Tenant: i.Tenant, Identity: i.ID, Name: i.Name, Playbook: playbookID, Title: plan.Title, AskedBy: access.ByOperator(op.ID)}
	for _, st := range v.Steps {
		if st.Skip == "" {
			v.Run.Steps++
		}
	}
	return v, nil
}

// plannable checks what PlanFor and Start have in common.
func (s *Service) plannable(ctx context.Context, op access.Operator, playbookID string, id identity.ID) (identity.Identity, error) {
	t, err := may(op, access.Plan, op.Tenant)
	if err != nil {
		return identity.Identity{}, err
	}
	if _, err := s.playbook(playbookID); err != nil {
		return identity.Identity{}, err
	}
	return s.look().identity(ctx, t, id)
}

// playbook returns fault.NotFound with the ids that there are.
func (s *Service) playbook(id string) (*playbook.Playbook, error) {
	var known []string
	for _, p := range s.playbooks().Playbooks() {
		if p.Ref.ID == id {
			return p, nil
		}
		known = append(known, p.Ref.ID)
	}
	return nil, fault.Errorf(fault.NotFound, "no playbook %q; there are: %s", id, strings.Join(known, ", "))
}

// Start starts a playbook on an identity by hand: through the same guards,
// approvals and gate as any other. planHash, when it is not empty, is the plan
// the operator saw; another plan by now is fault.Conflict. Without an open case
// one is opened. It needs access.Plan.
func (s *Service) Start(ctx context.Context, op access.Operator, playbookID string, id identity.ID, planHash, reason string) (RunView, error) {
	reason, err := checkReason(reason, false)
	if err != nil {
		return RunView{}, fmt.Errorf("start %s: %w", playbookID, err)
	}
	i, err := s.plannable(ctx, op, playbookID, id)
	if err != nil {
		return RunView{}, err
	}
	var started run.Run
	err = s.store.Update(ctx, func(tx Tx) error {
		in, err := s.driver.Input(tx, i.Tenant, i.ID, []string{playbook.OnManual}, nil)
		if err != nil {
			return fmt.Errorf("start %s for %s: %w", playbookID, i.Name, err)
		}
		if planHash != "" {
			plan, err := s.playbooks().Plan(playbook.Ref{ID: playbookID}, in)
			if err != nil {
				return err
			}
			if plan.Hash != planHash {
				return fault.Errorf(fault.Conflict, "the plan of %s for %s changed since you saw it; look at it again", playbookID, i.Name)
			}
		}
		c, err := s.caseFor(tx, op, i)
		if err != nil {
			return err
		}
		by := access.ByOperator(op.ID)
		started, _, err = s.driver.Begin(tx, run.Start{Match: playbook.Match{Ref: playbook.Ref{ID: playbookID}}, Case: c.ID, Input: in, AskedBy: by, Why: reason})
		return err
	})
	if err != nil {
		return RunView{}, err
	}
	s.nudge(i.Tenant)
	return s.RunView(ctx, op, started.ID)
}

// caseFor returns the identity's open case, or opens one.
func (s *Service) caseFor(tx Tx, op access.Operator, i identity.Identity) (casefile.Case, error) {
	c, open, err := tx.OpenCase(i.Tenant, i.ID)
	if err != nil || open {
		return c, err
	}
	now := s.now().UTC()
	c = casefile.Begin(i, now)
	c.Reason = "opened by hand by " + string(op.ID)
	a, err := tx.Assessment(i.Tenant, i.ID)
	switch {
	case err == nil:
		c.Level, c.Score = a.Level, a.Score
	case !errors.Is(err, fault.NotFound):
		return c, fmt.Errorf("open a case about %s: %w", i.Name, err)
	}
	if c, err = tx.PutCase(c); err != nil {
		return c, fmt.Errorf("open a case about %s: %w", i.Name, err)
	}
	return c, tx.Audit(audit.Entry{
		Tenant: i.Tenant, At: now, Actor: access.ByOperator(op.ID), Kind: audit.CaseOpened,
		Identity: string(i.ID), Case: string(c.ID), Text: fmt.Sprintf("%s opened a case about %s by hand", op.ID, i.Name),
	})
}
