package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func tenantOf(s string) identity.Tenant { return identity.Tenant(s) }

func runs(t *testing.T, open func(*testing.T) Ports) {
	t.Run("PutsOfRuns", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1), openCase(1))
		versioned(t, p, aRun(1), ingest.Tx.PutRun,
			func(tx ingest.Tx, r run.Run) (run.Run, error) { return tx.Run(tenant, r.ID) },
			func(r *run.Run) *int64 { return &r.Version })
	})
	t.Run("PutsOfApprovals", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1), openCase(1), aRun(1))
		versioned(t, p, aRequest(1), ingest.Tx.PutApproval,
			func(tx ingest.Tx, r approval.Request) (approval.Request, error) { return tx.Approval(tenant, r.ID) },
			func(r *approval.Request) *int64 { return &r.Version })
	})
	t.Run("Questions", func(t *testing.T) { t.Parallel(); questions(t, open(t)) })
	t.Run("PutsOfCases", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		versioned(t, p, openCase(1), ingest.Tx.PutCase,
			func(tx ingest.Tx, c casefile.Case) (casefile.Case, error) { return tx.Case(tenant, c.ID) },
			func(c *casefile.Case) *int64 { return &c.Version })
	})
	t.Run("PutsOfActions", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1), openCase(1), aRun(1))
		a := anAction(1, "a")
		a.Params, a.Before, a.Sealed = map[string]any{"n": 1.5, "s": "\x00<&>\u2028"}, json.RawMessage(`{"enabled":true}`), []byte{0, 255}
		versioned(t, p, a, ingest.Tx.PutAction,
			func(tx ingest.Tx, a action.Action) (action.Action, error) { return tx.Action(tenant, a.ID) },
			func(a *action.Action) *int64 { return &a.Version })
	})

	t.Run("AnEmptyIDIsGiven", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		update(t, p, func(tx ingest.Tx) error {
			c := openCase(1)
			c.ID = ""
			c, err := tx.PutCase(c)
			if err != nil {
				return err
			}
			r := aRun(1)
			r.ID, r.Case = "", c.ID
			if r, err = tx.PutRun(r); err != nil {
				return err
			}
			a := anAction(1, "a")
			a.ID, a.Run, a.Case = "", string(r.ID), string(c.ID)
			if a, err = tx.PutAction(a); err != nil {
				return err
			}
			q := aRequest(1)
			q.ID, q.Run, q.Case = "", string(r.ID), string(c.ID)
			q, err = tx.PutApproval(q)
			if c.ID == "" || r.ID == "" || a.ID == "" || q.ID == "" {
				t.Errorf("an id is missing: %q %q %q %q", c.ID, r.ID, a.ID, q.ID)
			}
			return err
		})
	})

	t.Run("AnUpdateOfNothingIsNotFound", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		r, a := aRun(9), anAction(9, "a")
		r.Version, a.Version = 3, 3
		update(t, p, func(tx ingest.Tx) error {
			_, err := tx.PutRun(r)
			wantKind(t, "run", err, fault.NotFound)
			_, err = tx.PutAction(a)
			wantKind(t, "action", err, fault.NotFound)
			return nil
		})
	})

	t.Run("AnotherTenantSeesNothing", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 1)
		put(t, p, anAction(1, "a"), aRequest(1), owned{aSignal(1, 1), person(1).ID})
		update(t, p, func(tx ingest.Tx) error {
			_, err := tx.Run(elsewhere, aRun(1).ID)
			wantKind(t, "run", err, fault.NotFound)
			_, err = tx.Action(elsewhere, anAction(1, "a").ID)
			wantKind(t, "action", err, fault.NotFound)
			_, err = tx.Identity(elsewhere, person(1).ID)
			wantKind(t, "identity", err, fault.NotFound)
			s, err := tx.SignalsOf(elsewhere, person(1).ID)
			same(t, "signals", 0, len(s))
			return err
		})
	})

	t.Run("ListsOfARunAndACase", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 2)
		second := aRun(1)
		second.ID, second.StartedAt = "run_0001b", at(-time.Second)
		late, early := anAction(1, "a"), anAction(1, "b")
		early.RequestedAt = at(-time.Second)
		put(t, p, second, late, early, aRequest(1))
		update(t, p, func(tx ingest.Tx) error {
			rs, err := tx.RunsOfCase(tenant, openCase(1).ID)
			if err != nil || len(rs) != 2 || rs[0].ID != second.ID {
				t.Errorf("runs: %v, %v", rs, err)
			}
			as, err := tx.ActionsOfRun(tenant, aRun(1).ID)
			if err != nil || len(as) != 2 || as[0].ID != early.ID {
				t.Errorf("actions: %v, %v", as, err)
			}
			qs, err := tx.ApprovalsOfRun(tenant, aRun(1).ID)
			if err != nil || len(qs) != 1 {
				t.Errorf("approvals: %v, %v", qs, err)
			}
			return nil
		})
	})

	t.Run("RecentRun", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 1)
		newer := aRun(1)
		newer.ID, newer.StartedAt = "run_newer", at(time.Minute)
		put(t, p, newer)
		for name, c := range map[string]struct {
			playbook, key string
			since         time.Time
			want          run.ID
		}{
			"the newest":          {"leaked-credentials", aRun(1).OnceKey, at(-time.Hour), newer.ID},
			"from its own second": {"leaked-credentials", aRun(1).OnceKey, newer.StartedAt, newer.ID},
			"too late":            {"leaked-credentials", aRun(1).OnceKey, newer.StartedAt.Add(time.Microsecond), ""},
			"another key":         {"leaked-credentials", "x", at(-time.Hour), ""},
			"another playbook":    {"token-theft", aRun(1).OnceKey, at(-time.Hour), ""},
			"whenever":            {"leaked-credentials", aRun(1).OnceKey, time.Time{}, newer.ID},
		} {
			update(t, p, func(tx ingest.Tx) error {
				r, ok, err := tx.RecentRun(tenant, c.playbook, c.key, c.since)
				if r.ID != c.want || ok != (c.want != "") {
					t.Errorf("%s: got %q, %v", name, r.ID, ok)
				}
				return err
			})
		}
	})

	t.Run("DueRuns", func(t *testing.T) { t.Parallel(); dueRuns(t, open(t)) })

	t.Run("DueApprovals", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 3)
		due, later, answered := aRequest(1), aRequest(2), aRequest(3)
		later.ExpiresAt = due.ExpiresAt.Add(time.Microsecond)
		answered.State, answered.EndedAt = approval.Approved, start
		answered.Decisions = []approval.Decision{{By: access.OperatorID("r"), Approve: true, At: start}}
		put(t, p, due, later, answered)
		got, err := p.Runs.DueApprovals(t.Context(), due.ExpiresAt, 10)
		if err != nil || len(got) != 1 || got[0].ID != due.ID {
			t.Errorf("got %v, %v", got, err)
		}
		if got, err = p.Runs.DueApprovals(t.Context(), due.ExpiresAt.Add(-time.Microsecond), 10); err != nil || len(got) != 0 {
			t.Errorf("before its time: got %v, %v", got, err)
		}
	})

	t.Run("DueExpiries", func(t *testing.T) { t.Parallel(); dueExpiries(t, open(t)) })
	t.Run("RunsAtRate", func(t *testing.T) { t.Parallel(); runsAtRate(t, open(t)) })

	t.Run("Histories", func(t *testing.T) { t.Parallel(); histories(t, open(t)) })

	t.Run("AnAnswerStays", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 1)
		q := aRequest(1)
		q.State, q.EndedAt = approval.Rejected, start
		put(t, p, q)
		q.Version, q.State = 1, approval.Approved
		if err := p.Ingest.Update(t.Context(), func(tx ingest.Tx) error { _, err := tx.PutApproval(q); return err }); err == nil {
			t.Error("a rejected request became approved")
		}
	})
}

