package xdr

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// take puts a row into the page as what its table says it is. The tables of sign-ins
// were renamed; both names are understood.
func (d *Decoder) take(table string, r row) {
	switch strings.ToLower(table) {
	case "alertinfo":
		d.info(r)
	case "alertevidence":
		d.evidence(r)
	case "identitylogonevents":
		d.keep(r.event(record.Logon, table), r)
	case "identityqueryevents":
		q := r.event(record.DirectoryQuery, table)
		q.Title, q.Resource = r.text("Query"), cmp.Or(r.text("QueryTarget"), q.Resource)
		d.keep(q, r)
	case "identitydirectoryevents":
		d.keep(r.event(record.DirectoryChange, table), r)
	case "identityevents":
		e := r.event(record.Logon, table)
		e.ExternalID = cmp.Or(r.text("ApplicationEventId"), e.ExternalID)
		e.Session, e.UserAgent = r.text("ApplicationSessionId"), r.text("UserAgent")
		e.Reason = r.text("ActionFailureReason")
		e.Result = result(r.text("ActionResult"))
		d.keep(e, r)
	case "cloudappevents":
		e := r.event(record.CloudAppEvent, table)
		e.UserAgent = r.text("UserAgent")
		d.keep(e, r)
	case "identityinfo":
		d.identity(r, table)
	case "aadsignineventsbeta", "entraidsigninevents":
		d.keep(r.signIn(), r)
	case "aadspnsignineventsbeta", "entraidspnsigninevents":
		d.keep(r.workloadSignIn(), r)
	default:
		h := r.event(record.Hunting, table)
		h.Title = table
		d.keep(h, r)
	}
}

func (d *Decoder) keep(e record.Record, r row) {
	e.Tenant, e.At, e.Raw = d.tenant, r.at, r.raw
	e.Notes = append(e.Notes, r.notes...)
	if e.ExternalID == "" {
		e.ExternalID = r.digest()
	}
	d.page.Records = append(d.page.Records, e)
}

// table finds out which table a row is of: what hunting queries answer with does not
// say.
func (r row) table() string {
	switch {
	case r.has("AlertId", "EntityType"):
		return "AlertEvidence"
	case r.has("AlertId", "Title") && (r.has("ServiceSource") || r.has("DetectionSource")):
		return "AlertInfo"
	case r.has("ServicePrincipalId", "CorrelationId") && !r.has("AccountObjectId"):
		return "EntraIdSpnSignInEvents"
	case r.has("RequestId", "ErrorCode"):
		return "EntraIdSignInEvents"
	case r.has("ActionType", "QueryTarget"), r.has("ActionType", "QueryType"):
		return "IdentityQueryEvents"
	case r.has("ActionType", "LogonType", "Protocol"):
		return "IdentityLogonEvents"
	case r.has("AccountObjectId", "OnPremSid"):
		return "IdentityInfo"
	case r.has("ActionType", "RawEventData", "ApplicationId"):
		return "CloudAppEvents"
	case r.has("ActionType", "TargetAccountUpn"), r.has("ActionType", "TargetDeviceName"):
		return "IdentityDirectoryEvents"
	}
	return "unknown"
}

// account is the account of the columns that begin with prefix.
func (r row) account(prefix string) identity.Ref {
	ref := identity.Ref{
		Provider: identity.EntraID, Kind: identity.KindPerson,
		ObjectID: r.text(prefix + "ObjectId"), UPN: r.text(prefix + "Upn"), SAM: r.text(prefix + "Name"), Domain: r.text(prefix + "Domain"),
		DisplayName: r.text(prefix + "DisplayName"),
	}
	switch sid := strings.ToUpper(r.text(prefix + "Sid")); {
	case strings.HasPrefix(sid, "S-1-12-1-"):
		ref.ObjectID = cmp.Or(ref.ObjectID, entraID(sid))
	case strings.HasPrefix(sid, "S-1-5-21-"): // well-known SIDs are the same everywhere and name nobody
		ref.SID = sid
	}
	if strings.HasSuffix(ref.SAM, "$") {
		ref.Kind = identity.KindComputer
	}
	if ref.ObjectID == "" {
		ref.Provider = identity.ActiveDirectory
	}
	return ref
}

// entraID turns the SID that Entra makes for a cloud account into its object id: the
// id's sixteen bytes are the SID's four numbers, the first three parts of the id in
// the machine's order of bytes.
func entraID(sid string) string {
	parts := strings.Split(strings.TrimPrefix(sid, "S-1-12-1-"), "-")
	if len(parts) != 4 {
		return ""
	}
	var b [16]byte
	for n, p := range parts {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return ""
		}
		for k := range 4 {
			b[4*n+k] = byte(v >> (8 * k))
		}
	}
	b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0]
	b[4], b[5] = b[5], b[4]
	b[6], b[7] = b[7], b[6]
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// event is what the tables of events share. It is named by its ReportId within the
// table, and by its content where there is none.
func (r row) event(source record.Source, table string) record.Record {
	e := record.Record{
		Source: source, Type: r.text("ActionType"), Subject: r.account("Account"),
		Result: result(r.text("ActionType")), Reason: r.text("FailureReason"),
		IP: r.text("IPAddress"), Location: place(r.text("City"), r.text("Location"), r.text("CountryCode")), Device: r.text("DeviceName"),
		App: r.text("Application"), AppID: r.text("ApplicationId"), Protocol: r.text("Protocol"),
		Resource: r.text("DestinationDeviceName", "TargetDeviceName"),
	}
	if id := r.text("ReportId"); id != "" {
		e.ExternalID = table + "/" + id
	}
	target := r.account("TargetAccount")
	if target.UPN != "" || target.DisplayName != "" || len(target.Keys()) > 0 {
		e.Others = append(e.Others, record.Party{Role: "target", Ref: target})
	}
	return e
}

