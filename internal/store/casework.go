package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// PutNote adds a note to a case and gives it its ID. Notes are never changed.
func (tx *Tx) PutNote(n casefile.Note) (casefile.Note, error) {
	if err := mustTenant("note", n.Tenant); err != nil {
		return n, err
	}
	n.ID = casefile.NoteID(tx.NewID("note"))
	doc, err := encode(n)
	if err != nil {
		return n, fmt.Errorf("note in case %s: %w", n.Case, err)
	}
	if _, err := tx.exec(`INSERT INTO case_notes (tenant, id, case_id, at, doc) VALUES (?, ?, ?, ?, ?)`,
		string(n.Tenant), string(n.ID), string(n.Case), micros0(n.At), doc); err != nil {
		return n, fmt.Errorf("note in case %s: %w", n.Case, err)
	}
	tx.touch(Topic{TopicCase, n.Tenant, string(n.Case)})
	return n, nil
}

const selectExceptions = `SELECT doc FROM exceptions WHERE tenant = ? ORDER BY id`

// Exceptions returns the tenant's exceptions, ended ones too.
func (tx *Tx) Exceptions(t identity.Tenant) ([]risk.Exception, error) {
	return txDocs[risk.Exception](tx, "exceptions", selectExceptions, string(t))
}

// PutException stores an exception; an empty ID makes a new one.
func (tx *Tx) PutException(e risk.Exception) (risk.Exception, error) {
	if err := mustTenant("exception", e.Tenant); err != nil {
		return e, err
	}
	if e.ID == "" {
		e.ID = tx.NewID("exc")
	}
	doc, err := encode(e)
	if err != nil {
		return e, fmt.Errorf("exception %s: %w", e.ID, err)
	}
	if _, err := tx.exec(`INSERT INTO exceptions (tenant, id, doc) VALUES (?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET doc = excluded.doc`, string(e.Tenant), e.ID, doc); err != nil {
		return e, fmt.Errorf("exception %s: %w", e.ID, err)
	}
	return e, nil
}

// MoveSignals gives signals and accounts' risks of one identity to another. What the
// first does not have is fault.Conflict.
func (tx *Tx) MoveSignals(t identity.Tenant, from, to identity.ID, signals []signal.Key, accounts []identity.Ref) error {
	for _, k := range signals {
		n, err := tx.exec(`UPDATE signals SET identity = ? WHERE tenant = ? AND source = ? AND external_id = ? AND identity = ?`,
			string(to), string(t), string(k.Source), k.ExternalID, string(from))
		if err != nil {
			return fmt.Errorf("move signal %s: %w", k.ExternalID, err)
		}
		if n == 0 {
			return fault.Errorf(fault.Conflict, "signal %s does not belong to identity %s any more", k.ExternalID, from)
		}
	}
	for _, r := range accounts {
		keys := r.Keys()
		if len(keys) == 0 {
			continue
		}
		if _, err := tx.exec(`UPDATE account_risks SET identity = ? WHERE tenant = ? AND account = ? AND identity = ?`,
			string(to), string(t), string(keys[0].Kind)+":"+keys[0].Value, string(from)); err != nil {
			return fmt.Errorf("move the risk of %s: %w", r.Name(), err)
		}
	}
	tx.touch(Topic{TopicIdentity, t, string(from)})
	tx.touch(Topic{TopicIdentity, t, string(to)})
	return nil
}

func (s deskStore) Records(ctx context.Context, q record.Query) (record.Page, error) {
	return recordReader(s).Records(ctx, q)
}

func (s deskStore) Notes(ctx context.Context, t identity.Tenant, id casefile.ID) ([]casefile.Note, error) {
	v, err := docsOf[casefile.Note](ctx, s.db.reads(), `SELECT doc FROM case_notes WHERE tenant = ? AND case_id = ? ORDER BY at, id`, string(t), string(id))
	return v, wrap(fmt.Sprintf("notes of case %s", id), err)
}

func (s deskStore) Exceptions(ctx context.Context, t identity.Tenant) ([]risk.Exception, error) {
	q, args := selectExceptions, []any{string(t)}
	if t == "" {
		q, args = `SELECT doc FROM exceptions ORDER BY tenant, id`, nil
	}
	v, err := docsOf[risk.Exception](ctx, s.db.reads(), q, args...)
	return v, wrap("exceptions", err)
}

func (s deskStore) AccountRisks(ctx context.Context, t identity.Tenant, id identity.ID, limit int) ([]signal.AccountRisk, error) {
	now, err := docsOf[signal.AccountRisk](ctx, s.db.reads(), `SELECT doc FROM account_risks WHERE tenant = ? AND identity = ?
		ORDER BY updated_at DESC, account LIMIT ?`, string(t), string(id), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("risks of identity %s: %w", id, err)
	}
	before, err := docsOf[signal.AccountRisk](ctx, s.db.reads(), `SELECT v.doc FROM account_risk_versions v
		JOIN account_risks r ON r.tenant = v.tenant AND r.account = v.account
		WHERE r.tenant = ? AND r.identity = ? ORDER BY v.updated_at DESC, v.account, v.digest LIMIT ?`, string(t), string(id), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("earlier risks of identity %s: %w", id, err)
	}
	out := append(now, before...)
	slices.SortStableFunc(out, func(a, b signal.AccountRisk) int { return b.UpdatedAt.Compare(a.UpdatedAt) })
	return out[:min(limit, len(out))], nil
}

func (s deskStore) AccountRisksNow(ctx context.Context, t identity.Tenant, id identity.ID) ([]signal.AccountRisk, error) {
	v, err := docsOf[signal.AccountRisk](ctx, s.db.reads(), `SELECT doc FROM account_risks WHERE tenant = ? AND identity = ?
		ORDER BY account`, string(t), string(id))
	return v, wrap(fmt.Sprintf("risks of identity %s", id), err)
}

func (s deskStore) Assessments(ctx context.Context, t identity.Tenant, id identity.ID, limit int) ([]risk.Assessment, error) {
	v, err := docsOf[risk.Assessment](ctx, s.db.reads(), `SELECT doc FROM (
			SELECT at, digest, doc FROM assessments WHERE tenant = ? AND identity = ?
			UNION ALL SELECT at, digest, doc FROM assessment_versions WHERE tenant = ? AND identity = ?
		) a ORDER BY at DESC, digest LIMIT ?`, string(t), string(id), string(t), string(id), int64(limit))
	return v, wrap(fmt.Sprintf("assessments of identity %s", id), err)
}

func (s deskStore) LastVerdict(ctx context.Context, t identity.Tenant, id identity.ID) (casefile.Verdict, bool, error) {
	c, ok, err := docOf[casefile.Case](ctx, s.db.reads(), selectLastVerdict, string(t), string(id))
	if err != nil || !ok || c.Verdict == nil {
		return casefile.Verdict{}, false, wrap(fmt.Sprintf("last verdict over identity %s", id), err)
	}
	return *c.Verdict, true, nil
}
