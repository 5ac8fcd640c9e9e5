package casefile

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Phase is a part of an investigation. They are worked through in order, but
// nothing forces that: what is urgent is contained before it is understood.
type Phase string

// The phases.
const (
	Triage   Phase = "triage"
	Contain  Phase = "contain"
	Validate Phase = "validate"
	Mitigate Phase = "mitigate"
)

// Phases returns the phases in order.
func Phases() []Phase { return []Phase{Triage, Contain, Validate, Mitigate} }

// An Answer is how a question of an investigation was settled.
type Answer string

// The answers.
const (
	Yes           Answer = "yes"
	No            Answer = "no"
	Unclear       Answer = "unclear"
	Done          Answer = "done"
	NotApplicable Answer = "not applicable"
)

// Answers returns all answers.
func Answers() []Answer { return []Answer{Yes, No, Unclear, Done, NotApplicable} }

// A Question is one step of a guided investigation.
type Question struct {
	ID    string `json:"id"` // stays the same as long as its wording does
	Phase Phase  `json:"phase"`
	Text  string `json:"text"`
	// About names the kinds of signals that ask it; empty: it is asked in every case.
	About []string `json:"about,omitempty"`
	// Task is set for what is done rather than answered.
	Task bool `json:"task,omitempty"`
}

// general are the questions of every case. The order of steps follows Microsoft's
// framework for investigating risk; the words are ours.
func general() []Question {
	ask := func(id string, p Phase, text string) Question { return Question{ID: id, Phase: p, Text: text} }
	do := func(id string, p Phase, text string) Question {
		return Question{ID: id, Phase: p, Text: text, Task: true}
	}
	return []Question{
		ask("triage.others", Triage, "Is it one identity, or are others hit by the same address, application or session?"),
		ask("triage.recent", Triage, "Do the latest signals, sign-ins and changes of this identity belong together?"),
		ask("triage.policy", Triage, "Did a policy stop or challenge it, or did it get through?"),
		ask("triage.reached", Triage, "Was anything reached: an application, files, mail, an administrative change?"),
		ask("triage.inside", Triage, "Is there any sign that the person themselves is behind it: unusual downloads, a notice to leave?"),
		do("contain.first", Contain, "If it goes on, stop it before you understand it: let the person remediate themselves where they can, else reset, revoke or block."),
		ask("contain.strong", Contain, "Can the attacker pass multifactor authentication or reset the password? Then block the account and revoke everything."),
		ask("validate.normal", Validate, "Is this normal for the person: application, device, place, address, client, time of day?"),
		ask("validate.elsewhere", Validate, "Do other products say something about the same identity at that time, and at which stage of an attack?"),
		ask("validate.person", Validate, "Asked on a way that the account does not control: does the person know the time, application, device and place?"),
		ask("validate.after", Validate, "Was anything added after the first bad sign-in that lasts: a method, device, rule, consent, credential, role or guest?"),
		do("mitigate.lasting", Mitigate, "Remove what was added and lasts, and read back that it is gone."),
		do("mitigate.known", Mitigate, "If it was ours, write it down where it is known the next time: a named location, VPN egress or known traveller with an end date."),
		do("mitigate.policy", Mitigate, "Close the gap that let it happen: the policy, licence or registration that was missing."),
		do("mitigate.feedback", Mitigate, "Tell the source: confirm, dismiss or classify, so that it learns."),
	}
}

// Questions returns the questions of a case with open signals of these kinds:
// those of every case and those of the kinds, each once, phase by phase.
func Questions(kinds []detection.Entry) []Question {
	list := general()
	add := func(q Question, about string) {
		for n := range list {
			if list[n].ID == q.ID {
				if !slices.Contains(list[n].About, about) {
					list[n].About = append(list[n].About, about)
				}
				return
			}
		}
		q.About = []string{about}
		list = append(list, q)
	}
	for _, e := range kinds {
		for _, text := range e.Questions {
			add(Question{ID: named("ask", text), Phase: Validate, Text: text}, e.Name)
		}
		if e.Recommend != "" {
			add(Question{ID: named("do", e.Recommend), Phase: Contain, Text: e.Recommend, Task: true}, e.Name)
		}
	}
	slices.SortStableFunc(list, func(a, b Question) int {
		return slices.Index(Phases(), a.Phase) - slices.Index(Phases(), b.Phase)
	})
	return list
}

