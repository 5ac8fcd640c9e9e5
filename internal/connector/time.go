package connector

import (
	"strconv"
	"strings"
	"time"
)

// layouts are the forms of time that pushed records carry besides RFC 3339, each
// seen in a record as it was delivered: no zone, one digit for the hour, and the
// American form of the risk categories, which is UTC.
var layouts = [...]string{
	time.RFC3339Nano,
	"2006-01-02T15:04:05.999999999",
	"2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05.999999999Z07:00",
	"1/2/2006 3:04:05 PM",
	"1/2/2006 15:04:05",
	"1/2/2006 3:04:05 PM -07:00",
}

// ParseTime reads a time as streams and exports write it: RFC 3339 with 0 to 9
// digits of a fraction, with or without a zone, its hour of one digit or two; month,
// day and year with slashes and AM or PM; or milliseconds since 1970. What has no
// zone is UTC, and so is the result. Empty, "null" and year 1 are the zero time; ok
// is false for what is no time.
func ParseTime(s string) (at time.Time, ok bool) {
	s = strings.TrimSpace(s)
	if s == "" || s == "null" {
		return time.Time{}, true
	}
	if len(s) > 64 || strings.Contains(s, ",") { // package time also takes a comma
		return time.Time{}, false
	}
	if n := strings.IndexAny(s, "T "); n == len("2006-01-02") && len(s) > n+2 && s[n+2] == ':' {
		s = s[:n+1] + "0" + s[n+1:]
	}
	for _, l := range layouts {
		if at, err := time.Parse(l, s); err == nil {
			return plain(at), true
		}
	}
	// Thirteen digits: from 2001 to 2286.
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) == 13 && ms > 0 {
		return time.UnixMilli(ms).UTC(), true
	}
	return time.Time{}, false
}

// plain is at in UTC; sources write year 1 for "none".
func plain(at time.Time) time.Time {
	if at = at.UTC(); at.Year() <= 1 {
		return time.Time{}
	}
	return at
}
