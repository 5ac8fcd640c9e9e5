package ingest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// holdUnknown makes the plan hold while the protection is unknown, as the
// library's plans do.
func (h *intake) holdUnknown() {
	h.contain()
	h.planner.Plans["contain"] = func(in playbook.Input) (playbook.Plan, error) {
		p, err := runtest.Steps(runtest.Disable)(in)
		if in.Protection.Unknown {
			p.Held = strings.Join(in.Protection.Reasons, "; ")
		}
		return p, err
	}
}

func TestRefreshReleasesWhatWasHeldForFacts(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.holdUnknown()
	var away error = errors.New("the directory is away")
	h.pipe.Lookup = func(identity.Tenant) connector.Lookup {
		return lookup(func(_ context.Context, refs []identity.Ref) ([]connector.AccountFacts, error) {
			var out []connector.AccountFacts
			for _, r := range refs {
				out = append(out, connector.AccountFacts{Ref: r, Facts: enabled(h.clock.Now())})
			}
			if away != nil {
				return nil, away
			}
			return out, nil
		})
	}
	h.take(signals(leak("d1", "1", epoch)))
	if r := h.runs()[0]; r.State != run.HeldState || !strings.Contains(r.Reason, "roles have not been read") {
		t.Fatalf("run %s: %s", r.State, r.Reason)
	}
	if c := h.cases()[0]; c.Status != casefile.Waiting {
		t.Errorf("case %s", c.Status)
	}
	if _, err := h.pipe.Refresh(t.Context(), tenant, 10); !errors.Is(err, away) {
		t.Errorf("err %v", err)
	}
	away = nil
	res, err := h.pipe.Refresh(t.Context(), tenant, 10)
	if err != nil || res.Facts != 1 || len(res.Runs) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if c := h.cases()[0]; c.Status != casefile.Acting {
		t.Errorf("case %s", c.Status)
	}
	if res, err = h.pipe.Refresh(t.Context(), tenant, 10); err != nil || res.Facts != 0 || len(res.Runs) != 0 {
		t.Errorf("fresh facts were read again: %+v, %v", res, err)
	}
	h.clock.Add(time.Hour)
	if res, err = h.pipe.Refresh(t.Context(), tenant, 10); err != nil || res.Facts != 1 || len(res.Runs) != 0 {
		t.Errorf("an hour later: %+v, %v", res, err)
	}
}

func TestDirectoryReleasesWhatWasHeldForRoles(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.holdUnknown()
	h.take(signals(leak("d1", "1", epoch)))
	dir := func(at time.Time) connector.Page {
		return connector.Page{Directory: &connector.DirectoryFacts{AsOf: at, UsableGlobalAdmins: []string{"a", "b"}}, Next: "d"}
	}
	if res := h.take(dir(epoch)); len(res.Runs) != 1 {
		t.Fatalf("%+v", res)
	}
	older := dir(epoch.Add(-time.Hour))
	older.Directory.UsableGlobalAdmins = nil
	h.take(older)
	h.view(func(tx *runtest.Tx) error {
		d, err := tx.Directory(tenant)
		if len(d.UsableGlobalAdmins) != 2 {
			t.Error("an older reading replaced a newer one")
		}
		return err
	})
}

