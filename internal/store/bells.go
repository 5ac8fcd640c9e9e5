package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// The kinds of bells, as Bells.Ring gets them.
const (
	BellRun      = "run"      // key TENANT/ID: the run's DueAt has come
	BellApproval = "approval" // key TENANT/ID: the request's ExpiresAt has come
	BellDispatch = "dispatch" // key TENANT: actions became ready
	BellPeriodic = "periodic" // key is the name of the Periodic
)

// SplitKey returns the tenant and id of the key of a run's or approval's bell.
func SplitKey(key string) (identity.Tenant, string) {
	t, id, _ := strings.Cut(key, "/")
	return identity.Tenant(t), id
}

// A Periodic is something that is to be done again and again, by one process at
// a time.
type Periodic struct {
	Name  string        // unique
	Every time.Duration // at least a tenth of a second
}

// Bells are what rings.
type Bells struct {
	Periodic []Periodic

	// Ring is called in a goroutine of its own for each bell, perhaps twice, late
	// or never: it looks at the rows and does what is due. An error is tried again
	// a few times. The call for a Periodic may last: the same name is not rung
	// meanwhile, in any process. Its context ends when the bells are stopped.
	Ring func(ctx context.Context, kind, key string) error

	// Client is the name under which this process takes leases; a fresh id when
	// empty.
	Client string
}

// A bell is one ring that is wanted, at a whole second: what is wanted within
// the same second for the same key rings once.
type bell struct {
	Kind string `json:"kind"`
	Key  string `json:"key"`
	At   int64  `json:"at"` // seconds since 1970 UTC
}

// bellArgs is a bell as River stores it.
type bellArgs struct{ bell }

// Kind is River's name for the job.
func (bellArgs) Kind() string { return "bell" }

// InsertOpts makes equal bells one job: River keys it by the arguments.
func (a bellArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		MaxAttempts: 4,
		ScheduledAt: time.Unix(a.At, 0),
		UniqueOpts:  river.UniqueOpts{ByArgs: true},
	}
}

// bell asks for a ring at the first whole second not before at.
func (tx *Tx) bell(kind string, t identity.Tenant, id string, at time.Time) {
	second := at.Unix()
	if at.Nanosecond() > 0 {
		second++
	}
	key := string(t)
	if id != "" {
		key += "/" + id
	}
	b := bell{kind, key, second}
	for _, have := range tx.bells {
		if have == b {
			return
		}
	}
	tx.bells = append(tx.bells, b)
}

// dispatchBell asks for one ring for all actions of the tenant that become ready
// within the same second. This process is nudged anyway; the bell is for the
// others and for the next one.
func (tx *Tx) dispatchBell(t identity.Tenant, notBefore time.Time) {
	at := tx.db.opts.Now().Add(time.Second).Truncate(time.Second)
	if notBefore.After(at) {
		at = notBefore
	}
	tx.bell(BellDispatch, t, "", at)
}

// rung remembers which bells a commit has put, so that a burst of approvals does
// not ask River for the same bell again and again.
type rung struct {
	mu   sync.Mutex
	last map[bell]bool
}

func (r *rung) has(b bell) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[b]
}

// add remembers bells for which a commit has been made.
func (r *rung) add(bells []bell) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil || len(r.last) > 1024 {
		r.last = map[bell]bool{}
	}
	for _, b := range bells {
		r.last[b] = true
	}
}

