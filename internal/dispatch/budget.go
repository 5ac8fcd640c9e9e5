package dispatch

import (
	"context"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
)

// A turn orders who gets the next request of a bucket. The lanes come first, so
// that containment goes before everything; then read-backs, then polling.
type turn int

const (
	turnRead turn = turn(action.LaneUndo) + 1 + iota
	turnPoll
)

// pollShare is the part of the identity-protection limit that polling may use:
// the one request a second is shared by every application in the tenant.
const pollShare = 0.5

// A quota is one published limit. Source: Microsoft Graph service-specific
// throttling limits. The bucket's depth is not published; it is taken to equal
// the quota.
type quota struct {
	requests float64
	period   time.Duration
	reserved bool    // a share is kept for privileged and high-risk people
	mute     bool    // shared by all applications of the tenant, and a refusal does not say when to come back
	ease     float64 // share of the rate that is used: the sender's and Graph's clocks jitter
}

func quotas() map[action.Bucket]quota {
	return map[action.Bucket]quota{
		action.BucketIdentityProtection: {1, time.Second, false, true, 0.95},
		action.BucketDirectoryWrite:     {3000, 150 * time.Second, true, false, 1},
		// Resource units of the smallest tenant class; a read costs one or two.
		action.BucketDirectoryRead: {1750, 10 * time.Second, false, false, 1},
		action.BucketReports:       {5, 10 * time.Second, false, false, 0.95},
		action.BucketMailbox:       {10000, 10 * time.Minute, false, false, 1}, // of each mailbox; here of all
		action.BucketSecurity:      {150, time.Minute, false, false, 0.95},
	}
}

// BudgetOptions are what a caller may leave alone: every zero means the default.
type BudgetOptions struct {
	Now     func() time.Time
	Rand    io.Reader     // for the jitter of back-offs; nil: none
	Speed   float64       // the lab runs its limits this many times faster; 1
	Reserve float64       // see Limits.Reserve
	Memory  time.Duration // how far back intents are looked at when it is rebuilt; the longest period of a limit
}

// A Budget spends a tenant's published limits: one per tenant, shared by
// dispatch and by the connectors' polling, so that containment goes first. It is
// safe for concurrent use and starts no goroutine.
type Budget struct {
	o  BudgetOptions
	mu sync.Mutex
	b  map[action.Bucket]*bucket
}

// A bucket is a token bucket with a queue.
type bucket struct {
	quota
	depth float64 // requests
	rate  float64 // requests a second
	keep  float64 // requests that only privileged and high-risk people may use

	left    float64
	at      time.Time
	blocked time.Time     // nothing before it: a limit was hit
	strikes int           // limits hit in a row without a Retry-After
	eased   time.Time     // until then no bursts: the directory says its limit is near
	pause   time.Duration // between requests until eased
	share   float64       // of the limit, 0 to 1, that is ours as far as refusals tell: other applications use it too
	shared  time.Time     // when share last changed
	last    time.Time     // when the last request was given
	polled  time.Time     // when the last poll was given

	held    bool          // one was given that has not left: nobody gets the next meanwhile; only of a mute limit
	queue   []*waiter     // by turn, then by arrival
	changed chan struct{} // closed and replaced when the queue or the bucket changes
}

type waiter struct {
	turn  turn
	holds bool // it says when its request leaves, or that it does not
}

// NewBudget returns a budget with full buckets.
func NewBudget(o BudgetOptions) *Budget {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Reserve == 0 {
		o.Reserve = DefaultLimits().Reserve
	}
	if o.Memory == 0 {
		o.Memory = 150 * time.Second
	}
	b := &Budget{o: o, b: map[action.Bucket]*bucket{}}
	for name, q := range quotas() {
		k := &bucket{quota: q, depth: q.requests, rate: q.requests / q.period.Seconds() * q.ease * o.Speed, changed: make(chan struct{})}
		if q.reserved {
			k.keep = k.depth * min(max(o.Reserve, 0), 0.9)
		}
		k.left, k.at, k.share = k.depth, o.Now(), 1
		b.b[name] = k
	}
	return b
}

// pace is how long a wait for the tenant takes where it runs faster.
func (b *Budget) pace(d time.Duration) time.Duration {
	return time.Duration(float64(d) / b.o.Speed)
}

// Poll waits until a connector may send one request to identity protection:
// behind every containment and read-back, and at most half of the limit. It
// returns ctx's error when that ends first.
func (b *Budget) Poll(ctx context.Context) error {
	return b.take(ctx, action.BucketIdentityProtection, turnPoll)
}

