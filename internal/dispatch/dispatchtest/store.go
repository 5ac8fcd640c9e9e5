// Package dispatchtest is an honest in-memory dispatch.Store: transactions that
// roll back, versions that are compared, values that are copies. It is for tests
// that need time to be fast; what it promises is what dispatch.Store promises.
package dispatchtest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A key names a row within a tenant.
type key struct {
	tenant identity.Tenant
	id     string
}

// A Store keeps everything in memory. Its zero value is not ready: use New.
type Store struct {
	mu         sync.Mutex
	actions    map[key]action.Action
	runs       map[key]run.Run
	identities map[key]identity.Identity
	dirs       map[identity.Tenant]connector.DirectoryFacts
	stops      map[identity.Tenant]dispatch.Stop
	leases     map[identity.Tenant]dispatch.Lease
	campaigns  map[key]campaign.Campaign
	trail      []audit.Entry
	ids        int

	signals     map[key][]signal.Signal
	assessments map[key]risk.Assessment
}

var _ dispatch.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{
		actions: map[key]action.Action{}, runs: map[key]run.Run{}, identities: map[key]identity.Identity{},
		dirs: map[identity.Tenant]connector.DirectoryFacts{}, stops: map[identity.Tenant]dispatch.Stop{}, leases: map[identity.Tenant]dispatch.Lease{},
		campaigns: map[key]campaign.Campaign{},
		signals:   map[key][]signal.Signal{}, assessments: map[key]risk.Assessment{},
	}
}

// PutKnown stores what is known of an identity beside its accounts.
func (s *Store) PutKnown(t identity.Tenant, id identity.ID, a risk.Assessment, signals ...signal.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.assessments[key{t, string(id)}], s.signals[key{t, string(id)}] = a, signals
}

// PutRun stores r as it is.
func (s *Store) PutRun(r run.Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[key{r.Tenant, string(r.ID)}] = clone(r)
}

// PutCampaign stores c as it is.
func (s *Store) PutCampaign(c campaign.Campaign) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.campaigns[key{c.Tenant, string(c.ID)}] = clone(c)
}

// PutDirectory stores what is known of a tenant.
func (s *Store) PutDirectory(t identity.Tenant, d connector.DirectoryFacts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirs[t] = clone(d)
}

// Actions returns all actions, by id.
func (s *Store) Actions() []action.Action {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]action.Action, 0, len(s.actions))
	for _, a := range s.actions {
		out = append(out, copyOf(a))
	}
	slices.SortFunc(out, func(a, b action.Action) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Trail returns the audit entries in the order in which they were committed.
func (s *Store) Trail() []audit.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.trail)
}

// Update runs change alone: there is no other writer to conflict with.
func (s *Store) Update(ctx context.Context, change func(dispatch.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fault.Errorf(fault.Unavailable, "update: %w", err)
	}
	tx := &tx{s: s, trail: len(s.trail), ids: s.ids}
	if err := change(tx); err != nil {
		for _, undo := range slices.Backward(tx.undo) {
			undo()
		}
		s.trail, s.ids = s.trail[:tx.trail], tx.ids
		return err
	}
	return nil
}

// Ready is dispatch.Store's.
func (s *Store) Ready(ctx context.Context, t identity.Tenant, names []action.Name, now time.Time, limit int) ([]action.Action, error) {
	return s.list(ctx, t, limit, func(a action.Action) bool {
		due := !a.NextAt.After(now)
		return slices.Contains(names, a.Name) && s.released(a) &&
			(a.State == action.Approved && due || a.State == action.Held && due && !a.NextAt.IsZero())
	}, func(a, b action.Action) int {
		return cmp.Or(cmp.Compare(a.Turn(), b.Turn()), a.RequestedAt.Compare(b.RequestedAt), cmp.Compare(a.ID, b.ID))
	})
}

// released is asked under the lock.
func (s *Store) released(a action.Action) bool {
	c := s.campaigns[key{a.Tenant, a.Campaign}]
	return a.Campaign == "" || c.State.Goes() && a.Place < c.Released
}

// Unproven is dispatch.Store's.
func (s *Store) Unproven(ctx context.Context, t identity.Tenant, names []action.Name, now time.Time, limit int) ([]action.Action, error) {
	return s.list(ctx, t, limit, func(a action.Action) bool {
		return (names == nil || slices.Contains(names, a.Name)) && unproven(a.State) && !a.NextAt.IsZero() && !a.NextAt.After(now)
	}, func(a, b action.Action) int {
		return cmp.Or(a.NextAt.Compare(b.NextAt), cmp.Compare(a.ID, b.ID))
	})
}

