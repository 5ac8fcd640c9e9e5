// Package audit is Cordon's trail: entries commit in the transaction of what
// they describe; one sequencer turns them into leaves of a Merkle log and signs
// checkpoints. Leaves hold salted commitments, so that personal payloads can be
// erased without breaking the log.
package audit

import (
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Kind says what an entry records: decisions, changes, approvals and accesses,
// not every signal.
type Kind string

// The kinds of entries.
const (
	CaseOpened       Kind = "case.opened"
	CaseReopened     Kind = "case.reopened"
	CaseContained    Kind = "case.contained"
	VerdictGiven     Kind = "verdict.given"
	NoteWritten      Kind = "note.written"
	CaseExported     Kind = "case.exported"
	ExceptionMade    Kind = "exception.made"
	ExceptionEnded   Kind = "exception.ended"
	AccountLinked    Kind = "identity.linked"
	AccountUnlinked  Kind = "identity.unlinked"
	IdentityTagged   Kind = "identity.tagged"
	IdentityUntagged Kind = "identity.untagged"
	RunStarted       Kind = "run.started"
	RunPlanned       Kind = "run.planned"
	RunRefused       Kind = "run.refused"
	RunHeld          Kind = "run.held"
	RunEnded         Kind = "run.ended"
	RunPaged         Kind = "run.paged" // it went wrong, and its playbook says that people are to be told
	ApprovalAsked    Kind = "approval.asked"
	ApprovalGiven    Kind = "approval.given"
	ApprovalRejected Kind = "approval.rejected"
	ApprovalExpired  Kind = "approval.expired"
	QuestionAsked    Kind = "question.asked"    // somebody is to be asked whether it was them
	QuestionSent     Kind = "question.sent"     // by which channel, and why that one
	QuestionAnswered Kind = "question.answered" // what they said
	QuestionProven   Kind = "question.proven"   // a yes is borne out
	QuestionEnded    Kind = "question.ended"    // nobody answered, or nobody could be asked
	ActionHeld       Kind = "action.held"
	ActionRefused    Kind = "action.refused"
	ActionAlready    Kind = "action.already"  // the wanted state held; nothing left the house
	ActionIntent     Kind = "action.intent"   // about to leave
	ActionOutcome    Kind = "action.outcome"  // what the directory answered
	ActionVerified   Kind = "action.verified" // what the read-back proved
	ActionUnproven   Kind = "action.unproven" // unconfirmed or failed
	ActionUndone     Kind = "action.undone"
	ActionCancelled  Kind = "action.cancelled"
	ActionExtended   Kind = "action.extended" // a person lets it stand longer than its ttl
	UndoAsked        Kind = "undo.asked"
	CampaignAsked    Kind = "campaign.asked"
	CampaignMoved    Kind = "campaign.moved" // it was approved, released further, paused or resumed
	CampaignEnded    Kind = "campaign.ended"
	StopOn           Kind = "stop.on"
	StopOff          Kind = "stop.off"
	Conflict         Kind = "identity.conflict"
	SignedIn         Kind = "operator.signed_in"
	SecretRevealed   Kind = "handover.revealed"
	SecretExpired    Kind = "handover.expired"
	ConfigLoaded     Kind = "config.loaded"
	ConfigRefused    Kind = "config.refused"
	FeedSilent       Kind = "feed.silent"
	FeedBack         Kind = "feed.back"
)

// An Entry is one line of the trail, before it is sequenced. Data holds the
// evidence: identifiers, before and after values, request ids; never a secret.
type Entry struct {
	Tenant   identity.Tenant `json:"tenant"`
	At       time.Time       `json:"at"` // UTC
	Actor    access.Actor    `json:"actor"`
	Kind     Kind            `json:"kind"`
	Identity string          `json:"identity,omitempty"`
	Case     string          `json:"case,omitempty"`
	Run      string          `json:"run,omitempty"`
	Action   string          `json:"action,omitempty"`
	Approval string          `json:"approval,omitempty"`
	Text     string          `json:"text"` // one sentence for a person
	Data     map[string]any  `json:"data,omitempty"`
}
