package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/internal/witness"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/scenario"
)

// An outcome is what became of one account of a story.
type outcome struct {
	Alias    string       `json:"alias"`
	Name     string       `json:"name"`
	Identity identity.ID  `json:"identity,omitempty"`
	Expected scenario.End `json:"expected"`
	End      scenario.End `json:"end"`
	OK       bool         `json:"ok"`
	Reason   string       `json:"reason,omitempty"`

	Signals []outcomeSignal `json:"signals"`
	Level   signal.Level    `json:"level,omitempty"`
	Score   int             `json:"score"`
	Reasons []risk.Reason   `json:"reasons,omitempty"`
	Case    casefile.Status `json:"case,omitempty"`
	Waits   string          `json:"waits,omitempty"`
	Plans   []outcomePlan   `json:"plans,omitempty"`
	Actions []outcomeAction `json:"actions,omitempty"`
	Effects []string        `json:"-"` // by us, in the tenant's ledger
}

type outcomeSignal struct {
	Source signal.Source `json:"source"`
	Type   string        `json:"type"`
	Level  signal.Level  `json:"level"`
	At     time.Time     `json:"at"`
}

type outcomePlan struct {
	Run      run.ID    `json:"run"`
	Playbook string    `json:"playbook"`
	Hash     string    `json:"hash,omitempty"`
	State    run.State `json:"state"`
	Reason   string    `json:"reason,omitempty"`
}

type outcomeAction struct {
	ID              action.ID    `json:"id"`
	Name            action.Name  `json:"name"`
	State           action.State `json:"state"`
	Reason          string       `json:"reason,omitempty"`
	RequestedAt     time.Time    `json:"requested_at"`
	AcceptedAt      time.Time    `json:"accepted_at,omitzero"`
	VerifiedAt      time.Time    `json:"verified_at,omitzero"`
	ClientRequestID string       `json:"client_request_id,omitempty"`
	RequestID       string       `json:"request_id,omitempty"`
	Before          string       `json:"before,omitempty"`
	Proof           string       `json:"proof,omitempty"`
	UndoOf          action.ID    `json:"undo_of,omitempty"`
	UndoneBy        action.ID    `json:"undone_by,omitempty"`
}

// line is the outcome in one line of at most 80 columns.
func (o outcome) line() string {
	text := fmt.Sprintf("%-24.24s %-6s %-9s", clean(o.Name), o.Level, o.End)
	if o.Reason != "" {
		// What is behind the last colon is the cause; it must not be cut off.
		reason := o.Reason
		if n := strings.LastIndex(reason, ": "); n >= 0 && len(reason) > 32 {
			reason = reason[n+2:]
		}
		text += " " + clean(reason)
	}
	if r := []rune(text); len(r) > 72 {
		text = string(r[:71]) + "…"
	}
	return text
}

// outcomes says what has become of each account of the story so far. What could
// not be read stays empty; the next call tries again.
func (x *demo) outcomes(ctx context.Context) []outcome {
	var out []outcome
	for _, w := range x.lab.story.Expect {
		o, err := x.outcome(ctx, w)
		if err == nil {
			out = append(out, o)
		}
	}
	return out
}

func (x *demo) outcome(ctx context.Context, w scenario.Expectation) (outcome, error) {
	a := x.lab.cast[w.For]
	o := outcome{Alias: w.For, Name: a.DisplayName, Expected: w.End, End: scenario.Untouched, Signals: []outcomeSignal{}}
	if o.Name == "" {
		o.Name = a.SAMAccountName
	}
	for _, e := range x.lab.tenant.Ledger() {
		if !strings.EqualFold(e.App, labApp) || a.UserID == "" {
			continue
		}
		for _, f := range e.Effects {
			if strings.HasSuffix(strings.ToLower(f.Object), strings.ToLower(a.UserID)) {
				o.Effects = append(o.Effects, f.Field)
			}
		}
	}
	i, ok, err := x.identityOf(ctx, w.For)
	if err != nil {
		return o, err
	}
	if ok {
		if err := x.fill(ctx, &o, i); err != nil {
			return o, err
		}
	}
	o.judge(w)
	return o, nil
}

