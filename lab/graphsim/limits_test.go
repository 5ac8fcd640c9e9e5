package graphsim

import (
	"math"
	"net/http"
	"testing"
	"time"
)

var t0 = time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)

// The time to get n requests of a class through, trying as soon as the
// throttle says a request would pass.
func timeFor(t *testing.T, th *throttle, n int, c class, q quantity, app string) time.Duration {
	t.Helper()
	now := t0
	limits := limitsOf(c, 2400, q)
	for i := range n {
		for tries := 0; ; tries++ {
			// Ask how long to wait without spending: a patient client.
			wait := time.Duration(0)
			th.mu.Lock()
			for _, l := range limits {
				b := th.bucket(app, l, now)
				th.refill(b, now)
				cost := 1.0
				if l.units {
					cost = q.units
				}
				switch {
				case b.left+1e-9 >= cost:
				case th.opts.FixedWindow:
					wait = max(wait, b.at.Add(b.period).Sub(now))
				default:
					wait = max(wait, time.Duration(math.Ceil((cost-b.left)/b.rate*1e9)))
				}
			}
			th.mu.Unlock()
			now = now.Add(wait)
			if wait == 0 {
				break
			}
			if tries > 3 {
				t.Fatalf("request %d never passes", i)
			}
		}
		if v := th.take(app, limits, q, now); v.refused {
			t.Fatalf("request %d is refused by %s", i, v.limit.name)
		}
	}
	return now.Sub(t0)
}

// The floors of Microsoft's limits: T_fresh(W) = (W - 3000) / 20 s for
// directory writes, one a second for identity protection.
func TestFloors(t *testing.T) {
	t.Parallel()
	write := quantity{units: 1, write: true}
	for name, c := range map[string]struct {
		limits Limits
		speed  float64
		n      int
		class  class
		q      quantity
		want   time.Duration
	}{
		"3,000 writes fit the bucket":         {Limits{}, 1, 3000, classDirectory, write, 0},
		"10,000 writes":                       {Limits{}, 1, 10000, classDirectory, write, 350 * time.Second},
		"10,000 writes, ten times the speed":  {Limits{}, 10, 10000, classDirectory, write, 35 * time.Second},
		"6,000 writes in windows":             {Limits{FixedWindow: true}, 1, 6000, classDirectory, write, 150 * time.Second},
		"60 identity protection calls":        {Limits{}, 1, 60, classIdentityProtection, quantity{units: 1}, 59 * time.Second},
		"the same with half of it used up":    {Limits{OtherShare: 0.5}, 1, 60, classIdentityProtection, quantity{units: 1}, 118 * time.Second},
		"six audit reads":                     {Limits{}, 1, 6, classReports, quantity{units: 1}, 2 * time.Second},
		"300 alert changes":                   {Limits{}, 1, 300, classSecurity, quantity{units: 1, write: true}, time.Minute},
		"units: 2,000 member lists at 5 each": {Limits{}, 1, 2000, classDirectory, quantity{units: 5}, 2500 * time.Millisecond},
	} {
		th := newThrottle(c.limits, c.speed, "t")
		got := timeFor(t, th, c.n, c.class, c.q, "app")
		if d := (got - c.want).Abs(); d > 50*time.Millisecond {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestTenantLimitIsShared(t *testing.T) {
	t.Parallel()
	th := newThrottle(Limits{}, 1, "t")
	one := quantity{units: 1}
	ip := limitsOf(classIdentityProtection, 2400, one)
	if v := th.take("a", ip, one, t0); v.refused {
		t.Fatal("the first request is refused")
	}
	if v := th.take("b", ip, one, t0); !v.refused {
		t.Error("another app has a bucket of its own")
	}
	dir := limitsOf(classReports, 2400, one)
	for range 5 {
		th.take("a", dir, one, t0)
	}
	if v := th.take("b", dir, one, t0); v.refused {
		t.Error("a limit per app is shared")
	}
}

// A refused request counts: hammering prolongs the block, up to a bound.
func TestRefusedRequestsCount(t *testing.T) {
	t.Parallel()
	th := newThrottle(Limits{}, 1, "t")
	one := quantity{units: 1}
	ip := limitsOf(classIdentityProtection, 2400, one)
	th.take("a", ip, one, t0)
	first := th.take("a", ip, one, t0)
	second := th.take("a", ip, one, t0)
	if !first.refused || !second.refused {
		t.Fatal("not refused")
	}
	if v := th.take("a", ip, one, t0.Add(time.Second)); !v.refused {
		t.Error("after hammering the next second is free at once")
	}
	for range 1000 {
		th.take("a", ip, one, t0.Add(time.Second))
	}
	if v := th.take("a", ip, one, t0.Add(3*time.Second)); v.refused {
		t.Errorf("the block has no bound: %v", v.wait)
	}
}

func TestThrottleHeaders(t *testing.T) {
	t.Parallel()
	write := quantity{units: 1, write: true}
	limits := limitsOf(classDirectory, 2400, write)
	th := newThrottle(Limits{}, 1, "tenant-1")
	headers := func(n int) http.Header {
		var h http.Header
		for range n {
			v := th.take("app-1", limits, write, t0)
			h = http.Header{}
			th.headers(h, v, classDirectory, write, "app-1", t0)
		}
		return h
	}
	if h := headers(2000); h.Get("x-ms-resource-unit") != "1" || h.Get("x-ms-throttle-limit-percentage") != "" {
		t.Errorf("two thirds full: %v", h)
	}
	if h := headers(700); h.Get("x-ms-throttle-limit-percentage") != "0.90" {
		t.Errorf("at 0.9: %v", h)
	}
	h := headers(301)
	for k, want := range map[string]string{
		"Retry-After": "1", "x-ms-throttle-scope": "Tenant_Application/Write/app-1/tenant-1", "x-ms-throttle-information": "WriteLimitExceeded",
	} {
		if got := h.Get(k); got != want {
			t.Errorf("%s: got %q, want %q", k, got, want)
		}
	}

	one := quantity{units: 1}
	ip := limitsOf(classIdentityProtection, 2400, one)
	th.take("app-1", ip, one, t0)
	h = http.Header{}
	th.headers(h, th.take("app-1", ip, one, t0), classIdentityProtection, one, "app-1", t0)
	if len(h) != 0 {
		t.Errorf("identity protection says something: %v", h)
	}

	h = http.Header{}
	setRetryAfter(h, "date", 1500*time.Millisecond, t0)
	if got, want := h.Get("Retry-After"), "Thu, 01 Oct 2026 08:00:02 GMT"; got != want {
		t.Errorf("date: got %q, want %q", got, want)
	}
}

func TestTenantSize(t *testing.T) {
	t.Parallel()
	for users, want := range map[int]float64{10: 3500, 49: 3500, 50: 5000, 500: 5000, 501: 8000} {
		if got := directoryUnits(users); got != want {
			t.Errorf("%d users: %v units, want %v", users, got, want)
		}
	}
}
