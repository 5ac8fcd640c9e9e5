package casefile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Query is a question for Defender's advanced hunting, ready to be pasted there.
// Cordon does not run it.
type Query struct {
	Name string `json:"name"`
	Asks string `json:"asks"` // what it answers, for people
	// Table is the table it reads, as it is called since 2026.
	Table string `json:"table"`
	// Text is the query in KQL, its lines separated by newlines.
	Text string `json:"text"`
	// Before is the same with the table's older name; empty where it had none.
	Before string `json:"before,omitempty"`
	Limits string `json:"limits,omitempty"` // what its answer does not say
}

// huntedAddresses bounds how many addresses one query names.
const huntedAddresses = 50

// keptDays is how long advanced hunting keeps its rows.
const keptDays = 30

// tableBefore says what a table was called: the Beta tables were replaced in 2026, and
// tenants, saved queries and exports hold both names.
//
// Source: Microsoft Defender XDR, advanced hunting schema, EntraIdSignInEvents and
// EntraIdSpnSignInEvents.
func tableBefore(table string) string {
	switch table {
	case "EntraIdSignInEvents":
		return "AADSignInEventsBeta"
	case "EntraIdSpnSignInEvents":
		return "AADSpnSignInEventsBeta"
	}
	return ""
}

// HuntingPack returns the queries that fit the identity's accounts and the addresses
// of its signals, about everything since the time. What no account has an identifier
// for is left out; an identity without a strong identifier has no queries. Names and
// addresses came from outside and are written as literals of KQL.
func HuntingPack(i identity.Identity, signals []signal.Signal, since time.Time) []Query {
	h := hunt{since: since.UTC().Format("2006-01-02T15:04:05Z")}
	for _, a := range i.Accounts {
		h.objects, h.sids, h.upns = with(h.objects, a.ObjectID), with(h.sids, a.SID), with(h.upns, a.UPN)
	}
	for _, g := range signals {
		if a, err := netip.ParseAddr(g.IP); err == nil && len(h.addresses) < huntedAddresses {
			h.addresses = with(h.addresses, a.String())
		}
	}
	switch i.Kind {
	case identity.KindWorkload, identity.KindAgent:
		h.workload()
	default:
		h.person()
	}
	return h.out
}