func dueRuns(t *testing.T, p Ports) {
	scene(t, p, 4)
	due := func(now time.Time) (out []run.ID) {
		t.Helper()
		keys, err := p.Runs.DueRuns(t.Context(), now, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if k.Tenant != tenant {
				t.Errorf("tenant %s", k.Tenant)
			}
			out = append(out, k.ID)
		}
		return out
	}
	again := func(n int, change func(*run.Run)) {
		t.Helper()
		update(t, p, func(tx ingest.Tx) error {
			r, err := tx.Run(tenant, aRun(n).ID)
			if err != nil {
				return err
			}
			change(&r)
			_, err = tx.PutRun(r)
			return err
		})
	}
	same(t, "nothing is due", []run.ID{}, due(at(time.Hour)))
	again(1, func(r *run.Run) { r.DueAt = at(2 * time.Second) })
	again(2, func(r *run.Run) { r.DueAt = at(time.Second) })
	again(3, func(r *run.Run) { r.DueAt, r.State, r.EndedAt = at(time.Second), run.Failed, start })
	same(t, "oldest first, final ones never", []run.ID{"run_0002", "run_0001"}, due(at(2*time.Second)))
	same(t, "not before its time", []run.ID{"run_0002"}, due(at(2*time.Second-time.Microsecond)))
	if keys, err := p.Runs.DueRuns(t.Context(), at(time.Hour), 1); err != nil || len(keys) != 1 {
		t.Errorf("limit: %v, %v", keys, err)
	}
	again(1, func(r *run.Run) { r.DueAt = time.Time{} })
	again(2, func(r *run.Run) { r.DueAt = time.Time{} })

	// An action that changed makes its run due until the run is put.
	put(t, p, anAction(4, "a"))
	same(t, "an action came", []run.ID{"run_0004"}, due(start))
	again(4, func(*run.Run) {})
	same(t, "the run followed", []run.ID{}, due(start))
	update(t, p, func(tx ingest.Tx) error {
		a, err := tx.Action(tenant, anAction(4, "a").ID)
		if err != nil {
			return err
		}
		if a, err = a.Move(action.Approved, "", start); err != nil {
			return err
		}
		_, err = tx.PutAction(a)
		return err
	})
	same(t, "an action moved", []run.ID{"run_0004"}, due(start))
	again(4, func(*run.Run) {})
	put(t, p, aRequest(4))
	same(t, "an approval came", []run.ID{"run_0004"}, due(start))
	// What a run does itself does not make it due.
	update(t, p, func(tx ingest.Tx) error {
		r, err := tx.Run(tenant, aRun(4).ID)
		if err != nil {
			return err
		}
		if _, err = tx.PutRun(r); err != nil {
			return err
		}
		_, err = tx.PutAction(anAction(4, "b"))
		return err
	})
	same(t, "its own doing", []run.ID{}, due(start))
}

