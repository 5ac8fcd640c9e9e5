// Package samba reads the audit stream of Samba domain controllers: what the debug
// classes auth_json_audit, dsdb_json_audit, dsdb_password_json_audit and
// dsdb_group_json_audit write, one JSON object to a line. Sign-ins and changes become
// records, with the numbers that Windows gives the same events, so that both are
// looked up alike. It converts at the edge, keeps the raw line, and neither retries
// nor stores.
//
// Samba names what was changed by its distinguished name alone; Decoder.Locate tells
// whose that is, where a directory can be asked.
//
// Sources: smb.conf(5) "log level", Samba wiki "Setting up Audit Logging", records of
// Samba 4.17.
package samba

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// A Decoder reads lines of one domain.
type Decoder struct {
	Tenant identity.Tenant
	// Locate returns whose a distinguished name was at a time, and false when that is
	// not known; nil when nobody can be asked. It is called once for each name in a line.
	Locate func(dn string, at time.Time) (identity.Ref, bool)
}

// The types of lines. Each names the member that holds what it says.
const (
	typeAuthentication = "Authentication"
	typeAuthorization  = "Authorization"
	typeTicket         = "KDC Authorization" // of Samba 4.19 and later
	typeChange         = "dsdbChange"
	typePassword       = "passwordChange"
	typeGroup          = "groupChange"
	typeTransaction    = "dsdbTransaction"
)

// Is reports whether an object with these members is a line of the audit stream.
func Is(has map[string]json.RawMessage) bool {
	var t string
	if json.Unmarshal(has["type"], &t) != nil {
		return false
	}
	_, ok := has[t]
	return ok && has["timestamp"] != nil
}

// line is the envelope of every record.
type line struct {
	Timestamp      string          `json:"timestamp"`
	Type           string          `json:"type"`
	Authentication *authentication `json:"Authentication"`
	Authorization  *authorization  `json:"Authorization"`
	Ticket         *authorization  `json:"KDC Authorization"`
	Change         *change         `json:"dsdbChange"`
	Password       *change         `json:"passwordChange"`
	Group          *change         `json:"groupChange"`
	Transaction    *change         `json:"dsdbTransaction"`
}

type authentication struct {
	EventID            int    `json:"eventId"`
	LogonID            string `json:"logonId"`
	LogonType          int    `json:"logonType"`
	Status             string `json:"status"`
	LocalAddress       string `json:"localAddress"`
	RemoteAddress      string `json:"remoteAddress"`
	ServiceDescription string `json:"serviceDescription"`
	AuthDescription    string `json:"authDescription"`
	ClientDomain       string `json:"clientDomain"`
	ClientAccount      string `json:"clientAccount"`
	Workstation        string `json:"workstation"`
	BecameAccount      string `json:"becameAccount"`
	BecameDomain       string `json:"becameDomain"`
	BecameSID          string `json:"becameSid"`
	MappedAccount      string `json:"mappedAccount"`
	MappedDomain       string `json:"mappedDomain"`
	PasswordType       string `json:"passwordType"`
}

type authorization struct {
	LocalAddress        string `json:"localAddress"`
	RemoteAddress       string `json:"remoteAddress"`
	ServiceDescription  string `json:"serviceDescription"`
	AuthType            string `json:"authType"`
	Domain              string `json:"domain"`
	Account             string `json:"account"`
	SID                 string `json:"sid"`
	SessionID           string `json:"sessionId"`
	LogonServer         string `json:"logonServer"`
	TransportProtection string `json:"transportProtection"`
	Status              string `json:"status"` // of a ticket only
}

// change is a change of the directory, of a password or of a group's members.
type change struct {
	EventID       int                  `json:"eventId"`
	StatusCode    int                  `json:"statusCode"`
	Status        string               `json:"status"`
	Operation     string               `json:"operation"`
	Action        string               `json:"action"`
	RemoteAddress string               `json:"remoteAddress"`
	AsSystem      bool                 `json:"performedAsSystem"`
	UserSID       string               `json:"userSid"`
	DN            string               `json:"dn"`
	User          string               `json:"user"`
	Group         string               `json:"group"`
	TransactionID string               `json:"transactionId"`
	SessionID     string               `json:"sessionId"`
	Attributes    map[string]attribute `json:"attributes"`
}

