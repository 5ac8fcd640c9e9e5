package playbook

import (
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// didYouMean returns `; did you mean "x"` for the nearest of all, or "" when
// nothing is near.
func didYouMean(word string, all []string) string {
	best, at := "", 1+len(word)/3
	for _, w := range all {
		if d := distance(word, w); d <= at && (best == "" || d < at) {
			best, at = w, d
		}
	}
	if best == "" || best == word {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is Levenshtein's, over bytes; words longer than 64 are never near.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}

// maxDuration bounds every duration of a playbook.
const maxDuration = 366 * 24 * time.Hour

// parseDuration reads "90s", "30m", "12h", "7d" and sums such as "1h30m". Zero,
// negative and over-long durations are errors.
func parseDuration(s string) (time.Duration, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	var sum, n time.Duration
	digits := 0
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' {
			n = n*10 + time.Duration(c-'0')
			if digits++; digits > 9 {
				return 0, fault.Errorf(fault.Invalid, "duration %q is too long; at most 366d", s)
			}
			continue
		}
		unit, ok := units[c]
		if !ok || digits == 0 {
			return 0, fault.Errorf(fault.Invalid, "bad duration %q; write it like 90s, 30m, 12h or 7d", s)
		}
		if n > maxDuration/unit {
			return 0, fault.Errorf(fault.Invalid, "duration %q is too long; at most 366d", s)
		}
		sum, n, digits = sum+n*unit, 0, 0
		if sum > maxDuration {
			return 0, fault.Errorf(fault.Invalid, "duration %q is too long; at most 366d", s)
		}
	}
	if digits > 0 || sum <= 0 {
		return 0, fault.Errorf(fault.Invalid, "bad duration %q; write it like 90s, 30m, 12h or 7d, more than zero", s)
	}
	return sum, nil
}

// directoryName is what people call a directory.
func directoryName(p identity.Provider) string {
	switch p {
	case identity.EntraID:
		return "Microsoft Entra ID"
	case identity.ActiveDirectory:
		return "Active Directory"
	case identity.Okta:
		return "Okta"
	case "":
		return "its directory"
	}
	return string(p)
}
