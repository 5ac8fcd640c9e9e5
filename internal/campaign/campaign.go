// Package campaign is one playbook for many identities at once: a selection is
// planned, people approve the root over all its plans, a canary goes first, and
// waves follow as long as they go well. A Campaign is a pure state machine; each
// of its identities has a run of its own, with everything a run has.
package campaign

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// ID names one campaign.
type ID string

// State is where a campaign stands.
type State string

// The states of a campaign.
const (
	Proposed State = "proposed" // planned; its approval is awaited
	Canary   State = "canary"   // the first few go, the others are prepared
	Rolling  State = "rolling"  // waves go
	Paused   State = "paused"   // nothing further leaves until somebody resumes it
	Done     State = "done"     // final: every run is over
	Stopped  State = "stopped"  // final: what had not left was withdrawn
	Rejected State = "rejected" // final: the approval was refused
	Expired  State = "expired"  // final: nobody approved in time
)

// Final reports whether nothing follows.
func (s State) Final() bool {
	return s == Done || s == Stopped || s == Rejected || s == Expired
}

// Goes reports whether released actions may leave.
func (s State) Goes() bool { return s == Canary || s == Rolling }

// An Item is one identity of a campaign.
type Item struct {
	Place    int         `json:"place"` // 0 is the first to go: privileged people, then level, then age
	Identity identity.ID `json:"identity"`
	Case     casefile.ID `json:"case,omitempty"`
	Name     string      `json:"name"`
	Lane     action.Lane `json:"lane"`
	PlanHash string      `json:"planHash"`
	Run      run.ID      `json:"run,omitempty"` // "": not begun yet
}

// A Left is an identity of the selection that the campaign leaves alone, and why.
type Left struct {
	Identity identity.ID `json:"identity"`
	Name     string      `json:"name"`
	Why      string      `json:"why"`
}

// A Wish is what somebody asks for.
type Wish struct {
	Playbook playbook.Ref `json:"playbook"`
	Query    string       `json:"query"` // how the identities were chosen, in words
	Why      string       `json:"why"`
	Canary   int          `json:"canary"` // how many go first; 0: DefaultCanary
	Wave     int          `json:"wave"`   // how many are released at a time; 0: DefaultWave
	// Failures is the share of ended runs, 0 to 1, that may fail before the campaign
	// pauses by itself; 0: DefaultFailures.
	Failures float64 `json:"failures"`
}

// Defaults of a Wish.
const (
	DefaultCanary   = 5
	DefaultWave     = 500
	DefaultFailures = 0.05
)

// A Campaign is one playbook for many identities. Its Hash is the root over the
// plans of its identities; it also covers the playbook, the action catalogue, the
// canary and the waves. Approving it lifts the blast-radius limits for exactly
// these identities and nobody else.
type Campaign struct {
	Tenant    identity.Tenant `json:"tenant"`
	ID        ID              `json:"id"`
	Wish      Wish            `json:"wish"`
	Catalogue string          `json:"catalogue"`
	Hash      string          `json:"hash"`
	Size      int             `json:"size"` // items
	Left      []Left          `json:"left,omitempty"`

	// Cost is the number of requests it will send, by what they count against;
	// together with the limits it says when it can be over.
	Cost map[action.Bucket]int `json:"cost,omitempty"`

	AskedBy  access.Actor     `json:"askedBy"`
	AskedAt  time.Time        `json:"askedAt"`
	Approval approval.Request `json:"approval"`

	State    State  `json:"state"`
	Reason   string `json:"reason,omitempty"`
	Paused   State  `json:"paused,omitempty"`   // the state to resume
	Excused  int    `json:"excused,omitempty"`  // failed runs for which it paused by itself: whoever resumes has seen them
	Unproven bool   `json:"unproven,omitempty"` // it paused by itself because its canary, as it is, proved nothing: whoever resumes has seen it
	Begun    int    `json:"begun"`              // items below it have runs
	Released int    `json:"released"`           // the actions of items below it may leave

	ReleasedAt time.Time `json:"releasedAt,omitzero"` // when the first wave after the canary was released
	EndsAt     time.Time `json:"endsAt,omitzero"`     // when it should be over, as far as the published limits say
	Announced  time.Time `json:"announced,omitzero"`  // EndsAt as it was told after the canary
	EndedAt    time.Time `json:"endedAt,omitzero"`
	Withdrawn  bool      `json:"withdrawn,omitempty"` // stopped: what had not left has been withdrawn
	Version    int64     `json:"version"`
}

// Over reports whether nothing is left to do for it.
func (c Campaign) Over() bool {
	return c.State.Final() && (c.State != Stopped || c.Withdrawn || c.Begun == 0)
}

