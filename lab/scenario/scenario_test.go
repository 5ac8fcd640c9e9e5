package scenario

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/lab/world"
)

var epoch = time.Date(2026, 8, 24, 9, 0, 0, 0, time.UTC)

func TestNames(t *testing.T) {
	t.Parallel()
	want := []string{"dcsync", "demo", "leaked-credentials", "mailbox-and-consent", "malicious-app-credential", "password-spray", "throttled-bulk", "token-theft", "unhappy"}
	if diff := cmp.Diff(want, Names()); diff != "" {
		t.Error(diff)
	}
	if _, err := Load("nothing"); err == nil || !strings.Contains(err.Error(), "demo") {
		t.Errorf("an unknown story: %v", err)
	}
}

// Every story must load, find its people in tenants of several seeds and play
// to its end without an event that cannot happen.
func TestStoriesPlay(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		for _, seed := range []uint64{0, 1, 2} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s, err := Load(name)
				if err != nil {
					t.Fatal(err)
				}
				now := epoch
				w, err := world.New(s.Options(world.Options{Seed: seed, Start: epoch, Now: func() time.Time { return now }}))
				if err != nil {
					t.Fatal(err)
				}
				cast, err := s.Cast(w)
				if err != nil {
					t.Fatal(err)
				}
				if len(cast) != len(s.People) {
					t.Errorf("%d of %d people were found", len(cast), len(s.People))
				}
				if err := s.Play(w, epoch, 1); err != nil {
					t.Fatal(err)
				}
				if n := w.Count(world.RiskDetections) + w.Count(world.Alerts); n != 0 {
					t.Errorf("%d signals before the start", n)
				}
				now = now.Add(s.Length() + time.Second)
				for _, err := range w.Failures() {
					t.Error(err)
				}
				signals := w.Count(world.RiskDetections) + w.Count(world.Alerts) + w.Count(world.ServicePrincipalRiskDetections)
				if signals == 0 {
					t.Error("no signal was raised")
				}
				if s.Length() > 40*time.Second {
					t.Errorf("the story takes %s", s.Length())
				}
			})
		}
	}
}

// In the demonstration the stolen session is tried again after 28 s: refused
// when the account was contained, and not otherwise.
func TestDemoReplayIsRefusedAfterContainment(t *testing.T) {
	t.Parallel()
	for _, contained := range []bool{true, false} {
		s, err := Load(Default)
		if err != nil {
			t.Fatal(err)
		}
		now := epoch
		w, err := world.New(s.Options(world.Options{Start: epoch, Now: func() time.Time { return now }}))
		if err != nil {
			t.Fatal(err)
		}
		cast, err := s.Cast(w)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Play(w, epoch, 1); err != nil {
			t.Fatal(err)
		}
		now = epoch.Add(20 * time.Second)
		if contained {
			if _, err := w.RevokeSignInSessions(world.Actor{}, cast["ben"].UserID); err != nil {
				t.Fatal(err)
			}
		}
		now = epoch.Add(30 * time.Second)
		var status any
		w.WalkBack(world.SignIns, -1, func(_ int, it world.Item) bool { status, _ = it.Value("status"); return false })
		code := status.(world.Object)["errorCode"]
		if contained && code != 50173 || !contained && code != 0 {
			t.Errorf("contained %v: the replay ended with %v", contained, code)
		}
	}
}

