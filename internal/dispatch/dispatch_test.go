package dispatch_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

func TestApprovedActionIsVerified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		a := h.ask(person(1), disable)
		began := time.Now()
		h.start()
		a = h.settle(a, action.Verified)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v from approval to proof", took)
		}
		if a.Before == nil || a.Proof == "" || a.ClientRequestID == "" || a.RequestID == "" || a.Attempt != 1 || a.Outcome != action.Accepted {
			t.Errorf("the row lacks something: %+v", a)
		}
		want := []audit.Kind{audit.ActionIntent, audit.ActionOutcome, audit.ActionVerified}
		if got := kinds(h, a); !equal(got, want) {
			t.Errorf("trail = %v, want %v", got, want)
		}
		h.end()
	})
}

// A store may try a transaction again: that costs nothing and does nothing twice.
func TestTransactionsAreTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		a := h.ask(person(1), reset)
		began := time.Now()
		h.start(func(p *process) { p.again = true })
		a = h.settle(a, action.Verified)
		if d := time.Since(began); d > time.Second || a.Attempt != 1 || len(h.dir.sent) != 1 {
			t.Errorf("verified after %v, attempt %d, %d requests", d, a.Attempt, len(h.dir.sent))
		}
		if got := kinds(h, a); !equal(got, []audit.Kind{audit.ActionIntent, audit.ActionOutcome, audit.ActionVerified}) {
			t.Errorf("trail = %v", got)
		}
		h.end()
	})
}

func TestAlreadySoSendsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.versions["user-0001"] = []version{{from: time.Now(), Disabled: true}}
		a := h.ask(person(1), disable)
		h.start()
		a = h.settle(a, action.Verified)
		if len(h.dir.sent) != 0 || a.Attempt != 0 || !strings.HasPrefix(a.Proof, "already so") {
			t.Errorf("%d requests, attempt %d, proof %q", len(h.dir.sent), a.Attempt, a.Proof)
		}
		if got := kinds(h, a); !equal(got, []audit.Kind{audit.ActionAlready}) {
			t.Errorf("trail = %v", got)
		}
		h.end()
	})
}

// A success that the directory never shows is unconfirmed, then failed.
func TestAcceptedIsNotDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.mishap = func(write) mishap { return noEffect }
		a := h.ask(person(1), disable)
		h.start()
		a = h.settle(a, action.Unconfirmed)
		if d := time.Since(a.AcceptedAt); d < 2*time.Minute || d > 2*time.Minute+10*time.Second {
			t.Errorf("unconfirmed after %v, want about 2m", d)
		}
		a = h.settle(a, action.Failed)
		if d := time.Since(a.AcceptedAt); d < 6*time.Minute || d > 6*time.Minute+10*time.Second {
			t.Errorf("failed after %v, want about 6m", d)
		}
		if len(h.dir.sent) != 1 {
			t.Errorf("%d requests, want 1", len(h.dir.sent))
		}
		h.end()
	})
}

// Proof that comes after the deadline still counts.
func TestLateProof(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.lag = 4 * time.Minute
		a := h.ask(person(1), disable)
		h.start()
		h.settle(a, action.Unconfirmed)
		a = h.settle(a, action.Verified)
		if d := a.VerifiedAt.Sub(a.IntentAt); d < 4*time.Minute {
			t.Errorf("verified after %v, before the directory showed it", d)
		}
		h.end()
	})
}

func TestUnknownOutcomeIsReadThenRepeated(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]mishap{"before": resetBefore, "after": resetAfter} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				first := true
				h.dir.mishap = func(write) mishap {
					if first {
						first = false
						return m
					}
					return fine
				}
				a := h.ask(person(1), disable)
				h.start()
				a = h.settle(a, action.Verified)
				want := map[mishap]int{resetBefore: 2, resetAfter: 1}[m]
				if len(h.dir.sent) != want || a.Attempt != want {
					t.Errorf("%d requests, attempt %d, want %d", len(h.dir.sent), a.Attempt, want)
				}
				if m == resetBefore {
					if gap := h.dir.sent[1].sent.Sub(h.dir.sent[0].sent); gap < 10*time.Second {
						t.Errorf("repeated after %v, before every effect would show", gap)
					}
				}
				if !strings.Contains(string(a.Before), `"Disabled":false`) {
					t.Errorf("before = %s: what the undo restores is lost", a.Before)
				}
				h.end()
			})
		})
	}
}

