package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// dispatchStore is the store as package dispatch needs it.
type dispatchStore struct{ db *DB }

func (s dispatchStore) Update(ctx context.Context, change func(dispatch.Tx) error) error {
	return s.db.update(ctx, rankDispatch, func(tx *Tx) error { return change(tx) })
}

func (s dispatchStore) Ready(ctx context.Context, t identity.Tenant, names []action.Name, now time.Time, limit int) ([]action.Action, error) {
	if len(names) == 0 {
		return nil, nil
	}
	// Name by name, each read in its order by the index: in one list, those who have no
	// room now would be gone through each time for the few behind them that have.
	var waiting []action.Action
	var present []action.Name
	err := eachRow(ctx, s.db.reads(), func(r rows) error {
		var n string
		err := r.Scan(&n)
		if slices.Contains(names, action.Name(n)) {
			present = append(present, action.Name(n))
		}
		return err
	}, selectReadyNames, string(t), string(t))
	for _, n := range present {
		if err != nil {
			break
		}
		var part []action.Action
		part, err = s.actions(ctx, `SELECT id, version, doc FROM actions WHERE tenant = ? AND name = ?
			AND state IN ('approved', 'held') AND next_at <= ? AND (state = 'approved' OR next_at > 0)
			AND (campaign IS NULL OR place < (SELECT c.released FROM campaigns c WHERE c.tenant = actions.tenant AND c.id = actions.campaign))
			ORDER BY turn, requested_at, id LIMIT ?`, string(t), string(n), now.UnixMicro(), int64(limit))
		waiting = append(waiting, part...)
	}
	if err != nil {
		return nil, fmt.Errorf("ready actions: %w", err)
	}
	slices.SortFunc(waiting, func(a, b action.Action) int {
		return cmp.Or(cmp.Compare(a.Turn(), b.Turn()), cmp.Compare(micros0(a.RequestedAt), micros0(b.RequestedAt)), cmp.Compare(a.ID, b.ID))
	})
	return waiting[:min(limit, len(waiting))], nil
}

// selectReadyNames steps from one name of waiting actions to the next.
const selectReadyNames = `WITH RECURSIVE waiting (name) AS (
	SELECT min(name) FROM actions WHERE tenant = ? AND state IN ('approved', 'held')
	UNION ALL SELECT (SELECT min(a.name) FROM actions a WHERE a.tenant = ? AND a.state IN ('approved', 'held') AND a.name > waiting.name)
	FROM waiting WHERE waiting.name IS NOT NULL)
SELECT name FROM waiting WHERE name IS NOT NULL`

func (s dispatchStore) Unproven(ctx context.Context, t identity.Tenant, names []action.Name, now time.Time, limit int) ([]action.Action, error) {
	if names != nil && len(names) == 0 {
		return nil, nil
	}
	l := &listing{}
	l.is("tenant", string(t))
	in(l, "name", names)
	out, err := s.actions(ctx, `SELECT id, version, doc FROM actions WHERE `+strings.Join(l.where, " AND ")+`
		AND state IN ('running', 'accepted', 'unconfirmed') AND next_at > 0 AND next_at <= ?
		ORDER BY next_at, id LIMIT ?`, append(l.args, now.UnixMicro(), int64(limit))...)
	if err != nil {
		return nil, fmt.Errorf("unproven actions: %w", err)
	}
	return out, nil
}

// actions reads actions by a query of id, version and document. Dispatch asks for
// the same few again and again while they are under way.
func (s dispatchStore) actions(ctx context.Context, q string, args ...any) ([]action.Action, error) {
	var out []action.Action
	err := eachRow(ctx, s.db.reads(), func(r rows) error {
		var id string
		var version int64
		var doc []byte
		if err := r.Scan(&id, &version, &doc); err != nil {
			return err
		}
		a, err := s.db.decoded.action(id, version, doc)
		out = append(out, a)
		return err
	}, q, args...)
	return out, err
}

// decodedActions remembers actions decoded, as far as they were asked for lately.
// Nobody changes what hangs on them in place.
type decodedActions struct {
	mu   sync.Mutex
	last map[string]action.Action
}

// maxDecoded bounds what is remembered; when it is reached, all is forgotten.
const maxDecoded = 8000

func (d *decodedActions) action(id string, version int64, doc []byte) (action.Action, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a, ok := d.last[id]; ok && a.Version == version {
		return a, nil
	}
	a, err := decode[action.Action](doc)
	if err != nil {
		return a, err
	}
	if d.last == nil || len(d.last) >= maxDecoded {
		d.last = map[string]action.Action{}
	}
	d.last[id] = a
	return a, nil
}

