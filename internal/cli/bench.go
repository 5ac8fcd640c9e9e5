package cli

import (
	"cmp"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

func newBench(e Env) *cobra.Command {
	return group("bench", "Benchmarks: each prints one JSON object", newBenchLatency(e), newBenchIngest(e))
}

// quantiles are of durations, in milliseconds.
type quantiles struct {
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// quantilesOf takes the nearest rank: a p99 is a value that was measured.
func quantilesOf(all []time.Duration) quantiles {
	if len(all) == 0 {
		return quantiles{}
	}
	sorted := slices.SortedFunc(slices.Values(all), cmp.Compare[time.Duration])
	at := func(q float64) float64 {
		n := int(q*float64(len(sorted))+0.999999) - 1
		return float64(sorted[min(max(n, 0), len(sorted)-1)].Microseconds()) / 1000
	}
	return quantiles{at(0.50), at(0.95), at(0.99), at(1)}
}
