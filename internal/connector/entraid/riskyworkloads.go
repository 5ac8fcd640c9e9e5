package entraid

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// RiskyWorkloads reads identityProtection/riskyServicePrincipals: Microsoft's
// standing opinion of each application.
type RiskyWorkloads struct{ Tenant }

// RiskyAgents reads identityProtection/riskyAgents, which is beta.
type RiskyAgents struct{ Tenant }

// AgentDetections reads identityProtection/agentRiskDetections, which is beta.
type AgentDetections struct{ Tenant }

var (
	_ connector.Source    = RiskyWorkloads{}
	_ connector.Permitted = RiskyWorkloads{}
	_ connector.Source    = RiskyAgents{}
	_ connector.Permitted = RiskyAgents{}
	_ connector.Source    = AgentDetections{}
	_ connector.Permitted = AgentDetections{}
)

// Name is connector.Source's.
func (RiskyWorkloads) Name() connector.Name { return "entraid.riskyServicePrincipals" }

// Name is connector.Source's.
func (RiskyAgents) Name() connector.Name { return "entraid.riskyAgents" }

// Name is connector.Source's.
func (AgentDetections) Name() connector.Name { return "entraid.agentRiskDetections" }

// Permissions is connector.Permitted's. Graph: riskyServicePrincipal-list.
func (RiskyWorkloads) Permissions() []string {
	return []string{"IdentityRiskyServicePrincipal.Read.All"}
}

// Permissions is connector.Permitted's. Graph beta: riskyAgent-list.
func (RiskyAgents) Permissions() []string { return []string{"IdentityRiskyAgent.Read.All"} }

// Permissions is connector.Permitted's. Graph beta: agentRiskDetection-list.
func (AgentDetections) Permissions() []string { return []string{"IdentityRiskEvent.Read.All"} }

// riskyWorkload is Graph's riskyServicePrincipal and its history item.
type riskyWorkload struct {
	ID                      string     `json:"id"`
	AppID                   string     `json:"appId"`
	DisplayName             string     `json:"displayName"`
	IsProcessing            bool       `json:"isProcessing"`
	RiskLevel               string     `json:"riskLevel"`
	RiskState               string     `json:"riskState"`
	RiskDetail              string     `json:"riskDetail"`
	RiskLastUpdatedDateTime graph.Time `json:"riskLastUpdatedDateTime"`
	ServicePrincipalID      string     `json:"servicePrincipalId"` // history items only
	InitiatedBy             string     `json:"initiatedBy"`        // history items only
}

func (w riskyWorkload) risk(t identity.Tenant, raw json.RawMessage) signal.AccountRisk {
	return signal.AccountRisk{
		Tenant:  t,
		Subject: identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: w.ID, AppID: w.AppID, DisplayName: w.DisplayName},
		Level:   signal.Level(w.RiskLevel), State: signal.State(w.RiskState), Detail: w.RiskDetail,
		Processing: w.IsProcessing, By: w.InitiatedBy, UpdatedAt: w.RiskLastUpdatedDateTime.At, Raw: raw,
	}
}

// DecodeRiskyWorkload converts one riskyServicePrincipal, or one item of its history,
// as Graph sends it; see Decode.
func DecodeRiskyWorkload(t identity.Tenant, raw json.RawMessage) (r signal.AccountRisk, reason string) {
	var w riskyWorkload
	if err := json.Unmarshal(raw, &w); err != nil {
		return signal.AccountRisk{}, fmt.Sprintf("not a riskyServicePrincipal: %v", err)
	}
	w.ID = cmp.Or(w.ServicePrincipalID, w.ID) // an item of the history has an id of its own
	if w.ID == "" {
		return signal.AccountRisk{}, "a riskyServicePrincipal without an id"
	}
	return w.risk(t, raw), ""
}

// Pages is connector.Source's.
func (c RiskyWorkloads) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	r := reading{path: "/identityProtection/riskyServicePrincipals", field: "riskLastUpdatedDateTime"}
	return changed[riskyWorkload](ctx, c.Tenant, cur, r, addRisk[riskyWorkload](c.ID, "entra.riskyServicePrincipal", DecodeRiskyWorkload))
}

// addRisk puts an account's risk into the page.
func addRisk[T any](t identity.Tenant, source signal.Source, decode func(identity.Tenant, json.RawMessage) (signal.AccountRisk, string)) func(*connector.Page, graph.Object[T], string) time.Time {
	return func(page *connector.Page, o graph.Object[T], place string) time.Time {
		r, reason := decode(t, o.Raw)
		if reason != "" {
			page.Rejects = append(page.Rejects, connector.Reject{Source: source, Place: place, Reason: reason, Raw: o.Raw})
			return time.Time{}
		}
		page.Accounts = append(page.Accounts, r)
		return r.UpdatedAt
	}
}

