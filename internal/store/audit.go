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
	stored, err := tx.storedHashes(indexes)
	if err == nil && len(stored) < len(indexes) {
		if err = tx.settle(); err == nil { // perhaps they wait to be written
			stored, err = tx.storedHashes(indexes)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("audit hashes: %w", err)
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

func (tx *Tx) storedHashes(indexes []int64) (map[int64]tlog.Hash, error) {
	stored := map[int64]tlog.Hash{}
	scan := func(r rows) error {
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
	}
	for _, l := range lists(indexes) {
		if err := eachRow(tx.ctx, tx.raw, scan, `SELECT hash_index, hash FROM audit_hashes WHERE hash_index IN `+marks(len(l)), l...); err != nil {
			return nil, tx.keep(err)
		}
	}
	return stored, nil
}

// AppendLeaf stores the leaf of the record and the hashes that come with it. An
// index that is taken, or a record that has its leaf, is fault.Conflict, told at the
// latest by the commit.
func (tx *Tx) AppendLeaf(index int64, id string, leaf []byte, first int64, hashes []tlog.Hash) error {
	if len(hashes) == 0 {
		return fault.Errorf(fault.Invalid, "audit leaf %d: it comes without a hash", index)
	}
	r := row{table: "audit_leaves", what: "audit leaf", keys: 1}
	r.col("leaf_index", index)
	r.col("entry", id)
	r.col("leaf", leaf)
	r.col("hash", hashes[0][:])
	tx.loose = append(tx.loose, r)
	for k, h := range hashes {
		r := row{table: "audit_hashes", what: "audit hash", keys: 1}
		r.col("hash_index", first+int64(k))
		r.col("hash", h[:])
		tx.loose = append(tx.loose, r)
	}
	tx.leaves = append(tx.leaves, sequenced{index, id})
	return nil
}

// A sequenced is an entry that got its leaf.
type sequenced struct {
	index int64
	entry string
}

// number returns the statements that give entries the numbers of their leaves.
func number(list []sequenced) []statement {
	var out []statement
	for len(list) > 0 {
		n := atOnce
		for n > len(list) {
			n /= 2
		}
		part := list[:n]
		list = list[n:]
		s := statement{want: int64(n), q: `UPDATE audit_entries SET leaf_index = v.column1 FROM (VALUES (CAST(? AS bigint), ?)` +
			strings.Repeat(", (CAST(? AS bigint), ?)", n-1) + `) AS v WHERE audit_entries.id = v.column2 AND audit_entries.leaf_index IS NULL`}
		for _, l := range part {
			s.args = append(s.args, l.index, l.entry)
		}
		s.lost = func() error {
			return fault.Errorf(fault.Conflict, "audit leaves from %d: a record is not waiting", part[0].index)
		}
		out = append(out, s)
	}
	return out
}

// PutCheckpoint stores a signed checkpoint; checkpoints only grow.
func (tx *Tx) PutCheckpoint(size int64, signed []byte, at time.Time) error {
	if _, err := tx.exec(`INSERT INTO audit_checkpoints (size, signed, at) VALUES (?, ?, ?)`, size, signed, micros0(at)); err != nil {
		return fmt.Errorf("audit checkpoint of %d: %w", size, err)
	}
	return nil
}
