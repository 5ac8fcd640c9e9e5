// Package question asks people "was this you?" beside the account that is in doubt.
// A Question is a pure state machine: pending until it is answered, runs out, is not
// needed any more, or nobody can be asked. The answer comes by a link that works once
// and runs out; the store has a hash of its secret and never the secret. Channel says
// which way of reaching somebody is safe for which cause, and Doubts why a "yes" alone
// settles nothing.
package question

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// ID names one question.
type ID string

// Who is asked.
type Who string

// The people who may be asked.
const (
	Person  Who = "person"  // the person whose account it is
	Manager Who = "manager" // their manager, as the directory names them
)

// An Answer is what was answered.
type Answer string

// The answers; empty: none yet.
const (
	Yes Answer = "yes" // it was me
	No  Answer = "no"  // it was not me
)

// State is where a question stands.
type State string

// The states.
const (
	Pending  State = "pending"  // to be sent, or sent and not answered
	Answered State = "answered" // final
	Expired  State = "expired"  // final: nobody answered in time
	Unasked  State = "unasked"  // final: nobody could be asked
	Void     State = "void"     // final: the run ended; the answer would serve nothing
)

// A Fact is one thing that the person is asked about. Strings come from outside.
type Fact struct {
	What   string    `json:"what"` // in words, such as "Unfamiliar sign-in properties"
	At     time.Time `json:"at,omitzero"`
	App    string    `json:"app,omitempty"`
	Device string    `json:"device,omitempty"`
	Place  string    `json:"place,omitempty"`
	IP     string    `json:"ip,omitempty"`
	SignIn string    `json:"signIn,omitempty"` // id of the sign-in, for looking up what the signal does not tell
}

// A Question is one that a step of a run asks of one person.
type Question struct {
	Tenant   identity.Tenant `json:"tenant"`
	ID       ID              `json:"id"`
	Run      string          `json:"run"`
	Step     string          `json:"step"`
	Case     string          `json:"case,omitempty"`
	Identity identity.ID     `json:"identity"`
	Name     string          `json:"name"` // the identity's, for people
	Playbook string          `json:"playbook"`

	Who    Who            `json:"who"`
	Causes []signal.Cause `json:"causes,omitempty"` // what the open signals speak of, sorted
	Facts  []Fact         `json:"facts,omitempty"`

	AskedAt   time.Time `json:"askedAt"`
	ExpiresAt time.Time `json:"expiresAt"`

	// Nonce and Hash are there from the moment a link was made until the question is
	// over: the link's secret can be made again from Nonce with a key that is in no
	// store, and is told from any other by Hash, its SHA-256.
	Nonce []byte `json:"nonce,omitempty"`
	Hash  []byte `json:"hash,omitempty"`

	Via     string    `json:"via,omitempty"` // the channel's id
	Choice  string    `json:"choice,omitempty"`
	SentAt  time.Time `json:"sentAt,omitzero"` // when the channel took it
	Tries   int       `json:"tries,omitempty"`
	Trouble string    `json:"trouble,omitempty"` // what the last try said; no secret
	// DueAt is when somebody has to look at it next: to send it, or to look for what
	// proves a "yes". Zero: nobody has to.
	DueAt time.Time `json:"dueAt,omitzero"`

	State   State     `json:"state"`
	Reason  string    `json:"reason,omitempty"`
	EndedAt time.Time `json:"endedAt,omitzero"`

	Answer Answer `json:"answer,omitempty"`
	From   string `json:"from,omitempty"` // the address that answered
	// Doubts are why a "yes" settles nothing by itself; Proof what bears it out.
	Doubts []string `json:"doubts,omitempty"`
	Proof  string   `json:"proof,omitempty"`

	Version int64 `json:"version"`
}

// MinKey is the least length in bytes of the key that links are made with.
const MinKey = 32

// nonceSize is how many random bytes a link is made from.
const nonceSize = 16

