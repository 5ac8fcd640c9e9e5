package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func signals(t *testing.T, open func(*testing.T) Ports) {
	putSignal := func(t *testing.T, p Ports, s signal.Signal) (did ingest.Put) {
		t.Helper()
		update(t, p, func(tx ingest.Tx) (err error) { did, err = tx.PutSignal(s, person(1).ID); return err })
		return did
	}
	current := func(t *testing.T, p Ports) (out []signal.Signal) {
		t.Helper()
		update(t, p, func(tx ingest.Tx) (err error) { out, err = tx.SignalsOf(tenant, person(1).ID); return err })
		return out
	}

	t.Run("Kinds", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		one, two, three, same1 := aSignal(1, 1), aSignal(1, 2), aSignal(1, 3), aSignal(1, 1)
		three.Source, three.Type, three.Title = signal.DefenderAlert, "A title", "A title"
		same1.UpdatedAt = at(time.Second) // a later version is the same signal
		for _, s := range []signal.Signal{one, two, three, same1} {
			putSignal(t, p, s)
		}
		for _, tc := range []struct {
			in   identity.Tenant
			want []detection.Kind
		}{
			{tenant, []detection.Kind{{Source: one.Source, Type: one.Type, Count: 2}, {Source: three.Source, Type: "A title", Count: 1}}},
			{"", []detection.Kind{{Source: one.Source, Type: one.Type, Count: 2}, {Source: three.Source, Type: "A title", Count: 1}}},
			{elsewhere, []detection.Kind{}},
		} {
			got, err := p.Desk.Kinds(t.Context(), tc.in)
			if err != nil {
				t.Fatal(err)
			}
			same(t, fmt.Sprintf("kinds in %q", tc.in), tc.want, got)
		}
	})

	t.Run("NewestWinsInAnyOrder", func(t *testing.T) {
		t.Parallel()
		v1, v2, v3 := aSignal(1, 1), aSignal(1, 1), aSignal(1, 1)
		v2.UpdatedAt, v2.Level = at(time.Second), signal.LevelLow
		v3.UpdatedAt, v3.State = at(time.Second), signal.StateDismissed // same tick, closes it
		for n, order := range [][]signal.Signal{{v1, v2, v3}, {v1, v3, v2}, {v2, v1, v3}, {v2, v3, v1}, {v3, v1, v2}, {v3, v2, v1}} {
			p := open(t)
			put(t, p, person(1))
			var did []ingest.Put
			for _, s := range order {
				did = append(did, putSignal(t, p, s))
			}
			for _, s := range order {
				if got := putSignal(t, p, s); got != ingest.PutDuplicate {
					t.Errorf("order %d again: %s", n, got)
				}
			}
			same(t, fmt.Sprintf("order %d", n), []signal.Signal{v3}, current(t, p))
			for k, s := range order {
				want := ingest.PutNew
				if k > 0 {
					want = ingest.PutOlder
					newest := slices.MaxFunc(order[:k], func(a, b signal.Signal) int {
						if a.Newer(b) {
							return 1
						}
						return -1
					})
					if s.Newer(newest) {
						want = ingest.PutUpdated
					}
				}
				if did[k] != want {
					t.Errorf("order %d, put %d: got %s, want %s", n, k, did[k], want)
				}
			}
		}
	})

	t.Run("AnotherEnvelope", func(t *testing.T) {
		t.Parallel()
		one, two := aSignal(1, 1), aSignal(1, 1)
		one.Raw, two.Raw = json.RawMessage(`{"id":"1"}`), json.RawMessage(`{"category":"x","properties":{"id":"1"}}`)
		for n, order := range [][]signal.Signal{{one, two}, {two, one}} {
			p := open(t)
			put(t, p, person(1))
			if did := putSignal(t, p, order[0]); did != ingest.PutNew {
				t.Errorf("order %d: the first is %s", n, did)
			}
			if did := putSignal(t, p, order[1]); did != ingest.PutDuplicate {
				t.Errorf("order %d: the same in another envelope is %s", n, did)
			}
			want := one
			if two.Newer(one) {
				want = two
			}
			same(t, fmt.Sprintf("order %d", n), []signal.Signal{want}, current(t, p))
			update(t, p, func(tx ingest.Tx) error {
				if owner, ok, err := tx.SignalOwner(one.Key()); err != nil || !ok || owner != person(1).ID {
					t.Errorf("its owner is %q, %v, %v", owner, ok, err)
				}
				if _, ok, err := tx.SignalOwner(aSignal(1, 99).Key()); err != nil || ok {
					t.Errorf("a signal that is not there has an owner: %v", err)
				}
				return nil
			})
		}
	})

	t.Run("KeptWhole", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		s := aSignal(1, 1)
		s.Type, s.State, s.Level = "unknownFutureValue", "somethingNew", "odd"
		s.Title = "quotes ' \" ; -- % _ \\ NUL \x00 and \u202e and 🔑"
		s.ExternalID = "id with NUL \x00 and ' and 🔑"
		s.Info = []signal.KV{{Key: "k", Value: json.RawMessage(`["a",1,null]`)}}
		s.InfoRaw, s.Notes, s.Techniques = "{broken", []string{"a note"}, []string{"T1078"}
		s.Others = []identity.Ref{{SID: "S-1-5-21-1-2-3-1104"}}
		s.Raw = json.RawMessage(`{"a":"\u0000","b":1e400,"b":2,"z":{"y":[]}}`)
		if got := putSignal(t, p, s); got != ingest.PutNew {
			t.Errorf("got %s", got)
		}
		same(t, "as it came", []signal.Signal{s}, current(t, p))
		if got := putSignal(t, p, s); got != ingest.PutDuplicate {
			t.Errorf("again: got %s", got)
		}
		// A name that is no text at all does not stop the feed.
		s.ExternalID, s.Type = "bad \xff\xfe bytes", "\xff"
		if got := putSignal(t, p, s); got != ingest.PutNew {
			t.Errorf("malformed bytes: got %s", got)
		}
		if got := putSignal(t, p, s); got != ingest.PutDuplicate {
			t.Errorf("malformed bytes again: got %s", got)
		}
	})

	t.Run("OldestFirst", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1), person(2))
		a, b := aSignal(1, 1), aSignal(1, 2)
		b.ActivityAt = at(-time.Hour)
		put(t, p, owned{a, person(1).ID}, owned{b, person(1).ID}, owned{aSignal(2, 3), person(2).ID})
		same(t, "order", []signal.Signal{b, a}, current(t, p))
	})

	t.Run("AccountRisks", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		r := signal.AccountRisk{Tenant: tenant, Subject: person(1).Accounts[0].Ref, Level: signal.LevelHigh, State: signal.StateAtRisk, UpdatedAt: start}
		older, closed, processing := r, r, r
		older.UpdatedAt, older.Level = at(-time.Second), signal.LevelLow
		processing.Processing = true
		closed.UpdatedAt, closed.State = at(time.Second), signal.StateRemediated
		milder, open1 := r, r
		milder.Level, open1.UpdatedAt = signal.LevelMedium, closed.UpdatedAt
		for n, step := range []struct {
			put  signal.AccountRisk
			want ingest.Put
			now  signal.AccountRisk
		}{
			{processing, ingest.PutNew, processing}, {processing, ingest.PutDuplicate, processing},
			// Of one instant, the order of arrival does not matter.
			{r, ingest.PutUpdated, r}, {processing, ingest.PutDuplicate, r}, {milder, ingest.PutOlder, r},
			{older, ingest.PutOlder, r}, {older, ingest.PutDuplicate, r},
			{closed, ingest.PutUpdated, closed}, {open1, ingest.PutOlder, closed}, {r, ingest.PutDuplicate, closed},
		} {
			update(t, p, func(tx ingest.Tx) error {
				did, err := tx.PutAccountRisk(step.put, person(1).ID)
				if did != step.want {
					t.Errorf("step %d: got %s, want %s", n, did, step.want)
				}
				if err != nil {
					return err
				}
				got, err := tx.AccountRisksOf(tenant, person(1).ID)
				same(t, fmt.Sprintf("step %d", n), []signal.AccountRisk{step.now}, got)
				return err
			})
		}
		nameless := r
		nameless.Subject = identity.Ref{UPN: "x@corp.example"}
		wantKind(t, "no strong identifier", p.Ingest.Update(t.Context(), func(tx ingest.Tx) error {
			_, err := tx.PutAccountRisk(nameless, person(1).ID)
			return err
		}), fault.Invalid)
	})

	t.Run("RejectsAndCursors", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		r := connector.Reject{Source: signal.RiskDetection, Place: "page 1, index 2", Reason: "no id", Raw: []byte("\x00\xff{")}
		for n := range 3 {
			update(t, p, func(tx ingest.Tx) error {
				if err := tx.PutReject(tenant, "entraid.riskDetections", r, at(time.Duration(n)*time.Second)); err != nil {
					return err
				}
				return tx.PutCursor(tenant, "entraid.riskDetections", connector.Cursor(fmt.Sprint("c", n)), at(time.Duration(n)*time.Second))
			})
		}
		for name, want := range map[connector.Name]connector.Cursor{"entraid.riskDetections": "c2", "defender.alerts": ""} {
			if c, err := p.Ingest.Cursor(t.Context(), tenant, name); c != want || err != nil {
				t.Errorf("cursor of %s: got %q, %v", name, c, err)
			}
		}
		if c, err := p.Ingest.Cursor(t.Context(), elsewhere, "entraid.riskDetections"); c != "" || err != nil {
			t.Errorf("cursor of another tenant: got %q, %v", c, err)
		}
	})

	t.Run("Assessments", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		a := risk.Assessment{Tenant: tenant, Identity: person(1).ID, Level: signal.LevelHigh, Score: 80, Rules: risk.Rules, At: start,
			Reasons: []risk.Reason{{Text: "leaked", Points: 80, At: start}}}
		later, lower := a, a
		later.At = at(time.Second)
		lower.At, lower.Level, lower.Score, lower.Reasons = at(2*time.Second), signal.LevelNone, 0, nil
		for _, want := range []risk.Assessment{a, later, lower, lower} {
			put(t, p, want)
			update(t, p, func(tx ingest.Tx) error {
				got, err := tx.Assessment(tenant, person(1).ID)
				same(t, "latest", want, got)
				return err
			})
		}
	})
}

