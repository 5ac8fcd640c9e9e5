// Package signal is the one shape of everything a source tells Cordon about an
// identity at risk. High-volume records (sign-ins, audits, logons) are not
// signals until somebody says they are suspicious. It is pure: no I/O, no clock.
package signal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Source names a product and object that signals come from.
type Source string

// The sources of signals.
const (
	RiskDetection     Source = "entra.riskDetection"                 // Graph: identityProtection/riskDetections
	WorkloadDetection Source = "entra.servicePrincipalRiskDetection" // Graph: identityProtection/servicePrincipalRiskDetections
	AgentDetection    Source = "entra.agentRiskDetection"            // Graph beta: identityProtection/agentRiskDetections
	DefenderAlert     Source = "defender.alert"                      // Graph: security/alerts_v2
	Watch             Source = "cordon.watch"                        // Cordon's own watching: what it did is not so any more
)

// Product says which product speaks: corroboration counts products, not objects.
func (s Source) Product() string {
	p, _, _ := strings.Cut(string(s), ".")
	return p
}

// Level is a source's opinion of risk. The values are Graph's riskLevel; alerts
// map their severity to it with FromSeverity. Unknown words are kept as they come.
type Level string

// Graph's riskLevel.
const (
	LevelNone   Level = "none"
	LevelLow    Level = "low"
	LevelMedium Level = "medium"
	LevelHigh   Level = "high"
	LevelHidden Level = "hidden" // the licence is too low to see it
)

// Rank orders levels: none 0, low 1, medium 2, high 3. A hidden or unheard-of
// level ranks as medium, because unknown is not safe (law 9).
func (l Level) Rank() int {
	switch l {
	case LevelNone, "":
		return 0
	case LevelLow:
		return 1
	case LevelHigh:
		return 3
	}
	return 2
}

// FromSeverity maps a Defender alert severity (microsoft.graph.security
// alertSeverity) to a level.
func FromSeverity(s string) Level {
	switch strings.ToLower(s) {
	case "informational", "low":
		return LevelLow
	case "medium":
		return LevelMedium
	case "high":
		return LevelHigh
	}
	return LevelHidden
}

// State is a source's word for where its risk stands; the values are Graph's
// riskState, and for alerts "new", "inProgress" and "resolved".
type State string

// Graph's riskState.
const (
	StateNone                 State = "none"
	StateAtRisk               State = "atRisk"
	StateConfirmedCompromised State = "confirmedCompromised"
	StateRemediated           State = "remediated"
	StateDismissed            State = "dismissed"
	StateConfirmedSafe        State = "confirmedSafe"
)

// Open reports whether the source still counts it: everything but the states
// that say closed. An unheard-of state is open (law 9).
func (s State) Open() bool {
	switch s {
	case StateNone, StateRemediated, StateDismissed, StateConfirmedSafe, Resolved:
		return false
	}
	return true
}

// Microsoft's words for what somebody made of an alert. Source: Graph,
// microsoft.graph.security.alertClassification.
const (
	TruePositive     = "truePositive"
	FalsePositive    = "falsePositive"
	ExpectedActivity = "informationalExpectedActivity"
)

// Resolved is the state of an alert that somebody closed at Defender.
const Resolved State = "resolved"

// ClosedUnjudged reports whether s is an alert that was closed at its source and that
// nobody called false or expected there: work on it ended, which says nothing of
// whether the account is safe.
func (s Signal) ClosedUnjudged() bool {
	return s.Source == DefenderAlert && s.State == Resolved && s.Classification != FalsePositive && s.Classification != ExpectedActivity
}

// Key identifies a signal for ever: the same thing told twice has the same Key.
type Key struct {
	Tenant     identity.Tenant `json:"tenant"`
	Source     Source          `json:"source"`
	ExternalID string          `json:"externalId"`
}