// The first attempt took effect unheard and late: the before-state of the first
// look stays, or the undo would restore our own doing.
func TestBeforeStateSurvivesAnUnknownAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.lag = 9 * time.Second
		first := true
		h.dir.mishap = func(write) mishap {
			if first {
				first = false
				return resetAfter
			}
			return resetBefore
		}
		// It becomes visible just when the repeat is due.
		h.dir.lag = 11 * time.Second
		a := h.ask(person(1), disable)
		h.start()
		a = h.settle(a, action.Verified)
		if !strings.Contains(string(a.Before), `"Disabled":false`) {
			t.Errorf("before = %s", a.Before)
		}
		h.end()
	})
}

// The same when the repeat is put off: it changed nothing, the first one did.
func TestBeforeStateSurvivesARepeatThatIsPutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.lag = 11 * time.Second // it becomes visible just when the repeat is due
		n := 0
		h.dir.mishap = func(write) mishap {
			n++
			return []mishap{resetAfter, busy, fine}[min(n, 3)-1]
		}
		a := h.ask(person(1), disable)
		h.start()
		a = h.settle(a, action.Verified)
		if len(h.dir.sent) < 2 || !strings.Contains(string(a.Before), `"Disabled":false`) {
			t.Errorf("%d requests, before = %s: the undo would restore our own doing", len(h.dir.sent), a.Before)
		}
		h.end()
	})
}

func TestUnknownPasswordResetGoesToAPerson(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.mishap = func(write) mishap { return resetBefore }
		a := h.ask(person(1), reset)
		h.start()
		a = h.settle(a, action.Unconfirmed)
		if !a.Person || !strings.Contains(a.Reason, "a person decides") {
			t.Errorf("person %v, reason %q", a.Person, a.Reason)
		}
		<-time.After(time.Hour)
		if a = h.action(a); a.State != action.Unconfirmed || !a.NextAt.IsZero() || len(h.dir.sent) != 1 {
			t.Errorf("an hour later: %s, next at %v, %d requests", a.State, a.NextAt, len(h.dir.sent))
		}
		h.end()
	})
}

func TestUnknownPasswordResetThatHappenedIsVerified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.mishap = func(write) mishap { return hang }
		a := h.ask(person(1), reset)
		h.start()
		a = h.settle(a, action.Verified)
		if len(h.dir.sent) != 1 || a.Attempt != 1 {
			t.Errorf("%d requests, attempt %d", len(h.dir.sent), a.Attempt)
		}
		h.end()
	})
}

func TestGlobalStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.latency = 200 * time.Millisecond
		var all []action.Action
		for n := range 200 {
			all = append(all, h.ask(person(n), disable))
		}
		h.start()
		<-time.After(time.Second)
		h.stop(true)
		on := time.Now()
		<-time.After(time.Minute)
		for _, w := range h.dir.sent {
			if w.sent.After(on.Add(time.Second)) {
				t.Fatalf("a request left %v after the stop", w.sent.Sub(on))
			}
		}
		if n := len(h.dir.sent); n == 0 || n == 200 {
			t.Fatalf("%d of 200 requests before the stop: the test shows nothing", n)
		}
		held := 0
		for _, a := range all {
			if a = h.action(a); a.State == action.Held {
				held++
				if !strings.Contains(a.Reason, "global stop is on: drill (owner)") {
					t.Fatalf("reason = %q", a.Reason)
				}
			}
		}
		if held != 200-len(h.dir.sent) {
			t.Errorf("%d held, want %d", held, 200-len(h.dir.sent))
		}
		h.stop(false)
		off := time.Now()
		for _, a := range all {
			h.settle(a, action.Verified)
		}
		if d := time.Since(off); d > 20*time.Second {
			t.Errorf("going on took %v", d)
		}
		// Held is said once, not once for each time it was asked.
		said := 0
		for _, e := range h.store.Trail() {
			if e.Kind == audit.ActionHeld {
				said++
			}
		}
		if said != held {
			t.Errorf("%d audit entries for %d holds", said, held)
		}
		h.end()
	})
}

func TestProtectedIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.settings.Policy.List = []identity.Protected{{Match: "user-0001", Reason: "break-glass"}}
		a, undo := h.ask(person(1), disable), h.ask(person(1), enable, func(a *action.Action) { a.UndoOf = "act_x" })
		h.start()
		for _, a := range []action.Action{a, undo} {
			a = h.settle(a, action.RefusedState)
			if !strings.Contains(a.Reason, "protected: on the protected list: break-glass") {
				t.Errorf("%s: reason = %q", a.Name, a.Reason)
			}
		}
		if len(h.dir.sent) != 0 {
			t.Error("a request left")
		}
		h.end()
	})
}

// Who is tagged protected by hand is not changed by the next request, also not by one
// that was approved before.
func TestTaggedByHandIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.stop(true)
		i := person(1)
		a := h.ask(i, disable)
		h.start()
		a = h.settle(a, action.Held)
		h.update(func(tx dispatch.Tx) error {
			got, err := tx.Identity(tenant, i.ID)
			if err == nil {
				if got, err = got.WithTag("Protected", "ann", "the board", time.Now()); err == nil {
					_, err = tx.PutIdentity(got)
				}
			}
			return err
		})
		h.stop(false)
		if a = h.settle(a, action.RefusedState); !strings.Contains(a.Reason, "protected: tagged protected by ann: the board") || len(h.dir.sent) != 0 {
			t.Errorf("reason %q, %d requests left", a.Reason, len(h.dir.sent))
		}
		h.end()
	})
}

// The last two of a protected group, each known as the last but one, are asked about at
// once, by one campaign or by two runs of two playbooks: one of them stays, whichever
// of their accounts the group is about.
func TestTheLastTwoDoNotBothGo(t *testing.T) {
	t.Parallel()
	const admin, domainAdmin = "the last usable Global Administrator", "the last member of Domain Admins that can sign in"
	campaigned := func(n int, a *action.Action) *run.Consent {
		a.Campaign, a.Place = "cmp_1", n
		return &run.Consent{Campaign: "cmp_1", Place: n, PlanHash: a.PlanHash}
	}
	apart := func(n int, a *action.Action) *run.Consent {
		a.Playbook, a.Name = fmt.Sprint("pb", n), []action.Name{disable, reset}[n%2]
		return nil
	}
	ref := func(n int) identity.Ref {
		return identity.Ref{Provider: identity.ActiveDirectory, SID: fmt.Sprintf("S-1-5-21-1-2-3-%d", 2000+n)}
	}
	cloud := func(n int, i *identity.Identity) { i.Accounts[0].ObjectID = fmt.Sprint("ga-", n) }
	synced := func(n int, i *identity.Identity) {
		cloud(n, i)
		i.Accounts = append(i.Accounts, i.Accounts[0])
		i.Accounts[0].Ref = ref(n)
	}
	onPremises := func(n int, i *identity.Identity) {
		i.Accounts[0].Ref = ref(n)
		i.Accounts[0].Facts.OnPremises = &identity.OnPremises{Class: identity.ClassUser, Peers: map[string][]string{"Domain Admins": {ref(3 - n).SID}}}
	}
	for name, c := range map[string]struct {
		who  func(int, *identity.Identity)
		with func(int, *action.Action) *run.Consent
		last string
	}{
		"Global Administrators, one campaign":              {cloud, campaigned, admin},
		"Global Administrators, two runs":                  {cloud, apart, admin},
		"Global Administrators by their synchronised half": {synced, apart, admin},
		"Domain Admins, one campaign":                      {onPremises, campaigned, domainAdmin},
		"Domain Admins, two runs":                          {onPremises, apart, domainAdmin},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.store.PutCampaign(campaign.Campaign{Tenant: tenant, ID: "cmp_1", Hash: "root", Released: 9, State: campaign.Rolling,
					Approval: approval.Request{PlanHash: "root", State: approval.Approved}})
				var all []action.Action
				for n := 1; n <= 2; n++ {
					i := person(n)
					c.who(n, &i)
					var consent *run.Consent
					a := h.ask(i, disable, func(a *action.Action) { a.Lane, consent = action.LanePrivileged, c.with(n, a) })
					h.store.PutRun(run.Run{Tenant: tenant, ID: run.ID(a.Run), Identity: i.ID, State: run.Acting, Consent: consent,
						Plan: &playbook.Plan{Hash: "h1", Mode: playbook.Enforce}})
					all = append(all, a)
				}
				h.start()
				<-time.After(time.Minute)
				refused := 0
				for n, a := range all {
					if all[n] = h.action(a); all[n].State == action.RefusedState && strings.Contains(all[n].Reason, c.last) {
						refused++
					}
				}
				if len(h.dir.writes) != 1 || refused != 1 {
					t.Errorf("%d were changed and %d refused, want one of each: %s %s; %s %s", len(h.dir.writes), refused,
						all[0].State, all[0].Reason, all[1].State, all[1].Reason)
				}
				h.end()
			})
		})
	}
}

