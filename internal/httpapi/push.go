package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/push"
)

// pushPath takes bodies larger than any other.
const pushPath = "/api/signals"

// limitOf is the most that a request's body may be, in bytes.
func limitOf(r *http.Request) int64 {
	if r.Method == http.MethodPost && r.URL.Path == pushPath {
		return push.MaxBody
	}
	return maxBody
}

// rawBody is the body of a pushed request as it stands: the signature is over its
// bytes. It lives in the request's context between the middleware and the handler.
type rawBody struct{}

// readBody reads the body before anybody else does.
func (s *server) readBody(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	b, err := io.ReadAll(r.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) || len(b) > push.MaxBody {
		s.write(w, r, fault.Errorf(fault.Invalid, "the body is larger than %d bytes; send it in several requests", push.MaxBody))
		return
	}
	if err != nil {
		s.write(w, r, fault.Errorf(fault.Invalid, "read the body: %w", err))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(b)) // huma wants to see that there is one
	next(huma.WithValue(ctx, rawBody{}, b))
}

// A pushed request says in its headers who sends it; its body is read by readBody.
type pushed struct {
	Sender    string `header:"Cordon-Sender" maxLength:"100" doc:"The sender's name."`
	Key       string `header:"Idempotency-Key" maxLength:"200" doc:"The same for each attempt, another for each body."`
	Timestamp string `header:"Cordon-Timestamp" maxLength:"20" doc:"Whole seconds since 1970; at most five minutes from now."`
	Signature string `header:"Cordon-Signature" maxLength:"100" doc:"\"v1=\" and, in hexadecimal, HMAC-SHA-256 with the sender's secret over timestamp, key and body with a full stop between them."`
}

// pushes adds the one endpoint that is not for operators.
func (s *server) pushes(do func(context.Context, push.Request) (push.Answer, error)) {
	op := post("push-signals", "/signals", "Take signals that others send")
	op.Description = `Takes up to 500 records in 4 MiB: {"format": "graph", "records": [...]}, where the format is one of those of ` +
		`"cordon ingest". The request is signed; see the headers. A request that is repeated with its key is answered as it was and takes nothing.`
	op.Security = []map[string][]string{{"sender": {}}}
	op.Middlewares, op.MaxBodyBytes, op.SkipValidateBody = huma.Middlewares{s.readBody}, push.MaxBody+1, true
	op.Errors = []int{400, 401, 403, 409, 500, 503}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
		Type: huma.TypeObject, Required: []string{"records"}, AdditionalProperties: false, Properties: map[string]*huma.Schema{
			"format":  {Type: huma.TypeString, Description: "What the records are; \"graph\" when left out."},
			"records": {Type: huma.TypeArray, Items: &huma.Schema{Description: "An object of the format, or a line of it."}},
		},
	}}}}
	huma.Register(s.api, op, func(ctx context.Context, in *pushed) (*body[push.Answer], error) {
		a, err := push.Answer{}, error(fault.Errorf(fault.Denied, "nobody may push signals here: the configuration names no senders"))
		if do != nil {
			b, _ := ctx.Value(rawBody{}).([]byte)
			a, err = do(ctx, push.Request{Sender: in.Sender, Key: in.Key, Timestamp: in.Timestamp, Signature: in.Signature, Body: b})
		}
		if errors.Is(err, push.ErrUnknown) {
			err = errNobody{err.Error()}
		}
		if err != nil {
			return nil, s.told(ctx, op.OperationID, err)
		}
		return &body[push.Answer]{a}, nil
	})
}
