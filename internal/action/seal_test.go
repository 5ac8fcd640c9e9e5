package action

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

func TestSealOpensOnlyForItsOwn(t *testing.T) {
	t.Parallel()
	public, private, err := NewSealKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := NewSealKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := Seal(public, "t1", "act_1", []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("horse")) {
		t.Fatal("the secret is in the ciphertext")
	}
	got, err := OpenSealed(private, "t1", "act_1", sealed)
	if err != nil || string(got) != "correct horse" {
		t.Fatalf("opened to %q, %v", got, err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another key":     func() ([]byte, error) { return OpenSealed(other, "t1", "act_1", sealed) },
		"another tenant":  func() ([]byte, error) { return OpenSealed(private, "t2", "act_1", sealed) },
		"another action":  func() ([]byte, error) { return OpenSealed(private, "t1", "act_2", sealed) },
		"changed":         func() ([]byte, error) { return OpenSealed(private, "t1", "act_1", changed) },
		"cut":             func() ([]byte, error) { return OpenSealed(private, "t1", "act_1", sealed[:10]) },
		"not base64":      func() ([]byte, error) { return OpenSealed("?!", "t1", "act_1", sealed) },
		"a short key":     func() ([]byte, error) { return OpenSealed("AAAA", "t1", "act_1", sealed) },
		"no public key":   func() ([]byte, error) { return Seal("", "t1", "act_1", nil) },
		"a broken public": func() ([]byte, error) { return Seal("@", "t1", "act_1", nil) },
	} {
		if out, err := open(); !errors.Is(err, fault.Invalid) || out != nil {
			t.Errorf("%s: got %q, %v; want fault.Invalid", name, out, err)
		}
	}
}
