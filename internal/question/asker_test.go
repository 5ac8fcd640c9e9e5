package question_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

var phone = question.Channel{ID: "phone", Reach: question.ReachPerson}

// asked is a scene with a person of whom a run asks whether it was them.
type asked struct {
	*desktest.Scene
	*desktest.Post
	t    *testing.T
	who  identity.Identity
	cas  casefile.ID
	run  run.ID
	from int
}

// ask begins one about a sign-in of the level.
func ask(t *testing.T, level signal.Level, channels ...question.Channel) *asked {
	t.Helper()
	s := desktest.Empty()
	a := &asked{Scene: s, Post: s.Post(channels...), t: t, who: desktest.Person(1, "Robin", "robin@corp.example", s.Now())}
	sig := s.Travel("sig", time.Minute)
	sig.Type, sig.Level, sig.RequestID = "unfamiliarFeatures", level, "req-1"
	a.cas = s.AddAtRisk(a.who, sig)
	s.Store.SeedRecords(record.Record{Tenant: desktest.Tenant, Source: record.SignIn, ExternalID: "req-1", Subject: a.who.Accounts[0].Ref, At: s.Now(), App: "Azure Portal", Device: "PC-7"})
	a.run = s.BeginAsking(a.who.ID, a.cas)
	return a
}

func (a *asked) pass() {
	a.t.Helper()
	if err := a.Asker.Pass(a.t.Context(), desktest.Tenant); err != nil {
		a.t.Error(err)
	}
}

func (a *asked) link() (question.ID, string) {
	a.t.Helper()
	if len(a.Sent) == 0 {
		a.t.Fatal("nothing was sent")
	}
	rest, ok := strings.CutPrefix(a.Sent[len(a.Sent)-1].Link, "https://ask.example/ask/")
	id, token, _ := strings.Cut(rest, "/")
	if !ok || len(token) != 43 {
		a.t.Fatalf("the link is %q", rest)
	}
	return question.ID(id), token
}

func (a *asked) reply(answer question.Answer) question.Question {
	a.t.Helper()
	id, token := a.link()
	q, err := a.Desk.Reply(a.t.Context(), id, token, answer, "203.0.113.99")
	if err != nil {
		a.t.Fatal(err)
	}
	return q
}

// steps is how the run's steps stand.
func (a *asked) steps() string {
	a.t.Helper()
	if err := a.Driver.Drive(a.t.Context(), run.Key{Tenant: desktest.Tenant, ID: a.run}); err != nil {
		a.t.Fatal(err)
	}
	v, err := a.Desk.RunView(a.t.Context(), a.Operator("owner"), a.run)
	if err != nil {
		a.t.Fatal(err)
	}
	var out []string
	for _, s := range v.Steps {
		out = append(out, s.ID+" "+string(s.State))
	}
	return strings.Join(out, ", ")
}

func (a *asked) trail(k audit.Kind) (texts []string) {
	a.t.Helper()
	list, err := a.Desk.AuditEntries(a.t.Context(), a.Operator("owner"), desk.AuditFilter{Kind: []audit.Kind{k}}, desk.Page{})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Case != string(a.cas) {
			a.t.Errorf("%s is not on the case's timeline", e.Kind)
		}
		texts = append(texts, e.Text)
	}
	return texts
}

// proof is a sign-in that bears a yes out.
func (a *asked) proof(change func(*record.Record)) {
	r := record.Record{
		Tenant: desktest.Tenant, Source: record.SignIn, ExternalID: fmt.Sprint("proof-", a.from), Subject: a.who.Accounts[0].Ref, At: a.Now(), IP: "192.0.2.1", Result: record.Success,
		Risk: &record.Risk{During: signal.LevelNone, Aggregated: signal.LevelNone, State: signal.StateNone},
		Raw:  json.RawMessage(`{"isInteractive":true,"status":{"errorCode":0,"additionalDetails":"MFA completed in Azure AD"}}`),
	}
	a.from++
	if change != nil {
		change(&r)
	}
	a.Store.SeedRecords(r)
	a.after(15 * time.Second)
}