func (s dispatchStore) NextDue(ctx context.Context, t identity.Tenant, after time.Time) (time.Time, bool, error) {
	var due *int64
	if _, err := scanRow(ctx, s.db.reads(), []any{&due}, `SELECT min(next_at) FROM actions
		WHERE tenant = ? AND state IN ('approved', 'held', 'running', 'accepted', 'unconfirmed') AND next_at > ?`,
		string(t), micros0(after)); err != nil {
		return time.Time{}, false, fmt.Errorf("next due action: %w", err)
	}
	if due == nil {
		return time.Time{}, false, nil
	}
	return fromMicros(*due), true, nil
}

// leaseDispatch names the lease of a tenant's dispatch.
const leaseDispatch = "dispatch"

func (s dispatchStore) Acquire(ctx context.Context, t identity.Tenant, owner string, now time.Time, ttl time.Duration) (dispatch.Lease, error) {
	return s.db.acquire(ctx, t, leaseDispatch, owner, now, ttl)
}

// acquire takes or renews a lease. The fence rises when the owner changes.
func (db *DB) acquire(ctx context.Context, t identity.Tenant, name, owner string, now time.Time, ttl time.Duration) (dispatch.Lease, error) {
	l := dispatch.Lease{Tenant: t, Owner: owner, Until: now.Add(ttl)}
	if owner == "" {
		return l, fault.Errorf(fault.Invalid, "lease %s: the owner has no name", name)
	}
	err := db.update(ctx, rankDispatch, func(tx *Tx) error {
		var holder string
		var until int64
		ok, err := tx.row([]any{&holder, &l.Fence, &until},
			`SELECT owner, fence, until FROM leases WHERE tenant = ? AND name = ?`, string(t), name)
		if err != nil {
			return err
		}
		switch l.Taken = holder != owner; {
		case !ok:
			l.Fence = 1
		case l.Taken && holder != "" && until > now.UnixMicro():
			return fault.Errorf(fault.Conflict, "%s holds it until %s", holder, fromMicros(until).Format(time.RFC3339))
		case l.Taken:
			l.Fence++
		}
		_, err = tx.exec(`INSERT INTO leases (tenant, name, owner, fence, until) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (tenant, name) DO UPDATE SET owner = excluded.owner, fence = excluded.fence, until = excluded.until`,
			string(t), name, owner, l.Fence, l.Until.UnixMicro())
		return err
	})
	if err != nil {
		return dispatch.Lease{}, fmt.Errorf("lease %s of tenant %s: %w", name, t, err)
	}
	return l, nil
}

func (s dispatchStore) Release(ctx context.Context, l dispatch.Lease) error {
	return s.db.release(ctx, l, leaseDispatch)
}

func (db *DB) release(ctx context.Context, l dispatch.Lease, name string) error {
	err := db.update(ctx, rankDispatch, func(tx *Tx) error {
		_, err := tx.exec(`UPDATE leases SET owner = '', until = 0 WHERE tenant = ? AND name = ? AND owner = ? AND fence = ?`,
			string(l.Tenant), name, l.Owner, l.Fence)
		return err
	})
	if err != nil {
		return fmt.Errorf("release lease %s of tenant %s: %w", name, l.Tenant, err)
	}
	return nil
}

func (s dispatchStore) Intents(ctx context.Context, t identity.Tenant, since time.Time) ([]dispatch.Spent, error) {
	var out []dispatch.Spent
	err := eachRow(ctx, s.db.reads(), func(r rows) error {
		var name string
		var at int64
		err := r.Scan(&name, &at)
		out = append(out, dispatch.Spent{Name: action.Name(name), At: fromMicros(at)})
		return err
	}, `SELECT name, at FROM intents WHERE tenant = ? AND at >= ? ORDER BY at, name`, string(t), micros0(since))
	if err != nil {
		return nil, fmt.Errorf("intents: %w", err)
	}
	return out, nil
}

// Fence returns the fence of the tenant's present lease, 0 when nobody holds it.
func (tx *Tx) Fence(t identity.Tenant) (int64, error) {
	if fence, ok := tx.fences[t]; ok {
		return fence, nil
	}
	var fence int64
	if _, err := scanRow(tx.ctx, tx.raw, []any{&fence}, selectFence, string(t), leaseDispatch); err != nil {
		return 0, fmt.Errorf("fence: %w", tx.keep(err))
	}
	return fence, nil
}

