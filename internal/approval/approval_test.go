package approval_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

var epoch = time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)

func request() approval.Request {
	return approval.Request{
		Tenant: "tenant", ID: "apr_1", Run: "run_1", Identity: "idn_subject", PlanHash: "hash", Steps: []string{"s"},
		Rule:    approval.Rule{Mode: approval.Before, From: []string{"soc", "lead"}, Quorum: 1, Expires: time.Hour},
		AskedBy: access.ByOperator("asker"), AskedAt: epoch, ExpiresAt: epoch.Add(time.Hour), State: approval.Pending,
	}
}

func voter(id access.OperatorID) approval.Voter {
	return approval.Voter{Operator: access.Operator{ID: id, Roles: []access.Role{access.Responder}, Groups: []string{"soc"}}, Identity: "idn_voter"}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	type answer struct {
		voter   approval.Voter
		approve bool
		hash    string
		after   time.Duration
	}
	good := answer{voter: voter("a"), approve: true, hash: "hash"}
	with := func(change func(*answer)) answer { a := good; change(&a); return a }
	ended := func(s approval.State) approval.Request { r := request(); r.State = s; return r }
	tenantBound := with(func(a *answer) { a.voter.Operator.Tenant = "tenant" })
	open := request()
	open.Rule.From = nil
	for name, tc := range map[string]struct {
		r    approval.Request
		a    answer
		kind fault.Kind // "" means it is taken
		text string
		want approval.State
	}{
		"approved":               {request(), good, "", "", approval.Approved},
		"rejected":               {request(), with(func(a *answer) { a.approve = false }), "", "", approval.Rejected},
		"in the last moment":     {request(), with(func(a *answer) { a.after = time.Hour - 1 }), "", "", approval.Approved},
		"of this tenant only":    {request(), tenantBound, "", "", approval.Approved},
		"no group is asked":      {open, with(func(a *answer) { a.voter.Operator.Groups = nil }), "", "", approval.Approved},
		"own identity not known": {request(), with(func(a *answer) { a.voter.Identity = "" }), "", "", approval.Approved},
		"the subject":            {request(), with(func(a *answer) { a.voter.Identity = "idn_subject" }), fault.Denied, "subject of the plan", approval.Pending},
		"the subject, rejecting": {request(), with(func(a *answer) { a.voter.Identity = "idn_subject"; a.approve = false }), fault.Denied, "subject of the plan", approval.Pending},
		"the requester":          {request(), with(func(a *answer) { a.voter.Operator.ID = "asker" }), fault.Denied, "asked for it", approval.Pending},
		"at risk":                {request(), with(func(a *answer) { a.voter.AtRisk = "level high" }), fault.Denied, "level high", approval.Pending},
		"in another group":       {request(), with(func(a *answer) { a.voter.Operator.Groups = []string{"helpdesk"} }), fault.Denied, "soc, lead", approval.Pending},
		"without the role":       {request(), with(func(a *answer) { a.voter.Operator.Roles = []access.Role{access.Analyst} }), fault.Denied, "responder", approval.Pending},
		"of another tenant":      {request(), with(func(a *answer) { a.voter.Operator.Tenant = "another" }), fault.NotFound, "no approval", approval.Pending},
		"too late":               {request(), with(func(a *answer) { a.after = time.Hour }), fault.Conflict, "expired", approval.Pending},
		"of another plan":        {request(), with(func(a *answer) { a.hash = "another" }), fault.Conflict, "plan changed", approval.Pending},
		"of no plan":             {request(), with(func(a *answer) { a.hash = "" }), fault.Conflict, "plan changed", approval.Pending},
		"already approved":       {ended(approval.Approved), good, fault.Conflict, "already approved", approval.Approved},
		"already rejected":       {ended(approval.Rejected), good, fault.Conflict, "already rejected", approval.Rejected},
		"already expired":        {ended(approval.Expired), good, fault.Conflict, "already expired", approval.Expired},
		"void":                   {ended(approval.Void), good, fault.Conflict, "already void", approval.Void},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.r.Decide(tc.a.voter, tc.a.approve, "because", tc.a.hash, epoch.Add(tc.a.after))
			if fault.KindOf(err) != tc.kind || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("err %v, want %q %q", err, tc.kind, tc.text)
			}
			if got.State != tc.want {
				t.Errorf("%s, want %s", got.State, tc.want)
			}
			if err != nil && cmp.Diff(tc.r, got) != "" {
				t.Error("a refused answer changed the request")
			}
		})
	}
}