// after lets time pass and the asker look.
func (a *asked) after(d time.Duration) {
	a.Scene.Pass(d)
	a.pass()
}

func TestAQuestionIsAskedOnceAndTheAnswerMovesTheRun(t *testing.T) {
	t.Parallel()
	a := ask(t, signal.LevelMedium, phone)
	if got := a.steps(); got != "asked acting, proof pending, harmless pending, word pending, disable pending" {
		t.Errorf("before: %s", got)
	}
	a.pass()
	a.pass()
	if len(a.Sent) != 1 || a.Via[0] != "phone" {
		t.Fatalf("%d were sent, by %v", len(a.Sent), a.Via)
	}
	if f := a.Sent[0].Question.Facts; len(f) != 1 || f[0].App != "Azure Portal" || f[0].Device != "PC-7" || f[0].Place != "Lagos, NG" || f[0].IP != "203.0.113.7" || f[0].At.IsZero() {
		t.Errorf("asked about %+v", f)
	}
	id, token := a.link()
	if text := fmt.Sprint(a.Sent[0], a.trail(audit.QuestionSent)); strings.Contains(text, token) {
		t.Error("the link's secret is shown")
	}
	// Looking decides nothing, however often.
	for range 30 {
		if q, err := a.Desk.Question(t.Context(), id, token, "203.0.113.99"); err != nil || q.Hash != nil || q.Nonce != nil {
			t.Fatalf("%+v, %v", q, err)
		}
	}
	if got := a.steps(); !strings.HasPrefix(got, "asked acting") {
		t.Errorf("looking at it: %s", got)
	}
	a.reply(question.No)
	if got := a.steps(); got != "asked passed, proof skipped, harmless skipped, word skipped, disable acting" {
		t.Errorf("after a no: %s", got)
	}
	if _, err := a.Desk.Reply(t.Context(), id, token, question.Yes, "203.0.113.99"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a second answer: %v", err)
	}
	for k, want := range map[audit.Kind]string{
		audit.QuestionAsked: "is to be asked", audit.QuestionSent: "phone, which reaches the person beside the account", audit.QuestionAnswered: "no, it was not me",
	} {
		if got := a.trail(k); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q", k, got)
		}
	}
	// A guess counts, and then waits.
	for n := 0; ; n++ {
		_, err := a.Desk.Question(t.Context(), id, "guess", "198.51.100.9")
		if _, later := fault.RetryAfter(err); later {
			break
		}
		if n > 20 {
			t.Fatalf("whoever guesses need not wait: %v", err)
		}
	}
	if err := a.Operators.Wait("198.51.100.9"); err != nil {
		t.Errorf("operators wait for it too: %v", err)
	}
}

