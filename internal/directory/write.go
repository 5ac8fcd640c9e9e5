package directory

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// An Op is what a Change does with its values.
type Op int

// The operations (RFC 4511, 4.6).
const (
	Add     Op = ldap.AddAttribute
	Delete  Op = ldap.DeleteAttribute
	Replace Op = ldap.ReplaceAttribute
)

// A Change is one change of one attribute.
type Change struct {
	Op        Op
	Attribute string
	Values    []string // octets
}

// Swap replaces exactly the old value by the new one: when somebody changed it
// meanwhile, nothing happens and the error is fault.Conflict.
func Swap(attribute, old, new string) []Change {
	return []Change{{Delete, attribute, []string{old}}, {Add, attribute, []string{new}}}
}

// A Modification is a set of changes of one object that happen together or not at
// all.
type Modification struct {
	GUID    string // of the object; it outlives renames and moves
	DC      string // host name of the controller; empty: the preferred one
	Changes []Change
	Secrets []string // texts that no error may show
}

// Modify sends the modification once to one writable controller and returns which
// one it was. The next controller is tried only when nothing can have happened.
// Kinds: Unknown when it may have taken effect, Conflict when a value to be
// replaced is not there any more, Denied without the right, Invalid when the
// directory's rules forbid it, NotFound, and Unavailable when nothing happened and
// another time may do. It never asks the controller to be permissive, so "it was so
// already" is told apart from "done".
func (c *Client) Modify(ctx context.Context, m Modification) (dc string, err error) {
	b, err := GUIDBytes(m.GUID)
	if err != nil {
		return "", fmt.Errorf("modify: %w", err)
	}
	guid, err := GUIDText(b)
	if err != nil {
		return "", fmt.Errorf("modify: %w", err)
	}
	if len(m.Changes) == 0 {
		return "", fault.Errorf(fault.Invalid, "modify: nothing to change")
	}
	r := ldap.NewModifyRequest("<GUID="+guid+">", nil)
	for _, ch := range m.Changes {
		switch ch.Op {
		case Add:
			r.Add(ch.Attribute, ch.Values)
		case Delete:
			r.Delete(ch.Attribute, ch.Values)
		case Replace:
			r.Replace(ch.Attribute, ch.Values)
		default:
			return "", fault.Errorf(fault.Invalid, "modify: operation %d is not one", ch.Op)
		}
	}
	send := func(h *host) error {
		dc = h.name
		return c.on(ctx, h, true, func(ctx context.Context, s *session) error {
			return c.do(ctx, h, s, "modify", true, func(l *ldap.Conn) error { return l.Modify(r) })
		})
	}
	if m.DC != "" {
		err = send(c.host(m.DC))
	} else {
		err = c.first(ctx, send)
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		e.redact(m.Secrets)
	}
	return dc, err
}

// Password returns a password as the attribute unicodePwd takes it: in quotation
// marks, UTF-16 little-endian without a byte-order mark (MS-ADTS 3.1.1.3.1.5.1).
func Password(p []byte) string {
	var b []byte
	for _, c := range utf16.Encode([]rune(`"` + string(p) + `"`)) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return string(b)
}
