package world

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// World is one tenant. Make it with New.
type World struct {
	mu       sync.RWMutex
	clock    func() time.Time
	start    time.Time
	tenant   string
	delays   Delays
	settings Settings
	rng      *rand.Rand // ids made after the seed; under mu
	salt     [16]byte   // of password digests

	due     atomic.Int64 // UnixNano of the earliest pending effect; MaxInt64 when none
	pending agenda
	seq     uint64 // order among pending effects of one instant

	people  people
	ad      []*adAccount // by position
	bySID   map[string]int
	byNT    map[string]int // "DOMAIN\account", lower case
	roles   roles
	groups  *groups
	devices *devices
	tables  map[Collection]rows
	rel     relations

	risk     riskEngine
	sps      workloads
	agents   agents
	security security

	aliases   map[string]Account
	aliasOf   map[string]string // account key → alias
	names     map[string]string // Event.Name → id of what the event made
	failures  []error
	passwords passwordBook
}

// New seeds a tenant. The error names the option that cannot be.
func New(o Options) (*World, error) {
	o.Users = cmp.Or(o.Users, 2400)
	if o.Users < 20 || o.Users > 2_000_000 {
		return nil, fmt.Errorf("world: users must be 20 to 2000000, not %d", o.Users)
	}
	if o.TenantID != "" && !isGUID(o.TenantID) {
		return nil, fmt.Errorf("world: tenant id %q is not a GUID", o.TenantID)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Start.IsZero() {
		o.Start = o.Now()
	}
	w := &World{
		clock:    o.Now,
		start:    o.Start.UTC(),
		delays:   o.Delays.filled(),
		settings: o.Settings,
		rng:      rand.New(rand.NewPCG(o.Seed, 0x5eed)),
		aliases:  map[string]Account{},
		aliasOf:  map[string]string{},
		names:    map[string]string{},
		tables:   map[Collection]rows{},
	}
	w.due.Store(math.MaxInt64)
	w.tenant = cmp.Or(o.TenantID, w.newID())
	for i := range w.salt {
		w.salt[i] = byte(w.rng.Uint32())
	}
	w.seedTenant(o.Users)
	return w, nil
}

// Now is the world's clock, in UTC.
func (w *World) Now() time.Time { return w.clock().UTC() }

// TenantID is the tenant's GUID.
func (w *World) TenantID() string { return w.tenant }

// NextDue returns when the earliest pending effect or scheduled event is due;
// false when nothing waits. Every other method applies what is due before it
// looks or changes.
func (w *World) NextDue() (time.Time, bool) {
	if at := w.due.Load(); at != math.MaxInt64 {
		return time.Unix(0, at).UTC(), true
	}
	return time.Time{}, false
}

// An appointment is one delayed effect. do runs under the write lock and is
// told the instant it was due, which may be earlier than now.
type appointment struct {
	at  time.Time
	seq uint64
	do  func(at time.Time)
}

type agenda []appointment

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if !a[i].at.Equal(a[j].at) {
		return a[i].at.Before(a[j].at)
	}
	return a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(appointment)) }
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = appointment{}
	*a = old[:len(old)-1]
	return x
}

// after runs do at an instant; at once when it is not in the future.
func (w *World) after(now, at time.Time, do func(at time.Time)) {
	if !at.After(now) {
		do(now)
		return
	}
	w.seq++
	heap.Push(&w.pending, appointment{at, w.seq, do})
	w.due.Store(w.pending[0].at.UnixNano())
}

// settle applies all that is due, each at its own instant, in order.
func (w *World) settle(now time.Time) {
	for len(w.pending) > 0 && !w.pending[0].at.After(now) {
		next := heap.Pop(&w.pending).(appointment)
		next.do(next.at)
	}
	if len(w.pending) == 0 {
		w.due.Store(math.MaxInt64)
		return
	}
	w.due.Store(w.pending[0].at.UnixNano())
}

// lock takes the write lock, settles and returns the present instant.
func (w *World) lock() time.Time {
	w.mu.Lock()
	now := w.Now()
	w.settle(now)
	return now
}

// rlock takes the read lock, settling first when something is due.
func (w *World) rlock() {
	if w.Now().UnixNano() >= w.due.Load() {
		w.lock()
		w.mu.Unlock()
	}
	w.mu.RLock()
}

// plus is the due instant of a delay; a negative delay is none.
func plus(t time.Time, d time.Duration) time.Time { return t.Add(max(d, 0)) }

// newID makes a version 4 GUID.
func (w *World) newID() string { return guidFrom(w.rng) }

// newHex makes n random hexadecimal digits.
func (w *World) newHex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = hexDigits[w.rng.Uint32()&15]
	}
	return string(b)
}

const hexDigits = "0123456789abcdef"

func guidFrom(r *rand.Rand) string {
	hi, lo := r.Uint64(), r.Uint64()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 1<<63
	var b [36]byte
	put := func(at, digits int, v uint64) {
		for i := digits - 1; i >= 0; i-- {
			b[at+i] = hexDigits[v&15]
			v >>= 4
		}
	}
	put(0, 8, hi>>32)
	put(9, 4, hi>>16)
	put(14, 4, hi)
	put(19, 4, lo>>48)
	put(24, 12, lo)
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range 36 {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return false
			}
		}
	}
	return true
}

// stamp writes an instant as the risk, audit and security services do.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// second writes an instant as the directory does; nil for the zero instant.
func second(unix int64) any {
	if unix == 0 {
		return nil
	}
	return time.Unix(unix, 0).UTC().Format("2006-01-02T15:04:05Z")
}
