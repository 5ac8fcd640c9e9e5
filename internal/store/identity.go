package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const selectIdentity = `SELECT doc FROM identities WHERE tenant = ? AND id = ?`

// Identity returns fault.NotFound when there is none.
func (tx *Tx) Identity(t identity.Tenant, id identity.ID) (identity.Identity, error) {
	return txDoc[identity.Identity](tx, "identity", selectIdentity, string(t), string(id))
}

// IdentitiesByKeys returns the identities that own any of the keys, oldest first.
func (tx *Tx) IdentitiesByKeys(t identity.Tenant, keys []identity.Key) ([]identity.Identity, error) {
	v, err := identitiesByKeys(tx.ctx, tx.c, t, keys)
	if err != nil {
		return nil, fmt.Errorf("identities by keys: %w", tx.keep(err))
	}
	return v, nil
}

func identitiesByKeys(ctx context.Context, c conn, t identity.Tenant, keys []identity.Key) ([]identity.Identity, error) {
	var out []identity.Identity
	seen := map[identity.ID]bool{}
	for _, k := range keys { // one to three of them
		i, ok, err := docOf[identity.Identity](ctx, c, `SELECT i.doc FROM identity_keys k
			JOIN identities i ON i.tenant = k.tenant AND i.id = k.identity
			WHERE k.tenant = ? AND k.kind = ? AND k.value = ?`, string(t), string(k.Kind), k.Value)
		if err != nil {
			return nil, err
		}
		if ok && !seen[i.ID] {
			seen[i.ID] = true
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b identity.Identity) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// PutIdentity stores i with its keys; an empty ID makes a new identity. It
// returns fault.Conflict when a key is owned by another identity.
func (tx *Tx) PutIdentity(i identity.Identity) (identity.Identity, error) {
	if err := mustTenant("identity", i.Tenant); err != nil {
		return i, err
	}
	if i.ID == "" {
		i.ID = identity.ID(tx.NewID("idn"))
	}
	keys := i.Keys()
	for _, k := range keys {
		var owner string
		ok, err := tx.row([]any{&owner}, `SELECT identity FROM identity_keys WHERE tenant = ? AND kind = ? AND value = ?`,
			string(i.Tenant), string(k.Kind), k.Value)
		if err != nil {
			return i, fmt.Errorf("identity %s: %w", i.ID, err)
		}
		if ok && owner != string(i.ID) {
			return i, fault.Errorf(fault.Conflict, "identity %s: %s %s belongs to identity %s", i.ID, k.Kind, k.Value, owner)
		}
	}
	doc, err := encode(i)
	if err != nil {
		return i, fmt.Errorf("identity %s: %w", i.ID, err)
	}
	names := accountNames(i)
	search := strings.Join(append([]string{strings.ToLower(i.Name)}, names...), "\n")
	if _, err := tx.exec(`INSERT INTO identities (tenant, id, kind, name_key, search, facts_at, onprem_at, updated_at, doc)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET kind = excluded.kind, name_key = excluded.name_key, search = excluded.search,
			facts_at = excluded.facts_at, onprem_at = excluded.onprem_at, updated_at = excluded.updated_at, doc = excluded.doc`,
		string(i.Tenant), string(i.ID), string(i.Kind), strings.ToLower(i.Name), search,
		micros0(factsAt(i)), micros0(onPremisesOf(i)), micros0(i.UpdatedAt), doc); err != nil {
		return i, fmt.Errorf("identity %s: %w", i.ID, err)
	}
	if err := tx.putKeys(i, keys); err != nil {
		return i, fmt.Errorf("identity %s: keys: %w", i.ID, err)
	}
	if err := tx.putNames(i, names); err != nil {
		return i, fmt.Errorf("identity %s: names: %w", i.ID, err)
	}
	tx.touch(Topic{TopicIdentity, i.Tenant, string(i.ID)})
	return i, nil
}

// putKeys makes the identity's key rows those given; the caller has checked
// that nobody else owns them.
func (tx *Tx) putKeys(i identity.Identity, keys []identity.Key) error {
	var have []identity.Key
	err := eachRow(tx.ctx, tx.c, func(r rows) error {
		var k identity.Key
		err := r.Scan(&k.Kind, &k.Value)
		have = append(have, k)
		return err
	}, `SELECT kind, value FROM identity_keys WHERE tenant = ? AND identity = ?`, string(i.Tenant), string(i.ID))
	if tx.keep(err) != nil {
		return err
	}
	for _, k := range have {
		if slices.Contains(keys, k) {
			continue
		}
		if _, err := tx.exec(`DELETE FROM identity_keys WHERE tenant = ? AND kind = ? AND value = ?`,
			string(i.Tenant), string(k.Kind), k.Value); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if slices.Contains(have, k) {
			continue
		}
		if _, err := tx.exec(`INSERT INTO identity_keys (tenant, kind, value, identity) VALUES (?, ?, ?, ?)`,
			string(i.Tenant), string(k.Kind), k.Value, string(i.ID)); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) putNames(i identity.Identity, names []string) error {
	var have []string
	err := eachRow(tx.ctx, tx.c, func(r rows) error {
		var n string
		err := r.Scan(&n)
		have = append(have, n)
		return err
	}, `SELECT name FROM identity_names WHERE tenant = ? AND identity = ?`, string(i.Tenant), string(i.ID))
	if tx.keep(err) != nil {
		return err
	}
	for _, n := range have {
		if !slices.Contains(names, n) {
			if _, err := tx.exec(`DELETE FROM identity_names WHERE tenant = ? AND identity = ? AND name = ?`,
				string(i.Tenant), string(i.ID), n); err != nil {
				return err
			}
		}
	}
	for _, n := range names {
		if !slices.Contains(have, n) {
			if _, err := tx.exec(`INSERT INTO identity_names (tenant, identity, name) VALUES (?, ?, ?)
				ON CONFLICT DO NOTHING`, string(i.Tenant), string(i.ID), n); err != nil {
				return err
			}
		}
	}
	return nil
}

// accountNames returns the UPNs of an identity as they are searched for.
func accountNames(i identity.Identity) []string {
	var out []string
	for _, a := range i.Accounts {
		if n := strings.ToLower(clean1(a.UPN)); n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// readable reports whether a Lookup can read the account's facts in the cloud: one
// with its own key.
func readable(a identity.Account) bool {
	return a.Provider != identity.ActiveDirectory && a.ObjectID != ""
}

// onPremisesKnown reports whether the account can be read in Active Directory.
func onPremisesKnown(a identity.Account) bool {
	return a.Provider == identity.ActiveDirectory && (a.SID != "" || a.GUID != "")
}

// onPremisesAt is when all of an account in Active Directory was last read: what
// every directory says, and what it is a member of.
func onPremisesAt(a identity.Account) time.Time {
	f := a.Facts
	gone := f.Found != nil && !*f.Found
	foreign := f.OnPremises != nil && f.OnPremises.Class == identity.ClassForeign
	switch {
	case foreign:
		return f.RolesAsOf
	case gone || f.AsOf.Before(f.RolesAsOf):
		return f.AsOf
	}
	return f.RolesAsOf
}

// onPremisesOf is the oldest reading of the identity's accounts in Active
// Directory; far in the future when it has none.
func onPremisesOf(i identity.Identity) time.Time {
	oldest := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, a := range i.Accounts {
		if at := onPremisesAt(a); onPremisesKnown(a) && at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

// factsAt is the oldest reading of the accounts that can be read; zero when one
// was never read. An identity without such accounts is never stale.
func factsAt(i identity.Identity) time.Time {
	oldest := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, a := range i.Accounts {
		if readable(a) && a.Facts.AsOf.Before(oldest) {
			oldest = a.Facts.AsOf
		}
	}
	return oldest
}

// findAccount returns the identities one of whose accounts has the object id,
// SID or UPN, in any tenant when t is empty.
func findAccount(ctx context.Context, c conn, t identity.Tenant, name string) ([]identity.Identity, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		return nil, nil
	}
	var where string
	args := []any{strings.ToLower(strings.Trim(name, "{}")), string(identity.KeyEntraObject),
		strings.ToUpper(name), string(identity.KeySID), strings.ToLower(name)}
	if t != "" {
		where, args = ` AND i.tenant = ?`, append(args, string(t))
	}
	return docsOf[identity.Identity](ctx, c, `SELECT i.doc FROM identities i JOIN (
			SELECT tenant, identity FROM identity_keys WHERE value = ? AND kind = ?
			UNION SELECT tenant, identity FROM identity_keys WHERE value = ? AND kind = ?
			UNION SELECT tenant, identity FROM identity_names WHERE name = ?
		) f ON f.tenant = i.tenant AND f.identity = i.id`+where+` ORDER BY i.id`, args...)
}

// FindAccount returns the identities one of whose accounts has the object id,
// SID or UPN, without regard to case.
func (tx *Tx) FindAccount(t identity.Tenant, name string) ([]identity.Identity, error) {
	v, err := findAccount(tx.ctx, tx.c, t, name)
	if err != nil {
		return nil, fmt.Errorf("find account: %w", tx.keep(err))
	}
	return v, nil
}

const selectDirectory = `SELECT doc FROM directory_facts WHERE tenant = ?`

// Directory returns the zero value when the tenant's directory was never read.
func (tx *Tx) Directory(t identity.Tenant) (connector.DirectoryFacts, error) {
	d, _, err := docOf[connector.DirectoryFacts](tx.ctx, tx.c, selectDirectory, string(t))
	if err != nil {
		return d, fmt.Errorf("directory facts: %w", tx.keep(err))
	}
	return d, nil
}

// PutDirectory stores d unless a later reading is stored already.
func (tx *Tx) PutDirectory(t identity.Tenant, d connector.DirectoryFacts) error {
	doc, err := encode(d)
	if err != nil {
		return fmt.Errorf("directory facts: %w", err)
	}
	if _, err := tx.exec(`INSERT INTO directory_facts (tenant, as_of, doc) VALUES (?, ?, ?)
		ON CONFLICT (tenant) DO UPDATE SET as_of = excluded.as_of, doc = excluded.doc
		WHERE excluded.as_of >= directory_facts.as_of`, string(t), micros0(d.AsOf), doc); err != nil {
		return fmt.Errorf("directory facts: %w", err)
	}
	return nil
}
