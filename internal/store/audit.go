package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// auditStore is the store as package audit needs it.
type auditStore struct{ db *DB }

func (s auditStore) Update(ctx context.Context, change func(audit.Tx) error) error {
	return s.db.update(ctx, rankOther, func(tx *Tx) error { return change(tx) })
}

func (s auditStore) Entries(ctx context.Context, from int64, limit int) ([]audit.LogEntry, error) {
	var out []audit.LogEntry
	err := eachRow(ctx, s.db.reads(), func(r rows) error {
		var e audit.LogEntry
		var hash []byte
		if err := r.Scan(&e.Index, &e.Leaf, &hash, &e.Payload, &e.Salt); err != nil {
			return err
		}
		if copy(e.Hash[:], hash) != len(e.Hash) {
			return fmt.Errorf("leaf %d: its hash has %d bytes", e.Index, len(hash))
		}
		out = append(out, e)
		return nil
	}, `SELECT l.leaf_index, l.leaf, l.hash, e.payload, e.salt FROM audit_leaves l JOIN audit_entries e ON e.id = l.entry
		WHERE l.leaf_index >= ? ORDER BY l.leaf_index LIMIT ?`, from, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("audit entries: %w", err)
	}
	return out, nil
}

func (s auditStore) Checkpoint(ctx context.Context) (size int64, signed []byte, err error) {
	if _, err := scanRow(ctx, s.db.reads(), []any{&size, &signed},
		`SELECT size, signed FROM audit_checkpoints ORDER BY size DESC LIMIT 1`); err != nil {
		return 0, nil, fmt.Errorf("audit checkpoint: %w", err)
	}
	return size, signed, nil
}

func (s auditStore) Pending(ctx context.Context) (n int, since time.Time, err error) {
	var oldest *int64
	if _, err := scanRow(ctx, s.db.reads(), []any{&n, &oldest},
		`SELECT count(*), min(at) FROM audit_entries WHERE leaf_index IS NULL`); err != nil {
		return 0, time.Time{}, fmt.Errorf("unsequenced audit entries: %w", err)
	}
	if oldest != nil {
		since = fromMicros(*oldest)
	}
	return n, since, nil
}

// Erase removes payload, salt and references of entries that have their leaf;
// entries that wait for it keep theirs until then.
func (s auditStore) Erase(ctx context.Context, tenant, identity string, before time.Time) (int, error) {
	var n int64
	err := s.db.update(ctx, rankOther, func(tx *Tx) (err error) {
		n, err = tx.exec(`UPDATE audit_entries SET payload = NULL, salt = NULL,
				identity = '', case_id = '', run = '', action = '', approval = ''
			WHERE tenant = ? AND identity = ? AND identity <> '' AND at < ? AND leaf_index IS NOT NULL`,
			tenant, identity, micros0(before))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("erase audit entries: %w", err)
	}
	return int(n), nil
}

// Size returns how many leaves the log has.
func (tx *Tx) Size() (int64, error) {
	var n int64
	if _, err := tx.row([]any{&n}, `SELECT coalesce(max(leaf_index), -1) + 1 FROM audit_leaves`); err != nil {
		return 0, fmt.Errorf("size of the audit log: %w", err)
	}
	return n, nil
}

// Unsequenced returns records without a leaf in the order in which they were
// committed.
func (tx *Tx) Unsequenced(limit int) ([]audit.Record, error) {
	var out []audit.Record
	err := eachRow(tx.ctx, tx.c, func(r rows) error {
		var rec audit.Record
		err := r.Scan(&rec.ID, &rec.Payload, &rec.Salt)
		out = append(out, rec)
		return err
	}, `SELECT id, payload, salt FROM audit_entries WHERE leaf_index IS NULL ORDER BY seq LIMIT ?`, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("unsequenced audit entries: %w", tx.keep(err))
	}
	return out, nil
}

// Hashes returns the stored hashes in the order of indexes; one that is missing
// is fault.NotFound.
func (tx *Tx) Hashes(indexes []int64) ([]tlog.Hash, error) {
	if len(indexes) == 0 {
		return nil, nil
	}
	args := make([]any, len(indexes))
	for n, i := range indexes {
		args[n] = i
	}
	stored := map[int64]tlog.Hash{}
	err := eachRow(tx.ctx, tx.c, func(r rows) error {
		var i int64
		var h []byte
		if err := r.Scan(&i, &h); err != nil {
			return err
		}
		if len(h) != tlog.HashSize {
			return fmt.Errorf("hash %d has %d bytes", i, len(h))
		}
		stored[i] = tlog.Hash(h)
		return nil
	}, `SELECT hash_index, hash FROM audit_hashes WHERE hash_index IN (?`+strings.Repeat(", ?", len(args)-1)+`)`, args...)
	if err != nil {
		return nil, fmt.Errorf("audit hashes: %w", tx.keep(err))
	}
	out := make([]tlog.Hash, len(indexes))
	for n, i := range indexes {
		h, ok := stored[i]
		if !ok {
			return nil, fault.Errorf(fault.NotFound, "audit log: no stored hash %d", i)
		}
		out[n] = h
	}
	return out, nil
}

// AppendLeaf stores the leaf of the record and the hashes that come with it. An
// index that is taken, or a record that has its leaf, is fault.Conflict.
func (tx *Tx) AppendLeaf(index int64, id string, leaf []byte, first int64, hashes []tlog.Hash) error {
	if len(hashes) == 0 {
		return fault.Errorf(fault.Invalid, "audit leaf %d: it comes without a hash", index)
	}
	n, err := tx.exec(`INSERT INTO audit_leaves (leaf_index, entry, leaf, hash) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		index, id, leaf, hashes[0][:])
	if err != nil {
		return fmt.Errorf("audit leaf %d: %w", index, err)
	}
	if n == 0 {
		return fault.Errorf(fault.Conflict, "audit leaf %d: another sequencer was first", index)
	}
	n, err = tx.exec(`UPDATE audit_entries SET leaf_index = ? WHERE id = ? AND leaf_index IS NULL`, index, id)
	if err != nil {
		return fmt.Errorf("audit leaf %d: %w", index, err)
	}
	if n == 0 {
		return fault.Errorf(fault.Conflict, "audit leaf %d: record %s is not waiting", index, id)
	}
	args := make([]any, 0, 2*len(hashes))
	for k, h := range hashes {
		args = append(args, first+int64(k), h[:])
	}
	if _, err := tx.exec(`INSERT INTO audit_hashes (hash_index, hash) VALUES (?, ?)`+
		strings.Repeat(`, (?, ?)`, len(hashes)-1), args...); err != nil {
		return fmt.Errorf("audit leaf %d: hashes: %w", index, err)
	}
	return nil
}

// PutCheckpoint stores a signed checkpoint; checkpoints only grow.
func (tx *Tx) PutCheckpoint(size int64, signed []byte, at time.Time) error {
	if _, err := tx.exec(`INSERT INTO audit_checkpoints (size, signed, at) VALUES (?, ?, ?)`, size, signed, micros0(at)); err != nil {
		return fmt.Errorf("audit checkpoint of %d: %w", size, err)
	}
	return nil
}