// actions checks what keeps an effect from happening twice.
func actions(t *testing.T, open func(*testing.T) Ports) {
	try := func(t *testing.T, p Ports, a action.Action) error {
		t.Helper()
		return p.Ingest.Update(t.Context(), func(tx ingest.Tx) error { _, err := tx.PutAction(a); return err })
	}
	t.Run("AStepActsOnce", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 1)
		put(t, p, anAction(1, "a"))
		b := anAction(1, "a")
		b.ID, b.Effect = "act_other", "other"
		wantKind(t, "a second action of the step", try(t, p, b), fault.Conflict)
	})

	t.Run("AnEffectIsUnderWayOnce", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 2)
		a := anAction(1, "a")
		put(t, p, a)
		b := anAction(2, "a")
		b.Effect = a.Effect
		wantKind(t, "a second one under way", try(t, p, b), fault.Conflict)
		undo := b
		undo.UndoOf = a.ID
		if err := try(t, p, undo); err != nil {
			t.Errorf("an undo: %v", err)
		}
		second := anAction(2, "b")
		second.UndoOf = a.ID
		wantKind(t, "a second undo under way", try(t, p, second), fault.Conflict)
		a.Version = 1
		a, err := a.Move(action.Cancelled, "withdrawn", start)
		if err != nil {
			t.Fatal(err)
		}
		put(t, p, a)
		c := anAction(2, "c")
		c.Effect = a.Effect
		if err := try(t, p, c); err != nil {
			t.Errorf("after the first ended: %v", err)
		}
	})

	t.Run("AFinalStateStays", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 1)
		for _, from := range []action.State{action.Failed, action.RefusedState, action.Expired, action.Cancelled, action.Reverted, action.Verified} {
			a := anAction(1, string(from))
			a.State, a.EndedAt = from, start
			put(t, p, a)
			a.Version, a.State, a.EndedAt = 1, action.Approved, time.Time{}
			if try(t, p, a) == nil {
				t.Errorf("%s became approved", from)
			}
			a.State, a.EndedAt = action.Reverted, start
			if err := try(t, p, a); (err == nil) != (from == action.Verified || from == action.Reverted) {
				t.Errorf("%s to reverted: %v", from, err)
			}
		}
	})

	t.Run("NothingIsUnderWayWithoutAnIntent", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 1)
		for _, s := range []action.State{action.Running, action.AcceptedState, action.Unconfirmed} {
			a := anAction(1, string(s))
			a.State = s
			if try(t, p, a) == nil {
				t.Errorf("%s was stored without an intent", s)
			}
		}
	})

	t.Run("ActiveEffect", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 1)
		active := map[action.State]bool{
			action.Requested: true, action.Approved: true, action.Held: true, action.Running: true, action.AcceptedState: true,
			action.Unconfirmed: true, action.Verified: true, action.Failed: false, action.RefusedState: false,
			action.Reverted: false, action.Expired: false, action.Cancelled: false,
		}
		for s := range active {
			a := anAction(1, string(s))
			a.State, a.Attempt, a.IntentAt = s, 1, start
			if s.Final() {
				a.EndedAt = start
			}
			put(t, p, a)
		}
		for s, want := range active {
			for _, since := range []time.Time{{}, start, at(time.Microsecond)} {
				// One under way is found however old it is.
				found := want && (s != action.Verified || !since.After(start))
				update(t, p, func(tx ingest.Tx) error {
					a, ok, err := tx.ActiveEffect(tenant, anAction(1, string(s)).Effect, since)
					if ok != found || ok && a.State != s {
						t.Errorf("%s since %v: got %v, %v", s, since, a.ID, ok)
					}
					return err
				})
			}
		}
		update(t, p, func(tx ingest.Tx) error {
			_, ok, err := tx.ActiveEffect(elsewhere, anAction(1, "verified").Effect, time.Time{})
			if ok {
				t.Error("another tenant's effect was found")
			}
			return err
		})
	})
}

