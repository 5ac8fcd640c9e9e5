package run

import (
	"context"
	"log/slog"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/signal"
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
}

// A Driver moves runs: it reads rows, feeds them to Run.Apply and writes what
// follows, in one transaction. Every method may be called as often as anybody
// likes, from any number of goroutines; a call that finds nothing new changes
// nothing. All fields but Connected, Nudge and Log are needed.
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
	// Nudge is called after a commit that made actions ready to dispatch.
	Nudge func(identity.Tenant)
	Log   *slog.Logger
}

// A Start asks for a run.
type Start struct {
	Match   playbook.Match // what matched; for a person's wish only Ref is needed
	Case    casefile.ID
	Input   playbook.Input // from Driver.Input in the same transaction
	AskedBy access.Actor
	Trigger string // the signal's ExternalID; "" when none
}

// Begin starts a run inside the caller's transaction, and reports false with the
// earlier run when the same once_per key ran inside its window. With no settle
// time the plan is made at once, its approvals are asked and its first actions
// exist when the transaction commits; the caller then calls Driver.Nudge. A plan
// that cannot be made holds the run, with the reason; it is no error.
func (d *Driver) Begin(tx Tx, s Start) (Run, bool, error) { return Run{}, false, nil }

// BeginUndo starts a run that takes actions back, newest first, for the reason
// given. An action that cannot be taken back is a skipped step that says why;
// when that is all of them it returns fault.Conflict. When an undo is verified
// its original becomes reverted.
func (d *Driver) BeginUndo(tx Tx, actions []action.Action, by access.Actor, reason string) (Run, error) {
	return Run{}, nil
}

// Withdraw cancels the runs of the case that are not over: nothing further
// starts, and what has not left is cancelled. What has left is followed to its
// end, and undone only when somebody asks.
func (d *Driver) Withdraw(tx Tx, t identity.Tenant, c casefile.ID, by access.Actor, reason string) error {
	return nil
}

// Again plans anew those runs of the case whose whole plan was held for want of
// a fact, when the plan is not held any more. It returns the runs it started.
func (d *Driver) Again(tx Tx, t identity.Tenant, c casefile.ID) ([]Run, error) { return nil, nil }

// Advance moves one run inside the caller's transaction and returns it as it
// stands. Whoever changed an approval or an action in tx calls it.
func (d *Driver) Advance(tx Tx, k Key) (Run, error) { return Run{}, nil }

// Drive moves one run in a transaction of its own.
func (d *Driver) Drive(ctx context.Context, k Key) error { return nil }

// Reconcile drives what is due: runs whose time has come or whose actions or
// approvals changed, and approvals that ran out. It is called at start and every
// second; it returns the errors of all runs it could not move, joined.
func (d *Driver) Reconcile(ctx context.Context) error { return nil }

// Input gathers what a match or a plan for the identity rests on: its roles and
// groups as the newest reading of the directory has them, its protection, its
// latest assessment and its signals. on says what happened; trigger may be nil.
func (d *Driver) Input(tx Tx, t identity.Tenant, id identity.ID, on []string, trigger *signal.Signal) (playbook.Input, error) {
	return playbook.Input{}, nil
}
