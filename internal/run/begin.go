package run

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

// UndoPlaybook is the id that runs of BeginUndo carry in place of a playbook's.
const UndoPlaybook = "undo"

// A Start asks for a run.
type Start struct {
	Match   playbook.Match // what matched; for a person's wish only Ref is needed
	Case    casefile.ID    // "" when the identity has no case
	Input   playbook.Input // from Driver.Input in the same transaction
	AskedBy access.Actor
	Trigger string // the signal's ExternalID; "" when none
	Why     string // what a person gave as the reason
	Consent *Consent
}

// Begin starts a run inside the caller's transaction, and reports false with the
// earlier run when the same once_per key ran inside its window. With no settle
// time the plan is made at once, its approvals are asked and its first actions
// exist when the transaction commits; the caller then calls Driver.Nudge. A plan
// that cannot be made holds the run, with the reason; it is no error.
func (d *Driver) Begin(tx Tx, s Start) (Run, bool, error) {
	fail := func(err error) (Run, bool, error) {
		return Run{}, false, fmt.Errorf("begin a run of %s: %w", s.Match.Ref.ID, err)
	}
	m, in, now := s.Match, s.Input, d.Now()
	if m.OnceKey != "" && m.Window > 0 {
		old, ok, err := tx.RecentRun(in.Tenant, m.Ref.ID, m.OnceKey, now.Add(-m.Window))
		if err != nil {
			return fail(err)
		}
		if ok && d.stands(old, m, in) {
			return old, false, nil
		}
	}
	r, err := tx.PutRun(Run{
		Tenant: in.Tenant, ID: ID(tx.NewID("run")), Case: s.Case, Identity: in.Identity.ID, Playbook: m.Ref, OnceKey: m.OnceKey, Window: m.Window,
		AskedBy: s.AskedBy, Trigger: s.Trigger, On: in.On, Why: s.Why, Consent: s.Consent, State: Settling, StartedAt: now, DueAt: now.Add(m.Settle),
	})
	if err != nil {
		return fail(err)
	}
	text := fmt.Sprintf("%s started for %s by %s", m.Ref.ID, in.Identity.Name, s.AskedBy)
	if m.Settle > 0 {
		text += fmt.Sprintf("; it waits %s for further signals", m.Settle)
	}
	if err := d.note(tx, r, audit.RunStarted, text, map[string]any{"trigger": s.Trigger, "why": s.Why, "playbookHash": m.Ref.Hash}); err != nil {
		return fail(err)
	}
	if m.Settle > 0 {
		return r, true, d.follow(tx, r, now)
	}
	if r, err = d.move(tx, r, &in, []Event{Woke{}}); err != nil {
		return fail(err)
	}
	return r, true, nil
}

// stands reports whether an earlier run with the same once_per key makes another
// superfluous. One that only observed, that never came to a plan, or that was
// held for a reason that is gone, does not.
func (d *Driver) stands(old Run, m playbook.Match, in playbook.Input) bool {
	switch {
	case old.State == Cancelled && old.Plan == nil:
		return false // what it waited for did not come true: nothing was planned
	case old.State == Observed:
		return d.Mode(old.Tenant) == playbook.Observe || m.Mode == playbook.Observe
	case wanting(old):
		p, err := d.Planner.Plan(m.Ref, in)
		return err != nil || !frees(*old.Plan, p) && !d.decidable(old, in)
	}
	return true
}

// Withdraw cancels the runs of the case that are not over, undo runs apart:
// nothing further starts, and what has not left is cancelled. What has left is
// followed to its end, and undone only when somebody asks.
func (d *Driver) Withdraw(tx Tx, t identity.Tenant, c casefile.ID, by access.Actor, reason string) error {
	runs, err := tx.RunsOfCase(t, c)
	if err != nil {
		return fmt.Errorf("withdraw the runs of case %s: %w", c, err)
	}
	for _, r := range runs {
		if r.State.Final() || r.Playbook.ID == UndoPlaybook {
			continue
		}
		// It is read again: the end of one run may have moved another.
		if err := d.WithdrawRun(tx, Key{t, r.ID}, by, reason); err != nil {
			return err
		}
	}
	return nil
}