func (x *demo) fill(ctx context.Context, o *outcome, i identity.Identity) error {
	o.Identity, o.Name = i.ID, i.Name
	all := desk.Page{Limit: 500}
	v, err := x.app.Desk().IdentityView(ctx, x.owner, i.ID)
	if err != nil {
		return err
	}
	if v.Assessment != nil {
		o.Level, o.Score, o.Reasons = v.Assessment.Level, v.Assessment.Score, v.Assessment.Reasons
	}
	signals, err := x.app.Desk().Signals(ctx, x.owner, desk.SignalFilter{Identity: i.ID}, all)
	if err != nil {
		return err
	}
	for _, s := range signals.Items {
		o.Signals = append(o.Signals, outcomeSignal{s.Source, s.Type, s.Level, s.At()})
	}
	cases, err := x.app.Desk().Cases(ctx, x.owner, desk.CaseFilter{Identity: i.ID}, all)
	if err != nil {
		return err
	}
	if len(cases.Items) > 0 {
		o.Case, o.Waits = cases.Items[0].Status, cases.Items[0].Waits
	}
	runs, err := x.app.Store().Desk().Runs(ctx, desk.RunFilter{Identity: i.ID}, all)
	if err != nil {
		return err
	}
	for _, r := range runs.Items {
		p := outcomePlan{Run: r.ID, Playbook: r.Playbook.ID, State: r.State, Reason: r.Reason}
		if r.Plan != nil {
			p.Hash = r.Plan.Hash
		}
		o.Plans = append(o.Plans, p)
	}
	actions, err := x.app.Desk().Actions(ctx, x.owner, desk.ActionFilter{Identity: i.ID}, all)
	if err != nil {
		return err
	}
	for _, a := range actions.Items {
		o.Actions = append(o.Actions, outcomeAction{
			ID: a.ID, Name: a.Name, State: a.State, Reason: a.Reason, RequestedAt: a.RequestedAt, AcceptedAt: a.AcceptedAt, VerifiedAt: a.VerifiedAt,
			ClientRequestID: a.ClientRequestID, RequestID: a.RequestID, Before: a.BeforeText, Proof: a.Proof, UndoOf: a.UndoOf, UndoneBy: a.UndoneBy,
		})
	}
	slices.Reverse(o.Actions) // oldest first
	return nil
}

// judge decides the end and whether it is the one the story expects.
func (o *outcome) judge(w scenario.Expectation) {
	busy, undone := false, false
	var held, refused string
	newest := map[string]bool{} // a later run of a playbook stands for the earlier ones: it was planned anew
	for _, p := range o.Plans {
		if newest[p.Playbook] {
			continue
		}
		newest[p.Playbook] = true
		switch p.State {
		case run.HeldState:
			held = p.Reason
		case run.Refused, run.Rejected, run.Expired:
			refused = p.Reason
		case run.Waiting:
			o.End, o.Reason = scenario.Waiting, p.Reason
		}
		busy = busy || !p.State.Final() && p.State != run.Waiting
	}
	for _, a := range o.Actions {
		undone = undone || a.State == action.Reverted
		if a.State == action.Unconfirmed {
			o.End, o.Reason = scenario.Waiting, a.Reason
		}
	}
	switch {
	case undone:
		o.End, o.Reason = scenario.Undone, ""
	case o.End == scenario.Waiting:
	case held != "":
		o.End, o.Reason = scenario.Held, held
	case o.Case == casefile.Contained:
		o.End, o.Reason = scenario.Contained, ""
	case refused != "" && len(o.Effects) > 0:
		o.End, o.Reason = scenario.Refused, refused
	case refused != "":
		o.End, o.Reason = scenario.Refused, refused
		if w.End == scenario.Untouched {
			o.End = scenario.Untouched
		}
	case o.Case != "":
		o.End, o.Reason = scenario.Waiting, o.Waits
	}
	o.OK = o.End == w.End && !busy && (w.Reason == "" || strings.Contains(strings.ToLower(o.Reason), strings.ToLower(w.Reason)))
	if w.End == scenario.Untouched && len(o.Effects) > 0 {
		o.OK = false
	}
	for _, name := range w.Actions {
		o.OK = o.OK && slices.ContainsFunc(o.Actions, func(a outcomeAction) bool {
			return string(a.Name) == name && (a.State == action.Verified || a.State == action.Reverted)
		})
	}
}

// finished reports whether everything has happened and everything ended as it
// should. An account that must be untouched counts only when all others are
// done.
func (x *demo) finished(ctx context.Context) bool {
	if time.Since(x.start) < x.lab.story.Length()+3*time.Second {
		return false
	}
	all := x.outcomes(ctx)
	return len(all) == len(x.lab.story.Expect) && !slices.ContainsFunc(all, func(o outcome) bool { return !o.OK })
}

// A demoReport is what --report writes.
type demoReport struct {
	Scenario string    `json:"scenario"`
	OK       bool      `json:"ok"`
	Started  time.Time `json:"started_at"`
	Seconds  float64   `json:"seconds"`
	// FirstVerified is when the first containing action was proven, in seconds
	// since the start; 0: never.
	FirstVerified    float64        `json:"first_verified_seconds"`
	Identities       []outcome      `json:"identities"`
	Requests         int            `json:"requests"` // that the tenant received from us
	Refused          int            `json:"refused_429"`
	ProtectedTouched int            `json:"protected_touched"`
	Unrecorded       int            `json:"unrecorded"`
	Witness          witness.Report `json:"witness"`
	Log              audit.Report   `json:"log"`
	LogVerified      bool           `json:"log_verified"`
	Answers          []string       `json:"answers_refused,omitempty"` // scripted approvals that Cordon did not accept
	LabFailures      []string       `json:"lab_failures,omitempty"`
}

