package desk_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

func TestCoverageNamesWhatIsUnheardOf(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	kim := desktest.Person(3, "Kim Meadow", "kim.meadow@corp.example", s.Now())
	s.Store.Seed(kim)
	told := func(id string, source signal.Source, kind, title, detector string) signal.Signal {
		g := s.Leaked(id, time.Hour)
		g.Source, g.Type, g.Title, g.Detector = source, kind, title, detector
		return g
	}
	s.Store.SeedSignals(kim.ID,
		s.Leaked("d1", time.Hour),
		told("d2", signal.RiskDetection, "neverHeardOf", "", ""),
		told("d3", signal.RiskDetection, "neverHeardOf", "", ""),
		told("a1", signal.DefenderAlert, "Roasting under a new name", "Roasting under a new name", "xdr_AsrepRoastingAttack"),
		told("a2", signal.DefenderAlert, "Something new", "Something new", "xdr_SomethingNew"))
	v, err := s.Desk.Coverage(t.Context(), s.Operator("analyst"), "")
	if err != nil {
		t.Fatal(err)
	}
	want := []detection.Kind{
		{Source: signal.RiskDetection, Type: "neverHeardOf", Count: 2},
		{Source: signal.DefenderAlert, Type: "Something new", Title: "Something new", Detector: "xdr_SomethingNew", Count: 1},
	}
	if v.Arrived != 5 || !cmp.Equal(want, v.Unheard) {
		t.Errorf("arrived %d; unheard (-want +got):\n%s", v.Arrived, cmp.Diff(want, v.Unheard))
	}
	if v.Detections.Covered != 45 || v.Alerts.Covered != 184 {
		t.Errorf("the catalogue: %+v %+v", v.Detections, v.Alerts)
	}
}

// A case shows what the catalogue says of its open signals, the gravest first.
func TestCaseShowsItsDetections(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	kim := desktest.Person(3, "Kim Meadow", "kim.meadow@corp.example", s.Now())
	closed := s.Leaked("d3", time.Hour)
	closed.Type, closed.State = "passwordSpray", signal.StateRemediated
	strange := s.Travel("d4", time.Hour)
	strange.Type, strange.Level = "neverHeardOf", signal.LevelLow
	id := s.AddAtRisk(kim, s.Travel("d1", time.Hour), s.Leaked("d2", 2*time.Hour), s.Leaked("d5", 3*time.Hour), closed, strange)
	v, err := s.Desk.CaseView(t.Context(), s.Operator("analyst"), id)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range v.Detections {
		names = append(names, e.Name)
		if len(e.Questions) == 0 || e.Recommend == "" {
			t.Errorf("%s: nothing to ask or do", e.Name)
		}
	}
	if len(names) != 3 || names[0] != "Leaked credentials" || !slices.Contains(names, "Atypical travel") {
		t.Errorf("detections: %q", names)
	}
}
