package cli

import (
	"strings"
	"testing"
)

// A query is wrapped where a blank means nothing: it can be pasted as it is printed,
// whatever stands in its literals.
func TestQueriesAreWrappedOutsideTheirLiterals(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"short":         `| where AccountUpn == "a  b"`,
		"a wide one":    `| extend Risk = case(RiskLevelDuringSignIn == 100, "high", RiskLevelDuringSignIn == 50, "medium and more", RiskLevelDuringSignIn == 1, "not set")`,
		"quotes":        `| where A in~ ("x\" or y == \"` + strings.Repeat("z ", 30) + `\\", "` + strings.Repeat("very  long ", 20) + `") or B`,
		"one long word": "| where " + strings.Repeat("x", 200) + " == 1",
		"indented":      "    where tostring(from.EntityIds) has_any (mine)",
	} {
		var b strings.Builder
		sheet{&b}.code("    ", line)
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		var whole []string
		for n, l := range lines {
			rest, ok := strings.CutPrefix(l, "    ")
			if !ok || width(l) > columns && strings.Contains(strings.TrimLeft(rest, " "), " ") && strings.Count(rest, `"`) == 0 {
				t.Errorf("%s: line %d: %q", name, n, l)
			}
			if n > 0 {
				rest = strings.TrimLeft(rest, " ")
			}
			whole = append(whole, rest)
		}
		if got := strings.Join(whole, " "); got != line {
			t.Errorf("%s: printed\n%s\nwant\n%s", name, got, line)
		}
	}
	var b strings.Builder
	sheet{&b}.code("", "a\x1b[2J\u202e\nb")
	if got := b.String(); strings.ContainsAny(got, "\x1b\u202e") || strings.Count(got, "\n") != 1 {
		t.Errorf("a terminal obeys %q", got)
	}
}
