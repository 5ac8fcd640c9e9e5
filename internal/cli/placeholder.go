package cli

import "github.com/spf13/cobra"

func newPlaybook(e Env) *cobra.Command { return &cobra.Command{Use: "playbook"} }
func newBench(e Env) *cobra.Command    { return &cobra.Command{Use: "bench"} }
func newDeskCommands(e Env) []*cobra.Command { return nil }
