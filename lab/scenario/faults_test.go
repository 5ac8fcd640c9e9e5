package scenario_test

import (
	"testing"

	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/scenario"
)

// The stories' faults must be ones that the simulated server understands.
func TestFaultsAreKnown(t *testing.T) {
	t.Parallel()
	n := 0
	for _, name := range scenario.Names() {
		s, err := scenario.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := graphsim.ParseFaults(s.Faults); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		n += len(s.Faults)
	}
	if n == 0 {
		t.Error("no story has a fault")
	}
}
