package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// maxReason bounds what an operator may write: it is shown in lists and kept for
// as long as the trail.
const maxReason = 2000

func checkReason(reason string, needed bool) (string, error) {
	reason = strings.TrimSpace(reason)
	switch {
	case needed && reason == "":
		return "", fault.Errorf(fault.Invalid, "a reason is needed: it stays in the trail with your name")
	case len(reason) > maxReason:
		return "", fault.Errorf(fault.Invalid, "the reason is %d bytes long; at most %d are kept", len(reason), maxReason)
	}
	return reason, nil
}

// ApprovalView returns a request with the plan it binds and whether op can
// answer it. It needs access.Read.
func (s *Service) ApprovalView(ctx context.Context, op access.Operator, id approval.ID) (ApprovalView, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return ApprovalView{}, err
	}
	q, err := s.store.Approval(ctx, t, id)
	if err != nil {
		return ApprovalView{}, err
	}
	v := ApprovalView{Request: q, At: s.now().UTC()}
	r, err := s.store.Run(ctx, q.Tenant, run.ID(q.Run))
	if err != nil {
		return v, fmt.Errorf("approval %s: %w", id, err)
	}
	rv, err := s.runView(ctx, op, r)
	if err != nil {
		return v, err
	}
	v.Who, v.Plan = rv.Who, rv.Plan
	for _, st := range rv.Steps {
		if slices.Contains(q.Steps, st.ID) {
			v.Steps = append(v.Steps, st)
		} else {
			v.Others = append(v.Others, st)
		}
	}
	err = s.store.View(ctx, func(tx Tx) error {
		voter, err := s.voter(tx, op, q.Tenant, q.Identity)
		if err != nil {
			return err
		}
		if _, err := q.Decide(voter, true, "", q.PlanHash, v.At); err != nil {
			v.CanAnswer, v.WhyNot = false, err.Error()
			return nil
		}
		v.CanAnswer, v.WhyNot = true, ""
		return nil
	})
	return v, err
}

// voter finds out what must be known of an operator who answers: whether one of
// the identities behind the operator's own account is the subject, or at risk.
func (s *Service) voter(tx Tx, op access.Operator, t identity.Tenant, subject identity.ID) (approval.Voter, error) {
	v := approval.Voter{Operator: op}
	if op.Account == "" {
		return v, nil
	}
	own, err := tx.FindAccount(t, op.Account)
	if err != nil {
		return v, fmt.Errorf("look for the account of %s: %w", op.ID, err)
	}
	for _, i := range own {
		if v.Identity == "" || i.ID == subject {
			v.Identity = i.ID
		}
		c, open, err := tx.OpenCase(t, i.ID)
		if err != nil {
			return v, fmt.Errorf("look for a case about %s: %w", op.ID, err)
		}
		if open && v.AtRisk == "" {
			v.AtRisk = fmt.Sprintf("case %s, level %s, has no verdict yet", c.ID, c.Level)
		}
	}
	return v, nil
}

// impartial returns fault.Denied when op is the subject or at risk: who may not
// answer a request for approval may not get round it either, by a verdict that
// withdraws the plan or by an undo.
func (s *Service) impartial(tx Tx, op access.Operator, t identity.Tenant, subject identity.ID, what string) error {
	v, err := s.voter(tx, op, t, subject)
	switch {
	case err != nil:
		return err
	case v.Identity != "" && v.Identity == subject:
		return fault.Errorf(fault.Denied, "%s: %s is its subject; somebody else has to do this", what, op.ID)
	case v.AtRisk != "":
		return fault.Errorf(fault.Denied, "%s: %s is at risk (%s); somebody else has to do this", what, op.ID, v.AtRisk)
	}
	return nil
}

// Approve gives consent to the steps of the request. planHash is the plan the
// operator saw: an answer to another plan is fault.Conflict. It needs
// access.Approve, and everything approval.Request.Decide asks of a voter.
func (s *Service) Approve(ctx context.Context, op access.Operator, id approval.ID, planHash, reason string) (ApprovalView, error) {
	return s.decide(ctx, op, id, true, planHash, reason)
}

// Reject refuses the steps of the request; the reason is needed. planHash as in
// Approve.
func (s *Service) Reject(ctx context.Context, op access.Operator, id approval.ID, planHash, reason string) (ApprovalView, error) {
	return s.decide(ctx, op, id, false, planHash, reason)
}

func (s *Service) decide(ctx context.Context, op access.Operator, id approval.ID, approve bool, planHash, reason string) (ApprovalView, error) {
	if err := op.Require(access.Approve); err != nil {
		return ApprovalView{}, err
	}
	reason, err := checkReason(reason, !approve)
	if err != nil {
		return ApprovalView{}, fmt.Errorf("approval %s: %w", id, err)
	}
	var tenant identity.Tenant
	if q, err := s.store.Approval(ctx, op.Tenant, id); err != nil {
		return ApprovalView{}, err
	} else {
		tenant = q.Tenant
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		now := s.now().UTC()
		q, err := tx.Approval(tenant, id)
		if err != nil {
			return err
		}
		voter, err := s.voter(tx, op, q.Tenant, q.Identity)
		if err != nil {
			return err
		}
		after, err := q.Decide(voter, approve, reason, planHash, now)
		if err != nil {
			return err
		}
		if len(after.Decisions) == len(q.Decisions) {
			return nil // the same answer again
		}
		if err := s.bound(tx, q); err != nil {
			return err
		}
		if after, err = tx.PutApproval(after); err != nil {
			return fmt.Errorf("approval %s: %w", id, err)
		}
		if err := tx.Audit(decisionEntry(op, after, approve, reason, now)); err != nil {
			return fmt.Errorf("approval %s: %w", id, err)
		}
		_, err = s.driver.Advance(tx, run.Key{Tenant: tenant, ID: run.ID(q.Run)})
		return err
	})
	if err != nil {
		return ApprovalView{}, err
	}
	s.nudge(tenant)
	return s.ApprovalView(ctx, op, id)
}

// bound checks that the request still binds what its run would do.
func (s *Service) bound(tx Tx, q approval.Request) error {
	r, err := tx.Run(q.Tenant, run.ID(q.Run))
	if err != nil {
		return fmt.Errorf("approval %s: %w", q.ID, err)
	}
	switch {
	case r.State.Final():
		return fault.Errorf(fault.Conflict, "approval %s: its run %s is already %s; the answer would bind to nothing", q.ID, r.ID, r.State)
	case r.Plan == nil || r.Plan.Hash != q.PlanHash:
		return fault.Errorf(fault.Conflict, "approval %s: the plan changed since it was asked for; look at it again", q.ID)
	}
	return nil
}

func decisionEntry(op access.Operator, q approval.Request, approve bool, reason string, now time.Time) audit.Entry {
	e := audit.Entry{
		Tenant: q.Tenant, At: now, Actor: access.ByOperator(op.ID), Kind: audit.ApprovalRejected,
		Identity: string(q.Identity), Case: q.Case, Run: q.Run, Approval: string(q.ID),
		Text: fmt.Sprintf("%s rejected the plan for %s: %s", op.ID, q.Name, reason),
		Data: map[string]any{"planHash": q.PlanHash, "steps": q.Steps, "reason": reason},
	}
	if approve {
		e.Kind = audit.ApprovalGiven
		e.Text = fmt.Sprintf("%s approved %s for %s", op.ID, plural(len(q.Steps), "step", "steps"), q.Name)
		if n := max(1, q.Rule.Quorum); n > 1 {
			e.Text += fmt.Sprintf(" (%d of %d)", len(q.Decisions), n)
		}
	}
	return e
}
