package detection_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	actionentraid "github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func TestCoverage(t *testing.T) {
	t.Parallel()
	c := detection.Coverage()
	for name, want := range map[string]struct {
		got   detection.Count
		known int
	}{
		"detections": {c.Detections, 45}, "alerts": {c.Alerts, 184},
		"sign-in": {c.Groups[detection.SignIn], 18}, "user": {c.Groups[detection.User], 11},
		"workload": {c.Groups[detection.Workload], 8}, "agent": {c.Groups[detection.Agent], 8},
		"defender": {c.Groups[detection.Defender], 130}, "classic": {c.Groups[detection.Classic], 54},
	} {
		whole := detection.Count{Known: want.known, Covered: want.known, Cause: want.known, Unknown: want.got.Unknown, Remedy: want.known}
		if diff := cmp.Diff(whole, want.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if n := c.Detections.Unknown; n > 16 {
		t.Errorf("%d of 45 detections say nothing of their cause", n)
	}
	if n := c.Alerts.Unknown; n > 27 {
		t.Errorf("%d of 184 alerts say nothing of their cause", n)
	}
}

func TestEveryEntryIsComplete(t *testing.T) {
	t.Parallel()
	technique := regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)
	tactics := []string{
		"initial access", "execution", "persistence", "privilege escalation", "defense evasion", "credential access",
		"discovery", "lateral movement", "collection", "command and control", "exfiltration", "impact",
	}
	detector := regexp.MustCompile(`^(xdr_[A-Za-z0-9_]+|[12][0-9]{3})$`)
	families := map[detection.Family]bool{}
	for _, f := range detection.Families() {
		if families[f.Family] {
			t.Errorf("family %s is listed twice", f.Family)
		}
		families[f.Family] = true
	}
	seen := map[string]bool{}
	for _, e := range detection.All() {
		if seen[e.ID()] {
			t.Errorf("%s is there twice", e.ID())
		}
		seen[e.ID()] = true
		if missing := e.Missing(); len(missing) > 0 {
			t.Errorf("%s lacks %s", e.ID(), strings.Join(missing, ", "))
		}
		if !families[e.Family] {
			t.Errorf("%s: no family %q", e.ID(), e.Family)
		}
		if !slices.Contains(tactics, e.Tactic) {
			t.Errorf("%s: no tactic %q", e.ID(), e.Tactic)
		}
		for n, text := range e.Techniques {
			if !technique.MatchString(text) || slices.Contains(e.Techniques[:n], text) {
				t.Errorf("%s: technique %q", e.ID(), text)
			}
		}
		for _, d := range e.Detectors {
			if !detector.MatchString(d) {
				t.Errorf("%s: detector %q", e.ID(), d)
			}
		}
		for n, r := range e.Remedies {
			if _, ok := r.Treatment(); !ok || slices.Contains(e.Remedies[:n], r) {
				t.Errorf("%s: remedy %q", e.ID(), r)
			}
		}
		for _, text := range e.Questions {
			if !strings.Contains(text, "?") || len(text) > 160 {
				t.Errorf("%s: %q is no short question", e.ID(), text)
			}
		}
		if !strings.HasSuffix(e.Recommend, ".") || len(e.Recommend) > 320 {
			t.Errorf("%s: %q is no short recommendation", e.ID(), e.Recommend)
		}
		if e.Prior < 0 || e.Prior >= 1 || e.HalfLife < 0 || e.HalfLife > 30 {
			t.Errorf("%s: prior %v, half-life %v", e.ID(), e.Prior, e.HalfLife)
		}
		if e.Floor != "" && (e.Floor.Rank() < 2 || e.HalfLife != 0 && e.Floor == signal.LevelHigh) {
			t.Errorf("%s: floor %s with a half-life of %v days", e.ID(), e.Floor, e.HalfLife)
		}
	}
}

// All 45 detections have questions of their own; a family's are for alerts.
func TestDetectionsHaveTheirOwnQuestions(t *testing.T) {
	t.Parallel()
	asked := map[string]string{}
	for _, e := range detection.All() {
		if e.Group.Alerts() || !e.Listed {
			continue
		}
		text := strings.Join(e.Questions, "\n")
		if other, taken := asked[text]; taken {
			t.Errorf("%s asks what %s asks", e.ID(), other)
		}
		asked[text] = e.ID()
	}
}

// What comes in under the same identifier must be told apart by something.
func TestIdentifiersAreUnique(t *testing.T) {
	t.Parallel()
	types, alerts, externals := map[string]string{}, map[string]string{}, map[string]string{}
	claim := func(in map[string]string, key, id string) {
		if other, taken := in[key]; taken {
			t.Errorf("%s and %s both claim %q", other, id, key)
		}
		in[key] = id
	}
	for _, e := range detection.All() {
		for _, name := range e.Types {
			claim(types, string(e.Group)+" "+strings.ToLower(name), e.ID())
		}
		for n, d := range e.Detectors {
			if d[0] != 'x' {
				claim(externals, d, e.ID())
			} else if n == 0 {
				claim(alerts, d+" "+strings.ToLower(e.Name), e.ID())
			}
		}
	}
}

