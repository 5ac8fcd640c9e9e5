package desktest

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"testing/fstest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// ForQuestions is the same store as questions see it.
func (s *Store) ForQuestions() question.Store { return questions{s} }

type questions struct{ *Store }

func (q questions) Update(ctx context.Context, change func(question.Tx) error) error {
	return q.update(ctx, func(t *tx) error { return change(t) })
}

func (q questions) DueQuestions(_ context.Context, t identity.Tenant, now time.Time, limit int) ([]question.Question, error) {
	out := slices.DeleteFunc(read[question.Question](q.Store, "questions", t), func(q question.Question) bool { return q.DueAt.IsZero() || q.DueAt.After(now) })
	slices.SortFunc(out, func(a, b question.Question) int { return a.DueAt.Compare(b.DueAt) })
	return out[:min(limit, len(out))], nil
}

// asking is a playbook that asks the person, and stops the account unless they say
// that it was them and that is borne out.
const asking = `playbook: v1
id: ask
version: 1.0.0
title: Ask
owner: responders
mode: enforce
trigger:
  on: [manual]
steps:
  - id: asked
    ask: {who: person, within: 1h, on_expiry: continue}
  - id: proof
    if: steps.asked.answer == "yes"
    wait: {until: steps.asked.proven, within: 1h, on_timeout: continue}
  - id: harmless
    if: steps.proof.passed
    end: expected_activity
  - id: word
    if: steps.asked.answer == "yes"
    end: needs_person
    note: only a word
  - id: disable
    uses: entra.user.disable@1
    contains: true
`

var askingLibrary = sync.OnceValue(func() *playbook.Library {
	cat, _ := checked()
	l, problems := playbook.Load(fstest.MapFS{"ask.yaml": {Data: []byte(asking)}}, cat)
	if len(problems) > 0 {
		panic(problems)
	}
	return l
})

// BeginAsking starts a playbook on an identity that asks the person.
func (s *Scene) BeginAsking(id identity.ID, c casefile.ID) run.ID {
	driver := s.Driver.With(askingLibrary())
	var started run.Run
	check(driver.Store.Update(context.Background(), func(tx run.Tx) error {
		in, err := driver.Input(tx, Tenant, id, []string{playbook.OnManual}, nil)
		if err != nil {
			return err
		}
		started, _, err = driver.Begin(tx, run.Start{Match: playbook.Match{Ref: playbook.Ref{ID: "ask"}}, Case: c, Input: in, AskedBy: access.ByOperator("responder")})
		return err
	}))
	return started.ID
}

// A Post is where the scene's questions go: it keeps what was sent, by channel.
type Post struct {
	*question.Asker
	Set  question.Settings
	Sent []question.Message
	Via  []string
	// Refuse, when set, is what the channel answers; Managers who the person's is.
	Refuse   error
	Managers question.Recipient
	Stop     bool
}

// LinkKey is the key that the scene's links are made with.
const LinkKey = "a-key-for-links-in-tests-of-40-characters"

// Post returns what sends the scene's questions.
func (s *Scene) Post(channels ...question.Channel) *Post {
	p := &Post{Set: question.Settings{Channels: channels}}
	p.Asker = &question.Asker{
		Store: s.Store.ForQuestions(), Settings: func() question.Settings { return p.Set }, Records: s.Store, Now: s.Now, Rand: rand.Reader,
		Key: func() ([]byte, error) { return []byte(LinkKey), nil }, Base: func() string { return "https://ask.example" },
		Directory: func(_ context.Context, i identity.Identity) (person, manager question.Recipient, err error) {
			return question.Recipient{Name: i.Name, ObjectID: i.Accounts[0].ObjectID, Mail: "person@corp.example"}, p.Managers, nil
		},
		Send: func(_ context.Context, channel string, m question.Message) error {
			if p.Refuse != nil {
				return p.Refuse
			}
			p.Sent, p.Via = append(p.Sent, m), append(p.Via, channel)
			return nil
		},
		Stopped: func(context.Context, identity.Tenant) (bool, error) { return p.Stop, nil },
	}
	return p
}
