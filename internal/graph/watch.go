package graph

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
)

// sent follows one request on its way out, to tell a request that was never
// sent from one that may have been.
type sent struct {
	traced    atomic.Bool // the transport reports what it does
	connected atomic.Bool // it got one: from here on bytes may leave at any time
}

// watch returns a context that reports to the returned sent what rt does.
func watch(ctx context.Context, rt http.RoundTripper) (context.Context, *sent) {
	s := &sent{}
	if _, ok := rt.(*http.Transport); ok {
		s.traced.Store(true) // if it did not even look for a connection, nothing was sent
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			// net/http looks for a second connection only when nothing was
			// written on the first, unless the request is a read.
			s.traced.Store(true)
			s.connected.Store(false)
		},
		GotConn: func(httptrace.GotConnInfo) { s.connected.Store(true) },
	}), s
}

// maybe reports whether the request that ended in err may have reached Graph.
//
// Having a connection is the line: what was written on it is settled in
// another goroutine and cannot be known for sure when the context ends. A
// transport that reports nothing (the lab in process) is believed only when
// its error can come from nowhere but dialling.
func (s *sent) maybe(err error) bool {
	if s.traced.Load() {
		return s.connected.Load()
	}
	return !dialError(err)
}

func dialError(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	return errors.As(err, &dns) || errors.As(err, &cert) || errors.Is(err, syscall.ECONNREFUSED)
}