// Every entry is found by each of its identifiers, whatever the case.
func TestOfFindsEveryEntry(t *testing.T) {
	t.Parallel()
	shared := map[string]int{}
	for _, e := range detection.All() {
		for _, d := range e.Detectors {
			shared[d]++
		}
	}
	for _, e := range detection.All() {
		want := e.ID()
		find := func(what string, s signal.Signal) {
			t.Helper()
			s.Source = e.Source
			got, known := detection.Of(s)
			if !known || got.ID() != want {
				t.Errorf("%s by %s: got %s, known %v", want, what, got.ID(), known)
			}
		}
		for _, name := range e.Types {
			s := signal.Signal{Type: strings.ToUpper(name), Level: signal.LevelMedium}
			if e.Group == detection.SignIn {
				s.RequestID = "4d0a6ad6-8a5b-4b9b-a5a6-0b4f7b1f2a11"
			}
			find("type "+name, s)
		}
		for n, d := range e.Detectors {
			find("detector and title", signal.Signal{Detector: strings.ToUpper(d), Title: "[PREVIEW] " + strings.ToLower(e.Name), Type: e.Name})
			if shared[d] == 1 {
				find("detector under another title", signal.Signal{Detector: d, Title: "Renamed since", Type: "Renamed since"})
			}
			if n == 0 {
				for _, title := range e.Titles {
					find("detector and other title", signal.Signal{Detector: d, Title: strings.ReplaceAll(title, "{AccountUpn}", "a@corp.example")})
				}
			}
		}
	}
	for title, want := range map[string]string{
		"Suspected DCSync attack":                                                    "classic/suspected-dcsync-attack-replication-of-directory-services",
		"suspected dcsync attack (replication of directory services)":                "classic/suspected-dcsync-attack-replication-of-directory-services",
		"Suspected identity theft (pass-the-hash)":                                   "classic/suspected-identity-theft-pass-the-hash",
		"Suspected identity theft (pass-the-ticket)":                                 "classic/suspected-identity-theft-pass-the-ticket",
		"Suspicious Entra device join or registration":                               "defender/suspicious-entra-device-join-or-registration",
		"Okta session impersonation leading to privileged action for a@corp.example": "defender/okta-session-impersonation-leading-to-privileged-action-for-accountupn",
	} {
		got, known := detection.Of(signal.Signal{Source: signal.DefenderAlert, Type: title, Title: title})
		if !known || got.ID() != want {
			t.Errorf("title %q: got %s, known %v; want %s", title, got.ID(), known, want)
		}
	}
}

// One detector has several titles; a title it is not known to have is taken for
// its gravest.
func TestOfSharedDetector(t *testing.T) {
	t.Parallel()
	e, known := detection.Of(signal.Signal{Source: signal.DefenderAlert, Detector: "xdr_AsrepRoastingAttack", Title: "AS-REP roasting seen again"})
	if !known || e.Name != "AS-REP roasting" || e.Level != signal.LevelHigh {
		t.Errorf("got %s %s, known %v", e.Name, e.Level, known)
	}
	e, _ = detection.Of(signal.Signal{Source: signal.DefenderAlert, Detector: "xdr_CredentialStuffingToolObserved", Title: "Possible service principal account secret leak"})
	if e.Cause != signal.CauseWorkload {
		t.Errorf("the leak of a service principal's secret has the cause %s", e.Cause)
	}
}

func TestOfTellsUserFromSignIn(t *testing.T) {
	t.Parallel()
	s := signal.Signal{Source: signal.RiskDetection, Type: "anomalousToken"}
	if e, _ := detection.Of(s); e.Group != detection.User {
		t.Errorf("without a sign-in: %s", e.ID())
	}
	s.RequestID = "1"
	if e, _ := detection.Of(s); e.Group != detection.SignIn {
		t.Errorf("with a sign-in: %s", e.ID())
	}
	// Microsoft links this one to no sign-in, though it is on that list.
	if e, known := detection.Of(signal.Signal{Source: signal.RiskDetection, Type: "adminConfirmedUserCompromised"}); !known || e.Group != detection.SignIn {
		t.Errorf("got %s, known %v", e.ID(), known)
	}
}