func TestQuorum(t *testing.T) {
	t.Parallel()
	r := request()
	r.Rule.Quorum = 2
	r, err := r.Decide(voter("a"), true, "", "hash", epoch)
	if err != nil || r.State != approval.Pending {
		t.Fatalf("%s, %v", r.State, err)
	}
	if again, err := r.Decide(voter("a"), true, "", "hash", epoch); err != nil || cmp.Diff(r, again) != "" {
		t.Errorf("the same vote twice: %v", err)
	}
	if _, err := r.Decide(voter("a"), false, "", "hash", epoch); !errors.Is(err, fault.Conflict) {
		t.Errorf("a changed mind: %v", err)
	}
	if no, err := r.Decide(voter("b"), false, "too much", "hash", epoch); err != nil || no.State != approval.Rejected || !strings.Contains(no.Reason, "rejected by b: too much") {
		t.Errorf("one rejection ends it: %s %q, %v", no.State, no.Reason, err)
	}
	if r, err = r.Decide(voter("b"), true, "", "hash", epoch); err != nil || r.State != approval.Approved || !r.EndedAt.Equal(epoch) {
		t.Errorf("the second: %s, %v", r.State, err)
	}
}

func TestTickAndWithdraw(t *testing.T) {
	t.Parallel()
	r := request()
	if got := r.Tick(epoch.Add(time.Hour - 1)); cmp.Diff(r, got) != "" {
		t.Error("it ran out early")
	}
	if got := r.Tick(epoch.Add(time.Hour)); got.State != approval.Expired || got.Reason == "" || got.EndedAt.IsZero() {
		t.Errorf("%+v", got)
	}
	if got := r.Withdraw("the plan changed", epoch); got.State != approval.Void || got.Reason != "the plan changed" {
		t.Errorf("%+v", got)
	}
	for _, s := range []approval.State{approval.Approved, approval.Rejected, approval.Expired, approval.Void} {
		r.State = s
		if got := r.Withdraw("x", epoch).Tick(epoch.Add(2 * time.Hour)); cmp.Diff(r, got) != "" {
			t.Errorf("%s moved to %s", s, got.State)
		}
	}
}

// Whatever is answered by whomever and whenever: an end is final, approval needs
// the quorum of different operators who are neither subject nor requester nor at
// risk, and nothing is approved after its time.
func TestApprovalWalks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		r, now := request(), epoch
		r.Rule.Quorum = rapid.IntRange(0, 3).Draw(rt, "quorum")
		for range rapid.IntRange(0, 20).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 10).Draw(rt, "minutes")) * time.Minute)
			before := r
			before.Decisions = slices.Clone(r.Decisions)
			var next approval.Request
			var err error
			switch rapid.IntRange(0, 9).Draw(rt, "event") {
			case 0:
				next = r.Tick(now)
			case 1:
				next = r.Withdraw("the run ended", now)
			default:
				v := voter(access.OperatorID(fmt.Sprint("o", rapid.IntRange(0, 4).Draw(rt, "operator"))))
				switch rapid.IntRange(0, 5).Draw(rt, "flaw") {
				case 0:
					v.Identity = r.Identity
				case 1:
					v.AtRisk = "level high"
				case 2:
					v.Operator.ID = "asker"
				}
				hash := rapid.SampledFrom([]string{"hash", "hash", "hash", "another"}).Draw(rt, "hash")
				next, err = r.Decide(v, rapid.IntRange(0, 4).Draw(rt, "approve") > 0, "because", hash, now)
				flawed := v.Identity == r.Identity || v.AtRisk != "" || v.Operator.ID == "asker" || hash != "hash"
				if flawed && err == nil {
					rt.Fatalf("a flawed answer was taken: %+v", v)
				}
				if err == nil && !now.Before(r.ExpiresAt) {
					rt.Fatal("an answer was taken after its time")
				}
			}
			if !reflect.DeepEqual(before, r) {
				rt.Fatal("the request given was changed")
			}
			if err != nil && !reflect.DeepEqual(before, next) {
				rt.Fatalf("a refused answer changed the request: %v", err)
			}
			if r.State != approval.Pending && !reflect.DeepEqual(before, next) {
				rt.Fatalf("%s changed after its end", r.State)
			}
			if next.State != approval.Pending && next.EndedAt.IsZero() {
				rt.Fatalf("%s without an end", next.State)
			}
			if next.State == approval.Approved {
				by := map[access.OperatorID]bool{}
				for _, d := range next.Decisions {
					by[d.By] = d.Approve
				}
				if len(by) < max(1, r.Rule.Quorum) || slices.ContainsFunc(next.Decisions, func(d approval.Decision) bool { return !d.Approve }) {
					rt.Fatalf("approved by %v of %d", by, r.Rule.Quorum)
				}
			}
			r = next
		}
	})
}