// Token returns the secret of the question's link, the same each time: an HMAC with
// SHA-256, under key, over what the question is, until when it stands, and its Nonce.
// It is 43 characters of base64url. key has at least MinKey bytes.
func (q Question) Token(key []byte) string {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "cordon question v1\x00%s\x00%s\x00%d\x00", q.Tenant, q.ID, q.ExpiresAt.Unix())
	m.Write(q.Nonce)
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Link returns the question with the nonce and the hash of the link's secret, and the
// secret. One that has them keeps them as long as key is the same, so that a message
// that is sent again has the same link. nonce is random.
func (q Question) Link(key, nonce []byte) (Question, string, error) {
	if len(key) < MinKey || len(nonce) < nonceSize {
		return q, "", fault.Errorf(fault.Invalid, "question %s: a key of %d bytes and %d random ones are needed", q.ID, MinKey, nonceSize)
	}
	if len(q.Hash) > 0 && subtle.ConstantTimeCompare(hashOf(q.Token(key)), q.Hash) == 1 {
		return q, q.Token(key), nil
	}
	q.Nonce = append([]byte(nil), nonce...)
	token := q.Token(key)
	q.Hash = hashOf(token)
	return q, token, nil
}

func hashOf(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// Opens returns nil when token is the secret of the question's link and it can still
// be answered. Else the error is fault.NotFound and always the same: who holds no
// right link learns nothing. It takes as long for every token.
func (q Question) Opens(token string, now time.Time) error {
	want := q.Hash
	if len(want) != sha256.Size {
		want = make([]byte, sha256.Size)
	}
	same := subtle.ConstantTimeCompare(hashOf(token), want) == 1
	if !same || len(q.Hash) == 0 || q.State != Pending || !now.Before(q.ExpiresAt) {
		return fault.Errorf(fault.NotFound, "this link is not valid, or not any more")
	}
	return nil
}

// Reply returns the question answered, once: its link opens nothing after that.
// doubts are of Doubts. Errors are those of Opens, and fault.Invalid for an answer
// that is none.
func (q Question) Reply(token string, a Answer, from string, doubts []string, now time.Time) (Question, error) {
	if err := q.Opens(token, now); err != nil {
		return q, err
	}
	if a != Yes && a != No {
		return q, fault.Errorf(fault.Invalid, "question %s: the answer is yes or no", q.ID)
	}
	q = q.over(Answered, "answered: "+a.Text(q.Who), now)
	q.Answer, q.From = a, from
	if a == Yes {
		if q.Doubts = doubts; len(doubts) == 0 {
			q.DueAt = now // a proof may be there already
		}
	}
	return q, nil
}

// Text is the answer in words.
func (a Answer) Text(w Who) string {
	switch {
	case a == Yes && w == Manager:
		return "yes, it was them"
	case a == Yes:
		return "yes, it was me"
	case w == Manager:
		return "no, it was not them"
	}
	return "no, it was not me"
}

// Tick returns the question run out when its time has come.
func (q Question) Tick(now time.Time) Question {
	if q.State != Pending || now.Before(q.ExpiresAt) {
		return q
	}
	text := "nobody answered by " + q.ExpiresAt.UTC().Format(time.RFC3339)
	if q.SentAt.IsZero() {
		text = "it could not be sent by " + q.ExpiresAt.UTC().Format(time.RFC3339)
		if q.Trouble != "" {
			text += ": " + q.Trouble
		}
	}
	return q.over(Expired, text, now)
}

// Withdraw returns a pending question made void, with the reason.
func (q Question) Withdraw(reason string, now time.Time) Question {
	if q.State != Pending {
		return q
	}
	return q.over(Void, reason, now)
}

// Nobody returns a pending question that nobody can be asked, with the reason.
func (q Question) Nobody(reason string, now time.Time) Question {
	if q.State != Pending {
		return q
	}
	return q.over(Unasked, reason, now)
}

func (q Question) over(s State, reason string, now time.Time) Question {
	q.State, q.Reason, q.EndedAt, q.Hash, q.Nonce, q.DueAt = s, reason, now, nil, nil, time.Time{}
	return q
}
