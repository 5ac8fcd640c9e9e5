package defender

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
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Incidents reads security/incidents as records: what groups alerts, who works on
// it and what was made of it.
type Incidents struct {
	Tenant identity.Tenant
	Graph  *graph.Client
	Now    func() time.Time
}

var (
	_ connector.Source    = Incidents{}
	_ connector.Permitted = Incidents{}
)

// Name is connector.Source's.
func (Incidents) Name() connector.Name { return "defender.incidents" }

// Permissions is connector.Permitted's. Graph: security-list-incidents.
func (Incidents) Permissions() []string { return []string{"SecurityIncident.Read.All"} }

// incident is Graph's microsoft.graph.security.incident, the fields we use. Its
// enumerated values come in any case.
type incident struct {
	ID                 string     `json:"id"`
	DisplayName        string     `json:"displayName"`
	Status             string     `json:"status"`
	Classification     string     `json:"classification"`
	Determination      string     `json:"determination"`
	Severity           string     `json:"severity"`
	RedirectIncidentID string     `json:"redirectIncidentId"` // what it was merged into
	CreatedDateTime    graph.Time `json:"createdDateTime"`
	LastUpdateDateTime graph.Time `json:"lastUpdateDateTime"`
}

// DecodeIncident converts one incident as Graph sends it. CorrelationID is the
// incident that it was merged into, if it was; Result is its classification.
func DecodeIncident(t identity.Tenant, raw json.RawMessage) (r record.Record, reason string) {
	var i incident
	if err := json.Unmarshal(raw, &i); err != nil {
		return record.Record{}, fmt.Sprintf("not an incident: %v", err)
	}
	if i.ID == "" {
		return record.Record{}, "an incident without an id"
	}
	at := cmp.Or(i.CreatedDateTime.At, i.LastUpdateDateTime.At)
	if at.IsZero() {
		return record.Record{}, fmt.Sprintf("an incident that does not say when it began: createdDateTime is %.40q", i.CreatedDateTime.Raw)
	}
	return record.Record{
		Tenant: t, Source: record.Incident, ExternalID: i.ID, Type: i.Severity, Title: i.DisplayName, State: cmp.Or(i.Status, "unknown"),
		Result: record.Result(classification(i.Classification)), Reason: determination(i.Determination),
		At: at, UpdatedAt: i.LastUpdateDateTime.At, CorrelationID: i.RedirectIncidentID, Raw: raw,
	}, ""
}

// Pages is connector.Source's.
func (c Incidents) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	// Graph: security-list-incidents: at most 50 a page.
	return changed(ctx, c.Graph, c.Now, cur, reading{path: "/security/incidents", top: "50"}, keep(c.Tenant, record.Incident, DecodeIncident))
}

// keep puts what decode makes of an object into the page.
func keep(t identity.Tenant, source record.Source, decode func(identity.Tenant, json.RawMessage) (record.Record, string)) func(*connector.Page, json.RawMessage, string) time.Time {
	return func(page *connector.Page, raw json.RawMessage, place string) time.Time {
		r, reason := decode(t, raw)
		if reason != "" {
			page.Rejects = append(page.Rejects, connector.Reject{Source: signal.Source(source), Place: place, Reason: reason, Raw: raw})
			return time.Time{}
		}
		page.Records = append(page.Records, r)
		return r.UpdatedAt
	}
}
