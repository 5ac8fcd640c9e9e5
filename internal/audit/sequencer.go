package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// batch is how many entries one transaction sequences: small enough that the
// writer is free again within milliseconds.
const batch = 500

// Options are what a caller may leave alone: every zero means the default.
type Options struct {
	Every time.Duration // how often entries are sequenced; 500 ms, so that an entry is a leaf within a second
	Now   func() time.Time
	// Publish is called with each new signed checkpoint, in order, after it is
	// committed: to keep it where whoever can change the database cannot.
	Publish func(signed []byte) error
}

// A Sequencer turns entries into leaves and signs checkpoints. Any number may
// run: the index of a leaf is a unique key, so one of them wins each time.
type Sequencer struct {
	store Store
	key   Signer
	log   *slog.Logger
	opts  Options
}

// NewSequencer returns a sequencer that is ready to Run.
func NewSequencer(store Store, key Signer, log *slog.Logger, o Options) *Sequencer {
	if o.Every == 0 {
		o.Every = 500 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Sequencer{store: store, key: key, log: log, opts: o}
}

// Run sequences until ctx ends, and once more then, so that a clean stop leaves
// nothing unsequenced.
func (s *Sequencer) Run(ctx context.Context) error {
	t := time.NewTicker(s.opts.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, err := s.Sequence(last)
			return err
		case <-t.C:
		}
		if _, err := s.Sequence(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("audit: entries are waiting to be sequenced", "err", err)
		}
	}
}

// Sequence turns all waiting entries into leaves, signs one checkpoint over the
// result, and returns how many leaves it added. Losing the race to another
// sequencer is not an error.
func (s *Sequencer) Sequence(ctx context.Context) (int, error) {
	total := 0
	for {
		added, signed, err := s.step(ctx)
		if errors.Is(err, fault.Conflict) {
			return total, nil
		}
		if err != nil {
			return total, fmt.Errorf("sequence the audit log: %w", err)
		}
		total += added
		if signed != nil && s.opts.Publish != nil {
			if err := s.opts.Publish(signed); err != nil {
				return total, fmt.Errorf("publish the audit checkpoint: %w", err)
			}
		}
		if added < batch {
			return total, nil
		}
	}
}

func (s *Sequencer) step(ctx context.Context) (added int, signed []byte, err error) {
	err = s.store.Update(ctx, func(tx Tx) error {
		added, signed = 0, nil
		records, err := tx.Unsequenced(batch)
		if err != nil || len(records) == 0 {
			return err
		}
		size, err := tx.Size()
		if err != nil {
			return err
		}
		// Hashes written in this transaction are read back from here.
		fresh := map[int64]tlog.Hash{}
		read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) { return hashes(tx, fresh, indexes) })
		for n, r := range records {
			leaf, err := NewLeaf(r)
			if err != nil {
				return err
			}
			index, text := size+int64(n), leaf.Marshal()
			stored, err := tlog.StoredHashes(index, text, read)
			if err != nil {
				return err
			}
			first := tlog.StoredHashIndex(0, index)
			for k, h := range stored {
				fresh[first+int64(k)] = h
			}
			if err := tx.AppendLeaf(index, r.ID, text, first, stored); err != nil {
				return err
			}
		}
		size += int64(len(records))
		root, err := tlog.TreeHash(size, read)
		if err != nil {
			return err
		}
		if signed, err = s.key.Sign(Checkpoint{Size: size, Root: root}); err != nil {
			return err
		}
		added = len(records)
		return tx.PutCheckpoint(size, signed, s.opts.Now())
	})
	return added, signed, err
}

func hashes(tx Tx, fresh map[int64]tlog.Hash, indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	var missing []int64
	for n, i := range indexes {
		if h, ok := fresh[i]; ok {
			out[n] = h
		} else {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	got, err := tx.Hashes(missing)
	if err != nil {
		return nil, err
	}
	for n, i := range indexes {
		if _, ok := fresh[i]; !ok {
			out[n], got = got[0], got[1:]
		}
	}
	return out, nil
}
