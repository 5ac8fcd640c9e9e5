package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

// A Channel is a way of asking people whether it was them: one line of the
// configuration. Unlike a Receiver it is given a link that whoever has it may answer
// with.
type Channel struct {
	ID      string         `yaml:"id"`
	Kind    Kind           `yaml:"kind"`    // webhook, mail or teams
	Reaches question.Reach `yaml:"reaches"` // account, person or manager
	URL     secret.Ref     `yaml:"url"`     // webhook, teams
	Secret  secret.Ref     `yaml:"secret"`  // webhook: the signing key
	SMTP    SMTP           `yaml:"smtp"`    // mail; to only when it reaches the person
}

func (c Channel) receiver() Receiver {
	return Receiver{ID: c.ID, Kind: c.Kind, URL: c.URL, Secret: c.Secret, SMTP: c.SMTP}
}

// Check finds every mistake; each is fault.Invalid and begins with the key at fault.
func (c Channel) Check() error {
	var errs []error
	add := func(key, format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, key+": "+format, args...))
	}
	r := c.receiver()
	switch c.Reaches {
	case question.ReachAccount, question.ReachPerson, question.ReachManager:
	default:
		add("reaches", "%.40q is none of account, person, manager", c.Reaches)
	}
	switch c.Kind {
	case Webhook, Teams:
	case Mail:
		switch named := len(c.SMTP.To) > 0; {
		case c.Reaches == question.ReachPerson && !named:
			add("smtp.to", "is missing: mail reaches a person beside the account only through somebody who passes it on, such as a service desk; the account's own mail is reaches: account")
		case c.Reaches != question.ReachPerson && named:
			add("smtp.to", "does not belong to reaches: %s: the directory names the address", c.Reaches)
		case !named:
			r.SMTP.To = []string{c.SMTP.From} // Receiver.Check wants one
		}
	default:
		add("kind", "%.40q is none of webhook, mail, teams", c.Kind)
		return errors.Join(errs...)
	}
	if err := r.Check(); err != nil {
		errs = append(errs, unjoin(err)...)
	}
	return errors.Join(errs...)
}

// Ready is Receiver.Ready's.
func (c Channel) Ready() error { return c.receiver().Ready() }

// An Asked is the body of a question's webhook.
type Asked struct {
	ID        string             `json:"id"` // the same for every try
	Type      string             `json:"type"`
	At        time.Time          `json:"timestamp"`
	Tenant    string             `json:"tenant"`
	Question  string             `json:"question"`
	Who       question.Who       `json:"who"`
	To        question.Recipient `json:"to"`
	About     question.Recipient `json:"about"`
	Text      string             `json:"text"` // what to say, a line each
	Facts     []question.Fact    `json:"facts"`
	Link      string             `json:"link"` // whoever opens it may answer: pass it on to nobody else
	ExpiresAt time.Time          `json:"expiresAt"`
}

// Ask gives a question to a channel. An error says whether another try can help:
// fault.Unavailable, or fault.Invalid when it cannot. It holds nothing of the link.
func (p *Pump) Ask(ctx context.Context, c Channel, m question.Message) error {
	q := m.Question
	n := note{id: string(q.Tenant) + "-" + string(q.ID), link: m.Link, open: "Answer"}
	n.title, n.lines = wording(m)
	switch c.Kind {
	case Webhook:
		body, err := json.Marshal(Asked{
			ID: n.id, Type: "question", At: q.AskedAt, Tenant: string(q.Tenant), Question: string(q.ID), Who: q.Who, To: m.To, About: m.About,
			Text: strings.Join(n.lines, "\n"), Facts: q.Facts, Link: m.Link, ExpiresAt: q.ExpiresAt,
		})
		if err != nil {
			return fault.Errorf(fault.Invalid, "the question cannot be written")
		}
		return p.post(ctx, c.receiver(), n.id, body)
	case Teams:
		return p.post(ctx, c.receiver(), n.id, n.card())
	case Mail:
		s := c.SMTP
		if c.Reaches != question.ReachPerson {
			if a, err := mail.ParseAddress(m.To.Mail); err != nil || a.Address != m.To.Mail {
				return fault.Errorf(fault.Invalid, "the directory names no mail address of %s", m.To.Name)
			}
			s.To = []string{m.To.Mail}
		}
		return p.mail(ctx, s, n)
	}
	return fault.Errorf(fault.Invalid, "a channel of kind %q asks nobody", c.Kind)
}

// wording is what is said. Names come from outside.
func wording(m question.Message) (title string, lines []string) {
	q := m.Question
	name := unlinked(oneLine(m.About.Name, 120))
	title = oneLine("Was this you? A question from your security team", 120)
	first := "Your security team noticed something about your account and asks whether it was you."
	if q.Who == question.Manager {
		title = oneLine("Was this "+name+"? A question from your security team", 160)
		first = fmt.Sprintf("Your security team noticed something about the account of %s and asks whether it was them. Please ask them in person or by telephone.", name)
	}
	lines = []string{first}
	if m.To.Name != m.About.Name || q.Who == question.Person {
		lines = append(lines, "For: "+unlinked(oneLine(m.To.Name, 120)))
	}
	for _, f := range q.Facts {
		lines = append(lines, oneLine(factLine(f), 400))
	}
	return title, append(lines,
		"Answer on the page behind the link by "+q.ExpiresAt.UTC().Format("2 January 2006, 15:04 UTC")+". It works once, asks for no password, and is for you alone.")
}

// A word with a point in it, or what looks like an address: programs that show messages
// make links of them, and the words come from whoever signed in.
var looksLikeLink = regexp.MustCompile(`(?i)://|([\p{L}])\.([\p{L}])|@`)

func unlinked(s string) string { return looksLikeLink.ReplaceAllString(s, "$1 $2") }

func factLine(f question.Fact) string {
	out := unlinked(f.What)
	if !f.At.IsZero() {
		out += ", " + f.At.UTC().Format("2 January 2006, 15:04 UTC")
	}
	for _, part := range []struct{ what, text string }{{"application", f.App}, {"place", f.Place}, {"address", f.IP}} { // the device is what it calls itself
		if part.text != "" {
			out += ", " + part.what + " " + unlinked(part.text)
		}
	}
	return out
}

// unjoin returns the mistakes that Receiver.Check joined.
func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}
