package dispatch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// readers is how many directory reads for read-backs run at once.
const readers = 4

// together is how much earlier than due a read-back may be made, and alongScarce the
// same where one that is due costs one of few requests: others are read with it rather
// than one after the other.
const (
	together    = 50 * time.Millisecond
	alongScarce = 3 * time.Second
)

// breath is the least time from one look for due work to the next: while a set of
// requests is under way each of them nudges, and every look asks the store anew. After
// a look that took long it is lookShare times as long as that, so that looking takes
// no more than a quarter of a core from what is being sent.
const (
	breath    = 3 * time.Millisecond
	lookShare = 3
)

// everything is more rows than a tenant can have open.
const everything = 100_000

// A session is one ownership of a tenant, from winning the lease to losing it.
type session struct {
	*Dispatcher
	fence  int64
	writes *committer
	wg     sync.WaitGroup

	mu       sync.Mutex
	inflight map[action.ID]bool            // being worked on by a goroutine of ours
	open     map[string]map[action.ID]bool // by account: actions that others wait for; see note
	last     map[action.ID]json.RawMessage // what the previous reading of each unproven action saw
	slots    map[action.Bucket]int         // sets being sent, by what they count against
	reading  map[action.Bucket]int         // sets being read back
	checked  time.Time                     // when open was last compared with the rows
	dug      time.Time                     // when it was last looked behind those who wait for another change
	stopped  bool                          // the gate met the global stop
	told     string                        // the trouble that was logged last
}

// A set is what one request carries: actions of one type with the same
// parameters.
type set struct {
	typ     action.Type
	spec    action.Spec
	actions []action.Action
	freed   bool // its slot was given back
}

// run works until ctx ends (nil) or the lease is lost (an error), and returns
// when everything it started has ended.
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.wg.Wait()
	defer cancel()
	if err := s.inherit(ctx); err != nil {
		s.trouble("read what the last owner left", err)
		sleep(ctx, s.o.Tick, nil)
		return nil // the lease is asked for anew
	}
	for ctx.Err() == nil {
		if err := s.renew(ctx); err != nil {
			return err
		}
		now := s.o.Now()
		if err := s.pass(ctx, now); err != nil && ctx.Err() == nil {
			s.trouble("look for due actions", err)
		}
		s.rest(ctx, now, max(breath, min(lookShare*s.o.Now().Sub(now), s.o.Tick/10)))
	}
	return nil
}

// rest waits for a nudge, the next due action or the tick. After a nudge it is at
// least so long since the look at now as breathe says.
func (s *session) rest(ctx context.Context, now time.Time, breathe time.Duration) {
	wait := min(s.o.Tick, s.o.LeaseTTL/4)
	if due, ok, err := s.store.NextDue(ctx, s.tenant, now); err == nil && ok {
		wait = min(wait, max(0, due.Sub(s.o.Now())))
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.nudge:
		if since := s.o.Now().Sub(now); since >= 0 && since < breathe {
			sleep(ctx, breathe-since, nil)
		}
	case <-t.C:
	}
}

// inherit learns what the predecessor spent and what it left open.
func (s *session) inherit(ctx context.Context) error {
	now := s.o.Now()
	spent, err := s.store.Intents(ctx, s.tenant, now.Add(-s.budget.o.Memory))
	if err != nil {
		return err
	}
	s.budget.rebuild(charges(spent, func(n action.Name) (action.Spec, bool) {
		t, err := s.cat.Type(n)
		if err != nil {
			return action.Spec{}, false
		}
		return t.Spec(), true
	}))
	open, err := s.store.Unproven(ctx, s.tenant, nil, now.Add(100*365*24*time.Hour), everything)
	if err != nil {
		return err
	}
	for _, a := range open {
		s.note(a)
	}
	return nil
}

// note keeps account of which accounts have an action that others must wait for.
// All wait while a request is under way or its outcome is unknown (true), since
// two requests that race leave a state nobody asked for. One that is never
// repeated also waits for another to be proven (false): it would count as its
// proof.
func (s *session) note(a action.Action) {
	key := accountKey(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case a.State == action.Running:
		s.occupy(key, a.ID, true)
	case a.State == action.AcceptedState && s.neverRepeat(a.Name):
		s.occupy(key, a.ID, false)
	default:
		s.vacate(key, a.ID)
	}
}

