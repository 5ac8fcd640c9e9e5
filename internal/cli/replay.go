package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/store"
)

func newPlaybookReplay(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "replay --config FILE [FILE | FOLDER]…", Short: "Show what playbooks would have done in the past",
		Long: `Plays the stored signals of a tenant again, in the order in which they arrived,
and shows what would have happened to whom. Nothing is written and nothing is
started. Without arguments the playbooks of the configuration are asked; name
others to try them before they are switched on. How right they are is told by
the verdicts that people gave. Risk is assessed by the present rules; what is
known of accounts and roles is what is known now. A SQLite store is read while
no server holds it.`,
	}
	path, asJSON := configFlag(c), jsonFlag(c)
	since := c.Flags().Duration("since", 30*24*time.Hour, "how far back, such as 720h")
	tenant := c.Flags().String("tenant", "", "name or tenant id, where there are several")
	all := c.Flags().Bool("runs", false, "list every run that would have been")
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		cfg, err := loadConfig(e, *path)
		if err != nil {
			return err
		}
		t, err := tenantOf(cfg, *tenant)
		if err != nil {
			return err
		}
		books, _, err := playbooksOf(e, *path, args)
		if err != nil {
			return err
		}
		f, library, err := checked(books)
		if err != nil || !f.OK {
			if err == nil {
				f.print(e.Stderr)
				err = no("%s in %s", plural(len(f.Problems), "mistake"), plural(f.Playbooks, "playbook"))
			}
			return err
		}
		db, err := store.Open(cmd.Context(), cfg.Store, store.Options{Log: logger(e, cfg.Log)})
		if err != nil {
			return inUse(err)
		}
		defer closing(func() error { return db.Close() }, &err)
		until := time.Now()
		r, err := app.Replay(context.WithoutCancel(cmd.Context()), db, t, library, until.Add(-*since), until)
		if err != nil {
			return err
		}
		return out(e, *asJSON, r, func(w io.Writer) { printReplay(w, r, *all) })
	}
	return c
}

// tenantOf picks a tenant of the configuration by name or id.
func tenantOf(c config.Config, name string) (config.Tenant, error) {
	if name == "" && len(c.Tenants) == 1 {
		return c.Tenants[0], nil
	}
	for _, t := range c.Tenants {
		if name != "" && (t.Name == name || t.TenantID == name) {
			return t, nil
		}
	}
	return config.Tenant{}, fault.Errorf(fault.Invalid, "--tenant: the configuration has %s; name one of them", plural(len(c.Tenants), "tenant"))
}

func printReplay(w io.Writer, r run.Replayed, all bool) {
	fmt.Fprintf(w, "%s: %s of %s, %s to %s; nothing was written\n", plural(len(r.Runs), "run"), plural(r.Signals, "signal"), people(r.Identities),
		r.From.UTC().Format(time.DateTime), r.Until.UTC().Format(time.DateTime))
	for _, p := range r.Playbooks {
		precision := "no verdicts"
		if p.Precision != nil {
			precision = fmt.Sprintf("precision %.0f%% (%d compromised, %d harmless, %d without a verdict)", 100**p.Precision, p.Compromised, p.Harmless, p.Unjudged)
		}
		fmt.Fprintf(w, "%s: %s on %s: %d act, %d observe, %d refused, %d held, %d other; %s; %s\n", p.Playbook, plural(p.Runs, "run"), people(p.Identities),
			p.Act, p.Observe, p.Refused, p.Held, p.Other, plural(p.Approvals, "approval"), precision)
		if p.Faults > 0 {
			fmt.Fprintf(w, "%s: its trigger could not be decided %d times\n", p.Playbook, p.Faults)
		}
	}
	if !all {
		return
	}
	for _, x := range r.Runs {
		line := fmt.Sprintf("%s  %s  %s: %s", x.At.UTC().Format(time.DateTime), x.Playbook, x.Name, x.Outcome)
		if len(x.Steps) > 0 {
			line += fmt.Sprintf(" %v", x.Steps)
		}
		if x.Reason != "" {
			line += ": " + x.Reason
		}
		if x.Verdict != "" {
			line += fmt.Sprintf(" (%s)", x.Verdict)
		}
		fmt.Fprintln(w, clean(line))
	}
}

func people(n int) string {
	if n == 1 {
		return "1 identity"
	}
	return fmt.Sprintf("%d identities", n)
}
