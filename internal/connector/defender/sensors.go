package defender

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
)

// Sensors reads the sensors of Defender for Identity. Each is a record, and a feed
// behind this one: a sensor that is silent sees no attack and carries out no action
// on its domain controller (law 10).
type Sensors struct {
	Tenant identity.Tenant
	Graph  *graph.Client
	Now    func() time.Time
}

// HealthIssues reads the health issues of Defender for Identity as records.
type HealthIssues struct {
	Tenant identity.Tenant
	Graph  *graph.Client
	Now    func() time.Time
}

var (
	_ connector.Source    = Sensors{}
	_ connector.Permitted = Sensors{}
	_ connector.Source    = HealthIssues{}
	_ connector.Permitted = HealthIssues{}
)

// Name is connector.Source's.
func (Sensors) Name() connector.Name { return "defender.sensors" }

// Name is connector.Source's.
func (HealthIssues) Name() connector.Name { return "defender.healthIssues" }

// Permissions is connector.Permitted's. Graph: security-identitycontainer-list-sensors.
func (Sensors) Permissions() []string { return []string{"SecurityIdentitiesSensors.Read.All"} }

// Permissions is connector.Permitted's. Graph: security-identitycontainer-list-healthissues.
func (HealthIssues) Permissions() []string { return []string{"SecurityIdentitiesHealth.Read.All"} }

// sensor is Graph's microsoft.graph.security.sensor, the fields we use.
type sensor struct {
	ID                    string     `json:"id"`
	DisplayName           string     `json:"displayName"`
	DomainName            string     `json:"domainName"`
	SensorType            string     `json:"sensorType"`
	HealthStatus          string     `json:"healthStatus"`
	ServiceStatus         string     `json:"serviceStatus"`
	DeploymentStatus      string     `json:"deploymentStatus"`
	OpenHealthIssuesCount int        `json:"openHealthIssuesCount"`
	CreatedDateTime       graph.Time `json:"createdDateTime"`
}

// working are the states in which a sensor tells what it sees; whatever else a
// source says, it does not (law 9). Empty: the source does not say.
// Graph: microsoft.graph.security.serviceStatus and deploymentStatus.
var (
	working  = map[string]bool{"": true, "running": true, "starting": true, "onboarding": true}
	deployed = map[string]bool{"": true, "uptodate": true, "outdated": true, "updating": true, "updatefailed": true, "syncing": true}
)

// elsewhere are sensors that are not on domain controllers: they change no accounts.
// Source: Microsoft Defender for Identity, remediation actions; Graph:
// microsoft.graph.security.sensorType.
var elsewhere = map[string]bool{"adfsintegrated": true, "adcsintegrated": true, "adconnectintegrated": true}

func (s sensor) report() connector.FeedReport {
	where := s.DisplayName
	if s.DomainName != "" {
		where += "." + s.DomainName
	}
	says := "healthy"
	if s.HealthStatus != "" {
		says = s.HealthStatus
	}
	for _, w := range []string{s.ServiceStatus, s.DeploymentStatus} {
		if w != "" {
			says += ", " + w
		}
	}
	if s.OpenHealthIssuesCount > 0 {
		says += fmt.Sprintf(", %d open health issues", s.OpenHealthIssuesCount)
	}
	acts := ""
	if !elsewhere[strings.ToLower(s.SensorType)] {
		acts = cmp.Or(strings.ToLower(s.DomainName), connector.AnyDomain)
	}
	return connector.FeedReport{
		Acts: acts, Stream: connector.Name("defender.sensors/" + cmp.Or(strings.ToLower(where), s.ID)), Says: says,
		Silent: !working[strings.ToLower(s.ServiceStatus)] || !deployed[strings.ToLower(s.DeploymentStatus)],
	}
}

// DecodeSensor converts one sensor as Graph sends it, read at the given time: the
// source does not say when it changed, so that the later reading counts.
func DecodeSensor(t identity.Tenant, raw json.RawMessage, at time.Time) (r record.Record, report connector.FeedReport, reason string) {
	var s sensor
	if err := json.Unmarshal(raw, &s); err != nil {
		return record.Record{}, connector.FeedReport{}, fmt.Sprintf("not a sensor: %v", err)
	}
	if s.ID == "" {
		return record.Record{}, connector.FeedReport{}, "a sensor without an id"
	}
	return record.Record{
		Tenant: t, Source: record.Sensor, ExternalID: s.ID, Type: s.SensorType, Title: s.DisplayName, State: cmp.Or(s.HealthStatus, "unknown"),
		At: cmp.Or(s.CreatedDateTime.At, at), UpdatedAt: at, Device: s.DisplayName, Raw: raw,
	}, s.report(), ""
}

// Pages is connector.Source's: each reading is of all sensors. Their reports come
// with the last page.
func (c Sensors) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		at := c.Now().UTC()
		reports := []connector.FeedReport{}
		add := func(page *connector.Page, raw json.RawMessage, place string) time.Time {
			r, report, reason := DecodeSensor(c.Tenant, raw, at)
			if reason != "" {
				page.Rejects = append(page.Rejects, connector.Reject{Source: "defender.sensor", Place: place, Reason: reason, Raw: raw})
				return time.Time{}
			}
			page.Records, reports = append(page.Records, r), append(reports, report)
			return time.Time{}
		}
		var held []connector.Page // the page that may be the last
		for page, err := range changed(ctx, c.Graph, c.Now, cur, reading{path: "/security/identities/sensors", top: "100", whole: true}, add) {
			if err != nil {
				yield(connector.Page{}, err)
				return
			}
			if len(held) > 0 && !yield(held[0], nil) {
				return
			}
			held = []connector.Page{page}
		}
		if len(held) > 0 {
			held[0].Feeds = reports
			yield(held[0], nil)
		}
	}
}

// healthIssue is Graph's microsoft.graph.security.healthIssue, the fields we use.
type healthIssue struct {
	ID                   string     `json:"id"`
	DisplayName          string     `json:"displayName"`
	Severity             string     `json:"severity"`
	Status               string     `json:"status"`
	HealthIssueType      string     `json:"healthIssueType"`
	SensorDNSNames       []string   `json:"sensorDNSNames"`
	CreatedDateTime      graph.Time `json:"createdDateTime"`
	LastModifiedDateTime graph.Time `json:"lastModifiedDateTime"`
}

// DecodeHealthIssue converts one health issue as Graph sends it.
func DecodeHealthIssue(t identity.Tenant, raw json.RawMessage) (r record.Record, reason string) {
	var h healthIssue
	if err := json.Unmarshal(raw, &h); err != nil {
		return record.Record{}, fmt.Sprintf("not a healthIssue: %v", err)
	}
	at := cmp.Or(h.CreatedDateTime.At, h.LastModifiedDateTime.At)
	if h.ID == "" || at.IsZero() {
		return record.Record{}, "a healthIssue without an id or any time"
	}
	return record.Record{
		Tenant: t, Source: record.HealthIssue, ExternalID: h.ID, Type: h.Severity, Title: h.DisplayName, State: cmp.Or(h.Status, "unknown"),
		At: at, UpdatedAt: h.LastModifiedDateTime.At, Device: strings.Join(h.SensorDNSNames, ", "), Raw: raw,
	}, ""
}

// Pages is connector.Source's: each reading is of all issues, open and closed.
func (c HealthIssues) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	return changed(ctx, c.Graph, c.Now, cur, reading{path: "/security/identities/healthIssues", top: "100", whole: true}, keep(c.Tenant, record.HealthIssue, DecodeHealthIssue))
}
