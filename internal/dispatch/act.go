package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// A candidate is one action of a set on its way out.
type candidate struct {
	action action.Action // as the store had it when the set was made
	look   action.Look
	lookAt time.Time
	secret []byte // wiped when the set is over
	sealed []byte

	decision  Decision
	asked     bool          // the gate was asked
	send      bool          // its intent is durable
	sent      action.Action // the row with the intent
	decidedAt time.Time     // when the gate said yes
	dueSince  time.Time     // when it could first have left
}

// act brings a set out that was looked at: wait for a request, write the intents,
// send, write the outcomes. It returns the actions as it left them. ctx keeps what
// has not left from leaving; what has left is followed to its outcome.
func (s *session) act(ctx context.Context, st *set, cands []*candidate) (changed []action.Action) {
	defer wipe(cands)
	paid := false
	if wanted(cands) {
		if err := s.budget.hold(ctx, st.spec.Bucket, turn(lane(st.actions))); err != nil {
			return nil
		}
		paid = true
	}
	id := s.o.NewRequestID()
	err := s.writes.do(ctx, st.actions, func(tx *view) error {
		if err := s.mine(tx); err != nil {
			return err
		}
		changed = changed[:0]
		for _, c := range cands {
			a, moved, err := s.decide(tx, st.spec, c, id)
			if err != nil {
				return err
			}
			if moved {
				changed = append(changed, a)
			}
		}
		return nil
	})
	if err != nil {
		s.trouble("write intents", err)
		if paid {
			s.budget.give(st.spec.Bucket)
		}
		return nil // without a durable intent nothing leaves
	}
	var out []*candidate
	for _, c := range cands {
		if c.asked {
			s.o.Meter.Decided(st.spec.Name, c.decision.Verdict, c.decision.Rule())
		}
		if c.send {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		if paid {
			s.budget.give(st.spec.Bucket)
		}
		return changed
	}
	return merge(changed, s.send(ctx, st, out))
}

// look reads the targets of sets of one type, in one list where the type reads
// lists, and makes the secrets of those that will be changed. It returns the
// candidates of each set. An error means that ctx ended.
func (s *session) look(ctx context.Context, sets []*set) ([][]*candidate, error) {
	typ, spec := sets[0].typ, sets[0].spec
	var all []action.Action
	for _, st := range sets {
		all = append(all, st.actions...)
	}
	if shared(spec.ReadBucket) {
		if err := s.budget.take(ctx, spec.ReadBucket, turn(lane(all))); err != nil {
			return nil, err
		}
	}
	at := s.o.Now()
	read, cancel := context.WithTimeout(ctx, s.o.RequestTimeout)
	looks := typ.Look(read, requests(all))
	cancel()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var worst error
	cands := make([]*candidate, len(all))
	for n, a := range all {
		c := &candidate{action: a, look: action.Look{Err: fault.Errorf(fault.Unavailable, "%s said nothing of the account", a.Name)}, lookAt: at}
		if n < len(looks) {
			c.look = looks[n]
		}
		if c.look.Err != nil {
			worst = c.look.Err
		}
		if g, ok := typ.(action.Generator); ok && c.leaves() {
			c.generate(g, s.o.Rand)
		}
		cands[n] = c
	}
	s.readAnswered(spec, worst)
	out := make([][]*candidate, len(sets))
	for n, st := range sets {
		out[n], cands = cands[:len(st.actions)], cands[len(st.actions):]
	}
	return out, nil
}

// generate makes the candidate's secret.
func (c *candidate) generate(g action.Generator, rand io.Reader) {
	var err error
	c.secret, c.sealed, err = g.Generate(rand, c.action.Request())
	switch {
	case errors.Is(err, fault.Invalid):
		c.look.Refuse = err.Error()
	case err != nil:
		c.look.Err = err
	}
}

// leaves reports whether a request is to be sent if the gate agrees.
func (c *candidate) leaves() bool {
	return c.look.Err == nil && c.look.Refuse == "" && !c.look.Already
}

func wanted(cands []*candidate) bool {
	for _, c := range cands {
		if c.leaves() {
			return true
		}
	}
	return false
}

// lane is the most urgent lane of the actions.
func lane(actions []action.Action) action.Lane {
	best := actions[0].Lane
	for _, a := range actions {
		best = min(best, a.Lane)
	}
	return best
}

// shared reports whether reads of the bucket compete with containment.
func shared(b action.Bucket) bool { return b != "" && b != action.BucketDirectoryRead }

// readAnswered tells the budget how a read went that competes with containment.
func (s *session) readAnswered(spec action.Spec, err error) {
	switch {
	case !shared(spec.ReadBucket):
	case errors.Is(err, fault.Unavailable):
		after, _ := fault.RetryAfter(err)
		s.budget.throttled(spec.ReadBucket, after)
	default:
		s.budget.answered(spec.ReadBucket, 0)
	}
}

// A moment is what one decision shares: when it is made, by which settings, and
// the id that the request will carry.
type moment struct {
	now       time.Time
	settings  Settings
	spec      action.Spec
	requestID string
}

// decide settles one candidate inside the intent transaction and reports whether
// it changed the action's row. It sets c.send when the intent is written. The
// transaction may be tried again, so it reads nothing of what it wrote to c.
func (s *session) decide(tx *view, spec action.Spec, c *candidate, requestID string) (action.Action, bool, error) {
	c.send, c.asked = false, false
	m := moment{s.o.Now(), s.o.Settings(), spec, requestID}
	a, err := tx.Action(s.tenant, c.action.ID)
	if errors.Is(err, fault.NotFound) {
		return a, false, nil
	}
	if err != nil {
		return a, false, err
	}
	if (a.State != action.Approved && a.State != action.Held) || a.Attempt != c.action.Attempt {
		return a, false, nil // somebody withdrew it, or it went out already
	}
	if c.look.Err != nil {
		a, err = s.unread(tx, a, c.look.Err, m.now)
		return a, err == nil, err
	}
	f, err := s.facts(tx, m, a, c)
	if err != nil {
		return a, false, err
	}
	d := Gate{m.settings.Limits}.Check(f)
	c.decision, c.asked, c.dueSince = d, true, dueSince(a)
	switch {
	case d.Verdict == Refuse && d.Rule() == RuleStill && c.look.Already && c.look.Refuse == "":
		a, err = s.already(tx, a, c.look, m.now) // it is so, whatever calls for it
	case d.Verdict == Refuse:
		a.Moot = d.Rule() == RuleStill && f.Refused == ""
		a, err = s.refuse(tx, a, d.Text(), string(d.Rule()), m.now)
	case c.look.Refuse != "":
		a, err = s.refuse(tx, a, c.look.Refuse, "directory", m.now)
	case c.look.Already: // nothing leaves, so nothing holds it
		a, err = s.already(tx, a, c.look, m.now)
	case d.Verdict == Hold:
		a, err = s.hold(tx, a, d, m.now)
	default:
		if a, err = s.intent(tx, m, a, f.Run, c); err == nil {
			c.sent, c.send, c.decidedAt = a, true, m.now
		}
	}
	return a, err == nil, err
}

// facts gathers what the gate asks for.
func (s *session) facts(tx *view, m moment, a action.Action, c *candidate) (f Facts, err error) {
	f = Facts{Now: m.now, Action: a, Spec: m.spec, Held: s.fence, Observe: m.settings.Observe, LookedAt: c.lookAt, Catalogue: s.version}
	if f.Stop, err = tx.Stop(s.tenant); err != nil {
		return f, err
	}
	if f.Stop.On {
		s.mu.Lock()
		s.stopped = true
		s.mu.Unlock()
	}
	if f.Fence, err = tx.Fence(s.tenant); err != nil {
		return f, err
	}
	r, err := tx.Run(s.tenant, run.ID(a.Run))
	if err == nil {
		f.Run = &r
	} else if !errors.Is(err, fault.NotFound) {
		return f, err
	}
	dir, err := tx.Directory(s.tenant)
	if err != nil {
		return f, err
	}
	defer func() {
		if err == nil && f.Identity != nil {
			err = s.still(tx, &f)
		}
	}()
	i, err := tx.Identity(s.tenant, a.Identity)
	switch {
	case errors.Is(err, fault.NotFound):
	case err != nil:
		return f, err
	default:
		if next, ok := learn(i, a.Account, c.look.Facts, c.lookAt); ok {
			if i, err = tx.PutIdentity(next); err != nil {
				return f, err
			}
		}
		i = withRoles(i, dir)
		if i, err = s.withoutPeers(tx, i); err != nil {
			return f, err
		}
		usable, err := s.usableAdmins(tx, i, dir)
		if err != nil {
			return f, err
		}
		f.Identity = &i
		f.Protection = m.settings.Policy.Protect(i, usable, dir.AsOf, m.now)
	}
	if a.Campaign != "" {
		f.Campaign, err = tx.campaign(s.tenant, campaign.ID(a.Campaign))
		return f, err
	}
	if !m.spec.Disruptive() || a.UndoOf != "" {
		return f, nil
	}
	l := m.settings.Limits.filled()
	reach := Reach{Names: s.disruptive, Since: m.now.Add(-time.Hour), Playbook: a.Playbook, But: a.Identity}
	if f.Hour, err = tx.reached(s.tenant, reach, time.Hour, l.hourFull); err != nil {
		return f, err
	}
	if l.minuteFull(f.Hour) { // no minute has more than its hour
		reach.Since = m.now.Add(-time.Minute)
		f.Minute, err = tx.reached(s.tenant, reach, time.Minute, l.minuteFull)
	}
	return f, err
}

// still asks again what the plan rests on. Not after an attempt whose outcome is
// unknown: what it says then may be the doing of that attempt.
func (s *session) still(tx *view, f *Facts) error {
	if s.o.Still == nil || f.Run == nil || f.Action.UndoOf != "" || f.Action.Outcome == action.Unknown {
		return nil
	}
	refused, moot, err := s.o.Still(tx.Tx, *f.Run, f.Action.Step)
	if fault.KindOf(err) == fault.Held {
		f.Undecided = err.Error()
		return nil
	}
	f.Refused, f.Moot = refused, moot
	return err
}

// usableAdmins counts the usable Global Administrators, i included, as far as it
// matters whether there is another: not one that was disrupted since the directory was
// read, for two of them in one campaign must not both pass for the last but one, and not
// one that is known to be disabled since. It asks only when i is one.
func (s *session) usableAdmins(tx Tx, i identity.Identity, dir connector.DirectoryFacts) (int, error) {
	others := run.OtherAdmins(i, dir)
	if !globalAdmin(i) || len(others) == 0 {
		return 1 + len(others), nil
	}
	another, err := s.another(tx, identity.KeyEntraObject, others, dir.AsOf)
	if err != nil || another {
		return 1 + len(others), err
	}
	return 1, nil
}

// another reports whether one of the accounts, which could sign in when they were read,
// can still as far as is known.
func (s *session) another(tx Tx, kind identity.KeyKind, accounts []string, read time.Time) (bool, error) {
	gone, err := tx.Touched(s.tenant, accounts, s.disruptive, read.Add(-unseen))
	if err != nil {
		return false, err
	}
	for _, account := range accounts {
		if slices.Contains(gone, account) {
			continue
		}
		key := identity.Key{Kind: kind, Value: account}
		owners, err := tx.IdentitiesByKeys(s.tenant, []identity.Key{key})
		if err != nil {
			return false, err
		}
		if !slices.ContainsFunc(owners, func(i identity.Identity) bool { return shut(i, key, read) }) {
			return true, nil
		}
	}
	return false, nil
}

// shut reports whether the account of i with the key was seen disabled or gone after the
// time.
func shut(i identity.Identity, key identity.Key, after time.Time) bool {
	return slices.ContainsFunc(i.Accounts, func(a identity.Account) bool {
		f := a.Facts
		return f.AsOf.After(after) && (f.Enabled != nil && !*f.Enabled || f.Found != nil && !*f.Found) && a.Key() == key.Value
	})
}

// unseen is how long before a reading a change may have been made that it does not
// show: on another replica, or under way when that one was asked.
const unseen = 15 * time.Minute

// withoutPeers does for the groups of Active Directory whose last member is protected
// what usableAdmins does for Global Administrators: i is the last in one when none of the
// others that could sign in when they were read still can.
func (s *session) withoutPeers(tx Tx, i identity.Identity) (identity.Identity, error) {
	for n, a := range i.Accounts {
		if a.Facts.OnPremises == nil || len(a.Facts.OnPremises.Peers) == 0 {
			continue
		}
		p := *a.Facts.OnPremises
		p.LastOf = slices.Clone(p.LastOf)
		for group, peers := range p.Peers {
			another, err := s.another(tx, identity.KeySID, peers, a.Facts.RolesAsOf)
			if err != nil {
				return i, err
			}
			if !another {
				p.LastOf = append(p.LastOf, group)
			}
		}
		slices.Sort(p.LastOf) // the same facts read the same
		i.Accounts = slices.Clone(i.Accounts)
		i.Accounts[n].Facts.OnPremises = &p
	}
	return i, nil
}

// intent writes what is about to leave (law 3), with what it replaces (law 5).
func (s *session) intent(tx *view, m moment, a action.Action, r *run.Run, c *candidate) (action.Action, error) {
	a, err := s.ready(a, m.now)
	if err != nil {
		return a, err
	}
	// After an attempt with an unknown outcome the present state may be our own
	// doing: what is to be restored is what was there before the first.
	if a.Outcome != action.Unknown || a.Before == nil {
		a.Before, a.BeforeText = c.look.State, c.look.Text
	}
	if a, err = a.Move(action.Running, "", m.now); err != nil {
		return a, err
	}
	a.Attempt++
	a.Fence, a.ClientRequestID, a.RequestID, a.Sealed, a.Proof = s.fence, m.requestID, "", c.sealed, ""
	a.AcceptedAt = time.Time{}
	a.Deadline = m.now.Add(within(m.spec, r, a.Step))
	a.NextAt = m.now.Add(s.settled())
	if a, err = tx.PutAction(a); err != nil {
		return a, err
	}
	if m.spec.Disruptive() && a.UndoOf == "" && a.Campaign == "" {
		tx.disrupted()
	}
	return a, tx.Audit(s.entry(a, audit.ActionIntent, m.now, fmt.Sprintf("about to %s on %s", verb(m.spec), a.Account.Name()),
		map[string]any{"clientRequestId": a.ClientRequestID, "attempt": a.Attempt, "fence": a.Fence, "before": a.Before, "beforeText": a.BeforeText}))
}

// settled is how long after its intent a request that nobody heard of again is
// certainly over on our side: it left within SendWithin and was cut off after the
// request timeout. A successor reads it then, not before.
func (s *session) settled() time.Duration { return s.o.SendWithin + s.o.RequestTimeout }

// within is the deadline of the proof: the step's own, else the type's.
func within(spec action.Spec, r *run.Run, step string) time.Duration {
	if r != nil && r.Plan != nil {
		for _, st := range r.Plan.Steps {
			if st.ID == step && st.Within > 0 {
				return st.Within
			}
		}
	}
	return spec.Within
}

// send brings the set to the directory and writes what it said.
func (s *session) send(ctx context.Context, st *set, out []*candidate) []action.Action {
	reqs := make([]action.Request, len(out))
	for n, c := range out {
		reqs[n] = c.sent.Request()
		reqs[n].Secret = c.secret
	}
	began := s.o.Now()
	outcomes := s.tooLate(st, out, began)
	if outcomes == nil {
		for _, c := range out {
			s.o.Meter.Left(st.spec.Name, began.Sub(c.dueSince))
		}
		// What has left is heard to its end, also when the process is told to stop.
		do, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.RequestTimeout)
		s.budget.leaves(st.spec.Bucket)
		outcomes = st.typ.Do(do, reqs)
		cancel()
		s.spent(st, outcomes)
	}
	s.freeSlot(st) // the next may leave while this one's outcome is being written
	took := s.o.Now().Sub(began)
	for n := range out {
		if n >= len(outcomes) { // a type that breaks its contract: nothing is known
			outcomes = append(outcomes, action.Outcome{Verdict: action.Unknown, Reason: "the action said nothing of this target"})
		}
		s.o.Meter.Sent(st.spec.Name, outcomes[n].Verdict, took)
	}
	changed, err := s.outcomes(ctx, st.spec, out, outcomes)
	if err != nil {
		s.trouble("write outcomes; they will be read from the directory", err)
		for _, c := range out {
			changed = append(changed, c.sent)
		}
	}
	return changed
}