func TestPlaySpeed(t *testing.T) {
	t.Parallel()
	s, err := Load("demo")
	if err != nil {
		t.Fatal(err)
	}
	now := epoch
	w, err := world.New(s.Options(world.Options{Start: epoch, Now: func() time.Time { return now }}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cast(w); err != nil {
		t.Fatal(err)
	}
	if err := s.Play(w, epoch, 0); err == nil {
		t.Error("speed 0 was accepted")
	}
	if err := s.Play(w, epoch, 10); err != nil {
		t.Fatal(err)
	}
	now = epoch.Add(710 * time.Millisecond)
	if n := w.Count(world.RiskDetections); n != 6 {
		t.Errorf("%d detections after 0.71 s at ten times the speed, not 6", n)
	}
}

func TestCastRefusesTheSamePersonTwice(t *testing.T) {
	t.Parallel()
	s := &Scenario{Name: "x", People: map[string]world.Pick{"a": {Kind: "guest"}, "b": {Kind: "guest"}}}
	w, err := world.New(world.Options{Users: 100})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cast(w); err == nil {
		t.Error("two aliases share an account")
	}
}

const good = `name: x
title: T
story: S
people:
  a: { kind: member }
  g: { kind: breakGlass }
protected: [g]
events:
  - { at: 1s, type: detection, user: a, riskEventType: leakedCredentials, name: d }
  - { at: 2s, type: recalculate, of: d, riskLevel: low }
expect:
  - { for: a, end: contained }
  - { for: g, end: untouched }
`

func TestParse(t *testing.T) {
	t.Parallel()
	if _, err := Parse("x.yaml", []byte(good)); err != nil {
		t.Fatalf("a good story: %v", err)
	}
	for _, tt := range []struct {
		name, old, new string
		want           []string // each "line: text"
	}{
		{"unknown key", "title: T", "titel: T", []string{"2: field titel not found"}},
		{"unknown key of an event", "user: a,", "person: a,", []string{"9: field person not found"}},
		{"bad duration", "at: 1s", "at: soon", []string{"9"}},
		{"name", "name: x", "name: y", []string{`1: name "y" is not the file's`}},
		{"nobody", "user: a,", "user: z,", []string{`9: nobody is called "z"`}},
		{"bad pick", "kind: member", "kind: person", []string{`5: a: pick: kind "person"`}},
		{"wrong field and level", "riskEventType: leakedCredentials", "riskEventType: leakedCredentials, severity: loud", []string{"9: event detection: severity does not belong here; severity \"loud\" is none of"}},
		{"missing field", "riskLevel: low", "ip: 1.2.3.4", []string{"10: event recalculate: riskLevel is missing; ip does not belong here"}},
		{"unknown of", "of: d", "of: e", []string{`10: of "e": no earlier event`}},
		{"order", "at: 2s", "at: 500ms", []string{"10: the events are not in the order"}},
		{"end", "end: contained", "end: happy", []string{`12: end "happy" is none of`}},
		{"held needs a reason", "end: contained", "end: held", []string{"12: an end held needs a reason"}},
		{"unknown action", "end: contained", "end: contained, actions: [user.ban]", []string{`12: no action "user.ban"`}},
		{"protected", "end: untouched", "end: contained", []string{"7: g is protected"}},
		{"two mistakes", "at: 1s, type: detection, user: a", "at: 1s, type: detection, user: q", []string{`9: nobody is called "q"`}},
		{"decision", "expect:", "approvals: [{for: a, decision: maybe, by: lead}, {for: a, decision: reject, by: lead}]\nexpect:",
			[]string{`11: decision "maybe"`, "11: a rejection needs a reason"}},
		{"undo", "expect:", "undo: [{for: a, action: nothing, reason: r}]\nexpect:", []string{`11: no action "nothing"`, "11: a has an undo"}},
		{"empty", good, "", []string{"the file is empty"}},
		{"not yaml", good, "a: [", []string{""}},
		{"two documents", "  - { for: g, end: untouched }\n", "  - { for: g, end: untouched }\n---\na: 1\n", []string{"more than one document"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(good, tt.old, tt.new, 1)
			if text == good {
				t.Fatal("the test changes nothing")
			}
			_, err := Parse("x.yaml", []byte(text))
			var p Problems
			if !errors.As(err, &p) {
				t.Fatalf("no problems, but %v", err)
			}
			if len(p) != len(tt.want) {
				t.Fatalf("%d problems, not %d:\n%v", len(p), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.Contains(p[i].String(), want) {
					t.Errorf("problem %d is %q, not %q", i, p[i], want)
				}
			}
		})
	}
}

// Whatever the bytes, Parse gives a story that checks or says what is wrong.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("name: x\npeople: {a: {kind: member, index: -1}}\nevents: [{at: 1s}]\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse("x.yaml", b)
		if (s == nil) == (err == nil) {
			t.Fatalf("story %v and error %v", s, err)
		}
		var p Problems
		if err != nil && (!errors.As(err, &p) || len(p) == 0) {
			t.Fatalf("an error without problems: %v", err)
		}
	})
}
