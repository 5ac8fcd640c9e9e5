// Package push takes signals that others send on their own: it checks who sent them
// and when, that nothing is taken twice, and says of each record what became of it.
// What the records hold is read and stored by whoever composes it.
package push

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

// The bounds of a request.
const (
	MaxBody    = 4 << 20
	maxRecords = 500
	maxKey     = 200
	window     = 5 * time.Minute // how far the sender's clock may be off
	kept       = 24 * time.Hour  // how long an answer is remembered; well beyond the window
)

// MinSecret is the least length of a sender's secret, in bytes.
const MinSecret = 32

// ErrUnknown says that a request is not signed by a sender that is known. It does not
// say which of the two it is.
var ErrUnknown = errors.New("the request is not signed by a sender that Cordon knows")

// A Sender is somebody who may push. The secret is at least 32 characters; Old is the
// one before it, taken while a rotation is under way.
type Sender struct {
	Name   string // unique over all tenants
	Tenant identity.Tenant
	Secret secret.Ref
	Old    secret.Ref // empty: there is none
}

// Feed is the name of what the sender sends.
func (s Sender) Feed() connector.Name { return connector.Name("push." + s.Name) }

// A Request is one push as it arrived.
type Request struct {
	Sender    string // header Cordon-Sender
	Key       string // header Idempotency-Key: the same for each attempt, another for each body
	Timestamp string // header Cordon-Timestamp: seconds since 1970
	Signature string // header Cordon-Signature: "v1=" and what Sign returns
	Body      []byte
}

// An Answer says what became of a request's records.
type Answer struct {
	Read      int    `json:"read"`
	New       int    `json:"new"`
	Updated   int    `json:"updated"`
	Duplicate int    `json:"duplicate"`
	Older     int    `json:"older"`
	Rejected  int    `json:"rejected"`
	Records   []Told `json:"records" doc:"In the order of the request."`
	Repeated  bool   `json:"repeated,omitempty" doc:"The same request was answered before: this is that answer, and nothing was taken."`
}

// A Told is what became of one record.
type Told struct {
	Index  int    `json:"index" doc:"From 0."`
	Result string `json:"result" enum:"new,updated,duplicate,older,rejected"`
	Reason string `json:"reason,omitempty" doc:"Why it was rejected."`
}

// A Past is a request that was answered.
type Past struct {
	Tenant identity.Tenant `json:"tenant"`
	Sender string          `json:"sender"`
	Key    string          `json:"key"`
	Digest []byte          `json:"digest"` // of the body
	At     time.Time       `json:"at"`
	Answer Answer          `json:"answer"`
}

// Store remembers what was answered. Implementations pass storetest.
type Store interface {
	// Pushed returns the request of the sender with the key, and false when there is
	// none.
	Pushed(ctx context.Context, t identity.Tenant, sender, key string) (Past, bool, error)
	// PutPushed remembers a request, the first of a key for good, and forgets those from
	// before since.
	PutPushed(ctx context.Context, p Past, since time.Time) error
}

// A Gatherer turns raw records into pages. It is for one goroutine.
type Gatherer interface {
	Add(raw []byte, place string)
	Page() connector.Page
}

// A Service takes pushes. All fields are needed.
type Service struct {
	Senders func() []Sender
	Store   Store
	// Gather returns a Gatherer of the format, and fault.Invalid for one that is none.
	Gather func(ctx context.Context, format string, t identity.Tenant) (Gatherer, error)
	// Take stores a page and says what became of each thing in it.
	Take func(ctx context.Context, t identity.Tenant, feed connector.Name, p connector.Page) (ingest.Result, []ingest.Outcome, error)
	// Heard is told of each request that was taken.
	Heard func(t identity.Tenant, feed connector.Name)
	Now   func() time.Time
}

// Sign returns the signature of a request in hexadecimal: HMAC-SHA-256 with the secret
// as it stands, over timestamp, key and body with a full stop between them.
func Sign(secret, timestamp, key string, body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(timestamp + "." + key + "."))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}

