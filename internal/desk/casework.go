package desk

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Standing is what Microsoft holds of one account.
type Standing struct {
	Account    string       `json:"account"`
	Level      signal.Level `json:"level"`
	State      signal.State `json:"state"`
	Detail     string       `json:"detail,omitempty"` // riskDetail, Microsoft's word
	Words      string       `json:"words,omitempty"`  // what it means
	Processing bool         `json:"processing,omitempty"`
	Deleted    bool         `json:"deleted,omitempty"`
	By         string       `json:"by,omitempty"`
	UpdatedAt  time.Time    `json:"updatedAt"`
}

// An Impact is how much harm a takeover of the identity does: it stands beside the
// score, which says how likely one is, and changes no number.
type Impact struct {
	Level   string   `json:"level"` // "critical", "high", "ordinary" or "unknown"
	Reasons []string `json:"reasons"`
}

// A Check is a question that the facts answer by themselves.
type Check struct {
	Text   string    `json:"text"`
	Answer string    `json:"answer"`
	Bad    bool      `json:"bad,omitempty"`
	AsOf   time.Time `json:"asOf,omitzero"`
}

// A Consequence is what a verdict would do, said before it is given.
type Consequence struct {
	Word    casefile.Word `json:"word"`
	Means   string        `json:"means"`
	Here    []string      `json:"here"`  // what Cordon does at once
	There   []string      `json:"there"` // what its sources are told, and what that would do
	Lasting []string      `json:"lasting"`
	Level   signal.Level  `json:"level"` // the identity's afterwards
	Score   int           `json:"score"`
}

// Work is everything a case or identity view shows of risk.
type Work struct {
	Microsoft  []Standing      `json:"microsoft,omitempty"`
	SignIns    []risk.SignIn   `json:"signIns,omitempty"` // risky ones, latest first
	Residuals  []risk.Residual `json:"residuals,omitempty"`
	Impact     Impact          `json:"impact"`
	Tags       []Tag           `json:"tags,omitempty"`
	Checks     []Check         `json:"checks,omitempty"`
	Recomputed *Recomputed     `json:"recomputed,omitempty"`
}

// Recomputed says whether the stored assessment comes out the same from what is
// stored.
type Recomputed struct {
	Same  bool         `json:"same"`
	Score int          `json:"score"`
	Level signal.Level `json:"level"`
	Rules string       `json:"rules"`
	Why   string       `json:"why,omitempty"` // when it is not
}

// input is what the assessment of an identity rests on, as stored.
func (s *Service) input(ctx context.Context, t identity.Tenant, id identity.ID) (risk.Input, error) {
	in := risk.Input{Tenant: t, Identity: id}
	var err error
	for p := (Page{Limit: 500}); ; {
		list, err := s.store.Signals(ctx, SignalFilter{Tenant: t, Identity: id}, p)
		if err != nil {
			return in, fmt.Errorf("read the signals: %w", err)
		}
		in.Signals = append(in.Signals, list.Items...)
		if p.After = list.Next; list.Next == "" {
			break
		}
	}
	if in.Accounts, err = s.store.AccountRisksNow(ctx, t, id); err != nil {
		return in, err
	}
	if in.Exceptions, err = s.store.Exceptions(ctx, t); err != nil {
		return in, err
	}
	v, ok, err := s.store.LastVerdict(ctx, t, id)
	if err != nil {
		return in, err
	}
	if ok {
		in.Verdict = risk.Verdict{Word: string(v.Word), At: v.At}
	}
	open, err := s.store.Cases(ctx, CaseFilter{Tenant: t, Identity: id, Status: Open()}, Page{Limit: 1})
	if len(open.Items) > 0 {
		in.CaseSince = open.Items[0].OpenedAt
	}
	return in, err
}

