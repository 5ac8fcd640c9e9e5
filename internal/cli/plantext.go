package cli

import (
	"fmt"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/risk"
)

// assessment writes level, score and every reason; the points are the score's.
func (s sheet) assessment(a risk.Assessment) {
	s.head("Assessment: %s, score %d (rules %s, %s)", a.Level, a.Score, a.Rules, stamp(a.At))
	sum := 0
	for _, r := range a.Reasons {
		sum += r.Points
		s.para(fmt.Sprintf("  %+4d  ", r.Points), r.Text)
		where := strings.Join(strings.Fields(fmt.Sprintf("%s %s %s", r.Source, r.Type, stamp(r.At))), " ")
		if where != "" {
			s.para("        ", where)
		}
		if r.Signal != "" {
			s.para("        ", "signal "+r.Signal)
		}
		if r.Account != "" {
			s.para("        ", "about "+r.Account)
		}
	}
	s.para(fmt.Sprintf("  %4d  ", sum), "= the score")
	for n, acc := range a.Accounts {
		word := "account      "
		if n == 0 {
			word = "driven by    "
		}
		s.para(word, fmt.Sprintf("%s: %s, %d", acc.Account, acc.Level, acc.Score))
	}
	for _, n := range a.Notes {
		s.para("note         ", n)
	}
}

func printRun(s sheet, v desk.RunView) {
	r := v.Run
	if r.ID != "" {
		s.field("run", string(r.ID))
	}
	s.field("about", whoText(v.Who))
	s.field("playbook", strings.TrimSpace(fmt.Sprintf("%s %s (%s)", r.Playbook, v.Ref.Version, r.Title)))
	if r.ID != "" {
		s.field("state", fmt.Sprintf("%s, %d of %s verified", r.State, r.Verified, plural(r.Steps, "step")))
		s.field("reason", r.Reason)
		s.field("asked by", string(r.AskedBy))
		s.field("why", r.Why)
		s.field("case", string(r.Case))
		s.field("started", stamp(r.StartedAt))
		s.field("ended", stamp(r.EndedAt))
	}
	s.plan(v.Plan)
	s.steps("Steps", v.Steps)
	for _, q := range v.Approvals {
		s.head("Approval %s: %s", q.ID, q.State)
		s.para("  ", asks(q))
		for _, d := range q.Decisions {
			word := "rejected"
			if d.Approve {
				word = "approved"
			}
			s.para("  ", strings.TrimSuffix(fmt.Sprintf("%s %s at %s: %s", d.By, word, stamp(d.At), d.Reason), ": "))
		}
	}
	for _, a := range v.Others {
		s.head("Also: %s on %s, %s", a.Title, a.Account.Name(), a.State)
	}
	if v.CanUndo {
		s.head("What it did can be undone: cordon undo %s --reason …", r.ID)
	}
}

func (s sheet) plan(p *playbook.Plan) {
	if p == nil {
		return
	}
	s.field("plan", p.Hash)
	s.field("mode", string(p.Mode))
	s.field("refused", p.Refused)
	s.field("held", p.Held)
}

func (s sheet) steps(title string, steps []desk.StepView) {
	if len(steps) == 0 {
		return
	}
	s.head("%s", title)
	for n, st := range steps {
		lead := fmt.Sprintf("%3d. ", n+1)
		switch {
		case st.Skip != "":
			s.para(lead, fmt.Sprintf("%s: not done: %s", st.Title, st.Skip))
			continue
		case st.Held != "":
			s.para(lead, fmt.Sprintf("%s: held: %s", st.Title, st.Held))
			continue
		}
		text := st.Title
		if st.State != "" {
			text += ": " + string(st.State)
		}
		s.para(lead, text)
		for _, line := range []struct{ name, value string }{
			{"on", st.Account.Name()}, {"now", st.Now}, {"after", st.Change}, {"breaks", st.Breaks}, {"undo", st.Undone},
			{"proof", st.Verify}, {"costs", st.Cost}, {"limits", st.Limits}, {"reason", st.Reason},
		} {
			if line.value != "" {
				s.para(fmt.Sprintf("     %-7s ", line.name), line.value)
			}
		}
		if st.Doing != nil {
			s.para("     action  ", fmt.Sprintf("%s %s", st.Doing.ID, st.Doing.Proof))
		}
	}
}

func printApproval(s sheet, v desk.ApprovalView) {
	q := v.Request
	s.field("approval", string(q.ID))
	s.field("state", string(q.State))
	s.field("reason", q.Reason)
	s.field("about", whoText(v.Who))
	s.field("playbook", q.Playbook)
	s.field("run", q.Run)
	s.field("asks", asks(q))
	s.field("when", string(q.Rule.Mode))
	for _, d := range q.Decisions {
		word := "rejected"
		if d.Approve {
			word = "approved"
		}
		s.field("answer", strings.TrimSuffix(fmt.Sprintf("%s %s at %s: %s", d.By, word, stamp(d.At), d.Reason), ": "))
	}
	s.plan(v.Plan)
	s.steps("The answer is about", v.Steps)
	s.steps("The plan also has", v.Others)
	if !v.CanAnswer && v.WhyNot != "" {
		s.head("You cannot answer: %s", v.WhyNot)
	}
}
