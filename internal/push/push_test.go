package push_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/push"
	"github.com/seed-f47efad2/cordon/internal/secret"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

const (
	key = "0123456789abcdef0123456789abcdef"
	old = "fedcba9876543210fedcba9876543210"
)

var now = time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)

// memory is a Store and all that a Service needs besides.
type memory struct {
	past  map[string]push.Past
	pages []connector.Page
	heard int
	fail  error
}

func (m *memory) Pushed(_ context.Context, t identity.Tenant, sender, key string) (push.Past, bool, error) {
	p, ok := m.past[string(t)+"/"+sender+"/"+key]
	return p, ok, nil
}

func (m *memory) PutPushed(_ context.Context, p push.Past, _ time.Time) error {
	m.past[string(p.Tenant)+"/"+p.Sender+"/"+p.Key] = p
	return nil
}

// lines gathers records that are {"id": …, "weak": …}, and rejects what is none.
type lines struct{ page connector.Page }

func (l *lines) Add(raw []byte, place string) {
	var o struct{ ID string }
	if json.Unmarshal(raw, &o) != nil || o.ID == "" {
		l.page.Rejects = append(l.page.Rejects, connector.Reject{Place: place, Reason: "no id", Raw: raw})
		return
	}
	l.page.Signals = append(l.page.Signals, signal.Signal{ExternalID: o.ID})
}

func (l *lines) Page() connector.Page {
	p := l.page
	l.page = connector.Page{}
	return p
}

func (m *memory) take(_ context.Context, _ identity.Tenant, _ connector.Name, p connector.Page) (ingest.Result, []ingest.Outcome, error) {
	if m.fail != nil {
		return ingest.Result{}, nil, m.fail
	}
	m.pages = append(m.pages, p)
	var out []ingest.Outcome
	for _, r := range p.Rejects {
		out = append(out, ingest.Outcome{Key: r.Place, Reason: r.Reason})
	}
	for _, s := range p.Signals {
		o := ingest.Outcome{Key: ingest.PlaceOf(s), Put: ingest.PutNew}
		switch s.ExternalID {
		case "weak":
			o.Put, o.Reason = "", "names no strong identifier"
		case "known":
			continue
		}
		out = append(out, o)
	}
	return ingest.Result{}, out, nil
}

func service(t testing.TB) (*push.Service, *memory) {
	t.Helper()
	file := func(name, text string) secret.Ref {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return secret.Ref("file:" + path)
	}
	m := &memory{past: map[string]push.Past{}}
	senders := []push.Sender{{Name: "siem", Tenant: "t1", Secret: file("now", key), Old: file("old", old)}, {Name: "short", Tenant: "t1", Secret: file("short", "abc")}}
	return &push.Service{
		Senders: func() []push.Sender { return senders }, Store: m, Take: m.take, Now: func() time.Time { return now },
		Heard: func(identity.Tenant, connector.Name) { m.heard++ },
		Gather: func(_ context.Context, format string, _ identity.Tenant) (push.Gatherer, error) {
			if format != "graph" && format != "cef" {
				return nil, fault.Errorf(fault.Invalid, "no format %s", format)
			}
			return &lines{}, nil
		},
	}, m
}

func request(body string) push.Request {
	r := push.Request{Sender: "siem", Key: "k1", Timestamp: strconv.FormatInt(now.Unix(), 10), Body: []byte(body)}
	r.Signature = "v1=" + push.Sign(key, r.Timestamp, r.Key, r.Body)
	return r
}

