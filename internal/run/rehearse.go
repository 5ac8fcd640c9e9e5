package run

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// maxRehearsed bounds what one turn of a rehearsal may take: a machine that never
// comes to rest is a fault to be seen, not a test that hangs.
const maxRehearsed = 10_000

// Rehearse plays the plan of a fixture with the same state machine that runs in
// earnest, against a directory that does what it is asked, and says what each turn
// comes to. It writes nothing. It is a playbook.Rehearsal.
func Rehearse(p playbook.Plan, in playbook.Input, turns []playbook.Turn) playbook.Played {
	w := rehearsal{
		in: in, now: in.Now, actions: map[action.ID]action.Action{}, requests: map[approval.ID]approval.Request{},
		questions: map[question.ID]question.Question{},
		r:         Run{Tenant: p.Tenant, ID: "run_rehearsal", Identity: p.Identity, Playbook: p.Playbook, State: Settling, StartedAt: in.Now, DueAt: in.Now},
	}
	w.tell(Planned{Plan: p})
	var out playbook.Played
	for _, t := range turns {
		w.turn(t)
		line := fmt.Sprintf("then %s: %s", t.Text, w.r.State)
		if w.r.Reason != "" {
			line += ": " + w.r.Reason
		}
		if w.r.State == Contained {
			if why, still := w.r.still(); !still {
				line += "; then taken back: " + why
			}
		}
		out.Lines = append(out.Lines, strings.Join(strings.Fields(line), " "))
	}
	for _, s := range w.r.Steps {
		out.Steps = append(out.Steps, playbook.PlayedStep{ID: s.ID, State: string(s.State), Consent: string(s.Consent), Answer: string(s.Answer), Begun: !s.StartedAt.IsZero()})
	}
	return out
}

// A rehearsal is the world around one run that is played.
type rehearsal struct {
	in        playbook.Input
	now       time.Time
	r         Run
	actions   map[action.ID]action.Action
	requests  map[approval.ID]approval.Request
	questions map[question.ID]question.Question
	asker     playbook.Asker
	ids       int
	spent     int
}

// tell gives the run an event and performs what follows.
func (w *rehearsal) tell(events ...Event) {
	for len(events) > 0 && w.spent < maxRehearsed {
		w.spent++
		next, effects, err := w.r.Apply(events[0], w.now)
		if err != nil {
			w.r.State, w.r.Reason = Failed, err.Error()
			return
		}
		w.r = next
		events = events[1:]
		for _, e := range effects {
			events = append(events, w.perform(e)...)
		}
	}
}

func (w *rehearsal) perform(e Effect) []Event {
	switch e := e.(type) {
	case AskApproval:
		w.ids++
		q := approval.Request{
			Tenant: w.r.Tenant, ID: approval.ID(fmt.Sprintf("apr_%d", w.ids)), Run: string(w.r.ID), PlanHash: w.r.Plan.Hash, Steps: e.Steps, Rule: e.Rule,
			State: approval.Pending, AskedAt: w.now, ExpiresAt: w.now.Add(max(e.Rule.Expires, 0)), Version: 1,
		}
		if e.Rule.Expires <= 0 {
			q.ExpiresAt = w.now.Add(expires)
		}
		w.requests[q.ID] = q
		return []Event{ApprovalSeen{q}}
	case StartAction:
		w.ids++
		n, _ := w.r.step(e.Step)
		p := w.r.Plan.Steps[n]
		a := action.Action{
			ID: action.ID(fmt.Sprintf("act_%d", w.ids)), Tenant: w.r.Tenant, Run: string(w.r.ID), Step: e.Step, Name: p.Action, Account: p.Account,
			Params: p.Params, TTL: p.TTL, State: action.Approved, RequestedAt: w.now, ApprovedAt: w.now, Version: 1,
		}
		w.actions[a.ID] = a
		return []Event{ActionSeen{Step: e.Step, Action: a}}
	case WithdrawAction:
		return w.move(e.Action, action.Cancelled, e.Reason)
	case WithdrawApproval:
		q := w.requests[e.Approval].Withdraw(e.Reason, w.now)
		q.Version++
		w.requests[q.ID] = q
		return []Event{ApprovalSeen{q}}
	case TakeBack:
		events := []Event{TakenBack{}}
		for _, id := range e.Actions {
			events = append(events, w.revert(id, e.Reason)...)
		}
		return events
	case Decide:
		return []Event{w.decide(e)}
	case AskPerson:
		w.ids++
		n, _ := w.r.step(e.Step)
		q := question.Question{
			Tenant: w.r.Tenant, ID: question.ID(fmt.Sprintf("qst_%d", w.ids)), Run: string(w.r.ID), Step: e.Step, Who: w.r.Plan.Steps[n].Ask,
			State: question.Pending, AskedAt: w.now, SentAt: w.now, ExpiresAt: w.now.Add(w.r.Plan.Steps[n].Within), Version: 1,
		}
		w.questions[q.ID] = q
		return []Event{QuestionSeen{q}}
	case WithdrawQuestion:
		return []Event{w.put(w.questions[e.Question].Withdraw(e.Reason, w.now))}
	}
	return nil
}

