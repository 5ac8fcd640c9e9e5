package campaign_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

var epoch = time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)

func proposed(size int) campaign.Campaign {
	return campaign.Campaign{
		Tenant: "t", ID: "cmp_1", Size: size, State: campaign.Proposed, Hash: "root",
		Wish: campaign.Wish{Canary: 5, Wave: 20, Failures: 0.05},
	}
}

func approved(t *testing.T, size int) campaign.Campaign {
	t.Helper()
	c, err := proposed(size).Decided(approval.Request{State: approval.Approved}, epoch)
	if err != nil || c.State != campaign.Canary {
		t.Fatalf("approved: %s, %v", c.State, err)
	}
	return c
}

// The root changes with everything that people approve, and with nothing else.
func TestRoot(t *testing.T) {
	t.Parallel()
	items := func() []campaign.Item {
		return []campaign.Item{{Identity: "a", PlanHash: "1"}, {Place: 1, Identity: "b", PlanHash: "2"}}
	}
	wish := campaign.Wish{Playbook: playbook.Ref{ID: "p", Hash: "h"}, Canary: 1, Wave: 2, Failures: 0.1}
	root := campaign.Root("t", wish, "c1", items())
	for name, change := range map[string]func(tenant *identity.Tenant, w *campaign.Wish, cat *string, i []campaign.Item) []campaign.Item{
		"tenant": func(t *identity.Tenant, _ *campaign.Wish, _ *string, i []campaign.Item) []campaign.Item {
			*t = "u"
			return i
		},
		"playbook": func(_ *identity.Tenant, w *campaign.Wish, _ *string, i []campaign.Item) []campaign.Item {
			w.Playbook.Hash = "x"
			return i
		},
		"catalogue": func(_ *identity.Tenant, _ *campaign.Wish, c *string, i []campaign.Item) []campaign.Item {
			*c = "c2"
			return i
		},
		"canary": func(_ *identity.Tenant, w *campaign.Wish, _ *string, i []campaign.Item) []campaign.Item {
			w.Canary = 2
			return i
		},
		"wave": func(_ *identity.Tenant, w *campaign.Wish, _ *string, i []campaign.Item) []campaign.Item {
			w.Wave = 3
			return i
		},
		"failures": func(_ *identity.Tenant, w *campaign.Wish, _ *string, i []campaign.Item) []campaign.Item {
			w.Failures = 0.2
			return i
		},
		"a plan": func(_ *identity.Tenant, _ *campaign.Wish, _ *string, i []campaign.Item) []campaign.Item {
			i[1].PlanHash = "3"
			return i
		},
		"who": func(_ *identity.Tenant, _ *campaign.Wish, _ *string, i []campaign.Item) []campaign.Item {
			i[0].Identity = "c"
			return i
		},
		"order": func(_ *identity.Tenant, _ *campaign.Wish, _ *string, i []campaign.Item) []campaign.Item {
			i[0], i[1] = i[1], i[0]
			return i
		},
		"one less": func(_ *identity.Tenant, _ *campaign.Wish, _ *string, i []campaign.Item) []campaign.Item { return i[:1] },
	} {
		tenant, w, cat := identity.Tenant("t"), wish, "c1"
		changed := change(&tenant, &w, &cat, items())
		if campaign.Root(tenant, w, cat, changed) == root {
			t.Errorf("%s: the root stays the same", name)
		}
	}
	renamed := items()
	renamed[0].Name, renamed[0].Run = "another name", "run_1"
	if campaign.Root("t", wish, "c1", renamed) != root {
		t.Error("the root changes with what nobody approves")
	}
}

