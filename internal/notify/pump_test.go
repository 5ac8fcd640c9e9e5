package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/notify"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

const (
	tenant identity.Tenant = "11111111-1111-4111-8111-111111111111"
	// hostile is a name that wants to be a link, a mention, a header and a mark.
	hostile = "Ann <!channel> [reset](https://evil.example) @here\r\nBcc: x@evil.example\u202e *now* & <b>"
	key     = "a-key-of-the-test-with-enough-characters"
)

// far is the receivers' side: what came, and what is answered.
type far struct {
	mu     sync.Mutex
	got    []*http.Request
	bodies [][]byte
	answer func(n int) (status int, header http.Header, err error) // by the number of the request, from 0
}

func (f *far) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	n := len(f.got)
	f.got, f.bodies = append(f.got, r), append(f.bodies, body)
	status, header := 204, http.Header{}
	if f.answer != nil {
		if status, header, err = f.answer(n); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("ok")), Request: r}, nil
}

type house struct {
	*memory
	far  *far
	pump *notify.Pump
	log  strings.Builder
}

func newHouse(t testing.TB, receivers ...notify.Receiver) *house {
	h := &house{memory: newMemory(), far: &far{}}
	h.pump = &notify.Pump{
		Store: h.memory, Home: tenant, Receivers: func() []notify.Receiver { return receivers }, Now: time.Now, Transport: h.far,
		Log:  slog.New(slog.NewTextHandler(&h.log, nil)),
		Link: func(t identity.Tenant, id casefile.ID) string { return "https://cordon.example/cases/" + string(id) },
	}
	h.pass(t) // takes its place at the end of what is there
	return h
}

func (h *house) pass(t testing.TB) {
	t.Helper()
	if err := h.pump.Pass(context.Background(), tenant); err != nil {
		t.Error(err)
	}
}

func (h *house) received() int {
	h.far.mu.Lock()
	defer h.far.mu.Unlock()
	return len(h.far.got)
}

func entry(kind audit.Kind, id string) audit.Entry {
	return audit.Entry{Tenant: tenant, At: time.Now().UTC(), Actor: "system:test", Kind: kind, Case: id, Text: "it happened to " + hostile, Data: map[string]any{"n": 1.0}}
}

func file(id string, status casefile.Status) casefile.Case {
	return casefile.Case{Tenant: tenant, ID: casefile.ID(id), Identity: "idn_1", Name: hostile, Status: status, Level: "high", Reason: "Leaked credentials", Waits: "an approval", OpenedAt: time.Now()}
}

// setenv keeps the secrets where a setting says they are.
func setenv(t *testing.T) {
	t.Setenv("NOTIFY_TEST_URL", "https://hooks.example/services/T0/B0/url-is-a-secret")
	t.Setenv("NOTIFY_TEST_KEY", key)
}

func webhook() notify.Receiver {
	return notify.Receiver{ID: "soc", Kind: notify.Webhook, URL: "env:NOTIFY_TEST_URL", Secret: "env:NOTIFY_TEST_KEY"}
}

func person(kind notify.Kind) notify.Receiver {
	return notify.Receiver{ID: "people", Kind: kind, URL: "env:NOTIFY_TEST_URL"}
}

// Everything is told once, in order, under an id that stays, and signed so that
// its receiver can tell.
func TestWebhookTellsEverythingInOrder(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, webhook())
		for n := range 250 {
			h.write(entry([]audit.Kind{audit.CaseOpened, audit.ActionVerified}[n%2], "cas_1"))
		}
		h.write(audit.Entry{Tenant: "another", At: time.Now(), Kind: audit.CaseOpened, Text: "not ours"})
		h.pass(t)
		h.pass(t)
		if h.received() != 250 {
			t.Fatalf("%d messages", h.received())
		}
		for n, r := range h.far.got {
			body := h.far.bodies[n]
			id, err := notify.Verify(key, r.Header, body, time.Now())
			if err != nil || id != fmt.Sprintf("%s-%d", tenant, n) || r.Header.Get("Idempotency-Key") != id {
				t.Fatalf("message %d: id %q, %v", n, id, err)
			}
			v := payload(t, body)
			if v["sequence"] != float64(n) || v["id"] != id || v["case"] != "cas_1" || v["link"] != "https://cordon.example/cases/cas_1" || v["data"].(map[string]any)["n"] != 1.0 {
				t.Fatalf("message %d: %s", n, body)
			}
		}
		// The signature is the one that Standard Webhooks describes, reckoned here anew.
		r := h.far.got[0]
		m := hmac.New(sha256.New, []byte(key))
		m.Write([]byte(r.Header.Get("Webhook-Id") + "." + r.Header.Get("Webhook-Timestamp") + "." + string(h.far.bodies[0])))
		if want := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)); r.Header.Get("Webhook-Signature") != want {
			t.Errorf("signature %s, want %s", r.Header.Get("Webhook-Signature"), want)
		}
	})
}