// put keeps a question that changed.
func (w *rehearsal) put(q question.Question) Event {
	q.Version++
	w.questions[q.ID] = q
	return QuestionSeen{q}
}

// reply answers the questions that are asked, or bears out a yes.
func (w *rehearsal) reply(how string) {
	for n := range w.ids {
		q, ok := w.questions[question.ID(fmt.Sprintf("qst_%d", n+1))]
		switch {
		case !ok:
			continue
		case how == "proven" && q.Answer == question.Yes:
			q.Proof = "a strong sign-in"
		case q.State != question.Pending:
			continue
		case how == "nobody":
			q = q.Nobody("no channel reaches them", w.now)
		case how == string(question.Yes), how == string(question.No):
			q.State, q.Answer, q.EndedAt = question.Answered, question.Answer(how), w.now
			q.Reason = "answered: " + q.Answer.Text(q.Who)
		default:
			continue
		}
		w.now = w.now.Add(time.Second) // a condition that was asked at this moment is asked again
		w.tell(w.put(q))
	}
}

func (w *rehearsal) decide(e Decide) Event {
	in := w.in
	in.Now, in.Steps = w.now, w.r.standings()
	text := w.r.Plan.ContainedWhen
	if n, ok := w.r.step(e.Step); ok {
		s := w.r.Plan.Steps[n]
		in.Each, text = s.Each, s.If
		if e.Until {
			text = s.Until
		}
	}
	holds, err := w.asker.Holds(text, in)
	if err != nil {
		return Decided{Decide: e, Unknown: err.Error()}
	}
	return Decided{Decide: e, Holds: holds}
}

// move moves an action, when that is legal, and tells the run.
func (w *rehearsal) move(id action.ID, to action.State, reason string) []Event {
	a, err := w.actions[id].Move(to, reason, w.now)
	if err != nil {
		return nil
	}
	a.Version++
	w.actions[id] = a
	return []Event{ActionSeen{Step: a.Step, Action: a}}
}

// revert takes a verified action back, where it can be.
func (w *rehearsal) revert(id action.ID, reason string) []Event {
	if n, ok := w.r.step(w.actions[id].Step); !ok || w.r.Plan.Steps[n].Undo == "" {
		return nil
	}
	return w.move(id, action.Reverted, "undone: "+reason)
}

// open returns the actions that are not over, in the order they were asked for.
func (w *rehearsal) open(state func(action.State) bool) []action.ID {
	var out []action.ID
	for n := range w.ids {
		id := action.ID(fmt.Sprintf("act_%d", n+1))
		if a, ok := w.actions[id]; ok && state(a.State) {
			out = append(out, id)
		}
	}
	return out
}

