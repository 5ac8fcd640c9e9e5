package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// runStore is the store as package run needs it.
type runStore struct{ db *DB }

func (s runStore) Update(ctx context.Context, change func(run.Tx) error) error {
	return s.db.update(ctx, rankOther, func(tx *Tx) error { return change(tx) })
}

func (s runStore) DueRuns(ctx context.Context, now time.Time, limit int) ([]run.Key, error) {
	var out []run.Key
	err := eachRow(ctx, s.db.reads(), func(r rows) error {
		var k run.Key
		err := r.Scan(&k.Tenant, &k.ID)
		out = append(out, k)
		return err
	}, `SELECT tenant, id FROM runs WHERE final = 0 AND (due_at <= ? OR stirred = 1)
		ORDER BY coalesce(due_at, started_at), id LIMIT ?`, now.UnixMicro(), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("due runs: %w", err)
	}
	return out, nil
}

func (s runStore) DueApprovals(ctx context.Context, now time.Time, limit int) ([]approval.Request, error) {
	out, err := docsOf[approval.Request](ctx, s.db.reads(), `SELECT doc FROM approvals
		WHERE state = 'pending' AND expires_at <= ? ORDER BY expires_at, id LIMIT ?`, now.UnixMicro(), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("due approvals: %w", err)
	}
	return out, nil
}

func (s runStore) DueExpiries(ctx context.Context, now time.Time, limit int) ([]action.Action, error) {
	out, err := docsOf[action.Action](ctx, s.db.reads(), `SELECT doc FROM actions
		WHERE state = 'verified' AND expires_at <= ? ORDER BY expires_at, id LIMIT ?`, now.UnixMicro(), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("actions that have run their time: %w", err)
	}
	return out, nil
}

const selectRun = `SELECT doc FROM runs WHERE tenant = ? AND id = ?`

// Run returns fault.NotFound when there is none.
func (tx *Tx) Run(t identity.Tenant, id run.ID) (run.Run, error) {
	return docByID[run.Run](tx, "runs", "run", selectRun, t, string(id))
}

// RunsOfCase returns the case's runs, oldest first.
func (tx *Tx) RunsOfCase(t identity.Tenant, c casefile.ID) ([]run.Run, error) {
	list, err := tx.loadList("runs", "runs", t, string(c), `SELECT id, doc FROM runs WHERE tenant = ? AND case_id = ?`)
	if err != nil {
		return nil, fmt.Errorf("runs of case %s: %w", c, err)
	}
	var out []run.Run
	for _, k := range list {
		r, err := decode[run.Run]([]byte(k.doc)) // its steps are changed in place: it is not shared
		if err != nil {
			return nil, fmt.Errorf("runs of case %s: %w", c, err)
		}
		out = append(out, r)
	}
	slices.SortFunc(out, byStart)
	return out, nil
}

func byStart(a, b run.Run) int {
	return cmp.Or(cmp.Compare(micros0(a.StartedAt), micros0(b.StartedAt)), cmp.Compare(a.ID, b.ID))
}

// RecentRun returns the newest run of the playbook with the key started not
// before since, and false when there is none.
func (tx *Tx) RecentRun(t identity.Tenant, playbookID, onceKey string, since time.Time) (run.Run, bool, error) {
	// The usual key is the identity's id, which no run about another identity has.
	if begun, ok := tx.list("begun", t, onceKey); ok {
		var newest *kept
		for _, k := range begun {
			if k.once == onceOf(playbookID, onceKey) && k.at >= micros0(since) &&
				(newest == nil || cmp.Or(cmp.Compare(newest.at, k.at), cmp.Compare(newest.key.id, k.key.id)) < 0) {
				newest = k
			}
		}
		if newest == nil {
			return run.Run{}, false, nil
		}
		r, err := decode[run.Run]([]byte(newest.doc))
		return r, true, err
	}
	r, ok, err := docOf[run.Run](tx.ctx, tx.c, `SELECT doc FROM runs WHERE tenant = ? AND playbook = ? AND once_key = ?
		AND started_at >= ? ORDER BY started_at DESC, id DESC LIMIT 1`, string(t), playbookID, onceKey, micros0(since))
	if err != nil {
		return r, false, fmt.Errorf("recent run of playbook %s: %w", playbookID, tx.keep(err))
	}
	return r, ok, nil
}

// RunsAtRate counts the runs of the playbook with the rate key whose plan was made
// not before since.
func (tx *Tx) RunsAtRate(t identity.Tenant, playbookID, rateKey string, since time.Time) (int, error) {
	var n int64
	if _, err := tx.row([]any{&n}, `SELECT count(*) FROM runs WHERE tenant = ? AND playbook = ? AND rate_key = ? AND planned_at >= ?`,
		string(t), playbookID, rateKey, micros0(since)); err != nil {
		return 0, fmt.Errorf("runs of playbook %s at its rate: %w", playbookID, err)
	}
	return int(n), nil
}

func onceOf(playbookID, key string) string { return playbookID + "\x00" + key }

