package console

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Text on its background has the contrast that WCAG 2.2 level AA asks for, in
// both schemes: 4.5 to 1.
func TestContrast(t *testing.T) {
	t.Parallel()
	css, err := staticFiles.ReadFile("static/style.css")
	check(t, err)
	light, rest, ok := strings.Cut(string(css), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark scheme")
	}
	dark, _, _ := strings.Cut(rest, "* {")
	for name, block := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6})`).FindAllStringSubmatch(block, -1) {
			colours[m[1]] = m[2]
		}
		pairs := [][2]string{
			{"ink", "paper"}, {"ink", "sheet"}, {"ink", "hair"}, {"soft", "paper"}, {"soft", "sheet"}, {"soft", "hair"},
			{"brand", "sheet"}, {"brand", "paper"}, {"brand-ink", "brand"}, {"warn", "sheet"}, {"sheet", "bad"},
		}
		for _, tone := range []string{"bad", "warn", "good", "note", "calm"} {
			pairs = append(pairs, [2]string{tone, tone + "-back"})
		}
		for _, p := range pairs {
			if colours[p[0]] == "" || colours[p[1]] == "" {
				t.Errorf("%s: no colour %s or %s", name, p[0], p[1])
				continue
			}
			if r := contrast(t, colours[p[0]], colours[p[1]]); r < 4.5 {
				t.Errorf("%s: %s on %s has a contrast of %.2f to 1", name, p[0], p[1], r)
			}
		}
	}
}

// contrast is the contrast ratio of WCAG 2.2.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (math.Max(x, y) + 0.05) / (math.Min(x, y) + 0.05)
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	var sum float64
	for n, weight := range []float64{0.2126, 0.7152, 0.0722} {
		v, err := strconv.ParseUint(hex[1+2*n:3+2*n], 16, 8)
		check(t, err)
		c := float64(v) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