// PollReports is Poll for one request to the reports, which sign-ins, audits and
// authentication methods share.
func (b *Budget) PollReports(ctx context.Context) error {
	return b.take(ctx, action.BucketReports, turnPoll)
}

// Forecast returns how long n more requests of the bucket would take to leave,
// others not counted: the floor that the published limit puts under a campaign.
func (b *Budget) Forecast(name action.Bucket, n int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, now := b.b[name], b.o.Now()
	if k == nil || n <= 0 {
		return 0
	}
	k.refill(now)
	wait := max(0, (float64(n)-k.left)/(k.rate*k.share))
	return max(time.Duration(wait*float64(time.Second)), k.blocked.Sub(now), 0)
}

// take waits for one request of the bucket. A bucket nobody limits is free.
func (b *Budget) take(ctx context.Context, name action.Bucket, t turn) error {
	return b.wait(ctx, name, &waiter{turn: t})
}

// hold is take for a request that leaves only after its intent was written: the caller
// says when it leaves, or gives it back.
func (b *Budget) hold(ctx context.Context, name action.Bucket, t turn) error {
	return b.wait(ctx, name, &waiter{turn: t, holds: true})
}

func (b *Budget) wait(ctx context.Context, name action.Bucket, w *waiter) error {
	b.mu.Lock()
	k := b.b[name]
	if k == nil {
		b.mu.Unlock()
		return ctx.Err()
	}
	k.join(w)
	for {
		wait, ok := b.try(k, w)
		if ok || ctx.Err() != nil {
			k.leave(w)
			b.mu.Unlock()
			if ok {
				return nil
			}
			return ctx.Err()
		}
		changed := k.changed
		b.mu.Unlock()
		sleep(ctx, wait, changed)
		b.mu.Lock()
	}
}

// sleep returns when d has passed (d < 0: never), changed is closed or ctx ends.
func sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) {
	var alarm <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-alarm:
	}
}

// try gives w its request when it is w's turn and there is one; else it says how
// long to wait, negative for until something changes.
func (b *Budget) try(k *bucket, w *waiter) (time.Duration, bool) {
	if k.queue[0] != w || k.held {
		return -1, false
	}
	now := b.o.Now()
	k.refill(now)
	ready := k.blocked
	later := func(t time.Time) {
		if t.After(ready) {
			ready = t
		}
	}
	need := 1.0
	if k.keep > 0 && w.turn > turn(action.LaneHigh) {
		need += k.keep
	}
	const dust = 1e-6 // of floating-point refills
	if k.left+dust < need {
		later(now.Add(seconds((need - k.left) / (k.rate * k.share))))
	}
	if now.Before(k.eased) {
		later(k.last.Add(k.pause))
	}
	if w.turn == turnPoll && !k.polled.IsZero() {
		later(k.polled.Add(seconds(1 / (k.rate * k.share * pollShare))))
	}
	if ready.After(now) {
		return ready.Sub(now), false
	}
	k.left--
	k.last, k.held = now, w.holds && k.mute
	if w.turn == turnPoll {
		k.polled = now
	}
	return 0, true
}

// give returns a request that was not sent.
func (b *Budget) give(name action.Bucket) {
	b.change(name, func(k *bucket) { k.left, k.held = min(k.depth, k.left+1), false })
}

// leaves records that the request that was given is sent now: a limit of one request
// a second counts it from here, and the next must not follow on its heels because
// this one waited for its intent.
func (b *Budget) leaves(name action.Bucket) {
	b.change(name, func(k *bucket) {
		if k.held = false; k.mute {
			k.left = min(k.left, k.depth-1)
		}
	})
}

// charge records requests that were sent beyond the one that was taken: the next
// wait until the limit has room again.
func (b *Budget) charge(name action.Bucket, n int) {
	if n > 0 {
		b.change(name, func(k *bucket) { k.left -= float64(n) })
	}
}

// throttled records that the directory refused a request for its limit: nothing
// of the bucket leaves until after, because refused requests count too. Without
// an after the wait starts at two seconds and doubles.
func (b *Budget) throttled(name action.Bucket, after time.Duration) {
	b.change(name, func(k *bucket) {
		if after <= 0 {
			after = time.Duration(float64(2*time.Second<<min(k.strikes, 5)) / b.o.Speed)
			after += jitter(b.o.Rand, after/4)
		}
		k.strikes++
		k.left = min(k.left, 0)
		k.yield(b.o.Now())
		if until := b.o.Now().Add(after); until.After(k.blocked) {
			k.blocked = until
		}
	})
}

