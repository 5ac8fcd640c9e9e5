package desktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// SeedRisks stores versions of what sources say of an identity's accounts.
func (s *Store) SeedRisks(owner identity.ID, list ...signal.AccountRisk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tx{tables: s.tables}
	for _, r := range list {
		t.set("risks", fmt.Sprintf("%s|%s|%d", account(r.Subject), r.State, r.UpdatedAt.UnixNano()), r.Tenant, string(owner), r)
	}
}

// SeedRecords stores records.
func (s *Store) SeedRecords(list ...record.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tx{tables: s.tables}
	for _, r := range list {
		t.set("records", string(r.Source)+"|"+r.ExternalID, r.Tenant, "", r)
	}
}

func account(r identity.Ref) string {
	if k := r.Keys(); len(k) > 0 {
		return string(k[0].Kind) + ":" + k[0].Value
	}
	return ""
}

func (t *tx) risks(tenant identity.Tenant, id identity.ID) []signal.AccountRisk {
	var out []signal.AccountRisk
	for _, r := range t.tables["risks"] {
		if r.tenant == tenant && r.owner == string(id) {
			out = append(out, decode[signal.AccountRisk](r))
		}
	}
	slices.SortFunc(out, func(a, b signal.AccountRisk) int {
		if c := b.UpdatedAt.Compare(a.UpdatedAt); c != 0 {
			return c
		}
		return strings.Compare(account(a.Subject), account(b.Subject))
	})
	return out
}

func (t *tx) AccountRisksOf(tenant identity.Tenant, id identity.ID) ([]signal.AccountRisk, error) {
	newest := map[string]signal.AccountRisk{}
	for _, r := range t.risks(tenant, id) {
		if old, ok := newest[account(r.Subject)]; !ok || r.Newer(old) {
			newest[account(r.Subject)] = r
		}
	}
	var out []signal.AccountRisk
	for _, r := range newest {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b signal.AccountRisk) int { return strings.Compare(account(a.Subject), account(b.Subject)) })
	return out, nil
}

func (t *tx) IdentityAlone(tenant identity.Tenant, id identity.ID) (identity.Identity, error) {
	return get[identity.Identity](t, "identities", "identity", tenant, string(id))
}

func (t *tx) Identity(tenant identity.Tenant, id identity.ID) (identity.Identity, error) {
	i, err := t.IdentityAlone(tenant, id)
	if err == nil && i.LivesIn != "" {
		return t.Identity(i.Tenant, i.LivesIn)
	}
	return i, err
}

// Identity implements desk.Store.
func (s *Store) Identity(_ context.Context, t identity.Tenant, id identity.ID) (identity.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view().Identity(t, id)
}

func (t *tx) PutNote(n casefile.Note) (casefile.Note, error) {
	n.ID = casefile.NoteID(t.NewID("note"))
	t.set("notes", string(n.ID), n.Tenant, string(n.Case), n)
	return n, nil
}