// NextDue is dispatch.Store's.
func (s *Store) NextDue(ctx context.Context, t identity.Tenant, after time.Time) (time.Time, bool, error) {
	due, err := s.list(ctx, t, 1, func(a action.Action) bool {
		return (unproven(a.State) || a.State == action.Approved || a.State == action.Held) && a.NextAt.After(after)
	}, func(a, b action.Action) int { return a.NextAt.Compare(b.NextAt) })
	if err != nil || len(due) == 0 {
		return time.Time{}, false, err
	}
	return due[0].NextAt, true, nil
}

func unproven(s action.State) bool {
	return s == action.Running || s == action.AcceptedState || s == action.Unconfirmed
}

func (s *Store) list(ctx context.Context, t identity.Tenant, limit int, want func(action.Action) bool, order func(a, b action.Action) int) ([]action.Action, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Errorf(fault.Unavailable, "list actions: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []action.Action
	for k, a := range s.actions {
		if k.tenant == t && want(a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, order)
	out = out[:min(len(out), limit)]
	for n := range out {
		out[n] = copyOf(out[n])
	}
	return out, nil
}

// Acquire is dispatch.Store's.
func (s *Store) Acquire(ctx context.Context, t identity.Tenant, owner string, now time.Time, ttl time.Duration) (dispatch.Lease, error) {
	if err := ctx.Err(); err != nil {
		return dispatch.Lease{}, fault.Errorf(fault.Unavailable, "acquire: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[t]
	valid := l.Owner != "" && now.Before(l.Until)
	if valid && l.Owner != owner {
		return dispatch.Lease{}, fault.Errorf(fault.Conflict, "tenant %s: %s holds the lease until %s", t, l.Owner, l.Until.Format(time.RFC3339))
	}
	l.Taken = !valid
	if l.Taken {
		l.Fence++
	}
	l.Tenant, l.Owner, l.Until = t, owner, now.Add(ttl)
	s.leases[t] = l
	return l, nil
}

// Release is dispatch.Store's.
func (s *Store) Release(ctx context.Context, l dispatch.Lease) error {
	if err := ctx.Err(); err != nil {
		return fault.Errorf(fault.Unavailable, "release: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.leases[l.Tenant]; now.Owner == l.Owner && now.Fence == l.Fence {
		now.Owner = ""
		s.leases[l.Tenant] = now
	}
	return nil
}

// Intents is dispatch.Store's.
func (s *Store) Intents(_ context.Context, t identity.Tenant, since time.Time) ([]dispatch.Spent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []dispatch.Spent
	for k, a := range s.actions {
		if k.tenant == t && !a.IntentAt.IsZero() && !a.IntentAt.Before(since) {
			out = append(out, dispatch.Spent{Name: a.Name, At: a.IntentAt})
		}
	}
	slices.SortFunc(out, func(a, b dispatch.Spent) int { return a.At.Compare(b.At) })
	return out, nil
}

// A tx changes the store in place and knows the way back.
type tx struct {
	s     *Store
	undo  []func()
	trail int
	ids   int
}

func (x *tx) Run(t identity.Tenant, id run.ID) (run.Run, error) {
	r, ok := x.s.runs[key{t, string(id)}]
	if !ok {
		return r, fault.Errorf(fault.NotFound, "no run %s", id)
	}
	return r, nil
}

func (x *tx) Action(t identity.Tenant, id action.ID) (action.Action, error) {
	a, ok := x.s.actions[key{t, string(id)}]
	if !ok {
		return a, fault.Errorf(fault.NotFound, "no action %s", id)
	}
	return copyOf(a), nil
}

func (x *tx) PutAction(a action.Action) (action.Action, error) {
	if a.ID == "" {
		a.ID = action.ID(x.NewID("act"))
	}
	k := key{a.Tenant, string(a.ID)}
	was, had := x.s.actions[k]
	if had && was.Version != a.Version || !had && a.Version != 0 {
		return a, fault.Errorf(fault.Conflict, "action %s: version %d is not %d", a.ID, a.Version, was.Version)
	}
	a.Version++
	if _, err := json.Marshal(a); err != nil {
		return a, fmt.Errorf("action %s cannot be stored: %w", a.ID, err)
	}
	put(x, x.s.actions, k, copyOf(a))
	return a, nil
}

func (x *tx) Identity(t identity.Tenant, id identity.ID) (identity.Identity, error) {
	i, ok := x.s.identities[key{t, string(id)}]
	if !ok {
		return i, fault.Errorf(fault.NotFound, "no identity %s", id)
	}
	return clone(i), nil
}

func (x *tx) PutIdentity(i identity.Identity) (identity.Identity, error) {
	put(x, x.s.identities, key{i.Tenant, string(i.ID)}, clone(i))
	return i, nil
}

func (x *tx) IdentitiesByKeys(t identity.Tenant, keys []identity.Key) (out []identity.Identity, err error) {
	for k, i := range x.s.identities {
		if k.tenant == t && slices.ContainsFunc(i.Keys(), func(own identity.Key) bool { return slices.Contains(keys, own) }) {
			out = append(out, clone(i))
		}
	}
	return out, nil
}

func (x *tx) SignalsOf(t identity.Tenant, id identity.ID) ([]signal.Signal, error) {
	return slices.Clone(x.s.signals[key{t, string(id)}]), nil
}

func (x *tx) Assessment(t identity.Tenant, id identity.ID) (risk.Assessment, error) {
	a, ok := x.s.assessments[key{t, string(id)}]
	if !ok {
		return a, fault.Errorf(fault.NotFound, "no assessment of %s", id)
	}
	return a, nil
}

func (x *tx) Directory(t identity.Tenant) (connector.DirectoryFacts, error) { return x.s.dirs[t], nil }

func (x *tx) Stop(t identity.Tenant) (dispatch.Stop, error) {
	if all := x.s.stops[""]; all.On {
		return all, nil
	}
	return x.s.stops[t], nil
}

func (x *tx) PutStop(t identity.Tenant, st dispatch.Stop) error {
	put(x, x.s.stops, t, st)
	return nil
}

func (x *tx) Campaign(t identity.Tenant, id campaign.ID) (campaign.Campaign, error) {
	c, ok := x.s.campaigns[key{t, string(id)}]
	if !ok {
		return c, fault.Errorf(fault.NotFound, "no campaign %s", id)
	}
	return clone(c), nil
}

func (x *tx) Fence(t identity.Tenant) (int64, error) { return x.s.leases[t].Fence, nil }

func (x *tx) Disruptions(t identity.Tenant, r dispatch.Reach) (dispatch.Radius, error) {
	everywhere, tenant, playbook := map[key]bool{}, map[key]bool{}, map[key]bool{}
	for k, a := range x.s.actions {
		who := key{k.tenant, string(a.Identity)}
		if a.UndoOf != "" || a.Campaign != "" || !slices.Contains(r.Names, a.Name) || a.IntentAt.IsZero() || a.IntentAt.Before(r.Since) || who == (key{t, string(r.But)}) {
			continue
		}
		everywhere[who] = true
		if k.tenant == t {
			tenant[who] = true
			if a.Playbook == r.Playbook {
				playbook[who] = true
			}
		}
	}
	return dispatch.Radius{Everywhere: len(everywhere), Tenant: len(tenant), Playbook: len(playbook)}, nil
}

func (x *tx) Touched(t identity.Tenant, accounts []string, names []action.Name, since time.Time) ([]string, error) {
	hit := map[string]bool{}
	for k, a := range x.s.actions {
		if k.tenant != t || !slices.Contains(names, a.Name) || a.IntentAt.IsZero() || a.IntentAt.Before(since) {
			continue
		}
		about := []string{identity.Account{Ref: a.Account}.Key()}
		for _, other := range x.s.identities[key{t, string(a.Identity)}].Keys() {
			about = append(about, other.Value)
		}
		for _, acc := range about {
			if slices.Contains(accounts, acc) {
				hit[acc] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(hit)), nil
}

func (x *tx) Audit(e audit.Entry) error {
	if _, err := json.Marshal(e); err != nil {
		return fmt.Errorf("audit entry cannot be stored: %w", err)
	}
	x.s.trail = append(x.s.trail, e)
	return nil
}

func (x *tx) AheadOfActions(identity.Tenant, []action.Action) error { return nil }

func (x *tx) NewID(prefix string) string {
	x.s.ids++
	return fmt.Sprintf("%s_%08d", prefix, x.s.ids)
}

func put[K comparable, V any](x *tx, m map[K]V, k K, v V) {
	was, had := m[k]
	x.undo = append(x.undo, func() {
		if had {
			m[k] = was
		} else {
			delete(m, k)
		}
	})
	m[k] = v
}

// copyOf copies what an action refers to.
func copyOf(a action.Action) action.Action {
	a.Params = maps.Clone(a.Params)
	a.Before = slices.Clone(a.Before)
	a.Sealed = slices.Clone(a.Sealed)
	return a
}

// clone copies a value by way of its stored form.
func clone[T any](v T) T {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("dispatchtest: %T cannot be stored: %v", v, err))
	}
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		panic(fmt.Sprintf("dispatchtest: %T cannot be read back: %v", v, err))
	}
	return out
}
