package graph

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A Time is a timestamp as Graph sends it. At is UTC, and zero when Graph says
// "none": null, an empty string, or its own zero, 0001-01-01. Raw is the text
// as received; when it is no timestamp, At is zero and Malformed reports true,
// and the text is still there to be shown.
type Time struct {
	At  time.Time
	Raw string
}

// ParseTime reads a Graph timestamp: RFC 3339 with 0 to 7 (accepted: 9)
// fraction digits and Z or an offset. A text without either is taken as UTC,
// which is how Graph writes the date inside an error. "" and 0001-01-01 are
// the zero time. The result is UTC; a malformed text is fault.Invalid.
func ParseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if len(s) > 64 {
		return time.Time{}, fault.Errorf(fault.Invalid, "timestamp %q: too long", clean(s, 64))
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		at, err = time.ParseInLocation("2006-01-02T15:04:05.999999999", s, time.UTC)
	}
	if err != nil || strings.Contains(s, ",") { // package time also takes a comma
		return time.Time{}, fault.Errorf(fault.Invalid, "timestamp %q: not of the form 2006-01-02T15:04:05Z", clean(s, 64))
	}
	if at = at.UTC(); at.Year() <= 1 {
		return time.Time{}, nil
	}
	return at, nil
}

// UnmarshalJSON accepts anything: a timestamp that cannot be read must not
// cost the object it is in.
func (t *Time) UnmarshalJSON(b []byte) error {
	*t = Time{}
	if string(b) == "null" {
		return nil
	}
	if json.Unmarshal(b, &t.Raw) != nil {
		t.Raw = string(b)
		return nil
	}
	t.At, _ = ParseTime(t.Raw)
	return nil
}

// MarshalJSON writes the text as it was received.
func (t Time) MarshalJSON() ([]byte, error) {
	switch {
	case t.Raw != "":
		return json.Marshal(t.Raw)
	case t.At.IsZero():
		return []byte("null"), nil
	}
	return json.Marshal(t.At.UTC().Format(time.RFC3339Nano))
}

// Malformed reports whether Graph sent something that is not a timestamp.
func (t Time) Malformed() bool {
	_, err := ParseTime(t.Raw)
	return err != nil
}