func TestOfUnheard(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]signal.Signal{
		"type":     {Source: signal.RiskDetection, Type: "neverHeardOf", Level: signal.LevelHigh},
		"alert":    {Source: signal.DefenderAlert, Type: "Some new attack", Title: "Some new attack", Detector: "xdr_SomeNewAttack", Level: signal.LevelLow},
		"nothing":  {Source: signal.RiskDetection},
		"no title": {Source: signal.DefenderAlert},
		"source":   {Source: "elsewhere.thing", Type: "x"},
	} {
		e, known := detection.Of(s)
		if known || e.Family != detection.Unheard || e.Cause != signal.CauseUnknown || e.Level != s.Level || e.Prior != 0 || e.HalfLife == 0 {
			t.Errorf("%s: %+v, known %v", name, e, known)
		}
		if e.Name == "" || len(e.Questions) == 0 || e.Recommend == "" || len(e.Remedies) == 0 {
			t.Errorf("%s: nothing to show: %+v", name, e)
		}
	}
}

// What a workload did was done with its credential.
func TestOfWorkload(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]signal.Signal{
		"unheard of": {Source: signal.WorkloadDetection, Type: "neverHeardOf"},
		"an agent":   {Source: signal.AgentDetection, Type: "unifiedAgentRisk"},
		"an alert":   {Source: signal.DefenderAlert, Title: "Suspicious Entra Graph API query observed", Subject: identity.Ref{Kind: identity.KindWorkload}},
		"leaked":     {Source: signal.WorkloadDetection, Type: "leakedCredentials"},
	} {
		e, _ := detection.Of(s)
		if e.Cause != signal.CauseWorkload || !slices.ContainsFunc(e.Remedies, func(r detection.Remedy) bool { tr, _ := r.Treatment(); return tr.Fits(signal.CauseWorkload) }) {
			t.Errorf("%s: cause %s, remedies %v", name, e.Cause, e.Remedies)
		}
	}
}

// A remedy that is not by hand exists in the action catalogue and cures there what
// it cures here; one that is by hand does not exist there, or it would be offered.
func TestRemediesAreActions(t *testing.T) {
	t.Parallel()
	cures := map[detection.Remedy][]signal.Cause{}
	for _, a := range actionentraid.Types(nil) {
		cures[detection.Remedy(a.Spec().Name)] = a.Spec().Remedies
	}
	for _, r := range actionentraid.Routes() {
		for _, to := range r.To {
			cures[detection.Remedy(r.Name)] = cures[detection.Remedy(to)]
		}
	}
	used := map[detection.Remedy]bool{}
	for _, e := range detection.All() {
		for _, r := range e.Remedies {
			used[r] = true
		}
	}
	for _, tr := range detection.Treatments() {
		have, exists := cures[tr.Name]
		if exists == tr.ByHand {
			t.Errorf("%s: by hand %v, in the action catalogue %v", tr.Name, tr.ByHand, exists)
		}
		if exists && fmt.Sprint(have) != fmt.Sprint(tr.Cures) {
			t.Errorf("%s cures %v here and %v in the action catalogue", tr.Name, tr.Cures, have)
		}
		if !used[tr.Name] {
			t.Errorf("%s helps against nothing", tr.Name)
		}
	}
}

// Law 7: what cures only a password is never the first thing against a stolen
// session, nor the other way round.
func TestFirstRemedyIsNoDetour(t *testing.T) {
	t.Parallel()
	for _, e := range detection.All() {
		first, _ := e.Remedies[0].Treatment()
		switch e.Cause {
		case signal.CausePassword:
			if first.Name == detection.RevokeSessions {
				t.Errorf("%s: revoked sessions do not cure a known password", e.ID())
			}
		case signal.CauseSession:
			if first.Name == detection.ResetPassword {
				t.Errorf("%s: a new password does not cure a stolen session", e.ID())
			}
		}
	}
}

func TestUnheardOf(t *testing.T) {
	t.Parallel()
	got := detection.UnheardOf([]detection.Kind{
		{Source: signal.RiskDetection, Type: "leakedCredentials", Count: 3},
		{Source: signal.RiskDetection, Type: "brandNew", Count: 2},
		{Source: signal.DefenderAlert, Type: "AS-REP roasting", Title: "AS-REP roasting", Count: 1},
	})
	if diff := cmp.Diff([]detection.Kind{{Source: signal.RiskDetection, Type: "brandNew", Count: 2}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkOf(b *testing.B) {
	for name, s := range map[string]signal.Signal{
		"type":   {Source: signal.RiskDetection, Type: "leakedCredentials"},
		"title":  {Source: signal.DefenderAlert, Title: "Suspected DCSync attack (replication of directory services)"},
		"shared": {Source: signal.DefenderAlert, Detector: "xdr_SuspiciousEntraSignIn", Title: "Suspicious user agent sign-in on Microsoft Entra"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				detection.Of(s)
			}
		})
	}
}