// WithdrawRun is Withdraw for one run; one that is over stays as it is.
func (d *Driver) WithdrawRun(tx Tx, k Key, by access.Actor, reason string) error {
	r, err := tx.Run(k.Tenant, k.ID)
	if err != nil || r.State.Final() {
		return err
	}
	return d.withdraw(tx, r, by, reason)
}

func (d *Driver) withdraw(tx Tx, r Run, by access.Actor, reason string) error {
	events, err := d.facts(tx, r)
	if err != nil {
		return fmt.Errorf("withdraw run %s: %w", r.ID, err)
	}
	// It ends before it sees what its rows say: nothing new may start.
	if _, err := d.move(tx, r, nil, append([]Event{Withdrawn{by, reason}}, events...)); err != nil {
		return fmt.Errorf("withdraw run %s: %w", r.ID, err)
	}
	return nil
}

// BeginUndo starts a run that takes actions of one identity back, newest first,
// for the reason given. An action that cannot be taken back is a skipped step
// that says why; when that is all of them it returns fault.Conflict with the
// reasons. When an undo is verified its original becomes reverted.
func (d *Driver) BeginUndo(tx Tx, actions []action.Action, by access.Actor, reason string) (Run, error) {
	fail := func(err error) (Run, error) { return Run{}, fmt.Errorf("begin an undo: %w", err) }
	if len(actions) == 0 {
		return fail(fault.Errorf(fault.Conflict, "there is nothing to undo"))
	}
	actions = slices.Clone(actions)
	slices.SortFunc(actions, func(a, b action.Action) int {
		return cmp.Or(b.RequestedAt.Compare(a.RequestedAt), cmp.Compare(b.ID, a.ID))
	})
	first, now := actions[0], d.Now()
	i, err := tx.Identity(first.Tenant, first.Identity)
	if err != nil {
		return fail(err)
	}
	ref := playbook.Ref{ID: UndoPlaybook, Version: "1"}
	p := playbook.Plan{
		Playbook: ref, Title: "Undo: " + reason, Mode: playbook.Enforce, Catalogue: d.Catalogue.Version(),
		Tenant: first.Tenant, Identity: first.Identity, Name: i.Name, Cost: map[action.Bucket]int{}, MadeAt: now,
	}
	var steps []StepRun
	var why []string
	for n, a := range actions {
		if a.Tenant != first.Tenant || a.Identity != first.Identity {
			return fail(fault.Errorf(fault.Invalid, "actions %s and %s are of different identities; undo them one by one", first.ID, a.ID))
		}
		s, bucket, err := d.undoStep(tx, fmt.Sprintf("undo-%d-%s", n+1, a.Step), a)
		if err != nil {
			return fail(err)
		}
		if s.Skip != "" {
			why = append(why, fmt.Sprintf("%s on %s %s", a.Name, a.Account.Name(), s.Skip))
		} else {
			p.Cost[bucket]++
		}
		p.Steps = append(p.Steps, s)
		steps = append(steps, StepRun{ID: s.ID, State: StepPending, UndoOf: a.ID})
	}
	if len(why) == len(actions) {
		return fail(fault.Errorf(fault.Conflict, "%s", strings.Join(why, "; ")))
	}
	p.Hash = undoHash(p, steps)
	r, err := tx.PutRun(Run{
		Tenant: first.Tenant, ID: ID(tx.NewID("run")), Case: casefile.ID(first.Case), Identity: first.Identity, Playbook: ref,
		AskedBy: by, Why: reason, State: Settling, StartedAt: now, DueAt: now, Steps: steps,
	})
	if err != nil {
		return fail(err)
	}
	if err := tx.Audit(audit.Entry{
		Tenant: r.Tenant, At: now, Actor: by, Kind: audit.UndoAsked, Identity: string(r.Identity), Case: string(r.Case), Run: string(r.ID),
		Text: fmt.Sprintf("undo of %d actions on %s asked: %s", len(actions)-len(why), i.Name, reason),
		Data: map[string]any{"planHash": p.Hash, "reason": reason},
	}); err != nil {
		return fail(err)
	}
	if r, err = d.move(tx, r, nil, []Event{Planned{p, d.Mode(r.Tenant) == playbook.Observe}}); err != nil {
		return fail(err)
	}
	return r, nil
}

