// Package winevent reads Windows security events as forwarders hand them on: the XML
// that Windows itself renders, and JSON in the three shapes that are common (events
// turned from XML to JSON, the nested one of Beats agents, and the flat one of other
// forwarders). Sign-ins and directory changes become records; other events that are
// asked for are kept as they are. It converts at the edge, keeps the raw event, and
// neither retries nor stores.
//
// Sources: Windows Server "Security auditing" reference for the events' members;
// "Configure Windows event collection" of Defender for Identity for the list of
// events; the Windows event schema for the XML.
package winevent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// An event is one event in whatever form it came.
type event struct {
	provider string
	id       int
	at       time.Time
	computer string
	channel  string
	number   string            // EventRecordID: unique on a computer until its log is cleared
	keywords uint64            // of the event's header; audit success and failure are bits of it
	data     map[string]string // EventData, by name
}

// The bits of keywords. Source: winmeta.h, WINEVENT_KEYWORD_AUDIT_….
const (
	auditFailure = 0x10000000000000
	auditSuccess = 0x20000000000000
)

// get returns a member of the event's data; what Windows writes for "nothing" is none.
func (e event) get(names ...string) string {
	for _, n := range names {
		switch v := strings.TrimSpace(e.data[n]); v {
		case "", "-", "%%1793", "NULL SID", "S-1-0-0":
		default:
			return v
		}
	}
	return ""
}

// Decode reads one event, XML or JSON. An event that cannot be used comes with the
// reason.
func Decode(t identity.Tenant, raw []byte) (r record.Record, reason string) {
	raw = bytes.TrimSpace(raw)
	var e event
	var err error
	var kept json.RawMessage
	if bytes.HasPrefix(raw, []byte("<")) {
		e, err = parseXML(raw)
		kept, _ = json.Marshal(strings.ToValidUTF8(string(raw), "\uFFFD")) // a string: cannot fail
	} else {
		e, err = parseJSON(raw)
		kept = bytes.Clone(raw)
	}
	switch {
	case err != nil:
		return r, err.Error()
	case e.id == 0:
		return r, "the event has no number"
	case e.at.IsZero():
		return r, "the event does not say when it happened"
	case e.number == "" || e.computer == "":
		return r, "the event does not say which record of which computer it is: it could not be told from another"
	}
	k, known := kinds[e.id]
	if !known {
		return r, fmt.Sprintf("event %d is none that Cordon reads", e.id)
	}
	r = record.Record{
		Tenant: t, Source: k.source, Type: strconv.Itoa(e.id), Title: k.title, At: e.at, Device: short(e.computer, 256), Raw: kept,
		ExternalID: "windows:" + strings.ToLower(short(e.computer, 256)) + "/" + e.number + "/" + strconv.FormatInt(e.at.UnixNano(), 36),
	}
	k.fill(e, &r)
	if r.Result == "" {
		switch {
		case e.keywords&auditFailure != 0:
			r.Result = record.Failure
		case e.keywords&auditSuccess != 0:
			r.Result = record.Success
		}
	}
	return r, ""
}

// account makes a ref of a SID, a name and a domain. Only SIDs of a domain's accounts
// are keys: S-1-5-18 and its like are the same everywhere.
func account(sid, domain, sam string) identity.Ref {
	r := identity.Ref{Provider: identity.ActiveDirectory, Domain: short(domain, 256), SAM: short(sam, 256)}
	if strings.HasPrefix(sid, "S-1-5-21-") {
		r.SID = short(sid, 200)
	}
	if at := strings.IndexByte(r.SAM, '@'); at > 0 { // Kerberos writes name@REALM
		r.UPN = r.SAM
		r.SAM = r.SAM[:at]
	}
	if r.SID == "" && r.SAM == "" {
		return identity.Ref{}
	}
	return r
}

func (e event) subject() identity.Ref {
	return account(e.get("SubjectUserSid"), e.get("SubjectDomainName"), e.get("SubjectUserName"))
}

func (e event) target() identity.Ref {
	return account(e.get("TargetUserSid", "TargetSid"), e.get("TargetDomainName"), e.get("TargetUserName"))
}

// logon fills in 4624, 4625 and 4648.
func logon(e event, r *record.Record) {
	r.Subject = e.target()
	r.IP, r.Resource = ip(e.get("IpAddress")), r.Device
	r.Device = short(e.get("WorkstationName"), 256)
	r.Protocol = cmp.Or(e.get("LmPackageName"), e.get("AuthenticationPackageName"))
	r.Session = sessionOf(e)
	r.App = logonTypes[e.get("LogonType")]
	if e.id == 4625 {
		r.Result, r.Code = record.Failure, cmp.Or(e.get("SubStatus"), e.get("Status"))
		if strings.Trim(r.Code, "0x") == "" {
			r.Code = e.get("Status")
		}
		r.Reason = statuses[strings.ToLower(r.Code)]
	}
}

// The types of logon. Source: event 4624's reference.
var logonTypes = map[string]string{"2": "interactive", "3": "network", "4": "batch", "5": "service", "7": "unlock", "8": "network, clear text",
	"9": "other credentials", "10": "remote desktop", "11": "cached"}

