package cef

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// The bounds of a listener.
const (
	maxConnections = 64
	waiting        = 1024                   // messages between the wire and the store
	together       = 200                    // messages in one page
	gather         = 200 * time.Millisecond // how long a page waits for more
	idle           = 10 * time.Minute       // after which a connection that says nothing is closed
)

// Options say where and for whom a listener listens.
type Options struct {
	Tenant   identity.Tenant
	Name     connector.Name // of the feed
	Protocol string         // tcp, tls or udp
	Address  string         // HOST:PORT
	TLS      *tls.Config    // of tls
	Allow    []netip.Prefix // whose messages are taken; empty: loopback alone
	Now      func() time.Time
	Log      *slog.Logger
}

// A Listener takes messages of syslog. A message that was taken from TCP or TLS waits
// until it is stored, and the sender waits with it; UDP has no such thing, and what
// comes faster than it is stored is counted and lost.
type Listener struct {
	o      Options
	stream net.Listener
	packet net.PacketConn

	messages chan message
	lost     atomic.Int64
	refused  atomic.Int64
}

type message struct {
	frame
	place string
}

// Listen binds the address. The caller runs the listener or closes it.
func Listen(ctx context.Context, o Options) (*Listener, error) {
	if len(o.Allow) == 0 {
		o.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	l := &Listener{o: o, messages: make(chan message, waiting)}
	var lc net.ListenConfig
	var err error
	switch o.Protocol {
	case "udp":
		l.packet, err = lc.ListenPacket(ctx, "udp", o.Address)
	case "tcp", "tls":
		l.stream, err = lc.Listen(ctx, "tcp", o.Address)
		if err == nil && o.Protocol == "tls" {
			l.stream = tls.NewListener(l.stream, o.TLS)
		}
	default:
		err = fault.Errorf(fault.Invalid, "no protocol %q", o.Protocol)
	}
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "listen for syslog on %s %s: %w", o.Protocol, o.Address, err)
	}
	return l, nil
}

// Name is the feed's.
func (l *Listener) Name() connector.Name { return l.o.Name }

// Addr returns where it listens.
func (l *Listener) Addr() string {
	if l.packet != nil {
		return l.packet.LocalAddr().String()
	}
	return l.stream.Addr().String()
}

// Lost returns how many messages came by UDP faster than they were stored, and Refused
// how many connections or datagrams came from elsewhere or were too many.
func (l *Listener) Lost() int64    { return l.lost.Load() }
func (l *Listener) Refused() int64 { return l.refused.Load() }

// Close releases the address.
func (l *Listener) Close() error {
	var err error
	if l.packet != nil {
		err = l.packet.Close()
	} else {
		err = l.stream.Close()
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Run takes messages until ctx ends, and gives them to take in pages. A page that
// could not be taken is offered again, with growing pauses up to half a minute, and
// what came meanwhile waits. What was received when ctx ends is offered once more.
func (l *Listener) Run(ctx context.Context, take func(context.Context, connector.Page) error) error {
	var receivers sync.WaitGroup
	failed := make(chan error, 1)
	receivers.Go(func() {
		var err error
		if l.packet != nil {
			err = l.datagrams(ctx)
		} else {
			err = l.connections(ctx)
		}
		if ctx.Err() == nil {
			failed <- err
		}
	})
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // it ends the receivers
	defer stop()
	done := make(chan struct{})
	go func() {
		receivers.Wait()
		close(l.messages)
		close(done)
	}()
	l.store(ctx, take)
	<-done
	select {
	case err := <-failed:
		return fmt.Errorf("syslog on %s: %w", l.o.Address, err)
	default:
		return nil
	}
}

// store gathers messages into pages and offers them until they are taken.
func (l *Listener) store(ctx context.Context, take func(context.Context, connector.Page) error) {
	d := NewDecoder(l.o.Tenant, l.o.Now)
	for m := range l.messages {
		l.add(d, m)
		full := time.NewTimer(gather)
	more:
		for d.Len() < together {
			select {
			case m, ok := <-l.messages:
				if !ok {
					break more
				}
				l.add(d, m)
			case <-full.C:
				break more
			}
		}
		full.Stop()
		l.offer(ctx, d.Page(), take)
	}
}

func (l *Listener) add(d *Decoder, m message) {
	if m.reason != "" {
		d.Reject(m.text, m.place, m.reason)
		return
	}
	d.Add(m.text, m.place)
}

func (l *Listener) offer(ctx context.Context, p connector.Page, take func(context.Context, connector.Page) error) {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 30*time.Second) {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute) // what has come is stored, also at the end
		err := take(once, p)
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			l.o.Log.Error("messages of syslog could not be stored and are lost, because Cordon stops", "feed", l.o.Name, "messages", len(p.Records)+len(p.Rejects), "err", err)
			return
		}
		l.o.Log.Warn("messages of syslog could not be stored; it is tried again", "feed", l.o.Name, "in", pause, "err", err)
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

func (l *Listener) allows(from net.Addr) bool {
	a, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return false
	}
	ip := a.Addr().Unmap()
	return slices.ContainsFunc(l.o.Allow, func(p netip.Prefix) bool { return p.Contains(ip) })
}

