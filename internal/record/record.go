// Package record is the shape of what sources tell in bulk and without an opinion:
// sign-ins, directory audits, on-premises logons and directory changes, and the
// things around them that have a state (incidents, health issues, sensors). A record
// is kept apart from signals, for people and rules to look things up in; it becomes
// a signal only when somebody says that it is suspicious. It is pure: no I/O, no
// clock.
package record

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Source names a product and object that records come from. Whatever channel
// brings the same object uses the same Source and ExternalID, so that it is kept
// once.
type Source string

// The sources of records.
const (
	SignIn         Source = "entra.signIn"         // Graph: auditLogs/signIns; Event Hubs: the four sign-in categories
	DirectoryAudit Source = "entra.directoryAudit" // Graph: auditLogs/directoryAudits; Event Hubs: AuditLogs
	Incident       Source = "defender.incident"    // Graph: security/incidents
	Alert          Source = "defender.alert"       // Graph: security/alerts_v2, those that say of nobody that they are at risk
	HealthIssue    Source = "defender.healthIssue" // Graph: security/identities/healthIssues
	Sensor         Source = "defender.sensor"      // Graph: security/identities/sensors

	// Objects of the directory, each reading of them whole.
	ServicePrincipal Source = "entra.servicePrincipal"        // Graph: servicePrincipals
	Application      Source = "entra.application"             // Graph: applications
	Device           Source = "entra.device"                  // Graph: devices
	Group            Source = "entra.group"                   // Graph: groups
	Grant            Source = "entra.oauth2PermissionGrant"   // Graph: oauth2PermissionGrants
	Assignment       Source = "entra.roleAssignment"          // Graph: roleManagement/directory
	Policy           Source = "entra.conditionalAccessPolicy" // Graph: identity/conditionalAccess/policies
	NamedLocation    Source = "entra.namedLocation"           // Graph: identity/conditionalAccess/namedLocations
	Method           Source = "entra.authenticationMethod"    // Graph: users/{id}/authentication/methods
	Registration     Source = "entra.userRegistrationDetails" // Graph: reports/authenticationMethods/userRegistrationDetails
	Accounts         Source = "defender.identityAccounts"     // Graph: security/identities/identityAccounts

	Logon           Source = "ad.logon"           // a domain controller's account of a sign-in
	DirectoryChange Source = "ad.directoryChange" // a domain controller's account of a change
	WindowsEvent    Source = "windows.event"      // a security event of Windows that is neither a sign-in nor a change
	DirectoryQuery  Source = "ad.query"           // a query that Defender for Identity saw: LDAP, SAM-R, DNS
	AlertInfo       Source = "defender.alertInfo" // a row of the table AlertInfo
	AlertEvidence   Source = "defender.alertEvidence"
	AlertNotice     Source = "defender.alertNotice"   // a line of syslog about an alert; it names nobody by a strong identifier
	HealthNotice    Source = "defender.healthNotice"  // a line of syslog about the health of sensors
	IdentityInfo    Source = "defender.identityInfo"  // a row of the table IdentityInfo
	CloudAppEvent   Source = "defender.cloudAppEvent" // a row of the table CloudAppEvents
	Hunting         Source = "defender.hunting"       // a row of any other table
	DirectoryLog    Source = "entra.log"              // a record of any other diagnostic category
)

// Result says how a recorded attempt ended; of an incident what somebody made of it, in
// Microsoft's words (signal.TruePositive and the others).
type Result string

// The results. Empty: the source does not say.
const (
	Success     Result = "success"
	Failure     Result = "failure"
	Interrupted Result = "interrupted" // more was asked of the person, such as MFA
)

// A Party is an account that a record names beside its subject.
type Party struct {
	Role string       `json:"role,omitempty"` // in the source's words, such as "target"
	Ref  identity.Ref `json:"ref"`
}

// Risk is a source's opinion of a sign-in.
type Risk struct {
	During     signal.Level `json:"during,omitempty"`     // when it happened
	Aggregated signal.Level `json:"aggregated,omitempty"` // with what is known since
	State      signal.State `json:"state,omitempty"`
	Detail     string       `json:"detail,omitempty"`
	Types      []string     `json:"types,omitempty"` // riskEventTypes_v2
}

// A Record is one such thing. Everything but Tenant, Source, ExternalID and At may
// be empty. All times are UTC.
type Record struct {
	Tenant     identity.Tenant `json:"tenant"`
	Source     Source          `json:"source"`
	ExternalID string          `json:"externalId"` // never told twice for two things

	// Type is what happened: the kind of sign-in (a signInEventType such as
	// interactiveUser), the activity of an audit, an event's number or name.
	Type  string `json:"type,omitempty"`
	Title string `json:"title,omitempty"` // for people
	// State is where a thing stands that has one: an incident's or health issue's
	// status, a sensor's health. Empty for what merely happened.
	State string `json:"state,omitempty"`

	Subject identity.Ref `json:"subject,omitzero"` // who signed in or did it
	Others  []Party      `json:"others,omitempty"` // whom it was done to, and whoever else is named

	At        time.Time `json:"at"`                 // when it happened
	UpdatedAt time.Time `json:"updatedAt,omitzero"` // when the source last changed it, if it says so

	Result Result `json:"result,omitempty"`
	Code   string `json:"code,omitempty"`   // the source's error code; empty or "0" when there is none
	Reason string `json:"reason,omitempty"` // why it failed, in the source's words

	IP            string `json:"ip,omitempty"`
	Location      string `json:"location,omitempty"`
	UserAgent     string `json:"userAgent,omitempty"`
	Device        string `json:"device,omitempty"` // name of the machine it came from
	DeviceID      string `json:"deviceId,omitempty"`
	App           string `json:"app,omitempty"`
	AppID         string `json:"appId,omitempty"`
	Resource      string `json:"resource,omitempty"` // what was reached: an API, a server, a service
	Protocol      string `json:"protocol,omitempty"` // NTLM, Kerberos, LDAP; a legacy client
	Session       string `json:"session,omitempty"`  // sessionId, or a logon id with its machine; of an alert's rows, the alert
	Token         string `json:"token,omitempty"`    // uniqueTokenIdentifier
	CorrelationID string `json:"correlationId,omitempty"`
	Access        string `json:"access,omitempty"` // what conditional access said
	Risk          *Risk  `json:"risk,omitempty"`

	Notes []string        `json:"notes,omitempty"` // what the edge had to tolerate
	Raw   json.RawMessage `json:"raw,omitempty"`   // the source's own record, whole
}

