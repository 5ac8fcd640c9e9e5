// Package cef reads what sensors of Microsoft Defender for Identity, and of its
// predecessor ATA, send by syslog: CEF lines inside RFC 5424 or RFC 3164, from files
// and live over TCP, TLS and UDP. A line names nobody by a strong identifier, so it
// becomes a record of the alert and not a signal: the alert itself comes from Graph or
// from the streaming API under the same id. It keeps raw lines and does not store.
//
// The form of the lines: Microsoft Learn, "Defender for Identity SIEM log reference"
// (February 2025), and the same page of January 2023, which still shows the mark.
package cef

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-f47efad2/cordon/internal/connector"
)

// A Line is one line, read. What it does not say is empty.
type Line struct {
	Host string    // of the sensor, as the header of syslog says
	Sent time.Time // when the line was sent, UTC

	Vendor, Product, Version string
	Class                    string // the alert's type, such as AccountEnumerationSecurityAlert
	Name                     string // title
	Severity                 string // 3 low, 5 medium, 10 high
	Extension                map[string]string
}

// start finds where CEF begins. Sensors put "0|" behind APP-NAME "CEF" and the mark of
// UTF-8, others "CEF:0|"; published lines have lost even the 0. The mark itself
// arrives mangled as often as not, so it is not looked for.
var start = regexp.MustCompile(`(?:CEF:\s*)?(?:\d)?\|Microsoft\|[^|]{1,64}\|`)

// generic finds the beginning of CEF of anybody else.
var generic = regexp.MustCompile(`CEF:\s*\d\|`)

