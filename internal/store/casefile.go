package store

import (
	"fmt"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const selectCase = `SELECT doc FROM cases WHERE tenant = ? AND id = ?`

// Case returns fault.NotFound when there is none.
func (tx *Tx) Case(t identity.Tenant, id casefile.ID) (casefile.Case, error) {
	return txDoc[casefile.Case](tx, "case", selectCase, string(t), string(id))
}

// OpenCase returns the identity's case without a verdict, and false when there
// is none.
func (tx *Tx) OpenCase(t identity.Tenant, id identity.ID) (casefile.Case, bool, error) {
	c, ok, err := docOf[casefile.Case](tx.ctx, tx.c, `SELECT doc FROM cases
		WHERE tenant = ? AND identity = ? AND status <> 'closed'`, string(t), string(id))
	if err != nil {
		return c, false, fmt.Errorf("open case of identity %s: %w", id, tx.keep(err))
	}
	return c, ok, nil
}

// LastVerdict returns the newest verdict over the identity's closed cases.
func (tx *Tx) LastVerdict(t identity.Tenant, id identity.ID) (casefile.Verdict, bool, error) {
	c, ok, err := docOf[casefile.Case](tx.ctx, tx.c, `SELECT doc FROM cases
		WHERE tenant = ? AND identity = ? AND verdict_at IS NOT NULL ORDER BY verdict_at DESC, id DESC LIMIT 1`,
		string(t), string(id))
	if err != nil {
		return casefile.Verdict{}, false, fmt.Errorf("last verdict over identity %s: %w", id, tx.keep(err))
	}
	if !ok || c.Verdict == nil {
		return casefile.Verdict{}, false, nil
	}
	return *c.Verdict, true, nil
}

// PutCase stores c. A second open case of an identity is fault.Conflict.
func (tx *Tx) PutCase(c casefile.Case) (casefile.Case, error) {
	if err := mustTenant("case", c.Tenant); err != nil {
		return c, err
	}
	was := c.Version
	if c.ID == "" {
		c.ID, was = casefile.ID(tx.NewID("case")), 0
	}
	c.Version = was + 1
	doc, err := encode(c)
	if err != nil {
		return c, fmt.Errorf("case %s: %w", c.ID, err)
	}
	r := row{table: "cases", what: "case"}
	r.col("identity", string(c.Identity))
	r.col("name_key", strings.ToLower(c.Name))
	r.col("status", string(c.Status))
	r.col("rank", int64(c.Level.Rank()))
	r.col("score", int64(c.Score))
	r.col("last_signal", micros0(c.LastSignal))
	if c.Verdict != nil {
		r.col("verdict", string(c.Verdict.Word))
		r.col("verdict_at", micros0(c.Verdict.At))
	} else {
		r.col("verdict", nil)
		r.col("verdict_at", nil)
	}
	r.col("version", c.Version)
	r.col("doc", doc)
	if err := tx.putVersioned(r, c.Tenant, string(c.ID), was); err != nil {
		return c, err
	}
	tx.touch(Topic{TopicCase, c.Tenant, string(c.ID)})
	return c, nil
}

// putVersioned inserts the row when was is 0 and otherwise replaces that version.
func (tx *Tx) putVersioned(r row, t identity.Tenant, id string, was int64) error {
	if was == 0 {
		return tx.insert(r, t, id)
	}
	return tx.updateRow(r, t, id, was)
}
