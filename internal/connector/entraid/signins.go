package entraid

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A SignInKind is Graph's signInEventType.
type SignInKind string

// The kinds of sign-ins. v1.0 lists interactive ones only; the others are beta.
const (
	Interactive      SignInKind = "interactiveUser"
	NonInteractive   SignInKind = "nonInteractiveUser"
	ServicePrincipal SignInKind = "servicePrincipal"
	ManagedIdentity  SignInKind = "managedIdentity"
)

// How far back sign-ins and audits are read at first, and how much of it at a time.
// Graph keeps them for 30 days with a P1 or P2 licence; a week is what an
// investigation asks for first.
const (
	reportReach = 7 * 24 * time.Hour
	reportSlice = 24 * time.Hour
)

// SignIns reads auditLogs/signIns, one kind of them, as records.
type SignIns struct {
	Tenant
	Kind SignInKind // empty: Interactive
}

var (
	_ connector.Source    = SignIns{}
	_ connector.Permitted = SignIns{}
)

func (c SignIns) kind() SignInKind { return cmp.Or(c.Kind, Interactive) }

// Name is connector.Source's.
func (c SignIns) Name() connector.Name { return connector.Name("entraid.signIns/" + string(c.kind())) }

// Permissions is connector.Permitted's. Graph: signIn-list.
func (SignIns) Permissions() []string { return []string{"AuditLog.Read.All"} }

// Pages is connector.Source's. A sign-in says when it happened, not when its risk
// changed: what changed later is told by RiskySignIns.
func (c SignIns) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	r := reading{path: "/auditLogs/signIns", field: "createdDateTime", report: true, slice: reportSlice, reach: reportReach, overlap: 15 * time.Minute}
	if k := c.kind(); k != Interactive {
		r.beta, r.filter = true, fmt.Sprintf("signInEventTypes/any(t: t eq '%s')", k)
	}
	return changed[signIn](ctx, c.Tenant, cur, r, func(page *connector.Page, o graph.Object[signIn], place string) time.Time {
		return c.add(page, o, place, c.kind())
	})
}

// add puts a sign-in into the page and returns when it happened.
func (c Tenant) add(page *connector.Page, o graph.Object[signIn], place string, kind SignInKind) time.Time {
	r, reason := o.Value.record(c.ID, kind, o.Raw)
	if o.Err != nil {
		r, reason = DecodeSignIn(c.ID, o.Raw) // it says why
	}
	if reason != "" {
		page.Rejects = append(page.Rejects, connector.Reject{Source: signal.Source(record.SignIn), Place: place, Reason: reason, Raw: o.Raw})
		return time.Time{}
	}
	page.Records = append(page.Records, r)
	return r.At
}

// RiskySignIns reads again the interactive sign-ins of the last two days that carry
// a risk: detections are made up to 48 hours late, and feedback and remedies change
// what a sign-in is thought of. Each reading tells all of them.
type RiskySignIns struct{ Tenant }

var (
	_ connector.Source    = RiskySignIns{}
	_ connector.Permitted = RiskySignIns{}
)

// Name is connector.Source's.
func (RiskySignIns) Name() connector.Name { return "entraid.riskySignIns" }

// Permissions is connector.Permitted's. Graph: signIn-list.
func (RiskySignIns) Permissions() []string { return []string{"AuditLog.Read.All"} }

// riskStates are those that a sign-in with a risk can have. Graph: signIn,
// riskState takes eq alone.
var riskStates = []signal.State{
	signal.StateAtRisk, signal.StateConfirmedCompromised, signal.StateRemediated, signal.StateDismissed, signal.StateConfirmedSafe,
}

// Pages is connector.Source's.
func (c RiskySignIns) Pages(ctx context.Context, _ connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		at := c.Now()
		next := connector.Cursor(at.UTC().Format(time.RFC3339))
		for _, state := range riskStates {
			r := reading{path: "/auditLogs/signIns", field: "createdDateTime", filter: fmt.Sprintf("riskState eq '%s'", state), report: true}
			number := 0
			if err := c.paceReports(ctx); err != nil {
				yield(connector.Page{}, err)
				return
			}
			for p, err := range graph.Pages[signIn](ctx, c.Graph, r.request(span{from: at.Add(-49 * time.Hour)}), r.paging()) {
				if err != nil {
					yield(connector.Page{}, fmt.Errorf("read risky sign-ins: %w", err))
					return
				}
				number++
				page := connector.Page{Next: next}
				for n, o := range p.Objects {
					c.add(&page, o, fmt.Sprintf("%s %s page %d item %d", r.path, state, number, n+1), Interactive)
				}
				if !yield(page, nil) {
					return
				}
			}
		}
	}
}