// riskyAgent is Graph's riskyAgent (beta), of all its derived types.
type riskyAgent struct {
	ID                       string     `json:"id"`
	AgentDisplayName         string     `json:"agentDisplayName"`
	IsDeleted                bool       `json:"isDeleted"`
	IsProcessing             bool       `json:"isProcessing"`
	RiskLevel                string     `json:"riskLevel"`
	RiskState                string     `json:"riskState"`
	RiskDetail               string     `json:"riskDetail"`
	RiskLastModifiedDateTime graph.Time `json:"riskLastModifiedDateTime"`
}

// DecodeRiskyAgent converts one riskyAgent as Graph's beta sends it; see Decode.
func DecodeRiskyAgent(t identity.Tenant, raw json.RawMessage) (r signal.AccountRisk, reason string) {
	var a riskyAgent
	if err := json.Unmarshal(raw, &a); err != nil {
		return signal.AccountRisk{}, fmt.Sprintf("not a riskyAgent: %v", err)
	}
	if a.ID == "" {
		return signal.AccountRisk{}, "a riskyAgent without an id"
	}
	return signal.AccountRisk{
		Tenant:  t,
		Subject: identity.Ref{Provider: identity.EntraID, Kind: identity.KindAgent, ObjectID: a.ID, DisplayName: a.AgentDisplayName},
		Level:   signal.Level(a.RiskLevel), State: signal.State(a.RiskState), Detail: a.RiskDetail, Processing: a.IsProcessing, Deleted: a.IsDeleted,
		UpdatedAt: a.RiskLastModifiedDateTime.At, Raw: raw,
	}, ""
}

// Pages is connector.Source's. The beta page names no time to filter by, and agents
// are few: each reading is of all of them.
func (c RiskyAgents) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	r := reading{path: "/identityProtection/riskyAgents", beta: true, whole: true}
	return changed[riskyAgent](ctx, c.Tenant, cur, r, addRisk[riskyAgent](c.ID, "entra.riskyAgent", DecodeRiskyAgent))
}

// agentDetection is Graph's agentRiskDetection (beta).
type agentDetection struct {
	detection
	AgentID              string     `json:"agentId"`
	AgentDisplayName     string     `json:"agentDisplayName"`
	BlueprintID          string     `json:"blueprintId"`
	IdentityType         string     `json:"identityType"`
	RiskEvidence         string     `json:"riskEvidence"`
	LastModifiedDateTime graph.Time `json:"lastModifiedDateTime"`
}

// DecodeAgent converts one agentRiskDetection as Graph's beta sends it; see Decode.
// What the source says it saw becomes the pair "riskEvidence" of the signal's Info.
func DecodeAgent(t identity.Tenant, raw json.RawMessage) (s signal.Signal, reason string) {
	var d agentDetection
	if err := json.Unmarshal(raw, &d); err != nil {
		return signal.Signal{}, fmt.Sprintf("not an agentRiskDetection: %v", err)
	}
	if d.LastUpdatedDateTime.At.IsZero() {
		d.LastUpdatedDateTime = d.LastModifiedDateTime
	}
	s, reason = d.signal(t, signal.AgentDetection, raw)
	s.Subject = identity.Ref{Provider: identity.EntraID, Kind: identity.KindAgent, ObjectID: d.AgentID, DisplayName: d.AgentDisplayName}
	for _, kv := range [][2]string{{"riskEvidence", d.RiskEvidence}, {"blueprintId", d.BlueprintID}, {"identityType", d.IdentityType}} {
		if kv[1] != "" {
			text, err := json.Marshal(kv[1])
			if err == nil { // a string always marshals
				s.Info = append(s.Info, signal.KV{Key: kv[0], Value: text})
			}
		}
	}
	return s, reason
}

// Pages is connector.Source's: each reading is of all of them, as for RiskyAgents.
func (c AgentDetections) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	r := reading{path: "/identityProtection/agentRiskDetections", beta: true, whole: true}
	return changed[agentDetection](ctx, c.Tenant, cur, r, func(page *connector.Page, o graph.Object[agentDetection], place string) time.Time {
		s, reason := DecodeAgent(c.ID, o.Raw)
		if reason != "" {
			page.Rejects = append(page.Rejects, connector.Reject{Source: signal.AgentDetection, Place: place, Reason: reason, Raw: o.Raw})
			return time.Time{}
		}
		page.Signals = append(page.Signals, s)
		return s.UpdatedAt
	})
}
