package ingest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// drawPage draws a page about a few people: versions of signals, account risks,
// facts, records that cannot be used. Unless closing is set, whatever it tells
// keeps a case open: a case that was opened stays, one that would have been is
// not made up afterwards, and so the order of opening and closing does matter.
func drawPage(t *rapid.T, closing bool) connector.Page {
	person := func() identity.Ref {
		n := rapid.IntRange(1, 3).Draw(t, "person")
		r := runtest.Person(fmt.Sprint(n))
		// A source names what it knows; the object id is always there.
		if rapid.Bool().Draw(t, "sid") {
			r.SID = fmt.Sprintf("S-1-5-21-1-2-3-110%d", n)
		}
		if rapid.Bool().Draw(t, "nameless") {
			r.DisplayName, r.UPN = "", ""
		}
		if rapid.Bool().Draw(t, "kindless") {
			r.Kind = ""
		}
		return r
	}
	at := func() time.Time { return epoch.Add(time.Duration(rapid.IntRange(-3, 0).Draw(t, "at")) * time.Hour) }
	states := []signal.State{signal.StateAtRisk, signal.StateConfirmedCompromised, "unheardOf"}
	levels := []signal.Level{signal.LevelMedium, signal.LevelHigh, signal.LevelHidden}
	if closing {
		states, levels = append(states, signal.StateRemediated), append(levels, signal.LevelLow)
	}
	var p connector.Page
	for range rapid.IntRange(0, 4).Draw(t, "signals") {
		n := rapid.IntRange(1, 6).Draw(t, "signal")
		s := runtest.Detection(tenant, fmt.Sprintf("d%d", n), runtest.Person(fmt.Sprint(1+n%3)), "unlikelyTravel",
			rapid.SampledFrom(levels).Draw(t, "level"), epoch.Add(-time.Duration(n)*time.Hour))
		s.UpdatedAt = at()
		s.State = rapid.SampledFrom(states).Draw(t, "state")
		s.IP = rapid.SampledFrom([]string{"", "192.0.2.1", "192.0.2.2"}).Draw(t, "ip")
		p.Signals = append(p.Signals, s)
	}
	for range rapid.IntRange(0, 2).Draw(t, "risks") {
		p.Accounts = append(p.Accounts, signal.AccountRisk{
			Tenant: tenant, Subject: person(), Level: rapid.SampledFrom(levels).Draw(t, "level"),
			State: rapid.SampledFrom(states).Draw(t, "state"), Processing: rapid.Bool().Draw(t, "processing"), UpdatedAt: at(),
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "facts") {
		hour := at()
		f := enabled(hour) // one directory says one thing at one time
		on := hour.Hour()%2 == 0
		f.Enabled = &on
		p.Facts = append(p.Facts, connector.AccountFacts{Ref: person(), Facts: f})
	}
	if rapid.IntRange(0, 5).Draw(t, "weak") == 0 {
		p.Signals = append(p.Signals, runtest.Detection(tenant, "weak", identity.Ref{UPN: "x@corp.example"}, "newCountry", signal.LevelHigh, epoch))
	}
	return p
}

// known is everything a page leads to, without the ids that depend on the order.
type known struct {
	Identity   identity.Identity
	Signals    []signal.Signal
	Risks      []signal.AccountRisk
	Assessment risk.Assessment
	Case       casefile.Case
	Runs       int
}

func export(h *intake) map[string]known {
	out := map[string]known{}
	h.view(func(tx *runtest.Tx) error {
		all, err := tx.Identities(tenant)
		if err != nil {
			return err
		}
		for _, i := range all {
			k := known{Identity: i}
			k.Identity.ID = ""
			if k.Signals, err = tx.SignalsOf(tenant, i.ID); err != nil {
				return err
			}
			if k.Risks, err = tx.AccountRisksOf(tenant, i.ID); err != nil {
				return err
			}
			for n := range k.Risks { // how a source named the account is not what it said
				k.Risks[n].Subject = identity.Ref{ObjectID: k.Risks[n].Subject.ObjectID}
			}
			k.Assessment, _ = tx.Assessment(tenant, i.ID)
			k.Assessment.Identity = ""
			if k.Case, _, err = tx.OpenCase(tenant, i.ID); err != nil {
				return err
			}
			k.Case.ID, k.Case.Identity, k.Case.Version = "", "", 0
			runs, err := tx.Runs(tenant)
			if err != nil {
				return err
			}
			for _, r := range runs {
				if r.Identity == i.ID {
					k.Runs++
				}
			}
			out[fmt.Sprint(i.Keys())] = k
		}
		return nil
	})
	return out
}

// Any order and any repetition of the same pages ends in the same identities,
// assessments and cases.
func TestOrderAndRepetitionDoNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		closing := rapid.Bool().Draw(rt, "closing")
		pages := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) connector.Page { return drawPage(t, closing) }), 1, 6).Draw(rt, "pages")
		other := slices.Clone(pages)
		for range rapid.IntRange(0, 4).Draw(rt, "repeats") {
			other = append(other, pages[rapid.IntRange(0, len(pages)-1).Draw(rt, "again")])
		}
		shuffle := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		shuffle.Shuffle(len(other), func(a, b int) { other[a], other[b] = other[b], other[a] })
		a, b := newIntake(t), newIntake(t)
		for _, p := range pages {
			take(rt, a, p)
		}
		for _, p := range other {
			take(rt, b, p)
		}
		one, two := export(a), export(b)
		for k, x := range one {
			if y := two[k]; closing && (x.Case.Status == "") != (y.Case.Status == "") {
				x.Case, y.Case = casefile.Case{}, casefile.Case{}
				one[k], two[k] = x, y
			}
		}
		if diff := cmp.Diff(one, two); diff != "" {
			rt.Fatalf("the order mattered (-one +other):\n%s", diff)
		}
		// And once more, everything: nothing moves, nothing more is told.
		before, trail := export(b), len(b.db.Trail())
		for _, p := range other {
			if res := take(rt, b, p); res.New+res.Updated+res.Facts+len(res.Cases)+len(res.Runs) != 0 {
				rt.Fatalf("taken again, a page brought %+v", res)
			}
		}
		if diff := cmp.Diff(before, export(b)); diff != "" || len(b.db.Trail()) != trail {
			rt.Fatalf("taken again, something moved:\n%s", diff)
		}
	})
}

