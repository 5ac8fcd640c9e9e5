package store

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// questionStore is the store as package question needs it.
type questionStore struct{ db *DB }

// Questions returns the store as package question needs it.
func (db *DB) Questions() question.Store { return questionStore{db} }

func (s questionStore) Update(ctx context.Context, change func(question.Tx) error) error {
	return s.db.update(ctx, rankOther, func(tx *Tx) error { return change(tx) })
}

func (s questionStore) DueQuestions(ctx context.Context, t identity.Tenant, now time.Time, limit int) ([]question.Question, error) {
	out, err := docsOf[question.Question](ctx, s.db.reads(), `SELECT doc FROM questions
		WHERE tenant = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?`, string(t), now.UnixMicro(), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("due questions: %w", err)
	}
	return out, nil
}

// Question is desk.Store's.
func (s deskStore) Question(ctx context.Context, t identity.Tenant, id question.ID) (question.Question, error) {
	return one[question.Question](ctx, s.db, "question", "questions", t, string(id))
}

const selectQuestion = `SELECT doc FROM questions WHERE tenant = ? AND id = ?`

// Question returns fault.NotFound when there is none.
func (tx *Tx) Question(t identity.Tenant, id question.ID) (question.Question, error) {
	return docByID[question.Question](tx, "questions", "question", selectQuestion, t, string(id))
}

// QuestionsOfRun returns the run's questions, oldest first.
func (tx *Tx) QuestionsOfRun(t identity.Tenant, id run.ID) ([]question.Question, error) {
	if err := tx.settle(); err != nil {
		return nil, err
	}
	return txDocs[question.Question](tx, "questions of run", `SELECT doc FROM questions WHERE tenant = ? AND run = ?
		ORDER BY asked_at, id`, string(t), string(id))
}

// QuestionsSent is question.Tx's.
func (tx *Tx) QuestionsSent(t identity.Tenant, id identity.ID, since time.Time) (int, error) {
	if err := tx.settle(); err != nil {
		return 0, err
	}
	var n int64
	q, args := `SELECT count(*) FROM questions WHERE tenant = ? AND linked = 1 AND asked_at >= ?`, []any{string(t), micros0(since)}
	if id != "" {
		q, args = q+` AND identity = ?`, append(args, string(id))
	}
	if _, err := tx.row([]any{&n}, q, args...); err != nil {
		return 0, fmt.Errorf("questions that were sent: %w", err)
	}
	return int(n), nil
}

// PutQuestion stores q; its run is due until it is put.
func (tx *Tx) PutQuestion(q question.Question) (question.Question, error) {
	if err := mustTenant("question", q.Tenant); err != nil {
		return q, err
	}
	was := q.Version
	if q.ID == "" {
		q.ID, was = question.ID(tx.NewID("qst")), 0
	}
	q.Version = was + 1
	doc, err := encode(q)
	if err != nil {
		return q, fmt.Errorf("question %s: %w", q.ID, err)
	}
	w := keyed("questions", "question", q.Tenant, string(q.ID))
	w.col("run", q.Run)
	w.col("identity", string(q.Identity))
	w.col("state", string(q.State))
	w.col("asked_at", micros0(q.AskedAt))
	w.col("linked", flag(q.Via != ""))
	w.col("due_at", micros(q.DueAt))
	w.col("version", q.Version)
	w.col("doc", doc)
	if err := tx.separate("questions", q.Tenant, string(q.ID)); err != nil {
		return q, err
	}
	if _, err := tx.putVersioned(w, q.Tenant, string(q.ID), was, doc, selectQuestion); err != nil {
		return q, err
	}
	tx.stir(q.Tenant, q.Run)
	return q, nil
}