// Root returns the hash that people approve: over the tenant, the playbook and
// catalogue, how it goes, and each identity with the hash of its plan, in order.
func Root(t identity.Tenant, w Wish, catalogue string, items []Item) string {
	type line struct {
		Identity identity.ID
		Plan     string
	}
	lines := make([]line, len(items))
	for n, i := range items {
		lines[n] = line{i.Identity, i.PlanHash}
	}
	text, _ := json.Marshal([]any{"campaign/1", t, w.Playbook, catalogue, w.Canary, w.Wave, w.Failures, lines}) // strings and numbers: cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Filled returns w with its defaults, or fault.Invalid naming what is wrong.
func (w Wish) Filled() (Wish, error) {
	if w.Canary < 0 || w.Wave < 0 || w.Failures < 0 || w.Failures > 1 {
		return w, fault.Errorf(fault.Invalid, "a campaign's canary %d and wave %d must not be negative, its failures %v a share from 0 to 1", w.Canary, w.Wave, w.Failures)
	}
	if w.Canary == 0 {
		w.Canary = DefaultCanary
	}
	if w.Wave == 0 {
		w.Wave = DefaultWave
	}
	if w.Failures == 0 {
		w.Failures = DefaultFailures
	}
	return w, nil
}

// canary is how many of it go first.
func (c Campaign) canary() int { return min(c.Wish.Canary, c.Size) }

// Decided returns the campaign after an answer to its request. An approved one
// sends its canary; the plan that was approved is the one that goes.
func (c Campaign) Decided(q approval.Request, now time.Time) (Campaign, error) {
	if c.State != Proposed {
		return c, fault.Errorf(fault.Conflict, "campaign %s is already %s", c.ID, c.State)
	}
	c.Approval = q
	switch q.State {
	case approval.Approved:
		c.State, c.Reason = Canary, ""
	case approval.Rejected:
		c.State, c.Reason, c.EndedAt = Rejected, q.Reason, now
	case approval.Expired:
		c.State, c.Reason, c.EndedAt = Expired, q.Reason, now
	case approval.Void:
		c.State, c.Reason, c.EndedAt = Stopped, q.Reason, now
	}
	return c, nil
}

// Pause stops what has not left, until Resume. It is fault.Conflict for a
// campaign that does not go.
func (c Campaign) Pause(reason string) (Campaign, error) {
	if !c.State.Goes() {
		return c, fault.Errorf(fault.Conflict, "campaign %s is %s: there is nothing to pause", c.ID, c.State)
	}
	c.Paused, c.State, c.Reason = c.State, Paused, reason
	return c, nil
}

// Resume goes on where Pause stopped.
func (c Campaign) Resume() (Campaign, error) {
	if c.State != Paused {
		return c, fault.Errorf(fault.Conflict, "campaign %s is %s: there is nothing to resume", c.ID, c.State)
	}
	c.State, c.Paused, c.Reason = c.Paused, "", ""
	return c, nil
}

// Stop ends it: what has not left is withdrawn by the caller, what has left is
// followed to its end by its runs, and nothing is undone unless somebody asks.
func (c Campaign) Stop(reason string, now time.Time) (Campaign, error) {
	if c.State.Final() {
		return c, fault.Errorf(fault.Conflict, "campaign %s is already %s", c.ID, c.State)
	}
	c.Approval = c.Approval.Withdraw("the campaign was stopped", now)
	c.State, c.Paused, c.Reason, c.EndedAt = Stopped, "", reason, now
	return c, nil
}

// Progress is how the runs of the released items stand.
type Progress struct {
	States map[run.State]int `json:"states"` // of the runs of items below Released
	// Unsent is how many of the released items have an action that has not left.
	Unsent int `json:"unsent"`
}

// Ended is how many runs are over.
func (p Progress) Ended() int {
	n := 0
	for s, count := range p.States {
		if s.Final() {
			n += count
		}
	}
	return n
}

// Failed is how many runs ended otherwise than hoped for. One that was refused or
// held by a guard or the gate did what it should: it did not fail.
func (p Progress) Failed() int { return p.States[run.Failed] }

// Contained is how many runs are proven.
func (p Progress) Contained() int { return p.States[run.Contained] + p.States[run.Done] }

// Proven is how many runs showed that the playbook works here: that it contains, or
// in observe mode that it would.
func (p Progress) Proven() int { return p.Contained() + p.States[run.Observed] }

// Advance returns what follows from how far it has come: the canary is over and
// the first wave is released, a wave has left and the next one follows, too much
// failed and it pauses by itself, everything is over.
func (c Campaign) Advance(p Progress, now time.Time) Campaign {
	if !c.State.Goes() {
		return c
	}
	ended, canary := p.Ended(), c.canary()
	if failed := p.Failed(); failed > c.Excused && float64(failed) > c.Wish.Failures*float64(max(ended, canary)) {
		c.Paused, c.State, c.Excused = c.State, Paused, failed
		c.Reason = fmt.Sprintf("%d of %d runs failed, more than the %.0f%% that it may: look at them, then resume or stop", failed, ended, c.Wish.Failures*100)
		return c
	}
	switch {
	case c.State == Canary && c.Begun < canary: // being prepared
	case c.State == Canary && c.Released < canary:
		c.Released = canary
	case c.State == Canary && (ended < canary || c.Begun < c.Size): // what comes next waits for both
	case c.State == Canary && p.Proven() == 0 && !c.Unproven && c.Released < c.Size:
		c.Paused, c.State, c.Unproven = c.State, Paused, true
		c.Reason = fmt.Sprintf("the canary proved nothing: all its %d runs ended, and none contained anybody (%d held, %d refused); look at them, then resume or stop", ended, p.States[run.HeldState], p.States[run.Refused])
	case c.State == Canary:
		c.State, c.ReleasedAt, c.Unproven = Rolling, now, false
		c.Released = min(c.Size, c.Released+c.Wish.Wave)
	case c.Released < c.Size && p.Unsent <= c.Wish.Wave/4:
		c.Released = min(c.Size, c.Released+c.Wish.Wave)
	case c.Released == c.Size && ended >= c.Size:
		c.State, c.EndedAt = Done, now
	}
	return c
}
