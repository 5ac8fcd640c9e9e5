package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// signalID is what is unique of a signal in its tenant.
func signalID(source, external string) string { return source + "\x00" + external }

// SignalsOf returns the current versions of the identity's signals, oldest first.
func (tx *Tx) SignalsOf(t identity.Tenant, id identity.ID) ([]signal.Signal, error) {
	list, ok := tx.list("signals", t, string(id))
	if !ok {
		if err := tx.settle(); err != nil {
			return nil, fmt.Errorf("signals: %w", err)
		}
		list = []*kept{}
		err := eachRow(tx.ctx, tx.raw, func(r rows) error {
			k, err := tx.scanSignal(t, r)
			list = append(list, k)
			return err
		}, `SELECT `+signalColumns+` FROM signals WHERE tenant = ? AND identity = ?`, string(t), string(id))
		if err != nil {
			return nil, fmt.Errorf("signals: %w", tx.keep(err))
		}
		tx.lists[listKey{"signals", t, string(id)}] = list
	}
	out := make([]signal.Signal, len(list))
	for n, k := range list {
		s, err := k.signal()
		if err != nil {
			return nil, fmt.Errorf("signals: %w", err)
		}
		out[n] = s
	}
	slices.SortFunc(out, func(a, b signal.Signal) int {
		return cmp.Or(cmp.Compare(micros0(a.At()), micros0(b.At())), cmp.Compare(a.Source, b.Source), cmp.Compare(a.ExternalID, b.ExternalID))
	})
	return out, nil
}

const signalColumns = `source, external_id, identity, updated_at, digest, raw_at, doc`

// encodeSignal returns the document of s and where in it the raw record begins,
// which is its last member.
func encodeSignal(s signal.Signal) (doc string, rawAt int, err error) {
	raw := s.Raw
	s.Raw = nil
	if doc, err = encode(s); err != nil || len(raw) == 0 {
		return doc, 0, err
	}
	end, err := encode(raw)
	rawAt = len(doc) - 1
	return doc[:rawAt] + rawMember + end + "}", rawAt, err
}

const rawMember = `,"raw":`

// signal decodes the signal once. The raw record, which is most of it, is taken as
// it stands: it was read when it was stored.
func (k *kept) signal() (signal.Signal, error) {
	if v, ok := k.value.(signal.Signal); ok {
		return v, nil
	}
	doc, raw := k.doc, ""
	if k.rawAt > 0 {
		if k.rawAt+len(rawMember) >= len(doc) || doc[k.rawAt:k.rawAt+len(rawMember)] != rawMember {
			return signal.Signal{}, fmt.Errorf("a stored signal has no raw record at byte %d", k.rawAt)
		}
		doc, raw = doc[:k.rawAt]+"}", doc[k.rawAt+len(rawMember):len(doc)-1]
	}
	v, err := decode[signal.Signal]([]byte(doc))
	if raw != "" {
		v.Raw = json.RawMessage(raw)
	}
	if err == nil {
		k.value = v
	}
	return v, err
}

// scanSignal learns one row of signalColumns.
func (tx *Tx) scanSignal(t identity.Tenant, r rows) (*kept, error) {
	var source, external, owner string
	var at, rawAt int64
	var sum []byte
	var doc string
	if err := r.Scan(&source, &external, &owner, &at, &sum, &rawAt, &doc); err != nil {
		return nil, err
	}
	k := tx.learn("signals", t, signalID(source, external), doc)
	if k.digest == nil {
		k.owner, k.at, k.rawAt, k.digest = identity.ID(owner), at, int(rawAt), bytes.Clone(sum)
	}
	tx.soon(k)
	return k, nil
}

// AccountRisksOf returns what the sources say of the identity's accounts.
func (tx *Tx) AccountRisksOf(t identity.Tenant, id identity.ID) ([]signal.AccountRisk, error) {
	list, ok := tx.list("risks", t, string(id))
	if !ok {
		if err := tx.settle(); err != nil {
			return nil, fmt.Errorf("account risks: %w", err)
		}
		list = []*kept{}
		err := eachRow(tx.ctx, tx.raw, func(r rows) error {
			k, err := tx.scanRisk(t, r)
			list = append(list, k)
			return err
		}, `SELECT `+riskColumns+` FROM account_risks WHERE tenant = ? AND identity = ?`, string(t), string(id))
		if err != nil {
			return nil, fmt.Errorf("account risks: %w", tx.keep(err))
		}
		tx.lists[listKey{"risks", t, string(id)}] = list
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b *kept) int { return cmp.Compare(a.key.id, b.key.id) })
	var out []signal.AccountRisk
	for _, k := range list {
		v, err := shared[signal.AccountRisk](k)
		if err != nil {
			return nil, fmt.Errorf("account risks: %w", err)
		}
		out = append(out, v)
	}
	return out, nil
}

