package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// latencyWrites bounds the run: a directory takes so many writes before its
// limit, and not Cordon, sets the pace.
const latencyWrites = 3000

// latencyPatience is how long after the last signal a containment may still come.
const latencyPatience = 15 * time.Second

// latencyPlaybook is the smallest containment: one write, nobody asked.
const latencyPlaybook = `playbook: v1
id: latency
version: 1.0.0
title: Disable at once
owner: bench
attack: [T1078]
mode: enforce
trigger:
  on: [signal.received]
  when: signal.open && level.at_least(signal.level, "high")
  once_per: { key: identity.id, window: 1h }
steps:
  - id: disable
    uses: identity.disable@1
    contains: true
`

// The bench raises the brakes on purpose: it contains hundreds of people.
const latencyLimits = "      accounts_per_hour: 1000000\n      accounts_per_minute: 1000000\n      playbook_accounts_per_hour: 1000000\n      global_accounts_per_hour: 1000000\n"

// Identity protection answers one request a second for the whole tenant, and
// polling takes at most half of it: two seconds is as often as it may be asked. All
// other streams are off but the directory's.
var latencyIntervals = "      risk_detections: 2s\n      directory: 10m\n" + otherStreamsOff()

// otherStreamsOff leaves risk detections and the directory: what a benchmark
// measures is not to compete with what it does not need.
func otherStreamsOff() string {
	return off("workload_detections", "risky_users", "risky_workloads", "alerts", "incidents", "sensors", "sign_ins", "other_sign_ins",
		"risky_sign_ins", "audits", "users", "registration", "objects", "open_cases")
}

// off returns the lines that switch streams off.
func off(streams ...string) string {
	var b strings.Builder
	for _, s := range streams {
		fmt.Fprintf(&b, "      %s: -1s\n", s)
	}
	return b.String()
}

type latencyFlags struct {
	rate    float64
	seconds int
	store   string
	profile string
}

func newBenchLatency(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "latency --rate R --seconds S", Short: "From a signal to the first containment request", Args: exactly(),
		Long: `Plays R risk detections a second, each about another person, in a simulated tenant
over HTTPS, and measures from the moment the answer that first contained the
signal left the tenant until the first containment request arrived there. The
protected set, the gate and all limits are checked as ever; the blast-radius
limits are raised. Exits with 1 when a signal was missed.`,
	}
	var f latencyFlags
	c.Flags().Float64Var(&f.rate, "rate", 20, "signals a second")
	c.Flags().IntVar(&f.seconds, "seconds", 30, "for how long")
	c.Flags().StringVar(&f.store, "store", "", "sqlite:PATH or postgres://… (default: a temporary SQLite)")
	c.Flags().StringVar(&f.profile, "cpuprofile", "", "write a CPU profile to this file")
	c.RunE = func(cmd *cobra.Command, _ []string) error { return benchLatency(cmd.Context(), e, f) }
	return c
}

// A latencyReport is what the benchmark prints.
type latencyReport struct {
	quantiles
	Signals int     `json:"signals"`
	Missed  int     `json:"missed"`
	Rate    float64 `json:"rate"`
	Seconds int     `json:"seconds"`
	Store   string  `json:"store"`
	// Requested is the part until the containment was decided and stored, Intent
	// until it passed the gate and its intent was durable.
	Requested quantiles `json:"until_requested"`
	Intent    quantiles `json:"until_intent"`
	// Poll is from when the source knew until the answer left it: the polling
	// interval, which the figures above leave out.
	Poll     quantiles `json:"poll"`
	Requests int       `json:"requests"`
	Refused  int       `json:"refused_429"`
	Wrongly  int       `json:"wrongly_touched"` // people without a signal who were written to
}

