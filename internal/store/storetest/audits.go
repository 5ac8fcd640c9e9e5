package storetest

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// Audit holds a store to audit's port. open returns an empty log and how to
// write entries to it, all in one transaction.
func Audit(t *testing.T, open func(*testing.T) (audit.Store, func(...audit.Entry) error)) {
	private, public, err := audit.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.NewKey(public)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(n int, identity string) audit.Entry {
		return audit.Entry{Tenant: tenant, At: at(time.Duration(n) * time.Second), Kind: audit.ActionIntent, Identity: identity,
			Text: fmt.Sprintf("entry %d", n), Data: map[string]any{"n": float64(n)}}
	}
	write := func(t *testing.T, w func(...audit.Entry) error, entries ...audit.Entry) {
		t.Helper()
		if err := w(entries...); err != nil {
			t.Fatal(err)
		}
	}
	all := func(t *testing.T, s audit.Store) (out []audit.LogEntry) {
		t.Helper()
		for e, err := range audit.All(t.Context(), s) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, e)
		}
		return out
	}
	// proven checks the stored hashes against the leaves and the checkpoint.
	proven := func(t *testing.T, s audit.Store) []audit.LogEntry {
		t.Helper()
		entries := all(t, s)
		size, signed, err := s.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if size != int64(len(entries)) {
			t.Errorf("the checkpoint covers %d of %d leaves", size, len(entries))
		}
		if size == 0 {
			return entries
		}
		c, err := key.Open(signed)
		if err != nil {
			t.Fatal(err)
		}
		var stored []tlog.Hash
		for n, e := range entries {
			if e.Index != int64(n) {
				t.Fatalf("leaf %d has index %d", n, e.Index)
			}
			if e.Hash != tlog.RecordHash(e.Leaf) {
				t.Errorf("leaf %d has another hash", n)
			}
			more, err := tlog.StoredHashes(int64(n), e.Leaf, tlog.HashReaderFunc(func(ix []int64) (out []tlog.Hash, err error) {
				for _, i := range ix {
					out = append(out, stored[i])
				}
				return out, nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, more...)
		}
		err = s.Update(t.Context(), func(tx audit.Tx) error {
			root, err := tlog.TreeHash(size, tlog.HashReaderFunc(tx.Hashes))
			if root != c.Root {
				t.Errorf("the stored hashes do not give the signed root")
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return entries
	}

	t.Run("Sequence", func(t *testing.T) {
		t.Parallel()
		s, w := open(t)
		seq := audit.NewSequencer(s, signer, slog.New(slog.DiscardHandler), audit.Options{})
		if n, err := seq.Sequence(t.Context()); n != 0 || err != nil {
			t.Errorf("nothing to sequence: %d, %v", n, err)
		}
		if size, signed, err := s.Checkpoint(t.Context()); size != 0 || signed != nil || err != nil {
			t.Errorf("checkpoint of nothing: %d, %q, %v", size, signed, err)
		}
		total := 0
		for round := 1; round <= 4; round++ {
			for range round * 20 {
				write(t, w, entry(total, "idn_1"))
				total++
			}
			if n, _, err := s.Pending(t.Context()); n != round*20 || err != nil {
				t.Errorf("pending: %d, %v", n, err)
			}
			if n, err := seq.Sequence(t.Context()); n != round*20 || err != nil {
				t.Errorf("sequenced %d, %v", n, err)
			}
			if entries := proven(t, s); len(entries) != total {
				t.Errorf("%d leaves of %d entries", len(entries), total)
			}
		}
		for n, e := range all(t, s) {
			leaf, err := audit.ParseLeaf(e.Leaf)
			if err != nil {
				t.Fatal(err)
			}
			if !leaf.At.Equal(entry(n, "").At) {
				t.Fatalf("leaf %d is of %v: not in the order written", n, leaf.At)
			}
			if leaf.Commitment != audit.Commit(e.Payload, e.Salt) {
				t.Errorf("leaf %d commits to something else", n)
			}
		}
		part, err := s.Entries(t.Context(), 3, 2)
		if err != nil || len(part) != 2 || part[0].Index != 3 {
			t.Errorf("a part: %v, %v", part, err)
		}
	})

	t.Run("TwoSequencers", func(t *testing.T) {
		t.Parallel()
		s, w := open(t)
		const writers, each = 4, 12
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 2 {
			seq := audit.NewSequencer(s, signer, slog.New(slog.DiscardHandler), audit.Options{})
			wg.Go(func() {
				for {
					if _, err := seq.Sequence(t.Context()); err != nil {
						t.Errorf("sequence: %v", err)
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		var writing sync.WaitGroup
		for k := range writers {
			writing.Go(func() {
				for n := range each {
					if err := w(entry(n, fmt.Sprint("idn_", k))); err != nil {
						t.Errorf("write: %v", err)
					}
				}
			})
		}
		writing.Wait()
		close(stop)
		wg.Wait()
		if _, err := audit.NewSequencer(s, signer, slog.New(slog.DiscardHandler), audit.Options{}).Sequence(t.Context()); err != nil {
			t.Fatal(err)
		}
		if entries := proven(t, s); len(entries) != writers*each {
			t.Errorf("%d leaves of %d entries", len(entries), writers*each)
		}
	})

	t.Run("Erase", func(t *testing.T) {
		t.Parallel()
		s, w := open(t)
		seq := audit.NewSequencer(s, signer, slog.New(slog.DiscardHandler), audit.Options{})
		write(t, w, entry(0, "idn_1"), entry(1, "idn_2"), entry(2, "idn_1"))
		if _, err := seq.Sequence(t.Context()); err != nil {
			t.Fatal(err)
		}
		n, err := s.Erase(t.Context(), string(tenant), "idn_1", at(time.Hour))
		if n != 2 || err != nil {
			t.Errorf("erased %d, %v", n, err)
		}
		for n, e := range proven(t, s) {
			if erased := e.Payload == nil && e.Salt == nil; erased != (n != 1) {
				t.Errorf("entry %d: erased %v", n, erased)
			}
		}
	})

	t.Run("ALeafHasOnePlace", func(t *testing.T) {
		t.Parallel()
		s, w := open(t)
		write(t, w, entry(0, "a"), entry(1, "b"))
		var records []audit.Record
		add := func(index int64, id string) error {
			return s.Update(t.Context(), func(tx audit.Tx) (err error) {
				if records == nil {
					if records, err = tx.Unsequenced(10); err != nil {
						return err
					}
				}
				if id == "" {
					id = records[0].ID
				}
				return tx.AppendLeaf(index, id, []byte("leaf"), tlog.StoredHashIndex(0, index), []tlog.Hash{{1}})
			})
		}
		if err := add(0, ""); err != nil {
			t.Fatal(err)
		}
		wantKind(t, "the same index", add(0, records[1].ID), fault.Conflict)
		wantKind(t, "the same record", add(1, records[0].ID), fault.Conflict)
	})
}
