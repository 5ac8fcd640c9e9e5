package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

func newFeeds(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "feeds", Short: "What Cordon is told by, and what is silent", Args: cobra.NoArgs,
		Long: "Lists every stream that is read or pushed and every sensor behind them, with when it was last heard. A feed is silent when it was not heard for three of its intervals; what it would tell is missing. The exit code is 0 whatever is silent.",
	}
	t, asJSON := targetFlags(c), jsonFlag(c)
	tenant := c.Flags().String("tenant", "", "only this tenant")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		v, err := askFeeds(cmd.Context(), e, t, identity.Tenant(*tenant))
		if err != nil {
			return err
		}
		return out(e, *asJSON, v, func(w io.Writer) { printFeeds(sheet{w}, v) })
	}
	return c
}

func askFeeds(ctx context.Context, e Env, t *target, tenant identity.Tenant) (v desk.Feeds, err error) {
	s, err := t.open(ctx, e)
	if err != nil {
		return v, err
	}
	defer func() { err = cmp.Or(err, s.close()) }()
	return s.Feeds(ctx, tenant)
}

func printFeeds(s sheet, v desk.Feeds) {
	if len(v.Feeds) == 0 {
		s.para("", "Nothing has been read yet.")
		return
	}
	widths := []int{7, 46, 24}
	s.row(widths, "", "feed", "last heard")
	for _, f := range v.Feeds {
		state, heard := "", "never"
		if f.Silent {
			state = "SILENT"
		}
		if !f.Success.IsZero() {
			heard = stamp(f.Success)
		}
		s.row(widths, state, string(f.Stream), heard)
		if text := feedText(f); text != "" {
			s.para("        ", text)
		}
	}
	if v.Silent > 0 {
		s.para("", fmt.Sprintf("%d silent: what they would tell is missing.", v.Silent))
	}
}

// feedText says what is wrong with a feed, if anything is.
func feedText(f connector.FeedState) string {
	switch {
	case f.Silent && f.Says != "":
		return f.Says
	case f.Failure != "":
		return f.Failure
	}
	return ""
}