func benchLatency(ctx context.Context, e Env, f latencyFlags) (err error) {
	n := int(f.rate * float64(f.seconds))
	switch {
	case f.rate <= 0 || f.seconds <= 0 || n < 1:
		return fault.Errorf(fault.Invalid, "--rate and --seconds must be above 0")
	case n > latencyWrites:
		return fault.Errorf(fault.Invalid, "--rate %v for --seconds %d are %d writes; more than %d would measure the directory's limit and not Cordon", f.rate, f.seconds, n, latencyWrites)
	}
	folder, err := os.MkdirTemp("", "cordon-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	x, err := setLatency(ctx, e, f, folder, n)
	if err != nil {
		return err
	}
	r, err := x.run(ctx, f, n)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(e.Stdout).Encode(r); err != nil {
		return err
	}
	if r.Missed > 0 {
		return no("%d of %d signals were not followed by a containment", r.Missed, r.Signals)
	}
	return nil
}

// A latencyBench is a tenant, a Cordon on it, and the people to be contained.
type latencyBench struct {
	lab    *lab
	stage  *stage
	app    *app.App
	pages  *pageRecorder
	server *http.Server
	people []string // object ids
}

func setLatency(ctx context.Context, e Env, f latencyFlags, folder string, n int) (*latencyBench, error) {
	// A quarter of the people are neither synchronised nor guests nor administrators.
	l, err := openLab(ctx, labSpec{listen: "127.0.0.1:0", seed: 1, users: max(2400, 5*n)})
	if err != nil {
		return nil, err
	}
	x := &latencyBench{lab: l, pages: &pageRecorder{next: l.tenant.Handler()}}
	eligible := map[string]bool{} // plans about them ask first
	l.world.Walk(world.RoleEligibilityInstances, 0, func(_ int, it world.Item) bool {
		id, _ := it.Value("principalId")
		eligible[fmt.Sprint(id)] = true
		return true
	})
	l.world.WalkState(func(u world.UserState) bool {
		if !eligible[u.ID] && u.AccountEnabled && !u.Privileged && !u.BreakGlass && !u.SyncAccount && u.OnPremises == nil && u.UserType == "Member" {
			x.people = append(x.people, u.ID)
		}
		return len(x.people) < n
	})
	if len(x.people) < n {
		return nil, errors.Join(fault.Errorf(fault.Invalid, "the simulated tenant has only %d people to contain", len(x.people)), l.listener.Close())
	}
	x.stage, err = setStage(e, l, stageSpec{
		folder: folder, listen: "127.0.0.1:0", store: f.store, intervals: latencyIntervals, limits: latencyLimits, playbook: latencyPlaybook,
		operators: []config.Operator{{ID: "bench", Name: "Benchmark", Roles: []string{"owner"}}},
	})
	if err != nil {
		return nil, errors.Join(err, l.listener.Close())
	}
	x.app, err = app.New(ctx, app.Options{Config: x.stage.config, Version: version, Log: logger(e, x.stage.config.Log)})
	if err != nil {
		return nil, errors.Join(inUse(err), l.listener.Close())
	}
	x.server = &http.Server{Handler: x.pages, TLSConfig: l.ca.ServerConfig(), ReadHeaderTimeout: 10 * time.Second}
	return x, nil
}

func (x *latencyBench) run(ctx context.Context, f latencyFlags, n int) (r latencyReport, err error) {
	appCtx, stop := context.WithCancel(ctx)
	served, ran := make(chan error, 1), make(chan error, 1)
	go func() { served <- x.server.ServeTLS(x.lab.listener, "", "") }()
	go func() { ran <- x.app.Run(appCtx); stop() }()
	defer func() {
		stop()
		err = errors.Join(err, <-ran, x.server.Close())
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}()
	t := x.stage.config.Tenants[0].Key()
	if err := until(appCtx, 20*time.Second, func() (bool, error) {
		d, err := x.app.Store().Desk().Directory(appCtx, t)
		return !d.AsOf.IsZero(), err
	}); err != nil {
		return r, fmt.Errorf("the simulated tenant's directory was not read: %w", err)
	}
	if f.profile != "" {
		stopProfile, err := profile(f.profile)
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, stopProfile()) }()
	}
	happened, err := x.detect(appCtx, f.rate)
	if err != nil {
		return r, err
	}
	wait := until(appCtx, latencyPatience, func() (bool, error) { return len(x.contained()) >= n, nil })
	if wait != nil && !errors.Is(wait, fault.Unavailable) {
		return r, wait
	}
	r, err = x.measure(appCtx, happened)
	r.Rate, r.Seconds, r.Store = f.rate, f.seconds, string(x.app.Store().Dialect())
	return r, err
}

