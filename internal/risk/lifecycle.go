package risk

import (
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Picture is what Microsoft's three risk reports say about one user.
type Picture struct {
	User       UserRisk
	SignIns    []SignInRisk
	Detections []DetectionRisk
}

// A UserRisk is a row of the risky users.
type UserRisk struct {
	State  signal.State
	Level  signal.Level
	Detail string
}

// A SignInRisk is a row of the risky sign-ins.
type SignInRisk struct {
	ID        string
	State     signal.State
	RealTime  signal.Level
	Aggregate signal.Level
	Detail    string
}

// A DetectionRisk is a row of the risk detections.
type DetectionRisk struct {
	ID     string
	SignIn string // its sign-in's ID; empty for user risk
	Type   string
	State  signal.State
	Level  signal.Level
	Detail string
	At     time.Time // last change, for T22
}

// An Act is something that somebody does, or that time does, to a Picture.
type Act struct {
	Transition TransitionID
	Of         string    // T12, T13, T14, T18, T19: the sign-in; T17: the detection; T1: the sign-in, empty for all
	At         time.Time // T22, T23: the present
}

// agesOut is how long a low risk lasts.
const agesOut = 6 * 30 * 24 * time.Hour

// After returns the picture as Microsoft shows it once the act has been worked off.
// It is pure and leaves p as it is. fault.Invalid: no such transition, or no such
// sign-in or detection.
func (p Picture) After(a Act) (Picture, error) {
	t, ok := TransitionOf(a.Transition)
	if !ok {
		return p, fault.Errorf(fault.Invalid, "%q is no transition; they are T1 to T24", a.Transition)
	}
	p.SignIns, p.Detections = slices.Clone(p.SignIns), slices.Clone(p.Detections)
	switch a.Transition {
	case "T9", "T10", "T21", "T23":
		return p, nil
	case "T1", "T12", "T13", "T14", "T18", "T19":
		return p.signIn(t, a.Of)
	case "T17":
		n := slices.IndexFunc(p.Detections, func(d DetectionRisk) bool { return d.ID == a.Of })
		if n < 0 {
			return p, fault.Errorf(fault.Invalid, "no detection %q", a.Of)
		}
		p.Detections[n].set(t)
		p.recalculate(t.State, t.Details[0])
	case "T15":
		p.confirm(t)
	case "T20":
		p.User = UserRisk{signal.StateAtRisk, signal.LevelHigh, t.Details[0]}
		p.Detections = append(p.Detections, DetectionRisk{Type: "aiCompoundAccountRisk", State: signal.StateAtRisk, Level: signal.LevelHigh, Detail: t.Details[0]})
	case "T22":
		p.age(a.At)
	case "T24":
		c, _ := TransitionOf("T15")
		p.confirm(c)
		p.close(t.State, t.Details[0])
	default: // T2 to T8, T11, T16
		p.close(t.State, t.Details[0])
	}
	return p, nil
}

func (d *DetectionRisk) set(t Transition) {
	if d.State.Open() {
		d.State, d.Detail = t.State, t.Details[0]
	}
}

// signIn closes or confirms one sign-in, or with an empty id all open ones.
func (p Picture) signIn(t Transition, id string) (Picture, error) {
	if id != "" && !slices.ContainsFunc(p.SignIns, func(s SignInRisk) bool { return s.ID == id }) {
		return p, fault.Errorf(fault.Invalid, "no sign-in %q", id)
	}
	for n := range p.SignIns {
		s := &p.SignIns[n]
		if id != "" && s.ID != id || !s.State.Open() {
			continue
		}
		s.State, s.Detail = t.State, t.Details[0]
		switch t.State {
		case signal.StateConfirmedSafe:
			s.Aggregate = signal.LevelNone
		case signal.StateConfirmedCompromised:
			s.Aggregate = signal.LevelHigh
		}
		for k := range p.Detections {
			if p.Detections[k].SignIn == s.ID {
				p.Detections[k].set(t)
			}
		}
	}
	p.recalculate(t.State, t.Details[0])
	return p, nil
}

// confirm is T15: of a user never listed too.
func (p *Picture) confirm(t Transition) {
	p.User = UserRisk{t.State, signal.LevelHigh, t.Details[0]}
	p.Detections = append(p.Detections, DetectionRisk{Type: "adminConfirmedUserCompromised", State: t.State, Level: signal.LevelHigh, Detail: t.Details[0]})
}

// close ends everything that is open.
func (p *Picture) close(state signal.State, detail string) {
	if !p.User.State.Open() {
		return
	}
	for n := range p.Detections {
		if d := &p.Detections[n]; d.State.Open() {
			d.State, d.Detail = state, detail
		}
	}
	for n := range p.SignIns {
		if s := &p.SignIns[n]; s.State.Open() {
			if s.State, s.Detail = state, detail; state == signal.StateConfirmedSafe {
				s.Aggregate = signal.LevelNone
			}
		}
	}
	p.User = UserRisk{state, signal.LevelNone, detail}
}

// recalculate derives the user's risk from the detections that are open; when none
// is, it ends as what was closed last.
func (p *Picture) recalculate(state signal.State, detail string) {
	level, confirmed, unified := signal.LevelNone, false, false
	for _, d := range p.Detections {
		if !d.State.Open() {
			continue
		}
		if d.Level.Rank() > level.Rank() {
			level = d.Level
		}
		confirmed = confirmed || d.State == signal.StateConfirmedCompromised && d.SignIn != ""
		unified = unified || d.Type == "aiCompoundAccountRisk"
	}
	switch {
	case level == signal.LevelNone:
		p.User = UserRisk{state, signal.LevelNone, detail}
	case p.User.State == signal.StateConfirmedCompromised:
		p.User.Level = signal.LevelHigh
	case confirmed:
		p.User = UserRisk{signal.StateAtRisk, signal.LevelHigh, "adminConfirmedSigninCompromised"}
	case unified:
		p.User = UserRisk{signal.StateAtRisk, level, "aiElevatedAccountRisk"}
	default:
		p.User = UserRisk{signal.StateAtRisk, level, "none"}
	}
}

// age is T22: what is low and untouched for six months is no risk any more.
func (p *Picture) age(now time.Time) {
	for n := range p.Detections {
		d := &p.Detections[n]
		if !d.State.Open() || d.Level.Rank() > signal.LevelLow.Rank() || now.Sub(d.At) < agesOut {
			continue
		}
		d.State, d.Level, d.Detail = signal.StateNone, signal.LevelNone, "none"
		open := slices.ContainsFunc(p.Detections, func(o DetectionRisk) bool { return o.SignIn == d.SignIn && o.State.Open() })
		for k := range p.SignIns {
			if s := &p.SignIns[k]; s.ID == d.SignIn && !open {
				s.State, s.RealTime, s.Aggregate, s.Detail = signal.StateNone, signal.LevelNone, signal.LevelNone, "none"
			}
		}
	}
	p.recalculate(signal.StateNone, "none")
}
