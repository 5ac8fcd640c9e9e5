// Package secret keeps secrets out of configuration files: a setting names
// where the secret is, and the value is read at the moment it is used.
//
// It holds no secret between two reads, so a rotated file or variable is seen
// at the next use without a restart.
package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// maxSize bounds what Read takes from a file, in bytes. Keys, passwords and
// tokens are far below it; a path given by mistake should not fill the memory.
const maxSize = 64 << 10

// hidden stands for a Ref that is not a reference: its text may be a password
// that somebody pasted into the wrong place.
const hidden = "(inline value, not shown)"

// A Ref says where a secret is: "env:NAME" for an environment variable,
// "file:PATH" for a file. The empty Ref is a setting that was not given.
//
// Printing, logging or encoding a Ref shows the reference when it is one and a
// fixed text when it is not, so a secret pasted inline does not leak while it
// is being refused.
type Ref string

// Check returns fault.Invalid when r is not a reference. It does not look
// whether the variable or file exists: a configuration can be checked on a
// machine that has no secrets.
func (r Ref) Check() error {
	_, _, err := r.split()
	return err
}

// Read returns the secret as it is now, without surrounding line ends. A
// missing, empty or oversized secret is fault.Invalid; no error contains any
// part of the content.
func (r Ref) Read() (string, error) {
	scheme, where, err := r.split()
	if err != nil {
		return "", err
	}
	if scheme == "env" {
		v, ok := os.LookupEnv(where)
		if !ok {
			return "", fault.Errorf(fault.Invalid, "secret %s: the environment variable is not set", r)
		}
		return r.trim(v)
	}
	f, err := os.Open(where)
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "secret %s: %w", r, cause(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "secret %s: %w", r, cause(err))
	}
	if len(b) > maxSize {
		return "", fault.Errorf(fault.Invalid, "secret %s: larger than %d bytes: is this the right file?", r, maxSize)
	}
	return r.trim(string(b))
}

func (r Ref) trim(v string) (string, error) {
	// Editors and `echo` end a file with a line feed; no secret of ours does.
	v = strings.Trim(v, "\r\n")
	if v == "" {
		return "", fault.Errorf(fault.Invalid, "secret %s: empty", r)
	}
	return v, nil
}

func (r Ref) split() (scheme, where string, err error) {
	if r == "" {
		return "", "", fault.Errorf(fault.Invalid, "no secret given: write env:NAME or file:PATH")
	}
	scheme, where, ok := strings.Cut(string(r), ":")
	switch {
	case ok && scheme == "env":
		if !isName(where) {
			// The name is not repeated: it may be half a password.
			return "", "", fault.Errorf(fault.Invalid, "secret env:…: not the name of an environment variable (letters, digits and _)")
		}
	case ok && scheme == "file":
		if where == "" || strings.ContainsFunc(where, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return "", "", fault.Errorf(fault.Invalid, "secret file:…: not a path")
		}
	default:
		return "", "", fault.Errorf(fault.Invalid, "a secret is given by reference, env:NAME or file:PATH; an inline value is refused")
	}
	return scheme, where, nil
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// cause drops the path from a file error: it is in the reference already.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// String returns the reference, or a fixed text when r is not one.
func (r Ref) String() string {
	if r == "" {
		return ""
	}
	if r.Check() != nil {
		return hidden
	}
	return string(r)
}

// Format covers the verbs that would print a string as it is (%d, %#v).
func (r Ref) Format(f fmt.State, verb rune) {
	if verb == 'q' || verb == 'v' && f.Flag('#') {
		fmt.Fprintf(f, "%q", r.String())
		return
	}
	io.WriteString(f, r.String())
}

// LogValue is String for log/slog.
func (r Ref) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText is String for encoding/json and YAML.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
