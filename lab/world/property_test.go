package world

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// invariants reports everything about risk that must hold at any instant.
func invariants(w *World) error {
	w.rlock()
	defer w.mu.RUnlock()
	now := w.Now()
	for id, r := range w.risk.users {
		// A level is none exactly when the state is closed or none.
		if (r.level == levelNone) == isOpen(r.state) {
			return fmt.Errorf("%s: state %s with level %s", id, r.state, r.level)
		}
		if r.state == stateCompromised && r.level != levelHigh {
			return fmt.Errorf("%s: confirmed compromised at level %s", id, r.level)
		}
		open := 0
		for _, d := range r.detections {
			if isOpen(d.state) {
				open++
				if d.level == levelNone {
					return fmt.Errorf("%s: an open detection without a level", id)
				}
				if rank(d.level) > rank(r.level) {
					return fmt.Errorf("%s: level %s below its detection's %s", id, r.level, d.level)
				}
			}
			if got := w.tables[RiskDetections].(*table).list[w.tables[RiskDetections].(*table).byID[d.id]].obj; got["riskState"] != d.state || got["riskLevel"] != d.level || got["riskDetail"] != d.detail {
				return fmt.Errorf("%s: a detection's row %v is not its state", id, got)
			}
		}
		// Open risk has an open cause, closed risk has none.
		if isOpen(r.state) != (open > 0) {
			return fmt.Errorf("%s: state %s with %d open detections", id, r.state, open)
		}
		if r.processing < 0 || r.updated.After(now) {
			return fmt.Errorf("%s: processing %d, updated %s", id, r.processing, r.updated)
		}
		row := w.tables[RiskyUsers].(*table).list[w.tables[RiskyUsers].(*table).byID[id]].obj
		if !reflect.DeepEqual(row, r.object()) {
			return fmt.Errorf("%s: the row is %v, the state %v", id, row, r.object())
		}
		// The newest history item says what the row says.
		if n := len(r.history); n > 0 {
			h := r.history[n-1].obj
			if h["riskState"] != r.state || h["riskLevel"] != r.level || h["riskDetail"] != r.detail {
				return fmt.Errorf("%s: history ends with %v, the row is %s/%s/%s", id, h, r.state, r.level, r.detail)
			}
			for i := 1; i < n; i++ {
				if r.history[i-1].obj["riskLastUpdatedDateTime"].(string) > r.history[i].obj["riskLastUpdatedDateTime"].(string) {
					return fmt.Errorf("%s: history goes back in time", id)
				}
			}
		}
		for _, s := range r.signIns {
			if isOpen(s.state) && !isOpen(r.state) && r.detail != "m365DAdminDismissedDetection" && !dismissedInDefender(s) {
				return fmt.Errorf("%s: %s with an open risky sign-in", id, r.state)
			}
		}
	}
	for id, r := range w.sps.risky {
		if (r.level == levelNone) == isOpen(r.state) {
			return fmt.Errorf("service principal %s: state %s with level %s", id, r.state, r.level)
		}
		if r.state == stateRemediated || r.state == stateSafe {
			return fmt.Errorf("service principal %s: %s is no state of workloads", id, r.state)
		}
	}
	return nil
}

// dismissedInDefender: T17 closes the detection and leaves the sign-in.
func dismissedInDefender(s *signIn) bool {
	for _, d := range s.detections {
		if d.detail == "m365DAdminDismissedDetection" {
			return true
		}
	}
	return false
}