// Of the last two one was disabled by somebody else since the group was read, and
// Cordon has seen it: the other one is the last.
func TestWhoIsKnownToBeDisabledIsNoOther(t *testing.T) {
	t.Parallel()
	const sid = "S-1-5-21-1-2-3-200"
	for name, onPremises := range map[string]bool{"a Global Administrator": false, "a Domain Admin": true} {
		for seen, refused := range map[time.Duration]bool{-time.Minute: false, time.Minute: true} {
			t.Run(fmt.Sprint(name, " ", seen), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					h := newHouse(t)
					<-time.After(2 * time.Minute)
					one, other := person(1), person(2)
					for n, i := range []*identity.Identity{&one, &other} {
						f := &i.Accounts[0].Facts
						f.RolesAsOf = f.RolesAsOf.Add(-2 * time.Minute)
						if i.Accounts[0].ObjectID = fmt.Sprint("ga-", n+1); onPremises {
							i.Accounts[0].Ref = identity.Ref{Provider: identity.ActiveDirectory, SID: fmt.Sprint(sid, n+1)}
							f.OnPremises = &identity.OnPremises{Class: identity.ClassUser, Peers: map[string][]string{"Domain Admins": {fmt.Sprint(sid, 2-n)}}}
						}
					}
					off := false
					other.Accounts[0].Facts.Enabled, other.Accounts[0].Facts.AsOf = &off, one.Accounts[0].Facts.RolesAsOf.Add(seen)
					h.update(func(tx dispatch.Tx) error { _, err := tx.PutIdentity(other); return err })
					a := h.ask(one, disable)
					h.start()
					<-time.After(time.Minute)
					if a = h.action(a); (a.State == action.RefusedState && strings.Contains(a.Reason, "last")) != refused || len(h.dir.writes) > 0 == refused {
						t.Errorf("%s (%s), %d changes; want it refused: %v", a.State, a.Reason, len(h.dir.writes), refused)
					}
					h.end()
				})
			})
		}
	}
}

// A Global Administrator who was disabled is not the last usable one: giving access back
// is not kept from them while another one is usable.
func TestWhoCannotSignInIsNotTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		admin := []identity.Role{{TemplateID: identity.GlobalAdministrator, Name: "Global Administrator", Active: true}}
		h.store.PutDirectory(tenant, connector.DirectoryFacts{
			AsOf: time.Now(), UsableGlobalAdmins: []string{"ga-2"}, Holders: map[string][]identity.Role{"ga-1": admin, "ga-2": admin},
		})
		var all []action.Action
		for n := 1; n <= 2; n++ {
			i := person(n)
			i.Accounts[0].ObjectID = fmt.Sprint("ga-", n)
			all = append(all, h.ask(i, map[int]action.Name{1: confirm, 2: disable}[n]))
		}
		h.start()
		<-time.After(time.Minute)
		if a := h.action(all[0]); a.State != action.Verified {
			t.Errorf("who cannot sign in: %s (%s)", a.State, a.Reason)
		}
		if a := h.action(all[1]); a.State != action.RefusedState {
			t.Errorf("the last: %s (%s)", a.State, a.Reason)
		}
		h.end()
	})
}