type attribute struct {
	Actions []struct {
		Action   string `json:"action"`
		Redacted bool   `json:"redacted"`
		Values   []struct {
			Value     string `json:"value"`
			Base64    bool   `json:"base64"`
			Truncated bool   `json:"truncated"`
		} `json:"values"`
	} `json:"actions"`
}

// Decode reads one line. A line that cannot be used comes with the reason. keep is
// false, without a reason, for a line that says nothing that another does not: how long
// a transaction took, and the controller's own bookkeeping of replication and sign-ins,
// several lines a second.
func (d Decoder) Decode(raw []byte) (r record.Record, keep bool, reason string) {
	raw = bytes.TrimSpace(raw)
	if at := bytes.IndexByte(raw, '{'); at > 0 && bytes.HasPrefix(raw, []byte("JSON ")) {
		raw = raw[at:] // "JSON Authentication: {…}", as older versions and syslog write it
	}
	var l line
	if err := json.Unmarshal(raw, &l); err != nil {
		return r, false, fmt.Sprintf("no line of Samba's audit stream: %v", err)
	}
	at, ok := parseTime(l.Timestamp)
	if !ok || at.IsZero() {
		return r, false, fmt.Sprintf("the time %.60q is none", l.Timestamp)
	}
	switch {
	case l.Type == typeAuthentication && l.Authentication != nil:
		r = l.Authentication.record()
	case l.Type == typeAuthorization && l.Authorization != nil:
		r = l.Authorization.record()
	case l.Type == typeTicket && l.Ticket != nil:
		r = l.Ticket.record()
	case l.Type == typeChange && l.Change != nil && l.Change.housekeeping():
		return r, false, ""
	case l.Type == typeChange && l.Change != nil:
		r = d.directory(l.Change, at)
	case l.Type == typePassword && l.Password != nil:
		r = d.password(l.Password, at)
	case l.Type == typeGroup && l.Group != nil:
		r = d.group(l.Group, at)
	case l.Type == typeTransaction && l.Transaction != nil:
		return r, false, ""
	default:
		return r, false, fmt.Sprintf("the type %.60q is none that Cordon reads", l.Type)
	}
	sum := sha256.Sum256(raw)
	r.Tenant, r.At, r.ExternalID = d.Tenant, at, "samba:"+hex.EncodeToString(sum[:16])
	r.Raw = json.RawMessage(bytes.Clone(raw))
	return r, true, ""
}

// parseTime reads Samba's form, whose zone has no colon.
func parseTime(s string) (time.Time, bool) {
	if at, err := time.Parse("2006-01-02T15:04:05.999999999-0700", s); err == nil {
		return at.UTC(), true
	}
	return connector.ParseTime(s)
}

// account makes a ref. Only SIDs of a domain's accounts are keys: well-known ones,
// such as that of the anonymous logon, are the same everywhere.
func account(sid, domain, sam string) identity.Ref {
	r := identity.Ref{Provider: identity.ActiveDirectory, Domain: domain, SAM: sam}
	if strings.HasPrefix(sid, "S-1-5-21-") {
		r.SID = sid
	}
	if r.SID == "" && r.SAM == "" {
		return identity.Ref{}
	}
	return r
}