// TestNoSequenceBreaksTheRules plays arbitrary events, calls and waits. Events
// that cannot be are refused; whatever is accepted keeps the invariants.
func TestNoSequenceBreaksTheRules(t *testing.T) {
	t.Parallel()
	types := []string{"unfamiliarFeatures", "leakedCredentials", "anomalousToken", "unlikelyTravel", "passwordSpray", "generic", "somethingNew"}
	levels := []string{"", levelHidden, levelLow, levelMedium, levelHigh}
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{now: epoch}
		w, err := New(Options{Seed: 3, Users: 40, Start: epoch, Now: c.Now,
			Settings: Settings{OnPremisesResetClearsRisk: rapid.Bool().Draw(t, "clears")}})
		if err != nil {
			t.Fatal(err)
		}
		var people []string
		w.Walk(Users, 0, func(_ int, it Item) bool { people = append(people, it.ID()); return len(people) < 9 })
		people = append(people, people[0]) // the first is hit more often
		var sps []string
		w.Walk(ServicePrincipals, 3, func(_ int, it Item) bool { sps = append(sps, it.ID()); return len(sps) < 2 })
		made, n := []string{"none"}, 0
		person := func() string { return rapid.SampledFrom(people).Draw(t, "person") }
		name := func() string { n++; made = append(made, fmt.Sprintf("n%d", n)); return made[len(made)-1] }
		accepted := 0
		try := func(e Event) {
			before, audits := snapshot(w), w.Count(DirectoryAudits)
			if err := w.Apply(e); err == nil {
				accepted++
			} else if got := snapshot(w); !reflect.DeepEqual(got, before) || w.Count(DirectoryAudits) != audits {
				t.Fatalf("refused (%v) and yet changed something", err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if err := invariants(w); err != nil {
					t.Fatal(err)
				}
			},
			"detection": func(t *rapid.T) {
				try(Event{Type: EventDetection, User: person(), RiskEventType: rapid.SampledFrom(types).Draw(t, "type"),
					RiskLevel: rapid.SampledFrom(levels).Draw(t, "level"), RaiseAlert: rapid.Bool().Draw(t, "alert"), Name: name()})
			},
			"transition": func(t *rapid.T) {
				e := Event{Type: rapid.SampledFrom([]string{EventRemediation, EventSystem, EventFeedback}).Draw(t, "type"), User: person(),
					Transition: fmt.Sprintf("T%d", rapid.IntRange(1, 24).Draw(t, "transition"))}
				if rapid.Bool().Draw(t, "of") {
					e.Of = rapid.SampledFrom(made).Draw(t, "made")
				}
				try(e)
			},
			"recalculate": func(t *rapid.T) {
				try(Event{Type: EventRecalculate, Of: rapid.SampledFrom(made).Draw(t, "made"), RiskLevel: rapid.SampledFrom(levels[1:]).Draw(t, "level")})
			},
			"closeAlert": func(t *rapid.T) {
				try(Event{Type: EventCloseAlert, Of: rapid.SampledFrom(made).Draw(t, "made")})
			},
			"riskyUser": func(t *rapid.T) {
				try(Event{Type: EventRiskyUser, User: person(), RiskState: rapid.SampledFrom([]string{stateNone, stateAtRisk, stateCompromised,
					stateRemediated, stateDismissed, stateSafe}).Draw(t, "state"), RiskLevel: rapid.SampledFrom(levels).Draw(t, "level")})
			},
			"signIn": func(t *rapid.T) { try(Event{Type: EventSignIn, User: person()}) },
			"other": func(t *rapid.T) {
				e := Event{Type: rapid.SampledFrom([]string{EventPasswordChange, EventOnPremisesPasswordChange, EventDeleteUser}).Draw(t, "type"), User: person()}
				if e.Type == EventDeleteUser && e.User == people[0] {
					return
				}
				try(e)
			},
			"workload": func(t *rapid.T) {
				sp := rapid.SampledFrom(sps).Draw(t, "sp")
				if rapid.Bool().Draw(t, "detection") {
					try(Event{Type: EventServicePrincipalDetection, ServicePrincipal: sp, RiskEventType: "leakedCredentials"})
					return
				}
				_, _ = w.ServicePrincipalFeedback(Actor{}, rapid.SampledFrom([]Verdict{ConfirmCompromised, Dismiss}).Draw(t, "verdict"), []string{sp})
			},
			"feedback": func(t *rapid.T) {
				_, _ = w.UserFeedback(Actor{}, rapid.SampledFrom([]Verdict{ConfirmCompromised, ConfirmSafe, Dismiss}).Draw(t, "verdict"), []string{person(), person()})
			},
			"update": func(t *rapid.T) {
				id := person()
				if rapid.Bool().Draw(t, "password") {
					_, _ = w.Update(Actor{}, Users, id, Object{"passwordProfile": Object{"password": "Correct-Horse-7"}})
					return
				}
				_, _ = w.Update(Actor{}, Users, id, Object{"accountEnabled": rapid.Bool().Draw(t, "enabled")})
			},
			"wait": func(t *rapid.T) {
				c.add(time.Duration(rapid.SampledFrom([]int{1, 500, 2500, 40 * 60_000, 200 * 24 * 3600_000}).Draw(t, "ms")) * time.Millisecond)
			},
		})
		c.add(time.Hour)
		if err := invariants(w); err != nil {
			t.Fatal(err)
		}
		w.WalkState(func(s UserState) bool {
			if s.RiskProcessing {
				t.Errorf("%s is processed for ever", s.ID)
			}
			return true
		})
	})
}

// snapshot is the state of all people and all rows of risk.
func snapshot(w *World) []any {
	var out []any
	w.WalkState(func(s UserState) bool { out = append(out, s); return true })
	for _, c := range []Collection{RiskDetections, RiskyUsers, Alerts, SignIns} {
		w.Walk(c, 0, func(_ int, it Item) bool { out = append(out, it.Object()); return true })
	}
	return out
}

