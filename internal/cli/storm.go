package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/witness"

	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// stormPlaybook is a whole containment: three directory writes and a verdict for
// each person, the same for everybody; the verdict has a limit of its own and waits for
// no write. Nothing starts it but a person.
const stormPlaybook = `playbook: v1
id: storm
version: 1.0.0
title: Contain
owner: bench
attack: [T1078]
mode: enforce
cause: password
trigger:
  on: [manual]
  when: "true"
steps:
  - id: stop
    parallel:
      - { id: disable, uses: entra.user.disable@1, contains: true, on_error: continue }
      - { id: confirm, uses: entra.user.confirm_compromised@1, on_error: continue }
  - id: revoke
    uses: entra.user.revoke_sessions@1
    irreversible: accepted
    on_error: continue
  - id: reset
    uses: entra.user.reset_password@1
    irreversible: accepted
    contains: true
    on_error: continue
`

// Who is compromised beside ordinary people.
const (
	stormProtected  = 20 // listed by the configuration, emergency access included
	stormPrivileged = 30 // holders of directory roles
	stormNaive      = 100
)

type stormFlags struct {
	users   int
	speed   float64
	seed    uint64
	store   string
	profile string
}

func newBenchStorm(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "storm --users N --speed K", Short: "Many people at once, against the published limits", Args: exactly(),
		Long: `Reports N people compromised in a simulated tenant over HTTPS, whose limits and
delays run K times as fast, with 1% random 503 and another application using half
of what the tenant's applications share. One campaign contains them: disable,
revoke, reset, tell Microsoft. Protected people are among them, and are left
alone. The clock starts when the canary is over; the floor is what the published
limits leave. Exits with 1 when somebody was touched wrongly, left out, or the
trail and the tenant's ledger differ.`,
	}
	var f stormFlags
	c.Flags().IntVar(&f.users, "users", 10000, "people compromised")
	c.Flags().Float64Var(&f.speed, "speed", 20, "how much faster limits and delays run")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "of the tenant and its faults")
	c.Flags().StringVar(&f.store, "store", "", "sqlite:PATH or postgres://… (default: a temporary SQLite)")
	c.Flags().StringVar(&f.profile, "cpuprofile", "", "write a CPU profile of the campaign to this file")
	c.RunE = func(cmd *cobra.Command, _ []string) error { return benchStorm(cmd.Context(), e, f) }
	return c
}

// A stormReport is what the benchmark prints.
type stormReport struct {
	Users         int     `json:"users"`
	Speed         float64 `json:"speed"`
	Store         string  `json:"store"`
	WritesPlanned int     `json:"writes_planned"`

	Floor         float64  `json:"floor_s"`
	FloorDisabled float64  `json:"floor_disabled_s"`
	DisabledAll   float64  `json:"disabled_all_s"`
	AllVerified   float64  `json:"all_verified_s"`
	RatioTotal    float64  `json:"ratio_total"`
	RatioDisabled *float64 `json:"ratio_disabled"` // null where its floor is under 5 s

	Contained   int     `json:"contained"`
	LeftOut     int     `json:"left_out"` // protected people, with the reason
	Requests    int     `json:"requests"`
	Refused     int     `json:"refused_429"`
	Wrongly     int     `json:"wrongly_touched"`
	Unrecorded  int     `json:"unrecorded"`
	Violations  int     `json:"privileged_order_violations"`
	ETAError    float64 `json:"eta_error_pct"`
	NaiveTotal  float64 `json:"naive_total_s"`
	NaiveSample int     `json:"naive_sample"` // people it contained; the total is in proportion

	Prepared float64 `json:"prepared_s"` // from the proposal until the canary was over
	Ingested float64 `json:"ingested_s"` // until all cases were open
}

