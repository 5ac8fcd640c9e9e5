package store

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Cutoffs say what is old: rows from before the time may go. The zero time keeps
// everything.
type Cutoffs struct {
	Records  time.Time // not told since; what they say happened may be older
	Rejects  time.Time // not come again since
	Versions time.Time // of signals, account risks and assessments: superseded, and from before
	Intents  time.Time // written before; the budget and the brakes look back a day at most
}

// Pruned counts rows that went.
type Pruned struct{ Records, Rejects, Versions, Intents int }

// All returns how many rows went.
func (p Pruned) All() int { return p.Records + p.Rejects + p.Versions + p.Intents }

// Prune removes at most limit old rows of each kind, in transactions of their own
// that wait behind everything else. What is current, open or in the trail stays
// whatever its age. Call it again until nothing goes.
func (db *DB) Prune(ctx context.Context, before Cutoffs, limit int) (Pruned, error) {
	var p Pruned
	var err error
	if p.Records, err = db.pruneRecords(ctx, before.Records, limit); err != nil {
		return p, fmt.Errorf("prune records: %w", err)
	}
	for _, t := range []struct {
		table, column string
		keys          []string
		before        time.Time
		count         *int
	}{
		{"rejects", "last_at", []string{"tenant", "connector", "digest"}, before.Rejects, &p.Rejects},
		{"signal_versions", "updated_at", []string{"tenant", "source", "external_id", "digest"}, before.Versions, &p.Versions},
		{"account_risk_versions", "updated_at", []string{"tenant", "account", "digest"}, before.Versions, &p.Versions},
		{"assessment_versions", "at", []string{"tenant", "identity", "at", "digest"}, before.Versions, &p.Versions},
		{"intents", "at", []string{"tenant", "action", "at"}, before.Intents, &p.Intents},
	} {
		n, err := db.pruneTable(ctx, t.table, t.column, t.keys, t.before, limit)
		if *t.count += n; err != nil {
			return p, fmt.Errorf("prune %s: %w", t.table, err)
		}
	}
	return p, nil
}

// pruneTable looks first, on a connection that makes nobody wait, so that a sweep
// that finds nothing costs no turn at the writer.
func (db *DB) pruneTable(ctx context.Context, table, column string, keys []string, before time.Time, limit int) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	var one int64
	found, err := scanRow(ctx, db.reads(), []any{&one}, `SELECT 1 FROM `+table+` WHERE `+column+` < ? LIMIT 1`, before.UnixMicro())
	if err != nil || !found {
		return 0, err
	}
	list := strings.Join(keys, ", ")
	var n int64
	err = db.update(ctx, rankOther, func(tx *Tx) (err error) {
		n, err = tx.exec(`DELETE FROM `+table+` WHERE (`+list+`) IN (SELECT `+list+` FROM `+table+` WHERE `+column+` < ? LIMIT ?)`, before.UnixMicro(), int64(limit))
		return err
	})
	return int(n), err
}

// pruneRecords takes records with their rows in record_accounts.
func (db *DB) pruneRecords(ctx context.Context, before time.Time, limit int) (int, error) {
	if before.IsZero() {
		return 0, nil
	}
	type old struct {
		tenant, source, id, accounts string
		at                           int64
	}
	var list []old
	err := eachRow(ctx, db.reads(), func(r rows) error {
		var o old
		err := r.Scan(&o.tenant, &o.source, &o.id, &o.accounts, &o.at)
		list = append(list, o)
		return err
	}, `SELECT tenant, source, external_id, accounts, at FROM records WHERE seen_at < ? ORDER BY seen_at LIMIT ?`, before.UnixMicro(), int64(limit))
	if err != nil || len(list) == 0 {
		return 0, err
	}
	gone := 0
	err = db.update(ctx, rankOther, func(tx *Tx) error {
		gone = 0
		for _, o := range list {
			key := []any{o.tenant, o.source, o.id}
			// What was told again meanwhile stays.
			n, err := tx.exec(`DELETE FROM records WHERE tenant = ? AND source = ? AND external_id = ? AND seen_at < ?`, append(key, before.UnixMicro())...)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			gone++
			if err := tx.forgetAccounts(key, o.accounts, o.at); err != nil {
				return err
			}
		}
		return nil
	})
	return gone, err
}
