// Package notify tells others what happened: signed webhooks, tickets, mail, and
// one-way messages to Teams and Slack. Its outbox is the audit trail: an entry is
// written in the transaction of what it describes and gets the next number of a
// log without gaps, and each receiver has a place in that log. So nothing that
// happened goes untold, nothing that did not happen is told, and after a crash it
// goes on where it stopped; a message may come twice and has the same id then.
//
// Sources: Standard Webhooks 1.0 (signature); Microsoft, "Create incoming webhooks
// with Workflows for Microsoft Teams" and Adaptive Cards 1.4; Slack, "Sending
// messages using incoming webhooks"; RFC 5321, RFC 3207.
package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

// Kind is a kind of receiver.
type Kind string

// The kinds.
const (
	Webhook Kind = "webhook" // every event, signed
	Ticket  Kind = "ticket"  // what a ticket system needs of a case, signed
	Mail    Kind = "mail"
	Teams   Kind = "teams"
	Slack   Kind = "slack"
)

// perCase reports whether people read it: then a case is told once, and not at
// all when nobody needs to act any more.
func (k Kind) perCase() bool { return k == Mail || k == Teams || k == Slack }

// A Receiver is one line of the configuration: who is told what, and how.
type Receiver struct {
	ID     string        `yaml:"id"` // its place in the trail goes by it: another id begins anew
	Kind   Kind          `yaml:"kind"`
	URL    secret.Ref    `yaml:"url"`    // webhook, ticket, teams, slack: the address, which is a secret itself
	Secret secret.Ref    `yaml:"secret"` // webhook, ticket: the signing key, at least 24 characters
	Events []audit.Kind  `yaml:"events"` // empty: all for webhook; for people what waits for a person
	Tenant string        `yaml:"tenant"` // only this tenant's; empty: all
	Settle time.Duration `yaml:"settle"` // people are told this much later, if it still matters; 1m
	SMTP   SMTP          `yaml:"smtp"`   // mail
}

// SMTP is where mail is handed in.
type SMTP struct {
	Address  string     `yaml:"address"`  // HOST:PORT; encrypted by STARTTLS, or from the start on port 465
	User     string     `yaml:"user"`     // empty: without signing in
	Password secret.Ref `yaml:"password"` // of user
	From     string     `yaml:"from"`
	To       []string   `yaml:"to"`
}

// DefaultSettle is how long people are not told, so that what settles itself
// does not wake them.
const DefaultSettle = time.Minute

func (r Receiver) settle() time.Duration {
	switch {
	case !r.Kind.perCase():
		return max(r.Settle, 0)
	case r.Settle == 0:
		return DefaultSettle
	}
	return max(r.Settle, 0)
}

// toPeople are the events of which people hear unless they choose others: those
// after which a person must act.
func toPeople() []audit.Kind {
	return []audit.Kind{
		audit.ApprovalAsked, audit.CampaignAsked, audit.RunHeld, audit.RunRefused, audit.RunPaged, audit.ActionUnproven, audit.ActionHeld, audit.CaseReopened, audit.FeedSilent, audit.StopOn,
	}
}

// Hears reports whether the receiver is told of a case's events of the kind in the
// tenant.
func (r Receiver) Hears(t identity.Tenant, k audit.Kind) bool {
	return r.wants(audit.Entry{Tenant: t, Kind: k, Case: "any"})
}

// wants reports whether the receiver is told of e.
func (r Receiver) wants(e audit.Entry) bool {
	if r.Tenant != "" && e.Tenant != "" && !strings.EqualFold(r.Tenant, string(e.Tenant)) {
		return false
	}
	switch {
	case r.Kind == Ticket:
		_, ok := operation(e.Kind)
		return ok && e.Case != ""
	case len(r.Events) > 0:
		return slices.Contains(r.Events, e.Kind)
	case r.Kind.perCase():
		return slices.Contains(toPeople(), e.Kind) || e.Kind == audit.CampaignMoved && e.Data["state"] == "paused"
	}
	return true
}

