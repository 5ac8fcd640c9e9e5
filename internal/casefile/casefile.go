// Package casefile keeps what an analyst works on: one open case per identity
// and episode, from the first signal to the verdict. A Case is changed by pure
// functions; storage is elsewhere.
package casefile

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// ID names one case.
type ID string

// Status is where a case stands.
type Status string

// The statuses.
const (
	Open      Status = "open"      // at risk, nothing done yet
	Acting    Status = "acting"    // a run is under way
	Waiting   Status = "waiting"   // an approval, a hold or a person is awaited
	Contained Status = "contained" // every step that contains is verified
	Closed    Status = "closed"    // a verdict was given
)

// Word is a verdict's word.
type Word string

// The verdicts: compromised is a true positive, safe a false positive that
// trains the source, benign a true positive that was expected.
const (
	Compromised Word = "compromised"
	Safe        Word = "safe"
	Benign      Word = "benign"
)

// A Verdict is how an operator closed a case.
type Verdict struct {
	Word   Word              `json:"word"`
	By     access.OperatorID `json:"by"`
	Reason string            `json:"reason,omitempty"`
	At     time.Time         `json:"at"`
}

// A Case is about one identity until a verdict is given.
type Case struct {
	Tenant   identity.Tenant `json:"tenant"`
	ID       ID              `json:"id"`
	Identity identity.ID     `json:"identity"`
	Name     string          `json:"name"` // the identity's name when the case was last touched

	Status  Status       `json:"status"`
	Waits   string       `json:"waits,omitempty"` // for whom or what, in words
	Level   signal.Level `json:"level"`
	Score   int          `json:"score"`
	Reason  string       `json:"reason"` // the strongest reason, for the queue
	Signals int          `json:"signals"`

	FirstSignal time.Time `json:"firstSignal"`
	LastSignal  time.Time `json:"lastSignal"`
	OpenedAt    time.Time `json:"openedAt"`
	ContainedAt time.Time `json:"containedAt,omitzero"` // latest containment
	ReopenedAt  time.Time `json:"reopenedAt,omitzero"`  // when risk last returned after one
	UpdatedAt   time.Time `json:"updatedAt"`

	// Return says why risk came back after an earlier case was closed; empty: it did
	// not.
	Return string `json:"return,omitempty"`

	Reopened int      `json:"reopened,omitempty"` // how often risk returned after containment
	Verdict  *Verdict `json:"verdict,omitempty"`
	Version  int64    `json:"version"`
}

// Begin returns a new open case for the identity; the store gives it its ID.
func Begin(i identity.Identity, now time.Time) Case {
	return Case{Tenant: i.Tenant, Identity: i.ID, Name: i.Name, Status: Open, OpenedAt: now, UpdatedAt: now}
}

// Absorb returns c with the assessment a, which rests on signals. A contained
// case is opened again, with the reason, by an open signal of something that
// happened after the containment, while the level is medium or higher; a
// source's record of a verdict, our own perhaps, is no such thing. Absorbing the
// same twice changes nothing, and a closed case stays as it is.
func (c Case) Absorb(a risk.Assessment, signals []signal.Signal, now time.Time) Case {
	if c.Status == Closed {
		return c
	}
	before := c
	c.Signals = len(signals)
	for _, s := range signals {
		if at := s.At(); c.FirstSignal.IsZero() || at.Before(c.FirstSignal) {
			c.FirstSignal = at
		}
		if at := s.At(); at.After(c.LastSignal) {
			c.LastSignal = at
		}
	}
	returned := c.Status == Contained && a.Level.Rank() >= signal.LevelMedium.Rank() &&
		slices.ContainsFunc(signals, func(s signal.Signal) bool {
			return s.State.Open() && !s.Feedback() && s.At().After(c.ContainedAt)
		})
	c.Level, c.Score = a.Level, a.Score
	c.Reason = "nothing is open any more: its sources or a verdict closed it"
	if p := Propose(c, JudgedOf(signals, nil), signals); p != nil {
		c.Reason = "nothing is open any more, and a verdict is awaited: " + p.By[len(p.By)-1].Text()
	}
	if len(a.Reasons) > 0 {
		c.Reason = a.Reasons[0].Text
	}
	if returned {
		c.Status, c.Reopened, c.ReopenedAt = Open, c.Reopened+1, now
		c.Waits = fmt.Sprintf("risk returned after the containment of %s", c.ContainedAt.UTC().Format(time.RFC3339))
	}
	if c != before {
		c.UpdatedAt = now
	}
	return c
}

// Follow returns c as its runs stand: status and what is waited for. A closed
// case stays closed.
func (c Case) Follow(s Status, waits string, now time.Time) Case {
	if c.Status == Closed || c.Status == s && c.Waits == waits {
		return c
	}
	if s == Contained && c.Status != Contained {
		c.ContainedAt = now
	}
	c.Status, c.Waits, c.UpdatedAt = s, waits, now
	return c
}

// Decide returns c closed with the verdict. It returns fault.Conflict when a
// verdict was given already and fault.Invalid for a word that is none.
func (c Case) Decide(v Verdict) (Case, error) {
	switch {
	case c.Verdict != nil:
		return c, fault.Errorf(fault.Conflict, "case %s: %s already gave the verdict %s at %s", c.ID, c.Verdict.By, c.Verdict.Word, c.Verdict.At.UTC().Format(time.RFC3339))
	case v.Word != Compromised && v.Word != Safe && v.Word != Benign:
		return c, fault.Errorf(fault.Invalid, "case %s: %q is not a verdict; use compromised, safe or benign", c.ID, v.Word)
	}
	c.Verdict, c.Status, c.Waits, c.UpdatedAt = &v, Closed, "", v.At
	return c, nil
}

// Joined is how a case ends that goes on in another one, because its identity became
// part of that one's. It is no verdict: nobody judged anything.
const Joined Word = "joined"

// Join returns c closed because it goes on in the case other. It returns
// fault.Conflict when a verdict was given already.
func (c Case) Join(other ID, by access.OperatorID, now time.Time) (Case, error) {
	if c.Verdict != nil {
		return c, fault.Errorf(fault.Conflict, "case %s: %s already gave the verdict %s", c.ID, c.Verdict.By, c.Verdict.Word)
	}
	c.Verdict = &Verdict{Word: Joined, By: by, Reason: "its identity was linked into another; it goes on in case " + string(other), At: now}
	c.Status, c.Waits, c.UpdatedAt = Closed, "", now
	return c, nil
}