func identities(t *testing.T, open func(*testing.T) Ports) {
	t.Run("Keys", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		one, two := person(1), person(2)
		one.Accounts = append(one.Accounts, identity.Account{Ref: identity.Ref{
			Provider: identity.ActiveDirectory, SID: "s-1-5-21-1-2-3-1104", GUID: "{00000000-0000-4000-A000-000000000001}"}})
		put(t, p, one, two)
		byKeys := func(keys ...identity.Key) (out []identity.Identity) {
			t.Helper()
			update(t, p, func(tx ingest.Tx) (err error) { out, err = tx.IdentitiesByKeys(tenant, keys); return err })
			return out
		}
		same(t, "by every key of one", []identity.Identity{one}, byKeys(one.Keys()...))
		same(t, "by keys of two", []identity.Identity{one, two}, byKeys(two.Keys()[0], identity.Key{Kind: identity.KeySID, Value: "S-1-5-21-1-2-3-1104"}))
		same(t, "by nobody's", []identity.Identity(nil), byKeys(identity.Key{Kind: identity.KeySID, Value: "S-1-0"}))
		same(t, "by none", []identity.Identity(nil), byKeys())

		thief := person(3)
		thief.Accounts = append(thief.Accounts, one.Accounts[1])
		update(t, p, func(tx ingest.Tx) error {
			_, err := tx.PutIdentity(thief)
			wantKind(t, "a key of another", err, fault.Conflict)
			return nil
		})
		// A key that is let go of can be learnt by another.
		one.Accounts = one.Accounts[:1]
		put(t, p, one)
		put(t, p, thief)
		same(t, "learnt", []identity.Identity{thief}, byKeys(identity.Key{Kind: identity.KeySID, Value: "S-1-5-21-1-2-3-1104"}))
		// The same key in another tenant is another account.
		other := person(1)
		other.Tenant, other.ID = elsewhere, "idn_elsewhere"
		put(t, p, other)
	})

	t.Run("AnEmptyIDIsGiven", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		update(t, p, func(tx ingest.Tx) error {
			i := person(1)
			i.ID = ""
			i, err := tx.PutIdentity(i)
			if err != nil || i.ID == "" {
				t.Errorf("got %q, %v", i.ID, err)
			}
			got, err := tx.Identity(tenant, i.ID)
			same(t, "as stored", i, got)
			return err
		})
	})

	t.Run("Facts", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		yes := true
		fresh, stale, never, closed, onprem := person(1), person(2), person(3), person(4), person(5)
		fresh.Accounts[0].Facts = identity.Facts{AsOf: start, Found: &yes, Enabled: &yes}
		stale.Accounts[0].Facts.AsOf = at(-time.Hour)
		onprem.Accounts = []identity.Account{{Ref: identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1105"}}}
		done := openCase(4)
		done.Status, done.Verdict = casefile.Closed, &casefile.Verdict{Word: casefile.Safe, By: "o", At: start}
		put(t, p, fresh, stale, never, closed, onprem, openCase(1), openCase(2), openCase(3), done, openCase(5))
		refs, err := p.Ingest.StaleFacts(t.Context(), tenant, at(-time.Minute), 10)
		same(t, "stale", []identity.Ref{never.Accounts[0].Ref, stale.Accounts[0].Ref}, refs)
		if err != nil {
			t.Error(err)
		}
		if refs, err = p.Ingest.StaleFacts(t.Context(), tenant, at(-time.Minute), 1); err != nil || len(refs) != 1 {
			t.Errorf("limit: %v, %v", refs, err)
		}
		facts, err := p.Ingest.FactsOf(t.Context(), tenant, []identity.Ref{
			{ObjectID: objectID(1)}, {ObjectID: objectID(1)}, {ObjectID: objectID(99)}, {UPN: "x"}, {SID: "S-1-5-21-1-2-3-1105"}})
		same(t, "facts", []connector.AccountFacts{
			{Ref: fresh.Accounts[0].Ref, Facts: fresh.Accounts[0].Facts}, {Ref: onprem.Accounts[0].Ref}}, facts)
		if err != nil {
			t.Error(err)
		}

		// In reach, an account of Active Directory is stale until all of it was read: what
		// every directory knows, and what it is a member of.
		reach := []identity.Provider{identity.EntraID, identity.ActiveDirectory}
		for _, c := range []struct {
			what  string
			facts identity.Facts
			stale bool
		}{
			{"never read", identity.Facts{}, true},
			{"without its groups", identity.Facts{AsOf: start}, true},
			{"with old groups", identity.Facts{AsOf: start, RolesAsOf: at(-time.Hour)}, true},
			{"read", identity.Facts{AsOf: start, RolesAsOf: start}, false},
			{"of another domain", identity.Facts{RolesAsOf: start, OnPremises: &identity.OnPremises{Class: identity.ClassForeign}}, false},
		} {
			i := onprem
			i.Accounts = []identity.Account{{Ref: onprem.Accounts[0].Ref, Facts: c.facts}}
			put(t, p, i)
			refs, err := p.Ingest.StaleFacts(t.Context(), tenant, at(-time.Minute), 10, reach...)
			if got := slices.Contains(refs, i.Accounts[0].Ref); err != nil || got != c.stale || len(refs) < 2 {
				t.Errorf("on premises, %s: stale %v in %v, %v", c.what, got, refs, err)
			}
		}
	})

	t.Run("DirectoryFacts", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		d := connector.DirectoryFacts{AsOf: start, UsableGlobalAdmins: []string{"a"}, Holders: map[string][]identity.Role{"a": {{TemplateID: "t", Active: true}}}}
		read := func() (out connector.DirectoryFacts) {
			update(t, p, func(tx ingest.Tx) (err error) { out, err = tx.Directory(tenant); return err })
			return out
		}
		same(t, "never read", connector.DirectoryFacts{}, read())
		put(t, p, d)
		same(t, "read", d, read())
		old := d
		old.AsOf, old.UsableGlobalAdmins = at(-time.Second), nil
		put(t, p, old)
		same(t, "a late reading", d, read())
	})
}

