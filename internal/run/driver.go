package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

// A Planner knows the playbooks. playbook.Library is one.
type Planner interface {
	// Match returns the playbooks that want to run on in, and those that could not
	// be asked.
	Match(in playbook.Input) []playbook.Match
	// Plan makes the plan of one playbook for in.Identity.
	Plan(ref playbook.Ref, in playbook.Input) (playbook.Plan, error)
}

// A Catalogue knows the actions. action.Catalogue is one.
type Catalogue interface {
	// Type returns the type of that name, or fault.NotFound.
	Type(n action.Name) (action.Type, error)
	// Version digests what every action means.
	Version() string
}

// Campaigns are where the consent of runs came from. campaign.Driver is one.
type Campaigns interface {
	// Barred says in words why r, which has a consent, cannot be taken up where it
	// stands in its campaign: the campaign is over, it is not there, it has somebody
	// else in that place. Empty: it can.
	Barred(tx Tx, r Run) (why string, err error)
	// Rejoined puts next, which has a consent, in the place of the held run that it
	// takes up and that nothing barred.
	Rejoined(tx Tx, next Run) error
}

// A Driver moves runs: it reads rows, feeds them to Run.Apply and writes what
// follows, in one transaction. Every method may be called as often as anybody
// likes, from any number of goroutines; a call that finds nothing new changes
// nothing. All fields but Connected, Outages, Nudge, Soon, Campaigns and Log are needed.
type Driver struct {
	Store     Store
	Planner   Planner
	Catalogue Catalogue
	Policy    func(identity.Tenant) identity.Policy // who is protected
	Mode      func(identity.Tenant) playbook.Mode   // observe: nothing leaves, whatever a playbook says
	Now       func() time.Time

	// Connected says which directories Cordon can act in; nil means what the
	// tenant's directory facts say.
	Connected func(identity.Tenant) []identity.Provider
	// Outages are the ways into Active Directory that do not work now; nil: none is known.
	Outages func(identity.Tenant) []playbook.Outage
	// Nudge is called after a commit that may have made actions ready to dispatch.
	Nudge func(identity.Tenant)
	// Soon reports that somebody is about to drive the run: Reconcile leaves it to
	// them. nil: nobody is.
	Soon func(Key) bool
	// Campaigns lets runs of campaigns begin anew; nil: those that were held stay so.
	Campaigns Campaigns
	Log       *slog.Logger

	asker playbook.Asker
}

// With returns a driver over the same rows that asks another planner.
func (d *Driver) With(p Planner) *Driver {
	return &Driver{
		Store: d.Store, Planner: p, Catalogue: d.Catalogue, Policy: d.Policy, Mode: d.Mode, Now: d.Now,
		Connected: d.Connected, Outages: d.Outages, Nudge: d.Nudge, Soon: d.Soon, Campaigns: d.Campaigns, Log: d.Log,
	}
}

// expires is how long a request stands whose rule does not say.
const expires = 24 * time.Hour

// dueAtOnce is how many due runs Reconcile asks for at a time, and passes how
// often: what is left is due a second later still.
const (
	dueAtOnce = 200
	passes    = 10
)

// actor is who a run acts as in the trail.
func actor(r Run) access.Actor { return access.ByPlaybook(r.Playbook.ID) }

// Advance moves one run inside the caller's transaction and returns it as it
// stands. Whoever changed an approval or an action in tx calls it.
func (d *Driver) Advance(tx Tx, k Key) (Run, error) {
	r, err := tx.Run(k.Tenant, k.ID)
	if err != nil {
		return Run{}, fmt.Errorf("advance run %s: %w", k.ID, err)
	}
	events, err := d.facts(tx, r)
	if err != nil {
		return Run{}, fmt.Errorf("advance run %s: %w", k.ID, err)
	}
	return d.move(tx, r, nil, events)
}