// tooLate returns outcomes for a set that may not leave any more: the gate's word
// is old, the lease has run out. It returns nil when it may. A process that was
// frozen here wakes up to this check; one frozen inside Do cannot be helped.
func (s *session) tooLate(st *set, out []*candidate, now time.Time) []action.Outcome {
	age, least := passed(out[0].decidedAt, now)
	_, left := passed(now, s.until())
	if least >= 0 && age <= s.o.SendWithin && left > 0 {
		return nil
	}
	s.budget.give(st.spec.Bucket)
	outcomes := make([]action.Outcome, len(out))
	for n := range outcomes {
		outcomes[n] = action.Outcome{Verdict: action.Later, After: time.Millisecond,
			Reason: fmt.Sprintf("not sent: the intent was %v old, or the lease had run out", age.Round(time.Millisecond))}
	}
	return outcomes
}

// passed is the time from a to b by the clock that says most and by the one that
// says least. The monotonic clock of a machine that was suspended stood still
// meanwhile, and the wall clock can be set: nothing leaves unless both agree.
func passed(a, b time.Time) (most, least time.Duration) {
	x, y := b.Sub(a), b.Round(0).Sub(a.Round(0))
	return max(x, y), min(x, y)
}

// until is when the lease runs out.
func (s *session) until() time.Time {
	if l := s.lease.Load(); l != nil && l.Fence == s.fence {
		return l.Until
	}
	return time.Time{}
}

