package dispatch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"pgregory.net/rapid"
)

// passing are facts with which the gate lets a disable out.
func passing() dispatch.Facts {
	now := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	i := identity.Identity{
		Tenant: tenant, ID: "idn_1", Kind: identity.KindPerson, Name: "Person",
		Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.EntraID, ObjectID: "AAAA"}}},
	}
	return dispatch.Facts{
		Now:    now,
		Action: action.Action{ID: "act_1", Tenant: tenant, Run: "run_1", Identity: "idn_1", PlanHash: "h1", Account: identity.Ref{Provider: identity.EntraID, ObjectID: "aaaa"}},
		Spec:   action.Spec{Name: "fake.disable", Effect: action.EffectRestrict},
		Fence:  7, Held: 7,
		Run:      &run.Run{State: run.Acting, Plan: &playbook.Plan{Hash: "h1", Mode: playbook.Enforce}},
		Identity: &i,
		LookedAt: now.Add(-time.Second),
	}
}

// inCampaign makes the action the fourth of a campaign that has come to it.
func inCampaign(f *dispatch.Facts) {
	f.Action.Campaign, f.Action.Place = "cmp_1", 3
	f.Run.Consent = &run.Consent{Campaign: "cmp_1", Place: 3, PlanHash: f.Action.PlanHash}
	f.Campaign = &campaign.Campaign{ID: "cmp_1", Hash: "root", Released: 4, State: campaign.Rolling,
		Approval: approval.Request{PlanHash: "root", State: approval.Approved}}
}

// tagged has the identity tagged so long after the action was planned, with that
// approval.
func tagged(f *dispatch.Facts, after time.Duration, rule *approval.Rule) {
	f.Action.Step = "disable"
	f.Run.Plan.MadeAt, f.Run.Plan.Steps = f.Now.Add(-time.Hour), []playbook.Step{{ID: "disable", Approval: rule}}
	f.Identity.Tags = []identity.Tagging{{Name: identity.TagVIP, By: "ann", Reason: "the board", At: f.Now.Add(-time.Hour + after)}}
}

