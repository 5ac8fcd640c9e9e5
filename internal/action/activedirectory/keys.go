package activedirectory

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A keyCredential is what is shown of one value of msDS-KeyCredentialLink.
type keyCredential struct {
	usage   byte      // 1: sign-in (NGC)
	created time.Time // zero when the value does not say
}

// parseKey reads a value: "B:<n>:<hex digits>:<DN>" (MS-ADTS 3.1.1.1.6, DN-Binary)
// around a KEYCREDENTIALLINK_BLOB (MS-ADTS 2.2.20). Anything else is fault.Invalid.
func parseKey(v []byte) (keyCredential, error) {
	bad := func(why string) (keyCredential, error) {
		return keyCredential{}, fault.Errorf(fault.Invalid, "key credential: %s", why)
	}
	parts := strings.SplitN(string(v), ":", 4)
	if len(parts) != 4 || parts[0] != "B" {
		return bad("no DN with binary")
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil || n != len(parts[2]) {
		return bad("its length is another")
	}
	blob, err := hex.DecodeString(parts[2])
	if err != nil || len(blob) < 4 || binary.LittleEndian.Uint32(blob) != 0x200 {
		return bad("no key credential of version 2")
	}
	var k keyCredential
	for blob = blob[4:]; len(blob) > 0; {
		if len(blob) < 3 || len(blob) < 3+int(binary.LittleEndian.Uint16(blob)) {
			return bad("it is cut")
		}
		size, kind := int(binary.LittleEndian.Uint16(blob)), blob[2]
		value := blob[3 : 3+size]
		blob = blob[3+size:]
		switch {
		case kind == 4 && size == 1: // KeyUsage
			k.usage = value[0]
		case kind == 9 && size == 8: // KeyCreationTime
			k.created = fileTime(int64(min(binary.LittleEndian.Uint64(value), 1<<62)))
		}
	}
	return k, nil
}

// keysText says how many keys there are and when the last one was made.
func keysText(list [][]byte) string {
	var last time.Time
	odd := 0
	for _, v := range list {
		k, err := parseKey(v)
		if err != nil {
			odd++
		} else if k.created.After(last) {
			last = k.created
		}
	}
	text := "no key credentials"
	switch len(list) {
	case 0:
		return text
	case 1:
		text = "one key credential"
	default:
		text = fmt.Sprintf("%d key credentials", len(list))
	}
	if !last.IsZero() {
		text += ", the last made at " + last.Format("2006-01-02 15:04:05") + " UTC"
	}
	if odd > 0 {
		text += fmt.Sprintf(", %d of no known form", odd)
	}
	return text
}