func (s *Service) work(i identity.Identity, in risk.Input, a *risk.Assessment, protection identity.Protection) Work {
	w := Work{SignIns: risk.SignIns(in.Signals), Residuals: risk.Residuals(in.Signals, i.Accounts, in.Verdict), Impact: impact(i, protection), Tags: tags(i, protection, in.Signals), Checks: checks(i, in)}
	for _, r := range in.Accounts {
		w.Microsoft = append(w.Microsoft, standing(r))
	}
	if a != nil {
		w.Recomputed = recompute(in, *a)
	}
	return w
}

func standing(r signal.AccountRisk) Standing {
	return Standing{
		Account: r.Subject.Name(), Level: r.Level, State: r.State, Detail: r.Detail, Words: risk.DetailWords(r.Detail),
		Processing: r.Processing, Deleted: r.Deleted, By: r.By, UpdatedAt: r.UpdatedAt,
	}
}

// recompute assesses anew from what is stored, at the time of the assessment.
func recompute(in risk.Input, a risk.Assessment) *Recomputed {
	b := risk.Assess(in, a.At)
	r := &Recomputed{Score: b.Score, Level: b.Level, Rules: b.Rules}
	switch {
	case a.Rules != b.Rules:
		r.Why = fmt.Sprintf("it was made by the rules %s; this program has %s", a.Rules, b.Rules)
	case a.Score != b.Score || a.Level != b.Level:
		r.Why = "what it rests on changed since, and it is about to be made again"
	default:
		r.Same = true
	}
	return r
}

// impact judges what the identity can do.
func impact(i identity.Identity, p identity.Protection) Impact {
	roles, asOf := i.Roles()
	out := Impact{Level: "ordinary"}
	raise := func(level, why string) {
		rank := []string{"ordinary", "unknown", "high", "critical"}
		if slices.Index(rank, level) > slices.Index(rank, out.Level) {
			out.Level = level
		}
		out.Reasons = append(out.Reasons, why)
	}
	for _, r := range roles {
		name := cmp.Or(r.Name, r.TemplateID)
		switch {
		case r.Active && r.TemplateID == identity.GlobalAdministrator:
			raise("critical", "holds "+name)
		case r.Active:
			raise("high", "holds "+name)
		default:
			raise("high", "may activate "+name)
		}
	}
	for _, t := range i.Tagged() {
		switch {
		case t.Name == identity.TagCritical:
			raise("critical", t.Text())
		case t.Name.Privileges():
			raise("high", t.Text())
		}
	}
	for _, why := range p.Reasons {
		if !p.Unknown {
			raise("critical", why)
		}
	}
	if i.Kind == identity.KindWorkload || i.Kind == identity.KindAgent {
		raise("high", fmt.Sprintf("is a %s: what it may do needs nobody's sign-in", i.Kind))
	}
	if asOf.IsZero() {
		raise("unknown", "its roles are not known")
	}
	if len(out.Reasons) == 0 {
		out.Reasons = []string{"holds no directory role that is known"}
	}
	return out
}

// checks answers from the facts what a person would look up first.
func checks(i identity.Identity, in risk.Input) []Check {
	var out []Check
	var leaked time.Time // latest open detection of a known password
	for _, s := range in.Signals {
		e, _ := detection.Of(s)
		if s.State.Open() && !s.Feedback() && (e.Cause == signal.CausePassword || e.Cause == signal.CauseBoth) {
			at := s.DetectedAt
			if at.IsZero() {
				at = s.At()
			}
			if at.After(leaked) {
				leaked = at
			}
		}
	}
	bad, known := casefile.FirstBad(in.Signals)
	for _, a := range i.Accounts {
		f, name := a.Facts, a.Name()
		where := map[identity.Provider]string{identity.EntraID: "Entra ID", identity.ActiveDirectory: "Active Directory"}[a.Provider]
		add := func(text, answer string, isBad bool) {
			out = append(out, Check{Text: fmt.Sprintf("%s (%s): %s", name, cmp.Or(where, string(a.Provider)), text), Answer: answer, Bad: isBad, AsOf: f.AsOf})
		}
		if !leaked.IsZero() {
			switch {
			case f.LastPasswordChange.IsZero():
				add("password changed since the detection?", "not known", true)
			case f.LastPasswordChange.After(leaked):
				add("password changed since the detection?", "yes, "+stamp(f.LastPasswordChange), false)
			default:
				add("password changed since the detection?", "no: last changed "+stamp(f.LastPasswordChange)+", detected "+stamp(leaked), true)
			}
		}
		if known && a.Provider == identity.EntraID {
			switch {
			case f.SessionsValidFrom.IsZero():
				add("sessions revoked since the first signal?", "not known", false)
			case f.SessionsValidFrom.After(bad):
				add("sessions revoked since the first signal?", "yes, "+stamp(f.SessionsValidFrom), false)
			default:
				add("sessions revoked since the first signal?", "no: those since "+stamp(f.SessionsValidFrom)+" are valid", true)
			}
		}
		if f.Enabled != nil {
			add("can it sign in?", map[bool]string{true: "yes, it is enabled", false: "no, it is disabled"}[*f.Enabled], false)
		}
	}
	return out
}