func sessionOf(e event) string {
	id := e.get("TargetLogonId", "SubjectLogonId")
	if id == "" || id == "0x0" {
		return ""
	}
	return short(strings.ToLower(e.computer)+"/"+id, 300)
}

// kerberos fills in 4768, 4769, 4770, 4771 and 4773: tickets asked for at a controller.
func kerberos(e event, r *record.Record) {
	r.Subject = e.target()
	r.IP, r.Protocol = ip(e.get("IpAddress")), "Kerberos"
	r.Resource, r.Device = short(e.get("ServiceName"), 256), ""
	r.CorrelationID = e.get("LogonGuid")
	if code := strings.ToLower(e.get("Status", "FailureCode")); strings.Trim(code, "0x") != "" {
		r.Result, r.Code, r.Reason = record.Failure, code, kerberosErrors[code]
	} else if code != "" {
		r.Result = record.Success
	}
	if e.id == 4771 {
		r.Result = record.Failure
	}
}

// ntlm fills in 4776 and 8004: credentials that a controller checked.
func ntlm(e event, r *record.Record) {
	r.Protocol = "NTLM"
	r.Resource, r.Device = r.Device, short(e.get("Workstation", "WorkstationName"), 256)
	r.Subject = account("", e.get("DomainName"), e.get("TargetUserName", "UserName"))
	if code := strings.ToLower(e.get("Status")); strings.Trim(code, "0x") != "" {
		r.Result, r.Code, r.Reason = record.Failure, code, statuses[code]
	} else if code != "" {
		r.Result = record.Success
	}
	if e.id == 8004 { // the controller says where the account was used
		r.Resource = short(cmp.Or(e.get("SChannelName"), r.Resource), 256)
	}
}

// change fills in what was done to an account or a computer.
func change(e event, r *record.Record) {
	r.Subject, r.Session = e.subject(), sessionOf(e)
	r.Resource, r.Device = r.Device, ""
	if t := e.target(); len(t.Keys()) > 0 || t.SAM != "" {
		r.Others = append(r.Others, record.Party{Role: "target", Ref: t})
	}
	var notes []string
	for _, n := range []string{"OldUacValue", "NewUacValue", "PasswordLastSet", "OldTargetUserName", "NewTargetUserName"} {
		if v := e.get(n); v != "" {
			notes = append(notes, n+" "+short(v, 100))
		}
	}
	if len(notes) > 0 {
		r.Title = short(r.Title+": "+strings.Join(notes, ", "), 300)
	}
}

// member fills in who was put into a group or taken out of it.
func member(e event, r *record.Record) {
	r.Subject, r.Session = e.subject(), sessionOf(e)
	r.Resource, r.Device = short(e.get("TargetDomainName")+`\`+e.get("TargetUserName"), 300), ""
	m := account(e.get("MemberSid"), "", "")
	if m.DisplayName = firstName(e.get("MemberName")); m.DisplayName != "" || m.SID != "" {
		m.Provider = identity.ActiveDirectory
		r.Others = append(r.Others, record.Party{Role: "member", Ref: m})
	}
	if g := e.target(); len(g.Keys()) > 0 || g.SAM != "" {
		r.Others = append(r.Others, record.Party{Role: "group", Ref: g})
	}
}

// object fills in 5136 and its like, which name the object by its objectGUID.
func object(e event, r *record.Record) {
	r.Subject, r.Session = e.subject(), sessionOf(e)
	r.Resource, r.Device = short(e.get("ObjectDN", "OldObjectDN"), 1024), ""
	r.CorrelationID = e.get("OpCorrelationID")
	if attribute := e.get("AttributeLDAPDisplayName"); attribute != "" {
		what := map[string]string{"%%14674": "added to", "%%14675": "removed from"}[e.get("OperationType")]
		r.Title = short("value "+cmp.Or(what, "changed in")+" "+attribute, 200)
	}
	target := identity.Ref{Provider: identity.ActiveDirectory, GUID: strings.ToLower(strings.Trim(short(e.get("ObjectGUID"), 64), "{}")), DisplayName: firstName(e.get("ObjectDN", "OldObjectDN"))}
	if len(target.Keys()) > 0 || target.DisplayName != "" {
		r.Others = append(r.Others, record.Party{Role: "target", Ref: target})
	}
}

// plain keeps who did something, for events that say no more that is common.
func plain(e event, r *record.Record) {
	r.Subject, r.Session = e.subject(), sessionOf(e)
	r.Resource, r.Device = r.Device, ""
	r.Title = short(strings.TrimSpace(r.Title+" "+cmp.Or(e.get("ServiceName"), e.get("ObjectName"))), 300)
}

// ip reads an address; IPv4 in IPv6 form is IPv4.
func ip(s string) string {
	if a := net.ParseIP(s); a != nil && !a.IsUnspecified() {
		return a.String()
	}
	return ""
}

// firstName is the value of a distinguished name's first part, as it is written.
func firstName(dn string) string {
	_, rest, ok := strings.Cut(dn, "=")
	if !ok {
		return short(dn, 128)
	}
	for n := 0; n < len(rest); n++ {
		switch rest[n] {
		case '\\':
			n++
		case ',':
			return short(rest[:n], 128)
		}
	}
	return short(rest, 128)
}

// short makes foreign text one line of at most n bytes.
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
