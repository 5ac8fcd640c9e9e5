package audit

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A Record is an entry as it rests. Payload and Salt can be erased together;
// the leaf stays.
type Record struct {
	ID      string // sortable, given when the entry was written
	Payload []byte // Entry.Canonical; nil when erased
	Salt    []byte // SaltSize random bytes; nil when erased
}

// SaltSize is the length of a salt in bytes.
const SaltSize = 32

// A LogEntry is one leaf with what is left of its record.
type LogEntry struct {
	Index   int64     // position in the log, from 0
	Leaf    []byte    // the leaf's bytes
	Hash    tlog.Hash // the leaf hash as it was stored
	Payload []byte    // nil when erased
	Salt    []byte    // nil when erased
}

// Store keeps the log. Implementations pass storetest.
type Store interface {
	// Update calls change in one transaction and commits what it wrote, or nothing.
	Update(ctx context.Context, change func(Tx) error) error
	// Entries returns sequenced entries from the index on, in order, at most limit.
	Entries(ctx context.Context, from int64, limit int) ([]LogEntry, error)
	// Checkpoint returns the newest signed checkpoint and its size; size 0 and nil
	// when there is none yet.
	Checkpoint(ctx context.Context) (size int64, signed []byte, err error)
	// Pending returns how many entries are not sequenced and since when the oldest
	// one waits.
	Pending(ctx context.Context) (n int, since time.Time, err error)
	// Erase removes payload and salt of the entries about the identity from before
	// the time, and returns how many; the leaves stay.
	Erase(ctx context.Context, tenant, identity string, before time.Time) (int, error)
}

// Tx is one transaction on the log. Two sequencers cannot both append: the
// index is a unique key, and the loser gets fault.Conflict.
type Tx interface {
	// Size returns how many leaves the log has.
	Size() (int64, error)
	// Unsequenced returns records without a leaf in the order they were written.
	Unsequenced(limit int) ([]Record, error)
	// Hashes returns the stored hashes at tlog's stored-hash indexes.
	Hashes(indexes []int64) ([]tlog.Hash, error)
	// AppendLeaf stores the leaf of the record at index together with the hashes
	// that tlog.StoredHashes gave for it, which begin at stored-hash index first.
	AppendLeaf(index int64, id string, leaf []byte, first int64, hashes []tlog.Hash) error
	PutCheckpoint(size int64, signed []byte, at time.Time) error
}