func TestVerifyRefuses(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, webhook())
		h.write(entry(audit.CaseOpened, "cas_1"))
		h.pass(t)
		r, body, now := h.far.got[0], h.far.bodies[0], time.Now()
		change := func(name, value string) http.Header {
			x := r.Header.Clone()
			x.Set(name, value)
			return x
		}
		for name, c := range map[string]struct {
			key  string
			h    http.Header
			body []byte
			at   time.Time
		}{
			"another key":       {"another-key-with-enough-characters", r.Header, body, now},
			"another body":      {key, r.Header, append(slices.Clone(body), ' '), now},
			"another id":        {key, change("Webhook-Id", "x"), body, now},
			"no id":             {key, change("Webhook-Id", ""), body, now},
			"another time":      {key, change("Webhook-Timestamp", fmt.Sprint(now.Unix()+1)), body, now},
			"no time":           {key, change("Webhook-Timestamp", "soon"), body, now},
			"no signature":      {key, change("Webhook-Signature", ""), body, now},
			"replayed later":    {key, r.Header, body, now.Add(6 * time.Minute)},
			"a clock in future": {key, r.Header, body, now.Add(-6 * time.Minute)},
		} {
			if _, err := notify.Verify(c.key, c.h, c.body, c.at); fault.KindOf(err) != fault.Denied {
				t.Errorf("%s: %v", name, err)
			}
		}
		more := change("Webhook-Signature", "v1,AAAA "+r.Header.Get("Webhook-Signature")) // while a key is changed
		if _, err := notify.Verify(key, more, body, now); err != nil {
			t.Errorf("one of two signatures is right: %v", err)
		}
	})
}

// A receiver that is down holds up nobody, hears everything afterwards, and is
// asked no faster than it wants.
func TestReceiverDown(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, webhook())
		h.far.answer = func(n int) (int, http.Header, error) {
			switch {
			case n == 0:
				return 503, http.Header{"Retry-After": {"120"}}, nil
			case n < 5:
				return 0, nil, errors.New("connection refused to https://hooks.example/services/T0/B0/url-is-a-secret")
			}
			return 200, nil, nil
		}
		for range 3 {
			h.write(entry(audit.CaseOpened, "cas_1"))
		}
		began := time.Now()
		for h.received() < 8 && time.Since(began) < time.Hour {
			h.pass(t)
			<-time.After(time.Second)
		}
		h.pass(t)
		if h.received() != 8 {
			t.Fatalf("%d requests", h.received())
		}
		ids := map[string]int{}
		for _, r := range h.far.got {
			ids[r.Header.Get("Webhook-Id")]++
		}
		if len(ids) != 3 || ids[string(tenant)+"-0"] != 6 {
			t.Errorf("ids %v", ids)
		}
		if time.Since(began) < 120*time.Second {
			t.Errorf("asked again after %v", time.Since(began))
		}
		if strings.Contains(h.log.String(), "url-is-a-secret/") || strings.Contains(h.log.String(), key) {
			t.Errorf("the log shows a secret: %s", h.log.String())
		}
	})
}

