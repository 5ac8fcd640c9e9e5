package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// timelineLimit is how many events a view's timeline holds; what is older is
// in the lists.
const timelineLimit = 200

// scope returns the tenant a list may be read for: the one asked, or the
// operator's own. Another tenant than the operator's is fault.NotFound.
func scope(op access.Operator, t identity.Tenant) (identity.Tenant, error) {
	switch {
	case op.Tenant == "" || op.Tenant == t:
		return t, nil
	case t == "":
		return op.Tenant, nil
	}
	return "", fault.Errorf(fault.NotFound, "no tenant %q", t)
}

// may checks p and returns the tenant to read.
func may(op access.Operator, p access.Permission, t identity.Tenant) (identity.Tenant, error) {
	if err := op.Require(p); err != nil {
		return "", err
	}
	return scope(op, t)
}

// Open are the statuses of cases that still need work or a verdict.
func Open() []casefile.Status {
	return []casefile.Status{casefile.Open, casefile.Acting, casefile.Waiting, casefile.Contained}
}

// Queue returns a page of the cases f asks for, open ones when it names no
// status, in the order in which they should be worked. It needs access.Read.
func (s *Service) Queue(ctx context.Context, op access.Operator, f CaseFilter, p Page) (Queue, error) {
	t, err := may(op, access.Read, f.Tenant)
	if err != nil {
		return Queue{}, err
	}
	f.Tenant = t
	if len(f.Status) == 0 {
		f.Status = Open()
	}
	q := Queue{At: s.now().UTC()}
	cases, err := s.store.Cases(ctx, f, p)
	if err != nil {
		return q, fmt.Errorf("read the queue: %w", err)
	}
	q.Next = cases.Next
	look := s.look()
	for _, c := range cases.Items {
		row, err := s.row(ctx, look, c)
		if err != nil {
			return q, fmt.Errorf("case %s: %w", c.ID, err)
		}
		q.Rows = append(q.Rows, row)
	}
	if q.Counts, err = s.store.Count(ctx, t); err != nil {
		return q, fmt.Errorf("count what waits: %w", err)
	}
	q.Stop, err = s.store.Stop(ctx, t)
	return q, err
}

// A lookout reads identities with what the newest reading of their directory
// says of them; it reads each tenant's directory once.
type lookout struct {
	store Store
	dirs  map[identity.Tenant]connector.DirectoryFacts
}

func (s *Service) look() *lookout {
	return &lookout{store: s.store, dirs: map[identity.Tenant]connector.DirectoryFacts{}}
}

func (l *lookout) directory(ctx context.Context, t identity.Tenant) (connector.DirectoryFacts, error) {
	d, ok := l.dirs[t]
	if ok {
		return d, nil
	}
	d, err := l.store.Directory(ctx, t)
	if err != nil {
		return d, fmt.Errorf("read the directory facts: %w", err)
	}
	l.dirs[t] = d
	return d, nil
}

func (l *lookout) identity(ctx context.Context, t identity.Tenant, id identity.ID) (identity.Identity, error) {
	i, err := l.store.Identity(ctx, t, id)
	if err != nil {
		return i, err
	}
	d, err := l.directory(ctx, i.Tenant)
	return run.WithDirectory(i, d), err
}

func (s *Service) row(ctx context.Context, look *lookout, c casefile.Case) (QueueRow, error) {
	row := QueueRow{Case: c}
	i, err := look.identity(ctx, c.Tenant, c.Identity)
	if err != nil {
		return row, err
	}
	row.Who = who(i)
	a, err := s.assessment(ctx, c.Tenant, c.Identity)
	if err != nil {
		return row, err
	}
	if a != nil {
		row.Reasons, row.Causes = a.Reasons[:min(3, len(a.Reasons))], a.Causes
	}
	runs, err := s.store.Runs(ctx, RunFilter{Tenant: c.Tenant, Case: c.ID}, Page{Limit: 1})
	if err != nil {
		return row, err
	}
	if len(runs.Items) > 0 {
		sum := summary(runs.Items[0], i.Name)
		row.Run = &sum
	}
	row.Waits, err = s.waits(ctx, c)
	return row, err
}