// Do takes a request. A request that was answered before is answered with the same,
// and nothing is taken; the same key with another body is fault.Conflict. After a
// crash between taking and answering, the request comes again and its records are
// duplicates. A request that is not signed as it should be is ErrUnknown; one that is
// signed and cannot be read is fault.Invalid, and nothing of it is taken.
func (s *Service) Do(ctx context.Context, r Request) (Answer, error) {
	from, err := s.sender(r)
	if err != nil {
		return Answer{}, err
	}
	if r.Key == "" || len(r.Key) > maxKey {
		return Answer{}, fault.Errorf(fault.Invalid, "the header Idempotency-Key takes 1 to %d characters", maxKey)
	}
	sum := sha256.Sum256(r.Body)
	past, again, err := s.Store.Pushed(ctx, from.Tenant, from.Name, r.Key)
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("look for the request's key: %w", err)
	case again && !bytes.Equal(past.Digest, sum[:]):
		return Answer{}, fault.Errorf(fault.Conflict, "the key %q was used at %s with another body; a key stands for one body", r.Key, past.At.UTC().Format(time.RFC3339))
	case again:
		past.Answer.Repeated = true
		return past.Answer, nil
	}
	answer, err := s.take(ctx, from, r.Body)
	if err != nil {
		return Answer{}, err
	}
	s.Heard(from.Tenant, from.Feed())
	now := s.Now()
	if err := s.Store.PutPushed(ctx, Past{from.Tenant, from.Name, r.Key, sum[:], now, answer}, now.Add(-kept)); err != nil {
		return Answer{}, fmt.Errorf("remember the request: %w", err)
	}
	return answer, nil
}

// sender finds out who signed the request. Somebody who is not known takes as long as
// somebody who is.
func (s *Service) sender(r Request) (Sender, error) {
	found := Sender{}
	for _, k := range s.Senders() {
		if k.Name == r.Sender {
			found = k
		}
	}
	given, err := hex.DecodeString(strings.TrimPrefix(r.Signature, "v1="))
	genuine := err == nil && strings.HasPrefix(r.Signature, "v1=")
	signed := false
	for _, ref := range []secret.Ref{found.Secret, found.Old} {
		key, known := "", false
		if ref != "" {
			v, err := ref.Read()
			if err != nil {
				return Sender{}, unusable() // whoever asks has proven nothing yet: where the secret is, is not for them
			}
			if len(v) < MinSecret {
				return Sender{}, unusable()
			}
			key, known = v, true
		}
		want, _ := hex.DecodeString(Sign(key, r.Timestamp, r.Key, r.Body)) // its own text
		if hmac.Equal(want, given) && known {
			signed = true
		}
	}
	if !genuine || !signed {
		return Sender{}, ErrUnknown
	}
	// Only a sender that is known learns how far off its clock is.
	sec, err := strconv.ParseInt(r.Timestamp, 10, 64)
	if err != nil {
		return Sender{}, fault.Errorf(fault.Invalid, "the header Cordon-Timestamp is %.30q; it takes whole seconds since 1970", r.Timestamp)
	}
	if off := s.Now().Sub(time.Unix(sec, 0)); off > window || off < -window {
		return Sender{}, fault.Errorf(fault.Denied, "the request was signed %s away from now; %s is the most. Is a clock wrong, or is this an old request?", off.Round(time.Second), window)
	}
	return found, nil
}

// unusable says that a secret cannot be used, to somebody who may be anybody.
func unusable() error {
	return fault.Errorf(fault.Unavailable, "the sender's secret cannot be used now; on Cordon's side, cordon doctor says why")
}

