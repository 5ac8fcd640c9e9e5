package graphfile_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector/graphfile"
)

func read(t testing.TB, text string) (objects, reasons []string) {
	t.Helper()
	for r, err := range graphfile.Records(strings.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Reason != "" {
			reasons = append(reasons, r.Reason)
			continue
		}
		objects = append(objects, string(r.Raw))
	}
	return objects, reasons
}

func TestRecords(t *testing.T) {
	t.Parallel()
	a, b := `{"id":"a","s":"}]{\"value\":["}`, `{"id":"b","value":[{"x":1}]}`
	tests := map[string]struct {
		in      string
		want    []string
		reasons []string
	}{
		"one object":          {in: a, want: []string{a}},
		"an array":            {in: "[" + a + ",\n" + b + "]", want: []string{a, b}},
		"a collection":        {in: `{"@odata.context":"https://x/$metadata#y","value":[` + a + "," + b + `],"@odata.nextLink":"https://x/}]"}`, want: []string{a, b}},
		"an empty collection": {in: `{"value":[]}`},
		"JSON Lines":          {in: a + "\n" + b + "\r\n\n" + a, want: []string{a, `{"x":1}`, a}}, // b is itself a collection
		"byte-order mark":     {in: "\xef\xbb\xbf" + a, want: []string{a}},
		"nothing":             {in: " \n"},
		"cut short":           {in: `[` + a + `,{"id":`, want: []string{a}, reasons: []string{"the file ends inside an object", "the file ends inside an array"}},
		"not JSON at all":     {in: "hello\n" + a, want: []string{a}, reasons: []string{"neither an object nor an array"}},
		"a bad element":       {in: "[7,\n" + a + "]", want: []string{a}, reasons: []string{"an element that is no object"}},
		"elements on a line":  {in: `[7,` + a + `,"x",[1,{"y":2}],null}` + "," + b + "]", want: []string{a, b}, reasons: []string{"an element that is no object", "an element that is no object", "an element that is no object", "an element that is no object", "an element that is no object"}},
		"a stream's message":  {in: `{"records":[` + a + `]}` + "\n" + `{"schema":[{"name":"x"}],"results":[` + b + `]}`, want: []string{a, b}},
		"invalid inside":      {in: `{"id":x}` + "\n" + a, want: []string{a}, reasons: []string{"not valid JSON"}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, reasons := read(t, c.in)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.reasons, reasons); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPublishedExamplesAreSplit(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	files, err := filepath.Glob(filepath.Join(shared, "data/graph-examples/*-list-*res*.json"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var want struct{ Value []json.RawMessage }
		if json.Unmarshal(text, &want) != nil || want.Value == nil {
			continue
		}
		if got, reasons := read(t, string(text)); len(got) != len(want.Value) || len(reasons) > 0 {
			t.Errorf("%s: %d records, want %d; %q", filepath.Base(f), len(got), len(want.Value), reasons)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(`{"@odata.context":"x","value":[{"a":1},{"b":"\"}"}]}`)
	f.Add("{\"a\":1}\n{\"b\":")
	f.Fuzz(func(t *testing.T, in string) {
		objects, _ := read(t, in)
		for _, o := range objects {
			if !json.Valid([]byte(o)) {
				t.Errorf("%q came out as an object", o)
			}
		}
	})
}
