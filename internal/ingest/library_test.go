package ingest_test

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/run/runtest"
)

const shut = `playbook: v1
id: shut
version: 1.0.0
title: Shut the account
owner: soc
mode: enforce
trigger:
  on: [signal.received]
  when: signal.type == "leakedCredentials" && signal.open
  once_per: { key: identity.id, window: 1h }
steps:
  - id: disable
    uses: test.disable@1
    contains: true
`

// The real playbook library behind the driver: without facts the plan holds, with
// them it acts, once.
func TestWithTheRealLibrary(t *testing.T) {
	t.Parallel()
	h := newIntake(t)
	cat, err := runtest.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	lib, problems := playbook.Load(fstest.MapFS{"shut.yaml": {Data: []byte(shut)}}, cat)
	if len(problems) > 0 {
		t.Fatalf("%v", problems)
	}
	h.driver.Planner = lib
	h.driver.Connected = func(identity.Tenant) []identity.Provider { return []identity.Provider{identity.EntraID} }

	if res := h.take(signals(leak("d1", "1", epoch))); len(res.Runs) != 1 {
		t.Fatalf("%+v", res)
	}
	if r := h.runs()[0]; r.State != run.HeldState {
		t.Fatalf("without facts the run is %s: %s", r.State, r.Reason)
	}
	h.take(signals(leak("d2", "1", epoch.Add(time.Second))))
	if n := len(h.runs()); n != 1 {
		t.Errorf("%d runs pile up while nothing is known", n)
	}
	f := enabled(epoch)
	no := false
	f.Synced = &no
	res := h.take(connector.Page{Facts: []connector.AccountFacts{{Ref: runtest.Person("1"), Facts: f}}, Next: "f"})
	if len(res.Runs) != 1 {
		t.Fatalf("%+v; %s", res, h.runs()[0].Reason)
	}
	if r := h.runs()[1]; r.State != run.Acting || len(r.Steps) != 1 || r.Plan.Hash == "" {
		t.Errorf("with facts it is %s: %s", r.State, r.Reason)
	}
}