// Parse reads a line. reason says why it is none; what can be read of a line that is
// cut short or malformed is read.
func Parse(text string) (l Line, reason string) {
	text = strings.TrimRight(text, "\r\n\x00 ")
	at := start.FindStringIndex(text)
	if at == nil {
		at = generic.FindStringIndex(text)
	}
	if at == nil {
		return Line{}, "not a line of CEF: there is no |Microsoft|product| in it"
	}
	l.header(strings.ToValidUTF8(text[:at[0]], " "))
	// The text before the first bar is the version; its absence changes nothing.
	_, rest, _ := strings.Cut(text[at[0]:], "|")
	var fields []string
	for len(fields) < 6 {
		field, after, ok := cutHeader(rest)
		fields = append(fields, unescape(field, `|\`))
		if rest = after; !ok {
			break
		}
	}
	if len(fields) < 6 {
		return l, "a line of CEF that ends inside its header"
	}
	l.Vendor, l.Product, l.Version, l.Class = fields[0], fields[1], fields[2], fields[3]
	l.Name, l.Severity = strings.Trim(fields[4], " *"), strings.TrimSpace(fields[5])
	l.Extension = extension(rest)
	return l, ""
}

// cutHeader cuts at the first bar that is not escaped.
func cutHeader(s string) (field, rest string, ok bool) {
	for n := 0; n < len(s); n++ {
		switch s[n] {
		case '\\':
			n++
		case '|':
			return s[:n], s[n+1:], true
		}
	}
	return s, "", false
}

// key finds the keys that these products send. A value may hold blanks and "=", so
// only a known key, or one of CEF's custom ones, ends the value before it.
var key = regexp.MustCompile(`(?:^|\s)(start|end|app|suser|duser|shost|dhost|src|dst|outcome|msg|cnt|externalId|request|reason|act|cat|cs[1-6](?:Label)?|cn[1-3](?:Label)?|rt|deviceExternalId|dvchost)=`)

// extension reads the pairs. The message is free text and may hold what looks like a
// pair: a key that stood before the message is none behind it, and of one that stands
// behind it several times the last is.
func extension(text string) map[string]string {
	at := key.FindAllStringSubmatchIndex(text, -1)
	name := func(m []int) string { return text[m[2]:m[3]] }
	message := slices.IndexFunc(at, func(m []int) bool { return name(m) == "msg" })
	last := map[string]int{}
	for n, m := range at {
		if old, twice := last[name(m)]; !twice || message >= 0 && old > message {
			last[name(m)] = n
		}
	}
	at = slices.Collect(func(yield func([]int) bool) {
		for n, m := range at {
			if last[name(m)] == n && !yield(m) {
				return
			}
		}
	})
	out := map[string]string{}
	for n, m := range at {
		end := len(text)
		if n+1 < len(at) {
			end = at[n+1][0]
		}
		value := unescape(strings.TrimSpace(text[m[1]:end]), `=\:|`)
		if name(m) == "msg" || name(m) == "reason" {
			value = strings.NewReplacer(`\r`, "", `\n`, "\n").Replace(value)
		}
		out[name(m)] = value
	}
	return out
}

// unescape takes the backslash off what may be escaped: CEF escapes "=" and "\" in
// values, "|" and "\" in the header, and sensors escape the colon of an address too.
// Other backslashes are what they are: one divides a domain from a name.
func unescape(s, special string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for n := 0; n < len(s); n++ {
		if s[n] == '\\' && n+1 < len(s) && strings.IndexByte(special, s[n+1]) >= 0 {
			n++
		}
		b.WriteByte(s[n])
	}
	return b.String()
}

// The stamps in front of a line: RFC 5424's, and RFC 3164's, which has no year.
var (
	stamp5424 = regexp.MustCompile(`(\d{4}-\d{2}-\d{2}T\d{1,2}:\d{2}:\d{2}\S*)\s+(\S+)`)
	stamp3164 = regexp.MustCompile(`([A-Z][a-z]{2} [ 0-3]?\d \d{2}:\d{2}:\d{2})\s+(\S+)`)
)

// header reads when and by whom the line was sent, as far as what is in front of CEF
// says so. A stamp without a year is kept without a time: the alert has its own.
func (l *Line) header(text string) {
	if m := stamp5424.FindStringSubmatch(text); m != nil {
		l.Sent, _ = connector.ParseTime(m[1])
		l.Host = m[2]
		return
	}
	if m := stamp3164.FindStringSubmatch(text); m != nil {
		l.Host = m[2]
	}
}

// link finds the alert's id in its address: "aa" and a GUID in Microsoft Defender, the
// GUID alone in older portals.
var link = regexp.MustCompile(`(?i)/(?:alerts|securityAlert|suspiciousActivity)/([0-9a-z][0-9a-z-]{7,80})`)

// URL is the alert's page, from the custom string that is labelled so.
func (l Line) URL() string { return l.labelled("url") }

// labelled returns the custom string with the label.
func (l Line) labelled(label string) string {
	for _, n := range []string{"cs1", "cs2", "cs3", "cs4", "cs5", "cs6"} {
		if strings.EqualFold(l.Extension[n+"Label"], label) {
			return l.Extension[n]
		}
	}
	return ""
}

// AlertID is the id under which Graph and the streaming API tell of the alert: Graph's
// ids of Defender for Identity are "aa" and the sensor's GUID. Empty when the line does
// not say it.
func (l Line) AlertID() string {
	m := link.FindStringSubmatch(l.URL())
	if m == nil {
		return ""
	}
	id := strings.ToLower(m[1])
	if l.Product == "Azure ATP" && guid.MatchString(id) {
		id = "aa" + id
	}
	return id
}

var guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// Health reports whether the line is about the sensors and not about an attack: ids of
// health issues have the form 1xxx, but for 1106, an alert.
func (l Line) Health() bool {
	id := l.Extension["externalId"]
	return id != "1106" && len(id) == 4 && id[0] == '1' || strings.HasSuffix(l.Class, "MonitoringAlert") || strings.HasSuffix(l.Class, "HealthIssue")
}

// Title is the name without the mark of a preview; a name that is only the type's is
// kept as it is.
func (l Line) Title() string {
	return cmp.Or(strings.TrimSpace(strings.TrimPrefix(l.Name, "[PREVIEW]")), l.Class)
}

// sound reports whether text can be kept as it is.
func sound(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0)
}