// A reading may come from where a change of the last quarter of an hour is not seen
// yet: whom we changed since then counts as gone though the reading has them. What is
// older the reading shows, and somebody may have taken it back.
func TestAReadingIsNotBelievedAboutTheLastQuarterOfAnHour(t *testing.T) {
	t.Parallel()
	ref := func(n int) identity.Ref {
		return identity.Ref{Provider: identity.ActiveDirectory, SID: fmt.Sprintf("S-1-5-21-1-2-3-%d", 2000+n)}
	}
	for name, who := range map[string]func(int, *identity.Identity){
		"Global Administrators": func(n int, i *identity.Identity) { i.Accounts[0].ObjectID = fmt.Sprint("ga-", n) },
		"Domain Admins": func(n int, i *identity.Identity) {
			i.Accounts[0].Ref = ref(n)
			i.Accounts[0].Facts.OnPremises = &identity.OnPremises{Class: identity.ClassUser, Peers: map[string][]string{"Domain Admins": {ref(3 - n).SID}}}
		},
	} {
		for ago, want := range map[time.Duration]action.State{14 * time.Minute: action.RefusedState, 16 * time.Minute: action.Verified} {
			t.Run(fmt.Sprint(name, " ", ago), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					h := newHouse(t)
					one := person(1)
					who(1, &one)
					a := h.ask(one, disable)
					h.start()
					began := time.Now()
					h.settle(a, action.Verified)
					<-time.After(ago - time.Since(began))
					other := person(2) // read now, as the directory is: both can sign in
					who(2, &other)
					admin := []identity.Role{{TemplateID: identity.GlobalAdministrator, Name: "Global Administrator", Active: true}}
					h.store.PutDirectory(tenant, connector.DirectoryFacts{
						AsOf: time.Now(), UsableGlobalAdmins: []string{"ga-1", "ga-2"}, Holders: map[string][]identity.Role{"ga-1": admin, "ga-2": admin},
					})
					if b := h.settle(h.ask(other, disable), action.Verified, action.RefusedState); b.State != want {
						t.Errorf("the other was changed %v ago: %s (%s), want %s", ago, b.State, b.Reason, want)
					}
					h.end()
				})
			})
		}
	}
}

// The blast radius is exact to the identity, however many intents share a
// transaction: as many as the limit, and whoever was reached stays within reach.
func TestBlastRadius(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]dispatch.Limits{
		"tenant":   {AccountsPerHour: 25, AccountsPerMinute: 1000, PlaybookAccountsPerHour: 1000, GlobalAccountsPerHour: 1000},
		"playbook": {AccountsPerHour: 1000, AccountsPerMinute: 1000, PlaybookAccountsPerHour: 25, GlobalAccountsPerHour: 1000},
		"global":   {AccountsPerHour: 1000, AccountsPerMinute: 1000, PlaybookAccountsPerHour: 1000, GlobalAccountsPerHour: 25},
		"minute":   {AccountsPerHour: 1000, AccountsPerMinute: 25, PlaybookAccountsPerHour: 1000, GlobalAccountsPerHour: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.settings.Limits = limits
				var again []action.Action
				for n := range 60 {
					h.ask(person(n), disable)
				}
				h.start()
				<-time.After(30 * time.Second)
				reached := map[string]bool{}
				for _, w := range h.dir.writes {
					reached[w.account] = true
				}
				if len(reached) != 25 {
					t.Fatalf("%d accounts were disrupted, the limit is 25", len(reached))
				}
				for n := range 60 { // a second step for everybody
					again = append(again, h.ask(person(n), reset))
				}
				<-time.After(20 * time.Second)
				for _, a := range again {
					a = h.action(a)
					if in := reached[a.Account.ObjectID]; in != (a.State == action.Verified) || !in && a.State != action.Held {
						t.Errorf("%s, reached before: %v: %s (%s)", a.Account.ObjectID, in, a.State, a.Reason)
					}
				}
				if name == "minute" {
					<-time.After(2 * time.Minute)
					if n := len(h.dir.writes); n <= 50 {
						t.Errorf("%d writes when the minute had passed: what was held goes on by itself", n)
					}
				}
				h.end()
			})
		})
	}
}