const riskColumns = `account, identity, updated_at, digest, doc`

// scanRisk learns one row of riskColumns.
func (tx *Tx) scanRisk(t identity.Tenant, r rows) (*kept, error) {
	var account, owner string
	var at int64
	var sum []byte
	var doc string
	if err := r.Scan(&account, &owner, &at, &sum, &doc); err != nil {
		return nil, err
	}
	k := tx.learn("account_risks", t, account, doc)
	if !k.waits {
		k.owner, k.at, k.digest = identity.ID(owner), at, bytes.Clone(sum)
	}
	return k, nil
}

// A told is a signal or an account risk on its way in: what a source may tell
// again, and in other words.
type told struct {
	list     string // which list of its owner it is in
	row      row
	history  string // the table of its other versions
	tenant   identity.Tenant
	id       string
	owner    identity.ID
	at       int64
	doc      string
	rawAt    int
	digest   []byte
	compare  func(old string) (newer, same bool, err error) // whether it replaces the document, and whether it says the same in another envelope
	find     string                                         // the query of its row
	scan     func(identity.Tenant, rows) (*kept, error)
	keyArgs  []any
	keyNames []string
}

// putTold stores what a source told. The current version is the newest; every
// other version is kept beside it.
func (tx *Tx) putTold(s told) (ingest.Put, error) {
	k, ok := tx.known(s.row.table, s.tenant, s.id)
	if !ok {
		err := eachRow(tx.ctx, tx.raw, func(r rows) (err error) {
			k, err = s.scan(s.tenant, r)
			return err
		}, s.find, s.keyArgs...)
		if tx.keep(err) != nil {
			return "", err
		}
		if k == nil {
			k = tx.learn(s.row.table, s.tenant, s.id, "")
		}
	}
	switch {
	case k.doc == "":
		tx.put(k, s.row, s.doc)
		k.owner, k.at, k.rawAt, k.digest = s.owner, s.at, s.rawAt, s.digest
		tx.join(s.list, s.tenant, string(s.owner), k)
		tx.touch(Topic{TopicIdentity, s.tenant, string(s.owner)})
		return ingest.PutNew, nil
	case bytes.Equal(k.digest, s.digest):
		return ingest.PutDuplicate, nil
	}
	newer, same, err := s.compare(k.doc)
	if err != nil {
		return "", err
	}
	keep := `INSERT INTO ` + s.history + ` (` + strings.Join(s.keyNames, ", ") + `, digest, updated_at, doc)
		VALUES (?` + strings.Repeat(", ?", len(s.keyNames)+2) + `) ON CONFLICT DO NOTHING`
	if !newer {
		n, err := tx.run(keep, slices.Concat(s.keyArgs, []any{s.digest, s.at, s.doc})...)
		if same {
			n = 0
		}
		return olderOr(n, err)
	}
	if _, err := tx.run(keep, slices.Concat(s.keyArgs, []any{k.digest, k.at, k.doc})...); err != nil {
		return "", err
	}
	// A version that was kept as history and is current again is not both.
	where := ` WHERE ` + strings.Join(s.keyNames, " = ? AND ") + ` = ?`
	if _, err := tx.run(`DELETE FROM `+s.history+where+` AND digest = ?`, slices.Concat(s.keyArgs, []any{s.digest})...); err != nil {
		return "", err
	}
	keys := s.row.keys
	if _, err := tx.run(`UPDATE `+s.row.table+` SET `+strings.Join(s.row.columns[keys:], " = ?, ")+` = ?`+where,
		slices.Concat(s.row.values[keys:], s.keyArgs)...); err != nil {
		return "", err
	}
	tx.part(s.list, s.tenant, string(k.owner), k)
	k.doc, k.value, k.owner, k.at, k.rawAt, k.digest = s.doc, nil, s.owner, s.at, s.rawAt, s.digest
	tx.join(s.list, s.tenant, string(s.owner), k)
	if same {
		return ingest.PutDuplicate, nil
	}
	tx.touch(Topic{TopicIdentity, s.tenant, string(s.owner)})
	return ingest.PutUpdated, nil
}

