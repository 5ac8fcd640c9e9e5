// Package detection is the catalogue of everything Microsoft Entra ID Protection
// and Microsoft Defender for Identity are documented to report: what each kind of
// signal means, what an attacker holds when it fires, what cures that, and what to
// look into. It is one table of values, pure: no I/O, no clock.
//
// Names, identifiers, severities and the techniques that Microsoft prints come
// from its public documentation (Entra ID Protection: risk detection types of
// March 2026; Defender for Identity: Defender-format alerts of May 2026, classic
// alerts of October 2025). Causes, remedies, questions, recommendations, priors
// and half-lives are Cordon's own, and so are techniques where Microsoft prints
// none.
package detection

//go:generate go test -run TestDocument -update .

import (
	"cmp"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Group says which of Microsoft's lists an entry is on.
type Group string

// The lists.
const (
	SignIn   Group = "sign-in"  // Entra ID Protection, linked to a sign-in
	User     Group = "user"     // Entra ID Protection, linked to the user only
	Workload Group = "workload" // Entra ID Protection, service principals
	Agent    Group = "agent"    // Entra ID Protection, AI agents
	Defender Group = "defender" // Defender for Identity, Defender format: known by detector id and title
	Classic  Group = "classic"  // Defender for Identity, classic format: known by numeric external id
)

// Groups returns the lists in the order in which they are shown.
func Groups() []Group { return []Group{SignIn, User, Workload, Agent, Defender, Classic} }

// Alerts reports whether the list is one of Defender for Identity's.
func (g Group) Alerts() bool { return g == Defender || g == Classic }

// An Entry is what is known of one kind of signal. Entries share their slices:
// they are read, never changed.
type Entry struct {
	Group  Group         `json:"group"`
	Name   string        `json:"name"` // as Microsoft displays it, told apart where two are displayed alike
	Source signal.Source `json:"source"`

	Types     []string `json:"types,omitempty"`     // riskEventType: the present one, then synonyms and older ones
	Detectors []string `json:"detectors,omitempty"` // detector id or external id: the present one, then older ones
	Titles    []string `json:"titles,omitempty"`    // other titles it arrives under

	Family     Family   `json:"family"`     // the category
	Tactic     string   `json:"tactic"`     // ATT&CK tactic in words
	Techniques []string `json:"techniques"` // ATT&CK

	// Level is the usual one: Microsoft's where it names one, else, with Varies,
	// our expectation. The level of a signal is always its own.
	Level  signal.Level `json:"level"`
	Varies bool         `json:"varies,omitempty"`

	Cause     signal.Cause `json:"cause"`     // what the attacker got hold of
	Remedies  []Remedy     `json:"remedies"`  // that fit the cause, in the order to think of them
	Questions []string     `json:"questions"` // for who investigates
	Recommend string       `json:"recommend"` // what to do
	Licence   string       `json:"licence"`   // what Microsoft demands for its detail

	Prior    float64      `json:"prior,omitempty"`    // probability that the account is compromised, 0 to 1; 0: by the signal's level
	HalfLife float64      `json:"halfLife,omitempty"` // days in which the prior halves; 0: it does not decay while open
	Floor    signal.Level `json:"floor,omitempty"`    // an assessment is never below this while the signal is open

	// Learns is how many days Microsoft says it watches before it knows what is usual; 0:
	// nothing is said of it.
	Learns int `json:"learns,omitempty"`

	// Attack is the same for entries that report the same thing in both formats or
	// under several names, so that one attack counts once.
	Attack string `json:"attack"`

	// Listed is false for what was met in live tenants or on older pages and is on
	// none of Microsoft's present lists.
	Listed bool `json:"listed"`
}

// ID returns the catalogue's own name of the entry, unique: its list and its name
// in lower case with dashes.
func (e Entry) ID() string { return string(e.Group) + "/" + slug(e.Name) }

// Of returns what is known of the kind of s and whether the catalogue has it.
// Detections are found by type, alerts by detector and title, all without regard
// to case; a detector outweighs a title, because titles change. What is unheard of
// comes back with the family "unheard", the cause unknown, and no prior, so that
// its level decides (law 9). The cause of what a workload or an agent did is its
// credential, unless it is on the list of workloads with another.
func Of(s signal.Signal) (e Entry, known bool) {
	c := catalogue()
	var at int
	if s.Source == signal.DefenderAlert || s.Detector != "" {
		at, known = c.alert(s.Detector, cmp.Or(s.Title, s.Type))
	} else {
		at, known = c.detection(s)
	}
	if known {
		e = c.entries[at]
	} else {
		e = unheardOf(s)
	}
	workload := s.Source == signal.WorkloadDetection || s.Source == signal.AgentDetection ||
		s.Subject.Kind == identity.KindWorkload || s.Subject.Kind == identity.KindAgent
	if workload && e.Cause != signal.CauseWorkload && !(known && e.Group == Workload) {
		e.Cause, e.Remedies = signal.CauseWorkload, family(WorkloadCredential).Remedies
	}
	return e, known
}

// unheardOf is the entry of a signal that the catalogue does not have.
func unheardOf(s signal.Signal) Entry {
	f := family(Unheard)
	return Entry{
		Group: User, Name: cmp.Or(s.Title, s.Type, "a signal without a type"), Source: s.Source, Types: []string{s.Type},
		Family: Unheard, Tactic: "unknown", Techniques: s.Techniques, Level: s.Level, Varies: true,
		Cause: f.Cause, Remedies: f.Remedies, Questions: f.Questions, Recommend: f.Recommend, Licence: "not known",
		HalfLife: f.HalfLife, Attack: strings.ToLower(cmp.Or(s.Type, s.Title)),
	}
}

// CausesOfType returns what signals of the type may speak of: one cause, or several
// when different lists use the word; none for a type that no list has. Case does not
// count.
func CausesOfType(name string) []signal.Cause {
	c := catalogue()
	var out []signal.Cause
	for _, g := range []Group{SignIn, User, Workload, Agent} {
		if n, ok := c.types[typeKey{g, strings.ToLower(name)}]; ok && !slices.Contains(out, c.entries[n].Cause) {
			out = append(out, c.entries[n].Cause)
		}
	}
	return out
}

// All returns every entry, list by list in the order of Microsoft's pages, what is
// on no list last.
func All() []Entry { return slices.Clone(catalogue().entries) }

// slug is a name in lower case, everything but letters and digits made a dash.
func slug(s string) string { return strings.ReplaceAll(words(s), " ", "-") }

// words is s in lower case with everything but letters and digits made one blank,
// without the mark of a preview.
func words(s string) string {
	b := make([]byte, 0, len(s))
	s = strings.ToLower(s)
	for n := range len(s) {
		switch c := s[n]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c > 127:
			b = append(b, c)
		case len(b) > 0 && b[len(b)-1] != ' ':
			b = append(b, ' ')
		}
	}
	out := strings.TrimSuffix(string(b), " ")
	return strings.TrimSuffix(strings.TrimPrefix(out, "preview "), " preview")
}

// plain is a title without what it says in parentheses or braces.
func plain(title string) string {
	var b strings.Builder
	depth := 0
	for _, r := range title {
		switch {
		case r == '(' || r == '{':
			depth++
		case (r == ')' || r == '}') && depth > 0:
			depth--
		case depth == 0:
			b.WriteRune(r)
		}
	}
	return words(b.String())
}

// Title is the name of s for people: the source's own title, or, where there is
// none but the type, the name that Microsoft displays for it.
func Title(s signal.Signal) string {
	if s.Title != "" && s.Title != s.Type {
		return s.Title
	}
	if e, known := Of(s); known && s.Source != signal.DefenderAlert {
		return e.Name
	}
	return cmp.Or(s.Title, s.Type, "a signal without a type")
}
