package connector_test

import (
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"2022-03-30T14:52:21.7062186Z":   "2022-03-30T14:52:21.7062186Z",
		"8/22/2022 6:07:16 PM":           "2022-08-22T18:07:16Z",
		"12/1/2022 12:00:00 AM":          "2022-12-01T00:00:00Z",
		"2022-09-09T9:59:27.958Z":        "2022-09-09T09:59:27.958Z",
		"2023-10-26T5:32:08.107Z":        "2023-10-26T05:32:08.107Z",
		"2023-10-26T05:32:08+02:00":      "2023-10-26T03:32:08Z",
		"2023-10-26T05:32:08":            "2023-10-26T05:32:08Z",
		"2023-10-26 05:32:08.1":          "2023-10-26T05:32:08.1Z",
		"1648651941706":                  "2022-03-30T14:52:21.706Z",
		" 2023-10-26T05:32:08Z ":         "2023-10-26T05:32:08Z",
		"":                               "0001-01-01T00:00:00Z",
		"0001-01-01T00:00:00Z":           "0001-01-01T00:00:00Z",
		"2023-10-26T05:32:08.123456789Z": "2023-10-26T05:32:08.123456789Z",
	} {
		at, ok := connector.ParseTime(in)
		if got := at.Format(time.RFC3339Nano); !ok || got != want || at.Location() != time.UTC {
			t.Errorf("%q is %s, %v; want %s", in, got, ok, want)
		}
	}
	for _, in := range []string{"yesterday", "2023-10-26T25:00:00Z", "2023-10-26T05:32:08,5Z", "13/13/2022 6:07:16 PM", "12", "-1648651941706", "2023-10-26T:32:08Z"} {
		if at, ok := connector.ParseTime(in); ok {
			t.Errorf("%q is taken for %s", in, at)
		}
	}
}