const (
	selectFence = `SELECT fence FROM leases WHERE tenant = ? AND name = ? AND owner <> ''`
	selectStops = `SELECT doc FROM stops WHERE tenant IN (?, '') ORDER BY tenant DESC`
)

// Stop returns the stop in force for the tenant: its own or the global one.
func (tx *Tx) Stop(t identity.Tenant) (dispatch.Stop, error) {
	if all, ok := tx.stops[t]; ok {
		return inForce(all), nil
	}
	s, err := stop(tx.ctx, tx.raw, t)
	return s, tx.keep(err)
}

func stop(ctx context.Context, c conn, t identity.Tenant) (dispatch.Stop, error) {
	all, err := docsOf[dispatch.Stop](ctx, c, selectStops, string(t))
	if err != nil {
		return dispatch.Stop{}, fmt.Errorf("stop: %w", err)
	}
	return inForce(all), nil
}

// inForce prefers a stop that is on, and of two of a kind the tenant's own.
func inForce(all []dispatch.Stop) dispatch.Stop {
	for _, s := range all {
		if s.On {
			return s
		}
	}
	if len(all) > 0 {
		return all[0]
	}
	return dispatch.Stop{}
}

// PutStop switches the tenant's stop; an empty tenant is the global one.
func (tx *Tx) PutStop(t identity.Tenant, s dispatch.Stop) error {
	doc, err := encode(s)
	if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if _, err := tx.exec(`INSERT INTO stops (tenant, doc) VALUES (?, ?) ON CONFLICT (tenant) DO UPDATE SET doc = excluded.doc`,
		string(t), doc); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	tx.touch(Topic{Kind: TopicDispatch, Tenant: t})
	return nil
}

// Disruptions counts the identities that recent intents reached, those written
// earlier in this transaction included; undo actions and campaigns do not count.
func (tx *Tx) Disruptions(t identity.Tenant, r dispatch.Reach) (dispatch.Radius, error) {
	var out dispatch.Radius
	if len(r.Names) == 0 {
		return out, nil
	}
	l := &listing{}
	l.where, l.args = []string{"undo = 0", "campaign = ''", "at >= ?"}, []any{string(t), string(t), r.Playbook, micros0(r.Since)}
	in(l, "name", r.Names)
	if r.But != "" {
		l.where, l.args = append(l.where, "NOT (tenant = ? AND identity = ?)"), append(l.args, string(t), string(r.But))
	}
	// Identity ids are unique across tenants.
	if _, err := tx.row([]any{&out.Everywhere, &out.Tenant, &out.Playbook}, `SELECT count(DISTINCT identity),
		count(DISTINCT CASE WHEN tenant = ? THEN identity END),
		count(DISTINCT CASE WHEN tenant = ? AND playbook = ? THEN identity END)
		FROM intents WHERE `+strings.Join(l.where, " AND "), l.args...); err != nil {
		return out, fmt.Errorf("disruptions: %w", err)
	}
	return out, nil
}

// Touched returns those of the accounts that an intent with one of the names, written
// not before since, is about, sorted: on itself or on another of its identity.
func (tx *Tx) Touched(t identity.Tenant, accounts []string, names []action.Name, since time.Time) ([]string, error) {
	if len(accounts) == 0 || len(names) == 0 {
		return nil, nil
	}
	itself := &listing{where: []string{"tenant = ?", "at >= ?"}, args: []any{string(t), micros0(since)}}
	in(itself, "account", accounts)
	in(itself, "name", names)
	other := &listing{where: []string{"k.tenant = ?", "n.at >= ?"}, args: []any{string(t), micros0(since)}}
	in(other, "k.value", accounts)
	in(other, "n.name", names)
	// CROSS JOIN keeps SQLite to this order: each step is answered by an index, and
	// a storm's intents are not read for every administrator in it.
	var out []string
	err := eachRow(tx.ctx, tx.c, func(r rows) error {
		var a string
		err := r.Scan(&a)
		out = append(out, a)
		return err
	}, `SELECT account FROM intents WHERE `+strings.Join(itself.where, " AND ")+`
		UNION SELECT k.value FROM identity_keys k CROSS JOIN identity_keys o CROSS JOIN intents n
		WHERE o.tenant = k.tenant AND o.identity = k.identity AND n.tenant = o.tenant AND n.account = o.value AND `+strings.Join(other.where, " AND ")+` ORDER BY 1`, append(itself.args, other.args...)...)
	if err != nil {
		return nil, fmt.Errorf("accounts touched: %w", tx.keep(err))
	}
	return out, nil
}
