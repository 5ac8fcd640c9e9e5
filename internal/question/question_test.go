package question_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

var (
	start = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)
	key   = []byte("a-key-for-links-in-tests-of-40-characters")
	nonce = []byte("sixteen-or-more!")
)

func pending() question.Question {
	return question.Question{Tenant: "t", ID: "qst_1", Who: question.Person, AskedAt: start, ExpiresAt: start.Add(time.Hour), DueAt: start, State: question.Pending}
}

// The row holds a hash of the link's secret and never the secret, and what is in the row
// does not make it without the key.
func TestLink(t *testing.T) {
	t.Parallel()
	q, token, err := pending().Link(key, nonce)
	if err != nil || len(token) != 43 {
		t.Fatalf("%q, %v", token, err)
	}
	row, _ := json.Marshal(q)
	sum := sha256.Sum256([]byte(token))
	if strings.Contains(string(row), token) || hex.EncodeToString(q.Hash) != hex.EncodeToString(sum[:]) {
		t.Errorf("the row is %s", row)
	}
	again, same, err := q.Link(key, []byte("another-nonce-of-16"))
	if err != nil || same != token || string(again.Nonce) != string(q.Nonce) {
		t.Errorf("made again it is another link: %v", err)
	}
	rotated, other, err := q.Link([]byte("another-key-with-32-characters-or-more"), nonce)
	if err != nil || other == token || rotated.Opens(token, start) == nil || rotated.Opens(other, start) != nil {
		t.Errorf("with another key the old link stays, or the new one opens nothing: %v", err)
	}
	for name, change := range map[string]func(*question.Question){
		"tenant": func(q *question.Question) { q.Tenant = "u" }, "id": func(q *question.Question) { q.ID = "qst_2" },
		"end": func(q *question.Question) { q.ExpiresAt = q.ExpiresAt.Add(time.Second) }, "nonce": func(q *question.Question) { q.Nonce = []byte("one that is other") },
	} {
		o := q
		if change(&o); o.Token(key) == token {
			t.Errorf("the link does not depend on the %s", name)
		}
	}
	if _, _, err := pending().Link([]byte("short"), nonce); !errors.Is(err, fault.Invalid) {
		t.Errorf("a short key: %v", err)
	}
}

// A link opens once, until its time, and says the same to whoever has another.
func TestReply(t *testing.T) {
	t.Parallel()
	q, token, _ := pending().Link(key, nonce)
	last := start.Add(time.Hour - time.Second)
	said := map[string]bool{}
	refused := func(what string, q question.Question, token string, at time.Time) {
		t.Helper()
		_, err := q.Reply(token, question.No, "", nil, at)
		if !errors.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", what, err)
			return
		}
		said[err.Error()] = true
	}
	refused("another token", q, "x"+token[1:], start)
	refused("no token", q, "", start)
	refused("too late", q, token, start.Add(time.Hour))
	refused("not sent", pending(), "", start)
	refused("void", q.Withdraw("over", start), token, start)
	if _, err := q.Reply(token, "perhaps", "", nil, start); !errors.Is(err, fault.Invalid) {
		t.Errorf("an answer that is none: %v", err)
	}
	yes, err := q.Reply(token, question.Yes, "203.0.113.9", []string{"a doubt"}, last)
	if err != nil || yes.State != question.Answered || yes.Hash != nil || yes.Nonce != nil || !yes.DueAt.IsZero() || yes.From != "203.0.113.9" || len(yes.Doubts) != 1 {
		t.Errorf("%+v, %v", yes, err)
	}
	if sure, _ := q.Reply(token, question.Yes, "", nil, last); sure.DueAt.IsZero() {
		t.Error("nobody looks for what bears a yes out")
	}
	if no, _ := q.Reply(token, question.No, "", nil, last); !no.DueAt.IsZero() || no.Answer != question.No {
		t.Errorf("%+v", no)
	}
	refused("a second time", yes, token, last)
	if len(said) != 1 {
		t.Errorf("refusals differ: %v", said)
	}
}

// Whatever happens to a question in whatever order, one that is over stays as it is and
// opens nothing.
func TestOverIsOver(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q, token, _ := pending().Link(key, nonce)
		now := start
		for range rapid.IntRange(1, 8).Draw(t, "moves") {
			was := q
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "minutes")) * time.Minute)
			switch rapid.IntRange(0, 4).Draw(t, "move") {
			case 0:
				q = q.Tick(now)
			case 1:
				q = q.Withdraw("void", now)
			case 2:
				q = q.Nobody("nobody", now)
			case 3:
				if next, err := q.Reply(token, question.Yes, "", nil, now); err == nil {
					q = next
				}
			case 4:
				if q.Opens("guess", now) == nil {
					t.Fatal("a guess opened it")
				}
			}
			if was.State != question.Pending && (q.State != was.State || q.Answer != was.Answer || !q.EndedAt.Equal(was.EndedAt)) {
				t.Fatalf("%+v became %+v", was, q)
			}
			if q.State != question.Pending && (q.Hash != nil || q.Nonce != nil || q.Opens(token, now) == nil) {
				t.Fatalf("over, and its link opens: %+v", q)
			}
			if q.State == question.Pending && !q.ExpiresAt.After(now) && q.Opens(token, now) == nil {
				t.Fatal("it opens after its end")
			}
		}
	})
}

