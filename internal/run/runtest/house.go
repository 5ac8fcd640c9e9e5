package runtest

import (
	"cmp"
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// The actions of Catalogue.
const (
	Disable action.Name = "test.disable" // undone by Enable
	Enable  action.Name = "test.enable"  // undone by Disable
	Revoke  action.Name = "test.revoke"  // irreversible
)

// Catalogue returns a catalogue of actions that are planned and recorded; only
// dispatch would carry them out, and nothing here calls dispatch.
func Catalogue() (*action.Catalogue, error) {
	base := func(n action.Name, undo action.Name) action.Spec {
		return action.Spec{
			Name: n, Version: 1, Title: string(n), Summary: "a state", Provider: identity.EntraID, Effect: action.EffectRestrict,
			Undo: undo, Batch: 1, Bucket: action.BucketDirectoryWrite, Within: time.Minute,
		}
	}
	revoke := base(Revoke, "")
	revoke.Irreversible = "sessions that were revoked do not come back"
	release := base(Enable, Disable)
	release.Effect = action.EffectRelease
	return action.NewCatalogue([]action.Type{switchType{base(Disable, Enable)}, switchType{release}, plainType{revoke}}, nil)
}

type plainType struct{ spec action.Spec }

func (p plainType) Spec() action.Spec { return p.spec }

func (p plainType) Look(_ context.Context, reqs []action.Request) []action.Look {
	return make([]action.Look, len(reqs))
}

func (p plainType) Do(_ context.Context, reqs []action.Request) []action.Outcome {
	return make([]action.Outcome, len(reqs))
}

func (p plainType) ReadBack(_ context.Context, reqs []action.Request) []action.Reading {
	return make([]action.Reading, len(reqs))
}

// switchType is an action whose before-state is true when there was something to
// replace.
type switchType struct{ spec action.Spec }

func (s switchType) Spec() action.Spec { return s.spec }

func (s switchType) Look(ctx context.Context, reqs []action.Request) []action.Look {
	return plainType(s).Look(ctx, reqs)
}

func (s switchType) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	return plainType(s).Do(ctx, reqs)
}

func (s switchType) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	return plainType(s).ReadBack(ctx, reqs)
}

func (s switchType) Undo(before json.RawMessage) (map[string]any, bool) {
	return nil, string(before) == "true"
}

// A Planner is a run.Planner over what a test says.
type Planner struct {
	mu sync.Mutex
	// Matches are returned by Match when their On names something of the input's.
	Matches []Rule
	// Plans are made by Plan, by playbook id.
	Plans map[string]func(playbook.Input) (playbook.Plan, error)
	asked []playbook.Input
}

// A Rule is a match and when it holds.
type Rule struct {
	On    string
	When  func(playbook.Input) bool // nil: always
	Match playbook.Match
}

// Match is run.Planner's.
func (p *Planner) Match(in playbook.Input) []playbook.Match {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, in)
	var out []playbook.Match
	for _, r := range p.Matches {
		for _, on := range in.On {
			if on == r.On && (r.When == nil || r.When(in)) {
				out = append(out, r.Match)
				break
			}
		}
	}
	return out
}

// Asked returns what Match was asked, in order.
func (p *Planner) Asked() []playbook.Input {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]playbook.Input(nil), p.asked...)
}

// Plan is run.Planner's. It fills in what every plan has.
func (p *Planner) Plan(ref playbook.Ref, in playbook.Input) (playbook.Plan, error) {
	p.mu.Lock()
	make, ok := p.Plans[ref.ID]
	p.mu.Unlock()
	if !ok {
		return playbook.Plan{}, fault.Errorf(fault.NotFound, "no playbook %q", ref.ID)
	}
	plan, err := make(in)
	plan.Playbook, plan.Tenant, plan.Identity, plan.Name = playbook.Ref{ID: ref.ID, Version: "1", Hash: "hash of " + ref.ID}, in.Tenant, in.Identity.ID, in.Identity.Name
	plan.Hash, plan.MadeAt, plan.Level = cmp.Or(plan.Hash, "plan of "+ref.ID+" for "+string(in.Identity.ID)), in.Now, in.Assessment.Level
	if plan.Mode == "" {
		plan.Mode = playbook.Enforce
	}
	return plan, err
}

// Steps returns a maker of plans that do the named actions to the identity's cloud account, one
// after the other; each contains.
func Steps(names ...action.Name) func(playbook.Input) (playbook.Plan, error) {
	return func(in playbook.Input) (playbook.Plan, error) {
		var p playbook.Plan
		a, _ := in.Identity.Account(identity.EntraID)
		for _, n := range names {
			p.Steps = append(p.Steps, playbook.Step{
				ID: string(n), Title: "do " + string(n), Uses: n, Action: n, Account: a.Ref,
				After: playbook.AfterAccepted, OnError: playbook.ErrorFail, Contains: true,
			})
		}
		return p, nil
	}
}

// A Clock is set by the test.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at now.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Add moves the clock.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Person returns a cloud user of the tenant whose object id ends in n, as a
// detection names them.
func Person(n string) identity.Ref {
	return identity.Ref{
		Provider: identity.EntraID, Kind: identity.KindPerson,
		ObjectID: "00000000-0000-4000-8000-" + ("000000000000" + n)[len(n):], UPN: "user" + n + "@corp.example", DisplayName: "User " + n,
	}
}

// Detection returns a signal about ref, open, at the level, told at at.
func Detection(t identity.Tenant, id string, ref identity.Ref, kind string, level signal.Level, at time.Time) signal.Signal {
	return signal.Signal{
		Tenant: t, Source: signal.RiskDetection, ExternalID: id, Type: kind, Title: kind, Level: level, State: signal.StateAtRisk,
		Subject: ref, ActivityAt: at, DetectedAt: at, UpdatedAt: at, Raw: json.RawMessage(`{"id":"` + id + `"}`),
	}
}
