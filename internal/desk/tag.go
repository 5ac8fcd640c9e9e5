package desk

import (
	"context"
	"fmt"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Tag gives an identity a tag by hand, with a reason. It holds from the next request on
// that would leave: who is protected is not changed any more, and what nobody has
// approved waits where the tag asks for an approval. It needs access.Decide, and is not
// for the identity itself nor for somebody at risk (fault.Denied).
func (s *Service) Tag(ctx context.Context, op access.Operator, id identity.ID, tag identity.TagName, reason string) (IdentityView, error) {
	if err := op.Require(access.Decide); err != nil {
		return IdentityView{}, err
	}
	return s.tagging(ctx, op, id, reason, "tag", func(i identity.Identity, reason string) (identity.Identity, audit.Entry, error) {
		next, err := i.WithTag(tag, string(op.ID), reason, s.now().UTC())
		if err != nil {
			return next, audit.Entry{}, err
		}
		given := next.Tags[len(next.Tags)-1].Name
		return next, audit.Entry{Kind: audit.IdentityTagged, Text: fmt.Sprintf("%s tagged %s %s: %s", op.ID, i.Name, given, reason), Data: map[string]any{"tag": string(given), "reason": reason}}, nil
	})
}

// Untag takes away a tag that was given by hand, with a reason. It needs access.Approve,
// because less care is taken afterwards; for whom it is not, see Tag.
func (s *Service) Untag(ctx context.Context, op access.Operator, id identity.ID, tag identity.TagName, reason string) (IdentityView, error) {
	if err := op.Require(access.Approve); err != nil {
		return IdentityView{}, err
	}
	return s.tagging(ctx, op, id, reason, "untag", func(i identity.Identity, reason string) (identity.Identity, audit.Entry, error) {
		next, err := i.WithoutTag(tag, string(op.ID), reason, s.now().UTC())
		return next, audit.Entry{Kind: audit.IdentityUntagged, Text: fmt.Sprintf("%s took the tag %s from %s: %s", op.ID, tag, i.Name, reason), Data: map[string]any{"tag": string(tag), "reason": reason}}, err
	})
}

func (s *Service) tagging(ctx context.Context, op access.Operator, id identity.ID, reason, what string, change func(identity.Identity, string) (identity.Identity, audit.Entry, error)) (IdentityView, error) {
	reason, err := checkReason(reason, true)
	if err != nil {
		return IdentityView{}, fmt.Errorf("%s: %w", what, err)
	}
	seen, err := s.store.Identity(ctx, op.Tenant, id)
	if err != nil {
		return IdentityView{}, err
	}
	// A tag is a brake: it goes before what waits to be written.
	err = s.store.Brake(ctx, func(tx Tx) error {
		i, err := tx.IdentityAlone(seen.Tenant, seen.ID)
		if err != nil {
			return err
		}
		if i.LivesIn != "" {
			return fault.Errorf(fault.Conflict, "%s: %s was linked into %s just now", what, i.ID, i.LivesIn)
		}
		if err := s.impartial(tx, op, i.Tenant, i.ID, what); err != nil {
			return err
		}
		next, e, err := change(i, reason)
		if err != nil {
			return err
		}
		if _, err := tx.PutIdentity(next); err != nil {
			return err
		}
		e.Tenant, e.At, e.Actor, e.Identity = i.Tenant, s.now().UTC(), access.ByOperator(op.ID), string(i.ID)
		return tx.Audit(e)
	})
	if err != nil {
		return IdentityView{}, err
	}
	s.nudge(seen.Tenant)
	return s.IdentityView(ctx, op, seen.ID)
}