// named gives a question of the catalogue an id of its wording.
func named(kind, text string) string {
	h := fnv.New64a()
	h.Write([]byte(text))
	return fmt.Sprintf("%s.%016x", kind, h.Sum64())
}

// A NoteID names one note.
type NoteID string

// A Note is what somebody wrote into a case: an answer to a question, or free
// words. Notes are only ever added; the latest answer to a question is the one that
// counts.
type Note struct {
	Tenant   identity.Tenant   `json:"tenant"`
	ID       NoteID            `json:"id"`
	Case     ID                `json:"case"`
	By       access.OperatorID `json:"by"`
	At       time.Time         `json:"at"`
	Question string            `json:"question,omitempty"` // its ID; empty: free words
	Asked    string            `json:"asked,omitempty"`    // its wording then
	Answer   Answer            `json:"answer,omitempty"`
	Text     string            `json:"text,omitempty"`
}

// maxNote bounds the words of a note, in bytes.
const maxNote = 4000

// Check returns fault.Invalid when the note says nothing or too much, or answers
// with a word that is none.
func (n Note) Check() error {
	switch {
	case len(n.Text) > maxNote:
		return fault.Errorf(fault.Invalid, "the note is %d bytes long; at most %d are kept", len(n.Text), maxNote)
	case n.Question == "" && strings.TrimSpace(n.Text) == "":
		return fault.Errorf(fault.Invalid, "the note is empty")
	case n.Question == "" && n.Answer != "":
		return fault.Errorf(fault.Invalid, "the answer %q belongs to no question", n.Answer)
	case n.Question != "" && !slices.Contains(Answers(), n.Answer):
		return fault.Errorf(fault.Invalid, "%q is no answer; they are yes, no, unclear, done, not applicable", n.Answer)
	}
	return nil
}

// A Step is a question with the answer that counts.
type Step struct {
	Question
	Answered *Note `json:"answered,omitempty"`
}

// An Investigation is how far a case has been looked into.
type Investigation struct {
	Steps    []Step `json:"steps"`
	Notes    []Note `json:"notes,omitempty"` // free words, oldest first
	Answered int    `json:"answered"`
	Total    int    `json:"total"`
}

// Investigate lays the notes over the questions of a case with open signals of
// these kinds. An answered question stays, also when nothing open asks it any more.
func Investigate(kinds []detection.Entry, notes []Note) Investigation {
	notes = slices.Clone(notes)
	slices.SortStableFunc(notes, func(a, b Note) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	var out Investigation
	latest := map[string]*Note{}
	var order []string
	for n := range notes {
		note := &notes[n]
		if note.Question == "" {
			out.Notes = append(out.Notes, *note)
			continue
		}
		if latest[note.Question] == nil {
			order = append(order, note.Question)
		}
		latest[note.Question] = note
	}
	asked := Questions(kinds)
	for _, id := range order {
		if !slices.ContainsFunc(asked, func(q Question) bool { return q.ID == id }) {
			n := latest[id]
			asked = append(asked, Question{ID: id, Phase: Validate, Text: n.Asked, About: []string{"asked earlier"}, Task: n.Answer == Done})
		}
	}
	slices.SortStableFunc(asked, func(a, b Question) int {
		return slices.Index(Phases(), a.Phase) - slices.Index(Phases(), b.Phase)
	})
	for _, q := range asked {
		s := Step{Question: q, Answered: latest[q.ID]}
		if s.Answered != nil {
			out.Answered++
		}
		out.Steps = append(out.Steps, s)
	}
	out.Total = len(out.Steps)
	return out
}

// FirstBad is when the first open or once open signal of an attack happened: since
// then whatever was added is suspect. ok is false without any.
func FirstBad(signals []signal.Signal) (at time.Time, ok bool) {
	for _, s := range signals {
		if s.State == signal.StateConfirmedSafe || s.Feedback() {
			continue
		}
		if t := s.At(); !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	return at, ok
}