// PutSignal stores s as a signal of the identity. The current version is the
// newest by Signal.Newer; every other version is kept beside it. What says the same
// in another envelope is a duplicate.
func (tx *Tx) PutSignal(s signal.Signal, owner identity.ID) (ingest.Put, error) {
	what := fmt.Sprintf("signal %s %s", s.Source, s.ExternalID)
	if err := mustTenant(what, s.Tenant); err != nil {
		return "", err
	}
	doc, rawAt, err := encodeSignal(s)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	sum := digest(doc)
	r := row{table: "signals", what: "signal", keys: 3}
	r.col("tenant", string(s.Tenant))
	r.col("source", string(s.Source))
	r.col("external_id", s.ExternalID)
	r.col("identity", string(owner))
	r.col("type", s.Type)
	r.col("rank", int64(s.Level.Rank()))
	r.col("at", micros0(s.At()))
	r.col("updated_at", micros0(s.UpdatedAt))
	r.col("digest", sum)
	r.col("raw_at", int64(rawAt))
	r.col("doc", doc)
	put, err := tx.putTold(told{
		list: "signals", row: r, history: "signal_versions", tenant: s.Tenant, id: signalID(clean1(string(s.Source)), clean1(s.ExternalID)),
		owner: owner, at: micros0(s.UpdatedAt), doc: doc, rawAt: rawAt, digest: sum,
		find: `SELECT ` + signalColumns + ` FROM signals WHERE tenant = ? AND source = ? AND external_id = ?`, scan: tx.scanSignal,
		keyNames: r.columns[:3:3], keyArgs: r.values[:3:3],
		compare: func(old string) (newer, same bool, err error) {
			o, err := decode[signal.Signal]([]byte(old))
			return s.Newer(o), s.Same(o), err
		},
	})
	return put, wrap(what, err)
}

// SignalOwner returns the identity that a signal belongs to, and false when there is
// no such signal.
func (tx *Tx) SignalOwner(k signal.Key) (identity.ID, bool, error) {
	if k, ok := tx.rows[rowKey{"signals", k.Tenant, signalID(clean1(string(k.Source)), clean1(k.ExternalID))}]; ok {
		return k.owner, k.doc != "", nil
	}
	var owner string
	found, err := tx.row([]any{&owner}, `SELECT identity FROM signals WHERE tenant = ? AND source = ? AND external_id = ?`,
		string(k.Tenant), string(k.Source), k.ExternalID)
	if err != nil {
		return "", false, fmt.Errorf("owner of signal %s %s: %w", k.Source, k.ExternalID, err)
	}
	return identity.ID(owner), found, nil
}

// olderOr says what keeping a version as history did.
func olderOr(n int64, err error) (ingest.Put, error) {
	switch {
	case err != nil:
		return "", err
	case n == 0:
		return ingest.PutDuplicate, nil
	}
	return ingest.PutOlder, nil
}

// wrap returns err, if any, with what was being done.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// PutAccountRisk stores a source's opinion of an account. The current version is
// the newest by AccountRisk.Newer, in whatever order they come; the others are
// kept. A subject without a strong identifier is fault.Invalid.
func (tx *Tx) PutAccountRisk(r signal.AccountRisk, owner identity.ID) (ingest.Put, error) {
	if err := mustTenant("account risk", r.Tenant); err != nil {
		return "", err
	}
	keys := r.Subject.Keys()
	if len(keys) == 0 {
		return "", fault.Errorf(fault.Invalid, "account risk of %s: it names no strong identifier", r.Subject.Name())
	}
	account := string(keys[0].Kind) + ":" + keys[0].Value
	what := "account risk of " + account
	doc, err := encode(r)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	sum, at := digest(doc), micros0(r.UpdatedAt)
	w := row{table: "account_risks", what: "account risk", keys: 2}
	w.col("tenant", string(r.Tenant))
	w.col("account", account)
	w.col("identity", string(owner))
	w.col("rank", int64(r.Level.Rank()))
	w.col("updated_at", at)
	w.col("digest", sum)
	w.col("doc", doc)
	put, err := tx.putTold(told{
		list: "risks", row: w, history: "account_risk_versions", tenant: r.Tenant, id: clean1(account),
		owner: owner, at: at, doc: doc, digest: sum,
		find: `SELECT ` + riskColumns + ` FROM account_risks WHERE tenant = ? AND account = ?`, scan: tx.scanRisk,
		keyNames: w.columns[:2:2], keyArgs: w.values[:2:2],
		compare: func(old string) (newer, same bool, err error) {
			o, err := decode[signal.AccountRisk]([]byte(old))
			return r.Newer(o), r.Same(o), err
		},
	})
	return put, wrap(what, err)
}

