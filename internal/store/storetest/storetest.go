// Package storetest is the conformance suite of everything that keeps Cordon's
// rows: the store on each of its databases, and the in-memory stores that other
// tests use.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Ports is one store as every capability sees it.
type Ports struct {
	Runs      run.Store
	Campaigns campaign.Store
	Ingest    ingest.Store
	Dispatch  dispatch.Store
	Desk      desk.Store
	Audit     audit.Store
	Records   record.Reader
	Questions question.Store
	// Histories is what a replay reads; nil: the store keeps none.
	Histories func(ctx context.Context, t identity.Tenant, since time.Time) iter.Seq2[run.History, error]
	// Prune removes what is older than the times: records, rejects, versions,
	// intents, at most limit of each kind. It returns how many went.
	Prune func(ctx context.Context, before [4]time.Time, limit int) ([4]int, error)
}

// Run holds a store to all its ports. open returns an empty store that lives
// until its test ends.
func Run(t *testing.T, open func(t *testing.T) Ports) {
	for name, suite := range map[string]func(*testing.T, func(*testing.T) Ports){
		"Transactions": transactions, "Runs": runs, "Actions": actions, "Signals": signals, "Records": records, "Feeds": feeds, "Prunes": prunes,
		"Identities": identities, "Cases": cases, "Casework": casework, "Dispatch": dispatches, "Campaigns": campaigns, "Races": races,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suite(t, open)
		})
	}
	t.Run("Desk", func(t *testing.T) {
		t.Parallel()
		Desk(t, func(t *testing.T) (desk.Store, func(...any)) {
			p := open(t)
			return p.Desk, func(values ...any) { put(t, p, values...) }
		})
	})
	t.Run("Audit", func(t *testing.T) {
		t.Parallel()
		Audit(t, func(t *testing.T) (audit.Store, func(...audit.Entry) error) {
			p := open(t)
			return p.Audit, func(entries ...audit.Entry) error {
				return p.Runs.Update(t.Context(), func(tx run.Tx) error {
					for _, e := range entries {
						if err := tx.Audit(e); err != nil {
							return err
						}
					}
					return nil
				})
			}
		})
	})
}

// The tenants of the suite.
const (
	tenant    identity.Tenant = "00000000-0000-4000-8000-000000000001"
	elsewhere identity.Tenant = "00000000-0000-4000-8000-000000000002"
)

// start is a time with microseconds and none of the machine's own zone.
var start = time.Date(2026, 3, 2, 9, 30, 0, 123456000, time.UTC)

func at(d time.Duration) time.Time { return start.Add(d) }

func objectID(n int) string { return fmt.Sprintf("00000000-0000-4000-9000-%012d", n) }

// person returns the n-th identity with a cloud account that was never read.
func person(n int) identity.Identity {
	return identity.Identity{
		Tenant: tenant, ID: identity.ID(fmt.Sprintf("idn_%04d", n)), Kind: identity.KindPerson, Name: fmt.Sprintf("Person %04d", n),
		Accounts: []identity.Account{{Ref: identity.Ref{
			Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: objectID(n), UPN: fmt.Sprintf("Person.%04d@corp.example", n),
		}}},
		CreatedAt: start, UpdatedAt: start,
	}
}

func openCase(n int) casefile.Case {
	return casefile.Case{
		Tenant: tenant, ID: casefile.ID(fmt.Sprintf("case_%04d", n)), Identity: person(n).ID, Name: person(n).Name,
		Status: casefile.Open, Level: signal.LevelHigh, Score: 80, Reason: "leaked credentials", Signals: 1,
		FirstSignal: start, LastSignal: start, OpenedAt: start, UpdatedAt: start,
	}
}

