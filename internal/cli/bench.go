package cli

import (
	"cmp"
	"errors"
	"os"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

func newBench(e Env) *cobra.Command {
	return group("bench", "Benchmarks: each prints one JSON object", newBenchLatency(e), newBenchIngest(e), newBenchStorm(e))
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

// profile writes a CPU profile to the file until the function that it returns is
// called.
func profile(path string) (stop func() error, err error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "--cpuprofile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}
