package directory

import (
	"encoding/binary"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// An ACE is one entry of a discretionary access control list that allows or denies
// something to a SID.
type ACE struct {
	Allow bool
	// Mask is the access mask (MS-DTYP 2.4.3, MS-ADTS 5.1.3.2).
	Mask uint32
	// Type is the GUID of the property, property set, extended right or class that it
	// is about; "" is all of them.
	Type string
	// Inherited is the class that it is inherited by; "" is all.
	Inherited string
	// Flags are the header's: 0x8 means that it does not hold for the object itself.
	Flags byte
	SID   string
}

// The bits of a Mask that name rights in a directory.
const (
	RightControl  = 0x100      // an extended right, named by Type
	RightWriteDAC = 0x40000    // change the list itself
	RightGeneric  = 0x10000000 // everything
)

// ForChildren is the flag of an entry that holds for objects below and not for the
// object itself.
const ForChildren = 0x8

// DACL reads the discretionary access control list of a self-relative security
// descriptor (MS-DTYP 2.4.6, 2.4.5, 2.4.4). Entries that neither allow nor deny
// are left out. A descriptor without such a list, or one whose parts lie outside
// of it, is fault.Invalid.
func DACL(b []byte) ([]ACE, error) {
	bad := func(what string) ([]ACE, error) {
		return nil, fault.Errorf(fault.Invalid, "a security descriptor of %d bytes: %s", len(b), what)
	}
	if len(b) < 20 || b[0] != 1 {
		return bad("it is none")
	}
	at := int64(binary.LittleEndian.Uint32(b[16:]))
	if at == 0 {
		return bad("it holds no discretionary list")
	}
	if at < 20 || at+8 > int64(len(b)) {
		return bad("its list lies outside of it")
	}
	acl := b[at:]
	size, count := int(binary.LittleEndian.Uint16(acl[2:])), int(binary.LittleEndian.Uint16(acl[4:]))
	if size < 8 || size > len(acl) {
		return bad("its list is cut off")
	}
	acl = acl[8:size]
	var out []ACE
	for range count {
		if len(acl) < 8 {
			return bad("an entry is cut off")
		}
		n := int(binary.LittleEndian.Uint16(acl[2:]))
		if n < 8 || n > len(acl) {
			return bad("an entry is longer than the list")
		}
		e, ok, err := entryOf(acl[:n])
		if err != nil {
			return bad(err.Error())
		}
		if ok {
			out = append(out, e)
		}
		acl = acl[n:]
	}
	return out, nil
}

// The types of entries: MS-DTYP 2.4.4.1.
const (
	aceAllow       = 0
	aceDeny        = 1
	aceAllowObject = 5
	aceDenyObject  = 6
)

func entryOf(b []byte) (e ACE, ok bool, err error) {
	e = ACE{Allow: b[0] == aceAllow || b[0] == aceAllowObject, Flags: b[1], Mask: binary.LittleEndian.Uint32(b[4:])}
	rest := b[8:]
	switch b[0] {
	case aceAllow, aceDeny:
	case aceAllowObject, aceDenyObject:
		if len(rest) < 4 {
			return e, false, fault.Errorf(fault.Invalid, "an entry is cut off")
		}
		has := binary.LittleEndian.Uint32(rest)
		rest = rest[4:]
		for bit, to := range []*string{&e.Type, &e.Inherited} {
			if has&(1<<bit) == 0 {
				continue
			}
			if len(rest) < 16 {
				return e, false, fault.Errorf(fault.Invalid, "an entry is cut off")
			}
			if *to, err = GUIDText(rest[:16]); err != nil {
				return e, false, err
			}
			rest = rest[16:]
		}
	default:
		return e, false, nil
	}
	if len(rest) < 8 || len(rest) < 8+4*int(rest[1]) {
		return e, false, fault.Errorf(fault.Invalid, "an entry's SID is cut off")
	}
	e.SID, err = SIDText(rest[:8+4*int(rest[1])])
	return e, err == nil, err
}