func TestChoose(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	all := []question.Channel{{ID: "mail", Reach: question.ReachAccount}, {ID: "phone", Reach: question.ReachPerson}, {ID: "boss", Reach: question.ReachManager}}
	inside := all[:1]
	for name, c := range map[string]struct {
		who      question.Who
		causes   []signal.Cause
		mfa      *bool
		channels []question.Channel
		want     string // the channel, or a word of why there is none
	}{
		"beside the account first":  {question.Person, []signal.Cause{signal.CausePassword}, &yes, all, "phone"},
		"a password and a factor":   {question.Person, []signal.Cause{signal.CausePassword}, &yes, inside, "mail"},
		"a password alone":          {question.Person, []signal.Cause{signal.CausePassword}, &no, inside, "no second factor is registered"},
		"a factor nobody knows of":  {question.Person, []signal.Cause{signal.CausePassword}, nil, inside, "is not known"},
		"session":                   {question.Person, []signal.Cause{signal.CauseSession}, &yes, inside, "the cause is session"},
		"password and session":      {question.Person, []signal.Cause{signal.CauseBoth}, &yes, inside, "the cause is password and session"},
		"mailbox beside a password": {question.Person, []signal.Cause{signal.CauseMailbox, signal.CausePassword}, &yes, inside, "the cause is mailbox"},
		"consent":                   {question.Person, []signal.Cause{signal.CauseConsent}, &yes, inside, "the cause is consent"},
		"method":                    {question.Person, []signal.Cause{signal.CauseMethod}, &yes, inside, "the cause is authentication method"},
		"unknown":                   {question.Person, []signal.Cause{signal.CauseUnknown}, &yes, inside, "is not known"},
		"no cause":                  {question.Person, nil, &yes, inside, "nothing says"},
		"an application's secret":   {question.Person, []signal.Cause{signal.CauseWorkload}, nil, inside, "mail"},
		"a stolen session by phone": {question.Person, []signal.Cause{signal.CauseSession}, &yes, all, "phone"},
		"manager":                   {question.Manager, []signal.Cause{signal.CauseSession}, &yes, all, "boss"},
		"no manager's channel":      {question.Manager, []signal.Cause{signal.CauseSession}, &yes, all[:2], "no channel reaches the manager"},
		"none":                      {question.Person, []signal.Cause{signal.CausePassword}, &yes, nil, "no channel reaches the person"},
	} {
		got, why, ok := question.Choose(question.Question{Who: c.who, Causes: c.causes}, c.channels, c.mfa)
		if ok && got.ID != c.want || !ok && !strings.Contains(why, c.want) || why == "" {
			t.Errorf("%s: %v, %q, %t", name, got, why, ok)
		}
	}
}

// A word counts for itself only where nothing at all speaks against it.
func TestDoubts(t *testing.T) {
	t.Parallel()
	no := false
	calm := func() question.Standing {
		return question.Standing{Level: signal.LevelLow, Believe: signal.LevelLow, Privileged: &no, From: "203.0.113.9",
			Causes: []signal.Cause{signal.CausePassword}, Open: []signal.Signal{{Source: signal.RiskDetection, Type: "unfamiliarFeatures", IP: "198.51.100.7"}}}
	}
	if got := calm().Doubts(); len(got) != 0 {
		t.Errorf("doubts: %v", got)
	}
	yes := true
	for want, change := range map[string]func(*question.Standing){
		"the risk is medium":           func(s *question.Standing) { s.Level = signal.LevelMedium },
		"the risk is hidden":           func(s *question.Standing) { s.Level = signal.LevelHidden },
		"the signals speak of session": func(s *question.Standing) { s.Causes = append(s.Causes, signal.CauseSession) },
		"the signals speak of mailbox": func(s *question.Standing) { s.Causes = append(s.Causes, signal.CauseMailbox) },
		"holds a directory role":       func(s *question.Standing) { s.Privileged = &yes },
		"directory role is not known":  func(s *question.Standing) { s.Privileged = nil },
		"another product reports": func(s *question.Standing) {
			s.Open = append(s.Open, signal.Signal{Source: signal.DefenderAlert, Title: "X"})
		},
		"the answer came from 203.0.113.": func(s *question.Standing) { s.Open[0].IP = "::ffff:203.0.113.9" },
	} {
		s := calm()
		change(&s)
		if got := s.Doubts(); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %v", want, got)
		}
	}
}
