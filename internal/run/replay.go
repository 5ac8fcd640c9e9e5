package run

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A History is what is stored of one identity.
type History struct {
	Identity identity.Identity
	Signals  []signal.Signal      // every version, any order
	Risks    []signal.AccountRisk // every version, any order
	Cases    []casefile.Case
}

// A Replay asks what playbooks would have done in the past.
type Replay struct {
	Tenant      identity.Tenant
	From, Until time.Time // what happened from From on and before Until starts playbooks
	Policy      identity.Policy
	Directory   connector.DirectoryFacts
	Connected   []identity.Provider
}

// Outcomes of a replayed run.
const (
	ReplayedAct     = "act"     // it would have changed something, after the approvals it says
	ReplayedObserve = "observe" // the playbook only observes
	ReplayedRefused = "refused"
	ReplayedHeld    = "held"
	ReplayedNothing = "nothing" // no step was called for
	ReplayedSettled = "settled" // after the settle time its trigger did not hold any more
)

// A ReplayedRun is one run that would have been.
type ReplayedRun struct {
	At        time.Time     `json:"at"`
	Identity  identity.ID   `json:"identity"`
	Name      string        `json:"name"`
	Playbook  string        `json:"playbook"`
	Trigger   string        `json:"trigger,omitempty"` // the signal's ExternalID
	Outcome   string        `json:"outcome"`
	Reason    string        `json:"reason,omitempty"`
	Steps     []string      `json:"steps,omitempty"`     // the actions that would have gone, in order
	Approvals int           `json:"approvals,omitempty"` // requests that would have been asked
	Verdict   casefile.Word `json:"verdict,omitempty"`   // of the case at that time; "" when none was given
}

// ReplayedPlaybook counts what one playbook would have done.
type ReplayedPlaybook struct {
	Playbook   string `json:"playbook"`
	Runs       int    `json:"runs"`
	Identities int    `json:"identities"`
	Act        int    `json:"act"`
	Observe    int    `json:"observe"`
	Refused    int    `json:"refused"`
	Held       int    `json:"held"`
	Other      int    `json:"other"`     // nothing called for, or settled away
	Approvals  int    `json:"approvals"` // requests that would have been asked
	Faults     int    `json:"faults"`    // times its trigger could not be decided

	// How the runs that would have acted, or observed so, agree with what people
	// said of the cases. Precision is Compromised over all that have a verdict; nil
	// when none has.
	Compromised int      `json:"compromised"`
	Harmless    int      `json:"harmless"` // safe or benign
	Unjudged    int      `json:"unjudged"`
	Precision   *float64 `json:"precision,omitempty"`
}

// Replayed is what a replay came to.
type Replayed struct {
	From       time.Time          `json:"from"`
	Until      time.Time          `json:"until"`
	Identities int                `json:"identities"`
	Signals    int                `json:"signals"` // versions that arrived in the time
	Playbooks  []ReplayedPlaybook `json:"playbooks"`
	Runs       []ReplayedRun      `json:"runs"` // oldest first
}

// Play asks the planner what it would have done about each history, one after the
// other, and writes nothing. A signal arrives when its source says that the version
// was made; the risk is assessed by the present rules. What was known of accounts
// and directories then is not kept, so present facts stand for it.
func (r Replay) Play(p Planner, histories iter.Seq2[History, error]) (Replayed, error) {
	out := Replayed{From: r.From, Until: r.Until, Playbooks: []ReplayedPlaybook{}, Runs: []ReplayedRun{}}
	count := map[string]*ReplayedPlaybook{}
	who := map[string]map[identity.ID]bool{}
	of := func(id string) *ReplayedPlaybook {
		if count[id] == nil {
			count[id], who[id] = &ReplayedPlaybook{Playbook: id}, map[identity.ID]bool{}
		}
		return count[id]
	}
	for h, err := range histories {
		if err != nil {
			return out, fmt.Errorf("replay: %w", err)
		}
		out.Identities++
		past := past{replay: r, planner: p, history: h, protection: Protect(r.Policy, h.Identity, r.Directory, r.Until)}
		past.history.Identity = WithDirectory(h.Identity, r.Directory)
		if err := past.play(); err != nil {
			return out, fmt.Errorf("replay %s: %w", h.Identity.ID, err)
		}
		out.Signals += past.signals
		for id, n := range past.faults {
			of(id).Faults += n
		}
		for _, run := range past.runs {
			of(run.Playbook).add(run)
			who[run.Playbook][run.Identity] = true
		}
		out.Runs = append(out.Runs, past.runs...)
	}
	for id, c := range count {
		c.Identities = len(who[id])
		if judged := c.Compromised + c.Harmless; judged > 0 {
			share := float64(c.Compromised) / float64(judged)
			c.Precision = &share
		}
		out.Playbooks = append(out.Playbooks, *c)
	}
	slices.SortFunc(out.Playbooks, func(a, b ReplayedPlaybook) int { return cmp.Compare(a.Playbook, b.Playbook) })
	slices.SortStableFunc(out.Runs, func(a, b ReplayedRun) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Identity, b.Identity), cmp.Compare(a.Playbook, b.Playbook))
	})
	return out, nil
}