// One that is slow and has much to hear does not keep the others from hearing.
func TestSlowReceiverKeepsNobodyWaiting(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, webhook(), person(notify.Slack))
		h.put(file("cas_1", casefile.Waiting))
		h.far.answer = func(int) (int, http.Header, error) {
			<-time.After(3 * time.Second)
			return 200, nil, nil
		}
		for range 30 {
			h.write(entry(audit.CaseOpened, "cas_2"))
		}
		h.write(entry(audit.ApprovalAsked, "cas_1"))
		<-time.After(2 * time.Minute)
		began := time.Now()
		h.pass(t)
		people := 0
		for _, r := range h.far.got {
			if r.Header.Get("Webhook-Id") == "" {
				people++
			}
		}
		if took := time.Since(began); people != 1 || took > 30*time.Second {
			t.Errorf("after %s people had %d messages, want one", took, people)
		}
		for n := 0; h.received() < 32 && n < 100; n++ {
			h.pass(t)
		}
		if h.received() != 32 {
			t.Errorf("%d messages in all, want 32", h.received())
		}
	})
}

// People hear of a campaign that waits for them: for an answer, or because it paused.
func TestPeopleHearOfCampaigns(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, person(notify.Teams))
		moved := func(state string) audit.Entry {
			e := entry(audit.CampaignMoved, "")
			e.Data = map[string]any{"state": state}
			return e
		}
		h.write(entry(audit.CampaignAsked, ""), moved("rolling"), moved("paused"), entry(audit.CampaignEnded, ""))
		<-time.After(2 * time.Minute)
		h.pass(t)
		if h.received() != 2 {
			t.Errorf("%d messages, want 2", h.received())
		}
	})
}

// What a receiver refuses for good does not stop what follows, and is told.
func TestRefusedForGood(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, webhook())
		h.far.answer = func(n int) (int, http.Header, error) { return []int{400, 200}[min(n, 1)], nil, nil }
		h.write(entry(audit.CaseOpened, "cas_1"), entry(audit.CaseContained, "cas_1"))
		h.pass(t)
		p, err := h.Place(t.Context(), "soc", tenant)
		if err != nil || h.received() != 2 || p.Next != 2 || p.Refused != 1 {
			t.Errorf("%d requests, place %+v, %v", h.received(), p, err)
		}
		if !strings.Contains(h.log.String(), "answers 400") {
			t.Errorf("log: %s", h.log.String())
		}
	})
}

// Our own store being down is no fault of the receiver: nothing is skipped, nothing
// is noted against it.
func TestOwnStoreDown(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, webhook())
		h.write(entry(audit.CaseOpened, "cas_1"))
		h.broken = fault.Errorf(fault.Unavailable, "the database is away")
		if err := h.pump.Pass(t.Context(), tenant); !errors.Is(err, fault.Unavailable) {
			t.Errorf("pass: %v", err)
		}
		h.broken = nil
		h.pass(t)
		if p, _ := h.Place(t.Context(), "soc", tenant); h.received() != 1 || p.Failures != 0 {
			t.Errorf("%d requests, place %+v", h.received(), p)
		}
	})
}

// People hear once of a case and an episode, a minute later, and not at all when
// nobody needs to act any more.
func TestPeopleHearOnce(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, person(notify.Teams))
		h.put(file("cas_1", casefile.Waiting))
		h.put(file("cas_2", casefile.Acting))
		h.write(entry(audit.CaseOpened, "cas_1"), entry(audit.ApprovalAsked, "cas_1"), entry(audit.RunHeld, "cas_1"), entry(audit.ApprovalAsked, "cas_2"), entry(audit.ActionVerified, "cas_1"))
		h.pass(t)
		if h.received() != 0 {
			t.Fatal("told before it settled")
		}
		<-time.After(30 * time.Second)
		h.put(file("cas_2", casefile.Contained)) // by itself, meanwhile
		<-time.After(31 * time.Second)
		h.pass(t)
		if h.received() != 1 {
			t.Fatalf("%d messages", h.received())
		}
		again := file("cas_1", casefile.Waiting)
		again.Reopened = 1
		h.put(again)
		h.write(entry(audit.CaseReopened, "cas_1"), entry(audit.RunHeld, "cas_1"))
		<-time.After(2 * time.Minute)
		h.pass(t)
		if h.received() != 2 {
			t.Errorf("%d messages after the risk returned", h.received())
		}
	})
}