// signIn is Graph's signIn, v1.0 and beta, the fields we use. Event Hubs send the
// same members below "properties".
type signIn struct {
	ID                      string     `json:"id"`
	CreatedDateTime         graph.Time `json:"createdDateTime"`
	UserID                  string     `json:"userId"`
	UserPrincipalName       string     `json:"userPrincipalName"`
	UserDisplayName         string     `json:"userDisplayName"`
	UserType                string     `json:"userType"`
	ServicePrincipalID      string     `json:"servicePrincipalId"`
	ServicePrincipalName    string     `json:"servicePrincipalName"`
	AppID                   string     `json:"appId"`
	AppDisplayName          string     `json:"appDisplayName"`
	ResourceDisplayName     string     `json:"resourceDisplayName"`
	IPAddress               string     `json:"ipAddress"`
	UserAgent               string     `json:"userAgent"`
	ClientAppUsed           string     `json:"clientAppUsed"`
	CorrelationID           string     `json:"correlationId"`
	SessionID               string     `json:"sessionId"`
	UniqueTokenIdentifier   string     `json:"uniqueTokenIdentifier"`
	ConditionalAccessStatus string     `json:"conditionalAccessStatus"`
	SignInEventTypes        []string   `json:"signInEventTypes"`
	Status                  struct {
		ErrorCode     json.Number `json:"errorCode"`
		FailureReason string      `json:"failureReason"`
	} `json:"status"`
	DeviceDetail struct {
		DeviceID    string `json:"deviceId"`
		DisplayName string `json:"displayName"`
	} `json:"deviceDetail"`
	Location             *location    `json:"location"`
	RiskLevelDuring      signal.Level `json:"riskLevelDuringSignIn"`
	RiskLevelAggregated  signal.Level `json:"riskLevelAggregated"`
	RiskState            signal.State `json:"riskState"`
	RiskDetail           string       `json:"riskDetail"`
	RiskEventTypesV2     []string     `json:"riskEventTypes_v2"`
	RiskEventTypesLegacy []string     `json:"riskEventTypes"`
}

// DecodeSignIn converts one signIn as Graph sends it, v1.0 or beta; see Decode. What
// does not say of what kind it is is taken for interactive, which is all that v1.0
// lists.
func DecodeSignIn(t identity.Tenant, raw json.RawMessage) (r record.Record, reason string) {
	var s signIn
	if err := json.Unmarshal(raw, &s); err != nil {
		return record.Record{}, fmt.Sprintf("not a signIn: %v", err)
	}
	return s.record(t, Interactive, raw)
}

func (s signIn) record(t identity.Tenant, kind SignInKind, raw json.RawMessage) (record.Record, string) {
	switch {
	case s.ID == "":
		return record.Record{}, "a signIn without an id"
	case s.CreatedDateTime.At.IsZero():
		return record.Record{}, fmt.Sprintf("a signIn that does not say when it happened: createdDateTime is %.40q", s.CreatedDateTime.Raw)
	}
	if len(s.SignInEventTypes) > 0 {
		kind = SignInKind(s.SignInEventTypes[0])
	}
	r := record.Record{
		Tenant: t, Source: record.SignIn, ExternalID: s.ID, Type: string(kind), Subject: s.subject(kind), At: s.CreatedDateTime.At,
		IP: s.IPAddress, Location: s.Location.String(), UserAgent: s.UserAgent, Device: s.DeviceDetail.DisplayName, DeviceID: s.DeviceDetail.DeviceID,
		App: s.AppDisplayName, AppID: s.AppID, Resource: s.ResourceDisplayName, Protocol: s.ClientAppUsed,
		Session: s.SessionID, Token: s.UniqueTokenIdentifier, CorrelationID: s.CorrelationID, Access: s.ConditionalAccessStatus, Raw: raw,
	}
	r.Result, r.Code = signInResult(s.Status.ErrorCode)
	if r.Result != record.Success {
		r.Reason = s.Status.FailureReason
	}
	types := s.RiskEventTypesV2
	if len(types) == 0 {
		types = s.RiskEventTypesLegacy
	}
	if s.RiskState != "" || s.RiskLevelAggregated != "" || len(types) > 0 {
		r.Risk = &record.Risk{During: s.RiskLevelDuring, Aggregated: s.RiskLevelAggregated, State: s.RiskState, Detail: s.RiskDetail, Types: types}
	}
	return r, ""
}

func (s signIn) subject(kind SignInKind) identity.Ref {
	if kind == ServicePrincipal || kind == ManagedIdentity || s.UserID == "" && s.ServicePrincipalID != "" {
		return identity.Ref{
			Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: s.ServicePrincipalID, AppID: s.AppID,
			DisplayName: cmp.Or(s.ServicePrincipalName, s.AppDisplayName),
		}
	}
	ref := identity.Ref{
		Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: s.UserID, UPN: s.UserPrincipalName, DisplayName: s.UserDisplayName,
	}
	if strings.EqualFold(s.UserType, "guest") {
		ref.Kind = identity.KindGuest
	}
	return ref
}

// interrupts are the codes of sign-ins that asked for more instead of failing.
// Source: Microsoft Entra authentication and authorization error codes.
var interrupts = map[int]bool{
	50055: true, 50072: true, 50074: true, 50076: true, 50079: true, 50097: true, 50125: true, 50127: true, 50129: true, 50140: true, 50143: true,
	50144: true, 50158: true, 50199: true, 50203: true, 51006: true, 52004: true, 65001: true, 65004: true, 81012: true, 81014: true,
}

// signInResult says how a sign-in with the code ended.
func signInResult(n json.Number) (record.Result, string) {
	code, err := strconv.Atoi(n.String())
	switch {
	case n == "":
		return "", ""
	case err == nil && code == 0:
		return record.Success, ""
	case err == nil && interrupts[code]:
		return record.Interrupted, n.String()
	}
	return record.Failure, n.String()
}
