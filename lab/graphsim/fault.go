package graphsim

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is something that goes wrong on request. ParseFault reads it from
// the text that the package comment describes.
type Fault struct {
	Kind string  // one of FaultKinds
	Rate float64 // 0 to 1, of the requests in scope
	// Min and Max bound a latency; equal for a fixed one.
	Min, Max time.Duration
	// RetryAfter is the header of 429, 503 and 504: a duration, "none", or
	// "" for 10 s on a 429 and none otherwise. Date writes it as an HTTP date.
	RetryAfter string
	Date       bool
	Size       int64 // bytes of an oversized body; 64 MiB if zero
	Count      int   // at most so many times; 0 means no end
	Skip       int   // let so many requests in scope pass first
	Method     string
	Path       string // prefix, without /v1.0 or /beta; "" means all of Graph
}

// FaultKinds lists the kinds, each with what it does.
func FaultKinds() [][2]string {
	return [][2]string{
		{"429", "refused as throttled, before any effect"},
		{"500", "internal error, before any effect"},
		{"503", "service unavailable, before any effect"},
		{"504", "gateway timeout, before any effect"},
		{"504-after", "gateway timeout after the effect took place"},
		{"latency", "waits before answering: 200ms, or 100ms..2s"},
		{"reset-before", "connection cut before any effect"},
		{"reset-after", "connection cut after the effect took place"},
		{"no-effect", "a write is answered as done, and nothing happens"},
		{"dismiss-500", "500 on a risk dismissal"},
		{"expired-token", "401: the token has expired"},
		{"empty-pages", "a page without items that has a next link"},
		{"foreign-link", "a next link to another host"},
		{"batch-424", "a batch with a throttled part has the outer status 424, not 200"},
		{"unknown-enum", "an enumerated value that no document names"},
		{"malformed", "a body cut in the middle of its JSON"},
		{"oversized", "a body padded to size=BYTES"},
	}
}

// ParseFault reads KIND[:VALUE][,OPTION=VALUE…][@[METHOD ]PATH]. Its errors
// say what is wrong and what would be right.
func ParseFault(spec string) (Fault, error) {
	f, err := parseFault(spec)
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", spec, err)
	}
	return f, nil
}

// ParseFaults reads several and reports every mistake.
func ParseFaults(specs []string) ([]Fault, error) {
	var out []Fault
	var errs []error
	for _, s := range specs {
		f, err := ParseFault(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, f)
	}
	return out, errors.Join(errs...)
}