func (s *session) occupy(key string, id action.ID, all bool) {
	if s.open[key] == nil {
		s.open[key] = map[action.ID]bool{}
	}
	s.open[key][id] = all
}

func (s *session) vacate(key string, id action.ID) {
	delete(s.open[key], id)
	if len(s.open[key]) == 0 {
		delete(s.open, key)
	}
}

// waits reports whether an action of the spec on the account must wait.
func (s *session) waits(key string, spec action.Spec) bool {
	for _, all := range s.open[key] {
		if all || spec.NeverRepeat {
			return true
		}
	}
	return false
}

func (s *session) neverRepeat(n action.Name) bool {
	t, err := s.cat.Type(n)
	return err == nil && t.Spec().NeverRepeat
}

func accountKey(a action.Action) string {
	acc := identity.Account{Ref: a.Account}
	return string(a.Account.Provider) + " " + cmp.Or(acc.Key(), a.Account.Name())
}

// pass starts everything that is due and for which there is room.
func (s *session) pass(ctx context.Context, now time.Time) error {
	// What is due in a moment is read along: one list instead of many single reads.
	// What counts against a limit of its own stands in a line of its own.
	for _, l := range s.readable() {
		due, err := s.store.Unproven(ctx, s.tenant, l.names, now.Add(l.along), l.most)
		if err != nil {
			return err
		}
		s.startReads(ctx, due, now)
	}
	s.mu.Lock()
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		if stopped, err := s.standStill(ctx, now); stopped || err != nil {
			return err
		}
	}
	sets, blockers, err := s.choose(ctx, now)
	if err != nil {
		return err
	}
	for len(sets) > 0 {
		name := sets[0].spec.Name
		var wave []*set // what is looked at together
		sets = slices.DeleteFunc(sets, func(st *set) bool {
			if st.spec.Name != name {
				return false
			}
			wave = append(wave, st)
			return true
		})
		s.wg.Go(func() { s.bring(ctx, wave) })
	}
	return s.recheck(ctx, blockers, now)
}

// choose makes sets of what is ready, line by line. Where those who wait for another
// change of their account fill all that was asked for, it looks behind them once a
// tick: who stands there may wait for nobody.
func (s *session) choose(ctx context.Context, now time.Time) (sets []*set, blockers []action.Action, err error) {
	dig := now.Sub(s.dug) >= s.o.Tick
	for _, l := range s.room() {
		ready, err := s.store.Ready(ctx, s.tenant, l.names, now, l.most)
		if err != nil {
			return nil, nil, err
		}
		made, barred := s.gather(ready)
		if len(made) == 0 && len(ready) == l.most && dig {
			s.dug = now
			s.mu.Lock()
			behind := l.most + 8*len(s.open)
			s.mu.Unlock()
			if ready, err = s.store.Ready(ctx, s.tenant, l.names, now, behind); err != nil {
				return nil, nil, err
			}
			made, barred = s.gather(ready)
		}
		sets, blockers = append(sets, made...), append(blockers, barred...)
	}
	return sets, blockers, nil
}

// bring looks at sets of one type and brings each out by itself.
func (s *session) bring(ctx context.Context, wave []*set) {
	cands, err := s.look(ctx, wave)
	for n, st := range wave {
		s.wg.Go(func() {
			var changed []action.Action
			if err == nil {
				changed = s.act(ctx, st, cands[n])
			}
			s.freeSlot(st)
			s.finish(st, changed)
		})
	}
}

// freeSlot lets another set of the bucket start.
func (s *session) freeSlot(st *set) {
	s.mu.Lock()
	if !st.freed {
		st.freed = true
		s.slots[st.spec.Bucket]--
	}
	s.mu.Unlock()
	s.Nudge()
}