// A Key identifies a record for ever.
type Key struct {
	Tenant     identity.Tenant
	Source     Source
	ExternalID string
}

// Key returns the record's key.
func (r Record) Key() Key { return Key{r.Tenant, r.Source, r.ExternalID} }

// Problem says why the record cannot be kept; empty when it can.
func (r Record) Problem() string {
	switch {
	case r.Tenant == "":
		return "names no tenant"
	case r.Source == "" || r.ExternalID == "":
		return "has no source or no id"
	case r.At.IsZero():
		return "does not say when it happened"
	}
	return ""
}

// Newer reports whether r replaces old: a later UpdatedAt; else, because most
// sources tell no such time, the one whose risk has come further (none, at risk,
// settled), then the higher aggregate level, then the one that says more (several
// channels tell of one thing), then an order that means nothing but is always the
// same. Of two versions that differ exactly one is newer, in whatever order they come.
func (r Record) Newer(old Record) bool {
	if !r.UpdatedAt.Equal(old.UpdatedAt) {
		return r.UpdatedAt.After(old.UpdatedAt)
	}
	if a, b := r.Risk.stage(), old.Risk.stage(); a != b {
		return a > b
	}
	if a, b := r.Risk.level(), old.Risk.level(); a != b {
		return a > b
	}
	if a, b := len(r.Raw), len(old.Raw); a != b {
		return a > b
	}
	r.UpdatedAt, old.UpdatedAt = time.Time{}, time.Time{} // the same instant in another zone is no difference
	return bytes.Compare(text(r), text(old)) > 0
}

func (r *Risk) stage() int {
	switch {
	case r == nil || r.State == "" || r.State == signal.StateNone:
		return 0
	case r.State == signal.StateAtRisk:
		return 1
	}
	return 2
}

func (r *Risk) level() int {
	if r == nil {
		return 0
	}
	return r.Aggregated.Rank()
}

func text(r Record) []byte {
	b, err := json.Marshal(r)
	if err != nil { // Raw holds what is not JSON
		return fmt.Appendf(nil, "%#v", r)
	}
	return b
}

// Accounts returns the names by which the accounts of r are looked up, each once,
// sorted: strong identifiers as "kind:value", and the weak names "upn:" and "sam:" of
// an account that has no strong one.
func (r Record) Accounts() []string {
	out := names(r.Subject, false)
	for _, p := range r.Others {
		out = append(out, names(p.Ref, false)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// names returns the look-up names of a ref; its weak ones only when it has no
// strong one, or when always says so.
func names(ref identity.Ref, always bool) []string {
	var out []string
	for _, k := range ref.Keys() {
		out = append(out, string(k.Kind)+":"+k.Value)
	}
	if len(out) > 0 && !always {
		return out
	}
	if v := strings.ToLower(strings.TrimSpace(ref.UPN)); v != "" {
		out = append(out, "upn:"+v)
	}
	if sam, domain := strings.ToLower(strings.TrimSpace(ref.SAM)), strings.ToLower(strings.TrimSpace(ref.Domain)); sam != "" && domain != "" {
		out = append(out, `sam:`+domain+`\`+sam)
	}
	return out
}

// A Query asks for records, newest first. Empty fields ask nothing; the others
// must all hold.
type Query struct {
	Tenant identity.Tenant // empty: all tenants
	// Accounts: records that name one of them, as subject or otherwise, by a strong
	// identifier. Asking for them needs a tenant.
	Accounts []identity.Ref
	// Weak also finds records that name an account by a weak name only. They may be
	// about somebody else of that name; whoever shows them says so.
	Weak    bool
	Sources []Source
	Types   []string
	States  []string
	IP      string
	Session string
	// ExternalID finds one thing, of each source that has it.
	ExternalID string
	Since      time.Time // At is not before it
	Until      time.Time // At is before it
	Limit      int       // 0 means 100; at most MaxLimit
	After      string    // Page.Next of the page before
}

// MaxLimit bounds one page of records.
const MaxLimit = 500

// Names returns the look-up names of the query's accounts.
func (q Query) Names() []string {
	var out []string
	for _, a := range q.Accounts {
		out = append(out, names(a, q.Weak)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// A Page is an answer to a Query. Next is empty on the last one.
type Page struct {
	Records []Record `json:"records"`
	Next    string   `json:"next,omitempty"`
}

// A Reader looks records up. Implementations pass storetest.
type Reader interface {
	// Records returns a page. A query whose After is not of this make, or for
	// accounts without a tenant, is fault.Invalid.
	Records(ctx context.Context, q Query) (Page, error)
}
