package activedirectory

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

// FuzzKeyCredential reads what may stand in msDS-KeyCredentialLink: anybody who may
// write the attribute says what.
func FuzzKeyCredential(f *testing.F) {
	f.Add([]byte("B:8:00020000:CN=a,DC=corp,DC=example"))
	f.Add([]byte("B:38:00020000080009008A8F3B1E4ADA010100040100:CN=a"))
	f.Add([]byte("B:14:00020000FFFF09:CN=a"))
	f.Add([]byte("B:-1::"))
	f.Fuzz(func(t *testing.T, v []byte) {
		_, err := parseKey(v)
		text := keysText([][]byte{v})
		if odd := strings.Contains(text, "of no known form"); odd != (err != nil) {
			t.Fatalf("%q: error %v, said %q", v, err, text)
		}
		if !strings.HasPrefix(text, "one key credential") || bytes.ContainsAny([]byte(text), "\n\x00") {
			t.Fatalf("said %q", text)
		}
	})
}

func TestKeyCredentialTellsItsTime(t *testing.T) {
	t.Parallel()
	// Version, usage 1, and a creation time of 133,500,000,000,000,000 (2024-01-17 05:20 UTC).
	blob := "00020000" + "01000401" + "080009" + "00C0CA9B1249DA01"
	v := []byte("B:" + strconv.Itoa(len(blob)) + ":" + blob + ":CN=a,DC=corp,DC=example")
	k, err := parseKey(v)
	if err != nil || k.usage != 1 || k.created.IsZero() {
		t.Fatalf("%+v, %v", k, err)
	}
	if got := keysText([][]byte{v, []byte("?")}); !strings.Contains(got, "2 key credentials, the last made at 20") || !strings.Contains(got, "1 of no known form") {
		t.Errorf("said %q", got)
	}
	if got := keysText(nil); got != "no key credentials" {
		t.Errorf("said %q", got)
	}
}
