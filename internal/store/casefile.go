package store

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const selectCase = `SELECT doc FROM cases WHERE tenant = ? AND id = ?`

// Case returns fault.NotFound when there is none.
func (tx *Tx) Case(t identity.Tenant, id casefile.ID) (casefile.Case, error) {
	return docByID[casefile.Case](tx, "cases", "case", selectCase, t, string(id))
}

// casesOf returns all cases of an identity.
func (tx *Tx) casesOf(t identity.Tenant, id identity.ID) ([]casefile.Case, error) {
	list, err := tx.loadList("cases", "cases", t, string(id), `SELECT id, doc FROM cases WHERE tenant = ? AND identity = ?`)
	if err != nil {
		return nil, err
	}
	return all(list, func(a, b casefile.Case) int { return cmp.Compare(a.ID, b.ID) })
}

// OpenCase returns the identity's case without a verdict, and false when there
// is none.
func (tx *Tx) OpenCase(t identity.Tenant, id identity.ID) (casefile.Case, bool, error) {
	list, err := tx.casesOf(t, id)
	if err != nil {
		return casefile.Case{}, false, fmt.Errorf("open case of identity %s: %w", id, err)
	}
	for _, c := range list {
		if c.Status != casefile.Closed {
			return c, true, nil
		}
	}
	return casefile.Case{}, false, nil
}

const selectLastVerdict = `SELECT doc FROM cases
	WHERE tenant = ? AND identity = ? AND verdict_at IS NOT NULL ORDER BY verdict_at DESC, id DESC LIMIT 1`

// LastVerdict returns the newest verdict over the identity's closed cases.
func (tx *Tx) LastVerdict(t identity.Tenant, id identity.ID) (casefile.Verdict, bool, error) {
	list, err := tx.casesOf(t, id)
	if err != nil {
		return casefile.Verdict{}, false, fmt.Errorf("last verdict over identity %s: %w", id, err)
	}
	var last *casefile.Verdict
	for _, c := range list { // by id: of two at the same instant the later one
		if c.Verdict != nil && (last == nil || !c.Verdict.At.Before(last.At)) {
			last = c.Verdict
		}
	}
	if last == nil {
		return casefile.Verdict{}, false, nil
	}
	return *last, true, nil
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
	if was == 0 && c.Status != casefile.Closed {
		if other, ok, err := tx.OpenCase(c.Tenant, c.Identity); err != nil {
			return c, err
		} else if ok {
			return c, fault.Errorf(fault.Conflict, "case %s: case %s of the identity is open already", c.ID, other.ID)
		}
	}
	doc, err := encode(c)
	if err != nil {
		return c, fmt.Errorf("case %s: %w", c.ID, err)
	}
	r := keyed("cases", "case", c.Tenant, string(c.ID))
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
	k, err := tx.putVersioned(r, c.Tenant, string(c.ID), was, doc, selectCase)
	if err != nil {
		return c, err
	}
	tx.join("cases", c.Tenant, string(c.Identity), k)
	tx.touch(Topic{TopicCase, c.Tenant, string(c.ID)})
	return c, nil
}