// Many callers at once: the race detector and the invariants are the test.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	var people []string
	w.Walk(Users, 3, func(_ int, it Item) bool { people = append(people, it.ID()); return len(people) < 40 })
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				id := people[(g*7+i)%len(people)]
				switch (g + i) % 8 {
				case 0:
					_ = w.Apply(Event{Type: EventDetection, User: id, RiskEventType: "leakedCredentials"})
				case 1:
					_, _ = w.UserFeedback(Actor{}, ConfirmCompromised, []string{id})
				case 2:
					_, _ = w.Update(Actor{}, Users, id, Object{"passwordProfile": Object{"password": "Correct-Horse-7"}})
				case 3:
					_, _ = w.RevokeSignInSessions(Actor{}, id)
				case 4:
					for _, col := range []Collection{RiskyUsers, RiskDetections, Users, IdentityAccounts, RegistrationDetails} {
						w.Walk(col, 0, func(_ int, it Item) bool { return len(it.Object()) > 0 })
					}
				case 5:
					w.State(id)
					w.WalkOnPremises(func(OnPremisesState) bool { return true })
				case 6:
					c.add(700 * time.Millisecond)
				case 7:
					_, _ = w.Update(Actor{}, Users, id, Object{"accountEnabled": i%2 == 0})
				}
			}
		})
	}
	wg.Wait()
	c.add(time.Hour)
	if err := invariants(w); err != nil {
		t.Error(err)
	}
}

func TestEventCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{`{"type":"detection","user":"a","riskEventType":"leakedCredentials"}`, ""},
		{`{"type":"signIn","user":"a","tokenAge":"90m"}`, ""},
		{`{"type":"detektion"}`, "unknown type"},
		{`{"type":"detection","user":"a"}`, "riskEventType is missing"},
		{`{"type":"detection","user":"a","riskEventType":"x","title":"y"}`, "title does not belong here"},
		{`{"type":"detection","user":"a","riskEventType":"x","riskLevel":"extreme"}`, "is none of"},
		{`{"type":"detection","user":"a","riskEventType":"x","ago":"-1h"}`, "negative"},
		{`{"type":"signIn","user":"a","tokenAge":"soon"}`, "invalid duration"},
		{`{"type":"signIn","who":"a"}`, "unknown field"},
		{`{"type":"syncCycle"} {"type":"syncCycle"}`, "more than one"},
		{`{"type":"sensor","sensor":"DC01","status":"broken"}`, "is none of up, down"},
		{`{"type":"system","user":"a","transition":"T25"}`, "is none of"},
		{`[]`, "cannot unmarshal"}, {``, "EOF"},
	} {
		_, err := DecodeEvent([]byte(tt.text))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	w, c := small(t)
	a := pick(t, w, ordinary)
	if err := w.Schedule(epoch.Add(time.Second), Event{Type: "nothing"}); err == nil {
		t.Error("an unknown type was scheduled")
	}
	at := epoch.Add(1500 * time.Millisecond)
	for _, e := range []Event{
		{Type: EventDetection, User: a.UserID, RiskEventType: "leakedCredentials"},
		{Type: EventDetection, User: "nobody", RiskEventType: "leakedCredentials"},
	} {
		if err := w.Schedule(at, e); err != nil {
			t.Fatal(err)
		}
	}
	if w.Count(RiskDetections) != 0 {
		t.Error("too early")
	}
	c.add(time.Minute)
	if n := w.Count(RiskDetections); n != 1 {
		t.Fatalf("%d detections", n)
	}
	if got := value(t, w, RiskDetections, firstID(w, RiskDetections), "detectedDateTime"); got != stamp(at) {
		t.Errorf("it happened at %v", got)
	}
	if f := w.Failures(); len(f) != 1 || !strings.Contains(f[0].Error(), "nobody") {
		t.Errorf("failures %v", f)
	}
}

// Any bytes are an event that checks, or an error; applying never panics and
// keeps the invariants.
func FuzzEvent(f *testing.F) {
	c := &clock{now: epoch}
	w, err := New(Options{Seed: 3, Users: 40, Start: epoch, Now: c.Now})
	if err != nil {
		f.Fatal(err)
	}
	a, err := w.Pick(Pick{Kind: KindMember})
	if err != nil {
		f.Fatal(err)
	}
	if err := w.Bind("a", a); err != nil {
		f.Fatal(err)
	}
	for _, e := range []Event{
		{Type: EventDetection, User: "a", RiskEventType: "leakedCredentials", AdditionalInfo: map[string]string{"riskReasons": "x,y"}},
		{Type: EventAlert, User: "a", Title: "Honeytoken Activity", Device: "PC.corp", IPAddress: "::1"},
		{Type: EventRemediation, User: "a", Transition: "T2"},
		{Type: EventOnPremisesChange, User: "a", AccountEnabled: no()},
	} {
		b, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEvent(b)
		if err != nil {
			return
		}
		_ = w.Apply(e)
		c.add(time.Second)
		if err := invariants(w); err != nil {
			t.Fatal(err)
		}
	})
}
