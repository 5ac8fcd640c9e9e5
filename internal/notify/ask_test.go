package notify_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/mail"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/notify"
	"github.com/seed-f47efad2/cordon/internal/question"
)

const askLink = "https://ask.example/ask/qst_1/the-secret-of-the-link"

func aQuestion(who question.Who) question.Message {
	at := time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)
	return question.Message{
		Question: question.Question{Tenant: tenant, ID: "qst_1", Who: who, Name: hostile, AskedAt: at, ExpiresAt: at.Add(time.Hour),
			Facts: []question.Fact{{What: "Unfamiliar sign-in", At: at, App: "see evil.example now", Device: "https://evil.example", Place: hostile, IP: "198.51.100.7"}}},
		To: question.Recipient{Name: "Kim", Mail: "kim@corp.example", ObjectID: "o1"}, About: question.Recipient{Name: hostile}, Link: askLink,
	}
}

// Whatever carries it, the question has one link, ours, and no word from outside makes
// another.
func TestAsk(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		for _, c := range []notify.Channel{
			{ID: "sms", Kind: notify.Webhook, Reaches: question.ReachPerson, URL: "env:NOTIFY_TEST_URL", Secret: "env:NOTIFY_TEST_KEY"},
			{ID: "chat", Kind: notify.Teams, Reaches: question.ReachAccount, URL: "env:NOTIFY_TEST_URL"},
		} {
			if err := c.Check(); err != nil {
				t.Error(err)
			}
			if err := h.pump.Ask(t.Context(), c, aQuestion(question.Person)); err != nil {
				t.Error(err)
			}
		}
		if h.received() != 2 {
			t.Fatalf("%d requests", h.received())
		}
		var body notify.Asked
		if err := json.Unmarshal(h.far.bodies[0], &body); err != nil || body.Link != askLink || body.To.ObjectID != "o1" || len(body.Facts) != 1 {
			t.Errorf("%+v, %v", body, err)
		}
		if id, err := notify.Verify(key, h.far.got[0].Header, h.far.bodies[0], time.Now()); err != nil || id != string(tenant)+"-qst_1" {
			t.Errorf("signed as %q, %v", id, err)
		}
		for n, text := range []string{body.Text, string(h.far.bodies[1])} {
			if strings.Contains(text, "evil.example") || strings.Count(text, "https://") > 1+n { // the card names its schema with http
				t.Errorf("a word became a link: %s", text)
			}
		}
		if !strings.Contains(string(h.far.bodies[1]), `"Action.OpenUrl"`) || !strings.Contains(string(h.far.bodies[1]), askLink) {
			t.Errorf("the card: %s", h.far.bodies[1])
		}
		h.far.answer = nil
		bad := notify.Channel{ID: "x", Kind: notify.Mail, Reaches: question.ReachManager, SMTP: notify.SMTP{Address: "mail.example:587", From: "a@corp.example"}}
		m := aQuestion(question.Manager)
		m.To.Mail = "Kim <kim@corp.example>\r\nBcc: x@evil.example"
		if err := h.pump.Ask(t.Context(), bad, m); !errors.Is(err, fault.Invalid) || strings.Contains(err.Error(), "secret-of") {
			t.Errorf("a mail address that is none: %v", err)
		}
	})
}

func TestAskByMail(t *testing.T) {
	t.Parallel()
	p := &postOffice{tls: &tls.Config{}}
	address, roots := open(t, p)
	h := newHouse(t)
	h.pump.Roots, h.pump.Timeout = roots, 20*time.Second
	c := notify.Channel{ID: "boss", Kind: notify.Mail, Reaches: question.ReachManager, SMTP: notify.SMTP{Address: address, From: "security@corp.example"}}
	if err := h.pump.Ask(t.Context(), c, aQuestion(question.Manager)); err != nil || len(p.letters) != 1 {
		t.Fatalf("%d letters, %v", len(p.letters), err)
	}
	m, err := mail.ReadMessage(strings.NewReader(p.letters[0]))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, m.Body))
	if err != nil || m.Header.Get("To") != "kim@corp.example" || m.Header.Get("Bcc") != "" || strings.Count(string(text), "://") != 1 || !strings.Contains(string(text), askLink) || strings.Contains(string(text), "evil.example") {
		t.Errorf("%v %s, %v", m.Header, text, err)
	}
}
