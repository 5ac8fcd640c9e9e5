package desk_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// waiting is a scene with one identity whose run waits for an approval.
func waiting(t *testing.T) (*desktest.Scene, run.ID, approval.Request) {
	t.Helper()
	s := desktest.Empty()
	i := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
	c := s.AddAtRisk(i, s.Leaked("d1", time.Hour), s.Travel("d2", 2*time.Hour))
	r := s.Begin("leaked-credentials", i.ID, c)
	asked, err := s.Desk.Approvals(t.Context(), s.Operator("responder"), desk.ApprovalFilter{Run: r}, desk.Page{})
	if err != nil || len(asked.Items) != 1 {
		t.Fatalf("approvals of the run: %v, %v; want one", asked.Items, err)
	}
	return s, r, asked.Items[0]
}

func TestApproveStartsTheStepAndIsInTheTrail(t *testing.T) {
	t.Parallel()
	s, r, q := waiting(t)
	op := s.Operator("responder")
	before, nudged := len(s.Store.Entries()), s.Nudged()
	v, err := s.Desk.ApprovalView(t.Context(), op, q.ID)
	if err != nil || !v.CanAnswer || len(v.Steps) != 1 {
		t.Fatalf("view before: %+v, %v; want one step and an answer possible", v, err)
	}
	if v, err = s.Desk.Approve(t.Context(), op, q.ID, v.Request.PlanHash, "seen"); err != nil {
		t.Fatal(err)
	}
	if v.Request.State != approval.Approved || v.CanAnswer {
		t.Errorf("after: %s, can answer %t; want approved and no further answer", v.Request.State, v.CanAnswer)
	}
	s.Prove(r, "") // the step before it comes first
	rv, err := s.Desk.RunView(t.Context(), op, r)
	if err != nil || rv.Steps[1].Doing == nil || rv.Steps[1].Doing.State != action.Approved {
		t.Errorf("the step after its approval: %+v, %v; want its action approved", rv.Steps, err)
	}
	given := entries(s, audit.ApprovalGiven)
	if len(given) != 1 || given[0].Actor != access.ByOperator("responder") || given[0].Data["planHash"] != q.PlanHash {
		t.Errorf("trail: %+v; want one approval by the responder with the plan's hash", given)
	}
	if len(s.Store.Entries()) == before || s.Nudged() == nudged {
		t.Error("nothing in the trail, or dispatch was not woken")
	}
	count := len(s.Store.Entries())
	if _, err := s.Desk.Approve(t.Context(), op, q.ID, q.PlanHash, ""); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second answer: %v; want fault.Conflict", err)
	}
	if got := len(s.Store.Entries()); got != count {
		t.Errorf("the refused answer left %d entries", got-count)
	}
}

func entries(s *desktest.Scene, k audit.Kind) []audit.Entry {
	return slices.DeleteFunc(s.Store.Entries(), func(e audit.Entry) bool { return e.Kind != k })
}

func TestWhoMayNotAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, op string
		hash     string // "" means the right one
		reject   bool
		reason   string
		want     fault.Kind
		text     string
	}{
		{name: "an analyst", op: "analyst", want: fault.Denied, text: "responder"},
		{name: "an auditor", op: "auditor", want: fault.Denied, text: "may not approve"},
		{name: "the subject", op: "subject", want: fault.Denied, text: "subject of the plan"},
		{name: "somebody at risk", op: "at-risk", want: fault.Denied, text: "at risk"},
		{name: "another tenant's owner", op: "elsewhere", want: fault.NotFound},
		{name: "another plan", op: "responder", hash: "0000", want: fault.Conflict, text: "look at it again"},
		{name: "a rejection without a reason", op: "responder", reject: true, reason: "  ", want: fault.Invalid, text: "reason"},
		{name: "an endless reason", op: "responder", reject: true, reason: strings.Repeat("x", 2001), want: fault.Invalid, text: "2001"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _, q := waiting(t)
			other := desktest.Person(2, "Robin Lake", "robin.lake@corp.example", s.Now())
			s.AddAtRisk(other, s.Travel("d9", time.Hour))
			count := len(s.Store.Entries())
			hash := q.PlanHash
			if tt.hash != "" {
				hash = tt.hash
			}
			answer := s.Desk.Approve
			if tt.reject {
				answer = s.Desk.Reject
			}
			_, err := answer(t.Context(), s.Operator(access.OperatorID(tt.op)), q.ID, hash, tt.reason)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v; want %q with %q", err, tt.want, tt.text)
			}
			if got, _ := s.Store.Approval(t.Context(), "", q.ID); got.State != approval.Pending || len(got.Decisions) != 0 {
				t.Errorf("the request changed to %+v", got)
			}
			if len(s.Store.Entries()) != count {
				t.Error("a refused answer is in the trail as one")
			}
		})
	}
}

