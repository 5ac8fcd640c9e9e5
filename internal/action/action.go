// Package action is the contract of everything that changes the outside world,
// and the record of each such change. An action brings an account to a wanted
// state; it does not perform a gesture. Implementations live in sub-packages;
// only package dispatch calls them.
package action

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Name names a kind of action, such as "entra.user.disable".
type Name string

// Bucket is a published limit of a directory that a request counts against.
// Source: Graph throttling limits; dispatch holds the numbers.
type Bucket string

// The buckets.
const (
	BucketIdentityProtection Bucket = "identityProtection" // 1 request a second and tenant, all apps together
	BucketDirectoryWrite     Bucket = "directoryWrite"     // 3,000 writes in 150 s, app and tenant
	BucketDirectoryRead      Bucket = "directoryRead"      // resource units, app and tenant
	BucketReports            Bucket = "reports"            // 5 requests in 10 s, app and tenant: authentication methods, sign-ins
	BucketMailbox            Bucket = "mailbox"            // 10,000 requests in 10 min, app and mailbox
	BucketSecurity           Bucket = "security"           // 150 requests in 1 min, app and tenant
)

// Effect classes what an action does to the person or workload behind the account.
type Effect string

// The effect classes, from mild to harsh.
const (
	EffectVerdict    Effect = "verdict"    // tells a product what we think
	EffectRestrict   Effect = "restrict"   // takes access away, reversibly
	EffectCredential Effect = "credential" // changes or removes a credential
	EffectRelease    Effect = "release"    // gives access back
)

// A Spec is how an action describes itself. The documentation, the permission
// check, the plan, the default approval and the form are all derived from it.
type Spec struct {
	Name     Name
	Version  int               // raised when the meaning changes; part of the catalogue version
	Title    string            // imperative, for people: "Revoke sign-in sessions"
	Summary  string            // one sentence: the state it brings about
	Provider identity.Provider // the directory of the account
	Via      identity.Provider // through which connection, when that is not Provider's own
	Effect   Effect

	Permissions   []string       // application permissions, least privilege, all needed
	DirectoryRole string         // what the app itself must hold to do this to an administrator; "" when nothing
	Params        Params         // what it takes
	Remedies      []signal.Cause // causes it is a remedy for; empty: neither cures nor harms (law 7)
	// Cleans are causes that it does not cure and after which, done with its defaults, it
	// takes away only what an attacker may have left behind.
	Cleans []signal.Cause

	Undo Name // the action that brings the before-state back; "" when there is none
	// Password says that it sets a password or has a new one set: nothing for an account
	// whose password another system keeps.
	Password     bool
	Irreversible string // why it cannot be undone, said before anyone approves; set exactly when Undo is ""
	Limits       string // what it does not reach, for the plan
	Proof        string // what the read-back must see for verified, in words

	Batch       int           // how many targets one request may carry; 1 when it cannot batch
	Bucket      Bucket        // what a request counts against
	ReadBatch   int           // how many targets one read of Look or ReadBack covers; 0: one
	ReadBucket  Bucket        // what such a read counts against; "" is BucketDirectoryRead
	NeverRepeat bool          // an unknown outcome is read until the deadline and then goes to a person
	Propagation time.Duration // how long the directory may take to show an effect it accepted
	Within      time.Duration // default deadline of the read-back, from acceptance
}

// Disruptive reports whether the person or workload behind the account will feel
// it: what the blast-radius limits count.
func (s Spec) Disruptive() bool { return s.Effect == EffectRestrict || s.Effect == EffectCredential }

// Params describes an action's parameters.
type Params []Param

// A Param is one parameter.
type Param struct {
	Name     string
	Type     string // JSON Schema type: string, integer, boolean
	Required bool
	Default  any
	Fill     Fill // what the planner gives when the playbook does not; "" is nothing
	Text     string
}

// Fill says what of an identity's open signals becomes a parameter that the
// playbook leaves out, so that the plan, and with it the consent, names the exact
// target. Where the signals say nothing of the kind, a required parameter holds
// the step.
type Fill string

// The ways of filling.
const (
	FillKeyIDs     Fill = "keyIds"     // ids of the suspect credentials that the signals name, sorted, comma-separated
	FillRequestIDs Fill = "requestIds" // ids of the sign-ins that the signals name, sorted, comma-separated
	FillAlertIDs   Fill = "alertIds"   // ids of Defender's alerts among them that nobody classified there, sorted, comma-separated
	FillSince      Fill = "since"      // when the earliest of them happened, RFC 3339 in UTC
)

