package store

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

const selectAction = `SELECT doc FROM actions WHERE tenant = ? AND id = ?`

// Action returns fault.NotFound when there is none.
func (tx *Tx) Action(t identity.Tenant, id action.ID) (action.Action, error) {
	return docByID[action.Action](tx, "actions", "action", selectAction, t, string(id))
}

// ActionsOfRun returns the run's actions, oldest first.
func (tx *Tx) ActionsOfRun(t identity.Tenant, id run.ID) ([]action.Action, error) {
	list, err := tx.loadList(listActions, "actions", t, string(id), `SELECT id, doc FROM actions WHERE tenant = ? AND run = ?`)
	if err != nil {
		return nil, fmt.Errorf("actions of run %s: %w", id, err)
	}
	return all(list, func(a, b action.Action) int {
		return cmp.Or(cmp.Compare(micros0(a.RequestedAt), micros0(b.RequestedAt)), cmp.Compare(a.ID, b.ID))
	})
}

// ActiveEffect returns the newest action with the effect key that is neither
// failed, refused, expired, cancelled nor reverted and was requested not before
// since, or is not final yet, whenever it was requested.
func (tx *Tx) ActiveEffect(t identity.Tenant, effect string, since time.Time) (action.Action, bool, error) {
	var newest action.Action
	better := func(a action.Action) {
		if cmp.Or(cmp.Compare(micros0(newest.RequestedAt), micros0(a.RequestedAt)), cmp.Compare(newest.ID, a.ID)) < 0 {
			newest = a
		}
	}
	for _, k := range tx.effects[listKey{"effect", t, effect}] {
		if !k.waits {
			continue // its table tells of it
		}
		a, err := decode[action.Action]([]byte(k.doc))
		if err != nil {
			return a, false, fmt.Errorf("active effect: %w", err)
		}
		if stands(a) && (micros0(a.RequestedAt) >= micros0(since) || a.State != action.Verified) {
			better(a)
		}
	}
	err := eachRow(tx.ctx, tx.raw, func(r rows) error {
		var doc []byte
		if err := r.Scan(&doc); err != nil {
			return err
		}
		a, err := decode[action.Action](doc)
		if k, ok := tx.rows[rowKey{"actions", t, string(a.ID)}]; !ok || !k.waits {
			better(a)
		}
		return err
	}, `SELECT doc FROM actions WHERE tenant = ? AND effect = ?
		AND state NOT IN ('failed', 'refused', 'expired', 'cancelled', 'reverted')
		AND (requested_at >= ? OR state <> 'verified')
		ORDER BY requested_at DESC, id DESC LIMIT 10`, string(t), effect, micros0(since))
	if err != nil {
		return newest, false, fmt.Errorf("active effect: %w", tx.keep(err))
	}
	return newest, newest.ID != "", nil
}

// stands reports whether an action's effect may be there or come.
func stands(a action.Action) bool {
	switch a.State {
	case action.Failed, action.RefusedState, action.Expired, action.Cancelled, action.Reverted:
		return false
	}
	return true
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
	var before action.Action
	if was > 0 {
		var err error
		if before, err = tx.Action(a.Tenant, a.ID); err != nil {
			return a, err
		}
	}
	if err := tx.separate("actions", a.Tenant, string(a.ID)); err != nil {
		return a, err
	}
	a.Version = was + 1
	w, err := actionRow(a)
	if err != nil {
		return a, err
	}
	k, err := tx.putVersioned(w, a.Tenant, string(a.ID), was, w.doc(), selectAction)
	if err != nil {
		return a, err
	}
	if key := (listKey{"effect", a.Tenant, cmp.Or(a.Effect, string(a.ID))}); !slices.Contains(tx.effects[key], k) {
		tx.effects[key] = append(tx.effects[key], k)
	}
	tx.join(listActions, a.Tenant, a.Run, k)
	if at := micros0(a.IntentAt); at != 0 && at != micros0(before.IntentAt) {
		tx.loose = append(tx.loose, intentRow(a, at))
	}
	if a.State != before.State || a.Person != before.Person {
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
	w := keyed("actions", "action", a.Tenant, string(a.ID))
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

func intentRow(a action.Action, at int64) row {
	r := row{table: "intents", what: "intent", keys: 3, taken: leave}
	r.col("tenant", string(a.Tenant))
	r.col("action", string(a.ID))
	r.col("at", at)
	r.col("name", string(a.Name))
	r.col("identity", string(a.Identity))
	r.col("account", accountKey(a.Account))
	r.col("playbook", a.Playbook)
	r.col("undo", flag(a.UndoOf != ""))
	r.col("campaign", a.Campaign)
	return r
}

// accountKey is the account as limits count it: its own directory's key, else
// its name.
func accountKey(r identity.Ref) string {
	if k := (identity.Account{Ref: r}).Key(); k != "" {
		return k
	}
	return r.Name()
}