func TestRejectEndsTheRun(t *testing.T) {
	t.Parallel()
	s, r, q := waiting(t)
	if _, err := s.Desk.Reject(t.Context(), s.Operator("responder"), q.ID, q.PlanHash, "known travel"); err != nil {
		t.Fatal(err)
	}
	s.Prove(r, "")
	v, err := s.Desk.RunView(t.Context(), s.Operator("auditor"), r)
	if err != nil || !v.Run.State.Final() || v.Run.State == run.Contained {
		t.Fatalf("run after the rejection: %s, %v; want it ended, not contained", v.Run.State, err)
	}
	if e := entries(s, audit.ApprovalRejected); len(e) != 1 || !strings.Contains(e[0].Text, "known travel") {
		t.Errorf("trail: %+v; want the rejection with its reason", e)
	}
}

func TestNothingIsHalfWritten(t *testing.T) {
	t.Parallel()
	s, _, q := waiting(t)
	count := len(s.Store.Entries())
	s.Store.Fail(fault.Errorf(fault.Unavailable, "disk full"))
	if _, err := s.Desk.Approve(t.Context(), s.Operator("responder"), q.ID, q.PlanHash, ""); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("got %v; want what the store said", err)
	}
	got, _ := s.Store.Approval(t.Context(), "", q.ID)
	if got.State != approval.Pending || len(s.Store.Entries()) != count {
		t.Error("something was written although the commit failed")
	}
}

