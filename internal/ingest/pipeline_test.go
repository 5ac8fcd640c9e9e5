package ingest_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

const tenant = identity.Tenant("tenant")

var epoch = time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)

// lookup is a connector.Lookup over a function.
type lookup func(ctx context.Context, refs []identity.Ref) ([]connector.AccountFacts, error)

func (l lookup) Facts(ctx context.Context, refs []identity.Ref) ([]connector.AccountFacts, error) {
	return l(ctx, refs)
}

// An intake is a pipeline over an in-memory store.
type intake struct {
	t       testing.TB
	db      *runtest.DB
	clock   *runtest.Clock
	planner *runtest.Planner
	driver  *run.Driver
	pipe    *ingest.Pipeline
	nudged  int
}

func newIntake(t testing.TB) *intake {
	t.Helper()
	cat, err := runtest.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	h := &intake{
		t: t, db: &runtest.DB{}, clock: runtest.NewClock(epoch),
		planner: &runtest.Planner{Plans: map[string]func(playbook.Input) (playbook.Plan, error){"contain": runtest.Steps(runtest.Disable)}},
	}
	h.driver = &run.Driver{
		Store: h.db.Runs(), Planner: h.planner, Catalogue: cat, Now: h.clock.Now,
		Policy: func(identity.Tenant) identity.Policy { return identity.Policy{} },
		Mode:   func(identity.Tenant) playbook.Mode { return playbook.Enforce },
		Nudge:  func(identity.Tenant) { h.nudged++ },
	}
	h.pipe = &ingest.Pipeline{Store: h.db.Ingest(), Runs: h.driver, Now: h.clock.Now}
	return h
}

// contain lets the playbook match signals at high, once in an hour for each identity.
func (h *intake) contain() {
	h.planner.Matches = []runtest.Rule{{
		On: playbook.OnSignal, When: func(in playbook.Input) bool { return in.Assessment.Level == signal.LevelHigh },
		Match: playbook.Match{Ref: playbook.Ref{ID: "contain"}, OnceKey: "all", Window: time.Hour},
	}}
}

func (h *intake) take(p connector.Page) ingest.Result {
	h.t.Helper()
	res, err := h.pipe.Take(context.Background(), tenant, "test.stream", p)
	if err != nil {
		h.t.Fatal(err)
	}
	return res
}

func (h *intake) view(look func(*runtest.Tx) error) {
	h.t.Helper()
	h.db.View(func(tx *runtest.Tx) {
		if err := look(tx); err != nil {
			h.t.Fatal(err)
		}
	})
}

func (h *intake) cases() (cs []casefile.Case) {
	h.view(func(tx *runtest.Tx) (err error) { cs, err = tx.Cases(tenant); return err })
	return cs
}

func (h *intake) identities() (is []identity.Identity) {
	h.view(func(tx *runtest.Tx) (err error) { is, err = tx.Identities(tenant); return err })
	return is
}

func (h *intake) runs() (rs []run.Run) {
	h.view(func(tx *runtest.Tx) (err error) { rs, err = tx.Runs(tenant); return err })
	return rs
}

// feeds are the states in the rows.
func (h *intake) feeds() (list []connector.FeedState) {
	h.view(func(tx *runtest.Tx) (err error) { list, err = tx.Feeds(tenant); return err })
	return list
}

func (h *intake) count(k audit.Kind) (n int) {
	for _, e := range h.db.Trail() {
		if e.Kind == k {
			n++
		}
	}
	return n
}

func leak(id, person string, at time.Time) signal.Signal {
	return runtest.Detection(tenant, id, runtest.Person(person), "leakedCredentials", signal.LevelHigh, at)
}

func signals(s ...signal.Signal) connector.Page { return connector.Page{Signals: s, Next: "next"} }