func with(list []string, v string) []string {
	if v == "" || slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// A hunt is a pack being written.
type hunt struct {
	since                          string
	objects, sids, upns, addresses []string
	out                            []Query
}

// add writes a query of the table, whose lines stand below those of table and time.
func (h *hunt) add(table string, q Query, lines ...string) {
	text := func(table string) string {
		return strings.Join(append([]string{table, "| where Timestamp > datetime(" + h.since + ")"}, lines...), "\n")
	}
	q.Table, q.Text = table, text(table)
	if old := tableBefore(table); old != "" {
		q.Before = text(old)
	}
	h.out = append(h.out, q)
}

func (h *hunt) workload() {
	if len(h.objects) == 0 {
		return
	}
	h.add("EntraIdSpnSignInEvents", Query{Name: "workload sign-ins", Asks: "From where did the workload sign in, to what?"},
		"| where ServicePrincipalId in~ ("+literals(h.objects)+")",
		"| summarize SignIns = count(), First = min(Timestamp), Last = max(Timestamp) by IPAddress, Country, ResourceId, ErrorCode",
		"| order by Last desc")
	h.add("GraphAPIAuditEvents", Query{Name: "calls of Microsoft Graph", Asks: "What did the workload read and change?"},
		"| where ServicePrincipalId in~ ("+literals(h.objects)+")",
		"| summarize Calls = count(), Last = max(Timestamp) by RequestMethod, RequestUri, IpAddress",
		"| order by Calls desc")
	h.alerts()
}

func (h *hunt) person() {
	if mine := h.mine(); mine != "" {
		h.inEntra()
		h.add("IdentityLogonEvents", Query{Name: "logons in Active Directory", Asks: "Where did the accounts log on, by which protocol?",
			Limits: "Of the cloud it holds only interactive and legacy sign-ins."},
			"| where "+mine,
			"| summarize Logons = count(), Failed = countif(ActionType == \"LogonFailed\"), Last = max(Timestamp) by DeviceName, DestinationDeviceName, Protocol, LogonType, IPAddress",
			"| order by Last desc")
		h.add("IdentityQueryEvents", Query{Name: "reconnaissance", Asks: "What did the accounts ask of the directory?",
			Limits: "LDAP, DNS and SAM-R queries that a sensor saw; that Defender no longer asks by SAM-R itself does not change them."},
			"| where "+mine,
			"| project Timestamp, ActionType, QueryType, QueryTarget, Query, Protocol, DeviceName, IPAddress, DestinationDeviceName",
			"| order by Timestamp desc")
		h.changes(mine)
		h.alerts()
	}
	h.paths()
}

// mine is the condition that a row is about one of the accounts.
func (h *hunt) mine() string {
	var or []string
	if len(h.objects) > 0 {
		or = append(or, "AccountObjectId in~ ("+literals(h.objects)+")")
	}
	if len(h.sids) > 0 {
		or = append(or, "AccountSid in~ ("+literals(h.sids)+")")
	}
	return strings.Join(or, " or ")
}

func (h *hunt) inEntra() {
	if len(h.objects) == 0 {
		return
	}
	const risk = "| extend Risk = case(RiskLevelDuringSignIn == 100, \"high\", RiskLevelDuringSignIn == 50, \"medium\", RiskLevelDuringSignIn == 10, \"low\", RiskLevelDuringSignIn == 1, \"none\", \"not set\")"
	h.add("EntraIdSignInEvents", Query{Name: "sign-ins", Asks: "Which sign-ins, from where, at which risk?", Limits: "Needs Entra ID P2."},
		"| where AccountObjectId in~ ("+literals(h.objects)+")", risk,
		"| project Timestamp, Risk, ErrorCode, Application, IPAddress, Country, City, UserAgent, DeviceName, SessionId, CorrelationId, RequestId",
		"| order by Timestamp desc")
	if len(h.addresses) > 0 {
		h.add("EntraIdSignInEvents", Query{Name: "others from the same addresses", Asks: "Who else signed in from the addresses of the signals?", Limits: "Needs Entra ID P2."},
			"| where IPAddress in ("+literals(h.addresses)+") and AccountObjectId !in~ ("+literals(h.objects)+")", risk,
			"| summarize SignIns = count(), Worked = countif(ErrorCode == 0), Last = max(Timestamp) by AccountUpn, IPAddress, Risk",
			"| order by Worked desc")
	}
	h.add("CloudAppEvents", Query{Name: "mailbox", Asks: "Were inbox rules, forwarding or permissions of a mailbox changed?", Limits: "Needs Defender for Cloud Apps with the Microsoft 365 connector."},
		"| where AccountObjectId in~ ("+literals(h.objects)+")",
		"| where ActionType in~ (\"New-InboxRule\", \"Set-InboxRule\", \"Enable-InboxRule\", \"UpdateInboxRules\", \"Set-Mailbox\", \"Add-MailboxPermission\", \"New-TransportRule\")",
		"| project Timestamp, ActionType, IPAddress, UserAgent, RawEventData",
		"| order by Timestamp desc")
	h.add("GraphAPIAuditEvents", Query{Name: "calls of Microsoft Graph", Asks: "What was read and changed by the interface as this user?"},
		"| where AccountObjectId in~ ("+literals(h.objects)+")",
		"| summarize Calls = count(), Last = max(Timestamp) by RequestMethod, RequestUri, ApplicationId, IpAddress",
		"| order by Calls desc")
}

func (h *hunt) changes(mine string) {
	if len(h.upns) > 0 {
		mine += " or TargetAccountUpn in~ (" + literals(h.upns) + ")"
	}
	h.add("IdentityDirectoryEvents", Query{Name: "changes in Active Directory", Asks: "What did the accounts change, and what was changed about them?"},
		"| where "+mine,
		"| project Timestamp, ActionType, AccountUpn, TargetAccountUpn, TargetDeviceName, DestinationDeviceName, IPAddress, AdditionalFields",
		"| order by Timestamp desc")
}

func (h *hunt) alerts() {
	mine := h.mine()
	if mine == "" {
		return
	}
	h.add("AlertEvidence", Query{Name: "alerts", Asks: "In which alerts of any product do the accounts stand, and as what?"},
		"| where "+mine,
		"| join kind=inner (AlertInfo | project AlertId, Title, Severity, ServiceSource, AttackTechniques) on AlertId",
		"| project Timestamp, Title, Severity, ServiceSource, EvidenceRole, EvidenceDirection, AlertId",
		"| order by Timestamp desc")
}

// paths asks the exposure graph, which has no time, whom the accounts lead to.
func (h *hunt) paths() {
	ids := slices.Concat(h.objects, h.sids)
	if len(ids) == 0 {
		return
	}
	h.out = append(h.out, Query{
		Name: "paths to sensitive identities", Table: "ExposureGraphEdges",
		Asks: "Which critical identities and machines can be reached from the accounts, and over what?",
		Limits: "Local administrators of machines are missing: Defender for Identity stopped collecting them by SAM-R in 2025. " +
			"An empty answer is no proof that there is no path. Needs Security Exposure Management.",
		Text: strings.Join([]string{
			"let mine = dynamic([" + literals(ids) + "]);",
			"ExposureGraphEdges",
			"| make-graph SourceNodeId --> TargetNodeId with ExposureGraphNodes on NodeId",
			"| graph-match (from)-[over*1..3]->(to)",
			"    where tostring(from.EntityIds) has_any (mine)",
			"        and toint(to.NodeProperties.rawData.criticalityLevel.criticalityLevel) < 2",
			"    project From = from.NodeName, Over = over.EdgeLabel, To = to.NodeName, Label = to.NodeLabel",
		}, "\n"),
	})
}

// literals writes values as string literals of KQL with commas between.
//
// Source: Kusto Query Language, the string data type: a backslash escapes.
func literals(list []string) string {
	out := make([]string, len(list))
	for n, v := range list {
		v = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return '?' // no identifier holds one: it ends a line, turns the text or is not seen
			}
			return r
		}, v)
		out[n] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
	}
	return strings.Join(out, ", ")
}

// Reach says of a pack that begins at the time what it cannot answer; empty when
// nothing.
func Reach(since, now time.Time) string {
	if now.Sub(since) <= keptDays*24*time.Hour {
		return ""
	}
	return fmt.Sprintf("advanced hunting keeps %d days: what lies before %s is not found", keptDays, now.Add(-keptDays*24*time.Hour).UTC().Format(time.DateOnly))
}
