package store

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/push"
)

// pushStore is the store as package push needs it.
type pushStore struct{ db *DB }

// Pushes returns the store as package push needs it.
func (db *DB) Pushes() push.Store { return pushStore{db} }

func (s pushStore) Pushed(ctx context.Context, t identity.Tenant, sender, key string) (push.Past, bool, error) {
	var doc []byte
	found, err := scanRow(ctx, s.db.reads(), []any{&doc}, `SELECT doc FROM pushes WHERE tenant = ? AND sender = ? AND key = ?`, string(t), sender, key)
	if err != nil || !found {
		return push.Past{}, false, wrap("pushed request", err)
	}
	p, err := decode[push.Past](doc)
	return p, err == nil, wrap("pushed request", err)
}

func (s pushStore) PutPushed(ctx context.Context, p push.Past, since time.Time) error {
	if err := mustTenant("pushed request", p.Tenant); err != nil {
		return err
	}
	doc, err := encode(p)
	if err != nil {
		return fmt.Errorf("pushed request: %w", err)
	}
	return s.db.update(ctx, rankOther, func(tx *Tx) error {
		if _, err := tx.exec(`DELETE FROM pushes WHERE at < ?`, since.UnixMicro()); err != nil {
			return fmt.Errorf("forget pushed requests: %w", err)
		}
		_, err := tx.exec(`INSERT INTO pushes (tenant, sender, key, at, doc) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			string(p.Tenant), p.Sender, p.Key, p.At.UnixMicro(), doc)
		return wrap("pushed request", err)
	})
}