// A failure that a playbook pages of is told although the case was, and the held run
// that comes with it is not told again; nobody is woken for what is contained.
func TestAPageIsTold(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, person(notify.Teams))
		h.put(file("cas_1", casefile.Waiting))
		h.put(file("cas_2", casefile.Contained))
		h.write(entry(audit.ApprovalAsked, "cas_1"), entry(audit.RunPaged, "cas_1"), entry(audit.RunHeld, "cas_1"), entry(audit.RunPaged, "cas_2"))
		<-time.After(2 * time.Minute)
		h.pass(t)
		h.pass(t)
		if h.received() != 2 {
			t.Errorf("%d messages, want that an approval is awaited and the page", h.received())
		}
	})
}

// Names from outside are text in every chat: no link, no mention, no format.
func TestChatsAreNotFooled(t *testing.T) {
	setenv(t)
	for _, kind := range []notify.Kind{notify.Teams, notify.Slack} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, person(kind))
			h.put(file("cas_1", casefile.Waiting))
			h.write(entry(audit.ApprovalAsked, "cas_1"))
			<-time.After(2 * time.Minute)
			h.pass(t)
			if h.received() != 1 {
				t.Fatalf("%d messages", h.received())
			}
			body := h.far.bodies[0]
			v := payload(t, body)
			if strings.Contains(string(body), "\\u202e") || strings.Contains(string(body), "\u202e") || strings.Contains(string(body), `\r`) {
				t.Errorf("marks that turn text around, or line ends: %s", body)
			}
			switch kind {
			case notify.Slack:
				if text := v["text"].(string); strings.ContainsAny(text, "<>") {
					t.Errorf("Slack reads a mention: %s", text)
				}
				if strings.Contains(string(body), "mrkdwn") {
					t.Errorf("Slack would read marks: %s", body)
				}
			case notify.Teams:
				if strings.Contains(string(body), "TextBlock\"") && !strings.Contains(string(body), "RichTextBlock") {
					t.Errorf("Teams would read Markdown: %s", body)
				}
				card := v["attachments"].([]any)[0].(map[string]any)
				if v["type"] != "message" || card["contentType"] != "application/vnd.microsoft.card.adaptive" {
					t.Errorf("not a card: %s", body)
				}
				for _, b := range card["content"].(map[string]any)["body"].([]any) {
					if b.(map[string]any)["type"] != "RichTextBlock" {
						t.Errorf("a block that reads Markdown: %v", b)
					}
				}
			}
			if !strings.Contains(string(body), "https://cordon.example/cases/cas_1") {
				t.Errorf("no way to the case: %s", body)
			}
			if h.far.got[0].Header.Get("Webhook-Signature") != "" {
				t.Error("a chat is not signed to")
			}
		})
	}
}

// A ticket is created, updated and closed under one key.
func TestTickets(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		r := webhook()
		r.Kind = notify.Ticket
		h := newHouse(t, r)
		c := file("cas_1", casefile.Waiting)
		h.put(c)
		h.write(entry(audit.CaseOpened, "cas_1"), entry(audit.ActionIntent, "cas_1"), entry(audit.ActionVerified, "cas_1"), entry(audit.FeedSilent, ""))
		h.pass(t)
		c.Status, c.Verdict = casefile.Closed, &casefile.Verdict{Word: casefile.Compromised}
		h.put(c)
		h.write(entry(audit.VerdictGiven, "cas_1"))
		h.pass(t)
		var ops []string
		for n := range h.far.bodies {
			v := payload(t, h.far.bodies[n])
			ops = append(ops, fmt.Sprint(v["operation"], " ", v["key"], " ", v["status"], " ", v["verdict"]))
			if _, err := notify.Verify(key, h.far.got[n].Header, h.far.bodies[n], time.Now()); err != nil {
				t.Error(err)
			}
		}
		if want := []string{"create cas_1 waiting <nil>", "update cas_1 waiting <nil>", "close cas_1 closed compromised"}; !slices.Equal(ops, want) {
			t.Errorf("got %v, want %v", ops, want)
		}
	})
}

// Two processes that both think the tenant theirs: nothing is left out, and what
// comes twice has the same id.
func TestTwoProcesses(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, webhook())
		for range 40 {
			h.write(entry(audit.CaseOpened, "cas_1"))
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for range 50 {
					h.pass(t)
				}
			})
		}
		wg.Wait()
		ids := map[string]bool{}
		for _, r := range h.far.got {
			ids[r.Header.Get("Webhook-Id")] = true
		}
		if len(ids) != 40 {
			t.Errorf("%d of 40", len(ids))
		}
	})
}

