package graphsim

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Limits choose how the documented throttling limits are enforced. The zero
// value is the usual: token buckets, nobody else in the tenant, Retry-After
// in seconds where Microsoft documents one.
type Limits struct {
	// Off switches all throttling off.
	Off bool
	// FixedWindow counts in fixed windows instead of token buckets. Microsoft
	// publishes quota and period of a limit but not which of the two it is.
	FixedWindow bool
	// OtherShare is the part, 0 to under 1, of each limit shared by the whole
	// tenant that another application uses up.
	OtherShare float64
	// RetryAfter is the form of that header on a 429: "seconds" (default),
	// "date" or "none". Identity protection never sends one.
	RetryAfter string
}

func (l Limits) check() error {
	if l.OtherShare < 0 || l.OtherShare >= 1 || math.IsNaN(l.OtherShare) {
		return fmt.Errorf("limits: the other consumer's share is %v, not in 0 to under 1", l.OtherShare)
	}
	switch l.RetryAfter {
	case "", "seconds", "date", "none":
		return nil
	}
	return fmt.Errorf("limits: Retry-After form %q is not seconds, date or none", l.RetryAfter)
}

// class is the family of limits under which a request falls.
type class int

const (
	classDirectory class = iota
	classIdentityProtection
	classReports
	classSecurity
	classSecurityIdentities
	classHunting
	classMailbox
	classSubscriptions
	classSubscriptionList
	classReauthorize
	classBatch // the envelope of a batch, which only the global limit counts
)

// limit is one line of Microsoft's table "service-specific throttling
// limits": quota requests, or resource units, in period.
type limit struct {
	name   string
	scope  string // Tenant_Application, Tenant or Application, as x-ms-throttle-scope has it
	kind   string // Read, Write or ReadWrite
	info   string // x-ms-throttle-information
	quota  float64
	period time.Duration
	units  bool // counts resource units, not requests
	mute   bool // no Retry-After
}

// directoryUnits returns the resource-unit quota of a tenant of that many
// users: sizes S (under 50), M (to 500) and L.
func directoryUnits(users int) float64 {
	switch {
	case users < 50:
		return 3500
	case users <= 500:
		return 5000
	}
	return 8000
}

var globalLimit = limit{name: "global", scope: "Application", kind: "ReadWrite", quota: 130000, period: 10 * time.Second}

// limitsOf lists the limits of a class. Those of directory writes apply only
// to writes, and the sign-in activity and device ones only to what asks for
// that, so the caller says what the request is.
func limitsOf(c class, users int, q quantity) []limit {
	const pair, tenant, app = "Tenant_Application", "Tenant", "Application"
	sec := time.Second
	out := []limit{globalLimit}
	switch c {
	case classDirectory:
		out = append(out,
			limit{name: "directory units", scope: pair, kind: "ReadWrite", info: "ResourceUnitLimitExceeded", quota: directoryUnits(users), period: 10 * sec, units: true},
			limit{name: "directory units, all tenants", scope: app, kind: "ReadWrite", info: "ResourceUnitLimitExceeded", quota: 150000, period: 20 * sec, units: true})
		if q.write {
			out = append(out,
				limit{name: "directory writes", scope: pair, kind: "Write", info: "WriteLimitExceeded", quota: 3000, period: 150 * sec},
				limit{name: "directory writes, all tenants", scope: app, kind: "Write", info: "WriteLimitExceeded", quota: 35000, period: 300 * sec},
				limit{name: "directory writes, whole tenant", scope: tenant, kind: "Write", info: "WriteLimitExceeded", quota: 18000, period: 300 * sec})
		}
		if q.signInActivity {
			out = append(out, limit{name: "sign-in activity", scope: pair, kind: "Read", quota: 10, period: 60 * sec})
		}
	case classIdentityProtection:
		out = append(out, limit{name: "identity protection", scope: tenant, kind: "ReadWrite", quota: 1, period: sec, mute: true})
	case classReports:
		out = append(out,
			limit{name: "reports", scope: pair, kind: "ReadWrite", quota: 5, period: 10 * sec},
			limit{name: "reports, all tenants", scope: app, kind: "ReadWrite", quota: 122, period: 10 * sec})
	case classSecurity:
		out = append(out, limit{name: "security", scope: pair, kind: "ReadWrite", quota: 150, period: 60 * sec})
	case classSecurityIdentities:
		// Nothing is published for /security/identities: the quota of
		// /security is used, in a bucket of its own.
		out = append(out, limit{name: "security identities", scope: pair, kind: "ReadWrite", quota: 150, period: 60 * sec})
	case classHunting:
		out = append(out, limit{name: "hunting", scope: tenant, kind: "Read", quota: 45, period: 60 * sec})
	case classMailbox:
		// Of each app and mailbox; the lab counts the app alone, which is stricter.
		out = append(out, limit{name: "mailbox", scope: pair, kind: "ReadWrite", quota: 10000, period: 600 * sec})
	case classSubscriptions:
		out = append(out,
			limit{name: "subscriptions", scope: pair, kind: "ReadWrite", quota: 500, period: 20 * sec},
			limit{name: "subscriptions, all tenants", scope: app, kind: "ReadWrite", quota: 2000, period: 20 * sec})
	case classSubscriptionList:
		out = append(out, limit{name: "subscription lists", scope: pair, kind: "Read", quota: 25, period: 20 * sec})
	case classReauthorize:
		out = append(out,
			limit{name: "reauthorize", scope: pair, kind: "Write", quota: 1000, period: 20 * sec},
			limit{name: "reauthorize, all tenants", scope: app, kind: "Write", quota: 4000, period: 20 * sec})
	}
	return out
}

