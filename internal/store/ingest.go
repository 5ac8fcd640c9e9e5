package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
)

// ingestStore is the store as package ingest needs it.
type ingestStore struct{ db *DB }

func (s ingestStore) Update(ctx context.Context, change func(ingest.Tx) error) error {
	return s.db.update(ctx, rankIngest, func(tx *Tx) error { return change(tx) })
}

func (s ingestStore) Later(ctx context.Context, change func(ingest.Tx) error) error {
	return s.db.update(ctx, rankOther, func(tx *Tx) error { return change(tx) })
}

func (s ingestStore) Cursor(ctx context.Context, t identity.Tenant, n connector.Name) (connector.Cursor, error) {
	var c string
	if _, err := scanRow(ctx, s.db.reads(), []any{&c}, `SELECT cursor FROM cursors WHERE tenant = ? AND connector = ?`,
		string(t), string(n)); err != nil {
		return "", fmt.Errorf("cursor of %s: %w", n, err)
	}
	return connector.Cursor(c), nil
}

// StaleFacts returns accounts of the directories in reach; of Entra alone when
// none is named: what nobody reads is not stale.
func (s ingestStore) StaleFacts(ctx context.Context, t identity.Tenant, before time.Time, limit int, reach ...identity.Provider) ([]identity.Ref, error) {
	onPremises := slices.Contains(reach, identity.ActiveDirectory)
	beforeOnPremises := int64(-1) // before all times: none
	if onPremises {
		beforeOnPremises = before.UnixMicro()
	}
	stale, err := docsOf[identity.Identity](ctx, s.db.reads(), `SELECT i.doc FROM identities i
		WHERE i.tenant = ? AND (i.facts_at < ? OR i.onprem_at < ?) AND EXISTS (SELECT 1 FROM cases c
			WHERE c.tenant = i.tenant AND c.identity = i.id AND c.status <> 'closed')
		ORDER BY i.facts_at, i.id LIMIT ?`, string(t), before.UnixMicro(), beforeOnPremises, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("stale facts: %w", err)
	}
	var out []identity.Ref
	for _, i := range stale {
		for _, a := range i.Accounts {
			if len(out) < limit && (readable(a) && a.Facts.AsOf.Before(before) || onPremises && onPremisesKnown(a) && onPremisesAt(a).Before(before)) {
				out = append(out, a.Ref)
			}
		}
	}
	return out, nil
}

// FactsOf leaves out refs that nobody owns.
func (s ingestStore) FactsOf(ctx context.Context, t identity.Tenant, refs []identity.Ref) ([]connector.AccountFacts, error) {
	var out []connector.AccountFacts
	seen := map[identity.Key]bool{}
	for _, r := range refs {
		for _, k := range r.Keys() {
			if seen[k] {
				continue
			}
			seen[k] = true
			owners, err := identitiesByKeys(ctx, s.db.reads(), t, []identity.Key{k})
			if err != nil {
				return nil, fmt.Errorf("facts of accounts: %w", err)
			}
			for _, a := range accountsWith(owners, k) {
				for _, own := range a.Keys() {
					seen[own] = true
				}
				out = append(out, connector.AccountFacts{Ref: a.Ref, Facts: a.Facts})
			}
		}
	}
	return out, nil
}

func accountsWith(owners []identity.Identity, k identity.Key) []identity.Account {
	var out []identity.Account
	for _, i := range owners {
		for _, a := range i.Accounts {
			for _, own := range a.Keys() {
				if own == k {
					out = append(out, a)
				}
			}
		}
	}
	return out
}

const selectFeeds = `SELECT doc FROM feeds WHERE tenant = ? ORDER BY stream`

// Feeds returns the states of the tenant's feeds, sorted by stream.
func (tx *Tx) Feeds(t identity.Tenant) ([]connector.FeedState, error) {
	return txDocs[connector.FeedState](tx, "feeds", selectFeeds, string(t))
}

// PutFeed stores how a feed fares.
func (tx *Tx) PutFeed(f connector.FeedState) error {
	what := fmt.Sprintf("feed %s", f.Stream)
	if err := mustTenant(what, f.Tenant); err != nil {
		return err
	}
	doc, err := encode(f)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	_, err = tx.exec(`INSERT INTO feeds (tenant, stream, silent, doc) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant, stream) DO UPDATE SET silent = excluded.silent, doc = excluded.doc`,
		string(f.Tenant), string(f.Stream), flag(f.Silent), doc)
	return wrap(what, err)
}

// DropFeed forgets a feed; one that is not there is no error.
func (tx *Tx) DropFeed(t identity.Tenant, n connector.Name) error {
	_, err := tx.exec(`DELETE FROM feeds WHERE tenant = ? AND stream = ?`, string(t), string(n))
	return wrap(fmt.Sprintf("feed %s", n), err)
}

// Feeds is desk.Store's.
func (s deskStore) Feeds(ctx context.Context, t identity.Tenant) ([]connector.FeedState, error) {
	q, args := `SELECT doc FROM feeds ORDER BY tenant, stream`, []any{}
	if t != "" {
		q, args = selectFeeds, []any{string(t)}
	}
	list, err := docsOf[connector.FeedState](ctx, s.db.reads(), q, args...)
	if err != nil {
		return nil, fmt.Errorf("feeds: %w", err)
	}
	return list, nil
}
