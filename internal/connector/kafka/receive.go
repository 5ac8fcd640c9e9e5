package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/eventhub"
	"github.com/seed-f47efad2/cordon/internal/connector/xdr"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// The service's own numbers: it cuts connections that are idle for 240 s, and a
// consumer that says nothing for the session's time. Source: Azure Event Hubs,
// "Apache Kafka client configurations" (recommended values).
const (
	maxAge  = 180 * time.Second
	session = 30 * time.Second
	beat    = 3 * time.Second

	together = 500              // messages in one page
	quiet    = 10 * time.Second // without a message, after which the service is asked whether it is there
)

// Options are what a Receiver needs beside its configuration. All are needed but
// Earlier.
type Options struct {
	Tenant identity.Tenant
	// Take stores a page. A page that it could not take is offered again.
	Take func(ctx context.Context, p connector.Page) error
	// Heard and Failed tell how the feed fares.
	Heard   func()
	Failed  func(error)
	Earlier xdr.Earlier
	Log     *slog.Logger
}

// A Receiver reads event hubs as a member of a consumer group: the replicas of one
// Cordon share the partitions. Where it is up to is kept by the service, and moves
// only when what came before is stored: after a crash a message may come twice and
// none is skipped.
type Receiver struct {
	c Config
	o Options
}

// NewReceiver returns a Receiver. Nothing is contacted before Run.
func NewReceiver(c Config, o Options) *Receiver { return &Receiver{c, o} }

// Name is the feed's.
func (r *Receiver) Name() connector.Name { return r.c.Feed() }

// Run reads until ctx ends. What fails is told and tried again, with growing pauses up
// to a minute.
func (r *Receiver) Run(ctx context.Context) {
	pause := time.Second
	for ctx.Err() == nil {
		began := time.Now()
		err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		r.o.Failed(err)
		r.o.Log.Warn("an event hub could not be read; it is tried again", "tenant", r.o.Tenant, "feed", r.Name(), "in", pause, "err", err)
		sleep(ctx, pause)
		pause = min(2*pause, time.Minute)
	}
}

// session reads with one client until something fails.
func (r *Receiver) session(ctx context.Context) error {
	client, err := r.client(true)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	if err := r.ping(ctx, client); err != nil {
		return err
	}
	for ctx.Err() == nil {
		poll, cancel := context.WithTimeout(ctx, quiet)
		fetches := client.PollRecords(poll, together)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := failureOf(fetches); err != nil {
			return err
		}
		if fetches.NumRecords() == 0 {
			client.AllowRebalance()
			if err := r.ping(ctx, client); err != nil {
				return err
			}
			continue
		}
		if err := r.take(ctx, client, fetches.Records()); err != nil {
			return err
		}
		client.AllowRebalance()
	}
	return ctx.Err()
}

// failureOf returns what went wrong with a poll, apart from that nothing came in time.
func failureOf(fetches kgo.Fetches) error {
	var errs []error
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.DeadlineExceeded) {
			continue
		}
		errs = append(errs, fault.Errorf(fault.Unavailable, "read event hub %s partition %d: %w", e.Topic, e.Partition, e.Err))
	}
	return errors.Join(errs...)
}

// take stores what the messages hold, and then moves the group's place behind them.
func (r *Receiver) take(ctx context.Context, client *kgo.Client, messages []*kgo.Record) error {
	d := eventhub.NewDecoder(r.o.Tenant, r.o.Earlier)
	for _, m := range messages {
		d.Add(m.Value, fmt.Sprintf("event hub %s partition %d offset %d", m.Topic, m.Partition, m.Offset))
	}
	page := d.Page()
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := r.o.Take(ctx, page)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.o.Failed(err)
		r.o.Log.Warn("what an event hub sent could not be stored; it is tried again", "tenant", r.o.Tenant, "feed", r.Name(), "in", pause, "err", err)
		sleep(ctx, pause)
	}
	r.o.Heard()
	if err := client.CommitRecords(ctx, messages...); err != nil {
		// They come again, to whoever has the partition now, and change nothing.
		return fault.Errorf(fault.Unavailable, "move the place of group %s: %w", r.group(), err)
	}
	return nil
}

// ping asks the service whether it is there and knows us, and whether it has the hubs:
// one that is not there would be waited for in silence.
func (r *Receiver) ping(ctx context.Context, client *kgo.Client) error {
	if err := r.c.reach(ctx, client); err != nil {
		return err
	}
	if r.c.Expect == 0 {
		r.o.Heard()
	}
	return nil
}

// Reach asks the service whether it is there, knows us and has the hubs.
func (c Config) Reach(ctx context.Context) error {
	client, err := NewReceiver(c, Options{}).client(false)
	if err != nil {
		return err
	}
	defer client.Close()
	return c.reach(ctx, client)
}

func (c Config) reach(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return fault.Errorf(fault.Unavailable, "the event hub's namespace does not answer as it should; check that the connection string is valid, may listen, and that the tier is not Basic: %w", err)
	}
	ask := kmsg.NewPtrMetadataRequest()
	ask.AllowAutoTopicCreation = false
	for _, h := range c.Hubs {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(h)
		ask.Topics = append(ask.Topics, t)
	}
	res, err := ask.RequestWith(ctx, client)
	if err != nil {
		return fault.Errorf(fault.Unavailable, "ask the namespace for its event hubs: %w", err)
	}
	var errs []error
	for _, t := range res.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && t.Topic != nil {
			errs = append(errs, fault.Errorf(fault.Unavailable, "event hub %s: the namespace has none of that name, or the connection string may not listen to it: %w", *t.Topic, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Receiver) group() string { return cmp.Or(r.c.Group, "cordon") }

// client returns a client, as a member of the group if it is to read.
func (r *Receiver) client(reads bool) (*kgo.Client, error) {
	_, brokers, err := r.c.endpoint()
	if err != nil {
		return nil, fmt.Errorf("event hub %s: %w", r.Name(), err)
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.c.CAFile != "" {
		pem, err := os.ReadFile(r.c.CAFile)
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "event hub %s: ca_file: %w", r.Name(), err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.Errorf(fault.Invalid, "event hub %s: ca_file: %s holds no certificate", r.Name(), r.c.CAFile)
		}
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(brokers...), kgo.ClientID("cordon"), kgo.DialTLSConfig(trust),
		kgo.SASL(plain.Plain(func(context.Context) (plain.Auth, error) {
			connection, _, err := r.c.endpoint() // anew: it may have been rotated
			return plain.Auth{User: "$ConnectionString", Pass: connection}, err
		})),
		kgo.MetadataMaxAge(maxAge), kgo.ConnIdleTimeout(maxAge),
	}
	if reads {
		opts = append(opts, kgo.ConsumerGroup(r.group()), kgo.ConsumeTopics(r.c.Hubs...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.SessionTimeout(session), kgo.HeartbeatInterval(beat),
			kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(1<<20), kgo.MaxConcurrentFetches(2))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "event hub %s: %w", r.Name(), err)
	}
	return client, nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
