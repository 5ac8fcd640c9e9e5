package store

import (
	"encoding/base64"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// FuzzCursor reads cursors as a stranger may send them: what is not ours is
// fault.Invalid, what is read is written back the same.
func FuzzCursor(f *testing.F) {
	for _, text := range []string{`[1,"a"]`, `[]`, `["a",1]`, `null`, `[1,"a",2]`, `[1.5,"a"]`, `[9223372036854775808,""]`, `[null,null]`, `{`} {
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(text)))
	}
	f.Add("!!")
	l := &listing{order: []orderBy{{column: "n"}, {column: "id", text: true}}}
	f.Fuzz(func(t *testing.T, s string) {
		keys, err := l.parse(s)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("got %v", err)
			}
			return
		}
		again, err := l.parse(cursor(keys))
		if err != nil {
			t.Fatalf("%v is written as a cursor that is not read: %v", keys, err)
		}
		if d := cmp.Diff(keys, again); d != "" {
			t.Error(d)
		}
	})
}

func TestRebind(t *testing.T) {
	t.Parallel()
	if got, want := rebind("a = ? AND b IN (?, ?) AND c = 'é'"), "a = $1 AND b IN ($2, $3) AND c = 'é'"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
