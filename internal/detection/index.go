package detection

import (
	"strings"
	"sync"

	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A table is the catalogue with its indexes. It is built once and then only read.
type table struct {
	entries   []Entry
	types     map[typeKey]int
	exact     map[alertKey]int // as Microsoft writes them, the way almost all arrive
	detectors map[string][]int // strongest first
	alerts    map[alertKey]int // by detector in lower case and title in words; with an empty detector by title alone
	prefixes  []prefix
}

// An alertKey is a detector with one of its titles.
type alertKey struct{ detector, title string }

// A typeKey tells apart what different objects say with one word.
type typeKey struct {
	group Group
	name  string // in lower case
}

// A prefix is the beginning of a title that ends with a name.
type prefix struct {
	words string
	at    int
}

var catalogue = sync.OnceValue(build)

func build() *table {
	t := &table{
		types: map[typeKey]int{}, exact: map[alertKey]int{},
		detectors: map[string][]int{}, alerts: map[alertKey]int{},
	}
	for _, list := range [][]Entry{signIns(), users(), workloads(), agents(), defenderAlerts(), classicAlerts(), unlisted()} {
		t.entries = append(t.entries, list...)
	}
	for n := range t.entries {
		t.complete(&t.entries[n])
	}
	for n, e := range t.entries {
		t.add(n, e)
	}
	return t
}

// complete fills what an entry leaves to its family and its list.
func (t *table) complete(e *Entry) {
	f := family(e.Family)
	e.Learns = learns(e.Name)
	if e.Source == "" {
		e.Source = map[Group]signal.Source{
			SignIn: signal.RiskDetection, User: signal.RiskDetection, Workload: signal.WorkloadDetection,
			Agent: signal.AgentDetection, Defender: signal.DefenderAlert, Classic: signal.DefenderAlert,
		}[e.Group]
	}
	if e.Cause == "" {
		e.Cause = f.Cause
	}
	if e.Remedies == nil {
		e.Remedies = f.Remedies
	}
	if e.Questions == nil {
		e.Questions = f.Questions
	}
	if e.Recommend == "" {
		e.Recommend = f.Recommend
	}
	if e.Licence == "" {
		e.Licence = "Defender for Identity"
	}
	switch {
	case e.Prior == byLevel:
		e.Prior = 0
	case e.Prior == 0:
		e.Prior = f.Prior
	}
	switch {
	case e.HalfLife == never:
		e.HalfLife = 0
	case e.HalfLife == 0:
		e.HalfLife = f.HalfLife
	}
	if e.Floor == "" {
		e.Floor = f.Floor
	}
	if e.Attack == "" && len(e.Types) > 0 {
		e.Attack = strings.ToLower(e.Types[0])
	}
	if e.Attack == "" {
		e.Attack = plain(e.Name)
	}
}

// never is the half-life of an entry that does not decay while its family does.
const never = -1

func (t *table) add(n int, e Entry) {
	stronger := func(old int) bool { return e.Level.Rank() > t.entries[old].Level.Rank() }
	for _, name := range e.Types {
		t.types[typeKey{e.Group, strings.ToLower(name)}] = n
	}
	for _, d := range e.Detectors {
		key := strings.ToLower(d)
		at := t.detectors[key]
		t.detectors[key] = append(at, n)
		if len(at) > 0 && stronger(at[0]) {
			t.detectors[key] = append([]int{n}, at...)
		}
	}
	if !e.Group.Alerts() {
		return
	}
	claim := func(in map[alertKey]int, key alertKey) {
		if old, taken := in[key]; !taken || stronger(old) {
			in[key] = n
		}
	}
	for _, title := range append([]string{e.Name}, e.Titles...) {
		if before, _, ok := strings.Cut(title, "{"); ok {
			t.prefixes = append(t.prefixes, prefix{words(before), n})
		}
		for _, d := range append([]string{""}, e.Detectors...) {
			claim(t.exact, alertKey{d, title})
			claim(t.alerts, alertKey{strings.ToLower(d), words(title)})
			claim(t.alerts, alertKey{strings.ToLower(d), plain(title)})
		}
	}
}

// detection finds a detection: on the list of its source, else on the others. What
// is linked to a sign-in and what is linked only to the user may have one type; the
// sign-in's request id tells them apart.
func (t *table) detection(s signal.Signal) (int, bool) {
	order := [4]Group{User, SignIn, Workload, Agent}
	switch {
	case s.Source == signal.WorkloadDetection:
		order = [4]Group{Workload, Agent, User, SignIn}
	case s.Source == signal.AgentDetection:
		order = [4]Group{Agent, Workload, User, SignIn}
	case s.RequestID != "" || s.CorrelationID != "":
		order = [4]Group{SignIn, User, Workload, Agent}
	}
	name := strings.ToLower(s.Type)
	for _, g := range order {
		if n, ok := t.types[typeKey{g, name}]; ok {
			return n, true
		}
	}
	return 0, false
}

// alert finds an alert by its detector and, among those of one detector, by its
// title; without a detector that is known, by the title alone.
func (t *table) alert(detector, title string) (int, bool) {
	if n, ok := t.exact[alertKey{detector, title}]; ok && title != "" {
		return n, true
	}
	detector = strings.ToLower(detector)
	at := t.detectors[detector]
	if len(at) == 1 {
		return at[0], true
	}
	if len(at) == 0 {
		detector = ""
	}
	if full := words(title); full != "" {
		if n, ok := t.alerts[alertKey{detector, full}]; ok {
			return n, true
		}
		if n, ok := t.alerts[alertKey{detector, plain(title)}]; ok {
			return n, true
		}
		for _, p := range t.prefixes {
			if len(at) == 0 && strings.HasPrefix(full, p.words) {
				return p.at, true
			}
		}
	}
	if len(at) > 0 {
		return at[0], true
	}
	return 0, false
}
