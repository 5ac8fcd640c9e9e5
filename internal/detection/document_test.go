package detection_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

var update = flag.Bool("update", false, "write docs/detections.md instead of comparing it")

const page = "../../docs/detections.md"

// docs/detections.md says what the table says.
func TestDocument(t *testing.T) {
	t.Parallel()
	want := document()
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("docs/detections.md is not current; go generate ./internal/detection (-file +table):\n%s", cmp.Diff(string(have), string(want)))
	}
}

func document() []byte {
	var b bytes.Buffer
	c := detection.Coverage()
	fmt.Fprintf(&b, `# Detections

<!-- Generated from internal/detection by go generate; do not edit. -->

What Cordon knows of each kind of signal: %d detections of Microsoft Entra ID
Protection, %d alerts of Microsoft Defender for Identity in both formats, and %d
that are on no present list. What is on none of them is kept, shown and scored by
the level its source gives it; `+"`cordon coverage`"+` names what has arrived of that
sort.

A detection is known by its type, a classic alert by its external id, an alert in
Defender's format by its detector and title. Where two reports mean one attack,
they count once.

- **Cause** is what the attacker holds; a remedy must fit it.
- **Level** is the usual one, with * where the source decides case by case.
- **Weight** is the probability of compromise that the signal starts with, and the
  days in which it halves; "level" means by the signal's level, and an arrow the
  level below which the assessment does not fall while the signal is open.

| List | On it | Covered | Cause known | With a remedy |
|---|---|---|---|---|
`, c.Detections.Covered, c.Alerts.Covered, c.Unlisted)
	row := func(name string, n detection.Count) {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", name, n.Known, n.Covered, n.Cause-n.Unknown, n.Remedy)
	}
	for _, g := range detection.Groups() {
		row(string(g), c.Groups[g])
	}
	row("detections", c.Detections)
	row("alerts", c.Alerts)

	b.WriteString("\n## Remedies\n\n| Remedy | What it does | Cures |\n|---|---|---|\n")
	for _, r := range detection.Treatments() {
		text, cures := r.Title, words(r.Cures)
		if r.ByHand {
			text += " (by hand)"
		}
		if cures == "" {
			cures = "–"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Name, text, cures)
	}
	entries := detection.All()
	for _, f := range detection.Families() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", f.Title, f.Recommend)
		list(&b, f.Questions)
		b.WriteString("\nRemedies: " + code(f.Remedies) + "\n")
		rows, own := table(entries, f)
		b.WriteString(rows + own)
	}
	return b.Bytes()
}

func table(entries []detection.Entry, f detection.Guide) (rows, own string) {
	var r, o strings.Builder
	for _, e := range entries {
		if e.Family != f.Family {
			continue
		}
		if r.Len() == 0 {
			r.WriteString("\n| Name | Arrives as | Level | Cause | Tactic | ATT&CK | Weight | Licence |\n|---|---|---|---|---|---|---|---|\n")
		}
		name := e.Name
		if !e.Listed {
			name += " (on no present list)"
		}
		fmt.Fprintf(&r, "| %s | %s %s | %s | %s | %s | %s | %s | %s |\n", name, e.Group, code(append(e.Types, e.Detectors...)),
			level(e), e.Cause, e.Tactic, strings.Join(e.Techniques, " "), weight(e), e.Licence)
		different := e.Recommend != f.Recommend || strings.Join(e.Questions, "\n") != strings.Join(f.Questions, "\n")
		if remedies := code(e.Remedies); different || remedies != code(f.Remedies) {
			fmt.Fprintf(&o, "\n### %s\n\n", e.Name)
			if e.Recommend != f.Recommend {
				o.WriteString(e.Recommend + "\n\n")
			}
			if strings.Join(e.Questions, "\n") != strings.Join(f.Questions, "\n") {
				list(&o, e.Questions)
				o.WriteString("\n")
			}
			o.WriteString("Remedies: " + remedies + "\n")
		}
	}
	return r.String(), o.String()
}

func level(e detection.Entry) string {
	if e.Varies {
		return string(e.Level) + "*"
	}
	return string(e.Level)
}

func weight(e detection.Entry) string {
	out := "level"
	if e.Prior > 0 {
		out = fmt.Sprintf("%.2f", e.Prior)
	}
	if e.HalfLife > 0 {
		out += fmt.Sprintf(", %.0f d", e.HalfLife)
	}
	if e.Floor != "" {
		out += " → " + string(e.Floor)
	}
	return out
}

func list(b interface{ WriteString(string) (int, error) }, items []string) {
	for _, i := range items {
		_, _ = b.WriteString("- " + i + "\n")
	}
}

func code[T ~string](names []T) string {
	out := make([]string, len(names))
	for n, name := range names {
		out[n] = "`" + string(name) + "`"
	}
	return strings.Join(out, ", ")
}

func words(causes []signal.Cause) string {
	out := make([]string, len(causes))
	for n, c := range causes {
		out[n] = string(c)
	}
	return strings.Join(out, ", ")
}

func FuzzOf(f *testing.F) {
	f.Add("entra.riskDetection", "leakedCredentials", "", "")
	f.Add("defender.alert", "AS-REP roasting", "AS-REP roasting", "xdr_AsrepRoastingAttack")
	f.Add("defender.alert", "", "[PREVIEW] ((}{) ſ\xff", "2006")
	f.Fuzz(func(t *testing.T, source, kind, title, detector string) {
		s := signal.Signal{Source: signal.Source(source), Type: kind, Title: title, Detector: detector, Level: signal.LevelMedium}
		e, known := detection.Of(s)
		if known == (e.Family == detection.Unheard) || e.Name == "" || e.Recommend == "" || len(e.Remedies) == 0 || e.Cause == "" {
			t.Errorf("%+v, known %v", e, known)
		}
		if again, _ := detection.Of(s); !cmp.Equal(e, again) {
			t.Errorf("two answers:\n%s", cmp.Diff(e, again))
		}
	})
}
