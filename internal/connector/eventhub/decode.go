// Package eventhub reads what Microsoft Entra's diagnostic settings and Microsoft
// Defender's streaming API send to Azure Event Hubs; package kafka receives it. What is inside the envelopes
// is read by entraid and xdr, so that a thing is the same by whichever channel it
// comes. It keeps raw records and does not store.
package eventhub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/connector/graphfile"
	"github.com/seed-f47efad2/cordon/internal/connector/xdr"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// source is what rejects say they come from when their category is not known.
const source signal.Source = "entra.stream"

// A category is how the records of one diagnostic category are read.
type category struct {
	source signal.Source // of rejects
	clock  string        // the member that says when a record was changed or made
	decode func(p *connector.Page, t identity.Tenant, properties json.RawMessage, raw json.RawMessage) (reason string)
}

// categories are those that are understood, by name in lower case: Microsoft itself
// spells one of them in two ways.
var categories = map[string]category{
	"userriskevents":               {signal.RiskDetection, "lastUpdatedDateTime", signals(entraid.Decode)},
	"riskyusers":                   {"entra.riskyUser", "riskLastUpdatedDateTime", risks(entraid.DecodeRiskyUser)},
	"serviceprincipalriskevents":   {signal.WorkloadDetection, "lastUpdatedDateTime", signals(entraid.DecodeWorkload)},
	"riskyserviceprincipals":       {"entra.riskyServicePrincipal", "riskLastUpdatedDateTime", risks(entraid.DecodeRiskyWorkload)},
	"agentriskevents":              {signal.AgentDetection, "lastModifiedDateTime", signals(entraid.DecodeAgent)},
	"riskyagents":                  {"entra.riskyAgent", "riskLastModifiedDateTime", risks(entraid.DecodeRiskyAgent)},
	"signinlogs":                   {signal.Source(record.SignIn), "createdDateTime", signIns(entraid.Interactive)},
	"noninteractiveusersigninlogs": {signal.Source(record.SignIn), "createdDateTime", signIns(entraid.NonInteractive)},
	"serviceprincipalsigninlogs":   {signal.Source(record.SignIn), "createdDateTime", signIns(entraid.ServicePrincipal)},
	"managedidentitysigninlogs":    {signal.Source(record.SignIn), "createdDateTime", signIns(entraid.ManagedIdentity)},
	"adfssigninlogs":               {signal.Source(record.SignIn), "createdDateTime", signIns(entraid.Interactive)},
	"auditlogs":                    {signal.Source(record.DirectoryAudit), "activityDateTime", records(entraid.DecodeAudit)},
}

// workspace are the tables of a Log Analytics workspace with the same content, whose
// rows have no envelope.
var workspace = map[string]string{
	"aaduserriskevents": "userriskevents", "aadriskyusers": "riskyusers",
	"aadserviceprincipalriskevents": "serviceprincipalriskevents", "aadriskyserviceprincipals": "riskyserviceprincipals",
}

func signals(decode func(identity.Tenant, json.RawMessage) (signal.Signal, string)) func(*connector.Page, identity.Tenant, json.RawMessage, json.RawMessage) string {
	return func(p *connector.Page, t identity.Tenant, properties, raw json.RawMessage) string {
		s, reason := decode(t, properties)
		if s.Raw = raw; reason == "" {
			p.Signals = append(p.Signals, s)
		}
		return reason
	}
}

func risks(decode func(identity.Tenant, json.RawMessage) (signal.AccountRisk, string)) func(*connector.Page, identity.Tenant, json.RawMessage, json.RawMessage) string {
	return func(p *connector.Page, t identity.Tenant, properties, raw json.RawMessage) string {
		r, reason := decode(t, properties)
		if r.Raw = raw; reason == "" {
			p.Accounts = append(p.Accounts, r)
		}
		return reason
	}
}

func records(decode func(identity.Tenant, json.RawMessage) (record.Record, string)) func(*connector.Page, identity.Tenant, json.RawMessage, json.RawMessage) string {
	return func(p *connector.Page, t identity.Tenant, properties, raw json.RawMessage) string {
		r, reason := decode(t, properties)
		if r.Raw = raw; reason == "" {
			p.Records = append(p.Records, r)
		}
		return reason
	}
}

// signIns reads sign-ins; the category says of what kind those are that do not say so
// themselves.
func signIns(kind entraid.SignInKind) func(*connector.Page, identity.Tenant, json.RawMessage, json.RawMessage) string {
	return records(func(t identity.Tenant, properties json.RawMessage) (record.Record, string) {
		var says struct {
			SignInEventTypes []string `json:"signInEventTypes"`
		}
		if json.Unmarshal(properties, &says) == nil && len(says.SignInEventTypes) == 0 {
			properties = with(properties, "signInEventTypes", []string{string(kind)})
		}
		return entraid.DecodeSignIn(t, properties)
	})
}

// A Decoder gathers messages into pages, for one tenant and one goroutine.
type Decoder struct {
	tenant identity.Tenant
	rows   *xdr.Decoder
	page   connector.Page
	count  int
}