func take(rt *rapid.T, h *intake, p connector.Page) ingest.Result {
	res, err := h.pipe.Take(h.t.(*testing.T).Context(), tenant, "test.stream", p)
	if err != nil {
		rt.Fatalf("take: %v", err)
	}
	return res
}

// However its signals arrive, an identity gets one run inside the window and each
// account one action.
func TestOneRunHoweverSignalsArrive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := newIntake(t)
		h.contain()
		for range rapid.IntRange(1, 8).Draw(rt, "pages") {
			var p connector.Page
			for range rapid.IntRange(1, 4).Draw(rt, "signals") {
				p.Signals = append(p.Signals, leak(fmt.Sprintf("d%d", rapid.IntRange(1, 5).Draw(rt, "id")), "1", epoch))
			}
			take(rt, h, p)
			if err := h.driver.Reconcile(t.Context()); err != nil {
				rt.Fatal(err)
			}
		}
		rs := h.runs()
		if len(rs) != 1 || rs[0].State != run.Acting {
			rt.Fatalf("%d runs: %v", len(rs), rs)
		}
		h.view(func(tx *runtest.Tx) error {
			as, err := tx.Actions(tenant)
			if len(as) != 1 {
				rt.Fatalf("%d actions", len(as))
			}
			return err
		})
		if e := h.db.Trail()[0]; !strings.Contains(e.Text, "case opened for User 1") {
			rt.Fatalf("the trail begins with %q", e.Text)
		}
	})
}