func (a *authentication) record() record.Record {
	r := record.Record{
		Source: record.Logon, Type: strconv.Itoa(a.EventID), Title: "sign-in to " + cmp.Or(a.ServiceDescription, "the domain"),
		Subject: account(a.BecameSID, cmp.Or(a.MappedDomain, a.BecameDomain, a.ClientDomain), cmp.Or(a.MappedAccount, a.BecameAccount)),
		IP:      host(a.RemoteAddress), Device: a.Workstation, App: a.ServiceDescription, Resource: host(a.LocalAddress),
		Protocol: protocol(a.ServiceDescription, a.AuthDescription), Result: record.Success,
	}
	if a.BecameSID != "" && !strings.HasPrefix(a.BecameSID, "S-1-5-21-") {
		r.Subject = identity.Ref{} // anonymous, or the machine itself
	}
	if r.Subject.SAM == "" && a.ClientAccount != "" && r.Subject.SID == "" && a.BecameSID == "" {
		name, realm, _ := strings.Cut(a.ClientAccount, "@")
		r.Subject = account("", cmp.Or(a.ClientDomain, realm), name)
	}
	if a.LogonID != "" && a.LogonID != "0" {
		r.Session = a.LogonID
	}
	if a.Status != "NT_STATUS_OK" {
		r.Result, r.Code, r.Reason = record.Failure, a.Status, words(a.Status)
	}
	if a.EventID == 0 { // before version 1.2 of the form
		r.Type = map[record.Result]string{record.Success: "4624", record.Failure: "4625"}[r.Result]
	}
	return r
}

// record of an authorization: a session that was opened by a ticket or otherwise,
// with no password asked for here.
func (a *authorization) record() record.Record {
	r := record.Record{
		Source: record.Logon, Type: "authorization", Title: "session with " + cmp.Or(a.ServiceDescription, "the domain"),
		Subject: account(a.SID, a.Domain, a.Account), IP: host(a.RemoteAddress), App: a.ServiceDescription,
		Resource: host(a.LocalAddress), Protocol: protocol(a.ServiceDescription, a.AuthType), Session: a.SessionID, Result: record.Success,
	}
	if r.Subject.SID == "" {
		r.Subject = identity.Ref{}
	}
	if a.Status != "" && a.Status != "NT_STATUS_OK" {
		r.Result, r.Code, r.Reason = record.Failure, a.Status, words(a.Status)
	}
	return r
}

func protocol(service, how string) string {
	switch h := strings.ToLower(how); {
	case strings.Contains(h, "ntlm"):
		return "NTLM"
	case strings.Contains(h, "krb5"), strings.Contains(strings.ToLower(service), "kerberos"), strings.Contains(h, "pre-authentication"):
		return "Kerberos"
	case how == "":
		return service
	}
	return how
}

// host takes the address out of "ipv4:192.0.2.1:389"; a path of a socket is none.
func host(s string) string {
	kind, rest, _ := strings.Cut(s, ":")
	if kind != "ipv4" && kind != "ipv6" {
		return ""
	}
	if at := strings.LastIndexByte(rest, ':'); at > 0 {
		rest = rest[:at]
	}
	if ip := net.ParseIP(rest); ip != nil {
		return ip.String()
	}
	return ""
}

// words says what the statuses mean that a sign-in fails with most. Source: MS-ERREF
// 2.3.1.
func words(status string) string {
	switch status {
	case "NT_STATUS_WRONG_PASSWORD", "NT_STATUS_LOGON_FAILURE":
		return "wrong password"
	case "NT_STATUS_NO_SUCH_USER":
		return "no such account"
	case "NT_STATUS_ACCOUNT_DISABLED":
		return "the account is disabled"
	case "NT_STATUS_ACCOUNT_LOCKED_OUT":
		return "the account is locked"
	case "NT_STATUS_ACCOUNT_EXPIRED":
		return "the account has expired"
	case "NT_STATUS_PASSWORD_EXPIRED":
		return "the password has expired"
	case "NT_STATUS_PASSWORD_MUST_CHANGE":
		return "the password must be changed first"
	case "NT_STATUS_INVALID_WORKSTATION", "NT_STATUS_INVALID_LOGON_HOURS", "NT_STATUS_ACCOUNT_RESTRICTION":
		return "the account's restrictions do not allow it"
	}
	return ""
}

// short makes text of a record one line of at most n bytes.
func short(s string, n int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
