package graphsim

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseFault(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]Fault{
		"503:1%":                            {Kind: "503", Rate: 0.01},
		"429:0.5,retry-after=30s,date=true": {Kind: "429", Rate: 0.5, RetryAfter: "30s", Date: true},
		"latency:200ms":                     {Kind: "latency", Rate: 1, Min: 200 * time.Millisecond, Max: 200 * time.Millisecond},
		"latency:100ms..2s,rate=10%":        {Kind: "latency", Rate: 0.1, Min: 100 * time.Millisecond, Max: 2 * time.Second},
		"reset-after,count=1@PATCH /users":  {Kind: "reset-after", Rate: 1, Count: 1, Method: "PATCH", Path: "/users"},
		"oversized,size=200MB@/security":    {Kind: "oversized", Rate: 1, Size: 200 << 20, Path: "/security"},
		"dismiss-500":                       {Kind: "dismiss-500", Rate: 1},
		"503:100%,skip=2@/token":            {Kind: "503", Rate: 1, Skip: 2, Path: "/token"},
	} {
		got, err := ParseFault(spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", spec, d)
		}
	}
}

func TestParseFaultRefuses(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		"":                      "not a kind of fault",
		"502:1%":                "the kinds are",
		"503:200%":              "not a rate",
		"503:NaN":               "not a rate",
		"latency:fast":          "not a latency",
		"latency:2s..1s":        "not a latency",
		"503:1%,times=3":        "not an option",
		"503:1%,count=-1":       "not a count",
		"503:1%@users":          "must be a path",
		"503:1%@FETCH /users":   "not a method",
		"oversized,size=9000GB": "not a size",
		"429,retry-after=soon":  "neither a duration nor none",
	} {
		_, err := ParseFault(spec)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "fault ") {
			t.Errorf("%q: got %v, want …%s…", spec, err, want)
		}
	}
	_, err := ParseFaults([]string{"x", "503:1%", "y"})
	if err == nil || !strings.Contains(err.Error(), `"x"`) || !strings.Contains(err.Error(), `"y"`) {
		t.Errorf("not every mistake is told: %v", err)
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add("429:2%,retry-after=30s@PATCH /users")
	f.Add("latency:1ms..2s")
	f.Add("oversized,size=1KB")
	f.Fuzz(func(t *testing.T, spec string) {
		got, err := ParseFault(spec)
		if err != nil {
			return
		}
		if !(got.Rate >= 0 && got.Rate <= 1) || got.Min < 0 || got.Max < got.Min || got.Size < 0 || got.Count < 0 {
			t.Fatalf("%q: %+v", spec, got)
		}
		newDice(1, []Fault{got}).roll("GET", "/users")
	})
}

func TestDice(t *testing.T) {
	t.Parallel()
	fault := Fault{Kind: "503", Rate: 0.1}
	hits := func(seed uint64, order []string) map[string]int {
		d := newDice(seed, []Fault{fault})
		out := map[string]int{}
		for _, p := range order {
			if _, ok := d.roll("GET", p).find("503"); ok {
				out[p]++
			}
		}
		return out
	}
	var ab, ba []string
	for range 2000 {
		ab = append(ab, "/users/a", "/users/b")
		ba = append(ba, "/users/b", "/users/a")
	}
	// The same requests meet the same faults, whatever their interleaving.
	if d := cmp.Diff(hits(7, ab), hits(7, ba)); d != "" {
		t.Errorf("order matters:\n%s", d)
	}
	got := hits(7, ab)
	if n := got["/users/a"] + got["/users/b"]; n < 320 || n > 480 {
		t.Errorf("%d hits of 4000 at 10 %%", n)
	}
	if cmp.Equal(got, hits(8, ab)) {
		t.Error("the seed changes nothing")
	}
}

func TestDiceCountSkipScope(t *testing.T) {
	t.Parallel()
	f, err := ParseFault("504,count=2,skip=1@PATCH /users")
	if err != nil {
		t.Fatal(err)
	}
	d := newDice(1, []Fault{f})
	var got []bool
	for _, r := range [][2]string{{"GET", "/users/1"}, {"PATCH", "/users/1"}, {"PATCH", "/usersX/1"}, {"PATCH", "/USERS/1"}, {"PATCH", "/users/2"}, {"PATCH", "/users/3"}} {
		_, hit := d.roll(r[0], r[1]).find("504")
		got = append(got, hit)
	}
	if want := []bool{false, false, false, true, true, false}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !(&Fault{Path: tokenScope}).covers("POST", tokenScope) || (&Fault{}).covers("POST", tokenScope) {
		t.Error("the token endpoint is hit only by name")
	}
}
