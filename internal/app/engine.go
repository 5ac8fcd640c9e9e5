package app

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/store"
)

// drivenAtOnce is how many runs are driven in one transaction at most: what has to
// leave waits for it.
const drivenAtOnce = 32

// gather is how long a run that was woken waits for more of the same: an action
// moves several times in a moment, and while it does the rows belong to what has
// to leave.
const gather = 150 * time.Millisecond

// wakes is a set of runs that somebody says have something to do. It is a bell,
// not the truth: what is lost here is found by the reconciler.
type wakes struct {
	mu    sync.Mutex
	due   []wake // in the order of at
	known map[run.Key]bool
	more  chan struct{}
}

type wake struct {
	key run.Key
	at  time.Time
}

func newWakes() *wakes {
	return &wakes{known: map[run.Key]bool{}, more: make(chan struct{}, 1)}
}

// add notes that k has something to do; twice before it is done is once.
func (w *wakes) add(k run.Key) {
	w.mu.Lock()
	if !w.known[k] {
		w.known[k] = true
		w.due = append(w.due, wake{k, time.Now().Add(gather)})
	}
	w.mu.Unlock()
	w.signal()
}

// waits reports whether k will be driven when it has gathered.
func (w *wakes) waits(k run.Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[k]
}

func (w *wakes) signal() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// next waits for runs that have gathered, at most limit, or for the end of ctx: then
// there are none.
func (w *wakes) next(ctx context.Context, limit int) []run.Key {
	for {
		keys, wait := w.pop(limit)
		if len(keys) > 0 {
			return keys
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-w.more:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pop takes the first runs that have gathered; when there are none it says how long
// to wait.
func (w *wakes) pop(limit int) (keys []run.Key, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.due) > 0 && len(keys) < limit && time.Until(w.due[0].at) <= 0 {
		keys = append(keys, w.due[0].key)
		delete(w.known, w.due[0].key)
		w.due = w.due[1:]
	}
	if len(w.due) == 0 {
		return keys, time.Hour
	}
	return keys, time.Until(w.due[0].at)
}

// nudge is told by the store what a commit touched.
func (a *App) nudge(t store.Topic) {
	switch t.Kind {
	case store.TopicDue:
		a.runs.add(run.Key{Tenant: t.Tenant, ID: run.ID(t.ID)})
	case store.TopicDispatch:
		a.nudgeDispatch(t.Tenant)
	}
}

func (a *App) nudgeDispatch(id identity.Tenant) {
	for _, t := range a.tenants {
		if id == "" || t.key == id {
			t.dispatcher.Nudge()
		}
	}
}

// ring is called by the bells that rows hung up: a run or an approval whose time
// has come, actions that are ready.
func (a *App) ring(ctx context.Context, kind, key string) error {
	switch kind {
	case "run":
		tenant, id, ok := strings.Cut(key, "/")
		if !ok {
			return fault.Errorf(fault.Invalid, "bell %q names no run", key)
		}
		a.runs.add(run.Key{Tenant: identity.Tenant(tenant), ID: run.ID(id)})
	case "dispatch":
		a.nudgeDispatch(identity.Tenant(key))
	case "approval":
		return a.driver.Reconcile(ctx)
	}
	return nil
}

func (a *App) driveRuns(ctx context.Context) {
	for {
		keys := a.runs.next(ctx, drivenAtOnce)
		if len(keys) == 0 {
			return
		}
		a.driver.DriveAll(ctx, keys, func(k run.Key, err error) {
			if ctx.Err() == nil && !errors.Is(err, fault.Conflict) {
				a.log.Error("a run could not be moved; it is tried again", "tenant", k.Tenant, "run", k.ID, "err", err)
			}
		})
	}
}

// reconcile derives due work from the rows, at start and every second, so that a
// bell that was lost, late or rung twice changes nothing.
func (a *App) reconcile(ctx context.Context) {
	every(ctx, time.Second, func() {
		if err := a.driver.Reconcile(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("due work could not be done; it is tried again", "err", err)
		}
	})
}

// driveCampaigns lets campaigns go on as far as their runs have come. A wave that
// has left must not leave the limits unused for long, and counting the runs of a large
// one must not take a core from those that are moved.
func (a *App) driveCampaigns(ctx context.Context) {
	const tick, share = 250 * time.Millisecond, 10
	for ctx.Err() == nil {
		began := time.Now()
		if err := a.campaigns.Reconcile(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("a campaign could not be moved; it is tried again", "err", err)
		}
		sleep(ctx, max(tick, share*time.Since(began)))
	}
}

// forecast says how long so many requests take to leave by the published limits,
// and false when another process owns the tenant's budget.
func (a *App) forecast(t identity.Tenant, cost map[action.Bucket]int) (time.Duration, bool) {
	for _, k := range a.tenants {
		if _, owner := k.dispatcher.Lease(); k.key != t || !owner {
			continue
		}
		var longest time.Duration
		for b, n := range cost {
			longest = max(longest, k.dispatcher.Budget().Forecast(b, n))
		}
		return longest, true
	}
	return 0, false
}

// expireHandOvers deletes passwords that nobody revealed in time.
func (a *App) expireHandOvers(ctx context.Context) {
	every(ctx, time.Minute, func() {
		if _, err := a.desk.ExpireHandOvers(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("hand-overs that ran out could not be deleted; it is tried again", "err", err)
		}
	})
}

// followExceptions has what an exception lowered count in full once its end has come.
func (a *App) followExceptions(ctx context.Context) {
	every(ctx, 10*time.Second, func() {
		if _, err := a.desk.FollowExceptions(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("what follows from the end of an exception could not be done; it is tried again", "err", err)
		}
	})
}

// poll reads one stream at its interval. A failure waits as long as the source
// asked for, else two seconds, doubled with each failure up to the interval or
// five minutes.
func (a *App) poll(ctx context.Context, t *tenant, s stream) {
	failures := 0
	for ctx.Err() == nil {
		var wait time.Duration
		began := time.Now()
		if _, owner := t.dispatcher.Lease(); !owner {
			// Reading and containment share a budget, so who dispatches for the tenant
			// also reads for it; the other replicas stand by.
			if !sleep(ctx, 250*time.Millisecond) {
				return
			}
			continue
		}
		res, err := a.pipeline.Poll(ctx, t.key, s.source)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			wait = min(time.Second<<min(failures, 9), max(s.every, 5*time.Minute))
			if d, ok := fault.RetryAfter(err); ok {
				wait = max(wait, d)
			}
			a.metrics.pollFailed(t.key, string(s.source.Name()))
			a.log.Warn("a stream could not be read; it is tried again", "tenant", t.key, "stream", s.source.Name(), "in", wait, "err", err)
		default:
			failures, wait = 0, s.rest(time.Since(began))
			a.metrics.polled(t.key, string(s.source.Name()), res)
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// openCases keeps the facts of accounts with an open case fresh.
func (a *App) openCases(ctx context.Context, t *tenant) {
	interval := a.settings.Load().tenants[t.key].Connectors.WithDefaults().OpenCases
	if interval < 0 {
		return
	}
	every(ctx, interval, func() {
		if _, err := a.pipeline.Refresh(ctx, t.key, 100); err != nil && ctx.Err() == nil {
			a.log.Warn("facts of open cases could not be refreshed; it is tried again", "tenant", t.key, "err", err)
		}
	})
}

// feeds are those of the tenants this process reads: what another replica reads
// is not silent here.
func (a *App) feeds() []connector.Feed {
	var feeds []connector.Feed
	for _, t := range a.tenants {
		if _, owner := t.dispatcher.Lease(); !owner {
			continue
		}
		for _, s := range t.streams {
			if s.every > 0 {
				feeds = append(feeds, connector.Feed{Tenant: t.key, Stream: s.source.Name(), Interval: s.every})
			}
		}
		feeds = append(feeds, t.expects...)
		feeds = append(feeds, a.senderFeeds(t.key)...)
	}
	return feeds
}

func (a *App) watchFeeds(ctx context.Context) {
	every(ctx, 10*time.Second, func() {
		states, err := a.pipeline.Watch(ctx, a.feeds())
		if err != nil && ctx.Err() == nil {
			a.log.Error("feeds could not be watched; it is tried again", "err", err)
		}
		a.metrics.feeds(states)
		if err == nil {
			a.fares.Store(&states)
		}
	})
}

// every calls do at once and then at the interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, do func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// planner gives the driver the library in force now.
type planner struct{ app *App }

func (p planner) Match(in playbook.Input) []playbook.Match {
	return p.app.settings.Load().library.Match(in)
}

func (p planner) Plan(ref playbook.Ref, in playbook.Input) (playbook.Plan, error) {
	return p.app.settings.Load().library.Plan(ref, in)
}

func (a *App) policy(t identity.Tenant) identity.Policy {
	return a.settings.Load().tenants[t].Policy()
}

func (a *App) mode(t identity.Tenant) playbook.Mode {
	if a.settings.Load().tenants[t].Acts() {
		return playbook.Enforce
	}
	return playbook.Observe
}
