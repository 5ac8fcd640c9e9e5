package run

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// WithDirectory returns i with the roles that the reading of the tenant's
// directory gives its cloud accounts, where that reading is not older than what
// the account itself says; groups it only adds, because single accounts are read
// without them.
func WithDirectory(i identity.Identity, d connector.DirectoryFacts) identity.Identity {
	i.Accounts = slices.Clone(i.Accounts)
	for n := range i.Accounts {
		a := &i.Accounts[n]
		read, known := d.Of(a.Key())
		if !known || a.Provider != identity.EntraID || a.Key() == "" {
			continue
		}
		if !d.AsOf.Before(a.Facts.RolesAsOf) {
			a.Facts.RolesAsOf, a.Facts.Roles = d.AsOf, read.Roles
		}
		join := func(x, y []string) []string {
			both := slices.Concat(x, y)
			slices.Sort(both)
			return slices.Compact(both)
		}
		a.Facts.Groups = join(a.Facts.Groups, read.Groups)
		a.Facts.GroupsRead = join(a.Facts.GroupsRead, read.GroupsRead)
	}
	return i
}

// Protect says whether automation may never change i, with the directory as d
// has it.
func Protect(p identity.Policy, i identity.Identity, d connector.DirectoryFacts, now time.Time) identity.Protection {
	return p.Protect(WithDirectory(i, d), 1+len(OtherAdmins(i, d)), d.AsOf, now)
}

// OtherAdmins returns the usable Global Administrators that are not i. Whether i is the
// last one is a question of these alone: who cannot sign in is not it, and may be given
// access back.
func OtherAdmins(i identity.Identity, d connector.DirectoryFacts) []string {
	var out []string
	for _, id := range d.UsableGlobalAdmins {
		key := identity.Account{Ref: identity.Ref{Provider: identity.EntraID, ObjectID: id}}.Key()
		if !slices.ContainsFunc(i.Accounts, func(a identity.Account) bool { return a.Provider == identity.EntraID && a.Key() == key }) {
			out = append(out, key)
		}
	}
	return out
}

// Input gathers what a match or a plan for the identity rests on: its roles and
// groups as the newest reading of the directory has them, its protection, its
// latest assessment and its signals. on says what happened; trigger may be nil.
func (d *Driver) Input(tx Reader, t identity.Tenant, id identity.ID, on []string, trigger *signal.Signal) (playbook.Input, error) {
	fail := func(err error) (playbook.Input, error) {
		return playbook.Input{}, fmt.Errorf("gather what is known of identity %s: %w", id, err)
	}
	now := d.Now()
	i, err := tx.Identity(t, id)
	if err != nil {
		return fail(err)
	}
	dir, err := tx.Directory(t)
	if err != nil {
		return fail(err)
	}
	assessment, err := tx.Assessment(t, id)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return fail(err)
	}
	signals, err := tx.SignalsOf(t, id)
	if err != nil {
		return fail(err)
	}
	in := playbook.Input{
		Tenant: t, Identity: WithDirectory(i, dir), Protection: Protect(d.Policy(t), i, dir, now),
		Assessment: assessment, Signals: signals, Trigger: trigger,
		UsableGlobalAdmins: len(dir.UsableGlobalAdmins), Connected: dir.Connected, On: on, Now: now,
	}
	in.Synchronisation = dir.Synchronisation
	if dir.AsOf.IsZero() {
		in.UsableGlobalAdmins = -1
	}
	if d.Outages != nil {
		in.Outages = d.Outages(t)
	}
	if d.Connected != nil {
		in.Connected = d.Connected(t)
	}
	return in, nil
}

// again gathers the input of a run that was started before.
func (d *Driver) again(tx Reader, r Run) (playbook.Input, error) {
	in, err := d.Input(tx, r.Tenant, r.Identity, nil, nil)
	if err != nil {
		return in, err
	}
	in.On = r.On
	if len(in.On) == 0 {
		in.On = []string{playbook.OnManual}
	}
	for n := range in.Signals {
		if r.Trigger != "" && in.Signals[n].ExternalID == r.Trigger {
			in.Trigger = &in.Signals[n]
		}
	}
	return in, nil
}

// lane says when an action's turn comes: privileged people first, then by level.
func (d *Driver) lane(tx Tx, r Run, s StepRun) (action.Lane, error) {
	if s.UndoOf != "" {
		return action.LaneUndo, nil
	}
	i, err := tx.Identity(r.Tenant, r.Identity)
	if err != nil {
		return 0, err
	}
	dir, err := tx.Directory(r.Tenant)
	if err != nil {
		return 0, err
	}
	return LaneOf(WithDirectory(i, dir), r.Plan.Level), nil
}

// LaneOf is the lane in which an identity of that level is contained. i is as
// WithDirectory gives it.
func LaneOf(i identity.Identity, level signal.Level) action.Lane {
	if privileged, _ := i.Privileged(); privileged {
		return action.LanePrivileged
	}
	switch level {
	case signal.LevelHigh:
		return action.LaneHigh
	case signal.LevelMedium:
		return action.LaneMedium
	}
	return action.LaneLow
}