// detect makes the detections happen, evenly, and returns when each did.
func (x *latencyBench) detect(ctx context.Context, rate float64) (map[string]time.Time, error) {
	happened := map[string]time.Time{}
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for _, id := range x.people {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
		if err := x.lab.world.Apply(world.Event{Type: world.EventDetection, User: id, RiskEventType: "anomalousToken", RiskLevel: "high"}); err != nil {
			return nil, fmt.Errorf("make a detection about %s: %w", id, err)
		}
		happened[id] = time.Now()
	}
	return happened, nil
}

// contained returns when the first write about each person arrived.
func (x *latencyBench) contained() map[string]time.Time {
	first := map[string]time.Time{}
	for _, en := range x.lab.tenant.Ledger() {
		if en.Kind == "batch" || en.Method != http.MethodPatch && en.Method != http.MethodPost {
			continue
		}
		parts := strings.Split(strings.Trim(en.Path, "/"), "/")
		if len(parts) < 2 || !strings.EqualFold(parts[0], "users") {
			continue
		}
		if id := strings.ToLower(parts[1]); first[id].IsZero() || en.Received.Before(first[id]) {
			first[id] = en.Received
		}
	}
	return first
}

func (x *latencyBench) measure(ctx context.Context, happened map[string]time.Time) (latencyReport, error) {
	r := latencyReport{Signals: len(x.people)}
	ledger := x.lab.tenant.Ledger()
	left := map[string]time.Time{} // request-id → when the answer left
	for _, en := range ledger {
		left[en.RequestID] = en.Answered
	}
	r.Requests, r.Refused = requests(ledger)
	told, err := x.pages.told(left)
	if err != nil {
		return r, err
	}
	done := x.contained()
	var whole, requested, intent, poll []time.Duration
	wanted := map[string]bool{}
	for _, id := range x.people {
		wanted[id] = true
		if told[id].IsZero() || done[id].IsZero() {
			r.Missed++
			continue
		}
		whole = append(whole, done[id].Sub(told[id]))
		poll = append(poll, told[id].Sub(happened[id]))
	}
	for id := range done {
		if !wanted[id] {
			r.Wrongly++
		}
	}
	for p := (desk.Page{Limit: 500}); ; {
		list, err := x.app.Store().Desk().Actions(ctx, desk.ActionFilter{}, p)
		if err != nil {
			return r, err
		}
		for _, a := range list.Items {
			if at := told[strings.ToLower(a.Account.ObjectID)]; !at.IsZero() && !a.IntentAt.IsZero() {
				requested, intent = append(requested, a.RequestedAt.Sub(at)), append(intent, a.IntentAt.Sub(at))
			}
		}
		if p.After = list.Next; p.After == "" {
			break
		}
	}
	r.quantiles, r.Requested, r.Intent, r.Poll = quantilesOf(whole), quantilesOf(requested), quantilesOf(intent), quantilesOf(poll)
	return r, nil
}

// A pageRecorder keeps the pages of risk detections that a tenant answers with,
// so that it can be said which of them was the first to contain a signal.
type pageRecorder struct {
	next  http.Handler
	mu    sync.Mutex
	pages []recordedPage
}

type recordedPage struct {
	requestID string
	body      []byte
}

func (p *pageRecorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/identityProtection/riskDetections") {
		p.next.ServeHTTP(w, r)
		return
	}
	c := &copied{ResponseWriter: w}
	p.next.ServeHTTP(c, r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pages = append(p.pages, recordedPage{w.Header().Get("request-id"), c.body})
}

// copied keeps a copy of what is written through it.
type copied struct {
	http.ResponseWriter
	body []byte
}

func (c *copied) Write(b []byte) (int, error) {
	c.body = append(c.body, b...)
	return c.ResponseWriter.Write(b)
}

// told returns when the first answer that contained a detection about each person
// left; left says it of each request.
func (p *pageRecorder) told(left map[string]time.Time) (map[string]time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := map[string]time.Time{}
	for _, page := range p.pages {
		at := left[page.requestID]
		var v struct {
			Value []struct {
				UserID string `json:"userId"`
			} `json:"value"`
		}
		if err := json.Unmarshal(page.body, &v); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read a recorded page: %w", err)
		}
		for _, d := range v.Value {
			if id := strings.ToLower(d.UserID); told[id].IsZero() || at.Before(told[id]) {
				told[id] = at
			}
		}
	}
	return told, nil
}
