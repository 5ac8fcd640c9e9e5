package store

import (
	"bytes"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// SignalsOf returns the current versions of the identity's signals, oldest first.
func (tx *Tx) SignalsOf(t identity.Tenant, id identity.ID) ([]signal.Signal, error) {
	return txDocs[signal.Signal](tx, "signals", `SELECT doc FROM signals WHERE tenant = ? AND identity = ?
		ORDER BY at, source, external_id`, string(t), string(id))
}

// AccountRisksOf returns what the sources say of the identity's accounts.
func (tx *Tx) AccountRisksOf(t identity.Tenant, id identity.ID) ([]signal.AccountRisk, error) {
	return txDocs[signal.AccountRisk](tx, "account risks", `SELECT doc FROM account_risks WHERE tenant = ? AND identity = ?
		ORDER BY account`, string(t), string(id))
}

// PutSignal stores s as a signal of the identity. The current version is the
// newest by Signal.Newer; every other version is kept beside it. What says the same
// in another envelope is a duplicate.
func (tx *Tx) PutSignal(s signal.Signal, owner identity.ID) (ingest.Put, error) {
	what := fmt.Sprintf("signal %s %s", s.Source, s.ExternalID)
	if err := mustTenant(what, s.Tenant); err != nil {
		return "", err
	}
	doc, err := encode(s)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	key := []any{string(s.Tenant), string(s.Source), s.ExternalID}
	sum := digest(doc)
	columns := []any{string(owner), s.Type, int64(s.Level.Rank()), micros0(s.At()), micros0(s.UpdatedAt), sum, doc}

	n, err := tx.exec(`INSERT INTO signals (tenant, source, external_id, identity, type, rank, at, updated_at, digest, doc)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, append(key, columns...)...)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", what, err)
	case n > 0:
		tx.touch(Topic{TopicIdentity, s.Tenant, string(owner)})
		return ingest.PutNew, nil
	}
	var oldDoc, oldSum []byte
	var oldAt int64
	if _, err := tx.row([]any{&oldDoc, &oldSum, &oldAt}, `SELECT doc, digest, updated_at FROM signals
		WHERE tenant = ? AND source = ? AND external_id = ?`, key...); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if bytes.Equal(oldSum, sum) {
		return ingest.PutDuplicate, nil
	}
	old, err := decode[signal.Signal](oldDoc)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	const keep = `INSERT INTO signal_versions (tenant, source, external_id, digest, updated_at, doc)
		VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	if !s.Newer(old) {
		n, err := tx.exec(keep, append(key, sum, micros0(s.UpdatedAt), doc)...)
		if s.Same(old) {
			n = 0
		}
		return olderOr(n, wrap(what, err))
	}
	if _, err := tx.exec(keep, append(key, oldSum, oldAt, string(oldDoc))...); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	// A version that was kept as history and is current again is not both.
	if _, err := tx.exec(`DELETE FROM signal_versions WHERE tenant = ? AND source = ? AND external_id = ? AND digest = ?`,
		append(key, sum)...); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if _, err := tx.exec(`UPDATE signals SET identity = ?, type = ?, rank = ?, at = ?, updated_at = ?, digest = ?, doc = ?
		WHERE tenant = ? AND source = ? AND external_id = ?`, append(columns, key...)...); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if s.Same(old) {
		return ingest.PutDuplicate, nil
	}
	tx.touch(Topic{TopicIdentity, s.Tenant, string(owner)})
	return ingest.PutUpdated, nil
}

// SignalOwner returns the identity that a signal belongs to, and false when there is
// no such signal.
func (tx *Tx) SignalOwner(k signal.Key) (identity.ID, bool, error) {
	var owner string
	found, err := tx.row([]any{&owner}, `SELECT identity FROM signals WHERE tenant = ? AND source = ? AND external_id = ?`,
		string(k.Tenant), string(k.Source), k.ExternalID)
	if err != nil {
		return "", false, fmt.Errorf("owner of signal %s %s: %w", k.Source, k.ExternalID, err)
	}
	return identity.ID(owner), found, nil
}

// olderOr says what keeping a version as history did.
func olderOr(n int64, err error) (ingest.Put, error) {
	switch {
	case err != nil:
		return "", err
	case n == 0:
		return ingest.PutDuplicate, nil
	}
	return ingest.PutOlder, nil
}

// wrap returns err, if any, with what was being done.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// PutAccountRisk stores a source's opinion of an account. The current version is
// the newest by AccountRisk.Newer, in whatever order they come; the others are
// kept. A subject without a strong identifier is fault.Invalid.
func (tx *Tx) PutAccountRisk(r signal.AccountRisk, owner identity.ID) (ingest.Put, error) {
	if err := mustTenant("account risk", r.Tenant); err != nil {
		return "", err
	}
	keys := r.Subject.Keys()
	if len(keys) == 0 {
		return "", fault.Errorf(fault.Invalid, "account risk of %s: it names no strong identifier", r.Subject.Name())
	}
	account := string(keys[0].Kind) + ":" + keys[0].Value
	what := "account risk of " + account
	doc, err := encode(r)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	key := []any{string(r.Tenant), account}
	sum, at := digest(doc), micros0(r.UpdatedAt)
	columns := []any{string(owner), int64(r.Level.Rank()), at, sum, doc}

	n, err := tx.exec(`INSERT INTO account_risks (tenant, account, identity, rank, updated_at, digest, doc)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, append(key, columns...)...)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", what, err)
	case n > 0:
		tx.touch(Topic{TopicIdentity, r.Tenant, string(owner)})
		return ingest.PutNew, nil
	}
	var oldDoc, oldSum []byte
	var oldAt int64
	if _, err := tx.row([]any{&oldDoc, &oldSum, &oldAt}, `SELECT doc, digest, updated_at FROM account_risks
		WHERE tenant = ? AND account = ?`, key...); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if bytes.Equal(oldSum, sum) {
		return ingest.PutDuplicate, nil
	}
	old, err := decode[signal.AccountRisk](oldDoc)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	const keep = `INSERT INTO account_risk_versions (tenant, account, digest, updated_at, doc)
		VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	if !r.Newer(old) {
		n, err := tx.exec(keep, append(key, sum, at, doc)...)
		if r.Same(old) {
			n = 0
		}
		return olderOr(n, wrap(what, err))
	}
	if _, err := tx.exec(keep, append(key, oldSum, oldAt, string(oldDoc))...); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if _, err := tx.exec(`DELETE FROM account_risk_versions WHERE tenant = ? AND account = ? AND digest = ?`,
		append(key, sum)...); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if _, err := tx.exec(`UPDATE account_risks SET identity = ?, rank = ?, updated_at = ?, digest = ?, doc = ?
		WHERE tenant = ? AND account = ?`, append(columns, key...)...); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if r.Same(old) {
		return ingest.PutDuplicate, nil
	}
	tx.touch(Topic{TopicIdentity, r.Tenant, string(owner)})
	return ingest.PutUpdated, nil
}

// PutReject keeps a record that could not be read, once however often it comes.
func (tx *Tx) PutReject(t identity.Tenant, n connector.Name, r connector.Reject, at time.Time) error {
	doc, err := encode(r)
	if err != nil {
		return fmt.Errorf("reject at %s: %w", r.Place, err)
	}
	sum := digest(string(r.Source) + "\x00" + r.Reason + "\x00" + string(r.Raw))
	if _, err := tx.exec(`INSERT INTO rejects (tenant, connector, digest, first_at, last_at, times, doc)
		VALUES (?, ?, ?, ?, ?, 1, ?)
		ON CONFLICT (tenant, connector, digest) DO UPDATE SET last_at = excluded.last_at, times = rejects.times + 1`,
		string(t), string(n), sum, micros0(at), micros0(at), doc); err != nil {
		return fmt.Errorf("reject at %s: %w", r.Place, err)
	}
	return nil
}

// PutCursor stores the stream's bookmark.
func (tx *Tx) PutCursor(t identity.Tenant, n connector.Name, c connector.Cursor, at time.Time) error {
	if _, err := tx.exec(`INSERT INTO cursors (tenant, connector, cursor, at) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant, connector) DO UPDATE SET cursor = excluded.cursor, at = excluded.at`,
		string(t), string(n), string(c), micros0(at)); err != nil {
		return fmt.Errorf("cursor of %s: %w", n, err)
	}
	return nil
}

const selectAssessment = `SELECT doc FROM assessments WHERE tenant = ? AND identity = ?`

// Assessment returns the latest one, and fault.NotFound when the identity was
// never assessed.
func (tx *Tx) Assessment(t identity.Tenant, id identity.ID) (risk.Assessment, error) {
	return txDoc[risk.Assessment](tx, "assessment of identity", selectAssessment, string(t), string(id))
}

// PutAssessment makes a the identity's latest assessment. An earlier one that
// says something else is kept.
func (tx *Tx) PutAssessment(a risk.Assessment) error {
	what := fmt.Sprintf("assessment of identity %s", a.Identity)
	if err := mustTenant(what, a.Tenant); err != nil {
		return err
	}
	doc, err := encode(a)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	timeless := a
	timeless.At = time.Time{}
	said, err := encode(timeless)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	sum := digest(said)
	key := []any{string(a.Tenant), string(a.Identity)}
	if _, err := tx.exec(`INSERT INTO assessment_versions (tenant, identity, at, digest, doc)
		SELECT tenant, identity, at, digest, doc FROM assessments WHERE tenant = ? AND identity = ? AND digest <> ?
		ON CONFLICT DO NOTHING`, append(key, sum)...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if _, err := tx.exec(`INSERT INTO assessments (tenant, identity, rank, score, at, digest, doc) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, identity) DO UPDATE SET rank = excluded.rank, score = excluded.score, at = excluded.at,
			digest = excluded.digest, doc = excluded.doc`,
		append(key, int64(a.Level.Rank()), int64(a.Score), micros0(a.At), sum, doc)...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	tx.touch(Topic{TopicIdentity, a.Tenant, string(a.Identity)})
	return nil
}
