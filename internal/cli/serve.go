package cli

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

func newServe(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "serve --config FILE", Short: "Run the service: connectors, engine, API and console", Args: cobra.NoArgs,
		Long: `Runs until it is told to stop (SIGINT, SIGTERM). SIGHUP reloads playbooks,
operators, protected lists, modes and limits; a configuration that cannot be used
is refused and the old one stays in force.`,
	}
	path := configFlag(c)
	speed := c.Flags().Float64("speed", 1, "multiply the published limits: only for a simulated tenant that runs at the same speed")
	lease := c.Flags().Duration("lease", 10*time.Second, "how long a process that went silent keeps a tenant before another takes it over; the same for all processes on a store")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(e, *path)
		if err != nil {
			return err
		}
		if *lease < time.Second || *lease > time.Minute {
			return fault.Errorf(fault.Invalid, "--lease %v is not between 1s and 1m", *lease)
		}
		log := logger(e, cfg.Log)
		a, err := app.New(cmd.Context(), app.Options{
			Config: cfg, Version: version, Log: log, Speed: *speed, Lease: *lease,
			Reload: func() (config.Config, error) { return loadConfig(e, *path) },
		})
		if err != nil {
			return inUse(err)
		}
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		done := make(chan struct{})
		defer close(done)
		go func() {
			for {
				select {
				case <-done:
					return
				case <-hup:
					_ = a.Reload() // it has said in the log and the trail what it did
				}
			}
		}()
		return a.Run(cmd.Context())
	}
	return c
}

func newCheck(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "check --config FILE", Short: "Validate configuration and playbooks without a network", Args: cobra.NoArgs,
	}
	path, asJSON := configFlag(c), jsonFlag(c)
	c.RunE = func(*cobra.Command, []string) error {
		cfg, err := loadConfig(e, *path)
		if err != nil {
			return err
		}
		specs, err := app.Catalogue(nil)
		if err != nil {
			return err
		}
		library, err := app.Playbooks(cfg, specs)
		if err != nil {
			return err
		}
		v := struct {
			OK        bool `json:"ok"`
			Tenants   int  `json:"tenants"`
			Playbooks int  `json:"playbooks"`
			Operators int  `json:"operators"`
			// Warnings are what may be so and is hardly meant so.
			Warnings []string `json:"warnings,omitempty"`
		}{true, len(cfg.Tenants), len(library.Playbooks()), len(cfg.Operators), app.Warnings(cfg, library)}
		return out(e, *asJSON, v, func(w io.Writer) {
			fmt.Fprintf(w, "ok: %d tenants, %d playbooks, %d operators\n", v.Tenants, v.Playbooks, v.Operators)
			for _, text := range v.Warnings {
				fmt.Fprintf(w, "warning: %s\n", clean(text))
			}
		})
	}
	return c
}
