package entraid_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// toldBy is what a directoryAudit of that activity is recognised as.
func toldBy(t *testing.T, activity string) (record.Activity, bool) {
	t.Helper()
	name, err := json.Marshal(activity)
	if err != nil {
		t.Fatal(err)
	}
	r, reason := entraid.DecodeAudit("t", json.RawMessage(`{"id":"a1","activityDateTime":"2026-11-02T03:00:00Z","result":"success","activityDisplayName":`+string(name)+`}`))
	if reason != "" {
		t.Fatalf("%s: %s", activity, reason)
	}
	return record.ActivityOf(r)
}

func TestActivitiesAreRecognised(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, a := range record.Activities() {
		got, ok := toldBy(t, " "+strings.ToUpper(strings.ReplaceAll(a.Name, "-", "–"))+" ")
		if !ok || got.Name != a.Name || a.Means == "" || len(a.Rows) == 0 || seen[a.Name] {
			t.Errorf("%s: told as %+v, %v", a.Name, got, ok)
		}
		seen[a.Name] = true
	}
	for name, want := range map[string]string{
		"Add member to role in PIM completed (timebound)": "Add member to role", "Add member to role completed (PIM activation).": "Add member to role completed (PIM activation)",
		"Add userless thing": "", "": "", "Add members to roles": "",
	} {
		if got, ok := toldBy(t, name); got.Name != want || ok != (want != "") {
			t.Errorf("%q: told as %q", name, got.Name)
		}
	}
}

// Every activity that a row of the reference quotes from Entra's audit log is known, for
// that row.
func TestActivitiesOfTheGuide(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	text, err := os.ReadFile(filepath.Join(shared, "reference", "ms-secops-guide.md"))
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile(`"([^"]+)"`)
	rows, names := 0, 0
	for _, l := range strings.Split(string(text), "\n") {
		cells := strings.Split(l, "|")
		if len(cells) < 6 || !regexp.MustCompile(`^ (UA|AP|PA|PI|DE|IF)\d+ $`).MatchString(cells[1]) || !strings.Contains(cells[4], "AUD") {
			continue
		}
		row := strings.TrimSpace(cells[1])
		if !slices.ContainsFunc(record.Activities(), func(a record.Activity) bool { return slices.Contains(a.Rows, row) }) && row != "PA21" && row != "PA22" { // those two name no activity
			t.Errorf("%s: no activity (%s)", row, strings.TrimSpace(cells[5]))
		}
		rows++
		for _, m := range quoted.FindAllStringSubmatch(cells[5], -1) {
			list := []string{m[1]}
			switch m[1] {
			case "no action taken":
				list = []string{"Fraud reported – no action taken"}
			case "Request approved/denied":
				list = []string{"Request approved", "Request denied"}
			}
			for _, name := range list {
				names++
				if a, ok := toldBy(t, name); !ok || !slices.Contains(a.Rows, row) {
					t.Errorf("%s: %q is told as %+v", row, name, a)
				}
			}
		}
	}
	if rows < 50 || names < 28 {
		t.Errorf("%d rows and %d names were looked at", rows, names)
	}
}
