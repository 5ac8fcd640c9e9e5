package desk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// A crowd is a scene with many people at risk and the driver of campaigns.
type crowd struct {
	*desktest.Scene
	driver *campaign.Driver
}

func newCrowd(people int) crowd {
	s := crowd{Scene: desktest.Empty()}
	for n := 20; n < 20+people; n++ {
		s.AddAtRisk(desktest.Person(n, fmt.Sprintf("Person %d", n), fmt.Sprintf("person.%d@corp.example", n), s.Now()), s.Leaked(fmt.Sprint("d", n), time.Hour))
	}
	s.driver = &campaign.Driver{
		Store: s.Store.ForCampaigns(), Runs: s.Driver, Now: s.Now,
		Forecast: func(_ identity.Tenant, cost map[action.Bucket]int) (time.Duration, bool) {
			return time.Duration(cost[action.BucketDirectoryWrite]) * time.Second, true
		},
	}
	return s
}

func (s crowd) step(t *testing.T) {
	t.Helper()
	if err := s.driver.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s crowd) view(t *testing.T, id campaign.ID) desk.CampaignView {
	t.Helper()
	v, err := s.Desk.CampaignView(t.Context(), s.Operator("owner"), id)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// prove does what dispatch would with what is released.
func (s crowd) prove(t *testing.T, id campaign.ID) {
	t.Helper()
	v := s.view(t, id)
	items, err := s.Desk.CampaignItems(t.Context(), s.Operator("owner"), id, desk.Page{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range items.Items {
		if i.Run != "" && i.Place < v.Campaign.Released && !i.State.Final() {
			s.Prove(i.Run, "")
		}
	}
}

func (s crowd) propose(t *testing.T, w desk.CampaignWish) desk.CampaignView {
	t.Helper()
	w.Tenant, w.Playbook, w.Reason = desktest.Tenant, "token-theft", "a breach"
	v, err := s.Desk.ProposeCampaign(t.Context(), s.Operator("analyst"), w)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (s crowd) approve(t *testing.T, v desk.CampaignView, by ...string) desk.CampaignView {
	t.Helper()
	for _, id := range by {
		var err error
		if v, err = s.Desk.DecideCampaign(t.Context(), s.Operator(access.OperatorID(id)), v.Campaign.ID, true, v.Campaign.Hash, ""); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func TestACampaignToItsEnd(t *testing.T) {
	t.Parallel()
	s := newCrowd(12)
	s.AddAtRisk(desktest.Person(5, "Emergency", "emergency@corp.example", s.Now()), s.Leaked("d5", time.Hour))
	s.AddAtRisk(desktest.Person(2, "Robin Lake", "robin.lake@corp.example", s.Now()), s.Leaked("d2", time.Hour)) // holds a role
	v := s.propose(t, desk.CampaignWish{Canary: 3, Wave: 6})
	c := v.Campaign
	if c.State != campaign.Proposed || c.Size != 13 || len(c.Left) != 1 || !strings.Contains(c.Left[0].Why, "emergency access") || c.Cost[action.BucketDirectoryWrite] != 13 {
		t.Fatalf("proposed: %+v", c)
	}
	items, err := s.Desk.CampaignItems(t.Context(), s.Operator("auditor"), c.ID, desk.Page{})
	if err != nil || items.Items[0].Name != "Robin Lake" || items.Items[0].Lane != action.LanePrivileged {
		t.Errorf("privileged people go first: %+v, %v", items.Items[0], err)
	}
	s.step(t)
	if got := s.view(t, c.ID); got.Campaign.Begun != 0 {
		t.Error("something was begun before the approval")
	}
	s.approve(t, v, "second")
	s.step(t)
	v = s.view(t, c.ID)
	if v.Campaign.State != campaign.Canary || v.Campaign.Begun != 13 || v.Campaign.Released != 3 {
		t.Fatalf("the canary: %+v", v.Campaign)
	}
	for n := 0; v.Campaign.State != campaign.Done; n++ {
		if n > 10 {
			t.Fatalf("it does not end: %+v", v)
		}
		s.prove(t, c.ID)
		s.step(t)
		v = s.view(t, c.ID)
		if v.Campaign.State == campaign.Rolling && v.Campaign.Announced.IsZero() {
			t.Error("nobody says when it will be over")
		}
	}
	if v.Progress.Contained() != 13 {
		t.Errorf("contained: %+v", v.Progress)
	}
	// The privileged person's own approval was given with the campaign's.
	asked, err := s.Desk.Approvals(t.Context(), s.Operator("owner"), desk.ApprovalFilter{}, desk.Page{})
	if err != nil || len(asked.Items) != 1 || !strings.Contains(asked.Items[0].Reason, string(c.ID)) {
		t.Errorf("approvals: %+v, %v", asked.Items, err)
	}
}

func TestWhoMayAnswerACampaign(t *testing.T) {
	t.Parallel()
	s := newCrowd(3)
	s.AddAtRisk(desktest.Person(9, "Second", "second@corp.example", s.Now()), s.Leaked("d9", time.Hour)) // the operator "second"
	v := s.propose(t, desk.CampaignWish{})
	for name, c := range map[string]struct {
		op, hash string
		kind     fault.Kind
	}{
		"whoever asked":      {"analyst", v.Campaign.Hash, fault.Denied},
		"one of its people":  {"second", v.Campaign.Hash, fault.Denied},
		"another root":       {"responder", "other", fault.Conflict},
		"without permission": {"auditor", v.Campaign.Hash, fault.Denied},
		"another tenant":     {"elsewhere", v.Campaign.Hash, fault.NotFound},
	} {
		if _, err := s.Desk.DecideCampaign(t.Context(), s.Operator(access.OperatorID(c.op)), v.Campaign.ID, true, c.hash, ""); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %s", name, err, c.kind)
		}
	}
	if got := s.view(t, v.Campaign.ID); got.Campaign.State != campaign.Proposed {
		t.Errorf("it is %s", got.Campaign.State)
	}
	if _, err := s.Desk.DecideCampaign(t.Context(), s.Operator("responder"), v.Campaign.ID, false, v.Campaign.Hash, "a drill"); err != nil {
		t.Error(err)
	}
	if got := s.view(t, v.Campaign.ID); got.Campaign.State != campaign.Rejected {
		t.Errorf("rejected, it is %s", got.Campaign.State)
	}
}

// Who was named and cannot be part of it is told, with the reason.
func TestACampaignSaysWhoIsMissing(t *testing.T) {
	t.Parallel()
	s := newCrowd(2)
	well := desktest.Person(40, "Well", "well@corp.example", s.Now())
	s.Store.Seed(well)
	v := s.propose(t, desk.CampaignWish{Identities: []identity.ID{desktest.Person(20, "", "", s.Now()).ID, well.ID, "idn_nobody", well.ID}})
	left := map[string]string{}
	for _, l := range v.Campaign.Left {
		left[l.Name] = l.Why
	}
	if v.Campaign.Size != 1 || len(v.Campaign.Left) != 2 || !strings.Contains(left["Well"], "no case") || !strings.Contains(left["idn_nobody"], "no such identity") {
		t.Errorf("size %d, left %+v", v.Campaign.Size, v.Campaign.Left)
	}
}

// More than fifty people take two.
func TestALargeCampaignNeedsTwo(t *testing.T) {
	t.Parallel()
	s := newCrowd(51)
	v := s.approve(t, s.propose(t, desk.CampaignWish{}), "responder")
	if v.Campaign.State != campaign.Proposed {
		t.Fatalf("one was enough: %s", v.Campaign.State)
	}
	if v = s.approve(t, v, "owner"); v.Campaign.State != campaign.Canary {
		t.Errorf("two were not: %s", v.Campaign.State)
	}
}

func TestPauseResumeAndStop(t *testing.T) {
	t.Parallel()
	s := newCrowd(6)
	v := s.approve(t, s.propose(t, desk.CampaignWish{Canary: 2, Wave: 2}), "second")
	id := v.Campaign.ID
	s.step(t)
	if _, err := s.Desk.PauseCampaign(t.Context(), s.Operator("responder"), id, "look again"); err != nil {
		t.Fatal(err)
	}
	s.prove(t, id)
	s.step(t)
	if v = s.view(t, id); v.Campaign.State != campaign.Paused || v.Campaign.Released != 2 {
		t.Errorf("paused: %+v", v.Campaign)
	}
	if _, err := s.Desk.ResumeCampaign(t.Context(), s.Operator("owner"), id); err != nil {
		t.Fatal(err)
	}
	s.step(t)
	if v = s.view(t, id); v.Campaign.State != campaign.Rolling || v.Campaign.Released != 4 {
		t.Errorf("resumed: %+v", v.Campaign)
	}
	if _, err := s.Desk.StopCampaign(t.Context(), s.Operator("responder"), id, "enough"); err != nil {
		t.Fatal(err)
	}
	s.step(t)
	items, err := s.Desk.CampaignItems(t.Context(), s.Operator("owner"), id, desk.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range items.Items {
		want := run.Cancelled
		if i.Place < 2 {
			want = run.Contained // what was done stays
		}
		if i.State != want {
			t.Errorf("item %d is %s, want %s", i.Place, i.State, want)
		}
	}
	if got := s.Store.Braked(); got != 2 {
		t.Errorf("pause and stop went before all others %d times, want 2", got)
	}
	if v = s.view(t, id); v.Campaign.State != campaign.Stopped || !v.Campaign.Withdrawn || !strings.Contains(v.Campaign.Reason, "enough") {
		t.Errorf("stopped: %+v", v.Campaign)
	}
}

// A plan that is another by the time its turn comes was approved by nobody.
func TestAPlanThatChangedIsHeld(t *testing.T) {
	t.Parallel()
	s := newCrowd(2)
	v := s.approve(t, s.propose(t, desk.CampaignWish{}), "second")
	i := desktest.Person(20, "Person 20", "person.20@corp.example", s.Now())
	i.Accounts[0].ObjectID = "00000000-0000-4000-9000-0000000000aa"
	s.Store.Seed(i)
	s.step(t)
	held, err := s.Desk.Runs(t.Context(), s.Operator("owner"), desk.RunFilter{State: []run.State{run.HeldState}}, desk.Page{})
	if err != nil || len(held.Items) != 1 || !strings.Contains(held.Items[0].Reason, "another one than was approved") {
		t.Errorf("held: %+v, %v", held.Items, err)
	}
	acts, err := s.Desk.Actions(t.Context(), s.Operator("owner"), desk.ActionFilter{}, desk.Page{})
	if err != nil || len(acts.Items) != 1 {
		t.Errorf("actions: %+v, %v", acts.Items, err)
	}
	_ = v
}

func TestAProposalRunsOut(t *testing.T) {
	t.Parallel()
	s := newCrowd(2)
	v := s.propose(t, desk.CampaignWish{})
	s.Pass(25 * time.Hour)
	s.step(t)
	if v = s.view(t, v.Campaign.ID); v.Campaign.State != campaign.Expired {
		t.Errorf("it is %s", v.Campaign.State)
	}
}

// repeated tries each change twice, as PostgreSQL does when another process got in
// first.
type repeated struct{ campaign.Store }

func (r repeated) Update(ctx context.Context, change func(campaign.Tx) error) error {
	got := errors.New("another process got in first")
	err := r.Store.Update(ctx, func(tx campaign.Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		return got
	})
	if !errors.Is(err, got) {
		return err
	}
	return r.Store.Update(ctx, change)
}

func TestACampaignGoesOnWhenTransactionsAreTriedAgain(t *testing.T) {
	t.Parallel()
	s := newCrowd(6)
	s.driver.Store = repeated{s.driver.Store}
	v := s.approve(t, s.propose(t, desk.CampaignWish{Canary: 2, Wave: 2}), "second")
	s.step(t)
	if v = s.view(t, v.Campaign.ID); v.Campaign.Begun != 6 || v.Campaign.Released != 2 {
		t.Errorf("after one look: %+v", v.Campaign)
	}
}

// One of its people may not answer, also when nothing is open about them any more.
func TestOneOfItsPeopleMayNotAnswer(t *testing.T) {
	t.Parallel()
	s := newCrowd(1)
	c := s.AddAtRisk(desktest.Person(9, "Second", "second@corp.example", s.Now()), s.Leaked("d9", time.Hour)) // the operator "second"
	v := s.propose(t, desk.CampaignWish{})
	if _, err := s.Desk.Verdict(t.Context(), s.Operator("owner"), c, "safe", "a drill"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Desk.DecideCampaign(t.Context(), s.Operator("second"), v.Campaign.ID, true, v.Campaign.Hash, "")
	if !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "the campaign is about Second") {
		t.Errorf("answered: %v", err)
	}
}

// The run that takes up a held one stands in its place, and in nobody else's.
func TestARunRejoinsItsCampaign(t *testing.T) {
	t.Parallel()
	s := newCrowd(3)
	v := s.propose(t, desk.CampaignWish{})
	id := v.Campaign.ID
	s.approve(t, v, "second")
	items, err := s.Desk.CampaignItems(t.Context(), s.Operator("owner"), id, desk.Page{})
	if err != nil {
		t.Fatal(err)
	}
	rejoin := func(of campaign.ID, who identity.ID) (why string) {
		err := s.Store.ForCampaigns().Update(t.Context(), func(tx campaign.Tx) (err error) {
			next := run.Run{Tenant: desktest.Tenant, ID: "run_next", Identity: who, Consent: &run.Consent{Campaign: string(of), Place: 1}}
			if why, err = s.driver.Barred(tx, next); err != nil || why != "" {
				return err
			}
			return s.driver.Rejoined(tx, next)
		})
		if err != nil {
			t.Fatal(err)
		}
		return why
	}
	for want, why := range map[string]string{
		"does not have it at place 1": rejoin(id, items.Items[0].Identity),
		"is not there any more":       rejoin("cmp_gone", items.Items[1].Identity),
	} {
		if !strings.Contains(why, want) {
			t.Errorf("%q, want %q", why, want)
		}
	}
	before := s.view(t, id).Campaign.Version
	if why := rejoin(id, items.Items[1].Identity); why != "" {
		t.Fatal(why)
	}
	if s.view(t, id).Campaign.Version == before {
		t.Error("whoever counted its runs before may still say that it is over")
	}
	if items, err = s.Desk.CampaignItems(t.Context(), s.Operator("owner"), id, desk.Page{}); err != nil || items.Items[1].Run != "run_next" || items.Items[0].Run == "run_next" {
		t.Errorf("items: %+v, %v", items.Items, err)
	}
	if _, err := s.Desk.StopCampaign(t.Context(), s.Operator("responder"), id, "enough"); err != nil {
		t.Fatal(err)
	}
	if why := rejoin(id, items.Items[1].Identity); !strings.Contains(why, "over (stopped)") {
		t.Errorf("into a campaign that was stopped: %q", why)
	}
}