func (l *Listener) refuse(from net.Addr, why string) {
	// The first of many is enough for the log; the count goes on.
	if n := l.refused.Add(1); n == 1 || n%1000 == 0 {
		l.o.Log.Warn("syslog is refused", "feed", l.o.Name, "from", from, "because", why, "so far", n)
	}
}

func (l *Listener) connections(ctx context.Context) error {
	var open sync.WaitGroup
	defer open.Wait()
	room := make(chan struct{}, maxConnections)
	for {
		c, err := l.stream.Accept()
		if err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				continue
			}
			return err
		}
		if !l.allows(c.RemoteAddr()) {
			l.refuse(c.RemoteAddr(), "its address is not in allow")
			_ = c.Close()
			continue
		}
		select {
		case room <- struct{}{}:
		default:
			l.refuse(c.RemoteAddr(), "there are too many connections")
			_ = c.Close()
			continue
		}
		open.Go(func() {
			defer func() { <-room }()
			stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
			defer stop()
			l.connection(ctx, c)
		})
	}
}

// connection takes the messages of one connection until it ends.
func (l *Listener) connection(ctx context.Context, c net.Conn) {
	defer func() { _ = c.Close() }()
	f := newFramer(c)
	for n := 1; ; n++ {
		_ = c.SetReadDeadline(time.Now().Add(idle))
		if ctx.Err() != nil {
			return
		}
		fr, err := f.next()
		if len(fr.text) > 0 || fr.reason != "" {
			l.messages <- message{fr, fmt.Sprintf("syslog from %s message %d", c.RemoteAddr(), n)}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				l.o.Log.Info("a connection of syslog ended", "feed", l.o.Name, "from", c.RemoteAddr(), "messages", n-1, "err", err)
			}
			return
		}
	}
}

func (l *Listener) datagrams(ctx context.Context) error {
	buf := make([]byte, maxFrame+1)
	for n := 1; ; n++ {
		size, from, err := l.packet.ReadFrom(buf)
		if err != nil {
			return err
		}
		if !l.allows(from) {
			l.refuse(from, "its address is not in allow")
			continue
		}
		m := message{frame{text: append([]byte(nil), buf[:size]...)}, fmt.Sprintf("syslog from %s datagram %d", from, n)}
		if size > maxFrame {
			m.frame = frame{m.text[:256], fmt.Sprintf("longer than %d octets", maxFrame)}
		}
		select {
		case l.messages <- m:
		case <-ctx.Done():
			return nil
		default:
			if lost := l.lost.Add(1); lost == 1 || lost%1000 == 0 {
				l.o.Log.Error("syslog comes by UDP faster than it is stored; messages are lost", "feed", l.o.Name, "so far", lost)
			}
		}
	}
}
