package apiclient_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/apiclient"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/httpapi/httpapitest"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func client(t *testing.T, server, token string) *apiclient.Client {
	t.Helper()
	c, err := apiclient.New(apiclient.Options{Server: server, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is a real API over one identity whose run waits for an approval.
func world(t *testing.T) (*desktest.Scene, func(op access.OperatorID) *apiclient.Client, string) {
	t.Helper()
	s := desktest.Empty()
	i := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
	s.Begin("leaked-credentials", i.ID, s.AddAtRisk(i, s.Leaked("d/1 ?", time.Hour)))
	srv := httptest.NewServer(httpapitest.Handler(s))
	t.Cleanup(srv.Close)
	return s, func(op access.OperatorID) *apiclient.Client { return client(t, srv.URL, desktest.Token(op)) }, srv.URL
}

func TestTheClientSeesWhatTheDeskShows(t *testing.T) {
	t.Parallel()
	s, as, _ := world(t)
	c, op := as("auditor"), s.Operator("auditor")
	same := func(name string, got, want any, errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s differs over the wire (-desk +client):\n%s", name, diff)
		}
	}
	all := desk.Page{Limit: 10}
	wantQueue, e1 := s.Desk.Queue(t.Context(), op, desk.CaseFilter{}, all)
	queue, e2 := c.Queue(t.Context(), desk.CaseFilter{MinLevel: signal.LevelHigh, Status: desk.Open()}, all)
	same("queue", queue, wantQueue, e1, e2)
	id := queue.Rows[0].Who.ID
	wantIdentity, e1 := s.Desk.IdentityView(t.Context(), op, id)
	gotIdentity, e2 := c.Identity(t.Context(), id)
	same("identity", gotIdentity, wantIdentity, e1, e2)
	wantCase, e1 := s.Desk.CaseView(t.Context(), op, queue.Rows[0].Case.ID)
	gotCase, e2 := c.Case(t.Context(), queue.Rows[0].Case.ID)
	same("case", gotCase, wantCase, e1, e2)
	wantRun, e1 := s.Desk.RunView(t.Context(), op, queue.Rows[0].Run.ID)
	gotRun, e2 := c.Run(t.Context(), queue.Rows[0].Run.ID)
	same("run", gotRun, wantRun, e1, e2)
	wantRuns, e1 := s.Desk.Runs(t.Context(), op, desk.RunFilter{}, all)
	runs, e2 := c.Runs(t.Context(), desk.RunFilter{State: []run.State{run.Waiting, run.Acting}, Playbook: "leaked-credentials"}, all)
	same("runs", runs, wantRuns, e1, e2)
	wantAsked, e1 := s.Desk.Approvals(t.Context(), op, desk.ApprovalFilter{}, all)
	asked, e2 := c.Approvals(t.Context(), desk.ApprovalFilter{State: []approval.State{approval.Pending}}, all)
	same("approvals", asked, wantAsked, e1, e2)
	wantApproval, e1 := s.Desk.ApprovalView(t.Context(), op, asked.Items[0].ID)
	gotApproval, e2 := c.Approval(t.Context(), asked.Items[0].ID)
	same("approval", gotApproval, wantApproval, e1, e2)
	wantActions, e1 := s.Desk.Actions(t.Context(), op, desk.ActionFilter{}, all)
	actions, e2 := c.Actions(t.Context(), desk.ActionFilter{Identity: id}, all)
	same("actions", actions, wantActions, e1, e2)
	wantAction, e1 := s.Desk.ActionView(t.Context(), op, actions.Items[0].ID)
	gotAction, e2 := c.Action(t.Context(), actions.Items[0].ID)
	same("action", gotAction, wantAction, e1, e2)
	k := signal.Key{Tenant: desktest.Tenant, Source: signal.RiskDetection, ExternalID: "d/1 ?"}
	wantSignal, e1 := s.Desk.Signal(t.Context(), op, k)
	gotSignal, e2 := c.Signal(t.Context(), k)
	same("signal", gotSignal, wantSignal, e1, e2)
	wantTrail, e1 := s.Desk.AuditEntries(t.Context(), op, desk.AuditFilter{}, all)
	trail, e2 := c.AuditEntries(t.Context(), desk.AuditFilter{Since: s.Now().Add(-time.Hour)}, all)
	same("trail", len(trail.Items), len(wantTrail.Items), e1, e2)
	books, e2 := c.Playbooks(t.Context())
	same("playbooks", len(books), 2, e2)
	sigs, e1 := c.Signals(t.Context(), desk.SignalFilter{Identity: id}, all)
	people, e2 := c.Identities(t.Context(), desk.IdentityFilter{Name: "AVERY"}, all)
	same("lists", []int{len(sigs.Items), len(people.Items)}, []int{1, 1}, e1, e2)
	cases, e1 := c.Cases(t.Context(), desk.CaseFilter{Status: []casefile.Status{casefile.Closed}}, all)
	same("closed cases", len(cases.Items), 0, e1)
}

func TestCommands(t *testing.T) {
	t.Parallel()
	s, as, _ := world(t)
	c := as("responder")
	asked, err := c.Approvals(t.Context(), desk.ApprovalFilter{}, desk.Page{})
	if err != nil {
		t.Fatal(err)
	}
	q := asked.Items[0]
	if _, err := as("analyst").Approve(t.Context(), q.ID, q.PlanHash, ""); !errors.Is(err, fault.Denied) {
		t.Errorf("an analyst approves: %v; want fault.Denied", err)
	}
	if _, err := c.Approve(t.Context(), q.ID, "old", ""); !errors.Is(err, fault.Conflict) {
		t.Errorf("another plan: %v; want fault.Conflict", err)
	}
	if v, err := c.Approve(t.Context(), q.ID, q.PlanHash, "seen"); err != nil || v.Request.State != approval.Approved {
		t.Fatalf("approve: %s, %v", v.Request.State, err)
	}
	s.Prove(run.ID(q.Run), "")
	s.Prove(run.ID(q.Run), "")
	if v, err := c.Run(t.Context(), run.ID(q.Run)); err != nil || v.Run.State != run.Contained {
		t.Fatalf("run %s, %v", v.Run.State, err)
	}
	acts, err := c.Actions(t.Context(), desk.ActionFilter{Name: "entra.user.disable"}, desk.Page{})
	if err != nil || len(acts.Items) != 1 {
		t.Fatal(acts, err)
	}
	if _, err := c.Undo(t.Context(), string(acts.Items[0].ID), ""); !errors.Is(err, fault.Invalid) {
		t.Errorf("undo without a reason: %v; want fault.Invalid", err)
	}
	if v, err := c.Undo(t.Context(), string(acts.Items[0].ID), "wrong person"); err != nil || v.Run.Playbook != run.UndoPlaybook {
		t.Errorf("undo: %+v, %v", v.Run, err)
	}
	if stop, err := c.Hold(t.Context(), "", true, "drill"); err != nil || !stop.On {
		t.Errorf("hold: %+v, %v", stop, err)
	}
	if stop, err := c.Stop(t.Context(), desktest.Tenant); err != nil || !stop.On || stop.Reason != "drill" {
		t.Errorf("stop in force: %+v, %v", stop, err)
	}
	if v, err := c.Verdict(t.Context(), casefile.ID(q.Case), casefile.Benign, ""); err != nil || v.Case.Status != casefile.Closed {
		t.Errorf("verdict: %+v, %v", v.Case, err)
	}
	plan, err := c.Plan(t.Context(), "token-theft", q.Identity)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(t.Context(), "token-theft", q.Identity, plan.Plan.Hash, "again"); err != nil {
		t.Errorf("start: %v", err)
	}
	h, err := c.AskHandOver(t.Context(), q.Identity, "owner", "back at work")
	if err != nil || h.Key == "" {
		t.Fatalf("hand-over: %v", err)
	}
	if _, err := as("owner").Reveal(t.Context(), h.Run.Run.ID, h.Key); !errors.Is(err, fault.Held) {
		t.Errorf("reveal before it is set: %v; want fault.Held", err)
	}
	if _, err := as("second").Reject(t.Context(), h.Run.Approvals[0].ID, h.Run.Plan.Hash, "not yet"); err != nil {
		t.Errorf("reject: %v", err)
	}
}

func TestWhatGoesWrong(t *testing.T) {
	t.Parallel()
	_, as, url := world(t)
	if _, err := as("owner").Run(t.Context(), "run_none"); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "run_none") {
		t.Errorf("no such run: %v", err)
	}
	if _, err := as("owner").Cases(t.Context(), desk.CaseFilter{Status: []casefile.Status{"lost"}}, desk.Page{}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "query.status") {
		t.Errorf("a bad filter: %v; want fault.Invalid that names it", err)
	}
	if _, err := client(t, url, "guess").Playbooks(t.Context()); !errors.Is(err, fault.Denied) || strings.Contains(err.Error(), "guess") {
		t.Errorf("a wrong token: %v; want fault.Denied without the token", err)
	}
	if _, err := as("analyst").AuditEntries(t.Context(), desk.AuditFilter{}, desk.Page{}); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "auditor") {
		t.Errorf("an analyst reads the trail: %v; want the roles that may", err)
	}
	for range 10 {
		_, _ = client(t, url, "guess").Playbooks(t.Context()) // that it fails is tested above
	}
	_, err := as("owner").Playbooks(t.Context())
	if after, ok := fault.RetryAfter(err); !errors.Is(err, fault.Unavailable) || !ok || after <= 0 {
		t.Errorf("after too many guesses: %v", err)
	}
	for _, bad := range []string{"", "cordon.example", "ftp://x", "http://", "::"} {
		if _, err := apiclient.New(apiclient.Options{Server: bad, Token: "x"}); !errors.Is(err, fault.Invalid) {
			t.Errorf("server %q: %v; want fault.Invalid", bad, err)
		}
	}
}

