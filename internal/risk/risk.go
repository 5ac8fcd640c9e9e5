// Package risk forms Cordon's own opinion of an identity. Assess is a pure
// function of stored inputs and a time, so that an assessment can be computed
// again, years later, to the same number.
package risk

import (
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Rules is the version of the arithmetic and of the catalogue's weights; it is
// stored with each assessment.
const Rules = "2026-11.3"

// An Input is everything an assessment rests on.
type Input struct {
	Tenant   identity.Tenant      `json:"tenant"`
	Identity identity.ID          `json:"identity"`
	Signals  []signal.Signal      `json:"signals"`      // any order; Raw is not looked at
	Accounts []signal.AccountRisk `json:"accountRisks"` // what the sources say of the accounts as a whole
	Verdict  Verdict              `json:"verdict,omitzero"`
}

// A Verdict is what an operator decided about the identity's open case: signals
// up to At count for nothing after safe or benign.
type Verdict struct {
	Word string    `json:"word"` // compromised, safe, benign
	At   time.Time `json:"at"`
}

// A Reason is one line of the explanation. The points of all reasons sum to the
// score exactly.
type Reason struct {
	Text   string        `json:"text"`
	Points int           `json:"points"`
	Source signal.Source `json:"source,omitempty"`
	Signal string        `json:"signal,omitempty"` // the signal's ExternalID
	At     time.Time     `json:"at,omitzero"`
}

// An Assessment is our opinion with its reasons.
type Assessment struct {
	Tenant   identity.Tenant `json:"tenant"`
	Identity identity.ID     `json:"identity"`
	Level    signal.Level    `json:"level"` // none, low, medium, high
	Score    int             `json:"score"` // 0 to 100
	Reasons  []Reason        `json:"reasons"`
	Causes   []signal.Cause  `json:"causes,omitempty"` // of the signals that count, strongest first
	Rules    string          `json:"rules"`
	At       time.Time       `json:"at"`
}
