package store

import (
	"cmp"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

const selectAction = `SELECT doc FROM actions WHERE tenant = ? AND id = ?`

// Action returns fault.NotFound when there is none.
func (tx *Tx) Action(t identity.Tenant, id action.ID) (action.Action, error) {
	return txDoc[action.Action](tx, "action", selectAction, string(t), string(id))
}

// ActionsOfRun returns the run's actions, oldest first.
func (tx *Tx) ActionsOfRun(t identity.Tenant, id run.ID) ([]action.Action, error) {
	return txDocs[action.Action](tx, "actions of run", `SELECT doc FROM actions WHERE tenant = ? AND run = ?
		ORDER BY requested_at, id`, string(t), string(id))
}

// ActiveEffect returns the newest action with the effect key that is neither
// failed, refused, expired, cancelled nor reverted and was requested not before
// since, or is not final yet, whenever it was requested.
func (tx *Tx) ActiveEffect(t identity.Tenant, effect string, since time.Time) (action.Action, bool, error) {
	a, ok, err := docOf[action.Action](tx.ctx, tx.c, `SELECT doc FROM actions WHERE tenant = ? AND effect = ?
		AND state NOT IN ('failed', 'refused', 'expired', 'cancelled', 'reverted')
		AND (requested_at >= ? OR state <> 'verified')
		ORDER BY requested_at DESC, id DESC LIMIT 1`, string(t), effect, micros0(since))
	if err != nil {
		return a, false, fmt.Errorf("active effect: %w", tx.keep(err))
	}
	return a, ok, nil
}

// PutAction stores a. A new IntentAt writes the intent that budgets and limits
// count. A second action for the same step of a run, a second one under way with
// the same effect and a second undo under way of one action are fault.Conflict.
func (tx *Tx) PutAction(a action.Action) (action.Action, error) {
	if err := mustTenant("action", a.Tenant); err != nil {
		return a, err
	}
	was := a.Version
	if a.ID == "" {
		a.ID, was = action.ID(tx.NewID("act")), 0
	}
	before := struct {
		state          string
		intent, person int64
	}{}
	if was > 0 {
		ok, err := tx.row([]any{&before.state, &before.intent, &before.person},
			`SELECT state, coalesce(intent_at, 0), person FROM actions WHERE tenant = ? AND id = ?`, string(a.Tenant), string(a.ID))
		switch {
		case err != nil:
			return a, fmt.Errorf("action %s: %w", a.ID, err)
		case !ok:
			return a, fault.Errorf(fault.NotFound, "no action %s", a.ID)
		}
	}
	a.Version = was + 1
	w, err := actionRow(a)
	if err != nil {
		return a, err
	}
	if err := tx.putVersioned(w, a.Tenant, string(a.ID), was); err != nil {
		return a, err
	}
	if at := micros0(a.IntentAt); at != 0 && at != before.intent {
		if _, err := tx.exec(`INSERT INTO intents (tenant, action, at, name, identity, account, playbook, undo, campaign)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, string(a.Tenant), string(a.ID), at, string(a.Name),
			string(a.Identity), accountKey(a.Account), a.Playbook, flag(a.UndoOf != ""), a.Campaign); err != nil {
			return a, fmt.Errorf("action %s: intent: %w", a.ID, err)
		}
	}
	if string(a.State) != before.state || flag(a.Person) != before.person {
		tx.stir(a.Tenant, a.Run)
		if a.State == action.Approved {
			tx.touch(Topic{Kind: TopicDispatch, Tenant: a.Tenant})
			tx.dispatchBell(a.Tenant, a.NextAt)
		}
	}
	return a, nil
}

// actionRow returns the columns that index an action.
func actionRow(a action.Action) (row, error) {
	doc, err := encode(a)
	if err != nil {
		return row{}, fmt.Errorf("action %s: %w", a.ID, err)
	}
	w := row{table: "actions", what: "action"}
	w.col("run", a.Run)
	w.col("case_id", orNull(a.Case))
	w.col("identity", string(a.Identity))
	w.col("step", a.Step)
	w.col("name", string(a.Name))
	// An action without an effect key repeats nobody.
	w.col("effect", cmp.Or(a.Effect, string(a.ID)))
	w.col("turn", int64(a.Turn()))
	w.col("campaign", orNull(a.Campaign))
	w.col("place", int64(a.Place))
	w.col("state", string(a.State))
	w.col("person", flag(a.Person))
	w.col("sealed", flag(len(a.Sealed) > 0))
	w.col("attempt", int64(a.Attempt))
	w.col("requested_at", micros0(a.RequestedAt))
	w.col("intent_at", micros(a.IntentAt))
	w.col("next_at", micros0(a.NextAt))
	w.col("ended_at", micros(a.EndedAt))
	w.col("undo_of", orNull(a.UndoOf))
	w.col("expires_at", micros(a.ExpiresAt))
	w.col("version", a.Version)
	w.col("doc", doc)
	return w, nil
}

// accountKey is the account as limits count it: its own directory's key, else
// its name.
func accountKey(r identity.Ref) string {
	if k := (identity.Account{Ref: r}).Key(); k != "" {
		return k
	}
	return r.Name()
}