// facts reads the rows a run rests on as events.
func (d *Driver) facts(tx Tx, r Run) ([]Event, error) {
	// Answers come first: what waits for one is asked with it.
	events, err := d.questions(tx, r)
	if err != nil {
		return nil, err
	}
	events = append(events, Woke{})
	actions, err := tx.ActionsOfRun(r.Tenant, r.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range actions {
		events = append(events, ActionSeen{Step: a.Step, Action: a})
	}
	for _, s := range r.Steps {
		if !s.Adopted {
			continue
		}
		a, err := tx.Action(r.Tenant, s.Action)
		if err != nil {
			return nil, err
		}
		events = append(events, ActionSeen{Step: s.ID, Action: a, Adopted: true})
	}
	requests, err := tx.ApprovalsOfRun(r.Tenant, r.ID)
	if err != nil {
		return nil, err
	}
	for _, q := range requests {
		if q, err = d.tick(tx, r, q); err != nil {
			return nil, err
		}
		events = append(events, ApprovalSeen{q})
	}
	return events, nil
}

// tick lets a pending request run out, or makes it void when its run is over.
func (d *Driver) tick(tx Tx, r Run, q approval.Request) (approval.Request, error) {
	was, now := q.State, d.Now()
	if r.State.Final() {
		q = q.Withdraw("the run ended: "+string(r.State), now)
	}
	if q = q.Tick(now); q.State == was {
		return q, nil
	}
	q, err := tx.PutApproval(q)
	if err != nil || q.State != approval.Expired {
		return q, err
	}
	return q, tx.Audit(audit.Entry{
		Tenant: r.Tenant, At: now, Actor: access.BySystem("run"), Kind: audit.ApprovalExpired,
		Identity: string(r.Identity), Case: string(r.Case), Run: string(r.ID), Approval: string(q.ID),
		Text: fmt.Sprintf("approval of %s for %s ran out: %s", q.Playbook, q.Name, q.Reason),
	})
}

// move applies events and everything that follows from them, and writes the run
// when it changed. in is what a plan is made from; nil: it is read when needed.
func (d *Driver) move(tx Tx, r Run, in *playbook.Input, events []Event) (Run, error) {
	before, now := r, d.Now()
	for len(events) > 0 {
		next, effects, err := r.Apply(events[0], now)
		if err != nil {
			return Run{}, err
		}
		r = next
		var follow []Event
		for _, e := range effects {
			more, err := d.perform(tx, &r, in, e)
			if err != nil {
				return Run{}, fmt.Errorf("run %s: %w", r.ID, err)
			}
			follow = append(follow, more...)
		}
		events = append(follow, events[1:]...)
	}
	if reflect.DeepEqual(before, r) {
		return r, nil
	}
	r, err := tx.PutRun(r)
	if err != nil {
		return Run{}, fmt.Errorf("store run: %w", err)
	}
	if err := d.follow(tx, r, now); err != nil {
		return Run{}, err
	}
	// Whatever was looked at on the way taught facts: what was held for want of
	// them can go on now that this run is over.
	if r.State.Final() && before.State != Settling && !before.State.Final() && r.Case != "" {
		if _, err := d.Again(tx, r.Tenant, r.Case); err != nil {
			return Run{}, err
		}
	}
	return r, nil
}

// perform carries out one effect and returns the events that follow.
func (d *Driver) perform(tx Tx, r *Run, in *playbook.Input, e Effect) ([]Event, error) {
	switch e := e.(type) {
	case MakePlan:
		return d.makePlan(tx, r, in)
	case AskApproval:
		return d.askApproval(tx, *r, e)
	case StartAction:
		return d.startAction(tx, *r, e)
	case WithdrawAction:
		return d.withdrawAction(tx, *r, e)
	case WithdrawApproval:
		q, err := tx.Approval(r.Tenant, e.Approval)
		if err != nil {
			return nil, err
		}
		q, err = tx.PutApproval(q.Withdraw(e.Reason, d.Now()))
		return []Event{ApprovalSeen{q}}, err
	case AskPerson:
		return d.askPerson(tx, *r, e)
	case WithdrawQuestion:
		return d.withdrawQuestion(tx, *r, e)
	case Decide:
		return d.decide(tx, *r, e)
	case TakeBack:
		return d.takeBack(tx, *r, e)
	case Revert:
		return nil, d.revert(tx, *r, e)
	case Ended:
		return nil, d.ended(tx, *r, e)
	}
	return nil, fmt.Errorf("an effect of type %T", e)
}

// makePlan asks the planner. A plan that cannot be made is a held one: a
// mistake in a playbook must not stop what else the page or the person brought.
func (d *Driver) makePlan(tx Tx, r *Run, in *playbook.Input) ([]Event, error) {
	if in == nil {
		read, err := d.again(tx, *r)
		if err != nil {
			return nil, err
		}
		in = &read
		// What a person asked for never rested on the trigger: it waited for room.
		asked := r.Reason != "" && slices.Contains(r.On, playbook.OnManual)
		if r.DueAt.After(r.StartedAt) && !asked && !d.holds(*r, read) {
			reason := fmt.Sprintf("after waiting %s the trigger of %s does not hold any more", r.DueAt.Sub(r.StartedAt), r.Playbook.ID)
			return []Event{Withdrawn{By: access.BySystem("run"), Reason: reason}}, nil
		}
	}
	p, err := d.Planner.Plan(r.Playbook, *in)
	if errors.Is(err, fault.Conflict) {
		// The playbook was changed while the run settled: its present version counts.
		p, err = d.Planner.Plan(playbook.Ref{ID: r.Playbook.ID}, *in)
	}
	if err != nil {
		p = playbook.Plan{Playbook: r.Playbook, Name: in.Identity.Name, MadeAt: d.Now(), Held: fmt.Sprintf("the plan could not be made: %v", err)}
	}
	p.Tenant, p.Identity = r.Tenant, r.Identity
	if c := r.Consent; c != nil && c.PlanHash != p.Hash {
		held := "the plan is another one than was approved with the campaign: plan it by itself"
		if p.Held != "" { // for want of a fact: when that is there it may be the approved one again
			held = "the plan is another one than was approved with the campaign, and held: " + p.Held
		}
		p.Steps, p.Held = nil, held
	}
	observe := d.Mode(r.Tenant) == playbook.Observe
	if later, err := d.brake(tx, *r, &p, observe); err != nil || later != nil {
		return later, err
	}
	r.Playbook = p.Playbook
	return []Event{Planned{p, observe}}, d.note(tx, *r, audit.RunPlanned, fmt.Sprintf("%s planned for %s", r.Playbook.ID, p.Name), map[string]any{
		"planHash": p.Hash, "steps": len(p.Steps), "score": p.Score, "level": p.Level,
	})
}

// counted is "1 step" or "3 steps".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// holds reports whether the trigger that began a settling run still holds: it
// waited for sibling signals, and they may have shown that another playbook's
// remedy fits.
func (d *Driver) holds(r Run, in playbook.Input) bool {
	return slices.ContainsFunc(d.Planner.Match(in), func(m playbook.Match) bool {
		return m.Ref.ID == r.Playbook.ID && (m.Err != nil || m.OnceKey == r.OnceKey)
	})
}

func (d *Driver) askApproval(tx Tx, r Run, e AskApproval) ([]Event, error) {
	now := d.Now()
	ask := approval.Request{
		Tenant: r.Tenant, Run: string(r.ID), Case: string(r.Case), Identity: r.Identity, Name: r.Plan.Name,
		Playbook: r.Playbook.ID, PlanHash: r.Plan.Hash, Steps: e.Steps, Rule: e.Rule,
		AskedBy: r.AskedBy, AskedAt: now, ExpiresAt: now.Add(cmp.Or(max(e.Rule.Expires, 0), expires)), State: approval.Pending,
	}
	given := r.Consent.covers(e.Rule, r.Plan.Hash)
	if given {
		ask.State, ask.Decisions, ask.Reason, ask.EndedAt = approval.Approved, r.Consent.Decisions, "given with campaign "+r.Consent.Campaign, now
	}
	q, err := tx.PutApproval(ask)
	if err != nil || given {
		return []Event{ApprovalSeen{q}}, err
	}
	return []Event{ApprovalSeen{q}}, tx.Audit(audit.Entry{
		Tenant: r.Tenant, At: now, Actor: actor(r), Kind: audit.ApprovalAsked,
		Identity: string(r.Identity), Case: string(r.Case), Run: string(r.ID), Approval: string(q.ID),
		Text: fmt.Sprintf("approval asked for %s of %s on %s", counted(len(e.Steps), "step"), r.Playbook.ID, r.Plan.Name),
		Data: map[string]any{"planHash": q.PlanHash, "steps": q.Steps, "mode": q.Rule.Mode, "expiresAt": q.ExpiresAt},
	})
}

// startAction creates the action of a step, or adopts one that has the same effect
// and is under way, or was proven inside the once_per window and lasts.
func (d *Driver) startAction(tx Tx, r Run, e StartAction) ([]Event, error) {
	n, _ := r.step(e.Step)
	s, p, now := r.Steps[n], r.Plan.Steps[n], d.Now()
	effect := action.EffectKey(r.Tenant, p.Action, p.Account, p.Params)
	if s.UndoOf == "" {
		old, ok, err := tx.ActiveEffect(r.Tenant, effect, time.Time{})
		if err != nil {
			return nil, err
		}
		within := r.Window > 0 && !old.RequestedAt.Before(now.Add(-r.Window))
		// A plan that asks for the same twice means twice: what was opened between.
		within = within && (old.Run != string(r.ID) || old.Step == s.ID)
		if ok && old.UndoOf == "" && old.UndoneBy == "" && (!old.State.Final() || within && d.lasts(old.Name)) {
			if old, err = d.prolong(tx, r, old, p.TTL); err != nil {
				return nil, err
			}
			if old, err = d.advanced(tx, r, s, old); err != nil {
				return nil, err
			}
			return []Event{ActionSeen{Step: s.ID, Action: old, Adopted: true}}, nil
		}
	}
	lane, err := d.lane(tx, r, s)
	if err != nil {
		return nil, err
	}
	a, err := action.Action{
		ID: action.ID(tx.NewID("act")), Tenant: r.Tenant, Run: string(r.ID), Case: string(r.Case), Identity: r.Identity, Step: s.ID,
		PlanHash: r.Plan.Hash, Playbook: r.Playbook.ID, Name: p.Action, Account: p.Account, Params: p.Params,
		Lane: lane, Rank: n, Effect: effect, State: action.Requested, RequestedAt: now, NextAt: now, UndoOf: s.UndoOf, TTL: p.TTL,
	}.Move(action.Approved, "", now)
	if err != nil {
		return nil, err
	}
	if c := r.Consent; c != nil {
		a.Campaign, a.Place = c.Campaign, c.Place
	}
	if a, err = tx.PutAction(a); err != nil {
		return nil, err
	}
	if s.UndoOf != "" {
		original, err := tx.Action(r.Tenant, s.UndoOf)
		if err != nil {
			return nil, err
		}
		original.UndoneBy = a.ID
		if _, err := tx.PutAction(original); err != nil {
			return nil, err
		}
	}
	return []Event{ActionSeen{Step: s.ID, Action: a}}, nil
}

// advanced takes an action that has not left out of the order of its campaign, when a
// run that is in none needs it: that one has its own consent and must not wait until
// a campaign, which may be paused, has come so far. From then on the action counts
// against the blast-radius limits, as any of that run's would.
func (d *Driver) advanced(tx Tx, r Run, s StepRun, a action.Action) (action.Action, error) {
	waits := a.State == action.Requested || a.State == action.Approved || a.State == action.Held
	if a.Campaign == "" || r.Consent != nil || !waits {
		return a, nil
	}
	lane, err := d.lane(tx, r, s)
	if err != nil {
		return a, err
	}
	a.Campaign, a.Place, a.Lane = "", 0, min(a.Lane, lane)
	return tx.PutAction(a)
}

// lasts reports whether a proven action of the name still counts later, unseen. A
// restriction that can be lifted may have been lifted since, by anybody: it is
// looked at again, which changes nothing where it still holds.
func (d *Driver) lasts(n action.Name) bool {
	t, err := d.Catalogue.Type(n)
	if err != nil {
		return true
	}
	s := t.Spec()
	return s.Effect != action.EffectRestrict || s.Undo == ""
}

func (d *Driver) withdrawAction(tx Tx, r Run, e WithdrawAction) ([]Event, error) {
	a, err := tx.Action(r.Tenant, e.Action)
	if err != nil {
		return nil, err
	}
	if a.State != action.Requested && a.State != action.Approved && a.State != action.Held {
		return []Event{ActionSeen{Step: e.Step, Action: a}}, nil // it left meanwhile
	}
	if a, err = a.Move(action.Cancelled, e.Reason, d.Now()); err != nil {
		return nil, err
	}
	if a, err = tx.PutAction(a); err != nil {
		return nil, err
	}
	return []Event{ActionSeen{Step: e.Step, Action: a}}, d.noteAction(tx, r, a, audit.ActionCancelled, fmt.Sprintf("%s on %s withdrawn before it left: %s", a.Name, a.Account.Name(), e.Reason))
}

// ended writes the end of a run into the trail.
func (d *Driver) ended(tx Tx, r Run, e Ended) error {
	if r.Plan != nil && r.Plan.PageOnFailure && r.wentWrong() {
		// Before the end itself, so that whoever hears once of a case hears this.
		if err := d.page(tx, r); err != nil {
			return err
		}
	}
	kind := audit.RunEnded
	switch e.State {
	case Refused:
		kind = audit.RunRefused
	case HeldState:
		kind = audit.RunHeld
	}
	return d.note(tx, r, kind, fmt.Sprintf("%s ended %s: %s", r.Playbook.ID, e.State, r.Reason), map[string]any{"state": e.State})
}

// page tells people of a run that went wrong: the trail is the outbox of notify.
func (d *Driver) page(tx Tx, r Run) error {
	step, why := r.stumbled()
	at := ""
	if step.ID != "" {
		at = " at the step " + named(step)
	}
	return d.note(tx, r, audit.RunPaged, fmt.Sprintf("%s on %s %s%s: %s", r.Playbook.ID, r.Plan.Name, wrongWord(r.Ends), at, why), map[string]any{
		"name": r.Plan.Name, "step": step.ID, "reason": why, "state": r.State,
	})
}

func wrongWord(s State) string {
	if s == Refused {
		return "was refused"
	}
	return "failed"
}

func (d *Driver) note(tx Tx, r Run, kind audit.Kind, text string, data map[string]any) error {
	return tx.Audit(audit.Entry{
		Tenant: r.Tenant, At: d.Now(), Actor: actor(r), Kind: kind, Identity: string(r.Identity),
		Case: string(r.Case), Run: string(r.ID), Text: text, Data: data,
	})
}

func (d *Driver) noteAction(tx Tx, r Run, a action.Action, kind audit.Kind, text string) error {
	return tx.Audit(audit.Entry{
		Tenant: r.Tenant, At: d.Now(), Actor: actor(r), Kind: kind, Identity: string(r.Identity),
		Case: string(r.Case), Run: string(r.ID), Action: string(a.ID), Text: text,
	})
}

// Drive moves one run in a transaction of its own.
func (d *Driver) Drive(ctx context.Context, k Key) error {
	_, err := d.drive(ctx, k, false)
	return err
}

// DriveAll is Drive for many runs in one transaction, and calls failed for each that
// could not be moved. One that cannot does not keep the others.
func (d *Driver) DriveAll(ctx context.Context, keys []Key, failed func(Key, error)) {
	if len(keys) > 1 {
		byTenant := map[identity.Tenant][]ID{}
		for _, k := range keys {
			byTenant[k.Tenant] = append(byTenant[k.Tenant], k.ID)
		}
		err := d.Store.Update(ctx, func(tx Tx) error {
			for t, ids := range byTenant {
				if err := tx.AheadOfRuns(t, ids); err != nil {
					return err
				}
				for _, id := range ids {
					if _, err := d.Advance(tx, Key{t, id}); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err == nil {
			for t := range byTenant {
				d.nudge(t)
			}
			return
		}
	}
	for _, k := range keys { // each by itself says which one it is
		if err := d.Drive(ctx, k); err != nil {
			failed(k, err)
		}
	}
}

func (d *Driver) nudge(t identity.Tenant) {
	if d.Nudge != nil {
		d.Nudge(t)
	}
}

// drive is Drive and reports whether the run moved. With settle a run that has
// nothing to move for is put as it is: what made it due has been looked at.
func (d *Driver) drive(ctx context.Context, k Key, settle bool) (moved bool, err error) {
	err = d.Store.Update(ctx, func(tx Tx) error {
		was, err := tx.Run(k.Tenant, k.ID)
		if err != nil {
			return err
		}
		r, err := d.Advance(tx, k)
		if moved = r.Version != was.Version; err != nil || moved || !settle || r.State.Final() {
			return err
		}
		_, err = tx.PutRun(r)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("drive run %s: %w", k.ID, err)
	}
	d.nudge(k.Tenant)
	return moved, nil
}

// Reconcile drives what is due: runs whose time has come or whose actions or
// approvals changed, and approvals that ran out. It is called at start and every
// second; it returns the errors of all runs it could not move, joined.
func (d *Driver) Reconcile(ctx context.Context) error {
	var errs []error
	tried, idle := map[Key]bool{}, map[Key]bool{}
	drive := func(k Key) bool {
		if tried[k] || ctx.Err() != nil {
			return false
		}
		tried[k] = true
		moved, err := d.drive(ctx, k, false)
		if err != nil {
			errs = append(errs, err)
		} else if !moved {
			idle[k] = true
		}
		return true
	}
	for range passes {
		moved := false
		requests, err := d.Store.DueApprovals(ctx, d.Now(), dueAtOnce)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("find approvals that ran out: %w", err))...)
		}
		for _, q := range requests {
			moved = drive(Key{q.Tenant, ID(q.Run)}) || moved
		}
		keys, err := d.Store.DueRuns(ctx, d.Now(), dueAtOnce)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("find due runs: %w", err))...)
		}
		for _, k := range keys {
			if d.Soon == nil || !d.Soon(k) {
				moved = drive(k) || moved
			}
		}
		if !moved || len(requests) < dueAtOnce && len(keys) < dueAtOnce {
			break
		}
	}
	if len(idle) > 0 {
		errs = append(errs, d.settle(ctx, idle))
	}
	errs = append(errs, d.release(ctx))
	return errors.Join(append(errs, ctx.Err())...)
}

// settle ends what would go on for ever: runs that are still due although there
// was nothing for them to do, because what changed means nothing to them.
func (d *Driver) settle(ctx context.Context, idle map[Key]bool) error {
	keys, err := d.Store.DueRuns(ctx, d.Now(), dueAtOnce)
	if err != nil {
		return fmt.Errorf("find due runs: %w", err)
	}
	var errs []error
	for _, k := range keys {
		if idle[k] && ctx.Err() == nil {
			_, err := d.drive(ctx, k, true)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