// spent tells the budget what the directory said of its limits.
func (s *session) spent(st *set, outcomes []action.Outcome) {
	var pressure float64
	more := 0
	for _, o := range outcomes {
		more += max(0, o.Requests-1)
	}
	s.budget.charge(st.spec.Bucket, more)
	for _, o := range outcomes {
		pressure = max(pressure, o.Pressure)
		if o.Throttled {
			s.budget.throttled(st.spec.Bucket, o.After)
			return
		}
	}
	s.budget.answered(st.spec.Bucket, pressure)
}

// dueSince is when a ready action could first have left.
func dueSince(a action.Action) time.Time {
	if a.NextAt.After(a.ApprovedAt) {
		return a.NextAt
	}
	return a.ApprovedAt
}

// wipe overwrites the secrets: nothing needs them any more.
func wipe(cands []*candidate) {
	for _, c := range cands {
		if c != nil {
			clear(c.secret)
		}
	}
}

func requests(actions []action.Action) []action.Request {
	out := make([]action.Request, len(actions))
	for n, a := range actions {
		out[n] = a.Request()
	}
	return out
}

// merge returns the actions of both, those of newer where both have one.
func merge(older, newer []action.Action) []action.Action {
	at := map[action.ID]int{}
	for n, a := range older {
		at[a.ID] = n
	}
	for _, a := range newer {
		if n, ok := at[a.ID]; ok {
			older[n] = a
		} else {
			older = append(older, a)
		}
	}
	return older
}