// undoStep returns the step that takes a back, skipped with the reason when it
// cannot be, and the bucket its request counts against.
func (d *Driver) undoStep(tx Tx, id string, a action.Action) (playbook.Step, action.Bucket, error) {
	s := playbook.Step{ID: id, Title: fmt.Sprintf("Undo %s", a.Name), Account: a.Account, After: playbook.AfterAccepted, OnError: playbook.ErrorContinue}
	typ, err := d.Catalogue.Type(a.Name)
	if err != nil {
		return s, "", err
	}
	spec := typ.Spec()
	s.Title = "Undo: " + spec.Title
	switch {
	case a.State != action.Verified:
		s.Skip = fmt.Sprintf("is %s: only what is verified can be undone", a.State)
		return s, "", nil
	case a.UndoOf != "":
		s.Skip = "is an undo itself: ask for the action again instead"
		return s, "", nil
	case spec.Undo == "":
		s.Skip = "cannot be undone: " + spec.Irreversible
		return s, "", nil
	}
	if a.UndoneBy != "" {
		undo, err := tx.Action(a.Tenant, a.UndoneBy)
		if err != nil {
			return s, "", err
		}
		if !undo.State.Final() || undo.State == action.Verified {
			s.Skip = fmt.Sprintf("is being undone already by %s", a.UndoneBy)
			return s, "", nil
		}
	}
	undoer, ok := typ.(action.Undoer)
	if !ok {
		return s, "", fmt.Errorf("action %s names an undo and cannot compute it", a.Name)
	}
	params, ok := undoer.Undo(a.Before)
	if !ok {
		s.Skip = "replaced nothing: it was so before"
		return s, "", nil
	}
	back, err := d.Catalogue.Type(spec.Undo)
	if err != nil {
		return s, "", err
	}
	b := back.Spec()
	s.Uses, s.Action, s.Params, s.Within, s.Route = b.Name, b.Name, params, b.Within, b.Provider
	s.Permissions, s.Effect, s.Undo, s.Irreversible, s.Limits = b.Permissions, b.Effect, b.Undo, b.Irreversible, b.Limits
	s.Verify, s.Change = "read back from the directory", "back to "+cmp.Or(a.BeforeText, "what it was before")
	return s, b.Bucket, nil
}