func TestAdvance(t *testing.T) {
	t.Parallel()
	c := approved(t, 30)
	states := func(kv ...any) campaign.Progress {
		p := campaign.Progress{States: map[run.State]int{}}
		for n := 0; n < len(kv); n += 2 {
			p.States[kv[n].(run.State)] = kv[n+1].(int)
		}
		return p
	}
	want := func(what string, c campaign.Campaign, s campaign.State, released int) {
		t.Helper()
		if c.State != s || c.Released != released {
			t.Errorf("%s: %s with %d released, want %s with %d", what, c.State, c.Released, s, released)
		}
	}
	want("nothing begun", c.Advance(states(), epoch), campaign.Canary, 0)
	c.Begun = 10
	c = c.Advance(states(), epoch)
	want("the canary is prepared", c, campaign.Canary, 5)
	c = c.Advance(states(run.Contained, 5), epoch)
	want("the others are not", c, campaign.Canary, 5)
	c.Begun = 30
	want("the canary is under way", c.Advance(states(run.Acting, 1, run.Contained, 4), epoch), campaign.Canary, 5)
	failed := c.Advance(states(run.Failed, 1, run.Contained, 4), epoch)
	want("one of the canary failed", failed, campaign.Paused, 5)
	if failed.Reason == "" {
		t.Error("it does not say why")
	}
	c = c.Advance(states(run.Contained, 5), epoch)
	want("the first wave", c, campaign.Rolling, 25)
	waiting := states(run.Contained, 5, run.Acting, 20)
	waiting.Unsent = 6
	want("it has not left", c.Advance(waiting, epoch), campaign.Rolling, 25)
	waiting.Unsent = 5
	c = c.Advance(waiting, epoch)
	want("the rest", c, campaign.Rolling, 30)
	want("not over", c.Advance(states(run.Contained, 29, run.Acting, 1), epoch), campaign.Rolling, 30)
	want("over", c.Advance(states(run.Contained, 28, run.HeldState, 1, run.Refused, 1), epoch), campaign.Done, 30)
	want("one of thirty may fail", c.Advance(states(run.Contained, 29, run.Failed, 1), epoch), campaign.Done, 30)
	want("two may not", c.Advance(states(run.Contained, 28, run.Failed, 2), epoch), campaign.Paused, 30)
}

// Whoever resumes has looked at what failed: it goes on, until something more fails.
func TestResumeAfterFailures(t *testing.T) {
	t.Parallel()
	c := approved(t, 30)
	c.Begun = 30
	c = c.Advance(campaign.Progress{}, epoch)
	seen := campaign.Progress{States: map[run.State]int{run.Failed: 1, run.Contained: 4}}
	if c = c.Advance(seen, epoch); c.State != campaign.Paused {
		t.Fatalf("one of the canary failed, and it is %s", c.State)
	}
	c, err := c.Resume()
	if err != nil {
		t.Fatal(err)
	}
	if c = c.Advance(seen, epoch); c.State != campaign.Rolling || c.Released != 25 {
		t.Fatalf("resumed, it is %s with %d released: %s", c.State, c.Released, c.Reason)
	}
	if c = c.Advance(campaign.Progress{States: map[run.State]int{run.Failed: 2, run.Contained: 4}}, epoch); c.State != campaign.Paused {
		t.Errorf("one more failed, and it is %s", c.State)
	}
}

// A canary that was held or refused whole did nothing wrong and proved nothing: who
// follows waits until somebody has looked.
func TestACanaryThatProvedNothingReleasesNobody(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		states map[run.State]int
		want   campaign.State
	}{
		"held and refused": {map[run.State]int{run.HeldState: 4, run.Refused: 1}, campaign.Paused},
		"one contained":    {map[run.State]int{run.HeldState: 4, run.Contained: 1}, campaign.Rolling},
		"observed":         {map[run.State]int{run.Observed: 5}, campaign.Rolling},
	} {
		c := approved(t, 30)
		c.Begun = 30
		c = c.Advance(campaign.Progress{}, epoch)
		p := campaign.Progress{States: tt.states}
		if c = c.Advance(p, epoch); c.State != tt.want {
			t.Errorf("%s: %s with %d released: %s", name, c.State, c.Released, c.Reason)
		}
		if c.State != campaign.Paused {
			continue
		}
		c, err := c.Resume()
		if err != nil {
			t.Fatal(err)
		}
		if c = c.Advance(p, epoch); c.State != campaign.Rolling || c.Released != 25 {
			t.Errorf("%s: resumed by somebody who looked, it is %s with %d released", name, c.State, c.Released)
		}
	}
}

