package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// columns is how wide text for people is at most.
const columns = 80

// cells is how many columns of a terminal a character takes.
func cells(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

func width(s string) int {
	n := 0
	for _, r := range s {
		n += cells(r)
	}
	return n
}

// fit returns s made fit for a terminal, cut or padded to exactly n columns.
func fit(s string, n int) string {
	s = clean(s)
	if width(s) > n {
		var b strings.Builder
		used := 0
		for _, r := range s {
			if used+cells(r) > n-1 {
				break
			}
			b.WriteRune(r)
			used += cells(r)
		}
		s = b.String() + "…"
	}
	return s + strings.Repeat(" ", max(0, n-width(s)))
}

// A sheet writes text for people: at most 80 columns, nothing in it that a
// terminal would obey. What fmt.Fprintf answers is not looked at: whoever closed
// standard output wants no more of it.
type sheet struct{ w io.Writer }

// row writes cells of the given widths, separated by a blank.
func (s sheet) row(widths []int, values ...string) {
	parts := make([]string, len(values))
	for n, v := range values {
		parts[n] = fit(v, widths[n])
	}
	fmt.Fprintln(s.w, strings.TrimRight(strings.Join(parts, " "), " "))
}

// para writes text wrapped, every line after the first indented like the text
// after lead.
func (s sheet) para(lead, text string) {
	indent := strings.Repeat(" ", width(lead))
	line, used := lead, width(lead)
	empty := true
	for _, word := range strings.Fields(clean(text)) {
		if !empty && used+1+width(word) > columns {
			fmt.Fprintln(s.w, line)
			line, used, empty = indent, len(indent), true
		}
		if !empty {
			line, used = line+" ", used+1
		}
		// A word longer than a line is an id or an address: it is broken, not cut,
		// so that it can still be copied.
		for used+width(word) > columns {
			head, rest := split(word, columns-used)
			fmt.Fprintln(s.w, line+head)
			line, used, word = indent, len(indent), rest
		}
		line, used, empty = line+word, used+width(word), false
	}
	if !empty || strings.TrimSpace(line) != "" {
		fmt.Fprintln(s.w, line)
	}
}

// code writes one line of a query so that it can be pasted as it is printed: it is
// wrapped only at blanks outside string literals, and nothing in it is cut or joined.
func (s sheet) code(lead, text string) {
	line, used, empty := lead, width(lead), true
	for _, word := range tokens(clean(text)) {
		if !empty && used+1+width(word) > columns {
			fmt.Fprintln(s.w, line)
			line, used, empty = lead+"    ", width(lead)+4, true
		}
		if !empty {
			line, used = line+" ", used+1
		}
		line, used, empty = line+word, used+width(word), false
	}
	fmt.Fprintln(s.w, line)
}

// tokens cuts a line at the blanks outside its string literals, in which a backslash
// escapes. Joined with blanks they are the line again.
func tokens(line string) []string {
	var out []string
	var word strings.Builder
	quoted, escaped := false, false
	for _, r := range line {
		if r == ' ' && !quoted && strings.TrimSpace(word.String()) != "" {
			out = append(out, word.String())
			word.Reset()
			continue
		}
		word.WriteRune(r)
		switch {
		case escaped:
			escaped = false
		case quoted && r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		}
	}
	return append(out, word.String())
}

// split cuts s after n columns, and after at least one character.
func split(s string, n int) (head, rest string) {
	used := 0
	for i, r := range s {
		if i > 0 && used+cells(r) > n {
			return s[:i], s[i:]
		}
		used += cells(r)
	}
	return s, ""
}

// field writes "name  value", or nothing when there is no value.
func (s sheet) field(name, value string) {
	if value != "" {
		s.para(fmt.Sprintf("%-12s ", name), value)
	}
}

// head writes a heading after an empty line.
func (s sheet) head(format string, args ...any) {
	fmt.Fprintln(s.w)
	s.para("", fmt.Sprintf(format, args...))
}

// stamp is a time for people: UTC to the second; empty for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// plural returns "1 step" or "3 steps".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if stem, ok := strings.CutSuffix(thing, "ity"); ok {
		return fmt.Sprintf("%d %sities", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