// The parameters of actions that tell Defender what alerts were.
const (
	ParamAlertIDs       = "alert_ids"      // ids, comma-separated
	ParamClassification = "classification" // Microsoft's word
)

// A Request asks an implementation to look at, do or read back one target.
type Request struct {
	ID      ID
	Tenant  identity.Tenant
	Account identity.Ref
	Params  map[string]any

	// Before is the state recorded by Look; empty until then.
	Before json.RawMessage
	// Since is when the intent was written: a read-back proves nothing older.
	Since time.Time
	// ClientRequestID was made durable with the intent and goes on the wire.
	ClientRequestID string
	// Accepted says that the directory said it took the request. Without it a
	// read-back must tell the request's own effect from what others did meanwhile.
	Accepted bool
	// Last is the State of the previous Reading of this action, when there was one
	// since the owner of the tenant began to work: a ReadBack that takes two
	// questions asks one at a time.
	Last json.RawMessage
	// Secret is what a Generator made for this request. It exists in memory
	// between intent and Do only.
	Secret []byte
}

// A Look is what the directory says of a target before anything is changed.
type Look struct {
	State   json.RawMessage // the values the action would replace, enough to undo it
	Text    string          // the same in words: "enabled"
	Already bool            // the wanted state holds: there is nothing to do
	Refuse  string          // why it cannot work on this target, in words; "" when it can
	Facts   *identity.Facts // what was learnt on the way, when the read covers it
	Err     error           // with a fault kind; the target was not seen
}

// Verdict of a Do on one target.
type Verdict string

// The verdicts of Do.
const (
	Accepted Verdict = "accepted" // the directory took the request; nothing is proven yet
	Refused  Verdict = "refused"  // it said no, for good: another try cannot help
	Later    Verdict = "later"    // it did nothing and may be asked again after After
	Unknown  Verdict = "unknown"  // it may have taken effect: read before repeating
)

// An Outcome is what one Do said of one target.
type Outcome struct {
	Verdict   Verdict
	Reason    string        // in words, for the trail; no secret, no foreign text longer than a line
	RequestID string        // the directory's own id of the request
	After     time.Duration // Later only; 0: the directory did not say
	Throttled bool          // Later only: a published limit was hit
	Pressure  float64       // how much of its limit the directory says is used, 1 is all; 0: it did not say
	Requests  int           // how many requests it took when one target takes several; 0: one
	// Sealed is the ciphertext of a secret that the directory itself made for a
	// recipient and told once, in this answer (law 4). It is stored with the outcome.
	Sealed []byte
}

// A Reading is what a read-back saw.
type Reading struct {
	Seen    bool            // the wanted state is there and no older than Since
	State   json.RawMessage // what was seen
	Text    string          // the same in words, the proof: "accountEnabled false at 12:01:03"
	Pending bool            // the directory says it is still working on it
	Unread  bool            // nothing was asked of it this time, others came first: it is read again soon
	Err     error           // with a fault kind; nothing was seen
}

// A Type is one kind of action. Implementations pass actiontest.Run.
//
// The slices a method returns match reqs one to one. len(reqs) is at most
// Spec.Batch for Do. Look and ReadBack take any number and read by lists;
// dispatch hands them at most Spec.ReadBatch, which cost one read.
// A Type neither retries nor stores nor checks who may: dispatch does.
type Type interface {
	Spec() Spec
	Look(ctx context.Context, reqs []Request) []Look
	Do(ctx context.Context, reqs []Request) []Outcome
	ReadBack(ctx context.Context, reqs []Request) []Reading
}

// A Generator is a Type that needs a fresh secret for each request. sealed is
// what may rest (law 4): nil, or ciphertext whose key Cordon does not hold. It is
// stored with the intent, before the secret leaves.
type Generator interface {
	Generate(rand io.Reader, r Request) (secret, sealed []byte, err error)
}

// An Undoer is a Type whose effect can be taken back: Undo returns the
// parameters of the Spec.Undo action that restores before, and false when
// before says that nothing was replaced.
type Undoer interface {
	Undo(before json.RawMessage) (params map[string]any, ok bool)
}
