package run

import (
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// maxAsked is how many signals a question tells of.
const maxAsked = 5

// questions reads the run's questions as events. One whose time is over runs out;
// one whose run is over is void.
func (d *Driver) questions(tx Tx, r Run) ([]Event, error) {
	if r.Plan == nil || !slices.ContainsFunc(r.Plan.Steps, func(s playbook.Step) bool { return s.Kind == playbook.KindAsk }) {
		return nil, nil
	}
	list, err := tx.QuestionsOfRun(r.Tenant, r.ID)
	if err != nil {
		return nil, err
	}
	var events []Event
	for _, q := range list {
		next := q
		if r.State.Final() {
			next = q.Withdraw("the run ended: "+string(r.State), d.Now())
		}
		if next = next.Tick(d.Now()); next.State != q.State {
			if q, err = tx.PutQuestion(next); err != nil {
				return nil, err
			}
			if err := d.noteQuestion(tx, q); err != nil {
				return nil, err
			}
		}
		events = append(events, QuestionSeen{q})
	}
	return events, nil
}

// askPerson makes the question of a step. Whoever sends questions finds it; nothing
// leaves here.
func (d *Driver) askPerson(tx Tx, r Run, e AskPerson) ([]Event, error) {
	in, err := d.again(tx, r)
	if err != nil {
		return nil, err
	}
	n, _ := r.step(e.Step)
	p, now := r.Plan.Steps[n], d.Now()
	q := question.Question{
		Tenant: r.Tenant, ID: question.ID(tx.NewID("qst")), Run: string(r.ID), Step: e.Step, Case: string(r.Case), Identity: r.Identity, Name: in.Identity.Name,
		Playbook: r.Playbook.ID, Who: p.Ask, Causes: in.Assessment.Causes, Facts: factsOf(in.Signals),
		AskedAt: now, ExpiresAt: now.Add(p.Within), DueAt: now, State: question.Pending,
	}
	if q, err = tx.PutQuestion(q); err != nil {
		return nil, err
	}
	return []Event{QuestionSeen{q}}, tx.Audit(audit.Entry{
		Tenant: r.Tenant, At: now, Actor: actor(r), Kind: audit.QuestionAsked, Identity: string(r.Identity), Case: string(r.Case), Run: string(r.ID),
		Text: fmt.Sprintf("the %s of %s is to be asked whether it was them", q.Who, q.Name),
		Data: map[string]any{"question": q.ID, "who": q.Who, "causes": q.Causes, "expiresAt": q.ExpiresAt},
	})
}

func (d *Driver) withdrawQuestion(tx Tx, r Run, e WithdrawQuestion) ([]Event, error) {
	q, err := tx.Question(r.Tenant, e.Question)
	if err != nil || q.State != question.Pending {
		return nil, err
	}
	if q, err = tx.PutQuestion(q.Withdraw(e.Reason, d.Now())); err != nil {
		return nil, err
	}
	return []Event{QuestionSeen{q}}, d.noteQuestion(tx, q)
}

// noteQuestion writes the end of a question that nobody answered into the trail.
func (d *Driver) noteQuestion(tx Tx, q question.Question) error {
	return tx.Audit(audit.Entry{
		Tenant: q.Tenant, At: d.Now(), Actor: access.BySystem("run"), Kind: audit.QuestionEnded, Identity: string(q.Identity), Case: q.Case, Run: q.Run,
		Text: fmt.Sprintf("the question to the %s of %s is over: %s", q.Who, q.Name, q.Reason),
		Data: map[string]any{"question": q.ID, "state": q.State},
	})
}

// factsOf are what the person is asked about: the newest open signals.
func factsOf(list []signal.Signal) []question.Fact {
	open := slices.DeleteFunc(slices.Clone(list), func(s signal.Signal) bool { return !s.State.Open() })
	slices.SortStableFunc(open, func(a, b signal.Signal) int { return b.At().Compare(a.At()) })
	var out []question.Fact
	for _, s := range open[:min(len(open), maxAsked)] {
		out = append(out, question.Fact{What: detection.Title(s), At: s.At(), Place: s.Location, IP: s.IP, SignIn: s.RequestID})
	}
	return out
}