// quantity is what a request costs beyond being one request.
type quantity struct {
	units          float64
	write          bool
	signInActivity bool
}

// verdict is what the throttle says of a request.
type verdict struct {
	refused bool
	limit   limit         // the one that refused
	wait    time.Duration // until it would let this request through
	share   float64       // of the fullest limit, 1 is full
}

// throttle holds one bucket per limit and key. It is safe for concurrent use.
type throttle struct {
	opts   Limits
	speed  float64
	tenant string

	mu      sync.Mutex
	buckets map[string]*bucket
}

func newThrottle(o Limits, speed float64, tenant string) *throttle {
	return &throttle{opts: o, speed: speed, tenant: tenant, buckets: map[string]*bucket{}}
}

// bucket is a token bucket, or the count of a fixed window. Debt is limited
// to one quota: a client that hammers waits at most one period longer.
type bucket struct {
	quota  float64
	rate   float64 // tokens a second
	period time.Duration
	left   float64
	at     time.Time // of the last refill, or the window's start
}

// take counts a request against every limit that fits it, whether or not it
// is refused, and says what comes of it.
func (t *throttle) take(app string, limits []limit, q quantity, now time.Time) verdict {
	var v verdict
	if t.opts.Off {
		return v
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range limits {
		b := t.bucket(app, l, now)
		cost := 1.0
		if l.units {
			cost = q.units
		}
		t.refill(b, now)
		wait := b.spend(cost)
		v.share = max(v.share, 1-b.left/b.quota)
		if wait > 0 {
			if t.opts.FixedWindow {
				wait = b.at.Add(b.period).Sub(now)
			}
			if !v.refused || wait > v.wait {
				v.refused, v.limit, v.wait = true, l, wait
			}
		}
	}
	return v
}

func (t *throttle) bucket(app string, l limit, now time.Time) *bucket {
	key := l.name
	if l.scope != "Tenant" {
		key += "|" + app
	}
	b, ok := t.buckets[key]
	if !ok {
		period := time.Duration(float64(l.period) / t.speed)
		b = &bucket{quota: l.quota, rate: l.quota / period.Seconds(), period: period, left: l.quota, at: now}
		if l.scope == "Tenant" {
			b.rate *= 1 - t.opts.OtherShare
			if t.opts.FixedWindow {
				b.quota = max(1, l.quota*(1-t.opts.OtherShare))
				b.left = b.quota
			}
		}
		t.buckets[key] = b
	}
	return b
}

func (t *throttle) refill(b *bucket, now time.Time) {
	gone := now.Sub(b.at)
	if gone <= 0 {
		return
	}
	if t.opts.FixedWindow {
		if n := gone / b.period; n > 0 {
			b.at = b.at.Add(n * b.period)
			b.left = b.quota
		}
		return
	}
	b.left = min(b.quota, b.left+gone.Seconds()*b.rate)
	b.at = now
}

// spend takes the cost, into debt if need be, and returns how long until the
// same request would have gone through: zero means it may go now.
func (b *bucket) spend(cost float64) time.Duration {
	const dust = 1e-9 // of floating-point refills
	ok := b.left+dust >= cost
	b.left = max(b.left-cost, -b.quota)
	if ok {
		return 0
	}
	return time.Duration(math.Ceil((cost - b.left) / b.rate * float64(time.Second)))
}

// headers writes the throttling headers of a directory answer, and those of
// a refusal of any class.
func (t *throttle) headers(h http.Header, v verdict, c class, q quantity, app string, now time.Time) {
	if c == classDirectory {
		h.Set("x-ms-resource-unit", strconv.FormatFloat(q.units, 'f', -1, 64))
		if v.share > 0.8 {
			h.Set("x-ms-throttle-limit-percentage", strconv.FormatFloat(v.share, 'f', 2, 64))
		}
	}
	if !v.refused {
		return
	}
	if c == classDirectory {
		h.Set("x-ms-throttle-scope", v.limit.scope+"/"+v.limit.kind+"/"+app+"/"+t.tenant)
		if v.limit.info != "" {
			h.Set("x-ms-throttle-information", v.limit.info)
		}
	}
	if v.limit.mute {
		return
	}
	setRetryAfter(h, t.opts.RetryAfter, v.wait, now)
}

// setRetryAfter writes the header in the given form, rounded up to a second.
func setRetryAfter(h http.Header, form string, wait time.Duration, now time.Time) {
	secs := int64(math.Ceil(wait.Seconds()))
	secs = max(secs, 1)
	switch form {
	case "none":
	case "date":
		// An HTTP date has whole seconds: round up so that it is not early.
		at := now.Add(time.Duration(secs) * time.Second).Add(time.Second - 1).Truncate(time.Second)
		h.Set("Retry-After", at.UTC().Format(http.TimeFormat))
	default:
		h.Set("Retry-After", strconv.FormatInt(secs, 10))
	}
}