// ringBells inserts the collected bells in this transaction.
func (tx *Tx) ringBells() error {
	var jobs []river.InsertManyParams
	for _, b := range tx.bells {
		if !tx.db.rung.has(b) {
			jobs = append(jobs, river.InsertManyParams{Args: bellArgs{b}})
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	if err := tx.keep(tx.ring(tx.ctx, jobs)); err != nil {
		return fmt.Errorf("ring the bell: %w", err)
	}
	return nil
}

// StartBells starts ringing and returns how to stop: stop waits for calls of
// Ring to return and cancels their contexts. Bells wait in River's tables, which
// are derived: with every River row gone the reconcilers find the same work in
// Cordon's own rows.
func (db *DB) StartBells(ctx context.Context, b Bells) (stop func(context.Context) error, err error) {
	if b.Ring == nil {
		return nil, fault.Errorf(fault.Invalid, "bells: nothing to ring")
	}
	if b.Client == "" {
		b.Client = db.NewID("bells")
	}
	workers := river.NewWorkers()
	if err := errors.Join(
		river.AddWorkerSafely(workers, &bellWorker{db: db, bells: b}),
		river.AddWorkerSafely(workers, &periodicWorker{turns: &turns{db: db, bells: b, busy: map[string]bool{}}}),
	); err != nil {
		return nil, fmt.Errorf("start bells: %w", err)
	}
	c := river.Config{
		Logger:            quiet(db.opts.Log),
		Workers:           workers,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 32}},
		FetchCooldown:     100 * time.Millisecond,
		FetchPollInterval: time.Second,
		// Periodic calls may last; what hangs is the caller's to bound.
		JobTimeout:                  -1,
		RescueStuckJobsAfter:        time.Hour,
		CompletedJobRetentionPeriod: 10 * time.Minute,
		CancelledJobRetentionPeriod: time.Hour,
		DiscardedJobRetentionPeriod: 24 * time.Hour,
	}
	for _, p := range b.Periodic {
		if p.Name == "" || p.Every < 100*time.Millisecond {
			return nil, fault.Errorf(fault.Invalid, "bells: periodic %q every %s: it needs a name and at least 100ms", p.Name, p.Every)
		}
		c.PeriodicJobs = append(c.PeriodicJobs, river.NewPeriodicJob(
			river.PeriodicInterval(p.Every),
			func() (river.JobArgs, *river.InsertOpts) { return periodicArgs{p.Name}, nil },
			&river.PeriodicJobOpts{RunOnStart: true},
		))
	}
	stop, err = db.d.bells(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("start bells: %w", err)
	}
	return stop, nil
}

// periodicArgs is one turn of a Periodic. Turns are not unique in River: a job
// of a process that died would hold the name for an hour. The lease does it.
type periodicArgs struct {
	Name string `json:"name"`
}

// Kind is River's name for the job.
func (periodicArgs) Kind() string { return "periodic" }

// InsertOpts says that a turn that fails is not repeated: the next one comes.
func (periodicArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{MaxAttempts: 1} }

// bellWorker rings bells.
type bellWorker struct {
	river.WorkerDefaults[bellArgs]
	db    *DB
	bells Bells
}

// Work rings one bell.
func (w *bellWorker) Work(ctx context.Context, j *river.Job[bellArgs]) error {
	return w.bells.Ring(ctx, j.Args.bell.Kind, j.Args.Key)
}

// NextRetry is seconds away: a bell that rings much later is the reconciler's.
func (w *bellWorker) NextRetry(j *river.Job[bellArgs]) time.Time {
	return w.db.opts.Now().Add(time.Duration(j.Attempt) * 5 * time.Second)
}

// periodicWorker rings periodics.
type periodicWorker struct {
	river.WorkerDefaults[periodicArgs]
	*turns
}

// turns rings periodics, each by one process at a time.
type turns struct {
	db    *DB
	bells Bells

	mu   sync.Mutex
	busy map[string]bool // those that are being rung in this process
}

// leasePeriodic is how long a process that died keeps a periodic from the others.
const leasePeriodic = 30 * time.Second

// Work rings one periodic unless the same one is being rung.
func (w *periodicWorker) Work(ctx context.Context, j *river.Job[periodicArgs]) error {
	name := j.Args.Name
	if !w.take(name) {
		return nil
	}
	defer w.give(name)
	if !w.db.d.shared() {
		return w.ring(ctx, name)
	}
	lease := "bell:" + name
	l, err := w.db.acquire(ctx, "", lease, w.bells.Client, w.db.opts.Now(), leasePeriodic)
	switch {
	case errors.Is(err, fault.Conflict):
		return nil
	case err != nil:
		return err
	}
	err = w.renewing(ctx, lease, func(ctx context.Context) error { return w.ring(ctx, name) })
	return errors.Join(err, w.db.release(context.WithoutCancel(ctx), l, lease))
}

// renewing calls work and renews the lease meanwhile; when the lease is lost,
// work's context ends.
func (w *turns) renewing(ctx context.Context, lease string, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(leasePeriodic / 3)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if _, err := w.db.acquire(ctx, "", lease, w.bells.Client, w.db.opts.Now(), leasePeriodic); errors.Is(err, fault.Conflict) {
				cancel(fmt.Errorf("%s: another process took it over", lease))
				return
			}
		}
	})
	defer wg.Wait()
	defer cancel(nil)
	return work(ctx)
}

func (w *turns) ring(ctx context.Context, name string) error {
	if err := w.bells.Ring(ctx, BellPeriodic, name); err != nil && ctx.Err() == nil {
		// The next turn comes anyway; River's own report of a last attempt would
		// name neither the periodic nor the cause.
		w.db.opts.Log.Warn("periodic work failed", slog.String("name", name), slog.Any("err", err))
	}
	return nil
}

func (w *turns) take(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[name] {
		return false
	}
	w.busy[name] = true
	return true
}

func (w *turns) give(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, name)
}