// A canary larger than the campaign does not loosen how many may fail.
func TestALargeCanaryKeepsTheBrake(t *testing.T) {
	t.Parallel()
	c := approved(t, 10)
	c.Wish.Canary, c.Begun = 1000, 10
	c = c.Advance(campaign.Progress{}, epoch)
	if c = c.Advance(campaign.Progress{States: map[run.State]int{run.Failed: 9, run.Contained: 1}}, epoch); c.State != campaign.Paused {
		t.Errorf("nine of ten failed, and it is %s", c.State)
	}
}

// Whatever people and runs do: nothing is released without approval, nothing that
// was released is taken back silently, a campaign that is over stays as it is, and
// one that is paused or stopped lets nothing leave.
func TestWalkOfACampaign(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := proposed(rapid.IntRange(1, 60).Draw(rt, "size"))
		c.Wish.Canary, c.Wish.Wave = rapid.IntRange(1, 10).Draw(rt, "canary"), rapid.IntRange(1, 30).Draw(rt, "wave")
		consented := false
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			was := c
			var err error
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				s := rapid.SampledFrom([]approval.State{approval.Pending, approval.Approved, approval.Rejected, approval.Expired, approval.Void}).Draw(rt, "answer")
				c, err = c.Decided(approval.Request{State: s, Reason: "so"}, epoch)
				consented = consented || err == nil && s == approval.Approved
			case 1:
				c, err = c.Pause("p")
			case 2:
				c, err = c.Resume()
			case 3:
				if rapid.IntRange(0, 9).Draw(rt, "rarely") == 0 {
					c, err = c.Stop("s", epoch)
				}
			case 4:
				if c.State.Goes() {
					c.Begun = min(c.Size, c.Begun+rapid.IntRange(0, 25).Draw(rt, "begun"))
				}
			default:
				p := campaign.Progress{States: map[run.State]int{}}
				left := c.Released
				for _, s := range []run.State{run.Contained, run.Failed, run.HeldState} {
					n := rapid.IntRange(0, left).Draw(rt, string(s))
					p.States[s], left = n, left-n
				}
				p.States[run.Acting] = left
				p.Unsent = rapid.IntRange(0, left).Draw(rt, "unsent")
				c = c.Advance(p, epoch)
			}
			switch {
			case err != nil && !errors.Is(err, fault.Conflict):
				rt.Fatalf("%v", err)
			case err != nil && c.State != was.State:
				rt.Fatalf("refused, and moved from %s to %s", was.State, c.State)
			case was.State.Final() && c.State != was.State:
				rt.Fatalf("from %s to %s", was.State, c.State)
			case c.Released < was.Released || c.Released > c.Size || c.Released > c.Begun:
				rt.Fatalf("%d released of %d begun, %d before", c.Released, c.Begun, was.Released)
			case c.Released > 0 && !consented:
				rt.Fatal("released without approval")
			case c.Released > was.Released && !was.State.Goes():
				rt.Fatalf("released while %s", was.State)
			case c.State.Final() && c.EndedAt.IsZero():
				rt.Fatal("over without a time")
			case (c.State == campaign.Paused || c.State == campaign.Stopped) && c.Reason == "":
				rt.Fatalf("%s without a reason: law 8", c.State)
			}
		}
	})
}

func TestWishFilled(t *testing.T) {
	t.Parallel()
	w, err := campaign.Wish{}.Filled()
	if err != nil || w.Canary != campaign.DefaultCanary || w.Wave != campaign.DefaultWave || w.Failures != campaign.DefaultFailures {
		t.Errorf("defaults: %+v, %v", w, err)
	}
	for _, bad := range []campaign.Wish{{Canary: -1}, {Wave: -1}, {Failures: -0.1}, {Failures: 1.1}} {
		if _, err := bad.Filled(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