func TestUndoTakesBackWhatIsVerified(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	i := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
	c := s.AddAtRisk(i, s.Travel("d1", time.Hour))
	r := s.Begin("token-theft", i.ID, c)
	op := s.Operator("responder")
	if _, err := s.Desk.Undo(t.Context(), op, string(r), "wrong person"); !errors.Is(err, fault.Conflict) {
		t.Fatalf("undo before anything is verified: %v; want fault.Conflict", err)
	}
	s.Prove(r, "")
	v, err := s.Desk.RunView(t.Context(), op, r)
	if err != nil || v.Run.State != run.Contained || !v.CanUndo || v.Run.Verified != 1 {
		t.Fatalf("run: %+v, %v; want it contained and undoable", v.Run, err)
	}
	for name, bad := range map[string]struct {
		op     string
		id     string
		reason string
		want   fault.Kind
	}{
		"an analyst":       {"analyst", string(r), "x", fault.Denied},
		"without a reason": {"responder", string(r), "", fault.Invalid},
		"no such thing":    {"responder", "act_none", "x", fault.NotFound},
		"another tenant's": {"elsewhere", string(r), "x", fault.NotFound},
	} {
		if _, err := s.Desk.Undo(t.Context(), s.Operator(access.OperatorID(bad.op)), bad.id, bad.reason); !errors.Is(err, bad.want) {
			t.Errorf("%s: %v; want %q", name, err, bad.want)
		}
	}
	act := v.Steps[0].Doing.ID
	back, err := s.Desk.Undo(t.Context(), op, string(act), "wrong person")
	if err != nil {
		t.Fatal(err)
	}
	s.Prove(back.Run.ID, "")
	a, err := s.Desk.ActionView(t.Context(), op, act)
	if err != nil || a.State != action.Reverted || a.CanUndo {
		t.Errorf("the original: %s (%s), can undo %t, %v; want reverted", a.State, a.Reason, a.CanUndo, err)
	}
	if e := entries(s, audit.UndoAsked); len(e) != 1 || !strings.Contains(e[0].Text, "wrong person") {
		t.Errorf("trail: %+v; want who asked for the undo and why", e)
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	hold := func(op string, tenant identity.Tenant, on bool) (bool, error) {
		f, err := s.Desk.Hold(t.Context(), s.Operator(access.OperatorID(op)), tenant, on, "drill")
		return f.On, err
	}
	if _, err := hold("auditor", "", true); !errors.Is(err, fault.Denied) {
		t.Errorf("an auditor stopped writes: %v", err)
	}
	if on, err := hold("analyst", "", true); err != nil || !on || s.Store.Braked() != 1 {
		t.Fatalf("an analyst stops writes: %t, %v, before all others %d times", on, err, s.Store.Braked())
	}
	if _, err := hold("responder", "", false); !errors.Is(err, fault.Denied) {
		t.Errorf("a responder let writes go on: %v; it takes an owner", err)
	}
	if on, err := hold("elsewhere", "", false); err != nil || !on {
		t.Errorf("a tenant's owner: stop in force %t, %v; want it still on, it is not theirs", on, err)
	}
	if _, err := hold("elsewhere", desktest.Tenant, true); !errors.Is(err, fault.NotFound) {
		t.Errorf("a tenant's owner on another tenant: %v; want fault.NotFound", err)
	}
	if on, err := hold("owner", "", false); err != nil || on {
		t.Errorf("the owner lets writes go on: %t, %v", on, err)
	}
	count := len(s.Store.Entries())
	if _, err := hold("owner", "", false); err != nil || len(s.Store.Entries()) != count {
		t.Errorf("switching to what it is: %v, %d entries more", err, len(s.Store.Entries())-count)
	}
	if len(entries(s, audit.StopOn)) != 1 || len(entries(s, audit.StopOff)) == 0 {
		t.Errorf("trail: %v", s.Store.Entries())
	}
}

// A tenant that is stopped while the global stop is on stays stopped when that
// ends: the brake somebody pulled is not lost.
func TestHoldUnderTheGlobalStopOutlivesIt(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	hold := func(tenant identity.Tenant, on bool) bool {
		f, err := s.Desk.Hold(t.Context(), s.Operator("owner"), tenant, on, "drill")
		if err != nil {
			t.Fatal(err)
		}
		return f.On
	}
	hold("", true)
	s.Pass(time.Minute)
	if !hold(desktest.Tenant, true) {
		t.Fatal("the tenant is not stopped")
	}
	count := len(s.Store.Entries())
	hold(desktest.Tenant, true)
	if len(s.Store.Entries()) != count {
		t.Error("stopping it again left an entry")
	}
	hold("", false)
	if f, err := s.Desk.Stopped(t.Context(), s.Operator("owner"), desktest.Tenant); err != nil || !f.On {
		t.Errorf("the tenant's own stop is gone with the global one: %+v, %v", f, err)
	}
	if hold(desktest.Tenant, false) {
		t.Error("the tenant cannot be let go")
	}
}

// Who may not answer a request about themselves may not get round it: a verdict
// that withdraws the plan, or an undo of what it did.
func TestTheSubjectNeitherClearsNorUndoesItself(t *testing.T) {
	t.Parallel()
	s, r, q := waiting(t)
	s.AddAtRisk(desktest.Person(2, "Robin Lake", "robin.lake@corp.example", s.Now()), s.Travel("d9", time.Hour))
	for _, who := range []access.OperatorID{"subject", "at-risk"} {
		op := s.Operator(who)
		for _, word := range []casefile.Word{casefile.Safe, casefile.Benign} {
			if _, err := s.Desk.Verdict(t.Context(), op, casefile.ID(q.Case), word, "it is me"); !errors.Is(err, fault.Denied) {
				t.Errorf("%s gave the verdict %s: %v", who, word, err)
			}
		}
		s.Prove(r, "")
		if _, err := s.Desk.Undo(t.Context(), op, string(r), "let me in"); !errors.Is(err, fault.Denied) {
			t.Errorf("%s undid the run: %v", who, err)
		}
	}
	if v, err := s.Desk.RunView(t.Context(), s.Operator("owner"), r); err != nil || v.Run.State == run.Cancelled {
		t.Errorf("the run is %s, %v", v.Run.State, err)
	}
	if _, err := s.Desk.Verdict(t.Context(), s.Operator("second"), casefile.ID(q.Case), casefile.Safe, "it was a drill"); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

func TestVerdictSafeWithdrawsWhatHasNotLeft(t *testing.T) {
	t.Parallel()
	s, r, q := waiting(t)
	c := casefile.ID(q.Case)
	if _, err := s.Desk.Verdict(t.Context(), s.Operator("auditor"), c, casefile.Safe, ""); !errors.Is(err, fault.Denied) {
		t.Errorf("an auditor decided: %v", err)
	}
	if _, err := s.Desk.Verdict(t.Context(), s.Operator("analyst"), c, "fine", ""); !errors.Is(err, fault.Invalid) {
		t.Errorf("a word that is none: %v", err)
	}
	s.Pass(time.Second)
	v, err := s.Desk.Verdict(t.Context(), s.Operator("analyst"), c, casefile.Safe, "known device")
	if err != nil {
		t.Fatal(err)
	}
	if v.Case.Status != casefile.Closed || v.Case.Score != 0 || v.Assessment.Score != 0 || len(v.Waits) != 0 {
		t.Errorf("case %+v, assessment %+v; want closed, score 0, nothing waiting", v.Case, v.Assessment)
	}
	rv, err := s.Desk.RunView(t.Context(), s.Operator("analyst"), r)
	if err != nil || rv.Run.State != run.Cancelled {
		t.Errorf("run: %s, %v; want cancelled", rv.Run.State, err)
	}
	if got, _ := s.Store.Approval(t.Context(), "", q.ID); got.State == approval.Pending {
		t.Error("the approval is still asked for")
	}
	if _, err := s.Desk.Verdict(t.Context(), s.Operator("analyst"), c, casefile.Benign, ""); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second verdict: %v; want fault.Conflict", err)
	}
	if len(entries(s, audit.VerdictGiven)) != 1 {
		t.Error("the verdict is not in the trail once")
	}
}

func TestVerdictCompromisedLetsRunsGoOn(t *testing.T) {
	t.Parallel()
	s, r, q := waiting(t)
	v, err := s.Desk.Verdict(t.Context(), s.Operator("analyst"), casefile.ID(q.Case), casefile.Compromised, "")
	if err != nil || v.Assessment.Level != signal.LevelHigh {
		t.Fatalf("assessment %+v, %v; want high", v.Assessment, err)
	}
	if _, err := s.Desk.Approve(t.Context(), s.Operator("responder"), q.ID, q.PlanHash, ""); err != nil {
		t.Fatalf("the plan cannot be approved any more: %v", err)
	}
	s.Prove(r, "")
	s.Prove(r, "")
	if rv, err := s.Desk.RunView(t.Context(), s.Operator("analyst"), r); err != nil || rv.Run.State != run.Contained {
		t.Errorf("run: %s (%s), %v; want contained", rv.Run.State, rv.Run.Reason, err)
	}
}

func TestPlanWritesNothingAndStartGoesThroughTheSameGuards(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	quiet := desktest.Person(3, "Kim Meadow", "kim.meadow@corp.example", s.Now())
	guarded := desktest.Person(5, "Emergency access", "emergency@corp.example", s.Now())
	s.Store.Seed(quiet, guarded)
	s.Store.SeedRecords(record.Record{Tenant: quiet.Tenant, Source: record.Application, ExternalID: "app-1", Title: "Payroll export", At: s.Now(),
		Others: []record.Party{{Role: "owner", Ref: quiet.Accounts[0].Ref}}})
	op := s.Operator("analyst")
	plan, err := s.Desk.PlanFor(t.Context(), op, "leaked-credentials", quiet.ID)
	if err != nil || len(plan.Steps) != 2 || plan.Plan.Hash == "" {
		t.Fatalf("plan: %+v, %v; want two steps", plan, err)
	}
	st := plan.Steps[1]
	if st.Now != "enabled" || !strings.Contains(st.Undone, "Enable") || st.Breaks == "" || st.Cost == "" || st.Approval == nil {
		t.Errorf("step: now %q, undone %q, breaks %q, cost %q, approval %v", st.Now, st.Undone, st.Breaks, st.Cost, st.Approval)
	}
	if !strings.Contains(st.Breaks, "nobody else owns Payroll export") {
		t.Errorf("what rests on it is not said: %q", st.Breaks)
	}
	if n, _ := s.Store.Pulse(t.Context()); n != 0 {
		t.Errorf("the dry run wrote %d entries", n)
	}
	if _, err := s.Desk.Start(t.Context(), op, "leaked-credentials", quiet.ID, "not that plan", ""); !errors.Is(err, fault.Conflict) {
		t.Errorf("start of a plan that nobody saw: %v", err)
	}
	if _, err := s.Desk.Start(t.Context(), op, "no-such", quiet.ID, "", ""); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "token-theft") {
		t.Errorf("an unheard-of playbook: %v; want fault.NotFound that names those there are", err)
	}
	if n, _ := s.Store.Pulse(t.Context()); n != 0 {
		t.Errorf("what was refused wrote %d entries", n)
	}
	v, err := s.Desk.Start(t.Context(), op, "leaked-credentials", quiet.ID, plan.Plan.Hash, "a caller told us")
	if err != nil || v.Run.Why != "a caller told us" || v.Run.Case == "" {
		t.Fatalf("start: %+v, %v; want a run in a case of its own", v.Run, err)
	}
	if !strings.Contains(v.Steps[1].Breaks, "nobody else owns Payroll export") {
		t.Errorf("what rests on it is not said with the run: %q", v.Steps[1].Breaks)
	}
	if len(entries(s, audit.CaseOpened)) != 1 || len(entries(s, audit.RunStarted)) != 1 {
		t.Error("the trail does not say that a case was opened and a run started")
	}
	v, err = s.Desk.Start(t.Context(), op, "leaked-credentials", guarded.ID, "", "")
	if err != nil || v.Run.State != run.Refused || !strings.Contains(v.Run.Reason, "emergency access") {
		t.Errorf("on a protected identity: %s (%s), %v; want refused with the reason", v.Run.State, v.Run.Reason, err)
	}
	if _, err := s.Desk.PlanFor(t.Context(), s.Operator("auditor"), "leaked-credentials", quiet.ID); !errors.Is(err, fault.Denied) {
		t.Errorf("an auditor planned: %v", err)
	}
}

