// Package graphtest helps to test what uses the Graph client: a token, a
// transport made of a function, and a check of every request against
// Microsoft's own description of Graph.
package graphtest

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// A Token is a token source that always gives itself.
type Token string

// Token implements graph.TokenSource.
func (t Token) Token(context.Context) (string, error) { return string(t), nil }

// Drop implements graph.TokenSource; there is no other token.
func (t Token) Drop(string) bool { return false }

// A Transport is a function that answers in process, without a socket, so that
// it can be used in a testing/synctest bubble.
type Transport func(*http.Request) (*http.Response, error)

// RoundTrip calls t.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// Answer makes a response with a JSON body; header holds names and values in
// turn.
func Answer(status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Header: h,
		ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader([]byte(body))),
	}
}