func (t *tx) Exceptions(tenant identity.Tenant) ([]risk.Exception, error) {
	out := all(t, "exceptions", tenant, func(risk.Exception) bool { return true })
	slices.SortFunc(out, func(a, b risk.Exception) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (t *tx) PutException(e risk.Exception) (risk.Exception, error) {
	if e.ID == "" {
		e.ID = t.NewID("exc")
	}
	t.set("exceptions", e.ID, e.Tenant, "", e)
	return e, nil
}

func (t *tx) LastVerdict(tenant identity.Tenant, id identity.ID) (casefile.Verdict, bool, error) {
	found := all(t, "cases", tenant, func(c casefile.Case) bool { return c.Identity == id && c.Verdict != nil })
	if len(found) == 0 {
		return casefile.Verdict{}, false, nil
	}
	return *slices.MaxFunc(found, func(a, b casefile.Case) int { return a.Verdict.At.Compare(b.Verdict.At) }).Verdict, true, nil
}

func (t *tx) IdentitiesByKeys(tenant identity.Tenant, keys []identity.Key) ([]identity.Identity, error) {
	out := all(t, "identities", tenant, func(i identity.Identity) bool {
		return slices.ContainsFunc(i.Keys(), func(k identity.Key) bool { return slices.Contains(keys, k) })
	})
	slices.SortFunc(out, func(a, b identity.Identity) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

func (t *tx) PutIdentity(i identity.Identity) (identity.Identity, error) {
	if i.ID == "" {
		i.ID = identity.ID(t.NewID("idn"))
	}
	owners, err := t.IdentitiesByKeys(i.Tenant, i.Keys())
	if err != nil {
		return i, err
	}
	for _, o := range owners {
		if o.ID != i.ID {
			return i, fault.Errorf(fault.Conflict, "identity %s: a key belongs to identity %s", i.ID, o.ID)
		}
	}
	t.set("identities", string(i.ID), i.Tenant, "", i)
	return i, nil
}

func (t *tx) MoveSignals(tenant identity.Tenant, from, to identity.ID, signals []signal.Key, accounts []identity.Ref) error {
	for _, k := range signals {
		id := string(k.Source) + "|" + k.ExternalID
		r, ok := t.tables["signals"][id]
		if !ok || r.tenant != tenant || r.owner != string(from) {
			return fault.Errorf(fault.Conflict, "signal %s does not belong to identity %s any more", k.ExternalID, from)
		}
		r.owner = string(to)
		t.tables["signals"][id] = r
	}
	for _, ref := range accounts {
		for id, r := range t.tables["risks"] {
			if r.tenant == tenant && r.owner == string(from) && account(decode[signal.AccountRisk](r).Subject) == account(ref) {
				r.owner = string(to)
				t.tables["risks"][id] = r
			}
		}
	}
	return nil
}

func (s *Store) view() *tx { return &tx{tables: s.tables} }

// Notes implements desk.Store.
func (s *Store) Notes(_ context.Context, t identity.Tenant, id casefile.ID) ([]casefile.Note, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := all(s.view(), "notes", t, func(n casefile.Note) bool { return n.Case == id })
	slices.SortFunc(out, func(a, b casefile.Note) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return out, nil
}

// Exceptions implements desk.Store.
func (s *Store) Exceptions(_ context.Context, t identity.Tenant) ([]risk.Exception, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view().Exceptions(t)
}

// AccountRisks implements desk.Store.
func (s *Store) AccountRisks(_ context.Context, t identity.Tenant, id identity.ID, limit int) ([]signal.AccountRisk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.view().risks(t, id)
	return out[:min(limit, len(out))], nil
}

// AccountRisksNow implements desk.Store.
func (s *Store) AccountRisksNow(_ context.Context, t identity.Tenant, id identity.ID) ([]signal.AccountRisk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view().AccountRisksOf(t, id)
}

// Assessments implements desk.Store: earlier ones are not kept here.
func (s *Store) Assessments(_ context.Context, t identity.Tenant, id identity.ID, _ int) ([]risk.Assessment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.view().Assessment(t, id)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return []risk.Assessment{a}, err
}

// LastVerdict implements desk.Store.
func (s *Store) LastVerdict(_ context.Context, t identity.Tenant, id identity.ID) (casefile.Verdict, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view().LastVerdict(t, id)
}

// Records implements record.Reader.
func (s *Store) Records(_ context.Context, q record.Query) (record.Page, error) {
	if len(q.Accounts) > 0 && q.Tenant == "" {
		return record.Page{}, fault.Errorf(fault.Invalid, "records: asking for accounts needs a tenant")
	}
	names := q.Names()
	list := read[record.Record](s, "records", q.Tenant)
	list = slices.DeleteFunc(list, func(r record.Record) bool {
		named := len(q.Accounts) == 0 || slices.ContainsFunc(r.Accounts(), func(n string) bool { return slices.Contains(names, n) })
		return !named || !in(r.Source, q.Sources) || !in(r.Type, q.Types) || !in(r.State, q.States) || !is(r.IP, q.IP) ||
			!is(r.Session, q.Session) || !is(r.ExternalID, q.ExternalID) || r.At.Before(q.Since) || !q.Until.IsZero() && !r.At.Before(q.Until)
	})
	slices.SortFunc(list, func(a, b record.Record) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(a.ExternalID, b.ExternalID)
	})
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	return record.Page{Records: list[:min(limit, len(list))]}, nil
}