func TestOtherServers(t *testing.T) {
	t.Parallel()
	stolen := make(chan string, 9)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen <- r.Header.Get("Authorization") }))
	defer thief.Close()
	for name, h := range map[string]http.HandlerFunc{
		"a web page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"a proxy":    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad gateway", http.StatusBadGateway) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
		},
		"an odd media": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ";;;")
			w.WriteHeader(500)
		},
	} {
		srv := httptest.NewServer(h)
		if _, err := client(t, srv.URL, "secret").Playbooks(t.Context()); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v; want fault.Unavailable", name, err)
		}
		srv.Close()
		_, err := client(t, srv.URL, "secret").Playbooks(t.Context())
		if !errors.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "secret") {
			t.Errorf("nobody there: %v", err)
		}
	}
	select {
	case got := <-stolen:
		t.Errorf("the token followed a redirect: %q", got)
	default:
	}
}

func TestACommandWithoutAnAnswerMayHaveBeenDone(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer srv.Close()
	c := client(t, srv.URL, "x")
	if _, err := c.Hold(t.Context(), "", true, ""); !errors.Is(err, fault.Unknown) {
		t.Errorf("a command: %v; want fault.Unknown", err)
	}
	if _, err := c.Playbooks(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a read: %v; want fault.Unavailable", err)
	}
}
