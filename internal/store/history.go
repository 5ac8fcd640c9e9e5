package store

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// ofTouched limits a query to identities of which a signal arrived or changed not
// before a time.
const ofTouched = ` IN (SELECT identity FROM signals WHERE tenant = ? AND updated_at >= ?)`

// Histories returns all that is stored of each identity of which a signal arrived
// or changed not before since, by identity. It writes nothing. Raw records are left
// out.
func (db *DB) Histories(ctx context.Context, t identity.Tenant, since time.Time) iter.Seq2[run.History, error] {
	return func(yield func(run.History, error) bool) {
		all, err := db.histories(ctx, t, micros0(since))
		if err != nil {
			yield(run.History{}, fmt.Errorf("histories: %w", err))
			return
		}
		for _, id := range slices.Sorted(maps.Keys(all)) {
			if !yield(*all[id], nil) {
				return
			}
		}
	}
}

func (db *DB) histories(ctx context.Context, t identity.Tenant, since int64) (map[identity.ID]*run.History, error) {
	all := map[identity.ID]*run.History{}
	of := func(id identity.ID) *run.History {
		h := all[id]
		if h == nil {
			h = &run.History{}
			all[id] = h
		}
		return h
	}
	people, err := docsOf[identity.Identity](ctx, db.reads(), `SELECT doc FROM identities WHERE tenant = ? AND id`+ofTouched, string(t), string(t), since)
	if err != nil {
		return nil, err
	}
	for _, i := range people {
		of(i.ID).Identity = i
	}
	if err := eachRow(ctx, db.reads(), func(r rows) error {
		var id identity.ID
		var rawAt int
		var doc []byte
		if err := r.Scan(&id, &rawAt, &doc); err != nil {
			return err
		}
		if rawAt > 0 && rawAt < len(doc) {
			doc = append(doc[:rawAt:rawAt], '}')
		}
		s, err := decode[signal.Signal](doc)
		of(id).Signals = append(of(id).Signals, s)
		return err
	}, `SELECT identity, raw_at, doc FROM signals WHERE tenant = ? AND identity`+ofTouched, string(t), string(t), since); err != nil {
		return nil, err
	}
	if err := eachOf(ctx, db, func(id identity.ID, s signal.Signal) {
		s.Raw = nil
		of(id).Signals = append(of(id).Signals, s)
	}, `SELECT s.identity, v.doc FROM signal_versions v JOIN signals s ON s.tenant = v.tenant AND s.source = v.source AND s.external_id = v.external_id
		WHERE v.tenant = ? AND s.identity`+ofTouched, string(t), string(t), since); err != nil {
		return nil, err
	}
	risk := func(id identity.ID, r signal.AccountRisk) { of(id).Risks = append(of(id).Risks, r) }
	if err := eachOf(ctx, db, risk, `SELECT identity, doc FROM account_risks WHERE tenant = ? AND identity`+ofTouched, string(t), string(t), since); err != nil {
		return nil, err
	}
	if err := eachOf(ctx, db, risk, `SELECT a.identity, v.doc FROM account_risk_versions v JOIN account_risks a ON a.tenant = v.tenant AND a.account = v.account
		WHERE v.tenant = ? AND a.identity`+ofTouched, string(t), string(t), since); err != nil {
		return nil, err
	}
	if err := eachOf(ctx, db, func(id identity.ID, c casefile.Case) { of(id).Cases = append(of(id).Cases, c) },
		`SELECT identity, doc FROM cases WHERE tenant = ? AND identity`+ofTouched, string(t), string(t), since); err != nil {
		return nil, err
	}
	return all, nil
}

// eachOf decodes rows of an identity and a document.
func eachOf[T any](ctx context.Context, db *DB, take func(identity.ID, T), q string, args ...any) error {
	return eachRow(ctx, db.reads(), func(r rows) error {
		var id identity.ID
		var doc []byte
		if err := r.Scan(&id, &doc); err != nil {
			return err
		}
		v, err := decode[T](doc)
		if err == nil {
			take(id, v)
		}
		return err
	}, q, args...)
}