// A KV is one pair of a detection's additionalInfo, values kept as JSON.
type KV struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// A Signal is one normalised thing a source told us. It is immutable: a source
// that changes its mind sends another with the same Key and a later UpdatedAt.
// All times are UTC.
type Signal struct {
	Tenant     identity.Tenant `json:"tenant"`
	Source     Source          `json:"source"`
	ExternalID string          `json:"externalId"`

	Type   string `json:"type"`             // riskEventType, or the alert's stable type; an open set
	Title  string `json:"title,omitempty"`  // for people
	Level  Level  `json:"level"`            // the source's opinion
	State  State  `json:"state,omitempty"`  // the source's state
	Detail string `json:"detail,omitempty"` // riskDetail, or the alert's determination

	// Classification is what somebody made of an alert at its source, in Microsoft's
	// words: truePositive, falsePositive, informationalExpectedActivity. Empty: nobody
	// has said.
	Classification string `json:"classification,omitempty"`

	// Detector is the alert's stable id, which outlives its title: Defender's
	// detectorId, or the numeric external id of a classic alert. Several titles may
	// share one.
	Detector string `json:"detector,omitempty"`

	Subject identity.Ref   `json:"subject"`          // whose it is
	Others  []identity.Ref `json:"others,omitempty"` // other accounts the source names: actor, target, impacted

	ActivityAt time.Time `json:"activityAt,omitzero"` // when the thing itself happened
	DetectedAt time.Time `json:"detectedAt,omitzero"` // when the source found it
	UpdatedAt  time.Time `json:"updatedAt"`           // when the source last changed its record; decides which version is newer

	Timing        string   `json:"timing,omitempty"` // detectionTimingType
	IP            string   `json:"ip,omitempty"`
	Location      string   `json:"location,omitempty"`
	RequestID     string   `json:"requestId,omitempty"`     // the sign-in it belongs to
	CorrelationID string   `json:"correlationId,omitempty"` //
	IncidentID    string   `json:"incidentId,omitempty"`    // Defender's grouping
	Techniques    []string `json:"techniques,omitempty"`    // ATT&CK

	Info    []KV   `json:"info,omitempty"`    // additionalInfo, parsed
	InfoRaw string `json:"infoRaw,omitempty"` // additionalInfo as it came when it could not be parsed

	// Partial says that the source tells this piece by piece and more may come; a
	// whole version always replaces a partial one.
	Partial bool `json:"partial,omitempty"`

	Notes []string        `json:"notes,omitempty"` // what the edge had to tolerate: a malformed date, an unknown enum member
	Raw   json.RawMessage `json:"raw,omitempty"`   // the source's own record, whole
}

// Key returns the signal's key.
func (s Signal) Key() Key { return Key{s.Tenant, s.Source, s.ExternalID} }

// At is the time by which a signal counts: its activity, else its detection,
// else its last update.
func (s Signal) At() time.Time {
	switch {
	case !s.ActivityAt.IsZero():
		return s.ActivityAt
	case !s.DetectedAt.IsZero():
		return s.DetectedAt
	}
	return s.UpdatedAt
}

// Same reports whether s says what old says: another channel delivered the same
// version in another envelope. Nothing follows from it.
func (s Signal) Same(old Signal) bool {
	if !s.UpdatedAt.Equal(old.UpdatedAt) || s.Key() != old.Key() {
		return false
	}
	s.Raw, old.Raw, s.Notes, old.Notes = nil, nil, nil, nil
	s.UpdatedAt, old.UpdatedAt = time.Time{}, time.Time{}
	return bytes.Equal(text(s), text(old))
}