// NewDecoder returns a Decoder of one tenant's messages.
func NewDecoder(t identity.Tenant, earlier xdr.Earlier) *Decoder {
	return &Decoder{tenant: t, rows: xdr.NewDecoder(t, earlier)}
}

// Len returns how many records were added since the last Page.
func (d *Decoder) Len() int { return d.count }

// Page returns what was added and begins anew.
func (d *Decoder) Page() connector.Page {
	p, rows := d.page, d.rows.Page()
	d.page, d.count = connector.Page{}, 0
	p.Signals = append(p.Signals, rows.Signals...)
	p.Facts = append(p.Facts, rows.Facts...)
	p.Records = append(p.Records, rows.Records...)
	p.Rejects = append(p.Rejects, rows.Rejects...)
	return p
}

// Add takes one message: {"records": […]}, one record, or several in an array or as
// JSON Lines. What cannot be used becomes a reject with the place.
func (d *Decoder) Add(message []byte, place string) {
	for r := range graphfile.Records(bytes.NewReader(message)) { // reading from memory does not fail
		at := fmt.Sprintf("%s record %d", place, r.Number)
		if r.Reason != "" {
			d.Reject(r.Raw, at, r.Reason)
			continue
		}
		d.record(r.Raw, at)
	}
}

// Reject keeps what cannot be used, with its place and the reason.
func (d *Decoder) Reject(raw []byte, place, reason string) { d.reject(source, raw, place, reason) }

func (d *Decoder) reject(from signal.Source, raw []byte, place, reason string) {
	d.count++
	d.page.Rejects = append(d.page.Rejects, connector.Reject{Source: from, Place: place, Reason: reason, Raw: bytes.Clone(raw)})
}

// An envelope is what is around a record, the parts we look at.
type envelope struct {
	Time       json.RawMessage `json:"time"`
	ResourceID string          `json:"resourceId"`
	TenantID   string          `json:"tenantId"`
	Category   string          `json:"category"`
	Operation  string          `json:"operationName"`
	Type       string          `json:"Type"` // of a row from a workspace
	Properties json.RawMessage `json:"properties"`
}

// tenant is whose record it is; empty when the envelope does not say.
func (e envelope) tenant() string {
	if e.TenantID != "" {
		return e.TenantID
	}
	parts := strings.Split(e.ResourceID, "/")
	for n := 0; n+1 < len(parts); n++ {
		if strings.EqualFold(parts[n], "tenants") {
			return parts[n+1]
		}
	}
	return ""
}

func (d *Decoder) record(raw json.RawMessage, place string) {
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		d.reject(source, raw, place, fmt.Sprintf("not a record of a diagnostic stream: %v", err))
		return
	}
	name := strings.ToLower(strings.TrimSpace(e.Category))
	properties, whole := e.Properties, json.RawMessage(nil)
	if table, ok := workspace[strings.ToLower(e.Type)]; ok && len(properties) == 0 {
		name, properties, whole = table, raw, raw
	}
	c, known := categories[name]
	if !known {
		c.source = source
	}
	if t := e.tenant(); t != "" && !strings.EqualFold(t, string(d.tenant)) {
		d.reject(c.source, raw, place, fmt.Sprintf("belongs to the tenant %.40q", t))
		return
	}
	if name == "" || !isObject(properties) {
		d.reject(c.source, raw, place, "a record without category and properties")
		return
	}
	at, _ := connector.ParseTime(word(e.Time)) // what is no time is kept in the raw record
	if strings.HasPrefix(name, "advancedhunting-") {
		d.count++
		d.rows.Row(e.Category, properties, word(e.Time), place)
		return
	}
	if whole == nil {
		whole = wrap(raw, properties)
	}
	if !known {
		d.other(e, at, whole, raw, place)
		return
	}
	if reason := c.decode(&d.page, d.tenant, mend(properties, c.clock, at), whole); reason != "" {
		d.reject(c.source, raw, place, reason)
		return
	}
	d.count++
}

// other keeps a record of a category that has no reader of its own.
func (d *Decoder) other(e envelope, at time.Time, whole, raw json.RawMessage, place string) {
	var p struct {
		ID            string `json:"id"`
		CorrelationID string `json:"correlationId"`
		IPAddress     string `json:"ipAddress"`
		UserID        string `json:"userId"`
		UPN           string `json:"userPrincipalName"`
	}
	_ = json.Unmarshal(e.Properties, &p) // whatever of it is text; the whole is kept
	if at.IsZero() {
		d.reject(source, raw, place, fmt.Sprintf("a record of the category %.60q that does not say when it happened", e.Category))
		return
	}
	r := record.Record{
		Tenant: d.tenant, Source: record.DirectoryLog, ExternalID: e.Category + "/" + p.ID, Type: e.Category, Title: e.Operation,
		At: at, IP: p.IPAddress, CorrelationID: p.CorrelationID, Raw: whole,
	}
	if p.ID == "" {
		r.ExternalID = e.Category + "/" + digest(raw)
	}
	if p.UserID != "" || p.UPN != "" {
		r.Subject = identity.Ref{Provider: identity.EntraID, ObjectID: p.UserID, UPN: p.UPN}
	}
	d.count++
	d.page.Records = append(d.page.Records, r)
}
