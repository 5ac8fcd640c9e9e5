package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// Every function here moves one action inside a transaction, writes its row and
// what the trail must say of it, and returns the row as stored.

// entry is a line of the trail about an action. data is added to what every such
// line holds; secrets and ciphertext never get here.
func (s *session) entry(a action.Action, k audit.Kind, now time.Time, text string, data map[string]any) audit.Entry {
	d := map[string]any{"action": string(a.Name), "account": a.Account.Keys(), "step": a.Step, "playbook": a.Playbook, "planHash": a.PlanHash}
	if a.UndoOf != "" {
		d["undoOf"] = string(a.UndoOf)
	}
	for name, v := range data {
		d[name] = v
	}
	return audit.Entry{
		Tenant: a.Tenant, At: now.UTC(), Actor: access.BySystem("dispatch"), Kind: k,
		Identity: string(a.Identity), Case: a.Case, Run: a.Run, Action: string(a.ID), Text: text, Data: d,
	}
}

func (s *session) put(tx Tx, a action.Action, e audit.Entry) (action.Action, error) {
	a, err := tx.PutAction(a)
	if err != nil {
		return a, err
	}
	return a, tx.Audit(e)
}

// ready brings a held action back to approved: the states have no other way out.
func (s *session) ready(a action.Action, now time.Time) (action.Action, error) {
	if a.State != action.Held {
		return a, nil
	}
	return a.Move(action.Approved, "", now)
}

// hold keeps the action back, to be asked again. The trail says so once for each
// reason, not each time it is asked.
func (s *session) hold(tx Tx, a action.Action, d Decision, now time.Time) (action.Action, error) {
	text := d.Text()
	known := a.State == action.Held && a.Reason == text
	a, err := a.Move(action.Held, text, now)
	if err != nil {
		return a, err
	}
	a.NextAt = time.Time{}
	if again := d.Again(); again > 0 {
		a.NextAt = now.Add(again)
	} else {
		a.Person = true
	}
	if known {
		return tx.PutAction(a)
	}
	return s.put(tx, a, s.entry(a, audit.ActionHeld, now, "held: "+text, map[string]any{"rule": string(d.Rule())}))
}

func (s *session) refuse(tx Tx, a action.Action, why, rule string, now time.Time) (action.Action, error) {
	a, err := a.Move(action.RefusedState, why, now)
	if err != nil {
		return a, err
	}
	a.NextAt = time.Time{}
	return s.put(tx, a, s.entry(a, audit.ActionRefused, now, "refused: "+why, map[string]any{"rule": rule}))
}

// already settles an action whose wanted state holds: nothing leaves the house.
func (s *session) already(tx Tx, a action.Action, l action.Look, now time.Time) (action.Action, error) {
	a, err := s.ready(a, now)
	if err != nil {
		return a, err
	}
	if a.Outcome != action.Unknown || a.Before == nil {
		a.Before, a.BeforeText = l.State, l.Text
	}
	if a, err = a.Move(action.Verified, "", now); err != nil {
		return a, err
	}
	a.Proof, a.NextAt = "already so: "+l.Text, time.Time{}
	if a, err = s.put(tx, a, s.entry(a, audit.ActionAlready, now, "nothing to do: "+a.Proof, map[string]any{"proof": a.Proof})); err != nil {
		return a, err
	}
	return a, s.undone(tx, a, now)
}

// unread puts off an action whose target could not be read. What another try can
// cure is tried again soon, what a person must cure is held and asked again.
func (s *session) unread(tx Tx, a action.Action, why error, now time.Time) (action.Action, error) {
	switch {
	case errors.Is(why, fault.NotFound), errors.Is(why, fault.Invalid):
		return s.refuse(tx, a, why.Error(), "directory", now)
	case errors.Is(why, fault.Denied), errors.Is(why, fault.Held):
		return s.hold(tx, a, Decision{Hold, []Reason{{RuleFacts, Hold, why.Error(), againMode}}}, now)
	}
	const unreadable = "its present state could not be read, which is tried again: "
	after, ok := fault.RetryAfter(why)
	if !ok {
		after = 500 * time.Millisecond
		if strings.HasPrefix(a.Reason, unreadable) {
			// Half as long again as it has been waiting: no count of tries is kept.
			after = min(max(now.Sub(a.ApprovedAt)/2, after), 30*time.Second)
		}
		after = s.budget.pace(after + jitter(s.o.Rand, after/4))
	}
	a.Reason = unreadable + why.Error()
	a.NextAt = now.Add(after)
	return tx.PutAction(a)
}

// outcomes writes what the directory said of a set.
func (s *session) outcomes(ctx context.Context, spec action.Spec, out []*candidate, outcomes []action.Outcome) (changed []action.Action, err error) {
	sent := make([]action.Action, len(out))
	for n, c := range out {
		sent[n] = c.sent
	}
	commit := func() error {
		return s.writes.do(ctx, sent, func(tx *view) error {
			changed = changed[:0]
			for n, c := range out {
				a, err := s.outcome(tx, spec, c.sent, outcomes[n])
				if err != nil {
					return err
				}
				changed = append(changed, a)
			}
			return nil
		})
	}
	// The world may have changed: that is written down also when nobody waits any
	// more. What still cannot be written is read from the directory later.
	for try := range 4 {
		if err = commit(); err == nil {
			return changed, nil
		}
		sleep(context.WithoutCancel(ctx), 100*time.Millisecond<<try, nil)
	}
	return nil, err
}

