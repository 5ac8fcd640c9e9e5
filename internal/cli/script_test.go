package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cordon": func() { os.Exit(Run()) }, "fetch": fetch})
}

// patience is how long a script waits for something to become so.
const patience = 60 * time.Second

// TestScripts plays what operators do, right and wrong, against the real binary
// and a simulated tenant. Beside testscript's own commands and "exec fetch URL [TOKEN-FILE]" scripts have:
//
//	lab [-drop ROLE] [-fault SPEC]… [-playbook FILE]   a tenant, and cordon.yaml on it
//	fault SPEC…                  replaces the tenant's faults
//	happens EVENT                an event in the tenant, as JSON
//	code N COMMAND…              the command exits with N
//	eventually PATTERN COMMAND…  its standard output comes to match
//	capture NAME PATTERN         a variable from the last standard output
//	hup                          SIGHUP to what runs in the background
//	crash                        SIGQUIT to it: it dies with what all its goroutines do on its standard error
//	below A B                    A is a smaller number than B
//	handover IDENTITY            gives access again, with a password that is revealed once
//	secretless                   no password or key of a link is in any file, answer or output
//	narrow                       the last standard output has at most 80 columns
func TestScripts(t *testing.T) {
	t.Parallel()
	k := &scriptCommands{}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, "TMPDIR="+env.WorkDir, "HOME="+env.WorkDir, "RSS_LIMIT="+rssLimit)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lab": k.startLab, "fault": k.setFault, "happens": k.happens, "code": code, "eventually": eventually, "capture": capture, "hup": hup, "crash": crash, "narrow": narrow, "below": below,
			"handover": k.handOver, "secretless": k.secretless,
		},
	})
}

// A labShelf keeps the tenant of each script under its folder's name.
type labShelf struct {
	mu   sync.Mutex
	labs map[string]*lab
}

func (s *labShelf) set(folder string, l *lab) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.labs == nil {
		s.labs = map[string]*lab{}
	}
	s.labs[folder] = l
}

func (s *labShelf) get(ts *testscript.TestScript) *lab {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.labs[ts.Getenv("WORK")]
	if l == nil {
		ts.Fatalf("this script has no lab yet")
	}
	return l
}

// scriptCommands are the commands that need the script's tenant.
type scriptCommands struct {
	labs    labShelf
	secrets secretShelf
}

func (k *scriptCommands) startLab(ts *testscript.TestScript, _ bool, args []string) {
	work := ts.Getenv("WORK")
	spec := labSpec{listen: "127.0.0.1:0", seed: 1, users: 200, heard: func(secret string) { k.secrets.add(work, secret) }}
	stage := stageSpec{folder: ts.Getenv("WORK"), intervals: "      risk_detections: 1s\n      workload_detections: -1s\n      risky_users: 3s\n      alerts: 1s\n      directory: 2s\n      registration: 10m\n      open_cases: 2s\n",
		operators: []config.Operator{
			{ID: "owner", Name: "The owner", Roles: []string{"owner"}, Groups: []string{"identity-response"}},
			{ID: "second", Name: "The second", Roles: []string{"responder"}, Groups: []string{"identity-response"}},
			{ID: "auditor", Name: "The auditor", Roles: []string{"auditor"}},
		}}
	var drop []string
	for n := 0; n+1 < len(args); n += 2 {
		switch args[n] {
		case "-drop":
			drop = append(drop, args[n+1])
		case "-fault":
			spec.faults = append(spec.faults, args[n+1])
		case "-playbook":
			stage.playbook = ts.ReadFile(args[n+1])
		default:
			ts.Fatalf("lab has no flag %s", args[n])
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l, err := openLab(ctx, spec)
	ts.Check(err)
	if len(drop) > 0 {
		app := graphsim.Responder(labApp, l.secret)
		app.Roles = append(app.Roles, "RoleEligibilitySchedule.Read.Directory")
		for _, d := range drop {
			app.Roles = without(app.Roles, d)
		}
		ts.Check(l.tenant.SetApp(app))
	}
	stage.listen = freeAddress(ts)
	st, err := setStage(Env{}, l, stage)
	ts.Check(err)
	// What a running Cordon says is looked at.
	text := ts.ReadFile("cordon.yaml")
	ts.Check(os.WriteFile(ts.MkAbs("cordon.yaml"), []byte(strings.Replace(text, "level: warn", "level: info", 1)), 0o600))
	done := make(chan error, 1)
	go func() { done <- l.tenant.Serve(ctx, l.listener, l.ca) }()
	ts.Defer(func() {
		cancel()
		if err := <-done; err != nil {
			ts.Logf("the tenant: %v", err)
		}
	})
	k.labs.set(ts.Getenv("WORK"), l)
	ts.Setenv("SERVER", "http://"+stage.listen)
	ts.Setenv("GRAPH", l.listener.Addr().String())
	ts.Setenv("TENANT", string(st.config.Tenants[0].Key()))
	for n, u := range []string{"FIRST", "SECOND", "THIRD", "FOURTH"} {
		a, err := l.world.Pick(world.Pick{Kind: world.KindMember, Synced: new(bool), Privileged: new(bool), Eligible: new(bool), Index: n})
		ts.Check(err)
		ts.Setenv(u, a.UserID)
		ts.Setenv(u+"_UPN", a.UserPrincipalName)
		ts.Setenv(u+"_NAME", a.DisplayName)
	}
}

func without(list []string, s string) []string {
	var out []string
	for _, v := range list {
		if v != s {
			out = append(out, v)
		}
	}
	return out
}

func freeAddress(ts *testscript.TestScript) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	return l.Addr().String()
}

func (k *scriptCommands) setFault(ts *testscript.TestScript, _ bool, args []string) {
	f, err := graphsim.ParseFaults(args)
	ts.Check(err)
	k.labs.get(ts).tenant.SetFaults(f)
}

func (k *scriptCommands) happens(ts *testscript.TestScript, _ bool, args []string) {
	e, err := world.DecodeEvent([]byte(strings.Join(args, " ")))
	ts.Check(err)
	ts.Check(k.labs.get(ts).world.Apply(e))
}

func code(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func eventually(ts *testscript.TestScript, neg bool, args []string) {
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		_ = ts.Exec(args[1], args[2:]...) // it may not be up yet
		if re.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
		select {
		case <-deadline.C:
			ts.Fatalf("%q did not come within %s", args[0], patience)
		case <-tick.C:
		}
	}
}

// fetch is a command of the scripts: it prints the answer of a URL, asked with
// the token in a file.
func fetch() {
	req, err := http.NewRequest(http.MethodGet, os.Args[1], nil)
	if err == nil && len(os.Args) > 2 {
		var token []byte
		token, err = os.ReadFile(os.Args[2])
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	if err == nil {
		var res *http.Response
		if res, err = (&http.Client{Timeout: 5 * time.Second}).Do(req); err == nil {
			defer res.Body.Close()
			_, err = io.Copy(os.Stdout, res.Body)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func below(ts *testscript.TestScript, _ bool, args []string) {
	a, err := strconv.ParseFloat(args[0], 64)
	ts.Check(err)
	b, err := strconv.ParseFloat(args[1], 64)
	ts.Check(err)
	if a >= b {
		ts.Fatalf("%v is not below %v", a, b)
	}
}

func capture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("no match for %q in standard output", args[1])
	}
	ts.Setenv(args[0], m[len(m)-1])
}

func hup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGHUP))
	}
}

