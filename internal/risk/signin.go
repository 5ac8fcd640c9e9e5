package risk

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A SignIn is the risk of one sign-in, apart from the risk of the user: a later
// sign-in that is fine says nothing about it.
type SignIn struct {
	RequestID string    `json:"requestId"`
	At        time.Time `json:"at"`
	IP        string    `json:"ip,omitempty"`
	Location  string    `json:"location,omitempty"`
	// RealTime is the highest level of what was detected while the person signed in;
	// what is learnt or said later does not change it.
	RealTime signal.Level `json:"realTime"`
	// Aggregate is the level with everything known since: none once it was said to be
	// safe, high once it was said to be compromised.
	Aggregate signal.Level `json:"aggregate"`
	State     signal.State `json:"state"` // of its detections, the gravest
	Detail    string       `json:"detail,omitempty"`
	// Score and Level are Cordon's opinion of this sign-in alone: no decay, nothing
	// that happened before or after.
	Score   int          `json:"score"`
	Level   signal.Level `json:"level"`
	Signals []string     `json:"signals"` // ExternalIDs of its detections, in order
	Types   []string     `json:"types"`
}

// SignIns returns the sign-ins that detections belong to, latest first. Order and
// repetition in the list change nothing.
func SignIns(list []signal.Signal) []SignIn {
	of := map[string][]signal.Signal{}
	for _, s := range list {
		if s.RequestID != "" && s.Source == signal.RiskDetection {
			of[s.RequestID] = append(of[s.RequestID], s)
		}
	}
	var out []SignIn
	for id, parts := range of {
		slices.SortFunc(parts, func(a, b signal.Signal) int {
			return cmp.Or(a.At().Compare(b.At()), strings.Compare(a.ExternalID, b.ExternalID))
		})
		parts = slices.CompactFunc(parts, func(a, b signal.Signal) bool { return a.ExternalID == b.ExternalID })
		out = append(out, signIn(id, parts))
	}
	slices.SortFunc(out, func(a, b SignIn) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(a.RequestID, b.RequestID))
	})
	return out
}

func signIn(id string, parts []signal.Signal) SignIn {
	s := SignIn{RequestID: id, At: parts[0].At(), RealTime: signal.LevelNone, Aggregate: signal.LevelNone, State: signal.StateNone}
	n := (*Weights)(nil).numbers()
	best := map[string]float64{} // by attack
	for _, p := range parts {
		s.IP, s.Location = cmp.Or(s.IP, p.IP), cmp.Or(s.Location, p.Location)
		s.Signals = append(s.Signals, p.ExternalID)
		if !slices.Contains(s.Types, p.Type) {
			s.Types = append(s.Types, p.Type)
		}
		if strings.EqualFold(p.Timing, "realtime") && p.Level.Rank() > s.RealTime.Rank() {
			s.RealTime = p.Level
		}
		level := p.Level
		switch p.State {
		case signal.StateConfirmedSafe:
			level = signal.LevelNone
		case signal.StateConfirmedCompromised:
			level = signal.LevelHigh
		}
		if level.Rank() > s.Aggregate.Rank() {
			s.Aggregate = level
		}
		if gravity(p.State) > gravity(s.State) {
			s.State, s.Detail = p.State, p.Detail
		}
		if !p.State.Open() {
			continue
		}
		e, _ := detection.Of(p)
		prior, _, _ := n.of(&e)
		if prior == 0 {
			prior = n.prior(level)
		}
		best[e.Attack] = max(best[e.Attack], prior)
	}
	rest := 1.0
	attacks := make([]string, 0, len(best))
	for a := range best {
		attacks = append(attacks, a)
	}
	slices.Sort(attacks) // one order, so that the rounding is always the same
	for _, a := range attacks {
		rest *= 1 - best[a]
	}
	s.Score = int(math.Round(score(rest, 1)))
	if s.State == signal.StateConfirmedCompromised {
		s.Score = max(s.Score, n.high)
	}
	s.Level = n.levelOf(s.Score)
	return s
}

// gravity orders states: what is open before what is closed. An unheard-of state is
// as grave as an open one.
func gravity(s signal.State) int {
	switch s {
	case signal.StateNone, "":
		return 0
	case signal.StateConfirmedSafe:
		return 1
	case signal.StateDismissed:
		return 2
	case signal.StateRemediated:
		return 3
	case signal.StateConfirmedCompromised:
		return 5
	}
	return 4
}
