package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

func newDirectory(e Env) *cobra.Command {
	return group("directory", "Active Directory: single accounts, and what Cordon's needs", newDirectoryGrant(e), newDirectoryShow(e))
}

func newDirectoryGrant(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "grant --print --account NAME --ou DN", Short: "Write down the least rights for the actions chosen", Args: cobra.NoArgs,
		Long: "Prints the commands that give one account exactly what the chosen actions need on\nthe objects below organisational units, for an administrator to read and run:\nCordon never changes its own rights. The form for Samba is tried against a Samba\ndomain controller; the forms for Windows are untested.",
		Example: "  cordon directory grant --print --account svc-cordon \\\n      --ou 'OU=Staff,DC=corp,DC=example' \\\n" +
			"      --actions disable,reset_password,unlock",
	}
	var g activedirectory.Grant
	f := c.Flags()
	print := f.Bool("print", false, "print the commands; there is no other way")
	f.StringVar(&g.Account, "account", "", "sAMAccountName of the account that Cordon uses")
	f.StringVar(&g.Domain, "domain", "", "NetBIOS name of its domain, for dsacls")
	f.StringArrayVar(&g.Units, "ou", nil, "distinguished name of a unit whose users are in scope; may be repeated")
	f.StringArrayVar(&g.GroupsIn, "group-ou", nil, "the same for groups; the --ou when left out")
	names := f.StringSlice("actions", nil, "actions, such as disable,reset_password or ad.account.disable; all when left out")
	form := f.String("form", activedirectory.FormSamba, "one of "+strings.Join(activedirectory.Forms(), ", "))
	c.RunE = func(*cobra.Command, []string) error {
		if !*print {
			return fault.Errorf(fault.Invalid, "directory grant only prints: give --print, read what comes, and have an administrator run it")
		}
		if g.Account == "" {
			return fault.Errorf(fault.Invalid, "directory grant: --account is missing: the account that Cordon uses")
		}
		for _, n := range *names {
			if !strings.Contains(n, ".") {
				n = "ad.account." + n
			}
			if !slices.Contains(g.Actions, action.Name(n)) {
				g.Actions = append(g.Actions, action.Name(n))
			}
		}
		return g.Write(e.Stdout, *form)
	}
	return c
}
