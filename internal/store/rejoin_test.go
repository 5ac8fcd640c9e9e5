package store_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
	"github.com/seed-f47efad2/cordon/internal/signal"
	"github.com/seed-f47efad2/cordon/internal/store"
)

// obedient is an action that does what it is told and proves it.
type obedient struct{ spec action.Spec }

func (o obedient) Spec() action.Spec { return o.spec }

func (o obedient) Look(_ context.Context, reqs []action.Request) []action.Look {
	out := make([]action.Look, len(reqs))
	for n := range out {
		out[n] = action.Look{State: json.RawMessage(`true`), Text: "enabled"}
	}
	return out
}

func (o obedient) Do(_ context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n := range out {
		out[n] = action.Outcome{Verdict: action.Accepted, RequestID: "r"}
	}
	return out
}

func (o obedient) ReadBack(_ context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n := range out {
		out[n] = action.Reading{Seen: true, State: json.RawMessage(`false`), Text: "disabled"}
	}
	return out
}

// A canary that was held for want of a fact: ingest learns the fact, the run rejoins
// its campaign, and its action passes the gate when the campaign goes on, not before.
func TestFromIngestToTheGateOfACampaign(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rejoins(t, opened(t, dsn(t), store.Options{}))
		})
	}
}

func rejoins(t *testing.T, db *store.DB) {
	const tenant, id = identity.Tenant("tenant"), campaign.ID("cmp_1")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	cat, err := action.NewCatalogue([]action.Type{obedient{action.Spec{
		Name: runtest.Revoke, Version: 1, Title: "Revoke", Provider: identity.EntraID, Effect: action.EffectRestrict, Irreversible: "it does not come back",
		Batch: 1, Bucket: action.BucketDirectoryWrite, Within: time.Minute,
	}}}, nil)
	must(err)
	planner := &runtest.Planner{Plans: map[string]func(playbook.Input) (playbook.Plan, error){"contain": func(in playbook.Input) (playbook.Plan, error) {
		p, err := runtest.Steps(runtest.Revoke)(in)
		if p.Catalogue = cat.Version(); in.Protection.Unknown {
			p.Held, p.Steps, p.Hash = strings.Join(in.Protection.Reasons, "; "), nil, "held"
		}
		return p, err
	}}}
	runs := &run.Driver{
		Store: db.Runs(), Planner: planner, Catalogue: cat, Now: time.Now,
		Policy: func(identity.Tenant) identity.Policy { return identity.Policy{} },
		Mode:   func(identity.Tenant) playbook.Mode { return playbook.Enforce },
	}
	campaigns := &campaign.Driver{Store: db.Campaigns(), Runs: runs, Now: time.Now}
	runs.Campaigns = campaigns
	pipe := &ingest.Pipeline{Store: db.Ingest(), Runs: runs, Now: time.Now}
	out, err := dispatch.New(tenant, db.Dispatch(), cat, dispatch.Options{Still: runs.Still, Tick: 10 * time.Millisecond})
	must(err)
	take := func(p connector.Page) ingest.Result {
		t.Helper()
		res, err := pipe.Take(t.Context(), tenant, "test", p)
		must(err)
		return res
	}
	now, yes := time.Now(), true
	facts := func(n string, roles time.Time) connector.AccountFacts {
		return connector.AccountFacts{Ref: runtest.Person(n), Facts: identity.Facts{AsOf: time.Now(), Found: &yes, Enabled: &yes, UserType: "Member", RolesAsOf: roles}}
	}
	take(connector.Page{
		Facts:   []connector.AccountFacts{facts("1", time.Time{}), facts("2", now)}, // of the first it is not known whether they are protected
		Signals: []signal.Signal{runtest.Detection(tenant, "d1", runtest.Person("1"), "leakedCredentials", signal.LevelHigh, now), runtest.Detection(tenant, "d2", runtest.Person("2"), "leakedCredentials", signal.LevelHigh, now)},
	})
	must(db.Campaigns().Update(t.Context(), func(tx campaign.Tx) error {
		var items []campaign.Item
		for n, who := range []string{"1", "2"} {
			owners, err := tx.(*store.Tx).IdentitiesByKeys(tenant, runtest.Person(who).Keys())
			if err != nil {
				return err
			}
			c, _, err := tx.(*store.Tx).OpenCase(tenant, owners[0].ID)
			if err != nil {
				return err
			}
			items = append(items, campaign.Item{Place: n, Identity: owners[0].ID, Case: c.ID, PlanHash: "plan of contain for " + string(owners[0].ID)})
		}
		if err := tx.PutItems(tenant, id, items); err != nil {
			return err
		}
		_, err := tx.PutCampaign(campaign.Campaign{
			Tenant: tenant, ID: id, Wish: campaign.Wish{Playbook: playbook.Ref{ID: "contain"}, Canary: 1, Wave: 1, Failures: 0.5}, Size: len(items),
			AskedBy: access.ByOperator("lead"), AskedAt: now, State: campaign.Canary, Approval: approval.Request{State: approval.Approved},
		})
		return err
	}))
	step := func() (c campaign.Campaign) {
		t.Helper()
		must(runs.Reconcile(t.Context()))
		must(campaigns.Reconcile(t.Context()))
		must(db.Campaigns().Update(t.Context(), func(tx campaign.Tx) (err error) { c, err = tx.Campaign(tenant, id); return err }))
		return c
	}
	step()
	if c := step(); c.State != campaign.Paused || !c.Unproven {
		t.Fatalf("its canary was held: %+v", c)
	}
	res := take(connector.Page{Facts: []connector.AccountFacts{facts("1", now)}})
	if len(res.Runs) != 1 {
		t.Fatalf("the fact is there, and %d runs began", len(res.Runs))
	}
	ready, err := db.Dispatch().Ready(t.Context(), tenant, []action.Name{runtest.Revoke}, time.Now(), 10)
	if err != nil || len(ready) != 0 {
		t.Errorf("the campaign is paused, and %d actions may leave, %v", len(ready), err)
	}
	c := step()
	if c.Unproven {
		t.Error("what the canary had not proven is held against the run that took it up")
	}
	must(db.Campaigns().Update(t.Context(), func(tx campaign.Tx) (err error) {
		if c, err = c.Resume(); err == nil {
			_, err = tx.PutCampaign(c)
		}
		return err
	}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- out.Run(ctx) }()
	defer func() { cancel(); <-done }()
	deadline := time.Now().Add(time.Minute)
	for c = step(); c.State != campaign.Done && time.Now().Before(deadline); c = step() {
		<-time.After(5 * time.Millisecond)
	}
	p, err := db.Campaigns().Progress(t.Context(), tenant, id, 2)
	if err != nil || c.State != campaign.Done || p.Contained() != 2 {
		t.Errorf("it is %s (%s), its runs %v, %v", c.State, c.Reason, p.States, err)
	}
}
