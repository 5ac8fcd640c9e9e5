package notify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const (
	page       = 100
	turn       = 5 * time.Second // how long one receiver is told before the next has its turn
	slowest    = 5 * time.Minute // between two tries
	defaultFor = 10 * time.Second
)

// A Pump moves receivers along the trail. Its fields are set before it is used.
type Pump struct {
	Store     Store
	Receivers func() []Receiver // those in force now
	// Home is the tenant with which what concerns all tenants is told.
	Home identity.Tenant
	Link func(identity.Tenant, casefile.ID) string
	Now  func() time.Time
	Log  *slog.Logger

	Transport http.RoundTripper // nil: the standard one
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)
	Roots     *x509.CertPool // nil: the system's
	Timeout   time.Duration  // of one message; 10 s
}

func (p *Pump) timeout() time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	return defaultFor
}

func (p *Pump) client() *http.Client {
	// A redirect would take the message, and what signs it, somewhere else.
	return &http.Client{Transport: p.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (p *Pump) dial(ctx context.Context, address string) (net.Conn, error) {
	if p.Dial != nil {
		return p.Dial(ctx, "tcp", address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// Pass tells every receiver what of the tenant it has not heard yet. Whoever owns
// the tenant calls it again and again. A receiver that does not take a message, or
// that is slow and has much to hear, holds up nobody else; what it was not told waits. The error is about the store.
func (p *Pump) Pass(ctx context.Context, t identity.Tenant) error {
	var errs []error
	for _, r := range p.Receivers() {
		if err := p.serve(ctx, r, t); err != nil && ctx.Err() == nil {
			errs = append(errs, fmt.Errorf("notify %s: %w", r.ID, err))
		}
	}
	return errors.Join(errs...)
}

// serve tells one receiver as much as there is and as it takes.
func (p *Pump) serve(ctx context.Context, r Receiver, t identity.Tenant) error {
	place, err := p.Store.Place(ctx, r.ID, t)
	if errors.Is(err, fault.NotFound) {
		// A new receiver hears of what happens from now on.
		var size int64
		if size, err = p.Store.Size(ctx); err == nil {
			place, err = p.Store.Put(ctx, Place{Receiver: r.ID, Tenant: t, Next: size}, nil)
		}
	}
	if err != nil {
		return mineNoMore(err)
	}
	until := p.Now().Add(turn)
	for ctx.Err() == nil && !p.Now().Before(place.NotNow) && p.Now().Before(until) {
		entries, err := p.Store.Entries(ctx, place.Next, page)
		if err != nil {
			return err
		}
		before := place.Next
		if place, err = p.tell(ctx, r, place, entries, until); err != nil {
			return mineNoMore(err)
		}
		if place.Next == before {
			return nil
		}
	}
	return ctx.Err()
}

// mineNoMore makes nothing of a conflict: another process has gone on.
func mineNoMore(err error) error {
	if errors.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// tell goes through the entries until one has to wait or the receiver's turn is over,
// and returns the place as it is stored. What is not for the receiver is passed over
// together.
func (p *Pump) tell(ctx context.Context, r Receiver, place Place, entries []audit.LogEntry, until time.Time) (Place, error) {
	was := place.Next
	keep := func(told *Told) (err error) {
		place.Failures, place.NotNow, place.Trouble = 0, time.Time{}, ""
		place, err = p.Store.Put(ctx, place, told)
		was = place.Next
		return err
	}
	for _, le := range entries {
		m, ok := p.message(le, r, place.Tenant)
		if !ok {
			place.Next = le.Index + 1
			continue
		}
		if p.Now().Before(m.entry.At.Add(r.settle())) || !p.Now().Before(until) {
			break // its time comes
		}
		told, err := p.deliver(ctx, r, m)
		switch {
		case ctx.Err() != nil:
			return place, ctx.Err()
		case err != nil && !undelivered(err):
			return place, err
		case errors.Is(err, fault.Invalid):
			p.Log.Error("a receiver refused a message for good; it is not told of it", "receiver", r.ID, "message", m.id, "why", err)
			place.Refused++
		case err != nil:
			return p.putOff(ctx, r, place, m, err)
		}
		place.Next = le.Index + 1
		if err := keep(told); err != nil {
			return place, err
		}
	}
	if place.Next == was {
		return place, nil
	}
	return place, keep(nil)
}

// message reads an entry, and says whether it is one for the receiver. One that
// was erased is nobody's any more.
func (p *Pump) message(le audit.LogEntry, r Receiver, t identity.Tenant) (message, bool) {
	var e audit.Entry
	if len(le.Payload) == 0 || json.Unmarshal(le.Payload, &e) != nil || !r.wants(e) {
		return message{}, false
	}
	if e.Tenant != t && (e.Tenant != "" || t != p.Home) {
		return message{}, false
	}
	return message{id: messageID(e, le.Index), entry: e, seq: le.Index}, true
}

// putOff notes that the receiver does not take the message now.
func (p *Pump) putOff(ctx context.Context, r Receiver, place Place, m message, why error) (Place, error) {
	wait := min(time.Second<<min(place.Failures, 10), slowest)
	var answer *refusal
	if errors.As(why, &answer) {
		wait = max(wait, answer.after)
	}
	place.Failures++
	place.NotNow, place.Trouble = p.Now().Add(wait), oneLine(why.Error(), 300)
	if place.Failures == 1 || place.Failures%20 == 0 {
		p.Log.Warn("a receiver does not take a message; it is tried again", "receiver", r.ID, "message", m.id, "tries", place.Failures, "in", wait, "why", place.Trouble)
	}
	place, err := p.Store.Put(ctx, place, nil)
	return place, err
}

// deliver sends one message. It returns whom to note as told. A sendError with
// fault.Invalid will not pass, any other may.
func (p *Pump) deliver(ctx context.Context, r Receiver, m message) (*Told, error) {
	if m.entry.Case != "" {
		c, err := p.Store.Case(ctx, m.entry.Tenant, casefile.ID(m.entry.Case))
		switch {
		case err == nil:
			m.file = &c
		case !errors.Is(err, fault.NotFound):
			return nil, err
		}
		if p.Link != nil {
			m.link = p.Link(m.entry.Tenant, casefile.ID(m.entry.Case))
		}
	}
	var told *Told
	if r.Kind.perCase() && m.file != nil {
		told = &Told{Receiver: r.ID, Case: m.file.ID, Episode: m.file.Reopened}
		if m.file.Status == casefile.Contained || m.file.Status == casefile.Closed {
			return nil, nil // nobody needs to act any more
		}
		// A playbook that pages says that this failure is told, whatever of the case
		// was told before.
		if m.entry.Kind != audit.RunPaged {
			if was, err := p.Store.WasTold(ctx, *told); was || err != nil {
				return nil, err
			}
		}
	}
	var err error
	switch r.Kind {
	case Webhook:
		err = p.post(ctx, r, m.id, encode(m.event()))
	case Ticket:
		err = p.post(ctx, r, m.id, encode(m.ticket()))
	case Teams:
		err = p.post(ctx, r, m.id, m.note().card())
	case Slack:
		err = p.post(ctx, r, m.id, m.note().slack())
	case Mail:
		err = p.mail(ctx, r.SMTP, m.note())
	}
	if err != nil {
		return nil, &sendError{err}
	}
	return told, nil
}

// A sendError is about the receiver, not about our own store.
type sendError struct{ error }

func (e *sendError) Unwrap() error { return e.error }

func undelivered(err error) bool {
	var e *sendError
	return errors.As(err, &e)
}
