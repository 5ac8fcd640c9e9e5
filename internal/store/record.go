package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// recordsAtOnce is how many records one statement asks about or writes.
const recordsAtOnce = 50

// PutRecords stores records and returns what it did with each. Of several versions
// of one record, in the list or between it and the rows, the newest by Record.Newer
// is kept. A record with a Problem is fault.Invalid, and nothing is stored.
func (tx *Tx) PutRecords(list []record.Record, at time.Time) ([]ingest.Put, error) {
	puts := make([]ingest.Put, 0, len(list))
	for len(list) > 0 {
		n := min(len(list), recordsAtOnce)
		did, err := tx.putRecords(list[:n], at)
		if err != nil {
			return nil, fmt.Errorf("records: %w", err)
		}
		puts, list = append(puts, did...), list[n:]
	}
	return puts, nil
}

// A storedRecord is a record on its way into its row.
type storedRecord struct {
	record.Record
	doc      string
	digest   []byte
	accounts string // the look-up names, one a line
}

func newStoredRecord(r record.Record) (storedRecord, error) {
	if p := r.Problem(); p != "" {
		return storedRecord{}, fault.Errorf(fault.Invalid, "record %s %s: %s", r.Source, r.ExternalID, p)
	}
	doc, err := encode(r)
	if err != nil {
		return storedRecord{}, fmt.Errorf("record %s %s: %w", r.Source, r.ExternalID, err)
	}
	return storedRecord{r, doc, digest(doc), clean1(strings.Join(r.Accounts(), "\n"))}, nil
}

// values are the columns of a record's row, in the order of insertRecord.
func (r storedRecord) values(at time.Time) []any {
	return []any{
		string(r.Tenant), string(r.Source), r.ExternalID, r.Type, r.State, micros0(r.At), r.IP, r.Session,
		r.accounts, micros0(at), r.digest, r.doc,
	}
}