func TestOtherTenantsAreNotThere(t *testing.T) {
	t.Parallel()
	s, r, q := waiting(t)
	op := s.Operator("elsewhere")
	v, err := s.Desk.RunView(t.Context(), s.Operator("owner"), r)
	if err != nil {
		t.Fatal(err)
	}
	for name, get := range map[string]func(context.Context) error{
		"case":     func(c context.Context) error { _, err := s.Desk.CaseView(c, op, casefile.ID(q.Case)); return err },
		"identity": func(c context.Context) error { _, err := s.Desk.IdentityView(c, op, q.Identity); return err },
		"run":      func(c context.Context) error { _, err := s.Desk.RunView(c, op, r); return err },
		"approval": func(c context.Context) error { _, err := s.Desk.ApprovalView(c, op, q.ID); return err },
		"action":   func(c context.Context) error { _, err := s.Desk.ActionView(c, op, v.Steps[0].Doing.ID); return err },
		"signal": func(c context.Context) error {
			_, err := s.Desk.Signal(c, op, signal.Key{Tenant: desktest.Tenant, Source: signal.RiskDetection, ExternalID: "d1"})
			return err
		},
		"list": func(c context.Context) error {
			_, err := s.Desk.Runs(c, op, desk.RunFilter{Tenant: desktest.Tenant}, desk.Page{})
			return err
		},
		"plan": func(c context.Context) error {
			_, err := s.Desk.PlanFor(c, op, "leaked-credentials", q.Identity)
			return err
		},
		"verdict": func(c context.Context) error {
			_, err := s.Desk.Verdict(c, op, casefile.ID(q.Case), casefile.Safe, "")
			return err
		},
		"hand-over": func(c context.Context) error {
			_, err := s.Desk.AskHandOver(c, op, q.Identity, "", "x")
			return err
		},
	} {
		if err := get(t.Context()); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s: %v; want fault.NotFound", name, err)
		}
	}
	queue, err := s.Desk.Queue(t.Context(), op, desk.CaseFilter{}, desk.Page{})
	if err != nil || len(queue.Rows) != 0 || queue.Counts.Approvals != 0 {
		t.Errorf("queue: %+v, %v; want it empty", queue, err)
	}
}

