package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// leafHeader begins every leaf. The format is fixed: a reader of any later
// version reads it.
const leafHeader = "cordon.audit/v1"

// A Leaf is what the log holds of an entry: nothing personal, only a salted
// commitment to it. Its bytes are five lines of text.
type Leaf struct {
	ID         string
	Tenant     string
	At         time.Time // UTC, nanoseconds
	Kind       Kind
	Commitment [sha256.Size]byte // HMAC-SHA-256 of the payload under the salt
}

// Canonical returns the payload that a leaf commits to: the entry as JSON with
// sorted keys, no insignificant space and times in UTC.
func (e Entry) Canonical() ([]byte, error) {
	e.At = e.At.UTC()
	b, err := json.Marshal(e) // struct order is fixed and map keys are sorted
	if err != nil {
		return nil, fmt.Errorf("audit entry %s: %w", e.Kind, err)
	}
	return b, nil
}

// Commit returns the commitment to a payload. With the salt erased it says
// nothing about the payload; with both it proves it.
func Commit(payload, salt []byte) [sha256.Size]byte {
	m := hmac.New(sha256.New, salt)
	m.Write(payload)
	return [sha256.Size]byte(m.Sum(nil))
}

// NewLeaf returns the leaf of a record whose payload is not erased.
func NewLeaf(r Record) (Leaf, error) {
	var e Entry
	if err := json.Unmarshal(r.Payload, &e); err != nil {
		return Leaf{}, fmt.Errorf("audit record %s: %w", r.ID, err)
	}
	if len(r.Salt) != SaltSize {
		return Leaf{}, fault.Errorf(fault.Invalid, "audit record %s: its salt has %d bytes, not %d", r.ID, len(r.Salt), SaltSize)
	}
	return Leaf{ID: r.ID, Tenant: string(e.Tenant), At: e.At.UTC(), Kind: e.Kind, Commitment: Commit(r.Payload, r.Salt)}, nil
}

// Marshal returns the leaf's bytes.
func (l Leaf) Marshal() []byte {
	return fmt.Appendf(nil, "%s\n%s %s\n%s\n%s\n%s\n", leafHeader, l.ID, line(l.Tenant),
		l.At.UTC().Format(time.RFC3339Nano), line(string(l.Kind)), base64.StdEncoding.EncodeToString(l.Commitment[:]))
}

// line keeps a value on its line; neither tenants nor kinds contain such bytes.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return '_'
		}
		return r
	}, s)
}

// ParseLeaf reads what Marshal wrote; anything else is fault.Invalid.
func ParseLeaf(b []byte) (Leaf, error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) != 6 || lines[5] != "" || lines[0] != leafHeader {
		return Leaf{}, fault.Errorf(fault.Invalid, "audit leaf: not in the format %s", leafHeader)
	}
	id, tenant, ok := strings.Cut(lines[1], " ")
	at, err := time.Parse(time.RFC3339Nano, lines[2])
	sum, err2 := base64.StdEncoding.DecodeString(lines[4])
	if !ok || err != nil || err2 != nil || len(sum) != sha256.Size {
		return Leaf{}, fault.Errorf(fault.Invalid, "audit leaf %.40q: malformed", lines[1])
	}
	l := Leaf{ID: id, Tenant: tenant, At: at.UTC(), Kind: Kind(lines[3]), Commitment: [sha256.Size]byte(sum)}
	if !bytes.Equal(l.Marshal(), b) {
		return Leaf{}, fault.Errorf(fault.Invalid, "audit leaf %s: not in canonical form", id)
	}
	return l, nil
}