// A yes is a word until a strong sign-in bears it out, and with a doubt it stays one.
func TestAYesAloneEndsNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		level  signal.Level
		change func(*record.Record)
		proven bool
	}{
		"borne out":        {signal.LevelLow, nil, true},
		"a higher risk":    {signal.LevelHigh, nil, false},
		"no second factor": {signal.LevelLow, func(r *record.Record) { r.Raw = json.RawMessage(`{"isInteractive":true}`) }, false},
		"the session's factor": {signal.LevelLow, func(r *record.Record) {
			r.Raw = json.RawMessage(`{"isInteractive":true,"status":{"additionalDetails":"MFA requirement satisfied by claim in the token"}}`)
		}, false},
		"it failed":             {signal.LevelLow, func(r *record.Record) { r.Result = record.Failure }, false},
		"with risk":             {signal.LevelLow, func(r *record.Record) { r.Risk.Aggregated = signal.LevelLow }, false},
		"from the same address": {signal.LevelLow, func(r *record.Record) { r.IP = "203.0.113.7" }, false},
		"before it was asked":   {signal.LevelLow, func(r *record.Record) { r.At = desktest.Start().Add(-time.Minute) }, false},
		"somebody else": {signal.LevelLow, func(r *record.Record) {
			r.Subject = identity.Ref{Provider: identity.EntraID, ObjectID: desktest.ObjectID(8)}
			r.Others = []record.Party{{Ref: identity.Ref{Provider: identity.EntraID, ObjectID: desktest.ObjectID(1)}}}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := ask(t, c.level, phone)
			a.pass()
			a.reply(question.Yes)
			if got := a.steps(); !strings.HasPrefix(got, "asked passed, proof acting") {
				t.Fatalf("after a yes: %s", got)
			}
			a.proof(c.change)
			want := "asked passed, proof passed, harmless passed, word skipped, disable skipped"
			if !c.proven {
				a.after(time.Hour)
				want = "asked passed, proof skipped, harmless skipped, word passed, disable skipped"
			}
			if got := a.steps(); got != want {
				t.Errorf("%s", got)
			}
			if got := a.trail(audit.QuestionProven); (len(got) == 1) != c.proven {
				t.Errorf("the trail says %q, and of the answer %q", got, a.trail(audit.QuestionAnswered))
			}
		})
	}
}

// What speaks against it after the answer counts as well.
func TestALateDoubt(t *testing.T) {
	t.Parallel()
	a := ask(t, signal.LevelLow, phone)
	a.pass()
	a.reply(question.Yes)
	token := a.Travel("late", 0)
	token.Tenant, token.Subject, token.Type, token.Level = desktest.Tenant, a.who.Accounts[0].Ref, "anomalousToken", signal.LevelLow
	a.Store.SeedSignals(a.who.ID, token)
	a.proof(nil)
	if got := a.trail(audit.QuestionProven); len(got) != 0 {
		t.Errorf("proven with a stolen token: %q", got)
	}
}

func TestQuestionsThatAreNotAsked(t *testing.T) {
	t.Parallel()
	account := question.Channel{ID: "mail", Reach: question.ReachAccount}
	for name, c := range map[string]struct {
		channel question.Channel
		set     func(*asked)
		why     string
	}{
		"nobody reaches them":        {question.Channel{ID: "boss", Reach: question.ReachManager}, func(*asked) {}, "no channel reaches the person"},
		"the account may be read":    {account, func(a *asked) { i := a.who; i.Accounts[0].Facts.MFARegistered = nil; a.Store.Seed(i) }, "mail comes out in the account"},
		"no key":                     {phone, func(a *asked) { a.Key = func() ([]byte, error) { return nil, fault.Errorf(fault.Invalid, "no key") } }, "no key"},
		"no address":                 {phone, func(a *asked) { a.Base = func() string { return "" } }, "how people reach the page"},
		"a channel that will not":    {phone, func(a *asked) { a.Refuse = fault.Errorf(fault.Invalid, "no such number") }, "no such number"},
		"asked often within the day": {phone, func(a *asked) { a.Set.PerDay = 1; a.pass(); a.run = a.BeginAsking(a.who.ID, a.cas) }, "asked 1 times within a day"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := ask(t, signal.LevelLow, c.channel)
			c.set(a)
			a.pass()
			if got := a.steps(); got != "asked skipped, proof skipped, harmless skipped, word skipped, disable acting" {
				t.Errorf("%s", got)
			}
			if got := a.trail(audit.QuestionEnded); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, c.why) }) {
				t.Errorf("the trail says %q", got)
			}
		})
	}
}

