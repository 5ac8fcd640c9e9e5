package audit

import (
	"encoding/json"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A Report is what a verification found.
type Report struct {
	Entries int64 `json:"entries"`
	Erased  int64 `json:"erased"` // whose payload was erased: the leaf is proven, its content is gone
	// Kept is the size of the checkpoint that was kept elsewhere: entries from
	// there on are proven only by the newest checkpoint of the log itself.
	Kept   int64  `json:"kept"`
	Broken *Break `json:"broken,omitempty"` // the first thing that is wrong
}

// A Break is the first entry that does not hold, and why.
type Break struct {
	Index  int64  `json:"index"` // -1: the log as a whole
	ID     string `json:"id,omitempty"`
	Reason string `json:"reason"`
}

func (b *Break) String() string {
	if b.Index < 0 {
		return b.Reason
	}
	return fmt.Sprintf("entry %d (%s): %s", b.Index, b.ID, b.Reason)
}

// Verify reads the whole log and checks it offline: every leaf against its
// stored hash, every payload that is left against its commitment, the order of
// the indexes, and the Merkle roots of kept (a checkpoint kept elsewhere) and of
// latest (the log's own newest). An error means the log could not be read; a
// log that was read and is wrong is a Report with Broken set.
func Verify(entries iter.Seq2[LogEntry, error], kept, latest Checkpoint) (Report, error) {
	r := Report{Kept: kept.Size}
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for n, i := range indexes {
			if i >= int64(len(stored)) {
				return nil, fault.Errorf(fault.Invalid, "audit log: hash %d is missing", i)
			}
			out[n] = stored[i]
		}
		return out, nil
	})
	for e, err := range entries {
		if err != nil {
			return r, fmt.Errorf("read the audit log: %w", err)
		}
		if b := check(e, r.Entries); b != nil {
			r.Broken = b
			return r, nil
		}
		hashes, err := tlog.StoredHashes(r.Entries, e.Leaf, read)
		if err != nil {
			return r, err
		}
		stored = append(stored, hashes...)
		r.Entries++
		if e.Payload == nil {
			r.Erased++
		}
	}
	for _, c := range []struct {
		name string
		Checkpoint
	}{{"the checkpoint kept elsewhere", kept}, {"the log's own newest checkpoint", latest}} {
		if c.Size > r.Entries {
			r.Broken = &Break{Index: -1, Reason: fmt.Sprintf("the log has %d entries, but %s was signed over %d: entries were removed", r.Entries, c.name, c.Size)}
			return r, nil
		}
		if c.Size == 0 {
			continue
		}
		root, err := tlog.TreeHash(c.Size, read)
		if err != nil {
			return r, err
		}
		if root != c.Root {
			r.Broken = &Break{Index: -1, Reason: fmt.Sprintf("the first %d entries do not have the Merkle root of %s: one of them was replaced together with its hash", c.Size, c.name)}
			return r, nil
		}
	}
	return r, nil
}

func check(e LogEntry, want int64) *Break {
	leaf, err := ParseLeaf(e.Leaf)
	switch {
	case e.Index != want:
		return &Break{Index: want, ID: leaf.ID, Reason: fmt.Sprintf("missing: the next entry in the log has index %d", e.Index)}
	case err != nil:
		return &Break{Index: want, ID: leaf.ID, Reason: err.Error()}
	case tlog.RecordHash(e.Leaf) != e.Hash:
		return &Break{Index: want, ID: leaf.ID, Reason: "the leaf does not have the hash it was stored with: it was changed"}
	case (e.Payload == nil) != (e.Salt == nil):
		return &Break{Index: want, ID: leaf.ID, Reason: "only one of payload and salt is left; they are erased together or not at all"}
	case e.Payload != nil && Commit(e.Payload, e.Salt) != leaf.Commitment:
		return &Break{Index: want, ID: leaf.ID, Reason: "the payload is not the one its leaf commits to: it was changed"}
	}
	if e.Payload == nil {
		return nil
	}
	var entry Entry
	if err := json.Unmarshal(e.Payload, &entry); err != nil {
		return &Break{Index: want, ID: leaf.ID, Reason: fmt.Sprintf("the payload is not an entry: %v", err)}
	}
	if string(entry.Tenant) != leaf.Tenant || entry.Kind != leaf.Kind || !entry.At.Equal(leaf.At) {
		return &Break{Index: want, ID: leaf.ID, Reason: "tenant, kind or time of the payload are not the leaf's"}
	}
	return nil
}
