package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// A coverage is what the command prints. Without a Cordon to ask, what arrived is
// not known: null.
type coverage struct {
	detection.Covers
	Activities []record.Activity `json:"activities"` // of the audit log, that are understood
	Arrived    *int              `json:"arrived"`
	Unheard    []detection.Kind  `json:"unheard"`
}

func newCoverage(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "coverage", Short: "Which kinds of signals are understood", Args: cobra.NoArgs,
		Long: "Counts the detections of Entra ID Protection and the alerts of Defender for Identity that the catalogue has, with cause and remedy. With --server or --config it also names what has arrived and is not in it; such signals are kept, shown and scored by their level.",
	}
	t, asJSON := targetFlags(c), jsonFlag(c)
	tenant := c.Flags().String("tenant", "", "only what arrived for this tenant")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		v := coverage{Covers: detection.Coverage(), Activities: record.Activities()}
		if cmp.Or(t.server, t.config, variable(e, serverVariable)) != "" {
			asked, err := askCoverage(cmd.Context(), e, t, identity.Tenant(*tenant))
			if err != nil {
				return err
			}
			v = coverage{Covers: asked.Covers, Activities: asked.Activities, Arrived: &asked.Arrived, Unheard: asked.Unheard}
		}
		return out(e, *asJSON, v, func(w io.Writer) { v.print(sheet{w}) })
	}
	return c
}

func askCoverage(ctx context.Context, e Env, t *target, tenant identity.Tenant) (v desk.Coverage, err error) {
	s, err := t.open(ctx, e)
	if err != nil {
		return v, err
	}
	defer func() { err = cmp.Or(err, s.close()) }()
	return s.Coverage(ctx, tenant)
}

func (v coverage) print(s sheet) {
	widths := []int{12, 7, 9, 13, 13}
	s.row(widths, "", "known", "covered", "cause known", "with a remedy")
	line := func(name string, c detection.Count) {
		s.row(widths, name, strconv.Itoa(c.Known), strconv.Itoa(c.Covered), strconv.Itoa(c.Cause-c.Unknown), strconv.Itoa(c.Remedy))
	}
	line("detections", v.Detections)
	for _, g := range detection.Groups() {
		if g == detection.Defender {
			line("alerts", v.Alerts)
		}
		line("  "+string(g), v.Groups[g])
	}
	s.para("", fmt.Sprintf("%d activities of the audit log are understood; --json names them.", len(v.Activities)))
	switch {
	case v.Arrived == nil:
		s.para("", "What has arrived: ask a Cordon with --server or --config.")
	case len(v.Unheard) == 0:
		s.para("", fmt.Sprintf("%d signals have arrived; every kind of them is in the catalogue.", *v.Arrived))
	default:
		s.para("", fmt.Sprintf("%d signals have arrived. Not in the catalogue, and scored by their level:", *v.Arrived))
		for _, k := range v.Unheard {
			text := fmt.Sprintf("%s (%s)", cmp.Or(k.Title, k.Type), k.Source)
			if k.Detector != "" {
				text += ", detector " + k.Detector
			}
			s.para(fmt.Sprintf("%6d  ", k.Count), text)
		}
	}
}
