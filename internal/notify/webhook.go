package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// The headers of a signed webhook. Source: Standard Webhooks 1.0.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// keyPrefix marks a signing key that is written in base64.
const keyPrefix = "whsec_"

// signingKey reads a key as Standard Webhooks writes it, or takes the text itself.
func signingKey(text string) ([]byte, error) {
	if b64, ok := strings.CutPrefix(text, keyPrefix); ok {
		key, err := base64.StdEncoding.DecodeString(b64)
		if err != nil || len(key) < 24 {
			return nil, fault.Errorf(fault.Invalid, "secret: after %s come at least 24 bytes in base64", keyPrefix)
		}
		return key, nil
	}
	if len(text) < 24 {
		return nil, fault.Errorf(fault.Invalid, "secret: under 24 characters; make one with `openssl rand -base64 32`")
	}
	return []byte(text), nil
}

// sign is the signature of a body under an id and a time.
func sign(key []byte, id string, at time.Time, body []byte) string {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "%s.%d.", id, at.Unix())
	m.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// Tolerance is how far a webhook's time may be from the receiver's clock.
const Tolerance = 5 * time.Minute

// Verify checks a webhook as its receiver does: the body is what was signed with
// the key, and not long ago. It returns the id, by which the receiver knows a
// message that comes again. Anything else is fault.Denied, whatever is wrong.
func Verify(secret string, h http.Header, body []byte, now time.Time) (id string, err error) {
	key, err := signingKey(secret)
	if err != nil {
		return "", err
	}
	denied := fault.Errorf(fault.Denied, "webhook: not signed by the sender, or too old")
	id = h.Get(headerID)
	stamp, err := strconv.ParseInt(h.Get(headerTimestamp), 10, 64)
	at := time.Unix(stamp, 0)
	if err != nil || id == "" || now.Sub(at) > Tolerance || at.Sub(now) > Tolerance {
		return "", denied
	}
	want := sign(key, id, at, body)
	for _, have := range strings.Fields(h.Get(headerSignature)) {
		if subtle.ConstantTimeCompare([]byte(have), []byte(want)) == 1 {
			return id, nil
		}
	}
	return "", denied
}

// post sends a body. An error says whether another try can help: fault.Unavailable
// (with the receiver's own Retry-After), or fault.Invalid when it cannot.
func (p *Pump) post(ctx context.Context, r Receiver, id string, body []byte) error {
	to, err := r.address()
	if err != nil {
		return notYet(err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return fault.Errorf(fault.Unavailable, "the address cannot be asked")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "cordon")
	if r.Secret != "" {
		text, err := r.Secret.Read()
		if err != nil {
			return notYet(err)
		}
		key, err := signingKey(text)
		if err != nil {
			return notYet(err)
		}
		at := p.Now()
		req.Header.Set(headerID, id)
		req.Header.Set(headerTimestamp, strconv.FormatInt(at.Unix(), 10))
		req.Header.Set(headerSignature, sign(key, id, at, body))
		req.Header.Set("Idempotency-Key", id)
	}
	res, err := p.client().Do(req)
	if err != nil {
		// The address is a secret, and is in the error's text.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fault.Errorf(fault.Unavailable, "no answer: %w", err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection is used again
	switch s := res.StatusCode; {
	case s >= 200 && s < 300:
		return nil
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500,
		s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound, s >= 300 && s < 400:
		// What a person can put right at either end is tried again as well.
		return &refusal{status: s, after: retryAfter(res.Header, p.Now())}
	default:
		return fault.Errorf(fault.Invalid, "it answers %d", s)
	}
}

// refusal is an answer after which the same is tried again.
type refusal struct {
	status int
	after  time.Duration
}

func (r *refusal) Error() string { return fmt.Sprintf("it answers %d", r.status) }
func (r *refusal) Unwrap() error { return fault.Unavailable }

// notYet is a mistake of the configuration: it can be put right while we wait.
// Its own kind would say that trying again cannot help, so only its words are kept.
func notYet(err error) error { return fault.Errorf(fault.Unavailable, "%s", err) }

func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s > 0 {
		return min(time.Duration(s)*time.Second, time.Hour)
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return min(at.Sub(now), time.Hour)
	}
	return 0
}
