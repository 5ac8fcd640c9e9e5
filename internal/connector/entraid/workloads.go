package entraid

import (
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

// WorkloadDetections reads identityProtection/servicePrincipalRiskDetections:
// risk of applications rather than of people.
type WorkloadDetections struct{ Tenant }

var (
	_ connector.Source    = WorkloadDetections{}
	_ connector.Permitted = WorkloadDetections{}
)

// Name is connector.Source's.
func (WorkloadDetections) Name() connector.Name { return "entraid.servicePrincipalRiskDetections" }

// Permissions is connector.Permitted's. Graph: servicePrincipalRiskDetection-list.
func (WorkloadDetections) Permissions() []string { return []string{"IdentityRiskEvent.Read.All"} }

// workloadDetection is Graph's servicePrincipalRiskDetection.
type workloadDetection struct {
	detection
	ServicePrincipalID          string          `json:"servicePrincipalId"`
	ServicePrincipalDisplayName string          `json:"servicePrincipalDisplayName"`
	AppID                       string          `json:"appId"`
	KeyIDs                      json.RawMessage `json:"keyIds"` // a list of GUIDs
}

// DecodeWorkload converts one servicePrincipalRiskDetection as Graph sends it;
// see Decode. The ids of the suspect credentials become the pair "keyIds" of the
// signal's Info.
func DecodeWorkload(t identity.Tenant, raw json.RawMessage) (s signal.Signal, reason string) {
	var d workloadDetection
	if err := json.Unmarshal(raw, &d); err != nil {
		return signal.Signal{}, fmt.Sprintf("not a servicePrincipalRiskDetection: %v", err)
	}
	s, reason = d.signal(t, signal.WorkloadDetection, raw)
	s.Subject = identity.Ref{
		Provider: identity.EntraID, Kind: identity.KindWorkload,
		ObjectID: d.ServicePrincipalID, AppID: d.AppID, DisplayName: d.ServicePrincipalDisplayName,
	}
	if text := string(d.KeyIDs); text != "" && text != "null" && text != "[]" {
		s.Info = append(s.Info, signal.KV{Key: "keyIds", Value: d.KeyIDs})
	}
	return s, reason
}

// Pages is connector.Source's.
func (c WorkloadDetections) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	return changed[workloadDetection](ctx, c.Tenant, cur, reading{path: "/identityProtection/servicePrincipalRiskDetections", field: "lastUpdatedDateTime"},
		func(page *connector.Page, o graph.Object[workloadDetection], place string) time.Time {
			s, reason := DecodeWorkload(c.ID, o.Raw)
			if reason != "" {
				page.Rejects = append(page.Rejects, connector.Reject{Source: signal.WorkloadDetection, Place: place, Reason: reason, Raw: o.Raw})
				return time.Time{}
			}
			page.Signals = append(page.Signals, s)
			return s.UpdatedAt
		})
}
