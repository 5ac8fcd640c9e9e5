package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// RunView returns one run with its plan, step by step. It needs access.Read.
func (s *Service) RunView(ctx context.Context, op access.Operator, id run.ID) (RunView, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return RunView{}, err
	}
	r, err := s.store.Run(ctx, t, id)
	if err != nil {
		return RunView{}, err
	}
	return s.runView(ctx, op, r)
}

func (s *Service) runView(ctx context.Context, op access.Operator, r run.Run) (RunView, error) {
	i, err := s.look().identity(ctx, r.Tenant, r.Identity)
	if err != nil {
		return RunView{}, fmt.Errorf("run %s: %w", r.ID, err)
	}
	v := RunView{
		Run: summary(r, i.Name), Who: who(i), Ref: r.Playbook, Trigger: r.Trigger, Plan: r.Plan,
		Version: r.Version, At: s.now().UTC(),
	}
	acts, err := s.store.Actions(ctx, ActionFilter{Tenant: r.Tenant, Run: r.ID}, Page{Limit: 500})
	if err != nil {
		return v, fmt.Errorf("run %s: read its actions: %w", r.ID, err)
	}
	asked, err := s.store.Approvals(ctx, ApprovalFilter{Tenant: r.Tenant, Run: r.ID}, Page{Limit: 500})
	if err != nil {
		return v, fmt.Errorf("run %s: read its approvals: %w", r.ID, err)
	}
	v.Approvals = asked.Items
	byID := map[action.ID]ActionView{}
	for _, a := range acts.Items {
		byID[a.ID] = s.actionView(op, a)
		v.Version += a.Version
	}
	for _, q := range asked.Items {
		v.Version += q.Version
	}
	if r.Plan != nil {
		rests, err := s.relies(ctx, *r.Plan, i)
		if err != nil {
			return v, fmt.Errorf("run %s: %w", r.ID, err)
		}
		v.Steps = s.steps(r, i, rests, byID, asked.Items)
		if err := s.adopted(ctx, op, r, v.Steps); err != nil {
			return v, err
		}
	}
	for _, st := range v.Steps {
		if st.Doing != nil {
			delete(byID, st.Doing.ID)
		}
	}
	for _, a := range acts.Items {
		if left, ok := byID[a.ID]; ok {
			v.Others = append(v.Others, left)
		}
		if byView := s.actionView(op, a); byView.CanUndo {
			v.CanUndo = true
		}
	}
	return v, nil
}

// adopted fills in actions that another run made and a step of r took over:
// the effect is the same, so it happened once.
func (s *Service) adopted(ctx context.Context, op access.Operator, r run.Run, steps []StepView) error {
	for n := range steps {
		at := slices.IndexFunc(r.Steps, func(x run.StepRun) bool { return x.ID == steps[n].ID })
		if at < 0 || steps[n].Doing != nil || r.Steps[at].Action == "" {
			continue
		}
		a, err := s.store.Action(ctx, r.Tenant, r.Steps[at].Action)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("run %s, step %s: %w", r.ID, steps[n].ID, err)
		}
		v := s.actionView(op, a)
		steps[n].Doing = &v
	}
	return nil
}

// steps merges the plan's steps with how far the run is.
func (s *Service) steps(r run.Run, i identity.Identity, rests reliance, acts map[action.ID]ActionView, asked []approval.Request) []StepView {
	out := s.planSteps(*r.Plan, i, rests)
	for n := range out {
		st := &out[n]
		for _, have := range r.Steps {
			if have.ID != st.ID {
				continue
			}
			st.State, st.Reason = have.State, cmp.Or(have.Reason, st.Reason)
			if a, ok := acts[have.Action]; ok && have.Action != "" {
				st.Doing = &a
				st.Now = cmp.Or(a.BeforeText, st.Now)
			}
		}
		for _, q := range asked {
			if slices.Contains(q.Steps, st.ID) {
				st.Asks = q.ID
			}
		}
	}
	return out
}

// planSteps describes each step of a plan for a person who must decide.
func (s *Service) planSteps(p playbook.Plan, i identity.Identity, rests reliance) []StepView {
	out := make([]StepView, 0, len(p.Steps))
	for _, st := range p.Steps {
		v := StepView{Step: st, State: run.StepPending, Now: present(st.Action, st.Account, i), Breaks: breaks(st, i, rests), Undone: s.undone(st), Cost: s.cost(st)}
		switch {
		case st.Skip != "":
			v.State, v.Reason = run.StepSkipped, st.Skip
		case st.Held != "":
			v.State, v.Reason = run.StepHeld, st.Held
		case p.Refused != "":
			v.State, v.Reason = run.StepRefused, p.Refused
		case st.Later:
			v.Reason = "done only if " + st.If
		}
		if st.Kind != playbook.KindAct {
			v.Now, v.Cost = "nothing is changed", "none"
		}
		out = append(out, v)
	}
	return out
}