func TestOneSignalAndAllThatFollows(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.contain()
	res := h.take(signals(leak("d1", "1", epoch)))
	if res.Read != 1 || res.New != 1 || len(res.Cases) != 1 || len(res.Runs) != 1 {
		t.Fatalf("%+v", res)
	}
	c := h.cases()[0]
	if c.Level != signal.LevelHigh || c.Status != casefile.Acting || c.Signals != 1 || c.Name != "User 1" || c.Reason == "" {
		t.Errorf("case %+v", c)
	}
	r := h.runs()[0]
	if r.State != run.Acting || r.Trigger != "d1" || r.Case != c.ID || r.AskedBy != "playbook:contain" {
		t.Errorf("run %+v", r)
	}
	h.view(func(tx *runtest.Tx) error {
		as, err := tx.Actions(tenant)
		if len(as) != 1 || as[0].State != "approved" {
			t.Errorf("actions %+v", as)
		}
		return err
	})
	if got, err := h.db.Ingest().Cursor(t.Context(), tenant, "test.stream"); got != "next" || err != nil {
		t.Errorf("cursor %q, %v", got, err)
	}
	if h.nudged != 1 {
		t.Errorf("nudged %d times", h.nudged)
	}
	asked := h.planner.Asked()[0]
	if want := []string{playbook.OnSignal, playbook.OnRisk, playbook.OnCase}; !slices.Equal(asked.On, want) || asked.Trigger.ExternalID != "d1" {
		t.Errorf("asked on %v", asked.On)
	}
	again := h.take(signals(leak("d1", "1", epoch)))
	if diff := cmp.Diff(ingest.Result{Read: 1, Duplicate: 1}, again); diff != "" {
		t.Errorf("the same page again (-want +got):\n%s", diff)
	}
	if n := len(h.planner.Asked()); n != 1 {
		t.Errorf("a duplicate asked the playbooks: %d", n)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	first, closed, between := leak("d1", "1", epoch), leak("d1", "1", epoch), leak("d1", "1", epoch)
	closed.UpdatedAt, closed.State = epoch.Add(time.Hour), signal.StateRemediated
	between.UpdatedAt, between.Detail = epoch.Add(time.Minute), "hidden"
	h.take(signals(first))
	if got := h.take(signals(closed)); got.Updated != 1 {
		t.Errorf("%+v", got)
	}
	if got := h.take(signals(between)); got.Older != 1 {
		t.Errorf("%+v", got)
	}
	if n := h.db.Versions(first.Key()); n != 2 {
		t.Errorf("%d earlier versions are kept", n)
	}
	if c := h.cases()[0]; c.Level != signal.LevelNone || c.Score != 0 {
		t.Errorf("remediated, and the case is at %s %d", c.Level, c.Score)
	}
	if n := len(h.planner.Asked()); n != 2 { // the leak, and that the risk went
		t.Errorf("the playbooks were asked %d times", n)
	}
}

// Nothing is dropped: what cannot be used is kept whole with the reason.
func TestRejects(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	weak, foreign, nameless := leak("d1", "1", epoch), leak("d2", "1", epoch), leak("", "1", epoch)
	weak.Subject = identity.Ref{UPN: "user@corp.example"}
	foreign.Tenant = "another"
	nameless.Raw = nil
	page := signals(weak, foreign, nameless, leak("d3", "1", epoch))
	page.Rejects = []connector.Reject{{Source: signal.RiskDetection, Place: "page 1, record 2", Reason: "not an object", Raw: []byte("[]")}}
	page.Accounts = []signal.AccountRisk{{Tenant: tenant, Subject: identity.Ref{UPN: "x"}, Level: signal.LevelHigh, Raw: []byte(`{"id":1}`)}}
	res := h.take(page)
	if res.Read != 6 || res.Rejected != 5 || res.New != 1 {
		t.Errorf("%+v", res)
	}
	var reasons []string
	for _, r := range h.db.Rejects() {
		reasons = append(reasons, r.Reason)
		if len(r.Raw) == 0 || r.Stream != "test.stream" {
			t.Errorf("not kept whole: %+v", r)
		}
	}
	want := []string{"not an object", "names no strong identifier", `belongs to the tenant "another"`, "has no source or no id", "names no strong identifier"}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

func enabled(at time.Time) identity.Facts {
	yes := true
	return identity.Facts{AsOf: at, Found: &yes, Enabled: &yes, UserType: "Member", RolesAsOf: at}
}

func TestFactsAreReadFirst(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	var asked [][]identity.Ref
	h.pipe.Lookup = func(identity.Tenant) connector.Lookup {
		return lookup(func(_ context.Context, refs []identity.Ref) ([]connector.AccountFacts, error) {
			asked = append(asked, refs)
			var out []connector.AccountFacts
			for _, r := range refs {
				out = append(out, connector.AccountFacts{Ref: r, Facts: enabled(h.clock.Now())})
			}
			return out, nil
		})
	}
	closed := leak("d2", "2", epoch)
	closed.State = signal.StateDismissed
	res := h.take(signals(leak("d1", "1", epoch), leak("d3", "1", epoch), closed))
	if len(asked) != 1 || len(asked[0]) != 1 || res.Facts != 1 {
		t.Fatalf("asked %v, facts %d", asked, res.Facts)
	}
	in := h.planner.Asked()[0]
	if a, _ := in.Identity.Account(identity.EntraID); a.Facts.Enabled == nil || in.Protection.Unknown {
		t.Errorf("the playbooks saw no facts: %+v, %v", a.Facts, in.Protection)
	}
	h.take(signals(leak("d4", "1", epoch.Add(time.Minute))))
	if len(asked) != 1 {
		t.Error("fresh facts were read again")
	}
	h.clock.Add(time.Hour)
	h.take(signals(leak("d5", "1", epoch.Add(time.Minute))))
	if len(asked) != 2 {
		t.Error("old facts were not read again")
	}
}

// That facts cannot be read, or not in time, never loses a signal.
func TestLookupFailureLosesNothing(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]lookup{
		"error": func(context.Context, []identity.Ref) ([]connector.AccountFacts, error) {
			return nil, fault.Errorf(fault.Unavailable, "the directory is away")
		},
		"hangs": func(ctx context.Context, _ []identity.Ref) ([]connector.AccountFacts, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"half": func(_ context.Context, refs []identity.Ref) ([]connector.AccountFacts, error) {
			return []connector.AccountFacts{{Ref: refs[0], Facts: enabled(epoch)}}, errors.New("and then it broke off")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newIntake(t)
				h.pipe.Lookup = func(identity.Tenant) connector.Lookup { return l }
				start := time.Now()
				res := h.take(signals(leak("d1", "1", epoch), leak("d2", "2", epoch)))
				if res.New != 2 || len(res.Cases) != 2 {
					t.Errorf("%+v", res)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("waited %s for facts", took)
				}
				if want := map[string]int{"half": 1}[name]; res.Facts != want {
					t.Errorf("%d facts, want %d", res.Facts, want)
				}
			})
		})
	}
}