// What concerns all tenants is told once, with the tenant that is its home.
func TestWhatConcernsAll(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, webhook())
		if err := h.pump.Pass(t.Context(), "another"); err != nil {
			t.Fatal(err)
		}
		h.write(audit.Entry{At: time.Now(), Kind: audit.StopOn, Text: "everything stands still"})
		h.pass(t)
		if err := h.pump.Pass(t.Context(), "another"); err != nil {
			t.Fatal(err)
		}
		if h.received() != 1 || payload(t, h.far.bodies[0])["id"] != "all-0" {
			t.Errorf("%d messages", h.received())
		}
	})
}

// An erased entry is nobody's any more, and holds up nothing.
func TestErasedEntries(t *testing.T) {
	setenv(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, webhook())
		h.write(entry(audit.CaseOpened, "cas_1"), entry(audit.CaseOpened, "cas_2"))
		h.memory.log[0].Payload = nil
		h.pass(t)
		if h.received() != 1 || payload(t, h.far.bodies[0])["case"] != "cas_2" {
			t.Errorf("%d messages", h.received())
		}
	})
}

// Nothing goes anywhere in clear, and a missing secret waits for its owner.
func TestUnsafeAddressesWait(t *testing.T) {
	setenv(t)
	for _, url := range []string{"http://hooks.example/x", "ftp://hooks.example", "https://user:pw@hooks.example", "nonsense"} {
		t.Setenv("NOTIFY_TEST_URL", url)
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, webhook())
			h.write(entry(audit.CaseOpened, "cas_1"))
			h.pass(t)
			p, err := h.Place(t.Context(), "soc", tenant)
			if h.received() != 0 || err != nil || p.Next != 0 || p.Failures != 1 || strings.Contains(p.Trouble, url) {
				t.Errorf("%s: %d requests, %+v, %v", url, h.received(), p, err)
			}
		})
	}
}

func TestReady(t *testing.T) {
	setenv(t)
	if err := webhook().Ready(); err != nil {
		t.Error(err)
	}
	t.Setenv("NOTIFY_TEST_KEY", "short")
	t.Setenv("NOTIFY_TEST_URL", "http://hooks.example/url-is-a-secret")
	err := webhook().Ready()
	if err == nil || !strings.Contains(err.Error(), "not https") || !strings.Contains(err.Error(), "under 24 characters") || strings.Contains(err.Error(), "url-is-a-secret") {
		t.Errorf("ready: %v", err)
	}
	r := webhook()
	r.URL = "env:NOTIFY_TEST_NOWHERE"
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "NOTIFY_TEST_NOWHERE") {
		t.Errorf("ready: %v", err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := notify.Receiver{ID: "soc", Kind: notify.Webhook, URL: "env:A", Secret: "env:B"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	letter := notify.Receiver{ID: "desk", Kind: notify.Mail, SMTP: notify.SMTP{Address: "mail.example:587", From: "cordon@corp.example", To: []string{"soc@corp.example"}}}
	if err := letter.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*notify.Receiver){
		"id: ":            func(r *notify.Receiver) { r.ID = "SOC desk" },
		"kind: ":          func(r *notify.Receiver) { r.Kind = "pager" },
		"url: is missing": func(r *notify.Receiver) { r.URL = "" },
		"url: ":           func(r *notify.Receiver) { r.URL = secret.Ref("https://hooks.example/pasted") },
		"secret: ":        func(r *notify.Receiver) { r.Secret = "" },
		"events: ":        func(r *notify.Receiver) { r.Events = []audit.Kind{"everything"} },
		"settle: ":        func(r *notify.Receiver) { r.Settle = -1 },
	} {
		r := good
		change(&r)
		err := r.Check()
		if fault.KindOf(err) != fault.Invalid && !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "pasted") {
			t.Errorf("a pasted secret is shown: %v", err)
		}
	}
	bad := letter
	bad.SMTP = notify.SMTP{Address: "mail.example", User: "x", From: "no", To: []string{"a@corp.example\r\nBcc: b@evil.example"}}
	for _, want := range []string{"smtp.address", "smtp.password", "smtp.to"} {
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
