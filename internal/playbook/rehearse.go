package playbook

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A Turn is one thing that happens in a fixture after the plan is made.
type Turn struct {
	Text string        // as it is written
	Word string        // approve, reject, prove, fail, wait, undo, close, answer
	Step string        // fail: whose action; answer: yes, no, proven, or nobody
	For  time.Duration // wait: how long
}

// A Rehearsal plays a plan against a directory that does what it is asked: what
// the run comes to after each turn, one line each, and how its steps stand in the
// end. run.Rehearse is one.
type Rehearsal func(p Plan, in Input, turns []Turn) Played

// Played is what a rehearsal came to.
type Played struct {
	Lines []string // "then TURN: STATE: why", one for each turn
	Steps []PlayedStep
}

// A PlayedStep is how a step stood in the end.
type PlayedStep struct {
	ID      string
	State   string // run.StepState
	Consent string // approval.State; "" when none was asked
	Answer  string // of a question
	Begun   bool   // its turn came
}

// turns reads what happens after the plan is made.
func (r *reader) turns(n *yaml.Node) []Turn {
	var out []Turn
	for _, c := range r.items(n, "then") {
		t := Turn{Text: r.text(c, c, "then", true)}
		word, rest, _ := strings.Cut(t.Text, " ")
		t.Word = word
		bare := rest == ""
		switch {
		case slices.Contains([]string{"approve", "reject", "prove", "undo", "close"}, word) && bare:
		case word == "fail" && slug.MatchString(rest):
			t.Step = rest
		case word == "answer" && slices.Contains([]string{"yes", "no", "proven", "nobody"}, rest):
			t.Step = rest
		case word == "wait" && !bare:
			d, err := parseDuration(rest)
			if err != nil {
				r.add(c, "then: %v", err)
			}
			t.For = d
		default:
			r.add(c, "then: %q is none of approve, reject, prove, fail STEP, wait 30m, undo, close, answer yes, answer no, answer proven, answer nobody", clip(t.Text))
		}
		out = append(out, t)
	}
	return out
}

// Coverage says which branches of a playbook its fixture takes.
type Coverage struct {
	Playbook string   `json:"playbook"`
	Branches int      `json:"branches"`
	Taken    int      `json:"taken"`
	Missing  []string `json:"missing,omitempty"` // in words
}

// branches are what can happen in a playbook: its trigger holds or not, each guard
// refuses, each step with a condition is done or not, each wait comes true or runs
// out, each question is answered both ways or runs out, each end is come to, and where approvals are asked they are given and run out.
func branches(p *Playbook) []string {
	out := []string{"starts", "is refused"}
	if p.Trigger.when != nil {
		out = append(out, "does not start")
	}
	for _, g := range p.Guards.Refuse {
		out = append(out, "refuses: "+g.Why)
	}
	approvals, undoable := false, false
	for _, s := range p.Steps {
		done := map[Kind]string{KindAct: "is done", KindWait: "comes true", KindAsk: "is answered yes", KindEnd: "is come to"}[s.Kind]
		out = append(out, s.ID+" "+done)
		if s.Kind == KindAsk {
			out = append(out, s.ID+" is answered no")
		}
		if s.cond != nil {
			out = append(out, s.ID+" is not called for")
		}
		if s.Kind == KindWait || s.Kind == KindAsk {
			out = append(out, s.ID+" runs out")
		}
		if s.TTL > 0 {
			out = append(out, s.ID+" is taken back")
		}
		approvals = approvals || s.Kind == KindAct
		for _, spec := range s.specs {
			undoable = undoable || spec.Undo != ""
		}
	}
	if approvals {
		out = append(out, "an approval is given", "an approval runs out")
	}
	if undoable {
		out = append(out, "what was done is undone")
	}
	return out
}

// take notes the branches of one case.
func (t *tester) take(p *Playbook, matched bool, plan Plan, played Played) {
	note := func(format string, args ...any) { t.taken[fmt.Sprintf(format, args...)] = true }
	if note("does not start"); matched {
		delete(t.taken, "does not start")
		note("starts")
	}
	if t.notStarted = t.notStarted || !matched; t.notStarted {
		note("does not start")
	}
	if plan.Refused != "" {
		note("is refused")
		note("refuses: %s", plan.Refused)
	}
	rule := map[string]string{}
	for _, s := range plan.Steps {
		rule[s.ID] = s.Rule()
		if s.Skip != "" {
			note("%s is not called for", s.Rule())
		} else if s.Kind == KindAct && s.Held == "" && !s.Later {
			note("%s is done", s.Rule())
		}
	}
	kind := map[string]Kind{}
	for _, s := range p.Steps {
		kind[s.ID] = s.Kind
	}
	for _, s := range played.Steps {
		id := rule[s.ID]
		switch {
		case kind[id] == KindAsk && s.State == "passed":
			note("%s is answered %s", id, s.Answer)
		case kind[id] == KindWait && s.State == "passed":
			note("%s comes true", id)
		case kind[id] == KindEnd && s.State == "passed":
			note("%s is come to", id)
		case (kind[id] == KindWait || kind[id] == KindAsk) && s.Begun:
			note("%s runs out", id)
		case s.State == "reverted":
			note("%s is taken back", id)
			note("%s is done", id)
			note("what was done is undone")
		case s.State == "verified":
			note("%s is done", id)
		case s.State == "skipped":
			note("%s is not called for", id)
		}
		switch s.Consent {
		case "approved":
			note("an approval is given")
		case "expired":
			note("an approval runs out")
		}
	}
}

// coverage compares what was taken with what there is.
func (t *tester) coverage(p *Playbook) Coverage {
	c := Coverage{Playbook: p.Ref.ID}
	for _, b := range branches(p) {
		c.Branches++
		if t.taken[b] {
			c.Taken++
		} else {
			c.Missing = append(c.Missing, b)
		}
	}
	return c
}

// Record returns the fixture with every NAME.want as it comes out, for whoever
// writes one and then reads what it says. A case that cannot be read keeps its
// want.
func (l *Library) Record(file string, fixture []byte, rehearse Rehearsal) []byte {
	arc := parseArchive(string(fixture))
	id := strings.TrimSuffix(path.Base(file), path.Ext(file))
	t := tester{file: file, id: id, lib: l, rehearse: rehearse, taken: map[string]bool{}}
	var out strings.Builder
	head, _, _ := strings.Cut("\n"+string(fixture), "\n-- ")
	if head = strings.TrimPrefix(head, "\n"); head != "" {
		out.WriteString(strings.TrimRight(head, "\n") + "\n\n")
	}
	var came []string
	for _, f := range arc {
		data := f.data
		if name, ok := strings.CutSuffix(f.name, ".given"); ok {
			came = nil
			if in, turns, problems := readCase(name, []byte(f.data)); len(problems) == 0 {
				came, _ = t.outcome(in, turns)
			}
			if _, listed := find(arc, name+".want"); !listed {
				data += "-- " + name + ".want --\n" + strings.Join(came, "\n") + "\n"
			}
		} else if strings.HasSuffix(f.name, ".want") && came != nil {
			data = strings.Join(came, "\n") + "\n"
		}
		fmt.Fprintf(&out, "-- %s --\n%s\n", f.name, strings.TrimRight(data, "\n"))
	}
	return []byte(out.String())
}

func find(arc []archived, name string) (archived, bool) {
	n := slices.IndexFunc(arc, func(f archived) bool { return f.name == name })
	if n < 0 {
		return archived{}, false
	}
	return arc[n], true
}
