package cef

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// source is what rejects say they come from.
const source signal.Source = "syslog.cef"

// A Decoder gathers lines into pages, for one tenant and one goroutine.
type Decoder struct {
	tenant identity.Tenant
	now    func() time.Time
	page   connector.Page
}

// NewDecoder returns a Decoder. now dates what does not say when it happened.
func NewDecoder(t identity.Tenant, now func() time.Time) *Decoder {
	return &Decoder{tenant: t, now: now}
}

// Len returns how many lines were added since the last Page.
func (d *Decoder) Len() int { return len(d.page.Records) + len(d.page.Rejects) }

// Page returns what was added and begins anew.
func (d *Decoder) Page() connector.Page {
	p := d.page
	d.page = connector.Page{}
	return p
}

// Add takes one line. One that is none becomes a reject with the place.
func (d *Decoder) Add(text []byte, place string) {
	l, reason := Parse(string(text))
	if reason != "" {
		d.Reject(text, place, reason)
		return
	}
	d.page.Records = append(d.page.Records, l.record(d.tenant, text, d.now))
}

// Reject keeps a line that cannot be used, with its place and the reason.
func (d *Decoder) Reject(text []byte, place, reason string) {
	d.page.Rejects = append(d.page.Rejects, connector.Reject{Source: source, Place: place, Reason: reason, Raw: append([]byte(nil), text...)})
}

// record is what the line says. An alert that is sent again, as an update, is the same
// record, of which the later line counts; so is a health issue.
func (l Line) record(t identity.Tenant, text []byte, now func() time.Time) record.Record {
	x := l.Extension
	r := record.Record{
		Tenant: t, Source: record.AlertNotice, Type: x["externalId"], Title: l.Title(), State: x["cs2"], UpdatedAt: l.Sent,
		Reason: x["msg"], Device: cmp.Or(l.labelled("shostfqdn"), x["shost"]), Protocol: x["app"], Resource: x["dhost"], App: l.Product,
		Result: outcome(x["outcome"]), IP: x["src"], Subject: account(x["suser"]),
	}
	if r.State = l.labelled("trigger"); r.State == "" {
		r.State = "new"
	}
	began, ok := connector.ParseTime(cmp.Or(x["start"], x["rt"]))
	if !ok {
		r.Notes = append(r.Notes, fmt.Sprintf("start is no time: %.40q", x["start"]))
	}
	switch {
	case !began.IsZero():
		r.At = began
	case !l.Sent.IsZero():
		r.At = l.Sent
	default:
		r.At = now().UTC()
		r.Notes = append(r.Notes, "the line does not say when it happened; this is when it came")
	}
	if r.UpdatedAt.IsZero() {
		r.UpdatedAt = r.At
	}
	switch id := l.AlertID(); {
	case l.Health():
		r.Source, r.ExternalID = record.HealthNotice, strings.Join([]string{l.Product, l.Host, x["externalId"]}, "/")
	case id != "":
		r.ExternalID = id
	default:
		// The id of the kind with what it was about is all there is to tell alerts apart by.
		sum := sha256.Sum256([]byte(strings.Join([]string{x["externalId"], x["start"], x["suser"], x["shost"], x["msg"]}, "\x00")))
		r.ExternalID = "cef/" + hex.EncodeToString(sum[:16])
	}
	r.Raw = l.raw(text)
	return r
}

// account is the name a line gives to a user: a display name, an account's name with
// or without its domain, or a UPN. It is for people and for proposals; nothing is done
// to anybody because of it.
func account(name string) identity.Ref {
	r := identity.Ref{Provider: identity.ActiveDirectory, Kind: identity.KindPerson}
	domain, sam, both := strings.Cut(name, `\`)
	switch {
	case name == "":
		return identity.Ref{}
	case both:
		r.Domain, r.SAM = domain, sam
	case strings.Contains(name, "@"):
		r.UPN = name
	case strings.Contains(name, " "):
		r.DisplayName = name
	default:
		r.SAM = name
	}
	if strings.HasSuffix(r.SAM, "$") {
		r.Kind = identity.KindComputer
	}
	return r
}

func outcome(s string) record.Result {
	switch strings.ToLower(s) {
	case "success":
		return record.Success
	case "failed", "failure":
		return record.Failure
	}
	return ""
}

// raw is the line, whole, beside what was read of it.
func (l Line) raw(text []byte) json.RawMessage {
	b, err := json.Marshal(struct {
		Line      string            `json:"line"`
		Bytes     []byte            `json:"bytes,omitempty"` // of a line that is no text, in base 64
		Host      string            `json:"host,omitempty"`
		Product   string            `json:"product"`
		Version   string            `json:"version,omitempty"`
		Class     string            `json:"class"`
		Name      string            `json:"name"`
		Severity  string            `json:"severity"`
		Level     signal.Level      `json:"level"`
		URL       string            `json:"url,omitempty"`
		Extension map[string]string `json:"extension,omitempty"`
	}{string(text), unsound(text), l.Host, l.Product, l.Version, l.Class, l.Name, l.Severity, Level(l.Severity), l.URL(), l.Extension})
	if err != nil {
		return nil
	}
	return b
}

func unsound(text []byte) []byte {
	if sound(string(text)) {
		return nil
	}
	return text
}

// Level translates CEF's severity: 3 low, 5 medium, 10 high; between them as CEF
// itself divides 0 to 10. What is no number is hidden: it ranks as medium.
func Level(severity string) signal.Level {
	switch severity {
	case "0", "1", "2", "3":
		return signal.LevelLow
	case "4", "5", "6":
		return signal.LevelMedium
	case "7", "8", "9", "10":
		return signal.LevelHigh
	}
	switch strings.ToLower(severity) {
	case "low":
		return signal.LevelLow
	case "medium":
		return signal.LevelMedium
	case "high", "very-high":
		return signal.LevelHigh
	}
	return signal.LevelHidden
}
