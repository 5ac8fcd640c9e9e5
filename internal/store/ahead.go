package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// askedAtOnce is how many values one list in a query holds at most.
const askedAtOnce = 64

// lists returns the values in parts whose lengths are powers of two, the last
// value repeated where need be, so that there are few texts to be prepared.
func lists[T any](values []T) [][]any {
	var out [][]any
	for part := range slices.Chunk(values, askedAtOnce) {
		n := 1
		for n < len(part) {
			n *= 2
		}
		list := make([]any, 0, n)
		for _, v := range part {
			list = append(list, v)
		}
		for len(list) < n {
			list = append(list, part[len(part)-1])
		}
		out = append(out, list)
	}
	return out
}

func marks(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

// asks returns queries of begin and IN and a list of the values, one a list.
func asks(begin string, args []any, values []string, scan func(rows) error) []statement {
	var out []statement
	for _, l := range lists(values) {
		out = append(out, statement{q: begin + " IN " + marks(len(l)), args: slices.Concat(args, l), scan: scan})
	}
	return out
}

// unique returns the ids that are not known, each once.
func unique[S ~string](ids []S, known func(string) bool) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range ids {
		if id := string(s); !seen[id] && !known(id) {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// learnAll returns the queries that learn the rows of the table with the ids.
func (tx *Tx) learnAll(table, key string, t identity.Tenant, ids []string) []statement {
	missing := unique(ids, func(id string) bool { _, ok := tx.known(table, t, id); return ok })
	if len(missing) == 0 {
		return nil
	}
	found := map[string]bool{}
	list := asks(`SELECT `+key+`, doc FROM `+table+` WHERE tenant = ? AND `+key, []any{string(t)}, missing, func(r rows) error {
		var id string
		var doc string
		err := r.Scan(&id, &doc)
		tx.soon(tx.learn(table, t, id, doc))
		found[id] = true
		return err
	})
	tx.absent = append(tx.absent, func() {
		for _, id := range missing {
			if !found[id] {
				tx.learn(table, t, id, "")
			}
		}
	})
	return list
}

// look runs queries and then notes what they did not find. Documents are decoded
// while the next ones are read.
func (tx *Tx) look(list []statement) error {
	read := make(chan *kept, askedAtOnce)
	var decoding sync.WaitGroup
	decoding.Go(func() {
		for k := range read {
			k.decoded()
		}
	})
	tx.read = read
	err := tx.send(list)
	tx.read = nil
	close(read)
	decoding.Wait()
	absent := tx.absent
	tx.absent = nil
	if err != nil {
		return err
	}
	for _, f := range absent {
		f()
	}
	return nil
}

// soon has the document of a row that was read decoded, if there is somebody who
// does that: nothing of the row is changed until look returns.
func (tx *Tx) soon(k *kept) {
	if tx.read != nil {
		tx.read <- k
	}
}

// decoded decodes the document of a row whose value is shared. Who asks for the
// value is told what is wrong with it.
func (k *kept) decoded() {
	switch {
	case k.doc == "":
	case k.key.table == "signals":
		_, _ = k.signal()
	case k.key.table == "identities":
		_, _ = k.identity()
	case k.key.table == "cases":
		_, _ = shared[casefile.Case](k)
	}
}

// selectOwners begins the query of the owners of identifiers. It names the kind so
// that the primary key answers it: by the values alone SQLite reads every
// identifier of the tenant.
const selectOwners = `SELECT k.kind, k.value, i.id, i.doc FROM identity_keys k
	JOIN identities i ON i.tenant = k.tenant AND i.id = k.identity WHERE k.tenant = ? AND k.kind = ? AND k.value`

// Ahead reads the owners of the subjects' identifiers and the signals that are
// stored already.
func (tx *Tx) Ahead(t identity.Tenant, subjects []identity.Ref, signals []signal.Key) error {
	var list []statement
	wanted := map[identity.KeyKind][]string{}
	values := map[identity.Key]bool{}
	for _, ref := range subjects {
		for _, k := range ref.Keys() {
			k.Value = clean1(k.Value)
			if _, ok := tx.owners[ownedKey{t, k}]; !ok && !values[k] {
				values[k] = true
				wanted[k.Kind] = append(wanted[k.Kind], k.Value)
			}
		}
	}
	for kind, named := range wanted {
		list = append(list, asks(selectOwners, []any{string(t), string(kind)}, named, func(r rows) error {
			var k identity.Key
			var id string
			var doc string
			err := r.Scan(&k.Kind, &k.Value, &id, &doc)
			tx.soon(tx.learn("identities", t, id, doc))
			tx.owners[ownedKey{t, k}] = identity.ID(id)
			return err
		})...)
	}
	if len(values) > 0 {
		tx.absent = append(tx.absent, func() {
			for k := range values {
				if _, ok := tx.owners[ownedKey{t, k}]; !ok {
					tx.owners[ownedKey{t, k}] = ""
				}
			}
		})
	}
	bySource := map[signal.Source][]string{}
	for _, k := range signals {
		id := clean1(k.ExternalID)
		if _, ok := tx.rows[rowKey{"signals", t, signalID(string(k.Source), id)}]; !ok {
			bySource[k.Source] = append(bySource[k.Source], id)
		}
	}
	for source, ids := range bySource {
		list = append(list, asks(`SELECT `+signalColumns+` FROM signals WHERE tenant = ? AND source = ? AND external_id`,
			[]any{string(t), string(source)}, ids, func(r rows) error { _, err := tx.scanSignal(t, r); return err })...)
		tx.absent = append(tx.absent, func() {
			for _, id := range ids {
				tx.learn("signals", t, signalID(clean1(string(source)), id), "")
			}
		})
	}
	if err := tx.look(append(list, tx.directoryAhead(t)...)); err != nil {
		return fmt.Errorf("read ahead: %w", err)
	}
	return nil
}

// AheadOf reads what an assessment and a plan rest on: signals, account risks,
// the last assessment, cases and their runs. What waits is written first.
func (tx *Tx) AheadOf(t identity.Tenant, ids []identity.ID) error {
	missing := unique(ids, func(id string) bool { _, ok := tx.list("signals", t, id); return ok })
	if len(missing) == 0 {
		return nil
	}
	found := map[listKey][]*kept{}
	for _, id := range missing {
		for _, what := range []string{"signals", "risks", "cases", "begun"} {
			found[listKey{what, t, id}] = []*kept{}
		}
	}
	note := func(what string, of string, k *kept) {
		key := listKey{what, t, of}
		found[key] = append(found[key], k)
	}
	args := []any{string(t)}
	list := tx.writes()
	list = append(list, asks(`SELECT `+signalColumns+` FROM signals WHERE tenant = ? AND identity`, args, missing, func(r rows) error {
		k, err := tx.scanSignal(t, r)
		if err == nil {
			note("signals", string(k.owner), k)
		}
		return err
	})...)
	list = append(list, asks(`SELECT `+riskColumns+` FROM account_risks WHERE tenant = ? AND identity`, args, missing, func(r rows) error {
		k, err := tx.scanRisk(t, r)
		if err == nil {
			note("risks", string(k.owner), k)
		}
		return err
	})...)
	list = append(list, asks(`SELECT id, identity, doc FROM cases WHERE tenant = ? AND identity`, args, missing, func(r rows) error {
		var id, owner string
		var doc string
		err := r.Scan(&id, &owner, &doc)
		k := tx.learn("cases", t, id, doc)
		note("cases", owner, k)
		tx.soon(k)
		if _, ok := found[listKey{"runs", t, id}]; !ok {
			found[listKey{"runs", t, id}] = []*kept{}
		}
		return err
	})...)
	list = append(list, asks(`SELECT id, identity, coalesce(case_id, ''), playbook, once_key, started_at, doc FROM runs WHERE tenant = ? AND identity`, args, missing, func(r rows) error {
		var id, owner, file, playbook, key string
		var at int64
		var doc string
		err := r.Scan(&id, &owner, &file, &playbook, &key, &at, &doc)
		k := tx.learn("runs", t, id, doc)
		if !k.waits {
			k.once, k.at = onceOf(playbook, key), at
		}
		if note("begun", owner, k); file != "" {
			note("runs", file, k)
		}
		return err
	})...)
	list = append(list, asks(`SELECT identity, at, digest, doc FROM assessments WHERE tenant = ? AND identity`, args, missing, func(r rows) error {
		var id string
		var at int64
		var sum []byte
		var doc string
		err := r.Scan(&id, &at, &sum, &doc)
		if k := tx.learn("assessments", t, id, doc); !k.waits {
			k.at, k.digest = at, bytes.Clone(sum)
		}
		return err
	})...)
	tx.absent = append(tx.absent, func() {
		for _, id := range missing {
			tx.learn("assessments", t, id, "")
		}
	})
	list = append(list, tx.learnAll("identities", "id", t, missing)...)
	if err := tx.look(list); err != nil {
		return fmt.Errorf("read ahead: %w", err)
	}
	for _, id := range missing {
		if !strings.Contains(tx.rows[rowKey{"identities", t, id}].doc, linksMember) {
			continue
		}
		for _, c := range found[listKey{"cases", t, id}] {
			delete(found, listKey{"runs", t, c.key.id}) // the case may have come with a link, and its runs stayed
		}
	}
	for k, l := range found {
		tx.lists[k] = l
	}
	return nil
}

// linksMember is in the document of an identity to which accounts were moved by
// hand.
const linksMember = `"links":[`

// Lists of what hangs on a run.
const (
	listActions   = "actions of run"
	listApprovals = "approvals of run"
)

// AheadOfRuns reads runs with their actions, approvals, cases and identities. What
// waits is written first.
func (tx *Tx) AheadOfRuns(t identity.Tenant, runs []run.ID) error {
	var missing []string
	for _, id := range runs {
		if _, ok := tx.list(listActions, t, string(id)); !ok && !slices.Contains(missing, string(id)) {
			missing = append(missing, string(id))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	found := map[listKey][]*kept{}
	for _, id := range missing {
		found[listKey{listActions, t, id}], found[listKey{listApprovals, t, id}] = []*kept{}, []*kept{}
	}
	var cases, people []string
	args := []any{string(t)}
	list := tx.writes()
	list = append(list, asks(`SELECT id, coalesce(case_id, ''), identity, doc FROM runs WHERE tenant = ? AND id`, args, missing, func(r rows) error {
		var id, file, person string
		var doc []byte
		err := r.Scan(&id, &file, &person, &doc)
		tx.learn("runs", t, id, string(doc))
		people = append(people, person)
		if _, ok := tx.list("runs", t, file); file != "" && !ok && !slices.Contains(cases, file) {
			cases = append(cases, file)
		}
		return err
	})...)
	for what, table := range map[string]string{listActions: "actions", listApprovals: "approvals"} {
		list = append(list, asks(`SELECT run, id, doc FROM `+table+` WHERE tenant = ? AND run`, args, missing, func(r rows) error {
			var of, id string
			var doc []byte
			err := r.Scan(&of, &id, &doc)
			key := listKey{what, t, of}
			found[key] = append(found[key], tx.learn(table, t, id, string(doc)))
			return err
		})...)
	}
	if err := tx.look(append(list, tx.directoryAhead(t)...)); err != nil {
		return fmt.Errorf("read ahead: %w", err)
	}
	for _, id := range cases {
		found[listKey{"runs", t, id}] = []*kept{}
	}
	list = tx.learnAll("cases", "id", t, cases)
	list = append(list, tx.learnAll("identities", "id", t, people)...)
	if len(cases) > 0 {
		list = append(list, asks(`SELECT case_id, id, doc FROM runs WHERE tenant = ? AND case_id`, args, cases, func(r rows) error {
			var of, id string
			var doc []byte
			err := r.Scan(&of, &id, &doc)
			key := listKey{"runs", t, of}
			found[key] = append(found[key], tx.learn("runs", t, id, string(doc)))
			return err
		})...)
	}
	if err := tx.look(list); err != nil {
		return fmt.Errorf("read ahead: %w", err)
	}
	for k, l := range found {
		tx.lists[k] = l
	}
	return nil
}

// AheadOfActions reads actions with their runs and identities, and what the gate
// asks of the tenant as a whole.
func (tx *Tx) AheadOfActions(t identity.Tenant, actions []action.Action) error {
	var ids, runs, people []string
	for _, a := range actions {
		ids, runs, people = append(ids, string(a.ID)), append(runs, a.Run), append(people, string(a.Identity))
	}
	list := tx.learnAll("actions", "id", t, ids)
	list = append(list, tx.learnAll("runs", "id", t, runs)...)
	list = append(list, tx.learnAll("identities", "id", t, people)...)
	if len(list) == 0 {
		return nil
	}
	list = append(list, tx.directoryAhead(t)...)
	if _, ok := tx.fences[t]; !ok {
		tx.fences[t] = 0
		list = append(list, statement{q: selectFence, args: []any{string(t), leaseDispatch}, scan: func(r rows) error {
			var fence int64
			err := r.Scan(&fence)
			tx.fences[t] = fence
			return err
		}})
	}
	if _, ok := tx.stops[t]; !ok {
		tx.stops[t] = nil
		list = append(list, statement{q: selectStops, args: []any{string(t)}, scan: func(r rows) error {
			var doc []byte
			if err := r.Scan(&doc); err != nil {
				return err
			}
			s, err := decode[dispatch.Stop](doc)
			tx.stops[t] = append(tx.stops[t], s)
			return err
		}})
	}
	if err := tx.look(list); err != nil {
		return fmt.Errorf("read ahead: %w", err)
	}
	return nil
}

// directoryAhead returns the query of the tenant's directory facts, unless they
// are known.
func (tx *Tx) directoryAhead(t identity.Tenant) []statement {
	if _, ok := tx.dirs[t]; ok {
		return nil
	}
	tx.dirs[t] = connector.DirectoryFacts{}
	return []statement{{q: selectDirectory, args: []any{string(t)}, scan: func(r rows) error {
		var doc []byte
		if err := r.Scan(&doc); err != nil {
			return err
		}
		d, err := tx.db.directory.decoded(t, doc)
		tx.dirs[t] = d
		return err
	}}}
}

// directories remembers the last reading of each tenant's directory decoded: every
// plan and every decision asks for it, it is large, and it changes once in minutes.
type directories struct {
	mu   sync.Mutex
	last map[identity.Tenant]decodedDirectory
}

type decodedDirectory struct {
	doc   []byte
	facts connector.DirectoryFacts
}

// decoded returns the facts of a document; nobody changes them in place.
func (d *directories) decoded(t identity.Tenant, doc []byte) (connector.DirectoryFacts, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if last, ok := d.last[t]; ok && bytes.Equal(last.doc, doc) {
		return last.facts, nil
	}
	facts, err := decode[connector.DirectoryFacts](doc)
	if err != nil {
		return facts, err
	}
	if d.last == nil {
		d.last = map[identity.Tenant]decodedDirectory{}
	}
	d.last[t] = decodedDirectory{bytes.Clone(doc), facts}
	return facts, nil
}