func (c *ReplayedPlaybook) add(r ReplayedRun) {
	c.Runs++
	c.Approvals += r.Approvals
	switch r.Outcome {
	case ReplayedAct:
		c.Act++
	case ReplayedObserve:
		c.Observe++
	case ReplayedRefused:
		c.Refused++
	case ReplayedHeld:
		c.Held++
	default:
		c.Other++
	}
	if r.Outcome != ReplayedAct && r.Outcome != ReplayedObserve {
		return
	}
	switch r.Verdict {
	case casefile.Compromised:
		c.Compromised++
	case casefile.Safe, casefile.Benign:
		c.Harmless++
	default:
		c.Unjudged++
	}
}

// A past plays the history of one identity.
type past struct {
	replay     Replay
	planner    Planner
	history    History
	protection identity.Protection

	now      map[signal.Key]signal.Signal // the versions that had arrived
	score    int
	level    signal.Level
	assessed bool
	open     bool                 // a case is
	until    map[string]time.Time // once_per keys
	pending  []ReplayedRun        // settling
	matches  []playbook.Match     // of pending

	signals int
	runs    []ReplayedRun
	faults  map[string]int
}

// arrival is when a version arrived.
func arrival(s signal.Signal) time.Time {
	if s.UpdatedAt.IsZero() {
		return s.At()
	}
	return s.UpdatedAt
}

func (w *past) play() error {
	w.now, w.until, w.faults = map[signal.Key]signal.Signal{}, map[string]time.Time{}, map[string]int{}
	list := slices.Clone(w.history.Signals)
	slices.SortStableFunc(list, func(a, b signal.Signal) int {
		return cmp.Or(arrival(a).Compare(arrival(b)), cmp.Compare(a.Source, b.Source), cmp.Compare(a.ExternalID, b.ExternalID))
	})
	for _, s := range list {
		at := arrival(s)
		if !at.Before(w.replay.Until) {
			break
		}
		if err := w.settle(at); err != nil {
			return err
		}
		w.now[s.Key()] = s
		in := w.input(at)
		in.Trigger, in.On = &s, w.happened(in.Assessment)
		if at.Before(w.replay.From) {
			continue
		}
		w.signals++
		for _, m := range w.planner.Match(in) {
			if err := w.begin(m, in); err != nil {
				return err
			}
		}
	}
	return w.settle(w.replay.Until)
}

// happened is what an arrival means beside the signal itself.
func (w *past) happened(a risk.Assessment) []string {
	on := []string{playbook.OnSignal}
	if !w.assessed || a.Score != w.score || a.Level != w.level {
		on = append(on, playbook.OnRisk)
	}
	w.assessed, w.score, w.level = true, a.Score, a.Level
	risky := a.Level.Rank() >= signal.LevelLow.Rank() && a.Level != ""
	if risky && !w.open {
		on = append(on, playbook.OnCase)
	}
	w.open = risky
	return on
}

// input is what was known at the time.
func (w *past) input(at time.Time) playbook.Input {
	in := playbook.Input{
		Tenant: w.replay.Tenant, Identity: w.history.Identity, Protection: w.protection, Connected: w.replay.Connected,
		UsableGlobalAdmins: len(w.replay.Directory.UsableGlobalAdmins), Now: at,
	}
	if w.replay.Directory.AsOf.IsZero() {
		in.UsableGlobalAdmins = -1
	}
	for _, s := range w.now {
		in.Signals = append(in.Signals, s)
	}
	slices.SortFunc(in.Signals, func(a, b signal.Signal) int {
		return cmp.Or(a.At().Compare(b.At()), cmp.Compare(a.Source, b.Source), cmp.Compare(a.ExternalID, b.ExternalID))
	})
	newest := map[string]signal.AccountRisk{}
	for _, r := range w.history.Risks {
		key := (identity.Account{Ref: r.Subject}).Key()
		if old, ok := newest[key]; !r.UpdatedAt.After(at) && (!ok || r.UpdatedAt.After(old.UpdatedAt)) {
			newest[key] = r
		}
	}
	about := risk.Input{Tenant: in.Tenant, Identity: in.Identity.ID, Signals: in.Signals}
	for _, r := range newest {
		about.Accounts = append(about.Accounts, r)
	}
	slices.SortFunc(about.Accounts, func(a, b signal.AccountRisk) int {
		return cmp.Compare((identity.Account{Ref: a.Subject}).Key(), (identity.Account{Ref: b.Subject}).Key())
	})
	in.Assessment = risk.Assess(about, at)
	return in
}