// source is a connector.Source over pages; an error ends it.
type source struct {
	name  connector.Name
	pages []connector.Page
	err   error // after the pages
}

func (s source) Name() connector.Name { return s.name }

func (s source) Pages(_ context.Context, c connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		from := slices.IndexFunc(s.pages, func(p connector.Page) bool { return p.Next == c }) + 1
		for _, p := range s.pages[from:] {
			if !yield(p, nil) {
				return
			}
		}
		if s.err != nil {
			yield(connector.Page{}, s.err)
		}
	}
}

func TestPollGoesOnWhereItStood(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	s := source{name: "test.stream", err: errors.New("broke off")}
	for n, id := range []string{"d1", "d2", "d3"} {
		s.pages = append(s.pages, connector.Page{Signals: []signal.Signal{leak(id, "1", epoch)}, Next: connector.Cursor(rune('a' + n))})
	}
	s.pages = s.pages[:2]
	res, err := h.pipe.Poll(t.Context(), tenant, s)
	if err == nil || res.New != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
	watch := func() {
		t.Helper()
		if _, err := h.pipe.Watch(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	watch()
	if f := h.feeds(); len(f) != 1 || !strings.Contains(f[0].Failure, "broke off") {
		t.Errorf("feeds %+v", f)
	}
	s.err = nil
	s.pages = append(s.pages, connector.Page{Signals: []signal.Signal{leak("d3", "1", epoch)}, Next: "z"})
	if res, err = h.pipe.Poll(t.Context(), tenant, s); err != nil || res.New != 1 || res.Duplicate != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	watch()
	if f := h.feeds(); f[0].Failure != "" || !f[0].Success.Equal(epoch) {
		t.Errorf("feeds %+v", f)
	}
}

// A page whose commit fails leaves nothing behind, its cursor included; the next
// poll brings it again.
func TestFailedPageIsTakenAgain(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.contain()
	s := source{name: "test.stream", pages: []connector.Page{signals(leak("d1", "1", epoch))}}
	boom := errors.New("disk full")
	h.db.Fail = func() error { return boom }
	if _, err := h.pipe.Poll(t.Context(), tenant, s); !errors.Is(err, boom) {
		t.Fatalf("err %v", err)
	}
	if n := len(h.identities()) + len(h.cases()) + len(h.runs()) + len(h.db.Trail()); n != 0 {
		t.Errorf("%d rows were left behind", n)
	}
	h.db.Fail = nil
	if res, err := h.pipe.Poll(t.Context(), tenant, s); err != nil || res.New != 1 || len(res.Runs) != 1 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestSilenceIsASignal(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	feeds := []connector.Feed{{Tenant: tenant, Stream: "test.stream", Interval: time.Minute}, {Tenant: tenant, Stream: "test.other", Interval: time.Hour}}
	s := source{name: "test.stream"}
	watch := func() {
		t.Helper()
		if _, err := h.pipe.Watch(t.Context(), feeds); err != nil {
			t.Fatal(err)
		}
	}
	watch()
	h.clock.Add(3 * time.Minute)
	watch()
	if n := h.count(audit.FeedSilent); n != 0 {
		t.Fatalf("%d alarms after three intervals", n)
	}
	h.clock.Add(time.Second)
	boom := errors.New("disk full")
	h.db.Fail = func() error { return boom }
	if _, err := h.pipe.Watch(t.Context(), feeds); !errors.Is(err, boom) {
		t.Errorf("err %v", err)
	}
	h.db.Fail = nil
	watch()
	watch()
	if n := h.count(audit.FeedSilent); n != 1 {
		t.Fatalf("%d alarms", n)
	}
	if f := h.feeds(); len(f) != 2 || f[1].Stream != "test.stream" || !f[1].Silent || f[0].Silent {
		t.Errorf("feeds %+v", f)
	}
	if _, err := h.pipe.Poll(t.Context(), tenant, s); err != nil {
		t.Fatal(err)
	}
	watch()
	watch()
	if n := h.count(audit.FeedBack); n != 1 {
		t.Errorf("%d times back", n)
	}
	if f := h.feeds(); f[1].Silent {
		t.Error("still silent")
	}
}

// What was rejected is no duplicate when it comes again: whoever tells it hears so
// each time, and it takes nothing from the tenant it belongs to.
func TestARejectedSignalIsNotKnown(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	weak, foreign := leak("d1", "1", epoch), leak("d2", "2", epoch)
	weak.Subject = identity.Ref{UPN: "somebody@corp.example"}
	foreign.Tenant = "other"
	for n := range 2 {
		res, outcomes, err := h.pipe.TakeEach(t.Context(), tenant, "test.stream", signals(weak, foreign))
		if err != nil {
			t.Fatal(err)
		}
		if res.Rejected != 2 || res.Duplicate != 0 || len(outcomes) != 2 {
			t.Errorf("time %d: %+v, %+v", n+1, res, outcomes)
		}
	}
	res, err := h.pipe.Take(t.Context(), "other", "test.stream", signals(foreign))
	if err != nil || res.New != 1 {
		t.Errorf("where it belongs: %+v, %v", res, err)
	}
}

// A detection whose later version is about somebody else counts for them alone.
func TestADetectionThatChangesHands(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.take(signals(leak("d1", "1", epoch)))
	was := h.identities()[0].ID
	later := leak("d1", "2", epoch)
	later.UpdatedAt = later.UpdatedAt.Add(time.Minute)
	if res := h.take(signals(later)); res.Updated != 1 {
		t.Fatalf("%+v", res)
	}
	everybody := h.identities()
	if len(everybody) != 2 {
		t.Fatalf("%d identities", len(everybody))
	}
	h.view(func(tx *runtest.Tx) error {
		for _, i := range everybody {
			a, err := tx.Assessment(tenant, i.ID)
			if want := map[bool]signal.Level{true: signal.LevelNone, false: signal.LevelHigh}[i.ID == was]; err != nil || a.Level != want {
				t.Errorf("%s is assessed at %s, %v, want %s", i.Name, a.Level, err, want)
			}
		}
		return nil
	})
}