func TestGate(t *testing.T) {
	t.Parallel()
	full := dispatch.Radius{Everywhere: 1000, Tenant: 1000, Playbook: 1000}
	undo := func(f *dispatch.Facts) { f.Action.UndoOf, f.Spec.Effect = "act_0", action.EffectRelease }
	for name, c := range map[string]struct {
		change  func(*dispatch.Facts)
		verdict dispatch.Verdict
		rule    dispatch.Rule
		text    string
	}{
		"campaign":                 {func(f *dispatch.Facts) { inCampaign(f) }, dispatch.Allow, "", ""},
		"campaign beyond the hour": {func(f *dispatch.Facts) { inCampaign(f); f.Hour, f.Minute = full, full }, dispatch.Allow, "", ""},
		"campaign and protected":   {func(f *dispatch.Facts) { inCampaign(f); f.Protection.Reasons = []string{"x"} }, dispatch.Refuse, dispatch.RuleProtected, ""},
		"campaign and stop":        {func(f *dispatch.Facts) { inCampaign(f); f.Stop.On = true }, dispatch.Hold, dispatch.RuleStop, ""},
		"campaign gone":            {func(f *dispatch.Facts) { inCampaign(f); f.Campaign = nil }, dispatch.Refuse, dispatch.RuleCampaign, "gone"},
		"campaign not approved":    {func(f *dispatch.Facts) { inCampaign(f); f.Campaign.Approval.State = approval.Pending }, dispatch.Refuse, dispatch.RuleCampaign, "not approved"},
		"campaign of another root": {func(f *dispatch.Facts) { inCampaign(f); f.Campaign.Hash = "other" }, dispatch.Refuse, dispatch.RuleCampaign, "not approved"},
		"campaign of another plan": {func(f *dispatch.Facts) { inCampaign(f); f.Run.Consent.PlanHash = "h9" }, dispatch.Refuse, dispatch.RuleCampaign, "not the one"},
		"campaign without consent": {func(f *dispatch.Facts) { inCampaign(f); f.Run.Consent = nil }, dispatch.Refuse, dispatch.RuleCampaign, "not the one"},
		"campaign stopped":         {func(f *dispatch.Facts) { inCampaign(f); f.Campaign.State = campaign.Stopped }, dispatch.Refuse, dispatch.RuleCampaign, "stopped"},
		"campaign paused":          {func(f *dispatch.Facts) { inCampaign(f); f.Campaign.State = campaign.Paused }, dispatch.Hold, dispatch.RuleCampaign, "paused"},
		"campaign not so far":      {func(f *dispatch.Facts) { inCampaign(f); f.Campaign.Released = 3 }, dispatch.Hold, dispatch.RuleCampaign, "not come to it"},
		"nothing against it":       {func(*dispatch.Facts) {}, dispatch.Allow, "", ""},
		"stop":                     {func(f *dispatch.Facts) { f.Stop = dispatch.Stop{On: true, By: "ann", Reason: "drill"} }, dispatch.Hold, dispatch.RuleStop, "drill (ann)"},
		"stop without words":       {func(f *dispatch.Facts) { f.Stop = dispatch.Stop{On: true} }, dispatch.Hold, dispatch.RuleStop, "no reason given"},
		"stop holds undo too":      {func(f *dispatch.Facts) { undo(f); f.Stop.On = true }, dispatch.Hold, dispatch.RuleStop, ""},
		"another owner":            {func(f *dispatch.Facts) { f.Fence = 8 }, dispatch.Hold, dispatch.RuleOwner, ""},
		"a person decides":         {func(f *dispatch.Facts) { f.Action.Person = true }, dispatch.Hold, dispatch.RulePerson, ""},
		"no run":                   {func(f *dispatch.Facts) { f.Run = nil }, dispatch.Refuse, dispatch.RuleRun, "gone"},
		"run rejected":             {func(f *dispatch.Facts) { f.Run.State = run.Rejected }, dispatch.Refuse, dispatch.RuleRun, "already rejected"},
		"run held":                 {func(f *dispatch.Facts) { f.Run.State = run.HeldState }, dispatch.Hold, dispatch.RuleRun, ""},
		"no plan":                  {func(f *dispatch.Facts) { f.Run.Plan = nil }, dispatch.Refuse, dispatch.RulePlan, ""},
		"another plan":             {func(f *dispatch.Facts) { f.Run.Plan.Hash = "h2" }, dispatch.Refuse, dispatch.RulePlan, "changed"},
		"another meaning":          {func(f *dispatch.Facts) { f.Run.Plan.Catalogue, f.Catalogue = "v1", "v2" }, dispatch.Refuse, dispatch.RulePlan, "plan it again"},
		"the same meaning":         {func(f *dispatch.Facts) { f.Run.Plan.Catalogue, f.Catalogue = "v1", "v1" }, dispatch.Allow, "", ""},
		"a guard refuses now":      {func(f *dispatch.Facts) { f.Refused = "a service account" }, dispatch.Refuse, dispatch.RuleStill, "a service account"},
		"not called for now":       {func(f *dispatch.Facts) { f.Moot = "not called for any more" }, dispatch.Refuse, dispatch.RuleStill, "not called for"},
		"a guard not decided":      {func(f *dispatch.Facts) { f.Undecided = "roles not read" }, dispatch.Hold, dispatch.RuleStill, "roles not read"},
		"tenant observes":          {func(f *dispatch.Facts) { f.Observe = true }, dispatch.Hold, dispatch.RuleObserve, ""},
		"playbook observes":        {func(f *dispatch.Facts) { f.Run.Plan.Mode = playbook.Observe }, dispatch.Refuse, dispatch.RuleObserve, ""},
		"no identity":              {func(f *dispatch.Facts) { f.Identity = nil }, dispatch.Refuse, dispatch.RuleAccount, ""},
		"somebody else's":          {func(f *dispatch.Facts) { f.Action.Account.ObjectID = "bbbb" }, dispatch.Refuse, dispatch.RuleAccount, ""},
		"account without a key":    {func(f *dispatch.Facts) { f.Action.Account.ObjectID = "" }, dispatch.Refuse, dispatch.RuleAccount, ""},
		"same id, other arm":       {func(f *dispatch.Facts) { f.Action.Account.Provider = identity.Okta }, dispatch.Refuse, dispatch.RuleAccount, ""},
		"kind unknown":             {func(f *dispatch.Facts) { f.Identity.Kind = identity.KindUnknown }, dispatch.Hold, dispatch.RuleFacts, ""},
		"protected":                {func(f *dispatch.Facts) { f.Protection.Reasons = []string{"break-glass"} }, dispatch.Refuse, dispatch.RuleProtected, "protected: break-glass"},
		"protected, undo":          {func(f *dispatch.Facts) { undo(f); f.Protection.Reasons = []string{"break-glass"} }, dispatch.Refuse, dispatch.RuleProtected, ""},
		"protection unknown": {func(f *dispatch.Facts) {
			f.Protection = identity.Protection{Reasons: []string{"roles not read"}, Unknown: true}
		}, dispatch.Hold, dispatch.RuleFacts, "roles not read"},
		"tagged since, not approved": {func(f *dispatch.Facts) { tagged(f, time.Minute, nil) }, dispatch.Hold, dispatch.RuleTag, "tagged VIP by ann: the board, after this was planned"},
		"tagged since, approved":     {func(f *dispatch.Facts) { tagged(f, time.Minute, &approval.Rule{}) }, dispatch.Allow, "", ""},
		"tagged before the plan":     {func(f *dispatch.Facts) { tagged(f, -time.Minute, nil) }, dispatch.Allow, "", ""},
		"tagged since, undo":         {func(f *dispatch.Facts) { tagged(f, time.Minute, nil); undo(f) }, dispatch.Allow, "", ""},
		"password kept elsewhere": {func(f *dispatch.Facts) {
			tagged(f, -time.Minute, &approval.Rule{})
			f.Identity.Tags[0].Name, f.Spec.Password = identity.TagPAM, true
		}, dispatch.Hold, dispatch.RuleTag, "privileged access management"},
		"password kept elsewhere, another change": {func(f *dispatch.Facts) {
			tagged(f, -time.Minute, &approval.Rule{})
			f.Identity.Tags[0].Name = identity.TagPAM
		}, dispatch.Allow, "", ""},
		"untagged again": {func(f *dispatch.Facts) {
			tagged(f, time.Minute, nil)
			f.Identity.Tags[0].RemovedAt = f.Now
		}, dispatch.Allow, "", ""},
		"never looked at":        {func(f *dispatch.Facts) { f.LookedAt = time.Time{} }, dispatch.Hold, dispatch.RuleFacts, ""},
		"looked at long ago":     {func(f *dispatch.Facts) { f.LookedAt = f.Now.Add(-time.Minute) }, dispatch.Hold, dispatch.RuleFacts, ""},
		"tenant's hour":          {func(f *dispatch.Facts) { f.Hour.Tenant = 50 }, dispatch.Hold, dispatch.RuleRadius, "limit of 50 accounts an hour in this tenant"},
		"one below":              {func(f *dispatch.Facts) { f.Hour.Tenant = 49 }, dispatch.Allow, "", ""},
		"playbook's hour":        {func(f *dispatch.Facts) { f.Hour.Playbook = 50 }, dispatch.Hold, dispatch.RuleRadius, "one playbook"},
		"everybody's hour":       {func(f *dispatch.Facts) { f.Hour.Everywhere = 200 }, dispatch.Hold, dispatch.RuleRadius, "all tenants"},
		"tenant's minute":        {func(f *dispatch.Facts) { f.Minute.Tenant = 30 }, dispatch.Hold, dispatch.RuleRate, "a minute"},
		"undo has no limit":      {func(f *dispatch.Facts) { undo(f); f.Hour, f.Minute = full, full }, dispatch.Allow, "", ""},
		"a verdict has no limit": {func(f *dispatch.Facts) { f.Spec.Effect = action.EffectVerdict; f.Hour, f.Minute = full, full }, dispatch.Allow, "", ""},
		"refusal before holds": {func(f *dispatch.Facts) {
			f.Stop.On = true
			f.Protection.Reasons = []string{"break-glass"}
			f.Hour = full
		}, dispatch.Refuse, dispatch.RuleProtected, "protected: break-glass"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := passing()
			c.change(&f)
			d := dispatch.Gate{}.Check(f)
			if d.Verdict != c.verdict || d.Rule() != c.rule || !strings.Contains(d.Text(), c.text) {
				t.Errorf("got %s by %q: %q; want %s by %q: …%s…", d.Verdict, d.Rule(), d.Text(), c.verdict, c.rule, c.text)
			}
			if (d.Verdict == dispatch.Allow) != (d.Text() == "" && len(d.Reasons) == 0) {
				t.Errorf("%s with reasons %v: law 8", d.Verdict, d.Reasons)
			}
			if d.Verdict == dispatch.Hold && d.Again() == 0 && d.Rule() != dispatch.RulePerson {
				t.Error("a hold that nobody asks again")
			}
		})
	}
}