// breaks says what stops working for the person or workload behind the account.
func breaks(st playbook.Step, i identity.Identity, rests reliance) string {
	if more := blast(st, i, rests); more != "" {
		return plainly(st) + "; " + more
	}
	return plainly(st)
}

func plainly(st playbook.Step) string {
	switch {
	case st.Kind != playbook.KindAct:
		return "nothing: nothing is changed"
	case st.Effect == action.EffectVerdict:
		return "nothing stops working: it tells the product what we think"
	case st.Effect == action.EffectRestrict && st.Undo == "":
		return "present access stops; it has to be gained anew"
	case st.Effect == action.EffectRestrict:
		return "access stops until it is undone"
	case st.Effect == action.EffectCredential:
		return "the present credential stops working for good"
	case st.Effect == action.EffectRelease:
		return "nothing stops working: access comes back"
	}
	return "not known"
}

func (s *Service) undone(st playbook.Step) string {
	switch {
	case st.Kind != playbook.KindAct:
		return "nothing is changed"
	case st.TTL > 0 && st.Undo != "":
		return fmt.Sprintf("by itself %s after it is proven, by “%s”, and earlier when a person asks", st.TTL, s.title(st.Undo))
	case st.Undo != "":
		return "by “" + s.title(st.Undo) + "”"
	case st.Irreversible != "":
		return "cannot be undone: " + st.Irreversible
	}
	return "not known"
}

func (s *Service) cost(st playbook.Step) string {
	t, err := s.catalogue.Type(st.Action)
	if err != nil || st.Skip != "" || st.Held != "" {
		return "none"
	}
	spec := t.Spec()
	text := fmt.Sprintf("1 request, %s", spec.Bucket)
	if spec.Batch > 1 {
		text += fmt.Sprintf(" (up to %d targets share one)", spec.Batch)
	}
	return text
}

func (s *Service) actionView(op access.Operator, a action.Action) ActionView {
	v := ActionView{
		ID: a.ID, Tenant: a.Tenant, Run: a.Run, Case: a.Case, Identity: a.Identity, Step: a.Step, Playbook: a.Playbook, PlanHash: a.PlanHash,
		Name: a.Name, Title: s.title(a.Name), Account: a.Account, Params: a.Params, Lane: a.Lane,
		State: a.State, Reason: a.Reason, Person: a.Person, Before: a.Before, BeforeText: a.BeforeText, Proof: a.Proof, Sealed: len(a.Sealed) > 0,
		Attempt: a.Attempt, ClientRequestID: a.ClientRequestID, RequestID: a.RequestID, Outcome: a.Outcome,
		RequestedAt: a.RequestedAt, ApprovedAt: a.ApprovedAt, IntentAt: a.IntentAt, AcceptedAt: a.AcceptedAt,
		VerifiedAt: a.VerifiedAt, EndedAt: a.EndedAt, NextAt: a.NextAt, Deadline: a.Deadline, ExpiresAt: a.ExpiresAt,
		UndoOf: a.UndoOf, UndoneBy: a.UndoneBy,
	}
	v.WhyNot = s.whyNotUndo(a)
	if err := op.Require(access.Undo); v.WhyNot == "" && err != nil {
		v.WhyNot = err.Error()
	}
	v.CanUndo = v.WhyNot == ""
	return v
}

// whyNotUndo says why a cannot be taken back now; "" when it can be asked.
func (s *Service) whyNotUndo(a action.Action) string {
	t, err := s.catalogue.Type(a.Name)
	if err != nil {
		return fmt.Sprintf("the catalogue has no action %s any more", a.Name)
	}
	undoer, ok := t.(action.Undoer)
	switch {
	case !ok || t.Spec().Undo == "":
		return "it cannot be undone: " + cmp.Or(t.Spec().Irreversible, "it has no undo")
	case a.UndoneBy != "":
		return fmt.Sprintf("action %s undoes it already", a.UndoneBy)
	case a.State == action.Reverted:
		return "it is undone already"
	case a.UndoOf != "":
		return "it is itself an undo; start the playbook again instead"
	case a.State != action.Verified:
		return fmt.Sprintf("it is %s; only what is verified can be undone", a.State)
	case len(a.Before) == 0:
		return "the state before it was not recorded"
	}
	if _, replaced := undoer.Undo(a.Before); !replaced {
		return "it replaced nothing: the account was already so"
	}
	return ""
}