// take reads the body, takes its records and says what became of each.
func (s *Service) take(ctx context.Context, from Sender, body []byte) (Answer, error) {
	format, records, err := parse(body)
	if err != nil {
		return Answer{}, err
	}
	g, err := s.Gather(ctx, format, from.Tenant)
	if err != nil {
		return Answer{}, err
	}
	var page connector.Page
	keys := make([][]string, len(records)) // of the things each record holds
	for n, raw := range records {
		g.Add(text(raw), fmt.Sprintf("push of %s record %d", from.Name, n))
		p := g.Page()
		for _, v := range p.Rejects {
			keys[n] = append(keys[n], v.Place)
		}
		keys[n] = append(keys[n], places(p.Signals)...)
		keys[n] = append(keys[n], places(p.Accounts)...)
		keys[n] = append(keys[n], places(p.Records)...)
		page.Signals, page.Accounts = append(page.Signals, p.Signals...), append(page.Accounts, p.Accounts...)
		page.Records, page.Rejects = append(page.Records, p.Records...), append(page.Rejects, p.Rejects...)
		page.Facts = append(page.Facts, p.Facts...)
	}
	_, outcomes, err := s.Take(ctx, from.Tenant, from.Feed(), page)
	if err != nil {
		return Answer{}, err
	}
	return answer(keys, outcomes), nil
}

func places[T any](list []T) (out []string) {
	for _, v := range list {
		out = append(out, ingest.PlaceOf(v))
	}
	return out
}

// parse reads a body: {"format": …, "records": […]}. The format of Graph is meant
// when there is none.
func parse(body []byte) (format string, records []json.RawMessage, err error) {
	var b struct {
		Format  string            `json:"format"`
		Records []json.RawMessage `json:"records"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return "", nil, fault.Errorf(fault.Invalid, "the body is not {\"format\": …, \"records\": […]}: %w", err)
	}
	if dec.More() {
		return "", nil, fault.Errorf(fault.Invalid, "something stands behind the body's object")
	}
	if len(b.Records) == 0 || len(b.Records) > maxRecords {
		return "", nil, fault.Errorf(fault.Invalid, "the body holds %d records; 1 to %d are taken", len(b.Records), maxRecords)
	}
	if b.Format == "" {
		b.Format = "graph"
	}
	return b.Format, b.Records, nil
}

// text is a record as its format has it: a line of CEF stands in quotes.
func text(raw json.RawMessage) []byte {
	var s string
	if json.Unmarshal(raw, &s) == nil && len(raw) > 0 && raw[0] == '"' {
		return []byte(s)
	}
	return raw
}

// ranks orders what may become of a record's things: the record's result is the first.
var ranks = []string{"rejected", string(ingest.PutNew), string(ingest.PutUpdated), string(ingest.PutOlder), string(ingest.PutDuplicate)}

// answer gives each record what became of its things, in the order in which they were
// told; what was told nothing of was known.
func answer(keys [][]string, outcomes []ingest.Outcome) Answer {
	told := map[string][]ingest.Outcome{}
	for _, o := range outcomes {
		told[o.Key] = append(told[o.Key], o)
	}
	a := Answer{Read: len(keys), Records: make([]Told, len(keys))}
	for n, list := range keys {
		t := Told{Index: n, Result: string(ingest.PutDuplicate)}
		if len(list) == 0 {
			t.Result, t.Reason = "rejected", "the record holds nothing that Cordon keeps"
		}
		for _, k := range list {
			if len(told[k]) == 0 {
				continue
			}
			o := told[k][0]
			told[k] = told[k][1:]
			word := string(o.Put)
			if o.Reason != "" {
				word = "rejected"
			}
			if rank(word) < rank(t.Result) {
				t.Result, t.Reason = word, o.Reason
			}
		}
		switch t.Result {
		case "rejected":
			a.Rejected++
		case string(ingest.PutNew):
			a.New++
		case string(ingest.PutUpdated):
			a.Updated++
		case string(ingest.PutOlder):
			a.Older++
		default:
			a.Duplicate++
		}
		a.Records[n] = t
	}
	return a
}

func rank(word string) int {
	for n, w := range ranks {
		if w == word {
			return n
		}
	}
	return len(ranks)
}
