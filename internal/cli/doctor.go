package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

func newDoctor(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "doctor --config FILE", Short: "Ask the outside: tokens, permissions, reachability, clock, sensors", Args: cobra.NoArgs,
		Long: "Asks every tenant of the configuration and changes nothing there. Exits with 1 when\nsomething is missing or broken, with 3 when something could not be reached.",
	}
	path, asJSON := configFlag(c), jsonFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(e, *path)
		if err != nil {
			return err
		}
		checks, err := app.Doctor(cmd.Context(), cfg, time.Now)
		if err != nil {
			return err
		}
		err = out(e, *asJSON, map[string]any{"checks": checks}, func(w io.Writer) {
			for _, k := range checks {
				fmt.Fprintf(w, "%-8s %s: %s\n", k.Health, clean(k.Name), clean(k.Text))
				if k.Fix != "" {
					fmt.Fprintf(w, "         → %s\n", clean(k.Fix))
				}
			}
		})
		switch {
		case err != nil:
			return err
		case slices.ContainsFunc(checks, func(k app.Check) bool { return k.Away }):
			return fault.Errorf(fault.Unavailable, "something could not be reached; see above")
		case slices.ContainsFunc(checks, func(k app.Check) bool { return k.Health == app.Missing || k.Health == app.Broken }):
			return no("")
		}
		return nil
	}
	return c
}