// waits lists what a case waits for: people first, then proofs.
func (s *Service) waits(ctx context.Context, c casefile.Case) ([]Wait, error) {
	if c.Status == casefile.Closed {
		return nil, nil
	}
	var out []Wait
	asked, err := s.store.Approvals(ctx, ApprovalFilter{Tenant: c.Tenant, Case: c.ID, State: []approval.State{approval.Pending}}, Page{})
	if err != nil {
		return nil, err
	}
	for _, r := range asked.Items {
		out = append(out, Wait{What: "approval", Text: approvalWait(r), Approval: r.ID, Run: run.ID(r.Run), Until: r.ExpiresAt})
	}
	open := []action.State{action.Held, action.Unconfirmed, action.AcceptedState, action.Running, action.Failed}
	acts, err := s.store.Actions(ctx, ActionFilter{Tenant: c.Tenant, Case: c.ID, State: open}, Page{})
	if err != nil {
		return nil, err
	}
	for _, a := range acts.Items {
		w := Wait{Action: a.ID, Run: run.ID(a.Run), Until: a.Deadline}
		switch {
		case a.Person:
			w.What, w.Text = "person", fmt.Sprintf("a person for %s: %s", s.title(a.Name), cmp.Or(a.Reason, "its outcome is not known"))
		case a.State == action.Held:
			w.What, w.Text = "hold", fmt.Sprintf("%s is held: %s", s.title(a.Name), a.Reason)
			w.Until = time.Time{}
		case a.State == action.Failed:
			continue
		default:
			w.What, w.Text = "proof", fmt.Sprintf("proof of %s", s.title(a.Name))
		}
		out = append(out, w)
	}
	if len(out) == 0 && c.Waits != "" {
		out = append(out, Wait{What: "hold", Text: c.Waits})
	}
	rank := map[string]int{"approval": 0, "person": 1, "hold": 2, "proof": 3}
	slices.SortStableFunc(out, func(a, b Wait) int { return cmp.Compare(rank[a.What], rank[b.What]) })
	return out, nil
}

