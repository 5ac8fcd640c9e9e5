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

// Identity returns fault.NotFound when there is none. An identity that was linked
// into another comes back as that one.
func (tx *Tx) Identity(t identity.Tenant, id identity.ID) (identity.Identity, error) {
	i, err := tx.IdentityAlone(t, id)
	for n := 0; err == nil && i.LivesIn != "" && n < linksDeep; n++ {
		i, err = tx.IdentityAlone(t, i.LivesIn)
	}
	return i, err
}

// linksDeep bounds how far links are followed.
const linksDeep = 20

// IdentityAlone is Identity for who wants the emptied one of a link.
func (tx *Tx) IdentityAlone(t identity.Tenant, id identity.ID) (identity.Identity, error) {
	k, err := tx.stored("identities", "identity", selectIdentity, t, string(id))
	if err != nil {
		return identity.Identity{}, err
	}
	return k.identity()
}

// identity decodes the identity once; what is in its lists is the caller's.
func (k *kept) identity() (identity.Identity, error) {
	i, err := shared[identity.Identity](k)
	i.Accounts, i.Conflicts = slices.Clone(i.Accounts), slices.Clone(i.Conflicts)
	return i, err
}

// IdentitiesByKeys returns the identities that own any of the keys, oldest first.
func (tx *Tx) IdentitiesByKeys(t identity.Tenant, keys []identity.Key) ([]identity.Identity, error) {
	var out []identity.Identity
	seen := map[identity.ID]bool{}
	for _, k := range keys { // one to three of them
		id, err := tx.ownerOf(t, k)
		if err != nil {
			return nil, fmt.Errorf("identities by keys: %w", err)
		}
		if id == "" || seen[id] {
			continue
		}
		seen[id] = true
		i, err := tx.Identity(t, id)
		if err != nil {
			return nil, fmt.Errorf("identities by keys: %w", err)
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b identity.Identity) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// ownerOf returns whose the key is, empty when it is nobody's, and learns the
// owner's row on the way. Keys that wait to be written are known here.
func (tx *Tx) ownerOf(t identity.Tenant, k identity.Key) (identity.ID, error) {
	k.Value = clean1(k.Value)
	at := ownedKey{t, k}
	if id, ok := tx.owners[at]; ok {
		return id, nil
	}
	var id string
	var doc string
	ok, err := scanRow(tx.ctx, tx.raw, []any{&id, &doc}, `SELECT i.id, i.doc FROM identity_keys k
		JOIN identities i ON i.tenant = k.tenant AND i.id = k.identity
		WHERE k.tenant = ? AND k.kind = ? AND k.value = ?`, string(t), string(k.Kind), k.Value)
	if tx.keep(err) != nil {
		return "", err
	}
	if ok {
		tx.learn("identities", t, id, doc)
	}
	tx.owners[at] = identity.ID(id)
	return identity.ID(id), nil
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
	fail := func(err error) (identity.Identity, error) { return i, fmt.Errorf("identity %s: %w", i.ID, err) }
	k, err := tx.fetch("identities", i.Tenant, string(i.ID), selectIdentity, string(i.Tenant), string(i.ID))
	if err != nil {
		return fail(err)
	}
	var old identity.Identity
	if k.doc != "" {
		if old, err = k.identity(); err != nil {
			return fail(err)
		}
	}
	keys, had := i.Keys(), old.Keys()
	for _, key := range keys {
		if slices.Contains(had, key) {
			continue
		}
		owner, err := tx.ownerOf(i.Tenant, key)
		if err != nil {
			return fail(err)
		}
		if owner != "" && owner != i.ID {
			return i, fault.Errorf(fault.Conflict, "identity %s: %s %s belongs to identity %s", i.ID, key.Kind, key.Value, owner)
		}
	}
	doc, err := encode(i)
	if err != nil {
		return fail(err)
	}
	names := accountNames(i)
	r := keyed("identities", "identity", i.Tenant, string(i.ID))
	r.taken = replace
	r.col("kind", string(i.Kind))
	r.col("name_key", strings.ToLower(i.Name))
	r.col("search", strings.Join(append([]string{strings.ToLower(i.Name)}, names...), "\n"))
	r.col("facts_at", micros0(factsAt(i)))
	r.col("onprem_at", micros0(onPremisesOf(i)))
	r.col("updated_at", micros0(i.UpdatedAt))
	r.col("doc", doc)
	tx.put(k, r, doc)
	if err := tx.putKeys(i, keys, had); err != nil {
		return i, fmt.Errorf("identity %s: keys: %w", i.ID, err)
	}
	if err := tx.putNames(i, names, accountNames(old)); err != nil {
		return i, fmt.Errorf("identity %s: names: %w", i.ID, err)
	}
	tx.touch(Topic{TopicIdentity, i.Tenant, string(i.ID)})
	return i, nil
}

// putKeys makes the identity's key rows, which are those it had, those given; the
// caller has checked that nobody else owns them.
func (tx *Tx) putKeys(i identity.Identity, keys, had []identity.Key) error {
	for _, k := range had {
		if slices.Contains(keys, k) {
			continue
		}
		if _, err := tx.run(`DELETE FROM identity_keys WHERE tenant = ? AND kind = ? AND value = ?`,
			string(i.Tenant), string(k.Kind), k.Value); err != nil {
			return err
		}
		tx.owners[ownedKey{i.Tenant, identity.Key{Kind: k.Kind, Value: clean1(k.Value)}}] = ""
	}
	for _, k := range keys {
		if slices.Contains(had, k) {
			continue
		}
		r := row{table: "identity_keys", what: "key", keys: 3}
		r.col("tenant", string(i.Tenant))
		r.col("kind", string(k.Kind))
		r.col("value", k.Value)
		r.col("identity", string(i.ID))
		tx.loose = append(tx.loose, r)
		tx.owners[ownedKey{i.Tenant, identity.Key{Kind: k.Kind, Value: clean1(k.Value)}}] = i.ID
	}
	return nil
}

// putNames makes the identity's name rows, which are those it had, those given.
func (tx *Tx) putNames(i identity.Identity, names, had []string) error {
	for _, n := range had {
		if !slices.Contains(names, n) {
			if _, err := tx.run(`DELETE FROM identity_names WHERE tenant = ? AND identity = ? AND name = ?`,
				string(i.Tenant), string(i.ID), n); err != nil {
				return err
			}
		}
	}
	for _, n := range names {
		if !slices.Contains(had, n) {
			r := row{table: "identity_names", what: "name", keys: 3, taken: leave}
			r.col("tenant", string(i.Tenant))
			r.col("identity", string(i.ID))
			r.col("name", n)
			tx.loose = append(tx.loose, r)
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
	if err := tx.send(tx.directoryAhead(t)); err != nil {
		return connector.DirectoryFacts{}, fmt.Errorf("directory facts: %w", err)
	}
	return tx.dirs[t], nil
}

// PutDirectory stores d unless a later reading is stored already.
func (tx *Tx) PutDirectory(t identity.Tenant, d connector.DirectoryFacts) error {
	doc, err := encode(d)
	if err != nil {
		return fmt.Errorf("directory facts: %w", err)
	}
	delete(tx.dirs, t)
	if _, err := tx.run(`INSERT INTO directory_facts (tenant, as_of, doc) VALUES (?, ?, ?)
		ON CONFLICT (tenant) DO UPDATE SET as_of = excluded.as_of, doc = excluded.doc
		WHERE excluded.as_of >= directory_facts.as_of`, string(t), micros0(d.AsOf), doc); err != nil {
		return fmt.Errorf("directory facts: %w", err)
	}
	return nil
}
