package app

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/notify"
	"github.com/seed-f47efad2/cordon/internal/question"
)

// ask sends the questions of a tenant. Who dispatches for it also asks: the others
// stand by.
func (a *App) ask(ctx context.Context, t *tenant) {
	asker := a.asker(t)
	every(ctx, time.Second, func() {
		if _, owner := t.dispatcher.Lease(); !owner {
			return
		}
		if err := asker.Pass(ctx, t.key); err != nil && ctx.Err() == nil {
			a.log.Error("questions could not be asked; it is tried again", "tenant", t.key, "err", err)
		}
	})
}

func (a *App) asker(t *tenant) *question.Asker {
	pump := &notify.Pump{Now: a.opts.Now, Log: a.log}
	return &question.Asker{
		Store: a.db.Questions(), Settings: a.questions, Records: a.db.Records(), Now: a.opts.Now, Rand: rand.Reader, Log: a.log,
		Key:  func() ([]byte, error) { return a.settings.Load().config.Questions.SecretKey() },
		Base: func() string { return a.settings.Load().config.Base() },
		Directory: func(ctx context.Context, i identity.Identity) (person, manager question.Recipient, err error) {
			acc, ok := i.Account(identity.EntraID)
			if !ok {
				return person, manager, fault.Errorf(fault.NotFound, "%s has no account in Entra ID", i.Name)
			}
			p, m, err := t.contacts(ctx, acc.Ref)
			return question.Recipient(p), question.Recipient(m), err
		},
		Send: func(ctx context.Context, channel string, m question.Message) error {
			for _, c := range a.settings.Load().config.Questions.Channels {
				if c.ID == channel {
					return pump.Ask(ctx, c, m)
				}
			}
			return fault.Errorf(fault.Unavailable, "the channel %s is not configured any more", channel)
		},
		Stopped: func(ctx context.Context, t identity.Tenant) (bool, error) {
			s, err := a.db.Desk().Stop(ctx, t)
			return s.On, err
		},
	}
}

// questions is what the configuration in force says of questions.
func (a *App) questions() question.Settings { return a.settings.Load().config.Questions.Settings() }

// examineQuestions says by which channels people could be asked. Nobody is contacted.
func examineQuestions(c config.Config) (out []Check) {
	if len(c.Questions.Channels) == 0 {
		return nil
	}
	key := Check{Name: "questions", Health: Healthy, Text: "the key that links are made with can be read; they lead to " + c.Base() + "/ask/"}
	if _, err := c.Questions.SecretKey(); err != nil {
		key.Health, key.Text, key.Fix = Broken, err.Error(), "correct what the setting refers to; until then nobody is asked"
	}
	out = append(out, key)
	for _, ch := range c.Questions.Channels {
		check := Check{Name: "question channel " + ch.ID, Health: Healthy, Text: string(ch.Kind) + ", reaches the " + string(ch.Reaches) + ": its address and secrets can be read"}
		if err := ch.Ready(); err != nil {
			check.Health, check.Text, check.Fix = Broken, err.Error(), "correct what the setting refers to; questions wait for it until they run out"
		}
		out = append(out, check)
	}
	return out
}

// contacts are who is behind accounts in Entra.
type contacts func(ctx context.Context, r identity.Ref) (person, manager entraid.Contact, err error)