func benchStorm(ctx context.Context, e Env, f stormFlags) (err error) {
	if f.users < 2*(stormProtected+stormPrivileged) || f.users > 50_000 || !(f.speed > 0) {
		return fault.Errorf(fault.Invalid, "--users is between %d and 50000, --speed above 0", 2*(stormProtected+stormPrivileged))
	}
	folder, err := os.MkdirTemp("", "cordon-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	x, err := setStorm(ctx, e, f, folder)
	if err != nil {
		return err
	}
	r, err := x.run(ctx, f)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(e.Stdout).Encode(r); err != nil {
		return err
	}
	if r.Wrongly > 0 || r.Unrecorded > 0 || r.Contained < r.Users-r.LeftOut {
		return no("%d of %d people contained, %d touched wrongly, %d effects unrecorded", r.Contained, r.Users-r.LeftOut, r.Wrongly, r.Unrecorded)
	}
	return nil
}

// A stormBench is a tenant in trouble with a Cordon on it.
type stormBench struct {
	e          Env
	lab        *lab
	stage      *stage
	app        *app.App
	server     *http.Server
	people     []string // object ids of everybody compromised
	protected  map[string]bool
	privileged map[string]bool
}

// stormFaults are what goes wrong beside the limits.
var stormFaults = []string{"503:1%"}

func stormLab(ctx context.Context, f stormFlags) (*lab, error) {
	return openLab(ctx, labSpec{
		listen: "127.0.0.1:0", seed: f.seed, users: max(2400, 5*f.users), speed: f.speed, faults: stormFaults,
		limits: graphsim.Limits{OtherShare: 0.5},
	})
}

func setStorm(ctx context.Context, e Env, f stormFlags, folder string) (*stormBench, error) {
	l, err := stormLab(ctx, f)
	if err != nil {
		return nil, err
	}
	x := &stormBench{e: e, lab: l, protected: map[string]bool{}, privileged: map[string]bool{}}
	ids, _ := l.protected()
	for _, id := range ids {
		x.protected[strings.ToLower(id)] = true
	}
	x.cast(f.users)
	if len(x.people) < f.users {
		return nil, errors.Join(fault.Errorf(fault.Invalid, "the simulated tenant has only %d people to contain", len(x.people)), l.listener.Close())
	}
	l.more = slices.Collect(func(yield func(string) bool) {
		for id := range x.protected {
			if !slices.ContainsFunc(ids, func(p string) bool { return strings.EqualFold(p, id) }) && !yield(id) {
				return
			}
		}
	})
	x.stage, err = setStage(e, l, stageSpec{
		folder: folder, listen: "127.0.0.1:0", store: f.store, playbook: stormPlaybook,
		operators: []config.Operator{{ID: "bench", Name: "Benchmark", Roles: []string{"owner"}, Groups: []string{"bench"}}},
		intervals: "      risk_detections: 1s\n      directory: 10m\n" + otherStreamsOff(),
	})
	if err != nil {
		return nil, errors.Join(err, l.listener.Close())
	}
	x.app, err = app.New(ctx, app.Options{Config: x.stage.config, Version: version, Log: logger(e, x.stage.config.Log), Speed: f.speed})
	if err != nil {
		return nil, errors.Join(inUse(err), l.listener.Close())
	}
	x.server = &http.Server{Handler: l.tenant.Handler(), TLSConfig: l.ca.ServerConfig(), ReadHeaderTimeout: 10 * time.Second}
	return x, nil
}

// cast chooses who is compromised: every protected account of the tenant and
// some more people that the configuration lists, holders of roles, and ordinary
// people, among them those who bear the name of a protected one.
func (x *stormBench) cast(n int) {
	names := map[string]bool{}
	var ordinary []world.UserState
	x.lab.world.WalkState(func(u world.UserState) bool {
		id := strings.ToLower(u.ID)
		switch {
		case !u.AccountEnabled || u.OnPremises != nil || u.UserType != "Member" || u.SyncAccount:
		case u.BreakGlass:
			x.people = append(x.people, u.ID)
		case len(u.Roles) > 0:
			if len(x.privileged) < stormPrivileged {
				x.privileged[id] = true
				x.people = append(x.people, u.ID)
			}
		case u.Privileged: // neither the one nor the other
		case len(x.protected) < stormProtected:
			x.protected[id], names[u.DisplayName] = true, true
			x.people = append(x.people, u.ID)
		default:
			ordinary = append(ordinary, u)
		}
		return true
	})
	// Whoever is called like a protected person comes first: being taken for one, or
	// one for them, is the mistake that must not happen.
	slices.SortStableFunc(ordinary, func(a, b world.UserState) int {
		return cmp.Compare(btoi(names[b.DisplayName]), btoi(names[a.DisplayName]))
	})
	for _, u := range ordinary {
		if len(x.people) == n {
			return
		}
		x.people = append(x.people, u.ID)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (x *stormBench) run(ctx context.Context, f stormFlags) (r stormReport, err error) {
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
	r = stormReport{Users: f.users, Speed: f.speed, Store: x.app.Store().Dialect()}
	began := time.Now()
	if err := x.open(appCtx); err != nil {
		return r, err
	}
	r.Ingested = time.Since(began).Seconds()
	asked := time.Now()
	id, err := x.propose(appCtx)
	if err != nil {
		return r, err
	}
	c, err := x.wait(appCtx, id, f)
	if err != nil {
		return r, err
	}
	r.Prepared = c.ReleasedAt.Sub(asked).Seconds()
	if err := x.measure(appCtx, c, f, &r); err != nil {
		return r, err
	}
	r.NaiveTotal, err = naive(ctx, x.e, f)
	r.NaiveSample = stormNaive
	return r, err
}

// open makes the detections and waits until each has its case.
func (x *stormBench) open(ctx context.Context) error {
	t := x.stage.config.Tenants[0].Key()
	if err := until(ctx, time.Minute, func() (bool, error) {
		d, err := x.app.Store().Desk().Directory(ctx, t)
		return !d.AsOf.IsZero(), err
	}); err != nil {
		return fmt.Errorf("the simulated tenant's directory was not read: %w", err)
	}
	for _, id := range x.people {
		if err := x.lab.world.Apply(world.Event{Type: world.EventDetection, User: id, RiskEventType: "leakedCredentials", RiskLevel: "high"}); err != nil {
			return fmt.Errorf("make a detection about %s: %w", id, err)
		}
	}
	return until(ctx, 10*time.Minute, func() (bool, error) {
		n, err := x.app.Store().Desk().Count(ctx, t)
		open := 0
		for _, s := range desk.Open() {
			open += n.Cases[s]
		}
		return open >= len(x.people), err
	})
}

// propose asks for the campaign and has two people approve it.
func (x *stormBench) propose(ctx context.Context) (campaign.ID, error) {
	d := x.app.Desk()
	operator := func(id access.OperatorID) access.Operator {
		return access.Operator{ID: id, Roles: []access.Role{access.Owner}, Groups: []string{"bench"}}
	}
	v, err := d.ProposeCampaign(ctx, operator("asks"), desk.CampaignWish{
		Tenant: x.stage.config.Tenants[0].Key(), Playbook: "storm", Canary: 5, Wave: len(x.people), Reason: "benchmark",
	})
	if err != nil {
		return "", err
	}
	for _, id := range []access.OperatorID{"first", "second"} {
		if _, err := d.DecideCampaign(ctx, operator(id), v.Campaign.ID, true, v.Campaign.Hash, ""); err != nil {
			return "", err
		}
	}
	return v.Campaign.ID, nil
}

// wait follows the campaign to its end.
func (x *stormBench) wait(ctx context.Context, id campaign.ID, f stormFlags) (campaign.Campaign, error) {
	t := x.stage.config.Tenants[0].Key()
	limit := time.Minute + time.Duration(float64(f.users)*4/f.speed)*time.Second
	var c campaign.Campaign
	stopProfile := func() error { return nil }
	err := until(ctx, limit, func() (bool, error) {
		var err error
		if c, err = x.app.Store().Desk().Campaign(ctx, t, id); err != nil {
			return false, err
		}
		if c.State == campaign.Rolling && f.profile != "" {
			if stopProfile, err = profile(f.profile); err != nil {
				return false, err
			}
			f.profile = ""
		}
		if c.State == campaign.Paused {
			return false, no("the campaign paused by itself: %s", c.Reason)
		}
		return c.State == campaign.Done, nil
	})
	return c, errors.Join(err, stopProfile())
}

func (x *stormBench) measure(ctx context.Context, c campaign.Campaign, f stormFlags, r *stormReport) error {
	r.WritesPlanned, r.LeftOut = c.Cost[action.BucketDirectoryWrite], len(c.Left)
	n := c.Size
	confirm := math.Max(0, math.Ceil(float64(n)/60)-1)
	delay := max(world.Delays{}.Faster(f.speed).Revocation, world.Delays{}.Faster(f.speed).Feedback).Seconds()
	fresh := func(w int) float64 { return math.Max(0, float64(w-3000)) / 20 }
	r.Floor = math.Max(confirm, fresh(r.WritesPlanned))/f.speed + delay
	r.FloorDisabled = fresh(n) / f.speed

	ledger := x.lab.tenant.Ledger()
	r.Requests, r.Refused = requests(ledger)
	ids := map[string]bool{}
	for _, id := range x.people {
		ids[strings.ToLower(id)] = true
	}
	var last, lastPrivileged time.Time
	first := map[string]time.Time{} // when each was first tried: who is read in vain is put off, and nobody waits for that
	for _, en := range ledger {
		object, ok := strings.CutPrefix(strings.ToLower(en.Path), "/users/")
		vain := en.Status >= 400 && en.Received.After(c.ReleasedAt)
		if ok && (en.Method == http.MethodPatch || vain) && ids[object] && first[object].IsZero() {
			first[object] = en.Received
			if x.privileged[object] {
				lastPrivileged = latest(lastPrivileged, en.Received)
			}
		}
		for _, ef := range en.Effects {
			kind, object, _ := strings.Cut(ef.Object, "/")
			object = strings.ToLower(object)
			if !strings.EqualFold(kind, "users") {
				continue
			}
			if x.protected[object] || !ids[object] {
				r.Wrongly++
			}
			if ef.Field == "accountEnabled" {
				last = latest(last, en.Received)
			}
		}
	}
	canary := map[string]bool{}
	for object, at := range first {
		if at.Before(c.ReleasedAt) {
			canary[object] = true
		}
	}
	for object, at := range first {
		if !x.privileged[object] && !canary[object] && at.Before(lastPrivileged) {
			r.Violations++
		}
	}
	r.DisabledAll = last.Sub(c.ReleasedAt).Seconds()
	var ended time.Time
	for p := (desk.Page{Limit: 500}); ; {
		list, err := x.app.Store().Desk().Actions(ctx, desk.ActionFilter{}, p)
		if err != nil {
			return err
		}
		for _, a := range list.Items {
			ended = latest(ended, a.VerifiedAt)
		}
		if p.After = list.Next; p.After == "" {
			break
		}
	}
	r.AllVerified = ended.Sub(c.ReleasedAt).Seconds()
	r.RatioTotal = round3(r.AllVerified / r.Floor)
	if r.FloorDisabled >= 5 {
		ratio := round3(r.DisabledAll / r.FloorDisabled)
		r.RatioDisabled = &ratio
	}
	told := c.Announced.Sub(c.ReleasedAt).Seconds()
	r.ETAError = round3(100 * math.Abs(told-r.AllVerified) / r.AllVerified)
	p, err := x.app.Store().Desk().CampaignProgress(ctx, c.Tenant, c.ID, c.Size)
	if err != nil {
		return err
	}
	r.Contained = p.Contained()
	trail, err := trailOf(ctx, x.app.Store().Desk())
	if err != nil {
		return err
	}
	protected := make([]string, 0, len(x.protected))
	for id := range x.protected {
		protected = append(protected, id)
	}
	w := witness.Compare(trail, ledger, labApp, protected)
	r.Unrecorded = len(w.Unrecorded) + len(w.Unwitnessed)
	return nil
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func round3(v float64) float64 { return math.Round(v*1000) / 1000 }

// naive contains some people one after the other, one request at a time, as a
// script does that somebody writes in the night, and returns how long everybody
// would take at that pace.
func naive(ctx context.Context, e Env, f stormFlags) (_ float64, err error) {
	f.seed++
	l, err := stormLab(ctx, f)
	if err != nil {
		return 0, err
	}
	folder, err := os.MkdirTemp("", "cordon-bench-")
	if err != nil {
		return 0, errors.Join(err, l.listener.Close())
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	st, err := setStage(e, l, stageSpec{folder: folder, listen: "127.0.0.1:0", playbook: stormPlaybook, operators: []config.Operator{{ID: "bench", Name: "Benchmark", Roles: []string{"owner"}}}})
	if err != nil {
		return 0, errors.Join(err, l.listener.Close())
	}
	server := &http.Server{Handler: l.tenant.Handler(), TLSConfig: l.ca.ServerConfig(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(l.listener, "", "") }()
	defer func() {
		err = errors.Join(err, server.Close())
		<-served
	}()
	client, err := graph.Open(st.config.Tenants[0].Config, graph.Options{UserAgent: "naive"})
	if err != nil {
		return 0, err
	}
	x := &stormBench{lab: l, protected: map[string]bool{}, privileged: map[string]bool{}}
	x.cast(f.users)
	began := time.Now()
	for _, id := range x.people[len(x.people)-stormNaive:] {
		for _, req := range []graph.Request{
			{Method: "POST", Path: "/identityProtection/riskyUsers/confirmCompromised", Body: map[string]any{"userIds": []string{id}}},
			{Method: "PATCH", Path: "/users/" + id, Body: map[string]any{"accountEnabled": false}},
			{Method: "POST", Path: "/users/" + id + "/revokeSignInSessions"},
			{Method: "PATCH", Path: "/users/" + id, Body: map[string]any{"passwordProfile": map[string]any{"password": rand.Text() + "aA1!", "forceChangePasswordNextSignIn": true}}},
		} {
			// Without a Retry-After it waits two seconds and then twice as long each time.
			for back := 2 * time.Second; ; back = min(2*back, time.Minute) {
				_, err := client.Do(ctx, req)
				if err == nil {
					break
				}
				if ctx.Err() != nil || !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.Unknown) {
					return 0, fmt.Errorf("the naive responder: %w", err)
				}
				wait, ok := fault.RetryAfter(err)
				if !ok {
					wait = time.Duration(float64(back) / f.speed)
				}
				time.Sleep(wait)
			}
		}
	}
	return round3(time.Since(began).Seconds() * float64(f.users) / stormNaive), nil
}