func approvalWait(r approval.Request) string {
	from := "a responder"
	if len(r.Rule.From) > 0 {
		from = strings.Join(r.Rule.From, " or ")
	}
	given := 0
	for _, d := range r.Decisions {
		if d.Approve {
			given++
		}
	}
	text := fmt.Sprintf("approval by %s of %s", from, plural(len(r.Steps), "step", "steps"))
	if n := max(1, r.Rule.Quorum); n > 1 {
		text += fmt.Sprintf(" (%d of %d)", given, n)
	}
	return text
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// assessment returns nil when the identity was never assessed.
func (s *Service) assessment(ctx context.Context, t identity.Tenant, id identity.ID) (*risk.Assessment, error) {
	a, err := s.store.Assessment(ctx, t, id)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &a, nil
}

func who(i identity.Identity) Who {
	w := Who{Tenant: i.Tenant, ID: i.ID, Name: i.Name, Kind: i.Kind, Privileged: "no"}
	if a, ok := i.Account(identity.EntraID); ok && a.UPN != "" {
		w.UPN = a.UPN
	} else if a, ok := i.Account(identity.ActiveDirectory); ok && a.SAM != "" {
		w.UPN = strings.TrimPrefix(a.Domain+`\`+a.SAM, `\`)
	}
	switch privileged, known := i.Privileged(); {
	case privileged:
		w.Privileged = "yes"
	case !known:
		w.Privileged = "unknown"
	}
	return w
}

func summary(r run.Run, name string) RunSummary {
	out := RunSummary{
		Tenant: r.Tenant, ID: r.ID, Case: r.Case, Identity: r.Identity, Name: name,
		Playbook: r.Playbook.ID, Title: r.Playbook.ID, State: r.State, Reason: r.Reason,
		AskedBy: r.AskedBy, Why: r.Why, StartedAt: r.StartedAt, EndedAt: r.EndedAt,
	}
	if r.Plan != nil {
		out.Title = cmp.Or(r.Plan.Title, r.Playbook.ID)
		if name == "" {
			out.Name = r.Plan.Name
		}
	}
	if r.State == run.Observed && r.Plan != nil {
		for _, st := range r.Plan.Steps { // planned, and nothing left
			if st.Skip == "" {
				out.Steps++
			}
		}
		return out
	}
	for _, st := range r.Steps {
		if st.State != run.StepSkipped {
			out.Steps++
		}
		if st.State == run.StepVerified {
			out.Verified++
		}
	}
	return out
}

// IdentityView returns all that is known of one identity. It needs access.Read.
func (s *Service) IdentityView(ctx context.Context, op access.Operator, id identity.ID) (IdentityView, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return IdentityView{}, err
	}
	look := s.look()
	i, err := look.identity(ctx, t, id)
	if err != nil {
		return IdentityView{}, err
	}
	now := s.now().UTC()
	v := IdentityView{Who: who(i), Identity: i, At: now, Facts: facts(i)}
	v.Authority, v.AuthorityKnown = i.Authority()
	v.Roles, _ = i.Roles()
	dir, err := look.directory(ctx, i.Tenant)
	if err != nil {
		return v, err
	}
	v.Protection = run.Protect(s.policy(i.Tenant), i, dir, now)
	if v.Assessment, err = s.assessment(ctx, i.Tenant, i.ID); err != nil {
		return v, err
	}
	in, err := s.input(ctx, i.Tenant, i.ID)
	if err != nil {
		return v, err
	}
	v.Facts = append(v.Facts, staleRisk(i, in, dir.Synchronisation, now)...)
	v.Facts = append(v.Facts, synchronisation(i, dir.Synchronisation)...)
	v.Work = s.work(i, in, v.Assessment, v.Protection)
	cases, err := s.store.Cases(ctx, CaseFilter{Tenant: i.Tenant, Identity: i.ID}, Page{})
	if err != nil {
		return v, err
	}
	for _, c := range cases.Items {
		if c.Verdict == nil && v.Case == nil {
			v.Case = &c
			continue
		}
		v.Earlier = append(v.Earlier, c)
	}
	if v.Case != nil {
		if v.Waits, err = s.waits(ctx, *v.Case); err != nil {
			return v, err
		}
	}
	if v.Runs, err = s.runs(ctx, RunFilter{Tenant: i.Tenant, Identity: i.ID}, i.Name); err != nil {
		return v, err
	}
	v.Timeline, v.Truncated, err = s.timeline(ctx, op, i, AuditFilter{Tenant: i.Tenant, Identity: i.ID}, SignalFilter{Tenant: i.Tenant, Identity: i.ID})
	return v, err
}

func (s *Service) runs(ctx context.Context, f RunFilter, name string) ([]RunSummary, error) {
	list, err := s.store.Runs(ctx, f, Page{})
	if err != nil {
		return nil, err
	}
	var out []RunSummary
	for _, r := range list.Items {
		out = append(out, summary(r, name))
	}
	return out, nil
}

// timeline merges signals, what was thought, records and the trail, newest first. The trail's evidence is
// left out for operators who may not read the trail.
func (s *Service) timeline(ctx context.Context, op access.Operator, i identity.Identity, af AuditFilter, sf SignalFilter) (events []Event, truncated bool, err error) {
	sigs, err := s.store.Signals(ctx, sf, Page{Limit: timelineLimit})
	if err != nil {
		return nil, false, fmt.Errorf("read the signals: %w", err)
	}
	entries, err := s.store.AuditEntries(ctx, af, Page{Limit: timelineLimit})
	if err != nil {
		return nil, false, fmt.Errorf("read the trail: %w", err)
	}
	for _, g := range sigs.Items {
		text := detection.Title(g)
		if g.IP != "" {
			text += " from " + g.IP
		}
		if g.Location != "" {
			text += ", " + g.Location
		}
		if !g.State.Open() {
			text += fmt.Sprintf(" (%s)", g.State)
			if words := risk.DetailWords(g.Detail); words != "" && g.Source != signal.DefenderAlert {
				text += ": " + words
			}
		}
		events = append(events, Event{At: g.At(), Kind: "signal", Text: text, Level: g.Level, Source: g.Source, Signal: g.ExternalID, Type: g.Type})
	}
	for _, e := range entries.Items {
		v := Event{At: e.At, Kind: string(e.Kind), Text: e.Text, Actor: e.Actor, Run: run.ID(e.Run), Action: action.ID(e.Action)}
		if op.Can(access.Audit) {
			v.Data = e.Data
		}
		events = append(events, v)
	}
	past, err := s.history(ctx, i.Tenant, i.ID)
	if err != nil {
		return nil, false, err
	}
	told, err := s.recorded(ctx, i)
	if err != nil {
		return nil, false, err
	}
	judged, err := s.judged(ctx, i.Tenant, i.ID, sigs.Items)
	if err != nil {
		return nil, false, err
	}
	for _, j := range judged {
		events = append(events, Event{At: j.At, Kind: "judged", Text: j.Text(), Type: j.Classification})
	}
	events = slices.Concat(events, past, told)
	// Stable: entries of one instant keep the order in which they were committed.
	slices.SortStableFunc(events, func(a, b Event) int { return b.At.Compare(a.At) })
	truncated = sigs.Next != "" || entries.Next != "" || len(told) == timelineLimit || len(events) > 2*timelineLimit
	return events[:min(2*timelineLimit, len(events))], truncated, nil
}

// CaseView returns one case with its evidence. It needs access.Read.
func (s *Service) CaseView(ctx context.Context, op access.Operator, id casefile.ID) (CaseView, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return CaseView{}, err
	}
	c, err := s.store.Case(ctx, t, id)
	if err != nil {
		return CaseView{}, err
	}
	v := CaseView{Case: c, At: s.now().UTC()}
	i, err := s.look().identity(ctx, c.Tenant, c.Identity)
	if err != nil {
		return v, err
	}
	v.Who = who(i)
	if v.Assessment, err = s.assessment(ctx, c.Tenant, c.Identity); err != nil {
		return v, err
	}
	if v.Detections, err = s.detections(ctx, c.Tenant, c.Identity); err != nil {
		return v, err
	}
	if v.Waits, err = s.waits(ctx, c); err != nil {
		return v, err
	}
	if v.Runs, err = s.runs(ctx, RunFilter{Tenant: c.Tenant, Case: c.ID}, i.Name); err != nil {
		return v, err
	}
	in, err := s.input(ctx, c.Tenant, c.Identity)
	if err != nil {
		return v, err
	}
	dir, err := s.look().directory(ctx, c.Tenant)
	if err != nil {
		return v, err
	}
	v.Work = s.work(i, in, v.Assessment, run.Protect(s.policy(i.Tenant), i, dir, v.At))
	if v.Investigation, err = s.investigation(ctx, c, v.Detections); err != nil {
		return v, err
	}
	if v.Verdicts, err = s.consequences(ctx, c, i, in, v.Investigation); err != nil {
		return v, err
	}
	judged, err := s.judged(ctx, c.Tenant, c.Identity, in.Signals)
	if err != nil {
		return v, err
	}
	v.Proposal = casefile.Propose(c, judged, in.Signals)
	v.Timeline, v.Truncated, err = s.timeline(ctx, op, i, AuditFilter{Tenant: c.Tenant, Case: c.ID}, SignalFilter{Tenant: c.Tenant, Identity: c.Identity})
	return v, err
}

// Identities lists identities. It needs access.Read.
func (s *Service) Identities(ctx context.Context, op access.Operator, f IdentityFilter, p Page) (List[identity.Identity], error) {
	t, err := may(op, access.Read, f.Tenant)
	if err != nil {
		return List[identity.Identity]{}, err
	}
	f.Tenant = t
	return s.store.Identities(ctx, f, p)
}

// Signals lists signals. It needs access.Read.
func (s *Service) Signals(ctx context.Context, op access.Operator, f SignalFilter, p Page) (List[signal.Signal], error) {
	t, err := may(op, access.Read, f.Tenant)
	if err != nil {
		return List[signal.Signal]{}, err
	}
	f.Tenant = t
	return s.store.Signals(ctx, f, p)
}

// Signal returns one signal with its raw record. It needs access.Read.
func (s *Service) Signal(ctx context.Context, op access.Operator, k signal.Key) (signal.Signal, error) {
	t, err := may(op, access.Read, k.Tenant)
	if err != nil {
		return signal.Signal{}, err
	}
	k.Tenant = t
	return s.store.Signal(ctx, k)
}

// Runs lists runs. It needs access.Read.
func (s *Service) Runs(ctx context.Context, op access.Operator, f RunFilter, p Page) (List[RunSummary], error) {
	t, err := may(op, access.Read, f.Tenant)
	if err != nil {
		return List[RunSummary]{}, err
	}
	f.Tenant = t
	runs, err := s.store.Runs(ctx, f, p)
	out := List[RunSummary]{Next: runs.Next, Items: []RunSummary{}}
	for _, r := range runs.Items {
		name := ""
		if r.Plan == nil {
			if i, err := s.store.Identity(ctx, r.Tenant, r.Identity); err == nil {
				name = i.Name
			}
		}
		out.Items = append(out.Items, summary(r, name))
	}
	return out, err
}

// Approvals lists requests for approval. It needs access.Read.
func (s *Service) Approvals(ctx context.Context, op access.Operator, f ApprovalFilter, p Page) (List[approval.Request], error) {
	t, err := may(op, access.Read, f.Tenant)
	if err != nil {
		return List[approval.Request]{}, err
	}
	f.Tenant = t
	return s.store.Approvals(ctx, f, p)
}

// Actions lists actions. It needs access.Read.
func (s *Service) Actions(ctx context.Context, op access.Operator, f ActionFilter, p Page) (List[ActionView], error) {
	t, err := may(op, access.Read, f.Tenant)
	if err != nil {
		return List[ActionView]{}, err
	}
	f.Tenant = t
	acts, err := s.store.Actions(ctx, f, p)
	out := List[ActionView]{Next: acts.Next, Items: []ActionView{}}
	for _, a := range acts.Items {
		out.Items = append(out.Items, s.actionView(op, a))
	}
	return out, err
}

// ActionView returns one action. It needs access.Read.
func (s *Service) ActionView(ctx context.Context, op access.Operator, id action.ID) (ActionView, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return ActionView{}, err
	}
	a, err := s.store.Action(ctx, t, id)
	if err != nil {
		return ActionView{}, err
	}
	return s.actionView(op, a), nil
}

// AuditEntries lists the trail, newest first. It needs access.Audit.
func (s *Service) AuditEntries(ctx context.Context, op access.Operator, f AuditFilter, p Page) (List[audit.Entry], error) {
	t, err := may(op, access.Audit, f.Tenant)
	if err != nil {
		return List[audit.Entry]{}, err
	}
	f.Tenant = t
	return s.store.AuditEntries(ctx, f, p)
}

// Stopped returns the stop in force. It needs access.Read.
func (s *Service) Stopped(ctx context.Context, op access.Operator, t identity.Tenant) (dispatch.Stop, error) {
	t, err := may(op, access.Read, t)
	if err != nil {
		return dispatch.Stop{}, err
	}
	return s.store.Stop(ctx, t)
}

// Pulse returns a number that rises with everything that changes what the desk
// shows. It needs access.Read.
func (s *Service) Pulse(ctx context.Context, op access.Operator) (int64, error) {
	if err := op.Require(access.Read); err != nil {
		return 0, err
	}
	return s.store.Pulse(ctx)
}

// Cases lists cases, closed ones too. It needs access.Read.
func (s *Service) Cases(ctx context.Context, op access.Operator, f CaseFilter, p Page) (List[casefile.Case], error) {
	t, err := may(op, access.Read, f.Tenant)
	if err != nil {
		return List[casefile.Case]{}, err
	}
	f.Tenant = t
	return s.store.Cases(ctx, f, p)
}

// A Stopped is a stop in force and what it covers: a tenant, or "" for all.
type Stopped struct {
	Tenant identity.Tenant `json:"tenant"`
	Stop   dispatch.Stop   `json:"stop"`
}

// A Head is what every page shows: what waits, and what is stopped.
type Head struct {
	Counts Counts    `json:"counts"`
	Stops  []Stopped `json:"stops,omitempty"`
	Pulse  int64     `json:"pulse"` // what is read after it is no older
}

// Head returns what every page shows. It needs access.Read.
func (s *Service) Head(ctx context.Context, op access.Operator) (Head, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return Head{}, err
	}
	var h Head
	if h.Pulse, err = s.store.Pulse(ctx); err != nil {
		return h, fmt.Errorf("read the pulse: %w", err)
	}
	if h.Counts, err = s.store.Count(ctx, t); err != nil {
		return h, fmt.Errorf("count what waits: %w", err)
	}
	global, err := s.store.Stop(ctx, "")
	if err != nil {
		return h, fmt.Errorf("read the global stop: %w", err)
	}
	if global.On {
		h.Stops = append(h.Stops, Stopped{Stop: global})
	}
	for _, t := range s.Tenants(op) {
		stop, err := s.store.Stop(ctx, t)
		if err != nil {
			return h, fmt.Errorf("read the stop of %s: %w", t, err)
		}
		if stop.On && stop != global {
			h.Stops = append(h.Stops, Stopped{Tenant: t, Stop: stop})
		}
	}
	return h, nil
}

// Tenants returns the tenants the operator may see.
func (s *Service) Tenants(op access.Operator) []identity.Tenant {
	if op.Tenant != "" {
		return []identity.Tenant{op.Tenant}
	}
	return s.tenants()
}

// SignedIn records that an operator signed in, and how. Sign-in fails when it
// cannot be recorded.
func (s *Service) SignedIn(ctx context.Context, op access.Operator, how string) error {
	return s.store.Update(ctx, func(tx Tx) error {
		return tx.Audit(audit.Entry{
			Tenant: op.Tenant, At: s.now().UTC(), Actor: access.ByOperator(op.ID), Kind: audit.SignedIn,
			Text: fmt.Sprintf("%s signed in to the console %s", op.ID, how),
		})
	})
}
