package addc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// A Break is a way in which a connection breaks.
type Break int

// The ways of breaking.
const (
	Whole      Break = iota
	NothingOut       // what is written next does not leave
	AnswerLost       // what is written next is carried out, and the answer is lost
)

// A Wire dials a domain's controllers by their names, which nobody else resolves,
// and breaks a connection when it is told to.
type Wire struct {
	Domain *Domain
	Alias  map[string]string // further names → one of the controllers' names

	mu    sync.Mutex
	next  Break
	dials int
}

// Dial dials a controller by name and port.
func (w *Wire) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.dials++
	if a, ok := w.Alias[host]; ok {
		host = a
	}
	w.mu.Unlock()
	addr, ok := w.Domain.Addr(host)
	if !ok {
		return nil, fmt.Errorf("no such host: %s", host)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(addr, port))
	if err != nil {
		return nil, err
	}
	return &link{Conn: conn, wire: w}, nil
}

// Dials returns how often a controller was dialled.
func (w *Wire) Dials() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dials
}

// Break makes the connection that is written to next break; only that one.
func (w *Wire) Break(how Break) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = how
}

func (w *Wire) due() Break {
	w.mu.Lock()
	defer w.mu.Unlock()
	how := w.next
	w.next = Whole
	return how
}

var errBroken = errors.New("the connection was reset by the lab")

// A link is one connection.
type link struct {
	net.Conn
	wire *Wire

	mu   sync.Mutex
	lost bool
}

// SetLinger is TCP's: what is left to send when the connection is closed.
func (l *link) SetLinger(sec int) error {
	if tcp, ok := l.Conn.(*net.TCPConn); ok {
		return tcp.SetLinger(sec)
	}
	return nil
}

func (l *link) Write(b []byte) (int, error) {
	switch l.wire.due() {
	case NothingOut:
		l.Conn.Close()
		return 0, errBroken
	case AnswerLost:
		l.mu.Lock()
		l.lost = true
		l.mu.Unlock()
	}
	return l.Conn.Write(b)
}

// Read takes the answer off the wire before it is lost: what was asked is then
// certainly done.
func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		l.Conn.Close()
		return 0, errBroken
	}
	return n, err
}
