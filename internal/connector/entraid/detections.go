// Package entraid reads Microsoft Entra ID Protection and the directory facts
// that go with it, through Microsoft Graph. It converts at the edge, keeps raw
// records, and neither retries nor stores.
package entraid

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// top is the page size asked for. Graph: riskDetections, $top at most 500.
const top = "500"

// A Tenant is what every source of one tenant needs.
type Tenant struct {
	ID    identity.Tenant
	Graph *graph.Client
	// Pace is waited for before each request to identity protection, which
	// allows one a second for the whole tenant. nil: never waits.
	Pace connector.Pacer
	// PaceReports is waited for before each request to the reports (sign-ins,
	// audits, registration), which allow five in ten seconds. nil: never waits.
	PaceReports connector.Pacer
	Now         func() time.Time
}

func (t Tenant) pace(ctx context.Context) error {
	if t.Pace == nil {
		return nil
	}
	return t.Pace(ctx)
}

// Detections reads identityProtection/riskDetections.
type Detections struct{ Tenant }

var (
	_ connector.Source    = Detections{}
	_ connector.Permitted = Detections{}
)

// Name is connector.Source's.
func (Detections) Name() connector.Name { return "entraid.riskDetections" }

// Permissions is connector.Permitted's. Graph: riskDetection-list.
func (Detections) Permissions() []string { return []string{"IdentityRiskEvent.Read.All"} }

// detection is Graph's riskDetection, the fields we use, under its names.
type detection struct {
	ID                  string     `json:"id"`
	RequestID           string     `json:"requestId"`
	CorrelationID       string     `json:"correlationId"`
	RiskEventType       string     `json:"riskEventType"`
	RiskType            string     `json:"riskType"` // older synonym of riskEventType
	RiskLevel           string     `json:"riskLevel"`
	RiskState           string     `json:"riskState"`
	RiskDetail          string     `json:"riskDetail"`
	DetectionTimingType string     `json:"detectionTimingType"`
	IPAddress           string     `json:"ipAddress"`
	ActivityDateTime    graph.Time `json:"activityDateTime"`
	DetectedDateTime    graph.Time `json:"detectedDateTime"`
	LastUpdatedDateTime graph.Time `json:"lastUpdatedDateTime"`
	UserID              string     `json:"userId"`
	UserDisplayName     string     `json:"userDisplayName"`
	UserPrincipalName   string     `json:"userPrincipalName"`
	AdditionalInfo      *string    `json:"additionalInfo"`
	Location            *location  `json:"location"`
}

type location struct {
	City            string `json:"city"`
	State           string `json:"state"`
	CountryOrRegion string `json:"countryOrRegion"`
}

func (l *location) String() string {
	if l == nil {
		return ""
	}
	var parts []string
	for _, p := range []string{l.City, l.State, l.CountryOrRegion} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

// Decode converts one riskDetection as Graph sends it. reason says why it cannot
// be used; then the signal is not valid. Everything else that is odd is kept and
// noted.
func Decode(t identity.Tenant, raw json.RawMessage) (s signal.Signal, reason string) {
	var d detection
	if err := json.Unmarshal(raw, &d); err != nil {
		return signal.Signal{}, fmt.Sprintf("not a riskDetection: %v", err)
	}
	return d.ofPerson(t, raw)
}

func (d detection) ofPerson(t identity.Tenant, raw json.RawMessage) (signal.Signal, string) {
	s, reason := d.signal(t, signal.RiskDetection, raw)
	s.Subject = identity.Ref{
		Provider: identity.EntraID, Kind: identity.KindPerson,
		ObjectID: d.UserID, UPN: d.UserPrincipalName, DisplayName: d.UserDisplayName,
	}
	return s, reason
}

// signal converts what the detections of people and of workloads share: all but
// the subject.
func (d detection) signal(t identity.Tenant, source signal.Source, raw json.RawMessage) (signal.Signal, string) {
	if d.ID == "" {
		return signal.Signal{}, "a detection without an id"
	}
	if d.RiskEventType == "" {
		d.RiskEventType = d.RiskType
	}
	s := signal.Signal{
		Tenant: t, Source: source, ExternalID: d.ID,
		Type: d.RiskEventType, Level: signal.Level(d.RiskLevel), State: signal.State(d.RiskState), Detail: d.RiskDetail,
		ActivityAt: d.ActivityDateTime.At, DetectedAt: d.DetectedDateTime.At, UpdatedAt: d.LastUpdatedDateTime.At,
		Timing: d.DetectionTimingType, IP: d.IPAddress, Location: d.Location.String(),
		RequestID: d.RequestID, CorrelationID: d.CorrelationID, Raw: raw,
	}
	for _, f := range []struct {
		name string
		at   graph.Time
	}{{"activityDateTime", d.ActivityDateTime}, {"detectedDateTime", d.DetectedDateTime}, {"lastUpdatedDateTime", d.LastUpdatedDateTime}} {
		if f.at.Malformed() {
			s.Notes = append(s.Notes, fmt.Sprintf("%s is no time: %.40q", f.name, f.at.Raw))
		}
	}
	if s.UpdatedAt.IsZero() {
		s.UpdatedAt = maxTime(s.DetectedAt, s.ActivityAt)
	}
	if d.AdditionalInfo != nil {
		if s.Info, s.InfoRaw = signal.ParseInfo(*d.AdditionalInfo); s.InfoRaw != "" {
			s.Notes = append(s.Notes, "additionalInfo is not the JSON it should be; kept as text")
		}
	}
	if v, ok := s.InfoString("mitreTechniques"); ok {
		s.Techniques = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
	}
	return s, ""
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Pages is connector.Source's. Graph promises no order, so the cursor moves with
// the last page only.
func (c Detections) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	return changed[detection](ctx, c.Tenant, cur, reading{path: "/identityProtection/riskDetections", field: "lastUpdatedDateTime"},
		func(page *connector.Page, o graph.Object[detection], place string) time.Time {
			s, reason := o.Value.ofPerson(c.ID, o.Raw)
			if o.Err != nil {
				s, reason = Decode(c.ID, o.Raw) // it says why
			}
			if reason != "" {
				page.Rejects = append(page.Rejects, connector.Reject{Source: signal.RiskDetection, Place: place, Reason: reason, Raw: o.Raw})
				return time.Time{}
			}
			page.Signals = append(page.Signals, s)
			return s.UpdatedAt
		})
}