// begin is what a match leads to.
func (w *past) begin(m playbook.Match, in playbook.Input) error {
	if m.Err != nil {
		w.faults[m.Ref.ID]++
		return nil
	}
	key := m.Ref.ID + "\x00" + m.OnceKey
	if m.OnceKey != "" && m.Window > 0 {
		if in.Now.Before(w.until[key]) {
			return nil
		}
		w.until[key] = in.Now.Add(m.Window)
	}
	r := ReplayedRun{At: in.Now, Identity: w.history.Identity.ID, Name: w.history.Identity.Name, Playbook: m.Ref.ID, Trigger: in.Trigger.ExternalID, Verdict: w.verdict(in.Now)}
	if m.Settle > 0 {
		r.At = in.Now.Add(m.Settle)
		w.pending, w.matches = append(w.pending, r), append(w.matches, m)
		return nil
	}
	return w.plan(r, m, in)
}

// settle plans what has waited for sibling signals until now.
func (w *past) settle(now time.Time) error {
	for n := 0; n < len(w.pending); {
		r, m := w.pending[n], w.matches[n]
		if r.At.After(now) {
			n++
			continue
		}
		w.pending, w.matches = slices.Delete(w.pending, n, n+1), slices.Delete(w.matches, n, n+1)
		in := w.input(r.At)
		in.On = []string{playbook.OnSignal, playbook.OnRisk, playbook.OnCase}
		for k := range in.Signals {
			if in.Signals[k].ExternalID == r.Trigger {
				in.Trigger = &in.Signals[k]
			}
		}
		if !slices.ContainsFunc(w.planner.Match(in), func(o playbook.Match) bool { return o.Ref.ID == m.Ref.ID && o.Err == nil }) {
			r.Outcome, r.Reason = ReplayedSettled, fmt.Sprintf("after waiting %s its trigger did not hold any more", m.Settle)
			w.runs = append(w.runs, r)
			continue
		}
		if err := w.plan(r, m, in); err != nil {
			return err
		}
	}
	return nil
}

// plan says what a run would have come to.
func (w *past) plan(r ReplayedRun, m playbook.Match, in playbook.Input) error {
	p, err := w.planner.Plan(m.Ref, in)
	if err != nil {
		return err
	}
	switch {
	case p.Refused != "":
		r.Outcome, r.Reason = ReplayedRefused, p.Refused
	case p.Held != "":
		r.Outcome, r.Reason = ReplayedHeld, p.Held
	default:
		r.Outcome = ReplayedAct
		rules, held := map[string]bool{}, ""
		for _, s := range p.Steps {
			switch {
			case s.Held != "":
				held = cmp.Or(held, s.Held)
			case s.Skip == "" && s.Kind == playbook.KindAct:
				r.Steps = append(r.Steps, string(s.Action))
				if s.Approval != nil {
					rules[fmt.Sprint(*s.Approval)] = true
				}
			}
		}
		r.Approvals = len(rules)
		switch {
		case len(r.Steps) == 0 && held != "":
			r.Outcome, r.Reason = ReplayedHeld, held
		case len(r.Steps) == 0:
			r.Outcome = ReplayedNothing
		case p.Mode == playbook.Observe:
			r.Outcome, r.Approvals = ReplayedObserve, 0
		}
	}
	w.runs = append(w.runs, r)
	return nil
}

// verdict is what people said of the case that the time falls into.
func (w *past) verdict(at time.Time) casefile.Word {
	for _, c := range w.history.Cases {
		begun := c.OpenedAt
		if c.FirstSignal.Before(begun) && !c.FirstSignal.IsZero() {
			begun = c.FirstSignal
		}
		if c.Verdict != nil && !at.Before(begun) && !at.After(c.Verdict.At) {
			return c.Verdict.Word
		}
	}
	return ""
}