// Whatever else is so: what is protected, stopped or not ours never gets out, all
// grounds are named, and the same facts decide the same.
func TestGateNeverLetsOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := passing()
		yes := func(name string) bool { return rapid.Bool().Draw(rt, name) }
		var against int
		on := func(name string, change func()) {
			if yes(name) {
				change()
				against++
			}
		}
		on("stop", func() { f.Stop.On = true })
		on("fence", func() { f.Fence++ })
		on("person", func() { f.Action.Person = true })
		on("observe", func() { f.Observe = true })
		on("rejected", func() { f.Run.State = run.Rejected })
		on("plan", func() { f.Run.Plan.Hash = "other" })
		on("protected", func() { f.Protection.Reasons = []string{"x"} })
		on("stale", func() { f.LookedAt = f.Now.Add(-time.Hour) })
		on("account", func() { f.Action.Account.ObjectID = "zzzz" })
		if yes("undo") {
			f.Action.UndoOf, f.Spec.Effect = "act_0", action.EffectRelease
		}
		n := rapid.IntRange(0, 300).Draw(rt, "reached")
		f.Hour = dispatch.Radius{Everywhere: n, Tenant: n, Playbook: n}
		d := dispatch.Gate{}.Check(f)
		if against > 0 && d.Verdict == dispatch.Allow {
			rt.Fatalf("let out against %d grounds", against)
		}
		if len(d.Reasons) < against {
			rt.Fatalf("%d grounds, %d named", against, len(d.Reasons))
		}
		if diff := cmp.Diff(d, dispatch.Gate{}.Check(f)); diff != "" {
			rt.Fatalf("asked again: %s", diff)
		}
	})
}

func TestLimitsCheck(t *testing.T) {
	t.Parallel()
	if err := dispatch.DefaultLimits().Check(); err != nil {
		t.Error(err)
	}
	err := dispatch.Limits{AccountsPerHour: -1, GlobalAccountsPerHour: -2, Reserve: 2}.Check()
	for _, key := range []string{"accounts_per_hour: -1", "global_accounts_per_hour: -2", "reserve: 2"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("error %v does not name %q", err, key)
		}
	}
}
