package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// The pace of read-backs: a quick one first, since most changes show at once,
// then ever slower. Reads that compete with containment start slower.
const (
	firstRead     = 100 * time.Millisecond // and up to as much again at random
	firstReadSlow = 1500 * time.Millisecond
	slowestRead   = 5 * time.Second
	lateFactor    = 3 // an unproven action is read until this many times its deadline
)

func (s *session) firstRead(spec action.Spec) time.Duration {
	if shared(spec.ReadBucket) {
		return firstReadSlow
	}
	return firstRead + jitter(s.o.Rand, firstRead)
}

// nextRead is how long until the next reading: half as long again as it has been
// going on, so that no count is kept and a successor goes on at the same pace.
func (s *session) nextRead(spec action.Spec, since, now time.Time) time.Duration {
	wait := min(max(now.Sub(since)/2, s.firstRead(spec)), slowestRead)
	return wait + jitter(s.o.Rand, wait/4)
}

// readBack reads what became of the set and settles what it can (law 2). It
// returns the actions it changed.
func (s *session) readBack(ctx context.Context, st *set) (changed []action.Action) {
	if shared(st.spec.ReadBucket) {
		if err := s.budget.take(ctx, st.spec.ReadBucket, turnRead); err != nil {
			return nil
		}
	}
	reqs := requests(st.actions)
	s.mu.Lock()
	for n := range reqs {
		reqs[n].Last = s.last[reqs[n].ID]
	}
	s.mu.Unlock()
	read, cancel := context.WithTimeout(ctx, s.o.RequestTimeout)
	readings := st.typ.ReadBack(read, reqs)
	cancel()
	if ctx.Err() != nil {
		return nil
	}
	var worst error
	for n := range st.actions {
		if n >= len(readings) {
			readings = append(readings, action.Reading{Err: fault.Errorf(fault.Unavailable, "%s read nothing back", st.spec.Name)})
		}
		if readings[n].Err != nil {
			worst = readings[n].Err
		}
	}
	s.readAnswered(st.spec, worst)
	settled := map[action.ID]bool{}
	err := s.writes.do(ctx, st.actions, func(tx *view) error {
		changed = changed[:0]
		clear(settled)
		if err := s.mine(tx); err != nil {
			return err
		}
		for n, seen := range st.actions {
			a, err := s.settle(tx, st.spec, seen, readings[n])
			if err != nil {
				return err
			}
			changed = append(changed, a)
			settled[a.ID] = a.State != seen.State && (a.State.Final() || a.State == action.Unconfirmed)
		}
		return nil
	})
	if err != nil {
		s.trouble("write what was read back", err)
		return nil
	}
	s.remember(changed, readings)
	for _, a := range changed {
		if settled[a.ID] {
			s.o.Meter.Settled(a.Name, a.State, s.o.Now().Sub(a.IntentAt))
		}
	}
	return changed
}

// remember keeps what was seen of the actions that go on being read.
func (s *session) remember(actions []action.Action, readings []action.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, a := range actions {
		switch {
		case a.State != action.Running && a.State != action.AcceptedState && a.State != action.Unconfirmed:
			delete(s.last, a.ID)
		case readings[n].Err == nil:
			s.last[a.ID] = readings[n].State
		}
	}
}

// settle writes what one reading means for the action it was made for.
func (s *session) settle(tx Tx, spec action.Spec, read action.Action, r action.Reading) (action.Action, error) {
	now := s.o.Now()
	a, err := tx.Action(s.tenant, read.ID)
	if err != nil {
		return a, err
	}
	if a.State != read.State || a.Attempt != read.Attempt {
		return a, nil // it moved on meanwhile; this reading is of something else
	}
	switch {
	case r.Err == nil && r.Seen:
		return s.verified(tx, a, r, now)
	case s.mayRepeat(spec, a, r, now):
		return s.repeat(tx, a, now)
	case !now.Before(a.Deadline):
		return s.unproven(tx, spec, a, r, now)
	}
	if r.Err == nil && r.Pending && r.Text != "" {
		a.Reason = r.Text // what is there and what is not yet, for whoever waits
	}
	a.NextAt = now.Add(s.nextRead(spec, since(a), now))
	if r.Unread {
		a.NextAt = now.Add(s.firstRead(spec))
	}
	return tx.PutAction(a)
}

// since is when the proof was first awaited.
func since(a action.Action) time.Time {
	if a.AcceptedAt.After(a.IntentAt) {
		return a.AcceptedAt
	}
	return a.IntentAt
}

// mayRepeat reports whether an action with an unknown outcome is to be sent
// again (law 3): it was read, the directory is not working on it, every effect it
// can have had would show by now, our own request is certainly over, and sending
// it twice harms nobody.
func (s *session) mayRepeat(spec action.Spec, a action.Action, r action.Reading, now time.Time) bool {
	quiet := max(spec.Propagation, s.settled())
	return a.State == action.Running && !spec.NeverRepeat && r.Err == nil && !r.Pending && !now.Before(a.IntentAt.Add(quiet))
}

// repeat makes the action ready again. Outcome stays unknown, so that the
// before-state of the first attempt is kept.
func (s *session) repeat(tx Tx, a action.Action, now time.Time) (action.Action, error) {
	why := "the outcome was not known and the effect is not there: it is repeated"
	a, err := a.Move(action.Approved, why, now)
	if err != nil {
		return a, err
	}
	a.Outcome, a.Doubt, a.NextAt = action.Unknown, true, time.Time{}
	return s.put(tx, a, s.entry(a, audit.ActionOutcome, now, why,
		map[string]any{"verdict": string(action.Unknown), "read": true, "attempt": a.Attempt, "clientRequestId": a.ClientRequestID}))
}

// unproven moves an action past its deadline: to unconfirmed, which goes on being
// read, and from there to failed, or to a person when it must not be repeated and
// nobody can say whether it happened.
func (s *session) unproven(tx Tx, spec action.Spec, a action.Action, r action.Reading, now time.Time) (action.Action, error) {
	why := unprovenText(spec, a, r)
	var err error
	switch {
	case a.State != action.Unconfirmed:
		start := since(a)
		limit := a.Deadline.Sub(start)
		if a, err = a.Move(action.Unconfirmed, why, now); err != nil {
			return a, err
		}
		a.Deadline = start.Add(lateFactor * limit)
		a.NextAt = now.Add(slowestRead)
		a.Person = spec.NeverRepeat
	case spec.NeverRepeat: // it rests here: a person looks and decides
		a.NextAt, a.Person = time.Time{}, true
		return tx.PutAction(a)
	default:
		if a, err = a.Move(action.Failed, why, now); err != nil {
			return a, err
		}
		a.NextAt = time.Time{}
	}
	return s.put(tx, a, s.entry(a, audit.ActionUnproven, now, why,
		map[string]any{"state": string(a.State), "attempt": a.Attempt, "clientRequestId": a.ClientRequestID}))
}

func unprovenText(spec action.Spec, a action.Action, r action.Reading) string {
	var seen string
	switch {
	case errors.Is(r.Err, context.DeadlineExceeded), r.Err != nil:
		seen = "it could not be read: " + r.Err.Error()
	case r.Pending && r.Text == "":
		seen = "the directory is still working on it"
	case r.Pending:
		seen = "the directory is still working on it: " + r.Text
	case r.Text != "":
		seen = "the directory shows: " + r.Text
	default:
		seen = "the directory does not show it"
	}
	text := fmt.Sprintf("not proven in time; %s", seen)
	if spec.NeverRepeat {
		text += "; it is not repeated by itself: a person decides"
	}
	return text
}
