package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A page too large for one transaction is taken in several; what was taken before
// a failure stays, the cursor does not move, and taking it again does no harm.
func TestLargePageIsTakenInParts(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.contain()
	asked := 0
	h.pipe.Lookup = func(identity.Tenant) connector.Lookup {
		return lookup(func(_ context.Context, refs []identity.Ref) (out []connector.AccountFacts, _ error) {
			asked += len(refs)
			for _, r := range refs {
				out = append(out, connector.AccountFacts{Ref: r, Facts: enabled(h.clock.Now())})
			}
			return out, nil
		})
	}
	page := connector.Page{Next: "next"}
	for n := range 350 {
		page.Signals = append(page.Signals, leak(fmt.Sprintf("d%d", n), fmt.Sprint(n), epoch))
	}
	boom, commits := errors.New("disk full"), 0
	h.db.Fail = func() error {
		if commits++; commits == 11 {
			return boom
		}
		return nil
	}
	s := source{name: "test.stream", pages: []connector.Page{page}}
	res, err := h.pipe.Poll(t.Context(), tenant, s)
	if !errors.Is(err, boom) || res.New != 190 || len(h.cases()) != 190 {
		t.Fatalf("%v: %d new signals, %d cases; want 190 before the failure", err, res.New, len(h.cases()))
	}
	cursor := func() connector.Cursor {
		c, err := h.db.Ingest().Cursor(t.Context(), tenant, "test.stream")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := cursor(); c != "" {
		t.Errorf("the cursor moved to %q before the page was taken whole", c)
	}
	h.db.Fail = nil
	if res, err = h.pipe.Poll(t.Context(), tenant, s); err != nil || res.New != 160 || res.Duplicate != 190 || len(h.cases()) != 350 {
		t.Errorf("%v: %d new, %d duplicate, %d cases", err, res.New, res.Duplicate, len(h.cases()))
	}
	if c := cursor(); c != "next" {
		t.Errorf("the cursor is %q", c)
	}
	if asked < 350 {
		t.Errorf("facts of %d accounts were looked up, of 350", asked)
	}
}

// historian is a lookup that knows no facts and some history.
type historian struct {
	lookup
	asked []string
	tell  func(ref identity.Ref) ([]signal.AccountRisk, error)
}

func (h *historian) History(_ context.Context, ref identity.Ref) ([]signal.AccountRisk, error) {
	h.asked = append(h.asked, ref.ObjectID)
	return h.tell(ref)
}

func opinion(person string, level signal.Level, state signal.State, by string, at time.Time) signal.AccountRisk {
	return signal.AccountRisk{Tenant: tenant, Subject: runtest.Person(person), Level: level, State: state, By: by, UpdatedAt: at}
}

func TestHistoryOfOpenCasesIsRead(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	first, later := epoch, epoch.Add(time.Minute)
	boom := errors.New("reset")
	fail := true
	hist := &historian{
		lookup: func(context.Context, []identity.Ref) ([]connector.AccountFacts, error) { return nil, nil },
		tell: func(ref identity.Ref) ([]signal.AccountRisk, error) {
			if fail {
				return nil, boom
			}
			return []signal.AccountRisk{
				opinion("1", signal.LevelHigh, signal.StateAtRisk, "", first),
				opinion("1", signal.LevelHigh, signal.StateConfirmedCompromised, "admin", later),
			}, nil
		},
	}
	h.pipe.Lookup = func(identity.Tenant) connector.Lookup { return hist }
	refresh := func() (ingest.Result, error) { return h.pipe.Refresh(t.Context(), tenant, 10) }
	current := func() (out []signal.AccountRisk) {
		first := h.identities()[0].ID
		h.view(func(tx *runtest.Tx) (err error) { out, err = tx.AccountRisksOf(tenant, first); return err })
		return out
	}
	told := connector.Page{Accounts: []signal.AccountRisk{opinion("1", signal.LevelHigh, signal.StateConfirmedCompromised, "", later)}, Next: "1"}

	h.take(signals(leak("d1", "1", epoch))) // opens a case
	h.take(connector.Page{Accounts: []signal.AccountRisk{opinion("2", signal.LevelNone, signal.StateRemediated, "", first)}})
	h.take(told)
	if _, err := refresh(); !errors.Is(err, boom) {
		t.Fatalf("err %v", err)
	}
	fail = false
	if _, err := refresh(); err != nil {
		t.Fatal(err)
	}
	asked := len(hist.asked)
	if got := current(); len(got) != 1 || got[0].By != "admin" {
		t.Errorf("it is not known who changed it: %+v", got)
	}
	// The list tells the same again, without who; nothing changes and nothing is
	// asked.
	if res := h.take(told); res.Duplicate != 1 || res.Updated != 0 {
		t.Errorf("%+v", res)
	}
	if _, err := refresh(); err != nil || len(hist.asked) != asked {
		t.Errorf("%v; asked %v", err, hist.asked)
	}
	if got := current(); got[0].By != "admin" {
		t.Error("who changed it was forgotten")
	}
	// A change is looked into.
	h.take(connector.Page{Accounts: []signal.AccountRisk{opinion("1", signal.LevelHigh, signal.StateAtRisk, "", later.Add(time.Minute))}})
	if _, err := refresh(); err != nil || len(hist.asked) != asked+1 {
		t.Errorf("%v; asked %v", err, hist.asked)
	}
	one := runtest.Person("1").ObjectID
	want := make([]string, len(hist.asked))
	for n := range want {
		want[n] = one
	}
	if diff := cmp.Diff(want, hist.asked); diff != "" {
		t.Errorf("asked for others than the open case's:\n%s", diff)
	}
}

// A Refresh reads the history of few accounts: it costs requests of a small limit.
func TestHistoryIsReadLittleByLittle(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	hist := &historian{
		lookup: func(context.Context, []identity.Ref) ([]connector.AccountFacts, error) { return nil, nil },
		tell:   func(identity.Ref) ([]signal.AccountRisk, error) { return nil, nil },
	}
	h.pipe.Lookup = func(identity.Tenant) connector.Lookup { return hist }
	for n := range 12 {
		h.take(signals(leak(fmt.Sprintf("d%d", n), fmt.Sprint(n), epoch)))
	}
	var after []int
	for range 4 {
		if _, err := h.pipe.Refresh(t.Context(), tenant, 10); err != nil {
			t.Fatal(err)
		}
		after = append(after, len(hist.asked))
	}
	if diff := cmp.Diff([]int{5, 10, 12, 12}, after); diff != "" {
		t.Error(diff)
	}
}
