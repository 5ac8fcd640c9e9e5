package directory

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// SIDText returns a binary security identifier in its text form, S-1-5-21-…
// Revision, count, a 48-bit authority in big-endian and then little-endian 32-bit
// parts (MS-DTYP 2.4.2.2). Anything else is fault.Invalid.
func SIDText(b []byte) (string, error) {
	if len(b) < 8 || b[0] != 1 || int(b[1]) > 15 || len(b) != 8+4*int(b[1]) {
		return "", fault.Errorf(fault.Invalid, "%d bytes are not a security identifier", len(b))
	}
	authority := uint64(binary.BigEndian.Uint16(b[2:]))<<32 | uint64(binary.BigEndian.Uint32(b[4:]))
	s := fmt.Sprintf("S-1-%d", authority)
	if authority >= 1<<32 {
		s = fmt.Sprintf("S-1-0x%012x", authority)
	}
	for n := range int(b[1]) {
		s += "-" + strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b[8+4*n:])), 10)
	}
	return s, nil
}

// SIDBytes is the reverse of SIDText.
func SIDBytes(s string) ([]byte, error) {
	bad := func() ([]byte, error) {
		return nil, fault.Errorf(fault.Invalid, "%q is not a security identifier", clean(s, 100))
	}
	parts := strings.Split(strings.ToUpper(strings.TrimSpace(s)), "-")
	if len(parts) < 3 || len(parts) > 18 || parts[0] != "S" || parts[1] != "1" {
		return bad()
	}
	authority, err := number(parts[2], 48)
	if err != nil {
		return bad()
	}
	b := binary.BigEndian.AppendUint64(nil, authority)
	b[0], b[1] = 1, byte(len(parts)-3)
	for _, p := range parts[3:] {
		n, err := number(p, 32)
		if err != nil || strings.HasPrefix(p, "0X") {
			return bad()
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return b, nil
}

// number reads what a SID is made of: digits, or 0x and digits for an authority.
func number(s string, bits int) (uint64, error) {
	if x, ok := strings.CutPrefix(s, "0X"); ok && x != "" {
		return strconv.ParseUint(x, 16, bits)
	}
	if s == "" || s[0] == '+' || len(s) > 1 && s[0] == '0' {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(s, 10, bits)
}

// GUIDText returns an objectGUID in its text form, lower case with dashes: the
// first three fields are little-endian (MS-DTYP 2.3.4.2).
func GUIDText(b []byte) (string, error) {
	if len(b) != 16 {
		return "", fault.Errorf(fault.Invalid, "%d bytes are not a GUID", len(b))
	}
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:]), nil
}

// GUIDBytes is the reverse of GUIDText; braces and upper case are taken too.
func GUIDBytes(s string) ([]byte, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	if strings.HasPrefix(t, "{") && strings.HasSuffix(t, "}") {
		t = t[1 : len(t)-1]
	}
	if len(t) != 36 || t[8] != '-' || t[13] != '-' || t[18] != '-' || t[23] != '-' {
		return nil, fault.Errorf(fault.Invalid, "%q is not a GUID", clean(s, 100))
	}
	b, err := hex.DecodeString(t[:8] + t[9:13] + t[14:18] + t[19:23] + t[24:])
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "%q is not a GUID", clean(s, 100))
	}
	b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0]
	b[4], b[5] = b[5], b[4]
	b[6], b[7] = b[7], b[6]
	return b, nil
}

// bytesFilter writes (attribute=\xx\xx…).
func bytesFilter(attribute string, b []byte) string {
	var s strings.Builder
	s.WriteString("(" + attribute + "=")
	for _, c := range b {
		fmt.Fprintf(&s, `\%02x`, c)
	}
	return s.String() + ")"
}

// textFilter writes (attribute=value) with the value escaped (RFC 4515).
func textFilter(attribute, value string) string {
	return "(" + attribute + "=" + ldap.EscapeFilter(value) + ")"
}

// Escape returns a text as the value of a filter (RFC 4515).
func Escape(value string) string { return ldap.EscapeFilter(value) }

// Bytes returns octets as the value of a filter.
func Bytes(b []byte) string {
	f := bytesFilter("", b)
	return f[2 : len(f)-1]
}