// history is what Microsoft and Cordon thought over time, as events.
func (s *Service) history(ctx context.Context, t identity.Tenant, id identity.ID) ([]Event, error) {
	var out []Event
	risks, err := s.store.AccountRisks(ctx, t, id, timelineLimit)
	if err != nil {
		return nil, err
	}
	for _, r := range risks {
		text := fmt.Sprintf("Microsoft holds %s at %s (%s)", r.Subject.Name(), r.Level, r.State)
		if words := risk.DetailWords(r.Detail); words != "" {
			text += ": " + words
		}
		if r.By != "" {
			text += ", by " + r.By
		}
		if r.Processing {
			text += "; feedback is still being worked on"
		}
		out = append(out, Event{At: r.UpdatedAt, Kind: "risk", Text: text, Level: r.Level, Type: r.Detail})
	}
	made, err := s.store.Assessments(ctx, t, id, timelineLimit)
	if err != nil {
		return nil, err
	}
	for n, a := range made {
		text := fmt.Sprintf("assessed at %s, score %d", a.Level, a.Score)
		if n+1 < len(made) {
			text += fmt.Sprintf(" (before: %s, %d)", made[n+1].Level, made[n+1].Score)
		}
		if len(a.Reasons) > 0 {
			text += ": " + a.Reasons[0].Text
		}
		out = append(out, Event{At: a.At, Kind: "assessment", Text: text, Level: a.Level, Actor: access.BySystem("risk")})
	}
	return out, nil
}

// timelineBack is how far back the records of a timeline go.
const timelineBack = 90 * 24 * time.Hour

// recorded is what the records say of the identity's accounts, as events.
func (s *Service) recorded(ctx context.Context, i identity.Identity) ([]Event, error) {
	refs := refsOf(i)
	if len(refs) == 0 {
		return nil, nil
	}
	page, err := s.store.Records(ctx, record.Query{Tenant: i.Tenant, Accounts: refs, Since: s.now().Add(-timelineBack), Limit: timelineLimit})
	if err != nil {
		return nil, fmt.Errorf("read the records: %w", err)
	}
	var out []Event
	for _, r := range page.Records {
		level, risky := signInRisk(r.Risk)
		out = append(out, Event{At: r.At, Kind: "record", Text: recordText(r) + risky, Level: level, Type: r.Type, Record: r.ExternalID, RecordSource: string(r.Source)})
	}
	return out, nil
}

// signInRisk says what Microsoft holds of one sign-in: the higher of its two levels,
// and both in words, with the state and why. It says nothing of one without risk.
func signInRisk(r *record.Risk) (signal.Level, string) {
	if r == nil || r.During.Rank() == 0 && r.Aggregated.Rank() == 0 && (r.State == "" || !r.State.Open()) && risk.DetailWords(r.Detail) == "" {
		return "", ""
	}
	level := r.During
	if r.Aggregated.Rank() > level.Rank() {
		level = r.Aggregated
	}
	text := fmt.Sprintf("; Microsoft's risk of this sign-in: %s when it happened, %s since", cmp.Or(r.During, "not told"), cmp.Or(r.Aggregated, "not told"))
	if r.State != "" {
		text += fmt.Sprintf(" (%s)", r.State)
	}
	if words := risk.DetailWords(r.Detail); words != "" {
		text += ": " + words
	}
	if len(r.Types) > 0 {
		text += ", for " + strings.Join(r.Types, ", ")
	}
	return level, text
}