// dueExpiries: what is proven and has run its time, earliest first, and nothing else.
func dueExpiries(t *testing.T, p Ports) {
	scene(t, p, 4)
	proven := func(n int, until time.Time) action.Action {
		a := anAction(n, "disable")
		a.State, a.Attempt, a.IntentAt, a.VerifiedAt, a.EndedAt, a.ExpiresAt = action.Verified, 1, start, start, start, until
		a.TTL = time.Hour
		return a
	}
	late, early, lasting, open := proven(1, at(2*time.Hour)), proven(2, at(time.Hour)), proven(3, time.Time{}), anAction(4, "disable")
	open.TTL = time.Hour
	put(t, p, late, early, lasting, open)
	for name, c := range map[string]struct {
		now   time.Time
		limit int
		want  []action.ID
	}{
		"before the first": {at(time.Hour - time.Microsecond), 10, nil},
		"the first":        {at(time.Hour), 10, []action.ID{early.ID}},
		"both":             {at(3 * time.Hour), 10, []action.ID{early.ID, late.ID}},
		"at most":          {at(3 * time.Hour), 1, []action.ID{early.ID}},
	} {
		list, err := p.Runs.DueExpiries(t.Context(), c.now, c.limit)
		var got []action.ID
		for _, a := range list {
			got = append(got, a.ID)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
	}
}

func aQuestion(n int) question.Question {
	return question.Question{
		Tenant: tenant, ID: question.ID(fmt.Sprintf("qst_%04d", n)), Run: string(aRun(n).ID), Step: "asked", Case: string(openCase(n).ID), Identity: person(n).ID, Name: person(n).Name,
		Who: question.Person, Facts: []question.Fact{{What: "<a>", At: start}}, AskedAt: start, ExpiresAt: at(time.Hour), DueAt: start, State: question.Pending,
	}
}

// questions: each is due until somebody has seen to it, its run hears of it, those with
// a link are counted, and an answer stays.
func questions(t *testing.T, p Ports) {
	scene(t, p, 2)
	versioned(t, p, aQuestion(1), ingest.Tx.PutQuestion,
		func(tx ingest.Tx, q question.Question) (question.Question, error) { return tx.Question(tenant, q.ID) },
		func(q *question.Question) *int64 { return &q.Version })
	second := aQuestion(2)
	second.DueAt = at(time.Minute)
	put(t, p, second)
	due := func(now time.Time) (ids []question.ID) {
		t.Helper()
		list, err := p.Questions.DueQuestions(t.Context(), tenant, now, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range list {
			ids = append(ids, q.ID)
		}
		return ids
	}
	same(t, "due at the start", []question.ID{"qst_0001"}, due(start))
	same(t, "due later", []question.ID{"qst_0001", "qst_0002"}, due(at(time.Minute)))
	sent := func(tx question.Tx, id identity.ID, since time.Time, want int) {
		t.Helper()
		n, err := tx.QuestionsSent(tenant, id, since)
		if err != nil || n != want {
			t.Errorf("%d were sent about %q, want %d: %v", n, id, want, err)
		}
	}
	update(t, p, func(tx ingest.Tx) error { // a run that is put has heard of everything
		r, err := tx.Run(tenant, aRun(1).ID)
		if err == nil {
			_, err = tx.PutRun(r)
		}
		return err
	})
	err := p.Questions.Update(t.Context(), func(tx question.Tx) error {
		sent(tx, "", start, 0)
		q, err := tx.Question(tenant, "qst_0001")
		if err != nil {
			return err
		}
		q.Via = "phone"
		if q, err = tx.PutQuestion(q); err != nil {
			return err
		}
		sent(tx, "", start, 1)
		sent(tx, person(1).ID, start, 1)
		sent(tx, person(2).ID, start, 0)
		sent(tx, "", at(time.Microsecond), 0)
		q.State, q.EndedAt, q.DueAt, q.Answer = question.Answered, start, time.Time{}, question.No
		_, err = tx.PutQuestion(q)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "due when answered", []question.ID{"qst_0002"}, due(at(time.Minute)))
	keys, err := p.Runs.DueRuns(t.Context(), start, 10)
	if err != nil || !slices.Contains(keys, run.Key{Tenant: tenant, ID: aRun(1).ID}) {
		t.Errorf("the run does not hear of the answer: %v, %v", keys, err)
	}
	update(t, p, func(tx ingest.Tx) error {
		list, err := tx.QuestionsOfRun(tenant, aRun(1).ID)
		if len(list) != 1 || list[0].Answer != question.No {
			t.Errorf("questions of the run: %+v", list)
		}
		_, err2 := tx.Question(elsewhere, "qst_0001")
		wantKind(t, "another tenant's question", err2, fault.NotFound)
		return err
	})
	if q, err := p.Desk.Question(t.Context(), "", "qst_0001"); err != nil || q.Answer != question.No {
		t.Errorf("by its id alone: %+v, %v", q, err)
	}
	err = p.Questions.Update(t.Context(), func(tx question.Tx) error {
		q, err := tx.Question(tenant, "qst_0001")
		q.State = question.Pending
		if err == nil {
			_, err = tx.PutQuestion(q)
		}
		return err
	})
	if err == nil {
		t.Error("an answered question is asked again")
	}
}

// runsAtRate: what was planned with the key in the time counts.
func runsAtRate(t *testing.T, p Ports) {
	scene(t, p, 1)
	for n, r := range []run.Run{
		{RateKey: "t", PlannedAt: at(time.Minute)}, {RateKey: "t", PlannedAt: at(2 * time.Minute)},
		{RateKey: "other", PlannedAt: at(2 * time.Minute)}, {PlannedAt: at(2 * time.Minute)}, {RateKey: "t"},
	} {
		next := aRun(1)
		next.ID, next.RateKey, next.PlannedAt = run.ID(fmt.Sprintf("run_rate_%d", n)), r.RateKey, r.PlannedAt
		put(t, p, next)
	}
	update(t, p, func(tx ingest.Tx) error {
		for since, want := range map[time.Duration]int{0: 2, time.Minute: 2, time.Minute + time.Microsecond: 1, time.Hour: 0} {
			n, err := tx.RunsAtRate(tenant, "leaked-credentials", "t", at(since))
			if err != nil {
				return err
			}
			if n != want {
				t.Errorf("since %s: %d, want %d", since, n, want)
			}
		}
		return nil
	})
}

// histories: every version of whoever a signal touched, without raw records.
func histories(t *testing.T, p Ports) {
	if p.Histories == nil {
		return
	}
	scene(t, p, 3)
	first, early := aSignal(1, 1), aSignal(2, 2)
	first.Raw = json.RawMessage(`{"a":1}`)
	first.UpdatedAt, early.UpdatedAt = at(time.Hour), at(-time.Hour)
	second := first
	second.State, second.UpdatedAt = signal.StateRemediated, at(2*time.Hour)
	put(t, p, owned{first, person(1).ID}, owned{early, person(2).ID})
	put(t, p, owned{second, person(1).ID})
	var got []run.History
	for h, err := range p.Histories(t.Context(), tenant, at(30*time.Minute)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h)
	}
	if len(got) != 1 || got[0].Identity.ID != person(1).ID || len(got[0].Cases) != 1 {
		t.Fatalf("got %+v", got)
	}
	states := map[signal.State]bool{}
	for _, s := range got[0].Signals {
		states[s.State] = true
		if len(s.Raw) > 0 {
			t.Error("a raw record came with it")
		}
	}
	if len(got[0].Signals) != 2 || !states[first.State] || !states[signal.StateRemediated] {
		t.Errorf("signals %+v", got[0].Signals)
	}
}