func TestAQuestionWaitsItsTimeAndNoLonger(t *testing.T) {
	t.Parallel()
	t.Run("nobody answers", func(t *testing.T) {
		t.Parallel()
		a := ask(t, signal.LevelMedium, phone)
		a.pass()
		id, token := a.link()
		a.Scene.Pass(time.Hour)
		if _, err := a.Desk.Reply(t.Context(), id, token, question.Yes, "203.0.113.99"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("answered after its end: %v", err)
		}
		if got := a.steps(); !strings.HasSuffix(got, "disable acting") {
			t.Errorf("%s", got)
		}
	})
	t.Run("the channel is down, then not", func(t *testing.T) {
		t.Parallel()
		a := ask(t, signal.LevelMedium, phone)
		a.Refuse = fault.Errorf(fault.Unavailable, "it answers 500")
		a.pass()
		a.pass()
		first := a.Refuse
		a.Refuse = nil
		a.after(2 * time.Second)
		if first == nil || len(a.Sent) != 1 {
			t.Errorf("%d were sent", len(a.Sent))
		}
	})
	t.Run("the stop is on", func(t *testing.T) {
		t.Parallel()
		a := ask(t, signal.LevelMedium, phone)
		a.Stop = true
		if a.pass(); len(a.Sent) != 0 {
			t.Error("it was sent while the stop is on")
		}
		a.Stop = false
		if a.after(11 * time.Second); len(a.Sent) != 1 {
			t.Errorf("%d were sent", len(a.Sent))
		}
	})
	t.Run("too many in the hour", func(t *testing.T) {
		t.Parallel()
		a := ask(t, signal.LevelMedium, phone)
		a.Set.PerHour = 1
		other := desktest.Person(2, "Sasha", "sasha@corp.example", a.Now())
		c := a.AddAtRisk(other, a.Travel("sig-2", time.Minute))
		a.BeginAsking(other.ID, c)
		if a.pass(); len(a.Sent) != 1 {
			t.Fatalf("%d were sent", len(a.Sent))
		}
		a.Scene.Pass(time.Hour - time.Minute)
		if a.pass(); len(a.Sent) != 1 {
			t.Errorf("%d were sent within the hour", len(a.Sent))
		}
	})
	t.Run("the run is withdrawn", func(t *testing.T) {
		t.Parallel()
		a := ask(t, signal.LevelMedium, phone)
		a.pass()
		id, token := a.link()
		if _, err := a.Desk.Verdict(t.Context(), a.Operator("owner"), a.cas, casefile.Safe, "a test"); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Desk.Question(t.Context(), id, token, "203.0.113.99"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("it can be answered: %v", err)
		}
		if a.pass(); len(a.Sent) != 1 {
			t.Errorf("%d were sent", len(a.Sent))
		}
	})
}

func TestAManagerAtRiskIsNotAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		manager question.Recipient
		why     string
	}{
		"none": {question.Recipient{}, "names no manager"}, "at risk": {question.Recipient{Name: "Sasha", ObjectID: desktest.ObjectID(2)}, "high risk themselves"},
		"fine": {question.Recipient{Name: "Kim", ObjectID: desktest.ObjectID(8)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := ask(t, signal.LevelMedium, question.Channel{ID: "boss", Reach: question.ReachManager})
			a.AddAtRisk(desktest.Person(2, "Sasha", "sasha@corp.example", a.Now()), a.Leaked("leak", time.Minute))
			a.Managers = c.manager
			id := firstOf(t, a)
			err := a.Store.ForQuestions().Update(t.Context(), func(tx question.Tx) error {
				q, err := tx.Question(desktest.Tenant, id)
				q.Who = question.Manager
				if err == nil {
					_, err = tx.PutQuestion(q)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			a.pass()
			if got := a.trail(audit.QuestionEnded); (len(a.Sent) == 1) != (c.why == "") || c.why != "" && (len(got) != 1 || !strings.Contains(got[0], c.why)) {
				t.Errorf("%d sent, %q", len(a.Sent), got)
			}
		})
	}
}

// firstOf is the only question there is.
func firstOf(t *testing.T, a *asked) question.ID {
	t.Helper()
	list, err := a.Store.ForQuestions().DueQuestions(t.Context(), desktest.Tenant, a.Now(), 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	return list[0].ID
}
