package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/app"
)

func newDirectoryShow(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "show --config FILE ACCOUNT", Short: "What a domain says of one account, and whether it is protected", Args: exactly("ACCOUNT"),
		Long:    "Asks the domains of the configuration for one account: by SID, objectGUID, user\nprincipal name or DOMAIN\\name. A name that fits two accounts names nobody.",
		Example: "  cordon directory show --config cordon.yaml 'CORP\\svc-backup'",
	}
	path, asJSON := configFlag(c), jsonFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(e, *path)
		if err != nil {
			return err
		}
		a, err := app.FindAccount(cmd.Context(), cfg, args[0], time.Now)
		if err != nil {
			return err
		}
		return out(e, *asJSON, a, func(w io.Writer) {
			for _, line := range a.Lines() {
				fmt.Fprintln(w, clean(line))
			}
		})
	}
	return c
}
