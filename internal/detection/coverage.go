package detection

import (
	"slices"

	"github.com/seed-f47efad2/cordon/internal/signal"
)

// The lengths of Microsoft's lists, on the dates in the package's description. The
// catalogue's entries are counted against them.
const (
	listedSignIns   = 18
	listedUsers     = 11
	listedWorkloads = 8
	listedAgents    = 8
	listedDefender  = 130
	listedClassic   = 54
)

// A Count says how much of one of Microsoft's lists is understood.
type Count struct {
	Known   int `json:"known"`   // on Microsoft's list
	Covered int `json:"covered"` // with a complete entry here
	Cause   int `json:"cause"`   // of them, with a cause stated; "unknown" counts only where the report cannot tell
	Unknown int `json:"unknown"` // of them, with the cause "unknown"
	Remedy  int `json:"remedy"`  // of them, with a remedy that fits the cause
}

// Covers is the whole coverage.
type Covers struct {
	Detections Count           `json:"detections"` // Entra ID Protection
	Alerts     Count           `json:"alerts"`     // Defender for Identity, both formats
	Groups     map[Group]Count `json:"groups"`
	Families   map[Family]int  `json:"families"` // entries in each
	Unlisted   int             `json:"unlisted"` // entries beyond Microsoft's lists
}

// Coverage counts what the catalogue covers.
func Coverage() Covers {
	c := Covers{Groups: map[Group]Count{
		SignIn: {Known: listedSignIns}, User: {Known: listedUsers}, Workload: {Known: listedWorkloads},
		Agent: {Known: listedAgents}, Defender: {Known: listedDefender}, Classic: {Known: listedClassic},
	}, Families: map[Family]int{}}
	for _, e := range catalogue().entries {
		c.Families[e.Family]++
		if !e.Listed {
			c.Unlisted++
			continue
		}
		g := c.Groups[e.Group]
		if len(e.Missing()) == 0 {
			g.Covered++
		}
		if e.Cause != "" {
			g.Cause++
		}
		if e.Cause == signal.CauseUnknown {
			g.Unknown++
		}
		if e.curable() {
			g.Remedy++
		}
		c.Groups[e.Group] = g
	}
	for name, g := range c.Groups {
		sum := &c.Detections
		if name.Alerts() {
			sum = &c.Alerts
		}
		*sum = Count{sum.Known + g.Known, sum.Covered + g.Covered, sum.Cause + g.Cause, sum.Unknown + g.Unknown, sum.Remedy + g.Remedy}
	}
	return c
}

// curable reports whether one of the entry's remedies fits its cause.
func (e Entry) curable() bool {
	return slices.ContainsFunc(e.Remedies, func(r Remedy) bool {
		t, ok := r.Treatment()
		return ok && t.Fits(e.Cause)
	})
}

// Missing names the parts that a complete entry has and this one has not.
func (e Entry) Missing() []string {
	var out []string
	for _, part := range []struct {
		name string
		ok   bool
	}{
		{"name", e.Name != ""},
		{"source", e.Source != ""},
		{"identifier", len(e.Types) > 0 || len(e.Detectors) > 0 || e.Group.Alerts() && !e.Listed},
		{"family", e.Family != "" && e.Family != Unheard},
		{"tactic", e.Tactic != ""},
		{"techniques", len(e.Techniques) > 0 || e.Family == Limited},
		{"level", e.Level.Rank() > 0},
		{"cause", slices.Contains(signal.Causes(), e.Cause)},
		{"remedy that fits the cause", e.curable()},
		{"questions", len(e.Questions) >= 3},
		{"recommendation", e.Recommend != ""},
		{"licence", e.Licence != ""},
	} {
		if !part.ok {
			out = append(out, part.name)
		}
	}
	return out
}

// A Kind is a kind of signal that arrived, for the list of what is unheard of.
type Kind struct {
	Source   signal.Source `json:"source"`
	Type     string        `json:"type"`
	Title    string        `json:"title,omitempty"`
	Detector string        `json:"detector,omitempty"`
	Count    int           `json:"count"`
}

// UnheardOf returns those of arrived that the catalogue does not have, in the same
// order.
func UnheardOf(arrived []Kind) []Kind {
	return slices.DeleteFunc(slices.Clone(arrived), func(k Kind) bool {
		_, known := Of(signal.Signal{Source: k.Source, Type: k.Type, Title: k.Title, Detector: k.Detector})
		return known
	})
}