func TestUndoRevertsTheOriginal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		a := h.ask(person(1), disable)
		p := h.start()
		a = h.settle(a, action.Verified)
		u := h.ask(person(1), enable, func(u *action.Action) { u.UndoOf, u.Lane = a.ID, action.LaneUndo })
		p.d.Nudge()
		u = h.settle(u, action.Verified)
		if a = h.action(a); a.State != action.Reverted || a.UndoneBy != u.ID {
			t.Errorf("the original is %s, undone by %q", a.State, a.UndoneBy)
		}
		h.end()
	})
}

// A thousand confirmations go out in lists of 60, one a second.
func TestFeedbackIsBatchedAndPaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var all []action.Action
		for n := range 1000 {
			all = append(all, h.ask(person(n), confirm))
		}
		began := time.Now()
		h.start()
		for _, a := range all {
			h.settle(a, action.Verified)
		}
		requests := map[string]time.Time{}
		for _, w := range h.dir.sent {
			requests[w.request] = w.sent
		}
		if len(requests) != 17 {
			t.Errorf("%d requests for 1000 people, want 17", len(requests))
		}
		total := len(requests) + h.dir.looks + h.dir.reads
		if d := time.Since(began); d < time.Duration(total-2)*time.Second {
			t.Errorf("%d requests in %v: faster than one a second", total, d)
		}
		if d := h.dir.sent[len(h.dir.sent)-1].sent.Sub(began); d > time.Minute {
			t.Errorf("the last confirmation left after %v", d)
		}
		h.end()
	})
}

func TestThrottledWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		n := 0
		h.dir.mishap = func(write) mishap {
			if n++; n <= 3 {
				return throttle
			}
			return fine
		}
		a := h.ask(person(1), disable)
		h.start()
		a = h.settle(a, action.Verified)
		if a.Attempt != 4 {
			t.Errorf("attempt %d, want 4", a.Attempt)
		}
		for n := range 3 {
			if gap := h.dir.sent[n+1].sent.Sub(h.dir.sent[n].sent); gap < 2*time.Second<<n {
				t.Errorf("wait %d was %v: refused requests count, so it must grow", n, gap)
			}
		}
		h.end()
	})
}

// A reset that was put off did nothing: it may go again, with a new secret.
func TestPutOffResetGoesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		n := 0
		h.dir.mishap = func(write) mishap {
			if n++; n == 1 {
				return busy
			}
			return fine
		}
		a := h.ask(person(1), reset)
		h.start()
		h.settle(a, action.Verified)
		if len(h.dir.writes) != 1 || len(h.dir.sent) != 2 {
			t.Errorf("%d effects, %d requests", len(h.dir.writes), len(h.dir.sent))
		}
		h.end()
	})
}

// A standby takes over when the owner goes silent, and reads before it repeats.
func TestTakeover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		a := h.ask(person(1), reset)
		first := h.start(func(p *process) { p.crashAt = 3 }) // after the intent, before the request
		<-first.died
		h.start()
		a = h.settle(a, action.Unconfirmed)
		if !a.Person || len(h.dir.sent) != 0 {
			t.Errorf("person %v, %d requests: a reset that may have left must not be sent by anybody else", a.Person, len(h.dir.sent))
		}
		h.end()
	})
}

// An owner that stood still after its intent does not send when it wakes up.
func TestFrozenOwnerDoesNotSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		a := h.ask(person(1), disable)
		h.start(func(p *process) { p.freezeAt, p.frozen = 2, time.Minute }) // the intent has just committed
		<-time.After(time.Second)
		h.start()
		a = h.settle(a, action.Verified)
		if a.Fence != 2 || len(h.dir.sent) != 1 {
			t.Errorf("fence %d, %d requests; want the second owner's and 1", a.Fence, len(h.dir.sent))
		}
		<-time.After(2 * time.Minute)
		if len(h.dir.sent) != 1 {
			t.Errorf("the frozen owner sent when it woke up: %d requests", len(h.dir.sent))
		}
		h.end()
	})
}

