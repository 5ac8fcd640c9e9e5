package desk

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// Extend lets a proven action that would be taken back by itself stand until the
// given time, which is later than now and than it would be; the reason is needed.
// Asking for the same end again changes nothing. It needs access.Approve, and
// where the step was approved, everything that approval asks of a voter.
//
// It returns fault.Conflict when the action does not stand, is being taken back,
// or has no end, and fault.Denied when the end is later than the playbook lets
// people go (playbook.Step.Longest), or when the step took more than one approval.
func (s *Service) Extend(ctx context.Context, op access.Operator, id action.ID, until time.Time, reason string) (ActionView, error) {
	if err := op.Require(access.Approve); err != nil {
		return ActionView{}, err
	}
	reason, err := checkReason(reason, true)
	if err != nil {
		return ActionView{}, fmt.Errorf("extend action %s: %w", id, err)
	}
	found, err := s.store.Action(ctx, op.Tenant, id)
	if err != nil {
		return ActionView{}, err
	}
	until = until.UTC().Truncate(time.Microsecond)
	err = s.store.Update(ctx, func(tx Tx) error {
		a, err := tx.Action(found.Tenant, id)
		if err != nil {
			return err
		}
		now := s.now().UTC()
		if err := s.extendable(tx, op, a, until, now); err != nil || a.ExpiresAt.Equal(until) {
			return err
		}
		was := a.ExpiresAt
		a.ExpiresAt, a.TTL = until, until.Sub(a.VerifiedAt)
		if a, err = tx.PutAction(a); err != nil {
			return fmt.Errorf("extend action %s: %w", id, err)
		}
		err = tx.Audit(audit.Entry{
			Tenant: a.Tenant, At: now, Actor: access.ByOperator(op.ID), Kind: audit.ActionExtended,
			Identity: string(a.Identity), Case: a.Case, Run: a.Run, Action: string(a.ID),
			Text: fmt.Sprintf("%s lets %s on %s stand until %s: %s", op.ID, a.Name, a.Account.Name(), until.Format(time.RFC3339), reason),
			Data: map[string]any{"from": was.UTC(), "until": until, "reason": reason},
		})
		if err != nil {
			return fmt.Errorf("extend action %s: %w", id, err)
		}
		_, err = s.driver.Advance(tx, run.Key{Tenant: a.Tenant, ID: run.ID(a.Run)})
		return err
	})
	if err != nil {
		return ActionView{}, err
	}
	return s.ActionView(ctx, op, id)
}

// extendable says why op may not let a stand until the given time.
func (s *Service) extendable(tx Tx, op access.Operator, a action.Action, until, now time.Time) error {
	refuse := func(k fault.Kind, format string, args ...any) error {
		return fault.Errorf(k, "extend action %s: %s", a.ID, fmt.Sprintf(format, args...))
	}
	undo, err := undoing(tx, a)
	switch {
	case err != nil:
		return fmt.Errorf("extend action %s: %w", a.ID, err)
	case undo != "":
		return refuse(fault.Conflict, "%s takes it back already", undo)
	case a.State != action.Verified:
		return refuse(fault.Conflict, "it is %s; only what stands can be extended", a.State)
	case a.ExpiresAt.IsZero():
		return refuse(fault.Conflict, "it stands until somebody takes it back")
	case until.Before(a.ExpiresAt) || !until.After(now):
		return refuse(fault.Invalid, "it stands until %s; to end it earlier, undo it", a.ExpiresAt.UTC().Format(time.RFC3339))
	}
	r, err := tx.Run(a.Tenant, run.ID(a.Run))
	if err != nil {
		return fmt.Errorf("extend action %s: %w", a.ID, err)
	}
	n := -1
	if r.Plan != nil {
		n = slices.IndexFunc(r.Plan.Steps, func(st playbook.Step) bool { return st.ID == a.Step })
	}
	if n < 0 {
		return refuse(fault.Conflict, "its run has no step %q that would say how long it may stand", a.Step)
	}
	if last := a.VerifiedAt.Add(r.Plan.Steps[n].Longest()).UTC(); until.After(last) {
		return refuse(fault.Denied, "%s lets it stand until %s at most; start the playbook again when it is needed longer", r.Playbook.ID, last.Format(time.RFC3339))
	}
	return s.mayExtend(tx, op, a, r, r.Plan.Steps[n].Approval, now)
}

// undoing names what takes a back, or is going to; empty when nothing does.
func undoing(tx Tx, a action.Action) (string, error) {
	if a.UndoneBy != "" {
		undo, err := tx.Action(a.Tenant, a.UndoneBy)
		if err != nil {
			return "", err
		}
		if !undo.State.Final() || undo.State == action.Verified {
			return fmt.Sprintf("action %s", a.UndoneBy), nil
		}
	}
	if a.Case == "" {
		return "", nil
	}
	runs, err := tx.RunsOfCase(a.Tenant, casefile.ID(a.Case))
	if err != nil {
		return "", err
	}
	for _, r := range runs {
		if !r.State.Final() && slices.ContainsFunc(r.Steps, func(s run.StepRun) bool { return s.UndoOf == a.ID && !s.State.Final() }) {
			return fmt.Sprintf("run %s", r.ID), nil
		}
	}
	return "", nil
}

// mayExtend asks of op what the approval of the step asked of who gave it.
func (s *Service) mayExtend(tx Tx, op access.Operator, a action.Action, r run.Run, rule *approval.Rule, now time.Time) error {
	what := fmt.Sprintf("extend action %s", a.ID)
	if rule == nil {
		return s.impartial(tx, op, a.Tenant, a.Identity, what)
	}
	if rule.Quorum > 1 {
		return fault.Errorf(fault.Denied, "%s: its step took %d approvals, and one person cannot give them; start the playbook again", what, rule.Quorum)
	}
	voter, err := s.voter(tx, op, a.Tenant, a.Identity)
	if err != nil {
		return err
	}
	asked := approval.Request{
		Tenant: a.Tenant, ID: "to " + approval.ID(what), Identity: a.Identity, PlanHash: a.PlanHash, Rule: *rule,
		AskedBy: r.AskedBy, AskedAt: now, ExpiresAt: now.Add(time.Minute), State: approval.Pending,
	}
	_, err = asked.Decide(voter, true, "", a.PlanHash, now)
	return err
}