func parseFault(spec string) (Fault, error) {
	f := Fault{Rate: 1}
	head, scope, scoped := strings.Cut(spec, "@")
	if scoped {
		if m, p, ok := strings.Cut(scope, " "); ok {
			f.Method, scope = strings.ToUpper(m), p
			if !slices.Contains([]string{"GET", "POST", "PATCH", "PUT", "DELETE"}, f.Method) {
				return f, fmt.Errorf("%q is not a method", m)
			}
		}
		if !strings.HasPrefix(scope, "/") {
			return f, fmt.Errorf("the scope %q must be a path that begins with /, such as @/users or @PATCH /users", scope)
		}
		f.Path = scope
	}
	parts := strings.Split(head, ",")
	kind, value, hasValue := strings.Cut(strings.TrimSpace(parts[0]), ":")
	f.Kind = kind
	names := []string{}
	for _, k := range FaultKinds() {
		names = append(names, k[0])
	}
	if !slices.Contains(names, kind) {
		return f, fmt.Errorf("%q is not a kind of fault; the kinds are %s", kind, strings.Join(names, ", "))
	}
	if err := f.setValue(value, hasValue); err != nil {
		return f, err
	}
	for _, opt := range parts[1:] {
		if err := f.setOption(strings.TrimSpace(opt)); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *Fault) setValue(value string, given bool) error {
	if f.Kind == "latency" {
		lo, hi, ranged := strings.Cut(value, "..")
		if !ranged {
			hi = lo
		}
		a, err1 := time.ParseDuration(lo)
		b, err2 := time.ParseDuration(hi)
		if err1 != nil || err2 != nil || a < 0 || b < a || b > 10*time.Minute {
			return fmt.Errorf("%q is not a latency; write 200ms, or 100ms..2s, up to 10m", value)
		}
		f.Min, f.Max = a, b
		return nil
	}
	if !given {
		return nil
	}
	r, err := parseRate(value)
	f.Rate = r
	return err
}

// parseRate reads "2%" or "0.02".
func parseRate(s string) (float64, error) {
	num, percent := strings.CutSuffix(s, "%")
	r, err := strconv.ParseFloat(num, 64)
	if percent {
		r /= 100
	}
	if err != nil || math.IsNaN(r) || r < 0 || r > 1 {
		return 0, fmt.Errorf("%q is not a rate; write 2%% or 0.02, between 0 and 100%%", s)
	}
	return r, nil
}

func (f *Fault) setOption(opt string) error {
	name, v, ok := strings.Cut(opt, "=")
	bad := fmt.Errorf("%q is not an option; the options are rate=2%%, count=3, skip=1, retry-after=30s|none, date=true, size=200MB", opt)
	if !ok {
		return bad
	}
	var err error
	switch name {
	case "rate":
		f.Rate, err = parseRate(v)
	case "count", "skip":
		var n int
		if n, err = strconv.Atoi(v); err != nil || n < 0 {
			return fmt.Errorf("%s: %q is not a count", name, v)
		}
		if name == "count" {
			f.Count = n
		} else {
			f.Skip = n
		}
	case "retry-after":
		if d, derr := time.ParseDuration(v); v != "none" && (derr != nil || d < 0) {
			return fmt.Errorf("retry-after: %q is neither a duration nor none", v)
		}
		f.RetryAfter = v
	case "date":
		if f.Date, err = strconv.ParseBool(v); err != nil {
			return fmt.Errorf("date: %q is not true or false", v)
		}
	case "size":
		f.Size, err = parseSize(v)
	default:
		return bad
	}
	return err
}

func parseSize(s string) (int64, error) {
	unit := int64(1)
	num := s
	for suffix, u := range map[string]int64{"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30} {
		if n, ok := strings.CutSuffix(strings.ToUpper(s), suffix); ok {
			num, unit = n, u
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n <= 0 || n > (2<<30)/unit {
		return 0, fmt.Errorf("size: %q is not a size such as 200MB, at most 2GB", s)
	}
	return n * unit, nil
}

// covers reports whether a request is in the fault's scope. Faults without a
// path spare the token endpoint, whose path is "/token".
func (f *Fault) covers(method, path string) bool {
	if f.Method != "" && f.Method != method {
		return false
	}
	if f.Path == "" {
		return path != tokenScope
	}
	rest, ok := strings.CutPrefix(strings.ToLower(path), strings.ToLower(f.Path))
	return ok && (rest == "" || strings.HasPrefix(rest, "/") || strings.HasSuffix(f.Path, "/"))
}

// tokenScope is the path under which faults address the token endpoint.
const tokenScope = "/token"

// dice decides which requests a fault hits. The decision is a hash of seed,
// fault, method, path and how often that request came before, so the same
// traffic meets the same faults whatever its interleaving.
type dice struct {
	seed   uint64
	mu     sync.Mutex
	faults []Fault
	hits   []int
	passed []int
	seen   map[string]int
}

func newDice(seed uint64, faults []Fault) *dice {
	d := &dice{seed: seed, seen: map[string]int{}}
	d.set(faults)
	return d
}

func (d *dice) set(faults []Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = slices.Clone(faults)
	d.hits = make([]int, len(faults))
	d.passed = make([]int, len(faults))
}

// struck is the faults that hit one request.
type struck struct {
	faults  []Fault
	latency time.Duration
}

// roll decides the faults of a request. Latencies add up; of the others each
// kind hits at most once.
func (d *dice) roll(method, path string) struck {
	d.mu.Lock()
	defer d.mu.Unlock()
	var s struck
	if len(d.faults) == 0 {
		return s
	}
	key := method + " " + path
	n := d.seen[key]
	d.seen[key] = n + 1
	for i := range d.faults {
		f := &d.faults[i]
		if !f.covers(method, path) || f.Count > 0 && d.hits[i] >= f.Count {
			continue
		}
		if d.passed[i] < f.Skip {
			d.passed[i]++
			continue
		}
		u := d.unit(i, key, n)
		if u >= f.Rate {
			continue
		}
		d.hits[i]++
		if f.Kind == "latency" {
			s.latency += f.Min + time.Duration(float64(f.Max-f.Min)*d.unit(i+1000, key, n))
			continue
		}
		s.faults = append(s.faults, *f)
	}
	return s
}

// unit returns a number in [0, 1) made from its arguments and the seed.
func (d *dice) unit(i int, key string, n int) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d|%d|%s|%d", d.seed, i, key, n)
	x := h.Sum64()
	// FNV's high bits move little for short keys: mix them once more.
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// find returns the fault of one of the kinds that hit, if any did.
func (s struck) find(kinds ...string) (Fault, bool) {
	for _, f := range s.faults {
		if slices.Contains(kinds, f.Kind) {
			return f, true
		}
	}
	return Fault{}, false
}
