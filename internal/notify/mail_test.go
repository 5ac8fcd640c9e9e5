package notify_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/notify"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
)

// A postOffice is a mail server on loopback that speaks as much SMTP as it takes.
type postOffice struct {
	t       *testing.T
	tls     *tls.Config // nil: it offers no encryption
	refuses string      // a command it answers with 550

	mu      sync.Mutex
	letters []string
	clear   []string // commands that came unencrypted
	users   []string
}

func (p *postOffice) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p.session(c)
	}
}

func (p *postOffice) session(c net.Conn) {
	defer func() { c.Close() }()
	r := bufio.NewReader(c)
	say := func(text string) { fmt.Fprintf(c, "%s\r\n", text) }
	encrypted := false
	say("220 mail.test ESMTP")
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			return
		}
		text = strings.TrimRight(text, "\r\n")
		verb := strings.ToUpper(strings.Fields(text + " -")[0])
		if !encrypted {
			p.mu.Lock()
			p.clear = append(p.clear, verb)
			p.mu.Unlock()
		}
		switch {
		case verb == p.refuses:
			say("550 no")
		case verb == "EHLO" && p.tls != nil && !encrypted:
			say("250-mail.test")
			say("250 STARTTLS")
		case verb == "EHLO":
			say("250-mail.test")
			say("250 AUTH PLAIN")
		case verb == "STARTTLS":
			say("220 go on")
			tc := tls.Server(c, p.tls)
			c, r, encrypted = tc, bufio.NewReader(tc), true
		case verb == "AUTH":
			p.mu.Lock()
			p.users = append(p.users, text)
			p.mu.Unlock()
			say("235 in")
		case verb == "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil || l == ".\r\n" {
					break
				}
				b.WriteString(l)
			}
			p.mu.Lock()
			p.letters = append(p.letters, b.String())
			p.mu.Unlock()
			say("250 taken")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func open(t *testing.T, p *postOffice) (address string, roots *x509.CertPool) {
	t.Helper()
	p.t = t
	ca, err := graphsim.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if p.tls != nil {
		p.tls = ca.ServerConfig()
	}
	roots = ca.Pool()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); p.serve(l) }()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), roots
}

// tellByMail writes one entry of a case and passes it on.
func tellByMail(t *testing.T, s notify.SMTP, roots *x509.CertPool) (*house, notify.Place) {
	t.Helper()
	h := newHouse(t, notify.Receiver{ID: "people", Kind: notify.Mail, SMTP: s})
	h.pump.Roots, h.pump.Timeout = roots, 20*time.Second
	h.put(file("cas_1", casefile.Waiting))
	e := entry(audit.ApprovalAsked, "cas_1")
	e.At = e.At.Add(-time.Hour)
	h.write(e)
	h.pass(t)
	p, err := h.Place(t.Context(), "people", tenant)
	if err != nil {
		t.Fatal(err)
	}
	return h, p
}

func TestMail(t *testing.T) {
	t.Setenv("NOTIFY_TEST_PASSWORD", "mail-password")
	p := &postOffice{tls: &tls.Config{}}
	address, roots := open(t, p)
	h, place := tellByMail(t, notify.SMTP{Address: address, User: "cordon", Password: "env:NOTIFY_TEST_PASSWORD", From: "cordon@corp.example", To: []string{"a@corp.example", "b@corp.example"}}, roots)
	if len(p.letters) != 1 || place.Next != 1 || place.Trouble != "" {
		t.Fatalf("%d letters, place %+v, log %s", len(p.letters), place, h.log.String())
	}
	m, err := mail.ReadMessage(strings.NewReader(p.letters[0]))
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("Bcc") != "" || len(m.Header) != 9 {
		t.Errorf("a name became a header: %v", m.Header)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || !strings.Contains(subject, "Ann") || strings.ContainsAny(subject, "\r\n\u202e") {
		t.Errorf("subject %q, %v", subject, err)
	}
	text, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, m.Body))
	if err != nil || !strings.Contains(string(text), "Leaked credentials") || !strings.Contains(string(text), "https://cordon.example/cases/cas_1") {
		t.Errorf("text %q, %v", text, err)
	}
	for _, verb := range p.clear {
		if verb != "EHLO" && verb != "STARTTLS" {
			t.Errorf("%s came in clear", verb)
		}
	}
	if want := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00cordon\x00mail-password")); len(p.users) != 1 || p.users[0] != want {
		t.Errorf("signed in as %v", p.users)
	}
}

// A server whose certificate nobody vouches for gets nothing, and a refused text is
// given up while a refused recipient waits for somebody to put it right.
func TestMailThatDoesNotGo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		office  *postOffice
		foreign bool // its certificate is not ours
		next    int64
		trouble string
	}{
		"unknown certificate": {&postOffice{tls: &tls.Config{}}, true, 0, "encryption"},
		"recipient refused":   {&postOffice{tls: &tls.Config{}, refuses: "RCPT"}, false, 0, "refuses the recipient with 550"},
		"text refused":        {&postOffice{tls: &tls.Config{}, refuses: "DATA"}, false, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, roots := open(t, c.office)
			if c.foreign {
				roots = x509.NewCertPool()
			}
			_, place := tellByMail(t, notify.SMTP{Address: address, From: "cordon@corp.example", To: []string{"a@corp.example"}}, roots)
			if place.Next != c.next || !strings.Contains(place.Trouble, c.trouble) || len(c.office.letters) != 0 {
				t.Errorf("place %+v, %d letters", place, len(c.office.letters))
			}
		})
	}
}