func refsOf(i identity.Identity) []identity.Ref {
	var out []identity.Ref
	for _, a := range i.Accounts {
		out = append(out, a.Ref)
	}
	return out
}

// recordText says a record in a line.
func recordText(r record.Record) string {
	var b strings.Builder
	switch r.Source {
	case record.SignIn, record.Logon:
		b.WriteString("signed in")
		if r.Result == record.Failure {
			b.Reset()
			b.WriteString("failed to sign in")
		}
		if r.App != "" {
			b.WriteString(" to " + r.App)
		}
	default:
		b.WriteString(cmp.Or(r.Type, r.Title, string(r.Source)))
		if name := r.Subject.Name(); name != "unnamed account" {
			b.WriteString(" by " + name)
		} else if r.App != "" {
			b.WriteString(" by " + r.App)
		}
		for n, p := range r.Others {
			b.WriteString(map[bool]string{true: " on ", false: ", "}[n == 0] + p.Ref.Name())
		}
	}
	for _, part := range []struct{ before, v string }{{" from ", r.IP}, {", ", r.Location}, {" on ", r.Device}, {": ", r.Reason}} {
		if part.v != "" {
			b.WriteString(part.before + part.v)
		}
	}
	if a, ok := record.ActivityOf(r); ok {
		b.WriteString("; " + a.Means)
	}
	return b.String()
}

// investigation is how far the case has been looked into.
func (s *Service) investigation(ctx context.Context, c casefile.Case, kinds []detection.Entry) (casefile.Investigation, error) {
	notes, err := s.store.Notes(ctx, c.Tenant, c.ID)
	if err != nil {
		return casefile.Investigation{}, err
	}
	return casefile.Investigate(kinds, notes), nil
}

// consequences says what each verdict would do now.
func (s *Service) consequences(ctx context.Context, c casefile.Case, i identity.Identity, in risk.Input, inv casefile.Investigation) ([]Consequence, error) {
	if c.Verdict != nil {
		return nil, nil
	}
	runs, err := s.store.Runs(ctx, RunFilter{Tenant: c.Tenant, Case: c.ID}, Page{Limit: 500})
	if err != nil {
		return nil, err
	}
	now := s.now().UTC()
	var live []run.Run
	for _, r := range runs.Items {
		if !r.State.Final() {
			live = append(live, r)
		}
	}
	open := 0
	for _, g := range in.Signals {
		if g.State.Open() {
			open++
		}
	}
	var out []Consequence
	for _, w := range []casefile.Word{casefile.Compromised, casefile.Safe, casefile.Benign} {
		in.Verdict, in.CaseSince = risk.Verdict{Word: string(w), At: now}, time.Time{}
		a := risk.Assess(in, now)
		x := Consequence{Word: w, Level: a.Level, Score: a.Score}
		x.Here = append(x.Here, "The case is closed with your name; the verdict cannot be changed. What is new afterwards opens another case.")
		switch w {
		case casefile.Compromised:
			x.Means = "A true positive: somebody else was at work."
			x.Here = append(x.Here, fmt.Sprintf("What is under way goes on: %s. The identity stays at %s until its sources close it.", plural(len(live), "run", "runs"), a.Level))
			x.There = told("T15")
			if c.ContainedAt.IsZero() {
				x.Lasting = append(x.Lasting, "Nothing has been contained yet: a verdict resets, disables and revokes nothing.")
			}
		default:
			x.Means = map[casefile.Word]string{
				casefile.Safe:   "A false positive: it did not happen, and the source should learn so.",
				casefile.Benign: "A benign true positive: it happened and was expected, such as a test; the same will be reported again.",
			}[w]
			x.Here = append(x.Here, fmt.Sprintf("%s counts for nothing any more here, and what has not left yet is withdrawn: %s. The identity goes to %s.",
				plural(open, "open signal", "open signals"), plural(len(live), "run", "runs"), a.Level))
			x.There = told(map[casefile.Word]risk.TransitionID{casefile.Safe: "T16", casefile.Benign: "T11"}[w])
			x.Lasting = append(x.Lasting, "What was contained stays so until it is undone.")
		}
		x.There = append(x.There, s.classify(w, in.Signals)...)
		for _, r := range risk.Residuals(in.Signals, i.Accounts, in.Verdict) {
			x.Lasting = append(x.Lasting, r.Account+": "+r.Text)
		}
		x.Lasting = append(x.Lasting, a.Notes...)
		if n := inv.Total - inv.Answered; n > 0 {
			x.Lasting = append(x.Lasting, fmt.Sprintf("%d of %d questions of the investigation are open.", n, inv.Total))
		}
		out = append(out, x)
	}
	return out, nil
}

