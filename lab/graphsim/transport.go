package graphsim

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
)

// Transport returns a RoundTripper that answers in process, without a socket,
// so that a client can run inside a synctest bubble. A connection that the
// lab cuts shows as the error of a reset TCP connection. Plain http is
// refused: a token must never travel over it.
func (t *Tenant) Transport() http.RoundTripper { return transport{t} }

type transport struct{ t *Tenant }

// RoundTrip answers req.
func (tr transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	if req.URL.Scheme != "https" {
		return nil, errors.New("the lab answers https only")
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	o := tr.t.answer(req)
	if err := req.Context().Err(); err != nil {
		return nil, err // it gave up while the lab was waiting
	}
	if o.cut {
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: fmt.Errorf("read: %w", syscall.ECONNRESET)}
	}
	res := &http.Response{
		Status: fmt.Sprintf("%d %s", o.status, http.StatusText(o.status)), StatusCode: o.status,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: o.header.Clone(), Request: req,
		Body: http.NoBody, ContentLength: 0,
	}
	if o.status != http.StatusNoContent && req.Method != http.MethodHead {
		res.Body = io.NopCloser(o.reader())
		res.ContentLength = o.pad + int64(len(o.body))
	}
	return res, nil
}
