package app

import (
	"context"
	"errors"
	"time"

	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/cef"
	"github.com/seed-f47efad2/cordon/internal/connector/kafka"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/push"
)

// channels are what pushes to a tenant. Every replica receives: the hubs share their
// partitions among the members of a consumer group, and whoever sends syslog or pushes
// chooses a replica.
type channels struct {
	hubs   []*kafka.Receiver
	syslog []*cef.Listener
}

// openChannels binds what listens, and says what is expected of each.
func (a *App) openChannels(ctx context.Context, c config.Tenant, k *tenant) error {
	for _, h := range c.EventHubs {
		feed := h.Feed()
		k.hubs = append(k.hubs, kafka.NewReceiver(h, kafka.Options{
			Tenant: k.key, Take: a.taker(k.key, feed), Log: a.log, Earlier: a.earlier(context.WithoutCancel(ctx), k.key),
			Heard:  func() { a.pipeline.Heard(k.key, feed) },
			Failed: func(err error) { a.pipeline.Failed(k.key, feed, err) },
		}))
		every := h.Expect
		if every == 0 {
			every = time.Minute // a quiet hub is asked several times a minute whether it is there
		}
		k.expects = append(k.expects, connector.Feed{Tenant: k.key, Stream: feed, Interval: every})
	}
	if len(c.Syslog) > 0 {
		watch := noticeWatch{tenant: k.key, records: a.db.Records().Records, signal: a.db.Desk().Signal, now: a.opts.Now}
		k.streams = append(k.streams, stream{watch, noticeEvery, true})
	}
	for _, s := range c.Syslog {
		o, err := s.Options()
		if err != nil {
			return err
		}
		o.Tenant, o.Now, o.Log = k.key, a.opts.Now, a.log
		l, err := cef.Listen(ctx, o)
		if err != nil {
			return err
		}
		k.syslog = append(k.syslog, l)
		a.metrics.listener(k.key, l.Name(), l.Lost, l.Refused)
		if every := s.Interval(); every > 0 {
			k.expects = append(k.expects, connector.Feed{Tenant: k.key, Stream: l.Name(), Interval: every})
		}
	}
	return nil
}

// run receives until ctx ends.
func (c channels) run(ctx context.Context, a *App, t *tenant, start func(func()), failed func(string, error)) {
	for _, h := range c.hubs {
		start(func() { h.Run(ctx) })
	}
	for _, l := range c.syslog {
		take := a.taker(t.key, l.Name())
		start(func() {
			failed(string(l.Name()), l.Run(ctx, func(ctx context.Context, p connector.Page) error {
				err := take(ctx, p)
				if err != nil {
					a.pipeline.Failed(t.key, l.Name(), err)
				} else {
					a.pipeline.Heard(t.key, l.Name())
				}
				return err
			}))
		})
	}
}

func (c channels) close() error {
	var errs []error
	for _, l := range c.syslog {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// taker returns what stores a page of a feed.
func (a *App) taker(t identity.Tenant, feed connector.Name) func(context.Context, connector.Page) error {
	return func(ctx context.Context, p connector.Page) error {
		res, err := a.pipeline.Take(ctx, t, feed, p)
		if err != nil {
			a.metrics.pollFailed(t, string(feed))
			return err
		}
		a.metrics.polled(t, string(feed), res)
		return nil
	}
}

// pushes takes what known senders push.
func (a *App) pushes() *push.Service {
	return &push.Service{
		Senders: func() []push.Sender {
			var out []push.Sender
			for _, t := range a.settings.Load().config.Tenants {
				for _, s := range t.Senders {
					out = append(out, push.Sender{Name: s.Name, Tenant: t.Key(), Secret: s.Secret, Old: s.OldSecret})
				}
			}
			return out
		},
		Store: a.db.Pushes(), Heard: a.pipeline.Heard, Now: a.opts.Now,
		Take: func(ctx context.Context, t identity.Tenant, feed connector.Name, p connector.Page) (ingest.Result, []ingest.Outcome, error) {
			res, each, err := a.pipeline.TakeEach(ctx, t, feed, p)
			if err != nil {
				a.pipeline.Failed(t, feed, err)
				a.metrics.pollFailed(t, string(feed))
				return res, each, err
			}
			a.metrics.polled(t, string(feed), res)
			return res, each, nil
		},
		Gather: func(ctx context.Context, format string, t identity.Tenant) (push.Gatherer, error) {
			return a.gatherer(ctx, format, t)
		},
	}
}

// senderFeeds are the feeds of those who push to a tenant, as configured now.
func (a *App) senderFeeds(t identity.Tenant) []connector.Feed {
	var out []connector.Feed
	for _, s := range a.settings.Load().tenants[t].Senders {
		if every := s.Interval(); every > 0 {
			out = append(out, connector.Feed{Tenant: t, Stream: push.Sender{Name: s.Name}.Feed(), Interval: every})
		}
	}
	return out
}

// SyslogAddrs returns where syslog is listened for, by feed.
func (a *App) SyslogAddrs() map[connector.Name]string {
	out := map[connector.Name]string{}
	for _, t := range a.tenants {
		for _, l := range t.syslog {
			out[l.Name()] = l.Addr()
		}
	}
	return out
}