func TestQueueSaysWhoWhyAndWhatWaits(t *testing.T) {
	t.Parallel()
	s, _, q := waiting(t)
	mild := desktest.Person(2, "Robin Lake", "robin.lake@corp.example", s.Now())
	s.AddAtRisk(mild, s.Travel("d9", time.Hour))
	queue, err := s.Desk.Queue(t.Context(), s.Operator("analyst"), desk.CaseFilter{}, desk.Page{})
	if err != nil || len(queue.Rows) != 2 {
		t.Fatalf("queue: %+v, %v; want two rows", queue.Rows, err)
	}
	first, second := queue.Rows[0], queue.Rows[1]
	if first.Who.Name != "Avery Brook" || first.Case.Level != signal.LevelHigh || len(first.Reasons) == 0 {
		t.Errorf("first row: %+v; want the highest level first, with reasons", first)
	}
	if len(first.Waits) == 0 || first.Waits[0].Approval != q.ID || first.Waits[0].Until.IsZero() {
		t.Errorf("waits: %+v; want the approval with its end", first.Waits)
	}
	if second.Who.Privileged != "yes" {
		t.Errorf("second: privileged %q; the directory lists a role", second.Who.Privileged)
	}
	if queue.Counts.Approvals != 1 {
		t.Errorf("counts: %+v; want one approval", queue.Counts)
	}
	page, err := s.Desk.Queue(t.Context(), s.Operator("analyst"), desk.CaseFilter{}, desk.Page{Limit: 1})
	if err != nil || len(page.Rows) != 1 || page.Next == "" {
		t.Fatalf("page: %+v, %v", page, err)
	}
	rest, err := s.Desk.Queue(t.Context(), s.Operator("analyst"), desk.CaseFilter{}, desk.Page{Limit: 1, After: page.Next})
	if err != nil || len(rest.Rows) != 1 || rest.Rows[0].Case.ID == page.Rows[0].Case.ID || rest.Next != "" {
		t.Errorf("next page: %+v, %v", rest, err)
	}
}