func told(id risk.TransitionID) []string {
	t, ok := risk.TransitionOf(id)
	if !ok {
		return nil
	}
	out := []string{"Cordon tells Microsoft nothing by a verdict alone, and closing there closes nothing here: a playbook's step or you do it.",
		fmt.Sprintf("If it is told there (%s): %s", t.Details[0], t.Text)}
	if t.Final {
		out = append(out, "There it cannot be undone.")
	}
	if t.Password == risk.PasswordSame {
		out = append(out, "The password is not changed by it.")
	}
	return out
}

// WriteNote adds an answer to a question of the case's investigation, or with an
// empty question free words. It needs access.Decide. A closed case takes notes too.
func (s *Service) WriteNote(ctx context.Context, op access.Operator, id casefile.ID, question string, answer casefile.Answer, text string) (CaseView, error) {
	if err := op.Require(access.Decide); err != nil {
		return CaseView{}, err
	}
	c, err := s.store.Case(ctx, op.Tenant, id)
	if err != nil {
		return CaseView{}, err
	}
	n := casefile.Note{Tenant: c.Tenant, Case: c.ID, By: op.ID, At: s.now().UTC(), Question: question, Answer: answer, Text: strings.TrimSpace(text)}
	if err := n.Check(); err != nil {
		return CaseView{}, fmt.Errorf("case %s: %w", id, err)
	}
	if question != "" {
		kinds, err := s.detections(ctx, c.Tenant, c.Identity)
		if err != nil {
			return CaseView{}, err
		}
		inv, err := s.investigation(ctx, c, kinds)
		if err != nil {
			return CaseView{}, err
		}
		at := slices.IndexFunc(inv.Steps, func(st casefile.Step) bool { return st.ID == question })
		if at < 0 {
			return CaseView{}, fault.Errorf(fault.NotFound, "case %s asks no question %q", id, question)
		}
		n.Asked = inv.Steps[at].Text
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		if _, err := tx.Case(c.Tenant, id); err != nil {
			return err
		}
		n, err := tx.PutNote(n)
		if err != nil {
			return err
		}
		e := audit.Entry{Tenant: c.Tenant, At: n.At, Actor: access.ByOperator(op.ID), Kind: audit.NoteWritten, Identity: string(c.Identity), Case: string(id), Text: noteText(n),
			Data: map[string]any{"note": string(n.ID), "question": n.Question, "answer": string(n.Answer)}}
		return tx.Audit(e)
	})
	if err != nil {
		return CaseView{}, err
	}
	return s.CaseView(ctx, op, id)
}

func noteText(n casefile.Note) string {
	if n.Question == "" {
		return fmt.Sprintf("%s noted: %s", n.By, n.Text)
	}
	text := fmt.Sprintf("%s answered %q: %s", n.By, n.Asked, n.Answer)
	if n.Text != "" {
		text += ": " + n.Text
	}
	return text
}