func place(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ", ")
}

// result is what the name of a kind of event says of how it ended.
func result(word string) record.Result {
	switch w := strings.ToLower(word); {
	case strings.Contains(w, "fail"), strings.Contains(w, "denied"), strings.Contains(w, "error"):
		return record.Failure
	case strings.Contains(w, "success"), strings.Contains(w, "succeeded"):
		return record.Success
	}
	return ""
}

// digest names a row that has no id of its own.
func (r row) digest() string {
	sum := sha256.Sum256(r.raw)
	return hex.EncodeToString(sum[:16])
}

// signIn is a row of EntraIdSignInEvents; its RequestId is Graph's id of the sign-in,
// so that both are one record.
func (r row) signIn() record.Record {
	e := r.event(record.SignIn, "EntraIdSignInEvents")
	e.ExternalID = cmp.Or(r.text("RequestId"), e.ExternalID)
	e.Type = "interactiveUser"
	if l := r.list("LogonType"); len(l) > 0 {
		e.Type = l[0]
	}
	if strings.EqualFold(r.text("IsGuestUser"), "true") || r.text("IsGuestUser") == "1" {
		e.Subject.Kind = identity.KindGuest
	}
	e.Location = place(r.text("City"), r.text("State"), r.text("Country"))
	e.DeviceID = r.text("EntraIdDeviceId", "AadDeviceId")
	e.UserAgent, e.Protocol = r.text("UserAgent"), r.text("ClientAppUsed")
	e.Resource, e.CorrelationID = r.text("ResourceDisplayName"), r.text("CorrelationId")
	e.Session, e.Token = r.text("SessionId"), r.text("UniqueTokenId")
	e.Access = word(accessWords, r.text("ConditionalAccessStatus"))
	e.Result, e.Code, e.Reason = signInResult(r.text("ErrorCode"))
	risk := record.Risk{
		During: signal.Level(word(levelWords, r.text("RiskLevelDuringSignIn"))), Aggregated: signal.Level(word(levelWords, r.text("RiskLevelAggregated"))),
		State: signal.State(word(stateWords, r.text("RiskState"))), Detail: r.text("RiskDetails"), Types: r.list("RiskEventTypes"),
	}
	if risk.During != "" || risk.Aggregated != "" || risk.State != "" || len(risk.Types) > 0 {
		e.Risk = &risk
	}
	return e
}

func (r row) workloadSignIn() record.Record {
	e := r.event(record.SignIn, "EntraIdSpnSignInEvents")
	e.ExternalID = cmp.Or(r.text("RequestId"), e.ExternalID)
	e.Type = "servicePrincipal"
	if v := r.text("IsManagedIdentity"); strings.EqualFold(v, "true") || v == "1" {
		e.Type = "managedIdentity"
	}
	e.Subject = identity.Ref{
		Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: r.text("ServicePrincipalId"), AppID: r.text("ApplicationId"),
		DisplayName: r.text("ServicePrincipalName", "Application"),
	}
	e.Location = place(r.text("City"), r.text("State"), r.text("Country"))
	e.Resource, e.CorrelationID = r.text("ResourceDisplayName"), r.text("CorrelationId")
	e.Token = r.text("UniqueTokenId")
	e.Result, e.Code, e.Reason = signInResult(r.text("ErrorCode"))
	return e
}

func signInResult(code string) (record.Result, string, string) {
	switch code {
	case "":
		return "", "", ""
	case "0":
		return record.Success, "", ""
	}
	return record.Failure, code, ""
}

// The numbers that the tables have for Graph's words, and the words for words.
// Source: Microsoft Defender XDR, EntraIdSignInEvents (July 2026).
var (
	levelWords  = map[string]string{"0": "", "1": "none", "10": "low", "50": "medium", "100": "high"}
	stateWords  = map[string]string{"0": "none", "1": "confirmedSafe", "2": "remediated", "3": "dismissed", "4": "atRisk", "5": "confirmedCompromised"}
	accessWords = map[string]string{"0": "success", "1": "failure", "2": "notApplied"}
)

// word translates a number; what is none, or is unheard of, is kept as it is.
func word(words map[string]string, v string) string {
	if w, ok := words[v]; ok {
		return w
	}
	return v
}

// identity keeps a row of IdentityInfo, and lets it join the accounts it names: both
// are strong identifiers.
func (d *Decoder) identity(r row, table string) {
	e := record.Record{
		Source: record.IdentityInfo, Type: r.text("ChangeSource"), Title: r.text("AccountDisplayName"), UpdatedAt: r.at,
		Subject: r.account("Account"), State: "",
	}
	if sid := strings.ToUpper(r.text("OnPremSid")); strings.HasPrefix(sid, "S-1-5-21-") {
		e.Subject.SID = sid
	}
	e.ExternalID = cmp.Or(r.text("AccountObjectId"), r.text("OnPremSid"))
	d.keep(e, r)
	if e.Subject.ObjectID != "" && e.Subject.SID != "" {
		d.page.Facts = append(d.page.Facts, connector.AccountFacts{Ref: e.Subject})
	}
}
