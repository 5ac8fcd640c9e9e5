package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/lab/scenario"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// demoPatience is how long a story may take after its last event before what is
// missing counts as not coming.
const demoPatience = 100 * time.Second

type demoFlags struct {
	scenario  string
	once      bool
	report    string
	keep      string
	listen    string
	tokenFile string
	store     string
	users     int
	faults    []string
}

func newDemo(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "demo", Short: "Try it: a simulated tenant and Cordon in one process", Args: cobra.NoArgs,
		Long: `Starts a simulated Microsoft Graph tenant (real HTTPS, Graph's documented limits)
and Cordon on a temporary SQLite, plays a scenario, and serves the console.

With --once there is no console: the scenario is played to its end with its own
scripted approvals, a summary is printed, and the exit code is 0 only if every
identity ended as the scenario expects, no protected one was touched, and the
tenant's ledger and Cordon's trail agree.

Scenarios: ` + strings.Join(scenario.Names(), ", "),
	}
	var d demoFlags
	f := c.Flags()
	f.StringVar(&d.scenario, "scenario", scenario.Default, "story to play")
	f.BoolVar(&d.once, "once", false, "play to the end with scripted approvals, print a summary, exit")
	f.StringVar(&d.report, "report", "", "with --once: write what happened to each identity to this file, as JSON")
	f.StringVar(&d.keep, "keep", "", "keep store, key and configuration in this folder")
	f.StringVar(&d.listen, "listen", "127.0.0.1:0", "address of console and API")
	f.StringVar(&d.tokenFile, "token-file", "", "write the API token to this file")
	f.StringVar(&d.store, "store", "", "use this store instead of a temporary SQLite")
	f.IntVar(&d.users, "users", 0, "people in the directory (default: the scenario's)")
	f.StringArrayVar(&d.faults, "fault", nil, "fault of the simulated tenant; may be repeated (see cordon lab graph --help)")
	asJSON := jsonFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), e, d, *asJSON) }
	return c
}

// A demo is a lab, a stage and a Cordon on it.
type demo struct {
	env   Env
	flags demoFlags
	lab   *lab
	stage *stage
	app   *app.App
	owner access.Operator
	start time.Time
	say   io.Writer // progress
}

func runDemo(ctx context.Context, e Env, d demoFlags, asJSON bool) (err error) {
	folder := d.keep
	if folder == "" {
		if folder, err = os.MkdirTemp("", "cordon-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	} else if err := os.MkdirAll(folder, 0o700); err != nil {
		return fault.Errorf(fault.Invalid, "--keep: %w", err)
	}
	l, err := openLab(ctx, labSpec{listen: "127.0.0.1:0", scenario: d.scenario, users: d.users, seed: 1, speed: 1, faults: d.faults})
	if err != nil {
		return err
	}
	x := &demo{env: e, flags: d, lab: l, start: time.Now(), say: e.Stderr}
	x.stage, err = setStage(e, l, stageSpec{folder: folder, listen: d.listen, store: d.store, operators: x.operators()})
	if err != nil {
		return errors.Join(err, l.listener.Close())
	}
	x.app, err = app.New(ctx, app.Options{Config: x.stage.config, Version: version, Log: logger(e, x.stage.config.Log)})
	if err != nil {
		return errors.Join(err, l.listener.Close())
	}
	x.owner = x.stage.config.Operators[0].Operator()

	// The tenant is served until Cordon has stopped, so that what has left ends
	// properly.
	labCtx, stopLab := context.WithCancel(context.WithoutCancel(ctx))
	appCtx, stopApp := context.WithCancel(ctx)
	labDone, appDone := make(chan error, 1), make(chan error, 1)
	go func() { labDone <- l.tenant.Serve(labCtx, l.listener, l.ca) }()
	go func() { appDone <- x.app.Run(appCtx); stopApp() }()
	defer func() {
		stopApp()
		err = errors.Join(err, <-appDone)
		stopLab()
		err = errors.Join(err, <-labDone)
	}()
	ctx = appCtx // Cordon stopping by itself ends the demo
	if d.tokenFile != "" {
		if err := os.WriteFile(d.tokenFile, []byte(x.stage.tokens[string(x.owner.ID)]+"\n"), 0o600); err != nil {
			return fault.Errorf(fault.Invalid, "--token-file: %w", err)
		}
	}
	if err := x.ready(ctx); err != nil {
		return err
	}
	if d.once {
		return x.once(ctx, asJSON)
	}
	return x.watch(ctx)
}

// operators are the person at the screen and those the story names, all of the
// group that the shipped playbooks ask.
func (x *demo) operators() []config.Operator {
	group := []string{"identity-response"}
	list := []config.Operator{{ID: "demo", Name: "Demo operator", Roles: []string{"owner"}, Groups: group}}
	if x.lab.story == nil {
		return list
	}
	var names []string
	for _, a := range x.lab.story.Approvals {
		names = append(names, a.By)
	}
	for _, u := range x.lab.story.Undo {
		names = append(names, u.By)
	}
	for _, n := range names {
		id := operatorID(n)
		if id == "demo" || slices.ContainsFunc(list, func(o config.Operator) bool { return o.ID == id }) {
			continue
		}
		o := config.Operator{ID: id, Name: n, Roles: []string{"responder"}, Groups: group}
		if a, ok := x.lab.cast[n]; ok {
			o.Name, o.Account = a.DisplayName, a.UserID
		}
		list = append(list, o)
	}
	return list
}

func operatorID(name string) string {
	id := strings.ToLower(strings.Map(func(r rune) rune {
		if r == ' ' {
			return '-'
		}
		return r
	}, name))
	if id == "" {
		return "demo"
	}
	return id
}

// ready waits until Cordon has read who holds which role, and then starts the
// story: before that every plan would hold for want of a fact.
func (x *demo) ready(ctx context.Context) error {
	t := x.tenantKey()
	err := until(ctx, time.Minute, func() (bool, error) {
		d, err := x.app.Store().Desk().Directory(ctx, t)
		return !d.AsOf.IsZero(), err
	})
	if err != nil {
		return fmt.Errorf("the simulated tenant's directory was not read: %w", err)
	}
	return x.lab.play()
}

func (x *demo) tenantKey() identity.Tenant { return x.stage.config.Tenants[0].Key() }

// until asks every 50 ms until the answer is yes, and returns fault.Unavailable
// when that takes longer than the limit.
func until(ctx context.Context, limit time.Duration, ask func() (bool, error)) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := ask()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return fault.Errorf(fault.Unavailable, "not within %s", limit)
		case <-tick.C:
		}
	}
}

