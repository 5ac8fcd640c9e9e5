// Package cli is Cordon on a command line: words, flags and exit codes. Data
// goes to standard output, everything else to standard error.
package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// The exit codes of every command.
const (
	exitDone        = 0
	exitNot         = 1 // the thing asked for is not so: a check failed, a run did not verify
	exitWrong       = 2 // wrong use or configuration
	exitUnreachable = 3 // an outside system could not be reached
)

// version and commit are set by the linker.
var version, commit = "dev", ""

// Env is what a command needs of the process around it.
type Env struct {
	Args    []string // without the program's name
	Environ []string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
}

// Main runs the command line and returns the exit code. It ends when ctx does.
func Main(ctx context.Context, e Env) int {
	root := newRoot(e)
	root.SetArgs(e.Args)
	root.SetIn(e.Stdin)
	root.SetOut(e.Stdout)
	root.SetErr(e.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var said *notSo
	if !errors.As(err, &said) || said.text != "" {
		for n, line := range strings.Split(err.Error(), "\n") {
			if n == 0 {
				line = "cordon: " + line
			}
			fmt.Fprintln(e.Stderr, clean(line))
		}
	}
	return codeOf(err)
}

// group is a command that has only commands below it. Without one of them it
// shows its help; a word that is none of them is wrong use.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		var names []string
		for _, b := range below {
			names = append(names, b.Name())
		}
		return fault.Errorf(fault.Invalid, "%s has no command %q; there are: %s", c.CommandPath(), args[0], strings.Join(names, ", "))
	}
	c.AddCommand(below...)
	return c
}

// exactly takes the named arguments, no more and no fewer.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fault.Errorf(fault.Invalid, "%s: %s is missing; see %s --help", c.CommandPath(), names[len(args)], c.CommandPath())
		case len(args) > len(names):
			return fault.Errorf(fault.Invalid, "%s takes %s and nothing more, not %q", c.CommandPath(), strings.Join(names, " "), args[len(names)])
		}
		return nil
	}
}

// Run is Main for the process itself: it stops on SIGINT and SIGTERM.
func Run() int {
	if os.Getenv("GOGC") == "" {
		// A page of signals is worked off in a tenth of a second: half as many
		// collections in it are worth the memory, of which there is little.
		debug.SetGCPercent(200)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Main(ctx, Env{Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
}

// notSo is the answer "no": the command worked, and what was asked is not so.
type notSo struct{ text string }

func (n *notSo) Error() string { return n.text }

// no returns the error of a command whose answer is no. An empty text means that
// the output has said it.
func no(format string, args ...any) error { return &notSo{fmt.Sprintf(format, args...)} }

func codeOf(err error) int {
	var n *notSo
	switch {
	case errors.As(err, &n), errors.Is(err, context.Canceled): // interrupted: it is not done
		return exitNot
	case errors.Is(err, fault.Invalid):
		return exitWrong
	case errors.Is(err, fault.Unavailable), errors.Is(err, fault.Unknown):
		return exitUnreachable
	case errors.Is(err, fault.NotFound), errors.Is(err, fault.Denied), errors.Is(err, fault.Held), errors.Is(err, fault.Conflict):
		return exitNot
	}
	return exitWrong // cobra's own: an unknown command or flag
}

func newRoot(e Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "cordon",
		Short: "From an identity at risk to an identity that is safe again, with proof",
		Long: `Cordon takes the risk signals of Microsoft Entra ID Protection and Microsoft
Defender for Identity, ties them to the person or workload behind the accounts,
assesses them, and remediates with playbooks whose every step is read before,
proven after and undone when it was wrong.

Try it against a simulated tenant: cordon demo`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fault.Errorf(fault.Invalid, "%w", err) })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newDemo(e), newLab(e), newServe(e), newCheck(e), newDoctor(e), newIngest(e),
		newPlaybook(e), newAudit(e), newBench(e), newCoverage(e), newFeeds(e), newDirectory(e), newVersion(e),
	)
	root.AddCommand(newDeskCommands(e)...)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", fmt.Sprintf(".FlagUsagesWrapped %d ", columns)))
	narrowHelp(root)
	return root
}

// narrowHelp wraps the paragraphs of all help that are wider than a terminal.
func narrowHelp(c *cobra.Command) {
	paragraphs := strings.Split(c.Long, "\n\n")
	for n, p := range paragraphs {
		if slices.ContainsFunc(strings.Split(p, "\n"), func(l string) bool { return width(l) > columns }) {
			var b strings.Builder
			sheet{&b}.para("", strings.Join(strings.Fields(p), " ")) // its own line ends are no part of the text
			paragraphs[n] = strings.TrimSuffix(b.String(), "\n")
		}
	}
	c.Long = strings.Join(paragraphs, "\n\n")
	for _, below := range c.Commands() {
		narrowHelp(below)
	}
}

// out prints v: as JSON with --json, else as text.
func out(e Env, asJSON bool, v any, text func(io.Writer)) error {
	if !asJSON {
		text(e.Stdout)
		return nil
	}
	enc := json.NewEncoder(e.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func jsonFlag(c *cobra.Command) *bool { return c.Flags().Bool("json", false, "print JSON") }

func configFlag(c *cobra.Command) *string {
	return c.Flags().String("config", "", "configuration file")
}

// loadConfig reads the file that --config names.
func loadConfig(e Env, path string) (config.Config, error) {
	if path == "" {
		return config.Config{}, fault.Errorf(fault.Invalid, "--config FILE is missing")
	}
	return config.Load(path, e.Environ)
}

func logger(e Env, c config.Log) *slog.Logger {
	var level slog.Level
	if c.Level != "" {
		// Checked with the configuration: it is one of the four names.
		_ = level.UnmarshalText([]byte(c.Level))
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(e.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(e.Stderr, o))
}

func newVersion(e Env) *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Print version, commit and Go version", Args: cobra.NoArgs}
	asJSON := jsonFlag(c)
	c.RunE = func(*cobra.Command, []string) error {
		v := struct {
			Version string `json:"version"`
			Commit  string `json:"commit"`
			Go      string `json:"go"`
		}{Version: version, Commit: cmp.Or(commit, "unknown")}
		if info, ok := debug.ReadBuildInfo(); ok {
			v.Go = info.GoVersion
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					v.Commit = s.Value
				}
			}
		}
		return out(e, *asJSON, v, func(w io.Writer) { fmt.Fprintf(w, "cordon %s, commit %s, %s\n", v.Version, v.Commit, v.Go) })
	}
	return c
}

// clean makes foreign text fit for a terminal: control characters, among them
// those that turn the direction of writing, are shown as what they are.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return '\ufffd'
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp):
			return '\ufffd'
		}
		return r
	}, s)
}