var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Check finds every mistake; each is fault.Invalid and begins with the key at
// fault.
func (r Receiver) Check() error {
	var errs []error
	add := func(key, format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, key+": "+format, args...))
	}
	if !idForm.MatchString(r.ID) {
		add("id", "%.70q is not a short name of small letters, digits and dashes", r.ID)
	}
	needs := func(key string, ref secret.Ref, needed bool) {
		switch {
		case needed && ref == "":
			add(key, "is missing")
		case !needed && ref != "":
			add(key, "does not belong to kind %s", r.Kind)
		case needed:
			if err := ref.Check(); err != nil {
				add(key, "%w", err)
			}
		}
	}
	switch r.Kind {
	case Webhook, Ticket, Teams, Slack, Mail:
		needs("url", r.URL, r.Kind != Mail)
		needs("secret", r.Secret, r.Kind == Webhook || r.Kind == Ticket)
	default:
		add("kind", "%.40q is none of webhook, ticket, mail, teams, slack", r.Kind)
	}
	if r.Kind == Ticket && len(r.Events) > 0 {
		add("events", "a ticket hears of its own events")
	}
	for _, e := range r.Events {
		if !strings.Contains(string(e), ".") {
			add("events", "%.60q is not an event such as case.opened", e)
		}
	}
	if r.Settle < 0 || r.Settle > 24*time.Hour {
		add("settle", "%s is not between 0 and 24h", r.Settle)
	}
	if r.Kind == Mail {
		errs = append(errs, r.SMTP.check()...)
	}
	return errors.Join(errs...)
}

func (s SMTP) check() (errs []error) {
	add := func(key, format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, "smtp."+key+": "+format, args...))
	}
	if _, port, err := net.SplitHostPort(s.Address); err != nil || port == "" {
		add("address", "%.80q is not HOST:PORT", s.Address)
	}
	if (s.User == "") != (s.Password == "") {
		add("password", "user and password go together")
	} else if s.Password != "" {
		if err := s.Password.Check(); err != nil {
			add("password", "%w", err)
		}
	}
	for _, a := range append([]string{s.From}, s.To...) {
		if p, err := mail.ParseAddress(a); err != nil || p.Address != a {
			add("to", "%.80q is not a plain mail address", a)
		}
	}
	if len(s.To) == 0 {
		add("to", "is missing")
	}
	return errs
}

// address reads the receiver's URL and refuses one that is not safe to send to.
func (r Receiver) address() (string, error) {
	text, err := r.URL.Read()
	if err != nil {
		return "", fmt.Errorf("url: %w", err)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return "", fault.Errorf(fault.Invalid, "url: what %s holds is not an address", r.URL)
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return text, nil
	}
	return "", fault.Errorf(fault.Invalid, "url: what %s holds is not https", r.URL)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Ready reads what the settings refer to and says why the receiver could not be
// told anything; it contacts nobody. No secret is in the error.
func (r Receiver) Ready() error {
	var errs []error
	if r.Kind != Mail {
		_, err := r.address()
		errs = append(errs, err)
	} else if r.SMTP.User != "" {
		_, err := r.SMTP.Password.Read()
		errs = append(errs, err)
	}
	if r.Secret != "" {
		text, err := r.Secret.Read()
		if err == nil {
			_, err = signingKey(text)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// A Place is how far a receiver has been told of a tenant's trail.
type Place struct {
	Receiver string          `json:"receiver"`
	Tenant   identity.Tenant `json:"tenant"`
	Next     int64           `json:"next"` // index of the first entry that it has not been told of

	Failures int       `json:"failures,omitempty"` // in a row, of the entry at Next
	NotNow   time.Time `json:"notNow,omitzero"`    // not to be tried again before
	Trouble  string    `json:"trouble,omitempty"`  // what the last try said, in words; no secret
	Refused  int       `json:"refused,omitempty"`  // entries given up since the receiver was set up

	Version int64 `json:"version"` // raised with each change by the store; compare-and-set
}

// Told says that a person was told of a case, once an episode.
type Told struct {
	Receiver string
	Case     casefile.ID
	Episode  int // casefile.Case.Reopened
}

// Store keeps places. Implementations pass storetest.
type Store interface {
	// Entries is audit.Store's.
	Entries(ctx context.Context, from int64, limit int) ([]audit.LogEntry, error)
	// Size returns how many entries are in the log.
	Size(ctx context.Context) (int64, error)
	// Place returns fault.NotFound when the receiver has none in the tenant.
	Place(ctx context.Context, receiver string, t identity.Tenant) (Place, error)
	// Put writes the place, and with it who was told of which case; both or
	// nothing. A Version that is not the stored one is fault.Conflict; 0 is new.
	Put(ctx context.Context, p Place, told *Told) (Place, error)
	// WasTold reports whether the receiver was told of the case in the episode.
	WasTold(ctx context.Context, told Told) (bool, error)
	// Case returns fault.NotFound when there is none.
	Case(ctx context.Context, t identity.Tenant, id casefile.ID) (casefile.Case, error)
}
