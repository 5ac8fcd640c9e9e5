package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// letter is the note as mail: plain text, encoded so that no name in it can
// begin a header or end the text.
func (m note) letter(s SMTP, at time.Time) []byte {
	var b bytes.Buffer
	head := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	head("From", s.From)
	head("To", strings.Join(s.To, ", "))
	head("Subject", mime.QEncoding.Encode("utf-8", m.title))
	head("Date", at.UTC().Format(time.RFC1123Z))
	_, domain, _ := strings.Cut(s.From, "@")
	head("Message-ID", "<"+m.id+"@"+domain+">")
	head("Auto-Submitted", "auto-generated")
	head("MIME-Version", "1.0")
	head("Content-Type", "text/plain; charset=utf-8")
	head("Content-Transfer-Encoding", "base64")
	b.WriteString("\r\n")
	text := strings.Join(m.lines, "\r\n")
	if m.link != "" {
		text += "\r\n\r\n" + m.link
	}
	enc := base64.StdEncoding.EncodeToString([]byte(text + "\r\n"))
	for len(enc) > 76 {
		b.WriteString(enc[:76] + "\r\n")
		enc = enc[76:]
	}
	b.WriteString(enc + "\r\n")
	return b.Bytes()
}

// mail hands the note in: never in clear, except to this machine itself.
func (p *Pump) mail(ctx context.Context, s SMTP, m note) error {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return notYet(err)
	}
	var password string
	if s.User != "" {
		if password, err = s.Password.Read(); err != nil {
			return notYet(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout())
	defer cancel()
	conn, err := p.dial(ctx, s.Address)
	if err != nil {
		return fault.Errorf(fault.Unavailable, "mail: no connection: %w", err)
	}
	defer conn.Close()
	if until, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(until); err != nil {
			return fault.Errorf(fault.Unavailable, "mail: %w", err)
		}
	}
	conf := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: p.Roots}
	if port == "465" {
		conn = tls.Client(conn, conf)
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return mailFault("greeting", err)
	}
	defer c.Close()
	if ok, _ := c.Extension("STARTTLS"); ok && port != "465" {
		if err := c.StartTLS(conf); err != nil {
			return fault.Errorf(fault.Unavailable, "mail: encryption: %w", err)
		}
	} else if port != "465" && !loopback(host) {
		return fault.Errorf(fault.Unavailable, "mail: the server offers no encryption, and nothing is sent without")
	}
	if s.User != "" {
		if err := c.Auth(smtp.PlainAuth("", s.User, password, host)); err != nil {
			// The server's words may quote what it was told.
			return fault.Errorf(fault.Unavailable, "mail: the server does not let %s in", s.User)
		}
	}
	return hand(c, s, m.letter(s, p.Now()))
}

func hand(c *smtp.Client, s SMTP, letter []byte) error {
	if err := c.Mail(s.From); err != nil {
		return mailFault("sender", err)
	}
	for _, to := range s.To {
		if err := c.Rcpt(to); err != nil {
			return mailFault("recipient", err)
		}
	}
	w, err := c.Data()
	if err == nil {
		if _, err = w.Write(letter); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		return mailFault("text", err)
	}
	_ = c.Quit() // it is handed in
	return nil
}

// mailFault tells what may be tried again: everything but a final refusal of the
// text itself.
func mailFault(part string, err error) error {
	var t *textproto.Error
	if errors.As(err, &t) {
		kind := fault.Unavailable
		if part == "text" && t.Code >= 500 {
			kind = fault.Invalid
		}
		return fault.Errorf(kind, "mail: the server refuses the %s with %d", part, t.Code)
	}
	return fault.Errorf(fault.Unavailable, "mail: %s: %w", part, err)
}