// PutReject keeps a record that could not be read, once however often it comes.
func (tx *Tx) PutReject(t identity.Tenant, n connector.Name, r connector.Reject, at time.Time) error {
	doc, err := encode(r)
	if err != nil {
		return fmt.Errorf("reject at %s: %w", r.Place, err)
	}
	sum := digest(string(r.Source) + "\x00" + r.Reason + "\x00" + string(r.Raw))
	tx.later = append(tx.later, statement{want: -1, q: `INSERT INTO rejects (tenant, connector, digest, first_at, last_at, times, doc)
		VALUES (?, ?, ?, ?, ?, 1, ?)
		ON CONFLICT (tenant, connector, digest) DO UPDATE SET last_at = excluded.last_at, times = rejects.times + 1`,
		args: []any{string(t), string(n), sum, micros0(at), micros0(at), doc}})
	return nil
}

// PutCursor stores the stream's bookmark.
func (tx *Tx) PutCursor(t identity.Tenant, n connector.Name, c connector.Cursor, at time.Time) error {
	tx.later = append(tx.later, statement{want: -1, q: `INSERT INTO cursors (tenant, connector, cursor, at) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant, connector) DO UPDATE SET cursor = excluded.cursor, at = excluded.at`,
		args: []any{string(t), string(n), string(c), micros0(at)}})
	return nil
}

const selectAssessment = `SELECT doc FROM assessments WHERE tenant = ? AND identity = ?`

// Assessment returns the latest one, and fault.NotFound when the identity was
// never assessed.
func (tx *Tx) Assessment(t identity.Tenant, id identity.ID) (risk.Assessment, error) {
	return docByID[risk.Assessment](tx, "assessments", "assessment of identity", selectAssessment, t, string(id))
}

// PutAssessment makes a the identity's latest assessment. An earlier one that
// says something else is kept.
func (tx *Tx) PutAssessment(a risk.Assessment) error {
	what := fmt.Sprintf("assessment of identity %s", a.Identity)
	if err := mustTenant(what, a.Tenant); err != nil {
		return err
	}
	doc, err := encode(a)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	sum, err := said(a)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	id := string(a.Identity)
	if err := tx.separate("assessments", a.Tenant, id); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	k, err := tx.fetch("assessments", a.Tenant, id, selectAssessment, string(a.Tenant), id)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if k.doc != "" {
		if err := k.assessed(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !bytes.Equal(k.digest, sum) {
			h := row{table: "assessment_versions", what: "assessment", keys: 4, taken: leave}
			h.col("tenant", string(a.Tenant))
			h.col("identity", id)
			h.col("at", k.at)
			h.col("digest", k.digest)
			h.col("doc", k.doc)
			tx.loose = append(tx.loose, h)
		}
	}
	r := row{table: "assessments", what: "assessment of identity", keys: 2, taken: replace}
	r.col("tenant", string(a.Tenant))
	r.col("identity", id)
	r.col("rank", int64(a.Level.Rank()))
	r.col("score", int64(a.Score))
	r.col("at", micros0(a.At))
	r.col("digest", sum)
	r.col("doc", doc)
	tx.put(k, r, doc)
	k.digest, k.at = sum, micros0(a.At)
	tx.touch(Topic{TopicIdentity, a.Tenant, id})
	return nil
}

// assessed finds the digest and the time of an assessment that was read without
// them.
func (k *kept) assessed() error {
	if k.digest != nil {
		return nil
	}
	a, err := decode[risk.Assessment]([]byte(k.doc))
	if err != nil {
		return err
	}
	k.digest, err = said(a)
	k.at = micros0(a.At)
	return err
}

// said digests all of an assessment but its time.
func said(a risk.Assessment) ([]byte, error) {
	a.At = time.Time{}
	doc, err := encode(a)
	return digest(doc), err
}
