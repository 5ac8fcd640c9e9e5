// Package xdr reads rows of Microsoft Defender's hunting tables, as the streaming
// API exports them and as hunting queries answer with them. Alerts are put together
// from the rows of AlertInfo and AlertEvidence; logons, queries, changes and sign-ins
// become records. It converts at the edge, keeps raw rows, and neither retries nor
// stores.
package xdr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// source is what rejects say they come from.
const source signal.Source = "defender.table"

// category is what the streaming API puts before a table's name.
const category = "AdvancedHunting-"

// A Decoder gathers rows into pages. The rows of one alert come one by one and in
// any order, so what Page returns is put together from all rows since the last one,
// and from those that Earlier knows. A Decoder is for one goroutine.
type Decoder struct {
	tenant  identity.Tenant
	earlier Earlier

	page   connector.Page
	alerts map[string]*alert
	order  []string // of alerts, as they came
	rows   int
}

// Earlier is told the rows of an alert that a page brings, and returns those of
// AlertInfo and AlertEvidence that were known of it before, in any order and as often
// as it likes.
type Earlier func(alert string, rows []json.RawMessage) []json.RawMessage

// NewDecoder returns a Decoder of one tenant's rows. earlier may be nil: nothing is
// known.
func NewDecoder(t identity.Tenant, earlier Earlier) *Decoder {
	return &Decoder{tenant: t, earlier: earlier, alerts: map[string]*alert{}}
}

// Len returns how many rows were added since the last Page.
func (d *Decoder) Len() int { return d.rows }

// Page returns what was added and begins anew.
func (d *Decoder) Page() connector.Page {
	for _, id := range d.order {
		d.alerts[id].tell(&d.page, d.tenant, d.earlier)
	}
	p := d.page
	d.page, d.alerts, d.order, d.rows = connector.Page{}, map[string]*alert{}, nil, 0
	return p
}

// Add takes one object: a record of the streaming API, a row of a hunting answer, or
// a whole answer. What cannot be used becomes a reject with the place.
func (d *Decoder) Add(raw []byte, place string) {
	var o struct {
		Category   string            `json:"category"`
		TenantID   string            `json:"tenantId"`
		Time       json.RawMessage   `json:"time"`
		Properties json.RawMessage   `json:"properties"`
		Schema     json.RawMessage   `json:"schema"`
		Results    []json.RawMessage `json:"results"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		d.Reject(raw, place, fmt.Sprintf("not a row: %v", err))
		return
	}
	switch {
	case o.Results != nil && o.Schema != nil:
		for n, row := range o.Results {
			d.Row("", row, "", fmt.Sprintf("%s row %d", place, n+1))
		}
	case len(o.Properties) > 0 && hasPrefixFold(o.Category, category):
		if o.TenantID != "" && !strings.EqualFold(o.TenantID, string(d.tenant)) {
			d.Reject(raw, place, fmt.Sprintf("belongs to the tenant %q", o.TenantID))
			return
		}
		d.Row(o.Category, o.Properties, text(o.Time), place)
	default:
		d.Row("", raw, "", place)
	}
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// Row takes one row of the table; an empty name is found out from the columns. sent
// is when the row was sent, as text, for rows that do not say when they happened.
func (d *Decoder) Row(table string, raw json.RawMessage, sent, place string) {
	d.rows++
	var columns map[string]json.RawMessage
	if err := json.Unmarshal(raw, &columns); err != nil || columns == nil {
		d.reject(raw, place, "not a row: it is no object")
		return
	}
	r := row{raw: bytes.Clone(raw), columns: make(map[string]json.RawMessage, len(columns)), place: place}
	for name, v := range columns {
		r.columns[strings.ToLower(name)] = v
	}
	if hasPrefixFold(table, category) {
		table = table[len(category):]
	}
	if table == "" {
		table = r.table()
	}
	at, ok := connector.ParseTime(r.text("Timestamp", "TimeGenerated", "EventTime"))
	if !ok {
		r.note("Timestamp is no time: %.40q", r.text("Timestamp", "TimeGenerated", "EventTime"))
	}
	if at.IsZero() {
		at, _ = connector.ParseTime(sent)
	}
	if at.IsZero() {
		d.reject(raw, place, "a row that does not say when it happened")
		return
	}
	r.at = at
	d.take(table, r)
}

// Reject keeps an object that cannot be used, with its place and the reason.
func (d *Decoder) Reject(raw []byte, place, reason string) {
	d.rows++
	d.reject(raw, place, reason)
}

func (d *Decoder) reject(raw []byte, place, reason string) {
	d.page.Rejects = append(d.page.Rejects, connector.Reject{Source: source, Place: place, Reason: reason, Raw: bytes.Clone(raw)})
}

// A row is one row with its columns by name in lower case: live rows and the
// documentation do not agree on the case of all.
type row struct {
	raw     json.RawMessage
	columns map[string]json.RawMessage
	place   string
	at      time.Time
	notes   []string
}

func (r *row) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// text returns the first of the columns that is not empty, as text.
func (r row) text(names ...string) string {
	for _, n := range names {
		if v := text(r.columns[strings.ToLower(n)]); v != "" {
			return v
		}
	}
	return ""
}

// has reports whether the row has the columns, whatever they hold.
func (r row) has(names ...string) bool {
	for _, n := range names {
		if _, ok := r.columns[strings.ToLower(n)]; !ok {
			return false
		}
	}
	return true
}

// list returns a column that is a list, a list inside a string, or one text.
func (r row) list(name string) []string {
	raw := r.columns[strings.ToLower(name)]
	var out []string
	if json.Unmarshal(raw, &out) == nil {
		return out
	}
	s := text(raw)
	switch {
	case s == "":
		return nil
	case json.Unmarshal([]byte(s), &out) == nil:
		return out
	}
	return []string{s}
}

// text is a JSON value as text: a string without its quotes, null as nothing.
func text(raw json.RawMessage) string {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &s) == nil:
		return strings.TrimSpace(s)
	}
	return string(raw)
}