// PutRun stores r and has its bell ring at DueAt.
func (tx *Tx) PutRun(r run.Run) (run.Run, error) {
	if err := mustTenant("run", r.Tenant); err != nil {
		return r, err
	}
	was := r.Version
	if r.ID == "" {
		r.ID, was = run.ID(tx.NewID("run")), 0
	}
	r.Version = was + 1
	doc, err := encode(r)
	if err != nil {
		return r, fmt.Errorf("run %s: %w", r.ID, err)
	}
	var hash string
	if r.Plan != nil {
		hash = r.Plan.Hash
	}
	w := keyed("runs", "run", r.Tenant, string(r.ID))
	w.col("case_id", orNull(r.Case))
	w.col("identity", string(r.Identity))
	w.col("playbook", r.Playbook.ID)
	w.col("once_key", r.OnceKey)
	w.col("rate_key", orNull(r.RateKey))
	w.col("planned_at", micros(r.PlannedAt))
	w.col("state", string(r.State))
	w.col("final", flag(r.State.Final()))
	w.col("plan_hash", hash)
	w.col("started_at", micros0(r.StartedAt))
	w.col("due_at", micros(r.DueAt))
	w.col("campaign", campaignOf(r))
	w.col("stirred", int64(0))
	w.col("version", r.Version)
	w.col("doc", doc)
	k, err := tx.putVersioned(w, r.Tenant, string(r.ID), was, doc, selectRun)
	if err != nil {
		return r, err
	}
	tx.join("runs", r.Tenant, string(r.Case), k)
	k.once, k.at = onceOf(r.Playbook.ID, r.OnceKey), micros0(r.StartedAt)
	tx.join("begun", r.Tenant, string(r.Identity), k)
	tx.moved[runKey{r.Tenant, string(r.ID)}] = true
	tx.touch(Topic{TopicRun, r.Tenant, string(r.ID)})
	if !r.DueAt.IsZero() && !r.State.Final() {
		tx.bell(BellRun, r.Tenant, string(r.ID), r.DueAt)
	}
	return r, nil
}

// campaignOf is null for a run on its own.
func campaignOf(r run.Run) any {
	if r.Consent == nil {
		return nil
	}
	return orNull(r.Consent.Campaign)
}

const selectApproval = `SELECT doc FROM approvals WHERE tenant = ? AND id = ?`

// Approval returns fault.NotFound when there is none.
func (tx *Tx) Approval(t identity.Tenant, id approval.ID) (approval.Request, error) {
	return docByID[approval.Request](tx, "approvals", "approval", selectApproval, t, string(id))
}

// ApprovalsOfRun returns the run's requests, oldest first.
func (tx *Tx) ApprovalsOfRun(t identity.Tenant, id run.ID) ([]approval.Request, error) {
	list, err := tx.loadList(listApprovals, "approvals", t, string(id), `SELECT id, doc FROM approvals WHERE tenant = ? AND run = ?`)
	if err != nil {
		return nil, fmt.Errorf("approvals of run %s: %w", id, err)
	}
	var out []approval.Request
	for _, k := range list {
		q, err := decode[approval.Request]([]byte(k.doc)) // its decisions are added to: it is not shared
		if err != nil {
			return nil, fmt.Errorf("approvals of run %s: %w", id, err)
		}
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b approval.Request) int {
		return cmp.Or(cmp.Compare(micros0(a.AskedAt), micros0(b.AskedAt)), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// PutApproval stores r and has its bell ring at ExpiresAt.
func (tx *Tx) PutApproval(r approval.Request) (approval.Request, error) {
	if err := mustTenant("approval", r.Tenant); err != nil {
		return r, err
	}
	was := r.Version
	if r.ID == "" {
		r.ID, was = approval.ID(tx.NewID("apr")), 0
	}
	r.Version = was + 1
	doc, err := encode(r)
	if err != nil {
		return r, fmt.Errorf("approval %s: %w", r.ID, err)
	}
	w := keyed("approvals", "approval", r.Tenant, string(r.ID))
	w.col("run", r.Run)
	w.col("case_id", orNull(r.Case))
	w.col("identity", string(r.Identity))
	w.col("state", string(r.State))
	w.col("asked_at", micros0(r.AskedAt))
	w.col("expires_at", micros0(r.ExpiresAt))
	w.col("ended_at", micros(r.EndedAt))
	w.col("version", r.Version)
	w.col("doc", doc)
	if err := tx.separate("approvals", r.Tenant, string(r.ID)); err != nil {
		return r, err
	}
	k, err := tx.putVersioned(w, r.Tenant, string(r.ID), was, doc, selectApproval)
	if err != nil {
		return r, err
	}
	tx.join(listApprovals, r.Tenant, r.Run, k)
	tx.stir(r.Tenant, r.Run)
	tx.touch(Topic{TopicApproval, r.Tenant, string(r.ID)})
	if was == 0 && r.State == approval.Pending {
		tx.bell(BellApproval, r.Tenant, string(r.ID), r.ExpiresAt)
	}
	return r, nil
}

// stir notes that something of the run changed: it is due until it is put.
func (tx *Tx) stir(t identity.Tenant, id string) {
	tx.stirred = append(tx.stirred, runKey{t, id})
	tx.touch(Topic{TopicRun, t, id})
}
