package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
)

// An ExceptionView is an exception and what it did.
type ExceptionView struct {
	risk.Exception
	InForce bool `json:"inForce"`
	// Lowered is how many signals it made count for less, of those looked through.
	Lowered int `json:"lowered"`
	// Identities are whose they are.
	Identities int  `json:"identities"`
	Partial    bool `json:"partial,omitempty"` // there were more signals than are looked through
}

// Exceptions lists the exceptions of a tenant, or of all, those in force first, each
// with a count of what it lowered. It needs access.Read.
func (s *Service) Exceptions(ctx context.Context, op access.Operator, t identity.Tenant) ([]ExceptionView, error) {
	t, err := may(op, access.Read, t)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Exceptions(ctx, t)
	if err != nil {
		return nil, err
	}
	now := s.now()
	out := []ExceptionView{}
	for _, e := range list {
		v := ExceptionView{Exception: e, InForce: e.InForce(now)}
		who := map[string]bool{}
		n, more, err := s.covered(ctx, e, func(owner string) { who[owner] = true })
		if err != nil {
			return nil, err
		}
		v.Lowered, v.Partial, v.Identities = n, more, len(who)
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(a, b ExceptionView) int {
		if a.InForce != b.InForce {
			return map[bool]int{true: -1, false: 1}[a.InForce]
		}
		return cmp.Or(a.Until.Compare(b.Until), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

// covered counts the signals that the exception is or was about while it was in
// force, and tells each one's subject.
func (s *Service) covered(ctx context.Context, e risk.Exception, note func(subject string)) (n int, partial bool, err error) {
	f := SignalFilter{Tenant: e.Tenant, Identity: e.Identity, Since: e.From.Add(-searchBack)}
	looked := 0
	for p := (Page{Limit: 500}); ; {
		list, err := s.store.Signals(ctx, f, p)
		if err != nil {
			return n, partial, fmt.Errorf("look through the signals: %w", err)
		}
		for _, g := range list.Items {
			looked++
			if e.Covers(g, e.Identity) && (g.State.Open() || g.UpdatedAt.After(e.From)) && g.At().Before(e.End()) {
				n++
				if k := g.Subject.Keys(); len(k) > 0 {
					note(k[0].Value)
				}
			}
		}
		if p.After = list.Next; list.Next == "" {
			return n, false, nil
		}
		if looked >= searchSignals {
			return n, true, nil
		}
	}
}

// MakeException puts an exception in force and forms the opinions anew that it
// touches. It needs access.Approve, for it lowers what is thought of others, and is
// not for the traveller themselves, nor for somebody at risk (fault.Denied).
func (s *Service) MakeException(ctx context.Context, op access.Operator, e risk.Exception) (ExceptionView, error) {
	if err := op.Require(access.Approve); err != nil {
		return ExceptionView{}, err
	}
	t, err := scope(op, e.Tenant)
	if err != nil {
		return ExceptionView{}, err
	}
	if all := s.Tenants(op); t == "" && len(all) == 1 {
		t = all[0]
	}
	if t == "" {
		return ExceptionView{}, fault.Errorf(fault.Invalid, "exception %q: which tenant?", e.Name)
	}
	now := s.now().UTC()
	e.Tenant, e.ID, e.By, e.From, e.EndedAt, e.EndedBy, e.FollowedAt = t, "", string(op.ID), now, time.Time{}, "", time.Time{}
	e.Until = e.Until.UTC()
	if err := e.Check(); err != nil {
		return ExceptionView{}, err
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		var about identity.ID
		if e.Identity != "" {
			i, err := tx.Identity(t, e.Identity)
			if err != nil {
				return err
			}
			about = i.ID
		}
		// A range or a country may be the operator's own too.
		if err := s.impartial(tx, op, t, about, "exception"); err != nil {
			return err
		}
		if e, err = tx.PutException(e); err != nil {
			return err
		}
		return tx.Audit(audit.Entry{
			Tenant: t, At: now, Actor: access.ByOperator(op.ID), Kind: audit.ExceptionMade, Identity: string(e.Identity),
			Text: fmt.Sprintf("%s made the exception %q (%s) until %s, for which %s answers: %s", op.ID, e.Name, e.Kind, e.Until.Format(time.DateOnly), e.Owner, e.Reason),
			Data: map[string]any{"exception": e.ID, "ranges": e.Ranges, "countries": e.Countries, "until": e.Until},
		})
	})
	if err != nil {
		return ExceptionView{}, err
	}
	return s.followed(ctx, e)
}

// EndException takes an exception out of force at once. It needs access.Decide.
func (s *Service) EndException(ctx context.Context, op access.Operator, id, reason string) (ExceptionView, error) {
	if err := op.Require(access.Decide); err != nil {
		return ExceptionView{}, err
	}
	reason, err := checkReason(reason, true)
	if err != nil {
		return ExceptionView{}, fmt.Errorf("exception %s: %w", id, err)
	}
	list, err := s.store.Exceptions(ctx, op.Tenant)
	if err != nil {
		return ExceptionView{}, err
	}
	is := func(e risk.Exception) bool { return e.ID == id }
	at := slices.IndexFunc(list, is)
	if at < 0 {
		return ExceptionView{}, fault.Errorf(fault.NotFound, "no exception %q", id)
	}
	e := list[at]
	err = s.store.Update(ctx, func(tx Tx) error {
		list, err := tx.Exceptions(e.Tenant)
		if err != nil {
			return err
		}
		at, now := slices.IndexFunc(list, is), s.now().UTC()
		switch {
		case at < 0:
			return fault.Errorf(fault.NotFound, "no exception %q", id)
		case !list[at].EndedAt.IsZero():
			return fault.Errorf(fault.Conflict, "exception %s: %s ended it already", id, list[at].EndedBy)
		case !list[at].Until.After(now):
			return fault.Errorf(fault.Conflict, "exception %s: it came to its end on %s", id, list[at].Until.Format(time.RFC3339))
		}
		e = list[at]
		e.EndedAt, e.EndedBy = now, string(op.ID)
		if _, err := tx.PutException(e); err != nil {
			return err
		}
		return tx.Audit(audit.Entry{
			Tenant: e.Tenant, At: e.EndedAt, Actor: access.ByOperator(op.ID), Kind: audit.ExceptionEnded, Identity: string(e.Identity),
			Text: fmt.Sprintf("%s ended the exception %q: %s", op.ID, e.Name, reason), Data: map[string]any{"exception": e.ID},
		})
	})
	if err != nil {
		return ExceptionView{}, err
	}
	return s.settle(ctx, e)
}

// FollowExceptions forms the opinions anew that an exception had lowered whose end
// has come, once for each, and returns of how many, and why of the others not. What an
// interrupted call left undone the next one does.
func (s *Service) FollowExceptions(ctx context.Context) (n int, err error) {
	list, err := s.store.Exceptions(ctx, "")
	if err != nil {
		return 0, fmt.Errorf("look for exceptions whose end has come: %w", err)
	}
	now := s.now()
	var errs []error
	for _, e := range list {
		if e.End().After(now) || !e.FollowedAt.IsZero() {
			continue
		}
		if _, err := s.settle(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("exception %s: %w", e.ID, err))
			continue
		}
		n++
	}
	return n, errors.Join(errs...)
}

// settle does what follows from an exception's end, and then notes that it is done.
func (s *Service) settle(ctx context.Context, e risk.Exception) (ExceptionView, error) {
	v, err := s.followed(ctx, e)
	if err != nil {
		return v, err
	}
	now := s.now().UTC()
	err = s.store.Update(ctx, func(tx Tx) error {
		list, err := tx.Exceptions(e.Tenant)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(list, func(o risk.Exception) bool { return o.ID == e.ID })
		if at < 0 || !list[at].FollowedAt.IsZero() {
			return nil // another process was here first
		}
		e = list[at]
		e.FollowedAt = now
		if _, err := tx.PutException(e); err != nil || !e.EndedAt.IsZero() {
			return err // who ended it is in the trail already
		}
		text := fmt.Sprintf("the exception %q, for which %s answered, came to its end; %d findings count in full again", e.Name, e.Owner, v.Lowered)
		if v.Partial {
			text += "; older ones were not looked through and do so with their identity's next signal"
		}
		return tx.Audit(audit.Entry{
			Tenant: e.Tenant, At: now, Actor: access.BySystem("desk"), Kind: audit.ExceptionEnded, Identity: string(e.Identity), Text: text,
			Data: map[string]any{"exception": e.ID, "lowered": v.Lowered, "identities": v.Identities, "partial": v.Partial},
		})
	})
	if err != nil {
		return v, fmt.Errorf("note the end of the exception %s: %w", e.ID, err)
	}
	v.Exception = e
	return v, nil
}

// followed forms the opinions anew that an exception touches.
func (s *Service) followed(ctx context.Context, e risk.Exception) (ExceptionView, error) {
	v := ExceptionView{Exception: e, InForce: e.InForce(s.now())}
	who := map[string]bool{}
	var err error
	if v.Lowered, v.Partial, err = s.covered(ctx, e, func(key string) { who[key] = true }); err != nil {
		return v, err
	}
	v.Identities = len(who)
	for key := range who {
		err := s.store.Update(ctx, func(tx Tx) error {
			found, err := tx.FindAccount(e.Tenant, key)
			if err != nil {
				return err
			}
			for _, i := range found {
				if err := s.again(tx, i, s.now().UTC()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return v, fmt.Errorf("assess anew whom the exception %s is about: %w", e.ID, err)
		}
	}
	return v, nil
}

// A Replayed is an identity and what other weights would make of it.
type Replayed struct {
	Who  Who             `json:"who"`
	Now  risk.Assessment `json:"now"`
	With risk.Assessment `json:"with"`
}

// Replay is a page of identities, judged by other weights.
type Replay struct {
	Rules   string     `json:"rules"`   // names the weights
	Looked  int        `json:"looked"`  // identities that were ever assessed
	Changed []Replayed `json:"changed"` // whose level would be another
	Next    string     `json:"next,omitempty"`
}

// replayPage is how many identities one page judges.
const replayPage = 100

// Replay judges a page of the tenant's identities by other weights, as of now, and
// lists those whose level would change. Nothing is stored. It needs access.Read.
func (s *Service) Replay(ctx context.Context, op access.Operator, t identity.Tenant, w risk.Weights, after string) (Replay, error) {
	t, err := may(op, access.Read, t)
	if err != nil {
		return Replay{}, err
	}
	if err := w.Check(); err != nil {
		return Replay{}, err
	}
	out := Replay{Rules: w.Version(), Changed: []Replayed{}}
	list, err := s.store.Identities(ctx, IdentityFilter{Tenant: t}, Page{After: after, Limit: replayPage})
	if err != nil {
		return out, err
	}
	out.Next = list.Next
	for _, i := range list.Items {
		a, err := s.assessment(ctx, i.Tenant, i.ID)
		if err != nil {
			return out, err
		}
		if a == nil {
			continue
		}
		out.Looked++
		r, err := s.with(ctx, i, w)
		if err != nil {
			return out, err
		}
		if r.Now.Level != r.With.Level {
			out.Changed = append(out.Changed, r)
		}
	}
	return out, nil
}

// ExplainWith judges one identity by other weights, beside the standard ones. It
// needs access.Read.
func (s *Service) ExplainWith(ctx context.Context, op access.Operator, id identity.ID, w risk.Weights) (Replayed, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return Replayed{}, err
	}
	if err := w.Check(); err != nil {
		return Replayed{}, err
	}
	i, err := s.store.Identity(ctx, t, id)
	if err != nil {
		return Replayed{}, err
	}
	return s.with(ctx, i, w)
}

func (s *Service) with(ctx context.Context, i identity.Identity, w risk.Weights) (Replayed, error) {
	in, err := s.input(ctx, i.Tenant, i.ID)
	if err != nil {
		return Replayed{}, err
	}
	now := s.now().UTC()
	return Replayed{who(i), risk.Assess(in, now), risk.AssessWith(&w, in, now)}, nil
}