// What an old owner says late of its attempt does not touch the attempt of the
// new one.
func TestLateOutcomeOfAnOldOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.mishap = func(write) mishap { return hang }
		a := h.ask(person(1), disable)
		h.start(func(p *process) { p.freezeAt, p.frozen = 2, 15*time.Second })
		<-time.After(time.Second)
		h.start()
		<-time.After(15 * time.Second) // the first woke up while the second's request was under way
		if a = h.action(a); a.State != action.Running || a.Attempt != 2 || a.Fence != 2 {
			t.Errorf("%s, attempt %d, fence %d; want the second owner's request under way", a.State, a.Attempt, a.Fence)
		}
		late := 0
		for _, e := range h.store.Trail() {
			if e.Kind == audit.ActionOutcome && e.Data["late"] == true {
				late++
			}
		}
		if late != 1 {
			t.Errorf("%d late answers in the trail, want 1", late)
		}
		h.settle(a, action.Verified)
		h.end()
	})
}

// An old owner that was slow, not dead, says that it did not send: the new owner,
// which was waiting for that outcome, goes on.
func TestOutcomeWrittenBehindOurBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		began := time.Now()
		h.dir.unread = func() bool { d := time.Since(began); return 5*time.Second < d && d < 20*time.Second }
		a := h.ask(person(1), disable)
		h.start(func(p *process) { p.freezeAt, p.frozen = 2, 15*time.Second })
		<-time.After(time.Second)
		h.start()
		a = h.settle(a, action.Verified)
		if d := a.VerifiedAt.Sub(began); d > 30*time.Second {
			t.Errorf("it took %v", d)
		}
		h.end()
	})
}

// One target that the directory never takes does not hold up the others of its
// list: what was put off again and again goes alone.
func TestBadTargetGoesAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var bad action.ID
		h.dir.mishap = func(w write) mishap {
			if w.action == bad {
				return busy
			}
			return fine
		}
		var all []action.Action
		for n := range 5 {
			all = append(all, h.ask(person(n), confirm))
		}
		bad = all[0].ID // the first of each list it is in
		h.start()
		for _, a := range all[1:] {
			h.settle(a, action.Verified)
		}
		if a := h.action(all[0]); a.State.Final() {
			t.Errorf("the bad one is %s", a.State)
		}
		h.end()
	})
}

func TestPrivilegedGoFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.opts.Concurrency = 1
		for n := range 20 {
			lane := action.LaneLow
			if n >= 15 {
				lane = action.LanePrivileged
			}
			h.ask(person(n), disable, func(a *action.Action) { a.Lane = lane })
		}
		h.start()
		<-time.After(time.Minute)
		for n, w := range h.dir.sent[:5] {
			if w.account < "user-0015" {
				t.Errorf("request %d was for %s", n, w.account)
			}
		}
		h.end()
	})
}

func TestShutdownFinishesWhatLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.latency = 2 * time.Second
		a, later := h.ask(person(1), disable), h.ask(person(2), disable, func(a *action.Action) { a.NextAt = time.Now().Add(3 * time.Second) })
		h.start()
		<-time.After(time.Second)
		h.end()
		if a = h.action(a); a.State != action.AcceptedState {
			t.Errorf("what had left is %s, want accepted", a.State)
		}
		if later = h.action(later); later.State != action.Approved {
			t.Errorf("what had not left is %s", later.State)
		}
		// The lease was given up: a successor need not wait for it to run out.
		began := time.Now()
		h.dir.latency = 0
		h.start()
		h.settle(a, action.Verified)
		if d := time.Since(began); d > time.Second {
			t.Errorf("the successor took %v", d)
		}
		h.end()
	})
}

func kinds(h *house, a action.Action) []audit.Kind {
	var out []audit.Kind
	for _, e := range h.store.Trail() {
		if e.Action == string(a.ID) {
			out = append(out, e.Kind)
		}
	}
	return out
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for n := range a {
		if a[n] != b[n] {
			return false
		}
	}
	return true
}
