package cli

import "github.com/spf13/cobra"

func newBench(e Env) *cobra.Command {
	return group("bench", "Benchmarks: each prints one JSON object")
}
