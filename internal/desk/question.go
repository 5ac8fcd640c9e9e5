package desk

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// Question returns what a link asks, for whoever has the link: it needs no operator.
// It changes nothing. A link that opens nothing, whatever the reason, is
// fault.NotFound; an address that tried too many of them has to wait
// (fault.Unavailable with a time).
func (s *Service) Question(ctx context.Context, id question.ID, token, from string) (question.Question, error) {
	if err := s.guests.wait(from); err != nil {
		return question.Question{}, err
	}
	q, err := s.store.Question(ctx, "", id)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return question.Question{}, fmt.Errorf("read a question: %w", err)
	}
	if err := q.Opens(token, s.now().UTC()); err != nil { // of none the zero value: it takes as long
		s.guests.failed(from)
		return question.Question{}, err
	}
	q.Hash, q.Nonce = nil, nil
	return q, nil
}

// Reply takes the answer of whoever has the link, once. The run that waits for it goes
// on in the same transaction. Errors are those of Question, and fault.Invalid for an
// answer that is none.
func (s *Service) Reply(ctx context.Context, id question.ID, token string, a question.Answer, from string) (question.Question, error) {
	seen, err := s.Question(ctx, id, token, from)
	if err != nil {
		return seen, err
	}
	var q question.Question
	err = s.store.Update(ctx, func(tx Tx) error {
		if q, err = tx.Question(seen.Tenant, seen.ID); err != nil {
			return err
		}
		q.From = from
		standing, err := question.StandingOf(tx, q, s.asking())
		if err != nil {
			return err
		}
		if q, err = q.Reply(token, a, from, standing.Doubts(), s.now().UTC()); err != nil {
			return err
		}
		if q, err = tx.PutQuestion(q); err != nil {
			return err
		}
		if err := tx.Audit(question.AnsweredEntry(q)); err != nil {
			return err
		}
		_, err = s.driver.Advance(tx, run.Key{Tenant: q.Tenant, ID: run.ID(q.Run)})
		return err
	})
	if err != nil {
		return question.Question{}, err
	}
	s.nudge(q.Tenant)
	return q, nil
}
