package store

import (
	"context"
	"fmt"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/notify"
)

// notifyStore is the store as package notify needs it.
type notifyStore struct{ auditStore }

// Notify returns the store as package notify needs it.
func (db *DB) Notify() notify.Store { return notifyStore{auditStore{db}} }

func (s notifyStore) Size(ctx context.Context) (int64, error) {
	var n int64
	if _, err := scanRow(ctx, s.db.reads(), []any{&n}, `SELECT coalesce(max(leaf_index), -1) + 1 FROM audit_leaves`); err != nil {
		return 0, fmt.Errorf("size of the audit log: %w", err)
	}
	return n, nil
}

func (s notifyStore) Place(ctx context.Context, receiver string, t identity.Tenant) (notify.Place, error) {
	var doc []byte
	ok, err := scanRow(ctx, s.db.reads(), []any{&doc}, `SELECT doc FROM notify_places WHERE receiver = ? AND tenant = ?`, receiver, string(t))
	if err == nil && !ok {
		err = fault.Errorf(fault.NotFound, "receiver %s has no place in tenant %s", receiver, t)
	}
	if err != nil {
		return notify.Place{}, fmt.Errorf("place of receiver %s: %w", receiver, err)
	}
	return decode[notify.Place](doc)
}

// Put writes the place and who was told, if its version is the stored one.
func (s notifyStore) Put(ctx context.Context, p notify.Place, told *notify.Told) (notify.Place, error) {
	was := p.Version
	p.Version++
	doc, err := encode(p)
	if err != nil {
		return p, fmt.Errorf("place of receiver %s: %w", p.Receiver, err)
	}
	err = s.db.update(ctx, rankOther, func(tx *Tx) error {
		var n int64
		if was == 0 {
			n, err = tx.exec(`INSERT INTO notify_places (receiver, tenant, version, doc) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				p.Receiver, string(p.Tenant), p.Version, doc)
		} else {
			n, err = tx.exec(`UPDATE notify_places SET version = ?, doc = ? WHERE receiver = ? AND tenant = ? AND version = ?`,
				p.Version, doc, p.Receiver, string(p.Tenant), was)
		}
		switch {
		case err != nil:
			return err
		case n == 0:
			return fault.Errorf(fault.Conflict, "another process has gone on")
		case told == nil:
			return nil
		}
		_, err = tx.exec(`INSERT INTO notify_told (receiver, case_id, episode) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			told.Receiver, string(told.Case), int64(told.Episode))
		return err
	})
	if err != nil {
		p.Version = was
		return p, fmt.Errorf("place of receiver %s: %w", p.Receiver, err)
	}
	return p, nil
}

func (s notifyStore) WasTold(ctx context.Context, t notify.Told) (bool, error) {
	var one int64
	ok, err := scanRow(ctx, s.db.reads(), []any{&one}, `SELECT 1 FROM notify_told WHERE receiver = ? AND case_id = ? AND episode = ?`,
		t.Receiver, string(t.Case), int64(t.Episode))
	if err != nil {
		return false, fmt.Errorf("what receiver %s was told: %w", t.Receiver, err)
	}
	return ok, nil
}

func (s notifyStore) Case(ctx context.Context, t identity.Tenant, id casefile.ID) (casefile.Case, error) {
	var doc []byte
	ok, err := scanRow(ctx, s.db.reads(), []any{&doc}, selectCase, string(t), string(id))
	if err == nil && !ok {
		err = fault.Errorf(fault.NotFound, "no case %s", id)
	}
	if err != nil {
		return casefile.Case{}, fmt.Errorf("case %s: %w", id, err)
	}
	return decode[casefile.Case](doc)
}