// watch serves the console until it is told to stop.
func (x *demo) watch(ctx context.Context) error {
	link, err := x.app.SignInLink(x.owner.ID)
	if err != nil {
		return err
	}
	fmt.Fprintf(x.env.Stdout, `
Cordon works on a simulated tenant of %d people: %s

  console   %s
  API       http://%s/api/   token %s
  ledger    %s/_lab/ledger   (what the tenant received)

The sign-in link works once. One plan waits for your approval; stop with Ctrl-C.

`, x.lab.world.Count(world.Users), x.lab.story.Title, link, x.app.Addr(), x.stage.tokens["demo"], x.lab.url())
	c := newConductor(x)
	c.leave = true // approvals are the viewer's
	seen := map[string]string{}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := c.step(ctx); err != nil && ctx.Err() == nil {
				return err
			}
			x.narrate(ctx, seen)
		}
	}
}

// narrate prints a line for each case that moved.
func (x *demo) narrate(ctx context.Context, seen map[string]string) {
	for _, o := range x.outcomes(ctx) {
		line := o.line()
		if o.Level == "" || seen[o.Alias] == line {
			continue
		}
		seen[o.Alias] = line
		fmt.Fprintf(x.say, "%5.1fs  %s\n", time.Since(x.start).Seconds(), line)
	}
}

// once plays the story to its end and prints what came of it.
func (x *demo) once(ctx context.Context, asJSON bool) error {
	c := newConductor(x)
	seen := map[string]string{}
	limit := x.lab.story.Length() + demoPatience
	err := until(ctx, limit, func() (bool, error) {
		if err := c.step(ctx); err != nil {
			return false, err
		}
		x.narrate(ctx, seen)
		return x.finished(ctx), nil
	})
	if err != nil && !errors.Is(err, fault.Unavailable) {
		return err
	}
	r, err := x.report(ctx, c)
	if err != nil {
		return err
	}
	if x.flags.report != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(x.flags.report, append(b, '\n'), 0o644); err != nil {
			return fault.Errorf(fault.Invalid, "--report: %w", err)
		}
	}
	if err := out(x.env, asJSON, r, r.print); err != nil {
		return err
	}
	if !r.OK {
		return no("the scenario did not end as it should")
	}
	return nil
}
