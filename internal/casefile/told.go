package casefile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Judged is what somebody made of an alert or incident of a case at Defender.
type Judged struct {
	What           string       `json:"what"` // "alert" or "incident"
	ID             string       `json:"id"`
	Title          string       `json:"title"`
	State          signal.State `json:"state"` // Microsoft's: new, inProgress, resolved, active
	Classification string       `json:"classification,omitempty"`
	Determination  string       `json:"determination,omitempty"`
	At             time.Time    `json:"at"` // when Defender last changed it
	// Own says that Cordon told Defender so itself, by an action that was verified.
	Own bool `json:"own,omitempty"`
}

// Word is the verdict that the classification amounts to; ok is false without one.
func (j Judged) Word() (w Word, ok bool) {
	switch j.Classification {
	case signal.TruePositive:
		return Compromised, true
	case signal.FalsePositive:
		return Safe, true
	case signal.ExpectedActivity:
		return Benign, true
	}
	return "", false
}

// Text says it for people.
func (j Judged) Text() string {
	did := "resolved"
	if j.State != signal.Resolved {
		did = "classified"
	}
	text := fmt.Sprintf("Defender: %s %s %s", j.What, j.Title, did)
	switch _, known := j.Word(); {
	case known && j.Determination != "" && j.Determination != "unknown":
		text += fmt.Sprintf(" as %s (%s)", j.Classification, j.Determination)
	case j.Classification != "":
		text += " as " + j.Classification
	default:
		text += " without a classification"
	}
	if j.Own {
		text += ", as Cordon told it"
	}
	return text
}

// JudgedOf returns what somebody made at Defender of the alerts among the signals, and
// of the incidents they belong to, oldest first. What nobody classified or resolved is
// left out.
func JudgedOf(signals []signal.Signal, incidents []record.Record) []Judged {
	var out []Judged
	add := func(j Judged) {
		if j.Classification == "" && j.State != signal.Resolved {
			return
		}
		if !slices.ContainsFunc(out, func(o Judged) bool { return o.What == j.What && o.ID == j.ID }) {
			out = append(out, j)
		}
	}
	for _, s := range signals {
		if s.Source == signal.DefenderAlert {
			id, _, _ := strings.Cut(s.ExternalID, "#")
			add(Judged{What: "alert", ID: id, Title: s.Title, State: s.State, Classification: s.Classification, Determination: s.Detail, At: s.UpdatedAt})
		}
	}
	for _, r := range incidents {
		if r.Source == record.Incident {
			at := r.UpdatedAt
			if at.IsZero() {
				at = r.At
			}
			add(Judged{What: "incident", ID: r.ExternalID, Title: r.ExternalID + " " + r.Title, State: signal.State(r.State), Classification: string(r.Result), Determination: r.Reason, At: at})
		}
	}
	slices.SortStableFunc(out, func(a, b Judged) int { return a.At.Compare(b.At) })
	return out
}

// A Proposal is the verdict that Defender's classifications amount to. It closes
// nothing: somebody gives the verdict here, or another one.
type Proposal struct {
	Word Word     `json:"word"`
	Text string   `json:"text"`
	By   []Judged `json:"by"` // what it rests on, oldest first
	// Open is how many open findings of the case nobody judged there.
	Open int `json:"open"`
}

// Propose returns the verdict that what was made of the case's alerts and incidents
// since it was opened amounts to: compromised where anything was a true positive, else
// benign where anything was expected, else safe. nil: nobody said anything there that
// Cordon did not say itself, or the case is closed.
func Propose(c Case, judged []Judged, signals []signal.Signal) *Proposal {
	if c.Verdict != nil {
		return nil
	}
	p := &Proposal{}
	rank := []Word{Safe, Benign, Compromised}
	words := map[Word]bool{}
	for _, j := range judged {
		w, ok := j.Word()
		if !ok || j.Own || !j.At.After(c.OpenedAt) {
			continue
		}
		words[w] = true
		p.By = append(p.By, j)
		if slices.Index(rank, w) > slices.Index(rank, p.Word) {
			p.Word = w
		}
	}
	if p.Word == "" {
		return nil
	}
	for _, s := range signals {
		if s.State.Open() && s.Classification == "" && !s.Feedback() {
			p.Open++
		}
	}
	p.Text = fmt.Sprintf("Defender's classifications amount to the verdict %s", p.Word)
	if len(words) > 1 {
		p.Text += ", though they disagree"
	}
	if p.Open > 0 {
		p.Text += fmt.Sprintf("; nobody judged %d open findings there", p.Open)
	}
	p.Text += ". Nothing is closed here until somebody gives it."
	return p
}
