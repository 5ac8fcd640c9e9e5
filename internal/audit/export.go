package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// maxLine bounds one line of an export; entries are a few kilobytes.
const maxLine = 16 << 20

type exportHeader struct {
	Format     string `json:"format"`
	Checkpoint string `json:"checkpoint"` // the newest signed checkpoint; empty when there is none
}

type exportLine struct {
	Index   int64           `json:"index"`
	Leaf    string          `json:"leaf"`
	Hash    tlog.Hash       `json:"hash"`
	Payload json.RawMessage `json:"payload,omitempty"`
	Salt    []byte          `json:"salt,omitempty"`
}

// All returns the entries of a store, in order.
func All(ctx context.Context, s Store) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		for from := int64(0); ; {
			page, err := s.Entries(ctx, from, 1000)
			if err != nil {
				yield(LogEntry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			from += int64(len(page))
		}
	}
}

// Export writes the log as JSON Lines: a header with the newest checkpoint, then
// one line an entry. Import reads it back; Verify needs nothing else but the key
// and a checkpoint kept elsewhere.
func Export(w io.Writer, entries iter.Seq2[LogEntry, error], checkpoint []byte) error {
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(exportHeader{Format: leafHeader, Checkpoint: string(checkpoint)}); err != nil {
		return err
	}
	for e, err := range entries {
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		if err := enc.Encode(exportLine{Index: e.Index, Leaf: string(e.Leaf), Hash: e.Hash, Payload: e.Payload, Salt: e.Salt}); err != nil {
			return err
		}
	}
	return buf.Flush()
}

// Import reads what Export wrote: the checkpoint at once, the entries lazily. A
// line that cannot be read is fault.Invalid with its number.
func Import(r io.Reader) (checkpoint []byte, entries iter.Seq2[LogEntry, error], err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	var h exportHeader
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &h) != nil || h.Format != leafHeader {
		return nil, nil, fault.Errorf(fault.Invalid, "audit export: line 1 is not a header of the format %s", leafHeader)
	}
	return []byte(h.Checkpoint), func(yield func(LogEntry, error) bool) {
		for n := 2; lines.Scan(); n++ {
			var l exportLine
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				yield(LogEntry{}, fault.Errorf(fault.Invalid, "audit export: line %d: %w", n, err))
				return
			}
			e := LogEntry{Index: l.Index, Leaf: []byte(l.Leaf), Hash: l.Hash, Salt: l.Salt}
			if len(l.Payload) > 0 && string(l.Payload) != "null" {
				e.Payload = l.Payload
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(LogEntry{}, fmt.Errorf("audit export: %w", err))
		}
	}, nil
}