// Newer reports whether s replaces old: a whole version a partial one, of two partial
// ones the one that rests on more; else a later update, or the same update time
// with other content (sources with coarse clocks change a record twice within a
// tick): then the one that closes it wins, else the higher level, else an order
// that means nothing but is always the same. Of two versions that differ exactly
// one is newer, so that the order in which they arrive does not matter.
func (s Signal) Newer(old Signal) bool {
	if s.Partial != old.Partial {
		return old.Partial
	}
	if a, b := len(s.Raw), len(old.Raw); s.Partial && a != b {
		return a > b
	}
	if !s.UpdatedAt.Equal(old.UpdatedAt) {
		return s.UpdatedAt.After(old.UpdatedAt)
	}
	if s.State.Open() != old.State.Open() {
		return old.State.Open()
	}
	if a, b := s.Level.Rank(), old.Level.Rank(); a != b {
		return a > b
	}
	s.UpdatedAt, old.UpdatedAt = time.Time{}, time.Time{} // the same instant in another zone is no difference
	return bytes.Compare(text(s), text(old)) > 0
}

// text is v in canonical form.
func text(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // Raw or Info hold what is not JSON
		return fmt.Appendf(nil, "%#v", v)
	}
	return b
}

// An AccountRisk is a source's standing opinion of an account as a whole:
// Graph's riskyUser or riskyServicePrincipal.
type AccountRisk struct {
	Tenant     identity.Tenant `json:"tenant"`
	Subject    identity.Ref    `json:"subject"`
	Level      Level           `json:"level"`
	State      State           `json:"state"`
	Detail     string          `json:"detail,omitempty"`
	Processing bool            `json:"processing,omitempty"` // feedback is still being worked on
	Deleted    bool            `json:"deleted,omitempty"`
	By         string          `json:"by,omitempty"` // who changed it, as the source's history says; empty for the source itself
	UpdatedAt  time.Time       `json:"updatedAt"`
	Raw        json.RawMessage `json:"raw,omitempty"`
}

// Same is Signal.Same for account risks.
func (r AccountRisk) Same(old AccountRisk) bool {
	if !r.UpdatedAt.Equal(old.UpdatedAt) {
		return false
	}
	r.Raw, old.Raw = nil, nil
	r.UpdatedAt, old.UpdatedAt = time.Time{}, time.Time{}
	return bytes.Equal(text(r), text(old))
}

// Newer reports whether r replaces old, in the order of Signal.Newer; between
// them the one that is not being processed any more wins over the one that is, and
// the one that says who changed it over the one that does not.
func (r AccountRisk) Newer(old AccountRisk) bool {
	if !r.UpdatedAt.Equal(old.UpdatedAt) {
		return r.UpdatedAt.After(old.UpdatedAt)
	}
	if r.Processing != old.Processing {
		return old.Processing
	}
	if r.State.Open() != old.State.Open() {
		return old.State.Open()
	}
	if a, b := r.Level.Rank(), old.Level.Rank(); a != b {
		return a > b
	}
	if (r.By != "") != (old.By != "") {
		return r.By != ""
	}
	r.UpdatedAt, old.UpdatedAt = time.Time{}, time.Time{}
	return bytes.Compare(text(r), text(old)) > 0
}

// ParseInfo reads a detection's additionalInfo: a string that holds a JSON array
// of Key/Value pairs whose Value may be a string, an array or null. Empty and
// null mean none. Malformed text comes back in raw, whole, and never as an error.
func ParseInfo(text string) (info []KV, raw string) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || trimmed == "null" {
		return nil, ""
	}
	var pairs []struct {
		Key   *string         `json:"Key"`
		Value json.RawMessage `json:"Value"`
	}
	if err := json.Unmarshal([]byte(trimmed), &pairs); err != nil {
		return nil, text
	}
	for _, p := range pairs {
		if p.Key == nil {
			return nil, text
		}
		v := p.Value
		if len(v) == 0 {
			v = json.RawMessage("null")
		}
		info = append(info, KV{*p.Key, v})
	}
	return info, ""
}

// InfoString returns the value of key in the signal's additionalInfo when it is
// a string.
func (s Signal) InfoString(key string) (string, bool) {
	for _, kv := range s.Info {
		if kv.Key == key {
			var v string
			return v, json.Unmarshal(kv.Value, &v) == nil && string(kv.Value) != "null"
		}
	}
	return "", false
}