func (x *demo) report(ctx context.Context, c *conductor) (demoReport, error) {
	r := demoReport{Scenario: x.lab.story.Name, Started: x.start.UTC(), OK: true, Answers: c.refused, Identities: x.outcomes(ctx)}
	for _, o := range r.Identities {
		r.OK = r.OK && o.OK
		for _, a := range o.Actions {
			if at := a.VerifiedAt; !at.IsZero() && (r.FirstVerified == 0 || at.Sub(x.start).Seconds() < r.FirstVerified) {
				r.FirstVerified = at.Sub(x.start).Seconds()
			}
		}
	}
	r.OK = r.OK && len(r.Identities) == len(x.lab.story.Expect)
	trail, err := trailOf(ctx, x.app.Store().Desk())
	if err != nil {
		return r, err
	}
	ledger := x.lab.tenant.Ledger()
	ids, _ := x.lab.protected()
	r.Witness = witness.Compare(trail, ledger, labApp, ids)
	r.ProtectedTouched, r.Unrecorded = len(r.Witness.ProtectedTouched), len(r.Witness.Unrecorded)+len(r.Witness.Unwitnessed)
	r.Requests, r.Refused = requests(ledger)
	if r.Log, err = x.verifyLog(ctx); err != nil {
		return r, err
	}
	r.LogVerified = r.Log.Broken == nil
	for _, f := range x.lab.world.Failures() {
		r.LabFailures = append(r.LabFailures, f.Error())
	}
	r.OK = r.OK && r.Witness.Clean() && r.LogVerified && len(r.LabFailures) == 0
	r.Seconds = time.Since(x.start).Seconds()
	return r, nil
}

func requests(ledger []graphsim.Entry) (sent, refused int) {
	for _, e := range ledger {
		if strings.EqualFold(e.App, labApp) && e.Kind != "login" {
			sent++
			if e.Throttled != "" {
				refused++
			}
		}
	}
	return sent, refused
}

// trailOf returns every entry of the trail, sequenced or not.
func trailOf(ctx context.Context, d desk.Store) ([]audit.Entry, error) {
	var all []audit.Entry
	for p := (desk.Page{Limit: 500}); ; {
		list, err := d.AuditEntries(ctx, desk.AuditFilter{}, p)
		if err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
		if p.After = list.Next; p.After == "" {
			return all, nil
		}
	}
}

// verifyLog waits until everything is sequenced and verifies the log as anybody
// could.
func (x *demo) verifyLog(ctx context.Context) (audit.Report, error) {
	log := x.app.Store().Audit()
	err := until(ctx, 10*time.Second, func() (bool, error) {
		n, _, err := log.Pending(ctx)
		return n == 0, err
	})
	if err != nil {
		return audit.Report{}, fmt.Errorf("sequence the trail: %w", err)
	}
	_, signed, err := log.Checkpoint(ctx)
	if err != nil {
		return audit.Report{}, err
	}
	c, err := x.stage.key.Open(signed)
	if err != nil {
		return audit.Report{}, err
	}
	return audit.Verify(audit.All(ctx, log), c, c)
}

func (r demoReport) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s in %.0f s\n\n", r.Scenario, r.Seconds)
	for _, o := range r.Identities {
		mark := "ok "
		if !o.OK {
			mark = "NOT"
		}
		fmt.Fprintf(w, "%s %s\n", mark, o.line())
		if !o.OK {
			fmt.Fprintf(w, "    expected: %s\n", o.Expected)
		}
	}
	fmt.Fprintf(w, "\nfirst verified containment after %.1f s; %d requests, %d refused by a limit\n", r.FirstVerified, r.Requests, r.Refused)
	fmt.Fprintf(w, "protected touched %d, unrecorded %d, log of %d entries %s\n", r.ProtectedTouched, r.Unrecorded, r.Log.Entries, verifies(r.LogVerified))
	for _, list := range [][]string{r.Answers, r.LabFailures, r.Witness.Unrecorded, r.Witness.Unwitnessed, r.Witness.ProtectedTouched, r.Witness.Repeated, r.Witness.Unproven} {
		for _, line := range list {
			fmt.Fprintf(w, "  %s\n", clean(line))
		}
	}
}

func verifies(ok bool) string {
	if ok {
		return "verifies"
	}
	return "DOES NOT VERIFY"
}