func (w *rehearsal) turn(t playbook.Turn) {
	under := func(s action.State) bool { return !s.Final() }
	switch t.Word {
	case "approve", "reject":
		w.answer(t.Word == "approve")
	case "prove":
		for ids := w.open(under); len(ids) > 0 && w.spent < maxRehearsed; ids = w.open(under) {
			w.prove(ids)
		}
	case "answer":
		w.reply(t.Step)
	case "fail":
		for _, id := range w.open(under) {
			if a := w.actions[id]; a.Step == t.Step {
				w.tell(w.move(id, action.Failed, "the directory refused")...)
			}
		}
	case "undo":
		for _, id := range w.open(func(s action.State) bool { return s == action.Verified }) {
			w.tell(w.revert(id, "a person asked for it")...)
		}
	case "close":
		w.in.Signals = slices.Clone(w.in.Signals)
		for n := range w.in.Signals {
			w.in.Signals[n].State, w.in.Signals[n].UpdatedAt = signal.StateRemediated, w.now
		}
		w.in.Assessment = risk.Assess(risk.Input{Tenant: w.in.Tenant, Identity: w.in.Identity.ID, Signals: w.in.Signals}, w.now)
		w.now = w.now.Add(time.Second)
		w.tell(Stirred{})
	case "wait":
		w.pass(t.For)
	}
}

// prove lets the actions succeed.
func (w *rehearsal) prove(ids []action.ID) {
	for _, to := range []action.State{action.Running, action.AcceptedState, action.Verified} {
		for _, id := range ids {
			w.tell(w.move(id, to, "")...)
		}
	}
}

// answer answers every request that is open, as many people as it takes.
func (w *rehearsal) answer(yes bool) {
	for n := range w.ids {
		q, ok := w.requests[approval.ID(fmt.Sprintf("apr_%d", n+1))]
		if !ok || q.State != approval.Pending {
			continue
		}
		q.State, q.Reason, q.EndedAt = approval.Approved, "", w.now
		if !yes {
			q.State, q.Reason = approval.Rejected, "rejected"
		}
		q.Version++
		w.requests[q.ID] = q
		w.tell(ApprovalSeen{q})
	}
}

// pass lets time pass, from one moment at which something is due to the next.
func (w *rehearsal) pass(d time.Duration) {
	until := w.now.Add(d)
	for w.spent < maxRehearsed {
		next := until
		sooner := func(t time.Time) {
			if t.After(w.now) && t.Before(next) {
				next = t
			}
		}
		if !w.r.State.Final() {
			sooner(w.r.DueAt)
		}
		for _, q := range w.requests {
			if q.State == approval.Pending {
				sooner(q.ExpiresAt)
			}
		}
		for _, q := range w.questions {
			if q.State == question.Pending {
				sooner(q.ExpiresAt)
			}
		}
		for _, a := range w.actions {
			if a.State == action.Verified {
				sooner(a.ExpiresAt)
			}
		}
		w.now = next
		w.due()
		if !next.Before(until) {
			return
		}
	}
}

// due tells the run what the clock brings.
func (w *rehearsal) due() {
	for n := range w.ids {
		if q, ok := w.requests[approval.ID(fmt.Sprintf("apr_%d", n+1))]; ok {
			if late := q.Tick(w.now); late.State != q.State {
				late.Version++
				w.requests[q.ID] = late
				w.tell(ApprovalSeen{late})
			}
		}
	}
	for n := range w.ids {
		if q, ok := w.questions[question.ID(fmt.Sprintf("qst_%d", n+1))]; ok {
			if late := q.Tick(w.now); late.State != q.State {
				w.tell(w.put(late))
			}
		}
	}
	for _, id := range w.open(func(s action.State) bool { return s == action.Verified }) {
		if a := w.actions[id]; !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(w.now) {
			w.tell(w.revert(id, fmt.Sprintf("it was to stand for %s", a.TTL))...)
		}
	}
	w.tell(Woke{})
}