// undoHash binds the undo's actions to what they take back and how.
func undoHash(p playbook.Plan, steps []StepRun) string {
	type line struct {
		Step, Of string
		Action   action.Name
		Keys     []identity.Key
		Params   map[string]any
		Skip     bool
	}
	lines := []line{}
	for n, s := range p.Steps {
		lines = append(lines, line{s.ID, string(steps[n].UndoOf), s.Action, s.Account.Keys(), s.Params, s.Skip != ""})
	}
	text, _ := json.Marshal([]any{p.Playbook, p.Catalogue, p.Tenant, p.Identity, lines, p.MadeAt.UTC().Format(time.RFC3339Nano)}) // parameters came from JSON: cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// takeBack begins the undo of what was not ratified. What another run found so and
// relies on stays, for a person to see.
func (d *Driver) takeBack(tx Tx, r Run, e TakeBack) ([]Event, error) {
	var actions []action.Action
	reason, stays := e.Reason, ""
	for _, id := range e.Actions {
		a, err := tx.Action(r.Tenant, id)
		if err != nil {
			return nil, err
		}
		_, needed, err := d.neededBeyond(tx, a, d.Now())
		if err != nil {
			return nil, err
		}
		if needed {
			stays = fmt.Sprintf("%s on %s stays, because another run found it so and needs it", a.Name, a.Account.Name())
			reason += "; " + stays
			continue
		}
		actions = append(actions, a)
	}
	if len(actions) == 0 && stays != "" {
		return []Event{Stuck{stays}}, nil
	}
	_, err := d.BeginUndo(tx, actions, actor(r), reason)
	if errors.Is(err, fault.Conflict) {
		return []Event{Stuck{err.Error()}}, nil
	}
	return []Event{TakenBack{}}, err
}

// revertSame does as revert for what run o proved by actions of its own with the
// effect of a, before the undo: it had found the account so, or made it so again, and
// it is not so any more. It returns what it reverted.
func (d *Driver) revertSame(tx Tx, undo, o Run, a action.Action, by action.ID) (reverted []action.ID, err error) {
	if o.ID == ID(a.Run) {
		return nil, nil
	}
	back, err := tx.Action(a.Tenant, by)
	if err != nil {
		return nil, err
	}
	for _, s := range o.Steps {
		if s.Action == "" || s.Adopted || s.UndoOf != "" {
			continue
		}
		same, err := tx.Action(o.Tenant, s.Action)
		if err != nil {
			return nil, err
		}
		if same.Effect != a.Effect || same.State != action.Verified || !same.VerifiedAt.Before(back.VerifiedAt) {
			continue
		}
		if same, err = same.Move(action.Reverted, fmt.Sprintf("undone with %s, which had the same effect: %s", a.ID, undo.Why), d.Now()); err != nil {
			return nil, err
		}
		same.UndoneBy = by
		if same, err = tx.PutAction(same); err != nil {
			return nil, err
		}
		if err := d.noteAction(tx, o, same, audit.ActionUndone, fmt.Sprintf("%s on %s undone: %s", same.Name, same.Account.Name(), undo.Why)); err != nil {
			return nil, err
		}
		if _, err := d.Advance(tx, Key{o.Tenant, o.ID}); err != nil {
			return nil, err
		}
		reverted = append(reverted, same.ID)
	}
	return reverted, nil
}

// beside returns the runs that may rest on what a did: those of its case and those of
// the identity's open case, which may be a later one.
func (d *Driver) beside(tx Tx, a action.Action) (runs []Run, err error) {
	cases := []casefile.ID{casefile.ID(a.Case)}
	i, err := tx.Identity(a.Tenant, a.Identity) // it may have been linked into another
	if err != nil {
		return nil, err
	}
	open, ok, err := tx.OpenCase(a.Tenant, i.ID)
	if err != nil {
		return nil, err
	}
	if ok && open.ID != cases[0] {
		cases = append(cases, open.ID)
	}
	for _, c := range cases {
		if c == "" {
			continue
		}
		of, err := tx.RunsOfCase(a.Tenant, c)
		if err != nil {
			return nil, err
		}
		runs = append(runs, of...)
	}
	return runs, nil
}

// revert makes the original of a verified undo reverted, and tells every run of
// its case, and of the identity's open one, that had proven something by it, also when
// it is over. Dispatch may have reverted the action already; it tells nobody.
func (d *Driver) revert(tx Tx, r Run, e Revert) error {
	a, err := tx.Action(r.Tenant, e.Original)
	if err != nil {
		return err
	}
	if a.State == action.Verified {
		if a, err = a.Move(action.Reverted, "undone: "+r.Why, d.Now()); err != nil {
			return err
		}
		a.UndoneBy = e.By
		if a, err = tx.PutAction(a); err != nil {
			return err
		}
		if err := d.noteAction(tx, r, a, audit.ActionUndone, fmt.Sprintf("%s on %s undone: %s", a.Name, a.Account.Name(), r.Why)); err != nil {
			return err
		}
	}
	if _, err := d.Advance(tx, Key{a.Tenant, ID(a.Run)}); err != nil {
		return err
	}
	runs, err := d.beside(tx, a)
	if err != nil {
		return err
	}
	gone := []action.ID{a.ID}
	for _, o := range runs {
		same, err := d.revertSame(tx, r, o, a, e.By)
		if err != nil {
			return err
		}
		gone = append(gone, same...)
	}
	for _, o := range runs {
		if !slices.ContainsFunc(o.Steps, func(s StepRun) bool { return s.Adopted && slices.Contains(gone, s.Action) }) {
			continue
		}
		if _, err := d.Advance(tx, Key{o.Tenant, o.ID}); err != nil {
			return err
		}
	}
	return nil
}
