package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
)

func newIngest(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "ingest --config FILE --format FORMAT FILE…", Short: "Back-fill signals and records from files", Args: cobra.MinimumNArgs(1),
		Long: `Reads Graph objects (a collection, an array, one object, or JSON Lines): risk
detections, risky users, Defender alerts, sign-ins and audits; with --format samba the
JSON audit stream of Samba's domain controllers; with --format winevent security events
of Windows as XML or JSON from a forwarder; with --format eventhub messages of Entra's
diagnostic settings and of Defender's streaming API, with --format xdr rows of Defender's
hunting tables; with --format cef lines of Defender for Identity's syslog. Samba's stream
names what was changed by distinguished name: a domain of the configuration is asked whose
it is, and nobody else is contacted. A record that cannot be used is counted, kept, and
written to --rejects with the reason; it stops nothing.
"-" is standard input. The store must not be in use by a running service.`,
	}
	path, asJSON := configFlag(c), jsonFlag(c)
	format := c.Flags().String("format", "graph", "what the files hold: "+strings.Join(app.Formats(), ", "))
	tenant := c.Flags().String("tenant", "", "tenant id; needed when the configuration has several")
	rejects := c.Flags().String("rejects", "", "write what was refused to this file, as JSON Lines")
	c.RunE = func(cmd *cobra.Command, files []string) error {
		if !slices.Contains(app.Formats(), *format) {
			return fault.Errorf(fault.Invalid, "--format %s: this version reads %s", *format, strings.Join(app.Formats(), ", "))
		}
		cfg, err := loadConfig(e, *path)
		if err != nil {
			return err
		}
		t := identity.Tenant(*tenant)
		if t == "" {
			if len(cfg.Tenants) != 1 {
				return fault.Errorf(fault.Invalid, "the configuration has %d tenants: say which with --tenant", len(cfg.Tenants))
			}
			t = cfg.Tenants[0].Key()
		}
		reject, closeRejects, err := rejectsTo(*rejects)
		if err != nil {
			return err
		}
		// Facts of accounts come when the service runs: no tenant is contacted.
		a, err := app.Offline(cmd.Context(), app.Options{Config: cfg, Version: version, Log: logger(e, cfg.Log)})
		if err != nil {
			return inUse(err)
		}
		defer func() { _ = a.Close() }() // the counts are committed; nothing else is open
		total, err := ingestFiles(cmd.Context(), e, a, t, *format, files, reject)
		if err := closeRejects(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		return out(e, *asJSON, total, func(w io.Writer) {
			fmt.Fprintf(w, "read %d: new %d, updated %d, duplicate %d, older %d, rejected %d\n",
				total.Read, total.New, total.Updated, total.Duplicate, total.Older, total.Rejected)
			fmt.Fprintf(w, "cases opened %d, runs started %d\n", len(total.Cases), len(total.Runs))
		})
	}
	return c
}

func ingestFiles(ctx context.Context, e Env, a *app.App, t identity.Tenant, format string, files []string, reject func(connector.Reject) error) (ingest.Result, error) {
	var total ingest.Result
	for _, name := range files {
		in := e.Stdin
		if name != "-" {
			f, err := os.Open(name)
			if err != nil {
				return total, fault.Errorf(fault.Invalid, "%w", err)
			}
			defer f.Close()
			in = f
		}
		res, err := a.Backfill(ctx, t, format, name, in, reject)
		total = total.Plus(res)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func rejectsTo(path string) (func(connector.Reject) error, func() error, error) {
	if path == "" {
		return func(connector.Reject) error { return nil }, func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, nil, fault.Errorf(fault.Invalid, "--rejects: %w", err)
	}
	enc := json.NewEncoder(f)
	enc.SetEscapeHTML(false)
	return func(r connector.Reject) error {
		return enc.Encode(struct {
			Place  string `json:"place"`
			Source string `json:"source,omitempty"`
			Reason string `json:"reason"`
			Raw    string `json:"raw"`
		}{r.Place, string(r.Source), r.Reason, string(r.Raw)})
	}, f.Close, nil
}
