// Package risk forms Cordon's own opinion of an identity. Assess is a pure
// function of stored inputs and a time, so that an assessment can be computed
// again, years later, to the same number. Beside it stand the risk of single
// sign-ins, Microsoft's life cycle of risk as a state machine, and what a closed
// risk leaves open.
package risk

import (
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Rules is the version of the arithmetic and of the catalogue's weights; it is
// stored with each assessment.
const Rules = "2026-11.5"

// An Input is everything an assessment rests on.
type Input struct {
	Tenant   identity.Tenant      `json:"tenant"`
	Identity identity.ID          `json:"identity"`
	Signals  []signal.Signal      `json:"signals"`      // any order; Raw is not looked at
	Accounts []signal.AccountRisk `json:"accountRisks"` // what the sources say of the accounts as a whole
	Verdict  Verdict              `json:"verdict,omitzero"`
	// CaseSince is when the identity's open case was opened; zero: it has none. An alert
	// that was closed at its source since then, and that nobody called false or expected
	// there, still counts: whether the account is safe is for the case's verdict to say.
	CaseSince time.Time `json:"caseSince,omitzero"`
	// Exceptions are the tenant's; those not in force at the time of the assessment
	// count for nothing.
	Exceptions []Exception `json:"exceptions,omitempty"`
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
	Type   string        `json:"type,omitempty"`   // the source's own word for it, where Text has another
	Signal string        `json:"signal,omitempty"` // the signal's ExternalID
	At     time.Time     `json:"at,omitzero"`
	// Account is the account the reason is about, in words; set only when the
	// identity has signals about several.
	Account string `json:"account,omitempty"`
	// Lowered names the exceptions that made it count for less.
	Lowered []string `json:"lowered,omitempty"`
}

// An AccountScore is the opinion of one account alone.
type AccountScore struct {
	Account string       `json:"account"` // in words
	Level   signal.Level `json:"level"`
	Score   int          `json:"score"`
}

// An Assessment is our opinion with its reasons: of the identity as a whole, which
// is user risk. Single sign-ins are judged by SignIns.
type Assessment struct {
	Tenant   identity.Tenant `json:"tenant"`
	Identity identity.ID     `json:"identity"`
	Level    signal.Level    `json:"level"` // none, low, medium, high
	Score    int             `json:"score"` // 0 to 100: how likely it is that somebody else is at work
	Reasons  []Reason        `json:"reasons"`
	Causes   []signal.Cause  `json:"causes,omitempty"` // of the signals that count, strongest first
	// Accounts are the opinions of the single accounts, highest first, when there are
	// several; the first one's is the identity's.
	Accounts []AccountScore `json:"accounts,omitempty"`
	// Notes change no number and should be read with it.
	Notes []string  `json:"notes,omitempty"`
	Rules string    `json:"rules"`
	At    time.Time `json:"at"`
}

// Driver is the account whose score is the identity's; empty when there is only one.
func (a Assessment) Driver() string {
	if len(a.Accounts) == 0 {
		return ""
	}
	return a.Accounts[0].Account
}