func cases(t *testing.T, open func(*testing.T) Ports) {
	t.Run("OneOpenCase", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1), openCase(1))
		second := openCase(1)
		second.ID = "case_second"
		update(t, p, func(tx ingest.Tx) error {
			_, err := tx.PutCase(second)
			wantKind(t, "a second open case", err, fault.Conflict)
			return nil
		})
		var c casefile.Case
		update(t, p, func(tx ingest.Tx) (err error) {
			c, _, err = tx.OpenCase(tenant, person(1).ID)
			if err != nil {
				return err
			}
			if _, ok, err := tx.LastVerdict(tenant, person(1).ID); ok || err != nil {
				t.Errorf("a verdict before one was given: %v", err)
			}
			if c, err = c.Decide(casefile.Verdict{Word: casefile.Benign, By: "o", Reason: "expected", At: start}); err != nil {
				return err
			}
			if c, err = tx.PutCase(c); err != nil {
				return err
			}
			if _, ok, err := tx.OpenCase(tenant, person(1).ID); ok || err != nil {
				t.Errorf("a closed case is open: %v", err)
			}
			_, err = tx.PutCase(second)
			return err
		})
		third := openCase(1)
		third.ID, third.Status = "case_third", casefile.Closed
		third.Verdict = &casefile.Verdict{Word: casefile.Safe, By: "o", At: at(time.Second)}
		put(t, p, third)
		update(t, p, func(tx ingest.Tx) error {
			v, ok, err := tx.LastVerdict(tenant, person(1).ID)
			same(t, "newest verdict", *third.Verdict, v)
			if !ok {
				t.Error("no verdict")
			}
			return err
		})
	})

	t.Run("ClosedMeansVerdict", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		put(t, p, person(1))
		c := openCase(1)
		c.Status = casefile.Closed
		if p.Ingest.Update(t.Context(), func(tx ingest.Tx) error { _, err := tx.PutCase(c); return err }) == nil {
			t.Error("a case was closed without a verdict")
		}
	})
}
