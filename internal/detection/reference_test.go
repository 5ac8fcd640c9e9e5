package detection_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// cells returns the cells of every table row in a reference page whose first cell
// matches.
func cells(t *testing.T, page string, first *regexp.Regexp) [][]string {
	t.Helper()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	text, err := os.ReadFile(filepath.Join(shared, "reference", page))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(text)) {
		parts := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for n := range parts {
			parts[n] = strings.TrimSpace(parts[n])
		}
		if first.MatchString(parts[0]) {
			out = append(out, parts)
		}
	}
	return out
}

// Nothing of the lists of Entra ID Protection is missing.
func TestReferenceDetections(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, row := range cells(t, "ms-id-protection.md", regexp.MustCompile(`^([SU][0-9]+|[WA][1-8])$`)) {
		s := signal.Signal{Source: signal.RiskDetection, Type: strings.Trim(row[2], "`")}
		var group detection.Group
		switch row[0][0] {
		case 'S':
			s.RequestID, group = "1", detection.SignIn
		case 'U':
			group = detection.User
		case 'W':
			s.Source, group = signal.WorkloadDetection, detection.Workload
		case 'A':
			s.Source, group = signal.AgentDetection, detection.Agent
		}
		e, known := detection.Of(s)
		if !known || e.Group != group || !e.Listed {
			t.Errorf("%s %s: %s, known %v", row[0], s.Type, e.ID(), known)
			continue
		}
		found[e.ID()] = true
		// The catalogue may tell two of one name apart; the page may say who or what.
		want := alike(row[1])
		if have := alike(e.Name); have != want {
			t.Errorf("%s is called %q here and %q there", row[0], e.Name, row[1])
		}
		if len(row) > 6 {
			for _, technique := range regexp.MustCompile(`T[0-9]{4}(\.[0-9]{3})?`).FindAllString(row[6], -1) {
				if !slices.Contains(e.Techniques, technique) {
					t.Errorf("%s %s lacks %s", row[0], e.Name, technique)
				}
			}
			if strings.Contains(row[5], "high") && !strings.Contains(row[5], ",") && (e.Level != signal.LevelHigh || e.Varies) {
				t.Errorf("%s %s is %s (varies: %v); the page says %s", row[0], e.Name, e.Level, e.Varies, row[5])
			}
			if row[5] == "varies" && !e.Varies {
				t.Errorf("%s %s has one level here", row[0], e.Name)
			}
		}
	}
	if len(found) != 45 {
		t.Errorf("%d detections of the page are in the catalogue, want 45", len(found))
	}
}

func alike(name string) string {
	name, _, _ = strings.Cut(name, " (")
	return strings.ToLower(name)
}

var severities = map[string]signal.Level{"H": signal.LevelHigh, "M": signal.LevelMedium, "L": signal.LevelLow}

// Nothing of Defender for Identity's lists is missing, in either format.
func TestReferenceAlerts(t *testing.T) {
	t.Parallel()
	found, before := map[string]bool{}, ""
	check := func(row []string, title, detector, severity, techniques string, group detection.Group) {
		e, known := detection.Of(signal.Signal{Source: signal.DefenderAlert, Title: title, Type: title, Detector: detector})
		if !known || e.Group != group || !e.Listed {
			t.Errorf("%s %q %s: %s, known %v", row[0], title, detector, e.ID(), known)
			return
		}
		if found[e.ID()] {
			t.Errorf("%s %q %s is %s, which another row is already", row[0], title, detector, e.ID())
		}
		found[e.ID()] = true
		if e.Detectors[0] != detector {
			t.Errorf("%s %s: detector %s, the page says %s", row[0], e.Name, e.Detectors[0], detector)
		}
		if alike(e.Name) != alike(title) && !slices.ContainsFunc(e.Titles, func(o string) bool { return alike(o) == alike(title) }) {
			t.Errorf("%s is called %q here and %q there", row[0], e.Name, title)
		}
		if want := severities[severity[:1]]; e.Level != want || e.Varies != (len(severity) > 1) {
			t.Errorf("%s %s is %s (varies: %v); the page says %s", row[0], e.Name, e.Level, e.Varies, severity)
		}
		want := regexp.MustCompile(`T[0-9]{4}(\.[0-9]{3})?`).FindAllString(techniques, -1)
		if len(want) > 0 && !cmp.Equal(want, e.Techniques) {
			t.Errorf("%s %s: techniques (-page +here):\n%s", row[0], e.Name, cmp.Diff(want, e.Techniques))
		}
	}
	for _, row := range cells(t, "ms-mdi.md", regexp.MustCompile(`^[0-9]{1,3}$`)) {
		if len(row) != 5 || severities[row[2]] == "" {
			continue
		}
		title := row[1]
		if rest, short := strings.CutPrefix(title, "… "); short {
			title = before + " " + rest
		} else {
			before = title
		}
		detector, _, _ := strings.Cut(row[4], " ")
		check(row, title, detector, row[2], row[3], detection.Defender)
	}
	if len(found) != 130 {
		t.Errorf("%d Defender-format alerts of the page are in the catalogue, want 130", len(found))
	}
	for _, row := range cells(t, "ms-mdi.md", regexp.MustCompile(`^C[0-9]{1,2}$`)) {
		check(row, row[1], row[2], row[3], row[5], detection.Classic)
	}
	if len(found) != 184 {
		t.Errorf("%d alerts of the page are in the catalogue, want 184", len(found))
	}
}

// The ids of converted alerts, still met in history and in other systems' rules.
func TestReferenceHistoricIDs(t *testing.T) {
	t.Parallel()
	for _, id := range strings.Fields("2002 2003 2004 2008 2012 2014 2022 2023 2032 2047 2210 2412 2416 2431 2439") {
		if e, known := detection.Of(signal.Signal{Source: signal.DefenderAlert, Detector: id}); !known {
			t.Errorf("%s: %s", id, e.ID())
		}
	}
}