func TestIdentityViewExplains(t *testing.T) {
	t.Parallel()
	s, r, q := waiting(t)
	s.Prove(r, "")
	v, err := s.Desk.IdentityView(t.Context(), s.Operator("analyst"), q.Identity)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, reason := range v.Assessment.Reasons {
		sum += reason.Points
	}
	if sum != v.Assessment.Score || sum == 0 {
		t.Errorf("points sum to %d, the score is %d", sum, v.Assessment.Score)
	}
	kinds := map[string]bool{}
	for n, e := range v.Timeline {
		kinds[e.Kind] = true
		if n > 0 && e.At.After(v.Timeline[n-1].At) {
			t.Error("the timeline is not newest first")
		}
		if e.Data != nil {
			t.Error("an analyst sees the trail's evidence; that takes the audit permission")
		}
	}
	for _, k := range []string{"signal", "case.opened", "approval.asked", "action.verified"} {
		if !kinds[k] {
			t.Errorf("no %s in the timeline: %v", k, kinds)
		}
	}
	if v.Case == nil || len(v.Runs) != 1 || len(v.Facts) == 0 || v.Authority != identity.EntraID {
		t.Errorf("case %v, runs %d, facts %d, authority %s", v.Case, len(v.Runs), len(v.Facts), v.Authority)
	}
	seen, err := s.Desk.IdentityView(t.Context(), s.Operator("auditor"), q.Identity)
	if err != nil || !slices.ContainsFunc(seen.Timeline, func(e desk.Event) bool { return len(e.Data) > 0 }) {
		t.Errorf("an auditor does not see the evidence: %v", err)
	}
}

