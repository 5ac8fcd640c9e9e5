package graph_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
)

func TestTime(t *testing.T) {
	t.Parallel()
	at := func(ns int) time.Time { return time.Date(2021, 10, 26, 16, 28, 17, ns, time.UTC) }
	for in, want := range map[string]graph.Time{
		`"2021-10-26T16:28:17Z"`:              {At: at(0)},
		`"2021-10-26T16:28:17.8Z"`:            {At: at(800_000_000)},
		`"2021-10-26T16:28:17.8202975Z"`:      {At: at(820_297_500)},
		`"2021-10-26T18:28:17.8202975+02:00"`: {At: at(820_297_500)},
		`"2021-10-26T11:28:17-05:00"`:         {At: at(0)},
		`"2021-10-26T16:28:17"`:               {At: at(0)}, // as inside an error
		`"2021-10-26T16:28:17.123"`:           {At: at(123_000_000)},
		`"9999-12-31T23:59:59Z"`:              {At: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		`"0001-01-01T00:00:00Z"`:              {},
		`"0001-01-01T00:00:00+00:00"`:         {},
		`"0001-01-01T00:00:00.0000000Z"`:      {},
		`""`:                                  {},
		`null`:                                {},
		`"2021-10-26T16:28:17.8202975Z)"`:     {}, // printed in Microsoft's own example
		`"String (timestamp)"`:                {},
		`"2021-10-26"`:                        {},
		`"2021-02-30T00:00:00Z"`:              {},
		`"2021-10-26T16:28:17,5Z"`:            {},
		`"2021-10-26T25:28:17Z"`:              {},
		`"` + strings.Repeat("1", 1000) + `"`: {},
		`"2021-10-26T16:28:17.` + strings.Repeat("1", 60) + `Z"`: {},
		`1635265697`: {},
		`{"a":1}`:    {},
	} {
		var text string
		if json.Unmarshal([]byte(in), &text) == nil {
			want.Raw = text
		} else {
			want.Raw = in
		}
		var got graph.Time
		if err := json.Unmarshal([]byte(in), &got); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", in, d)
		}
		none := in == `null` || text == "" && got.Raw == "" || strings.HasPrefix(text, "0001-")
		if bad := got.At.IsZero() && !none; got.Malformed() != bad {
			t.Errorf("%s: Malformed is %v", in, got.Malformed())
		}
		if _, err := graph.ParseTime(got.Raw); (err != nil) != got.Malformed() || err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// What a connector keeps as raw must come out as it went in.
func TestTimeRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := time.Unix(rapid.Int64Range(-62_000_000_000, 250_000_000_000).Draw(t, "s"), rapid.Int64Range(0, 9_999_999).Draw(t, "ticks")*100).UTC()
		zone := time.FixedZone("", rapid.IntRange(-14*60, 14*60).Draw(t, "offset")*60)
		in, err := json.Marshal(want.In(zone).Format("2006-01-02T15:04:05.9999999Z07:00"))
		if err != nil {
			t.Fatal(err)
		}
		var got graph.Time
		if err := json.Unmarshal(in, &got); err != nil || !got.At.Equal(want) || got.At.Location() != time.UTC {
			t.Fatalf("%s: %v, %v", in, got, err)
		}
		out, err := json.Marshal(got)
		if err != nil || string(out) != string(in) {
			t.Fatalf("%s came out as %s (%v)", in, out, err)
		}
		out, err = json.Marshal(graph.Time{At: want})
		if err != nil {
			t.Fatal(err)
		}
		var again graph.Time
		if err := json.Unmarshal(out, &again); err != nil || !again.At.Equal(want) {
			t.Fatalf("%v came out as %s (%v)", want, out, err)
		}
	})
	if b, err := json.Marshal(graph.Time{}); err != nil || string(b) != "null" {
		t.Errorf("the zero time is %s, %v", b, err)
	}
}