// recheck looks up what became of the actions that others wait for, at most once
// a tick: an earlier owner that was slow, not dead, may have written their
// outcomes behind our back.
func (s *session) recheck(ctx context.Context, blockers []action.Action, now time.Time) error {
	if len(blockers) == 0 || now.Sub(s.checked) < s.o.Tick {
		return nil
	}
	s.checked = now
	var rows []action.Action
	err := s.writes.do(ctx, nil, func(tx *view) error {
		rows = rows[:0]
		for _, b := range blockers {
			a, err := tx.Action(s.tenant, b.ID)
			if errors.Is(err, fault.NotFound) {
				a = b // with no state: it blocks nobody
			} else if err != nil {
				return err
			}
			rows = append(rows, a)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range rows {
		s.note(a)
	}
	return nil
}

// barredMost is how many are looked at beyond those there is room for: some wait for
// another change of their account.
const barredMost = 16

// room returns the lines in which another set may be sent now.
func (s *session) room() []line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines(func(spec action.Spec) (action.Bucket, int) {
		wide := s.width(spec.Bucket)
		if s.slots[spec.Bucket] >= wide {
			return "", 0
		}
		// Those under way are still ready in the store until their intent.
		return spec.Bucket, barredMost + wide*max(1, spec.Batch)
	})
}

// width is how many sets of a bucket may be under way. Identity protection gives
// one request a second: what comes meanwhile joins the next batch.
func (s *session) width(b action.Bucket) int {
	if b == action.BucketIdentityProtection {
		return 1
	}
	return s.o.Concurrency
}

// gather makes sets of the ready actions, in their order, as far as there are
// slots, and marks them as under way. blockers are actions that some of them wait
// for and that nobody here works on: only their id and account are told.
func (s *session) gather(ready []action.Action) (sets []*set, blockers []action.Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	filling := map[string]*set{}
	for _, a := range ready {
		key := accountKey(a)
		t, err := s.cat.Type(a.Name)
		if err != nil || s.inflight[a.ID] || a.Person {
			continue
		}
		spec := t.Spec()
		if s.waits(key, spec) {
			for id := range s.open[key] {
				if !s.inflight[id] {
					blockers = append(blockers, action.Action{ID: id, Account: a.Account})
				}
			}
			continue
		}
		params, _ := json.Marshal(a.Params) // strings, numbers and booleans: cannot fail
		kind := string(a.Name) + " " + string(params)
		st := filling[kind]
		if st == nil || batchFor(spec, a) == 1 {
			if s.slots[spec.Bucket] >= s.width(spec.Bucket) {
				continue
			}
			s.slots[spec.Bucket]++
			st = &set{typ: t, spec: spec}
			sets = append(sets, st)
			filling[kind] = st
		}
		st.actions = append(st.actions, a)
		s.inflight[a.ID] = true
		s.occupy(key, a.ID, true)
		if len(st.actions) >= batchFor(spec, a) {
			delete(filling, kind)
		}
	}
	return sets, blockers
}

// batchFor is how many targets a request with a may carry. What was put off again
// and again goes alone: one bad target must not hold up the others for ever.
func batchFor(spec action.Spec, a action.Action) int {
	if a.Attempt >= 3 {
		return 1
	}
	return max(1, spec.Batch)
}

// A line is the types that count against the same limit, and how many actions are
// worth looking at.
type line struct {
	names []action.Name
	most  int
	along time.Duration // with a read-back that is due go those that are in this time
}

// lines puts the types together whose bucket of returns, with the most that it says
// of any of them. Where it says none there is no room.
func (s *session) lines(of func(action.Spec) (action.Bucket, int)) []line {
	var out []line
	at := map[action.Bucket]int{}
	for _, name := range s.names {
		t, err := s.cat.Type(name)
		if err != nil {
			continue
		}
		b, most := of(t.Spec())
		if most == 0 {
			continue
		}
		n, known := at[b]
		if !known {
			n = len(out)
			at[b], out = n, append(out, line{along: together})
			if shared(b) {
				out[n].along = alongScarce
			}
		}
		out[n].names, out[n].most = append(out[n].names, name), max(out[n].most, most)
	}
	return out
}

// readable returns the lines in which another read-back may be begun now.
func (s *session) readable() []line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines(func(spec action.Spec) (action.Bucket, int) {
		b := readBucket(spec)
		wide := min(readers, s.width(b))
		if s.reading[b] >= wide {
			return "", 0
		}
		// Those under way stand in front until they are settled.
		return b, 2 * wide * max(1, spec.ReadBatch)
	})
}

// startReads reads back what is due, in lists as large as the type can read. What
// comes along earlier than due only fills a list, and begins none.
func (s *session) startReads(ctx context.Context, due []action.Action, now time.Time) {
	var sets []*set
	s.mu.Lock()
	filling := map[action.Name]*set{}
	for _, a := range due {
		if s.inflight[a.ID] {
			continue
		}
		t, err := s.cat.Type(a.Name)
		if err != nil {
			continue
		}
		spec := t.Spec()
		bucket := readBucket(spec)
		st := filling[a.Name]
		if st == nil {
			if s.reading[bucket] >= min(readers, s.width(bucket)) || a.NextAt.After(now.Add(together)) {
				continue
			}
			s.reading[bucket]++
			st = &set{typ: t, spec: spec}
			sets = append(sets, st)
			filling[a.Name] = st
		}
		st.actions = append(st.actions, a)
		s.inflight[a.ID] = true
		if len(st.actions) >= max(1, spec.ReadBatch) {
			delete(filling, a.Name)
		}
	}
	s.mu.Unlock()
	for _, st := range sets {
		s.wg.Go(func() {
			changed := s.readBack(ctx, st)
			s.mu.Lock()
			s.reading[readBucket(st.spec)]--
			s.mu.Unlock()
			s.finish(st, changed)
		})
	}
}

func readBucket(spec action.Spec) action.Bucket {
	return cmp.Or(spec.ReadBucket, action.BucketDirectoryRead)
}

// finish frees the accounts of the set and tells whom it concerns. A set that was not
// carried through leaves its actions where the store has them.
func (s *session) finish(st *set, changed []action.Action) {
	s.mu.Lock()
	seen := map[action.ID]bool{}
	for _, a := range changed {
		seen[a.ID] = true
	}
	for _, a := range st.actions {
		delete(s.inflight, a.ID)
		if !seen[a.ID] && (a.State == action.Approved || a.State == action.Held) {
			s.vacate(accountKey(a), a.ID)
		}
	}
	s.mu.Unlock()
	runs := map[string]bool{}
	for _, a := range changed {
		s.note(a)
		if !runs[a.Run] {
			runs[a.Run] = true
			s.o.Changed(s.tenant, run.ID(a.Run))
		}
	}
	s.Nudge()
}

// standStill is a pass under the global stop: it sends nothing, marks what became
// ready as held, and reports whether the stop is still on.
func (s *session) standStill(ctx context.Context, now time.Time) (bool, error) {
	ready, err := s.store.Ready(ctx, s.tenant, s.names, now, 500)
	if err != nil {
		return true, err
	}
	var stop Stop
	var held []action.Action
	err = s.writes.do(ctx, ready, func(tx *view) error {
		held = held[:0]
		st, err := tx.Stop(s.tenant)
		if stop = st; err != nil || !stop.On {
			return err
		}
		if err := s.mine(tx); err != nil {
			return err
		}
		d := Decision{Hold, []Reason{{RuleStop, Hold, "the global stop is on: " + cause(stop), againStop}}}
		for _, r := range ready {
			a, err := tx.Action(s.tenant, r.ID)
			if err != nil && !errors.Is(err, fault.NotFound) {
				return err
			}
			if err != nil || r.State != action.Approved || a.State != action.Approved {
				continue
			}
			if a, err = s.hold(tx, a, d, now); err != nil {
				return err
			}
			held = append(held, a)
		}
		return nil
	})
	if err != nil {
		return true, err
	}
	for _, a := range held {
		s.o.Changed(s.tenant, run.ID(a.Run))
	}
	s.mu.Lock()
	s.stopped = stop.On
	s.mu.Unlock()
	return stop.On, nil
}

// mine returns fault.Conflict unless the tenant's lease is still ours.
func (s *session) mine(tx Tx) error {
	fence, err := tx.Fence(s.tenant)
	if err == nil && fence != s.fence {
		err = fault.Errorf(fault.Conflict, "the tenant has another owner: fence %d became %d", s.fence, fence)
	}
	return err
}

// trouble logs an error once, however often it comes in a row.
func (s *session) trouble(doing string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	text := doing + ": " + err.Error()
	s.mu.Lock()
	known := s.told == text
	s.told = text
	s.mu.Unlock()
	if !known {
		s.o.Log.Warn("dispatch could not "+doing, "err", err)
	}
}