func TestEachRecordIsAnswered(t *testing.T) {
	t.Parallel()
	s, m := service(t)
	r := request(`{"records":[{"id":"a"},{"id":"weak"},7,{"id":"known"},{"id":"b"}]}`)
	got, err := s.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	want := push.Answer{Read: 5, New: 2, Duplicate: 1, Rejected: 2, Records: []push.Told{
		{0, "new", ""}, {1, "rejected", "names no strong identifier"}, {2, "rejected", "no id"}, {3, "duplicate", ""}, {4, "new", ""},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	// The same request again, whenever: the same answer, and nothing is taken.
	got, err = s.Do(t.Context(), r)
	if want.Repeated = true; err != nil || !cmp.Equal(want, got) || len(m.pages) != 1 || m.heard != 1 {
		t.Errorf("again: %+v, %v; %d pages", got, err, len(m.pages))
	}
	other := request(`{"records":[{"id":"c"}]}`)
	if _, err := s.Do(t.Context(), other); !errors.Is(err, fault.Conflict) || len(m.pages) != 1 {
		t.Errorf("the key with another body: %v", err)
	}
}

func TestOnlyKnownSendersAreHeard(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*push.Request)
		want   error
	}{
		"as it should be":     {func(*push.Request) {}, nil},
		"the secret before":   {func(r *push.Request) { r.Signature = "v1=" + push.Sign(old, r.Timestamp, r.Key, r.Body) }, nil},
		"another secret":      {func(r *push.Request) { r.Signature = "v1=" + push.Sign("x"+key, r.Timestamp, r.Key, r.Body) }, push.ErrUnknown},
		"no secret at all":    {func(r *push.Request) { r.Sender = "x"; r.Signature = "v1=" + push.Sign("", r.Timestamp, r.Key, r.Body) }, push.ErrUnknown},
		"another sender":      {func(r *push.Request) { r.Sender = "soar" }, push.ErrUnknown},
		"no sender":           {func(r *push.Request) { r.Sender = "" }, push.ErrUnknown},
		"no signature":        {func(r *push.Request) { r.Signature = "" }, push.ErrUnknown},
		"no version":          {func(r *push.Request) { r.Signature = r.Signature[3:] }, push.ErrUnknown},
		"not hexadecimal":     {func(r *push.Request) { r.Signature = "v1=xyz" }, push.ErrUnknown},
		"another body":        {func(r *push.Request) { r.Body = append(r.Body, ' ') }, push.ErrUnknown},
		"another key":         {func(r *push.Request) { r.Key = "k2" }, push.ErrUnknown},
		"another time":        {func(r *push.Request) { r.Timestamp += "0" }, push.ErrUnknown},
		"too short a secret":  {func(r *push.Request) { r.Sender = "short" }, fault.Unavailable},
		"an old request":      {at(-6 * time.Minute), fault.Denied},
		"from the future":     {at(6 * time.Minute), fault.Denied},
		"a clock a bit off":   {at(-4 * time.Minute), nil},
		"a time that is none": {func(r *push.Request) { r.Timestamp = "now"; sign(r) }, fault.Invalid},
		"no key":              {func(r *push.Request) { r.Key = ""; sign(r) }, fault.Invalid},
		"too long a key":      {func(r *push.Request) { r.Key = strings.Repeat("k", 300); sign(r) }, fault.Invalid},
	} {
		s, m := service(t)
		r := request(`{"records":[{"id":"a"}]}`)
		c.change(&r)
		_, err := s.Do(t.Context(), r)
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if (err == nil) != (len(m.pages) == 1) {
			t.Errorf("%s: %d pages were taken", name, len(m.pages))
		}
		if err != nil && strings.Contains(err.Error(), key) {
			t.Errorf("%s tells the secret: %v", name, err)
		}
	}
}

// Whoever has not proven who they are learns nothing of where secrets are kept.
func TestAnUnreadableSecretTellsNothing(t *testing.T) {
	t.Parallel()
	s, _ := service(t)
	s.Senders = func() []push.Sender {
		return []push.Sender{{Name: "siem", Tenant: "t1", Secret: "file:/nowhere/of-the-sender"}}
	}
	_, err := s.Do(t.Context(), request(`{"records":[{"id":"a"}]}`))
	if !errors.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("%v", err)
	}
}

func sign(r *push.Request) { r.Signature = "v1=" + push.Sign(key, r.Timestamp, r.Key, r.Body) }

func at(off time.Duration) func(*push.Request) {
	return func(r *push.Request) {
		r.Timestamp = strconv.FormatInt(now.Add(off).Unix(), 10)
		sign(r)
	}
}

func TestBodiesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"", "[]", "{}", `{"records":[]}`, `{"records":{}}`, `{"record":[1]}`, `{"records":[1]} x`, `{"format":"yaml","records":[1]}`,
		`{"records":[` + strings.Repeat("1,", 500) + `1]}`,
	} {
		s, m := service(t)
		if _, err := s.Do(t.Context(), request(body)); !errors.Is(err, fault.Invalid) || len(m.pages) > 0 || len(m.past) > 0 {
			t.Errorf("%.40s: %v", body, err)
		}
	}
}

// What could not be stored is not remembered as answered: the next attempt takes it.
func TestAFailureIsTriedAgain(t *testing.T) {
	t.Parallel()
	s, m := service(t)
	m.fail = fault.Errorf(fault.Unavailable, "the store is away")
	r := request(`{"format":"cef","records":["a line"]}`)
	if _, err := s.Do(t.Context(), r); !errors.Is(err, fault.Unavailable) || len(m.past) > 0 || m.heard > 0 {
		t.Fatalf("%v", err)
	}
	m.fail = nil
	if a, err := s.Do(t.Context(), r); err != nil || a.Repeated || a.Read != 1 || !bytes.Equal(m.pages[0].Rejects[0].Raw, []byte("a line")) {
		t.Errorf("%+v, %v", a, err)
	}
}

func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"records":[{"id":"a"},{"id":"weak"},7]}`))
	f.Add([]byte(`{"format":"cef","records":["x"]}`))
	s, m := service(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		clear(m.past)
		r := request(string(b))
		a, err := s.Do(t.Context(), r)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("%v", err)
			}
			return
		}
		if a.Read != len(a.Records) || a.Read != a.New+a.Updated+a.Duplicate+a.Older+a.Rejected {
			t.Errorf("the sums are not right: %+v", a)
		}
	})
}