func TestHandOver(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	i := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
	s.AddAtRisk(i, s.Travel("d1", time.Hour))
	ask, to := s.Operator("analyst"), s.Operator("second")
	h, err := s.Desk.AskHandOver(t.Context(), ask, i.ID, to.ID, "the person is back")
	if err != nil {
		t.Fatal(err)
	}
	if h.Run.Run.State != run.Waiting || !strings.HasSuffix(h.Link("https://c"), "#"+h.Key) {
		t.Fatalf("run %s (%s), link %s; want it waiting for an approval", h.Run.Run.State, h.Run.Run.Reason, h.Link("https://c"))
	}
	id := h.Run.Run.ID
	if _, err := s.Desk.Reveal(t.Context(), to, id, h.Key); !errors.Is(err, fault.Held) {
		t.Errorf("before the approval: %v; want fault.Held", err)
	}
	q := h.Run.Approvals[0]
	if _, err := s.Desk.Approve(t.Context(), s.Operator("responder"), q.ID, q.PlanHash, ""); err != nil {
		t.Fatal(err)
	}
	s.Prove(id, "")
	for name, bad := range map[string]struct {
		op   string
		key  string
		want fault.Kind
	}{
		"whoever asked":     {"analyst", h.Key, fault.Denied},
		"an owner":          {"owner", h.Key, fault.Denied},
		"with another key":  {"second", strings.Repeat("A", 43), fault.Invalid},
		"without a key":     {"second", "", fault.Invalid},
		"of another tenant": {"elsewhere", h.Key, fault.NotFound},
	} {
		if _, err := s.Desk.Reveal(t.Context(), s.Operator(access.OperatorID(bad.op)), id, bad.key); !errors.Is(err, bad.want) {
			t.Errorf("%s: %v; want %q", name, err, bad.want)
		}
	}
	got, err := s.Desk.Reveal(t.Context(), to, id, h.Key)
	if err != nil || got.Password != desktest.Password {
		t.Fatalf("revealed %q, %v", got.Password, err)
	}
	if strings.Contains(got.String(), desktest.Password) {
		t.Error("String shows the password")
	}
	if _, err := s.Desk.Reveal(t.Context(), to, id, h.Key); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second time: %v; want fault.Conflict", err)
	}
	v, err := s.Desk.RunView(t.Context(), to, id)
	if err != nil || v.Steps[0].Doing.Sealed {
		t.Errorf("the ciphertext is still there: %v", err)
	}
	all, err := json.Marshal([]any{s.Store.Entries(), v})
	if err != nil || strings.Contains(string(all), desktest.Password) || strings.Contains(string(all), h.Key) {
		t.Errorf("the password or its key is in the trail or in a view (%v)", err)
	}
	if len(entries(s, audit.SecretRevealed)) != 1 {
		t.Error("the reveal is not in the trail once")
	}
}

func TestHandOverRunsOut(t *testing.T) {
	t.Parallel()
	for _, sweep := range []bool{true, false} {
		s := desktest.Empty()
		i := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
		s.AddAtRisk(i, s.Travel("d1", time.Hour))
		h, err := s.Desk.AskHandOver(t.Context(), s.Operator("second"), i.ID, "", "the person is back")
		if err != nil {
			t.Fatal(err)
		}
		q := h.Run.Approvals[0]
		if _, err := s.Desk.Approve(t.Context(), s.Operator("responder"), q.ID, q.PlanHash, ""); err != nil {
			t.Fatal(err)
		}
		s.Prove(h.Run.Run.ID, "")
		if n, err := s.Desk.ExpireHandOvers(t.Context()); n != 0 || err != nil {
			t.Fatalf("deleted %d before the time, %v", n, err)
		}
		s.Pass(time.Hour)
		if sweep {
			if n, err := s.Desk.ExpireHandOvers(t.Context()); n != 1 || err != nil {
				t.Errorf("deleted %d, %v; want 1", n, err)
			}
		}
		if _, err := s.Desk.Reveal(t.Context(), s.Operator("second"), h.Run.Run.ID, h.Key); !errors.Is(err, fault.Conflict) {
			t.Errorf("after the time: %v; want fault.Conflict", err)
		}
		if len(entries(s, audit.SecretExpired)) != 1 {
			t.Errorf("sweep %t: that it ran out is not in the trail once", sweep)
		}
		if left, _ := s.Store.Sealed(t.Context(), s.Now(), 9); len(left) != 0 {
			t.Error("the ciphertext is still there")
		}
	}
}