// outcome writes what the directory said of one target. sent is the row as the
// intent left it: when somebody else moved on meanwhile, the answer is only told
// to the trail.
func (s *session) outcome(tx Tx, spec action.Spec, sent action.Action, o action.Outcome) (action.Action, error) {
	now := s.o.Now()
	a, err := tx.Action(s.tenant, sent.ID)
	if err != nil {
		return a, err
	}
	data := map[string]any{"verdict": string(o.Verdict), "requestId": o.RequestID, "clientRequestId": sent.ClientRequestID, "attempt": sent.Attempt}
	if a.State != action.Running || a.Attempt != sent.Attempt || a.ClientRequestID != sent.ClientRequestID {
		data["late"] = true
		return a, tx.Audit(s.entry(a, audit.ActionOutcome, now, fmt.Sprintf("a late answer, after the action had become %s: %s", a.State, told(o)), data))
	}
	a.Outcome, a.RequestID = o.Verdict, o.RequestID
	switch o.Verdict {
	case action.Accepted:
		if a, err = a.Move(action.AcceptedState, "", now); err == nil {
			a.Deadline = now.Add(a.Deadline.Sub(a.IntentAt))
			a.NextAt = now.Add(s.firstRead(spec))
			if len(o.Sealed) > 0 {
				a.Sealed = o.Sealed
			}
		}
	case action.Refused:
		if a, err = a.Move(action.Failed, o.Reason, now); err == nil {
			a.NextAt, a.Sealed = time.Time{}, nil
		}
	case action.Later: // nothing was changed: whatever is there next time is not this attempt's doing
		if a, err = a.Move(action.Approved, "put off: "+o.Reason, now); err == nil {
			if a.Doubt { // but it may be an earlier one's
				a.Outcome = action.Unknown
			} else {
				a.Before, a.BeforeText = nil, ""
			}
			a.Sealed, a.NextAt = nil, now.Add(s.putOff(a, o))
		}
	default:
		a.Outcome = action.Unknown
		a.Reason = "the outcome is not known and is being read: " + o.Reason
		a.NextAt = now.Add(s.firstRead(spec))
	}
	if err != nil {
		return a, err
	}
	return s.put(tx, a, s.entry(a, audit.ActionOutcome, now, told(o), data))
}

func told(o action.Outcome) string {
	if o.Reason == "" {
		return string(o.Verdict)
	}
	return string(o.Verdict) + ": " + o.Reason
}

// putOff is how long an action waits that was not taken: as long as the directory
// asked, else longer with each attempt.
func (s *session) putOff(a action.Action, o action.Outcome) time.Duration {
	if o.After > 0 {
		return o.After
	}
	wait := min(500*time.Millisecond<<min(a.Attempt, 7), 30*time.Second)
	return s.budget.pace(wait + jitter(s.o.Rand, wait/4))
}

// verified settles an action that the directory proves.
func (s *session) verified(tx Tx, a action.Action, r action.Reading, now time.Time) (action.Action, error) {
	var err error
	if a.State == action.Running { // proven is accepted, although nobody heard it
		if a, err = a.Move(action.AcceptedState, "", now); err != nil {
			return a, err
		}
	}
	if a, err = a.Move(action.Verified, "", now); err != nil {
		return a, err
	}
	a.Proof, a.NextAt, a.Person = r.Text, time.Time{}, false
	if a, err = s.put(tx, a, s.entry(a, audit.ActionVerified, now, "verified: "+r.Text, map[string]any{"proof": r.Text, "attempt": a.Attempt, "clientRequestId": a.ClientRequestID})); err != nil {
		return a, err
	}
	return a, s.undone(tx, a, now)
}

// undone marks the original of a verified undo as reverted.
func (s *session) undone(tx Tx, a action.Action, now time.Time) error {
	if a.UndoOf == "" {
		return nil
	}
	o, err := tx.Action(s.tenant, a.UndoOf)
	if errors.Is(err, fault.NotFound) || err == nil && o.State != action.Verified {
		return nil
	}
	if err != nil {
		return err
	}
	if o, err = o.Move(action.Reverted, "undone", now); err != nil {
		return err
	}
	o.UndoneBy = a.ID
	_, err = s.put(tx, o, s.entry(o, audit.ActionUndone, now, fmt.Sprintf("undone: %s", a.Proof), map[string]any{"undoneBy": string(a.ID)}))
	return err
}

// verb is the action's title inside a sentence.
func verb(spec action.Spec) string {
	if spec.Title == "" {
		return string(spec.Name)
	}
	return strings.ToLower(spec.Title[:1]) + spec.Title[1:]
}