func crash(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGQUIT))
	}
}

func narrow(ts *testscript.TestScript, _ bool, _ []string) {
	for _, line := range strings.Split(ts.ReadFile("stdout"), "\n") {
		if width(line) > columns {
			ts.Fatalf("%d columns: %s", width(line), line)
		}
	}
}

// TestHelp walks the whole tree of commands.
func TestHelp(t *testing.T) {
	t.Parallel()
	var walk func(args []string)
	walk = func(args []string) {
		var stdout, stderr bytes.Buffer
		e := Env{Args: append(args, "--help"), Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr}
		if got := Main(t.Context(), e); got != exitDone || stderr.Len() > 0 {
			t.Errorf("cordon %s: exit code %d, %s", strings.Join(e.Args, " "), got, &stderr)
		}
		for _, line := range strings.Split(stdout.String(), "\n") {
			if width(line) > columns {
				t.Errorf("cordon %s: %d columns: %s", strings.Join(e.Args, " "), width(line), line)
			}
		}
		root := newRoot(e)
		c, _, err := root.Find(args)
		if err != nil {
			t.Fatal(err)
		}
		if c.Short == "" {
			t.Errorf("cordon %s does not say what it does", strings.Join(args, " "))
		}
		for _, below := range c.Commands() {
			if below.Name() != "help" && below.Name() != "completion" {
				walk(append(args[:len(args):len(args)], below.Name()))
			}
		}
	}
	walk(nil)
}

// TestSurface holds the commands that others rely on.
func TestSurface(t *testing.T) {
	t.Parallel()
	root := newRoot(Env{})
	for _, want := range []string{
		"demo", "lab graph", "serve", "check", "doctor", "ingest", "explain", "approve", "reject", "undo", "hold", "verdict", "version",
		"signals list", "signals show", "identities list", "identities show", "cases list", "cases show", "runs list", "runs show",
		"approvals list", "approvals show", "actions list", "actions show",
		"playbook check", "playbook test", "playbook plan", "audit verify", "audit export", "audit keygen", "bench latency", "bench ingest",
	} {
		c, rest, err := root.Find(strings.Fields(want))
		if err != nil || len(rest) > 0 {
			t.Errorf("there is no cordon %s: %v", want, err)
			continue
		}
		if c.Flags().Lookup("json") == nil && want != "serve" && !strings.HasPrefix(want, "audit e") && want != "audit keygen" && !strings.HasPrefix(want, "bench ") {
			t.Errorf("cordon %s has no --json", want)
		}
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		err  error
		want int
	}{
		{no("no"), exitNot}, {fmt.Errorf("x: %w", no("")), exitNot}, {errors.New("unknown command"), exitWrong}, {context.Canceled, exitNot},
	} {
		if got := codeOf(k.err); got != k.want {
			t.Errorf("%v: %d, want %d", k.err, got, k.want)
		}
	}
}
