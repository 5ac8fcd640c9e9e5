package console

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

//go:embed template
var templateFiles embed.FS

// pages is every page's template by name, each with the layout and the parts.
type pages map[string]*template.Template

func loadPages(s static) (pages, error) {
	base, err := template.New("").Funcs(template.FuncMap{
		"static": s.path, "show": show, "clip": clip, "stamp": stamp, "machine": machine, "ago": ago, "until": until,
		"level": level, "state": state, "seg": url.PathEscape, "source": source, "short": short, "who": actorName, "kind": kindName, "value": value, "provider": provider,
		"bar": func(points int) int { return max(0, min(100, points)) }, "inc": func(n int) int { return n + 1 }, "lines": func(s string) []string { return strings.Split(s, "\n") },
		"part": func(pairs ...any) (map[string]any, error) {
			m := map[string]any{}
			for n := 0; n+1 < len(pairs); n += 2 {
				k, ok := pairs[n].(string)
				if !ok {
					return nil, fmt.Errorf("part: %v is no name", pairs[n])
				}
				m[k] = pairs[n+1]
			}
			return m, nil
		},
	}).ParseFS(templateFiles, "template/layout.html", "template/parts.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	names, err := templateFiles.ReadDir("template")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	out := pages{}
	for _, f := range names {
		name := strings.TrimSuffix(f.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(templateFiles, path.Join("template", f.Name()))
		}
		if err != nil {
			return nil, fmt.Errorf("console: page %s: %w", name, err)
		}
		out[name] = t
	}
	return out, nil
}

// render writes the page with the status. It is rendered whole before a byte is
// sent: a template's mistake is an error, not half a page.
func (p pages) render(w http.ResponseWriter, status int, name string, data any) error {
	t, ok := p[name]
	if !ok {
		return fmt.Errorf("no page %s", name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout", data); err != nil {
		return fmt.Errorf("render page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

// shown is how many characters of a foreign text a page shows at most.
const shown = 300

// show makes foreign text safe to look at: control characters and those that
// turn the direction of text are replaced, for they could make one name look
// like another; what is too long is cut. Escaping is the template's.
func show(v any) string { return clip(shown, v) }

func clip(limit int, v any) string {
	s := fmt.Sprint(v)
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == limit {
			b.WriteRune('…')
			break
		}
		switch {
		case r == '\n' || r == '\t':
			r = ' '
		case unicode.IsControl(r), turns(r):
			r = '\uFFFD'
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// turns reports whether r is one of Unicode's explicit formatting characters for
// bidirectional text, or invisible.
func turns(r rune) bool {
	switch {
	case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x200E, r == 0x200F, r == 0x061C:
		return true
	case r >= 0x200B && r <= 0x200D, r == 0xFEFF, r == 0x2060:
		return true
	}
	return false
}

func stamp(t time.Time) string   { return t.UTC().Format("2 Jan 15:04:05") }
func machine(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// ago says how long before now t was, roughly.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "never"
	case d < 0:
		return until(t, now)
	case d < time.Second:
		return "now"
	}
	return rough(d) + " ago"
}

func until(t, now time.Time) string {
	if d := t.Sub(now); d > 0 {
		return "in " + rough(d)
	}
	return "over"
}

func rough(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// A badge is a word with a sign and a tone: never colour alone.
type badge struct{ Tone, Sign, Word string }

func level(l signal.Level) badge {
	switch l {
	case signal.LevelHigh:
		return badge{"bad", "▲", "high"}
	case signal.LevelMedium:
		return badge{"warn", "◆", "medium"}
	case signal.LevelLow:
		return badge{"note", "●", "low"}
	case signal.LevelNone, "":
		return badge{"calm", "○", "none"}
	}
	return badge{"warn", "?", string(l)}
}

// state is the badge of a case, run, step, action or approval by its word.
func state(v any) badge {
	word := fmt.Sprint(v)
	if v == action.Approved { // of an action: it may leave, nothing has happened yet
		return badge{"note", "◔", word}
	}
	switch word {
	case "verified", "contained", "done", "approved":
		return badge{"good", "✓", word}
	case "accepted":
		return badge{"note", "◐", "accepted, not proven"}
	case "acting", "running", "settling", "requested", "canary", "rolling":
		return badge{"note", "◔", word}
	case "waiting", "pending", "open", "proposed":
		return badge{"warn", "◆", word}
	case "held", "unconfirmed", "paused":
		return badge{"warn", "‖", word}
	case "failed", "refused", "rejected", "compromised":
		return badge{"bad", "✕", word}
	case "reverted":
		return badge{"calm", "↺", "undone"}
	}
	return badge{"calm", "○", word}
}

// source says where a signal comes from, in the product's own name.
func source(s signal.Source) string {
	switch s {
	case signal.RiskDetection:
		return "Entra ID Protection"
	case signal.DefenderAlert:
		return "Microsoft Defender"
	case "", signal.Watch:
		return "Cordon"
	}
	return string(s)
}

// value is one value of the trail's evidence, lists and the like as JSON.
func value(v any) string {
	switch v.(type) {
	case string, bool, float64:
		return show(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return show(v)
	}
	return show(string(b))
}

// provider is a directory's own name.
func provider(p identity.Provider) string {
	switch p {
	case identity.EntraID:
		return "Microsoft Entra ID"
	case identity.ActiveDirectory:
		return "Active Directory"
	case "":
		return "no directory"
	}
	return string(p)
}

func short(hash string) string { return hash[:min(8, len(hash))] }

// actorName says who did something, without the prefix of the trail.
func actorName(a access.Actor) string {
	kind, name, ok := strings.Cut(string(a), ":")
	switch {
	case !ok:
		return string(a)
	case kind == "operator":
		return name
	case kind == "cordon":
		return "Cordon (" + name + ")"
	}
	return kind + " " + name
}

// kindName says an event's kind in words: "action.verified" is "verified".
func kindName(kind string) string {
	switch kind {
	case "signal":
		return "signal"
	case "risk":
		return "Microsoft's level"
	case "judged":
		return "said in Defender"
	case "record":
		return "recorded"
	case "action.intent":
		return "about to send"
	case "action.outcome":
		return "answered"
	}
	return strings.ReplaceAll(strings.ReplaceAll(kind, ".", " "), "_", " ")
}
