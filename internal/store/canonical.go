package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Canonical writes what the store holds of a tenant's signals, identities,
// assessments and cases in a form that depends on what was told alone: not on the
// order in which it came, how often, by which channel, when, or into which database.
// It is JSON Lines, sorted. Left out are the store's own ids and times of writing, and
// the raw records, which differ from channel to channel. An identity is named by its
// first strong identifier. Two stores that were told the same write the same bytes, if
// their clocks stood alike when they assessed: risk decays.
func (db *DB) Canonical(ctx context.Context, t identity.Tenant, w io.Writer) error {
	c := canonical{ctx: ctx, db: db, tenant: string(t), names: map[identity.ID]string{}}
	for _, part := range []struct {
		name  string
		write func() error
	}{{"identities", c.identities}, {"signals", c.signals}, {"account risks", c.risks}, {"assessments", c.assessments}, {"cases", c.cases}} {
		if err := part.write(); err != nil {
			return fmt.Errorf("export %s in canonical form: %w", part.name, err)
		}
	}
	slices.SortFunc(c.lines, bytes.Compare)
	out := bufio.NewWriter(w)
	for _, l := range c.lines {
		if _, err := out.Write(append(l, '\n')); err != nil {
			return fmt.Errorf("write the canonical export: %w", err)
		}
	}
	return out.Flush()
}

type canonical struct {
	ctx    context.Context
	db     *DB
	tenant string
	names  map[identity.ID]string
	lines  [][]byte
}

func (c *canonical) line(kind string, of identity.ID, v any) error {
	b, err := json.Marshal(struct {
		Kind     string `json:"kind"`
		Identity string `json:"identity,omitempty"`
		Value    any    `json:"value"`
	}{kind, c.names[of], v})
	c.lines = append(c.lines, b)
	return err
}

func (c *canonical) identities() error {
	list, err := docsOf[identity.Identity](c.ctx, c.db.reads(), `SELECT doc FROM identities WHERE tenant = ?`, c.tenant)
	if err != nil {
		return err
	}
	for _, i := range list {
		keys := i.Keys()
		if len(keys) > 0 {
			c.names[i.ID] = string(keys[0].Kind) + ":" + keys[0].Value
		}
	}
	for _, i := range list {
		owner := i.ID
		i.ID, i.CreatedAt, i.UpdatedAt = "", time.Time{}, time.Time{}
		for n := range i.Accounts {
			i.Accounts[n].Since = time.Time{}
		}
		i.LivesIn = identity.ID(c.names[i.LivesIn])
		for n := range i.Links {
			i.Links[n].At, i.Links[n].Other = time.Time{}, identity.ID(c.names[i.Links[n].Other])
		}
		for n := range i.Conflicts {
			i.Conflicts[n].At = time.Time{}
			for k, o := range i.Conflicts[n].Owners {
				i.Conflicts[n].Owners[k] = identity.ID(c.names[o])
			}
		}
		slices.SortFunc(i.Conflicts, func(a, b identity.Conflict) int { return strings.Compare(a.From, b.From) })
		if err := c.line("identity", owner, i); err != nil {
			return err
		}
	}
	return nil
}

// owned calls write with each document of a table and its owner.
func owned[T any](c *canonical, q string, write func(identity.ID, T) error) error {
	return eachRow(c.ctx, c.db.reads(), func(r rows) error {
		var owner string
		var doc []byte
		if err := r.Scan(&owner, &doc); err != nil {
			return err
		}
		v, err := decode[T](doc)
		if err != nil {
			return err
		}
		return write(identity.ID(owner), v)
	}, q, c.tenant)
}

func (c *canonical) signals() error {
	return owned(c, `SELECT identity, doc FROM signals WHERE tenant = ?`, func(owner identity.ID, s signal.Signal) error {
		s.Raw, s.Notes = nil, nil
		return c.line("signal", owner, s)
	})
}

func (c *canonical) risks() error {
	return owned(c, `SELECT identity, doc FROM account_risks WHERE tenant = ?`, func(owner identity.ID, r signal.AccountRisk) error {
		r.Raw = nil
		return c.line("risk", owner, r)
	})
}

func (c *canonical) assessments() error {
	return owned(c, `SELECT identity, doc FROM assessments WHERE tenant = ?`, func(owner identity.ID, a risk.Assessment) error {
		a.Identity, a.At = "", time.Time{}
		return c.line("assessment", owner, a)
	})
}

func (c *canonical) cases() error {
	return owned(c, `SELECT identity, doc FROM cases WHERE tenant = ?`, func(owner identity.ID, f casefile.Case) error {
		f.ID, f.Identity, f.Version = "", "", 0
		f.OpenedAt, f.UpdatedAt, f.ContainedAt, f.ReopenedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		return c.line("case", owner, f)
	})
}