// answered records that the directory took a request. pressure is how much of
// the limit it says is used: from 0.8 on bursts end, beyond 1 the pace halves and
// halves again.
func (b *Budget) answered(name action.Bucket, pressure float64) {
	b.change(name, func(k *bucket) {
		k.strikes = 0
		if pressure < 0.8 {
			return
		}
		k.pause = seconds(1 / k.rate)
		switch {
		case pressure >= 1.5:
			k.pause *= 4
		case pressure >= 1:
			k.pause *= 2
		}
		k.eased = b.o.Now().Add(time.Duration(float64(10*time.Second) / b.o.Speed))
	})
}

// rebuild sets every bucket to what is left after the spent requests, oldest
// first: what a new owner knows of its predecessor.
func (b *Budget) rebuild(spent []charge) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.o.Now()
	slices.SortStableFunc(spent, func(x, y charge) int { return x.at.Compare(y.at) })
	for name, k := range b.b {
		k.left, k.at = k.depth, now.Add(-b.o.Memory)
		share := k.share // time that is looked back over gives none of it back
		for _, c := range spent {
			if c.bucket == name && !c.at.After(now) {
				k.refill(c.at)
				k.left = max(k.left-1, -k.depth)
			}
		}
		k.refill(now)
		k.share = share
		k.wake()
	}
}

// A charge is one request sent at a time.
type charge struct {
	bucket action.Bucket
	at     time.Time
}

// charges turns intents into requests: those of one action written at one
// instant left together, as many to a request as the action batches.
func charges(spent []Spent, spec func(action.Name) (action.Spec, bool)) []charge {
	type set struct {
		name action.Name
		at   time.Time
	}
	count := map[set]int{}
	var order []set
	for _, s := range spent {
		k := set{s.Name, s.At}
		if count[k] == 0 {
			order = append(order, k)
		}
		count[k]++
	}
	var out []charge
	for _, k := range order {
		sp, ok := spec(k.name)
		if !ok {
			continue
		}
		for n := count[k]; n > 0; n -= max(1, sp.Batch) {
			out = append(out, charge{sp.Bucket, k.at})
		}
	}
	return out
}

func (b *Budget) change(name action.Bucket, f func(*bucket)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.b[name]; k != nil {
		k.refill(b.o.Now())
		f(k)
		k.wake()
	}
}

func (k *bucket) refill(now time.Time) {
	gone := now.Sub(k.at)
	if gone <= 0 {
		return
	}
	k.at = now
	if k.mute {
		k.share = math.Min(1, k.share+gone.Seconds()*k.rate*regain)
	}
	k.left = math.Min(k.depth, k.left+gone.Seconds()*k.rate*k.share)
}

// A limit that all applications of a tenant share, and that never says when to come
// back, is found by trying: each refusal takes a part of the pace away, and every
// request that could have been sent since gives a little of it back.
const (
	yield  = 0.8   // what a refusal leaves of the pace
	least  = 0.1   // and at least
	regain = 0.001 // of the whole, with each request that the limit allows
)

// yield gives a part of the pace up, once for the refusals of one moment.
func (k *bucket) yield(now time.Time) {
	if !k.mute || !k.shared.IsZero() && now.Sub(k.shared).Seconds() < 2/k.rate {
		return
	}
	k.share, k.shared = math.Max(least, k.share*yield), now
}

func (k *bucket) join(w *waiter) {
	n, _ := slices.BinarySearchFunc(k.queue, w.turn, func(x *waiter, t turn) int {
		if x.turn <= t { // behind everybody of the same turn
			return -1
		}
		return 1
	})
	k.queue = slices.Insert(k.queue, n, w)
	k.wake()
}

func (k *bucket) leave(w *waiter) {
	if n := slices.Index(k.queue, w); n >= 0 {
		k.queue = slices.Delete(k.queue, n, n+1)
	}
	k.wake()
}

func (k *bucket) wake() {
	close(k.changed)
	k.changed = make(chan struct{})
}

func seconds(s float64) time.Duration { return time.Duration(math.Ceil(s * float64(time.Second))) }

// jitter returns a random duration from 0 to below limit, 0 without a source.
func jitter(r io.Reader, limit time.Duration) time.Duration {
	var b [4]byte
	if r == nil || limit <= 0 {
		return 0
	}
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0
	}
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return time.Duration(float64(limit) * float64(n) / (1 << 32))
}
