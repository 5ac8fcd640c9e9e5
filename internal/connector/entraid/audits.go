package entraid

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Audits reads auditLogs/directoryAudits as records: who changed what.
type Audits struct{ Tenant }

var (
	_ connector.Source    = Audits{}
	_ connector.Permitted = Audits{}
)

// Name is connector.Source's.
func (Audits) Name() connector.Name { return "entraid.directoryAudits" }

// Permissions is connector.Permitted's. Graph: directoryAudit-list.
func (Audits) Permissions() []string { return []string{"AuditLog.Read.All"} }

// Pages is connector.Source's.
func (c Audits) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	r := reading{path: "/auditLogs/directoryAudits", field: "activityDateTime", report: true, slice: reportSlice, reach: reportReach}
	return changed[directoryAudit](ctx, c.Tenant, cur, r, func(page *connector.Page, o graph.Object[directoryAudit], place string) time.Time {
		a, reason := DecodeAudit(c.ID, o.Raw)
		if reason != "" {
			page.Rejects = append(page.Rejects, connector.Reject{Source: signal.Source(record.DirectoryAudit), Place: place, Reason: reason, Raw: o.Raw})
			return time.Time{}
		}
		page.Records = append(page.Records, a)
		return a.At
	})
}

// directoryAudit is Graph's directoryAudit, the fields we use.
type directoryAudit struct {
	ID                  string     `json:"id"`
	Category            string     `json:"category"`
	CorrelationID       string     `json:"correlationId"`
	Result              string     `json:"result"`
	ResultReason        string     `json:"resultReason"`
	ActivityDisplayName string     `json:"activityDisplayName"`
	ActivityDateTime    graph.Time `json:"activityDateTime"`
	LoggedByService     string     `json:"loggedByService"`
	InitiatedBy         struct {
		User *struct {
			ID                string `json:"id"`
			DisplayName       string `json:"displayName"`
			UserPrincipalName string `json:"userPrincipalName"`
			IPAddress         string `json:"ipAddress"`
		} `json:"user"`
		App *struct {
			AppID                string `json:"appId"`
			DisplayName          string `json:"displayName"`
			ServicePrincipalID   string `json:"servicePrincipalId"`
			ServicePrincipalName string `json:"servicePrincipalName"`
		} `json:"app"`
	} `json:"initiatedBy"`
	TargetResources []auditTarget `json:"targetResources"`
	// TargetResource is how the published example spells it.
	TargetResource []auditTarget `json:"targetResource"`
}

type auditTarget struct {
	ID                string `json:"id"`
	DisplayName       string `json:"displayName"`
	Type              string `json:"type"`
	UserPrincipalName string `json:"userPrincipalName"`
}

// DecodeAudit converts one directoryAudit as Graph sends it; see Decode. Its targets
// become the record's other parties, each with its type as the role.
func DecodeAudit(t identity.Tenant, raw json.RawMessage) (r record.Record, reason string) {
	var a directoryAudit
	if err := json.Unmarshal(raw, &a); err != nil {
		return record.Record{}, fmt.Sprintf("not a directoryAudit: %v", err)
	}
	switch {
	case a.ID == "":
		return record.Record{}, "a directoryAudit without an id"
	case a.ActivityDateTime.At.IsZero():
		return record.Record{}, fmt.Sprintf("a directoryAudit that does not say when it happened: activityDateTime is %.40q", a.ActivityDateTime.Raw)
	}
	r = record.Record{
		Tenant: t, Source: record.DirectoryAudit, ExternalID: a.ID, Type: a.ActivityDisplayName, Title: a.Category, At: a.ActivityDateTime.At,
		Reason: a.ResultReason, App: a.LoggedByService, CorrelationID: a.CorrelationID, Raw: raw,
	}
	switch strings.ToLower(a.Result) { // Graph: operationResult
	case "success":
		r.Result, r.Reason = record.Success, ""
	case "failure", "timeout":
		r.Result = record.Failure
	}
	if u := a.InitiatedBy.User; u != nil {
		r.Subject = identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: u.ID, UPN: u.UserPrincipalName, DisplayName: u.DisplayName}
		r.IP = u.IPAddress
	} else if app := a.InitiatedBy.App; app != nil {
		r.Subject = identity.Ref{
			Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: app.ServicePrincipalID, AppID: app.AppID,
			DisplayName: cmp.Or(app.DisplayName, app.ServicePrincipalName),
		}
		r.AppID = app.AppID
	}
	for _, x := range append(a.TargetResources, a.TargetResource...) {
		if x.ID == "" && x.UserPrincipalName == "" {
			continue // a target without a name says nothing that Raw does not
		}
		r.Others = append(r.Others, record.Party{Role: x.Type, Ref: identity.Ref{
			Provider: identity.EntraID, Kind: targetKinds[strings.ToLower(x.Type)], ObjectID: x.ID, UPN: x.UserPrincipalName, DisplayName: x.DisplayName,
		}})
	}
	return r, ""
}

// targetKinds are the kinds of accounts among the types of targets.
var targetKinds = map[string]identity.Kind{"user": identity.KindPerson, "serviceprincipal": identity.KindWorkload, "application": identity.KindWorkload}