const (
	insertRecord = `INSERT INTO records (tenant, source, external_id, type, state, at, ip, session, accounts, seen_at, digest, doc) VALUES `
	recordValues = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

func (tx *Tx) putRecords(list []record.Record, at time.Time) ([]ingest.Put, error) {
	have, err := tx.recordDigests(list)
	if err != nil {
		return nil, err
	}
	puts := make([]ingest.Put, len(list))
	var fresh []storedRecord
	mine := map[record.Key]int{} // where in fresh
	for n, r := range list {
		s, err := newStoredRecord(r)
		if err != nil {
			return nil, err
		}
		old, stored := have[r.Key()]
		k, mineToo := mine[r.Key()]
		switch {
		case mineToo && bytes.Equal(fresh[k].digest, s.digest), stored && bytes.Equal(old, s.digest):
			puts[n] = ingest.PutDuplicate
		case mineToo && s.Newer(fresh[k].Record):
			puts[n], fresh[k] = ingest.PutUpdated, s
		case mineToo:
			puts[n] = ingest.PutOlder
		case stored:
			if puts[n], err = tx.replaceRecord(s, at); err != nil {
				return nil, err
			}
			have[r.Key()] = nil // what is there now is not known any more
		default:
			puts[n], mine[r.Key()] = ingest.PutNew, len(fresh)
			fresh = append(fresh, s)
		}
	}
	if err := tx.seenAgain(list, at); err != nil {
		return nil, err
	}
	return puts, tx.insertRecords(fresh, at)
}

// recordDigests returns the digests of those of the records that are stored.
func (tx *Tx) recordDigests(list []record.Record) (map[record.Key][]byte, error) {
	var args []any
	for _, r := range list {
		args = append(args, string(r.Tenant), string(r.Source), r.ExternalID)
	}
	q := `SELECT tenant, source, external_id, digest FROM records WHERE (tenant, source, external_id) IN (VALUES (?, ?, ?)` +
		strings.Repeat(", (?, ?, ?)", len(list)-1) + `)`
	have := map[record.Key][]byte{}
	err := eachRow(tx.ctx, tx.c, func(r rows) error {
		var k record.Key
		var sum []byte
		if err := r.Scan(&k.Tenant, &k.Source, &k.ExternalID, &sum); err != nil {
			return err
		}
		have[k] = bytes.Clone(sum)
		return nil
	}, q, args...)
	return have, tx.keep(err)
}

// replaceRecord puts s into the place of the version that is stored, if it is newer.
func (tx *Tx) replaceRecord(s storedRecord, at time.Time) (ingest.Put, error) {
	key := []any{string(s.Tenant), string(s.Source), s.ExternalID}
	var doc []byte
	var oldAccounts string
	var oldAt int64
	ok, err := tx.row([]any{&doc, &oldAccounts, &oldAt}, `SELECT doc, accounts, at FROM records WHERE tenant = ? AND source = ? AND external_id = ?`, key...)
	if err != nil || !ok {
		return "", cmp.Or(err, error(fault.Errorf(fault.Conflict, "record %s %s is gone", s.Source, s.ExternalID)))
	}
	old, err := decode[record.Record](doc)
	switch {
	case err != nil:
		return "", err
	case s.doc == string(doc):
		return ingest.PutDuplicate, nil
	case !s.Newer(old):
		return ingest.PutOlder, nil
	}
	if oldAccounts != s.accounts || oldAt != micros0(s.At) {
		if err := tx.forgetAccounts(key, oldAccounts, oldAt); err != nil {
			return "", err
		}
		if err := tx.indexAccounts([]storedRecord{s}); err != nil {
			return "", err
		}
	}
	v := s.values(at)
	_, err = tx.exec(`UPDATE records SET type = ?, state = ?, at = ?, ip = ?, session = ?, accounts = ?, seen_at = ?, digest = ?, doc = ?
		WHERE tenant = ? AND source = ? AND external_id = ?`, append(v[3:], key...)...)
	return ingest.PutUpdated, err
}

func (tx *Tx) insertRecords(list []storedRecord, at time.Time) error {
	if len(list) == 0 {
		return nil
	}
	var args []any
	for _, s := range list {
		args = append(args, s.values(at)...)
	}
	if _, err := tx.exec(insertRecord+recordValues+strings.Repeat(", "+recordValues, len(list)-1), args...); err != nil {
		return err
	}
	return tx.indexAccounts(list)
}

// seenAgain notes of things that have a state that they are still told of, so that
// what is current does not grow old.
func (tx *Tx) seenAgain(list []record.Record, at time.Time) error {
	for _, r := range list {
		if r.State == "" {
			continue
		}
		if _, err := tx.exec(`UPDATE records SET seen_at = ? WHERE tenant = ? AND source = ? AND external_id = ? AND seen_at < ?`,
			micros0(at), string(r.Tenant), string(r.Source), r.ExternalID, micros0(at)); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) indexAccounts(list []storedRecord) error {
	var args []any
	for _, s := range list {
		for account := range strings.SplitSeq(s.accounts, "\n") {
			if account != "" {
				args = append(args, string(s.Tenant), account, micros0(s.At), string(s.Source), s.ExternalID)
			}
		}
	}
	for len(args) > 0 {
		n := min(len(args), 5*100)
		q := `INSERT INTO record_accounts (tenant, account, at, source, external_id) VALUES (?, ?, ?, ?, ?)` +
			strings.Repeat(", (?, ?, ?, ?, ?)", n/5-1) + ` ON CONFLICT DO NOTHING`
		if _, err := tx.exec(q, args[:n:n]...); err != nil {
			return err
		}
		args = args[n:]
	}
	return nil
}

func (tx *Tx) forgetAccounts(key []any, accounts string, at int64) error {
	for account := range strings.SplitSeq(accounts, "\n") {
		if account == "" {
			continue
		}
		if _, err := tx.exec(`DELETE FROM record_accounts WHERE tenant = ? AND account = ? AND at = ? AND source = ? AND external_id = ?`,
			key[0], account, at, key[1], key[2]); err != nil {
			return err
		}
	}
	return nil
}

// recordReader is the store as whoever looks records up needs it.
type recordReader struct{ db *DB }

// Records returns the store as whoever looks records up needs it.
func (db *DB) Records() record.Reader { return recordReader{db} }

// Records is record.Reader's.
func (s recordReader) Records(ctx context.Context, q record.Query) (record.Page, error) {
	l := &listing{table: "records r", order: []orderBy{{column: "r.at", desc: true}, {column: "r.tenant", text: true},
		{column: "r.source", text: true}, {column: "r.external_id", text: true}}}
	if len(q.Accounts) > 0 {
		accounts := q.Names()
		switch {
		case q.Tenant == "":
			return record.Page{}, fault.Errorf(fault.Invalid, "records: asking for accounts needs a tenant")
		case len(accounts) == 0:
			return record.Page{}, nil
		}
		// The few rows that name them are found first, then the records.
		l.table += ` JOIN (SELECT DISTINCT tenant, source, external_id FROM record_accounts WHERE tenant = ? AND account IN (?` +
			strings.Repeat(", ?", len(accounts)-1) + `)`
		l.args = append(l.args, string(q.Tenant))
		for _, a := range accounts {
			l.args = append(l.args, clean1(a))
		}
		if !q.Since.IsZero() {
			l.table, l.args = l.table+` AND at >= ?`, append(l.args, q.Since.UnixMicro())
		}
		l.table += `) a ON a.tenant = r.tenant AND a.source = r.source AND a.external_id = r.external_id`
	}
	l.is("r.tenant", string(q.Tenant))
	in(l, "r.source", q.Sources)
	in(l, "r.type", q.Types)
	in(l, "r.state", q.States)
	l.is("r.ip", q.IP)
	l.is("r.session", q.Session)
	l.is("r.external_id", q.ExternalID)
	if !q.Since.IsZero() {
		l.where, l.args = append(l.where, "r.at >= ?"), append(l.args, q.Since.UnixMicro())
	}
	if !q.Until.IsZero() {
		l.where, l.args = append(l.where, "r.at < ?"), append(l.args, q.Until.UnixMicro())
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	list, err := docs[record.Record](ctx, s.db, l, desk.Page{After: q.After, Limit: min(limit, record.MaxLimit)})
	return record.Page{Records: list.Items, Next: list.Next}, err
}
