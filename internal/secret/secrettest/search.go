package secrettest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"unicode/utf16"
)

// A Search looks for secrets byte by byte, in every form that each could be written
// in: as it is, escaped, encoded, as a part of something longer that was encoded, in
// the other width.
type Search struct{ needles []needle }

type needle struct {
	what string // "secret 3, base64 at 1": the secret itself stays out of messages
	form []byte
}

// NewSearch makes a search for the secrets.
func NewSearch(secrets []string) *Search {
	s := &Search{}
	for n, secret := range secrets {
		all := forms(secret)
		for _, how := range slices.Sorted(maps.Keys(all)) {
			s.needles = append(s.needles, needle{fmt.Sprintf("secret %d, %s", n, how), all[how]})
		}
	}
	return s
}

// In returns which secrets the text holds, and how they are written there.
func (s *Search) In(text []byte) (found []string) {
	for _, n := range s.needles {
		if bytes.Contains(text, n.form) {
			found = append(found, n.what)
		}
	}
	return found
}

func forms(s string) map[string][]byte {
	out := map[string][]byte{
		"plain": []byte(s), "in a URL": []byte(url.QueryEscape(s)), "in a path": []byte(url.PathEscape(s)), "hex": []byte(hex.EncodeToString([]byte(s))),
	}
	if q, err := json.Marshal(s); err == nil {
		out["JSON"] = bytes.Trim(q, `"`)
	}
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	if e.Encode(s) == nil {
		out["JSON, unescaped"] = bytes.Trim(plain.Bytes(), "\"\n")
	}
	for _, u := range utf16.Encode([]rune(s)) {
		out["UTF-16LE"] = append(out["UTF-16LE"], byte(u), byte(u>>8))
	}
	for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
		for pad := range 3 { // at each place of a group of three; the ends depend on neighbours
			t := enc.EncodeToString(append(make([]byte, pad), s...))
			from := (pad*8 + 5) / 6
			to := (pad + len(s)) * 8 / 6
			out[fmt.Sprint(name, " at ", pad)] = []byte(t[from:to])
		}
	}
	return out
}