func (h *intake) verdict(w casefile.Word) {
	h.t.Helper()
	err := h.db.Ingest().Update(context.Background(), func(tx ingest.Tx) error {
		c := h.cases0(tx)
		c, err := c.Decide(casefile.Verdict{Word: w, By: "o", At: h.clock.Now()})
		if err != nil {
			return err
		}
		_, err = tx.PutCase(c)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// cases0 returns the only open case.
func (h *intake) cases0(tx ingest.Tx) casefile.Case {
	all, err := tx.(*runtest.Tx).Identities(tenant)
	if err != nil || len(all) != 1 {
		h.t.Fatalf("%d identities, %v", len(all), err)
	}
	c, ok, err := tx.OpenCase(tenant, all[0].ID)
	if err != nil || !ok {
		h.t.Fatalf("no open case: %v", err)
	}
	return c
}

func (h *intake) open() (n int) {
	for _, c := range h.cases() {
		if c.Verdict == nil {
			n++
		}
	}
	return n
}

// After a verdict, what was known stays closed; what is new opens a case; the
// source's echo of a verdict is not new.
func TestVerdictsAndWhatComesAfter(t *testing.T) {
	t.Parallel()
	for word, echo := range map[casefile.Word]signal.State{
		casefile.Safe: signal.StateAtRisk, casefile.Benign: signal.StateAtRisk, casefile.Compromised: signal.StateConfirmedCompromised,
	} {
		t.Run(string(word), func(t *testing.T) {
			t.Parallel()
			h := newIntake(t)
			h.take(signals(leak("d1", "1", epoch)))
			h.clock.Add(time.Hour)
			h.verdict(word)
			h.clock.Add(time.Minute)

			late := leak("d0", "1", epoch.Add(-time.Hour)) // told late, and known to the source before
			h.take(signals(leak("d1", "1", epoch), late))
			if n := h.open(); n != 0 {
				t.Fatalf("%d cases opened for what the verdict was about", n)
			}
			back := runtest.Detection(tenant, "d2", runtest.Person("1"), "adminConfirmedUserCompromised", signal.LevelHigh, h.clock.Now())
			back.State = echo
			h.take(signals(back))
			if n := h.open(); n != 0 {
				t.Fatalf("%d cases opened for the echo of a verdict", n)
			}
			h.take(signals(leak("d3", "1", h.clock.Now())))
			if n := h.open(); n != 1 {
				t.Errorf("%d cases are open after something new", n)
			}
			if n := h.count(audit.CaseOpened); n != 2 {
				t.Errorf("%d cases opened by the trail", n)
			}
		})
	}
}

func TestRiskReturnsAfterContainment(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.contain()
	h.take(signals(leak("d1", "1", epoch)))
	h.clock.Add(time.Minute)
	err := h.db.Runs().Update(t.Context(), func(tx run.Tx) error {
		as, err := tx.(*runtest.Tx).Actions(tenant)
		if err != nil {
			return err
		}
		for _, a := range as {
			if a, err = a.Move("verified", "it was so already", h.clock.Now()); err != nil {
				return err
			}
			if _, err = tx.PutAction(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.driver.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := h.cases()[0]; c.Status != casefile.Contained {
		t.Fatalf("case %s", c.Status)
	}
	h.clock.Add(time.Minute)
	h.take(signals(leak("d2", "1", epoch), // told late: it happened before
		runtest.Detection(tenant, "d3", runtest.Person("1"), "adminConfirmedUserCompromised", signal.LevelHigh, h.clock.Now())))
	if c := h.cases()[0]; c.Status != casefile.Contained || c.Reopened != 0 {
		t.Fatalf("case %s, reopened %d", c.Status, c.Reopened)
	}
	res := h.take(signals(leak("d4", "1", h.clock.Now())))
	c := h.cases()[0]
	if c.Status != casefile.Open || c.Reopened != 1 || !strings.Contains(c.Waits, "risk returned") || len(res.Cases) != 1 {
		t.Errorf("case %s (%s), reopened %d", c.Status, c.Waits, c.Reopened)
	}
	if n := h.count(audit.CaseReopened); n != 1 {
		t.Errorf("%d times in the trail", n)
	}
}

// Two strong identifiers of two identities are an alarm, told once, never a merge.
func TestConflictIsToldOnce(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	a, b := leak("d1", "1", epoch), leak("d2", "2", epoch)
	b.Subject = identity.Ref{Provider: identity.ActiveDirectory, Kind: identity.KindPerson, SID: "S-1-5-21-1-2-3-1104"}
	both := leak("d3", "1", epoch)
	both.Subject.SID = "S-1-5-21-1-2-3-1104"
	h.take(signals(a, b, both))
	both.ExternalID = "d4"
	h.take(signals(both))
	if n := h.count(audit.Conflict); n != 1 {
		t.Errorf("%d conflicts in the trail", n)
	}
	is := h.identities()
	if len(is) != 2 || len(is[0].Conflicts) != 1 || len(is[0].Accounts) != 1 {
		t.Errorf("identities %+v", is)
	}
}

// A playbook that could not be asked does not run and does not stop the others.
func TestPlaybookThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	h.contain()
	h.planner.Matches = append([]runtest.Rule{{On: playbook.OnSignal, Match: playbook.Match{Ref: playbook.Ref{ID: "broken"}, Err: errors.New("cost too much")}}}, h.planner.Matches...)
	if res := h.take(signals(leak("d1", "1", epoch))); len(res.Runs) != 1 {
		t.Errorf("%+v", res)
	}
}

// An account's standing risk alone opens a case and asks the playbooks.
func TestAccountRiskAlone(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	r := signal.AccountRisk{Tenant: tenant, Subject: runtest.Person("1"), Level: signal.LevelHigh, State: signal.StateAtRisk, UpdatedAt: epoch}
	res := h.take(connector.Page{Accounts: []signal.AccountRisk{r}})
	if res.New != 1 || len(res.Cases) != 1 {
		t.Fatalf("%+v", res)
	}
	if in := h.planner.Asked(); len(in) != 1 || in[0].Trigger != nil || in[0].On[0] != playbook.OnRisk {
		t.Errorf("asked %+v", in)
	}
	low := r
	low.Level, low.UpdatedAt = signal.LevelNone, epoch.Add(time.Minute)
	low.State = signal.StateRemediated
	if res = h.take(connector.Page{Accounts: []signal.AccountRisk{low, r}}); res.Updated != 1 || res.Older != 1 {
		t.Errorf("%+v", res)
	}
	if c := h.cases()[0]; c.Level != signal.LevelNone {
		t.Errorf("case at %s", c.Level)
	}
}