func aRun(n int) run.Run {
	return run.Run{
		Tenant: tenant, ID: run.ID(fmt.Sprintf("run_%04d", n)), Case: openCase(n).ID, Identity: person(n).ID,
		Playbook: playbook.Ref{ID: "leaked-credentials", Version: "1.0.0", Hash: "h1"}, OnceKey: string(person(n).ID),
		AskedBy: "cordon:ingest", State: run.Acting, StartedAt: start,
		Plan: &playbook.Plan{Title: "Contain", Hash: "p1", Steps: []playbook.Step{{ID: "disable", Params: map[string]any{"a": "b"}, Within: time.Minute}}},
	}
}

func anAction(n int, step string) action.Action {
	return action.Action{
		Tenant: tenant, ID: action.ID(fmt.Sprintf("act_%04d_%s", n, step)), Run: string(aRun(n).ID), Case: string(openCase(n).ID),
		Identity: person(n).ID, Step: step, PlanHash: "p1", Playbook: "leaked-credentials", Name: "entra.user.disable",
		Account: person(n).Accounts[0].Ref, Lane: action.LaneHigh, Effect: fmt.Sprintf("effect %d %s", n, step),
		State: action.Requested, RequestedAt: start,
	}
}

func aRequest(n int) approval.Request {
	return approval.Request{
		Tenant: tenant, ID: approval.ID(fmt.Sprintf("apr_%04d", n)), Run: string(aRun(n).ID), Case: string(openCase(n).ID),
		Identity: person(n).ID, Name: person(n).Name, Playbook: "leaked-credentials", PlanHash: "p1", Steps: []string{"disable"},
		Rule:    approval.Rule{Mode: approval.Before, From: []string{"responders"}, Quorum: 1, Expires: time.Hour, OnExpiry: approval.ExpiryEscalate},
		AskedBy: "playbook:leaked-credentials", AskedAt: start, ExpiresAt: at(time.Hour), State: approval.Pending,
	}
}

func aSignal(n, id int) signal.Signal {
	return signal.Signal{
		Tenant: tenant, Source: signal.RiskDetection, ExternalID: fmt.Sprintf("det-%04d", id), Type: "leakedCredentials",
		Level: signal.LevelHigh, State: signal.StateAtRisk, Subject: person(n).Accounts[0].Ref,
		ActivityAt: start, DetectedAt: start, UpdatedAt: start, Raw: json.RawMessage(`{"id":"x"}`),
	}
}

// put stores values of any kind in one transaction, as they are.
func put(t *testing.T, p Ports, values ...any) {
	t.Helper()
	err := p.Ingest.Update(t.Context(), func(tx ingest.Tx) error {
		for _, v := range values {
			if err := putOne(tx, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("put: %v", err)
	}
}

func putOne(tx ingest.Tx, v any) (err error) {
	switch v := v.(type) {
	case identity.Identity:
		_, err = tx.PutIdentity(v)
	case casefile.Case:
		_, err = tx.PutCase(v)
	case run.Run:
		_, err = tx.PutRun(v)
	case action.Action:
		_, err = tx.PutAction(v)
	case approval.Request:
		_, err = tx.PutApproval(v)
	case question.Question:
		_, err = tx.PutQuestion(v)
	case owned:
		_, err = tx.PutSignal(v.Signal, v.owner)
	case audit.Entry:
		err = tx.Audit(v)
	default:
		err = putMore(tx, v)
	}
	return err
}

// An owned is a signal with its identity.
type owned struct {
	signal.Signal
	owner identity.ID
}

// scene stores persons 1 to n, each with an open case and a run.
func scene(t *testing.T, p Ports, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		put(t, p, person(i), openCase(i), aRun(i))
	}
}

// update runs change as ingest's transaction, which sees most.
func update(t *testing.T, p Ports, change func(ingest.Tx) error) {
	t.Helper()
	if err := p.Ingest.Update(t.Context(), change); err != nil {
		t.Fatalf("update: %v", err)
	}
}

// wantKind fails unless err is of the kind.
func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got %v, want %s", what, err, kind)
	}
}

// same fails when the two differ. Empty and nil are the same: documents do not
// tell them apart.
func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}
