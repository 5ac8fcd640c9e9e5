package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
)

// A message is one thing to tell.
type message struct {
	id    string // the same for every try
	entry audit.Entry
	seq   int64
	file  *casefile.Case // nil: it is about none
	link  string         // to the case in the console; "" when there is no console address
}

// id names an entry for ever: tenant and number in the trail.
func messageID(e audit.Entry, seq int64) string {
	return fmt.Sprintf("%s-%d", cmp.Or(string(e.Tenant), "all"), seq)
}

// An Event is the body of a webhook.
type Event struct {
	ID       string         `json:"id"`
	Sequence int64          `json:"sequence"` // rises; numbers that are missing were not for this receiver
	Type     audit.Kind     `json:"type"`
	At       time.Time      `json:"timestamp"`
	Tenant   string         `json:"tenant"`
	Actor    string         `json:"actor"`
	Text     string         `json:"text"` // one sentence for a person
	Identity string         `json:"identity,omitempty"`
	Case     string         `json:"case,omitempty"`
	Run      string         `json:"run,omitempty"`
	Action   string         `json:"action,omitempty"`
	Approval string         `json:"approval,omitempty"`
	Link     string         `json:"link,omitempty"`
	Data     map[string]any `json:"data,omitempty"`
}

func (m message) event() Event {
	e := m.entry
	return Event{
		ID: m.id, Sequence: m.seq, Type: e.Kind, At: e.At, Tenant: string(e.Tenant), Actor: string(e.Actor), Text: e.Text,
		Identity: e.Identity, Case: e.Case, Run: e.Run, Action: e.Action, Approval: e.Approval, Link: m.link, Data: e.Data,
	}
}

// A TicketEvent is the body of a ticket's webhook: what a service desk needs to
// know of who is blocked and why. Key is the ticket's for ever; Sequence orders
// updates, and one that comes late or twice is known by it.
type TicketEvent struct {
	ID        string    `json:"id"`
	Sequence  int64     `json:"sequence"`
	Operation string    `json:"operation"` // create, update or close; an update of an unknown key creates
	Key       string    `json:"key"`
	At        time.Time `json:"timestamp"`
	Tenant    string    `json:"tenant"`
	Title     string    `json:"title"`
	Text      string    `json:"text"` // what happened, for a comment
	Who       string    `json:"who"`
	Status    string    `json:"status"` // the case's: open, acting, waiting, contained, closed
	Waits     string    `json:"waits,omitempty"`
	Level     string    `json:"level"`
	Reason    string    `json:"reason"`
	Verdict   string    `json:"verdict,omitempty"`
	Link      string    `json:"link,omitempty"`
}

// operation is what an event means for a case's ticket.
func operation(k audit.Kind) (string, bool) {
	switch k {
	case audit.CaseOpened:
		return "create", true
	case audit.CaseReopened, audit.CaseContained, audit.RunHeld, audit.RunRefused, audit.RunPaged, audit.ApprovalAsked, audit.ApprovalExpired, audit.ActionVerified, audit.ActionUnproven, audit.ActionUndone:
		return "update", true
	case audit.VerdictGiven:
		return "close", true
	}
	return "", false
}

func (m message) ticket() TicketEvent {
	op, _ := operation(m.entry.Kind)
	t := TicketEvent{
		ID: m.id, Sequence: m.seq, Operation: op, Key: m.entry.Case, At: m.entry.At, Tenant: string(m.entry.Tenant), Title: m.title(), Text: m.entry.Text, Link: m.link,
	}
	if c := m.file; c != nil {
		t.Who, t.Status, t.Waits, t.Level, t.Reason = c.Name, string(c.Status), c.Waits, string(c.Level), c.Reason
		if c.Verdict != nil {
			t.Verdict = string(c.Verdict.Word)
		}
	}
	return t
}

// title is one line; names in it come from outside.
func (m message) title() string {
	c := m.file
	if c == nil {
		return oneLine("Cordon: "+m.entry.Text, 120)
	}
	return oneLine(fmt.Sprintf("Cordon: %s at %s risk, %s", c.Name, c.Level, c.Status), 120)
}

// lines are what people read.
func (m message) lines() []string {
	out := []string{oneLine(m.entry.Text, 400)}
	if c := m.file; c != nil {
		out = append(out, oneLine("Why: "+c.Reason, 400))
		if c.Waits != "" {
			out = append(out, oneLine("Waits for: "+c.Waits, 400))
		}
	}
	where := "in all tenants"
	if m.entry.Tenant != "" {
		where = "in tenant " + string(m.entry.Tenant)
	}
	return append(out, "At "+m.entry.At.UTC().Format("2006-01-02 15:04:05")+" UTC "+where)
}

// oneLine cuts text to a line of at most n bytes. Marks that turn the direction of
// text around go: they can make a name read as another.
func oneLine(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0:
			return ' '
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x2028, r == 0x2029, r == 0xfeff:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if s = strings.Join(strings.Fields(s), " "); len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// A note is what people read, whatever carries it.
type note struct {
	id    string // the same for every try
	title string
	lines []string
	link  string // "" when there is none
	open  string // what opening the link is called
}

// note is the message for people.
func (m message) note() note {
	return note{id: m.id, title: m.title(), lines: m.lines(), link: m.link, open: "Open the case"}
}

// card is a Teams message: an Adaptive Card of plain runs of text, in which no
// name is read as a link or a format.
func (m note) card() []byte {
	type o = map[string]any
	run := func(text string, more o) o {
		r := o{"type": "TextRun", "text": text}
		for k, v := range more {
			r[k] = v
		}
		return o{"type": "RichTextBlock", "inlines": []any{r}}
	}
	body := []any{run(m.title, o{"weight": "Bolder", "size": "Medium"})}
	for _, l := range m.lines {
		body = append(body, run(l, nil))
	}
	card := o{"type": "AdaptiveCard", "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "version": "1.4", "body": body}
	if m.link != "" {
		card["actions"] = []any{o{"type": "Action.OpenUrl", "title": m.open, "url": m.link}}
	}
	return encode(o{"type": "message", "attachments": []any{o{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil, "content": card}}})
}

// slack is a Slack message of plain text blocks.
func (m note) slack() []byte {
	type o = map[string]any
	text := strings.Join(m.lines, "\n")
	blocks := []any{
		o{"type": "header", "text": o{"type": "plain_text", "text": oneLine(m.title, 140), "emoji": false}},
		o{"type": "section", "text": o{"type": "plain_text", "text": text, "emoji": false}},
	}
	if m.link != "" {
		blocks = append(blocks, o{"type": "actions", "elements": []any{o{"type": "button", "text": o{"type": "plain_text", "text": m.open}, "url": m.link}}})
	}
	// text is shown in notifications, where Slack reads marks: its three are escaped.
	return encode(o{"text": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(m.title), "blocks": blocks, "unfurl_links": false})
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // strings, numbers, and what came out of JSON
		panic(fmt.Sprintf("notify: encode a message: %v", err))
	}
	return b
}
